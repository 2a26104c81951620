/*
 * Two gateways, one file, one broker, messages that cross: what each does goes over a line with a
 * delay of its own to a broker that passes it on in order, with another delay. From a seed, many
 * times: at no moment do two hold a device, nothing reaches the broker on a device's topics from
 * two at a time, and in the end exactly one has each.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/topic.h"
#include "helper_world.h"

#define N_GATEWAYS 3
#define N_DEVICES  2
#define LINE_MAX   4096
#define DELAY_US   100000 /* the longest way, one direction */

/* One message, SUBSCRIBE or UNSUBSCRIBE on its way. */
struct parcel {
    enum action_type type; /* PUBLISH, TOPIC_SUBSCRIBE or TOPIC_UNSUBSCRIBE; to the gateway: 0 */
    char topic[64];
    char *payload; /* owned */
    size_t length;
    uint64_t token; /* to the gateway: 0, or acknowledged */
    bool retain;
    uint64_t at_us;
};

struct line {
    struct parcel parcels[LINE_MAX];
    size_t head, n;
    uint64_t last_us;
};

struct node {
    char id[24];
    struct settings settings;
    struct gateway *gateway; /* owned; NULL: it does not run */
    struct actions actions;
    struct line to_broker, to_gateway;
    char filters[64][64];
    size_t n_filters;
    bool connected;
    uint64_t connect_us; /* TIME_NEVER: not by itself */
    uint64_t notify_us;
};

struct kept {
    char topic[64];
    char *payload; /* owned */
    size_t length;
};

struct scene {
    uint64_t random;
    struct now now;
    struct node nodes[N_GATEWAYS];
    size_t n_nodes;
    struct kept kept[128];
    size_t n_kept;
    int speaker[N_DEVICES]; /* whose message on the device's topics came to the broker last */
    bool broker_up;
    uint64_t n_takeovers;
};

static uint32_t below(struct scene *scene, uint32_t n)
{
    scene->random ^= scene->random >> 12;
    scene->random ^= scene->random << 25;
    scene->random ^= scene->random >> 27;
    return (uint32_t)((scene->random * 0x2545f4914f6cdd1dULL >> 32) * n >> 32);
}

static void put(struct scene *scene, struct line *line, struct parcel parcel, const void *payload)
{
    assert_true(line->n < LINE_MAX);
    parcel.payload = malloc(parcel.length + 1);
    if (parcel.length)
        memcpy(parcel.payload, payload, parcel.length);
    parcel.payload[parcel.length] = '\0';
    parcel.at_us = MAX_OF(line->last_us, scene->now.mono_us + below(scene, DELAY_US));
    line->last_us = parcel.at_us;
    line->parcels[(line->head + line->n++) % LINE_MAX] = parcel;
}

static struct parcel take(struct line *line)
{
    struct parcel parcel = line->parcels[line->head];

    line->head = (line->head + 1) % LINE_MAX;
    line->n--;
    return parcel;
}

static void empty(struct line *line)
{
    while (line->n) {
        struct parcel parcel = take(line);
        free(parcel.payload);
    }
}

/* ---- the promise ---- */

static void check(struct scene *scene)
{
    for (size_t d = 0; d < N_DEVICES; d++) {
        int holder = -1;
        for (size_t i = 0; i < scene->n_nodes; i++) {
            const struct gateway *gateway = scene->nodes[i].gateway;
            if (!gateway || !gateway->peers[d]->speaks)
                continue;
            if (holder >= 0)
                fail_msg("%s and %s both hold d%zu", scene->nodes[holder].id, scene->nodes[i].id,
                         d);
            holder = (int)i;
        }
    }
}

/* Values and availability; claims may cross, and answers are no state. */
static bool is_said_of(const char *topic, size_t *ret_device)
{
    *ret_device = (size_t)(topic[3] - '0');
    return topic[2] == 'd' && !strstr(topic, "/status/link") && !strstr(topic, "/result");
}

/* Once another one speaks, nothing of who spoke before may be on its way. */
static void check_speaker(struct scene *scene, size_t node, const char *topic)
{
    size_t d, other;

    if (!is_said_of(topic, &d))
        return;
    assert_true(d < N_DEVICES);
    int before = scene->speaker[d];
    scene->speaker[d] = (int)node;
    if (before < 0 || before == (int)node)
        return;
    scene->n_takeovers++;
    const struct line *line = &scene->nodes[before].to_broker;
    for (size_t i = 0; i < line->n; i++) {
        const struct parcel *parcel = &line->parcels[(line->head + i) % LINE_MAX];
        if (parcel->type == ACTION_PUBLISH && is_said_of(parcel->topic, &other) && other == d)
            fail_msg("%s speaks of d%zu, and %s of %s is on its way", scene->nodes[node].id, d,
                     parcel->topic, scene->nodes[before].id);
    }
}

