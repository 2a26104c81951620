/*
 * What Home Assistant is told: one document per device in the form of its MQTT device discovery
 * (`<prefix>/device/<id>/config`, Home Assistant 2024.11 or newer), made of the settings and the
 * schemas alone. Every field that is published is an entity; what can be written, a control. What
 * Home Assistant would refuse (a unit that does not fit the device class, a bad icon) is left out,
 * never the entity. Must not know peers' states or the outbox.
 */
#pragma once

#include "core/settings.h"
#include "util/strbuf.h"

#define DISCOVERY_MAX_BYTES  (256 * 1024) /* a longer document is not published */
#define DISCOVERY_TOPIC_SIZE 512          /* of a prefix and an id of the greatest lengths */

static inline bool discovery_is_on(const struct settings *settings)
{
    return settings->home_assistant.discovery == DISCOVERY_DEVICE;
}

/* the topic of a device's document; returns buf */
const char *discovery_topic(const struct settings *settings, const char *device,
                            char buf[static DISCOVERY_TOPIC_SIZE]);
/* the same of the gateway's own */
const char *discovery_gateway_topic(const struct settings *settings,
                                    char buf[static DISCOVERY_TOPIC_SIZE]);
/* whether it is that device's topic under any prefix; `device` NULL: that of this gateway */
bool discovery_is_topic_of(const struct settings *settings, const char *device, const char *topic);

/* The documents; `address`: who the device is, or NULL while that is not known or changes. */
void discovery_write_device(struct strbuf *out, const struct settings *settings,
                            const struct device_settings *device, const struct bt_address *address,
                            const char *version);
void discovery_write_gateway(struct strbuf *out, const struct settings *settings,
                             const char *version);
