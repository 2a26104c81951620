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
    [REASON_NOT_HEARD] = "not_heard",
    [REASON_CHOOSING] = "choosing",
    [REASON_QUEUED] = "queued",
    [REASON_NO_SLOT] = "no_slot",
    [REASON_CONNECTING] = "connecting",
    [REASON_RESOLVING] = "resolving",
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
};

const char *peer_state_name(enum peer_state state)
{
    return state_names[state];
}

const char *reason_name(enum reason reason)
{
    return reason_names[reason];
}

static void peer_enter_state(struct peer *peer, enum peer_state state, enum reason reason,
                             const char *format, ...) PRINTF_LIKE(4, 5);

static void peer_enter_state(struct peer *peer, enum peer_state state, enum reason reason,
                             const char *format, ...)
{
    struct gateway *gateway = peer->gateway;
    char why[sizeof(peer->why)];
    va_list ap;

    va_start(ap, format);
    vsnprintf(why, sizeof(why), format, ap);
    va_end(ap);
    if (state == peer->state && reason == peer->reason && strcmp(why, peer->why) == 0)
        return;
    if (state != peer->state) {
        peer->since_us = gateway->now.mono_us;
        if (gateway->actions)
            actions_log(gateway->actions, LOG_LEVEL_DEBUG, peer->log_area, "%s -> %s (%s)",
                        state_names[peer->state], state_names[state], why);
    }
    peer->since_real_us = gateway->now.real_us;
    peer->state = state;
    peer->reason = reason;
    snprintf(peer->why, sizeof(peer->why), "%s", why);
    peer->link_dirty = gateway->links_dirty = true;
    gateway->schedule = true;
}

/* ---- life ---- */

static int entry_init(struct entry *entry, struct peer *peer,
                      const struct characteristic_settings *settings)
{
    const char *base = peer->gateway->settings->gateway.base_topic;

    entry->settings = settings;
    entry->peer = peer;
    entry->source = entry->next = NO_SOURCE;
    entry->read_due_us = TIME_NEVER;
    return asprintf(&entry->topic, "%s/%s/%s", base, peer->settings->id, settings->id) < 0 ? -ENOMEM
                                                                                           : 0;
}

int peer_init(struct peer *peer, struct gateway *gateway, uint32_t index,
              const struct device_settings *settings)
{
    const char *base = gateway->settings->gateway.base_topic;

    *peer = (struct peer){.gateway = gateway, .index = index, .settings = settings};
    peer->rssi = peer->rssi_published = RSSI_UNKNOWN;
    peer->state = PEER_STATE_DISABLED;
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
    size_t n = MAX_OF(settings->n_characteristics, (size_t)1);
    peer->entries = calloc(n, sizeof(*peer->entries));
    peer->sources = calloc(n, sizeof(*peer->sources));
    if (!peer->topic_availability || !peer->topic_link || !peer->log_area || !peer->entries ||
        !peer->sources)
        return -ENOMEM;
    for (size_t i = 0; i < settings->n_characteristics; i++) {
        int r = entry_init(&peer->entries[i], peer, &settings->characteristics[i]);
        if (r < 0) {
            peer->entries[i].topic = NULL;
            return r;
        }
        peer->n_entries = i + 1;
    }
    return 0;
}

void peer_done(struct peer *peer)
{
    while (peer->ops) {
        struct gatt_op *op = peer->ops;
        peer->ops = op->next;
        command_free(op->command);
        free(op);
    }
    if (peer->op)
        command_free(peer->op->command);
    free(peer->op);
    for (size_t i = 0; i < peer->n_entries; i++)
        free(peer->entries[i].topic);
    free(peer->entries);
    free(peer->sources);
    free(peer->topic_availability);
    free(peer->topic_link);
    free(peer->log_area);
}

void peer_start(struct peer *peer)
{
    if (!peer->settings->enabled) {
        peer_enter_state(peer, PEER_STATE_DISABLED, REASON_DISABLED,
                         "switched off in the configuration");
        return;
    }
    peer_enter_state(peer, PEER_STATE_ABSENT, REASON_STARTING, "the gateway is starting");
}

