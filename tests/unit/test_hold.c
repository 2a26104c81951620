/* connect, disconnect, pause, resume: what people ask of a link, and what becomes of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "helper_world.h"

#define D0       100u
#define REQUEST  "g/bridge/gw/request/"
#define RESPONSE "g/bridge/gw/response/"

static struct world *begin(enum connection_mode mode)
{
    struct world *world = world_new(1);

    world->settings.devices[0].connection = (struct connection_settings){
        .mode = mode, .linger_ms = 2000, .timeout_ms = 60000, .every_ms = 3600000};
    world_start(world);
    world_broker_up(world);
    world_bluez_up(world);
    return world;
}

static struct peer *peer_of(struct world *world)
{
    return world->gateway->peers[0];
}

static void ask(struct world *world, const char *operation, const char *more)
{
    char topic[64], payload[128];

    snprintf(topic, sizeof(topic), REQUEST "%s", operation);
    snprintf(payload, sizeof(payload), "{\"device\":\"d0\"%s}", more);
    world_message(world, topic, payload, false);
}

static size_t count(const struct world *world, const char *operation)
{
    char topic[64];

    snprintf(topic, sizeof(topic), RESPONSE "%s", operation);
    return world_count_published(world, topic);
}

/* it was answered once, and this stands in it */
static void expect(const struct world *world, const char *operation, const char *part)
{
    char topic[64];

    snprintf(topic, sizeof(topic), RESPONSE "%s", operation);
    assert_int_equal(world_count_published(world, topic), 1);
    if (!strstr(world_published(world, topic), part))
        fail_msg("'%s' is not in %s", part, world_published(world, topic));
}

static void come_online(struct world *world)
{
    world_hear(world, 0, D0);
    world_link(world, D0, true);
    world_resolved(world, world_expect(world, ACTION_RESOLVE));
    world_answer(world, world_expect(world, ACTION_SUBSCRIBE), BT_STATUS_OK);
    assert_int_equal(peer_of(world)->state, PEER_STATE_ONLINE);
}

static void go_down(struct world *world)
{
    world_answer(world, world_expect(world, ACTION_DISCONNECT), BT_STATUS_OK);
    world_link(world, D0, false);
}

static const char *link_of(const struct world *world)
{
    const char *link = world_published(world, "g/d0/status/link");

    assert_non_null(link);
    return link;
}

/* ---- connect ---- */

static void connect_holds_the_link_until_disconnect(void **state)
{
    struct world *world = begin(CONNECTION_MODE_ON_DEMAND);

    world_hear(world, 0, D0);
    assert_null(world_find(world, ACTION_CONNECT, NULL));
    ask(world, "connect", "");
    assert_non_null(world_find(world, ACTION_CONNECT, NULL));
    assert_int_equal(count(world, "connect"), 0);
    come_online(world);
    expect(world, "connect", "\"data\":{\"state\":\"online\",\"mtu\":247,\"held_until\":null}");
    world_clear(world);
    world_advance(world, 3600000);
    assert_null(world_find(world, ACTION_DISCONNECT, NULL));
    /* a command in between ends nothing */
    world_message(world, "g/d0/lamp/set", "7", false);
    world_answer(world, world_expect(world, ACTION_WRITE), BT_STATUS_OK);
    world_answer(world, world_expect(world, ACTION_READ), BT_STATUS_OK);
    world_advance(world, 60000);
    assert_null(world_find(world, ACTION_DISCONNECT, NULL));
    ask(world, "disconnect", "");
    assert_int_equal(count(world, "disconnect"), 0); /* the link is up still */
    go_down(world);
    expect(world, "disconnect", "\"status\":\"ok\",\"data\":{\"state\":\"idle\"}");
    assert_int_equal(peer_of(world)->state, PEER_STATE_IDLE);
    world_clear(world);
    world_hear(world, 0, D0);
    world_advance(world, 3600000);
    assert_null(world_find(world, ACTION_CONNECT, NULL));
    world_free(world);
}

