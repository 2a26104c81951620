/* What waits for the broker: order, limits and what is kept over a lost connection. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/outbox.h"
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct outbox *new_outbox(size_t messages, size_t bytes)
{
    struct outbox_limits limits = {messages, bytes};
    struct outbox *outbox = NULL;

    assert_int_equal(outbox_new(&limits, &outbox), 0);
    return outbox;
}

static void put(struct outbox *outbox, const char *topic, const char *payload)
{
    struct outbox_put put = {
        .topic = topic, .payload = payload, .length = strlen(payload), .qos = 1};

    assert_int_equal(outbox_put(outbox, &put), 0);
}

static void put_qos0(struct outbox *outbox, const char *topic, const char *payload)
{
    struct outbox_put put = {.topic = topic, .payload = payload, .length = strlen(payload)};

    assert_int_equal(outbox_put(outbox, &put), 0);
}

static void put_latest(struct outbox *outbox, const char *topic, const char *payload)
{
    struct outbox_put put = {.topic = topic,
                             .payload = payload,
                             .length = strlen(payload),
                             .qos = 1,
                             .latest_only = true};

    assert_int_equal(outbox_put(outbox, &put), 0);
}

static void put_status(struct outbox *outbox, const char *topic, const char *payload)
{
    struct outbox_put put = {.topic = topic,
                             .payload = payload,
                             .length = strlen(payload),
                             .qos = 1,
                             .retain = true,
                             .status = true};

    assert_int_equal(outbox_put(outbox, &put), 0);
}

/* the next message must be this one; its token */
static uint64_t expect(struct outbox *outbox, const char *topic, const char *payload)
{
    struct outbox_message message;

    assert_true(outbox_next(outbox, &message));
    assert_string_equal(message.topic, topic);
    assert_int_equal(message.length, strlen(payload));
    assert_memory_equal(message.payload, payload, message.length);
    return message.token;
}

static void expect_none(struct outbox *outbox)
{
    struct outbox_message message;

    assert_false(outbox_next(outbox, &message));
}

static void done(struct outbox *outbox, uint64_t token)
{
    assert_true(outbox_done(outbox, token));
}

static struct outbox_stats stats_of(const struct outbox *outbox)
{
    struct outbox_stats stats;

    outbox_get_stats(outbox, &stats);
    return stats;
}

static void values_leave_in_the_order_in_which_they_came(void **state)
{
    struct outbox *outbox = new_outbox(10, 1000);

    put(outbox, "a", "1");
    put(outbox, "b", "2");
    put(outbox, "a", "3");
    expect_none(outbox); /* no broker yet */
    outbox_open(outbox, 20, 20);
    done(outbox, expect(outbox, "a", "1"));
    done(outbox, expect(outbox, "b", "2"));
    done(outbox, expect(outbox, "a", "3"));
    assert_true(outbox_is_empty(outbox));
    outbox_free(outbox);
}

static void a_message_keeps_all_its_properties(void **state)
{
    struct outbox *outbox = new_outbox(10, 1000);
    struct outbox_message message;
    char topic[] = "reply", payload[] = "\0binary", correlation[] = "\1\0\2";
    struct outbox_put full = {.topic = topic,
                              .payload = payload,
                              .length = sizeof(payload),
                              .qos = 1,
                              .retain = true,
                              .expiry_s = 77,
                              .correlation = correlation,
                              .correlation_length = 3};
    struct outbox_put empty = {.topic = "gone", .retain = true};

    assert_int_equal(outbox_put(outbox, &full), 0);
    assert_int_equal(outbox_put(outbox, &empty), 0);
    memset(topic, 'x', sizeof(topic) - 1); /* it took copies */
    memset(payload, 'x', sizeof(payload));
    memset(correlation, 'x', sizeof(correlation));
    outbox_open(outbox, 20, 20);

    assert_true(outbox_next(outbox, &message));
    assert_string_equal(message.topic, "reply");
    assert_int_equal(message.length, 8);
    assert_memory_equal(message.payload, "\0binary", 8);
    assert_int_equal(message.qos, 1);
    assert_true(message.retain);
    assert_int_equal(message.expiry_s, 77);
    assert_int_equal(message.correlation_length, 3);
    assert_memory_equal(message.correlation, "\1\0\2", 3);

    assert_true(outbox_next(outbox, &message));
    assert_int_equal(message.length, 0);
    assert_null(message.correlation);
    assert_int_equal(message.qos, 0);
    outbox_free(outbox);
}

