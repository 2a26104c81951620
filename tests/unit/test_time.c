/* Time stamps as RFC 3339 says, durations as people write them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "util/time.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void a_time_stamp_is_utc_with_milliseconds(void **state)
{
    static const struct {
        int64_t us;
        const char *text;
    } table[] = {
        {INT64_C(1795402800123999), "2026-11-23T03:00:00.123Z"},
        {0, "1970-01-01T00:00:00.000Z"},
        {-1, "1969-12-31T23:59:59.999Z"},
        {INT64_C(951782400000000), "2000-02-29T00:00:00.000Z"},
        {INT64_C(4107542400000000), "2100-03-01T00:00:00.000Z"}, /* no leap year */
        {INT64_C(253402300799999999), "9999-12-31T23:59:59.999Z"},
        {INT64_C(253402300800000000), "1970-01-01T00:00:00.000Z"}, /* five digits: no clock */
        {INT64_MAX, "1970-01-01T00:00:00.000Z"},
        {INT64_MIN, "1970-01-01T00:00:00.000Z"},
    };
    char buf[TIME_RFC3339_SIZE];

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        assert_int_equal(time_format_rfc3339(table[i].us, buf), 24);
        assert_string_equal(buf, table[i].text);
    }
}

static void every_day_of_four_centuries_is_what_the_library_says(void **state)
{
    char buf[TIME_RFC3339_SIZE], expected[40];

    for (int64_t day = -135000; day < 20000; day += 1) {
        time_t seconds = (time_t)(day * 86400 + 86399);
        struct tm tm;

        assert_non_null(gmtime_r(&seconds, &tm));
        strftime(expected, sizeof(expected), "%Y-%m-%dT%H:%M:%S.000Z", &tm);
        time_format_rfc3339((int64_t)seconds * 1000000, buf);
        assert_string_equal(buf, expected);
    }
}

static void durations_carry_their_unit(void **state)
{
    static const struct {
        const char *text;
        uint64_t ms;
    } good[] = {{"0", 0},       {"250ms", 250},    {"0s", 0},           {"30s", 30000},
                {"5m", 300000}, {"12h", 43200000}, {"30d", 2592000000}, {"007s", 7000}};
    static const char *const bad[] = {"",    "30",  "1",    "s",  "-1s",   "1.5s", "1 s",
                                      " 1s", "1s ", "1min", "1S", "1m30s", "00",   "+1s"};
    static const char *const large[] = {"99999999999999999999s", "18446744073709551615d",
                                        "18446744073709551615ms"};
    uint64_t ms = 5;

    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        assert_int_equal(time_parse_duration(good[i].text, &ms), 0);
        assert_true(ms == good[i].ms);
    }
    ms = 5;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(time_parse_duration(bad[i], &ms), -EINVAL);
    for (size_t i = 0; i < ARRAY_SIZE(large); i++)
        assert_int_equal(time_parse_duration(large[i], &ms), -ERANGE);
    assert_int_equal(ms, 5);
}

static void durations_are_told_to_people(void **state)
{
    static const struct {
        uint64_t ms;
        const char *text;
    } table[] = {{0, "0ms"},           {999, "999ms"},      {1000, "1s"},
                 {1550, "1.5s"},       {59999, "59.9s"},    {60000, "1m00s"},
                 {90000, "1m30s"},     {3599000, "59m59s"}, {3600000, "1h00m"},
                 {86399000, "23h59m"}, {86400000, "1d00h"}, {2678400000, "31d00h"}};
    char buf[32];

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        time_format_duration(table[i].ms, buf, sizeof(buf));
        assert_string_equal(buf, table[i].text);
    }
}

static void both_clocks_run(void **state)
{
    struct now a = time_now(), b = time_now();

    assert_true(b.mono_us >= a.mono_us);
    assert_true(a.real_us > INT64_C(1700000000000000));
}

static void local_times_are_read_and_written(void **state)
{
    static const char *const good[][2] = {
        {"2026-11-23T03:04:05", "2026-11-23T03:04:05"},
        {"2026-11-23 03:04:05", "2026-11-23T03:04:05"},
        {"2026-11-23t03:04", "2026-11-23T03:04:00"},
        {"2026-11-23T03:04:05.999999", "2026-11-23T03:04:05"},
        {"2024-02-29T23:59:59", "2024-02-29T23:59:59"},
        {"2000-02-29T00:00:00", "2000-02-29T00:00:00"},
        {"0001-01-01T00:00:00", "0001-01-01T00:00:00"},
        {"9999-12-31T23:59:59", "9999-12-31T23:59:59"},
    };
    static const char *const bad[] = {
        "",
        "2026-11-23",
        "2026-11-23T03",
        "2026-11-23T03:04:",
        "2026-11-23T03:04:5",
        "2026-11-23T03:04:05.",
        "2026-11-23T03:04:05Z",
        "2026-11-23T03:04:05+01:00",
        "2026-11-23T24:00:00",
        "2026-11-23T03:60:00",
        "2026-11-23T03:04:60",
        "2026-13-01T03:04:05",
        "2026-00-01T03:04:05",
        "2026-11-31T03:04:05",
        "2026-11-00T03:04:05",
        "1900-02-29T03:04:05",
        "0000-01-01T03:04:05",
        "26-11-23T03:04:05",
        "2026/11/23T03:04:05",
    };
    struct time_parts parts;
    char text[TIME_PARTS_SIZE];

    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        assert_int_equal(time_parts_parse(good[i][0], strlen(good[i][0]), &parts), 0);
        assert_int_equal(time_parts_format(&parts, text), 19);
        assert_string_equal(text, good[i][1]);
    }
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        if (time_parts_parse(bad[i], strlen(bad[i]), &parts) != -EINVAL)
            fail_msg("%s is taken", bad[i]);
}

static void the_local_time_follows_the_zone(void **state)
{
    static const struct {
        int64_t real_us;
        const char *text;
    } table[] = {
        {INT64_C(1795402800123000), "2026-11-23T04:00:00"},
        {INT64_C(1782183600000000), "2026-06-23T05:00:00"}, /* summer */
        {-1, "1970-01-01T00:59:59"},
    };
    char text[TIME_PARTS_SIZE];

    setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1);
    tzset();
    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        struct time_parts parts = time_local(table[i].real_us);
        time_parts_format(&parts, text);
        assert_string_equal(text, table[i].text);
    }
    unsetenv("TZ");
    tzset();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(local_times_are_read_and_written),
        cmocka_unit_test(the_local_time_follows_the_zone),
        cmocka_unit_test(a_time_stamp_is_utc_with_milliseconds),
        cmocka_unit_test(every_day_of_four_centuries_is_what_the_library_says),
        cmocka_unit_test(durations_carry_their_unit),
        cmocka_unit_test(durations_are_told_to_people),
        cmocka_unit_test(both_clocks_run),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
