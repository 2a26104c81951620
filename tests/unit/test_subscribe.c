/* Subscriptions that people ask for while it runs, and characteristics that they name by UUID. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "helper_world.h"

#define D0       100u
#define REQUEST  "g/bridge/gw/request/"
#define RESPONSE "g/bridge/gw/response/"

static struct peer *peer_of(struct world *world)
{
    return world->gateway->peers[0];
}

static void ask(struct world *world, const char *operation, const char *characteristic,
                const char *more)
{
    char topic[64], payload[256];

    snprintf(topic, sizeof(topic), REQUEST "%s", operation);
    snprintf(payload, sizeof(payload), "{\"device\":\"d0\",\"characteristic\":\"%s\"%s}",
             characteristic, more);
    world_message(world, topic, payload, false);
}

static size_t count(const struct world *world, const char *operation)
{
    char topic[64];

    snprintf(topic, sizeof(topic), RESPONSE "%s", operation);
    return world_count_published(world, topic);
}

static void expect(const struct world *world, const char *operation, const char *part)
{
    char topic[64];

    snprintf(topic, sizeof(topic), RESPONSE "%s", operation);
    assert_int_equal(world_count_published(world, topic), 1);
    if (!strstr(world_published(world, topic), part))
        fail_msg("'%s' is not in %s", part, world_published(world, topic));
}

/* ---- subscriptions ---- */

/* d0 with `level`, which can notify, subscribed by the file or not */
static struct world *begin(bool subscribed)
{
    struct world *world = world_new(1);

    world->settings.devices[0].characteristics[0].subscribe = subscribed;
    world_start(world);
    world_broker_up(world);
    world_bluez_up(world);
    return world;
}

/* from the advertisement to online; the subscription, if there is one */
static const struct action *come_online(struct world *world)
{
    world_clear(world);
    world_hear(world, 0, D0);
    world_link(world, D0, true);
    world_resolved(world, world_expect(world, ACTION_RESOLVE));
    const struct action *subscribe = world_find(world, ACTION_SUBSCRIBE, NULL);
    if (subscribe)
        world_answer(world, subscribe, BT_STATUS_OK);
    assert_int_equal(peer_of(world)->state, PEER_STATE_ONLINE);
    return subscribe;
}

static void subscribe_publishes_values_and_outlives_the_link(void **state)
{
    struct world *world = begin(false);

    assert_null(come_online(world));
    world_clear(world);
    ask(world, "subscribe", "level", "");
    const struct action subscribe = *world_expect(world, ACTION_SUBSCRIBE);
    assert_int_equal(subscribe.subscribe.handle, LEVEL_HANDLE);
    assert_int_equal(peer_of(world)->state, PEER_STATE_ONLINE); /* it stays so meanwhile */
    assert_int_equal(count(world, "subscribe"), 0);
    world_value(world, &subscribe, "\x01", 1); /* before it is confirmed */
    world_answer(world, &subscribe, BT_STATUS_OK);
    expect(world, "subscribe", "\"status\":\"ok\",\"data\":{\"subscribed\":true}");
    world_value(world, &subscribe, "\x05", 1);
    assert_int_equal(world_count_published(world, "g/d0/level"), 1);
    world_advance(world, 60000);
    world_link(world, D0, false);
    const struct action *again = come_online(world);
    assert_non_null(again);
    world_value(world, again, "\x06", 1);
    assert_non_null(world_published(world, "g/d0/level"));
    world_free(world);
}

static void unsubscribe_ends_what_the_file_subscribes(void **state)
{
    struct world *world = begin(true);
    const struct action subscribe = *come_online(world);

    world_clear(world);
    ask(world, "unsubscribe", "level", "");
    assert_int_equal(world_expect(world, ACTION_UNSUBSCRIBE)->subscribe.handle, LEVEL_HANDLE);
    expect(world, "unsubscribe", "\"data\":{\"subscribed\":false}");
    world_value(world, &subscribe, "\x05", 1);
    assert_null(world_published(world, "g/d0/level"));
    world_advance(world, 60000);
    world_link(world, D0, false);
    assert_null(come_online(world));
    world_clear(world);
    ask(world, "subscribe", "level", "");
    world_answer(world, world_expect(world, ACTION_SUBSCRIBE), BT_STATUS_OK);
    world_value(world, world_expect(world, ACTION_SUBSCRIBE), "\x05", 1);
    assert_non_null(world_published(world, "g/d0/level"));
    world_free(world);
}

