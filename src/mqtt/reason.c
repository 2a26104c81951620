/* Codes to words; see reason.h. MQTT 3.1.1 section 3.2.2.3, MQTT 5.0 sections 3.2.2.2, 3.14.2.1. */
#include "mqtt/reason.h"

#include "util/err.h"
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

struct word {
    int code;
    const char *reason, *text;
};

/* CONNACK return codes of 3.1.1 */
static const struct word words_v3[] = {
    {1, "protocol", "the broker does not speak MQTT 3.1.1"},
    {2, "refused", "the broker does not accept the client id"},
    {3, "refused", "the broker is not available now"},
    {4, "bad_login", "wrong user name or password"},
    {5, "not_authorized", NULL},
};

/* reason codes of CONNACK and DISCONNECT */
static const struct word words_v5[] = {
    {0x81, "protocol", "malformed packet"},
    {0x82, "protocol", "protocol error"},
    {0x83, "refused", "an error of its own kind"},
    {0x84, "protocol", "the broker does not speak MQTT 5 (try protocol: 3.1.1)"},
    {0x85, "refused", "the broker does not accept the client id"},
    {0x86, "bad_login", "wrong user name or password"},
    {0x87, "not_authorized", NULL},
    {0x88, "refused", "the broker is not available now"},
    {0x89, "refused", "the broker is busy"},
    {0x8A, "not_authorized", "this client is banned"},
    {0x8B, "ended", "the broker is shutting down"},
    {0x8C, "bad_login", "bad authentication method"},
    {0x8D, "ended", "the broker heard nothing within the keepalive time"},
    {0x8E, "taken_over", NULL},
    {0x90, "protocol", "invalid topic name"},
    {0x93, "protocol", "more unacknowledged messages than the broker allows"},
    {0x94, "protocol", "invalid topic alias"},
    {0x95, "protocol", "a packet larger than the broker allows"},
    {0x96, "refused", "messages come too fast for the broker"},
    {0x97, "refused", "a quota of the broker is exceeded"},
    {0x98, "ended", "disconnected by the broker's administrator"},
    {0x99, "protocol", "wrong payload format"},
    {0x9A, "protocol", "the broker does not support retained messages"},
    {0x9B, "protocol", "the broker does not support this QoS"},
    {0x9C, "moved", "it says to use another server"},
    {0x9D, "moved", "it has moved"},
    {0x9F, "refused", "the broker does not accept that many connections a time"},
    {0xA0, "ended", "the broker's maximum time of a connection is over"},
};

/* the sentence's end where the table does not have it */
static void explain_more(const struct mqtt_failure *failure, char *text, size_t size)
{
    bool refused = failure->end == MQTT_END_REFUSED;

    if (failure->code == 0x8E && failure->v5)
        snprintf(text, size,
                 "another client connected with the same client id \"%s\"%s (does a second gateway "
                 "have this id?)",
                 failure->client_id,
                 failure->n_taken_over > 1 ? ", again; it is left alone for some minutes" : "");
    else if (!refused)
        snprintf(text, size, "not authorized");
    else /* Mosquitto says so for a wrong password, too */
        snprintf(text, size, "%s",
                 failure->has_username ? "not authorized (are user name and password right?)"
                                       : "not authorized (does it want a user name?)");
}

static const char *explain_code(const struct mqtt_failure *failure, char *text, size_t size)
{
    const struct word *words = failure->v5 ? words_v5 : words_v3;
    size_t n = failure->v5 ? ARRAY_SIZE(words_v5) : ARRAY_SIZE(words_v3);
    bool refused = failure->end == MQTT_END_REFUSED;
    const char *prefix =
        refused ? "the broker refused the connection" : "the broker disconnected us";

    for (size_t i = 0; i < n; i++) {
        if (words[i].code != failure->code)
            continue;
        char said[256];
        snprintf(said, sizeof(said), "%s", words[i].text ? words[i].text : "");
        if (!words[i].text)
            explain_more(failure, said, sizeof(said));
        bool moved = strcmp(words[i].reason, "moved") == 0;
        snprintf(text, size, "%s: %s%s%s%s", prefix, said, *failure->server_reference ? ": " : "",
                 failure->server_reference,
                 moved ? " (the gateway does not follow: set mqtt.url if it shall)" : "");
        return words[i].reason;
    }
    snprintf(text, size, "%s (code 0x%02x)", prefix, (unsigned)failure->code);
    return refused ? "refused" : "lost";
}

