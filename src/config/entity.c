/*
 * `entities` of a device, once its characteristics and commands are known: what each role of Home
 * Assistant's platform is. Must not know documents; the table of platforms is core's.
 */
#include "core/entity.h"

#include "config/parts.h"
#include "config/readers.h"
#include "config/suggest.h"
#include "core/json.h"
#include <stdlib.h>
#include <string.h>

struct entity_scope {
    struct reader *reader;
    const struct device_settings *device;
    struct entity_settings *entity;
    const struct yaml_node *name; /* of the entity */
};

/* ---- references ---- */

static void unknown(struct reader *reader, const struct yaml_node *node, const char *what,
                    const char *text, struct suggestion *suggestion)
{
    const char *best = suggestion_best(suggestion);

    reader_error(reader, node, "there is no %s '%.64s'%s%s%s", what, text,
                 best ? "; did you mean '" : "", best ? best : "", best ? "'?" : "");
}

static bool is_offered(const struct schema *schema, size_t field)
{
    const struct field_spec *spec = &schema->fields[field];

    return !spec->has_const && spec->compute == FIELD_COMPUTE_NONE &&
           !schema_is_alternative(schema, field);
}

static size_t only_field(const struct schema *schema)
{
    size_t only = SIZE_MAX;

    for (size_t i = 0; i < schema->n_fields; i++)
        if (is_offered(schema, i)) {
            if (only != SIZE_MAX)
                return SIZE_MAX;
            only = i;
        }
    return only;
}

static bool find_characteristic(struct entity_scope *scope, const struct yaml_node *node,
                                const char *id, size_t *ret_index)
{
    const struct device_settings *device = scope->device;
    struct suggestion suggestion = suggestion_for(id);
    size_t index = device_settings_find_characteristic(device, id);

    if (index == SIZE_MAX) {
        for (size_t i = 0; i < device->n_characteristics; i++)
            suggestion_offer(&suggestion, device->characteristics[i].id);
        unknown(scope->reader, node, "characteristic", id, &suggestion);
        return false;
    }
    const struct characteristic_settings *found = &device->characteristics[index];
    if (!found->schema || found->payload == PAYLOAD_HEX || found->payload == PAYLOAD_RAW) {
        reader_error(scope->reader, node, "'%s' has no fields, which an entity is made of", id);
        return false;
    }
    *ret_index = index;
    return true;
}

/* "characteristic.field", or "characteristic" where there is one field; false after a diagnostic */
static bool read_reference(struct entity_scope *scope, const struct yaml_node *node,
                           size_t *ret_characteristic, size_t *ret_field)
{
    struct reader *reader = scope->reader;
    const char *text = node->kind == YAML_KIND_SCALAR ? yaml_node_string(node) : NULL;
    char id[SETTINGS_MAX_ID + 1];
    size_t length = text ? strcspn(text, ".") : 0;

    if (!text || !length || length > SETTINGS_MAX_ID) {
        char shown[SHOWN_SIZE];
        reader_error(reader, node, "expected a field, such as power.value, not %s",
                     reader_show(node, shown));
        return false;
    }
    memcpy(id, text, length);
    id[length] = '\0';
    if (!find_characteristic(scope, node, id, ret_characteristic))
        return false;
    const struct schema *schema = scope->device->characteristics[*ret_characteristic].schema;
    if (!text[length]) {
        *ret_field = only_field(schema);
        if (*ret_field == SIZE_MAX)
            reader_error(reader, node, "'%s' has several fields: which one? Such as %s.%s", id, id,
                         schema->fields[0].name);
        return *ret_field != SIZE_MAX;
    }
    const char *name = text + length + 1;
    *ret_field = schema_find(schema, name);
    if (*ret_field != SIZE_MAX)
        return true;
    struct suggestion suggestion = suggestion_for(name);
    for (size_t i = 0; i < schema->n_fields; i++)
        suggestion_offer(&suggestion, schema->fields[i].name);
    unknown(reader, node, "field", name, &suggestion);
    return false;
}

