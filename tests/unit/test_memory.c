/* What the broker remembers for the gateway: addresses, and topics of what is gone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "helper_world.h"

#define DEVICES "g/bridge/gw/devices"

static struct world *begin(size_t n_devices, const char *memory)
{
    struct world *world = world_new(n_devices);

    if (memory)
        world_retain(world, DEVICES, memory);
    world_start(world);
    world_bluez_up(world);
    return world;
}

/* the place of the first message on a topic with this in it, since world_clear(); -1: none */
static long place(const struct world *world, const char *topic, const char *payload)
{
    for (size_t i = 0; i < world->n_seen; i++)
        if (world->seen[i].type == ACTION_PUBLISH &&
            strcmp(world->seen[i].publish.topic, topic) == 0 &&
            (*payload ? strstr(world->seen[i].publish.payload, payload) != NULL
                      : world->seen[i].publish.length == 0))
            return (long)i;
    return -1;
}

static void topics_of_what_left_the_file_are_cleared(void **state)
{
    struct world *world =
        begin(1, "{\"devices\":[{\"id\":\"d0\",\"topics\":[\"g/d0/status/availability\","
                 "\"g/d0/status/link\",\"g/d0/level\",\"g/d0/gone\"]},"
                 "{\"id\":\"old\",\"topics\":[\"g/old/status/link\",\"g/old/x\"]}]}");

    world_retain(world, "g/old/x", "1");
    world_retain(world, "g/old/status/link", "{\"gateway\":\"gw\"}");
    world_retain(world, "g/d0/gone", "1");
    world_broker_up(world);
    assert_null(world_retained(world, "g/old/x"));
    assert_null(world_retained(world, "g/old/status/link"));
    assert_null(world_retained(world, "g/d0/gone"));
    /* the list has them until they are cleared */
    long before = place(world, DEVICES, "\"g/old/x\""), cleared = place(world, "g/old/x", "");
    assert_true(before >= 0 && cleared > before);
    assert_true(place(world, "g/d0/status/availability", "offline") > before);
    assert_non_null(strstr(world->seen[before].publish.payload, "\"g/d0/gone\""));
    assert_non_null(strstr(world->seen[before].publish.payload, "\"id\":\"old\",\"removed\":true"));
    const char *after = world_retained(world, DEVICES);
    assert_null(strstr(after, "old"));
    assert_null(strstr(after, "gone"));
    assert_non_null(strstr(after, "\"g/d0/level\""));
    assert_int_equal(world_count_published(world, "g/d0/level"), 0); /* its own are left alone */
    world_free(world);
}

static void value_that_is_no_longer_retained_is_cleared(void **state)
{
    struct world *world =
        begin(1, "{\"devices\":[{\"id\":\"d0\",\"characteristics\":["
                 "{\"id\":\"level\",\"topic\":\"g/d0/level\",\"retained\":true},"
                 "{\"id\":\"x\",\"topic\":\"g/d1/level\",\"retained\":true},7,{\"topic\":7}],"
                 "\"topics\":[\"g/d0/level\"]}]}");

    world->settings.devices[0].characteristics[0].retain = false;
    world_retain(world, "g/d0/level", "1");
    world_retain(world, "g/d1/level", "1");
    world->acknowledge = false; /* the connection breaks before it is cleared */
    world_broker_up(world);
    assert_int_equal(place(world, "g/d0/level", ""), -1);
    long list = place(world, DEVICES, "\"topic\":\"g/d0/level\",\"retained\":true");
    assert_true(list >= 0); /* a crash would not forget it */
    world_broker_down(world);
    world->acknowledge = true;
    world_broker_up(world);
    assert_null(world_retained(world, "g/d0/level"));
    assert_non_null(world_retained(world, "g/d1/level"));
    assert_non_null(
        strstr(world_retained(world, DEVICES), "\"topic\":\"g/d0/level\",\"retained\":false"));
    world_free(world);
}

static void what_was_never_retained_is_not_cleared(void **state)
{
    struct world *world =
        begin(1, "{\"devices\":[{\"id\":\"d0\",\"characteristics\":["
                 "{\"id\":\"level\",\"topic\":\"g/d0/level\",\"retained\":false}],"
                 "\"topics\":[\"g/d0/level\"]}]}");

    world->settings.devices[0].characteristics[0].retain = false;
    world_broker_up(world);
    assert_int_equal(place(world, "g/d0/level", ""),
                     -1); /* who listens would take it for an event */
    world_free(world);
}

