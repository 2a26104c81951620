/*
 * When to connect, and what comes out of the inbox; see client.h. Runs in the loop's thread only,
 * and leaves Paho to connection.c.
 */
#include "mqtt/client.h"

#include "core/topic.h"
#include "mqtt/connection.h"
#include "mqtt/packet.h"
#include "util/cleanup.h"
#include "util/log.h"
#include "util/time.h"
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <systemd/sd-event.h>

#define ITEMS_PER_TURN 64   /* then other sources get their turn */
#define INBOX_MESSAGES 4096 /* at the start the links of all devices come at once */
#define INBOX_BYTES    ((size_t)4 * 1024 * 1024)
#define RENEW_CLOSE_MS 1000
#define UP_FOR_GOOD_US MS_TO_US(10000)  /* after that the backoff begins anew */
#define QUIET_US       MS_TO_US(600000) /* after that a rival with our id is forgotten */
/* Of two clients with one id each is connected for as long as the other waits, which with jitter
 * may be half as long again: only a connection of several times our own last wait shows that there
 * is no rival (any more). */
#define RIVAL_FACTOR      4
#define DROP_LOG_US       MS_TO_US(60000)
#define TIMER_ACCURACY_US MS_TO_US(10)

enum state {
    STATE_IDLE,       /* not started; for ever */
    STATE_WAITING,    /* until the retry timer */
    STATE_CONNECTING, /* Paho ends it: after its connect timeout, or the resolver's */
    STATE_UP,         /* for ever; the keepalive watches it */
    STATE_CLOSING,    /* DISCONNECT is on its way; until the stop timer. Then STOPPED, or, with
                         `renewing`, WAITING for no time */
    STATE_STOPPED,    /* for ever */
};

struct mqtt_client {
    struct sd_event *event;               /* a reference */
    const struct mqtt_settings *settings; /* borrowed, outlives us */
    char *will_topic, *will_payload;      /* owned */
    void (*emit)(void *userdata, const struct event *event);
    void *userdata;

    enum state state;
    bool has_keeper, has_tls_keeper;
    bool renewing;       /* the connection, or the attempt, is to be followed by another */
    struct inbox *inbox; /* owned */
    struct connection *connection; /* owned; in CONNECTING, UP and CLOSING */
    uint32_t epoch;                /* of the connection */
    struct sd_event_source *inbox_source, *retry_source, *stop_source; /* references */

    uint64_t up_since_us;
    uint64_t last_delay_us;              /* before the last try */
    unsigned n_failures;                 /* since a connection was last good for a while */
    unsigned n_short_lived;              /* connections in a row that were not */
    unsigned n_taken_over;               /* times that somebody took our id, since it was quiet */
    bool no_retained_will, no_qos1_will; /* the broker refused us because of them */
    struct connection_up limits;
    uint64_t dropped_logged, drop_logged_us;
    void (*done)(void *userdata);
    void *done_userdata;
};

static uint64_t now_us(const struct mqtt_client *client)
{
    uint64_t now = 0;

    sd_event_now(client->event, CLOCK_MONOTONIC, &now);
    return now;
}

static bool is_tls(const struct mqtt_client *client)
{
    return client->settings->transport == MQTT_TRANSPORT_TLS ||
           client->settings->transport == MQTT_TRANSPORT_WSS;
}

/* ---- connecting ---- */

static void wait_and_retry(struct mqtt_client *client, bool taken_over)
{
    struct mqtt_retry retry = {
        .n_failures = ++client->n_failures,
        .n_taken_over = taken_over ? client->n_taken_over : 0,
        .is_rival_suspected = client->n_short_lived >= MQTT_SHORT_LIVED_SUSPICIOUS,
    };
    uint32_t random = 0;

    if (getrandom(&random, sizeof random, GRND_NONBLOCK) < 0)
        random = (uint32_t)now_us(client);
    uint64_t delay_ms = mqtt_retry_delay_ms(&retry, random);
    client->last_delay_us = MS_TO_US(delay_ms);
    client->state = STATE_WAITING;
    sd_event_source_set_time_relative(client->retry_source, MS_TO_US(delay_ms));
    sd_event_source_set_enabled(client->retry_source, SD_EVENT_ONESHOT);
    log_debug("mqtt", "next try in %llu ms", (unsigned long long)delay_ms);
}

