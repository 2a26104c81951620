/* The MQTT client against a real Mosquitto: what it promises to the core and to the user. */
#include "helper_world.h"

#include "mqtt/connection.h"
#include <dirent.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
/* cmocka wants the ones above */
#include <cmocka.h>

static void connects_with_mqtt_3_1_1_and_5(void **state)
{
    struct fixture *f = *state;
    struct member *old, *new;

    broker_start(&f->broker, ANONYMOUS);
    old = world_connect(&f->world, "old", f->broker.port, 4);
    new = world_connect(&f->world, "new", f->broker.port, 5);
    assert_int_equal(old->window, 20);
    assert_int_equal(new->window, 20);
    assert_int_equal(old->n_down + new->n_down, 0);
    member_stop(old);
    member_stop(new);
    assert_int_equal(old->n_down + new->n_down, 0);
    broker_shell(&f->broker, "grep 'as old (p2, c1, k30' log && grep 'as new (p5, c1, k30' log && "
                             "grep 'Received DISCONNECT from old' log && "
                             "grep 'Received DISCONNECT from new' log");
}

static void messages_arrive_in_order_and_each_token_is_answered_once(void **state)
{
    struct fixture *f = *state;
    uint8_t protocols[] = {4, 5};

    broker_start(&f->broker, ANONYMOUS);
    for (size_t p = 0; p < ARRAY_SIZE(protocols); p++) {
        struct member *listener = world_connect(&f->world, "listener", f->broker.port, 4);
        struct member *member = world_connect(&f->world, "gw", f->broker.port, protocols[p]);

        member_listen(listener, "t/#");
        for (unsigned i = 1; i <= 15; i++) {
            char topic[16], payload[16];
            snprintf(topic, sizeof topic, "t/%u", i % 3);
            snprintf(payload, sizeof payload, "%u", i);
            member_publish(member, i, topic, payload, i % 2, false);
        }
        run_until(&f->world, 10, listener->n_messages == 15 && member->n_published == 15);
        for (unsigned i = 1; i <= 15; i++) {
            assert_int_equal(atoi(listener->messages[i - 1].payload), i);
            assert_int_equal(listener->messages[i - 1].qos, i % 2);
            assert_non_null(member_answer(member, i));
            assert_true(member_answer(member, i)->ok);
        }
        member_free(member);
        member_free(listener);
    }
}

static void token_0_wants_no_answer(void **state)
{
    struct fixture *f = *state;
    struct member *member;

    broker_start(&f->broker, ANONYMOUS);
    member = world_connect(&f->world, "gw", f->broker.port, 5);
    member_publish(member, 0, "a", "1", 1, false);
    member_publish(member, 0, "a", "2", 0, false);
    member_publish(member, 7, "a", "3", 1, false);
    run_until(&f->world, 10, member_answer(member, 7));
    assert_int_equal(member->n_published, 1);
}

static void patient_answers_come_in_passing_or_with_an_urgent_one(void **state)
{
    struct fixture *f = *state;
    struct member *member;

    broker_start(&f->broker, ANONYMOUS);
    member = world_connect(&f->world, "gw", f->broker.port, 5);
    for (unsigned i = 1; i <= 5; i++) {
        struct action action = {.type = ACTION_PUBLISH,
                                .publish = {.token = i,
                                            .patient = true,
                                            .topic = "a",
                                            .payload = "1",
                                            .length = 1,
                                            .qos = i % 2}};
        mqtt_client_execute(member->client, &action);
    }
    world_arm(&f->world, 10);
    while (member->n_published < 5 && world_turn(&f->world)) /* one comes by in each turn */
        mqtt_client_collect(member->client);
    assert_int_equal(member->n_published, 5);

    struct action action = {
        .type = ACTION_PUBLISH,
        .publish = {.token = 6, .patient = true, .topic = "a", .payload = "1", .length = 1}};
    mqtt_client_execute(member->client, &action);
    member_publish(member, 7, "a", "2", 1, false);
    run_until(&f->world, 10, member_answer(member, 7));
    assert_non_null(member_answer(member, 6));
}

/* What the core's outbox does: the next message when one is acknowledged. */
struct pump {
    unsigned window, sent, acknowledged, total;
    bool patient; /* nobody comes by: half a window must do to go on */
};

