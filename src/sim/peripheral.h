/*
 * The simulated world: adapters, and peripherals with their advertisements, GATT databases, values
 * and faults. One file describes it; whoever plays it (sim/service on D-Bus, a radio on HCI) asks
 * here what is on the air, what a read gives, what a write does and which notifications are due.
 *
 * Pure: no clock (now_us is the time since the world began to be played), no file descriptor, no
 * D-Bus. The structures are open so that a player can walk them; what changes while playing is
 * changed by the functions below.
 */
#pragma once

#include "core/bt.h"
#include "sim/fault.h"
#include "sim/script.h"
#include "util/err.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct diags;

#define SIM_MAX_ADAPTERS        16
#define SIM_MAX_PERIPHERALS     1000
#define SIM_MAX_SERVICES        64
#define SIM_MAX_CHARACTERISTICS 64   /* of a service */
#define SIM_MAX_WAVES           16   /* of a characteristic */
#define SIM_MAX_SCRIPT          4096 /* values of a script */
#define SIM_MAX_REACTIONS       32   /* of a characteristic to writes */
#define SIM_MAX_WRITES          4096 /* writes remembered per characteristic; then the oldest go */
#define SIM_MAX_RATE            10000
#define SIM_FIRST_HANDLE        0x0010 /* below: room for a radio's own GAP and GATT services */
#define SIM_NO_ADAPTER          SIZE_MAX

/* ATT error codes (Core Specification Vol 3 Part F 3.4.1.1); 0: none */
enum sim_att {
    SIM_ATT_OK = 0x00,
    SIM_ATT_INVALID_HANDLE = 0x01,
    SIM_ATT_READ_NOT_PERMITTED = 0x02,
    SIM_ATT_WRITE_NOT_PERMITTED = 0x03,
    SIM_ATT_INVALID_OFFSET = 0x07,
    SIM_ATT_INVALID_LENGTH = 0x0d,
    SIM_ATT_UNLIKELY = 0x0e,
    SIM_ATT_ENCRYPTION = 0x0f,
    SIM_ATT_CCCD_IMPROPER = 0xfd,
};

struct sim_bytes {
    uint8_t *data; /* owned */
    size_t length;
};

/* what was written to a characteristic */
struct sim_write {
    bool command; /* without response */
    struct sim_bytes value;
};

/* a run of notifications at a rate, as the control protocol asks for */
struct sim_burst {
    uint64_t start_us;
    uint32_t count, done; /* running while done < count */
    uint32_t rate;        /* per second */
};

/*
 * What a write sets off at a characteristic of the same peripheral. Its values are notified one
 * after the other; without any its value stays as it is. `copy` bytes of what was written then
 * become part of it: at once, or (`step`) as a little-endian number that comes nearer with each
 * write.
 */
struct sim_reaction {
    char *characteristic;     /* owned: the id of the one that changes */
    struct sim_bytes when;    /* what was written starts so; empty: anything */
    struct sim_bytes *values; /* owned */
    size_t n_values;
    uint16_t copy_from, copy_to, copy_length; /* length 0: nothing is copied */
    uint16_t copy_step;                       /* at most so much nearer; 0: copied */
};

struct sim_characteristic {
    struct sim_peripheral *peripheral; /* borrowed: its own */
    /* from the file */
    char *id; /* owned; unique in the peripheral; the short UUID where the file names none */
    struct bt_uuid uuid;
    uint16_t flags;            /* enum gatt_flag */
    uint16_t declaration;      /* handle of the declaration */
    uint16_t handle;           /* of the value: declaration + 1 */
    uint16_t cccd;             /* handle + 1 where it notifies or indicates, else 0 */
    uint64_t notify_us;        /* period while subscribed; 0: only on demand */
    struct script_wave *waves; /* owned */
    size_t n_waves;
    struct sim_bytes *script; /* owned: each notification or read takes the next, in a ring */
    size_t n_script;
    uint16_t length_min, length_max;               /* of a write */
    uint8_t read_error, write_error, notify_error; /* ATT error of a fault, 0: none */
    bool encrypted;                                /* only over a secure link */
    bool echo;                                     /* a write is notified back */
    bool notify_at_once;                           /* its value, to whoever subscribes */
    struct sim_reaction *reactions;                /* owned */
    size_t n_reactions;

