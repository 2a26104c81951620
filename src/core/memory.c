/*
 * The gateway's memory on the broker: the retained `bridge/<gateway>/devices` of before, read once.
 * From it come the addresses of peers that were found by `match` (`bind: sticky`), and leftovers:
 * topics that were published for what is no longer in the file. Those stay in the list until they
 * have been cleared (an empty retained message on each), so that a crash on the way forgets none:
 * the list with them is acknowledged first, then they are cleared and that is acknowledged, then
 * the list goes without them.
 *
 * Only topics under <base>/<device>/ of a device that the memory lists are touched, and documents
 * of its entities for Home Assistant, and never those of a device that another gateway claimed
 * last: they stay in the list for the day when it is ours (again), configured or not. Documents
 * are held until announce.c has told Home Assistant what takes their place.
 * Hostile input: anybody who may write to the topic may have written it.
 */
#include "core/world.h"

#include "core/topic.h"
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEFTOVERS_MAX 16384
#define BYTES_MAX     (1024 * 1024)

enum leftover_state {
    LEFTOVER_STATE_HELD, /* a document for Home Assistant: announce.c says when it may go */
    LEFTOVER_STATE_MIGRATING,
    LEFTOVER_STATE_WAITING, /* for the list to be out, or for the device to be ours: for ever */
    LEFTOVER_STATE_CLEARING,
};

struct leftover {
    enum leftover_state state;
    char device[SETTINGS_MAX_ID + 1];
    char *topic; /* owned */
};

/* ---- match, as the memory knows it ---- */

static uint64_t hash_bytes(uint64_t hash, const void *data, size_t length)
{
    const uint8_t *bytes = data;

    for (size_t i = 0; i < length; i++) /* FNV-1a */
        hash = (hash ^ bytes[i]) * 0x100000001b3ULL;
    return hash;
}

void memory_match_hash(const struct match_settings *match, char *buf, size_t size)
{
    uint64_t hash = 0xcbf29ce484222325ULL;
    uint8_t flags[] = {match->has_address_type, (uint8_t)match->address_type,
                       match->has_manufacturer, match->has_min_rssi, (uint8_t)match->n_services};

    hash = hash_bytes(hash, flags, sizeof(flags));
    if (match->name)
        hash = hash_bytes(hash, match->name, strlen(match->name) + 1);
    for (size_t i = 0; i < match->n_services; i++)
        hash = hash_bytes(hash, &match->services[i], sizeof(match->services[i]));
    if (match->has_manufacturer)
        hash = hash_bytes(hash, &match->manufacturer, sizeof(match->manufacturer));
    hash = hash_bytes(hash, match->manufacturer_prefix, match->manufacturer_prefix_length);
    if (match->has_min_rssi)
        hash = hash_bytes(hash, &match->min_rssi, sizeof(match->min_rssi));
    snprintf(buf, size, "%016" PRIx64, hash);
}

static void remember_address(struct peer *peer, const json_t *entry)
{
    const char *address = json_string_value(json_object_get(entry, "address"));
    const char *match = json_string_value(json_object_get(entry, "match"));
    struct bt_address parsed;
    char hash[MEMORY_HASH_SIZE];

    if (peer->bound || peer->settings->bind != BIND_MODE_STICKY || !address || !match)
        return;
    memory_match_hash(&peer->settings->match, hash, sizeof(hash));
    if (strcmp(hash, match) == 0 && bt_address_parse(address, &parsed) == 0)
        peer_remember(peer, &parsed);
}

/* ---- leftovers ---- */

static bool is_published(struct peer *peer, const char *topic, bool retained)
{
    if (announced_is_topic(peer->gateway, peer, topic))
        return true;
    if (strcmp(topic, peer->topic_availability) == 0 || strcmp(topic, peer->topic_link) == 0)
        return true;
    for (size_t i = 0; i < peer->n_entries; i++)
        if (!peer->entries[i].settings->n_messages &&
            (!retained || peer->entries[i].settings->retain) &&
            strcmp(topic, peer->entries[i].topic) == 0)
            return true;
    return false;
}

