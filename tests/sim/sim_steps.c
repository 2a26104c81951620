/*
 * Sequences of steps in the configuration: `on_connect`, `poll`, `keep_alive` and named commands,
 * made of what the peripheral offers, so that a healthy one can do them. Must not know how they are
 * run.
 */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STEPS_IN_LIST 6

/* Entries that steps may use; NO_CHARACTERISTIC: there is none. */
struct parts {
    size_t written, read, awaited;
};

static const struct sim_char *char_of(const struct sim_device *device,
                                      const struct characteristic_settings *entry)
{
    for (size_t c = 0; c < device->n_chars; c++) {
        struct bt_uuid uuid = bt_uuid_from_u16(device->chars[c].uuid);
        if (bt_uuid_equal(&uuid, &entry->uuid))
            return &device->chars[c];
    }
    abort();
}

static struct parts find_parts(const struct sim_device *device,
                               const struct device_settings *settings)
{
    struct parts parts = {NO_CHARACTERISTIC, NO_CHARACTERISTIC, NO_CHARACTERISTIC};

    for (size_t e = 0; e < settings->n_characteristics; e++) {
        const struct characteristic_settings *entry = &settings->characteristics[e];
        uint16_t flags = char_of(device, entry)->flags;

        if (flags & GATT_FLAG_WRITE_COMMAND ||
            (flags & GATT_FLAG_WRITE && entry->response != TRI_NO))
            parts.written = e;
        if (flags & GATT_FLAG_READ)
            parts.read = e;
        if (entry->subscribe)
            parts.awaited = e;
    }
    return parts;
}

/* ---- steps ---- */

static void make_write(struct sim *sim, const struct parts *parts, bool given,
                       struct step_settings *step)
{
    uint32_t value = STEP_MARK | (uint32_t)(sim_random(sim) & 0xffffff);

    step->kind = STEP_KIND_WRITE;
    step->characteristic = parts->written;
    if (given) { /* what the command was given */
        step->fields = calloc(1, sizeof(*step->fields));
        if (!step->fields)
            abort();
        step->n_fields = 1;
        return;
    }
    step->data = malloc(sizeof(value));
    if (!step->data)
        abort();
    step->length = sizeof(value);
    for (size_t i = 0; i < sizeof(value); i++)
        step->data[i] = (uint8_t)(value >> 8 * i);
}

static char *id_of(const struct device_settings *settings, size_t entry)
{
    return strdup(settings->characteristics[entry].id);
}

static void make_steps(struct sim *sim, const struct device_settings *settings,
                       const struct parts *parts, struct step_settings **ret_steps, size_t *ret_n,
                       unsigned depth);

static void make_repeat(struct sim *sim, const struct device_settings *settings,
                        const struct parts *parts, struct step_settings *step, unsigned depth)
{
    step->kind = STEP_KIND_REPEAT;
    step->time_ms = sim_between(sim, 200, 2000);
    step->max = sim_between(sim, 1, 4);
    if (parts->awaited != NO_CHARACTERISTIC && parts->written != NO_CHARACTERISTIC &&
        sim_chance(sim, 30)) {
        step->source = id_of(settings, parts->awaited);
        step->max = 20; /* enough for an answer to come */
    }
    make_steps(sim, settings, parts, &step->steps, &step->n_steps, depth + 1);
}

/* A wait follows a write, to which the peripheral answers by notifying. */
static void make_steps(struct sim *sim, const struct device_settings *settings,
                       const struct parts *parts, struct step_settings **ret_steps, size_t *ret_n,
                       unsigned depth)
{
    struct step_settings *steps = calloc(STEPS_IN_LIST, sizeof(*steps));
    size_t n = 0, wanted = 1 + sim_below(sim, 4);
    bool writes = depth && parts->written != NO_CHARACTERISTIC; /* what a repeat is for */

    if (!steps)
        abort();
    while (n < wanted) {
        struct step_settings *step = &steps[n++];
        unsigned kind = writes ? 0 : sim_below(sim, 8);

        writes = false;
        step->characteristic = NO_CHARACTERISTIC;
        if (kind < 3 && parts->written != NO_CHARACTERISTIC) {
            make_write(sim, parts, false, step);
            if (parts->awaited == NO_CHARACTERISTIC || !sim_chance(sim, 60))
                continue;
            steps[n] = (struct step_settings){.kind = STEP_KIND_WAIT,
                                              .characteristic = NO_CHARACTERISTIC,
                                              .source = id_of(settings, parts->awaited),
                                              .time_ms = sim_between(sim, 5000, 15000)};
            n++;
        } else if (kind < 5 && parts->read != NO_CHARACTERISTIC) {
            step->kind = STEP_KIND_READ;
            step->characteristic = parts->read;
        } else if (kind == 5 && depth < 2) {
            make_repeat(sim, settings, parts, step, depth);
        } else {
            step->kind = STEP_KIND_DELAY;
            step->time_ms = sim_spread(sim, 10, 3000);
        }
    }
    *ret_steps = steps;
    *ret_n = n;
}

