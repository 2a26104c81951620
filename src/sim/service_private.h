/*
 * What the parts of the played org.bluez share: service.c (messages and clients), objects.c (the
 * object tree and its signals), hci.c (adapters), device.c and gatt.c. Not for others.
 */
#pragma once

#include "sim/peripheral.h"
#include "sim/service.h"
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>
#include <uthash.h>
#include <utlist.h>

struct sim_bluez;
struct sim_hci;
struct sim_device;
struct sim_gatt_characteristic;

#define BLUEZ_PATH     "/org/bluez"
#define BLUEZ_ERROR(e) "org.bluez.Error." e
#define MAX_PROPERTIES 24   /* of an interface */
#define TIMER_ACCURACY 1000 /* us; sd-event's own default is 250 ms */
#define ATT_TIMEOUT_US 30000000
#define DEFAULT_LE_MTU 23

/* ---- objects.c ---- */

struct sim_object;

struct sim_property {
    const char *name;
    const char *signature;
    int (*get)(struct sim_object *o, sd_bus_message *m); /* appends the value */
    bool (*exists)(struct sim_object *o);                /* NULL: always */
    /* takes the value out of m (inside its variant); 0, or a negative errno: wrong type.
     * Replies by itself when it returns 1. NULL: read-only */
    int (*set)(struct sim_object *o, sd_bus_message *m);
};

struct sim_method {
    const char *name;
    const char *signature;
    /* replies itself, now or later; a negative errno becomes an error reply */
    int (*call)(struct sim_object *o, sd_bus_message *m);
};

struct sim_interface {
    const char *name;
    const struct sim_property *properties;
    size_t n_properties;
    const struct sim_method *methods;
    size_t n_methods;
};

/* An object on the bus, embedded in what it stands for. */
struct sim_object {
    struct sim_bluez *bluez; /* borrowed */
    char *path;              /* owned; NULL: not on the bus */
    const struct sim_interface *interface;
    const struct sim_interface *extra;  /* one more, which comes and goes; or NULL */
    struct sim_object *parent;          /* borrowed: told to the bus before this one; may be NULL */
    struct sim_object *previous, *next; /* all objects, in order of their birth */
    UT_hash_handle hh;
    /* signals that wait for the end of this turn of the loop, as in BlueZ's gdbus */
    bool added;
    uint8_t changed[MAX_PROPERTIES]; /* indexes of properties, in order */
    size_t n_changed;
    bool waits;                                     /* in both queues */
    struct sim_object *flush_previous, *flush_next; /* a flush sends by the first change */
    struct sim_object *idle_previous, *idle_next;   /* an idle loop sends by the last change */
};

/* Puts an object on the bus; InterfacesAdded follows. `path` is taken also on failure. */
MUST_CHECK
int sim_object_add(struct sim_object *o, struct sim_bluez *bluez, char *path,
                   const struct sim_interface *interface, struct sim_object *parent);
/* Takes it off the bus; InterfacesRemoved is sent at once. Nothing if it is not on the bus. */
void sim_object_remove(struct sim_object *o);
/* The object's other interface appears, or goes (NULL); told at once, with what waits before it. */
void sim_object_set_extra(struct sim_object *o, const struct sim_interface *extra);
/* takes it off without a word, as when the daemon dies */
void sim_object_forget(struct sim_object *o);
static inline bool sim_object_exists(const struct sim_object *o)
{
    return o->path != NULL;
}
/* a property changed: told at the end of this turn, together with others of the object */
void sim_object_changed(struct sim_object *o, const char *property);
/* the same, at once: what waits for this object goes out with it */
void sim_object_changed_now(struct sim_object *o, const char *property);
/* sends everything that waits, in the order in which the objects began to wait */
void sim_objects_flush(struct sim_bluez *bluez);
/* the methods of org.freedesktop.DBus.{ObjectManager,Properties,Introspectable,Peer} and the
 * objects' own; always replies */
int sim_objects_dispatch(struct sim_bluez *bluez, sd_bus_message *m);

/* ---- service.c ---- */

