/* The functions of MQTTAsync.h that the client calls; see path_paho.h. */
#include "path_paho.h"

#include "mqtt/paho.h"
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define WAITING_MAX 4096
#define FILTERS_MAX 1024

struct answer {
    MQTTAsync_onSuccess *success;
    MQTTAsync_onSuccess5 *success5;
    void *context;
    char *topic; /* owned; a message to be given back instead */
    char *payload;
    int length;
};

static struct answer waiting[WAITING_MAX];
static unsigned n_waiting, n_values, n_read;
static char *filters[FILTERS_MAX];
static unsigned n_filters;
static MQTTAsync_messageArrived *on_message;
static void *message_context;
static int listener = -1, ours = -1, theirs = -1; /* what goes beside Paho arrives at the last */
static uint8_t buffer[65536];
static size_t n_buffer;

static struct answer *add(void)
{
    if (n_waiting == WAITING_MAX)
        abort();
    waiting[n_waiting] = (struct answer){0};
    return &waiting[n_waiting++];
}

static void add_response(const MQTTAsync_responseOptions *response)
{
    if (response->onSuccess || response->onSuccess5)
        *add() = (struct answer){.success = response->onSuccess,
                                 .success5 = response->onSuccess5,
                                 .context = response->context};
}

/* `+` is one level (MQTT 3.1.1, 4.7.1.3) */
static bool matches(const char *filter, const char *topic)
{
    for (;; filter++, topic++) {
        if (*filter == '+') {
            while (*topic && *topic != '/')
                topic++;
            filter++;
        }
        if (*filter != *topic)
            return false;
        if (!*filter)
            return true;
    }
}

static bool ends_with(const char *topic, const char *end)
{
    size_t length = strlen(topic), n = strlen(end);

    return length >= n && strcmp(topic + length - n, end) == 0;
}

/* the broker's side of a publication */
static void take(const char *topic, const void *payload, int length)
{
    if (ends_with(topic, "/value")) {
        n_values++;
        return;
    }
    for (unsigned i = 0; i < n_filters; i++) {
        if (!matches(filters[i], topic))
            continue;
        struct answer *message = add();
        message->topic = strdup(topic);
        message->payload = malloc((size_t)length + 1);
        message->length = length;
        if (!message->topic || !message->payload)
            abort();
        memcpy(message->payload, payload, (size_t)length);
        break;
    }
}

int MQTTAsync_send(MQTTAsync handle, const char *topic, int length, const void *payload, int qos,
                   int retained, MQTTAsync_responseOptions *response)
{
    add_response(response);
    take(topic, payload, length);
    return MQTTASYNC_SUCCESS;
}

/* The length of the packet in front, 0 if it is not whole; `ret_start` is behind the fixed header.
 */
static size_t packet_length(size_t *ret_start)
{
    size_t value = 0, i = 1;

    for (unsigned shift = 0; i < n_buffer; shift += 7) {
        uint8_t byte = buffer[i++];
        value |= (size_t)(byte & 127) << shift;
        if (byte < 128) {
            *ret_start = i;
            return i + value <= n_buffer ? i + value : 0;
        }
    }
    return 0;
}

/* MQTT 5, QoS 0, no properties */
static void take_packet(size_t start, size_t end)
{
    size_t length = (size_t)buffer[start] << 8 | buffer[start + 1];
    char topic[256];

    if ((buffer[0] & 0xfe) != 0x30 || length >= sizeof(topic) || buffer[start + 2 + length] != 0)
        abort();
    memcpy(topic, buffer + start + 2, length);
    topic[length] = '\0';
    start += 2 + length + 1;
    take(topic, buffer + start, (int)(end - start));
}

void path_paho_read(void)
{
    ssize_t n;

    while (theirs >= 0 &&
           (n = recv(theirs, buffer + n_buffer, sizeof(buffer) - n_buffer, MSG_DONTWAIT)) > 0) {
        size_t start, length;
        n_buffer += (size_t)n;
        while ((length = packet_length(&start)) > 0) {
            take_packet(start, length);
            n_read++;
            n_buffer -= length;
            memmove(buffer, buffer + length, n_buffer);
        }
    }
}

