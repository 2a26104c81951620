/* Every version of BlueZ, with its own words and properties: case 8 of tests/bus/README.md, and the
 * whole job in each of them. */
#include "bus/helper_house.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

/* around each change of words or properties */
static const char *const versions[] = {"5.50", "5.55", "5.61", "5.62", "5.66",
                                       "5.70", "5.73", "5.80", "5.81", "5.82"};

static struct house *new_house(const char *version, const char *peripherals, const char *devices)
{
    char world[4096], config[4096];

    snprintf(world, sizeof(world),
             "bluez: \"%s\"\n" HOUSE_TIMING(", connect_timeout: 40s") "peripherals:\n%s", version,
             peripherals);
    snprintf(config, sizeof(config), "devices:\n%s", devices);
    return house_new(world, config);
}

static struct house *new_lamp(const char *version)
{
    return new_house(version, HOUSE_LAMP(""), HOUSE_DEVICE_LAMP);
}

static void assert_works(struct house *house)
{
    unsigned before = house_count(house, "lamp/stream"), first = 0;

    assert_int_equal(sscanf(house_control(house, "notify lamp stream 10 1000"), "first=%u", &first),
                     1);
    house_assert_burst(house, "lamp/stream", before, first, first + 9);
}

static void failed_connect(const char *version)
{
    struct house *house = new_lamp(version);

    house_control(house, "refuse lamp on");
    house_start(house);
    house_until_reason(house, "lamp", "connect_failed");
    house_control(house, "refuse lamp off");
    house_until_online(house, "lamp");
    house_free(house);
}

static void busy_connect(const char *version)
{
    struct house *house = new_lamp(version);

    house_control(house, "fault lamp connect_busy on");
    house_start(house);
    house_until_reason(house, "lamp", "busy_elsewhere");
    house_control(house, "fault lamp connect_busy off");
    house_until_online(house, "lamp");
    house_free(house);
}

/* A Connect to a peer that was not heard gives way to one that was: cancelled, and no failure. */
static void cancelled_connect(const char *version)
{
    struct house *house = new_house(version, HOUSE_LAMP("") HOUSE_METER("    present: false\n"),
                                    HOUSE_DEVICE_LAMP HOUSE_DEVICE_METER);

    house_start(house);
    house_until_online(house, "lamp");
    house_skip(house, 60000); /* long enough that its loss is no failure either */
    house_forget_calls(house);
    house_control(house, "vanish lamp");
    house_until_calls(house, "Connect", 1);
    house_settle(house);
    house_control(house, "appear meter");
    house_until_online(house, "meter");
    assert_int_equal(house_calls(house, "Disconnect"), 1);
    house_assert_link(house, "lamp", "\"state\":\"absent\"");
    for (unsigned i = 0; i < house_count(house, "lamp/status/link"); i++)
        assert_null(strstr(house_nth(house, "lamp/status/link", i), "failed"));
    house_control(house, "appear lamp");
    house_skip_until_link(house, "lamp", "\"state\":\"online\"", 1000);
    house_free(house);
}

static void forget_at_connect(struct house *house, const char *member)
{
    if (strcmp(member, "Connect") != 0)
        return;
    house->on_call = NULL;
    house_control(house, "forget lamp");
}

static void connect_of_a_forgotten_object(const char *version)
{
    struct house *house = new_lamp(version);

    house->on_call = forget_at_connect;
    house_start(house);
    house_until_online(house, "lamp");
    for (unsigned i = 0; i < house_count(house, "lamp/status/link"); i++)
        assert_null(strstr(house_nth(house, "lamp/status/link", i), "failed"));
    house_free(house);
}

static void switch_off_at_connect(struct house *house, const char *member)
{
    if (strcmp(member, "Connect") != 0)
        return;
    house->on_call = NULL;
    house_control(house, "adapter hci0 off");
}

static void connect_of_an_adapter_that_is_off(const char *version)
{
    struct house *house = new_lamp(version);

    house->on_call = switch_off_at_connect;
    house_start(house);
    house_until_reason(house, "lamp", "adapter_off");
    house_run(house, 50);
    house_control(house, "adapter hci0 on");
    house_skip_until_link(house, "lamp", "\"state\":\"online\"", 1000);
    house_free(house);
}

