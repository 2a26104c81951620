/* Several adapters, and adapters that hang: the whole gateway against the simulator. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "helper_house.h"

#define FIRST    "00:1A:7D:00:00:01"
#define SECOND   "00:1A:7D:00:00:02"
#define ADAPTERS "adapters:\n  hci0: { address: '" FIRST "' }\n  hci1: { address: '" SECOND "' }\n"
#define DEAF     "adapters: { hci0: { address: '" FIRST "', faults: [deaf] } }\n"
#define MINUTE   60000

static const char two_adapters[] =
    HOUSE_TIMING("") ADAPTERS "peripherals:\n" HOUSE_LAMP("") HOUSE_METER("");
static const char deaf_adapter[] =
    HOUSE_TIMING("") DEAF "peripherals:\n" HOUSE_LAMP("") HOUSE_METER("");
#define DEVICES "devices:\n" HOUSE_DEVICE_LAMP

static bool is_at(struct house *house, const char *device, const char *adapter)
{
    char text[48];

    snprintf(text, sizeof(text), "state %s", device);
    const char *state = house_control(house, "%s", text);
    snprintf(text, sizeof(text), "connected %s", adapter);
    return strstr(state, text) != NULL;
}

static void each_adapter_has_its_own_limit_of_connections(void **state)
{
    struct house *house = house_new(
        two_adapters,
        "bluetooth: { adapters: [hci0, hci1], connections: 1 }\n" DEVICES HOUSE_DEVICE_METER);

    house_start(house);
    house_until_online(house, "lamp");
    if (!house_is_online(house, "meter")) /* or it was the first */
        house_until_online(house, "meter");
    assert_true(is_at(house, "lamp", "hci0") ? is_at(house, "meter", "hci1")
                                             : is_at(house, "meter", "hci0"));
    house_free(house);
}

static void device_moves_to_the_other_adapter_when_its_own_is_unplugged(void **state)
{
    struct house *house =
        house_new(two_adapters, "bluetooth: { adapters: ['" FIRST "', '" SECOND "'] }\n" DEVICES);

    house_start(house);
    house_until_online(house, "lamp");
    bool first = is_at(house, "lamp", "hci0");
    house_control(house, "adapter %s remove", first ? "hci0" : "hci1");
    house_until_online(house, "lamp");
    assert_true(is_at(house, "lamp", first ? "hci1" : "hci0"));
    house_assert_link(house, "lamp", first ? "\"adapter\":\"hci1\"" : "\"adapter\":\"hci0\"");
    /* and back, under another name */
    house_control(house, "adapter %s add hci7", first ? "hci0" : "hci1");
    house_until(house, "bridge/house/event", "\"event\":\"adapter_used\",\"adapter\":\"hci7\"");
    house_control(house, "adapter %s remove", first ? "hci1" : "hci0");
    house_until_online(house, "lamp");
    assert_true(is_at(house, "lamp", "hci7"));
    house_free(house);
}

static void device_stays_with_its_own_adapter(void **state)
{
    struct house *house =
        house_new(two_adapters, "devices:\n" HOUSE_DEVICE("lamp", "address: 'C8:00:00:00:00:01'",
                                                          "    adapter: '" SECOND "'\n"));

    house_start(house);
    house_until_online(house, "lamp");
    assert_true(is_at(house, "lamp", "hci1"));
    house_control(house, "adapter hci1 remove");
    house_until_link(house, "lamp", "its Bluetooth adapter " SECOND " is not there");
    house_control(house, "adapter hci1 add hci3");
    house_until_online(house, "lamp");
    assert_true(is_at(house, "lamp", "hci3"));
    house_free(house);
}

