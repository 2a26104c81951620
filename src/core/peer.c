/*
 * One peripheral's state machine. Only peer_enter_state() assigns a state; every state has a
 * deadline or a comment in world.h why it may last for ever. Answers carry the generation of the
 * attempt, so that what belongs to an old link never gets here. Must not know topics or payloads.
 */
#include "core/world.h"

#include "util/cleanup.h"
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *const state_names[] = {
    [PEER_STATE_DISABLED] = "disabled",
    [PEER_STATE_ABSENT] = "absent",
    [PEER_STATE_READY] = "ready",
    [PEER_STATE_BACKOFF] = "backoff",
    [PEER_STATE_CONNECTING] = "connecting",
    [PEER_STATE_RESOLVING] = "resolving",
    [PEER_STATE_PAIRING] = "pairing",
    [PEER_STATE_CONFIGURING] = "configuring",
    [PEER_STATE_ONLINE] = "online",
    [PEER_STATE_DISCONNECTING] = "disconnecting",
    [PEER_STATE_IDLE] = "idle",
};

static const char *const reason_names[] = {
    [REASON_OK] = "ok",
    [REASON_STARTING] = "starting",
    [REASON_DISABLED] = "disabled",
    [REASON_NO_BUS] = "no_bus",
    [REASON_NO_BLUEZ] = "no_bluez",
    [REASON_ACCESS_DENIED] = "access_denied",
    [REASON_NO_ADAPTER] = "no_adapter",
    [REASON_ADAPTER_OFF] = "adapter_off",
    [REASON_RFKILL] = "rfkill",
    [REASON_SCAN_FAILED] = "scan_failed",
    [REASON_ADAPTER_RESET] = "adapter_reset",
    [REASON_NOT_HEARD] = "not_heard",
    [REASON_CHOOSING] = "choosing",
    [REASON_QUEUED] = "queued",
    [REASON_NO_SLOT] = "no_slot",
    [REASON_CONNECTING] = "connecting",
    [REASON_RESOLVING] = "resolving",
    [REASON_PAIRING] = "pairing",
    [REASON_CONFIGURING] = "configuring",
    [REASON_LINK_LOST] = "link_lost",
    [REASON_CONNECT_FAILED] = "connect_failed",
    [REASON_CONNECT_TIMEOUT] = "connect_timeout",
    [REASON_BUSY_ELSEWHERE] = "busy_elsewhere",
    [REASON_AUTH_FAILED] = "auth_failed",
    [REASON_NO_SERVICES] = "no_services",
    [REASON_RESOLVE_FAILED] = "resolve_failed",
    [REASON_GATT_MISSING] = "gatt_missing",
    [REASON_SUBSCRIBE_FAILED] = "subscribe_failed",
    [REASON_STOPPING] = "stopping",
    [REASON_IDLE] = "idle",
    [REASON_CONTACT_TIMEOUT] = "contact_timeout",
    [REASON_SILENT] = "silent",
    [REASON_ON_CONNECT_FAILED] = "on_connect_failed",
    [REASON_PAUSED] = "paused",
    [REASON_LET_GO] = "let_go",
    [REASON_BOUND_ELSEWHERE] = "bound_elsewhere",
    [REASON_HELD_ELSEWHERE] = "held_elsewhere",
    [REASON_CLAIMING] = "claiming",
};

const char *peer_state_name(enum peer_state state)
{
    return state_names[state];
}

const char *reason_name(enum reason reason)
{
    return reason_names[reason];
}

/* a blind attempt is no news: to the outside the peer is absent until it answers */
static enum peer_state shown_state(const struct peer *peer)
{
    if (peer->blind &&
        (peer->state == PEER_STATE_CONNECTING || peer->state == PEER_STATE_DISCONNECTING))
        return PEER_STATE_ABSENT;
    return peer->state;
}

/* Reconnects by cause. That a contact is over and the next one begins is none. */
static void count_reconnects(struct peer *peer, enum peer_state state, enum reason reason)
{
    bool is_set_up_again = state == PEER_STATE_RESOLVING || state == PEER_STATE_CONFIGURING;

    if (state == PEER_STATE_ONLINE && !peer->was_good) {
        if (peer->ended_by != REASON_OK)
            peer->gateway->counts.reconnects[peer->ended_by]++;
        peer->was_good = true;
    } else if (peer->was_good && state != PEER_STATE_ONLINE && !is_set_up_again) {
        peer->ended_by = reason == REASON_IDLE ? REASON_OK : reason;
        peer->was_good = false;
    }
}

