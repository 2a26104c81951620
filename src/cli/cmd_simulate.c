/*
 * gatt2mqtt simulate: plays org.bluez with the peripherals of a file, on the bus that
 * DBUS_SYSTEM_BUS_ADDRESS names. Never on the machine's own system bus by accident, and never
 * beside a real bluetoothd. See cli.h.
 */
#include "cli/cli.h"

#include "sim/control_socket.h"
#include "sim/service.h"
#include "util/cleanup.h"
#include "yaml/diag.h"
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#define BUS_VARIABLE "DBUS_SYSTEM_BUS_ADDRESS"

struct simulation {
    const char *file;         /* borrowed */
    const char *control_path; /* borrowed; NULL: no control socket */
    struct sim_world *world;
    sd_event *event;
    sd_bus *bus;
    struct sim_bluez *bluez;
    struct control_socket *control;
};

static void done(struct simulation *s)
{
    control_socket_free(s->control);
    sim_bluez_free(s->bluez);
    sd_bus_flush_close_unref(s->bus);
    sd_event_unref(s->event);
    sim_world_free(s->world);
}

static void print_help(void)
{
    puts("Usage: gatt2mqtt simulate [--control PATH] FILE\n"
         "Plays org.bluez with the peripherals of FILE, on the bus of $" BUS_VARIABLE ".\n\n"
         "      --control PATH  listen on a UNIX socket for the commands below\n"
         "  -h, --help          show this and exit\n\n"
         "A line on the control socket is a command and gets one line back, \"ok ...\" or\n"
         "\"error ...\". P is a peripheral's id in FILE, CHAR a characteristic's id or UUID:\n"
         "  list, state P                     what there is, and how it is\n"
         "  get P CHAR, value P CHAR HEX      the value; a new one is notified\n"
         "  notify P CHAR COUNT RATE          notifies numbered values, RATE a second\n"
         "  sent P CHAR, writes P CHAR        how many were notified; what was written\n"
         "  drop P, vanish P, appear P        loses the link; goes out of reach and back\n"
         "  refuse P on|off, slow P MS        lets no one connect; answers late\n"
         "  connect P, forget P, services P   another program connects; it is removed; changes\n"
         "  adapter NAME remove|add|off|on    what happens to the Bluetooth adapter\n"
         "  fault P|NAME FAULT on|off         something goes wrong, until it is off\n"
         "  quit");
}