static bool read_command(struct entity_scope *scope, const struct yaml_node *node,
                         size_t *ret_command)
{
    const struct device_settings *device = scope->device;
    const char *text = node->kind == YAML_KIND_SCALAR ? node->text : "";
    struct suggestion suggestion = suggestion_for(text);

    for (size_t i = 0; i < device->n_commands; i++) {
        if (strcmp(device->commands[i].id, text) == 0) {
            *ret_command = i;
            return true;
        }
        suggestion_offer(&suggestion, device->commands[i].id);
    }
    unknown(scope->reader, node, "command", text, &suggestion);
    return false;
}

/* ---- values ---- */

/* the field's value as JSON, as it is published; NULL after a diagnostic */
static char *read_value(struct entity_scope *scope, const struct yaml_node *node,
                        const struct field_spec *field)
{
    struct reader *reader = scope->reader;
    const char *text = node->kind == YAML_KIND_SCALAR ? node->text : "";
    struct suggestion suggestion = suggestion_for(text);
    struct strbuf out = STRBUF_INIT;
    struct json_writer w = json_writer_to(&out);
    int64_t raw;
    bool yes;
    char shown[SHOWN_SIZE];

    if (node->kind != YAML_KIND_SCALAR || yaml_node_is_null(node)) {
        reader_error(reader, node, "expected a value of %s, not %s", field->name,
                     reader_show(node, shown));
        return NULL;
    }
    if (field->n_enums) {
        bool is_raw = yaml_node_is_int(node, &raw);
        for (size_t i = 0; i < field->n_enums; i++) {
            const struct field_enum *e = &field->enums[i];
            if (is_raw ? e->raw == raw : strcmp(e->name, text) == 0) {
                json_write_string(&w, e->name);
                return strbuf_take(&out);
            }
            suggestion_offer(&suggestion, e->name);
        }
        unknown(reader, node, "name", text, &suggestion);
        return NULL;
    }
    if (field->type == FIELD_TYPE_BOOL && !yaml_node_is_bool(node, &yes) &&
        !(yaml_node_is_int(node, &raw) && (raw == 0 || raw == 1))) {
        reader_error(reader, node, "%s is true or false, not %s", field->name,
                     reader_show(node, shown));
        return NULL;
    }
    if (field->type == FIELD_TYPE_BOOL) {
        json_write_bool(&w, yaml_node_is_bool(node, &yes) ? yes : raw == 1);
        return strbuf_take(&out);
    }
    if (field_spec_is_number(field)) {
        struct decimal decimal;
        if (!reader_decimal(reader, field->name, node, &decimal))
            return NULL;
        json_write_decimal(&w, decimal.mantissa, decimal.decimals);
    } else {
        json_write_string(&w, text);
    }
    return strbuf_take(&out);
}

static void add_value(struct reader *reader, struct entity_binding *binding, size_t word,
                      char *value, size_t room)
{
    if (!value)
        return;
    if (!binding->values)
        binding->values = reader_array(reader, room, sizeof(*binding->values));
    if (!binding->values || binding->n_values == room) {
        free(value);
        return;
    }
    binding->values[binding->n_values++] = (struct entity_value){word, value};
}

static size_t find_word(const struct entity_role *role, const char *name)
{
    for (size_t i = 0; i < role->n_words; i++)
        if (strcasecmp(role->words[i].name, name) == 0)
            return i;
    return SIZE_MAX;
}

