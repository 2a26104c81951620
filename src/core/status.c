/*
 * What the gateway says about itself and its devices: availability, link, info, devices, health,
 * events. All but health and events are retained and newest-only.
 */
#include "core/world.h"

#include "core/json.h"
#include "util/cleanup.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

char *status_topic(const struct settings *settings, const char *last)
{
    char *topic;

    return asprintf(&topic, "%s/bridge/%s/%s", settings->gateway.base_topic, settings->gateway.id,
                    last) < 0
               ? NULL
               : topic;
}

char *gateway_will_topic(const struct settings *settings)
{
    return status_topic(settings, "status");
}

static void put(struct gateway *gateway, const char *topic, const void *payload, size_t length,
                bool retained)
{
    struct outbox_put put = {.topic = topic,
                             .payload = payload,
                             .length = length,
                             .qos = retained,
                             .retain = retained,
                             .status = retained,
                             .latest_only = retained};

    /* before that nothing is kept: then all is said, as it is then */
    if (greet_is_settled(gateway))
        gateway_put(gateway, &put);
}

static void put_buffer(struct gateway *gateway, const char *topic, bool retained)
{
    if (strbuf_ok(&gateway->payload))
        put(gateway, topic, strbuf_str(&gateway->payload), gateway->payload.length, retained);
    else
        gateway->counts.rejected++;
}

static struct json_writer begin(struct gateway *gateway)
{
    strbuf_reset(&gateway->payload);
    struct json_writer w = json_writer_to(&gateway->payload);
    json_write_object_begin(&w);
    return w;
}

static void key_string(struct json_writer *w, const char *key, const char *text)
{
    json_write_key(w, key);
    json_write_string(w, text);
}

static void key_uint(struct json_writer *w, const char *key, uint64_t value)
{
    json_write_key(w, key);
    json_write_uint(w, value);
}

/* ---- one device ---- */

static void publish_availability(struct peer *peer)
{
    struct gateway *gateway = peer->gateway;
    bool available = contact_available(peer), news = !peer->availability_known;

    if (!news && peer->available == available)
        return;
    peer->availability_known = true;
    peer->available = available;
    const char *text = available ? "online" : "offline";
    put(gateway, peer->topic_availability, text, strlen(text), true);
    if (news && gateway->greeting.online) /* that waits still, perhaps: it goes behind this */
        outbox_defer(gateway->outbox, gateway->topic_status);
}

static void publish_link(struct peer *peer)
{
    struct gateway *gateway = peer->gateway;
    struct json_writer w = begin(gateway);
    char address[BT_ADDRESS_TEXT_SIZE];
    const struct adapter *adapter = adapter_find(gateway, peer->adapter);

    bt_address_format(&peer->address, address);
    key_string(&w, "gateway", gateway->settings->gateway.id);
    key_string(&w, "state", peer_state_name(peer->shown));
    key_string(&w, "reason", reason_name(peer->reason));
    key_string(&w, "why", peer->why);
    json_write_key(&w, "since");
    json_write_time(&w, peer->since_real_us);
    json_write_key(&w, "last_seen");
    if (peer->heard_us)
        json_write_time(&w, peer->heard_real_us);
    else
        json_write_null(&w);
    json_write_key(&w, "rssi");
    if (peer->rssi == RSSI_UNKNOWN)
        json_write_null(&w);
    else
        json_write_int(&w, peer->rssi);
    json_write_key(&w, "rssi_age");
    if (peer->rssi == RSSI_UNKNOWN)
        json_write_null(&w);
    else
        json_write_uint(&w, (gateway->now.mono_us - peer->heard_us) / 1000000);
    json_write_key(&w, "mtu");
    if (peer->mtu)
        json_write_uint(&w, peer->mtu);
    else
        json_write_null(&w);
    key_string(&w, "address", peer->bound ? address : NULL);
    key_uint(&w, "attempts", peer->attempts);
    key_string(&w, "adapter", adapter ? adapter->name : NULL);
    json_write_object_end(&w);
    put_buffer(gateway, peer->topic_link, true);
    peer->link_published_us = gateway->now.mono_us;
    peer->rssi_published = peer->rssi;
}

