/* The daemon: owns the loop, wires the adapters to the core and carries out what it decides. */
#pragma once

#include "core/settings.h"

struct app_options {
    struct settings *settings; /* taken */
    const char *config;        /* the file that they are from, to be read again */
    const char *version;
};

/* Runs until SIGTERM or SIGINT; SIGHUP reads the file again. 0, or a negative errno when it could
 * not start. */
MUST_CHECK
int app_run(const struct app_options *options);