static void hold_ends_after_its_time_and_the_linger(void **state)
{
    struct world *world = begin(CONNECTION_MODE_ON_DEMAND);

    ask(world, "connect", ",\"hold\":\"5m\"");
    come_online(world);
    expect(world, "connect", "\"held_until\":\"2023-11-14T22:18:20.000Z\"");
    world_clear(world);
    world_advance(world, 300000 + 1900);
    assert_null(world_find(world, ACTION_DISCONNECT, NULL));
    world_advance(world, 200);
    go_down(world);
    assert_int_equal(peer_of(world)->state, PEER_STATE_IDLE);
    world_free(world);
}

static void a_held_link_that_is_lost_is_made_again(void **state)
{
    struct world *world = begin(CONNECTION_MODE_ON_DEMAND);

    ask(world, "connect", "");
    come_online(world);
    world_advance(world, 60000);
    world_clear(world);
    world_link(world, D0, false);
    world_hear(world, 0, D0);
    assert_non_null(world_find(world, ACTION_CONNECT, NULL));
    come_online(world);
    world_free(world);
}

static void a_hold_outlives_the_contacts_that_come_in_between(void **state)
{
    struct world *world = begin(CONNECTION_MODE_EVERY);

    world_advance(world, 10);
    come_online(world);
    ask(world, "connect", ",\"hold\":\"3h\"");
    expect(world, "connect", "\"state\":\"online\"");
    world_clear(world);
    world_advance(world, 3 * 3600000 - 1000);
    assert_null(world_find(world, ACTION_DISCONNECT, NULL));
    world_advance(world, 4000);
    assert_non_null(world_find(world, ACTION_DISCONNECT, NULL));
    world_free(world);
}

static void connect_that_finds_nobody_is_answered_and_forgotten(void **state)
{
    struct world *world = begin(CONNECTION_MODE_ON_DEMAND);

    ask(world, "connect", ",\"queue_timeout\":\"3s\"");
    world_advance(world, 2900);
    assert_int_equal(count(world, "connect"), 0);
    world_advance(world, 200);
    expect(world, "connect", "\"code\":\"not_connected\"");
    assert_int_equal(peer_of(world)->state, PEER_STATE_IDLE);
    world_clear(world);
    world_hear(world, 0, D0);
    assert_null(world_find(world, ACTION_CONNECT, NULL));
    ask(world, "connect", ",\"queue_timeout\":0");
    expect(world, "connect", "\"code\":\"not_connected\"");
    assert_null(world_find(world, ACTION_CONNECT, NULL));
    world_free(world);
}

static void connect_that_fails_is_connect_failed(void **state)
{
    struct world *world = begin(CONNECTION_MODE_ON_DEMAND);

    world_hear(world, 0, D0);
    ask(world, "connect", ",\"queue_timeout\":\"20s\",\"timeout\":\"20s\"");
    world_answer(world, world_expect(world, ACTION_CONNECT), BT_STATUS_FAILED);
    world_advance(world, 0);
    assert_int_equal(count(world, "connect"), 0); /* it is tried again */
    world_hear(world, 0, D0);
    world_advance(world, 5000);
    world_answer(world, world_find(world, ACTION_CONNECT, world_expect(world, ACTION_CONNECT)),
                 BT_STATUS_AUTH_FAILED); /* the next try would be too late */
    world_advance(world, 0);
    expect(world, "connect", "\"code\":\"connect_failed\"");
    world_advance(world, 0);
    assert_int_equal(peer_of(world)->state, PEER_STATE_IDLE);
    world_free(world);
}

static void connect_is_bounded_once_it_has_begun(void **state)
{
    struct world *world = begin(CONNECTION_MODE_ON_DEMAND);

    world_hear(world, 0, D0);
    ask(world, "connect", ",\"timeout\":\"4s\"");
    world_link(world, D0, true);
    world_advance(world, 3900);
    assert_int_equal(count(world, "connect"), 0);
    world_advance(world, 200);
    expect(world, "connect", "\"code\":\"timeout\"");
    go_down(world);
    assert_int_equal(peer_of(world)->state, PEER_STATE_IDLE);
    world_free(world);
}

static void without_an_adapter_connect_says_so(void **state)
{
    struct world *world = begin(CONNECTION_MODE_ON_DEMAND);
    struct event off = {.type = EVENT_ADAPTER,
                        .adapter_info = {.adapter = ADAPTER_1, .name = "hci0", .powered = false}};

    world_event(world, &off);
    ask(world, "connect", "");
    world_advance(world, 10100);
    expect(world, "connect", "\"code\":\"adapter_off\"");
    world_free(world);
}

