/* Checks and compiles what a file says about fields; see schema.h. Must not know YAML. */
#include "core/schema.h"

#include "core/bt.h"
#include "core/codec.h"
#include "core/topic.h"
#include "util/decimal.h"
#include "util/utf8.h"
#include <stdarg.h>
#include <stdio.h>
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
};

bool field_type_parse(const char *text, enum field_type *ret_type, uint8_t *ret_size)
{
    for (size_t i = 0; i < ARRAY_SIZE(type_names); i++)
        if (strcmp(text, type_names[i].name) == 0) {
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
    free(spec->unit);
    free(spec->device_class);
    free(spec->state_class);
    free(spec->entity_category);
    free(spec->icon);
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
    case FIELD_TYPE_TIME: return 0;
    }
    return 0;
}

/* ---- the checks; each returns 0 or -EINVAL with the message written ---- */

static int PRINTF_LIKE(2, 3) say(struct schema_error *error, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    vsnprintf(error->message, sizeof(error->message), format, ap);
    va_end(ap);
    return -EINVAL;
}

static bool is_integer(const struct field_spec *spec)
{
    return spec->type == FIELD_TYPE_UINT || spec->type == FIELD_TYPE_INT;
}

static bool is_text(const struct field_spec *spec)
{
    return spec->type == FIELD_TYPE_STRING || spec->type == FIELD_TYPE_BYTES;
}

static bool is_number(const struct field_spec *spec)
{
    return !is_text(spec) && spec->type != FIELD_TYPE_BOOL;
}

/* bits of the raw value */
static unsigned raw_bits(const struct field_spec *spec)
{
    return spec->has_bits ? spec->bit_count : (unsigned)(8 * field_spec_length(spec));
}

static int check_name(const struct field_spec *specs, size_t i, struct schema_error *error)
{
    static const char *const reserved[] = {"ts", "raw", "id"};
    const char *name = specs[i].name;

    if (!name || !topic_is_valid_id(name) || strlen(name) > SCHEMA_MAX_NAME)
        return say(error, "a field's name has 1 to %d of the characters A-Z a-z 0-9 _ -",
                   SCHEMA_MAX_NAME);
    for (size_t k = 0; k < ARRAY_SIZE(reserved); k++)
        if (strcmp(name, reserved[k]) == 0)
            return say(error, "'%s' cannot be a field's name: payloads use it themselves", name);
    for (size_t k = 0; k < i; k++)
        if (strcmp(name, specs[k].name) == 0)
            return say(error, "there are two fields '%s'", name);
    return 0;
}

static int check_type(const struct field_spec *spec, struct schema_error *error)
{
    if (spec->type == FIELD_TYPE_TIME)
        return say(error, "type time is not supported yet");
    if (is_integer(spec) ? spec->size < 1 || spec->size > 8 : spec->size != 0)
        return say(error, "an integer has 1 to 8 bytes, other types no size of their own");
    if (is_text(spec) ? !spec->length : spec->length && spec->length != FIELD_LENGTH_REST)
        return say(error, is_text(spec) ? "a length is 1 or more; without one, the rest is taken"
                                        : "only string and bytes have a length");
    if (!spec->has_bits)
        return 0;
    if (!is_integer(spec) && spec->type != FIELD_TYPE_BOOL)
        return say(error, "only integers and bool have bits");
    if (!spec->bit_count || spec->bit_first + spec->bit_count > 8 * field_spec_length(spec))
        return say(error, "bits: [first, count] must lie within the %zu bits of the field",
                   8 * field_spec_length(spec));
    if (spec->type == FIELD_TYPE_BOOL && spec->bit_count != 1)
        return say(error, "a bool is one bit; for more use an unsigned integer");
    return 0;
}

/* a raw value as the codec will see it, or an error */
static int normalise_raw(const struct field_spec *spec, const char *what, int64_t *raw,
                         struct schema_error *error)
{
    unsigned bits = raw_bits(spec);
    bool is_signed = spec->type == FIELD_TYPE_INT;
    int64_t low, high;

    if (bits == 64)
        return 0; /* every bit pattern */
    high = (INT64_C(1) << bits) - 1;
    low = is_signed ? -(INT64_C(1) << (bits - 1)) : 0;
    if (*raw < low || *raw > high)
        return say(error, "%s %lld does not fit %u bits", what, (long long)*raw, bits);
    if (is_signed && *raw >= -low)
        *raw -= high + 1;
    return 0;
}

