/* Values out, commands in, the broker's comings and goings, and the end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "helper_world.h"

static struct world *begin_online(void)
{
    struct world *world = world_new(1);

    world_start(world);
    world_bluez_up(world);
    world_broker_up(world);
    world_online(world, 0);
    return world;
}

static void assert_code(struct world *world, const char *topic, const char *code)
{
    const char *answer = world_published(world, topic);
    char expected[64];

    assert_non_null(answer);
    snprintf(expected, sizeof(expected), "\"code\":\"%s\"", code);
    if (!strstr(answer, expected))
        fail_msg("%s says %s", topic, answer);
}

static void values_are_published_in_order_with_the_time_they_came(void **state)
{
    struct world *world = begin_online();
    const struct action subscribe = *world_expect(world, ACTION_SUBSCRIBE);

    world_clear(world);
    world->now.real_us = 1764000000123456;
    world_value(world, &subscribe, "\x01", 1);
    assert_string_equal(world_published(world, "g/d0/level"),
                        "{\"value\":1,\"ts\":\"2025-11-24T16:00:00.123Z\"}");
    world_value(world, &subscribe, "\x02", 1);
    assert_non_null(strstr(world_published(world, "g/d0/level"), "\"value\":2"));
    assert_int_equal(world_count_published(world, "g/d0/level"), 2);
    world_free(world);
}

static void value_of_an_unknown_subscription_is_dropped_and_counted(void **state)
{
    struct world *world = begin_online();
    struct action subscribe = *world_expect(world, ACTION_SUBSCRIBE);

    world_clear(world);
    subscribe.subscribe.subscription += 1;
    world_value(world, &subscribe, "\x01", 1);
    subscribe.op.peer = 99;
    world_value(world, &subscribe, "\x01", 1);
    assert_null(world_published(world, "g/d0/level"));
    world_free(world);
}

static void short_value_is_not_published_and_logged_once_a_minute(void **state)
{
    struct world *world = begin_online();
    const struct action subscribe = *world_expect(world, ACTION_SUBSCRIBE);

    world_clear(world);
    for (int i = 0; i < 10; i++)
        world_value(world, &subscribe, "", 0);
    assert_null(world_published(world, "g/d0/level"));
    assert_int_equal(world_count(world, ACTION_LOG), 1);
    assert_int_equal(world->gateway->counts.malformed, 10);
    world_free(world);
}

static void set_writes_answers_and_reads_back(void **state)
{
    struct world *world = begin_online();

    world_clear(world);
    world_message(world, "g/d0/lamp/set", "42", false);
    const struct action *write = world_expect(world, ACTION_WRITE);
    assert_int_equal(write->write.handle, LAMP_HANDLE);
    assert_true(write->write.response);
    assert_int_equal(write->write.length, 1);
    assert_int_equal(write->write.data[0], 42);
    assert_null(world_published(world, "g/d0/lamp/result"));
    world_answer(world, write, BT_STATUS_OK);
    const char *answer = world_published(world, "g/d0/lamp/result");
    assert_non_null(strstr(answer, "\"status\":\"ok\""));
    assert_non_null(strstr(answer, "\"value\":42"));
    assert_null(world_published(world, "g/d0/lamp"));
    world_answer(world, world_expect(world, ACTION_READ), BT_STATUS_OK);
    assert_non_null(strstr(world_published(world, "g/d0/lamp"), "\"value\":42"));
    assert_int_equal(world_count_published(world, "g/d0/lamp/result"), 1);
    world_free(world);
}

static void get_reads_publishes_and_answers(void **state)
{
    struct world *world = begin_online();

    world_clear(world);
    world_message(world, "g/d0/lamp/get", "", false);
    world_answer(world, world_expect(world, ACTION_READ), BT_STATUS_OK);
    assert_non_null(strstr(world_published(world, "g/d0/lamp"), "\"value\":42"));
    assert_non_null(strstr(world_published(world, "g/d0/lamp/result"), "\"op\":\"get\""));
    world_free(world);
}

static void refusals_say_why(void **state)
{
    struct world *world = begin_online();

    world_clear(world);
    world_message(world, "g/d0/level/set", "1", false);
    assert_code(world, "g/d0/level/result", "read_only");
    world_message(world, "g/d0/lamp/set", "300", false);
    assert_code(world, "g/d0/lamp/result", "invalid_value");
    world_message(world, "g/d0/lamp/set", "{\"value\":", false);
    assert_code(world, "g/d0/lamp/result", "bad_json");
    world_message(world, "g/d0/nothing/set", "1", false);
    assert_code(world, "g/d0/nothing/result", "unknown_characteristic");
    assert_null(world_find(world, ACTION_WRITE, NULL));
    world_message(world, "g/d0/lamp/set", "1", false);
    world_answer(world, world_expect(world, ACTION_WRITE), BT_STATUS_ATT_ERROR);
    assert_code(world, "g/d0/lamp/result", "att_error");
    assert_non_null(strstr(world_published(world, "g/d0/lamp/result"),
                           "\"message\":\"Write Not Permitted\",\"att\":3"));
    world_free(world);
}

static void hostile_topics_do_nothing(void **state)
{
    static const char *const topics[] = {
        "g",
        "g/",
        "g//lamp/set",
        "g/d0",
        "g/d0/lamp",
        "g/d0//set",
        "x/d0/lamp/set",
        "g/d0/lamp/set/",
        "g/d0/lamp/set/a/b",
        "g/d0/la mp/set",
        "g/d9/lamp/set",
        "g/d0/lamp/SET",
        "gd0/lamp/set",
        "/",
        "",
    };
    struct world *world = begin_online();

    world_clear(world);
    for (size_t i = 0; i < ARRAY_SIZE(topics); i++)
        world_message(world, topics[i], "1", false);
    assert_null(world_find(world, ACTION_WRITE, NULL));
    assert_null(world_find(world, ACTION_PUBLISH, NULL));
    world_free(world);
}

static void retained_command_never_acts(void **state)
{
    struct world *world = begin_online();

    world_clear(world);
    world_message(world, "g/d0/lamp/set", "1", true);
    world_message(world, "g/d0/lamp/set", "1", true);
    assert_null(world_find(world, ACTION_WRITE, NULL));
    assert_null(world_published(world, "g/d0/lamp/result"));
    assert_int_equal(world->gateway->counts.retained_commands, 2);
    world_free(world);
}

static void operations_run_one_at_a_time_in_order(void **state)
{
    struct world *world = begin_online();

    world_clear(world);
    world_message(world, "g/d0/lamp/set", "1", false);
    world_message(world, "g/d0/lamp/set", "2", false);
    assert_int_equal(world_count(world, ACTION_WRITE), 1);
    const struct action *first = world_expect(world, ACTION_WRITE);
    world_answer(world, first, BT_STATUS_OK);
    world_answer(world, world_expect(world, ACTION_READ), BT_STATUS_OK);
    const struct action *second = world_find(world, ACTION_WRITE, first);
    assert_non_null(second);
    assert_int_equal(second->write.data[0], 2);
    world_free(world);
}

static void command_waits_for_the_link_and_then_gives_up(void **state)
{
    struct world *world = world_new(1);

    world_start(world);
    world_bluez_up(world);
    world_broker_up(world);
    world_clear(world);
    world_message(world, "g/d0/lamp/set", "1", false);
    world_advance(world, 9900);
    assert_null(world_published(world, "g/d0/lamp/result"));
    world_advance(world, 200);
    assert_code(world, "g/d0/lamp/result", "not_connected");
    assert_int_equal(world_count_published(world, "g/d0/lamp/result"), 1);

    world_clear(world);
    world_message(world, "g/d0/lamp/set", "3", false);
    world_hear(world, 0, 100);
    world_link(world, 100, true);
    world_resolved(world, world_expect(world, ACTION_RESOLVE));
    world_answer(world, world_expect(world, ACTION_SUBSCRIBE), BT_STATUS_OK);
    assert_int_equal(world_expect(world, ACTION_WRITE)->write.data[0], 3);
    world_free(world);
}

static void queue_is_bounded_and_says_so(void **state)
{
    struct world *world = world_new(1);

    world_start(world);
    world_bluez_up(world);
    world_broker_up(world);
    world_clear(world);
    for (int i = 0; i < OPS_MAX; i++)
        world_message(world, "g/d0/lamp/set", "1", false);
    assert_null(world_published(world, "g/d0/lamp/result"));
    world_message(world, "g/d0/lamp/set", "1", false);
    assert_code(world, "g/d0/lamp/result", "queue_full");
    world_advance(world, 11000);
    assert_int_equal(world_count_published(world, "g/d0/lamp/result"), OPS_MAX + 1);
    world_free(world);
}

static void write_on_its_way_when_the_link_is_lost_is_answered_once(void **state)
{
    struct world *world = begin_online();

    world_clear(world);
    world_message(world, "g/d0/lamp/set", "1", false);
    const struct action write = *world_expect(world, ACTION_WRITE);
    world_link(world, 100, false);
    assert_code(world, "g/d0/lamp/result", "not_connected");
    world_answer(world, &write, BT_STATUS_NOT_CONNECTED);
    world_advance(world, 60000);
    assert_int_equal(world_count_published(world, "g/d0/lamp/result"), 1);
    world_free(world);
}

static void write_that_is_never_answered_times_out(void **state)
{
    struct world *world = begin_online();

    world_clear(world);
    world_message(world, "g/d0/lamp/set", "1", false);
    const struct action write = *world_expect(world, ACTION_WRITE);
    world_advance(world, OP_MS + 100);
    assert_code(world, "g/d0/lamp/result", "timeout");
    world_answer(world, &write, BT_STATUS_OK);
    assert_int_equal(world_count_published(world, "g/d0/lamp/result"), 1);
    world_free(world);
}

static void periodic_and_first_reads_are_published(void **state)
{
    struct world *world = world_new(1);
    struct characteristic_settings *lamp = &world->settings.devices[0].characteristics[1];

    lamp->read_on_connect = true;
    lamp->read_every_ms = 60000;
    world_start(world);
    world_bluez_up(world);
    world_broker_up(world);
    world_online(world, 0);
    world_answer(world, world_expect(world, ACTION_READ), BT_STATUS_OK);
    assert_non_null(strstr(world_published(world, "g/d0/lamp"), "\"value\":42"));
    world_clear(world);
    world_advance(world, 59000);
    assert_null(world_find(world, ACTION_READ, NULL));
    world_advance(world, 1100);
    assert_non_null(world_find(world, ACTION_READ, NULL));
    world_free(world);
}

static void availability_goes_before_online_and_again_after_every_reconnect(void **state)
{
    struct world *world = begin_online();

    for (int i = 0; i < 2; i++) {
        world_broker_down(world);
        world_clear(world);
        world_broker_up(world);
        size_t availability = 0, status = 0;
        for (size_t j = 0; j < world->n_seen; j++) {
            const struct action *action = &world->seen[j];
            if (action->type != ACTION_PUBLISH)
                continue;
            if (strcmp(action->publish.topic, "g/d0/status/availability") == 0) {
                assert_true(action->publish.retain);
                availability = j + 1;
            }
            if (strcmp(action->publish.topic, "g/bridge/gw/status") == 0 &&
                strcmp(action->publish.payload, "online") == 0)
                status = j + 1;
        }
        assert_true(availability && status && availability < status);
        assert_non_null(world_published(world, "g/d0/status/link"));
        assert_non_null(world_published(world, "g/bridge/gw/info"));
        assert_non_null(world_published(world, "g/bridge/gw/devices"));
        /* and of requests, and whether it remembers: `info` has never come so far */
        assert_int_equal(world_count(world, ACTION_TOPIC_SUBSCRIBE), 7);
        assert_string_equal(world_retained(world, "g/bridge/gw/status"), "online");
    }
    world_free(world);
}

