/* The services of a peripheral's file, with their handles; see reader.h and peripheral.h. */
#include "sim/reader.h"

#include "util/time.h"
#include <stdlib.h>
#include <string.h>

#define PERIOD_MAX_MS 86400000

static void read_type(struct reader *r, const struct yaml_node *node, void *wave)
{
    const char *text = sim_reader_scalar(r, node, "a type");

    if (text && !script_type_parse(text, &((struct script_wave *)wave)->type))
        sim_reader_fail(
            r, node,
            "'%s' is no type of a wave; there are uint8, uint16, uint24, uint32, uint64 "
            "and int8 to int64",
            text);
}

static void read_shape(struct reader *r, const struct yaml_node *node, void *wave)
{
    const char *text = sim_reader_scalar(r, node, "a shape");

    if (text && !script_shape_parse(text, &((struct script_wave *)wave)->shape))
        sim_reader_fail(r, node,
                        "'%s' is no shape; there are sine, triangle, saw, random and count", text);
}

#define AT(member) offsetof(struct script_wave, member)
static const struct reader_key wave_keys[] = {
    {"offset", READER_UINT16, AT(offset), 0, GATT_VALUE_MAX - 1, false, NULL},
    {"type", READER_OTHER, 0, 0, 0, true, read_type},
    {"shape", READER_OTHER, 0, 0, 0, true, read_shape},
    {"min", READER_NUMBER, AT(min), 0, 0, true, NULL},
    {"max", READER_NUMBER, AT(max), 0, 0, true, NULL},
    {"period", READER_DURATION, AT(period_us), 1, PERIOD_MAX_MS, false, NULL},
};
#undef AT

static void read_waves(struct reader *r, const struct yaml_node *node, void *characteristic)
{
    struct sim_characteristic *c = characteristic;

    c->waves =
        sim_reader_room(r, node, YAML_KIND_SEQUENCE, "waves", SIM_MAX_WAVES, sizeof(*c->waves));
    if (!c->waves)
        return;
    c->n_waves = node->n_items;
    for (size_t i = 0; i < c->n_waves; i++) {
        struct script_wave *wave = &c->waves[i];

        *wave = (struct script_wave){.period_us = MS_TO_US(1000)};
        sim_reader_keys(r, node->items[i], "a wave", wave_keys, ARRAY_SIZE(wave_keys), wave);
        if (!wave->type.n_bytes)
            continue; /* said already */
        if (wave->min > wave->max)
            sim_reader_fail(r, node->items[i], "the wave's min is above its max");
        else if (!script_type_holds(wave->type, wave->min) ||
                 !script_type_holds(wave->type, wave->max))
            sim_reader_fail(r, node->items[i], "the wave's min and max do not both fit its type");
    }
}

static void read_script(struct reader *r, const struct yaml_node *node, void *characteristic)
{
    struct sim_characteristic *c = characteristic;

    c->script =
        sim_reader_room(r, node, YAML_KIND_SEQUENCE, "script", SIM_MAX_SCRIPT, sizeof(*c->script));
    if (!c->script)
        return;
    c->n_script = node->n_items;
    for (size_t i = 0; i < c->n_script; i++)
        sim_reader_bytes(r, node->items[i], &c->script[i]);
}

static void read_value(struct reader *r, const struct yaml_node *node, void *characteristic)
{
    struct sim_characteristic *c = characteristic;
    size_t length;

    if (sim_reader_hex(r, node, c->value, &length))
        c->length = length;
}

static void read_properties(struct reader *r, const struct yaml_node *node, void *characteristic)
{
    static const struct {
        const char *name;
        uint16_t flag;
    } names[] = {
        {"read", GATT_FLAG_READ},
        {"write", GATT_FLAG_WRITE},
        {"write-without-response", GATT_FLAG_WRITE_COMMAND},
        {"notify", GATT_FLAG_NOTIFY},
        {"indicate", GATT_FLAG_INDICATE},
    };
    struct sim_characteristic *c = characteristic;

    if (node->kind != YAML_KIND_SEQUENCE) {
        sim_reader_fail(r, node, "properties: expected a list, not %s", yaml_node_describe(node));
        return;
    }
    for (size_t i = 0; i < node->n_items; i++) {
        const char *text = sim_reader_scalar(r, node->items[i], "a property");
        size_t k = 0;

        while (text && k < ARRAY_SIZE(names) && strcmp(names[k].name, text) != 0)
            k++;
        if (text && k < ARRAY_SIZE(names))
            c->flags |= names[k].flag;
        else if (text)
            sim_reader_fail(r, node->items[i],
                            "'%s' is no property; there are read, write, write-without-response, "
                            "notify and indicate",
                            text);
    }
}

