/*
 * Plays org.bluez on a bus, with the peripherals of a world: the objects, the order of signals and
 * the error names of BlueZ 5.66, or of the version that the world names (from 5.50 to 5.82). Must
 * not know who its clients are.
 */
#pragma once

#include "sim/control.h"
#include "sim/peripheral.h"
#include "util/err.h"

struct sd_bus;
struct sd_event;
struct sim_bluez;

#define SIM_BLUEZ_NAME "org.bluez"

struct sim_bluez_options {
    struct sd_bus *bus;      /* referenced; attached to an event loop by the caller */
    struct sd_event *event;  /* referenced */
    struct sim_world *world; /* borrowed, outlives us */
    /* There is no bus daemon: the other end of a socket pair is the only client. Then this end also
     * answers as org.freedesktop.DBus (Hello, AddMatch, GetNameOwner, ...), and its messages bear
     * SIM_BLUEZ_PEER_SENDER as their sender. */
    bool peer;
};
#define SIM_BLUEZ_PEER_SENDER ":1.1" /* and ":1.2" after it has died once, and so on */

/* Starts playing at once; the name is the caller's to own (before or after). */
MUST_CHECK
int sim_bluez_new(const struct sim_bluez_options *options, struct sim_bluez **ret_bluez);
struct sim_bluez *sim_bluez_free(struct sim_bluez *bluez);

/* Only with `peer`: bluetoothd dies (all links and objects are gone, NameOwnerChanged says so) and
 * starts anew. Starts out alive. */
void sim_bluez_die(struct sim_bluez *bluez);
MUST_CHECK
int sim_bluez_start(struct sim_bluez *bluez);

/* Only with `peer`: the client is gone, and another may follow on the same connection. */
void sim_bluez_client_vanished(struct sim_bluez *bluez);

/* time since it began to play, as the world's functions want it */
uint64_t sim_bluez_now(const struct sim_bluez *bluez);

/* For control_execute() with the service as `user`. `quit` is the caller's: it is NULL here. */
extern const struct control_ops sim_bluez_control_ops;
