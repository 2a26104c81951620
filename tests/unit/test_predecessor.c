/* A device comes from a gateway that has told Home Assistant of it in another way: nothing of that
 * stays, and nothing of a device that another gateway has is touched. */
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

#define DEVICES  "g/bridge/gw/devices"
#define ATTIC    "g/bridge/attic/status"
#define LIST     "g/bridge/attic/devices"
#define LINK     "g/d0/status/link"
#define DOCUMENT "ha/device/gatt2mqtt_d0/config"
#define LEVEL    "ha/sensor/gatt2mqtt_d0_level_value/config"
#define OLDER    "ha/sensor/gatt2mqtt_d0_older_value/config"
#define MOVED    "elsewhere/device/gatt2mqtt_d0/config"
#define OTHER    "ha/sensor/gatt2mqtt_d1_level_value/config"
#define ATTICS   "{\"gateway\":\"attic\"}"
#define TOLD     "{\"unique_id\":\"x\"}"

#define HEAD(form)                         \
    "mqtt: { url: mqtt://broker }\n"       \
    "gateway: { id: gw, base_topic: g }\n" \
    "home_assistant: { prefix: ha, discovery: " form " }\n"
#define DEVICE(id, bound)                                                 \
    "  " id ":\n" bound "    match: { address: \"C0:00:00:00:00:00\" }\n" \
    "    characteristics:\n"                                              \
    "      level: { uuid: 0x2A19, subscribe: true }\n"
#define FREE(form)        HEAD(form) "devices:\n" DEVICE("d0", "")
#define BOUND(form, name) HEAD(form) "devices:\n" DEVICE("d0", "    gateway: " name "\n")
#define LISTED(topics) \
    "{\"devices\":[{\"id\":\"d0\",\"topics\":[\"g/d0/status/link\"," topics "]}]}"

static struct world *begin(const char *text)
{
    struct world *world = world_new(0);

    world->reloaded = settings_from_text(text);
    world_start(world);
    world_bluez_up(world);
    return world;
}

/* attic has d0, and is alive */
static struct world *begin_elsewhere(const char *text, const char *list)
{
    struct world *world = begin(text);

    world_retain(world, ATTIC, "online");
    world_retain(world, LINK, ATTICS);
    world_retain(world, LIST, list);
    world_broker_up(world);
    world_message(world, ATTIC, "online", false);
    assert_false(world->gateway->peers[0]->ours);
    return world;
}

static void attic_goes(struct world *world)
{
    world_clear(world);
    world_retain(world, ATTIC, "offline");
    world_message(world, ATTIC, "offline", false);
    world_advance(world, 10000);
    assert_true(world->gateway->peers[0]->speaks);
}

static void attic_comes(struct world *world)
{
    world_retain(world, ATTIC, "online");
    world_message(world, ATTIC, "online", false);
    world_retain(world, LINK, ATTICS);
    world_message(world, LINK, ATTICS, false);
    assert_false(world->gateway->peers[0]->ours);
}

