/*
 * lab_radio WORLD: plays the Bluetooth controllers and peripherals of a world file on /dev/vhci, so
 * that a kernel without a radio has one; the file is what `gatt2mqtt simulate` plays on D-Bus.
 * Prints a line for each event, with the time. Steered through a UNIX socket with the protocol of
 * sim/control.h. This file owns descriptors and clocks; what is said on the air is the rest's.
 */
#include "radio_air.h"
#include "radio_trace.h"
#include "util/cleanup.h"
#include "util/num.h"
#include "util/strbuf.h"
#include "util/time.h"
#include "yaml/diag.h"

#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>

#define VHCI            "/dev/vhci"
#define H4_VENDOR       0xff
#define CREATE_PRIMARY  0x00
#define VHCI_PACKET_MAX 4096
#define EXIT_USAGE      64

struct client {
    int fd; /* owned; -1: the slot is free */
    char line[CONTROL_MAX_LINE];
    size_t length;
};

struct radio {
    struct sim_world *world;    /* owned */
    struct air *air;            /* owned */
    int vhci[SIM_MAX_ADAPTERS]; /* owned; -1: unplugged */
    int signals, listener;      /* owned; -1: none */
    struct client clients[CONTROL_MAX_CLIENTS];
    FILE *trace; /* owned or NULL */
    uint64_t start_us;
    bool quit;
};

static uint64_t radio_now(const struct radio *radio)
{
    return time_now().mono_us - radio->start_us;
}

static void print_event(const char *who, const char *text)
{
    int64_t us = time_now().real_us;
    printf("%lld.%06lld %s %s\n", (long long)(us / 1000000), (long long)(us % 1000000), who, text);
    fflush(stdout);
}

/* ---- controllers ---- */

