/* Signals and the reply of BlueZ's object manager -> the registry -> the records' own files.
 * Whatever does not look as BlueZ writes it is stepped over. Must not know what records mean. */
#include "bluez/internal.h"

#include "bluez/props.h"

#include "util/log.h"
#include <string.h>
#include <utlist.h>

#define GENERATIONS 4 /* adapter, device, service, characteristic */

static void refuse(struct bluez *bluez, const char *path, int error)
{
    if (bluez->registry.n_refused++ == 0)
        log_warning("bluez", "%s is not tracked: %s (further ones are only counted)", path,
                    error == -E2BIG ? "too many objects" : strerrordesc_np(-error));
}

/* With BlueZ's devices at their maximum the longest unheard that nobody needs makes room. */
static int add_device(struct bluez *bluez, const char *path, struct device **ret_device)
{
    int r = registry_add_device(&bluez->registry, path, ret_device);

    if (r != -E2BIG)
        return r;
    struct adapter *adapter = registry_adapter_of(&bluez->registry, path);
    struct device *oldest = adapter ? adapter_oldest_unneeded(adapter) : NULL;
    if (!oldest)
        return r;
    bluez->registry.n_refused++;
    bluez_device_remove(bluez, oldest);
    return registry_add_device(&bluez->registry, path, ret_device);
}

static int on_adapter_added(struct bluez *bluez, const char *path, sd_bus_message *m)
{
    struct adapter *adapter;
    bool changed;
    int r = registry_add_adapter(&bluez->registry, path, &adapter);

    if (r < 0) {
        refuse(bluez, path, r);
        return 0;
    }
    r = bluez_adapter_take(adapter, m, &changed);
    if (bluez->state == BLUEZ_STATE_UP)
        bluez_adapter_tell(bluez, adapter);
    return r < 0 ? r : 1;
}

static int on_device_added(struct bluez *bluez, const char *path, sd_bus_message *m)
{
    struct device_change change = {.shown = true};
    struct device *device;
    int r = add_device(bluez, path, &device);

    if (r < 0) {
        refuse(bluez, path, r);
        return 0;
    }
    r = bluez_device_take(device, m, &change);
    if (bluez->state != BLUEZ_STATE_UP) {
        device->keep = true;
    } else if (device->told) {
        bluez_device_apply(bluez, device, &change);
    } else {
        /* its first advertisement comes with the object */
        bluez_device_tell(bluez, device, device->info.rssi != RSSI_UNKNOWN);
        if (device->info.connected)
            bluez_adapter_tell(bluez, device->adapter);
    }
    return r < 0 ? r : 1;
}

static int on_service_added(struct bluez *bluez, const char *path, sd_bus_message *m)
{
    struct service *service;
    int r = registry_add_service(&bluez->registry, path, &service);

    if (r < 0) {
        refuse(bluez, path, r);
        return 0;
    }
    r = bluez_service_take(service, m);
    return r < 0 ? r : 1;
}

static int on_characteristic_added(struct bluez *bluez, const char *path, sd_bus_message *m)
{
    struct characteristic *characteristic;
    int r = registry_add_characteristic(&bluez->registry, path, &characteristic);

    if (r < 0) {
        refuse(bluez, path, r);
        return 0;
    }
    r = bluez_characteristic_take(characteristic, m);
    bluez_device_tree_changed(bluez, characteristic->device);
    return r < 0 ? r : 1;
}

/* 1: interesting */
static int kind_of(const char *interface, enum object_kind *ret_kind)
{
    static const struct {
        const char *interface;
        enum object_kind kind;
    } kinds[] = {
        {CHARACTERISTIC_INTERFACE, OBJECT_CHARACTERISTIC},
        {DEVICE_INTERFACE, OBJECT_DEVICE},
        {SERVICE_INTERFACE, OBJECT_SERVICE},
        {ADAPTER_INTERFACE, OBJECT_ADAPTER},
    };

    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        if (strcmp(kinds[i].interface, interface) == 0) {
            *ret_kind = kinds[i].kind;
            return 1;
        }
    }
    return 0;
}

/* `m` stands at an interface's a{sv}. 1: taken, 0: nothing was read. */
static int take_interface(struct bluez *bluez, const char *path, enum object_kind kind,
                          sd_bus_message *m)
{
    switch (kind) {
    case OBJECT_ADAPTER: return on_adapter_added(bluez, path, m);
    case OBJECT_DEVICE: return on_device_added(bluez, path, m);
    case OBJECT_SERVICE: return on_service_added(bluez, path, m);
    case OBJECT_CHARACTERISTIC: return on_characteristic_added(bluez, path, m);
    }
    return 0;
}

