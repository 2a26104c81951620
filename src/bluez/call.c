/* Operations from action to answer: at most so many on the bus, each answered once; see
 * internal.h. Must not know what the operations mean. */
#include "bluez/internal.h"

#include "util/log.h"
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

static void call_free(struct call *call)
{
    bluez_pairing_ends(call);
    sd_bus_message_unref(call->message);
    sd_bus_slot_unref(call->slot);
    free(call->text);
    free(call);
}

static bool action_on(const struct action *action)
{
    if (action->type == ACTION_POWER)
        return action->power.on;
    return action->type == ACTION_SCAN_START || action->type == ACTION_SUBSCRIBE;
}

struct call *bluez_call_new(struct bluez *bluez, const struct action *action)
{
    struct call *call = calloc(1, sizeof(*call));

    if (!call) {
        log_error("bluez", "out of memory: an operation is lost");
        return NULL;
    }
    call->bluez = bluez;
    call->serial = ++bluez->last_serial;
    call->type = action->type;
    call->op = action->op;
    call->adapter_id = action->adapter;
    call->device_id = action->device;
    call->on = action_on(action);
    call->passive = action->type == ACTION_SCAN_START && action->scan.passive;
    if (action->type == ACTION_READ)
        call->handle = action->read.handle;
    if (action->type == ACTION_PAIR) {
        call->pairing.has_passkey = action->pair.has_passkey;
        call->pairing.passkey = action->pair.passkey;
    }
    DL_APPEND(bluez->calls, call);
    return call;
}

int bluez_message_new(struct bluez *bluez, const char *path, const char *interface,
                      const char *member, sd_bus_message **ret_message)
{
    sd_bus_message *m;

    if (!bluez->bus)
        return -ENOTCONN;
    int r = sd_bus_message_new_method_call(bluez->bus, &m, bluez->service, path, interface, member);
    if (r < 0)
        return r;
    /* a bluetoothd that died is started on purpose only (bus.c) */
    r = sd_bus_message_set_auto_start(m, 0);
    if (r < 0) {
        sd_bus_message_unref(m);
        return r;
    }
    *ret_message = m;
    return 0;
}

int bluez_message_get(struct bluez *bluez, const char *path, const char *interface,
                      const char *property, sd_bus_message **ret_message)
{
    sd_bus_message *m;
    int r = bluez_message_new(bluez, path, PROPERTIES_INTERFACE, "Get", &m);

    if (r < 0)
        return r;
    r = sd_bus_message_append(m, "ss", interface, property);
    if (r < 0) {
        sd_bus_message_unref(m);
        return r;
    }
    *ret_message = m;
    return 0;
}

static enum errors_context context_of(const struct call *call)
{
    switch ((int)call->type) {
    case ACTION_CONNECT: return ERRORS_CONNECT;
    case ACTION_PAIR: return ERRORS_PAIR;
    default: return ERRORS_ANY;
    }
}

static void settle(struct call *call)
{
    if (call->state != CALL_STATE_SENT)
        return;
    call->slot = sd_bus_slot_unref(call->slot);
    call->bluez->n_outstanding--;
    call->state = CALL_STATE_NEW;
}

static void send_queued(struct bluez *bluez);

static int on_reply(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
    struct call *call = userdata;
    struct bluez *bluez = call->bluez;
    struct bt_result result = {.status = BT_STATUS_OK};
    const sd_bus_error *error = sd_bus_message_get_error(m);

    settle(call);
    if (error)
        result = errors_classify(context_of(call), error->name, error->message);
    /* a call that ended while it was read: its slot would be gone, so this is a live one */
    call->reply(call, result.status == BT_STATUS_OK && !error ? m : NULL, result);
    send_queued(bluez);
    return 0;
}