void status_link(struct peer *peer)
{
    if (!peer->speaks || (!peer->link_dirty && peer->availability_known))
        return;
    publish_availability(peer);
    if (!peer->link_dirty)
        return;
    peer->link_dirty = false;
    publish_link(peer);
}

void status_claim(struct peer *peer)
{
    peer->link_dirty = false;
    publish_link(peer);
}

void status_link_again(struct peer *peer)
{
    peer->availability_known = false;
    if (!peer->claim.said) /* else the claim was it, unless something changed since */
        peer->link_dirty = true;
    peer->gateway->links_dirty = true;
    announce_again(peer);
}

/* ---- what is no longer in the file ---- */

static bool is_retained(const struct entry *entry)
{
    return entry->settings->retain && !entry->settings->n_messages; /* these publish instead */
}

void status_clear_entries(struct peer *peer, const struct entry *kept, size_t n_kept)
{
    for (size_t i = 0; peer->ours && i < peer->n_entries; i++) {
        const struct entry *entry = &peer->entries[i];
        bool stays = false;

        for (size_t j = 0; j < n_kept && !stays; j++)
            stays = is_retained(&kept[j]) && strcmp(kept[j].topic, entry->topic) == 0;
        if (is_retained(entry) && !stays)
            memory_leave(peer->gateway, peer->settings->id, entry->topic);
    }
}

void status_gone(const struct peer *peer)
{
    if (peer->speaks)
        put(peer->gateway, peer->topic_availability, "offline", strlen("offline"), true);
}

void status_clear_device(struct peer *peer)
{
    if (claim_is_others(peer)) /* what we told of it once is that one's now */
        memory_device_is_others(peer->gateway, peer->settings->id, strlen(peer->settings->id));
    if (!peer->ours)
        return;
    status_gone(peer);
    gateway_pump(peer->gateway); /* before it is replaced by the next one */
    memory_leave(peer->gateway, peer->settings->id, peer->topic_availability);
    memory_leave(peer->gateway, peer->settings->id, peer->topic_link);
    announced_leave(peer->gateway, peer);
    status_clear_entries(peer, NULL, 0);
}

/* ---- the gateway ---- */

static void info(struct gateway *gateway)
{
    struct json_writer w = begin(gateway);
    char address[BT_ADDRESS_TEXT_SIZE];

    key_string(&w, "version", gateway->version);
    key_string(&w, "bluez", *gateway->bluez_version ? gateway->bluez_version : NULL);
    json_write_key(&w, "adapters");
    json_write_array_begin(&w);
    for (size_t i = 0; i < MAX_ADAPTERS; i++) {
        const struct adapter *adapter = &gateway->adapters[i];
        if (!adapter->id)
            continue;
        bt_address_format(&adapter->address, address);
        json_write_object_begin(&w);
        key_string(&w, "name", adapter->name);
        key_string(&w, "address", address);
        json_write_key(&w, "powered");
        json_write_bool(&w, adapter->powered);
        json_write_key(&w, "used");
        json_write_bool(&w, adapter->used);
        json_write_object_end(&w);
    }
    json_write_array_end(&w);
    key_string(&w, "configuration", gateway->settings->hash);
    json_write_key(&w, "started");
    json_write_time(&w, gateway->started.real_us);
    json_write_object_end(&w);
    put_buffer(gateway, gateway->topic_info, true);
}

static void characteristic_access(struct json_writer *w,
                                  const struct characteristic_settings *settings)
{
    json_write_key(w, "access");
    json_write_array_begin(w);
    if (settings->subscribe)
        json_write_string(w, "notify");
    if (settings->readable)
        json_write_string(w, "get");
    if (settings->writable)
        json_write_string(w, "set");
    json_write_array_end(w);
}

