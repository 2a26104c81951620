/*
 * A peer's GATT operations: bounded, first in first out, one at a time (ATT allows no more, and
 * BlueZ refuses a second one on the same characteristic). While the peer is away an operation waits
 * for its queue timeout; nothing is replayed: what was on its way when the link was lost is
 * answered as lost.
 */
#include "core/world.h"

#include "core/json.h"
#include "util/cleanup.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct gatt_op *ops_free(struct gatt_op *op)
{
    if (!op)
        return NULL;
    command_free(op->command);
    free(op->asked);
    free(op);
    return NULL;
}

void ops_fail(struct peer *peer, struct gatt_op *op, const char *code, uint8_t att,
              const char *format, ...)
{
    char text[256];
    va_list ap;

    va_start(ap, format);
    vsnprintf(text, sizeof(text), format, ap);
    va_end(ap);
    command_answer_error(peer->gateway, TAKE_PTR(op->command), code, att, "%s", text);
    if (op->step)
        step_operation(peer, op->step, code, att, text);
}

static void append(struct peer *peer, struct gatt_op *op)
{
    struct gatt_op **link = &peer->ops;

    while (*link)
        link = &(*link)->next;
    *link = op;
    peer->n_ops++;
}

static void prepend(struct peer *peer, struct gatt_op *op)
{
    op->next = peer->ops;
    peer->ops = op;
    peer->n_ops++;
}

struct gatt_op *ops_new(enum op_kind kind, uint32_t entry, const uint8_t *data, size_t length)
{
    struct gatt_op *op = malloc(sizeof(*op) + length);

    if (!op)
        return NULL;
    *op = (struct gatt_op){.kind = kind,
                           .entry = entry,
                           .wanted = TRI_AUTO,
                           .queue_us = TIME_NEVER,
                           .answer_us = TIME_NEVER,
                           .length = length};
    if (length)
        memcpy(op->data, data, length);
    return op;
}

/* behind what others wait for, but before what nobody does */
static void append_command(struct peer *peer, struct gatt_op *op)
{
    struct gatt_op **link = &peer->ops;

    while (*link && ((*link)->command || (*link)->step))
        link = &(*link)->next;
    op->next = *link;
    *link = op;
    peer->n_ops++;
}

/* False: not now, and that was answered. */
static bool may_wait(struct peer *peer, const struct gatt_op *op, struct command *command)
{
    struct gateway *gateway = peer->gateway;

    if (hold_is_disabled(peer))
        command_answer_error(gateway, command, gateway->stopping ? "cancelled" : "disabled", 0,
                             "%s", peer->why);
    else if (peer->state != PEER_STATE_ONLINE && !(command && command_queue_ms(peer, command)))
        command_answer_error(gateway, command, "not_connected", 0, "not connected: %s", peer->why);
    else if (peer->n_ops >= OPS_MAX)
        command_answer_error(gateway, command, "queue_full", 0,
                             "%d operations are waiting for this device already", OPS_MAX);
    else if (!op)
        command_answer_error(gateway, command, "internal", 0, "out of memory");
    else
        return true;
    return false;
}

void ops_enqueue(struct peer *peer, struct gatt_op *op, struct command *command)
{
    if (!may_wait(peer, op, command)) {
        ops_free(op);
        return;
    }
    bool asked = command != NULL;
    op->command = command;
    if (asked) {
        op->waits_link = peer->state != PEER_STATE_ONLINE;
        op->queue_us = command_queue_until(peer, command, !op->waits_link);
        gateway_arm(peer->gateway, op->queue_us);
        append_command(peer, op);
    } else {
        append(peer, op);
    }
    if (peer->state == PEER_STATE_ONLINE)
        ops_run(peer);
    else
        contact_begin(peer);
    if (asked || peer->op || peer->ops) /* a poll that comes to nothing holds no link */
        contact_activity(peer);
}

/* a read that waits and that nobody asked for */
static struct gatt_op *find_read(struct peer *peer, uint32_t entry)
{
    for (struct gatt_op *op = peer->ops; op; op = op->next)
        if (op->kind == OP_KIND_READ && op->entry == entry && !op->command && !op->step)
            return op;
    return NULL;
}

void ops_read(struct peer *peer, uint32_t entry, struct command *command)
{
    if (!command && find_read(peer, entry))
        return; /* a poll need not wait twice */
    ops_enqueue(peer, ops_new(OP_KIND_READ, entry, NULL, 0), command);
}