/* One walk over the reply of the object manager. */
struct walk {
    bool last;         /* what has no parent now never has */
    size_t n_deferred; /* objects that stand before their parents */
};

/* NULL: a signal, not a walk. What a walk before has taken is not taken again. */
static bool is_its_turn(struct bluez *bluez, const char *path, enum object_kind kind,
                        struct walk *walk)
{
    if (!walk)
        return true;
    if (registry_find(&bluez->registry, path))
        return false;
    if (kind == OBJECT_ADAPTER || walk->last || registry_has_parent(&bluez->registry, path))
        return true;
    walk->n_deferred++;
    return false;
}

/* Walks a{sa{sv}}, the interfaces of one object. */
static int take_interfaces(struct bluez *bluez, const char *path, struct walk *walk,
                           sd_bus_message *m)
{
    int r = sd_bus_message_enter_container(m, SD_BUS_TYPE_ARRAY, "{sa{sv}}");

    if (r < 0)
        return r;
    while ((r = sd_bus_message_enter_container(m, SD_BUS_TYPE_DICT_ENTRY, "sa{sv}")) > 0) {
        const char *interface;
        enum object_kind kind;
        r = sd_bus_message_read_basic(m, SD_BUS_TYPE_STRING, &interface);
        if (r < 0)
            return r;
        r = kind_of(interface, &kind);
        if (r > 0)
            r = is_its_turn(bluez, path, kind, walk) ? take_interface(bluez, path, kind, m) : 0;
        if (r == 0)
            r = sd_bus_message_skip(m, "a{sv}");
        if (r < 0)
            return r;
        r = sd_bus_message_exit_container(m);
        if (r < 0)
            return r;
    }
    return r < 0 ? r : sd_bus_message_exit_container(m);
}

/* Walks a{oa{sa{sv}}} from the start. */
static int load(struct bluez *bluez, sd_bus_message *m, struct walk *walk)
{
    int r = sd_bus_message_rewind(m, 1);

    if (r < 0)
        return r;
    r = sd_bus_message_enter_container(m, SD_BUS_TYPE_ARRAY, "{oa{sa{sv}}}");
    if (r < 0)
        return r;
    while ((r = sd_bus_message_enter_container(m, SD_BUS_TYPE_DICT_ENTRY, "oa{sa{sv}}")) > 0) {
        const char *path;
        r = sd_bus_message_read_basic(m, SD_BUS_TYPE_OBJECT_PATH, &path);
        if (r < 0)
            return r;
        r = take_interfaces(bluez, path, walk, m);
        if (r < 0)
            return r;
        r = sd_bus_message_exit_container(m);
        if (r < 0)
            return r;
    }
    return r < 0 ? r : sd_bus_message_exit_container(m);
}

int bluez_tree_load(struct bluez *bluez, sd_bus_message *reply)
{
    if (!sd_bus_message_has_signature(reply, "a{oa{sa{sv}}}"))
        return -EBADMSG;
    /* The reply has no order. Parents go first, in as many walks as that takes: one, if they stand
     * first; at most one for each generation. */
    for (size_t i = 0; i < GENERATIONS; i++) {
        struct walk walk = {.last = i == GENERATIONS - 1};
        int r = load(bluez, reply, &walk);
        if (r < 0)
            return r;
        if (!walk.n_deferred)
            break;
    }
    return 0;
}

void bluez_tree_tell(struct bluez *bluez)
{
    struct event event = {.type = EVENT_BLUEZ_UP};
    struct adapter *adapter;
    struct device *device;

    DL_FOREACH (bluez->registry.adapters, adapter)
        bluez_adapter_tell(bluez, adapter);
    DL_FOREACH (bluez->registry.adapters, adapter)
        DL_FOREACH (adapter->devices, device)
            bluez_device_tell(bluez, device, false);
    bluez_emit(bluez, &event);
}

void bluez_tree_clear(struct bluez *bluez)
{
    struct characteristic *characteristic;
    struct adapter *adapter;
    struct device *device;

    DL_FOREACH (bluez->registry.adapters, adapter) {
        adapter->monitor = bluez_monitor_free(adapter->monitor);
        DL_FOREACH (adapter->devices, device)
            DL_FOREACH (device->characteristics, characteristic)
                bluez_gatt_drop_subscription(characteristic);
    }
    registry_clear(&bluez->registry);
}

