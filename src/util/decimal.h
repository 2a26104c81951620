/*
 * Exact decimal arithmetic: what a scale of 0.01 needs, and a double cannot give. All functions
 * return false when the result has more than 18 decimals or does not fit 64 bits.
 */
#pragma once

#include "util/num.h"
#include <stdbool.h>

#define DECIMAL_MAX_DECIMALS 18

/* 10^n for n up to 18 */
int64_t decimal_pow10(unsigned n);
/* value * scale + add, with the decimals that the three have; trailing zeros stay */
bool decimal_scale(struct decimal value, struct decimal scale, struct decimal add,
                   struct decimal *ret_value);
/* -1, 0, 1; any two can be compared */
int decimal_compare(struct decimal a, struct decimal b);
/*
 * (value - add) / scale as a whole number, rounded to the nearest, halves away from zero; `scale`
 * is not 0. The result may be as wide as an unsigned or a signed 64-bit number.
 */
bool decimal_unscale(struct decimal value, struct decimal scale, struct decimal add,
                     __int128 *ret_raw);
/* the shortest decimal that reads back as the same number */
bool decimal_from_double(double value, struct decimal *ret_value);
bool decimal_from_float(float value, struct decimal *ret_value);
/* to the nearest with so many decimals */
bool decimal_round_double(double value, uint8_t decimals, struct decimal *ret_value);
