/* What goes wrong between hearing a peripheral and its services: cases 1 to 8 and 15 of
 * tests/bus/README.md. */
#include "bus/helper_house.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

static struct house *open_lamp(const char *fault)
{
    struct house *house =
        house_new(HOUSE_TIMING(", connect_timeout: 40s") "peripherals:\n" HOUSE_LAMP(""),
                  "devices:\n" HOUSE_DEVICE_LAMP);

    if (fault)
        house_control(house, "fault lamp %s on", fault);
    house_start(house);
    return house;
}

/* it is as useful as ever: values come, each once */
static void assert_works(struct house *house)
{
    unsigned before = house_count(house, "lamp/stream"), first = 0;

    assert_int_equal(sscanf(house_control(house, "notify lamp stream 10 1000"), "first=%u", &first),
                     1);
    house_assert_burst(house, "lamp/stream", before, first, first + 9);
}

static void case_01_services_that_come_after_resolved_are_waited_for(void **state)
{
    struct house *house = open_lamp("resolve_early");

    house_until_online(house, "lamp");
    assert_works(house);
    assert_int_equal(house_calls(house, "Connect"), 1);
    assert_int_equal(house_calls(house, "Disconnect"), 0);
    assert_int_equal(house_calls(house, "RemoveDevice"), 0);
    house_free(house);
}

static void case_02_no_services_is_a_failed_attempt_and_the_cache_is_cleared_once(void **state)
{
    struct house *house = open_lamp("resolve_empty");

    house_until_link(house, "lamp", "shows no services");
    house_until_reason(house, "lamp", "no_services"); /* and again, after it was forgotten */
    for (unsigned minute = 0; minute < 30; minute++) {
        house_run(house, 40);
        house_skip(house, 60000);
    }
    house_until_reason(house, "lamp", "no_services");
    assert_int_equal(house_calls(house, "RemoveDevice"), 1);
    assert_in_range(house_calls(house, "Connect"), 4, 30); /* more slowly, but it goes on */
    house_control(house, "fault lamp resolve_empty off");
    house_skip_until_link(house, "lamp", "\"state\":\"online\"", 60000);
    assert_works(house);
    house_free(house);
}

static void wait_for_the_aborted_link(struct house *house, const char *fault)
{
    house_until_control(house, "state lamp", "connected hci0");
    unsigned connects = house_calls(house, "Connect");
    house_control(house, "fault lamp %s off", fault);
    while (strcmp(house_control(house, "state lamp"), "connected hci0") == 0) {
        assert_int_equal(house_calls(house, "Connect"), connects); /* the link is there still */
        assert_false(house_is_online(house, "lamp"));
        house_run(house, 1);
    }
    house_until_online(house, "lamp");
    assert_works(house);
    assert_in_range(house_calls(house, "Connect"), connects + 1, connects + 3);
}

static void case_03_a_failed_connect_whose_link_comes_all_the_same_is_waited_out(void **state)
{
    struct house *house = open_lamp("connect_abort");

    wait_for_the_aborted_link(house, "connect_abort");
    house_free(house);
}

static void case_03_a_failed_connect_whose_object_goes_is_found_again(void **state)
{
    struct house *house = open_lamp("connect_vanish");

    wait_for_the_aborted_link(house, "connect_vanish");
    house_free(house);
}

static void case_04_a_connect_that_succeeds_without_a_link_is_given_up_after_5_s(void **state)
{
    struct house *house = open_lamp("connect_hollow");

    house_until_calls(house, "Connect", 1);
    house_settle(house);
    house_skip(house, 3000);
    assert_int_equal(house_calls(house, "Disconnect"), 0);
    house_control(house, "fault lamp connect_hollow off");
    house_skip(house, 2500);
    assert_int_equal(house_calls(house, "Disconnect"), 1);
    house_until_reason(house, "lamp", "connect_timeout");
    house_until_online(house, "lamp");
    assert_int_equal(house_calls(house, "Connect"), 2);
    assert_works(house);
    house_free(house);
}

