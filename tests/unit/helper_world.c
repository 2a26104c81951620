/* A scripted world around the core; see helper_world.h. */
#include "helper_world.h"

#include "core/topic.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct schema *one_field(const char *name)
{
    struct field_spec *spec = calloc(1, sizeof(*spec));
    struct schema *schema;
    struct schema_error error;

    spec->name = strdup(name);
    spec->type = FIELD_TYPE_UINT;
    spec->size = 1;
    spec->offset = FIELD_OFFSET_NEXT;
    spec->length = FIELD_LENGTH_REST;
    spec->scale.mantissa = 1;
    spec->publish = true;
    assert_int_equal(schema_new_take(spec, 1, false, &schema, &error), 0);
    return schema;
}

static struct characteristic_settings characteristic(const char *id, uint16_t uuid)
{
    return (struct characteristic_settings){
        .id = strdup(id),
        .has_uuid = true,
        .uuid = bt_uuid_from_u16(uuid),
        .index = -1,
        .readable = true,
        .schema = one_field("value"),
        .retain = true,
        .qos = 1,
    };
}

static void device(struct device_settings *settings, size_t index)
{
    char id[24];

    snprintf(id, sizeof(id), "d%zu", index);
    *settings = (struct device_settings){
        .id = strdup(id),
        .gateway = strdup("gw"), /* no question whose it is */
        .enabled = true,
        .match = {.has_address = true, .address = {{0xc0, 0, 0, 0, 0, (uint8_t)index}}},
        .reconnect_min_ms = 250,
        .reconnect_max_ms = 60000,
        .queue_timeout_ms = 10000,
        .n_characteristics = 2,
        .characteristics = calloc(2, sizeof(struct characteristic_settings)),
    };
    settings->characteristics[0] = characteristic("level", 0x2a19);
    settings->characteristics[0].subscribe = true;
    settings->characteristics[1] = characteristic("lamp", 0xffe1);
    settings->characteristics[1].writable = true;
}

static void fill(struct settings *settings, size_t n_devices)
{
    settings->mqtt.buffer_messages = 1000;
    settings->mqtt.buffer_bytes = 1 << 20;
    settings->gateway.id = strdup("gw");
    settings->gateway.base_topic = strdup("g");
    settings->commands.allow = OPERATIONS_DEFAULT_BITS;
    settings->bluetooth.connections = 5;
    settings->bluetooth.power_on = true;
    settings->devices = calloc(n_devices + 1, sizeof(struct device_settings));
    settings->n_devices = n_devices;
    for (size_t i = 0; i < n_devices; i++)
        device(&settings->devices[i], i);
}

struct world *world_new(size_t n_devices)
{
    struct world *world = calloc(1, sizeof(*world));

    world->acknowledge = true;
    world->now = (struct now){.mono_us = 1000000, .real_us = 1700000000000000};
    fill(&world->settings, n_devices);
    return world;
}

void world_start(struct world *world)
{
    struct gateway_options options = {.settings =
                                          world->reloaded ? world->reloaded : &world->settings,
                                      .seed = 1,
                                      .version = "test"};
    struct event event = {.type = EVENT_START};

    assert_int_equal(gateway_new(&options, &world->gateway), 0);
    world_event(world, &event);
}

static void drop_mails(struct world *world)
{
    for (; world->n_mails; world->n_mails--) {
        free(world->mails[world->n_mails - 1].topic);
        free(world->mails[world->n_mails - 1].payload);
    }
}

void world_clear(struct world *world)
{
    for (size_t i = 0; i < world->n_owned; i++)
        free(world->owned[i]);
    world->n_owned = world->n_seen = 0;
}

static void forget(struct settings *settings)
{
    for (size_t i = 0; i < settings->n_devices; i++)
        device_settings_done(&settings->devices[i]);
    free(settings->devices);
    for (size_t i = 0; i < settings->commands.n_reply_to; i++)
        free(settings->commands.reply_to[i]);
    free(settings->commands.reply_to);
    free(settings->gateway.id);
    free(settings->gateway.base_topic);
    free(settings->home_assistant.prefix);
    *settings = (struct settings){0};
}

