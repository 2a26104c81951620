/* A house with a gateway in it; see helper_house.h. */
#include "bus/helper_house.h"

#include "config/load.h"
#include "util/time.h"
#include "yaml/diag.h"
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define BASE               "gatt2mqtt/"
#define PATIENCE_US        20000000 /* also under valgrind on a busy machine */
#define ACQUIRE_TIMEOUT_US 300000   /* of the gateway, instead of 10 s */
#define TIMERS_MAX         5000     /* that may be due within one house_skip() */
#define CONFIG_BEGIN       "mqtt: { url: 'mqtt://localhost' }\n"

#define OK(call) assert_true((call) >= 0)

/* ---- the gateway's process ---- */

static struct now now(const struct house *house)
{
    struct now now = time_now();

    now.mono_us += house->ahead_us;
    now.real_us += (int64_t)house->ahead_us;
    return now;
}

static void remember(struct house *house, const struct action *action)
{
    struct house_message *m = calloc(1, sizeof(*m));

    assert_non_null(m);
    m->topic = strdup(action->publish.topic);
    m->payload = strndup(action->publish.payload, action->publish.length);
    assert_true(m->topic && m->payload);
    m->retained = action->publish.retain;
    if (getenv("HOUSE_LOG") && strstr(m->topic, "/result"))
        fprintf(stderr, "%10.3f %s %s\n", (double)now(house).mono_us / 1e6, m->topic, m->payload);
    if (house->last)
        house->last->next = m;
    else
        house->messages = m;
    house->last = m;
    if (action->publish.token) {
        assert_true(house->n_tokens < ARRAY_SIZE(house->tokens));
        house->tokens[house->n_tokens++] = action->publish.token;
        OK(sd_event_source_set_enabled(house->acknowledge, SD_EVENT_ONESHOT));
    }
}

static void execute(struct house *house, const struct action *action)
{
    switch ((int)action->type) {
    case ACTION_PUBLISH: remember(house, action); break;
    case ACTION_LOG:
        if (getenv("HOUSE_LOG"))
            fprintf(stderr, "%10.3f %s: %s\n", (double)now(house).mono_us / 1e6, action->log.area,
                    action->log.text);
        break;
    case ACTION_TOPIC_SUBSCRIBE:
    case ACTION_TOPIC_UNSUBSCRIBE:
    case ACTION_STATUS:
    case ACTION_QUIT: break;
    default: bluez_execute(house->bluez, action); break;
    }
}

static void arm(struct house *house)
{
    uint64_t due_us = gateway_next_deadline(house->gateway);

    if (due_us == TIME_NEVER) {
        OK(sd_event_source_set_enabled(house->timer, SD_EVENT_OFF));
        return;
    }
    OK(sd_event_source_set_time(house->timer,
                                due_us > house->ahead_us ? due_us - house->ahead_us : 0));
    OK(sd_event_source_set_enabled(house->timer, SD_EVENT_ONESHOT));
}

static void handle(void *userdata, const struct event *event)
{
    struct house *house = userdata;

    actions_reset(&house->actions);
    gateway_handle(house->gateway, now(house), event, &house->actions);
    assert_false(house->actions.failed);
    for (size_t i = 0; i < house->actions.n; i++)
        execute(house, &house->actions.list[i]);
    arm(house);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
    struct house *house = userdata;

    house->n_timers++;
    handle(house, &(struct event){.type = EVENT_TIMER});
    return 0;
}

static int on_acknowledge(sd_event_source *source, void *userdata)
{
    struct house *house = userdata;
    uint64_t tokens[ARRAY_SIZE(house->tokens)];
    size_t n = house->n_tokens;

    memcpy(tokens, house->tokens, n * sizeof(*tokens));
    house->n_tokens = 0;
    /* the broker gives back the gateway's own status and links; one answer may add to the list */
    struct house_message *m = house->echoed ? house->echoed->next : house->messages;
    for (; m; m = m->next) {
        size_t length = strlen(m->topic);
        bool echo = (length > 12 && strcmp(m->topic + length - 12, "/status/link") == 0) ||
                    strcmp(m->topic, "gatt2mqtt/bridge/house/status") == 0;
        house->echoed = m;
        if (echo)
            handle(house, &(struct event){.type = EVENT_MESSAGE,
                                          .message = {.topic = m->topic,
                                                      .payload = m->payload,
                                                      .length = strlen(m->payload),
                                                      .qos = 1}});
    }
    for (size_t i = 0; i < n; i++) {
        struct event event = {.type = EVENT_PUBLISHED};
        event.published.token = tokens[i];
        event.published.ok = true;
        handle(house, &event);
    }
    return 0;
}

