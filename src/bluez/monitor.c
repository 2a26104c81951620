/*
 * Passive scanning: for each adapter an advertisement monitor, an object of ours that BlueZ's
 * AdvertisementMonitorManager1 is told of and calls. While it is active the kernel listens without
 * asking, and what is heard shows as with a discovery: objects appear, their RSSI changes. Must not
 * know who is looked for.
 *
 * BlueZ (5.56 and later, run with --experimental) reads the objects below our root when the root is
 * registered and takes later ones from InterfacesAdded; the monitor is shown after the registration
 * was answered, as bleak does. It is what BlueZ calls Activate on that counts as the answer to the
 * start.
 */
#include "bluez/internal.h"

#include "util/cleanup.h"
#include "util/log.h"
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#define ROOT                      "/org/gatt2mqtt/monitors"
#define MONITOR_INTERFACE         "org.bluez.AdvertisementMonitor1"
#define MONITOR_MANAGER_INTERFACE "org.bluez.AdvertisementMonitorManager1"
#define REGISTER_TIMEOUT_US       S_TO_US(12)
#define REMIND_US                 S_TO_US(5)
#define REMIND_SLACK_US           S_TO_US(1)

#define AD_TYPE_FLAGS 0x01 /* Assigned Numbers 2.3 */

struct monitor {
    struct bluez *bluez;        /* borrowed, outlives us */
    struct adapter *adapter;    /* borrowed, frees us before it goes */
    char *root, *path;          /* owned */
    sd_bus_slot *manager, *own; /* owned: the ObjectManager, the monitor's object */
    sd_event_source *remind;    /* owned; see on_device() */
    bool active;
};

/* ---- the object ---- */

static int get_type(sd_bus *bus, const char *path, const char *interface, const char *property,
                    sd_bus_message *reply, void *userdata, sd_bus_error *ret_error)
{
    return sd_bus_message_append(reply, "s", "or_patterns");
}

/* A monitor needs a pattern. What Bluetooth LE peripherals of all kinds have in common is their
 * flags: limited or general discoverable, with or without BR/EDR (Core Specification Supplement
 * Part A 1.3). */
static int get_patterns(sd_bus *bus, const char *path, const char *interface, const char *property,
                        sd_bus_message *reply, void *userdata, sd_bus_error *ret_error)
{
    static const uint8_t flags[] = {0x02, 0x04, 0x05, 0x06, 0x1a};
    int r = sd_bus_message_open_container(reply, 'a', "(yyay)");

    for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(flags); i++)
        r = sd_bus_message_append(reply, "(yyay)", 0, AD_TYPE_FLAGS, 1, flags[i]);
    return r < 0 ? r : sd_bus_message_close_container(reply);
}

/* the start that waits for Activate, or NULL */
static struct call *waiting_start(struct bluez *bluez, const struct adapter *adapter)
{
    struct call *call;

    DL_FOREACH (bluez->calls, call)
        if (call->state == CALL_STATE_WAITING && call->type == ACTION_SCAN_START &&
            call->adapter == adapter)
            return call;
    return NULL;
}

static int reply_empty(sd_bus_message *m)
{
    sd_bus_message *reply = NULL;
    int r = sd_bus_message_new_method_return(m, &reply);

    if (r >= 0)
        r = sd_bus_send(NULL, reply, NULL);
    sd_bus_message_unref(reply);
    return r < 0 ? r : 1;
}

static int on_activate(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
    struct monitor *monitor = userdata;
    struct adapter *adapter = monitor->adapter;
    struct bluez *bluez = monitor->bluez;

    if (!bluez_bus_is_owner(bluez, m))
        return -EPERM;
    int r = reply_empty(m);
    if (monitor->active || adapter->going)
        return r;
    monitor->active = true;
    bluez_adapter_tell(bluez, adapter); /* from here on the core may have ended the monitor */
    struct call *call = waiting_start(bluez, adapter);
    if (call)
        bluez_call_end(call, (struct bt_result){.status = BT_STATUS_OK});
    return r;
}

