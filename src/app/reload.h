/* Reading the configuration again while the daemon runs. Decides nothing. */
#pragma once

#include "core/settings.h"

/*
 * Loads the file. Its warnings go to standard error as at the start. CONFIG_E_INVALID or a negative
 * errno: *ret_text has what is wrong, a line for each mistake; the caller tells it, and frees it.
 */
MUST_CHECK
int reload_load(const char *path, struct settings **ret_settings, char **ret_text);
