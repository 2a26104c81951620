/*
 * A peer's way from Connect to online, and what becomes of its link: connecting, resolving,
 * subscribing (and the steps of on_connect, which sequence.c runs), loss. Answers that are not what
 * the state waits for change nothing.
 */
#include "core/world.h"

#include <stdio.h>
#include <string.h>

#define LET_GO "another gateway has it now"

/* ---- connecting ---- */

static void resolve(struct peer *peer)
{
    struct gateway *gateway = peer->gateway;
    struct action *action = actions_add(gateway->actions, ACTION_RESOLVE);

    connector_release(gateway, peer);
    step_configure_end(peer); /* the services are read anew: from the start */
    peer->blind = false;
    peer->wait_op = gateway_next_op(gateway);
    action->op = (struct op){peer->index, peer->generation, peer->wait_op};
    action->adapter = peer->adapter;
    action->device = peer->device;
    peer->deadline_us = gateway_in(gateway, RESOLVE_MS);
    gateway_arm(gateway, peer->deadline_us);
    peer_enter_state(peer, PEER_STATE_RESOLVING, REASON_RESOLVING,
                     "connected; finding out the peer's services");
}

static void take_link(struct peer *peer, uint32_t adapter, uint32_t device)
{
    struct adapter *on = adapter_find(peer->gateway, adapter);

    if (on)
        recover_linked(on);
    peer->adapter = adapter;
    peer->device = device;
    peer->link_up = true;
    if (!errand_link_came(peer))
        resolve(peer);
}

static void begin_attempt(struct peer *peer)
{
    peer->generation++;
    peer->attempts++;
    peer->began_us = peer->gateway->now.mono_us;
    peer->attempt_us = gateway_in(peer->gateway, ATTEMPT_MS);
    gateway_arm(peer->gateway, peer->attempt_us);
}

void peer_adopt(struct peer *peer, const struct sighting *sighting)
{
    begin_attempt(peer);
    take_link(peer, sighting->adapter, sighting->device);
}

void peer_connect(struct peer *peer, const struct sighting *sighting, bool blind)
{
    struct gateway *gateway = peer->gateway;

    begin_attempt(peer);
    peer->blind = blind;
    struct action *action = actions_add(gateway->actions, ACTION_CONNECT);
    peer->adapter = sighting->adapter;
    peer->device = sighting->device;
    peer->wait_op = gateway_next_op(gateway);
    action->op = (struct op){peer->index, peer->generation, peer->wait_op};
    action->adapter = peer->adapter;
    action->device = peer->device;
    peer->deadline_us = gateway_in(gateway, CONNECT_MS);
    gateway_arm(gateway, peer->deadline_us);
    if (blind) /* to the outside it is absent still, and the words stay */
        peer_enter_state(peer, PEER_STATE_CONNECTING, peer->reason, "%s", peer->why);
    else
        peer_enter_state(peer, PEER_STATE_CONNECTING, REASON_CONNECTING, "connecting");
}

void peer_give_way(struct peer *peer)
{
    peer->blind_us = gateway_in(peer->gateway, ADVERT_SHORTCUT_MS);
    peer_disconnect(peer, peer->reason, false, false, peer->why);
}

/* The peer of a blind attempt is there: from now on it is one like any other. */
void peer_found(struct peer *peer)
{
    peer->blind = false;
    if (peer->state == PEER_STATE_CONNECTING) {
        peer_enter_state(peer, PEER_STATE_CONNECTING, REASON_CONNECTING, "connecting");
    } else {
        peer->after.reason = REASON_QUEUED;
        peer_enter_state(peer, peer->state, REASON_QUEUED, "heard; waits for its turn to connect");
    }
}