struct sim_bluez {
    sd_bus *bus;
    sd_event *event;
    struct sim_world *world; /* borrowed */
    bool peer;
    bool alive;           /* with peer: false while the daemon is dead */
    unsigned incarnation; /* with peer: the number in its unique name */
    uint64_t start_us;    /* on CLOCK_MONOTONIC */
    sd_bus_slot *filter, *vanish_match;

    struct sim_object *objects; /* borrowed: in order of their birth */
    struct sim_object *by_path; /* the same as a hash */
    struct sim_object *flush_queue, *idle_queue;
    sd_event_source *idle;

    struct sim_object root, manager;
    struct sim_agent *agents; /* owned; pairing.c's */
    struct sim_hci **hcis;    /* owned; one per adapter of the world, same index */
};

/* whether the BlueZ that is played is of that version (566: 5.66) or newer */
static inline bool sim_since(const struct sim_bluez *bluez, unsigned version)
{
    return bluez->world->bluez >= version;
}

/* Every reply first sends the signals that wait, as BlueZ's gdbus does. m may be NULL (nobody
 * waits). */
void sim_reply(struct sim_bluez *bluez, sd_bus_message *reply); /* takes reply */
void sim_reply_ok(struct sim_bluez *bluez, sd_bus_message *call);
void sim_reply_error(struct sim_bluez *bluez, sd_bus_message *call, const char *name,
                     const char *text);
/* a signal, with the sender's name where there is no bus daemon to write it */
int sim_signal_new(struct sim_bluez *bluez, const char *path, const char *interface,
                   const char *member, sd_bus_message **ret_signal);
void sim_send(struct sim_bluez *bluez, sd_bus_message *m); /* takes m */
/* writes the sender where there is no bus daemon to do it */
void sim_sign(struct sim_bluez *bluez, sd_bus_message *m);
/* the caller's unique name; "" where there is no bus daemon */
const char *sim_sender(sd_bus_message *m);
/* (re)arms a one-shot timer at a time since the start; TIME_NEVER disarms */
void sim_timer_set(struct sim_bluez *bluez, sd_event_source **timer, uint64_t at_us,
                   sd_event_time_handler_t handler, void *userdata);

/* ---- hci.c ---- */

struct sim_discovery_filter {
    struct bt_uuid *uuids; /* owned */
    size_t n_uuids;
    int rssi; /* SIM_ANY_RSSI: any */
    bool duplicate_data;
    char *pattern; /* owned or NULL */
};
#define SIM_ANY_RSSI -1000

/* a bus client that scans, or has set a filter to scan later */
struct sim_scanner {
    struct sim_scanner *next;
    char *owner; /* owned: unique name */
    bool scanning;
    bool filtered;
    struct sim_discovery_filter filter;
};

/* when a peripheral's next advertisement reaches an adapter */
struct sim_advert_timer {
    struct sim_hci *hci;
    size_t peripheral;
    sd_event_source *timer;
};

struct sim_hci {
    struct sim_object object;    /* first: a struct sim_object * of an adapter is one of these */
    struct sim_bluez *bluez;     /* borrowed */
    struct sim_adapter *adapter; /* borrowed */
    size_t index;
    char *alias; /* owned or NULL */
    bool discovering;
    uint64_t discovery_start_us;
    struct sim_scanner *scanners;         /* owned */
    struct sim_monitor_app *monitor_apps; /* owned; monitor.c's */
    struct sim_device **devices;      /* owned; one per peripheral of the world, NULL: never seen */
    struct sim_advert_timer *adverts; /* owned: one per peripheral */
    struct sim_device *establishing;  /* borrowed: the link that is being created: one at a time */
    sd_event_source *power_timer;
};

int sim_hci_new(struct sim_bluez *bluez, size_t index, struct sim_hci **ret_hci);
struct sim_hci *sim_hci_free(struct sim_hci *hci);
/* (dis)arms the peripherals' advertising timers: what is heard only matters while somebody scans
 * or waits for the peer */