static void retry_now(struct mqtt_client *client)
{
    client->renewing = false;
    client->n_failures = client->n_short_lived = client->n_taken_over = 0;
    client->no_retained_will = client->no_qos1_will = false;
    client->state = STATE_WAITING;
    sd_event_source_set_time_relative(client->retry_source, 0);
    sd_event_source_set_enabled(client->retry_source, SD_EVENT_ONESHOT);
}

/* What a connection that was up tells about the network and about rivals. */
static void count_end(struct mqtt_client *client, bool taken_over)
{
    uint64_t up_us = now_us(client) - client->up_since_us;
    uint64_t undisturbed_us = client->last_delay_us * RIVAL_FACTOR;
    bool suspected = client->n_short_lived >= MQTT_SHORT_LIVED_SUSPICIOUS;

    if (up_us >= MAX_OF(QUIET_US, undisturbed_us))
        client->n_taken_over = 0;
    if (taken_over)
        client->n_taken_over++;
    if (up_us >= (suspected ? MAX_OF(UP_FOR_GOOD_US, undisturbed_us) : UP_FOR_GOOD_US))
        client->n_failures = client->n_short_lived = 0;
    else
        client->n_short_lived++;
}

/* The attempt failed or the connection ended: lets go of it, plans the next and tells. */
static void go_down(struct mqtt_client *client, const struct connection_end *ended)
{
    const struct mqtt_settings *settings = client->settings;
    bool was_up = client->state == STATE_UP;
    bool taken_over = ended->end == MQTT_END_DISCONNECTED && ended->code == MQTT_SESSION_TAKEN_OVER;
    char tls_error[256] = "", text[512];

    if (was_up)
        count_end(client, taken_over);
    else
        client->n_short_lived = 0; /* no rival makes the broker unreachable */
    struct mqtt_failure failure = {
        .end = ended->end,
        .code = ended->code,
        .v5 = settings->protocol == 5,
        .tls = is_tls(client),
        .tls_error = tls_error,
        .host = settings->host,
        .port = settings->port,
        .timeout_s = MQTT_CONNECT_TIMEOUT_S,
        .has_username = settings->username != NULL,
        .client_id = settings->client_id,
        .n_short_lived = was_up ? client->n_short_lived : 0,
        .n_taken_over = client->n_taken_over,
        .server_reference = ended->server_reference,
    };
    /* A broker that cannot do what the will asks for must refuse the connection (MQTT 5, 3.2.2.3.4
     * and 3.2.2.3.5): better a lesser will than none to talk to. */
    if (failure.end == MQTT_END_REFUSED && failure.v5) {
        client->no_retained_will |= failure.code == MQTT_RETAIN_NOT_SUPPORTED;
        client->no_qos1_will |= failure.code == MQTT_QOS_NOT_SUPPORTED;
    }
    if (client->connection && !was_up)
        snprintf(tls_error, sizeof tls_error, "%s", connection_tls_error(client->connection));
    const char *reason = mqtt_failure_explain(&failure, text, sizeof text);
    client->connection = connection_free(client->connection); /* and `ended` with it */
    if (client->renewing)
        retry_now(client);
    else
        wait_and_retry(client, taken_over);
    client->emit(
        client->userdata,
        &(struct event){.type = EVENT_BROKER_DOWN,
                        .broker_down = {.reason = reason, .text = text, .was_up = was_up}});
}

static int on_retry(struct sd_event_source *source, uint64_t usec, void *userdata)
{
    struct mqtt_client *client = userdata;
    struct connection_options options = {
        .settings = client->settings,
        .will = {.topic = client->will_topic,
                 .payload = client->will_payload,
                 .retain = !client->no_retained_will,
                 .qos = !client->no_qos1_will},
        .inbox = client->inbox,
        .epoch = ++client->epoch,
    };
    int code = 0, r;

    if (client->state != STATE_WAITING)
        return 0;
    bool *has_keeper = is_tls(client) ? &client->has_tls_keeper : &client->has_keeper;
    if (!*has_keeper)
        *has_keeper = connection_keeper_new(client->settings);
    client->state = STATE_CONNECTING;
    r = connection_new(&options, &client->connection, &code);
    if (r != 0)
        go_down(client,
                &(struct connection_end){.end = MQTT_END_LIBRARY, .code = r < 0 ? r : code});
    return 0;
}

static void close_and_renew(struct mqtt_client *client);

