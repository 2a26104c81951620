/*
 * One field of a characteristic to one entity of Home Assistant; see discovery.h. A field that can
 * be written by itself is a control (switch, number, select, text), any other a sensor.
 */
#include "core/discovery_part.h"

#include "core/entity.h"
#include "util/decimal.h"
#include "util/err.h"
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define NAME_SIZE (SETTINGS_MAX_NAME + SCHEMA_MAX_NAME + 2)

enum platform {
    PLATFORM_NONE,
    PLATFORM_SENSOR,
    PLATFORM_BINARY_SENSOR,
    PLATFORM_EVENT,
    PLATFORM_SWITCH,
    PLATFORM_NUMBER,
    PLATFORM_SELECT,
    PLATFORM_TEXT,
    PLATFORM_BUTTON,
};

static const char *const platform_names[] = {
    [PLATFORM_NONE] = "",
    [PLATFORM_SENSOR] = "sensor",
    [PLATFORM_BINARY_SENSOR] = "binary_sensor",
    [PLATFORM_EVENT] = "event",
    [PLATFORM_SWITCH] = "switch",
    [PLATFORM_NUMBER] = "number",
    [PLATFORM_SELECT] = "select",
    [PLATFORM_TEXT] = "text",
    [PLATFORM_BUTTON] = "button",
};

struct entity {
    const struct discovery_context *context;
    const struct characteristic_settings *characteristic;
    const struct field_spec *field; /* NULL: the whole */
    const char *name;               /* of the field; "value" of the whole, "press" of a button */
    enum platform platform;
    bool is_control;
};

/* ---- which fields are entities ---- */

/* const and computed fields say nothing that one would watch */
static bool is_entity(const struct device_settings *device,
                      const struct characteristic_settings *characteristic, size_t index)
{
    const struct schema *schema = characteristic->schema;
    const struct field_spec *field = &schema->fields[index];

    return field->publish && !schema_is_alternative(schema, index) && !field->has_const &&
           field->compute == FIELD_COMPUTE_NONE && field->type != FIELD_TYPE_ARRAY &&
           !entity_uses_field(device, (size_t)(characteristic - device->characteristics), index);
}

static bool is_whole(const struct characteristic_settings *characteristic)
{
    return !characteristic->schema || characteristic->payload == PAYLOAD_HEX;
}

/* All that can be written is one and the same value: a button. */
static bool is_button(const struct characteristic_settings *characteristic)
{
    return characteristic->writable && characteristic->schema &&
           schema_needs_nothing(characteristic->schema);
}

static const char *name_of(const struct characteristic_settings *characteristic,
                           const struct field_spec *field)
{
    return field ? field->name : is_button(characteristic) ? "press" : "value";
}

static size_t count_entities(const struct device_settings *device,
                             const struct characteristic_settings *characteristic)
{
    size_t n = 0;

    if (characteristic->n_messages || characteristic->payload == PAYLOAD_RAW ||
        characteristic->for_steps_only)
        return 0; /* its messages publish; bytes are no text; there is nothing to see */
    if (is_button(characteristic) || is_whole(characteristic))
        return 1;
    for (size_t i = 0; i < characteristic->schema->n_fields; i++)
        n += is_entity(device, characteristic, i);
    return characteristic->payload == PAYLOAD_VALUE ? MIN_OF(n, (size_t)1) : n;
}

/* the next field of that many at or behind *index; NULL for a whole */
static const struct field_spec *next_field(const struct device_settings *device,
                                           const struct characteristic_settings *characteristic,
                                           size_t *index)
{
    if (is_button(characteristic) || is_whole(characteristic))
        return NULL;
    while (!is_entity(device, characteristic, *index))
        ++*index;
    return &characteristic->schema->fields[(*index)++];
}

static enum platform choose_platform(const struct entity *entity)
{
    const struct field_spec *field = entity->field;

