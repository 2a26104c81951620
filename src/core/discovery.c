/* Home Assistant's documents: what they are about, whether it is there, diagnostics; see
 * discovery.h. Entities of characteristics are in discovery_entity.c. */
#include "core/discovery.h"

#include "core/discovery_part.h"
#include "core/topic.h"
#include <stdio.h>
#include <string.h>

#define OBJECT_PREFIX  "gatt2mqtt_"
#define GATEWAY_PREFIX "bridge_" /* `bridge` is no device's id */
#define TEXT_SIZE      (SETTINGS_MAX_BASE_TOPIC + 2 * SETTINGS_MAX_ID + 64)

void discovery_key_string(struct json_writer *w, const char *key, const char *text)
{
    json_write_key(w, key);
    json_write_string(w, text);
}

void discovery_key_joined(struct json_writer *w, const char *key, const char *a, const char *b,
                          const char *c)
{
    char text[TEXT_SIZE];

    snprintf(text, sizeof(text), "%s%s%s", a, b ? b : "", c ? c : "");
    discovery_key_string(w, key, text);
}

/* ---- topics ---- */

const char *discovery_topic(const struct settings *settings, const char *device,
                            char buf[static DISCOVERY_TOPIC_SIZE])
{
    snprintf(buf, DISCOVERY_TOPIC_SIZE, "%s/device/" OBJECT_PREFIX "%s/config",
             settings->home_assistant.prefix, device);
    return buf;
}

const char *discovery_gateway_topic(const struct settings *settings,
                                    char buf[static DISCOVERY_TOPIC_SIZE])
{
    snprintf(buf, DISCOVERY_TOPIC_SIZE, "%s/device/" OBJECT_PREFIX GATEWAY_PREFIX "%s/config",
             settings->home_assistant.prefix, settings->gateway.id);
    return buf;
}

bool discovery_is_topic_of(const struct settings *settings, const char *device, const char *topic)
{
    char end[2 * SETTINGS_MAX_ID + 64];
    size_t length = strlen(topic);
    int n = snprintf(end, sizeof(end), "/device/" OBJECT_PREFIX "%s%s/config",
                     device ? "" : GATEWAY_PREFIX, device ? device : settings->gateway.id);

    return n > 0 && (size_t)n < length && length < DISCOVERY_TOPIC_SIZE &&
           strcmp(topic + length - (size_t)n, end) == 0;
}

/* ---- parts of every document ---- */

static void write_origin(struct json_writer *w, const char *version)
{
    json_write_key(w, "origin");
    json_write_object_begin(w);
    discovery_key_string(w, "name", "gatt2mqtt");
    discovery_key_string(w, "sw_version", version);
    json_write_object_end(w);
}

static void write_identifier(struct json_writer *w, const char *prefix, const char *id)
{
    json_write_key(w, "identifiers");
    json_write_array_begin(w);
    char text[TEXT_SIZE];
    snprintf(text, sizeof(text), OBJECT_PREFIX "%s%s", prefix, id);
    json_write_string(w, text);
    json_write_array_end(w);
}

static void write_bridge_topic(struct json_writer *w, const char *key,
                               const struct settings *settings)
{
    char text[TEXT_SIZE];

    snprintf(text, sizeof(text), "%s/bridge/%s/status", settings->gateway.base_topic,
             settings->gateway.id);
    discovery_key_string(w, key, text);
}

static void write_availability(struct json_writer *w, const struct settings *settings,
                               const struct device_settings *device)
{
    char text[TEXT_SIZE];

    json_write_key(w, "availability");
    json_write_array_begin(w);
    json_write_object_begin(w);
    write_bridge_topic(w, "topic", settings);
    json_write_object_end(w);
    if (device) {
        snprintf(text, sizeof(text), "%s/%s/status/availability", settings->gateway.base_topic,
                 device->id);
        json_write_object_begin(w);
        discovery_key_string(w, "topic", text);
        json_write_object_end(w);
    }
    json_write_array_end(w);
    discovery_key_string(w, "availability_mode", "all");
}

/* ---- diagnostics: they are good while the gateway is, whatever the device does ---- */

static void diagnostic_begin(const struct discovery_context *context, const char *id,
                             const char *name, const char *platform, const char *topic)
{
    struct json_writer *w = context->w;
    char text[TEXT_SIZE];

    snprintf(text, sizeof(text), "status_%s", id);
    json_write_key(w, text);
    json_write_object_begin(w);
    discovery_key_string(w, "platform", platform);
    snprintf(text, sizeof(text), OBJECT_PREFIX "%s_status_%s", context->device->id, id);
    discovery_key_string(w, "unique_id", text);
    discovery_key_string(w, "name", name);
    snprintf(text, sizeof(text), "%s/%s/status/%s", context->settings->gateway.base_topic,
             context->device->id, topic);
    discovery_key_string(w, "state_topic", text);
    discovery_key_string(w, "entity_category", "diagnostic");
    write_availability(w, context->settings, NULL);
}