static void go_up(struct mqtt_client *client, const struct connection_up *up)
{
    client->state = STATE_UP;
    if (client->renewing) { /* with settings that are no longer current */
        close_and_renew(client);
        return;
    }
    client->limits = *up;
    client->up_since_us = now_us(client);
    client->n_failures = client->n_short_lived; /* what failed before it came is over */
    connection_tune(client->connection, client->settings);
    if (!up->retain_available)
        log_warning("mqtt", "the broker keeps no retained messages: states will be missing");
    client->emit(client->userdata, &(struct event){.type = EVENT_BROKER_UP,
                                                   .broker_up = {
                                                       .session_present = up->session_present,
                                                       .window = up->window,
                                                       .window_qos0 = MQTT_WINDOW_QOS0,
                                                       .max_packet = up->max_packet,
                                                       .retain_available = up->retain_available,
                                                       .max_qos = up->max_qos,
                                                       .v5 = client->settings->protocol == 5,
                                                   }});
}

/* ---- the way out ---- */

static void finish_stop(struct mqtt_client *client)
{
    client->state = STATE_STOPPED;
    client->connection = connection_free(client->connection);
    sd_event_source_set_enabled(client->retry_source, SD_EVENT_OFF);
    sd_event_source_set_enabled(client->stop_source, SD_EVENT_OFF);
    if (client->done) {
        void (*done)(void *userdata) = client->done;
        client->done = NULL;
        done(client->done_userdata);
    }
}

/* The connection is closed, so that another can be made. */
static void finish_renew(struct mqtt_client *client)
{
    sd_event_source_set_enabled(client->stop_source, SD_EVENT_OFF);
    client->connection = connection_free(client->connection);
    retry_now(client);
    client->emit(client->userdata,
                 &(struct event){.type = EVENT_BROKER_DOWN,
                                 .broker_down = {.reason = "reconnecting",
                                                 .text = "the configuration has changed",
                                                 .was_up = true}});
}

static void closed(struct mqtt_client *client)
{
    if (client->renewing)
        finish_renew(client);
    else
        finish_stop(client);
}

static int on_stop_timer(struct sd_event_source *source, uint64_t usec, void *userdata)
{
    closed(userdata);
    return 0;
}

static void close_and_renew(struct mqtt_client *client)
{
    /* in the loop's next turn where it cannot be closed */
    uint64_t timeout_ms = connection_close(client->connection) == 0 ? RENEW_CLOSE_MS : 0;

    client->renewing = true;
    client->state = STATE_CLOSING;
    sd_event_source_set_time_relative(client->stop_source, MS_TO_US(timeout_ms));
    sd_event_source_set_enabled(client->stop_source, SD_EVENT_ONESHOT);
}

static void renew(struct mqtt_client *client)
{
    switch (client->state) {
    case STATE_WAITING: retry_now(client); break;
    case STATE_CONNECTING: client->renewing = true; break; /* Paho must come to an end with it */
    case STATE_UP: close_and_renew(client); break;
    case STATE_IDLE:
    case STATE_CLOSING:
    case STATE_STOPPED: break;
    }
}

void mqtt_client_stop(struct mqtt_client *client, uint64_t timeout_ms, void (*done)(void *userdata),
                      void *userdata)
{
    client->done = done;
    client->done_userdata = userdata;
    client->renewing = false;
    if (client->state == STATE_UP && connection_close(client->connection) == 0) {
        client->state = STATE_CLOSING;
    } else if (client->state != STATE_CLOSING) {
        client->connection = connection_free(client->connection);
        client->state = STATE_STOPPED;
        timeout_ms = 0; /* in the loop's next turn */
    }
    sd_event_source_set_time_relative(client->stop_source, MS_TO_US(timeout_ms));
    sd_event_source_set_enabled(client->stop_source, SD_EVENT_ONESHOT);
}

/* ---- the inbox ---- */

static void take_message(struct mqtt_client *client, const struct inbox_message *message)
{
    struct event event = {
        .type = EVENT_MESSAGE,
        .message =
            {
                .topic = message->topic,
                .payload = message->payload,
                .length = message->length,
                .qos = message->qos,
                .retained = message->retained,
                .duplicate = message->duplicate,
                .response_topic = message->response_topic,
                .correlation = message->correlation,
                .correlation_length = message->correlation_length,
                .has_expiry = message->has_expiry,
                .expiry_s = message->expiry_s,
            },
    };

    if (client->connection && message->item.epoch == client->epoch)
        client->emit(client->userdata, &event);
}

