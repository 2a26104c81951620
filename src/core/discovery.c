/* Home Assistant's documents: what they are about, whether it is there, diagnostics; see
 * discovery.h. Entities of characteristics are in discovery_entity.c. */
#include "core/discovery.h"

#include "core/discovery_part.h"
#include "core/topic.h"
#include "util/cleanup.h"
#include <stdio.h>
#include <string.h>

#define OBJECT_PREFIX  "gatt2mqtt_"
#define GATEWAY_PREFIX "bridge_" /* `bridge` is no device's id */
#define TEXT_SIZE      (SETTINGS_MAX_BASE_TOPIC + 2 * SETTINGS_MAX_ID + 64)
#define OBJECT_SIZE    (SETTINGS_MAX_ID + sizeof(OBJECT_PREFIX GATEWAY_PREFIX))

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

/* what all ids of it begin with */
static const char *object_of(const struct settings *settings, const char *device,
                             char buf[static OBJECT_SIZE])
{
    snprintf(buf, OBJECT_SIZE, OBJECT_PREFIX "%s%s", device ? "" : GATEWAY_PREFIX,
             device ? device : settings->gateway.id);
    return buf;
}

const char *discovery_topic(const struct settings *settings, const char *device,
                            char buf[static DISCOVERY_TOPIC_SIZE])
{
    char object[OBJECT_SIZE];

    snprintf(buf, DISCOVERY_TOPIC_SIZE, "%s/device/%s/config", settings->home_assistant.prefix,
             object_of(settings, device, object));
    return buf;
}

const char *discovery_entity_topic(const struct settings *settings, const char *device,
                                   const char *path, char buf[static DISCOVERY_TOPIC_SIZE])
{
    char object[OBJECT_SIZE];
    size_t platform = strcspn(path, "/");

    snprintf(buf, DISCOVERY_TOPIC_SIZE, "%s/%.*s/%s_%s/config", settings->home_assistant.prefix,
             (int)platform, path, object_of(settings, device, object),
             path + platform + (path[platform] == '/'));
    return buf;
}

/* The last three levels of `<prefix>/<kind>/<object>/config`; false: it is not of that form. */
static bool split(const char *topic, size_t *ret_prefix, const char **ret_kind,
                  const char **ret_object, size_t *ret_length)
{
    static const char end[] = "/config";
    size_t length = strlen(topic), object, kind;

    if (length >= DISCOVERY_TOPIC_SIZE || length < sizeof(end) ||
        strcmp(topic + length - (sizeof(end) - 1), end) != 0)
        return false;
    length -= sizeof(end) - 1;
    for (object = length; object && topic[object - 1] != '/';)
        object--;
    if (object < 2)
        return false;
    for (kind = object - 1; kind && topic[kind - 1] != '/';)
        kind--;
    if (kind < 2) /* a prefix of one letter, at least */
        return false;
    *ret_prefix = kind - 1;
    *ret_kind = topic + kind;
    *ret_object = topic + object;
    *ret_length = length - object;
    return true;
}

bool discovery_is_topic_of(const struct settings *settings, const char *device, const char *topic)
{
    char own[OBJECT_SIZE];
    const char *kind, *object;
    size_t prefix, length, own_length = strlen(object_of(settings, device, own));

    if (!split(topic, &prefix, &kind, &object, &length) || length < own_length ||
        strncmp(object, own, own_length) != 0)
        return false;
    return strncmp(kind, "device/", 7) == 0 ? length == own_length
                                            : length > own_length + 1 && object[own_length] == '_';
}

bool discovery_path_of(const struct settings *settings, const char *device, const char *topic,
                       char path[static DISCOVERY_PATH_SIZE])
{
    char own[OBJECT_SIZE];
    const char *kind, *object;
    size_t prefix, length, own_length = strlen(object_of(settings, device, own)) + 1;

    if (!discovery_is_topic_of(settings, device, topic) ||
        !split(topic, &prefix, &kind, &object, &length) || length < own_length ||
        prefix != strlen(settings->home_assistant.prefix) ||
        strncmp(topic, settings->home_assistant.prefix, prefix) != 0)
        return false;
    int n = snprintf(path, DISCOVERY_PATH_SIZE, "%.*s%.*s", (int)(object - kind), kind,
                     (int)(length - own_length), object + own_length);
    return n > 0 && n < DISCOVERY_PATH_SIZE;
}

