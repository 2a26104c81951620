/* See packet.h. */
#include "mqtt/packet.h"

#include <string.h>

static size_t varint_size(size_t value)
{
    return value < 128 ? 1 : value < 16384 ? 2 : value < 2097152 ? 3 : 4;
}

/* what stands behind the fixed header */
static size_t publish_rest(const struct action *action, bool v5, size_t topic)
{
    size_t rest = 2 + topic + (action->publish.qos > 0 ? 2 : 0) + action->publish.length;

    if (v5) {
        size_t properties = (action->publish.expiry_s > 0 ? 5 : 0);
        if (action->publish.correlation)
            properties += 3 + action->publish.correlation_length;
        rest += varint_size(properties) + properties;
    }
    return rest;
}

/* MQTT 5.0, 1.5.5: seven bits a byte, the lowest first */
static uint8_t *write_varint(uint8_t *at, size_t value)
{
    for (; value > 127; value >>= 7)
        *at++ = (uint8_t)((value & 127) | 128);
    *at++ = (uint8_t)value;
    return at;
}

static uint8_t *write_bytes(uint8_t *at, const void *data, size_t length)
{
    if (length > 0)
        memcpy(at, data, length);
    return at + length;
}

size_t mqtt_publish_size(const struct action *action, bool v5)
{
    size_t rest = publish_rest(action, v5, strlen(action->publish.topic));

    return 1 + varint_size(rest) + rest;
}

size_t mqtt_publish_write(const struct action *action, bool v5, uint8_t *buffer, size_t size)
{
    size_t topic = strlen(action->publish.topic);
    uint32_t expiry_s = v5 ? action->publish.expiry_s : 0;
    uint8_t *at = buffer;

    if (action->publish.qos > 0 || (v5 && action->publish.correlation) || topic > UINT16_MAX)
        return 0;
    size_t rest = publish_rest(action, v5, topic);
    if (1 + varint_size(rest) + rest > size)
        return 0;
    *at++ = (uint8_t)(0x30 | (action->publish.retain ? 1 : 0));
    at = write_varint(at, rest);
    *at++ = (uint8_t)(topic >> 8);
    *at++ = (uint8_t)topic;
    at = write_bytes(at, action->publish.topic, topic);
    if (v5)
        *at++ = expiry_s > 0 ? 5 : 0;
    if (expiry_s > 0) {
        *at++ = 0x02; /* Message Expiry Interval, 3.3.2.3.3 */
        for (int shift = 24; shift >= 0; shift -= 8)
            *at++ = (uint8_t)(expiry_s >> shift);
    }
    at = write_bytes(at, action->publish.payload, action->publish.length);
    return (size_t)(at - buffer);
}