/* <base>/<device>/... or Home Assistant's document of the device, under whatever prefix; nothing
 * that a broker would cut us off for */
static bool is_topic_of(const struct gateway *gateway, const char *device, const char *topic)
{
    const char *base = gateway->settings->gateway.base_topic;
    size_t base_length = strlen(base), length = strlen(device);

    if (!topic_is_valid_name(topic, strlen(topic)))
        return false;
    if (discovery_is_topic_of(gateway->settings, device, topic))
        return true;
    return strncmp(topic, base, base_length) == 0 && topic[base_length] == '/' &&
           strncmp(topic + base_length + 1, device, length) == 0 &&
           topic[base_length + 1 + length] == '/' && topic[base_length + 2 + length];
}

static bool is_document(const struct gateway *gateway, const char *device, const char *topic)
{
    bool own = strcmp(device, MEMORY_GATEWAY) == 0;

    return discovery_is_topic_of(gateway->settings, own ? NULL : device, topic);
}

static void set_state(struct memory *memory, struct leftover *leftover, enum leftover_state state)
{
    memory->n_held -= leftover->state == LEFTOVER_STATE_HELD;
    memory->n_held += state == LEFTOVER_STATE_HELD;
    leftover->state = state;
}

/* before anything has been done about it */
static void set_begin(struct gateway *gateway, struct leftover *leftover)
{
    set_state(&gateway->memory, leftover,
              is_document(gateway, leftover->device, leftover->topic) ? LEFTOVER_STATE_HELD
                                                                      : LEFTOVER_STATE_WAITING);
}

static void add_leftover(struct gateway *gateway, const char *device, const char *topic)
{
    struct memory *memory = &gateway->memory;

    if (memory->n_leftovers == LEFTOVERS_MAX) {
        gateway->counts.rejected++;
        return;
    }
    if (memory->n_leftovers == memory->size) {
        size_t size = MAX_OF(memory->size * 2, (size_t)16);
        struct leftover *leftovers =
            reallocarray(memory->leftovers, size, sizeof(*memory->leftovers));
        if (!leftovers) {
            gateway->counts.rejected++;
            return;
        }
        memory->leftovers = leftovers;
        memory->size = size;
    }
    char *copy = strdup(topic);
    if (!copy) {
        gateway->counts.rejected++;
        return;
    }
    struct leftover *leftover = &memory->leftovers[memory->n_leftovers++];
    leftover->state = LEFTOVER_STATE_WAITING;
    snprintf(leftover->device, sizeof(leftover->device), "%s", device);
    leftover->topic = copy;
    set_begin(gateway, leftover);
    memory->check = true;
}

void memory_leave(struct gateway *gateway, const char *device, const char *topic)
{
    struct memory *memory = &gateway->memory;
    size_t i = 0;

    while (i < memory->n_leftovers && strcmp(memory->leftovers[i].topic, topic) != 0)
        i++;
    if (i < memory->n_leftovers) /* it was used again before it was cleared: once more */
        set_begin(gateway, &memory->leftovers[i]);
    else
        add_leftover(gateway, device, topic);
    memory->check = true;
    gateway->bridge_dirty = true; /* the list goes first */
}

static void remove_leftover(struct memory *memory, size_t index)
{
    set_state(memory, &memory->leftovers[index], LEFTOVER_STATE_WAITING);
    free(memory->leftovers[index].topic);
    memory->leftovers[index] = memory->leftovers[--memory->n_leftovers];
}

