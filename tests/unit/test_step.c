/* Sequences of steps: what they do, in which order, and that each command is answered once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "config/load.h"
#include "helper_world.h"
#include "util/cleanup.h"

#define D0 100u

/* ---- a world whose device has the keys ---- */

static struct device_settings load_device(const char *keys)
{
    const struct config_options options = {.host_name = "test"};
    struct settings *settings = NULL;
    char path[32], text[4096];
    struct diags diags;
    int fd = memfd_create("config", 0);
    int n = snprintf(text, sizeof(text),
                     "mqtt: { url: mqtt://broker }\n"
                     "devices:\n"
                     "  d0:\n"
                     "    match: { address: \"C0:00:00:00:00:00\" }\n"
                     "%s\n"
                     "    characteristics:\n"
                     "      level: { uuid: 0x2A19, subscribe: true,\n"
                     "               fields: { value: { type: uint8 } } }\n"
                     "      lamp: { uuid: 0xFFE1, fields: { value: { type: uint8, max: 100 } } }\n"
                     "      dimmer: { uuid: 0xFFE1, writable: true,\n"
                     "                fields: { value: { type: uint8 } } }\n",
                     keys);

    assert_true(n > 0 && (size_t)n < sizeof(text));
    assert_int_equal(write(fd, text, (size_t)n), n);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    assert_int_equal(diags_init(&diags, "test"), 0);
    if (config_load(path, &options, &diags, &settings) != 0) {
        diags_print(&diags, stderr);
        fail();
    }
    close(fd);
    diags_done(&diags);
    struct device_settings device = settings->devices[0];
    settings->n_devices = 0;
    free(settings->devices);
    settings->devices = NULL;
    settings_free(settings);
    return device;
}

static struct world *begin(const char *keys)
{
    struct world *world = world_new(1);

    device_settings_done(&world->settings.devices[0]);
    world->settings.devices[0] = load_device(keys);
    world_start(world);
    world_broker_up(world);
    world_bluez_up(world);
    return world;
}

static struct peer *peer_of(struct world *world)
{
    return world->gateway->peers[0];
}

/* heard, connected, resolved: what comes then is up to on_connect */
static void come_up(struct world *world)
{
    world_clear(world);
    world_hear(world, 0, D0);
    world_link(world, D0, true);
    world_resolved(world, world_expect(world, ACTION_RESOLVE));
}

static struct action subscribed(struct world *world)
{
    struct action subscribe = *world_expect(world, ACTION_SUBSCRIBE);

    world_answer(world, &subscribe, BT_STATUS_OK);
    return subscribe;
}

/* online; returns the subscription of `level` */
static struct action online(struct world *world)
{
    come_up(world);
    struct action subscribe = subscribed(world);
    assert_int_equal(peer_of(world)->state, PEER_STATE_ONLINE);
    return subscribe;
}

static struct world *begin_online(const char *keys, struct action *ret_subscribe)
{
    struct world *world = begin(keys);

    *ret_subscribe = online(world);
    world_clear(world);
    return world;
}

/* the one write since the last look, of one byte */
static struct action written(struct world *world, uint8_t byte)
{
    struct action write = *world_expect(world, ACTION_WRITE);

    assert_int_equal(world_count(world, ACTION_WRITE), 1);
    assert_int_equal(write.write.length, 1);
    assert_int_equal(write.write.data[0], byte);
    assert_int_equal(write.write.handle, LAMP_HANDLE);
    world_clear(world);
    return write;
}

static void write_is_answered(struct world *world, uint8_t byte)
{
    struct action write = written(world, byte);

    world_answer(world, &write, BT_STATUS_OK);
}

static void value(struct world *world, const struct action *subscribe, uint8_t byte)
{
    world_value(world, subscribe, &byte, 1);
}

#define RESULT "g/d0/command/go/result"

static void assert_result(struct world *world, const char *what)
{
    const char *result = world_published(world, RESULT);

    assert_int_equal(world_count_published(world, RESULT), 1);
    if (!strstr(result, what))
        fail_msg("%s is not in %s", what, result);
}

static void assert_no_result(struct world *world)
{
    assert_int_equal(world_count_published(world, RESULT), 0);
}

static void lose_link(struct world *world)
{
    world_link(world, D0, false);
}

/* ---- steps ---- */

