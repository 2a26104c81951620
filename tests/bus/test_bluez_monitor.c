/* Passive scanning, against the BlueZ that the simulator plays and, for what that one never does,
 * against a scripted one. */
#include "bus/helper_fake.h"

#include "sim/service.h"
#include "yaml/diag.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#define MONITOR           "/org/gatt2mqtt/monitors/hci0/all"
#define MONITOR_INTERFACE "org.bluez.AdvertisementMonitor1"

static const char experimental[] = "experimental: true\n"
                                   "timing: { connect: 2ms, resolve: 2ms, disconnect: 2ms }\n"
                                   "peripherals:\n"
                                   "  strap: { address: 'C8:00:00:00:00:01', address_type: random, "
                                   "rssi: -50, interval: 20ms }\n";

static const char two[] =
    "experimental: true\n"
    "peripherals:\n"
    "  a: { address: 'C8:00:00:00:00:01', address_type: random, interval: 20ms }\n"
    "  b: { address: 'C8:00:00:00:00:02', address_type: random, interval: 20ms }\n";

struct air {
    struct fake *fake;
    struct sim_world *world;
    struct sim_bluez *sim;
};

static void open_air(struct air *air, const char *text)
{
    struct diags diags;

    assert_int_equal(diags_init(&diags, "world"), 0);
    int r = sim_world_parse(text, strlen(text), &diags, &air->world);
    diags_print(&diags, stderr);
    diags_done(&diags);
    assert_int_equal(r, 0);
    air->fake = fake_new_mute();
    assert_int_equal(sim_bluez_new(&(struct sim_bluez_options){.bus = air->fake->server,
                                                               .event = air->fake->loop,
                                                               .world = air->world,
                                                               .peer = true},
                                   &air->sim),
                     0);
    assert_int_equal(bluez_start(air->fake->bluez), 0);
    fake_expect(air->fake, EVENT_ADAPTER);
    fake_expect(air->fake, EVENT_BLUEZ_UP);
}

static void close_air(struct air *air)
{
    sim_bluez_free(air->sim);
    fake_free(air->fake);
    sim_world_free(air->world);
}

static void scan(struct fake *fake, bool passive)
{
    struct action action = fake_action(fake, ACTION_SCAN_START);

    action.scan.passive = passive;
    fake_execute(fake, action);
}

static void expect_result(struct fake *fake, const char *status)
{
    assert_string_equal(bt_status_name(fake_expect(fake, EVENT_SCAN_RESULT)->event.result.status),
                        status);
}

static void expect_listening(struct fake *fake, bool listening)
{
    assert_int_equal(fake_expect(fake, EVENT_ADAPTER)->event.adapter_info.discovering, listening);
}

/* until something else comes */
static void skip_devices(struct fake *fake)
{
    for (;;) {
        while (!fake->first)
            assert_true(sd_event_run(fake->loop, 5000000) > 0);
        if (fake->first->event.type != EVENT_DEVICE)
            return;
        fake_expect(fake, EVENT_DEVICE);
    }
}

static void passive_scan_hears_connects_and_stops(void **state)
{
    struct air air;

    open_air(&air, experimental);
    scan(air.fake, true);
    expect_listening(air.fake, true);
    expect_result(air.fake, "ok");
    const struct event *heard = &fake_expect(air.fake, EVENT_DEVICE)->event;
    assert_true(heard->device_info.heard);
    assert_int_equal(heard->device_info.rssi, -50);
    /* a Connect needs no pause */
    struct action action = fake_action(air.fake, ACTION_CONNECT);
    fake_execute(air.fake, action);
    skip_devices(air.fake);
    assert_true(fake_expect(air.fake, EVENT_LINK)->event.link.connected);
    fake_expect(air.fake, EVENT_CONNECT_RESULT);
    fake_settle(air.fake);
    while (air.fake->first)
        fake_expect(air.fake, air.fake->first->event.type);
    fake_execute(air.fake, fake_action(air.fake, ACTION_SCAN_STOP));
    expect_listening(air.fake, false);
    expect_result(air.fake, "ok");
    close_air(&air);
}

static void peer_of_constant_strength_is_heard_again_until_it_is_lost(void **state)
{
    struct air air;

    open_air(&air, experimental);
    scan(air.fake, true);
    expect_listening(air.fake, true);
    expect_result(air.fake, "ok");
    fake_expect(air.fake, EVENT_DEVICE); /* the object */
    fake_expect(air.fake, EVENT_DEVICE); /* DeviceFound */
    uint64_t before = sim_bluez_now(air.sim);
    while (!air.fake->first)
        assert_true(sd_event_run(air.fake->loop, 10000000) > 0);
    assert_true(fake_expect(air.fake, EVENT_DEVICE)->event.device_info.heard);
    assert_true(sim_bluez_now(air.sim) - before > 3000000); /* now and then, not all the time */
    close_air(&air);
}

static void who_asks_for_all_is_told_whom_the_monitor_hears(void **state)
{
    struct air air;

    open_air(&air, two);
    scan(air.fake, true);
    expect_listening(air.fake, true);
    expect_result(air.fake, "ok");
    for (int i = 0; i < 4; i++) /* their objects, and DeviceFound */
        fake_expect(air.fake, EVENT_DEVICE);
    fake_execute(air.fake, (struct action){.type = ACTION_TELL_DEVICES});
    uint32_t first = 0;
    for (int i = 0; i < 2; i++) {
        const struct event *event = &fake_expect(air.fake, EVENT_DEVICE)->event;
        assert_true(event->device_info.heard);
        assert_int_not_equal(event->device, first);
        first = event->device;
    }
    fake_expect_none(air.fake);
    close_air(&air);
}

