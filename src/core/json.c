/* The JSON writer; see json.h. Must not know what it writes about. */
#include "core/json.h"

#include "util/decimal.h"
#include "util/time.h"
#include "util/utf8.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void before_item(struct json_writer *w)
{
    if (w->comma)
        strbuf_putc(w->out, ',');
    w->comma = true;
}

static void begin(struct json_writer *w, char bracket)
{
    before_item(w);
    strbuf_putc(w->out, bracket);
    w->comma = false;
}

static void end(struct json_writer *w, char bracket)
{
    strbuf_putc(w->out, bracket);
    w->comma = true;
}

void json_write_object_begin(struct json_writer *w)
{
    begin(w, '{');
}

void json_write_object_end(struct json_writer *w)
{
    end(w, '}');
}

void json_write_array_begin(struct json_writer *w)
{
    begin(w, '[');
}

void json_write_array_end(struct json_writer *w)
{
    end(w, ']');
}

static bool is_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

static void escape(struct strbuf *out, unsigned char c)
{
    static const char digits[] = "0123456789abcdef";
    char text[6] = {'\\', 'u', '0', '0', digits[c >> 4], digits[c & 15]};

    switch (c) {
    case '"':
    case '\\': text[1] = (char)c; break;
    case '\b': text[1] = 'b'; break;
    case '\f': text[1] = 'f'; break;
    case '\n': text[1] = 'n'; break;
    case '\r': text[1] = 'r'; break;
    case '\t': text[1] = 't'; break;
    default: strbuf_append(out, text, 6); return;
    }
    strbuf_append(out, text, 2);
}

/* is_plain() of eight bytes at once: a byte that is none sets its highest bit in one of these */
static bool are_plain(const char *text)
{
    const uint64_t each = UINT64_C(0x0101010101010101);
    uint64_t word;

    memcpy(&word, text, sizeof(word));
    uint64_t control = (word - each * 0x20) & ~word;
    uint64_t quote = word ^ each * '"', backslash = word ^ each * '\\';
    quote = (quote - each) & ~quote;
    backslash = (backslash - each) & ~backslash;
    return !((word | control | quote | backslash) & each * 0x80);
}

/* false, and nothing is written, unless all of it may stand as it is */
static bool quoted_plain(struct strbuf *out, const char *text, size_t length)
{
    size_t i = 0;

    for (; i + sizeof(uint64_t) <= length; i += sizeof(uint64_t))
        if (!are_plain(text + i))
            return false;
    for (; i < length; i++)
        if (!is_plain((unsigned char)text[i]))
            return false;
    if (!strbuf_reserve(out, length + 2))
        return true; /* it has failed for good */
    char *p = out->data + out->length;
    *p = '"';
    memcpy(p + 1, text, length);
    p[length + 1] = '"';
    p[length + 2] = '\0';
    out->length += length + 2;
    return true;
}

static void quoted(struct strbuf *out, const char *text, size_t length)
{
    if (quoted_plain(out, text, length))
        return;
    strbuf_putc(out, '"');
    for (size_t i = 0; i < length;) {
        size_t run = i;

        while (run < length && is_plain((unsigned char)text[run]))
            run++;
        strbuf_append(out, text + i, run - i);
        i = run;
        if (i == length)
            break;
        if ((unsigned char)text[i] < 0x80) {
            escape(out, (unsigned char)text[i++]);
            continue;
        }
        size_t n = utf8_decode(text + i, length - i, NULL);
        if (n)
            strbuf_append(out, text + i, n);
        else
            strbuf_append(out, "\xef\xbf\xbd", 3); /* U+FFFD for each byte that is none */
        i += n ? n : 1;
    }
    strbuf_putc(out, '"');
}

void json_write_key(struct json_writer *w, const char *key)
{
    before_item(w);
    quoted(w->out, key, strlen(key));
    strbuf_putc(w->out, ':');
    w->comma = false;
}

void json_write_string(struct json_writer *w, const char *text)
{
    if (text)
        json_write_string_n(w, text, strlen(text));
    else
        json_write_null(w);
}

void json_write_string_n(struct json_writer *w, const char *text, size_t length)
{
    before_item(w);
    quoted(w->out, text, length);
}