/* ---- the gateways ---- */

static void handle(struct scene *scene, struct node *node, const struct event *event)
{
    actions_reset(&node->actions);
    gateway_handle(node->gateway, scene->now, event, &node->actions);
    for (size_t i = 0; i < node->actions.n; i++) {
        const struct action *action = &node->actions.list[i];
        struct parcel parcel = {.type = action->type};

        if (action->type == ACTION_PUBLISH) {
            snprintf(parcel.topic, sizeof(parcel.topic), "%s", action->publish.topic);
            parcel.length = action->publish.length;
            parcel.token = action->publish.token;
            parcel.retain = action->publish.retain;
            put(scene, &node->to_broker, parcel, action->publish.payload);
        } else if (action->type == ACTION_TOPIC_SUBSCRIBE ||
                   action->type == ACTION_TOPIC_UNSUBSCRIBE) {
            snprintf(parcel.topic, sizeof(parcel.topic), "%s", action->topic.filter);
            put(scene, &node->to_broker, parcel, NULL);
        }
    }
    check(scene);
}

static void start(struct scene *scene, struct node *node)
{
    struct gateway_options options = {
        .settings = &node->settings, .seed = below(scene, UINT32_MAX), .version = "test"};

    assert_int_equal(gateway_new(&options, &node->gateway), 0);
    handle(scene, node, &(struct event){.type = EVENT_START});
    node->connect_us = scene->now.mono_us + below(scene, 2000000);
}

/* ---- the broker ---- */

static void pass_on(struct scene *scene, const char *topic, const void *payload, size_t length)
{
    for (size_t i = 0; i < scene->n_nodes; i++) {
        struct node *node = &scene->nodes[i];
        bool wanted = false;
        for (size_t f = 0; f < node->n_filters; f++)
            wanted |= topic_matches(node->filters[f], topic);
        if (!wanted)
            continue;
        struct parcel parcel = {.length = length};
        snprintf(parcel.topic, sizeof(parcel.topic), "%s", topic);
        put(scene, &node->to_gateway, parcel, payload);
    }
}

static void keep(struct scene *scene, const char *topic, const void *payload, size_t length)
{
    for (size_t i = scene->n_kept; i-- > 0;)
        if (strcmp(scene->kept[i].topic, topic) == 0) {
            free(scene->kept[i].payload);
            scene->kept[i] = scene->kept[--scene->n_kept];
        }
    if (!length)
        return;
    assert_true(scene->n_kept < ARRAY_SIZE(scene->kept));
    struct kept *kept = &scene->kept[scene->n_kept++];
    snprintf(kept->topic, sizeof(kept->topic), "%s", topic);
    kept->payload = malloc(length);
    memcpy(kept->payload, payload, length);
    kept->length = length;
}

static void publish(struct scene *scene, const char *topic, const void *payload, size_t length,
                    bool retain)
{
    if (retain)
        keep(scene, topic, payload, length);
    pass_on(scene, topic, payload, length);
}

static void arrive(struct scene *scene, struct node *node)
{
    struct parcel parcel = take(&node->to_broker);

    if (parcel.type == ACTION_PUBLISH) {
        check_speaker(scene, (size_t)(node - scene->nodes), parcel.topic);
        publish(scene, parcel.topic, parcel.payload, parcel.length, parcel.retain);
        put(scene, &node->to_gateway, (struct parcel){.token = parcel.token}, NULL);
    } else if (parcel.type == ACTION_TOPIC_SUBSCRIBE) {
        assert_true(node->n_filters < ARRAY_SIZE(node->filters));
        strcpy(node->filters[node->n_filters++], parcel.topic);
        for (size_t i = 0; i < scene->n_kept; i++) {
            const struct kept *kept = &scene->kept[i];
            struct parcel retained = {.length = kept->length, .retain = true};
            if (!topic_matches(parcel.topic, kept->topic))
                continue;
            strcpy(retained.topic, kept->topic);
            put(scene, &node->to_gateway, retained, kept->payload);
        }
    } else {
        for (size_t i = node->n_filters; i-- > 0;)
            if (strcmp(node->filters[i], parcel.topic) == 0)
                memmove(node->filters[i], node->filters[--node->n_filters],
                        sizeof(node->filters[0]));
    }
    free(parcel.payload);
}

static void deliver(struct scene *scene, struct node *node)
{
    struct parcel parcel = take(&node->to_gateway);
    struct event event = {.type = EVENT_MESSAGE,
                          .message = {.topic = parcel.topic,
                                      .payload = parcel.payload,
                                      .length = parcel.length,
                                      .qos = 1,
                                      .retained = parcel.retain}};

    if (parcel.token)
        event = (struct event){.type = EVENT_PUBLISHED,
                               .published = {.token = parcel.token, .ok = true}};
    handle(scene, node, &event);
    free(parcel.payload);
}

