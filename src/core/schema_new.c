/* Checks and compiles what a file says about fields; see schema.h. Must not know YAML. */
#include "core/bt.h"
#include "core/codec.h"
#include "core/codec_field.h"
#include "core/schema.h"
#include "core/topic.h"
#include "util/cleanup.h"
#include "util/decimal.h"
#include "util/utf8.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
    return !is_text(spec) && spec->type != FIELD_TYPE_BOOL && spec->type != FIELD_TYPE_TIME &&
           spec->type != FIELD_TYPE_ARRAY;
}

/* one of the two is there at most */
static bool exclude_each_other(const struct field_spec *a, const struct field_spec *b)
{
    return a->when.field && b->when.field && a->when.index == b->when.index &&
           (a->when.mask & b->when.mask & (a->when.value ^ b->when.value));
}

static int check_name(struct field_spec *specs, size_t i, struct schema_error *error)
{
    static const char *const reserved[] = {"ts", "raw", "id"};
    const char *name = specs[i].name;

    if (!name || !topic_is_valid_id(name) || strlen(name) > SCHEMA_MAX_NAME)
        return say(error, "a field's name has 1 to %d of the characters A-Z a-z 0-9 _ -",
                   SCHEMA_MAX_NAME);
    for (size_t k = 0; k < ARRAY_SIZE(reserved); k++)
        if (strcmp(name, reserved[k]) == 0)
            return say(error, "'%s' cannot be a field's name: payloads use it themselves", name);
    specs[i].slot = i;
    for (size_t k = i; k-- > 0;)
        if (strcmp(name, specs[k].name) == 0) {
            if (!exclude_each_other(&specs[k], &specs[i]))
                return say(error, "there are two fields '%s'", name);
            specs[i].slot = k;
        }
    return 0;
}

static int check_type(const struct field_spec *spec, struct schema_error *error)
{
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
    unsigned bits = bits_of(spec);
    bool is_signed = spec->type == FIELD_TYPE_INT;
    int64_t low, high;

    if (bits == 64)
        return 0; /* every bit pattern */
    high = (int64_t)mask_of(bits);
    low = is_signed ? -(INT64_C(1) << (bits - 1)) : 0;
    if (*raw < low || *raw > high)
        return say(error, "%s %lld does not fit %u bits", what, (long long)*raw, bits);
    if (is_signed)
        *raw = sign_extend((uint64_t)*raw & mask_of(bits), bits);
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
    if (spec->scale.mantissa == INT64_MIN || spec->add.mantissa == INT64_MIN)
        return say(error, "scale and add have at most 18 digits");
    if (!is_integer(spec))
        return 0;
    spec->decimals = MAX_OF(spec->scale.decimals, spec->add.decimals);
    if (!decimal_align(spec->scale, spec->decimals, &spec->factor) ||
        !decimal_align(spec->add, spec->decimals, &spec->summand))
        return say(error, "scale and add together need more than 18 digits");
    unsigned bits = bits_of(spec);
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
    if (spec->has_deadband && (!is_number(spec) || spec->n_enums || spec->deadband.mantissa <= 0))
        return say(error, "a deadband is above 0, and belongs to numbers");
    if (spec->has_const && spec->has_default)
        return say(error, "const and default exclude each other");
    if ((spec->has_const || spec->has_default) &&
        (spec->type == FIELD_TYPE_ARRAY || spec->type == FIELD_TYPE_TIME || spec->compute))
        return say(error, "const and default belong to single values that are not computed");
    return 0;
}

static int check_invalid(struct field_spec *spec, struct schema_error *error)
{
    if (!spec->has_invalid)
        return 0;
    if (!is_number(spec) && spec->type != FIELD_TYPE_BOOL)
        return say(error, "only numbers and bool have an invalid value");
    return normalise_raw(spec, "invalid:", &spec->invalid, error);
}

/* ---- conditions, repeats, what is computed ---- */

