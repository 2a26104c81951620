/* Reads a file of simulated peripherals into a world; see peripheral.h. */
#include "sim/peripheral.h"

#include "sim/reader.h"
#include "util/cleanup.h"
#include "util/num.h"
#include "util/time.h"
#include <stdlib.h>
#include <string.h>

#define DEFAULT_ADAPTER_NAME    "hci0"
#define DEFAULT_ADAPTER_ADDRESS "00:1A:7D:00:00:01"
#define MAX_ADVERTISED          32
#define TIMING_MAX_MS           600000

DEFINE_CLEANUP(struct sim_world *, sim_world_free)
DEFINE_CLEANUP(struct yaml_doc *, yaml_doc_free)

/* ---- what a peripheral advertises ---- */

static void read_advertised(struct reader *r, const struct yaml_node *node, void *peripheral)
{
    struct sim_peripheral *p = peripheral;

    p->advertised = sim_reader_room(r, node, YAML_KIND_SEQUENCE, "services", MAX_ADVERTISED,
                                    sizeof(*p->advertised));
    if (!p->advertised)
        return;
    p->n_advertised = node->n_items;
    for (size_t i = 0; i < node->n_items; i++)
        sim_reader_uuid(r, node->items[i], &p->advertised[i]);
}

static void read_manufacturer(struct reader *r, const struct yaml_node *node, void *peripheral)
{
    struct sim_peripheral *p = peripheral;

    p->manufacturer = sim_reader_room(r, node, YAML_KIND_MAPPING, "manufacturer", MAX_ADVERTISED,
                                      sizeof(*p->manufacturer));
    if (!p->manufacturer)
        return;
    p->n_manufacturer = node->n_items;
    for (size_t i = 0; i < node->n_items; i++) {
        uint32_t company;

        if (num_parse_u32(node->keys[i]->text, &company) < 0 || company > UINT16_MAX)
            sim_reader_fail(r, node->keys[i], "'%s' is no company id such as 0x0059",
                            node->keys[i]->text);
        else
            p->manufacturer[i].company = (uint16_t)company;
        sim_reader_bytes(r, node->items[i], &p->manufacturer[i].data);
    }
}

static void read_service_data(struct reader *r, const struct yaml_node *node, void *peripheral)
{
    struct sim_peripheral *p = peripheral;

    p->service_data = sim_reader_room(r, node, YAML_KIND_MAPPING, "service_data", MAX_ADVERTISED,
                                      sizeof(*p->service_data));
    if (!p->service_data)
        return;
    p->n_service_data = node->n_items;
    for (size_t i = 0; i < node->n_items; i++) {
        sim_reader_uuid(r, node->keys[i], &p->service_data[i].uuid);
        sim_reader_bytes(r, node->items[i], &p->service_data[i].data);
    }
}

static const struct reader_key advertise_keys[] = {
    {"services", READER_OTHER, 0, 0, 0, false, read_advertised},
    {"manufacturer", READER_OTHER, 0, 0, 0, false, read_manufacturer},
    {"service_data", READER_OTHER, 0, 0, 0, false, read_service_data},
};

static void read_advertise(struct reader *r, const struct yaml_node *node, void *peripheral)
{
    sim_reader_keys(r, node, "advertise", advertise_keys, ARRAY_SIZE(advertise_keys), peripheral);
}

/* ---- peripherals ---- */

struct rssi_range {
    int64_t from, to;
};

static const struct reader_key rssi_keys[] = {
    {"from", READER_INT, offsetof(struct rssi_range, from), -127, 20, true, NULL},
    {"to", READER_INT, offsetof(struct rssi_range, to), -127, 20, true, NULL},
};

/* 0 is what BlueZ takes for "unknown"; the radio cannot tell it from a real 0 dBm */
static void read_rssi(struct reader *r, const struct yaml_node *node, void *peripheral)
{
    struct sim_peripheral *p = peripheral;
    struct rssi_range range = {-60, -60};

    if (node->kind == YAML_KIND_MAPPING) {
        sim_reader_keys(r, node, "rssi", rssi_keys, ARRAY_SIZE(rssi_keys), &range);
    } else if (sim_reader_int(r, node, -127, 20, &range.from)) {
        range.to = range.from;
    }
    p->rssi_from = (int)MIN_OF(range.from, range.to);
    p->rssi_to = (int)MAX_OF(range.from, range.to);
}

