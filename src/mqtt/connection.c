/*
 * Paho MQTTAsync; see connection.h. The callbacks (on_...) run in Paho's threads with its mutex
 * held: they fill an item that was reserved for them, put it into the inbox and return. Must not
 * know backoff, the core or the loop.
 */
#include "mqtt/connection.h"

#include "mqtt/options.h"
#include "mqtt/packet.h"
#include "mqtt/properties.h"
#include "mqtt/socket.h"
#include "util/log.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ANSWERS_PER_CHUNK 32

struct answer_chunk {
    struct answer_chunk *next;
    struct connection_answer answers[ANSWERS_PER_CHUNK];
};

struct connection {
    struct paho paho;
    MQTTAsync handle; /* owned */
    bool v5;
    uint32_t epoch;
    struct inbox *inbox; /* borrowed; not touched once abandoned */

    pthread_mutex_t mutex; /* guards the next two */
    bool settled;          /* the attempt has ended, one way or the other */
    bool abandoned;

    struct connection_up up;
    struct connection_end failed, lost, disconnected;
    struct connection_note closed;
    char tls_error[MQTT_TLS_ERROR_SIZE]; /* written until the attempt is settled */

    struct answer_chunk *chunks;    /* owned */
    struct connection_answer *free; /* the loop's */

    int socket;          /* owned: a descriptor for what goes beside Paho; or -1 */
    atomic_uint n_asked; /* requests that Paho has not answered: they may not be written yet */
};

/* ---- from Paho's threads ---- */

static void put(struct connection *connection, struct connection_note *note)
{
    pthread_mutex_lock(&connection->mutex);
    if (!connection->abandoned)
        inbox_put(connection->inbox, &note->item);
    pthread_mutex_unlock(&connection->mutex);
}

/* false: nobody waits for it any more */
static bool settle(struct connection *connection, struct connection_note *note)
{
    pthread_mutex_lock(&connection->mutex);
    bool wanted = !connection->abandoned;
    connection->settled = true;
    if (wanted)
        inbox_put(connection->inbox, &note->item);
    pthread_mutex_unlock(&connection->mutex);
    return wanted;
}

static void settle_up(struct connection *connection)
{
    MQTTAsync_disconnectOptions options = MQTTAsync_disconnectOptions_initializer;

    if (settle(connection, &connection->up.note))
        return;
    /* Its owner left while the attempt was pending. Allowed here: it only queues a command. */
    (void)connection->paho.MQTTAsync_disconnect(connection->handle, &options);
}

static void on_connect(void *context, MQTTAsync_successData *data)
{
    struct connection *connection = context;

    connection->up.session_present = data->alt.connect.sessionPresent != 0;
    settle_up(connection);
}

static void on_connect5(void *context, MQTTAsync_successData5 *data)
{
    struct connection *connection = context;
    struct connection_up *up = &connection->up;
    uint32_t value;

    up->session_present = data->alt.connect.sessionPresent != 0;
    if (properties_number(&connection->paho, &data->properties, MQTTPROPERTY_CODE_RECEIVE_MAXIMUM,
                          &value) &&
        value > 0)
        up->window = MIN_OF(up->window, value);
    if (properties_number(&connection->paho, &data->properties,
                          MQTTPROPERTY_CODE_MAXIMUM_PACKET_SIZE, &value))
        up->max_packet = value;
    if (properties_number(&connection->paho, &data->properties, MQTTPROPERTY_CODE_RETAIN_AVAILABLE,
                          &value))
        up->retain_available = value != 0;
    if (properties_number(&connection->paho, &data->properties, MQTTPROPERTY_CODE_MAXIMUM_QOS,
                          &value))
        up->max_qos = (uint8_t)MIN_OF(value, 2U);
    settle_up(connection);
}

/* Paho 1.3 tells the stages apart by these words only. */
static enum mqtt_end end_of(int code, const char *message)
{
    if (!message)
        return MQTT_END_START;
    if (code > 0 && strcmp(message, "CONNACK return code") == 0)
        return MQTT_END_REFUSED;
    if (strcmp(message, "TCP connect timeout") == 0)
        return MQTT_END_TIMEOUT;
    if (strcmp(message, "TCP/TLS connect failure") == 0)
        return MQTT_END_TRANSPORT;
    return MQTT_END_UNANSWERED;
}

static void settle_failed(struct connection *connection, int code, const char *message)
{
    connection->failed.code = code;
    connection->failed.end = end_of(code, message);
    (void)settle(connection, &connection->failed.note);
}

static void on_connect_failure(void *context, MQTTAsync_failureData *data)
{
    settle_failed(context, data->code, data->message);
}