    /* while playing */
    uint8_t value[GATT_VALUE_MAX]; /* the current one; waves and script change it */
    size_t length;
    size_t script_next;
    uint16_t cccd_value;               /* 1 notify, 2 indicate, 0 not subscribed */
    uint64_t next_us;                  /* of the periodic notification, TIME_NEVER: none */
    bool pending;                      /* the value is to be notified now */
    const struct sim_reaction *answer; /* borrowed: its values are to be notified, in order */
    size_t answer_next;
    struct sim_bytes answered; /* owned: the write that it answers */
    struct sim_burst burst;
    uint32_t sequence;        /* last number that a burst used */
    uint64_t n_sent;          /* notifications since the world began */
    struct sim_write *writes; /* owned: since the last time somebody asked */
    size_t n_writes, writes_size;
};

struct sim_service {
    struct bt_uuid uuid;
    uint16_t handle;                            /* of its declaration */
    uint16_t end;                               /* last handle that belongs to it */
    struct sim_characteristic *characteristics; /* owned */
    size_t n_characteristics;
};

struct sim_manufacturer_data {
    uint16_t company;
    struct sim_bytes data;
};

struct sim_service_data {
    struct bt_uuid uuid;
    struct sim_bytes data;
};

enum sim_pairing { SIM_PAIRING_JUST_WORKS, SIM_PAIRING_PASSKEY, SIM_PAIRING_REFUSE };

struct sim_peripheral {
    /* from the file */
    char *id; /* owned */
    struct bt_address address;
    enum bt_address_type address_type;
    char *name; /* owned; as advertised, NULL: none */
    int rssi_from, rssi_to;
    uint64_t interval_us; /* of advertising */
    bool connectable;
    enum sim_pairing pairing;
    uint32_t passkey;           /* that it shows */
    uint16_t mtu;               /* that it answers to an MTU request */
    struct bt_uuid *advertised; /* owned: service UUIDs on the air */
    size_t n_advertised;
    struct sim_manufacturer_data *manufacturer; /* owned */
    size_t n_manufacturer;
    struct sim_service_data *service_data; /* owned */
    size_t n_service_data;
    struct sim_service *services; /* owned */
    size_t n_services;
    uint64_t seed; /* of its random waves: from its id */

    /* while playing */
    bool present;     /* false: switched off or out of reach */
    bool bonded;      /* it has keys of a central */
    bool secure;      /* and the link is encrypted with them */
    bool refuse;      /* every attempt to connect fails at once */
    uint32_t faults;  /* enum sim_fault */
    uint64_t slow_us; /* each of its answers comes so much later */
    size_t adapter;   /* index of the adapter that is connected to it, or SIM_NO_ADAPTER */
};

struct sim_adapter {
    char *name; /* owned: "hci0" */
    struct bt_address address;
    bool present; /* false: unplugged */
    bool powered;
    uint32_t faults; /* enum sim_fault */
};

/* how long BlueZ and the radio take; the file's `timing` */
struct sim_timing {
    uint64_t connect_us;         /* from the advertisement to Connected */
    uint64_t resolve_us;         /* to ServicesResolved */
    uint64_t disconnect_us;      /* from Disconnect to Connected=false */
    uint64_t connect_timeout_us; /* of a Connect to an absent peripheral */
    uint64_t temporary_us;       /* until an unused device object goes */
};

/* What BlueZ's version means for its words and properties; 5.66 is the one that was met most. */
#define SIM_BLUEZ_OLDEST  550
#define SIM_BLUEZ_DEFAULT 566
#define SIM_BLUEZ_NEWEST  582

struct sim_world {
    unsigned bluez;               /* the version that is played: 566 is 5.66 */
    bool experimental;            /* bluetoothd --experimental: advertisement monitors */
    struct sim_adapter *adapters; /* owned */
    size_t n_adapters;
    struct sim_peripheral *peripherals; /* owned */
    size_t n_peripherals;
    struct sim_timing timing;
};

/* Reads a world; what is wrong goes to *diags. 0, or -EINVAL when diags has errors, -ENOMEM, or the
 * errno of reading (also in diags). */