static void connect_ends_a_backoff(void **state)
{
    struct world *world = begin(CONNECTION_MODE_PERSISTENT);

    world_hear(world, 0, D0);
    world_answer(world, world_expect(world, ACTION_CONNECT), BT_STATUS_AUTH_FAILED);
    assert_int_equal(peer_of(world)->state, PEER_STATE_BACKOFF);
    world_clear(world);
    ask(world, "connect", "");
    assert_non_null(world_find(world, ACTION_CONNECT, NULL));
    come_online(world);
    expect(world, "connect", "\"data\":{\"state\":\"online\",\"mtu\":247}");
    world_free(world);
}

static void so_many_may_wait_for_a_link(void **state)
{
    struct world *world = begin(CONNECTION_MODE_ON_DEMAND);

    for (int i = 0; i < 8; i++)
        ask(world, "connect", "");
    assert_int_equal(count(world, "connect"), 0);
    ask(world, "connect", "");
    expect(world, "connect", "\"code\":\"queue_full\"");
    world_clear(world);
    come_online(world);
    assert_int_equal(count(world, "connect"), 8);
    world_free(world);
}

/* ---- disconnect ---- */

static void a_persistent_device_is_let_go_for_half_a_minute(void **state)
{
    struct world *world = begin(CONNECTION_MODE_PERSISTENT);

    world_online(world, 0);
    world_clear(world);
    ask(world, "disconnect", "");
    go_down(world);
    expect(world, "disconnect",
           "\"data\":{\"state\":\"idle\",\"away_until\":\"2023-11-14T22:13:50.000Z\"}");
    assert_non_null(strstr(link_of(world), "\"reason\":\"let_go\""));
    assert_non_null(strstr(link_of(world), "let go by a request, until 22:13 UTC"));
    assert_string_equal(world_published(world, "g/d0/status/availability"), "offline");
    world_clear(world);
    for (int i = 0; i < 29; i++) {
        world_advance(world, 1000);
        world_hear(world, 0, D0);
    }
    assert_null(world_find(world, ACTION_CONNECT, NULL));
    world_advance(world, 1100);
    assert_non_null(world_find(world, ACTION_CONNECT, NULL));
    world_free(world);
}

static void a_command_or_connect_brings_it_back_earlier(void **state)
{
    for (int i = 0; i < 2; i++) {
        struct world *world = begin(CONNECTION_MODE_PERSISTENT);
        world_online(world, 0);
        world_clear(world);
        ask(world, "disconnect", "");
        go_down(world);
        world_clear(world);
        world_hear(world, 0, D0);
        assert_null(world_find(world, ACTION_CONNECT, NULL));
        if (i)
            ask(world, "connect", "");
        else
            world_message(world, "g/d0/lamp/set", "7", false);
        assert_non_null(world_find(world, ACTION_CONNECT, NULL));
        world_free(world);
    }
}

static void disconnect_cancels_what_waits(void **state)
{
    struct world *world = begin(CONNECTION_MODE_ON_DEMAND);

    ask(world, "connect", "");
    ask(world, "read", ",\"characteristic\":\"lamp\"");
    ask(world, "disconnect", "");
    expect(world, "connect", "\"code\":\"cancelled\"");
    expect(world, "read", "\"code\":\"cancelled\"");
    expect(world, "disconnect", "\"status\":\"ok\"");
    assert_int_equal(peer_of(world)->state, PEER_STATE_IDLE);
    world_free(world);
}

static void disconnect_cancels_a_connect_that_is_on_its_way(void **state)
{
    struct world *world = begin(CONNECTION_MODE_PERSISTENT);

    world_hear(world, 0, D0);
    world_expect(world, ACTION_CONNECT);
    ask(world, "disconnect", "");
    assert_int_equal(count(world, "disconnect"), 0);
    world_answer(world, world_expect(world, ACTION_DISCONNECT), BT_STATUS_OK);
    expect(world, "disconnect", "\"status\":\"ok\"");
    assert_int_equal(peer_of(world)->state, PEER_STATE_IDLE);
    world_free(world);
}