static int check_enum(struct field_spec *spec, struct schema_error *error)
{
    if (!spec->n_enums)
        return 0;
    if (!is_integer(spec) && spec->type != FIELD_TYPE_BOOL)
        return say(error, "only integers and bool have an enum");
    if (spec->scaled)
        return say(error, "an enum names raw values: scale and add have no meaning there");
    if (spec->n_enums > SCHEMA_MAX_ENUMS)
        return say(error, "an enum has at most %d names", SCHEMA_MAX_ENUMS);
    for (size_t i = 0; i < spec->n_enums; i++) {
        struct field_enum *e = &spec->enums[i];

        if (!e->name || !*e->name || !utf8_is_valid(e->name, strlen(e->name)))
            return say(error, "an enum's names are text");
        int r = normalise_raw(spec, "the enum's value", &e->raw, error);
        if (r < 0)
            return r;
        for (size_t k = 0; k < i; k++) {
            if (spec->enums[k].raw == e->raw)
                return say(error, "the enum has %lld twice", (long long)e->raw);
            if (strcmp(spec->enums[k].name, e->name) == 0)
                return say(error, "the enum has '%.40s' twice", e->name);
        }
    }
    return 0;
}

/* Works out factor and summand; the largest raw values must have an exact value. */
static int check_scale(struct field_spec *spec, struct schema_error *error)
{
    static const struct decimal one = {1, 0};
    int64_t value;

    spec->scaled = decimal_compare(spec->scale, one) != 0 || spec->add.mantissa != 0;
    if (!spec->scaled)
        return 0;
    if (!is_number(spec))
        return say(error, "only numbers have scale and add");
    if (!spec->scale.mantissa)
        return say(error, "a scale of 0 would lose the value");
    if (!is_integer(spec))
        return 0;
    spec->decimals = MAX_OF(spec->scale.decimals, spec->add.decimals);
    if (!decimal_align(spec->scale, spec->decimals, &spec->factor) ||
        !decimal_align(spec->add, spec->decimals, &spec->summand))
        return say(error, "scale and add together need more than 18 digits");
    unsigned bits = raw_bits(spec);
    bool is_signed = spec->type == FIELD_TYPE_INT;
    if (bits > 56) /* few such values are that large: the codec refuses those */
        return 0;
    int64_t high = (INT64_C(1) << (bits - is_signed)) - 1;
    if (__builtin_mul_overflow(spec->factor, high + is_signed, &value) ||
        __builtin_add_overflow(value, spec->summand, &value) ||
        __builtin_mul_overflow(spec->factor, is_signed ? -high - 1 : 0, &value) ||
        __builtin_add_overflow(value, spec->summand, &value))
        return say(error, "scale and add give values of more than 18 digits");
    return 0;
}

static int check_limits(const struct field_spec *spec, struct schema_error *error)
{
    bool any = spec->has_min || spec->has_max || spec->has_step;

    if (any && (!is_number(spec) || spec->n_enums))
        return say(error, "only numbers have min, max and step");
    if (spec->has_min && spec->has_max && decimal_compare(spec->min, spec->max) > 0)
        return say(error, "min is larger than max");
    if (spec->has_step && spec->step.mantissa <= 0)
        return say(error, "a step is more than 0");
    if (spec->has_const && spec->has_default)
        return say(error, "const and default exclude each other");
    if ((spec->has_const || spec->has_default) && is_text(spec))
        return say(error, "const and default of a %s are not supported yet",
                   field_type_name(spec->type, spec->size));
    return 0;
}

static int check_invalid(struct field_spec *spec, struct schema_error *error)
{
    if (!spec->has_invalid)
        return 0;
    if (is_text(spec))
        return say(error, "only numbers and bool have an invalid value");
    return normalise_raw(spec, "invalid:", &spec->invalid, error);
}

/* Where a field stands. `next` is the end of the field before. */
static int place_field(struct field_spec *spec, size_t next, struct schema_error *error)
{
    if (spec->offset == FIELD_OFFSET_NEXT)
        spec->offset = next;
    if (spec->offset == SIZE_MAX)
        return say(error, "comes after a field that takes the rest: give it an offset before that "
                          "one, or that one a length");
    size_t length = field_spec_length(spec);
    size_t end = length == FIELD_LENGTH_REST ? 0 : length;
    if (spec->offset > GATT_VALUE_MAX || end > GATT_VALUE_MAX - spec->offset)
        return say(error, "lies beyond the %d bytes that a value can have", GATT_VALUE_MAX);
    return 0;
}

