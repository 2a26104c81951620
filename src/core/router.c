/*
 * Messages on command topics to commands. A gateway subscribes to the command topics of its own
 * devices only. Retained messages never act: what was meant for yesterday would switch things
 * today.
 */
#include "core/world.h"

#include "core/entity.h"
#include "core/topic.h"
#include "util/cleanup.h"
#include <stdio.h>
#include <string.h>

int router_subscribe_requests(struct gateway *gateway)
{
    return gateway_ask_topic(gateway, ACTION_TOPIC_SUBSCRIBE,
                             actions_printf(gateway->actions, "%s/+", gateway->topic_request));
}

/* `+/set/#` is `+/set`, too (MQTT 5.0, 4.7.1.2) */
static const char *const filters[] = {"+/set/#", "+/get", "command/+"};

static int ask_all(struct gateway *gateway, const struct peer *peer, enum action_type type)
{
    for (size_t i = 0; i < ARRAY_SIZE(filters); i++) {
        int r = gateway_ask_topic(gateway, type,
                                  actions_printf(gateway->actions, "%s/%s/%s",
                                                 gateway->settings->gateway.base_topic,
                                                 peer->settings->id, filters[i]));
        if (r < 0)
            return r;
    }
    return 0;
}

int router_subscribe(struct gateway *gateway, struct peer *peer)
{
    return ask_all(gateway, peer, ACTION_TOPIC_SUBSCRIBE);
}

int router_unsubscribe(struct gateway *gateway, struct peer *peer)
{
    return ask_all(gateway, peer, ACTION_TOPIC_UNSUBSCRIBE);
}

/* What a topic under <base>/ says, cut into its levels. */
struct route {
    const char *device;
    size_t device_length;
    char characteristic[SETTINGS_MAX_ID + 1]; /* of `command`: its name */
    char field[SETTINGS_MAX_ID + 1];          /* "": the whole */
    enum command_kind kind;
};

static bool copy_level(char *out, const char *from, size_t length)
{
    if (!length || length > SETTINGS_MAX_ID)
        return false;
    memcpy(out, from, length);
    out[length] = '\0';
    return topic_is_valid_id(out);
}

static bool parse(const struct gateway *gateway, const char *topic, struct route *route)
{
    const char *base = gateway->settings->gateway.base_topic;
    size_t base_length = strlen(base);
    const char *levels[4];
    size_t lengths[4], n = 0;

    if (strncmp(topic, base, base_length) != 0 || topic[base_length] != '/')
        return false;
    for (const char *p = topic + base_length + 1;; p++) {
        size_t length = strcspn(p, "/");
        if (n == ARRAY_SIZE(levels))
            return false;
        levels[n] = p;
        lengths[n++] = length;
        p += length;
        if (!*p)
            break;
    }
    if (n == 3 && lengths[1] == 7 && memcmp(levels[1], "command", 7) == 0) {
        route->device = levels[0];
        route->device_length = lengths[0];
        route->kind = COMMAND_KIND_COMMAND;
        return copy_level(route->characteristic, levels[2], lengths[2]);
    }
    if (n < 3 || !copy_level(route->characteristic, levels[1], lengths[1]))
        return false;
    route->device = levels[0];
    route->device_length = lengths[0];
    route->field[0] = '\0';
    if (lengths[2] == 3 && memcmp(levels[2], "set", 3) == 0) {
        route->kind = COMMAND_KIND_SET;
        return n == 3 || copy_level(route->field, levels[3], lengths[3]);
    }
    route->kind = COMMAND_KIND_GET;
    return n == 3 && lengths[2] == 3 && memcmp(levels[2], "get", 3) == 0;
}

static void run_command(struct peer *peer, const char *name, const struct event *event,
                        struct command *command)
{
    for (size_t i = 0; i < peer->settings->n_commands; i++)
        if (strcmp(peer->settings->commands[i].id, name) == 0) {
            step_command(peer, i, event->message.payload, event->message.length, command);
            return;
        }
    command_answer_error(peer->gateway, command, "unknown_op", 0, "device %s has no command %s",
                         peer->settings->id, name);
}