static void status_goes_before_values_and_only_the_newest(void **state)
{
    struct outbox *outbox = new_outbox(10, 1000);

    put(outbox, "v", "1");
    put_status(outbox, "s1", "old");
    put_status(outbox, "s2", "x");
    put_status(outbox, "s1",
               "new, and so much longer that the old message's memory cannot hold it:"
               " this one needs more than a hundred and twenty-eight bytes of room");
    outbox_open(outbox, 20, 20);
    expect(outbox, "s1",
           "new, and so much longer that the old message's memory cannot hold it:"
           " this one needs more than a hundred and twenty-eight bytes of room");
    put_status(outbox, "s3", "late");
    expect(outbox, "s2", "x");
    expect(outbox, "s3", "late");
    expect(outbox, "v", "1");
    expect_none(outbox);
    outbox_free(outbox);
}

static void deferred_status_goes_behind_the_others(void **state)
{
    struct outbox *outbox = new_outbox(10, 1000);

    outbox_defer(outbox, "s1"); /* there is none */
    put(outbox, "v", "1");
    put_status(outbox, "s1", "on");
    put_status(outbox, "s2", "x");
    outbox_defer(outbox, "s1");
    outbox_defer(outbox, "v"); /* is no status */
    put_status(outbox, "s3", "late");
    outbox_open(outbox, 20, 20);
    expect(outbox, "s2", "x");
    uint64_t token = expect(outbox, "s1", "on");
    outbox_defer(outbox, "s1"); /* is on its way */
    expect(outbox, "s3", "late");
    expect(outbox, "v", "1");
    done(outbox, token);
    expect_none(outbox);
    assert_int_equal(stats_of(outbox).queued, 0);
    outbox_free(outbox);
}

static void held_values_wait_while_status_goes(void **state)
{
    struct outbox *outbox = new_outbox(10, 1000);

    outbox_open(outbox, 20, 20);
    outbox_hold_values(outbox, true);
    put(outbox, "v", "1");
    put_status(outbox, "s", "on");
    expect(outbox, "s", "on");
    expect_none(outbox);
    outbox_hold_values(outbox, false);
    expect(outbox, "v", "1");
    outbox_free(outbox);
}

static void at_the_limit_nothing_is_dropped_and_one_past_it_the_oldest(void **state)
{
    struct outbox *outbox = new_outbox(3, 1000);

    put(outbox, "a", "1");
    put(outbox, "a", "2");
    put(outbox, "a", "3");
    assert_int_equal(stats_of(outbox).dropped, 0);
    put(outbox, "a", "4");
    assert_int_equal(stats_of(outbox).dropped, 1);
    assert_int_equal(stats_of(outbox).accepted, 4);
    outbox_open(outbox, 20, 20);
    expect(outbox, "a", "2");
    expect(outbox, "a", "3");
    expect(outbox, "a", "4");
    expect_none(outbox);
    outbox_free(outbox);
}

static void the_limit_in_bytes_counts_topic_and_payload(void **state)
{
    struct outbox *outbox = new_outbox(100, 30);

    put(outbox, "abcde", "12345"); /* 10 bytes each */
    put(outbox, "abcde", "12345");
    put(outbox, "abcde", "12345");
    assert_int_equal(stats_of(outbox).dropped, 0);
    assert_int_equal(stats_of(outbox).queued_bytes, 30);
    put(outbox, "abcde", "1");
    assert_int_equal(stats_of(outbox).dropped, 1);
    assert_int_equal(stats_of(outbox).queued_bytes, 26);
    outbox_free(outbox);
}

static void a_message_larger_than_the_buffer_is_refused(void **state)
{
    struct outbox *outbox = new_outbox(100, 10);
    struct outbox_put fits = {.topic = "abcde", .payload = "12345", .length = 5};
    struct outbox_put large = {.topic = "abcde", .payload = "123456", .length = 6};

    assert_int_equal(outbox_put(outbox, &fits), 0);
    assert_int_equal(outbox_put(outbox, &large), -EMSGSIZE);
    assert_int_equal(stats_of(outbox).queued, 1);
    large.status = true; /* the limits are not for these */
    assert_int_equal(outbox_put(outbox, &large), 0);
    outbox_free(outbox);
}

