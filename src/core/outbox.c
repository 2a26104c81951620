/*
 * What waits for the broker; see outbox.h. Must not know what the messages mean, nor MQTT beyond
 * QoS.
 */
#include "core/outbox_store.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

/* ---- queues ---- */

void outbox_count_queued(struct outbox *outbox, struct message *message)
{
    message->place = message->status ? PLACE_STATUS : PLACE_VALUES;
    message->topic->n_queued++;
    outbox->n_queued++;
    outbox->queued_bytes += outbox_message_bytes(message);
}

/* takes it out of its queue and of the counts; it still belongs to its topic */
static void unlink_queued(struct outbox *outbox, struct message *message)
{
    if (message->place == PLACE_STATUS) {
        DL_DELETE(outbox->status, message);
        message->topic->queued_status = NULL;
    } else {
        DL_DELETE(outbox->values, message);
        outbox_heap_remove(outbox, message);
    }
    message->topic->n_queued--;
    outbox->n_queued--;
    outbox->queued_bytes -= outbox_message_bytes(message);
}

void outbox_message_end(struct outbox *outbox, struct message *message)
{
    struct topic *topic = message->topic;

    if (!message->status) {
        outbox->n_values--;
        outbox->values_bytes -= outbox_message_bytes(message);
    }
    if (topic->newest == message)
        topic->newest = NULL;
    outbox->n_held--;
    if (message->place != PLACE_KEPT)
        outbox_message_release(outbox, message);
    outbox_topic_rest(outbox, topic);
    outbox_give_memory_back(outbox);
}

static void discard_queued(struct outbox *outbox, struct message *message)
{
    unlink_queued(outbox, message);
    outbox_message_end(outbox, message);
}

/* ---- the outside ---- */

int outbox_new(const struct outbox_limits *limits, struct outbox **ret_outbox)
{
    struct outbox *outbox = calloc(1, sizeof(*outbox));

    if (!outbox)
        return -ENOMEM;
    outbox->limits = *limits;
    outbox->next_token = 1;
    *ret_outbox = outbox;
    return 0;
}

static void free_list(struct message *list)
{
    while (list) {
        struct message *next = list->next;
        free(list);
        list = next;
    }
}

struct outbox *outbox_free(struct outbox *outbox)
{
    struct topic *topic, *next;

    if (!outbox)
        return NULL;
    free_list(outbox->values);
    free_list(outbox->status);
    free_list(outbox->flight);
    free_list(outbox->spares);
    HASH_ITER (hh, outbox->topics, topic, next) {
        HASH_DEL(outbox->topics, topic);
        free(topic->kept);
        free(topic);
    }
    free(outbox->heap);
    free(outbox);
    return NULL;
}

static bool is_over(const struct outbox *outbox, size_t extra_messages, size_t extra_bytes)
{
    return outbox->n_values > outbox->limits.messages + extra_messages ||
           outbox->values_bytes > outbox->limits.bytes + extra_bytes;
}

static void enforce_limits(struct outbox *outbox)
{
    while (is_over(outbox, 0, 0)) {
        struct message *oldest = NULL;

        if (outbox->heap_length)
            oldest = outbox->heap[0];
        else if (is_over(outbox, OUTBOX_EXTRA_MESSAGES, OUTBOX_EXTRA_BYTES))
            oldest = outbox->values;
        if (!oldest)
            return;
        outbox->dropped++;
        discard_queued(outbox, oldest);
    }
}

static void fill(struct message *message, const struct outbox_put *put, struct topic *topic)
{
    message->topic = topic;
    message->heap_index = OUTBOX_NOT_IN_HEAP;
    message->token = 0;
    message->length = put->length;
    message->has_correlation = put->correlation != NULL;
    message->correlation_length = put->correlation ? put->correlation_length : 0;
    message->put_us = put->put_us;
    message->expiry_s = put->expiry_s;
    message->qos = put->qos;
    message->retain = put->retain;
    message->status = put->status;
    message->latest_only = put->latest_only || put->status;
    message->done = message->refused = message->forgotten = false;
    if (put->length)
        memcpy(message->data, put->payload, put->length);
    if (message->correlation_length)
        memcpy(message->data + put->length, put->correlation, message->correlation_length);
}

static void put_status(struct outbox *outbox, struct message *message)
{
    struct message *old = message->topic->queued_status;

    outbox_count_queued(outbox, message);
    if (old) { /* keeps its place */
        DL_PREPEND_ELEM(outbox->status, old, message);
        discard_queued(outbox, old);
    } else {
        DL_APPEND(outbox->status, message);
    }
    message->topic->queued_status = message;
}

void outbox_append_value(struct outbox *outbox, struct message *message)
{
    struct topic *topic = message->topic;
    struct message *old = topic->newest;

    outbox->n_values++;
    outbox->values_bytes += outbox_message_bytes(message);
    outbox_count_queued(outbox, message);
    topic->newest = message;
    if (old && message->latest_only && old->place == PLACE_VALUES) {
        message->order = old->order;
        DL_PREPEND_ELEM(outbox->values, old, message);
        outbox->thinned++;
        discard_queued(outbox, old);
    } else {
        message->order = outbox->next_order++;
        DL_APPEND(outbox->values, message);
        if (old && old->place == PLACE_VALUES)
            outbox_heap_add(outbox, old);
    }
    enforce_limits(outbox);
}

