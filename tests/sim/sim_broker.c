/*
 * The broker with its window, and the people behind it, who send commands: good ones, bad ones and
 * ones that the broker had kept. Must not know Bluetooth.
 */
#include "sim.h"

#include "core/topic.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ACTION_PUBLISH may go at most this many times beyond a window that the broker gave: never */
#define QOS0_WINDOW 16

/* ---- the connection ---- */

void sim_broker_up(struct sim *sim)
{
    struct event event = {.type = EVENT_BROKER_UP};

    if (sim->broker_up)
        return;
    if (sim_chance(sim, 30))
        sim_memory_lose(sim);
    sim->broker_up = true;
    sim->frozen = false;
    sim->connection++;
    sim->window = 1 + sim_below(sim, 20);
    sim->window_qos0 = 1 + sim_below(sim, QOS0_WINDOW);
    sim->used = sim->used_qos0 = 0;
    sim->n_flight = 0;
    sim->last_ack_us = 0;
    sim->ack_us = sim_spread(sim, 500, sim->quiet ? 4000 : 100000);
    sim->reordering = sim_chance(sim, 20);
    sim->said_online = sim->said_devices = false;
    sim->broker_up_us = sim->now.mono_us;
    for (size_t i = 0; i < sim->n_devices; i++)
        sim->peers[i].availability_handed = false;
    event.broker_up.window = sim->window;
    event.broker_up.window_qos0 = sim->window_qos0;
    event.broker_up.retain_available = true;
    event.broker_up.max_qos = 1;
    event.broker_up.v5 = sim_chance(sim, 50);
    sim_trace(sim, "the broker comes, window %u", sim->window);
    sim_emit(sim, &event);
}

void sim_broker_down(struct sim *sim)
{
    struct event event = {.type = EVENT_BROKER_DOWN,
                          .broker_down = {.reason = "lost", .was_up = sim->broker_up}};

    sim_trace(sim, "the broker goes with %zu messages on their way", sim->n_flight);
    sim->broker_up = false;
    sim->connection++;
    for (size_t i = 0; i < sim->n_flight; i++)
        if (sim->flight[i].kind == MESSAGE_RESULT)
            sim->commands[sim->flight[i].command].replays++;
    sim->n_flight = 0;
    sim->used = sim->used_qos0 = 0;
    sim_retain_connection_lost(sim);
    sim_retain(sim, "g/bridge/gw/status", "offline", 7); /* the will */
    sim_stream_broken(sim);
    sim_emit(sim, &event);
}

/* ---- acknowledgements ---- */

static void ack(struct sim *sim, uint64_t token, uint64_t connection)
{
    size_t i = 0;

    if (connection != sim->connection || sim->frozen)
        return;
    while (i < sim->n_flight && sim->flight[i].token != token)
        i++;
    if (i == sim->n_flight)
        return;
    struct sim_flight message = sim->flight[i];
    memmove(&sim->flight[i], &sim->flight[i + 1], (--sim->n_flight - i) * sizeof(sim->flight[0]));
    if (message.qos)
        sim->used--;
    else
        sim->used_qos0--;
    bool refused = sim->refusing && sim_chance(sim, 10);
    sim->ever_refused |= refused;
    if (message.kind == MESSAGE_VALUE)
        sim_stream_acked(sim, message.peer, message.entry, token, refused);
    else if (message.kind == MESSAGE_RESULT) {
        sim->commands[message.command].state = ANSWERED;
        /* behind one of the same topic that is not: it is sent again with that, see outbox.h */
        sim->commands[message.command].replays += sim->reordering;
    }
    struct event event = {
        .type = EVENT_PUBLISHED,
        .published = {.token = token, .ok = !refused, .code = refused ? 0x97 : 0}};
    sim_emit(sim, &event);
}