static int plug(struct radio *radio, size_t adapter)
{
    int fd = open(VHCI, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    const uint8_t create[2] = {H4_VENDOR, CREATE_PRIMARY};
    if (write(fd, create, sizeof(create)) != (ssize_t)sizeof(create)) {
        int error = errno;
        close(fd);
        return -error;
    }
    radio->vhci[adapter] = fd;
    radio->world->adapters[adapter].present = true;
    print_event(radio->world->adapters[adapter].name, "plugged in");
    return 0;
}

static void unplug(struct radio *radio, size_t adapter)
{
    if (radio->vhci[adapter] < 0)
        return;
    close(radio->vhci[adapter]);
    radio->vhci[adapter] = -1;
    radio->world->adapters[adapter].present = false;
    air_unplug(radio->air, adapter, radio_now(radio));
    print_event(radio->world->adapters[adapter].name, "unplugged");
}

static void read_vhci(struct radio *radio, size_t adapter)
{
    uint8_t packet[VHCI_PACKET_MAX];
    while (radio->vhci[adapter] >= 0) {
        ssize_t n = read(radio->vhci[adapter], packet, sizeof(packet));
        if (n <= 0)
            return;
        if (packet[0] == H4_VENDOR)
            continue; /* tells the index of the new controller */
        trace_packet(radio->trace, time_now().real_us, true, packet, (size_t)n);
        air_receive(radio->air, adapter, radio_now(radio), packet, (size_t)n);
    }
}

static void on_to_host(void *user, size_t adapter, const uint8_t *packet, size_t length)
{
    struct radio *radio = user;
    if (radio->vhci[adapter] < 0)
        return;
    trace_packet(radio->trace, time_now().real_us, false, packet, length);
    if (write(radio->vhci[adapter], packet, length) != (ssize_t)length)
        print_event(radio->world->adapters[adapter].name, "the kernel refused a packet");
}

static void on_log(void *user, const char *peripheral, const char *text)
{
    print_event(peripheral, text);
}

static const struct air_ops air_ops = {.to_host = on_to_host, .log = on_log};

/* ---- control ---- */

static int on_drop(void *user, struct sim_peripheral *p, uint8_t reason)
{
    struct radio *radio = user;
    return air_drop(radio->air, p, reason, radio_now(radio));
}

static int on_presence(void *user, struct sim_peripheral *p)
{
    struct radio *radio = user;
    air_presence_changed(radio->air, p, radio_now(radio));
    return 0;
}

/* nothing to do: deadlines are asked anew in each turn of the loop */
static void on_due(void *user, struct sim_peripheral *p)
{
}

static int on_adapter(void *user, struct sim_adapter *adapter, enum control_adapter change)
{
    struct radio *radio = user;
    size_t index = (size_t)(adapter - radio->world->adapters);
    switch (change) {
    case CONTROL_ADAPTER_REMOVE: unplug(radio, index); return 0;
    case CONTROL_ADAPTER_ADD: return radio->vhci[index] < 0 ? plug(radio, index) : -EEXIST;
    case CONTROL_ADAPTER_OFF:
    case CONTROL_ADAPTER_ON: return -EOPNOTSUPP; /* the host's business */
    }
    return -EINVAL;
}

static void on_quit(void *user)
{
    ((struct radio *)user)->quit = true;
}

static const struct control_ops control_ops = {
    .drop = on_drop,
    .presence = on_presence,
    .due = on_due,
    .adapter = on_adapter,
    .quit = on_quit,
};

/* "parameters P INTERVAL LATENCY TIMEOUT", in HCI's units: the one command that only a radio has */
static bool execute_parameters(struct radio *radio, const char *line, struct strbuf *answer)
{
    char copy[CONTROL_MAX_LINE], *words[5], *rest = NULL;
    size_t n = 0;
    snprintf(copy, sizeof(copy), "%s", line);
    for (char *word = strtok_r(copy, " ", &rest); word && n < ARRAY_SIZE(words);
         word = strtok_r(NULL, " ", &rest))
        words[n++] = word;
    if (n == 0 || strcmp(words[0], "parameters") != 0)
        return false;
    uint32_t value[3];
    struct sim_peripheral *p = n == 5 ? sim_world_find(radio->world, words[1]) : NULL;
    for (size_t i = 0; p && i < ARRAY_SIZE(value); i++)
        if (num_parse_u32(words[2 + i], &value[i]) < 0 || value[i] > UINT16_MAX)
            p = NULL;
    int error = p ? air_request_parameters(radio->air, p, (uint16_t)value[0], (uint16_t)value[1],
                                           (uint16_t)value[2], radio_now(radio))
                  : -EINVAL;
    strbuf_puts(answer, error ? "error " : "ok");
    if (error)
        strbuf_puts(answer, strerror(-error));
    return true;
}

static void execute(struct radio *radio, struct client *client, const char *line)
{
    struct strbuf answer = STRBUF_INIT;
    if (!execute_parameters(radio, line, &answer))
        control_execute(radio->world, &control_ops, radio, radio_now(radio), line, &answer);
    strbuf_putc(&answer, '\n');
    if (send(client->fd, strbuf_str(&answer), answer.length, MSG_NOSIGNAL) < 0)
        print_event("control", "a client went before its answer");
    strbuf_done(&answer);
}

static void close_client(struct client *client)
{
    if (client->fd >= 0)
        close(client->fd);
    client->fd = -1;
    client->length = 0;
}

static void read_client(struct radio *radio, struct client *client)
{
    ssize_t n = recv(client->fd, client->line + client->length,
                     sizeof(client->line) - client->length, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        close_client(client);
        return;
    }
    client->length += (size_t)n;
    char *end;
    while ((end = memchr(client->line, '\n', client->length))) {
        *end = '\0';
        execute(radio, client, client->line);
        client->length -= (size_t)(end + 1 - client->line);
        memmove(client->line, end + 1, client->length);
    }
    if (client->length == sizeof(client->line))
        close_client(client); /* no line is so long */
}

static void accept_client(struct radio *radio)
{
    int fd = accept4(radio->listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0)
        return;
    for (size_t i = 0; i < ARRAY_SIZE(radio->clients); i++)
        if (radio->clients[i].fd < 0) {
            radio->clients[i].fd = fd;
            return;
        }
    close(fd);
}

static int listen_at(const char *path, int *ret_fd)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(address.sun_path))
        return -ENAMETOOLONG;
    memcpy(address.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    unlink(path);
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 4) < 0) {
        int error = errno;
        close(fd);
        return -error;
    }
    *ret_fd = fd;
    return 0;
}

/* ---- the loop ---- */

static struct timespec time_left(const struct radio *radio, uint64_t deadline_us)
{
    uint64_t now_us = radio_now(radio);
    uint64_t left_us = deadline_us > now_us ? deadline_us - now_us : 0;
    left_us = MIN_OF(left_us, MS_TO_US(60000));
    return (struct timespec){.tv_sec = (time_t)(left_us / 1000000),
                             .tv_nsec = (long)(left_us % 1000000) * 1000};
}

