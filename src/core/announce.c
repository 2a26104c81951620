/*
 * When Home Assistant is told of devices: once per connection to the broker, when a document has
 * changed, and when Home Assistant says that it is there (again). A document goes out after the
 * list of devices that names its topic and after the device's availability; only of devices that
 * are ours. Must not know what stands in a document.
 */
#include "core/world.h"

#include "core/discovery.h"
#include <stdio.h>
#include <string.h>

#define BIRTH_MIN_MS  1000 /* all gateways hear it at once */
#define BIRTH_SPAN_MS 9000

static uint64_t hash_of(const struct strbuf *text)
{
    uint64_t hash = 0xcbf29ce484222325ULL;

    for (size_t i = 0; i < text->length; i++) /* FNV-1a */
        hash = (hash ^ (uint8_t)text->data[i]) * 0x100000001b3ULL;
    return hash ? hash : 1; /* 0: nothing was announced */
}

static void refuse(struct gateway *gateway, const struct peer *peer, const char *topic,
                   size_t limit)
{
    gateway->counts.rejected++;
    const char *text = actions_printf(
        gateway->actions,
        "Home Assistant is not told of %s: the document of %zu bytes on %s is longer than %s %zu",
        peer ? peer->settings->id : "this gateway", gateway->payload.length, topic,
        limit == DISCOVERY_MAX_BYTES ? "the limit of" : "the broker's limit of", limit);
    if (!text)
        return;
    actions_log(gateway->actions, LOG_LEVEL_WARNING, "mqtt", "%s", text);
    status_event(gateway, "publish_refused", peer, "packet_too_large", text);
}

/* the document in gateway->payload, unless it is as told before */
static void publish(struct gateway *gateway, const struct peer *peer, const char *topic,
                    uint64_t *announced)
{
    /* MQTT 5.0 section 2.1.4, 3.3: the header, the topic and an empty list of properties */
    size_t around = 5 + 2 + strlen(topic) + 2 + 1;
    size_t limit = DISCOVERY_MAX_BYTES;

    if (!strbuf_ok(&gateway->payload)) {
        gateway->counts.rejected++;
        return;
    }
    uint64_t hash = hash_of(&gateway->payload);
    if (*announced == hash)
        return;
    *announced = hash;
    if (gateway->max_packet)
        limit = MIN_OF(limit, MAX_OF(gateway->max_packet, around) - around);
    if (gateway->payload.length > limit) {
        refuse(gateway, peer, topic, limit);
        return;
    }
    struct outbox_put put = {.topic = topic,
                             .payload = strbuf_str(&gateway->payload),
                             .length = gateway->payload.length,
                             .qos = 1,
                             .retain = true,
                             .latest_only = true,
                             .status = true};
    gateway_put(gateway, &put);
}

static void announce(struct peer *peer)
{
    struct gateway *gateway = peer->gateway;
    bool lasts = peer->bound && !bt_address_is_private(&peer->address, peer->address_type);
    char topic[DISCOVERY_TOPIC_SIZE];

    strbuf_reset(&gateway->payload);
    discovery_write_device(&gateway->payload, gateway->settings, peer->settings,
                           lasts ? &peer->address : NULL, gateway->version);
    publish(gateway, peer, discovery_topic(gateway->settings, peer->settings->id, topic),
            &peer->announced);
    peer->documented = true;
}

void announce_run(struct gateway *gateway)
{
    char topic[DISCOVERY_TOPIC_SIZE];

    gateway->announce_due = false;
    if (!discovery_is_on(gateway->settings) || gateway->stopping)
        return;
    strbuf_reset(&gateway->payload);
    discovery_write_gateway(&gateway->payload, gateway->settings, gateway->version);
    publish(gateway, NULL, discovery_gateway_topic(gateway->settings, topic), &gateway->announced);
    for (size_t i = 0; i < gateway->n_peers; i++)
        if (gateway->peers[i]->speaks)
            announce(gateway->peers[i]);
}

void announce_again(struct peer *peer)
{
    struct gateway *gateway = peer->gateway;
    char topic[DISCOVERY_TOPIC_SIZE];

    peer->announced = 0;
    gateway->announce_due = true;
    /* turned off while another gateway had the device: that one may have left a document, too */
    if (discovery_is_on(gateway->settings) || (!peer->documented && !peer->taken_over))
        return;
    peer->documented = peer->taken_over = false;
    memory_leave(gateway, peer->settings->id,
                 discovery_topic(gateway->settings, peer->settings->id, topic));
}

void announce_forget(const struct peer *peer)
{
    char topic[DISCOVERY_TOPIC_SIZE];

    if (peer->gateway->settings->home_assistant.prefix) /* also what waits since it was on */
        outbox_forget(peer->gateway->outbox,
                      discovery_topic(peer->gateway->settings, peer->settings->id, topic));
}

