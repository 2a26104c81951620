/* Looks through the process's descriptors; see socket.h. */
#include "mqtt/socket.h"

#include "util/num.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

/* What the kernel accounts for beside the bytes of a packet (struct sk_buff and the head of its
 * data): 832 bytes were measured with Linux 6.18 (SO_MEMINFO). */
#define PACKET_OVERHEAD 2048
/* Linux says writable while at least a third of the buffer is free (sk_stream_is_writeable()): for
 * a packet of ours, and for a small one of the library's behind it. */
#define SEND_BUFFER_MIN (3 * (SOCKET_SEND_MAX + 2 * PACKET_OVERHEAD))

static bool is_tcp_to(int fd, uint16_t port)
{
    struct sockaddr_storage peer = {0};
    socklen_t length = sizeof peer;
    int type = 0;
    socklen_t type_length = sizeof type;

    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_length) < 0 || type != SOCK_STREAM)
        return false;
    if (getpeername(fd, (struct sockaddr *)&peer, &length) < 0)
        return false;
    if (peer.ss_family == AF_INET)
        return ntohs(((struct sockaddr_in *)&peer)->sin_port) == port;
    if (peer.ss_family == AF_INET6)
        return ntohs(((struct sockaddr_in6 *)&peer)->sin6_port) == port;
    return false;
}

static bool has_room(int fd)
{
    int size = 0;
    socklen_t length = sizeof size;

    return getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, &length) == 0 && size >= SEND_BUFFER_MIN;
}

unsigned socket_tune(uint16_t port, int *ret_fd)
{
    unsigned n = 0;
    int last = -1;
    DIR *dir = opendir("/proc/self/fd");

    if (ret_fd)
        *ret_fd = -1;
    if (!dir)
        return 0;
    for (struct dirent *entry; (entry = readdir(dir));) {
        uint32_t fd;
        int one = 1;
        if (num_parse_u32(entry->d_name, &fd) != 0 || !is_tcp_to((int)fd, port))
            continue;
        n++;
        last = (int)fd;
        (void)setsockopt(last, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    }
    closedir(dir);
    if (ret_fd && n == 1 && has_room(last))
        *ret_fd = fcntl(last, F_DUPFD_CLOEXEC, 0);
    return n;
}

int socket_send(int fd, const void *data, size_t length)
{
    struct pollfd ready = {.fd = fd, .events = POLLOUT};

    if (length > SOCKET_SEND_MAX || poll(&ready, 1, 0) != 1 || ready.revents != POLLOUT)
        return -EAGAIN;
    ssize_t n = send(fd, data, length, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n == (ssize_t)length)
        return 0;
    if (n < 0)
        return errno == EINTR ? -EAGAIN : -errno;
    /* The kernel is out of memory, for poll() said that there is room. What the library would write
     * next would be taken for the rest of this. */
    (void)shutdown(fd, SHUT_RDWR);
    return -EPIPE;
}
