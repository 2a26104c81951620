/* The request `inspect`: a peer's whole GATT tree, and what can be read of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "helper_world.h"

#include "core/gatt_names.h"

#define D0       100u
#define REQUEST  "g/bridge/gw/request/"
#define RESPONSE "g/bridge/gw/response/inspect"

static struct world *begin(enum connection_mode mode)
{
    struct world *world = world_new(1);

    world->settings.commands.allow = UINT32_MAX;
    world->settings.devices[0].connection =
        (struct connection_settings){.mode = mode, .linger_ms = 2000, .timeout_ms = 60000};
    world_start(world);
    world_broker_up(world);
    world_bluez_up(world);
    return world;
}

static struct world *begin_online(void)
{
    struct world *world = begin(CONNECTION_MODE_PERSISTENT);

    world_online(world, 0);
    world_advance(world, 40000);
    world_clear(world);
    return world;
}

static struct peer *peer_of(struct world *world)
{
    return world->gateway->peers[0];
}

static void ask_for(struct world *world, const char *operation, const char *more)
{
    char topic[64], payload[128];

    snprintf(topic, sizeof(topic), REQUEST "%s", operation);
    snprintf(payload, sizeof(payload), "{\"device\":\"d0\"%s}", more);
    world_message(world, topic, payload, false);
}

static void ask(struct world *world, const char *more)
{
    ask_for(world, "inspect", more);
}

static size_t count(const struct world *world)
{
    return world_count_published(world, RESPONSE);
}

/* it was answered once, and this stands in it */
static void expect(const struct world *world, const char *part)
{
    assert_int_equal(count(world), 1);
    if (!strstr(world_published(world, RESPONSE), part))
        fail_msg("'%s' is not in %s", part, world_published(world, RESPONSE));
}

static void tree(struct world *world, const struct gatt_attribute *list, size_t n,
                 enum bt_status status)
{
    const struct action *action = world_expect(world, ACTION_INSPECT);
    struct event event = {.type = EVENT_INSPECT_RESULT,
                          .op = action->op,
                          .adapter = action->adapter,
                          .device = action->device,
                          .result = {.status = status},
                          .inspected = {.attributes = list, .n_attributes = n}};

    world_event(world, &event);
}

static void plain_tree(struct world *world)
{
    const struct gatt_attribute list[] = {
        {GATT_ATTRIBUTE_SERVICE, bt_uuid_from_u16(0x180f), 0x10, 0, true},
        {GATT_ATTRIBUTE_CHARACTERISTIC, bt_uuid_from_u16(0x2a19), LEVEL_HANDLE,
         GATT_FLAG_READ | GATT_FLAG_NOTIFY, false},
        {GATT_ATTRIBUTE_DESCRIPTOR, bt_uuid_from_u16(0x2902), 0x13, 0, false},
        {GATT_ATTRIBUTE_SERVICE, bt_uuid_from_u16(0xffe0), 0x20, 0, false},
        {GATT_ATTRIBUTE_CHARACTERISTIC, bt_uuid_from_u16(0xffe1), LAMP_HANDLE, GATT_FLAG_READ,
         false},
        {GATT_ATTRIBUTE_CHARACTERISTIC, bt_uuid_from_u16(0xffe2), 0x24, GATT_FLAG_WRITE_COMMAND,
         false},
    };

    tree(world, list, ARRAY_SIZE(list), BT_STATUS_OK);
}

static void the_tree_is_told_with_names_and_the_files_ids(void **state)
{
    struct world *world = begin_online();

    ask(world, "");
    plain_tree(world);
    assert_int_equal(world_count(world, ACTION_READ), 0);
    expect(world,
           "\"data\":{\"mtu\":247,\"services\":["
           "{\"handle\":16,\"uuid\":\"0x180F\",\"name\":\"Battery\",\"characteristics\":["
           "{\"handle\":18,\"uuid\":\"0x2A19\",\"name\":\"Battery Level\","
           "\"properties\":[\"read\",\"notify\"],\"characteristic\":\"level\","
           "\"descriptors\":[{\"handle\":19,\"uuid\":\"0x2902\","
           "\"name\":\"Client Characteristic Configuration\"}]}]},"
           "{\"handle\":32,\"uuid\":\"0xFFE0\",\"primary\":false,\"characteristics\":["
           "{\"handle\":34,\"uuid\":\"0xFFE1\",\"properties\":[\"read\"],"
           "\"characteristic\":\"lamp\"},"
           "{\"handle\":36,\"uuid\":\"0xFFE2\",\"properties\":[\"write-without-response\"]}]}],"
           "\"complete\":true}");
    assert_int_equal(peer_of(world)->state, PEER_STATE_ONLINE);
    world_free(world);
}

