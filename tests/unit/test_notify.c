/* What the service manager is told, whether it reads or not. */
#include "app/notify.h"

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
static struct notify *notify;
static int manager;

static int setup(void **state)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    socklen_t length = sizeof(address);
    char name[sizeof(address.sun_path) + 1];

    manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    /* an abstract name that nobody has: autobind, unix(7) */
    if (manager < 0 ||
        bind(manager, (struct sockaddr *)&address, offsetof(struct sockaddr_un, sun_path)) < 0 ||
        getsockname(manager, (struct sockaddr *)&address, &length) < 0)
        return -1;
    size_t n = length - offsetof(struct sockaddr_un, sun_path);
    memcpy(name, address.sun_path, n);
    name[0] = '@';
    name[n] = '\0';
    setenv("NOTIFY_SOCKET", name, 1);
    return sd_event_new(&event) < 0 ? -1 : notify_new(event, &notify);
}

static int teardown(void **state)
{
    notify = notify_free(notify);
    sd_event_unref(event);
    close(manager);
    return 0;
}

static void expect(const char *text)
{
    char buf[256];
    ssize_t n = recv(manager, buf, sizeof(buf) - 1, 0);

    assert_true(n >= 0);
    buf[n] = '\0';
    assert_string_equal(buf, text);
}

static void expect_none(void)
{
    char byte;

    assert_int_equal(recv(manager, &byte, 1, 0), -1);
}

static unsigned fill_queue(void)
{
    unsigned n = 0;

    for (;; n++) {
        int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
        struct sockaddr_un address;
        socklen_t length = sizeof(address);
        assert_int_equal(getsockname(manager, (struct sockaddr *)&address, &length), 0);
        ssize_t sent = sendto(fd, "x", 1, 0, (struct sockaddr *)&address, length);
        close(fd);
        if (sent < 0)
            return n;
    }
}

static void what_is_said_arrives_at_once(void **state)
{
    notify_state(notify, "READY=1");
    notify_status(notify, "all is well");
    expect("READY=1");
    expect("STATUS=all is well");
    expect_none();
}

static void a_manager_that_does_not_read_blocks_nothing_and_gets_the_newest_status_later(
    void **state)
{
    unsigned n = fill_queue();

    assert_true(n > 0);
    notify_state(notify, "RELOADING=1");
    notify_state(notify, "READY=1");
    for (unsigned i = 0; i < 100; i++) {
        char sentence[32];
        snprintf(sentence, sizeof(sentence), "%u devices", i);
        notify_status(notify, sentence);
    }
    assert_int_equal(sd_event_run(event, 0), 0); /* no room: nothing to do, and no busy loop */
    for (unsigned i = 0; i < n; i++)
        expect("x");
    expect_none();
    assert_true(sd_event_run(event, 1000000) > 0);
    expect("RELOADING=1");
    expect("READY=1");
    expect("STATUS=99 devices");
    expect_none();
}

static void a_manager_that_has_gone_is_no_reason_to_fail(void **state)
{
    close(manager);
    notify_state(notify, "STOPPING=1");
    notify_status(notify, "leaving");
    assert_int_equal(sd_event_run(event, 0), 0);
    manager = -1;
}

static void without_a_manager_there_is_nobody_to_tell(void **state)
{
    struct notify *none = NULL;

    unsetenv("NOTIFY_SOCKET");
    assert_int_equal(notify_new(event, &none), 0);
    assert_null(none);
    notify_state(none, "READY=1");
    notify_status(none, "x");
    notify_free(none);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(what_is_said_arrives_at_once),
        TEST(a_manager_that_does_not_read_blocks_nothing_and_gets_the_newest_status_later),
        TEST(a_manager_that_has_gone_is_no_reason_to_fail),
        TEST(without_a_manager_there_is_nobody_to_tell),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