static void connect_error(struct peer *peer, const struct bt_result *result)
{
    char text[sizeof(peer->why)];
    const char *words = result->text ? result->text : bt_status_name(result->status);
    struct sighting *sighting = peer_find_sighting(peer, peer->device);

    switch (result->status) {
    case BT_STATUS_IN_PROGRESS:
        peer_disconnect(peer, REASON_BUSY_ELSEWHERE, true, false,
                        "BlueZ is already connecting to it, asked by another program");
        return;
    case BT_STATUS_GONE:
        /* the object vanished (a resolvable address, say): wait to hear the peer again */
        if (sighting)
            sighting->heard_us = 0;
        peer_forget_link(peer);
        peer->blind_us = gateway_in(peer->gateway, GONE_RETRY_MS);
        gateway_arm(peer->gateway, peer->blind_us);
        peer_enter_state(peer, PEER_STATE_ABSENT, REASON_NOT_HEARD, "BlueZ has forgotten it");
        peer_consider(peer);
        return;
    case BT_STATUS_AUTH_FAILED:
    case BT_STATUS_NOT_PAIRED:
    case BT_STATUS_NOT_AUTHORIZED:
        snprintf(text, sizeof(text), "it refuses us without pairing, or has lost its bond (%s)",
                 words);
        peer_fail(peer, REASON_AUTH_FAILED, true, text);
        return;
    case BT_STATUS_ACCESS_DENIED:
        snprintf(text, sizeof(text), "D-Bus or AppArmor forbids to connect (%s)", words);
        peer_fail(peer, REASON_ACCESS_DENIED, true, text);
        return;
    case BT_STATUS_NOT_READY:
        snprintf(text, sizeof(text), "the adapter cannot connect now (%s)", words);
        peer->failures -= peer->failures > 0; /* says nothing about the peer */
        peer_fail(peer, REASON_ADAPTER_OFF, false, text);
        return;
    case BT_STATUS_OK:
    case BT_STATUS_FAILED:
    case BT_STATUS_CANCELLED:
    case BT_STATUS_NOT_CONNECTED:
    case BT_STATUS_NOT_PERMITTED:
    case BT_STATUS_NOT_SUPPORTED:
    case BT_STATUS_INVALID_LENGTH:
    case BT_STATUS_INVALID_ARGUMENT:
    case BT_STATUS_ATT_ERROR:
    case BT_STATUS_BLOCKED:
    case BT_STATUS_TIMEOUT:
    case BT_STATUS_LOST:
    case BT_STATUS_NO_SERVICES: break;
    }
    snprintf(text, sizeof(text), "the connection could not be made (%s)", words);
    peer_fail(peer, REASON_CONNECT_FAILED, false, text);
}

void peer_connect_result(struct peer *peer, const struct event *event)
{
    if (peer->state != PEER_STATE_CONNECTING || event->op.id != peer->wait_op)
        return;
    if (event->result.status == BT_STATUS_OK) {
        /* BlueZ may say yes and have no link: Connected must follow */
        peer->deadline_us = gateway_in(peer->gateway, CONNECT_SETTLE_MS);
        gateway_arm(peer->gateway, peer->deadline_us);
        return;
    }
    if (peer->blind &&
        (event->result.status == BT_STATUS_FAILED || event->result.status == BT_STATUS_CANCELLED ||
         event->result.status == BT_STATUS_NOT_CONNECTED ||
         event->result.status == BT_STATUS_TIMEOUT))
        peer_blind_ended(peer, BLIND_RETRY_MS); /* it is not there: no failure */
    else
        connect_error(peer, &event->result);
}

/* ---- the link ---- */

static void link_lost(struct peer *peer)
{
    struct gateway *gateway = peer->gateway;
    bool stable = peer->online_us && gateway->now.mono_us - peer->online_us >= MS_TO_US(STABLE_MS);
    const struct adapter *adapter = adapter_find(gateway, peer->adapter);

    /* what was heard before the link says nothing now */
    for (size_t i = 0; i < MAX_ADAPTERS; i++)
        if (stable || peer->sightings[i].adapter == peer->adapter)
            peer->sightings[i].heard_us = 0;
    if (peer->online_us) {
        actions_log(gateway->actions, LOG_LEVEL_WARNING, peer->log_area, "link lost");
        status_event(gateway, "disconnected", peer, "link_lost", "the link was lost");
    }
    if (adapter && !adapter->powered) { /* no fault of the peer: it waits for the adapter */
        peer_forget_link(peer);
        peer_end_backoff(peer);
        peer_consider(peer);
        return;
    }
    if (!peer->online_us) {
        peer_fail(peer, REASON_LINK_LOST, false, "the link was lost while setting it up");
        return;
    }
    if (!stable) {
        peer_fail(peer, REASON_LINK_LOST, false, "the link was lost soon after it was made");
        return;
    }
    peer->failures = 0;
    peer->retry_us = 0;
    peer_forget_link(peer);
    peer->blind_us = 0; /* a known peer: try at once */
    peer_enter_state(peer, PEER_STATE_ABSENT, REASON_LINK_LOST,
                     "the link was lost; trying to reach it again");
    hold_give_up(peer); /* whoever it was held for may have been answered by that */
}