static void send_now(struct call *call)
{
    struct bluez *bluez = call->bluez;
    int r =
        sd_bus_call_async(bluez->bus, &call->slot, call->message, on_reply, call, call->timeout_us);

    call->message = sd_bus_message_unref(call->message);
    if (r < 0) {
        call->state = CALL_STATE_NEW;
        bluez_call_end_later(call, errors_from_errno(r));
        return;
    }
    call->state = CALL_STATE_SENT;
    bluez->n_outstanding++;
    if (call->is_read)
        bluez_gatt_read_begins(call->characteristic);
}

static bool has_room(const struct call *call)
{
    size_t max = call->urgent ? CALLS_URGENT_MAX : CALLS_OUTSTANDING_MAX;

    return call->bluez->n_outstanding < max;
}

static void send_queued(struct bluez *bluez)
{
    struct call *call, *next;

    DL_FOREACH_SAFE (bluez->calls, call, next) {
        if (bluez->n_outstanding >= CALLS_URGENT_MAX)
            break;
        if (call->state == CALL_STATE_QUEUED && has_room(call))
            send_now(call);
    }
}

void bluez_call_send(struct call *call, int error, sd_bus_message *message_take,
                     uint64_t timeout_us, call_reply_fn reply)
{
    if (error < 0) {
        sd_bus_message_unref(message_take);
        bluez_call_end_later(call, errors_from_errno(error));
        return;
    }
    call->message = message_take;
    call->timeout_us = timeout_us;
    call->reply = reply;
    call->state = CALL_STATE_QUEUED;
    if (has_room(call))
        send_now(call);
}

void bluez_call_park(struct call *call)
{
    call->state = CALL_STATE_WAITING;
}

struct event bluez_call_event(const struct call *call, struct bt_result result)
{
    struct event event = {
        .op = call->op,
        .adapter = call->adapter_id,
        .device = call->device_id,
        .result = result,
    };

    if (call->cancelled && event.result.status == BT_STATUS_FAILED)
        event.result.status = BT_STATUS_CANCELLED;
    switch ((int)call->type) {
    case ACTION_SCAN_START:
    case ACTION_SCAN_STOP: event.type = EVENT_SCAN_RESULT; break;
    case ACTION_POWER: event.type = EVENT_POWER_RESULT; break;
    case ACTION_CONNECT: event.type = EVENT_CONNECT_RESULT; break;
    case ACTION_DISCONNECT: event.type = EVENT_DISCONNECT_RESULT; break;
    case ACTION_RESOLVE: event.type = EVENT_RESOLVE_RESULT; break;
    case ACTION_SUBSCRIBE:
    case ACTION_UNSUBSCRIBE: event.type = EVENT_SUBSCRIBE_RESULT; break;
    case ACTION_READ:
        event.type = EVENT_READ_RESULT;
        event.read.handle = call->handle;
        return event;
    case ACTION_WRITE: event.type = EVENT_WRITE_RESULT; return event;
    case ACTION_PAIR: event.type = EVENT_PAIR_RESULT; return event;
    case ACTION_INSPECT: event.type = EVENT_INSPECT_RESULT; return event;
    default: event.type = EVENT_REMOVE_RESULT; return event;
    }
    if (event.type != EVENT_RESOLVE_RESULT)
        event.asked.on = call->on;
    return event;
}

static void leave_bus(struct call *call)
{
    struct bluez *bluez = call->bluez;
    bool was_read = call->state == CALL_STATE_SENT && call->is_read;

    settle(call);
    bluez_pairing_ends(call);
    call->message = sd_bus_message_unref(call->message);
    if (was_read)
        bluez_gatt_read_ends(bluez, call->characteristic, NULL, 0);
}

void bluez_call_end_with(struct call *call, const struct event *event)
{
    struct bluez *bluez = call->bluez;

    DL_DELETE(bluez->calls, call);
    bluez_emit(bluez, event);
    call_free(call);
}

void bluez_call_end(struct call *call, struct bt_result result)
{
    leave_bus(call);
    struct event event = bluez_call_event(call, result);
    bluez_call_end_with(call, &event);
}

void bluez_call_reply_end(struct call *call, sd_bus_message *reply, struct bt_result result)
{
    bluez_call_end(call, result);
}

