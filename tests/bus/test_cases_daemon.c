/* bluetoothd, the bus and adapters that go and come back: cases 9 to 14, 16, 17 and 25 of
 * tests/bus/README.md. */
#include "bus/helper_house.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#define LAMP    "peripherals:\n" HOUSE_LAMP("")
#define DEVICES "devices:\n" HOUSE_DEVICE_LAMP
#define ADAPTER "00:1A:7D:00:00:01"

static const char world[] = HOUSE_TIMING("") LAMP;

static struct house *open_online(void)
{
    struct house *house = house_new(world, DEVICES);

    house_start(house);
    house_until_online(house, "lamp");
    return house;
}

static void assert_works(struct house *house)
{
    unsigned before = house_count(house, "lamp/stream"), first = 0;

    assert_int_equal(sscanf(house_control(house, "notify lamp stream 10 1000"), "first=%u", &first),
                     1);
    house_assert_burst(house, "lamp/stream", before, first, first + 9);
}

/* Lets minutes pass for the gateway, while the simulator gets a moment each. */
static void pass_minutes(struct house *house, unsigned minutes)
{
    for (unsigned s = 0; s < minutes * 60; s += 5) {
        house_run(house, 2);
        house_skip(house, 5000);
    }
}

static void case_09_a_write_that_bluetoothd_took_along_is_answered_once(void **state)
{
    struct house *house = open_online();

    house_control(house, "slow lamp 20000");
    house_send(house, "lamp/level/set", "7");
    house_until_calls(house, "WriteValue", 1);
    house_settle(house);
    assert_int_equal(house_count(house, "lamp/level/result"), 0);
    sim_bluez_die(house->sim);
    house_until(house, "lamp/level/result", "\"code\":\"not_connected\"");
    house_settle(house);
    house_assert_link(house, "lamp", "\"reason\":\"no_bluez\"");
    assert_false(house_is_online(house, "lamp"));
    house_control(house, "slow lamp 0");
    assert_int_equal(sim_bluez_start(house->sim), 0);
    house_until_online(house, "lamp");
    assert_works(house);
    assert_int_equal(house_count(house, "lamp/level/result"), 1);
    assert_string_equal(house_control(house, "writes lamp level"), ""); /* nothing is replayed */
    house_free(house);
}

static void case_10_a_bus_that_was_restarted_is_connected_to_again(void **state)
{
    struct house *house = house_new_on_socket(world, DEVICES);

    house_start(house);
    house_until_online(house, "lamp");
    unsigned descriptors = house_descriptors();
    for (int i = 0; i < 3; i++) {
        house_control(house, "slow lamp 20000");
        house_send(house, "lamp/level/set", "7");
        house_until_calls(house, "WriteValue", (unsigned)i + 1);
        house_bus_dies(house);
        house_until(house, "lamp/level/result", "\"code\":\"not_connected\"");
        house_settle(house);
        house_assert_link(house, "lamp", "\"reason\":\"no_bus\"");
        assert_false(house_is_online(house, "lamp"));
        house_run(house, 300); /* it tries, and there is nobody */
        house->world->peripherals[0].slow_us = 0;
        house_bus_starts(house);
        house_until_online(house, "lamp");
        assert_works(house);
        assert_int_equal(house_count(house, "lamp/level/result"), i + 1);
        assert_int_equal(house_descriptors(), descriptors);
    }
    house_free(house);
}

static void case_11_an_adapter_that_was_pulled_is_known_again_by_its_address(void **state)
{
    struct house *house =
        house_new(HOUSE_TIMING("") "adapters: { hci0: { address: '" ADAPTER "' } }\n" LAMP,
                  "bluetooth: { adapters: ['" ADAPTER "'] }\n" DEVICES);

    house_start(house);
    house_until_online(house, "lamp");
    house_assert_link(house, "lamp", "\"adapter\":\"hci0\"");
    house_control(house, "adapter hci0 pull"); /* and no word about the link */
    house_until_reason(house, "lamp", "no_adapter");
    assert_false(house_is_online(house, "lamp"));
    house_control(house, "adapter hci0 add hci2");
    house_until_online(house, "lamp");
    house_assert_link(house, "lamp", "\"adapter\":\"hci2\"");
    assert_works(house);
    house_free(house);
}

