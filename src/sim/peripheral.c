/* What simulated peripherals hold and do; see peripheral.h. Their file is read in sim/load.c. */
#include "sim/peripheral.h"

#include "util/bytes.h"
#include "util/time.h"
#include <stdlib.h>
#include <string.h>

#define ATT_INSUFFICIENT_RESOURCES 0x11
#define BURST_NUMBER_BYTES         4

static void free_characteristic(struct sim_characteristic *c)
{
    sim_characteristic_forget_writes(c);
    free(c->writes);
    for (size_t i = 0; i < c->n_script; i++)
        free(c->script[i].data);
    free(c->script);
    for (size_t i = 0; i < c->n_reactions; i++) {
        struct sim_reaction *reaction = &c->reactions[i];

        free(reaction->characteristic);
        free(reaction->when.data);
        for (size_t j = 0; j < reaction->n_values; j++)
            free(reaction->values[j].data);
        free(reaction->values);
    }
    free(c->reactions);
    free(c->answered.data);
    free(c->waves);
    free(c->id);
}

static void free_manufacturer(struct sim_peripheral *p)
{
    for (size_t i = 0; i < p->n_manufacturer; i++)
        free(p->manufacturer[i].data.data);
    free(p->manufacturer);
}

static void free_peripheral(struct sim_peripheral *p)
{
    for (size_t i = 0; i < p->n_services; i++) {
        for (size_t j = 0; j < p->services[i].n_characteristics; j++)
            free_characteristic(&p->services[i].characteristics[j]);
        free(p->services[i].characteristics);
    }
    free(p->services);
    free_manufacturer(p);
    for (size_t i = 0; i < p->n_service_data; i++)
        free(p->service_data[i].data.data);
    free(p->service_data);
    free(p->advertised);
    free(p->name);
    free(p->id);
}

struct sim_world *sim_world_free(struct sim_world *world)
{
    if (!world)
        return NULL;
    for (size_t i = 0; i < world->n_peripherals; i++)
        free_peripheral(&world->peripherals[i]);
    free(world->peripherals);
    for (size_t i = 0; i < world->n_adapters; i++)
        free(world->adapters[i].name);
    free(world->adapters);
    free(world);
    return NULL;
}

struct sim_peripheral *sim_world_find(struct sim_world *world, const char *id)
{
    for (size_t i = 0; i < world->n_peripherals; i++)
        if (strcmp(world->peripherals[i].id, id) == 0)
            return &world->peripherals[i];
    return NULL;
}

struct sim_adapter *sim_world_find_adapter(struct sim_world *world, const char *name)
{
    for (size_t i = 0; i < world->n_adapters; i++)
        if (strcmp(world->adapters[i].name, name) == 0)
            return &world->adapters[i];
    return NULL;
}

/* The characteristics of a peripheral as one row: the n-th, or NULL past the last. */
static struct sim_characteristic *nth(const struct sim_peripheral *p, size_t n)
{
    for (size_t i = 0; i < p->n_services; i++) {
        if (n < p->services[i].n_characteristics)
            return &p->services[i].characteristics[n];
        n -= p->services[i].n_characteristics;
    }
    return NULL;
}

struct sim_characteristic *sim_peripheral_find(struct sim_peripheral *p, const char *id)
{
    struct sim_characteristic *c;
    struct bt_uuid uuid;

    for (size_t i = 0; (c = nth(p, i)); i++)
        if (strcmp(c->id, id) == 0)
            return c;
    if (bt_uuid_parse(id, &uuid) < 0)
        return NULL;
    for (size_t i = 0; (c = nth(p, i)); i++)
        if (bt_uuid_equal(&c->uuid, &uuid))
            return c;
    return NULL;
}

struct sim_characteristic *sim_peripheral_by_handle(struct sim_peripheral *p, uint16_t value_handle)
{
    struct sim_characteristic *c;

    for (size_t i = 0; (c = nth(p, i)); i++)
        if (c->handle == value_handle)
            return c;
    return NULL;
}

bool sim_peripheral_advertises(const struct sim_peripheral *p)
{
    return p->present && p->adapter == SIM_NO_ADAPTER;
}

