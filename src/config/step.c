/*
 * `on_connect`, `poll`, `keep_alive` and `commands` of a device, once its characteristics are
 * known. Must not know how steps are run.
 */
#include "config/parts.h"
#include "config/readers.h"
#include "config/suggest.h"
#include "core/codec.h"
#include "util/num.h"
#include <stdlib.h>
#include <string.h>

/* Characteristics, a bit each. */
struct uses {
    uint64_t used; /* by any step */
    uint64_t read;
};

/* What the steps of one sequence are read in. */
struct scope {
    struct reader *reader;
    const struct device_settings *device;
    const struct schema *parameters; /* of the command, or NULL */
    bool in_command, in_on_connect;
    const struct key *steps_key; /* its `keys` are the steps */
    size_t n_steps;              /* so far */
    struct uses *uses;           /* of the device's sequences */
    uint64_t has_read;           /* what a step of this sequence reads, so far */
};

/* what is read once more is known */
void read_later(struct reader *reader, const struct key *key, const struct yaml_node *node,
                void *target)
{
}

void read_sequence(struct reader *reader, const struct key *key, const struct yaml_node *node,
                   void *target)
{
    if (node->kind != YAML_KIND_SEQUENCE && node->kind != YAML_KIND_MAPPING)
        reader_wrong(reader, key, node, key->form);
}

/* "there is no WHAT 'x'; did you mean 'y'?" */
static void unknown_name(struct reader *reader, const struct yaml_node *node, const char *what,
                         struct suggestion *suggestion)
{
    const char *best = suggestion_best(suggestion);
    char shown[SHOWN_SIZE];

    reader_error(reader, node, "there is no %s %s%s%s%s", what, reader_show(node, shown),
                 best ? "; did you mean '" : "", best ? best : "", best ? "'?" : "");
}

static size_t find_characteristic(struct scope *scope, const struct yaml_node *node)
{
    const char *text = node->kind == YAML_KIND_SCALAR ? node->text : "";
    struct suggestion suggestion = suggestion_for(text);
    size_t found = device_settings_find_characteristic(scope->device, text);

    if (found != SIZE_MAX) {
        scope->uses->used |= 1ULL << found;
        return found;
    }
    for (size_t i = 0; i < scope->device->n_characteristics; i++)
        suggestion_offer(&suggestion, scope->device->characteristics[i].id);
    unknown_name(scope->reader, node, "characteristic", &suggestion);
    return NO_CHARACTERISTIC;
}

/* one that can be written, read or subscribed to */
static size_t find_source(struct scope *scope, const struct yaml_node *node)
{
    size_t found = find_characteristic(scope, node);

    if (found == NO_CHARACTERISTIC ||
        scope->device->characteristics[found].origin != ORIGIN_MESSAGE)
        return found;
    size_t from = device_settings_characteristic_of(scope->device, found);
    reader_error(scope->reader, node, "'%s' is a message of '%s': it can only be waited for",
                 node->text, scope->device->characteristics[from].id);
    return NO_CHARACTERISTIC;
}

static size_t find_field(struct reader *reader, const struct schema *schema,
                         const struct yaml_node *name)
{
    struct suggestion suggestion = suggestion_for(name->text);
    size_t found = schema_find(schema, name->text);

    for (size_t i = 0; found == SIZE_MAX && i < schema->n_fields; i++)
        suggestion_offer(&suggestion, schema->fields[i].name);
    if (found == SIZE_MAX)
        unknown_name(reader, name, "field", &suggestion);
    return found;
}

/* ---- values ---- */

static bool read_parameter(struct scope *scope, const struct yaml_node *node, size_t *ret_parameter)
{
    const char *text = node->kind == YAML_KIND_SCALAR ? node->text : "";
    struct suggestion suggestion = suggestion_for(text);

    if (!scope->in_command) {
        reader_error(scope->reader, node, "only the steps of a command have parameters");
        return false;
    }
    size_t found = scope->parameters ? schema_find(scope->parameters, text) : SIZE_MAX;
    for (size_t i = 0; found == SIZE_MAX && scope->parameters && i < scope->parameters->n_fields;
         i++)
        suggestion_offer(&suggestion, scope->parameters->fields[i].name);
    if (found == SIZE_MAX)
        unknown_name(scope->reader, node, "parameter", &suggestion);
    *ret_parameter = found;
    return found != SIZE_MAX;
}