void ops_step(struct peer *peer, enum op_kind kind, uint32_t entry, const uint8_t *data,
              size_t length, uint32_t number)
{
    struct gatt_op *op = ops_new(kind, entry, data, length);

    if (!op) {
        step_operation(peer, number, "internal", 0, "out of memory");
        return;
    }
    op->step = number;
    if (peer->configured)
        append(peer, op);
    else
        prepend(peer, op); /* what people asked for waits until it is online */
    ops_run(peer);
}

void ops_drop_step(struct peer *peer, uint32_t number)
{
    for (struct gatt_op **link = &peer->ops; *link;) {
        struct gatt_op *op = *link;

        if (op->step != number) {
            link = &op->next;
            continue;
        }
        *link = op->next;
        peer->n_ops--;
        ops_free(op);
    }
}

void ops_write(struct peer *peer, uint32_t entry, const uint8_t *data, size_t length,
               enum tri response, struct command *command)
{
    struct gatt_op *op = ops_new(OP_KIND_WRITE, entry, data, length);

    if (op)
        op->wanted = response;
    ops_enqueue(peer, op, command);
}

/* ---- running ---- */

/* A stream of frames is written in packets of ATT_MTU - 3 (Vol 3 Part F 3.4.5); others as a whole,
 * which BlueZ makes a long write if need be. */
static size_t packet_length(const struct peer *peer, const struct gatt_op *op)
{
    size_t left = op->length - op->sent;

    if (op->entry == NO_ENTRY || !peer->entries[op->entry].settings->framed)
        return left;
    return MIN_OF(left, (peer->mtu > 3 ? peer->mtu : ATT_MTU_LEAST) - 3u);
}

static void issue(struct peer *peer, struct gatt_op *op)
{
    static const enum action_type types[] = {[OP_KIND_READ] = ACTION_READ,
                                             [OP_KIND_WRITE] = ACTION_WRITE,
                                             [OP_KIND_SUBSCRIBE] = ACTION_SUBSCRIBE};
    struct gateway *gateway = peer->gateway;
    enum op_kind kind = op->fetching ? OP_KIND_READ : op->kind;
    struct action *action = actions_add(gateway->actions, types[kind]);

    op->id = gateway_next_op(gateway);
    op->deadline_us = gateway_in(gateway, OP_MS);
    gateway_arm(gateway, op->deadline_us);
    if (op->answer_us == TIME_NEVER && op->command && op->command->timeout_ms) {
        op->answer_us = gateway_in(gateway, op->command->timeout_ms);
        gateway_arm(gateway, op->answer_us);
    }
    action->op = (struct op){peer->index, peer->generation, op->id};
    action->adapter = peer->adapter;
    action->device = peer->device;
    if (kind == OP_KIND_WRITE && op->entry != NO_ENTRY) {
        peer->entries[op->entry].echo.written = true;
        peer->entries[op->entry].echo.notified = false;
    }
    if (kind == OP_KIND_SUBSCRIBE) {
        peer_ask_subscription(peer, peer->entries[op->entry].source, action);
        return;
    }
    if (kind == OP_KIND_READ) {
        action->read.handle = op->handle;
        return;
    }
    size_t length = packet_length(peer, op);
    action->write.handle = op->handle;
    action->write.data = actions_copy(gateway->actions, op->data + op->sent, length);
    action->write.length = action->write.data ? length : 0;
    action->write.response = op->response;
}

/* where it goes and what it is, a reading before it; false: it ends here, and who asked was told */
static bool prepare(struct peer *peer, struct gatt_op *op)
{
    if (!op->asked || peer->entries[op->entry].source == NO_SOURCE)
        return target_check(peer, op);
    op->fetching = !op->fetched && merge_must_read(peer, op);
    op->fetched |= op->fetching;
    return op->fetching || (merge_encode(peer, op) && target_check(peer, op));
}

/* online; before that, only what on_connect does */
static bool may_run(const struct peer *peer)
{
    return peer->state == PEER_STATE_ONLINE ||
           (peer->state == PEER_STATE_CONFIGURING && !peer->configured && peer->ops->step);
}