static void a_topics_newest_is_never_dropped(void **state)
{
    struct outbox *outbox = new_outbox(3, 1000);

    put(outbox, "rare", "1");
    for (int i = 0; i < 10; i++)
        put(outbox, "often", i % 2 ? "odd" : "even");
    put(outbox, "new", "1");
    put(outbox, "newer", "1"); /* four topics, three places */
    assert_int_equal(stats_of(outbox).queued, 4);
    assert_int_equal(stats_of(outbox).dropped, 9);
    outbox_open(outbox, 20, 20);
    expect(outbox, "rare", "1");
    expect(outbox, "often", "odd");
    expect(outbox, "new", "1");
    expect(outbox, "newer", "1");
    expect_none(outbox);
    outbox_free(outbox);
}

static void an_older_value_of_a_slow_topic_goes_before_newer_ones_of_others(void **state)
{
    struct outbox *outbox = new_outbox(4, 1000);

    put(outbox, "slow", "1");
    put(outbox, "fast", "2");
    put(outbox, "fast", "3");
    put(outbox, "slow", "4"); /* now 1 may go, and it is older than 2 */
    put(outbox, "fast", "5");
    outbox_open(outbox, 20, 20);
    expect(outbox, "fast", "2");
    expect(outbox, "fast", "3");
    expect(outbox, "slow", "4");
    expect(outbox, "fast", "5");
    outbox_free(outbox);
}

static void even_newest_of_endless_topics_have_a_limit(void **state)
{
    struct outbox *outbox = new_outbox(10, 1 << 20);
    char topic[32];

    for (int i = 0; i <= OUTBOX_EXTRA_MESSAGES + 10; i++) {
        snprintf(topic, sizeof(topic), "reply/%d", i);
        put(outbox, topic, "");
    }
    assert_int_equal(stats_of(outbox).queued, OUTBOX_EXTRA_MESSAGES + 10);
    assert_int_equal(stats_of(outbox).dropped, 1);
    outbox_open(outbox, 1, 1);
    expect(outbox, "reply/1", "");
    outbox_free(outbox);
}

static void the_window_limits_what_is_unacknowledged(void **state)
{
    struct outbox *outbox = new_outbox(10, 1000);

    put(outbox, "a", "1");
    put(outbox, "b", "2");
    put(outbox, "c", "3");
    outbox_open(outbox, 2, 20);
    uint64_t first = expect(outbox, "a", "1");
    expect(outbox, "b", "2");
    expect_none(outbox);
    assert_int_equal(stats_of(outbox).in_flight, 2);
    assert_int_equal(stats_of(outbox).queued, 1);
    done(outbox, first);
    expect(outbox, "c", "3");
    outbox_free(outbox);
}

static void a_window_of_one_sends_one_at_a_time(void **state)
{
    struct outbox *outbox = new_outbox(10, 1000);

    outbox_open(outbox, 1, 1);
    put(outbox, "a", "1");
    put(outbox, "a", "2");
    for (int i = 0; i < 2; i++) {
        uint64_t token = expect(outbox, "a", i ? "2" : "1");
        expect_none(outbox);
        done(outbox, token);
    }
    expect_none(outbox);
    assert_true(outbox_is_empty(outbox));
    outbox_free(outbox);
}

static void qos0_and_qos1_have_windows_of_their_own_but_one_order(void **state)
{
    struct outbox *outbox = new_outbox(10, 1000);

    outbox_open(outbox, 1, 1);
    put(outbox, "a", "1");
    put_qos0(outbox, "b", "2");
    put_qos0(outbox, "b", "3");
    put(outbox, "a", "4");
    uint64_t qos1 = expect(outbox, "a", "1");
    uint64_t qos0 = expect(outbox, "b", "2");
    expect_none(outbox);
    done(outbox, qos1); /* room for 4, but 3 stands before it */
    expect_none(outbox);
    done(outbox, qos0);
    expect(outbox, "b", "3");
    expect(outbox, "a", "4");
    outbox_free(outbox);
}

