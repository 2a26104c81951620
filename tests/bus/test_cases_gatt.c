/* Advertisements and attributes: cases 18 to 24 of tests/bus/README.md. */
#include "bus/helper_house.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#define WORLD   HOUSE_TIMING("") "peripherals:\n"
#define DEVICES "devices:\n"
#define NUMBER  "fields: { value: { type: uint8 } }"

/* a peripheral whose characteristics a test says, and the entry for it */
#define ODD(characteristics)             \
    "  odd:\n"                           \
    "    address: 'C8:00:00:00:00:04'\n" \
    "    address_type: random\n"         \
    "    interval: 20ms\n"               \
    "    services:\n"                    \
    "      - uuid: 0xFA00\n"             \
    "        characteristics:\n" characteristics
#define ODD_DEVICE(characteristics)                 \
    "  odd:\n"                                      \
    "    match: { address: 'C8:00:00:00:00:04' }\n" \
    "    characteristics:\n" characteristics

static struct house *open_online(const char *world, const char *config, const char *device)
{
    struct house *house = house_new(world, config);

    house_start(house);
    house_until_online(house, device);
    return house;
}

static struct house *open_lamp(void)
{
    return open_online(WORLD HOUSE_LAMP(""), DEVICES HOUSE_DEVICE_LAMP, "lamp");
}

/* the same with values over a socket */
static struct house *new_socket_lamp(const char *more)
{
    char world[1024];

    snprintf(world, sizeof(world),
             WORLD "  lamp:\n"
                   "    address: 'C8:00:00:00:00:01'\n"
                   "    address_type: random\n"
                   "    interval: 20ms\n%s"
                   "    services: [{ uuid: 0xFA00, characteristics: [{ id: stream, uuid: 0xFA01,\n"
                   "      properties: [read, notify], value: '00000000' },\n"
                   "      { id: raw, uuid: 0xFA03, properties: [notify], value: '' }] }]\n",
             more);
    return house_new(world,
                     DEVICES "  lamp:\n"
                             "    match: { address: 'C8:00:00:00:00:01' }\n"
                             "    characteristics:\n"
                             "      stream: { uuid: 0xFA01, subscribe: true, notify: socket,\n"
                             "                fields: { value: { type: uint32 } } }\n"
                             "      raw: { uuid: 0xFA03, subscribe: true, notify: socket }\n");
}

static void assert_works(struct house *house)
{
    unsigned before = house_count(house, "lamp/stream"), first = 0;

    assert_int_equal(sscanf(house_control(house, "notify lamp stream 10 1000"), "first=%u", &first),
                     1);
    house_assert_burst(house, "lamp/stream", before, first, first + 9);
}

static void case_18_an_equal_strength_again_is_heard_and_one_taken_back_is_not(void **state)
{
    struct house *house = house_new(WORLD HOUSE_LAMP(""), DEVICES HOUSE_DEVICE_LAMP);

    house_control(house, "refuse lamp on"); /* so that it is looked for all the time */
    house_start(house);
    house_until_reason(house, "lamp", "connect_failed");
    unsigned said = house_count(house, "lamp/status/link");
    for (int i = 0; i < 60; i++) { /* 5 minutes, with the same -50 dBm every time */
        house_run(house, 45);
        house_skip(house, 5000);
    }
    for (; said < house_count(house, "lamp/status/link"); said++)
        assert_null(strstr(house_nth(house, "lamp/status/link", said), "not_heard"));
    /* Connecting stops the scan, and with the scan BlueZ takes the strength back. */
    house_control(house, "vanish lamp");
    house_control(house, "refuse lamp off");
    house_skip_until_link(house, "lamp", "\"reason\":\"not_heard\"", 5000);
    house_assert_link(house, "lamp", "\"rssi\":-50"); /* heard last, with its age */
    house_control(house, "appear lamp");
    house_skip_until_link(house, "lamp", "\"state\":\"online\"", 1000);
    assert_works(house);
    house_free(house);
}

static void case_19_what_a_peer_advertised_before_hides_nothing(void **state)
{
    struct house *house =
        house_new(WORLD HOUSE_LAMP("    advertise: { manufacturer: { 0x0059: '0200' } }\n"),
                  DEVICES HOUSE_DEVICE("lamp", "manufacturer: { id: 0x0059, data: '01' }", ""));

    house_start(house);
    for (unsigned i = 0; i < 20; i++) { /* BlueZ keeps what it heard of every company */
        house_control(house, "advertise lamp %u 77%02x", 1000 + i, i);
        house_run(house, 30);
    }
    house_assert_link(house, "lamp", "nothing that fits");
    house_control(house, "advertise lamp 0x0059 0177");
    house_until_reason(house, "lamp", "choosing");
    house_skip(house, 10100);
    house_until_online(house, "lamp");
    house_free(house);
}

