/*
 * Characteristics: subscriptions that outlive the link, notifications that may come before anybody
 * was told of the subscription, reads and writes. Each notified value is a number that is used
 * once. Must not know topics.
 */
#include "sim.h"

#include <string.h>

uint16_t sim_gatt_handle(const struct sim *sim, const struct sim_object *object, int gatt)
{
    return (uint16_t)(0x10 + gatt * 4 + sim->devices[object->device].shift);
}

static int gatt_of_handle(const struct sim *sim, const struct sim_object *object, uint16_t handle)
{
    for (int c = 0; c < (int)sim->devices[object->device].n_chars; c++)
        if (!object->gatt[c].missing && sim_gatt_handle(sim, object, c) == handle)
            return c;
    return NOBODY;
}

/* ---- values ---- */

static void emit_value(struct sim *sim, struct sim_object *object, int c, uint32_t value,
                       size_t length)
{
    const struct sim_gatt *gatt = &object->gatt[c];
    const uint8_t bytes[4] = {(uint8_t)value, (uint8_t)(value >> 8), (uint8_t)(value >> 16),
                              (uint8_t)(value >> 24)};
    struct event event = {.type = EVENT_VALUE,
                          .adapter = sim->radios[object->radio].id,
                          .device = object->id,
                          .value = {.subscription = gatt->subscription,
                                    .peer = gatt->peer,
                                    .source = gatt->source,
                                    .data = bytes,
                                    .length = length}};

    sim->totals.notifications++;
    sim_trace(sim, "d%d c%d notifies %u (subscription %u)%s", object->device, c, value,
              gatt->subscription, length < 4 ? ", cut short" : "");
    size_t i = sim_position(sim, gatt->peer);
    if (length >= 4 && i != SIZE_MAX)
        sim_stream_expect(sim, object, c, (uint32_t)i, value);
    if (i != SIZE_MAX)
        sim->peers[i].value_us = sim->now.mono_us;
    sim->devices[object->device].chars[c].notified = length >= 4 ? value : 0;
    sim_emit(sim, &event);
}

void sim_gatt_notify(struct sim *sim, struct sim_object *object, int c, unsigned n)
{
    struct sim_char *characteristic = &sim->devices[object->device].chars[c];
    uint64_t link = object->link;

    while (n-- && object->link == link && object->connected && object->gatt[c].notifying) {
        uint32_t value = ++characteristic->sequence;
        if (object->gatt[c].active)
            emit_value(sim, object, c, value, sim_chance(sim, 1) ? 2 : 4);
    }
}

/* A late word about a subscription that is no more: nobody may take it for the present one's. */
void sim_gatt_late_value(struct sim *sim, const struct sim_object *object)
{
    static const uint8_t bytes[] = {0xff, 0xff, 0xff, 0x1f};

    for (size_t c = 0; c < N_CHARS_MAX; c++) {
        const struct sim_gatt *gatt = &object->gatt[c];
        struct event event = {.type = EVENT_VALUE,
                              .adapter = sim->radios[object->radio].id,
                              .device = object->id,
                              .value = {.subscription = gatt->subscription - 1,
                                        .peer = gatt->peer,
                                        .source = gatt->source,
                                        .data = bytes,
                                        .length = sizeof(bytes)}};
        if (!gatt->active)
            continue;
        sim_trace(sim, "d%d: a late value of subscription %u", object->device,
                  gatt->subscription - 1);
        sim_emit(sim, &event);
        return;
    }
}

static void tick(struct sim *sim, uint64_t link, uint64_t c)
{
    struct sim_object *object = sim_object_of_link(sim, link);

    if (!object || object->gatt[c].ticking != link)
        return;
    if (!object->connected || !object->gatt[c].notifying) {
        object->gatt[c].ticking = 0;
        return;
    }
    if (sim->devices[object->device].present)
        sim_gatt_notify(sim, object, (int)c, 1);
    uint64_t interval = sim->devices[object->device].chars[c].interval_us;
    sim_schedule(sim, sim_between(sim, interval / 2, interval * 3 / 2), tick, link, c);
}

