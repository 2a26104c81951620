/* Datagrams to $NOTIFY_SOCKET; see notify.h. Must not know what they are about. */
#include "app/notify.h"

#include "util/cleanup.h"
#include "util/err.h"
#include "util/log.h"
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#define STATES_MAX 8

struct notify {
    int fd;                   /* owned; connected, non-blocking */
    sd_event_source *source;  /* owned; on while something waits */
    char *states[STATES_MAX]; /* owned; what waits */
    size_t n_states;
    char *status;              /* owned; what waits, or NULL */
    bool alive;                /* WATCHDOG=1 waits */
    sd_event_source *watchdog; /* owned; NULL: nobody asks for it */
    uint64_t watchdog_us;      /* from one to the next */
};

/* false: there is no room now */
static bool out(struct notify *notify, const char *text)
{
    return send(notify->fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT) >= 0 ||
           (errno != EAGAIN && errno != ENOBUFS); /* whoever is not there hears nothing */
}

static void flush(struct notify *notify)
{
    while (notify->n_states && out(notify, notify->states[0])) {
        free(notify->states[0]);
        memmove(&notify->states[0], &notify->states[1],
                --notify->n_states * sizeof(notify->states[0]));
    }
    if (!notify->n_states && notify->status && out(notify, notify->status)) {
        free(notify->status);
        notify->status = NULL;
    }
    if (notify->alive && out(notify, "WATCHDOG=1"))
        notify->alive = false;
    bool waits = notify->n_states || notify->status || notify->alive;
    sd_event_source_set_enabled(notify->source, waits ? SD_EVENT_ON : SD_EVENT_OFF);
}

static int on_room(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
    flush(userdata);
    return 0;
}

static int on_watchdog(sd_event_source *source, uint64_t usec, void *userdata)
{
    struct notify *notify = userdata;
    int r = sd_event_source_set_time_relative(source, notify->watchdog_us);

    notify->alive = true;
    flush(notify);
    return r < 0 ? r : sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

void notify_state(struct notify *notify, const char *assignments)
{
    if (!notify)
        return;
    char *copy = notify->n_states < STATES_MAX ? strdup(assignments) : NULL;
    if (!copy)
        log_warning("app", "the service manager is not told: %s", assignments);
    else
        notify->states[notify->n_states++] = copy;
    flush(notify);
}

void notify_status(struct notify *notify, const char *sentence)
{
    if (!notify)
        return;
    free(notify->status);
    if (asprintf(&notify->status, "STATUS=%s", sentence) < 0)
        notify->status = NULL;
    flush(notify);
}

/* A path, or a name in the abstract namespace behind an `@`. */
static int connect_to(int fd, const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(name);

    if ((name[0] != '/' && name[0] != '@') || length >= sizeof(address.sun_path))
        return -EINVAL;
    memcpy(address.sun_path, name, length);
    if (name[0] == '@')
        address.sun_path[0] = '\0';
    length += offsetof(struct sockaddr_un, sun_path) + (name[0] == '/');
    return connect(fd, (struct sockaddr *)&address, (socklen_t)length) < 0 ? -errno : 0;
}

static int start_watchdog(sd_event *event, struct notify *notify)
{
    uint64_t allowed_us;
    int r = sd_watchdog_enabled(0, &allowed_us);

    if (r <= 0)
        return r;
    notify->watchdog_us = allowed_us / 2;
    return sd_event_add_time_relative(event, &notify->watchdog, CLOCK_MONOTONIC,
                                      notify->watchdog_us, allowed_us / 8, on_watchdog, notify);
}

int notify_new(struct sd_event *event, struct notify **ret_notify)
{
    const char *name = getenv("NOTIFY_SOCKET");
    int r;

    *ret_notify = NULL;
    if (!name || !*name)
        return 0;
    struct notify *notify = calloc(1, sizeof(*notify));
    if (!notify)
        return -ENOMEM;
    notify->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    r = notify->fd < 0 ? -errno : connect_to(notify->fd, name);
    if (r == 0)
        r = sd_event_add_io(event, &notify->source, notify->fd, EPOLLOUT, on_room, notify);
    if (r >= 0)
        r = sd_event_source_set_enabled(notify->source, SD_EVENT_OFF);
    if (r >= 0)
        r = start_watchdog(event, notify);
    if (r < 0) {
        log_warning("app", "no word to the service manager at %s: %s", name, strerror(-r));
        notify_free(notify);
        return 0; /* no reason not to work */
    }
    *ret_notify = notify;
    return 0;
}

struct notify *notify_free(struct notify *notify)
{
    if (!notify)
        return NULL;
    sd_event_source_disable_unref(notify->source);
    sd_event_source_disable_unref(notify->watchdog);
    for (size_t i = 0; i < notify->n_states; i++)
        free(notify->states[i]);
    free(notify->status);
    if (notify->fd >= 0)
        close(notify->fd);
    free(notify);
    return NULL;
}