/* CLI_OK to go on; -1: help was shown */
static int parse(struct simulation *s, int argc, char **argv)
{
    static const struct option long_options[] = {
        {"control", required_argument, NULL, 'C'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    int c;

    while ((c = getopt_long(argc, argv, "h", long_options, NULL)) != -1)
        switch (c) {
        case 'C': s->control_path = optarg; break;
        case 'h': print_help(); return -1;
        default: fputs("Try 'gatt2mqtt simulate --help'.\n", stderr); return CLI_USAGE;
        }
    if (argc - optind != 1) {
        fputs("gatt2mqtt: simulate takes one file that describes the peripherals\n", stderr);
        return CLI_USAGE;
    }
    s->file = argv[optind];

    const char *address = getenv(BUS_VARIABLE);

    if (!address || !*address) {
        fputs("gatt2mqtt: simulate plays BlueZ only on a bus that you name: set " BUS_VARIABLE
              " to the\naddress of a private D-Bus daemon, so that it never meets the real BlueZ "
              "of this machine\n",
              stderr);
        return CLI_USAGE;
    }
    return CLI_OK;
}

static int load(struct simulation *s)
{
    struct diags diags;
    int r = diags_init(&diags, s->file);

    if (r >= 0)
        r = sim_world_load(s->file, &diags, &s->world);
    diags_print(&diags, stderr);
    diags_done(&diags);
    if (r == -ENOMEM)
        fputs("gatt2mqtt: out of memory\n", stderr);
    return r < 0 ? CLI_CONFIG : CLI_OK;
}

static int open_bus(struct simulation *s)
{
    int r = sd_event_new(&s->event);
    if (r >= 0)
        r = sd_bus_open_system(&s->bus);
    if (r >= 0)
        r = sd_bus_attach_event(s->bus, s->event, SD_EVENT_PRIORITY_NORMAL);
    if (r >= 0)
        return CLI_OK;
    fprintf(stderr, "gatt2mqtt: no D-Bus at %s: %s\n", getenv(BUS_VARIABLE), strerror(-r));
    return CLI_UNAVAILABLE;
}

static uint64_t now(void *user)
{
    return sim_bluez_now(((struct simulation *)user)->bluez);
}

/* The ops of the played BlueZ, and quit, which is ours. */
static int drop(void *user, struct sim_peripheral *p, uint8_t reason)
{
    return sim_bluez_control_ops.drop(((struct simulation *)user)->bluez, p, reason);
}

static int presence(void *user, struct sim_peripheral *p)
{
    return sim_bluez_control_ops.presence(((struct simulation *)user)->bluez, p);
}

static void due(void *user, struct sim_peripheral *p)
{
    sim_bluez_control_ops.due(((struct simulation *)user)->bluez, p);
}

static int adapter(void *user, struct sim_adapter *a, enum control_adapter change)
{
    return sim_bluez_control_ops.adapter(((struct simulation *)user)->bluez, a, change);
}

static int connect_by_another(void *user, struct sim_peripheral *p)
{
    return sim_bluez_control_ops.connect(((struct simulation *)user)->bluez, p);
}

static int forget(void *user, struct sim_peripheral *p)
{
    return sim_bluez_control_ops.forget(((struct simulation *)user)->bluez, p);
}

static int services(void *user, struct sim_peripheral *p)
{
    return sim_bluez_control_ops.services(((struct simulation *)user)->bluez, p);
}

static int fault(void *user, struct sim_adapter *a, enum sim_fault which, bool on)
{
    return sim_bluez_control_ops.fault(((struct simulation *)user)->bluez, a, which, on);
}

static void quit(void *user)
{
    sd_event_exit(((struct simulation *)user)->event, 0);
}

static const struct control_ops control_ops = {
    .drop = drop,
    .presence = presence,
    .due = due,
    .adapter = adapter,
    .connect = connect_by_another,
    .forget = forget,
    .services = services,
    .fault = fault,
    .quit = quit,
};

static int listen_for_control(struct simulation *s)
{
    struct control_socket_options options = {
        .event = s->event,
        .path = s->control_path,
        .world = s->world,
        .ops = &control_ops,
        .user = s,
        .now = now,
    };
    int r = s->control_path ? control_socket_new(&options, &s->control) : 0;

    if (r >= 0)
        return CLI_OK;
    fprintf(stderr, "gatt2mqtt: cannot listen on %s: %s\n", s->control_path, strerror(-r));
    return CLI_FAILED;
}

static int start(struct simulation *s)
{
    struct sim_bluez_options options = {.bus = s->bus, .event = s->event, .world = s->world};
    int r = sim_bluez_new(&options, &s->bluez);

    if (r >= 0)
        r = sd_bus_request_name(s->bus, SIM_BLUEZ_NAME, 0); /* not queued: at once or never */
    if (r >= 0)
        return CLI_OK;
    if (r == -EEXIST)
        fputs("gatt2mqtt: somebody plays " SIM_BLUEZ_NAME " on that bus already; is it where the "
              "real BlueZ lives?\n",
              stderr);
    else
        fprintf(stderr, "gatt2mqtt: cannot become " SIM_BLUEZ_NAME " on that bus: %s\n",
                strerror(-r));
    return CLI_UNAVAILABLE;
}

static const char *plural(size_t n)
{
    return n == 1 ? "" : "s";
}

static int play(struct simulation *s)
{
    sigset_t signals;

    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    /* without a handler of its own a signal ends the loop */
    int r = sd_event_add_signal(s->event, NULL, SIGINT, NULL, NULL);
    if (r >= 0)
        r = sd_event_add_signal(s->event, NULL, SIGTERM, NULL, NULL);
    if (r >= 0)
        r = sd_bus_set_exit_on_disconnect(s->bus, true);
    if (r >= 0) {
        printf("playing %zu peripheral%s on %zu adapter%s as " SIM_BLUEZ_NAME "\n",
               s->world->n_peripherals, plural(s->world->n_peripherals), s->world->n_adapters,
               plural(s->world->n_adapters));
        fflush(stdout);
        r = sd_event_loop(s->event);
    }
    if (r == 0)
        return CLI_OK;
    fprintf(stderr, "gatt2mqtt: %s\n", r < 0 ? strerror(-r) : "the bus is gone");
    return r < 0 ? CLI_FAILED : CLI_UNAVAILABLE;
}

int cmd_simulate(const struct cli_options *options, int argc, char **argv)
{
    static int (*const steps[])(struct simulation *) = {load, open_bus, start, listen_for_control,
                                                        play};
    struct simulation s = {0};
    int status = parse(&s, argc, argv);

    for (size_t i = 0; i < ARRAY_SIZE(steps) && status == CLI_OK; i++)
        status = steps[i](&s);
    done(&s);
    return status == -1 ? CLI_OK : status;
}