void peer_enter_state(struct peer *peer, enum peer_state state, enum reason reason,
                      const char *format, ...)
{
    struct gateway *gateway = peer->gateway;
    char why[sizeof(peer->why)];
    va_list ap;

    va_start(ap, format);
    vsnprintf(why, sizeof(why), format, ap);
    va_end(ap);
    bool same_words = reason == peer->reason && strcmp(why, peer->why) == 0;
    if (state == peer->state && same_words)
        return;
    if (state != peer->state) {
        connector_links_changed(gateway);
        peer->since_us = gateway->now.mono_us;
        if (gateway->actions)
            actions_log(gateway->actions, LOG_LEVEL_DEBUG, peer->log_area, "%s -> %s (%s)",
                        state_names[peer->state], state_names[state], why);
    }
    count_reconnects(peer, state, reason);
    peer->state = state;
    peer->reason = reason;
    snprintf(peer->why, sizeof(peer->why), "%s", why);
    if (peer->shown != shown_state(peer) || !same_words) {
        peer->shown = shown_state(peer);
        peer->since_real_us = gateway->now.real_us;
        peer->link_dirty = gateway->links_dirty = gateway->sentence_dirty = true;
    }
    gateway->schedule = true;
    if (peer->waits)
        hold_state_entered(peer);
    if (peer->errand)
        errand_state_entered(peer);
}

/* ---- life ---- */

int peer_entry_init(struct entry *entry, struct peer *peer,
                    const struct characteristic_settings *settings)
{
    const char *base = peer->gateway->settings->gateway.base_topic;

    entry->settings = settings;
    entry->peer = peer;
    entry->source = entry->next = NO_SOURCE;
    entry->read_due_us = entry->frame_due_us = TIME_NEVER;
    if (settings->framed) {
        int r = frame_new(&settings->frame, &entry->frame);
        if (r < 0)
            return r;
    }
    if (rules_settings_any(&settings->publish)) {
        int r = rules_new(&entry->rules);
        if (r < 0)
            return r;
    }
    if (settings->writable && settings->set == SET_MERGE && settings->schema && !settings->framed) {
        int r = merge_new(&entry->known);
        if (r < 0)
            return r;
    }
    if (asprintf(&entry->topic, "%s/%s/%s", base, peer->settings->id, settings->id) >= 0)
        return 0;
    entry->topic = NULL;
    return -ENOMEM;
}

void peer_entry_done(struct entry *entry)
{
    free(entry->topic);
    frame_free(entry->frame);
    rules_free(entry->rules);
    merge_free(entry->known);
}

int peer_init(struct peer *peer, struct gateway *gateway, uint32_t index,
              const struct device_settings *settings)
{
    const char *base = gateway->settings->gateway.base_topic;

    *peer = (struct peer){.gateway = gateway, .index = index, .settings = settings};
    peer->rssi = peer->rssi_published = RSSI_UNKNOWN;
    peer->poll_due_us = peer->keep_alive_due_us = TIME_NEVER;
    peer->contact_due_us = peer->contact_limit_us = peer->linger_us = TIME_NEVER;
    claim_init(peer);
    peer->state = peer->shown = PEER_STATE_DISABLED;
    peer->reason = REASON_STARTING;
    snprintf(peer->why, sizeof(peer->why), "the gateway is starting");
    if (settings->match.has_address) {
        peer->bound = true;
        peer->address = settings->match.address;
        peer->address_type = settings->match.address_type;
    }
    if (asprintf(&peer->topic_availability, "%s/%s/status/availability", base, settings->id) < 0)
        peer->topic_availability = NULL;
    if (asprintf(&peer->topic_link, "%s/%s/status/link", base, settings->id) < 0)
        peer->topic_link = NULL;
    if (asprintf(&peer->log_area, "peer %s", settings->id) < 0)
        peer->log_area = NULL;
    if (settings->n_characteristics > SETTINGS_MAX_CHARACTERISTICS)
        return -E2BIG;
    size_t n = MAX_OF(settings->n_characteristics, (size_t)1);
    peer->entries = calloc(n, sizeof(*peer->entries));
    peer->sources = calloc(n, sizeof(*peer->sources));
    peer->n_sources = n;
    if (!peer->topic_availability || !peer->topic_link || !peer->log_area || !peer->entries ||
        !peer->sources)
        return -ENOMEM;
    for (size_t i = 0; i < settings->n_characteristics; i++) {
        peer->n_entries = i + 1; /* what peer_done() has to undo */
        int r = peer_entry_init(&peer->entries[i], peer, &settings->characteristics[i]);
        if (r < 0)
            return r;
    }
    return 0;
}

