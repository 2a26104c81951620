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
    const struct settings *settings; /* borrowed, outlives the gateway */
    uint64_t seed;                   /* of the jitter: the same seed gives the same actions */
    const char *version;             /* borrowed */
};

MUST_CHECK
int gateway_new(const struct gateway_options *options, struct gateway **ret_gateway);
struct gateway *gateway_free(struct gateway *gateway);

/* Appends to *actions (the caller has reset it). Times must not run backwards. */
void gateway_handle(struct gateway *gateway, struct now now, const struct event *event,
                    struct actions *actions);
/* CLOCK_MONOTONIC microseconds at which EVENT_TIMER is due, or TIME_NEVER */
uint64_t gateway_next_deadline(const struct gateway *gateway);
/* the topic of the will, whose payload is "offline"; owned by the caller, NULL when out of memory
 */
char *gateway_will_topic(const struct settings *settings);
