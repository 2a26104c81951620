/*
 * One notification's way through the gateway, for counting its instructions: BlueZ's signal, the
 * bluez layer, the core, the MQTT client, and back the broker's word. BlueZ is fake.c behind a
 * socket pair, Paho is path_paho.c, all of it in one thread, so that every run counts the same.
 * Only what the gateway does is counted (callgrind, started with --instr-atstart=no).
 *
 * bench_path CONFIG DEVICES COUNT: fails unless each notification became one message.
 */
#include "bluez/bluez.h"
#include "config/load.h"
#include "core/gateway.h"
#include "fake.h"
#include "mqtt/client.h"
#include "path_paho.h"
#include "util/time.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <systemd/sd-event.h>
#include <valgrind/callgrind.h>

#define PATIENCE_US (60 * UINT64_C(1000000))
#define WARM        100

struct path {
    sd_event *loop;
    sd_event_source *timer;
    sd_bus *server, *bus;
    struct fake fake;
    struct gateway *gateway;
    struct bluez *bluez;
    struct mqtt_client *client;
    struct actions actions;
    uint64_t armed_us;
};

static void check(int r, const char *what)
{
    if (r < 0) {
        fprintf(stderr, "bench_path: %s: %s\n", what, strerror(-r));
        exit(1);
    }
}

/* ---- what app/ does ---- */

static void execute(struct path *path, const struct action *action)
{
    switch ((int)action->type) {
    case ACTION_PUBLISH:
    case ACTION_TOPIC_SUBSCRIBE:
    case ACTION_TOPIC_UNSUBSCRIBE: mqtt_client_execute(path->client, action); break;
    case ACTION_LOG:
    case ACTION_STATUS: break;
    default: bluez_execute(path->bluez, action); break;
    }
}

static void handle(void *userdata, const struct event *event)
{
    struct path *path = userdata;

    actions_reset(&path->actions);
    gateway_handle(path->gateway, time_now(), event, &path->actions);
    for (size_t i = 0; i < path->actions.n; i++)
        execute(path, &path->actions.list[i]);
    uint64_t due_us = gateway_next_deadline(path->gateway);
    if (due_us == path->armed_us)
        return;
    path->armed_us = due_us;
    check(sd_event_source_set_time(path->timer, due_us), "timer");
    check(sd_event_source_set_enabled(path->timer, SD_EVENT_ONESHOT), "timer");
}

static void handle_bluez(void *userdata, const struct event *event)
{
    struct path *path = userdata;

    handle(path, event);
    mqtt_client_collect(path->client);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
    struct path *path = userdata;

    path->armed_us = 0;
    handle(path, &(struct event){.type = EVENT_TIMER});
    return 0;
}

/* ---- the world ---- */

static void connect_buses(struct path *path)
{
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0)
        check(-errno, "socketpair");
    check(sd_bus_new(&path->server), "server");
    check(sd_bus_set_fd(path->server, pair[0], pair[0]), "server");
    check(sd_bus_set_server(path->server, 1,
                            SD_ID128_MAKE(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, a, b, c, d, e, f)),
          "server");
    check(sd_bus_negotiate_fds(path->server, 1), "server");
    check(sd_bus_start(path->server), "server");
    check(sd_bus_new(&path->bus), "bus");
    check(sd_bus_set_fd(path->bus, pair[1], pair[1]), "bus");
    check(sd_bus_negotiate_fds(path->bus, 1), "bus");
    check(sd_bus_start(path->bus), "bus");
}

static struct settings *load(const char *file)
{
    struct settings *settings = NULL;
    struct diags diags;

    check(diags_init(&diags, file), "diags");
    int r = config_load(file, &(struct config_options){0}, &diags, &settings);
    diags_print(&diags, stderr);
    diags_done(&diags);
    if (r != 0)
        exit(1);
    return settings;
}

static void start(struct path *path, struct settings *settings)
{
    struct gateway_options gateway = {.settings = settings, .seed = 1, .version = "bench"};
    struct bluez_options bluez = {
        .event = path->loop, .bus = path->bus, .emit = handle_bluez, .userdata = path};
    struct mqtt_client_options client = {
        .event = path->loop, .settings = &settings->mqtt, .emit = handle, .userdata = path};

    check(sd_event_add_time(path->loop, &path->timer, CLOCK_MONOTONIC, UINT64_MAX, 1000, on_timer,
                            path),
          "timer");
    check(gateway_new(&gateway, &path->gateway), "gateway");
    check(bluez_new(&bluez, &path->bluez), "bluez");
    check(mqtt_client_new(&client, &path->client), "client");
    handle(path, &(struct event){.type = EVENT_START});
    check(bluez_start(path->bluez), "bluez");
    check(mqtt_client_start(path->client), "client");
}

static void run(struct path *path)
{
    int r;

    while ((r = sd_event_run(path->loop, 0)) > 0)
        ;
    check(r, "loop");
}

/* BlueZ's and the broker's side, until all are subscribed and nothing is left to say */
static void settle(struct path *path)
{
    uint64_t begin = time_now().mono_us, quiet = begin;

    while (time_now().mono_us - quiet < MS_TO_US(300)) {
        fake_process(&path->fake);
        (void)fake_advertise(&path->fake);
        check(sd_event_run(path->loop, 1000), "loop");
        path_paho_read();
        if (path_paho_answer() || path->fake.n_notifying < path->fake.n_devices)
            quiet = time_now().mono_us;
        if (time_now().mono_us - begin > PATIENCE_US) {
            fprintf(stderr, "bench_path: %u of %u subscribed\n", path->fake.n_notifying,
                    path->fake.n_devices);
            exit(1);
        }
    }
}

/* one at a time, as it is at rates that a radio can deliver */
static void notify(struct path *path, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        fake_notify(&path->fake);
        CALLGRIND_TOGGLE_COLLECT;
        run(path);
        (void)path_paho_answer();
        run(path);
        CALLGRIND_TOGGLE_COLLECT;
        path_paho_read();
    }
}

int main(int argc, char **argv)
{
    struct path path = {.actions = ACTIONS_INIT};

    if (argc != 4)
        return 64;
    unsigned devices = (unsigned)strtoul(argv[2], NULL, 10);
    unsigned count = (unsigned)strtoul(argv[3], NULL, 10);
    struct settings *settings = load(argv[1]);
    settings->mqtt.port = path_paho_listen();
    check(sd_event_new(&path.loop), "loop");
    connect_buses(&path);
    fake_init(&path.fake, path.server, devices, 20);
    start(&path, settings);
    settle(&path);
    notify(&path, WARM);
    CALLGRIND_START_INSTRUMENTATION;
    notify(&path, WARM);
    CALLGRIND_ZERO_STATS;
    unsigned before = path_paho_count(), read_before = path_paho_n_read();
    notify(&path, count);
    unsigned published = path_paho_count() - before;
    printf("%u beside Paho\n", path_paho_n_read() - read_before);
    CALLGRIND_DUMP_STATS;
    CALLGRIND_STOP_INSTRUMENTATION;
    if (published != count) {
        fprintf(stderr, "bench_path: %u of %u were published\n", published, count);
        return 1;
    }
    mqtt_client_free(path.client);
    bluez_free(path.bluez);
    gateway_free(path.gateway);
    settings_free(settings);
    actions_done(&path.actions);
    fake_done(&path.fake);
    sd_event_source_unref(path.timer);
    sd_bus_unref(path.server);
    sd_bus_unref(path.bus);
    sd_event_unref(path.loop);
    return 0;
}
