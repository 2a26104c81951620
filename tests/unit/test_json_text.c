/* JSON text: numbers taken out with all their digits, and members found. */
#include "core/json_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct json_span span(const char *text)
{
    return (struct json_span){text, strlen(text)};
}

static void numbers_are_replaced_by_their_index(void **state)
{
    struct strbuf out = STRBUF_INIT;
    struct json_span numbers[4];

    assert_int_equal(
        json_text_index(span("{\"a1\":-21.50,\"b\":[18446744073709551616,1e3],\"c\":\"7\\\"8\"}"),
                        2, numbers, 4, &out),
        0);
    assert_string_equal(strbuf_str(&out), "{\"a1\":0,\"b\":[1,2],\"c\":\"7\\\"8\"}");
    assert_true(json_text_is(numbers[0], "-21.50"));
    assert_true(json_text_is(numbers[1], "18446744073709551616"));
    assert_true(json_text_is(numbers[2], "1e3"));
    strbuf_done(&out);
}

static void what_is_no_number_too_many_or_too_deep_is_refused(void **state)
{
    static const struct {
        const char *text;
        int error;
    } cases[] = {
        {"[01]", JSON_TEXT_E_NUMBER},
        {"[1.]", JSON_TEXT_E_NUMBER},
        {"[-]", JSON_TEXT_E_NUMBER},
        {"[1a]", JSON_TEXT_E_NUMBER},
        {"[1,2,3]", JSON_TEXT_E_NUMBERS},
        {"[1,2]", 0},
        {"[[1]]", 0},
        {"[[[]]]", JSON_TEXT_E_DEPTH},
        {"[[],[]]", 0},
        {"\"[[[\"", 0},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct strbuf out = STRBUF_INIT;
        struct json_span numbers[2];
        if (json_text_index(span(cases[i].text), 2, numbers, 2, &out) != cases[i].error)
            fail_msg("%s", cases[i].text);
        strbuf_done(&out);
    }
}

static void a_member_is_found_with_its_text(void **state)
{
    const char *text = "{ \"other\": {\"a\": [1, \"}\"]}, \"a\" : 21.50 ,\"b\":{\"x\":\"\\\"\"}, "
                       "\"s\":\"a,b\"}";
    struct json_span value;

    assert_true(json_text_member(span(text), "a", &value));
    assert_true(json_text_is(value, "21.50"));
    assert_true(json_text_member(span(text), "b", &value));
    assert_true(json_text_is(value, "{\"x\":\"\\\"\"}"));
    assert_true(json_text_member(span(text), "s", &value));
    assert_true(json_text_is(value, "\"a,b\""));
    assert_false(json_text_member(span(text), "x", &value));
    assert_false(json_text_member(span("{}"), "a", &value));
    assert_false(json_text_member(span("{\"\\u0061\":1}"), "a", &value));
}

/* it is only asked about what a parser took, but must stay within the text anyway */
static void no_text_leads_beyond_its_end(void **state)
{
    static const char letters[] = "{}[]\":,\\a1 ";
    unsigned seed = 1;

    for (int round = 0; round < 20000; round++) {
        size_t length = (size_t)(rand_r(&seed) % 12);
        char *text = malloc(length ? length : 1); /* exactly so long, so that ASan sees */
        struct json_span value;
        for (size_t i = 0; i < length; i++)
            text[i] = letters[(size_t)rand_r(&seed) % (sizeof(letters) - 1)];
        if (json_text_member((struct json_span){text, length}, "a", &value))
            assert_true(value.data >= text && value.data + value.length <= text + length);
        free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_replaced_by_their_index),
        cmocka_unit_test(what_is_no_number_too_many_or_too_deep_is_refused),
        cmocka_unit_test(a_member_is_found_with_its_text),
        cmocka_unit_test(no_text_leads_beyond_its_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