/* The peripheral's configuration is written. */
static void begin(struct sim *sim, struct sim_object *object, int c)
{
    struct sim_gatt *gatt = &object->gatt[c];

    gatt->notifying = true;
    if (gatt->ticking == object->link)
        return;
    gatt->ticking = object->link;
    sim_schedule(sim, sim_between(sim, 0, sim->devices[object->device].chars[c].interval_us), tick,
                 object->link, (uint64_t)c);
}

static void again(struct sim *sim, uint64_t link, uint64_t c)
{
    struct sim_object *object = sim_object_of_link(sim, link);

    if (!object || !object->connected || !object->gatt[c].session || object->gatt[c].notifying)
        return;
    begin(sim, object, (int)c);
    if (sim_chance(sim, 50))
        sim_gatt_notify(sim, object, (int)c, 1 + sim_below(sim, 3));
}

/* BlueZ enables again, by itself, what was enabled on the link before. */
void sim_gatt_link_up(struct sim *sim, struct sim_object *object)
{
    for (size_t c = 0; c < N_CHARS_MAX; c++)
        if (object->gatt[c].session)
            sim_schedule(sim, sim_between(sim, 1000, 600000), again, object->link, c);
}

void sim_gatt_mute(struct sim *sim, struct sim_object *object)
{
    sim_trace(sim, "d%d falls silent", object->device);
    for (size_t c = 0; c < N_CHARS_MAX; c++)
        object->gatt[c].notifying = false;
}

/* ---- the end of a subscription ---- */

static void emit_lost(struct sim *sim, struct sim_object *object, int c)
{
    const struct sim_gatt *gatt = &object->gatt[c];
    struct event event = {
        .type = EVENT_SUBSCRIPTION_LOST,
        .adapter = sim->radios[object->radio].id,
        .device = object->id,
        .value = {.subscription = gatt->subscription, .peer = gatt->peer, .source = gatt->source}};

    sim_trace(sim, "d%d c%d: subscription %u ends", object->device, c, gatt->subscription);
    sim_emit(sim, &event);
}

/* Notifying goes false. */
void sim_gatt_lost(struct sim *sim, struct sim_object *object, int c)
{
    struct sim_gatt *gatt = &object->gatt[c];

    if (!object->connected || !gatt->active || !gatt->established)
        return;
    gatt->established = gatt->session = gatt->notifying = gatt->told = false;
    emit_lost(sim, object, c);
}

/* The characteristic's object goes. */
void sim_gatt_remove(struct sim *sim, struct sim_object *object, int c)
{
    struct sim_gatt *gatt = &object->gatt[c];
    bool active = gatt->active;

    gatt->told = gatt->established = gatt->session = gatt->notifying = false;
    gatt->missing = true;
    for (size_t i = 0; i < N_CALLS_MAX; i++)
        if (sim->calls[i].serial && sim->calls[i].object == object && sim->calls[i].gatt == c)
            sim_call_end(sim, &sim->calls[i], BT_STATUS_GONE);
    if (active && gatt->active)
        emit_lost(sim, object, c);
    *gatt = (struct sim_gatt){.missing = true};
}

static void tell_change(struct sim *sim, uint64_t link, uint64_t b)
{
    struct sim_object *object = sim_object_of_link(sim, link);
    struct event event = {.type = EVENT_SERVICES_CHANGED};

    if (!object)
        return;
    object->changing = false;
    if (!object->connected || !object->tree_told)
        return;
    object->tree_told = false;
    event.adapter = sim->radios[object->radio].id;
    event.device = object->id;
    sim_trace(sim, "d%d: the services have changed", object->device);
    sim_emit(sim, &event);
}

