/* By which adapter a peer is connected, when there are several. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "helper_world.h"

/* both adapters of the list are there, and nothing was heard yet */
static struct world *begin(size_t n_devices)
{
    struct world *world = world_new(n_devices);

    world->settings.bluetooth.adapters = calloc(2, sizeof(struct adapter_selector));
    world->settings.bluetooth.n_adapters = 2;
    world->settings.bluetooth.adapters[0].name = strdup("hci0");
    world->settings.bluetooth.adapters[1].address =
        (struct bt_address){{0, 0x1a, 0x7d, 0, 0, ADAPTER_2}};
    return world;
}

static void two_adapters(struct world *world)
{
    world_start(world);
    world_adapter(world, ADAPTER_2, true);
    world_bluez_up(world);
    world_broker_up(world);
}

static struct world *end(struct world *world)
{
    free(world->settings.bluetooth.adapters[0].name);
    free(world->settings.bluetooth.adapters);
    return world_free(world);
}

static void own_adapter(struct world *world, size_t peer, const char *name)
{
    struct adapter_selector *own = calloc(1, sizeof(*own));

    own->name = strdup(name);
    world->settings.devices[peer].adapter = own;
}

static const char *why(const struct world *world, size_t peer)
{
    return world->gateway->peers[peer]->why;
}

static void assert_connects(struct world *world, uint32_t adapter, uint32_t device)
{
    const struct action *connect = world_expect(world, ACTION_CONNECT);

    assert_int_equal(connect->adapter, adapter);
    assert_int_equal(connect->device, device);
}

/* d0 waits until it is asked for: so that both adapters hear it before one is taken */
static struct world *begin_on_demand(void)
{
    struct world *world = begin(1);

    world->settings.devices[0].connection =
        (struct connection_settings){.mode = CONNECTION_MODE_ON_DEMAND, .linger_ms = 1000};
    two_adapters(world);
    return world;
}

static uint32_t adapter_when_asked(struct world *world, int16_t rssi_1, int16_t rssi_2)
{
    world_clear(world);
    world_hear_at(world, ADAPTER_1, 0, 10, rssi_1);
    world_hear_at(world, ADAPTER_2, 0, 20, rssi_2);
    assert_null(world_find(world, ACTION_CONNECT, NULL));
    world_message(world, "g/d0/lamp/get", "", false);
    return world_expect(world, ACTION_CONNECT)->adapter;
}

static void all_adapters_of_the_list_scan_at_once(void **state)
{
    struct world *world = begin(1);

    world_start(world);
    world_adapter(world, ADAPTER_1, true);
    world_adapter(world, ADAPTER_2, true);
    world_adapter(world, 3, true); /* not listed */
    struct event up = {.type = EVENT_BLUEZ_UP};
    world_event(world, &up);
    assert_int_equal(world_count(world, ACTION_SCAN_START), 2);
    const struct action *first = world_expect(world, ACTION_SCAN_START);
    const struct action *second = world_find(world, ACTION_SCAN_START, first);
    assert_int_equal(first->adapter + second->adapter, ADAPTER_1 + ADAPTER_2);
    end(world);
}

static void each_adapter_has_a_connector_of_its_own(void **state)
{
    struct world *world = begin(4);

    two_adapters(world);
    world_clear(world);
    world_hear_at(world, ADAPTER_1, 1, 11, -40);
    world_hear_at(world, ADAPTER_2, 2, 22, -40);
    assert_int_equal(world_count(world, ACTION_CONNECT), 2);
    world_hear_at(world, ADAPTER_1, 0, 10, -50);
    world_hear_at(world, ADAPTER_2, 3, 23, -50);
    assert_int_equal(world_count(world, ACTION_CONNECT), 2); /* one at a time on each */
    end(world);
}

static void peer_goes_to_the_adapter_that_hears_it_best(void **state)
{
    struct world *world = begin_on_demand();

    assert_int_equal(adapter_when_asked(world, -72, -71), ADAPTER_2);
    end(world);
    world = begin_on_demand();
    assert_int_equal(adapter_when_asked(world, -71, -72), ADAPTER_1);
    end(world);
}

