/*
 * The insides of the outbox: its structures, and where its messages and topics come from and go to.
 * For outbox*.c alone. A message is one block of memory (struct message with topic reference,
 * payload and correlation) that is in exactly one list: a queue, the flight list, or the spare list
 * for reuse. The queue of values is sorted by `order`; those of its messages that are not their
 * topic's newest also stand in a heap by `order`, so that the oldest to drop is found at once
 * however many topics there are.
 */
#pragma once

#include "core/outbox.h"

#include "util/hash.h"

#define HASH_FUNCTION(key, length, hash) ((hash) = hash_bytes(key, length))
#include <uthash.h>

#define OUTBOX_NOT_IN_HEAP SIZE_MAX

struct topic {
    struct message *newest;        /* borrowed: last of its values, queued or in flight; or NULL */
    struct message *queued_status; /* borrowed, or NULL */
    struct message *kept; /* owned: the last retained value that the broker took, or NULL */
    size_t n_queued, n_in_flight;
    unsigned cuts;             /* connections in a row that ended on it */
    uint64_t last_cut;         /* the number of the last one */
    size_t cut_size;           /* so long ones were given up after such cuts; 0: none */
    bool refusal_told;         /* somebody was told that the broker refuses it */
    bool unhashed;             /* the hash had no memory for it */
    struct topic *prev, *next; /* idle list: nothing else is remembered of it */
    UT_hash_handle hh;
    size_t length;
    char name[];
};

enum place { PLACE_SPARE, PLACE_VALUES, PLACE_STATUS, PLACE_FLIGHT, PLACE_KEPT };

struct message {
    struct message *prev, *next;
    struct topic *topic; /* borrowed */
    enum place place;
    uint64_t order; /* of values: first in, first out */
    uint64_t token; /* in flight */
    size_t heap_index;
    size_t size; /* of data */
    size_t length, correlation_length;
    uint64_t put_us; /* when it was put, for its expiry */
    uint64_t n_cuts; /* kept: the connections that had ended when the broker took it */
    uint32_t expiry_s;
    uint8_t qos;
    bool retain, latest_only, status, has_correlation;
    bool done;      /* over, but not yet an older one of the same topic */
    bool refused;   /* for good; with `done` */
    bool forgotten; /* it is not kept when the broker has it */
    char data[];    /* payload, correlation */
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
    size_t n_queued, queued_bytes, n_in_flight, n_kept;
    struct outbox_cut cut;
    uint64_t n_cuts;     /* connections that ended */
    size_t longest_done; /* that the broker took */
    size_t n_suspects;   /* topics with cuts */
    bool probing;        /* what is in flight goes alone: connections ended on it */
    unsigned window, window_qos0, used, used_qos0;
    bool open, hold_values;
    uint64_t next_order, next_token;
    uint64_t dropped, thinned, accepted;
};

/* never fails: outbox_heap_reserve() made room when the message came in */
void outbox_heap_add(struct outbox *outbox, struct message *message);
void outbox_heap_remove(struct outbox *outbox, struct message *message);
MUST_CHECK
bool outbox_heap_reserve(struct outbox *outbox, size_t n);
/* A topic that is not idle is woken before it gets messages, and put to rest when one has gone.
 * NULL when out of memory. */
struct topic *outbox_topic_get(struct outbox *outbox, const char *name);
void outbox_topic_wake(struct outbox *outbox, struct topic *topic);
void outbox_topic_rest(struct outbox *outbox, struct topic *topic);
size_t outbox_message_bytes(const struct message *message);
struct message *outbox_message_get(struct outbox *outbox, size_t size);
void outbox_give_memory_back(struct outbox *outbox);
void outbox_message_release(struct outbox *outbox, struct message *message);

/* Of a message that is in no list any more and belongs to its topic: gives it up. */
void outbox_message_end(struct outbox *outbox, struct message *message);
/* Puts it into its queue's counts; its caller links it. */
void outbox_count_queued(struct outbox *outbox, struct message *message);
/* a new value, last in its queue */
void outbox_append_value(struct outbox *outbox, struct message *message);
size_t outbox_message_size(const struct message *message); /* without its topic */
/* nothing speaks against it any more */
void outbox_topic_clear(struct outbox *outbox, struct topic *topic);
/* Judges what was in flight when the connection ended; before it is queued again. */
void outbox_judge_cut(struct outbox *outbox);