static void connect(struct scene *scene, struct node *node)
{
    node->connect_us = TIME_NEVER;
    node->connected = true;
    node->to_broker.last_us = node->to_gateway.last_us = 0;
    handle(scene, node,
           &(struct event){.type = EVENT_BROKER_UP,
                           .broker_up = {.window = 20, .window_qos0 = 20, .v5 = true}});
}

/* the connection breaks; the broker says the will. What the gateway sent is not lost: it arrives
 * first. */
static void disconnect(struct scene *scene, struct node *node)
{
    char topic[64];

    if (!node->connected)
        return;
    while (node->to_broker.n)
        arrive(scene, node);
    node->connected = false;
    node->n_filters = 0;
    empty(&node->to_gateway);
    snprintf(topic, sizeof(topic), "g/bridge/%s/status", node->id);
    if (scene->broker_up)
        publish(scene, topic, "offline", 7, true);
    if (!node->gateway)
        return;
    node->connect_us = scene->now.mono_us + 100000 + below(scene, 4000000);
    handle(scene, node,
           &(struct event){.type = EVENT_BROKER_DOWN,
                           .broker_down = {.reason = "lost", .was_up = true}});
}

static void kill_node(struct scene *scene, struct node *node)
{
    node->gateway = gateway_free(node->gateway);
    disconnect(scene, node);
    node->connect_us = TIME_NEVER;
}

static void forget(struct scene *scene)
{
    while (scene->n_kept)
        free(scene->kept[--scene->n_kept].payload);
}

static void broker_dies(struct scene *scene, bool forgets)
{
    scene->broker_up = false;
    for (size_t i = 0; i < scene->n_nodes; i++)
        disconnect(scene, &scene->nodes[i]);
    if (forgets)
        forget(scene);
    scene->broker_up = true;
}

/* ---- time ---- */

/* as if the device had notified: who has it publishes at once, or later */
static void notify(struct scene *scene, struct node *node)
{
    struct outbox_put put = {.payload = "1", .length = 1, .qos = 1, .retain = true};
    size_t d = below(scene, N_DEVICES);

    node->notify_us = scene->now.mono_us + 1 + below(scene, 400000);
    if (!node->gateway || !node->gateway->peers[d]->ours)
        return;
    put.topic = node->gateway->peers[d]->entries[0].topic;
    assert_int_equal(outbox_put(node->gateway->outbox, &put), 0);
    handle(scene, node, &(struct event){.type = EVENT_TIMER});
}

static void run(struct scene *scene, uint64_t us)
{
    uint64_t end_us = scene->now.mono_us + us;

    for (;;) {
        struct node *who = NULL;
        uint64_t next_us = end_us;
        int what = 0;
        size_t first = below(scene, (uint32_t)scene->n_nodes);

        for (size_t k = 0; k < scene->n_nodes; k++) {
            struct node *node = &scene->nodes[(first + k) % scene->n_nodes];
            const uint64_t times[] = {
                node->to_broker.n ? node->to_broker.parcels[node->to_broker.head].at_us
                                  : TIME_NEVER,
                node->to_gateway.n ? node->to_gateway.parcels[node->to_gateway.head].at_us
                                   : TIME_NEVER,
                node->connect_us,
                node->gateway ? MAX_OF(gateway_next_deadline(node->gateway), scene->now.mono_us)
                              : TIME_NEVER,
                node->notify_us,
            };
            for (size_t i = 0; i < ARRAY_SIZE(times); i++)
                if (times[i] < next_us) {
                    next_us = times[i];
                    who = node;
                    what = (int)i;
                }
        }
        scene->now.real_us += (int64_t)(next_us - scene->now.mono_us);
        scene->now.mono_us = next_us;
        if (!who)
            return;
        if (what == 0)
            arrive(scene, who);
        else if (what == 1)
            deliver(scene, who);
        else if (what == 2)
            connect(scene, who);
        else if (what == 3)
            handle(scene, who, &(struct event){.type = EVENT_TIMER});
        else
            notify(scene, who);
    }
}

/* ---- scenes ---- */

static struct scene *scene_new(uint64_t seed, size_t n_nodes)
{
    struct scene *scene = calloc(1, sizeof(*scene));

