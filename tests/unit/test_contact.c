/* Peers that are not held all the time: when they are contacted, and when they are let go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "helper_world.h"

#define D0 100u

static struct world *begin(struct connection_settings connection)
{
    struct world *world = world_new(1);

    world->settings.devices[0].connection = connection;
    world_start(world);
    world_broker_up(world);
    world_bluez_up(world);
    return world;
}

static struct peer *peer_of(struct world *world)
{
    return world->gateway->peers[0];
}

/* from the advertisement to online */
static void come_online(struct world *world)
{
    world_hear(world, 0, D0);
    world_link(world, D0, true);
    world_resolved(world, world_expect(world, ACTION_RESOLVE));
    world_answer(world, world_expect(world, ACTION_SUBSCRIBE), BT_STATUS_OK);
    assert_int_equal(peer_of(world)->state, PEER_STATE_ONLINE);
}

static void let_go(struct world *world)
{
    const struct action disconnect = *world_expect(world, ACTION_DISCONNECT);

    world_answer(world, &disconnect, BT_STATUS_OK);
    world_link(world, D0, false);
    assert_int_equal(peer_of(world)->state, PEER_STATE_IDLE);
    assert_int_equal(peer_of(world)->failures, 0);
}

static void on_demand_connects_for_a_command_and_lets_go_after_linger(void **state)
{
    struct world *world = begin((struct connection_settings){
        .mode = CONNECTION_MODE_ON_DEMAND, .linger_ms = 5000, .timeout_ms = 60000});

    assert_null(world_find(world, ACTION_SCAN_START, NULL)); /* nobody is wanted: no scan */
    world_hear(world, 0, D0);
    assert_null(world_find(world, ACTION_CONNECT, NULL));
    assert_non_null(strstr(world_published(world, "g/d0/status/link"), "\"state\":\"idle\""));
    assert_string_equal(world_published(world, "g/d0/status/availability"), "online");
    world_clear(world);
    world_message(world, "g/d0/lamp/set", "7", false);
    assert_non_null(world_find(world, ACTION_CONNECT, NULL));
    come_online(world);
    world_answer(world, world_expect(world, ACTION_WRITE), BT_STATUS_OK);
    assert_non_null(strstr(world_published(world, "g/d0/lamp/result"), "\"status\":\"ok\""));
    world_answer(world, world_expect(world, ACTION_READ), BT_STATUS_OK);
    world_advance(world, 4900);
    assert_null(world_find(world, ACTION_DISCONNECT, NULL));
    world_advance(world, 200);
    let_go(world);
    assert_null(world_published(world, "g/d0/status/availability")); /* as before: no flapping */
    world_free(world);
}

static void due_read_makes_a_contact_on_demand(void **state)
{
    struct world *world = world_new(1);

    world->settings.devices[0].connection = (struct connection_settings){
        .mode = CONNECTION_MODE_ON_DEMAND, .linger_ms = 1000, .timeout_ms = 60000};
    world->settings.devices[0].characteristics[1].read_every_ms = 600000;
    world_start(world);
    world_broker_up(world);
    world_bluez_up(world);
    for (int i = 0; i < 3; i++) {
        world_clear(world);
        world_advance(world, i ? 600000 : 10);
        come_online(world);
        world_answer(world, world_expect(world, ACTION_READ), BT_STATUS_OK);
        assert_non_null(world_published(world, "g/d0/lamp"));
        world_advance(world, 1100);
        let_go(world);
        assert_int_equal(world_count(world, ACTION_READ), 1);
    }
    world_free(world);
}

