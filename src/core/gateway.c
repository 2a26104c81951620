/*
 * The core's front: takes an event, lets the right part decide, and sends what may go to the
 * broker. Must not know what BlueZ or Paho are, nor the time of day but from its caller.
 */
#include "core/world.h"

#include "core/topic.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- time and chance ---- */

void gateway_arm(struct gateway *gateway, uint64_t at_us)
{
    if (at_us < gateway->next_us)
        gateway->next_us = at_us;
}

uint64_t gateway_in(const struct gateway *gateway, uint64_t ms)
{
    return gateway->now.mono_us + MS_TO_US(ms);
}

uint64_t gateway_next_deadline(const struct gateway *gateway)
{
    return gateway->next_us;
}

/* xorshift64*: good enough for jitter, and the same everywhere */
uint32_t gateway_random(struct gateway *gateway, uint32_t below)
{
    uint64_t x = gateway->random;

    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    gateway->random = x;
    return (uint32_t)((x * 0x2545f4914f6cdd1dULL >> 32) * below >> 32);
}

uint32_t gateway_next_op(struct gateway *gateway)
{
    if (++gateway->op_ids == 0)
        gateway->op_ids = 1;
    return gateway->op_ids;
}

/* ---- life ---- */

static int topics_init(struct gateway *gateway)
{
    const struct settings *settings = gateway->settings;

    gateway->topic_status = status_topic(settings, "status");
    gateway->topic_info = status_topic(settings, "info");
    gateway->topic_devices = status_topic(settings, "devices");
    gateway->topic_health = status_topic(settings, "health");
    gateway->topic_event = status_topic(settings, "event");
    gateway->topic_request = status_topic(settings, "request");
    gateway->topic_response = status_topic(settings, "response");
    return gateway->topic_status && gateway->topic_info && gateway->topic_devices &&
                   gateway->topic_health && gateway->topic_event && gateway->topic_request &&
                   gateway->topic_response
               ? 0
               : -ENOMEM;
}

int gateway_new(const struct gateway_options *options, struct gateway **ret_gateway)
{
    struct settings *settings = options->settings;
    struct outbox_limits limits = {.messages = settings->mqtt.buffer_messages,
                                   .bytes = settings->mqtt.buffer_bytes};
    struct gateway *gateway = calloc(1, sizeof(*gateway));
    int r;

    if (!gateway)
        return -ENOMEM;
    gateway->settings = settings;
    gateway->version = options->version;
    gateway->random = options->seed * 0x9e3779b97f4a7c15ULL + 1; /* never 0 */
    if (!gateway->random)
        gateway->random = 1;
    gateway->next_us = TIME_NEVER;
    gateway->stop_us = TIME_NEVER;
    gateway->health_us = TIME_NEVER;
    gateway->reconnect_us = TIME_NEVER;
    gateway->birth_us = TIME_NEVER;
    gateway->announced_stale = true;
    gateway->bluez_reason = REASON_STARTING;

    r = outbox_new(&limits, &gateway->outbox);
    if (r == 0)
        r = dedup_new(&gateway->dedup);
    if (r == 0)
        r = topics_init(gateway);
    if (r == 0)
        r = peers_init(gateway);
    if (r < 0) {
        gateway_free(gateway);
        return r;
    }
    *ret_gateway = gateway;
    return 0;
}

struct gateway *gateway_free(struct gateway *gateway)
{
    if (!gateway)
        return NULL;
    while (gateway->n_reloads)
        command_free(gateway->reloads[--gateway->n_reloads]);
    survey_done(gateway);
    peers_done(gateway);
    dedup_free(gateway->dedup);
    memory_done(gateway);
    announced_done(&gateway->announced);
    outbox_free(gateway->outbox);
    strbuf_done(&gateway->payload);
    free(gateway->topic_status);
    free(gateway->topic_info);
    free(gateway->topic_devices);
    free(gateway->topic_health);
    free(gateway->topic_event);
    free(gateway->topic_request);
    free(gateway->topic_response);
    free(gateway);
    return NULL;
}

/* ---- to the broker ---- */