static void on_connect_failure5(void *context, MQTTAsync_failureData5 *data)
{
    struct connection *connection = context;

    properties_server_reference(&connection->paho, &data->properties,
                                connection->failed.server_reference,
                                sizeof connection->failed.server_reference);
    settle_failed(context, data->code, data->message);
}

static void on_lost(void *context, char *cause)
{
    struct connection *connection = context;

    put(connection, &connection->lost.note);
}

/* the broker's DISCONNECT; Paho does not call on_lost() after it */
static void on_disconnected(void *context, MQTTProperties *properties, enum MQTTReasonCodes code)
{
    struct connection *connection = context;

    connection->disconnected.code = (int)code;
    if (properties)
        properties_server_reference(&connection->paho, properties,
                                    connection->disconnected.server_reference,
                                    sizeof connection->disconnected.server_reference);
    put(connection, &connection->disconnected.note);
}

static void on_closed(void *context, MQTTAsync_successData *data)
{
    struct connection *connection = context;

    put(connection, &connection->closed);
}

static void on_closed5(void *context, MQTTAsync_successData5 *data)
{
    struct connection *connection = context;

    put(connection, &connection->closed);
}

static void answer_put(struct connection_answer *answer, bool ok, int code)
{
    answer->ok = ok;
    answer->code = code;
    put(answer->connection, &answer->note);
}

/* The request is written, or never will be. */
static void answer_from_paho(struct connection_answer *answer, bool ok, int code)
{
    atomic_fetch_sub(&answer->connection->n_asked, 1);
    answer_put(answer, ok, code);
}

static void on_answer(void *context, MQTTAsync_successData *data)
{
    answer_from_paho(context, true, 0);
}

static void on_answer5(void *context, MQTTAsync_successData5 *data)
{
    answer_from_paho(context, true, 0);
}

/* Negative codes are Paho's: the connection broke. Of a SUBACK it is 0x80. */
static void on_refusal(void *context, MQTTAsync_failureData *data)
{
    struct connection_answer *answer = context;

    answer->none |= data->code < 0;
    answer->note.item.patience = 0;
    answer_from_paho(answer, false, data->code);
}

static void on_refusal5(void *context, MQTTAsync_failureData5 *data)
{
    struct connection_answer *answer = context;

    answer->note.item.patience = 0;
    answer->none |= (int)data->reasonCode < MQTTREASONCODE_UNSPECIFIED_ERROR || data->code < 0;
    answer_from_paho(answer, false, (int)data->reasonCode);
}

static int on_message(void *context, char *topic, int topic_length, MQTTAsync_message *paho)
{
    struct connection *connection = context;
    struct inbox_message message = {
        .item.epoch = connection->epoch,
        .topic = topic,
        .payload = paho->payload,
        .length = (size_t)MAX_OF(paho->payloadlen, 0),
        .qos = (uint8_t)paho->qos,
        .retained = paho->retained != 0,
        .duplicate = paho->dup != 0,
    };
    char *response_topic = NULL;

    if (connection->v5)
        response_topic = properties_of_message(&connection->paho, &paho->properties, &message);
    pthread_mutex_lock(&connection->mutex);
    if (connection->abandoned)
        ;
    else if (topic_length > 0 && strlen(topic) != (size_t)topic_length) /* a NUL inside */
        inbox_count_dropped(connection->inbox);
    else
        (void)inbox_put_message(connection->inbox, &message);
    pthread_mutex_unlock(&connection->mutex);
    free(response_topic);
    connection->paho.MQTTAsync_freeMessage(&paho);
    connection->paho.MQTTAsync_free(topic);
    return 1; /* 0 would deliver it again */
}

/* ---- from the loop ---- */

static void note_init(struct connection *connection, struct connection_note *note,
                      enum connection_note_type type)
{
    note->item = (struct inbox_item){.type = INBOX_OTHER, .epoch = connection->epoch};
    note->type = type;
}

static struct connection *connection_alloc(const struct connection_options *options)
{
    struct connection *connection = calloc(1, sizeof *connection);

    if (!connection)
        return NULL;
    connection->v5 = options->settings->protocol == 5;
    connection->epoch = options->epoch;
    connection->inbox = options->inbox;
    pthread_mutex_init(&connection->mutex, NULL);
    note_init(connection, &connection->up.note, CONNECTION_UP);
    note_init(connection, &connection->failed.note, CONNECTION_FAILED);
    note_init(connection, &connection->lost.note, CONNECTION_ENDED);
    note_init(connection, &connection->disconnected.note, CONNECTION_ENDED);
    note_init(connection, &connection->closed, CONNECTION_CLOSED);
    connection->up.window = MQTT_WINDOW;
    connection->up.retain_available = true;
    connection->up.max_qos = 2;
    connection->lost.end = MQTT_END_LOST;
    connection->disconnected.end = MQTT_END_DISCONNECTED;
    connection->socket = -1;
    return connection;
}