static bool read_constant(struct reader *reader, const struct yaml_node *node,
                          struct value *ret_value)
{
    const char *text = node->kind == YAML_KIND_SCALAR ? yaml_node_string(node) : NULL;
    struct decimal decimal;
    int64_t whole;
    uint64_t large;
    bool yes;

    if (node->kind != YAML_KIND_SCALAR) {
        reader_error(reader, node, "expected a single value, not %s", yaml_node_describe(node));
        return false;
    }
    if (text) {
        char *copy = reader_copy(reader, text);
        *ret_value = (struct value){.kind = VALUE_STRING, .s = {copy, strlen(text)}};
        return copy != NULL;
    }
    if (yaml_node_is_null(node))
        *ret_value = (struct value){.kind = VALUE_NULL};
    else if (yaml_node_is_bool(node, &yes))
        *ret_value = (struct value){.kind = VALUE_BOOL, .b = yes};
    else if (yaml_node_is_int(node, &whole))
        *ret_value = (struct value){.kind = VALUE_INT, .i = whole};
    else if (num_parse_u64(node->text, &large) == 0)
        *ret_value = (struct value){.kind = VALUE_UINT, .u = large};
    else if (!reader_decimal(reader, "value", node, &decimal))
        return false;
    else
        *ret_value = (struct value){
            .kind = VALUE_DECIMAL, .i = decimal.mantissa, .decimals = decimal.decimals};
    return true;
}

static const struct yaml_node *parameter_of(const struct yaml_node *node)
{
    return node->kind == YAML_KIND_MAPPING && node->n_items == 1 ? yaml_node_get(node, "parameter")
                                                                 : NULL;
}

static bool read_operand(struct scope *scope, const struct yaml_node *node,
                         struct step_operand *ret_operand)
{
    const struct yaml_node *parameter = parameter_of(node);

    ret_operand->parameter = NO_PARAMETER;
    return parameter ? read_parameter(scope, parameter, &ret_operand->parameter)
                     : read_constant(scope->reader, node, &ret_operand->value);
}

/* ---- write ---- */

static void set_data(struct reader *reader, struct step_settings *step, const uint8_t *data,
                     size_t length)
{
    step->data = reader_array(reader, length, 1);
    if (step->data)
        memcpy(step->data, data, length);
    step->length = step->data ? length : 0;
}

static void read_raw(struct reader *reader, const struct yaml_node *node,
                     struct step_settings *step)
{
    const char *text = yaml_node_string(node);
    uint8_t data[GATT_VALUE_MAX];
    size_t length;

    if (!text || num_parse_hex(text, data, sizeof(data), &length) < 0)
        reader_error(reader, node, "'raw' must be hex digits in quotes, such as \"03\"");
    else
        set_data(reader, step, data, length);
}

/* Constants are encoded once, here. */
static void encode(struct scope *scope, const struct yaml_node *node, const struct schema *schema,
                   struct step_settings *step)
{
    struct value values[SCHEMA_MAX_FIELDS];
    uint8_t data[GATT_VALUE_MAX];
    size_t length, at = 0;
    char text[160];

    for (size_t i = 0; i < step->n_fields; i++)
        if (step->fields[i].operand.parameter != NO_PARAMETER)
            return;
    for (size_t i = 0; i < schema->n_fields; i++) {
        if (field_spec_is_computed(&schema->fields[i]))
            return;
        values[i] = (struct value){.kind = VALUE_ABSENT};
    }
    for (size_t i = 0; i < step->n_fields; i++)
        values[step->fields[i].field] = step->fields[i].operand.value;
    int error = codec_encode(schema, values, NULL, data, sizeof(data), &length, &at);
    if (error) {
        codec_explain(schema, error, at, sizeof(data), text, sizeof(text));
        reader_error(scope->reader, node, "%s", text);
    }
}

