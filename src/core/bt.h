/*
 * Bluetooth's own words: addresses, UUIDs, GATT properties, and the outcomes of operations as the
 * core sees them. How BlueZ spells them is bluez/errors' business.
 */
#pragma once

#include "util/err.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bt_address {
    uint8_t b[6]; /* as written: b[0] is the first pair of digits */
};

enum bt_address_type { BT_ADDRESS_PUBLIC, BT_ADDRESS_RANDOM };

#define BT_ADDRESS_TEXT_SIZE 18
/* "AA:BB:CC:DD:EE:FF", either case; -EINVAL */
MUST_CHECK
int bt_address_parse(const char *text, struct bt_address *ret_address);
void bt_address_format(const struct bt_address *address, char buf[static BT_ADDRESS_TEXT_SIZE]);
bool bt_address_equal(const struct bt_address *a, const struct bt_address *b);
/* a random address whose two top bits are not 11: the peer changes it every few minutes */
bool bt_address_is_private(const struct bt_address *address, enum bt_address_type type);
/* a random address whose two top bits are 01: it changes, and only a bond can resolve it
 * (Core Specification Vol 6 Part B 1.3.2.2) */
bool bt_address_is_resolvable(const struct bt_address *address, enum bt_address_type type);

#define BT_PASSKEY_DIGITS 6
/* What a peer shows for pairing (Core Specification Vol 3 Part H 2.3.5.3), with or without the
 * zeros that stand first; -EINVAL */
MUST_CHECK
int bt_passkey_parse(const char *text, size_t length, uint32_t *ret_passkey);

struct bt_uuid {
    uint8_t b[16]; /* big endian, as written */
};

#define BT_UUID_TEXT_SIZE 37
/* "0x2A37" (4 or 8 hex digits) or a full UUID, either case; -EINVAL */
MUST_CHECK
int bt_uuid_parse(const char *text, struct bt_uuid *ret_uuid);
/* lower case, always in full: as BlueZ writes it */
void bt_uuid_format(const struct bt_uuid *uuid, char buf[static BT_UUID_TEXT_SIZE]);
/* "0x2A37" where the UUID is one of the SIG's short ones, else in full: for people */
void bt_uuid_format_short(const struct bt_uuid *uuid, char buf[static BT_UUID_TEXT_SIZE]);
bool bt_uuid_equal(const struct bt_uuid *a, const struct bt_uuid *b);
struct bt_uuid bt_uuid_from_u16(uint16_t uuid);
/* the 16-bit form, or 0 when it has none */
uint16_t bt_uuid_to_u16(const struct bt_uuid *uuid);

/* Characteristic properties (Core Specification Vol 3 Part G 3.3.1.1). */
enum gatt_flag {
    GATT_FLAG_BROADCAST = 0x01,
    GATT_FLAG_READ = 0x02,
    GATT_FLAG_WRITE_COMMAND = 0x04, /* write without response */
    GATT_FLAG_WRITE = 0x08,
    GATT_FLAG_NOTIFY = 0x10,
    GATT_FLAG_INDICATE = 0x20,
    GATT_FLAG_SIGNED_WRITE = 0x40,
    GATT_FLAG_EXTENDED = 0x80,
};

/* An attribute value is never longer (Core Specification Vol 3 Part F 3.2.9). */
#define GATT_VALUE_MAX 512

struct gatt_characteristic {
    struct bt_uuid service;
    struct bt_uuid uuid;
    uint16_t service_handle; /* of the service declaration */
    uint16_t handle;         /* of the value: the declaration's + 1 */
    uint16_t flags;          /* enum gatt_flag */
};

/* An attribute of a peer's whole tree. */
enum gatt_attribute_kind {
    GATT_ATTRIBUTE_SERVICE,
    GATT_ATTRIBUTE_CHARACTERISTIC,
    GATT_ATTRIBUTE_DESCRIPTOR,
};
struct gatt_attribute {
    enum gatt_attribute_kind kind;
    struct bt_uuid uuid;
    uint16_t handle; /* of a characteristic: its value's */
    uint16_t flags;  /* of a characteristic: enum gatt_flag */
    bool primary;    /* of a service */
};

/* How an operation ended. */
enum bt_status {
    BT_STATUS_OK,
    BT_STATUS_FAILED,      /* no cause given; BlueZ flattens most connect failures to this */
    BT_STATUS_IN_PROGRESS, /* somebody does the same already */
    BT_STATUS_CANCELLED,   /* by a disconnect of ours */
    BT_STATUS_GONE,        /* the object does not exist (any more) */
    BT_STATUS_NOT_CONNECTED,
    BT_STATUS_NOT_READY,     /* the adapter is off or broken: says nothing about the peer */
    BT_STATUS_NOT_PERMITTED, /* the peer or the properties forbid it */
    BT_STATUS_NOT_AUTHORIZED,
    BT_STATUS_NOT_PAIRED, /* needs a bond or encryption */
    BT_STATUS_NOT_SUPPORTED,
    BT_STATUS_INVALID_LENGTH,
    BT_STATUS_INVALID_ARGUMENT,
    BT_STATUS_ATT_ERROR, /* `att` has the code */
    BT_STATUS_AUTH_FAILED,
    BT_STATUS_ACCESS_DENIED, /* D-Bus policy or AppArmor */
    BT_STATUS_BLOCKED,       /* rfkill */
    BT_STATUS_TIMEOUT,       /* no reply in time */
    BT_STATUS_LOST,          /* the bus or bluetoothd went away meanwhile */
    BT_STATUS_NO_SERVICES,   /* resolved, but the peer's GATT tree is empty */
};
const char *bt_status_name(enum bt_status status); /* "failed", "in_progress", ...: stable */