static void steps_come_in_order_each_when_the_one_before_is_done(void **state)
{
    struct action subscribe;
    struct world *world = begin_online("    commands:\n"
                                       "      go:\n"
                                       "        steps:\n"
                                       "          - write: { characteristic: lamp, value: 1 }\n"
                                       "          - delay: 500ms\n"
                                       "          - read: lamp\n"
                                       "          - write: { characteristic: lamp, value: 2 }",
                                       &subscribe);

    world_message(world, "g/d0/command/go", "", false);
    write_is_answered(world, 1);
    world_advance(world, 499);
    assert_null(world_find(world, ACTION_READ, NULL));
    world_advance(world, 1);
    assert_null(world_find(world, ACTION_WRITE, NULL));
    const struct action read = *world_expect(world, ACTION_READ);
    world_answer(world, &read, BT_STATUS_OK);
    assert_non_null(strstr(world_published(world, "g/d0/lamp"), "\"value\":42"));
    assert_no_result(world);
    write_is_answered(world, 2);
    assert_result(world, "\"op\":\"command\",\"status\":\"ok\"");
    assert_null(world_find(world, ACTION_READ, NULL)); /* a step's write is not read back */
    world_free(world);
}

static void wait_takes_only_the_value_that_where_says(void **state)
{
    struct action subscribe;
    struct world *world = begin_online(
        "    commands:\n"
        "      go:\n"
        "        parameters: { goal: {} }\n"
        "        steps:\n"
        "          - wait: { characteristic: level, where: { value: 7 } }\n"
        "          - wait: { characteristic: level, where: { value: { min: 9, max: 10 } } }\n"
        "          - wait: { characteristic: level, where: { value: { parameter: goal, within: 1 } "
        "} "
        "}\n"
        "          - wait: { characteristic: level }",
        &subscribe);

    world_message(world, "g/d0/command/go", "{\"goal\":50}", false);
    const uint8_t values[] = {6, 8, 7, 7, 8, 11, 10, 48, 52, 51};
    for (size_t i = 0; i < ARRAY_SIZE(values); i++)
        value(world, &subscribe, values[i]);
    assert_no_result(world); /* a value is for one wait only: the last one has had none */
    value(world, &subscribe, 0);
    assert_result(world, "\"status\":\"ok\"");
    world_free(world);
}

static void wait_takes_a_value_that_overtakes_the_answer_to_the_write(void **state)
{
    struct action subscribe;
    struct world *world =
        begin_online("    commands:\n"
                     "      go:\n"
                     "        steps:\n"
                     "          - wait: { characteristic: level, where: { value: 1 } }\n"
                     "          - write: { characteristic: lamp, value: 3 }\n"
                     "          - delay: 100ms\n"
                     "          - wait: { characteristic: level, where: { value: 2 } }",
                     &subscribe);

    world_message(world, "g/d0/command/go", "", false);
    value(world, &subscribe, 2); /* before the write: not its answer */
    value(world, &subscribe, 1);
    struct action write = written(world, 3);
    world_answer(world, &write, BT_STATUS_OK);
    world_advance(world, 100);
    assert_no_result(world);
    world_advance(world, 6000);
    assert_result(world, "no such value within 5s");
    world_clear(world);

    world_message(world, "g/d0/command/go", "", false);
    value(world, &subscribe, 1);
    write = written(world, 3);
    value(world, &subscribe, 2);
    assert_no_result(world);
    world_answer(world, &write, BT_STATUS_OK);
    assert_no_result(world); /* the delay is kept */
    world_advance(world, 100);
    assert_result(world, "\"status\":\"ok\"");
    world_free(world);
}

static void what_a_command_reads_and_waits_for_is_in_its_answer(void **state)
{
    struct action subscribe;
    struct world *world = begin_online(
        "    commands:\n"
        "      go:\n"
        "        steps:\n"
        "          - wait: { characteristic: level, where: { value: 1 } }\n"
        "          - read: lamp\n"
        "          - repeat: { max: 3, until: { characteristic: level, where: { value: "
        "3 } },\n"
        "                      steps: [ { delay: 1s } ] }",
        &subscribe);

    world_message(world, "g/d0/command/go", "", false);
    value(world, &subscribe, 1);
    const struct action read = *world_expect(world, ACTION_READ);
    world_answer(world, &read, BT_STATUS_OK);
    value(world, &subscribe, 2); /* nobody waits for this one */
    value(world, &subscribe, 3);
    world_advance(world, 1000);
    assert_result(world, "\"data\":{\"level\":{\"value\":3,");
    assert_result(world, "\"lamp\":{\"value\":42,");
    world_free(world);
}

