/* The command line: one file per subcommand, all listed in cli.c. */
#pragma once

/* exit status, as sysexits.h has them */
enum {
    CLI_OK = 0,
    CLI_FAILED = 1,
    CLI_USAGE = 64,
    CLI_UNAVAILABLE = 69,
    CLI_CONFIG = 78,
};

/* what the common options said */
struct cli_options {
    const char *config; /* -c, else $GATT2MQTT_CONFIG, else /etc/gatt2mqtt/config.yaml */
};

/* the whole program but for main(); returns the exit status */
int cli_main(int argc, char **argv);

/* argv[0] is the subcommand's name; each parses its own options after the common ones */
int cmd_check(const struct cli_options *options, int argc, char **argv);
int cmd_health(const struct cli_options *options, int argc, char **argv);
int cmd_run(const struct cli_options *options, int argc, char **argv);
int cmd_simulate(const struct cli_options *options, int argc, char **argv);
