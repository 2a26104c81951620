/* Bytes to values, and errors in words; see codec.h. The work of one field is in
 * codec_field_decode.c. */
#include "core/codec.h"

#include "core/codec_field.h"
#include "util/decimal.h"
#include <stdio.h>

/* ---- decoding ---- */

/* Where the walk over a dynamic schema is. */
struct walk {
    const struct schema *schema;
    const uint8_t *data;
    size_t length;
    size_t start, next;              /* of the field before: its place and its end */
    size_t used;                     /* up to here there are fields */
    uint64_t raw[SCHEMA_MAX_FIELDS]; /* of fields that others ask */
    uint64_t present;                /* a bit for each field */
    size_t field;                    /* where the walk is, or was when it failed */
};
_Static_assert(SCHEMA_MAX_FIELDS <= 64, "a bit for each field");

static int decode_part(const struct schema *schema, const uint8_t *data, size_t length,
                       struct value *values, size_t *ret_used, size_t *ret_field);

/* all elements are looked at, so that whoever reads them later finds them good */
static int decode_array(struct walk *walk, const struct field_spec *spec, size_t at,
                        struct value *ret_value, size_t *ret_length)
{
    struct value scratch[SCHEMA_MAX_FIELDS];
    bool rest = spec->repeat == FIELD_REPEAT_REST;
    uint64_t n = spec->repeat_times;
    size_t end = at;

    if (spec->repeat == FIELD_REPEAT_FIELD)
        n = walk->present >> spec->repeat_index & 1 ? walk->raw[spec->repeat_index] : 0;
    for (uint64_t i = 0; rest ? end < walk->length : i < n; i++) {
        size_t used;
        int r =
            decode_part(spec->element, walk->data + end, walk->length - end, scratch, &used, NULL);
        if (r != 0)
            return r;
        end += used;
    }
    *ret_value = (struct value){.kind = VALUE_ARRAY, .s = {walk->data + at, end - at}};
    *ret_length = end - at;
    return 0;
}

static int check_checksum(const struct walk *walk, const struct field_spec *spec, size_t at)
{
    size_t to = spec->checksum_to == SIZE_MAX ? at : spec->checksum_to;

    if (to > walk->length || spec->checksum_from > to)
        return CODEC_E_SHORT;
    uint16_t right =
        checksum_of(spec->checksum, walk->data + spec->checksum_from, to - spec->checksum_from);
    return codec_field_raw(spec, walk->data + at) == right ? 0 : CODEC_E_CHECKSUM;
}

static int decode_field(struct walk *walk, size_t i, struct value *values)
{
    const struct field_spec *spec = &walk->schema->fields[i];
    size_t at = spec->offset == FIELD_OFFSET_NEXT   ? walk->next
                : spec->offset == FIELD_OFFSET_SAME ? walk->start
                                                    : spec->offset;
    size_t length = field_spec_length(spec);
    int r = 0;

    values[i].kind = VALUE_ABSENT;
    if (spec->when.field && (!(walk->present >> spec->when.index & 1) ||
                             (walk->raw[spec->when.index] & spec->when.mask) != spec->when.value))
        return 0;
    if (at > walk->length || (length != FIELD_LENGTH_REST && length > walk->length - at))
        return CODEC_E_SHORT;
    if (spec->type == FIELD_TYPE_ARRAY)
        r = decode_array(walk, spec, at, &values[spec->slot], &length);
    else
        r = codec_field_decode(spec, walk->data + at, walk->length - at, &values[spec->slot]);
    if (r == 0 && spec->compute == FIELD_COMPUTE_CHECKSUM)
        r = check_checksum(walk, spec, at);
    if (r != 0)
        return r;
    if (spec->selects || spec->counts != FIELD_NONE)
        walk->raw[i] = codec_field_raw(spec, walk->data + at);
    walk->present |= UINT64_C(1) << i;
    walk->start = at;
    walk->next = length == FIELD_LENGTH_REST ? walk->length : at + length;
    walk->used = MAX_OF(walk->used, walk->next);
    return 0;
}

static int decode_dynamic(const struct schema *schema, const uint8_t *data, size_t length,
                          struct value *values, size_t *ret_used, size_t *ret_field)
{
    struct walk walk;
    int r = 0;