struct world *world_free(struct world *world)
{
    world_clear(world);
    drop_mails(world);
    gateway_free(world->gateway);
    actions_done(&world->actions);
    forget(&world->settings);
    settings_free(world->reloaded);
    free(world);
    return NULL;
}

static char *keep(struct world *world, const void *data, size_t length)
{
    char *copy = malloc(length + 1);

    if (length)
        memcpy(copy, data, length);
    copy[length] = '\0';
    assert_true(world->n_owned < ARRAY_SIZE(world->owned));
    world->owned[world->n_owned++] = copy;
    return copy;
}

/* The broker gives back what is published on the topics by which gateways know of each other, and
 * keeps it. */
static bool is_echoed(const struct world *world, const char *topic)
{
    if (world->deaf ||
        !(topic_matches("g/bridge/+/status", topic) || topic_matches("g/bridge/+/devices", topic) ||
          topic_matches("g/+/status/link", topic)))
        return false;
    for (size_t i = 0; i < world->n_filters; i++)
        if (topic_matches(world->filters[i], topic))
            return true;
    return false;
}

static void retain(struct world *world, const char *topic, const void *payload, size_t length)
{
    struct retained *free_one = NULL, *found = NULL;

    for (size_t i = 0; i < ARRAY_SIZE(world->retained); i++) {
        struct retained *each = &world->retained[i];
        if (*each->topic && strcmp(each->topic, topic) == 0)
            found = each;
        else if (!*each->topic && !free_one)
            free_one = each;
    }
    if (!found)
        found = free_one;
    assert_non_null(found);
    assert_true(length < sizeof(found->payload));
    snprintf(found->topic, sizeof(found->topic), "%s", length ? topic : "");
    if (length)
        memcpy(found->payload, payload, length);
    found->payload[length] = '\0';
}

const char *world_retained(const struct world *world, const char *topic)
{
    for (size_t i = 0; i < ARRAY_SIZE(world->retained); i++)
        if (strcmp(world->retained[i].topic, topic) == 0)
            return world->retained[i].payload;
    return NULL;
}

void world_retain(struct world *world, const char *topic, const char *payload)
{
    retain(world, topic, payload, strlen(payload));
}

/* on its way to the gateway; in order */
static void deliver_later(struct world *world, const char *topic, const char *payload,
                          bool retained)
{
    assert_true(world->n_mails < ARRAY_SIZE(world->mails));
    struct mail *mail = &world->mails[world->n_mails++];
    mail->topic = strdup(topic);
    mail->payload = strdup(payload);
    mail->retained = retained;
}

static void deliver(struct world *world)
{
    while (world->n_mails) {
        struct mail mail = world->mails[0];
        memmove(&world->mails[0], &world->mails[1], --world->n_mails * sizeof(mail));
        world_message(world, mail.topic, mail.payload, mail.retained);
        free(mail.topic);
        free(mail.payload);
    }
}

static void subscribed(struct world *world, const char *filter)
{
    assert_true(world->n_filters < ARRAY_SIZE(world->filters));
    snprintf(world->filters[world->n_filters++], sizeof(world->filters[0]), "%s", filter);
    for (size_t i = 0; i < ARRAY_SIZE(world->retained); i++)
        if (*world->retained[i].topic && topic_matches(filter, world->retained[i].topic) &&
            is_echoed(world, world->retained[i].topic))
            deliver_later(world, world->retained[i].topic, world->retained[i].payload, true);
}

static void unsubscribed(struct world *world, const char *filter)
{
    for (size_t i = world->n_filters; i-- > 0;)
        if (strcmp(world->filters[i], filter) == 0)
            memmove(world->filters[i], world->filters[--world->n_filters],
                    sizeof(world->filters[0]));
}