int sim_peripheral_rssi(const struct sim_peripheral *p, uint64_t now_us)
{
    if (p->rssi_from == p->rssi_to)
        return p->rssi_from;
    return script_wander(p->rssi_from, p->rssi_to, now_us, p->seed);
}

void sim_peripheral_connected(struct sim_peripheral *p, size_t adapter)
{
    p->adapter = adapter;
}

void sim_peripheral_disconnected(struct sim_peripheral *p)
{
    struct sim_characteristic *c;

    p->adapter = SIM_NO_ADAPTER;
    p->secure = false;
    for (size_t i = 0; (c = nth(p, i)); i++)
        sim_characteristic_subscribe(c, 0, 0);
}

static bool lacks_security(const struct sim_characteristic *c)
{
    return c->encrypted && !c->peripheral->secure;
}

/* Moves waves and script on, so that c->value is the value at this time. */
static void advance(struct sim_characteristic *c, uint64_t now_us)
{
    if (c->n_script) {
        const struct sim_bytes *next = &c->script[c->script_next];

        memcpy(c->value, next->data, next->length);
        c->length = next->length;
        c->script_next = (c->script_next + 1) % c->n_script;
    }
    script_waves_apply(c->waves, c->n_waves, now_us, script_hash(c->peripheral->seed, c->handle),
                       c->value, c->length);
}

uint8_t sim_characteristic_read(struct sim_characteristic *c, uint64_t now_us, size_t offset,
                                const uint8_t **ret_data, size_t *ret_length)
{
    if (!(c->flags & GATT_FLAG_READ))
        return SIM_ATT_READ_NOT_PERMITTED;
    if (c->read_error)
        return c->read_error;
    if (lacks_security(c))
        return SIM_ATT_ENCRYPTION;
    if (!offset)
        advance(c, now_us);
    if (offset > c->length)
        return SIM_ATT_INVALID_OFFSET;
    *ret_data = c->value + offset;
    *ret_length = c->length - offset;
    return SIM_ATT_OK;
}

static bool remember_write(struct sim_characteristic *c, const void *data, size_t length,
                           bool command)
{
    uint8_t *copy = malloc(MAX_OF(length, (size_t)1));

    if (!copy)
        return false;
    if (length)
        memcpy(copy, data, length);
    if (c->n_writes == SIM_MAX_WRITES) {
        free(c->writes[0].value.data);
        memmove(c->writes, c->writes + 1, --c->n_writes * sizeof(*c->writes));
    }
    if (c->n_writes == c->writes_size) {
        size_t size = MAX_OF(c->writes_size * 2, (size_t)16);
        struct sim_write *more = realloc(c->writes, size * sizeof(*more));

        if (!more) {
            free(copy);
            return false;
        }
        c->writes = more;
        c->writes_size = size;
    }
    c->writes[c->n_writes++] =
        (struct sim_write){.command = command, .value = {.data = copy, .length = length}};
    return true;
}

/* a number comes nearer to another by at most `step` */
static uint64_t approach(uint64_t from, uint64_t to, uint64_t step)
{
    if (from < to)
        return to - from > step ? from + step : to;
    return from - to > step ? from - step : to;
}

static void copy_written(struct sim_characteristic *c, const struct sim_reaction *reaction,
                         const uint8_t *data, size_t length)
{
    size_t n = reaction->copy_length;

    if (!n || reaction->copy_from + n > length || reaction->copy_to + n > c->length)
        return;
    uint8_t *to = c->value + reaction->copy_to;
    const uint8_t *from = data + reaction->copy_from;
    if (!reaction->copy_step || n > sizeof(uint64_t)) {
        memcpy(to, from, n);
        return;
    }
    struct cursor present = cursor_of(to, n), wanted = cursor_of(from, n);
    put_le(to,
           approach(cursor_le(&present, (unsigned)n), cursor_le(&wanted, (unsigned)n),
                    reaction->copy_step),
           (unsigned)n);
}

