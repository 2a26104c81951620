/*
 * A compiled description of a byte value: what config writes as `fields`, and what the codec runs.
 * PRODUCT rules: fields stand in order, `offset` defaults to the end of the field before; bits
 * count from the least significant; value = raw * scale + add, printed with the decimals that both
 * have; a zero at its end is not written (21.5).
 */
#pragma once

#include "core/checksum.h"
#include "util/err.h"
#include "util/num.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct value;

enum field_type {
    FIELD_TYPE_BOOL,
    FIELD_TYPE_UINT, /* `size` bytes: 1 to 8 (uint24 is 3) */
    FIELD_TYPE_INT,
    FIELD_TYPE_FLOAT32,
    FIELD_TYPE_FLOAT64,
    FIELD_TYPE_SFLOAT,     /* IEEE 11073-20601, 16 bits */
    FIELD_TYPE_MEDFLOAT32, /* IEEE 11073-20601, 32 bits */
    FIELD_TYPE_STRING,     /* UTF-8, `length` bytes or the rest */
    FIELD_TYPE_BYTES,
    FIELD_TYPE_TIME,  /* the Bluetooth SIG's Date Time: 7 bytes, local, without a zone */
    FIELD_TYPE_ARRAY, /* repeats `element` */
};

/*
 * Raw values (`invalid`, those of an enum) are the integer in the bytes, of a float its bits; where
 * the sign bit may be set the bit pattern will do too: 0x8000 and -32768 are the same int16, and
 * -1 is 0xffffffffffffffff.
 */
struct field_enum {
    int64_t raw;
    char *name; /* owned */
};

#define SCHEMA_MAX_FIELDS 64
#define SCHEMA_MAX_ENUMS  256            /* names of one field */
#define SCHEMA_MAX_NAME   64             /* bytes of a field's name */
#define FIELD_OFFSET_NEXT SIZE_MAX       /* right after the field before */
#define FIELD_OFFSET_SAME (SIZE_MAX - 1) /* where the field before starts */
#define FIELD_LENGTH_REST SIZE_MAX
#define FIELD_NONE        SIZE_MAX

/*
 * The field is there only if an earlier integer or bool says so; the fields behind it move up.
 * Fields whose conditions exclude each other may share a name: one value, written in several ways.
 */
struct field_when {
    char *field; /* owned; NULL: always there */
    /* what schema_new_take() works out: the field's raw value & mask == value */
    size_t index;
    uint64_t mask, value;
    bool has_bit; /* this bit of it is set, or with `equals` 0 is not */
    uint8_t bit;
    bool has_equals;
    bool has_mask; /* instead of all of those: mask and value are given */
    int64_t equals;
    char *equals_name; /* owned; instead of `equals`: a name of its enum */
};

enum field_repeat {
    FIELD_REPEAT_NONE,
    FIELD_REPEAT_TIMES, /* `times` */
    FIELD_REPEAT_FIELD, /* an earlier integer says how often */
    FIELD_REPEAT_REST,  /* to the end of the value */
};

/* what the encoder fills in itself */
enum field_compute {
    FIELD_COMPUTE_NONE,
    FIELD_COMPUTE_CHECKSUM,    /* a wrong one is an error when decoding */
    FIELD_COMPUTE_LENGTH_REST, /* how many bytes follow the field */
    FIELD_COMPUTE_LENGTH_ALL,  /* how many bytes the value has */
    FIELD_COMPUTE_COUNTER,     /* one more with each write, from 0 */
    FIELD_COMPUTE_NOW,         /* local for TIME, else the seconds since 1970 */
};

/* One field as the file says it. */
/* What decoding reads stands in front, so that it shares lines of the cache. "(worked out)": by
 * schema_new_take(), for the codec. */
