/* Device1 of the played org.bluez: its properties and methods; see service_private.h. */
#include "sim/service_private.h"

#include <stdlib.h>
#include <string.h>

static struct sim_device *device_of(struct sim_object *o)
{
    return sim_device_of(o);
}

static int get_address(struct sim_object *o, sd_bus_message *m)
{
    char text[BT_ADDRESS_TEXT_SIZE];

    bt_address_format(&device_of(o)->peripheral->address, text);
    return sd_bus_message_append(m, "s", text);
}

static int get_address_type(struct sim_object *o, sd_bus_message *m)
{
    return sd_bus_message_append(
        m, "s", device_of(o)->peripheral->address_type == BT_ADDRESS_PUBLIC ? "public" : "random");
}

static bool has_name(struct sim_object *o)
{
    return device_of(o)->known;
}

static int get_name(struct sim_object *o, sd_bus_message *m)
{
    return sd_bus_message_append(m, "s", device_of(o)->peripheral->name);
}

/* what the user called it, else its name, else its address with dashes */
static int get_alias(struct sim_object *o, sd_bus_message *m)
{
    struct sim_device *d = device_of(o);
    char text[BT_ADDRESS_TEXT_SIZE];

    if (d->alias)
        return sd_bus_message_append(m, "s", d->alias);
    if (d->known)
        return sd_bus_message_append(m, "s", d->peripheral->name);
    bt_address_format(&d->peripheral->address, text);
    for (char *c = text; *c; c++)
        if (*c == ':')
            *c = '-';
    return sd_bus_message_append(m, "s", text);
}

static int set_alias(struct sim_object *o, sd_bus_message *m)
{
    const char *text;
    int r = sd_bus_message_read(m, "s", &text);
    char *alias = r < 0 ? NULL : strdup(text);

    if (!alias)
        return r < 0 ? r : -ENOMEM;
    free(device_of(o)->alias);
    device_of(o)->alias = alias;
    sim_object_changed(o, "Alias");
    return 0;
}

static int get_false(struct sim_object *o, sd_bus_message *m)
{
    return sd_bus_message_append(m, "b", 0);
}

static int get_paired(struct sim_object *o, sd_bus_message *m)
{
    return sd_bus_message_append(m, "b", device_of(o)->paired);
}

static int get_trusted(struct sim_object *o, sd_bus_message *m)
{
    return sd_bus_message_append(m, "b", device_of(o)->trusted);
}

static int get_blocked(struct sim_object *o, sd_bus_message *m)
{
    return sd_bus_message_append(m, "b", device_of(o)->blocked);
}

static int set_flag(struct sim_object *o, sd_bus_message *m, const char *property, bool *flag)
{
    int value;
    int r = sd_bus_message_read(m, "b", &value);

    if (r < 0)
        return r;
    if (*flag != !!value) {
        *flag = value;
        sim_object_changed(o, property);
    }
    return 0;
}

static int set_trusted(struct sim_object *o, sd_bus_message *m)
{
    return set_flag(o, m, "Trusted", &device_of(o)->trusted);
}

static int set_blocked(struct sim_object *o, sd_bus_message *m)
{
    return set_flag(o, m, "Blocked", &device_of(o)->blocked);
}

static bool has_rssi(struct sim_object *o)
{
    return device_of(o)->rssi != 0;
}

static int get_rssi(struct sim_object *o, sd_bus_message *m)
{
    return sd_bus_message_append(m, "n", device_of(o)->rssi);
}

static int get_connected(struct sim_object *o, sd_bus_message *m)
{
    return sd_bus_message_append(m, "b", device_of(o)->connected);
}

static int get_resolved(struct sim_object *o, sd_bus_message *m)
{
    return sd_bus_message_append(m, "b", device_of(o)->resolved);
}

static int get_adapter(struct sim_object *o, sd_bus_message *m)
{
    return sd_bus_message_append(m, "o", device_of(o)->hci->object.path);
}

static int compare_uuids(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct bt_uuid));
}

static int append_uuid(sd_bus_message *m, const struct bt_uuid *uuid)
{
    char text[BT_UUID_TEXT_SIZE];

    bt_uuid_format(uuid, text);
    return sd_bus_message_append(m, "s", text);
}

/* What the GATT table holds, sorted, GAP and GATT among it, once it was read; before, what the
 * advertisement says. */
static int get_uuids(struct sim_object *o, sd_bus_message *m)
{
    const struct sim_device *d = device_of(o);
    const struct sim_peripheral *p = d->peripheral;
    struct bt_uuid uuids[SIM_MAX_SERVICES + 2] = {bt_uuid_from_u16(0x1800),
                                                  bt_uuid_from_u16(0x1801)};
    size_t n = 2;
    int r = sd_bus_message_open_container(m, 'a', "s");

    for (size_t i = 0; i < p->n_advertised && r >= 0 && !d->resolved_once && d->advertised_seen;
         i++)
        r = append_uuid(m, &p->advertised[i]);
    if (d->resolved_once) {
        for (size_t i = 0; i < p->n_services; i++)
            uuids[n++] = p->services[i].uuid;
        qsort(uuids, n, sizeof(*uuids), compare_uuids);
        for (size_t i = 0; i < n && r >= 0; i++)
            if (i == 0 || !bt_uuid_equal(&uuids[i], &uuids[i - 1]))
                r = append_uuid(m, &uuids[i]);
    }
    return r < 0 ? r : sd_bus_message_close_container(m);
}

