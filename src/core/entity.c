/* What an entity of the file is made of, and what its controls do; see entity.h. */
#include "core/entity.h"

#include "core/json.h"
#include "util/decimal.h"
#include "util/err.h"
#include <stdio.h>
#include <string.h>

const struct entity_binding *entity_binding_find(const struct entity_settings *entity, size_t role,
                                                 bool is_set)
{
    for (size_t i = 0; i < entity->n_bindings; i++)
        if (entity->bindings[i].role == role && entity->bindings[i].is_set == is_set)
            return &entity->bindings[i];
    return NULL;
}

bool field_spec_is_number(const struct field_spec *field)
{
    switch (field->type) {
    case FIELD_TYPE_UINT:
    case FIELD_TYPE_INT:
    case FIELD_TYPE_FLOAT32:
    case FIELD_TYPE_FLOAT64:
    case FIELD_TYPE_SFLOAT:
    case FIELD_TYPE_MEDFLOAT32: return !field->n_enums;
    case FIELD_TYPE_BOOL:
    case FIELD_TYPE_STRING:
    case FIELD_TYPE_BYTES:
    case FIELD_TYPE_TIME:
    case FIELD_TYPE_ARRAY: return false;
    }
    return false;
}

static bool is_among(size_t field, const size_t *fields, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (fields[i] == field)
            return true;
    return false;
}

bool entity_is_settable(const struct characteristic_settings *characteristic, const size_t *fields,
                        size_t n)
{
    const struct schema *schema = characteristic->schema;

    if (!schema || !characteristic->writable || characteristic->kind != KIND_STATE)
        return false;
    for (size_t i = 0; i < schema->n_fields; i++) {
        const struct field_spec *field = &schema->fields[i];
        bool knows = field->has_const || field->compute != FIELD_COMPUTE_NONE;

        if (is_among(i, fields, n)) {
            if (knows || field->when.field || field->counts != FIELD_NONE || field->selects)
                return false;
        } else if (characteristic->set == SET_WHOLE && !knows && !field->has_default) {
            return false;
        }
    }
    return true;
}

const struct entity_binding *entity_target(const struct device_settings *device,
                                           const struct entity_settings *entity, size_t role)
{
    const struct entity_binding *binding = entity_binding_find(entity, role, true);

    if (binding)
        return binding;
    binding = entity_binding_find(entity, role, false);
    if (!binding || binding->command != NO_COMMAND)
        return binding;
    return entity_is_settable(&device->characteristics[binding->characteristic], binding->fields,
                              binding->n_fields)
               ? binding
               : NULL;
}

/* value = raw * scale + add, of the raw value's ends */
static void raw_range(const struct field_spec *field, double *ret_min, double *ret_max)
{
    double scale = decimal_to_double(field->scale), add = decimal_to_double(field->add);
    unsigned bits = field->has_bits ? field->bit_count : field->size * 8U;
    double limit = (double)JSON_MAX_INTEGER;
    double range = bits >= 53 ? limit : (double)(UINT64_C(1) << bits);
    bool is_signed = field->type == FIELD_TYPE_INT;
    double low = is_signed ? -range / 2 : 0, high = is_signed ? range / 2 - 1 : range - 1;

    *ret_min = (scale < 0 ? high : low) * scale + add;
    *ret_max = (scale < 0 ? low : high) * scale + add;
}

bool entity_field_range(const struct field_spec *field, double *ret_min, double *ret_max)
{
    bool is_integer = field->type == FIELD_TYPE_UINT || field->type == FIELD_TYPE_INT;

    if (is_integer)
        raw_range(field, ret_min, ret_max);
    if (field->has_min)
        *ret_min = decimal_to_double(field->min);
    if (field->has_max)
        *ret_max = decimal_to_double(field->max);
    return is_integer || (field->has_min && field->has_max);
}

bool entity_range(const struct device_settings *device, const struct entity_binding *binding,
                  double *ret_min, double *ret_max)
{
    if (binding->command == NO_COMMAND)
        return entity_field_range(entity_field(device, binding), ret_min, ret_max);
    if (binding->parameter == NO_PARAMETER)
        return false;
    return entity_field_range(
        &device->commands[binding->command].parameters->fields[binding->parameter], ret_min,
        ret_max);
}

/* ---- actions ---- */

/* the value that stands for the action's word */
static const char *word_value(const struct entity_settings *entity, size_t role,
                              const struct entity_role *action)
{
    const struct entity_binding *binding = entity_binding_find(entity, role, false);
    const struct entity_role *state = &entity->platform->roles[role];
    const char *names[] = {action->word, action->other_word};

    for (size_t n = 0; binding && n < ARRAY_SIZE(names) && names[n]; n++)
        for (size_t i = 0; i < binding->n_values; i++)
            if (strcmp(state->words[binding->values[i].word].name, names[n]) == 0)
                return binding->values[i].value;
    return NULL;
}