/* what the broker does about an action */
static void broker(struct world *world, const struct action *action)
{
    if (action->type == ACTION_TOPIC_SUBSCRIBE)
        subscribed(world, action->topic.filter);
    else if (action->type == ACTION_TOPIC_UNSUBSCRIBE)
        unsubscribed(world, action->topic.filter);
    if (action->type != ACTION_PUBLISH)
        return;
    if (action->publish.retain)
        retain(world, action->publish.topic, action->publish.payload, action->publish.length);
    if (is_echoed(world, action->publish.topic))
        deliver_later(world, action->publish.topic, action->publish.payload, false);
}

static void record(struct world *world, const struct action *action)
{
    assert_true(world->n_seen < ARRAY_SIZE(world->seen));
    struct action *copy = &world->seen[world->n_seen++];
    *copy = *action;
    if (action->type == ACTION_PUBLISH) {
        copy->publish.topic = keep(world, action->publish.topic, strlen(action->publish.topic));
        copy->publish.payload = keep(world, action->publish.payload, action->publish.length);
        copy->publish.correlation =
            keep(world, action->publish.correlation, action->publish.correlation_length);
    } else if (action->type == ACTION_WRITE) {
        copy->write.data = (const uint8_t *)keep(world, action->write.data, action->write.length);
    } else if (action->type == ACTION_TOPIC_SUBSCRIBE || action->type == ACTION_TOPIC_UNSUBSCRIBE) {
        copy->topic.filter = keep(world, action->topic.filter, strlen(action->topic.filter));
    } else if (action->type == ACTION_LOG) {
        copy->log.area = keep(world, action->log.area, strlen(action->log.area));
        copy->log.text = keep(world, action->log.text, strlen(action->log.text));
    } else if (action->type == ACTION_STATUS) {
        copy->status.text = keep(world, action->status.text, strlen(action->status.text));
    } else if (action->type == ACTION_QUIT) {
        world->quit = true;
    }
}

struct reaction {
    uint64_t tokens[256];
    struct action scans[4];
    size_t n, n_scans;
};

/* what is done with the actions while what they point to is there */
static void execute(struct world *world, struct reaction *reaction)
{
    world->depth++;
    assert_false(world->actions.failed);
    for (size_t i = 0; i < world->actions.n; i++) {
        const struct action *action = &world->actions.list[i];
        record(world, action);
        broker(world, &world->seen[world->n_seen - 1]);
        if (action->type == ACTION_PUBLISH && reaction->n < ARRAY_SIZE(reaction->tokens))
            reaction->tokens[reaction->n++] = action->publish.token;
        if ((action->type == ACTION_SCAN_START || action->type == ACTION_SCAN_STOP) &&
            !world->mute_scan && reaction->n_scans < ARRAY_SIZE(reaction->scans))
            reaction->scans[reaction->n_scans++] = *action;
    }
    /* the promise that holds everywhere: who is not online says why */
    for (size_t i = 0; i < world->gateway->n_peers; i++)
        assert_true(world->gateway->peers[i]->why[0]);
}

static void answer(struct world *world, const struct reaction *reaction)
{
    for (size_t i = 0; i < reaction->n_scans; i++) {
        struct event done = {.type = EVENT_SCAN_RESULT,
                             .op = reaction->scans[i].op,
                             .adapter = reaction->scans[i].adapter,
                             .asked.on = reaction->scans[i].type == ACTION_SCAN_START};
        world_event(world, &done);
    }
    for (size_t i = 0; world->acknowledge && i < reaction->n; i++) {
        struct event done = {.type = EVENT_PUBLISHED,
                             .published = {.token = reaction->tokens[i], .ok = true}};
        world_event(world, &done);
    }
    if (--world->depth == 0)
        deliver(world);
}

void world_event(struct world *world, const struct event *event)
{
    struct reaction reaction = {0};

    actions_reset(&world->actions);
    gateway_handle(world->gateway, world->now, event, &world->actions);
    execute(world, &reaction);
    answer(world, &reaction);
}

