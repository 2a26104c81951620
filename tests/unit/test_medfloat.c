/* The floats of medical devices, IEEE 11073-20601. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/medfloat.h"
#include "helper_schema.h"

static void reserved_values_are_no_numbers_and_the_others_are(void **state)
{
    struct scientific value;
    int reserved = 0;

    for (uint32_t raw = 0; raw < 65536; raw++)
        reserved += !medfloat_decode(MEDFLOAT_SHORT, raw, &value);
    assert_int_equal(reserved, 5);
    assert_false(medfloat_decode(MEDFLOAT_SHORT, medfloat_nan(MEDFLOAT_SHORT), &value));
    assert_int_equal(medfloat_nan(MEDFLOAT_SHORT), 0x7ff);
    assert_int_equal(medfloat_nan(MEDFLOAT_LONG), 0x7fffff);
    for (uint32_t raw = 0x7ffffe; raw <= 0x800002; raw++)
        assert_false(medfloat_decode(MEDFLOAT_LONG, raw, &value));
    assert_true(medfloat_decode(MEDFLOAT_LONG, 0x7ffffd, &value));
    assert_true(medfloat_decode(MEDFLOAT_LONG, 0x800003, &value));
}

static void mantissa_and_exponent_are_signed(void **state)
{
    struct scientific value;

    assert_true(medfloat_decode(MEDFLOAT_LONG, 0xff000172, &value)); /* 37.0 */
    assert_int_equal(value.mantissa, 370);
    assert_int_equal(value.exponent, -1);
    assert_true(medfloat_decode(MEDFLOAT_SHORT, 0xffff, &value));
    assert_int_equal(value.mantissa, -1);
    assert_int_equal(value.exponent, -1);
    assert_true(medfloat_decode(MEDFLOAT_SHORT, 0x8801, &value));
    assert_int_equal(value.mantissa, -2047);
    assert_int_equal(value.exponent, -8);
    assert_true(medfloat_decode(MEDFLOAT_LONG, 0x80800000, &value));
    assert_int_equal(value.mantissa, -8388608);
    assert_int_equal(value.exponent, -128);
}

/* the same number, whatever the digits */
static bool is_same(struct scientific a, struct scientific b)
{
    if (!a.mantissa || !b.mantissa)
        return a.mantissa == b.mantissa;
    for (; a.mantissa % 10 == 0; a.exponent++)
        a.mantissa /= 10;
    for (; b.mantissa % 10 == 0; b.exponent++)
        b.mantissa /= 10;
    return a.mantissa == b.mantissa && a.exponent == b.exponent;
}

static void whatever_decodes_encodes_to_the_same_number(void **state)
{
    struct scientific value, again;
    uint32_t seed = 9, raw;

    for (uint32_t i = 0; i < 65536; i++) {
        if (!medfloat_decode(MEDFLOAT_SHORT, i, &value))
            continue;
        assert_true(medfloat_encode(MEDFLOAT_SHORT, value, &raw));
        assert_true(raw < 65536);
        assert_true(medfloat_decode(MEDFLOAT_SHORT, raw, &again));
        if (!is_same(value, again))
            fail_msg("%04x", i);
    }
    for (int i = 0; i < 100000; i++) {
        uint32_t bits = random_u32(&seed);
        if (!medfloat_decode(MEDFLOAT_LONG, bits, &value))
            continue;
        assert_true(medfloat_encode(MEDFLOAT_LONG, value, &raw));
        assert_true(medfloat_decode(MEDFLOAT_LONG, raw, &again));
        if (!is_same(value, again))
            fail_msg("%08x", bits);
    }
}

static void what_does_not_fit_is_rounded_or_refused(void **state)
{
    static const struct {
        int64_t mantissa;
        int exponent;
        uint32_t raw; /* of the short one; 1 << 16: refused */
    } table[] = {
        {20474, -1, 0x07fd}, /* 2047.4: 2045 is nearer than 2050 */
        {2048, 0, 0x10cd},   /* 2050 is nearer than 2045 */
        {-2046, 0, 0x0803},  /* -2045 */
        {-2048, 0, 0x1f33},  /* -2050 */
        {20465, 0, 0x17ff},  /* halves go away from zero: 2047e1 */
        {999999, 0, 0x6001}, /* 1e6: rounding up needs fewer digits */
        {2047, 7, 0x77ff},
        {20475, 6, 1 << 16},
        {1, 10, 0x73e8},
        {1, 11, 1 << 16},
        {1, -8, 0x8001},
        {5, -9, 0x8001},
        {4, -9, 0},
        {1, -1000, 0},
        {INT64_MIN, -18, 0xe000 | (0x1000 - 922)},
        {INT64_MAX, 0, 1 << 16},
        {0, 1000, 0},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct scientific value = {table[i].mantissa, table[i].exponent};
        uint32_t raw = 0;
        bool taken = medfloat_encode(MEDFLOAT_SHORT, value, &raw);

        if (!taken)
            raw = 1 << 16;
        if (raw != table[i].raw)
            fail_msg("%lld e %d: %x", (long long)table[i].mantissa, table[i].exponent, raw);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reserved_values_are_no_numbers_and_the_others_are),
        cmocka_unit_test(mantissa_and_exponent_are_signed),
        cmocka_unit_test(whatever_decodes_encodes_to_the_same_number),
        cmocka_unit_test(what_does_not_fit_is_rounded_or_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