static bool is_numeric(const char *host)
{
    struct in6_addr address;
    return inet_pton(AF_INET, host, &address) == 1 || inet_pton(AF_INET6, host, &address) == 1;
}

/* Paho has the same words for no TCP and no TLS, and OpenSSL none for a name that does not match */
static const char *explain_transport(const struct mqtt_failure *failure, char *text, size_t size)
{
    bool name = failure->end == MQTT_END_START && !is_numeric(failure->host);

    if (failure->tls_error[0]) {
        snprintf(text, size, "no TLS connection to %s:%u: %s", failure->host, failure->port,
                 failure->tls_error);
        return "tls";
    }
    snprintf(text, size,
             "cannot connect to %s:%u: %snothing listens there, or it is out of reach%s",
             failure->host, failure->port, name ? "the name is unknown, " : "",
             failure->tls ? ", or its certificate is not for this host name" : "");
    return "unreachable";
}

const char *mqtt_failure_explain(const struct mqtt_failure *failure, char *text, size_t size)
{
    switch (failure->end) {
    case MQTT_END_LIBRARY:
        snprintf(text, size, "the MQTT library could not start to connect (error %d)",
                 failure->code);
        return "internal";
    case MQTT_END_START:
    case MQTT_END_TRANSPORT: return explain_transport(failure, text, size);
    case MQTT_END_TIMEOUT:
        snprintf(text, size, "no answer from %s:%u within %u s", failure->host, failure->port,
                 failure->timeout_s);
        return "unreachable";
    case MQTT_END_UNANSWERED:
        snprintf(text, size,
                 "%s:%u closed the connection instead of answering: %s, it does not speak MQTT %s, "
                 "or it is a proxy whose broker is down",
                 failure->host, failure->port,
                 failure->tls ? "it may want a client certificate" : "it may be a port for TLS",
                 failure->v5 ? "5" : "3.1.1");
        return "refused";
    case MQTT_END_REFUSED:
    case MQTT_END_DISCONNECTED: return explain_code(failure, text, size);
    case MQTT_END_LOST: break;
    }
    if (failure->n_short_lived >= MQTT_SHORT_LIVED_SUSPICIOUS)
        snprintf(text, size,
                 "the connection to %s:%u broke soon after it came up, %u times in a row: does "
                 "another client use the client id \"%s\"?",
                 failure->host, failure->port, failure->n_short_lived, failure->client_id);
    else
        snprintf(text, size, "the connection to %s:%u broke", failure->host, failure->port);
    return "lost";
}

uint64_t mqtt_retry_delay_ms(const struct mqtt_retry *retry, uint32_t random)
{
    uint64_t max = retry->is_rival_suspected ? MQTT_SUSPECT_MAX_MS : MQTT_RETRY_MAX_MS, ms;

    if (retry->n_taken_over > 1) {
        ms = (uint64_t)MQTT_RIVAL_FIRST_MS << MIN_OF(retry->n_taken_over - 2, 8U);
        ms = MIN_OF(ms, (uint64_t)MQTT_RIVAL_MAX_MS);
        return ms + random % (ms / 5);
    }
    if (retry->n_failures <= 1)
        return MQTT_RETRY_FIRST_MIN_MS +
               random % (MQTT_RETRY_FIRST_MAX_MS - MQTT_RETRY_FIRST_MIN_MS + 1);
    ms = MIN_OF(1000ULL << MIN_OF(retry->n_failures - 2, 16U), max);
    return ms * 4 / 5 + random % (ms * 2 / 5 + 1);
}
