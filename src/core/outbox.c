/*
 * What waits for the broker; see outbox.h. Must not know what the messages mean, nor MQTT beyond
 * QoS.
 *
 * A message is one block of memory (struct message with topic reference, payload and correlation)
 * that is in exactly one list: a queue, the flight list, or the spare list for reuse. The queue of
 * values is sorted by `order`; those of its messages that are not their topic's newest also stand
 * in a heap by `order`, so that the oldest to drop is found at once however many topics there are.
 */
#include "core/outbox.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#define HASH_NONFATAL_OOM            1
#define uthash_nonfatal_oom(element) ((element)->unhashed = true)
#include <uthash.h>
#include <utlist.h>

#define SPARES_MAX      64   /* messages kept for reuse, */
#define SPARE_SIZE_MAX  4096 /* none larger than this */
#define SPARE_SIZE_MIN  128
#define IDLE_TOPICS_MAX 1024 /* topics remembered without a message */
#define TRIM_AFTER      2048 /* a burst of so many messages gives its memory back */
#define NOT_IN_HEAP     SIZE_MAX

struct topic {
    struct message *newest;        /* borrowed: last of its values, queued or in flight; or NULL */
    struct message *queued_status; /* borrowed, or NULL */
    size_t n_queued, n_in_flight;
    bool unhashed;             /* the hash had no memory for it */
    struct topic *prev, *next; /* idle list: no messages */
    UT_hash_handle hh;
    size_t length;
    char name[];
};

enum place { PLACE_SPARE, PLACE_VALUES, PLACE_STATUS, PLACE_FLIGHT };

struct message {
    struct message *prev, *next;
    struct topic *topic; /* borrowed */
    enum place place;
    uint64_t order; /* of values: first in, first out */
    uint64_t token; /* in flight */
    size_t heap_index;
    size_t size; /* of data */
    size_t length, correlation_length;
    uint32_t expiry_s;
    uint8_t qos;
    bool retain, latest_only, status, has_correlation;
    bool done;   /* the broker has it, but not yet an older one of the same topic */
    char data[]; /* payload, correlation */
};

struct outbox {
    struct outbox_limits limits;
    struct topic *topics;                     /* owned, hash by name */
    struct topic *idle;                       /* owned by the hash; the longest idle first */
    struct message *values, *status, *flight; /* owned */
    struct message *spares;                   /* owned */
    struct message **heap;                    /* owned array, borrowed entries */
    size_t heap_length, heap_size;
    size_t n_idle, n_spares;
    size_t n_values, values_bytes; /* values held, queued or in flight: what the limits count */
    size_t n_held, n_held_most;    /* all kinds; the most since memory was given back */
    size_t n_queued, queued_bytes, n_in_flight;
    unsigned window, window_qos0, used, used_qos0;
    bool open, hold_values;
    uint64_t next_order, next_token;
    uint64_t dropped, thinned, accepted;
};

/* ---- the heap of values that may be dropped, the oldest on top ---- */

static void heap_set(struct outbox *outbox, size_t index, struct message *message)
{
    outbox->heap[index] = message;
    message->heap_index = index;
}

static void heap_place(struct outbox *outbox, size_t index, struct message *message)
{
    while (index && outbox->heap[(index - 1) / 2]->order > message->order) {
        heap_set(outbox, index, outbox->heap[(index - 1) / 2]);
        index = (index - 1) / 2;
    }
    for (;;) {
        size_t child = index * 2 + 1;

        if (child + 1 < outbox->heap_length &&
            outbox->heap[child + 1]->order < outbox->heap[child]->order)
            child++;
        if (child >= outbox->heap_length || outbox->heap[child]->order > message->order)
            break;
        heap_set(outbox, index, outbox->heap[child]);
        index = child;
    }
    heap_set(outbox, index, message);
}

/* never fails: heap_reserve() made room when the message came in */
static void heap_add(struct outbox *outbox, struct message *message)
{
    outbox->heap_length++;
    heap_place(outbox, outbox->heap_length - 1, message);
}

static void heap_remove(struct outbox *outbox, struct message *message)
{
    size_t index = message->heap_index;

    if (index == NOT_IN_HEAP)
        return;
    message->heap_index = NOT_IN_HEAP;
    struct message *last = outbox->heap[--outbox->heap_length];
    if (last != message)
        heap_place(outbox, index, last);
}

