/* What a simulated world promises: its file means what it says, values follow the script, writes
 * read back, notifications come when they are due. */
#include "sim/peripheral.h"

#include "util/time.h"
#include "yaml/diag.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SECOND 1000000

static const char house[] =
    "timing: { connect: 5ms, disconnect: 1s }\n"
    "peripherals:\n"
    "  strap:\n"
    "    address: \"C8:00:00:00:00:01\"\n"
    "    address_type: random\n"
    "    name: Strap\n"
    "    rssi: { from: -70, to: -50 }\n"
    "    interval: 100ms\n"
    "    mtu: 185\n"
    "    advertise: { services: [0x180D], manufacturer: { 0x0059: \"0102\" },\n"
    "                 service_data: { 0x181A: \"0a\" } }\n"
    "    services:\n"
    "      - uuid: 0x180D\n"
    "        characteristics:\n"
    "          - { id: rate, uuid: 0x2A37, properties: [notify], value: \"0048\", notify: 1s,\n"
    "              waves: [{ offset: 1, type: uint8, shape: count, min: 60, max: 90, period: 1s }] "
    "}\n"
    "          - { uuid: 0x2A38, properties: [read], value: \"01\" }\n"
    "      - uuid: 0x1815\n"
    "        characteristics:\n"
    "          - { id: switch, uuid: 0x2A56, value: \"00\", length: { min: 1, max: 2 }, echo: "
    "true,\n"
    "              properties: [read, write, write-without-response, indicate] }\n"
    "          - { id: log, uuid: 0x2A57, properties: [read], script: [\"01\", \"0203\"] }\n"
    "          - { id: broken, uuid: 0x2A58, properties: [read, write, notify], value: \"00\",\n"
    "              read_error: 0x02, write_error: 0x80, notify_error: 0x05 }\n";

static struct sim_world *load(const char *text)
{
    struct sim_world *world = NULL;
    struct diags diags;

    assert_int_equal(diags_init(&diags, "house.yaml"), 0);
    int r = sim_world_parse(text, strlen(text), &diags, &world);
    if (r < 0)
        diags_print(&diags, stderr);
    diags_done(&diags);
    assert_int_equal(r, 0);
    return world;
}

static int setup(void **state)
{
    *state = load(house);
    return 0;
}

static int teardown(void **state)
{
    sim_world_free(*state);
    return 0;
}

static struct sim_characteristic *characteristic(void **state, const char *id)
{
    struct sim_world *world = *state;
    struct sim_characteristic *c = sim_peripheral_find(&world->peripherals[0], id);

    assert_non_null(c);
    return c;
}

static void file_describes_the_peripheral(void **state)
{
    struct sim_world *world = *state;
    struct sim_peripheral *p = sim_world_find(world, "strap");

    assert_non_null(p);
    assert_null(sim_world_find(world, "belt"));
    assert_int_equal(world->n_adapters, 1);
    assert_string_equal(world->adapters[0].name, "hci0");
    assert_int_equal(world->timing.connect_us, 5000);
    assert_int_equal(world->timing.connect_timeout_us, 40 * SECOND);
    assert_string_equal(p->name, "Strap");
    assert_int_equal(p->address_type, BT_ADDRESS_RANDOM);
    assert_int_equal(p->interval_us, 100000);
    assert_int_equal(p->mtu, 185);
    assert_true(p->connectable && sim_peripheral_advertises(p));
    assert_int_equal(bt_uuid_to_u16(&p->advertised[0]), 0x180d);
    assert_int_equal(p->manufacturer[0].company, 0x59);
    assert_memory_equal(p->manufacturer[0].data.data, "\x01\x02", 2);
    assert_int_equal(bt_uuid_to_u16(&p->service_data[0].uuid), 0x181a);
    assert_in_range(sim_peripheral_rssi(p, 12345678) + 100, 30, 50);
}

