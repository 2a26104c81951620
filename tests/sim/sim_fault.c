/*
 * What goes wrong: a list of faults, each with its own end, drawn at random moments. A run uses
 * some kinds only, so that rare meetings of few kinds happen, too.
 */
#include "sim.h"

#include <stdio.h>
#include <string.h>

typedef void (*fault_fn)(struct sim *sim);

static struct sim_object *some_linked(struct sim *sim)
{
    size_t first = sim_below(sim, (uint32_t)sim->n_devices);

    for (size_t i = 0; i < sim->n_devices; i++) {
        struct sim_device *device = &sim->devices[(first + i) % sim->n_devices];
        if (device->linked)
            return device->linked;
    }
    return NULL;
}

static uint64_t some_while(struct sim *sim)
{
    return sim_spread(sim, 100000, MIN_TO_US(5));
}

/* An end that belongs to a phase that is over does nothing: sim_heal() has ended it. */
static bool is_over(const struct sim *sim, uint64_t phase)
{
    return sim->quiet || phase != sim->totals.phases;
}

/* ---- peripherals ---- */

static void lose_link(struct sim *sim)
{
    struct sim_object *object = some_linked(sim);

    if (object)
        sim_link_down(sim, object);
}

static void return_device(struct sim *sim, uint64_t d, uint64_t phase)
{
    if (!is_over(sim, phase))
        sim_present(sim, (int)d, true);
}

static void remove_device(struct sim *sim)
{
    uint32_t d = sim_below(sim, (uint32_t)sim->n_devices);

    sim_present(sim, (int)d, false);
    sim_schedule(sim, some_while(sim), return_device, d, sim->totals.phases);
}

static void recover_device(struct sim *sim, uint64_t d, uint64_t phase)
{
    struct sim_device *device = &sim->devices[d];

    if (is_over(sim, phase))
        return;
    device->connect = CONNECT_GOOD;
    device->resolve = RESOLVE_GOOD;
    device->subscribe = SUBSCRIBE_GOOD;
    device->operation = OPERATION_GOOD;
    for (size_t r = 0; r < N_RADIOS; r++)
        sim_link_heal(sim, &sim->objects[r][d]);
}

static struct sim_device *some_device(struct sim *sim)
{
    uint32_t d = sim_below(sim, (uint32_t)sim->n_devices);

    sim_schedule(sim, some_while(sim), recover_device, d, sim->totals.phases);
    return &sim->devices[d];
}

static void spoil_connect(struct sim *sim)
{
    some_device(sim)->connect = (enum connect_mode)sim_below(sim, CONNECT_MODES);
}

static void spoil_resolve(struct sim *sim)
{
    some_device(sim)->resolve = (enum resolve_mode)sim_below(sim, RESOLVE_MODES);
}

static void spoil_subscribe(struct sim *sim)
{
    some_device(sim)->subscribe = (enum subscribe_mode)sim_below(sim, SUBSCRIBE_MODES);
}

static void spoil_operation(struct sim *sim)
{
    some_device(sim)->operation = (enum operation_mode)sim_below(sim, OPERATION_MODES);
}

static void end_subscription(struct sim *sim)
{
    struct sim_object *object = some_linked(sim);

    if (object)
        sim_gatt_lost(sim, object,
                      (int)sim_below(sim, (uint32_t)sim->devices[object->device].n_chars));
}

static void change_services(struct sim *sim)
{
    struct sim_object *object = some_linked(sim);

    if (object)
        sim_gatt_change(sim, object, true);
}

static void burst(struct sim *sim)
{
    struct sim_object *object = some_linked(sim);

    if (object)
        sim_gatt_notify(sim, object,
                        (int)sim_below(sim, (uint32_t)sim->devices[object->device].n_chars),
                        1 + sim_below(sim, 200));
}

static void late_value(struct sim *sim)
{
    const struct sim_object *object = some_linked(sim);

    if (object)
        sim_gatt_late_value(sim, object);
}

/* It goes on without notifying, and nobody says so. */
static void mute(struct sim *sim)
{
    struct sim_object *object = some_linked(sim);

    if (object)
        sim_gatt_mute(sim, object);
}

/* Another program connects to it, or takes its link away. */
static void meddle(struct sim *sim)
{
    uint32_t d = sim_below(sim, (uint32_t)sim->n_devices), r = sim_below(sim, N_RADIOS);
    struct sim_object *object = &sim->objects[r][d];

    if (object->id && sim->devices[d].present && sim_radio_works(sim, (int)r))
        sim_link_foreign(sim, object);
}

/* Another program removes the object. */
static void forget_object(struct sim *sim)
{
    uint32_t d = sim_below(sim, (uint32_t)sim->n_devices), r = sim_below(sim, N_RADIOS);
    struct sim_object *object = &sim->objects[r][d];

    if (!object->id)
        return;
    object->permanent = false;
    sim_object_remove(sim, object);
}

/* ---- adapters ---- */

static void power_again(struct sim *sim, uint64_t r, uint64_t phase)
{
    if (is_over(sim, phase))
        return;
    sim->radios[r].blocked = false;
    if (sim->bluez_up)
        sim_radio_power(sim, (int)r, true);
}

