/*
 * Values at QoS 0, which go into the socket beside Paho (connection.h): in order with what goes
 * Paho's way, whatever the broker does meanwhile.
 */
#include "helper_world.h"

#include <dirent.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the ones above */
#include <cmocka.h>

static unsigned n_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned n = 0;

    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

/* `number`, filled up to `length` */
static void publish_number(struct member *member, unsigned number, size_t length, uint8_t qos)
{
    char *payload = malloc(length + 1);

    memset(payload, '.', length);
    payload[snprintf(payload, length, "%06u", number)] = '.';
    payload[length] = '\0';
    member_publish(member, number, "n", payload, qos, false);
    free(payload);
}

static void assert_in_order(const struct member *listener, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        assert_int_equal(strtol(listener->messages[i].payload, NULL, 10), i + 1);
}

/* The listener comes second, so that the first one's socket is the only one and found. */
static void connect_two(struct fixture *f, uint8_t protocol, struct member **member,
                        struct member **listener)
{
    broker_start(&f->broker, ANONYMOUS "max_queued_messages 0\n");
    *member = world_connect(&f->world, "gw", f->broker.port, protocol);
    *listener = world_connect(&f->world, "listener", f->broker.port, 4);
    mqtt_client_execute((*listener)->client, &(struct action){.type = ACTION_TOPIC_SUBSCRIBE,
                                                              .topic = {.filter = "n", .qos = 0}});
    run_until(&f->world, 10, (*listener)->n_subscribed == 1);
}

#define N 400

static void both_ways_keep_the_order(struct fixture *f, uint8_t protocol)
{
    struct member *member, *listener;

    connect_two(f, protocol, &member, &listener);
    for (unsigned i = 1; i <= N; i++) {
        size_t length = i % 7 == 0 ? 5000 : 20 + i; /* the long ones go Paho's way */
        publish_number(member, i, length, i % 11 == 0);
        if (i % 20 == 0) /* so that Paho has answered all, and they go beside it again */
            run_until(&f->world, 10, member->n_published == i);
    }
    run_until(&f->world, 10, listener->n_messages == N && member->n_published == N);
    assert_in_order(listener, N);
    assert_int_equal(member->n_down, 0);
}

static void both_ways_keep_the_order_with_3_1_1(void **state)
{
    both_ways_keep_the_order(*state, 4);
}

static void both_ways_keep_the_order_with_5(void **state)
{
    both_ways_keep_the_order(*state, 5);
}

/* More than the sockets hold of packets that would go beside Paho. */
static void a_pause_of_the_broker_loses_nothing(void **state)
{
    struct fixture *f = *state;
    struct member *member, *listener;

    connect_two(f, 5, &member, &listener);
    kill(f->broker.pid, SIGSTOP);
    for (unsigned i = 1; i <= 6000; i++)
        publish_number(member, i, 1900, 0);
    kill(f->broker.pid, SIGCONT);
    run_until(&f->world, 30, listener->n_messages == 6000 && member->n_published == 6000);
    assert_in_order(listener, 6000);
    assert_int_equal(member->n_down, 0);
}

static void a_lost_connection_takes_its_descriptor_along(void **state)
{
    struct fixture *f = *state;
    struct member *member;
    unsigned before = 0, token = 0;

    broker_start(&f->broker, ANONYMOUS);
    member = world_connect(&f->world, "gw", f->broker.port, 5);
    for (unsigned i = 0; i < 2; i++) {
        unsigned n_up = member->n_up;
        member_publish(member, ++token, "a", "good", 0, false);
        run_until(&f->world, 10, member_answer(member, token));
        if (i == 0)
            before = n_descriptors();
        broker_kill(&f->broker);
        for (unsigned k = 0; k < 10; k++) /* nobody has told the client yet */
            member_publish(member, ++token, "a", "late", 0, false);
        run_until(&f->world, 10, !member->up);
        broker_restart(&f->broker);
        run_until(&f->world, 20, member->n_up == n_up + 1);
    }
    member_publish(member, ++token, "a", "good", 0, false);
    run_until(&f->world, 10, member_answer(member, token));
    assert_int_equal(n_descriptors(), before);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
        TEST(both_ways_keep_the_order_with_3_1_1),
        TEST(both_ways_keep_the_order_with_5),
        TEST(a_pause_of_the_broker_loses_nothing),
        TEST(a_lost_connection_takes_its_descriptor_along),
    };

    if (argc == 2)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