/* The lab's radio and the played BlueZ must agree on them. */
static void handles_follow_the_file(void **state)
{
    struct sim_world *world = *state;
    const struct sim_service *s = world->peripherals[0].services;

    assert_int_equal(s[0].handle, 0x10);
    assert_int_equal(characteristic(state, "rate")->declaration, 0x11);
    assert_int_equal(characteristic(state, "rate")->handle, 0x12);
    assert_int_equal(characteristic(state, "rate")->cccd, 0x13);
    assert_int_equal(characteristic(state, "0x2A38")->declaration, 0x14);
    assert_int_equal(characteristic(state, "0x2A38")->cccd, 0);
    assert_int_equal(s[0].end, 0x15);
    assert_int_equal(s[1].handle, 0x16);
    assert_ptr_equal(sim_peripheral_by_handle(&world->peripherals[0], 0x18),
                     characteristic(state, "switch"));
}

static void written_value_reads_back_and_is_remembered(void **state)
{
    struct sim_characteristic *c = characteristic(state, "switch");
    const uint8_t *data;
    size_t length;

    assert_int_equal(sim_characteristic_write(c, "\x01\x02", 2, false), 0);
    assert_int_equal(sim_characteristic_read(c, 0, 0, &data, &length), 0);
    assert_int_equal(length, 2);
    assert_memory_equal(data, "\x01\x02", 2);
    assert_int_equal(sim_characteristic_write(c, "\x03", 1, true), 0);
    assert_int_equal(c->n_writes, 2);
    assert_false(c->writes[0].command);
    assert_true(c->writes[1].command);
    sim_characteristic_forget_writes(c);
    assert_int_equal(c->n_writes, 0);
}

static void wrong_write_gives_its_att_error_and_changes_nothing(void **state)
{
    struct sim_characteristic *c = characteristic(state, "switch");

    assert_int_equal(sim_characteristic_write(c, "\x01\x02\x03", 3, false), 0x0d);
    assert_int_equal(sim_characteristic_write(c, "", 0, false), 0x0d);
    assert_int_equal(sim_characteristic_write(characteristic(state, "log"), "\x01", 1, false),
                     0x03);
    assert_int_equal(sim_characteristic_write(characteristic(state, "broken"), "1", 1, false),
                     0x80);
    assert_int_equal(c->length, 1);
    assert_int_equal(c->value[0], 0);
    assert_int_equal(c->n_writes, 0);
}

static void read_faults_and_offsets_give_their_att_errors(void **state)
{
    const uint8_t *data;
    size_t length;

    assert_int_equal(sim_characteristic_read(characteristic(state, "rate"), 0, 0, &data, &length),
                     0x02);
    assert_int_equal(sim_characteristic_read(characteristic(state, "broken"), 0, 0, &data, &length),
                     0x02);
    assert_int_equal(sim_characteristic_read(characteristic(state, "switch"), 0, 1, &data, &length),
                     0);
    assert_int_equal(length, 0);
    assert_int_equal(sim_characteristic_read(characteristic(state, "switch"), 0, 2, &data, &length),
                     0x07);
}

static void script_gives_one_value_per_read_but_not_per_part_of_a_long_read(void **state)
{
    struct sim_characteristic *c = characteristic(state, "log");
    static const char *const expected[] = {"\x01", "\x02\x03", "\x01"};
    const uint8_t *data;
    size_t length;

    for (unsigned i = 0; i < ARRAY_SIZE(expected); i++) {
        assert_int_equal(sim_characteristic_read(c, 0, 0, &data, &length), 0);
        assert_int_equal(length, strlen(expected[i]));
        assert_memory_equal(data, expected[i], length);
        assert_int_equal(sim_characteristic_read(c, 0, length, &data, &length), 0);
        assert_int_equal(length, 0);
    }
}