static void write_to_what_people_may_write_is_read_back_once_in_the_end(void **state)
{
    struct action subscribe;
    struct world *world = begin_online("    commands:\n"
                                       "      go:\n"
                                       "        steps:\n"
                                       "          - write: { characteristic: dimmer, value: 1 }\n"
                                       "          - write: { characteristic: dimmer, value: 2 }",
                                       &subscribe);

    world_message(world, "g/d0/command/go", "", false);
    write_is_answered(world, 1);
    assert_null(world_find(world, ACTION_READ, NULL));
    write_is_answered(world, 2);
    assert_result(world, "\"status\":\"ok\"");
    const struct action read = *world_expect(world, ACTION_READ);
    assert_int_equal(world_count(world, ACTION_READ), 1);
    world_answer(world, &read, BT_STATUS_OK);
    assert_int_equal(world_count_published(world, "g/d0/dimmer"), 1);
    assert_non_null(strstr(world_published(world, "g/d0/dimmer"), "\"value\":42"));
    world_clear(world);

    world_message(world, "g/d0/command/go", "", false);
    write_is_answered(world, 1);
    struct action write = written(world, 2);
    world_answer(world, &write, BT_STATUS_ATT_ERROR); /* the first may have been done */
    assert_result(world, "\"status\":\"error\"");
    assert_int_equal(world_count(world, ACTION_READ), 1);
    world_free(world);
}

static void write_that_is_on_its_way_when_its_command_is_cancelled_is_read_back_too(void **state)
{
    struct action subscribe;
    struct world *world =
        begin_online("    commands:\n"
                     "      go: { steps: [ { write: { characteristic: dimmer, value: 1 } } ] }\n"
                     "      stop: { cancels: [go], steps: [ { delay: 1s } ] }",
                     &subscribe);

    world_message(world, "g/d0/command/go", "", false);
    struct action write = written(world, 1);
    world_message(world, "g/d0/command/stop", "", false);
    assert_result(world, "\"code\":\"cancelled\"");
    world_answer(world, &write, BT_STATUS_OK);
    const struct action read = *world_expect(world, ACTION_READ);
    world_answer(world, &read, BT_STATUS_OK);
    assert_int_equal(world_count_published(world, "g/d0/dimmer"), 1);
    world_advance(world, 1000);
    assert_int_equal(world_count(world, ACTION_READ), 1);
    assert_non_null(
        strstr(world_published(world, "g/d0/command/stop/result"), "\"status\":\"ok\""));
    world_free(world);
}

static void failure_names_the_step(void **state)
{
    struct action subscribe;
    struct world *world = begin_online(
        "    commands:\n"
        "      go:\n"
        "        steps:\n"
        "          - delay: 10ms\n"
        "          - repeat:\n"
        "              max: 3\n"
        "              steps:\n"
        "                - write: { characteristic: lamp, value: 1 }\n"
        "                - wait: { characteristic: level, where: { value: 7 }, timeout: 2s }",
        &subscribe);

    world_message(world, "g/d0/command/go", "", false);
    world_advance(world, 10);
    write_is_answered(world, 1);
    world_advance(world, 1999);
    assert_no_result(world);
    world_advance(world, 1);
    assert_result(world,
                  "\"code\":\"timeout\",\"message\":\"step 2.2 (wait for level): no such value "
                  "within 2s\"");
    world_clear(world);
    world_message(world, "g/d0/command/go", "", false);
    world_advance(world, 10);
    struct action write = written(world, 1);
    world_answer(world, &write, BT_STATUS_ATT_ERROR);
    assert_result(world, "\"code\":\"att_error\",\"message\":\"step 2.1 (write lamp): Write Not "
                         "Permitted\",\"att\":3");
    world_free(world);
}

/* the desk: its target is written again until it has arrived */
#define DESK                                                                                       \
    "    commands:\n"                                                                              \
    "      go:\n"                                                                                  \
    "        parameters: { height: { min: 10, max: 90 } }\n"                                       \
    "        cancels: [other]\n"                                                                   \
    "        timeout: 10s\n"                                                                       \
    "        steps:\n"                                                                             \
    "          - repeat:\n"                                                                        \
    "              every: 200ms\n"                                                                 \
    "              max: 20\n"                                                                      \
    "              until: { characteristic: level, where: { value: { parameter: height, within: "  \
    "2 } } }\n"                                                                                    \
    "              steps: [ { write: { characteristic: lamp, value: { parameter: height } } } ]\n" \
    "          - write: { characteristic: lamp, value: 0 }\n"                                      \
    "      other: { steps: [ { delay: 1s } ] }\n"                                                  \
    "      stop: { cancels: [go], steps: [ { write: { characteristic: lamp, value: 1 } } ] }"