static void after_a_lost_connection_the_unacknowledged_go_first_and_in_order(void **state)
{
    struct outbox *outbox = new_outbox(10, 1000);

    outbox_open(outbox, 20, 20);
    put(outbox, "a", "1");
    put(outbox, "b", "2");
    put(outbox, "a", "3");
    put(outbox, "c", "4");
    expect(outbox, "a", "1");
    uint64_t acknowledged = expect(outbox, "b", "2");
    uint64_t lost = expect(outbox, "a", "3");
    done(outbox, acknowledged);
    outbox_reset(outbox, true);
    put(outbox, "a", "5");
    expect_none(outbox);                     /* closed */
    assert_false(outbox_done(outbox, lost)); /* a late word of the old connection */
    outbox_open(outbox, 20, 20);
    expect(outbox, "a", "1");
    expect(outbox, "a", "3");
    expect(outbox, "c", "4");
    expect(outbox, "a", "5");
    expect_none(outbox);
    outbox_free(outbox);
}

static void a_value_sent_again_never_ends_behind_a_newer_one(void **state)
{
    struct outbox *outbox = new_outbox(10, 1000);

    outbox_open(outbox, 2, 20);
    put(outbox, "a", "1");
    put(outbox, "a", "2");
    put(outbox, "a", "3");
    expect(outbox, "a", "1");
    uint64_t second = expect(outbox, "a", "2");
    done(outbox, second); /* but 1 is not: were only 1 sent again, it would be the last word */
    assert_false(outbox_done(outbox, second));
    expect_none(outbox);
    outbox_reset(outbox, true);
    outbox_open(outbox, 2, 20);
    uint64_t first = expect(outbox, "a", "1");
    second = expect(outbox, "a", "2");
    done(outbox, second);
    done(outbox, first); /* this ends both */
    assert_int_equal(stats_of(outbox).in_flight, 0);
    done(outbox, expect(outbox, "a", "3"));
    assert_true(outbox_is_empty(outbox));
    outbox_free(outbox);
}

static void acknowledgements_in_any_order_are_fine_across_topics(void **state)
{
    struct outbox *outbox = new_outbox(10, 1000);
    uint64_t tokens[3];

    outbox_open(outbox, 3, 20);
    put(outbox, "a", "1");
    put(outbox, "b", "2");
    put(outbox, "c", "3");
    tokens[0] = expect(outbox, "a", "1");
    tokens[1] = expect(outbox, "b", "2");
    tokens[2] = expect(outbox, "c", "3");
    done(outbox, tokens[2]);
    done(outbox, tokens[0]);
    assert_int_equal(stats_of(outbox).in_flight, 1);
    done(outbox, tokens[1]);
    assert_false(outbox_done(outbox, 12345));
    assert_true(outbox_is_empty(outbox));
    outbox_free(outbox);
}

static void newest_only_replaces_what_is_queued_but_not_what_is_in_flight(void **state)
{
    struct outbox *outbox = new_outbox(10, 1000);

    put_latest(outbox, "a", "1");
    put(outbox, "b", "2");
    put_latest(outbox, "a", "3"); /* keeps the place of 1 */
    assert_int_equal(stats_of(outbox).thinned, 1);
    assert_int_equal(stats_of(outbox).queued, 2);
    outbox_open(outbox, 20, 20);
    uint64_t token = expect(outbox, "a", "3");
    put_latest(outbox, "a", "4");
    put_latest(outbox, "a", "5");
    assert_int_equal(stats_of(outbox).thinned, 2);
    done(outbox, token);
    expect(outbox, "b", "2");
    expect(outbox, "a", "5");
    expect_none(outbox);
    assert_int_equal(stats_of(outbox).dropped, 0);
    outbox_free(outbox);
}

static void newest_only_sends_the_newest_alone_after_a_lost_connection(void **state)
{
    struct outbox *outbox = new_outbox(10, 1000);

    outbox_open(outbox, 20, 20);
    put_latest(outbox, "a", "1");
    put_status(outbox, "s", "off");
    expect(outbox, "s", "off");
    expect(outbox, "a", "1");
    put_latest(outbox, "a", "2");
    put_status(outbox, "s", "on");
    outbox_reset(outbox, true);
    put_latest(outbox, "a", "3");
    outbox_open(outbox, 20, 20);
    expect(outbox, "s", "on");
    expect(outbox, "a", "3");
    expect_none(outbox);
    outbox_free(outbox);
}