void ops_run(struct peer *peer)
{
    while (!peer->op && peer->ops && may_run(peer)) {
        struct gatt_op *op = peer->ops;

        peer->ops = op->next;
        peer->n_ops--;
        op->next = NULL;
        if (op->command && op->command->expires_us <= peer->gateway->now.mono_us) {
            command_answer_late(peer, TAKE_PTR(op->command));
            ops_free(op);
            continue;
        }
        if (!prepare(peer, op)) {
            ops_free(op);
            continue;
        }
        peer->op = op;
        issue(peer, op);
    }
}

/* ---- answers ---- */

/* what a command's `data` shows: the fields of the value, which is one of the entry `as` (NO_ENTRY:
 * its bytes) */
static void answer_value(struct peer *peer, struct gatt_op *op, uint32_t as, const uint8_t *data,
                         size_t length)
{
    const struct schema *schema = as == NO_ENTRY ? NULL : peer->entries[as].settings->schema;
    _cleanup_(strbuf_done) struct strbuf json = STRBUF_INIT;
    struct value values[SCHEMA_MAX_FIELDS];
    size_t field = 0;

    if (!op->command)
        return;
    if (schema) {
        int error = codec_decode(schema, data, length, values, &field);
        if (error) {
            char text[160];
            codec_explain(schema, error, field, length, text, sizeof(text));
            command_answer_error(peer->gateway, TAKE_PTR(op->command), "invalid_value", 0,
                                 "the peer's value does not fit the fields: %s", text);
            return;
        }
    }
    payload_write(&json, PAYLOAD_JSON, schema, schema ? values : NULL, data, length,
                  peer->gateway->now.real_us, false);
    command_answer_ok(peer->gateway, TAKE_PTR(op->command), &json);
}

/* What the peer made of a value is what counts. */
bool ops_can_read_back(const struct peer *peer, const struct gatt_op *op)
{
    return op->flags & GATT_FLAG_READ && peer->entries[op->entry].settings->readable;
}

/* ... or what it notifies: then there is nothing to assume */
void ops_publish_assumed(struct peer *peer, const struct gatt_op *op, size_t length)
{
    const struct entry *entry = &peer->entries[op->entry];
    /* the peer's services may have changed since: there may be no source any more */
    bool notified = entry->source != NO_SOURCE && peer->sources[entry->source].subscribed;

    peer->entries[op->entry].echo.written = false; /* nothing is to be read back */
    if (!notified && !entry->settings->n_messages) /* messages are what comes back */
        publish_value(peer, op->entry, op->data, length, PUBLISH_ASSUMED);
}

void ops_read_back(struct peer *peer, uint32_t entry)
{
    struct gatt_op *op = find_read(peer, entry);

    if (!op) {
        op = ops_new(OP_KIND_READ, entry, NULL, 0);
        if (!op)
            return;
        append(peer, op);
    }
    op->read_back = true;
    ops_run(peer);
}

static void read_back(struct peer *peer, const struct gatt_op *op, size_t length)
{
    if (ops_can_read_back(peer, op)) {
        struct gatt_op *back = ops_new(OP_KIND_READ, op->entry, NULL, 0);
        if (back) {
            back->read_back = true;
            prepend(peer, back);
        }
    } else {
        ops_publish_assumed(peer, op, length);
    }
}

static void wrote(struct peer *peer, struct gatt_op *op)
{
    size_t length = op->length;

    if (op->entry != NO_ENTRY)
        length = frame_body(peer->entries[op->entry].settings, op->data, op->length);
    peer->gateway->counts.writes++;
    if (op->entry == NO_ENTRY || !peer->entries[op->entry].settings->framed)
        merge_learn(peer, op->handle, op->data, op->length);
    if (!op->response)
        merge_doubt(peer, op->handle);
    if (op->response) {
        answer_value(peer, op, op->entry, op->data, length);
    } else {
        _cleanup_(strbuf_done) struct strbuf json = STRBUF_INIT;
        strbuf_puts(&json, "{\"confirmed\":false}");
        command_answer_ok(peer->gateway, TAKE_PTR(op->command), &json);
    }
    if (op->step)
        step_wrote(peer, op, length);
    else if (op->entry != NO_ENTRY)
        read_back(peer, op, length);
}