static void values_are_read_one_after_the_other(void **state)
{
    struct world *world = begin_online();

    ask(world, ",\"values\":true");
    plain_tree(world);
    assert_int_equal(world_count(world, ACTION_READ), 1);
    struct action read = *world_expect(world, ACTION_READ);
    assert_int_equal(read.read.handle, LEVEL_HANDLE);
    world_clear(world);
    world_answer(world, &read, BT_STATUS_OK);
    read = *world_expect(world, ACTION_READ);
    assert_int_equal(read.read.handle, LAMP_HANDLE);
    assert_int_equal(count(world), 0);
    world_answer(world, &read, BT_STATUS_NOT_PAIRED);
    expect(world, "\"characteristic\":\"level\",\"value\":\"2a\",");
    expect(world, "\"characteristic\":\"lamp\",\"error\":\"");
    expect(world, "\"complete\":true");
    assert_null(world_published(world, "g/d0/level")); /* who looks changes nothing */
    world_free(world);
}

static void the_link_is_made_for_it_and_let_go(void **state)
{
    struct world *world = begin(CONNECTION_MODE_ON_DEMAND);

    world_hear(world, 0, D0);
    ask(world, "");
    world_link(world, D0, true);
    world_resolved(world, world_expect(world, ACTION_RESOLVE));
    plain_tree(world); /* before it is subscribed */
    expect(world, "\"complete\":true");
    world_answer(world, world_expect(world, ACTION_SUBSCRIBE), BT_STATUS_OK);
    assert_int_equal(world_count(world, ACTION_DISCONNECT), 0);
    world_advance(world, 2000);
    assert_int_equal(world_count(world, ACTION_DISCONNECT), 1);
    world_free(world);
}

/* nothing of the file is in the peer's tree */
static void resolve_to_a_stranger(struct world *world)
{
    const struct gatt_characteristic list[] = {
        {.uuid = bt_uuid_from_u16(0x2a00), .handle = 3, .flags = GATT_FLAG_READ}};
    const struct action *resolve = world_expect(world, ACTION_RESOLVE);
    struct event event = {.type = EVENT_RESOLVE_RESULT,
                          .op = resolve->op,
                          .device = D0,
                          .resolved = {.characteristics = list, .n_characteristics = 1}};

    world_event(world, &event);
}

static void a_peer_that_does_not_fit_the_file_is_looked_at_all_the_same(void **state)
{
    const struct gatt_attribute list[] = {
        {GATT_ATTRIBUTE_SERVICE, bt_uuid_from_u16(0x1800), 1, 0, true},
        {GATT_ATTRIBUTE_CHARACTERISTIC, bt_uuid_from_u16(0x2a00), 3, GATT_FLAG_READ, false}};
    struct world *world = begin(CONNECTION_MODE_PERSISTENT);

    world_hear(world, 0, D0);
    ask(world, ",\"values\":true");
    world_link(world, D0, true);
    resolve_to_a_stranger(world);
    assert_int_equal(world_count(world, ACTION_DISCONNECT), 0);
    tree(world, list, 2, BT_STATUS_OK);
    const struct action read = *world_expect(world, ACTION_READ);
    world_clear(world);
    world_answer(world, &read, BT_STATUS_OK);
    expect(world, "\"name\":\"Device Name\",\"properties\":[\"read\"],\"value\":\"2a\"");
    /* and then it has its consequences */
    resolve_to_a_stranger(world);
    assert_int_equal(world_count(world, ACTION_DISCONNECT), 1);
    assert_int_equal(peer_of(world)->reason, REASON_GATT_MISSING);
    world_free(world);
}

static const struct action *last(const struct world *world, enum action_type type)
{
    const struct action *action = world_expect(world, type), *next;

    while ((next = world_find(world, type, action)))
        action = next;
    return action;
}

/* only `level` of the file is in the peer's tree */
static void resolve_without_the_lamp(struct world *world)
{
    const struct gatt_characteristic list[] = {{.service = bt_uuid_from_u16(0x180f),
                                                .uuid = bt_uuid_from_u16(0x2a19),
                                                .service_handle = 0x10,
                                                .handle = LEVEL_HANDLE,
                                                .flags = GATT_FLAG_READ | GATT_FLAG_NOTIFY}};
    struct event event = {.type = EVENT_RESOLVE_RESULT,
                          .op = last(world, ACTION_RESOLVE)->op,
                          .device = D0,
                          .resolved = {.characteristics = list, .n_characteristics = 1}};

    world_event(world, &event);
}