static void repeat_ends_as_soon_as_until_is_met(void **state)
{
    struct action subscribe;
    struct world *world = begin_online(DESK, &subscribe);

    world_message(world, "g/d0/command/go", "{\"height\":50}", false);
    for (uint8_t i = 0; i < 5; i++) {
        write_is_answered(world, 50);
        value(world, &subscribe, 10 + i);
        world_advance(world, 199);
        assert_null(world_find(world, ACTION_WRITE, NULL));
        world_advance(world, 1);
    }
    struct action write = written(world, 50);
    value(world, &subscribe, 48); /* while a write is on its way: that ends first */
    assert_null(world_find(world, ACTION_WRITE, NULL));
    world_answer(world, &write, BT_STATUS_OK);
    write_is_answered(world, 0);
    assert_result(world, "\"status\":\"ok\"");
    world_clear(world);

    world_message(world, "g/d0/command/go", "30", false); /* bare: there is only one parameter */
    write_is_answered(world, 30);
    value(world, &subscribe, 31); /* between two rounds: at once */
    write_is_answered(world, 0);
    assert_result(world, "\"status\":\"ok\"");
    world_free(world);
}

static void repeat_that_does_not_reach_until_fails_after_max_rounds(void **state)
{
    struct action subscribe;
    struct world *world = begin_online(DESK, &subscribe);

    world_message(world, "g/d0/command/go", "50", false);
    for (uint8_t i = 0; i < 20; i++) {
        write_is_answered(world, 50);
        value(world, &subscribe, 10);
        world_advance(world, 200);
    }
    assert_null(world_find(world, ACTION_WRITE, NULL));
    world_advance(world, 10000);
    assert_null(world_find(world, ACTION_WRITE, NULL));
    assert_int_equal(peer_of(world)->n_ops, 0);
    assert_false(step_is_busy(peer_of(world)));
    world_free(world);
}

static void repeat_without_until_ends_after_max_rounds(void **state)
{
    struct action subscribe;
    struct world *world =
        begin_online("    commands:\n"
                     "      go:\n"
                     "        steps:\n"
                     "          - repeat:\n"
                     "              every: 100ms\n"
                     "              max: 3\n"
                     "              steps:\n"
                     "                - repeat:\n"
                     "                    every: 20ms\n"
                     "                    max: 2\n"
                     "                    steps: [ { write: { characteristic: lamp, value: 1 } } ]",
                     &subscribe);

    world_message(world, "g/d0/command/go", "{}", false);
    for (int i = 0; i < 3; i++) {
        write_is_answered(world, 1);
        world_advance(world, 20);
        struct action write = written(world, 1);
        world_answer(world, &write, BT_STATUS_OK);
        if (i < 2)
            assert_no_result(world);
        else
            assert_result(world, "\"status\":\"ok\"");
        world_advance(world, 80);
    }
    assert_null(world_find(world, ACTION_WRITE, NULL));
    world_free(world);
}

static void deadline_ends_the_whole(void **state)
{
    struct action subscribe;
    struct world *world =
        begin_online("    commands:\n"
                     "      go:\n"
                     "        timeout: 3s\n"
                     "        steps:\n"
                     "          - repeat: { max: 1000, steps: [ { delay: 10ms } ] }",
                     &subscribe);

    world_message(world, "g/d0/command/go", "", false);
    world_advance(world, 2999);
    assert_no_result(world);
    world_advance(world, 1);
    assert_result(world,
                  "\"code\":\"timeout\",\"message\":\"step 1 (repeat): the whole took longer "
                  "than its timeout of 3s\"");
    assert_false(step_is_busy(peer_of(world)));
    world_free(world);
}

/* ---- links ---- */

static void lost_link_ends_a_command_with_one_answer(void **state)
{
    struct action subscribe;
    struct world *world = begin_online(DESK, &subscribe);

    world_message(world, "g/d0/command/go", "50", false);
    struct action write = written(world, 50);
    lose_link(world);
    assert_result(world, "\"code\":\"not_connected\"");
    world_answer(world, &write, BT_STATUS_OK); /* too late */
    online(world);
    world_advance(world, 60000);
    assert_no_result(world); /* since online() cleared: nothing is replayed, nor answered twice */
    assert_null(world_find(world, ACTION_WRITE, NULL));
    world_free(world);
}

static void stopping_answers_commands_that_run_and_that_wait(void **state)
{
    struct action subscribe;
    struct world *world = begin_online(DESK, &subscribe);
    struct event stop = {.type = EVENT_STOP};

    world_message(world, "g/d0/command/go", "50", false);
    world_message(world, "g/d0/command/other", "", false);
    world_event(world, &stop);
    assert_result(world, "\"code\":\"cancelled\"");
    assert_int_equal(world_count_published(world, "g/d0/command/other/result"), 1);
    world_clear(world);
    world_message(world, "g/d0/command/go", "50", false);
    assert_result(world, "\"code\":\"cancelled\"");
    world_free(world);
}

