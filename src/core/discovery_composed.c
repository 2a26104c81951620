/*
 * A composed entity of the file to one entity of Home Assistant, after the table of platforms; see
 * entity.h. Commands are JSON for our own topics; templates make of our values what the platform
 * expects.
 */
#include "core/discovery_composed.h"

#include "util/err.h"
#include "util/round.h"
#include <stdio.h>
#include <string.h>

/* ---- parts of templates ---- */

/* a text as a literal of Jinja */
static void put_text(struct strbuf *out, const char *text)
{
    strbuf_putc(out, '\'');
    for (; *text; text++) {
        if (*text == '\'' || *text == '\\')
            strbuf_putc(out, '\\');
        if (*text == '\n')
            strbuf_puts(out, "\\n");
        else
            strbuf_putc(out, *text);
    }
    strbuf_putc(out, '\'');
}

/* a JSON scalar as a literal of Jinja: texts with the quotes that look well within JSON */
static void put_literal(struct strbuf *out, const char *json)
{
    if (*json != '"') {
        strbuf_puts(out, json);
        return;
    }
    strbuf_putc(out, '\'');
    for (json++; json[0] && json[1]; json++) {
        if (json[0] == '\\' && json[1] == '"')
            continue;
        if (*json == '\'')
            strbuf_putc(out, '\\');
        strbuf_putc(out, *json);
        if (json[0] == '\\' && json[2])
            strbuf_putc(out, *++json);
    }
    strbuf_putc(out, '\'');
}

static const struct characteristic_settings *characteristic_of(const struct composed *composed,
                                                               const struct entity_binding *binding)
{
    return &composed->context->device->characteristics[binding->characteristic];
}

/* what the field's value is called in a template */
static void put_access(struct strbuf *out, const struct composed *composed,
                       const struct entity_binding *binding, size_t at)
{
    const struct characteristic_settings *of = characteristic_of(composed, binding);
    const struct field_spec *field = &of->schema->fields[binding->fields[at]];

    if (of->payload == PAYLOAD_JSON)
        strbuf_printf(out, "value_json['%s']", field->name);
    else /* bare: only numbers and bools are JSON then */
        strbuf_puts(out, field->type == FIELD_TYPE_BOOL && !field->n_enums ? "value_json"
                         : field_spec_is_number(field)                     ? "value_json"
                                                                           : "value");
}

/* A field that is not in every message changes nothing where it is missing. */
static bool put_guard(struct strbuf *out, const struct composed *composed,
                      const struct entity_binding *binding)
{
    const struct characteristic_settings *of = characteristic_of(composed, binding);
    const struct field_spec *field = &of->schema->fields[binding->fields[0]];

    if (!field->when.field || of->payload != PAYLOAD_JSON)
        return false;
    strbuf_printf(out, "{%% if '%s' in value_json %%}", field->name);
    return true;
}

/* ---- the state ---- */

/* what stands for the word: the payload of its action, or the word as Home Assistant has it */
static void put_shown(struct strbuf *out, const struct composed *composed, size_t word)
{
    const struct entity_platform *platform = composed->entity->platform;
    const struct role_word *role_word = &composed_role_of(composed)->words[word];
    struct entity_action action;

    if (platform->state_is_payload && strcmp(composed_role_of(composed)->name, "state") == 0) {
        size_t role = entity_role_find(platform, role_word->name);
        if (role != SIZE_MAX &&
            entity_action(composed->context->device, composed->entity, role, &action)) {
            struct entity_action first;
            bool by_name = entity_sink(composed->context->device, composed->entity, &first) ==
                           ENTITY_SINK_ENTITY;
            put_text(out, by_name ? role_word->name : action.value);
            return;
        }
    }
    put_text(out, role_word->shown);
}

static void put_words(struct strbuf *out, const struct composed *composed,
                      const struct entity_binding *binding)
{
    const struct entity_role *role = composed_role_of(composed);

    if (!binding->n_values) { /* a number: more than 0 or not */
        strbuf_puts(out, "{{ 'None' if ");
        put_access(out, composed, binding, 0);
        strbuf_puts(out, " is none else ");
        put_shown(out, composed, role->more_word);
        strbuf_puts(out, " if ");
        put_access(out, composed, binding, 0);
        strbuf_puts(out, " > 0 else ");
        put_shown(out, composed, role->false_word);
        strbuf_puts(out, " }}");
        return;
    }
    strbuf_puts(out, "{{ {");
    for (size_t i = 0; i < binding->n_values; i++) {
        strbuf_puts(out, i ? ", " : "");
        put_literal(out, binding->values[i].value);
        strbuf_puts(out, ": ");
        put_shown(out, composed, binding->values[i].word);
    }
    strbuf_puts(out, "}.get(");
    put_access(out, composed, binding, 0);
    strbuf_puts(out, ", 'None') }}");
}

