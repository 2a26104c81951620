/*
 * A connection attempt that hangs delays nobody: neither the loop, nor the end of the process. The
 * resolver of this program is the test's own (Paho calls it like everybody), so that a name server
 * that does not answer needs no network.
 */
#include "helper_world.h"

#include <dlfcn.h>
#include <netdb.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
/* cmocka wants the ones above */
#include <cmocka.h>

#define SLOW_NAME "slow.test"

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    unsigned asked, answered; /* attempts to resolve SLOW_NAME */
    bool answer;              /* let them go on: with 127.0.0.1 */
} resolver = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **result)
{
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **) =
        dlsym(RTLD_NEXT, "getaddrinfo");

    if (!node || strcmp(node, SLOW_NAME) != 0)
        return real(node, service, hints, result);
    pthread_mutex_lock(&resolver.mutex);
    resolver.asked++;
    while (!resolver.answer)
        pthread_cond_wait(&resolver.changed, &resolver.mutex);
    resolver.answered++;
    pthread_cond_broadcast(&resolver.changed);
    pthread_mutex_unlock(&resolver.mutex);
    return real("127.0.0.1", service, hints, result);
}

static unsigned n_asked(void)
{
    pthread_mutex_lock(&resolver.mutex);
    unsigned n = resolver.asked;
    pthread_mutex_unlock(&resolver.mutex);
    return n;
}

static void let_resolver_answer(bool answer)
{
    pthread_mutex_lock(&resolver.mutex);
    resolver.answer = answer;
    pthread_cond_broadcast(&resolver.changed);
    /* one that slept on would be caught by the next false, and hold Paho's lock for ever */
    while (answer && resolver.answered < resolver.asked)
        pthread_cond_wait(&resolver.changed, &resolver.mutex);
    pthread_mutex_unlock(&resolver.mutex);
}

static int setup(void **state)
{
    let_resolver_answer(false);
    return fixture_setup(state);
}

static int teardown(void **state)
{
    let_resolver_answer(true);
    return fixture_teardown(state);
}

/* Turns the loop for 3 s and fails if one turn, of which 100 ms are waiting, took too long (what
 * hangs here hangs for ever, so there is room for a busy machine). */
static void the_loop_turns(struct world *world)
{
    world_arm(world, 3);
    for (bool more = true; more;) {
        uint64_t before = monotonic_ms();
        more = world_turn(world);
        assert_in_range(monotonic_ms() - before, 0, 1000);
    }
}

static void stop_and_free_are_quick(struct member *member)
{
    uint64_t before = monotonic_ms();

    member_publish(member, 1, "dropped", "x", 1, false);
    member_stop(member);
    member_free(member);
    assert_in_range(monotonic_ms() - before, 0, 1000);
}

static void a_name_server_that_does_not_answer_blocks_nothing(void **state)
{
    struct fixture *f = *state;
    struct member *member = world_add(&f->world, "gw", free_port(), 5);
    unsigned before = n_asked();

    member->settings.host = (char *)SLOW_NAME;
    member_start(member, NULL, NULL);
    run_until(&f->world, 10, n_asked() > before);
    the_loop_turns(&f->world);
    stop_and_free_are_quick(member);
}

static void a_listener_that_never_accepts_blocks_nothing(void **state)
{
    struct fixture *f = *state;
    uint16_t port;
    int filler[2], fd = deaf_listener(true, &port, filler);
    struct member *member = world_add(&f->world, "gw", port, 5);

    member_start(member, NULL, NULL);
    the_loop_turns(&f->world);
    assert_int_equal(member->n_up + member->n_down, 0);
    stop_and_free_are_quick(member);
    close(fd);
    close(filler[0]);
    close(filler[1]);
}

static void a_listener_that_never_answers_blocks_nothing(void **state)
{
    struct fixture *f = *state;
    uint16_t port;
    int filler[2], fd = deaf_listener(false, &port, filler);
    struct member *member = world_add(&f->world, "gw", port, 4);

    member_start(member, NULL, NULL);
    the_loop_turns(&f->world);
    assert_int_equal(member->n_up + member->n_down, 0);
    stop_and_free_are_quick(member);
    close(fd);
}

static void a_listener_that_never_answers_is_reported_in_time(void **state)
{
    struct fixture *f = *state;
    uint16_t port;
    int filler[2], fd = deaf_listener(false, &port, filler);
    struct member *member = world_add(&f->world, "gw", port, 4);

    member_start(member, NULL, NULL);
    run_until(&f->world, 30, member->n_down == 1);
    assert_string_equal(member->reason, "unreachable");
    assert_non_null(strstr(member->text, "no answer"));
    close(fd);
}

static bool log_says(struct broker *broker, const char *what)
{
    char command[256];

    snprintf(command, sizeof command, "grep -q '%s' %s/log", what, broker->dir);
    return system(command) == 0;
}

static void an_attempt_that_succeeds_after_we_left_is_ended(void **state)
{
    struct fixture *f = *state;
    unsigned before = n_asked();

    broker_start(&f->broker, "allow_anonymous true\n");
    struct member *member = world_add(&f->world, "late", f->broker.port, 5);
    member->settings.host = (char *)SLOW_NAME;
    member_start(member, NULL, NULL);
    run_until(&f->world, 10, n_asked() > before);
    member_free(member);
    let_resolver_answer(true);
    run_until(&f->world, 20, log_says(&f->broker, "Received DISCONNECT from late"));
}

static void a_client_made_later_connects_although_one_was_left_behind(void **state)
{
    struct fixture *f = *state;

    broker_start(&f->broker, "allow_anonymous true\n");
    struct member *member = world_connect(&f->world, "gw", f->broker.port, 5);
    assert_int_equal(member->n_down, 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(a_name_server_that_does_not_answer_blocks_nothing),
        TEST(a_listener_that_never_accepts_blocks_nothing),
        TEST(a_listener_that_never_answers_blocks_nothing),
        TEST(a_listener_that_never_answers_is_reported_in_time),
        TEST(an_attempt_that_succeeds_after_we_left_is_ended),
        TEST(a_client_made_later_connects_although_one_was_left_behind),
    };

    if (argc == 2)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