static void case_19_more_companies_than_are_kept_do_no_harm(void **state)
{
    struct house *house = house_new(WORLD HOUSE_LAMP(""), DEVICES HOUSE_DEVICE_LAMP);

    house_control(house, "refuse lamp on");
    house_start(house);
    for (unsigned i = 0; i < 60; i++) {
        house_control(house, "advertise lamp %u %02x", 1000 + i, i);
        house_run(house, 25);
    }
    house_control(house, "refuse lamp off");
    house_skip_until_link(house, "lamp", "\"state\":\"online\"", 1000);
    assert_works(house);
    house_free(house);
}

#define TWO_BATTERIES                                                                           \
    WORLD "  lamp:\n"                                                                           \
          "    address: 'C8:00:00:00:00:01'\n"                                                  \
          "    address_type: random\n"                                                          \
          "    interval: 20ms\n"                                                                \
          "    services:\n"                                                                     \
          "      - { uuid: 0x180F, characteristics: [{ id: left, uuid: 0x2A19, value: '0b',\n"  \
          "          properties: [read, notify] }] }\n"                                         \
          "      - { uuid: 0x180F, characteristics: [{ id: right, uuid: 0x2A19, value: '16',\n" \
          "          properties: [read, notify] }] }\n"
#define TWO_BATTERIES_DEVICE(characteristics)               \
    DEVICES "  lamp:\n"                                     \
            "    match: { address: 'C8:00:00:00:00:01' }\n" \
            "    characteristics:\n" characteristics

static void case_20_two_batteries_are_told_apart(void **state)
{
    struct house *house =
        open_online(TWO_BATTERIES,
                    TWO_BATTERIES_DEVICE(
                        "      left: { uuid: 0x2A19, index: 0, subscribe: true, " NUMBER " }\n"
                        "      right: { uuid: 0x2A19, index: 1, subscribe: true, " NUMBER " }\n"),
                    "lamp");

    house_control(house, "value lamp left 0c");
    house_control(house, "value lamp right 17");
    house_until(house, "lamp/left", "\"value\":12");
    house_until(house, "lamp/right", "\"value\":23");
    house_send(house, "lamp/right/get", "");
    house_until(house, "lamp/right/result", "23");
    assert_int_equal(house_count(house, "lamp/left"), 1);
    assert_int_equal(house_count(house, "lamp/right"), 2);
    house_free(house);
}

static void case_20_ambiguity_is_an_error_that_names_the_candidates(void **state)
{
    struct house *house = house_new(
        TWO_BATTERIES, TWO_BATTERIES_DEVICE("      battery: { uuid: 0x2A19, subscribe: true }\n"));

    house_start(house);
    house_until_reason(house, "lamp", "gatt_missing");
    house_assert_link(house, "lamp", "more than once");
    house_assert_link(house, "lamp", "index 0 = handle");
    house_assert_link(house, "lamp", "index 1 = handle");
    assert_int_equal(house_calls(house, "RemoveDevice"), 0); /* no cache is to blame */
    house_free(house);
}

static void case_20_what_is_not_ambiguous_works_beside_it(void **state)
{
    struct house *house = open_online(
        TWO_BATTERIES,
        TWO_BATTERIES_DEVICE("      left: { uuid: 0x2A19, index: 0, subscribe: true, " NUMBER " }\n"
                             "      battery: { uuid: 0x2A19, writable: true, " NUMBER " }\n"),
        "lamp");

    house_control(house, "value lamp left 0c");
    house_until(house, "lamp/left", "\"value\":12");
    house_send(house, "lamp/battery/get", "");
    house_until(house, "lamp/battery/result", "more than once");
    house_free(house);
}

static void case_21_a_read_is_no_notification(void **state)
{
    struct house *house = open_lamp();

    for (unsigned i = 1; i <= 20; i++) {
        house_send(house, "lamp/stream/get", "");
        house_until(house, "lamp/stream/result", "\"ok\"");
        assert_int_equal(house_count(house, "lamp/stream"), i); /* the answer, and not its echo */
    }
    assert_works(house);
    house_free(house);
}

