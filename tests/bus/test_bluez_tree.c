/* What the core hears of BlueZ's objects: the bootstrap, advertisements, comings and goings. */
#include "bus/helper_fake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

static int setup(void **state)
{
    *state = fake_new();
    return 0;
}

static int teardown(void **state)
{
    *state = fake_free(*state);
    return 0;
}

static void the_bootstrap_tells_adapters_devices_and_then_that_bluez_is_up(void **state)
{
    struct fake *fake = *state;

    fake->tree = fake_tree_connected;
    assert_int_equal(bluez_start(fake->bluez), 0);
    const struct adapter_info *adapter = &fake_expect(fake, EVENT_ADAPTER)->event.adapter_info;
    assert_string_equal(adapter->name, "hci0");
    assert_true(adapter->powered);
    assert_false(adapter->discovering);
    assert_int_equal(adapter->address.b[5], 0x55);
    const struct device_info *device = &fake_expect(fake, EVENT_DEVICE)->event.device_info;
    assert_int_equal(device->adapter, fake->adapter);
    assert_int_not_equal(device->device, 0);
    assert_string_equal(device->name, "LYWSD03MMC");
    assert_int_equal(device->address.b[0], 0xa4);
    assert_int_equal(device->address_type, BT_ADDRESS_RANDOM);
    assert_true(device->connected);
    assert_true(device->services_resolved);
    assert_false(device->heard); /* that RSSI may be old */
    fake_expect(fake, EVENT_BLUEZ_UP);
    fake_expect_none(fake);
}

static void all_objects_are_told_again_for_who_is_new_and_as_not_heard(void **state)
{
    struct fake *fake = *state;

    fake_start(fake);
    uint32_t device = fake->device;
    fake_execute(fake, (struct action){.type = ACTION_TELL_DEVICES});
    assert_null(fake->first); /* later, never from inside the action */
    const struct device_info *info = &fake_expect(fake, EVENT_DEVICE)->event.device_info;
    assert_int_equal(info->device, device);
    assert_string_equal(info->name, "LYWSD03MMC");
    assert_false(info->heard);
    fake_expect_none(fake);
}

static void a_signal_before_the_tree_is_dropped(void **state)
{
    struct fake *fake = *state;

    fake->tree = NULL; /* GetManagedObjects waits for the test */
    assert_int_equal(bluez_start(fake->bluez), 0);
    sd_bus_message *call = fake_call(fake, "GetManagedObjects"), *reply;
    fake_added(fake, "/org/bluez/hci7", ADAPTER, PROPERTIES(BOOL("Powered", 1)));
    fake_expect_none(fake);
    assert_true(sd_bus_message_new_method_return(call, &reply) >= 0);
    fake_tree_plain(fake, reply);
    fake_send(fake, reply);
    sd_bus_message_unref(call);
    fake_expect(fake, EVENT_ADAPTER);
    fake_expect(fake, EVENT_DEVICE);
    fake_expect(fake, EVENT_BLUEZ_UP);
    fake_expect_none(fake);
}

static void each_rssi_report_is_heard_even_if_it_is_equal(void **state)
{
    struct fake *fake = *state;

    fake_start(fake);
    for (int i = 0; i < 3; i++) {
        fake_changed(fake, DEV, DEVICE, PROPERTIES(INT16("RSSI", -71)), NULL);
        const struct seen *seen = fake_expect(fake, EVENT_DEVICE);
        assert_true(seen->event.device_info.heard);
        assert_int_equal(seen->event.device_info.rssi, -71);
    }
}

static void advertised_data_is_heard(void **state)
{
    struct fake *fake = *state;

    fake_start(fake);
    fake_changed(fake, DEV, DEVICE,
                 PROPERTIES({.key = "ManufacturerData",
                             .type = "a{qv}",
                             .number = 0x0499,
                             .bytes = "\x05\x00\x07",
                             .length = 3}),
                 NULL);
    const struct device_info *info = &fake_expect(fake, EVENT_DEVICE)->event.device_info;
    assert_true(info->heard);
    assert_int_equal(info->n_manufacturer, 1);
    assert_int_equal(info->manufacturer[0].company, 0x0499);
    assert_int_equal(info->manufacturer[0].length, 3);
    assert_memory_equal(info->manufacturer[0].data, "\x05\x00\x07", 3);
    fake_changed(fake, DEV, DEVICE,
                 PROPERTIES({.key = "ServiceData",
                             .type = "a{sv}",
                             .text = "0000fe95-0000-1000-8000-00805f9b34fb",
                             .bytes = "\x01\x02",
                             .length = 2}),
                 NULL);
    info = &fake_expect(fake, EVENT_DEVICE)->event.device_info;
    assert_true(info->heard);
    assert_int_equal(info->n_service_data, 1);
    assert_int_equal(info->n_manufacturer, 1); /* and the other is still known */
}