/* values that the broker keeps of a topic that is published unretained by now */
static void read_retained(struct gateway *gateway, struct peer *peer, const json_t *entry)
{
    const char *id = peer->settings->id;
    const json_t *each;
    size_t i;

    json_array_foreach(json_object_get(entry, "characteristics"), i, each)
    {
        const char *topic = json_string_value(json_object_get(each, "topic"));
        if (topic && json_is_true(json_object_get(each, "retained")) &&
            is_topic_of(gateway, id, topic) && is_published(peer, topic, false) &&
            !is_published(peer, topic, true))
            add_leftover(gateway, id, topic);
    }
}

/* what was told of a device that the file gives to another gateway by now: that one looks for it
 * in our list */
static void read_foreign(struct gateway *gateway, const char *id, const json_t *entry)
{
    const json_t *each;
    size_t i;

    json_array_foreach(json_object_get(entry, "topics"), i, each)
    {
        const char *topic = json_string_value(each);
        if (topic && is_topic_of(gateway, id, topic) && is_document(gateway, id, topic))
            add_leftover(gateway, id, topic);
    }
}

static void read_entry(struct gateway *gateway, const json_t *entry)
{
    const char *id = json_string_value(json_object_get(entry, "id"));
    const json_t *topics = json_object_get(entry, "topics");
    const json_t *each;
    size_t i;

    if (!id || strlen(id) > SETTINGS_MAX_ID || !topic_is_valid_id(id) || strcmp(id, "bridge") == 0)
        return;
    struct peer *peer = gateway_find_peer(gateway, id, strlen(id));
    if (peer)
        remember_address(peer, entry);
    if (peer && peer->claim.state == CLAIM_STATE_FOREIGN) {
        read_foreign(gateway, id, entry);
        return;
    }
    json_array_foreach(topics, i, each)
    {
        const char *topic = json_string_value(each);
        if (topic && is_topic_of(gateway, id, topic) &&
            !(peer && is_published(peer, topic, false)) && !announced_is_anyones(gateway, topic))
            add_leftover(gateway, id, topic);
    }
    if (!peer)
        return;
    read_retained(gateway, peer, entry);
    json_array_foreach(json_object_get(entry, "entities"), i, each)
    {
        const char *path = json_string_value(each);
        if (path)
            (void)announced_remember(peer, path);
    }
}

/* what the gateway said of itself: its document for Home Assistant */
static void read_own(struct gateway *gateway, const json_t *topics)
{
    const json_t *each;
    size_t i;

    json_array_foreach(topics, i, each)
    {
        const char *topic = json_string_value(each);
        if (topic && topic_is_valid_name(topic, strlen(topic)) &&
            discovery_is_topic_of(gateway->settings, NULL, topic) &&
            !announced_is_topic(gateway, NULL, topic) && !announced_is_anyones(gateway, topic))
            add_leftover(gateway, MEMORY_GATEWAY, topic);
    }
}

bool memory_message(struct gateway *gateway, const struct event *event)
{
    json_t *root, *entry;
    size_t i;

    if (strcmp(event->message.topic, gateway->topic_devices) != 0)
        return false;
    if (gateway->memory.read || gateway->greeting.step != GREETING_STEP_READING ||
        !event->message.retained || !event->message.length)
        return true;
    gateway->memory.read = true;
    root = event->message.length <= BYTES_MAX
               ? json_loadb(event->message.payload, event->message.length, 0, NULL)
               : NULL;
    if (!root) {
        actions_log(gateway->actions, LOG_LEVEL_WARNING, "mqtt",
                    "%s does not hold what this gateway wrote: what it published before is not "
                    "known",
                    gateway->topic_devices);
        return true;
    }
    announced_refresh(gateway);
    json_array_foreach(json_object_get(root, "devices"), i, entry) read_entry(gateway, entry);
    read_own(gateway, json_object_get(root, "topics"));
    json_decref(root);
    return true;
}

void memory_done(struct gateway *gateway)
{
    while (gateway->memory.n_leftovers)
        remove_leftover(&gateway->memory, gateway->memory.n_leftovers - 1);
    free(gateway->memory.leftovers);
}

/* ---- into the list ---- */