static void was_read(struct peer *peer, struct gatt_op *op, const uint8_t *data, size_t length)
{
    bool echo = op->read_back && publish_is_echo(peer, op->entry, data, length);
    uint32_t as = NO_ENTRY;

    peer->gateway->counts.reads++;
    merge_learn(peer, op->handle, data, length);
    if (op->read_back)
        peer->entries[op->entry].echo.written = false; /* before what follows: the next write */
    if (op->entry != NO_ENTRY) {
        if (!echo)
            publish_value(peer, op->entry, data, length,
                          op->command || op->read_back ? PUBLISH_ANYWAY : PUBLISH_BY_RULES);
        as = publish_entry(peer, op->entry, data, length);
    }
    answer_value(peer, op, as, data, length);
}

/* A write that was on its way, and whose answer does not say whether it was done. */
static void doubt(struct peer *peer, const struct gatt_op *op)
{
    if (op->kind == OP_KIND_WRITE && !op->fetching)
        merge_doubt(peer, op->handle);
}

static bool is_unreadable(const struct bt_result *result)
{
    return result->status == BT_STATUS_NOT_PERMITTED || result->status == BT_STATUS_NOT_SUPPORTED ||
           (result->status == BT_STATUS_ATT_ERROR && result->att == ATT_READ_NOT_PERMITTED);
}

/* The reading before a write has ended; false: badly, and the operation with it. */
static bool fetched(struct peer *peer, struct gatt_op *op, const struct event *event)
{
    bool read = event->result.status == BT_STATUS_OK;
    uint32_t entry = op->entry;

    if (!read && !is_unreadable(&event->result))
        return false;
    if (read) {
        peer->gateway->counts.reads++;
        merge_learn(peer, op->handle, event->read.data, event->read.length);
    }
    if (op->command && prepare(peer, op)) { /* who asked may not wait any more */
        peer->op = op;
        issue(peer, op);
    } else {
        ops_free(op);
    }
    if (read) /* last: what follows from it may end the link */
        publish_value(peer, entry, event->read.data, event->read.length, PUBLISH_BY_RULES);
    return true;
}

static void refused(struct peer *peer, struct gatt_op *op, const struct bt_result *result)
{
    enum command_kind kind =
        op->kind == OP_KIND_READ || op->fetching ? COMMAND_KIND_GET : COMMAND_KIND_SET;
    const char *text;
    const char *code = command_explain_status(kind, result, &text);

    if (op->kind == OP_KIND_SUBSCRIBE && result->status == BT_STATUS_NOT_PERMITTED)
        code = "not_authorized";
    if (!op->command && !op->step)
        actions_log(peer->gateway->actions, LOG_LEVEL_WARNING, peer->log_area,
                    "reading %s failed: %s", target_name(peer, op), text);
    if (result->status != BT_STATUS_ATT_ERROR)
        doubt(peer, op);
    ops_fail(peer, op, code, result->status == BT_STATUS_ATT_ERROR ? result->att : 0, "%s%s",
             op->fetching ? "the fields that are not given cannot be read: " : "", text);
}

void ops_result(struct peer *peer, const struct event *event)
{
    struct gatt_op *op = peer->op;
    bool kept_alive = op && op->step && step_keeps_alive(peer);

    if (!op || op->id != event->op.id) {
        peer->gateway->counts.stale_answers++;
        return;
    }
    peer->op = NULL;
    if (op->fetching && fetched(peer, op, event)) {
        ops_run(peer);
        contact_activity(peer);
        return;
    }
    if (event->result.status != BT_STATUS_OK) {
        refused(peer, op, &event->result);
    } else if (op->kind == OP_KIND_READ) {
        was_read(peer, op, event->read.data, event->read.length);
    } else if (op->kind == OP_KIND_SUBSCRIBE) {
        subscribe_confirmed(peer, op);
    } else if (op->sent + packet_length(peer, op) < op->length) {
        op->sent += packet_length(peer, op);
        if (target_check(peer, op)) {
            peer->op = op;
            issue(peer, op);
            return;
        }
        op->step = 0; /* target_check() has told it */
    } else {
        wrote(peer, op);
    }
    if (op->step && event->result.status == BT_STATUS_OK)
        step_operation(peer, op->step, NULL, 0, NULL);
    ops_free(op);
    ops_run(peer);
    if (!kept_alive || peer->linger_us == TIME_NEVER)
        contact_activity(peer);
}