void peer_done(struct peer *peer)
{
    announced_done(&peer->announced);
    step_done(peer);
    hold_done(peer);
    errand_done(peer);
    target_forget_tree(peer);
    while (peer->ops) {
        struct gatt_op *op = peer->ops;
        peer->ops = op->next;
        ops_free(op);
    }
    ops_free(peer->op);
    for (size_t i = 0; i < peer->n_entries; i++)
        peer_entry_done(&peer->entries[i]);
    free(peer->entries);
    free(peer->sources);
    free(peer->topic_availability);
    free(peer->topic_link);
    free(peer->log_area);
}

void peer_start(struct peer *peer)
{
    claim_start(peer);
    if (!peer->ours) {
        claim_say(peer);
        return;
    }
    if (!peer->settings->enabled) {
        peer_enter_state(peer, PEER_STATE_DISABLED, REASON_DISABLED,
                         "switched off in the configuration");
        return;
    }
    if (!hold_is_paused(peer) || !hold_say_idle(peer)) /* before a reload, perhaps */
        peer_enter_state(peer, PEER_STATE_ABSENT, REASON_STARTING, "the gateway is starting");
    contact_start(peer);
}

bool peer_wants_link(const struct peer *peer)
{
    return !hold_is_disabled(peer) && !peer->gateway->stopping && !peer->leaving &&
           contact_holds_link(peer);
}

/* ---- what to do without a link ---- */

/* also of a blind attempt, which shows as absent */
static void say_absent(struct peer *peer)
{
    enum peer_state state = peer->blind ? peer->state : PEER_STATE_ABSENT;
    char address[BT_ADDRESS_TEXT_SIZE];
    const char *deaf = recover_is_deaf(peer) ? "; nor is anybody else: a hung adapter?" : "";

    if (!peer->bound && peer->candidate.device) {
        peer_enter_state(peer, state, REASON_CHOOSING,
                         "something that fits is heard; choosing the strongest within %d s",
                         BIND_WINDOW_MS / 1000);
    } else if (!peer->bound) {
        peer_enter_state(peer, state, REASON_NOT_HEARD,
                         peer->heard_us ? "nothing that fits `match` is heard any more%s"
                                        : "nothing that fits `match` has been heard%s",
                         deaf);
    } else {
        bt_address_format(&peer->address, address);
        peer_enter_state(peer, state, REASON_NOT_HEARD,
                         peer->heard_us
                             ? "%s is not heard any more (off, out of reach, or connected "
                               "elsewhere?)%s"
                             : "%s has not been heard (off, out of reach, or connected "
                               "elsewhere?)%s",
                         address, deaf);
    }
}

static void say_ready(struct peer *peer, const struct sighting *sighting)
{
    size_t links;
    uint64_t allowed;

    connector_count(peer, &links, &allowed);
    if (!connector_has_room(peer, sighting))
        peer_enter_state(peer, PEER_STATE_READY, REASON_NO_SLOT,
                         "no free connection (%zu of %" PRIu64 " in use)", links, allowed);
    else
        peer_enter_state(peer, PEER_STATE_READY, REASON_QUEUED,
                         "heard; waits for its turn to connect");
    gateway_arm(peer->gateway, sighting->heard_us + MS_TO_US(HEARD_MS));
}

/* A link that exists already, at an adapter that the peer may use. */
static const struct sighting *linked_sighting(const struct peer *peer)
{
    for (size_t i = 0; i < MAX_ADAPTERS; i++) {
        const struct sighting *sighting = &peer->sightings[i];
        const struct adapter *adapter = adapter_find(peer->gateway, sighting->adapter);

        if (sighting->device && sighting->connected && adapter_serves(peer, adapter) &&
            adapter_works(adapter))
            return sighting;
    }
    return NULL;
}

