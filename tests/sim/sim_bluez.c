/*
 * BlueZ's objects: adapters, peripherals as they are heard and forgotten, discovery, power, and
 * method calls with their one answer each. Must not know what is wanted of the peripherals.
 */
#include "sim.h"

#include <stdio.h>
#include <string.h>

#define TEMPORARY_US S_TO_US(30) /* an object that was not heard for so long goes */

/* ---- finding ---- */

struct sim_radio *sim_radio_of_id(struct sim *sim, uint32_t id)
{
    for (size_t r = 0; id && r < N_RADIOS; r++)
        if (sim->radios[r].id == id)
            return &sim->radios[r];
    return NULL;
}

struct sim_object *sim_object_of_id(struct sim *sim, uint32_t id)
{
    for (size_t r = 0; id && r < N_RADIOS; r++)
        for (size_t d = 0; d < sim->n_devices; d++)
            if (sim->objects[r][d].id == id)
                return &sim->objects[r][d];
    return NULL;
}

bool sim_radio_works(const struct sim *sim, int radio)
{
    return sim->bluez_up && sim->radios[radio].id && sim->radios[radio].powered;
}

/* ---- calls ---- */

static struct sim_call *call_new(struct sim *sim, const struct action *action)
{
    for (size_t i = 0; i < N_CALLS_MAX; i++)
        if (!sim->calls[i].serial) {
            sim->calls[i] = (struct sim_call){.serial = ++sim->next_serial,
                                              .type = action->type,
                                              .op = action->op,
                                              .adapter = action->adapter,
                                              .device = action->device,
                                              .radio = NOBODY,
                                              .gatt = NOBODY};
            return &sim->calls[i];
        }
    sim_fail(sim, "more than %d calls at BlueZ", N_CALLS_MAX);
    return NULL;
}

struct sim_call *sim_call_find(struct sim *sim, uint64_t serial)
{
    for (size_t i = 0; serial && i < N_CALLS_MAX; i++)
        if (sim->calls[i].serial == serial)
            return &sim->calls[i];
    return NULL;
}

struct sim_call *sim_call_pending(struct sim *sim, enum action_type type,
                                  const struct sim_object *object)
{
    for (size_t i = 0; i < N_CALLS_MAX; i++)
        if (sim->calls[i].serial && sim->calls[i].type == type && sim->calls[i].object == object)
            return &sim->calls[i];
    return NULL;
}

static enum event_type answer_type(enum action_type type)
{
    switch ((int)type) {
    case ACTION_SCAN_START:
    case ACTION_SCAN_STOP: return EVENT_SCAN_RESULT;
    case ACTION_POWER: return EVENT_POWER_RESULT;
    case ACTION_CONNECT: return EVENT_CONNECT_RESULT;
    case ACTION_DISCONNECT: return EVENT_DISCONNECT_RESULT;
    case ACTION_RESOLVE: return EVENT_RESOLVE_RESULT;
    case ACTION_SUBSCRIBE:
    case ACTION_UNSUBSCRIBE: return EVENT_SUBSCRIBE_RESULT;
    case ACTION_READ: return EVENT_READ_RESULT;
    case ACTION_WRITE: return EVENT_WRITE_RESULT;
    case ACTION_INSPECT: return EVENT_INSPECT_RESULT;
    case ACTION_PAIR: return EVENT_PAIR_RESULT;
    default: return EVENT_REMOVE_RESULT;
    }
}