static void a_forgotten_topic_leaves_nothing_but_what_is_in_flight(void **state)
{
    struct outbox *outbox = new_outbox(3, 1000);

    outbox_open(outbox, 1, 1);
    put(outbox, "a", "1");
    put(outbox, "b", "2");
    put(outbox, "a", "3");
    put_status(outbox, "s", "x");
    uint64_t token = expect(outbox, "s", "x");
    outbox_forget(outbox, "a");
    outbox_forget(outbox, "s");
    outbox_forget(outbox, "never heard of");
    done(outbox, token);
    token = expect(outbox, "b", "2");
    put(outbox, "b", "4");
    outbox_forget(outbox, "b");
    outbox_reset(outbox, true); /* 2 was in flight: it stays */
    put(outbox, "a", "5");
    put(outbox, "a", "6");
    put(outbox, "a", "7");
    assert_int_equal(stats_of(outbox).dropped, 1); /* 5, not 2: b has nothing newer */
    outbox_open(outbox, 20, 1);
    expect(outbox, "b", "2");
    expect(outbox, "a", "6");
    expect(outbox, "a", "7");
    expect_none(outbox);
    outbox_free(outbox);
}

static void topics_without_messages_do_not_pile_up(void **state)
{
    struct outbox *outbox = new_outbox(10, 1000);
    size_t before = 0;
    char topic[32];

    outbox_open(outbox, 20, 20);
    for (int i = 0; i < 40000; i++) {
        snprintf(topic, sizeof(topic), "topic/%d", i);
        put(outbox, topic, "x");
        done(outbox, expect(outbox, topic, "x"));
        if (i == 20000) /* under a sanitizer both are 0 */
            before = mallinfo2().uordblks;
    }
    assert_true(outbox_is_empty(outbox));
    assert_true(mallinfo2().uordblks < before + 100000);
    outbox_free(outbox);
}

static void a_topic_may_change_between_newest_only_and_all(void **state)
{
    struct outbox *outbox = new_outbox(3, 1000);

    put_latest(outbox, "a", "1");
    put(outbox, "b", "2");
    put_latest(outbox, "a", "3"); /* in the place of 1: before 2 */
    put(outbox, "b", "4");
    put(outbox, "a", "5"); /* 3 and 2 may go now, 3 is the first in the queue */
    outbox_open(outbox, 20, 20);
    expect(outbox, "b", "2");
    expect(outbox, "b", "4");
    expect(outbox, "a", "5");
    expect_none(outbox);
    outbox_free(outbox);
}

static size_t resident_kib(void)
{
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");

    assert_non_null(file);
    assert_int_equal(fscanf(file, "%*u %lu", &pages), 1);
    fclose(file);
    return pages * (size_t)sysconf(_SC_PAGESIZE) / 1024;
}

static void memory_of_a_burst_goes_back_to_the_system(void **state)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    skip();
#endif
    const char *preload = getenv("LD_PRELOAD");
    if (preload && strstr(preload, "vgpreload"))
        skip(); /* valgrind's allocator keeps what is freed */
    struct outbox *outbox = new_outbox(200000, 100 << 20);
    char topic[32], payload[100];
    struct outbox_message message;

    memset(payload, 'x', sizeof(payload) - 1);
    payload[sizeof(payload) - 1] = '\0';
    put(outbox, "warm", payload);
    size_t before = resident_kib();
    for (int i = 0; i < 100000; i++) {
        snprintf(topic, sizeof(topic), "topic/%d", i % 500);
        put(outbox, topic, payload);
    }
    size_t most = resident_kib();
    assert_true(most > before + 10000);
    outbox_open(outbox, 20, 20);
    while (outbox_next(outbox, &message))
        done(outbox, message.token);
    size_t after = resident_kib();
    if (after > before + 1024)
        fail_msg("%zu KiB before, %zu at most, %zu after", before, most, after);
    outbox_free(outbox);
}

/* ---- against a model: the same rules in plain arrays ---- */

#define MODEL_MAX    4000
#define MODEL_TOPICS 12

struct model_message {
    unsigned id, topic;
    uint8_t qos;
    bool status, latest, done;
    uint64_t token;
    size_t bytes, length;
    unsigned order;
};

struct model_list {
    struct model_message m[MODEL_MAX];
    size_t n;
};

struct model {
    struct model_list status, values, flight;
    size_t limit_messages, limit_bytes;
    unsigned window, window_qos0;
    bool open, hold, probing;
    uint64_t dropped, thinned;
    unsigned cuts[MODEL_TOPICS]; /* connections in a row that ended on it */
    size_t longest_done;
    size_t cut_size[MODEL_TOPICS]; /* payloads given up after such ends; 0: none */
};

static void list_insert(struct model_list *list, size_t at, struct model_message message)
{
    assert_true(list->n < MODEL_MAX);
    memmove(list->m + at + 1, list->m + at, (list->n - at) * sizeof(message));
    list->m[at] = message;
    list->n++;
}

