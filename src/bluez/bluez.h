/*
 * BlueZ, as far as the core is concerned: events come out, actions go in. Speaks org.bluez by
 * sd-bus, asynchronously; opens, watches and reopens the bus by itself; must not know MQTT or what
 * a peer is for. Identity numbers are explained in core/event.h.
 */
#pragma once

#include "core/action.h"

struct bluez;
struct sd_bus;
struct sd_event;

struct bluez_options {
    struct sd_event *event; /* referenced */
    const char *service;    /* NULL: "org.bluez" */
    struct sd_bus *bus;     /* for tests: this connection and never another; NULL: the system bus */
    uint64_t acquire_timeout_us; /* for tests: of AcquireNotify; 0: as long as BlueZ may take */
    /* Called from the loop, never from inside bluez_execute(). */
    void (*emit)(void *userdata, const struct event *event);
    void *userdata;
};

MUST_CHECK
int bluez_new(const struct bluez_options *options, struct bluez **ret_bluez);
/* cancels all that is pending, without a word */
struct bluez *bluez_free(struct bluez *bluez);
/* Starts; EVENT_BLUEZ_UP or EVENT_BLUEZ_DOWN follows. */
MUST_CHECK
int bluez_start(struct bluez *bluez);
/* One of the BlueZ actions. Each that has an answer gets exactly one, later, unless
 * EVENT_BLUEZ_DOWN comes first. */
void bluez_execute(struct bluez *bluez, const struct action *action);
