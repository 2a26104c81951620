/* Requests that come again: they are known by operation, id and content, for a minute. */
#include "core/dedup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SECOND 1000000ULL

static struct command *const somebody = (struct command *)(uintptr_t)1;

static struct dedup *begin(void)
{
    struct dedup *dedup;

    assert_int_equal(dedup_new(&dedup), 0);
    return dedup;
}

static struct dedup_key key(const char *operation, const char *id, const char *content)
{
    return (struct dedup_key){operation, id, content, strlen(content)};
}

static uint32_t run(struct dedup *dedup, const char *id)
{
    struct dedup_key k = key("read", id, "x");
    uint32_t number = 0;

    assert_int_equal(dedup_begin(dedup, &k, somebody, &number), 0);
    assert_int_not_equal(number, 0);
    return number;
}

static enum dedup_state state_of(struct dedup *dedup, uint64_t now_us, const char *id)
{
    struct dedup_key k = key("read", id, "x");

    return dedup_look(dedup, now_us, &k).state;
}

static void what_runs_is_known_and_so_is_its_answer(void **state)
{
    struct dedup *dedup = begin();
    struct dedup_key k = key("read", "1", "x");

    assert_int_equal(dedup_look(dedup, 0, &k).state, DEDUP_STATE_NEW);
    uint32_t number = run(dedup, "1");
    struct dedup_seen seen = dedup_look(dedup, 5 * SECOND, &k);
    assert_int_equal(seen.state, DEDUP_STATE_RUNNING);
    assert_ptr_equal(seen.command, somebody);
    dedup_finish(dedup, number, 6 * SECOND, "answer", 6);
    seen = dedup_look(dedup, 65 * SECOND, &k);
    assert_int_equal(seen.state, DEDUP_STATE_FINISHED);
    assert_int_equal(seen.length, 6);
    assert_string_equal(seen.answer, "answer");
    assert_int_equal(dedup_look(dedup, 66 * SECOND, &k).state, DEDUP_STATE_NEW);
    dedup_free(dedup);
}

static void operation_id_and_content_tell_requests_apart(void **state)
{
    struct dedup *dedup = begin();
    struct dedup_key other_operation = key("write", "1", "x"), other_id = key("read", "2", "x"),
                     text_id = key("read", "\"1\"", "x"), other_content = key("read", "1", "y"),
                     longer_content = key("read", "1", "xx");

    run(dedup, "1");
    assert_int_equal(dedup_look(dedup, 0, &other_operation).state, DEDUP_STATE_NEW);
    assert_int_equal(dedup_look(dedup, 0, &other_id).state, DEDUP_STATE_NEW);
    assert_int_equal(dedup_look(dedup, 0, &text_id).state, DEDUP_STATE_NEW);
    assert_int_equal(dedup_look(dedup, 0, &other_content).state, DEDUP_STATE_OTHER);
    assert_int_equal(dedup_look(dedup, 0, &longer_content).state, DEDUP_STATE_OTHER);
    dedup_free(dedup);
}

static void the_oldest_finished_one_makes_room_but_never_one_that_runs(void **state)
{
    struct dedup *dedup = begin();
    uint32_t numbers[DEDUP_MAX];
    struct dedup_key one_more = key("read", "more", "x");
    uint32_t number;
    char id[16];

    for (int i = 0; i < DEDUP_MAX; i++) {
        snprintf(id, sizeof(id), "%d", i);
        numbers[i] = run(dedup, id);
    }
    assert_int_equal(dedup_begin(dedup, &one_more, somebody, &number), DEDUP_E_FULL);
    dedup_finish(dedup, numbers[7], 2 * SECOND, "", 0);
    dedup_finish(dedup, numbers[9], 1 * SECOND, "", 0);
    assert_int_equal(dedup_begin(dedup, &one_more, somebody, &number), 0);
    assert_int_equal(state_of(dedup, 2 * SECOND, "9"), DEDUP_STATE_NEW);
    assert_int_equal(state_of(dedup, 2 * SECOND, "7"), DEDUP_STATE_FINISHED);
    assert_int_equal(state_of(dedup, 2 * SECOND, "0"), DEDUP_STATE_RUNNING);
    dedup_free(dedup);
}

static void answers_are_bounded_in_bytes(void **state)
{
    struct dedup *dedup = begin();
    char *answer = calloc(1, DEDUP_ANSWER_MAX + 1);
    struct dedup_key first = key("read", "0", "x"), last;
    struct dedup_stats stats;
    char id[16];

    for (int i = 0; i < 20; i++) {
        snprintf(id, sizeof(id), "%d", i);
        dedup_finish(dedup, run(dedup, id), (uint64_t)i, answer, DEDUP_ANSWER_MAX);
        dedup_get_stats(dedup, &stats);
        assert_true(stats.bytes <= DEDUP_BYTES);
    }
    last = key("read", "19", "x");
    assert_int_equal(dedup_look(dedup, 20, &last).state, DEDUP_STATE_FINISHED);
    assert_non_null(dedup_look(dedup, 20, &last).answer);
    assert_int_equal(dedup_look(dedup, 20, &first).state, DEDUP_STATE_NEW);
    free(answer);
    dedup_free(dedup);
}

static void an_answer_that_is_too_long_is_not_kept_but_the_request_is(void **state)
{
    struct dedup *dedup = begin();
    char *answer = calloc(1, DEDUP_ANSWER_MAX + 1);
    struct dedup_key k = key("read", "1", "x");

    dedup_finish(dedup, run(dedup, "1"), 0, answer, DEDUP_ANSWER_MAX + 1);
    struct dedup_seen seen = dedup_look(dedup, 1, &k);
    assert_int_equal(seen.state, DEDUP_STATE_FINISHED);
    assert_null(seen.answer);
    free(answer);
    dedup_free(dedup);
}

static void what_is_dropped_is_as_if_it_had_not_come(void **state)
{
    struct dedup *dedup = begin();
    struct dedup_stats stats;
    uint32_t number = run(dedup, "1");

    dedup_drop(dedup, number);
    dedup_drop(dedup, number);
    dedup_finish(dedup, number, 0, "late", 4);
    assert_int_equal(state_of(dedup, 0, "1"), DEDUP_STATE_NEW);
    dedup_get_stats(dedup, &stats);
    assert_int_equal(stats.n, 0);
    assert_int_equal(stats.bytes, 0);
    dedup_free(dedup);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_runs_is_known_and_so_is_its_answer),
        cmocka_unit_test(operation_id_and_content_tell_requests_apart),
        cmocka_unit_test(the_oldest_finished_one_makes_room_but_never_one_that_runs),
        cmocka_unit_test(answers_are_bounded_in_bytes),
        cmocka_unit_test(an_answer_that_is_too_long_is_not_kept_but_the_request_is),
        cmocka_unit_test(what_is_dropped_is_as_if_it_had_not_come),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