    if (!field)
        return is_button(entity->characteristic) ? PLATFORM_BUTTON : PLATFORM_SENSOR;
    if (entity->is_control) {
        if (field->n_enums)
            return PLATFORM_SELECT;
        if (field->type == FIELD_TYPE_BOOL)
            return PLATFORM_SWITCH;
        return field_spec_is_number(field)        ? PLATFORM_NUMBER
               : field->type == FIELD_TYPE_STRING ? PLATFORM_TEXT
                                                  : PLATFORM_SENSOR;
    }
    if (field->n_enums)
        return entity->characteristic->kind == KIND_EVENT &&
                       entity->characteristic->payload == PAYLOAD_JSON
                   ? PLATFORM_EVENT
                   : PLATFORM_SENSOR;
    return field->type == FIELD_TYPE_BOOL ? PLATFORM_BINARY_SENSOR : PLATFORM_SENSOR;
}

/* ---- names ---- */

/* "heart_rate" -> "Heart rate" */
static void humanize(const char *id, char *buf, size_t size)
{
    snprintf(buf, size, "%s", id);
    for (char *p = buf; *p; p++)
        if (*p == '_' || *p == '-')
            *p = ' ';
    *buf = (char)toupper((unsigned char)*buf);
}

/* The Bluetooth SIG's "heart_rate_measurement_value" is a "Heart rate" to people. */
static void humanize_field(const char *name, char *buf, size_t size)
{
    static const char tail[] = "_measurement_value";
    size_t length = strlen(name), tail_length = strlen(tail);

    if (length > tail_length && strcmp(name + length - tail_length, tail) == 0)
        size = MIN_OF(size, length - tail_length + 1);
    humanize(name, buf, size);
}

/* it says no more than the characteristic's name */
static bool is_value(const char *name)
{
    return strcmp(name, "value") == 0 || strcmp(name, "press") == 0;
}

static bool is_same_name(const struct device_settings *device,
                         const struct characteristic_settings *characteristic, const char *name)
{
    size_t n = count_entities(device, characteristic), index = 0;

    for (size_t i = 0; i < n; i++) {
        const struct field_spec *field = next_field(device, characteristic, &index);
        if (field && strcmp(field->name, name) == 0)
            return true;
    }
    return false;
}

/* no other characteristic of the device has a field of that name */
static bool is_unique(const struct entity *entity)
{
    const struct device_settings *device = entity->context->device;

    for (size_t i = 0; i < device->n_characteristics; i++)
        if (&device->characteristics[i] != entity->characteristic &&
            is_same_name(device, &device->characteristics[i], entity->name))
            return false;
    return true;
}

/* Home Assistant puts the device's name before it: NULL where that is all, and never twice. */
static const char *without_device(const struct device_settings *device, const char *name)
{
    const char *prefix = device->name ? device->name : device->id;
    size_t length = strlen(prefix);

    if (strcasecmp(name, prefix) == 0)
        return NULL;
    return strncasecmp(name, prefix, length) == 0 && name[length] == ' ' ? name + length + 1 : name;
}

static void write_name(struct json_writer *w, const struct entity *entity)
{
    char name[NAME_SIZE], field[SCHEMA_MAX_NAME + 1];
    const char *of = entity->characteristic->name;

    humanize(entity->characteristic->id, name, sizeof(name));
    if (of)
        snprintf(name, sizeof(name), "%s", of);
    humanize_field(entity->name, field, sizeof(field));
    if (!is_value(entity->name) && is_unique(entity)) {
        snprintf(name, sizeof(name), "%s", field);
    } else if (!is_value(entity->name)) {
        size_t length = strlen(name);
        *field = (char)tolower((unsigned char)*field);
        snprintf(name + length, sizeof(name) - length, " %s", field);
    }
    const char *shown = without_device(entity->context->device, name);
    if (shown)
        name[shown - name] = (char)toupper((unsigned char)*shown);
    discovery_key_string(w, "name", shown);
}

/* ---- the state ---- */

/* the class of a number that is a field of the characteristic */
static const char *class_of(const struct characteristic_settings *characteristic,
                            const struct field_spec *field, const char *unit)
{
    return discovery_number_class(field, unit,
                                  is_value(field->name) ? characteristic->id : field->name);
}