/* Service Changed: with other handles, or only with what was missing. */
void sim_gatt_change(struct sim *sim, struct sim_object *object, bool shift)
{
    if (!object->connected || !object->resolved)
        return;
    for (int r = 0; r < N_RADIOS; r++)
        for (int c = 0; c < N_CHARS_MAX; c++) {
            if (shift && sim->objects[r][object->device].id)
                sim_gatt_remove(sim, &sim->objects[r][object->device], c);
            sim->objects[r][object->device].gatt[c].missing = false;
        }
    if (shift)
        sim->devices[object->device].shift ^= 0x40;
    if (!object->id || !object->connected)
        return;
    if (!object->changing)
        sim_schedule(sim, 100000, tell_change, object->link, 0);
    object->changing = true;
}

/* ---- subscribing ---- */

static void subscribe_done(struct sim *sim, uint64_t serial, uint64_t status)
{
    struct sim_call *call = sim_call_find(sim, serial);

    if (!call || !call->object)
        return;
    struct sim_object *object = call->object;
    struct sim_gatt *gatt = &object->gatt[call->gatt];
    bool current = gatt->active && gatt->subscription == call->subscription;
    if (current && status == BT_STATUS_OK) {
        gatt->session = gatt->established = gatt->told = true;
        begin(sim, object, call->gatt);
    } else if (current && gatt->asked == serial && status != BT_STATUS_TIMEOUT &&
               status != BT_STATUS_IN_PROGRESS) {
        gatt->active = gatt->notifying = false;
    }
    sim_call_end(sim, call, (enum bt_status)status);
}

static void notify_early(struct sim *sim, uint64_t serial, uint64_t n)
{
    struct sim_call *call = sim_call_find(sim, serial);

    if (!call || !call->object)
        return;
    begin(sim, call->object, call->gatt);
    sim_gatt_notify(sim, call->object, call->gatt, (unsigned)n);
}

static enum bt_status refusal(struct sim *sim)
{
    static const enum bt_status refusals[] = {BT_STATUS_ATT_ERROR, BT_STATUS_NOT_PERMITTED,
                                              BT_STATUS_NOT_PAIRED, BT_STATUS_NOT_AUTHORIZED};

    return refusals[sim_below(sim, ARRAY_SIZE(refusals))];
}

void sim_subscribe(struct sim *sim, struct sim_call *call, const struct action *action)
{
    struct sim_object *object = call->object;
    enum subscribe_mode mode = sim->devices[object->device].subscribe;
    uint64_t delay = sim_between(sim, 10000, 300000);
    enum bt_status status = BT_STATUS_OK;

    call->gatt = gatt_of_handle(sim, object, action->subscribe.handle);
    if (call->gatt == NOBODY) {
        sim_call_end_later(sim, call, BT_STATUS_GONE, 0);
        return;
    }
    struct sim_gatt *gatt = &object->gatt[call->gatt];
    gatt->active = true;
    gatt->established = false;
    gatt->subscription = call->subscription = action->subscribe.subscription;
    gatt->asked = call->serial;
    gatt->peer = action->op.peer;
    gatt->source = action->subscribe.source;
    if (!object->connected) {
        sim_call_end_later(sim, call, BT_STATUS_NOT_CONNECTED, 1000);
        return;
    }
    if (mode == SUBSCRIBE_REFUSED)
        status = refusal(sim);
    else if (mode == SUBSCRIBE_FAILS)
        status = BT_STATUS_FAILED;
    else if (mode == SUBSCRIBE_IN_PROGRESS)
        status = BT_STATUS_IN_PROGRESS;
    if (mode == SUBSCRIBE_NO_REPLY) {
        status = BT_STATUS_TIMEOUT;
        delay = S_TO_US(35);
    }
    if (mode == SUBSCRIBE_EARLY || (status == BT_STATUS_OK && sim_chance(sim, 15)))
        sim_schedule(sim, delay / 2, notify_early, call->serial, 1 + sim_below(sim, 4));
    sim_schedule(sim, delay, subscribe_done, call->serial, status);
}

static void plain_done(struct sim *sim, uint64_t serial, uint64_t status)
{
    struct sim_call *call = sim_call_find(sim, serial);

    if (call)
        sim_call_end(sim, call, (enum bt_status)status);
}

