/* The bluez layer against the BlueZ that the simulator plays: whole lives of peripherals. */
#include "bus/helper_fake.h"

#include "sim/service.h"
#include "yaml/diag.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char world_text[] =
    "adapters: { hci0: { address: '00:1A:7D:00:00:01' } }\n"
    "timing: { connect: 2ms, resolve: 2ms, disconnect: 2ms, connect_timeout: 10s }\n"
    "peripherals:\n"
    "  strap:\n"
    "    address: 'C8:00:00:00:00:01'\n"
    "    address_type: random\n"
    "    name: Strap\n"
    "    rssi: -50\n"
    "    interval: 20ms\n"
    "    mtu: 23\n"
    "    services:\n"
    "      - uuid: 0x180D\n"
    "        characteristics:\n"
    "          - { id: rate, uuid: 0x2A37, properties: [notify, read], value: '00000000' }\n"
    "          - { id: label, uuid: 0x2A38, properties: [read, write, write-without-response],\n"
    "              value: '" /* 44 bytes, twice the MTU */
    "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff00112233445566778899aabb"
    "' }\n"
    "          - { id: broken, uuid: 0x2A39, properties: [read, write], write_error: 0x80 }\n";

struct house {
    struct fake *fake;
    struct sim_world *world;
    struct sim_bluez *sim;
    uint32_t device;
    uint16_t rate, label, broken; /* handles */
    uint16_t mtu;
};

static int setup(void **state)
{
    struct house *house = calloc(1, sizeof(*house));
    struct diags diags;

    assert_non_null(house);
    assert_int_equal(diags_init(&diags, "world"), 0);
    int r = sim_world_parse(world_text, sizeof(world_text) - 1, &diags, &house->world);
    diags_print(&diags, stderr);
    diags_done(&diags);
    assert_int_equal(r, 0);
    house->fake = fake_new_mute();
    assert_int_equal(sim_bluez_new(&(struct sim_bluez_options){.bus = house->fake->server,
                                                               .event = house->fake->loop,
                                                               .world = house->world,
                                                               .peer = true},
                                   &house->sim),
                     0);
    *state = house;
    return 0;
}

static int teardown(void **state)
{
    struct house *house = *state;

    sim_bluez_free(house->sim);
    fake_free(house->fake);
    sim_world_free(house->world);
    free(house);
    return 0;
}

/* tells the simulator; gives its answer without "ok" */
static const char *control(struct house *house, const char *line)
{
    static char answer[512];
    struct strbuf buf = STRBUF_INIT;

    control_execute(house->world, &sim_bluez_control_ops, house->sim, sim_bluez_now(house->sim),
                    line, &buf);
    if (strncmp(strbuf_str(&buf), "ok", 2) != 0)
        fail_msg("%s: %s", line, strbuf_str(&buf));
    snprintf(answer, sizeof(answer), "%s", strbuf_str(&buf) + 2);
    strbuf_done(&buf);
    return answer[0] == ' ' ? answer + 1 : answer;
}

/* the next event that is no advertisement and no change of the adapter */
static const struct event *expect(struct house *house, enum event_type type)
{
    for (;;) {
        while (!house->fake->first)
            assert_true(sd_event_run(house->fake->loop, 5000000) > 0);
        enum event_type next = house->fake->first->event.type;
        if (next == type || (next != EVENT_DEVICE && next != EVENT_ADAPTER))
            return &fake_expect(house->fake, type)->event;
        fake_expect(house->fake, next);
    }
}

/* Two events in either order: which comes first BlueZ leaves open. Gives the status of the first.
 */
static const char *expect_both(struct house *house, enum event_type a, enum event_type b)
{
    const char *status = NULL;
    unsigned came = 0;

    while (came != 3) {
        while (!house->fake->first)
            assert_true(sd_event_run(house->fake->loop, 5000000) > 0);
        enum event_type next = house->fake->first->event.type;
        if (next == EVENT_DEVICE || next == EVENT_ADAPTER) {
            fake_expect(house->fake, next);
            continue;
        }
        assert_true(next == a || next == b);
        const struct event *event = &fake_expect(house->fake, next)->event;
        came |= next == a ? 1 : 2;
        if (next == a)
            status = bt_status_name(event->result.status);
    }
    return status;
}

static const struct event *expect_ok(struct house *house, enum event_type type)
{
    const struct event *event = expect(house, type);

    assert_string_equal(bt_status_name(event->result.status), "ok");
    return event;
}

static void hear(struct house *house)
{
    do
        house->device = expect(house, EVENT_DEVICE)->device;
    while (!house->fake->current->event.device_info.heard);
}

static void start(struct house *house)
{
    struct fake *fake = house->fake;

    assert_int_equal(bluez_start(fake->bluez), 0);
    expect(house, EVENT_BLUEZ_UP);
    fake_execute(fake, fake_action(fake, ACTION_SCAN_START));
    expect_ok(house, EVENT_SCAN_RESULT);
    hear(house);
}

