/* Finds the subcommand and the common options; see cli.h. Knows no subcommand's business. */
#include "cli/cli.h"

#include "util/log.h"
#include "version.h"
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct command {
    const char *name;
    const char *arguments;
    const char *help;
    int (*run)(const struct cli_options *options, int argc, char **argv);
} commands[] = {
    {"run", "", "bridge the peripherals of the configuration to MQTT, in the foreground", cmd_run},
    {"check", "", "validate the configuration; say what would be published where", cmd_check},
    {"simulate", "FILE",
     "play org.bluez with the peripherals of FILE, on the bus of\n"
     "                      $DBUS_SYSTEM_BUS_ADDRESS",
     cmd_simulate},
};

static void print_help(FILE *out)
{
    fputs("Usage: gatt2mqtt [OPTIONS] COMMAND\n"
          "Bridges Bluetooth LE peripherals to MQTT.\n\nCommands:\n",
          out);
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
        fprintf(out, "  %-8s %-10s %s\n", commands[i].name, commands[i].arguments,
                commands[i].help);
    fputs("\nOptions:\n"
          "  -c, --config FILE     the configuration (default $GATT2MQTT_CONFIG, else\n"
          "                        /etc/gatt2mqtt/config.yaml)\n"
          "      --log-level LEVEL error, warning, info (default) or debug\n"
          "  -h, --help            show this and exit\n"
          "      --version         show the version and exit\n"
          "\nExit status: 0 success, 1 failed, 64 wrong usage, 69 no bus, adapter or broker\n"
          "(tools only: the daemon waits), 78 bad configuration.\n",
          out);
}

static int usage(void)
{
    fputs("Try 'gatt2mqtt --help'.\n", stderr);
    return CLI_USAGE;
}

int cli_main(int argc, char **argv)
{
    enum { OPT_LOG_LEVEL = 256, OPT_VERSION };
    static const struct option long_options[] = {
        {"config", required_argument, NULL, 'c'},
        {"log-level", required_argument, NULL, OPT_LOG_LEVEL},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, OPT_VERSION},
        {0},
    };
    const char *from_environment = getenv("GATT2MQTT_CONFIG");
    struct cli_options options = {
        .config =
            from_environment && *from_environment ? from_environment : "/etc/gatt2mqtt/config.yaml",
    };
    enum log_level level;
    int c;

    signal(SIGPIPE, SIG_IGN); /* Paho writes to sockets that may be gone */
    while ((c = getopt_long(argc, argv, "+c:h", long_options, NULL)) != -1)
        switch (c) {
        case 'c': options.config = optarg; break;
        case OPT_LOG_LEVEL:
            if (!log_level_parse(optarg, &level)) {
                fprintf(stderr,
                        "gatt2mqtt: --log-level is error, warning, info or debug, not '%s'\n",
                        optarg);
                return usage();
            }
            log_set_level(level);
            break;
        case 'h': print_help(stdout); return CLI_OK;
        case OPT_VERSION:
            printf("gatt2mqtt %s (%s)\n", GATT2MQTT_VERSION, GATT2MQTT_COMMIT);
            return CLI_OK;
        default: return usage();
        }
    if (optind == argc) {
        print_help(stderr);
        return CLI_USAGE;
    }
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
        if (strcmp(argv[optind], commands[i].name) == 0) {
            int first = optind;
            optind = 0; /* GNU getopt: start over, for the subcommand's own options */
            return commands[i].run(&options, argc - first, argv + first);
        }
    fprintf(stderr, "gatt2mqtt: there is no command '%s'\n", argv[optind]);
    return usage();
}
