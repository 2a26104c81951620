/* Settings as they are read from a file, for tests of what follows from them. */
#pragma once

#include "core/settings.h"

/* Owned by the caller, as from config_load(). The test fails, with the diagnostics, where the text
 * is not valid. */
struct settings *settings_from_text(const char *text);