/* in order (MQTT 5.0 section 4.6), unless this broker has its own mind */
static void plan_ack(struct sim *sim, uint64_t token)
{
    uint64_t at = sim->now.mono_us + sim_between(sim, sim->ack_us / 4, sim->ack_us);

    if (!sim->reordering)
        at = MAX_OF(at, sim->last_ack_us);
    sim->last_ack_us = at;
    sim_schedule(sim, at - sim->now.mono_us, ack, token, sim->connection);
}

void sim_broker_thaw(struct sim *sim)
{
    if (!sim->frozen)
        return;
    sim->frozen = false;
    for (size_t i = 0; i < sim->n_flight; i++)
        plan_ack(sim, sim->flight[i].token);
}

/* ---- what is published ---- */

static bool number_after(const char *text, char letter, size_t below, size_t *ret_number,
                         const char **ret_rest)
{
    size_t n = 0;

    if (*text++ != letter || *text < '0' || *text > '9')
        return false;
    for (; *text >= '0' && *text <= '9'; text++)
        n = n * 10 + (size_t)(*text - '0');
    *ret_number = n;
    *ret_rest = text;
    return n < below;
}

static void bridge(struct sim *sim, const char *last, const struct action *action)
{
    sim_memory_bridge(sim, last, action);
    if (strcmp(last, "devices") == 0)
        sim->said_devices = true;
    if (strcmp(last, "status") != 0)
        return;
    bool online = action->publish.length == 6;
    if (!online && sim->rival) /* it is alive, and says so */
        sim_echo(sim, SIM_RIVAL_STATUS, "online", 6);
    if (online && !sim->said_devices)
        sim_fail(sim, "`online` comes before the list of devices");
    for (size_t i = 0; online && i < sim->n_devices; i++)
        if (sim->gateway->peers[i]->speaks && !sim->peers[i].availability_handed)
            sim_fail(sim, "`online` comes before the availability of d%zu", i);
    if (online && sim->stopping)
        sim_fail(sim, "`online` after the stop");
    sim->said_online |= online;
    sim->said_offline = !online;
}

static void result(struct sim *sim, const struct action *action, struct sim_flight *message)
{
    uint32_t index = 0;

    message->kind = MESSAGE_RESULT;
    if (action->publish.correlation_length != sizeof(index)) {
        sim_fail(sim, "%s: an answer to nobody", action->publish.topic);
        return;
    }
    memcpy(&index, action->publish.correlation, sizeof(index));
    if (index >= sim->n_commands) {
        sim_fail(sim, "%s: an answer to nobody", action->publish.topic);
        return;
    }
    struct sim_command *command = &sim->commands[index];
    if (command->state != SENT && command->replays)
        command->replays--;
    else if (command->state != SENT)
        sim_fail(sim, "command %u is answered twice: %.*s", index, (int)action->publish.length,
                 (const char *)action->publish.payload);
    if (command->writes && !command->n_writes &&
        memmem(action->publish.payload, action->publish.length, "\"status\":\"ok\"", 13))
        sim_fail(sim, "command %u is answered `ok`, and nothing was written", index);
    command->state = HANDED;
    message->command = index;
}

/* only who holds a device publishes its topics; the link is how it is claimed */
static void check_speaks(struct sim *sim, size_t peer, const char *topic)
{
    if (!sim->gateway->peers[peer]->speaks)
        sim_fail(sim, "published on %s without holding the device", topic);
}