static void an_invalidated_rssi_is_unknown_and_not_heard(void **state)
{
    struct fake *fake = *state;

    fake_start(fake);
    fake_changed(fake, DEV, DEVICE, NULL, "RSSI");
    const struct device_info *info = &fake_expect(fake, EVENT_DEVICE)->event.device_info;
    assert_false(info->heard);
    assert_int_equal(info->rssi, RSSI_UNKNOWN);
}

static void what_bluez_invalidates_is_no_longer_known(void **state)
{
    struct fake *fake = *state;

    fake_start(fake);
    fake_changed(
        fake, DEV, DEVICE,
        PROPERTIES(
            LIST("UUIDs", "0000180d-0000-1000-8000-00805f9b34fb"),
            {.key = "ManufacturerData", .type = "a{qv}", .number = 1, .bytes = "x", .length = 1}),
        NULL);
    fake_expect(fake, EVENT_DEVICE);
    fake_changed(fake, DEV, DEVICE, NULL, "Name");
    assert_null(fake_expect(fake, EVENT_DEVICE)->event.device_info.name);
    fake_changed(fake, DEV, DEVICE, NULL, "ManufacturerData");
    assert_int_equal(fake_expect(fake, EVENT_DEVICE)->event.device_info.n_manufacturer, 0);
    fake_changed(fake, DEV, DEVICE, NULL, "UUIDs");
    const struct device_info *info = &fake_expect(fake, EVENT_DEVICE)->event.device_info;
    assert_int_equal(info->n_uuids, 0);
    assert_false(info->heard);
}

static void a_new_device_is_heard_only_if_it_comes_with_an_rssi(void **state)
{
    struct fake *fake = *state;

    fake_start(fake);
    fake_added(fake, HCI0 "/dev_01", DEVICE,
               PROPERTIES(TEXT("Address", "00:00:00:00:00:01"), INT16("RSSI", -50),
                          LIST("UUIDs", "0000180d-0000-1000-8000-00805f9b34fb nonsense")));
    const struct device_info *info = &fake_expect(fake, EVENT_DEVICE)->event.device_info;
    assert_true(info->heard);
    assert_int_equal(info->n_uuids, 1);
    assert_int_equal(bt_uuid_to_u16(&info->uuids[0]), 0x180d);
    fake_added(fake, HCI0 "/dev_02", DEVICE, PROPERTIES(TEXT("Address", "00:00:00:00:00:02")));
    assert_false(fake_expect(fake, EVENT_DEVICE)->event.device_info.heard);
}

static void bonding_may_change_the_address_under_the_same_path(void **state)
{
    struct fake *fake = *state;

    fake_start(fake);
    uint32_t device = fake->device;
    fake_changed(
        fake, DEV, DEVICE,
        PROPERTIES(TEXT("Address", "11:22:33:44:55:66"), BOOL("Paired", 1), BOOL("Bonded", 1)),
        NULL);
    const struct device_info *info = &fake_expect(fake, EVENT_DEVICE)->event.device_info;
    assert_int_equal(info->device, device);
    assert_int_equal(info->address.b[0], 0x11);
    assert_true(info->paired);
    assert_true(info->bonded);
}

static void a_device_that_disappears_while_connected_loses_its_link_first(void **state)
{
    struct fake *fake = *state;

    fake->tree = fake_tree_connected;
    fake_start(fake);
    fake_removed(fake, DEV, DEVICE);
    assert_false(fake_expect(fake, EVENT_LINK)->event.link.connected);
    assert_int_equal(fake_expect(fake, EVENT_DEVICE_GONE)->event.device, fake->device);
    fake_expect_none(fake);
}

static void removing_hci1_leaves_hci10(void **state)
{
    struct fake *fake = *state;

    fake_start(fake);
    fake_added(fake, "/org/bluez/hci1", ADAPTER, PROPERTIES(BOOL("Powered", 1)));
    uint32_t hci1 = fake_expect(fake, EVENT_ADAPTER)->event.adapter;
    fake_added(fake, "/org/bluez/hci10", ADAPTER, PROPERTIES(BOOL("Powered", 1)));
    uint32_t hci10 = fake_expect(fake, EVENT_ADAPTER)->event.adapter;
    fake_added(fake, "/org/bluez/hci1/dev_1", DEVICE, PROPERTIES(INT16("RSSI", -50)));
    uint32_t device1 = fake_expect(fake, EVENT_DEVICE)->event.device;
    fake_added(fake, "/org/bluez/hci10/dev_1", DEVICE, PROPERTIES(INT16("RSSI", -50)));
    assert_int_equal(fake_expect(fake, EVENT_DEVICE)->event.adapter, hci10);
    fake_removed(fake, "/org/bluez/hci1", ADAPTER);
    assert_int_equal(fake_expect(fake, EVENT_DEVICE_GONE)->event.device, device1);
    assert_int_equal(fake_expect(fake, EVENT_ADAPTER_GONE)->event.adapter, hci1);
    fake_changed(fake, "/org/bluez/hci10/dev_1", DEVICE, PROPERTIES(INT16("RSSI", -51)), NULL);
    fake_expect(fake, EVENT_DEVICE);
    fake_expect_none(fake);
}

