/* Adapters: which are used, their power, scanning that does not go on for nothing, and what is told
 * about them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "helper_world.h"

static struct world *begin(void)
{
    struct world *world = world_new(1);

    world_start(world);
    world_bluez_up(world);
    world_broker_up(world);
    return world;
}

static void tell_discovering(struct world *world, bool discovering)
{
    struct event event = {.type = EVENT_ADAPTER,
                          .adapter_info = {.adapter = ADAPTER_1,
                                           .name = "hci0",
                                           .address = {{0, 0x1a, 0x7d, 0, 0, 1}},
                                           .powered = true,
                                           .discovering = discovering}};

    world_event(world, &event);
}

static void scan_that_could_not_be_stopped_is_stopped_later(void **state)
{
    struct world *world = begin();

    tell_discovering(world, true);
    world->mute_scan = true;
    world_online(world, 0);
    const struct action *stop = world_expect(world, ACTION_SCAN_STOP);
    struct event failed = {.type = EVENT_SCAN_RESULT,
                           .op = stop->op,
                           .adapter = ADAPTER_1,
                           .result.status = BT_STATUS_TIMEOUT};
    world_event(world, &failed);
    world_clear(world);
    world_advance(world, 55000);
    assert_null(world_find(world, ACTION_SCAN_STOP, NULL)); /* but not in a hurry */
    world_advance(world, 10000);
    world_expect(world, ACTION_SCAN_STOP);
    world_free(world);
}

static void scan_that_goes_on_and_off_is_no_news_for_the_broker(void **state)
{
    struct world *world = begin();

    world_clear(world);
    tell_discovering(world, true);
    tell_discovering(world, false);
    assert_null(world_published(world, "g/bridge/gw/devices"));
    struct event off = {.type = EVENT_ADAPTER,
                        .adapter_info = {.adapter = ADAPTER_1, .name = "hci0"}};
    world_event(world, &off);
    assert_non_null(world_published(world, "g/bridge/gw/info"));
    world_free(world);
}

static struct world *begin_passively(void)
{
    struct world *world = world_new(1);

    world->settings.bluetooth.scan = SCAN_MODE_PASSIVE;
    world->mute_scan = true;
    world_start(world);
    world_bluez_up(world);
    return world;
}

static void answer_scan(struct world *world, const struct action *start, enum bt_status status)
{
    struct event event = {.type = EVENT_SCAN_RESULT,
                          .op = start->op,
                          .adapter = ADAPTER_1,
                          .result.status = status,
                          .asked.on = true};

    world_event(world, &event);
}

static void passive_scan_goes_on_while_a_peer_is_connected(void **state)
{
    struct world *world = begin_passively();
    const struct action *start = world_expect(world, ACTION_SCAN_START);

    assert_true(start->scan.passive);
    answer_scan(world, start, BT_STATUS_OK);
    world_hear(world, 0, 100);
    world_expect(world, ACTION_CONNECT);
    assert_null(world_find(world, ACTION_SCAN_STOP, NULL));
    world_free(world);
}

static void scan_is_active_where_bluez_has_no_passive_one(void **state)
{
    struct world *world = begin_passively();

    answer_scan(world, world_expect(world, ACTION_SCAN_START), BT_STATUS_NOT_SUPPORTED);
    const struct action *again =
        world_find(world, ACTION_SCAN_START, world_expect(world, ACTION_SCAN_START));
    assert_non_null(again); /* at once */
    assert_false(again->scan.passive);
    answer_scan(world, again, BT_STATUS_OK);
    world_hear(world, 0, 100);
    world_expect(world, ACTION_SCAN_STOP); /* and pauses as such */
    world_free(world);
}

static void answer_power(struct world *world, enum bt_status status)
{
    const struct action *asked = world_expect(world, ACTION_POWER);
    struct event event = {.type = EVENT_POWER_RESULT,
                          .op = asked->op,
                          .adapter = asked->adapter,
                          .asked.on = true,
                          .result.status = status};

    world_clear(world);
    world_event(world, &event);
}

static struct world *begin_off(bool power_on)
{
    struct world *world = world_new(1);
    struct event up = {.type = EVENT_BLUEZ_UP};

    world->settings.bluetooth.power_on = power_on;
    world_start(world);
    world_adapter(world, ADAPTER_1, false);
    world_event(world, &up);
    return world;
}

static void adapter_is_switched_on_at_the_start_if_the_file_allows(void **state)
{
    struct world *world = begin_off(false);

    world_advance(world, 600000);
    assert_null(world_find(world, ACTION_POWER, NULL));
    assert_string_equal(world->gateway->peers[0]->why, "adapter hci0 is switched off");
    world_free(world);
    world = begin_off(true);
    assert_true(world_expect(world, ACTION_POWER)->power.on);
    world_free(world);
}