static void classify(struct sim *sim, const struct action *action, struct sim_flight *message)
{
    const char *topic = action->publish.topic, *rest;

    if (strncmp(topic, "ha/", 3) == 0) {
        sim_home_document(sim, action);
        return;
    }
    if (strncmp(topic, "g/bridge/gw/response/", 21) == 0) {
        result(sim, action, message);
        return;
    }
    if (strncmp(topic, "g/bridge/gw/", 12) == 0) {
        bridge(sim, topic + 12, action);
        return;
    }
    if (strncmp(topic, "g/", 2) != 0 ||
        !number_after(topic + 2, 'd', sim->n_devices, &message->peer, &rest)) {
        sim_fail(sim, "published on %s", topic);
        return;
    }
    if (!sim->said_devices)
        sim_fail(sim, "%s is published before the list that has it", topic);
    if (strcmp(rest, "/status/availability") == 0) {
        message->kind = MESSAGE_STATUS;
        sim->peers[message->peer].availability_handed = true;
        sim->peers[message->peer].availability = action->publish.length == 6;
        check_speaks(sim, message->peer, topic);
    } else if (strcmp(rest, "/status/link") == 0) {
        message->kind = MESSAGE_STATUS;
        sim_memory_link(sim, message->peer, action);
    } else if (strlen(rest) > 7 && strcmp(rest + strlen(rest) - 7, "/result") == 0) {
        result(sim, action, message);
    } else if (number_after(rest + 1, 'e', N_ENTRIES_MAX, &message->entry, &rest) && !*rest) {
        message->kind = MESSAGE_VALUE;
        check_speaks(sim, message->peer, topic);
        sim_stream_handed(sim, message->peer, message->entry, action);
    } else {
        sim_fail(sim, "published on %s", topic);
    }
}

static void publish(struct sim *sim, const struct action *action)
{
    struct sim_flight message = {.token = action->publish.token, .qos = action->publish.qos};
    unsigned *used = message.qos ? &sim->used : &sim->used_qos0;

    if (!sim->broker_up) {
        sim_fail(sim, "published on %s without a broker", action->publish.topic);
        return;
    }
    if (++*used > (message.qos ? sim->window : sim->window_qos0) || sim->n_flight == N_FLIGHT_MAX) {
        sim_fail(sim, "more messages on their way than the window has room for");
        return;
    }
    classify(sim, action, &message);
    sim->flight[sim->n_flight++] = message;
    /* values are sim_stream's */
    const char *topic = action->publish.topic;
    if (topic_matches("g/+/status/+", topic) || topic_matches("g/bridge/+/status", topic) ||
        topic_matches("g/bridge/+/devices", topic) || topic_matches("g/bridge/+/info", topic) ||
        topic_matches("ha/+/+/config", topic)) {
        sim_retain(sim, topic, action->publish.payload, action->publish.length);
        sim_echo(sim, topic, action->publish.payload, action->publish.length);
    }
    if (!sim->frozen)
        plan_ack(sim, message.token);
}

void sim_broker_action(struct sim *sim, const struct action *action)
{
    if (action->type == ACTION_PUBLISH)
        publish(sim, action);
    else if (action->type == ACTION_TOPIC_SUBSCRIBE)
        sim_subscribe_topic(sim, action->topic.filter);
    else if (action->type == ACTION_TOPIC_UNSUBSCRIBE)
        sim_unsubscribe_topic(sim, action->topic.filter);
}

/* ---- commands ---- */

static uint32_t new_command(struct sim *sim)
{
    if (sim->n_commands == sim->commands_size) {
        sim->commands_size = MAX_OF(sim->commands_size * 2, (size_t)64);
        sim->commands = reallocarray(sim->commands, sim->commands_size, sizeof(*sim->commands));
        if (!sim->commands)
            abort();
    }
    sim->commands[sim->n_commands] = (struct sim_command){.sent_us = sim->now.mono_us};
    sim->totals.commands++;
    return (uint32_t)sim->n_commands++;
}

static void make_payload(struct sim *sim, uint32_t index, char *buf, size_t size)
{
    static const char *const bad[] = {
        "",          "{",         "hello", "{\"value\":1e99}",     "null",
        "{\"raw\":", "{\"a\":1}", "-1",    "[[[[[[[[[[[[[[[[[[[[", "4294967296"};
    uint32_t value = WRITE_MARK | index;

    if (sim_chance(sim, 20))
        snprintf(buf, size, "%s", bad[sim_below(sim, ARRAY_SIZE(bad))]);
    else if (sim_chance(sim, 20))
        snprintf(buf, size, "{\"raw\":\"%02x%02x%02x%02x\"}", value & 0xff, value >> 8 & 0xff,
                 value >> 16 & 0xff, value >> 24);
    else
        snprintf(buf, size, sim_chance(sim, 50) ? "%u" : "{\"value\":%u}", value);
}

