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

#define MIGRATE_PAUSE_MS 1000 /* Home Assistant has taken in what was said before */

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
        "Home Assistant is not told of %s: the document of %zu bytes on %s is longer than %s %zu%s",
        peer ? peer->settings->id : "this gateway", gateway->payload.length, topic,
        limit == DISCOVERY_MAX_BYTES ? "the limit of" : "the broker's limit of", limit,
        gateway->settings->home_assistant.discovery == DISCOVERY_DEVICE
            ? "; with `discovery: component` each entity has a short one of its own"
            : "");
    if (!text)
        return;
    actions_log(gateway->actions, LOG_LEVEL_WARNING, "mqtt", "%s", text);
    status_event(gateway, "publish_refused", peer, "packet_too_large", text);
}

static void put(struct gateway *gateway, const char *topic, const void *payload, size_t length)
{
    struct outbox_put put = {.topic = topic,
                             .payload = payload,
                             .length = length,
                             .qos = 1,
                             .retain = true,
                             .latest_only = true,
                             .status = true};

    gateway_put(gateway, &put);
}

/* the document in gateway->payload, unless it is as told before; false: it cannot go */
static bool publish(struct gateway *gateway, const struct peer *peer, const char *topic,
                    uint64_t *announced)
{
    /* MQTT 5.0 section 2.1.4, 3.3: the header, the topic and an empty list of properties */
    size_t around = 5 + 2 + strlen(topic) + 2 + 1;
    size_t limit = DISCOVERY_MAX_BYTES;

    if (!strbuf_ok(&gateway->payload)) {
        gateway->counts.rejected++;
        return false;
    }
    uint64_t hash = hash_of(&gateway->payload);
    if (*announced == hash)
        return true;
    *announced = hash;
    if (gateway->max_packet)
        limit = MIN_OF(limit, MAX_OF(gateway->max_packet, around) - around);
    if (gateway->payload.length > limit) {
        refuse(gateway, peer, topic, limit);
        return false;
    }
    put(gateway, topic, strbuf_str(&gateway->payload), gateway->payload.length);
    return true;
}

/* ---- documents; `peer` NULL: the gateway's own ---- */

static struct announced *announced_of(struct gateway *gateway, struct peer *peer)
{
    return peer ? &peer->announced : &gateway->announced;
}

static struct discovery_about about(const struct gateway *gateway, const struct peer *peer)
{
    bool lasts = peer && peer->bound && !bt_address_is_private(&peer->address, peer->address_type);

    return (struct discovery_about){.settings = gateway->settings,
                                    .device = peer ? peer->settings : NULL,
                                    .address = lasts ? &peer->address : NULL,
                                    .version = gateway->version};
}

/* To write a document only to see that it is the same costs more than all else that is done when
 * one device of many comes online. */
static bool is_said(const struct announced *announced, const struct discovery_about *of)
{
    return announced->said && announced->said_address == (of->address != NULL) &&
           (!of->address || bt_address_equal(of->address, &announced->address));
}

static void set_said(struct announced *announced, const struct discovery_about *of)
{
    announced->said = true;
    announced->said_address = of->address != NULL;
    if (of->address)
        announced->address = *of->address;
}

struct saying {
    struct gateway *gateway;
    struct peer *peer;
    size_t index;
    bool failed;
};

static void say_entity(void *data, const struct discovery_entity *entity)
{
    struct saying *saying = data;
    struct gateway *gateway = saying->gateway;
    struct discovery_about of = about(gateway, saying->peer);
    struct announced_entity *announced =
        announced_find(announced_of(gateway, saying->peer), entity->path, &saying->index);
    char topic[DISCOVERY_TOPIC_SIZE];

    if (!announced) { /* it is not in the list of devices: there was no memory for it */
        saying->failed = true;
        return;
    }
    strbuf_reset(&gateway->payload);
    discovery_write_entity(&gateway->payload, &of, entity);
    discovery_entity_topic(of.settings, of.device ? of.device->id : NULL, entity->path, topic);
    saying->failed |= !publish(gateway, saying->peer, topic, &announced->hash);
}

