/* Exact decimal arithmetic; see decimal.h. Must not know what is measured. */
#include "util/decimal.h"

#include "util/round.h"

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

bool decimal_from_scientific(int64_t mantissa, int exponent, struct decimal *ret_value)
{
    while (exponent < -DECIMAL_MAX_DECIMALS && mantissa && mantissa % 10 == 0) {
        mantissa /= 10;
        exponent++;
    }
    if (!mantissa)
        exponent = 0;
    if (exponent < -DECIMAL_MAX_DECIMALS || exponent > DECIMAL_MAX_DECIMALS)
        return false;
    if (exponent > 0 &&
        __builtin_mul_overflow(mantissa, decimal_pow10((unsigned)exponent), &mantissa))
        return false;
    ret_value->mantissa = mantissa;
    ret_value->decimals = (uint8_t)(exponent < 0 ? -exponent : 0);
    return true;
}

static struct decimal without_zeros(struct decimal value)
{
    while (value.decimals && value.mantissa % 10 == 0) {
        value.mantissa /= 10;
        value.decimals--;
    }
    return value;
}

bool decimal_align(struct decimal value, uint8_t decimals, int64_t *ret_mantissa)
{
    int64_t mantissa;

    if (value.decimals > decimals)
        value = without_zeros(value);
    if (value.decimals > decimals || decimals > DECIMAL_MAX_DECIMALS ||
        __builtin_mul_overflow(value.mantissa, powers[decimals - value.decimals], &mantissa))
        return false;
    *ret_mantissa = mantissa;
    return true;
}

bool decimal_multiply(struct decimal a, struct decimal b, struct decimal *ret_value)
{
    int64_t mantissa;

    if (__builtin_mul_overflow(a.mantissa, b.mantissa, &mantissa)) {
        a = without_zeros(a);
        b = without_zeros(b);
        if (__builtin_mul_overflow(a.mantissa, b.mantissa, &mantissa))
            return false;
    }
    return decimal_from_scientific(mantissa, -(a.decimals + b.decimals), ret_value);
}

bool decimal_add(struct decimal a, struct decimal b, struct decimal *ret_value)
{
    uint8_t decimals = a.decimals > b.decimals ? a.decimals : b.decimals;
    int64_t x, y;

    if (!decimal_align(a, decimals, &x) || !decimal_align(b, decimals, &y) ||
        __builtin_add_overflow(x, y, &x))
        return false;
    *ret_value = (struct decimal){x, decimals};
    return true;
}

bool decimal_negate(struct decimal value, struct decimal *ret_value)
{
    if (value.mantissa == INT64_MIN)
        return false;
    *ret_value = (struct decimal){-value.mantissa, value.decimals};
    return true;
}

static uint64_t magnitude_of(int64_t value)
{
    return value < 0 ? -(uint64_t)value : (uint64_t)value;
}

bool decimal_divide(struct decimal a, struct decimal b, struct decimal *ret_value)
{
    uint64_t above = magnitude_of(a.mantissa), below = magnitude_of(b.mantissa), x, y;
    bool negative = (a.mantissa < 0) != (b.mantissa < 0);

    for (x = above, y = below; y;) {
        uint64_t rest = x % y;
        x = y;
        y = rest;
    }
    above /= x;
    below /= x;
    /* what is left below must divide a power of ten */
    unsigned k = 0;
    while (k <= DECIMAL_MAX_DECIMALS && (uint64_t)powers[k] % below)
        k++;
    if (k > DECIMAL_MAX_DECIMALS ||
        __builtin_mul_overflow(above, (uint64_t)powers[k] / below, &above) || above > INT64_MAX)
        return false;
    return decimal_from_scientific(negative ? -(int64_t)above : (int64_t)above,
                                   (int)b.decimals - (int)a.decimals - (int)k, ret_value);
}

int decimal_compare(struct decimal a, struct decimal b)
{
    int64_t pa = decimal_pow10(a.decimals), pb = decimal_pow10(b.decimals);
    int64_t x = a.mantissa / pa, y = b.mantissa / pb;

    if (x == y) { /* the fractions, with 18 decimals each */
        x = a.mantissa % pa * (powers[DECIMAL_MAX_DECIMALS] / pa);
        y = b.mantissa % pb * (powers[DECIMAL_MAX_DECIMALS] / pb);
    }
    return (x > y) - (x < y);
}

double decimal_to_double(struct decimal value)
{
    return (double)value.mantissa / (double)decimal_pow10(value.decimals);
}

int64_t decimal_round_div(int64_t dividend, int64_t divisor)
{
    if (divisor == -1) /* INT64_MIN / -1 does not fit */
        return dividend == INT64_MIN ? INT64_MAX : -dividend;
    int64_t quotient = dividend / divisor;
    uint64_t rest = magnitude_of(dividend % divisor), whole = magnitude_of(divisor);

    if (rest >= whole - rest)
        quotient += (dividend < 0) == (divisor < 0) ? 1 : -1;
    return quotient;
}

size_t decimal_format(struct decimal value, char buf[static DECIMAL_TEXT_SIZE])
{
    char digits[DECIMAL_TEXT_SIZE];
    size_t at = sizeof(digits);
    uint64_t rest;

    value = without_zeros(value);
    rest = magnitude_of(value.mantissa);
    if (value.decimals) {
        for (unsigned i = MIN_OF(value.decimals, DECIMAL_MAX_DECIMALS); i; i--) {
            digits[--at] = (char)('0' + rest % 10);
            rest /= 10;
        }
        digits[--at] = '.';
    }
    do {
        digits[--at] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest);
    if (value.mantissa < 0)
        digits[--at] = '-';
    memcpy(buf, digits + at, sizeof(digits) - at);
    buf[sizeof(digits) - at] = '\0';
    return sizeof(digits) - at;
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
        double mantissa = round_even(magnitude * power);

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
        ret_value->mantissa = decimal_round_div(exact.mantissa, powers[exact.decimals - decimals]);
        ret_value->decimals = decimals;
        return true;
    }
    double scaled = round_even(value * (double)powers[decimals]);
    if (!(fabs(scaled) < 9007199254740992.0))
        return false;
    ret_value->mantissa = (int64_t)scaled;
    ret_value->decimals = decimals;
    return true;
}