/* the rest of a request for the device, behind its id */
static const char *make_request(struct sim *sim, uint32_t index, char *buf, size_t size)
{
    static const char *const others[] = {"log_level", "nonsense"};
    static const char *const links[] = {"connect", "resume", "disconnect", "pause"};
    size_t device = sim_below(sim, (uint32_t)sim->n_devices);
    uint32_t entry = sim_below(sim, (uint32_t)sim->settings.devices[device].n_characteristics +
                                        sim_chance(sim, 5));
    const char *times = sim_chance(sim, 20)   ? ",\"queue_timeout\":0"
                        : sim_chance(sim, 20) ? ",\"timeout\":\"900ms\",\"queue_timeout\":\"40s\""
                                              : "";

    if (!sim->quiet && sim_chance(sim, 2)) {
        bool unpair = sim_chance(sim, 40);
        snprintf(buf, size, "\"device\":\"d%zu\"}", device);
        if (unpair)
            sim->devices[device].unpair_us = sim->now.mono_us;
        return unpair ? "unpair" : "clear_cache";
    }
    if (sim_chance(sim, 2)) {
        snprintf(buf, size, "\"device\":\"d%zu\"%s}", device,
                 sim_chance(sim, 50) ? ",\"passkey\":123" : ",\"timeout\":\"20s\"");
        return "pair";
    }
    if (sim_chance(sim, 3)) {
        snprintf(buf, size, "\"device\":\"d%zu\"%s}", device,
                 sim_chance(sim, 70) ? ",\"values\":true" : ",\"timeout\":\"2s\"");
        return "inspect";
    }
    if (sim_chance(sim, 3)) {
        snprintf(buf, size, "%s", sim_chance(sim, 50) ? "\"duration\":\"3s\"}" : "\"junk\":1}");
        return "scan";
    }
    if (sim_chance(sim, 10)) {
        snprintf(buf, size, "%s", sim_chance(sim, 50) ? "\"device\":\"d0\"}" : "\"level\":");
        return others[sim_below(sim, ARRAY_SIZE(others))];
    }
    if (sim_chance(sim, 10)) {
        const char *operation = links[sim_below(sim, sim->quiet ? 2 : ARRAY_SIZE(links))];
        const char *more = sim_chance(sim, 60) || strcmp(operation, "resume") == 0 ? ""
                           : strcmp(operation, "pause") == 0 ? ",\"for\":\"20s\""
                                                             : ",\"timeout\":\"8s\"";
        snprintf(buf, size, "\"device\":\"d%zu\"%s}", device, more);
        return operation;
    }
    if (sim_chance(sim, 8)) {
        snprintf(buf, size, "\"device\":\"d%zu\",\"characteristic\":\"e%u\"%s}", device, entry,
                 times);
        return sim->quiet || sim_chance(sim, 60) ? "subscribe" : "unsubscribe";
    }
    if (sim_chance(sim, 5)) {
        char uuid[BT_UUID_TEXT_SIZE];
        bt_uuid_format_short(&sim->settings.devices[device].characteristics[0].uuid, uuid);
        snprintf(buf, size, "\"device\":\"d%zu\",\"characteristic\":\"%s\"%s}", device, uuid,
                 times);
        return "read";
    }
    if (sim_chance(sim, 40)) {
        snprintf(buf, size, "\"device\":\"d%zu\",\"characteristic\":\"e%u\"%s}", device, entry,
                 times);
        return "read";
    }
    snprintf(buf, size,
             sim_chance(sim, 50)
                 ? "\"device\":\"d%zu\",\"characteristic\":\"e%u\",\"value\":%u%s}"
                 : "\"device\":\"d%zu\",\"characteristic\":\"e%u\",\"value\":{\"value\":%u}%s}",
             device, entry, WRITE_MARK | index, times);
    return "write";
}