static void do_action(struct peer *peer, const struct entity_action *action,
                      struct command *command)
{
    const struct device_settings *device = peer->settings;
    size_t length = strlen(action->value);

    if (action->characteristic == NO_CHARACTERISTIC) {
        step_command(peer, action->command, action->value, length, command);
        return;
    }
    const struct characteristic_settings *of = &device->characteristics[action->characteristic];
    access_write(peer, access_find(peer, of->id), of->schema->fields[action->field].name,
                 action->value, length, TRI_AUTO, command);
}

/* what one of a composed entity's controls sends: its name */
static void run_entity(struct peer *peer, const char *id, const struct event *event,
                       struct command *command)
{
    const struct device_settings *device = peer->settings;
    struct entity_action action;
    size_t length = event->message.length;
    const char *word = event->message.payload;

    for (size_t i = 0; i < device->n_entities; i++) {
        const struct entity_settings *entity = &device->entities[i];
        if (strcmp(entity->id, id) != 0)
            continue;
        for (size_t role = 0; role < entity->platform->n_roles; role++) {
            const char *name = entity->platform->roles[role].name;
            if (length == strlen(name) && memcmp(word, name, length) == 0 &&
                entity_action(device, entity, role, &action)) {
                do_action(peer, &action, command);
                return;
            }
        }
        command_answer_error(peer->gateway, command, "invalid_value", 0,
                             "the entity %s cannot do that", id);
        return;
    }
    command_answer_error(peer->gateway, command, "unknown_characteristic", 0,
                         "device %s has no entity %s", device->id, id);
}

/* what stands behind the topic of requests, or NULL */
static const char *request_operation(const struct gateway *gateway, const char *topic)
{
    size_t length = strlen(gateway->topic_request);

    return strncmp(topic, gateway->topic_request, length) == 0 && topic[length] == '/'
               ? topic + length + 1
               : NULL;
}

void router_message(struct gateway *gateway, const struct event *event)
{
    _cleanup_(freep) char *reply_topic = NULL;
    struct route route;

    gateway->counts.messages++;
    if (event->message.retained) {
        if (!gateway->counts.retained_commands++)
            actions_log(gateway->actions, LOG_LEVEL_WARNING, "mqtt",
                        "a retained command on %s is ignored (more are only counted)",
                        event->message.topic);
        return;
    }
    const char *operation = request_operation(gateway, event->message.topic);
    if (operation) {
        request_message(gateway, operation, event);
        return;
    }
    if (!parse(gateway, event->message.topic, &route)) {
        gateway->counts.rejected++;
        return;
    }
    struct peer *peer = gateway_find_peer(gateway, route.device, route.device_length);
    if (!peer ||
        !peer->speaks) { /* another gateway's: it was subscribed to a moment ago, perhaps */
        gateway->counts.rejected++;
        return;
    }
    bool is_command = route.kind == COMMAND_KIND_COMMAND;
    if (asprintf(&reply_topic, "%s/%s/%s%s/result", gateway->settings->gateway.base_topic,
                 peer->settings->id, is_command ? "command/" : "", route.characteristic) < 0) {
        reply_topic = NULL;
        gateway->counts.rejected++;
        return;
    }
    struct command *command = command_new(gateway, route.kind, reply_topic, event);
    if (!command) {
        gateway->counts.rejected++;
        return;
    }
    if (command_refused(gateway, command))
        return;
    if (is_command) {
        run_command(peer, route.characteristic, event, command);
        return;
    }
    if (route.kind == COMMAND_KIND_SET && strcmp(route.characteristic, "entity") == 0) {
        run_entity(peer, route.field, event, command);
        return;
    }
    uint32_t entry = access_find(peer, route.characteristic);
    if (entry == NO_ENTRY)
        command_answer_error(gateway, command, "unknown_characteristic", 0,
                             "device %s has no characteristic %s", peer->settings->id,
                             route.characteristic);
    else if (route.kind == COMMAND_KIND_SET)
        access_write(peer, entry, *route.field ? route.field : NULL, event->message.payload,
                     event->message.length, TRI_AUTO, command);
    else
        ops_read(peer, entry, command);
}
