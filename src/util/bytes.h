/* A read cursor that cannot run over its end. After a read past the end `failed` stays set and
 * every further read gives 0. Endianness is in the name. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cursor {
    const uint8_t *data; /* borrowed */
    size_t length;
    size_t position;
    bool failed;
};

static inline struct cursor cursor_of(const void *data, size_t length)
{
    return (struct cursor){.data = data, .length = length};
}
static inline size_t cursor_left(const struct cursor *c)
{
    return c->failed ? 0 : c->length - c->position;
}
/* `n` bytes, or NULL when fewer are left */
static inline const uint8_t *cursor_take(struct cursor *c, size_t n)
{
    if (c->failed || n > c->length - c->position) {
        c->failed = true;
        return NULL;
    }
    const uint8_t *p = c->data + c->position;
    c->position += n;
    return p;
}
static inline uint64_t cursor_le(struct cursor *c, unsigned n_bytes)
{
    const uint8_t *p = cursor_take(c, n_bytes);
    uint64_t v = 0;
    for (unsigned i = 0; p && i < n_bytes; i++)
        v |= (uint64_t)p[i] << (8 * i);
    return v;
}
static inline uint64_t cursor_be(struct cursor *c, unsigned n_bytes)
{
    const uint8_t *p = cursor_take(c, n_bytes);
    uint64_t v = 0;
    for (unsigned i = 0; p && i < n_bytes; i++)
        v = v << 8 | p[i];
    return v;
}
static inline uint8_t cursor_u8(struct cursor *c)
{
    return (uint8_t)cursor_le(c, 1);
}
static inline uint16_t cursor_le16(struct cursor *c)
{
    return (uint16_t)cursor_le(c, 2);
}
static inline uint32_t cursor_le32(struct cursor *c)
{
    return (uint32_t)cursor_le(c, 4);
}
static inline void put_le(uint8_t *out, uint64_t value, unsigned n_bytes)
{
    for (unsigned i = 0; i < n_bytes; i++)
        out[i] = (uint8_t)(value >> (8 * i));
}
static inline void put_be(uint8_t *out, uint64_t value, unsigned n_bytes)
{
    for (unsigned i = 0; i < n_bytes; i++)
        out[n_bytes - 1 - i] = (uint8_t)(value >> (8 * i));
}
