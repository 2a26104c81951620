/* Between discovery_composed.c and discovery_range.c; nobody else includes this. */
#pragma once

#include "core/discovery_part.h"
#include "core/entity.h"
#include <string.h>

struct composed {
    const struct discovery_context *context;
    const struct entity_settings *entity;
    size_t role; /* which one is being written */
};

static inline const struct entity_role *composed_role_of(const struct composed *composed)
{
    return &composed->entity->platform->roles[composed->role];
}

static inline const struct entity_binding *composed_binding_of(const struct composed *composed)
{
    return entity_binding_find(composed->entity, composed->role, false);
}

static inline bool composed_is_kelvin(const struct field_spec *field)
{
    return field->unit && strcmp(field->unit, "K") == 0;
}

/* The range is that of what is written; else of what is read. */
void composed_write_range(struct json_writer *w, const struct composed *composed);