static void every_contact_waits_for_its_values_and_the_next_comes_in_time(void **state)
{
    size_t *until = calloc(1, sizeof(*until));
    struct world *world = begin((struct connection_settings){.mode = CONNECTION_MODE_EVERY,
                                                             .every_ms = 1800000,
                                                             .linger_ms = 5000,
                                                             .timeout_ms = 60000,
                                                             .until = until,
                                                             .n_until = 1});
    struct peer *peer = peer_of(world);

    for (int i = 0; i < 3; i++) {
        world_advance(world, 10);
        come_online(world);
        const struct action subscribe = *world_expect(world, ACTION_SUBSCRIBE);
        world_advance(world, 20000); /* `level` has not had a value yet: it stays */
        assert_null(world_find(world, ACTION_DISCONNECT, NULL));
        world_value(world, &subscribe, "\x05", 1);
        world_advance(world, 5100);
        let_go(world);
        assert_non_null(strstr(peer->why, "connects again at"));
        world_clear(world);
        world_advance(world, 1770000);
        assert_null(world_find(world, ACTION_CONNECT, NULL));
        assert_null(world_published(world, "g/d0/status/availability")); /* no flapping */
        world_advance(world, 5000);
        assert_true(peer->contact);
    }
    world_free(world);
}

static void contact_that_takes_too_long_is_ended_and_the_next_one_tried(void **state)
{
    struct world *world = begin((struct connection_settings){
        .mode = CONNECTION_MODE_EVERY, .every_ms = 600000, .linger_ms = 5000, .timeout_ms = 30000});

    world_advance(world, 31000); /* never heard */
    assert_int_equal(peer_of(world)->state, PEER_STATE_IDLE);
    world_clear(world);
    world_advance(world, 570000);
    assert_int_equal(peer_of(world)->state, PEER_STATE_ABSENT);
    world_hear(world, 0, D0);
    assert_non_null(world_find(world, ACTION_CONNECT, NULL));
    world_free(world);
}

static void when_seen_connects_once_per_cooldown(void **state)
{
    struct world *world = begin((struct connection_settings){.mode = CONNECTION_MODE_WHEN_SEEN,
                                                             .cooldown_ms = 60000,
                                                             .linger_ms = 1000,
                                                             .timeout_ms = 30000});

    assert_non_null(world_find(world, ACTION_SCAN_START, NULL)); /* it must be heard */
    come_online(world);
    world_advance(world, 1100);
    let_go(world);
    world_clear(world);
    world_hear(world, 0, D0);
    world_advance(world, 30000);
    world_hear(world, 0, D0);
    assert_null(world_find(world, ACTION_CONNECT, NULL));
    world_advance(world, 31000);
    world_hear(world, 0, D0);
    assert_non_null(world_find(world, ACTION_CONNECT, NULL));
    world_free(world);
}

static void sleeper_is_offline_when_its_contacts_fail_for_long(void **state)
{
    struct world *world = begin((struct connection_settings){
        .mode = CONNECTION_MODE_EVERY, .every_ms = 600000, .linger_ms = 1000, .timeout_ms = 30000});

    world_advance(world, 10);
    come_online(world);
    world_advance(world, 1100);
    let_go(world);
    world_advance(world, 1400000);
    assert_string_equal(world_published(world, "g/d0/status/availability"), "online");
    world_advance(world, 200000); /* 2.5 times `every` */
    assert_string_equal(world_published(world, "g/d0/status/availability"), "offline");
    world_free(world);
}

static void sleeper_that_is_heard_is_available_unless_its_last_try_failed(void **state)
{
    struct world *world = begin((struct connection_settings){
        .mode = CONNECTION_MODE_ON_DEMAND, .linger_ms = 1000, .timeout_ms = 60000});

    world->settings.devices[0].availability_timeout_ms = 300000;
    assert_string_equal(world_published(world, "g/d0/status/availability"), "offline");
    world_hear(world, 0, D0);
    assert_string_equal(world_published(world, "g/d0/status/availability"), "online");
    world_clear(world);
    world_advance(world, 200000);
    world_hear(world, 0, D0);
    world_advance(world, 299000);
    assert_null(world_published(world, "g/d0/status/availability"));
    world_advance(world, 61000); /* the timer's own pace: some timer ran meanwhile */
    assert_string_equal(world_published(world, "g/d0/status/availability"), "offline");

    world_clear(world);
    world_message(world, "g/d0/lamp/set", "7", false);
    world_hear(world, 0, D0);
    world_answer(world, world_expect(world, ACTION_CONNECT), BT_STATUS_AUTH_FAILED);
    world_advance(world, 301000);
    assert_string_equal(world_published(world, "g/d0/status/availability"), "offline");
    world_hear(world, 0, D0); /* heard, but it refuses us */
    assert_string_equal(world_published(world, "g/d0/status/availability"), "offline");
    world_free(world);
}