static void peer_does_not_wait_for_a_busy_adapter_that_hears_it_a_little_better(void **state)
{
    struct world *world = begin(3);

    two_adapters(world);
    world_hear_at(world, ADAPTER_2, 2, 22, -40);
    world_hear_at(world, ADAPTER_2, 0, 20, -70);
    world_clear(world);
    world_hear_at(world, ADAPTER_1, 0, 10, -75);
    assert_connects(world, ADAPTER_1, 10);
    end(world);
}

static void peer_waits_for_a_busy_adapter_that_hears_it_much_better(void **state)
{
    struct world *world = begin(3);

    two_adapters(world);
    world_hear_at(world, ADAPTER_2, 2, 22, -40);
    const struct action connect = *world_expect(world, ACTION_CONNECT);
    world_hear_at(world, ADAPTER_2, 0, 20, -50);
    world_clear(world);
    world_hear_at(world, ADAPTER_1, 0, 10, -90);
    assert_null(world_find(world, ACTION_CONNECT, NULL));
    assert_string_equal(why(world, 0), "heard; waits for its turn to connect");
    world_answer(world, &connect, BT_STATUS_FAILED);
    assert_connects(world, ADAPTER_2, 20);
    end(world);
}

/* online by the first adapter, then wanted again */
static void peer_that_waits_for_a_busy_adapter_takes_another_when_that_forgets_it(void **state)
{
    struct world *world = begin(2);
    struct event gone = {.type = EVENT_DEVICE_GONE, .adapter = ADAPTER_1, .device = 10};

    world->settings.devices[0].connection =
        (struct connection_settings){.mode = CONNECTION_MODE_ON_DEMAND, .linger_ms = 1000};
    two_adapters(world);
    world_hear_at(world, ADAPTER_1, 1, 11, -40);
    world_hear_at(world, ADAPTER_1, 0, 10, -40);
    world_hear_at(world, ADAPTER_2, 0, 20, -80);
    world_clear(world);
    world_message(world, "g/d0/lamp/get", "", false);
    assert_null(world_find(world, ACTION_CONNECT, NULL)); /* worth waiting for */
    world_event(world, &gone);
    assert_connects(world, ADAPTER_2, 20);
    end(world);
}

static uint32_t adapter_of_the_next_contact(int16_t rssi_1, int16_t rssi_2)
{
    struct world *world = begin_on_demand();

    assert_int_equal(adapter_when_asked(world, -70, -90), ADAPTER_1);
    world_connected(world, 0);
    world_answer(world, world_expect(world, ACTION_READ), BT_STATUS_OK);
    world_advance(world, 2000);
    const struct action bye = *world_expect(world, ACTION_DISCONNECT);
    world_link_at(world, ADAPTER_1, 10, false);
    world_answer(world, &bye, BT_STATUS_OK);
    uint32_t adapter = adapter_when_asked(world, rssi_1, rssi_2);
    end(world);
    return adapter;
}

static void peer_leaves_an_adapter_only_for_one_that_is_5_db_better(void **state)
{
    assert_int_equal(adapter_of_the_next_contact(-70, -66), ADAPTER_1);
    assert_int_equal(adapter_of_the_next_contact(-70, -65), ADAPTER_2);
}

static void failures_at_one_adapter_lead_to_the_other(void **state)
{
    struct world *world = begin(1);

    two_adapters(world);
    world_clear(world);
    world_hear_at(world, ADAPTER_1, 0, 10, -60);
    const struct action connect = *world_expect(world, ACTION_CONNECT);
    world_hear_at(world, ADAPTER_2, 0, 20, -68);
    world_clear(world);
    world_answer(world, &connect, BT_STATUS_FAILED);
    world_advance(world, 1000);
    assert_connects(world, ADAPTER_2, 20);
    end(world);
}

static void full_adapter_is_never_taken_while_another_has_room(void **state)
{
    struct world *world = begin(3);

    world->settings.bluetooth.connections = 1;
    two_adapters(world);
    world_clear(world);
    world_hear_at(world, ADAPTER_1, 1, 11, -40);
    world_connected(world, 1);
    world_clear(world);
    world_hear_at(world, ADAPTER_1, 0, 10, -40);
    assert_null(world_find(world, ACTION_CONNECT, NULL));
    assert_string_equal(why(world, 0), "no free connection (1 of 1 in use)");
    world_hear_at(world, ADAPTER_2, 0, 20, -95);
    assert_connects(world, ADAPTER_2, 20);
    world_connected(world, 0);
    world_clear(world);
    world_hear_at(world, ADAPTER_1, 2, 12, -40);
    world_hear_at(world, ADAPTER_2, 2, 22, -40);
    assert_null(world_find(world, ACTION_CONNECT, NULL));
    assert_string_equal(why(world, 2), "no free connection (2 of 2 in use)");
    end(world);
}

