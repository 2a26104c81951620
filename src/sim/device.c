/*
 * A device of the played org.bluez: what was heard of a peripheral, and the link to it. See
 * service_private.h. Must not know GATT beyond when it begins and ends.
 */
#include "sim/service_private.h"

#include "util/cleanup.h"
#include "util/time.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BATTERY_READ_US MS_TO_US(100)
#define RSSI_DELTA      8 /* without a filter BlueZ tells only changes of 8 dB */
#define LOCAL_MTU       517
#define ABORT_US        MS_TO_US(60) /* how long the link of an aborted Connect lives */
#define MAX_COMPANIES   64           /* whose data is remembered */

struct sim_device *sim_device_of(struct sim_object *o)
{
    return (struct sim_device *)o;
}

uint16_t sim_device_mtu(const struct sim_device *d)
{
    return d->connected ? MIN_OF(d->peripheral->mtu, (uint16_t)LOCAL_MTU) : DEFAULT_LE_MTU;
}

static uint64_t now(const struct sim_device *d)
{
    return sim_bluez_now(d->hci->bluez);
}

const char *sim_device_aborted(const struct sim_bluez *bluez)
{
    return sim_since(bluez, 562) ? "le-connection-abort-by-local"
                                 : "Software caused connection abort";
}

static const char *canceled(const struct sim_bluez *bluez)
{
    return sim_since(bluez, 562) ? "br-connection-canceled" : "Cancelled";
}

static void reply_busy(struct sim_bluez *bluez, sd_bus_message *m)
{
    if (sim_since(bluez, 581))
        sim_reply_error(bluez, m, BLUEZ_ERROR("InProgress"), "In Progress");
    else
        sim_reply_error(bluez, m, BLUEZ_ERROR("Failed"), "Operation already in progress");
}

/* BlueZ never keeps a device whose address will change. */
static bool is_private(const struct sim_peripheral *p)
{
    return p->address_type == BT_ADDRESS_RANDOM && p->address.b[0] >> 6 != 3;
}

/* its presence on the air matters to all adapters */
static void update_air(struct sim_device *d)
{
    struct sim_bluez *b = d->hci->bluez;

    for (size_t i = 0; i < b->world->n_adapters; i++)
        sim_hci_update_advert(b->hcis[i], d->index);
}

/* ---- found and forgotten ---- */

static int on_temporary(sd_event_source *source, uint64_t usec, void *userdata)
{
    struct sim_device *d = userdata;
    uint64_t end_us = d->last_seen_us + d->hci->bluez->world->timing.temporary_us;

    if (!d->temporary || d->connected || !sim_object_exists(&d->object))
        return 0;
    if (now(d) < end_us)
        sim_timer_set(d->hci->bluez, &d->temporary_timer, end_us, on_temporary, d);
    else
        sim_device_withdraw(d, true);
    return 0;
}

static void watch_temporary(struct sim_device *d)
{
    d->last_seen_us = now(d);
    if (d->temporary)
        sim_timer_set(d->hci->bluez, &d->temporary_timer,
                      d->last_seen_us + d->hci->bluez->world->timing.temporary_us, on_temporary, d);
}

int sim_device_announce(struct sim_device *d, bool temporary)
{
    char address[BT_ADDRESS_TEXT_SIZE], *path = NULL;

    bt_address_format(&d->peripheral->address, address);
    for (char *c = address; *c; c++)
        if (*c == ':')
            *c = '_';
    if (asprintf(&path, "%s/dev_%s", d->hci->object.path, address) < 0)
        return -ENOMEM;
    d->temporary = temporary;
    return sim_object_add(&d->object, d->hci->bluez, path, &sim_device_interface, &d->hci->object);
}

static void note_rssi(struct sim_device *d, int rssi)
{
    int delta = abs(d->rssi - rssi);

    if (!sim_hci_has_filter(d->hci) && d->rssi && delta < RSSI_DELTA)
        return;
    d->rssi = rssi;
    sim_object_changed(&d->object, "RSSI");
}