/* Some requests come twice: they act once, and at most one more answer comes. */
static void request(struct sim *sim)
{
    uint32_t index = new_command(sim);
    char topic[64], rest[160], payload[192];
    const char *operation = make_request(sim, index, rest, sizeof(rest));
    bool has_id = sim_chance(sim, 70);

    snprintf(topic, sizeof(topic), "g/bridge/gw/request/%s", operation);
    if (has_id)
        snprintf(payload, sizeof(payload), "{\"id\":%u,%s", index, rest);
    else
        snprintf(payload, sizeof(payload), "{%s", rest);
    struct event event = {.type = EVENT_MESSAGE,
                          .message = {.topic = topic,
                                      .payload = payload,
                                      .length = strlen(payload),
                                      .qos = 1,
                                      .correlation = &index,
                                      .correlation_length = sizeof(index),
                                      .has_expiry = sim_chance(sim, 20),
                                      .expiry_s = sim_below(sim, 20)}};
    sim_trace(sim, "command %u: %s %s", index, topic, payload);
    sim_emit(sim, &event);
    if (has_id && sim_chance(sim, 30)) {
        sim->commands[index].replays++;
        event.message.duplicate = true;
        sim_emit(sim, &event);
    }
}

static void send_request(struct sim *sim, const char *topic, const char *payload)
{
    uint32_t index = new_command(sim);
    struct event event = {.type = EVENT_MESSAGE,
                          .message = {.topic = topic,
                                      .payload = payload,
                                      .length = strlen(payload),
                                      .qos = 1,
                                      .correlation = &index,
                                      .correlation_length = sizeof(index)}};

    sim_trace(sim, "command %u: %s %s", index, topic, payload);
    sim_emit(sim, &event);
}

/* it is not paused, and everything is subscribed that the file subscribes */
static void resume(struct sim *sim, size_t i)
{
    const struct device_settings *settings = &sim->settings.devices[i];
    char payload[96];

    snprintf(payload, sizeof(payload), "{\"device\":\"d%zu\"}", i);
    send_request(sim, "g/bridge/gw/request/resume", payload);
    for (size_t e = 0; e < settings->n_characteristics && !sim->failed; e++) {
        if (!settings->characteristics[e].subscribe ||
            subscribe_is_wanted(&sim->gateway->peers[i]->entries[e]))
            continue;
        snprintf(payload, sizeof(payload), "{\"device\":\"d%zu\",\"characteristic\":\"e%zu\"}", i,
                 e);
        send_request(sim, "g/bridge/gw/request/subscribe", payload);
    }
}

/* Who was told that another gateway had the device until now asks again when it is this one's. */
static void resume_later(struct sim *sim, uint64_t i, uint64_t phase)
{
    if (!sim->quiet || sim->stopping || phase != sim->totals.phases)
        return;
    if (!sim->gateway->peers[i]->ours)
        sim_schedule(sim, S_TO_US(1), resume_later, i, phase);
    else
        resume(sim, (size_t)i);
}

static void resume_all(struct sim *sim, uint64_t connection, uint64_t b)
{
    if (connection != sim->connection || sim->stopping)
        return;
    if (!sim_is_subscribed(sim, "g/bridge/gw/request/resume")) { /* people wait for `online` */
        sim_schedule(sim, S_TO_US(1), resume_all, connection, 0);
        return;
    }
    for (size_t i = 0; i < sim->n_devices; i++) {
        resume(sim, i);
        if (sim->settings.devices[i].enabled && !sim->gateway->peers[i]->ours)
            sim_schedule(sim, S_TO_US(1), resume_later, i, sim->totals.phases);
    }
}

