/*
 * What the world tells the core. Adapters (bluez/, mqtt/, app/) build an event on the stack and
 * hand it to gateway_handle(); everything it points to is borrowed for that call only.
 *
 * Identity. An adapter is a `uint32_t adapter` and a peer's object at BlueZ a `uint32_t device`:
 * numbers that bluez/ gives when the object appears and never uses again, so that a late word about
 * a dead object is recognised. 0 is none. The answer to an action carries the action's `struct op`:
 * the peer, its generation (one per connection attempt) and the operation's number; the core drops
 * what is not current.
 */
#pragma once

#include "core/bt.h"

enum event_type {
    EVENT_START, /* once, first */
    EVENT_TIMER, /* gateway_next_deadline() has come */
    EVENT_STOP,  /* SIGTERM: say goodbye; ACTION_QUIT comes back */

    /* BlueZ */
    EVENT_BLUEZ_UP,   /* the tree is known: ADAPTER and DEVICE events for all of it came before */
    EVENT_BLUEZ_DOWN, /* bus or bluetoothd lost: every adapter and device is void, no answers come
                       */
    EVENT_ADAPTER,    /* new or changed */
    EVENT_ADAPTER_GONE,
    EVENT_DEVICE, /* new, changed or heard */
    EVENT_DEVICE_GONE,
    EVENT_LINK,           /* Device1.Connected changed (also reported by EVENT_DEVICE when new) */
    EVENT_SCAN_RESULT,    /* to ACTION_SCAN_START, ACTION_SCAN_STOP */
    EVENT_POWER_RESULT,   /* to ACTION_POWER */
    EVENT_CONNECT_RESULT, /* to ACTION_CONNECT; OK means link up, not services known */
    EVENT_DISCONNECT_RESULT, /* to ACTION_DISCONNECT */
    EVENT_RESOLVE_RESULT,    /* to ACTION_RESOLVE */
    EVENT_SUBSCRIBE_RESULT,  /* to ACTION_SUBSCRIBE, ACTION_UNSUBSCRIBE */
    EVENT_READ_RESULT,
    EVENT_WRITE_RESULT,
    EVENT_INSPECT_RESULT,    /* to ACTION_INSPECT */
    EVENT_PAIR_RESULT,       /* to ACTION_PAIR; also when the link is lost meanwhile */
    EVENT_REMOVE_RESULT,     /* to ACTION_REMOVE_DEVICE */
    EVENT_VALUE,             /* a notification or indication */
    EVENT_SUBSCRIPTION_LOST, /* Notifying went false, the socket closed, or the object went */
    EVENT_SERVICES_CHANGED,  /* the GATT tree of a connected device changed */

    /* MQTT */
    EVENT_BROKER_UP,
    EVENT_BROKER_DOWN,      /* also: an attempt failed */
    EVENT_PUBLISHED,        /* to ACTION_PUBLISH */
    EVENT_TOPIC_SUBSCRIBED, /* to ACTION_TOPIC_SUBSCRIBE */
    EVENT_MESSAGE,
};

struct op {
    uint32_t peer;
    uint32_t generation;
    uint32_t id;
};

/* How an operation at BlueZ ended. */
struct bt_result {
    enum bt_status status;
    uint8_t att; /* with BT_STATUS_ATT_ERROR: the code (Core Specification Vol 3 Part F 3.4.1.1) */
    const char *text; /* BlueZ's words for people; may be NULL */
};

struct manufacturer_data {
    uint16_t company;
    const uint8_t *data;
    size_t length;
};
struct service_data {
    struct bt_uuid uuid;
    const uint8_t *data;
    size_t length;
};

#define RSSI_UNKNOWN INT16_MIN

struct adapter_info {
    uint32_t adapter;
    struct bt_address address;
    const char *name; /* "hci0" */
    bool powered, discovering;
    bool blocked; /* by rfkill, where BlueZ says so (PowerState, from 5.66 on) */
    size_t links; /* of all programs */
};

struct device_info {
    uint32_t adapter, device;
    struct bt_address address;
    enum bt_address_type address_type;
    const char *name; /* the advertised one (Device1.Name), or NULL */
    bool heard;       /* an advertisement arrived just now */
    int16_t rssi;     /* dBm, or RSSI_UNKNOWN */
    bool connected, services_resolved, paired, bonded;
    const struct bt_uuid *uuids;
    size_t n_uuids;
    const struct manufacturer_data *manufacturer;
    size_t n_manufacturer;
    const struct service_data *service_data;
    size_t n_service_data;
};

struct event {
    enum event_type type;
    struct op op; /* of answers */
    uint32_t adapter, device;
    struct bt_result result; /* of answers */
    union {
        struct {
            uint64_t memory_bytes; /* resident, of the process; 0: not measured now */
        } timer;
        struct {
            const char *version; /* BlueZ's, or NULL when it does not say */
        } bluez_up;
        struct {
            const char *reason; /* stable: "no_bus", "no_bluez", "access_denied" */
            const char *text;   /* for people, may be NULL */
        } bluez_down;
        struct adapter_info adapter_info;
        struct device_info device_info;
        struct {
            bool connected;
            size_t links; /* of the adapter now, of all programs */
        } link;
        struct {
            bool
                on; /* what was asked for: scan started / stopped, power on / off, (un)subscribed */
        } asked;
        struct {
            const struct gatt_characteristic *characteristics; /* the whole tree, by handle */
            size_t n_characteristics;
            uint16_t mtu; /* ATT MTU, 0 when BlueZ does not say */
        } resolved;
        struct {
            const struct gatt_attribute *attributes; /* the whole tree, by handle */
            size_t n_attributes;
        } inspected;
        struct {
            uint16_t handle;
            const uint8_t *data;
            size_t length;
        } read;
        struct {
            uint32_t subscription; /* the number that ACTION_SUBSCRIBE gave */
            uint32_t peer;         /* likewise */
            uint32_t source;       /* likewise: the peer's index of the characteristic */
            const uint8_t *data;
            size_t length;
        } value; /* also SUBSCRIPTION_LOST, without data */
        struct {
            bool session_present;
            unsigned window; /* unacknowledged QoS 1 messages allowed: min(20, receive maximum) */
            unsigned window_qos0; /* QoS 0 messages handed over and not yet written */
            uint32_t max_packet;  /* bytes, 0: no limit */
            bool retain_available;
            uint8_t max_qos;
            bool v5;
        } broker_up;
        struct {
            const char *reason; /* stable: "unreachable", "refused", "bad_login", "tls", "moved",
                                   "taken_over", "lost", "ended" (it said why), ... */
            const char *text;   /* for people */
            bool was_up;
        } broker_down;
        struct {
            uint64_t token;
            bool ok;  /* false: the broker refused this message for good */
            int code; /* MQTT 5 reason code or Paho's, when not ok */
        } published;
        struct {
            const char *filter;
            bool ok;
            int code;
        } topic_subscribed;
        struct {
            const char *topic;
            const void *payload;
            size_t length;
            uint8_t qos;
            bool retained, duplicate;
            const char *response_topic; /* MQTT 5, or NULL */
            const void *correlation;    /* MQTT 5, or NULL */
            size_t correlation_length;
            bool has_expiry;
            uint32_t expiry_s;
        } message;
    };
};
