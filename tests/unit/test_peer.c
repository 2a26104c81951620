/* The peer's machine and the connector: what a peripheral's owner relies on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "helper_world.h"

#define D0 100u
#define D1 101u

static struct world *begin(size_t n)
{
    struct world *world = world_new(n);

    world_start(world);
    world_bluez_up(world);
    world_broker_up(world);
    world_clear(world);
    return world;
}

static struct peer *peer_of(struct world *world, size_t i)
{
    return world->gateway->peers[i];
}

static void heard_peer_is_connected_resolved_subscribed_and_online(void **state)
{
    struct world *world = begin(1);

    world_hear(world, 0, D0);
    const struct action *connect = world_expect(world, ACTION_CONNECT);
    assert_int_equal(connect->device, D0);
    assert_int_equal(connect->adapter, ADAPTER_1);
    world_link(world, D0, true);
    world_answer(world, connect, BT_STATUS_OK);
    world_resolved(world, world_expect(world, ACTION_RESOLVE));
    const struct action *subscribe = world_expect(world, ACTION_SUBSCRIBE);
    assert_int_equal(subscribe->subscribe.handle, LEVEL_HANDLE);
    assert_null(world_published(world, "g/d0/status/availability"));
    world_answer(world, subscribe, BT_STATUS_OK);
    assert_string_equal(world_published(world, "g/d0/status/availability"), "online");
    assert_non_null(strstr(world_published(world, "g/d0/status/link"), "\"state\":\"online\""));
    assert_int_equal(world_count(world, ACTION_CONNECT), 1);
    world_free(world);
}

static void reply_and_link_may_come_in_any_order(void **state)
{
    struct world *world = begin(1);

    world_hear(world, 0, D0);
    world_answer(world, world_expect(world, ACTION_CONNECT), BT_STATUS_OK);
    assert_null(world_find(world, ACTION_RESOLVE, NULL));
    world_link(world, D0, true);
    assert_non_null(world_find(world, ACTION_RESOLVE, NULL));
    world_free(world);
}

static void yes_without_a_link_is_given_up_after_5_s(void **state)
{
    struct world *world = begin(1);

    world_hear(world, 0, D0);
    world_answer(world, world_expect(world, ACTION_CONNECT), BT_STATUS_OK);
    world_advance(world, 4900);
    assert_null(world_find(world, ACTION_DISCONNECT, NULL));
    world_advance(world, 200);
    world_answer(world, world_expect(world, ACTION_DISCONNECT), BT_STATUS_OK);
    assert_int_equal(peer_of(world, 0)->state, PEER_STATE_BACKOFF);
    world_free(world);
}

static void connect_that_hangs_is_cancelled_by_disconnect(void **state)
{
    struct world *world = begin(1);

    world_hear(world, 0, D0);
    world_advance(world, CONNECT_MS + 10);
    assert_int_equal(world_expect(world, ACTION_DISCONNECT)->device, D0);
    assert_int_equal(peer_of(world, 0)->reason, REASON_CONNECT_TIMEOUT);
    world_free(world);
}

static void reconnect_waits_longer_after_each_failure(void **state)
{
    struct world *world = begin(1);
    uint64_t last = 0;
    struct peer *peer = peer_of(world, 0);

    for (unsigned i = 1; i <= 12; i++) {
        world_clear(world);
        world_hear(world, 0, D0);
        peer->shortcut_us = world->now.mono_us; /* no shortcut by the advertisement */
        while (!world_find(world, ACTION_CONNECT, NULL)) {
            world_advance(world, 250);
            peer->shortcut_us = world->now.mono_us;
            world_hear(world, 0, D0);
        }
        world_answer(world, world_expect(world, ACTION_CONNECT), BT_STATUS_FAILED);
        assert_int_equal(peer->state, PEER_STATE_BACKOFF);
        uint64_t wait = (peer->retry_us - world->now.mono_us) / 1000;
        assert_in_range(wait, 250, 60000);
        if (i <= 3)
            assert_int_equal(wait, 250);
        else
            assert_in_range(wait, (500ULL << (i - 4)) > 30000 ? 30000 : 500ULL << (i - 4), 60000);
        assert_true(wait * 2 >= last);
        last = wait;
    }
    world_free(world);
}

static void advertisement_ends_a_long_backoff_but_not_every_time(void **state)
{
    struct world *world = begin(1);
    struct peer *peer = peer_of(world, 0);

    world_hear(world, 0, D0);
    peer->failures = 8;
    world_answer(world, world_expect(world, ACTION_CONNECT), BT_STATUS_FAILED);
    assert_true(peer->retry_us > world->now.mono_us + 5000000);
    world_clear(world);
    world_hear(world, 0, D0);
    world_advance(world, 2000);
    world_answer(world, world_expect(world, ACTION_CONNECT), BT_STATUS_FAILED);
    /* the next time 10 s after that, though it is not heard again: the kernel filters duplicates */
    uint64_t begin_us = world->now.mono_us;
    assert_true(peer->retry_us > begin_us + 10000000);
    world_hear(world, 0, D0);
    assert_in_range((peer->retry_us - begin_us) / 1000, 8000, 10000);
    world_hear(world, 0, D0);
    assert_in_range((peer->retry_us - begin_us) / 1000, 8000, 10000);
    world_clear(world);
    world_advance(world, 10000);
    world_expect(world, ACTION_CONNECT);
    world_free(world);
}

/* Links that somebody else makes, and that fail, come before the attempt that was set: they add
 * nothing to the wait. */
