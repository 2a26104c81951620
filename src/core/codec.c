/* Bytes to values and back; see codec.h. The work of one field is in codec_field.c. */
#include "core/codec.h"

#include "core/codec_field.h"
#include "util/decimal.h"
#include <stdio.h>
#include <string.h>

int codec_decode(const struct schema *schema, const uint8_t *data, size_t length,
                 struct value *values, size_t *ret_field)
{
    size_t field = SIZE_MAX;
    int r = 0;

    if (length < schema->min_length)
        r = CODEC_E_SHORT;
    else if (schema->extra_is_error && !schema->variable && length > schema->min_length)
        r = CODEC_E_EXTRA;
    for (size_t i = 0; r == 0 && i < schema->n_fields; i++) {
        const struct field_spec *spec = &schema->fields[i];

        field = i;
        r = codec_field_decode(spec, data + spec->offset, length - spec->offset, &values[i]);
    }
    if (ret_field)
        *ret_field = field;
    return r;
}

/* what is written for a field: the value given, its const or its default */
static int value_to_write(const struct field_spec *spec, const struct value *given,
                          struct value *ret_value)
{
    const struct decimal *own = NULL;

    if (spec->has_const)
        own = &spec->const_value;
    else if (spec->has_default && given->kind == VALUE_ABSENT)
        own = &spec->default_value;
    if (!own && given->kind == VALUE_ABSENT)
        return CODEC_E_MISSING;
    if (own)
        *ret_value =
            (struct value){.kind = VALUE_DECIMAL, .i = own->mantissa, .decimals = own->decimals};
    else
        *ret_value = *given;
    return 0;
}

/* a const may be given, if it says the same */
static int check_const(const struct field_spec *spec, const struct value *given,
                       const uint8_t *written)
{
    struct codec_bytes bytes;

    if (!spec->has_const || given->kind == VALUE_ABSENT)
        return 0;
    int r = codec_field_encode(spec, given, &bytes);
    if (r != 0)
        return r;
    return memcmp(bytes.data, written, bytes.length) == 0 ? 0 : CODEC_E_CONFLICT;
}

/* Fields that share bits were ORed: each must still read as what was written. */
static int check_overlaps(const struct schema *schema, const struct value *values,
                          const uint8_t *buf, size_t *field)
{
    for (size_t i = 0; i < schema->n_fields; i++) {
        const struct field_spec *spec = &schema->fields[i];
        struct codec_bytes bytes;
        struct value value;

        *field = i;
        int r = value_to_write(spec, &values[i], &value);
        if (r == 0)
            r = codec_field_encode(spec, &value, &bytes);
        if (r != 0)
            return r;
        for (size_t k = 0; k < bytes.length; k++) {
            uint8_t mask = codec_field_mask(spec, k);
            if ((buf[spec->offset + k] & mask) != (bytes.data[k] & mask))
                return CODEC_E_CONFLICT;
        }
    }
    return 0;
}

int codec_encode(const struct schema *schema, const struct value *values, uint8_t *buf, size_t size,
                 size_t *ret_length, size_t *ret_field)
{
    size_t length = schema->min_length, field = SIZE_MAX;
    int r = length > size ? CODEC_E_LONG : 0;

    if (r == 0)
        memset(buf, 0, size);
    for (size_t i = 0; r == 0 && i < schema->n_fields; i++) {
        const struct field_spec *spec = &schema->fields[i];
        struct codec_bytes bytes;
        struct value value;

        field = i;
        r = value_to_write(spec, &values[i], &value);
        if (r == 0)
            r = codec_field_encode(spec, &value, &bytes);
        if (r == 0)
            r = check_const(spec, &values[i], bytes.data);
        if (r == 0 && bytes.length > size - spec->offset)
            r = CODEC_E_LONG;
        if (r != 0)
            break;
        for (size_t k = 0; k < bytes.length; k++)
            buf[spec->offset + k] |= bytes.data[k];
        if (spec->offset + bytes.length > length)
            length = spec->offset + bytes.length;
    }
    if (r == 0 && schema->overlaps)
        r = check_overlaps(schema, values, buf, &field);
    if (r == 0)
        *ret_length = length;
    if (ret_field)
        *ret_field = field;
    return r;
}