const char *discovery_otherwise(const struct characteristic_settings *characteristic,
                                const struct field_spec *field)
{
    char buf[40];
    const char *unit = discovery_unit(field->unit, buf, sizeof(buf));

    if (field_spec_is_number(field) && !field->n_enums) {
        const char *device_class = class_of(characteristic, field, unit);
        if (unit || device_class || field->scaled || field->rounded ||
            discovery_state_class(field, device_class, unit))
            return "";
    }
    return "{% else %}{{ 'None' if this.state in ['unknown', 'unavailable'] else this.state }}";
}

/* A state has at most 255 characters: of a longer one Home Assistant shows nothing. */
static bool may_be_long(const struct entity *entity)
{
    const struct field_spec *field = entity->field;

    if (!field || field->type == FIELD_TYPE_BYTES)
        return !field || field_spec_length(field) > 255 / 2;
    return field->type == FIELD_TYPE_STRING && field_spec_length(field) > 255;
}

static void write_template(struct json_writer *w, const struct entity *entity)
{
    const struct field_spec *field = entity->field;
    const char *name = entity->name;
    const char *from = may_be_long(entity) ? "(" : "";
    const char *to = may_be_long(entity) ? " | string)[:255]" : "";
    char text[4 * SCHEMA_MAX_NAME + 280];

    /* what is not in a message changes nothing */
    if (entity->platform == PLATFORM_EVENT)
        snprintf(text, sizeof(text),
                 "{%% if value_json.get('%s') %%}{{ {'event_type': value_json['%s']} | tojson }}"
                 "{%% endif %%}",
                 name, name);
    else if (entity->characteristic->payload == PAYLOAD_VALUE)
        snprintf(text, sizeof(text), "{{ 'None' if value == 'null' else %svalue%s }}", from, to);
    else if (entity->characteristic->payload == PAYLOAD_HEX)
        snprintf(text, sizeof(text), "{{ %svalue%s }}", from, to);
    else if (field && field->when.field)
        snprintf(text, sizeof(text),
                 "{%% if '%s' in value_json %%}{{ %svalue_json['%s']%s }}%s{%% endif %%}", name,
                 from, name, to,
                 entity->platform == PLATFORM_SENSOR
                     ? discovery_otherwise(entity->characteristic, field)
                     : "");
    else
        snprintf(text, sizeof(text), "{{ %svalue_json['%s']%s }}", from, name, to);
    discovery_key_string(w, "value_template", text);
}

static void write_topic(struct json_writer *w, const char *key, const struct entity *entity,
                        const char *more, const char *last)
{
    char topic[SETTINGS_MAX_BASE_TOPIC + 3 * SETTINGS_MAX_ID + 32];

    snprintf(topic, sizeof(topic), "%s/%s/%s%s%s", entity->context->settings->gateway.base_topic,
             entity->context->device->id, entity->characteristic->id, more, last);
    discovery_key_string(w, key, topic);
}

static void write_options(struct json_writer *w, const char *key, const struct field_spec *field)
{
    json_write_key(w, key);
    json_write_array_begin(w);
    for (size_t i = 0; i < field->n_enums; i++)
        json_write_string(w, field->enums[i].name);
    json_write_array_end(w);
}

static void write_words(struct json_writer *w, const struct entity *entity, const char *on,
                        const char *off)
{
    bool bare = entity->characteristic->payload == PAYLOAD_VALUE;

    /* Jinja's words for JSON's */
    discovery_key_string(w, on, bare ? "true" : "True");
    discovery_key_string(w, off, bare ? "false" : "False");
}

