/* Several gateways, one file: who has a device. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "helper_world.h"

static void device_that_the_file_gives_to_another_gateway_is_left_alone(void **state)
{
    struct world *world = world_new(2);

    free(world->settings.devices[0].gateway);
    world->settings.devices[0].gateway = strdup("attic");
    world_start(world);
    world_bluez_up(world);
    world_broker_up(world);
    world_hear(world, 0, 100);
    world_message(world, "g/d0/lamp/set", "1", false);
    world_advance(world, 60000);
    assert_null(world_find(world, ACTION_CONNECT, NULL));
    assert_null(world_published(world, "g/d0/status/availability"));
    assert_null(world_published(world, "g/d0/status/link"));
    assert_null(world_published(world, "g/d0/lamp/result"));
    for (const struct action *action = NULL;
         (action = world_find(world, ACTION_TOPIC_SUBSCRIBE, action));)
        assert_null(strstr(action->topic.filter, "/d0/"));
    const char *devices = world_published(world, "g/bridge/gw/devices");
    assert_non_null(strstr(devices, "\"held_by\":\"attic\",\"topics\":[]"));
    assert_non_null(strstr(devices, "\"held_by\":null,\"topics\":[\"g/d1/status/availability\""));
    /* nobody is missing that is not ours */
    world_online(world, 1);
    world_advance(world, 10000);
    assert_int_equal(world->gateway->adapters[0].scan, SCAN_STATE_OFF);
    world_clear(world);
    world_event(world, &(struct event){.type = EVENT_STOP});
    assert_null(world_published(world, "g/d0/status/availability"));
    assert_string_equal(world_published(world, "g/d1/status/availability"), "offline");
    world_free(world);
}

static void device_that_the_file_gives_to_this_gateway_is_its_own(void **state)
{
    struct world *world = world_new(1);

    free(world->settings.devices[0].gateway);
    world->settings.devices[0].gateway = strdup("gw");
    world_start(world);
    world_bluez_up(world);
    world_broker_up(world);
    world_online(world, 0);
    assert_string_equal(world_published(world, "g/d0/status/availability"), "online");
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(device_that_the_file_gives_to_another_gateway_is_left_alone),
        cmocka_unit_test(device_that_the_file_gives_to_this_gateway_is_its_own),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
