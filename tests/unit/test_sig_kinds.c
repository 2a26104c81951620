/*
 * Are the golden inputs of the Bluetooth SIG's formats complete? Each field of each format must
 * have been seen at its least and its largest value, unknown, reserved or prohibited, there and not
 * there, and cut short, where it has such. What the inputs mean, test_sig.c checks.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/bt.h"
#include "core/codec.h"
#include "core/codec_field.h"
#include "core/sig.h"
#include "helper_schema.h"
#include "util/bytes.h"

static const struct golden {
    uint16_t uuid;
    const char *hex, *json;
} golden[] = {
#include "data/sig.inc"
#include "data/sig_edges.inc"
};

enum kind {
    KIND_ORDINARY, /* neither at an end, nor unknown, nor reserved */
    KIND_LEAST,
    KIND_LARGEST,
    KIND_UNKNOWN,
    KIND_RESERVED, /* a code without a name, a flag without a meaning */
    KIND_BELOW,    /* prohibited by a range */
    KIND_ABOVE,
    KIND_NRES, /* of medical floats: not at this resolution, +INFINITY, -INFINITY, reserved */
    KIND_PLUS_INFINITY,
    KIND_MINUS_INFINITY,
    KIND_RESERVED_FLOAT,
    KIND_PRESENT,
    KIND_ABSENT,
    KIND_SHORT,
    KIND_BAD, /* no date, no text */
    KIND_N,
};

static const char *const kind_names[KIND_N] = {
    "ordinary", "least", "largest",   "unknown",   "reserved",        "below", "above", "NRes",
    "+INF",     "-INF",  "float 801", "condition", "condition unmet", "short", "bad"};

#define KIND(kind) (1u << (kind))

struct seen {
    const struct schema *schema;
    unsigned kinds[SCHEMA_MAX_FIELDS];
    bool good, is_short;
};

/* ---- what a field has ---- */

static bool is_float(const struct field_spec *spec)
{
    return spec->type == FIELD_TYPE_SFLOAT || spec->type == FIELD_TYPE_MEDFLOAT32;
}

static bool is_flags(const struct field_spec *spec)
{
    return strcmp(spec->name, "flags") == 0;
}

static int64_t number_of(const struct field_spec *spec, uint64_t raw)
{
    return spec->type == FIELD_TYPE_INT ? sign_extend(raw, bits_of(spec)) : (int64_t)raw;
}

/* the ends of what its bits can hold */
static void type_range(const struct field_spec *spec, int64_t *low, int64_t *high)
{
    bool is_signed = spec->type == FIELD_TYPE_INT;
    unsigned bits = bits_of(spec) - is_signed;

    *high = (int64_t)mask_of(bits);
    *low = is_signed ? -*high - 1 : 0;
}

/* the ends of what is allowed and not "unknown" */
static void value_range(const struct field_spec *spec, int64_t *low, int64_t *high)
{
    type_range(spec, low, high);
    if (spec->has_valid) {
        *low = spec->valid_low;
        *high = spec->valid_high;
    }
    if (spec->has_invalid && spec->invalid == *low)
        ++*low;
    if (spec->has_invalid && spec->invalid == *high)
        --*high;
}

static unsigned needed_of_integer(const struct field_spec *spec)
{
    unsigned kinds = KIND(KIND_LEAST) | KIND(KIND_LARGEST);
    int64_t low, high;

    type_range(spec, &low, &high);
    if (is_flags(spec))
        return KIND(KIND_RESERVED);
    if (spec->n_enums && spec->n_enums + spec->has_invalid < mask_of(bits_of(spec)) + 1)
        kinds |= KIND(KIND_RESERVED);
    if (spec->has_invalid)
        kinds |= KIND(KIND_UNKNOWN);
    if (spec->has_valid && spec->valid_high < high - spec->has_invalid)
        kinds |= KIND(KIND_ABOVE);
    if (spec->has_valid && spec->valid_low > low + spec->has_invalid)
        kinds |= KIND(KIND_BELOW);
    return kinds;
}