bool peer_wants_link(const struct peer *peer)
{
    return peer->state != PEER_STATE_DISABLED && !peer->gateway->stopping &&
           peer->settings->connection.mode == CONNECTION_MODE_PERSISTENT;
}

/* ---- sightings ---- */

static struct sighting *find_sighting(struct peer *peer, uint32_t device)
{
    for (size_t i = 0; device && i < MAX_ADAPTERS; i++)
        if (peer->sightings[i].device == device)
            return &peer->sightings[i];
    return NULL;
}

static bool heard_lately(const struct peer *peer, const struct sighting *sighting)
{
    return sighting->heard_us &&
           peer->gateway->now.mono_us - sighting->heard_us < MS_TO_US(HEARD_MS);
}

const struct sighting *peer_best_sighting(const struct peer *peer, uint32_t adapter, bool heard)
{
    const struct sighting *best = NULL;

    for (size_t i = 0; i < MAX_ADAPTERS; i++) {
        const struct sighting *sighting = &peer->sightings[i];
        const struct adapter *on = adapter_find(peer->gateway, sighting->adapter);

        if (!sighting->device || (adapter && sighting->adapter != adapter) || !on || !on->used ||
            (heard && !heard_lately(peer, sighting)))
            continue;
        if (!best || sighting->rssi > best->rssi)
            best = sighting;
    }
    return best;
}

static void forget_sighting(struct peer *peer, struct sighting *sighting)
{
    gateway_remove_device(peer->gateway, sighting->device);
    if (peer->subscribed_device == sighting->device) {
        peer->subscribed_device = 0; /* the object's subscriptions went with it */
        for (size_t i = 0; i < peer->n_entries; i++)
            peer->sources[i].subscription = 0;
    }
    *sighting = (struct sighting){0};
}

/* ---- what to do without a link ---- */

static void say_absent(struct peer *peer)
{
    char address[BT_ADDRESS_TEXT_SIZE];

    if (!peer->bound && peer->candidate.device) {
        peer_enter_state(peer, PEER_STATE_ABSENT, REASON_CHOOSING,
                         "something that fits is heard; choosing the strongest within %d s",
                         BIND_WINDOW_MS / 1000);
    } else if (!peer->bound) {
        peer_enter_state(peer, PEER_STATE_ABSENT, REASON_NOT_HEARD,
                         "nothing that fits `match` has been heard");
    } else {
        bt_address_format(&peer->address, address);
        peer_enter_state(peer, PEER_STATE_ABSENT, REASON_NOT_HEARD,
                         peer->heard_us
                             ? "%s is not heard any more (off, out of reach, or connected "
                               "elsewhere?)"
                             : "%s has not been heard (off, out of reach, or connected "
                               "elsewhere?)",
                         address);
    }
}

static void say_ready(struct peer *peer, const struct sighting *sighting)
{
    struct gateway *gateway = peer->gateway;
    size_t links = adapter_count_links(gateway, sighting->adapter);
    uint64_t allowed = gateway->settings->bluetooth.connections;

    if (links >= allowed)
        peer_enter_state(peer, PEER_STATE_READY, REASON_NO_SLOT,
                         "no free connection (%zu of %" PRIu64 " in use)", links, allowed);
    else
        peer_enter_state(peer, PEER_STATE_READY, REASON_QUEUED,
                         "heard; waits for its turn to connect");
    gateway_arm(gateway, sighting->heard_us + MS_TO_US(HEARD_MS));
}

static void consider(struct peer *peer)
{
    struct gateway *gateway = peer->gateway;
    char why[sizeof(peer->why)];

    if (!peer_wants_link(peer))
        return;
    enum reason trouble = adapter_trouble(gateway, why, sizeof(why));
    if (trouble != REASON_OK) {
        peer_enter_state(peer, PEER_STATE_ABSENT, trouble, "%s", why);
        return;
    }
    if (peer->state == PEER_STATE_BACKOFF && peer->retry_us > gateway->now.mono_us) {
        gateway_arm(gateway, peer->retry_us);
        return;
    }
    const struct sighting *sighting = peer_best_sighting(peer, 0, true);
    if (sighting)
        say_ready(peer, sighting);
    else
        say_absent(peer);
}