static void pump_send(struct member *member)
{
    struct pump *pump = member->hook_data;

    while (pump->sent < pump->total && pump->sent - pump->acknowledged < pump->window) {
        char payload[16];
        snprintf(payload, sizeof payload, "%u", ++pump->sent);
        struct action action = {.type = ACTION_PUBLISH,
                                .publish = {.token = pump->sent,
                                            .patient = pump->patient,
                                            .topic = "t",
                                            .payload = payload,
                                            .length = strlen(payload),
                                            .qos = 1}};
        mqtt_client_execute(member->client, &action);
    }
}

static void pump_hook(struct member *member, const struct event *event)
{
    struct pump *pump = member->hook_data;

    if (event->type == EVENT_PUBLISHED && event->published.ok)
        pump->acknowledged++;
    pump_send(member);
}

static void pump_2000(struct fixture *f, uint8_t protocol, const char *config, unsigned window,
                      bool patient)
{
    struct pump pump = {.total = 2000, .patient = patient};
    struct member *listener, *member;
    uint64_t start;

    broker_start(&f->broker, config);
    listener = world_connect(&f->world, "listener", f->broker.port, 4);
    member_listen(listener, "t");
    member = world_connect(&f->world, "gw", f->broker.port, protocol);
    assert_int_equal(member->window, window);
    pump.window = window;
    member->hook_data = &pump;
    member->hook = pump_hook;
    start = monotonic_ms();
    pump_send(member);
    /* with Paho's own flow control these would take 100 s and 2000 s */
    run_until(&f->world, 20,
              listener->n_messages == 2000 &&
                  pump.acknowledged >= (patient ? 2000 - window / 2 : 2000));
    print_message("2000 at QoS 1, window %u: %u ms\n", window, (unsigned)(monotonic_ms() - start));
    for (unsigned i = 0; i < 2000; i++)
        assert_int_equal(atoi(listener->messages[i].payload), i + 1);
    member->hook = NULL;
}

static void two_thousand_messages_flow_without_stalling(void **state)
{
    pump_2000(*state, 5, ANONYMOUS "max_queued_messages 0\n", 20, false);
}

static void two_thousand_messages_flow_with_3_1_1(void **state)
{
    pump_2000(*state, 4, ANONYMOUS "max_queued_messages 0\n", 20, false);
}

static void a_broker_that_takes_one_message_at_a_time_gets_one_at_a_time(void **state)
{
    pump_2000(*state, 5, ANONYMOUS "max_inflight_messages 1\nmax_queued_messages 0\n", 1, false);
}

static void two_thousand_patient_messages_flow_without_stalling(void **state)
{
    pump_2000(*state, 5, ANONYMOUS "max_queued_messages 0\n", 20, true);
}

static void patient_messages_go_on_where_one_is_taken_at_a_time(void **state)
{
    pump_2000(*state, 5, ANONYMOUS "max_inflight_messages 1\nmax_queued_messages 0\n", 1, true);
}

static void retained_messages_are_marked_and_live_ones_are_not(void **state)
{
    struct fixture *f = *state;
    struct member *member;

    broker_start(&f->broker, ANONYMOUS);
    member = world_connect(&f->world, "gw", f->broker.port, 5);
    member_publish(member, 1, "cmd/set", "old", 1, true);
    run_until(&f->world, 10, member_answer(member, 1));
    member_listen(member, "cmd/+");
    run_until(&f->world, 10, member->n_messages == 1);
    assert_true(member->messages[0].retained);
    assert_string_equal(member->messages[0].payload, "old");
    member_publish(member, 2, "cmd/set", "new", 1, true);
    run_until(&f->world, 10, member->n_messages == 2);
    assert_false(member->messages[1].retained);
    assert_string_equal(member->messages[1].payload, "new");
}

static void unsubscribing_ends_the_messages(void **state)
{
    struct fixture *f = *state;
    struct member *member;

    broker_start(&f->broker, ANONYMOUS);
    member = world_connect(&f->world, "gw", f->broker.port, 4);
    member_listen(member, "a");
    member_listen(member, "b");
    mqtt_client_execute(member->client, &(struct action){.type = ACTION_TOPIC_UNSUBSCRIBE,
                                                         .topic = {.filter = "a"}});
    member_publish(member, 1, "a", "1", 1, false);
    member_publish(member, 2, "b", "2", 1, false);
    run_until(&f->world, 10, member->n_messages > 0 && member_answer(member, 2));
    assert_int_equal(member->n_messages, 1);
    assert_string_equal(member->messages[0].topic, "b");
}

