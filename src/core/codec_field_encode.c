/* A value of one field to its bytes; see codec_field.h and codec.h. */
#include "core/codec_field.h"

#include "util/bytes.h"
#include "util/decimal.h"
#include "util/round.h"
#include "util/utf8.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

void codec_field_store(const struct field_spec *spec, uint64_t raw, struct codec_bytes *bytes)
{
    bytes->length = field_spec_length(spec);
    raw &= mask_of(bits_of(spec));
    if (spec->has_bits)
        raw <<= spec->bit_first;
    if (spec->big_endian)
        put_be(bytes->data, raw, (unsigned)bytes->length);
    else
        put_le(bytes->data, raw, (unsigned)bytes->length);
}

uint8_t codec_field_mask(const struct field_spec *spec, size_t n)
{
    size_t length = field_spec_length(spec);

    if (!spec->has_bits)
        return 0xff;
    uint64_t mask = mask_of(spec->bit_count) << spec->bit_first;
    return (uint8_t)(mask >> 8 * (spec->big_endian ? length - 1 - n : n));
}

/* a number as it was given */
enum number_kind { NUMBER_EXACT, NUMBER_HUGE, NUMBER_FLOAT };

struct number {
    enum number_kind kind;
    struct decimal exact;
    uint64_t huge; /* a whole number beyond INT64_MAX */
    double inexact;
};

static int number_from_text(const char *data, size_t length, struct number *number)
{
    char text[64];

    if (!length || length >= sizeof(text) || memchr(data, 0, length))
        return CODEC_E_TYPE;
    memcpy(text, data, length);
    text[length] = '\0';
    number->kind = NUMBER_EXACT;
    number->exact.decimals = 0;
    if (num_parse_i64(text, &number->exact.mantissa) == 0 ||
        num_parse_decimal(text, &number->exact) == 0)
        return 0;
    number->kind = NUMBER_HUGE;
    if (num_parse_u64(text, &number->huge) == 0)
        return 0;
    number->kind = NUMBER_FLOAT;
    int r = num_parse_double(text, &number->inexact);
    if (r == -ERANGE)
        return CODEC_E_RANGE;
    return r < 0 ? CODEC_E_TYPE : 0;
}

static int number_from_value(const struct value *value, struct number *number)
{
    number->kind = NUMBER_EXACT;
    switch (value->kind) {
    case VALUE_UINT:
        if (value->u > INT64_MAX) {
            number->kind = NUMBER_HUGE;
            number->huge = value->u;
        } else {
            number->exact = (struct decimal){(int64_t)value->u, 0};
        }
        return 0;
    case VALUE_INT: number->exact = (struct decimal){value->i, 0}; return 0;
    case VALUE_DECIMAL: number->exact = (struct decimal){value->i, value->decimals}; return 0;
    case VALUE_FLOAT:
        if (!isfinite(value->d))
            return CODEC_E_RANGE;
        if (!decimal_from_double(value->d, &number->exact)) {
            number->kind = NUMBER_FLOAT;
            number->inexact = value->d;
        }
        return 0;
    case VALUE_STRING: return number_from_text(value->s.data, value->s.length, number);
    case VALUE_ABSENT:
    case VALUE_NULL:
    case VALUE_BOOL:
    case VALUE_BYTES:
    case VALUE_TIME:
    case VALUE_ARRAY:
    case VALUE_LIST: break;
    }
    return CODEC_E_TYPE;
}

static double number_to_double(const struct number *number)
{
    switch (number->kind) {
    case NUMBER_EXACT: return decimal_to_double(number->exact);
    case NUMBER_HUGE: return (double)number->huge;
    case NUMBER_FLOAT: return number->inexact;
    }
    return 0;
}

static bool is_within(const struct field_spec *spec, const struct number *number)
{
    if (number->kind == NUMBER_EXACT)
        return !(spec->has_min && decimal_compare(number->exact, spec->min) < 0) &&
               !(spec->has_max && decimal_compare(number->exact, spec->max) > 0);
    double inexact = number_to_double(number);
    return !(spec->has_min && inexact < decimal_to_double(spec->min)) &&
           !(spec->has_max && inexact > decimal_to_double(spec->max));
}