/* ---- BlueZ's end ---- */

static int on_call(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    struct house *house = userdata;
    const char *path = sd_bus_message_get_path(m), *member = sd_bus_message_get_member(m);
    size_t i = 0;

    if (!sd_bus_message_is_method_call(m, NULL, NULL) || strncmp(path, "/org/bluez", 10) != 0)
        return 0;
    while (i < house->n_members && strcmp(house->calls[i].member, member) != 0)
        i++;
    assert_true(i < HOUSE_MEMBERS);
    if (i == house->n_members)
        snprintf(house->calls[house->n_members++].member, sizeof(house->calls[i].member), "%s",
                 member);
    house->calls[i].n++;
    house->n_calls++;
    snprintf(house->last_call, sizeof(house->last_call), "%s", path);
    if (house->on_call)
        house->on_call(house, member);
    return 0; /* the simulator answers */
}

static void open_server(struct house *house, int fd)
{
    OK(sd_bus_new(&house->server));
    OK(sd_bus_set_fd(house->server, fd, fd));
    OK(sd_bus_set_server(house->server, 1,
                         SD_ID128_MAKE(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)));
    OK(sd_bus_negotiate_fds(house->server, 1));
    OK(sd_bus_start(house->server));
    OK(sd_bus_attach_event(house->server, house->loop, 0));
    assert_int_equal(sim_bluez_new(&(struct sim_bluez_options){.bus = house->server,
                                                               .event = house->loop,
                                                               .world = house->world,
                                                               .peer = true},
                                   &house->sim),
                     0);
    OK(sd_bus_add_filter(house->server, NULL, on_call, house)); /* is asked before the simulator */
}

static void close_server(struct house *house)
{
    house->sim = sim_bluez_free(house->sim);
    house->server = sd_bus_close_unref(house->server);
}

static int on_accept(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
    struct house *house = userdata;
    int connection = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    assert_true(connection >= 0);
    assert_null(house->server); /* there is one client */
    open_server(house, connection);
    return 0;
}

void house_bus_starts(struct house *house)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(house->socket);

    assert_true(length + 1 < sizeof(address.sun_path));
    memcpy(address.sun_path + 1, house->socket, length); /* an abstract name: no file */
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + length);
    house->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(house->listener >= 0);
    assert_int_equal(bind(house->listener, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(house->listener, 4), 0);
    OK(sd_event_add_io(house->loop, &house->accept, house->listener, POLLIN, on_accept, house));
}

void house_bus_dies(struct house *house)
{
    house->accept = sd_event_source_disable_unref(house->accept);
    close(house->listener);
    house->listener = -1;
    close_server(house);
}

/* ---- life ---- */

static struct sim_world *load_world(const char *text)
{
    struct sim_world *world = NULL;
    struct diags diags;

    assert_int_equal(diags_init(&diags, "world"), 0);
    int r = sim_world_parse(text, strlen(text), &diags, &world);
    diags_print(&diags, stderr);
    diags_done(&diags);
    assert_int_equal(r, 0);
    return world;
}

static struct settings *load_config(const char *text)
{
    const struct config_options options = {.host_name = "house"};
    int fd = memfd_create("config", MFD_CLOEXEC);
    struct settings *settings = NULL;
    struct diags diags;
    char path[64];

    assert_true(fd >= 0);
    assert_int_equal(write(fd, CONFIG_BEGIN, strlen(CONFIG_BEGIN)), strlen(CONFIG_BEGIN));
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    assert_int_equal(diags_init(&diags, "config"), 0);
    int r = config_load(path, &options, &diags, &settings);
    diags_print(&diags, stderr);
    diags_done(&diags);
    close(fd);
    assert_int_equal(r, 0);
    return settings;
}