static void nothing_shows_live_that_went_away_while_the_broker_was_away(void **state)
{
    struct world *world = world_new(1);

    world_start(world);
    world_bluez_up(world);
    world->acknowledge = false; /* `online` is on its way when the connection breaks */
    world_broker_up(world);
    world_online(world, 0);
    world_broker_down(world);
    world_link(world, 100, false);
    world_clear(world);
    world->acknowledge = true;
    world_broker_up(world);
    for (size_t i = 0; i < world->n_seen; i++) {
        const struct action *action = &world->seen[i];
        if (action->type != ACTION_PUBLISH)
            continue;
        if (strcmp(action->publish.topic, "g/bridge/gw/status") == 0 &&
            strcmp(action->publish.payload, "online") == 0)
            fail_msg("online before the device is said to be offline");
        if (strcmp(action->publish.topic, "g/d0/status/availability") == 0) {
            assert_string_equal(action->publish.payload, "offline");
            break;
        }
    }
    assert_string_equal(world_published(world, "g/d0/status/availability"), "offline");
    world_free(world);
}

static void values_wait_for_the_broker_with_their_own_time(void **state)
{
    struct world *world = begin_online();
    const struct action subscribe = *world_expect(world, ACTION_SUBSCRIBE);

    world_broker_down(world);
    world_clear(world);
    world->now.real_us = 1764000000123456;
    world_value(world, &subscribe, "\x01", 1);
    world_value(world, &subscribe, "\x02", 1);
    assert_null(world_find(world, ACTION_PUBLISH, NULL));
    world_advance(world, 30000);
    world_broker_up(world);
    assert_int_equal(world_count_published(world, "g/d0/level"), 2);
    assert_string_equal(world_published(world, "g/d0/level"),
                        "{\"value\":2,\"ts\":\"2025-11-24T16:00:00.123Z\"}");
    world_free(world);
}

