/*
 * What the files of bluez/ share: the connection's state, and operations ("calls") from action to
 * answer. Nobody outside bluez/ includes it.
 *
 * Reentrance. The core may hand in actions from inside options.emit(). bluez_execute() therefore
 * only adds: calls, messages, subscriptions, answers for later. It never frees an object or a call
 * and never emits, so that whoever emits finds what it was walking through.
 */
#pragma once

#include "bluez/bluez.h"
#include "bluez/errors.h"
#include "bluez/objects.h"
#include "util/cleanup.h"
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#define ADAPTER_INTERFACE        "org.bluez.Adapter1"
#define DEVICE_INTERFACE         "org.bluez.Device1"
#define SERVICE_INTERFACE        "org.bluez.GattService1"
#define CHARACTERISTIC_INTERFACE "org.bluez.GattCharacteristic1"
#define PROPERTIES_INTERFACE     "org.freedesktop.DBus.Properties"
#define MANAGER_INTERFACE        "org.freedesktop.DBus.ObjectManager"

#define S_TO_US(s) ((uint64_t)(s)*1000000)

/* The system bus allows a connection 128 outstanding calls. An urgent call (it ends others) finds
 * room when the ordinary ones have used up theirs. */
#define CALLS_OUTSTANDING_MAX 48
#define CALLS_URGENT_MAX      64

enum bluez_state {
    BLUEZ_STATE_STOPPED,
    BLUEZ_STATE_NO_BUS,   /* until the retry timer */
    BLUEZ_STATE_NO_OWNER, /* until NameOwnerChanged; the activation timer may help */
    BLUEZ_STATE_READING,  /* GetManagedObjects is on its way; it has a timeout */
    BLUEZ_STATE_UP,
};

enum call_state {
    CALL_STATE_NEW,
    CALL_STATE_QUEUED,  /* its message waits for room */
    CALL_STATE_SENT,    /* has a timeout */
    CALL_STATE_WAITING, /* for ServicesResolved; the core has the deadline */
    CALL_STATE_DONE,    /* its answer waits for the loop */
};

struct call;
/* `reply` is NULL unless result.status is OK; must end, resend or park the call */
typedef void (*call_reply_fn)(struct call *call, sd_bus_message *reply, struct bt_result result);

struct call {
    struct call *prev, *next;
    struct bluez *bluez; /* borrowed, outlives us */
    uint64_t serial;
    enum call_state state;
    enum action_type type;
    struct op op;
    uint32_t adapter_id, device_id;
    bool on;
    bool passive; /* of a scan */
    uint16_t handle;
    uint32_t subscription;
    struct {
        bool has_passkey;
        uint32_t passkey;
    } pairing;

    struct adapter
        *adapter; /* borrowed; the call ends before they go; NULL if it does not matter */
    struct device *device;
    struct characteristic *characteristic;

    sd_bus_message *message; /* owned, while QUEUED */
    sd_bus_slot *slot;       /* owned, while SENT */
    uint64_t timeout_us;
    call_reply_fn reply;
    bool urgent;
    bool is_read;   /* its message is a ReadValue, whose echo is to be told from notifications */
    bool cancelled; /* a disconnect was sent after it */

    struct bt_result result; /* kept for later; its text is this one: */
    char *text;              /* owned */
};

struct bluez {
    struct bluez_options options; /* event is referenced, service unused */
    char *service;                /* owned */
    enum bluez_state state;
    const char *down_reason; /* told last; NULL: nothing told yet or up */

    sd_bus *bus;                                           /* owned */
    sd_bus_slot *owner_match, *changed_match, *tree_match; /* owned, like all slots */
    sd_bus_slot *lost_match, *owner_slot, *tree_slot;
    char *owner;               /* owned; the service's unique name */
    sd_event_source *retry;    /* owned; opens the bus or reads the tree again */
    sd_event_source *activate; /* owned */
    uint64_t backoff_us;
    bool activated; /* once for each loss of the owner */

    struct registry registry;

    struct call *pairing; /* borrowed: the one that is going on, or NULL */
    sd_bus_slot *agent;   /* owned: its object */