static void attempts_of_others_put_off_no_advertisement(void **state)
{
    struct world *world = begin(1);
    struct peer *peer = peer_of(world, 0);

    world_hear(world, 0, D0);
    peer->failures = 8;
    world_answer(world, world_expect(world, ACTION_CONNECT), BT_STATUS_FAILED);
    for (int i = 0; i < 5; i++) {
        world_hear(world, 0, D0);
        assert_int_equal(peer->state, PEER_STATE_BACKOFF);
        assert_true(peer->retry_us <= world->now.mono_us + 10000000);
        world_advance(world, 100);
        world_link(world, D0, true);
        world_link(world, D0, false);
    }
    world_free(world);
}

/* A link that is lost soon is tried again after a wait; what was heard before it is no reason to
 * stop the scan and to keep the others waiting for 20 s. */
static void peer_that_left_soon_is_connected_blind(void **state)
{
    struct world *world = begin(2);

    world_online(world, 0);
    world_advance(world, 2000);
    world_clear(world);
    world_link(world, D0, false);
    world_advance(world, 1000);
    assert_int_equal(world_expect(world, ACTION_CONNECT)->device, D0);
    assert_null(world_find(world, ACTION_SCAN_STOP, NULL));
    world_hear(world, 1, D1);
    assert_int_equal(world_expect(world, ACTION_DISCONNECT)->device, D0);
    world_free(world);
}

/* In the lab BlueZ said it in both orders. */
static void link_that_ended_with_the_power_is_no_failure(void **state)
{
    for (int off_first = 0; off_first <= 1; off_first++) {
        struct world *world = begin(1);
        struct peer *peer = peer_of(world, 0);
        struct event power = {.type = EVENT_ADAPTER,
                              .adapter = ADAPTER_1,
                              .adapter_info = {.adapter = ADAPTER_1, .name = "hci0"}};

        world_online(world, 0);
        world_advance(world, 2000);
        peer->failures = 8;
        if (off_first)
            world_event(world, &power);
        world_link(world, D0, false);
        if (!off_first)
            world_event(world, &power);
        assert_int_equal(peer->reason, REASON_ADAPTER_OFF); /* what it waits for */
        assert_int_equal(peer->state, PEER_STATE_ABSENT);
        assert_int_equal(peer->failures, 8);
        world_clear(world);
        power.adapter_info.powered = true;
        world_event(world, &power);
        world_hear(world, 0, D0);
        world_advance(world, 10);
        assert_int_equal(world_expect(world, ACTION_CONNECT)->device, D0);
        world_free(world);
    }
}

static void failures_before_an_adapter_went_delay_nobody_after_it(void **state)
{
    struct world *world = begin(1);
    struct peer *peer = peer_of(world, 0);
    struct event gone = {.type = EVENT_ADAPTER_GONE, .adapter = ADAPTER_1};
    struct event back = {.type = EVENT_ADAPTER,
                         .adapter = 2,
                         .adapter_info = {.adapter = 2, .name = "hci1", .powered = true}};
    struct event device = {
        .type = EVENT_DEVICE,
        .adapter = 2,
        .device = 200,
        .device_info = {.adapter = 2, .device = 200, .address = peer->address, .heard = true}};

    world_online(world, 0);
    world_advance(world, 2000);
    peer->failures = 8;
    world_link(world, D0, false); /* BlueZ says so, then removes the object, then the adapter */
    assert_true(peer->retry_us > world->now.mono_us + 5000000);
    world_event(world, &(struct event){.type = EVENT_DEVICE_GONE, .device = D0});
    world_event(world, &gone);
    assert_int_equal(peer->failures, 8);
    world_clear(world);
    world_event(world, &back);
    world_event(world, &device);
    world_advance(world, 10);
    assert_int_equal(world_expect(world, ACTION_CONNECT)->device, 200);
    world_free(world);
}

static void one_connect_at_a_time_per_adapter_first_come_first_served(void **state)
{
    struct world *world = begin(3);

    world_hear(world, 2, 102);
    world_hear(world, 0, 100);
    world_hear(world, 1, 101);
    assert_int_equal(world_count(world, ACTION_CONNECT), 1);
    const struct action *first = world_expect(world, ACTION_CONNECT);
    assert_int_equal(first->device, 102);
    world_advance(world, 1);
    world_link(world, 102, true); /* the token is free as soon as the link is up */
    const struct action *second = world_find(world, ACTION_CONNECT, first);
    assert_non_null(second);
    assert_int_equal(second->device, 100);
    assert_null(world_find(world, ACTION_CONNECT, second));
    world_free(world);
}

static void no_more_links_than_allowed_and_the_waiting_one_says_so(void **state)
{
    struct world *world = world_new(2);

    world->settings.bluetooth.connections = 1;
    world_start(world);
    world_bluez_up(world);
    world_broker_up(world);
    world_online(world, 0);
    world_clear(world);
    world_hear(world, 1, D1);
    world_advance(world, 5000);
    assert_null(world_find(world, ACTION_CONNECT, NULL));
    assert_non_null(
        strstr(world_published(world, "g/d1/status/link"), "no free connection (1 of 1 in use)"));
    world_link(world, 100, false);
    world_hear(world, 1, D1);
    assert_int_equal(world_expect(world, ACTION_CONNECT)->device, D1);
    world_free(world);
}

static void adapter_that_refuses_every_connect_is_not_asked_in_a_loop(void **state)
{
    struct world *world = begin(1);
    size_t n = 0;

    for (unsigned i = 0; i < 30; i++) {
        world_clear(world);
        world_hear(world, 0, D0);
        world_advance(world, 1000);
        const struct action *connect = world_find(world, ACTION_CONNECT, NULL);
        for (; connect; connect = world_find(world, ACTION_CONNECT, connect), n++) {
            struct action copy = *connect;
            world_answer(world, &copy, BT_STATUS_NOT_READY);
        }
    }
    assert_in_range(n, 5, 15);
    world_free(world);
}