static struct model_message list_remove(struct model_list *list, size_t at)
{
    struct model_message message = list->m[at];

    list->n--;
    memmove(list->m + at, list->m + at + 1, (list->n - at) * sizeof(message));
    return message;
}

static bool model_is_newest(const struct model *model, const struct model_message *message)
{
    for (size_t i = 0; i < model->values.n; i++)
        if (model->values.m[i].topic == message->topic && model->values.m[i].id > message->id)
            return false;
    for (size_t i = 0; i < model->flight.n; i++)
        if (model->flight.m[i].topic == message->topic && model->flight.m[i].id > message->id)
            return false;
    return true;
}

static void model_limit(struct model *model)
{
    for (;;) {
        size_t messages = model->values.n, bytes = 0, at = 0;

        for (size_t i = 0; i < model->values.n; i++)
            bytes += model->values.m[i].bytes;
        for (size_t i = 0; i < model->flight.n; i++)
            if (!model->flight.m[i].status) {
                messages++;
                bytes += model->flight.m[i].bytes;
            }
        if (messages <= model->limit_messages && bytes <= model->limit_bytes)
            return;
        while (at < model->values.n && model_is_newest(model, &model->values.m[at]))
            at++;
        if (at == model->values.n)
            return;
        list_remove(&model->values, at);
        model->dropped++;
    }
}

static void model_put(struct model *model, struct model_message message)
{
    struct model_list *list = message.status ? &model->status : &model->values;

    if (message.status || message.latest)
        for (size_t i = list->n; i-- > 0;)
            if (list->m[i].topic == message.topic && model_is_newest(model, &list->m[i])) {
                list->m[i] = message;
                model->thinned += !message.status;
                if (!message.status)
                    model_limit(model);
                return;
            }
    list_insert(list, list->n, message);
    if (!message.status)
        model_limit(model);
}

/* several connections in a row ended on it, the last time it was alone */
static void model_judge(struct model *model)
{
    bool on[MODEL_TOPICS] = {false};
    const struct model_message *alone = NULL;
    size_t n_open = 0;

    for (size_t i = 0; i < model->flight.n; i++) {
        if (model->flight.m[i].done)
            continue;
        n_open++;
        alone = &model->flight.m[i];
        on[alone->topic] = true;
    }
    for (unsigned t = 0; t < MODEL_TOPICS; t++)
        model->cuts[t] += on[t];
    if (n_open != 1 || model->cuts[alone->topic] < (alone->length > model->longest_done ? 3 : 8))
        return;
    model->cuts[alone->topic] = 0;
    model->cut_size[alone->topic] = alone->length;
}

static void model_give_up(struct model *model)
{
    struct model_list *lists[] = {&model->status, &model->values};

    for (unsigned l = 0; l < 2; l++)
        for (size_t i = lists[l]->n; i-- > 0;) {
            size_t limit = model->cut_size[lists[l]->m[i].topic];
            if (limit && lists[l]->m[i].length >= limit)
                list_remove(lists[l], i);
        }
}

static void model_reset(struct model *model)
{
    model->open = false;
    model_judge(model);
    while (model->flight.n) {
        struct model_message message = list_remove(&model->flight, model->flight.n - 1);
        struct model_list *list = message.status ? &model->status : &model->values;
        bool newer = false;

        for (size_t i = 0; i < list->n; i++)
            newer |= list->m[i].topic == message.topic;
        message.done = false;
        if (newer && (message.status || message.latest))
            model->thinned += !message.status;
        else
            list_insert(list, 0, message);
    }
    model_give_up(model);
    model_limit(model);
}

static const struct model_message *model_next(struct model *model, uint64_t token)
{
    struct model_list *list = &model->status;
    size_t used = 0;

    if (!list->n && !model->hold)
        list = &model->values;
    if (!model->open || !list->n)
        return NULL;
    for (size_t i = 0; i < model->flight.n; i++)
        used += !model->flight.m[i].qos == !list->m[0].qos;
    if (used >= (list->m[0].qos ? model->window : model->window_qos0))
        return NULL;
    if (model->flight.n && (model->cuts[list->m[0].topic] >= 2 || model->probing))
        return NULL;
    model->probing = model->cuts[list->m[0].topic] >= 2;
    struct model_message message = list_remove(list, 0);
    message.token = token;
    list_insert(&model->flight, model->flight.n, message);
    return &model->flight.m[model->flight.n - 1];
}

