/*
 * One LE connection as both its ends see it: packets travel at connection events only, the
 * supervision timeout ends a link whose peripheral went silent, L2CAP frames (Core Specification
 * Vol 3 Part A) go to the peripheral's ATT server, signalling and security manager. Pure; must not
 * know HCI's packets nor who advertises.
 */
#pragma once

#include "radio_att.h"

#define LINK_FRAGMENT   27  /* bytes of an ACL data packet: no data length extension */
#define LINK_HOST_MAX   16  /* ACL packets of the host that wait; what LE Read Buffer Size tells */
#define LINK_QUEUE_MAX  256 /* frames of the peripheral that wait */
#define LINK_QUEUE_HIGH 32  /* from here on the peripheral makes no new notifications */
#define LINK_PER_EVENT  16  /* fragments that fit into one connection event */

/* Reasons: Core Specification Vol 1 Part F */
#define HCI_E_TIMEOUT         0x08
#define HCI_E_REMOTE_USER     0x13
#define HCI_E_LOCAL_HOST      0x16
#define HCI_E_NOT_ESTABLISHED 0x3e

/* as HCI counts them */
struct link_parameters {
    uint16_t interval; /* 1.25 ms */
    uint16_t latency;
    uint16_t timeout; /* 10 ms */
};

struct link;

struct link_ops {
    /* a fragment for the host; `start`: the first of a frame */
    void (*fragment)(void *user, bool start, const uint8_t *data, size_t length);
    /* so many of the host's packets have left its buffers */
    void (*completed)(void *user, unsigned n_packets);
};

/* The link begins at now_us, which is its first connection event. The peripheral is borrowed and
 * outlives it; the model is told by the caller. -ENOMEM */
MUST_CHECK
int link_new(struct sim_peripheral *peripheral, struct link_parameters parameters, uint64_t now_us,
             const struct link_ops *ops, void *user, struct link **ret_link);
struct link *link_free(struct link *link);

/* an ACL data packet of the host; it travels at the next connection event */
void link_receive(struct link *link, uint64_t now_us, bool start, const uint8_t *data,
                  size_t length);
/* takes what the model wants notified, as far as the queue has room */
void link_take_due(struct link *link, uint64_t now_us);
/* when link_take_due() has something to do; TIME_NEVER: nothing, or no room */
uint64_t link_next_due(const struct link *link);
/* The peripheral ends the link: with HCI_E_TIMEOUT it falls silent and the supervision timeout must
 * pass, with HCI_E_NOT_ESTABLISHED it was never heard, with any other reason it says goodbye. */
void link_drop(struct link *link, uint64_t now_us, uint8_t reason);
/* the host ends it */
void link_disconnect(struct link *link, uint64_t now_us);
/* false: it is ending, or the peripheral does not answer any more */
bool link_is_up(const struct link *link);
void link_set_parameters(struct link *link, struct link_parameters parameters, uint64_t now_us);
struct link_parameters link_parameters(const struct link *link);
uint16_t link_mtu(const struct link *link);
/* The peripheral asks for other parameters (Vol 3 Part A 4.20). */
void link_request_parameters(struct link *link, uint64_t now_us, uint16_t interval_min,
                             uint16_t interval_max, uint16_t latency, uint16_t timeout);

/* the next connection event with something to do, or the link's end; TIME_NEVER: none */
uint64_t link_deadline(const struct link *link);
/* Runs one connection event if it is due. Returns 0, or the reason why the link has just ended: the
 * caller frees it. */
uint8_t link_run(struct link *link, uint64_t now_us);