static size_t find_before(const struct field_spec *specs, size_t i, const char *name)
{
    for (size_t k = 0; k < i; k++)
        if (strcmp(specs[k].name, name) == 0)
            return k;
    return SIZE_MAX;
}

static int check_equals(const struct field_spec *other, struct field_when *when,
                        struct schema_error *error)
{
    for (size_t i = 0; when->equals_name && i < other->n_enums; i++)
        if (strcmp(other->enums[i].name, when->equals_name) == 0) {
            when->equals = other->enums[i].raw;
            return 0;
        }
    if (when->equals_name)
        return say(error, "when: '%.40s' is no name of the enum of '%s'", when->equals_name,
                   other->name);
    return normalise_raw(other, "when: equals", &when->equals, error);
}

static int check_when(struct field_spec *specs, size_t i, struct schema_error *error)
{
    struct field_when *when = &specs[i].when;

    if (!when->field)
        return 0;
    when->index = find_before(specs, i, when->field);
    if (when->index == SIZE_MAX)
        return say(error, "when: there is no field '%.64s' before it", when->field);
    struct field_spec *other = &specs[when->index];
    if ((!is_integer(other) && other->type != FIELD_TYPE_BOOL) || other->compute)
        return say(error, "when: '%s' is no integer and no bool that could decide", other->name);
    if (!when->has_bit && !when->has_equals && !when->has_mask)
        return say(error, "when: needs 'bit' or 'equals'");
    if (when->has_bit) {
        if (when->bit >= bits_of(other))
            return say(error, "when: '%s' has only %u bits", other->name, bits_of(other));
        if (when->has_equals && (when->equals_name || (when->equals & ~INT64_C(1))))
            return say(error, "when: a bit equals 0 or 1");
        when->mask = UINT64_C(1) << when->bit;
        when->value = when->has_equals && !when->equals ? 0 : when->mask;
    } else if (!when->has_mask) {
        int r = check_equals(other, when, error);
        if (r < 0)
            return r;
        when->mask = mask_of(bits_of(other));
        when->value = (uint64_t)when->equals & when->mask;
    }
    other->selects |= when->mask;
    return 0;
}

/* A spec that repeats becomes an array: what makes its type goes to the element. */
static int make_element(struct field_spec *spec, struct schema_error *error)
{
    struct schema_error inner = {0};
    struct field_spec *part = calloc(1, sizeof(*part));

    if (!part)
        return -ENOMEM;
    *part = *spec;
    part->name = strdup("value");
    if (!part->name) {
        free(part);
        return -ENOMEM;
    }
    part->when = (struct field_when){0};
    part->repeat = FIELD_REPEAT_NONE;
    part->repeat_field = NULL;
    part->offset = FIELD_OFFSET_NEXT;
    part->unit = part->device_class = part->state_class = part->entity_category = NULL;
    part->icon = NULL;
    int r = schema_new_take(part, 1, false, &spec->element, &inner);
    if (r < 0) {
        free(part->name);
        free(part);
        return r == -EINVAL ? say(error, "%s", inner.message) : r;
    }
    spec->type = FIELD_TYPE_ARRAY;
    spec->size = 0;
    spec->length = 0;
    spec->enums = NULL;
    spec->n_enums = 0;
    spec->has_bits = spec->has_invalid = spec->has_valid = spec->scaled = false;
    spec->scalar_elements = true;
    return 0;
}