/* values: {WORD: VALUE} */
static void read_values(struct entity_scope *scope, const struct yaml_node *node,
                        const struct entity_role *role, const struct field_spec *field,
                        struct entity_binding *binding)
{
    if (node->kind != YAML_KIND_MAPPING || !role->n_words) {
        reader_error(scope->reader, node,
                     role->n_words ? "'values' must be a mapping of Home Assistant's words to "
                                     "values of the field"
                                   : "there are no words of Home Assistant's for '%s'",
                     role->name);
        return;
    }
    for (size_t i = 0; i < node->n_items; i++) {
        const char *name = node->keys[i]->text;
        size_t word = find_word(role, name);
        if (word == SIZE_MAX) {
            struct suggestion suggestion = suggestion_for(name);
            for (size_t j = 0; j < role->n_words; j++)
                suggestion_offer(&suggestion, role->words[j].name);
            unknown(scope->reader, node->keys[i], "word", name, &suggestion);
            continue;
        }
        add_value(scope->reader, binding, word, read_value(scope, node->items[i], field),
                  node->n_items);
    }
}

/* what the field's values mean by themselves: a bool, or names that are Home Assistant's words */
static void infer_values(struct entity_scope *scope, const struct yaml_node *node,
                         const struct entity_role *role, const struct field_spec *field,
                         struct entity_binding *binding)
{
    struct reader *reader = scope->reader;
    struct strbuf words = STRBUF_INIT;

    if (field->type == FIELD_TYPE_BOOL && !field->n_enums) {
        add_value(reader, binding, role->true_word, reader_copy(reader, "true"), 2);
        add_value(reader, binding, role->false_word, reader_copy(reader, "false"), 2);
        return;
    }
    for (size_t i = 0; i < field->n_enums; i++) {
        size_t word = find_word(role, field->enums[i].name);
        struct strbuf out = STRBUF_INIT;
        struct json_writer w = json_writer_to(&out);
        if (word == SIZE_MAX)
            continue;
        json_write_string(&w, field->enums[i].name);
        add_value(reader, binding, word, strbuf_take(&out), field->n_enums);
    }
    if (binding->n_values || (field_spec_is_number(field) && role->more_word != ROLE_NO_WORD))
        return;
    for (size_t i = 0; i < role->n_words; i++)
        strbuf_printf(&words, "%s%s", i ? ", " : "", role->words[i].name);
    reader_error(
        reader, node, "which values of %s mean %s? Write {field: %s.%s, values: {%s: VALUE}}",
        field->name, strbuf_str(&words), scope->device->characteristics[binding->characteristic].id,
        field->name, role->words[0].name);
    strbuf_done(&words);
}

/* ---- roles ---- */

static const char *kind_of(enum role_kind kind)
{
    switch (kind) {
    case ROLE_KIND_NUMBER: return "a number";
    case ROLE_KIND_NAMES: return "a field with an enum";
    case ROLE_KIND_COLOR: return "numbers";
    case ROLE_KIND_WORDS:
    case ROLE_KIND_TEXT:
    case ROLE_KIND_ACTION: break;
    }
    return "a single value";
}

static bool suits(enum role_kind kind, const struct field_spec *field)
{
    switch (kind) {
    case ROLE_KIND_NUMBER:
    case ROLE_KIND_COLOR: return field_spec_is_number(field);
    case ROLE_KIND_NAMES: return field->n_enums != 0;
    case ROLE_KIND_WORDS:
    case ROLE_KIND_TEXT:
    case ROLE_KIND_ACTION: return field->type != FIELD_TYPE_ARRAY;
    }
    return false;
}

static bool read_field(struct entity_scope *scope, const struct yaml_node *node,
                       const struct entity_role *role, struct entity_binding *binding)
{
    size_t characteristic, field;

    if (!read_reference(scope, node, &characteristic, &field))
        return false;
    const struct field_spec *spec =
        &scope->device->characteristics[characteristic].schema->fields[field];
    if (binding->n_fields && binding->characteristic != characteristic) {
        reader_error(scope->reader, node, "the fields of '%s' belong to one characteristic",
                     role->name);
        return false;
    }
    if (!suits(role->kind, spec)) {
        reader_error(scope->reader, node, "'%s' is %s, which '%s' is not", role->name,
                     kind_of(role->kind), node->text);
        return false;
    }
    if (!binding->is_set && role->kind != ROLE_KIND_ACTION && role->state_topic && !spec->publish) {
        reader_error(scope->reader, node, "'%s' is not published (publish: false)", node->text);
        return false;
    }
    binding->characteristic = characteristic;
    binding->fields[binding->n_fields++] = field;
    return true;
}