static void crash_while_clearing_forgets_nothing(void **state)
{
    struct world *world =
        begin(0, "{\"devices\":[{\"id\":\"old\",\"topics\":[\"g/old/x\",\"g/old/y\"]}]}");

    world->acknowledge = false; /* the connection breaks before the broker has it all */
    world_broker_up(world);
    for (size_t i = 0; i < world->n_seen; i++)
        if (world->seen[i].type == ACTION_PUBLISH &&
            strcmp(world->seen[i].publish.topic, DEVICES) == 0)
            assert_non_null(strstr(world->seen[i].publish.payload, "\"g/old/y\""));
    assert_int_equal(place(world, "g/old/x", ""), -1); /* not before the list is out */
    world_broker_down(world);
    world_clear(world);
    world->acknowledge = true;
    world_broker_up(world);
    assert_true(place(world, "g/old/x", "") >= 0);
    assert_true(place(world, "g/old/y", "") >= 0);
    assert_null(strstr(world_retained(world, DEVICES), "old"));
    world_free(world);
}

static void topics_of_others_are_never_touched(void **state)
{
    struct world *world = begin(
        1,
        "{\"devices\":["
        "{\"id\":\"old\",\"topics\":[\"homeassistant/light/x\",\"g/older/x\",\"g/old\",\"g/old/\","
        "\"g/old/#\",\"g/old/+/x\",\"x/old/x\",\"g/d0/level\",\"g/bridge/gw/status\",\"\",7,null,"
        "\"g/old/\\u0001\"]},"
        "{\"id\":\"bridge\",\"topics\":[\"g/bridge/gw/status\"]},"
        "{\"id\":\"a/b\",\"topics\":[\"g/a/b/x\"]},{\"id\":3},{},7,"
        "{\"id\":\"taken\",\"topics\":[\"g/taken/x\"]},"
        "{\"id\":\"d0\",\"topics\":\"g/d0/gone\"}]}");

    world_retain(world, "g/taken/status/link", "{\"gateway\":\"attic\"}");
    world_broker_up(world);
    for (size_t i = 0; i < world->n_seen; i++)
        if (world->seen[i].type == ACTION_PUBLISH && world->seen[i].publish.length == 0)
            fail_msg("%s was cleared", world->seen[i].publish.topic);
    assert_null(strstr(world_retained(world, DEVICES), "taken"));
    world_free(world);
}

static void nonsense_is_survived(void **state)
{
    static const char *const texts[] = {
        "",
        "{",
        "[]",
        "7",
        "null",
        "{\"devices\":7}",
        "{\"devices\":{\"id\":1}}",
        "\xff\xfe",
        "{\"devices\":[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]}",
    };

    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        struct world *world = begin(1, texts[i]);
        world_broker_up(world);
        assert_string_equal(world_retained(world, "g/bridge/gw/status"), "online");
        world_online(world, 0);
        world_free(world);
    }
}

static void list_that_is_too_long_is_left_alone(void **state)
{
    static const char head[] = "{\"devices\":[{\"id\":\"old\",\"topics\":[\"g/old/x\"]}]}";
    size_t length = 1024 * 1024;
    char *text = malloc(length + 2);

    for (size_t more = 0; more < 2; more++) { /* at the limit, and one past it */
        struct world *world = begin(1, NULL);
        world->deaf = true;
        world_broker_up(world);
        world->deaf = false;
        memset(text, ' ', length + 1);
        memcpy(text, head, sizeof(head) - 1);
        text[length + more] = '\0';
        world_message(world, DEVICES, text, true);
        assert_int_equal(world->gateway->memory.n_leftovers, !more);
        world_free(world);
    }
    free(text);
}

static void list_of_another_moment_is_not_the_memory(void **state)
{
    struct world *world = begin(1, NULL);

    world_broker_up(world);
    world_clear(world);
    world_message(world, DEVICES, "{\"devices\":[{\"id\":\"x\",\"topics\":[\"g/x/y\"]}]}", true);
    world_message(world, DEVICES, "{\"devices\":[{\"id\":\"x\",\"topics\":[\"g/x/y\"]}]}", false);
    world_advance(world, 1000);
    assert_null(world_published(world, "g/x/y"));
    world_free(world);
}

/* ---- addresses ---- */

static struct world *begin_nameless(void)
{
    struct world *world = world_new(1);

    world->settings.devices[0].match =
        (struct match_settings){.name = strdup("Meter*"), .has_min_rssi = true, .min_rssi = -90};
    return world;
}

static void hear(struct world *world, uint32_t number, uint8_t last, int16_t rssi)
{
    struct event event = {.type = EVENT_DEVICE,
                          .device_info = {.adapter = ADAPTER_1,
                                          .device = number,
                                          .address = {{0xc0, 0, 0, 0, 0, last}},
                                          .name = "Meter 1",
                                          .heard = true,
                                          .rssi = rssi}};

    world_event(world, &event);
}