static void link_came(struct peer *peer, uint32_t adapter, uint32_t device)
{
    switch (peer->state) {
    case PEER_STATE_CONNECTING:
        if (device == peer->device)
            take_link(peer, adapter, device);
        break;
    case PEER_STATE_ABSENT:
    case PEER_STATE_READY:
    case PEER_STATE_BACKOFF: /* somebody else connected, or it was connected at our start */
        /* a peer that refuses us is not taken each time it is offered */
        if (peer_wants_link(peer) && peer->gateway->bluez_up &&
            adapter_serves(peer, adapter_find(peer->gateway, adapter)) &&
            !(peer->retry_slow && peer->retry_us > peer->gateway->now.mono_us)) {
            begin_attempt(peer);
            take_link(peer, adapter, device);
        }
        break;
    case PEER_STATE_DISCONNECTING: /* the Connect we cancelled was faster; the Disconnect ends it */
        if (device == peer->device) {
            peer->link_up = true;
            connector_release(peer->gateway, peer); /* that Connect is over */
        }
        break;
    case PEER_STATE_DISABLED:
    case PEER_STATE_RESOLVING:
    case PEER_STATE_PAIRING:
    case PEER_STATE_CONFIGURING:
    case PEER_STATE_ONLINE:
    case PEER_STATE_IDLE: break;
    }
}

static void link_went(struct peer *peer, uint32_t device)
{
    if (device != peer->device)
        return;
    switch (peer->state) {
    case PEER_STATE_RESOLVING:
    case PEER_STATE_PAIRING:
    case PEER_STATE_CONFIGURING:
    case PEER_STATE_ONLINE: link_lost(peer); break;
    case PEER_STATE_DISCONNECTING:
        peer->link_up = false;
        peer_disconnected(peer);
        break;
    case PEER_STATE_CONNECTING: /* there was none yet: Connect's reply or the deadline decides */
    case PEER_STATE_DISABLED:
    case PEER_STATE_ABSENT:
    case PEER_STATE_READY:
    case PEER_STATE_BACKOFF:
    case PEER_STATE_IDLE: break;
    }
}

void peer_link(struct peer *peer, uint32_t adapter, uint32_t device, bool connected)
{
    struct sighting *sighting = peer_find_sighting(peer, device);

    if (sighting)
        sighting->connected = connected;
    peer->gateway->schedule = true; /* a link more or less, whoever wanted it */
    if (connected)
        link_came(peer, adapter, device);
    else
        link_went(peer, device);
}

/* never an object with a bond: RemoveDevice would throw the keys away */
static bool may_clear_cache(struct peer *peer)
{
    const struct sighting *sighting = peer_find_sighting(peer, peer->device);

    if (sighting && sighting->bonded)
        return false;
    return !peer->cache_cleared_us ||
           peer->gateway->now.mono_us - peer->cache_cleared_us >= MS_TO_US(CACHE_CLEAR_MS);
}

static void subscribe_next(struct peer *peer);