static void case_21_a_read_between_notifications_costs_none(void **state)
{
    struct house *house = open_lamp();
    unsigned next = 1, reads = 0;

    house_control(house, "notify lamp stream 300 1000");
    for (int i = 0; i < 10; i++) {
        house_send(house, "lamp/stream/get", "");
        house_run(house, 20);
    }
    while (house_count(house, "lamp/stream/result") < 10 || house_count(house, "lamp/stream") < 310)
        house_run(house, 10);
    assert_int_equal(house_count(house, "lamp/stream"), 310);
    for (unsigned i = 0; i < 310; i++) {
        unsigned value;
        assert_int_equal(sscanf(house_nth(house, "lamp/stream", i), "{\"value\":%u,", &value), 1);
        if (value == next) /* a read gives the value that the peripheral has beside the burst: 0 */
            next++;
        else
            reads++;
    }
    assert_int_equal(next, 301);
    assert_int_equal(reads, 10);
    house_free(house);
}

static void case_21_a_value_before_the_reply_to_start_notify_counts(void **state)
{
    struct house *house = open_online(
        WORLD ODD("          - { id: level, uuid: 0xFA01, properties: [notify], value: '2a',\n"
                  "              notify_at_once: true }\n"),
        DEVICES ODD_DEVICE("      level: { uuid: 0xFA01, subscribe: true,\n"
                           "               fields: { value: { type: uint8 } } }\n"),
        "odd");

    assert_int_equal(house_count(house, "odd/level"), 1);
    assert_non_null(strstr(house_said(house, "odd/level"), "\"value\":42"));
    /* also after a reconnect, when BlueZ subscribes again before anybody asks */
    house_control(house, "drop odd");
    house_until_link(house, "odd", "\"reason\":\"link_lost\"");
    house_until_online(house, "odd");
    assert_int_equal(house_count(house, "odd/level"), 2);
    house_free(house);
}

static void case_21_an_empty_value_is_one(void **state)
{
    struct house *house = open_online(
        WORLD ODD("          - { id: raw, uuid: 0xFA01, properties: [notify], value: '01' }\n"
                  "          - { id: number, uuid: 0xFA02, properties: [notify], value: '01' }\n"),
        DEVICES ODD_DEVICE("      raw: { uuid: 0xFA01, subscribe: true }\n"
                           "      number: { uuid: 0xFA02, subscribe: true,\n"
                           "                fields: { value: { type: uint8 } } }\n"),
        "odd");

    house_control(house, "value odd raw -");
    house_until(house, "odd/raw", "{\"value\":\"\"");
    house_control(house,
                  "value odd number -"); /* too short for its field: counted, not published */
    house_control(house, "value odd number 07");
    house_until(house, "odd/number", "{\"value\":7,");
    assert_int_equal(house_count(house, "odd/raw"), 1);
    assert_int_equal(house_count(house, "odd/number"), 1);
    house_free(house);
}

static void case_21_bursts_of_1000_keep_their_order_and_their_owner(void **state)
{
    struct house *house = open_online(WORLD HOUSE_LAMP("") HOUSE_METER(""),
                                      DEVICES HOUSE_DEVICE_LAMP HOUSE_DEVICE_METER, "lamp");

    while (!house_is_online(house, "meter"))
        house_run(house, 5);
    house_control(house, "notify lamp stream 1000 10000");
    house_control(house, "notify meter stream 1000 10000");
    house_assert_burst(house, "lamp/stream", 0, 1, 1000);
    house_assert_burst(house, "meter/stream", 0, 1, 1000);
    assert_int_equal(house_count(house, "lamp/stream"), 1000);
    assert_int_equal(house_count(house, "meter/stream"), 1000);
    house_free(house);
}

static void drop_at_start_notify(struct house *house, const char *member)
{
    if (strcmp(member, "StartNotify") != 0)
        return;
    house->on_call = NULL;
    house_control(house, "drop lamp");
}

static void case_22_start_notify_that_succeeds_without_a_link_is_not_believed(void **state)
{
    struct house *house = house_new(WORLD HOUSE_LAMP(""), DEVICES HOUSE_DEVICE_LAMP);

    house->on_call = drop_at_start_notify; /* BlueZ says yes, and begins with the next link */
    house_start(house);
    house_until_reason(house, "lamp", "link_lost");
    assert_false(house_is_online(house, "lamp"));
    house_until_online(house, "lamp");
    assert_works(house);
    house_free(house);
}

static void case_22_start_notify_in_progress_after_a_reconnect_is_as_good(void **state)
{
    struct house *house = open_lamp();

    house_control(house, "fault lamp notify_busy on"); /* BlueZ has done it by itself */
    house_control(house, "drop lamp");
    house_until_reason(house, "lamp", "link_lost");
    house_until_online(house, "lamp");
    assert_works(house);
    house_free(house);
}