    struct call *calls; /* owned; QUEUED, SENT and WAITING, oldest first */
    struct call *done;  /* owned */
    size_t n_outstanding;
    uint64_t last_serial;
    sd_event_source *answers; /* owned; pending while there are done calls */
    sd_event_source *changes; /* owned; timer for EVENT_SERVICES_CHANGED */
    sd_event_source *tell;    /* owned; for ACTION_TELL_DEVICES */
};

static inline void bluez_emit(struct bluez *bluez, const struct event *event)
{
    bluez->options.emit(bluez->options.userdata, event);
}

/* --- call.c --- */

/* The answer that `action` will get. NULL when out of memory. */
struct call *bluez_call_new(struct bluez *bluez, const struct action *action);
/* A method call to the service that never starts it. */
MUST_CHECK
int bluez_message_new(struct bluez *bluez, const char *path, const char *interface,
                      const char *member, sd_bus_message **ret_message);
/* Properties.Get; `reply` gets a variant */
MUST_CHECK
int bluez_message_get(struct bluez *bluez, const char *path, const char *interface,
                      const char *property, sd_bus_message **ret_message);
/* Sends or queues `message_take`. `error` is the outcome of building it: if negative, or if it
 * cannot be sent, the call ends later with that. */
void bluez_call_send(struct call *call, int error, sd_bus_message *message_take,
                     uint64_t timeout_us, call_reply_fn reply);
/* Waits for something that is not on the bus. */
void bluez_call_park(struct call *call);
/* Copies the result into the call. */
void bluez_call_keep(struct call *call, struct bt_result result);
/* Ends the call: its answer comes from the loop. */
void bluez_call_end_later(struct call *call, struct bt_result result);
/* Ends the call at once, with an answer that has no data; only from the loop. */
void bluez_call_end(struct call *call, struct bt_result result);
/* The same with data: an event from bluez_call_event(), completed. */
struct event bluez_call_event(const struct call *call, struct bt_result result);
void bluez_call_end_with(struct call *call, const struct event *event);
/* a call_reply_fn for calls whose outcome is all there is to say */
void bluez_call_reply_end(struct call *call, sd_bus_message *reply, struct bt_result result);
/* Ends parked resolving, later, with CANCELLED; marks a pending connect as cancelled by us. */
void bluez_calls_cancel(struct bluez *bluez, const struct device *device);
/* Ends those begun until now that depend on the object; only from the loop. */
void bluez_calls_end_adapter(struct bluez *bluez, const struct adapter *adapter);
void bluez_calls_end_device(struct bluez *bluez, const struct device *device);
void bluez_calls_end_characteristic(struct bluez *bluez,
                                    const struct characteristic *characteristic);
/* The link is gone: ends reads, writes, subscribing and resolving, later, with NOT_CONNECTED. */
void bluez_calls_end_link(struct bluez *bluez, const struct device *device);
/* Emits the answers of the calls that were DONE when it began. */
void bluez_calls_answer(struct bluez *bluez);
/* without a word */
void bluez_calls_drop(struct bluez *bluez);

/* --- bus.c --- */

MUST_CHECK
int bluez_bus_start(struct bluez *bluez);
void bluez_bus_stop(struct bluez *bluez);
/* whether the sender of a signal is the service that owns the name now */
bool bluez_bus_is_owner(const struct bluez *bluez, sd_bus_message *m);

/* --- tree.c --- */

int bluez_tree_on_properties(sd_bus_message *m, void *userdata, sd_bus_error *ret_error);
int bluez_tree_on_objects(sd_bus_message *m, void *userdata, sd_bus_error *ret_error);
/* Fills the empty registry from the reply to GetManagedObjects, silently. */
MUST_CHECK
int bluez_tree_load(struct bluez *bluez, sd_bus_message *reply);
/* Emits all of it, then EVENT_BLUEZ_UP. */
void bluez_tree_tell(struct bluez *bluez);
/* Forgets all of it, silently. */
void bluez_tree_clear(struct bluez *bluez);

/* --- adapter.c --- */

