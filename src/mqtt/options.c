/* Settings to Paho's structures; see options.h. */
#include "mqtt/options.h"

#include "mqtt/connection.h"
#include "util/cleanup.h"
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_CA "/etc/ssl/certs/ca-certificates.crt"

static const char *scheme_of(enum mqtt_transport transport)
{
    switch (transport) {
    case MQTT_TRANSPORT_TCP: return "tcp";
    case MQTT_TRANSPORT_TLS: return "ssl";
    case MQTT_TRANSPORT_WS: return "ws";
    case MQTT_TRANSPORT_WSS: return "wss";
    }
    return "tcp";
}

static char *uri_new(const struct mqtt_settings *settings)
{
    bool v6 = strchr(settings->host, ':') != NULL;
    const char *path = settings->path ? settings->path : "";
    char *uri;

    if (asprintf(&uri, "%s://%s%s%s:%u%s%s", scheme_of(settings->transport), v6 ? "[" : "",
                 settings->host, v6 ? "]" : "", settings->port,
                 path[0] != '\0' && path[0] != '/' ? "/" : "", path) < 0)
        return NULL;
    return uri;
}

static int handle_new(const struct paho *paho, const char *uri, const char *client_id, int version,
                      MQTTAsync *ret_handle)
{
    MQTTAsync_createOptions options = MQTTAsync_createOptions_initializer;

    /* The outbox is the core's: nothing is kept while away, and Paho's own limit (100, also while
     * connected) is out of the way of the windows. Persistence would be files in the working
     * directory. */
    options.MQTTVersion = version;
    options.sendWhileDisconnected = 0;
    options.maxBufferedMessages = INT_MAX;
    /* By default Paho writes each packet down in words, for a trace that nobody asks for. */
    if (!getenv("MQTT_C_CLIENT_TRACE"))
        paho->MQTTAsync_setTraceLevel(MQTTASYNC_TRACE_ERROR);
    return paho->MQTTAsync_createWithOptions(ret_handle, uri, client_id,
                                             MQTTCLIENT_PERSISTENCE_NONE, NULL, &options);
}

static int paho_version(const struct mqtt_settings *settings)
{
    /* never the default, which comes back as MQTT 3.1 */
    return settings->protocol == 5 ? MQTTVERSION_5 : MQTTVERSION_3_1_1;
}

int mqtt_handle_new(const struct paho *paho, const struct mqtt_settings *settings,
                    MQTTAsync *ret_handle)
{
    _cleanup_(freep) char *uri = uri_new(settings);

    if (!uri)
        return MQTTASYNC_FAILURE;
    return handle_new(paho, uri, settings->client_id, paho_version(settings), ret_handle);
}

MQTTAsync mqtt_keeper_new(const struct paho *paho)
{
    MQTTAsync keeper = NULL;

    if (handle_new(paho, "tcp://localhost:1883", "keeper", MQTTVERSION_3_1_1, &keeper) !=
        MQTTASYNC_SUCCESS)
        return NULL;
    return keeper;
}

/*
 * ERR_print_errors_cb(3): "thread:error:code:library:function:reason:file:line:data". The first is
 * the cause, what follows are its consequences. `data` names a file or an alert, never a secret.
 */
static int on_tls_error(const char *line, size_t length, void *userdata)
{
    char *text = userdata;
    const char *fields[9] = {line};
    size_t lengths[9] = {0}, n = 0, used;

    if (text[0] != '\0')
        return 1;
    for (size_t i = 0; i < length && line[i] != '\n'; i++) {
        if (line[i] == ':' && n < 8)
            fields[++n] = line + i + 1;
        else
            lengths[n]++;
    }
    if (n < 5)
        snprintf(text, MQTT_TLS_ERROR_SIZE, "%.*s", (int)lengths[0], fields[0]);
    else if (n == 8 && lengths[8] > 0)
        snprintf(text, MQTT_TLS_ERROR_SIZE, "%.*s (%.*s)", (int)lengths[5], fields[5],
                 (int)lengths[8], fields[8]);
    else
        snprintf(text, MQTT_TLS_ERROR_SIZE, "%.*s", (int)lengths[5], fields[5]);
    used = strlen(text);
    for (size_t i = 0; i < used; i++)
        if ((unsigned char)text[i] < 0x20 || (unsigned char)text[i] > 0x7e)
            text[i] = '?';
    return 1;
}

