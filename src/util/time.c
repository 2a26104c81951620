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

struct time_parts time_local(int64_t real_us)
{
    time_t seconds = (time_t)(real_us / 1000000) - (real_us % 1000000 < 0);
    struct tm tm = {0};

    if (!localtime_r(&seconds, &tm) || tm.tm_year < -1900 || tm.tm_year > 9999 - 1900)
        return (struct time_parts){.year = 1970, .month = 1, .day = 1};
    return (struct time_parts){
        .year = (uint16_t)(tm.tm_year + 1900),
        .month = (uint8_t)(tm.tm_mon + 1),
        .day = (uint8_t)tm.tm_mday,
        .hour = (uint8_t)tm.tm_hour,
        .minute = (uint8_t)tm.tm_min,
        .second = (uint8_t)MIN_OF(tm.tm_sec, 59), /* a leap second */
    };
}

bool time_parts_are_valid(const struct time_parts *parts)
{
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    unsigned year = parts->year;
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    if (!year || year > 9999 || parts->month < 1 || parts->month > 12 || parts->day < 1)
        return false;
    return parts->day <= days[parts->month - 1] + (leap && parts->month == 2) && parts->hour < 24 &&
           parts->minute < 60 && parts->second < 60;
}

size_t time_parts_format(const struct time_parts *parts, char buf[static TIME_PARTS_SIZE])
{
    memcpy(buf, "0000-00-00T00:00:00", TIME_PARTS_SIZE);
    two_digits(buf, parts->year / 100);
    two_digits(buf + 2, parts->year % 100);
    two_digits(buf + 5, parts->month);
    two_digits(buf + 8, parts->day);
    two_digits(buf + 11, parts->hour);
    two_digits(buf + 14, parts->minute);
    two_digits(buf + 17, parts->second);
    return TIME_PARTS_SIZE - 1;
}

/* `n` digits at text[at] */
static bool digits(const char *text, size_t length, size_t at, size_t n, unsigned *ret_value)
{
    unsigned value = 0;

    if (length < at + n)
        return false;
    for (size_t i = at; i < at + n; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        value = value * 10 + (unsigned)(text[i] - '0');
    }
    *ret_value = value;
    return true;
}

int time_parts_parse(const char *text, size_t length, struct time_parts *ret_parts)
{
    unsigned year, month, day, hour, minute, second = 0;
    size_t end = 16;

    if (!digits(text, length, 0, 4, &year) || !digits(text, length, 5, 2, &month) ||
        !digits(text, length, 8, 2, &day) || !digits(text, length, 11, 2, &hour) ||
        !digits(text, length, 14, 2, &minute) || text[4] != '-' || text[7] != '-' ||
        (text[10] != 'T' && text[10] != 't' && text[10] != ' ') || text[13] != ':')
        return -EINVAL;
    if (end < length && text[end] == ':') {
        if (!digits(text, length, 17, 2, &second))
            return -EINVAL;
        end = 19;
        if (end + 1 < length && text[end] == '.')
            while (++end < length && text[end] >= '0' && text[end] <= '9')
                ;
    }
    struct time_parts parts = {(uint16_t)year, (uint8_t)month,  (uint8_t)day,
                               (uint8_t)hour,  (uint8_t)minute, (uint8_t)second};
    if (end != length || !time_parts_are_valid(&parts))
        return -EINVAL;
    *ret_parts = parts;
    return 0;
}
