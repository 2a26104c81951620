/*
 * JSON text before it is parsed. A parser rounds numbers to doubles and refuses those beyond int64;
 * values of peers keep all their digits. So numbers are taken out of the text first, and the
 * parser's tree says where they stood. Must not know what the text is about.
 */
#pragma once

#include "util/strbuf.h"
#include <stdbool.h>
#include <stddef.h>

struct json_span {
    const char *data; /* borrowed */
    size_t length;
};

/* without blanks at both ends */
struct json_span json_text_trim(struct json_span text);
bool json_text_is(struct json_span text, const char *word);
/* how long the number at the start is (RFC 8259 section 6); 0: there is none */
size_t json_text_number_length(struct json_span text);

enum json_text_error {
    JSON_TEXT_E_NUMBER = 1, /* a number that is none */
    JSON_TEXT_E_NUMBERS,    /* too many */
    JSON_TEXT_E_DEPTH,      /* too many brackets within brackets */
};

/*
 * Appends the text to `out` with each number replaced by its index in `numbers`. Brackets may be
 * max_depth deep. 0 or a json_text_error; `out` has failed when out of memory.
 */
MUST_CHECK
int json_text_index(struct json_span text, size_t max_depth, struct json_span *numbers,
                    size_t max_numbers, struct strbuf *out);

/*
 * The member of that name in an object: the text of its value. The text must have passed a parser.
 * False: there is none, or its name is written with escapes.
 */
bool json_text_member(struct json_span object, const char *name, struct json_span *ret_value);
