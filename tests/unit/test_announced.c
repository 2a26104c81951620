/* Documents of either form, from one to the other, and entities that are gone: in which order Home
 * Assistant is told, and what is remembered meanwhile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "helper_config.h"
#include "helper_world.h"

#define DEVICES   "g/bridge/gw/devices"
#define DOCUMENT  "ha/device/gatt2mqtt_d0/config"
#define LEVEL     "ha/sensor/gatt2mqtt_d0_level_value/config"
#define LAMP      "ha/number/gatt2mqtt_d0_lamp_value/config"
#define LAMP_READ "ha/sensor/gatt2mqtt_d0_lamp_value/config"
#define OWN       "ha/device/gatt2mqtt_bridge_gw/config"
#define OWN_PART  "ha/binary_sensor/gatt2mqtt_bridge_gw_status/config"

#define HEAD(form)                         \
    "mqtt: { url: mqtt://broker }\n"       \
    "gateway: { id: gw, base_topic: g }\n" \
    "home_assistant: { prefix: ha, discovery: " form " }\n"
#define DEVICE(lamp)                                  \
    "devices:\n  d0:\n    gateway: gw\n"              \
    "    match: { address: \"C0:00:00:00:00:00\" }\n" \
    "    characteristics:\n"                          \
    "      level: { uuid: 0x2A19, subscribe: true }\n" lamp
#define WRITABLE \
    "      lamp: { uuid: 0xFFE1, writable: true, fields: { value: { type: uint8 } } }\n"
#define READABLE \
    "      lamp: { uuid: 0xFFE1, subscribe: true, fields: { value: { type: uint8 } } }\n"

static struct world *begin(const char *text)
{
    struct world *world = world_new(0);

    world->reloaded = settings_from_text(text);
    world_start(world);
    world_bluez_up(world);
    return world;
}

static struct world *start(const char *text)
{
    struct world *world = begin(text);

    world_broker_up(world);
    world_clear(world);
    return world;
}

static void reload(struct world *world, const char *text)
{
    world_clear(world);
    assert_int_equal(world_reload(world, settings_from_text(text)), 0);
}

/* the place of the first message on a topic with this payload in it; "": an empty one; -1: none */
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

static void assert_migrated(struct world *world, const char *old, const char *present)
{
    long let_go = place(world, old, DISCOVERY_MIGRATE), told = place(world, present, "unique_id");

    assert_true(let_go >= 0 && let_go < told && told < place(world, old, ""));
    assert_true(world->seen[let_go].publish.retain);
    assert_int_equal(place(world, present, ""), -1);
    assert_null(world_retained(world, old));
    assert_non_null(world_retained(world, present));
    assert_null(strstr(world_retained(world, DEVICES), old));
}

static void other_form_lets_go_before_the_present_one_is_told_and_is_cleared_then(void **state)
{
    struct world *world = start(HEAD("device") DEVICE(WRITABLE));

    reload(world, HEAD("component") DEVICE(WRITABLE));
    assert_non_null(strstr(world_retained(world, DEVICES), LEVEL));
    assert_non_null(strstr(world_retained(world, DEVICES), DOCUMENT));
    world_advance(world, 900);
    assert_int_equal(place(world, LEVEL, "unique_id"), -1); /* Home Assistant needs a while */
    world_advance(world, 200);
    assert_true(place(world, LEVEL, "unique_id") >= 0);
    assert_int_equal(place(world, DOCUMENT, ""), -1);
    world_advance(world, 2000);
    assert_migrated(world, DOCUMENT, LEVEL);
    assert_migrated(world, DOCUMENT, LAMP);
    assert_migrated(world, OWN, OWN_PART);
    reload(world, HEAD("device") DEVICE(WRITABLE));
    world_advance(world, 3000);
    assert_migrated(world, LEVEL, DOCUMENT);
    assert_migrated(world, LAMP, DOCUMENT);
    assert_migrated(world, OWN_PART, OWN);
    world_free(world);
}