unsigned path_paho_n_read(void)
{
    return n_read;
}

uint16_t path_paho_listen(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(address);

    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0 ||
        listen(listener, 1) < 0 || getsockname(listener, (struct sockaddr *)&address, &length) < 0)
        abort();
    return ntohs(address.sin_port);
}

/* what the client is to find as Paho's socket */
static void connect_socket(void)
{
    struct sockaddr_in address;
    socklen_t length = sizeof(address);

    if (getsockname(listener, (struct sockaddr *)&address, &length) < 0)
        abort();
    ours = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(ours, (struct sockaddr *)&address, sizeof(address)) < 0 ||
        (theirs = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) < 0)
        abort();
}

static void deliver(const struct answer *answer)
{
    MQTTAsync_message initial = MQTTAsync_message_initializer, *message = malloc(sizeof(*message));

    if (!message)
        abort();
    *message = initial;
    message->payload = answer->payload;
    message->payloadlen = answer->length;
    message->qos = 1;
    (void)on_message(message_context, answer->topic, (int)strlen(answer->topic), message);
}

unsigned path_paho_answer(void)
{
    unsigned i;

    for (i = 0; i < n_waiting; i++) { /* an answer may add to them */
        struct answer answer = waiting[i];
        MQTTAsync_successData5 data5 = {0};
        MQTTAsync_successData data = {0};
        if (answer.topic)
            deliver(&answer);
        else if (answer.success5)
            answer.success5(answer.context, &data5);
        else
            answer.success(answer.context, &data);
    }
    n_waiting = 0;
    return i;
}

unsigned path_paho_count(void)
{
    return n_values;
}

int MQTTAsync_createWithOptions(MQTTAsync *handle, const char *uri, const char *id, int type,
                                void *context, MQTTAsync_createOptions *options)
{
    *handle = &n_waiting; /* any address */
    return MQTTASYNC_SUCCESS;
}

void MQTTAsync_setTraceLevel(enum MQTTASYNC_TRACE_LEVELS level)
{
}

void MQTTAsync_destroy(MQTTAsync *handle)
{
    close(ours);
    *handle = NULL;
}

int MQTTAsync_setCallbacks(MQTTAsync handle, void *context, MQTTAsync_connectionLost *lost,
                           MQTTAsync_messageArrived *arrived, MQTTAsync_deliveryComplete *complete)
{
    on_message = arrived;
    message_context = context;
    return MQTTASYNC_SUCCESS;
}

int MQTTAsync_setDisconnected(MQTTAsync handle, void *context, MQTTAsync_disconnected *function)
{
    return MQTTASYNC_SUCCESS;
}

int MQTTAsync_connect(MQTTAsync handle, const MQTTAsync_connectOptions *options)
{
    connect_socket();
    *add() = (struct answer){.success = options->onSuccess,
                             .success5 = options->onSuccess5,
                             .context = options->context};
    return MQTTASYNC_SUCCESS;
}

int MQTTAsync_disconnect(MQTTAsync handle, const MQTTAsync_disconnectOptions *options)
{
    return MQTTASYNC_SUCCESS;
}

int MQTTAsync_subscribe(MQTTAsync handle, const char *topic, int qos,
                        MQTTAsync_responseOptions *response)
{
    if (n_filters == FILTERS_MAX || !(filters[n_filters] = strdup(topic)))
        abort();
    n_filters++;
    add_response(response);
    return MQTTASYNC_SUCCESS;
}

int MQTTAsync_unsubscribe(MQTTAsync handle, const char *topic, MQTTAsync_responseOptions *response)
{
    add_response(response);
    return MQTTASYNC_SUCCESS;
}

void MQTTAsync_freeMessage(MQTTAsync_message **message)
{
    free((*message)->payload);
    free(*message);
    *message = NULL;
}

void MQTTAsync_free(void *pointer)
{
    free(pointer);
}

int paho_load(bool tls, struct paho *ret_paho)
{
#define PAHO_TAKE(name) .name = name,
    *ret_paho = (struct paho){PAHO_FUNCTIONS(PAHO_TAKE)};
#undef PAHO_TAKE
    return 0;
}
