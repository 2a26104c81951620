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
 * status kinds or all values. Of each topic the last retained value that the broker took is kept,
 * for a broker that loses its memory. A message on which connection after connection ends is given
 * up, see struct outbox_cut. Pure: no clock, no socket.
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
    size_t kept;       /* retained values that the broker has */
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
    /* Nothing but room in the window depends on its outbox_done(), which may come late as long as
     * not half of the window waits for it. (On the clearing of a topic the list of topics waits.)
     */
    bool patient;
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
    uint64_t put_us;         /* now; used with expiry_s by outbox_republish() */
    const void *correlation; /* copied */
    size_t correlation_length;
};

MUST_CHECK
int outbox_new(const struct outbox_limits *limits, struct outbox **ret_outbox);
struct outbox *outbox_free(struct outbox *outbox);
/* what is beyond them goes, oldest first, and is counted */
void outbox_set_limits(struct outbox *outbox, const struct outbox_limits *limits);

/* Takes a copy. -ENOMEM; a message longer than the limits alone allow is -EMSGSIZE; one that cut
 * the connection before is -EPERM. */
MUST_CHECK
int outbox_put(struct outbox *outbox, const struct outbox_put *put);
/* Forgets what is queued or kept for a topic and is not in flight; how much was queued. */
size_t outbox_forget(struct outbox *outbox, const char *topic);
/* What is queued for a topic of a status kind goes behind all others of status kinds. */
void outbox_defer(struct outbox *outbox, const char *topic);
/* Whether something for the topic is queued or in flight. */
bool outbox_holds(const struct outbox *outbox, const char *topic);

/* The broker is there; `window` unacknowledged QoS 1 messages (1 or more), `window_qos0` QoS 0
 * messages that are not yet written. */
void outbox_open(struct outbox *outbox, unsigned window, unsigned window_qos0);
/*
 * What was alone in flight when the connection ended. A broker that cannot say no ends the
 * connection instead (MQTT 3.1.1 has no other answer to a message too long or not allowed), and
 * would so for ever. So the messages of a topic on which two connections ended in a row go alone;
 * when a third ends on one that is longer than all that the broker ever took (of the others: an
 * eighth, for there may be another cause), it is given up, and what is put to its topic and is not
 * shorter is -EPERM until outbox_forgive(). An acknowledgement clears the topic of suspicion.
 */
struct outbox_cut {
    const char *topic; /* NULL: there was not exactly one */
    size_t length;
    unsigned n_cuts; /* connections in a row that ended on this topic */
    bool given_up;
    size_t n_given_up; /* with it what was queued behind and is not shorter */
};
#define OUTBOX_CUTS_SUSPICIOUS 2
#define OUTBOX_CUTS_MAX_LONG   3
#define OUTBOX_CUTS_MAX        8

/* The connection is gone: what was not done is queued again, first and in order, with a new token;
 * the old ones are unknown from now on. Nothing goes until outbox_open(). `suspicious`: what was in
 * flight may be the cause. */
void outbox_reset(struct outbox *outbox, bool suspicious);
/* of the last outbox_reset(); good until the outbox is used again */
const struct outbox_cut *outbox_last_cut(const struct outbox *outbox);
/* Whatever was given up or refused may be tried and told again: the broker may be another one. */
void outbox_forgive(struct outbox *outbox);
/* The broker had lost its memory when it came: what it took on connections before is queued again
 * unless something newer is. Returns how many. */
size_t outbox_republish(struct outbox *outbox, uint64_t now_us);
/* What the broker keeps is published once more: somebody has come who may have missed it. */
void outbox_repeat(struct outbox *outbox, uint64_t now_us);
/* Holds back values (status kinds still go): true until the announcement is out. */
void outbox_hold_values(struct outbox *outbox, bool hold);

/* The next message that may go now; it counts as in flight from then on. False: none. */
bool outbox_next(struct outbox *outbox, struct outbox_message *ret_message);
/* The broker has it (QoS 1), or it is written (QoS 0). Any order will
 * do, but the window has room again only when the topic's older ones are done, too: so none of them
 * can be sent again behind a newer one. An unknown token is ignored. True if it was known. */
bool outbox_done(struct outbox *outbox, uint64_t token);
struct outbox_refusal {
    const char *topic; /* good until the outbox is used again */
    size_t length;
    bool first; /* of this topic since outbox_forgive() */
};
/* The broker refused it for good; otherwise like outbox_done(). */
bool outbox_refused(struct outbox *outbox, uint64_t token, struct outbox_refusal *ret_refusal);

void outbox_get_stats(const struct outbox *outbox, struct outbox_stats *ret_stats);
/* nothing queued, nothing in flight */
bool outbox_is_empty(const struct outbox *outbox);
