/* What simulated values promise: the same at the same time, within their limits, of their shape. */
#include "sim/script.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define SECOND 1000000

static struct script_wave wave(enum script_shape shape, double min, double max)
{
    return (struct script_wave){
        .type = {2, true}, .shape = shape, .min = min, .max = max, .period_us = 4 * SECOND};
}

static void sine_starts_in_the_middle_and_swings_between_its_limits(void **state)
{
    struct script_wave w = wave(SCRIPT_SHAPE_SINE, -100, 100);

    assert_float_equal(script_wave_at(&w, 0, 0), 0, 0.001);
    assert_float_equal(script_wave_at(&w, 1 * SECOND, 0), 100, 0.001);
    assert_float_equal(script_wave_at(&w, 3 * SECOND, 0), -100, 0.001);
    assert_float_equal(script_wave_at(&w, 5 * SECOND, 0), 100, 0.001);
}

static void triangle_and_saw_rise_evenly(void **state)
{
    struct script_wave triangle = wave(SCRIPT_SHAPE_TRIANGLE, 0, 100);
    struct script_wave saw = wave(SCRIPT_SHAPE_SAW, 0, 100);

    assert_float_equal(script_wave_at(&triangle, 1 * SECOND, 0), 50, 0.001);
    assert_float_equal(script_wave_at(&triangle, 2 * SECOND, 0), 100, 0.001);
    assert_float_equal(script_wave_at(&triangle, 3 * SECOND, 0), 50, 0.001);
    assert_float_equal(script_wave_at(&saw, 3 * SECOND, 0), 75, 0.001);
    assert_float_equal(script_wave_at(&saw, 4 * SECOND, 0), 0, 0.001);
}

static void count_goes_one_step_a_period_and_starts_over(void **state)
{
    struct script_wave w = wave(SCRIPT_SHAPE_COUNT, 3, 5);
    static const double expected[] = {3, 4, 5, 3, 4};

    for (unsigned i = 0; i < ARRAY_SIZE(expected); i++)
        assert_float_equal(script_wave_at(&w, i * w.period_us + 7, 0), expected[i], 0);
}

static void random_is_repeatable_and_keeps_within_its_limits(void **state)
{
    struct script_wave w = wave(SCRIPT_SHAPE_RANDOM, -5, 5);
    unsigned changes = 0;

    for (uint64_t i = 0; i < 1000; i++) {
        double v = script_wave_at(&w, i * w.period_us, 42);

        assert_true(v >= -5 && v <= 5);
        assert_float_equal(v, script_wave_at(&w, i * w.period_us + w.period_us - 1, 42), 0);
        changes += v != script_wave_at(&w, (i + 1) * w.period_us, 42);
    }
    assert_true(changes > 900);
    assert_true(script_wave_at(&w, 0, 1) != script_wave_at(&w, 0, 2));
}

static void wave_is_written_little_endian_where_it_belongs(void **state)
{
    struct script_wave w = wave(SCRIPT_SHAPE_SAW, -2, -2);
    uint8_t value[5] = {0xaa, 0xaa, 0xaa, 0xaa, 0xaa};
    static const uint8_t expected[5] = {0xaa, 0xaa, 0xfe, 0xff, 0xaa};

    w.offset = 2;
    script_wave_apply(&w, 0, 0, value, sizeof(value));
    assert_memory_equal(value, expected, sizeof(value));
}

static void wave_never_writes_past_the_value(void **state)
{
    struct script_wave w = wave(SCRIPT_SHAPE_SAW, 1, 1);
    uint8_t value[4] = {0xaa, 0xaa, 0xaa, 0xaa};

    w.offset = 2;
    script_wave_apply(&w, 0, 0, value, 3);
    w.offset = 9;
    script_wave_apply(&w, 0, 0, value, 3);
    for (unsigned i = 0; i < sizeof(value); i++)
        assert_int_equal(value[i], 0xaa);
}

static void types_know_what_they_hold(void **state)
{
    static const struct {
        const char *name;
        double least, most;
    } types[] = {
        {"uint8", 0, 255},         {"int8", -128, 127},
        {"uint16", 0, 65535},      {"int16", -32768, 32767},
        {"uint24", 0, 16777215},   {"int24", -8388608, 8388607},
        {"uint32", 0, 4294967295}, {"int32", -2147483648.0, 2147483647},
    };
    struct script_type type;

    for (unsigned i = 0; i < ARRAY_SIZE(types); i++) {
        assert_true(script_type_parse(types[i].name, &type));
        assert_true(script_type_holds(type, types[i].least));
        assert_true(script_type_holds(type, types[i].most));
        assert_false(script_type_holds(type, types[i].least - 1));
        assert_false(script_type_holds(type, types[i].most + 1));
    }
    assert_false(script_type_parse("float", &type));
}

static void rssi_wanders_without_jumps(void **state)
{
    int before = script_wander(-70, -50, 0, 7), lowest = before, highest = before;

    for (uint64_t t = 0; t < 600u * SECOND; t += SECOND / 10) {
        int rssi = script_wander(-70, -50, t, 7);

        assert_in_range(rssi + 70, 0, 20);
        assert_in_range(rssi - before + 2, 0, 4);
        lowest = MIN_OF(lowest, rssi);
        highest = MAX_OF(highest, rssi);
        before = rssi;
    }
    assert_true(highest - lowest > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sine_starts_in_the_middle_and_swings_between_its_limits),
        cmocka_unit_test(triangle_and_saw_rise_evenly),
        cmocka_unit_test(count_goes_one_step_a_period_and_starts_over),
        cmocka_unit_test(random_is_repeatable_and_keeps_within_its_limits),
        cmocka_unit_test(wave_is_written_little_endian_where_it_belongs),
        cmocka_unit_test(wave_never_writes_past_the_value),
        cmocka_unit_test(types_know_what_they_hold),
        cmocka_unit_test(rssi_wanders_without_jumps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
