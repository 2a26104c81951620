/*
 * The whole gateway (core and bluez layer) against the BlueZ that the simulator plays, joined by a
 * socket pair in one loop, with a broker that takes everything and remembers it. A test says what
 * breaks and asserts what a user sees: what was published, what the device says it waits for, and
 * how often BlueZ was asked.
 *
 * The simulator lives in real time, with short delays. The gateway's clock can be ahead of it:
 * house_skip() lets the core's deadlines come one after the other, without waiting.
 */
#pragma once

#include "bluez/bluez.h"
#include "core/gateway.h"
#include "sim/service.h"
#include <stdbool.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#define HOUSE_MEMBERS 64

struct house_message {
    struct house_message *next;
    char *topic; /* owned */
    char *payload;
    bool retained;
};

struct house_answer {
    char member[32];
    unsigned n;
};

struct house {
    sd_event *loop;
    sd_bus *server, *client;
    char *socket; /* owned: the abstract name that the bus is at, instead of a pair; or NULL */
    int listener;
    sd_event_source *accept, *timer, *acknowledge;
    struct sim_world *world;
    struct sim_bluez *sim; /* NULL while there is no bus */
    struct settings *settings;
    struct gateway *gateway;
    struct bluez *bluez;
    struct actions actions;
    uint64_t ahead_us; /* the gateway's clock, of the simulator's */

    struct house_message *messages, *last; /* owned; all that was published */
    struct house_message *echoed;          /* borrowed; up to here the gateway has heard itself */
    struct house_message *mark;            /* what house_until() has seen; NULL: nothing */
    uint64_t tokens[256];                  /* to be acknowledged */
    size_t n_tokens;
    struct house_answer calls[HOUSE_MEMBERS]; /* method calls to BlueZ, by member */
    size_t n_members;
    unsigned n_calls;
    char last_call[512]; /* its path */
    unsigned n_timers;   /* that were due for the core */
    /* before the simulator sees a call to BlueZ */
    void (*on_call)(struct house *house, const char *member);
};

/* A lamp that notifies a stream of numbers and has a level, and a meter that notifies numbers;
 * `more` are further keys ("faults: [...]", or nothing). */
#define HOUSE_TIMING(more) "timing: { connect: 2ms, resolve: 2ms, disconnect: 2ms" more " }\n"
#define HOUSE_PERIPHERAL(id, last, more)                                          \
    "  " id ":\n"                                                                 \
    "    address: 'C8:00:00:00:00:" last "'\n"                                    \
    "    address_type: random\n"                                                  \
    "    name: " id "\n"                                                          \
    "    rssi: -50\n"                                                             \
    "    interval: 20ms\n" more "    services:\n"                                 \
    "      - uuid: 0xFA00\n"                                                      \
    "        characteristics:\n"                                                  \
    "          - { id: stream, uuid: 0xFA01, properties: [read, notify], value: " \
    "'00000000' }\n"                                                              \
    "          - { id: level, uuid: 0xFA02, value: '0000',\n"                     \
    "              properties: [read, write, write-without-response] }\n"
#define HOUSE_LAMP(more)  HOUSE_PERIPHERAL("lamp", "01", more)
#define HOUSE_METER(more) HOUSE_PERIPHERAL("meter", "02", more)
#define HOUSE_DEVICE(id, match, more)                                                        \
    "  " id ":\n"                                                                            \
    "    match: { " match " }\n" more "    characteristics:\n"                               \
    "      stream: { uuid: 0xFA01, subscribe: true, fields: { value: { type: uint32 } } }\n" \
    "      level: { uuid: 0xFA02, writable: true, fields: { value: { type: uint16 } } }\n"
#define HOUSE_DEVICE_LAMP  HOUSE_DEVICE("lamp", "address: 'C8:00:00:00:00:01'", "")
#define HOUSE_DEVICE_METER HOUSE_DEVICE("meter", "address: 'C8:00:00:00:00:02'", "")

/* `world` is the simulator's file; `config` the gateway's, without `mqtt`. Nothing runs yet. */
struct house *house_new(const char *world, const char *config);
/* the same, on a socket where a bus can die and come back (house_bus_dies(), house_bus_starts()) */
struct house *house_new_on_socket(const char *world, const char *config);
struct house *house_free(struct house *house);
/* the gateway and its bus start, and the broker is there */
void house_start(struct house *house);
/* the gateway's process ends without a word, and another begins on the same bus */
void house_restart_gateway(struct house *house);
void house_bus_dies(struct house *house);
void house_bus_starts(struct house *house);

/* the simulator's line protocol (sim/control.h): what it answers, without "ok"; must not fail */
const char *house_control(struct house *house, const char *format, ...) PRINTF_LIKE(2, 3);

/* the same, where it may fail */
bool house_try_control(struct house *house, const char *format, ...) PRINTF_LIKE(2, 3);

/* Runs until nothing is left to do but wait for time. */
void house_settle(struct house *house);
/* Runs for so long, in real time. */
void house_run(struct house *house, unsigned ms);
/* Lets so much time pass for the gateway at once, deadline by deadline. */
void house_skip(struct house *house, uint64_t ms);
/* Runs until something newer than what the last such call found was published on the topic (below
 * `gatt2mqtt/`) and contains the text; gives its payload. Fails after a while. */
const char *house_until(struct house *house, const char *topic, const char *text);
/* `status/link` of the device, likewise: "\"state\":\"online\"", ... */
const char *house_until_link(struct house *house, const char *device, const char *text);
/* shorthands of it */
void house_until_online(struct house *house, const char *device);
void house_until_reason(struct house *house, const char *device, const char *reason);
/* The same with time passing for the gateway: in steps of `step_ms`, as often as it takes. */
void house_skip_until_link(struct house *house, const char *device, const char *text,
                           uint64_t step_ms);

/* what was published last on a topic (below `gatt2mqtt/`), or NULL */
const char *house_said(const struct house *house, const char *topic);
bool house_is_online(const struct house *house, const char *device);
void house_assert_link(const struct house *house, const char *device, const char *text);
/* how many messages a topic had */
unsigned house_count(const struct house *house, const char *topic);
/* the n-th message of a topic, from 0 */
const char *house_nth(const struct house *house, const char *topic, unsigned n);
/* Asserts that the burst's numbers first..last came on the topic, as the messages from `from` on:
 * each once and in order, nothing else between them. */
void house_assert_burst(struct house *house, const char *topic, unsigned from, unsigned first,
                        unsigned last);

/* method calls to BlueZ since the start, or since house_forget_calls() */
unsigned house_calls(const struct house *house, const char *member);
void house_forget_calls(struct house *house);
/* Runs until BlueZ has been asked for that so many times. */
void house_until_calls(struct house *house, const char *member, unsigned n);
/* Runs until the simulator answers a line so ("connected hci0"). */
void house_until_control(struct house *house, const char *line, const char *answer);

/* somebody publishes on a command topic (below `gatt2mqtt/`) */
void house_send(struct house *house, const char *topic, const char *payload);
/* descriptors that this process has open */
unsigned house_descriptors(void);