void sim_hci_update_adverts(struct sim_hci *hci);
void sim_hci_update_advert(struct sim_hci *hci, size_t peripheral);
/* The adapter is on the bus, with the devices that were stored; or gone. */
int sim_hci_plug(struct sim_hci *hci);
/* the same for one that is plugged in while BlueZ runs: it is switched on a moment later */
int sim_hci_plug_anew(struct sim_hci *hci);
void sim_hci_unplug(struct sim_hci *hci, bool announce);
/* the objects go, without a word about links and power before */
void sim_hci_pull(struct sim_hci *hci);
/* answers call (or NULL) at the right moment */
void sim_hci_power(struct sim_hci *hci, bool powered, sd_bus_message *call);
/* a bus client is gone */
void sim_hci_client_vanished(struct sim_hci *hci, const char *owner);
bool sim_hci_is_powered(const struct sim_hci *hci);

/* ---- discovery.c ---- */

bool sim_hci_has_filter(const struct sim_hci *hci);
bool sim_hci_wants_duplicates(const struct sim_hci *hci);
/* whether a report passes the filter of anybody who scans */
bool sim_hci_wants(struct sim_hci *hci, const struct sim_peripheral *p, int rssi);
/* the last scanner is gone */
void sim_hci_stop_discovering(struct sim_hci *hci);
void sim_hci_scanner_vanished(struct sim_hci *hci, const char *owner);
void sim_hci_forget_scanners(struct sim_hci *hci);
/* the methods of Adapter1 */
int sim_hci_start_discovery(struct sim_object *o, sd_bus_message *m);
int sim_hci_stop_discovery(struct sim_object *o, sd_bus_message *m);
int sim_hci_set_discovery_filter(struct sim_object *o, sd_bus_message *m);
int sim_hci_get_discovery_filters(struct sim_object *o, sd_bus_message *m);

/* ---- monitor.c ---- */

extern const struct sim_interface sim_monitor_manager; /* of an adapter, if experimental */
/* whether a monitor is active that hears our peripherals */
bool sim_hci_monitors(const struct sim_hci *hci);
/* the peripheral was heard, and has an object */
void sim_hci_monitor_heard(struct sim_hci *hci, size_t peripheral);
/* a client's objects came or went; m is read and rewound */
void sim_hci_monitor_signal(struct sim_hci *hci, sd_bus_message *m);
void sim_hci_monitor_vanished(struct sim_hci *hci, const char *owner);
void sim_hci_forget_monitors(struct sim_hci *hci);

/* ---- device.c ---- */

/* a method call that waits for its reply */
struct sim_waiting_call {
    struct sim_waiting_call *next;
    sd_bus_message *call; /* owned */
};

struct sim_device {
    struct sim_object object;          /* first */
    struct sim_hci *hci;               /* borrowed */
    struct sim_peripheral *peripheral; /* borrowed */
    size_t index;                      /* of the peripheral */
    bool known;                        /* was heard with a name */
    bool temporary;
    bool trusted, blocked;
    char *alias;          /* owned or NULL */
    int rssi;             /* 0: unknown */
    bool found;           /* in this discovery */
    bool advertised_seen; /* UUIDs come from the advertisement */
    bool service_data_seen;
    struct sim_manufacturer_data *manufacturer; /* owned: what came with advertisements */
    size_t n_manufacturer;
    uint64_t last_seen_us;
    sd_event_source *temporary_timer;

    bool connecting;                /* waits for an advertisement, or establishes the link */
    sd_bus_message *connect;        /* owned: the Connect to answer */
    sd_event_source *connect_timer; /* gives up */
    sd_event_source *link_timer;    /* the link is up */
    sd_event_source *abort_timer;   /* ... and goes again: a fault */
    bool connected;                 /* Connected */
    bool resolved;                  /* ServicesResolved */
    bool resolved_once;             /* its services are in the cache */
    sd_event_source *resolve_timer;
    sd_event_source *battery_timer; /* BlueZ has read the level of its first link */
    bool paired;
    sd_bus_message *pair;   /* owned: the Pair to answer */
    sd_bus_slot *pair_slot; /* owned: an agent is asked */
    sd_event_source *pair_timer;
    bool disconnecting;
    bool remove_after;                    /* a RemoveDevice waits for the disconnect */
    struct sim_waiting_call *disconnects; /* owned */
    sd_event_source *disconnect_timer;