static int check_repeat(struct field_spec *specs, size_t i, struct schema_error *error)
{
    struct field_spec *spec = &specs[i];

    if (spec->repeat == FIELD_REPEAT_NONE)
        return spec->type == FIELD_TYPE_ARRAY ? say(error, "an array needs 'repeat'") : 0;
    if (spec->has_const || spec->has_default || spec->compute)
        return say(error, "what repeats has no const, no default, and is not computed");
    if (spec->repeat == FIELD_REPEAT_TIMES &&
        (spec->repeat_times < 1 || spec->repeat_times > GATT_VALUE_MAX))
        return say(error, "repeat: a count is 1 to %d", GATT_VALUE_MAX);
    if (spec->repeat == FIELD_REPEAT_FIELD) {
        spec->repeat_index = find_before(specs, i, spec->repeat_field);
        if (spec->repeat_index == SIZE_MAX)
            return say(error, "repeat: there is no field '%.64s' before it", spec->repeat_field);
        struct field_spec *count = &specs[spec->repeat_index];
        if (count->type != FIELD_TYPE_UINT || count->n_enums || count->scaled || count->compute)
            return say(error, "repeat: '%s' is no plain unsigned integer", count->name);
        count->counts = i;
    }
    if (spec->type != FIELD_TYPE_ARRAY) {
        int r = make_element(spec, error);
        if (r < 0)
            return r;
    }
    for (size_t k = 0; k < spec->element->n_fields; k++)
        if (spec->element->fields[k].type == FIELD_TYPE_ARRAY || spec->element->fields[k].compute)
            return say(error, "an element of an array has no arrays and nothing computed in it");
    if (spec->element->variable || !spec->element->min_length)
        return say(error, "an element of an array cannot take the rest: give its text a length");
    return 0;
}

static int check_compute(const struct field_spec *spec, struct schema_error *error)
{
    bool plain =
        spec->type == FIELD_TYPE_UINT && !spec->has_bits && !spec->n_enums && !spec->has_invalid;

    switch (spec->compute) {
    case FIELD_COMPUTE_NONE: return 0;
    case FIELD_COMPUTE_CHECKSUM:
        if (!plain || spec->scaled || spec->size < checksum_size(spec->checksum))
            return say(error, "checksum: %s needs a plain unsigned integer of %zu bytes or more",
                       checksum_name(spec->checksum), checksum_size(spec->checksum));
        if (spec->checksum_from >= GATT_VALUE_MAX ||
            (spec->checksum_to != SIZE_MAX && spec->checksum_to <= spec->checksum_from))
            return say(error, "checksum: 'to' is the end of its bytes, beyond 'from'");
        return 0;
    case FIELD_COMPUTE_LENGTH_REST:
    case FIELD_COMPUTE_LENGTH_ALL:
    case FIELD_COMPUTE_COUNTER:
        return plain ? 0 : say(error, "a length and a counter are plain unsigned integers");
    case FIELD_COMPUTE_NOW:
        if (spec->type != FIELD_TYPE_TIME && (!is_number(spec) || spec->n_enums))
            return say(error, "value: now needs the type time or a number");
        return 0;
    }
    return 0;
}

/* ---- layout ---- */

/* Where a field stands. `next` is the end of the field before. */
static int place_field(struct field_spec *specs, size_t i, size_t next, struct schema_error *error)
{
    struct field_spec *spec = &specs[i];

    if (spec->offset == FIELD_OFFSET_NEXT)
        spec->offset = next;
    if (spec->offset == FIELD_OFFSET_SAME)
        spec->offset = i ? specs[i - 1].offset : 0;
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
    const struct field_spec *rest = NULL;

    for (size_t i = 0; i < schema->n_fields; i++) {
        const struct field_spec *spec = &schema->fields[i];

        error->field = i;
        if (end_of(spec) != SIZE_MAX) {
            schema->min_length = MAX_OF(schema->min_length, end_of(spec));
            continue;
        }
        if (rest)
            return say(error, "two fields take the rest: '%s' does already", rest->name);
        rest = spec;
        schema->variable = true;
        schema->min_length = MAX_OF(schema->min_length, spec->offset);
    }
    for (size_t i = 0; rest && i < schema->n_fields; i++)
        if (&schema->fields[i] != rest && end_of(&schema->fields[i]) > rest->offset) {
            error->field = i;
            return say(error, "reaches into '%s', which takes the rest: give that one a length",
                       rest->name);
        }
    return 0;
}

static bool takes_rest(const struct field_spec *spec)
{
    if (spec->type == FIELD_TYPE_ARRAY)
        return spec->repeat == FIELD_REPEAT_REST;
    return field_spec_length(spec) == FIELD_LENGTH_REST;
}