/* the greatest or the least number, of a field that has those ends */
static bool number_value(const struct device_settings *device, const struct entity_binding *target,
                         const struct entity_role *action, char *value, size_t size)
{
    struct strbuf text = STRBUF_INIT;
    struct json_writer w = json_writer_to(&text);
    double least, most;

    if (!action->word || (!action->is_most && !action->is_least) ||
        !entity_range(device, target, &least, &most))
        return false;
    if (strcmp(action->word, "off") == 0) { /* the least that is on is not off */
        if (least > 0)
            return false;
        least = 0;
    }
    json_write_double(&w, action->is_most ? most : least, 6);
    bool ok = strbuf_ok(&text);
    snprintf(value, size, "%s", strbuf_str(&text));
    strbuf_done(&text);
    return ok;
}

/* the action's value goes where the target does: a field, or a command's parameter */
static bool to_target(const struct device_settings *device, const struct entity_binding *target,
                      const char *value, struct entity_action *action)
{
    int n;

    action->characteristic = NO_CHARACTERISTIC;
    action->command = target->command;
    if (target->command != NO_COMMAND) {
        if (target->parameter == NO_PARAMETER)
            return false;
        n = snprintf(action->value, sizeof(action->value), "{\"%s\": %s}",
                     device->commands[target->command].parameters->fields[target->parameter].name,
                     value);
    } else {
        action->characteristic = target->characteristic;
        action->field = target->fields[0];
        n = snprintf(action->value, sizeof(action->value), "%s", value);
    }
    return n > 0 && (size_t)n < sizeof(action->value);
}

/* the role that tells the state, or SIZE_MAX */
size_t entity_state_role(const struct entity_settings *entity)
{
    size_t role = entity_role_find(entity->platform, "state");

    if (role != SIZE_MAX && entity_binding_find(entity, role, false))
        return role;
    role = entity->platform->fallback
               ? entity_role_find(entity->platform, entity->platform->fallback)
               : SIZE_MAX;
    return role != SIZE_MAX && entity_binding_find(entity, role, false) ? role : SIZE_MAX;
}

/* what the state, or the number that stands for it, is written to */
static bool default_action(const struct device_settings *device,
                           const struct entity_settings *entity, const struct entity_role *role,
                           struct entity_action *ret_action)
{
    size_t state = entity_state_role(entity);
    const struct entity_binding *target =
        state != SIZE_MAX ? entity_target(device, entity, state) : NULL;
    char number[64];

    if (!target)
        return false;
    if (entity_binding_find(entity, state, false)->n_values) {
        const char *value = word_value(entity, state, role);
        return value && to_target(device, target, value, ret_action);
    }
    return number_value(device, target, role, number, sizeof(number)) &&
           to_target(device, target, number, ret_action);
}

bool entity_action(const struct device_settings *device, const struct entity_settings *entity,
                   size_t role, struct entity_action *ret_action)
{
    const struct entity_binding *binding = entity_binding_find(entity, role, false);
    const struct entity_role *action = &entity->platform->roles[role];

    if (action->kind != ROLE_KIND_ACTION)
        return false;
    if (!binding)
        return default_action(device, entity, action, ret_action);
    ret_action->command = binding->command;
    ret_action->characteristic =
        binding->command == NO_COMMAND ? binding->characteristic : NO_CHARACTERISTIC;
    ret_action->field = binding->fields[0];
    snprintf(ret_action->value, sizeof(ret_action->value), "%s",
             binding->value ? binding->value : "{}");
    return true;
}

enum entity_sink entity_sink(const struct device_settings *device,
                             const struct entity_settings *entity, struct entity_action *ret_first)
{
    enum entity_sink sink = ENTITY_SINK_NONE;
    struct entity_action action;

    for (size_t i = 0; i < entity->platform->n_roles; i++) {
        if (!entity_action(device, entity, i, &action))
            continue;
        bool is_field = action.characteristic != NO_CHARACTERISTIC;
        if (sink == ENTITY_SINK_NONE) {
            *ret_first = action;
            sink = is_field ? ENTITY_SINK_FIELD : ENTITY_SINK_COMMAND;
        } else if (action.characteristic != ret_first->characteristic ||
                   (is_field ? action.field != ret_first->field
                             : action.command != ret_first->command)) {
            return ENTITY_SINK_ENTITY;
        }
    }
    return sink;
}

static bool is_used(const struct device_settings *device, size_t characteristic, size_t field,
                    bool but_sensors)
{
    for (size_t i = 0; i < device->n_entities; i++) {
        const struct entity_settings *entity = &device->entities[i];
        for (size_t j = 0; j < entity->n_bindings && !(but_sensors && entity->sensors); j++) {
            const struct entity_binding *binding = &entity->bindings[j];
            if (binding->command == NO_COMMAND && binding->characteristic == characteristic &&
                is_among(field, binding->fields, binding->n_fields))
                return true;
        }
    }
    return false;
}

bool entity_uses_field(const struct device_settings *device, size_t characteristic, size_t field)
{
    return is_used(device, characteristic, field, true);
}

bool entity_is_part(const struct device_settings *device, size_t characteristic, size_t field)
{
    return is_used(device, characteristic, field, false);
}

bool entity_uses_command(const struct device_settings *device, size_t command)
{
    for (size_t i = 0; i < device->n_entities; i++)
        for (size_t j = 0; j < device->entities[i].n_bindings; j++)
            if (device->entities[i].bindings[j].command == command)
                return true;
    return false;
}
