/*
 * How functions report: 0 is success, a negative errno means "cannot go on here", a positive
 * MODULE_E_... an expected outcome that the direct caller handles.
 */
#pragma once

#include <errno.h>

#define MUST_CHECK        __attribute__((warn_unused_result))
#define PRINTF_LIKE(f, a) __attribute__((format(printf, f, a)))
#define ARRAY_SIZE(a)     (sizeof(a) / sizeof((a)[0]))
#define MIN_OF(a, b)      ((a) < (b) ? (a) : (b))
#define MAX_OF(a, b)      ((a) > (b) ? (a) : (b))
#define SWAP(a, b)               \
    do {                         \
        __auto_type swap_ = (a); \
        (a) = (b);               \
        (b) = swap_;             \
    } while (0)