/* BlueZ lets the monitor go: it cannot be had, or is no longer looked at. */
static int on_release(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
    struct monitor *monitor = userdata;
    struct adapter *adapter = monitor->adapter;
    struct bluez *bluez = monitor->bluez;

    if (!bluez_bus_is_owner(bluez, m))
        return -EPERM;
    int r = reply_empty(m);
    bool was_active = monitor->active;
    monitor->active = false;
    struct call *call = waiting_start(bluez, adapter);
    if (call) /* from here on the core may have ended the monitor */
        bluez_call_end(call, (struct bt_result){.status = BT_STATUS_FAILED,
                                                .text = "BlueZ refuses to listen passively"});
    if (was_active && !adapter->going)
        bluez_adapter_tell(bluez, adapter);
    return r;
}

/*
 * Without a discovery BlueZ signals a device's RSSI only when it has changed by 8 dB. That a peer
 * is there all the same is known between DeviceFound and DeviceLost, and told now and then.
 */
static int on_device(sd_bus_message *m, void *userdata, bool found)
{
    struct monitor *monitor = userdata;
    struct bluez *bluez = monitor->bluez;
    const char *path;

    if (!bluez_bus_is_owner(bluez, m))
        return -EPERM;
    int r = sd_bus_message_read(m, "o", &path);
    if (r < 0)
        return r;
    r = reply_empty(m);
    struct object *object = registry_find(&bluez->registry, path);
    if (!object || object->kind != OBJECT_DEVICE)
        return r;
    struct device *device = (struct device *)object;
    device->found = found;
    if (found && !device->going && !device->info.connected)
        bluez_device_tell(bluez, device, true);
    return r;
}

static int on_found(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
    return on_device(m, userdata, true);
}

static int on_lost(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
    return on_device(m, userdata, false);
}

static int on_remind(sd_event_source *source, uint64_t usec, void *userdata)
{
    struct monitor *monitor = userdata;
    struct bluez *bluez = monitor->bluez;
    struct adapter *adapter = monitor->adapter;
    struct device *device, *next;
    size_t n = adapter->n_devices;

    int r = sd_event_source_set_time_relative(source, REMIND_US);
    if (r >= 0)
        r = sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
    /* from here on the core may have ended the monitor; who is told of goes to the list's end */
    DL_FOREACH_SAFE (adapter->devices, device, next) {
        if (n-- == 0)
            break;
        if (device->found && !device->going && !device->info.connected)
            bluez_device_tell(bluez, device, true);
    }
    return r < 0 ? r : 0;
}