static void peer_that_waits_is_connected_as_soon_as_another_adapter_hears_it(void **state)
{
    struct world *world = begin(2);
    struct event known = {
        .type = EVENT_DEVICE,
        .device_info = {
            .adapter = ADAPTER_2, .device = 20, .address = {{0xc0}}, .rssi = RSSI_UNKNOWN}};

    world->settings.bluetooth.connections = 1;
    two_adapters(world);
    world_clear(world);
    world_hear_at(world, ADAPTER_1, 1, 11, -40);
    world_connected(world, 1);
    world_hear_at(world, ADAPTER_1, 0, 10, -40);
    world_event(world, &known);
    world_clear(world);
    assert_int_equal(world->gateway->peers[0]->reason, REASON_NO_SLOT);
    world_hear_at(world, ADAPTER_2, 0, 20, -95);
    assert_connects(world, ADAPTER_2, 20);
    end(world);
}

static void device_is_connected_by_its_own_adapter_only(void **state)
{
    struct world *world = begin(1);

    own_adapter(world, 0, "hci1");
    two_adapters(world);
    world_clear(world);
    world_hear_at(world, ADAPTER_1, 0, 10, -40);
    world_link_at(world, ADAPTER_1, 10, true); /* somebody else's */
    assert_int_equal(world->gateway->peers[0]->state, PEER_STATE_ABSENT);
    assert_null(world_find(world, ACTION_RESOLVE, NULL));
    world_link_at(world, ADAPTER_1, 10, false);
    world_hear_at(world, ADAPTER_2, 0, 20, -90);
    assert_connects(world, ADAPTER_2, 20);
    end(world);
}

static void own_adapter_that_is_missing_is_named(void **state)
{
    struct world *world = begin(2);

    own_adapter(world, 0, "hci10");
    two_adapters(world); /* hci1 is not hci10 */
    assert_string_equal(why(world, 0), "its Bluetooth adapter hci10 is not there");
    assert_int_equal(world->gateway->peers[0]->reason, REASON_NO_ADAPTER);
    assert_int_equal(world->gateway->peers[1]->reason, REASON_NOT_HEARD);
    world_clear(world);
    world_adapter(world, 11, true);
    assert_int_equal(world->gateway->peers[0]->reason, REASON_NOT_HEARD);
    assert_int_equal(world_expect(world, ACTION_SCAN_START)->adapter, 11);
    end(world);
}

static void trouble_is_told_only_when_no_adapter_works(void **state)
{
    struct world *world = begin(1);

    two_adapters(world);
    world_adapter(world, ADAPTER_1, false);
    assert_int_equal(world->gateway->peers[0]->reason, REASON_NOT_HEARD);
    world_adapter(world, ADAPTER_2, false);
    assert_int_equal(world->gateway->peers[0]->reason, REASON_ADAPTER_OFF);
    assert_non_null(strstr(why(world, 0), "adapter hci0 is switched off"));
    assert_non_null(strstr(why(world, 0), "adapter hci1 is switched off"));
    world_adapter_gone(world, ADAPTER_2);
    assert_string_equal(why(world, 0), "adapter hci0 is switched off");
    world_adapter_gone(world, ADAPTER_1);
    assert_string_equal(why(world, 0), "no Bluetooth adapter that the configuration names");
    end(world);
}

static void peer_moves_when_its_adapter_is_unplugged(void **state)
{
    struct world *world = begin(1);

    two_adapters(world);
    world_clear(world);
    world_hear_at(world, ADAPTER_1, 0, 10, -60);
    world_connected(world, 0);
    world_advance(world, STABLE_MS + 1000);
    world_adapter_gone(world, ADAPTER_1);
    world_clear(world);
    world_hear_at(world, ADAPTER_2, 0, 20, -90);
    assert_connects(world, ADAPTER_2, 20);
    world_connected(world, 0);
    end(world);
}

