/*
 * What the gateway that had a device before has told Home Assistant of it. Its documents may be of
 * another form, under another prefix or of other entities than ours, and it may have no time to
 * clear them. So its list, the retained `bridge/<gateway>/devices`, is read once when we claim a
 * device that it had last, and the documents that ours do not replace become leftovers of ours:
 * memory.c names them in our list, and once the device speaks announce.c and memory.c see them off.
 * The subscription goes out before the claim, so the list is here before that comes back. A device
 * that the file gives to us does not wait for it: then its documents are told once more.
 *
 * Hostile input, like our own list. Must not know how documents are seen off.
 */
#include "core/world.h"

#include "core/discovery.h"
#include "core/topic.h"
#include <jansson.h>
#include <string.h>

#define BYTES_MAX    (1024 * 1024)
#define TOPICS_MAX   1024 /* of a device; each is looked for among all leftovers */
#define ENTITIES_MAX 1024

static void act(struct gateway *gateway, const struct bridge *bridge, enum action_type type)
{
    const char *filter = actions_printf(gateway->actions, "%s/bridge/%s/devices",
                                        gateway->settings->gateway.base_topic, bridge->id);

    if (gateway_ask_topic(gateway, type, filter) < 0)
        gateway->counts.rejected++;
}

void predecessor_note(struct peer *peer)
{
    struct bridge *bridge = claim_find_bridge(peer->gateway, peer->claim.holder);

    if (bridge)
        peer->claim.before = bridge;
}

void predecessor_ask(struct peer *peer)
{
    predecessor_note(peer);
    struct bridge *bridge = peer->claim.before;
    if (!bridge || bridge->asked)
        return;
    bridge->asked = true;
    act(peer->gateway, bridge, ACTION_TOPIC_SUBSCRIBE);
}

bool predecessor_is_filter(const struct gateway *gateway, const char *filter)
{
    const char *base = gateway->settings->gateway.base_topic;
    size_t base_length = strlen(base), length = strlen(filter);

    return strncmp(filter, base, base_length) == 0 &&
           strncmp(filter + base_length, "/bridge/", 8) == 0 &&
           strcmp(filter + length - strlen("/devices"), "/devices") == 0;
}

static bool is_left(struct gateway *gateway, struct peer *peer, const char *topic)
{
    return topic && topic_is_valid_name(topic, strlen(topic)) &&
           discovery_is_topic_of(gateway->settings, peer->settings->id, topic) &&
           !announced_is_anyones(gateway, topic);
}

static void read_entry(struct peer *peer, const json_t *entry)
{
    struct gateway *gateway = peer->gateway;
    bool any = false;
    const json_t *each;
    size_t i;

    json_array_foreach(json_object_get(entry, "topics"), i, each)
    {
        const char *topic = json_string_value(each);
        if (i >= TOPICS_MAX) {
            gateway->counts.rejected++;
            break;
        }
        if (!is_left(gateway, peer, topic))
            continue;
        memory_leave(gateway, peer->settings->id, topic);
        any = true;
    }
    json_array_foreach(json_object_get(entry, "entities"), i, each)
    {
        const char *path = json_string_value(each);
        if (i >= ENTITIES_MAX) {
            gateway->counts.rejected++;
            break;
        }
        if (path && announced_remember(peer, path))
            gateway->bridge_dirty = true; /* our list goes first, then it is removed */
    }
    if (!any || !peer->speaks)
        return;
    /* what waits still would be refused, and what has gone out was */
    announce_forget(peer);
    announce_again(peer);
}

/* not of a device that this one still has */
static bool asks(const struct peer *peer, const struct bridge *bridge)
{
    return peer->claim.before == bridge && claim_lists_topics(peer);
}

static void read_list(struct gateway *gateway, const struct bridge *bridge,
                      const struct event *event)
{
    json_t *entry, *root = event->message.length <= BYTES_MAX
                               ? json_loadb(event->message.payload, event->message.length, 0, NULL)
                               : NULL;
    size_t i;

    if (!root && event->message.length)
        gateway->counts.rejected++;
    announced_refresh(gateway);
    json_array_foreach(json_object_get(root, "devices"), i, entry)
    {
        const char *id = json_string_value(json_object_get(entry, "id"));
        struct peer *peer = id ? gateway_find_peer(gateway, id, strlen(id)) : NULL;
        if (peer && asks(peer, bridge))
            read_entry(peer, entry);
    }
    json_decref(root);
}

bool predecessor_message(struct gateway *gateway, const char *id, size_t length,
                         const struct event *event)
{
    char name[SETTINGS_MAX_ID + 1];

    if (length > SETTINGS_MAX_ID)
        return false;
    memcpy(name, id, length);
    name[length] = '\0';
    struct bridge *bridge = claim_find_bridge(gateway, name);
    if (!bridge)
        return false;
    if (!bridge->asked)
        return true; /* it came twice */
    bridge->asked = false;
    act(gateway, bridge, ACTION_TOPIC_UNSUBSCRIBE);
    read_list(gateway, bridge, event);
    for (size_t i = 0; i < gateway->n_peers; i++)
        if (asks(gateway->peers[i], bridge))
            gateway->peers[i]->claim.before = NULL;
    return true;
}
