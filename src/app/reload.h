/* Reading the configuration again while the daemon runs. Decides nothing. */
#pragma once

#include "core/settings.h"

/*
 * Loads the file. What is wrong with it, and its warnings, go to standard error as at the start.
 * CONFIG_E_INVALID or a negative errno: *ret_text has what is wrong, for people; the caller frees
 * it.
 */
MUST_CHECK
int reload_load(const char *path, struct settings **ret_settings, char **ret_text);