void ops_link_lost(struct peer *peer)
{
    step_link_lost(peer);
    struct gatt_op *op = peer->op;
    if (op) {
        peer->op = NULL;
        doubt(peer, op);
        command_answer_error(peer->gateway, TAKE_PTR(op->command), "not_connected", 0,
                             op->kind == OP_KIND_WRITE && !op->fetching
                                 ? "the link was lost on the way: it may or may not have been done"
                                 : "the link was lost on the way");
        ops_free(op);
    }
    /* polls are for this link; commands wait on, for their queue timeout from now */
    for (struct gatt_op **link = &peer->ops; *link;) {
        op = *link;
        if (!op->command || !command_queue_ms(peer, op->command)) {
            *link = op->next;
            peer->n_ops--;
            command_answer_error(peer->gateway, TAKE_PTR(op->command), "not_connected", 0,
                                 "the link was lost");
            ops_free(op);
            continue;
        }
        if (!op->waits_link) {
            op->waits_link = true;
            op->queue_us = command_queue_until(peer, op->command, false);
            gateway_arm(peer->gateway, op->queue_us);
        }
        link = &op->next;
    }
}

void ops_cancel_all(struct peer *peer, const char *code, const char *message)
{
    step_cancel_all(peer, code, message);
    if (peer->op) {
        struct gatt_op *op = TAKE_PTR(peer->op);
        doubt(peer, op);
        command_answer_error(peer->gateway, TAKE_PTR(op->command), code, 0, "%s", message);
        ops_free(op);
    }
    while (peer->ops) {
        struct gatt_op *op = peer->ops;
        peer->ops = op->next;
        peer->n_ops--;
        command_answer_error(peer->gateway, TAKE_PTR(op->command), code, 0, "%s", message);
        ops_free(op);
    }
}

void ops_cancel_subscribing(struct peer *peer, uint32_t entry, const char *message)
{
    for (struct gatt_op **link = &peer->ops; *link;) {
        struct gatt_op *op = *link;

        if (op->kind != OP_KIND_SUBSCRIBE || op->entry != entry) {
            link = &op->next;
            continue;
        }
        *link = op->next;
        peer->n_ops--;
        ops_fail(peer, op, "cancelled", 0, "%s", message);
        ops_free(op);
    }
}

/* False: its entry is no more, and who asked was told. */
static bool renew(struct peer *peer, struct gatt_op *op, const uint32_t *entries)
{
    if (op->entry == NO_ENTRY)
        return true; /* by UUID */
    op->entry = entries[op->entry];
    bool stands = !op->asked || (op == peer->op && !op->fetching);
    if (op->entry != NO_ENTRY && stands)
        return true;
    ops_fail(peer, op, "cancelled", 0,
             op->entry == NO_ENTRY ? "the characteristic is no longer in the configuration"
                                   : "the device's configuration has changed");
    ops_free(op);
    return false;
}

void ops_renew(struct peer *peer, const uint32_t *entries)
{
    if (peer->op && !renew(peer, peer->op, entries))
        peer->op = NULL; /* its answer will be nobody's */
    for (struct gatt_op **link = &peer->ops; *link;) {
        struct gatt_op *op = *link, *next = op->next;

        if (renew(peer, op, entries)) {
            link = &op->next;
            continue;
        }
        *link = next;
        peer->n_ops--;
    }
}

void ops_timer(struct peer *peer)
{
    struct gateway *gateway = peer->gateway;
    uint64_t now = gateway->now.mono_us;
    struct gatt_op *op = peer->op;

    if (op && op->deadline_us <= now) {
        peer->op = NULL;
        doubt(peer, op);
        ops_fail(peer, op, "timeout", 0, "no answer from the peer within %d s", OP_MS / 1000);
        ops_free(op);
        ops_run(peer);
    } else if (op) {
        if (op->answer_us <= now) /* it goes on at the peer, and keeps its place until it ends */
            command_answer_error(gateway, TAKE_PTR(op->command), "timeout", 0,
                                 "no answer from the peer within the `timeout`");
        else
            gateway_arm(gateway, op->answer_us);
        gateway_arm(gateway, op->deadline_us);
    }
    for (struct gatt_op **link = &peer->ops; *link;) {
        op = *link;
        if (op->queue_us <= now) {
            *link = op->next;
            peer->n_ops--;
            command_answer_late(peer, TAKE_PTR(op->command));
            ops_free(op);
            continue;
        }
        if (op->queue_us != TIME_NEVER)
            gateway_arm(gateway, op->queue_us);
        link = &op->next;
    }
}