static void reload(struct world *world, const char *text)
{
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

static size_t count_topic_actions(const struct world *world, enum action_type type,
                                  const char *filter)
{
    size_t n = 0;

    for (size_t i = 0; i < world->n_seen; i++)
        n += world->seen[i].type == type && strcmp(world->seen[i].topic.filter, filter) == 0;
    return n;
}

static void assert_migrated(struct world *world, const char *old, const char *present)
{
    long listed = place(world, DEVICES, old), let_go = place(world, old, DISCOVERY_MIGRATE);
    long told = place(world, present, "unique_id");

    assert_true(listed >= 0 && listed < let_go); /* a crash forgets none */
    assert_true(let_go < told && told < place(world, old, ""));
    assert_int_equal(place(world, present, ""), -1);
    assert_null(world_retained(world, old));
    assert_non_null(strstr(world_retained(world, present), "level"));
    assert_null(strstr(world_retained(world, DEVICES), old));
}

static void documents_of_another_form_are_migrated_when_the_device_is_taken_over(void **state)
{
    struct world *world = begin_elsewhere(FREE("device"), LISTED("\"" LEVEL "\",\"" OLDER "\""));

    world_retain(world, LEVEL, TOLD);
    world_retain(world, OLDER, TOLD);
    attic_goes(world);
    assert_migrated(world, LEVEL, DOCUMENT);
    assert_int_equal(place(world, OLDER, "migrate"),
                     -1); /* an entity that the file does not have */
    assert_null(world_retained(world, OLDER));
    assert_int_equal(count_topic_actions(world, ACTION_TOPIC_SUBSCRIBE, LIST), 1);
    assert_int_equal(count_topic_actions(world, ACTION_TOPIC_UNSUBSCRIBE, LIST), 1);
    world_free(world);

    world = begin_elsewhere(FREE("component"), LISTED("\"" DOCUMENT "\",\"" MOVED "\""));
    world_retain(world, DOCUMENT, TOLD);
    world_retain(world, MOVED, TOLD);
    attic_goes(world);
    assert_migrated(world, DOCUMENT, LEVEL);
    assert_null(world_retained(world, MOVED));
    world_free(world);
}

static void documents_are_cleared_where_there_are_to_be_none(void **state)
{
    struct world *world = begin_elsewhere(FREE("off"), LISTED("\"" DOCUMENT "\",\"" LEVEL "\""));

    world_retain(world, DOCUMENT, TOLD);
    world_retain(world, LEVEL, TOLD);
    attic_goes(world);
    assert_int_equal(place(world, LEVEL, "migrate"), -1);
    assert_null(world_retained(world, DOCUMENT));
    assert_null(world_retained(world, LEVEL));
    world_free(world);
}

/* a subscription, an answer, and no other message than before */
static void same_form_costs_next_to_nothing(void **state)
{
    struct world *world = begin_elsewhere(FREE("component"), LISTED("\"" LEVEL "\""));

    world_retain(world, LEVEL, TOLD);
    attic_goes(world);
    assert_int_equal(world_count_published(world, LEVEL), 1);
    assert_non_null(strstr(world_retained(world, LEVEL), "gatt2mqtt_d0_level_value"));
    assert_int_equal(world->gateway->memory.n_leftovers, 0);
    assert_int_equal(count_topic_actions(world, ACTION_TOPIC_SUBSCRIBE, LIST), 1);
    assert_int_equal(count_topic_actions(world, ACTION_TOPIC_UNSUBSCRIBE, LIST), 1);
    /* a gateway that comes back to its own device asks nobody */
    world_clear(world);
    world_broker_down(world);
    world_broker_up(world);
    world_advance(world, 10000);
    assert_true(world->gateway->peers[0]->speaks);
    assert_int_equal(count_topic_actions(world, ACTION_TOPIC_SUBSCRIBE, LIST), 0);
    world_free(world);
}

static void nothing_else_in_the_list_is_touched(void **state)
{
    static const char *const kept[] = {OTHER,
                                       "ha/status",
                                       "ha/device/gatt2mqtt_bridge_attic/config",
                                       "ha/sensor/somebody_elses/config",
                                       "g/d0/older",
                                       "g/d1/status/link"};
    static const char list[] =
        "{\"devices\":[7,{},{\"id\":7},{\"id\":\"d0\",\"topics\":\"x\"},"
        "{\"id\":\"d0\",\"topics\":[\"" LEVEL "\",\"" OTHER "\",\"ha/status\","
        "\"ha/device/gatt2mqtt_bridge_attic/config\",\"ha/sensor/somebody_elses/config\","
        "\"g/d0/older\",\"g/d1/status/link\",\"ha/+/gatt2mqtt_d0_x/config\",\"\",7,null]},"
        "{\"id\":\"d1\",\"topics\":[\"" OTHER "\"]},"
        "{\"id\":\"bridge\",\"topics\":[\"ha/device/gatt2mqtt_bridge_attic/config\"]}],"
        "\"topics\":[\"ha/device/gatt2mqtt_bridge_attic/config\"]}";
    /* d1 is the attic's for good */
    struct world *world =
        begin_elsewhere(FREE("device") "  d1:\n    gateway: attic\n    match: { name: X }\n", list);

    world_retain(world, LEVEL, TOLD);
    for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
        world_retain(world, kept[i], ATTICS);
    attic_goes(world);
    assert_migrated(world, LEVEL, DOCUMENT);
    for (size_t i = 0; i < ARRAY_SIZE(kept); i++) {
        assert_string_equal(world_retained(world, kept[i]), ATTICS);
        assert_int_equal(world_count_published(world, kept[i]), 0);
    }
    assert_int_equal(world_count_published(world, "ha/+/gatt2mqtt_d0_x/config"), 0);
    world_free(world);
}

/* each would be looked for among all that are to be cleared */
static void list_without_end_is_cut(void **state)
{
    enum { LISTED_TOPICS = 3000, TAKEN = 1024 };
    const size_t size = LISTED_TOPICS * 64;
    char *list = malloc(size);
    size_t n = (size_t)snprintf(list, size, "{\"devices\":[{\"id\":\"d0\",\"topics\":[");

    for (unsigned i = 0; i < LISTED_TOPICS; i++)
        n += (size_t)snprintf(list + n, size - n, "%s\"ha/sensor/gatt2mqtt_d0_level_%u/config\"",
                              i ? "," : "", i);
    snprintf(list + n, size - n, "]}]}");
    struct world *world = begin_elsewhere(FREE("device"), "");
    uint64_t rejected = world->gateway->counts.rejected;
    world_clear(world);
    world_message(world, ATTIC, "offline", false);
    while (!count_topic_actions(world, ACTION_TOPIC_SUBSCRIBE, LIST))
        world_advance(world, 10);
    outbox_reset(world->gateway->outbox, false); /* nothing goes out: the broker says nothing */
    world_message(world, LIST, list, true);
    assert_int_equal(world->gateway->memory.n_leftovers, TAKEN);
    assert_int_equal(world->gateway->counts.rejected, rejected + 1);
    world_free(world);
    free(list);
}

static void list_that_is_none_is_survived(void **state)
{
    static const char *const lists[] = {"", "{", "[]", "7", "{\"devices\":{\"d0\":7}}"};

    for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
        struct world *world = begin_elsewhere(FREE("device"), lists[i]);
        world_retain(world, LEVEL, TOLD);
        attic_goes(world);
        assert_non_null(world_retained(world, DOCUMENT));
        assert_string_equal(world_retained(world, LEVEL), TOLD);
        world_free(world);
    }
}

