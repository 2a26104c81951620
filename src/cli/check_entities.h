/* The entities that Home Assistant gets of a device, for `gatt2mqtt check`. */
#pragma once

#include "core/settings.h"
#include "util/strbuf.h"

void check_print_entities(struct strbuf *out, const struct settings *settings,
                          const struct device_settings *device);