static void who_waits_says_so_when_it_is_not_for_a_link_any_more(void **state)
{
    struct world *world = world_new(3);

    world->settings.bluetooth.connections = 2;
    world_start(world);
    world_bluez_up(world);
    world_broker_up(world);
    world_online(world, 0);
    world_hear(world, 1, D1); /* connecting, for a while */
    world_hear(world, 2, 102);
    assert_int_equal(peer_of(world, 2)->reason, REASON_NO_SLOT);
    world_link(world, D0, false);
    assert_int_equal(peer_of(world, 2)->reason, REASON_QUEUED);
    world_free(world);
}

static void link_that_could_not_be_ended_still_counts(void **state)
{
    struct world *world = world_new(2);

    world->settings.bluetooth.connections = 1;
    world_start(world);
    world_bluez_up(world);
    world_broker_up(world);
    world_hear(world, 0, D0);
    world_link(world, D0, true);
    world_hear(world, 1, D1);
    struct event empty = {.type = EVENT_RESOLVE_RESULT,
                          .op = world_expect(world, ACTION_RESOLVE)->op,
                          .result.status = BT_STATUS_NO_SERVICES};
    world_event(world, &empty);
    const struct action disconnect = *world_expect(world, ACTION_DISCONNECT);
    world_clear(world);
    world_answer(world, &disconnect, BT_STATUS_FAILED);
    assert_null(world_find(world, ACTION_CONNECT, NULL));
    world_link(world, D0, false);
    assert_int_equal(world_expect(world, ACTION_CONNECT)->device, D1);
    world_free(world);
}

static void blind_attempt_gives_way_to_a_peer_that_was_heard(void **state)
{
    struct world *world = begin(2);
    struct event known = {.type = EVENT_DEVICE,
                          .device_info = {.adapter = ADAPTER_1,
                                          .device = D0,
                                          .address = {{0xc0, 0, 0, 0, 0, 0}},
                                          .rssi = RSSI_UNKNOWN}};

    world_event(world, &known); /* BlueZ remembers it; nobody has heard it */
    const struct action *blind = world_expect(world, ACTION_CONNECT);
    assert_int_equal(blind->device, D0);
    assert_null(world_published(world, "g/d0/status/link")); /* no news to the outside */
    world_hear(world, 1, D1);
    const struct action *cancel = world_expect(world, ACTION_DISCONNECT);
    assert_int_equal(cancel->device, D0);
    world_answer(world, blind, BT_STATUS_CANCELLED);
    world_answer(world, cancel, BT_STATUS_OK);
    const struct action *heard = world_find(world, ACTION_CONNECT, blind);
    assert_non_null(heard);
    assert_int_equal(heard->device, D1);
    assert_int_equal(peer_of(world, 0)->failures, 0); /* absent is no failure */
    world_free(world);
}

static void blind_attempt_to_a_peer_that_is_heard_is_one_like_any_other(void **state)
{
    struct world *world = begin(1);
    struct event known = {.type = EVENT_DEVICE,
                          .device_info = {.adapter = ADAPTER_1,
                                          .device = D0,
                                          .address = {{0xc0, 0, 0, 0, 0, 0}},
                                          .rssi = RSSI_UNKNOWN}};

    world_event(world, &known);
    assert_int_equal(world_expect(world, ACTION_CONNECT)->device, D0);
    world_hear(world, 0, D0);
    assert_non_null(world_published(world, "g/d0/status/link")); /* it is not absent any more */
    assert_non_null(strstr(world_published(world, "g/d0/status/link"), "\"state\":\"connecting\""));
    world_advance(world, 21000);
    assert_int_equal(peer_of(world, 0)->after.reason, REASON_CONNECT_TIMEOUT);
    world_free(world);
}

static void lost_link_is_offline_at_once_and_tried_again_at_once(void **state)
{
    struct world *world = begin(1);

    world_online(world, 0);
    world_advance(world, 31000);
    world_clear(world);
    world_link(world, D0, false);
    assert_string_equal(world_published(world, "g/d0/status/availability"), "offline");
    assert_non_null(world_find(world, ACTION_CONNECT, NULL));
    world_free(world);
}

static void what_is_subscribed_is_subscribed_again_after_a_reconnect(void **state)
{
    struct world *world = begin(1);

    world_online(world, 0);
    struct action before = *world_expect(world, ACTION_SUBSCRIBE);
    world_advance(world, 31000);
    world_clear(world);
    world_link(world, D0, false);
    world_link(world, D0, true);
    /* BlueZ enables notifications by itself before we ask again: those count, too */
    world_value(world, &before, "\x07", 1);
    assert_non_null(strstr(world_published(world, "g/d0/level"), "\"value\":7"));
    world_resolved(world, world_expect(world, ACTION_RESOLVE));
    world_answer(world, world_expect(world, ACTION_SUBSCRIBE), BT_STATUS_OK);
    assert_string_equal(world_published(world, "g/d0/status/availability"), "online");
    world_free(world);
}

static void power_adapter(struct world *world, uint32_t number, const char *name, bool on)
{
    struct event event = {.type = EVENT_ADAPTER,
                          .adapter_info = {.adapter = number, .name = name, .powered = on}};

    world_event(world, &event);
}

static void early_value_counts_also_after_a_link_by_another_adapter(void **state)
{
    struct world *world = begin(1);
    struct event heard = {.type = EVENT_DEVICE,
                          .device_info = {.adapter = 2,
                                          .device = 200,
                                          .address = {{0xc0, 0, 0, 0, 0, 0}},
                                          .heard = true,
                                          .rssi = -50}};

    world_online(world, 0);
    struct action before = *world_expect(world, ACTION_SUBSCRIBE);
    world_advance(world, 31000);
    power_adapter(world, 2, "hci1", true);
    power_adapter(world, 1, "hci0", false);
    world_link(world, D0, false);
    world_clear(world);
    world_event(world, &heard);
    assert_int_equal(world_expect(world, ACTION_CONNECT)->device, 200);
    world_link(world, 200, true);
    world_resolved(world, world_expect(world, ACTION_RESOLVE));
    world_answer(world, world_expect(world, ACTION_SUBSCRIBE), BT_STATUS_OK);
    world_advance(world, 31000);
    power_adapter(world, 1, "hci0", true);
    power_adapter(world, 2, "hci1", false);
    world_link(world, 200, false);
    world_clear(world);
    world_link(world, D0, true);
    world_value(world, &before, "\x08", 1);
    assert_non_null(world_published(world, "g/d0/level"));
    assert_non_null(strstr(world_published(world, "g/d0/level"), "\"value\":8"));
    world_free(world);
}

