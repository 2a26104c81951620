/*
 * Why there is no connection: a stable word for machines and a sentence for people, and how long to
 * wait before the next try. Pure; knows of Paho only its codes.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* where an attempt or a connection ended */
enum mqtt_end {
    MQTT_END_LIBRARY,      /* Paho refused to start; `code` is its error */
    MQTT_END_START,        /* it failed at once: no such name, no route, refused */
    MQTT_END_TRANSPORT,    /* TCP or TLS failed */
    MQTT_END_TIMEOUT,      /* no answer in time */
    MQTT_END_UNANSWERED,   /* the broker closed instead of answering CONNECT */
    MQTT_END_REFUSED,      /* CONNACK; `code` is its reason or return code */
    MQTT_END_LOST,         /* the connection broke */
    MQTT_END_DISCONNECTED, /* the broker sent DISCONNECT (MQTT 5); `code` is its reason */
};

struct mqtt_failure {
    enum mqtt_end end;
    int code;
    bool v5, tls;
    const char *tls_error; /* OpenSSL's words, or "" */
    const char *host;
    uint16_t port;
    unsigned timeout_s;
    bool has_username;
    const char *client_id;
    unsigned n_short_lived;       /* connections in a row that broke soon after they came up */
    unsigned n_taken_over;        /* times that another client took our id, since it was quiet */
    const char *server_reference; /* where a broker says to go instead (MQTT 5, 4.13), or "" */
};

/* From so many on another client with our id is suspected: Mosquitto 2.0 does not say so. */
#define MQTT_SHORT_LIVED_SUSPICIOUS 3

/* The stable word; writes the sentence. Never has secrets in it. */
const char *mqtt_failure_explain(const struct mqtt_failure *failure, char *text, size_t size);

#define MQTT_RETRY_FIRST_MIN_MS 250
#define MQTT_RETRY_FIRST_MAX_MS 1000
#define MQTT_RETRY_MAX_MS       30000  /* before jitter: online within a minute of the broker */
#define MQTT_RIVAL_FIRST_MS     60000  /* at least, after another client took our id again */
#define MQTT_RIVAL_MAX_MS       900000 /* at least, after it did so many times */
#define MQTT_SUSPECT_MAX_MS     300000 /* before jitter, where a rival is only suspected */

struct mqtt_retry {
    unsigned n_failures;   /* since the connection was last good for a while */
    unsigned n_taken_over; /* as above; 0: not the reason this time */
    bool is_rival_suspected;
};

/* The delay before the next try: short the first time, then 1 s doubling to 30 s, each ± 20 %.
 * After a second takeover minutes, doubling and never less: two clients with one id must not throw
 * each other out without end. `random` is any number. */
uint64_t mqtt_retry_delay_ms(const struct mqtt_retry *retry, uint32_t random);
