/*
 * What the steps of a named command read and waited for: the `data` of its answer, by the id of the
 * characteristic or message, each the last value in the form in which it is published. Bounded: of
 * what would be too long there is null. Must not know how a step runs.
 */
#include "core/step.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OUTCOME_MAX 16384 /* bytes of all values */

/* One value. */
struct outcome {
    struct outcome *next; /* owned */
    struct strbuf json;
    char id[SETTINGS_MAX_ID + 1];
};

struct outcome *outcome_free(struct outcome *outcome)
{
    while (outcome) {
        struct outcome *next = outcome->next;

        strbuf_done(&outcome->json);
        free(outcome);
        outcome = next;
    }
    return NULL;
}

/* the one of that id, made if need be; NULL: out of memory */
static struct outcome *find(struct sequence *sequence, const char *id)
{
    struct outcome **link = &sequence->outcome;

    for (; *link; link = &(*link)->next)
        if (strcmp((*link)->id, id) == 0)
            return *link;
    *link = calloc(1, sizeof(**link));
    if (*link)
        snprintf((*link)->id, sizeof((*link)->id), "%s", id);
    return *link;
}

static size_t size_of_all(const struct sequence *sequence)
{
    size_t size = 0;

    for (const struct outcome *each = sequence->outcome; each; each = each->next)
        size += each->json.length;
    return size;
}

void outcome_keep(struct sequence *sequence, const struct step_news *news)
{
    const struct characteristic_settings *settings = sequence->peer->entries[news->entry].settings;

    if (sequence->purpose != SEQUENCE_PURPOSE_COMMAND)
        return;
    struct outcome *outcome = find(sequence, settings->id);
    if (!outcome)
        return;
    strbuf_reset(&outcome->json);
    payload_write(&outcome->json, PAYLOAD_JSON, settings->schema, news->values, news->value->data,
                  news->value->length, news->value->real_us, false);
    if (!strbuf_ok(&outcome->json) || size_of_all(sequence) > OUTCOME_MAX)
        strbuf_reset(&outcome->json);
}

void outcome_write(const struct sequence *sequence, struct strbuf *out)
{
    struct json_writer w = json_writer_to(out);

    if (!sequence->outcome)
        return;
    json_write_object_begin(&w);
    for (const struct outcome *each = sequence->outcome; each; each = each->next) {
        json_write_key(&w, each->id);
        if (each->json.length)
            json_write_raw(&w, each->json.data, each->json.length);
        else
            json_write_null(&w);
    }
    json_write_object_end(&w);
}