/* (value - add) / scale with the exact integers that check_scale() made */
static bool unscale_exactly(const struct field_spec *spec, struct decimal value, int64_t *raw)
{
    uint8_t decimals = MAX_OF(value.decimals, spec->decimals);
    int64_t above, factor, summand;

    if (!decimal_align(value, decimals, &above) ||
        !decimal_align((struct decimal){spec->factor, spec->decimals}, decimals, &factor) ||
        !decimal_align((struct decimal){spec->summand, spec->decimals}, decimals, &summand) ||
        __builtin_sub_overflow(above, summand, &above) || (factor == -1 && above == INT64_MIN))
        return false;
    *raw = decimal_round_div(above, factor);
    return true;
}

static int encode_integer(const struct field_spec *spec, const struct number *number,
                          uint64_t *ret_raw)
{
    unsigned bits = bits_of(spec);
    bool is_signed = spec->type == FIELD_TYPE_INT;
    int64_t raw, back;

    if (number->kind == NUMBER_HUGE && !spec->scaled) {
        *ret_raw = number->huge;
        return is_signed || bits < 64 ? CODEC_E_RANGE : 0;
    }
    if (number->kind == NUMBER_EXACT && !spec->scaled) {
        raw = decimal_round_div(number->exact.mantissa, decimal_pow10(number->exact.decimals));
    } else if (number->kind != NUMBER_EXACT || !unscale_exactly(spec, number->exact, &raw)) {
        double inexact = number_to_double(number);

        if (spec->scaled)
            inexact = (inexact - decimal_to_double(spec->add)) / decimal_to_double(spec->scale);
        inexact = round_away(inexact);
        if (!is_signed && bits == 64 && inexact >= 0x1p63 && inexact < 0x1p64) {
            *ret_raw = (uint64_t)inexact;
            return spec->scaled ? CODEC_E_RANGE : 0;
        }
        if (!(inexact > -0x1p63 && inexact < 0x1p63)) /* -2^63 itself is exact, and not here */
            return CODEC_E_RANGE;
        raw = (int64_t)inexact;
    }
    if (is_signed ? bits < 64 && raw != sign_extend((uint64_t)raw & mask_of(bits), bits)
                  : raw < 0 || (uint64_t)raw > mask_of(bits))
        return CODEC_E_RANGE;
    /* of the largest of 64 bits nobody could read the value */
    if (spec->scaled && (__builtin_mul_overflow(raw, spec->factor, &back) ||
                         __builtin_add_overflow(back, spec->summand, &back)))
        return CODEC_E_RANGE;
    *ret_raw = (uint64_t)raw;
    return 0;
}

/* (value - add) / scale */
static void unscale_float(const struct field_spec *spec, struct number *number)
{
    struct decimal exact = {0, 0};

    if (!spec->scaled)
        return;
    if (number->kind == NUMBER_EXACT && decimal_negate(spec->add, &exact) &&
        decimal_add(number->exact, exact, &exact) && decimal_divide(exact, spec->scale, &exact)) {
        number->exact = exact;
        return;
    }
    number->inexact =
        (number_to_double(number) - decimal_to_double(spec->add)) / decimal_to_double(spec->scale);
    number->kind = NUMBER_FLOAT;
}

/* digits and exponent, as the shortest text has them: "-1.25e-30" is -125 and -32 */
static struct scientific scientific_of(const struct number *number)
{
    int64_t mantissa = 0, exponent = 0;
    int precision = 0;
    char text[40];

    if (number->kind == NUMBER_EXACT)
        return (struct scientific){number->exact.mantissa, -number->exact.decimals};
    double inexact = number_to_double(number);
    do
        snprintf(text, sizeof(text), "%.*e", precision, inexact);
    while (strtod(text, NULL) != inexact && ++precision < 17);
    const char *e = strchr(text, 'e');
    for (const char *p = text; p < e; p++)
        if (*p >= '0' && *p <= '9')
            mantissa = mantissa * 10 + (*p - '0');
    if (num_parse_i64(e + 1, &exponent) < 0)
        exponent = 0; /* never: printf wrote it */
    return (struct scientific){inexact < 0 ? -mantissa : mantissa,
                               (int)exponent - MIN_OF(precision, 16)};
}