static void peer_that_was_found_is_kept_across_restarts(void **state)
{
    char memory[8192];
    struct world *world = begin_nameless();

    world_start(world);
    world_bluez_up(world);
    world_broker_up(world);
    hear(world, 7, 7, -50);
    world_advance(world, BIND_WINDOW_MS + 10);
    snprintf(memory, sizeof(memory), "%s", world_retained(world, DEVICES));
    assert_non_null(strstr(memory, "\"address\":\"C0:00:00:00:00:07\",\"match\":\""));
    world_free(world);

    world = begin_nameless(); /* a stronger one is there now */
    world_retain(world, DEVICES, memory);
    world_start(world);
    world_bluez_up(world);
    hear(world, 8, 8, -30);
    world_broker_up(world);
    hear(world, 9, 7, -60);
    assert_int_equal(world_expect(world, ACTION_CONNECT)->device, 9);
    assert_non_null(strstr(world_retained(world, DEVICES), "C0:00:00:00:00:07"));
    world_free(world);

    world = begin_nameless(); /* the file asks for something else */
    world->settings.devices[0].match.min_rssi = -80;
    world_retain(world, DEVICES, memory);
    world_start(world);
    world_bluez_up(world);
    world_broker_up(world);
    assert_false(world->gateway->peers[0]->bound);
    world_free(world);

    world = begin_nameless();
    world->settings.devices[0].bind = BIND_MODE_NEAREST;
    world_retain(world, DEVICES, memory);
    world_start(world);
    world_bluez_up(world);
    world_broker_up(world);
    assert_false(world->gateway->peers[0]->bound);
    world_free(world);
}

/* In the lab: the gateway was killed, and its link lived on. */
static void link_of_a_remembered_peer_is_adopted(void **state)
{
    char memory[512], match[MEMORY_HASH_SIZE];
    struct world *world = begin_nameless();
    struct event linked = {.type = EVENT_DEVICE,
                           .device_info = {.adapter = ADAPTER_1,
                                           .device = 7,
                                           .address = {{0xc0, 0, 0, 0, 0, 7}},
                                           .name = "Meter 1",
                                           .connected = true,
                                           .rssi = RSSI_UNKNOWN}};

    memory_match_hash(&world->settings.devices[0].match, match, sizeof(match));
    snprintf(memory, sizeof(memory),
             "{\"devices\":[{\"id\":\"d0\",\"address\":\"C0:00:00:00:00:07\",\"match\":\"%s\"}]}",
             match);
    world_retain(world, DEVICES, memory);
    world_start(world);
    world_bluez_up(world);
    world_event(world, &linked);
    world_broker_up(world);
    world_expect(world, ACTION_TELL_DEVICES);
    world_event(world, &linked);
    assert_int_equal(world_expect(world, ACTION_RESOLVE)->device, 7);
    assert_null(world_find(world, ACTION_CONNECT, NULL));
    world_free(world);
}

static void address_of_another_entry_is_not_remembered(void **state)
{
    char memory[512], match[MEMORY_HASH_SIZE];
    struct world *world = world_new(2);

    free(world->settings.devices[0].match.name);
    world->settings.devices[0].match = (struct match_settings){.name = strdup("Meter*")};
    memory_match_hash(&world->settings.devices[0].match, match, sizeof(match));
    snprintf(memory, sizeof(memory),
             "{\"devices\":[{\"id\":\"d0\",\"address\":\"C0:00:00:00:00:01\",\"match\":\"%s\"}]}",
             match);
    world_retain(world, DEVICES, memory);
    world_start(world);
    world_broker_up(world);
    assert_false(world->gateway->peers[0]->bound);
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(topics_of_what_left_the_file_are_cleared),
        cmocka_unit_test(value_that_is_no_longer_retained_is_cleared),
        cmocka_unit_test(what_was_never_retained_is_not_cleared),
        cmocka_unit_test(crash_while_clearing_forgets_nothing),
        cmocka_unit_test(topics_of_others_are_never_touched),
        cmocka_unit_test(nonsense_is_survived),
        cmocka_unit_test(list_that_is_too_long_is_left_alone),
        cmocka_unit_test(list_of_another_moment_is_not_the_memory),
        cmocka_unit_test(peer_that_was_found_is_kept_across_restarts),
        cmocka_unit_test(link_of_a_remembered_peer_is_adopted),
        cmocka_unit_test(address_of_another_entry_is_not_remembered),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