static void case_05_a_connect_that_is_never_answered_ends_with_its_object(void **state)
{
    struct house *house = open_lamp("connect_mute");

    house_until_calls(house, "Connect", 1);
    house_settle(house);
    house_control(house, "fault lamp connect_mute off");
    house_control(house, "forget lamp");
    house_until_reason(house, "lamp", "not_heard");
    house_until_online(house, "lamp"); /* without any deadline having passed */
    assert_int_equal(house_calls(house, "Connect"), 2);
    assert_int_equal(house_calls(house, "Disconnect"), 0);
    assert_works(house);
    house_free(house);
}

static void case_05_a_connect_that_is_never_answered_ends_after_20_s(void **state)
{
    struct house *house = open_lamp("connect_mute");

    house_until_calls(house, "Connect", 1);
    house_settle(house);
    house_skip(house, 17000);
    house_assert_link(house, "lamp", "\"state\":\"connecting\"");
    house_control(house, "fault lamp connect_mute off");
    house_skip(house, 3500);
    house_until_reason(house, "lamp", "connect_timeout");
    assert_int_equal(house_calls(house, "Disconnect"), 1);
    house_until_online(house, "lamp");
    assert_works(house);
    house_free(house);
}

static void case_06_a_slow_connect_holds_the_others_up_for_20_s_at_most(void **state)
{
    struct house *house =
        house_new(HOUSE_TIMING(", connect_timeout: 39s") "peripherals:\n" HOUSE_LAMP("")
                      HOUSE_METER("    present: false\n"),
                  "devices:\n" HOUSE_DEVICE_LAMP HOUSE_DEVICE_METER);

    house_start(house);
    house_until_calls(house, "Connect", 1); /* the lamp was heard */
    house_control(house, "vanish lamp");
    house_control(house, "appear meter");
    house_run(house, 50);
    house_assert_link(house, "lamp", "\"state\":\"connecting\"");
    assert_false(house_is_online(house, "meter"));
    house_skip(house, 20100);
    house_until_reason(house, "lamp", "connect_timeout");
    house_until_online(house, "meter");
    assert_int_equal(house_calls(house, "Disconnect"), 1);
    house_control(house, "appear lamp");
    house_skip_until_link(house, "lamp", "\"state\":\"online\"", 1000);
    assert_works(house);
    house_free(house);
}

static void case_07_while_another_program_connects_it_is_asked_ever_more_rarely(void **state)
{
    struct house *house = open_lamp("connect_busy");

    house_until_reason(house, "lamp", "busy_elsewhere");
    house_assert_link(house, "lamp", "another program");
    for (unsigned s = 0; s < 600; s += 5) {
        house_run(house, 5);
        house_skip(house, 5000);
    }
    unsigned connects = house_calls(house, "Connect");
    assert_in_range(connects, 10, 90); /* in 10 minutes; advertisements come all the time */
    assert_in_range(house_calls(house, "Disconnect"), connects - 1, connects); /* one each */
    house_assert_link(house, "lamp", "\"reason\":\"busy_elsewhere\"");
    house_control(house, "fault lamp connect_busy off");
    house_skip_until_link(house, "lamp", "\"state\":\"online\"", 1000);
    assert_works(house);
    house_free(house);
}

static void case_07_the_link_that_another_program_makes_is_taken(void **state)
{
    struct house *house = house_new(
        HOUSE_TIMING(", connect_timeout: 40s") "peripherals:\n" HOUSE_LAMP("    present: false\n"),
        "devices:\n" HOUSE_DEVICE_LAMP);

    house_control(house, "connect lamp"); /* and waits for it */
    house_start(house);
    house_until_reason(house, "lamp", "not_heard");
    house_run(house, 50);
    house_control(house, "appear lamp");
    house_control(house, "connect lamp"); /* ours may have cancelled it */
    house_until_online(house, "lamp");
    assert_works(house);
    house_free(house);
}

