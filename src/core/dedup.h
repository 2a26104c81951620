/*
 * Requests that were seen lately, so that one that comes again (a QoS 1 duplicate, a client that
 * lost its connection before the answer) acts once and gets the same answer. What makes a request
 * the same is its operation, its id and its content. Bounded in number and bytes; the oldest
 * finished ones go first, those that are running stay. Must not know what a request does.
 */
#pragma once

#include "util/err.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DEDUP_MS         60000        /* an answer is kept for so long */
#define DEDUP_MAX        256          /* requests */
#define DEDUP_BYTES      (256 * 1024) /* of their ids and answers */
#define DEDUP_ANSWER_MAX (64 * 1024)  /* a longer answer is not kept, but that it was given is */

struct dedup;
struct command;

struct dedup_key {
    const char *operation;
    const char *id; /* as JSON text */
    const void *content;
    size_t length;
};

enum dedup_state {
    DEDUP_STATE_NEW,
    DEDUP_STATE_RUNNING,
    DEDUP_STATE_FINISHED,
    DEDUP_STATE_OTHER, /* this id had other content */
};

struct dedup_seen {
    enum dedup_state state;
    struct command *command; /* RUNNING: what carries it out */
    const char *answer;      /* FINISHED: borrowed until the next call; NULL: it was too long */
    size_t length;
};

MUST_CHECK
int dedup_new(struct dedup **ret_dedup);
struct dedup *dedup_free(struct dedup *dedup);

struct dedup_seen dedup_look(struct dedup *dedup, uint64_t now_us, const struct dedup_key *key);

enum dedup_error {
    DEDUP_E_FULL = 1, /* so many requests are running */
};

/* A new request (see dedup_look()) begins; *ret_number names it in dedup_finish(). -ENOMEM or a
 * dedup_error. */
MUST_CHECK
int dedup_begin(struct dedup *dedup, const struct dedup_key *key, struct command *command,
                uint32_t *ret_number);
/* It was answered; an unknown number is ignored. */
void dedup_finish(struct dedup *dedup, uint32_t number, uint64_t now_us, const char *answer,
                  size_t length);
/* It never will be answered: as if it had not come. */
void dedup_drop(struct dedup *dedup, uint32_t number);

struct dedup_stats {
    size_t n, bytes;
};
void dedup_get_stats(const struct dedup *dedup, struct dedup_stats *ret_stats);
