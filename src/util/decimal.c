/* Exact decimal arithmetic; see decimal.h. Must not know what is measured. */
#include "util/decimal.h"

#include <math.h>
#include <string.h>

static const int64_t powers[] = {
    INT64_C(1),
    INT64_C(10),
    INT64_C(100),
    INT64_C(1000),
    INT64_C(10000),
    INT64_C(100000),
    INT64_C(1000000),
    INT64_C(10000000),
    INT64_C(100000000),
    INT64_C(1000000000),
    INT64_C(10000000000),
    INT64_C(100000000000),
    INT64_C(1000000000000),
    INT64_C(10000000000000),
    INT64_C(100000000000000),
    INT64_C(1000000000000000),
    INT64_C(10000000000000000),
    INT64_C(100000000000000000),
    INT64_C(1000000000000000000),
};

int64_t decimal_pow10(unsigned n)
{
    return powers[n <= DECIMAL_MAX_DECIMALS ? n : DECIMAL_MAX_DECIMALS];
}

static bool fits(__int128 mantissa, unsigned decimals, struct decimal *ret_value)
{
    while (decimals > DECIMAL_MAX_DECIMALS && mantissa % 10 == 0) {
        mantissa /= 10;
        decimals--;
    }
    /* what does not fit may still do so without trailing zeros */
    while (decimals && (mantissa > INT64_MAX || mantissa < INT64_MIN) && mantissa % 10 == 0) {
        mantissa /= 10;
        decimals--;
    }
    if (decimals > DECIMAL_MAX_DECIMALS || mantissa > INT64_MAX || mantissa < INT64_MIN)
        return false;
    ret_value->mantissa = (int64_t)mantissa;
    ret_value->decimals = (uint8_t)decimals;
    return true;
}

bool decimal_scale(struct decimal value, struct decimal scale, struct decimal add,
                   struct decimal *ret_value)
{
    __int128 product = (__int128)value.mantissa * scale.mantissa, sum = add.mantissa;
    unsigned decimals = value.decimals + scale.decimals;

    /* at most 18 steps each way, since both have at most 36 decimals */
    for (unsigned d = decimals; d < add.decimals; d++, decimals++)
        if (__builtin_mul_overflow(product, (__int128)10, &product))
            return false;
    for (unsigned d = add.decimals; sum && d < decimals; d++)
        if (__builtin_mul_overflow(sum, (__int128)10, &sum))
            return false;
    if (__builtin_add_overflow(product, sum, &sum))
        return false;
    return fits(sum, decimals, ret_value);
}

int decimal_compare(struct decimal a, struct decimal b)
{
    unsigned decimals = a.decimals > b.decimals ? a.decimals : b.decimals;
    /* 19 and 18 digits: 128 bits hold both */
    __int128 x = (__int128)a.mantissa * decimal_pow10(decimals - a.decimals);
    __int128 y = (__int128)b.mantissa * decimal_pow10(decimals - b.decimals);

    return (x > y) - (x < y);
}

bool decimal_unscale(struct decimal value, struct decimal scale, struct decimal add,
                     __int128 *ret_raw)
{
    /* ((v - a) / s) = (V 10^-v - A 10^-a) / (S 10^-s); first the difference, with max(v, a) */
    unsigned decimals = value.decimals > add.decimals ? value.decimals : add.decimals;
    __int128 above = (__int128)value.mantissa * decimal_pow10(decimals - value.decimals) -
                     (__int128)add.mantissa * decimal_pow10(decimals - add.decimals);
    __int128 below = scale.mantissa;

    for (; decimals < scale.decimals; decimals++)
        if (__builtin_mul_overflow(above, (__int128)10, &above))
            return false;
    for (unsigned d = scale.decimals; d < decimals; d++)
        if (__builtin_mul_overflow(below, (__int128)10, &below))
            return false;
    __int128 raw = above / below, rest = above % below;
    if (rest < 0)
        rest = -rest;
    if (below < 0)
        below = -below;
    if (rest >= below - rest)
        raw += (above < 0) == (scale.mantissa < 0) ? 1 : -1;
    *ret_raw = raw;
    return true;
}

/* 10^k is exact as a double for all k here, so m / 10^k is what a reader gets for the text */
static bool reads_back(double magnitude, double candidate, bool as_float)
{
    uint64_t bits;

    if (!as_float)
        return candidate == magnitude;
    memcpy(&bits, &candidate, sizeof(bits));
    /* halfway between two floats a reader of floats might round the other way */
    if ((bits & 0x1fffffff) == 0x10000000)
        return false;
    return (float)candidate == (float)magnitude;
}

static bool shortest(double value, bool as_float, struct decimal *ret_value)
{
    static const double exact_limit = 9007199254740992.0; /* 2^53 */
    double magnitude = fabs(value);

    if (!isfinite(value) || magnitude > exact_limit)
        return false;
    for (unsigned k = 0; k <= DECIMAL_MAX_DECIMALS; k++) {
        double power = (double)powers[k];
        double mantissa = nearbyint(magnitude * power);

        if (mantissa > exact_limit)
            return false;
        if ((mantissa > 0 || magnitude == 0) &&
            reads_back(magnitude, mantissa / power, as_float && k)) {
            ret_value->mantissa = value < 0 ? -(int64_t)mantissa : (int64_t)mantissa;
            ret_value->decimals = (uint8_t)k;
            return true;
        }
    }
    return false;
}

bool decimal_from_double(double value, struct decimal *ret_value)
{
    return shortest(value, false, ret_value);
}

bool decimal_from_float(float value, struct decimal *ret_value)
{
    return shortest(value, true, ret_value);
}

bool decimal_round_double(double value, uint8_t decimals, struct decimal *ret_value)
{
    struct decimal exact;

    if (decimals > DECIMAL_MAX_DECIMALS)
        return false;
    /* by its shortest decimal: 0.285 becomes 0.29, although the double is a little less */
    if (decimal_from_double(value, &exact)) {
        if (exact.decimals <= decimals) {
            *ret_value = exact;
            return true;
        }
        int64_t divisor = powers[exact.decimals - decimals];
        int64_t rest = exact.mantissa % divisor;
        ret_value->mantissa = exact.mantissa / divisor;
        if (rest >= divisor - rest)
            ret_value->mantissa++;
        else if (-rest >= divisor + rest)
            ret_value->mantissa--;
        ret_value->decimals = decimals;
        return true;
    }
    double scaled = nearbyint(value * (double)powers[decimals]);
    if (!(fabs(scaled) < 9007199254740992.0))
        return false;
    ret_value->mantissa = (int64_t)scaled;
    ret_value->decimals = decimals;
    return true;
}