void memory_list_topics(struct gateway *gateway, struct json_writer *w, const char *device)
{
    struct peer *peer = gateway_find_peer(gateway, device, strlen(device));
    struct peer *listed = peer && claim_lists_topics(peer) ? peer : NULL;

    for (size_t i = 0; i < gateway->memory.n_leftovers; i++) {
        const struct leftover *leftover = &gateway->memory.leftovers[i];
        if (strcmp(leftover->device, device) == 0 &&
            !(listed && announced_is_topic(gateway, listed, leftover->topic)))
            json_write_string(w, leftover->topic);
    }
}

bool memory_holds(const struct gateway *gateway, const char *topic)
{
    for (size_t i = 0; i < gateway->memory.n_leftovers; i++)
        if (strcmp(gateway->memory.leftovers[i].topic, topic) == 0)
            return true;
    return false;
}

const char *memory_next_removed(const struct gateway *gateway, size_t *index)
{
    const struct memory *memory = &gateway->memory;

    for (; *index < memory->n_leftovers; ++*index) {
        const char *device = memory->leftovers[*index].device;
        bool named = strcmp(device, MEMORY_GATEWAY) == 0 ||
                     gateway_find_peer((struct gateway *)gateway, device, strlen(device)) != NULL;
        for (size_t i = 0; !named && i < *index; i++)
            named = strcmp(memory->leftovers[i].device, device) == 0;
        if (!named) {
            ++*index;
            return device;
        }
    }
    return NULL;
}

/* ---- clearing ---- */

void memory_device_is_others(struct gateway *gateway, const char *device, size_t length)
{
    struct memory *memory = &gateway->memory;
    size_t before = memory->n_leftovers;

    for (size_t i = memory->n_leftovers; i-- > 0;)
        if (strlen(memory->leftovers[i].device) == length &&
            memcmp(memory->leftovers[i].device, device, length) == 0)
            remove_leftover(memory, i);
    gateway->bridge_dirty |= before != memory->n_leftovers;
}

void memory_broker_lost(struct gateway *gateway)
{
    for (size_t i = 0; i < gateway->memory.n_leftovers; i++) {
        struct leftover *leftover = &gateway->memory.leftovers[i];
        set_begin(gateway, leftover);
        if (leftover->state == LEFTOVER_STATE_HELD)
            outbox_forget(gateway->outbox, leftover->topic); /* another gateway's, perhaps, then */
    }
    gateway->memory.check = true;
}

/* ---- documents for Home Assistant ---- */

bool memory_holds_any(const struct gateway *gateway)
{
    return gateway->memory.n_held > 0;
}

size_t memory_count(const struct gateway *gateway)
{
    return gateway->memory.n_leftovers;
}

static void describe(struct gateway *gateway, const struct leftover *leftover,
                     struct held_topic *ret_held)
{
    *ret_held = (struct held_topic){
        .topic = leftover->topic,
        .own = strcmp(leftover->device, MEMORY_GATEWAY) == 0,
        .peer = gateway_find_peer(gateway, leftover->device, strlen(leftover->device))};
}

bool memory_held(struct gateway *gateway, size_t index, struct held_topic *ret_held)
{
    const struct leftover *leftover = &gateway->memory.leftovers[index];

    if (leftover->state != LEFTOVER_STATE_HELD)
        return false;
    describe(gateway, leftover, ret_held);
    return ret_held->peer || ret_held->own;
}

bool memory_migrating(struct gateway *gateway, size_t index, struct held_topic *ret_held)
{
    const struct leftover *leftover = &gateway->memory.leftovers[index];

    if (leftover->state != LEFTOVER_STATE_MIGRATING)
        return false;
    describe(gateway, leftover, ret_held);
    return true;
}

void memory_migrate(struct gateway *gateway, size_t index)
{
    set_state(&gateway->memory, &gateway->memory.leftovers[index], LEFTOVER_STATE_MIGRATING);
}

