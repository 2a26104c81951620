/* Numbers from text; see num.h. */
#include "util/num.h"

#include <ctype.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static int digit_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return 99;
}

int num_parse_u64(const char *text, uint64_t *ret_value)
{
    unsigned base = 10;
    uint64_t value = 0;

    if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X')) {
        base = 16;
        text += 2;
    }
    if (!*text)
        return -EINVAL;
    for (; *text; text++) {
        unsigned digit = (unsigned)digit_of(*text);
        if (digit >= base)
            return -EINVAL;
        if (__builtin_mul_overflow(value, (uint64_t)base, &value) ||
            __builtin_add_overflow(value, (uint64_t)digit, &value))
            return -ERANGE;
    }
    *ret_value = value;
    return 0;
}

int num_parse_u32(const char *text, uint32_t *ret_value)
{
    uint64_t value;
    int r = num_parse_u64(text, &value);

    if (r < 0)
        return r;
    if (value > UINT32_MAX)
        return -ERANGE;
    *ret_value = (uint32_t)value;
    return 0;
}

int num_parse_i64(const char *text, int64_t *ret_value)
{
    int negative = text[0] == '-';
    uint64_t value;
    int r = num_parse_u64(text + (negative || text[0] == '+'), &value);

    if (r < 0)
        return r;
    if (value > (uint64_t)INT64_MAX + (unsigned)negative)
        return -ERANGE;
    *ret_value = negative ? (int64_t)-value : (int64_t)value;
    return 0;
}

/* what a decimal floating-point number may look like: [+-]digits[.digits][e[+-]digits] */
static int looks_like_number(const char *p)
{
    int digits = 0;

    if (*p == '+' || *p == '-')
        p++;
    for (; isdigit((unsigned char)*p); p++)
        digits++;
    if (*p == '.')
        for (p++; isdigit((unsigned char)*p); p++)
            digits++;
    if (!digits)
        return 0;
    if (*p == 'e' || *p == 'E') {
        p++;
        if (*p == '+' || *p == '-')
            p++;
        if (!isdigit((unsigned char)*p))
            return 0;
        while (isdigit((unsigned char)*p))
            p++;
    }
    return *p == '\0';
}

int num_parse_double(const char *text, double *ret_value)
{
    if (!looks_like_number(text))
        return -EINVAL;
    /* the program never calls setlocale(), so strtod() takes the point */
    double value = strtod(text, NULL);
    if (!isfinite(value))
        return -ERANGE;
    *ret_value = value;
    return 0;
}

int num_parse_decimal(const char *text, struct decimal *ret_value)
{
    const char *p = text;
    int negative = *p == '-';
    uint64_t mantissa = 0;
    int64_t exponent = 0;
    int after_point = 0;

    if (!looks_like_number(text))
        return -EINVAL;
    if (*p == '+' || *p == '-')
        p++;
    for (; *p && *p != 'e' && *p != 'E'; p++) {
        if (*p == '.') {
            after_point = 1;
            continue;
        }
        if (__builtin_mul_overflow(mantissa, (uint64_t)10, &mantissa) ||
            __builtin_add_overflow(mantissa, (uint64_t)digit_of(*p), &mantissa))
            return -ERANGE;
        if (after_point)
            exponent--;
    }
    if (*p) {
        int64_t written;
        int r = num_parse_i64(p + 1, &written);
        if (r < 0 || written > 100 || written < -100)
            return -ERANGE;
        exponent += written;
    }
    while (exponent < 0 && mantissa % 10 == 0 && mantissa) {
        mantissa /= 10;
        exponent++;
    }
    for (; exponent > 0 && mantissa; exponent--)
        if (__builtin_mul_overflow(mantissa, (uint64_t)10, &mantissa))
            return -ERANGE;
    if (!mantissa)
        exponent = 0;
    if (exponent < -18 || mantissa > (uint64_t)INT64_MAX + (negative ? 1 : 0))
        return -ERANGE;
    ret_value->mantissa = (int64_t)(negative ? -mantissa : mantissa);
    ret_value->decimals = (uint8_t)-exponent;
    return 0;
}

int num_parse_hex(const char *text, uint8_t *buf, size_t size, size_t *ret_length)
{
    size_t n = 0;

    for (;;) {
        while (*text == ' ' || *text == ':')
            text++;
        if (!*text)
            break;
        int high = digit_of(text[0]);
        int low = high < 16 ? digit_of(text[1]) : 99;
        if (high > 15 || low > 15)
            return -EINVAL;
        if (n == size)
            return -E2BIG;
        buf[n++] = (uint8_t)(high << 4 | low);
        text += 2;
    }
    *ret_length = n;
    return 0;
}
