/* Adapter1: its properties, the discovery session (a passive one is in monitor.c), power. Must not
 * know what is looked for. */
#include "bluez/internal.h"

#include "bluez/props.h"
#include <string.h>

#define FILTER_TIMEOUT_US S_TO_US(10)
#define SCAN_TIMEOUT_US   S_TO_US(15)
#define POWER_TIMEOUT_US  S_TO_US(15)

struct taking {
    struct adapter *adapter;
    bool changed;
};

static int take(void *userdata, const char *key, const char *type, sd_bus_message *m)
{
    struct taking *taking = userdata;
    struct adapter_info *info = &taking->adapter->info;
    int r = 0;

    if (strcmp(key, "Powered") == 0) {
        r = props_bool(m, type, &info->powered);
        if (!info->powered) /* BlueZ ends every discovery session then */
            taking->adapter->scanning = false;
    } else if (strcmp(key, "PowerState") == 0) { /* from BlueZ 5.66 on */
        const char *state;
        r = props_string(m, type, &state);
        if (r > 0)
            info->blocked = strcmp(state, "off-blocked") == 0;
    } else if (strcmp(key, "Discovering") == 0) {
        r = props_bool(m, type, &info->discovering);
    } else if (strcmp(key, "Address") == 0) {
        r = props_address(m, type, &info->address);
    }
    if (r > 0)
        taking->changed = true;
    return r;
}

int bluez_adapter_take(struct adapter *adapter, sd_bus_message *m, bool *ret_changed)
{
    struct taking taking = {.adapter = adapter};
    int r = props_each(m, take, &taking);

    *ret_changed = taking.changed;
    return r;
}

void bluez_adapter_tell(struct bluez *bluez, struct adapter *adapter)
{
    struct event event = {.type = EVENT_ADAPTER, .adapter = adapter->object.id};

    event.adapter_info = adapter->info;
    event.adapter_info.discovering |= bluez_monitor_is_active(adapter->monitor);
    event.adapter_info.links = adapter_count_connected(adapter);
    bluez_emit(bluez, &event);
}

void bluez_adapter_remove(struct bluez *bluez, struct adapter *adapter)
{
    struct event event = {.type = EVENT_ADAPTER_GONE, .adapter = adapter->object.id};

    adapter->going = true;
    while (adapter->devices)
        bluez_device_remove(bluez, adapter->devices);
    bluez_calls_end_adapter(bluez, adapter);
    adapter->monitor = bluez_monitor_free(adapter->monitor);
    bluez_emit(bluez, &event);
    registry_remove_adapter(&bluez->registry, adapter);
}

static void on_started(struct call *call, sd_bus_message *reply, struct bt_result result)
{
    /* also what BlueZ says when the session is ours already; but without a session of ours it may
     * mean anything, even that the kernel failed */
    if (result.status == BT_STATUS_IN_PROGRESS && call->adapter->scanning)
        result.status = BT_STATUS_OK;
    call->adapter->scanning = result.status == BT_STATUS_OK;
    bluez_call_end(call, result);
}

static void on_filter_set(struct call *call, sd_bus_message *reply, struct bt_result result)
{
    sd_bus_message *m = NULL;

    /* A BlueZ that does not know the filter scans without it: with pauses, but it scans. */
    if (result.status != BT_STATUS_OK && result.status != BT_STATUS_INVALID_ARGUMENT &&
        result.status != BT_STATUS_NOT_SUPPORTED) {
        bluez_call_end(call, result);
        return;
    }
    int r = bluez_message_new(call->bluez, call->adapter->object.path, ADAPTER_INTERFACE,
                              "StartDiscovery", &m);
    bluez_call_send(call, r, m, SCAN_TIMEOUT_US, on_started);
}

static void on_stopped(struct call *call, sd_bus_message *reply, struct bt_result result)
{
    if (result.status == BT_STATUS_FAILED && result.text &&
        strcmp(result.text, "No discovery started") == 0)
        result.status = BT_STATUS_OK;
    if (result.status == BT_STATUS_OK)
        call->adapter->scanning = false;
    bluez_call_end(call, result);
}

void bluez_adapter_scan(struct call *call, struct adapter *adapter)
{
    sd_bus_message *m = NULL;

    call->adapter = adapter;
    if (call->passive) {
        bluez_monitor_start(call, adapter);
        return;
    }
    if (adapter->monitor) {
        bluez_monitor_stop(call, adapter);
        return;
    }
    if (!call->on) {
        int r = bluez_message_new(call->bluez, adapter->object.path, ADAPTER_INTERFACE,
                                  "StopDiscovery", &m);
        bluez_call_send(call, r, m, SCAN_TIMEOUT_US, on_stopped);
        return;
    }
    /* With any filter BlueZ reports every advertisement's RSSI and scans without pauses. */
    int r = bluez_message_new(call->bluez, adapter->object.path, ADAPTER_INTERFACE,
                              "SetDiscoveryFilter", &m);
    if (r >= 0)
        r = sd_bus_message_append(m, "a{sv}", 1, "Transport", "s", "le");
    bluez_call_send(call, r, m, FILTER_TIMEOUT_US, on_filter_set);
}

void bluez_adapter_power(struct call *call, struct adapter *adapter)
{
    sd_bus_message *m = NULL;

    call->adapter = adapter;
    int r = bluez_message_new(call->bluez, adapter->object.path, PROPERTIES_INTERFACE, "Set", &m);
    if (r >= 0)
        r = sd_bus_message_append(m, "ssv", ADAPTER_INTERFACE, "Powered", "b", (int)call->on);
    bluez_call_send(call, r, m, POWER_TIMEOUT_US, bluez_call_reply_end);
}
