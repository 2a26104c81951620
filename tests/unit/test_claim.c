/* Several gateways, one file: who has a device. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "helper_world.h"

static void device_that_the_file_gives_to_another_gateway_is_left_alone(void **state)
{
    struct world *world = world_new(2);

    free(world->settings.devices[0].gateway);
    world->settings.devices[0].gateway = strdup("attic");
    world_start(world);
    world_bluez_up(world);
    world_broker_up(world);
    world_hear(world, 0, 100);
    world_message(world, "g/d0/lamp/set", "1", false);
    world_advance(world, 60000);
    assert_null(world_find(world, ACTION_CONNECT, NULL));
    assert_null(world_published(world, "g/d0/status/availability"));
    assert_null(world_published(world, "g/d0/status/link"));
    assert_null(world_published(world, "g/d0/lamp/result"));
    for (const struct action *action = NULL;
         (action = world_find(world, ACTION_TOPIC_SUBSCRIBE, action));)
        assert_null(strstr(action->topic.filter, "/d0/"));
    const char *devices = world_published(world, "g/bridge/gw/devices");
    assert_non_null(strstr(devices, "\"held_by\":\"attic\",\"topics\":[]"));
    assert_non_null(strstr(devices, "\"held_by\":null,\"topics\":[\"g/d1/status/availability\""));
    /* nobody is missing that is not ours */
    world_online(world, 1);
    world_advance(world, 10000);
    assert_int_equal(world->gateway->adapters[0].scan, SCAN_STATE_OFF);
    world_clear(world);
    world_event(world, &(struct event){.type = EVENT_STOP});
    assert_null(world_published(world, "g/d0/status/availability"));
    assert_string_equal(world_published(world, "g/d1/status/availability"), "offline");
    world_free(world);
}

static void device_that_the_file_gives_to_this_gateway_is_its_own(void **state)
{
    struct world *world = world_new(1);

    free(world->settings.devices[0].gateway);
    world->settings.devices[0].gateway = strdup("gw");
    world_start(world);
    world_bluez_up(world);
    world_broker_up(world);
    world_online(world, 0);
    assert_string_equal(world_published(world, "g/d0/status/availability"), "online");
    world_free(world);
}

/* a device that any gateway may have */
static struct world *begin_free(void)
{
    struct world *world = world_new(1);

    free(world->settings.devices[0].gateway);
    world->settings.devices[0].gateway = NULL;
    return world;
}

static void start(struct world *world)
{
    world_start(world);
    world_bluez_up(world);
}

/* the Connect that was asked for comes to its good end */
static void bring_up(struct world *world)
{
    const struct action connect = *world_expect(world, ACTION_CONNECT);

    world_link(world, 100, true);
    world_answer(world, &connect, BT_STATUS_OK);
    world_resolved(world, world_expect(world, ACTION_RESOLVE));
    world_answer(world, world_expect(world, ACTION_SUBSCRIBE), BT_STATUS_OK);
    assert_int_equal(world->gateway->peers[0]->state, PEER_STATE_ONLINE);
}

#define ATTIC     "g/bridge/attic/status"
#define LINK      "g/d0/status/link"
#define ATTICS    "{\"gateway\":\"attic\",\"state\":\"online\",\"address\":\"C0:00:00:00:00:05\"}"
#define GRACE_MS  3010
#define STANDS_MS 260

static size_t count_filters(const struct world *world)
{
    size_t n = 0;

    for (size_t i = 0; i < world->n_filters; i++)
        n += strstr(world->filters[i], "g/d0/") != NULL;
    return n;
}

static void gateway_that_is_alone_waits_for_nobody(void **state)
{
    struct world *world = begin_free();

    start(world);
    world_broker_up(world); /* no time passes */
    assert_true(world->gateway->peers[0]->speaks);
    assert_string_equal(world_published(world, "g/bridge/gw/status"), "online");
    assert_string_equal(world_published(world, "g/d0/status/availability"), "offline");
    assert_non_null(strstr(world_retained(world, LINK), "\"gateway\":\"gw\""));
    assert_int_equal(count_filters(world), 3);
    world_online(world, 0);
    world_free(world);
}