static void model_done(struct model *model, size_t at)
{
    unsigned topic = model->flight.m[at].topic;

    model->flight.m[at].done = true;
    for (size_t i = 0; i < model->flight.n;) {
        if (model->flight.m[i].topic != topic) {
            i++;
            continue;
        }
        if (!model->flight.m[i].done)
            return;
        struct model_message message = list_remove(&model->flight, i);
        if (message.qos)
            model->longest_done = MAX_OF(model->longest_done, message.length);
        model->cuts[topic] = 0;
    }
}

static uint32_t next_random(uint32_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;
    return *seed;
}

static void topic_name(unsigned topic, char name[static 16])
{
    snprintf(name, 16, "topic/%u", topic);
}

struct run {
    struct outbox *outbox;
    struct model model;
    uint32_t seed;
    unsigned ids;
    unsigned last_seen[MODEL_TOPICS]; /* by the broker */
    unsigned last_put[MODEL_TOPICS];  /* 0: none, or forgotten */
};

static void run_put(struct run *run)
{
    unsigned topic = next_random(&run->seed) % MODEL_TOPICS;
    char name[16], payload[300];
    size_t length = sizeof(unsigned) + next_random(&run->seed) % (topic == 5 ? 290 : 20);
    struct model_message message = {.id = ++run->ids,
                                    .topic = topic,
                                    .qos = topic % 3 != 0,
                                    .status = topic < 3,
                                    .latest = topic >= 3 && topic < 5};

    topic_name(topic, name);
    memset(payload, 0, sizeof(payload));
    memcpy(payload, &message.id, sizeof(message.id));
    message.bytes = length + strlen(name);
    message.length = length;
    struct outbox_put p = {.topic = name,
                           .payload = payload,
                           .length = length,
                           .qos = message.qos,
                           .latest_only = message.latest,
                           .status = message.status};
    if (run->model.cut_size[topic] && length >= run->model.cut_size[topic]) {
        assert_int_equal(outbox_put(run->outbox, &p), -EPERM);
        return;
    }
    assert_int_equal(outbox_put(run->outbox, &p), 0);
    model_put(&run->model, message);
    run->last_put[topic] = message.id;
}

static void run_next(struct run *run)
{
    struct outbox_message message;
    bool any = outbox_next(run->outbox, &message);
    const struct model_message *expected = model_next(&run->model, any ? message.token : 0);
    char name[16];
    unsigned id;

    assert_int_equal(any, expected != NULL);
    if (!any)
        return;
    topic_name(expected->topic, name);
    assert_string_equal(message.topic, name);
    memcpy(&id, message.payload, sizeof(id));
    assert_int_equal(id, expected->id);
    run->last_seen[expected->topic] = id;
}

static void run_step(struct run *run)
{
    unsigned what = next_random(&run->seed) % 1000;
    struct model *model = &run->model;

    if (what < 400) {
        run_put(run);
    } else if (what < 700) {
        run_next(run);
    } else if (what < 960) {
        if (!model->flight.n)
            return;
        /* mostly in order, as brokers do */
        size_t at = what < 900 ? 0 : next_random(&run->seed) % model->flight.n;
        bool known = !model->flight.m[at].done;
        assert_int_equal(outbox_done(run->outbox, model->flight.m[at].token), known);
        if (known)
            model_done(model, at);
    } else if (what < 985) {
        model->window = 1 + next_random(&run->seed) % 20;
        model->window_qos0 = 1 + next_random(&run->seed) % 20;
        model->open = true;
        outbox_open(run->outbox, model->window, model->window_qos0);
    } else if (what < 989) {
        outbox_reset(run->outbox, true);
        model_reset(model);
    } else if (what < 990) {
        outbox_forgive(run->outbox);
        memset(model->cut_size, 0, sizeof(model->cut_size));
    } else if (what < 998) {
        model->hold = next_random(&run->seed) % 2;
        outbox_hold_values(run->outbox, model->hold);
    } else {
        unsigned topic = next_random(&run->seed) % MODEL_TOPICS;
        struct model_list *lists[] = {&model->status, &model->values};
        char name[16];

        topic_name(topic, name);
        outbox_forget(run->outbox, name);
        run->last_put[topic] = 0;
        for (unsigned l = 0; l < 2; l++)
            for (size_t i = lists[l]->n; i-- > 0;)
                if (lists[l]->m[i].topic == topic)
                    list_remove(lists[l], i);
    }
}

