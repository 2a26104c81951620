/* Device1: advertisements, the link, when its services are known. Must not know who wants it. */
#include "bluez/internal.h"

#include "bluez/props.h"
#include "util/log.h"
#include "util/time.h"
#include <string.h>
#include <utlist.h>

/* above the 40 s after which the kernel gives an absent peer up */
#define CONNECT_TIMEOUT_US    S_TO_US(60)
#define DISCONNECT_TIMEOUT_US S_TO_US(15)
#define GET_TIMEOUT_US        S_TO_US(15)
#define REMOVE_TIMEOUT_US     S_TO_US(15)
/* a Service Changed removes and adds many objects: one event for all of them */
#define CHANGES_DELAY_US MS_TO_US(100)

#define RSSI_INVALID 127 /* "not available" (Core Specification Vol 4 Part E 7.7.65.2) */

struct taking {
    struct device *device;
    struct device_change *change;
};

static int take_bool(sd_bus_message *m, const char *type, bool *value, bool *changed)
{
    bool before = *value;
    int r = props_bool(m, type, value);

    if (r > 0 && *value != before)
        *changed = true;
    return r;
}

static int take_rssi(struct device *device, const char *type, sd_bus_message *m)
{
    int16_t rssi;
    int r = props_int16(m, type, &rssi);

    if (r > 0)
        device->info.rssi = rssi == RSSI_INVALID ? RSSI_UNKNOWN : rssi;
    return r;
}

static int take_manufacturer(struct device *device, const char *type, sd_bus_message *m)
{
    struct manufacturer_data list[MANUFACTURER_MAX];
    size_t n;
    int r = props_manufacturer(m, type, list, ARRAY_SIZE(list), &n);

    if (r > 0 && device_set_manufacturer(device, list, n) < 0)
        return -ENOMEM;
    return r;
}

static int take_service_data(struct device *device, const char *type, sd_bus_message *m)
{
    struct service_data list[SERVICE_DATA_MAX];
    size_t n;
    int r = props_service_data(m, type, list, ARRAY_SIZE(list), &n);

    if (r > 0 && device_set_service_data(device, list, n) < 0)
        return -ENOMEM;
    return r;
}

/* what an advertisement brings */
static int take_heard(struct device *device, const char *key, const char *type, sd_bus_message *m)
{
    if (strcmp(key, "RSSI") == 0)
        return take_rssi(device, type, m);
    if (strcmp(key, "ManufacturerData") == 0)
        return take_manufacturer(device, type, m);
    if (strcmp(key, "ServiceData") == 0)
        return take_service_data(device, type, m);
    return 0;
}

static int take_uuids(struct device *device, const char *type, sd_bus_message *m)
{
    struct bt_uuid uuids[UUIDS_MAX];
    size_t n;
    int r = props_uuids(m, type, uuids, ARRAY_SIZE(uuids), &n);

    if (r > 0 && device_set_uuids(device, uuids, n) < 0)
        return -ENOMEM;
    return r;
}

static int take_identity(struct device *device, const char *key, const char *type,
                         sd_bus_message *m)
{
    const char *text;
    int r = 0;

    if (strcmp(key, "UUIDs") == 0)
        return take_uuids(device, type, m);
    if (strcmp(key, "Address") == 0)
        return props_address(m, type, &device->info.address);
    if (strcmp(key, "AddressType") == 0) {
        r = props_string(m, type, &text);
        if (r > 0)
            device->info.address_type =
                strcmp(text, "random") == 0 ? BT_ADDRESS_RANDOM : BT_ADDRESS_PUBLIC;
    } else if (strcmp(key, "Name") == 0) {
        r = props_string(m, type, &text);
        if (r > 0 && device_set_name(device, text) < 0)
            return -ENOMEM;
    }
    return r;
}

static int take_state(struct device *device, struct device_change *change, const char *key,
                      const char *type, sd_bus_message *m)
{
    struct device_info *info = &device->info;
    int r = 0;

    if (strcmp(key, "Connected") == 0) {
        r = take_bool(m, type, &info->connected, &change->link);
        if (!info->connected)
            device->mtu = 0;
    } else if (strcmp(key, "ServicesResolved") == 0) {
        r = take_bool(m, type, &info->services_resolved, &change->resolved);
        change->shown |= change->resolved;
    } else if (strcmp(key, "Paired") == 0) {
        r = take_bool(m, type, &info->paired, &change->shown);
        if (!device->bonded_known)
            info->bonded = info->paired;
    } else if (strcmp(key, "Bonded") == 0) {
        r = take_bool(m, type, &info->bonded, &change->shown);
        if (r > 0)
            device->bonded_known = true;
    }
    return r;
}

