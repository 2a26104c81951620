/* One decoded field, and comparing two. Text and bytes are borrowed from what was decoded. */
#pragma once

#include "util/time.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum value_kind {
    VALUE_ABSENT, /* not in this value, or not given when writing */
    VALUE_NULL,   /* the peer says "unknown" */
    VALUE_BOOL,
    VALUE_UINT,
    VALUE_INT,
    VALUE_DECIMAL, /* mantissa / 10^decimals, exact */
    VALUE_FLOAT,
    VALUE_STRING,
    VALUE_BYTES,
    VALUE_TIME,
    VALUE_ARRAY, /* decoded: its bytes, already found good; codec_array_next() reads them */
    VALUE_LIST,  /* given: the values of its elements */
};

struct value {
    enum value_kind kind;
    uint8_t decimals; /* DECIMAL; FLOAT: digits to print after the point, 255: shortest exact */
    union {
        bool b;
        uint64_t u;
        int64_t i; /* INT, and the mantissa of DECIMAL */
        double d;
        struct {
            const void *data; /* borrowed */
            size_t length;
        } s; /* STRING, BYTES, ARRAY */
        struct time_parts t;
        struct {
            const struct value *items; /* borrowed: element by element, all fields of each */
            size_t n;                  /* elements */
        } list;
    };
};

/* what is a number (a bool is 0 or 1) as a double; false for what is none */
bool value_number(const struct value *value, double *ret_number);
/* The same value, however it is written: 1, 1.0 and true. */
bool value_equal(const struct value *a, const struct value *b);
/* ... or numbers that differ by no more than that */
bool value_near(const struct value *a, const struct value *b, double within);