void sim_call_end_with(struct sim *sim, struct sim_call *call, struct event *event)
{
    enum bt_status status = event->result.status;
    struct sim_radio *radio = call->radio == NOBODY ? NULL : &sim->radios[call->radio];

    event->type = answer_type(call->type);
    event->op = call->op;
    event->adapter = call->adapter;
    event->device = call->device;
    if (call->type != ACTION_READ && call->type != ACTION_WRITE && call->type != ACTION_RESOLVE &&
        call->type != ACTION_INSPECT && call->type != ACTION_PAIR)
        event->asked.on = call->on;
    if (call->type == ACTION_READ)
        event->read.handle = call->handle;
    if (radio && radio->create == call->serial)
        radio->create = 0;
    /* a Disconnect ends the Connect that was there before it */
    if (call->object &&
        (call->type == ACTION_DISCONNECT ? call->object->connecting_until_us != TIME_NEVER
                                         : call->type == ACTION_CONNECT && status != BT_STATUS_OK))
        sim_check_over(sim, call->object);
    if (radio && call->type == ACTION_SCAN_START)
        radio->scan_told_failed = status != BT_STATUS_OK;
    if (radio && call->type == ACTION_POWER && call->on)
        radio->told_blocked = status == BT_STATUS_BLOCKED;
    sim_trace(sim, "answer to op %u.%u (device %u): %s", call->op.generation, call->op.id,
              call->device, bt_status_name(status));
    call->serial = 0;
    sim_emit(sim, event);
}

void sim_call_end(struct sim *sim, struct sim_call *call, enum bt_status status)
{
    struct event event = {.result.status = status};

    if (status == BT_STATUS_ATT_ERROR)
        event.result.att = 0x05;
    if (status == BT_STATUS_FAILED)
        event.result.text = "le-connection-abort-by-local";
    sim_call_end_with(sim, call, &event);
}

static void end_late(struct sim *sim, uint64_t serial, uint64_t status)
{
    struct sim_call *call = sim_call_find(sim, serial);

    if (call)
        sim_call_end(sim, call, (enum bt_status)status);
}

void sim_call_end_later(struct sim *sim, struct sim_call *call, enum bt_status status,
                        uint64_t delay_us)
{
    call->object = NULL;
    sim_schedule(sim, delay_us, end_late, call->serial, status);
}

static void end_all_of(struct sim *sim, const struct sim_object *object, int radio)
{
    uint64_t last = sim->next_serial;

    for (size_t i = 0; i < N_CALLS_MAX; i++) {
        struct sim_call *call = &sim->calls[i];
        if (call->serial && call->serial <= last &&
            (object ? call->object == object : call->radio == radio && !call->object))
            sim_call_end(sim, call, BT_STATUS_GONE);
    }
}

/* ---- adapters ---- */

size_t sim_radio_links(const struct sim *sim, int radio)
{
    size_t n = 0;

    for (size_t d = 0; d < sim->n_devices; d++)
        n += sim->objects[radio][d].connected;
    return n;
}

void sim_adapter_tell(struct sim *sim, struct sim_radio *radio)
{
    char name[16];

    snprintf(name, sizeof(name), "hci%u", radio->hci);
    struct event event = {
        .type = EVENT_ADAPTER,
        .adapter = radio->id,
        .adapter_info = {.adapter = radio->id,
                         .address = radio->address,
                         .name = name,
                         .powered = radio->powered,
                         .discovering = radio->discovering,
                         .links = sim_radio_links(sim, (int)(radio - sim->radios))}};
    sim_trace(sim, "adapter %u %s%s%s", radio->id, name, radio->powered ? " powered" : "",
              radio->discovering ? " discovering" : "");
    if (radio->powered) {
        radio->was_powered = true;
        radio->told_blocked = false;
    }
    if (sim->bluez_up)
        sim_emit(sim, &event);
}

static void listen(struct sim *sim)
{
    for (size_t d = 0; d < sim->n_devices; d++)
        sim_advertise(sim, (int)d);
}

void sim_radio_power(struct sim *sim, int r, bool on)
{
    struct sim_radio *radio = &sim->radios[r];
    bool adapter_first = sim_chance(sim, 50);

    if (radio->powered == on || !radio->plugged)
        return;
    radio->powered = on;
    radio->create = 0;
    if (!on) {
        radio->discovering = radio->deaf = false;
        if (adapter_first)
            sim_adapter_tell(sim, radio);
        for (size_t d = 0; d < sim->n_devices; d++) {
            struct sim_object *object = &sim->objects[r][d];
            struct sim_call *call = sim_call_pending(sim, ACTION_CONNECT, object);
            object->heard_us = 0;
            if (object->id && call)
                sim_call_end(sim, call,
                             sim_chance(sim, 50) ? BT_STATUS_FAILED : BT_STATUS_NOT_READY);
            if (object->connected)
                sim_link_down(sim, object);
            if (object->id && !object->permanent)
                sim_object_remove(sim, object);
        }
    }
    if (on || !adapter_first)
        sim_adapter_tell(sim, radio);
}

