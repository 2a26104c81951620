/* Requests that were seen lately; see dedup.h. There are few, so they are simply searched. */
#include "core/dedup.h"

#include "util/time.h"
#include <stdlib.h>
#include <string.h>

struct seen {
    uint32_t number;
    char *operation, *id; /* owned */
    uint64_t content;     /* a hash */
    size_t content_length;
    struct command *command; /* borrowed; NULL: finished */
    uint64_t finished_us;
    char *answer; /* owned */
    size_t length;
};

struct dedup {
    uint32_t numbers;
    struct seen *seen; /* owned; grows up to DEDUP_MAX */
    size_t n, size, bytes;
};

int dedup_new(struct dedup **ret_dedup)
{
    struct dedup *dedup = calloc(1, sizeof(*dedup));

    if (!dedup)
        return -ENOMEM;
    *ret_dedup = dedup;
    return 0;
}

static void seen_done(struct seen *seen)
{
    free(seen->operation);
    free(seen->id);
    free(seen->answer);
}

struct dedup *dedup_free(struct dedup *dedup)
{
    for (size_t i = 0; dedup && i < dedup->n; i++)
        seen_done(&dedup->seen[i]);
    if (dedup)
        free(dedup->seen);
    free(dedup);
    return NULL;
}

/* FNV-1a, 64 bit. Who finds two contents with the same hash only fools himself. */
static uint64_t hash(const void *data, size_t length)
{
    const uint8_t *bytes = data;
    uint64_t h = 0xcbf29ce484222325;

    for (size_t i = 0; i < length; i++)
        h = (h ^ bytes[i]) * 0x100000001b3;
    return h;
}

static size_t size_of(const struct seen *seen)
{
    return strlen(seen->operation) + strlen(seen->id) + seen->length;
}

static void forget(struct dedup *dedup, size_t at)
{
    dedup->bytes -= size_of(&dedup->seen[at]);
    seen_done(&dedup->seen[at]);
    dedup->n--;
    memmove(&dedup->seen[at], &dedup->seen[at + 1], (dedup->n - at) * sizeof(dedup->seen[0]));
}

static void forget_expired(struct dedup *dedup, uint64_t now_us)
{
    for (size_t i = dedup->n; i-- > 0;)
        if (!dedup->seen[i].command && dedup->seen[i].finished_us + MS_TO_US(DEDUP_MS) <= now_us)
            forget(dedup, i);
}

/* Forgets the one that was finished first, but not `keep`. False: there is none. */
static bool forget_oldest(struct dedup *dedup, uint32_t keep)
{
    size_t oldest = SIZE_MAX;

    for (size_t i = 0; i < dedup->n; i++)
        if (!dedup->seen[i].command && dedup->seen[i].number != keep &&
            (oldest == SIZE_MAX || dedup->seen[i].finished_us < dedup->seen[oldest].finished_us))
            oldest = i;
    if (oldest == SIZE_MAX)
        return false;
    forget(dedup, oldest);
    return true;
}

struct dedup_seen dedup_look(struct dedup *dedup, uint64_t now_us, const struct dedup_key *key)
{
    forget_expired(dedup, now_us);
    for (size_t i = 0; i < dedup->n; i++) {
        const struct seen *seen = &dedup->seen[i];

        if (strcmp(seen->id, key->id) != 0 || strcmp(seen->operation, key->operation) != 0)
            continue;
        if (seen->content_length != key->length || seen->content != hash(key->content, key->length))
            return (struct dedup_seen){.state = DEDUP_STATE_OTHER};
        if (seen->command)
            return (struct dedup_seen){.state = DEDUP_STATE_RUNNING, .command = seen->command};
        return (struct dedup_seen){
            .state = DEDUP_STATE_FINISHED, .answer = seen->answer, .length = seen->length};
    }
    return (struct dedup_seen){.state = DEDUP_STATE_NEW};
}

/* Room for one more: most gateways are asked little, or nothing at all. */
static int make_room(struct dedup *dedup)
{
    if (dedup->n == DEDUP_MAX && !forget_oldest(dedup, 0))
        return DEDUP_E_FULL;
    if (dedup->n < dedup->size)
        return 0;
    size_t size = MIN_OF(MAX_OF(dedup->size * 2, (size_t)8), (size_t)DEDUP_MAX);
    struct seen *seen = reallocarray(dedup->seen, size, sizeof(*seen));
    if (!seen)
        return -ENOMEM;
    dedup->seen = seen;
    dedup->size = size;
    return 0;
}

int dedup_begin(struct dedup *dedup, const struct dedup_key *key, struct command *command,
                uint32_t *ret_number)
{
    int r = make_room(dedup);

    if (r != 0)
        return r;
    struct seen seen = {.operation = strdup(key->operation),
                        .id = strdup(key->id),
                        .content = hash(key->content, key->length),
                        .content_length = key->length,
                        .command = command};
    if (!seen.operation || !seen.id) {
        seen_done(&seen);
        return -ENOMEM;
    }
    if (++dedup->numbers == 0)
        dedup->numbers = 1;
    seen.number = dedup->numbers;
    dedup->bytes += size_of(&seen);
    dedup->seen[dedup->n++] = seen;
    *ret_number = seen.number;
    return 0;
}

/* its place, or SIZE_MAX */
static size_t find(const struct dedup *dedup, uint32_t number)
{
    for (size_t i = 0; i < dedup->n; i++)
        if (dedup->seen[i].number == number)
            return i;
    return SIZE_MAX;
}

void dedup_drop(struct dedup *dedup, uint32_t number)
{
    size_t at = find(dedup, number);

    if (at != SIZE_MAX)
        forget(dedup, at);
}

void dedup_finish(struct dedup *dedup, uint32_t number, uint64_t now_us, const char *answer,
                  size_t length)
{
    size_t at = find(dedup, number);

    if (at == SIZE_MAX)
        return;
    dedup->seen[at].command = NULL;
    dedup->seen[at].finished_us = now_us;
    if (length > DEDUP_ANSWER_MAX)
        return;
    while (dedup->bytes + length > DEDUP_BYTES && forget_oldest(dedup, number))
        ;
    if (dedup->bytes + length > DEDUP_BYTES)
        return;
    struct seen *seen = &dedup->seen[find(dedup, number)];
    seen->answer = malloc(length + 1);
    if (!seen->answer)
        return;
    if (length)
        memcpy(seen->answer, answer, length);
    seen->answer[length] = '\0';
    seen->length = length;
    dedup->bytes += length;
}

void dedup_get_stats(const struct dedup *dedup, struct dedup_stats *ret_stats)
{
    *ret_stats = (struct dedup_stats){dedup->n, dedup->bytes};
}