static int take(void *userdata, const char *key, const char *type, sd_bus_message *m)
{
    struct taking *taking = userdata;
    int r = take_heard(taking->device, key, type, m);

    if (r > 0) {
        taking->change->heard = true;
        taking->change->shown = true;
    }
    if (r != 0)
        return r;
    r = take_identity(taking->device, key, type, m);
    if (r > 0)
        taking->change->shown = true;
    if (r != 0)
        return r;
    return take_state(taking->device, taking->change, key, type, m);
}

int bluez_device_take(struct device *device, sd_bus_message *m, struct device_change *change)
{
    struct taking taking = {.device = device, .change = change};

    return props_each(m, take, &taking);
}

void bluez_device_invalidate(struct device *device, const char *property,
                             struct device_change *change)
{
    int r = 0;

    if (strcmp(property, "RSSI") == 0)
        device->info.rssi = RSSI_UNKNOWN;
    else if (strcmp(property, "Name") == 0)
        r = device_set_name(device, NULL);
    else if (strcmp(property, "ManufacturerData") == 0)
        device->info.n_manufacturer = 0;
    else if (strcmp(property, "ServiceData") == 0)
        device->info.n_service_data = 0;
    else if (strcmp(property, "UUIDs") == 0)
        device->info.n_uuids = 0;
    else
        return;
    change->shown |= r == 0;
}

void bluez_device_tell(struct bluez *bluez, struct device *device, bool heard)
{
    struct event event = {
        .type = EVENT_DEVICE,
        .adapter = device->adapter->object.id,
        .device = device->object.id,
    };

    device->told = true;
    event.device_info = device->info;
    event.device_info.heard = heard;
    if (heard)
        device_touch(device);
    bluez_emit(bluez, &event);
}

static void tell_link(struct bluez *bluez, struct device *device)
{
    struct event event = {
        .type = EVENT_LINK,
        .adapter = device->adapter->object.id,
        .device = device->object.id,
    };

    event.link.connected = device->info.connected;
    event.link.links = adapter_count_connected(device->adapter);
    bluez_emit(bluez, &event);
}

static void send_barrier(struct call *call);

void bluez_device_apply(struct bluez *bluez, struct device *device,
                        const struct device_change *change)
{
    struct call *call, *next;

    if (change->link) {
        if (!device->info.connected) {
            bluez_gatt_drain(bluez, device);
            bluez_calls_end_link(bluez, device);
            device->tree_told = false;
            device->tree_changed = false;
        }
        tell_link(bluez, device);
    }
    if (change->shown)
        bluez_device_tell(bluez, device, change->heard);
    if (change->resolved && device->info.services_resolved)
        DL_FOREACH_SAFE (bluez->calls, call, next)
            if (call->device == device && call->state == CALL_STATE_WAITING)
                send_barrier(call);
}

void bluez_device_remove(struct bluez *bluez, struct device *device)
{
    struct event event = {
        .type = EVENT_DEVICE_GONE,
        .adapter = device->adapter->object.id,
        .device = device->object.id,
    };

    device->going = true;
    bluez_gatt_drain(bluez, device);
    if (device->info.connected) {
        device->info.connected = false;
        tell_link(bluez, device);
    }
    /* a pending Connect gets no reply when its device goes */
    bluez_calls_end_device(bluez, device);
    while (device->characteristics)
        bluez_characteristic_remove(bluez, device->characteristics);
    bluez_emit(bluez, &event);
    registry_remove_device(&bluez->registry, device);
}

void bluez_device_tree_changed(struct bluez *bluez, struct device *device)
{
    if (!device->tree_told || !device->info.connected || device->tree_changed)
        return;
    device->tree_changed = true;
    (void)sd_event_source_set_time_relative(bluez->changes, CHANGES_DELAY_US);
    (void)sd_event_source_set_enabled(bluez->changes, SD_EVENT_ONESHOT);
}

void bluez_device_tell_changes(struct bluez *bluez)
{
    struct adapter *adapter;
    struct device *device;

    DL_FOREACH (bluez->registry.adapters, adapter) {
        DL_FOREACH (adapter->devices, device) {
            if (!device->tree_changed)
                continue;
            struct event event = {
                .type = EVENT_SERVICES_CHANGED,
                .adapter = adapter->object.id,
                .device = device->object.id,
            };
            /* until it is resolved again there is nothing new to say */
            device->tree_changed = false;
            device->tree_told = false;
            bluez_emit(bluez, &event);
        }
    }
}