static void contact_that_went_well_forgets_the_failures_before(void **state)
{
    struct world *world = begin((struct connection_settings){
        .mode = CONNECTION_MODE_ON_DEMAND, .linger_ms = 1000, .timeout_ms = 60000});

    world_message(world, "g/d0/lamp/set", "7", false);
    world_hear(world, 0, D0);
    world_answer(world, world_expect(world, ACTION_CONNECT), BT_STATUS_FAILED);
    assert_int_equal(peer_of(world)->failures, 1);
    world_advance(world, 300);
    come_online(world);
    world_answer(world, world_expect(world, ACTION_WRITE), BT_STATUS_OK);
    world_answer(world, world_expect(world, ACTION_READ), BT_STATUS_OK);
    world_advance(world, 1100);
    let_go(world); /* looks at the failures, too */
    world_free(world);
}

static void idle_peer_names_what_is_wrong_with_the_adapter(void **state)
{
    struct world *world = begin((struct connection_settings){
        .mode = CONNECTION_MODE_ON_DEMAND, .linger_ms = 1000, .timeout_ms = 60000});
    struct event adapter = {.type = EVENT_ADAPTER,
                            .adapter_info = {.adapter = ADAPTER_1, .name = "hci0"}};
    struct event down = {.type = EVENT_BLUEZ_DOWN, .bluez_down.reason = "no_bluez"};

    assert_string_equal(peer_of(world)->why, "connects when it is asked for");
    world_event(world, &adapter);
    assert_int_equal(peer_of(world)->state, PEER_STATE_IDLE);
    assert_non_null(strstr(world_published(world, "g/d0/status/link"),
                           "\"state\":\"idle\",\"reason\":\"adapter_off\""));
    adapter.adapter_info.powered = true;
    world_event(world, &adapter);
    assert_string_equal(peer_of(world)->why, "connects when it is asked for");
    world_event(world, &down);
    assert_int_equal(peer_of(world)->reason, REASON_NO_BLUEZ);
    assert_int_equal(peer_of(world)->state, PEER_STATE_IDLE);
    world_free(world);
}

static void disabled_sleeper_costs_nothing(void **state)
{
    struct world *world = world_new(1);

    world->settings.devices[0].enabled = false;
    world->settings.devices[0].connection = (struct connection_settings){
        .mode = CONNECTION_MODE_ON_DEMAND, .linger_ms = 1000, .timeout_ms = 60000};
    world_start(world);
    world_broker_up(world);
    world_bluez_up(world);
    world_advance(world, 60000); /* fails in a busy loop */
    assert_true(gateway_next_deadline(world->gateway) >= world->now.mono_us + 50000000);
    world_free(world);
}

static void who_waits_when_a_contact_times_out_is_given_another(void **state)
{
    struct world *world = begin((struct connection_settings){
        .mode = CONNECTION_MODE_ON_DEMAND, .linger_ms = 1000, .timeout_ms = 12000});

    world_message(world, "g/d0/lamp/get", "", false);
    world_advance(world, 9000);
    world_message(world, "g/d0/lamp/set", "7", false);
    world_advance(world, 5000); /* the first has given up, and its contact is over */
    assert_int_equal(world_count_published(world, "g/d0/lamp/result"), 1);
    come_online(world);
    world_answer(world, world_expect(world, ACTION_WRITE), BT_STATUS_OK);
    assert_non_null(strstr(world_published(world, "g/d0/lamp/result"), "\"status\":\"ok\""));
    world_free(world);
}

