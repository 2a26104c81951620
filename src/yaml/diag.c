/* Diagnostics with a place in a file; see diag.h. Must not know what the file is about. */
#include "yaml/diag.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

int diags_init(struct diags *diags, const char *file)
{
    *diags = (struct diags){.file = strdup(file)};
    return diags->file ? 0 : -ENOMEM;
}

void diags_done(struct diags *diags)
{
    for (size_t i = 0; i < diags->n; i++)
        free(diags->list[i].message);
    free(diags->list);
    free(diags->file);
    *diags = (struct diags){0};
}

/* Text from the file must not forge a line or drive a terminal. */
static void make_printable(char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            *text = '?';
}

static char *format_message(const char *format, va_list ap)
{
    char *message;

    if (vasprintf(&message, format, ap) < 0)
        return NULL;
    make_printable(message);
    return message;
}

static bool is_known(const struct diags *diags, const struct diag *diag)
{
    for (size_t i = 0; i < diags->n; i++) {
        const struct diag *other = &diags->list[i];
        if (other->line == diag->line && other->column == diag->column &&
            other->severity == diag->severity && strcmp(other->message, diag->message) == 0)
            return true;
    }
    return false;
}

/* room for one more, or false */
static bool grow(struct diags *diags)
{
    if (diags->n < diags->size)
        return true;
    size_t size = diags->size ? diags->size * 2 : 8;
    struct diag *list = realloc(diags->list, size * sizeof(*list));
    if (!list)
        return false;
    diags->list = list;
    diags->size = size;
    return true;
}

void diags_add(struct diags *diags, enum diag_severity severity, size_t line, size_t column,
               const char *format, ...)
{
    struct diag diag = {.severity = severity, .line = line, .column = column};
    va_list ap;

    va_start(ap, format);
    diag.message = format_message(format, ap);
    va_end(ap);
    if (diag.message && is_known(diags, &diag)) {
        free(diag.message);
        return;
    }
    if (severity == DIAG_ERROR)
        diags->n_errors++;
    if (diags->n >= DIAGS_MAX) {
        diags->n_suppressed++;
        free(diag.message);
        return;
    }
    if (!diag.message || !grow(diags)) {
        diags->failed = true;
        free(diag.message);
        return;
    }
    diags->list[diags->n++] = diag;
}

static bool is_after(const struct diag *a, const struct diag *b)
{
    return a->line != b->line ? a->line > b->line : a->column > b->column;
}

void diags_sort(struct diags *diags)
{
    /* insertion: stable, and there are at most DIAGS_MAX */
    for (size_t i = 1; i < diags->n; i++) {
        struct diag diag = diags->list[i];
        size_t k = i;
        for (; k > 0 && is_after(&diags->list[k - 1], &diag); k--)
            diags->list[k] = diags->list[k - 1];
        diags->list[k] = diag;
    }
}

void diags_print(struct diags *diags, FILE *out)
{
    diags_sort(diags);
    for (size_t i = 0; i < diags->n; i++) {
        const struct diag *diag = &diags->list[i];
        const char *severity = diag->severity == DIAG_ERROR ? "error" : "warning";

        if (diag->line)
            fprintf(out, "%s:%zu:%zu: %s: %s\n", diags->file, diag->line, diag->column, severity,
                    diag->message);
        else
            fprintf(out, "%s: %s: %s\n", diags->file, severity, diag->message);
    }
    if (diags->n_suppressed)
        fprintf(out, "%s: %zu more errors and warnings are not shown\n", diags->file,
                diags->n_suppressed);
    if (diags->failed)
        fprintf(out, "%s: error: out of memory, so that some messages are missing\n", diags->file);
}
