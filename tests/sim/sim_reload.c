/*
 * The configuration changes while everything runs: some devices are the same, some get other rules
 * on the same link, some are matched differently, switched off or on. Must not know how the core
 * finds out what changed.
 */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

size_t sim_position(const struct sim *sim, uint32_t place)
{
    const struct peer *peer = gateway_peer_at(sim->gateway, place);

    for (size_t i = 0; peer && i < sim->n_devices; i++)
        if (sim->gateway->peers[i] == peer)
            return i;
    return SIZE_MAX; /* it is leaving */
}

bool sim_is_leaving(const struct sim *sim, size_t d)
{
    for (const struct peer *peer = sim->gateway->leaving; peer; peer = peer->next_leaving)
        if (peer->bound && peer->address.b[5] == d)
            return true;
    return false;
}

/* ---- the next version ---- */

static void *copy(const void *data, size_t size)
{
    void *to = size ? malloc(size) : NULL;

    if (size && !to)
        abort();
    if (size)
        memcpy(to, data, size);
    return to;
}

static char *text(const char *from)
{
    return from ? strdup(from) : NULL;
}

static void copy_operand(struct step_operand *operand)
{
    if (operand->value.kind == VALUE_STRING)
        operand->value.s.data = copy(operand->value.s.data, operand->value.s.length);
}

static void copy_steps(struct step_settings **steps, size_t n)
{
    *steps = copy(*steps, n * sizeof(**steps));
    for (size_t i = 0; i < n; i++) {
        struct step_settings *step = &(*steps)[i];

        step->data = copy(step->data, step->length);
        step->fields = copy(step->fields, step->n_fields * sizeof(*step->fields));
        for (size_t j = 0; j < step->n_fields; j++)
            copy_operand(&step->fields[j].operand);
        step->source = text(step->source);
        step->where = copy(step->where, step->n_where * sizeof(*step->where));
        for (size_t j = 0; j < step->n_where; j++) {
            step->where[j].field = text(step->where[j].field);
            copy_operand(&step->where[j].equals);
        }
        copy_steps(&step->steps, step->n_steps);
    }
}

static void copy_sequences(struct device_settings *to)
{
    copy_steps(&to->on_connect.steps, to->on_connect.n_steps);
    copy_steps(&to->poll.steps, to->poll.n_steps);
    copy_steps(&to->keep_alive.steps, to->keep_alive.n_steps);
    to->commands = copy(to->commands, to->n_commands * sizeof(*to->commands));
    for (size_t i = 0; i < to->n_commands; i++) {
        struct command_settings *command = &to->commands[i];

        command->id = text(command->id);
        command->name = text(command->name);
        command->parameters = command->parameters ? sim_schema_number() : NULL;
        copy_steps(&command->sequence.steps, command->sequence.n_steps);
    }
}

static void copy_match(struct match_settings *match)
{
    match->name = text(match->name);
    match->services = copy(match->services, match->n_services * sizeof(*match->services));
}

static void copy_device(const struct device_settings *from, struct device_settings *to)
{
    *to = *from;
    to->id = text(from->id);
    to->gateway = text(from->gateway);
    to->connection.until =
        copy(from->connection.until, from->connection.n_until * sizeof(*from->connection.until));
    copy_sequences(to);
    copy_match(&to->match);
    if (from->adapter)
        to->adapter = copy(from->adapter, sizeof(*from->adapter));
    to->characteristics =
        copy(from->characteristics, from->n_characteristics * sizeof(*from->characteristics));
    for (size_t i = 0; i < to->n_characteristics; i++) {
        to->characteristics[i].id = strdup(from->characteristics[i].id);
        to->characteristics[i].schema = sim_schema_of(&from->characteristics[i]);
    }
}