static void gateway_that_returns_in_time_keeps_its_documents(void **state)
{
    struct world *world = begin_elsewhere(FREE("device"), LISTED("\"" LEVEL "\""));

    world_retain(world, LEVEL, TOLD);
    world_message(world, ATTIC, "offline", false);
    world_advance(world, 500);
    world_message(world, ATTIC, "online", false);
    world_advance(world, 60000);
    assert_false(world->gateway->peers[0]->ours);
    assert_string_equal(world_retained(world, LEVEL), TOLD);
    assert_int_equal(count_topic_actions(world, ACTION_TOPIC_SUBSCRIBE, LIST), 0);
    world_free(world);
}

/* The form changes twice while another gateway has the device, which clears nothing. */
static void own_documents_are_remembered_while_another_gateway_has_the_device(void **state)
{
    struct world *world = begin(FREE("component"));

    world_broker_up(world);
    world_advance(world, 1000);
    assert_non_null(world_retained(world, LEVEL));
    attic_comes(world);
    world_clear(world);
    reload(world, FREE("off"));
    reload(world, FREE("device"));
    world_advance(world, 60000);
    assert_int_equal(world_count_published(world, LEVEL), 0);
    assert_non_null(strstr(world_retained(world, DEVICES), LEVEL));
    attic_goes(world);
    assert_migrated(world, LEVEL, DOCUMENT);
    /* and back again: what is wanted once more is not let go */
    attic_comes(world);
    reload(world, FREE("component"));
    reload(world, FREE("device"));
    attic_goes(world);
    world_advance(world, 10000);
    assert_int_equal(place(world, DOCUMENT, "migrate"), -1);
    assert_int_equal(place(world, DOCUMENT, ""), -1);
    assert_non_null(world_retained(world, DOCUMENT));
    assert_int_equal(world->gateway->memory.n_leftovers, 0);
    world_free(world);
}