static size_t only_field(const struct schema *schema)
{
    size_t only = SIZE_MAX;

    for (size_t i = 0; i < schema->n_fields; i++)
        if (!schema->fields[i].has_const && !field_spec_is_computed(&schema->fields[i])) {
            if (only != SIZE_MAX)
                return SIZE_MAX;
            only = i;
        }
    return only;
}

static void read_fields_of_value(struct scope *scope, const struct yaml_node *node,
                                 const struct schema *schema, struct step_settings *step)
{
    bool bare = node->kind != YAML_KIND_MAPPING ||
                (parameter_of(node) && schema_find(schema, "parameter") == SIZE_MAX);
    size_t n = bare ? 1 : node->n_items, only = bare ? only_field(schema) : SIZE_MAX;
    size_t n_errors = scope->reader->n_errors;

    if (bare && only == SIZE_MAX) {
        reader_error(scope->reader, node, "'value' must name the fields, such as {%s: 1}",
                     schema->fields[0].name);
        return;
    }
    if (n > SCHEMA_MAX_FIELDS)
        n = SCHEMA_MAX_FIELDS;
    step->fields = reader_array(scope->reader, n, sizeof(*step->fields));
    for (size_t i = 0; step->fields && i < n; i++) {
        struct step_field *field = &step->fields[step->n_fields];

        field->field = bare ? only : find_field(scope->reader, schema, node->keys[i]);
        if (field->field != SIZE_MAX &&
            read_operand(scope, bare ? node : node->items[i], &field->operand))
            step->n_fields++;
    }
    if (step->fields && scope->reader->n_errors == n_errors)
        encode(scope, node, schema, step);
}

static void read_write(struct scope *scope, const struct yaml_node *node,
                       struct step_settings *step)
{
    const struct yaml_node *characteristic = yaml_node_get(node, "characteristic");
    const struct yaml_node *value = yaml_node_get(node, "value");

    step->characteristic = characteristic ? find_source(scope, characteristic) : NO_CHARACTERISTIC;
    if (step->characteristic == NO_CHARACTERISTIC || !value)
        return;
    const struct schema *schema = scope->device->characteristics[step->characteristic].schema;
    const struct yaml_node *raw = value->kind == YAML_KIND_MAPPING && value->n_items == 1
                                      ? yaml_node_get(value, "raw")
                                      : NULL;
    if (raw)
        read_raw(scope->reader, raw, step);
    else if (!schema)
        reader_error(scope->reader, value,
                     "'%s' has no fields: the value is hex, such as {raw: \"03\"}",
                     scope->device->characteristics[step->characteristic].id);
    else
        read_fields_of_value(scope, value, schema, step);
}

/* ---- wait, until ---- */

static const struct key *condition_key(const struct scope *scope)
{
    return key_find(key_find(scope->steps_key, "wait"), "where");
}

static void read_condition(struct scope *scope, const struct yaml_node *name,
                           const struct yaml_node *node, struct step_condition *condition)
{
    struct reader *reader = scope->reader;
    const struct yaml_node *equals = node, *parameter = NULL;

    condition->field = reader_copy(reader, name->text);
    condition->equals.parameter = NO_PARAMETER;
    if (node->kind == YAML_KIND_MAPPING) {
        reader_section(reader, condition_key(scope), node, name, condition);
        equals = yaml_node_get(node, "equals");
        parameter = yaml_node_get(node, "parameter");
    }
    bool bounds = condition->has_min || condition->has_max;
    if (!!equals + !!parameter + bounds != 1) {
        reader_error(reader, node,
                     "a condition has a value, 'equals', 'parameter', or 'min' and 'max'");
        return;
    }
    if (bounds && condition->within.mantissa)
        reader_error(reader, node, "'within' belongs to 'equals' or 'parameter'");
    if (parameter)
        condition->has_equals = read_parameter(scope, parameter, &condition->equals.parameter);
    else if (equals)
        condition->has_equals = read_constant(reader, equals, &condition->equals.value);
}