void json_write_hex(struct json_writer *w, const uint8_t *data, size_t length)
{
    before_item(w);
    strbuf_putc(w->out, '"');
    strbuf_hex(w->out, data, length);
    strbuf_putc(w->out, '"');
}

static void integer(struct json_writer *w, bool negative, uint64_t magnitude)
{
    bool as_text = magnitude > JSON_MAX_INTEGER;

    before_item(w);
    if (as_text)
        strbuf_putc(w->out, '"');
    if (negative)
        strbuf_putc(w->out, '-');
    strbuf_u64(w->out, magnitude);
    if (as_text)
        strbuf_putc(w->out, '"');
}

void json_write_int(struct json_writer *w, int64_t value)
{
    integer(w, value < 0, value < 0 ? -(uint64_t)value : (uint64_t)value);
}

void json_write_uint(struct json_writer *w, uint64_t value)
{
    integer(w, false, value);
}

void json_write_bool(struct json_writer *w, bool value)
{
    before_item(w);
    strbuf_puts(w->out, value ? "true" : "false");
}

void json_write_null(struct json_writer *w)
{
    before_item(w);
    strbuf_puts(w->out, "null");
}

void json_write_decimal(struct json_writer *w, int64_t mantissa, uint8_t decimals)
{
    char text[DECIMAL_TEXT_SIZE];

    for (; decimals && mantissa % 10 == 0; decimals--)
        mantissa /= 10;
    if (!decimals) {
        json_write_int(w, mantissa);
        return;
    }
    if (decimals > DECIMAL_MAX_DECIMALS) { /* not as digits: still exact */
        before_item(w);
        strbuf_i64(w->out, mantissa);
        strbuf_puts(w->out, "e-");
        strbuf_u64(w->out, decimals);
        return;
    }
    size_t length = decimal_format((struct decimal){mantissa, decimals}, text);
    before_item(w);
    strbuf_append(w->out, text, length);
}

void json_write_double(struct json_writer *w, double value, uint8_t decimals)
{
    struct decimal exact;
    char text[400];
    int length = 0;

    if (!isfinite(value)) {
        json_write_null(w);
        return;
    }
    if (decimals == JSON_SHORTEST ? decimal_from_double(value, &exact)
                                  : decimal_round_double(value, decimals, &exact)) {
        json_write_decimal(w, exact.mantissa, exact.decimals);
        return;
    }
    /* very large, very small, or all 17 digits */
    if (decimals != JSON_SHORTEST && decimals <= DECIMAL_MAX_DECIMALS)
        length = snprintf(text, sizeof(text), "%.*f", decimals, value);
    else
        for (int precision = 1; precision <= 17; precision++) {
            length = snprintf(text, sizeof(text), "%.*g", precision, value);
            if (strtod(text, NULL) == value)
                break;
        }
    before_item(w);
    strbuf_append(w->out, text, (size_t)length);
}

void json_write_time(struct json_writer *w, int64_t real_us)
{
    char text[TIME_RFC3339_SIZE];
    size_t length = time_format_rfc3339(real_us, text);

    before_item(w);
    strbuf_putc(w->out, '"');
    strbuf_append(w->out, text, length);
    strbuf_putc(w->out, '"');
}

void json_write_value(struct json_writer *w, const struct value *value)
{
    switch (value->kind) {
    case VALUE_ABSENT:
    case VALUE_NULL: json_write_null(w); return;
    case VALUE_BOOL: json_write_bool(w, value->b); return;
    case VALUE_UINT: json_write_uint(w, value->u); return;
    case VALUE_INT: json_write_int(w, value->i); return;
    case VALUE_DECIMAL: json_write_decimal(w, value->i, value->decimals); return;
    case VALUE_FLOAT: json_write_double(w, value->d, value->decimals); return;
    case VALUE_STRING: json_write_string_n(w, value->s.data, value->s.length); return;
    case VALUE_BYTES: json_write_hex(w, value->s.data, value->s.length); return;
    case VALUE_TIME: {
        char text[TIME_PARTS_SIZE];
        json_write_string_n(w, text, time_parts_format(&value->t, text));
        return;
    }
    case VALUE_ARRAY: /* payload_write_field() knows what is in it */
    case VALUE_LIST: break;
    }
    json_write_null(w);
}

void json_write_raw(struct json_writer *w, const char *text, size_t length)
{
    before_item(w);
    strbuf_append(w->out, text, length);
}