static void a_wrong_password_is_named_and_never_shown(void **state)
{
    struct fixture *f = *state;
    uint8_t protocols[] = {4, 5};

    broker_shell(&f->broker, "touch pw && chmod 600 pw && mosquitto_passwd -b pw gw secret");
    broker_start(&f->broker, "allow_anonymous false\npassword_file %s/pw\n");
    for (size_t p = 0; p < ARRAY_SIZE(protocols); p++) {
        struct member *member = world_add(&f->world, "gw", f->broker.port, protocols[p]);
        member->settings.username = (char *)"gw";
        member->settings.password = (char *)"hunter2";
        member_start(member, NULL, NULL);
        run_until(&f->world, 10, member->n_down > 0);
        assert_string_equal(member->reason, "not_authorized"); /* what Mosquitto says */
        assert_non_null(strstr(member->text, "password"));
        assert_null(strstr(member->text, "hunter2"));
        member->settings.password = (char *)"secret";
        run_until(&f->world, 10, member->up);
        member_free(member);
    }
}

static void a_broker_without_retain_or_qos_1_is_reached_all_the_same(void **state)
{
    struct fixture *f = *state;

    broker_start(&f->broker, ANONYMOUS "retain_available false\nmax_qos 0\n");
    struct member *member = world_add(&f->world, "gw", f->broker.port, 5);
    member_start(member, "lab/will", "offline");
    run_until(&f->world, 20, member->up);
}

static void a_poison_topic_is_refused_and_the_connection_stays(void **state)
{
    static const char *const topics[] = {"", "a/#", "a/+/b", "a\tb", "a\xff"};
    struct fixture *f = *state;
    struct member *member;
    char deep[512];

    broker_start(&f->broker, ANONYMOUS);
    member = world_connect(&f->world, "gw", f->broker.port, 5);
    for (unsigned i = 0; i < ARRAY_SIZE(topics); i++)
        member_publish(member, i + 1, topics[i], "x", 1, false);
    memset(deep, '/', 201);
    deep[201] = '\0';
    member_publish(member, 6, deep, "x", 0, false);
    assert_int_equal(member->n_published, 0); /* never from inside execute */
    member_subscribe(member, "a/#/b");
    member_publish(member, 7, "fine", "x", 1, false);
    run_until(&f->world, 10, member->n_published == 7 && member->n_refused == 1);
    for (unsigned i = 1; i <= 6; i++)
        assert_false(member_answer(member, i)->ok);
    assert_true(member_answer(member, 7)->ok);
    assert_int_equal(member->n_down, 0);
}

static void a_packet_larger_than_the_broker_takes_is_refused_and_the_connection_stays(void **state)
{
    struct fixture *f = *state;
    struct member *member;
    char payload[1001];

    broker_start(&f->broker, ANONYMOUS "max_packet_size 1000\n");
    member = world_connect(&f->world, "gw", f->broker.port, 5);
    assert_int_equal(member->max_packet, 1000);
    memset(payload, 'x', 1000);
    payload[990] = '\0'; /* 1 + 2 + 2 + 1 + 2 + 1 + 990 = 999 */
    member_publish(member, 1, "t", payload, 1, false);
    payload[990] = 'x';
    payload[991] = '\0';
    member_publish(member, 2, "t", payload, 1, false);
    payload[991] = 'x';
    payload[992] = '\0';
    member_publish(member, 3, "t", payload, 1, false);
    run_until(&f->world, 10, member->n_published == 3);
    assert_true(member_answer(member, 1)->ok);
    assert_true(member_answer(member, 2)->ok);
    assert_false(member_answer(member, 3)->ok);
    assert_int_equal(member_answer(member, 3)->code, 0x95);
    member_publish(member, 4, "t", "x", 1, false);
    run_until(&f->world, 10, member_answer(member, 4));
    assert_int_equal(member->n_down, 0);
}

static void the_broker_s_refusal_of_one_message_is_answered(void **state)
{
    struct fixture *f = *state;
    struct member *member;

    broker_shell(&f->broker, "echo 'topic write good/#' >acl && chmod 600 acl");
    broker_start(&f->broker, ANONYMOUS "acl_file %s/acl\n");
    member = world_connect(&f->world, "gw", f->broker.port, 5);
    member_publish(member, 1, "bad/x", "x", 1, false);
    member_publish(member, 2, "good/x", "x", 1, false);
    run_until(&f->world, 10, member->n_published == 2);
    assert_false(member_answer(member, 1)->ok);
    assert_int_equal(member_answer(member, 1)->code, 0x87);
    assert_true(member_answer(member, 2)->ok);
    assert_int_equal(member->n_down, 0);
}