void peer_consider(struct peer *peer)
{
    struct gateway *gateway = peer->gateway;
    char why[sizeof(peer->why)];

    if (peer->device)
        return; /* the link or attempt has its own end, which lets go of the connector */
    if (!peer->ours) {
        claim_say(peer);
        return;
    }
    if (!peer_wants_link(peer)) {
        if (peer->state != PEER_STATE_DISABLED)
            contact_say_idle(peer);
        return;
    }
    enum reason trouble = adapter_trouble(peer, why, sizeof(why));
    bool waits = peer->retry_us > gateway->now.mono_us;
    const struct sighting *linked = waits ? NULL : linked_sighting(peer);
    if (linked && gateway->bluez_up) {
        peer_adopt(peer, linked);
        return;
    }
    if (trouble != REASON_OK) {
        peer_enter_state(peer, PEER_STATE_ABSENT, trouble, "%s", why);
        return;
    }
    if (waits) {
        gateway_arm(gateway, peer->retry_us);
        peer_enter_state(peer, PEER_STATE_BACKOFF, peer->failed_reason, "%s", peer->failed_why);
        return;
    }
    const struct sighting *sighting = connector_way(peer, true);
    if (sighting)
        say_ready(peer, sighting);
    else
        say_absent(peer);
    if (peer->state == PEER_STATE_ABSENT && peer->blind_us > gateway->now.mono_us)
        gateway_arm(gateway, peer->blind_us); /* also when it has become ours just now */
}

/* what a blind attempt shows */
static void say_blind(struct peer *peer)
{
    char why[sizeof(peer->why)];
    enum reason trouble = adapter_trouble(peer, why, sizeof(why));

    if (trouble != REASON_OK)
        peer_enter_state(peer, peer->state, trouble, "%s", why);
    else
        say_absent(peer);
}

void peer_reconsider(struct peer *peer)
{
    switch (peer->state) {
    case PEER_STATE_ABSENT:
    case PEER_STATE_READY:
    case PEER_STATE_BACKOFF:
    case PEER_STATE_IDLE: peer_consider(peer); break;
    case PEER_STATE_CONNECTING:
    case PEER_STATE_DISCONNECTING:
        if (peer->blind)
            say_blind(peer);
        break;
    case PEER_STATE_DISABLED:
    case PEER_STATE_RESOLVING:
    case PEER_STATE_PAIRING:
    case PEER_STATE_CONFIGURING:
    case PEER_STATE_ONLINE: break;
    }
}

/* ---- the end of a link or attempt ---- */

void peer_forget_link(struct peer *peer)
{
    connector_release(peer->gateway, peer);
    errand_link_ended(peer);
    peer->link_up = false;
    peer->blind = false;
    peer->adapter = peer->device = 0;
    peer->wait_op = 0;
    peer->mtu = 0;
    target_forget_tree(peer);
    contact_link_ended(peer);
    peer->online_us = peer->resubscribed_us = 0;
    peer->generation++; /* late answers are nobody's */
    for (uint32_t i = 0; i < peer->n_entries; i++)
        peer->entries[i].echo.written = false;
    for (uint32_t i = 0; i < peer->n_sources; i++) {
        peer->sources[i].subscribed = false;
        publish_reset(peer, i);
    }
    for (size_t i = 0; i < peer->n_entries; i++)
        if (peer->settings->connection.mode == CONNECTION_MODE_PERSISTENT)
            peer->entries[i].read_due_us = TIME_NEVER;
    ops_link_lost(peer);
    peer->gateway->schedule = true;
}

static void log_failure(struct peer *peer, const char *why, uint64_t wait_ms)
{
    char wait[32];

    /* the first of a row, then ever more rarely */
    if (peer->failures & (peer->failures - 1))
        return;
    time_format_duration(wait_ms, wait, sizeof(wait));
    actions_log(peer->gateway->actions, LOG_LEVEL_WARNING, peer->log_area,
                "%s; next try in %s (failure %u in a row)", why, wait, peer->failures);
}

void peer_fail(struct peer *peer, enum reason reason, bool slow, const char *why_now)
{
    struct gateway *gateway = peer->gateway;
    const struct device_settings *settings = peer->settings;
    char why[sizeof(peer->why)];
    uint64_t wait_ms;

    snprintf(why, sizeof(why), "%s", why_now);
    peer->failures++;
    connector_failed(peer);
    uint32_t random = gateway_random(gateway, UINT32_MAX);
    if (slow)
        wait_ms = MIN_OF((uint64_t)SLOW_RETRY_MS << MIN_OF(peer->failures - 1, 8u),
                         (uint64_t)SLOWEST_RETRY_MS);
    else
        wait_ms = backoff_ms(peer->failures, settings->reconnect_min_ms, settings->reconnect_max_ms,
                             random);
    if (reason == REASON_ADAPTER_OFF) /* the adapter's fault never adds up to a longer wait */
        wait_ms = MAX_OF(wait_ms, MIN_OF((uint64_t)NOT_READY_RETRY_MS, settings->reconnect_max_ms));
    peer_forget_link(peer);
    peer->retry_us = gateway_in(gateway, wait_ms);
    peer->retry_slow = slow;
    peer->failed_reason = reason;
    peer->failed_us = gateway->now.mono_us;
    snprintf(peer->failed_why, sizeof(peer->failed_why), "%s", why);
    peer->blind_us = peer->retry_us;
    /* an attempt that came before the one that an advertisement had set counts in its place */
    peer->shortcut_us = MIN_OF(peer->shortcut_us, gateway->now.mono_us);
    gateway_arm(gateway, peer->retry_us);
    log_failure(peer, why, wait_ms);
    peer_enter_state(peer, PEER_STATE_BACKOFF, reason, "%s", why);
    if (!peer_wants_link(peer)) /* the contact ended meanwhile */
        peer_consider(peer);
}

