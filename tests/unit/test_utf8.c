/* UTF-8 as RFC 3629 says, and nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "util/utf8.h"
#include <string.h>

static size_t encode(uint32_t code, char out[static 4])
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    size_t n = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    static const uint8_t heads[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = n; i-- > 1; code >>= 6)
        out[i] = (char)(0x80 | (code & 0x3f));
    out[0] = (char)(heads[n] | code);
    return n;
}

static void every_character_is_decoded_and_only_whole(void **state)
{
    for (uint32_t code = 0; code <= 0x10ffff; code++) {
        char text[4];
        size_t n = encode(code, text);
        uint32_t read = 0x12345678;

        if (code >= 0xd800 && code < 0xe000) {
            assert_int_equal(utf8_decode(text, n, &read), 0);
            assert_int_equal(read, 0x12345678);
            continue;
        }
        if (utf8_decode(text, n, &read) != n || read != code)
            fail_msg("U+%X", code);
        if (n > 1 && utf8_decode(text, n - 1, NULL) != 0)
            fail_msg("U+%X cut off", code);
    }
}

static void what_is_not_utf8_is_refused(void **state)
{
    static const char *const bad[] = {
        "\x80",     "\xbf",         "\xc0\x80",         "\xc1\xbf",         "\xc2\x20",
        "\xc2\xc2", "\xe0\x80\x80", "\xe0\x9f\xbf",     "\xe2\x82\x20",     "\xf0\x80\x80\x80",
        "\xfe",     "\xff",         "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80",
    };

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(utf8_decode(bad[i], strlen(bad[i]), NULL), 0);
        assert_false(utf8_is_valid(bad[i], strlen(bad[i])));
    }
    assert_true(utf8_is_valid("", 0));
    assert_true(utf8_is_valid("a\0\xc3\xa9", 4));
    assert_false(utf8_is_valid("a\0\xc3\xa9", 3));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_character_is_decoded_and_only_whole),
        cmocka_unit_test(what_is_not_utf8_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