static void write_unit(struct json_writer *w, const struct entity *entity)
{
    const struct field_spec *field = entity->field;
    char buf[40];
    const char *unit = discovery_unit(field->unit, buf, sizeof(buf));
    const char *device_class = class_of(entity->characteristic, field, unit);

    if (unit)
        discovery_key_string(w, "unit_of_measurement", unit);
    if (device_class)
        discovery_key_string(w, "device_class", device_class);
    if (entity->platform != PLATFORM_SENSOR)
        return;
    const char *state_class = discovery_state_class(field, device_class, unit);
    if (state_class)
        discovery_key_string(w, "state_class", state_class);
    if (field->scaled || field->rounded) {
        json_write_key(w, "suggested_display_precision");
        json_write_uint(w, field->rounded ? field->round_to : field->decimals);
    }
    if (!field->entity_category && device_class && strcmp(device_class, "battery") == 0)
        discovery_key_string(w, "entity_category", "diagnostic");
}

static void write_sensor(struct json_writer *w, const struct entity *entity)
{
    const struct field_spec *field = entity->field;
    uint64_t stale_ms = entity->characteristic->stale_after_ms;

    if (stale_ms) {
        json_write_key(w, "expire_after");
        json_write_uint(w, stale_ms / 1000 + (stale_ms % 1000 != 0));
    }
    if (!field)
        return;
    if (entity->platform == PLATFORM_BINARY_SENSOR) {
        write_words(w, entity, "payload_on", "payload_off");
        if (discovery_is_binary_class(field->device_class))
            discovery_key_string(w, "device_class", field->device_class);
    } else if (field->n_enums) {
        discovery_key_string(w, "device_class", "enum");
        write_options(w, "options", field);
    } else if (field_spec_is_number(field)) {
        write_unit(w, entity);
    }
}

/* ---- controls ---- */

/* a step of its own is at least 0.001 */
void discovery_write_bounds(struct json_writer *w, const struct field_spec *field, double least,
                            double most)
{
    bool is_integer = field && (field->type == FIELD_TYPE_UINT || field->type == FIELD_TYPE_INT);
    double step = is_integer ? fabs(decimal_to_double(field->scale)) : 0.001;

    if (field && field->has_step)
        step = decimal_to_double(field->step);
    json_write_key(w, "min");
    json_write_double(w, least, 6);
    json_write_key(w, "max");
    json_write_double(w, most, 6);
    json_write_key(w, "step");
    json_write_double(w, step < 0.001 ? 0.001 : step, 6);
    discovery_key_string(w, "mode", "box");
}

static void write_control(struct json_writer *w, const struct entity *entity)
{
    const struct field_spec *field = entity->field;
    double least = -1e9, most = 1e9;

    write_topic(w, "command_topic", entity, "/set/", entity->name);
    switch (entity->platform) {
    case PLATFORM_SWITCH:
        write_words(w, entity, "state_on", "state_off");
        discovery_key_string(w, "payload_on", "true");
        discovery_key_string(w, "payload_off", "false");
        if (discovery_is_switch_class(field->device_class))
            discovery_key_string(w, "device_class", field->device_class);
        break;
    case PLATFORM_NUMBER:
        entity_field_range(field, &least, &most);
        discovery_write_bounds(w, field, least, most);
        write_unit(w, entity);
        break;
    case PLATFORM_SELECT:
        write_options(w, "options", field);
        discovery_key_string(w, "command_template", "{{ value | tojson }}");
        break;
    case PLATFORM_TEXT:
        discovery_key_string(w, "command_template", "{{ value | tojson }}");
        json_write_key(w, "max");
        json_write_uint(w, MIN_OF(field_spec_length(field), (size_t)255));
        break;
    case PLATFORM_NONE:
    case PLATFORM_SENSOR:
    case PLATFORM_BINARY_SENSOR:
    case PLATFORM_EVENT:
    case PLATFORM_BUTTON: break;
    }
}

/* ---- the whole ---- */

static void write_looks(struct json_writer *w, const struct entity *entity)
{
    const struct field_spec *field = entity->field;
    const char *category = field ? field->entity_category : NULL;

    if (field && field->icon && strchr(field->icon, ':'))
        discovery_key_string(w, "icon", field->icon);
    if (category && (strcmp(category, "diagnostic") == 0 ||
                     (strcmp(category, "config") == 0 && entity->is_control)))
        discovery_key_string(w, "entity_category", category);
}

