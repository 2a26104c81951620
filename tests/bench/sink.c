/*
 * The subscriber of the benchmark: MQTT 3.1.1 over a socket, and for each value that arrives the
 * time at which recv() returned, by the sequence number in it.
 *
 * bench_sink PORT FORM FILE: subscribes to gatt2mqtt/+/+ (QoS 0), says `ready`. FORM: `json` finds
 * "seq": or "value":"HEX; `hex` and `raw` are bare; `order` counts.
 */
#include "clock.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>

#define FILTER "gatt2mqtt/+/+"

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* four bytes, the lowest first */
static bool from_hex(const char *text, size_t length, uint32_t *n)
{
    *n = 0;
    if (length < 8)
        return false;
    for (unsigned i = 0; i < 8; i++) {
        int digit = hex_digit(text[i]);
        if (digit < 0)
            return false;
        *n |= (uint32_t)digit << (i / 2 * 8 + (i % 2 ? 0 : 4));
    }
    return true;
}

static bool from_json(const char *text, size_t length, uint32_t *n)
{
    const char *at = memmem(text, length, "\"seq\":", 6);

    if (at) {
        const char *end = text + length;
        for (*n = 0, at += 6; at < end && *at >= '0' && *at <= '9'; at++)
            *n = *n * 10 + (uint32_t)(*at - '0');
        return true;
    }
    at = memmem(text, length, "\"value\":\"", 9);
    return at && from_hex(at + 9, length - (size_t)(at + 9 - text), n);
}

static bool number_of(const char *form, const struct times *times, const char *text, size_t length,
                      uint32_t *n)
{
    switch (form[0]) {
    case 'j': return from_json(text, length, n);
    case 'h': return from_hex(text, length, n);
    case 'r': memcpy(n, text, length < 4 ? length : 4); return length >= 4; /* little endian */
    default: *n = (uint32_t)times->n; return true;
    }
}

static void note(struct times *times, const char *form, const char *text, size_t length,
                 uint64_t now)
{
    uint32_t n;

    if (!length) /* a topic of the session before is cleared */
        return;
    if (!number_of(form, times, text, length, &n) || n >= TIMES_MAX) {
        times->unknown++;
        return;
    }
    times->last_ns = now;
    if (times->at_ns[n])
        times->duplicates++;
    else
        times->at_ns[n] = now;
    __atomic_add_fetch(&times->n, 1, __ATOMIC_RELEASE);
}

static void all(int fd, const void *data, size_t length)
{
    if (send(fd, data, length, MSG_NOSIGNAL) != (ssize_t)length) {
        perror("bench_sink: send");
        exit(1);
    }
}

static int subscribe(uint16_t port)
{
    static const uint8_t connect_packet[] = {0x10, 22,  0,   4,   'M', 'Q', 'T', 'T',
                                             4,    2,   0,   0,   0,   10,  'b', 'e',
                                             'n',  'c', 'h', '-', 's', 'i', 'n', 'k'};
    uint8_t packet[64] = {0x82, 2 + 2 + sizeof(FILTER) - 1 + 1, 0, 1, 0, sizeof(FILTER) - 1};
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        perror("bench_sink: connect");
        exit(1);
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    all(fd, connect_packet, sizeof(connect_packet));
    memcpy(packet + 6, FILTER, sizeof(FILTER) - 1);
    all(fd, packet, 2 + (size_t)packet[1]);
    return fd;
}

/* One packet from the front; how long it is, 0: not all of it is there. */
static size_t take(struct times *times, const char *form, const uint8_t *p, size_t n, uint64_t now)
{
    size_t length = 0, header = 1;

    for (unsigned shift = 0;; shift += 7) {
        if (header >= n)
            return 0;
        length |= (size_t)(p[header] & 127) << shift;
        if (!(p[header++] & 128))
            break;
    }
    if (n < header + length)
        return 0;
    if (p[0] >> 4 == 9) /* SUBACK */
        puts("ready");
    if (p[0] >> 4 == 3 && !(p[0] & 1)) { /* PUBLISH, not a retained one of before */
        size_t topic = (size_t)(p[header] << 8 | p[header + 1]) + 2;
        note(times, form, (const char *)p + header + topic, length - topic, now);
    }
    return header + length;
}

int main(int argc, char **argv)
{
    static uint8_t buffer[1 << 20];
    size_t n = 0;

    if (argc != 4)
        return 64;
    setvbuf(stdout, NULL, _IOLBF, 0);
    struct times *times = times_open(argv[3]);
    int fd = subscribe((uint16_t)strtoul(argv[1], NULL, 10));
    for (;;) {
        ssize_t got = recv(fd, buffer + n, sizeof(buffer) - n, 0);
        uint64_t now = clock_ns();
        size_t at = 0, used;
        if (got <= 0)
            return 1;
        n += (size_t)got;
        while (at < n && (used = take(times, argv[2], buffer + at, n - at, now)) > 0)
            at += used;
        memmove(buffer, buffer + at, n -= at);
    }
}