static void a_link_that_does_not_go_down_is_a_timeout(void **state)
{
    struct world *world = begin(CONNECTION_MODE_PERSISTENT);

    world_online(world, 0);
    ask(world, "disconnect", ",\"timeout\":\"5s\"");
    world_advance(world, 5100);
    expect(world, "disconnect", "\"code\":\"timeout\"");
    world_free(world);
}

/* ---- pause ---- */

static void a_paused_device_lets_go_says_why_and_runs_no_commands(void **state)
{
    struct world *world = begin(CONNECTION_MODE_PERSISTENT);

    world_online(world, 0);
    ask(world, "read", ",\"characteristic\":\"lamp\"");
    world_clear(world);
    ask(world, "pause", "");
    expect(world, "read", "\"code\":\"disabled\"");
    world_clear(world);
    /* before the link is down, too */
    ask(world, "read", ",\"characteristic\":\"lamp\"");
    expect(world, "read", "\"code\":\"disabled\"");
    world_clear(world);
    world_link(world, D0, false);
    expect(world, "pause", "\"data\":{\"state\":\"disabled\",\"paused_until\":null}");
    assert_false(peer_of(world)->available);
    assert_non_null(strstr(link_of(world), "\"state\":\"disabled\",\"reason\":\"paused\",\"why\":"
                                           "\"paused by a request, until `resume`\""));
    world_clear(world);
    for (int i = 0; i < 100; i++) {
        world_hear(world, 0, D0);
        world_advance(world, 60000);
    }
    assert_null(world_find(world, ACTION_CONNECT, NULL));
    assert_int_equal(world_count(world, ACTION_SCAN_START), 0); /* nobody is missing */
    ask(world, "connect", "");
    expect(world, "connect", "\"code\":\"disabled\"");
    world_message(world, "g/d0/lamp/set", "1", false);
    assert_non_null(strstr(world_published(world, "g/d0/lamp/result"), "\"disabled\""));
    world_clear(world);
    ask(world, "resume", "");
    expect(world, "resume", "\"status\":\"ok\"");
    world_hear(world, 0, D0);
    assert_non_null(world_find(world, ACTION_CONNECT, NULL));
    world_free(world);
}

static void a_pause_ends_by_itself_after_its_time(void **state)
{
    struct world *world = begin(CONNECTION_MODE_PERSISTENT);

    world_online(world, 0);
    world_clear(world);
    ask(world, "pause", ",\"for\":\"10m\"");
    go_down(world);
    expect(world, "pause", "\"paused_until\":\"2023-11-14T22:23:20.000Z\"");
    assert_non_null(strstr(link_of(world), "paused by a request, until 22:23 UTC"));
    world_clear(world);
    world_advance(world, 300000);
    ask(world, "pause", ",\"for\":\"10m\""); /* from now on */
    expect(world, "pause", "\"paused_until\":\"2023-11-14T22:28:20.000Z\"");
    world_advance(world, 599000);
    world_hear(world, 0, D0);
    assert_null(world_find(world, ACTION_CONNECT, NULL));
    world_advance(world, 1100);
    world_hear(world, 0, D0);
    assert_non_null(world_find(world, ACTION_CONNECT, NULL));
    world_free(world);
}

static void pause_and_resume_before_the_link_is_down_connect_again(void **state)
{
    struct world *world = begin(CONNECTION_MODE_PERSISTENT);

    world_online(world, 0);
    world_clear(world);
    ask(world, "pause", "");
    ask(world, "resume", "");
    go_down(world);
    world_hear(world, 0, D0);
    assert_non_null(world_find(world, ACTION_CONNECT, NULL));
    world_free(world);
}

static void a_sleeping_device_that_is_paused_is_offline(void **state)
{
    struct world *world = begin(CONNECTION_MODE_ON_DEMAND);

    world_hear(world, 0, D0);
    assert_string_equal(world_published(world, "g/d0/status/availability"), "online");
    world_clear(world);
    ask(world, "pause", "");
    assert_string_equal(world_published(world, "g/d0/status/availability"), "offline");
    world_clear(world);
    ask(world, "resume", "");
    assert_string_equal(world_published(world, "g/d0/status/availability"), "online");
    world_free(world);
}

