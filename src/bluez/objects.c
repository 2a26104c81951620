/* The registry of BlueZ's objects; see objects.h. Must not know sd-bus. */
#include "bluez/objects.h"

#include "util/hash.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>
/* out of memory is reported, not the end of the process */
#define HASH_NONFATAL_OOM                1
#define HASH_FUNCTION(key, length, hash) ((hash) = hash_bytes(key, length))
#include <uthash.h>
#include <utlist.h>

/* uthash stays in this file: a node holds both handles of an object. */
struct object_node {
    struct object *object; /* borrowed */
    UT_hash_handle hh;     /* by path */
    UT_hash_handle hh_id;
};

#define BLUEZ_PATH      "/org/bluez"
#define PATH_MAX_LENGTH 128 /* BlueZ's longest has about 75 */

void registry_init(struct registry *registry)
{
    *registry = (struct registry){.next_id = 1};
}

static struct object *find_n(struct registry *registry, const char *path, size_t length)
{
    struct object_node *node;

    HASH_FIND(hh, registry->by_path, path, length, node);
    return node ? node->object : NULL;
}

struct object *registry_find(struct registry *registry, const char *path)
{
    return find_n(registry, path, strlen(path));
}

static struct object *find_id(struct registry *registry, uint32_t id)
{
    struct object_node *node;

    HASH_FIND(hh_id, registry->by_id, &id, sizeof(id), node);
    return node ? node->object : NULL;
}

struct adapter *registry_adapter(struct registry *registry, uint32_t id)
{
    struct object *object = find_id(registry, id);

    return object && object->kind == OBJECT_ADAPTER ? (struct adapter *)object : NULL;
}

struct device *registry_device(struct registry *registry, uint32_t id)
{
    struct object *object = find_id(registry, id);

    return object && object->kind == OBJECT_DEVICE ? (struct device *)object : NULL;
}

struct characteristic *device_characteristic(struct device *device, uint16_t handle)
{
    struct characteristic *characteristic;

    DL_FOREACH (device->characteristics, characteristic)
        if (characteristic->handle == handle && !characteristic->going)
            return characteristic;
    return NULL;
}

/* Gives a zeroed `object` its path, number and place in the hashes. */
static int enter(struct registry *registry, struct object *object, enum object_kind kind,
                 const char *path)
{
    object->kind = kind;
    object->node = calloc(1, sizeof(*object->node));
    object->path = strdup(path);
    if (!object->node || !object->path)
        goto fail;
    object->node->object = object;
    HASH_ADD_KEYPTR(hh, registry->by_path, object->path, strlen(object->path), object->node);
    if (!object->node->hh.tbl)
        goto fail;
    if (kind == OBJECT_ADAPTER || kind == OBJECT_DEVICE) {
        object->id = registry->next_id++;
        HASH_ADD_KEYPTR(hh_id, registry->by_id, &object->id, sizeof(object->id), object->node);
        if (!object->node->hh_id.tbl) {
            HASH_DELETE(hh, registry->by_path, object->node);
            goto fail;
        }
    }
    return 0;
fail:
    free(object->node);
    free(object->path);
    return -ENOMEM;
}

static void leave(struct registry *registry, struct object *object)
{
    HASH_DELETE(hh, registry->by_path, object->node);
    if (object->id)
        HASH_DELETE(hh_id, registry->by_id, object->node);
    free(object->node);
    free(object->path);
}

/* The last component of a path and the length of what stands before its slash; NULL if none. */
static const char *split(const char *path, size_t *ret_parent_length)
{
    const char *slash = strrchr(path, '/');

    if (!slash || slash == path || strlen(path) > PATH_MAX_LENGTH)
        return NULL;
    *ret_parent_length = (size_t)(slash - path);
    return slash + 1;
}

bool object_parse_handle(const char *text, const char *prefix, uint16_t *ret_handle)
{
    size_t length = strlen(prefix);
    uint16_t handle = 0;

    if (strncmp(text, prefix, length) != 0 || strlen(text) != length + 4)
        return false;
    for (const char *c = text + length; *c; c++) {
        const char *digits = "0123456789abcdef";
        const char *digit = strchr(digits, *c >= 'A' && *c <= 'F' ? *c + ('a' - 'A') : *c);
        if (!digit)
            return false;
        handle = (uint16_t)(handle << 4 | (digit - digits));
    }
    *ret_handle = handle;
    return handle != 0;
}