void outbox_set_limits(struct outbox *outbox, const struct outbox_limits *limits)
{
    outbox->limits = *limits;
    enforce_limits(outbox);
}

int outbox_put(struct outbox *outbox, const struct outbox_put *put)
{
    size_t correlation = put->correlation ? put->correlation_length : 0;
    size_t size;

    if (__builtin_add_overflow(put->length, correlation, &size) || size > SIZE_MAX / 4)
        return -EMSGSIZE;
    if (!put->status && size + strlen(put->topic) > outbox->limits.bytes)
        return -EMSGSIZE;
    if (!put->status && !outbox_heap_reserve(outbox, outbox->n_values + 1))
        return -ENOMEM;
    struct topic *topic = outbox_topic_get(outbox, put->topic);
    if (!topic)
        return -ENOMEM;
    if (topic->cut_size && size >= topic->cut_size)
        return -EPERM;
    struct message *message = outbox_message_get(outbox, size);
    if (!message)
        return -ENOMEM;
    outbox_topic_wake(outbox, topic);
    outbox->n_held++;
    fill(message, put, topic);
    if (put->status) {
        put_status(outbox, message);
        return 0;
    }
    outbox->accepted++;
    outbox_append_value(outbox, message);
    return 0;
}

/* its topic may be idle after that: the caller puts it to rest */
static void drop_kept(struct outbox *outbox, struct topic *topic)
{
    outbox_message_release(outbox, topic->kept);
    topic->kept = NULL;
    outbox->n_kept--;
}

bool outbox_holds(const struct outbox *outbox, const char *name)
{
    struct topic *topic;

    HASH_FIND(hh, outbox->topics, name, strlen(name), topic);
    return topic && (topic->n_queued || topic->n_in_flight);
}

void outbox_defer(struct outbox *outbox, const char *name)
{
    struct topic *topic;

    HASH_FIND(hh, outbox->topics, name, strlen(name), topic);
    if (!topic || !topic->queued_status)
        return;
    DL_DELETE(outbox->status, topic->queued_status);
    DL_APPEND(outbox->status, topic->queued_status);
}

size_t outbox_forget(struct outbox *outbox, const char *name)
{
    struct message *message, *next;
    struct topic *topic;

    HASH_FIND(hh, outbox->topics, name, strlen(name), topic);
    if (!topic)
        return 0;
    if (topic->kept) {
        drop_kept(outbox, topic);
        outbox_topic_rest(outbox, topic);
    }
    DL_FOREACH (outbox->flight, message)
        message->forgotten |= message->topic == topic;
    size_t n = topic->n_queued, left = n; /* the topic itself may go with its last message */
    if (topic->queued_status) {
        discard_queued(outbox, topic->queued_status);
        left--;
    }
    for (message = outbox->values; left && message; message = next) {
        next = message->next;
        if (message->topic == topic) {
            discard_queued(outbox, message);
            left--;
        }
    }
    return n;
}

void outbox_open(struct outbox *outbox, unsigned window, unsigned window_qos0)
{
    outbox->open = true;
    outbox->window = MAX_OF(window, 1U);
    outbox->window_qos0 = MAX_OF(window_qos0, 1U);
}

/* Whether a newer one makes sending it again pointless. `message` was the last of the flight. */
static bool is_superseded(const struct message *message)
{
    const struct topic *topic = message->topic;

    if (message->status)
        return topic->queued_status;
    return message->latest_only && topic->newest && topic->newest != message;
}

static void give_up(struct outbox *outbox)
{
    struct message *lists[] = {outbox->status, outbox->values}, *message, *next;

    for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
        for (message = lists[i]; message; message = next) {
            const struct topic *topic = message->topic;
            next = message->next;
            if (!topic->cut_size || outbox_message_size(message) < topic->cut_size)
                continue;
            outbox->cut.n_given_up++;
            discard_queued(outbox, message);
        }
    }
}

void outbox_reset(struct outbox *outbox, bool suspicious)
{
    outbox->open = outbox->probing = false;
    outbox->used = 0;
    outbox->used_qos0 = 0;
    outbox->cut = (struct outbox_cut){0};
    outbox->n_cuts++;
    if (suspicious)
        outbox_judge_cut(outbox);
    /* from the last to the first, each before what is queued already */
    while (outbox->flight) {
        struct message *message = outbox->flight->prev; /* utlist: the head's prev is the tail */
        struct topic *topic = message->topic;

        DL_DELETE(outbox->flight, message);
        outbox->n_in_flight--;
        topic->n_in_flight--;
        message->token = 0;
        message->done = message->refused = false;
        if (is_superseded(message)) {
            outbox->thinned += !message->status;
            outbox_message_end(outbox, message);
            continue;
        }
        outbox_count_queued(outbox, message);
        if (message->status) {
            DL_PREPEND(outbox->status, message);
            topic->queued_status = message;
            continue;
        }
        DL_PREPEND(outbox->values, message);
        if (!topic->newest)
            topic->newest = message;
        else if (topic->newest != message)
            outbox_heap_add(outbox, message);
    }
    if (outbox->cut.given_up)
        give_up(outbox);
    enforce_limits(outbox);
}