static unsigned needed(const struct schema *schema, size_t i)
{
    const struct field_spec *spec = &schema->fields[i];
    unsigned kinds =
        spec->when.field ? KIND(KIND_PRESENT) | KIND(KIND_ABSENT) | KIND(KIND_SHORT) : 0;

    /* bits of the flags, or of the byte of the field before: they are there if anything is */
    if (i > 0 && (spec->offset == 0 || spec->offset == FIELD_OFFSET_SAME))
        kinds &= ~KIND(KIND_SHORT);
    switch (spec->type) {
    case FIELD_TYPE_BOOL:
    case FIELD_TYPE_UINT:
    case FIELD_TYPE_INT: return kinds | needed_of_integer(spec);
    case FIELD_TYPE_SFLOAT:
    case FIELD_TYPE_MEDFLOAT32:
        return kinds | KIND(KIND_LEAST) | KIND(KIND_LARGEST) | KIND(KIND_UNKNOWN) |
               KIND(KIND_NRES) | KIND(KIND_PLUS_INFINITY) | KIND(KIND_MINUS_INFINITY) |
               KIND(KIND_RESERVED_FLOAT);
    case FIELD_TYPE_TIME:
        return kinds | KIND(KIND_LEAST) | KIND(KIND_LARGEST) | KIND(KIND_UNKNOWN) | KIND(KIND_BAD);
    case FIELD_TYPE_STRING: /* any length will do */
        return (kinds & ~KIND(KIND_SHORT)) | KIND(KIND_LEAST) | KIND(KIND_LARGEST) | KIND(KIND_BAD);
    case FIELD_TYPE_ARRAY: return kinds | needed_of_integer(&spec->element->fields[0]);
    case FIELD_TYPE_FLOAT32:
    case FIELD_TYPE_FLOAT64:
    case FIELD_TYPE_BYTES: break;
    }
    fail_msg("%s: a type that no format had so far", spec->name);
    return 0;
}

/* ---- what an input shows ---- */

static unsigned kinds_of_integer(const struct field_spec *spec, uint64_t known, uint64_t raw)
{
    int64_t number = number_of(spec, raw), low, high;

    if (is_flags(spec))
        return raw & ~known ? KIND(KIND_RESERVED) : KIND(KIND_ORDINARY);
    if (spec->has_invalid && number == spec->invalid)
        return KIND(KIND_UNKNOWN);
    value_range(spec, &low, &high);
    if (spec->n_enums) {
        low = spec->enums[0].raw;
        high = spec->enums[spec->n_enums - 1].raw;
        for (size_t i = 0; i < spec->n_enums; i++)
            if (spec->enums[i].raw == number)
                return (number == low ? KIND(KIND_LEAST) : 0) |
                       (number == high ? KIND(KIND_LARGEST) : 0) | KIND(KIND_ORDINARY);
        return KIND(KIND_RESERVED);
    }
    if (number < low || number > high)
        return number < low ? KIND(KIND_BELOW) : KIND(KIND_ABOVE);
    if (spec->type == FIELD_TYPE_BOOL)
        return KIND(KIND_ORDINARY) | (number ? KIND(KIND_LARGEST) : KIND(KIND_LEAST));
    return number == low    ? KIND(KIND_LEAST)
           : number == high ? KIND(KIND_LARGEST)
                            : KIND(KIND_ORDINARY);
}

/* IEEE 11073-20601: the special values have exponent 0; the largest mantissas with it are extremes
 */
static unsigned kinds_of_float(const struct field_spec *spec, uint64_t raw)
{
    uint64_t top = spec->type == FIELD_TYPE_SFLOAT ? 0x7ff : 0x7fffff;

    return raw == top       ? KIND(KIND_UNKNOWN)
           : raw == top - 1 ? KIND(KIND_PLUS_INFINITY)
           : raw == top - 2 ? KIND(KIND_LARGEST)
           : raw == top + 1 ? KIND(KIND_NRES)
           : raw == top + 2 ? KIND(KIND_RESERVED_FLOAT)
           : raw == top + 3 ? KIND(KIND_MINUS_INFINITY)
           : raw == top + 4 ? KIND(KIND_LEAST)
                            : KIND(KIND_ORDINARY);
}

static unsigned kinds_of_time(const uint8_t *data)
{
    static const uint8_t least[7] = {1582 & 0xff, 1582 >> 8, 1, 1, 0, 0, 0},
                         largest[7] = {9999 & 0xff, 9999 >> 8, 12, 31, 23, 59, 59}, unknown[7];

    return memcmp(data, least, 7) == 0     ? KIND(KIND_LEAST)
           : memcmp(data, largest, 7) == 0 ? KIND(KIND_LARGEST)
           : memcmp(data, unknown, 7) == 0 ? KIND(KIND_UNKNOWN)
                                           : KIND(KIND_ORDINARY);
}

static bool is_ascii(const uint8_t *data, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (data[i] >= 0x80)
            return false;
    return true;
}

