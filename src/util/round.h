/* Rounding of doubles to whole ones, without libm: its pages would be a third of a megabyte for
 * this alone. */
#pragma once

#include <math.h>
#include <stdint.h>

/* from here on every double is whole */
#define ROUND_WHOLE 4503599627370496.0 /* 2^52 */

static inline double round_down(double value)
{
    if (!(fabs(value) < ROUND_WHOLE))
        return value;
    double whole = (double)(int64_t)value;
    return whole > value ? whole - 1 : whole;
}

static inline double round_up(double value)
{
    return -round_down(-value);
}

/* a half to the even one, like nearbyint() */
static inline double round_even(double value)
{
    double whole = round_down(value), rest = value - whole;

    if (rest == 0.5)
        return (int64_t)whole & 1 ? whole + 1 : whole;
    return rest > 0.5 ? whole + 1 : whole;
}

/* a half away from zero, like round() */
static inline double round_away(double value)
{
    double magnitude = fabs(value), whole = round_down(magnitude);

    if (magnitude - whole >= 0.5)
        whole += 1;
    return value < 0 ? -whole : whole;
}
