/* When Home Assistant is told of devices, and that nothing of it stays behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "helper_world.h"

#define DEVICES  "g/bridge/gw/devices"
#define DOCUMENT "ha/device/gatt2mqtt_d0/config"
#define OTHER    "ha/device/gatt2mqtt_d1/config"
#define OWN      "ha/device/gatt2mqtt_bridge_gw/config"

static struct world *begin(size_t n_devices)
{
    struct world *world = world_new(n_devices);

    world->settings.home_assistant.discovery = DISCOVERY_DEVICE;
    world->settings.home_assistant.prefix = strdup("ha");
    return world;
}

static void start(struct world *world)
{
    world_start(world);
    world_bluez_up(world);
    world_broker_up(world);
}

/* the place of the first message on a topic with this in it, since world_clear(); -1: none */
static long place(const struct world *world, const char *topic, const char *payload)
{
    for (size_t i = 0; i < world->n_seen; i++)
        if (world->seen[i].type == ACTION_PUBLISH &&
            strcmp(world->seen[i].publish.topic, topic) == 0 &&
            strstr(world->seen[i].publish.payload, payload))
            return (long)i;
    return -1;
}

static void document_goes_after_the_list_that_names_it_and_before_online(void **state)
{
    struct world *world = begin(1);

    start(world);
    long listed = place(world, DEVICES, DOCUMENT), told = place(world, DOCUMENT, "d0");
    long available = place(world, "g/d0/status/availability", "offline");
    assert_true(listed >= 0 && listed < available && available < told);
    assert_true(told < place(world, "g/bridge/gw/status", "online"));
    assert_true(place(world, OWN, "gatt2mqtt_bridge_gw") > place(world, DEVICES, OWN));
    const struct action *action = &world->seen[told];
    assert_true(action->publish.retain);
    assert_int_equal(action->publish.qos, 1);
    /* once per connection */
    world_online(world, 0);
    world_advance(world, 100000);
    assert_int_equal(world_count_published(world, DOCUMENT), 0); /* the helper forgot the first */
    world_clear(world);
    world_broker_down(world);
    world_broker_up(world);
    assert_int_equal(world_count_published(world, DOCUMENT), 1);
    assert_int_equal(world_count_published(world, OWN), 1);
    world_free(world);
}

static void nothing_is_said_where_it_is_off(void **state)
{
    struct world *world = begin(1);

    world->settings.home_assistant.discovery = DISCOVERY_OFF;
    start(world);
    world_online(world, 0);
    assert_null(world_published(world, DOCUMENT));
    assert_null(world_published(world, OWN));
    assert_null(strstr(world_retained(world, DEVICES), "ha/"));
    for (const struct action *action = NULL;
         (action = world_find(world, ACTION_TOPIC_SUBSCRIBE, action));)
        assert_null(strstr(action->topic.filter, "ha/"));
    world_free(world);
}

static void device_of_another_gateway_is_not_announced(void **state)
{
    struct world *world = begin(2);

    free(world->settings.devices[0].gateway);
    world->settings.devices[0].gateway = strdup("attic");
    start(world);
    assert_null(world_published(world, DOCUMENT));
    assert_null(strstr(world_retained(world, DEVICES), DOCUMENT));
    assert_non_null(world_published(world, OTHER));
    world_message(world, "ha/status", "online", false);
    world_advance(world, 20000);
    assert_null(world_published(world, DOCUMENT));
    world_free(world);
}

/* The gateway that had the device may have announced it, from a file in which that was on. */
static void document_of_the_gateway_before_is_cleared_where_it_is_off(void **state)
{
    struct world *world = begin(1);

    world->settings.home_assistant.discovery = DISCOVERY_OFF;
    free(world->settings.devices[0].gateway);
    world->settings.devices[0].gateway = NULL;
    world_start(world);
    world_bluez_up(world);
    world_retain(world, "g/bridge/attic/status", "online");
    world_retain(world, "g/d0/status/link", "{\"gateway\":\"attic\"}");
    world_retain(world, "g/bridge/attic/devices",
                 "{\"devices\":[{\"id\":\"d0\",\"topics\":[\"" DOCUMENT "\"]}]}");
    world_retain(world, DOCUMENT, "{}");
    world_broker_up(world);
    world_message(world, "g/bridge/attic/status", "online", false); /* it is alive */
    world_advance(world, 5000);
    assert_string_equal(world_retained(world, DOCUMENT), "{}"); /* not ours */
    world_message(world, "g/bridge/attic/status", "offline", false);
    world_advance(world, 15000);
    assert_null(world_retained(world, DOCUMENT));
    world_free(world);
}

static void address_that_becomes_known_is_announced(void **state)
{
    struct world *world = begin(2);

    world->settings.devices[0].match = (struct match_settings){.name = strdup("Meter*")};
    start(world);
    assert_null(strstr(world_published(world, DOCUMENT), "connections"));
    world_clear(world);
    struct event event = {.type = EVENT_DEVICE,
                          .device_info = {.adapter = ADAPTER_1,
                                          .device = 7,
                                          .address = {{0xc0, 0, 0, 0, 0, 7}},
                                          .name = "Meter 1",
                                          .heard = true,
                                          .rssi = -50}};
    world_event(world, &event);
    world_advance(world, BIND_WINDOW_MS + 10);
    assert_non_null(
        strstr(world_published(world, DOCUMENT), "[\"bluetooth\",\"C0:00:00:00:00:07\"]"));
    assert_null(world_published(world, OTHER));
    world_free(world);
}

