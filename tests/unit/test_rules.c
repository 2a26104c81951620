/* Publish rules: which values become messages, and when. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/rules.h"
#include "helper_schema.h"
#include "helper_world.h"

#define TOPIC "g/d0/level"

/* ---- the bookkeeping alone ---- */

struct run {
    struct rules *rules;
    struct rules_settings settings;
    uint64_t now_ms;
    char last; /* published last */
    unsigned thinned;
};

/* a value of one letter; what became of it */
static enum rules_verdict take(struct run *run, uint64_t at_ms, char letter)
{
    unsigned thinned;
    struct rules_value value = {&letter, 1, (int64_t)at_ms};
    enum rules_verdict verdict = rules_take(run->rules, &run->settings, MS_TO_US(at_ms), &value,
                                            letter != run->last, &thinned);

    run->thinned += thinned;
    if (verdict == RULES_PUBLISH) {
        rules_published(run->rules, MS_TO_US(at_ms), &value);
        run->last = letter;
    }
    return verdict;
}

static struct run begin_run(struct rules_settings settings)
{
    struct run run = {.settings = settings};

    assert_int_equal(rules_new(&run.rules), 0);
    return run;
}

static void on_change_a_value_like_the_last_is_no_message(void **state)
{
    struct run run = begin_run((struct rules_settings){.on_change = true});

    assert_int_equal(take(&run, 0, 'a'), RULES_PUBLISH);
    assert_int_equal(take(&run, 10, 'a'), RULES_SKIP);
    assert_int_equal(take(&run, 20, 'b'), RULES_PUBLISH);
    assert_int_equal(take(&run, 30, 'a'), RULES_PUBLISH);
    assert_int_equal(run.thinned, 1);
    assert_true(rules_due_us(run.rules, &run.settings, true) == TIME_NEVER);
    rules_free(run.rules);
}

static void burst_is_thinned_and_its_last_value_comes(void **state)
{
    struct run run = begin_run((struct rules_settings){.min_interval_ms = 1000});
    struct rules_value value;

    assert_int_equal(take(&run, 0, 'a'), RULES_PUBLISH);
    assert_int_equal(take(&run, 100, 'b'), RULES_HOLD);
    assert_int_equal(take(&run, 200, 'c'), RULES_HOLD);
    assert_int_equal(run.thinned, 1); /* b */
    assert_true(rules_due_us(run.rules, &run.settings, false) == MS_TO_US(1000));
    assert_true(rules_newest(run.rules, &value));
    assert_int_equal(*(const char *)value.data, 'c');
    assert_int_equal(value.real_us, 200);
    rules_published(run.rules, MS_TO_US(1000), &value);
    assert_false(rules_holds(run.rules));
    assert_int_equal(take(&run, 2000, 'd'), RULES_PUBLISH);
    assert_int_equal(run.thinned, 1);
    rules_free(run.rules);
}

static void value_that_returns_within_the_interval_is_no_message(void **state)
{
    struct run run = begin_run((struct rules_settings){.on_change = true, .min_interval_ms = 1000});

    take(&run, 0, 'a');
    assert_int_equal(take(&run, 100, 'b'), RULES_HOLD);
    assert_int_equal(take(&run, 200, 'a'), RULES_SKIP); /* as if it had never been away */
    assert_false(rules_holds(run.rules));
    assert_int_equal(run.thinned, 2);
    rules_free(run.rules);
}

static void heartbeat_lets_an_unchanged_value_through(void **state)
{
    struct run run = begin_run((struct rules_settings){.on_change = true, .heartbeat_ms = 5000});

    take(&run, 0, 'a');
    assert_int_equal(take(&run, 4999, 'a'), RULES_SKIP);
    assert_true(rules_due_us(run.rules, &run.settings, true) == MS_TO_US(5000));
    assert_true(rules_due_us(run.rules, &run.settings, false) == TIME_NEVER); /* nobody is there */
    assert_int_equal(take(&run, 5000, 'a'), RULES_PUBLISH);
    rules_free(run.rules);
}

/* ---- in the gateway ---- */

static struct world *begin(struct rules_settings rules, const char *fields)
{
    struct world *world = world_new(1);
    struct characteristic_settings *level = &world->settings.devices[0].characteristics[0];

    level->publish = rules;
    if (fields) {
        schema_free(level->schema);
        level->schema = schema_from(fields);
    }
    world_start(world);
    world_bluez_up(world);
    world_broker_up(world);
    world_online(world, 0);
    return world;
}

