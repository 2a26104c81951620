/*
 * A random house: peripherals with their characteristics, and a configuration that names them by
 * address, by name, or by a service that two of them have. Must not know what happens to them.
 */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint16_t char_flags[] = {
    GATT_FLAG_NOTIFY | GATT_FLAG_READ,
    GATT_FLAG_INDICATE,
    GATT_FLAG_NOTIFY,
    GATT_FLAG_READ | GATT_FLAG_WRITE,
    GATT_FLAG_WRITE_COMMAND,
    GATT_FLAG_NOTIFY | GATT_FLAG_WRITE | GATT_FLAG_WRITE_COMMAND | GATT_FLAG_READ,
};

static void make_device(struct sim *sim, size_t i)
{
    struct sim_device *device = &sim->devices[i];

    snprintf(device->name, sizeof(device->name), "dev-%zu", i);
    device->address = (struct bt_address){{0xc4, 0x10, 0, 0, 0, (uint8_t)i}};
    device->address_type = sim_chance(sim, 50) ? BT_ADDRESS_PUBLIC : BT_ADDRESS_RANDOM;
    device->service = (uint16_t)(0x1810 + i);
    device->present = sim_chance(sim, 85);
    device->fleeting = sim_chance(sim, 10);
    device->interval_us = sim_spread(sim, 500000, S_TO_US(8));
    device->rssi = (int16_t)(-40 - (int)sim_below(sim, 55));
    for (size_t r = 0; r < N_RADIOS; r++)
        device->loss[r] = (uint8_t)sim_below(sim, 30);
    device->n_chars = 1 + sim_below(sim, N_CHARS_MAX);
    for (size_t c = 0; c < device->n_chars; c++) {
        struct sim_char *characteristic = &device->chars[c];
        characteristic->uuid = (uint16_t)(0x2b00 + c);
        characteristic->flags =
            char_flags[c == 0 ? sim_below(sim, 3) : sim_below(sim, ARRAY_SIZE(char_flags))];
        characteristic->interval_us = sim_spread(sim, S_TO_US(2), S_TO_US(120));
    }
}

static struct field_spec field(const char *name, enum field_type type, uint8_t size)
{
    return (struct field_spec){.name = strdup(name),
                               .type = type,
                               .size = size,
                               .offset = FIELD_OFFSET_NEXT,
                               .length = FIELD_LENGTH_REST,
                               .scale.mantissa = 1,
                               .publish = true};
}

static struct schema *new_schema(size_t n)
{
    struct field_spec *specs = calloc(2, sizeof(*specs));
    struct schema *schema = NULL;
    struct schema_error error;

    if (!specs)
        abort();
    specs[0] = field("value", FIELD_TYPE_UINT, 4);
    if (n > 1) {
        specs[1] = field("rest", FIELD_TYPE_BYTES, 0);
        specs[1].publish = false;
        specs[1].has_default = true; /* none: for steps, and where nothing can be read */
    }
    if (schema_new_take(specs, n, false, &schema, &error) != 0)
        abort();
    return schema;
}

struct schema *sim_schema_number(void)
{
    return new_schema(1);
}

struct schema *sim_schema_of(const struct characteristic_settings *entry)
{
    return new_schema(entry->set == SET_MERGE ? 2 : 1);
}

static void make_entry(struct sim *sim, const struct sim_device *device, size_t c, size_t n,
                       struct characteristic_settings *entry)
{
    uint16_t flags = device->chars[c].flags;
    char id[16];

    snprintf(id, sizeof(id), "e%zu", n);
    *entry = (struct characteristic_settings){
        .id = strdup(id),
        .has_uuid = true,
        .uuid = bt_uuid_from_u16(device->chars[c].uuid),
        .index = -1,
        .readable = true,
        .retain = true,
        .qos = !sim_chance(sim, 10),
        .history_latest = sim_chance(sim, 10),
    };
    entry->subscribe =
        flags & (GATT_FLAG_NOTIFY | GATT_FLAG_INDICATE) && (c == 0 || sim_chance(sim, 85));
    entry->writable = flags & (GATT_FLAG_WRITE | GATT_FLAG_WRITE_COMMAND) && sim_chance(sim, 90);
    entry->response = sim_chance(sim, 20) ? TRI_NO : TRI_AUTO;
    entry->set = entry->writable && sim_chance(sim, 40) ? SET_MERGE : SET_WHOLE;
    entry->schema = sim_schema_of(entry);
    if (flags & GATT_FLAG_READ) {
        entry->read_on_connect = sim_chance(sim, 40);
        if (sim_chance(sim, 30))
            entry->read_every_ms = sim_spread(sim, 10000, 600000);
    }
}

static void make_entries(struct sim *sim, const struct sim_device *device,
                         struct device_settings *settings)
{
    size_t n = 0;

    settings->characteristics = calloc(N_ENTRIES_MAX, sizeof(struct characteristic_settings));
    if (!settings->characteristics)
        abort();
    for (size_t c = 0; c < device->n_chars; c++) {
        make_entry(sim, device, c, n, &settings->characteristics[n]);
        n++;
        if (n + device->n_chars - c <= N_ENTRIES_MAX && sim_chance(sim, 15)) {
            make_entry(sim, device, c, n, &settings->characteristics[n]);
            n++;
        }
    }
    settings->n_characteristics = n;
}

