/*
 * Links: Connect and all that it may come to, Disconnect, and when the services are known. What
 * BlueZ is seen to do stands in notes on it; each mode of failing is one of those. Must not know
 * who asked, or why.
 */
#include "sim.h"

#define ATTEMPT_US    S_TO_US(40) /* the kernel's limit for a peer that does not answer */
#define NO_REPLY_US   S_TO_US(60) /* the caller's own */
#define RESOLVE_MAX_S 5

static const uint16_t mtus[] = {0, 23, 185, 247, 517};

/* ---- the link itself ---- */

static void resolved(struct sim *sim, uint64_t link, uint64_t b);

struct sim_object *sim_object_of_link(struct sim *sim, uint64_t link)
{
    for (size_t r = 0; r < N_RADIOS; r++)
        for (size_t d = 0; d < sim->n_devices; d++)
            if (sim->objects[r][d].id && sim->objects[r][d].link == link)
                return &sim->objects[r][d];
    return NULL;
}

void sim_link_up(struct sim *sim, struct sim_object *object)
{
    struct sim_device *device = &sim->devices[object->device];
    struct event event = {.type = EVENT_LINK,
                          .adapter = sim->radios[object->radio].id,
                          .device = object->id,
                          .link.connected = true};

    if (!object->id || object->connected || device->linked || !sim_radio_works(sim, object->radio))
        return;
    object->connected = true;
    object->resolved = object->tree_told = object->told_resolved = object->changing = false;
    object->permanent |= !device->fleeting;
    object->link = ++sim->next_link;
    device->linked = object;
    sim_check_over(sim, object);
    for (size_t c = 0; c < N_CHARS_MAX && device->resolve != RESOLVE_PARTIAL; c++)
        object->gatt[c].missing = false;
    if (device->resolve == RESOLVE_PARTIAL)
        for (size_t c = sim_below(sim, (uint32_t)device->n_chars); c < device->n_chars; c++)
            for (int r = 0; r < N_RADIOS; r++) /* what the one shows, the other shows */
                sim_gatt_remove(sim, &sim->objects[r][object->device], (int)c);
    if (device->resolve != RESOLVE_NEVER)
        sim_schedule(sim,
                     device->resolve == RESOLVE_SLOW
                         ? sim_between(sim, S_TO_US(5), S_TO_US(45))
                         : sim_spread(sim, 50000, S_TO_US(RESOLVE_MAX_S)),
                     resolved, object->link, 0);
    sim_gatt_link_up(sim, object);
    sim_trace(sim, "device %u (d%d) is linked", object->id, object->device);
    event.link.links = sim_radio_links(sim, object->radio);
    sim_emit(sim, &event);
}

void sim_link_forget(struct sim *sim, struct sim_object *object)
{
    struct sim_device *device = &sim->devices[object->device];

    object->link = ++sim->next_link;
    if (!object->connected)
        return;
    object->connected = object->resolved = object->tree_told = object->told_resolved = false;
    object->heard_us = 0;
    object->last_seen_us = sim->now.mono_us;
    for (size_t c = 0; c < N_CHARS_MAX; c++)
        object->gatt[c].notifying = object->gatt[c].told = false;
    device->linked = NULL;
    sim_advertise(sim, object->device);
}

/* What waits for the link is answered right before or right after the word that it is gone. */
static void end_calls(struct sim *sim, struct sim_object *object, bool at_once)
{
    for (size_t i = 0; i < N_CALLS_MAX; i++) {
        struct sim_call *call = &sim->calls[i];

        if (!call->serial || call->object != object ||
            (call->type != ACTION_READ && call->type != ACTION_WRITE &&
             call->type != ACTION_SUBSCRIBE && call->type != ACTION_RESOLVE))
            continue;
        if (at_once)
            sim_call_end(sim, call, BT_STATUS_NOT_CONNECTED);
        else
            sim_call_end_later(sim, call, BT_STATUS_NOT_CONNECTED, 0);
    }
}