static void case_12_hci10_is_not_touched_when_hci1_goes(void **state)
{
    struct house *house = house_new(HOUSE_TIMING("") "adapters:\n"
                                                     "  hci1: { address: '00:1A:7D:00:00:02' }\n"
                                                     "  hci10: { address: '" ADAPTER "' }\n" LAMP,
                                    "bluetooth: { adapters: [hci10] }\n" DEVICES);

    house_start(house);
    house_until_online(house, "lamp");
    house_assert_link(house, "lamp", "\"adapter\":\"hci10\"");
    house_control(house, "notify lamp stream 200 2000"); /* 100 ms */
    house_run(house, 20);
    house_control(house, "adapter hci1 remove");
    house_assert_burst(house, "lamp/stream", 0, 1, 200);
    house_run(house, 50);
    house_assert_link(house, "lamp", "\"state\":\"online\"");
    assert_int_equal(house_calls(house, "Connect"), 1);
    assert_int_equal(house_calls(house, "StartNotify"), 1);
    house_control(house, "adapter hci1 add");
    house_run(house, 50);
    house_control(house, "adapter hci1 pull");
    assert_works(house);
    assert_int_equal(house_calls(house, "Connect"), 1);
    house_free(house);
}

static void case_13_an_adapter_that_is_off_is_left_in_peace_and_scans_anew_when_on(void **state)
{
    struct house *house = house_new(HOUSE_TIMING("") LAMP HOUSE_METER("    present: false\n"),
                                    DEVICES HOUSE_DEVICE_METER);

    house_start(house);
    house_until_online(house, "lamp"); /* and the meter is looked for */
    house_run(house, 50);
    house_control(house, "adapter hci0 off");
    house_until_reason(house, "lamp", "adapter_off");
    house_assert_link(house, "meter", "\"reason\":\"adapter_off\"");
    house_forget_calls(house);
    pass_minutes(house, 10);
    assert_in_range(house->n_calls, 0, 2); /* whoever switched it off meant it */
    house_forget_calls(house);
    house_control(house, "adapter hci0 on");
    house_until_online(house, "lamp");
    assert_in_range(house_calls(house, "SetDiscoveryFilter"), 1, 2);
    assert_int_equal(house_calls(house, "SetDiscoveryFilter"),
                     house_calls(house, "StartDiscovery"));
    assert_works(house);
    house_control(house, "appear meter");
    house_until_online(house, "meter");
    house_free(house);
}

static void case_14_an_adapter_that_rfkill_blocks_is_said_and_asked_slowly(void **state)
{
    struct house *house =
        house_new(HOUSE_TIMING("") "adapters: { hci0: { address: '" ADAPTER
                                   "', powered: false, faults: [rfkill] } }\n" LAMP,
                  DEVICES);

    house_start(house);
    house_until_reason(house, "lamp", "rfkill");
    house_assert_link(house, "lamp", "rfkill unblock bluetooth");
    house_forget_calls(house);
    pass_minutes(house, 10);
    assert_in_range(house_calls(house, "Set"), 5, 61); /* at most every 10 s */
    assert_int_equal(house->n_calls, house_calls(house, "Set"));
    house_assert_link(house, "lamp", "\"reason\":\"rfkill\"");
    house_control(house, "fault hci0 rfkill off");
    house_until_online(house, "lamp");
    assert_works(house);
    house_free(house);
}

static void case_16_a_scan_that_never_starts_is_said_and_tried_slowly(void **state)
{
    struct house *house = house_new(HOUSE_TIMING("") "adapters: { hci0: { address: '" ADAPTER
                                                     "', faults: [scan_busy] } }\n" LAMP,
                                    DEVICES);

    house_start(house);
    house_until_reason(house, "lamp", "scan_failed");
    house_assert_link(house, "lamp", "hci0 cannot scan");
    pass_minutes(house, 10);
    assert_in_range(house_calls(house, "StartDiscovery"), 5, 60);
    assert_in_range(house_calls(house, "StopDiscovery"), 1, 60); /* it may be a session left over */
    house_control(house, "fault hci0 scan_busy off");
    house_skip_until_link(house, "lamp", "\"state\":\"online\"", 5000);
    assert_works(house);
    house_free(house);
}

static void case_17_a_bluez_that_knows_few_filter_keys_is_scanned_with(void **state)
{
    struct house *house = house_new("bluez: \"5.50\"\n" HOUSE_TIMING("") LAMP, DEVICES);

    house_start(house);
    house_until_online(house, "lamp");
    assert_works(house);
    house_free(house);
}

