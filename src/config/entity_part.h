/* Between entity.c and entity_value.c; nobody else includes this. */
#pragma once

#include "config/reader.h"
#include "core/entity.h"

struct suggestion;

struct entity_scope {
    struct reader *reader;
    const struct device_settings *device;
    struct entity_settings *entity;
    const struct yaml_node *name; /* of the entity */
};

/* "there is no WHAT 'text'; did you mean ...?" */
void entity_unknown_name(struct reader *reader, const struct yaml_node *node, const char *what,
                         const char *text, struct suggestion *suggestion);
/* "characteristic.field", or "characteristic" where there is one field; false after a diagnostic */
bool entity_read_reference(struct entity_scope *scope, const struct yaml_node *node,
                           size_t *ret_characteristic, size_t *ret_field);
bool entity_find_command(struct entity_scope *scope, const struct yaml_node *node,
                         size_t *ret_command);
/* the field's value as JSON, as it is published; NULL after a diagnostic */
char *entity_read_value(struct entity_scope *scope, const struct yaml_node *node,
                        const struct field_spec *field);
/* values: {WORD: VALUE} */
void entity_read_values(struct entity_scope *scope, const struct yaml_node *node,
                        const struct entity_role *role, const struct field_spec *field,
                        struct entity_binding *binding);
/* what the field's values mean by themselves: a bool, or names that are Home Assistant's words */
void entity_infer_values(struct entity_scope *scope, const struct yaml_node *node,
                         const struct entity_role *role, const struct field_spec *field,
                         struct entity_binding *binding);
