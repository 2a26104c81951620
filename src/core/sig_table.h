/*
 * How a format of the Bluetooth SIG is written down: constant tables that sig.c turns into schemas.
 * Only the sig_*.c files include this.
 */
#pragma once

#include "core/schema.h"

enum sig_offset { SIG_NEXT, SIG_SAME };

/* The loader shifts the pointers in these tables, so all of them are memory of each process: small
 * members stand together. */
struct sig_field {
    const char *name;
    uint8_t type;                 /* enum field_type */
    uint8_t size;                 /* bytes of integers */
    uint8_t length;               /* STRING, BYTES: in bytes; 0: the rest */
    bool hidden;                  /* not published: flags, lengths */
    bool at_zero;                 /* offset 0: within the flags */
    uint8_t place;                /* enum sig_offset */
    uint8_t bit_first, bit_count; /* count 0: all */
    bool has_unknown;
    bool has_valid; /* other raw values are prohibited, reserved or "not valid" */
    bool rounded;   /* what is converted has no more digits than these */
    uint8_t round_to;
    bool rest; /* repeats to the end */
    uint8_t n_names;
    const char *const *names; /* of raw values from 0; NULL: reserved */
    const char *when;         /* there only if that field & mask == value */
    uint32_t mask, value;
    struct decimal scale, add; /* mantissa 0 of scale: 1 */
    int64_t unknown;           /* "value is not known" */
    int64_t valid_low, valid_high;
    const char *unit, *device_class, *state_class;
};

struct sig_format {
    uint16_t uuid;
    const char *name; /* the SIG's */
    const struct sig_field *fields;
    size_t n_fields;
};

struct sig_table {
    const struct sig_format *formats; /* by UUID */
    size_t n;
};
extern const struct sig_table sig_generic, sig_environment, sig_health, sig_fitness;

#define FORMAT(uuid_, name_, fields_)                                                          \
    {                                                                                          \
        .uuid = (uuid_), .name = (name_), .fields = (fields_), .n_fields = ARRAY_SIZE(fields_) \
    }
/* a format of one field */
#define SINGLE(uuid_, name_, ...)                                                             \
    {                                                                                         \
        .uuid = (uuid_), .name = (name_), .n_fields = 1, .fields = (const struct sig_field[]) \
        {                                                                                     \
            {                                                                                 \
                .name = "value", __VA_ARGS__                                                  \
            }                                                                                 \
        }                                                                                     \
    }

#define UINT(bytes)      .type = FIELD_TYPE_UINT, .size = (bytes)
#define SINT(bytes)      .type = FIELD_TYPE_INT, .size = (bytes)
#define SCALE(m, digits) .scale = {(m), (digits)} /* m / 10^digits */
#define ADD(m, digits)   .add = {(m), (digits)}
#define UNKNOWN(raw)     .has_unknown = true, .unknown = (raw)
#define VALID(low, high) .has_valid = true, .valid_low = (low), .valid_high = (high)
/* by the format's flags */
#define WHEN(mask_, value_) .when = "flags", .mask = (mask_), .value = (value_)
#define IF(bit)             WHEN(1u << (bit), 1u << (bit))
#define IF_NOT(bit)         WHEN(1u << (bit), 0)
#define IF_AND(bit, other)  WHEN(1u << (bit) | 1u << (other), 1u << (bit) | 1u << (other))
#define IF_BUT(bit, other)  WHEN(1u << (bit) | 1u << (other), 1u << (bit))
#define ROUND(digits)       .rounded = true, .round_to = (digits)
#define BITS(first, count)  .bit_first = (first), .bit_count = (count)
#define NAMES(list)         UINT(1), .names = (list), .n_names = ARRAY_SIZE(list)
#define FLAGS(bytes)                                 \
    {                                                \
        .name = "flags", UINT(bytes), .hidden = true \
    }
#define MEASURED(unit_, class_) \
    .unit = (unit_), .device_class = (class_), .state_class = "measurement"
