/*
 * lab_radio WORLD: plays the Bluetooth controllers and peripherals of a world file on /dev/vhci, so
 * that a kernel without a radio has one; the file is what `gatt2mqtt simulate` plays on D-Bus.
 * Prints a line for each event, with the time. Steered through a UNIX socket with the protocol of
 * sim/control.h. This file owns descriptors and clocks; what is said on the air is the rest's.
 */
#include "radio_air.h"
#include "radio_trace.h"
#include "sim/control_socket.h"
#include "util/cleanup.h"
#include "util/num.h"
#include "util/time.h"
#include "yaml/diag.h"

#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <string.h>
#include <systemd/sd-event.h>

#define VHCI            "/dev/vhci"
#define H4_VENDOR       0xff
#define CREATE_PRIMARY  0x00
#define VHCI_PACKET_MAX 4096
#define LONGEST_WAIT_US (60 * 1000000ULL)
#define EXIT_USAGE      64

struct radio;

struct adapter {
    struct radio *radio; /* borrowed */
    size_t index;
    int fd;                  /* owned; of VHCI; -1: unplugged */
    sd_event_source *source; /* owned */
};

struct radio {
    sd_event *event;         /* owned */
    struct sim_world *world; /* owned */
    struct air *air;         /* owned */
    struct adapter adapters[SIM_MAX_ADAPTERS];
    struct control_socket *control; /* owned or NULL */
    FILE *trace;                    /* owned or NULL */
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

static int on_vhci(sd_event_source *source, int fd, uint32_t revents, void *user)
{
    struct adapter *adapter = user;
    struct radio *radio = adapter->radio;
    uint8_t packet[VHCI_PACKET_MAX];
    ssize_t n;
    while (adapter->fd >= 0 && (n = read(adapter->fd, packet, sizeof(packet))) > 0) {
        if (packet[0] == H4_VENDOR)
            continue; /* tells the index of the new controller */
        trace_packet(radio->trace, time_now().real_us, true, packet, (size_t)n);
        air_receive(radio->air, adapter->index, radio_now(radio), packet, (size_t)n);
    }
    return 0;
}

static int plug(struct radio *radio, size_t index)
{
    struct adapter *adapter = &radio->adapters[index];
    const uint8_t create[2] = {H4_VENDOR, CREATE_PRIMARY};
    int fd = open(VHCI, O_RDWR | O_NONBLOCK | O_CLOEXEC), r = -errno;
    if (fd < 0) {
        fprintf(stderr, "lab_radio: " VHCI ": %s (modprobe hci_vhci?)\n", strerror(-r));
        return r;
    }
    r = sd_event_add_io(radio->event, &adapter->source, fd, EPOLLIN, on_vhci, adapter);
    if (r >= 0 && write(fd, create, sizeof(create)) != (ssize_t)sizeof(create))
        r = -errno;
    if (r < 0) {
        adapter->source = sd_event_source_disable_unref(adapter->source);
        close(fd);
        return r;
    }
    adapter->fd = fd;
    radio->world->adapters[index].present = true;
    print_event(radio->world->adapters[index].name, "plugged in");
    return 0;
}

static int unplug(struct radio *radio, size_t index)
{
    struct adapter *adapter = &radio->adapters[index];
    if (adapter->fd < 0)
        return -ENODEV;
    adapter->source = sd_event_source_disable_unref(adapter->source);
    close(TAKE_FD(adapter->fd));
    radio->world->adapters[index].present = false;
    air_unplug(radio->air, index, radio_now(radio));
    print_event(radio->world->adapters[index].name, "unplugged");
    return 0;
}

static void on_to_host(void *user, size_t index, const uint8_t *packet, size_t length)
{
    struct radio *radio = user;
    int fd = radio->adapters[index].fd;
    if (fd < 0)
        return;
    trace_packet(radio->trace, time_now().real_us, false, packet, length);
    if (write(fd, packet, length) != (ssize_t)length)
        print_event(radio->world->adapters[index].name, "the kernel refused a packet");
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
    case CONTROL_ADAPTER_REMOVE:
    case CONTROL_ADAPTER_PULL: return unplug(radio, index);
    case CONTROL_ADAPTER_ADD: return radio->adapters[index].fd < 0 ? plug(radio, index) : -EEXIST;
    case CONTROL_ADAPTER_OFF:
    case CONTROL_ADAPTER_ON: return -EOPNOTSUPP; /* the host's business */
    }
    return -EINVAL;
}

static uint64_t on_now(void *user)
{
    return radio_now(user);
}

static void on_quit(void *user)
{
    ((struct radio *)user)->quit = true;
}

