/* When the broker goes, pauses, or throws us out; and what others see when we go. */
#include "helper_world.h"

#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
/* cmocka wants the ones above */
#include <cmocka.h>

static void run_for(struct world *world, unsigned seconds)
{
    world_arm(world, seconds);
    while (world_turn(world))
        ;
}

static void the_connection_comes_back_by_itself_after_the_broker_was_killed(void **state)
{
    struct fixture *f = *state;
    struct member *member;

    broker_start(&f->broker, ANONYMOUS);
    member = world_connect(&f->world, "gw", f->broker.port, 5);
    broker_kill(&f->broker);
    run_until(&f->world, 10, !member->up);
    assert_true(member->was_up);
    assert_string_equal(member->reason, "lost");
    run_until(&f->world, 10, member->n_down >= 2);
    assert_false(member->was_up);
    assert_string_equal(member->reason, "unreachable");
    broker_restart(&f->broker);
    run_until(&f->world, 20, member->up);
    member_listen(member, "x");
    member_publish(member, 9, "x", "again", 1, false);
    run_until(&f->world, 10, member->n_messages == 1);
}

#define LONG_PAYLOAD 60000

/* More than the sockets hold, so that a part stays in Paho's queue. */
static void publish_much(struct member *member, uint8_t qos, unsigned n)
{
    char *payload = malloc(LONG_PAYLOAD + 1);

    memset(payload, 'x', LONG_PAYLOAD);
    payload[LONG_PAYLOAD] = '\0';
    for (unsigned i = 1; i <= n; i++)
        member_publish(member, i, "much", payload, qos, true);
    free(payload);
}

/* What was handed over and never answered is the outbox's to send again: the client must neither
 * report it as refused nor send it by itself later. */
static void what_the_broker_did_not_take_is_neither_answered_nor_sent_later(void **state)
{
    struct fixture *f = *state;
    struct member *member, *listener;

    broker_start(&f->broker, ANONYMOUS);
    member = world_connect(&f->world, "gw", f->broker.port, 5);
    kill(f->broker.pid, SIGSTOP);
    publish_much(member, 0, 256);
    for (unsigned i = 1001; i <= 1020; i++)
        member_publish(member, i, "stale", "x", 1, true);
    broker_kill(&f->broker);
    run_until(&f->world, 10, !member->up);
    for (size_t i = 0; i < member->n_published; i++) { /* QoS 0: what the kernel took */
        assert_true(member->published[i].ok);
        assert_in_range(member->published[i].token, 1, 255);
    }
    size_t n_published = member->n_published;
    broker_restart(&f->broker);
    run_until(&f->world, 20, member->up);
    listener = world_connect(&f->world, "listener", f->broker.port, 4);
    member_publish(member, 2000, "fresh", "x", 1, true);
    run_until(&f->world, 10, member_answer(member, 2000));
    member_listen(listener, "#");
    run_until(&f->world, 10, listener->n_messages > 0);
    assert_string_equal(listener->messages[0].topic, "fresh");
    assert_int_equal(listener->n_messages, 1);
    assert_int_equal(member->n_published, n_published + 1);
}

static void every_message_is_answered_when_the_broker_pauses(void **state)
{
    struct fixture *f = *state;
    struct member *member;

    broker_start(&f->broker, ANONYMOUS);
    member = world_connect(&f->world, "gw", f->broker.port, 5);
    kill(f->broker.pid, SIGSTOP);
    publish_much(member, 0, 256);
    for (unsigned i = 1001; i <= 1020; i++)
        member_publish(member, i, "more", "x", 1, false);
    run_for(&f->world, 1); /* the kernel takes what it can */
    assert_in_range(member->n_published, 0, 255);
    kill(f->broker.pid, SIGCONT);
    run_until(&f->world, 30, member->n_published == 276);
    for (size_t i = 0; i < member->n_published; i++)
        assert_true(member->published[i].ok);
    assert_int_equal(member->n_down, 0);
}