static bool read_colors(struct entity_scope *scope, const struct yaml_node *node,
                        const struct entity_role *role, struct entity_binding *binding)
{
    if (node->kind != YAML_KIND_SEQUENCE || node->n_items != role->n_variables) {
        reader_error(scope->reader, node, "'%s' must be a list of %zu fields: %s, %s, ...",
                     role->name, role->n_variables, role->variables[0], role->variables[1]);
        return false;
    }
    for (size_t i = 0; i < node->n_items; i++)
        if (!read_field(scope, node->items[i], role, binding))
            return false;
    return true;
}

/* the parameter that a value becomes: named, or the only one */
static bool read_parameter(struct entity_scope *scope, const struct yaml_node *node,
                           struct entity_binding *binding)
{
    const struct command_settings *command = &scope->device->commands[binding->command];
    const struct yaml_node *name =
        node->kind == YAML_KIND_MAPPING ? yaml_node_get(node, "parameter") : NULL;
    const struct schema *parameters = command->parameters;

    binding->parameter = !parameters ? SIZE_MAX
                         : name && name->kind == YAML_KIND_SCALAR
                             ? schema_find(parameters, name->text)
                             : SIZE_MAX;
    if (!name && parameters && parameters->n_fields == 1)
        binding->parameter = 0;
    if (binding->parameter == SIZE_MAX) {
        reader_error(
            scope->reader, name ? name : node,
            "'%s' needs a parameter that the value becomes: {command: %s, parameter: NAME}",
            command->id, command->id);
        return false;
    }
    for (size_t i = 0; i < parameters->n_fields; i++)
        if (i != binding->parameter && !parameters->fields[i].has_default) {
            reader_error(scope->reader, node, "the parameter '%s' of '%s' needs a default",
                         parameters->fields[i].name, command->id);
            return false;
        }
    return true;
}

/* the parameters of a command that a press runs */
static void read_parameters(struct entity_scope *scope, const struct yaml_node *node,
                            struct entity_binding *binding)
{
    const struct command_settings *command = &scope->device->commands[binding->command];
    const struct yaml_node *given = yaml_node_get(node, "parameters");
    const struct schema *schema = command->parameters;

    if (given && given->kind != YAML_KIND_MAPPING) {
        reader_error(scope->reader, given, "'parameters' must be a mapping of names to numbers");
        return;
    }
    for (size_t i = 0; given && i < given->n_items; i++)
        if (!schema || schema_find(schema, given->keys[i]->text) == SIZE_MAX)
            reader_error(scope->reader, given->keys[i], "'%s' has no parameter '%.64s'",
                         command->id, given->keys[i]->text);
    for (size_t i = 0; schema && i < schema->n_fields; i++)
        if (!schema->fields[i].has_default &&
            !(given && yaml_node_get(given, schema->fields[i].name)))
            reader_error(scope->reader, node,
                         "'%s' needs its parameter: {command: %s, parameters: {%s: NUMBER}}",
                         command->id, command->id, schema->fields[i].name);
    if (given)
        binding->value = read_literal(scope->reader, given);
    if (binding->value && strlen(binding->value) >= sizeof(((struct entity_action *)0)->value)) {
        reader_error(scope->reader, given, "these parameters are too long");
    }
}

static void check_keys(struct entity_scope *scope, const struct yaml_node *node,
                       const char *const *known, const char *role)
{
    for (size_t i = 0; i < node->n_items; i++) {
        struct suggestion suggestion = suggestion_for(node->keys[i]->text);
        bool found = false;
        for (size_t j = 0; known[j]; j++) {
            found |= strcmp(known[j], node->keys[i]->text) == 0;
            suggestion_offer(&suggestion, known[j]);
        }
        const char *best = suggestion_best(&suggestion);
        if (!found)
            reader_error(scope->reader, node->keys[i], "unknown key '%.64s' of '%s'%s%s%s",
                         node->keys[i]->text, role, best ? "; did you mean '" : "",
                         best ? best : "", best ? "'?" : "");
    }
}