static void contact_that_ends_while_disconnecting_leaves_the_connector_free(void **state)
{
    struct world *world = world_new(2);
    struct event known = {.type = EVENT_DEVICE,
                          .device_info = {.adapter = ADAPTER_1,
                                          .device = D0,
                                          .address = {{0xc0, 0, 0, 0, 0, 0}},
                                          .rssi = RSSI_UNKNOWN}};

    world->settings.devices[0].queue_timeout_ms = 1000;
    world->settings.devices[0].connection = (struct connection_settings){
        .mode = CONNECTION_MODE_ON_DEMAND, .linger_ms = 1000, .timeout_ms = 5000};
    world_start(world);
    world_broker_up(world);
    world_bluez_up(world);
    world_event(world, &known);
    world_message(world, "g/d0/lamp/get", "", false);
    const struct action *blind = world_expect(world, ACTION_CONNECT);
    world_advance(world, 4900);
    world_hear(world, 1, 101); /* d0 gives way */
    const struct action cancel = *world_expect(world, ACTION_DISCONNECT);
    world_advance(world, 200); /* and its time is over before that is done */
    assert_int_equal(peer_of(world)->state, PEER_STATE_DISCONNECTING);
    world_answer(world, blind, BT_STATUS_CANCELLED);
    world_answer(world, &cancel, BT_STATUS_OK);
    assert_int_equal(peer_of(world)->state, PEER_STATE_IDLE);
    assert_int_equal(world_find(world, ACTION_CONNECT, blind)->device, 101);
    world_free(world);
}

static void contact_that_ends_before_its_attempt_failed_is_no_backoff(void **state)
{
    struct world *world = begin((struct connection_settings){
        .mode = CONNECTION_MODE_ON_DEMAND, .linger_ms = 1000, .timeout_ms = 22000});

    world_message(world, "g/d0/lamp/get", "", false);
    world_hear(world, 0, D0);
    const struct action *connect = world_expect(world, ACTION_CONNECT);
    world_advance(world, 20000); /* no connection within the time allowed */
    const struct action cancel = *world_expect(world, ACTION_DISCONNECT);
    world_advance(world, 2500); /* meanwhile the contact's time is over, too */
    world_answer(world, connect, BT_STATUS_CANCELLED);
    world_answer(world, &cancel, BT_STATUS_OK);
    assert_int_equal(peer_of(world)->state, PEER_STATE_IDLE);
    world_free(world);
}

static void what_comes_due_while_subscribing_again_is_not_forgotten(void **state)
{
    struct world *world = world_new(1);
    size_t *until = calloc(1, sizeof(*until));

    world->settings.devices[0].connection =
        (struct connection_settings){.mode = CONNECTION_MODE_EVERY,
                                     .every_ms = 1800000,
                                     .linger_ms = 5000,
                                     .timeout_ms = 600000,
                                     .until = until,
                                     .n_until = 1};
    world->settings.devices[0].characteristics[1].read_every_ms = 20000;
    world_start(world);
    world_broker_up(world);
    world_bluez_up(world);
    world_advance(world, 10);
    come_online(world);
    const struct action subscribe = *world_expect(world, ACTION_SUBSCRIBE);
    struct event lost = {.type = EVENT_SUBSCRIPTION_LOST,
                         .value = {.subscription = subscribe.subscribe.subscription}};
    world_answer(world, world_expect(world, ACTION_READ), BT_STATUS_OK);
    world_advance(world, 19900);
    world_clear(world);
    world_event(world, &lost);
    const struct action again = *world_expect(world, ACTION_SUBSCRIBE);
    world_advance(world, 200);
    world_value(world, &subscribe, "\x05", 1); /* all that it waited for */
    world_answer(world, &again, BT_STATUS_OK);
    world_advance(world, 10);
    world_answer(world, world_expect(world, ACTION_READ), BT_STATUS_OK);
    world_advance(world, 5100);
    let_go(world);
    world_free(world);
}