void sim_resume_all(struct sim *sim)
{
    resume_all(sim, sim->connection, 0);
}

/* "g/d3/command/c0", with the number that it is to write where it writes one */
static bool name_command(struct sim *sim, size_t device, uint32_t index, char *topic, char *payload,
                         size_t size)
{
    const struct device_settings *settings = &sim->settings.devices[device];
    size_t n = settings->n_commands;

    if (!n || !sim_chance(sim, 40))
        return false;
    size_t which = sim_below(sim, (uint32_t)n + 1);
    snprintf(topic, size, "g/d%zu/command/c%zu", device, which);
    payload[0] = '\0';
    if (which < n && settings->commands[which].parameters && !sim_chance(sim, 10)) {
        snprintf(payload, size, "{\"value\":%u}", WRITE_MARK | index);
        sim->commands[index].writes = true;
    }
    return true;
}

void sim_command(struct sim *sim)
{
    size_t device = sim_below(sim, (uint32_t)sim->n_devices);
    bool get = sim_chance(sim, 40), retained = sim_chance(sim, 5), nowhere = sim_chance(sim, 4);
    char topic[64], payload[64];

    if (!sim->broker_up)
        return;
    if (sim_chance(sim, 50)) {
        if (sim_is_subscribed(sim, "g/bridge/gw/request/read"))
            request(sim);
        return;
    }
    uint32_t index = new_command(sim);
    make_payload(sim, index, payload, sizeof(payload));
    if (name_command(sim, device, index, topic, payload, sizeof(topic)))
        nowhere = false;
    else if (nowhere)
        snprintf(topic, sizeof(topic), sim_chance(sim, 50) ? "g/d%zu/e0" : "g/d9%zu/e0/set",
                 device);
    else
        snprintf(topic, sizeof(topic), "g/d%zu/%s%u/%s", device, sim_chance(sim, 5) ? "no" : "e",
                 sim_below(sim, (uint32_t)sim->settings.devices[device].n_characteristics),
                 get                   ? "get"
                 : sim_chance(sim, 10) ? "set/value"
                                       : "set");
    struct event event = {.type = EVENT_MESSAGE,
                          .message = {.topic = topic,
                                      .payload = payload,
                                      .length = strlen(payload),
                                      .qos = 1,
                                      .retained = retained,
                                      .correlation = &index,
                                      .correlation_length = sizeof(index)}};
    bool deaf = !sim_is_subscribed(sim, topic);
    if (retained || nowhere || deaf)
        sim->commands[index].state = ANSWERED; /* and never carried out */
    if (deaf && !nowhere)
        return;
    if (retained)
        sim->commands[index].n_writes = 1;
    sim_trace(sim, "command %u: %s %s%s", index, topic, payload, retained ? " (retained)" : "");
    sim_emit(sim, &event);
}

void sim_commands_check(struct sim *sim, uint64_t until_us)
{
    struct outbox_stats stats;

    outbox_get_stats(sim->gateway->outbox, &stats);
    for (size_t i = 0; i < sim->n_commands; i++)
        if (sim->commands[i].state == SENT && sim->commands[i].sent_us < until_us && !stats.dropped)
            sim_fail(sim, "command %zu, sent after %.3f s, was never answered", i,
                     (double)(sim->commands[i].sent_us - sim->start_us) / 1e6);
}

/* A stop answers all that is open. */
void sim_commands_done(struct sim *sim)
{
    if (sim->broker_up && outbox_is_empty(sim->gateway->outbox)) {
        sim_commands_check(sim, TIME_NEVER);
        sim_stream_check_empty(sim);
        if (!sim->said_offline)
            sim_fail(sim, "stopped without saying `offline`");
        for (size_t i = 0; i < sim->n_devices; i++)
            if (sim->gateway->peers[i]->speaks &&
                (!sim->peers[i].availability_handed || sim->peers[i].availability))
                sim_fail(sim, "d%zu is said to be available after the stop", i);
    }
}