static void subscribe_again_is_answered_at_once(void **state)
{
    struct world *world = begin(true);

    come_online(world);
    world_clear(world);
    ask(world, "subscribe", "level", "");
    assert_null(world_find(world, ACTION_SUBSCRIBE, NULL));
    expect(world, "subscribe", "\"subscribed\":true");
    world_free(world);
}

static void an_unsubscribe_comes_after_the_subscribe_before_it(void **state)
{
    struct world *world = begin(false);

    come_online(world);
    world_clear(world);
    ask(world, "subscribe", "level", "");
    ask(world, "unsubscribe", "level", "");
    assert_null(world_find(world, ACTION_UNSUBSCRIBE, NULL));
    world_answer(world, world_expect(world, ACTION_SUBSCRIBE), BT_STATUS_OK);
    assert_non_null(world_find(world, ACTION_UNSUBSCRIBE, NULL));
    expect(world, "subscribe", "\"subscribed\":true");
    expect(world, "unsubscribe", "\"subscribed\":false");
    assert_false(peer_of(world)->sources[0].subscribed);
    world_free(world);
}

static void without_a_link_subscribe_waits_and_unsubscribe_does_not(void **state)
{
    struct world *world = begin(true);

    ask(world, "subscribe", "level", "");
    assert_int_equal(count(world, "subscribe"), 0);
    ask(world, "unsubscribe", "level", "");
    expect(world, "subscribe", "\"code\":\"cancelled\"");
    expect(world, "unsubscribe", "\"subscribed\":false");
    assert_null(come_online(world));
    world_free(world);
}

/* on_connect may wait for its value: then there is no link without the wish */
static void what_the_file_subscribes_is_wanted_again_before_there_is_a_link(void **state)
{
    struct world *world = begin(true);

    ask(world, "unsubscribe", "level", "");
    ask(world, "subscribe", "level", "");
    world_advance(world, 11000);
    expect(world, "subscribe", "\"code\":\"not_connected\"");
    assert_non_null(come_online(world));
    world_free(world);
}

static void a_refused_subscribe_is_answered_and_changes_nothing(void **state)
{
    static const struct {
        enum bt_status status;
        const char *code;
    } cases[] = {
        {BT_STATUS_NOT_SUPPORTED, "not_supported"}, {BT_STATUS_NOT_PERMITTED, "not_authorized"},
        {BT_STATUS_IN_PROGRESS, "in_progress"},     {BT_STATUS_ATT_ERROR, "att_error"},
        {BT_STATUS_NOT_CONNECTED, "not_connected"},
    };
    struct world *world = begin(false);

    come_online(world);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char part[64];
        world_clear(world);
        ask(world, "subscribe", "level", "");
        world_answer(world, world_expect(world, ACTION_SUBSCRIBE), cases[i].status);
        snprintf(part, sizeof(part), "\"code\":\"%s\"", cases[i].code);
        expect(world, "subscribe", part);
        assert_int_equal(peer_of(world)->state, PEER_STATE_ONLINE);
    }
    world_clear(world);
    ask(world, "subscribe", "lamp", ""); /* it cannot notify */
    assert_null(world_find(world, ACTION_SUBSCRIBE, NULL));
    expect(world, "subscribe", "\"code\":\"not_supported\"");
    world_advance(world, 60000);
    world_link(world, D0, false);
    assert_null(come_online(world));
    world_free(world);
}