/* 1: exists and is in `ret_object`; 0: free; negative: of another kind */
static int existing(struct registry *registry, const char *path, enum object_kind kind,
                    struct object **ret_object)
{
    struct object *object = registry_find(registry, path);

    if (!object)
        return 0;
    if (object->kind != kind)
        return -EINVAL;
    *ret_object = object;
    return 1;
}

int registry_add_adapter(struct registry *registry, const char *path, struct adapter **ret_adapter)
{
    struct object *object;
    size_t parent_length;

    int r = existing(registry, path, OBJECT_ADAPTER, &object);
    if (r < 0)
        return r;
    if (r > 0) {
        *ret_adapter = (struct adapter *)object;
        return 0;
    }
    const char *name = split(path, &parent_length);
    if (!name || parent_length != strlen(BLUEZ_PATH) ||
        strncmp(path, BLUEZ_PATH, parent_length) != 0)
        return -EINVAL;
    if (registry->n_adapters >= ADAPTERS_MAX)
        return -E2BIG;
    struct adapter *adapter = calloc(1, sizeof(*adapter));
    if (!adapter)
        return -ENOMEM;
    r = enter(registry, &adapter->object, OBJECT_ADAPTER, path);
    if (r < 0) {
        free(adapter);
        return r;
    }
    adapter->info.adapter = adapter->object.id;
    adapter->info.name = adapter->object.path + parent_length + 1;
    DL_APPEND(registry->adapters, adapter);
    registry->n_adapters++;
    *ret_adapter = adapter;
    return 0;
}

struct adapter *registry_adapter_of(struct registry *registry, const char *path)
{
    size_t length;
    const char *name = split(path, &length);
    struct object *parent = name ? find_n(registry, path, length) : NULL;

    return parent && parent->kind == OBJECT_ADAPTER ? (struct adapter *)parent : NULL;
}

bool registry_has_parent(struct registry *registry, const char *path)
{
    size_t length;

    return split(path, &length) && find_n(registry, path, length);
}

int registry_add_device(struct registry *registry, const char *path, struct device **ret_device)
{
    struct object *object;

    int r = existing(registry, path, OBJECT_DEVICE, &object);
    if (r < 0)
        return r;
    if (r > 0) {
        *ret_device = (struct device *)object;
        return 0;
    }
    struct adapter *adapter = registry_adapter_of(registry, path);
    if (!adapter)
        return -EINVAL;
    if (adapter->n_devices >= DEVICES_MAX)
        return -E2BIG;
    struct device *device = calloc(1, sizeof(*device));
    if (!device)
        return -ENOMEM;
    r = enter(registry, &device->object, OBJECT_DEVICE, path);
    if (r < 0) {
        free(device);
        return r;
    }
    device->adapter = adapter;
    device->info.adapter = adapter->object.id;
    device->info.device = device->object.id;
    device->info.rssi = RSSI_UNKNOWN;
    DL_APPEND(adapter->devices, device);
    adapter->n_devices++;
    *ret_device = device;
    return 0;
}

/* The device that the first `length` characters of `path` name, with room for an attribute. */
static int attribute_parent(struct registry *registry, const char *path, size_t length,
                            struct device **ret_device)
{
    struct object *parent = find_n(registry, path, length);

    if (!parent || parent->kind != OBJECT_DEVICE)
        return -EINVAL;
    struct device *device = (struct device *)parent;
    if (device->n_attributes >= ATTRIBUTES_MAX)
        return -E2BIG;
    *ret_device = device;
    return 0;
}

int registry_add_service(struct registry *registry, const char *path, struct service **ret_service)
{
    struct object *object;
    struct device *device;
    uint16_t handle;
    size_t length;

    int r = existing(registry, path, OBJECT_SERVICE, &object);
    if (r < 0)
        return r;
    if (r > 0) {
        *ret_service = (struct service *)object;
        return 0;
    }
    const char *name = split(path, &length);
    if (!name || !object_parse_handle(name, "service", &handle))
        return -EINVAL;
    r = attribute_parent(registry, path, length, &device);
    if (r < 0)
        return r;
    struct service *service = calloc(1, sizeof(*service));
    if (!service)
        return -ENOMEM;
    r = enter(registry, &service->object, OBJECT_SERVICE, path);
    if (r < 0) {
        free(service);
        return r;
    }
    service->device = device;
    service->handle = handle;
    DL_APPEND(device->services, service);
    device->n_attributes++;
    *ret_service = service;
    return 0;
}