/* Companies that are not advertised any more stay. Whether anything changed. */
static bool note_manufacturer(struct sim_device *d, const struct sim_manufacturer_data *heard)
{
    struct sim_manufacturer_data *known = NULL;
    size_t length = heard->data.length;

    for (size_t i = 0; i < d->n_manufacturer && !known; i++)
        if (d->manufacturer[i].company == heard->company)
            known = &d->manufacturer[i];
    if (known && known->data.length == length &&
        (length == 0 || memcmp(known->data.data, heard->data.data, length) == 0))
        return false;
    uint8_t *copy = malloc(MAX_OF(length, (size_t)1));
    if (!copy || (!known && d->n_manufacturer == MAX_COMPANIES)) {
        free(copy);
        return false;
    }
    if (!known) {
        struct sim_manufacturer_data *more =
            reallocarray(d->manufacturer, d->n_manufacturer + 1, sizeof(*more));
        if (!more) {
            free(copy);
            return false;
        }
        d->manufacturer = more;
        known = &more[d->n_manufacturer++];
        *known = (struct sim_manufacturer_data){.company = heard->company};
    }
    if (length)
        memcpy(copy, heard->data.data, length);
    free(known->data.data);
    known->data = (struct sim_bytes){.data = copy, .length = length};
    return true;
}

static void forget_manufacturer(struct sim_device *d)
{
    for (size_t i = 0; i < d->n_manufacturer; i++)
        free(d->manufacturer[i].data.data);
    free(d->manufacturer);
    d->manufacturer = NULL;
    d->n_manufacturer = 0;
}

void sim_device_report(struct sim_device *d, int rssi)
{
    const struct sim_peripheral *p = d->peripheral;
    bool duplicates = sim_hci_wants_duplicates(d->hci);
    bool fresh = !sim_object_exists(&d->object), changed = duplicates;

    if (fresh && sim_device_announce(d, true) < 0)
        return;
    d->found = true;
    d->last_seen_us = now(d);
    if (fresh)
        watch_temporary(d);
    note_rssi(d, rssi);
    if (p->name && !d->known) {
        d->known = true;
        sim_object_changed(&d->object, "Name");
        if (!d->alias)
            sim_object_changed(&d->object, "Alias");
    }
    if (p->n_advertised && !d->advertised_seen && !d->resolved_once) {
        d->advertised_seen = true;
        sim_object_changed(&d->object, "UUIDs");
    }
    for (size_t i = 0; i < p->n_manufacturer; i++)
        changed |= note_manufacturer(d, &p->manufacturer[i]);
    if (p->n_manufacturer && changed)
        sim_object_changed(&d->object, "ManufacturerData");
    if (p->n_service_data && (!d->service_data_seen || duplicates)) {
        d->service_data_seen = true;
        sim_object_changed(&d->object, "ServiceData");
    }
}

void sim_device_forget_rssi(struct sim_device *d)
{
    if (!d->found)
        return;
    d->found = false;
    d->rssi = 0;
    sim_object_changed(&d->object, "RSSI");
}

static void stop_timers(struct sim_device *d)
{
    sd_event_source **timers[] = {&d->temporary_timer, &d->connect_timer,    &d->link_timer,
                                  &d->resolve_timer,   &d->disconnect_timer, &d->battery_timer,
                                  &d->abort_timer};

    for (size_t i = 0; i < ARRAY_SIZE(timers); i++)
        if (*timers[i])
            sd_event_source_set_enabled(*timers[i], SD_EVENT_OFF);
}

static void free_waiting(struct sim_waiting_call **list)
{
    while (*list) {
        struct sim_waiting_call *w = *list;

        *list = w->next;
        sd_bus_message_unref(w->call);
        free(w);
    }
}

