/* Numbers from text: all of it or an error. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "util/num.h"
#include <float.h>
#include <math.h>
#include <string.h>

static void whole_numbers_are_read_to_their_limits(void **state)
{
    uint64_t u = 1;
    uint32_t u32 = 1;
    int64_t i = 1;

    assert_int_equal(num_parse_u64("0", &u), 0);
    assert_int_equal(u, 0);
    assert_int_equal(num_parse_u64("18446744073709551615", &u), 0);
    assert_true(u == UINT64_MAX);
    assert_int_equal(num_parse_u64("0xffffffffffffffff", &u), 0);
    assert_true(u == UINT64_MAX);
    assert_int_equal(num_parse_u64("0XaB", &u), 0);
    assert_int_equal(u, 0xab);
    assert_int_equal(num_parse_u64("007", &u), 0); /* never octal */
    assert_int_equal(u, 7);
    assert_int_equal(num_parse_u32("4294967295", &u32), 0);
    assert_int_equal(u32, UINT32_MAX);
    assert_int_equal(num_parse_i64("9223372036854775807", &i), 0);
    assert_true(i == INT64_MAX);
    assert_int_equal(num_parse_i64("-9223372036854775808", &i), 0);
    assert_true(i == INT64_MIN);
    assert_int_equal(num_parse_i64("-0x8000000000000000", &i), 0);
    assert_true(i == INT64_MIN);
    assert_int_equal(num_parse_i64("+5", &i), 0);
    assert_int_equal(i, 5);
}

static void what_does_not_fit_is_out_of_range(void **state)
{
    uint64_t u = 7;
    uint32_t u32 = 7;
    int64_t i = 7;

    assert_int_equal(num_parse_u64("18446744073709551616", &u), -ERANGE);
    assert_int_equal(num_parse_u64("99999999999999999999999", &u), -ERANGE);
    assert_int_equal(num_parse_u64("0x10000000000000000", &u), -ERANGE);
    assert_int_equal(num_parse_u32("4294967296", &u32), -ERANGE);
    assert_int_equal(num_parse_i64("9223372036854775808", &i), -ERANGE);
    assert_int_equal(num_parse_i64("-9223372036854775809", &i), -ERANGE);
    assert_true(u == 7 && u32 == 7 && i == 7); /* untouched on failure */
}

static void what_is_no_number_is_refused(void **state)
{
    static const char *const bad[] = {"",    " ",     "-",   "+",    "0x",  "x",   "1 ",
                                      " 1",  "1a",    "0xg", "1.0",  "--1", "- 1", "\xb2",
                                      "1,0", "1_000", "-0x", "0x-1", "+-1"};
    uint64_t u;
    uint32_t u32;
    int64_t i;

    for (size_t k = 0; k < ARRAY_SIZE(bad); k++) {
        assert_int_equal(num_parse_u64(bad[k], &u), -EINVAL);
        assert_int_equal(num_parse_u32(bad[k], &u32), -EINVAL);
        assert_int_equal(num_parse_i64(bad[k], &i), -EINVAL);
    }
    assert_int_equal(num_parse_u64("-1", &u), -EINVAL);
    assert_int_equal(num_parse_u64("+1", &u), -EINVAL);
}

static void doubles_are_finite_and_decimal(void **state)
{
    static const char *const bad[] = {"",   ".",  "e5",  "1e",    "1e+", "nan", "inf",  "0x1p3",
                                      " 1", "1 ", "1,5", "1.2.3", "-",   "--1", "1e5x", "infinity"};
    double d;

    assert_int_equal(num_parse_double("-1.5e-3", &d), 0);
    assert_true(d == -0.0015);
    assert_int_equal(num_parse_double(".5", &d), 0);
    assert_true(d == 0.5);
    assert_int_equal(num_parse_double("5.", &d), 0);
    assert_true(d == 5);
    assert_int_equal(num_parse_double("1.7976931348623157e308", &d), 0);
    assert_true(d == DBL_MAX);
    assert_int_equal(num_parse_double("1e309", &d), -ERANGE);
    assert_int_equal(num_parse_double("1e-400", &d), 0); /* rounds to 0 */
    assert_true(d == 0);
    for (size_t k = 0; k < ARRAY_SIZE(bad); k++)
        assert_int_equal(num_parse_double(bad[k], &d), -EINVAL);
}

static void decimals_are_exact(void **state)
{
    static const struct {
        const char *text;
        int64_t mantissa;
        uint8_t decimals;
    } table[] = {
        {"0.01", 1, 2},
        {"21.480", 2148, 2},
        {"-40", -40, 0},
        {"+1.5", 15, 1},
        {"1e-2", 1, 2},
        {"1.50e1", 15, 0},
        {"1e3", 1000, 0},
        {"0", 0, 0},
        {"-0.000", 0, 0},
        {"0e99", 0, 0},
        {"0.000000000000000001", 1, 18},
        {"9223372036854775807", INT64_MAX, 0},
        {"9.223372036854775807", INT64_MAX, 18},
        {"-9.223372036854775807", -INT64_MAX, 18},
        {"-9.223372036854775808", INT64_MIN, 18},
        {"-92233720368547758.08", INT64_MIN, 2},
        {"0.0009765625", 9765625, 10},
        {"0.10000000000000000", 1, 1},
        {"100", 100, 0}, /* zeros before the point stay */
    };
    static const char *const large[] = {"1e-19",
                                        "0.0000000000000000001",
                                        "9223372036854775808",
                                        "-9223372036854775809",
                                        "1e19",
                                        "1e1000",
                                        "1e-1000",
                                        "1e99999999999999999999",
                                        "0.10000000000000000000000000000000000001"};
    static const char *const bad[] = {"", "x", "1e", "0x10", "1.2.3", "nan", " 1"};
    struct decimal value;

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        assert_int_equal(num_parse_decimal(table[i].text, &value), 0);
        assert_true(value.mantissa == table[i].mantissa);
        assert_int_equal(value.decimals, table[i].decimals);
    }
    for (size_t i = 0; i < ARRAY_SIZE(large); i++)
        assert_int_equal(num_parse_decimal(large[i], &value), -ERANGE);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(num_parse_decimal(bad[i], &value), -EINVAL);
}

static void hex_is_whole_bytes(void **state)
{
    static const char *const bad[] = {"0", "012", "0g", "0x01", "0 1", "01-02", "01 2"};
    uint8_t buf[4];
    size_t n;

    assert_int_equal(num_parse_hex("00aFFf", buf, sizeof(buf), &n), 0);
    assert_int_equal(n, 3);
    assert_memory_equal(buf, "\x00\xaf\xff", 3);
    assert_int_equal(num_parse_hex("01:02 03", buf, sizeof(buf), &n), 0);
    assert_int_equal(n, 3);
    assert_int_equal(num_parse_hex("", buf, sizeof(buf), &n), 0);
    assert_int_equal(n, 0);
    assert_int_equal(num_parse_hex("01020304", buf, sizeof(buf), &n), 0);
    assert_int_equal(num_parse_hex("0102030405", buf, sizeof(buf), &n), -E2BIG);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(num_parse_hex(bad[i], buf, sizeof(buf), &n), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_numbers_are_read_to_their_limits),
        cmocka_unit_test(what_does_not_fit_is_out_of_range),
        cmocka_unit_test(what_is_no_number_is_refused),
        cmocka_unit_test(doubles_are_finite_and_decimal),
        cmocka_unit_test(decimals_are_exact),
        cmocka_unit_test(hex_is_whole_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
