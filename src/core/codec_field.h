/* One field of a value, for codec.c: bytes to a value and back. Must not know about other fields.
 */
#pragma once

#include "core/bt.h"
#include "core/codec.h"
#include "core/medfloat.h"

/* what one field writes, to be ORed into the value at its offset */
struct codec_bytes {
    uint8_t data[GATT_VALUE_MAX];
    size_t length;
};

/* `length` bytes from the field's offset on, at least what its type needs. 0 or a codec_error. */
MUST_CHECK
int codec_field_decode(const struct field_spec *spec, const uint8_t *data, size_t length,
                       struct value *ret_value);
/* Never ABSENT. 0 or a codec_error. */
MUST_CHECK
int codec_field_encode(const struct field_spec *spec, const struct value *value,
                       struct codec_bytes *ret_bytes);
/* the integer in the field's bytes, or its bits of it: of what is no text and no time */
uint64_t codec_field_raw(const struct field_spec *spec, const uint8_t *data);
/* its bytes, for a raw value that fits */
void codec_field_store(const struct field_spec *spec, uint64_t raw, struct codec_bytes *ret_bytes);
/* the bits of its n-th byte that belong to the field */
uint8_t codec_field_mask(const struct field_spec *spec, size_t n);

#define TIME_FIRST_YEAR 1582 /* of Date Time: when the Gregorian calendar came */

/* ---- raw values: the integer in the field's bytes, or its bits of it ---- */

static inline uint64_t mask_of(unsigned bits)
{
    return bits >= 64 ? UINT64_MAX : (UINT64_C(1) << bits) - 1;
}

static inline unsigned bits_of(const struct field_spec *spec)
{
    return spec->has_bits ? spec->bit_count : (unsigned)(8 * field_spec_length(spec));
}

static inline int64_t sign_extend(uint64_t raw, unsigned bits)
{
    uint64_t sign = UINT64_C(1) << (bits - 1);

    return (int64_t)((raw ^ sign) - sign);
}

static inline bool is_invalid(const struct field_spec *spec, uint64_t raw)
{
    return spec->has_invalid && ((raw ^ (uint64_t)spec->invalid) & mask_of(bits_of(spec))) == 0;
}

/* ... or none of those that mean something */
static inline bool is_valid(const struct field_spec *spec, uint64_t raw)
{
    if (!spec->has_valid)
        return true;
    raw &= mask_of(bits_of(spec));
    int64_t number = spec->type == FIELD_TYPE_INT ? sign_extend(raw, bits_of(spec)) : (int64_t)raw;
    return number >= spec->valid_low && number <= spec->valid_high;
}

static inline enum medfloat_size medfloat_size_of(const struct field_spec *spec)
{
    return spec->type == FIELD_TYPE_SFLOAT ? MEDFLOAT_SHORT : MEDFLOAT_LONG;
}