static void take_answer(struct mqtt_client *client, struct connection_answer *answer)
{
    struct event event = {0};
    /* the answer may go with its connection while the event is handled */
    _cleanup_(freep) char *filter = TAKE_PTR(answer->filter);
    bool none = answer->none;

    if (filter) {
        event.type = EVENT_TOPIC_SUBSCRIBED;
        event.topic_subscribed.filter = filter;
        event.topic_subscribed.ok = answer->ok;
        event.topic_subscribed.code = answer->code;
    } else {
        event.type = EVENT_PUBLISHED;
        event.published.token = answer->token;
        event.published.ok = answer->ok;
        event.published.code = answer->code;
    }
    connection_answer_free(answer);
    if (!none)
        client->emit(client->userdata, &event);
}

static void take_note(struct mqtt_client *client, struct connection_note *note)
{
    struct connection_end *end = (struct connection_end *)note;

    switch (note->type) {
    case CONNECTION_UP: go_up(client, (struct connection_up *)note); break;
    case CONNECTION_FAILED: go_down(client, end); break;
    case CONNECTION_ENDED:
        if (client->state == STATE_CLOSING)
            closed(client);
        else
            go_down(client, end);
        break;
    case CONNECTION_CLOSED: closed(client); break;
    case CONNECTION_ANSWER: take_answer(client, (struct connection_answer *)note); break;
    }
}

static void log_drops(struct mqtt_client *client)
{
    uint64_t dropped = inbox_n_dropped(client->inbox);

    if (dropped == client->dropped_logged ||
        (client->drop_logged_us > 0 && now_us(client) - client->drop_logged_us < DROP_LOG_US))
        return;
    log_warning("mqtt", "%llu incoming messages dropped: too long or too many at once",
                (unsigned long long)(dropped - client->dropped_logged));
    client->dropped_logged = dropped;
    client->drop_logged_us = now_us(client);
}

static int on_inbox(struct sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
    struct mqtt_client *client = userdata;
    unsigned n;

    inbox_clear_wakeup(client->inbox);
    for (n = 0; n < ITEMS_PER_TURN; n++) {
        struct inbox_item *item = inbox_take(client->inbox);
        if (!item)
            break;
        if (item->type == INBOX_MESSAGE) {
            take_message(client, (struct inbox_message *)item);
            inbox_message_free(client->inbox, (struct inbox_message *)item);
        } else {
            take_note(client, (struct connection_note *)item);
        }
    }
    if (n == ITEMS_PER_TURN)
        inbox_wake(client->inbox);
    log_drops(client);
    return 0;
}

void mqtt_client_collect(struct mqtt_client *client)
{
    struct inbox_item *item;

    for (unsigned n = 0; n < ITEMS_PER_TURN && (item = inbox_take_patient(client->inbox)); n++)
        take_note(client, (struct connection_note *)item);
}

/* ---- actions ---- */

/* Half a window of good answers may wait for somebody to come by: what is behind a full window
 * then goes on well before it has run dry. */
static unsigned patience(const struct mqtt_client *client, const struct action *action)
{
    if (!action->publish.patient)
        return 0;
    return action->publish.qos ? client->limits.window / 2 : MQTT_WINDOW_QOS0 / 4;
}

/* Refused here, answered like a refusal of the broker's. `r`: what the request itself came to. */
static void refuse(struct mqtt_client *client, int r, uint64_t token, const char *filter, int code)
{
    if (r > 0 && (token != 0 || filter))
        r = connection_refuse(client->connection, token, filter, code);
    if (r < 0)
        log_error("mqtt", "a request to the broker failed: %s", strerror(-r));
}

static void publish(struct mqtt_client *client, const struct action *asked)
{
    struct action action = *asked;
    bool v5 = client->settings->protocol == 5;
    size_t limit = client->limits.max_packet > 0 ? client->limits.max_packet : MQTT_PACKET_MAX;
    int code = 0, r;

    action.publish.qos = (uint8_t)MIN_OF(asked->publish.qos, client->limits.max_qos);
    action.publish.retain = asked->publish.retain && client->limits.retain_available;
    if (!topic_is_valid_name(action.publish.topic, strlen(action.publish.topic))) {
        r = 1;
        code = MQTT_TOPIC_NAME_INVALID;
    } else if (mqtt_publish_size(&action, v5) > limit) {
        r = 1;
        code = MQTT_PACKET_TOO_LARGE;
    } else {
        r = connection_publish(client->connection, &action, patience(client, asked), &code);
    }
    if (r != 0)
        refuse(client, r, action.publish.token, NULL, code);
}

