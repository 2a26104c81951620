/* Adapters that hang: what is done about them, and how often at most. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "helper_world.h"

#define MINUTE 60000

static struct world *begin(size_t n_devices, enum reset_policy reset)
{
    struct world *world = world_new(n_devices);

    world->settings.bluetooth.reset = reset;
    world_start(world);
    world_bluez_up(world);
    world_broker_up(world);
    world_clear(world);
    return world;
}

static size_t count_power(const struct world *world, bool on)
{
    size_t n = 0;

    for (size_t i = 0; i < world->n_seen; i++)
        n += world->seen[i].type == ACTION_POWER && world->seen[i].power.on == on;
    return n;
}

static bool was_published(const struct world *world, const char *event)
{
    char text[64];

    snprintf(text, sizeof(text), "\"event\":\"%s\",\"adapter\":\"hci0\"", event);
    for (size_t i = 0; i < world->n_seen; i++)
        if (world->seen[i].type == ACTION_PUBLISH &&
            strcmp(world->seen[i].publish.topic, "g/bridge/gw/event") == 0 &&
            strstr(world->seen[i].publish.payload, text))
            return true;
    return false;
}

static void answer_power(struct world *world, enum bt_status status)
{
    const struct action *asked = NULL;

    for (const struct action *a = NULL; (a = world_find(world, ACTION_POWER, a));)
        asked = a;
    assert_non_null(asked);
    struct event event = {.type = EVENT_POWER_RESULT,
                          .op = asked->op,
                          .adapter = asked->adapter,
                          .asked.on = asked->power.on,
                          .result.status = status};
    bool on = asked->power.on;
    world_event(world, &event);
    if (status == BT_STATUS_OK)
        world_adapter(world, ADAPTER_1, on);
}

/* the answers to one switching off and on, which has begun */
static void let_it_recover(struct world *world)
{
    assert_int_equal(count_power(world, false), 1);
    answer_power(world, BT_STATUS_OK);
    world_advance(world, RECOVER_PAUSE_MS);
    assert_int_equal(count_power(world, true), 1);
    answer_power(world, BT_STATUS_OK);
}

static void hear_a_stranger(struct world *world)
{
    struct event event = {
        .type = EVENT_DEVICE,
        .device_info = {
            .adapter = ADAPTER_1, .device = 999, .address = {{0xee}}, .heard = true, .rssi = -50}};

    world_event(world, &event);
}

static void links_of_others(struct world *world, size_t n)
{
    struct event event = {.type = EVENT_LINK,
                          .adapter = ADAPTER_1,
                          .device = 999,
                          .link = {.connected = n > 0, .links = n}};

    world_event(world, &event);
}

static const char *why(const struct world *world, size_t peer)
{
    return world->gateway->peers[peer]->why;
}

/* ---- silence ---- */

static void silent_scan_is_restarted_and_then_the_adapter(void **state)
{
    struct world *world = begin(1, RESET_POLICY_ALWAYS);

    world_advance(world, SILENT_RESTART_MS - 1000);
    assert_null(world_find(world, ACTION_SCAN_STOP, NULL));
    world_advance(world, 2000);
    world_expect(world, ACTION_SCAN_STOP);
    world_expect(world, ACTION_SCAN_START);
    assert_true(was_published(world, "scan_restarted"));
    assert_non_null(strstr(why(world, 0), "nor is anybody else: a hung adapter?"));
    world_advance(world, SILENT_RECOVER_MS - SILENT_RESTART_MS);
    assert_true(was_published(world, "adapter_reset"));
    assert_int_equal(world->gateway->peers[0]->reason, REASON_ADAPTER_RESET);
    let_it_recover(world);
    assert_true(was_published(world, "adapter_on"));
    world_clear(world);
    world_advance(world, 1000);
    assert_int_equal(world->gateway->adapters[0].scan, SCAN_STATE_ON);
    world_advance(world, MINUTE);
    const char *health = world_published(world, "g/bridge/gw/health");
    assert_non_null(strstr(health, "\"scan_restarts\":1,\"adapter_resets\":1,"));
    world_free(world);
}