void peer_resolve_result(struct peer *peer, const struct event *event)
{
    struct resolve_outcome outcome;
    char why[sizeof(peer->why)];

    if (peer->state != PEER_STATE_RESOLVING || event->op.id != peer->wait_op)
        return;
    if (event->result.status == BT_STATUS_NO_SERVICES) {
        peer->clear_cache = may_clear_cache(peer);
        peer_disconnect(peer, REASON_NO_SERVICES, true, !peer->clear_cache,
                        "the peer shows no services");
        return;
    }
    if (event->result.status != BT_STATUS_OK) {
        snprintf(why, sizeof(why), "its services could not be read (%s)",
                 event->result.text ? event->result.text : bt_status_name(event->result.status));
        peer_disconnect(peer, REASON_RESOLVE_FAILED, true, false, why);
        return;
    }
    peer->mtu = event->resolved.mtu;
    resolve_sources(peer, event->resolved.characteristics, event->resolved.n_characteristics,
                    &outcome);
    target_keep_tree(peer, event->resolved.characteristics, event->resolved.n_characteristics);
    peer->misfit = outcome.missing && errand_wants_link(peer);
    if (outcome.missing && !peer->misfit && !outcome.ambiguous && may_clear_cache(peer)) {
        /* BlueZ may show a tree of long ago: forget it once and look again */
        peer->clear_cache = true;
        peer_disconnect(peer, REASON_GATT_MISSING, true, false, outcome.why);
        return;
    }
    if (outcome.missing && !peer->misfit && !outcome.found) {
        peer_disconnect(peer, REASON_GATT_MISSING, true, true, outcome.why);
        return;
    }
    if (outcome.missing && outcome.missing != peer->missing_said)
        actions_log(peer->gateway->actions, LOG_LEVEL_WARNING, peer->log_area,
                    "%s (missing: %zu of %zu)", outcome.why, outcome.missing, peer->n_entries);
    peer->missing_said = outcome.missing;
    peer->configuring = 0;
    peer_enter_state(peer, PEER_STATE_CONFIGURING, REASON_CONFIGURING, "subscribing");
    errand_resolved(peer);
    subscribe_next(peer);
}

static void say_online(struct peer *peer)
{
    const struct entry *missing = NULL;
    size_t n = 0;

    for (size_t i = 0; i < peer->n_entries; i++)
        if (peer->entries[i].missing) {
            missing = missing ? missing : &peer->entries[i];
            n++;
        }
    if (n > 1)
        peer_enter_state(peer, PEER_STATE_ONLINE, REASON_GATT_MISSING,
                         "connected, but without %s and %zu more: %s", missing->settings->id, n - 1,
                         missing->missing);
    else if (missing)
        peer_enter_state(peer, PEER_STATE_ONLINE, REASON_GATT_MISSING,
                         "connected, but without %s: %s", missing->settings->id, missing->missing);
    else
        peer_enter_state(peer, PEER_STATE_ONLINE, REASON_OK, "connected and subscribed");
}

static void online(struct peer *peer)
{
    struct gateway *gateway = peer->gateway;
    char took[32];

    say_online(peer);
    peer->wait_op = 0;
    peer->configured = true;
    if (peer->online_us) { /* only subscribed again: the link is the same */
        gateway_arm(gateway, gateway->now.mono_us); /* what came due meanwhile */
        ops_run(peer);
        step_resume(peer);
        contact_activity(peer);
        return;
    }
    time_format_duration((gateway->now.mono_us - peer->began_us) / 1000, took, sizeof(took));
    actions_log(gateway->actions, LOG_LEVEL_INFO, peer->log_area, "online after %s (MTU %u)", took,
                peer->mtu);
    peer->online_us = gateway->now.mono_us;
    peer->retry_us = 0;
    connector_succeeded(peer);
    peer->reconnects++;
    peer->attempts = 0;
    contact_online(peer);
    status_event(gateway, "connected", peer, reason_name(peer->reason), peer->why);
    for (uint32_t i = 0; i < peer->n_entries; i++) {
        struct entry *entry = &peer->entries[i];

        if (entry->settings->read_every_ms && entry->source != NO_SOURCE) {
            if (entry->read_due_us <= gateway->now.mono_us && !entry->settings->read_on_connect)
                ops_read(peer, i, NULL); /* it came due while there was no link */
            entry->read_due_us = gateway_in(gateway, entry->settings->read_every_ms);
            gateway_arm(gateway, entry->read_due_us);
        }
        if (entry->settings->read_on_connect && entry->source != NO_SOURCE)
            ops_read(peer, i, NULL);
    }
    ops_run(peer);
    step_online(peer);
    contact_activity(peer);
}