static void a_subscription_by_request_that_ends_by_itself_is_made_again(void **state)
{
    struct world *world = begin(false);

    come_online(world);
    world_clear(world);
    ask(world, "subscribe", "level", "");
    const struct action subscribe = *world_expect(world, ACTION_SUBSCRIBE);
    world_answer(world, &subscribe, BT_STATUS_OK);
    world_clear(world);
    struct event lost = {.type = EVENT_SUBSCRIPTION_LOST,
                         .value = {.subscription = subscribe.subscribe.subscription,
                                   .peer = subscribe.op.peer,
                                   .source = subscribe.subscribe.source}};
    world_event(world, &lost);
    assert_non_null(world_find(world, ACTION_SUBSCRIBE, NULL));
    world_free(world);
}

static void subscribe_makes_a_contact_on_demand(void **state)
{
    struct world *world = world_new(1);

    world->settings.devices[0].characteristics[0].subscribe = false;
    world->settings.devices[0].connection = (struct connection_settings){
        .mode = CONNECTION_MODE_ON_DEMAND, .linger_ms = 1000, .timeout_ms = 60000};
    world_start(world);
    world_broker_up(world);
    world_bluez_up(world);
    ask(world, "subscribe", "level", "");
    world_hear(world, 0, D0);
    world_link(world, D0, true);
    world_resolved(world, world_expect(world, ACTION_RESOLVE));
    world_answer(world, world_expect(world, ACTION_SUBSCRIBE), BT_STATUS_OK);
    expect(world, "subscribe", "\"subscribed\":true");
    world_advance(world, 1100);
    assert_non_null(world_find(world, ACTION_DISCONNECT, NULL));
    world_free(world);
}

static void expect_silence_ends_it(struct world *world, unsigned after_ms)
{
    world_advance(world, after_ms - 1000);
    assert_null(world_find(world, ACTION_DISCONNECT, NULL));
    world_advance(world, 2000);
    world_expect(world, ACTION_DISCONNECT);
    assert_int_equal(peer_of(world)->reason, REASON_SILENT);
}

static void silence_begins_with_the_subscription(void **state)
{
    for (int values = 0; values < 2; values++) { /* none had come before, or one long ago */
        struct world *world = begin(false);

        world->settings.devices[0].silence_ms = 120000;
        come_online(world);
        for (int i = 0; i < values; i++) {
            ask(world, "subscribe", "level", "");
            const struct action subscribe = *world_expect(world, ACTION_SUBSCRIBE);
            world_answer(world, &subscribe, BT_STATUS_OK);
            world_value(world, &subscribe, "\x05", 1);
            ask(world, "unsubscribe", "level", "");
        }
        world_clear(world);
        world_advance(world, 500000); /* nothing is subscribed: nothing is missed */
        world_clear(world);
        ask(world, "subscribe", "level", "");
        world_answer(world, world_expect(world, ACTION_SUBSCRIBE), BT_STATUS_OK);
        expect_silence_ends_it(world, 120000);
        world_free(world);
    }
}

/* ---- by UUID ---- */

static struct world *begin_raw(bool allowed)
{
    struct world *world = world_new(1);

    world->settings.commands.allow_raw = allowed;
    world_start(world);
    world_broker_up(world);
    world_bluez_up(world);
    come_online(world);
    world_clear(world);
    return world;
}

static void by_uuid_values_are_hex_and_not_published(void **state)
{
    static const char *const names[] = {"0xFFE1", "0xffe1", "0000ffe1-0000-1000-8000-00805f9b34fb"};
    struct world *world = begin_raw(true);

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        world_clear(world);
        ask(world, "read", names[i], "");
        assert_int_equal(world_expect(world, ACTION_READ)->read.handle, LAMP_HANDLE);
        world_answer(world, world_expect(world, ACTION_READ), BT_STATUS_OK);
        expect(world, "read", "\"data\":{\"value\":\"2a\",\"ts\":");
        assert_null(world_published(world, "g/d0/lamp"));
        ask(world, "write", names[i], i ? ",\"raw\":\"0102\"" : ",\"value\":\"0102\"");
        const struct action *write = world_expect(world, ACTION_WRITE);
        assert_int_equal(write->write.handle, LAMP_HANDLE);
        assert_int_equal(write->write.length, 2);
        assert_true(write->write.response);
        world_answer(world, write, BT_STATUS_OK);
        expect(world, "write", "\"data\":{\"value\":\"0102\",");
        assert_int_equal(world_count(world, ACTION_READ), 1); /* nothing is read back */
    }
    world_free(world);
}