/* the next value of a running answer */
static void take_answer(struct sim_characteristic *c)
{
    const struct sim_reaction *reaction = c->answer;
    const struct sim_bytes *next = &reaction->values[c->answer_next++];

    memcpy(c->value, next->data, next->length);
    c->length = next->length;
    copy_written(c, reaction, c->answered.data, c->answered.length);
    if (c->answer_next == reaction->n_values)
        c->answer = NULL;
}

static void react(struct sim_peripheral *p, const struct sim_reaction *reaction,
                  const uint8_t *data, size_t length)
{
    struct sim_characteristic *c = sim_peripheral_find(p, reaction->characteristic);

    if (!c || length < reaction->when.length ||
        (reaction->when.length && memcmp(data, reaction->when.data, reaction->when.length) != 0))
        return;
    if (!reaction->n_values) {
        copy_written(c, reaction, data, length);
        c->pending = sim_characteristic_subscribed(c);
        return;
    }
    uint8_t *copy = malloc(MAX_OF(length, (size_t)1));
    if (!copy)
        return;
    if (length)
        memcpy(copy, data, length);
    free(c->answered.data);
    c->answered = (struct sim_bytes){.data = copy, .length = length};
    c->answer = reaction;
    c->answer_next = 0;
    while (!sim_characteristic_subscribed(c) && c->answer)
        take_answer(c); /* nobody hears it: the last one stays */
}

uint8_t sim_characteristic_write(struct sim_characteristic *c, const void *data, size_t length,
                                 bool command)
{
    if (!(c->flags & (command ? GATT_FLAG_WRITE_COMMAND : GATT_FLAG_WRITE)))
        return SIM_ATT_WRITE_NOT_PERMITTED;
    if (c->write_error)
        return c->write_error;
    if (lacks_security(c))
        return SIM_ATT_ENCRYPTION;
    if (length < c->length_min || length > c->length_max)
        return SIM_ATT_INVALID_LENGTH;
    if (!remember_write(c, data, length, command))
        return ATT_INSUFFICIENT_RESOURCES;
    if (length)
        memcpy(c->value, data, length);
    c->length = length;
    if (c->echo && sim_characteristic_subscribed(c))
        c->pending = true;
    for (size_t i = 0; i < c->n_reactions; i++)
        react(c->peripheral, &c->reactions[i], data, length);
    return SIM_ATT_OK;
}

uint8_t sim_characteristic_subscribe(struct sim_characteristic *c, uint16_t cccd_value,
                                     uint64_t now_us)
{
    uint16_t possible =
        (uint16_t)((c->flags & GATT_FLAG_NOTIFY ? 1 : 0) | (c->flags & GATT_FLAG_INDICATE ? 2 : 0));

    if (cccd_value & ~possible)
        return SIM_ATT_CCCD_IMPROPER;
    if (cccd_value && c->notify_error)
        return c->notify_error;
    if (cccd_value && lacks_security(c))
        return SIM_ATT_ENCRYPTION;
    if (cccd_value && !c->cccd_value && c->notify_us)
        c->next_us = now_us + c->notify_us;
    if (cccd_value && !c->cccd_value && c->notify_at_once)
        c->pending = true;
    if (!cccd_value) {
        c->next_us = TIME_NEVER;
        c->pending = false;
        c->answer = NULL;
        c->burst = (struct sim_burst){0};
    }
    c->cccd_value = cccd_value;
    return SIM_ATT_OK;
}

int sim_characteristic_set(struct sim_characteristic *c, const void *data, size_t length)
{
    if (length > sizeof(c->value))
        return -E2BIG;
    if (length)
        memcpy(c->value, data, length);
    c->length = length;
    c->pending = sim_characteristic_subscribed(c);
    return 0;
}

int sim_characteristic_burst(struct sim_characteristic *c, uint32_t count, uint32_t rate,
                             uint64_t now_us)
{
    if (rate < 1 || rate > SIM_MAX_RATE)
        return -ERANGE;
    if (!sim_characteristic_subscribed(c))
        return -ENOTCONN;
    if (c->burst.done < c->burst.count)
        return -EBUSY;
    c->burst = (struct sim_burst){.start_us = now_us, .count = count, .rate = rate};
    return 0;
}