static int connect_handle(struct connection *connection, const struct connection_options *options)
{
    struct mqtt_connect_options connect;
    int rc;

    if ((rc = connection->paho.MQTTAsync_setCallbacks(connection->handle, connection, on_lost,
                                                      on_message, NULL)) != MQTTASYNC_SUCCESS)
        return rc;
    if (connection->v5 &&
        (rc = connection->paho.MQTTAsync_setDisconnected(connection->handle, connection,
                                                         on_disconnected)) != MQTTASYNC_SUCCESS)
        return rc;
    mqtt_connect_options_init(&connect, &connection->paho, options->settings, &options->will,
                              connection->tls_error);
    connect.paho.context = connection;
    if (connection->v5) {
        connect.paho.onSuccess5 = on_connect5;
        connect.paho.onFailure5 = on_connect_failure5;
    } else {
        connect.paho.onSuccess = on_connect;
        connect.paho.onFailure = on_connect_failure;
    }
    rc = mqtt_connect(&connection->paho, connection->handle, &connect);
    mqtt_connect_options_done(&connect, &connection->paho);
    return rc;
}

int connection_new(const struct connection_options *options, struct connection **ret_connection,
                   int *ret_code)
{
    struct connection *connection = connection_alloc(options);
    int rc;

    if (!connection)
        return -ENOMEM;
    int r = paho_load(mqtt_needs_tls(options->settings), &connection->paho);
    if (r < 0) {
        connection->settled = true;
        connection_free(connection);
        return r;
    }
    rc = mqtt_handle_new(&connection->paho, options->settings, &connection->handle);
    if (rc == MQTTASYNC_SUCCESS)
        rc = connect_handle(connection, options);
    if (rc != MQTTASYNC_SUCCESS) {
        connection->settled = true;
        connection_free(connection);
        *ret_code = rc;
        return CONNECTION_E_LIBRARY;
    }
    *ret_connection = connection;
    return 0;
}

struct connection *connection_free(struct connection *connection)
{
    if (!connection)
        return NULL;
    pthread_mutex_lock(&connection->mutex);
    connection->abandoned = !connection->settled;
    bool abandoned = connection->abandoned;
    pthread_mutex_unlock(&connection->mutex);
    if (abandoned)
        return NULL;

    /* after it no callback comes any more; those for open requests come within it */
    if (connection->handle)
        connection->paho.MQTTAsync_destroy(&connection->handle);
    inbox_purge(connection->inbox, connection->epoch);
    if (connection->socket >= 0)
        close(connection->socket);
    while (connection->chunks) {
        struct answer_chunk *chunk = connection->chunks;
        connection->chunks = chunk->next;
        for (size_t i = 0; i < ANSWERS_PER_CHUNK; i++)
            free(chunk->answers[i].filter);
        free(chunk);
    }
    pthread_mutex_destroy(&connection->mutex);
    free(connection);
    return NULL;
}

void connection_tune(struct connection *connection, const struct mqtt_settings *settings)
{
    bool plain = settings->transport == MQTT_TRANSPORT_TCP;
    unsigned n = socket_tune(settings->port, plain ? &connection->socket : NULL);

    if (n == 0)
        log_debug("mqtt", "the socket to the broker was not found: no TCP_NODELAY");
    if (plain && connection->socket < 0)
        log_debug("mqtt", "QoS 0 goes by Paho's thread: %u sockets to the broker", n);
}

static struct connection_answer *answer_new(struct connection *connection)
{
    if (!connection->free) {
        struct answer_chunk *chunk = calloc(1, sizeof *chunk);
        if (!chunk)
            return NULL;
        chunk->next = connection->chunks;
        connection->chunks = chunk;
        for (size_t i = 0; i < ANSWERS_PER_CHUNK; i++) {
            chunk->answers[i].connection = connection;
            connection_answer_free(&chunk->answers[i]);
        }
    }
    struct connection_answer *answer = connection->free;
    connection->free = answer->next_free;
    note_init(connection, &answer->note, CONNECTION_ANSWER);
    answer->none = answer->ok = false;
    answer->code = 0;
    answer->token = 0;
    return answer;
}

void connection_answer_free(struct connection_answer *answer)
{
    free(answer->filter);
    answer->filter = NULL;
    answer->next_free = answer->connection->free;
    answer->connection->free = answer;
}

static MQTTAsync_responseOptions response_options(struct connection *connection,
                                                  struct connection_answer *answer)
{
    MQTTAsync_responseOptions response = MQTTAsync_responseOptions_initializer;

