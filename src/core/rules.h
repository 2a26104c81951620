/*
 * Publish rules of one characteristic: which of its values become messages, and when. Pure
 * bookkeeping: it keeps the newest value and the one that was published last; the caller says
 * whether a value differs, publishes, and tells it so. Must not know fields, topics or payloads.
 *
 *   on: change    a value like the last published one is not published
 *   min_interval  messages are at least so far apart; the last value of a burst comes in the end
 *   heartbeat     the newest value is published again when nothing was for so long
 */
#pragma once

#include "util/err.h"
#include "util/strbuf.h"
#include "util/time.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rules_settings {
    bool on_change;
    uint64_t min_interval_ms; /* 0: none */
    uint64_t heartbeat_ms;    /* 0: none */
};

struct rules_value {
    const void *data; /* borrowed from the rules until the next rules_take() */
    size_t length;
    int64_t real_us; /* when it came */
};

enum rules_verdict {
    RULES_PUBLISH, /* now, then rules_published() */
    RULES_HOLD,    /* rules_due_us() says when it is its turn, unless a newer one comes */
    RULES_SKIP,    /* it is like the last published one */
};

struct rules;

static inline bool rules_settings_any(const struct rules_settings *settings)
{
    return settings->on_change || settings->min_interval_ms || settings->heartbeat_ms;
}

MUST_CHECK
int rules_new(struct rules **ret_rules);
struct rules *rules_free(struct rules *rules);

/* as if nothing had come yet */
void rules_forget(struct rules *rules);

/* the value published last; false: none yet */
bool rules_last(const struct rules *rules, struct rules_value *ret_value);
/* A value came; `differs` from the last published one. Counts in *ret_thinned (may be NULL) what
 * now never becomes a message: this one or one that was held. Out of memory: RULES_PUBLISH. */
enum rules_verdict rules_take(struct rules *rules, const struct rules_settings *settings,
                              uint64_t now_us, const struct rules_value *value, bool differs,
                              unsigned *ret_thinned);
/* The value was published, for whatever reason; one that was held is settled with it. */
void rules_published(struct rules *rules, uint64_t now_us, const struct rules_value *value);

/* When something is due without a new value: one that is held, or (`live`: the newest value holds
 * still) a heartbeat; TIME_NEVER. */
uint64_t rules_due_us(const struct rules *rules, const struct rules_settings *settings, bool live);
/* what is to be published then: the newest value; false: there is none */
bool rules_newest(const struct rules *rules, struct rules_value *ret_value);
/* is one held back? */
bool rules_holds(const struct rules *rules);