void gateway_pump(struct gateway *gateway)
{
    struct outbox_message message;

    while (outbox_next(gateway->outbox, &message)) {
        struct action *action = actions_add(gateway->actions, ACTION_PUBLISH);

        action->publish.token = message.token;
        action->publish.patient = message.patient && !gateway->stopping;
        action->publish.topic = message.topic;
        action->publish.payload = message.payload;
        action->publish.length = message.length;
        action->publish.qos = message.qos;
        action->publish.retain = message.retain;
        action->publish.expiry_s = message.expiry_s;
        action->publish.correlation = message.correlation;
        action->publish.correlation_length = message.correlation_length;
    }
}

void gateway_put(struct gateway *gateway, const struct outbox_put *put)
{
    if (outbox_put(gateway->outbox, put) < 0)
        gateway->counts.rejected++;
}

int gateway_ask_topic(struct gateway *gateway, enum action_type type, const char *filter)
{
    if (!filter)
        return -ENOMEM;
    struct action *action = actions_add(gateway->actions, type);
    action->topic.filter = filter;
    action->topic.qos = 1;
    return 0;
}

static void broker_up(struct gateway *gateway, const struct event *event)
{
    if (gateway->broker_up) { /* a reconnect that we were not told of */
        outbox_reset(gateway->outbox, false);
        greet_end(gateway);
    }
    gateway->broker_up = gateway->sentence_dirty = true;
    *gateway->broker_text = '\0';
    actions_log(gateway->actions, LOG_LEVEL_INFO, "mqtt", "connected to %s",
                gateway->settings->mqtt.url);
    gateway->broker_v5 = event->broker_up.v5;
    gateway->max_packet = event->broker_up.max_packet;
    outbox_open(gateway->outbox, MAX_OF(event->broker_up.window, 1u),
                MAX_OF(event->broker_up.window_qos0, 1u));
    greet_begin(gateway);
}

static void broker_down(struct gateway *gateway, const struct event *event)
{
    const char *text =
        event->broker_down.text ? event->broker_down.text : event->broker_down.reason;

    char why[sizeof(gateway->broker_text)];

    snprintf(why, sizeof(why), "%s", text ? text : "");
    if (gateway->broker_up)
        broker_lost(gateway, event->broker_down.reason, why, sizeof(why));
    else
        outbox_forgive(gateway->outbox); /* when it comes it may be another one */
    /* attempt after attempt fails for the same reason: that is told once */
    if (gateway->broker_up || strcmp(why, gateway->broker_text) != 0)
        actions_log(gateway->actions, LOG_LEVEL_WARNING, "mqtt",
                    "not connected to %s: %s; trying again", gateway->settings->mqtt.url, why);
    gateway->broker_up = false;
    greet_end(gateway);
    memcpy(gateway->broker_text, why, sizeof(why));
    gateway->sentence_dirty = true;
}

/* ---- BlueZ ---- */

static void bluez_up(struct gateway *gateway, const struct event *event)
{
    gateway->bluez_up = true;
    snprintf(gateway->bluez_version, sizeof(gateway->bluez_version), "%s",
             event->bluez_up.version ? event->bluez_up.version : "");
    actions_log(gateway->actions, LOG_LEVEL_INFO, "bluez", "bluetoothd is there");
    for (size_t i = 0; i < gateway->n_peers; i++)
        peer_reconsider(gateway->peers[i]);
    gateway->schedule = gateway->bridge_dirty = true;
}

static void bluez_down(struct gateway *gateway, const struct event *event)
{
    const char *reason = event->bluez_down.reason ? event->bluez_down.reason : "";
    bool was_up = gateway->bluez_up || gateway->bluez_reason == REASON_STARTING;

    gateway->bluez_up = false;
    gateway->bluez_reason = strcmp(reason, "access_denied") == 0 ? REASON_ACCESS_DENIED
                            : strcmp(reason, "no_bus") == 0      ? REASON_NO_BUS
                                                                 : REASON_NO_BLUEZ;
    snprintf(gateway->bluez_text, sizeof(gateway->bluez_text), "%s",
             event->bluez_down.text ? event->bluez_down.text : "");
    adapter_all_gone(gateway);
    gateway->bridge_dirty = true;
    if (was_up && !gateway->stopping) {
        char why[160];
        enum reason trouble = adapter_bluez_trouble(gateway, why, sizeof(why));
        actions_log(gateway->actions, LOG_LEVEL_WARNING, "bluez", "%s%s; waiting for it", why,
                    trouble == REASON_NO_BUS ? " (in a container: mount /run/dbus)" : "");
    }
    for (size_t i = 0; i < gateway->n_peers; i++)
        peer_bluez_down(gateway->peers[i]);
    for (struct peer *peer = gateway->leaving; peer; peer = peer->next_leaving)
        peer_bluez_down(peer);
}