/* a name that the field never has would be awaited for ever */
static void check_name(struct reader *reader, const struct yaml_node *node,
                       const struct field_spec *spec, const struct step_condition *condition)
{
    const struct value *value = &condition->equals.value;

    if (!condition->has_equals || condition->equals.parameter != NO_PARAMETER ||
        value->kind != VALUE_STRING || spec->type == FIELD_TYPE_STRING ||
        spec->type == FIELD_TYPE_BYTES || spec->type == FIELD_TYPE_TIME)
        return;
    struct suggestion suggestion = suggestion_for(value->s.data);
    for (size_t i = 0; i < spec->n_enums; i++) {
        if (strcmp(spec->enums[i].name, value->s.data) == 0)
            return;
        suggestion_offer(&suggestion, spec->enums[i].name);
    }
    unknown_name(reader, node, "name", &suggestion);
}

static void read_where(struct scope *scope, const struct yaml_node *node,
                       const struct schema *schema, struct step_settings *step)
{
    if (!node || node->kind != YAML_KIND_MAPPING || !node->n_items)
        return;
    if (!schema) {
        reader_error(scope->reader, node, "'%s' has no fields that could be compared",
                     step->source);
        return;
    }
    step->where = reader_array(scope->reader, node->n_items, sizeof(*step->where));
    for (size_t i = 0; step->where && i < node->n_items; i++) {
        struct step_condition *condition = &step->where[step->n_where++];
        size_t field = find_field(scope->reader, schema, node->keys[i]);

        read_condition(scope, node->keys[i], node->items[i], condition);
        if (field != SIZE_MAX)
            check_name(scope->reader, node->items[i], &schema->fields[field], condition);
    }
}

/* whether anything brings a value while the steps wait */
static void check_awaited(struct scope *scope, const struct yaml_node *node, size_t index)
{
    const struct characteristic_settings *awaited = &scope->device->characteristics[index];

    if (awaited->n_messages) {
        reader_error(scope->reader, node, "'%s' has messages: wait for one of them, such as '%s'",
                     awaited->id, awaited[1].id);
        return;
    }
    index = device_settings_characteristic_of(scope->device, index);
    awaited = &scope->device->characteristics[index];
    if (!awaited->subscribe && !(scope->has_read & 1ULL << index))
        reader_error(scope->reader, node,
                     "'%s' brings no value to wait for; give it subscribe: true, or put {read: %s} "
                     "before",
                     awaited->id, awaited->id);
}

static void read_awaited(struct scope *scope, const struct yaml_node *node,
                         struct step_settings *step)
{
    const struct yaml_node *characteristic = yaml_node_get(node, "characteristic");
    size_t found = characteristic ? find_characteristic(scope, characteristic) : NO_CHARACTERISTIC;

    if (found == NO_CHARACTERISTIC)
        return;
    step->source = reader_copy(scope->reader, scope->device->characteristics[found].id);
    check_awaited(scope, characteristic, found);
    read_where(scope, yaml_node_get(node, "where"), scope->device->characteristics[found].schema,
               step);
}

/* ---- a list of steps ---- */

static void read_list(struct scope *scope, const struct yaml_node *node, size_t depth,
                      struct step_settings **ret_steps, size_t *ret_n);

static void read_repeat(struct scope *scope, const struct key *key, const struct yaml_node *node,
                        size_t depth, struct step_settings *step)
{
    const struct yaml_node *until = yaml_node_get(node, "until");
    const struct yaml_node *steps = yaml_node_get(node, "steps");

    if (steps)
        read_list(scope, steps, depth + 1, &step->steps, &step->n_steps);
    if (until && until->kind == YAML_KIND_MAPPING) {
        reader_section(scope->reader, key_find(key, "until"), until, until, step);
        read_awaited(scope, until, step);
    } else if (until) {
        reader_wrong(scope->reader, key_find(key, "until"), until, key_find(key, "until")->form);
    } else if (!yaml_node_get(node, "max")) {
        reader_error(scope->reader, node,
                     "'repeat' needs 'max', 'until' or both: when does it end?");
    }
}