void memory_release(struct gateway *gateway, size_t index)
{
    set_state(&gateway->memory, &gateway->memory.leftovers[index], LEFTOVER_STATE_WAITING);
    gateway->memory.check = true;
    gateway_arm(gateway, gateway->now.mono_us);
}

void memory_hold(struct gateway *gateway)
{
    for (size_t i = 0; i < gateway->memory.n_leftovers; i++)
        set_begin(gateway, &gateway->memory.leftovers[i]);
    gateway->memory.check = true;
}

void memory_forget_queued(struct gateway *gateway, const char *device)
{
    for (size_t i = 0; i < gateway->memory.n_leftovers; i++) {
        struct leftover *leftover = &gateway->memory.leftovers[i];
        if (leftover->state == LEFTOVER_STATE_HELD || strcmp(leftover->device, device) != 0 ||
            !is_document(gateway, device, leftover->topic))
            continue;
        outbox_forget(gateway->outbox, leftover->topic);
        set_state(&gateway->memory, leftover, LEFTOVER_STATE_HELD);
    }
}

/* behind the values of the topic that wait still */
static void clear(struct gateway *gateway, struct leftover *leftover)
{
    size_t length = strlen(gateway->settings->gateway.base_topic) + strlen(leftover->device) + 2;
    bool status = is_document(gateway, leftover->device, leftover->topic) ||
                  strncmp(leftover->topic + length, "status/", 7) == 0;
    struct outbox_put put = {
        .topic = leftover->topic, .payload = "", .qos = 1, .retain = true, .status = status};

    set_state(&gateway->memory, leftover, LEFTOVER_STATE_CLEARING);
    gateway_put(gateway, &put);
}

/* again, since it was left */
static bool is_configured(struct gateway *gateway, struct peer *peer, const char *topic)
{
    return (peer && is_published(peer, topic, true)) || announced_is_anyones(gateway, topic);
}

void memory_run(struct gateway *gateway)
{
    struct memory *memory = &gateway->memory;
    bool clearing = false;

    if (!memory->check || gateway->bridge_dirty || gateway->greeting.step != GREETING_STEP_DONE ||
        gateway->stopping)
        return;
    if (!memory->n_leftovers) {
        memory->check = false;
        return;
    }
    if (outbox_holds(gateway->outbox, gateway->topic_devices))
        return;
    memory->check = false;
    for (size_t i = memory->n_leftovers; i-- > 0;) {
        struct leftover *leftover = &memory->leftovers[i];
        struct peer *peer = gateway_find_peer(gateway, leftover->device, strlen(leftover->device));
        bool own = strcmp(leftover->device, MEMORY_GATEWAY) == 0;

        if (peer && !peer->speaks && leftover->state != LEFTOVER_STATE_CLEARING)
            continue;
        if (leftover->state == LEFTOVER_STATE_HELD &&
            (!discovery_is_on(gateway->settings) || (!peer && !own)))
            set_state(memory, leftover, LEFTOVER_STATE_WAITING);
        if (leftover->state != LEFTOVER_STATE_CLEARING &&
            is_configured(gateway, peer, leftover->topic)) {
            remove_leftover(memory, i);
            continue;
        }
        if (leftover->state == LEFTOVER_STATE_WAITING)
            clear(gateway, leftover);
        if (leftover->state != LEFTOVER_STATE_CLEARING)
            continue;
        if (outbox_holds(gateway->outbox, leftover->topic)) {
            clearing = true;
            continue;
        }
        remove_leftover(memory, i);
        memory->n_cleared++;
    }
    memory->check = clearing;
    if (clearing || !memory->n_cleared)
        return;
    gateway->bridge_dirty = true;
    actions_log(gateway->actions, LOG_LEVEL_INFO, "mqtt",
                "cleared %zu topics of what is no longer configured", memory->n_cleared);
    memory->n_cleared = 0;
}