/* ".../serviceHHHH/charHHHH": both handles, and the length of what names the device */
static int parse_characteristic_path(const char *path, uint16_t *ret_service_handle,
                                     uint16_t *ret_declaration, size_t *ret_device_length)
{
    char service[16];
    size_t length;
    const char *name = split(path, &length);

    if (!name || !object_parse_handle(name, "char", ret_declaration) ||
        *ret_declaration == UINT16_MAX)
        return -EINVAL;
    const char *slash = memrchr(path, '/', length);
    if (!slash || slash == path)
        return -EINVAL;
    size_t service_length = length - (size_t)(slash + 1 - path);
    if (service_length >= sizeof(service))
        return -EINVAL;
    memcpy(service, slash + 1, service_length);
    service[service_length] = '\0';
    if (!object_parse_handle(service, "service", ret_service_handle))
        return -EINVAL;
    *ret_device_length = (size_t)(slash - path);
    return 0;
}

int registry_add_characteristic(struct registry *registry, const char *path,
                                struct characteristic **ret_characteristic)
{
    uint16_t service_handle, declaration;
    struct object *object;
    struct device *device;
    size_t length;

    int r = existing(registry, path, OBJECT_CHARACTERISTIC, &object);
    if (r < 0)
        return r;
    if (r > 0) {
        *ret_characteristic = (struct characteristic *)object;
        return 0;
    }
    r = parse_characteristic_path(path, &service_handle, &declaration, &length);
    if (r < 0)
        return r;
    r = attribute_parent(registry, path, length, &device);
    if (r < 0)
        return r;
    struct characteristic *characteristic = calloc(1, sizeof(*characteristic));
    if (!characteristic)
        return -ENOMEM;
    r = enter(registry, &characteristic->object, OBJECT_CHARACTERISTIC, path);
    if (r < 0) {
        free(characteristic);
        return r;
    }
    characteristic->device = device;
    characteristic->service_handle = service_handle;
    /* the value's declaration follows directly (Core Specification Vol 3 Part G 3.3) */
    characteristic->handle = (uint16_t)(declaration + 1);
    DL_APPEND(device->characteristics, characteristic);
    device->n_attributes++;
    *ret_characteristic = characteristic;
    return 0;
}

void registry_remove_characteristic(struct registry *registry,
                                    struct characteristic *characteristic)
{
    struct device *device = characteristic->device;

    assert(!characteristic->subscription);
    DL_DELETE(device->characteristics, characteristic);
    device->n_attributes--;
    leave(registry, &characteristic->object);
    free(characteristic);
}

void registry_remove_service(struct registry *registry, struct service *service)
{
    struct device *device = service->device;

    DL_DELETE(device->services, service);
    device->n_attributes--;
    leave(registry, &service->object);
    free(service);
}

void registry_remove_device(struct registry *registry, struct device *device)
{
    struct adapter *adapter = device->adapter;

    while (device->characteristics)
        registry_remove_characteristic(registry, device->characteristics);
    while (device->services)
        registry_remove_service(registry, device->services);
    DL_DELETE(adapter->devices, device);
    adapter->n_devices--;
    leave(registry, &device->object);
    free(device->name);
    free(device->uuids);
    free(device->manufacturer);
    free(device->manufacturer_bytes);
    free(device->service_data);
    free(device->service_data_bytes);
    free(device);
}

void registry_remove_adapter(struct registry *registry, struct adapter *adapter)
{
    while (adapter->devices)
        registry_remove_device(registry, adapter->devices);
    DL_DELETE(registry->adapters, adapter);
    registry->n_adapters--;
    leave(registry, &adapter->object);
    free(adapter);
}

void registry_clear(struct registry *registry)
{
    while (registry->adapters)
        registry_remove_adapter(registry, registry->adapters);
    registry->n_refused = 0;
}

size_t adapter_count_connected(const struct adapter *adapter)
{
    const struct device *device;
    size_t n = 0;

    DL_FOREACH (adapter->devices, device)
        n += device->info.connected;
    return n;
}

void device_touch(struct device *device)
{
    struct adapter *adapter = device->adapter;

    if (device->next) {
        DL_DELETE(adapter->devices, device);
        DL_APPEND(adapter->devices, device);
    }
}

struct device *adapter_oldest_unneeded(struct adapter *adapter)
{
    struct device *device;

    DL_FOREACH (adapter->devices, device)
        if (!device->keep && !device->info.connected && !device->info.paired)
            return device;
    return NULL;
}