static struct world *begin_held_elsewhere(void)
{
    struct world *world = begin_free();

    world_retain(world, ATTIC, "online");
    world_retain(world, LINK, ATTICS);
    start(world);
    world_broker_up(world);
    world_message(world, ATTIC, "online", false); /* it is alive */
    return world;
}

static void device_of_another_gateway_is_left_alone_and_that_is_said(void **state)
{
    struct world *world = begin_held_elsewhere();

    world_hear(world, 0, 100);
    world_message(world, "g/d0/lamp/set", "1", false);
    world_advance(world, 600000);
    assert_null(world_find(world, ACTION_CONNECT, NULL));
    assert_string_equal(world_retained(world, LINK), ATTICS);
    assert_null(world_published(world, LINK));
    assert_null(world_published(world, "g/d0/status/availability"));
    assert_null(world_published(world, "g/d0/lamp/result"));
    assert_int_equal(count_filters(world), 0);
    assert_non_null(strstr(world_retained(world, "g/bridge/gw/devices"),
                           "\"held_by\":\"attic\",\"topics\":[]"));
    assert_string_equal(world->gateway->peers[0]->why, "held by gateway attic");
    assert_int_equal(world->gateway->peers[0]->reason, REASON_HELD_ELSEWHERE);
    assert_string_equal(world_published(world, "g/bridge/gw/status"), "online");
    world_free(world);
}

static void device_is_taken_over_when_its_gateway_goes(void **state)
{
    struct world *world = begin_held_elsewhere();

    world_hear(world, 0, 100);
    world_clear(world);
    world_message(world, ATTIC, "offline", false);
    world_advance(world, 900); /* it may come back */
    assert_null(world_published(world, LINK));
    world_message(world, ATTIC, "online", false);
    world_advance(world, 60000);
    assert_null(world_published(world, LINK));
    world_message(world, ATTIC, "offline", false);
    world_advance(world, GRACE_MS);
    assert_non_null(strstr(world_retained(world, LINK), "\"gateway\":\"gw\""));
    world_advance(world, STANDS_MS);
    assert_string_equal(world_published(world, "g/d0/status/availability"), "offline");
    assert_int_equal(count_filters(world), 3);
    const char *devices = world_retained(world, "g/bridge/gw/devices");
    assert_non_null(strstr(devices, "\"held_by\":null,\"topics\":[\"g/d0/status/availability\""));
    bring_up(world);
    world_free(world);
}

/* Somebody else's link: such a device does not advertise, so it would never be heard. */
static void device_that_is_linked_already_is_found_when_it_is_taken_over(void **state)
{
    struct world *world = begin_free();
    struct match_settings *match = &world->settings.devices[0].match;
    struct event linked = {.type = EVENT_DEVICE,
                           .device_info = {.adapter = ADAPTER_1,
                                           .device = 7,
                                           .address = {{0xc0, 0, 0, 0, 0, 7}},
                                           .name = "Meter 1",
                                           .connected = true,
                                           .rssi = RSSI_UNKNOWN}};

    *match = (struct match_settings){.name = strdup("Meter*")};
    world_retain(world, ATTIC, "online");
    world_retain(world, LINK, "{\"gateway\":\"attic\"}");
    start(world);
    world_broker_up(world);
    world_message(world, ATTIC, "online", false);
    world_event(world, &linked); /* it is none of ours */
    world_clear(world);
    world_message(world, ATTIC, "offline", false);
    world_expect(world, ACTION_TELL_DEVICES);
    world_event(world, &linked);
    world_advance(world, GRACE_MS + STANDS_MS);
    assert_int_equal(world_expect(world, ACTION_RESOLVE)->device, 7);
    assert_null(world_find(world, ACTION_CONNECT, NULL));
    world_free(world);
}