static void availability_stays_while_a_long_contact_is_let_go(void **state)
{
    struct world *world = begin((struct connection_settings){
        .mode = CONNECTION_MODE_ON_DEMAND, .linger_ms = 50000, .timeout_ms = 60000});

    world->settings.devices[0].availability_timeout_ms = 30000;
    world_message(world, "g/d0/lamp/set", "7", false);
    come_online(world);
    world_answer(world, world_expect(world, ACTION_WRITE), BT_STATUS_OK);
    world_answer(world, world_expect(world, ACTION_READ), BT_STATUS_OK);
    world_clear(world);
    world_advance(world, 50100);
    let_go(world);
    assert_null(world_published(world, "g/d0/status/availability"));
    world_free(world);
}

/* and no other timer fires meanwhile */
static void availability_ends_in_time_after_a_link_that_broke(void **state)
{
    struct event down = {.type = EVENT_BLUEZ_DOWN, .bluez_down.reason = "no_bluez"};
    struct world *world = begin((struct connection_settings){
        .mode = CONNECTION_MODE_ON_DEMAND, .linger_ms = 300000, .timeout_ms = 600000});

    world->settings.devices[0].availability_timeout_ms = 30000;
    world_message(world, "g/d0/lamp/set", "7", false);
    come_online(world);
    world_answer(world, world_expect(world, ACTION_WRITE), BT_STATUS_OK);
    world_answer(world, world_expect(world, ACTION_READ), BT_STATUS_OK);
    world_advance(world, 61000);
    world_clear(world);
    world_event(world, &down);
    world_advance(world, 29900);
    assert_null(world_published(world, "g/d0/status/availability"));
    world_advance(world, 200);
    assert_string_equal(world_published(world, "g/d0/status/availability"), "offline");
    world_free(world);
}

static void command_ends_the_backoff_of_a_link_that_was_asked_for(void **state)
{
    struct world *world = begin((struct connection_settings){
        .mode = CONNECTION_MODE_ON_DEMAND, .linger_ms = 1000, .timeout_ms = 60000});

    world_message(world, "g/bridge/gw/request/connect", "{\"device\":\"d0\"}", false);
    world_hear(world, 0, D0);
    world_answer(world, world_expect(world, ACTION_CONNECT), BT_STATUS_AUTH_FAILED);
    assert_int_equal(peer_of(world)->state, PEER_STATE_BACKOFF); /* of a minute */
    world_clear(world);
    world_message(world, "g/d0/lamp/set", "7", false);
    assert_non_null(world_find(world, ACTION_CONNECT, NULL));
    world_free(world);
}

static void command_outlives_the_request_for_the_link_that_it_waits_for(void **state)
{
    struct world *world = begin((struct connection_settings){
        .mode = CONNECTION_MODE_ON_DEMAND, .linger_ms = 1000, .timeout_ms = 5000});

    world_message(world, "g/d0/lamp/get", "", false);
    world_advance(world, 4000);
    world_message(world, "g/bridge/gw/request/connect", "{\"device\":\"d0\"}", false);
    world_advance(world, 3000); /* the contact's time is over, but somebody asked for the link */
    world_message(world, "g/d0/lamp/set", "7", false);
    world_advance(world, 8000); /* he has given up */
    come_online(world);
    world_answer(world, world_expect(world, ACTION_WRITE), BT_STATUS_OK);
    world_free(world);
}

