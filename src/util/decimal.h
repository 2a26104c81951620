/*
 * Exact decimal arithmetic in 64 bits: what a scale of 0.01 needs, and a double cannot give. The
 * functions return false when the exact result has more than 18 decimals or does not fit; it is
 * never rounded in silence.
 */
#pragma once

#include "util/num.h"
#include <stdbool.h>

#define DECIMAL_MAX_DECIMALS 18

#define DECIMAL_TEXT_SIZE 24
/* "21.48", "-0.5", "7": no zeros at the end; returns the length */
size_t decimal_format(struct decimal value, char buf[static DECIMAL_TEXT_SIZE]);
/* 10^n for n up to 18 */
int64_t decimal_pow10(unsigned n);
/* mantissa * 10^exponent */
bool decimal_from_scientific(int64_t mantissa, int exponent, struct decimal *ret_value);
/* the same value with so many decimals */
bool decimal_align(struct decimal value, uint8_t decimals, int64_t *ret_mantissa);
bool decimal_multiply(struct decimal a, struct decimal b, struct decimal *ret_value);
bool decimal_add(struct decimal a, struct decimal b, struct decimal *ret_value);
bool decimal_negate(struct decimal value, struct decimal *ret_value);
/* a / b, if it has an end; b is not 0 */
bool decimal_divide(struct decimal a, struct decimal b, struct decimal *ret_value);
/* -1, 0, 1; any two can be compared */
int decimal_compare(struct decimal a, struct decimal b);
double decimal_to_double(struct decimal value);
/* dividend / divisor, to the nearest, halves away from zero; the divisor is neither 0 nor
 * INT64_MIN */
int64_t decimal_round_div(int64_t dividend, int64_t divisor);
/* the shortest decimal that reads back as the same number; false also where it takes 17 digits */
bool decimal_from_double(double value, struct decimal *ret_value);
bool decimal_from_float(float value, struct decimal *ret_value);
/* to the nearest with so many decimals */
bool decimal_round_double(double value, uint8_t decimals, struct decimal *ret_value);
