/*
 * The daemon's loop. Events of bluez/ and mqtt/ go to the core one by one; the actions that come
 * back are carried out at once, in order. Decides nothing.
 */
#include "app/app.h"

#include "app/health.h"
#include "app/notify.h"
#include "app/reload.h"
#include "bluez/bluez.h"
#include "core/gateway.h"
#include "mqtt/client.h"
#include "util/cleanup.h"
#include "util/log.h"
#include "util/num.h"
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#define BROKER_GOODBYE_MS 400
/* Everything must be over within 2 s of SIGTERM, whoever hangs. */
#define LAST_RESORT_MS 1900
/* Near deadlines are kept to a millisecond, far ones may be coalesced with other wake-ups. */
#define NEAR_US       (5 * 1000000ULL)
#define NEAR_SLACK    1000
#define MEASURE_US    (55 * 1000000ULL) /* a little less than from one health message to the next */
#define DISTANT_SLACK 250000

struct app {
    sd_event *event;              /* owned */
    sd_event_source *timer;       /* owned */
    sd_event_source *last_resort; /* owned */
    sd_event_source *reload;      /* owned; somebody asked for it */
    const char *config;           /* borrowed */
    struct settings *settings;    /* owned */
    struct gateway *gateway;      /* owned */
    struct bluez *bluez;          /* owned */
    struct mqtt_client *client;   /* owned */
    struct notify *notify;        /* owned; NULL without a service manager */
    struct health *health;        /* owned; NULL where nobody can ask */
    struct actions actions;
    uint64_t measure_us; /* the memory it takes, not before */
    uint64_t armed_us;   /* with `is_armed` */
    bool is_armed;
    bool quitting;
};

static void broker_left(void *userdata)
{
    struct app *app = userdata;

    sd_event_exit(app->event, 0);
}

static void execute(struct app *app, const struct action *action)
{
    switch (action->type) {
    case ACTION_SCAN_START:
    case ACTION_SCAN_STOP:
    case ACTION_POWER:
    case ACTION_CONNECT:
    case ACTION_DISCONNECT:
    case ACTION_RESOLVE:
    case ACTION_SUBSCRIBE:
    case ACTION_UNSUBSCRIBE:
    case ACTION_READ:
    case ACTION_WRITE:
    case ACTION_INSPECT:
    case ACTION_PAIR:
    case ACTION_REMOVE_DEVICE:
    case ACTION_TELL_DEVICES: bluez_execute(app->bluez, action); break;
    case ACTION_PUBLISH:
    case ACTION_TOPIC_SUBSCRIBE:
    case ACTION_TOPIC_UNSUBSCRIBE:
    case ACTION_RECONNECT: mqtt_client_execute(app->client, action); break;
    case ACTION_LOG: log_write(action->log.level, action->log.area, "%s", action->log.text); break;
    case ACTION_RELOAD: sd_event_source_set_enabled(app->reload, SD_EVENT_ONESHOT); break;
    case ACTION_LOG_LEVEL: log_set_level(action->log_level); break;
    case ACTION_STATUS:
        notify_status(app->notify, action->status.text);
        health_set(app->health, action->status.text);
        break;
    case ACTION_QUIT:
        if (!app->quitting) {
            app->quitting = true;
            mqtt_client_stop(app->client, BROKER_GOODBYE_MS, broker_left, app);
        }
        break;
    }
}

static void arm(struct app *app, uint64_t now_us)
{
    uint64_t due_us = gateway_next_deadline(app->gateway);

    if (app->is_armed && due_us == app->armed_us)
        return;
    app->is_armed = true;
    app->armed_us = due_us;
    if (due_us == TIME_NEVER) {
        sd_event_source_set_enabled(app->timer, SD_EVENT_OFF);
        return;
    }
    bool near = due_us < now_us + NEAR_US;
    if (sd_event_source_set_time(app->timer, due_us) < 0 ||
        sd_event_source_set_time_accuracy(app->timer, near ? NEAR_SLACK : DISTANT_SLACK) < 0 ||
        sd_event_source_set_enabled(app->timer, SD_EVENT_ONESHOT) < 0)
        log_error("app", "the timer could not be set");
}

static void execute_all(struct app *app, struct now now)
{
    if (app->actions.failed)
        log_error("app", "out of memory: something was not done");
    for (size_t i = 0; i < app->actions.n; i++)
        execute(app, &app->actions.list[i]);
    arm(app, now.mono_us);
}

static void handle(void *userdata, const struct event *event)
{
    struct app *app = userdata;
    struct now now = time_now();

    actions_reset(&app->actions);
    gateway_handle(app->gateway, now, event, &app->actions);
    execute_all(app, now);
}

/* ... of BlueZ: by far the most, and so often enough to let the broker's answers wait for one */
static void handle_bluez(void *userdata, const struct event *event)
{
    struct app *app = userdata;

    handle(app, event);
    mqtt_client_collect(app->client);
}

/* resident: the second number, in pages (proc(5), statm); 0: it cannot be known */
static uint64_t memory_bytes(void)
{
    _cleanup_(fclosep) FILE *file = fopen("/proc/self/statm", "re");
    char line[128];
    uint64_t pages;

    if (!file || !fgets(line, sizeof(line), file))
        return 0;
    char *number = line + strcspn(line, " ");
    number += strspn(number, " ");
    number[strcspn(number, " ")] = '\0';
    return num_parse_u64(number, &pages) == 0 ? pages * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
    struct app *app = userdata;
    struct event event = {.type = EVENT_TIMER};

    if (usec >= app->measure_us) {
        event.timer.memory_bytes = memory_bytes();
        app->measure_us = usec + MEASURE_US;
    }
    mqtt_client_collect(app->client);
    app->is_armed = false; /* a one-shot has fired: whatever comes next must be armed anew */
    handle(app, &event);
    return 0;
}