static void write_diagnostics(const struct discovery_context *context)
{
    struct json_writer *w = context->w;

    diagnostic_begin(context, "connectivity", "Connectivity", "binary_sensor", "availability");
    discovery_key_string(w, "payload_on", "online");
    discovery_key_string(w, "payload_off", "offline");
    discovery_key_string(w, "device_class", "connectivity");
    json_write_object_end(w);
    diagnostic_begin(context, "rssi", "Signal strength", "sensor", "link");
    discovery_key_string(w, "value_template", "{{ value_json['rssi'] }}");
    discovery_key_string(w, "device_class", "signal_strength");
    discovery_key_string(w, "unit_of_measurement", "dBm");
    discovery_key_string(w, "state_class", "measurement");
    json_write_key(w, "enabled_by_default");
    json_write_bool(w, false);
    json_write_object_end(w);
    diagnostic_begin(context, "link", "Link", "sensor", "link");
    discovery_key_string(w, "value_template", "{{ value_json['state'] }}");
    json_write_object_end(w);
    diagnostic_begin(context, "why", "Why", "sensor", "link");
    discovery_key_string(w, "value_template", "{{ value_json['why'] }}");
    json_write_object_end(w);
}

/* ---- the documents ---- */

static void write_about(struct json_writer *w, const struct settings *settings,
                        const struct device_settings *device, const struct bt_address *address)
{
    char text[BT_ADDRESS_TEXT_SIZE];

    json_write_key(w, "device");
    size_t start = w->out->length;
    json_write_object_begin(w);
    write_identifier(w, "", device->id);
    if (address) {
        bt_address_format(address, text);
        json_write_key(w, "connections");
        json_write_array_begin(w);
        json_write_array_begin(w);
        json_write_string(w, "bluetooth");
        json_write_string(w, text);
        json_write_array_end(w);
        json_write_array_end(w);
    }
    discovery_key_string(w, "name", device->name ? device->name : device->id);
    if (device->manufacturer)
        discovery_key_string(w, "manufacturer", device->manufacturer);
    if (device->model)
        discovery_key_string(w, "model", device->model);
    if (device->area)
        discovery_key_string(w, "suggested_area", device->area);
    discovery_key_joined(w, "via_device", OBJECT_PREFIX GATEWAY_PREFIX, settings->gateway.id, NULL);
    json_write_object_end(w);
    discovery_merge(w, start, device->home_assistant);
}

void discovery_write_device(struct strbuf *out, const struct settings *settings,
                            const struct device_settings *device, const struct bt_address *address,
                            const char *version)
{
    struct json_writer w = json_writer_to(out);
    struct discovery_context context = {.w = &w, .settings = settings, .device = device};

    json_write_object_begin(&w);
    write_about(&w, settings, device, address);
    write_origin(&w, version);
    write_availability(&w, settings, device);
    json_write_key(&w, "qos");
    json_write_uint(&w, 1);
    json_write_key(&w, "components");
    json_write_object_begin(&w);
    discovery_write_entities(&context);
    write_diagnostics(&context);
    json_write_object_end(&w);
    json_write_object_end(&w);
}

void discovery_write_gateway(struct strbuf *out, const struct settings *settings,
                             const char *version)
{
    struct json_writer w = json_writer_to(out);
    const char *id = settings->gateway.id;

    json_write_object_begin(&w);
    json_write_key(&w, "device");
    json_write_object_begin(&w);
    write_identifier(&w, GATEWAY_PREFIX, id);
    discovery_key_joined(&w, "name", "gatt2mqtt ", id, NULL);
    discovery_key_string(&w, "manufacturer", "gatt2mqtt");
    discovery_key_string(&w, "sw_version", version);
    json_write_object_end(&w);
    write_origin(&w, version);
    json_write_key(&w, "qos");
    json_write_uint(&w, 1);
    json_write_key(&w, "components");
    json_write_object_begin(&w);
    json_write_key(&w, "status");
    json_write_object_begin(&w);
    discovery_key_string(&w, "platform", "binary_sensor");
    discovery_key_joined(&w, "unique_id", OBJECT_PREFIX GATEWAY_PREFIX, id, "_status");
    discovery_key_string(&w, "name", "Status");
    write_bridge_topic(&w, "state_topic", settings);
    discovery_key_string(&w, "payload_on", "online");
    discovery_key_string(&w, "payload_off", "offline");
    discovery_key_string(&w, "device_class", "connectivity");
    discovery_key_string(&w, "entity_category", "diagnostic");
    json_write_object_end(&w);
    json_write_object_end(&w);
    json_write_object_end(&w);
}
