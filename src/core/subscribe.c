/*
 * Subscriptions that people ask for while the gateway runs, or do not want any more. An entry's
 * wish stands until the gateway ends: at each new link it counts as if the file said so. Must not
 * know how a request is written.
 */
#include "core/world.h"

#include "util/cleanup.h"
#include <string.h>

static void answer(struct peer *peer, struct command *command, bool subscribed)
{
    _cleanup_(strbuf_done) struct strbuf data = STRBUF_INIT;

    strbuf_printf(&data, "{\"subscribed\":%s}", subscribed ? "true" : "false");
    command_answer_ok(peer->gateway, command, &data);
}

bool subscribe_is_wanted(const struct entry *entry)
{
    return entry->asked == TRI_AUTO ? entry->settings->subscribe : entry->asked == TRI_YES;
}

void subscribe_ask(struct peer *peer, uint32_t index, struct command *command)
{
    struct entry *entry = &peer->entries[index];

    /* What the file wants needs no confirmation to be wanted again: perhaps on_connect waits for
     * it, and there will be no link to ask on without it. */
    if (entry->asked == TRI_NO && entry->settings->subscribe && peer->state != PEER_STATE_ONLINE &&
        !hold_is_disabled(peer)) {
        entry->asked = TRI_AUTO;
        if (entry->source != NO_SOURCE)
            resolve_want(peer, entry->source);
    }
    ops_enqueue(peer, ops_new(OP_KIND_SUBSCRIBE, index, NULL, 0), command);
}

static void unsubscribe(struct peer *peer, uint32_t entry, struct command *command)
{
    peer->entries[entry].asked = TRI_NO;
    if (peer->entries[entry].source != NO_SOURCE)
        resolve_want(peer, peer->entries[entry].source);
    answer(peer, command, false);
}

/* Without a link there is nothing to wait for; with one it is done in its turn. */
void subscribe_end(struct peer *peer, uint32_t entry, struct command *command)
{
    switch (peer->state) {
    case PEER_STATE_RESOLVING:
    case PEER_STATE_PAIRING:
    case PEER_STATE_CONFIGURING:
    case PEER_STATE_ONLINE:
        ops_enqueue(peer, ops_new(OP_KIND_UNSUBSCRIBE, entry, NULL, 0), command);
        return;
    case PEER_STATE_DISABLED:
    case PEER_STATE_ABSENT:
    case PEER_STATE_READY:
    case PEER_STATE_BACKOFF:
    case PEER_STATE_CONNECTING:
    case PEER_STATE_DISCONNECTING:
    case PEER_STATE_IDLE: break;
    }
    ops_cancel_subscribing(peer, entry, "an unsubscribe was asked for");
    unsubscribe(peer, entry, command);
}

bool subscribe_check(struct peer *peer, struct gatt_op *op)
{
    struct entry *entry = &peer->entries[op->entry];

    if (op->kind == OP_KIND_UNSUBSCRIBE) {
        unsubscribe(peer, op->entry, TAKE_PTR(op->command));
        return false;
    }
    if (!(op->flags & (GATT_FLAG_NOTIFY | GATT_FLAG_INDICATE))) {
        ops_fail(peer, op, "not_supported", 0, "the peer offers no notifications of %s",
                 entry->settings->id);
        return false;
    }
    if (!peer->sources[entry->source].subscribed)
        return true;
    entry->asked = TRI_YES; /* for another entry of the same characteristic, or by the file */
    answer(peer, TAKE_PTR(op->command), true);
    return false;
}

void subscribe_confirmed(struct peer *peer, struct gatt_op *op)
{
    struct entry *entry = &peer->entries[op->entry];

    entry->asked = TRI_YES;
    if (entry->source != NO_SOURCE) { /* else its services changed: when they are known again */
        contact_subscribed(peer);
        peer->sources[entry->source].wanted = true;
        peer->sources[entry->source].subscribed = true;
    }
    answer(peer, TAKE_PTR(op->command), true);
}