static void explain_range(const struct field_spec *spec, char *buf, size_t size)
{
    char min[DECIMAL_TEXT_SIZE], max[DECIMAL_TEXT_SIZE];

    decimal_format(spec->min, min);
    decimal_format(spec->max, max);
    if (spec->has_min && spec->has_max)
        snprintf(buf, size, "%s: must be from %s to %s", spec->name, min, max);
    else if (spec->has_min)
        snprintf(buf, size, "%s: must be %s or more", spec->name, min);
    else if (spec->has_max)
        snprintf(buf, size, "%s: must be %s or less", spec->name, max);
    else
        snprintf(buf, size, "%s: does not fit %s%s", spec->name,
                 field_type_name(spec->type, spec->size), spec->scaled ? " with its scale" : "");
}

static void explain_enum(const struct field_spec *spec, char *buf, size_t size)
{
    size_t at = (size_t)snprintf(buf, size, "%s: is none of", spec->name);

    for (size_t i = 0; i < spec->n_enums && at < size; i++)
        at += (size_t)snprintf(buf + at, size - at, "%s %s", i ? "," : "", spec->enums[i].name);
}

static void explain_type(const struct field_spec *spec, char *buf, size_t size)
{
    const char *wanted = "a number";

    if (spec->n_enums)
        wanted = "one of its names";
    else if (spec->type == FIELD_TYPE_BOOL)
        wanted = "true or false";
    else if (spec->type == FIELD_TYPE_STRING)
        wanted = "a text";
    else if (spec->type == FIELD_TYPE_BYTES)
        wanted = "hex digits";
    snprintf(buf, size, "%s: must be %s", spec->name, wanted);
}

void codec_explain(const struct schema *schema, int error, size_t field, size_t length, char *buf,
                   size_t size)
{
    const struct field_spec *spec = field < schema->n_fields ? &schema->fields[field] : NULL;
    const char *name = spec ? spec->name : "the value";

    switch (error) {
    case CODEC_E_SHORT:
        snprintf(buf, size, "needs at least %zu bytes, got %zu", schema->min_length, length);
        break;
    case CODEC_E_EXTRA:
        snprintf(buf, size, "has %zu bytes, got %zu", schema->min_length, length);
        break;
    case CODEC_E_TEXT: snprintf(buf, size, "%s: is not UTF-8 text", name); break;
    case CODEC_E_ENUM:
        if (spec)
            explain_enum(spec, buf, size);
        else
            snprintf(buf, size, "%s: is none of its enum", name);
        break;
    case CODEC_E_RANGE:
        if (spec)
            explain_range(spec, buf, size);
        else
            snprintf(buf, size, "%s: out of range", name);
        break;
    case CODEC_E_TYPE:
        if (spec)
            explain_type(spec, buf, size);
        else
            snprintf(buf, size, "%s: is of the wrong type", name);
        break;
    case CODEC_E_MISSING: snprintf(buf, size, "%s: is missing", name); break;
    case CODEC_E_LONG:
        if (spec && spec->length && spec->length != FIELD_LENGTH_REST)
            snprintf(buf, size, "%s: is longer than its %zu bytes", name, spec->length);
        else
            snprintf(buf, size, "%s: is longer than the %zu bytes allowed", name, length);
        break;
    case CODEC_E_CONFLICT:
        snprintf(buf, size, "%s: %s", name,
                 spec && spec->has_const ? "is always the same and can be left out"
                                         : "contradicts another field that shares its bits");
        break;
    default: snprintf(buf, size, "%s: unknown error", name); break;
    }
}