/* UNPRIVILEGED: else sd-bus would ask the bus for the caller's rights, and wait for the answer. */
static const sd_bus_vtable vtable[] = {
    SD_BUS_VTABLE_START(0),
    SD_BUS_PROPERTY("Type", "s", get_type, 0, SD_BUS_VTABLE_PROPERTY_CONST),
    SD_BUS_PROPERTY("Patterns", "a(yyay)", get_patterns, 0, SD_BUS_VTABLE_PROPERTY_CONST),
    SD_BUS_METHOD("Activate", "", "", on_activate, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD("Release", "", "", on_release, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD("DeviceFound", "o", "", on_found, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD("DeviceLost", "o", "", on_lost, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_VTABLE_END,
};

/* ---- life ---- */

struct monitor *bluez_monitor_free(struct monitor *monitor)
{
    if (!monitor)
        return NULL;
    sd_bus_slot_unref(monitor->own);
    sd_bus_slot_unref(monitor->manager);
    sd_event_source_disable_unref(monitor->remind);
    free(monitor->root);
    free(monitor->path);
    free(monitor);
    return NULL;
}

bool bluez_monitor_is_active(const struct monitor *monitor)
{
    return monitor && monitor->active;
}

static int monitor_new(struct bluez *bluez, struct adapter *adapter, struct monitor **ret_monitor)
{
    struct monitor *monitor = calloc(1, sizeof(*monitor));
    const char *name = adapter->info.name;

    if (!monitor)
        return -ENOMEM;
    monitor->bluez = bluez;
    monitor->adapter = adapter;
    /* each adapter has a root of its own, else it would watch the others' monitors, too */
    if (asprintf(&monitor->root, ROOT "/%s", name) < 0)
        monitor->root = NULL;
    if (asprintf(&monitor->path, ROOT "/%s/all", name) < 0)
        monitor->path = NULL;
    int r = monitor->root && monitor->path ? 0 : -ENOMEM;
    if (r == 0)
        r = sd_bus_add_object_manager(bluez->bus, &monitor->manager, monitor->root);
    if (r >= 0)
        r = sd_event_add_time_relative(bluez->options.event, &monitor->remind, CLOCK_MONOTONIC,
                                       REMIND_US, REMIND_SLACK_US, on_remind, monitor);
    if (r < 0) {
        bluez_monitor_free(monitor);
        return r;
    }
    *ret_monitor = monitor;
    return 0;
}

static int show(struct monitor *monitor)
{
    struct bluez *bluez = monitor->bluez;
    int r = sd_bus_add_object_vtable(bluez->bus, &monitor->own, monitor->path, MONITOR_INTERFACE,
                                     vtable, monitor);

    return r < 0 ? r : sd_bus_emit_object_added(bluez->bus, monitor->path);
}

static void hide(struct adapter *adapter)
{
    struct monitor *monitor = adapter->monitor;
    struct device *device;

    DL_FOREACH (adapter->devices, device)
        device->found = false;

    if (monitor->own)
        (void)sd_bus_emit_object_removed(monitor->bluez->bus, monitor->path);
    adapter->monitor = bluez_monitor_free(monitor);
}

static int call_manager(struct bluez *bluez, const struct adapter *adapter, const char *method,
                        sd_bus_message **ret_message)
{
    int r = bluez_message_new(bluez, adapter->object.path, MONITOR_MANAGER_INTERFACE, method,
                              ret_message);

    return r < 0 ? r : sd_bus_message_append(*ret_message, "o", adapter->monitor->root);
}

/* What is left of the one before, without waiting. */
static void forget(struct bluez *bluez, struct adapter *adapter)
{
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
    struct call *call = waiting_start(bluez, adapter);

    if (call)
        bluez_call_end_later(call, (struct bt_result){.status = BT_STATUS_CANCELLED});
    int r = call_manager(bluez, adapter, "UnregisterMonitor", &m);
    if (r >= 0)
        r = sd_bus_send(bluez->bus, m, NULL);
    if (r < 0)
        log_debug("bluez", "UnregisterMonitor: %s", strerrordesc_np(-r));
    hide(adapter);
}

static void on_registered(struct call *call, sd_bus_message *reply, struct bt_result result)
{
    struct adapter *adapter = call->adapter;

    if (result.status == BT_STATUS_GONE || result.status == BT_STATUS_NOT_SUPPORTED) {
        /* the adapter is there: the interface is not */
        result = (struct bt_result){.status = BT_STATUS_NOT_SUPPORTED,
                                    .text = "BlueZ offers no passive scan; it does when "
                                            "bluetoothd runs with --experimental"};
    } else if (result.status == BT_STATUS_OK && adapter->monitor) {
        int r = show(adapter->monitor);
        if (r >= 0) {
            bluez_call_park(call); /* for Activate; the core has the deadline */
            return;
        }
        result = errors_from_errno(r);
    }
    if (adapter->monitor)
        hide(adapter);
    bluez_call_end(call, result);
}

void bluez_monitor_start(struct call *call, struct adapter *adapter)
{
    struct bluez *bluez = call->bluez;
    sd_bus_message *m = NULL;

    if (adapter->monitor)
        forget(bluez, adapter);
    int r = monitor_new(bluez, adapter, &adapter->monitor);
    if (r == 0)
        r = call_manager(bluez, adapter, "RegisterMonitor", &m);
    bluez_call_send(call, r, m, REGISTER_TIMEOUT_US, on_registered);
}

static void on_unregistered(struct call *call, sd_bus_message *reply, struct bt_result result)
{
    /* who forgot it has stopped it, too */
    result.status = BT_STATUS_OK;
    bluez_adapter_tell(call->bluez, call->adapter);
    bluez_call_end(call, result);
}

void bluez_monitor_stop(struct call *call, struct adapter *adapter)
{
    struct bluez *bluez = call->bluez;
    struct call *start = waiting_start(bluez, adapter);
    sd_bus_message *m = NULL;

    if (start)
        bluez_call_end_later(start, (struct bt_result){.status = BT_STATUS_CANCELLED});
    int r = call_manager(bluez, adapter, "UnregisterMonitor", &m);
    hide(adapter);
    bluez_call_send(call, r, m, REGISTER_TIMEOUT_US, on_unregistered);
}