void sim_radio_unplug(struct sim *sim, int r)
{
    struct sim_radio *radio = &sim->radios[r];
    struct event event = {.type = EVENT_ADAPTER_GONE, .adapter = radio->id};

    if (!radio->plugged)
        return;
    radio->plugged = false;
    for (size_t d = 0; !radio->id && d < sim->n_devices; d++)
        sim_link_forget(sim, &sim->objects[r][d]);
    if (!radio->id)
        return;
    sim_trace(sim, "adapter %u is unplugged", radio->id);
    for (size_t d = 0; d < sim->n_devices; d++)
        if (sim->objects[r][d].id)
            sim_object_remove(sim, &sim->objects[r][d]);
    end_all_of(sim, NULL, r);
    radio->id = 0;
    radio->create = 0;
    radio->powered = radio->discovering = radio->was_powered = false;
    sim_emit(sim, &event);
}

static void add_radio(struct sim *sim, int r)
{
    struct sim_radio *radio = &sim->radios[r];

    radio->id = ++sim->next_id;
    radio->discovering = false;
    radio->scan_told_failed = radio->told_blocked = false;
    radio->scan_answer_us = 0;
    radio->was_powered = false;
    radio->idle_scan_us = 0;
}

void sim_radio_plug(struct sim *sim, int r)
{
    struct sim_radio *radio = &sim->radios[r];

    if (radio->plugged)
        return;
    radio->plugged = true;
    radio->hci = sim->radios[!r].plugged && sim->radios[!r].hci == 0 ? 1 : sim_below(sim, 3);
    if (sim->radios[!r].plugged && sim->radios[!r].hci == radio->hci)
        radio->hci = 7;
    radio->powered = sim_chance(sim, 70);
    if (!sim->bluez_up)
        return;
    add_radio(sim, r);
    sim_adapter_tell(sim, radio);
    for (size_t d = 0; d < sim->n_devices; d++)
        if (sim->objects[r][d].permanent)
            sim_object_make(sim, r, (int)d);
}

static void power_done(struct sim *sim, uint64_t serial, uint64_t status)
{
    struct sim_call *call = sim_call_find(sim, serial);

    if (!call)
        return;
    int r = call->radio;
    bool told_first = sim_chance(sim, 50);
    if (status == BT_STATUS_OK && told_first)
        sim_radio_power(sim, r, call->on);
    bool on = call->on;
    if (call->serial == serial)
        sim_call_end(sim, call, (enum bt_status)status);
    if (status == BT_STATUS_OK && !told_first && sim->radios[r].plugged)
        sim_radio_power(sim, r, on);
}

static void power(struct sim *sim, struct sim_call *call, const struct sim_radio *radio)
{
    enum bt_status status = BT_STATUS_OK;

    if (radio->blocked && call->on)
        status = BT_STATUS_BLOCKED;
    else if (!sim->quiet && sim_chance(sim, 20))
        status = sim_chance(sim, 50) ? BT_STATUS_FAILED : BT_STATUS_IN_PROGRESS;
    sim_schedule(sim, sim_between(sim, 1000, 800000), power_done, call->serial, status);
}

/* ---- discovery ---- */

static void scan_done(struct sim *sim, uint64_t serial, uint64_t status)
{
    struct sim_call *call = sim_call_find(sim, serial);

    if (!call)
        return;
    struct sim_radio *radio = &sim->radios[call->radio];
    bool on = call->on && radio->powered;
    if (call->on && status == BT_STATUS_OK && !radio->powered)
        status = BT_STATUS_NOT_READY;
    bool change = status == BT_STATUS_OK && radio->discovering != on;
    bool told_first = sim_chance(sim, 50);
    if (change)
        radio->discovering = on;
    if (change && told_first)
        sim_adapter_tell(sim, radio);
    sim_call_end(sim, call, (enum bt_status)status);
    if (change && !told_first && radio->id && radio->discovering == on)
        sim_adapter_tell(sim, radio);
    if (change && on)
        listen(sim);
}

