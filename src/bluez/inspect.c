/*
 * A device's whole GATT tree, descriptors included, read afresh from BlueZ's object manager: the
 * registry keeps only what connections need. The reply is also a barrier, as for
 * ServicesResolved. Whatever does not look as BlueZ writes it is stepped over.
 */
#include "bluez/internal.h"

#include "bluez/props.h"
#include <stdlib.h>
#include <string.h>

#define DESCRIPTOR_INTERFACE "org.bluez.GattDescriptor1"
#define INSPECT_TIMEOUT_US   S_TO_US(15)

struct inspection {
    const char *device;          /* borrowed: its path */
    struct gatt_attribute *list; /* owned */
    size_t n, size;
};

static void inspection_done(struct inspection *inspection)
{
    free(inspection->list);
}

/* "/service000a/char000b/desc000d": what it is, and its handle */
static bool parse_path(const char *rest, struct gatt_attribute *ret_attribute)
{
    static const struct {
        const char *prefix;
        enum gatt_attribute_kind kind;
    } levels[] = {{"/service", GATT_ATTRIBUTE_SERVICE},
                  {"/char", GATT_ATTRIBUTE_CHARACTERISTIC},
                  {"/desc", GATT_ATTRIBUTE_DESCRIPTOR}};
    char level[16];

    for (size_t i = 0; i < ARRAY_SIZE(levels); i++) {
        size_t length = strcspn(rest + (*rest == '/'), "/") + (*rest == '/');

        if (length >= sizeof(level))
            return false;
        memcpy(level, rest, length);
        level[length] = '\0';
        if (!object_parse_handle(level, levels[i].prefix, &ret_attribute->handle))
            return false;
        ret_attribute->kind = levels[i].kind;
        rest += length;
        if (!*rest)
            break;
    }
    if (ret_attribute->kind != GATT_ATTRIBUTE_CHARACTERISTIC)
        return !*rest;
    return !*rest && ret_attribute->handle++ != UINT16_MAX; /* of the value */
}

static const char *interface_of(enum gatt_attribute_kind kind)
{
    switch (kind) {
    case GATT_ATTRIBUTE_SERVICE: return SERVICE_INTERFACE;
    case GATT_ATTRIBUTE_CHARACTERISTIC: return CHARACTERISTIC_INTERFACE;
    case GATT_ATTRIBUTE_DESCRIPTOR: break;
    }
    return DESCRIPTOR_INTERFACE;
}

static int take(void *userdata, const char *key, const char *type, sd_bus_message *m)
{
    struct gatt_attribute *attribute = userdata;

    if (strcmp(key, "UUID") == 0)
        return props_uuid(m, type, &attribute->uuid);
    if (strcmp(key, "Primary") == 0 && attribute->kind == GATT_ATTRIBUTE_SERVICE)
        return props_bool(m, type, &attribute->primary);
    if (strcmp(key, "Flags") == 0 && attribute->kind == GATT_ATTRIBUTE_CHARACTERISTIC)
        return props_gatt_flags(m, type, &attribute->flags);
    return 0;
}

static int add(struct inspection *inspection, const struct gatt_attribute *attribute)
{
    if (inspection->n == ATTRIBUTES_MAX)
        return 0;
    if (inspection->n == inspection->size) {
        size_t size = inspection->size ? 2 * inspection->size : 64;
        struct gatt_attribute *list = realloc(inspection->list, size * sizeof(*list));
        if (!list)
            return -ENOMEM;
        inspection->list = list;
        inspection->size = size;
    }
    inspection->list[inspection->n++] = *attribute;
    return 0;
}

/* one object's a{sa{sv}} */
static int take_object(struct inspection *inspection, const char *path, sd_bus_message *m)
{
    struct gatt_attribute attribute = {0};
    size_t length = strlen(inspection->device);
    const char *interface;

    if (strncmp(path, inspection->device, length) != 0 || path[length] != '/' ||
        !parse_path(path + length, &attribute))
        return sd_bus_message_skip(m, "a{sa{sv}}");
    int r = sd_bus_message_enter_container(m, SD_BUS_TYPE_ARRAY, "{sa{sv}}");
    if (r < 0)
        return r;
    while ((r = sd_bus_message_enter_container(m, SD_BUS_TYPE_DICT_ENTRY, "sa{sv}")) > 0) {
        r = sd_bus_message_read_basic(m, SD_BUS_TYPE_STRING, &interface);
        if (r < 0)
            return r;
        bool wanted = strcmp(interface, interface_of(attribute.kind)) == 0;
        r = wanted ? props_each(m, take, &attribute) : sd_bus_message_skip(m, "a{sv}");
        if (r >= 0 && wanted)
            r = add(inspection, &attribute);
        if (r < 0)
            return r;
        r = sd_bus_message_exit_container(m);
        if (r < 0)
            return r;
    }
    return r < 0 ? r : sd_bus_message_exit_container(m);
}

static int take_tree(struct inspection *inspection, sd_bus_message *m)
{
    const char *path;

    if (!sd_bus_message_has_signature(m, "a{oa{sa{sv}}}"))
        return -EBADMSG;
    int r = sd_bus_message_enter_container(m, SD_BUS_TYPE_ARRAY, "{oa{sa{sv}}}");
    if (r < 0)
        return r;
    while ((r = sd_bus_message_enter_container(m, SD_BUS_TYPE_DICT_ENTRY, "oa{sa{sv}}")) > 0) {
        r = sd_bus_message_read_basic(m, SD_BUS_TYPE_OBJECT_PATH, &path);
        if (r >= 0)
            r = take_object(inspection, path, m);
        if (r >= 0)
            r = sd_bus_message_exit_container(m);
        if (r < 0)
            return r;
    }
    return r;
}

static int by_handle(const void *a, const void *b)
{
    const struct gatt_attribute *x = a, *y = b;

    return x->handle - y->handle;
}

static void on_tree(struct call *call, sd_bus_message *reply, struct bt_result result)
{
    _cleanup_(inspection_done) struct inspection inspection = {.device = call->device->object.path};

    int r = reply ? take_tree(&inspection, reply) : 0;
    if (r < 0)
        result = errors_from_errno(r);
    struct event event = bluez_call_event(call, result);
    if (result.status == BT_STATUS_OK && inspection.n)
        qsort(inspection.list, inspection.n, sizeof(*inspection.list), by_handle);
    if (result.status == BT_STATUS_OK) {
        event.inspected.attributes = inspection.list;
        event.inspected.n_attributes = inspection.n;
    }
    bluez_call_end_with(call, &event);
}

void bluez_inspect(struct call *call, struct device *device)
{
    sd_bus_message *m = NULL;

    call->device = device;
    int r = bluez_message_new(call->bluez, "/", MANAGER_INTERFACE, "GetManagedObjects", &m);
    bluez_call_send(call, r, m, INSPECT_TIMEOUT_US, on_tree);
}
