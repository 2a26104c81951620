/* The growing string: what is appended is there, and a failure is not lost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "util/strbuf.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static void everything_appended_is_there_in_order(void **state)
{
    struct strbuf buf = STRBUF_INIT;

    assert_string_equal(strbuf_str(&buf), "");
    strbuf_puts(&buf, "a");
    strbuf_putc(&buf, 'b');
    strbuf_append(&buf, "c\0d", 3);
    strbuf_append(&buf, NULL, 0);
    strbuf_printf(&buf, "%s-%d", "e", 7);
    strbuf_hex(&buf, (const uint8_t *)"\x00\xaf", 2);
    strbuf_u64(&buf, UINT64_MAX);
    strbuf_u64(&buf, 0);
    strbuf_i64(&buf, INT64_MIN);
    assert_true(strbuf_ok(&buf));
    assert_int_equal(buf.length, 3 + 2 + 3 + 4 + 20 + 1 + 20);
    assert_memory_equal(buf.data, "abc\0de-700af184467440737095516150-9223372036854775808", 54);
    strbuf_done(&buf);
    assert_null(buf.data);
}

static void it_grows_as_far_as_needed(void **state)
{
    struct strbuf buf = STRBUF_INIT;

    for (int i = 0; i < 100000; i++)
        strbuf_putc(&buf, (char)('a' + i % 26));
    assert_true(strbuf_ok(&buf));
    assert_int_equal(buf.length, 100000);
    for (int i = 0; i < 100000; i++)
        assert_int_equal(buf.data[i], 'a' + i % 26);
    strbuf_printf(&buf, "%5000d", 1);
    assert_int_equal(buf.length, 105000);
    assert_int_equal(strlen(buf.data), 105000);
    strbuf_done(&buf);
}

static void reset_keeps_the_memory_and_forgets_the_text(void **state)
{
    struct strbuf buf = STRBUF_INIT;

    strbuf_puts(&buf, "something that takes room");
    const char *data = buf.data;
    strbuf_reset(&buf);
    assert_string_equal(strbuf_str(&buf), "");
    strbuf_puts(&buf, "short");
    assert_ptr_equal(buf.data, data);
    assert_string_equal(strbuf_str(&buf), "short");
    strbuf_truncate(&buf, 9);
    assert_string_equal(strbuf_str(&buf), "short");
    strbuf_truncate(&buf, 2);
    assert_string_equal(strbuf_str(&buf), "sh");
    strbuf_done(&buf);
}

static void a_failure_stays_until_reset(void **state)
{
    struct strbuf buf = STRBUF_INIT;

    strbuf_puts(&buf, "before");
    assert_false(strbuf_reserve(&buf, SIZE_MAX - 3));
    assert_false(strbuf_ok(&buf));
    strbuf_puts(&buf, "after");
    assert_string_equal(strbuf_str(&buf), "before");
    assert_null(strbuf_take(&buf));
    strbuf_reset(&buf);
    assert_true(strbuf_ok(&buf));
    strbuf_hex(&buf, (const uint8_t *)"", SIZE_MAX / 4);
    assert_false(strbuf_ok(&buf));
    strbuf_done(&buf);
}

static void taking_hands_over_and_leaves_an_empty_one(void **state)
{
    struct strbuf buf = STRBUF_INIT;

    char *empty = strbuf_take(&buf);
    assert_string_equal(empty, "");
    strbuf_puts(&buf, "mine");
    char *text = strbuf_take(&buf);
    assert_string_equal(text, "mine");
    assert_null(buf.data);
    assert_int_equal(buf.length, 0);
    free(empty);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_appended_is_there_in_order),
        cmocka_unit_test(it_grows_as_far_as_needed),
        cmocka_unit_test(reset_keeps_the_memory_and_forgets_the_text),
        cmocka_unit_test(a_failure_stays_until_reset),
        cmocka_unit_test(taking_hands_over_and_leaves_an_empty_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