static void birth_is_answered_once_within_ten_seconds(void **state)
{
    struct world *world = begin(1);

    start(world);
    world_online(world, 0);
    world_clear(world);
    world_message(world, "ha/status", "online", true); /* it was there all the time */
    world_message(world, "ha/status", "offline", false);
    world_message(world, "ha/status", "onlin", false);
    world_advance(world, 20000);
    assert_null(world_published(world, DOCUMENT));
    world_message(world, "ha/status", "online", false);
    world_message(world, "ha/status", "online", false);
    world_advance(world, 990);
    assert_null(world_published(world, DOCUMENT)); /* not all gateways in the same moment */
    world_advance(world, 9100);
    assert_int_equal(world_count_published(world, DOCUMENT), 1);
    assert_int_equal(world_count_published(world, OWN), 1);
    assert_true(place(world, "g/d0/status/availability", "online") < place(world, DOCUMENT, "d0"));
    assert_int_equal(world->gateway->counts.retained_commands, 0);
    assert_int_equal(world->gateway->counts.rejected, 0);
    world_free(world);
}

static void birth_repeats_what_is_retained_of_values(void **state)
{
    struct world *world = begin(1);

    start(world);
    world_online(world, 0);
    const struct action subscribe = *world_expect(world, ACTION_SUBSCRIBE);
    world_value(world, &subscribe, "\x2a", 1);
    world_clear(world);
    world_message(world, "ha/status", "online", false);
    world_advance(world, 11000);
    assert_int_equal(world_count_published(world, "g/d0/level"), 1);
    assert_true(place(world, "g/d0/level", "42") > place(world, DOCUMENT, "d0"));
    world_message(world, "ha/status", "online", false);
    world_advance(world, 11000);
    assert_int_equal(world_count_published(world, "g/d0/level"), 2);
    world_free(world);
}

static void document_that_the_broker_would_not_take_is_said_and_counted(void **state)
{
    static const uint32_t limits[] = {100, 1000, 100000};

    for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
        struct world *world = begin(1);
        struct event event = {
            .type = EVENT_BROKER_UP,
            .broker_up = {.window = 20, .window_qos0 = 100, .v5 = true, .max_packet = limits[i]}};
        world_start(world);
        world_bluez_up(world);
        world_event(world, &event);
        bool fits = limits[i] == 100000;
        assert_int_equal(world_published(world, DOCUMENT) != NULL, fits);
        assert_int_equal(world->gateway->counts.rejected, fits ? 0 : limits[i] == 100 ? 2 : 1);
        assert_int_equal(place(world, "g/bridge/gw/event", "packet_too_large") >= 0, !fits);
        world_advance(world, 100000); /* and not again and again */
        assert_int_equal(world->gateway->counts.rejected, fits ? 0 : limits[i] == 100 ? 2 : 1);
        world_free(world);
    }
}

static void documents_of_what_left_the_file_are_cleared_and_no_others(void **state)
{
    static const char *const ours[] = {"ha/device/gatt2mqtt_old/config",
                                       "before/device/gatt2mqtt_old/config",
                                       "before/device/gatt2mqtt_bridge_gw/config"};
    static const char *const others[] = {"ha/device/gatt2mqtt_new/config", "ha/device/other/config",
                                         "ha/sensor/gatt2mqtt_old/config",
                                         "ha/device/gatt2mqtt_bridge_attic/config"};
    struct world *world = begin(1);

    for (size_t i = 0; i < ARRAY_SIZE(ours); i++)
        world_retain(world, ours[i], "{}");
    for (size_t i = 0; i < ARRAY_SIZE(others); i++)
        world_retain(world, others[i], "{}");
    world_retain(world, DEVICES,
                 "{\"devices\":[{\"id\":\"old\",\"topics\":[\"ha/device/gatt2mqtt_old/config\","
                 "\"before/device/gatt2mqtt_old/config\",\"ha/device/gatt2mqtt_new/config\","
                 "\"ha/device/other/config\",\"ha/sensor/gatt2mqtt_old/config\","
                 "\"+/device/gatt2mqtt_old/config\"]},"
                 "{\"id\":\"bridge\",\"topics\":[\"ha/device/gatt2mqtt_bridge_attic/config\"]}],"
                 "\"topics\":[\"" OWN "\",\"before/device/gatt2mqtt_bridge_gw/config\","
                 "\"ha/device/gatt2mqtt_bridge_attic/config\",\"ha/device/gatt2mqtt_new/config\","
                 "7,null]}");
    start(world);
    for (size_t i = 0; i < ARRAY_SIZE(ours); i++)
        assert_null(world_retained(world, ours[i]));
    for (size_t i = 0; i < ARRAY_SIZE(others); i++)
        assert_string_equal(world_retained(world, others[i]), "{}");
    assert_null(strstr(world_retained(world, DEVICES), "before/"));
    assert_non_null(strstr(world_retained(world, OWN), "gatt2mqtt_bridge_gw"));
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(document_goes_after_the_list_that_names_it_and_before_online),
        cmocka_unit_test(nothing_is_said_where_it_is_off),
        cmocka_unit_test(device_of_another_gateway_is_not_announced),
        cmocka_unit_test(document_of_the_gateway_before_is_cleared_where_it_is_off),
        cmocka_unit_test(address_that_becomes_known_is_announced),
        cmocka_unit_test(birth_is_answered_once_within_ten_seconds),
        cmocka_unit_test(birth_repeats_what_is_retained_of_values),
        cmocka_unit_test(document_that_the_broker_would_not_take_is_said_and_counted),
        cmocka_unit_test(documents_of_what_left_the_file_are_cleared_and_no_others),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