int world_reload(struct world *world, struct settings *file)
{
    struct settings *old = world->reloaded;
    struct reaction reaction = {0};

    actions_reset(&world->actions);
    int r = gateway_reload(world->gateway, world->now, file, &world->actions);
    execute(world, &reaction);
    if (r == 0)
        world->reloaded = file;
    if (r != 0)
        settings_free(file);
    else if (old)
        settings_free(old);
    else
        forget(&world->settings);
    answer(world, &reaction);
    return r;
}

void world_advance(struct world *world, uint64_t ms)
{
    uint64_t end = world->now.mono_us + ms * 1000;
    struct event event = {.type = EVENT_TIMER};
    unsigned rounds = 0;

    while (gateway_next_deadline(world->gateway) <= end) {
        uint64_t due = gateway_next_deadline(world->gateway);
        if (due > world->now.mono_us) {
            world->now.real_us += (int64_t)(due - world->now.mono_us);
            world->now.mono_us = due;
        }
        world_event(world, &event);
        assert_true(++rounds < 100000); /* a busy loop */
    }
    world->now.real_us += (int64_t)(end - world->now.mono_us);
    world->now.mono_us = end;
}

const struct action *world_find(const struct world *world, enum action_type type,
                                const struct action *after)
{
    for (size_t i = after ? (size_t)(after - world->seen) + 1 : 0; i < world->n_seen; i++)
        if (world->seen[i].type == type)
            return &world->seen[i];
    return NULL;
}

const struct action *world_expect(const struct world *world, enum action_type type)
{
    const struct action *action = world_find(world, type, NULL);

    if (!action)
        fail_msg("no action of type %d", (int)type);
    return action;
}

size_t world_count(const struct world *world, enum action_type type)
{
    size_t n = 0;

    for (size_t i = 0; i < world->n_seen; i++)
        n += world->seen[i].type == type;
    return n;
}

const char *world_published(const struct world *world, const char *topic)
{
    for (size_t i = world->n_seen; i-- > 0;)
        if (world->seen[i].type == ACTION_PUBLISH &&
            strcmp(world->seen[i].publish.topic, topic) == 0)
            return world->seen[i].publish.payload;
    return NULL;
}

size_t world_count_published(const struct world *world, const char *topic)
{
    size_t n = 0;

    for (size_t i = 0; i < world->n_seen; i++)
        n += world->seen[i].type == ACTION_PUBLISH &&
             strcmp(world->seen[i].publish.topic, topic) == 0;
    return n;
}

void world_adapter(struct world *world, uint32_t number, bool powered)
{
    char name[8];

    snprintf(name, sizeof(name), "hci%u", number - 1);
    struct event event = {.type = EVENT_ADAPTER,
                          .adapter = number,
                          .adapter_info = {.adapter = number,
                                           .name = name,
                                           .address = {{0, 0x1a, 0x7d, 0, 0, (uint8_t)number}},
                                           .powered = powered}};

    world_event(world, &event);
}

void world_adapter_gone(struct world *world, uint32_t number)
{
    struct event event = {.type = EVENT_ADAPTER_GONE, .adapter = number};

    world_event(world, &event);
}

void world_bluez_up(struct world *world)
{
    struct event up = {.type = EVENT_BLUEZ_UP};

    world_adapter(world, ADAPTER_1, true);
    world_event(world, &up);
}

void world_hear_at(struct world *world, uint32_t adapter, size_t peer, uint32_t number,
                   int16_t rssi)
{
    struct event event = {.type = EVENT_DEVICE,
                          .adapter = adapter,
                          .device = number,
                          .device_info = {.adapter = adapter,
                                          .device = number,
                                          .address = {{0xc0, 0, 0, 0, 0, (uint8_t)peer}},
                                          .heard = true,
                                          .rssi = rssi}};

    world_event(world, &event);
}

void world_hear(struct world *world, size_t peer, uint32_t number)
{
    world_hear_at(world, ADAPTER_1, peer, number, -60);
}