static void late_answer_of_an_old_attempt_changes_nothing(void **state)
{
    struct world *world = begin(1);

    world_hear(world, 0, D0);
    struct action old = *world_expect(world, ACTION_CONNECT);
    world_answer(world, &old, BT_STATUS_FAILED);
    world_clear(world);
    world_advance(world, 300);
    world_expect(world, ACTION_CONNECT);
    enum peer_state before = peer_of(world, 0)->state;
    world_answer(world, &old, BT_STATUS_FAILED);
    assert_int_equal(peer_of(world, 0)->state, before);
    assert_int_equal(peer_of(world, 0)->failures, 1);
    world_free(world);
}

static void object_that_vanishes_while_connecting_frees_the_connector(void **state)
{
    struct world *world = begin(2);
    struct event gone = {.type = EVENT_DEVICE_GONE, .adapter = ADAPTER_1, .device = D0};

    world_hear(world, 0, D0);
    world_hear(world, 1, D1);
    const struct action *first = world_expect(world, ACTION_CONNECT);
    world_event(world, &gone); /* BlueZ never answers such a Connect */
    const struct action *second = world_find(world, ACTION_CONNECT, first);
    assert_non_null(second);
    assert_int_equal(second->device, D1);
    world_free(world);
}

static void empty_tree_is_cleared_from_the_cache_once_then_retried_slowly(void **state)
{
    struct world *world = begin(1);

    for (int i = 0; i < 2; i++) {
        world_clear(world);
        world_hear(world, 0, D0);
        world_advance(world, 2000);
        if (!world_find(world, ACTION_CONNECT, NULL))
            world_hear(world, 0, D0);
        world_expect(world, ACTION_CONNECT);
        world_link(world, D0, true);
        world_answer(world, world_expect(world, ACTION_RESOLVE), BT_STATUS_NO_SERVICES);
        world_link(world, D0, false);
        assert_int_equal(world_count(world, ACTION_REMOVE_DEVICE), i == 0);
    }
    assert_true(peer_of(world, 0)->retry_slow);
    assert_int_equal(peer_of(world, 0)->reason, REASON_NO_SERVICES);
    world_free(world);
}

static void two_entries_on_one_characteristic_share_the_subscription(void **state)
{
    struct world *world = world_new(1);
    struct characteristic_settings *list = world->settings.devices[0].characteristics;

    list[1].uuid = list[0].uuid;
    list[1].subscribe = true;
    world_start(world);
    world_bluez_up(world);
    world_broker_up(world);
    world_online(world, 0);
    assert_int_equal(world_count(world, ACTION_SUBSCRIBE), 1);
    world_value(world, world_expect(world, ACTION_SUBSCRIBE), "\x05", 1);
    assert_non_null(strstr(world_published(world, "g/d0/level"), "\"value\":5"));
    assert_non_null(strstr(world_published(world, "g/d0/lamp"), "\"value\":5"));
    world_free(world);
}

static void bluez_lost_means_all_links_lost_and_a_fresh_start_after(void **state)
{
    struct world *world = begin(2);
    struct event down = {.type = EVENT_BLUEZ_DOWN,
                         .bluez_down = {.reason = "no_bluez", .text = "gone"}};

    world_online(world, 0);
    world_online(world, 1);
    world_clear(world);
    world_event(world, &down);
    assert_string_equal(world_published(world, "g/d0/status/availability"), "offline");
    assert_string_equal(world_published(world, "g/d1/status/availability"), "offline");
    assert_non_null(strstr(world_published(world, "g/d0/status/link"), "\"reason\":\"no_bluez\""));
    world_bluez_up(world);
    assert_non_null(world_find(world, ACTION_SCAN_START, NULL));
    world_online(world, 0);
    world_free(world);
}

static void adapter_is_switched_on_at_start_but_a_person_may_switch_it_off(void **state)
{
    struct world *world = world_new(1);
    struct event off = {.type = EVENT_ADAPTER,
                        .adapter_info = {.adapter = ADAPTER_1, .name = "hci0"}};

    world_start(world);
    world_broker_up(world);
    world_event(world, &off);
    world_event(world, &(struct event){.type = EVENT_BLUEZ_UP});
    assert_non_null(
        strstr(world_published(world, "g/d0/status/link"), "\"reason\":\"adapter_off\""));
    const struct action *power = world_expect(world, ACTION_POWER);
    assert_true(power->power.on);
    struct event blocked = {.type = EVENT_POWER_RESULT,
                            .op = power->op,
                            .adapter = ADAPTER_1,
                            .result = {.status = BT_STATUS_BLOCKED, .text = "Blocked"}};
    world_event(world, &blocked);
    assert_non_null(strstr(world_published(world, "g/d0/status/link"), "\"reason\":\"rfkill\""));
    world_bluez_up(world);
    world_clear(world);
    world_event(world, &off);
    world_advance(world, 60000);
    assert_null(world_find(world, ACTION_POWER, NULL));
    world_free(world);
}

