/* clear_cache and unpair: BlueZ forgets a peer, and it is found anew. */
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

static struct world *begin(void)
{
    struct world *world = world_new(1);

    world->settings.commands.allow = UINT32_MAX;
    world_start(world);
    world_broker_up(world);
    world_bluez_up(world);
    return world;
}

static struct world *begin_online(void)
{
    struct world *world = begin();

    world_online(world, 0);
    world_clear(world);
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

static void set_bonded(struct world *world, bool bonded)
{
    struct event event = {.type = EVENT_DEVICE,
                          .adapter = ADAPTER_1,
                          .device = D0,
                          .device_info = {.adapter = ADAPTER_1,
                                          .device = D0,
                                          .address = {{0xc0}},
                                          .rssi = RSSI_UNKNOWN,
                                          .connected = peer_of(world)->link_up,
                                          .bonded = bonded}};

    world_event(world, &event);
}

static void gone(struct world *world)
{
    struct event event = {.type = EVENT_DEVICE_GONE, .adapter = ADAPTER_1, .device = D0};

    world_event(world, &event);
}

static void removed(struct world *world, enum bt_status status)
{
    const struct action *action = world_expect(world, ACTION_REMOVE_DEVICE);
    struct event event = {.type = EVENT_REMOVE_RESULT,
                          .op = action->op,
                          .adapter = action->adapter,
                          .device = action->device,
                          .result = {.status = status}};

    world_event(world, &event);
}

static void go_down(struct world *world)
{
    world_answer(world, world_expect(world, ACTION_DISCONNECT), BT_STATUS_OK);
    world_link(world, D0, false);
}

static void the_cache_is_cleared_without_the_link_and_all_is_found_anew(void **state)
{
    struct world *world = begin_online();

    ask(world, "clear_cache", "");
    assert_int_equal(world_count(world, ACTION_DISCONNECT), 1);
    assert_int_equal(world_count(world, ACTION_REMOVE_DEVICE), 0); /* not under the link */
    go_down(world);
    assert_int_equal(world_expect(world, ACTION_REMOVE_DEVICE)->device, D0);
    assert_int_equal(world_count(world, ACTION_CONNECT), 0); /* nobody connects to what goes */
    assert_int_equal(count(world, "clear_cache"), 0);
    gone(world);
    removed(world, BT_STATUS_OK);
    expect(world, "clear_cache", "\"status\":\"ok\",\"data\":{\"cleared\":true}");
    world_online(world, 0); /* heard anew */
    assert_int_equal(peer_of(world)->state, PEER_STATE_ONLINE);
    world_free(world);
}

static void without_a_link_it_is_cleared_at_once(void **state)
{
    struct world *world = begin();

    world->gateway->settings->bluetooth.connections = 0;
    world_hear(world, 0, D0);
    assert_int_equal(peer_of(world)->state, PEER_STATE_READY);
    ask(world, "clear_cache", "");
    removed(world, BT_STATUS_GONE); /* what has gone by itself is gone */
    expect(world, "clear_cache", "\"data\":{\"cleared\":true}");
    world_free(world);
}

static void at_every_adapter(void **state)
{
    struct world *world = world_new(1);
    struct adapter_selector adapters[] = {{.name = (char *)"hci0"}, {.name = (char *)"hci1"}};

    world->settings.commands.allow = UINT32_MAX;
    world->settings.bluetooth.adapters = adapters;
    world->settings.bluetooth.n_adapters = 2;
    world->settings.bluetooth.connections = 0;
    world_start(world);
    world_broker_up(world);
    world_bluez_up(world);
    world_adapter(world, ADAPTER_2, true);
    world_hear_at(world, ADAPTER_1, 0, 100, -50);
    world_hear_at(world, ADAPTER_2, 0, 200, -50);
    ask(world, "clear_cache", "");
    assert_int_equal(world_count(world, ACTION_REMOVE_DEVICE), 2);
    const struct action *second =
        world_find(world, ACTION_REMOVE_DEVICE, world_expect(world, ACTION_REMOVE_DEVICE));
    struct event event = {.type = EVENT_REMOVE_RESULT, .op = second->op};
    world_event(world, &event);
    assert_int_equal(count(world, "clear_cache"), 0);
    removed(world, BT_STATUS_OK);
    expect(world, "clear_cache", "\"status\":\"ok\"");
    world->settings.bluetooth.n_adapters = 0;
    world->settings.bluetooth.adapters = NULL;
    world_free(world);
}

static void a_bond_is_removed_by_unpair_only(void **state)
{
    struct world *world = begin_online();

    set_bonded(world, true);
    ask(world, "clear_cache", "");
    expect(world, "clear_cache", "\"code\":\"not_supported\"");
    assert_int_equal(world_count(world, ACTION_DISCONNECT), 0);
    ask(world, "unpair", "");
    go_down(world);
    gone(world);
    removed(world, BT_STATUS_OK);
    expect(world, "unpair", "\"status\":\"ok\",\"data\":{\"paired\":false}");
    world_free(world);
}

static void a_bond_that_is_made_meanwhile_stays(void **state)
{
    struct world *world = begin_online();

    ask(world, "clear_cache", "");
    set_bonded(world, true);
    go_down(world);
    expect(world, "clear_cache", "\"code\":\"not_supported\"");
    assert_int_equal(world_count(world, ACTION_REMOVE_DEVICE), 0);
    world_free(world);
}

static void who_is_not_bonded_is_unpaired_already(void **state)
{
    struct world *world = begin_online();

    ask(world, "unpair", "");
    expect(world, "unpair", "\"status\":\"ok\",\"data\":{\"paired\":false}");
    assert_int_equal(world_count(world, ACTION_DISCONNECT), 0);
    assert_int_equal(world_count(world, ACTION_REMOVE_DEVICE), 0);
    world_free(world);
}

static void who_refused_us_for_a_lost_bond_is_tried_again_at_once(void **state)
{
    struct world *world = begin();

    world_hear(world, 0, D0);
    set_bonded(world, true);
    world_answer(world, world_expect(world, ACTION_CONNECT), BT_STATUS_AUTH_FAILED);
    assert_int_equal(peer_of(world)->state, PEER_STATE_BACKOFF);
    world_clear(world);
    ask(world, "unpair", "");
    removed(world, BT_STATUS_OK);
    gone(world);
    world_clear(world);
    world_hear(world, 0, 101);
    assert_int_equal(world_count(world, ACTION_CONNECT), 1);
    world_free(world);
}

static void a_paused_device_can_be_unpaired(void **state)
{
    struct world *world = begin_online();

    set_bonded(world, true);
    ask(world, "pause", "");
    go_down(world);
    world_clear(world);
    ask(world, "unpair", "");
    removed(world, BT_STATUS_OK);
    expect(world, "unpair", "\"status\":\"ok\"");
    assert_int_equal(peer_of(world)->state, PEER_STATE_DISABLED);
    world_free(world);
}

static void what_cannot_be_forgotten_says_why(void **state)
{
    struct world *world = begin();

    ask(world, "clear_cache", "");
    expect(world, "clear_cache", "\"code\":\"not_connected\"");
    expect(world, "clear_cache", "has not been heard");
    world_adapter(world, ADAPTER_1, false);
    world_clear(world);
    ask(world, "clear_cache", "");
    expect(world, "clear_cache", "\"code\":\"adapter_off\"");
    ask(world, "unpair", "");
    expect(world, "unpair", "\"code\":\"adapter_off\""); /* who knows? */
    world_free(world);
}

static void bluez_may_refuse(void **state)
{
    struct world *world = begin_online();

    ask(world, "clear_cache", "");
    go_down(world);
    removed(world, BT_STATUS_NOT_READY);
    expect(world, "clear_cache", "\"code\":\"adapter_off\"");
    world_online(world, 0);
    world_free(world);
}

static void there_is_one_at_a_time_and_a_limit(void **state)
{
    struct world *world = begin_online();

    ask(world, "clear_cache", ",\"timeout\":\"3s\"");
    ask(world, "unpair", "");
    set_bonded(world, true);
    ask(world, "unpair", "");
    assert_int_equal(count(world, "unpair"), 2);
    assert_non_null(strstr(world_published(world, RESPONSE "unpair"), "in_progress"));
    world_advance(world, 2999);
    assert_int_equal(count(world, "clear_cache"), 0);
    world_advance(world, 1);
    expect(world, "clear_cache", "\"code\":\"timeout\"");
    go_down(world); /* too late */
    assert_int_equal(world_count(world, ACTION_REMOVE_DEVICE), 0);
    world_free(world);
}

static void what_ends_it_answers_it(void **state)
{
    struct event down = {.type = EVENT_BLUEZ_DOWN, .bluez_down.reason = "no_bluez"};
    struct event stop = {.type = EVENT_STOP};
    struct world *world = begin_online();

    ask(world, "clear_cache", "");
    world_event(world, &down);
    expect(world, "clear_cache", "\"code\":\"adapter_off\"");
    world_bluez_up(world);
    world_online(world, 0);
    world_clear(world);
    ask(world, "clear_cache", "");
    world_event(world, &stop);
    expect(world, "clear_cache", "\"code\":\"cancelled\"");
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_cache_is_cleared_without_the_link_and_all_is_found_anew),
        cmocka_unit_test(without_a_link_it_is_cleared_at_once),
        cmocka_unit_test(at_every_adapter),
        cmocka_unit_test(a_bond_is_removed_by_unpair_only),
        cmocka_unit_test(a_bond_that_is_made_meanwhile_stays),
        cmocka_unit_test(who_is_not_bonded_is_unpaired_already),
        cmocka_unit_test(who_refused_us_for_a_lost_bond_is_tried_again_at_once),
        cmocka_unit_test(a_paused_device_can_be_unpaired),
        cmocka_unit_test(what_cannot_be_forgotten_says_why),
        cmocka_unit_test(bluez_may_refuse),
        cmocka_unit_test(there_is_one_at_a_time_and_a_limit),
        cmocka_unit_test(what_ends_it_answers_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