/* An object at BlueZ: one of ours, one of ours at another adapter, or one that somebody looks for.
 */
static void device(struct gateway *gateway, const struct device_info *info)
{
    struct adapter *adapter = adapter_find(gateway, info->adapter);
    struct peer *peer = gateway_peer_of_device(gateway, info->device);

    if (adapter && info->heard) {
        recover_heard(gateway, adapter);
        survey_heard(gateway, adapter, info);
    }

    if (peer) {
        peer_device(peer, info);
        return;
    }
    if (!adapter)
        return;
    peer = gateway_peer_of_address(gateway, &info->address);
    if (peer) {
        peer_offer(peer, info);
        return;
    }
    if (!gateway->n_unbound || !adapter->used || !(info->heard || info->connected))
        return;
    for (size_t i = 0; i < gateway->n_peers; i++) {
        peer = gateway->peers[i];
        if (!peer->bound && claim_may_become_ours(peer) && peer->settings->enabled &&
            adapter_serves(peer, adapter) && match_device(&peer->settings->match, info)) {
            peer_offer(peer, info);
            return;
        }
    }
}

static void device_gone(struct gateway *gateway, uint32_t number)
{
    struct peer *peer = gateway_peer_of_device(gateway, number);

    if (peer) {
        peer_device_gone(peer, number);
        return;
    }
    for (size_t i = 0; gateway->n_unbound && i < gateway->n_peers; i++)
        if (gateway->peers[i]->candidate.device == number)
            gateway->peers[i]->candidate.device = 0;
}

static void link(struct gateway *gateway, const struct event *event)
{
    struct peer *peer = gateway_peer_of_device(gateway, event->device);
    struct adapter *adapter = adapter_find(gateway, event->adapter);

    if (adapter)
        adapter->links = event->link.links;
    if (peer) {
        peer_link(peer, event->adapter, event->device, event->link.connected);
        return;
    }
    /* somebody else's, of a peer that has perhaps not been heard: is it one that is looked for? */
    if (gateway->n_unbound && event->link.connected)
        actions_add(gateway->actions, ACTION_TELL_DEVICES);
    for (size_t i = 0; gateway->n_unbound && i < gateway->n_peers; i++) {
        peer = gateway->peers[i];
        if (peer->bound || peer->candidate.device != event->device)
            continue;
        peer->candidate.connected = event->link.connected;
        if (event->link.connected)
            peer_bind(peer); /* a link that exists already decides */
    }
}

static void value(struct gateway *gateway, const struct event *event)
{
    struct peer *peer = gateway_peer_at(gateway, event->value.peer);

    if (!peer || event->value.source >= peer->n_sources || !event->value.subscription ||
        peer->sources[event->value.source].subscription != event->value.subscription) {
        gateway->counts.stale_answers++;
        return;
    }
    gateway->counts.notifications++;
    publish_source(peer, event->value.source, event->value.data, event->value.length);
}

/* The peer an answer belongs to, or NULL when it comes too late. */
static struct peer *answered(struct gateway *gateway, const struct event *event)
{
    struct peer *peer = gateway_peer_at(gateway, event->op.peer);

    if (peer && peer->generation == event->op.generation)
        return peer;
    gateway->counts.stale_answers++;
    return NULL;
}