static void link_that_existed_at_start_is_adopted_at_once(void **state)
{
    struct world *world = world_new(3);
    struct bt_uuid service = bt_uuid_from_u16(0x180f);
    struct match_settings *match = &world->settings.devices[2].match;
    struct event adapter = {
        .type = EVENT_ADAPTER,
        .adapter_info = {.adapter = ADAPTER_1, .name = "hci0", .powered = true}};
    struct event known = {.type = EVENT_DEVICE,
                          .device_info = {.adapter = ADAPTER_1,
                                          .address = {{0xc0, 0, 0, 0, 0, 0}},
                                          .rssi = RSSI_UNKNOWN,
                                          .uuids = &service,
                                          .n_uuids = 1}};

    *match = (struct match_settings){.services = malloc(sizeof(service)), .n_services = 1};
    match->services[0] = service;
    world_start(world);
    world_broker_up(world);
    world_event(world, &adapter);
    for (uint32_t i = 0; i < 3; i++) { /* d0 is only remembered, d1 and one for d2 are connected */
        known.device_info.device = 100 + i;
        known.device_info.address.b[5] = (uint8_t)i;
        known.device_info.connected = i > 0;
        world_event(world, &known);
    }
    world_event(world, &(struct event){.type = EVENT_BLUEZ_UP});
    assert_int_equal(world_count(world, ACTION_RESOLVE), 2);
    assert_int_equal(peer_of(world, 1)->state, PEER_STATE_RESOLVING);
    assert_int_equal(peer_of(world, 2)->state, PEER_STATE_RESOLVING);
    assert_int_equal(peer_of(world, 2)->device, 102);
    world_free(world);
}

static void subscription_that_ends_while_another_is_set_up_is_renewed(void **state)
{
    struct world *world = world_new(1);

    world->settings.devices[0].characteristics[1].subscribe = true;
    world_start(world);
    world_bluez_up(world);
    world_broker_up(world);
    world_hear(world, 0, D0);
    world_link(world, D0, true);
    world_resolved(world, world_expect(world, ACTION_RESOLVE));
    const struct action *level = world_expect(world, ACTION_SUBSCRIBE);
    world_answer(world, level, BT_STATUS_OK);
    const struct action *lamp = world_find(world, ACTION_SUBSCRIBE, level);
    struct event lost = {.type = EVENT_SUBSCRIPTION_LOST,
                         .value = {.subscription = level->subscribe.subscription,
                                   .source = level->subscribe.source}};
    world_event(world, &lost);
    world_answer(world, lamp, BT_STATUS_OK);
    const struct action *again = world_find(world, ACTION_SUBSCRIBE, lamp);
    assert_non_null(again);
    assert_int_equal(again->subscribe.handle, LEVEL_HANDLE);
    assert_int_equal(peer_of(world, 0)->state, PEER_STATE_CONFIGURING);
    world_free(world);
}

static void subscription_that_keeps_ending_is_no_busy_loop(void **state)
{
    struct world *world = begin(1);

    world_online(world, 0);
    for (int i = 0; i < 2; i++) {
        const struct action subscribe = *world_expect(world, ACTION_SUBSCRIBE);
        struct event lost = {.type = EVENT_SUBSCRIPTION_LOST,
                             .value = {.subscription = subscribe.subscribe.subscription,
                                       .source = subscribe.subscribe.source}};
        world_clear(world);
        world_event(world, &lost);
        if (i == 0)
            world_answer(world, world_expect(world, ACTION_SUBSCRIBE), BT_STATUS_OK);
    }
    assert_non_null(world_find(world, ACTION_DISCONNECT, NULL));
    assert_null(world_find(world, ACTION_SUBSCRIBE, NULL));
    world_free(world);
}

static void link_that_a_disconnect_did_not_end_is_disconnected_again(void **state)
{
    struct world *world = begin(1);

    world_hear(world, 0, D0);
    world_link(world, D0, true);
    struct event empty = {.type = EVENT_RESOLVE_RESULT,
                          .op = world_expect(world, ACTION_RESOLVE)->op,
                          .result.status = BT_STATUS_NO_SERVICES};
    world_event(world, &empty);
    for (unsigned i = 0; i < 5; i++) {
        const struct action disconnect = *world_expect(world, ACTION_DISCONNECT);
        world_clear(world);
        if (i % 2)
            world_answer(world, &disconnect, BT_STATUS_FAILED);
        world_advance(world, DISCONNECT_MS);
    }
    assert_null(world_find(world, ACTION_CONNECT, NULL));
    world_link(world, D0, false);
    assert_int_equal(peer_of(world, 0)->state, PEER_STATE_BACKOFF);
    world_free(world);
}

static void link_is_adopted_also_while_the_scan_fails(void **state)
{
    struct world *world = world_new(1);

    world->mute_scan = true;
    world_start(world);
    world_bluez_up(world);
    world_hear(world, 0, D0);
    world_answer(world, world_expect(world, ACTION_CONNECT), BT_STATUS_AUTH_FAILED);
    struct event failed = {.type = EVENT_SCAN_RESULT,
                           .adapter = ADAPTER_1,
                           .asked.on = true,
                           .result.status = BT_STATUS_FAILED};
    world_clear(world);
    world_advance(world, 30000);
    world_link(world, D0, true); /* somebody else's, while it refuses us */
    for (unsigned i = 0; i < 40; i++) {
        const struct action *start = world_find(world, ACTION_SCAN_START, NULL);
        if (start) {
            failed.op = start->op;
            world_event(world, &failed);
        }
        assert_null(world_find(world, ACTION_CONNECT, NULL));
        if (world_find(world, ACTION_RESOLVE, NULL))
            break;
        world_clear(world);
        world_advance(world, 1000);
    }
    world_expect(world, ACTION_RESOLVE);
    assert_int_equal(world->gateway->adapters[0].scan_failures > 0, true);
    world_free(world);
}