static void power_off(struct sim *sim)
{
    uint32_t r = sim_below(sim, N_RADIOS);

    if (!sim->bluez_up || !sim->radios[r].id)
        return;
    sim->radios[r].blocked = sim_chance(sim, 30);
    sim_radio_power(sim, (int)r, false);
    sim_schedule(sim, some_while(sim), power_again, r, sim->totals.phases);
}

static void plug_again(struct sim *sim, uint64_t r, uint64_t phase)
{
    if (!is_over(sim, phase))
        sim_radio_plug(sim, (int)r);
}

static void unplug(struct sim *sim)
{
    uint32_t r = sim_below(sim, N_RADIOS);

    if (!sim->radios[r].plugged) {
        sim_radio_plug(sim, (int)r);
        return;
    }
    sim_radio_unplug(sim, (int)r);
    sim_schedule(sim, some_while(sim), plug_again, r, sim->totals.phases);
}

static void scan_again(struct sim *sim, uint64_t r, uint64_t phase)
{
    if (!is_over(sim, phase))
        sim->radios[r].scan = SCAN_GOOD;
}

static void spoil_scan(struct sim *sim)
{
    uint32_t r = sim_below(sim, N_RADIOS);

    sim->radios[r].scan = (enum scan_mode_fault)sim_below(sim, SCAN_MODES);
    if (sim->radios[r].scan == SCAN_GOOD) /* it can be started, but hears nobody */
        sim->radios[r].deaf = true;
    sim_schedule(sim, some_while(sim), scan_again, r, sim->totals.phases);
}

static void end_scan(struct sim *sim)
{
    struct sim_radio *radio = &sim->radios[sim_below(sim, N_RADIOS)];

    if (!radio->id || !radio->discovering)
        return;
    radio->discovering = false;
    sim_adapter_tell(sim, radio);
}

/* ---- the daemon, the broker ---- */

static void bluez_again(struct sim *sim, uint64_t a, uint64_t phase)
{
    if (!is_over(sim, phase) && !sim->bluez_up)
        sim_bluez_up(sim);
}

static void end_bluez(struct sim *sim)
{
    static const char *const reasons[] = {"no_bus", "no_bluez", "no_bluez", "access_denied"};

    if (!sim->bluez_up)
        return;
    sim_bluez_down(sim, reasons[sim_below(sim, ARRAY_SIZE(reasons))], sim_chance(sim, 30));
    sim_schedule(sim, sim_spread(sim, 50000, MIN_TO_US(3)), bluez_again, 0, sim->totals.phases);
}

static void broker_again(struct sim *sim, uint64_t a, uint64_t phase)
{
    if (is_over(sim, phase) || sim->broker_up)
        return;
    if (sim_chance(sim, 30)) { /* not yet */
        sim_broker_down(sim);
        sim_schedule(sim, some_while(sim), broker_again, 0, phase);
    } else {
        sim_broker_up(sim);
    }
}

static void end_broker(struct sim *sim)
{
    if (!sim->broker_up)
        return;
    sim_broker_down(sim);
    sim_schedule(sim, some_while(sim), broker_again, 0, sim->totals.phases);
}

static void thaw(struct sim *sim, uint64_t connection, uint64_t phase)
{
    if (is_over(sim, phase) || connection != sim->connection || !sim->frozen)
        return;
    if (sim_chance(sim, 50))
        sim_broker_thaw(sim);
    else
        end_broker(sim);
}

static void freeze_broker(struct sim *sim)
{
    if (!sim->broker_up || sim->frozen)
        return;
    sim->frozen = true;
    sim_schedule(sim, sim_spread(sim, 100000, S_TO_US(60)), thaw, sim->connection,
                 sim->totals.phases);
}

/* Another gateway with the same file comes, claims some of the devices, and goes. */
static void end_rival(struct sim *sim)
{
    if (!sim->rival)
        return;
    sim_trace(sim, "the other gateway goes");
    sim->rival = false;
    sim_say(sim, SIM_RIVAL_STATUS, "offline");
}

static void rival_goes(struct sim *sim, uint64_t a, uint64_t phase)
{
    if (!is_over(sim, phase))
        end_rival(sim);
}

static void rival(struct sim *sim)
{
    char topic[48];

    if (!sim->rival) {
        sim_trace(sim, "another gateway comes");
        sim->rival = true;
        sim_say(sim, SIM_RIVAL_STATUS, "online");
        sim_rival_comes(sim);
        sim_schedule(sim, some_while(sim), rival_goes, 0, sim->totals.phases);
    }
    for (size_t i = 0; i < sim->n_devices; i++)
        if (sim_chance(sim, 50)) {
            snprintf(topic, sizeof(topic), "g/d%zu/status/link", i);
            sim_say(sim, topic, "{\"gateway\":\"attic\"}");
            sim_rival_claims(sim, i);
        }
}

static void refuse(struct sim *sim)
{
    sim->refusing = !sim->refusing;
}

