/* Bytes of one field to its value; see codec_field.h and codec.h. */
#include "core/codec_field.h"

#include "core/medfloat.h"
#include "util/bytes.h"
#include "util/decimal.h"
#include "util/utf8.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint64_t codec_field_raw(const struct field_spec *spec, const uint8_t *data)
{
    struct cursor c = cursor_of(data, field_spec_length(spec));
    uint64_t raw =
        spec->big_endian ? cursor_be(&c, (unsigned)c.length) : cursor_le(&c, (unsigned)c.length);

    if (spec->has_bits)
        raw = raw >> spec->bit_first & mask_of(spec->bit_count);
    return raw;
}

static struct value decimal_value(struct decimal value)
{
    return (struct value){.kind = VALUE_DECIMAL, .i = value.mantissa, .decimals = value.decimals};
}

static struct decimal round_to(const struct field_spec *spec, struct decimal value)
{
    if (!spec->rounded || value.decimals <= spec->round_to)
        return value;
    return (struct decimal){
        decimal_round_div(value.mantissa, decimal_pow10(value.decimals - spec->round_to)),
        spec->round_to};
}

static const struct value null_value = {.kind = VALUE_NULL};

static int decode_enum(const struct field_spec *spec, int64_t raw, struct value *value)
{
    for (size_t i = 0; i < spec->n_enums; i++)
        if (spec->enums[i].raw == raw) {
            *value = (struct value){.kind = VALUE_STRING,
                                    .s = {spec->enums[i].name, strlen(spec->enums[i].name)}};
            return 0;
        }
    if (!spec->open_enum)
        return CODEC_E_ENUM;
    *value = null_value;
    return 0;
}

static int decode_integer(const struct field_spec *spec, uint64_t raw, struct value *value)
{
    bool is_signed = spec->type == FIELD_TYPE_INT;
    int64_t number = is_signed ? sign_extend(raw, bits_of(spec)) : (int64_t)raw;

    if (spec->n_enums)
        return decode_enum(spec, number, value);
    if (spec->scaled) {
        if ((!is_signed && raw > INT64_MAX) ||
            __builtin_mul_overflow(number, spec->factor, &number) ||
            __builtin_add_overflow(number, spec->summand, &number))
            return CODEC_E_RANGE;
        *value = decimal_value(round_to(spec, (struct decimal){number, spec->decimals}));
    } else if (is_signed) {
        *value = (struct value){.kind = VALUE_INT, .i = number};
    } else {
        *value = (struct value){.kind = VALUE_UINT, .u = raw};
    }
    return 0;
}

/* value * scale + add: exact where 64 bits allow, else in doubles */
static struct value scale_float(const struct field_spec *spec, bool is_exact, struct decimal exact,
                                double inexact)
{
    if (!spec->scaled)
        return is_exact ? decimal_value(exact)
                        : (struct value){.kind = VALUE_FLOAT, .d = inexact, .decimals = 255};
    if (is_exact && decimal_multiply(exact, spec->scale, &exact) &&
        decimal_add(exact, spec->add, &exact))
        return decimal_value(round_to(spec, exact));
    double scaled = inexact * decimal_to_double(spec->scale) + decimal_to_double(spec->add);
    if (spec->rounded && decimal_round_double(scaled, spec->round_to, &exact))
        return decimal_value(exact);
    return (struct value){.kind = VALUE_FLOAT, .d = scaled, .decimals = 255};
}

/* the double whose shortest text is the shortest text that reads back as this float */
static double widen(float value)
{
    char text[32];

    for (int precision = 1; precision <= 9; precision++) {
        snprintf(text, sizeof(text), "%.*g", precision, (double)value);
        double wide = strtod(text, NULL);
        if ((float)wide == value)
            return wide;
    }
    return (double)value;
}

static struct value decode_float(const struct field_spec *spec, uint64_t raw)
{
    struct decimal exact = {0, 0};
    bool is_exact;
    double number;