static void read_action(struct entity_scope *scope, const struct yaml_node *node,
                        const struct entity_role *role, struct entity_binding *binding)
{
    static const char *const known[] = {"field", "value", "command", "parameters", NULL};
    const struct yaml_node *command = NULL, *field = NULL, *value = NULL;

    if (node->kind == YAML_KIND_MAPPING) {
        command = yaml_node_get(node, "command");
        field = yaml_node_get(node, "field");
        value = yaml_node_get(node, "value");
        check_keys(scope, node, known, role->name);
    }
    if (!command == !(field && value)) {
        reader_error(scope->reader, node,
                     "'%s' is {command: NAME}, or {field: CHARACTERISTIC.FIELD, value: VALUE}",
                     role->name);
        return;
    }
    if (command) {
        if (read_command(scope, command, &binding->command))
            read_parameters(scope, node, binding);
        return;
    }
    if (!read_field(scope, field, role, binding))
        return;
    binding->value = read_value(scope, value, entity_field(scope->device, binding));
    if (binding->value && strlen(binding->value) >= sizeof(((struct entity_action *)0)->value))
        reader_error(scope->reader, value, "this value is too long");
    if (!entity_is_settable(&scope->device->characteristics[binding->characteristic],
                            binding->fields, 1))
        reader_error(scope->reader, field,
                     "'%s' cannot be written by itself: it needs writable: true, and of the other "
                     "fields a default each, or set: merge",
                     field->text);
}

/* a role that has a value: a field, or a command that takes it */
static void read_valued(struct entity_scope *scope, const struct yaml_node *node,
                        const struct entity_role *role, struct entity_binding *binding)
{
    static const char *const known[] = {"field", "values", "command", "parameter", NULL};
    bool is_mapping = node->kind == YAML_KIND_MAPPING;
    const struct yaml_node *command = is_mapping ? yaml_node_get(node, "command") : NULL;
    const struct yaml_node *field = is_mapping ? yaml_node_get(node, "field") : node;
    const struct yaml_node *values = is_mapping ? yaml_node_get(node, "values") : NULL;

    if (is_mapping)
        check_keys(scope, node, known, role->name);
    if (command) {
        if (role->kind == ROLE_KIND_COLOR || role->kind == ROLE_KIND_NAMES ||
            role->kind == ROLE_KIND_TEXT)
            reader_error(scope->reader, node,
                         "'%s' cannot be a command: its parameters are numbers", role->name);
        else if (read_command(scope, command, &binding->command) &&
                 read_parameter(scope, node, binding) && values)
            read_values(
                scope, values, role,
                &scope->device->commands[binding->command].parameters->fields[binding->parameter],
                binding);
        return;
    }
    if (!field) {
        reader_error(scope->reader, node, "'%s' is a field, or {field: ...} or {command: ...}",
                     role->name);
        return;
    }
    if (!(role->kind == ROLE_KIND_COLOR ? read_colors(scope, field, role, binding)
                                        : read_field(scope, field, role, binding)))
        return;
    const struct field_spec *spec = entity_field(scope->device, binding);
    if (values)
        read_values(scope, values, role, spec, binding);
    else if (role->kind == ROLE_KIND_WORDS)
        infer_values(scope, field, role, spec, binding);
}