static void bonded_peer_is_never_removed_from_bluez(void **state)
{
    struct world *world = begin(1);
    struct event event = {.type = EVENT_DEVICE,
                          .device_info = {.adapter = ADAPTER_1,
                                          .device = D0,
                                          .address = {{0xc0, 0, 0, 0, 0, 0}},
                                          .heard = true,
                                          .rssi = -60,
                                          .bonded = true}};

    world_event(world, &event);
    world_link(world, D0, true);
    world_answer(world, world_expect(world, ACTION_RESOLVE), BT_STATUS_NO_SERVICES);
    world_link(world, D0, false);
    assert_null(world_find(world, ACTION_REMOVE_DEVICE, NULL));
    assert_true(peer_of(world, 0)->retry_slow);
    world_free(world);
}

static void second_object_with_the_same_address_leaves_the_link_alone(void **state)
{
    struct world *world = begin(1);

    world_online(world, 0);
    world_hear(world, 0, 555);
    world_link(world, D0, false);
    assert_string_equal(world_published(world, "g/d0/status/availability"), "offline");
    world_free(world);
}

static void services_that_change_are_looked_at_again_without_losing_the_link(void **state)
{
    struct world *world = begin(1);
    struct event changed = {.type = EVENT_SERVICES_CHANGED, .adapter = ADAPTER_1, .device = D0};

    world_online(world, 0);
    const struct action subscribe = *world_expect(world, ACTION_SUBSCRIBE);
    struct event lost = {.type = EVENT_SUBSCRIPTION_LOST,
                         .value = {.subscription = subscribe.subscribe.subscription,
                                   .source = subscribe.subscribe.source}};
    world_clear(world);
    world_message(world, "g/d0/lamp/set", "1", false);
    const struct action write = *world_expect(world, ACTION_WRITE);
    world_event(world, &lost);
    world_answer(world, world_expect(world, ACTION_SUBSCRIBE), BT_STATUS_GONE);
    world_event(world, &changed);
    const struct action resolve = *world_expect(world, ACTION_RESOLVE);
    struct event empty = {
        .type = EVENT_RESOLVE_RESULT,
        .op = resolve.op,
        .resolved = {.characteristics = &(struct gatt_characteristic){.handle = 0},
                     .n_characteristics = 1}};
    peer_of(world, 0)->cache_cleared_us = world->now.mono_us;
    world_event(world, &empty); /* the lamp is not there any more */
    world_answer(world, &write, BT_STATUS_OK);
    assert_int_equal(world_count_published(world, "g/d0/lamp/result"), 1);
    world_free(world);
}

static void long_link_that_ends_while_subscribing_again_is_no_failed_attempt(void **state)
{
    struct world *world = begin(1);

    world_online(world, 0);
    const struct action subscribe = *world_expect(world, ACTION_SUBSCRIBE);
    struct event lost = {.type = EVENT_SUBSCRIPTION_LOST,
                         .value = {.subscription = subscribe.subscribe.subscription,
                                   .source = subscribe.subscribe.source}};
    world_advance(world, 3600000);
    world_event(world, &lost); /* a socket closes before BlueZ says that the link is gone */
    world_clear(world);
    world_link(world, D0, false);
    assert_int_equal(peer_of(world, 0)->failures, 0);
    assert_non_null(world_published(world, "g/bridge/gw/event"));
    assert_non_null(world_find(world, ACTION_CONNECT, NULL));
    world_free(world);
}

static void object_that_does_not_exist_is_not_connected_in_a_loop(void **state)
{
    struct world *world = begin(1);

    world_hear(world, 0, D0);
    for (int i = 0; i < 3 && world_find(world, ACTION_CONNECT, NULL); i++) {
        const struct action connect = *world_expect(world, ACTION_CONNECT);
        world_clear(world);
        world_answer(world, &connect, BT_STATUS_GONE);
    }
    assert_null(world_find(world, ACTION_CONNECT, NULL));
    world_free(world);
}

static void the_strongest_that_fits_within_10_s_is_taken_and_kept(void **state)
{
    struct world *world = world_new(1);
    struct match_settings *match = &world->settings.devices[0].match;
    struct bt_uuid service = bt_uuid_from_u16(0x180f);

    *match = (struct match_settings){.services = malloc(sizeof(service)), .n_services = 1};
    match->services[0] = service;
    world_start(world);
    world_bluez_up(world);
    struct event event = {
        .type = EVENT_DEVICE,
        .device_info = {.adapter = ADAPTER_1, .heard = true, .uuids = &service, .n_uuids = 1}};
    for (uint32_t i = 0; i < 3; i++) {
        event.device_info.device = 200 + i;
        event.device_info.address.b[5] = (uint8_t)i;
        event.device_info.rssi = (int16_t)(i == 1 ? -40 : -70);
        world_event(world, &event);
        world_advance(world, 1000);
    }
    assert_null(world_find(world, ACTION_CONNECT, NULL));
    world_advance(world, 8000);
    assert_int_equal(world_expect(world, ACTION_CONNECT)->device, 201);
    world_free(world);
}

/* who was bound to `top`:..., and lost its object, takes another one that fits? */
static bool takes_another_after(uint8_t top, enum bt_address_type type)
{
    struct world *world = world_new(1);
    struct device_info info = {.adapter = ADAPTER_1,
                               .device = 71,
                               .address = {{top, 0, 0, 0, 0, 1}},
                               .address_type = type,
                               .name = "thing",
                               .heard = true,
                               .rssi = -50};
    struct event event = {.type = EVENT_DEVICE, .device_info = info};

    world->settings.devices[0].match = (struct match_settings){.name = strdup("thing")};
    world_start(world);
    world_bluez_up(world);
    world_event(world, &event);
    world_advance(world, 11000);
    assert_int_equal(world_expect(world, ACTION_CONNECT)->device, 71);
    world_event(world,
                &(struct event){.type = EVENT_DEVICE_GONE, .adapter = ADAPTER_1, .device = 71});
    world_clear(world);
    event.device_info.device = 72;
    event.device_info.address.b[5] = 2;
    world_event(world, &event);
    world_advance(world, 11000);
    const struct action *connect = world_find(world, ACTION_CONNECT, NULL);
    bool takes = connect && connect->device == 72;
    world_free(world);
    return takes;
}

