/* The request `pair`: a bond over the peer's link, and what becomes of the link. */
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
#define RESPONSE "g/bridge/gw/response/pair"

static struct world *begin(enum connection_mode mode)
{
    struct world *world = world_new(2);

    world->settings.commands.allow = UINT32_MAX;
    world->settings.devices[0].connection =
        (struct connection_settings){.mode = mode, .linger_ms = 2000, .timeout_ms = 300000};
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

static void ask_for(struct world *world, const char *operation, const char *device,
                    const char *more)
{
    char topic[64], payload[160];

    snprintf(topic, sizeof(topic), REQUEST "%s", operation);
    snprintf(payload, sizeof(payload), "{\"device\":\"%s\"%s}", device, more);
    world_message(world, topic, payload, false);
}

static void ask(struct world *world, const char *more)
{
    ask_for(world, "pair", "d0", more);
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

static void paired(struct world *world, const struct action *action, enum bt_status status)
{
    struct event event = {.type = EVENT_PAIR_RESULT,
                          .op = action->op,
                          .adapter = action->adapter,
                          .device = action->device,
                          .result = {.status = status, .text = "Authentication Failed"}};

    world_event(world, &event);
}

static void told(struct world *world, uint8_t last, bool bonded)
{
    struct event event = {.type = EVENT_DEVICE,
                          .adapter = ADAPTER_1,
                          .device = D0,
                          .device_info = {.adapter = ADAPTER_1,
                                          .device = D0,
                                          .address = {{0xc0, 0, 0, 0, 0, last}},
                                          .address_type = BT_ADDRESS_RANDOM,
                                          .rssi = RSSI_UNKNOWN,
                                          .connected = true,
                                          .bonded = bonded,
                                          .paired = bonded}};

    world_event(world, &event);
}

static void it_pairs_over_the_link_and_goes_on_from_the_services(void **state)
{
    struct world *world = begin_online();

    ask(world, "");
    const struct action pair = *world_expect(world, ACTION_PAIR);
    assert_int_equal(pair.device, D0);
    assert_false(pair.pair.has_passkey);
    assert_int_equal(peer_of(world)->state, PEER_STATE_PAIRING);
    assert_int_equal(count(world), 0);
    paired(world, &pair, BT_STATUS_OK);
    expect(world, "\"status\":\"ok\",\"data\":{\"paired\":true}");
    world_resolved(world, world_expect(world, ACTION_RESOLVE));
    world_answer(world, world_expect(world, ACTION_SUBSCRIBE), BT_STATUS_OK);
    assert_int_equal(peer_of(world)->state, PEER_STATE_ONLINE);
    assert_int_equal(world_count(world, ACTION_DISCONNECT), 0);
    world_free(world);
}

/* a peer that shows nothing without a bond is seen with it */
static void it_pairs_before_the_services_are_found_out(void **state)
{
    struct world *world = begin(CONNECTION_MODE_ON_DEMAND);

    world_hear(world, 0, D0);
    ask(world, ",\"passkey\":\"000123\"");
    assert_int_equal(world_count(world, ACTION_PAIR), 0);
    world_link(world, D0, true);
    assert_int_equal(world_count(world, ACTION_RESOLVE), 0);
    const struct action pair = *world_expect(world, ACTION_PAIR);
    assert_true(pair.pair.has_passkey);
    assert_int_equal(pair.pair.passkey, 123);
    paired(world, &pair, BT_STATUS_OK);
    expect(world, "\"paired\":true");
    world_resolved(world, world_expect(world, ACTION_RESOLVE));
    world_answer(world, world_expect(world, ACTION_SUBSCRIBE), BT_STATUS_OK);
    world_advance(world, 2000); /* and then it is let go, as after a command */
    assert_int_equal(world_count(world, ACTION_DISCONNECT), 1);
    world_free(world);
}

static void a_refusal_is_said_in_words_and_the_link_goes_on(void **state)
{
    struct world *world = begin_online();

    ask(world, ",\"passkey\":7");
    paired(world, world_expect(world, ACTION_PAIR), BT_STATUS_AUTH_FAILED);
    expect(world, "\"code\":\"pair_failed\"");
    expect(world, "is the passkey right");
    expect(world, "(Authentication Failed)");
    world_resolved(world, world_expect(world, ACTION_RESOLVE));
    world_answer(world, world_expect(world, ACTION_SUBSCRIBE), BT_STATUS_OK);
    assert_int_equal(peer_of(world)->state, PEER_STATE_ONLINE);
    world_free(world);
}

static void the_answer_also_comes_when_the_link_was_lost_before(void **state)
{
    struct world *world = begin_online();

    ask(world, "");
    const struct action pair = *world_expect(world, ACTION_PAIR);
    world_link(world, D0, false);
    assert_int_equal(count(world), 0);
    paired(world, &pair, BT_STATUS_AUTH_FAILED);
    expect(world, "\"code\":\"pair_failed\"");
    expect(world, "the link was lost meanwhile");
    expect(world, "(Authentication Failed)");
    assert_int_equal(world_count(world, ACTION_CONNECT), 1); /* as always */
    world_free(world);
}

static void without_its_link_it_is_over_also_if_bluez_is_silent(void **state)
{
    struct world *world = begin_online();

    ask(world, "");
    const struct action pair = *world_expect(world, ACTION_PAIR);
    world_link(world, D0, false);
    world_advance(world, 1999);
    assert_int_equal(count(world), 0);
    world_advance(world, 1);
    expect(world, "\"code\":\"pair_failed\"");
    expect(world, "the link was lost meanwhile");
    world_connected(world, 0); /* from its services on: it is not paired again by itself */
    assert_int_equal(world_count(world, ACTION_PAIR), 1);
    paired(world, &pair, BT_STATUS_AUTH_FAILED); /* too late */
    assert_int_equal(count(world), 1);
    world_free(world);
}

static void nobody_holds_a_link_for_a_pairing_that_has_lost_its_own(void **state)
{
    struct world *world = begin(CONNECTION_MODE_ON_DEMAND);

    world_hear(world, 0, D0);
    ask(world, "");
    world_link(world, D0, true);
    (void)world_expect(world, ACTION_PAIR);
    world_clear(world);
    world_link(world, D0, false);
    world_hear(world, 0, D0);
    world_advance(world, 60000);
    expect(world, "the link was lost meanwhile");
    assert_int_equal(world_count(world, ACTION_CONNECT), 0);
    assert_int_equal(peer_of(world)->state, PEER_STATE_IDLE);
    world_free(world);
}

static void an_adapter_that_is_switched_off_is_why(void **state)
{
    struct world *world = begin_online();

    ask(world, "");
    world_link(world, D0, false);
    world_adapter(world, ADAPTER_1, false);
    world_advance(world, 2000);
    expect(world, "\"code\":\"adapter_off\"");
    expect(world, "hci0 is switched off");
    world_free(world);
}

/* BlueZ may go on with the lost one for as long as it likes */
static void after_a_lost_link_the_next_one_is_taken_at_once(void **state)
{
    struct world *world = begin_online();

    ask(world, "");
    const struct action first = *world_expect(world, ACTION_PAIR);
    world_link(world, D0, false);
    ask(world, ",\"passkey\":1");
    expect(world, "the link was lost meanwhile"); /* the first */
    world_clear(world);
    world_hear(world, 0, D0);
    world_link(world, D0, true);
    const struct action second = *world_expect(world, ACTION_PAIR);
    paired(world, &first, BT_STATUS_AUTH_FAILED);
    assert_int_equal(count(world), 0);
    assert_int_equal(peer_of(world)->state, PEER_STATE_PAIRING);
    paired(world, &second, BT_STATUS_OK);
    expect(world, "\"data\":{\"paired\":true}");
    world_free(world);
}

static void a_pairing_that_has_lost_its_link_is_in_nobodys_way(void **state)
{
    struct world *world = begin_online();

    world_online(world, 1);
    world_clear(world);
    ask(world, "");
    world_link(world, D0, false);
    world_clear(world);
    ask_for(world, "pair", "d1", "");
    expect(world, "the link was lost meanwhile"); /* d0's */
    const struct action pair = *world_expect(world, ACTION_PAIR);
    assert_int_equal(pair.device, 101);
    paired(world, &pair, BT_STATUS_OK);
    assert_int_equal(count(world), 2);
    world_free(world);
}

static void who_is_bonded_is_paired_already(void **state)
{
    struct world *world = begin_online();

    told(world, 0, true);
    ask(world, "");
    expect(world, "\"data\":{\"paired\":true,\"already\":true}");
    assert_int_equal(world_count(world, ACTION_PAIR), 0);
    world_free(world);
}

static void one_is_paired_at_a_time(void **state)
{
    struct world *world = begin_online();

    world_hear(world, 1, 101);
    ask(world, "");
    const struct action pair = *world_expect(world, ACTION_PAIR);
    world_advance(world, 500);
    ask_for(world, "pair", "d1", "");
    expect(world, "\"code\":\"in_progress\"");
    expect(world, "d0 is being paired, which ends within 1m30s: connected; pairing without");
    paired(world, &pair, BT_STATUS_OK);
    assert_int_equal(count(world), 2);
    world_free(world);
}

static void pairing_has_a_limit_and_is_cancelled_then(void **state)
{
    struct world *world = begin_online();

    ask(world, ",\"timeout\":\"20s\"");
    world_advance(world, 19999);
    assert_int_equal(count(world), 0);
    world_advance(world, 1);
    expect(world, "\"code\":\"pair_failed\"");
    expect(world, "not paired in time");
    assert_int_equal(world_count(world, ACTION_DISCONNECT), 1);
    paired(world, world_expect(world, ACTION_PAIR), BT_STATUS_AUTH_FAILED); /* too late */
    assert_int_equal(count(world), 1);
    world_free(world);
}

/* nor is any request's time longer */
static void without_a_time_of_its_own_it_ends_too(void **state)
{
    static const char *const times[] = {"", ",\"timeout\":\"3m\""};

    for (size_t i = 0; i < ARRAY_SIZE(times); i++) {
        struct world *world = begin_online();
        ask(world, times[i]);
        world_advance(world, 89999);
        assert_int_equal(count(world), 0);
        world_advance(world, 1);
        expect(world, "\"code\":\"pair_failed\"");
        expect(world, "not paired in time");
        assert_int_equal(world_count(world, ACTION_DISCONNECT), 1);
        world_free(world);
    }
}

/* that nobody pressed a button says nothing against it */
static void what_is_not_paired_in_time_is_connected_anew_at_once(void **state)
{
    struct world *world = begin_online();

    ask(world, ",\"timeout\":\"20s\"");
    world_advance(world, 20000);
    const char *text = world_published(world, "g/bridge/gw/event");
    assert_non_null(strstr(text, "\"event\":\"disconnected\""));
    assert_non_null(strstr(text, "\"reason\":\"pairing\""));
    assert_int_equal(world_count(world, ACTION_CONNECT), 0);
    world_link(world, D0, false);
    assert_int_equal(peer_of(world)->failures, 0);
    assert_int_equal(world_count(world, ACTION_CONNECT), 1);
    world_connected(world, 0);
    assert_int_equal(peer_of(world)->state, PEER_STATE_ONLINE);
    assert_int_equal(world_count(world, ACTION_PAIR), 1);
    world_free(world);
}

static void who_asks_again_then_is_waited_for(void **state)
{
    struct world *world = begin_online();

    ask(world, ",\"timeout\":\"20s\"");
    world_advance(world, 20000);
    world_clear(world);
    ask(world, ""); /* its link is going down still */
    world_link(world, D0, false);
    world_hear(world, 0, D0);
    world_link(world, D0, true);
    assert_int_equal(count(world), 0);
    paired(world, world_expect(world, ACTION_PAIR), BT_STATUS_OK);
    expect(world, "\"data\":{\"paired\":true}");
    world_free(world);
}

static void who_waits_for_a_link_is_named_with_its_time(void **state)
{
    struct world *world = begin(CONNECTION_MODE_PERSISTENT);

    ask(world, ",\"queue_timeout\":\"30s\"");
    world_advance(world, 10000);
    ask_for(world, "pair", "d1", "");
    expect(world, "\"code\":\"in_progress\"");
    expect(world, "d0 is to be paired, and has 20s more to be connected: C0:00:00:00:00:00");
    world_free(world);
}

static void what_ends_it_answers_it(void **state)
{
    static const struct {
        const char *operation, *code;
    } cases[] = {{"pause", "disabled"}, {"disconnect", "cancelled"}};
    struct event down = {.type = EVENT_BLUEZ_DOWN, .bluez_down.reason = "no_bluez"};

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct world *world = begin_online();
        ask(world, "");
        ask_for(world, cases[i].operation, "d0", "");
        expect(world, cases[i].code);
        assert_int_equal(world_count(world, ACTION_DISCONNECT), 1); /* which cancels it */
        world_free(world);
    }
    struct world *world = begin_online();
    ask(world, "");
    world_event(world, &down);
    expect(world, "\"code\":\"adapter_off\"");
    world_free(world);
}

static void a_peer_that_is_away_is_waited_for(void **state)
{
    struct world *world = begin(CONNECTION_MODE_PERSISTENT);

    ask(world, ",\"queue_timeout\":\"3s\"");
    world_advance(world, 3000);
    expect(world, "\"code\":\"not_connected\"");
    world_free(world);
}

static void passkeys_have_six_digits_at_most(void **state)
{
    static const char *const wrong[] = {"1234567", "\"1234567\"", "-1",   "1.5",  "\"\"",
                                        "\"12a\"", "\" 12\"",     "true", "null", "1e3"};
    static const char *const right[] = {"0", "\"0\"", "999999", "\"999999\""};
    struct world *world = begin_online();
    char more[64];

    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        world_clear(world);
        snprintf(more, sizeof(more), ",\"passkey\":%s", wrong[i]);
        ask(world, more);
        expect(world, "bad_request");
    }
    for (size_t i = 0; i < ARRAY_SIZE(right); i++) {
        world_clear(world);
        snprintf(more, sizeof(more), ",\"passkey\":%s", right[i]);
        ask(world, more);
        const struct action pair = *world_expect(world, ACTION_PAIR);
        assert_int_equal(pair.pair.passkey, i < 2 ? 0 : 999999);
        paired(world, &pair, BT_STATUS_OK);
    }
    world_free(world);
}