static void put_number(struct strbuf *out, const struct composed *composed,
                       const struct entity_binding *binding)
{
    const struct entity_role *role = composed_role_of(composed);
    const struct field_spec *field = entity_field(composed->context->device, binding);
    bool kelvin = role->range == ROLE_RANGE_COLOR_TEMP && composed_is_kelvin(field);
    bool whole = (role->range == ROLE_RANGE_SPEED || role->range == ROLE_RANGE_BRIGHTNESS) &&
                 (field->scaled || field->type == FIELD_TYPE_FLOAT32);
    bool plain = !kelvin && !whole && !role->none_is_empty;

    if (plain) {
        strbuf_puts(out, "{{ ");
        put_access(out, composed, binding, 0);
        strbuf_puts(out, " }}");
        return;
    }
    strbuf_printf(out, "{{ %s if ", role->none_is_empty ? "''" : "'None'");
    put_access(out, composed, binding, 0);
    strbuf_puts(out, kelvin ? " in [none, 0] else (1000000 / " : " is none else ");
    put_access(out, composed, binding, 0);
    strbuf_puts(out, kelvin ? ") | round | int }}" : whole ? " | round | int }}" : " }}");
}

static void put_color(struct strbuf *out, const struct composed *composed,
                      const struct entity_binding *binding)
{
    strbuf_puts(out, "{% set color = [");
    for (size_t i = 0; i < binding->n_fields; i++) {
        strbuf_puts(out, i ? ", " : "");
        put_access(out, composed, binding, i);
    }
    /* it takes no None; what is empty changes nothing */
    strbuf_puts(out, "] %}{{ '' if none in color else color | join(',') }}");
}

/* a name or text as it is; bare, what is not known is `null` */
static void put_name(struct strbuf *out, const struct composed *composed,
                     const struct entity_binding *binding)
{
    if (characteristic_of(composed, binding)->payload == PAYLOAD_VALUE) {
        strbuf_puts(out, "{{ 'None' if value == 'null' else value }}");
        return;
    }
    strbuf_puts(out, "{{ ");
    put_access(out, composed, binding, 0);
    strbuf_puts(out, " }}");
}

static void write_topic(struct json_writer *w, const char *key, const struct composed *composed,
                        const char *of, const char *more, const char *last)
{
    char topic[SETTINGS_MAX_BASE_TOPIC + 3 * SETTINGS_MAX_ID + 32];

    snprintf(topic, sizeof(topic), "%s/%s/%s%s%s", composed->context->settings->gateway.base_topic,
             composed->context->device->id, of, more, last);
    discovery_key_string(w, key, topic);
}

static void write_text_key(struct json_writer *w, const char *key, struct strbuf *text)
{
    json_write_key(w, key);
    json_write_string_n(w, strbuf_str(text), text->length);
    strbuf_done(text);
}

static void write_state(struct json_writer *w, const struct composed *composed)
{
    const struct entity_role *role = composed_role_of(composed);
    const struct entity_binding *binding = composed_binding_of(composed);
    struct strbuf text = STRBUF_INIT;

    write_topic(w, role->state_topic, composed, characteristic_of(composed, binding)->id, "", "");
    bool guarded = put_guard(&text, composed, binding);
    switch (role->kind) {
    case ROLE_KIND_WORDS: put_words(&text, composed, binding); break;
    case ROLE_KIND_NUMBER: put_number(&text, composed, binding); break;
    case ROLE_KIND_COLOR: put_color(&text, composed, binding); break;
    case ROLE_KIND_NAMES:
    case ROLE_KIND_TEXT:
    case ROLE_KIND_ACTION: put_name(&text, composed, binding); break;
    }
    if (guarded && strcmp(composed->entity->platform->name, "sensor") == 0)
        strbuf_puts(&text, discovery_otherwise(characteristic_of(composed, binding),
                                               entity_field(composed->context->device, binding)));
    if (guarded)
        strbuf_puts(&text, "{% endif %}");
    write_text_key(w, role->state_template, &text);
}

/* ---- what it is set by ---- */