void sim_link_down(struct sim *sim, struct sim_object *object)
{
    struct event event = {.type = EVENT_LINK,
                          .adapter = sim->radios[object->radio].id,
                          .device = object->id,
                          .link.connected = false};

    if (!object->connected)
        return;
    if (sim_chance(sim, 20))
        end_calls(sim, object, true);
    if (!object->connected)
        return;
    sim_link_forget(sim, object);
    end_calls(sim, object, false);
    sim_trace(sim, "device %u (d%d) has lost its link", object->id, object->device);
    event.link.links = sim_radio_links(sim, object->radio);
    sim_emit(sim, &event);
    sim_pair_link_down(sim, object);
}

static void link_down_job(struct sim *sim, uint64_t link, uint64_t b)
{
    struct sim_object *object = sim_object_of_link(sim, link);

    if (object)
        sim_link_down(sim, object);
}

/* ---- Connect ---- */

static void answer_connect(struct sim *sim, uint64_t serial, uint64_t status)
{
    struct sim_call *call = sim_call_find(sim, serial);

    if (call)
        sim_call_end(sim, call, call->cancelled ? BT_STATUS_CANCELLED : (enum bt_status)status);
}

/* The link stands. The answer and the word of it come in any order. */
static void make_link(struct sim *sim, struct sim_call *call)
{
    struct sim_object *object = call->object;
    struct sim_device *device = &sim->devices[object->device];
    bool flash = device->connect == CONNECT_FLASH;
    uint64_t serial = call->serial;

    sim->radios[object->radio].create = 0;
    call->waits = false;
    if (sim_chance(sim, 30) && !flash) {
        sim_call_end(sim, call, BT_STATUS_OK);
        sim_link_up(sim, object);
        return;
    }
    sim_link_up(sim, object);
    if (flash)
        sim_schedule(sim, sim_between(sim, 0, 400000), link_down_job, object->link, 0);
    if (sim_chance(sim, 50))
        answer_connect(sim, serial, BT_STATUS_OK);
    else
        sim_schedule(sim, sim_between(sim, 0, 300000), answer_connect, serial,
                     flash && sim_chance(sim, 50) ? BT_STATUS_FAILED : BT_STATUS_OK);
}

static void attempt(struct sim *sim, uint64_t serial, uint64_t b)
{
    struct sim_call *call = sim_call_find(sim, serial);

    if (!call || call->cancelled || !call->object)
        return;
    struct sim_device *device = &sim->devices[call->object->device];
    if (device->present && !device->linked && sim_radio_works(sim, call->object->radio)) {
        make_link(sim, call);
    } else {
        call->waits = true;
        sim->radios[call->object->radio].create = 0;
    }
}

static void late_link(struct sim *sim, uint64_t link, uint64_t b)
{
    struct sim_object *object = sim_object_of_link(sim, link);

    if (!object || !sim->devices[object->device].present)
        return;
    sim_link_foreign(sim, object);
    if (object->connected && sim_chance(sim, 50))
        sim_schedule(sim, sim_between(sim, 0, S_TO_US(2)), link_down_job, object->link, 0);
}

void sim_link_foreign(struct sim *sim, struct sim_object *object)
{
    sim_link_up(sim, object);
    struct sim_call *call = sim_call_pending(sim, ACTION_CONNECT, object);
    if (object->connected && call) /* ours is done with it, too */
        sim_schedule(sim, sim_between(sim, 0, 300000), answer_connect, call->serial, BT_STATUS_OK);
}

static void object_gone_job(struct sim *sim, uint64_t serial, uint64_t b)
{
    struct sim_call *call = sim_call_find(sim, serial);

    if (!call || !call->object)
        return;
    call->object->permanent = false;
    if (sim_chance(sim, 50)) { /* the answer first, or with the object */
        struct sim_object *object = call->object;
        object->heard_us = 0;
        sim_call_end(sim, call, BT_STATUS_GONE);
        if (object->id)
            sim_object_remove(sim, object);
    } else {
        sim_object_remove(sim, call->object);
    }
}

