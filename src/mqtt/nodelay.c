/* Looks through the process's descriptors; see nodelay.h. */
#include "mqtt/nodelay.h"

#include "util/num.h"
#include <dirent.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <sys/socket.h>

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

unsigned nodelay_set(uint16_t port)
{
    unsigned n = 0;
    DIR *dir = opendir("/proc/self/fd");

    if (!dir)
        return 0;
    for (struct dirent *entry; (entry = readdir(dir));) {
        uint32_t fd;
        int one = 1;
        if (num_parse_u32(entry->d_name, &fd) == 0 && is_tcp_to((int)fd, port) &&
            setsockopt((int)fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) == 0)
            n++;
    }
    closedir(dir);
    return n;
}