static void case_08_a_failure_is_the_same_in_every_version(void **state)
{
    static const char *const dialects[] = {"5.50", "5.61", "5.66", "5.81"};

    for (size_t i = 0; i < ARRAY_SIZE(dialects); i++) {
        failed_connect(dialects[i]);
        busy_connect(dialects[i]);
        cancelled_connect(dialects[i]);
        connect_of_a_forgotten_object(dialects[i]);
        connect_of_an_adapter_that_is_off(dialects[i]);
    }
}

static void read_and_write(struct house *house)
{
    house_control(house, "value lamp level 0201");
    house_send(house, "lamp/level/get", "");
    house_until(house, "lamp/level", "{\"value\":258,");
    house_until(house, "lamp/level/result", "\"ok\"");
    house_control(house, "writes lamp level");
    house_send(house, "lamp/level/set", "513");
    house_until(house, "lamp/level/result", "\"ok\"");
    house_until(house, "lamp/level", "{\"value\":513,"); /* read back */
    assert_string_equal(house_control(house, "writes lamp level"), "request:0102");
    house_send(house, "lamp/knob/set", "1");
    house_until(house, "lamp/knob/result", "\"ok\"");
    assert_string_equal(house_control(house, "writes lamp knob"), "command:01");
    house_send(house, "lamp/locked/set", "1");
    house_until(house, "lamp/locked/result", "\"att\":128");
}

/* connect, subscribe, notify, read, write, lose, reconnect; services that change; bluetoothd gone
 */
static void whole_job(const char *version)
{
    struct house *house = new_house(
        version,
        HOUSE_LAMP("    advertise: { services: [0xFA00], manufacturer: { 0x0059: '01' } "
                   "}\n") "          - { id: knob, uuid: 0xFA03, properties: "
                          "[write-without-response] }\n"
                          "          - { id: locked, uuid: 0xFA04, properties: [write], "
                          "write_error: 0x80 }\n"
                          "          - { id: pushed, uuid: 0xFA05, properties: [indicate], "
                          "value: '' }\n",
        HOUSE_DEVICE_LAMP
        "      knob: { uuid: 0xFA03, writable: true, fields: { value: { type: uint8 } } }\n"
        "      locked: { uuid: 0xFA04, writable: true, fields: { value: { type: uint8 } } "
        "}\n"
        "      pushed: { uuid: 0xFA05, subscribe: true }\n");

    house_start(house);
    house_until_online(house, "lamp");
    assert_works(house);
    house_control(house, "value lamp pushed 0a");
    house_until(house, "lamp/pushed", "{\"value\":\"0a\"");
    read_and_write(house);
    house_control(house, "drop lamp");
    house_until_reason(house, "lamp", "link_lost");
    house_until_online(house, "lamp");
    assert_works(house);
    house_control(house, "services lamp");
    house_until_reason(house, "lamp", "resolving");
    house_until_online(house, "lamp");
    assert_works(house);
    read_and_write(house);
    sim_bluez_die(house->sim);
    house_until_reason(house, "lamp", "no_bluez");
    assert_int_equal(sim_bluez_start(house->sim), 0);
    house_until_online(house, "lamp");
    assert_works(house);
    house_free(house);
}

static void the_whole_job_is_done_with_every_version(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(versions); i++)
        whole_job(versions[i]);
}

/* What BlueZ does not say is not known, and is no mistake. */
static void the_mtu_is_known_from_5_62_on(void **state)
{
    struct house *house = new_lamp("5.61");

    house_start(house);
    house_until_online(house, "lamp");
    house_assert_link(house, "lamp", "\"mtu\":null");
    house_free(house);
    house = new_lamp("5.62");
    house_start(house);
    house_until_online(house, "lamp");
    house_assert_link(house, "lamp", "\"mtu\":247");
    house_free(house);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(case_08_a_failure_is_the_same_in_every_version),
        cmocka_unit_test(the_whole_job_is_done_with_every_version),
        cmocka_unit_test(the_mtu_is_known_from_5_62_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