static void gateway_that_says_nothing_live_is_not_believed(void **state)
{
    struct world *world = begin_free();

    world_retain(world, ATTIC, "online"); /* of a broker that went down without a word */
    world_retain(world, LINK, ATTICS);
    start(world);
    world_broker_up(world);
    world_advance(world, 19000);
    assert_false(world->gateway->peers[0]->ours);
    world_advance(world, 1000 + GRACE_MS + STANDS_MS);
    assert_true(world->gateway->peers[0]->speaks);
    world_free(world);
}

static void gateways_of_the_past_leave_room_for_those_that_are_there(void **state)
{
    struct world *world = begin_free();

    start(world);
    world_broker_up(world);
    for (int i = 0; i < BRIDGES_MAX; i++) {
        char topic[64];
        snprintf(topic, sizeof(topic), "g/bridge/old%d/status", i);
        world_message(world, topic, "offline", true);
    }
    world_message(world, ATTIC, "online", false);
    world_message(world, LINK, ATTICS, false);
    world_advance(world, 60000);
    assert_false(world->gateway->peers[0]->ours);
    assert_int_equal(world->gateway->peers[0]->reason, REASON_HELD_ELSEWHERE);
    world_free(world);
}

static void newcomer_hears_that_this_gateway_lives(void **state)
{
    struct world *world = begin_free();

    start(world);
    world_broker_up(world);
    world_clear(world);
    world_message(world, ATTIC, "offline", false);
    assert_int_equal(world_count_published(world, "g/bridge/gw/status"), 1);
    assert_string_equal(world_published(world, "g/bridge/gw/status"), "online");
    world_message(world, ATTIC, "online", false); /* no answer to an answer */
    assert_int_equal(world_count_published(world, "g/bridge/gw/status"), 1);
    world_free(world);
}

static void device_that_another_gateway_claims_is_let_go(void **state)
{
    struct world *world = begin_free();

    start(world);
    world_broker_up(world);
    world_online(world, 0);
    const struct action subscribe = *world_expect(world, ACTION_SUBSCRIBE);
    world_message(world, ATTIC, "online", false);
    world_message(world, "g/d0/lamp/set", "1", false);
    world_clear(world);
    world_message(world, LINK, ATTICS, false);
    assert_int_equal(world_expect(world, ACTION_DISCONNECT)->device, 100);
    assert_int_equal(count_filters(world), 0);
    assert_non_null(strstr(world_published(world, "g/d0/lamp/result"), "\"cancelled\""));
    world_clear(world);
    world_value(world, &subscribe, "\x07", 1); /* on its way from BlueZ */
    world_link(world, 100, false);
    world_hear(world, 0, 100);
    world_advance(world, 60000);
    assert_null(world_published(world, "g/d0/level"));
    assert_null(world_published(world, LINK));
    assert_null(world_published(world, "g/d0/status/availability"));
    assert_null(world_find(world, ACTION_CONNECT, NULL));
    assert_int_equal(world->gateway->peers[0]->reason, REASON_HELD_ELSEWHERE);
    world_free(world);
}

static void device_that_comes_back_while_its_link_goes_down_waits_for_that(void **state)
{
    struct world *world = begin_free();

    start(world);
    world_broker_up(world);
    world_online(world, 0);
    world_message(world, ATTIC, "online", false);
    world_message(world, LINK, ATTICS, false);
    const struct action disconnect = *world_expect(world, ACTION_DISCONNECT);
    world_message(world, ATTIC, "offline", false);
    world_advance(world, GRACE_MS + STANDS_MS);
    assert_true(world->gateway->peers[0]->ours);
    assert_int_equal(world->gateway->peers[0]->state, PEER_STATE_DISCONNECTING);
    assert_non_null(strstr(world_retained(world, LINK), "its link goes down first"));
    world_answer(world, &disconnect, BT_STATUS_OK);
    world_clear(world);
    world_link(world, 100, false);
    bring_up(world);
    world_free(world);
}

