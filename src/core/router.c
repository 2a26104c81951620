/*
 * Messages on command topics to commands. A gateway subscribes to the command topics of its own
 * devices only. Retained messages never act: what was meant for yesterday would switch things
 * today.
 */
#include "core/world.h"

#include "core/topic.h"
#include "util/cleanup.h"
#include <stdio.h>
#include <string.h>

static const char *const filters[] = {"+/set", "+/set/+", "+/get", "command/+"};

int router_subscribe(struct gateway *gateway, struct peer *peer)
{
    for (size_t i = 0; i < ARRAY_SIZE(filters); i++) {
        const char *filter =
            actions_printf(gateway->actions, "%s/%s/%s", gateway->settings->gateway.base_topic,
                           peer->settings->id, filters[i]);
        if (!filter)
            return -ENOMEM;
        struct action *action = actions_add(gateway->actions, ACTION_TOPIC_SUBSCRIBE);
        action->topic.filter = filter;
        action->topic.qos = 1;
    }
    return 0;
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

static void set(struct peer *peer, uint32_t index, const char *field, const struct event *event,
                struct command *command)
{
    struct gateway *gateway = peer->gateway;
    const struct characteristic_settings *settings = peer->entries[index].settings;
    struct payload_set asked;
    uint8_t data[GATT_VALUE_MAX + FRAME_MAX_MARK];
    size_t length = 0, at = 0;

    if (!settings->writable) {
        command_answer_error(gateway, command, "read_only", 0, "%s is not `writable: true`",
                             settings->id);
        return;
    }
    int error = payload_parse_set(settings->schema, *field ? field : NULL, event->message.payload,
                                  event->message.length, &asked);
    if (error) {
        command_answer_error(gateway, command,
                             error == PAYLOAD_E_JSON   ? "bad_json"
                             : error == PAYLOAD_E_LONG ? "value_too_long"
                                                       : "invalid_value",
                             0, "%s", asked.error);
        return;
    }
    if (asked.is_raw) {
        ops_write(peer, index, asked.raw, asked.raw_length, command);
        return;
    }
    struct codec_context context = {.real_us = gateway->now.real_us,
                                    .counter = peer->entries[index].writes++};
    error =
        codec_encode(settings->schema, asked.values, &context, data, GATT_VALUE_MAX, &length, &at);
    if (error) {
        char text[160];
        codec_explain(settings->schema, error, at, GATT_VALUE_MAX, text, sizeof(text));
        command_answer_error(gateway, command,
                             error == CODEC_E_LONG ? "value_too_long" : "invalid_value", 0, "%s",
                             text);
        return;
    }
    ops_write(peer, index, data, frame_close(settings, data, length), command);
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
    if (is_command) {
        run_command(peer, route.characteristic, event, command);
        return;
    }
    for (uint32_t i = 0; i < peer->n_entries; i++)
        if (peer->entries[i].settings->origin != ORIGIN_MESSAGE &&
            strcmp(peer->entries[i].settings->id, route.characteristic) == 0) {
            if (route.kind == COMMAND_KIND_SET)
                set(peer, i, route.field, event, command);
            else
                ops_read(peer, i, command);
            return;
        }
    command_answer_error(gateway, command, "unknown_characteristic", 0,
                         "device %s has no characteristic %s", peer->settings->id,
                         route.characteristic);
}