static void connect_badly(struct sim *sim, struct sim_call *call, enum connect_mode mode)
{
    uint64_t soon = sim_between(sim, 20000, S_TO_US(4));

    switch (mode) {
    case CONNECT_NO_LINK:
        sim_schedule(sim, soon, answer_connect, call->serial, BT_STATUS_OK);
        break;
    case CONNECT_IN_PROGRESS:
        sim_schedule(sim, 5000, answer_connect, call->serial, BT_STATUS_IN_PROGRESS);
        break;
    case CONNECT_REFUSED:
        sim_schedule(sim, soon, answer_connect, call->serial, BT_STATUS_AUTH_FAILED);
        break;
    case CONNECT_NOT_READY:
        sim_schedule(sim, 5000, answer_connect, call->serial, BT_STATUS_NOT_READY);
        break;
    case CONNECT_GONE: sim_schedule(sim, soon, object_gone_job, call->serial, 0); break;
    case CONNECT_LATE:
        sim_schedule(sim, soon, answer_connect, call->serial, BT_STATUS_FAILED);
        sim_schedule(sim, soon + sim_between(sim, 1000, S_TO_US(3)), late_link, call->object->link,
                     0);
        break;
    case CONNECT_NO_REPLY:
        sim_schedule(sim, NO_REPLY_US, answer_connect, call->serial, BT_STATUS_TIMEOUT);
        break;
    case CONNECT_HANGS: break;
    case CONNECT_GOOD:
    case CONNECT_FLASH:
    case CONNECT_FAILS:
    case CONNECT_MODES:
        sim_schedule(sim, soon, answer_connect, call->serial, BT_STATUS_FAILED);
        break;
    }
}

/* one that was not cancelled */
static bool is_connecting(const struct sim *sim, const struct sim_call *call)
{
    for (size_t i = 0; i < N_CALLS_MAX; i++)
        if (sim->calls[i].serial && sim->calls[i].type == ACTION_CONNECT &&
            sim->calls[i].object == call->object && &sim->calls[i] != call)
            return true;
    return false;
}

void sim_connect(struct sim *sim, struct sim_call *call)
{
    struct sim_object *object = call->object;
    struct sim_device *device = &sim->devices[object->device];
    struct sim_radio *radio = &sim->radios[object->radio];
    enum connect_mode mode = sim_chance(sim, 80) ? device->connect : CONNECT_GOOD;

    if (!sim->quiet && sim_chance(sim, 3))
        mode = (enum connect_mode)sim_below(sim, CONNECT_MODES);
    if (!radio->powered) {
        sim_schedule(sim, 3000, answer_connect, call->serial, BT_STATUS_NOT_READY);
        return;
    }
    if (is_connecting(sim, call)) {
        sim_schedule(sim, 3000, answer_connect, call->serial, BT_STATUS_IN_PROGRESS);
        return;
    }
    if (object->connected) {
        sim_schedule(sim, 3000, answer_connect, call->serial, BT_STATUS_OK);
        return;
    }
    sim_schedule(sim, ATTEMPT_US, answer_connect, call->serial, BT_STATUS_FAILED);
    if (mode == CONNECT_GOOD || mode == CONNECT_FLASH) {
        if (device->present)
            radio->create = call->serial;
        sim_schedule(sim, sim_spread(sim, 40000, S_TO_US(2)), attempt, call->serial, 0);
    } else {
        connect_badly(sim, call, mode);
    }
}

/* supervision timeout */
void sim_link_fade(struct sim *sim, struct sim_object *object)
{
    sim_schedule(sim, sim_between(sim, 420000, S_TO_US(6)), link_down_job, object->link, 0);
}

/* Who waits for it in the kernel gets it. */
void sim_present(struct sim *sim, int d, bool present)
{
    struct sim_device *device = &sim->devices[d];

    if (device->present == present)
        return;
    sim_trace(sim, "d%d %s", d, present ? "is back" : "is out of reach");
    device->present = present;
    if (!present) {
        if (device->linked)
            sim_link_fade(sim, device->linked);
        return;
    }
    sim_advertise(sim, d);
    for (size_t r = 0; r < N_RADIOS; r++) {
        struct sim_call *call = sim_call_pending(sim, ACTION_CONNECT, &sim->objects[r][d]);
        if (call && call->waits)
            sim_schedule(sim, sim_between(sim, 50000, S_TO_US(2)), attempt, call->serial, 0);
    }
}