/* a gateway that ended in the middle, whatever it had come to */
static void migration_is_done_anew_after_a_crash(void **state)
{
    static const char *const kept[] = {"{\"unique_id\":\"x\"}", DISCOVERY_MIGRATE, ""};

    for (size_t i = 0; i < ARRAY_SIZE(kept); i++) {
        struct world *world = begin(HEAD("component") DEVICE(WRITABLE));
        world_retain(world, DOCUMENT, kept[i]);
        world_retain(world, LEVEL, i ? "{\"unique_id\":\"x\"}" : "");
        world_retain(world, DEVICES,
                     "{\"devices\":[{\"id\":\"d0\",\"topics\":[\"" DOCUMENT "\",\"" LEVEL
                     "\"],\"entities\":[\"sensor/level_value\",\"number/lamp_value\"]}]}");
        world_broker_up(world);
        world_advance(world, 3000);
        assert_migrated(world, DOCUMENT, LEVEL);
        assert_null(strstr(world_retained(world, DEVICES), "\"entities\""));
        world_free(world);
    }
}

static void what_is_gone_is_removed_and_not_let_go(void **state)
{
    struct world *world = start(HEAD("component") DEVICE(WRITABLE));

    /* not in the form of components, whose topics are their own, */
    reload(world, HEAD("component") DEVICE(READABLE));
    world_advance(world, 3000);
    assert_true(place(world, LAMP, "") >= 0);
    assert_int_equal(place(world, LAMP, "migrate"), -1);
    assert_non_null(world_retained(world, LAMP_READ));
    /* nor on the way from there, */
    reload(world, HEAD("device") DEVICE(""));
    world_advance(world, 3000);
    assert_int_equal(place(world, LAMP_READ, "migrate"), -1);
    assert_null(world_retained(world, LAMP_READ));
    /* and back */
    reload(world, HEAD("device") DEVICE(WRITABLE));
    reload(world, HEAD("component") DEVICE(""));
    world_advance(world, 3000);
    long marked = place(world, DOCUMENT, "\"lamp_value\":{\"platform\":\"number\"}");
    assert_true(marked >= 0 && marked < place(world, DOCUMENT, DISCOVERY_MIGRATE));
    assert_migrated(world, DOCUMENT, LEVEL);
    world_free(world);
}

/* as Home Assistant's documentation has it: the platform alone, then nothing */
static void entity_that_is_gone_is_marked_before_it_is_left_out(void **state)
{
    struct world *world = start(HEAD("device") DEVICE(WRITABLE));

    assert_non_null(strstr(world_retained(world, DEVICES), "\"number/lamp_value\""));
    world->acknowledge = false;
    reload(world, HEAD("device") DEVICE(READABLE)); /* the same name, of another platform */
    long marked = place(world, DOCUMENT, "\"lamp_value\":{\"platform\":\"number\"}");
    long listed = place(world, DEVICES, "\"sensor/lamp_value\"");
    assert_true(listed >= 0 && listed < marked);
    assert_non_null(strstr(world->seen[listed].publish.payload, "\"number/lamp_value\""));
    assert_int_equal(world_count_published(world, DOCUMENT), 1);
    /* the broker goes before it has it */
    world->acknowledge = true;
    world_broker_down(world);
    world_clear(world);
    world_broker_up(world);
    world_advance(world, 100);
    marked = place(world, DOCUMENT, "\"lamp_value\":{\"platform\":\"number\"}");
    long told = place(world, DOCUMENT, "\"unique_id\":\"gatt2mqtt_d0_lamp_value\"");
    assert_true(marked >= 0 && marked < told);
    assert_null(strstr(world_retained(world, DEVICES), "\"number/lamp_value\""));
    assert_non_null(strstr(world_retained(world, DEVICES), "\"sensor/lamp_value\""));
    world_free(world);
}