static void characteristic(struct json_writer *w, const struct gateway *gateway,
                           const struct entry *entry)
{
    const struct characteristic_settings *settings = entry->settings;

    json_write_object_begin(w);
    key_string(w, "id", settings->id);
    key_string(w, "name", settings->name);
    key_string(w, "topic", settings->n_messages ? NULL : entry->topic);
    if (!settings->n_messages) {
        /* what was retained before is, too, until it is cleared: a crash must not forget it */
        json_write_key(w, "retained");
        json_write_bool(w, settings->retain || memory_holds(gateway, entry->topic));
    }
    characteristic_access(w, settings);
    json_write_key(w, "fields");
    json_write_array_begin(w);
    for (size_t i = 0; settings->schema && i < settings->schema->n_fields; i++) {
        const struct field_spec *field = &settings->schema->fields[i];
        if (schema_is_alternative(settings->schema, i))
            continue;
        json_write_object_begin(w);
        key_string(w, "name", field->name);
        key_string(w, "type", field_type_name(field->type, field->size));
        key_string(w, "unit", field->unit);
        json_write_object_end(w);
    }
    json_write_array_end(w);
    json_write_object_end(w);
}

/* those that this gateway publishes: none of a device that another one has */
static void topics(struct json_writer *w, struct peer *peer)
{
    json_write_key(w, "topics");
    json_write_array_begin(w);
    if (claim_lists_topics(peer)) {
        json_write_string(w, peer->topic_availability);
        json_write_string(w, peer->topic_link);
        announced_list_topics(peer->gateway, peer, w);
        for (size_t i = 0; i < peer->n_entries; i++)
            if (!peer->entries[i].settings->n_messages) /* these publish in its place */
                json_write_string(w, peer->entries[i].topic);
    }
    memory_list_topics(peer->gateway, w, peer->settings->id);
    json_write_array_end(w);
    if (claim_lists_topics(peer))
        announced_list_entities(peer->gateway, peer, w);
}

/* not in the file any more; here until their topics are cleared */
static void removed_devices(struct gateway *gateway, struct json_writer *w)
{
    const char *device;
    size_t index = 0;

    while ((device = memory_next_removed(gateway, &index))) {
        json_write_object_begin(w);
        key_string(w, "id", device);
        json_write_key(w, "removed");
        json_write_bool(w, true);
        json_write_key(w, "topics");
        json_write_array_begin(w);
        memory_list_topics(gateway, w, device);
        json_write_array_end(w);
        json_write_object_end(w);
    }
}

/* what it publishes of itself and must clear itself */
static void own_topics(struct gateway *gateway, struct json_writer *w)
{
    json_write_key(w, "topics");
    json_write_array_begin(w);
    announced_list_topics(gateway, NULL, w);
    memory_list_topics(gateway, w, MEMORY_GATEWAY);
    json_write_array_end(w);
}

/* The gateway's memory on the broker: what it publishes, per device. */
static void devices(struct gateway *gateway)
{
    struct json_writer w = begin(gateway);
    char address[BT_ADDRESS_TEXT_SIZE], match[MEMORY_HASH_SIZE];

    json_write_key(&w, "devices");
    json_write_array_begin(&w);
    for (size_t i = 0; i < gateway->n_peers; i++) {
        struct peer *peer = gateway->peers[i];

        bt_address_format(&peer->address, address);
        json_write_object_begin(&w);
        key_string(&w, "id", peer->settings->id);
        key_string(&w, "name", peer->settings->name);
        key_string(&w, "address", peer->bound ? address : NULL);
        if (!peer->settings->match.has_address &&
            !bt_address_is_private(&peer->address, peer->address_type)) {
            memory_match_hash(&peer->settings->match, match, sizeof(match));
            key_string(&w, "match", match); /* the address is good as long as this is the same */
        }
        key_string(&w, "held_by", claim_held_by(peer));
        topics(&w, peer);
        json_write_key(&w, "characteristics");
        json_write_array_begin(&w);
        for (size_t j = 0; j < peer->n_entries; j++)
            characteristic(&w, gateway, &peer->entries[j]);
        json_write_array_end(&w);
        json_write_object_end(&w);
    }
    removed_devices(gateway, &w);
    json_write_array_end(&w);
    own_topics(gateway, &w);
    json_write_object_end(&w);
    put_buffer(gateway, gateway->topic_devices, true);
    strbuf_done(&gateway->payload); /* it grows with the devices; all else is short */
}

