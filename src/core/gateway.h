/*
 * The core's front: events in, actions out. Pure: no clock, no descriptor, no thread, no log. All
 * that the product promises is decided behind this header, and can be tested in simulated time.
 */
#pragma once

#include "core/action.h"
#include "core/event.h"
#include "core/settings.h"
#include "util/time.h"

struct gateway;

struct gateway_options {
    struct settings *settings; /* borrowed, until the gateway or a reload ends */
    uint64_t seed;             /* of the jitter: the same seed gives the same actions */
    const char *version;       /* borrowed */
};

MUST_CHECK
int gateway_new(const struct gateway_options *options, struct gateway **ret_gateway);
struct gateway *gateway_free(struct gateway *gateway);

/* Appends to *actions (the caller has reset it). Times must not run backwards. */
void gateway_handle(struct gateway *gateway, struct now now, const struct event *event,
                    struct actions *actions);
/*
 * The file has changed. 0: `next` is what the gateway works by from now on, and of the old settings
 * nothing is needed once *actions are carried out; both were changed, since what a device's
 * settings are made of moves from the old ones to `next` where they are the same.
 * GATEWAY_E_REFUSED: it cannot change so while it runs, -ENOMEM: out of memory; nothing has
 * changed, `next` is the caller's. Either way the broker was told.
 */
#define GATEWAY_E_REFUSED 1
MUST_CHECK
int gateway_reload(struct gateway *gateway, struct now now, struct settings *next,
                   struct actions *actions);
/* ... but cannot be read, for the reasons in `text`. */
void gateway_reload_failed(struct gateway *gateway, struct now now, const char *text,
                           struct actions *actions);
/* CLOCK_MONOTONIC microseconds at which EVENT_TIMER is due, or TIME_NEVER */
uint64_t gateway_next_deadline(const struct gateway *gateway);
/* the topic of the will, whose payload is "offline"; owned by the caller, NULL when out of memory
 */
char *gateway_will_topic(const struct settings *settings);