static void read_address_type(struct reader *r, const struct yaml_node *node, void *peripheral)
{
    struct sim_peripheral *p = peripheral;
    const char *text = sim_reader_scalar(r, node, "public or random");

    if (!text)
        return;
    if (strcmp(text, "public") == 0)
        p->address_type = BT_ADDRESS_PUBLIC;
    else if (strcmp(text, "random") == 0)
        p->address_type = BT_ADDRESS_RANDOM;
    else
        sim_reader_fail(r, node, "'%s' is no address type; there are public and random", text);
}

static void read_passkey(struct reader *r, const struct yaml_node *node, void *peripheral)
{
    struct sim_peripheral *p = peripheral;
    int64_t passkey;

    if (sim_reader_int(r, node, 0, 999999, &passkey)) {
        p->pairing = SIM_PAIRING_PASSKEY;
        p->passkey = (uint32_t)passkey;
    }
}

static const struct reader_key pairing_keys[] = {
    {"passkey", READER_OTHER, 0, 0, 0, true, read_passkey},
};

static void read_pairing(struct reader *r, const struct yaml_node *node, void *peripheral)
{
    struct sim_peripheral *p = peripheral;

    if (node->kind == YAML_KIND_MAPPING) {
        sim_reader_keys(r, node, "pairing", pairing_keys, ARRAY_SIZE(pairing_keys), p);
        return;
    }
    const char *text = sim_reader_scalar(r, node, "just_works, refuse or { passkey: ... }");
    if (text && strcmp(text, "refuse") == 0)
        p->pairing = SIM_PAIRING_REFUSE;
    else if (text && strcmp(text, "just_works") != 0)
        sim_reader_fail(r, node,
                        "'%s' is no way of pairing; there are just_works, refuse and "
                        "{ passkey: ... }",
                        text);
}

/* ---- faults ---- */

static void read_faults(struct reader *r, const struct yaml_node *node, bool of_adapter,
                        uint32_t *faults)
{
    if (node->kind != YAML_KIND_SEQUENCE) {
        sim_reader_fail(r, node, "faults: expected a list, not %s", yaml_node_describe(node));
        return;
    }
    for (size_t i = 0; i < node->n_items; i++) {
        const char *text = sim_reader_scalar(r, node->items[i], "a fault");
        enum sim_fault fault;

        if (text && sim_fault_parse(text, of_adapter, &fault))
            *faults |= (uint32_t)fault;
        else if (text)
            sim_reader_fail(r, node->items[i], "'%s' is no fault; there are %s", text,
                            sim_fault_names(of_adapter));
    }
}

static void read_peripheral_faults(struct reader *r, const struct yaml_node *node, void *peripheral)
{
    read_faults(r, node, false, &((struct sim_peripheral *)peripheral)->faults);
}

static void read_adapter_faults(struct reader *r, const struct yaml_node *node, void *adapter)
{
    read_faults(r, node, true, &((struct sim_adapter *)adapter)->faults);
}

#define AT(member) offsetof(struct sim_peripheral, member)
static const struct reader_key peripheral_keys[] = {
    {"address", READER_ADDRESS, AT(address), 0, 0, true, NULL},
    {"address_type", READER_OTHER, 0, 0, 0, false, read_address_type},
    {"name", READER_TEXT, AT(name), 0, 0, false, NULL},
    {"rssi", READER_OTHER, 0, 0, 0, false, read_rssi},
    /* Core Specification Vol 6 Part B 4.4.2.2 */
    {"interval", READER_DURATION, AT(interval_us), 20, 10485759, false, NULL},
    {"connectable", READER_BOOL, AT(connectable), 0, 0, false, NULL},
    {"present", READER_BOOL, AT(present), 0, 0, false, NULL},
    {"pairing", READER_OTHER, 0, 0, 0, false, read_pairing},
    {"mtu", READER_UINT16, AT(mtu), 23, 517, false, NULL},
    {"advertise", READER_OTHER, 0, 0, 0, false, read_advertise},
    {"faults", READER_OTHER, 0, 0, 0, false, read_peripheral_faults},
    {"services", READER_OTHER, 0, 0, 0, false, sim_load_services},
};
#undef AT