void status_bridge(struct gateway *gateway)
{
    info(gateway);
    devices(gateway);
}

void status_online(struct gateway *gateway, bool online)
{
    const char *text = online ? "online" : "offline";

    /* what a device says of itself goes first, so that nothing shows live that is not */
    for (size_t i = 0; i < gateway->n_peers; i++)
        status_link(gateway->peers[i]);
    gateway->greeting.online = online;
    put(gateway, gateway->topic_status, text, strlen(text), true);
}

static void reconnects(struct json_writer *w, const struct gateway *gateway)
{
    json_write_key(w, "reconnects");
    json_write_object_begin(w);
    for (enum reason i = 0; i < N_REASONS; i++)
        if (gateway->counts.reconnects[i])
            key_uint(w, reason_name(i), gateway->counts.reconnects[i]);
    json_write_object_end(w);
}

void status_health(struct gateway *gateway)
{
    struct json_writer w = begin(gateway);
    struct outbox_stats stats;
    uint64_t links = 0, online = 0, connects = 0;

    outbox_get_stats(gateway->outbox, &stats);
    for (size_t i = 0; i < gateway->n_peers; i++) {
        links += gateway->peers[i]->link_up;
        online += gateway->peers[i]->state == PEER_STATE_ONLINE;
        connects += gateway->peers[i]->reconnects;
    }
    key_uint(&w, "uptime", (gateway->now.mono_us - gateway->started.mono_us) / 1000000);
    key_uint(&w, "devices", gateway->n_peers);
    key_uint(&w, "links", links);
    key_uint(&w, "online", online);
    key_uint(&w, "connects", connects);
    reconnects(&w, gateway);
    key_uint(&w, "notifications", gateway->counts.notifications);
    key_uint(&w, "reads", gateway->counts.reads);
    key_uint(&w, "writes", gateway->counts.writes);
    key_uint(&w, "commands", gateway->counts.commands);
    key_uint(&w, "malformed", gateway->counts.malformed);
    key_uint(&w, "frames_dropped", gateway->counts.frames_dropped);
    key_uint(&w, "frame_bytes_skipped", gateway->counts.frame_bytes_skipped);
    key_uint(&w, "unknown_messages", gateway->counts.unknown_messages);
    key_uint(&w, "retained_commands", gateway->counts.retained_commands);
    key_uint(&w, "rejected", gateway->counts.rejected);
    key_uint(&w, "scan_restarts", gateway->counts.scan_restarts);
    key_uint(&w, "adapter_resets", gateway->counts.adapter_resets);
    key_uint(&w, "adapter_resets_refused", gateway->counts.adapter_resets_refused);
    key_uint(&w, "queued", stats.queued);
    key_uint(&w, "queued_bytes", stats.queued_bytes);
    key_uint(&w, "dropped", stats.dropped);
    key_uint(&w, "thinned", stats.thinned + gateway->counts.values_thinned);
    key_uint(&w, "let_go", gateway->counts.let_go);
    json_write_key(&w, "memory");
    if (gateway->memory_bytes)
        json_write_uint(&w, gateway->memory_bytes);
    else
        json_write_null(&w);
    json_write_object_end(&w);
    put_buffer(gateway, gateway->topic_health, false);
}