/* ---- reactions to writes ---- */

static void read_when(struct reader *r, const struct yaml_node *node, void *reaction)
{
    sim_reader_bytes(r, node, &((struct sim_reaction *)reaction)->when);
}

static void read_values(struct reader *r, const struct yaml_node *node, void *target)
{
    struct sim_reaction *reaction = target;

    reaction->values = sim_reader_room(r, node, YAML_KIND_SEQUENCE, "values", SIM_MAX_SCRIPT,
                                       sizeof(*reaction->values));
    if (!reaction->values)
        return;
    reaction->n_values = node->n_items;
    for (size_t i = 0; i < reaction->n_values; i++)
        sim_reader_bytes(r, node->items[i], &reaction->values[i]);
}

#define AT(member) offsetof(struct sim_reaction, member)
static const struct reader_key copy_keys[] = {
    {"from", READER_UINT16, AT(copy_from), 0, GATT_VALUE_MAX - 1, false, NULL},
    {"to", READER_UINT16, AT(copy_to), 0, GATT_VALUE_MAX - 1, false, NULL},
    {"length", READER_UINT16, AT(copy_length), 1, GATT_VALUE_MAX, true, NULL},
    {"step", READER_UINT16, AT(copy_step), 1, UINT16_MAX, false, NULL},
};

static void read_copy(struct reader *r, const struct yaml_node *node, void *reaction)
{
    sim_reader_keys(r, node, "copy", copy_keys, ARRAY_SIZE(copy_keys), reaction);
}

static const struct reader_key reaction_keys[] = {
    {"when", READER_OTHER, 0, 0, 0, false, read_when},
    {"characteristic", READER_ID, AT(characteristic), 0, 0, true, NULL},
    {"values", READER_OTHER, 0, 0, 0, false, read_values},
    {"copy", READER_OTHER, 0, 0, 0, false, read_copy},
};
#undef AT

static void read_reactions(struct reader *r, const struct yaml_node *node, void *characteristic)
{
    struct sim_characteristic *c = characteristic;

    c->reactions = sim_reader_room(r, node, YAML_KIND_SEQUENCE, "on_write", SIM_MAX_REACTIONS,
                                   sizeof(*c->reactions));
    if (!c->reactions)
        return;
    c->n_reactions = node->n_items;
    for (size_t i = 0; i < c->n_reactions; i++)
        sim_reader_keys(r, node->items[i], "a reaction", reaction_keys, ARRAY_SIZE(reaction_keys),
                        &c->reactions[i]);
}

#define AT(member) offsetof(struct sim_characteristic, member)
static const struct reader_key length_keys[] = {
    {"min", READER_UINT16, AT(length_min), 0, GATT_VALUE_MAX, false, NULL},
    {"max", READER_UINT16, AT(length_max), 0, GATT_VALUE_MAX, false, NULL},
};

static void read_length(struct reader *r, const struct yaml_node *node, void *characteristic)
{
    struct sim_characteristic *c = characteristic;

    sim_reader_keys(r, node, "length", length_keys, ARRAY_SIZE(length_keys), c);
    if (c->length_min > c->length_max)
        sim_reader_fail(r, node, "the length's min is above its max");
}

static const struct reader_key characteristic_keys[] = {
    {"id", READER_ID, AT(id), 0, 0, false, NULL},
    {"uuid", READER_UUID, AT(uuid), 0, 0, true, NULL},
    {"properties", READER_OTHER, 0, 0, 0, true, read_properties},
    {"value", READER_OTHER, 0, 0, 0, false, read_value},
    {"notify", READER_DURATION, AT(notify_us), 1, PERIOD_MAX_MS, false, NULL},
    {"waves", READER_OTHER, 0, 0, 0, false, read_waves},
    {"script", READER_OTHER, 0, 0, 0, false, read_script},
    {"length", READER_OTHER, 0, 0, 0, false, read_length},
    {"encrypted", READER_BOOL, AT(encrypted), 0, 0, false, NULL},
    {"echo", READER_BOOL, AT(echo), 0, 0, false, NULL},
    {"notify_at_once", READER_BOOL, AT(notify_at_once), 0, 0, false, NULL},
    {"on_write", READER_OTHER, 0, 0, 0, false, read_reactions},
    {"read_error", READER_UINT8, AT(read_error), 1, 255, false, NULL},
    {"write_error", READER_UINT8, AT(write_error), 1, 255, false, NULL},
    {"notify_error", READER_UINT8, AT(notify_error), 1, 255, false, NULL},
};
#undef AT

