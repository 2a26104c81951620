/*
 * A BlueZ that does only what a test says, word by word, and the bluez layer under test, joined by
 * a socket pair in one loop. For orders and contents of messages that a well-behaved BlueZ, and so
 * the simulator, never sends.
 */
#pragma once

#include "bluez/bluez.h"
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#define HCI0 "/org/bluez/hci0"
#define DEV  HCI0 "/dev_A4_C1_38_CF_01_56"
#define SVC  DEV "/service000a"
#define CHR  SVC "/char000b" /* notifies; its value has handle 0x000c */
#define CHR2 SVC "/char000e" /* read and written; 0x000f */

#define CHR_HANDLE  0x000c
#define CHR2_HANDLE 0x000f

#define ADAPTER        "org.bluez.Adapter1"
#define DEVICE         "org.bluez.Device1"
#define SERVICE        "org.bluez.GattService1"
#define CHARACTERISTIC "org.bluez.GattCharacteristic1"

/* `type` is a D-Bus signature: s o b n q y as (text, blank between) ay a{qv} (number and bytes)
 * a{sv} (text as key and bytes) */
struct fake_property {
    const char *key, *type;
    const char *text;
    int number;
    const void *bytes;
    size_t length;
};
#define PROPERTIES(...) ((const struct fake_property[]){__VA_ARGS__, {0}})
#define TEXT(k, v)                           \
    {                                        \
        .key = (k), .type = "s", .text = (v) \
    }
#define BOOL(k, v)                             \
    {                                          \
        .key = (k), .type = "b", .number = (v) \
    }
#define INT16(k, v)                            \
    {                                          \
        .key = (k), .type = "n", .number = (v) \
    }
#define UINT16(k, v)                           \
    {                                          \
        .key = (k), .type = "q", .number = (v) \
    }
#define LIST(k, v)                            \
    {                                         \
        .key = (k), .type = "as", .text = (v) \
    }
#define BYTES(k, v)                                                     \
    {                                                                   \
        .key = (k), .type = "ay", .bytes = (v), .length = sizeof(v) - 1 \
    }

/* an event that came, with copies of what it pointed to */
struct seen {
    struct seen *next;
    struct event event;
    char text[256]; /* result.text, name or reason */
    uint8_t data[1024];
    struct gatt_characteristic tree[64];
    struct gatt_attribute attributes[64];
    struct manufacturer_data manufacturer[8];
    struct bt_uuid uuids[8];
};

struct fake {
    sd_event *loop;
    sd_bus *server, *client;
    struct bluez *bluez;
    bool owned;                                             /* somebody owns the name */
    const char *owner;                                      /* its unique name */
    void (*tree)(struct fake *fake, sd_bus_message *reply); /* appends a{oa{sa{sv}}} */
    sd_bus_message *calls[256];                             /* received and not yet taken */
    size_t n_calls;
    struct seen *first, *last;
    struct seen *current;                                           /* given out last */
    void (*on_event)(struct fake *fake, const struct event *event); /* for reentrance */
    uint32_t adapter, device; /* numbers of the last EVENT_ADAPTER, EVENT_DEVICE */
    uint32_t last_op;
};

struct fake *fake_new(void);
/* without a BlueZ: somebody else plays it on `server` */
struct fake *fake_new_mute(void);
struct fake *fake_free(struct fake *fake);

/* starts and takes what the standard tree gives: hci0, one device, EVENT_BLUEZ_UP */
void fake_start(struct fake *fake);
/* The standard tree, with the device's Connected and ServicesResolved. */
void fake_tree_plain(struct fake *fake, sd_bus_message *reply);     /* adapter and device */
void fake_tree_connected(struct fake *fake, sd_bus_message *reply); /* with characteristics too */
void fake_tree_begin(sd_bus_message *m, const char *path);
void fake_tree_end(sd_bus_message *m);
void fake_append_interface(sd_bus_message *m, const char *interface,
                           const struct fake_property *properties);

/* runs the loop until nothing is left to do but wait for time */
void fake_settle(struct fake *fake);
/* the next event; fails when it is not of that type or none comes */
const struct seen *fake_expect(struct fake *fake, enum event_type type);
void fake_expect_none(struct fake *fake);
/* the oldest call of that member that nobody took; the test replies and unreferences it */
sd_bus_message *fake_call(struct fake *fake, const char *member);
/* the same, with a reply that is empty or an error */
void fake_answer(struct fake *fake, const char *member);
void fake_refuse(struct fake *fake, const char *member, const char *name, const char *text);
/* Properties.Get for the barrier and the MTU */
void fake_answer_get(struct fake *fake, const char *property, const char *type, int value);
void fake_answer_bytes(struct fake *fake, const char *member, const void *data, size_t length);

void fake_added(struct fake *fake, const char *path, const char *interface,
                const struct fake_property *properties);
void fake_removed(struct fake *fake, const char *path, const char *interface);
void fake_changed(struct fake *fake, const char *path, const char *interface,
                  const struct fake_property *properties, const char *invalidated);
void fake_send(struct fake *fake, sd_bus_message *signal_take);
void fake_set_owner(struct fake *fake, const char *owner); /* with NameOwnerChanged; NULL: none */
/* the services and characteristics of the device appear */
void fake_add_characteristics(struct fake *fake);

/* fills the adapter, device and a new operation's number in */
struct action fake_action(struct fake *fake, enum action_type type);
void fake_execute(struct fake *fake, struct action action);
/* from the standard tree to a resolved device */
void fake_resolve(struct fake *fake);
/* a subscription by signals, established */
void fake_subscribe(struct fake *fake, uint32_t number);