static void unacknowledged_values_are_sent_again_first(void **state)
{
    struct world *world = begin_online();
    const struct action subscribe = *world_expect(world, ACTION_SUBSCRIBE);

    world->acknowledge = false;
    world_value(world, &subscribe, "\x01", 1);
    world_broker_down(world);
    world_value(world, &subscribe, "\x02", 1);
    world_clear(world);
    world->acknowledge = true;
    world_broker_up(world);
    assert_int_equal(world_count_published(world, "g/d0/level"), 2);
    assert_non_null(strstr(world_published(world, "g/d0/level"), "\"value\":2"));
    world_free(world);
}

static void stop_says_goodbye_and_quits(void **state)
{
    struct world *world = begin_online();

    world_clear(world);
    world_message(world, "g/d0/lamp/set", "1", false);
    world_event(world, &(struct event){.type = EVENT_STOP});
    assert_string_equal(world_published(world, "g/d0/status/availability"), "offline");
    assert_string_equal(world_published(world, "g/bridge/gw/status"), "offline");
    assert_code(world, "g/d0/lamp/result", "cancelled");
    assert_int_equal(world_expect(world, ACTION_DISCONNECT)->device, 100);
    assert_true(world->quit);
    assert_int_equal(world_count(world, ACTION_QUIT), 1);
    world_free(world);
}

