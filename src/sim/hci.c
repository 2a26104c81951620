/*
 * An adapter of the played org.bluez: Adapter1, discovery per client, what is heard on the air. See
 * service_private.h. Must not know GATT.
 */
#include "sim/service_private.h"

#include "util/cleanup.h"
#include "util/time.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ADAPTER_LABEL    "simulated"
#define POWER_ON_US      MS_TO_US(20)
#define ADVERT_JITTER_US 10000    /* Core Specification Vol 6 Part B 4.4.2.2.1: up to 10 ms */
#define SCAN_US          10240000 /* the kernel's scan, and BlueZ's pause without a filter */
#define IDLE_US          5000000

static struct sim_hci *hci_of(struct sim_object *o)
{
    return (struct sim_hci *)o;
}

bool sim_hci_is_powered(const struct sim_hci *hci)
{
    return hci->adapter->present && hci->adapter->powered;
}

/* ---- the air ---- */

static bool is_listening(const struct sim_hci *hci, size_t peripheral)
{
    const struct sim_device *d = hci->devices[peripheral];

    return sim_hci_is_powered(hci) && sim_object_exists(&hci->object) &&
           (hci->discovering || sim_hci_monitors(hci) || (d && d->connecting));
}

/* Without a filter BlueZ pauses for 5 s after each scan of the kernel. */
static bool pauses(const struct sim_hci *hci, uint64_t now_us)
{
    return !sim_hci_has_filter(hci) &&
           (now_us - hci->discovery_start_us) % (SCAN_US + IDLE_US) >= SCAN_US;
}

static void hear(struct sim_hci *hci, size_t i, uint64_t now_us)
{
    struct sim_peripheral *p = &hci->bluez->world->peripherals[i];
    struct sim_device *d = hci->devices[i];
    int rssi = sim_peripheral_rssi(p, now_us);

    if (hci->adapter->faults & SIM_FAULT_DEAF)
        return;
    if (hci->establishing)
        return; /* the controller does not scan while it creates a link */
    if (d && d->connecting && p->connectable) {
        sim_device_establish(d);
        return;
    }
    bool discovered = hci->discovering && !pauses(hci, now_us) && sim_hci_wants(hci, p, rssi);
    if (!discovered && !sim_hci_monitors(hci))
        return;
    if (!d && sim_device_new(hci, i, &hci->devices[i]) < 0)
        return;
    sim_device_report(hci->devices[i], rssi);
    sim_hci_monitor_heard(hci, i);
}

static int on_advert(sd_event_source *source, uint64_t usec, void *userdata)
{
    struct sim_advert_timer *t = userdata;
    struct sim_bluez *b = t->hci->bluez;
    const struct sim_peripheral *p = &b->world->peripherals[t->peripheral];
    uint64_t now_us = sim_bluez_now(b);
    uint64_t next_us =
        usec - b->start_us + p->interval_us + script_hash(p->seed, usec) % ADVERT_JITTER_US;

    sim_timer_set(b, &t->timer, MAX_OF(next_us, now_us + 1000), on_advert, t);
    hear(t->hci, t->peripheral, now_us);
    sim_hci_update_advert(t->hci, t->peripheral);
    return 0;
}

void sim_hci_update_advert(struct sim_hci *hci, size_t peripheral)
{
    struct sim_advert_timer *t = &hci->adverts[peripheral];
    const struct sim_peripheral *p = &hci->bluez->world->peripherals[peripheral];
    int enabled = SD_EVENT_OFF;

    if (t->timer)
        sd_event_source_get_enabled(t->timer, &enabled);
    if (!is_listening(hci, peripheral) || !sim_peripheral_advertises(p)) {
        sim_timer_set(hci->bluez, &t->timer, TIME_NEVER, on_advert, t);
    } else if (enabled == SD_EVENT_OFF) {
        uint64_t now_us = sim_bluez_now(hci->bluez);

        /* it has been advertising all the time: the next one comes somewhere in the interval */
        sim_timer_set(hci->bluez, &t->timer, now_us + script_hash(p->seed, now_us) % p->interval_us,
                      on_advert, t);
    }
}