static void read_role(struct entity_scope *scope, const struct yaml_node *name,
                      const struct yaml_node *node)
{
    struct entity_settings *entity = scope->entity;
    bool is_set = strncmp(name->text, "set_", 4) == 0;
    size_t role = entity_role_find(entity->platform, name->text + (is_set ? 4 : 0));

    if (role == SIZE_MAX || yaml_node_is_null(node))
        return;
    struct entity_binding *binding = &entity->bindings[entity->n_bindings++];
    *binding = (struct entity_binding){.role = role,
                                       .is_set = is_set,
                                       .command = NO_COMMAND,
                                       .characteristic = NO_CHARACTERISTIC,
                                       .parameter = NO_PARAMETER};
    if (entity->platform->roles[role].kind == ROLE_KIND_ACTION)
        read_action(scope, node, &entity->platform->roles[role], binding);
    else
        read_valued(scope, node, &entity->platform->roles[role], binding);
}

/* ---- what the roles are together ---- */

static void check_role(struct entity_scope *scope, const struct yaml_node *node, size_t index)
{
    const struct entity_settings *entity = scope->entity;
    const struct entity_role *role = &entity->platform->roles[index];
    const struct entity_binding *binding = entity_binding_find(entity, index, false);
    const struct entity_binding *set = entity_binding_find(entity, index, true);
    struct entity_action action;
    bool offered = role->kind == ROLE_KIND_ACTION
                       ? entity_action(scope->device, entity, index, &action)
                       : binding != NULL;

    if (role->required && !offered)
        reader_error(scope->reader, scope->name, "a %s needs '%s'", entity->platform->name,
                     role->name);
    if (set && set->command == NO_COMMAND &&
        !entity_is_settable(&scope->device->characteristics[set->characteristic], set->fields,
                            set->n_fields))
        reader_error(scope->reader, scope->name,
                     "'set_%s' cannot be written by itself: it needs writable: true, and of the "
                     "other fields a default each, or set: merge",
                     role->name);
    else if (role->must_write && binding && !entity_target(scope->device, entity, index))
        reader_error(scope->reader, yaml_node_get(node, role->name),
                     "'%s' cannot be written by itself: it needs writable: true, and of the other "
                     "fields a default each, or set: merge (or give 'set_%s')",
                     role->name, role->name);
    if (set && !binding && role->state_topic && role->kind != ROLE_KIND_ACTION)
        reader_error(scope->reader, scope->name, "'set_%s' needs '%s', which is shown", role->name,
                     role->name);
}

static void check_entity(struct entity_scope *scope, const struct yaml_node *node)
{
    const struct entity_settings *entity = scope->entity;
    struct entity_action action;

    for (size_t i = 0; i < entity->platform->n_roles; i++)
        check_role(scope, node, i);
    if (!entity->n_bindings) {
        reader_error(scope->reader, scope->name, "'%s' is made of nothing", scope->name->text);
        return;
    }
    for (size_t i = 0; entity->platform->needs_command && i < entity->platform->n_roles; i++) {
        const char *name = entity->platform->roles[i].name;
        if ((strcmp(name, "on") == 0 || strcmp(name, "off") == 0) &&
            !entity_action(scope->device, entity, i, &action))
            reader_error(scope->reader, scope->name,
                         "a %s needs something that turns it %s: a 'state' that can be written, "
                         "or '%s'",
                         entity->platform->name, name, name);
    }
}

/* ---- the entities ---- */

/* the keys of every entity, and those of the platform's roles */
static void read_keys(struct entity_scope *scope, const struct key *key,
                      const struct yaml_node *name, const struct yaml_node *node)
{
    const struct entity_platform *platform = scope->entity->platform;
    size_t n = key->n_keys + 2 * platform->n_roles;
    struct key *keys = reader_array(scope->reader, n, sizeof(*keys));
    char(*set_names)[64] = reader_array(scope->reader, platform->n_roles, sizeof(*set_names));
    struct key section = {.name = key->name, .keys = keys};

    for (size_t i = 0; keys && set_names && i < key->n_keys; i++)
        if (strcmp(key->keys[i].name, "ROLE") != 0)
            keys[section.n_keys++] = key->keys[i];
    for (size_t i = 0; keys && set_names && i < platform->n_roles; i++) {
        const struct entity_role *role = &platform->roles[i];
        keys[section.n_keys++] = (struct key){
            .name = role->name, .type = KEY_OTHER, .read = read_later, .form = "a field"};
        if (role->kind == ROLE_KIND_ACTION ||
            (!role->command_topic && strcmp(role->name, "state") != 0))
            continue;
        snprintf(set_names[i], sizeof(set_names[i]), "set_%s", role->name);
        keys[section.n_keys++] = (struct key){
            .name = set_names[i], .type = KEY_OTHER, .read = read_later, .form = "a field"};
    }
    if (keys && set_names)
        reader_section(scope->reader, &section, node, name, scope->entity);
    free(keys);
    free(set_names);
}

