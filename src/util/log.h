/*
 * The process's log: lines on stderr, one event a line, "level area: text". With a journal behind
 * stderr ($JOURNAL_STREAM) each line starts with the priority that sd-daemon(3) defines instead of
 * a time. Secrets and payloads never come here above debug. Only this file, cli/ and main.c may
 * hold mutable statics.
 */
#pragma once

#include "util/err.h"
#include <stdbool.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

void log_set_level(enum log_level level);
bool log_enabled(enum log_level level);
const char *log_level_name(enum log_level level);
/* "error", "warning", "info", "debug"; false if it is none of them */
bool log_level_parse(const char *text, enum log_level *ret_level);

void log_write(enum log_level level, const char *area, const char *format, ...) PRINTF_LIKE(3, 4);

#define log_error(area, ...)   log_write(LOG_LEVEL_ERROR, area, __VA_ARGS__)
#define log_warning(area, ...) log_write(LOG_LEVEL_WARNING, area, __VA_ARGS__)
#define log_info(area, ...)    log_write(LOG_LEVEL_INFO, area, __VA_ARGS__)
#define log_debug(area, ...)                               \
    do {                                                   \
        if (log_enabled(LOG_LEVEL_DEBUG))                  \
            log_write(LOG_LEVEL_DEBUG, area, __VA_ARGS__); \
    } while (0)