void sim_hci_update_adverts(struct sim_hci *hci)
{
    for (size_t i = 0; i < hci->bluez->world->n_peripherals; i++)
        sim_hci_update_advert(hci, i);
}

void sim_hci_client_vanished(struct sim_hci *hci, const char *owner)
{
    sim_hci_scanner_vanished(hci, owner);
    sim_hci_monitor_vanished(hci, owner);
    for (size_t i = 0; i < hci->bluez->world->n_peripherals; i++)
        if (hci->devices[i])
            sim_gatt_client_vanished(hci->devices[i], owner);
}

/* ---- Adapter1 ---- */

static int remove_device(struct sim_object *o, sd_bus_message *m)
{
    struct sim_hci *hci = hci_of(o);
    const char *path;
    int r = sd_bus_message_read(m, "o", &path);

    if (r < 0)
        return r;
    for (size_t i = 0; i < o->bluez->world->n_peripherals; i++) {
        struct sim_device *d = hci->devices[i];

        if (!d || !sim_object_exists(&d->object) || strcmp(d->object.path, path) != 0)
            continue;
        if (sim_hci_is_powered(hci))
            return sim_device_remove_call(d, m);
        sim_reply_error(o->bluez, m, BLUEZ_ERROR("NotReady"), "Resource Not Ready");
        return 0;
    }
    sim_reply_error(o->bluez, m, BLUEZ_ERROR("DoesNotExist"), "Does Not Exist");
    return 0;
}

static int get_address(struct sim_object *o, sd_bus_message *m)
{
    char text[BT_ADDRESS_TEXT_SIZE];

    bt_address_format(&hci_of(o)->adapter->address, text);
    return sd_bus_message_append(m, "s", text);
}

static int get_address_type(struct sim_object *o, sd_bus_message *m)
{
    return sd_bus_message_append(m, "s", "public");
}

static int get_name(struct sim_object *o, sd_bus_message *m)
{
    return sd_bus_message_append(m, "s", ADAPTER_LABEL);
}

static int get_alias(struct sim_object *o, sd_bus_message *m)
{
    const char *alias = hci_of(o)->alias;

    return sd_bus_message_append(m, "s", alias ? alias : ADAPTER_LABEL);
}

static int set_alias(struct sim_object *o, sd_bus_message *m)
{
    const char *text;
    int r = sd_bus_message_read(m, "s", &text);
    char *alias = r < 0 ? NULL : strdup(text);

    if (!alias)
        return r < 0 ? r : -ENOMEM;
    free(hci_of(o)->alias);
    hci_of(o)->alias = alias;
    sim_object_changed(o, "Alias");
    return 0;
}

static int get_powered(struct sim_object *o, sd_bus_message *m)
{
    return sd_bus_message_append(m, "b", sim_hci_is_powered(hci_of(o)));
}

static int set_powered(struct sim_object *o, sd_bus_message *m)
{
    int powered;
    int r = sd_bus_message_read(m, "b", &powered);

    if (r < 0)
        return r;
    if (powered && hci_of(o)->adapter->faults & SIM_FAULT_RFKILL) {
        sim_reply_error(o->bluez, m, BLUEZ_ERROR("Blocked"), "Blocked through rfkill");
        return 1;
    }
    sim_hci_power(hci_of(o), powered, m);
    return 1; /* answered */
}

static int get_discovering(struct sim_object *o, sd_bus_message *m)
{
    return sd_bus_message_append(m, "b", hci_of(o)->discovering);
}

static int get_false(struct sim_object *o, sd_bus_message *m)
{
    return sd_bus_message_append(m, "b", 0);
}

static int get_zero(struct sim_object *o, sd_bus_message *m)
{
    return sd_bus_message_append(m, "u", 0);
}

static int get_uuids(struct sim_object *o, sd_bus_message *m)
{
    return sd_bus_message_append(m, "as", 2, "00001801-0000-1000-8000-00805f9b34fb",
                                 "00001800-0000-1000-8000-00805f9b34fb");
}

static int get_modalias(struct sim_object *o, sd_bus_message *m)
{
    return sd_bus_message_append(m, "s", "usb:v1D6Bp0246d0542");
}

static int get_roles(struct sim_object *o, sd_bus_message *m)
{
    return sd_bus_message_append(m, "as", 2, "central", "peripheral");
}