/* whoever may read answers need not see what only requests say */
static void what_is_no_json_is_refused_without_a_word_of_it(void **state)
{
    static const char *const wrong[] = {
        ",\"passkey\":\"004711", ",\"passkey\" \"004711\"", ",\"passkey\":004711",
        ",\"passkey\":'004711'", ",\"passkey\":x004711",    ",\"passkey\":\"004711\" \"004711\""};
    struct world *world = begin_online();

    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        world_clear(world);
        ask(world, wrong[i]);
        expect(world, "\"code\":\"bad_json\"");
        expect(world, "not JSON: ");
        assert_null(strstr(world_published(world, RESPONSE), "4711"));
    }
    world_free(world);
}

static void the_files_passkey_is_used_unless_the_request_has_one(void **state)
{
    struct world *world = begin(CONNECTION_MODE_PERSISTENT);

    world->settings.devices[0].passkey = strdup("004711");
    world_online(world, 0);
    ask(world, "");
    const struct action pair = *world_expect(world, ACTION_PAIR);
    assert_true(pair.pair.has_passkey);
    assert_int_equal(pair.pair.passkey, 4711);
    paired(world, &pair, BT_STATUS_AUTH_FAILED);
    world_resolved(world, world_expect(world, ACTION_RESOLVE));
    world_clear(world);
    ask(world, ",\"passkey\":1");
    assert_int_equal(world_expect(world, ACTION_PAIR)->pair.passkey, 1);
    world_free(world);
}

