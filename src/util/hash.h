/* A hash of bytes for tables in memory: eight at a time, so that a long D-Bus path costs little.
 * Not for anything that is kept or that must withstand an attacker. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint32_t hash_bytes(const void *data, size_t length)
{
    const uint64_t odd = UINT64_C(0x9e3779b97f4a7c15);
    const uint8_t *p = data;
    uint64_t hash = length * odd, word;

    for (; length >= sizeof(word); p += sizeof(word), length -= sizeof(word)) {
        memcpy(&word, p, sizeof(word));
        hash = (hash ^ word) * odd;
        hash ^= hash >> 32;
    }
    word = 0;
    for (size_t i = 0; i < length; i++)
        word |= (uint64_t)p[i] << 8 * i;
    hash = (hash ^ word) * odd;
    hash ^= hash >> 29;
    hash *= odd;
    return (uint32_t)(hash >> 32);
}