static bool heap_reserve(struct outbox *outbox, size_t n)
{
    if (n <= outbox->heap_size)
        return true;
    size_t size = MAX_OF(outbox->heap_size * 2, (size_t)SPARES_MAX);
    struct message **heap = reallocarray(outbox->heap, size, sizeof(struct message *));
    if (!heap)
        return false;
    outbox->heap = heap;
    outbox->heap_size = size;
    return true;
}

/* ---- topics ---- */

static struct topic *topic_get(struct outbox *outbox, const char *name)
{
    struct topic *topic;
    size_t length = strlen(name);

    HASH_FIND(hh, outbox->topics, name, length, topic);
    if (topic)
        return topic;
    topic = calloc(1, sizeof(*topic) + length + 1);
    if (!topic)
        return NULL;
    topic->length = length;
    memcpy(topic->name, name, length + 1);
    HASH_ADD_KEYPTR(hh, outbox->topics, topic->name, length, topic);
    if (topic->unhashed) {
        free(topic);
        return NULL;
    }
    DL_APPEND(outbox->idle, topic);
    outbox->n_idle++;
    return topic;
}

static void topic_wake(struct outbox *outbox, struct topic *topic)
{
    if (!topic->n_queued && !topic->n_in_flight) {
        DL_DELETE(outbox->idle, topic);
        outbox->n_idle--;
    }
}

static void topic_rest(struct outbox *outbox, struct topic *topic)
{
    if (topic->n_queued || topic->n_in_flight)
        return;
    DL_APPEND(outbox->idle, topic);
    outbox->n_idle++;
    while (outbox->n_idle > IDLE_TOPICS_MAX) {
        struct topic *oldest = outbox->idle;
        DL_DELETE(outbox->idle, oldest);
        outbox->n_idle--;
        HASH_DEL(outbox->topics, oldest);
        free(oldest);
    }
}

/* ---- messages ---- */

static size_t message_bytes(const struct message *message)
{
    return message->topic->length + message->length + message->correlation_length;
}

static struct message *message_get(struct outbox *outbox, size_t size)
{
    struct message *message = outbox->spares;

    if (message) {
        DL_DELETE(outbox->spares, message);
        outbox->n_spares--;
        if (message->size >= size)
            return message;
    }
    /* rounded up, so that a reused one soon fits every payload */
    size_t rounded = SPARE_SIZE_MIN;
    while (rounded < size && rounded < SPARE_SIZE_MAX)
        rounded *= 2;
    rounded = MAX_OF(rounded, size);
    free(message);
    message = malloc(sizeof(*message) + rounded);
    if (message)
        message->size = rounded;
    return message;
}

/* Memory of a burst goes back to the system, not only to malloc: a gateway runs for months. */
static void give_memory_back(struct outbox *outbox)
{
    outbox->n_held_most = MAX_OF(outbox->n_held_most, outbox->n_held);
    if (outbox->n_held > SPARES_MAX || outbox->n_held_most < TRIM_AFTER)
        return;
    outbox->n_held_most = outbox->n_held;
    struct message **heap = reallocarray(outbox->heap, SPARES_MAX + 1, sizeof(struct message *));
    if (heap) {
        outbox->heap = heap;
        outbox->heap_size = SPARES_MAX + 1;
    }
    malloc_trim(0);
}

static void message_release(struct outbox *outbox, struct message *message)
{
    if (outbox->n_spares < SPARES_MAX && message->size <= SPARE_SIZE_MAX) {
        message->place = PLACE_SPARE;
        DL_PREPEND(outbox->spares, message);
        outbox->n_spares++;
    } else {
        free(message);
    }
}

/* counts a message that enters a queue */
static void count_queued(struct outbox *outbox, struct message *message)
{
    message->place = message->status ? PLACE_STATUS : PLACE_VALUES;
    message->topic->n_queued++;
    outbox->n_queued++;
    outbox->queued_bytes += message_bytes(message);
}

/* takes it out of its queue and of the counts; it still belongs to its topic */
static void unlink_queued(struct outbox *outbox, struct message *message)
{
    if (message->place == PLACE_STATUS) {
        DL_DELETE(outbox->status, message);
        message->topic->queued_status = NULL;
    } else {
        DL_DELETE(outbox->values, message);
        heap_remove(outbox, message);
    }
    message->topic->n_queued--;
    outbox->n_queued--;
    outbox->queued_bytes -= message_bytes(message);
}

