/* A broker that forgets what it retained, or ends the connection instead of saying no. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/outbox.h"
#include "util/time.h"
#include <stdio.h>
#include <string.h>

static struct outbox *outbox;

static int setup(void **state)
{
    struct outbox_limits limits = {100, 100000};

    outbox = NULL;
    if (outbox_new(&limits, &outbox) < 0)
        return -1;
    outbox_open(outbox, 20, 20);
    return 0;
}

static int teardown(void **state)
{
    outbox_free(outbox);
    return 0;
}

static int put(const char *topic, const char *payload, bool retain, bool status)
{
    struct outbox_put put = {.topic = topic,
                             .payload = payload,
                             .length = strlen(payload),
                             .qos = 1,
                             .retain = retain,
                             .status = status};
    return outbox_put(outbox, &put);
}

static void put_value(const char *topic, const char *payload)
{
    assert_int_equal(put(topic, payload, true, false), 0);
}

static uint64_t expect(const char *topic, const char *payload)
{
    struct outbox_message message;

    assert_true(outbox_next(outbox, &message));
    assert_string_equal(message.topic, topic);
    assert_int_equal(message.length, strlen(payload));
    assert_memory_equal(message.payload, payload, message.length);
    return message.token;
}

static void expect_none(void)
{
    struct outbox_message message;

    assert_false(outbox_next(outbox, &message));
}

static void expect_done(const char *topic, const char *payload)
{
    assert_true(outbox_done(outbox, expect(topic, payload)));
}

static void reconnect(void)
{
    outbox_reset(outbox, true);
    outbox_open(outbox, 20, 20);
}

static size_t republish(void)
{
    return outbox_republish(outbox, 0);
}

/* ---- a broker that forgets ---- */

static void the_last_value_of_each_retained_topic_is_published_again(void **state)
{
    put_value("a", "1");
    put_value("b", "2");
    put_value("a", "3");
    expect_done("a", "1");
    expect_done("b", "2");
    expect_done("a", "3");
    reconnect();
    expect_none(); /* not unless it is asked for */
    assert_int_equal(republish(), 2);
    expect_done("a", "3");
    expect_done("b", "2");
    expect_none();
    reconnect();
    assert_int_equal(republish(), 2); /* and again, should it forget again */
}

static void what_the_broker_took_since_it_came_is_not_published_again(void **state)
{
    put_value("a", "1");
    put_value("b", "1");
    expect_done("a", "1");
    expect_done("b", "1");
    put_value("a", "2");
    reconnect();
    expect_done("a", "2"); /* before it is known that the memory is lost */
    assert_int_equal(republish(), 1);
    expect_done("b", "1");
    expect_none();
}

static void what_is_newer_makes_the_old_value_superfluous(void **state)
{
    put_value("queued", "1");
    put_value("flying", "1");
    expect_done("queued", "1");
    expect_done("flying", "1");
    put_value("flying", "2");
    uint64_t flying = expect("flying", "2");
    put_value("queued", "2");
    assert_int_equal(republish(), 0);
    expect_done("queued", "2");
    assert_true(outbox_done(outbox, flying));
    expect_none();
}

static void only_what_the_broker_took_and_retains_is_kept(void **state)
{
    struct outbox_refusal refusal;

    assert_int_equal(put("event", "1", false, false), 0);
    assert_int_equal(put("status", "1", true, true), 0); /* announced anew anyway */
    put_value("refused", "1");
    put_value("cleared", "1");
    put_value("forgotten", "1");
    put_value("cleared", "");
    expect_done("status", "1");
    expect_done("event", "1");
    assert_true(outbox_refused(outbox, expect("refused", "1"), &refusal));
    expect_done("cleared", "1");
    expect_done("forgotten", "1");
    expect_done("cleared", "");
    outbox_forget(outbox, "forgotten");
    assert_int_equal(republish(), 0);
    expect_none();
}

static void a_topic_forgotten_while_a_value_is_on_its_way_keeps_none(void **state)
{
    put_value("a", "1");
    uint64_t token = expect("a", "1");
    outbox_forget(outbox, "a"); /* it is another gateway's now */
    assert_true(outbox_done(outbox, token));
    reconnect();
    assert_int_equal(republish(), 0);
    put_value("a", "2"); /* and ours again */
    expect_done("a", "2");
    reconnect();
    assert_int_equal(republish(), 1);
}