static void new_gateway(struct house *house)
{
    OK(gateway_new(
        &(struct gateway_options){.settings = house->settings, .seed = 1, .version = "test"},
        &house->gateway));
    OK(bluez_new(&(struct bluez_options){.event = house->loop,
                                         .bus = house->client,
                                         .acquire_timeout_us = ACQUIRE_TIMEOUT_US,
                                         .emit = handle,
                                         .userdata = house},
                 &house->bluez));
}

static struct house *build(const char *world, const char *config)
{
    struct house *house = calloc(1, sizeof(*house));

    assert_non_null(house);
    house->listener = -1;
    house->actions = ACTIONS_INIT;
    house->world = load_world(world);
    house->settings = load_config(config);
    OK(sd_event_new(&house->loop));
    OK(sd_event_add_time(house->loop, &house->timer, CLOCK_MONOTONIC, 0, 1000, on_timer, house));
    OK(sd_event_source_set_enabled(house->timer, SD_EVENT_OFF));
    OK(sd_event_add_defer(house->loop, &house->acknowledge, on_acknowledge, house));
    OK(sd_event_source_set_enabled(house->acknowledge, SD_EVENT_OFF));
    return house;
}

struct house *house_new(const char *world, const char *config)
{
    struct house *house = build(world, config);
    int pair[2];

    OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair));
    open_server(house, pair[0]);
    OK(sd_bus_new(&house->client));
    OK(sd_bus_set_fd(house->client, pair[1], pair[1]));
    OK(sd_bus_negotiate_fds(house->client, 1));
    OK(sd_bus_start(house->client));
    new_gateway(house);
    return house;
}

struct house *house_new_on_socket(const char *world, const char *config)
{
    struct house *house = build(world, config);
    char address[256];

    assert_true(asprintf(&house->socket, "gatt2mqtt-house-%d", getpid()) > 0);
    snprintf(address, sizeof(address), "unix:abstract=%s", house->socket);
    assert_int_equal(setenv("DBUS_SYSTEM_BUS_ADDRESS", address, 1), 0);
    house_bus_starts(house);
    new_gateway(house);
    return house;
}

struct house *house_free(struct house *house)
{
    bluez_free(house->bluez);
    gateway_free(house->gateway);
    actions_done(&house->actions);
    sd_bus_close_unref(house->client);
    if (house->socket)
        house_bus_dies(house);
    else
        close_server(house);
    free(house->socket);
    sd_event_source_unref(house->timer);
    sd_event_source_unref(house->acknowledge);
    sd_event_unref(house->loop);
    while (house->messages) {
        struct house_message *m = house->messages;
        house->messages = m->next;
        free(m->topic);
        free(m->payload);
        free(m);
    }
    settings_free(house->settings);
    sim_world_free(house->world);
    free(house);
    return NULL;
}

static void broker_up(struct house *house)
{
    struct event event = {.type = EVENT_BROKER_UP};

    event.broker_up.window = 20;
    event.broker_up.window_qos0 = 20;
    event.broker_up.retain_available = true;
    event.broker_up.max_qos = 2;
    event.broker_up.v5 = true;
    handle(house, &event);
}

void house_start(struct house *house)
{
    handle(house, &(struct event){.type = EVENT_START});
    OK(bluez_start(house->bluez));
    broker_up(house);
}

void house_restart_gateway(struct house *house)
{
    house->bluez = bluez_free(house->bluez);
    house->gateway = gateway_free(house->gateway);
    house->n_tokens = 0;
    if (house->sim)
        sim_bluez_client_vanished(house->sim);
    new_gateway(house);
    house_start(house);
}

/* what the simulator answers, with "ok" or "error" */
static const char *control(struct house *house, const char *line)
{
    static char answer[4096];
    struct strbuf buf = STRBUF_INIT;

    control_execute(house->world, &sim_bluez_control_ops, house->sim, sim_bluez_now(house->sim),
                    line, &buf);
    snprintf(answer, sizeof(answer), "%s", strbuf_str(&buf));
    strbuf_done(&buf);
    return answer;
}