static void subscribe(struct mqtt_client *client, const struct action *action)
{
    const char *filter = action->topic.filter;
    int code = MQTT_TOPIC_FILTER_INVALID, r = 1;

    if (topic_is_valid_filter(filter, strlen(filter)))
        r = connection_subscribe(client->connection, filter, action->topic.qos, &code);
    if (r != 0)
        refuse(client, r, 0, filter, code);
}

void mqtt_client_execute(struct mqtt_client *client, const struct action *action)
{
    const char *filter = action->topic.filter;

    if (action->type == ACTION_RECONNECT)
        renew(client);
    if (client->state != STATE_UP)
        return;
    if (action->type == ACTION_PUBLISH)
        publish(client, action);
    else if (action->type == ACTION_TOPIC_SUBSCRIBE)
        subscribe(client, action);
    else if (action->type == ACTION_TOPIC_UNSUBSCRIBE &&
             topic_is_valid_filter(filter, strlen(filter)))
        connection_unsubscribe(client->connection, filter);
}

/* ---- life ---- */

static int add_sources(struct mqtt_client *client)
{
    int r = sd_event_add_io(client->event, &client->inbox_source, inbox_fd(client->inbox), EPOLLIN,
                            on_inbox, client);
    if (r < 0)
        return r;
    r = sd_event_add_time_relative(client->event, &client->retry_source, CLOCK_MONOTONIC, 0,
                                   TIMER_ACCURACY_US, on_retry, client);
    if (r < 0)
        return r;
    r = sd_event_source_set_enabled(client->retry_source, SD_EVENT_OFF);
    if (r < 0)
        return r;
    r = sd_event_add_time_relative(client->event, &client->stop_source, CLOCK_MONOTONIC, 0,
                                   TIMER_ACCURACY_US, on_stop_timer, client);
    if (r < 0)
        return r;
    return sd_event_source_set_enabled(client->stop_source, SD_EVENT_OFF);
}

/* Paho 1.3.12 sends even plain MQTT through a web proxy that it finds in the environment (1.3.13
 * asks to be told so first): nobody expects that of a connection in the own network. */
static void ignore_web_proxy(void)
{
    if (getenv("http_proxy"))
        unsetenv("http_proxy");
    if (getenv("https_proxy"))
        unsetenv("https_proxy");
}

int mqtt_client_new(const struct mqtt_client_options *options, struct mqtt_client **ret_client)
{
    static const struct inbox_limits limits = {
        .payload_bytes = MQTT_MAX_PAYLOAD,
        .messages = INBOX_MESSAGES,
        .bytes = INBOX_BYTES,
    };
    struct mqtt_client *client = calloc(1, sizeof *client);
    int r = -ENOMEM;

    if (!client)
        return r;
    client->event = sd_event_ref(options->event);
    client->settings = options->settings;
    client->emit = options->emit;
    client->userdata = options->userdata;
    if (options->will_topic) {
        client->will_topic = strdup(options->will_topic);
        client->will_payload = strdup(options->will_payload ? options->will_payload : "");
        if (!client->will_topic || !client->will_payload)
            goto fail;
    }
    r = inbox_new(&limits, &client->inbox);
    if (r >= 0)
        r = add_sources(client);
    if (r < 0)
        goto fail;
    ignore_web_proxy();
    *ret_client = client;
    return 0;
fail:
    mqtt_client_free(client);
    return r;
}

void mqtt_client_set_settings(struct mqtt_client *client, const struct mqtt_settings *settings)
{
    client->settings = settings;
}

int mqtt_client_start(struct mqtt_client *client)
{
    int r = sd_event_source_set_time_relative(client->retry_source, 0);

    if (r < 0)
        return r;
    client->state = STATE_WAITING;
    return sd_event_source_set_enabled(client->retry_source, SD_EVENT_ONESHOT);
}

struct mqtt_client *mqtt_client_free(struct mqtt_client *client)
{
    if (!client)
        return NULL;
    client->connection = connection_free(client->connection);
    sd_event_source_disable_unref(client->inbox_source);
    sd_event_source_disable_unref(client->retry_source);
    sd_event_source_disable_unref(client->stop_source);
    inbox_free(client->inbox);
    free(client->will_topic);
    free(client->will_payload);
    sd_event_unref(client->event);
    free(client);
    return NULL;
}