/* The pause ends while its link still does not go: that is not what it waits for. */
static void paused_device_that_is_let_go_does_not_speak_of_the_pause(void **state)
{
    struct world *world = begin_free();

    start(world);
    world_broker_up(world);
    world_online(world, 0);
    world_message(world, ATTIC, "online", false);
    world_message(world, "g/bridge/gw/request/pause", "{\"device\":\"d0\",\"for\":\"20s\"}", false);
    world_answer(world, world_expect(world, ACTION_DISCONNECT), BT_STATUS_FAILED);
    assert_int_equal(world->gateway->peers[0]->reason, REASON_PAUSED);
    world_message(world, LINK, ATTICS, false);
    world_advance(world, 25000);
    assert_int_equal(world->gateway->peers[0]->state, PEER_STATE_DISCONNECTING);
    assert_int_equal(world->gateway->peers[0]->reason, REASON_HELD_ELSEWHERE);
    world_link(world, 100, false);
    assert_string_equal(world->gateway->peers[0]->why, "held by gateway attic");
    world_free(world);
}

/* ---- without the broker ---- */

static void without_a_broker_the_gateway_goes_on_alone(void **state)
{
    struct world *world = begin_free();

    start(world);
    world_hear(world, 0, 100);
    assert_null(world_find(world, ACTION_CONNECT, NULL)); /* it may come in a moment */
    assert_string_equal(world->gateway->peers[0]->why,
                        "waits for the broker to say whether another gateway has it");
    world_advance(world, 5010);
    bring_up(world);
    const struct action subscribe = *world_expect(world, ACTION_SUBSCRIBE);
    world_value(world, &subscribe, "\x01", 1);
    world_value(world, &subscribe, "\x02", 1);
    world_clear(world);
    world_broker_up(world);
    assert_int_equal(world_count_published(world, "g/d0/level"), 2);
    assert_string_equal(world_published(world, "g/d0/status/availability"), "online");
    assert_null(world_find(world, ACTION_DISCONNECT, NULL));
    world_free(world);
}

static void what_another_gateway_has_when_the_broker_comes_is_let_go(void **state)
{
    struct world *world = begin_free();

    start(world);
    world_advance(world, 5010);
    world_online(world, 0);
    const struct action subscribe = *world_expect(world, ACTION_SUBSCRIBE);
    world_value(world, &subscribe, "\x01", 1);
    world_value(world, &subscribe, "\x02", 1);
    world_clear(world);
    world_retain(world, ATTIC, "online");
    world_retain(world, LINK, ATTICS);
    world_broker_up(world);
    world_expect(world, ACTION_DISCONNECT);
    assert_null(world_published(world, "g/d0/level"));
    assert_null(world_published(world, "g/d0/status/availability"));
    assert_string_equal(world_retained(world, LINK), ATTICS);
    assert_int_equal(world->gateway->counts.let_go, 2);
    world_free(world);
}

static void values_wait_until_the_claim_has_come_back(void **state)
{
    struct world *world = begin_free();

    start(world);
    world_broker_up(world);
    world_online(world, 0);
    const struct action subscribe = *world_expect(world, ACTION_SUBSCRIBE);
    world_message(world, ATTIC, "offline", false);
    world_broker_down(world);
    world_value(world, &subscribe, "\x01", 1);
    world_clear(world);
    world_broker_up(world);
    world_advance(world, 200);
    assert_null(world_published(world, "g/d0/level"));
    assert_null(world_find(world, ACTION_DISCONNECT, NULL)); /* the link stays meanwhile */
    world_advance(world, STANDS_MS);
    assert_int_equal(world_count_published(world, "g/d0/level"), 1);
    assert_string_equal(world_published(world, "g/bridge/gw/status"), "online");
    world_free(world);
}

