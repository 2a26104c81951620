/* A TCP socket found among the descriptors, and written to whole packets at a time. */
#include "mqtt/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
/* cmocka wants the ones above */
#include <cmocka.h>

struct line {
    int listener, ours, theirs;
    uint16_t port;
};

static int connect_to(uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    return fd;
}

static int setup(void **state)
{
    static struct line line;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;

    line.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(line.listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(getsockname(line.listener, (struct sockaddr *)&address, &length), 0);
    assert_int_equal(listen(line.listener, 4), 0);
    line.port = ntohs(address.sin_port);
    line.ours = connect_to(line.port);
    line.theirs = accept4(line.listener, NULL, NULL, SOCK_CLOEXEC);
    assert_true(line.theirs >= 0);
    *state = &line;
    return 0;
}

static int teardown(void **state)
{
    struct line *line = *state;

    close(line->listener);
    close(line->ours);
    close(line->theirs);
    return 0;
}

static void the_only_one_is_found_and_does_not_wait_any_more(void **state)
{
    struct line *line = *state;
    struct stat theirs, ours;
    int fd, on = 0;
    socklen_t length = sizeof on;

    assert_int_equal(socket_tune(line->port, &fd), 1);
    assert_true(fd >= 0 && fd != line->ours);
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    assert_int_equal(fstat(fd, &theirs), 0);
    assert_int_equal(fstat(line->ours, &ours), 0);
    assert_int_equal(theirs.st_ino, ours.st_ino);
    assert_int_equal(getsockopt(line->ours, IPPROTO_TCP, TCP_NODELAY, &on, &length), 0);
    assert_true(on);
    close(fd);
}

/* Which of two would be the right one, nobody can say; nor is a small buffer good for it. */
static void where_there_is_doubt_there_is_no_descriptor(void **state)
{
    struct line *line = *state;
    int fd, size = 1024, other = connect_to(line->port);

    assert_int_equal(socket_tune(line->port, &fd), 2);
    assert_int_equal(fd, -1);
    close(other);
    assert_int_equal(setsockopt(line->ours, SOL_SOCKET, SO_SNDBUF, &size, sizeof size), 0);
    assert_int_equal(socket_tune(line->port, &fd), 1);
    assert_int_equal(fd, -1);
    assert_int_equal(socket_tune(1, &fd), 0);
    assert_int_equal(fd, -1);
}

static void what_does_not_fit_is_left_out_whole(void **state)
{
    struct line *line = *state;
    char packet[SOCKET_SEND_MAX + 1], got[sizeof packet];
    size_t n = 0, n_bytes = 0;
    int r;

    memset(packet, 'x', sizeof packet);
    assert_int_equal(socket_send(line->ours, packet, sizeof packet), -EAGAIN);
    while ((r = socket_send(line->ours, packet, 1000)) == 0)
        n++;
    assert_int_equal(r, -EAGAIN);
    assert_true(n > 4);
    /* the library's own packets still have room */
    assert_int_equal(send(line->ours, packet, 100, MSG_DONTWAIT), 100);
    close(line->ours);
    for (ssize_t length; (length = read(line->theirs, got, sizeof got)) > 0;)
        n_bytes += (size_t)length;
    assert_int_equal(n_bytes, n * 1000 + 100);
    line->ours = -1;
}

static void a_broken_connection_is_an_error_and_no_signal(void **state)
{
    struct line *line = *state;
    int fd;

    assert_int_equal(socket_tune(line->port, &fd), 1);
    /* as Paho does when it gives up a connection; its number may be somebody else's now */
    assert_int_equal(shutdown(line->ours, SHUT_WR), 0);
    close(line->ours);
    int r = socket_send(fd, "x", 1);
    assert_true(r < 0);
    assert_int_equal(read(line->theirs, &(char){0}, 1), 0);
    close(fd);
    line->ours = -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(the_only_one_is_found_and_does_not_wait_any_more),
        TEST(where_there_is_doubt_there_is_no_descriptor),
        TEST(what_does_not_fit_is_left_out_whole),
        TEST(a_broken_connection_is_an_error_and_no_signal),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
