/* Clocks, time stamps and durations; see time.h. */
#include "util/time.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

struct now time_now(void)
{
    struct timespec mono, real;

    clock_gettime(CLOCK_MONOTONIC, &mono);
    clock_gettime(CLOCK_REALTIME, &real);
    return (struct now){
        .mono_us = (uint64_t)mono.tv_sec * 1000000 + (uint64_t)mono.tv_nsec / 1000,
        .real_us = (int64_t)real.tv_sec * 1000000 + real.tv_nsec / 1000,
    };
}

static void two_digits(char *out, unsigned value)
{
    out[0] = (char)('0' + value / 10 % 10);
    out[1] = (char)('0' + value % 10);
}

size_t time_format_rfc3339(int64_t real_us, char buf[static TIME_RFC3339_SIZE])
{
    int64_t seconds = real_us / 1000000;
    int64_t us = real_us % 1000000;

    if (us < 0) {
        us += 1000000;
        seconds--;
    }
    int64_t days = seconds / 86400;
    int64_t rest = seconds % 86400;
    if (rest < 0) {
        rest += 86400;
        days--;
    }
    /* days since 1970 to a Gregorian date: eras of 400 years that start on 1 March */
    int64_t z = days + 719468;
    int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    unsigned day_of_era = (unsigned)(z - era * 146097);
    unsigned year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    unsigned day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    unsigned shifted = (5 * day_of_year + 2) / 153;
    unsigned day = day_of_year - (153 * shifted + 2) / 5 + 1;
    unsigned month = shifted < 10 ? shifted + 3 : shifted - 9;
    int64_t year = (int64_t)year_of_era + era * 400 + (month <= 2);

    if (year < 0 || year > 9999)
        return (size_t)snprintf(buf, TIME_RFC3339_SIZE, "1970-01-01T00:00:00.000Z");
    memcpy(buf, "0000-00-00T00:00:00.000Z", 25);
    two_digits(buf, (unsigned)year / 100);
    two_digits(buf + 2, (unsigned)year % 100);
    two_digits(buf + 5, month);
    two_digits(buf + 8, day);
    two_digits(buf + 11, (unsigned)(rest / 3600));
    two_digits(buf + 14, (unsigned)(rest / 60 % 60));
    two_digits(buf + 17, (unsigned)(rest % 60));
    unsigned ms = (unsigned)(us / 1000);
    buf[20] = (char)('0' + ms / 100);
    two_digits(buf + 21, ms % 100);
    return 24;
}

int time_parse_duration(const char *text, uint64_t *ret_ms)
{
    static const struct {
        const char *unit;
        uint64_t ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
    uint64_t value = 0;
    const char *p = text;

    if (strcmp(text, "0") == 0) {
        *ret_ms = 0;
        return 0;
    }
    for (; *p >= '0' && *p <= '9'; p++)
        if (__builtin_mul_overflow(value, (uint64_t)10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*p - '0'), &value))
            return -ERANGE;
    if (p == text)
        return -EINVAL;
    for (size_t i = 0; i < ARRAY_SIZE(units); i++)
        if (strcmp(p, units[i].unit) == 0) {
            if (__builtin_mul_overflow(value, units[i].ms, &value) || value > UINT64_MAX / 4000)
                return -ERANGE;
            *ret_ms = value;
            return 0;
        }
    return -EINVAL;
}

void time_format_duration(uint64_t ms, char *buf, size_t size)
{
    if (ms < 1000)
        snprintf(buf, size, "%" PRIu64 "ms", ms);
    else if (ms < 60000 && ms % 1000)
        snprintf(buf, size, "%" PRIu64 ".%" PRIu64 "s", ms / 1000, ms % 1000 / 100);
    else if (ms < 60000)
        snprintf(buf, size, "%" PRIu64 "s", ms / 1000);
    else if (ms < 3600000)
        snprintf(buf, size, "%" PRIu64 "m%02" PRIu64 "s", ms / 60000, ms / 1000 % 60);
    else if (ms < 86400000)
        snprintf(buf, size, "%" PRIu64 "h%02" PRIu64 "m", ms / 3600000, ms / 60000 % 60);
    else
        snprintf(buf, size, "%" PRIu64 "d%02" PRIu64 "h", ms / 86400000, ms / 3600000 % 24);
}