static void advertisement_of_a_stranger_is_heard_too(void **state)
{
    struct world *world = begin(1, RESET_POLICY_ALWAYS);

    for (int i = 0; i < 30; i++) {
        world_advance(world, SILENT_RESTART_MS - 1000);
        hear_a_stranger(world);
    }
    assert_null(world_find(world, ACTION_SCAN_STOP, NULL));
    assert_null(world_find(world, ACTION_POWER, NULL));
    world_free(world);
}

static void lonely_place_is_recovered_ever_more_rarely(void **state)
{
    struct world *world = begin(1, RESET_POLICY_ALWAYS);
    uint64_t last_us = 0, gap_us = 0;
    size_t resets = 0;

    for (int s = 0; s < 24 * 3600; s++) {
        world_clear(world);
        world_advance(world, 1000);
        if (!count_power(world, false))
            continue;
        uint64_t now_us = world->now.mono_us;
        if (last_us) {
            assert_true(now_us - last_us >= MS_TO_US(RECOVER_AGAIN_MS));
            assert_true(now_us - last_us + MS_TO_US(5000) >= gap_us);
            gap_us = now_us - last_us;
        }
        last_us = now_us;
        resets++;
        let_it_recover(world);
    }
    assert_in_range(resets, 8, 14); /* after 0, 10, 30, 70, 150, 310, 470, ... minutes */
    world_free(world);
}

static void adapter_that_was_replugged_is_not_reset_the_sooner(void **state)
{
    struct world *world = begin(1, RESET_POLICY_ALWAYS);
    struct event back = {.type = EVENT_ADAPTER,
                         .adapter_info = {.adapter = 7,
                                          .name = "hci3",
                                          .address = {{0, 0x1a, 0x7d, 0, 0, ADAPTER_1}},
                                          .powered = true}};

    world_advance(world, SILENT_RECOVER_MS + 2000);
    let_it_recover(world);
    world_adapter_gone(world, ADAPTER_1);
    world_clear(world);
    world_event(world, &back);
    world_advance(world, RECOVER_AGAIN_MS - 10000);
    assert_int_equal(count_power(world, false), 0);
    world_advance(world, 2 * SILENT_RECOVER_MS);
    assert_int_equal(count_power(world, false), 1);
    world_free(world);
}

static void adapter_is_never_switched_off_where_the_file_says_never(void **state)
{
    struct world *world = begin(1, RESET_POLICY_NEVER);

    world_advance(world, SILENT_RECOVER_MS + 2000);
    assert_true(was_published(world, "adapter_reset_refused"));
    world_clear(world);
    for (int i = 0; i < 60; i++) {
        world_advance(world, 10 * MINUTE);
        assert_null(world_find(world, ACTION_POWER, NULL));
        assert_true(world_count(world, ACTION_SCAN_STOP) <= 1);
        world_clear(world);
    }
    world_free(world);
}

static void adapter_that_others_use_is_left_alone(void **state)
{
    struct world *world = begin(1, RESET_POLICY_WHEN_ALONE);

    links_of_others(world, 1);
    world_advance(world, SILENT_RECOVER_MS + 2000);
    assert_int_equal(count_power(world, false), 0);
    assert_true(was_published(world, "adapter_reset_refused"));
    links_of_others(world, 0);
    world_advance(world, RECOVER_AGAIN_MS + SILENT_RECOVER_MS + 2000);
    assert_int_equal(count_power(world, false), 1);
    world_free(world);
}

static void silence_ends_no_link_that_works(void **state)
{
    struct world *world = begin(2, RESET_POLICY_ALWAYS);

    world_online(world, 0);
    world_clear(world);
    world_advance(world, 60 * MINUTE);
    assert_true(was_published(world, "scan_restarted"));
    assert_int_equal(count_power(world, false), 0);
    assert_int_equal(world->gateway->peers[0]->state, PEER_STATE_ONLINE);
    world_free(world);
}

static void time_of_a_connect_is_no_silence(void **state)
{
    struct world *world = begin(1, RESET_POLICY_ALWAYS);

    world_hear(world, 0, 10); /* Connects, and later blind ones, each for 20 s and 10 s more */
    world_advance(world, SILENT_RESTART_MS + 20000);
    assert_false(was_published(world, "scan_restarted"));
    world_advance(world, 2 * SILENT_RESTART_MS);
    assert_true(was_published(world, "scan_restarted"));
    world_free(world);
}