/* in every state: the peer ends up without a link, and after `resume` it is connected */
static void a_pause_comes_at_any_time(void **state)
{
    for (int stage = 0; stage < 7; stage++) {
        struct world *world = begin(CONNECTION_MODE_PERSISTENT);
        if (stage >= 1)
            world_hear(world, 0, D0);
        if (stage == 2)
            world_answer(world, world_expect(world, ACTION_CONNECT), BT_STATUS_FAILED);
        if (stage >= 3)
            world_link(world, D0, true);
        if (stage >= 4)
            world_resolved(world, world_expect(world, ACTION_RESOLVE));
        if (stage == 5)
            world_answer(world, world_expect(world, ACTION_SUBSCRIBE), BT_STATUS_FAILED);
        if (stage == 6)
            world_answer(world, world_expect(world, ACTION_SUBSCRIBE), BT_STATUS_OK);
        bool linked = peer_of(world)->link_up;
        ask(world, "pause", "");
        if (world_find(world, ACTION_DISCONNECT, NULL))
            world_answer(world, world_expect(world, ACTION_DISCONNECT), BT_STATUS_OK);
        if (linked)
            world_link(world, D0, false);
        expect(world, "pause", "\"status\":\"ok\"");
        assert_int_equal(peer_of(world)->state, PEER_STATE_DISABLED);
        world_clear(world);
        world_advance(world, 600000);
        assert_int_equal(peer_of(world)->state, PEER_STATE_DISABLED);
        ask(world, "resume", "");
        world_clear(world);
        come_online(world);
        world_free(world);
    }
}

static void a_device_that_the_file_switches_off_stays_off(void **state)
{
    static const char *const operations[] = {"connect", "disconnect", "pause", "resume"};
    struct world *world = world_new(1);

    world->settings.devices[0].enabled = false;
    world_start(world);
    world_broker_up(world);
    for (size_t i = 0; i < ARRAY_SIZE(operations); i++) {
        ask(world, operations[i], "");
        expect(world, operations[i], "\"code\":\"disabled\"");
    }
    assert_int_equal(peer_of(world)->state, PEER_STATE_DISABLED);
    world_free(world);
}

static void a_stop_answers_who_waits_for_a_link(void **state)
{
    struct world *world = begin(CONNECTION_MODE_ON_DEMAND);
    struct event stop = {.type = EVENT_STOP};

    ask(world, "connect", "");
    world_event(world, &stop);
    expect(world, "connect", "\"code\":\"cancelled\"");
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(connect_holds_the_link_until_disconnect),
        cmocka_unit_test(hold_ends_after_its_time_and_the_linger),
        cmocka_unit_test(a_held_link_that_is_lost_is_made_again),
        cmocka_unit_test(a_hold_outlives_the_contacts_that_come_in_between),
        cmocka_unit_test(connect_that_finds_nobody_is_answered_and_forgotten),
        cmocka_unit_test(connect_that_fails_is_connect_failed),
        cmocka_unit_test(connect_is_bounded_once_it_has_begun),
        cmocka_unit_test(without_an_adapter_connect_says_so),
        cmocka_unit_test(connect_ends_a_backoff),
        cmocka_unit_test(so_many_may_wait_for_a_link),
        cmocka_unit_test(a_persistent_device_is_let_go_for_half_a_minute),
        cmocka_unit_test(a_command_or_connect_brings_it_back_earlier),
        cmocka_unit_test(disconnect_cancels_what_waits),
        cmocka_unit_test(disconnect_cancels_a_connect_that_is_on_its_way),
        cmocka_unit_test(a_link_that_does_not_go_down_is_a_timeout),
        cmocka_unit_test(a_paused_device_lets_go_says_why_and_runs_no_commands),
        cmocka_unit_test(a_pause_ends_by_itself_after_its_time),
        cmocka_unit_test(pause_and_resume_before_the_link_is_down_connect_again),
        cmocka_unit_test(a_sleeping_device_that_is_paused_is_offline),
        cmocka_unit_test(a_pause_comes_at_any_time),
        cmocka_unit_test(a_device_that_the_file_switches_off_stays_off),
        cmocka_unit_test(a_stop_answers_who_waits_for_a_link),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