static void case_17_a_bluez_that_takes_no_filter_is_scanned_without(void **state)
{
    struct house *house = house_new(HOUSE_TIMING("") "adapters: { hci0: { address: '" ADAPTER
                                                     "', faults: [filter_refused] } }\n" LAMP,
                                    DEVICES);

    house_start(house);
    house_until_online(house, "lamp");
    assert_works(house);
    house_free(house);
}

static void case_25_a_link_that_is_there_at_the_start_is_taken(void **state)
{
    struct house *house = house_new(world, DEVICES);

    house_control(house, "connect lamp");
    house_until_control(house, "state lamp", "connected hci0");
    house_run(house, 50); /* and resolved */
    house_start(house);
    house_until_online(house, "lamp");
    assert_works(house);
    assert_int_equal(house_calls(house, "Connect"), 0);
    assert_int_equal(house_calls(house, "Disconnect"), 0);
    house_free(house);
}

static void case_25_a_link_of_a_run_that_crashed_is_taken(void **state)
{
    struct house *house = open_online();

    house_forget_calls(house);
    house_restart_gateway(house);
    house_until_online(house, "lamp");
    assert_works(house);
    assert_int_equal(house_calls(house, "Connect"), 0);
    assert_int_equal(house_calls(house, "Disconnect"), 0);
    assert_int_equal(house_calls(house, "StartNotify"), 1);
    house_free(house);
}

static void case_25_a_peer_that_lost_its_bond_is_said_and_asked_slowly(void **state)
{
    struct house *house = house_new(
        HOUSE_TIMING("") "peripherals:\n" HOUSE_LAMP("    faults: [connect_auth]\n"), DEVICES);

    house_start(house);
    house_until_reason(house, "lamp", "auth_failed");
    house_assert_link(house, "lamp", "without pairing");
    pass_minutes(house, 60);
    assert_in_range(house_calls(house, "Connect"), 8, 20); /* up to 5 minutes between them */
    assert_int_equal(house_calls(house, "RemoveDevice"), 0);
    house_control(house, "fault lamp connect_auth off");
    house_skip_until_link(house, "lamp", "\"state\":\"online\"", 60000);
    assert_works(house);
    house_free(house);
}

static void case_25_a_crash_during_start_notify_is_survived(void **state)
{
    struct house *house = house_new(world, DEVICES);

    house_start(house);
    for (unsigned i = 1; i <= 3; i++) {
        house_control(house, "slow lamp 200");
        house_until_calls(house, "StartNotify", i);
        house_control(house, "drop lamp");
        if (i == 2)
            house_settle(house); /* it hears of the lost link before the crash, or with it */
        sim_bluez_die(house->sim);
        house_until_reason(house, "lamp", "no_bluez");
        assert_int_equal(sim_bluez_start(house->sim), 0);
    }
    house_control(house, "slow lamp 0");
    house_until_online(house, "lamp");
    assert_works(house);
    house_free(house);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(case_09_a_write_that_bluetoothd_took_along_is_answered_once),
        cmocka_unit_test(case_10_a_bus_that_was_restarted_is_connected_to_again),
        cmocka_unit_test(case_11_an_adapter_that_was_pulled_is_known_again_by_its_address),
        cmocka_unit_test(case_12_hci10_is_not_touched_when_hci1_goes),
        cmocka_unit_test(case_13_an_adapter_that_is_off_is_left_in_peace_and_scans_anew_when_on),
        cmocka_unit_test(case_14_an_adapter_that_rfkill_blocks_is_said_and_asked_slowly),
        cmocka_unit_test(case_16_a_scan_that_never_starts_is_said_and_tried_slowly),
        cmocka_unit_test(case_17_a_bluez_that_knows_few_filter_keys_is_scanned_with),
        cmocka_unit_test(case_17_a_bluez_that_takes_no_filter_is_scanned_without),
        cmocka_unit_test(case_25_a_link_that_is_there_at_the_start_is_taken),
        cmocka_unit_test(case_25_a_link_of_a_run_that_crashed_is_taken),
        cmocka_unit_test(case_25_a_peer_that_lost_its_bond_is_said_and_asked_slowly),
        cmocka_unit_test(case_25_a_crash_during_start_notify_is_survived),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