/* The document of all, in which those that are gone are marked. True: it is on its way still. */
static bool mark_gone(struct gateway *gateway, struct peer *peer)
{
    struct announced *announced = announced_of(gateway, peer);
    struct discovery_about of = about(gateway, peer);
    const char *gone[ANNOUNCED_GONE_MAX];
    char topic[DISCOVERY_TOPIC_SIZE];
    size_t n;

    discovery_topic(of.settings, of.device ? of.device->id : NULL, topic);
    if (announced->marking && outbox_holds(gateway->outbox, topic))
        return true;
    if (announced->marking)
        announced_forget_gone(announced);
    gateway->bridge_dirty |= announced->marking; /* the list goes without them */
    announced->marking = false;
    n = announced_gone(announced, gone, ANNOUNCED_GONE_MAX);
    if (!n)
        return false;
    strbuf_reset(&gateway->payload);
    discovery_write_device(&gateway->payload, &of, gone, n);
    announced->hash = 0;
    announced->said = false;
    announced->marking = true;
    gateway->announce_waits = true;
    return publish(gateway, peer, topic, &announced->hash) || mark_gone(gateway, peer);
}

static void announce(struct gateway *gateway, struct peer *peer)
{
    struct announced *announced = announced_of(gateway, peer);
    struct discovery_about of = about(gateway, peer);
    struct saying saying = {.gateway = gateway, .peer = peer};
    char topic[DISCOVERY_TOPIC_SIZE];

    if (announced->waits)
        return; /* for what was told in another form */
    if (is_said(announced, &of))
        return;
    if (of.settings->home_assistant.discovery == DISCOVERY_COMPONENT) {
        if (!discovery_each(of.settings, of.device, say_entity, &saying))
            gateway->counts.rejected++;
        else if (!saying.failed)
            set_said(announced, &of);
        return;
    }
    if (mark_gone(gateway, peer))
        return;
    strbuf_reset(&gateway->payload);
    discovery_write_device(&gateway->payload, &of, NULL, 0);
    discovery_topic(of.settings, of.device ? of.device->id : NULL, topic);
    if (publish(gateway, peer, topic, &announced->hash)) {
        announced_told(announced);
        set_said(announced, &of);
    }
}

/* ---- the other form ---- */

/*
 * Home Assistant refuses an entity that it knows from another document. So each document of the
 * form before is replaced by DISCOVERY_MIGRATE, which lets go of its entities and keeps what the
 * user has set; then, MIGRATE_PAUSE_MS later, come those of the present form, and after another
 * pause the old topics are cleared. What is gone altogether is removed and not let go, so that
 * nothing of it stays.
 */

static bool is_other_form(struct gateway *gateway, struct peer *peer, const char *topic)
{
    const char *device = peer ? peer->settings->id : NULL;
    char text[DISCOVERY_TOPIC_SIZE];
    size_t index = 0;

    if (gateway->settings->home_assistant.discovery == DISCOVERY_COMPONENT)
        return strcmp(topic, discovery_topic(gateway->settings, device, text)) == 0;
    return discovery_path_of(gateway->settings, device, topic, text) &&
           announced_find(announced_of(gateway, peer), text, &index);
}

/* What Home Assistant has to forget first; true: some of it is on its way. Topics that are not of
 * the other form are let go, to be cleared. */
static bool prepare_migration(struct gateway *gateway)
{
    bool component = gateway->settings->home_assistant.discovery == DISCOVERY_COMPONENT;
    bool marking = false;
    struct held_topic held;

    for (size_t i = memory_count(gateway); i-- > 0;) {
        if (!memory_held(gateway, i, &held) || (held.peer && !held.peer->speaks))
            continue;
        if (!is_other_form(gateway, held.peer, held.topic)) {
            memory_release(gateway, i);
            continue;
        }
        announced_of(gateway, held.peer)->waits = true;
        marking |= component && mark_gone(gateway, held.peer);
    }
    return marking;
}