void status_event(struct gateway *gateway, const char *type, const struct peer *peer,
                  const char *reason, const char *text)
{
    if (!greet_is_settled(gateway))
        return; /* an event is news or nothing */
    struct json_writer w = begin(gateway);
    key_string(&w, "event", type);
    if (peer)
        key_string(&w, "device", peer->settings->id);
    key_string(&w, "reason", reason);
    key_string(&w, "text", text);
    json_write_key(&w, "ts");
    json_write_time(&w, gateway->now.real_us);
    json_write_object_end(&w);
    put_buffer(gateway, gateway->topic_event, false);
}

void status_write_reload(struct json_writer *w, const struct gateway *gateway,
                         const struct reload_counts *counts)
{
    key_uint(w, "added", counts->added);
    key_uint(w, "removed", counts->removed);
    key_uint(w, "changed", counts->changed);
    key_uint(w, "unchanged", counts->unchanged);
    key_string(w, "configuration", gateway->settings->hash);
}

void status_reloaded(struct gateway *gateway, const struct reload_counts *counts)
{
    if (!gateway->broker_up)
        return;
    struct json_writer w = begin(gateway);
    key_string(&w, "event", "reloaded");
    status_write_reload(&w, gateway, counts);
    json_write_key(&w, "ts");
    json_write_time(&w, gateway->now.real_us);
    json_write_object_end(&w);
    put_buffer(gateway, gateway->topic_event, false);
}

void status_adapter_event(struct gateway *gateway, const struct adapter *adapter,
                          enum log_level level, const char *type, const char *format, ...)
{
    char text[256];
    va_list ap;

    va_start(ap, format);
    vsnprintf(text, sizeof(text), format, ap);
    va_end(ap);
    actions_log(gateway->actions, level, "adapter", "%s %s", adapter->name, text);
    if (!gateway->broker_up)
        return;
    struct json_writer w = begin(gateway);
    key_string(&w, "event", type);
    key_string(&w, "adapter", adapter->name);
    key_string(&w, "text", text);
    json_write_key(&w, "ts");
    json_write_time(&w, gateway->now.real_us);
    json_write_object_end(&w);
    put_buffer(gateway, gateway->topic_event, false);
}

/* "1 of 3 devices online, 1 idle; broker connected; strap: it has not been heard" */
void status_sentence(struct gateway *gateway)
{
    const struct peer *missing = NULL;
    char text[sizeof(gateway->sentence)], idle_text[32] = "";
    size_t wanted = 0, online = 0, idle = 0;

    for (size_t i = 0; i < gateway->n_peers; i++) {
        const struct peer *peer = gateway->peers[i];

        if (!peer->settings->enabled || !peer->ours)
            continue;
        wanted++;
        online += peer->state == PEER_STATE_ONLINE;
        bool rests = peer->state == PEER_STATE_IDLE && peer->reason == REASON_IDLE;
        idle += rests;
        if (!missing && !rests && peer->state != PEER_STATE_ONLINE)
            missing = peer;
    }
    if (idle)
        snprintf(idle_text, sizeof(idle_text), ", %zu idle", idle);
    int n = snprintf(text, sizeof(text), "%zu of %zu devices online%s; broker %s%s", online, wanted,
                     idle_text, gateway->broker_up ? "connected" : "not connected",
                     gateway->broker_up || !*gateway->broker_text ? "" : ": ");
    if (!gateway->broker_up && n > 0 && (size_t)n < sizeof(text))
        n += snprintf(text + n, sizeof(text) - (size_t)n, "%s", gateway->broker_text);
    if (missing && n > 0 && (size_t)n < sizeof(text))
        snprintf(text + n, sizeof(text) - (size_t)n, "; %s: %s", missing->settings->id,
                 missing->why);
    if (strcmp(text, gateway->sentence) == 0)
        return;
    snprintf(gateway->sentence, sizeof(gateway->sentence), "%s", text);
    actions_add(gateway->actions, ACTION_STATUS)->status.text = gateway->sentence;
}