/* `read: x` is short for `read: {characteristic: x}` */
static void read_target(struct scope *scope, const struct yaml_node *node,
                        struct step_settings *step)
{
    const struct yaml_node *name =
        node->kind == YAML_KIND_MAPPING ? yaml_node_get(node, "characteristic") : node;

    if (!name)
        return;
    step->characteristic = find_source(scope, name);
    if (step->characteristic == NO_CHARACTERISTIC)
        return;
    if (step->kind == STEP_KIND_READ) {
        scope->has_read |= 1ULL << step->characteristic;
        scope->uses->read |= 1ULL << step->characteristic;
    } else if (!scope->in_on_connect)
        reader_error(scope->reader, node,
                     "a 'subscribe' step belongs in 'on_connect': later all is subscribed");
    else if (!scope->device->characteristics[step->characteristic].subscribe)
        reader_error(scope->reader, node,
                     "'%s' has no 'subscribe: true', so there is nothing to do", name->text);
}

static void read_step(struct scope *scope, const struct yaml_node *node, size_t depth,
                      struct step_settings *step)
{
    static const struct {
        const char *name;
        enum step_kind kind;
        bool is_short; /* may be only a name */
    } kinds[] = {
        {"write", STEP_KIND_WRITE, false},        {"read", STEP_KIND_READ, true},
        {"subscribe", STEP_KIND_SUBSCRIBE, true}, {"wait", STEP_KIND_WAIT, false},
        {"delay", STEP_KIND_DELAY, false},        {"repeat", STEP_KIND_REPEAT, false},
    };
    struct reader *reader = scope->reader;
    size_t kind = 0, n_errors = reader->n_errors;

    step->characteristic = NO_CHARACTERISTIC;
    if (node->kind != YAML_KIND_MAPPING || node->n_items != 1) {
        reader_error(reader, node,
                     "a step is one of write, read, subscribe, wait, delay and repeat, such as "
                     "{delay: 500ms}");
        return;
    }
    const struct key list = {
        .name = "steps", .keys = scope->steps_key->keys, .n_keys = scope->steps_key->n_keys};
    reader_section(reader, &list, node, node, step);
    while (kind < ARRAY_SIZE(kinds) && strcmp(kinds[kind].name, node->keys[0]->text) != 0)
        kind++;
    if (kind == ARRAY_SIZE(kinds) || reader->n_errors != n_errors)
        return;
    step->kind = kinds[kind].kind;
    const struct key *key = key_find(scope->steps_key, kinds[kind].name);
    const struct yaml_node *item = node->items[0];
    if (item->kind == YAML_KIND_MAPPING) {
        reader_defaults(reader, key, step);
        reader_section(reader, key, item, node->keys[0], step);
    } else if (step->kind != STEP_KIND_DELAY &&
               !(kinds[kind].is_short && item->kind == YAML_KIND_SCALAR)) {
        reader_wrong(reader, key, item, key->form);
        return;
    }
    switch (step->kind) {
    case STEP_KIND_WRITE: read_write(scope, item, step); break;
    case STEP_KIND_READ:
    case STEP_KIND_SUBSCRIBE: read_target(scope, item, step); break;
    case STEP_KIND_WAIT: read_awaited(scope, item, step); break;
    case STEP_KIND_DELAY: break;
    case STEP_KIND_REPEAT: read_repeat(scope, key, item, depth, step); break;
    }
}

static void read_list(struct scope *scope, const struct yaml_node *node, size_t depth,
                      struct step_settings **ret_steps, size_t *ret_n)
{
    struct reader *reader = scope->reader;

