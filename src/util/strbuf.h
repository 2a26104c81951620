/*
 * A growing string. A failed allocation sets `failed` and makes every later append a no-op, so that
 * only the end of a construction has to check (strbuf_ok()).
 */
#pragma once

#include "util/err.h"
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct strbuf {
    char *data; /* owned; NUL-terminated once anything was appended; may be NULL before */
    size_t length;
    size_t size;
    bool failed;
};

#define STRBUF_INIT ((struct strbuf){0})

void strbuf_done(struct strbuf *buf);
/* empties it and keeps its memory for reuse; also clears `failed` */
void strbuf_reset(struct strbuf *buf);
void strbuf_truncate(struct strbuf *buf, size_t length);
bool strbuf_grow(struct strbuf *buf, size_t more);
/* room for `more` bytes and a NUL */
static inline bool strbuf_reserve(struct strbuf *buf, size_t more)
{
    return (!buf->failed && buf->size - buf->length > more) || strbuf_grow(buf, more);
}
void strbuf_append(struct strbuf *buf, const void *data, size_t length);
void strbuf_puts(struct strbuf *buf, const char *text);
static inline void strbuf_putc(struct strbuf *buf, char c)
{
    if (!buf->failed && buf->size - buf->length > 1) {
        buf->data[buf->length++] = c;
        buf->data[buf->length] = '\0';
    } else {
        strbuf_append(buf, &c, 1);
    }
}
void strbuf_printf(struct strbuf *buf, const char *format, ...) PRINTF_LIKE(2, 3);
void strbuf_hex(struct strbuf *buf, const uint8_t *data, size_t length); /* lower case */
void strbuf_u64(struct strbuf *buf, uint64_t value);
void strbuf_i64(struct strbuf *buf, int64_t value);
/* the text ("" if empty), borrowed until the next change */
const char *strbuf_str(const struct strbuf *buf);
/* hands the text over (never NULL unless it failed) and leaves an empty buffer */
char *strbuf_take(struct strbuf *buf);
static inline bool strbuf_ok(const struct strbuf *buf)
{
    return !buf->failed;
}