const char *discovery_ids_of(const char *topic, size_t *ret_length)
{
    const char *kind, *object;
    size_t prefix, length, own = sizeof(OBJECT_PREFIX) - 1;

    if (!split(topic, &prefix, &kind, &object, &length) || length <= own ||
        strncmp(object, OBJECT_PREFIX, own) != 0)
        return NULL;
    *ret_length = length - own;
    return object + own;
}

/* ---- entities ---- */

struct discovery_sink {
    struct strbuf keys; /* owned */
    discovery_visit visit;
    void *data; /* borrowed */
    struct discovery_entity entity;
    char path[DISCOVERY_PATH_SIZE], unique_id[OBJECT_SIZE + DISCOVERY_PATH_SIZE];
    bool failed;
};

void discovery_entity_begin(const struct discovery_context *context, const char *platform,
                            const char *first, const char *second)
{
    struct discovery_sink *sink = context->sink;
    const char *device = context->device ? context->device->id : NULL;
    char object[OBJECT_SIZE];

    sink->entity = (struct discovery_entity){.platform = platform,
                                             .first = first,
                                             .second = second,
                                             .path = sink->path,
                                             .unique_id = sink->unique_id};
    snprintf(sink->path, sizeof(sink->path), "%s/%s%s%s", platform, first, *first ? "_" : "",
             second);
    snprintf(sink->unique_id, sizeof(sink->unique_id), "%s_%s",
             object_of(context->settings, device, object), strchr(sink->path, '/') + 1);
    strbuf_reset(&sink->keys);
    *context->w = json_writer_to(&sink->keys);
    json_write_object_begin(context->w);
    discovery_key_string(context->w, "unique_id", sink->unique_id);
}

