/* TLS: who is trusted, and what people are told when not. */
#include "helper_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the ones above */
#include <cmocka.h>

struct tls_fixture {
    struct world world;
    struct broker broker;
    char ca[96], other_ca[96], certificate[96], key[96];
};

static void make_ca(struct broker *broker, const char *name)
{
    char command[512];

    snprintf(command, sizeof command,
             "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 "
             "-keyout %s.key -out %s.pem -subj /CN=%s",
             name, name, name);
    broker_shell(broker, command);
}

static void make_certificate(struct broker *broker, const char *name, const char *alt_name)
{
    char command[1024];

    snprintf(command, sizeof command,
             "openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout %s.key "
             "-out %s.csr -subj /CN=%s && echo subjectAltName=%s >%s.cnf && "
             "openssl x509 -req -in %s.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 "
             "-extfile %s.cnf -out %s.pem",
             name, name, name, alt_name, name, name, name, name);
    broker_shell(broker, command);
}

static int setup(void **state)
{
    struct tls_fixture *f = calloc(1, sizeof *f);

    world_init(&f->world);
    broker_init(&f->broker);
    make_ca(&f->broker, "ca");
    make_ca(&f->broker, "other");
    make_certificate(&f->broker, "server", "DNS:localhost");
    make_certificate(&f->broker, "client", "DNS:client");
    snprintf(f->ca, sizeof f->ca, "%s/ca.pem", f->broker.dir);
    snprintf(f->other_ca, sizeof f->other_ca, "%s/other.pem", f->broker.dir);
    snprintf(f->certificate, sizeof f->certificate, "%s/client.pem", f->broker.dir);
    snprintf(f->key, sizeof f->key, "%s/client.key", f->broker.dir);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct tls_fixture *f = *state;

    world_done(&f->world);
    broker_done(&f->broker);
    free(f);
    return 0;
}

#define SERVER \
    "allow_anonymous true\ncafile %s/ca.pem\ncertfile %s/server.pem\nkeyfile %s/server.key\n"

static struct member *add(struct tls_fixture *f, const char *host, const char *ca, uint8_t protocol)
{
    struct member *member = world_add(&f->world, "gw", f->broker.port, protocol);

    member->settings.transport = MQTT_TRANSPORT_TLS;
    member->settings.host = (char *)host;
    member->settings.tls_ca = (char *)ca;
    member_start(member, NULL, NULL);
    return member;
}

static void a_broker_with_the_right_name_and_a_trusted_certificate_is_accepted(void **state)
{
    struct tls_fixture *f = *state;
    struct member *member;

    broker_start(&f->broker, SERVER);
    for (uint8_t protocol = 4; protocol <= 5; protocol++) {
        member = add(f, "localhost", f->ca, protocol);
        run_until(&f->world, 10, member->up);
        assert_int_equal(member->n_down, 0);
        member_listen(member, "t");
        member_publish(member, 1, "t", "x", 1, false);
        run_until(&f->world, 10, member->n_messages == 1 && member->n_published == 1);
        member_stop(member);
        member_free(member);
    }
}

/* Two libraries with the same names, both loaded, as after a reload. */
static void connections_with_and_without_tls_do_not_disturb_each_other(void **state)
{
    struct tls_fixture *f = *state;
    struct broker plain;
    struct member *members[3];

    broker_init(&plain);
    broker_start(&plain, ANONYMOUS);
    broker_start(&f->broker, SERVER);
    members[0] = world_connect(&f->world, "first", plain.port, 5);
    members[1] = add(f, "localhost", f->ca, 5);
    run_until(&f->world, 10, members[1]->up);
    members[2] = world_connect(&f->world, "second", plain.port, 4);
    for (unsigned i = 0; i < 3; i++) {
        member_listen(members[i], "t");
        member_publish(members[i], 1, i == 1 ? "t" : "t/plain", "x", 1, false);
    }
    member_publish(members[0], 2, "t", "y", 1, false);
    run_until(&f->world, 10, members[1]->n_messages == 1 && members[2]->n_messages == 1);
    assert_string_equal(members[1]->messages[0].payload, "x");
    assert_string_equal(members[2]->messages[0].payload, "y");
    for (unsigned i = 0; i < 3; i++) {
        member_stop(members[i]);
        member_free(members[i]);
    }
    broker_done(&plain);
}