#define ON_CONNECT                                           \
    "    on_connect:\n"                                      \
    "      - write: { characteristic: lamp, value: 9 }\n"    \
    "      - wait: { characteristic: level, timeout: 2s }\n" \
    "    commands: { go: { steps: [ { write: { characteristic: lamp, value: 1 } } ] } }"

static void on_connect_comes_after_subscribing_and_before_online(void **state)
{
    struct world *world = begin(ON_CONNECT);

    come_up(world);
    world_message(world, "g/d0/lamp/get", "", false); /* what people want waits until then */
    world_message(world, "g/d0/command/go", "", false);
    assert_null(world_find(world, ACTION_WRITE, NULL));
    struct action subscribe = subscribed(world);
    assert_int_equal(peer_of(world)->state, PEER_STATE_CONFIGURING);
    assert_non_null(strstr(world_published(world, "g/d0/status/link"), "running on_connect"));
    assert_null(world_find(world, ACTION_READ, NULL));
    write_is_answered(world, 9);
    assert_null(world_published(world, "g/d0/status/availability"));
    assert_null(world_find(world, ACTION_READ, NULL));
    value(world, &subscribe, 5);
    assert_int_equal(peer_of(world)->state, PEER_STATE_ONLINE);
    assert_string_equal(world_published(world, "g/d0/status/availability"), "online");
    struct action read = *world_expect(world, ACTION_READ);
    assert_null(world_find(world, ACTION_WRITE, NULL)); /* one operation at a time */
    world_answer(world, &read, BT_STATUS_OK);
    write_is_answered(world, 1);
    assert_result(world, "\"status\":\"ok\"");
    world_free(world);
}

static void second_answer_to_a_subscription_changes_nothing(void **state)
{
    struct world *world = begin(ON_CONNECT);

    come_up(world);
    struct action subscribe = subscribed(world);
    world_answer(world, &subscribe, BT_STATUS_FAILED); /* it was answered */
    assert_int_equal(peer_of(world)->state, PEER_STATE_CONFIGURING);
    assert_null(world_find(world, ACTION_DISCONNECT, NULL));
    write_is_answered(world, 9);
    value(world, &subscribe, 5);
    assert_int_equal(peer_of(world)->state, PEER_STATE_ONLINE);
    world_free(world);
}

static void failed_on_connect_is_a_failed_attempt_that_names_the_step(void **state)
{
    struct world *world = begin(ON_CONNECT);

    come_up(world);
    subscribed(world);
    write_is_answered(world, 9);
    world_advance(world, 2000);
    struct action disconnect = *world_expect(world, ACTION_DISCONNECT);
    world_answer(world, &disconnect, BT_STATUS_OK);
    lose_link(world);
    assert_int_equal(peer_of(world)->failures, 1);
    assert_int_equal(peer_of(world)->state, PEER_STATE_BACKOFF);
    const char *link = world_published(world, "g/d0/status/link");
    assert_non_null(strstr(link, "\"reason\":\"on_connect_failed\""));
    assert_non_null(strstr(link, "on_connect, step 2 (wait for level): no such value within 2s"));
    assert_null(world_published(world, "g/d0/status/availability"));
    world_advance(world, 5000); /* and again from the first step */
    come_up(world);
    struct action subscribe = subscribed(world);
    write_is_answered(world, 9);
    value(world, &subscribe, 5);
    assert_int_equal(peer_of(world)->state, PEER_STATE_ONLINE);
    world_free(world);
}

static void subscribe_step_moves_a_subscription_behind_a_write(void **state)
{
    struct world *world = begin("    on_connect:\n"
                                "      - write: { characteristic: lamp, value: 9 }\n"
                                "      - subscribe: level\n"
                                "      - wait: { characteristic: level }");

    come_up(world);
    assert_null(world_find(world, ACTION_SUBSCRIBE, NULL));
    write_is_answered(world, 9);
    struct action subscribe = *world_expect(world, ACTION_SUBSCRIBE);
    value(world, &subscribe, 1); /* may overtake the answer here, too */
    world_answer(world, &subscribe, BT_STATUS_OK);
    assert_int_equal(peer_of(world)->state, PEER_STATE_ONLINE);
    assert_int_equal(world_count(world, ACTION_SUBSCRIBE), 1);
    world_free(world);
}