void bluez_device_tell_all(struct bluez *bluez)
{
    struct adapter *adapter;
    struct device *device, *next;

    DL_FOREACH (bluez->registry.adapters, adapter) {
        size_t n = adapter->n_devices;

        /* who is told of as heard goes to the list's end */
        DL_FOREACH_SAFE (adapter->devices, device, next) {
            if (n-- == 0)
                break;
            if (device->told && !device->going)
                bluez_device_tell(bluez, device, device->found && !device->info.connected);
        }
    }
}

static void send_plain(struct call *call, struct device *device, const char *member,
                       uint64_t timeout_us)
{
    sd_bus_message *m = NULL;

    call->device = device;
    int r = bluez_message_new(call->bluez, device->object.path, DEVICE_INTERFACE, member, &m);
    bluez_call_send(call, r, m, timeout_us, bluez_call_reply_end);
}

void bluez_device_connect(struct call *call, struct device *device)
{
    send_plain(call, device, "Connect", CONNECT_TIMEOUT_US);
}

void bluez_device_disconnect(struct call *call, struct device *device)
{
    bluez_calls_cancel(call->bluez, device);
    call->urgent = true;
    send_plain(call, device, "Disconnect", DISCONNECT_TIMEOUT_US);
}

void bluez_device_forget(struct call *call, struct device *device)
{
    sd_bus_message *m = NULL;

    /* the object goes before the reply comes, so the call hangs on the adapter */
    call->adapter = device->adapter;
    int r = bluez_message_new(call->bluez, device->adapter->object.path, ADAPTER_INTERFACE,
                              "RemoveDevice", &m);
    if (r >= 0)
        r = sd_bus_message_append(m, "o", device->object.path);
    bluez_call_send(call, r, m, REMOVE_TIMEOUT_US, bluez_call_reply_end);
}

static void answer_tree(struct call *call)
{
    _cleanup_(freep) struct gatt_characteristic *list = NULL;
    struct bt_result result = {.status = BT_STATUS_OK};
    struct device *device = call->device;
    size_t n = 0;

    if (device_tree(device, &list, &n) < 0)
        result = errors_from_errno(-ENOMEM);
    else if (n == 0) /* BlueZ also says ServicesResolved when discovery failed */
        result.status = BT_STATUS_NO_SERVICES;
    struct event event = bluez_call_event(call, result);
    if (result.status == BT_STATUS_OK) {
        device->tree_told = true;
        device->tree_changed = false;
        event.resolved.characteristics = list;
        event.resolved.n_characteristics = n;
        event.resolved.mtu = device->mtu;
    }
    bluez_call_end_with(call, &event);
}

static int take_mtu(void *userdata, const char *key, const char *type, sd_bus_message *m)
{
    return props_uint16(m, type, userdata);
}

static void on_mtu(struct call *call, sd_bus_message *reply, struct bt_result result)
{
    uint16_t mtu = 0;

    /* before BlueZ 5.62 there is none: that is no failure */
    if (reply && props_value(reply, take_mtu, &mtu) >= 0 && mtu)
        call->device->mtu = mtu;
    answer_tree(call);
}

static int take_resolved(void *userdata, const char *key, const char *type, sd_bus_message *m)
{
    return props_bool(m, type, userdata);
}

static void on_barrier(struct call *call, sd_bus_message *reply, struct bt_result result)
{
    struct device *device = call->device;
    sd_bus_message *m = NULL;
    bool resolved = false;

    if (result.status != BT_STATUS_OK) {
        bluez_call_end(call, result);
        return;
    }
    if (!reply || props_value(reply, take_resolved, &resolved) < 0 || !resolved) {
        bluez_call_park(call); /* not any more: waits for the next time */
        return;
    }
    if (!device->characteristics) {
        answer_tree(call);
        return;
    }
    /* No signal tells a changed MTU; any characteristic knows it. */
    int r = bluez_message_get(call->bluez, device->characteristics->object.path,
                              CHARACTERISTIC_INTERFACE, "MTU", &m);
    bluez_call_send(call, r, m, GET_TIMEOUT_US, on_mtu);
}

/* Before it answers, BlueZ sends what it still holds back of the tree. */
static void send_barrier(struct call *call)
{
    sd_bus_message *m = NULL;
    int r = bluez_message_get(call->bluez, call->device->object.path, DEVICE_INTERFACE,
                              "ServicesResolved", &m);

    bluez_call_send(call, r, m, GET_TIMEOUT_US, on_barrier);
}

void bluez_device_resolve(struct call *call, struct device *device)
{
    call->device = device;
    if (!device->info.connected)
        bluez_call_end_later(call, (struct bt_result){.status = BT_STATUS_NOT_CONNECTED});
    else if (device->info.services_resolved)
        send_barrier(call);
    else
        bluez_call_park(call);
}