static void stop_does_not_wait_for_a_broker_that_is_slow(void **state)
{
    struct world *world = begin_online();

    world->acknowledge = false;
    world_event(world, &(struct event){.type = EVENT_STOP});
    assert_false(world->quit);
    world_advance(world, STOP_MS + 10);
    assert_true(world->quit);
    world_free(world);
}

static const char *last_sentence(struct world *world)
{
    const char *text = NULL;

    for (size_t i = 0; i < world->n_seen; i++)
        if (world->seen[i].type == ACTION_STATUS)
            text = world->seen[i].status.text;
    return text;
}

static void service_manager_is_told_in_a_sentence_what_is_missing(void **state)
{
    struct world *world = world_new(2);

    world_start(world);
    assert_string_equal(last_sentence(world), "0 of 2 devices online; broker not connected; d0: "
                                              "the gateway is starting");
    world_bluez_up(world);
    world_broker_up(world);
    world_online(world, 0);
    assert_string_equal(
        last_sentence(world),
        "1 of 2 devices online; broker connected; d1: C0:00:00:00:00:01 has not been "
        "heard (off, out of reach, or connected elsewhere?)");
    world_online(world, 1);
    assert_string_equal(last_sentence(world), "2 of 2 devices online; broker connected");
    world_clear(world);
    world_advance(world, 300000);
    assert_null(last_sentence(world)); /* no news, no word */
    world_free(world);
}