static bool since_555(struct sim_object *o)
{
    return sim_since(o->bluez, 555);
}

static bool since_571(struct sim_object *o)
{
    return sim_since(o->bluez, 571);
}

static bool since_573(struct sim_object *o)
{
    return sim_since(o->bluez, 573);
}

static bool since_579(struct sim_object *o)
{
    return sim_since(o->bluez, 579);
}

static int get_power_state(struct sim_object *o, sd_bus_message *m)
{
    const struct sim_hci *hci = hci_of(o);
    bool blocked = hci->adapter->faults & SIM_FAULT_RFKILL;

    return sd_bus_message_append(m, "s",
                                 sim_hci_is_powered(hci) ? "on"
                                 : blocked               ? "off-blocked"
                                                         : "off");
}

static int get_manufacturer(struct sim_object *o, sd_bus_message *m)
{
    return sd_bus_message_append(m, "q", 0x0a12);
}

static int get_version(struct sim_object *o, sd_bus_message *m)
{
    return sd_bus_message_append(m, "y", 10);
}

static const struct sim_property properties[] = {
    {"Address", "s", get_address, NULL, NULL},
    {"AddressType", "s", get_address_type, NULL, NULL},
    {"Name", "s", get_name, NULL, NULL},
    {"Alias", "s", get_alias, NULL, set_alias},
    {"Class", "u", get_zero, NULL, NULL},
    {"Powered", "b", get_powered, NULL, set_powered},
    {"PowerState", "s", get_power_state, since_573, NULL},
    {"Connectable", "b", get_false, since_579, NULL},
    {"Discoverable", "b", get_false, NULL, NULL},
    {"DiscoverableTimeout", "u", get_zero, NULL, NULL},
    {"Pairable", "b", get_false, NULL, NULL},
    {"PairableTimeout", "u", get_zero, NULL, NULL},
    {"Discovering", "b", get_discovering, NULL, NULL},
    {"UUIDs", "as", get_uuids, NULL, NULL},
    {"Modalias", "s", get_modalias, NULL, NULL},
    {"Roles", "as", get_roles, since_555, NULL},
    {"Manufacturer", "q", get_manufacturer, since_571, NULL},
    {"Version", "y", get_version, since_571, NULL},
};
static const struct sim_method methods[] = {
    {"StartDiscovery", "", sim_hci_start_discovery},
    {"SetDiscoveryFilter", "a{sv}", sim_hci_set_discovery_filter},
    {"StopDiscovery", "", sim_hci_stop_discovery},
    {"RemoveDevice", "o", remove_device},
    {"GetDiscoveryFilters", "", sim_hci_get_discovery_filters},
};
static const struct sim_interface hci_interface = {
    .name = "org.bluez.Adapter1",
    .properties = properties,
    .n_properties = ARRAY_SIZE(properties),
    .methods = methods,
    .n_methods = ARRAY_SIZE(methods),
};

/* ---- power and plug ---- */

/* Links end, and what was only seen is forgotten; the kernel does that before it is off. */
static void let_go(struct sim_hci *hci)
{
    struct sim_device *d;

    for (size_t i = 0; i < hci->bluez->world->n_peripherals; i++)
        if ((d = hci->devices[i]) && d->temporary && !d->connected)
            sim_device_withdraw(d, true);
    for (size_t i = 0; i < hci->bluez->world->n_peripherals; i++)
        if ((d = hci->devices[i])) {
            sim_device_link_lost(d);
            sim_device_fail_connect(d, sim_device_aborted(hci->bluez));
        }
}

static void tell_power(struct sim_hci *hci)
{
    sim_object_changed(&hci->object, "Powered");
    if (since_573(&hci->object))
        sim_object_changed(&hci->object, "PowerState");
}

static void tell_off(struct sim_hci *hci)
{
    hci->adapter->powered = false;
    sim_hci_forget_scanners(hci);
    tell_power(hci);
    sim_hci_stop_discovering(hci);
}