void outbox_hold_values(struct outbox *outbox, bool hold)
{
    outbox->hold_values = hold;
}

bool outbox_next(struct outbox *outbox, struct outbox_message *ret_message)
{
    struct message *message = outbox->status;

    if (!message && !outbox->hold_values)
        message = outbox->values;
    if (!message || !outbox->open)
        return false;
    /* Strictly first in, first out: what cannot go now holds back what is behind it. */
    if (message->qos ? outbox->used >= outbox->window : outbox->used_qos0 >= outbox->window_qos0)
        return false;
    /* What connections ended on goes alone, to know whether it was the cause. */
    bool suspicious = message->topic->cuts >= OUTBOX_CUTS_SUSPICIOUS;
    if (outbox->probing || (suspicious && outbox->n_in_flight))
        return false;
    outbox->probing = suspicious;
    unlink_queued(outbox, message);
    if (message->qos)
        outbox->used++;
    else
        outbox->used_qos0++;
    message->place = PLACE_FLIGHT;
    message->token = outbox->next_token++;
    message->topic->n_in_flight++;
    outbox->n_in_flight++;
    DL_APPEND(outbox->flight, message);
    *ret_message = (struct outbox_message){
        .token = message->token,
        .topic = message->topic->name,
        .payload = message->data,
        .length = message->length,
        .qos = message->qos,
        .retain = message->retain,
        .expiry_s = message->expiry_s,
        .correlation = message->has_correlation ? message->data + message->length : NULL,
        .correlation_length = message->correlation_length,
        .patient = !message->status && message->length && !outbox->n_suspects,
    };
    return true;
}

static void retire(struct outbox *outbox, struct message *message)
{
    struct topic *topic = message->topic;

    DL_DELETE(outbox->flight, message);
    if (message->qos)
        outbox->used--;
    else
        outbox->used_qos0--;
    outbox->n_in_flight--;
    topic->n_in_flight--;
    outbox_topic_clear(outbox, topic);
    if (!outbox->n_in_flight)
        outbox->probing = false;
    if (!message->refused && message->qos)
        outbox->longest_done = MAX_OF(outbox->longest_done, outbox_message_size(message));
    if (!message->refused && message->retain && !message->status && !message->forgotten) {
        if (topic->kept)
            drop_kept(outbox, topic);
        if (message->length) { /* an empty one clears */
            topic->kept = message;
            message->place = PLACE_KEPT;
            message->n_cuts = outbox->n_cuts;
            outbox->n_kept++;
        }
    }
    outbox_message_end(outbox, message);
}

static struct message *find_in_flight(struct outbox *outbox, uint64_t token)
{
    struct message *found;

    DL_FOREACH (outbox->flight, found)
        if (found->token == token)
            return found->done ? NULL : found;
    return NULL;
}

static void finish(struct outbox *outbox, struct message *found)
{
    struct message *message, *next;

    found->done = true;
    /* A message is only over when the older ones of its topic are: were it forgotten before them
     * and the connection lost, an older one sent again would stand last at the broker. */
    struct topic *topic = found->topic;
    DL_FOREACH_SAFE (outbox->flight, message, next) {
        if (message->topic != topic)
            continue;
        if (!message->done)
            break;
        bool last = topic->n_in_flight == 1;
        retire(outbox, message);
        if (last)
            break;
    }
}

bool outbox_done(struct outbox *outbox, uint64_t token)
{
    struct message *found = find_in_flight(outbox, token);

    if (found)
        finish(outbox, found);
    return found;
}

bool outbox_refused(struct outbox *outbox, uint64_t token, struct outbox_refusal *ret_refusal)
{
    struct message *found = find_in_flight(outbox, token);

    if (!found)
        return false;
    *ret_refusal = (struct outbox_refusal){
        .topic = found->topic->name, .length = found->length, .first = !found->topic->refusal_told};
    found->topic->refusal_told = found->refused = true;
    finish(outbox, found);
    return true;
}

void outbox_get_stats(const struct outbox *outbox, struct outbox_stats *ret_stats)
{
    *ret_stats = (struct outbox_stats){
        .queued = outbox->n_queued,
        .queued_bytes = outbox->queued_bytes,
        .in_flight = outbox->n_in_flight,
        .dropped = outbox->dropped,
        .thinned = outbox->thinned,
        .accepted = outbox->accepted,
        .kept = outbox->n_kept,
    };
}

bool outbox_is_empty(const struct outbox *outbox)
{
    return !outbox->n_queued && !outbox->n_in_flight;
}
