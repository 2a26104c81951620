/*
 * The floats of medical devices: IEEE 11073-20601 (2014), Annex F.8 FLOAT-Type and F.9 SFLOAT-Type:
 * a signed mantissa (24 or 12 bits) times ten to a signed exponent (8 or 4 bits). With exponent 0
 * five mantissas are reserved: NaN, NRes (not at this resolution), the infinities and one more.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum medfloat_size { MEDFLOAT_SHORT = 12, MEDFLOAT_LONG = 24 }; /* bits of the mantissa */

struct scientific {
    int64_t mantissa;
    int exponent; /* of ten */
};

/* false: no number, one of the reserved values */
bool medfloat_decode(enum medfloat_size size, uint32_t raw, struct scientific *ret_value);
/* to the nearest that fits, with the fewest digits of mantissa; false: too large */
bool medfloat_encode(enum medfloat_size size, struct scientific value, uint32_t *ret_raw);
uint32_t medfloat_nan(enum medfloat_size size);