static void notify(struct world *world, uint8_t value)
{
    const struct source *source = &world->gateway->peers[0]->sources[0];
    struct event event = {
        .type = EVENT_VALUE,
        .value = {.subscription = source->subscription, .data = &value, .length = 1}};

    world_event(world, &event);
}

static void expect_message(struct world *world, const char *text, size_t count)
{
    assert_int_equal(world_count_published(world, TOPIC), count);
    if (count)
        assert_non_null(strstr(world_published(world, TOPIC), text));
    world_clear(world);
}

static void deadband_swallows_small_changes_but_not_slow_drifts(void **state)
{
    struct world *world =
        begin((struct rules_settings){.on_change = true}, "level uint8 scale=0.1 deadband=0.3");

    world_clear(world);
    notify(world, 200);
    expect_message(world, "20", 1);
    notify(world, 202);
    expect_message(world, "", 0);
    notify(world, 203); /* against the published one, not the one before */
    expect_message(world, "20.3", 1);
    notify(world, 200);
    expect_message(world, "20", 1);
    world_free(world);
}

static void last_value_of_a_burst_comes_with_its_own_time(void **state)
{
    struct world *world = begin((struct rules_settings){.min_interval_ms = 1000}, NULL);

    world_clear(world);
    notify(world, 1);
    expect_message(world, ":1,", 1);
    world_advance(world, 100);
    notify(world, 2);
    world_advance(world, 100);
    notify(world, 3);
    int64_t came_us = world->now.real_us;
    expect_message(world, "", 0);
    world_advance(world, 1000);
    char ts[TIME_RFC3339_SIZE];
    time_format_rfc3339(came_us, ts);
    assert_int_equal(world_count_published(world, TOPIC), 1);
    assert_non_null(strstr(world_published(world, TOPIC), ":3,"));
    assert_non_null(strstr(world_published(world, TOPIC), ts));
    assert_int_equal(world->gateway->counts.values_thinned, 1);
    world_free(world);
}

static void last_value_of_a_burst_is_kept_for_a_broker_that_is_away(void **state)
{
    struct world *world = begin((struct rules_settings){.min_interval_ms = 1000}, NULL);

    world_broker_down(world);
    notify(world, 1);
    notify(world, 2);
    world_advance(world, 1500);
    notify(world, 3); /* the next burst */
    world_clear(world);
    world_broker_up(world);
    world_advance(world, 1000);
    expect_message(world, ":3,", 3);
    assert_int_equal(world->gateway->counts.values_thinned, 0);
    world_free(world);
}

static void heartbeat_ends_with_the_link(void **state)
{
    struct world *world =
        begin((struct rules_settings){.on_change = true, .heartbeat_ms = 60000}, NULL);

    notify(world, 7);
    world_clear(world);
    world_advance(world, 130000);
    expect_message(world, ":7,", 2);
    world_link(world, 100, false);
    world_clear(world);
    world_advance(world, 300000);
    expect_message(world, "", 0);
    world_free(world);
}

static void get_always_publishes(void **state)
{
    struct world *world = begin((struct rules_settings){.on_change = true}, NULL);

    notify(world, 7);
    world_clear(world);
    world_message(world, "g/d0/level/get", "", false);
    const struct action *read = world_expect(world, ACTION_READ);
    static const uint8_t data[] = {7};
    struct event event = {.type = EVENT_READ_RESULT,
                          .op = read->op,
                          .adapter = read->adapter,
                          .device = read->device,
                          .read = {.data = data, .length = 1}};
    world_event(world, &event);
    expect_message(world, ":7,", 1);
    world_free(world);
}

static void what_is_held_back_is_said_before_the_gateway_stops(void **state)
{
    struct world *world = begin((struct rules_settings){.min_interval_ms = 60000}, NULL);

    notify(world, 1);
    notify(world, 2);
    world_clear(world);
    world_event(world, &(struct event){.type = EVENT_STOP});
    expect_message(world, ":2,", 1);
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(on_change_a_value_like_the_last_is_no_message),
        cmocka_unit_test(burst_is_thinned_and_its_last_value_comes),
        cmocka_unit_test(value_that_returns_within_the_interval_is_no_message),
        cmocka_unit_test(heartbeat_lets_an_unchanged_value_through),
        cmocka_unit_test(deadband_swallows_small_changes_but_not_slow_drifts),
        cmocka_unit_test(last_value_of_a_burst_comes_with_its_own_time),
        cmocka_unit_test(last_value_of_a_burst_is_kept_for_a_broker_that_is_away),
        cmocka_unit_test(heartbeat_ends_with_the_link),
        cmocka_unit_test(get_always_publishes),
        cmocka_unit_test(what_is_held_back_is_said_before_the_gateway_stops),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