/* the value as JSON, in terms of what Home Assistant calls it */
static void put_value(struct strbuf *out, const struct composed *composed,
                      const struct entity_binding *target)
{
    const struct entity_role *role = composed_role_of(composed);
    const struct entity_binding *binding = composed_binding_of(composed);
    double least = 0, most = 0;

    if (role->kind == ROLE_KIND_WORDS) {
        const struct entity_binding *with = target->n_values ? target : binding;
        strbuf_puts(out, "{{ {");
        for (size_t i = 0; i < with->n_values; i++) {
            strbuf_puts(out, i ? ", " : "");
            put_text(out, role->words[with->values[i].word].shown);
            strbuf_puts(out, ": ");
            put_literal(out, with->values[i].value);
        }
        strbuf_puts(out, "}[value] | tojson }}");
        return;
    }
    if (role->kind == ROLE_KIND_NAMES || role->kind == ROLE_KIND_TEXT) {
        strbuf_puts(out, "{{ value | tojson }}");
        return;
    }
    bool kelvin = role->range == ROLE_RANGE_COLOR_TEMP && target->command == NO_COMMAND &&
                  composed_is_kelvin(entity_field(composed->context->device, target));
    bool bounded = role->range == ROLE_RANGE_BRIGHTNESS &&
                   entity_range(composed->context->device, target, &least, &most) && least > 1;
    if (kelvin)
        strbuf_puts(out, "{{ (1000000 / value) | round | int }}");
    else if (bounded)
        strbuf_printf(out, "{{ [value, %d] | max }}", (int)round_up(least));
    else
        strbuf_puts(out, "{{ value }}");
}

static void put_colors(struct strbuf *out, const struct composed *composed,
                       const struct entity_binding *target)
{
    const struct schema *schema = characteristic_of(composed, target)->schema;

    for (size_t i = 0; i < target->n_fields; i++)
        strbuf_printf(out, "%s\"%s\": {{ %s }}", i ? ", " : "{ ",
                      schema->fields[target->fields[i]].name,
                      composed_role_of(composed)->variables[i]);
    strbuf_puts(out, " }");
}

static void write_set(struct json_writer *w, const struct composed *composed)
{
    const struct device_settings *device = composed->context->device;
    const struct entity_role *role = composed_role_of(composed);
    const struct entity_binding *target =
        role->command_topic ? entity_target(device, composed->entity, composed->role) : NULL;
    struct strbuf text = STRBUF_INIT;

    if (!target)
        return;
    if (target->command != NO_COMMAND) {
        const struct command_settings *command = &device->commands[target->command];
        write_topic(w, role->command_topic, composed, "command/", command->id, "");
        strbuf_printf(&text, "{ \"%s\": ", command->parameters->fields[target->parameter].name);
        put_value(&text, composed, target);
        strbuf_puts(&text, " }");
    } else if (role->kind == ROLE_KIND_COLOR) {
        write_topic(w, role->command_topic, composed, characteristic_of(composed, target)->id,
                    "/set", "");
        put_colors(&text, composed, target);
    } else {
        write_topic(w, role->command_topic, composed, characteristic_of(composed, target)->id,
                    "/set/", entity_field(device, target)->name);
        put_value(&text, composed, target);
    }
    write_text_key(w, role->command_template, &text);
}

/* ---- lists ---- */

static void write_options(struct json_writer *w, const struct composed *composed)
{
    const struct entity_role *role = composed_role_of(composed);
    const struct entity_binding *binding = composed_binding_of(composed);

    json_write_key(w, role->options);
    json_write_array_begin(w);
    if (role->kind == ROLE_KIND_WORDS)
        for (size_t i = 0; i < binding->n_values; i++)
            json_write_string(w, role->words[binding->values[i].word].shown);
    else
        for (size_t i = 0; i < entity_field(composed->context->device, binding)->n_enums; i++)
            json_write_string(w, entity_field(composed->context->device, binding)->enums[i].name);
    json_write_array_end(w);
}

/* ---- actions ---- */

static void write_payloads(struct json_writer *w, const struct composed *composed,
                           enum entity_sink sink)
{
    const struct entity_platform *platform = composed->entity->platform;
    struct entity_action action;

    for (size_t i = 0; i < platform->n_roles; i++) {
        const struct entity_role *role = &platform->roles[i];
        if (role->kind != ROLE_KIND_ACTION)
            continue;
        if (entity_action(composed->context->device, composed->entity, i, &action)) {
            discovery_key_string(w, role->payload,
                                 sink == ENTITY_SINK_ENTITY ? role->name : action.value);
        } else if (platform->keeps_null) {
            json_write_key(w, role->payload);
            json_write_null(w);
        }
    }
}

static void write_actions(struct json_writer *w, const struct composed *composed)
{
    const struct device_settings *device = composed->context->device;
    struct entity_action first;
    enum entity_sink sink = entity_sink(device, composed->entity, &first);

    switch (sink) {
    case ENTITY_SINK_NONE: return;
    case ENTITY_SINK_FIELD: {
        const struct characteristic_settings *of = &device->characteristics[first.characteristic];
        write_topic(w, "command_topic", composed, of->id, "/set/",
                    of->schema->fields[first.field].name);
        break;
    }
    case ENTITY_SINK_COMMAND:
        write_topic(w, "command_topic", composed, "command/", device->commands[first.command].id,
                    "");
        break;
    case ENTITY_SINK_ENTITY:
        write_topic(w, "command_topic", composed, "entity", "/set/", composed->entity->id);
        break;
    }
    write_payloads(w, composed, sink);
}