/* ---- Disconnect ---- */

static void disconnect_linked(struct sim *sim, struct sim_call *call)
{
    uint64_t delay = sim_between(sim, 1700000, 2300000);

    sim_schedule(sim, delay, link_down_job, call->object->link, 0);
    sim_schedule(sim, delay + sim_below(sim, 400000) - 200000, answer_connect, call->serial,
                 BT_STATUS_OK);
}

static void disconnect_won(struct sim *sim, uint64_t serial, uint64_t b)
{
    struct sim_call *call = sim_call_find(sim, serial);

    if (!call || !call->object)
        return;
    struct sim_call *connect = sim_call_pending(sim, ACTION_CONNECT, call->object);
    if (connect)
        sim_call_end(sim, connect, BT_STATUS_CANCELLED);
    if (call->serial == serial && call->object)
        sim_link_down(sim, call->object);
    answer_connect(sim, serial, BT_STATUS_OK);
}

void sim_disconnect(struct sim *sim, struct sim_call *call)
{
    struct sim_object *object = call->object;
    struct sim_call *connect = sim_call_pending(sim, ACTION_CONNECT, object);
    struct sim_call *resolve = sim_call_pending(sim, ACTION_RESOLVE, object);

    object->connecting_until_us = sim->now.mono_us + MS_TO_US(DISCONNECT_MS);
    if (resolve)
        sim_call_end_later(sim, resolve, BT_STATUS_CANCELLED, 0);
    if (!sim->quiet && sim_chance(sim, 4)) {
        bool fails = sim_chance(sim, 50);
        sim_schedule(sim, fails ? 5000 : S_TO_US(15), answer_connect, call->serial,
                     fails ? BT_STATUS_FAILED : BT_STATUS_TIMEOUT);
        if (!connect || fails)
            return;
        connect->cancelled = true;
        sim_schedule(sim, 20000, answer_connect, connect->serial, BT_STATUS_CANCELLED);
        return;
    }
    if (object->connected) {
        disconnect_linked(sim, call);
        return;
    }
    if (!connect) {
        object->link = ++sim->next_link; /* what was still to come comes no more */
        sim_schedule(sim, sim_between(sim, 1000, 20000), answer_connect, call->serial,
                     BT_STATUS_OK);
        return;
    }
    if (sim_chance(sim, 15) && sim->devices[object->device].present &&
        sim->devices[object->device].connect == CONNECT_GOOD) {
        /* the Connect was faster: its link comes now and goes with the Disconnect */
        sim_schedule(sim, 1000, attempt, connect->serial, 0);
        sim_schedule(sim, 2000000, disconnect_won, call->serial, 0);
        return;
    }
    connect->cancelled = true;
    sim->radios[object->radio].create = 0;
    uint64_t delay = sim_between(sim, 5000, 60000);
    sim_schedule(sim, delay, answer_connect, connect->serial, BT_STATUS_CANCELLED);
    sim_schedule(sim, delay + sim_below(sim, 20000), answer_connect, call->serial, BT_STATUS_OK);
}

/* ---- the services ---- */