static void execute(struct house *house, enum action_type type)
{
    struct action action = fake_action(house->fake, type);

    action.device = house->device;
    fake_execute(house->fake, action);
}

static void connect_and_resolve(struct house *house)
{
    execute(house, ACTION_CONNECT);
    assert_true(expect(house, EVENT_LINK)->link.connected);
    expect_ok(house, EVENT_CONNECT_RESULT);
    execute(house, ACTION_RESOLVE);
    const struct event *event = expect_ok(house, EVENT_RESOLVE_RESULT);
    assert_int_equal(event->resolved.n_characteristics, 3);
    house->rate = event->resolved.characteristics[0].handle;
    house->label = event->resolved.characteristics[1].handle;
    house->broken = event->resolved.characteristics[2].handle;
    house->mtu = event->resolved.mtu;
    assert_int_equal(bt_uuid_to_u16(&event->resolved.characteristics[0].uuid), 0x2a37);
}

static void subscribe(struct house *house, uint32_t number, bool socket)
{
    struct action action = fake_action(house->fake, ACTION_SUBSCRIBE);

    action.device = house->device;
    action.subscribe.handle = house->rate;
    action.subscribe.subscription = number;
    action.subscribe.socket = socket;
    fake_execute(house->fake, action);
    expect_ok(house, EVENT_SUBSCRIBE_RESULT);
}

static void read_value(struct house *house, uint16_t handle)
{
    struct action action = fake_action(house->fake, ACTION_READ);

    action.device = house->device;
    action.read.handle = handle;
    fake_execute(house->fake, action);
}

static void write_value(struct house *house, uint16_t handle, const char *text, bool response)
{
    struct action action = fake_action(house->fake, ACTION_WRITE);

    action.device = house->device;
    action.write.handle = handle;
    action.write.data = (const uint8_t *)text;
    action.write.length = strlen(text);
    action.write.response = response;
    fake_execute(house->fake, action);
}

static void expect_burst(struct house *house, uint32_t number, uint32_t first, uint32_t last)
{
    for (uint32_t i = first; i <= last; i++) {
        const struct event *event = expect(house, EVENT_VALUE);
        assert_int_equal(event->value.subscription, number);
        assert_int_equal(event->value.length, 4);
        assert_int_equal(event->value.data[0] | event->value.data[1] << 8, i);
    }
}

static void from_hearing_a_peripheral_to_its_notifications(void **state)
{
    struct house *house = *state;

    start(house);
    connect_and_resolve(house);
    assert_int_equal(house->mtu, 23);
    subscribe(house, 9, false);
    control(house, "notify strap rate 1000 10000");
    expect_burst(house, 9, 1, 1000);
    assert_string_equal(control(house, "sent strap rate"), "1000");
}

static void a_socket_carries_the_same(void **state)
{
    struct house *house = *state;

    start(house);
    connect_and_resolve(house);
    subscribe(house, 9, true);
    /* no more than a socket holds: BlueZ drops what does not fit */
    control(house, "notify strap rate 200 10000");
    expect_burst(house, 9, 1, 200);
    control(house, "drop strap");
    expect_both(house, EVENT_LINK, EVENT_SUBSCRIPTION_LOST);
}

static void a_read_while_subscribed_is_no_notification(void **state)
{
    struct house *house = *state;

    start(house);
    connect_and_resolve(house);
    subscribe(house, 9, false);
    for (int i = 0; i < 5; i++) {
        read_value(house, house->rate);
        assert_int_equal(expect_ok(house, EVENT_READ_RESULT)->read.length, 4);
    }
    control(house, "notify strap rate 1 1000");
    expect_burst(house, 9, 1, 1);
}

static void long_values_are_read_and_written_whole(void **state)
{
    struct house *house = *state;
    const char *text = "a text that is quite a bit longer than the MTU";

    start(house);
    connect_and_resolve(house);
    read_value(house, house->label);
    const struct event *event = expect_ok(house, EVENT_READ_RESULT);
    assert_int_equal(event->read.length, 44);
    assert_int_equal(event->read.data[43], 0xbb);
    write_value(house, house->label, text, true);
    expect_ok(house, EVENT_WRITE_RESULT);
    read_value(house, house->label);
    event = expect_ok(house, EVENT_READ_RESULT);
    assert_int_equal(event->read.length, strlen(text));
    assert_memory_equal(event->read.data, text, strlen(text));
}

static void the_peripheral_sees_requests_and_commands(void **state)
{
    struct house *house = *state;

    start(house);
    connect_and_resolve(house);
    write_value(house, house->label, "1", true);
    expect_ok(house, EVENT_WRITE_RESULT);
    write_value(house, house->label, "2", false);
    expect_ok(house, EVENT_WRITE_RESULT);
    assert_string_equal(control(house, "writes strap label"), "request:31 command:32");
}