static size_t least_length(const struct field_spec *spec)
{
    if (spec->type == FIELD_TYPE_ARRAY)
        return spec->repeat == FIELD_REPEAT_TIMES ? spec->repeat_times * spec->element->min_length
                                                  : 0;
    return takes_rest(spec) ? 0 : field_spec_length(spec);
}

/* Offsets stay as they are, and the codec finds the places. */
static int check_dynamic_layout(struct schema *schema, struct schema_error *error)
{
    size_t next = 0, start = 0;
    bool closed = false; /* what always takes the rest was there */

    for (size_t i = 0; i < schema->n_fields; i++) {
        const struct field_spec *spec = &schema->fields[i];
        size_t length = least_length(spec), at = spec->offset;

        error->field = i;
        if (at == FIELD_OFFSET_NEXT && closed)
            return say(error, "comes after a field that takes the rest: give that one a length");
        if (at == FIELD_OFFSET_NEXT || at == FIELD_OFFSET_SAME)
            at = at == FIELD_OFFSET_NEXT ? next : start;
        if (at > GATT_VALUE_MAX || length > GATT_VALUE_MAX - at)
            return say(error, "lies beyond the %d bytes that a value can have", GATT_VALUE_MAX);
        schema->variable |= takes_rest(spec);
        if (spec->when.field)
            continue;
        closed = takes_rest(spec);
        start = at;
        next = at + length;
        schema->min_length = MAX_OF(schema->min_length, next);
    }
    return 0;
}

/* Const and default must fit their field: what is wrong with the file is said when it is read. */
static int check_own_value(struct field_spec *spec, struct schema_error *error)
{
    const struct value absent = {.kind = VALUE_ABSENT};
    struct field_spec copy = *spec;
    const struct schema alone = {.fields = &copy, .n_fields = 1};
    uint8_t buf[GATT_VALUE_MAX];
    char why[128];
    size_t length;

    if (!spec->has_const && !spec->has_default)
        return 0;
    copy.offset = copy.slot = 0;
    copy.when.field = NULL;
    int r = codec_encode(&alone, &absent, NULL, buf, sizeof(buf), &length, NULL);
    if (r == 0)
        return 0;
    codec_explain(&alone, r, 0, sizeof(buf), why, sizeof(why));
    return say(error, "%s of %s", spec->has_const ? "const" : "default", why);
}

static int check_field(struct field_spec *specs, size_t i, struct schema_error *error)
{
    specs[i].selects = 0;
    specs[i].counts = FIELD_NONE;
    int r = check_when(specs, i, error);
    if (r == 0)
        r = check_name(specs, i, error);
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
        r = check_compute(&specs[i], error);
    if (r == 0)
        r = check_own_value(&specs[i], error);
    if (r == 0)
        r = check_repeat(specs, i, error);
    return r;
}

static bool is_dynamic(const struct field_spec *spec)
{
    return spec->when.field || spec->repeat || spec->compute == FIELD_COMPUTE_CHECKSUM;
}

static int compile(struct schema *schema, struct schema_error *error)
{
    struct field_spec *specs = schema->fields;
    size_t n = schema->n_fields, next = 0;
    int r = 0;

    for (size_t i = 0; i < n; i++)
        schema->dynamic |= is_dynamic(&specs[i]);
    for (size_t i = 0; i < n && r == 0; i++) {
        error->field = i;
        r = check_field(specs, i, error);
        if (r < 0 || schema->dynamic)
            continue;
        r = place_field(specs, i, next, error);
        next = end_of(&specs[i]);
    }
    if (r == 0)
        r = schema->dynamic ? check_dynamic_layout(schema, error) : check_layout(schema, error);
    return r;
}

int schema_new_take(struct field_spec *specs, size_t n, bool extra_is_error,
                    struct schema **ret_schema, struct schema_error *ret_error)
{
    struct schema_error error = {0};

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
    int r = compile(schema, &error);
    if (r < 0) {
        *ret_error = error;
        free(schema);
        return r;
    }
    *ret_schema = schema;
    return 0;
}