const char *house_control(struct house *house, const char *format, ...)
{
    char line[512];
    va_list ap;

    va_start(ap, format);
    vsnprintf(line, sizeof(line), format, ap);
    va_end(ap);
    const char *answer = control(house, line);
    if (strncmp(answer, "ok", 2) != 0)
        fail_msg("%s: %s", line, answer);
    return answer[2] == ' ' ? answer + 3 : answer + 2;
}

bool house_try_control(struct house *house, const char *format, ...)
{
    char line[512];
    va_list ap;

    va_start(ap, format);
    vsnprintf(line, sizeof(line), format, ap);
    va_end(ap);
    return strncmp(control(house, line), "ok", 2) == 0;
}

/* ---- time ---- */

void house_settle(struct house *house)
{
    int r;

    while ((r = sd_event_run(house->loop, 0)) > 0)
        ;
    OK(r);
}

void house_run(struct house *house, unsigned ms)
{
    uint64_t end_us = time_now().mono_us + MS_TO_US(ms), now_us;

    while ((now_us = time_now().mono_us) < end_us)
        OK(sd_event_run(house->loop, end_us - now_us));
}

void house_skip(struct house *house, uint64_t ms)
{
    uint64_t end_us = now(house).mono_us + MS_TO_US(ms);
    unsigned n = 0;

    for (;;) {
        house_settle(house);
        uint64_t due_us = gateway_next_deadline(house->gateway), now_us = now(house).mono_us;
        if (MIN_OF(due_us, end_us) > now_us)
            house->ahead_us += MIN_OF(due_us, end_us) - now_us;
        if (due_us > end_us)
            break;
        if (++n > TIMERS_MAX)
            fail_msg("the gateway spins: %u timers within %llu ms", n, (unsigned long long)ms);
        handle(house, &(struct event){.type = EVENT_TIMER});
    }
    arm(house);
    house_settle(house);
}

/* ---- what was said ---- */

static bool is_topic(const struct house_message *m, const char *topic)
{
    return strcmp(m->topic + strlen(BASE), topic) == 0;
}

/* newer than the mark */
static struct house_message *find_new(struct house *house, const char *topic, const char *text)
{
    struct house_message *m = house->mark ? house->mark->next : house->messages;

    while (m && !(is_topic(m, topic) && strstr(m->payload, text)))
        m = m->next;
    return m;
}

static void print_messages(const struct house *house, const char *topic)
{
    for (const struct house_message *m = house->messages; m; m = m->next)
        if (strstr(m->topic, topic))
            fprintf(stderr, "%s%s %s\n", m == house->mark ? "(seen) " : "", m->topic, m->payload);
}

const char *house_until(struct house *house, const char *topic, const char *text)
{
    uint64_t end_us = time_now().mono_us + PATIENCE_US;
    struct house_message *found;

    while (!(found = find_new(house, topic, text))) {
        if (time_now().mono_us > end_us) {
            print_messages(house, topic);
            fail_msg("%s never said %s", topic, text);
        }
        OK(sd_event_run(house->loop, 100000));
    }
    house->mark = found;
    return found->payload;
}

const char *house_until_link(struct house *house, const char *device, const char *text)
{
    char topic[128];

    snprintf(topic, sizeof(topic), "%s/status/link", device);
    return house_until(house, topic, text);
}

void house_until_online(struct house *house, const char *device)
{
    house_until_link(house, device, "\"state\":\"online\"");
}

void house_until_reason(struct house *house, const char *device, const char *reason)
{
    char text[64];

    snprintf(text, sizeof(text), "\"reason\":\"%s\"", reason);
    house_until_link(house, device, text);
}

void house_skip_until_link(struct house *house, const char *device, const char *text,
                           uint64_t step_ms)
{
    uint64_t end_us = time_now().mono_us + PATIENCE_US;
    char topic[128];

    snprintf(topic, sizeof(topic), "%s/status/link", device);
    while (!find_new(house, topic, text)) {
        if (time_now().mono_us > end_us) {
            print_messages(house, topic);
            fail_msg("%s never said %s", topic, text);
        }
        house_run(house, 30); /* what the simulator is at takes real time */
        if (!find_new(house, topic, text))
            house_skip(house, step_ms);
    }
    house_until(house, topic, text);
}