static void adapter_named_by_address_comes_back_under_another_name(void **state)
{
    struct world *world = begin(1);
    struct event back = {.type = EVENT_ADAPTER,
                         .adapter_info = {.adapter = 7,
                                          .name = "hci5",
                                          .address = {{0, 0x1a, 0x7d, 0, 0, ADAPTER_2}},
                                          .powered = true}};

    own_adapter(world, 0, "hci1");
    free(world->settings.devices[0].adapter->name);
    world->settings.devices[0].adapter->name = NULL;
    world->settings.devices[0].adapter->address = back.adapter_info.address;
    two_adapters(world);
    world_clear(world);
    world_hear_at(world, ADAPTER_2, 0, 20, -60);
    world_connected(world, 0);
    world_adapter_gone(world, ADAPTER_2);
    assert_string_equal(why(world, 0), "its Bluetooth adapter 00:1A:7D:00:00:02 is not there");
    world_clear(world);
    world_event(world, &back);
    world_hear_at(world, 7, 0, 70, -60);
    world_advance(world, 2000);
    assert_connects(world, 7, 70);
    end(world);
}

static void blind_attempts_go_by_turns(void **state)
{
    struct world *world = begin(1);

    two_adapters(world);
    world_clear(world);
    /* known to both, heard by none */
    for (uint32_t adapter = ADAPTER_1; adapter <= ADAPTER_2; adapter++) {
        struct event known = {.type = EVENT_DEVICE,
                              .device_info = {.adapter = adapter,
                                              .device = 10 * adapter,
                                              .address = {{0xc0}},
                                              .rssi = RSSI_UNKNOWN}};
        world_event(world, &known);
    }
    const struct action first = *world_expect(world, ACTION_CONNECT);
    world_clear(world);
    world_answer(world, &first, BT_STATUS_FAILED);
    world_advance(world, BLIND_RETRY_MS + 1000);
    assert_int_equal(world_expect(world, ACTION_CONNECT)->adapter,
                     ADAPTER_1 + ADAPTER_2 - first.adapter);
    end(world);
}

static void blind_attempt_gives_way_when_another_adapter_hears_the_peer(void **state)
{
    struct world *world = begin(1);
    struct event known = {
        .type = EVENT_DEVICE,
        .device_info = {
            .adapter = ADAPTER_1, .device = 10, .address = {{0xc0}}, .rssi = RSSI_UNKNOWN}};

    two_adapters(world);
    world_clear(world);
    world_event(world, &known);
    assert_connects(world, ADAPTER_1, 10);
    world_hear_at(world, ADAPTER_2, 0, 20, -60);
    const struct action cancel = *world_expect(world, ACTION_DISCONNECT);
    assert_int_equal(cancel.device, 10);
    world_clear(world);
    world_answer(world, &cancel, BT_STATUS_OK);
    assert_connects(world, ADAPTER_2, 20);
    end(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_adapters_of_the_list_scan_at_once),
        cmocka_unit_test(each_adapter_has_a_connector_of_its_own),
        cmocka_unit_test(peer_goes_to_the_adapter_that_hears_it_best),
        cmocka_unit_test(peer_does_not_wait_for_a_busy_adapter_that_hears_it_a_little_better),
        cmocka_unit_test(peer_waits_for_a_busy_adapter_that_hears_it_much_better),
        cmocka_unit_test(peer_that_waits_for_a_busy_adapter_takes_another_when_that_forgets_it),
        cmocka_unit_test(peer_leaves_an_adapter_only_for_one_that_is_5_db_better),
        cmocka_unit_test(failures_at_one_adapter_lead_to_the_other),
        cmocka_unit_test(full_adapter_is_never_taken_while_another_has_room),
        cmocka_unit_test(peer_that_waits_is_connected_as_soon_as_another_adapter_hears_it),
        cmocka_unit_test(device_is_connected_by_its_own_adapter_only),
        cmocka_unit_test(own_adapter_that_is_missing_is_named),
        cmocka_unit_test(trouble_is_told_only_when_no_adapter_works),
        cmocka_unit_test(peer_moves_when_its_adapter_is_unplugged),
        cmocka_unit_test(adapter_named_by_address_comes_back_under_another_name),
        cmocka_unit_test(blind_attempts_go_by_turns),
        cmocka_unit_test(blind_attempt_gives_way_when_another_adapter_hears_the_peer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