static void only_a_private_address_is_given_up_with_its_object(void **state)
{
    assert_true(takes_another_after(0x4a, BT_ADDRESS_RANDOM));  /* resolvable */
    assert_true(takes_another_after(0x0a, BT_ADDRESS_RANDOM));  /* not resolvable */
    assert_false(takes_another_after(0xca, BT_ADDRESS_RANDOM)); /* static */
    assert_false(takes_another_after(0x4a, BT_ADDRESS_PUBLIC));
}

/* It has another address now, by which somebody else connected to it: it does not advertise. */
static void peer_that_is_linked_by_its_next_private_address_is_found(void **state)
{
    struct world *world = world_new(1);
    struct event heard = {.type = EVENT_DEVICE,
                          .device_info = {.adapter = ADAPTER_1,
                                          .device = 71,
                                          .address = {{0x4a, 0, 0, 0, 0, 1}},
                                          .address_type = BT_ADDRESS_RANDOM,
                                          .name = "thing",
                                          .heard = true,
                                          .rssi = -50}};
    struct event linked = heard;

    world->settings.devices[0].match = (struct match_settings){.name = strdup("thing")};
    world_start(world);
    world_bluez_up(world);
    world_event(world, &heard);
    world_advance(world, 11000);
    linked.device_info.device = 72;
    linked.device_info.address.b[5] = 2;
    linked.device_info.heard = false;
    linked.device_info.connected = true;
    linked.device_info.rssi = RSSI_UNKNOWN;
    world_event(world, &linked);
    world_clear(world);
    world_event(world,
                &(struct event){.type = EVENT_DEVICE_GONE, .adapter = ADAPTER_1, .device = 71});
    world_expect(world, ACTION_TELL_DEVICES);
    world_event(world, &linked);
    assert_int_equal(world_expect(world, ACTION_RESOLVE)->device, 72);
    world_free(world);
}

static void link_that_comes_while_choosing_decides(void **state)
{
    struct world *world = world_new(1);
    struct device_info info = {.adapter = ADAPTER_1,
                               .device = 71,
                               .address = {{0x71, 0, 0, 0, 0, 1}},
                               .name = "thing",
                               .heard = true,
                               .rssi = -50};
    struct event heard = {.type = EVENT_DEVICE, .device_info = info};

    world->settings.devices[0].match =
        (struct match_settings){.name = strdup("thing")}; /* no address */
    world_start(world);
    world_bluez_up(world);
    world_event(world, &heard);
    world_advance(world, 2000);
    world_clear(world);
    world_link(world, 71, true);
    world_expect(world, ACTION_RESOLVE);
    assert_null(world_find(world, ACTION_CONNECT, NULL));
    world_free(world);
}

static void scan_runs_while_somebody_is_missing_and_then_rests(void **state)
{
    struct world *world = world_new(1);

    world_start(world);
    world_bluez_up(world);
    world_broker_up(world);
    assert_non_null(world_find(world, ACTION_SCAN_START, NULL));
    world_online(world, 0);
    world_advance(world, 10000);
    world_expect(world, ACTION_SCAN_STOP);
    world_clear(world);
    world_advance(world, 60000);
    assert_null(world_find(world, ACTION_SCAN_START, NULL));
    world_link(world, D0, false);
    assert_non_null(world_find(world, ACTION_SCAN_START, NULL));
    world_free(world);
}

static void scan_pauses_for_a_connect_and_goes_on_after_it(void **state)
{
    struct world *world = world_new(2);

    world_start(world);
    world_bluez_up(world);
    world_clear(world);
    world_hear(world, 0, D0);
    const struct action connect = *world_expect(world, ACTION_CONNECT);
    assert_true(world_expect(world, ACTION_SCAN_STOP) < world_expect(world, ACTION_CONNECT));
    world_advance(world, 2000);
    assert_null(world_find(world, ACTION_SCAN_START, NULL));
    world_link(world, D0, true);
    world_answer(world, &connect, BT_STATUS_OK);
    assert_non_null(world_find(world, ACTION_SCAN_START, NULL)); /* the other is missing still */
    world_free(world);
}

static void scan_that_is_still_starting_is_stopped_once_it_has_started(void **state)
{
    struct world *world = world_new(2);

    world->mute_scan = true;
    world_start(world);
    world_bluez_up(world);
    const struct action start = *world_expect(world, ACTION_SCAN_START);
    world_hear(world, 0, D0); /* another program scans, too */
    assert_non_null(world_find(world, ACTION_CONNECT, NULL));
    assert_null(world_find(world, ACTION_SCAN_STOP, NULL)); /* it would overtake the start */
    struct event result = {
        .type = EVENT_SCAN_RESULT, .op = start.op, .adapter = ADAPTER_1, .asked.on = true};
    world_event(world, &result);
    struct action stop = *world_expect(world, ACTION_SCAN_STOP);
    world_clear(world);
    result = (struct event){.type = EVENT_SCAN_RESULT,
                            .op = stop.op,
                            .adapter = ADAPTER_1,
                            .result.status = BT_STATUS_IN_PROGRESS};
    world_event(world, &result); /* refused: it is asked again, but not in a loop */
    assert_null(world_find(world, ACTION_SCAN_STOP, NULL));
    world_advance(world, SCAN_RETRY_MS + 10);
    assert_int_equal(world_count(world, ACTION_SCAN_STOP), 1);
    world_free(world);
}