/* The clock of the day is set. */
static void set_clock(struct sim *sim)
{
    int64_t by = (int64_t)sim_spread(sim, 1000, S_TO_US(86400));

    sim->now.real_us += sim_chance(sim, 50) || by > sim->now.real_us ? by : -by;
}

static const fault_fn faults[] = {
    lose_link,
    remove_device,
    spoil_connect,
    spoil_resolve,
    spoil_subscribe,
    spoil_operation,
    end_subscription,
    change_services,
    burst,
    meddle,
    forget_object,
    power_off,
    unplug,
    spoil_scan,
    end_scan,
    end_bluez,
    end_broker,
    freeze_broker,
    refuse,
    set_clock,
    lose_link,
    remove_device,
    mute,
    sim_reload,
    rival,
    late_value,
};

static void fault(struct sim *sim, uint64_t phase, uint64_t b)
{
    if (is_over(sim, phase) || sim->stopping)
        return;
    size_t kind = sim_below(sim, ARRAY_SIZE(faults));
    if (sim->fault_kinds >> kind & 1) {
        sim->totals.faults++;
        faults[kind](sim);
    }
    sim_schedule(sim, sim_between(sim, 0, sim->fault_mean_us * 2), fault, phase, 0);
}

static void command(struct sim *sim, uint64_t a, uint64_t b)
{
    if (sim->stopping)
        return;
    for (unsigned n = sim_chance(sim, 3) ? 40 : 1; n; n--)
        sim_command(sim);
    sim_schedule(sim, sim_between(sim, 0, sim->command_mean_us * 2), command, 0, 0);
}

void sim_fault_again(struct sim *sim)
{
    sim->fault_mean_us = sim_spread(sim, S_TO_US(1), S_TO_US(60));
    sim_schedule(sim, sim_between(sim, 0, sim->fault_mean_us), fault, sim->totals.phases, 0);
}

void sim_fault_start(struct sim *sim)
{
    sim->fault_kinds = sim_chance(sim, 30) ? UINT64_MAX : sim_random(sim);
    sim->command_mean_us = sim_spread(sim, S_TO_US(2), S_TO_US(120));
    sim->bluez_reason = "starting";
    sim->radios[0].plugged = sim_chance(sim, 90);
    sim->radios[0].powered = sim_chance(sim, 80);
    sim->radios[1].plugged = sim_chance(sim, 30);
    sim->radios[1].powered = sim_chance(sim, 50);
    sim->radios[1].hci = 1;
    if (sim_chance(sim, 20))
        sim_bluez_down(sim, "no_bluez", false);
    sim_schedule(sim, sim_between(sim, 0, S_TO_US(3)), bluez_again, 0, 0);
    sim_schedule(sim, sim_between(sim, 0, S_TO_US(5)), broker_again, 0, 0);
    sim_schedule(sim, sim_between(sim, 0, sim->command_mean_us), command, 0, 0);
}

/* ---- the end of all faults ---- */

static void heal_radios(struct sim *sim)
{
    sim_radio_plug(sim, 0);
    for (int r = 0; r < N_RADIOS; r++) {
        struct sim_radio *radio = &sim->radios[r];
        radio->blocked = radio->deaf = false;
        radio->scan = SCAN_GOOD;
        bool left_to_core =
            sim->settings.bluetooth.power_on && !radio->was_powered && sim_chance(sim, 70);
        if (radio->plugged && !(left_to_core && sim_radio_selected(sim, r)))
            sim_radio_power(sim, r, true);
    }
}

static void heal_devices(struct sim *sim)
{
    for (size_t d = 0; d < sim->n_devices; d++) {
        struct sim_device *device = &sim->devices[d];
        device->connect = CONNECT_GOOD;
        device->resolve = RESOLVE_GOOD;
        device->subscribe = SUBSCRIBE_GOOD;
        device->operation = OPERATION_GOOD;
        sim_present(sim, (int)d, device->present || sim_chance(sim, 85));
        for (size_t r = 0; r < N_RADIOS; r++)
            if (sim->objects[r][d].id)
                sim_link_heal(sim, &sim->objects[r][d]);
    }
}

/* Nobody else holds a peripheral by an adapter that is not for it. */
static void end_foreign_links(struct sim *sim)
{
    for (int r = 0; r < N_RADIOS; r++)
        for (size_t d = 0; d < sim->n_devices; d++) {
            bool served = false;
            for (size_t i = 0; i < sim->n_devices; i++)
                served |= sim_check_device_of(sim, i) == (int)d && sim_radio_serves(sim, i, r);
            if (sim->objects[r][d].connected && !served)
                sim_link_down(sim, &sim->objects[r][d]);
        }
}

void sim_heal(struct sim *sim)
{
    heal_devices(sim);
    if (!sim->bluez_up)
        sim_bluez_up(sim);
    heal_radios(sim);
    end_foreign_links(sim);
    end_rival(sim);
    sim->refusing = false;
    sim->ack_us = 4000;
    sim_broker_thaw(sim);
    sim_broker_up(sim);
    sim_resume_all(sim);
}
