/*
 * `entities` of a device, once its characteristics and commands are known: what each role of Home
 * Assistant's platform is. Must not know documents; the table of platforms is core's.
 */
#include "core/entity.h"

#include "config/entity_part.h"
#include "config/parts.h"
#include "config/readers.h"
#include "config/suggest.h"
#include "core/json.h"
#include <stdlib.h>
#include <string.h>

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

    if (!entity_read_reference(scope, node, &characteristic, &field))
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
        if (entity_find_command(scope, command, &binding->command))
            read_parameters(scope, node, binding);
        return;
    }
    if (!read_field(scope, field, role, binding))
        return;
    binding->value = entity_read_value(scope, value, entity_field(scope->device, binding));
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
        else if (entity_find_command(scope, command, &binding->command) &&
                 read_parameter(scope, node, binding) && values)
            entity_read_values(
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
        entity_read_values(scope, values, role, spec, binding);
    else if (role->kind == ROLE_KIND_WORDS)
        entity_infer_values(scope, field, role, spec, binding);
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
        entity_unknown_name(reader, platform, "platform", text, &suggestion);
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
