/* Exact decimals: right to the last digit, or refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "helper_schema.h"
#include "util/decimal.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static struct decimal dec(int64_t mantissa, uint8_t decimals)
{
    return (struct decimal){mantissa, decimals};
}

static void assert_decimal(struct decimal value, const char *text)
{
    char buf[DECIMAL_TEXT_SIZE];

    assert_int_equal(decimal_format(value, buf), strlen(text));
    assert_string_equal(buf, text);
}

static void text_has_no_zeros_at_the_end(void **state)
{
    assert_decimal(dec(2148, 2), "21.48");
    assert_decimal(dec(2150, 2), "21.5");
    assert_decimal(dec(2100, 2), "21");
    assert_decimal(dec(-5, 3), "-0.005");
    assert_decimal(dec(0, 18), "0");
    assert_decimal(dec(INT64_MIN, 18), "-9.223372036854775808");
    assert_decimal(dec(INT64_MIN, 0), "-9223372036854775808");
    assert_decimal(dec(-1, 18), "-0.000000000000000001");
}

static void products_and_sums_are_exact_or_refused(void **state)
{
    struct decimal value;

    assert_true(decimal_multiply(dec(2148, 0), dec(1, 2), &value));
    assert_decimal(value, "21.48");
    assert_true(decimal_multiply(dec(INT64_MAX, 0), dec(10, 1), &value));
    assert_decimal(value, "9223372036854775807");
    assert_true(decimal_multiply(dec(5, 18), dec(2, 1), &value));
    assert_decimal(value, "0.000000000000000001");
    assert_false(decimal_multiply(dec(1, 18), dec(1, 1), &value));
    assert_false(decimal_multiply(dec(INT64_MAX, 0), dec(2, 0), &value));
    assert_true(decimal_add(dec(1, 1), dec(2, 2), &value));
    assert_decimal(value, "0.12");
    assert_true(decimal_add(dec(INT64_MAX, 0), dec(INT64_MIN, 0), &value));
    assert_decimal(value, "-1");
    assert_false(decimal_add(dec(INT64_MAX, 0), dec(1, 0), &value));
    assert_false(decimal_add(dec(INT64_MAX, 0), dec(1, 1), &value));
    assert_false(decimal_negate(dec(INT64_MIN, 0), &value));
}

static void quotients_have_an_end_or_are_refused(void **state)
{
    struct decimal value;

    assert_true(decimal_divide(dec(2148, 2), dec(1, 2), &value));
    assert_decimal(value, "2148");
    assert_true(decimal_divide(dec(1, 0), dec(-8, 0), &value));
    assert_decimal(value, "-0.125");
    assert_true(decimal_divide(dec(6, 0), dec(3, 2), &value));
    assert_decimal(value, "200");
    assert_true(decimal_divide(dec(0, 3), dec(7, 0), &value));
    assert_decimal(value, "0");
    assert_true(decimal_divide(dec(INT64_MIN + 1, 0), dec(1, 0), &value));
    assert_decimal(value, "-9223372036854775807");
    assert_false(decimal_divide(dec(1, 0), dec(3, 0), &value));
    assert_false(decimal_divide(dec(1, 0), dec(INT64_MAX, 0), &value));
    assert_false(decimal_divide(dec(1, 18), dec(2, 0), &value));
}

static void any_two_can_be_compared(void **state)
{
    assert_int_equal(decimal_compare(dec(1, 0), dec(10, 1)), 0);
    assert_int_equal(decimal_compare(dec(INT64_MAX, 0), dec(INT64_MAX, 18)), 1);
    assert_int_equal(decimal_compare(dec(INT64_MIN, 0), dec(INT64_MAX, 18)), -1);
    assert_int_equal(decimal_compare(dec(-15, 1), dec(-14, 1)), -1);
    assert_int_equal(decimal_compare(dec(-5, 1), dec(5, 1)), -1);
    assert_int_equal(decimal_compare(dec(1, 18), dec(0, 0)), 1);
    assert_int_equal(decimal_compare(dec(1000000000000000001, 18), dec(1, 0)), 1);
}

static void division_rounds_halves_away_from_zero(void **state)
{
    static const int64_t table[][3] = {
        {5, 2, 3},
        {-5, 2, -3},
        {5, -2, -3},
        {-5, -2, 3},
        {4, 3, 1},
        {-4, 3, -1},
        {1, 2, 1},
        {1, 3, 0},
        {INT64_MAX, 1, INT64_MAX},
        {INT64_MIN, 1, INT64_MIN},
        {INT64_MIN, 2, INT64_MIN / 2},
        {INT64_MAX, INT64_MAX, 1},
        {INT64_MIN, INT64_MAX, -1},
        {7, -1, -7},
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++)
        assert_true(decimal_round_div(table[i][0], table[i][1]) == table[i][2]);
}

static void powers_of_ten_need_room(void **state)
{
    struct decimal value;
    int64_t mantissa;

    assert_true(decimal_from_scientific(5, 18, &value));
    assert_decimal(value, "5000000000000000000");
    assert_false(decimal_from_scientific(10, 18, &value));
    assert_false(decimal_from_scientific(1, 19, &value));
    assert_true(decimal_from_scientific(1, -18, &value));
    assert_false(decimal_from_scientific(1, -19, &value));
    assert_true(decimal_from_scientific(100, -20, &value));
    assert_decimal(value, "0.000000000000000001");
    assert_true(decimal_from_scientific(0, 1000, &value));
    assert_decimal(value, "0");
    assert_true(decimal_align(dec(15, 1), 3, &mantissa));
    assert_int_equal(mantissa, 1500);
    assert_true(decimal_align(dec(1500, 3), 1, &mantissa));
    assert_int_equal(mantissa, 15);
    assert_false(decimal_align(dec(1501, 3), 1, &mantissa));
    assert_false(decimal_align(dec(INT64_MAX, 0), 1, &mantissa));
}

static void a_double_becomes_the_shortest_decimal_that_reads_back(void **state)
{
    uint32_t seed = 3;
    char text[DECIMAL_TEXT_SIZE];
    struct decimal value;
    int found = 0;

    assert_true(decimal_from_double(0.1, &value));
    assert_decimal(value, "0.1");
    assert_true(decimal_from_float(0.1f, &value));
    assert_decimal(value, "0.1");
    assert_false(decimal_from_double(0.1f, &value)); /* 0.10000000149011612 */
    assert_true(decimal_from_double(-9007199254740992.0, &value));
    assert_decimal(value, "-9007199254740992");
    assert_false(decimal_from_double(1e300, &value));
    assert_false(decimal_from_double(1e-30, &value));
    assert_false(decimal_from_double(INFINITY, &value));
    assert_false(decimal_from_float(NAN, &value));
    for (int i = 0; i < 20000; i++) {
        double number = (double)(int32_t)random_u32(&seed) / (1 + random_u32(&seed) % 100000);
        if (decimal_from_double(number, &value)) {
            decimal_format(value, text);
            assert_true(strtod(text, NULL) == number);
            found++;
        }
        assert_true(decimal_from_float((float)number, &value) || fabs(number) < 1e-9);
        decimal_format(value, text);
        assert_true(strtof(text, NULL) == (float)number);
    }
    assert_true(found > 1000);
}

static void a_double_is_rounded_as_its_digits_say(void **state)
{
    struct decimal value;

    assert_true(decimal_round_double(0.285, 2, &value)); /* the double is a little less */
    assert_decimal(value, "0.29");
    assert_true(decimal_round_double(-0.285, 2, &value));
    assert_decimal(value, "-0.29");
    assert_true(decimal_round_double(1.0 / 3, 4, &value));
    assert_decimal(value, "0.3333");
    assert_true(decimal_round_double(7, 0, &value));
    assert_decimal(value, "7");
    assert_false(decimal_round_double(1e300, 2, &value));
    assert_true(decimal_round_double(1.0 / 3, 18, &value));
    assert_decimal(value, "0.3333333333333333");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_has_no_zeros_at_the_end),
        cmocka_unit_test(products_and_sums_are_exact_or_refused),
        cmocka_unit_test(quotients_have_an_end_or_are_refused),
        cmocka_unit_test(any_two_can_be_compared),
        cmocka_unit_test(division_rounds_halves_away_from_zero),
        cmocka_unit_test(powers_of_ten_need_room),
        cmocka_unit_test(a_double_becomes_the_shortest_decimal_that_reads_back),
        cmocka_unit_test(a_double_is_rounded_as_its_digits_say),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