static void check_address(struct reader *r, const struct yaml_node *node,
                          const struct sim_world *world, const struct sim_peripheral *p)
{
    /* Core Specification Vol 6 Part B 1.3.2: the two top bits of a random address tell its kind */
    if (p->address_type == BT_ADDRESS_RANDOM && p->address.b[0] >> 6 == 2)
        sim_reader_fail(r, node,
                        "a random address begins with a digit from C to F (static), 4 to 7 "
                        "(resolvable) or 0 to 3 (not resolvable)");
    for (const struct sim_peripheral *other = world->peripherals; other < p; other++)
        if (bt_address_equal(&other->address, &p->address))
            sim_reader_fail(r, node, "'%s' has the same address", other->id ? other->id : "?");
}

static uint64_t seed_from(const char *text)
{
    uint64_t seed = 0;

    for (; text && *text; text++)
        seed = script_hash(seed, (uint8_t)*text);
    return seed;
}

static void read_peripherals(struct reader *r, const struct yaml_node *node, void *target)
{
    struct sim_world *world = target;

    world->peripherals = sim_reader_room(r, node, YAML_KIND_MAPPING, "peripherals",
                                         SIM_MAX_PERIPHERALS, sizeof(*world->peripherals));
    if (!world->peripherals)
        return;
    world->n_peripherals = node->n_items;
    for (size_t i = 0; i < node->n_items; i++) {
        struct sim_peripheral *p = &world->peripherals[i];

        *p = (struct sim_peripheral){
            .rssi_from = -60,
            .rssi_to = -60,
            .interval_us = MS_TO_US(100),
            .connectable = true,
            .mtu = 247,
            .present = true,
            .adapter = SIM_NO_ADAPTER,
        };
        p->id = sim_reader_id(r, node->keys[i]);
        p->seed = seed_from(p->id);
        sim_reader_keys(r, node->items[i], "a peripheral", peripheral_keys,
                        ARRAY_SIZE(peripheral_keys), p);
        check_address(r, node->items[i], world, p);
    }
}

/* ---- adapters and timing ---- */

#define AT(member) offsetof(struct sim_adapter, member)
static const struct reader_key adapter_keys[] = {
    {"address", READER_ADDRESS, AT(address), 0, 0, true, NULL},
    {"powered", READER_BOOL, AT(powered), 0, 0, false, NULL},
    {"present", READER_BOOL, AT(present), 0, 0, false, NULL},
    {"faults", READER_OTHER, 0, 0, 0, false, read_adapter_faults},
};
#undef AT

static void read_adapters(struct reader *r, const struct yaml_node *node, void *target)
{
    struct sim_world *world = target;

    world->adapters = sim_reader_room(r, node, YAML_KIND_MAPPING, "adapters", SIM_MAX_ADAPTERS,
                                      sizeof(*world->adapters));
    if (!world->adapters)
        return;
    world->n_adapters = node->n_items;
    for (size_t i = 0; i < node->n_items; i++) {
        struct sim_adapter *a = &world->adapters[i];
        const char *name = node->keys[i]->text;

        *a = (struct sim_adapter){.present = true, .powered = true};
        if (strncmp(name, "hci", 3) != 0 || !name[3] || strlen(name) > 6 ||
            name[3 + strspn(name + 3, "0123456789")])
            sim_reader_fail(r, node->keys[i], "'%s' is no adapter's name such as hci0", name);
        a->name = strdup(name);
        if (!a->name)
            r->out_of_memory = true;
        sim_reader_keys(r, node->items[i], "an adapter", adapter_keys, ARRAY_SIZE(adapter_keys), a);
    }
}

static int add_default_adapter(struct sim_world *world)
{
    world->adapters = calloc(1, sizeof(*world->adapters));
    if (!world->adapters)
        return -ENOMEM;
    world->n_adapters = 1;
    world->adapters[0].name = strdup(DEFAULT_ADAPTER_NAME);
    world->adapters[0].present = world->adapters[0].powered = true;
    if (!world->adapters[0].name)
        return -ENOMEM;
    return bt_address_parse(DEFAULT_ADAPTER_ADDRESS, &world->adapters[0].address);
}

