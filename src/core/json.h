/*
 * Writes JSON (RFC 8259) into a strbuf, in order, without a tree. The writer puts the commas; the
 * caller closes what it opens. Text is checked: what is not UTF-8 is replaced by U+FFFD. Integers
 * beyond 2^53-1 are written as decimal strings (a reader with doubles would round them). Decimals
 * are exact and lose their trailing zeros: 21.5, never 21.50 or 21.499999; 21.00 is written 21.
 */
#pragma once

#include "core/value.h"
#include "util/strbuf.h"

#define JSON_MAX_INTEGER ((UINT64_C(1) << 53) - 1)
#define JSON_SHORTEST    255 /* as decimals of json_write_double(): as few as read back the same */

struct json_writer {
    struct strbuf *out; /* borrowed */
    bool comma;         /* the next item needs one before it */
};

static inline struct json_writer json_writer_to(struct strbuf *out)
{
    return (struct json_writer){.out = out};
}
void json_write_object_begin(struct json_writer *w);
void json_write_object_end(struct json_writer *w);
void json_write_array_begin(struct json_writer *w);
void json_write_array_end(struct json_writer *w);
void json_write_key(struct json_writer *w, const char *key);
void json_write_string(struct json_writer *w, const char *text); /* NULL gives null */
void json_write_string_n(struct json_writer *w, const char *text, size_t length);
void json_write_hex(struct json_writer *w, const uint8_t *data, size_t length);
void json_write_int(struct json_writer *w, int64_t value);
void json_write_uint(struct json_writer *w, uint64_t value);
void json_write_bool(struct json_writer *w, bool value);
void json_write_null(struct json_writer *w);
/* mantissa / 10^decimals */
void json_write_decimal(struct json_writer *w, int64_t mantissa, uint8_t decimals);
/* rounded to so many decimals, or JSON_SHORTEST; not finite: null */
void json_write_double(struct json_writer *w, double value, uint8_t decimals);
void json_write_time(struct json_writer *w, int64_t real_us); /* RFC 3339, ms, UTC */
void json_write_value(struct json_writer *w,
                      const struct value *value); /* one; ABSENT gives null */
void json_write_raw(struct json_writer *w, const char *text, size_t length); /* already JSON */
