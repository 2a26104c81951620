/* gatt2mqtt check; see cli.h. */
#include "cli/cli.h"

#include "config/load.h"
#include <stdio.h>

int cmd_check(const struct cli_options *options, int argc, char **argv)
{
    struct diags diags;
    struct settings *settings = NULL;

    if (diags_init(&diags, options->config) < 0)
        return CLI_FAILED;
    int r = config_load(options->config, NULL, &diags, &settings);
    diags_print(&diags, stderr);
    diags_done(&diags);
    settings_free(settings);
    return r == 0 ? CLI_OK : CLI_CONFIG;
}