#define AT(member) offsetof(struct sim_timing, member)
static const struct reader_key timing_keys[] = {
    {"connect", READER_DURATION, AT(connect_us), 0, TIMING_MAX_MS, false, NULL},
    {"resolve", READER_DURATION, AT(resolve_us), 0, TIMING_MAX_MS, false, NULL},
    {"disconnect", READER_DURATION, AT(disconnect_us), 0, TIMING_MAX_MS, false, NULL},
    {"connect_timeout", READER_DURATION, AT(connect_timeout_us), 0, TIMING_MAX_MS, false, NULL},
    {"temporary", READER_DURATION, AT(temporary_us), 1, TIMING_MAX_MS, false, NULL},
};
#undef AT

static void read_timing(struct reader *r, const struct yaml_node *node, void *target)
{
    struct sim_world *world = target;

    sim_reader_keys(r, node, "timing", timing_keys, ARRAY_SIZE(timing_keys), &world->timing);
}

/* ---- the world ---- */

/* "5.66" */
static void read_bluez(struct reader *r, const struct yaml_node *node, void *target)
{
    const char *text = sim_reader_scalar(r, node, "a version such as 5.66");
    struct sim_world *world = target;
    uint32_t minor;

    if (!text)
        return;
    if (strncmp(text, "5.", 2) != 0 || strlen(text) != 4 || num_parse_u32(text + 2, &minor) < 0 ||
        500 + minor < SIM_BLUEZ_OLDEST || 500 + minor > SIM_BLUEZ_NEWEST)
        sim_reader_fail(r, node, "'%s' is no version of BlueZ from 5.%d to 5.%d", text,
                        SIM_BLUEZ_OLDEST - 500, SIM_BLUEZ_NEWEST - 500);
    else
        world->bluez = 500 + minor;
}

static const struct reader_key world_keys[] = {
    {"bluez", READER_OTHER, 0, 0, 0, false, read_bluez},
    {"experimental", READER_BOOL, offsetof(struct sim_world, experimental), 0, 0, false, NULL},
    {"adapters", READER_OTHER, 0, 0, 0, false, read_adapters},
    {"timing", READER_OTHER, 0, 0, 0, false, read_timing},
    {"peripherals", READER_OTHER, 0, 0, 0, true, read_peripherals},
};

static int world_from_doc(const struct yaml_doc *doc, struct diags *diags,
                          struct sim_world **ret_world)
{
    struct reader r = {.diags = diags};
    _cleanup_(sim_world_freep) struct sim_world *world = calloc(1, sizeof(*world));

    if (!world)
        return -ENOMEM;
    world->bluez = SIM_BLUEZ_DEFAULT;
    /* as seen on BlueZ 5.66 and Linux 6.1; the disconnect is BlueZ's own timer of 2 s */
    world->timing = (struct sim_timing){
        .connect_us = MS_TO_US(80),
        .resolve_us = MS_TO_US(350),
        .disconnect_us = MS_TO_US(2000),
        .connect_timeout_us = MS_TO_US(40000),
        .temporary_us = MS_TO_US(30000),
    };
    sim_reader_keys(&r, yaml_doc_root(doc), "a world", world_keys, ARRAY_SIZE(world_keys), world);
    if (r.out_of_memory || diags->failed)
        return -ENOMEM;
    if (diags->n_errors)
        return -EINVAL;
    if (world->bluez < 555 && world->timing.temporary_us == MS_TO_US(30000))
        world->timing.temporary_us = MS_TO_US(180000);
    if (!world->n_adapters) {
        free(world->adapters);
        world->adapters = NULL;
        int e = add_default_adapter(world);
        if (e < 0)
            return e;
    }
    *ret_world = TAKE_PTR(world);
    return 0;
}

int sim_world_load(const char *path, struct diags *diags, struct sim_world **ret_world)
{
    _cleanup_(yaml_doc_freep) struct yaml_doc *doc = NULL;
    int r = yaml_doc_load(path, diags, &doc);

    return r < 0 ? r : world_from_doc(doc, diags, ret_world);
}

int sim_world_parse(const char *text, size_t length, struct diags *diags,
                    struct sim_world **ret_world)
{
    _cleanup_(yaml_doc_freep) struct yaml_doc *doc = NULL;
    int r = yaml_doc_parse(text, length, diags, &doc);

    return r < 0 ? r : world_from_doc(doc, diags, ret_world);
}