static void however_the_connection_ended_what_was_kept_is_published_again(void **state)
{
    put_value("a", "1");
    expect_done("a", "1");
    outbox_reset(outbox, false); /* a broker that said goodbye */
    outbox_open(outbox, 20, 20);
    assert_int_equal(republish(), 1);
    expect_done("a", "1");
}

static void a_value_that_expires_is_published_again_for_the_rest_of_its_time(void **state)
{
    struct outbox_put put = {.topic = "a",
                             .payload = "1",
                             .length = 1,
                             .qos = 1,
                             .retain = true,
                             .expiry_s = 30,
                             .put_us = MS_TO_US(1000)};
    struct outbox_message message;

    assert_int_equal(outbox_put(outbox, &put), 0);
    expect_done("a", "1");
    reconnect();
    assert_int_equal(outbox_republish(outbox, MS_TO_US(11000)), 1);
    assert_true(outbox_next(outbox, &message));
    assert_int_equal(message.expiry_s, 20);
    assert_true(outbox_done(outbox, message.token));
    reconnect();
    assert_int_equal(outbox_republish(outbox, MS_TO_US(31000)), 0);
}

static void kept_values_survive_any_number_of_other_topics(void **state)
{
    char topic[16];

    put_value("kept", "1");
    expect_done("kept", "1");
    for (unsigned i = 0; i < 3000; i++) {
        snprintf(topic, sizeof(topic), "t%u", i);
        assert_int_equal(put(topic, "x", false, false), 0);
        expect_done(topic, "x");
    }
    reconnect();
    assert_int_equal(republish(), 1);
    expect_done("kept", "1");
}

/* ---- a broker that cannot say no ---- */

static void a_message_on_which_three_connections_end_is_given_up(void **state)
{
    put_value("small", "1");
    put_value("poison", "22222");
    put_value("small", "3");
    /* first in company */
    expect("small", "1");
    expect("poison", "22222");
    expect("small", "3");
    reconnect();
    assert_false(outbox_last_cut(outbox)->given_up);
    expect_done("small", "1");
    expect("poison", "22222");
    expect_done("small", "3");
    reconnect();
    /* then alone */
    put_value("small", "4");
    expect("poison", "22222");
    expect_none();
    reconnect();
    const struct outbox_cut *cut = outbox_last_cut(outbox);
    assert_true(cut->given_up);
    assert_string_equal(cut->topic, "poison");
    assert_int_equal(cut->length, 5);
    assert_int_equal(cut->n_given_up, 1);
    expect_done("small", "4");
    expect_none();
    /* so long ones no more, shorter ones may go */
    assert_int_equal(put("poison", "66666", true, false), -EPERM);
    assert_int_equal(put("poison", "7777777", true, false), -EPERM);
    assert_int_equal(put("poison", "88888", true, true), -EPERM);
    assert_int_equal(put("other", "99999", true, false), 0);
    assert_int_equal(put("poison", "1010", true, false), 0);
    expect_done("other", "99999");
    expect_done("poison", "1010");
    outbox_forgive(outbox);
    assert_int_equal(put("poison", "66666", true, false), 0);
}

static void what_is_queued_behind_a_given_up_message_goes_with_it(void **state)
{
    put_value("poison", "11111");
    put_value("poison", "22222");
    put_value("poison", "333");
    for (unsigned i = 0; i < 3; i++) {
        expect("poison", "11111");
        reconnect();
    }
    assert_int_equal(outbox_last_cut(outbox)->n_given_up, 2);
    expect_done("poison", "333");
    expect_none();
}

static void a_message_like_others_that_the_broker_took_needs_more_evidence(void **state)
{
    put_value("usual", "12345");
    expect_done("usual", "12345");
    put_value("forbidden", "12345");
    for (unsigned i = 0; i < 8; i++) {
        expect("forbidden", "12345");
        reconnect();
        assert_int_equal(outbox_last_cut(outbox)->given_up, i == 7);
    }
    expect_none();
}