static void notifications_come_each_period_while_subscribed(void **state)
{
    struct sim_world *world = *state;
    struct sim_peripheral *p = &world->peripherals[0];
    struct sim_characteristic *c = characteristic(state, "rate");
    struct sim_notification n;
    unsigned count = 0;

    assert_int_equal(sim_peripheral_next_due(p), TIME_NEVER);
    assert_int_equal(sim_characteristic_subscribe(c, 1, 500000), 0);
    for (uint64_t t = 500000; t < 5500000; t += 10000)
        while (sim_peripheral_take_due(p, t, &n)) {
            count++;
            assert_ptr_equal(n.characteristic, c);
            assert_false(n.indicate);
            assert_int_equal(t, 500000 + count * SECOND);
            assert_int_equal(n.data[1], 60 + count);
        }
    assert_int_equal(count, 4);
    assert_int_equal(c->n_sent, 4);
    assert_int_equal(sim_characteristic_subscribe(c, 0, 6000000), 0);
    assert_false(sim_peripheral_take_due(p, 60 * (uint64_t)SECOND, &n));
}

static void late_player_gets_one_value_not_all_that_it_missed(void **state)
{
    struct sim_world *world = *state;
    struct sim_notification n;

    assert_int_equal(sim_characteristic_subscribe(characteristic(state, "rate"), 1, 0), 0);
    assert_true(sim_peripheral_take_due(&world->peripherals[0], 10 * SECOND, &n));
    assert_false(sim_peripheral_take_due(&world->peripherals[0], 10 * SECOND, &n));
}

static void cccd_takes_only_what_the_characteristic_offers(void **state)
{
    assert_int_equal(sim_characteristic_subscribe(characteristic(state, "rate"), 2, 0), 0xfd);
    assert_int_equal(sim_characteristic_subscribe(characteristic(state, "switch"), 1, 0), 0xfd);
    assert_int_equal(sim_characteristic_subscribe(characteristic(state, "switch"), 2, 0), 0);
    assert_int_equal(sim_characteristic_subscribe(characteristic(state, "broken"), 1, 0), 0x05);
}

static void echo_tells_subscribers_what_was_written(void **state)
{
    struct sim_world *world = *state;
    struct sim_characteristic *c = characteristic(state, "switch");
    struct sim_notification n;

    assert_int_equal(sim_characteristic_write(c, "\x05", 1, false), 0);
    assert_false(sim_peripheral_take_due(&world->peripherals[0], 0, &n));
    assert_int_equal(sim_characteristic_subscribe(c, 2, 0), 0);
    assert_int_equal(sim_characteristic_write(c, "\x06", 1, false), 0);
    assert_true(sim_peripheral_take_due(&world->peripherals[0], 0, &n));
    assert_true(n.indicate);
    assert_int_equal(n.length, 1);
    assert_int_equal(n.data[0], 6);
    assert_false(sim_peripheral_take_due(&world->peripherals[0], 0, &n));
}

#define ANSWERING                                                                            \
    "peripherals:\n"                                                                         \
    "  p:\n"                                                                                 \
    "    address: \"C8:00:00:00:00:01\"\n"                                                   \
    "    services:\n"                                                                        \
    "      - uuid: 0x1815\n"                                                                 \
    "        characteristics:\n"                                                             \
    "          - { id: state, uuid: 0x2A57, properties: [read, notify], value: \"0500\" }\n" \
    "          - { id: request, uuid: 0x2A56, properties: [write], on_write: [\n"            \
    "              { when: \"03\", characteristic: state, values: [\"a1\", \"a2a3\"] },\n"   \
    "              { when: \"41\", characteristic: state, values: [\"0000\"],\n"             \
    "                copy: { from: 1, to: 1, length: 1 } }] }\n"                             \
    "          - { id: target, uuid: 0x2A58, properties: [write], on_write: [\n"             \
    "              { characteristic: state, copy: { length: 2, step: 300 } }] }\n"

static void write_to(struct sim_world *world, const char *id, const void *data, size_t length)
{
    struct sim_characteristic *c = sim_peripheral_find(&world->peripherals[0], id);

    assert_int_equal(sim_characteristic_write(c, data, length, false), 0);
}