static size_t end_of(const struct field_spec *spec)
{
    size_t length = field_spec_length(spec);

    return length == FIELD_LENGTH_REST ? SIZE_MAX : spec->offset + length;
}

static int check_layout(struct schema *schema, struct schema_error *error)
{
    uint8_t used[GATT_VALUE_MAX] = {0};
    const struct field_spec *rest = NULL;

    for (size_t i = 0; i < schema->n_fields; i++) {
        const struct field_spec *spec = &schema->fields[i];

        error->field = i;
        if (end_of(spec) == SIZE_MAX) {
            if (rest)
                return say(error, "two fields take the rest: '%s' does already", rest->name);
            rest = spec;
            schema->variable = true;
            schema->min_length = MAX_OF(schema->min_length, spec->offset);
            continue;
        }
        schema->min_length = MAX_OF(schema->min_length, end_of(spec));
        for (unsigned bit = 0; bit < 8 * field_spec_length(spec); bit++) {
            /* bits count within the integer: in big endian the first byte has the highest */
            size_t byte = spec->big_endian ? field_spec_length(spec) - 1 - bit / 8 : bit / 8;
            uint8_t mask = (uint8_t)(1 << bit % 8);

            if (spec->has_bits &&
                (bit < spec->bit_first || bit >= (unsigned)spec->bit_first + spec->bit_count))
                continue;
            schema->overlaps |= used[spec->offset + byte] & mask;
            used[spec->offset + byte] |= mask;
        }
    }
    for (size_t i = 0; rest && i < schema->n_fields; i++)
        if (&schema->fields[i] != rest && end_of(&schema->fields[i]) > rest->offset) {
            error->field = i;
            return say(error, "reaches into '%s', which takes the rest: give that one a length",
                       rest->name);
        }
    return 0;
}

/* Const and default must fit their field: what is wrong with the file is said when it is read. */
static int check_own_value(struct field_spec *spec, struct schema_error *error)
{
    const struct value absent = {.kind = VALUE_ABSENT};
    const struct schema alone = {
        .fields = spec, .n_fields = 1, .min_length = spec->offset + field_spec_length(spec)};
    uint8_t buf[GATT_VALUE_MAX];
    char why[128];
    size_t length;

    if (!spec->has_const && !spec->has_default)
        return 0;
    int r = codec_encode(&alone, &absent, buf, sizeof(buf), &length, NULL);
    if (r == 0)
        return 0;
    codec_explain(&alone, r, 0, sizeof(buf), why, sizeof(why));
    return say(error, "%s of %s", spec->has_const ? "const" : "default", why);
}

static int check_field(struct field_spec *specs, size_t i, size_t next, struct schema_error *error)
{
    int r = check_name(specs, i, error);

    if (r == 0)
        r = check_type(&specs[i], error);
    if (r == 0)
        r = check_scale(&specs[i], error);
    if (r == 0)
        r = check_enum(&specs[i], error);
    if (r == 0)
        r = check_invalid(&specs[i], error);
    if (r == 0)
        r = check_limits(&specs[i], error);
    if (r == 0)
        r = place_field(&specs[i], next, error);
    if (r == 0)
        r = check_own_value(&specs[i], error);
    return r;
}

int schema_new_take(struct field_spec *specs, size_t n, bool extra_is_error,
                    struct schema **ret_schema, struct schema_error *ret_error)
{
    struct schema_error error = {0};
    size_t next = 0;

    if (n < 1 || n > SCHEMA_MAX_FIELDS) {
        say(&error, "a value has 1 to %d fields", SCHEMA_MAX_FIELDS);
        *ret_error = error;
        return -EINVAL;
    }
    struct schema *schema = calloc(1, sizeof(*schema));
    if (!schema)
        return -ENOMEM;
    schema->fields = specs;
    schema->n_fields = n;
    schema->extra_is_error = extra_is_error;
    int r = 0;
    for (size_t i = 0; i < n && r == 0; i++) {
        error.field = i;
        r = check_field(specs, i, next, &error);
        next = end_of(&specs[i]);
    }
    if (r == 0)
        r = check_layout(schema, &error);
    if (r < 0) {
        *ret_error = error;
        free(schema);
        return r;
    }
    *ret_schema = schema;
    return 0;
}