int device_set_name(struct device *device, const char *name)
{
    char *copy = NULL;

    if (name) {
        if (device->name && strcmp(device->name, name) == 0)
            return 0;
        copy = strndup(name, NAME_MAX_LENGTH);
        if (!copy)
            return -ENOMEM;
    }
    free(device->name);
    device->name = copy;
    device->info.name = copy;
    return 0;
}

int device_set_uuids(struct device *device, const struct bt_uuid *uuids, size_t n)
{
    if (n > device->info.n_uuids) {
        struct bt_uuid *list = reallocarray(device->uuids, n, sizeof(*list));
        if (!list)
            return -ENOMEM;
        device->uuids = list;
        device->info.uuids = list;
    }
    if (n)
        memcpy(device->uuids, uuids, n * sizeof(*uuids));
    device->info.n_uuids = n;
    return 0;
}

/* room for `needed` bytes at *bytes, doubling */
static int reserve(uint8_t **bytes, size_t *size, size_t needed)
{
    if (needed <= *size)
        return 0;
    size_t more = MAX_OF(needed, *size * 2);
    uint8_t *grown = realloc(*bytes, more);
    if (!grown)
        return -ENOMEM;
    *bytes = grown;
    *size = more;
    return 0;
}

int device_set_manufacturer(struct device *device, const struct manufacturer_data *list, size_t n)
{
    size_t needed = 0;

    for (size_t i = 0; i < n; i++)
        needed += list[i].length;
    device->info.n_manufacturer = 0;
    if (reserve(&device->manufacturer_bytes, &device->manufacturer_size, needed) < 0)
        return -ENOMEM;
    if (!device->manufacturer || n > 1) {
        struct manufacturer_data *entries =
            reallocarray(device->manufacturer, MAX_OF(n, (size_t)1), sizeof(*entries));
        if (!entries)
            return -ENOMEM;
        device->manufacturer = entries;
    }
    uint8_t *end = device->manufacturer_bytes;
    for (size_t i = 0; i < n; i++) {
        device->manufacturer[i] = list[i];
        device->manufacturer[i].data = end;
        if (list[i].length)
            memcpy(end, list[i].data, list[i].length);
        end += list[i].length;
    }
    device->info.manufacturer = device->manufacturer;
    device->info.n_manufacturer = n;
    return 0;
}

int device_set_service_data(struct device *device, const struct service_data *list, size_t n)
{
    size_t needed = 0;

    for (size_t i = 0; i < n; i++)
        needed += list[i].length;
    device->info.n_service_data = 0;
    if (reserve(&device->service_data_bytes, &device->service_data_size, needed) < 0)
        return -ENOMEM;
    if (!device->service_data || n > 1) {
        struct service_data *entries =
            reallocarray(device->service_data, MAX_OF(n, (size_t)1), sizeof(*entries));
        if (!entries)
            return -ENOMEM;
        device->service_data = entries;
    }
    uint8_t *end = device->service_data_bytes;
    for (size_t i = 0; i < n; i++) {
        device->service_data[i] = list[i];
        device->service_data[i].data = end;
        if (list[i].length)
            memcpy(end, list[i].data, list[i].length);
        end += list[i].length;
    }
    device->info.service_data = device->service_data;
    device->info.n_service_data = n;
    return 0;
}

static const struct service *service_by_handle(const struct device *device, uint16_t handle)
{
    const struct service *service;

    DL_FOREACH (device->services, service)
        if (service->handle == handle)
            return service;
    return NULL;
}

static int by_handle(const void *a, const void *b)
{
    const struct gatt_characteristic *x = a, *y = b;

    return (int)x->handle - (int)y->handle;
}

int device_tree(const struct device *device, struct gatt_characteristic **ret_list, size_t *ret_n)
{
    const struct characteristic *characteristic;
    size_t n = 0;

    struct gatt_characteristic *list =
        calloc(MAX_OF(device->n_attributes, (size_t)1), sizeof(*list));
    if (!list)
        return -ENOMEM;
    DL_FOREACH (device->characteristics, characteristic) {
        const struct service *service = service_by_handle(device, characteristic->service_handle);
        if (!service)
            continue;
        list[n++] = (struct gatt_characteristic){
            .service = service->uuid,
            .uuid = characteristic->uuid,
            .service_handle = service->handle,
            .handle = characteristic->handle,
            .flags = characteristic->flags,
        };
    }
    qsort(list, n, sizeof(*list), by_handle);
    *ret_list = list;
    *ret_n = n;
    return 0;
}
