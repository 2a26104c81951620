/* Who asks how the gateway is gets one sentence, whatever is in the way. */
#include "app/health.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-event.h>
#include <unistd.h>
/* cmocka wants the ones above */
#include <cmocka.h>

static sd_event *event;
static struct health *health;
static char directory[80];
static struct sockaddr_un address;

static int setup(void **state)
{
    const char *parent = getenv("TMPDIR");

    snprintf(directory, sizeof(directory), "%s/health.XXXXXX", parent ? parent : "/tmp");
    if (!mkdtemp(directory) || setenv("RUNTIME_DIRECTORY", directory, 1) < 0)
        return -1;
    return health_address(directory, &address) < 0 || sd_event_new(&event) < 0 ? -1 : 0;
}

static int teardown(void **state)
{
    health = health_free(health);
    sd_event_unref(event);
    return rmdir(directory); /* the socket is gone, too */
}

static int ask(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static void expect(int fd, const char *answer)
{
    char buf[HEALTH_ANSWER_MAX + 1];

    assert_true(sd_event_run(event, 1000000) > 0);
    ssize_t n = recv(fd, buf, sizeof(buf) - 1, 0);
    assert_true(n >= 0);
    buf[n] = '\0';
    assert_string_equal(buf, answer);
    assert_int_equal(recv(fd, buf, sizeof(buf), 0), 0); /* and that is all */
    close(fd);
}

static void each_who_asks_hears_the_newest_sentence(void **state)
{
    health_new(event, &health);
    assert_non_null(health);
    expect(ask(), "starting\n");
    health_set(health, "1 of 2 devices online");
    health_set(health, "2 of 2 devices online");
    int first = ask(), second = ask();
    expect(first, "2 of 2 devices online\n");
    expect(second, "2 of 2 devices online\n");
}

static void a_sentence_too_long_is_cut(void **state)
{
    char sentence[2 * HEALTH_ANSWER_MAX], answer[HEALTH_ANSWER_MAX];

    memset(sentence, 'x', sizeof(sentence) - 1);
    sentence[sizeof(sentence) - 1] = '\0';
    memset(answer, 'x', sizeof(answer) - 2);
    memcpy(answer + sizeof(answer) - 2, "\n", 2);
    health_new(event, &health);
    health_set(health, sentence);
    expect(ask(), answer);
}

static void who_has_left_or_talks_disturbs_nobody(void **state)
{
    health_new(event, &health);
    close(ask());
    int loud = ask();
    assert_int_equal(send(loud, "GET / HTTP/1.1\r\n", 16, 0), 16);
    int fd = ask();
    for (int i = 0; i < 2; i++)
        assert_true(sd_event_run(event, 1000000) > 0);
    expect(fd, "starting\n");
    close(loud);
}

static void what_a_killed_gateway_left_is_replaced(void **state)
{
    int left = socket(AF_UNIX, SOCK_STREAM, 0);

    assert_int_equal(bind(left, (struct sockaddr *)&address, sizeof(address)), 0);
    close(left);
    health_new(event, &health);
    assert_non_null(health);
    expect(ask(), "starting\n");
}

static void another_gateways_socket_stays_its_own(void **state)
{
    struct health *other = NULL;

    health_new(event, &health);
    health_new(event, &other);
    assert_null(other);
    assert_true(sd_event_run(event, 1000000) > 0); /* it had knocked */
    expect(ask(), "starting\n");
}

static void without_a_directory_nobody_can_ask(void **state)
{
    unsetenv("RUNTIME_DIRECTORY");
    health_new(event, &health);
    assert_null(health);
    health_set(health, "x");
    setenv("RUNTIME_DIRECTORY", "/proc/nowhere", 1); /* cannot be written */
    health_new(event, &health);
    assert_null(health);
}

static void a_directory_is_absolute_short_and_the_first_of_its_list(void **state)
{
    char longest[sizeof(address.sun_path)];
    struct sockaddr_un at;

    assert_int_equal(health_address("run/x", &at), -EINVAL);
    assert_int_equal(health_address("/run/a:/run/b", &at), 0);
    assert_string_equal(at.sun_path, "/run/a/health");
    memset(longest, 'd', sizeof(longest));
    longest[0] = '/';
    longest[sizeof(longest) - sizeof("/" HEALTH_SOCKET)] = '\0';
    assert_int_equal(health_address(longest, &at), 0);
    assert_int_equal(strlen(at.sun_path), sizeof(at.sun_path) - 1);
    longest[sizeof(longest) - sizeof("/" HEALTH_SOCKET)] = 'd';
    longest[sizeof(longest) - sizeof("/" HEALTH_SOCKET) + 1] = '\0';
    assert_int_equal(health_address(longest, &at), -ENAMETOOLONG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_who_asks_hears_the_newest_sentence, setup, teardown),
        cmocka_unit_test_setup_teardown(a_sentence_too_long_is_cut, setup, teardown),
        cmocka_unit_test_setup_teardown(who_has_left_or_talks_disturbs_nobody, setup, teardown),
        cmocka_unit_test_setup_teardown(what_a_killed_gateway_left_is_replaced, setup, teardown),
        cmocka_unit_test_setup_teardown(another_gateways_socket_stays_its_own, setup, teardown),
        cmocka_unit_test_setup_teardown(without_a_directory_nobody_can_ask, setup, teardown),
        cmocka_unit_test(a_directory_is_absolute_short_and_the_first_of_its_list),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