static void scan(struct sim *sim, struct sim_call *call, const struct sim_radio *radio)
{
    enum bt_status status = BT_STATUS_OK;
    uint64_t delay = sim_between(sim, 1000, 200000);

    if (!radio->powered)
        status = call->on ? BT_STATUS_NOT_READY : BT_STATUS_FAILED;
    else if (call->on && radio->scan == SCAN_FAILS)
        status = BT_STATUS_FAILED;
    else if (call->on && radio->scan == SCAN_IN_PROGRESS)
        status = BT_STATUS_IN_PROGRESS;
    else if (radio->scan == SCAN_NO_REPLY) {
        status = BT_STATUS_TIMEOUT;
        delay = S_TO_US(15);
    }
    uint64_t *answer_us = &sim->radios[call->radio].scan_answer_us;
    *answer_us = MAX_OF(*answer_us, sim->now.mono_us + delay);
    sim_schedule(sim, *answer_us - sim->now.mono_us, scan_done, call->serial, status);
}

/* ---- objects ---- */

static void forget(struct sim *sim, uint64_t id, uint64_t b)
{
    struct sim_object *object = sim_object_of_id(sim, (uint32_t)id);

    if (!object || object->permanent)
        return;
    bool busy = object->connected || (sim_call_pending(sim, ACTION_CONNECT, object) &&
                                      !sim->devices[object->device].fleeting);
    uint64_t due = object->last_seen_us + TEMPORARY_US;
    if (!busy && due <= sim->now.mono_us)
        sim_object_remove(sim, object);
    else
        sim_schedule(sim, MAX_OF(due, sim->now.mono_us + S_TO_US(5)) - sim->now.mono_us, forget, id,
                     0);
}

void sim_object_make(struct sim *sim, int radio, int device)
{
    struct sim_object *object = &sim->objects[radio][device];
    bool permanent = object->permanent, connected = object->connected;

    *object = (struct sim_object){.id = ++sim->next_id,
                                  .radio = radio,
                                  .device = device,
                                  .permanent = permanent,
                                  .bonded = permanent && object->bonded,
                                  .connected = connected,
                                  .resolved = connected,
                                  .link = ++sim->next_link,
                                  .last_seen_us = sim->now.mono_us};
    if (!permanent)
        sim_schedule(sim, TEMPORARY_US, forget, object->id, 0);
    sim_object_tell(sim, object, false);
}

void sim_object_tell(struct sim *sim, struct sim_object *object, bool heard)
{
    const struct sim_device *device = &sim->devices[object->device];
    struct bt_uuid uuid = bt_uuid_from_u16(device->service);
    struct event event = {
        .type = EVENT_DEVICE, .adapter = sim->radios[object->radio].id, .device = object->id};

    event.device_info = (struct device_info){.adapter = event.adapter,
                                             .device = object->id,
                                             .address = device->address,
                                             .address_type = device->address_type,
                                             .name = device->name,
                                             .heard = heard,
                                             .rssi = RSSI_UNKNOWN,
                                             .connected = object->connected,
                                             .paired = object->bonded,
                                             .bonded = object->bonded,
                                             .services_resolved = object->resolved,
                                             .uuids = &uuid,
                                             .n_uuids = 1};
    if (heard) {
        event.device_info.rssi =
            (int16_t)(device->rssi - device->loss[object->radio] + (int)sim_below(sim, 7) - 3);
        object->last_seen_us = sim->now.mono_us;
        if (!sim_is_leaving(sim, (size_t)object->device)) /* then nobody else knows of it */
            object->heard_us = sim->now.mono_us;
    }
    sim_trace(sim, "device %u (d%d at adapter %u)%s%s", object->id, object->device, event.adapter,
              heard ? " heard" : "", object->connected ? " connected" : "");
    if (sim->bluez_up)
        sim_emit(sim, &event);
}