static void an_end_that_has_another_reason_is_no_evidence(void **state)
{
    put_value("a", "1");
    for (unsigned i = 0; i < 20; i++) {
        expect("a", "1");
        outbox_reset(outbox, false);
        outbox_open(outbox, 20, 20);
    }
    expect_done("a", "1");
}

static void an_acknowledgement_in_between_clears_the_suspicion(void **state)
{
    put_value("a", "1");
    for (unsigned i = 0; i < 10; i++) {
        expect("a", "1");
        reconnect();
        expect("a", "1");
        reconnect();
        expect_done("a", "1");
        put_value("a", "1");
    }
    expect_done("a", "1");
}

static void many_in_flight_when_a_broker_dies_are_sent_again_one_by_one_and_none_is_given_up(
    void **state)
{
    char topic[16];

    for (unsigned i = 0; i < 10; i++) {
        snprintf(topic, sizeof(topic), "t%u", i);
        put_value(topic, "x");
    }
    for (unsigned n = 0; n < 2; n++) {
        for (unsigned i = 0; i < 10; i++) {
            snprintf(topic, sizeof(topic), "t%u", i);
            expect(topic, "x");
        }
        reconnect();
    }
    for (unsigned i = 0; i < 10; i++) {
        snprintf(topic, sizeof(topic), "t%u", i);
        uint64_t token = expect(topic, "x");
        expect_none();
        assert_true(outbox_done(outbox, token));
    }
    expect_none();
}

static bool next_is_patient(void)
{
    struct outbox_message message;

    assert_true(outbox_next(outbox, &message));
    assert_true(outbox_done(outbox, message.token));
    return message.patient;
}

/* What goes alone, or goes to end the greeting, must be known to be over. */
static void only_values_that_nobody_suspects_may_be_answered_late(void **state)
{
    put_value("a", "1");
    assert_true(next_is_patient());
    assert_int_equal(put("s", "1", true, true), 0);
    assert_false(next_is_patient());
    put_value("a", ""); /* clears what was retained: the list of topics goes on from there */
    assert_false(next_is_patient());
    put_value("a", "2");
    expect("a", "2");
    reconnect();
    put_value("b", "1");
    assert_false(next_is_patient()); /* "a", on which a connection ended */
    assert_true(next_is_patient());
}

static void a_refusal_is_told_once_per_topic_until_forgiven(void **state)
{
    struct outbox_refusal refusal;

    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < 3; i++) {
            put_value("a", "12");
            assert_true(outbox_refused(outbox, expect("a", "12"), &refusal));
            assert_string_equal(refusal.topic, "a");
            assert_int_equal(refusal.length, 2);
            assert_int_equal(refusal.first, i == 0);
        }
        outbox_forgive(outbox);
    }
    assert_false(outbox_refused(outbox, 4711, &refusal));
    assert_true(outbox_is_empty(outbox));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(the_last_value_of_each_retained_topic_is_published_again),
        TEST(what_the_broker_took_since_it_came_is_not_published_again),
        TEST(what_is_newer_makes_the_old_value_superfluous),
        TEST(only_what_the_broker_took_and_retains_is_kept),
        TEST(a_topic_forgotten_while_a_value_is_on_its_way_keeps_none),
        TEST(however_the_connection_ended_what_was_kept_is_published_again),
        TEST(a_value_that_expires_is_published_again_for_the_rest_of_its_time),
        TEST(kept_values_survive_any_number_of_other_topics),
        TEST(a_message_on_which_three_connections_end_is_given_up),
        TEST(what_is_queued_behind_a_given_up_message_goes_with_it),
        TEST(a_message_like_others_that_the_broker_took_needs_more_evidence),
        TEST(an_end_that_has_another_reason_is_no_evidence),
        TEST(an_acknowledgement_in_between_clears_the_suspicion),
        TEST(many_in_flight_when_a_broker_dies_are_sent_again_one_by_one_and_none_is_given_up),
        TEST(only_values_that_nobody_suspects_may_be_answered_late),
        TEST(a_refusal_is_told_once_per_topic_until_forgiven),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
