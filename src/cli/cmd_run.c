/* gatt2mqtt run; see cli.h. */
#include "cli/cli.h"

#include <stdio.h>

int cmd_run(const struct cli_options *options, int argc, char **argv)
{
    fprintf(stderr, "gatt2mqtt: '%s' is not built yet\n", argv[0]);
    return CLI_FAILED;
}