static void subscribing_is_refused(const char *fault, const char *words)
{
    char more[64];
    snprintf(more, sizeof(more), "fault lamp %s on", fault);
    struct house *house = house_new(WORLD HOUSE_LAMP(""), DEVICES HOUSE_DEVICE_LAMP);

    house_control(house, "%s", more);
    house_start(house);
    house_until_reason(house, "lamp", "subscribe_failed");
    house_assert_link(house, "lamp", words);
    for (int i = 0; i < 60; i++) { /* 5 minutes */
        house_run(house, 20);
        house_skip(house, 5000);
    }
    assert_false(house_is_online(house, "lamp"));
    assert_in_range(house_calls(house, "StartNotify"), 3, 60);
    house_control(house, "fault lamp %s off", fault);
    house_skip_until_link(house, "lamp", "\"state\":\"online\"", 5000);
    assert_works(house);
    house_free(house);
}

static void case_22_start_notify_in_progress_for_ever_is_said(void **state)
{
    subscribing_is_refused("notify_busy", "subscribing to stream failed (In Progress)");
}

static void case_22_notifications_that_another_program_holds_are_said(void **state)
{
    subscribing_is_refused("notify_held", "subscribing to stream failed (Notify acquired)");
}

static void case_23_acquire_notify_without_an_answer_falls_back_to_signals(void **state)
{
    struct house *house = new_socket_lamp("    faults: [acquire_mute]\n");

    house_start(house);
    house_until_online(house, "lamp");
    assert_int_equal(house_calls(house, "AcquireNotify"), 2);
    assert_int_equal(house_calls(house, "StartNotify"), 2);
    assert_works(house);
    house_free(house);
}

/* BlueZ before 5.84: the CCCD could not be written, no answer comes, and it counts as acquired. */
static void case_23_acquire_notify_that_wedges_is_said_and_heals_with_the_link(void **state)
{
    struct house *house = new_socket_lamp("");
    struct sim_characteristic *stream =
        sim_peripheral_find(&house->world->peripherals[0], "stream");

    stream->notify_error = 0x0e;
    house_start(house);
    unsigned descriptors = house_descriptors();
    house_until_link(house, "lamp", "subscribing to stream failed");
    stream->notify_error = 0;
    house_skip_until_link(house, "lamp", "\"state\":\"online\"", 5000);
    assert_works(house);
    assert_int_equal(house_descriptors(), descriptors + 2 * 2); /* both ends of two sockets */
    house_free(house);
}

static void case_23_an_empty_packet_is_a_value_and_not_the_end(void **state)
{
    struct house *house = new_socket_lamp("");

    house_start(house);
    house_until_online(house, "lamp");
    house_control(house, "value lamp raw -");
    house_until(house, "lamp/raw", "{\"value\":\"\"");
    house_control(house, "value lamp raw 0102");
    house_until(house, "lamp/raw", "{\"value\":\"0102\"");
    assert_int_equal(house_count(house, "lamp/raw"), 2);
    assert_int_equal(house_calls(house, "AcquireNotify"), 2); /* and nothing was subscribed again */
    assert_works(house);
    house_free(house);
}

static void case_23_sockets_that_hang_up_at_a_disconnect_leave_nothing_behind(void **state)
{
    struct house *house = new_socket_lamp("");
    unsigned descriptors = 0;

    house_start(house);
    house_until_online(house, "lamp");
    for (int i = 0; i < 10; i++) {
        if (i == 0)
            descriptors = house_descriptors();
        unsigned first, before = house_count(house, "lamp/stream");
        char sent[16];
        assert_int_equal(
            sscanf(house_control(house, "notify lamp stream 20 10000"), "first=%u", &first), 1);
        snprintf(sent, sizeof(sent), "%u", first + 19);
        house_until_control(house, "sent lamp stream", sent);
        house_control(house, "drop lamp"); /* what the socket holds counts still */
        house_assert_burst(house, "lamp/stream", before, first, first + 19);
        house_skip_until_link(house, "lamp", "\"state\":\"online\"", 1000);
        assert_int_equal(house_descriptors(), descriptors);
    }
    assert_works(house);
    house_free(house);
}

