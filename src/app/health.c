/* One sentence to each who connects; see health.h. Reads nothing that a client sends. */
#include "app/health.h"

#include "util/cleanup.h"
#include "util/log.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#define BACKLOG 8

struct health {
    int fd;                     /* owned; listens, or -1 */
    sd_event_source *source;    /* owned */
    struct sockaddr_un address; /* bound */
    bool is_bound;
    char sentence[HEALTH_ANSWER_MAX];
};

int health_address(const char *directories, struct sockaddr_un *ret_address)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int length = (int)strcspn(directories, ":");

    if (directories[0] != '/')
        return -EINVAL;
    int n = snprintf(address.sun_path, sizeof(address.sun_path), "%.*s/" HEALTH_SOCKET, length,
                     directories);
    if (n < 0 || (size_t)n >= sizeof(address.sun_path))
        return -ENAMETOOLONG;
    *ret_address = address;
    return 0;
}

static int on_client(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
    struct health *health = userdata;
    int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (client < 0)
        return 0; /* it did not wait */
    /* a new socket's buffer takes it whole; who does not read it has no answer */
    if (send(client, health->sentence, strlen(health->sentence), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        log_debug("app", "nobody waits for the answer about health: %s", strerror(errno));
    close(client);
    return 0;
}

/* What a process that was killed has left is in the way; what another one listens on is not ours.
 */
static int bind_to(int fd, const struct sockaddr_un *address)
{
    const struct sockaddr *name = (const struct sockaddr *)address;

    if (bind(fd, name, sizeof(*address)) == 0)
        return 0;
    if (errno != EADDRINUSE)
        return -errno;
    int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (probe < 0)
        return -errno;
    bool is_alive = connect(probe, name, sizeof(*address)) == 0 || errno != ECONNREFUSED;
    close(probe);
    if (is_alive)
        return -EADDRINUSE;
    if (unlink(address->sun_path) < 0 || bind(fd, name, sizeof(*address)) < 0)
        return -errno;
    return 0;
}

static int listen_at(struct health *health, struct sd_event *event, const char *directories)
{
    int r = health_address(directories, &health->address);

    if (r < 0)
        return r;
    health->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (health->fd < 0)
        return -errno;
    r = bind_to(health->fd, &health->address);
    if (r < 0)
        return r;
    health->is_bound = true;
    if (listen(health->fd, BACKLOG) < 0)
        return -errno;
    r = sd_event_add_io(event, &health->source, health->fd, EPOLLIN, on_client, health);
    return r < 0 ? r : 0;
}

void health_new(struct sd_event *event, struct health **ret_health)
{
    const char *directories = getenv("RUNTIME_DIRECTORY");

    *ret_health = NULL;
    if (!directories || !*directories)
        return;
    struct health *health = calloc(1, sizeof(*health));
    int r = -ENOMEM;
    if (health) {
        health->fd = -1;
        health_set(health, "starting");
        r = listen_at(health, event, directories);
    }
    if (r < 0) {
        log_warning("app", "nobody can ask for the gateway's health in %s: %s", directories,
                    strerror(-r));
        health_free(health);
        return;
    }
    *ret_health = health;
}

struct health *health_free(struct health *health)
{
    if (!health)
        return NULL;
    sd_event_source_disable_unref(health->source);
    if (health->is_bound)
        unlink(health->address.sun_path);
    if (health->fd >= 0)
        close(health->fd);
    free(health);
    return NULL;
}

void health_set(struct health *health, const char *sentence)
{
    if (health)
        snprintf(health->sentence, sizeof(health->sentence), "%.*s\n", HEALTH_ANSWER_MAX - 2,
                 sentence);
}
