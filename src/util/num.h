/* Numbers from text, all of the text or an error: no blanks, no locale, no silent overflow.
 * Errors: -EINVAL (not such a number), -ERANGE. */
#pragma once

#include "util/err.h"
#include <stddef.h>
#include <stdint.h>

MUST_CHECK
int num_parse_u64(const char *text, uint64_t *ret_value); /* decimal or 0x... */
MUST_CHECK
int num_parse_u32(const char *text, uint32_t *ret_value);
MUST_CHECK
int num_parse_i64(const char *text, int64_t *ret_value); /* decimal or 0x..., sign */
MUST_CHECK
int num_parse_double(const char *text, double *ret_value); /* finite; "1e-3" allowed */

/* A decimal number as mantissa / 10^decimals: exact where a double is not. At most 18 decimals. */
struct decimal {
    int64_t mantissa;
    uint8_t decimals;
};
/* "0.01", "-40", "1e-2"; trailing zeros after the point are dropped */
MUST_CHECK
int num_parse_decimal(const char *text, struct decimal *ret_value);

/* hex digits, upper or lower case, blanks and ':' between bytes allowed; -EINVAL, -E2BIG */
MUST_CHECK
int num_parse_hex(const char *text, uint8_t *buf, size_t size, size_t *ret_length);
