/* A broker that refuses, ends connections on a message, or forgets what it retained. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "helper_world.h"
#include <string.h>

static struct world *world;
static const struct action *subscription;

static int setup(void **state)
{
    world = world_new(1);
    world_start(world);
    world_bluez_up(world);
    world->acknowledge = true;
    world_broker_up(world);
    world_online(world, 0);
    subscription = world_expect(world, ACTION_SUBSCRIBE);
    return 0;
}

static int teardown(void **state)
{
    world_free(world);
    return 0;
}

static struct action level; /* a copy: the world forgets */

static void notify(uint8_t value)
{
    world_value(world, &level, &value, 1);
}

static void remember_subscription(void)
{
    level = *subscription;
    world_clear(world);
}

static size_t count_logs(const char *part)
{
    size_t n = 0;

    for (size_t i = 0; i < world->n_seen; i++)
        n += world->seen[i].type == ACTION_LOG && strstr(world->seen[i].log.text, part);
    return n;
}

static void answer_published(const struct action *publish, bool ok, int code)
{
    struct event event = {.type = EVENT_PUBLISHED,
                          .published = {.token = publish->publish.token, .ok = ok, .code = code}};

    world_event(world, &event);
}

static const struct action *last_publish(const char *topic)
{
    for (size_t i = world->n_seen; i-- > 0;)
        if (world->seen[i].type == ACTION_PUBLISH &&
            strcmp(world->seen[i].publish.topic, topic) == 0)
            return &world->seen[i];
    fail_msg("nothing was published on %s", topic);
    return NULL;
}

static void a_denied_topic_is_said_once_and_counted_each_time(void **state)
{
    remember_subscription();
    world->acknowledge = false;
    for (uint8_t i = 1; i <= 3; i++) {
        notify(i);
        answer_published(last_publish("g/d0/level"), false, 0x87);
    }
    assert_int_equal(count_logs("g/d0/level"), 1);
    assert_int_equal(count_logs("access rules"), 1);
    assert_non_null(strstr(world_published(world, "g/bridge/gw/event"), "not_authorized"));
    assert_int_equal(world->gateway->counts.rejected, 3);
    /* the rest goes on */
    world->acknowledge = true;
    world_message(world, "g/d0/lamp/get", "", false);
    assert_non_null(world_find(world, ACTION_READ, NULL));
}

static void a_message_too_large_is_said_with_its_length(void **state)
{
    remember_subscription();
    world->acknowledge = false;
    notify(1);
    answer_published(last_publish("g/d0/level"), false, 0x95);
    assert_int_equal(count_logs("larger than the broker allows"), 1);
    assert_int_equal(count_logs("bytes"), 1);
}

static void denials_without_end_fill_no_log(void **state)
{
    struct event event = {
        .type = EVENT_TOPIC_SUBSCRIBED,
        .topic_subscribed = {.filter = "g/d0/+/set/#", .ok = false, .code = 0x87}};

    world_clear(world);
    for (unsigned i = 0; i < 100; i++)
        world_event(world, &event);
    assert_int_equal(count_logs("g/d0/+/set/#"), 10);
    world_advance(world, 61000);
    assert_int_equal(count_logs("90 more"), 1);
}

static void break_connection(void)
{
    world->acknowledge = false;
    world_broker_down(world);
    world_clear(world);
    world_broker_up(world);
}

static void a_message_on_which_the_broker_hangs_up_is_given_up_and_said(void **state)
{
    remember_subscription();
    world->acknowledge = false;
    notify(1);
    for (unsigned i = 0; i < 8; i++) { /* it is no longer than others that were taken */
        /* all that is announced is taken, the value is not */
        for (size_t n = 0; n < world->n_seen; n++)
            if (world->seen[n].type == ACTION_PUBLISH &&
                strcmp(world->seen[n].publish.topic, "g/d0/level") != 0)
                answer_published(&world->seen[n], true, 0);
        assert_int_equal(world_count_published(world, "g/d0/level"), 1);
        if (i < 7)
            break_connection();
    }
    world_clear(world);
    world_broker_down(world);
    assert_int_equal(count_logs("given up"), 1);
    assert_int_equal(count_logs("g/d0/level"), 1);
    world->acknowledge = true;
    world_broker_up(world);
    assert_null(world_published(world, "g/d0/level"));
    assert_int_equal(world->gateway->counts.rejected, 1);
}

static void the_broker_is_asked_for_its_memory_before_anything_is_published(void **state)
{
    remember_subscription();
    notify(7);
    world_broker_down(world);
    world_clear(world);
    world_broker_up(world);
    const struct action *ask = NULL, *action = NULL;
    while ((action = world_find(world, ACTION_TOPIC_SUBSCRIBE, action)))
        if (strcmp(action->topic.filter, "g/bridge/gw/info") == 0)
            ask = action;
    assert_non_null(ask);
    assert_true(ask < world_find(world, ACTION_PUBLISH, NULL));
    assert_null(world_published(world, "g/d0/level"));
}

static void a_broker_that_forgot_gets_the_last_values_again(void **state)
{
    remember_subscription();
    notify(7);
    notify(8);
    world_broker_down(world);
    world_broker_up(world);
    world_clear(world);
    world_message(world, "g/bridge/gw/info", "{}", false); /* only the echo of our own */
    assert_int_equal(world_count_published(world, "g/d0/level"), 1);
    assert_non_null(strstr(world_published(world, "g/d0/level"), "\"value\":8"));
    assert_int_equal(count_logs("lost what it retained: 1 "), 1);
    assert_int_equal(world_count(world, ACTION_TOPIC_UNSUBSCRIBE), 1);
    world_message(world, "g/bridge/gw/info", "{}", false); /* once is enough */
    assert_int_equal(world_count_published(world, "g/d0/level"), 1);
}

/* A connection that breaks right behind `info` must not make the next one believe that the broker
 * remembers. */
static void a_broker_that_forgot_is_noticed_before_it_is_told_anything(void **state)
{
    remember_subscription();
    world_message(world, "g/bridge/gw/info", "{}", false); /* it lets us read it */
    notify(7);
    world_broker_down(world);
    world_clear(world);
    world_broker_up(world); /* it sends nothing that it had retained */
    assert_int_equal(world_count_published(world, "g/d0/level"), 1);
    assert_int_equal(count_logs("lost what it retained: 1 "), 1);
    const struct action *value = last_publish("g/d0/level");
    assert_non_null(strstr(value->publish.payload, "\"value\":7"));
}

static void a_broker_that_remembers_gets_nothing_twice(void **state)
{
    remember_subscription();
    notify(7);
    world_broker_down(world);
    world_broker_up(world);
    world_clear(world);
    world_message(world, "g/bridge/gw/info", "{}", true);
    world_message(world, "g/bridge/gw/info", "{}", false);
    assert_null(world_published(world, "g/d0/level"));
    assert_int_equal(world->gateway->counts.rejected, 0);
    assert_int_equal(world->gateway->counts.retained_commands, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_denied_topic_is_said_once_and_counted_each_time),
        TEST(a_message_too_large_is_said_with_its_length),
        TEST(denials_without_end_fill_no_log),
        TEST(a_message_on_which_the_broker_hangs_up_is_given_up_and_said),
        TEST(the_broker_is_asked_for_its_memory_before_anything_is_published),
        TEST(a_broker_that_forgot_gets_the_last_values_again),
        TEST(a_broker_that_forgot_is_noticed_before_it_is_told_anything),
        TEST(a_broker_that_remembers_gets_nothing_twice),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
