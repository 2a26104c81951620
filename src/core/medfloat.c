/* IEEE 11073-20601 floats; see medfloat.h. Must not know what is measured. */
#include "core/medfloat.h"

#include "util/decimal.h"
#include <stdlib.h>

static int exponent_max(enum medfloat_size size)
{
    return size == MEDFLOAT_SHORT ? 7 : 127;
}

static int64_t mantissa_max(enum medfloat_size size)
{
    return (INT64_C(1) << (size - 1)) - 1;
}

/* NaN 7ff, +INF 7fe, NRes 800, reserved 801, -INF 802; the long ones alike */
static bool is_reserved(enum medfloat_size size, int64_t mantissa)
{
    return mantissa >= mantissa_max(size) - 1 || mantissa <= -mantissa_max(size) + 1;
}

static bool fits(enum medfloat_size size, int64_t mantissa, int exponent)
{
    if (mantissa > mantissa_max(size) || mantissa < -mantissa_max(size) - 1)
        return false;
    return exponent != 0 || !is_reserved(size, mantissa);
}

bool medfloat_decode(enum medfloat_size size, uint32_t raw, struct scientific *ret_value)
{
    int64_t sign = INT64_C(1) << (size - 1);
    int64_t mantissa = (int64_t)(raw & ((1U << size) - 1));
    int exponent = (int)(raw >> size);

    mantissa = (mantissa ^ sign) - sign;
    if (exponent > exponent_max(size))
        exponent -= 2 * (exponent_max(size) + 1);
    if (exponent == 0 && is_reserved(size, mantissa))
        return false;
    *ret_value = (struct scientific){mantissa, exponent};
    return true;
}

static uint32_t pack(enum medfloat_size size, int64_t mantissa, int exponent)
{
    uint32_t mask = (1U << size) - 1;
    uint32_t exponent_mask = size == MEDFLOAT_SHORT ? 0xf : 0xff;

    return ((uint32_t)exponent & exponent_mask) << size | ((uint32_t)mantissa & mask);
}

/*
 * Numbers that round to a reserved mantissa: the largest that exponent 0 has may be nearer than
 * what the next exponent has. `unit` is 1 in the last place of exponent 0. 0: it is not.
 */
static int64_t prefer_plain(enum medfloat_size size, int64_t wanted, int64_t unit)
{
    int64_t nearest = decimal_round_div(wanted, unit), tens = decimal_round_div(wanted, 10 * unit);
    int64_t plain = wanted < 0 ? -mantissa_max(size) + 2 : mantissa_max(size) - 2;

    if (nearest > mantissa_max(size) || nearest < -mantissa_max(size) - 1)
        return 0;
    int64_t to_plain = llabs(wanted - plain * unit), to_tens = llabs(wanted - tens * 10 * unit);
    return to_plain < to_tens ? plain : 0;
}

bool medfloat_encode(enum medfloat_size size, struct scientific value, uint32_t *ret_raw)
{
    int64_t mantissa = value.mantissa;
    int exponent = value.exponent, highest = exponent_max(size), lowest = -highest - 1;

    while (mantissa && mantissa % 10 == 0) {
        mantissa /= 10;
        exponent++;
    }
    if (!mantissa)
        exponent = 0;
    for (; exponent > highest; exponent--)
        if (__builtin_mul_overflow(mantissa, (int64_t)10, &mantissa))
            return false;
    /* as few digits dropped as it takes; one division, so that it is rounded once */
    for (unsigned k = 0; k <= DECIMAL_MAX_DECIMALS; k++) {
        int64_t rounded = decimal_round_div(mantissa, decimal_pow10(k));
        int with = exponent + (int)k;

        if (with > highest)
            return false;
        if (with < lowest || !fits(size, rounded, with))
            continue;
        if (with == 1 && k) {
            int64_t plain = prefer_plain(size, mantissa, decimal_pow10(k - 1));
            if (plain) {
                rounded = plain;
                with = 0;
            }
        }
        /* 80.004 becomes 80, and that has one form */
        for (; rounded && rounded % 10 == 0 && with < highest; with++)
            rounded /= 10;
        *ret_raw = rounded ? pack(size, rounded, with) : 0;
        return true;
    }
    *ret_raw = 0; /* nearer to 0 than to anything else */
    return true;
}

uint32_t medfloat_nan(enum medfloat_size size)
{
    return (uint32_t)mantissa_max(size);
}
