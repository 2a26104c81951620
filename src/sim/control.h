/*
 * The line protocol that steers a world being played: one line in, one line out ("ok ..." or
 * "error ..."). Pure: what a player has to do for a command (cut a link, pull an adapter) it does
 * through struct control_ops. The transport is sim/control_socket. Must not know how the world is
 * played.
 *
 *   list                                   the peripherals' ids
 *   state P                                "ok advertising", "ok connected hci0", "ok absent"
 *   drop P [REASON]                        the link is lost: an HCI error, by default 0x08
 *   vanish P                               stops advertising, the link is lost
 *   appear P                               is there again
 *   refuse P on|off                        every Connect fails at once
 *   slow P MS                              each of its answers comes so much later
 *   parameters P INTERVAL LATENCY TIMEOUT  asks the central for them, in HCI's units
 *   connect P                              another program connects to it
 *   forget P                               its object is removed, whatever was going on
 *   services P [BY]                        Service Changed: its handles are higher by BY (8)
 *   address P ADDRESS                      a new one, which BlueZ takes for another device
 *   advertise P COMPANY HEX                manufacturer's data, instead of what it had
 *   unbond P                               forgets its half of a bond
 *   fault P|NAME FAULT on|off              of a peripheral or an adapter: see sim/fault.h
 *   notify P CHAR COUNT RATE               a burst of values that start with a number
 *   value P CHAR HEX                       sets the value ("-": empty); may be notified
 *   get P CHAR                             "ok HEX" ("ok -": empty)
 *   writes P CHAR                          since the last ask: "ok request:01 command:02"
 *   sent P CHAR                            notifications since the start: "ok 42"
 *   adapter NAME remove|add|off|on|pull    the adapter changes (pull: it goes without a word)
 *   adapter NAME add AS                    it comes back under another name
 *   quit                                   the player ends
 */
#pragma once

#include "sim/peripheral.h"
#include "util/strbuf.h"

#define CONTROL_MAX_LINE    2048
#define CONTROL_MAX_CLIENTS 16

enum control_adapter {
    CONTROL_ADAPTER_REMOVE,
    CONTROL_ADAPTER_ADD,
    CONTROL_ADAPTER_OFF,
    CONTROL_ADAPTER_ON,
    CONTROL_ADAPTER_PULL
};

#define CONTROL_REASON_TIMEOUT 0x08 /* HCI error codes: Core Specification Vol 1 Part F */

/* What a player does. Each may be NULL where it means nothing; then the command is "error not
 * supported here". Returns 0 or a negative errno, which becomes the answer's text. */
struct control_ops {
    /* the link of a connected peripheral is lost */
    int (*drop)(void *user, struct sim_peripheral *p, uint8_t reason);
    /* p->present was set to true (appear); vanish drops the link first if there is one */
    int (*presence)(void *user, struct sim_peripheral *p);
    /* something may be due for notification sooner than before: look again, at once */
    void (*due)(void *user, struct sim_peripheral *p);
    /* the adapter is to change; the op also sets present and powered */
    int (*adapter)(void *user, struct sim_adapter *adapter, enum control_adapter change);
    int (*connect)(void *user, struct sim_peripheral *p);
    int (*forget)(void *user, struct sim_peripheral *p);
    /* p's handles have changed */
    int (*services)(void *user, struct sim_peripheral *p);
    /* a fault of a peripheral, or (else NULL) an adapter, was switched */
    int (*fault)(void *user, struct sim_adapter *adapter, enum sim_fault fault, bool on);
    /* a connected peripheral asks for connection parameters */
    int (*parameters)(void *user, struct sim_peripheral *p, uint16_t interval, uint16_t latency,
                      uint16_t timeout);
    /* after the answer has been written */
    void (*quit)(void *user);
};

/* Carries a line (without its newline) out and writes its answer, without a newline. */
void control_execute(struct sim_world *world, const struct control_ops *ops, void *user,
                     uint64_t now_us, const char *line, struct strbuf *answer);