/* ---- what is a matter of one platform ---- */

/* a light that has only a brightness is switched by it */
static void write_light(struct json_writer *w, struct composed *composed)
{
    size_t brightness = entity_role_find(composed->entity->platform, "brightness");

    if (entity_binding_find(composed->entity, 0, false) ||
        !entity_binding_find(composed->entity, brightness, false))
        return;
    discovery_key_string(w, "on_command_type", "brightness");
}

/* without `state`, a number tells it */
static void write_fallback(struct json_writer *w, struct composed *composed)
{
    const struct entity_platform *platform = composed->entity->platform;
    size_t number = entity_state_role(composed->entity);
    struct strbuf text = STRBUF_INIT;

    if (number == SIZE_MAX || !platform->state_is_payload || number == 0)
        return;
    const struct entity_binding *binding = entity_binding_find(composed->entity, number, false);
    if (binding->command != NO_COMMAND)
        return;
    composed->role = 0;
    write_topic(w, composed_role_of(composed)->state_topic, composed,
                characteristic_of(composed, binding)->id, "", "");
    bool guarded = put_guard(&text, composed, binding);
    put_words(&text, composed, binding);
    if (guarded)
        strbuf_puts(&text, "{% endif %}");
    write_text_key(w, composed_role_of(composed)->state_template, &text);
}

/* a thermostat without modes always heats */
static void write_climate(struct json_writer *w, struct composed *composed)
{
    size_t mode = entity_role_find(composed->entity->platform, "mode");
    const struct entity_binding *temperature = entity_binding_find(composed->entity, 0, false);

    if (entity_binding_find(composed->entity, mode, false) || !temperature)
        return;
    json_write_key(w, "modes");
    json_write_array_begin(w);
    json_write_string(w, "heat");
    json_write_array_end(w);
    write_topic(w, "mode_state_topic", composed, characteristic_of(composed, temperature)->id, "",
                "");
    discovery_key_string(w, "mode_state_template", "heat");
}

static void write_sensor(struct json_writer *w, struct composed *composed)
{
    const struct entity_binding *binding = composed_binding_of(composed);

    discovery_write_sensor(composed->context, characteristic_of(composed, binding),
                           entity_field(composed->context->device, binding));
}

/* ---- the whole ---- */

static void write_head(const struct composed *composed)
{
    const struct entity_settings *entity = composed->entity;

    discovery_entity_begin(composed->context, entity->platform->name, "entity", entity->id);
    bool is_main = strcmp(entity->id, "main") == 0;
    discovery_write_name(composed->context, entity->id, entity->name,
                         entity->has_name ? !entity->name : is_main);
}

static void write_role(struct json_writer *w, const struct composed *composed)
{
    const struct entity_role *role = composed_role_of(composed);
    const struct entity_binding *binding = composed_binding_of(composed);

    if (role->kind == ROLE_KIND_ACTION ||
        (!binding && !entity_binding_find(composed->entity, composed->role, true)))
        return;
    if (role->state_topic && binding && binding->command == NO_COMMAND)
        write_state(w, composed);
    write_set(w, composed);
    if (role->options && binding)
        write_options(w, composed);
    if (role->kind == ROLE_KIND_TEXT && role->command_topic && binding) {
        json_write_key(w, "max");
        json_write_uint(w,
                        MIN_OF(field_spec_length(entity_field(composed->context->device, binding)),
                               (size_t)255));
    }
    if (role->range != ROLE_RANGE_NONE)
        composed_write_range(w, composed);
}

void discovery_write_composed(const struct discovery_context *context,
                              const struct entity_settings *entity)
{
    struct json_writer *w = context->w;
    struct composed composed = {.context = context, .entity = entity};
    const struct entity_platform *platform = entity->platform;

    write_head(&composed);
    for (composed.role = 0; composed.role < platform->n_roles; composed.role++)
        write_role(w, &composed);
    write_actions(w, &composed);
    write_fallback(w, &composed);
    composed.role = 0;
    if (strcmp(platform->name, "light") == 0)
        write_light(w, &composed);
    if (strcmp(platform->name, "climate") == 0)
        write_climate(w, &composed);
    for (size_t i = 0; i < platform->n_extras; i++) {
        json_write_key(w, platform->extras[i].key);
        json_write_raw(w, platform->extras[i].json, strlen(platform->extras[i].json));
    }
    if (strcmp(platform->name, "sensor") == 0)
        write_sensor(w, &composed);
    discovery_entity_end(context, entity->home_assistant, NULL);
}
