/* The JSON writer: every byte that leaves it is JSON, and numbers are exact. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/json.h"
#include <float.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void objects_and_arrays_get_their_commas(void **state)
{
    struct strbuf out = STRBUF_INIT;
    struct json_writer w = json_writer_to(&out);

    json_write_object_begin(&w);
    json_write_key(&w, "a");
    json_write_int(&w, -1);
    json_write_key(&w, "b");
    json_write_array_begin(&w);
    json_write_array_begin(&w);
    json_write_array_end(&w);
    json_write_object_begin(&w);
    json_write_object_end(&w);
    json_write_bool(&w, true);
    json_write_bool(&w, false);
    json_write_null(&w);
    json_write_raw(&w, "{\"x\":1}", 7);
    json_write_array_end(&w);
    json_write_key(&w, "c");
    json_write_object_begin(&w);
    json_write_key(&w, "d");
    json_write_string(&w, NULL);
    json_write_object_end(&w);
    json_write_key(&w, "e");
    json_write_uint(&w, 7);
    json_write_object_end(&w);
    assert_string_equal(strbuf_str(&out),
                        "{\"a\":-1,\"b\":[[],{},true,false,null,{\"x\":1}],\"c\":{\"d\":null},"
                        "\"e\":7}");
    strbuf_done(&out);
}

static const char *string_n(struct strbuf *out, const char *text, size_t length)
{
    struct json_writer w = json_writer_to(out);

    strbuf_reset(out);
    json_write_string_n(&w, text, length);
    return strbuf_str(out);
}

static void text_is_escaped_and_made_utf8(void **state)
{
    static const struct {
        const char *text;
        size_t length;
        const char *json;
    } table[] = {
        {"", 0, "\"\""},
        {"plain", 5, "\"plain\""},
        {"a\"b\\c/d", 7, "\"a\\\"b\\\\c/d\""},
        {"\b\f\n\r\t", 5, "\"\\b\\f\\n\\r\\t\""},
        {"\0\x1f\x7f", 3, "\"\\u0000\\u001f\x7f\""},
        {"\xc2\xb0\x43", 3, "\"\xc2\xb0\x43\""},
        {"\xf0\x9f\x98\x80", 4, "\"\xf0\x9f\x98\x80\""},
        {"\xff", 1, "\"\xef\xbf\xbd\""},
        {"a\xc3", 2, "\"a\xef\xbf\xbd\""}, /* cut off */
        {"\xc0\x80", 2, "\"\xef\xbf\xbd\xef\xbf\xbd\""},
        {"\xed\xa0\x80", 3, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
        {"\xf4\x90\x80\x80x", 5, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdx\""},
    };
    struct strbuf out = STRBUF_INIT;

    for (size_t i = 0; i < ARRAY_SIZE(table); i++)
        assert_string_equal(string_n(&out, table[i].text, table[i].length), table[i].json);
    strbuf_done(&out);
}

static void any_bytes_become_text_that_a_parser_accepts(void **state)
{
    struct strbuf out = STRBUF_INIT;
    uint32_t seed = 1;

    for (int i = 0; i < 20000; i++) {
        char text[12];
        size_t length = (size_t)i % sizeof(text);

        for (size_t k = 0; k < length; k++) {
            seed = seed * 1664525 + 1013904223;
            /* bytes near the edges of UTF-8 */
            text[k] = "\x00\x22\x5c\x7f\x80\x8f\x90\x9f\xa0\xbf\xc1\xc2\xdf\xe0\xed\xef\xf0\xf4"
                      "\xf5\xff"[seed >> 16 & 15] ^
                      (char)(seed >> 28);
        }
        string_n(&out, text, length);
        json_error_t error;
        json_t *json =
            json_loadb(strbuf_str(&out), out.length, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
        if (!json)
            fail_msg("%s: %s", strbuf_str(&out), error.text);
        json_decref(json);
    }
    strbuf_done(&out);
}

static void integers_that_doubles_would_round_are_strings(void **state)
{
    struct strbuf out = STRBUF_INIT;
    struct json_writer w = json_writer_to(&out);

    json_write_array_begin(&w);
    json_write_uint(&w, 9007199254740991);
    json_write_uint(&w, 9007199254740992);
    json_write_uint(&w, UINT64_MAX);
    json_write_int(&w, -9007199254740991);
    json_write_int(&w, -9007199254740992);
    json_write_int(&w, INT64_MIN);
    json_write_int(&w, 0);
    json_write_decimal(&w, INT64_MAX, 0);
    json_write_array_end(&w);
    assert_string_equal(strbuf_str(&out),
                        "[9007199254740991,\"9007199254740992\",\"18446744073709551615\","
                        "-9007199254740991,\"-9007199254740992\",\"-9223372036854775808\",0,"
                        "\"9223372036854775807\"]");
    strbuf_done(&out);
}

static void decimals_are_exact_and_lose_their_zeros(void **state)
{
    static const struct {
        int64_t mantissa;
        uint8_t decimals;
        const char *json;
    } table[] = {
        {2148, 2, "21.48"},
        {2150, 2, "21.5"},
        {2100, 2, "21"},
        {0, 2, "0"},
        {-5, 1, "-0.5"},
        {-1, 3, "-0.001"},
        {1, 18, "0.000000000000000001"},
        {INT64_MAX, 18, "9.223372036854775807"},
        {INT64_MIN, 1, "-922337203685477580.8"},
        {INT64_MIN, 18, "-9.223372036854775808"},
        {1000000, 6, "1"},
        {25, 20, "25e-20"},
    };
    struct strbuf out = STRBUF_INIT;

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        struct json_writer w = json_writer_to(&out);
        strbuf_reset(&out);
        json_write_decimal(&w, table[i].mantissa, table[i].decimals);
        assert_string_equal(strbuf_str(&out), table[i].json);
    }
    strbuf_done(&out);
}