static void deaf_adapter_is_switched_off_and_on_where_that_is_allowed(void **state)
{
    struct house *house = house_new(deaf_adapter, "bluetooth: { reset: always }\n" DEVICES);

    house_start(house);
    house_until_reason(house, "lamp", "not_heard");
    house_until_calls(house, "StartDiscovery", 1);
    house_settle(house);
    house_skip(house, 95000);
    house_until_calls(house, "StartDiscovery", 2);
    house_until(house, "bridge/house/event", "\"event\":\"scan_restarted\"");
    assert_int_equal(house_calls(house, "Set"), 0);
    house_settle(house);
    house_skip(house, 35000);
    house_until_reason(house, "lamp", "adapter_reset");
    house_until_calls(house, "Set", 1);
    house_settle(house);
    house_skip(house, 3000);
    house_until_online(house, "lamp");
    assert_int_equal(house_calls(house, "Set"), 2);
    house_free(house);
}

static void deaf_adapter_is_told_and_left_on_where_it_is_not(void **state)
{
    struct house *house = house_new(deaf_adapter, DEVICES);

    house_start(house);
    house_until_reason(house, "lamp", "not_heard");
    house_until_calls(house, "StartDiscovery", 1);
    house_settle(house);
    house_skip(house, 95000);
    house_until_calls(house, "StartDiscovery", 2);
    house_until_link(house, "lamp", "nor is anybody else: a hung adapter?");
    house_settle(house);
    house_skip(house, 35000);
    house_until(house, "bridge/house/event", "\"event\":\"adapter_reset_refused\"");
    for (int i = 0; i < 60; i++) {
        house_skip(house, MINUTE);
        house_settle(house);
    }
    assert_int_equal(house_calls(house, "Set"), 0);
    assert_in_range(house_calls(house, "StartDiscovery"), 3, 6);
    house_free(house);
}

static void deaf_adapter_of_another_program_is_left_on_until_it_is_alone(void **state)
{
    struct house *house =
        house_new(HOUSE_TIMING("") ADAPTERS "peripherals:\n" HOUSE_LAMP("") HOUSE_METER(""),
                  "bluetooth: { adapters: [hci0], reset: when_alone }\n" DEVICES);

    house_start(house);
    house_until_online(house, "lamp");
    house_until_calls(house, "StartNotify", 1);
    house_control(house, "connect meter"); /* not ours */
    house_until_control(house, "state meter", "connected hci0");
    house_control(house, "fault hci0 deaf on");
    house_control(house, "drop lamp");
    house_until_link(house, "lamp", "\"state\":\"absent\"");
    for (int i = 0; i < 20; i++) {
        house_skip(house, 30000);
        house_run(house, 5);
    }
    house_until(house, "bridge/house/event", "and other programs have connections there");
    assert_int_equal(house_calls(house, "Set"), 0);
    house_control(house, "drop meter");
    house_skip_until_link(house, "lamp", "\"state\":\"online\"", 30000);
    assert_in_range(house_calls(house, "Set"), 2, 4);
    house_free(house);
}

static void bluez_that_says_blocked_is_not_asked(void **state)
{
    struct house *house =
        house_new("bluez: \"5.82\"\n" HOUSE_TIMING("") "adapters: { hci0: { address: '" FIRST
                                                       "', powered: false, faults: [rfkill] } }\n"
                                                       "peripherals:\n" HOUSE_LAMP(""),
                  DEVICES);

    house_start(house);
    house_until_reason(house, "lamp", "rfkill");
    house_forget_calls(house);
    for (int i = 0; i < 10; i++)
        house_skip(house, MINUTE);
    assert_int_equal(house->n_calls, 0);
    house_control(house, "fault hci0 rfkill off");
    house_until_online(house, "lamp");
    house_free(house);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_adapter_has_its_own_limit_of_connections),
        cmocka_unit_test(device_moves_to_the_other_adapter_when_its_own_is_unplugged),
        cmocka_unit_test(device_stays_with_its_own_adapter),
        cmocka_unit_test(deaf_adapter_is_switched_off_and_on_where_that_is_allowed),
        cmocka_unit_test(deaf_adapter_is_told_and_left_on_where_it_is_not),
        cmocka_unit_test(deaf_adapter_of_another_program_is_left_on_until_it_is_alone),
        cmocka_unit_test(bluez_that_says_blocked_is_not_asked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