void peer_end_backoff(struct peer *peer)
{
    peer->retry_us = 0;
    peer->blind_us = 0;
    peer->shortcut_us = 0;
}

/* A blind attempt that came to nothing is no failure: the peer is simply not there. */
void peer_blind_ended(struct peer *peer, uint64_t again_ms)
{
    peer_forget_link(peer);
    peer->blind_us = gateway_in(peer->gateway, again_ms);
    gateway_arm(peer->gateway, peer->blind_us);
    peer_enter_state(peer, PEER_STATE_ABSENT, peer->reason, "%s", peer->why);
    peer_consider(peer);
}

static void clear_cache(struct peer *peer, uint32_t adapter, uint32_t device)
{
    const struct sighting *sighting = peer_find_sighting(peer, device);

    if (sighting && sighting->bonded) { /* meanwhile */
        peer->clear_cache = false;
        return;
    }
    struct action *action = actions_add(peer->gateway->actions, ACTION_REMOVE_DEVICE);

    peer->clear_cache = false;
    peer->cache_cleared_us = peer->gateway->now.mono_us;
    action->op = (struct op){.peer = peer->index, .generation = peer->generation};
    action->adapter = adapter;
    action->device = device;
}

void peer_disconnected(struct peer *peer)
{
    uint32_t adapter = peer->adapter, device = peer->device;
    bool blind = peer->blind;

    if (peer->clear_cache)
        clear_cache(peer, adapter, device);
    if (peer->after.failure) {
        peer_fail(peer, peer->after.reason, peer->after.slow, peer->why);
    } else if (blind) {
        peer_blind_ended(peer, peer->blind_us > peer->gateway->now.mono_us ? 0 : BLIND_RETRY_MS);
    } else {
        peer_forget_link(peer);
        peer_enter_state(peer, PEER_STATE_ABSENT, peer->after.reason, "%s", peer->why);
        peer_consider(peer);
    }
}

/* Ends a link, or cancels a Connect (BlueZ would go on with it otherwise and succeed later). */
void peer_disconnect(struct peer *peer, enum reason reason, bool failure, bool slow,
                     const char *why_now)
{
    struct gateway *gateway = peer->gateway;
    char why[sizeof(peer->why)];
    struct action *action = actions_add(gateway->actions, ACTION_DISCONNECT);

    snprintf(why, sizeof(why), "%s", why_now);
    step_configure_end(peer); /* or it would end in a link that is good */
    peer->wait_op = gateway_next_op(gateway);
    action->op = (struct op){peer->index, peer->generation, peer->wait_op};
    action->adapter = peer->adapter;
    action->device = peer->device;
    peer->after.reason = reason;
    peer->after.failure = failure;
    peer->after.slow = slow;
    peer->deadline_us = gateway_in(gateway, DISCONNECT_MS);
    gateway_arm(gateway, peer->deadline_us);
    peer_enter_state(peer, PEER_STATE_DISCONNECTING, reason, "%s", why);
}

void peer_disconnect_result(struct peer *peer, const struct event *event)
{
    if (peer->state != PEER_STATE_DISCONNECTING || event->op.id != peer->wait_op)
        return;
    /* the reply may come before Connected=false, and may not be true: see state_deadline() */
    if (!peer->link_up)
        peer_disconnected(peer);
}

/* ---- time ---- */