static int on_parameters(void *user, struct sim_peripheral *p, uint16_t interval, uint16_t latency,
                         uint16_t timeout)
{
    struct radio *radio = user;
    return air_request_parameters(radio->air, p, interval, latency, timeout, radio_now(radio));
}

static const struct control_ops control_ops = {
    .drop = on_drop,
    .presence = on_presence,
    .due = on_due,
    .adapter = on_adapter,
    .parameters = on_parameters,
    .quit = on_quit,
};

/* ---- the loop ---- */

static int on_stop(sd_event_source *source, const struct signalfd_siginfo *info, void *user)
{
    ((struct radio *)user)->quit = true;
    return 0;
}

/* One turn: what came in, then what is due. */
static int run_once(struct radio *radio)
{
    uint64_t deadline_us = air_deadline(radio->air), now_us = radio_now(radio);
    uint64_t left_us = deadline_us > now_us ? deadline_us - now_us : 0;
    int r = sd_event_run(radio->event, MIN_OF(left_us, LONGEST_WAIT_US));
    if (r < 0)
        return r;
    air_run(radio->air, radio_now(radio));
    return 0;
}

static int load(struct radio *radio, const char *path)
{
    struct diags diags;
    int r = diags_init(&diags, path);
    if (r < 0)
        return r;
    r = sim_world_load(path, &diags, &radio->world);
    diags_print(&diags, stderr);
    diags_done(&diags);
    return r < 0 ? r : air_new(radio->world, &air_ops, radio, &radio->air);
}

static int start_loop(struct radio *radio)
{
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGINT);
    sigaddset(&mask, SIGTERM);
    sigprocmask(SIG_BLOCK, &mask, NULL);
    int r = sd_event_new(&radio->event);
    if (r >= 0)
        r = sd_event_add_signal(radio->event, NULL, SIGINT, on_stop, radio);
    if (r >= 0)
        r = sd_event_add_signal(radio->event, NULL, SIGTERM, on_stop, radio);
    return r < 0 ? r : 0;
}

static int play(struct radio *radio, const char *path, const char *control, uint32_t youngest_ms)
{
    int r = load(radio, path);
    if (r == 0)
        air_set_youngest(radio->air, MS_TO_US(youngest_ms));
    if (r == 0)
        r = start_loop(radio);
    if (r == 0 && control) {
        struct control_socket_options options = {.event = radio->event,
                                                 .path = control,
                                                 .world = radio->world,
                                                 .ops = &control_ops,
                                                 .user = radio,
                                                 .now = on_now};
        r = control_socket_new(&options, &radio->control);
    }
    for (size_t i = 0; r == 0 && i < radio->world->n_adapters; i++)
        if (radio->world->adapters[i].present)
            r = plug(radio, i);
    while (r == 0 && !radio->quit)
        r = run_once(radio);
    return r;
}

static void radio_done(struct radio *radio)
{
    control_socket_free(radio->control);
    for (size_t i = 0; i < SIM_MAX_ADAPTERS; i++) {
        sd_event_source_unref(radio->adapters[i].source);
        closep(&radio->adapters[i].fd);
    }
    sd_event_unref(radio->event);
    fclosep(&radio->trace);
    air_free(radio->air);
    sim_world_free(radio->world);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"control", required_argument, NULL, 'c'},
                                            {"trace", required_argument, NULL, 't'},
                                            {"youngest", required_argument, NULL, 'y'},
                                            {0}};
    struct radio radio = {.start_us = time_now().mono_us};
    const char *control = NULL, *trace = NULL;
    uint32_t youngest_ms = 0;
    bool usage = false;
    int option, r = 0;

    for (size_t i = 0; i < SIM_MAX_ADAPTERS; i++)
        radio.adapters[i] = (struct adapter){.radio = &radio, .index = i, .fd = -1};
    while ((option = getopt_long(argc, argv, "c:t:y:", options, NULL)) != -1) {
        if (option == 'c')
            control = optarg;
        else if (option == 't')
            trace = optarg;
        else if (option != 'y' || num_parse_u32(optarg, &youngest_ms) < 0)
            usage = true;
    }
    if (usage || argc != optind + 1) {
        fprintf(stderr,
                "usage: lab_radio [--control SOCKET] [--trace BTSNOOP] [--youngest MS] WORLD\n");
        return EXIT_USAGE;
    }
    if (trace)
        r = trace_open(trace, &radio.trace);
    if (r == 0)
        r = play(&radio, argv[optind], control, youngest_ms);
    if (r < 0)
        fprintf(stderr, "lab_radio: %s\n", strerror(-r));
    radio_done(&radio);
    return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
