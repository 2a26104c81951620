/* The types of fields and what a schema owns; see schema.h. schema_new.c makes them. */
#include "core/schema.h"

#include "core/value.h"
#include "util/decimal.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    enum field_type type;
    uint8_t size;
} type_names[] = {
    {"bool", FIELD_TYPE_BOOL, 0},
    {"uint8", FIELD_TYPE_UINT, 1},
    {"uint16", FIELD_TYPE_UINT, 2},
    {"uint24", FIELD_TYPE_UINT, 3},
    {"uint32", FIELD_TYPE_UINT, 4},
    {"uint40", FIELD_TYPE_UINT, 5},
    {"uint48", FIELD_TYPE_UINT, 6},
    {"uint56", FIELD_TYPE_UINT, 7},
    {"uint64", FIELD_TYPE_UINT, 8},
    {"int8", FIELD_TYPE_INT, 1},
    {"int16", FIELD_TYPE_INT, 2},
    {"int24", FIELD_TYPE_INT, 3},
    {"int32", FIELD_TYPE_INT, 4},
    {"int40", FIELD_TYPE_INT, 5},
    {"int48", FIELD_TYPE_INT, 6},
    {"int56", FIELD_TYPE_INT, 7},
    {"int64", FIELD_TYPE_INT, 8},
    {"float32", FIELD_TYPE_FLOAT32, 0},
    {"float64", FIELD_TYPE_FLOAT64, 0},
    {"sfloat", FIELD_TYPE_SFLOAT, 0},
    {"medfloat32", FIELD_TYPE_MEDFLOAT32, 0},
    {"string", FIELD_TYPE_STRING, 0},
    {"bytes", FIELD_TYPE_BYTES, 0},
    {"time", FIELD_TYPE_TIME, 0},
    {"array", FIELD_TYPE_ARRAY, 0}, /* no word of a file */
};

bool field_type_parse(const char *text, enum field_type *ret_type, uint8_t *ret_size)
{
    for (size_t i = 0; i < ARRAY_SIZE(type_names); i++)
        if (strcmp(text, type_names[i].name) == 0 && type_names[i].type != FIELD_TYPE_ARRAY) {
            *ret_type = type_names[i].type;
            *ret_size = type_names[i].size;
            return true;
        }
    return false;
}

const char *field_type_name(enum field_type type, uint8_t size)
{
    for (size_t i = 0; i < ARRAY_SIZE(type_names); i++)
        if (type_names[i].type == type && type_names[i].size == size)
            return type_names[i].name;
    return "unknown";
}

void field_spec_done(struct field_spec *spec)
{
    free(spec->name);
    for (size_t i = 0; i < spec->n_enums; i++)
        free(spec->enums[i].name);
    free(spec->enums);
    free(spec->own_data);
    free(spec->when.field);
    free(spec->when.equals_name);
    free(spec->repeat_field);
    schema_free(spec->element);
    free(spec->unit);
    free(spec->device_class);
    free(spec->state_class);
    free(spec->entity_category);
    free(spec->icon);
    free(spec->home_assistant);
    *spec = (struct field_spec){0};
}

struct schema *schema_free(struct schema *schema)
{
    if (!schema)
        return NULL;
    for (size_t i = 0; i < schema->n_fields; i++)
        field_spec_done(&schema->fields[i]);
    free(schema->fields);
    free(schema);
    return NULL;
}

bool schema_needs_nothing(const struct schema *schema)
{
    for (size_t i = 0; i < schema->n_fields; i++)
        if (!schema->fields[i].has_const && !field_spec_is_computed(&schema->fields[i]))
            return false;
    return true;
}

size_t schema_find(const struct schema *schema, const char *name)
{
    for (size_t i = 0; i < schema->n_fields; i++)
        if (strcmp(schema->fields[i].name, name) == 0)
            return i;
    return SIZE_MAX;
}

size_t field_spec_length(const struct field_spec *spec)
{
    switch (spec->type) {
    case FIELD_TYPE_BOOL: return 1;
    case FIELD_TYPE_UINT:
    case FIELD_TYPE_INT: return spec->size;
    case FIELD_TYPE_SFLOAT: return 2;
    case FIELD_TYPE_FLOAT32:
    case FIELD_TYPE_MEDFLOAT32: return 4;
    case FIELD_TYPE_FLOAT64: return 8;
    case FIELD_TYPE_STRING:
    case FIELD_TYPE_BYTES: return spec->length;
    case FIELD_TYPE_TIME: return 7;
    case FIELD_TYPE_ARRAY: return FIELD_LENGTH_REST;
    }
    return 0;
}

bool field_spec_is_computed(const struct field_spec *spec)
{
    return spec->compute != FIELD_COMPUTE_NONE;
}

static bool differs(const struct field_spec *spec, const struct value *a, const struct value *b)
{
    double x, y;

    if (spec->has_deadband && value_number(a, &x) && value_number(b, &y))
        /* 20.1 - 20 is a little more than 0.1 in doubles, 0.3 - 0.2 a little less */
        return fabs(x - y) >= decimal_to_double(spec->deadband) * (1 - 1e-9);
    return !value_equal(a, b);
}

bool schema_values_differ(const struct schema *schema, const struct value *a, const struct value *b)
{
    for (size_t i = 0; i < schema->n_fields; i++)
        if (schema->fields[i].publish && differs(&schema->fields[i], &a[i], &b[i]))
            return true;
    return false;
}