static void request_that_gives_up_while_disconnecting_leaves_the_connector_free(void **state)
{
    struct world *world = world_new(2);
    struct event known = {.type = EVENT_DEVICE,
                          .device_info = {.adapter = ADAPTER_1,
                                          .device = D0,
                                          .address = {{0xc0, 0, 0, 0, 0, 0}},
                                          .rssi = RSSI_UNKNOWN}};

    world->settings.devices[0].connection = (struct connection_settings){
        .mode = CONNECTION_MODE_ON_DEMAND, .linger_ms = 1000, .timeout_ms = 60000};
    world_start(world);
    world_broker_up(world);
    world_bluez_up(world);
    world_event(world, &known);
    world_message(world, "g/bridge/gw/request/connect",
                  "{\"device\":\"d0\",\"queue_timeout\":\"2s\"}", false);
    const struct action *blind = world_expect(world, ACTION_CONNECT);
    world_advance(world, 1900);
    world_hear(world, 1, 101); /* d0 gives way */
    const struct action cancel = *world_expect(world, ACTION_DISCONNECT);
    world_advance(world, 200); /* and nobody waits for it any more */
    assert_int_equal(world_count_published(world, "g/bridge/gw/response/connect"), 1);
    assert_int_equal(peer_of(world)->state, PEER_STATE_DISCONNECTING);
    world_answer(world, blind, BT_STATUS_CANCELLED);
    world_answer(world, &cancel, BT_STATUS_OK);
    assert_int_equal(peer_of(world)->state, PEER_STATE_IDLE);
    assert_int_equal(world_find(world, ACTION_CONNECT, blind)->device, 101);
    world_free(world);
}

static void keep_alive_does_not_hold_a_contact(void **state)
{
    struct world *world = world_new(1);
    struct device_settings *device = &world->settings.devices[0];

    device->connection = (struct connection_settings){
        .mode = CONNECTION_MODE_ON_DEMAND, .linger_ms = 5000, .timeout_ms = 60000};
    device->keep_alive =
        (struct sequence_settings){.every_ms = 2000,
                                   .timeout_ms = 1000,
                                   .n_steps = 1,
                                   .steps = calloc(1, sizeof(struct step_settings))};
    device->keep_alive.steps[0] = (struct step_settings){.kind = STEP_KIND_READ};
    world_start(world);
    world_broker_up(world);
    world_bluez_up(world);
    world_message(world, "g/d0/lamp/get", "", false);
    come_online(world);
    world_answer(world, world_expect(world, ACTION_READ), BT_STATUS_OK);
    for (int i = 0; i < 2; i++) {
        world_clear(world);
        world_advance(world, 2000);
        world_answer(world, world_expect(world, ACTION_READ), BT_STATUS_OK);
    }
    assert_null(world_find(world, ACTION_DISCONNECT, NULL));
    world_advance(world, 1100); /* `linger` from the command on */
    let_go(world);
    world_free(world);
}

static void contact_that_is_kept_alive_ends_after_its_last_value(void **state)
{
    size_t *until = calloc(1, sizeof(*until));
    struct world *world = world_new(1);
    struct device_settings *device = &world->settings.devices[0];

    device->connection = (struct connection_settings){.mode = CONNECTION_MODE_ON_DEMAND,
                                                      .linger_ms = 500,
                                                      .timeout_ms = 60000,
                                                      .until = until,
                                                      .n_until = 1};
    device->keep_alive =
        (struct sequence_settings){.every_ms = 2000,
                                   .timeout_ms = 30000,
                                   .n_steps = 1,
                                   .steps = calloc(1, sizeof(struct step_settings))};
    device->keep_alive.steps[0] = (struct step_settings){.kind = STEP_KIND_DELAY, .time_ms = 20000};
    world_start(world);
    world_broker_up(world);
    world_bluez_up(world);
    world_message(world, "g/d0/lamp/get", "", false);
    come_online(world);
    const struct action subscribe = *world_expect(world, ACTION_SUBSCRIBE);
    world_answer(world, world_expect(world, ACTION_READ), BT_STATUS_OK);
    world_advance(world, 3000); /* now keep_alive runs */
    world_value(world, &subscribe, "\x05", 1);
    world_advance(world, 600);
    let_go(world);
    world_free(world);
}