/* of one that is in no list any more */
static void message_end(struct outbox *outbox, struct message *message)
{
    struct topic *topic = message->topic;

    if (!message->status) {
        outbox->n_values--;
        outbox->values_bytes -= message_bytes(message);
    }
    if (topic->newest == message)
        topic->newest = NULL;
    outbox->n_held--;
    topic_rest(outbox, topic);
    message_release(outbox, message);
    give_memory_back(outbox);
}

static void discard_queued(struct outbox *outbox, struct message *message)
{
    unlink_queued(outbox, message);
    message_end(outbox, message);
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
    message->heap_index = NOT_IN_HEAP;
    message->token = 0;
    message->length = put->length;
    message->has_correlation = put->correlation != NULL;
    message->correlation_length = put->correlation ? put->correlation_length : 0;
    message->expiry_s = put->expiry_s;
    message->qos = put->qos;
    message->retain = put->retain;
    message->status = put->status;
    message->latest_only = put->latest_only || put->status;
    message->done = false;
    if (put->length)
        memcpy(message->data, put->payload, put->length);
    if (message->correlation_length)
        memcpy(message->data + put->length, put->correlation, message->correlation_length);
}

static void put_status(struct outbox *outbox, struct message *message)
{
    struct message *old = message->topic->queued_status;

    count_queued(outbox, message);
    if (old) { /* keeps its place */
        DL_PREPEND_ELEM(outbox->status, old, message);
        discard_queued(outbox, old);
    } else {
        DL_APPEND(outbox->status, message);
    }
    message->topic->queued_status = message;
}

static void put_value(struct outbox *outbox, struct message *message)
{
    struct topic *topic = message->topic;
    struct message *old = topic->newest;

    outbox->n_values++;
    outbox->values_bytes += message_bytes(message);
    outbox->accepted++;
    count_queued(outbox, message);
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
            heap_add(outbox, old);
    }
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
    if (!put->status && !heap_reserve(outbox, outbox->n_values + 1))
        return -ENOMEM;
    struct message *message = message_get(outbox, size);
    if (!message)
        return -ENOMEM;
    struct topic *topic = topic_get(outbox, put->topic);
    if (!topic) {
        message_release(outbox, message);
        return -ENOMEM;
    }
    topic_wake(outbox, topic);
    outbox->n_held++;
    fill(message, put, topic);
    if (put->status)
        put_status(outbox, message);
    else
        put_value(outbox, message);
    return 0;
}

void outbox_forget(struct outbox *outbox, const char *name)
{
    struct message *message, *next;
    struct topic *topic;

    HASH_FIND(hh, outbox->topics, name, strlen(name), topic);
    if (!topic)
        return;
    size_t left = topic->n_queued; /* the topic itself may go with its last message */
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

void outbox_reset(struct outbox *outbox)
{
    outbox->open = false;
    outbox->used = 0;
    outbox->used_qos0 = 0;
    /* from the last to the first, each before what is queued already */
    while (outbox->flight) {
        struct message *message = outbox->flight->prev; /* utlist: the head's prev is the tail */
        struct topic *topic = message->topic;

        DL_DELETE(outbox->flight, message);
        outbox->n_in_flight--;
        topic->n_in_flight--;
        message->token = 0;
        message->done = false;
        if (is_superseded(message)) {
            outbox->thinned += !message->status;
            message_end(outbox, message);
            continue;
        }
        count_queued(outbox, message);
        if (message->status) {
            DL_PREPEND(outbox->status, message);
            topic->queued_status = message;
            continue;
        }
        DL_PREPEND(outbox->values, message);
        if (!topic->newest)
            topic->newest = message;
        else if (topic->newest != message)
            heap_add(outbox, message);
    }
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
    };
    return true;
}

static void retire(struct outbox *outbox, struct message *message)
{
    DL_DELETE(outbox->flight, message);
    if (message->qos)
        outbox->used--;
    else
        outbox->used_qos0--;
    outbox->n_in_flight--;
    message->topic->n_in_flight--;
    message_end(outbox, message);
}

bool outbox_done(struct outbox *outbox, uint64_t token)
{
    struct message *found, *message, *next;

    DL_FOREACH (outbox->flight, found)
        if (found->token == token)
            break;
    if (!found || found->done)
        return false;
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
    };
}

bool outbox_is_empty(const struct outbox *outbox)
{
    return !outbox->n_queued && !outbox->n_in_flight;
}