static void an_incoming_message_that_is_too_long_is_dropped_and_the_next_arrives(void **state)
{
    struct fixture *f = *state;
    uint8_t protocols[] = {4, 5};

    broker_start(&f->broker, ANONYMOUS);
    for (size_t p = 0; p < ARRAY_SIZE(protocols); p++) {
        struct member *member = world_connect(&f->world, "gw", f->broker.port, protocols[p]);
        member_listen(member, "in");
        char *payload = malloc(MQTT_MAX_PACKET + 1);
        memset(payload, 'x', MQTT_MAX_PACKET);
        payload[MQTT_MAX_PACKET] = '\0';
        member_publish(member, 1, "in", payload, 1, false);
        payload[MQTT_MAX_PAYLOAD + 1] = '\0';
        member_publish(member, 2, "in", payload, 1, false);
        payload[MQTT_MAX_PAYLOAD] = '\0';
        member_publish(member, 3, "in", payload, 1, false);
        free(payload);
        run_until(&f->world, 20, member->n_messages == 1 && member->n_published == 3);
        assert_int_equal(member->messages[0].length, MQTT_MAX_PAYLOAD);
        assert_int_equal(member->n_down, 0);
        member_free(member);
    }
}

static void mqtt_5_requests_carry_response_topic_correlation_and_expiry(void **state)
{
    struct fixture *f = *state;
    struct member *member;
    char command[512];

    broker_start(&f->broker, ANONYMOUS);
    member = world_connect(&f->world, "gw", f->broker.port, 5);
    member_listen(member, "request");
    snprintf(
        command, sizeof command,
        "mosquitto_pub -V 5 -p %u -t request -m hello -q 1 -D publish response-topic my/answer "
        "-D publish correlation-data c0ffee -D publish message-expiry-interval 77",
        f->broker.port);
    broker_shell(&f->broker, command);
    run_until(&f->world, 10, member->n_messages == 1);
    assert_string_equal(member->messages[0].response_topic, "my/answer");
    assert_int_equal(member->messages[0].correlation_length, 6);
    assert_memory_equal(member->messages[0].correlation, "c0ffee", 6);
    assert_true(member->messages[0].has_expiry);
    assert_in_range(member->messages[0].expiry_s, 70, 77);

    /* and back: binary, with a NUL inside */
    member_listen(member, "my/answer");
    mqtt_client_execute(member->client, &(struct action){.type = ACTION_PUBLISH,
                                                         .publish = {.token = 1,
                                                                     .topic = "my/answer",
                                                                     .payload = "ok",
                                                                     .length = 2,
                                                                     .qos = 1,
                                                                     .expiry_s = 33,
                                                                     .correlation = "a\0b",
                                                                     .correlation_length = 3}});
    run_until(&f->world, 10, member->n_messages == 2);
    assert_null(member->messages[1].response_topic);
    assert_int_equal(member->messages[1].correlation_length, 3);
    assert_memory_equal(member->messages[1].correlation, "a\0b", 3);
    assert_int_equal(member->messages[1].expiry_s, 33);
}

static void small_messages_do_not_wait_for_acknowledgements_of_tcp(void **state)
{
    struct fixture *f = *state;
    unsigned found = 0;
    DIR *dir;

    broker_start(&f->broker, ANONYMOUS);
    world_connect(&f->world, "gw", f->broker.port, 4);
    dir = opendir("/proc/self/fd");
    for (struct dirent *entry; (entry = readdir(dir));) {
        struct sockaddr_in peer = {0};
        socklen_t length = sizeof peer;
        int fd = atoi(entry->d_name), on = 0;
        socklen_t on_length = sizeof on;
        if (getpeername(fd, (struct sockaddr *)&peer, &length) < 0 || peer.sin_family != AF_INET ||
            ntohs(peer.sin_port) != f->broker.port)
            continue;
        assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, &on_length), 0);
        assert_true(on);
        found++;
    }
    closedir(dir);
    assert_int_equal(found, 2); /* Paho's and ours, of one socket */
}

static void reconnect(struct member *member)
{
    mqtt_client_set_settings(member->client, &member->settings);
    mqtt_client_execute(member->client, &(struct action){.type = ACTION_RECONNECT});
}

