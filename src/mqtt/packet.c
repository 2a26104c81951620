/* See packet.h. */
#include "mqtt/packet.h"

#include <string.h>

static size_t varint_size(size_t value)
{
    return value < 128 ? 1 : value < 16384 ? 2 : value < 2097152 ? 3 : 4;
}

size_t mqtt_publish_size(const struct action *action, bool v5)
{
    size_t rest = 2 + strlen(action->publish.topic) + (action->publish.qos > 0 ? 2 : 0) +
                  action->publish.length;

    if (v5) {
        size_t properties = (action->publish.expiry_s > 0 ? 5 : 0);
        if (action->publish.correlation)
            properties += 3 + action->publish.correlation_length;
        rest += varint_size(properties) + properties;
    }
    return 1 + varint_size(rest) + rest;
}