    if (node->kind != YAML_KIND_SEQUENCE) {
        reader_error(reader, node, "'steps' must be a list of steps, not %s",
                     yaml_node_describe(node));
        return;
    }
    if (depth >= STEPS_MAX_DEPTH) {
        reader_error(reader, node, "'repeat' may stand in 'repeat', but not deeper than %d",
                     STEPS_MAX_DEPTH - 1);
        return;
    }
    scope->n_steps += node->n_items;
    if (!node->n_items || node->n_items > STEPS_MAX || scope->n_steps > STEPS_MAX_ALL) {
        reader_error(reader, node,
                     "a list has 1 to %d steps, and at most %d with those in 'repeat'", STEPS_MAX,
                     STEPS_MAX_ALL);
        return;
    }
    *ret_steps = reader_array(reader, node->n_items, sizeof(**ret_steps));
    for (size_t i = 0; *ret_steps && i < node->n_items; i++)
        read_step(scope, node->items[i], depth, &(*ret_steps)[(*ret_n)++]);
}

/* ---- sequences ---- */

static struct scope scope_new(struct reader *reader, const struct device_settings *device,
                              struct uses *uses)
{
    const struct key *on_connect = key_find(key_find(&config_table, "devices"), "on_connect");

    return (struct scope){.reader = reader,
                          .device = device,
                          .steps_key = key_find(on_connect, "steps"),
                          .uses = uses};
}

static void read_named_sequence(struct reader *reader, const struct yaml_node *device_node,
                                const char *name, const struct device_settings *device,
                                struct sequence_settings *sequence, struct uses *uses)
{
    const struct key *key = key_find(key_find(&config_table, "devices"), name);
    const struct yaml_node *node = yaml_node_get(device_node, name), *steps = node;
    struct scope scope = scope_new(reader, device, uses);

    if (!node || (node->kind != YAML_KIND_MAPPING && node->kind != YAML_KIND_SEQUENCE))
        return;
    scope.in_on_connect = strcmp(name, "on_connect") == 0;
    reader_defaults(reader, key, sequence);
    if (node->kind == YAML_KIND_MAPPING) {
        reader_section(reader, key, node, node, sequence);
        steps = yaml_node_get(node, "steps");
    } else if (strcmp(name, "keep_alive") == 0) {
        reader_error(reader, node,
                     "'keep_alive' must be a mapping such as {every: 30s, steps: [...]}");
    }
    if (steps)
        read_list(&scope, steps, 0, &sequence->steps, &sequence->n_steps);
    sequence->hash = yaml_node_hash(node);
}

/* ---- commands ---- */

static struct schema *read_parameters(struct reader *reader, const struct key *key,
                                      const struct yaml_node *node)
{
    static const char *const reserved[] = {"id", "raw", "ts", NULL};
    struct schema_error error;
    struct schema *schema = NULL;
    size_t n = node->n_items, n_errors = reader->n_errors;

    if (n > SETTINGS_MAX_PARAMETERS) {
        reader_error(reader, node, "a command has at most %d parameters", SETTINGS_MAX_PARAMETERS);
        return NULL;
    }
    struct field_spec *specs = reader_array(reader, n, sizeof(*specs));
    for (size_t i = 0; specs && i < n; i++) {
        specs[i] = (struct field_spec){
            .name = reader_copy(reader, node->keys[i]->text),
            .type = FIELD_TYPE_FLOAT64,
            .offset = FIELD_OFFSET_NEXT,
            .length = FIELD_LENGTH_REST,
            .scale = {.mantissa = 1},
            .publish = true,
        };
        check_id(reader, node->keys[i], "a parameter", reserved);
        reader_section(reader, key, node->items[i], node->keys[i], &specs[i]);
    }
    int r = specs && !reader->failed && reader->n_errors == n_errors
                ? schema_new_take(specs, n, false, &schema, &error)
                : -ECANCELED;
    if (r == 0)
        return schema;
    if (r == -EINVAL && error.field < n)
        reader_error(reader, node->keys[error.field], "the parameter '%s': %s",
                     node->keys[error.field]->text, error.message);
    else if (r == -ENOMEM)
        reader->failed = true;
    for (size_t i = 0; specs && i < n; i++)
        field_spec_done(&specs[i]);
    free(specs);
    return NULL;
}

