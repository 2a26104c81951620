/* Publish rules; see rules.h. */
#include "core/rules.h"

#include <stdlib.h>
#include <string.h>

struct kept {
    struct strbuf bytes; /* owned; grows to the usual size once */
    int64_t real_us;
    bool there;
};

struct rules {
    struct kept newest, last; /* `last`: published last */
    uint64_t published_us;    /* counts once last.there */
    bool held;                /* `newest` waits for the end of min_interval */
};

int rules_new(struct rules **ret_rules)
{
    struct rules *rules = calloc(1, sizeof(*rules));

    if (!rules)
        return -ENOMEM;
    rules->newest.bytes = rules->last.bytes = STRBUF_INIT;
    *ret_rules = rules;
    return 0;
}

struct rules *rules_free(struct rules *rules)
{
    if (!rules)
        return NULL;
    strbuf_done(&rules->newest.bytes);
    strbuf_done(&rules->last.bytes);
    free(rules);
    return NULL;
}

void rules_forget(struct rules *rules)
{
    rules->newest.there = rules->last.there = rules->held = false;
}

static void keep(struct kept *kept, const struct rules_value *value)
{
    if (value->data != kept->bytes.data || !kept->there) {
        strbuf_reset(&kept->bytes);
        strbuf_append(&kept->bytes, value->data, value->length);
    }
    kept->real_us = value->real_us;
    kept->there = strbuf_ok(&kept->bytes);
}

static bool give(const struct kept *kept, struct rules_value *ret_value)
{
    if (!kept->there)
        return false;
    *ret_value = (struct rules_value){kept->bytes.data, kept->bytes.length, kept->real_us};
    return true;
}

bool rules_last(const struct rules *rules, struct rules_value *ret_value)
{
    return give(&rules->last, ret_value);
}

bool rules_newest(const struct rules *rules, struct rules_value *ret_value)
{
    return give(&rules->newest, ret_value);
}

bool rules_holds(const struct rules *rules)
{
    return rules->held;
}

enum rules_verdict rules_take(struct rules *rules, const struct rules_settings *settings,
                              uint64_t now_us, const struct rules_value *value, bool differs,
                              unsigned *ret_thinned)
{
    bool first = !rules->last.there;
    uint64_t since_us = first ? 0 : now_us - rules->published_us;
    bool beat = settings->heartbeat_ms && since_us >= MS_TO_US(settings->heartbeat_ms);
    unsigned thinned = rules->held; /* a newer one takes its place, or settles it */
    enum rules_verdict verdict;

    keep(&rules->newest, value);
    rules->held = false;
    if (!rules->newest.there || first) {
        verdict = RULES_PUBLISH;
    } else if (settings->on_change && !differs && !beat) {
        thinned++;
        verdict = RULES_SKIP;
    } else if (settings->min_interval_ms && since_us < MS_TO_US(settings->min_interval_ms)) {
        rules->held = true;
        verdict = RULES_HOLD;
    } else {
        verdict = RULES_PUBLISH;
    }
    if (ret_thinned)
        *ret_thinned = thinned;
    return verdict;
}

void rules_published(struct rules *rules, uint64_t now_us, const struct rules_value *value)
{
    keep(&rules->newest, value);
    keep(&rules->last, value);
    rules->published_us = now_us;
    rules->held = false;
}

uint64_t rules_due_us(const struct rules *rules, const struct rules_settings *settings, bool live)
{
    if (!rules->last.there)
        return TIME_NEVER;
    if (rules->held)
        return rules->published_us + MS_TO_US(settings->min_interval_ms);
    if (live && settings->heartbeat_ms)
        return rules->published_us +
               MS_TO_US(MAX_OF(settings->heartbeat_ms, settings->min_interval_ms));
    return TIME_NEVER;
}