static void broker_that_gives_nothing_back_stops_nobody(void **state)
{
    struct world *world = begin_free();
    static const char *const filters[] = {"g/bridge/+/status", "g/bridge/gw/devices",
                                          "g/+/status/link"};

    world->deaf = true;
    start(world);
    world_broker_up(world);
    for (size_t i = 0; i < ARRAY_SIZE(filters); i++) {
        struct event event = {.type = EVENT_TOPIC_SUBSCRIBED,
                              .topic_subscribed = {.filter = filters[i], .ok = true}};
        world_event(world, &event);
        if (i == 1)
            world_advance(world, 3010);
    }
    world_advance(world, 3010);
    assert_true(world->gateway->peers[0]->speaks);
    assert_string_equal(world_published(world, "g/bridge/gw/status"), "online");
    world_online(world, 0);
    world_free(world);
}

/* What another gateway left as its availability would be believed until ours comes. */
static void online_that_waits_goes_behind_a_device_that_is_taken_meanwhile(void **state)
{
    struct event slow = {.type = EVENT_BROKER_UP,
                         .broker_up = {.window = 1, .window_qos0 = 1, .v5 = true}};
    struct event done = {.type = EVENT_PUBLISHED, .published.ok = true};
    struct world *world = begin_free();
    size_t online = SIZE_MAX, availability = SIZE_MAX;

    world_retain(world, ATTIC, "online");
    world_retain(world, LINK, ATTICS);
    start(world);
    world_event(world, &slow);
    world->acknowledge = false;
    world_clear(world);
    world_message(world, ATTIC, "offline", false); /* `online` goes, and is not acknowledged, */
    world_message(world, ATTIC, "offline", false); /* and another one waits */
    world_advance(world, 2 * GRACE_MS);
    assert_true(world->gateway->peers[0]->speaks);
    for (size_t i = 0; i < world->n_seen; i++) {
        const struct action *action = &world->seen[i];
        if (action->type != ACTION_PUBLISH)
            continue;
        if (strcmp(action->publish.topic, "g/bridge/gw/status") == 0 && action->publish.length == 6)
            online = i;
        if (strcmp(action->publish.topic, "g/d0/status/availability") == 0)
            availability = i;
        done.published.token = action->publish.token;
        world_event(world, &done);
    }
    assert_true(online != SIZE_MAX && availability < online);
    world_free(world);
}

static void nonsense_claims_nothing(void **state)
{
    static const char *const texts[] = {
        "{",   "7", "[]", "{}", "{\"gateway\":7}", "{\"gateway\":\"a/b\"}", "{\"gateway\":\"\"}",
        "\xff"};
    struct world *world = begin_free();

    start(world);
    world_broker_up(world);
    world_online(world, 0);
    world_clear(world);
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        world_message(world, LINK, texts[i], false);
    world_message(world, "g/x/y/status/link", ATTICS, false);
    world_message(world, "g//status/link", ATTICS, false);
    world_message(world, "g/bridge//status", "online", false);
    world_message(world, "g/bridge/a/b/status", "online", false);
    assert_true(world->gateway->peers[0]->speaks);
    assert_null(world_find(world, ACTION_DISCONNECT, NULL));
    /* who clears it clears the claim: it is made again */
    world_message(world, LINK, "", false);
    assert_int_equal(world_count_published(world, LINK), 1);
    assert_true(world->gateway->peers[0]->speaks);
    for (int i = 0; i < 2 * BRIDGES_MAX; i++) {
        char topic[64];
        snprintf(topic, sizeof(topic), "g/bridge/b%d/status", i);
        world_message(world, topic, "online", false);
    }
    assert_int_equal(world->gateway->n_bridges, BRIDGES_MAX);
    world_free(world);
}

static void bound_device_is_not_claimed_away(void **state)
{
    struct world *world = world_new(1);

    start(world);
    world_broker_up(world);
    world_online(world, 0);
    world_clear(world);
    world_message(world, ATTIC, "online", false);
    world_message(world, LINK, ATTICS, false);
    assert_true(world->gateway->peers[0]->speaks);
    assert_null(world_find(world, ACTION_DISCONNECT, NULL));
    assert_null(world_published(world, LINK)); /* no quarrel about it either */
    world_free(world);
}

