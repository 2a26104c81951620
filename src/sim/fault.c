/* The faults' names; see fault.h. */
#include "sim/fault.h"

#include <stddef.h>
#include <string.h>

static const struct {
    const char *name;
    enum sim_fault fault;
} names[] = {
    {"connect_hollow", SIM_FAULT_CONNECT_HOLLOW},
    {"connect_abort", SIM_FAULT_CONNECT_ABORT},
    {"connect_vanish", SIM_FAULT_CONNECT_VANISH},
    {"connect_mute", SIM_FAULT_CONNECT_MUTE},
    {"connect_busy", SIM_FAULT_CONNECT_BUSY},
    {"connect_auth", SIM_FAULT_CONNECT_AUTH},
    {"resolve_early", SIM_FAULT_RESOLVE_EARLY},
    {"resolve_empty", SIM_FAULT_RESOLVE_EMPTY},
    {"notify_held", SIM_FAULT_NOTIFY_HELD},
    {"notify_busy", SIM_FAULT_NOTIFY_BUSY},
    {"acquire_mute", SIM_FAULT_ACQUIRE_MUTE},
    {"rfkill", SIM_FAULT_RFKILL},
    {"scan_busy", SIM_FAULT_SCAN_BUSY},
    {"filter_refused", SIM_FAULT_FILTER_REFUSED},
    {"deaf", SIM_FAULT_DEAF},
};

bool sim_fault_parse(const char *name, bool of_adapter, enum sim_fault *ret_fault)
{
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (strcmp(names[i].name, name) == 0 &&
            (names[i].fault >= SIM_FAULT_RFKILL) == of_adapter) {
            *ret_fault = names[i].fault;
            return true;
        }
    return false;
}

const char *sim_fault_names(bool of_adapter)
{
    return of_adapter ? "rfkill, scan_busy, filter_refused and deaf"
                      : "connect_hollow, connect_abort, connect_vanish, connect_mute, "
                        "connect_busy, connect_auth, resolve_early, resolve_empty, notify_held, "
                        "notify_busy and acquire_mute";
}