static void tls_init(struct mqtt_connect_options *options, const struct mqtt_settings *settings,
                     char *tls_error)
{
    options->tls = (MQTTAsync_SSLOptions)MQTTAsync_SSLOptions_initializer;
    options->tls.trustStore = settings->tls_ca ? settings->tls_ca : DEFAULT_CA;
    options->tls.keyStore = settings->tls_certificate;
    options->tls.privateKey = settings->tls_key;
    /* without it OpenSSL would ask on the terminal for the password of an encrypted key */
    options->tls.privateKeyPassword = "";
    options->tls.enableServerCertAuth = 1;
    options->tls.verify = 1; /* the host name, too */
    options->tls.ssl_error_cb = on_tls_error;
    options->tls.ssl_error_context = tls_error;
    options->paho.ssl = &options->tls;
}

/* 0 is off; the packet has 16 bits for it */
static int keepalive_s(const struct mqtt_settings *settings)
{
    uint64_t seconds = (settings->keepalive_ms + 999) / 1000;

    return (int)MIN_OF(seconds, (uint64_t)UINT16_MAX);
}

bool mqtt_needs_tls(const struct mqtt_settings *settings)
{
    return settings->transport == MQTT_TRANSPORT_TLS || settings->transport == MQTT_TRANSPORT_WSS;
}

void mqtt_connect_options_init(struct mqtt_connect_options *options, const struct paho *paho,
                               const struct mqtt_settings *settings, const struct mqtt_will *will,
                               char tls_error[MQTT_TLS_ERROR_SIZE])
{
    bool v5 = settings->protocol == 5;

    memset(options, 0, sizeof *options);
    if (v5)
        options->paho = (MQTTAsync_connectOptions)MQTTAsync_connectOptions_initializer5;
    else
        options->paho = (MQTTAsync_connectOptions)MQTTAsync_connectOptions_initializer;
    options->paho.MQTTVersion = paho_version(settings);
    options->paho.cleansession = !v5;
    options->paho.cleanstart = v5;
    options->paho.keepAliveInterval = keepalive_s(settings);
    options->paho.connectTimeout = MQTT_CONNECT_TIMEOUT_S;
    options->paho.automaticReconnect = 0;
    options->paho.username = settings->username;
    options->paho.password = settings->password;
    if (will->topic) {
        options->will = (MQTTAsync_willOptions)MQTTAsync_willOptions_initializer;
        options->will.topicName = will->topic;
        options->will.message = will->payload;
        options->will.retained = will->retain;
        options->will.qos = will->qos;
        options->paho.will = &options->will;
    }
    if (mqtt_needs_tls(settings))
        tls_init(options, settings, tls_error);
    if (v5) {
        MQTTProperty max_packet = {.identifier = MQTTPROPERTY_CODE_MAXIMUM_PACKET_SIZE,
                                   .value.integer4 = MQTT_MAX_PACKET};
        paho->MQTTProperties_add(&options->properties, &max_packet);
        options->paho.connectProperties = &options->properties;
    }
}

void mqtt_connect_options_done(struct mqtt_connect_options *options, const struct paho *paho)
{
    paho->MQTTProperties_free(&options->properties);
}

int mqtt_connect(const struct paho *paho, MQTTAsync handle,
                 const struct mqtt_connect_options *options)
{
    sigset_t block, before;

    /* The first connect starts Paho's threads: signals are for the loop's signalfd alone. Those
     * that a fault raises stay open, for what reports it. */
    sigfillset(&block);
    sigdelset(&block, SIGSEGV);
    sigdelset(&block, SIGBUS);
    sigdelset(&block, SIGFPE);
    sigdelset(&block, SIGILL);
    sigdelset(&block, SIGABRT);
    pthread_sigmask(SIG_BLOCK, &block, &before);
    int rc = paho->MQTTAsync_connect(handle, &options->paho);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc;
}

void mqtt_publish_properties(const struct paho *paho, const struct action *action,
                             MQTTProperties *properties)
{
    if (action->publish.expiry_s > 0) {
        MQTTProperty expiry = {.identifier = MQTTPROPERTY_CODE_MESSAGE_EXPIRY_INTERVAL,
                               .value.integer4 = action->publish.expiry_s};
        paho->MQTTProperties_add(properties, &expiry);
    }
    if (action->publish.correlation) {
        MQTTProperty correlation = {.identifier = MQTTPROPERTY_CODE_CORRELATION_DATA};
        correlation.value.data.len = (int)action->publish.correlation_length;
        correlation.value.data.data = (char *)action->publish.correlation; /* copied */
        paho->MQTTProperties_add(properties, &correlation);
    }
}
