/* Bytes to values and back, after a schema. Allocates nothing. Must not know JSON or MQTT. */
#pragma once

#include "core/schema.h"
#include "core/value.h"

enum codec_error {
    CODEC_E_SHORT = 1, /* fewer bytes than the fields need */
    CODEC_E_EXTRA,     /* more bytes, and the schema forbids them */
    CODEC_E_TEXT,      /* not UTF-8, or a NUL inside */
    CODEC_E_ENUM,      /* a raw value without a name (decode), a name without a value (encode) */
    CODEC_E_RANGE,     /* does not fit the field, or outside min..max */
    CODEC_E_TYPE,      /* a text where a number belongs, ... */
    CODEC_E_MISSING,   /* a field without value, default or const */
    CODEC_E_LONG,      /* longer than `size`, or than the field */
    CODEC_E_CONFLICT,  /* values that contradict: of fields that share bits, or of a const; or one
                          for a field that is not there, by what another one says */
    CODEC_E_CHECKSUM,  /* wrong */
};

/* What fields that are computed when writing come from. */
struct codec_context {
    int64_t real_us;  /* the time now */
    uint64_t counter; /* of writes so far; taken modulo what the field holds */
    /* An older value that decodes, borrowed; NULL: none. What is not given stays as it is there,
     * also what no field describes. Only of a schema that codec_has_places(). */
    const uint8_t *base;
    size_t base_length;
};

/* does each field stand in the same place in every value? */
bool codec_has_places(const struct schema *schema);

/*
 * Decodes `data` into values[0 .. schema->n_fields - 1]: ABSENT is what a condition leaves out, and
 * all but the first of several fields of one name, which has the value. A raw value that is
 * `invalid`, NaN and the infinities give VALUE_NULL; a bool is true unless it is 0; NUL bytes at
 * the end of a text are padding. Floats become the shortest DECIMAL that reads back the same, FLOAT
 * where they are too large or too small for it. *ret_field (may be NULL) is the field at fault when
 * the result is a codec_error (SIZE_MAX: none of them). 0 or a codec_error; `values` counts only
 * with 0.
 */
MUST_CHECK
int codec_decode(const struct schema *schema, const uint8_t *data, size_t length,
                 struct value *values, size_t *ret_field);

/* A walk over the elements of an array that was decoded: {element, value.s.data, value.s.length}.
 */
struct codec_array {
    const struct schema *element; /* borrowed */
    const uint8_t *data;          /* borrowed */
    size_t left;
};
/* the values of the next one, as codec_decode() gives them; false at the end */
bool codec_array_next(struct codec_array *array, struct value *values);

/*
 * Encodes values[0 .. n_fields - 1]; VALUE_ABSENT takes const or default. What else is not given
 * but follows from the rest is worked out: the bits of flags that say which fields are there, the
 * number of elements of an array. Computed fields are never taken from `values`, but from the
 * context, which may be NULL for who has none: they are MISSING then. Numbers are rounded to
 * the nearest raw value. Text is accepted where it can only mean one thing: an enum's name, a
 * number, ON / OFF / true / false / 1 / 0 in any case for a bool, hex digits for bytes. VALUE_NULL
 * is accepted where the field has `invalid`, or is a float. What would be read back as something
 * else (the raw value of `invalid`) is out of range. Bits between fields are 0,
 * or those of the context's `base`.
 */
MUST_CHECK
int codec_encode(const struct schema *schema, const struct value *values,
                 const struct codec_context *context, uint8_t *buf, size_t size, size_t *ret_length,
                 size_t *ret_field);

/* a sentence for people: "needs at least 5 bytes, got 3"; `length` is that of the bytes decoded, or
 * `size` when encoding */
void codec_explain(const struct schema *schema, int error, size_t field, size_t length, char *buf,
                   size_t size);