static void run_check(const struct run *run)
{
    struct outbox_stats stats = stats_of(run->outbox);
    const struct model *model = &run->model;
    size_t bytes = 0;

    for (size_t i = 0; i < model->values.n; i++)
        bytes += model->values.m[i].bytes;
    for (size_t i = 0; i < model->status.n; i++)
        bytes += model->status.m[i].bytes;
    assert_int_equal(stats.queued, model->values.n + model->status.n);
    assert_int_equal(stats.queued_bytes, bytes);
    assert_int_equal(stats.in_flight, model->flight.n);
    assert_int_equal(stats.dropped, model->dropped);
    assert_int_equal(stats.thinned, model->thinned);
}

static void random_operations_do_what_the_plain_model_does(void **state)
{
    for (uint32_t seed = 1; seed <= 4; seed++) {
        struct run *run = calloc(1, sizeof(*run));

        assert_non_null(run);
        run->seed = seed * 2654435761u;
        run->model.limit_messages = seed == 1 ? 3 : seed * 20;
        run->model.limit_bytes = seed == 4 ? 1000 : 1 << 20;
        run->outbox = new_outbox(run->model.limit_messages, run->model.limit_bytes);
        for (int i = 0; i < 50000; i++) {
            run_step(run);
            if (i % 16 == 0)
                run_check(run);
        }
        /* at the end everything leaves, and each topic's last word is its newest */
        run->model.hold = false;
        run->model.open = true;
        run->model.window = run->model.window_qos0 = 20;
        outbox_hold_values(run->outbox, false);
        outbox_open(run->outbox, 20, 20);
        while (!outbox_is_empty(run->outbox)) {
            run_next(run);
            if (run->model.flight.n && !run->model.flight.m[0].done) {
                done(run->outbox, run->model.flight.m[0].token);
                model_done(&run->model, 0);
            }
        }
        assert_int_equal(run->model.flight.n + run->model.values.n + run->model.status.n, 0);
        run_check(run);
        for (unsigned topic = 0; topic < MODEL_TOPICS; topic++)
            if (run->last_put[topic])
                assert_int_equal(run->last_seen[topic], run->last_put[topic]);
        outbox_free(run->outbox);
        free(run);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_leave_in_the_order_in_which_they_came),
        cmocka_unit_test(a_message_keeps_all_its_properties),
        cmocka_unit_test(status_goes_before_values_and_only_the_newest),
        cmocka_unit_test(deferred_status_goes_behind_the_others),
        cmocka_unit_test(held_values_wait_while_status_goes),
        cmocka_unit_test(at_the_limit_nothing_is_dropped_and_one_past_it_the_oldest),
        cmocka_unit_test(the_limit_in_bytes_counts_topic_and_payload),
        cmocka_unit_test(a_message_larger_than_the_buffer_is_refused),
        cmocka_unit_test(a_topics_newest_is_never_dropped),
        cmocka_unit_test(an_older_value_of_a_slow_topic_goes_before_newer_ones_of_others),
        cmocka_unit_test(even_newest_of_endless_topics_have_a_limit),
        cmocka_unit_test(the_window_limits_what_is_unacknowledged),
        cmocka_unit_test(a_window_of_one_sends_one_at_a_time),
        cmocka_unit_test(qos0_and_qos1_have_windows_of_their_own_but_one_order),
        cmocka_unit_test(after_a_lost_connection_the_unacknowledged_go_first_and_in_order),
        cmocka_unit_test(a_value_sent_again_never_ends_behind_a_newer_one),
        cmocka_unit_test(acknowledgements_in_any_order_are_fine_across_topics),
        cmocka_unit_test(newest_only_replaces_what_is_queued_but_not_what_is_in_flight),
        cmocka_unit_test(newest_only_sends_the_newest_alone_after_a_lost_connection),
        cmocka_unit_test(a_forgotten_topic_leaves_nothing_but_what_is_in_flight),
        cmocka_unit_test(topics_without_messages_do_not_pile_up),
        cmocka_unit_test(a_topic_may_change_between_newest_only_and_all),
        cmocka_unit_test(memory_of_a_burst_goes_back_to_the_system),
        cmocka_unit_test(random_operations_do_what_the_plain_model_does),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