static void a_certificate_for_another_name_is_refused(void **state)
{
    struct tls_fixture *f = *state;
    struct member *member;

    broker_start(&f->broker, SERVER);
    member = add(f, "127.0.0.1", f->ca, 5);
    run_until(&f->world, 10, member->n_down > 1);
    assert_int_equal(member->n_up, 0);
    assert_non_null(strstr(member->text, "its certificate is not for this host name"));
}

static void a_certificate_of_another_authority_is_refused(void **state)
{
    struct tls_fixture *f = *state;
    struct member *member;

    broker_start(&f->broker, SERVER);
    member = add(f, "localhost", f->other_ca, 5);
    run_until(&f->world, 10, member->n_down > 1);
    assert_int_equal(member->n_up, 0);
    assert_string_equal(member->reason, "tls");
    assert_non_null(strstr(member->text, "certificate verify failed"));
}

static void without_a_ca_file_the_system_s_are_trusted_and_no_others(void **state)
{
    struct tls_fixture *f = *state;
    struct member *member;

    broker_start(&f->broker, SERVER);
    member = add(f, "localhost", NULL, 5);
    run_until(&f->world, 10, member->n_down > 0);
    assert_int_equal(member->n_up, 0);
    assert_string_equal(member->reason, "tls");
}

static void a_missing_file_is_named(void **state)
{
    struct tls_fixture *f = *state;
    struct member *member;

    broker_start(&f->broker, SERVER);
    member = add(f, "localhost", "/nonexistent/ca.pem", 5);
    run_until(&f->world, 10, member->n_down > 0);
    assert_string_equal(member->reason, "tls");
    assert_non_null(strstr(member->text, "No such file"));
}

static void a_client_certificate_is_shown_where_the_broker_wants_one(void **state)
{
    struct tls_fixture *f = *state;
    struct member *member;

    broker_start(&f->broker, SERVER "require_certificate true\nuse_identity_as_username true\n");
    member = add(f, "localhost", f->ca, 4);
    run_until(&f->world, 10, member->n_down > 0);
    assert_int_equal(member->n_up, 0);
    member_free(member);

    member = world_add(&f->world, "gw", f->broker.port, 5);
    member->settings.transport = MQTT_TRANSPORT_TLS;
    member->settings.host = (char *)"localhost";
    member->settings.tls_ca = f->ca;
    member->settings.tls_certificate = f->certificate;
    member->settings.tls_key = f->key;
    member_start(member, NULL, NULL);
    run_until(&f->world, 10, member->up);
}

static void web_sockets_over_tls_work(void **state)
{
    struct tls_fixture *f = *state;
    struct member *member;
    uint16_t port = free_port();
    char config[512];

    snprintf(config, sizeof config,
             "allow_anonymous true\nlistener %u 127.0.0.1\nsocket_domain ipv4\n"
             "protocol websockets\ncertfile %s/server.pem\nkeyfile %s/server.key\n",
             port, f->broker.dir, f->broker.dir);
    broker_start(&f->broker, config);
    member = world_add(&f->world, "gw", port, 5);
    member->settings.transport = MQTT_TRANSPORT_WSS;
    member->settings.host = (char *)"localhost";
    member->settings.path = (char *)"mqtt";
    member->settings.tls_ca = f->ca;
    member_start(member, NULL, NULL);
    run_until(&f->world, 10, member->up);
}

static void plain_mqtt_to_a_tls_port_is_explained(void **state)
{
    struct tls_fixture *f = *state;
    struct member *member;

    broker_start(&f->broker, SERVER);
    member = world_add(&f->world, "gw", f->broker.port, 5);
    member_start(member, NULL, NULL);
    run_until(&f->world, 10, member->n_down > 0);
    assert_string_equal(member->reason, "refused");
    assert_non_null(strstr(member->text, "TLS"));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(a_broker_with_the_right_name_and_a_trusted_certificate_is_accepted),
        TEST(connections_with_and_without_tls_do_not_disturb_each_other),
        TEST(a_certificate_for_another_name_is_refused),
        TEST(a_certificate_of_another_authority_is_refused),
        TEST(without_a_ca_file_the_system_s_are_trusted_and_no_others),
        TEST(a_missing_file_is_named),
        TEST(a_client_certificate_is_shown_where_the_broker_wants_one),
        TEST(web_sockets_over_tls_work),
        TEST(plain_mqtt_to_a_tls_port_is_explained),
    };

    if (argc == 2)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