const char *house_said(const struct house *house, const char *topic)
{
    const char *said = NULL;

    for (const struct house_message *m = house->messages; m; m = m->next)
        if (is_topic(m, topic))
            said = m->payload;
    return said;
}

bool house_is_online(const struct house *house, const char *device)
{
    char topic[128];

    snprintf(topic, sizeof(topic), "%s/status/availability", device);
    const char *said = house_said(house, topic);
    return said && strcmp(said, "online") == 0;
}

void house_assert_link(const struct house *house, const char *device, const char *text)
{
    char topic[128];

    snprintf(topic, sizeof(topic), "%s/status/link", device);
    const char *said = house_said(house, topic);
    if (!said || !strstr(said, text))
        fail_msg("%s says %s, not %s", topic, said ? said : "nothing", text);
}

unsigned house_count(const struct house *house, const char *topic)
{
    unsigned n = 0;

    for (const struct house_message *m = house->messages; m; m = m->next)
        n += is_topic(m, topic);
    return n;
}

const char *house_nth(const struct house *house, const char *topic, unsigned n)
{
    for (const struct house_message *m = house->messages; m; m = m->next)
        if (is_topic(m, topic) && n-- == 0)
            return m->payload;
    return NULL;
}

void house_assert_burst(struct house *house, const char *topic, unsigned from, unsigned first,
                        unsigned last)
{
    uint64_t end_us = time_now().mono_us + PATIENCE_US;
    const struct house_message *m = house->messages;
    char expected[64];

    while (house_count(house, topic) < from + last - first + 1) {
        if (time_now().mono_us > end_us)
            fail_msg("%s: %u of %u values came", topic, house_count(house, topic) - from,
                     last - first + 1);
        OK(sd_event_run(house->loop, 100000));
    }
    for (; m; m = m->next) {
        if (!is_topic(m, topic) || (from && from--))
            continue;
        snprintf(expected, sizeof(expected), "{\"value\":%u,", first);
        if (strncmp(m->payload, expected, strlen(expected)) != 0)
            fail_msg("%s: %s instead of %s", topic, m->payload, expected);
        if (first++ == last)
            break;
    }
}

/* ---- what BlueZ was asked ---- */

unsigned house_calls(const struct house *house, const char *member)
{
    for (size_t i = 0; i < house->n_members; i++)
        if (strcmp(house->calls[i].member, member) == 0)
            return house->calls[i].n;
    return 0;
}

void house_forget_calls(struct house *house)
{
    house->n_members = 0;
    house->n_calls = 0;
    memset(house->calls, 0, sizeof(house->calls));
}

void house_until_calls(struct house *house, const char *member, unsigned n)
{
    uint64_t end_us = time_now().mono_us + PATIENCE_US;

    while (house_calls(house, member) < n) {
        if (time_now().mono_us > end_us)
            fail_msg("%s was called %u times, not %u", member, house_calls(house, member), n);
        OK(sd_event_run(house->loop, 100000));
    }
}

void house_until_control(struct house *house, const char *line, const char *answer)
{
    uint64_t end_us = time_now().mono_us + PATIENCE_US;

    while (strcmp(house_control(house, "%s", line), answer) != 0) {
        if (time_now().mono_us > end_us)
            fail_msg("%s is %s, not %s", line, house_control(house, "%s", line), answer);
        OK(sd_event_run(house->loop, 10000));
    }
}

void house_send(struct house *house, const char *topic, const char *payload)
{
    struct event event = {.type = EVENT_MESSAGE};
    char full[256];

    snprintf(full, sizeof(full), BASE "%s", topic);
    event.message.topic = full;
    event.message.payload = payload;
    event.message.length = strlen(payload);
    event.message.qos = 1;
    handle(house, &event);
}

unsigned house_descriptors(void)
{
    DIR *folder = opendir("/proc/self/fd");
    unsigned n = 0;

    assert_non_null(folder);
    while (readdir(folder))
        n++;
    closedir(folder);
    return n;
}
