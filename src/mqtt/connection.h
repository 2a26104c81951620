/*
 * One connection to the broker, from the attempt to the end: the only file that speaks Paho. Used
 * from the loop's thread; what Paho's threads have to say goes into the inbox as items of this
 * connection's epoch. Decides nothing: when to connect again is client.c's business.
 *
 * Every connection has a Paho handle of its own. A handle that is used again would first send what
 * was left in its queue when the connection broke, behind the back of the core's outbox. A first
 * handle that never connects (the keeper) stays for the life of the process, because Paho stops its
 * threads with the last handle, and waits a second or more for them.
 *
 * At QoS 0 Paho's way (a queue, a wake-up of its thread, a dozen allocations) costs more than all
 * the rest of a value's journey. So where the connection is plain TCP such packets go straight into
 * its socket, as long as nothing is with Paho that was asked for before: the order stays, and no
 * packet of one comes into the middle of the other's (socket.h). What Paho writes unasked, PINGREQ
 * and PUBACK, has room behind ours; only where its own packets have just filled the socket to the
 * last byte, and the kernel then takes a half of those four bytes, would ours be in between: the
 * broker would close the connection, and another is made.
 */
#pragma once

#include "core/action.h"
#include "core/settings.h"
#include "mqtt/inbox.h"
#include "mqtt/reason.h"

struct connection;

#define MQTT_CONNECT_TIMEOUT_S 20
#define MQTT_WINDOW            20  /* ARCHITECTURE: more gains little, and brokers allow it */
#define MQTT_WINDOW_QOS0       256 /* Paho's queue is unbounded: this bounds it */
#define MQTT_MAX_PAYLOAD       (1024 * 1024) /* the list of devices of before is read back */
#define MQTT_MAX_PACKET        (MQTT_MAX_PAYLOAD + 128 * 1024) /* with topic and properties */

/* What the broker publishes when we vanish. */
struct mqtt_will {
    const char *topic, *payload; /* topic NULL: none */
    bool retain;
    uint8_t qos;
};

struct connection_options {
    const struct mqtt_settings *settings; /* borrowed for the call */
    struct mqtt_will will;
    struct inbox *inbox; /* borrowed, outlives the connection */
    uint32_t epoch;
};

/* Items that a connection puts into the inbox: INBOX_OTHER, and this in front. */
enum connection_note_type {
    CONNECTION_UP,     /* struct connection_up */
    CONNECTION_FAILED, /* struct connection_end: the attempt */
    CONNECTION_ENDED,  /* struct connection_end: after UP; may come twice */
    CONNECTION_CLOSED, /* connection_close() is done */
    CONNECTION_ANSWER, /* struct connection_answer */
};

struct connection_note {
    struct inbox_item item; /* first */
    enum connection_note_type type;
};

struct connection_up {
    struct connection_note note; /* first */
    bool session_present, retain_available;
    unsigned window;
    uint32_t max_packet; /* 0: no limit */
    uint8_t max_qos;
};

struct connection_end {
    struct connection_note note; /* first */
    enum mqtt_end end;
    int code;
    char server_reference[128]; /* printable; "" if the broker names none */
};

/* To a publication or a subscription; goes back with connection_answer_free(). */
struct connection_answer {
    struct connection_note note; /* first */
    struct connection *connection;
    struct connection_answer *next_free;
    bool none; /* nobody can say, for the connection broke; or nobody wants to know */
    bool ok;
    int code;
    uint64_t token;
    char *filter; /* owned; of a subscription, else NULL */
};

/* The keeper, of the library that these settings need; nothing may be pending when it is made. NULL
 * when out of memory or there is no such library. */
void *connection_keeper_new(const struct mqtt_settings *settings);

/* Starts an attempt: UP or FAILED follows. CONNECTION_E_LIBRARY: Paho refused, see the code. */
#define CONNECTION_E_LIBRARY 1
MUST_CHECK
int connection_new(const struct connection_options *options, struct connection **ret_connection,
                   int *ret_code);
/* Quick, and what it has put leaves the inbox. While the attempt is pending it is left to Paho's
 * threads, which end it should it succeed: MQTTAsync_destroy() would wait for the name server.
 * Then handle and connection stay in memory, held by Paho's list of handles (some KiB). */
struct connection *connection_free(struct connection *connection);

/* After UP, once: tells the socket not to wait, and finds it for what goes beside Paho. */
void connection_tune(struct connection *connection, const struct mqtt_settings *settings);
/* After UP. 0: sent or dropped with the connection; the answer, if wanted, comes as an item. Topic
 * and filter must be valid. `patience` is that of a good answer (inbox.h); a refusal has none.
 * -ENOMEM; or a positive CONNECTION_E_LIBRARY. */
MUST_CHECK
int connection_publish(struct connection *connection, const struct action *action,
                       unsigned patience, int *ret_code);
MUST_CHECK
int connection_subscribe(struct connection *connection, const char *filter, uint8_t qos,
                         int *ret_code);
void connection_unsubscribe(struct connection *connection, const char *filter);
/* An answer that comes from here instead of the broker. */
MUST_CHECK
int connection_refuse(struct connection *connection, uint64_t token, const char *filter, int code);
void connection_answer_free(struct connection_answer *answer);
/* DISCONNECT behind what was published before; CLOSED follows unless it cannot. */
MUST_CHECK
int connection_close(struct connection *connection);
/* What OpenSSL complained about during the attempt, "" if nothing; after FAILED. */
const char *connection_tls_error(const struct connection *connection);