static void read_cancels(struct reader *reader, const struct yaml_node *node,
                         const struct device_settings *device, struct command_settings *command)
{
    if (node->kind != YAML_KIND_SEQUENCE) {
        reader_error(reader, node, "'cancels' must be a list of commands, such as [move]");
        return;
    }
    for (size_t i = 0; i < node->n_items; i++) {
        const struct yaml_node *item = node->items[i];
        const char *text = item->kind == YAML_KIND_SCALAR ? item->text : "";
        struct suggestion suggestion = suggestion_for(text);
        bool found = false;

        for (size_t j = 0; j < device->n_commands; j++) {
            suggestion_offer(&suggestion, device->commands[j].id);
            if (strcmp(device->commands[j].id, text) != 0)
                continue;
            command->cancels |= 1u << j;
            found = true;
        }
        if (!found)
            unknown_name(reader, item, "command", &suggestion);
    }
}

static void read_command(struct reader *reader, const struct yaml_node *name,
                         const struct yaml_node *node, struct device_settings *device,
                         struct command_settings *command, struct uses *uses)
{
    /* <device>/command/set would also be a message on <device>/+/set */
    static const char *const reserved[] = {"set", "get", NULL};
    const struct key *key = key_find(key_find(&config_table, "devices"), "commands");
    const struct yaml_node *parameters = yaml_node_get(node, "parameters");
    const struct yaml_node *steps = yaml_node_get(node, "steps");
    struct scope scope = scope_new(reader, device, uses);

    check_id(reader, name, "a command", reserved);
    reader_defaults(reader, key, command);
    reader_section(reader, key, node, name, command);
    if (node->kind != YAML_KIND_MAPPING)
        return;
    size_t n_errors = reader->n_errors;
    if (parameters && parameters->kind == YAML_KIND_MAPPING && parameters->n_items)
        command->parameters = read_parameters(reader, key_find(key, "parameters"), parameters);
    scope.in_command = true;
    scope.parameters = command->parameters;
    if (steps && reader->n_errors == n_errors)
        read_list(&scope, steps, 0, &command->sequence.steps, &command->sequence.n_steps);
    if (yaml_node_get(node, "cancels"))
        read_cancels(reader, yaml_node_get(node, "cancels"), device, command);
}

static void read_commands(struct reader *reader, const struct yaml_node *node,
                          struct device_settings *device, struct uses *uses)
{
    if (!node || node->kind != YAML_KIND_MAPPING || !node->n_items)
        return;
    if (node->n_items > SETTINGS_MAX_COMMANDS) {
        reader_error(reader, node, "a device has at most %d commands, not %zu",
                     SETTINGS_MAX_COMMANDS, node->n_items);
        return;
    }
    device->commands = reader_array(reader, node->n_items, sizeof(*device->commands));
    for (size_t i = 0; device->commands && i < node->n_items; i++) {
        device->commands[i].id = reader_copy(reader, node->keys[i]->text);
        device->commands[i].cancels = 1u << i;
        device->n_commands++;
        if (!device->commands[i].id)
            return;
    }
    for (size_t i = 0; i < device->n_commands; i++)
        read_command(reader, node->keys[i], node->items[i], device, &device->commands[i], uses);
}

uint64_t read_sequences(struct reader *reader, const struct yaml_node *node,
                        struct device_settings *device)
{
    struct uses uses = {0};

    read_named_sequence(reader, node, "on_connect", device, &device->on_connect, &uses);
    read_named_sequence(reader, node, "poll", device, &device->poll, &uses);
    read_named_sequence(reader, node, "keep_alive", device, &device->keep_alive, &uses);
    read_commands(reader, yaml_node_get(node, "commands"), device, &uses);
    for (size_t i = 0; i < device->n_characteristics; i++) {
        struct characteristic_settings *c = &device->characteristics[i];
        c->read_by_steps = uses.read & 1ULL << i;
        c->for_steps_only = uses.used & 1ULL << i && !c->read_by_steps &&
                            c->origin == ORIGIN_GATT && !c->subscribe && !c->read_on_connect &&
                            !c->read_every_ms && !c->writable;
    }
    return uses.used;
}