static void on_connect_ends_with_the_attempt_that_it_is_part_of(void **state)
{
    struct world *world = begin("    connection: { on_demand: true, timeout: 5s }\n" ON_CONNECT);

    world_message(world, "g/d0/command/go", "", false);
    world_advance(world, 4000);
    come_up(world);
    struct action subscribe = subscribed(world);
    write_is_answered(world, 9); /* now it waits for a value, */
    world_advance(world, 1100);  /* ... and the contact's time is over */
    assert_int_equal(peer_of(world)->state, PEER_STATE_DISCONNECTING);
    value(world, &subscribe, 5); /* late */
    assert_int_equal(peer_of(world)->state, PEER_STATE_DISCONNECTING);
    world_free(world);
}

static void services_that_change_begin_on_connect_anew(void **state)
{
    struct event changed = {.type = EVENT_SERVICES_CHANGED, .adapter = ADAPTER_1, .device = D0};
    struct world *world = begin(ON_CONNECT);

    come_up(world);
    subscribed(world);
    struct action late = written(world, 9);
    world_event(world, &changed);
    world_resolved(world, world_expect(world, ACTION_RESOLVE));
    struct action subscribe = subscribed(world);
    assert_null(world_find(world, ACTION_WRITE, NULL)); /* the first one is on its way still */
    world_answer(world, &late, BT_STATUS_OK);
    write_is_answered(world, 9);
    value(world, &subscribe, 5);
    assert_int_equal(peer_of(world)->state, PEER_STATE_ONLINE);
    world_free(world);
}

static void command_goes_on_when_a_subscription_was_made_anew(void **state)
{
    struct action subscribe;
    struct world *world = begin_online(DESK, &subscribe);
    struct event lost = {.type = EVENT_SUBSCRIPTION_LOST,
                         .value = {.subscription = subscribe.subscribe.subscription,
                                   .peer = 0,
                                   .source = subscribe.subscribe.source}};

    world_message(world, "g/d0/command/go", "50", false);
    write_is_answered(world, 50);
    world_event(world, &lost);
    world_advance(world, 1000);
    assert_null(world_find(world, ACTION_WRITE, NULL));
    subscribe = subscribed(world);
    value(world, &subscribe, 10);
    write_is_answered(world, 50);
    value(world, &subscribe, 50);
    write_is_answered(world, 50); /* the next round was late already */
    write_is_answered(world, 0);
    assert_result(world, "\"status\":\"ok\"");
    world_free(world);
}

/* ---- polls ---- */

#define POLL_STEPS \
    "[ { write: { characteristic: lamp, value: 3 } }, { wait: { characteristic: level } } ]"

static void bare_poll_runs_once_per_connection(void **state)
{
    struct world *world = begin("    poll: " POLL_STEPS);

    for (int i = 0; i < 2; i++) {
        struct action subscribe = online(world);
        write_is_answered(world, 3);
        value(world, &subscribe, 1);
        world_advance(world, 3600000);
        assert_null(world_find(world, ACTION_WRITE, NULL));
        lose_link(world);
    }
    world_free(world);
}

static void poll_runs_every_so_often_and_its_failure_leaves_the_link(void **state)
{
    struct world *world = begin("    poll: { every: 1m, steps: " POLL_STEPS " }");
    struct action subscribe = online(world);

    write_is_answered(world, 3);
    value(world, &subscribe, 1);
    world_advance(world, 59999);
    assert_null(world_find(world, ACTION_WRITE, NULL));
    world_advance(world, 1);
    write_is_answered(world, 3);
    world_advance(world, 5000);
    assert_non_null(strstr(world_expect(world, ACTION_LOG)->log.text,
                           "poll failed: step 2 (wait for level): no such value within 5s"));
    assert_int_equal(peer_of(world)->state, PEER_STATE_ONLINE);
    world_advance(world, 55000);
    write_is_answered(world, 3);
    world_free(world);
}

static void due_poll_makes_a_contact_on_demand_and_holds_it(void **state)
{
    struct world *world = begin("    connection: { on_demand: true, linger: 1s, timeout: 60s }\n"
                                "    poll: { every: 10m, steps: " POLL_STEPS " }");

    for (int i = 0; i < 2; i++) {
        world_advance(world, i ? 600000 - 4900 : 10);
        assert_true(peer_of(world)->contact);
        struct action subscribe = online(world);
        write_is_answered(world, 3);
        world_advance(world, 3900); /* longer than linger: it waits still */
        assert_null(world_find(world, ACTION_DISCONNECT, NULL));
        value(world, &subscribe, 1);
        world_advance(world, 1000);
        struct action disconnect = *world_expect(world, ACTION_DISCONNECT);
        world_answer(world, &disconnect, BT_STATUS_OK);
        lose_link(world);
        assert_int_equal(peer_of(world)->state, PEER_STATE_IDLE);
    }
    world_free(world);
}