static void answer_tree(struct sim *sim, struct sim_call *call)
{
    struct sim_object *object = call->object;
    const struct sim_device *device = &sim->devices[object->device];
    struct gatt_characteristic list[N_CHARS_MAX];
    struct event event = {.result.status = BT_STATUS_OK};
    size_t n = 0;

    if (device->resolve == RESOLVE_FAILS || device->resolve == RESOLVE_EMPTY) {
        sim_call_end(sim, call,
                     device->resolve == RESOLVE_FAILS ? BT_STATUS_FAILED : BT_STATUS_NO_SERVICES);
        return;
    }
    for (int c = 0; c < (int)device->n_chars; c++)
        if (!object->gatt[c].missing)
            list[n++] =
                (struct gatt_characteristic){.service = bt_uuid_from_u16(device->service),
                                             .uuid = bt_uuid_from_u16(device->chars[c].uuid),
                                             .service_handle = 1,
                                             .handle = sim_gatt_handle(sim, object, c),
                                             .flags = device->chars[c].flags};
    if (!n) {
        sim_call_end(sim, call, BT_STATUS_NO_SERVICES);
        return;
    }
    object->tree_told = object->told_resolved = true;
    event.resolved.characteristics = list;
    event.resolved.n_characteristics = n;
    event.resolved.mtu = mtus[sim_below(sim, ARRAY_SIZE(mtus))];
    sim_call_end_with(sim, call, &event);
}

/* after the barrier */
static void answer_resolve(struct sim *sim, uint64_t serial, uint64_t b)
{
    struct sim_call *call = sim_call_find(sim, serial);

    if (!call || !call->object || !call->object->connected)
        return;
    if (call->object->resolved)
        answer_tree(sim, call);
    else
        call->waits = true;
}

static void resolved(struct sim *sim, uint64_t link, uint64_t b)
{
    struct sim_object *object = sim_object_of_link(sim, link);

    if (!object || !object->connected || object->resolved)
        return;
    object->resolved = true;
    struct sim_call *call = sim_call_pending(sim, ACTION_RESOLVE, object);
    if (call && call->waits) {
        call->waits = false;
        sim_schedule(sim, sim_between(sim, 2000, 50000), answer_resolve, call->serial, 0);
    }
}

/* nothing holds the services back any more */
void sim_link_heal(struct sim *sim, struct sim_object *object)
{
    bool missing = false;

    if (!object->connected)
        return;
    if (!object->resolved)
        sim_schedule(sim, sim_between(sim, 50000, S_TO_US(RESOLVE_MAX_S)), resolved, object->link,
                     0);
    for (size_t c = 0; c < sim->devices[object->device].n_chars; c++)
        missing |= object->gatt[c].missing;
    if (missing && object->resolved)
        sim_gatt_change(sim, object, false);
    for (size_t c = 0; c < N_CHARS_MAX; c++)
        object->gatt[c].missing = false;
    sim_gatt_link_up(sim, object); /* it notifies what it is to notify */
}

void sim_resolve(struct sim *sim, struct sim_call *call)
{
    if (!call->object->connected) {
        sim_call_end_later(sim, call, BT_STATUS_NOT_CONNECTED, 0);
        return;
    }
    if (call->object->resolved)
        sim_schedule(sim, sim_between(sim, 2000, 50000), answer_resolve, call->serial, 0);
    else
        call->waits = true;
}

static void answer_inspect(struct sim *sim, uint64_t serial, uint64_t b)
{
    struct sim_call *call = sim_call_find(sim, serial);
    struct gatt_attribute list[N_CHARS_MAX + 1] = {
        {.kind = GATT_ATTRIBUTE_SERVICE, .handle = 1, .primary = true}};
    size_t n = 1;

    if (!call || !call->object || !call->object->connected)
        return;
    struct sim_object *object = call->object;
    for (size_t c = 0; c < sim->devices[object->device].n_chars; c++)
        if (!object->gatt[c].missing)
            list[n++] = (struct gatt_attribute){.kind = GATT_ATTRIBUTE_CHARACTERISTIC,
                                                .handle = sim_gatt_handle(sim, object, (int)c),
                                                .flags = GATT_FLAG_READ};
    struct event event = {.inspected = {.attributes = list, .n_attributes = n}};
    sim_call_end_with(sim, call, &event);
}

void sim_inspect(struct sim *sim, struct sim_call *call)
{
    if (call->object->connected)
        sim_schedule(sim, sim_between(sim, 2000, 50000), answer_inspect, call->serial, 0);
    else
        sim_call_end_later(sim, call, BT_STATUS_NOT_CONNECTED, 0);
}
