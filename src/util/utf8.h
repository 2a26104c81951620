/* UTF-8 (RFC 3629) one character at a time: no overlong forms, no surrogates, nothing past
 * U+10FFFF. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The character at the start of `text` (`length` bytes, at least 1). Returns how many bytes it
 * takes, or 0 when it is not UTF-8; *ret_code (may be NULL) is only written when it is.
 */
size_t utf8_decode(const char *text, size_t length, uint32_t *ret_code);
bool utf8_is_valid(const char *text, size_t length);