void discovery_entity_end(const struct discovery_context *context, const char *over,
                          const char *more)
{
    struct discovery_sink *sink = context->sink;

    json_write_object_end(context->w);
    discovery_merge(context->w, 0, over);
    discovery_merge(context->w, 0, more);
    if (!strbuf_ok(&sink->keys)) {
        sink->failed = true;
        return;
    }
    sink->entity.keys = strbuf_str(&sink->keys);
    sink->entity.length = sink->keys.length;
    sink->visit(sink->data, &sink->entity);
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

static void write_identifier(struct json_writer *w, const struct discovery_about *about)
{
    char object[OBJECT_SIZE];

    json_write_key(w, "identifiers");
    json_write_array_begin(w);
    json_write_string(w,
                      object_of(about->settings, about->device ? about->device->id : NULL, object));
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

    discovery_entity_begin(context, platform, "status", id);
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
    discovery_entity_end(context, NULL, NULL);
    diagnostic_begin(context, "rssi", "Signal strength", "sensor", "link");
    discovery_key_string(w, "value_template", "{{ value_json['rssi'] }}");
    discovery_key_string(w, "device_class", "signal_strength");
    discovery_key_string(w, "unit_of_measurement", "dBm");
    discovery_key_string(w, "state_class", "measurement");
    json_write_key(w, "enabled_by_default");
    json_write_bool(w, false);
    discovery_entity_end(context, NULL, NULL);
    diagnostic_begin(context, "link", "Link", "sensor", "link");
    discovery_key_string(w, "value_template", "{{ value_json['state'] }}");
    discovery_entity_end(context, NULL, NULL);
    diagnostic_begin(context, "why", "Why", "sensor", "link");
    discovery_key_string(w, "value_template", "{{ value_json['why'] }}");
    discovery_entity_end(context, NULL, NULL);
}

/* whether the gateway is there */
static void write_status(const struct discovery_context *context)
{
    struct json_writer *w = context->w;

    discovery_entity_begin(context, "binary_sensor", "", "status");
    discovery_key_string(w, "name", "Status");
    write_bridge_topic(w, "state_topic", context->settings);
    discovery_key_string(w, "payload_on", "online");
    discovery_key_string(w, "payload_off", "offline");
    discovery_key_string(w, "device_class", "connectivity");
    discovery_key_string(w, "entity_category", "diagnostic");
    discovery_entity_end(context, NULL, NULL);
}

bool discovery_each(const struct settings *settings, const struct device_settings *device,
                    discovery_visit visit, void *data)
{
    struct json_writer w = {0};
    struct discovery_sink sink = {.keys = STRBUF_INIT, .visit = visit, .data = data};
    struct discovery_context context = {
        .w = &w, .settings = settings, .device = device, .sink = &sink};

    if (device) {
        discovery_write_entities(&context);
        write_diagnostics(&context);
    } else {
        write_status(&context);
    }
    strbuf_done(&sink.keys);
    return !sink.failed;
}

/* ---- the documents ---- */

static void write_connection(struct json_writer *w, const struct bt_address *address)
{
    char text[BT_ADDRESS_TEXT_SIZE];

    bt_address_format(address, text);
    json_write_key(w, "connections");
    json_write_array_begin(w);
    json_write_array_begin(w);
    json_write_string(w, "bluetooth");
    json_write_string(w, text);
    json_write_array_end(w);
    json_write_array_end(w);
}

static void write_about(struct json_writer *w, const struct discovery_about *about)
{
    const struct device_settings *device = about->device;
    const char *id = about->settings->gateway.id;

    json_write_key(w, "device");
    size_t start = w->out->length;
    json_write_object_begin(w);
    write_identifier(w, about);
    if (!device) {
        discovery_key_joined(w, "name", "gatt2mqtt ", id, NULL);
        discovery_key_string(w, "manufacturer", "gatt2mqtt");
        discovery_key_string(w, "sw_version", about->version);
        json_write_object_end(w);
        return;
    }
    if (about->address)
        write_connection(w, about->address);
    discovery_key_string(w, "name", device->name ? device->name : device->id);
    if (device->manufacturer)
        discovery_key_string(w, "manufacturer", device->manufacturer);
    if (device->model)
        discovery_key_string(w, "model", device->model);
    if (device->area)
        discovery_key_string(w, "suggested_area", device->area);
    discovery_key_joined(w, "via_device", OBJECT_PREFIX GATEWAY_PREFIX, id, NULL);
    json_write_object_end(w);
    discovery_merge(w, start, device->home_assistant);
}

static void write_qos(struct json_writer *w)
{
    json_write_key(w, "qos");
    json_write_uint(w, 1);
}

struct components {
    struct json_writer *w; /* borrowed */
    const char *const *gone;
    size_t n_gone;
};

static void write_component(void *data, const struct discovery_entity *entity)
{
    const struct components *components = data;
    struct json_writer *w = components->w;
    const char *key = strchr(entity->path, '/') + 1;

    for (size_t i = 0; i < components->n_gone; i++) /* also of another platform */
        if (strcmp(strchr(components->gone[i], '/') + 1, key) == 0)
            return;
    json_write_key(w, key);
    json_write_object_begin(w);
    discovery_key_string(w, "platform", entity->platform);
    json_write_raw(w, entity->keys + 1, entity->length - 2);
    json_write_object_end(w);
}

static void write_gone(struct json_writer *w, const char *path)
{
    size_t length = strcspn(path, "/");

    json_write_key(w, path + length + 1);
    json_write_object_begin(w);
    json_write_key(w, "platform");
    json_write_string_n(w, path, length);
    json_write_object_end(w);
}

void discovery_write_device(struct strbuf *out, const struct discovery_about *about,
                            const char *const *gone, size_t n_gone)
{
    struct json_writer w = json_writer_to(out);
    struct components components = {.w = &w, .gone = gone, .n_gone = n_gone};

    json_write_object_begin(&w);
    write_about(&w, about);
    write_origin(&w, about->version);
    if (about->device)
        write_availability(&w, about->settings, about->device);
    write_qos(&w);
    json_write_key(&w, "components");
    json_write_object_begin(&w);
    for (size_t i = 0; i < n_gone; i++)
        write_gone(&w, gone[i]);
    if (!discovery_each(about->settings, about->device, write_component, &components))
        out->failed = true;
    json_write_object_end(&w);
    json_write_object_end(&w);
}

/* In a text within the object its quotation marks would be escaped. */
static bool has_key(const struct discovery_entity *entity, const char *key)
{
    char text[64];
    int n = snprintf(text, sizeof(text), "\"%s\":", key);

    return memmem(entity->keys, entity->length, text, (size_t)n) != NULL;
}

void discovery_write_entity(struct strbuf *out, const struct discovery_about *about,
                            const struct discovery_entity *entity)
{
    struct json_writer w = json_writer_to(out);

    json_write_object_begin(&w);
    json_write_raw(&w, entity->keys + 1, entity->length - 2);
    if (!has_key(entity, "device"))
        write_about(&w, about);
    if (!has_key(entity, "origin"))
        write_origin(&w, about->version);
    if (about->device && !has_key(entity, "availability") && !has_key(entity, "availability_topic"))
        write_availability(&w, about->settings, about->device);
    if (!has_key(entity, "qos"))
        write_qos(&w);
    json_write_object_end(&w);
}