    scene->random = seed * 0x9e3779b97f4a7c15ULL + 1;
    scene->now = (struct now){.mono_us = 1000000, .real_us = 1700000000000000};
    scene->broker_up = true;
    scene->n_nodes = n_nodes;
    for (size_t d = 0; d < N_DEVICES; d++)
        scene->speaker[d] = -1;
    for (size_t i = 0; i < n_nodes; i++) {
        struct node *node = &scene->nodes[i];
        struct world *world = world_new(N_DEVICES); /* for its settings */

        snprintf(node->id, sizeof(node->id), "g%zu", i);
        node->settings = world->settings;
        world->settings = (struct settings){0};
        world_free(world);
        free(node->settings.gateway.id);
        node->settings.gateway.id = strdup(node->id);
        for (size_t d = 0; d < N_DEVICES; d++) {
            free(node->settings.devices[d].gateway);
            node->settings.devices[d].gateway = NULL;
        }
        node->connect_us = TIME_NEVER;
    }
    return scene;
}

static void scene_free(struct scene *scene)
{
    for (size_t i = 0; i < scene->n_nodes; i++) {
        struct node *node = &scene->nodes[i];

        gateway_free(node->gateway);
        actions_done(&node->actions);
        empty(&node->to_broker);
        empty(&node->to_gateway);
        for (size_t d = 0; d < N_DEVICES; d++)
            device_settings_done(&node->settings.devices[d]);
        free(node->settings.devices);
        free(node->settings.gateway.id);
        free(node->settings.gateway.base_topic);
    }
    forget(scene);
    free(scene);
}

static size_t holders(const struct scene *scene, size_t d)
{
    size_t n = 0;

    for (size_t i = 0; i < scene->n_nodes; i++)
        n += scene->nodes[i].gateway && scene->nodes[i].gateway->peers[d]->speaks &&
             scene->nodes[i].gateway->peers[d]->ours;
    return n;
}

static void assert_settled(struct scene *scene, uint64_t seed)
{
    char *link = NULL;

    for (size_t d = 0; d < N_DEVICES; d++) {
        size_t acting = 0;
        for (size_t i = 0; i < scene->n_nodes; i++)
            acting += scene->nodes[i].gateway && scene->nodes[i].gateway->peers[d]->ours;
        for (size_t i = 0; i < scene->n_nodes && (holders(scene, d) != 1 || acting != 1); i++) {
            const struct node *node = &scene->nodes[i];
            if (!node->gateway) {
                print_message("%s does not run\n", node->id);
                continue;
            }
            const struct peer *peer = node->gateway->peers[d];
            print_message("%s: connected %d, step %d, claim %d of '%s', ours %d, speaks %d: %s\n",
                          node->id, node->connected, (int)node->gateway->greeting.step,
                          (int)peer->claim.state, peer->claim.holder, peer->ours, peer->speaks,
                          peer->why);
        }
        if (holders(scene, d) != 1 || acting != 1)
            fail_msg("seed %d: d%zu is held by %zu, %zu act", (int)seed, d, holders(scene, d),
                     acting);
        for (size_t k = 0; k < scene->n_kept; k++)
            if (scene->kept[k].topic[3] == '0' + (int)d &&
                strstr(scene->kept[k].topic, "/status/link"))
                link = scene->kept[k].payload;
        assert_non_null(link);
    }
}

static void something_happens(struct scene *scene)
{
    struct node *node = &scene->nodes[below(scene, (uint32_t)scene->n_nodes)];

    switch (below(scene, 6)) {
    case 0:
    case 1:
        if (node->gateway)
            kill_node(scene, node);
        else
            start(scene, node);
        break;
    case 2:
    case 3: disconnect(scene, node); break;
    case 4: broker_dies(scene, below(scene, 2)); break;
    case 5:
        if (!node->gateway)
            start(scene, node);
        break;
    }
}

static void whatever_happens_never_two_hold_a_device_and_one_does_in_the_end(void **state)
{
    uint64_t takeovers = 0;

    for (uint64_t seed = 1; seed <= 1500; seed++) {
        struct scene *scene = scene_new(seed, 2 + seed % 2);

        for (size_t i = 0; i < scene->n_nodes; i++)
            if (i == 0 || below(scene, 4))
                start(scene, &scene->nodes[i]);
        size_t n = below(scene, 12);
        for (size_t i = 0; i < n; i++) {
            run(scene, below(scene, below(scene, 2) ? 300000 : 8000000));
            something_happens(scene);
        }
        bool any = false;
        for (size_t i = 0; i < scene->n_nodes; i++)
            any |= scene->nodes[i].gateway != NULL;
        if (!any)
            start(scene, &scene->nodes[0]);
        run(scene, 40000000);
        assert_settled(scene, seed);
        takeovers += scene->n_takeovers;
        scene_free(scene);
    }
    assert_true(takeovers > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whatever_happens_never_two_hold_a_device_and_one_does_in_the_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
