/*
 * Diagnostics with a place in a file: collected, sorted, printed as
 * `file:line:column: error: text`. Must not know what the file is about.
 */
#pragma once

#include "util/err.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum diag_severity { DIAG_ERROR, DIAG_WARNING };

struct diag {
    enum diag_severity severity;
    size_t line, column; /* from 1; 0: the file as a whole */
    char *message;       /* owned */
};

#define DIAGS_MAX 100 /* one more is only counted */

struct diags {
    char *file;        /* owned: as shown to people */
    struct diag *list; /* owned */
    size_t n, size;
    size_t n_errors;
    size_t n_suppressed; /* beyond DIAGS_MAX */
    bool failed;         /* out of memory: something is missing */
};

MUST_CHECK
int diags_init(struct diags *diags, const char *file);
void diags_done(struct diags *diags);
/* The same message at the same place is kept once (a profile is read for each of its users);
 * control characters are replaced. */
void diags_add(struct diags *diags, enum diag_severity severity, size_t line, size_t column,
               const char *format, ...) PRINTF_LIKE(5, 6);
/* by place; stable */
void diags_sort(struct diags *diags);
void diags_print(struct diags *diags, FILE *out); /* sorts first */