void sim_object_remove(struct sim *sim, struct sim_object *object)
{
    struct event link = {.type = EVENT_LINK,
                         .adapter = sim->radios[object->radio].id,
                         .device = object->id,
                         .link.connected = false};
    struct event gone = {.type = EVENT_DEVICE_GONE, .adapter = link.adapter, .device = object->id};
    bool was_connected = object->connected;

    sim_trace(sim, "device %u goes", object->id);
    object->going = true;
    sim_check_over(sim, object);
    sim_link_forget(sim, object);
    object->heard_us = 0;
    link.link.links = sim_radio_links(sim, object->radio);
    if (was_connected)
        sim_emit(sim, &link);
    end_all_of(sim, object, NOBODY);
    for (int c = 0; c < N_CHARS_MAX; c++)
        sim_gatt_remove(sim, object, c);
    object->id = 0;
    object->going = false;
    sim_emit(sim, &gone);
}

static void hear(struct sim *sim, int r, int d)
{
    struct sim_object *object = &sim->objects[r][d];

    if (object->id) {
        sim_object_tell(sim, object, true);
        return;
    }
    *object = (struct sim_object){
        .id = ++sim->next_id, .radio = r, .device = d, .link = ++sim->next_link};
    sim_schedule(sim, TEMPORARY_US, forget, object->id, 0);
    sim_object_tell(sim, object, true);
}

static void advert(struct sim *sim, uint64_t d, uint64_t b)
{
    struct sim_device *device = &sim->devices[d];
    bool listening = false;

    device->advertising = false;
    if (!device->present || device->linked)
        return;
    for (int r = 0; r < N_RADIOS; r++) {
        if (!sim_radio_works(sim, r) || !sim->radios[r].discovering)
            continue;
        listening = true;
        if (!sim->radios[r].create &&
            !sim->radios[r].deaf) /* the kernel pauses the scan to make a link */
            hear(sim, r, (int)d);
    }
    if (listening && !device->advertising) {
        device->advertising = true;
        sim_schedule(sim, sim_between(sim, device->interval_us / 2, device->interval_us), advert, d,
                     0);
    }
}

void sim_advertise(struct sim *sim, int d)
{
    struct sim_device *device = &sim->devices[d];

    if (device->advertising || !device->present || device->linked)
        return;
    device->advertising = true;
    sim_schedule(sim, sim_between(sim, 5000, device->interval_us), advert, (uint64_t)d, 0);
}

static void remove_done(struct sim *sim, uint64_t serial, uint64_t id)
{
    struct sim_call *call = sim_call_find(sim, serial);
    struct sim_object *object = sim_object_of_id(sim, (uint32_t)id);

    if (object) {
        object->permanent = object->bonded = false;
        sim_object_remove(sim, object);
    }
    if (call && call->serial == serial)
        sim_call_end(sim, call, object ? BT_STATUS_OK : BT_STATUS_GONE);
}

/* ---- actions ---- */

/* not long ago; it may have waited for the link to go down. Of a peer that is matched by a service,
 * for the device that it has found. */
static bool unpair_is_asked(const struct sim *sim, int device)
{
    for (size_t i = 0; i < sim->n_devices; i++) {
        uint64_t asked_us = sim->devices[i].unpair_us;
        if (asked_us && sim->now.mono_us - asked_us < S_TO_US(60) &&
            ((int)i == device || sim_check_device_of(sim, i) == device))
            return true;
    }
    return false;
}

static void adapter_action(struct sim *sim, struct sim_call *call, const struct action *action)
{
    struct sim_radio *radio = sim_radio_of_id(sim, action->adapter);

    if (!radio || !radio->plugged) {
        sim_call_end_later(sim, call, BT_STATUS_GONE, 0);
        return;
    }
    call->radio = (int)(radio - sim->radios);
    call->on =
        action->type == ACTION_SCAN_START || (action->type == ACTION_POWER && action->power.on);
    if (action->type == ACTION_POWER)
        power(sim, call, radio);
    else
        scan(sim, call, radio);
}