static void keep_alive_runs_while_connected(void **state)
{
    struct world *world = begin("    keep_alive: { every: 20s, steps: [ { read: lamp } ] }");

    online(world);
    world_clear(world);
    world_advance(world, 19999);
    assert_null(world_find(world, ACTION_READ, NULL));
    for (int i = 0; i < 3; i++) {
        world_advance(world, i ? 20000 : 1);
        assert_int_equal(world_count(world, ACTION_READ), 1);
        struct action read = *world_expect(world, ACTION_READ);
        world_clear(world);
        world_answer(world, &read, BT_STATUS_OK);
    }
    lose_link(world);
    world_advance(world, 600000);
    assert_null(world_find(world, ACTION_READ, NULL));
    world_free(world);
}

/* ---- commands ---- */

static void command_waits_for_the_link_but_not_for_ever(void **state)
{
    struct world *world = begin("    connection: { on_demand: true, linger: 1s }\n" DESK);

    world_clear(world);
    world_message(world, "g/d0/command/go", "50", false);
    assert_true(peer_of(world)->contact);
    world_advance(world, 9999);
    assert_no_result(world);
    world_advance(world, 1);
    assert_result(world, "\"code\":\"not_connected\"");
    world_clear(world);
    world_message(world, "g/d0/command/go", "60", false);
    struct action subscribe = online(world);
    write_is_answered(world, 60);
    value(world, &subscribe, 60);
    write_is_answered(world, 0);
    assert_result(world, "\"status\":\"ok\"");
    world_free(world);
}

static void hostile_parameters_are_refused_before_anything_is_done(void **state)
{
    static const struct {
        const char *payload, *code;
    } cases[] = {
        {"", "the parameter 'height' is missing"},
        {"{}", "the parameter 'height' is missing"},
        {" { } ", "the parameter 'height' is missing"},
        {"{\"height\":9}",
         "\"invalid_value\",\"message\":\"the parameter 'height' must be at least 10"},
        {"{\"height\":90.5}", "must be at most 90"},
        {"{\"height\":1e300}", "must be at most 90"},
        {"{\"height\":\"high\"}", "must be a number"},
        {"{\"height\":null}", "must be a number"},
        {"{\"height\":[50]}", "invalid_value"},
        {"{\"heigth\":50}", "unknown field 'heigth'"},
        {"{\"height\":50,\"x\":1}", "unknown field 'x'"},
        {"{\"height\":50,\"height\":51}", "bad_json"},
        {"{\"height\":50", "bad_json"},
        {"{\"raw\":\"32\"}", "'raw' is no parameter"},
        {"50 60", "must be a number"},
    };
    struct action subscribe;
    struct world *world = begin_online(DESK, &subscribe);

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        world_clear(world);
        world_message(world, "g/d0/command/go", cases[i].payload, false);
        assert_null(world_find(world, ACTION_WRITE, NULL));
        assert_result(world, cases[i].code);
        assert_false(step_is_busy(peer_of(world)));
    }
    world_clear(world);
    world_message(world, "g/d0/command/stop", "{\"x\":1}", false);
    assert_non_null(strstr(world_published(world, "g/d0/command/stop/result"), "\"bad_request\""));
    assert_null(world_find(world, ACTION_WRITE, NULL));
    world_free(world);
}

static void parameter_that_does_not_fit_a_later_step_is_refused_at_once(void **state)
{
    struct action subscribe;
    struct world *world =
        begin_online("    commands:\n"
                     "      go:\n"
                     "        parameters: { x: { default: 7 } }\n"
                     "        steps:\n"
                     "          - write: { characteristic: lamp, value: 1 }\n"
                     "          - repeat:\n"
                     "              max: 1\n"
                     "              steps:\n"
                     "                - write: { characteristic: lamp, value: { parameter: x } }",
                     &subscribe);

    world_message(world, "g/d0/command/go", "101", false);
    assert_result(world, "\"invalid_value\"");
    assert_null(world_find(world, ACTION_WRITE, NULL));
    world_clear(world);
    world_message(world, "g/d0/command/go", "", false);
    write_is_answered(world, 1);
    write_is_answered(world, 7);
    world_free(world);
}

static void unknown_and_retained_commands_do_nothing(void **state)
{
    struct action subscribe;
    struct world *world = begin_online(DESK, &subscribe);

    world_message(world, "g/d0/command/jump", "", false);
    assert_non_null(
        strstr(world_published(world, "g/d0/command/jump/result"), "\"code\":\"unknown_op\""));
    world_message(world, "g/d0/command/go", "50", true);
    assert_no_result(world);
    assert_null(world_find(world, ACTION_WRITE, NULL));
    world_free(world);
}

