/* The control protocol's socket; see control_socket.h. */
#include "sim/control_socket.h"

#include "util/cleanup.h"
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-event.h>
#include <unistd.h>

struct client {
    struct control_socket *socket; /* NULL: free */
    int fd;
    sd_event_source *source;
    char line[CONTROL_MAX_LINE + 1];
    size_t length;
    bool overlong;     /* the rest of the line is skipped */
    struct strbuf out; /* answers that the socket has no room for yet */
};

#define MAX_UNREAD (8 * 1024 * 1024) /* of answers; a client that reads none is dropped */

struct control_socket {
    struct control_socket_options options;
    char *path; /* owned */
    int fd;
    sd_event_source *source;
    struct client clients[CONTROL_MAX_CLIENTS];
    struct strbuf answer;
};

DEFINE_CLEANUP(struct control_socket *, control_socket_free)

static void close_client(struct client *c)
{
    if (!c->socket)
        return;
    sd_event_source_disable_unref(c->source);
    close(c->fd);
    strbuf_done(&c->out);
    *c = (struct client){.fd = -1};
}

/* Sends what there is room for and waits for more room if need be; false when the client is lost.
 */
static bool send_out(struct client *c)
{
    ssize_t n = 0;

    if (c->out.length)
        n = send(c->fd, c->out.data, c->out.length, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno != EAGAIN && errno != EINTR)
        return false;
    if (n > 0) {
        memmove(c->out.data, c->out.data + n, c->out.length - (size_t)n);
        strbuf_truncate(&c->out, c->out.length - (size_t)n);
    }
    return sd_event_source_set_io_events(c->source, c->out.length ? EPOLLIN | EPOLLOUT : EPOLLIN) >=
           0;
}

static bool answer(struct client *c, const struct strbuf *text)
{
    strbuf_append(&c->out, text->data, text->length);
    strbuf_putc(&c->out, '\n');
    return strbuf_ok(text) && strbuf_ok(&c->out) && c->out.length <= MAX_UNREAD && send_out(c);
}

static bool execute(struct client *c)
{
    struct control_socket *s = c->socket;
    const struct control_socket_options *o = &s->options;

    if (c->overlong) {
        strbuf_reset(&s->answer);
        strbuf_puts(&s->answer, "error the line is too long");
    } else {
        c->line[c->length] = '\0';
        control_execute(o->world, o->ops, o->user, o->now(o->user), c->line, &s->answer);
    }
    c->length = 0;
    c->overlong = false;
    return answer(c, &s->answer);
}

static bool take_in(struct client *c, const char *data, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (data[i] == '\n') {
            if (!execute(c))
                return false;
        } else if (c->length == CONTROL_MAX_LINE) {
            c->overlong = true;
        } else {
            c->line[c->length++] = data[i] ? data[i] : '?';
        }
    }
    return true;
}

static int on_client(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
    struct client *c = userdata;
    char buf[4096];
    ssize_t n;

    if (revents & EPOLLOUT && !send_out(c)) {
        close_client(c);
        return 0;
    }
    n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n <= 0 || !take_in(c, buf, (size_t)n))
        close_client(c);
    return 0;
}

static int on_connection(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
    struct control_socket *s = userdata;
    int client_fd = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (client_fd < 0)
        return 0;
    for (size_t i = 0; i < CONTROL_MAX_CLIENTS; i++) {
        struct client *c = &s->clients[i];

        if (c->socket)
            continue;
        *c = (struct client){.socket = s, .fd = client_fd};
        if (sd_event_add_io(s->options.event, &c->source, client_fd, EPOLLIN, on_client, c) < 0)
            close_client(c);
        return 0;
    }
    close(client_fd);
    return 0;
}

static bool is_stale(const struct sockaddr_un *address)
{
    _cleanup_(closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    return fd >= 0 && connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 &&
           errno == ECONNREFUSED;
}

static int listen_at(struct control_socket *s)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    if (strlen(s->path) >= sizeof(address.sun_path))
        return -ENAMETOOLONG;
    memcpy(address.sun_path, s->path, strlen(s->path) + 1);
    if (is_stale(&address) && unlink(s->path) < 0)
        return -errno;
    s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s->fd < 0)
        return -errno;
    if (bind(s->fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
        int e = -errno;

        close(TAKE_FD(s->fd)); /* the file is not ours to remove */
        return e;
    }
    if (listen(s->fd, CONTROL_MAX_CLIENTS) < 0)
        return -errno;
    return 0;
}

int control_socket_new(const struct control_socket_options *options,
                       struct control_socket **ret_socket)
{
    _cleanup_(control_socket_freep) struct control_socket *s = calloc(1, sizeof(*s));

    if (!s)
        return -ENOMEM;
    s->fd = -1;
    s->options = *options;
    s->options.event = sd_event_ref(options->event);
    s->path = strdup(options->path);
    if (!s->path)
        return -ENOMEM;
    int r = listen_at(s);
    if (r >= 0)
        r = sd_event_add_io(options->event, &s->source, s->fd, EPOLLIN, on_connection, s);
    if (r < 0)
        return r;
    *ret_socket = TAKE_PTR(s);
    return 0;
}

struct control_socket *control_socket_free(struct control_socket *socket)
{
    if (!socket)
        return NULL;
    for (size_t i = 0; i < CONTROL_MAX_CLIENTS; i++)
        close_client(&socket->clients[i]);
    sd_event_source_disable_unref(socket->source);
    if (socket->fd >= 0) {
        close(socket->fd);
        unlink(socket->path);
    }
    sd_event_unref(socket->options.event);
    strbuf_done(&socket->answer);
    free(socket->path);
    free(socket);
    return NULL;
}