MUST_CHECK
int sim_world_load(const char *path, struct diags *diags, struct sim_world **ret_world);
/* the same from text */
MUST_CHECK
int sim_world_parse(const char *text, size_t length, struct diags *diags,
                    struct sim_world **ret_world);
struct sim_world *sim_world_free(struct sim_world *world);

struct sim_peripheral *sim_world_find(struct sim_world *world, const char *id);
struct sim_adapter *sim_world_find_adapter(struct sim_world *world, const char *name);
/* by id, else by UUID ("0x2A37" or in full; the first with it) */
struct sim_characteristic *sim_peripheral_find(struct sim_peripheral *p, const char *id);
struct sim_characteristic *sim_peripheral_by_handle(struct sim_peripheral *p,
                                                    uint16_t value_handle);
/* on the air: present, and no central holds it */
bool sim_peripheral_advertises(const struct sim_peripheral *p);
int sim_peripheral_rssi(const struct sim_peripheral *p, uint64_t now_us);

/* The link is up (by the adapter of that index) or gone: gone forgets subscriptions, ends bursts.
 */
void sim_peripheral_connected(struct sim_peripheral *p, size_t adapter);
void sim_peripheral_disconnected(struct sim_peripheral *p);

/* What a read from `offset` gives. At offset 0 waves and script move on; later offsets read on in
 * the same value, as Read Blob does. *ret_data is borrowed until the next call on c. Returns 0 or
 * an ATT error code. */
uint8_t sim_characteristic_read(struct sim_characteristic *c, uint64_t now_us, size_t offset,
                                const uint8_t **ret_data, size_t *ret_length);
/* A whole write (of a long write: its parts put together). Returns 0 or an ATT error code; a
 * command that fails changes nothing either, only its sender never learns it. Out of memory: 0x11.
 */
uint8_t sim_characteristic_write(struct sim_characteristic *c, const void *data, size_t length,
                                 bool command);
/* The CCCD is written: 0, 1 (notify) or 2 (indicate). Returns 0 or an ATT error code. The first
 * periodic notification comes a period later. */
uint8_t sim_characteristic_subscribe(struct sim_characteristic *c, uint16_t cccd_value,
                                     uint64_t now_us);
static inline bool sim_characteristic_subscribed(const struct sim_characteristic *c)
{
    return c->cccd_value != 0;
}

/* sets the value; notified at the next sim_peripheral_take_due() if subscribed. -E2BIG */
MUST_CHECK
int sim_characteristic_set(struct sim_characteristic *c, const void *data, size_t length);
/* Starts a burst: values whose first four bytes are a little-endian number that goes on from the
 * last burst's (from 1), the rest as the value is. -ENOTCONN when nobody is subscribed, -EBUSY
 * while one is running, -ERANGE for a rate of 0 or above SIM_MAX_RATE. */
MUST_CHECK
int sim_characteristic_burst(struct sim_characteristic *c, uint32_t count, uint32_t rate,
                             uint64_t now_us);

/* when the next notification is due, TIME_NEVER if none is (only subscribed characteristics) */
uint64_t sim_peripheral_next_due(const struct sim_peripheral *p);
struct sim_notification {
    struct sim_characteristic *characteristic; /* borrowed */
    bool indicate;
    uint8_t data[GATT_VALUE_MAX]; /* not yet cut to the MTU */
    size_t length;
};
/* Takes a notification that is due and counts it as sent; false when there is none (any more). Call
 * it until then: after a late timer several may be due. */
bool sim_peripheral_take_due(struct sim_peripheral *p, uint64_t now_us,
                             struct sim_notification *ret_notification);

/* It advertises this manufacturer's data from now on, and no other's. -ENOMEM */
MUST_CHECK
int sim_peripheral_set_manufacturer(struct sim_peripheral *p, uint16_t company, const void *data,
                                    size_t length);
/* Its firmware was changed: every handle is `by` higher than before. -ERANGE */
MUST_CHECK
int sim_peripheral_move_handles(struct sim_peripheral *p, uint16_t by);

/* forgets what was written to c */
void sim_characteristic_forget_writes(struct sim_characteristic *c);