/* Handles are given out in the file's order, as a peripheral's own table would have them. */
static void number(struct sim_characteristic *c, uint32_t *next_handle)
{
    c->declaration = (uint16_t)(*next_handle)++;
    c->handle = (uint16_t)(*next_handle)++;
    if (c->flags & (GATT_FLAG_NOTIFY | GATT_FLAG_INDICATE))
        c->cccd = (uint16_t)(*next_handle)++;
}

static void check_characteristic(struct reader *r, const struct yaml_node *node,
                                 struct sim_characteristic *c)
{
    char text[BT_UUID_TEXT_SIZE];

    if (!c->id) {
        bt_uuid_format_short(&c->uuid, text);
        c->id = strdup(text);
        if (!c->id)
            r->out_of_memory = true;
    }
    if (c->notify_us && !c->cccd)
        sim_reader_fail(r, node, "'notify' needs notify or indicate among the properties");
    for (size_t i = 0; i < c->n_waves && !c->n_script; i++)
        if (c->waves[i].offset + c->waves[i].type.n_bytes > (ptrdiff_t)c->length)
            sim_reader_fail(r, node, "wave %zu does not fit into the value of %zu bytes", i + 1,
                            c->length);
}

static void read_characteristics(struct reader *r, const struct yaml_node *node,
                                 struct sim_peripheral *p, struct sim_service *service,
                                 uint32_t *next_handle)
{
    service->characteristics =
        sim_reader_room(r, node, YAML_KIND_SEQUENCE, "characteristics", SIM_MAX_CHARACTERISTICS,
                        sizeof(*service->characteristics));
    if (!service->characteristics)
        return;
    service->n_characteristics = node->n_items;
    for (size_t i = 0; i < node->n_items; i++) {
        struct sim_characteristic *c = &service->characteristics[i];

        *c = (struct sim_characteristic){
            .peripheral = p,
            .length_max = GATT_VALUE_MAX,
            .next_us = TIME_NEVER,
        };
        sim_reader_keys(r, node->items[i], "a characteristic", characteristic_keys,
                        ARRAY_SIZE(characteristic_keys), c);
        number(c, next_handle);
        check_characteristic(r, node->items[i], c);
    }
}

/* characteristics are read apart, because their handles follow the service's */
static void skip(struct reader *r, const struct yaml_node *node, void *service)
{
}

static const struct reader_key service_keys[] = {
    {"uuid", READER_UUID, offsetof(struct sim_service, uuid), 0, 0, true, NULL},
    {"characteristics", READER_OTHER, 0, 0, 0, false, skip},
};

/* two with the same id in one peripheral could not be told apart in the control protocol */
static void check_ids(struct reader *r, const struct yaml_node *node, struct sim_peripheral *p)
{
    struct bt_uuid uuid; /* an id that is only the UUID may occur twice, as UUIDs do */

    for (size_t i = 0; i < p->n_services; i++)
        for (size_t j = 0; j < p->services[i].n_characteristics; j++) {
            struct sim_characteristic *c = &p->services[i].characteristics[j];

            if (c->id && bt_uuid_parse(c->id, &uuid) < 0 && sim_peripheral_find(p, c->id) != c)
                sim_reader_fail(r, node, "two characteristics have the id '%s'", c->id);
            for (size_t k = 0; k < c->n_reactions; k++)
                if (c->reactions[k].characteristic &&
                    !sim_peripheral_find(p, c->reactions[k].characteristic))
                    sim_reader_fail(r, node, "on_write: there is no characteristic '%s'",
                                    c->reactions[k].characteristic);
        }
}

void sim_load_services(struct reader *r, const struct yaml_node *node, void *peripheral)
{
    struct sim_peripheral *p = peripheral;
    uint32_t next_handle = SIM_FIRST_HANDLE;

    p->services = sim_reader_room(r, node, YAML_KIND_SEQUENCE, "services", SIM_MAX_SERVICES,
                                  sizeof(*p->services));
    if (!p->services)
        return;
    p->n_services = node->n_items;
    for (size_t i = 0; i < node->n_items; i++) {
        struct sim_service *service = &p->services[i];

        sim_reader_keys(r, node->items[i], "a service", service_keys, ARRAY_SIZE(service_keys),
                        service);
        service->handle = (uint16_t)next_handle++;
        const struct yaml_node *list = node->items[i]->kind == YAML_KIND_MAPPING
                                           ? yaml_node_get(node->items[i], "characteristics")
                                           : NULL;
        if (list)
            read_characteristics(r, list, p, service, &next_handle);
        service->end = (uint16_t)(next_handle - 1);
    }
    if (!r->out_of_memory)
        check_ids(r, node, p);
}