/* with what stays on the link */
static void change_rules(struct sim *sim, size_t i, struct device_settings *settings)
{
    /* what is waited for is subscribed */
    bool waits = settings->on_connect.n_steps || settings->poll.n_steps ||
                 settings->keep_alive.n_steps || settings->n_commands ||
                 settings->connection.n_until;

    settings->queue_timeout_ms = sim_chance(sim, 20) ? 0 : sim_spread(sim, 500, 20000);
    for (size_t e = 0; e < settings->n_characteristics; e++) {
        struct characteristic_settings *entry = &settings->characteristics[e];
        uint16_t flags = 0;

        for (size_t c = 0; c < sim->devices[i].n_chars; c++) {
            struct bt_uuid uuid = bt_uuid_from_u16(sim->devices[i].chars[c].uuid);
            if (bt_uuid_equal(&uuid, &entry->uuid))
                flags = sim->devices[i].chars[c].flags;
        }
        entry->qos = !sim_chance(sim, 10);
        entry->history_latest = sim_chance(sim, 10);
        if (!waits && flags & (GATT_FLAG_NOTIFY | GATT_FLAG_INDICATE))
            entry->subscribe = sim_chance(sim, 80);
        if (flags & GATT_FLAG_READ)
            entry->read_every_ms = sim_chance(sim, 30) ? sim_spread(sim, 10000, 600000) : 0;
    }
}

/* with what asks for a new one */
static void change_match(struct sim *sim, size_t i, struct device_settings *settings)
{
    struct match_settings *match = &settings->match;

    if (match->n_services || sim_chance(sim, 40)) {
        settings->enabled = !settings->enabled;
        return;
    }
    free(match->name);
    match->name = match->has_address ? strdup(sim->devices[i].name) : NULL;
    match->has_address = !match->has_address;
    match->address = sim->devices[i].address;
}

static void change(struct sim *sim, size_t i, struct device_settings *settings)
{
    if (sim_chance(sim, 50))
        return;
    settings->hash++;
    if (sim_chance(sim, 70)) {
        change_rules(sim, i, settings);
        return;
    }
    change_match(sim, i, settings);
}

static struct settings *next_version(struct sim *sim)
{
    struct settings *next = copy(&sim->settings, sizeof(*next));

    next->gateway.id = strdup(next->gateway.id);
    next->gateway.base_topic = strdup(next->gateway.base_topic);
    next->home_assistant.prefix = strdup(next->home_assistant.prefix);
    if (sim->options.seed % 4 == 3)
        next->home_assistant.discovery = /* off, device, component, and so on */
            (enum discovery_mode)((next->home_assistant.discovery + 1) % (DISCOVERY_COMPONENT + 1));
    next->bluetooth.adapters =
        copy(next->bluetooth.adapters, N_RADIOS * sizeof(*next->bluetooth.adapters));
    if (sim_chance(sim, 20))
        next->bluetooth.connections = 1 + sim_below(sim, N_DEVICES_MAX);
    next->devices = calloc(sim->n_devices, sizeof(*next->devices));
    if (!next->devices)
        abort();
    for (size_t i = 0; i < sim->n_devices; i++) {
        copy_device(&sim->settings.devices[i], &next->devices[i]);
        change(sim, i, &next->devices[i]);
    }
    return next;
}

/* ---- the reload ---- */

/* The core has another peer for the device. */
static void begin_anew(struct sim *sim, size_t i)
{
    struct sim_peer *seen = &sim->peers[i];

    memset(seen->connects, 0, sizeof(seen->connects));
    seen->reason_us = sim->now.mono_us;
    seen->contact = seen->good = false;
    if (!sim->gateway->peers[i]->contact_us)
        seen->reached_us = 0; /* it cannot tell that it is the same one */
    /* who was not looked for was not heard either; the other one may be bound to it */
    for (size_t r = 0; r < N_RADIOS; r++)
        for (size_t d = 0; d < sim->n_devices; d++)
            if (d == i || sim->settings.devices[i].match.n_services)
                sim->objects[r][d].heard_us = 0;
}

void sim_reload(struct sim *sim)
{
    struct event event = {.type = EVENT_START};
    struct settings *next = next_version(sim);
    const struct peer *before[N_DEVICES_MAX];

    memcpy(before, sim->gateway->peers, sim->n_devices * sizeof(before[0]));
    sim_trace(sim, "---- the configuration changes");
    actions_reset(&sim->actions);
    if (gateway_reload(sim->gateway, sim->now, next, &sim->actions) != 0)
        abort();
    /* the core looks at the present ones where they always were */
    SWAP(sim->settings, *next);
    sim->gateway->settings = &sim->settings;
    for (size_t i = 0; i < sim->n_devices; i++)
        if (sim->gateway->peers[i] != before[i])
            begin_anew(sim, i);
    sim_execute_all(sim, &event);
    sim_settings_free(next);
    free(next);
}
