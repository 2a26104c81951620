/* Rounding without libm. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "util/round.h"

static void whole_numbers_are_found_on_each_side(void **state)
{
    static const struct {
        double value, down, up, even, away;
    } cases[] = {
        {0, 0, 0, 0, 0},
        {0.49999999999999994, 0, 1, 0, 0}, /* adding a half to it gives 1 */
        {0.5, 0, 1, 0, 1},
        {1.5, 1, 2, 2, 2},
        {2.5, 2, 3, 2, 3},
        {2.6, 2, 3, 3, 3},
        {-0.5, -1, 0, 0, -1},
        {-1.5, -2, -1, -2, -2},
        {-2.5, -3, -2, -2, -3},
        {-2.4, -3, -2, -2, -2},
        {4503599627370495.5, 4503599627370495, 4503599627370496, 4503599627370496,
         4503599627370496},
        {4503599627370497, 4503599627370497, 4503599627370497, 4503599627370497, 4503599627370497},
        {-1e300, -1e300, -1e300, -1e300, -1e300},
        {INFINITY, INFINITY, INFINITY, INFINITY, INFINITY},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        assert_true(round_down(cases[i].value) == cases[i].down);
        assert_true(round_up(cases[i].value) == cases[i].up);
        assert_true(round_even(cases[i].value) == cases[i].even);
        assert_true(round_away(cases[i].value) == cases[i].away);
    }
    assert_true(isnan(round_down(NAN)) && isnan(round_up(NAN)));
    assert_true(isnan(round_even(NAN)) && isnan(round_away(NAN)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_numbers_are_found_on_each_side),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