static void doubles_are_short_and_always_json(void **state)
{
    static const struct {
        double value;
        uint8_t decimals;
        const char *json;
    } table[] = {
        {0.1, JSON_SHORTEST, "0.1"},
        {-0.0, JSON_SHORTEST, "0"},
        {1e15, JSON_SHORTEST, "1000000000000000"},
        {1e22, JSON_SHORTEST, "1e+22"},
        {1.0 / 3, JSON_SHORTEST, "0.3333333333333333"},
        {2.0 / 3, JSON_SHORTEST, "0.6666666666666666"},
        {DBL_MAX, JSON_SHORTEST, "1.7976931348623157e+308"},
        {5e-324, JSON_SHORTEST, "5e-324"},
        {21.484, 2, "21.48"},
        {21.485, 2, "21.49"},
        {-21.485, 2, "-21.49"},
        {21, 2, "21"},
        {0.004, 2, "0"},
        {-0.004, 2, "0"},
        {2.0 / 3, 3, "0.667"},
        {99.999, 1, "100"},
        {123456789012.0, 18, "123456789012"},
        {INFINITY, JSON_SHORTEST, "null"},
        {-INFINITY, 2, "null"},
        {NAN, 2, "null"},
    };
    struct strbuf out = STRBUF_INIT;

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        struct json_writer w = json_writer_to(&out);
        strbuf_reset(&out);
        json_write_double(&w, table[i].value, table[i].decimals);
        assert_string_equal(strbuf_str(&out), table[i].json);
    }
    strbuf_done(&out);
}

static void every_kind_of_value_is_written(void **state)
{
    static const struct value values[] = {
        {.kind = VALUE_ABSENT},
        {.kind = VALUE_NULL},
        {.kind = VALUE_BOOL, .b = true},
        {.kind = VALUE_UINT, .u = 1},
        {.kind = VALUE_INT, .i = -1},
        {.kind = VALUE_DECIMAL, .i = 15, .decimals = 1},
        {.kind = VALUE_FLOAT, .d = 0.25, .decimals = JSON_SHORTEST},
        {.kind = VALUE_STRING, .s = {"x\"y", 3}},
        {.kind = VALUE_BYTES, .s = {"\x01\xff", 2}},
    };
    struct strbuf out = STRBUF_INIT;
    struct json_writer w = json_writer_to(&out);

    json_write_array_begin(&w);
    for (size_t i = 0; i < ARRAY_SIZE(values); i++)
        json_write_value(&w, &values[i]);
    json_write_time(&w, INT64_C(1795402800123999));
    json_write_hex(&w, (const uint8_t *)"\x0a\x1b", 2);
    json_write_array_end(&w);
    assert_string_equal(strbuf_str(&out), "[null,null,true,1,-1,1.5,0.25,\"x\\\"y\",\"01ff\","
                                          "\"2026-11-23T03:00:00.123Z\",\"0a1b\"]");
    strbuf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(objects_and_arrays_get_their_commas),
        cmocka_unit_test(text_is_escaped_and_made_utf8),
        cmocka_unit_test(any_bytes_become_text_that_a_parser_accepts),
        cmocka_unit_test(integers_that_doubles_would_round_are_strings),
        cmocka_unit_test(decimals_are_exact_and_lose_their_zeros),
        cmocka_unit_test(doubles_are_short_and_always_json),
        cmocka_unit_test(every_kind_of_value_is_written),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