void world_answer(struct world *world, const struct action *action, enum bt_status status)
{
    enum event_type type = EVENT_CONNECT_RESULT;

    if (action->type == ACTION_DISCONNECT)
        type = EVENT_DISCONNECT_RESULT;
    else if (action->type == ACTION_RESOLVE)
        type = EVENT_RESOLVE_RESULT;
    else if (action->type == ACTION_SUBSCRIBE)
        type = EVENT_SUBSCRIBE_RESULT;
    else if (action->type == ACTION_READ)
        type = EVENT_READ_RESULT;
    else if (action->type == ACTION_WRITE)
        type = EVENT_WRITE_RESULT;
    struct event event = {
        .type = type,
        .op = action->op,
        .adapter = action->adapter,
        .device = action->device,
        .result = {.status = status, .att = status == BT_STATUS_ATT_ERROR ? 3 : 0}};
    if (type == EVENT_READ_RESULT) {
        event.read.handle = action->read.handle;
        event.read.data = (const uint8_t *)"\x2a";
        event.read.length = 1;
    }
    world_event(world, &event);
}

void world_link_at(struct world *world, uint32_t adapter, uint32_t number, bool connected)
{
    struct event event = {
        .type = EVENT_LINK, .adapter = adapter, .device = number, .link.connected = connected};

    world_event(world, &event);
}

void world_link(struct world *world, uint32_t number, bool connected)
{
    world_link_at(world, ADAPTER_1, number, connected);
}

void world_resolved(struct world *world, const struct action *action)
{
    const struct gatt_characteristic tree[] = {
        {.service = bt_uuid_from_u16(0x180f),
         .uuid = bt_uuid_from_u16(0x2a19),
         .handle = LEVEL_HANDLE,
         .flags = GATT_FLAG_READ | GATT_FLAG_NOTIFY},
        {.service = bt_uuid_from_u16(0xffe0),
         .uuid = bt_uuid_from_u16(0xffe1),
         .handle = LAMP_HANDLE,
         .flags = GATT_FLAG_READ | GATT_FLAG_WRITE},
    };
    struct event event = {
        .type = EVENT_RESOLVE_RESULT,
        .op = action->op,
        .adapter = action->adapter,
        .device = action->device,
        .resolved = {.characteristics = tree, .n_characteristics = 2, .mtu = 247}};

    world_event(world, &event);
}

void world_value(struct world *world, const struct action *subscribe, const void *data, size_t n)
{
    struct event event = {.type = EVENT_VALUE,
                          .value = {.subscription = subscribe->subscribe.subscription,
                                    .peer = subscribe->op.peer,
                                    .source = subscribe->subscribe.source,
                                    .data = data,
                                    .length = n}};

    world_event(world, &event);
}

void world_online(struct world *world, size_t peer)
{
    uint32_t number = 100 + (uint32_t)peer;

    world_clear(world);
    world_hear(world, peer, number);
    world_connected(world, peer);
}

void world_connected(struct world *world, size_t peer)
{
    const struct action connect = *world_expect(world, ACTION_CONNECT);

    world_link_at(world, connect.adapter, connect.device, true);
    world_answer(world, &connect, BT_STATUS_OK);
    world_resolved(world, world_expect(world, ACTION_RESOLVE));
    world_answer(world, world_expect(world, ACTION_SUBSCRIBE), BT_STATUS_OK);
    assert_int_equal(world->gateway->peers[peer]->state, PEER_STATE_ONLINE);
}

void world_broker_up(struct world *world)
{
    struct event event = {.type = EVENT_BROKER_UP,
                          .broker_up = {.window = 20, .window_qos0 = 100, .v5 = true}};

    world_event(world, &event);
}

void world_broker_down(struct world *world)
{
    struct event event = {.type = EVENT_BROKER_DOWN,
                          .broker_down = {.reason = "lost", .was_up = true}};

    world->n_filters = 0;
    drop_mails(world);
    world_event(world, &event);
}

void world_message(struct world *world, const char *topic, const char *payload, bool retained)
{
    struct event event = {.type = EVENT_MESSAGE,
                          .message = {.topic = topic,
                                      .payload = payload,
                                      .length = strlen(payload),
                                      .qos = 1,
                                      .retained = retained}};

    world_event(world, &event);
}