static void somebody_heard_again_ends_it(void **state)
{
    struct world *world = begin(1, RESET_POLICY_ALWAYS);

    world_advance(world, SILENT_RESTART_MS + 2000);
    hear_a_stranger(world);
    assert_null(strstr(why(world, 0), "hung adapter"));
    world_advance(world, SILENT_RECOVER_MS - SILENT_RESTART_MS);
    assert_null(world_find(world, ACTION_POWER, NULL));
    world_free(world);
}

/* ---- timeouts ---- */

static void let_time_out(struct world *world, size_t peer)
{
    hear_a_stranger(world);
    world_hear(world, peer, 10 + (uint32_t)peer);
    assert_int_equal(world->gateway->peers[peer]->state, PEER_STATE_CONNECTING);
    world_advance(world, CONNECT_MS);
    world_answer(world, world_expect(world, ACTION_DISCONNECT), BT_STATUS_OK);
    world->gateway->peers[peer]->retry_us = world->now.mono_us + MS_TO_US(10 * MINUTE);
    world->gateway->peers[peer]->retry_slow = true;
    world_clear(world);
}

static void three_different_peers_that_time_out_are_the_adapters_fault(void **state)
{
    struct world *world = begin(6, RESET_POLICY_ALWAYS);

    let_time_out(world, 0);
    let_time_out(world, 1);
    assert_int_equal(world->gateway->counts.scan_restarts, 0);
    world_hear(world, 2, 12);
    world_advance(world, CONNECT_MS);
    assert_int_equal(count_power(world, false), 0);
    world_answer(world, world_expect(world, ACTION_DISCONNECT), BT_STATUS_OK);
    world->gateway->peers[2]->retry_us = world->now.mono_us + MS_TO_US(10 * MINUTE);
    world->gateway->peers[2]->retry_slow = true;
    world_clear(world);
    let_time_out(world, 3);
    let_time_out(world, 4);
    world_hear(world, 5, 15);
    world_advance(world, CONNECT_MS);
    let_it_recover(world);
    world_free(world);
}

static void one_peer_that_times_out_is_not(void **state)
{
    struct world *world = begin(1, RESET_POLICY_ALWAYS);

    world->settings.devices[0].reconnect_max_ms = 250;
    for (int i = 0; i < 8; i++) {
        world_clear(world);
        world_hear(world, 0, 10);
        world_advance(world, 300);
        assert_int_equal(world->gateway->peers[0]->state, PEER_STATE_CONNECTING);
        world_advance(world, CONNECT_MS);
        world_answer(world, world_expect(world, ACTION_DISCONNECT), BT_STATUS_OK);
    }
    assert_int_equal(world->gateway->counts.scan_restarts, 0);
    assert_int_equal(world->gateway->counts.adapter_resets, 0);
    world_free(world);
}

static void link_in_between_shows_that_it_works(void **state)
{
    struct world *world = begin(6, RESET_POLICY_ALWAYS);

    let_time_out(world, 0);
    let_time_out(world, 1);
    world_online(world, 2);
    let_time_out(world, 3);
    let_time_out(world, 4);
    assert_int_equal(world->gateway->counts.scan_restarts, 0);
    world_free(world);
}

/* ---- a scan that cannot be started ---- */

static void answer_scan(struct world *world, enum action_type type, enum bt_status status)
{
    const struct action *asked = NULL;

    for (const struct action *a = NULL; (a = world_find(world, type, a));)
        asked = a;
    assert_non_null(asked);
    struct event event = {.type = EVENT_SCAN_RESULT,
                          .op = asked->op,
                          .adapter = asked->adapter,
                          .asked.on = type == ACTION_SCAN_START,
                          .result.status = status};
    world_clear(world);
    world_event(world, &event);
}