static void assert_notified(struct sim_world *world, const void *data, size_t length)
{
    struct sim_notification n;

    assert_int_equal(sim_peripheral_next_due(&world->peripherals[0]), 0);
    assert_true(sim_peripheral_take_due(&world->peripherals[0], 0, &n));
    assert_string_equal(n.characteristic->id, "state");
    assert_int_equal(n.length, length);
    assert_memory_equal(n.data, data, length);
}

static void write_is_answered_by_values_of_another_characteristic(void **state)
{
    struct sim_world *world = load(ANSWERING);
    struct sim_characteristic *c = sim_peripheral_find(&world->peripherals[0], "state");
    struct sim_notification n;

    write_to(world, "request", "\x03", 1); /* nobody is subscribed: only the value changes */
    assert_false(sim_peripheral_take_due(&world->peripherals[0], 0, &n));
    assert_int_equal(c->length, 2);
    assert_int_equal(sim_characteristic_subscribe(c, 1, 0), 0);
    write_to(world, "request", "\x03\x99", 2);
    assert_notified(world, "\xa1", 1);
    assert_notified(world, "\xa2\xa3", 2);
    write_to(world, "request", "\x41\x2b", 2);
    assert_notified(world, "\x00\x2b", 2);
    write_to(world, "request", "\x41", 1); /* nothing to copy */
    assert_notified(world, "\x00\x00", 2);
    write_to(world, "request", "\x04", 1);
    assert_false(sim_peripheral_take_due(&world->peripherals[0], 0, &n));
    sim_world_free(world);
}

static void value_comes_nearer_to_what_is_written(void **state)
{
    struct sim_world *world = load(ANSWERING);
    struct sim_characteristic *c = sim_peripheral_find(&world->peripherals[0], "state");

    assert_int_equal(sim_characteristic_subscribe(c, 1, 0), 0);
    write_to(world, "target", "\x58\x02", 2); /* 600 from 5 */
    assert_notified(world, "\x31\x01", 2);
    write_to(world, "target", "\x58\x02", 2);
    assert_notified(world, "\x58\x02", 2);
    write_to(world, "target", "\x00\x00", 2);
    assert_notified(world, "\x2c\x01", 2);
    sim_world_free(world);
}

static void burst_numbers_go_on_and_keep_the_rate(void **state)
{
    struct sim_world *world = *state;
    struct sim_peripheral *p = &world->peripherals[0];
    struct sim_characteristic *c = characteristic(state, "switch");
    struct sim_notification n;
    uint32_t expected = 0;

    assert_int_equal(sim_characteristic_burst(c, 10, 100, 0), -ENOTCONN);
    assert_int_equal(sim_characteristic_subscribe(c, 2, 0), 0);
    assert_int_equal(sim_characteristic_burst(c, 10, 0, 0), -ERANGE);
    assert_int_equal(sim_characteristic_burst(c, 10, SIM_MAX_RATE + 1, 0), -ERANGE);
    for (unsigned run = 0; run < 2; run++) {
        uint64_t start_us = run * (uint64_t)SECOND;

        assert_int_equal(sim_characteristic_burst(c, 10, 1000, start_us), 0);
        assert_int_equal(sim_characteristic_burst(c, 10, 1000, start_us), -EBUSY);
        for (uint64_t t = start_us; t < start_us + SECOND; t += 2500)
            while (sim_peripheral_take_due(p, t, &n)) {
                expected++;
                assert_int_equal(n.length, 4);
                assert_int_equal(n.data[0], expected);
                assert_true(t >= start_us + (expected - 1) % 10 * 1000);
            }
        assert_int_equal(expected, 10 * (run + 1));
    }
}