static void stop_says_nothing_of_what_another_gateway_has(void **state)
{
    struct world *world = begin_held_elsewhere();

    world_clear(world);
    world_event(world, &(struct event){.type = EVENT_STOP});
    assert_true(world->quit);
    assert_string_equal(world_retained(world, "g/bridge/gw/status"), "offline");
    assert_null(world_published(world, "g/d0/status/availability"));
    assert_string_equal(world_retained(world, LINK), ATTICS);
    world_free(world);
}

static void stop_in_the_middle_of_claiming_says_goodbye(void **state)
{
    struct world *world = begin_free();

    world_retain(world, ATTIC, "offline");
    start(world);
    world_broker_up(world);
    world_advance(world, GRACE_MS - 10); /* claimed, perhaps, and not yet standing */
    world_clear(world);
    world_event(world, &(struct event){.type = EVENT_STOP});
    assert_true(world->quit);
    assert_string_equal(world_retained(world, "g/bridge/gw/status"), "offline");
    world_free(world);
}

/* A blind attempt that was not due when another gateway took the device is due still. */
static void device_that_returns_is_tried_blind_in_its_time(void **state)
{
    struct world *world = begin_free();
    struct peer *peer = NULL;

    start(world);
    world_broker_up(world);
    world_online(world, 0);
    peer = world->gateway->peers[0];
    world_message(world, ATTIC, "online", false);
    world_message(world, LINK, ATTICS, false);
    world_link(world, 100, false);
    assert_false(peer->ours);
    world_advance(world, 16000); /* it is not heard any more */
    peer->blind_us = world->now.mono_us + MS_TO_US(GRACE_MS + STANDS_MS + 200); /* as a failed one
                                                                                  leaves it */
    world_message(world, ATTIC, "offline", false);
    world_advance(world, GRACE_MS + STANDS_MS);
    assert_int_equal(peer->state, PEER_STATE_ABSENT);
    world_clear(world);
    world_advance(world, 300);
    world_expect(world, ACTION_CONNECT);
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(device_that_the_file_gives_to_another_gateway_is_left_alone),
        cmocka_unit_test(device_that_the_file_gives_to_this_gateway_is_its_own),
        cmocka_unit_test(gateway_that_is_alone_waits_for_nobody),
        cmocka_unit_test(device_of_another_gateway_is_left_alone_and_that_is_said),
        cmocka_unit_test(device_is_taken_over_when_its_gateway_goes),
        cmocka_unit_test(device_that_is_linked_already_is_found_when_it_is_taken_over),
        cmocka_unit_test(gateway_that_says_nothing_live_is_not_believed),
        cmocka_unit_test(gateways_of_the_past_leave_room_for_those_that_are_there),
        cmocka_unit_test(newcomer_hears_that_this_gateway_lives),
        cmocka_unit_test(device_that_another_gateway_claims_is_let_go),
        cmocka_unit_test(device_that_comes_back_while_its_link_goes_down_waits_for_that),
        cmocka_unit_test(paused_device_that_is_let_go_does_not_speak_of_the_pause),
        cmocka_unit_test(without_a_broker_the_gateway_goes_on_alone),
        cmocka_unit_test(what_another_gateway_has_when_the_broker_comes_is_let_go),
        cmocka_unit_test(values_wait_until_the_claim_has_come_back),
        cmocka_unit_test(broker_that_gives_nothing_back_stops_nobody),
        cmocka_unit_test(online_that_waits_goes_behind_a_device_that_is_taken_meanwhile),
        cmocka_unit_test(nonsense_claims_nothing),
        cmocka_unit_test(bound_device_is_not_claimed_away),
        cmocka_unit_test(stop_says_nothing_of_what_another_gateway_has),
        cmocka_unit_test(stop_in_the_middle_of_claiming_says_goodbye),
        cmocka_unit_test(device_that_returns_is_tried_blind_in_its_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
