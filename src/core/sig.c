/* From the SIG's tables to schemas; see sig.h. */
#include "core/sig.h"

#include "core/sig_table.h"
#include "util/cleanup.h"
#include "util/decimal.h"
#include <stdlib.h>
#include <string.h>

static const struct sig_table *const tables[] = {&sig_generic, &sig_environment, &sig_health,
                                                 &sig_fitness};

static const struct sig_format *find(uint16_t uuid)
{
    for (size_t t = 0; t < ARRAY_SIZE(tables); t++)
        for (size_t i = 0; i < tables[t]->n; i++)
            if (tables[t]->formats[i].uuid == uuid)
                return &tables[t]->formats[i];
    return NULL;
}

const char *sig_name(uint16_t uuid)
{
    const struct sig_format *format = find(uuid);

    return format ? format->name : NULL;
}

uint16_t sig_uuid_at(size_t n)
{
    for (size_t t = 0; t < ARRAY_SIZE(tables); t++) {
        if (n < tables[t]->n)
            return tables[t]->formats[n].uuid;
        n -= tables[t]->n;
    }
    return 0;
}

/* ---- one field ---- */

static bool copy(char **out, const char *text)
{
    if (!text)
        return true;
    *out = strdup(text);
    return *out != NULL;
}

static bool copy_names(struct field_spec *spec, const struct sig_field *field)
{
    if (!field->n_names)
        return true;
    spec->enums = calloc(field->n_names, sizeof(*spec->enums));
    if (!spec->enums)
        return false;
    spec->open_enum = true; /* what the SIG has reserved may come to mean something */
    for (size_t i = 0; i < field->n_names; i++) {
        if (!field->names[i])
            continue;
        spec->enums[spec->n_enums].raw = (int64_t)i;
        if (!copy(&spec->enums[spec->n_enums++].name, field->names[i]))
            return false;
    }
    return true;
}

static bool copy_when(struct field_spec *spec, const struct sig_field *field)
{
    if (!field->when)
        return true;
    spec->when.has_mask = true;
    spec->when.mask = field->mask;
    spec->when.value = field->value;
    return copy(&spec->when.field, field->when);
}

/* what may be written, for consumers and for the message that refuses the rest */
static void limit(struct field_spec *spec)
{
    struct decimal low = {spec->valid_low, 0}, high = {spec->valid_high, 0};

    if (!spec->has_valid || spec->type == FIELD_TYPE_BOOL)
        return;
    spec->has_min = spec->has_max =
        decimal_multiply(low, spec->scale, &low) && decimal_add(low, spec->add, &spec->min) &&
        decimal_multiply(high, spec->scale, &high) && decimal_add(high, spec->add, &spec->max);
}

static bool fill(struct field_spec *spec, const struct sig_field *field)
{
    bool text = field->type == FIELD_TYPE_STRING || field->type == FIELD_TYPE_BYTES;

    *spec = (struct field_spec){
        .type = field->type,
        .size = field->size,
        .offset = field->at_zero             ? 0
                  : field->place == SIG_SAME ? FIELD_OFFSET_SAME
                                             : FIELD_OFFSET_NEXT,
        .length = !text           ? 0
                  : field->length ? field->length
                                  : FIELD_LENGTH_REST,
        .has_bits = field->bit_count > 0,
        .bit_first = field->bit_first,
        .bit_count = field->bit_count,
        .scale = field->scale.mantissa ? field->scale : (struct decimal){1, 0},
        .add = field->add,
        .has_invalid = field->has_unknown,
        .invalid = field->unknown,
        .has_valid = field->has_valid,
        .valid_low = field->valid_low,
        .valid_high = field->valid_high,
        .rounded = field->rounded,
        .round_to = field->round_to,
        .publish = !field->hidden,
        .repeat = field->rest ? FIELD_REPEAT_REST : FIELD_REPEAT_NONE,
    };
    limit(spec);
    return copy(&spec->name, field->name) && copy_names(spec, field) && copy_when(spec, field) &&
           copy(&spec->unit, field->unit) && copy(&spec->device_class, field->device_class) &&
           copy(&spec->state_class, field->state_class);
}

int sig_schema_new(uint16_t uuid, struct schema **ret_schema)
{
    const struct sig_format *format = find(uuid);
    struct schema_error error;
    bool filled = true;
    int r = -ENOMEM;

    if (!format)
        return -ENOENT;
    struct field_spec *specs = calloc(format->n_fields, sizeof(*specs));
    if (!specs)
        return -ENOMEM;
    for (size_t i = 0; i < format->n_fields; i++)
        filled &= fill(&specs[i], &format->fields[i]);
    if (filled)
        r = schema_new_take(specs, format->n_fields, false, ret_schema, &error);
    if (r == 0)
        return 0;
    for (size_t i = 0; i < format->n_fields; i++)
        field_spec_done(&specs[i]);
    free(specs);
    return r; /* -EINVAL would be a mistake in the tables: the tests go through all of them */
}
