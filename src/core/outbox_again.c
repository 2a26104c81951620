/*
 * The outbox and a broker that forgets or cannot say no: what is published again, and what never
 * again; see outbox.h.
 */
#include "core/outbox_store.h"

#include "util/time.h"
#include <utlist.h>

/* Called with everything that was in flight still there. */
void outbox_judge_cut(struct outbox *outbox)
{
    struct message *message, *open = NULL;
    size_t n_open = 0;

    DL_FOREACH (outbox->flight, message) {
        struct topic *topic = message->topic;
        if (message->done)
            continue;
        n_open++;
        open = message;
        outbox->n_suspects += topic->cuts == 0;
        topic->cuts += topic->last_cut != outbox->n_cuts || topic->cuts == 0;
        topic->last_cut = outbox->n_cuts;
    }
    if (n_open != 1)
        return;
    struct topic *topic = open->topic;
    outbox->cut.topic = topic->name;
    outbox->cut.length = open->length;
    outbox->cut.n_cuts = topic->cuts;
    bool is_long = outbox_message_size(open) > outbox->longest_done;
    if (topic->cuts < (is_long ? OUTBOX_CUTS_MAX_LONG : OUTBOX_CUTS_MAX))
        return;
    outbox->cut.given_up = true;
    outbox_topic_clear(outbox, topic);
    topic->cut_size = MAX_OF(outbox_message_size(open), (size_t)1);
}

const struct outbox_cut *outbox_last_cut(const struct outbox *outbox)
{
    return &outbox->cut;
}

void outbox_forgive(struct outbox *outbox)
{
    /* A topic that is put to rest may push another one out, but never itself. */
    for (struct topic *topic = outbox->topics; topic; topic = topic->hh.next) {
        topic->refusal_told = false;
        if (!topic->cut_size)
            continue;
        topic->cut_size = 0;
        outbox_topic_rest(outbox, topic);
    }
}

/* `all`: also what it took on this connection */
static size_t publish_kept(struct outbox *outbox, uint64_t now_us, bool all)
{
    size_t n = 0;

    /* the limits may push a topic out, but never this one */
    for (struct topic *topic = outbox->topics; topic; topic = topic->hh.next) {
        struct message *message = topic->kept;
        if (!message || topic->newest || (!all && message->n_cuts == outbox->n_cuts))
            continue; /* a newer one goes anyway, or it came after the memory was lost */
        uint64_t age_s = (now_us - message->put_us) / MS_TO_US(1000);
        if (message->expiry_s && age_s >= message->expiry_s)
            continue; /* nobody would get it */
        if (!outbox_heap_reserve(outbox, outbox->n_values + 1))
            break;
        if (message->expiry_s) {
            message->expiry_s -= (uint32_t)age_s;
            message->put_us = now_us;
        }
        topic->kept = NULL;
        outbox->n_kept--;
        outbox->n_held++;
        message->done = message->refused = false;
        outbox_append_value(outbox, message);
        n++;
    }
    return n;
}

size_t outbox_republish(struct outbox *outbox, uint64_t now_us)
{
    return publish_kept(outbox, now_us, false);
}

void outbox_repeat(struct outbox *outbox, uint64_t now_us)
{
    (void)publish_kept(outbox, now_us, true);
}