void bluez_call_keep(struct call *call, struct bt_result result)
{
    char *text = result.text ? strdup(result.text) : NULL;

    free(call->text);
    call->text = text;
    call->result = result;
    call->result.text = text;
}

void bluez_call_end_later(struct call *call, struct bt_result result)
{
    struct bluez *bluez = call->bluez;

    leave_bus(call);
    DL_DELETE(bluez->calls, call);
    call->adapter = NULL;
    call->device = NULL;
    call->characteristic = NULL;
    call->state = CALL_STATE_DONE;
    bluez_call_keep(call, result);
    DL_APPEND(bluez->done, call);
    int r = sd_event_source_set_enabled(bluez->answers, SD_EVENT_ONESHOT);
    if (r < 0)
        log_error("bluez", "cannot answer: %s", strerrordesc_np(-r));
}

void bluez_calls_answer(struct bluez *bluez)
{
    struct call *done = bluez->done;

    /* what these answers cause is answered next time */
    bluez->done = NULL;
    while (done) {
        struct call *call = done;
        DL_DELETE(done, call);
        struct event event = bluez_call_event(call, call->result);
        bluez_emit(bluez, &event);
        call_free(call);
    }
}

/* Whoever is told of one end may begin or cancel others: so each search starts anew, and what was
 * begun after `last` is left alone. */
static struct call *find_dependent(struct bluez *bluez, uint64_t last, const void *object)
{
    struct call *call;

    DL_FOREACH (bluez->calls, call)
        if (call->serial <= last &&
            (call->adapter == object || call->device == object || call->characteristic == object))
            return call;
    return NULL;
}

static void end_dependent(struct bluez *bluez, const void *object)
{
    const struct bt_result gone = {.status = BT_STATUS_GONE, .text = "the object was removed"};
    uint64_t last = bluez->last_serial;
    struct call *call;

    while ((call = find_dependent(bluez, last, object)))
        bluez_call_end(call, gone);
    send_queued(bluez);
}

void bluez_calls_end_adapter(struct bluez *bluez, const struct adapter *adapter)
{
    end_dependent(bluez, adapter);
}

void bluez_calls_end_device(struct bluez *bluez, const struct device *device)
{
    end_dependent(bluez, device);
}

void bluez_calls_end_characteristic(struct bluez *bluez,
                                    const struct characteristic *characteristic)
{
    end_dependent(bluez, characteristic);
}

void bluez_calls_end_link(struct bluez *bluez, const struct device *device)
{
    const struct bt_result lost = {.status = BT_STATUS_NOT_CONNECTED, .text = "the link was lost"};
    struct call *call, *next;

    /* Connect and Disconnect are answered by BlueZ; StopNotify needs no link. */
    DL_FOREACH_SAFE (bluez->calls, call, next) {
        if (call->device != device)
            continue;
        if (call->type == ACTION_READ || call->type == ACTION_WRITE ||
            call->type == ACTION_SUBSCRIBE || call->type == ACTION_RESOLVE ||
            call->type == ACTION_INSPECT)
            bluez_call_end_later(call, lost);
    }
    send_queued(bluez);
}

void bluez_calls_cancel(struct bluez *bluez, const struct device *device)
{
    const struct bt_result cancelled = {.status = BT_STATUS_CANCELLED};
    struct call *call, *next;

    DL_FOREACH_SAFE (bluez->calls, call, next) {
        if (call->device != device)
            continue;
        if (call->type == ACTION_CONNECT)
            call->cancelled = true;
        else if (call->type == ACTION_RESOLVE)
            bluez_call_end_later(call, cancelled);
    }
}

void bluez_calls_drop(struct bluez *bluez)
{
    while (bluez->calls) {
        struct call *call = bluez->calls;
        DL_DELETE(bluez->calls, call);
        call_free(call);
    }
    while (bluez->done) {
        struct call *call = bluez->done;
        DL_DELETE(bluez->done, call);
        call_free(call);
    }
    bluez->n_outstanding = 0;
}