/* what we told of it once has the topics of what that gateway tells now */
static void device_of_another_gateway_may_leave_the_file(void **state)
{
    struct world *world = begin(FREE("component"));

    world_broker_up(world);
    world_advance(world, 1000);
    attic_comes(world);
    world_clear(world);
    reload(world, HEAD("component"));
    world_advance(world, 60000);
    assert_int_equal(world_count_published(world, LEVEL), 0);
    assert_non_null(world_retained(world, LEVEL));
    assert_null(strstr(world_retained(world, DEVICES), "d0"));
    world_free(world);
}

/* `gateway:` moves it: nothing is waited for, so its documents are told once more */
static void device_that_the_file_gives_to_this_gateway_is_told_anew(void **state)
{
    struct world *world = begin_elsewhere(FREE("device"), LISTED("\"" LEVEL "\""));

    world_retain(world, LEVEL, TOLD);
    world_clear(world);
    reload(world, BOUND("device", "gw"));
    world_advance(world, 10000);
    long let_go = place(world, LEVEL, DISCOVERY_MIGRATE), last = -1;
    for (size_t i = 0; i < world->n_seen; i++)
        if (world->seen[i].type == ACTION_PUBLISH &&
            strcmp(world->seen[i].publish.topic, DOCUMENT) == 0)
            last = (long)i;
    assert_true(let_go >= 0 && let_go < last && last < place(world, LEVEL, ""));
    assert_null(world_retained(world, LEVEL));
    world_free(world);
}

/* ... and what it alone told is removed, though the document is of our form and has gone out */
static void entity_that_only_the_other_gateway_told_is_removed(void **state)
{
    struct world *world = begin_elsewhere(
        FREE("device"), "{\"devices\":[{\"id\":\"d0\",\"topics\":[\"" DOCUMENT
                        "\"],\"entities\":[\"sensor/level_value\",\"sensor/older_value\"]}]}");

    world_clear(world);
    reload(world, BOUND("device", "gw"));
    world_advance(world, 10000);
    long listed = place(world, DEVICES, "sensor/older_value");
    assert_true(listed >= 0 && listed < place(world, DOCUMENT, "older_value"));
    assert_null(strstr(world_retained(world, DOCUMENT), "older_value"));
    assert_null(strstr(world_retained(world, DEVICES), "older_value"));
    world_free(world);
}

/* ... or not before: what waits for a slow broker still is not sent to be refused */
static void document_that_waits_still_waits_for_the_migration(void **state)
{
    struct world *world = begin_elsewhere(FREE("device"), LISTED("\"" LEVEL "\""));

    world_retain(world, LEVEL, TOLD);
    world_clear(world);
    world->acknowledge = false;
    outbox_open(world->gateway->outbox, 1, 1);
    reload(world, BOUND("device", "gw"));
    for (size_t i = 0; i < 200; i++) {
        const struct action *action = NULL, *last = NULL;
        while ((action = world_find(world, ACTION_PUBLISH, action)))
            last = action->publish.qos ? action : last;
        if (last)
            world_event(world,
                        &(struct event){.type = EVENT_PUBLISHED,
                                        .published = {.token = last->publish.token, .ok = true}});
        world_advance(world, 100);
    }
    assert_migrated(world, LEVEL, DOCUMENT);
    world_free(world);
}