static bool is_to_subscribe(const struct source *source)
{
    return source->handle && source->wanted && !source->subscribed;
}

void peer_ask_subscription(struct peer *peer, uint32_t index, struct action *action)
{
    struct gateway *gateway = peer->gateway;
    struct source *source = &peer->sources[index];

    if (!source->subscription) {
        if (++gateway->subscription_ids == 0)
            gateway->subscription_ids = 1;
        source->subscription = gateway->subscription_ids;
    }
    action->subscribe.handle = source->handle;
    action->subscribe.subscription = source->subscription;
    action->subscribe.source = index;
    for (uint32_t i = source->first_entry; i != NO_SOURCE; i = peer->entries[i].next)
        if (subscribe_is_wanted(&peer->entries[i]))
            action->subscribe.socket |= peer->entries[i].settings->notify == NOTIFY_SOCKET;
}

/* the source that peer->configuring says */
static void subscribe(struct peer *peer)
{
    struct gateway *gateway = peer->gateway;
    struct action *action = actions_add(gateway->actions, ACTION_SUBSCRIBE);

    peer->wait_op = gateway_next_op(gateway);
    action->op = (struct op){peer->index, peer->generation, peer->wait_op};
    action->adapter = peer->adapter;
    action->device = peer->device;
    peer_ask_subscription(peer, peer->configuring, action);
    peer->deadline_us = gateway_in(gateway, SUBSCRIBE_MS);
    gateway_arm(gateway, peer->deadline_us);
}

static void subscribe_next(struct peer *peer)
{
    for (; peer->configuring < peer->n_sources; peer->configuring++)
        if (is_to_subscribe(&peer->sources[peer->configuring]) &&
            !step_subscribes_later(peer, peer->configuring)) {
            subscribe(peer);
            return;
        }
    if (!peer->configured && peer->settings->on_connect.n_steps)
        step_configure(peer);
    else
        online(peer);
}

void peer_configured(struct peer *peer)
{
    peer->configured = true;
    peer->configuring = 0;
    peer->attempt_us = gateway_in(peer->gateway, ATTEMPT_MS);
    subscribe_next(peer); /* what ended meanwhile */
}

bool peer_subscribe(struct peer *peer, uint32_t entry)
{
    uint32_t source = peer->entries[entry].source;

    if (source == NO_SOURCE || !is_to_subscribe(&peer->sources[source]))
        return false;
    peer->configuring = source;
    subscribe(peer);
    return true;
}

void peer_subscribe_result(struct peer *peer, const struct event *event)
{
    const struct bt_result *result = &event->result;
    char why[sizeof(peer->why)];

    if (peer->state != PEER_STATE_CONFIGURING || event->op.id != peer->wait_op)
        return;
    peer->wait_op = 0; /* once is enough */
    struct source *source = &peer->sources[peer->configuring];
    const char *id = peer->entries[source->first_entry].settings->id;
    if (result->status == BT_STATUS_OK) {
        contact_subscribed(peer);
        source->subscribed = true;
    } else if (result->status == BT_STATUS_NOT_SUPPORTED) {
        for (uint32_t i = source->first_entry; i != NO_SOURCE; i = peer->entries[i].next)
            if (subscribe_is_wanted(&peer->entries[i]))
                peer->entries[i].missing = "the peer offers no notifications for it";
        actions_log(peer->gateway->actions, LOG_LEVEL_WARNING, peer->log_area,
                    "%s offers neither notify nor indicate: it cannot be subscribed", id);
        source->wanted = false;
    } else if (result->status == BT_STATUS_GONE) {
        resolve(peer); /* its services are changing: look again */
        return;
    } else {
        bool refused =
            result->status == BT_STATUS_ATT_ERROR || result->status == BT_STATUS_NOT_PAIRED ||
            result->status == BT_STATUS_NOT_AUTHORIZED || result->status == BT_STATUS_NOT_PERMITTED;
        snprintf(why, sizeof(why), "subscribing to %s failed (%s)%s", id,
                 result->text ? result->text : bt_status_name(result->status),
                 command_wants_bond(result) ? ": it wants to be paired first (request `pair`)"
                                            : "");
        peer_disconnect(peer, REASON_SUBSCRIBE_FAILED, true, refused, why);
        return;
    }
    if (step_subscribed(peer))
        return;
    peer->configuring = 0; /* from the start: one that was set up may have ended meanwhile */
    subscribe_next(peer);
}