static void newer_command_ends_the_older_of_its_name_and_what_it_cancels(void **state)
{
    struct action subscribe;
    struct world *world = begin_online(DESK, &subscribe);

    world_message(world, "g/d0/command/go", "50", false);
    struct action write = written(world, 50);
    world_message(world, "g/d0/command/go", "60", false);
    assert_result(world, "\"code\":\"cancelled\"");
    assert_null(world_find(world, ACTION_WRITE, NULL)); /* one operation at a time */
    world_answer(world, &write, BT_STATUS_OK);
    write = written(world, 60);
    world_message(world, "g/d0/command/stop", "", false);
    assert_result(world, "\"code\":\"cancelled\"");
    world_clear(world);
    world_answer(world, &write, BT_STATUS_OK);
    write_is_answered(world, 1);
    assert_non_null(
        strstr(world_published(world, "g/d0/command/stop/result"), "\"status\":\"ok\""));
    world_advance(world, 5000);
    assert_null(world_find(world, ACTION_WRITE, NULL));
    world_free(world);
}

static void commands_take_turns_up_to_a_limit(void **state)
{
    char keys[2048];
    size_t n = 0;

    n += (size_t)snprintf(keys + n, sizeof(keys) - n, "    commands:\n");
    for (int i = 0; i < 10; i++)
        n += (size_t)snprintf(
            keys + n, sizeof(keys) - n,
            "      c%d: { steps: [ { write: { characteristic: lamp, value: %d } } ] }\n", i, i);
    struct action subscribe;
    struct world *world = begin_online(keys, &subscribe);
    char topic[64];

    for (int i = 0; i < 10; i++) {
        snprintf(topic, sizeof(topic), "g/d0/command/c%d", i);
        world_message(world, topic, "", false);
    }
    /* one runs, eight wait */
    assert_non_null(strstr(world_published(world, "g/d0/command/c9/result"), "\"queue_full\""));
    for (uint8_t i = 0; i < 9; i++)
        write_is_answered(world, i);
    assert_null(world_find(world, ACTION_WRITE, NULL));
    assert_non_null(strstr(world_published(world, "g/d0/command/c8/result"), "\"status\":\"ok\""));
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_come_in_order_each_when_the_one_before_is_done),
        cmocka_unit_test(wait_takes_only_the_value_that_where_says),
        cmocka_unit_test(wait_takes_a_value_that_overtakes_the_answer_to_the_write),
        cmocka_unit_test(what_a_command_reads_and_waits_for_is_in_its_answer),
        cmocka_unit_test(write_to_what_people_may_write_is_read_back_once_in_the_end),
        cmocka_unit_test(write_that_is_on_its_way_when_its_command_is_cancelled_is_read_back_too),
        cmocka_unit_test(failure_names_the_step),
        cmocka_unit_test(repeat_ends_as_soon_as_until_is_met),
        cmocka_unit_test(repeat_that_does_not_reach_until_fails_after_max_rounds),
        cmocka_unit_test(repeat_without_until_ends_after_max_rounds),
        cmocka_unit_test(deadline_ends_the_whole),
        cmocka_unit_test(lost_link_ends_a_command_with_one_answer),
        cmocka_unit_test(stopping_answers_commands_that_run_and_that_wait),
        cmocka_unit_test(on_connect_comes_after_subscribing_and_before_online),
        cmocka_unit_test(second_answer_to_a_subscription_changes_nothing),
        cmocka_unit_test(failed_on_connect_is_a_failed_attempt_that_names_the_step),
        cmocka_unit_test(subscribe_step_moves_a_subscription_behind_a_write),
        cmocka_unit_test(on_connect_ends_with_the_attempt_that_it_is_part_of),
        cmocka_unit_test(services_that_change_begin_on_connect_anew),
        cmocka_unit_test(command_goes_on_when_a_subscription_was_made_anew),
        cmocka_unit_test(bare_poll_runs_once_per_connection),
        cmocka_unit_test(poll_runs_every_so_often_and_its_failure_leaves_the_link),
        cmocka_unit_test(due_poll_makes_a_contact_on_demand_and_holds_it),
        cmocka_unit_test(keep_alive_runs_while_connected),
        cmocka_unit_test(command_waits_for_the_link_but_not_for_ever),
        cmocka_unit_test(hostile_parameters_are_refused_before_anything_is_done),
        cmocka_unit_test(parameter_that_does_not_fit_a_later_step_is_refused_at_once),
        cmocka_unit_test(unknown_and_retained_commands_do_nothing),
        cmocka_unit_test(newer_command_ends_the_older_of_its_name_and_what_it_cancels),
        cmocka_unit_test(commands_take_turns_up_to_a_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
