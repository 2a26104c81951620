/*
 * Time as an argument: the core never asks a clock. `struct now` carries both clocks, because a Pi
 * has no clock of its own at boot: intervals use the monotonic one, time stamps the real one.
 */
#pragma once

#include "util/err.h"
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

/* "250ms", "30s", "5m", "12h", "30d", "0"; a bare number other than 0 is -EINVAL; -ERANGE */
MUST_CHECK
int time_parse_duration(const char *text, uint64_t *ret_ms);
/* "1m30s", "250ms": for people */
void time_format_duration(uint64_t ms, char *buf, size_t size);
