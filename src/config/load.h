/* The configuration file as settings, or as a list of what is wrong with it. */
#pragma once

#include "core/settings.h"
#include "yaml/diag.h"

struct config_options {
    const char *host_name; /* for gateway.id's default; NULL: asks the machine */
    /* For who only looks at the file: !credential is a warning, and its value missing, where no
     * service manager has set $CREDENTIALS_DIRECTORY. */
    bool without_credentials;
};

#define CONFIG_E_INVALID 1 /* *diags says why */

/*
 * Reads `path` ("-" is standard input), with what it includes by !file, !env and !credential.
 * *diags was initialised by the caller; it may hold warnings although the result is 0. 0,
 * CONFIG_E_INVALID, -ENOMEM.
 */
MUST_CHECK
int config_load(const char *path, const struct config_options *options, struct diags *diags,
                struct settings **ret_settings);