static const struct entity_platform *read_platform(struct reader *reader,
                                                   const struct yaml_node *name,
                                                   const struct yaml_node *node)
{
    const struct yaml_node *platform = yaml_node_get(node, "platform");
    const char *text = platform && platform->kind == YAML_KIND_SCALAR ? platform->text : "";
    struct suggestion suggestion = suggestion_for(text);
    const struct entity_platform *found = entity_platform_find(text);

    if (found)
        return found;
    for (size_t i = 0; i < entity_n_platforms; i++)
        suggestion_offer(&suggestion, entity_platforms[i].name);
    if (platform)
        unknown(reader, platform, "platform", text, &suggestion);
    else if (!reader->partial)
        reader_error(reader, name, "'platform' is missing here; it is light, cover, lock, ...");
    return NULL;
}

static void read_entity(struct reader *reader, const struct yaml_node *name,
                        const struct yaml_node *node, struct device_settings *device,
                        struct entity_settings *entity)
{
    static const char *const reserved[] = {NULL};
    const struct key *key = key_find(key_find(&config_table, "devices"), "entities");
    struct entity_scope scope = {reader, device, entity, name};
    size_t n_errors = reader->n_errors;

    check_id(reader, name, "an entity", reserved);
    if (node->kind != YAML_KIND_MAPPING) {
        reader_error(reader, node,
                     "an entity must be a mapping such as {platform: light, state: "
                     "power.value}");
        return;
    }
    entity->platform = read_platform(reader, name, node);
    if (!entity->platform)
        return;
    const struct yaml_node *own = yaml_node_get(node, "name");
    entity->has_name = own != NULL;
    read_keys(&scope, key, name, node);
    if (reader->partial || reader->n_errors != n_errors)
        return;
    entity->bindings = reader_array(reader, node->n_items, sizeof(*entity->bindings));
    for (size_t i = 0; entity->bindings && i < node->n_items; i++)
        read_role(&scope, node->keys[i], node->items[i]);
    if (entity->bindings && reader->n_errors == n_errors)
        check_entity(&scope, node);
}

void read_entities(struct reader *reader, const struct yaml_node *device_node,
                   struct device_settings *device)
{
    const struct yaml_node *node = yaml_node_get(device_node, "entities");

    if (!node || node->kind != YAML_KIND_MAPPING || !node->n_items)
        return;
    if (node->n_items > SETTINGS_MAX_ENTITIES) {
        reader_error(reader, node, "a device has at most %d entities, not %zu",
                     SETTINGS_MAX_ENTITIES, node->n_items);
        return;
    }
    device->entities = reader_array(reader, node->n_items, sizeof(*device->entities));
    for (size_t i = 0; device->entities && i < node->n_items; i++) {
        struct entity_settings *entity = &device->entities[device->n_entities++];
        entity->id = reader_copy(reader, node->keys[i]->text);
        read_entity(reader, node->keys[i], node->items[i], device, entity);
    }
}

void read_entity_name(struct reader *reader, const struct key *key, const struct yaml_node *node,
                      void *target)
{
    struct entity_settings *entity = target;

    if (yaml_node_is_null(node))
        return;
    const char *text = reader_text(reader, key, node);
    if (text && (!*text || strlen(text) > SETTINGS_MAX_NAME))
        reader_wrong(reader, key, node, key->form);
    else if (text)
        entity->name = reader_copy(reader, text);
}