static int run_once(struct radio *radio)
{
    enum { SIGNALS, LISTENER, VHCIS, CLIENTS = VHCIS + SIM_MAX_ADAPTERS };
    struct pollfd fds[CLIENTS + CONTROL_MAX_CLIENTS];
    struct timespec left = time_left(radio, air_deadline(radio->air));

    fds[SIGNALS] = (struct pollfd){.fd = radio->signals, .events = POLLIN};
    fds[LISTENER] = (struct pollfd){.fd = radio->listener, .events = POLLIN};
    for (size_t i = 0; i < SIM_MAX_ADAPTERS; i++)
        fds[VHCIS + i] = (struct pollfd){.fd = radio->vhci[i], .events = POLLIN};
    for (size_t i = 0; i < CONTROL_MAX_CLIENTS; i++)
        fds[CLIENTS + i] = (struct pollfd){.fd = radio->clients[i].fd, .events = POLLIN};
    if (ppoll(fds, ARRAY_SIZE(fds), &left, NULL) < 0)
        return errno == EINTR ? 0 : -errno;

    if (fds[SIGNALS].revents)
        radio->quit = true;
    for (size_t i = 0; i < SIM_MAX_ADAPTERS; i++)
        if (fds[VHCIS + i].revents)
            read_vhci(radio, i);
    for (size_t i = 0; i < CONTROL_MAX_CLIENTS; i++)
        if (fds[CLIENTS + i].revents)
            read_client(radio, &radio->clients[i]);
    if (fds[LISTENER].revents)
        accept_client(radio);
    air_run(radio->air, radio_now(radio));
    return 0;
}

static int load(struct radio *radio, const char *path)
{
    struct diags diags = {0};
    int r = diags_init(&diags, path);
    if (r < 0)
        return r;
    r = sim_world_load(path, &diags, &radio->world);
    diags_print(&diags, stderr);
    diags_done(&diags);
    return r < 0 ? r : air_new(radio->world, &air_ops, radio, &radio->air);
}

static int play(struct radio *radio, const char *path, const char *control)
{
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGINT);
    sigaddset(&mask, SIGTERM);
    sigprocmask(SIG_BLOCK, &mask, NULL);
    radio->signals = signalfd(-1, &mask, SFD_CLOEXEC);
    radio->start_us = time_now().mono_us;

    int r = load(radio, path);
    if (r == 0 && control)
        r = listen_at(control, &radio->listener);
    for (size_t i = 0; r == 0 && i < radio->world->n_adapters; i++)
        if (radio->world->adapters[i].present)
            r = plug(radio, i);
    while (r == 0 && !radio->quit)
        r = run_once(radio);
    return r;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"control", required_argument, NULL, 'c'}, {"trace", required_argument, NULL, 't'}, {0}};
    struct radio radio = {.signals = -1, .listener = -1};
    const char *control = NULL;
    int option, r = 0;

    memset(radio.vhci, 0xff, sizeof(radio.vhci));
    for (size_t i = 0; i < ARRAY_SIZE(radio.clients); i++)
        radio.clients[i].fd = -1;
    while ((option = getopt_long(argc, argv, "c:t:", options, NULL)) != -1) {
        if (option == 'c')
            control = optarg;
        else if (option != 't')
            argc = 0;
        else if (!radio.trace)
            r = trace_open(optarg, &radio.trace);
    }
    if (argc != optind + 1) {
        fprintf(stderr, "usage: lab_radio [--control SOCKET] [--trace BTSNOOP] WORLD\n");
        return EXIT_USAGE;
    }
    if (r == 0)
        r = play(&radio, argv[optind], control);
    if (r < 0)
        fprintf(stderr, "lab_radio: %s\n", strerror(-r));

    for (size_t i = 0; i < ARRAY_SIZE(radio.vhci); i++)
        if (radio.vhci[i] >= 0)
            close(radio.vhci[i]);
    for (size_t i = 0; i < ARRAY_SIZE(radio.clients); i++)
        close_client(&radio.clients[i]);
    closep(&radio.signals);
    closep(&radio.listener);
    fclosep(&radio.trace);
    air_free(radio.air);
    sim_world_free(radio.world);
    return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