static void forget_all(struct gateway *gateway)
{
    char topic[DISCOVERY_TOPIC_SIZE];

    gateway->birth_us = TIME_NEVER;
    gateway->announced = 0;
    if (gateway->settings->home_assistant.prefix)
        outbox_forget(gateway->outbox, discovery_gateway_topic(gateway->settings, topic));
    for (size_t i = 0; i < gateway->n_peers; i++) {
        announce_forget(gateway->peers[i]);
        gateway->peers[i]->announced = 0;
    }
}

void announce_begin(struct gateway *gateway)
{
    forget_all(gateway);
}

const char *announce_topic(const struct gateway *gateway, const char *device,
                           char buf[static DISCOVERY_TOPIC_SIZE])
{
    if (!discovery_is_on(gateway->settings))
        return NULL;
    return device ? discovery_topic(gateway->settings, device, buf)
                  : discovery_gateway_topic(gateway->settings, buf);
}

bool announce_is_topic(const struct gateway *gateway, const char *device, const char *topic)
{
    char buf[DISCOVERY_TOPIC_SIZE];
    const char *ours = announce_topic(gateway, device, buf);

    return ours && strcmp(ours, topic) == 0;
}

/* ---- Home Assistant's birth ---- */

static void birth_filter(struct gateway *gateway, const struct settings *settings,
                         enum action_type type)
{
    const char *filter =
        actions_printf(gateway->actions, "%s/status", settings->home_assistant.prefix);

    if (!filter) {
        gateway->counts.rejected++;
        return;
    }
    struct action *action = actions_add(gateway->actions, type);
    action->topic.filter = filter;
    action->topic.qos = 1;
}

void announce_subscribe(struct gateway *gateway)
{
    if (discovery_is_on(gateway->settings))
        birth_filter(gateway, gateway->settings, ACTION_TOPIC_SUBSCRIBE);
}

bool announce_is_birth(const struct gateway *gateway, const char *topic)
{
    const char *prefix = gateway->settings->home_assistant.prefix;
    size_t length = prefix ? strlen(prefix) : 0;

    return discovery_is_on(gateway->settings) && strncmp(topic, prefix, length) == 0 &&
           strcmp(topic + length, "/status") == 0;
}

/* One that was retained says nothing new: all has been told on this connection. */
bool announce_message(struct gateway *gateway, const struct event *event)
{
    bool online = event->message.length == strlen("online") &&
                  memcmp(event->message.payload, "online", strlen("online")) == 0;

    if (!announce_is_birth(gateway, event->message.topic))
        return false;
    if (!online || event->message.retained || gateway->birth_us != TIME_NEVER)
        return true;
    gateway->birth_us =
        gateway_in(gateway, BIRTH_MIN_MS + gateway_random(gateway, BIRTH_SPAN_MS + 1));
    gateway_arm(gateway, gateway->birth_us);
    return true;
}

void announce_timer(struct gateway *gateway)
{
    if (gateway->birth_us > gateway->now.mono_us) {
        gateway_arm(gateway, gateway->birth_us);
        return;
    }
    gateway->birth_us = TIME_NEVER;
    if (gateway->greeting.step != GREETING_STEP_DONE || gateway->stopping)
        return;
    gateway->announced = 0;
    for (size_t i = 0; i < gateway->n_peers; i++)
        if (gateway->peers[i]->speaks) {
            status_link_again(gateway->peers[i]);
            gateway->peers[i]->link_dirty = true;
        }
    gateway->announce_due = true;
    outbox_repeat(gateway->outbox, gateway->now.mono_us);
    actions_log(gateway->actions, LOG_LEVEL_INFO, "mqtt",
                "Home Assistant has come: everything is announced again");
}

/* ---- a new version of the file ---- */

void announce_reload(struct gateway *gateway, const struct settings *next)
{
    const struct settings *old = gateway->settings;
    char topic[DISCOVERY_TOPIC_SIZE];
    bool was_on = discovery_is_on(old), is_on = discovery_is_on(next);

    if (was_on == is_on &&
        (!is_on || strcmp(old->home_assistant.prefix, next->home_assistant.prefix) == 0))
        return;
    forget_all(gateway);
    if (was_on) {
        memory_leave(gateway, MEMORY_GATEWAY, discovery_gateway_topic(old, topic));
        if (gateway->greeting.step == GREETING_STEP_DONE)
            birth_filter(gateway, old, ACTION_TOPIC_UNSUBSCRIBE);
    }
    for (size_t i = 0; i < gateway->n_peers; i++) {
        struct peer *peer = gateway->peers[i];
        if (!was_on || !peer->ours)
            continue;
        peer->documented = false;
        memory_leave(gateway, peer->settings->id, discovery_topic(old, peer->settings->id, topic));
    }
    if (is_on && gateway->greeting.step == GREETING_STEP_DONE)
        birth_filter(gateway, next, ACTION_TOPIC_SUBSCRIBE);
}