static void write_body(struct json_writer *w, const struct entity *entity)
{
    const struct field_spec *field = entity->field;

    write_topic(w, "state_topic", entity, "", "");
    write_template(w, entity);
    write_looks(w, entity);
    if (entity->is_control) {
        write_control(w, entity);
    } else if (entity->platform == PLATFORM_EVENT) {
        write_options(w, "event_types", field);
        if (discovery_is_event_class(field->device_class))
            discovery_key_string(w, "device_class", field->device_class);
    } else {
        write_sensor(w, entity);
    }
}

/* a part of a composed entity has no control of its own */
static bool uses(const struct device_settings *device,
                 const struct characteristic_settings *characteristic, size_t index)
{
    return entity_is_part(device, (size_t)(characteristic - device->characteristics), index);
}

static void write_entity(const struct discovery_context *context,
                         const struct characteristic_settings *characteristic,
                         const struct field_spec *field)
{
    struct json_writer *w = context->w;
    struct entity entity = {.context = context,
                            .characteristic = characteristic,
                            .field = field,
                            .name = name_of(characteristic, field)};

    size_t index = field ? (size_t)(field - characteristic->schema->fields) : 0;
    entity.is_control = field && entity_is_settable(characteristic, &index, 1) &&
                        !uses(context->device, characteristic, index);
    entity.platform = choose_platform(&entity);
    entity.is_control &= entity.platform >= PLATFORM_SWITCH;
    discovery_entity_begin(context, platform_names[entity.platform], characteristic->id,
                           entity.name);
    write_name(w, &entity);
    if (entity.platform == PLATFORM_BUTTON) {
        write_topic(w, "command_topic", &entity, "/set", "");
        discovery_key_string(w, "payload_press", "{}");
    } else {
        write_body(w, &entity);
    }
    discovery_entity_end(context, characteristic->home_assistant,
                         field ? field->home_assistant : NULL);
}

void discovery_write_sensor(const struct discovery_context *context,
                            const struct characteristic_settings *characteristic,
                            const struct field_spec *field)
{
    struct entity entity = {.context = context,
                            .characteristic = characteristic,
                            .field = field,
                            .name = field->name,
                            .platform = PLATFORM_SENSOR};

    write_sensor(context->w, &entity);
}

void discovery_write_name(const struct discovery_context *context, const char *id, const char *name,
                          bool is_device)
{
    char text[NAME_SIZE];

    humanize(id, text, sizeof(text));
    discovery_key_string(context->w, "name",
                         is_device ? NULL : without_device(context->device, name ? name : text));
}

/* a named command that takes nothing is a button */
static void write_button(const struct discovery_context *context,
                         const struct command_settings *command)
{
    struct json_writer *w = context->w;
    char text[SETTINGS_MAX_BASE_TOPIC + 3 * SETTINGS_MAX_ID + 32];

    discovery_entity_begin(context, "button", "command", command->id);
    discovery_write_name(context, command->id, command->name, false);
    snprintf(text, sizeof(text), "%s/%s/command/%s", context->settings->gateway.base_topic,
             context->device->id, command->id);
    discovery_key_string(w, "command_topic", text);
    discovery_key_string(w, "payload_press", "{}");
    discovery_entity_end(context, NULL, NULL);
}

void discovery_write_entities(const struct discovery_context *context)
{
    const struct device_settings *device = context->device;

    for (size_t i = 0; i < device->n_characteristics; i++) {
        const struct characteristic_settings *characteristic = &device->characteristics[i];
        size_t n = count_entities(device, characteristic), index = 0;
        for (size_t j = 0; j < n; j++)
            write_entity(context, characteristic, next_field(device, characteristic, &index));
    }
    for (size_t i = 0; i < device->n_commands; i++)
        if (!device->commands[i].parameters && !entity_uses_command(device, i))
            write_button(context, &device->commands[i]);
    for (size_t i = 0; i < device->n_entities; i++)
        discovery_write_composed(context, &device->entities[i]);
}