static int encode_float(const struct field_spec *spec, struct number *number, uint64_t *ret_raw)
{
    struct scientific digits;
    char text[64];

    unscale_float(spec, number);
    if (spec->type == FIELD_TYPE_SFLOAT || spec->type == FIELD_TYPE_MEDFLOAT32) {
        uint32_t raw;
        if (!medfloat_encode(medfloat_size_of(spec), scientific_of(number), &raw))
            return CODEC_E_RANGE;
        *ret_raw = raw;
        return 0;
    }
    /* by way of text: strtof() and strtod() round once, and right */
    double wide = number_to_double(number);
    if (number->kind == NUMBER_EXACT) {
        digits = scientific_of(number);
        snprintf(text, sizeof(text), "%llde%d", (long long)digits.mantissa, digits.exponent);
        wide = strtod(text, NULL);
    }
    if (spec->type == FIELD_TYPE_FLOAT64) {
        memcpy(ret_raw, &wide, sizeof(wide));
        return isfinite(wide) ? 0 : CODEC_E_RANGE;
    }
    float narrow = number->kind == NUMBER_EXACT ? strtof(text, NULL) : (float)wide;
    uint32_t bits;
    memcpy(&bits, &narrow, sizeof(bits));
    *ret_raw = bits;
    return isfinite(narrow) ? 0 : CODEC_E_RANGE;
}

static bool text_is(const struct value *value, const char *word)
{
    return value->s.length == strlen(word) &&
           strncasecmp(value->s.data, word, value->s.length) == 0;
}

static int encode_bool(const struct value *value, uint64_t *ret_raw)
{
    static const char *const words[][2] = {{"false", "true"}, {"off", "on"}, {"0", "1"}};
    struct number number;

    if (value->kind == VALUE_BOOL) {
        *ret_raw = value->b;
        return 0;
    }
    if (value->kind == VALUE_STRING) {
        for (size_t i = 0; i < ARRAY_SIZE(words); i++)
            for (unsigned b = 0; b < 2; b++)
                if (text_is(value, words[i][b])) {
                    *ret_raw = b;
                    return 0;
                }
        return CODEC_E_TYPE;
    }
    int r = number_from_value(value, &number);
    if (r != 0)
        return r;
    if (number.kind != NUMBER_EXACT)
        return CODEC_E_RANGE;
    for (unsigned b = 0; b < 2; b++)
        if (decimal_compare(number.exact, (struct decimal){b, 0}) == 0) {
            *ret_raw = b;
            return 0;
        }
    return CODEC_E_RANGE;
}

/* a name, or the raw value of one */
static int encode_enum(const struct field_spec *spec, const struct value *value, uint64_t *ret_raw)
{
    int64_t raw = 0;
    bool named = value->kind == VALUE_STRING;

    if (!named) {
        struct number number;
        uint64_t bits;
        int r;

        if (spec->type == FIELD_TYPE_BOOL)
            r = encode_bool(value, &bits);
        else if ((r = number_from_value(value, &number)) == 0)
            r = encode_integer(spec, &number, &bits);
        if (r != 0)
            return r == CODEC_E_RANGE ? CODEC_E_ENUM : r;
        raw = (int64_t)bits;
    }
    for (size_t i = 0; i < spec->n_enums; i++) {
        const struct field_enum *e = &spec->enums[i];

        if (named ? strlen(e->name) == value->s.length &&
                        memcmp(e->name, value->s.data, value->s.length) == 0
                  : e->raw == raw) {
            *ret_raw = (uint64_t)e->raw;
            return 0;
        }
    }
    if (named && spec->type == FIELD_TYPE_BOOL && encode_bool(value, ret_raw) == 0)
        return 0;
    return CODEC_E_ENUM;
}

static int encode_null(const struct field_spec *spec, uint64_t *ret_raw)
{
    if (spec->has_invalid)
        *ret_raw = (uint64_t)spec->invalid;
    else if (spec->type == FIELD_TYPE_FLOAT32)
        *ret_raw = 0x7fc00000;
    else if (spec->type == FIELD_TYPE_FLOAT64)
        *ret_raw = UINT64_C(0x7ff8000000000000);
    else if (spec->type == FIELD_TYPE_SFLOAT || spec->type == FIELD_TYPE_MEDFLOAT32)
        *ret_raw = medfloat_nan(medfloat_size_of(spec));
    else
        return CODEC_E_TYPE;
    return 0;
}

static int encode_number(const struct field_spec *spec, const struct value *value,
                         uint64_t *ret_raw)
{
    struct number number;
    int r = number_from_value(value, &number);

    if (r != 0)
        return r;
    if (!is_within(spec, &number))
        return CODEC_E_RANGE;
    if (spec->type == FIELD_TYPE_UINT || spec->type == FIELD_TYPE_INT)
        return encode_integer(spec, &number, ret_raw);
    return encode_float(spec, &number, ret_raw);
}