/* Two peripherals of a kind, and two entries that take either. */
static void make_twins(struct sim *sim, size_t i)
{
    struct sim_device *a = &sim->devices[i - 1], *b = &sim->devices[i];

    b->service = a->service;
    b->n_chars = a->n_chars;
    for (size_t c = 0; c < a->n_chars; c++)
        b->chars[c] = a->chars[c];
    for (size_t j = i - 1; j <= i; j++) {
        struct match_settings *match = &sim->settings.devices[j].match;
        free(match->name);
        free(match->services);
        *match =
            (struct match_settings){.services = malloc(sizeof(*match->services)), .n_services = 1};
        if (!match->services)
            abort();
        match->services[0] = bt_uuid_from_u16(a->service);
    }
}

static void make_device_settings(struct sim *sim, size_t i)
{
    struct device_settings *settings = &sim->settings.devices[i];
    const struct sim_device *device = &sim->devices[i];
    char id[16];

    snprintf(id, sizeof(id), "d%zu", i);
    *settings = (struct device_settings){
        .id = strdup(id),
        .gateway = sim_chance(sim, 50) ? strdup("gw") : NULL,
        .enabled = !sim_chance(sim, 8),
        .hash = 1,
        .reconnect_min_ms = sim_chance(sim, 70) ? 250 : sim_spread(sim, 100, 5000),
        .reconnect_max_ms = sim_chance(sim, 70) ? 60000 : sim_spread(sim, 5000, 60000),
        .queue_timeout_ms = sim_chance(sim, 20) ? 0 : sim_spread(sim, 500, 20000),
    };
    if (sim_chance(sim, 75)) {
        settings->match.has_address = true;
        settings->match.address = device->address;
    } else {
        settings->match.name = strdup(device->name);
    }
    if (sim_chance(sim, 10)) {
        settings->adapter = calloc(1, sizeof(*settings->adapter));
        if (!settings->adapter)
            abort();
        settings->adapter->address = sim->radios[0].address;
    }
}

void sim_settings_make(struct sim *sim)
{
    struct settings *settings = &sim->settings;

    sim->n_devices = 1 + sim_below(sim, N_DEVICES_MAX);
    settings->gateway.id = strdup("gw");
    settings->gateway.base_topic = strdup("g");
    settings->home_assistant.prefix = strdup("ha");
    if (sim->options.seed % 2) /* not one of its numbers: the seeds stay what they were */
        settings->home_assistant.discovery =
            sim->options.seed % 8 < 4 ? DISCOVERY_DEVICE : DISCOVERY_COMPONENT;
    settings->commands.allow = sim_chance(sim, 90) ? UINT32_MAX : OPERATIONS_DEFAULT_BITS;
    settings->commands.allow_raw = sim_chance(sim, 50);
    settings->mqtt.buffer_messages = sim_spread(sim, 20, 20000);
    settings->mqtt.buffer_bytes = sim_spread(sim, 4096, 1 << 23);
    settings->bluetooth.connections = sim_chance(sim, 50) ? N_DEVICES_MAX : 1 + sim_below(sim, 7);
    settings->bluetooth.power_on = sim_chance(sim, 80);
    settings->bluetooth.reset = (enum reset_policy)(sim->options.seed % (RESET_POLICY_ALWAYS + 1));
    settings->devices = calloc(sim->n_devices, sizeof(struct device_settings));
    settings->n_devices = sim->n_devices;
    if (!settings->devices)
        abort();
    for (size_t r = 0; r < N_RADIOS; r++)
        sim->radios[r].address = (struct bt_address){{0x00, 0x1a, 0x7d, 0, 0, (uint8_t)r}};
    settings->bluetooth.n_adapters = sim_below(sim, N_RADIOS + 1); /* 0: auto */
    settings->bluetooth.adapters = calloc(N_RADIOS, sizeof(struct adapter_selector));
    if (!settings->bluetooth.adapters)
        abort();
    for (size_t r = 0; r < N_RADIOS; r++)
        settings->bluetooth.adapters[r].address = sim->radios[r].address;
    for (size_t i = 0; i < sim->n_devices; i++) {
        make_device(sim, i);
        make_device_settings(sim, i);
        if (i && i % 2 && sim_chance(sim, 15) && !settings->devices[i].match.has_address)
            make_twins(sim, i);
    }
    for (size_t i = 0; i < sim->n_devices; i++) {
        make_entries(sim, &sim->devices[i], &settings->devices[i]);
        if (sim_chance(sim, 35))
            sim_steps_make(sim, &sim->devices[i], &settings->devices[i]);
        sim_contact_make(sim, i);
    }
}

void sim_settings_free(struct settings *settings)
{
    for (size_t i = 0; i < settings->n_devices; i++)
        device_settings_done(&settings->devices[i]);
    free(settings->devices);
    free(settings->bluetooth.adapters);
    free(settings->gateway.id);
    free(settings->gateway.base_topic);
    free(settings->home_assistant.prefix);
}

bool sim_radio_serves(const struct sim *sim, size_t peer, int r)
{
    const struct bluetooth_settings *settings = &sim->settings.bluetooth;
    const struct adapter_selector *own = sim->settings.devices[peer].adapter;
    const struct adapter *adapter = adapter_find(sim->gateway, sim->radios[r].id);

    if (own)
        return bt_address_equal(&own->address, &sim->radios[r].address);
    if (settings->n_adapters)
        return (size_t)r < settings->n_adapters;
    return adapter && adapter->chosen;
}

bool sim_radio_selected(const struct sim *sim, int r)
{
    if (!sim->settings.bluetooth.n_adapters)
        return true;
    for (size_t i = 0; i < sim->n_devices; i++)
        if (sim_radio_serves(sim, i, r))
            return true;
    return false;
}