static struct house *open_tag(void)
{
    struct house *house = house_new(
        HOUSE_TIMING(
            ", connect_timeout: 40s, temporary: 300ms") "peripherals:\n"
                                                        "  tag:\n"
                                                        "    address: '4A:00:00:00:00:03'\n"
                                                        "    address_type: random\n"
                                                        "    name: Tag\n"
                                                        "    interval: 20ms\n"
                                                        "    services:\n"
                                                        "      - { uuid: 0xFA00, characteristics: "
                                                        "[{ id: stream, uuid: 0xFA01, value: "
                                                        "'00000000',\n"
                                                        "          properties: [read, notify] }] "
                                                        "}\n",
        "devices:\n"
        "  tag:\n"
        "    match: { name: Tag }\n"
        "    characteristics: { stream: { uuid: 0xFA01, subscribe: true } }\n");

    house_start(house);
    house_until_reason(house, "tag", "choosing");
    house_skip(house, 10100);
    return house;
}

/* A resolvable address: BlueZ forgets the object when it has not been heard for a while, also while
 * it is connecting to it, and answers nothing. */
static void case_15_an_object_that_expires_while_connecting_is_looked_for_again(void **state)
{
    struct house *house = open_tag();

    house_until_calls(house, "Connect", 1);
    house_control(house, "vanish tag");
    house_until_reason(house, "tag", "not_heard"); /* and not "connecting" for 20 s */
    assert_int_equal(house_calls(house, "Disconnect"), 0);
    house_run(house, 100);
    assert_int_equal(house_calls(house, "Connect"), 1);
    house_control(house, "appear tag");
    house_until_reason(house, "tag", "choosing"); /* it may have another address by now */
    house_skip(house, 10100);
    house_until_online(house, "tag");
    house_free(house);
}

static void case_15_a_peer_whose_address_changed_is_found_by_what_it_is(void **state)
{
    struct house *house = open_tag();

    house_until_online(house, "tag");
    house_assert_link(house, "tag", "4A:00:00:00:00:03");
    for (int i = 5; i < 8; i++) {
        char address[32];

        snprintf(address, sizeof(address), "4A:00:00:00:00:%02X", i);
        house_control(house, "vanish tag");
        house_until_link(house, "tag", "nothing that fits `match` is heard any more");
        assert_null(strstr(house_said(house, "tag/status/link"), "4A:00"));
        house_control(house, "address tag %s", address);
        house_control(house, "appear tag");
        house_until_reason(house, "tag", "choosing");
        house_skip(house, 10100);
        house_until_online(house, "tag");
        house_assert_link(house, "tag", address);
    }
    house_free(house);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(case_01_services_that_come_after_resolved_are_waited_for),
        cmocka_unit_test(case_02_no_services_is_a_failed_attempt_and_the_cache_is_cleared_once),
        cmocka_unit_test(case_03_a_failed_connect_whose_link_comes_all_the_same_is_waited_out),
        cmocka_unit_test(case_03_a_failed_connect_whose_object_goes_is_found_again),
        cmocka_unit_test(case_04_a_connect_that_succeeds_without_a_link_is_given_up_after_5_s),
        cmocka_unit_test(case_05_a_connect_that_is_never_answered_ends_with_its_object),
        cmocka_unit_test(case_05_a_connect_that_is_never_answered_ends_after_20_s),
        cmocka_unit_test(case_06_a_slow_connect_holds_the_others_up_for_20_s_at_most),
        cmocka_unit_test(case_07_while_another_program_connects_it_is_asked_ever_more_rarely),
        cmocka_unit_test(case_07_the_link_that_another_program_makes_is_taken),
        cmocka_unit_test(case_15_a_peer_whose_address_changed_is_found_by_what_it_is),
        cmocka_unit_test(case_15_an_object_that_expires_while_connecting_is_looked_for_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