static void the_peripherals_own_error_is_reported(void **state)
{
    struct house *house = *state;

    start(house);
    connect_and_resolve(house);
    write_value(house, house->broken, "x", true);
    const struct event *event = expect(house, EVENT_WRITE_RESULT);
    assert_string_equal(bt_status_name(event->result.status), "att_error");
    assert_int_equal(event->result.att, 0x80);
    write_value(house, house->rate, "x", true);
    event = expect(house, EVENT_WRITE_RESULT);
    assert_string_equal(bt_status_name(event->result.status), "not_permitted");
}

static void a_lost_link_ends_what_runs_and_a_new_one_goes_on(void **state)
{
    struct house *house = *state;

    start(house);
    connect_and_resolve(house);
    subscribe(house, 9, false);
    control(house, "slow strap 3000");
    read_value(house, house->label);
    fake_settle(house->fake);
    control(house, "drop strap 0x08");
    assert_string_equal(expect_both(house, EVENT_READ_RESULT, EVENT_LINK), "not_connected");
    control(house, "slow strap 0");
    hear(house);
    connect_and_resolve(house);
    subscribe(house, 10, false);
    control(house, "notify strap rate 20 10000");
    expect_burst(house, 10, 1, 20);
}

static void an_absent_peripherals_connect_can_be_cancelled(void **state)
{
    struct house *house = *state;

    start(house);
    control(house, "vanish strap");
    execute(house, ACTION_CONNECT);
    fake_settle(house->fake);
    execute(house, ACTION_DISCONNECT);
    assert_string_equal(expect_both(house, EVENT_CONNECT_RESULT, EVENT_DISCONNECT_RESULT),
                        "cancelled");
}

static void a_refused_connect_fails(void **state)
{
    struct house *house = *state;

    start(house);
    control(house, "refuse strap on");
    execute(house, ACTION_CONNECT);
    const struct event *event = expect(house, EVENT_CONNECT_RESULT);
    assert_string_equal(bt_status_name(event->result.status), "failed");
}

static void an_unplugged_adapter_takes_all_with_it_and_returns_as_new(void **state)
{
    struct house *house = *state;
    uint32_t adapter;

    start(house);
    connect_and_resolve(house);
    subscribe(house, 9, false);
    adapter = house->fake->adapter;
    control(house, "adapter hci0 remove");
    expect_both(house, EVENT_LINK, EVENT_SUBSCRIPTION_LOST);
    assert_int_equal(expect(house, EVENT_DEVICE_GONE)->device, house->device);
    assert_int_equal(expect(house, EVENT_ADAPTER_GONE)->adapter, adapter);
    control(house, "adapter hci0 add");
    assert_int_not_equal(expect(house, EVENT_ADAPTER)->adapter, adapter);
}

static void a_bluetoothd_that_dies_comes_back_with_everything_new(void **state)
{
    struct house *house = *state;
    uint32_t device;

    start(house);
    connect_and_resolve(house);
    device = house->device;
    sim_bluez_die(house->sim);
    assert_string_equal(expect(house, EVENT_BLUEZ_DOWN)->bluez_down.reason, "no_bluez");
    assert_int_equal(sim_bluez_start(house->sim), 0);
    expect(house, EVENT_BLUEZ_UP);
    fake_execute(house->fake, fake_action(house->fake, ACTION_SCAN_START));
    expect_ok(house, EVENT_SCAN_RESULT);
    hear(house);
    assert_int_not_equal(house->device, device);
    connect_and_resolve(house);
}

static void a_forgotten_device_is_gone_and_found_again(void **state)
{
    struct house *house = *state;
    uint32_t device;

    start(house);
    device = house->device;
    execute(house, ACTION_REMOVE_DEVICE);
    expect(house, EVENT_DEVICE_GONE);
    expect_ok(house, EVENT_REMOVE_RESULT);
    hear(house);
    assert_int_not_equal(house->device, device);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(from_hearing_a_peripheral_to_its_notifications),
        TEST(a_socket_carries_the_same),
        TEST(a_read_while_subscribed_is_no_notification),
        TEST(long_values_are_read_and_written_whole),
        TEST(the_peripheral_sees_requests_and_commands),
        TEST(the_peripherals_own_error_is_reported),
        TEST(a_lost_link_ends_what_runs_and_a_new_one_goes_on),
        TEST(an_absent_peripherals_connect_can_be_cancelled),
        TEST(a_refused_connect_fails),
        TEST(an_unplugged_adapter_takes_all_with_it_and_returns_as_new),
        TEST(a_bluetoothd_that_dies_comes_back_with_everything_new),
        TEST(a_forgotten_device_is_gone_and_found_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