static void other_settings_are_connected_with_at_once_and_in_order(void **state)
{
    struct fixture *f = *state;
    struct member *listener, *member;

    broker_start(&f->broker, ANONYMOUS);
    listener = world_connect(&f->world, "listener", f->broker.port, 4);
    member_listen(listener, "t");
    member = world_connect(&f->world, "before", f->broker.port, 5);
    member->settings.client_id = (char *)"after";
    member->settings.protocol = 4;
    member_publish(member, 1, "t", "goodbye", 1, true);
    reconnect(member);
    member_publish(member, 2, "t", "too late", 1, false);
    run_until(&f->world, 10, member->n_up == 2);
    assert_int_equal(member->n_down, 1);
    assert_true(member->was_up);
    member_publish(member, 3, "t", "hello", 1, false);
    run_until(&f->world, 10, listener->n_messages == 2 && member_answer(member, 3));
    assert_string_equal(listener->messages[0].payload, "goodbye");
    assert_string_equal(listener->messages[1].payload, "hello");
    broker_shell(&f->broker, "grep 'as before (p5' log && grep 'as after (p2' log && "
                             "grep 'Received DISCONNECT from before' log");
}

static void other_settings_end_a_backoff(void **state)
{
    struct fixture *f = *state;
    struct member *member;

    broker_start(&f->broker, ANONYMOUS);
    member = world_add(&f->world, "gw", free_port(), 5); /* nobody is there */
    member_start(member, NULL, NULL);
    run_until(&f->world, 30, member->n_down == 4);
    member->settings.port = f->broker.port;
    uint64_t start = monotonic_ms();
    reconnect(member);
    run_until(&f->world, 10, member->up);
    assert_true(monotonic_ms() - start < 3000); /* after the fourth failure: 3.2 s and more */
}

static void web_sockets_work(void **state)
{
    struct fixture *f = *state;
    struct member *member;

    /* this Mosquitto wants a plain listener besides */
    uint16_t port = free_port();
    char config[256];
    snprintf(config, sizeof config,
             ANONYMOUS "listener %u 127.0.0.1\nsocket_domain ipv4\nprotocol websockets\n", port);
    broker_start(&f->broker, config);
    member = world_add(&f->world, "gw", port, 5);
    member->settings.transport = MQTT_TRANSPORT_WS;
    member->settings.path = (char *)"/mqtt";
    member_start(member, NULL, NULL);
    run_until(&f->world, 10, member->up);
    member_listen(member, "t");
    member_publish(member, 1, "t", "x", 1, false);
    run_until(&f->world, 10, member->n_messages == 1);
}

static bool has_ipv6(void)
{
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool bound = fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0;

    if (fd >= 0)
        close(fd);
    return bound;
}

static void ipv6_works(void **state)
{
    struct fixture *f = *state;
    struct member *member;
    uint16_t port = free_port();
    char config[256];

    if (!has_ipv6())
        skip();
    snprintf(config, sizeof config, ANONYMOUS "listener %u ::1\n", port);
    broker_start(&f->broker, config);
    member = world_add(&f->world, "gw", port, 5);
    member->settings.host = (char *)"::1";
    member_start(member, NULL, NULL);
    run_until(&f->world, 10, member->up);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
        TEST(connects_with_mqtt_3_1_1_and_5),
        TEST(messages_arrive_in_order_and_each_token_is_answered_once),
        TEST(token_0_wants_no_answer),
        TEST(patient_answers_come_in_passing_or_with_an_urgent_one),
        TEST(two_thousand_patient_messages_flow_without_stalling),
        TEST(patient_messages_go_on_where_one_is_taken_at_a_time),
        TEST(two_thousand_messages_flow_without_stalling),
        TEST(two_thousand_messages_flow_with_3_1_1),
        TEST(a_broker_that_takes_one_message_at_a_time_gets_one_at_a_time),
        TEST(retained_messages_are_marked_and_live_ones_are_not),
        TEST(unsubscribing_ends_the_messages),
        TEST(a_wrong_password_is_named_and_never_shown),
        TEST(a_broker_without_retain_or_qos_1_is_reached_all_the_same),
        TEST(a_poison_topic_is_refused_and_the_connection_stays),
        TEST(a_packet_larger_than_the_broker_takes_is_refused_and_the_connection_stays),
        TEST(the_broker_s_refusal_of_one_message_is_answered),
        TEST(an_incoming_message_that_is_too_long_is_dropped_and_the_next_arrives),
        TEST(mqtt_5_requests_carry_response_topic_correlation_and_expiry),
        TEST(small_messages_do_not_wait_for_acknowledgements_of_tcp),
        TEST(other_settings_are_connected_with_at_once_and_in_order),
        TEST(other_settings_end_a_backoff),
        TEST(web_sockets_work),
        TEST(ipv6_works),
    };

    if (argc == 2) /* those that match, e.g. '*retained*' */
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