static void scan_that_cannot_be_started_is_tried_four_times_and_then_each_minute(void **state)
{
    struct world *world = world_new(1);

    world->settings.bluetooth.reset = RESET_POLICY_ALWAYS;
    world->mute_scan = true;
    world_start(world);
    world_bluez_up(world);
    answer_scan(world, ACTION_SCAN_START, BT_STATUS_IN_PROGRESS);
    world_expect(world, ACTION_SCAN_STOP); /* a session that BlueZ forgot to end? */
    world_advance(world, SCAN_RETRY_MS);
    answer_scan(world, ACTION_SCAN_START, BT_STATUS_IN_PROGRESS);
    let_it_recover(world);
    assert_int_equal(world->gateway->peers[0]->reason, REASON_SCAN_FAILED);
    answer_scan(world, ACTION_SCAN_START, BT_STATUS_IN_PROGRESS);
    world_advance(world, SCAN_RETRY_MS);
    answer_scan(world, ACTION_SCAN_START, BT_STATUS_IN_PROGRESS);
    world_advance(world, SCAN_SLOW_RETRY_MS - 1000);
    assert_null(world_find(world, ACTION_SCAN_START, NULL));
    world_advance(world, 1000);
    answer_scan(world, ACTION_SCAN_START, BT_STATUS_OK);
    assert_int_equal(world->gateway->peers[0]->reason, REASON_NOT_HEARD);
    world_free(world);
}

/* ---- power ---- */

static void adapter_that_cannot_be_switched_off_is_told(void **state)
{
    struct world *world = begin(1, RESET_POLICY_ALWAYS);

    world_advance(world, SILENT_RECOVER_MS + 2000);
    answer_power(world, BT_STATUS_FAILED);
    assert_true(was_published(world, "adapter_reset_failed"));
    assert_int_equal(world->gateway->peers[0]->reason, REASON_NOT_HEARD);
    world_free(world);
}

static void adapter_that_does_not_come_on_again_is_tried_again(void **state)
{
    struct world *world = begin(1, RESET_POLICY_ALWAYS);

    world_advance(world, SILENT_RECOVER_MS + 2000);
    answer_power(world, BT_STATUS_OK);
    world_advance(world, RECOVER_PAUSE_MS);
    answer_power(world, BT_STATUS_FAILED);
    assert_true(was_published(world, "adapter_reset_failed"));
    assert_string_equal(why(world, 0), "adapter hci0 is switched off");
    world_clear(world);
    world_advance(world, POWER_RETRY_MS);
    assert_int_equal(count_power(world, true), 1);
    answer_power(world, BT_STATUS_OK);
    assert_int_equal(world->gateway->peers[0]->reason, REASON_NOT_HEARD);
    world_free(world);
}

static void gateway_that_stops_leaves_no_adapter_off(void **state)
{
    struct world *world = begin(1, RESET_POLICY_ALWAYS);
    struct event stop = {.type = EVENT_STOP};

    world_advance(world, SILENT_RECOVER_MS + 2000);
    answer_power(world, BT_STATUS_OK);
    world_clear(world);
    world_event(world, &stop);
    assert_int_equal(count_power(world, true), 1);
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(silent_scan_is_restarted_and_then_the_adapter),
        cmocka_unit_test(advertisement_of_a_stranger_is_heard_too),
        cmocka_unit_test(lonely_place_is_recovered_ever_more_rarely),
        cmocka_unit_test(adapter_that_was_replugged_is_not_reset_the_sooner),
        cmocka_unit_test(adapter_is_never_switched_off_where_the_file_says_never),
        cmocka_unit_test(adapter_that_others_use_is_left_alone),
        cmocka_unit_test(silence_ends_no_link_that_works),
        cmocka_unit_test(time_of_a_connect_is_no_silence),
        cmocka_unit_test(somebody_heard_again_ends_it),
        cmocka_unit_test(three_different_peers_that_time_out_are_the_adapters_fault),
        cmocka_unit_test(one_peer_that_times_out_is_not),
        cmocka_unit_test(link_in_between_shows_that_it_works),
        cmocka_unit_test(scan_that_cannot_be_started_is_tried_four_times_and_then_each_minute),
        cmocka_unit_test(adapter_that_cannot_be_switched_off_is_told),
        cmocka_unit_test(adapter_that_does_not_come_on_again_is_tried_again),
        cmocka_unit_test(gateway_that_stops_leaves_no_adapter_off),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