void peer_reconsider(struct peer *peer)
{
    switch (peer->state) {
    case PEER_STATE_ABSENT:
    case PEER_STATE_READY:
    case PEER_STATE_BACKOFF: consider(peer); break;
    case PEER_STATE_DISABLED:
    case PEER_STATE_CONNECTING:
    case PEER_STATE_RESOLVING:
    case PEER_STATE_PAIRING:
    case PEER_STATE_CONFIGURING:
    case PEER_STATE_ONLINE:
    case PEER_STATE_DISCONNECTING:
    case PEER_STATE_IDLE: break;
    }
}

/* ---- the end of a link or attempt ---- */

static void forget_link(struct peer *peer)
{
    adapter_release(peer->gateway, peer);
    peer->link_up = false;
    peer->blind = false;
    peer->adapter = peer->device = 0;
    peer->wait_op = 0;
    peer->mtu = 0;
    peer->generation++; /* late answers are nobody's */
    for (size_t i = 0; i < peer->n_entries; i++) {
        peer->sources[i].subscribed = false;
        peer->entries[i].read_due_us = TIME_NEVER;
    }
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

static void fail(struct peer *peer, enum reason reason, bool slow, const char *why_now)
{
    struct gateway *gateway = peer->gateway;
    const struct device_settings *settings = peer->settings;
    char why[sizeof(peer->why)];
    uint64_t wait_ms;

    snprintf(why, sizeof(why), "%s", why_now);
    peer->failures++;
    uint32_t random = gateway_random(gateway, UINT32_MAX);
    if (slow)
        wait_ms = MIN_OF((uint64_t)SLOW_RETRY_MS << MIN_OF(peer->failures - 1, 8u),
                         (uint64_t)SLOWEST_RETRY_MS);
    else
        wait_ms = backoff_ms(peer->failures, settings->reconnect_min_ms, settings->reconnect_max_ms,
                             random);
    forget_link(peer);
    peer->retry_us = gateway_in(gateway, wait_ms);
    peer->retry_slow = slow;
    peer->blind_us = peer->retry_us;
    gateway_arm(gateway, peer->retry_us);
    log_failure(peer, why, wait_ms);
    peer_enter_state(peer, PEER_STATE_BACKOFF, reason, "%s", why);
}

/* A blind attempt that came to nothing is no failure: the peer is simply not there. */
static void blind_ended(struct peer *peer, uint64_t again_ms)
{
    forget_link(peer);
    peer->blind_us = gateway_in(peer->gateway, again_ms);
    gateway_arm(peer->gateway, peer->blind_us);
    peer_enter_state(peer, PEER_STATE_ABSENT, peer->reason, "%s", peer->why);
    consider(peer);
}

static void clear_cache(struct peer *peer, uint32_t adapter, uint32_t device)
{
    struct action *action = actions_add(peer->gateway->actions, ACTION_REMOVE_DEVICE);

    peer->clear_cache = false;
    peer->cache_cleared_us = peer->gateway->now.mono_us;
    action->op = (struct op){.peer = peer->index, .generation = peer->generation};
    action->adapter = adapter;
    action->device = device;
}

static void disconnected(struct peer *peer)
{
    uint32_t adapter = peer->adapter, device = peer->device;
    bool blind = peer->blind;

    if (peer->clear_cache)
        clear_cache(peer, adapter, device);
    if (peer->after.failure) {
        fail(peer, peer->after.reason, peer->after.slow, peer->why);
    } else if (blind) {
        blind_ended(peer, peer->blind_us > peer->gateway->now.mono_us ? 0 : BLIND_RETRY_MS);
    } else {
        forget_link(peer);
        peer_enter_state(peer, PEER_STATE_ABSENT, peer->after.reason, "%s", peer->why);
        consider(peer);
    }
}

/* Ends a link, or cancels a Connect (BlueZ would go on with it otherwise and succeed later). */
static void disconnect(struct peer *peer, enum reason reason, bool failure, bool slow,
                       const char *why_now)
{
    struct gateway *gateway = peer->gateway;
    char why[sizeof(peer->why)];
    struct action *action = actions_add(gateway->actions, ACTION_DISCONNECT);

    snprintf(why, sizeof(why), "%s", why_now);
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
    /* the reply may come before Connected=false; a link that is still up keeps its place */
    if (!peer->link_up || event->result.status != BT_STATUS_OK)
        disconnected(peer);
}

/* ---- connecting ---- */

static void resolve(struct peer *peer)
{
    struct gateway *gateway = peer->gateway;
    struct action *action = actions_add(gateway->actions, ACTION_RESOLVE);

    adapter_release(gateway, peer);
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
    if (peer->subscribed_device && peer->subscribed_device != device)
        for (size_t i = 0; i < peer->n_entries; i++)
            peer->sources[i].subscription = 0;
    peer->subscribed_device = device;
    peer->adapter = adapter;
    peer->device = device;
    peer->link_up = true;
    resolve(peer);
}

static void begin_attempt(struct peer *peer)
{
    peer->generation++;
    peer->attempts++;
    peer->attempt_us = gateway_in(peer->gateway, ATTEMPT_MS);
    gateway_arm(peer->gateway, peer->attempt_us);
}

void peer_connect(struct peer *peer, const struct sighting *sighting, bool blind)
{
    struct gateway *gateway = peer->gateway;

    begin_attempt(peer);
    peer->blind = blind;
    if (sighting->connected) {
        take_link(peer, sighting->adapter, sighting->device);
        return;
    }
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
        peer_enter_state(peer, PEER_STATE_CONNECTING, REASON_CONNECTING, "connecting (RSSI %d dBm)",
                         sighting->rssi);
}

void peer_give_way(struct peer *peer)
{
    peer->blind_us = gateway_in(peer->gateway, ADVERT_SHORTCUT_MS);
    disconnect(peer, peer->reason, false, false, peer->why);
}

static void connect_error(struct peer *peer, const struct bt_result *result)
{
    char text[sizeof(peer->why)];
    const char *words = result->text ? result->text : bt_status_name(result->status);

    switch (result->status) {
    case BT_STATUS_IN_PROGRESS:
        disconnect(peer, REASON_BUSY_ELSEWHERE, true, false,
                   "BlueZ is already connecting to it, asked by another program");
        return;
    case BT_STATUS_GONE:
        /* the object vanished (a resolvable address, say): wait to hear the peer again */
        forget_link(peer);
        peer_enter_state(peer, PEER_STATE_ABSENT, REASON_NOT_HEARD, "BlueZ has forgotten it");
        consider(peer);
        return;
    case BT_STATUS_AUTH_FAILED:
    case BT_STATUS_NOT_PAIRED:
    case BT_STATUS_NOT_AUTHORIZED:
        snprintf(text, sizeof(text), "it refuses us without pairing (%s)", words);
        fail(peer, REASON_AUTH_FAILED, true, text);
        return;
    case BT_STATUS_ACCESS_DENIED:
        snprintf(text, sizeof(text), "D-Bus or AppArmor forbids to connect (%s)", words);
        fail(peer, REASON_ACCESS_DENIED, true, text);
        return;
    case BT_STATUS_NOT_READY:
        snprintf(text, sizeof(text), "the adapter cannot connect now (%s)", words);
        peer->failures -= peer->failures > 0; /* says nothing about the peer */
        fail(peer, REASON_ADAPTER_OFF, false, text);
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
    fail(peer, REASON_CONNECT_FAILED, false, text);
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
    if (peer->blind && event->result.status != BT_STATUS_GONE)
        blind_ended(peer, BLIND_RETRY_MS);
    else
        connect_error(peer, &event->result);
}

/* ---- the link ---- */

static void link_lost(struct peer *peer)
{
    struct gateway *gateway = peer->gateway;
    bool stable = gateway->now.mono_us - peer->since_us >= MS_TO_US(STABLE_MS);

    if (peer->state != PEER_STATE_ONLINE) {
        fail(peer, REASON_LINK_LOST, false, "the link was lost while setting it up");
        return;
    }
    actions_log(gateway->actions, LOG_LEVEL_WARNING, peer->log_area, "link lost");
    status_event(gateway, "disconnected", peer, "link_lost", "the link was lost");
    if (!stable) {
        fail(peer, REASON_LINK_LOST, false, "the link was lost soon after it was made");
        return;
    }
    peer->failures = 0;
    forget_link(peer);
    peer->blind_us = 0; /* a known peer: try at once */
    peer->retry_us = 0;
    peer_enter_state(peer, PEER_STATE_ABSENT, REASON_LINK_LOST, "the link was lost");
    for (size_t i = 0; i < MAX_ADAPTERS; i++)
        peer->sightings[i].heard_us = 0; /* what was heard before the link says nothing now */
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
        if (peer_wants_link(peer) && peer->gateway->bluez_up) {
            begin_attempt(peer);
            take_link(peer, adapter, device);
        }
        break;
    case PEER_STATE_DISCONNECTING: /* the Connect we cancelled was faster; the Disconnect ends it */
        if (device == peer->device)
            peer->link_up = true;
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
        disconnected(peer);
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
    struct sighting *sighting = find_sighting(peer, device);

    if (sighting)
        sighting->connected = connected;
    if (connected)
        link_came(peer, adapter, device);
    else
        link_went(peer, device);
}

static bool may_clear_cache(const struct peer *peer)
{
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
        disconnect(peer, REASON_NO_SERVICES, true, !peer->clear_cache,
                   "the peer shows no services");
        return;
    }
    if (event->result.status != BT_STATUS_OK) {
        snprintf(why, sizeof(why), "its services could not be read (%s)",
                 event->result.text ? event->result.text : bt_status_name(event->result.status));
        disconnect(peer, REASON_RESOLVE_FAILED, true, false, why);
        return;
    }
    peer->mtu = event->resolved.mtu;
    resolve_sources(peer, event->resolved.characteristics, event->resolved.n_characteristics,
                    &outcome);
    if (outcome.missing && !outcome.ambiguous && may_clear_cache(peer)) {
        /* BlueZ may show a tree of long ago: forget it once and look again */
        peer->clear_cache = true;
        disconnect(peer, REASON_GATT_MISSING, true, false, outcome.why);
        return;
    }
    if (outcome.missing && !outcome.found) {
        disconnect(peer, REASON_GATT_MISSING, true, true, outcome.why);
        return;
    }
    if (outcome.missing)
        actions_log(peer->gateway->actions, LOG_LEVEL_WARNING, peer->log_area, "%s (%zu of %zu)",
                    outcome.why, outcome.missing, peer->n_entries);
    peer->configuring = 0;
    peer_enter_state(peer, PEER_STATE_CONFIGURING, REASON_CONFIGURING, "subscribing");
    subscribe_next(peer);
}

static void online(struct peer *peer)
{
    struct gateway *gateway = peer->gateway;
    char took[32];

    time_format_duration(ATTEMPT_MS - (peer->attempt_us - gateway->now.mono_us) / 1000, took,
                         sizeof(took));
    actions_log(gateway->actions, LOG_LEVEL_INFO, peer->log_area, "online after %s (MTU %u)", took,
                peer->mtu);
    peer->wait_op = 0;
    peer->reconnects++;
    peer->attempts = 0;
    peer_enter_state(peer, PEER_STATE_ONLINE, REASON_OK, "connected and subscribed");
    status_event(gateway, "connected", peer, "ok", "connected and subscribed");
    for (uint32_t i = 0; i < peer->n_entries; i++) {
        struct entry *entry = &peer->entries[i];

        if (entry->settings->read_every_ms && entry->source != NO_SOURCE) {
            entry->read_due_us = gateway_in(gateway, entry->settings->read_every_ms);
            gateway_arm(gateway, entry->read_due_us);
        }
        if (entry->settings->read_on_connect && entry->source != NO_SOURCE)
            ops_read(peer, i, NULL);
    }
    ops_run(peer);
}

static void subscribe_next(struct peer *peer)
{
    struct gateway *gateway = peer->gateway;
    struct source *source = NULL;

    for (; peer->configuring < peer->n_entries; peer->configuring++) {
        source = &peer->sources[peer->configuring];
        if (source->handle && source->wanted && !source->subscribed)
            break;
    }
    if (peer->configuring == peer->n_entries) {
        online(peer);
        return;
    }
    if (!source->subscription) {
        if (++gateway->subscription_ids == 0)
            gateway->subscription_ids = 1;
        source->subscription = gateway->subscription_ids;
    }
    struct action *action = actions_add(gateway->actions, ACTION_SUBSCRIBE);
    peer->wait_op = gateway_next_op(gateway);
    action->op = (struct op){peer->index, peer->generation, peer->wait_op};
    action->adapter = peer->adapter;
    action->device = peer->device;
    action->subscribe.handle = source->handle;
    action->subscribe.subscription = source->subscription;
    action->subscribe.source = peer->configuring;
    action->subscribe.socket = peer->entries[source->first_entry].settings->notify == NOTIFY_SOCKET;
    peer->deadline_us = gateway_in(gateway, SUBSCRIBE_MS);
    gateway_arm(gateway, peer->deadline_us);
}

void peer_subscribe_result(struct peer *peer, const struct event *event)
{
    const struct bt_result *result = &event->result;
    char why[sizeof(peer->why)];

    if (peer->state != PEER_STATE_CONFIGURING || event->op.id != peer->wait_op)
        return;
    struct source *source = &peer->sources[peer->configuring];
    const char *id = peer->entries[source->first_entry].settings->id;
    if (result->status == BT_STATUS_OK) {
        source->subscribed = true;
    } else if (result->status == BT_STATUS_NOT_SUPPORTED) {
        for (uint32_t i = source->first_entry; i != NO_SOURCE; i = peer->entries[i].next)
            peer->entries[i].missing = "the peer offers no notifications for it";
        actions_log(peer->gateway->actions, LOG_LEVEL_WARNING, peer->log_area,
                    "%s offers neither notify nor indicate: it cannot be subscribed", id);
        source->wanted = false;
    } else {
        bool refused =
            result->status == BT_STATUS_ATT_ERROR || result->status == BT_STATUS_NOT_PAIRED ||
            result->status == BT_STATUS_NOT_AUTHORIZED || result->status == BT_STATUS_NOT_PERMITTED;
        snprintf(why, sizeof(why), "subscribing to %s failed (%s)", id,
                 result->text ? result->text : bt_status_name(result->status));
        disconnect(peer, REASON_SUBSCRIBE_FAILED, true, refused, why);
        return;
    }
    peer->configuring++;
    subscribe_next(peer);
}

void peer_subscription_lost(struct peer *peer, const struct event *event)
{
    if (event->value.source >= peer->n_entries)
        return;
    struct source *source = &peer->sources[event->value.source];
    if (!source->subscription || source->subscription != event->value.subscription)
        return;
    source->subscribed = false;
    if (peer->state != PEER_STATE_ONLINE)
        return; /* setting up does it anyway */
    actions_log(peer->gateway->actions, LOG_LEVEL_WARNING, peer->log_area,
                "a subscription ended by itself: subscribing again");
    peer->attempt_us = gateway_in(peer->gateway, ATTEMPT_MS);
    peer->configuring = 0;
    peer_enter_state(peer, PEER_STATE_CONFIGURING, REASON_CONFIGURING, "subscribing again");
    subscribe_next(peer);
}

void peer_services_changed(struct peer *peer)
{
    if (peer->state != PEER_STATE_ONLINE && peer->state != PEER_STATE_CONFIGURING)
        return;
    actions_log(peer->gateway->actions, LOG_LEVEL_INFO, peer->log_area,
                "its services changed: looking again");
    peer->attempt_us = gateway_in(peer->gateway, ATTEMPT_MS);
    for (size_t i = 0; i < peer->n_entries; i++)
        peer->sources[i].subscribed = false;
    resolve(peer);
}

/* ---- objects of BlueZ ---- */

static void heard(struct peer *peer, struct sighting *sighting, const struct device_info *info)
{
    struct gateway *gateway = peer->gateway;
    uint64_t now = gateway->now.mono_us;

    peer->heard_us = sighting->heard_us = now;
    peer->heard_real_us = sighting->heard_real_us = gateway->now.real_us;
    if (info->rssi != RSSI_UNKNOWN)
        peer->rssi = sighting->rssi = info->rssi;
    if (peer->rssi != peer->rssi_published &&
        now - peer->link_published_us >= MS_TO_US(RSSI_REPUBLISH_MS))
        peer->link_dirty = gateway->links_dirty = true;
    if (peer->state == PEER_STATE_BACKOFF && !peer->retry_slow &&
        peer->retry_us > gateway_in(gateway, ADVERT_RETRY_MS) &&
        (!peer->shortcut_us || now - peer->shortcut_us >= MS_TO_US(ADVERT_SHORTCUT_MS))) {
        peer->shortcut_us = now;
        peer->retry_us = gateway_in(gateway, ADVERT_RETRY_MS);
        gateway_arm(gateway, peer->retry_us);
    }
}

void peer_device(struct peer *peer, const struct device_info *info)
{
    struct sighting *sighting = find_sighting(peer, info->device);

    if (!sighting)
        return;
    if (info->heard)
        heard(peer, sighting, info);
    if (info->connected != sighting->connected)
        peer_link(peer, info->adapter, info->device, info->connected);
    if (info->heard && peer->state == PEER_STATE_ABSENT)
        consider(peer);
}

/* A new object of a peer that has its address: one more sighting. */
static void add_sighting(struct peer *peer, const struct device_info *info)
{
    struct sighting *sighting = NULL;

    for (size_t i = 0; i < MAX_ADAPTERS; i++) {
        if (peer->sightings[i].device && peer->sightings[i].adapter == info->adapter) {
            sighting = &peer->sightings[i]; /* a second object at the same adapter: the newer one */
            forget_sighting(peer, sighting);
            break;
        }
        if (!peer->sightings[i].device && !sighting)
            sighting = &peer->sightings[i];
    }
    if (!sighting || gateway_add_device(peer->gateway, info->device, peer) < 0)
        return;
    *sighting =
        (struct sighting){.adapter = info->adapter, .device = info->device, .rssi = RSSI_UNKNOWN};
    peer->gateway->schedule = true; /* a blind attempt is possible now */
    peer_device(peer, info);
}

static void bind_peer(struct peer *peer)
{
    struct gateway *gateway = peer->gateway;
    char address[BT_ADDRESS_TEXT_SIZE];
    struct device_info info = {.adapter = peer->candidate.adapter,
                               .device = peer->candidate.device,
                               .address = peer->candidate.address,
                               .address_type = peer->candidate.address_type,
                               .rssi = peer->candidate.rssi,
                               .heard = true};

    peer->candidate.device = 0;
    if (gateway_peer_of_address(gateway, &info.address)) {
        say_absent(peer); /* another entry was faster */
        return;
    }
    peer->address = info.address;
    peer->address_type = info.address_type;
    if (gateway_add_address(gateway, peer) < 0)
        return;
    peer->bound = true;
    gateway->n_unbound--;
    bt_address_format(&peer->address, address);
    actions_log(gateway->actions, LOG_LEVEL_INFO, peer->log_area, "is %s (RSSI %d dBm)", address,
                info.rssi);
    add_sighting(peer, &info);
}

void peer_offer(struct peer *peer, const struct device_info *info)
{
    if (!peer->settings->enabled)
        return;
    if (peer->bound) {
        if (!peer->settings->match.has_address_type ||
            peer->settings->match.address_type == info->address_type)
            add_sighting(peer, info);
        return;
    }
    if (peer->candidate.device && peer->candidate.device != info->device &&
        peer->candidate.rssi >= info->rssi)
        return;
    if (!peer->candidate.device) {
        peer->candidate.until_us = gateway_in(peer->gateway, BIND_WINDOW_MS);
        gateway_arm(peer->gateway, peer->candidate.until_us);
    }
    peer->candidate.device = info->device;
    peer->candidate.adapter = info->adapter;
    peer->candidate.address = info->address;
    peer->candidate.address_type = info->address_type;
    peer->candidate.rssi = info->rssi;
    peer_reconsider(peer);
}

void peer_device_gone(struct peer *peer, uint32_t device)
{
    struct sighting *sighting = find_sighting(peer, device);

    if (!sighting)
        return;
    if (peer->device == device) {
        switch (peer->state) {
        case PEER_STATE_CONNECTING: /* the Connect may never be answered */
            forget_link(peer);
            peer_enter_state(peer, PEER_STATE_ABSENT, REASON_NOT_HEARD, "BlueZ has forgotten it");
            break;
        case PEER_STATE_DISABLED:
        case PEER_STATE_ABSENT:
        case PEER_STATE_READY:
        case PEER_STATE_BACKOFF:
        case PEER_STATE_IDLE: break;
        case PEER_STATE_RESOLVING:
        case PEER_STATE_PAIRING:
        case PEER_STATE_CONFIGURING:
        case PEER_STATE_ONLINE:
        case PEER_STATE_DISCONNECTING: link_went(peer, device); break;
        }
    }
    forget_sighting(peer, sighting);
    peer_reconsider(peer);
}

void peer_bluez_down(struct peer *peer)
{
    for (size_t i = 0; i < MAX_ADAPTERS; i++)
        if (peer->sightings[i].device)
            forget_sighting(peer, &peer->sightings[i]);
    peer->candidate.device = 0;
    if (peer->state == PEER_STATE_DISABLED)
        return;
    if (peer->state == PEER_STATE_ONLINE)
        status_event(peer->gateway, "disconnected", peer, "no_bluez", "BlueZ went away");
    forget_link(peer);
    peer->retry_us = 0;
    peer->blind_us = 0;
    peer_enter_state(peer, PEER_STATE_ABSENT, REASON_NO_BLUEZ, "BlueZ went away");
    consider(peer);
}

/* ---- time ---- */

static void state_deadline(struct peer *peer)
{
    switch (peer->state) {
    case PEER_STATE_CONNECTING:
        if (peer->blind)
            disconnect(peer, peer->reason, false, false, peer->why);
        else
            disconnect(peer, REASON_CONNECT_TIMEOUT, true, false,
                       "no connection within the time allowed");
        break;
    case PEER_STATE_RESOLVING:
        disconnect(peer, REASON_RESOLVE_FAILED, true, false,
                   "its services were not found out in time");
        break;
    case PEER_STATE_PAIRING:
    case PEER_STATE_CONFIGURING:
        disconnect(peer, REASON_SUBSCRIBE_FAILED, true, false, "subscribing took too long");
        break;
    case PEER_STATE_DISCONNECTING: disconnected(peer); break;
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
        const struct sighting *sighting = peer_best_sighting(peer, 0, true);
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
            bind_peer(peer);
        else
            gateway_arm(gateway, peer->candidate.until_us);
    }
    timer_states(peer);
    for (uint32_t i = 0; i < peer->n_entries; i++) {
        struct entry *entry = &peer->entries[i];

        if (entry->read_due_us == TIME_NEVER)
            continue;
        if (entry->read_due_us <= now) {
            entry->read_due_us = now + MS_TO_US(entry->settings->read_every_ms);
            ops_read(peer, i, NULL);
        }
        gateway_arm(gateway, entry->read_due_us);
    }
}

void peer_stop(struct peer *peer)
{
    struct gateway *gateway = peer->gateway;

    ops_cancel_all(peer, "cancelled", "the gateway is stopping");
    if (peer->device && peer->state != PEER_STATE_DISCONNECTING) {
        struct action *action = actions_add(gateway->actions, ACTION_DISCONNECT);
        action->op = (struct op){.peer = peer->index, .generation = peer->generation};
        action->adapter = peer->adapter;
        action->device = peer->device;
    }
    forget_link(peer);
    peer_enter_state(
        peer, PEER_STATE_DISABLED, peer->settings->enabled ? REASON_STOPPING : REASON_DISABLED,
        peer->settings->enabled ? "the gateway was stopped" : "switched off in the configuration");
}