/* ---- sequences ---- */

static void make_sequence(struct sim *sim, const struct device_settings *settings,
                          const struct parts *parts, struct sequence_settings *sequence)
{
    sequence->timeout_ms = sim_between(sim, 20000, 60000);
    make_steps(sim, settings, parts, &sequence->steps, &sequence->n_steps, 0);
}

/* Without long repeats: a healthy peer is through with it in 25 s. */
static void make_on_connect(struct sim *sim, const struct device_settings *settings,
                            const struct parts *parts, struct sequence_settings *sequence)
{
    sequence->timeout_ms = sim_between(sim, 30000, 60000);
    make_steps(sim, settings, parts, &sequence->steps, &sequence->n_steps, 2);
    if (sequence->n_steps == STEPS_IN_LIST || !sim_chance(sim, 30))
        return;
    struct step_settings *step = &sequence->steps[sequence->n_steps++];
    make_repeat(sim, settings, parts, step, 1);
    step->max = MIN_OF(step->max, (uint64_t)2);
    free(step->source);
    step->source = NULL;
}

/* A subscription that a step moves into on_connect comes first, or nothing could be awaited. */
static void subscribe_first(const struct parts *parts, struct sequence_settings *sequence)
{
    struct step_settings *steps = calloc(sequence->n_steps + 1, sizeof(*steps));

    if (!steps)
        abort();
    memcpy(steps + 1, sequence->steps, sequence->n_steps * sizeof(*steps));
    steps[0].kind = STEP_KIND_SUBSCRIBE;
    steps[0].characteristic = parts->awaited;
    free(sequence->steps);
    sequence->steps = steps;
    sequence->n_steps++;
}

static void make_commands(struct sim *sim, struct device_settings *settings,
                          const struct parts *parts)
{
    settings->n_commands = 2;
    settings->commands = calloc(settings->n_commands, sizeof(*settings->commands));
    if (!settings->commands)
        abort();
    for (size_t i = 0; i < settings->n_commands; i++) {
        struct command_settings *command = &settings->commands[i];
        char id[24];

        snprintf(id, sizeof(id), "c%zu", i);
        command->id = strdup(id);
        command->cancels = 1u << i | (sim_chance(sim, 30) ? 1u : 0u);
        make_sequence(sim, settings, parts, &command->sequence);
    }
    if (parts->written == NO_CHARACTERISTIC)
        return;
    /* the first one writes what it is given, once */
    struct command_settings *given = &settings->commands[0];
    sequence_settings_done(&given->sequence);
    given->sequence.timeout_ms = sim_between(sim, 20000, 60000);
    given->sequence.steps = calloc(2, sizeof(*given->sequence.steps));
    given->sequence.n_steps = 2;
    if (!given->sequence.steps)
        abort();
    given->sequence.steps[0].kind = STEP_KIND_DELAY;
    given->sequence.steps[0].characteristic = NO_CHARACTERISTIC;
    given->sequence.steps[0].time_ms = sim_spread(sim, 10, 2000);
    make_write(sim, parts, true, &given->sequence.steps[1]);
    given->parameters = sim_schema_number();
}

void sim_steps_make(struct sim *sim, const struct sim_device *device,
                    struct device_settings *settings)
{
    struct parts parts = find_parts(device, settings);

    if (sim_chance(sim, 40)) {
        make_on_connect(sim, settings, &parts, &settings->on_connect);
        if (parts.awaited != NO_CHARACTERISTIC && sim_chance(sim, 30))
            subscribe_first(&parts, &settings->on_connect);
    }
    if (sim_chance(sim, 40)) {
        make_sequence(sim, settings, &parts, &settings->poll);
        settings->poll.every_ms = sim_chance(sim, 30) ? 0 : sim_spread(sim, 5000, 600000);
    }
    if (sim_chance(sim, 30)) {
        make_sequence(sim, settings, &parts, &settings->keep_alive);
        settings->keep_alive.every_ms = sim_spread(sim, 5000, 60000);
    }
    if (sim_chance(sim, 60))
        make_commands(sim, settings, &parts);
}