    response.context = answer;
    if (connection->v5) {
        response.onSuccess5 = on_answer5;
        response.onFailure5 = on_refusal5;
    } else {
        response.onSuccess = on_answer;
        response.onFailure = on_refusal;
    }
    atomic_fetch_add(&connection->n_asked, 1);
    return response;
}

/* what Paho said to a request, as this file's own errors; the answer is given up if it refused */
static int request_result(int rc, struct connection_answer *answer, int *ret_code)
{
    if (rc == MQTTASYNC_SUCCESS)
        return 0;
    atomic_fetch_sub(&answer->connection->n_asked, 1);
    connection_answer_free(answer);
    if (rc == MQTTASYNC_DISCONNECTED) /* its end is in the inbox already or will be at once */
        return 0;
    *ret_code = rc;
    return CONNECTION_E_LIBRARY;
}

/* True: it is on its way. Else it goes Paho's way, which also finds out about a broken connection.
 */
static bool publish_beside(struct connection *connection, const struct action *action)
{
    uint8_t packet[SOCKET_SEND_MAX];

    if (connection->socket < 0 || atomic_load(&connection->n_asked) > 0)
        return false;
    size_t length = mqtt_publish_write(action, connection->v5, packet, sizeof packet);
    return length > 0 && socket_send(connection->socket, packet, length) == 0;
}

int connection_publish(struct connection *connection, const struct action *action,
                       unsigned patience, int *ret_code)
{
    struct connection_answer *answer = answer_new(connection);
    const void *payload = action->publish.length > 0 ? action->publish.payload : "";

    if (!answer)
        return -ENOMEM;
    answer->token = action->publish.token;
    answer->none = action->publish.token == 0;
    answer->note.item.patience = patience;
    if (publish_beside(connection, action)) {
        answer_put(answer, true, 0);
        return 0;
    }
    MQTTAsync_responseOptions response = response_options(connection, answer);
    if (connection->v5)
        mqtt_publish_properties(&connection->paho, action, &response.properties);
    int rc = connection->paho.MQTTAsync_send(
        connection->handle, action->publish.topic, (int)action->publish.length, payload,
        action->publish.qos, action->publish.retain, &response);
    connection->paho.MQTTProperties_free(&response.properties);
    return request_result(rc, answer, ret_code);
}

int connection_subscribe(struct connection *connection, const char *filter, uint8_t qos,
                         int *ret_code)
{
    struct connection_answer *answer = answer_new(connection);

    if (!answer)
        return -ENOMEM;
    answer->filter = strdup(filter);
    if (!answer->filter) {
        connection_answer_free(answer);
        return -ENOMEM;
    }
    /* Retained messages are wanted (retain handling 0): the core counts retained commands instead
     * of carrying them out. */
    MQTTAsync_responseOptions response = response_options(connection, answer);
    int rc = connection->paho.MQTTAsync_subscribe(connection->handle, filter, qos, &response);
    return request_result(rc, answer, ret_code);
}

void connection_unsubscribe(struct connection *connection, const char *filter)
{
    struct connection_answer *answer = answer_new(connection);
    int code;

    if (!answer)
        return;
    answer->none = true;
    MQTTAsync_responseOptions response = response_options(connection, answer);
    int rc = connection->paho.MQTTAsync_unsubscribe(connection->handle, filter, &response);
    (void)request_result(rc, answer, &code);
}

int connection_refuse(struct connection *connection, uint64_t token, const char *filter, int code)
{
    struct connection_answer *answer = answer_new(connection);

    if (!answer)
        return -ENOMEM;
    if (filter && !(answer->filter = strdup(filter))) {
        connection_answer_free(answer);
        return -ENOMEM;
    }
    answer->token = token;
    answer_put(answer, false, code);
    return 0;
}

int connection_close(struct connection *connection)
{
    MQTTAsync_disconnectOptions options = MQTTAsync_disconnectOptions_initializer;

    /* No waiting for acknowledgements (timeout 0): Paho would look again after 3 s only. */
    options.context = connection;
    if (connection->v5) {
        options.struct_version = 1;
        options.onSuccess5 = on_closed5;
    } else {
        options.onSuccess = on_closed;
    }
    return connection->paho.MQTTAsync_disconnect(connection->handle, &options) == MQTTASYNC_SUCCESS
               ? 0
               : -ENOTCONN;
}

const char *connection_tls_error(const struct connection *connection)
{
    return connection->tls_error;
}

void *connection_keeper_new(const struct mqtt_settings *settings)
{
    struct paho paho;

    return paho_load(mqtt_needs_tls(settings), &paho) == 0 ? mqtt_keeper_new(&paho) : NULL;
}