static int append_bytes(sd_bus_message *m, const struct sim_bytes *bytes)
{
    int r = sd_bus_message_open_container(m, 'v', "ay");

    if (r >= 0)
        r = sd_bus_message_append_array(m, 'y', bytes->data, bytes->length);
    return r < 0 ? r : sd_bus_message_close_container(m);
}

static bool has_manufacturer(struct sim_object *o)
{
    return device_of(o)->n_manufacturer;
}

static int get_manufacturer(struct sim_object *o, sd_bus_message *m)
{
    const struct sim_device *d = device_of(o);
    int r = sd_bus_message_open_container(m, 'a', "{qv}");

    for (size_t i = 0; i < d->n_manufacturer && r >= 0; i++) {
        r = sd_bus_message_open_container(m, 'e', "qv");
        if (r >= 0)
            r = sd_bus_message_append(m, "q", d->manufacturer[i].company);
        if (r >= 0)
            r = append_bytes(m, &d->manufacturer[i].data);
        if (r >= 0)
            r = sd_bus_message_close_container(m);
    }
    return r < 0 ? r : sd_bus_message_close_container(m);
}

static bool has_service_data(struct sim_object *o)
{
    return device_of(o)->service_data_seen;
}

static int get_service_data(struct sim_object *o, sd_bus_message *m)
{
    const struct sim_peripheral *p = device_of(o)->peripheral;
    int r = sd_bus_message_open_container(m, 'a', "{sv}");

    for (size_t i = 0; i < p->n_service_data && r >= 0; i++) {
        r = sd_bus_message_open_container(m, 'e', "sv");
        if (r >= 0)
            r = append_uuid(m, &p->service_data[i].uuid);
        if (r >= 0)
            r = append_bytes(m, &p->service_data[i].data);
        if (r >= 0)
            r = sd_bus_message_close_container(m);
    }
    return r < 0 ? r : sd_bus_message_close_container(m);
}

static bool has_bonded(struct sim_object *o)
{
    return sim_since(o->bluez, 565);
}

static const struct sim_property properties[] = {
    {"Address", "s", get_address, NULL, NULL},
    {"AddressType", "s", get_address_type, NULL, NULL},
    {"Name", "s", get_name, has_name, NULL},
    {"Alias", "s", get_alias, NULL, set_alias},
    {"Paired", "b", get_paired, NULL, NULL},
    {"Bonded", "b", get_paired, has_bonded, NULL},
    {"Trusted", "b", get_trusted, NULL, set_trusted},
    {"Blocked", "b", get_blocked, NULL, set_blocked},
    {"LegacyPairing", "b", get_false, NULL, NULL},
    {"RSSI", "n", get_rssi, has_rssi, NULL},
    {"Connected", "b", get_connected, NULL, NULL},
    {"UUIDs", "as", get_uuids, NULL, NULL},
    {"Adapter", "o", get_adapter, NULL, NULL},
    {"ManufacturerData", "a{qv}", get_manufacturer, has_manufacturer, NULL},
    {"ServiceData", "a{sv}", get_service_data, has_service_data, NULL},
    {"ServicesResolved", "b", get_resolved, NULL, NULL},
};
static const struct sim_method methods[] = {
    {"Disconnect", "", sim_device_disconnect},
    {"Connect", "", sim_device_connect},
    {"Pair", "", sim_device_pair},
    {"CancelPairing", "", sim_device_cancel_pairing},
};
const struct sim_interface sim_device_interface = {
    .name = "org.bluez.Device1",
    .properties = properties,
    .n_properties = ARRAY_SIZE(properties),
    .methods = methods,
    .n_methods = ARRAY_SIZE(methods),
};

/* ---- Battery1: BlueZ reads the level by itself ---- */

struct sim_characteristic *sim_device_battery(const struct sim_device *d)
{
    struct sim_characteristic *c = sim_peripheral_find(d->peripheral, "0x2A19");

    return c && c->flags & GATT_FLAG_READ && !c->read_error && c->length ? c : NULL;
}

static int get_percentage(struct sim_object *o, sd_bus_message *m)
{
    const struct sim_characteristic *c = sim_device_battery(device_of(o));

    return sd_bus_message_append(m, "y", c ? c->value[0] : 0);
}

static const struct sim_property battery_properties[] = {
    {"Percentage", "y", get_percentage, NULL, NULL},
};
const struct sim_interface sim_battery_interface = {
    .name = "org.bluez.Battery1",
    .properties = battery_properties,
    .n_properties = ARRAY_SIZE(battery_properties),
};
