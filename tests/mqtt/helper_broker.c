#include "helper_broker.h"

#include <errno.h>
#include <ftw.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
/* cmocka wants the ones above */
#include <cmocka.h>

static struct sockaddr_in loopback(uint16_t port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET,
        .sin_port = htons(port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
}

static int bound_socket(uint16_t *ret_port)
{
    struct sockaddr_in address = loopback(0);
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    *ret_port = ntohs(address.sin_port);
    return fd;
}

uint16_t free_port(void)
{
    uint16_t port;

    close(bound_socket(&port));
    return port;
}

int deaf_listener(bool full, uint16_t *ret_port, int filler[2])
{
    int fd = bound_socket(ret_port);
    struct sockaddr_in address = loopback(*ret_port);

    filler[0] = filler[1] = -1;
    assert_int_equal(listen(fd, full ? 0 : 16), 0);
    for (int i = 0; full && i < 2; i++) {
        filler[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (connect(filler[i], (struct sockaddr *)&address, sizeof address) < 0)
            assert_int_equal(errno, EINPROGRESS);
    }
    return fd;
}

static bool answers(uint16_t port)
{
    struct sockaddr_in address = loopback(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool connected = connect(fd, (struct sockaddr *)&address, sizeof address) == 0;

    close(fd);
    return connected;
}

static void write_config(const struct broker *broker)
{
    char path[128];
    FILE *file;

    snprintf(path, sizeof path, "%s/mosquitto.conf", broker->dir);
    file = fopen(path, "we");
    assert_non_null(file);
    /* started as root it would change to a user that cannot read the directory */
    fprintf(file, "user root\npersistence false\nlog_dest file %s/log\nlog_type all\n",
            broker->dir);
    fprintf(file, "per_listener_settings false\nlistener %u 127.0.0.1\n", broker->port);
    for (const char *c = broker->config; *c; c++) {
        if (c[0] == '%' && c[1] == 's') {
            fputs(broker->dir, file);
            c++;
        } else {
            fputc(*c, file);
        }
    }
    fputc('\n', file);
    fclose(file);
}

static pid_t spawn(const struct broker *broker)
{
    char path[128];
    pid_t pid;

    snprintf(path, sizeof path, "%s/mosquitto.conf", broker->dir);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (!freopen("/dev/null", "w", stderr)) /* it is in the log, too */
            _exit(126);
        execlp("mosquitto", "mosquitto", "-c", path, (char *)NULL);
        execl("/usr/sbin/mosquitto", "mosquitto", "-c", path, (char *)NULL);
        _exit(127);
    }
    return pid;
}

/* true when it answers, false when it ended (the port was taken meanwhile, or a bad config) */
static bool wait_until_ready(const struct broker *broker)
{
    const struct timespec pause = {.tv_nsec = 10 * 1000 * 1000};

    for (int i = 0; i < 2000; i++) {
        if (waitpid(broker->pid, NULL, WNOHANG) == broker->pid)
            return false;
        if (answers(broker->port))
            return true;
        nanosleep(&pause, NULL);
    }
    fail_msg("mosquitto does not answer");
    return false;
}

void broker_init(struct broker *broker)
{
    *broker = (struct broker){0};
    strcpy(broker->dir, "/tmp/gatt2mqtt-mqtt-XXXXXX");
    assert_non_null(mkdtemp(broker->dir));
}

void broker_start(struct broker *broker, const char *config)
{
    broker->config = strdup(config);
    for (int i = 0; i < 5; i++) {
        broker->port = free_port();
        write_config(broker);
        broker->pid = spawn(broker);
        if (wait_until_ready(broker))
            return;
    }
    broker->pid = 0;
    fail_msg("mosquitto does not start");
}

void broker_kill(struct broker *broker)
{
    if (broker->pid == 0)
        return;
    kill(broker->pid, SIGKILL);
    waitpid(broker->pid, NULL, 0);
    broker->pid = 0;
}

void broker_restart(struct broker *broker)
{
    broker->pid = spawn(broker);
    assert_true(wait_until_ready(broker));
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

void broker_done(struct broker *broker)
{
    broker_kill(broker);
    nftw(broker->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free(broker->config);
    broker->config = NULL;
}

void broker_shell(struct broker *broker, const char *command)
{
    char *line;

    assert_true(asprintf(&line, "cd %s && { %s; } >shell.log 2>&1", broker->dir, command) > 0);
    if (system(line) != 0)
        fail_msg("failed: %s", line);
    free(line);
}
