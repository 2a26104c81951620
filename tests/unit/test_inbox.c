/* The inbox between Paho's threads and the loop. */
#include "mqtt/inbox.h"

#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the ones above */
#include <cmocka.h>

static const struct inbox_limits limits = {.payload_bytes = 100, .messages = 5, .bytes = 2000};

static int setup(void **state)
{
    struct inbox *inbox;

    assert_int_equal(inbox_new(&limits, &inbox), 0);
    *state = inbox;
    return 0;
}

static int teardown(void **state)
{
    inbox_free(*state);
    return 0;
}

static bool is_readable(struct inbox *inbox)
{
    struct pollfd fd = {.fd = inbox_fd(inbox), .events = POLLIN};

    return poll(&fd, 1, 0) == 1;
}

static bool put_length(struct inbox *inbox, size_t length)
{
    char payload[200] = {0};
    struct inbox_message message = {.topic = "t", .payload = payload, .length = length};

    return inbox_put_message(inbox, &message);
}

static void take_and_free(struct inbox *inbox)
{
    struct inbox_item *item = inbox_take(inbox);

    assert_non_null(item);
    assert_int_equal(item->type, INBOX_MESSAGE);
    inbox_message_free(inbox, (struct inbox_message *)item);
}

static void everything_comes_out_in_the_order_it_came_in(void **state)
{
    struct inbox *inbox = *state;
    struct inbox_item first = {.type = INBOX_OTHER}, last = {.type = INBOX_OTHER};

    inbox_put(inbox, &first);
    assert_true(put_length(inbox, 1));
    inbox_put(inbox, &last);
    assert_ptr_equal(inbox_take(inbox), &first);
    take_and_free(inbox);
    assert_ptr_equal(inbox_take(inbox), &last);
    assert_null(inbox_take(inbox));
    inbox_put(inbox, &first); /* it may come again */
    assert_ptr_equal(inbox_take(inbox), &first);
}

static void the_loop_is_woken_until_it_has_looked(void **state)
{
    struct inbox *inbox = *state;
    struct inbox_item item = {.type = INBOX_OTHER};

    assert_false(is_readable(inbox));
    inbox_put(inbox, &item);
    assert_true(is_readable(inbox));
    inbox_clear_wakeup(inbox);
    assert_false(is_readable(inbox));
    inbox_wake(inbox);
    assert_true(is_readable(inbox));
    inbox_clear_wakeup(inbox);
    assert_ptr_equal(inbox_take(inbox), &item);
    inbox_put(inbox, &item);
    assert_true(is_readable(inbox));
    assert_ptr_equal(inbox_take(inbox), &item);
}

static void a_message_is_copied_with_all_its_parts(void **state)
{
    struct inbox *inbox = *state;
    char topic[] = "topic", payload[] = "pay\0load", response[] = "answer/to",
         correlation[] = "\0x";
    struct inbox_message message = {
        .item.epoch = 7,
        .topic = topic,
        .payload = payload,
        .length = 8,
        .response_topic = response,
        .correlation = correlation,
        .correlation_length = 2,
        .qos = 1,
        .retained = true,
        .duplicate = true,
        .has_expiry = true,
        .expiry_s = 60,
    };

    assert_true(inbox_put_message(inbox, &message));
    memset(topic, 'z', 5);
    memset(payload, 'z', 8);
    memset(response, 'z', 9);
    memset(correlation, 'z', 2);
    struct inbox_message *copy = (struct inbox_message *)inbox_take(inbox);
    assert_int_equal(copy->item.epoch, 7);
    assert_string_equal(copy->topic, "topic");
    assert_int_equal(copy->length, 8);
    assert_memory_equal(copy->payload, "pay\0load", 9);
    assert_string_equal(copy->response_topic, "answer/to");
    assert_int_equal(copy->correlation_length, 2);
    assert_memory_equal(copy->correlation, "\0x", 2);
    assert_int_equal(copy->qos, 1);
    assert_true(copy->retained && copy->duplicate && copy->has_expiry);
    assert_int_equal(copy->expiry_s, 60);
    inbox_message_free(inbox, copy);
}