void sim_unsubscribe(struct sim *sim, struct sim_call *call, const struct action *action)
{
    call->gatt = gatt_of_handle(sim, call->object, action->subscribe.handle);
    if (call->gatt == NOBODY) {
        sim_call_end_later(sim, call, BT_STATUS_GONE, 0);
        return;
    }
    struct sim_gatt *gatt = &call->object->gatt[call->gatt];
    if (gatt->subscription == action->subscribe.subscription)
        gatt->active = gatt->established = gatt->session = gatt->notifying = gatt->told = false;
    sim_schedule(sim, 20000, plain_done, call->serial, BT_STATUS_OK);
}

/* ---- reading and writing ---- */

/* may be published without having been read back or notified */
static void expect_assumed(struct sim *sim, const struct sim_call *call, uint32_t value)
{
    size_t i = sim_position(sim, call->op.peer);
    const struct device_settings *settings = &sim->settings.devices[i];
    struct bt_uuid uuid =
        bt_uuid_from_u16(sim->devices[call->object->device].chars[call->gatt].uuid);

    for (uint32_t e = 0; i != SIZE_MAX && e < settings->n_characteristics; e++)
        if (bt_uuid_equal(&settings->characteristics[e].uuid, &uuid))
            sim_stream_expect_optional(sim, (uint32_t)i, e, value);
}

/* What is read is published once, unless it only reads back what was written and has been notified,
 * and so published, meanwhile. */
static void expect_read(struct sim *sim, const struct sim_call *call, uint32_t value)
{
    const struct peer *peer = gateway_peer_at(sim->gateway, call->op.peer);
    const struct gatt_op *op = peer ? peer->op : NULL;
    size_t i = sim_position(sim, call->op.peer);
    const struct sim_char *characteristic = &sim->devices[call->object->device].chars[call->gatt];

    if (!op || op->id != call->op.id || i == SIZE_MAX)
        return; /* nobody waits for it any more */
    if (op->entry == NO_ENTRY)
        return; /* by UUID: for the answer only */
    if (!(op->read_back && characteristic->notified == value &&
          subscribe_is_wanted(&peer->entries[op->entry])))
        sim_stream_expect_one(sim, (uint32_t)i, op->entry, value);
}

static uint32_t read_value(struct sim *sim, const struct sim_call *call)
{
    struct sim_char *characteristic = &sim->devices[call->object->device].chars[call->gatt];
    uint32_t written = characteristic->written;

    characteristic->written = 0; /* each number once, but for the echo of a write */
    return written ? written : READ_MARK | ++sim->next_read;
}

static void answer_operation(struct sim *sim, struct sim_call *call, enum bt_status status)
{
    struct event event = {.result.status = status, .result.att = 0x0e};
    uint8_t bytes[4];

    if (status == BT_STATUS_OK && call->type == ACTION_READ) {
        uint32_t value = read_value(sim, call);
        for (int i = 0; i < 4; i++)
            bytes[i] = (uint8_t)(value >> 8 * i);
        event.read.data = bytes;
        event.read.length = sizeof(bytes);
        expect_read(sim, call, value);
    } else if (status == BT_STATUS_OK && (call->written || call->by_step) &&
               !(sim->devices[call->object->device].chars[call->gatt].flags & GATT_FLAG_READ)) {
        expect_assumed(sim, call, call->by_step ? call->by_step : call->written);
    }
    sim_call_end_with(sim, call, &event);
}

static void answer_steps(struct sim *sim, uint64_t link, uint64_t b)
{
    struct sim_object *object = sim_object_of_link(sim, link);

    for (int c = 0; object && c < N_CHARS_MAX && object->link == link; c++)
        sim_gatt_notify(sim, object, c, 1);
}

/* The peripheral notifies what was written, before or after it says that it is done; it answers to
 * a step by notifying something. */
