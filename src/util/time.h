/*
 * Time as an argument: the core never asks a clock. `struct now` carries both clocks, because a Pi
 * has no clock of its own at boot: intervals use the monotonic one, time stamps the real one.
 */
#pragma once

#include "util/err.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct now {
    uint64_t mono_us; /* CLOCK_MONOTONIC */
    int64_t real_us;  /* CLOCK_REALTIME since 1970, UTC */
};

#define TIME_NEVER   UINT64_MAX
#define MS_TO_US(ms) ((uint64_t)(ms)*1000)

struct now time_now(void);

#define TIME_RFC3339_SIZE 32
/* "2026-11-23T03:00:00.123Z" (RFC 3339, UTC, milliseconds); returns its length */
size_t time_format_rfc3339(int64_t real_us, char buf[static TIME_RFC3339_SIZE]);

/* A local date and time as devices have them: no zone, whole seconds. */
struct time_parts {
    uint16_t year;
    uint8_t month, day, hour, minute, second; /* months and days from 1 */
};

/* in the zone of this machine */
struct time_parts time_local(int64_t real_us);
/* the day exists, and the time is before 24:00:00 */
bool time_parts_are_valid(const struct time_parts *parts);
#define TIME_PARTS_SIZE 20
/* "2026-11-23T03:00:00" (RFC 3339 without its zone); returns its length */
size_t time_parts_format(const struct time_parts *parts, char buf[static TIME_PARTS_SIZE]);
/* the same, or with a blank instead of the T, without seconds, or with parts of a second (which
 * are dropped); -EINVAL, also with a zone: nobody knows in which one the device lives */
MUST_CHECK
int time_parts_parse(const char *text, size_t length, struct time_parts *ret_parts);

/* "250ms", "30s", "5m", "12h", "30d", "0"; a bare number other than 0 is -EINVAL; -ERANGE */
MUST_CHECK
int time_parse_duration(const char *text, uint64_t *ret_ms);
/* "1m30s", "250ms": for people */
void time_format_duration(uint64_t ms, char *buf, size_t size);