static void on_interface_removed(struct bluez *bluez, const char *path, const char *interface)
{
    struct object *object = registry_find(&bluez->registry, path);
    enum object_kind kind;

    if (!object || kind_of(interface, &kind) == 0 || kind != object->kind)
        return;
    switch (kind) {
    case OBJECT_ADAPTER: bluez_adapter_remove(bluez, (struct adapter *)object); break;
    case OBJECT_DEVICE: bluez_device_remove(bluez, (struct device *)object); break;
    case OBJECT_SERVICE: registry_remove_service(&bluez->registry, (struct service *)object); break;
    case OBJECT_CHARACTERISTIC: {
        struct device *device = ((struct characteristic *)object)->device;
        bluez_characteristic_remove(bluez, (struct characteristic *)object);
        bluez_device_tree_changed(bluez, device);
        break;
    }
    }
}

static int removed(struct bluez *bluez, sd_bus_message *m)
{
    const char *path, *interface;
    int r = sd_bus_message_read_basic(m, SD_BUS_TYPE_OBJECT_PATH, &path);

    if (r < 0)
        return r;
    r = sd_bus_message_enter_container(m, SD_BUS_TYPE_ARRAY, "s");
    if (r < 0)
        return r;
    while ((r = sd_bus_message_read_basic(m, SD_BUS_TYPE_STRING, &interface)) > 0)
        on_interface_removed(bluez, path, interface);
    return r;
}

int bluez_tree_on_objects(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
    struct bluez *bluez = userdata;
    const char *path;
    int r = 0;

    if (bluez->state != BLUEZ_STATE_UP || !bluez_bus_is_owner(bluez, m))
        return 0;
    if (sd_bus_message_is_signal(m, NULL, "InterfacesAdded") &&
        sd_bus_message_has_signature(m, "oa{sa{sv}}")) {
        r = sd_bus_message_read_basic(m, SD_BUS_TYPE_OBJECT_PATH, &path);
        if (r > 0)
            r = take_interfaces(bluez, path, NULL, m);
    } else if (sd_bus_message_is_signal(m, NULL, "InterfacesRemoved") &&
               sd_bus_message_has_signature(m, "oas")) {
        r = removed(bluez, m);
    }
    if (r < 0)
        log_debug("bluez", "unreadable signal: %s", strerrordesc_np(-r));
    return 0;
}

struct invalidation {
    struct device *device;
    struct device_change *change;
};

static void invalidate_device(void *userdata, const char *property)
{
    struct invalidation *invalidation = userdata;

    bluez_device_invalidate(invalidation->device, property, invalidation->change);
}

static int adapter_changed(struct bluez *bluez, struct adapter *adapter, sd_bus_message *m)
{
    bool changed = false;
    int r = bluez_adapter_take(adapter, m, &changed);

    /* none of an adapter's properties is ever invalidated */
    if (changed)
        bluez_adapter_tell(bluez, adapter);
    return r;
}

static int device_changed(struct bluez *bluez, struct device *device, sd_bus_message *m)
{
    struct device_change change = {0};
    struct invalidation invalidation = {.device = device, .change = &change};
    int r = bluez_device_take(device, m, &change);

    if (r >= 0)
        r = props_each_name(m, invalidate_device, &invalidation);
    bluez_device_apply(bluez, device, &change);
    return r;
}

int bluez_tree_on_properties(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
    struct bluez *bluez = userdata;
    const char *path = sd_bus_message_get_path(m);
    enum object_kind kind;
    const char *interface;
    int r;

    if (bluez->state != BLUEZ_STATE_UP || !path || !bluez_bus_is_owner(bluez, m) ||
        !sd_bus_message_has_signature(m, "sa{sv}as"))
        return 0;
    struct object *object = registry_find(&bluez->registry, path);
    if (!object)
        return 0;
    r = sd_bus_message_read_basic(m, SD_BUS_TYPE_STRING, &interface);
    if (r < 0 || kind_of(interface, &kind) == 0 || kind != object->kind)
        return 0;
    switch (kind) {
    case OBJECT_ADAPTER: r = adapter_changed(bluez, (struct adapter *)object, m); break;
    case OBJECT_DEVICE: r = device_changed(bluez, (struct device *)object, m); break;
    case OBJECT_SERVICE: break; /* a service never changes */
    case OBJECT_CHARACTERISTIC:
        r = bluez_characteristic_changed(bluez, (struct characteristic *)object, m);
        break;
    }
    if (r < 0)
        log_debug("bluez", "unreadable change of %s: %s", path, strerrordesc_np(-r));
    return 0;
}
