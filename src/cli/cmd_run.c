/* gatt2mqtt run: the daemon, in the foreground. */
#include "app/app.h"
#include "cli/cli.h"
#include "config/load.h"
#include "util/log.h"
#include "version.h"
#include <malloc.h>
#include <stdio.h>
#include <string.h>

static int load(const char *path, struct settings **ret_settings)
{
    struct diags diags;
    int r;

    if (diags_init(&diags, path) < 0)
        return -ENOMEM;
    r = config_load(path, &(struct config_options){0}, &diags, ret_settings);
    diags_print(&diags, stderr);
    diags_done(&diags);
    return r;
}

int cmd_run(const struct cli_options *options, int argc, char **argv)
{
    struct settings *settings = NULL;
    int r;

    if (argc > 1 && (strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0)) {
        puts("Usage: gatt2mqtt run [-c FILE] [--log-level LEVEL]\n"
             "Bridges the peripherals of the configuration to MQTT, in the foreground, until "
             "SIGTERM or "
             "Ctrl-C.");
        return CLI_OK;
    }
    if (argc > 1) {
        fprintf(stderr, "gatt2mqtt run: takes no argument, got '%s'\n", argv[1]);
        return CLI_USAGE;
    }
    /* Paho's threads allocate little: heaps of their own would only cost memory. */
    (void)mallopt(M_ARENA_MAX, 1);
    r = load(options->config, &settings);
    if (r > 0)
        return CLI_CONFIG;
    if (r < 0) {
        log_error("config", "%s: %s", options->config, strerror(-r));
        return CLI_FAILED;
    }
    log_info("gateway", "gatt2mqtt %s, gateway %s, broker %s", GATT2MQTT_VERSION,
             settings->gateway.id, settings->mqtt.url);
    r = app_run(&(struct app_options){
        .settings = settings, .config = options->config, .version = GATT2MQTT_VERSION});
    if (r < 0) {
        log_error("gateway", "could not start: %s", strerror(-r));
        return CLI_FAILED;
    }
    return CLI_OK;
}
