/* UTF-8; see utf8.h. Must not know what the text is for. */
#include "util/utf8.h"

size_t utf8_decode(const char *text, size_t length, uint32_t *ret_code)
{
    const uint8_t *p = (const uint8_t *)text;
    uint32_t code = p[0], least;
    size_t n;

    if (p[0] < 0x80) {
        n = 1;
        least = 0;
    } else if (p[0] >= 0xc2 && p[0] < 0xe0) {
        n = 2;
        least = 0x80;
        code &= 0x1f;
    } else if (p[0] >= 0xe0 && p[0] < 0xf0) {
        n = 3;
        least = 0x800;
        code &= 0x0f;
    } else if (p[0] >= 0xf0 && p[0] < 0xf5) {
        n = 4;
        least = 0x10000;
        code &= 0x07;
    } else {
        return 0;
    }
    if (n > length)
        return 0;
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (p[i] & 0x3f);
    }
    if (code < least || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
        return 0;
    if (ret_code)
        *ret_code = code;
    return n;
}

bool utf8_is_valid(const char *text, size_t length)
{
    while (length) {
        size_t n = utf8_decode(text, length, NULL);
        if (!n)
            return false;
        text += n;
        length -= n;
    }
    return true;
}