static void device_action(struct sim *sim, struct sim_call *call, const struct action *action)
{
    struct sim_object *object = sim_object_of_id(sim, action->device);

    if (!object || object->going || !sim->radios[object->radio].plugged) {
        sim_call_end_later(sim, call, BT_STATUS_GONE, 0);
        return;
    }
    call->object = object;
    call->radio = object->radio;
    call->on = action->type == ACTION_SUBSCRIBE;
    switch ((int)action->type) {
    case ACTION_CONNECT: sim_connect(sim, call); break;
    case ACTION_DISCONNECT: sim_disconnect(sim, call); break;
    case ACTION_RESOLVE: sim_resolve(sim, call); break;
    case ACTION_SUBSCRIBE: sim_subscribe(sim, call, action); break;
    case ACTION_UNSUBSCRIBE: sim_unsubscribe(sim, call, action); break;
    case ACTION_READ:
        call->handle = action->read.handle;
        sim_read(sim, call);
        break;
    case ACTION_WRITE: sim_write(sim, call, action); break;
    case ACTION_PAIR: sim_pair(sim, call); break;
    case ACTION_INSPECT: sim_inspect(sim, call); break;
    default:
        if (object->bonded && !unpair_is_asked(sim, object->device))
            sim_fail(sim, "the bond of d%d is thrown away, and nobody asked for it",
                     object->device);
        call->object = NULL; /* the answer survives it */
        sim_schedule(sim, sim_between(sim, 5000, 100000), remove_done, call->serial, object->id);
        break;
    }
}

static void tell_all(struct sim *sim, uint64_t a, uint64_t b)
{
    for (size_t d = 0; d < sim->n_devices; d++)
        for (int r = 0; r < N_RADIOS && sim->bluez_told && sim->bluez_up; r++)
            if (sim->objects[r][d].id && sim->radios[r].id)
                sim_object_tell(sim, &sim->objects[r][d], false);
}

void sim_bluez_action(struct sim *sim, const struct action *action)
{
    if (action->type == ACTION_TELL_DEVICES) {
        sim_schedule(sim, 0, tell_all, 0, 0);
        return;
    }
    struct sim_call *call = call_new(sim, action);
    if (!call)
        return;
    if (!sim->bluez_up)
        sim_call_end_later(sim, call, BT_STATUS_LOST, 0);
    else if (action->type == ACTION_SCAN_START || action->type == ACTION_SCAN_STOP ||
             action->type == ACTION_POWER)
        adapter_action(sim, call, action);
    else
        device_action(sim, call, action);
}

/* ---- the daemon ---- */

void sim_bluez_down(struct sim *sim, const char *reason, bool links_stay)
{
    struct event event = {.type = EVENT_BLUEZ_DOWN, .bluez_down.reason = reason};

    sim_trace(sim, "BlueZ is lost: %s, links %s", reason, links_stay ? "stay" : "go");
    for (size_t i = 0; i < N_CALLS_MAX; i++)
        sim->calls[i].serial = 0; /* no answers come */
    for (int r = 0; r < N_RADIOS; r++) {
        for (size_t d = 0; d < sim->n_devices; d++) {
            struct sim_object *object = &sim->objects[r][d];
            bool stays = links_stay && object->connected;
            if (!stays)
                sim_link_forget(sim, object);
            sim_check_over(sim, object);
            object->id = 0;
            object->link = ++sim->next_link;
            memset(object->gatt, 0, sizeof(object->gatt));
        }
        sim->radios[r].id = 0;
        sim->radios[r].create = 0;
        sim->radios[r].discovering = false;
    }
    sim->bluez_up = false;
    sim->bluez_reason = reason;
    sim_emit(sim, &event);
}

void sim_bluez_up(struct sim *sim)
{
    struct event event = {.type = EVENT_BLUEZ_UP, .bluez_up.version = "5.66"};

    sim_trace(sim, "BlueZ comes");
    sim->bluez_up = true;
    for (int r = 0; r < N_RADIOS; r++)
        if (sim->radios[r].plugged) {
            add_radio(sim, r);
            sim_adapter_tell(sim, &sim->radios[r]);
        }
    for (int r = 0; r < N_RADIOS; r++)
        for (size_t d = 0; sim->radios[r].id && d < sim->n_devices; d++)
            if (sim->objects[r][d].permanent || sim->objects[r][d].connected) {
                sim_object_make(sim, r, (int)d);
                if (sim->objects[r][d].connected && !sim->devices[d].present)
                    sim_link_fade(sim, &sim->objects[r][d]);
            }
    sim->bluez_told = true;
    sim_emit(sim, &event);
}