/* Mosquitto 2.0 does not say that somebody took over, others do. */
struct scripted_broker {
    sd_event *event;
    sd_event_source *listen, *client;
    unsigned n_connects;
    const char *answer; /* to CONNECT */
    size_t length;
    bool closes;    /* after it */
    uint8_t suback; /* the reason code for each SUBSCRIBE */
};

static int on_scripted_data(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
    struct scripted_broker *broker = userdata;
    char buf[512];
    ssize_t n = read(fd, buf, sizeof buf);

    if (n <= 0) {
        broker->client = sd_event_source_disable_unref(broker->client);
    } else if (buf[0] == 0x10) {
        broker->n_connects++;
        assert_int_equal(write(fd, broker->answer, broker->length), broker->length);
        if (broker->closes)
            broker->client = sd_event_source_disable_unref(broker->client);
    } else if ((uint8_t)buf[0] == 0x82) { /* the packet identifier is in bytes 2 and 3 */
        char suback[] = {(char)0x90, 4, buf[2], buf[3], 0, (char)broker->suback};
        assert_int_equal(write(fd, suback, sizeof suback), sizeof suback);
    }
    return 0;
}

static int on_scripted_accept(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
    struct scripted_broker *broker = userdata;
    int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

    assert_true(client >= 0);
    sd_event_source_disable_unref(broker->client);
    assert_true(sd_event_add_io(broker->event, &broker->client, client, EPOLLIN, on_scripted_data,
                                broker) >= 0);
    sd_event_source_set_io_fd_own(broker->client, 1);
    return 0;
}

static uint16_t scripted_broker_start(struct scripted_broker *broker, sd_event *event)
{
    uint16_t port;
    int filler[2], fd = deaf_listener(false, &port, filler);

    broker->event = event;
    assert_true(sd_event_add_io(event, &broker->listen, fd, EPOLLIN, on_scripted_accept, broker) >=
                0);
    sd_event_source_set_io_fd_own(broker->listen, 1);
    return port;
}

static void scripted_broker_done(struct scripted_broker *broker)
{
    sd_event_source_disable_unref(broker->client);
    sd_event_source_disable_unref(broker->listen);
}

static void a_client_that_took_over_our_id_is_left_alone_the_second_time(void **state)
{
    struct fixture *f = *state;
    struct scripted_broker broker = {.answer = "\x20\x03\x00\x00\x00\xe0\x02\x8e\x00", .length = 9};
    struct member *member =
        world_add(&f->world, "same", scripted_broker_start(&broker, f->world.event), 5);

    member_start(member, NULL, NULL);
    run_until(&f->world, 10, member->n_down > 0);
    assert_string_equal(member->reason, "taken_over");
    assert_non_null(strstr(member->text, "same client id \"same\""));
    assert_null(strstr(member->text, "again"));
    /* once may be anything: it comes back soon */
    run_until(&f->world, 5, member->n_down > 1);
    assert_non_null(strstr(member->text, "again"));
    run_for(&f->world, 5);
    assert_int_equal(broker.n_connects, 2);
    assert_int_equal(member->n_up, 2);
    scripted_broker_done(&broker);
}

static void a_refused_subscription_is_reported(void **state)
{
    struct fixture *f = *state;
    struct scripted_broker broker = {.answer = "\x20\x03\x00\x00\x00", .length = 5, .suback = 0x87};
    struct member *member =
        world_add(&f->world, "gw", scripted_broker_start(&broker, f->world.event), 5);

    member_start(member, NULL, NULL);
    run_until(&f->world, 10, member->up);
    member_subscribe(member, "secret/#");
    run_until(&f->world, 10, member->n_refused == 1);
    assert_int_equal(member->n_subscribed, 0);
    scripted_broker_done(&broker);
}