static void an_empty_message_stays_one_without_the_optional_parts(void **state)
{
    struct inbox *inbox = *state;
    struct inbox_message message = {.topic = "t"};

    assert_true(inbox_put_message(inbox, &message));
    struct inbox_message *copy = (struct inbox_message *)inbox_take(inbox);
    assert_int_equal(copy->length, 0);
    assert_null(copy->response_topic);
    assert_null(copy->correlation);
    inbox_message_free(inbox, copy);
}

static void a_message_that_is_too_long_is_dropped_and_counted(void **state)
{
    struct inbox *inbox = *state;

    assert_true(put_length(inbox, 100));
    assert_int_equal(inbox_n_dropped(inbox), 0);
    assert_false(put_length(inbox, 101));
    assert_int_equal(inbox_n_dropped(inbox), 1);
}

static void when_full_the_newest_message_is_dropped_until_one_is_done(void **state)
{
    struct inbox *inbox = *state;

    for (size_t i = 0; i < limits.messages; i++)
        assert_true(put_length(inbox, i));
    assert_false(put_length(inbox, 0));
    assert_int_equal(inbox_n_dropped(inbox), 1);
    struct inbox_message *oldest = (struct inbox_message *)inbox_take(inbox);
    assert_int_equal(oldest->length, 0);
    assert_false(put_length(inbox, 0)); /* taken, but not done */
    inbox_message_free(inbox, oldest);
    assert_true(put_length(inbox, 0));
    assert_int_equal(inbox_n_dropped(inbox), 2);
}

static void the_bytes_are_bounded_with_topic_and_all(void **state)
{
    struct inbox *inbox;
    char topic[1001], payload[1] = {0};
    struct inbox_limits tight = {.payload_bytes = 100, .messages = 5};
    struct inbox_message message = {.topic = topic, .payload = payload, .length = 1};

    memset(topic, 't', 1000);
    topic[1000] = '\0';
    tight.bytes = sizeof message + 1001 + 2;
    assert_int_equal(inbox_new(&tight, &inbox), 0);
    for (size_t i = 0; i < 3; i++) {
        assert_true(inbox_put_message(inbox, &message));
        take_and_free(inbox);
    }
    message.length = 2;
    message.payload = "xy";
    assert_false(inbox_put_message(inbox, &message));
    inbox_free(inbox);
}

static void an_acknowledgement_finds_room_in_a_full_inbox(void **state)
{
    struct inbox *inbox = *state;
    struct inbox_item items[100];

    while (put_length(inbox, 100))
        ;
    for (size_t i = 0; i < ARRAY_SIZE(items); i++) {
        items[i] = (struct inbox_item){.type = INBOX_OTHER};
        inbox_put(inbox, &items[i]);
    }
    for (size_t i = 0; i < limits.messages; i++)
        take_and_free(inbox);
    for (size_t i = 0; i < ARRAY_SIZE(items); i++)
        assert_ptr_equal(inbox_take(inbox), &items[i]);
}

static void what_a_dead_connection_left_is_taken_out(void **state)
{
    struct inbox *inbox = *state;
    struct inbox_item old = {.type = INBOX_OTHER, .epoch = 1},
                      new = {.type = INBOX_OTHER, .epoch = 2};
    struct inbox_message message = {.item.epoch = 1, .topic = "t"};

    inbox_put(inbox, &old);
    assert_true(inbox_put_message(inbox, &message));
    inbox_put(inbox, &new);
    for (size_t i = 1; i < limits.messages; i++)
        assert_true(inbox_put_message(inbox, &message));
    inbox_purge(inbox, 1);
    assert_ptr_equal(inbox_take(inbox), &new);
    assert_null(inbox_take(inbox));
    inbox_put(inbox, &old); /* the list is sound */
    assert_ptr_equal(inbox_take(inbox), &old);
    for (size_t i = 0; i < limits.messages; i++) /* and the room is back */
        assert_true(put_length(inbox, 0));
    inbox_purge(inbox, 0);
    assert_null(inbox_take(inbox));
}