/* The answer (call may be NULL) comes when links are gone, but before the new setting is told. */
void sim_hci_power(struct sim_hci *hci, bool powered, sd_bus_message *call)
{
    bool changes = hci->adapter->powered != powered;

    if (changes && !powered)
        let_go(hci);
    sim_reply_ok(hci->bluez, call);
    if (changes && !powered) {
        hci->adapter->faults &= ~(uint32_t)SIM_FAULT_DEAF;
        tell_off(hci);
    } else if (changes) {
        hci->adapter->powered = true;
        tell_power(hci);
    }
}

int sim_hci_plug(struct sim_hci *hci)
{
    struct sim_bluez *b = hci->bluez;
    char *path = NULL;

    if (asprintf(&path, BLUEZ_PATH "/%s", hci->adapter->name) < 0)
        return -ENOMEM;
    int r = sim_object_add(&hci->object, b, path, &hci_interface, NULL);
    if (r >= 0 && b->world->experimental)
        hci->object.extra = &sim_monitor_manager; /* announced together */
    /* devices that were connected once come back out of storage */
    for (size_t i = 0; r >= 0 && i < b->world->n_peripherals; i++)
        if (hci->devices[i] && !hci->devices[i]->temporary)
            r = sim_device_announce(hci->devices[i], false);
    return r;
}

static int on_power_on(sd_event_source *source, uint64_t usec, void *userdata)
{
    sim_hci_power(userdata, true, NULL);
    return 0;
}

int sim_hci_plug_anew(struct sim_hci *hci)
{
    hci->adapter->powered = false;
    sim_timer_set(hci->bluez, &hci->power_timer, sim_bluez_now(hci->bluez) + POWER_ON_US,
                  on_power_on, hci);
    return sim_hci_plug(hci);
}

static void unplug(struct sim_hci *hci, bool announce, bool gently)
{
    struct sim_bluez *b = hci->bluez;

    if (!sim_object_exists(&hci->object))
        return;
    if (gently && hci->adapter->powered) {
        /* a pulled adapter is told off first, then its links, then that it is gone */
        tell_off(hci);
        sim_objects_flush(b);
        let_go(hci);
        sim_objects_flush(b);
    }
    for (size_t i = 0; i < b->world->n_peripherals; i++)
        if (hci->devices[i])
            sim_device_withdraw(hci->devices[i], announce);
    sim_hci_forget_monitors(hci);
    sim_hci_forget_scanners(hci);
    hci->discovering = false;
    sim_timer_set(b, &hci->power_timer, TIME_NEVER, on_power_on, hci);
    if (announce)
        sim_object_remove(&hci->object);
    else
        sim_object_forget(&hci->object);
    sim_hci_update_adverts(hci);
}

void sim_hci_unplug(struct sim_hci *hci, bool announce)
{
    unplug(hci, announce, announce);
}

void sim_hci_pull(struct sim_hci *hci)
{
    unplug(hci, true, false);
}

int sim_hci_new(struct sim_bluez *bluez, size_t index, struct sim_hci **ret_hci)
{
    size_t n = MAX_OF(bluez->world->n_peripherals, (size_t)1);
    struct sim_hci *hci = calloc(1, sizeof(*hci));

    if (!hci)
        return -ENOMEM;
    hci->bluez = bluez;
    hci->index = index;
    hci->adapter = &bluez->world->adapters[index];
    hci->devices = calloc(n, sizeof(struct sim_device *));
    hci->adverts = calloc(n, sizeof(*hci->adverts));
    if (!hci->devices || !hci->adverts) {
        sim_hci_free(hci);
        return -ENOMEM;
    }
    for (size_t i = 0; i < bluez->world->n_peripherals; i++)
        hci->adverts[i] = (struct sim_advert_timer){.hci = hci, .peripheral = i};
    *ret_hci = hci;
    return 0;
}

struct sim_hci *sim_hci_free(struct sim_hci *hci)
{
    if (!hci)
        return NULL;
    for (size_t i = 0; i < hci->bluez->world->n_peripherals; i++) {
        if (hci->devices)
            sim_device_free(hci->devices[i]);
        if (hci->adverts)
            sd_event_source_disable_unref(hci->adverts[i].timer);
    }
    sd_event_source_disable_unref(hci->power_timer);
    free(hci->devices);
    free(hci->adverts);
    free(hci->alias);
    free(hci);
    return NULL;
}
