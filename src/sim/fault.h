/*
 * What a simulated BlueZ can be made to do wrong, for as long as the fault is on: keys of the world
 * file (`faults: [...]` of a peripheral or an adapter) and the control protocol's `fault`. Each was
 * met on a real one. What happens once (a lost link, a removed object) is a command instead.
 */
#pragma once

#include "util/err.h"
#include <stdbool.h>
#include <stdint.h>

enum sim_fault {
    /* of a peripheral */
    SIM_FAULT_CONNECT_HOLLOW = 1 << 0, /* Connect succeeds without a link */
    SIM_FAULT_CONNECT_ABORT = 1 << 1,  /* Connect fails, then a link comes and goes */
    SIM_FAULT_CONNECT_VANISH = 1 << 2, /* the same, but the object goes, and the link with it */
    SIM_FAULT_CONNECT_MUTE = 1 << 3,   /* Connect is never answered */
    SIM_FAULT_CONNECT_BUSY = 1 << 4,   /* another program is connecting to it all the time */
    SIM_FAULT_CONNECT_AUTH = 1 << 5,   /* it has lost the bond */
    SIM_FAULT_RESOLVE_EARLY = 1 << 6,  /* ServicesResolved is told before the services */
    SIM_FAULT_RESOLVE_EMPTY = 1 << 7,  /* ... although finding them out has failed */
    SIM_FAULT_NOTIFY_HELD = 1 << 8,    /* another program has acquired its notifications */
    SIM_FAULT_NOTIFY_BUSY = 1 << 9,    /* StartNotify says that it is running already */
    SIM_FAULT_ACQUIRE_MUTE = 1 << 10,  /* AcquireNotify is never answered */

    /* of an adapter */
    SIM_FAULT_RFKILL = 1 << 16,         /* cannot be switched on */
    SIM_FAULT_SCAN_BUSY = 1 << 17,      /* StartDiscovery says that it is running already */
    SIM_FAULT_FILTER_REFUSED = 1 << 18, /* SetDiscoveryFilter takes nothing */
    SIM_FAULT_DEAF = 1 << 19,           /* hears nobody, until it is switched off and on */
};

/* "connect_hollow", ...; false: there is none of that name for a peripheral, or an adapter */
bool sim_fault_parse(const char *name, bool of_adapter, enum sim_fault *ret_fault);
/* the names, for messages: "a, b and c" */
const char *sim_fault_names(bool of_adapter);
