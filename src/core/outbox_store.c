/* Messages, topics and the heap of the outbox; see outbox_store.h. */
#define HASH_NONFATAL_OOM            1
#define uthash_nonfatal_oom(element) ((element)->unhashed = true)
#include "core/outbox_store.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#define SPARES_MAX      64   /* messages kept for reuse, */
#define SPARE_SIZE_MAX  1024 /* none larger than this */
#define SPARE_SIZE_MIN  128
#define IDLE_TOPICS_MAX 1024 /* topics remembered without a message */
#define TRIM_AFTER      2048 /* a burst of so many messages gives its memory back */

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

/* never fails: outbox_heap_reserve() made room when the message came in */
void outbox_heap_add(struct outbox *outbox, struct message *message)
{
    outbox->heap_length++;
    heap_place(outbox, outbox->heap_length - 1, message);
}

void outbox_heap_remove(struct outbox *outbox, struct message *message)
{
    size_t index = message->heap_index;

    if (index == OUTBOX_NOT_IN_HEAP)
        return;
    message->heap_index = OUTBOX_NOT_IN_HEAP;
    struct message *last = outbox->heap[--outbox->heap_length];
    if (last != message)
        heap_place(outbox, index, last);
}

bool outbox_heap_reserve(struct outbox *outbox, size_t n)
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

struct topic *outbox_topic_get(struct outbox *outbox, const char *name)
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

/* whether nothing would be lost with it but that it is known */
static bool is_idle(const struct topic *topic)
{
    return !topic->n_queued && !topic->n_in_flight && !topic->kept && !topic->cut_size;
}

void outbox_topic_wake(struct outbox *outbox, struct topic *topic)
{
    if (is_idle(topic)) {
        DL_DELETE(outbox->idle, topic);
        outbox->n_idle--;
    }
}

void outbox_topic_rest(struct outbox *outbox, struct topic *topic)
{
    if (!is_idle(topic))
        return;
    DL_APPEND(outbox->idle, topic);
    outbox->n_idle++;
    while (outbox->n_idle > IDLE_TOPICS_MAX) {
        struct topic *oldest = outbox->idle;
        DL_DELETE(outbox->idle, oldest);
        outbox->n_idle--;
        outbox_topic_clear(outbox, oldest);
        HASH_DEL(outbox->topics, oldest);
        free(oldest);
    }
}

void outbox_topic_clear(struct outbox *outbox, struct topic *topic)
{
    outbox->n_suspects -= topic->cuts > 0;
    topic->cuts = 0;
}

/* ---- messages ---- */

size_t outbox_message_size(const struct message *message)
{
    return message->length + message->correlation_length;
}

size_t outbox_message_bytes(const struct message *message)
{
    return message->topic->length + outbox_message_size(message);
}

struct message *outbox_message_get(struct outbox *outbox, size_t size)
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
void outbox_give_memory_back(struct outbox *outbox)
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

void outbox_message_release(struct outbox *outbox, struct message *message)
{
    if (outbox->n_spares < SPARES_MAX && message->size <= SPARE_SIZE_MAX) {
        message->place = PLACE_SPARE;
        DL_PREPEND(outbox->spares, message);
        outbox->n_spares++;
    } else {
        free(message);
    }
}