static void migrate(struct gateway *gateway)
{
    struct held_topic held;

    if (prepare_migration(gateway)) {
        gateway->announce_waits = true;
        return;
    }
    for (size_t i = memory_count(gateway); i-- > 0;) {
        if (!memory_held(gateway, i, &held) || (held.peer && !held.peer->speaks))
            continue;
        put(gateway, held.topic, DISCOVERY_MIGRATE, strlen(DISCOVERY_MIGRATE));
        memory_migrate(gateway, i);
        gateway->announce_waits = true;
        gateway->migration = MIGRATION_ASKED;
    }
}

static bool is_asked(struct gateway *gateway)
{
    struct held_topic held;

    /* the one that went out last is the first to look at */
    for (size_t i = 0; i < memory_count(gateway); i++)
        if (memory_migrating(gateway, i, &held) && outbox_holds(gateway->outbox, held.topic))
            return false;
    return true;
}

static void pause_migration(struct gateway *gateway, enum migration next)
{
    gateway->migration = next;
    gateway->migration_us = gateway_in(gateway, MIGRATE_PAUSE_MS);
    gateway_arm(gateway, gateway->migration_us);
}

/* the present documents may go, or the old topics be cleared */
static void migrated(struct gateway *gateway, bool cleared)
{
    struct held_topic held;

    for (size_t i = memory_count(gateway); i-- > 0;) {
        if (!memory_migrating(gateway, i, &held))
            continue;
        if (cleared) {
            memory_release(gateway, i);
            if (held.peer && gateway->settings->home_assistant.discovery == DISCOVERY_COMPONENT)
                announced_forget_told(&held.peer->announced);
        } else if (held.peer || held.own) {
            announced_of(gateway, held.peer)->waits = false;
        }
    }
}

/* Those wait for the migration that is going on, and for the next one. */
static void hold_back(struct gateway *gateway)
{
    struct held_topic held;

    for (size_t i = memory_holds_any(gateway) ? memory_count(gateway) : 0; i-- > 0;)
        if (memory_held(gateway, i, &held) && is_other_form(gateway, held.peer, held.topic))
            announced_of(gateway, held.peer)->waits = true;
}

static void begin_migration(struct gateway *gateway)
{
    gateway->migration = MIGRATION_NONE;
    gateway->announced.waits = false;
    for (size_t i = 0; i < gateway->n_peers; i++)
        gateway->peers[i]->announced.waits = false;
    if (memory_holds_any(gateway))
        migrate(gateway);
}

static void migrate_on(struct gateway *gateway)
{
    switch (gateway->migration) {
    case MIGRATION_NONE: begin_migration(gateway); break;
    case MIGRATION_ASKED:
        gateway->announce_waits = true;
        if (is_asked(gateway))
            pause_migration(gateway, MIGRATION_PAUSE);
        break;
    case MIGRATION_PAUSE:
        if (gateway->migration_us > gateway->now.mono_us)
            break;
        migrated(gateway, false);
        pause_migration(gateway, MIGRATION_SAID);
        break;
    case MIGRATION_SAID:
        if (gateway->migration_us > gateway->now.mono_us)
            break;
        migrated(gateway, true);
        begin_migration(gateway);
        break;
    }
    if (gateway->migration != MIGRATION_NONE)
        hold_back(gateway);
}

static void announce_all(struct gateway *gateway)
{
    migrate_on(gateway);
    announce(gateway, NULL);
    for (size_t i = 0; i < gateway->n_peers; i++)
        if (gateway->peers[i]->speaks)
            announce(gateway, gateway->peers[i]);
}

/* True: something that went out has come, so that there is more to say. */
static bool waits_no_more(struct gateway *gateway)
{
    bool marking = false;
    char topic[DISCOVERY_TOPIC_SIZE];

    gateway->announce_waits = false;
    for (size_t i = 0; i < gateway->n_peers; i++) {
        const struct peer *peer = gateway->peers[i];
        if (!peer->announced.marking)
            continue;
        if (!outbox_holds(gateway->outbox,
                          discovery_topic(gateway->settings, peer->settings->id, topic)))
            return true;
        marking = true;
    }
    gateway->announce_waits = marking || gateway->migration == MIGRATION_ASKED;
    return gateway->migration == MIGRATION_ASKED && is_asked(gateway);
}