    if (spec->type == FIELD_TYPE_FLOAT32) {
        uint32_t bits = (uint32_t)raw;
        float narrow;

        memcpy(&narrow, &bits, sizeof(narrow));
        if (!isfinite(narrow))
            return null_value;
        is_exact = decimal_from_float(narrow, &exact);
        number = is_exact ? (double)narrow : widen(narrow);
    } else {
        memcpy(&number, &raw, sizeof(number));
        if (!isfinite(number))
            return null_value;
        is_exact = decimal_from_double(number, &exact);
    }
    return scale_float(spec, is_exact, exact, number);
}

static struct value decode_medfloat(const struct field_spec *spec, uint64_t raw)
{
    struct scientific number;
    struct decimal exact = {0, 0};
    char text[40];

    if (!medfloat_decode(medfloat_size_of(spec), (uint32_t)raw, &number))
        return null_value;
    bool is_exact = decimal_from_scientific(number.mantissa, number.exponent, &exact);
    double inexact;
    if (is_exact) {
        inexact = decimal_to_double(exact);
    } else {
        snprintf(text, sizeof(text), "%llde%d", (long long)number.mantissa, number.exponent);
        inexact = strtod(text, NULL);
    }
    return scale_float(spec, is_exact, exact, inexact);
}

static int decode_string(const uint8_t *data, size_t length, struct value *value)
{
    const char *text = (const char *)data;

    while (length && !text[length - 1])
        length--;
    if (memchr(text, 0, length) || !utf8_is_valid(text, length))
        return CODEC_E_TEXT;
    *value = (struct value){.kind = VALUE_STRING, .s = {text, length}};
    return 0;
}

static int decode_time(const struct field_spec *spec, const uint8_t *data, struct value *value)
{
    struct cursor c = cursor_of(data, 7);
    struct time_parts t = {
        .year = (uint16_t)(spec->big_endian ? cursor_be(&c, 2) : cursor_le16(&c)),
        .month = cursor_u8(&c),
        .day = cursor_u8(&c),
        .hour = cursor_u8(&c),
        .minute = cursor_u8(&c),
        .second = cursor_u8(&c),
    };

    /* a year, month or day of 0 is not known */
    if (!t.year || !t.month || !t.day) {
        *value = null_value;
        return 0;
    }
    if (t.year < TIME_FIRST_YEAR || !time_parts_are_valid(&t))
        return CODEC_E_RANGE;
    *value = (struct value){.kind = VALUE_TIME, .t = t};
    return 0;
}

int codec_field_decode(const struct field_spec *spec, const uint8_t *data, size_t length,
                       struct value *ret_value)
{
    if (spec->type == FIELD_TYPE_STRING || spec->type == FIELD_TYPE_BYTES) {
        length = MIN_OF(length, spec->length);
        if (spec->type == FIELD_TYPE_STRING)
            return decode_string(data, length, ret_value);
        *ret_value = (struct value){.kind = VALUE_BYTES, .s = {data, length}};
        return 0;
    }
    if (spec->type == FIELD_TYPE_TIME)
        return decode_time(spec, data, ret_value);
    uint64_t raw = codec_field_raw(spec, data);
    if (is_invalid(spec, raw) || !is_valid(spec, raw)) {
        *ret_value = null_value;
        return 0;
    }
    switch (spec->type) {
    case FIELD_TYPE_UINT:
    case FIELD_TYPE_INT: return decode_integer(spec, raw, ret_value);
    case FIELD_TYPE_BOOL:
        if (spec->n_enums)
            return decode_enum(spec, (int64_t)raw, ret_value);
        *ret_value = (struct value){.kind = VALUE_BOOL, .b = raw != 0};
        return 0;
    case FIELD_TYPE_FLOAT32:
    case FIELD_TYPE_FLOAT64: *ret_value = decode_float(spec, raw); return 0;
    case FIELD_TYPE_SFLOAT:
    case FIELD_TYPE_MEDFLOAT32: *ret_value = decode_medfloat(spec, raw); return 0;
    case FIELD_TYPE_STRING:
    case FIELD_TYPE_BYTES:
    case FIELD_TYPE_TIME:
    case FIELD_TYPE_ARRAY: break;
    }
    return CODEC_E_TYPE;
}