/* a fixed length is padded with NUL bytes, as peers do */
static int encode_string(const struct field_spec *spec, const struct value *value,
                         struct codec_bytes *bytes)
{
    bool rest = spec->length == FIELD_LENGTH_REST;
    size_t length = value->s.length;

    if (value->kind != VALUE_STRING)
        return CODEC_E_TYPE;
    if (length > MIN_OF(spec->length, sizeof(bytes->data)))
        return CODEC_E_LONG;
    if ((length && memchr(value->s.data, 0, length)) || !utf8_is_valid(value->s.data, length))
        return CODEC_E_TEXT;
    bytes->length = rest ? length : spec->length;
    memset(bytes->data, 0, bytes->length);
    if (length)
        memcpy(bytes->data, value->s.data, length);
    return 0;
}

static int encode_bytes(const struct field_spec *spec, const struct value *value,
                        struct codec_bytes *bytes)
{
    char text[3 * GATT_VALUE_MAX + 1];

    if (value->kind == VALUE_BYTES) {
        if (value->s.length > sizeof(bytes->data))
            return CODEC_E_LONG;
        bytes->length = value->s.length;
        if (value->s.length)
            memcpy(bytes->data, value->s.data, value->s.length);
    } else if (value->kind == VALUE_STRING) {
        if (value->s.length >= sizeof(text))
            return CODEC_E_LONG;
        if (value->s.length && memchr(value->s.data, 0, value->s.length))
            return CODEC_E_TYPE;
        if (value->s.length)
            memcpy(text, value->s.data, value->s.length);
        text[value->s.length] = '\0';
        int r = num_parse_hex(text, bytes->data, sizeof(bytes->data), &bytes->length);
        if (r < 0)
            return r == -E2BIG ? CODEC_E_LONG : CODEC_E_TYPE;
    } else {
        return CODEC_E_TYPE;
    }
    if (spec->length == FIELD_LENGTH_REST || bytes->length == spec->length)
        return 0;
    return bytes->length > spec->length ? CODEC_E_LONG : CODEC_E_RANGE;
}

/* The SIG's Date Time; what is not known is all zeros. */
static int encode_time(const struct field_spec *spec, const struct value *value,
                       struct codec_bytes *bytes)
{
    struct time_parts t = {0};

    if (value->kind == VALUE_STRING) {
        if (time_parts_parse(value->s.data, value->s.length, &t) < 0)
            return CODEC_E_TYPE;
    } else if (value->kind == VALUE_TIME) {
        t = value->t;
    } else if (value->kind != VALUE_NULL) {
        return CODEC_E_TYPE;
    }
    if (value->kind != VALUE_NULL && (!time_parts_are_valid(&t) || t.year < TIME_FIRST_YEAR))
        return CODEC_E_RANGE;
    (spec->big_endian ? put_be : put_le)(bytes->data, t.year, 2);
    memcpy(bytes->data + 2, (uint8_t[]){t.month, t.day, t.hour, t.minute, t.second}, 5);
    bytes->length = 7;
    return 0;
}

int codec_field_encode(const struct field_spec *spec, const struct value *value,
                       struct codec_bytes *ret_bytes)
{
    uint64_t raw = 0;
    int r;

    if (spec->type == FIELD_TYPE_TIME)
        return encode_time(spec, value, ret_bytes);

    if (spec->type == FIELD_TYPE_STRING)
        return encode_string(spec, value, ret_bytes);
    if (spec->type == FIELD_TYPE_BYTES)
        return encode_bytes(spec, value, ret_bytes);
    if (value->kind == VALUE_NULL) {
        r = encode_null(spec, &raw);
    } else {
        if (spec->n_enums)
            r = encode_enum(spec, value, &raw);
        else if (spec->type == FIELD_TYPE_BOOL)
            r = encode_bool(value, &raw);
        else
            r = encode_number(spec, value, &raw);
        /* it would be read back as "unknown" */
        if (r == 0 && (is_invalid(spec, raw) || !is_valid(spec, raw)))
            r = CODEC_E_RANGE;
    }
    if (r == 0)
        codec_field_store(spec, raw, ret_bytes);
    return r;
}
