/* gatt2mqtt check; see cli.h. */
#include "cli/cli.h"

#include <stdio.h>

int cmd_check(const struct cli_options *options, int argc, char **argv)
{
    fprintf(stderr, "gatt2mqtt: '%s' is not built yet\n", argv[0]);
    return CLI_FAILED;
}
