/* The daemon: owns the loop, wires the adapters to the core and carries out what it decides. */
#pragma once

#include "core/settings.h"

struct app_options {
    const struct settings *settings; /* borrowed, outlives the call */
    const char *version;
};

/* Runs until SIGTERM or SIGINT. 0, or a negative errno when it could not start. */
MUST_CHECK
int app_run(const struct app_options *options);
