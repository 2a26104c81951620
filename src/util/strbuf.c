/* A growing string; see strbuf.h. */
#include "util/strbuf.h"

#include "util/cleanup.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void strbuf_done(struct strbuf *buf)
{
    free(buf->data);
    *buf = STRBUF_INIT;
}

void strbuf_reset(struct strbuf *buf)
{
    buf->length = 0;
    buf->failed = false;
    if (buf->data)
        buf->data[0] = '\0';
}

void strbuf_truncate(struct strbuf *buf, size_t length)
{
    if (length < buf->length) {
        buf->length = length;
        buf->data[length] = '\0';
    }
}

bool strbuf_grow(struct strbuf *buf, size_t more)
{
    if (buf->failed || more > SIZE_MAX / 4 - buf->length) {
        buf->failed = true;
        return false;
    }
    size_t needed = buf->length + more + 1;
    if (needed <= buf->size)
        return true;
    size_t size = MAX_OF(buf->size * 2, (size_t)64);
    while (size < needed)
        size *= 2;
    char *data = realloc(buf->data, size);
    if (!data) {
        buf->failed = true;
        return false;
    }
    buf->data = data;
    buf->size = size;
    return true;
}

void strbuf_append(struct strbuf *buf, const void *data, size_t length)
{
    if (!strbuf_reserve(buf, length))
        return;
    if (length)
        memcpy(buf->data + buf->length, data, length);
    buf->length += length;
    buf->data[buf->length] = '\0';
}

void strbuf_puts(struct strbuf *buf, const char *text)
{
    strbuf_append(buf, text, strlen(text));
}

void strbuf_printf(struct strbuf *buf, const char *format, ...)
{
    va_list ap, again;

    va_start(ap, format);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, format, ap);
    va_end(ap);
    if (n < 0 || !strbuf_reserve(buf, (size_t)n)) {
        buf->failed = true;
    } else {
        vsnprintf(buf->data + buf->length, (size_t)n + 1, format, again);
        buf->length += (size_t)n;
    }
    va_end(again);
}

void strbuf_hex(struct strbuf *buf, const uint8_t *data, size_t length)
{
    static const char digits[] = "0123456789abcdef";

    if (length > SIZE_MAX / 8 || !strbuf_reserve(buf, length * 2)) {
        buf->failed = true;
        return;
    }
    char *out = buf->data + buf->length;
    for (size_t i = 0; i < length; i++) {
        *out++ = digits[data[i] >> 4];
        *out++ = digits[data[i] & 15];
    }
    *out = '\0';
    buf->length += length * 2;
}

void strbuf_u64(struct strbuf *buf, uint64_t value)
{
    char digits[20];
    size_t n = sizeof(digits);

    do {
        digits[--n] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    strbuf_append(buf, digits + n, sizeof(digits) - n);
}

void strbuf_i64(struct strbuf *buf, int64_t value)
{
    if (value < 0) {
        strbuf_putc(buf, '-');
        strbuf_u64(buf, -(uint64_t)value);
    } else {
        strbuf_u64(buf, (uint64_t)value);
    }
}

const char *strbuf_str(const struct strbuf *buf)
{
    return buf->data && buf->length ? buf->data : "";
}

char *strbuf_take(struct strbuf *buf)
{
    if (!strbuf_reserve(buf, 0)) {
        strbuf_done(buf);
        return NULL;
    }
    buf->data[buf->length] = '\0';
    char *text = buf->data;
    *buf = STRBUF_INIT;
    return text;
}
