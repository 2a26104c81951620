/*
 * What waits for the broker. Two kinds of queue, both bounded:
 *  - latest: status, info, devices, availability, link: per topic only the newest is kept; they go
 *    first, in the order in which their topics were first queued;
 *  - values: first in, first out. When the buffer is full the oldest go, but never a topic's
 *    newest, and they are counted. The limits count what is held, in flight or not; what is in
 *    flight is never dropped.
 * A message leaves when its window has room (QoS 1: unacknowledged ones; QoS 0: not yet written)
 * and is kept until the broker has it; after a lost connection what was not acknowledged is sent
 * again, first and in order (of a newest-only topic: the newest). Both windows share one order:
 * what cannot go now holds back all that is behind it. The messages of a topic are either all
 * status kinds or all values. Pure: no clock, no socket.
 */
#pragma once

#include "util/err.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct outbox;

struct outbox_limits {
    size_t messages; /* of values */
    size_t bytes;    /* payload and topic of values */
};

struct outbox_stats {
    size_t queued, queued_bytes, in_flight;
    uint64_t dropped;  /* by the limits */
    uint64_t thinned;  /* replaced by a newer one of a newest-only topic of values */
    uint64_t accepted; /* values taken in */
};

/* So much beyond the limits may be held where topics are so many that their newest alone exceed
 * them; past that the oldest go whatever they are. */
#define OUTBOX_EXTRA_MESSAGES 65536
#define OUTBOX_EXTRA_BYTES    (32 << 20)

/* What is to be published; borrowed pointers stay good until the message is acknowledged, or the
 * outbox is changed by outbox_reset() or outbox_free(). */
struct outbox_message {
    uint64_t token; /* names it in outbox_done() */
    const char *topic;
    const void *payload;
    size_t length;
    uint8_t qos;
    bool retain;
    uint32_t expiry_s;       /* MQTT 5 message expiry; 0: none */
    const void *correlation; /* MQTT 5 correlation data or NULL */
    size_t correlation_length;
};

struct outbox_put {
    const char *topic; /* copied (once per topic) */
    const void *payload;
    size_t length;
    uint8_t qos;
    bool retain;
    bool latest_only; /* status kinds, and values with history: latest */
    bool status;      /* goes before values; implies latest_only; not counted to the limits */
    uint32_t expiry_s;
    const void *correlation; /* copied */
    size_t correlation_length;
};

MUST_CHECK
int outbox_new(const struct outbox_limits *limits, struct outbox **ret_outbox);
struct outbox *outbox_free(struct outbox *outbox);

/* Takes a copy. -ENOMEM; a message longer than the limits alone allow is -EMSGSIZE. */
MUST_CHECK
int outbox_put(struct outbox *outbox, const struct outbox_put *put);
/* Forgets what is queued for a topic and is not in flight. */
void outbox_forget(struct outbox *outbox, const char *topic);

/* The broker is there; `window` unacknowledged QoS 1 messages (1 or more), `window_qos0` QoS 0
 * messages that are not yet written. */
void outbox_open(struct outbox *outbox, unsigned window, unsigned window_qos0);
/* The connection is gone: what was not done is queued again, first and in order, with a new token;
 * the old ones are unknown from now on. Nothing goes until outbox_open(). */
void outbox_reset(struct outbox *outbox);
/* Holds back values (status kinds still go): true until the announcement is out. */
void outbox_hold_values(struct outbox *outbox, bool hold);

/* The next message that may go now; it counts as in flight from then on. False: none. */
bool outbox_next(struct outbox *outbox, struct outbox_message *ret_message);
/* The broker has it (QoS 1), or it is written (QoS 0), or it was refused for good. Any order will
 * do, but the window has room again only when the topic's older ones are done, too: so none of them
 * can be sent again behind a newer one. An unknown token is ignored. True if it was known. */
bool outbox_done(struct outbox *outbox, uint64_t token);

void outbox_get_stats(const struct outbox *outbox, struct outbox_stats *ret_stats);
/* nothing queued, nothing in flight */
bool outbox_is_empty(const struct outbox *outbox);