static void lost_link_forgets_subscriptions_and_bursts(void **state)
{
    struct sim_world *world = *state;
    struct sim_peripheral *p = &world->peripherals[0];
    struct sim_characteristic *c = characteristic(state, "switch");
    struct sim_notification n;

    sim_peripheral_connected(p, 0);
    assert_false(sim_peripheral_advertises(p));
    assert_int_equal(sim_characteristic_subscribe(c, 2, 0), 0);
    assert_int_equal(sim_characteristic_burst(c, 10, 1000, 0), 0);
    assert_true(sim_peripheral_take_due(p, 0, &n));
    sim_peripheral_disconnected(p);
    assert_true(sim_peripheral_advertises(p));
    assert_int_equal(sim_peripheral_next_due(p), TIME_NEVER);
    assert_int_equal(sim_characteristic_subscribe(c, 2, SECOND), 0);
    assert_false(sim_peripheral_take_due(p, 2 * SECOND, &n));
    /* the number goes on from what was really sent */
    assert_int_equal(sim_characteristic_burst(c, 1, 1000, 3 * SECOND), 0);
    assert_true(sim_peripheral_take_due(p, 3 * SECOND, &n));
    assert_int_equal(n.data[0], 2);
}

static void remembered_writes_are_bounded(void **state)
{
    struct sim_characteristic *c = characteristic(state, "switch");

    for (unsigned i = 0; i < SIM_MAX_WRITES + 2; i++) {
        uint8_t value[2] = {(uint8_t)i, (uint8_t)(i >> 8)};

        assert_int_equal(sim_characteristic_write(c, value, 2, false), 0);
    }
    assert_int_equal(c->n_writes, SIM_MAX_WRITES);
    assert_memory_equal(c->writes[0].value.data, "\x02\x00", 2);
}

static void simulated_house_of_the_project_loads(void **state)
{
    struct sim_world *world = NULL;
    struct diags diags;

    assert_int_equal(diags_init(&diags, "simulated-house.yaml"), 0);
    assert_int_equal(sim_world_load(SOURCE_ROOT "/config/simulated-house.yaml", &diags, &world), 0);
    assert_int_equal(diags.n_errors, 0);
    assert_non_null(sim_world_find(world, "strap"));
    assert_non_null(sim_peripheral_find(sim_world_find(world, "lamp"), "power"));
    sim_world_free(world);
    diags_done(&diags);
}

#define P "peripherals:\n  a:\n    address: \"C8:00:00:00:00:01\"\n"
#define C P "    services:\n      - uuid: 0x1800\n        characteristics:\n          - "