static void a_restarted_bluetoothd_makes_everything_new(void **state)
{
    struct fake *fake = *state;

    fake_start(fake);
    uint32_t adapter = fake->adapter, device = fake->device;
    fake_execute(fake, fake_action(fake, ACTION_CONNECT));
    sd_bus_message *late = fake_call(fake, "Connect");
    fake_set_owner(fake, NULL);
    assert_string_equal(fake_expect(fake, EVENT_BLUEZ_DOWN)->event.bluez_down.reason, "no_bluez");
    assert_true(sd_bus_reply_method_return(late, NULL) >= 0);
    sd_bus_message_unref(late);
    fake_expect_none(fake);
    /* what is asked of it meanwhile is answered, too */
    fake_execute(fake, fake_action(fake, ACTION_CONNECT));
    assert_int_equal(fake_expect(fake, EVENT_CONNECT_RESULT)->event.result.status, BT_STATUS_LOST);
    fake_set_owner(fake, ":1.2");
    fake_expect(fake, EVENT_ADAPTER);
    fake_expect(fake, EVENT_DEVICE);
    fake_expect(fake, EVENT_BLUEZ_UP);
    assert_int_not_equal(fake->adapter, adapter);
    assert_int_not_equal(fake->device, device);
}

static void another_owner_without_a_gap_makes_everything_new_too(void **state)
{
    struct fake *fake = *state;

    fake_start(fake);
    uint32_t device = fake->device;
    fake_set_owner(fake, ":1.2");
    fake_expect(fake, EVENT_BLUEZ_DOWN);
    fake_expect(fake, EVENT_ADAPTER);
    fake_expect(fake, EVENT_DEVICE);
    fake_expect(fake, EVENT_BLUEZ_UP);
    assert_int_not_equal(fake->device, device);
}

static void without_bluetoothd_it_says_so_and_waits(void **state)
{
    struct fake *fake = *state;

    fake->owned = false;
    assert_int_equal(bluez_start(fake->bluez), 0);
    assert_string_equal(fake_expect(fake, EVENT_BLUEZ_DOWN)->event.bluez_down.reason, "no_bluez");
    fake_expect_none(fake);
    fake_set_owner(fake, ":1.1");
    fake_expect(fake, EVENT_ADAPTER);
    fake_expect(fake, EVENT_DEVICE);
    fake_expect(fake, EVENT_BLUEZ_UP);
}

static void a_closed_bus_is_reported(void **state)
{
    struct fake *fake = *state;

    fake_start(fake);
    fake_settle(fake);
    sd_bus_close(fake->server);
    assert_string_equal(fake_expect(fake, EVENT_BLUEZ_DOWN)->event.bluez_down.reason, "no_bus");
    fake_execute(fake, fake_action(fake, ACTION_SCAN_START));
    assert_int_equal(fake_expect(fake, EVENT_SCAN_RESULT)->event.result.status, BT_STATUS_LOST);
}

static void only_the_owner_of_the_name_is_believed(void **state)
{
    struct fake *fake = *state;
    sd_bus_message *m;

    fake_start(fake);
    for (int i = 0; i < 2; i++) {
        assert_true(sd_bus_message_new_signal(fake->server, &m, "/",
                                              "org.freedesktop.DBus.ObjectManager",
                                              "InterfacesRemoved") >= 0);
        assert_true(sd_bus_message_append(m, "oas", DEV, 1, DEVICE) >= 0);
        assert_true(sd_bus_message_set_sender(m, i == 0 ? ":1.66" : ":1.1") >= 0);
        fake_send(fake, m);
        if (i == 0)
            fake_expect_none(fake);
        else
            fake_expect(fake, EVENT_DEVICE_GONE);
    }
}