struct field_spec {
    char *name; /* owned */
    enum field_type type;
    uint8_t size; /* bytes of UINT and INT; 0 for others */
    bool big_endian;
    bool has_bits;                /* of UINT, INT, BOOL */
    uint8_t bit_first, bit_count; /* within the raw integer, from the least significant */
    bool has_invalid;
    bool has_valid; /* of UINT, INT, BOOL: so do all raw values beyond these, and they are never */
    bool publish;
    bool open_enum; /* a raw value without a name is unknown, not an error */
    bool rounded;   /* when decoding, to so many decimals: */
    uint8_t round_to;
    bool scaled;              /* (worked out) scale is not 1 or add is not 0 */
    uint8_t decimals;         /* (worked out) of scaled integers: the value has so many */
    size_t offset;            /* in bytes, or FIELD_OFFSET_NEXT or _SAME */
    size_t length;            /* STRING, BYTES: in bytes, or FIELD_LENGTH_REST */
    int64_t factor, summand;  /* (worked out) of scaled integers: value = raw * factor + summand */
    size_t slot;              /* (worked out) of its value: its own index, or its name's first */
    uint64_t selects;         /* (worked out) the bits of its raw value that conditions ask for */
    struct field_enum *enums; /* owned */
    size_t n_enums;
    int64_t invalid;               /* this raw value means "unknown": JSON null */
    int64_t valid_low, valid_high; /* written; as the codec sees them (an int16 may be negative) */
    /* A spec of any other type that repeats becomes an ARRAY of bare values when compiled; as ARRAY
     * it is one of objects, and comes with its `element`. */
    enum field_repeat repeat;
    enum field_compute compute;
    struct field_when when;
    size_t counts; /* (worked out) the array that it has the number of elements of, or FIELD_NONE */
    size_t repeat_times;
    size_t repeat_index;    /* (worked out) the field that has the number of elements */
    char *repeat_field;     /* owned */
    struct schema *element; /* owned */
    bool scalar_elements;   /* (worked out) of an ARRAY */
    bool has_default, has_const;
    bool has_min, has_max, has_step;
    bool has_deadband;
    enum checksum_type checksum;
    size_t checksum_from, checksum_to;         /* its bytes; to SIZE_MAX: those before the field */
    struct decimal scale, add;                 /* 1 and 0 when not given */
    struct decimal default_value, const_value; /* for writing; raw where there is an enum */
    uint8_t *own_data;                         /* owned: const or default of STRING and BYTES */
    size_t own_length;
    struct decimal min, max, step; /* checked when writing; shown to consumers */
    struct decimal deadband;       /* a smaller change is none */
    /* what consumers are told; all owned, NULL when not given */
    char *unit, *device_class, *state_class, *entity_category, *icon;
    char *home_assistant; /* JSON, merged into its discovery */
};
struct schema {
    struct field_spec *fields; /* owned; offsets resolved unless `dynamic` */
    size_t n_fields;
    size_t min_length; /* a shorter value is malformed; of a dynamic one more may be needed */
    bool variable;     /* a field takes the rest */
    bool dynamic;      /* where fields stand depends on the value, or there are checksums */
    bool extra_is_error;
};

struct schema_error {
    size_t field;      /* which one */
    char message[160]; /* what is wrong and what would be right */
};

/*
 * Checks and compiles `n` specs. On success the schema owns `specs` (an array from malloc) and all
 * in it; every offset is absolute. The first problem is told in *ret_error and -EINVAL returned;
 * the caller keeps `specs` then. -ENOMEM.
 */
MUST_CHECK
int schema_new_take(struct field_spec *specs, size_t n, bool extra_is_error,
                    struct schema **ret_schema, struct schema_error *ret_error);
struct schema *schema_free(struct schema *schema);
void field_spec_done(struct field_spec *spec);
/* is its value never given, but worked out when writing? */
bool field_spec_is_computed(const struct field_spec *spec);
/* is all that can be written const or computed, one value for ever? */
bool schema_needs_nothing(const struct schema *schema);
/* one of several of that name that is not the first: told to consumers once */
static inline bool schema_is_alternative(const struct schema *schema, size_t field)
{
    return schema->fields[field].slot != field;
}
/* Does one of the published fields differ, by its deadband at least? Values of codec_decode(). */
bool schema_values_differ(const struct schema *schema, const struct value *a,
                          const struct value *b);
/* index of the field (of several of one name, the first: where its value is), or SIZE_MAX */
size_t schema_find(const struct schema *schema, const char *name);
/* bytes that the field takes: `length` of STRING and BYTES (may be FIELD_LENGTH_REST) */
size_t field_spec_length(const struct field_spec *spec);
/* "bool", "uint24", "sfloat", "time", ... -> type and size; false if it is no type */
bool field_type_parse(const char *text, enum field_type *ret_type, uint8_t *ret_size);
const char *field_type_name(enum field_type type, uint8_t size);
