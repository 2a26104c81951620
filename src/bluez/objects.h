/*
 * The registry: what BlueZ has exported, by object path and by the numbers of core/event.h. Pure:
 * it parses paths and owns records, knows no bus and tells nobody. Children hang on their parents,
 * so removing hci1 never touches hci10.
 */
#pragma once

#include "core/event.h"

#define ADAPTERS_MAX   16
#define DEVICES_MAX    4096 /* per adapter */
#define ATTRIBUTES_MAX 2048 /* services and characteristics, per device */
/* of one advertisement */
#define UUIDS_MAX        64
#define MANUFACTURER_MAX 32
#define SERVICE_DATA_MAX 32
#define NAME_MAX_LENGTH  248 /* Core Specification Vol 3 Part C 12.1 */

enum object_kind { OBJECT_ADAPTER, OBJECT_DEVICE, OBJECT_SERVICE, OBJECT_CHARACTERISTIC };

struct object {
    enum object_kind kind;
    char *path;               /* owned */
    uint32_t id;              /* adapters and devices; never used again */
    struct object_node *node; /* owned by the registry */
};

struct adapter {
    struct object object;
    struct adapter *prev, *next;
    struct device *devices; /* owned; the longest unheard first */
    size_t n_devices;
    struct adapter_info info; /* its name points into the path */
    bool scanning;            /* we have a discovery session */
    bool going;               /* is being removed: takes no more actions */
    struct monitor *monitor;  /* monitor.c's; NULL before the object may go */
};

struct device {
    struct object object;
    struct device *prev, *next;
    struct adapter *adapter; /* borrowed, outlives us */
    struct service *services;
    struct characteristic *characteristics;
    size_t n_attributes;
    struct device_info info; /* what it points to is owned by the fields below */
    char *name;
    struct bt_uuid *uuids;
    struct manufacturer_data *manufacturer;
    struct service_data *service_data;
    uint8_t *manufacturer_bytes, *service_data_bytes;
    size_t manufacturer_size, service_data_size; /* allocated bytes */
    uint16_t mtu;                                /* 0: not known */
    bool bonded_known;                           /* Bonded exists from BlueZ 5.65 */
    bool keep;      /* somebody asked for it, or it was there at the start: never pushed out */
    bool tree_told; /* the core knows its GATT tree */
    bool tree_changed;
    bool told;  /* EVENT_DEVICE was emitted */
    bool found; /* a monitor hears it */
    bool going; /* is being removed: takes no more actions */
};

struct service {
    struct object object;
    struct service *prev, *next;
    struct device *device; /* borrowed, outlives us */
    struct bt_uuid uuid;
    uint16_t handle; /* of the declaration */
};

struct characteristic {
    struct object object;
    struct characteristic *prev, *next;
    struct device *device; /* borrowed, outlives us */
    struct bt_uuid uuid;
    uint16_t service_handle;
    uint16_t handle; /* of the value */
    uint16_t flags;
    bool notifying;
    bool going;                        /* is being removed: takes no more actions */
    unsigned n_reads;                  /* ReadValue calls at BlueZ */
    struct subscription *subscription; /* gatt.c's; NULL before the object may go */
};

struct registry {
    struct object_node *by_path, *by_id; /* owned */
    struct adapter *adapters;            /* owned */
    size_t n_adapters;
    uint32_t next_id;
    uint64_t n_refused; /* objects beyond a maximum or with a path that does not parse */
};

/* "service002a" -> 0x2a; false: it is none (a handle is never 0, Core Specification Vol 3 Part F
 * 3.2.2) */
bool object_parse_handle(const char *text, const char *prefix, uint16_t *ret_handle);

void registry_init(struct registry *registry);
/* Frees every object, silently, and keeps next_id. */
void registry_clear(struct registry *registry);

/* NULL when unknown */
struct object *registry_find(struct registry *registry, const char *path);
struct adapter *registry_adapter(struct registry *registry, uint32_t id);
struct device *registry_device(struct registry *registry, uint32_t id);
/* by the handle of its value; none that is being removed */
struct characteristic *device_characteristic(struct device *device, uint16_t handle);

/* Add an object with that path, or give the one that has it already. -EINVAL: the path is none of
 * that kind, its parent is unknown, or another kind has it; -E2BIG: too many; -ENOMEM. */
MUST_CHECK
int registry_add_adapter(struct registry *registry, const char *path, struct adapter **ret_adapter);
MUST_CHECK
int registry_add_device(struct registry *registry, const char *path, struct device **ret_device);
MUST_CHECK
int registry_add_service(struct registry *registry, const char *path, struct service **ret_service);
MUST_CHECK
int registry_add_characteristic(struct registry *registry, const char *path,
                                struct characteristic **ret_characteristic);
/* the adapter that a device of that path would belong to, or NULL */
struct adapter *registry_adapter_of(struct registry *registry, const char *path);
/* whether the object is known that a path stands below */
bool registry_has_parent(struct registry *registry, const char *path);

/* Remove and free; an adapter's devices and a device's attributes go with it. */
void registry_remove_adapter(struct registry *registry, struct adapter *adapter);
void registry_remove_device(struct registry *registry, struct device *device);
void registry_remove_service(struct registry *registry, struct service *service);
void registry_remove_characteristic(struct registry *registry,
                                    struct characteristic *characteristic);

size_t adapter_count_connected(const struct adapter *adapter); /* devices that are */
/* It was heard just now: the last to be pushed out. */
void device_touch(struct device *device);
/* The device that may be pushed out for another, or NULL: not connected, paired or kept. */
struct device *adapter_oldest_unneeded(struct adapter *adapter);
/* -ENOMEM leaves the old ones */
MUST_CHECK
int device_set_name(struct device *device, const char *name);
MUST_CHECK
int device_set_uuids(struct device *device, const struct bt_uuid *uuids, size_t n);
/* copy what the entries point to; no allocation once the record has grown to its usual size */
MUST_CHECK
int device_set_manufacturer(struct device *device, const struct manufacturer_data *list, size_t n);
MUST_CHECK
int device_set_service_data(struct device *device, const struct service_data *list, size_t n);

/* The GATT tree by handle, allocated (free() it); characteristics whose service is not known are
 * left out. */
MUST_CHECK
int device_tree(const struct device *device, struct gatt_characteristic **ret_list, size_t *ret_n);