static const struct {
    const char *text, *message;
    size_t line;
} bad[] = {
    {"adapters: {}\n", "needs the key 'peripherals'", 1},
    {P "    colour: red\n", "a peripheral has no key 'colour'", 4},
    {P "    faults: [tired]\n", "'tired' is no fault; there are connect_hollow, ", 4},
    {P "    faults: tired\n", "faults: expected a list", 4},
    {P "adapters: { hci0: { address: \"00:1A:7D:00:00:01\", faults: [connect_mute] } }\n",
     "'connect_mute' is no fault; there are rfkill, ", 4},
    {P "bluez: 5.49\n", "'5.49' is no version of BlueZ from 5.50 to 5.82", 4},
    {P "bluez: \"5.5\"\n", "'5.5' is no version", 4},
    {"peripherals:\n  a: { address: \"C8:00\" }\n", "'C8:00' is no address", 2},
    {"peripherals:\n  \"a b\": { address: \"C8:00:00:00:00:01\" }\n", "'a b' is no id", 2},
    {P "  b:\n    address: \"C8:00:00:00:00:01\"\n", "'a' has the same address", 5},
    {P "    mtu: 22\n", "22 is outside 23 to 517", 4},
    {P "    interval: 19ms\n", "outside", 4},
    {P "    interval: 20\n", "no duration", 4},
    {P "    rssi: loud\n", "expected a whole number", 4},
    {P "    connectable: yes\n", "expected true or false", 4},
    {"peripherals:\n  a:\n    address: \"88:00:00:00:00:01\"\n    address_type: random\n",
     "a random address begins", 3},
    {P "    advertise: { manufacturer: { Nordic: \"00\" } }\n", "no company id", 4},
    {P "    advertise: { services: [180D] }\n", "'180D' is no UUID", 4},
    {C "{ properties: [read] }\n", "a characteristic needs the key 'uuid'", 7},
    {C "{ uuid: 0x2A00, properties: [reed] }\n", "'reed' is no property", 7},
    {C "{ uuid: 0x2A00, properties: [read], value: 00 }\n", "hex digits in quotes", 7},
    {C "{ uuid: 0x2A00, properties: [read], value: \"0\" }\n", "no run of hex digits", 7},
    {C "{ uuid: 0x2A00, properties: [read], notify: 1s }\n", "'notify' needs notify or indicate",
     7},
    {C "{ uuid: 0x2A00, properties: [read], value: \"00\", waves: [{ type: uint16, shape: sine, "
       "min: 0, max: 1 }] }\n",
     "wave 1 does not fit", 7},
    {C "{ uuid: 0x2A00, properties: [read], value: \"00\", waves: [{ type: uint8, shape: sine, "
       "min: 0, max: 256 }] }\n",
     "do not both fit its type", 7},
    {C "{ uuid: 0x2A00, properties: [read], length: { min: 2, max: 1 } }\n", "min is above its max",
     7},
    {C
     "{ id: x, uuid: 0x2A00, properties: [read] }\n          - { id: x, uuid: 0x2A01, properties: "
     "[read] }\n",
     "two characteristics have the id 'x'", 5},
    {"adapters: { usb0: { address: \"00:00:00:00:00:01\" } }\nperipherals: {}\n",
     "'usb0' is no adapter's name", 1},
};

static void bad_files_say_what_is_wrong_and_where(void **state)
{
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        struct sim_world *world = NULL;
        struct diags diags;

        assert_int_equal(diags_init(&diags, "bad.yaml"), 0);
        assert_int_equal(sim_world_parse(bad[i].text, strlen(bad[i].text), &diags, &world),
                         -EINVAL);
        diags_sort(&diags);
        bool found = false;
        for (size_t k = 0; k < diags.n; k++)
            found = found ||
                    (strstr(diags.list[k].message, bad[i].message) != NULL &&
                     diags.list[k].line >= bad[i].line && diags.list[k].line <= bad[i].line + 1);
        if (!found) {
            print_error("expected '%s' at line %zu:\n", bad[i].message, bad[i].line);
            diags_print(&diags, stderr);
        }
        assert_true(found);
        diags_done(&diags);
    }
}

int main(void)
{
#define WITH_HOUSE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH_HOUSE(file_describes_the_peripheral),
        WITH_HOUSE(handles_follow_the_file),
        WITH_HOUSE(written_value_reads_back_and_is_remembered),
        WITH_HOUSE(wrong_write_gives_its_att_error_and_changes_nothing),
        WITH_HOUSE(read_faults_and_offsets_give_their_att_errors),
        WITH_HOUSE(script_gives_one_value_per_read_but_not_per_part_of_a_long_read),
        WITH_HOUSE(notifications_come_each_period_while_subscribed),
        WITH_HOUSE(late_player_gets_one_value_not_all_that_it_missed),
        WITH_HOUSE(cccd_takes_only_what_the_characteristic_offers),
        WITH_HOUSE(echo_tells_subscribers_what_was_written),
        cmocka_unit_test(write_is_answered_by_values_of_another_characteristic),
        cmocka_unit_test(value_comes_nearer_to_what_is_written),
        WITH_HOUSE(burst_numbers_go_on_and_keep_the_rate),
        WITH_HOUSE(lost_link_forgets_subscriptions_and_bursts),
        WITH_HOUSE(remembered_writes_are_bounded),
        cmocka_unit_test(simulated_house_of_the_project_loads),
        cmocka_unit_test(bad_files_say_what_is_wrong_and_where),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
