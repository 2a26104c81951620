/*
 * The connection to the broker, as far as the core is concerned: events come out, actions go in.
 * Speaks Paho MQTTAsync from the loop's thread only; Paho's own threads do no more than copy into
 * an inbox. Connects and reconnects by itself, with a backoff of its own. Must not know Bluetooth.
 */
#pragma once

#include "core/action.h"
#include "core/settings.h"

struct mqtt_client;
struct sd_event;

struct mqtt_client_options {
    struct sd_event *event;               /* referenced */
    const struct mqtt_settings *settings; /* borrowed, outlives the client */
    const char *will_topic;               /* copied; retained, QoS 1 */
    const char *will_payload;             /* copied */
    /* Called from the loop, never from inside mqtt_client_execute(). */
    void (*emit)(void *userdata, const struct event *event);
    void *userdata;
};

MUST_CHECK
int mqtt_client_new(const struct mqtt_client_options *options, struct mqtt_client **ret_client);
/* The settings are these from now on; they count with the next connection. Borrowed like the first
 * ones, which are not needed any more. */
void mqtt_client_set_settings(struct mqtt_client *client, const struct mqtt_settings *settings);
/* Starts to connect; EVENT_BROKER_UP or EVENT_BROKER_DOWN follows, again and again. */
MUST_CHECK
int mqtt_client_start(struct mqtt_client *client);
/* ACTION_PUBLISH, ACTION_TOPIC_SUBSCRIBE, ACTION_TOPIC_UNSUBSCRIBE. While not connected they are
 * dropped: the core asks again after EVENT_BROKER_UP. ACTION_RECONNECT says DISCONNECT behind them,
 * then EVENT_BROKER_DOWN, and connects at once. */
void mqtt_client_execute(struct mqtt_client *client, const struct action *action);
/* Takes the answers that the loop was not woken for (ACTION_PUBLISH's `patient`); from the loop,
 * when it is awake anyway, and not from inside emit of this client's. */
void mqtt_client_collect(struct mqtt_client *client);
/* Sends DISCONNECT, which suppresses the will, and calls `done` when it is out or after
 * `timeout_ms`. */
void mqtt_client_stop(struct mqtt_client *client, uint64_t timeout_ms, void (*done)(void *userdata),
                      void *userdata);
/* Never blocks: with an attempt pending Paho's handle is left behind (MQTTAsync_destroy() would
 * wait for the name server), and ends by itself should it still connect. Not from inside emit or
 * done. A client that is made while one is left behind may block until the resolver gives up. */
struct mqtt_client *mqtt_client_free(struct mqtt_client *client);