static void subscribe_again(struct peer *peer)
{
    peer->attempt_us = gateway_in(peer->gateway, ATTEMPT_MS);
    peer->configuring = 0;
    peer_enter_state(peer, PEER_STATE_CONFIGURING, REASON_CONFIGURING, "subscribing again");
    subscribe_next(peer);
}

void peer_subscription_lost(struct peer *peer, const struct event *event)
{
    if (event->value.source >= peer->n_sources)
        return;
    struct source *source = &peer->sources[event->value.source];
    if (!source->subscription || source->subscription != event->value.subscription)
        return;
    if (peer->device && event->device && event->device != peer->device)
        return; /* an object at another adapter, which shares the number */
    source->subscribed = false;
    publish_reset(peer, event->value.source);
    if (peer->state != PEER_STATE_ONLINE)
        return; /* setting up does it anyway */
    if (peer->resubscribed_us &&
        peer->gateway->now.mono_us - peer->resubscribed_us < MS_TO_US(STABLE_MS)) {
        peer_disconnect(peer, REASON_SUBSCRIBE_FAILED, true, true,
                        "its subscriptions end by themselves again and again");
        return;
    }
    peer->resubscribed_us = peer->gateway->now.mono_us;
    actions_log(peer->gateway->actions, LOG_LEVEL_WARNING, peer->log_area,
                "a subscription ended by itself: subscribing again");
    subscribe_again(peer);
}

void peer_subscribe_new(struct peer *peer)
{
    for (size_t i = 0; i < peer->n_sources; i++)
        if (is_to_subscribe(&peer->sources[i])) {
            subscribe_again(peer);
            return;
        }
}

void peer_resolve_again(struct peer *peer)
{
    peer->attempt_us = gateway_in(peer->gateway, ATTEMPT_MS);
    for (uint32_t i = 0; i < peer->n_sources; i++) {
        peer->sources[i].subscribed = false;
        publish_reset(peer, i);
    }
    resolve(peer);
}

void peer_services_changed(struct peer *peer)
{
    if (peer->state != PEER_STATE_ONLINE && peer->state != PEER_STATE_CONFIGURING)
        return;
    actions_log(peer->gateway->actions, LOG_LEVEL_INFO, peer->log_area,
                "its services changed: looking again");
    peer_resolve_again(peer);
}

void peer_let_go(struct peer *peer)
{
    ops_cancel_all(peer, "cancelled", "another gateway has the device now");
    hold_cancel_all(peer, "cancelled", "another gateway has the device now");
    errand_cancel(peer, "cancelled", "another gateway has the device now");
    contact_forget(peer);
    peer->hold_us = peer->away_us = 0;
    switch (peer->state) {
    case PEER_STATE_CONNECTING:
    case PEER_STATE_RESOLVING:
    case PEER_STATE_PAIRING:
    case PEER_STATE_CONFIGURING:
    case PEER_STATE_ONLINE:
        peer_disconnect(peer, REASON_HELD_ELSEWHERE, false, false, LET_GO);
        break;
    case PEER_STATE_DISCONNECTING: /* whatever it was for: a pause ends, and this does not */
        peer->after.failure = false;
        peer->after.reason = REASON_HELD_ELSEWHERE;
        peer_enter_state(peer, PEER_STATE_DISCONNECTING, REASON_HELD_ELSEWHERE, "%s", LET_GO);
        break;
    case PEER_STATE_DISABLED:
    case PEER_STATE_ABSENT:
    case PEER_STATE_READY:
    case PEER_STATE_BACKOFF:
    case PEER_STATE_IDLE: peer_consider(peer); break;
    }
}