static void answer(struct gateway *gateway, const struct event *event)
{
    struct peer *peer = answered(gateway, event);

    if (!peer)
        return;
    switch ((int)event->type) {
    case EVENT_CONNECT_RESULT: peer_connect_result(peer, event); break;
    case EVENT_DISCONNECT_RESULT: peer_disconnect_result(peer, event); break;
    case EVENT_RESOLVE_RESULT: peer_resolve_result(peer, event); break;
    case EVENT_SUBSCRIBE_RESULT:
        if (peer->op && peer->op->id == event->op.id)
            ops_result(peer, event);
        else
            peer_subscribe_result(peer, event);
        break;
    case EVENT_PAIR_RESULT: peer_pair_result(peer, event); break;
    case EVENT_INSPECT_RESULT: (void)errand_result(peer, event); break;
    case EVENT_READ_RESULT:
        if (!errand_result(peer, event))
            ops_result(peer, event);
        break;
    case EVENT_WRITE_RESULT: ops_result(peer, event); break;
    default: break;
    }
}

/* ---- the process ---- */

static void start(struct gateway *gateway)
{
    gateway->started = gateway->now;
    gateway->sentence_dirty = true;
    gateway->health_us = gateway_in(gateway, HEALTH_MS);
    gateway_arm(gateway, gateway->health_us);
    for (size_t i = 0; i < gateway->n_peers; i++)
        peer_start(gateway->peers[i]);
}

static void stop(struct gateway *gateway)
{
    if (gateway->stopping)
        return;
    gateway->stopping = true;
    gateway->stop_us = gateway_in(gateway, STOP_MS);
    gateway_arm(gateway, gateway->stop_us);
    actions_log(gateway->actions, LOG_LEVEL_INFO, "gateway", "stopping");
    for (size_t i = 0; i < gateway->n_peers; i++)
        peer_stop(gateway->peers[i]);
    survey_stop(gateway);
    adapter_stop(gateway);
    reload_cancel(gateway);
    for (size_t i = 0; i < gateway->n_peers; i++)
        claim_stop(gateway->peers[i]);
    if (gateway->greeting.step == GREETING_STEP_DONE)
        status_online(gateway, false); /* else greet_finish() does */
}

static void quit_if_done(struct gateway *gateway)
{
    if (!gateway->stopping || gateway->stop_us == 0)
        return;
    if (gateway->broker_up && !outbox_is_empty(gateway->outbox) &&
        gateway->now.mono_us < gateway->stop_us)
        return;
    gateway->stop_us = 0; /* said once */
    actions_add(gateway->actions, ACTION_QUIT);
}

static void timer(struct gateway *gateway)
{
    gateway->next_us = TIME_NEVER; /* everybody arms again what is not yet due */
    adapter_timer(gateway);
    for (size_t i = 0; i < gateway->n_peers; i++) {
        peer_timer(gateway->peers[i]);
        ops_timer(gateway->peers[i]);
        step_timer(gateway->peers[i]);
        claim_timer(gateway->peers[i]);
    }
    for (struct peer *peer = gateway->leaving; peer; peer = peer->next_leaving)
        peer_timer(peer);
    survey_timer(gateway);
    greet_timer(gateway);
    claim_bridges_timer(gateway);
    announce_timer(gateway);
    if (gateway->health_us <= gateway->now.mono_us) {
        broker_tell_more(gateway);
        if (gateway->broker_up && !gateway->stopping)
            status_health(gateway);
        gateway->health_us = gateway_in(gateway, HEALTH_MS);
    }
    gateway_arm(gateway, gateway->health_us);
    if (gateway->reconnect_us > gateway->now.mono_us)
        gateway_arm(gateway, gateway->reconnect_us);
    if (gateway->stopping && gateway->stop_us > gateway->now.mono_us)
        gateway_arm(gateway, gateway->stop_us);
}

