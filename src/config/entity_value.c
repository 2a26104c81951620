/* What the parts of an entity refer to: fields, commands, values of fields. Must not know roles'
 * places in documents. */
#include "config/entity_part.h"

#include "config/suggest.h"
#include "core/json.h"
#include <stdlib.h>
#include <string.h>

/* ---- references ---- */

void entity_unknown_name(struct reader *reader, const struct yaml_node *node, const char *what,
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
        entity_unknown_name(scope->reader, node, "characteristic", id, &suggestion);
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
bool entity_read_reference(struct entity_scope *scope, const struct yaml_node *node,
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
    entity_unknown_name(reader, node, "field", name, &suggestion);
    return false;
}

bool entity_find_command(struct entity_scope *scope, const struct yaml_node *node,
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
    entity_unknown_name(scope->reader, node, "command", text, &suggestion);
    return false;
}

/* ---- values ---- */

/* the field's value as JSON, as it is published; NULL after a diagnostic */
char *entity_read_value(struct entity_scope *scope, const struct yaml_node *node,
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
        entity_unknown_name(reader, node, "name", text, &suggestion);
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
void entity_read_values(struct entity_scope *scope, const struct yaml_node *node,
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
            entity_unknown_name(scope->reader, node->keys[i], "word", name, &suggestion);
            continue;
        }
        add_value(scope->reader, binding, word, entity_read_value(scope, node->items[i], field),
                  node->n_items);
    }
}

/* what the field's values mean by themselves: a bool, or names that are Home Assistant's words */
void entity_infer_values(struct entity_scope *scope, const struct yaml_node *node,
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