#define N_EACH 5000

/* each time a message, which may be dropped, and an item, which wakes the taker in any case */
static void *put_many(void *userdata)
{
    struct inbox *inbox = userdata;

    for (size_t i = 0; i < N_EACH; i++) {
        struct inbox_item *item = calloc(1, sizeof *item);
        item->type = INBOX_OTHER;
        (void)put_length(inbox, 1);
        inbox_put(inbox, item);
    }
    return NULL;
}

static void several_threads_lose_nothing(void **state)
{
    struct inbox *inbox = *state;
    pthread_t threads[2];
    size_t n_items = 0, n_messages = 0;

    for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
        pthread_create(&threads[i], NULL, put_many, inbox);
    while (n_items < 2 * N_EACH) {
        struct pollfd fd = {.fd = inbox_fd(inbox), .events = POLLIN};
        assert_int_equal(poll(&fd, 1, 10000), 1);
        inbox_clear_wakeup(inbox);
        for (struct inbox_item *item; (item = inbox_take(inbox));) {
            if (item->type == INBOX_MESSAGE) {
                n_messages++;
                inbox_message_free(inbox, (struct inbox_message *)item);
            } else {
                n_items++;
                free(item);
            }
        }
    }
    for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(n_messages + inbox_n_dropped(inbox), 2 * N_EACH);
    assert_null(inbox_take(inbox));
}

static void the_patient_wait_until_there_are_enough_or_somebody_comes_by(void **state)
{
    struct inbox *inbox = *state;
    struct inbox_item patient[4], hasty = {.type = INBOX_OTHER};

    for (unsigned i = 0; i < 4; i++)
        patient[i] = (struct inbox_item){.type = INBOX_OTHER, .patience = 3};
    inbox_put(inbox, &patient[0]);
    inbox_put(inbox, &patient[1]);
    assert_false(is_readable(inbox));
    assert_ptr_equal(inbox_take_patient(inbox), &patient[0]);
    inbox_put(inbox, &patient[2]);
    assert_false(is_readable(inbox));
    inbox_put(inbox, &patient[3]);
    assert_true(is_readable(inbox));
    inbox_put(inbox, &hasty);
    for (unsigned i = 1; i < 4; i++)
        assert_ptr_equal(inbox_take_patient(inbox), &patient[i]);
    assert_null(inbox_take_patient(inbox)); /* that one has woken the loop, and has its turn then */
    assert_ptr_equal(inbox_take(inbox), &hasty);
    inbox_clear_wakeup(inbox);

    inbox_put(inbox, &patient[0]);
    assert_false(is_readable(inbox));
    inbox_put(inbox, &hasty);
    assert_true(is_readable(inbox));
    assert_ptr_equal(inbox_take(inbox), &patient[0]); /* the order stays */
    assert_ptr_equal(inbox_take(inbox), &hasty);
    inbox_clear_wakeup(inbox);

    patient[0].epoch = 7; /* those of a dead connection do not count */
    inbox_put(inbox, &patient[0]);
    inbox_purge(inbox, 7);
    inbox_put(inbox, &patient[1]);
    inbox_put(inbox, &patient[2]);
    assert_false(is_readable(inbox));
    assert_ptr_equal(inbox_take(inbox), &patient[1]);
    assert_ptr_equal(inbox_take(inbox), &patient[2]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(everything_comes_out_in_the_order_it_came_in),
        TEST(the_loop_is_woken_until_it_has_looked),
        TEST(a_message_is_copied_with_all_its_parts),
        TEST(an_empty_message_stays_one_without_the_optional_parts),
        TEST(a_message_that_is_too_long_is_dropped_and_counted),
        TEST(when_full_the_newest_message_is_dropped_until_one_is_done),
        TEST(the_bytes_are_bounded_with_topic_and_all),
        TEST(an_acknowledgement_finds_room_in_a_full_inbox),
        TEST(what_a_dead_connection_left_is_taken_out),
        TEST(the_patient_wait_until_there_are_enough_or_somebody_comes_by),
        TEST(several_threads_lose_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