void sim_device_withdraw(struct sim_device *d, bool announce)
{
    if (!sim_object_exists(&d->object))
        return;
    stop_timers(d);
    sim_pairing_drop(d);
    if (d->connected) {
        sim_gatt_disconnected(d);
        sim_peripheral_disconnected(d->peripheral);
    }
    d->gatt = sim_gatt_free(d->gatt, announce);
    /* BlueZ drops a Connect of a device that goes without an answer */
    d->connect = sd_bus_message_unref(d->connect);
    free_waiting(&d->disconnects);
    if (d->hci->establishing == d)
        d->hci->establishing = NULL;
    d->connecting = d->connected = d->resolved = d->disconnecting = d->remove_after = false;
    d->rssi = 0;
    d->found = d->advertised_seen = d->service_data_seen = false;
    forget_manufacturer(d);
    if (d->temporary)
        d->known = d->resolved_once = d->paired = false;
    if (announce)
        sim_object_remove(&d->object);
    else
        sim_object_forget(&d->object);
    update_air(d);
}

int sim_device_new(struct sim_hci *hci, size_t peripheral, struct sim_device **ret_device)
{
    struct sim_device *d = calloc(1, sizeof(*d));

    if (!d)
        return -ENOMEM;
    d->hci = hci;
    d->index = peripheral;
    d->peripheral = &hci->bluez->world->peripherals[peripheral];
    d->temporary = true;
    *ret_device = d;
    return 0;
}

struct sim_device *sim_device_free(struct sim_device *d)
{
    if (!d)
        return NULL;
    sim_device_withdraw(d, false);
    sd_event_source_disable_unref(d->temporary_timer);
    sd_event_source_disable_unref(d->connect_timer);
    sd_event_source_disable_unref(d->link_timer);
    sd_event_source_disable_unref(d->resolve_timer);
    sd_event_source_disable_unref(d->disconnect_timer);
    sd_event_source_disable_unref(d->abort_timer);
    sd_event_source_disable_unref(d->battery_timer);
    sd_event_source_disable_unref(d->pair_timer);
    forget_manufacturer(d);
    free(d->alias);
    free(d);
    return NULL;
}

/* ---- the link ---- */

static void end_connect(struct sim_device *d)
{
    d->connecting = false;
    if (d->hci->establishing == d)
        d->hci->establishing = NULL;
    sim_timer_set(d->hci->bluez, &d->connect_timer, TIME_NEVER, NULL, d);
    sim_timer_set(d->hci->bluez, &d->link_timer, TIME_NEVER, NULL, d);
    sim_hci_update_advert(d->hci, d->index);
}

void sim_device_fail_connect(struct sim_device *d, const char *text)
{
    if (!d->connecting)
        return;
    end_connect(d);
    sim_reply_error(d->hci->bluez, d->connect, BLUEZ_ERROR("Failed"), text);
    d->connect = sd_bus_message_unref(d->connect);
    sim_pairing_fail(d, BLUEZ_ERROR("ConnectionAttemptFailed"), "Page Timeout");
}

static int on_connect_timeout(sd_event_source *source, uint64_t usec, void *userdata)
{
    struct sim_device *d = userdata;

    sim_device_fail_connect(d, sim_device_aborted(d->hci->bluez));
    return 0;
}

static int on_battery(sd_event_source *source, uint64_t usec, void *userdata)
{
    struct sim_device *d = userdata;

    if (d->connected && !d->disconnecting)
        sim_object_set_extra(&d->object, &sim_battery_interface);
    return 0;
}

/* Seen in the lab: on the first link BlueZ has the level after the services are resolved; on later
 * ones, with the services known, before. */
static void read_battery(struct sim_device *d)
{
    if (!sim_device_battery(d))
        return;
    if (d->resolved_once)
        sim_object_set_extra(&d->object, &sim_battery_interface);
    else
        sim_timer_set(d->hci->bluez, &d->battery_timer, now(d) + BATTERY_READ_US, on_battery, d);
}