/* Takes a{sv}; gives whether anything that the core knows changed. Negative: broken message. */
MUST_CHECK
int bluez_adapter_take(struct adapter *adapter, sd_bus_message *m, bool *ret_changed);
void bluez_adapter_tell(struct bluez *bluez, struct adapter *adapter);
void bluez_adapter_remove(struct bluez *bluez, struct adapter *adapter);
void bluez_adapter_scan(struct call *call, struct adapter *adapter);
void bluez_adapter_power(struct call *call, struct adapter *adapter);

/* --- device.c --- */

struct device_change {
    bool shown; /* something that EVENT_DEVICE says */
    bool heard;
    bool link, resolved; /* Connected, ServicesResolved */
};
MUST_CHECK
int bluez_device_take(struct device *device, sd_bus_message *m, struct device_change *change);
void bluez_device_invalidate(struct device *device, const char *property,
                             struct device_change *change);
/* Says what changed and ends what a lost link ends. */
void bluez_device_apply(struct bluez *bluez, struct device *device,
                        const struct device_change *change);
void bluez_device_tell(struct bluez *bluez, struct device *device, bool heard);
void bluez_device_remove(struct bluez *bluez, struct device *device);
/* EVENT_SERVICES_CHANGED for those whose tree changed */
void bluez_device_tell_changes(struct bluez *bluez);
void bluez_device_tell_all(struct bluez *bluez); /* for who has not heard of them */
/* characteristics came or went */
void bluez_device_tree_changed(struct bluez *bluez, struct device *device);
void bluez_device_connect(struct call *call, struct device *device);
void bluez_device_disconnect(struct call *call, struct device *device);
void bluez_device_resolve(struct call *call, struct device *device);
void bluez_device_forget(struct call *call, struct device *device); /* RemoveDevice */

/* --- monitor.c --- */

/* Passive scanning; a start that finds one going on begins anew. */
void bluez_monitor_start(struct call *call, struct adapter *adapter);
/* adapter->monitor exists */
void bluez_monitor_stop(struct call *call, struct adapter *adapter);
/* NULL is none */
bool bluez_monitor_is_active(const struct monitor *monitor);
/* without a word to BlueZ, as when the adapter is gone */
struct monitor *bluez_monitor_free(struct monitor *monitor);

/* --- inspect.c --- */

void bluez_inspect(struct call *call, struct device *device);

/* --- agent.c --- */

void bluez_pair(struct call *call, struct device *device);
/* whatever call it is */
void bluez_pairing_ends(struct call *call);

/* --- gatt.c --- */

MUST_CHECK
int bluez_service_take(struct service *service, sd_bus_message *m);
MUST_CHECK
int bluez_characteristic_take(struct characteristic *characteristic, sd_bus_message *m);
/* the same from PropertiesChanged: a Value may be a notification */
MUST_CHECK
int bluez_characteristic_changed(struct bluez *bluez, struct characteristic *characteristic,
                                 sd_bus_message *m);
/* says that its subscription ends, and removes it */
void bluez_characteristic_remove(struct bluez *bluez, struct characteristic *characteristic);
void bluez_gatt_subscribe(struct call *call, struct characteristic *characteristic,
                          const struct action *action);
void bluez_gatt_unsubscribe(struct call *call, struct characteristic *characteristic,
                            const struct action *action);
void bluez_gatt_read(struct call *call, struct characteristic *characteristic);
void bluez_gatt_write(struct call *call, struct characteristic *characteristic,
                      const struct action *action);
/* a ReadValue left for BlueZ or ended; `data` is NULL unless it was answered with a value */
void bluez_gatt_read_begins(struct characteristic *characteristic);
void bluez_gatt_read_ends(struct bluez *bluez, struct characteristic *characteristic,
                          const uint8_t *data, size_t length);
/* Hands out what sockets and held values still hold, before the link is said to be lost. */
void bluez_gatt_drain(struct bluez *bluez, struct device *device);
/* Closes and frees without a word; only when the object goes. */
void bluez_gatt_drop_subscription(struct characteristic *characteristic);