static void where_there_are_no_monitors_the_scan_can_be_active(void **state)
{
    struct air air;

    open_air(&air, strchr(experimental, '\n') + 1);
    scan(air.fake, true);
    const struct seen *seen = fake_expect(air.fake, EVENT_SCAN_RESULT);
    assert_string_equal(bt_status_name(seen->event.result.status), "not_supported");
    assert_non_null(strstr(seen->text, "--experimental"));
    scan(air.fake, false);
    expect_result(air.fake, "ok");
    close_air(&air);
}

/* ---- a scripted BlueZ ---- */

static int ignore(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
    *(bool *)userdata = !sd_bus_message_is_method_error(m, NULL);
    return 0;
}

/* calls the monitor as BlueZ does; whether it was answered well */
static bool call_monitor(struct fake *fake, const char *method)
{
    sd_bus_message *m = NULL;
    sd_bus_slot *slot = NULL;
    bool good = false;

    assert_true(sd_bus_message_new_method_call(fake->server, &m, NULL, MONITOR, MONITOR_INTERFACE,
                                               method) >= 0);
    assert_true(sd_bus_message_set_sender(m, fake->owner) >= 0);
    assert_true(sd_bus_call_async(fake->server, &slot, m, ignore, &good, 0) >= 0);
    sd_bus_message_unref(m);
    fake_settle(fake);
    sd_bus_slot_unref(slot);
    return good;
}

static struct fake *start_scripted(void)
{
    struct fake *fake = fake_new();

    fake_start(fake);
    scan(fake, true);
    fake_answer(fake, "RegisterMonitor");
    fake_settle(fake);
    fake_expect_none(fake); /* registered is not active */
    return fake;
}

static void monitor_that_bluez_releases_ends_the_scan(void **state)
{
    struct fake *fake = start_scripted();

    assert_true(call_monitor(fake, "Activate"));
    expect_listening(fake, true);
    expect_result(fake, "ok");
    assert_true(call_monitor(fake, "Release"));
    expect_listening(fake, false);
    fake_expect_none(fake);
    fake_free(fake);
}

static void monitor_that_bluez_refuses_fails_the_start(void **state)
{
    struct fake *fake = start_scripted();

    assert_true(call_monitor(fake, "Release"));
    expect_result(fake, "failed");
    fake_free(fake);
}

static void start_that_is_stopped_is_answered(void **state)
{
    struct fake *fake = start_scripted();

    fake_execute(fake, fake_action(fake, ACTION_SCAN_STOP));
    expect_result(fake, "cancelled");
    fake_answer(fake, "UnregisterMonitor");
    expect_listening(fake, false);
    expect_result(fake, "ok");
    assert_false(call_monitor(fake, "Activate")); /* it is gone */
    fake_free(fake);
}

static void nobody_else_may_call_the_monitor(void **state)
{
    struct fake *fake = start_scripted();
    const char *owner = fake->owner;

    fake->owner = ":1.66";
    assert_false(call_monitor(fake, "Activate"));
    fake_expect_none(fake);
    fake->owner = owner;
    assert_true(call_monitor(fake, "Activate"));
    fake_free(fake);
}

static void stop_at_once(struct fake *fake, const struct event *event)
{
    if (event->type == EVENT_ADAPTER && event->adapter_info.discovering)
        bluez_execute(fake->bluez,
                      &(struct action){.type = ACTION_SCAN_STOP, .adapter = fake->adapter});
}

static void scan_may_be_stopped_while_it_is_told_that_it_began(void **state)
{
    struct fake *fake = start_scripted();

    fake->on_event = stop_at_once;
    call_monitor(fake, "Activate");
    expect_listening(fake, true);
    expect_result(fake, "cancelled");
    fake_answer(fake, "UnregisterMonitor");
    fake->on_event = NULL;
    expect_listening(fake, false);
    expect_result(fake, "ok");
    fake_free(fake);
}

static void adapter_that_goes_takes_its_monitor_along(void **state)
{
    struct fake *fake = start_scripted();

    assert_true(call_monitor(fake, "Activate"));
    expect_listening(fake, true);
    expect_result(fake, "ok");
    fake_removed(fake, HCI0, ADAPTER);
    fake_expect(fake, EVENT_DEVICE_GONE);
    fake_expect(fake, EVENT_ADAPTER_GONE);
    assert_false(call_monitor(fake, "Release"));
    fake_free(fake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(passive_scan_hears_connects_and_stops),
        cmocka_unit_test(peer_of_constant_strength_is_heard_again_until_it_is_lost),
        cmocka_unit_test(who_asks_for_all_is_told_whom_the_monitor_hears),
        cmocka_unit_test(where_there_are_no_monitors_the_scan_can_be_active),
        cmocka_unit_test(monitor_that_bluez_releases_ends_the_scan),
        cmocka_unit_test(monitor_that_bluez_refuses_fails_the_start),
        cmocka_unit_test(start_that_is_stopped_is_answered),
        cmocka_unit_test(nobody_else_may_call_the_monitor),
        cmocka_unit_test(scan_may_be_stopped_while_it_is_told_that_it_began),
        cmocka_unit_test(adapter_that_goes_takes_its_monitor_along),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
