/* What the control socket promises: an answer for each line, however the bytes come; a file that
 * nobody listens on is no obstacle, one that somebody does is left alone. */
#include "sim/control_socket.h"

#include "yaml/diag.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include <cmocka.h>

static const char house[] = "peripherals:\n"
                            "  lamp:\n"
                            "    address: \"C8:00:00:00:00:03\"\n"
                            "    address_type: random\n"
                            "    services:\n"
                            "      - uuid: 0x1815\n"
                            "        characteristics:\n"
                            "          - { id: power, uuid: 0x2A56, properties: [write] }\n";

struct fixture {
    char dir[64], path[80];
    sd_event *event;
    struct sim_world *world;
    struct control_socket *socket;
};

static const struct control_ops no_ops = {0};

static uint64_t no_time(void *user)
{
    return 0;
}

static int listen_at(struct fixture *f, struct control_socket **ret_socket)
{
    struct control_socket_options options = {
        .event = f->event, .path = f->path, .world = f->world, .ops = &no_ops, .now = no_time};

    return control_socket_new(&options, ret_socket);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    const char *tmp = getenv("TMPDIR");
    struct diags diags;

    assert_non_null(f);
    snprintf(f->dir, sizeof(f->dir), "%s/control.XXXXXX", tmp && strlen(tmp) < 40 ? tmp : "/tmp");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->path, sizeof(f->path), "%s/socket", f->dir);
    assert_true(sd_event_new(&f->event) >= 0);
    assert_int_equal(diags_init(&diags, "house.yaml"), 0);
    assert_int_equal(sim_world_parse(house, strlen(house), &diags, &f->world), 0);
    diags_done(&diags);
    assert_int_equal(listen_at(f, &f->socket), 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    control_socket_free(f->socket);
    assert_int_equal(access(f->path, F_OK), -1); /* it removes its file */
    rmdir(f->dir);
    sd_event_unref(f->event);
    sim_world_free(f->world);
    free(f);
    return 0;
}

static int dial(struct fixture *f)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    strncpy(address.sun_path, f->path, sizeof(address.sun_path) - 1);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

/* runs the loop until it has nothing to do */
static void settle(struct fixture *f)
{
    while (sd_event_run(f->event, 0) > 0)
        ;
}

static void say(struct fixture *f, int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), 0), strlen(text));
    settle(f);
}

static void assert_heard(int fd, const char *expected)
{
    char buf[256] = "";

    assert_int_equal(recv(fd, buf, sizeof(buf) - 1, MSG_DONTWAIT), strlen(expected));
    assert_string_equal(buf, expected);
}

static void each_line_is_answered_however_the_bytes_come(void **state)
{
    struct fixture *f = *state;
    int one = dial(f), two = dial(f);

    say(f, one, "list\nstate lamp\nst");
    assert_heard(one, "ok lamp\nok advertising\n");
    say(f, two, "list\n");
    assert_heard(two, "ok lamp\n");
    say(f, one, "ate lamp\n");
    assert_heard(one, "ok advertising\n");
    close(one);
    settle(f);
    say(f, two, "list\n");
    assert_heard(two, "ok lamp\n");
    close(two);
}

static void overlong_line_is_refused_and_the_next_one_works(void **state)
{
    struct fixture *f = *state;
    char line[CONTROL_MAX_LINE + 3];
    int fd = dial(f);

    memset(line, 'x', sizeof(line));
    strcpy(line + CONTROL_MAX_LINE + 1, "\n");
    say(f, fd, line);
    assert_heard(fd, "error the line is too long\n");
    say(f, fd, "list\n");
    assert_heard(fd, "ok lamp\n");
    close(fd);
}

static void long_answer_arrives_whole(void **state)
{
    struct fixture *f = *state;
    struct sim_characteristic *c = sim_peripheral_find(&f->world->peripherals[0], "power");
    uint8_t value[GATT_VALUE_MAX] = {0};
    size_t expected = strlen("ok\n"), heard = 0;
    char buf[65536];
    int fd = dial(f);
    ssize_t n;

    for (unsigned i = 0; i < 2000; i++, expected += strlen(" request:") + 2 * sizeof(value))
        assert_int_equal(sim_characteristic_write(c, value, sizeof(value), false), 0);
    say(f, fd, "writes lamp power\n");
    while ((n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT)) > 0) {
        heard += (size_t)n;
        settle(f);
    }
    assert_int_equal(heard, expected);
    close(fd);
}

static void one_more_client_than_there_is_room_for_is_hung_up_on(void **state)
{
    struct fixture *f = *state;
    int fds[CONTROL_MAX_CLIENTS + 1];
    char c;

    for (unsigned i = 0; i < ARRAY_SIZE(fds); i++) {
        fds[i] = dial(f);
        settle(f);
    }
    assert_int_equal(recv(fds[CONTROL_MAX_CLIENTS], &c, 1, MSG_DONTWAIT), 0);
    say(f, fds[CONTROL_MAX_CLIENTS - 1], "list\n");
    assert_heard(fds[CONTROL_MAX_CLIENTS - 1], "ok lamp\n");
    for (unsigned i = 0; i < ARRAY_SIZE(fds); i++)
        close(fds[i]);
}

static void socket_of_a_living_one_is_left_alone(void **state)
{
    struct fixture *f = *state;
    struct control_socket *second = NULL;

    assert_int_equal(listen_at(f, &second), -EADDRINUSE);
    settle(f);
    int fd = dial(f);
    say(f, fd, "list\n");
    assert_heard(fd, "ok lamp\n");
    close(fd);
}

static void socket_that_a_killed_one_left_is_replaced(void **state)
{
    struct fixture *f = *state;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int left = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    f->socket = control_socket_free(f->socket);
    strncpy(address.sun_path, f->path, sizeof(address.sun_path) - 1);
    assert_int_equal(bind(left, (struct sockaddr *)&address, sizeof(address)), 0);
    close(left);
    assert_int_equal(listen_at(f, &f->socket), 0);
    int fd = dial(f);
    say(f, fd, "list\n");
    assert_heard(fd, "ok lamp\n");
    close(fd);
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(each_line_is_answered_however_the_bytes_come),
        TEST(overlong_line_is_refused_and_the_next_one_works),
        TEST(long_answer_arrives_whole),
        TEST(one_more_client_than_there_is_room_for_is_hung_up_on),
        TEST(socket_of_a_living_one_is_left_alone),
        TEST(socket_that_a_killed_one_left_is_replaced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