static void the_bond_tells_who_is_behind_a_private_address(void **state)
{
    struct world *world = world_new(1);

    world->settings.devices[0].match =
        (struct match_settings){.min_rssi = -100, .has_min_rssi = true};
    world_start(world);
    world_broker_up(world);
    world_bluez_up(world);
    world_hear(world, 0x77, D0);
    world_advance(world, 10000);
    struct peer *peer = peer_of(world);
    assert_true(peer->bound);
    world_link(world, D0, true);
    told(world, 0x42, false);
    assert_int_equal(peer->address.b[5], 0x77); /* without a bond that means nothing */
    world_clear(world);
    told(world, 0x42, true);
    assert_int_equal(peer->address.b[5], 0x42);
    assert_ptr_equal(gateway_peer_of_address(world->gateway, &peer->address), peer);
    assert_non_null(strstr(world_published(world, "g/bridge/gw/devices"), "C0:00:00:00:00:42"));
    world_free(world);
}

static void what_needs_a_bond_says_how_to_get_it(void **state)
{
    struct world *world = begin_online();

    ask_for(world, "read", "d0", ",\"characteristic\":\"lamp\"");
    world_answer(world, world_expect(world, ACTION_READ), BT_STATUS_NOT_PAIRED);
    const char *text = world_published(world, "g/bridge/gw/response/read");
    assert_non_null(strstr(text, "\"code\":\"not_authorized\""));
    assert_non_null(strstr(text, "request `pair`"));
    world_clear(world);
    world_link(world, D0, false);
    world_hear(world, 0, D0);
    world_advance(world, 2000);
    world_link(world, D0, true);
    world_resolved(world, world_expect(world, ACTION_RESOLVE));
    world_answer(world, world_expect(world, ACTION_SUBSCRIBE), BT_STATUS_NOT_PAIRED);
    assert_non_null(strstr(peer_of(world)->why, "request `pair`"));
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_pairs_over_the_link_and_goes_on_from_the_services),
        cmocka_unit_test(it_pairs_before_the_services_are_found_out),
        cmocka_unit_test(a_refusal_is_said_in_words_and_the_link_goes_on),
        cmocka_unit_test(the_answer_also_comes_when_the_link_was_lost_before),
        cmocka_unit_test(without_its_link_it_is_over_also_if_bluez_is_silent),
        cmocka_unit_test(nobody_holds_a_link_for_a_pairing_that_has_lost_its_own),
        cmocka_unit_test(an_adapter_that_is_switched_off_is_why),
        cmocka_unit_test(after_a_lost_link_the_next_one_is_taken_at_once),
        cmocka_unit_test(a_pairing_that_has_lost_its_link_is_in_nobodys_way),
        cmocka_unit_test(who_is_bonded_is_paired_already),
        cmocka_unit_test(one_is_paired_at_a_time),
        cmocka_unit_test(pairing_has_a_limit_and_is_cancelled_then),
        cmocka_unit_test(without_a_time_of_its_own_it_ends_too),
        cmocka_unit_test(what_is_not_paired_in_time_is_connected_anew_at_once),
        cmocka_unit_test(who_asks_again_then_is_waited_for),
        cmocka_unit_test(who_waits_for_a_link_is_named_with_its_time),
        cmocka_unit_test(what_ends_it_answers_it),
        cmocka_unit_test(a_peer_that_is_away_is_waited_for),
        cmocka_unit_test(passkeys_have_six_digits_at_most),
        cmocka_unit_test(what_is_no_json_is_refused_without_a_word_of_it),
        cmocka_unit_test(the_files_passkey_is_used_unless_the_request_has_one),
        cmocka_unit_test(the_bond_tells_who_is_behind_a_private_address),
        cmocka_unit_test(what_needs_a_bond_says_how_to_get_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
