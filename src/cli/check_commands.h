/* What can be asked of the gateway and of a device, for `gatt2mqtt check`. */
#pragma once

#include "core/settings.h"
#include "util/strbuf.h"

void check_print_requests(struct strbuf *out, const struct settings *settings);
/* the named commands; `topic` is the device's */
void check_print_commands(struct strbuf *out, const char *topic,
                          const struct device_settings *device);
