#include "helper_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
/* cmocka wants the ones above */
#include <cmocka.h>

static void record_message(struct member *member, const struct event *event)
{
    if (member->n_messages == MAX_RECORDED)
        return;
    struct message *message = &member->messages[member->n_messages++];
    *message = (struct message){
        .topic = strdup(event->message.topic),
        .payload = strndup(event->message.payload, event->message.length),
        .length = event->message.length,
        .qos = event->message.qos,
        .retained = event->message.retained,
        .has_expiry = event->message.has_expiry,
        .expiry_s = event->message.expiry_s,
        .correlation_length = event->message.correlation_length,
    };
    if (event->message.response_topic)
        message->response_topic = strdup(event->message.response_topic);
    if (event->message.correlation) {
        message->correlation = malloc(message->correlation_length + 1);
        memcpy(message->correlation, event->message.correlation, message->correlation_length);
    }
}

static void on_event(void *userdata, const struct event *event)
{
    struct member *member = userdata;

    if (event->type == EVENT_BROKER_UP) {
        member->up = true;
        member->n_up++;
        member->window = event->broker_up.window;
        member->window_qos0 = event->broker_up.window_qos0;
        member->max_packet = event->broker_up.max_packet;
    } else if (event->type == EVENT_BROKER_DOWN) {
        member->up = false;
        member->n_down++;
        member->was_up = event->broker_down.was_up;
        snprintf(member->reason, sizeof member->reason, "%s", event->broker_down.reason);
        snprintf(member->text, sizeof member->text, "%s", event->broker_down.text);
    } else if (event->type == EVENT_PUBLISHED && member->n_published < MAX_RECORDED) {
        member->published[member->n_published++] =
            (struct published){event->published.token, event->published.ok, event->published.code};
    } else if (event->type == EVENT_TOPIC_SUBSCRIBED) {
        if (event->topic_subscribed.ok)
            member->n_subscribed++;
        else
            member->n_refused++;
    } else if (event->type == EVENT_MESSAGE) {
        record_message(member, event);
    }
    if (member->hook)
        member->hook(member, event);
}

void world_init(struct world *world)
{
    *world = (struct world){0};
    assert_true(sd_event_new(&world->event) >= 0);
}

void member_free(struct member *member)
{
    member->client = mqtt_client_free(member->client);
    for (size_t i = 0; i < member->n_messages; i++) {
        free(member->messages[i].topic);
        free(member->messages[i].payload);
        free(member->messages[i].response_topic);
        free(member->messages[i].correlation);
    }
    free(member->messages);
    free(member->published);
    *member = (struct member){0};
}

void world_done(struct world *world)
{
    for (size_t i = 0; i < MAX_CLIENTS; i++)
        if (world->members[i].world)
            member_free(&world->members[i]);
    sd_event_unref(world->event);
}

struct member *world_add(struct world *world, const char *client_id, uint16_t port,
                         uint8_t protocol)
{
    struct member *member = world->members;

    while (member->world)
        member++;
    member->world = world;
    member->messages = calloc(MAX_RECORDED, sizeof *member->messages);
    member->published = calloc(MAX_RECORDED, sizeof *member->published);
    member->settings = (struct mqtt_settings){
        .url = (char *)"mqtt://127.0.0.1",
        .transport = MQTT_TRANSPORT_TCP,
        .host = (char *)"127.0.0.1",
        .port = port,
        .path = (char *)"",
        .client_id = (char *)client_id,
        .protocol = protocol,
        .keepalive_ms = 30000,
    };
    return member;
}

void member_start(struct member *member, const char *will_topic, const char *will_payload)
{
    struct mqtt_client_options options = {
        .event = member->world->event,
        .settings = &member->settings,
        .will_topic = will_topic,
        .will_payload = will_payload,
        .emit = on_event,
        .userdata = member,
    };

    assert_int_equal(mqtt_client_new(&options, &member->client), 0);
    assert_true(mqtt_client_start(member->client) >= 0);
}

static void on_stopped(void *userdata)
{
    struct member *member = userdata;

    member->stopped = true;
}

void member_stop(struct member *member)
{
    mqtt_client_stop(member->client, 2000, on_stopped, member);
    run_until(member->world, 5, member->stopped);
}

void world_arm(struct world *world, unsigned seconds)
{
    world->deadline_ms = monotonic_ms() + seconds * 1000ULL;
}

bool world_turn(struct world *world)
{
    assert_true(sd_event_run(world->event, 100000) >= 0);
    return monotonic_ms() < world->deadline_ms;
}

void member_publish(struct member *member, uint64_t token, const char *topic, const char *payload,
                    uint8_t qos, bool retain)
{
    mqtt_client_execute(member->client, &(struct action){.type = ACTION_PUBLISH,
                                                         .publish = {.token = token,
                                                                     .topic = topic,
                                                                     .payload = payload,
                                                                     .length = strlen(payload),
                                                                     .qos = qos,
                                                                     .retain = retain}});
}

void member_subscribe(struct member *member, const char *filter)
{
    mqtt_client_execute(member->client, &(struct action){.type = ACTION_TOPIC_SUBSCRIBE,
                                                         .topic = {.filter = filter, .qos = 1}});
}

struct member *world_connect(struct world *world, const char *client_id, uint16_t port,
                             uint8_t protocol)
{
    struct member *member = world_add(world, client_id, port, protocol);

    member_start(member, NULL, NULL);
    run_until(world, 10, member->up);
    return member;
}

void member_listen(struct member *member, const char *filter)
{
    unsigned n = member->n_subscribed;

    member_subscribe(member, filter);
    run_until(member->world, 10, member->n_subscribed == n + 1);
}

const struct published *member_answer(const struct member *member, uint64_t token)
{
    for (size_t i = 0; i < member->n_published; i++)
        if (member->published[i].token == token)
            return &member->published[i];
    return NULL;
}

uint64_t monotonic_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

int fixture_setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);

    world_init(&fixture->world);
    broker_init(&fixture->broker);
    *state = fixture;
    return 0;
}

int fixture_teardown(void **state)
{
    struct fixture *fixture = *state;

    world_done(&fixture->world);
    broker_done(&fixture->broker);
    free(fixture);
    return 0;
}