void announce_run(struct gateway *gateway)
{
    if (!gateway->announce_due && !(gateway->announce_waits && waits_no_more(gateway)))
        return;
    gateway->announce_due = false;
    if (discovery_is_on(gateway->settings) && !gateway->stopping)
        announce_all(gateway);
}

/* ---- what is not said any more ---- */

static void forget_hashes(struct announced *announced)
{
    announced->hash = 0;
    announced->said = false;
    for (size_t i = 0; i < announced->n_entities; i++)
        announced->entities[i].hash = 0;
}

void announce_again(struct peer *peer)
{
    forget_hashes(&peer->announced);
    peer->gateway->announce_due = true;
}

void announce_forget(struct peer *peer)
{
    announced_forget_queued(peer->gateway, peer);
}

static void forget_all(struct gateway *gateway)
{
    gateway->birth_us = TIME_NEVER;
    gateway->migration = MIGRATION_NONE;
    gateway->announce_waits = false;
    gateway->announced.waits = false;
    announced_forget_queued(gateway, NULL);
    for (size_t i = 0; i < gateway->n_peers; i++) {
        announced_forget_queued(gateway, gateway->peers[i]);
        gateway->peers[i]->announced.waits = false;
    }
    memory_hold(gateway);
}

void announce_begin(struct gateway *gateway)
{
    forget_all(gateway);
}

/* ---- Home Assistant's birth ---- */

static void birth_filter(struct gateway *gateway, const struct settings *settings,
                         enum action_type type)
{
    const char *filter =
        actions_printf(gateway->actions, "%s/status", settings->home_assistant.prefix);

    if (gateway_ask_topic(gateway, type, filter) < 0)
        gateway->counts.rejected++;
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

static void migration_timer(struct gateway *gateway)
{
    if (gateway->migration != MIGRATION_PAUSE && gateway->migration != MIGRATION_SAID)
        return;
    if (gateway->migration_us > gateway->now.mono_us)
        gateway_arm(gateway, gateway->migration_us);
    else
        gateway->announce_due = true;
}

void announce_timer(struct gateway *gateway)
{
    migration_timer(gateway);
    if (gateway->birth_us > gateway->now.mono_us) {
        gateway_arm(gateway, gateway->birth_us);
        return;
    }
    gateway->birth_us = TIME_NEVER;
    if (gateway->greeting.step != GREETING_STEP_DONE || gateway->stopping)
        return;
    forget_hashes(&gateway->announced);
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
    bool was_on = discovery_is_on(old), is_on = discovery_is_on(next);
    bool moves =
        was_on && is_on && strcmp(old->home_assistant.prefix, next->home_assistant.prefix) != 0;

    announced_change(gateway, NULL);
    for (size_t i = 0; i < gateway->n_peers; i++)
        announced_change(gateway, gateway->peers[i]);
    if (!moves && old->home_assistant.discovery == next->home_assistant.discovery)
        return;
    forget_all(gateway);
    if (was_on) {
        announced_leave(gateway, NULL);
        if (gateway->greeting.step == GREETING_STEP_DONE && (moves || !is_on))
            birth_filter(gateway, old, ACTION_TOPIC_UNSUBSCRIBE);
    }
    for (size_t i = 0; was_on && i < gateway->n_peers; i++) {
        struct peer *peer = gateway->peers[i];
        if (moves || !is_on)
            announced_forget_told(&peer->announced);
        if (peer->ours)
            announced_leave(gateway, peer);
    }
    if (is_on && gateway->greeting.step == GREETING_STEP_DONE && (moves || !was_on))
        birth_filter(gateway, next, ACTION_TOPIC_SUBSCRIBE);
}