/* As with two gateways that have one id, at a broker that does not tell them. */
static void connections_that_break_at_once_are_tried_less_and_less_and_a_rival_suspected(
    void **state)
{
    static const unsigned at_least_ms[] = {0, 250, 800, 1600, 3200};
    struct fixture *f = *state;
    struct scripted_broker broker = {.answer = "\x20\x03\x00\x00\x00", .length = 5, .closes = true};
    struct member *member =
        world_add(&f->world, "same", scripted_broker_start(&broker, f->world.event), 5);
    uint64_t before = 0;

    member_start(member, NULL, NULL);
    for (unsigned i = 0; i < ARRAY_SIZE(at_least_ms); i++) {
        run_until(&f->world, 30, broker.n_connects == i + 1);
        if (i > 0)
            assert_true(monotonic_ms() - before >= at_least_ms[i]);
        run_until(&f->world, 30, member->n_down == i + 1);
        before = monotonic_ms();
        assert_string_equal(member->reason, "lost");
        assert_true((strstr(member->text, "client id \"same\"") != NULL) == (i >= 2));
    }
    scripted_broker_done(&broker);
}

/* The program again, as a client that connects with a will, says so, and waits to be killed. */
static int be_the_client_that_dies(const char *port)
{
    struct world world;
    struct member *member;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    world_init(&world);
    member = world_add(&world, "dying", (uint16_t)atoi(port), 5);
    member_start(member, "dying/status", "offline");
    while (sd_event_run(world.event, UINT64_MAX) >= 0) {
        if (member->up && member->n_published == 0)
            member_publish(member, 1, "dying/status", "online", 1, true);
    }
    return 1;
}

static void the_will_is_published_when_the_process_is_killed(void **state)
{
    struct fixture *f = *state;
    struct member *member;
    char port[8];
    char *argv[] = {(char *)"test_loss", (char *)"--die", port, NULL};
    pid_t pid;

    broker_start(&f->broker, ANONYMOUS);
    snprintf(port, sizeof port, "%u", f->broker.port);
    member = world_connect(&f->world, "listener", f->broker.port, 4);
    member_listen(member, "dying/status");
    assert_int_equal(posix_spawn(&pid, "/proc/self/exe", NULL, NULL, argv, environ), 0);
    run_until(&f->world, 20, member->n_messages > 0);
    assert_string_equal(member->messages[0].payload, "online");
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    run_until(&f->world, 10,
              strcmp(member->messages[member->n_messages - 1].payload, "offline") == 0);
    /* and it is retained */
    struct member *late = world_connect(&f->world, "late", f->broker.port, 4);
    member_listen(late, "dying/status");
    run_until(&f->world, 10, late->n_messages == 1);
    assert_string_equal(late->messages[0].payload, "offline");
    assert_true(late->messages[0].retained);
}

static void a_clean_stop_publishes_what_was_sent_before_and_no_will(void **state)
{
    struct fixture *f = *state;
    struct member *listener, *member;

    broker_start(&f->broker, ANONYMOUS);
    listener = world_connect(&f->world, "listener", f->broker.port, 4);
    member_listen(listener, "status");
    member = world_add(&f->world, "gw", f->broker.port, 5);
    member_start(member, "status", "will");
    run_until(&f->world, 10, member->up);
    member_publish(member, 0, "status", "bye", 1, false);
    member_stop(member);
    member_free(member);
    member = world_connect(&f->world, "end", f->broker.port, 4);
    member_publish(member, 0, "status", "end", 1, false);
    run_until(&f->world, 10, listener->n_messages == 2);
    assert_string_equal(listener->messages[0].payload, "bye");
    assert_string_equal(listener->messages[1].payload, "end");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
        TEST(the_connection_comes_back_by_itself_after_the_broker_was_killed),
        TEST(what_the_broker_did_not_take_is_neither_answered_nor_sent_later),
        TEST(every_message_is_answered_when_the_broker_pauses),
        TEST(a_client_that_took_over_our_id_is_left_alone_the_second_time),
        TEST(a_refused_subscription_is_reported),
        TEST(connections_that_break_at_once_are_tried_less_and_less_and_a_rival_suspected),
        TEST(the_will_is_published_when_the_process_is_killed),
        TEST(a_clean_stop_publishes_what_was_sent_before_and_no_will),
    };

    if (argc == 3 && strcmp(argv[1], "--die") == 0)
        return be_the_client_that_dies(argv[2]);
    if (argc == 2) /* those that match, e.g. '*pauses*' */
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