static void idle_gateway_sets_no_needless_timers(void **state)
{
    struct world *world = begin(5);

    for (size_t i = 0; i < 5; i++)
        world_online(world, i);
    world_advance(world, 120000);
    world_clear(world);
    unsigned rounds = 0;
    uint64_t end = world->now.mono_us + 600000000;
    while (gateway_next_deadline(world->gateway) < end) {
        world->now.mono_us = gateway_next_deadline(world->gateway);
        world_event(world, &(struct event){.type = EVENT_TIMER});
        rounds++;
    }
    assert_in_range(rounds, 1, 11); /* health, once a minute */
    world_free(world);
}

static void health_tells_reconnects_by_cause_and_memory(void **state)
{
    struct world *world = world_new(1);

    world_start(world);
    world_broker_up(world);
    world_bluez_up(world);
    world_online(world, 0); /* the first time is no reconnect */
    world_advance(world, HEALTH_MS);
    const char *health = world_published(world, "g/bridge/gw/health");
    assert_non_null(strstr(health, "\"connects\":1,\"reconnects\":{},"));
    assert_non_null(strstr(health, "\"memory\":null}"));
    for (int i = 0; i < 2; i++) {
        world_clear(world);
        world_link(world, D0, false);
        world_advance(world, 1000);
        world_connected(world, 0);
        world_advance(world, STABLE_MS);
    }
    world_event(world, &(struct event){.type = EVENT_TIMER, .timer.memory_bytes = 4096000});
    world_clear(world);
    world_advance(world, HEALTH_MS);
    health = world_published(world, "g/bridge/gw/health");
    assert_non_null(strstr(health, "\"connects\":3,\"reconnects\":{\"link_lost\":2},"));
    assert_non_null(strstr(health, "\"memory\":4096000}"));
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(health_tells_reconnects_by_cause_and_memory),
        cmocka_unit_test(heard_peer_is_connected_resolved_subscribed_and_online),
        cmocka_unit_test(reply_and_link_may_come_in_any_order),
        cmocka_unit_test(yes_without_a_link_is_given_up_after_5_s),
        cmocka_unit_test(connect_that_hangs_is_cancelled_by_disconnect),
        cmocka_unit_test(reconnect_waits_longer_after_each_failure),
        cmocka_unit_test(advertisement_ends_a_long_backoff_but_not_every_time),
        cmocka_unit_test(attempts_of_others_put_off_no_advertisement),
        cmocka_unit_test(peer_that_left_soon_is_connected_blind),
        cmocka_unit_test(link_that_ended_with_the_power_is_no_failure),
        cmocka_unit_test(failures_before_an_adapter_went_delay_nobody_after_it),
        cmocka_unit_test(one_connect_at_a_time_per_adapter_first_come_first_served),
        cmocka_unit_test(no_more_links_than_allowed_and_the_waiting_one_says_so),
        cmocka_unit_test(adapter_that_refuses_every_connect_is_not_asked_in_a_loop),
        cmocka_unit_test(who_waits_says_so_when_it_is_not_for_a_link_any_more),
        cmocka_unit_test(link_that_could_not_be_ended_still_counts),
        cmocka_unit_test(blind_attempt_gives_way_to_a_peer_that_was_heard),
        cmocka_unit_test(blind_attempt_to_a_peer_that_is_heard_is_one_like_any_other),
        cmocka_unit_test(lost_link_is_offline_at_once_and_tried_again_at_once),
        cmocka_unit_test(what_is_subscribed_is_subscribed_again_after_a_reconnect),
        cmocka_unit_test(early_value_counts_also_after_a_link_by_another_adapter),
        cmocka_unit_test(late_answer_of_an_old_attempt_changes_nothing),
        cmocka_unit_test(object_that_vanishes_while_connecting_frees_the_connector),
        cmocka_unit_test(empty_tree_is_cleared_from_the_cache_once_then_retried_slowly),
        cmocka_unit_test(two_entries_on_one_characteristic_share_the_subscription),
        cmocka_unit_test(bluez_lost_means_all_links_lost_and_a_fresh_start_after),
        cmocka_unit_test(adapter_is_switched_on_at_start_but_a_person_may_switch_it_off),
        cmocka_unit_test(link_that_existed_at_start_is_adopted_at_once),
        cmocka_unit_test(subscription_that_ends_while_another_is_set_up_is_renewed),
        cmocka_unit_test(subscription_that_keeps_ending_is_no_busy_loop),
        cmocka_unit_test(link_that_a_disconnect_did_not_end_is_disconnected_again),
        cmocka_unit_test(link_is_adopted_also_while_the_scan_fails),
        cmocka_unit_test(bonded_peer_is_never_removed_from_bluez),
        cmocka_unit_test(second_object_with_the_same_address_leaves_the_link_alone),
        cmocka_unit_test(services_that_change_are_looked_at_again_without_losing_the_link),
        cmocka_unit_test(long_link_that_ends_while_subscribing_again_is_no_failed_attempt),
        cmocka_unit_test(object_that_does_not_exist_is_not_connected_in_a_loop),
        cmocka_unit_test(the_strongest_that_fits_within_10_s_is_taken_and_kept),
        cmocka_unit_test(only_a_private_address_is_given_up_with_its_object),
        cmocka_unit_test(peer_that_is_linked_by_its_next_private_address_is_found),
        cmocka_unit_test(link_that_comes_while_choosing_decides),
        cmocka_unit_test(scan_runs_while_somebody_is_missing_and_then_rests),
        cmocka_unit_test(scan_pauses_for_a_connect_and_goes_on_after_it),
        cmocka_unit_test(scan_that_is_still_starting_is_stopped_once_it_has_started),
        cmocka_unit_test(idle_gateway_sets_no_needless_timers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