    struct sim_gatt *gatt; /* owned: the services, once resolved; they stay while disconnected */
};

int sim_device_new(struct sim_hci *hci, size_t peripheral, struct sim_device **ret_device);
struct sim_device *sim_device_free(struct sim_device *d);
/* puts it on the bus (first sighting, or out of storage) / takes it and its services off */
int sim_device_announce(struct sim_device *d, bool temporary);
void sim_device_withdraw(struct sim_device *d, bool announce);
/* an advertisement was heard while scanning */
void sim_device_report(struct sim_device *d, int rssi);
void sim_device_forget_rssi(struct sim_device *d);
/* the peer was heard while a Connect waits for it */
void sim_device_establish(struct sim_device *d);
/* the link is lost */
void sim_device_link_lost(struct sim_device *d);
/* a Connect in progress fails, as when the adapter is switched off */
void sim_device_fail_connect(struct sim_device *d, const char *text);
/* BlueZ's word for nearly every Connect that failed */
const char *sim_device_aborted(const struct sim_bluez *bluez);
/* Somebody connects; m is NULL where nobody waits for the answer. */
void sim_device_begin_connect(struct sim_device *d, sd_bus_message *m);
static inline struct sim_device *sim_hci_device(struct sim_hci *hci, size_t peripheral)
{
    return hci->devices[peripheral];
}
uint16_t sim_device_mtu(const struct sim_device *d);
/* the device whose object this is */
struct sim_device *sim_device_of(struct sim_object *o);
/* the methods of Device1 */
int sim_device_connect(struct sim_object *o, sd_bus_message *m);
int sim_device_disconnect(struct sim_object *o, sd_bus_message *m);
/* in device_interface.c */
extern const struct sim_interface sim_device_interface;
extern const struct sim_interface sim_battery_interface; /* Battery1 */
/* the battery level that BlueZ reads for itself, or NULL */
struct sim_characteristic *sim_device_battery(const struct sim_device *d);
/* RemoveDevice: replies when it is gone */
int sim_device_remove_call(struct sim_device *d, sd_bus_message *m);

/* ---- pairing.c ---- */

extern const struct sim_interface sim_agent_manager;
void sim_agent_vanished(struct sim_bluez *bluez, const char *owner);
void sim_agents_forget(struct sim_bluez *bluez);
int sim_device_pair(struct sim_object *o, sd_bus_message *m);
int sim_device_cancel_pairing(struct sim_object *o, sd_bus_message *m);
/* the link is up: a Pair may wait for it */
void sim_pairing_linked(struct sim_device *d);
/* answers a Pair, if one waits */
void sim_pairing_fail(struct sim_device *d, const char *name, const char *text);
static inline void sim_pairing_cancel(struct sim_device *d)
{
    sim_pairing_fail(d, BLUEZ_ERROR("AuthenticationCanceled"), "Authentication Canceled");
}
void sim_pairing_drop(struct sim_device *d); /* without an answer */

/* ---- gatt.c and gatt_notify.c ---- */

/* creates the services' objects, if they are not there yet */
int sim_gatt_resolve(struct sim_device *d);
/* Service Changed: the objects go, and others come by the handles of now */
int sim_gatt_renew(struct sim_device *d);
struct sim_gatt *sim_gatt_free(struct sim_gatt *gatt, bool announce);
/* the link is up: sessions that BlueZ remembers are enabled again */
void sim_gatt_connected(struct sim_device *d);
/* the link is gone: what waits fails, sockets hang up, sessions are remembered */
void sim_gatt_disconnected(struct sim_device *d);
/* sends the notifications that are due and arms the timer for the next ones */
void sim_gatt_pump(struct sim_device *d);
void sim_gatt_client_vanished(struct sim_device *d, const char *owner);