static int on_resolve(sd_event_source *source, uint64_t usec, void *userdata)
{
    struct sim_device *d = userdata;

    if (!d->connected)
        return 0;
    read_battery(d);
    if (!d->resolved_once) {
        d->resolved_once = true;
        sim_object_changed(&d->object, "UUIDs");
    }
    d->resolved = true;
    if (d->peripheral->faults & SIM_FAULT_RESOLVE_EARLY)
        sim_object_changed_now(&d->object, "ServicesResolved");
    if (!(d->peripheral->faults & SIM_FAULT_RESOLVE_EMPTY) && sim_gatt_resolve(d) < 0) {
        d->resolved = false;
        return 0; /* out of memory: it stays unresolved */
    }
    if (!(d->peripheral->faults & SIM_FAULT_RESOLVE_EARLY))
        sim_object_changed(&d->object, "ServicesResolved");
    return 0;
}

/* A Connect has failed, and its link came all the same. */
static int on_abort(sd_event_source *source, uint64_t usec, void *userdata)
{
    struct sim_device *d = userdata;

    if (d->peripheral->faults & SIM_FAULT_CONNECT_VANISH)
        sim_device_withdraw(d, true);
    else
        sim_device_link_lost(d);
    return 0;
}

static bool is_to_abort(const struct sim_device *d)
{
    return d->peripheral->faults & (SIM_FAULT_CONNECT_ABORT | SIM_FAULT_CONNECT_VANISH);
}

static int on_link_up(sd_event_source *source, uint64_t usec, void *userdata)
{
    struct sim_device *d = userdata;
    struct sim_bluez *b = d->hci->bluez;
    struct sim_peripheral *p = d->peripheral;

    d->hci->establishing = NULL;
    if (p->adapter != SIM_NO_ADAPTER)
        return 0; /* another adapter was faster: wait for it to advertise again */
    if (!p->present || p->refuse || is_to_abort(d))
        sim_device_fail_connect(d, sim_device_aborted(b));
    if (!p->present || p->refuse)
        return 0;
    end_connect(d);
    d->connected = true;
    sim_peripheral_connected(p, d->hci->index);
    sim_pairing_linked(d);
    sim_object_changed(&d->object, "Connected");
    sim_reply_ok(b, d->connect);
    d->connect = sd_bus_message_unref(d->connect);
    sim_gatt_connected(d);
    if (is_to_abort(d))
        sim_timer_set(b, &d->abort_timer, now(d) + ABORT_US, on_abort, d);
    else
        sim_timer_set(b, &d->resolve_timer, now(d) + b->world->timing.resolve_us + p->slow_us,
                      on_resolve, d);
    update_air(d);
    return 0;
}

void sim_device_establish(struct sim_device *d)
{
    d->hci->establishing = d;
    sim_timer_set(d->hci->bluez, &d->link_timer, now(d) + d->hci->bluez->world->timing.connect_us,
                  on_link_up, d);
}

/* Whether the Connect was answered, or never will be, because of a fault. */
static bool connect_is_faulty(struct sim_device *d, sd_bus_message *m)
{
    struct sim_bluez *b = d->hci->bluez;
    uint32_t faults = d->peripheral->faults;

    if (faults & SIM_FAULT_CONNECT_MUTE)
        return true;
    if (faults & SIM_FAULT_CONNECT_HOLLOW)
        sim_reply_ok(b, m);
    else if (faults & SIM_FAULT_CONNECT_BUSY)
        reply_busy(b, m);
    else if (faults & SIM_FAULT_CONNECT_AUTH || (d->paired && !d->peripheral->bonded))
        sim_reply_error(b, m, BLUEZ_ERROR("AuthenticationFailed"), "Authentication Failed");
    else if (d->peripheral->refuse)
        sim_reply_error(b, m, BLUEZ_ERROR("Failed"), sim_device_aborted(b));
    else
        return false;
    return true;
}