static void by_uuid_what_is_wrong_is_answered(void **state)
{
    static const struct {
        const char *operation, *name, *more, *code;
    } cases[] = {
        {"read", "0xFFE9", "", "unknown_characteristic"},
        {"read", "FFE1", "", "unknown_characteristic"},
        {"write", "0x2A19", ",\"raw\":\"01\"", "read_only"},
        {"write", "0xFFE1", ",\"raw\":\"0\"", "invalid_value"},
        {"write", "0xFFE1", ",\"value\":1", "invalid_value"},
        {"write", "0xFFE1", ",\"raw\":\"01\",\"response\":false", "not_supported"},
        {"subscribe", "0x2A19", "", "not_supported"},
        {"unsubscribe", "0x2A19", "", "not_supported"},
    };
    struct world *world = begin_raw(true);

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char part[64];
        world_clear(world);
        ask(world, cases[i].operation, cases[i].name, cases[i].more);
        snprintf(part, sizeof(part), "\"code\":\"%s\"", cases[i].code);
        expect(world, cases[i].operation, part);
        assert_null(world_find(world, ACTION_READ, NULL));
        assert_null(world_find(world, ACTION_WRITE, NULL));
    }
    /* refused by the peer */
    world_clear(world);
    ask(world, "read", "0xFFE1", ",\"timeout\":\"1s\"");
    world_advance(world, 1100);
    expect(world, "read", "\"code\":\"timeout\"");
    world_answer(world, world_expect(world, ACTION_READ), BT_STATUS_ATT_ERROR);
    world_free(world);
}

static void by_uuid_one_that_the_peer_has_twice_is_not_guessed(void **state)
{
    struct world *world = begin_raw(true);

    peer_of(world)->tree[0].uuid = peer_of(world)->tree[1].uuid;
    ask(world, "read", "0xFFE1", "");
    expect(world, "read", "\"code\":\"bad_request\"");
    world_free(world);
}

static void by_uuid_it_waits_for_the_link(void **state)
{
    struct world *world = world_new(1);

    world->settings.commands.allow_raw = true;
    world_start(world);
    world_broker_up(world);
    world_bluez_up(world);
    ask(world, "read", "0xFFE1", "");
    assert_int_equal(count(world, "read"), 0);
    come_online(world);
    assert_int_equal(world_expect(world, ACTION_READ)->read.handle, LAMP_HANDLE);
    world_free(world);
}

static void without_allow_raw_a_uuid_is_not_authorized(void **state)
{
    struct world *world = begin_raw(false);

    ask(world, "read", "0xFFE1", "");
    expect(world, "read", "\"code\":\"not_authorized\"");
    assert_null(world_find(world, ACTION_READ, NULL));
    assert_null(peer_of(world)->tree); /* and costs no memory */
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(subscribe_publishes_values_and_outlives_the_link),
        cmocka_unit_test(unsubscribe_ends_what_the_file_subscribes),
        cmocka_unit_test(subscribe_again_is_answered_at_once),
        cmocka_unit_test(an_unsubscribe_comes_after_the_subscribe_before_it),
        cmocka_unit_test(without_a_link_subscribe_waits_and_unsubscribe_does_not),
        cmocka_unit_test(what_the_file_subscribes_is_wanted_again_before_there_is_a_link),
        cmocka_unit_test(a_refused_subscribe_is_answered_and_changes_nothing),
        cmocka_unit_test(a_subscription_by_request_that_ends_by_itself_is_made_again),
        cmocka_unit_test(subscribe_makes_a_contact_on_demand),
        cmocka_unit_test(silence_begins_with_the_subscription),
        cmocka_unit_test(by_uuid_values_are_hex_and_not_published),
        cmocka_unit_test(by_uuid_what_is_wrong_is_answered),
        cmocka_unit_test(by_uuid_one_that_the_peer_has_twice_is_not_guessed),
        cmocka_unit_test(by_uuid_it_waits_for_the_link),
        cmocka_unit_test(without_allow_raw_a_uuid_is_not_authorized),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
