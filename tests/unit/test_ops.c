/* A peer's queue of reads and writes: what is published of a write, and what who waits is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "helper_world.h"

#define D0 100u

/* online; `lamp` is subscribed, too, and `after` is its subscription */
static struct world *begin_notified(struct action *ret_subscribe)
{
    struct world *world = world_new(1);

    world->settings.devices[0].characteristics[1].subscribe = true;
    world_start(world);
    world_broker_up(world);
    world_bluez_up(world);
    world_hear(world, 0, D0);
    world_link(world, D0, true);
    world_resolved(world, world_expect(world, ACTION_RESOLVE));
    const struct action *first = world_expect(world, ACTION_SUBSCRIBE);
    world_answer(world, first, BT_STATUS_OK);
    *ret_subscribe = *world_find(world, ACTION_SUBSCRIBE, first);
    world_answer(world, ret_subscribe, BT_STATUS_OK);
    assert_int_equal(world->gateway->peers[0]->state, PEER_STATE_ONLINE);
    world_clear(world);
    return world;
}

static void written_value_that_is_notified_and_read_back_is_published_once(void **state)
{
    struct action subscribe;
    struct world *world = begin_notified(&subscribe);

    world_message(world, "g/d0/lamp/set", "42", false);
    world_value(world, &subscribe, "\x2a", 1);
    world_answer(world, world_expect(world, ACTION_WRITE), BT_STATUS_OK);
    world_answer(world, world_expect(world, ACTION_READ), BT_STATUS_OK); /* 0x2a */
    assert_int_equal(world_count_published(world, "g/d0/lamp"), 1);
    assert_int_equal(world_count_published(world, "g/d0/lamp/result"), 1);
    /* a second time: the same value is news again */
    world_value(world, &subscribe, "\x2a", 1);
    assert_int_equal(world_count_published(world, "g/d0/lamp"), 2);
    world_message(world, "g/d0/lamp/get", "", false);
    world_answer(world, world_find(world, ACTION_READ, world_expect(world, ACTION_READ)),
                 BT_STATUS_OK);
    assert_int_equal(world_count_published(world, "g/d0/lamp"), 3); /* `get` always publishes */
    world_free(world);
}

static void value_that_lets_a_step_go_on_takes_no_echo_from_the_next_write(void **state)
{
    struct world *world = world_new(1);
    struct device_settings *device = &world->settings.devices[0];

    device->characteristics[1].subscribe = true;
    device->poll = (struct sequence_settings){
        .timeout_ms = 30000, .n_steps = 2, .steps = calloc(2, sizeof(struct step_settings))};
    device->poll.steps[0] = (struct step_settings){.kind = STEP_KIND_WAIT,
                                                   .characteristic = NO_CHARACTERISTIC,
                                                   .source = strdup("lamp"),
                                                   .time_ms = 30000};
    device->poll.steps[1] = (struct step_settings){.kind = STEP_KIND_READ, .characteristic = 0};
    world_start(world);
    world_broker_up(world);
    world_bluez_up(world);
    world_hear(world, 0, D0);
    world_link(world, D0, true);
    world_resolved(world, world_expect(world, ACTION_RESOLVE));
    const struct action *first = world_expect(world, ACTION_SUBSCRIBE);
    world_answer(world, first, BT_STATUS_OK);
    const struct action subscribe = *world_find(world, ACTION_SUBSCRIBE, first);
    world_answer(world, &subscribe, BT_STATUS_OK);
    world_clear(world);
    world_message(world, "g/d0/lamp/set", "42", false);
    world_message(world, "g/d0/lamp/set", "42", false); /* waits for the first and its reading */
    world_answer(world, world_expect(world, ACTION_WRITE), BT_STATUS_OK);
    world_answer(world, world_expect(world, ACTION_READ), BT_STATUS_OK); /* the step goes on */
    world_clear(world);
    world_value(world, &subscribe, "\x2a", 1);
    const struct action *write = world_find(world, ACTION_WRITE, NULL);
    assert_null(write); /* it was on its way already */
    struct action second = {
        .type = ACTION_WRITE,
        .op = {0, world->gateway->peers[0]->generation, world->gateway->peers[0]->op->id},
        .device = D0};
    world_answer(world, &second, BT_STATUS_OK);
    world_answer(world, world_expect(world, ACTION_READ), BT_STATUS_OK);
    assert_int_equal(world_count_published(world, "g/d0/lamp"), 1);
    world_free(world);
}

static void value_read_back_that_differs_from_the_notified_one_is_published(void **state)
{
    struct action subscribe;
    struct world *world = begin_notified(&subscribe);

    world_message(world, "g/d0/lamp/set", "42", false);
    world_value(world, &subscribe, "\x07", 1); /* on its way already */
    world_answer(world, world_expect(world, ACTION_WRITE), BT_STATUS_OK);
    world_answer(world, world_expect(world, ACTION_READ), BT_STATUS_OK);
    assert_int_equal(world_count_published(world, "g/d0/lamp"), 2);
    assert_non_null(strstr(world_published(world, "g/d0/lamp"), "\"value\":42"));
    world_free(world);
}

static void value_notified_before_the_write_is_no_echo_of_it(void **state)
{
    struct action subscribe;
    struct world *world = begin_notified(&subscribe);

    world_value(world, &subscribe, "\x2a", 1);
    world_message(world, "g/d0/lamp/set", "42", false);
    world_answer(world, world_expect(world, ACTION_WRITE), BT_STATUS_OK);
    world_answer(world, world_expect(world, ACTION_READ), BT_STATUS_OK);
    assert_int_equal(world_count_published(world, "g/d0/lamp"), 2);
    world_free(world);
}

static void who_waits_in_vain_is_told_what_for(void **state)
{
    struct world *world = world_new(2);

    world->settings.devices[1].queue_timeout_ms = 0;
    world_start(world);
    world_broker_up(world);
    world_bluez_up(world);
    world_message(world, "g/d1/lamp/set", "1", false);
    assert_non_null(strstr(world_published(world, "g/d1/lamp/result"),
                           "\"message\":\"not connected: C0:00:00:00:00:01 has not been heard"));
    world_message(world, "g/d0/lamp/set", "1", false);
    world_advance(world, 10100);
    assert_non_null(strstr(world_published(world, "g/d0/lamp/result"),
                           "\"message\":\"no link in time: C0:00:00:00:00:00 has not been heard"));
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(written_value_that_is_notified_and_read_back_is_published_once),
        cmocka_unit_test(value_that_lets_a_step_go_on_takes_no_echo_from_the_next_write),
        cmocka_unit_test(value_read_back_that_differs_from_the_notified_one_is_published),
        cmocka_unit_test(value_notified_before_the_write_is_no_echo_of_it),
        cmocka_unit_test(who_waits_in_vain_is_told_what_for),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