static void silent_subscription_is_made_anew(void **state)
{
    struct world *world = world_new(1);

    world->settings.devices[0].silence_ms = 120000;
    world_start(world);
    world_broker_up(world);
    world_bluez_up(world);
    world_online(world, 0);
    const struct action subscribe = *world_expect(world, ACTION_SUBSCRIBE);
    world_clear(world);
    for (int i = 0; i < 5; i++) {
        world_advance(world, 100000);
        world_value(world, &subscribe, "\x05", 1);
    }
    assert_null(world_find(world, ACTION_DISCONNECT, NULL));
    world_advance(world, 121000);
    world_answer(world, world_expect(world, ACTION_DISCONNECT), BT_STATUS_OK);
    world_link(world, D0, false);
    assert_non_null(world_find(world, ACTION_CONNECT, NULL));
    world_free(world);
}

static void a_contact_ends_with_the_gateway(void **state)
{
    struct world *world = begin((struct connection_settings){
        .mode = CONNECTION_MODE_ON_DEMAND, .linger_ms = 5000, .timeout_ms = 60000});

    world_message(world, "g/d0/lamp/set", "7", false);
    assert_true(peer_of(world)->contact);
    world_event(world, &(struct event){.type = EVENT_STOP});
    assert_false(peer_of(world)->contact);
    world_free(world);
}

static void peer_that_somebody_waits_for_connects_before_the_others(void **state)
{
    struct world *world = world_new(3);

    world_start(world);
    world_broker_up(world);
    world_bluez_up(world);
    world_clear(world);
    world_message(world, "g/d2/lamp/set", "1", false);
    world_hear(world, 0, 100);
    const struct action *first = world_expect(world, ACTION_CONNECT);
    world_hear(world, 1, 101);
    world_hear(world, 2, 102);
    world_link(world, 100, true);
    assert_int_equal(world_find(world, ACTION_CONNECT, first)->device, 102);
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(on_demand_connects_for_a_command_and_lets_go_after_linger),
        cmocka_unit_test(due_read_makes_a_contact_on_demand),
        cmocka_unit_test(every_contact_waits_for_its_values_and_the_next_comes_in_time),
        cmocka_unit_test(contact_that_takes_too_long_is_ended_and_the_next_one_tried),
        cmocka_unit_test(when_seen_connects_once_per_cooldown),
        cmocka_unit_test(sleeper_is_offline_when_its_contacts_fail_for_long),
        cmocka_unit_test(sleeper_that_is_heard_is_available_unless_its_last_try_failed),
        cmocka_unit_test(contact_that_went_well_forgets_the_failures_before),
        cmocka_unit_test(idle_peer_names_what_is_wrong_with_the_adapter),
        cmocka_unit_test(disabled_sleeper_costs_nothing),
        cmocka_unit_test(who_waits_when_a_contact_times_out_is_given_another),
        cmocka_unit_test(contact_that_ends_while_disconnecting_leaves_the_connector_free),
        cmocka_unit_test(contact_that_ends_before_its_attempt_failed_is_no_backoff),
        cmocka_unit_test(what_comes_due_while_subscribing_again_is_not_forgotten),
        cmocka_unit_test(availability_stays_while_a_long_contact_is_let_go),
        cmocka_unit_test(availability_ends_in_time_after_a_link_that_broke),
        cmocka_unit_test(command_ends_the_backoff_of_a_link_that_was_asked_for),
        cmocka_unit_test(command_outlives_the_request_for_the_link_that_it_waits_for),
        cmocka_unit_test(request_that_gives_up_while_disconnecting_leaves_the_connector_free),
        cmocka_unit_test(keep_alive_does_not_hold_a_contact),
        cmocka_unit_test(contact_that_is_kept_alive_ends_after_its_last_value),
        cmocka_unit_test(silent_subscription_is_made_anew),
        cmocka_unit_test(a_contact_ends_with_the_gateway),
        cmocka_unit_test(peer_that_somebody_waits_for_connects_before_the_others),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