void sim_device_begin_connect(struct sim_device *d, sd_bus_message *m)
{
    struct sim_bluez *b = d->hci->bluez;

    if (d->connected) {
        sim_reply_ok(b, m);
        return;
    }
    if (!is_private(d->peripheral))
        d->temporary = false;
    if (!sim_hci_is_powered(d->hci)) {
        sim_reply_error(b, m, BLUEZ_ERROR("Failed"), "Input/output error");
    } else if (d->connecting) {
        reply_busy(b, m);
    } else if (!connect_is_faulty(d, m)) {
        d->connecting = true;
        d->connect = sd_bus_message_ref(m);
        sim_timer_set(b, &d->connect_timer, now(d) + b->world->timing.connect_timeout_us,
                      on_connect_timeout, d);
        sim_hci_update_advert(d->hci, d->index);
    }
}

int sim_device_connect(struct sim_object *o, sd_bus_message *m)
{
    sim_device_begin_connect(sim_device_of(o), m);
    return 0;
}

static int on_disconnect(sd_event_source *source, uint64_t usec, void *userdata)
{
    sim_device_link_lost(userdata);
    return 0;
}

/* Disconnect, or RemoveDevice of a connected one: m is answered when the link is gone. */
static int request_disconnect(struct sim_device *d, sd_bus_message *m)
{
    struct sim_bluez *b = d->hci->bluez;
    struct sim_waiting_call *w;

    sim_device_fail_connect(d, canceled(b));
    sim_pairing_cancel(d);
    if (!d->connected) {
        sim_reply_ok(b, m);
        return 0;
    }
    w = calloc(1, sizeof(*w));
    if (!w)
        return -ENOMEM;
    w->call = sd_bus_message_ref(m);
    LL_APPEND(d->disconnects, w);
    sim_object_set_extra(&d->object, NULL);
    /* discovery of services is given up */
    sim_timer_set(b, &d->resolve_timer, TIME_NEVER, on_resolve, d);
    if (!d->disconnecting) {
        d->disconnecting = true;
        sim_timer_set(b, &d->disconnect_timer, now(d) + b->world->timing.disconnect_us,
                      on_disconnect, d);
    }
    return 0;
}

int sim_device_disconnect(struct sim_object *o, sd_bus_message *m)
{
    return request_disconnect(sim_device_of(o), m);
}

int sim_device_remove_call(struct sim_device *d, sd_bus_message *m)
{
    struct sim_bluez *b = d->hci->bluez;

    d->temporary = true;
    if (d->connected) {
        d->remove_after = true;
        return request_disconnect(d, m);
    }
    sim_device_withdraw(d, true);
    sim_reply_ok(b, m);
    return 0;
}

void sim_device_link_lost(struct sim_device *d)
{
    struct sim_bluez *b = d->hci->bluez;

    if (!d->connected)
        return;
    sim_pairing_cancel(d);
    d->connected = d->disconnecting = d->advertised_seen = false;
    sim_timer_set(b, &d->resolve_timer, TIME_NEVER, on_resolve, d);
    sim_timer_set(b, &d->disconnect_timer, TIME_NEVER, on_disconnect, d);
    if (d->resolved) {
        d->resolved = false;
        sim_object_changed(&d->object, "ServicesResolved");
    }
    /* An asked-for end is answered between the two signals. */
    for (struct sim_waiting_call *w = d->disconnects; w; w = w->next)
        sim_reply_ok(b, w->call);
    free_waiting(&d->disconnects);
    sim_object_changed(&d->object, "Connected");
    sim_object_set_extra(&d->object, NULL);
    /* The kernel tells of the link's end before the ATT socket does: what waits fails after. */
    sim_gatt_disconnected(d);
    sim_peripheral_disconnected(d->peripheral);
    watch_temporary(d);
    if (d->remove_after)
        sim_device_withdraw(d, true);
    update_air(d);
}