static void operation_done(struct sim *sim, uint64_t serial, uint64_t status)
{
    struct sim_call *call = sim_call_find(sim, serial);

    if (!call || !call->object)
        return;
    struct sim_object *object = call->object;
    struct sim_char *characteristic = &sim->devices[object->device].chars[call->gatt];
    uint64_t link = object->link;
    bool well = status == BT_STATUS_OK && call->type == ACTION_WRITE;
    if (well && call->by_step)
        sim_schedule(sim, sim_between(sim, 1000, 900000), answer_steps, link, 0);
    if (well && call->written) {
        int c = call->gatt;
        uint32_t value = call->written;
        characteristic->written = value;
        if (object->gatt[c].active && object->gatt[c].notifying && sim_chance(sim, 60))
            emit_value(sim, object, c, value, 4);
        call = sim_call_find(sim, serial);
    }
    if (call && call->object)
        answer_operation(sim, call, (enum bt_status)status);
}

/* After 30 s without an answer BlueZ ends the link. */
static void att_timeout(struct sim *sim, uint64_t serial, uint64_t b)
{
    struct sim_call *call = sim_call_find(sim, serial);

    if (call && call->object)
        sim_link_down(sim, call->object);
}

static void operate(struct sim *sim, struct sim_call *call)
{
    enum operation_mode mode = sim->devices[call->object->device].operation;
    uint64_t delay = sim_between(sim, 8000, 200000);

    if (mode == OPERATION_SLOW)
        delay = sim_between(sim, S_TO_US(1), S_TO_US(28));
    if (mode == OPERATION_NO_REPLY) {
        sim_schedule(sim, S_TO_US(35), operation_done, call->serial, BT_STATUS_TIMEOUT);
        if (sim_chance(sim, 70))
            sim_schedule(sim, S_TO_US(30), att_timeout, call->serial, 0);
        return;
    }
    enum bt_status status = BT_STATUS_OK;
    if (mode == OPERATION_FAILS)
        status = sim_chance(sim, 50) ? BT_STATUS_FAILED : refusal(sim);
    sim_schedule(sim, delay, operation_done, call->serial, status);
}

void sim_read(struct sim *sim, struct sim_call *call)
{
    call->gatt = gatt_of_handle(sim, call->object, call->handle);
    if (call->gatt == NOBODY)
        sim_call_end_later(sim, call, BT_STATUS_GONE, 0);
    else if (!call->object->connected)
        sim_call_end_later(sim, call, BT_STATUS_NOT_CONNECTED, 1000);
    else
        operate(sim, call);
}

/* What a command wrote arrives once. */
static void arrived(struct sim *sim, uint32_t value)
{
    uint32_t command = value & ~WRITE_MARK;

    if ((value & (READ_MARK | WRITE_MARK | STEP_MARK)) == STEP_MARK)
        return;
    if ((value & (READ_MARK | WRITE_MARK | STEP_MARK)) != WRITE_MARK || command >= sim->n_commands)
        sim_fail(sim, "%u was written, and nobody asked for it", value);
    else if (++sim->commands[command].n_writes > 1)
        sim_fail(sim, "command %u was carried out twice", command);
}

void sim_write(struct sim *sim, struct sim_call *call, const struct action *action)
{
    uint32_t value = 0;

    call->gatt = gatt_of_handle(sim, call->object, action->write.handle);
    if (call->gatt == NOBODY) {
        sim_call_end_later(sim, call, BT_STATUS_GONE, 0);
        return;
    }
    if (!call->object->connected) {
        sim_call_end_later(sim, call, BT_STATUS_NOT_CONNECTED, 1000);
        return;
    }
    for (size_t i = 0; i < action->write.length && i < 4; i++)
        value |= (uint32_t)action->write.data[i] << 8 * i;
    if (action->write.length == 4) {
        arrived(sim, value);
        call->by_step = value & STEP_MARK ? value : 0;
        call->written = call->by_step ? 0 : value;
        sim->devices[call->object->device].chars[call->gatt].notified = 0;
    }
    operate(sim, call);
}