static void a_device_that_rests_hides_none_that_is_missing(void **state)
{
    struct world *world = world_new(2);

    world->settings.devices[0].connection.mode = CONNECTION_MODE_ON_DEMAND;
    world_start(world);
    world_bluez_up(world);
    world_broker_up(world);
    assert_string_equal(last_sentence(world),
                        "0 of 2 devices online, 1 idle; broker connected; d1: C0:00:00:00:00:01 "
                        "has not been heard (off, out of reach, or connected elsewhere?)");
    world_online(world, 1);
    assert_string_equal(last_sentence(world), "1 of 2 devices online, 1 idle; broker connected");
    world_adapter_gone(world, ADAPTER_1);
    assert_non_null(strstr(last_sentence(world), "0 of 2 devices online; broker connected; d0: "));
    world_free(world);
}

static void lost_bluez_is_logged_once_with_what_to_do(void **state)
{
    struct world *world = world_new(1);
    struct event down = {.type = EVENT_BLUEZ_DOWN, .bluez_down.reason = "no_bus"};
    size_t n = 0;

    world_start(world);
    world_event(world, &down);
    world_event(world, &down);
    for (size_t i = 0; i < world->n_seen; i++)
        n += world->seen[i].type == ACTION_LOG &&
             strstr(world->seen[i].log.text, "no connection to the D-Bus system bus (in a "
                                             "container: mount /run/dbus); waiting for it");
    assert_int_equal(n, 1);
    world_free(world);
}

static void disabled_device_is_left_alone(void **state)
{
    struct world *world = world_new(1);

    world->settings.devices[0].enabled = false;
    world_start(world);
    world_bluez_up(world);
    world_broker_up(world);
    world_hear(world, 0, 100);
    world_advance(world, 60000);
    assert_null(world_find(world, ACTION_CONNECT, NULL));
    assert_null(world_find(world, ACTION_SCAN_START, NULL));
    world_message(world, "g/d0/lamp/set", "1", false);
    assert_code(world, "g/d0/lamp/result", "disabled");
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_published_in_order_with_the_time_they_came),
        cmocka_unit_test(value_of_an_unknown_subscription_is_dropped_and_counted),
        cmocka_unit_test(short_value_is_not_published_and_logged_once_a_minute),
        cmocka_unit_test(set_writes_answers_and_reads_back),
        cmocka_unit_test(get_reads_publishes_and_answers),
        cmocka_unit_test(refusals_say_why),
        cmocka_unit_test(hostile_topics_do_nothing),
        cmocka_unit_test(retained_command_never_acts),
        cmocka_unit_test(operations_run_one_at_a_time_in_order),
        cmocka_unit_test(command_waits_for_the_link_and_then_gives_up),
        cmocka_unit_test(queue_is_bounded_and_says_so),
        cmocka_unit_test(write_on_its_way_when_the_link_is_lost_is_answered_once),
        cmocka_unit_test(write_that_is_never_answered_times_out),
        cmocka_unit_test(periodic_and_first_reads_are_published),
        cmocka_unit_test(availability_goes_before_online_and_again_after_every_reconnect),
        cmocka_unit_test(nothing_shows_live_that_went_away_while_the_broker_was_away),
        cmocka_unit_test(values_wait_for_the_broker_with_their_own_time),
        cmocka_unit_test(unacknowledged_values_are_sent_again_first),
        cmocka_unit_test(stop_says_goodbye_and_quits),
        cmocka_unit_test(stop_does_not_wait_for_a_broker_that_is_slow),
        cmocka_unit_test(service_manager_is_told_in_a_sentence_what_is_missing),
        cmocka_unit_test(a_device_that_rests_hides_none_that_is_missing),
        cmocka_unit_test(lost_bluez_is_logged_once_with_what_to_do),
        cmocka_unit_test(disabled_device_is_left_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