static void case_24_a_read_whose_attribute_went_is_answered_and_the_new_ones_are_taken(void **state)
{
    struct house *house = open_lamp();
    uint16_t handle = sim_peripheral_find(&house->world->peripherals[0], "stream")->handle;
    char new_path[64];

    house_control(house, "slow lamp 20000");
    house_send(house, "lamp/level/get", "");
    house_until_calls(house, "ReadValue", 1);
    house_settle(house);
    house_control(house, "slow lamp 0");
    house_control(house, "services lamp 8");
    house_until(house, "lamp/level/result", "\"status\":\"error\"");
    house_until_calls(house, "StartNotify", 2);
    snprintf(new_path, sizeof(new_path), "/char%04x", handle + 8 - 1);
    assert_non_null(strstr(house->last_call, new_path));
    while (!house_is_online(house, "lamp"))
        house_run(house, 5);
    assert_works(house);
    house_send(house, "lamp/level/set", "513");
    house_until(house, "lamp/level/result", "\"ok\"");
    assert_string_equal(house_control(house, "writes lamp level"), "request:0102");
    assert_int_equal(house_calls(house, "Connect"), 1); /* the link was good all the time */
    assert_int_equal(house_count(house, "lamp/level/result"), 2);
    house_free(house);
}

static void case_24_services_that_change_while_subscribing_are_looked_at_again(void **state)
{
    struct house *house = house_new(WORLD HOUSE_LAMP(""), DEVICES HOUSE_DEVICE_LAMP);

    house_control(house, "slow lamp 100");
    house_start(house);
    house_until_calls(house, "StartNotify", 1);
    house_settle(house);
    house_control(house, "services lamp 8");
    house_control(house, "slow lamp 0");
    house_until_online(house, "lamp");
    assert_works(house);
    assert_int_equal(house_calls(house, "Connect"), 1);
    house_free(house);
}

/* Without a subscription that ends nothing but the tree itself tells of the change. */
static void case_24_a_peer_without_subscriptions_is_looked_at_again(void **state)
{
    struct house *house = open_online(
        WORLD ODD(
            "          - { id: level, uuid: 0xFA01, properties: [read, write], value: '2a' }\n"),
        DEVICES ODD_DEVICE("      level: { uuid: 0xFA01, writable: true, " NUMBER " }\n"), "odd");

    house_control(house, "services odd 8");
    house_until_reason(house, "odd", "resolving");
    house_until_online(house, "odd");
    house_send(house, "odd/level/set", "7");
    house_until(house, "odd/level/result", "\"ok\"");
    assert_string_equal(house_control(house, "writes odd level"), "request:07");
    assert_int_equal(house_calls(house, "Connect"), 1);
    house_free(house);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(case_18_an_equal_strength_again_is_heard_and_one_taken_back_is_not),
        cmocka_unit_test(case_19_what_a_peer_advertised_before_hides_nothing),
        cmocka_unit_test(case_19_more_companies_than_are_kept_do_no_harm),
        cmocka_unit_test(case_20_two_batteries_are_told_apart),
        cmocka_unit_test(case_20_ambiguity_is_an_error_that_names_the_candidates),
        cmocka_unit_test(case_20_what_is_not_ambiguous_works_beside_it),
        cmocka_unit_test(case_21_a_read_is_no_notification),
        cmocka_unit_test(case_21_a_read_between_notifications_costs_none),
        cmocka_unit_test(case_21_a_value_before_the_reply_to_start_notify_counts),
        cmocka_unit_test(case_21_an_empty_value_is_one),
        cmocka_unit_test(case_21_bursts_of_1000_keep_their_order_and_their_owner),
        cmocka_unit_test(case_22_start_notify_that_succeeds_without_a_link_is_not_believed),
        cmocka_unit_test(case_22_start_notify_in_progress_after_a_reconnect_is_as_good),
        cmocka_unit_test(case_22_start_notify_in_progress_for_ever_is_said),
        cmocka_unit_test(case_22_notifications_that_another_program_holds_are_said),
        cmocka_unit_test(case_23_acquire_notify_without_an_answer_falls_back_to_signals),
        cmocka_unit_test(case_23_acquire_notify_that_wedges_is_said_and_heals_with_the_link),
        cmocka_unit_test(case_23_an_empty_packet_is_a_value_and_not_the_end),
        cmocka_unit_test(case_23_sockets_that_hang_up_at_a_disconnect_leave_nothing_behind),
        cmocka_unit_test(
            case_24_a_read_whose_attribute_went_is_answered_and_the_new_ones_are_taken),
        cmocka_unit_test(case_24_services_that_change_while_subscribing_are_looked_at_again),
        cmocka_unit_test(case_24_a_peer_without_subscriptions_is_looked_at_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