static void who_does_not_fit_is_let_go_then_if_nobody_holds_it(void **state)
{
    struct world *world = begin(CONNECTION_MODE_ON_DEMAND);

    peer_of(world)->cache_cleared_us = world->now.mono_us; /* that it does not fit is known */
    world_hear(world, 0, D0);
    ask(world, "");
    world_link(world, D0, true);
    resolve_without_the_lamp(world);
    world_answer(world, last(world, ACTION_SUBSCRIBE), BT_STATUS_OK);
    plain_tree(world);
    expect(world, "\"complete\":true");
    resolve_without_the_lamp(world);
    world_answer(world, last(world, ACTION_SUBSCRIBE), BT_STATUS_OK);
    assert_int_equal(peer_of(world)->state, PEER_STATE_ONLINE);
    world_advance(world, 2000);
    assert_int_equal(world_count(world, ACTION_DISCONNECT), 1);
    world_free(world);
}

static void what_is_known_when_the_link_is_lost_is_told(void **state)
{
    struct world *world = begin_online();

    ask(world, ",\"values\":true");
    plain_tree(world);
    const struct action read = *world_expect(world, ACTION_READ);
    world_clear(world);
    world_answer(world, &read, BT_STATUS_OK);
    world_link(world, D0, false);
    expect(world, "\"value\":\"2a\"");
    expect(world, "\"complete\":false");
    world_free(world);
}

static void who_was_held_for_it_alone_rests_when_the_link_is_lost(void **state)
{
    struct world *world = begin(CONNECTION_MODE_ON_DEMAND);

    world_hear(world, 0, D0);
    ask_for(world, "connect", ",\"hold\":\"60s\"");
    world_link(world, D0, true);
    world_resolved(world, world_expect(world, ACTION_RESOLVE));
    world_answer(world, world_expect(world, ACTION_SUBSCRIBE), BT_STATUS_OK);
    world_advance(world, 40000);
    world_clear(world);
    ask(world, ",\"values\":true,\"timeout\":\"60s\"");
    plain_tree(world);
    world_advance(world, 25000); /* the time that it was asked for is over */
    assert_int_equal(peer_of(world)->state, PEER_STATE_ONLINE);
    world_link(world, D0, false);
    expect(world, "\"complete\":false");
    assert_int_equal(peer_of(world)->state, PEER_STATE_IDLE);
    world_free(world);
}

static void and_when_its_time_is_over(void **state)
{
    struct world *world = begin_online();

    ask(world, ",\"values\":true,\"timeout\":\"5s\"");
    plain_tree(world);
    world_advance(world, 4999);
    assert_int_equal(count(world), 0);
    world_advance(world, 1);
    expect(world, "\"complete\":false");
    const struct action read = *world_expect(world, ACTION_READ);
    world_answer(world, &read, BT_STATUS_OK); /* too late: nobody's */
    assert_int_equal(peer_of(world)->state, PEER_STATE_ONLINE);
    world_free(world);
}

static void without_a_link_it_says_why(void **state)
{
    struct world *world = begin(CONNECTION_MODE_PERSISTENT);

    ask(world, ",\"queue_timeout\":\"3s\"");
    world_advance(world, 3000);
    expect(world, "\"code\":\"not_connected\"");
    expect(world, "has not been heard");
    world_clear(world);
    ask(world, ",\"queue_timeout\":0");
    expect(world, "\"code\":\"not_connected\"");
    world_adapter(world, ADAPTER_1, false);
    world_clear(world);
    ask(world, "");
    world_advance(world, 10000);
    expect(world, "\"code\":\"adapter_off\"");
    world_free(world);
}

static void a_link_that_cannot_be_made_says_why(void **state)
{
    struct world *world = begin(CONNECTION_MODE_PERSISTENT);

    world_hear(world, 0, D0);
    ask(world, ",\"timeout\":\"200ms\"");
    world_answer(world, world_expect(world, ACTION_CONNECT), BT_STATUS_FAILED);
    world_advance(world, 0);
    expect(world, "\"code\":\"connect_failed\"");
    world_free(world);
}