static void discovery_sets_a_filter_first(void **state)
{
    struct fake *fake = *state;
    const char *key, *value;

    fake_start(fake);
    fake_execute(fake, fake_action(fake, ACTION_SCAN_START));
    sd_bus_message *m = fake_call(fake, "SetDiscoveryFilter");
    assert_string_equal(sd_bus_message_get_path(m), HCI0);
    assert_true(sd_bus_message_enter_container(m, 'a', "{sv}") > 0);
    assert_true(sd_bus_message_enter_container(m, 'e', "sv") > 0);
    assert_true(sd_bus_message_read(m, "sv", &key, "s", &value) > 0);
    assert_string_equal(key, "Transport");
    assert_string_equal(value, "le");
    assert_true(sd_bus_reply_method_return(m, NULL) >= 0);
    sd_bus_message_unref(m);
    fake_answer(fake, "StartDiscovery");
    const struct event *event = &fake_expect(fake, EVENT_SCAN_RESULT)->event;
    assert_int_equal(event->result.status, BT_STATUS_OK);
    assert_true(event->asked.on);
    assert_int_equal(event->adapter, fake->adapter);
    assert_int_equal(event->op.id, fake->last_op);
}

static void start_scan(struct fake *fake, const char *error, enum bt_status expected)
{
    fake_execute(fake, fake_action(fake, ACTION_SCAN_START));
    fake_answer(fake, "SetDiscoveryFilter");
    if (error)
        fake_refuse(fake, "StartDiscovery", error, "Operation already in progress");
    else
        fake_answer(fake, "StartDiscovery");
    assert_int_equal(fake_expect(fake, EVENT_SCAN_RESULT)->event.result.status, expected);
}

static void in_progress_is_success_only_for_a_session_of_ours(void **state)
{
    struct fake *fake = *state;

    fake_start(fake);
    start_scan(fake, "org.bluez.Error.InProgress", BT_STATUS_IN_PROGRESS);
    start_scan(fake, NULL, BT_STATUS_OK);
    start_scan(fake, "org.bluez.Error.InProgress", BT_STATUS_OK);
    /* switching off ends every session */
    fake_changed(fake, HCI0, ADAPTER, PROPERTIES(BOOL("Powered", 0)), NULL);
    assert_false(fake_expect(fake, EVENT_ADAPTER)->event.adapter_info.powered);
    start_scan(fake, "org.bluez.Error.InProgress", BT_STATUS_IN_PROGRESS);
}

static void stopping_a_scan_that_does_not_run_is_fine(void **state)
{
    struct fake *fake = *state;

    fake_start(fake);
    fake_execute(fake, fake_action(fake, ACTION_SCAN_STOP));
    fake_refuse(fake, "StopDiscovery", "org.bluez.Error.Failed", "No discovery started");
    const struct event *event = &fake_expect(fake, EVENT_SCAN_RESULT)->event;
    assert_int_equal(event->result.status, BT_STATUS_OK);
    assert_false(event->asked.on);
}

static void a_blocked_adapter_says_so(void **state)
{
    struct fake *fake = *state;
    struct action action;

    fake_start(fake);
    action = fake_action(fake, ACTION_POWER);
    action.power.on = true;
    fake_execute(fake, action);
    fake_refuse(fake, "Set", "org.bluez.Error.Blocked", "Blocked through rfkill");
    const struct seen *seen = fake_expect(fake, EVENT_POWER_RESULT);
    assert_int_equal(seen->event.result.status, BT_STATUS_BLOCKED);
    assert_string_equal(seen->event.result.text, "Blocked through rfkill");
    assert_true(seen->event.asked.on);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(the_bootstrap_tells_adapters_devices_and_then_that_bluez_is_up),
        TEST(all_objects_are_told_again_for_who_is_new_and_as_not_heard),
        TEST(a_signal_before_the_tree_is_dropped),
        TEST(each_rssi_report_is_heard_even_if_it_is_equal),
        TEST(advertised_data_is_heard),
        TEST(an_invalidated_rssi_is_unknown_and_not_heard),
        TEST(what_bluez_invalidates_is_no_longer_known),
        TEST(a_new_device_is_heard_only_if_it_comes_with_an_rssi),
        TEST(bonding_may_change_the_address_under_the_same_path),
        TEST(a_device_that_disappears_while_connected_loses_its_link_first),
        TEST(removing_hci1_leaves_hci10),
        TEST(a_restarted_bluetoothd_makes_everything_new),
        TEST(another_owner_without_a_gap_makes_everything_new_too),
        TEST(without_bluetoothd_it_says_so_and_waits),
        TEST(a_closed_bus_is_reported),
        TEST(only_the_owner_of_the_name_is_believed),
        TEST(discovery_sets_a_filter_first),
        TEST(in_progress_is_success_only_for_a_session_of_ours),
        TEST(stopping_a_scan_that_does_not_run_is_fine),
        TEST(a_blocked_adapter_says_so),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