    walk.schema = schema;
    walk.data = data;
    walk.length = length;
    walk.start = walk.next = walk.used = walk.field = 0;
    walk.present = 0;
    for (size_t i = 0; i < schema->n_fields && r == 0; i++) {
        walk.field = i;
        r = decode_field(&walk, i, values);
    }
    *ret_field = walk.field;
    *ret_used = walk.used;
    return r;
}

static int decode_fixed(const struct schema *schema, const uint8_t *data, size_t length,
                        struct value *values, size_t *ret_field)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < schema->n_fields; i++) {
        const struct field_spec *spec = &schema->fields[i];

        *ret_field = i;
        r = codec_field_decode(spec, data + spec->offset, length - spec->offset, &values[i]);
    }
    return r;
}

/* an element of an array: as many bytes as it takes */
static int decode_part(const struct schema *schema, const uint8_t *data, size_t length,
                       struct value *values, size_t *ret_used, size_t *ret_field)
{
    size_t field = SIZE_MAX;
    int r;

    if (length < schema->min_length) {
        r = CODEC_E_SHORT;
    } else if (schema->dynamic) {
        r = decode_dynamic(schema, data, length, values, ret_used, &field);
    } else {
        *ret_used = schema->min_length;
        r = decode_fixed(schema, data, length, values, &field);
    }
    if (ret_field)
        *ret_field = field;
    return r;
}

int codec_decode(const struct schema *schema, const uint8_t *data, size_t length,
                 struct value *values, size_t *ret_field)
{
    size_t used = length, field = SIZE_MAX;
    int r = 0;

    if (length < schema->min_length)
        r = CODEC_E_SHORT;
    else if (schema->dynamic)
        r = decode_dynamic(schema, data, length, values, &used, &field);
    else if (schema->extra_is_error && !schema->variable && length > schema->min_length)
        r = CODEC_E_EXTRA;
    else
        r = decode_fixed(schema, data, length, values, &field);
    if (r == 0 && schema->extra_is_error && used < length) {
        field = SIZE_MAX;
        r = CODEC_E_EXTRA;
    }
    if (ret_field)
        *ret_field = field;
    return r;
}

bool codec_array_next(struct codec_array *array, struct value *values)
{
    size_t used = 0;

    if (!array->left || decode_part(array->element, array->data, array->left, values, &used, NULL))
        return false;
    array->data += used;
    array->left -= used;
    return true;
}

/* ---- errors in words ---- */

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
    else if (spec->type == FIELD_TYPE_TIME)
        wanted = "a local time such as 2026-11-23T03:00:00";
    else if (spec->type == FIELD_TYPE_ARRAY)
        wanted = spec->scalar_elements ? "an array" : "an array of objects";
    snprintf(buf, size, "%s: must be %s", spec->name, wanted);
}

static void explain_conflict(const struct field_spec *spec, const char *name, char *buf,
                             size_t size)
{
    if (spec && spec->has_const)
        snprintf(buf, size, "%s: is always the same and can be left out", name);
    else if (spec && spec->when.field)
        snprintf(buf, size,
                 "%s: contradicts '%s', which says whether it is there, or another "
                 "field",
                 name, spec->when.field);
    else if (spec && spec->type == FIELD_TYPE_ARRAY)
        snprintf(buf, size, "%s: has another number of elements than is said", name);
    else
        snprintf(buf, size, "%s: contradicts another field that shares its bits", name);
}

void codec_explain(const struct schema *schema, int error, size_t field, size_t length, char *buf,
                   size_t size)
{
    const struct field_spec *spec = field < schema->n_fields ? &schema->fields[field] : NULL;
    const char *name = spec ? spec->name : "the value";

    switch (error) {
    case CODEC_E_SHORT:
        if (spec) {
            snprintf(buf, size, "%s: %zu bytes are too few for it", name, length);
            break;
        }
        snprintf(buf, size, "needs at least %zu bytes, got %zu", schema->min_length, length);
        break;
    case CODEC_E_EXTRA:
        if (schema->dynamic) {
            snprintf(buf, size, "has more bytes than its fields: %zu", length);
            break;
        }
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
    case CODEC_E_CONFLICT: explain_conflict(spec, name, buf, size); break;
    case CODEC_E_CHECKSUM: snprintf(buf, size, "%s: the checksum is wrong", name); break;
    default: snprintf(buf, size, "%s: unknown error", name); break;
    }
}