static uint64_t burst_due(const struct sim_characteristic *c)
{
    if (c->burst.done >= c->burst.count)
        return TIME_NEVER;
    return c->burst.start_us + (uint64_t)c->burst.done * 1000000 / c->burst.rate;
}

static uint64_t characteristic_due(const struct sim_characteristic *c)
{
    if (!sim_characteristic_subscribed(c))
        return TIME_NEVER;
    if (c->pending || c->answer)
        return 0;
    return MIN_OF(c->next_us, burst_due(c));
}

static struct sim_characteristic *find_due(const struct sim_peripheral *p, uint64_t *ret_due_us)
{
    struct sim_characteristic *first = NULL, *c;

    *ret_due_us = TIME_NEVER;
    for (size_t i = 0; (c = nth(p, i)); i++) {
        uint64_t due_us = characteristic_due(c);
        if (due_us < *ret_due_us) {
            *ret_due_us = due_us;
            first = c;
        }
    }
    return first;
}

uint64_t sim_peripheral_next_due(const struct sim_peripheral *p)
{
    uint64_t due_us;

    find_due(p, &due_us);
    return due_us;
}

static void take_burst_value(struct sim_characteristic *c, struct sim_notification *n)
{
    n->length = MAX_OF(c->length, (size_t)BURST_NUMBER_BYTES);
    memcpy(n->data, c->value, c->length);
    put_le(n->data, ++c->sequence, BURST_NUMBER_BYTES);
    c->burst.done++;
}

bool sim_peripheral_take_due(struct sim_peripheral *p, uint64_t now_us,
                             struct sim_notification *ret_notification)
{
    uint64_t due_us;
    struct sim_characteristic *c = find_due(p, &due_us);
    struct sim_notification *n = ret_notification;

    if (!c || due_us > now_us)
        return false;
    n->characteristic = c;
    n->indicate = c->cccd_value == 2;
    if (!c->pending && !c->answer && burst_due(c) <= now_us) {
        take_burst_value(c, n);
    } else {
        /* What was set or written is notified as it is; the periodic value is a new one. */
        if (c->pending) {
            c->pending = false;
        } else if (c->answer) {
            take_answer(c);
        } else {
            advance(c, now_us);
            /* A player that slept leaves out what it missed, as a busy peripheral does. */
            c->next_us += c->notify_us;
            if (c->next_us <= now_us)
                c->next_us = now_us + c->notify_us;
        }
        memcpy(n->data, c->value, c->length);
        n->length = c->length;
    }
    c->n_sent++;
    return true;
}

int sim_peripheral_set_manufacturer(struct sim_peripheral *p, uint16_t company, const void *data,
                                    size_t length)
{
    struct sim_manufacturer_data *one = calloc(1, sizeof(*one));
    uint8_t *copy = malloc(MAX_OF(length, (size_t)1));

    if (!one || !copy) {
        free(one);
        free(copy);
        return -ENOMEM;
    }
    if (length)
        memcpy(copy, data, length);
    *one = (struct sim_manufacturer_data){.company = company, .data = {copy, length}};
    free_manufacturer(p);
    p->manufacturer = one;
    p->n_manufacturer = 1;
    return 0;
}

int sim_peripheral_move_handles(struct sim_peripheral *p, uint16_t by)
{
    struct sim_characteristic *c;

    if (p->n_services && p->services[p->n_services - 1].end + by > UINT16_MAX)
        return -ERANGE;
    for (size_t i = 0; i < p->n_services; i++) {
        p->services[i].handle = (uint16_t)(p->services[i].handle + by);
        p->services[i].end = (uint16_t)(p->services[i].end + by);
    }
    for (size_t i = 0; (c = nth(p, i)); i++) {
        c->declaration = (uint16_t)(c->declaration + by);
        c->handle = (uint16_t)(c->handle + by);
        if (c->cccd)
            c->cccd = (uint16_t)(c->cccd + by);
    }
    return 0;
}

void sim_characteristic_forget_writes(struct sim_characteristic *c)
{
    for (size_t i = 0; i < c->n_writes; i++)
        free(c->writes[i].value.data);
    c->n_writes = 0;
}
