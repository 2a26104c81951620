/* gatt2mqtt health: asks the gateway that runs here how it is. For people, and for health checks.
 */
#include "app/health.h"
#include "cli/cli.h"
#include "util/cleanup.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define DEFAULT_DIRECTORY "/run/gatt2mqtt"
/* a loop that takes longer hangs: it promises never to block */
#define ANSWER_TIMEOUT_S 3

static int ask(const struct sockaddr_un *address, char *answer, size_t size)
{
    struct timeval limit = {.tv_sec = ANSWER_TIMEOUT_S};
    size_t n = 0;
    int r = 0;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -errno;
    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) < 0 ||
        connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0)
        r = -errno;
    while (r == 0 && n < size - 1) {
        ssize_t got = recv(fd, answer + n, size - 1 - n, 0);
        if (got < 0)
            r = errno == EAGAIN ? -ETIMEDOUT : -errno;
        if (got <= 0)
            break;
        n += (size_t)got;
    }
    close(fd);
    answer[n] = '\0';
    if (r == 0 && (n == 0 || answer[n - 1] != '\n'))
        r = -EPIPE; /* it ended in the middle */
    return r;
}

static int fail(const char *path, int r)
{
    if (r == -ENOENT || r == -ECONNREFUSED)
        fprintf(stderr,
                "gatt2mqtt health: no gateway answers at %s (it listens there if RUNTIME_DIRECTORY "
                "is set for it, as by the systemd unit and the container image)\n",
                path);
    else if (r == -ETIMEDOUT || r == -EAGAIN)
        fprintf(stderr, "gatt2mqtt health: the gateway at %s does not answer within %d s\n", path,
                ANSWER_TIMEOUT_S);
    else
        fprintf(stderr, "gatt2mqtt health: %s: %s\n", path, strerror(-r));
    return CLI_FAILED;
}

int cmd_health(const struct cli_options *options, int argc, char **argv)
{
    const char *directories = getenv("RUNTIME_DIRECTORY");
    char answer[HEALTH_ANSWER_MAX + 1];
    struct sockaddr_un address;

    if (argc > 1 && (strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0)) {
        puts("Usage: gatt2mqtt health\n"
             "Asks the gateway that runs on this machine, or in this container, how it is, by the\n"
             "socket in $RUNTIME_DIRECTORY, else " DEFAULT_DIRECTORY ". Success: it answered.");
        return CLI_OK;
    }
    if (argc > 1) {
        fprintf(stderr, "gatt2mqtt health: takes no argument, got '%s'\n", argv[1]);
        return CLI_USAGE;
    }
    if (!directories || !*directories)
        directories = DEFAULT_DIRECTORY;
    int r = health_address(directories, &address);
    if (r < 0)
        return fail(directories, r);
    r = ask(&address, answer, sizeof(answer));
    if (r < 0)
        return fail(address.sun_path, r);
    fputs(answer, stdout);
    return CLI_OK;
}