static void who_switches_it_off_later_means_it(void **state)
{
    struct world *world = begin();

    world_clear(world);
    world_adapter(world, ADAPTER_1, false);
    assert_non_null(strstr(world_published(world, "g/bridge/gw/event"), "\"adapter_off\""));
    world_advance(world, 600000);
    assert_null(world_find(world, ACTION_POWER, NULL));
    assert_string_equal(world->gateway->peers[0]->why, "adapter hci0 is switched off");
    world_clear(world);
    world_adapter(world, ADAPTER_1, true);
    world_expect(world, ACTION_SCAN_START);
    world_free(world);
}

static void blocked_adapter_is_told_and_polled_slowly(void **state)
{
    struct world *world = begin_off(true);

    answer_power(world, BT_STATUS_BLOCKED);
    assert_null(world_find(world, ACTION_POWER, NULL));
    assert_int_equal(world->gateway->peers[0]->reason, REASON_RFKILL);
    assert_string_equal(world->gateway->peers[0]->why,
                        "adapter hci0 is blocked by rfkill (try: rfkill unblock bluetooth)");
    for (int i = 0; i < 10; i++) {
        world_clear(world);
        world_advance(world, POWER_BLOCKED_MS - 1000);
        assert_null(world_find(world, ACTION_POWER, NULL));
        world_advance(world, 1000);
        answer_power(world, BT_STATUS_BLOCKED);
    }
    world_free(world);
}

static void tell_blocked(struct world *world, bool blocked)
{
    struct event event = {.type = EVENT_ADAPTER,
                          .adapter_info = {.adapter = ADAPTER_1,
                                           .name = "hci0",
                                           .address = {{0, 0x1a, 0x7d, 0, 0, 1}},
                                           .blocked = blocked}};

    world_event(world, &event);
}

static void adapter_that_bluez_says_is_blocked_is_on_as_soon_as_it_is_not(void **state)
{
    struct world *world = begin_off(true);

    tell_blocked(world, true);
    assert_int_equal(world->gateway->peers[0]->reason, REASON_RFKILL);
    world_clear(world);
    world_advance(world, 600000);
    assert_null(world_find(world, ACTION_POWER, NULL));
    tell_blocked(world, false);
    assert_true(world_expect(world, ACTION_POWER)->power.on);
    world_free(world);
}

static uint32_t used_of(const struct world *world)
{
    uint32_t used = 0;

    for (size_t i = 0; i < MAX_ADAPTERS; i++)
        if (world->gateway->adapters[i].used)
            used = used * 10 + world->gateway->adapters[i].id;
    return used;
}

static void auto_is_the_one_in_use_else_one_that_is_on_else_the_first(void **state)
{
    struct world *world = begin_off(false);

    world_adapter(world, 3, false);
    world_adapter(world, 2, false);
    assert_int_equal(used_of(world), 1);
    world_adapter(world, 3, true);
    assert_int_equal(used_of(world), 3);
    world_adapter(world, 2, true);
    assert_int_equal(used_of(world), 3);
    world_adapter_gone(world, 3);
    assert_int_equal(used_of(world), 2);
    world_free(world);
}

/* Who is linked there already, by somebody else, does not advertise, and was told of before. */
static void auto_asks_who_is_linked_where_it_goes(void **state)
{
    struct world *world = world_new(1);
    struct event linked = {.type = EVENT_DEVICE,
                           .device_info = {.adapter = ADAPTER_2,
                                           .device = 7,
                                           .address = {{0xc0, 0, 0, 0, 0, 7}},
                                           .name = "Meter 1",
                                           .connected = true,
                                           .rssi = RSSI_UNKNOWN}};

    world->settings.devices[0].match = (struct match_settings){.name = strdup("Meter*")};
    world_start(world);
    world_bluez_up(world);
    world_adapter(world, ADAPTER_2, true);
    world_event(world, &linked);
    world_clear(world);
    world_adapter_gone(world, ADAPTER_1);
    assert_int_equal(used_of(world), ADAPTER_2);
    world_expect(world, ACTION_TELL_DEVICES);
    world_event(world, &linked);
    assert_int_equal(world_expect(world, ACTION_RESOLVE)->device, 7);
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scan_that_could_not_be_stopped_is_stopped_later),
        cmocka_unit_test(scan_that_goes_on_and_off_is_no_news_for_the_broker),
        cmocka_unit_test(passive_scan_goes_on_while_a_peer_is_connected),
        cmocka_unit_test(scan_is_active_where_bluez_has_no_passive_one),
        cmocka_unit_test(adapter_is_switched_on_at_the_start_if_the_file_allows),
        cmocka_unit_test(who_switches_it_off_later_means_it),
        cmocka_unit_test(blocked_adapter_is_told_and_polled_slowly),
        cmocka_unit_test(adapter_that_bluez_says_is_blocked_is_on_as_soon_as_it_is_not),
        cmocka_unit_test(auto_is_the_one_in_use_else_one_that_is_on_else_the_first),
        cmocka_unit_test(auto_asks_who_is_linked_where_it_goes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