static void state_deadline(struct peer *peer)
{
    switch (peer->state) {
    case PEER_STATE_CONNECTING:
        if (peer->blind) {
            peer_disconnect(peer, peer->reason, false, false, peer->why);
        } else {
            recover_timed_out(peer);
            peer_disconnect(peer, REASON_CONNECT_TIMEOUT, true, false,
                            "no connection within the time allowed");
        }
        break;
    case PEER_STATE_RESOLVING:
        peer_disconnect(peer, REASON_RESOLVE_FAILED, true, false,
                        "its services were not found out in time");
        break;
    case PEER_STATE_PAIRING: peer_pair_late(peer); break;
    case PEER_STATE_CONFIGURING:
        peer_disconnect(peer, REASON_SUBSCRIBE_FAILED, true, false, "subscribing took too long");
        break;
    case PEER_STATE_DISCONNECTING:
        if (peer->link_up) /* it takes its place among the links still: once more */
            peer_disconnect(peer, peer->after.reason, peer->after.failure, peer->after.slow,
                            peer->why);
        else
            peer_disconnected(peer);
        break;
    case PEER_STATE_DISABLED:
    case PEER_STATE_ABSENT:
    case PEER_STATE_READY:
    case PEER_STATE_BACKOFF:
    case PEER_STATE_ONLINE:
    case PEER_STATE_IDLE: break;
    }
}

static bool has_deadline(const struct peer *peer)
{
    return peer->state == PEER_STATE_CONNECTING || peer->state == PEER_STATE_RESOLVING ||
           peer->state == PEER_STATE_PAIRING || peer->state == PEER_STATE_CONFIGURING ||
           peer->state == PEER_STATE_DISCONNECTING;
}

static void timer_states(struct peer *peer)
{
    struct gateway *gateway = peer->gateway;
    uint64_t now = gateway->now.mono_us;

    if (has_deadline(peer)) {
        uint64_t due = peer->state == PEER_STATE_DISCONNECTING
                           ? peer->deadline_us
                           : MIN_OF(peer->deadline_us, peer->attempt_us);
        if (due <= now)
            state_deadline(peer);
    } else {
        peer_reconsider(peer);
    }
    if (has_deadline(peer)) /* also of a state that was entered just now */
        gateway_arm(gateway, peer->state == PEER_STATE_DISCONNECTING
                                 ? peer->deadline_us
                                 : MIN_OF(peer->deadline_us, peer->attempt_us));
    if (peer->state == PEER_STATE_READY) {
        const struct sighting *sighting = connector_way(peer, true);
        if (sighting)
            gateway_arm(gateway, sighting->heard_us + MS_TO_US(HEARD_MS));
    }
    if (peer->state == PEER_STATE_ABSENT && peer->blind_us > now)
        gateway_arm(gateway, peer->blind_us);
}

void peer_timer(struct peer *peer)
{
    struct gateway *gateway = peer->gateway;
    uint64_t now = gateway->now.mono_us;

    if (peer->candidate.device && !peer->bound) {
        if (peer->candidate.until_us <= now)
            peer_bind(peer);
        else
            gateway_arm(gateway, peer->candidate.until_us);
    }
    hold_timer(peer);
    errand_timer(peer);
    contact_timer(peer);
    timer_states(peer);
    publish_timer(peer);
    for (uint32_t i = 0; i < peer->n_entries; i++) {
        struct entry *entry = &peer->entries[i];

        if (entry->read_due_us == TIME_NEVER ||
            (peer->state != PEER_STATE_ONLINE && entry->read_due_us <= now))
            continue; /* what is due is read as soon as there is a link */
        if (entry->read_due_us <= now) {
            entry->read_due_us = now + MS_TO_US(entry->settings->read_every_ms);
            if (entry->source != NO_SOURCE) /* what is missing keeps no link */
                ops_read(peer, i, NULL);
        }
        gateway_arm(gateway, entry->read_due_us);
    }
}

void peer_stop(struct peer *peer)
{
    struct gateway *gateway = peer->gateway;

    if (!peer->ours)
        return;
    ops_cancel_all(peer, "cancelled", "the gateway is stopping");
    hold_cancel_all(peer, "cancelled", "the gateway is stopping");
    errand_cancel(peer, "cancelled", "the gateway is stopping");
    contact_forget(peer);
    publish_flush(peer);
    if (peer->device && peer->state != PEER_STATE_DISCONNECTING) {
        struct action *action = actions_add(gateway->actions, ACTION_DISCONNECT);
        action->op = (struct op){.peer = peer->index, .generation = peer->generation};
        action->adapter = peer->adapter;
        action->device = peer->device;
    }
    peer_forget_link(peer);
    peer_enter_state(
        peer, PEER_STATE_DISABLED, peer->settings->enabled ? REASON_STOPPING : REASON_DISABLED,
        peer->settings->enabled ? "the gateway was stopped" : "switched off in the configuration");
}
