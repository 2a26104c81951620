/* Finds the subcommand and the common options; see cli.h. Knows no subcommand's business. */
#include "cli/cli.h"

#include "util/log.h"
#include "version.h"
#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
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
    {"health", "", "ask the gateway that runs here how it is", cmd_health},
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

static bool set_log_level(const char *text)
{
    enum log_level level;

    if (!log_level_parse(text, &level)) {
        fprintf(stderr, "gatt2mqtt: --log-level is error, warning, info or debug, not '%s'\n",
                text);
        return false;
    }
    log_set_level(level);
    return true;
}

/*
 * The common options may stand behind the command, too: takes them out of argv, so that the command
 * sees its own only. Returns how many arguments are left, or -1.
 */
static int take_common(struct cli_options *options, int argc, char **argv)
{
    int n = 0;

    for (int i = 0; i < argc; i++) {
        const char *argument = argv[i];
        bool is_config = strcmp(argument, "-c") == 0 || strcmp(argument, "--config") == 0;
        bool is_level = strcmp(argument, "--log-level") == 0;

        if (i == 0 || !(is_config || is_level || strncmp(argument, "--config=", 9) == 0 ||
                        strncmp(argument, "--log-level=", 12) == 0)) {
            argv[n++] = argv[i];
            continue;
        }
        const char *value = is_config || is_level ? argv[++i] : strchr(argument, '=') + 1;
        if (!value) {
            fprintf(stderr, "gatt2mqtt: %s needs a value\n", argument);
            return -1;
        }
        if (is_level || strncmp(argument, "--log", 5) == 0) {
            if (!set_log_level(value))
                return -1;
        } else {
            options->config = value;
        }
    }
    argv[n] = NULL;
    return n;
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
    int c;

    signal(SIGPIPE, SIG_IGN); /* Paho writes to sockets that may be gone */
    while ((c = getopt_long(argc, argv, "+c:h", long_options, NULL)) != -1)
        switch (c) {
        case 'c': options.config = optarg; break;
        case OPT_LOG_LEVEL:
            if (!set_log_level(optarg))
                return usage();
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
            char **arguments = argv + optind;
            int n = take_common(&options, argc - optind, arguments);
            if (n < 0)
                return usage();
            optind = 0; /* GNU getopt: start over, for the subcommand's own options */
            return commands[i].run(&options, n, arguments);
        }
    fprintf(stderr, "gatt2mqtt: there is no command '%s'\n", argv[optind]);
    return usage();
}