/* True: the gateway has taken the new settings. */
static bool take(struct app *app, struct settings *next, const char *wrong)
{
    struct now now = time_now();
    int r = -EINVAL;

    actions_reset(&app->actions);
    if (next)
        r = gateway_reload(app->gateway, now, next, &app->actions);
    else
        gateway_reload_failed(app->gateway, now, wrong, &app->actions);
    if (r == 0) /* before it is told to connect anew with them */
        mqtt_client_set_settings(app->client, &next->mqtt);
    execute_all(app, now);
    return r == 0;
}

static void reload(struct app *app)
{
    _cleanup_(freep) char *wrong = NULL;
    struct settings *next = NULL;

    char reloading[64];
    snprintf(reloading, sizeof(reloading), "RELOADING=1\nMONOTONIC_USEC=%" PRIu64,
             time_now().mono_us);
    notify_state(app->notify, reloading);
    int r = reload_load(app->config, &next, &wrong);
    if (take(app, r == 0 ? next : NULL, wrong ? wrong : "out of memory")) {
        SWAP(app->settings, next);
    }
    settings_free(next);
    notify_state(app->notify, "READY=1");
}

static int on_hangup(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata)
{
    struct app *app = userdata;

    return sd_event_source_set_enabled(app->reload, SD_EVENT_ONESHOT);
}

static int on_reload(sd_event_source *source, void *userdata)
{
    struct app *app = userdata;

    if (!app->last_resort) /* it is leaving */
        reload(app);
    return 0;
}

static int on_last_resort(sd_event_source *source, uint64_t usec, void *userdata)
{
    struct app *app = userdata;

    log_warning("app", "left without waiting any longer");
    sd_event_exit(app->event, 0);
    return 0;
}

static int on_stop(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata)
{
    struct app *app = userdata;
    struct event event = {.type = EVENT_STOP};

    if (app->last_resort)
        return 0; /* once is enough */
    notify_state(app->notify, "STOPPING=1");
    if (sd_event_add_time_relative(app->event, &app->last_resort, CLOCK_MONOTONIC,
                                   MS_TO_US(LAST_RESORT_MS), 1000, on_last_resort, app) < 0)
        sd_event_exit(app->event, 0);
    handle(app, &event);
    return 0;
}

static int start_loop(struct app *app)
{
    sigset_t signals;
    int r;

    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    /* before Paho's threads exist, so that they inherit it */
    if (pthread_sigmask(SIG_BLOCK, &signals, NULL) != 0)
        return -EINVAL;
    r = sd_event_new(&app->event);
    if (r < 0)
        return r;
    r = notify_new(app->event, &app->notify);
    if (r < 0)
        return r;
    health_new(app->event, &app->health);
    r = sd_event_add_signal(app->event, NULL, SIGTERM, on_stop, app);
    if (r < 0)
        return r;
    r = sd_event_add_signal(app->event, NULL, SIGINT, on_stop, app);
    if (r < 0)
        return r;
    r = sd_event_add_signal(app->event, NULL, SIGHUP, on_hangup, app);
    if (r < 0)
        return r;
    r = sd_event_add_defer(app->event, &app->reload, on_reload, app);
    if (r < 0)
        return r;
    r = sd_event_source_set_enabled(app->reload, SD_EVENT_OFF);
    if (r < 0)
        return r;
    r = sd_event_add_time(app->event, &app->timer, CLOCK_MONOTONIC, UINT64_MAX, NEAR_SLACK,
                          on_timer, app);
    if (r < 0)
        return r;
    return sd_event_source_set_enabled(app->timer, SD_EVENT_OFF);
}

static uint64_t random_seed(void)
{
    uint64_t seed;

    if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
        seed = time_now().mono_us;
    return seed;
}

static int start_parts(struct app *app, const struct app_options *options)
{
    _cleanup_(freep) char *will = gateway_will_topic(options->settings);
    struct gateway_options gateway = {
        .settings = options->settings, .seed = random_seed(), .version = options->version};
    struct bluez_options bluez = {.event = app->event, .emit = handle_bluez, .userdata = app};
    struct mqtt_client_options client = {.event = app->event,
                                         .settings = &options->settings->mqtt,
                                         .will_topic = will,
                                         .will_payload = "offline",
                                         .emit = handle,
                                         .userdata = app};
    struct event event = {.type = EVENT_START};
    int r;

    if (!will)
        return -ENOMEM;
    r = gateway_new(&gateway, &app->gateway);
    if (r < 0)
        return r;
    r = bluez_new(&bluez, &app->bluez);
    if (r < 0)
        return r;
    r = mqtt_client_new(&client, &app->client);
    if (r < 0)
        return r;
    handle(app, &event);
    r = bluez_start(app->bluez);
    if (r < 0)
        return r;
    return mqtt_client_start(app->client);
}

int app_run(const struct app_options *options)
{
    struct app app = {.config = options->config,
                      .settings = options->settings,
                      .actions = ACTIONS_INIT,
                      .armed_us = TIME_NEVER,
                      .is_armed = true};
    int r;

    r = start_loop(&app);
    if (r == 0)
        r = start_parts(&app, options);
    if (r == 0) {
        notify_state(app.notify, "READY=1");
        r = sd_event_loop(app.event);
    }
    mqtt_client_free(app.client);
    bluez_free(app.bluez);
    gateway_free(app.gateway);
    notify_free(app.notify);
    health_free(app.health);
    settings_free(app.settings);
    actions_done(&app.actions);
    sd_event_source_unref(app.timer);
    sd_event_source_unref(app.last_resort);
    sd_event_source_unref(app.reload);
    sd_event_unref(app.event);
    return r;
}