static void dispatch(struct gateway *gateway, const struct event *event)
{
    struct peer *peer;

    switch (event->type) {
    case EVENT_START: start(gateway); break;
    case EVENT_TIMER:
        if (event->timer.memory_bytes)
            gateway->memory_bytes = event->timer.memory_bytes;
        timer(gateway);
        break;
    case EVENT_STOP: stop(gateway); break;
    case EVENT_BLUEZ_UP: bluez_up(gateway, event); break;
    case EVENT_BLUEZ_DOWN: bluez_down(gateway, event); break;
    case EVENT_ADAPTER: adapter_changed(gateway, &event->adapter_info); break;
    case EVENT_ADAPTER_GONE: adapter_gone(gateway, event->adapter); break;
    case EVENT_DEVICE: device(gateway, &event->device_info); break;
    case EVENT_DEVICE_GONE: device_gone(gateway, event->device); break;
    case EVENT_LINK: link(gateway, event); break;
    case EVENT_SCAN_RESULT: scan_result(gateway, event); break;
    case EVENT_POWER_RESULT: adapter_power_result(gateway, event); break;
    case EVENT_CONNECT_RESULT:
    case EVENT_DISCONNECT_RESULT:
    case EVENT_RESOLVE_RESULT:
    case EVENT_SUBSCRIBE_RESULT:
    case EVENT_READ_RESULT:
    case EVENT_INSPECT_RESULT:
    case EVENT_WRITE_RESULT: answer(gateway, event); break;
    case EVENT_PAIR_RESULT:
        errand_paired(gateway, event);
        answer(gateway, event);
        break;
    case EVENT_REMOVE_RESULT: errand_removed(gateway, event); break;
    case EVENT_VALUE: value(gateway, event); break;
    case EVENT_SUBSCRIPTION_LOST:
        peer = gateway_peer_at(gateway, event->value.peer);
        if (peer)
            peer_subscription_lost(peer, event);
        break;
    case EVENT_SERVICES_CHANGED:
        peer = gateway_peer_of_device(gateway, event->device);
        if (peer && peer->device == event->device)
            peer_services_changed(peer);
        break;
    case EVENT_BROKER_UP: broker_up(gateway, event); break;
    case EVENT_BROKER_DOWN: broker_down(gateway, event); break;
    case EVENT_PUBLISHED: broker_published(gateway, event); break;
    case EVENT_TOPIC_SUBSCRIBED: broker_subscribed(gateway, event); break;
    case EVENT_MESSAGE:
        if (!claim_message(gateway, event) && !memory_message(gateway, event) &&
            !broker_memory(gateway, event) && !announce_message(gateway, event))
            router_message(gateway, event);
        break;
    }
}

/* `devices` goes before the topics it lists, availability before `online`. */
static void say(struct gateway *gateway)
{
    announced_refresh(gateway);
    memory_run(gateway);
    if (gateway->bridge_dirty) {
        gateway->bridge_dirty = false;
        gateway->announce_due = true;
        status_bridge(gateway);
    }
    if (gateway->claims_due)
        claim_publish(gateway);
    if (gateway->links_dirty) {
        gateway->links_dirty = false;
        for (size_t i = 0; i < gateway->n_peers; i++)
            status_link(gateway->peers[i]);
    }
    announce_run(gateway);
    greet_finish(gateway);
}

/* what every event may have left to do */
static void finish(struct gateway *gateway)
{
    reload_retire(gateway);
    while (gateway->schedule && !gateway->stopping) {
        gateway->schedule = false;
        adapter_schedule(gateway);
    }
    if (greet_is_settled(gateway)) /* until then nothing is said; then everything */
        say(gateway);
    if (gateway->sentence_dirty) {
        gateway->sentence_dirty = false;
        status_sentence(gateway);
    }
    gateway_pump(gateway);
    reload_reconnect(gateway);
    quit_if_done(gateway);
    gateway->actions = NULL;
}

static void begin(struct gateway *gateway, struct now now, struct actions *actions)
{
    reload_bury(gateway); /* the actions of the last call may have named them */
    gateway->now = now;
    gateway->actions = actions;
}

void gateway_handle(struct gateway *gateway, struct now now, const struct event *event,
                    struct actions *actions)
{
    begin(gateway, now, actions);
    dispatch(gateway, event);
    finish(gateway);
}

int gateway_reload(struct gateway *gateway, struct now now, struct settings *next,
                   struct actions *actions)
{
    begin(gateway, now, actions);
    int r = reload_settings(gateway, next);
    finish(gateway);
    return r;
}

void gateway_reload_failed(struct gateway *gateway, struct now now, const char *text,
                           struct actions *actions)
{
    begin(gateway, now, actions);
    reload_failed(gateway, text);
    finish(gateway);
}