static void entity_that_went_while_the_gateway_was_down_is_marked(void **state)
{
    struct world *world = begin(HEAD("device") DEVICE(""));

    world_retain(world, DEVICES,
                 "{\"devices\":[{\"id\":\"d0\",\"topics\":[\"" DOCUMENT "\"],"
                 "\"entities\":[\"number/lamp_value\",\"sensor/level_value\",\"switch/lamp_value\","
                 "\"../x\",\"sensor/\",\"/x\",\"sensor\",\"sensor/a/b\",\"Sensor/x\",\"\",7]}]}");
    world_broker_up(world);
    world_advance(world, 100);
    long number = place(world, DOCUMENT, "\"lamp_value\":{\"platform\":\"number\"}");
    long other = place(world, DOCUMENT, "\"lamp_value\":{\"platform\":\"switch\"}");
    assert_true(number >= 0 && number < other); /* a key stands in a document once */
    assert_null(strstr(world_retained(world, DOCUMENT), "lamp"));
    assert_null(strstr(world_retained(world, DEVICES), "lamp_value"));
    assert_null(strstr(world_retained(world, DEVICES), "\"/x\""));
    world_free(world);
}

/* `x` and its `y_level` are gone, `x_y` and its `level` have come */
static void topic_that_another_device_has_now_is_not_cleared(void **state)
{
    static const char topic[] = "ha/sensor/gatt2mqtt_x_y_level_value/config";
    struct world *world =
        begin(HEAD("component") "devices:\n  x_y:\n    gateway: gw\n"
                                "    match: { name: X }\n    characteristics:\n"
                                "      level: { uuid: 0x2A19, subscribe: true }\n");

    world_retain(world, topic, "{}");
    world_retain(world, "ha/sensor/gatt2mqtt_x_y_other_value/config", "{}");
    world_retain(world, "ha/sensor/gatt2mqtt_z_level_value/config", "{}");
    world_retain(world, DEVICES,
                 "{\"devices\":[{\"id\":\"x\",\"topics\":["
                 "\"ha/sensor/gatt2mqtt_x_y_level_value/config\","
                 "\"ha/sensor/gatt2mqtt_x_y_other_value/config\","
                 "\"ha/sensor/gatt2mqtt_z_level_value/config\"]}]}");
    world_broker_up(world);
    world_advance(world, 3000);
    assert_non_null(strstr(world_retained(world, topic), "unique_id"));
    assert_int_equal(place(world, topic, ""), -1);
    assert_null(world_retained(world, "ha/sensor/gatt2mqtt_x_y_other_value/config"));
    assert_non_null(world_retained(world, "ha/sensor/gatt2mqtt_z_level_value/config"));
    world_free(world);
}

static void off_clears_the_documents_of_entities(void **state)
{
    struct world *world = start(HEAD("component") DEVICE(WRITABLE));

    reload(world, HEAD("off") DEVICE(WRITABLE));
    world_advance(world, 100);
    assert_null(world_retained(world, LEVEL));
    assert_null(world_retained(world, OWN_PART));
    assert_int_equal(place(world, LEVEL, "migrate"), -1);
    reload(world, HEAD("component") DEVICE(WRITABLE));
    world_advance(world, 100);
    assert_non_null(world_retained(world, LEVEL));
    assert_non_null(world_retained(world, OWN_PART));
    reload(world, HEAD("component"));
    world_advance(world, 100);
    assert_null(world_retained(world, LEVEL));
    assert_null(strstr(world_retained(world, DEVICES), "d0"));
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(other_form_lets_go_before_the_present_one_is_told_and_is_cleared_then),
        cmocka_unit_test(migration_is_done_anew_after_a_crash),
        cmocka_unit_test(what_is_gone_is_removed_and_not_let_go),
        cmocka_unit_test(entity_that_is_gone_is_marked_before_it_is_left_out),
        cmocka_unit_test(entity_that_went_while_the_gateway_was_down_is_marked),
        cmocka_unit_test(topic_that_another_device_has_now_is_not_cleared),
        cmocka_unit_test(off_clears_the_documents_of_entities),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