static void what_bluez_cannot_say_is_an_error(void **state)
{
    struct world *world = begin_online();

    ask(world, "");
    tree(world, NULL, 0, BT_STATUS_OK);
    expect(world, "\"code\":\"not_supported\"");
    world_clear(world);
    ask(world, "");
    tree(world, NULL, 0, BT_STATUS_TIMEOUT);
    expect(world, "\"code\":\"timeout\"");
    assert_int_equal(peer_of(world)->state, PEER_STATE_ONLINE);
    world_free(world);
}

static void the_answer_is_bounded(void **state)
{
    static struct gatt_attribute list[2048];
    struct world *world = begin_online();

    for (size_t i = 0; i < ARRAY_SIZE(list); i++)
        list[i] =
            (struct gatt_attribute){i % 20 ? GATT_ATTRIBUTE_CHARACTERISTIC : GATT_ATTRIBUTE_SERVICE,
                                    bt_uuid_from_u16(0xfff0), (uint16_t)(i + 1), 0xff, false};
    ask(world, "");
    tree(world, list, ARRAY_SIZE(list), BT_STATUS_OK);
    assert_in_range(strlen(world_published(world, RESPONSE)), DEDUP_ANSWER_MAX / 2,
                    DEDUP_ANSWER_MAX);
    expect(world, "]}],\"complete\":false},\"ms\":");
    world_clear(world);
    world->gateway->max_packet = 4096;
    ask(world, "");
    tree(world, list, ARRAY_SIZE(list), BT_STATUS_OK);
    assert_true(strlen(world_published(world, RESPONSE)) < 2048);
    world_free(world);
}

static void what_ends_it_answers_it(void **state)
{
    static const struct {
        const char *operation, *code;
    } cases[] = {{"pause", "disabled"}, {"disconnect", "cancelled"}};
    struct event stop = {.type = EVENT_STOP};

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct world *world = begin_online();
        ask(world, ",\"values\":true");
        plain_tree(world);
        ask_for(world, cases[i].operation, "");
        expect(world, cases[i].code);
        world_free(world);
    }
    struct world *world = begin_online();
    ask(world, ",\"values\":true");
    plain_tree(world);
    world_event(world, &stop);
    expect(world, "cancelled");
    world_free(world);
}

static void a_disabled_device_and_junk_are_refused(void **state)
{
    struct world *world = begin_online();

    ask(world, ",\"values\":1");
    expect(world, "bad_request");
    ask_for(world, "pause", "");
    world_clear(world);
    ask(world, "");
    expect(world, "\"code\":\"disabled\"");
    world_free(world);
}

static void names_are_the_sigs(void **state)
{
    struct bt_uuid uuid = bt_uuid_from_u16(0x1800), other;

    assert_string_equal(gatt_name(GATT_ATTRIBUTE_SERVICE, &uuid), "GAP");
    assert_null(gatt_name(GATT_ATTRIBUTE_DESCRIPTOR, &uuid));
    assert_int_equal(bt_uuid_parse("5e5e0010-8d20-4b5a-9a6e-0c0ffee00000", &other), 0);
    assert_null(gatt_name(GATT_ATTRIBUTE_CHARACTERISTIC, &other));
    uuid = bt_uuid_from_u16(0x2a37);
    assert_string_equal(gatt_name(GATT_ATTRIBUTE_CHARACTERISTIC, &uuid), "Heart Rate Measurement");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_tree_is_told_with_names_and_the_files_ids),
        cmocka_unit_test(values_are_read_one_after_the_other),
        cmocka_unit_test(the_link_is_made_for_it_and_let_go),
        cmocka_unit_test(a_peer_that_does_not_fit_the_file_is_looked_at_all_the_same),
        cmocka_unit_test(who_does_not_fit_is_let_go_then_if_nobody_holds_it),
        cmocka_unit_test(what_is_known_when_the_link_is_lost_is_told),
        cmocka_unit_test(who_was_held_for_it_alone_rests_when_the_link_is_lost),
        cmocka_unit_test(and_when_its_time_is_over),
        cmocka_unit_test(without_a_link_it_says_why),
        cmocka_unit_test(a_link_that_cannot_be_made_says_why),
        cmocka_unit_test(what_bluez_cannot_say_is_an_error),
        cmocka_unit_test(the_answer_is_bounded),
        cmocka_unit_test(what_ends_it_answers_it),
        cmocka_unit_test(a_disabled_device_and_junk_are_refused),
        cmocka_unit_test(names_are_the_sigs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