/* the field's place, and what it has there */
static unsigned kinds_of(const struct field_spec *spec, uint64_t known, const uint8_t *data,
                         size_t length)
{
    unsigned kinds = 0;

    if (spec->type == FIELD_TYPE_TIME)
        return kinds_of_time(data);
    if (spec->type == FIELD_TYPE_STRING)
        return !length                  ? KIND(KIND_LEAST)
               : is_ascii(data, length) ? KIND(KIND_ORDINARY)
                                        : KIND(KIND_LARGEST);
    if (spec->type == FIELD_TYPE_ARRAY) {
        const struct field_spec *part = &spec->element->fields[0];
        for (size_t at = 0; at < length; at += field_spec_length(part))
            kinds |= kinds_of_integer(part, 0, codec_field_raw(part, data + at));
        return kinds;
    }
    uint64_t raw = codec_field_raw(spec, data);
    return is_float(spec) ? kinds_of_float(spec, raw) : kinds_of_integer(spec, known, raw);
}

/* the bits of the flags that something asks for */
static uint64_t known_bits(const struct schema *schema)
{
    uint64_t known = schema->fields[0].selects;

    for (size_t i = 1; i < schema->n_fields; i++)
        if (schema->fields[i].offset == 0 && schema->fields[i].has_bits)
            known |= mask_of(schema->fields[i].bit_count) << schema->fields[i].bit_first;
    return known;
}

/* A walk of its own over a good value: flags come first, and only they decide. */
static void look_at_good(struct seen *seen, const uint8_t *data, size_t length)
{
    const struct schema *schema = seen->schema;
    bool has_flags = is_flags(&schema->fields[0]);
    uint64_t flags = has_flags ? codec_field_raw(&schema->fields[0], data) : 0;
    uint64_t known = has_flags ? known_bits(schema) : 0;
    size_t start = 0, next = 0;

    seen->good = true;
    for (size_t i = 0; i < schema->n_fields; i++) {
        const struct field_spec *spec = &schema->fields[i];
        size_t size = field_spec_length(spec);

        if (spec->when.field && (flags & spec->when.mask) != spec->when.value) {
            seen->kinds[i] |= KIND(KIND_ABSENT);
            continue;
        }
        start = spec->offset == FIELD_OFFSET_SAME   ? start
                : spec->offset == FIELD_OFFSET_NEXT ? next
                                                    : spec->offset;
        size = size == FIELD_LENGTH_REST ? length - start : size;
        assert_true(start + size <= length);
        seen->kinds[i] |= KIND(KIND_PRESENT) | kinds_of(spec, known, data + start, size);
        next = start + size;
    }
}

static void look_at(struct seen *seen, const struct golden *g)
{
    struct value values[SCHEMA_MAX_FIELDS];
    uint8_t data[GATT_VALUE_MAX] = {0};
    size_t length = bytes_from(g->hex, data, sizeof(data)), field;
    int r = codec_decode(seen->schema, data, length, values, &field);

    if (g->json)
        look_at_good(seen, data, length);
    else if (r == CODEC_E_SHORT && field == SIZE_MAX)
        seen->is_short |= length + 1 == seen->schema->min_length;
    else if (r == CODEC_E_SHORT)
        seen->kinds[field] |= KIND(KIND_SHORT);
    else if (field != SIZE_MAX)
        seen->kinds[field] |= KIND(KIND_BAD);
}

static int complain(uint16_t uuid, const char *field, const char *what)
{
    print_error("0x%04X %s, %s: no golden input: %s\n", uuid, sig_name(uuid), field, what);
    return 1;
}

static int check_format(uint16_t uuid)
{
    struct schema *schema;
    int missing = 0;

    assert_int_equal(sig_schema_new(uuid, &schema), 0);
    struct seen seen = {.schema = schema};
    for (size_t i = 0; i < ARRAY_SIZE(golden); i++)
        if (golden[i].uuid == uuid)
            look_at(&seen, &golden[i]);
    if (!seen.good)
        missing += complain(uuid, "all", "one that is good");
    if (schema->min_length && !seen.is_short)
        missing += complain(uuid, "all", "a byte less than the least");
    for (size_t i = 0; i < schema->n_fields; i++) {
        unsigned lacks = needed(schema, i) & ~seen.kinds[i];

        for (unsigned kind = 0; kind < KIND_N; kind++)
            if (lacks & KIND(kind))
                missing += complain(uuid, schema->fields[i].name, kind_names[kind]);
    }
    schema_free(schema);
    return missing;
}

static void every_field_of_every_format_has_golden_inputs_of_every_kind(void **state)
{
    uint16_t uuid;
    int missing = 0;

    for (size_t n = 0; (uuid = sig_uuid_at(n)) != 0; n++)
        missing += check_format(uuid);
    assert_int_equal(missing, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_field_of_every_format_has_golden_inputs_of_every_kind),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