/* ... and the gateway that had it does not forget what it told, restarted or not */
static void device_that_the_file_gives_away_stays_in_the_list(void **state)
{
    struct world *world = begin(FREE("component"));

    world_broker_up(world);
    world_advance(world, 1000);
    reload(world, BOUND("component", "attic"));
    assert_non_null(
        strstr(world_retained(world, DEVICES), "\"held_by\":\"attic\",\"topics\":[\"ha/"));
    assert_non_null(strstr(world_retained(world, DEVICES), LEVEL));
    world_clear(world);
    reload(world, HEAD("component"));
    world_advance(world, 10000);
    assert_int_equal(world_count_published(world, LEVEL), 0);
    world_free(world);

    world = begin(BOUND("component", "attic"));
    world_retain(world, LEVEL, TOLD);
    world_retain(world, DEVICES, LISTED("\"" LEVEL "\",\"g/d0/level\""));
    world_broker_up(world);
    world_advance(world, 60000);
    assert_non_null(strstr(world_retained(world, DEVICES), LEVEL));
    assert_null(strstr(world_retained(world, DEVICES), "\"g/d0/level\"]"));
    assert_string_equal(world_retained(world, LEVEL), TOLD);
    world_free(world);
}

/* the connection breaks before the answer: it is asked for again */
static void answer_that_was_lost_is_asked_for_again(void **state)
{
    struct world *world = begin_elsewhere(FREE("device"), "");

    world_retain(world, LEVEL, TOLD);
    attic_goes(world);
    world_broker_down(world);
    world_retain(world, LIST, LISTED("\"" LEVEL "\""));
    world_broker_up(world);
    world_advance(world, 10000);
    assert_null(world_retained(world, LEVEL));
    assert_non_null(world_retained(world, DOCUMENT));
    world_free(world);
}

/* Our claim was older, and a word of ours the later one: it comes back without being claimed. The
 * other device is still the attic's. */
static void device_that_was_elsewhere_for_a_moment_is_looked_at_too(void **state)
{
    static const char *const links[] = {LINK, "g/d1/status/link"};
    struct world *world =
        begin(FREE("device") "  d1:\n    match: { name: X }\n    characteristics:\n"
                             "      level: { uuid: 0x2A19, subscribe: true }\n");

    world_broker_up(world);
    world_retain(world, ATTIC, "online");
    world_message(world, ATTIC, "online", false);
    for (size_t i = 0; i < ARRAY_SIZE(links); i++) {
        world_retain(world, links[i], ATTICS);
        world_message(world, links[i], ATTICS, false);
    }
    world_retain(world, LEVEL, TOLD);
    world_retain(world, OTHER, TOLD);
    world_retain(world, LIST,
                 "{\"devices\":[{\"id\":\"d0\",\"topics\":[\"" LEVEL "\"]},"
                 "{\"id\":\"d1\",\"topics\":[\"" OTHER "\"]}]}");
    world_clear(world);
    world_message(world, LINK, "{\"gateway\":\"gw\"}", false);
    world_advance(world, 5000);
    assert_true(world->gateway->peers[0]->speaks);
    assert_migrated(world, LEVEL, DOCUMENT);
    assert_string_equal(world_retained(world, OTHER), TOLD);
    assert_null(strstr(world_retained(world, DEVICES), OTHER));
    attic_goes(world);
    assert_true(world->gateway->peers[1]->speaks);
    assert_null(world_retained(world, OTHER));
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(documents_of_another_form_are_migrated_when_the_device_is_taken_over),
        cmocka_unit_test(documents_are_cleared_where_there_are_to_be_none),
        cmocka_unit_test(same_form_costs_next_to_nothing),
        cmocka_unit_test(nothing_else_in_the_list_is_touched),
        cmocka_unit_test(list_without_end_is_cut),
        cmocka_unit_test(list_that_is_none_is_survived),
        cmocka_unit_test(gateway_that_returns_in_time_keeps_its_documents),
        cmocka_unit_test(own_documents_are_remembered_while_another_gateway_has_the_device),
        cmocka_unit_test(device_of_another_gateway_may_leave_the_file),
        cmocka_unit_test(device_that_the_file_gives_to_this_gateway_is_told_anew),
        cmocka_unit_test(entity_that_only_the_other_gateway_told_is_removed),
        cmocka_unit_test(document_that_waits_still_waits_for_the_migration),
        cmocka_unit_test(device_that_the_file_gives_away_stays_in_the_list),
        cmocka_unit_test(answer_that_was_lost_is_asked_for_again),
        cmocka_unit_test(device_that_was_elsewhere_for_a_moment_is_looked_at_too),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
