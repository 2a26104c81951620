/*
 * Where an answer goes: to its default topic, or to the response topic that an MQTT 5 message asks
 * for, within bounds. A gateway is no reflector: nobody can make it publish wherever its own rights
 * at the broker reach, nor on topics that are states or commands to somebody else.
 */
#include "core/world.h"

#include "core/topic.h"
#include <stdlib.h>
#include <string.h>

#define RESPONSE_TOPIC_MAX 1024
#define CORRELATION_MAX    1024

/* The topic is `prefix` and at least one level below it. */
static bool lies_below(const char *topic, const char *prefix)
{
    size_t length = strlen(prefix);

    while (length && prefix[length - 1] == '/')
        length--;
    return length && strncmp(topic, prefix, length) == 0 && topic[length] == '/' &&
           topic[length + 1];
}

static bool is_allowed(const struct gateway *gateway, const char *topic)
{
    const struct settings *settings = gateway->settings;

    if (strlen(topic) > RESPONSE_TOPIC_MAX || !topic_is_valid_name(topic, strlen(topic)))
        return false;
    if (lies_below(topic, gateway->topic_response))
        return true;
    /* states and commands, of this gateway or of another one */
    if (lies_below(topic, settings->gateway.base_topic) ||
        strcmp(topic, settings->gateway.base_topic) == 0)
        return false;
    if (settings->home_assistant.prefix && lies_below(topic, settings->home_assistant.prefix))
        return false;
    for (size_t i = 0; i < settings->commands.n_reply_to; i++)
        if (lies_below(topic, settings->commands.reply_to[i]))
            return true;
    return false;
}

struct reply *reply_free(struct reply *reply)
{
    while (reply) {
        struct reply *next = reply->next;

        free(reply->topic);
        free(reply->correlation);
        free(reply);
        reply = next;
    }
    return NULL;
}

struct reply *reply_new(const struct gateway *gateway, const char *topic, const struct event *event,
                        const char **ret_refusal)
{
    struct reply *reply = calloc(1, sizeof(*reply));
    const char *asked = event->message.response_topic;
    size_t length = event->message.correlation_length;

    if (!reply)
        return NULL;
    *ret_refusal = NULL;
    if (asked && !is_allowed(gateway, asked))
        *ret_refusal = "the response topic is not one that answers may go to (see "
                       "`commands.reply_to`)";
    else if (asked)
        topic = asked;
    if (length > CORRELATION_MAX) {
        *ret_refusal = "the correlation data is longer than 1024 bytes";
        length = 0;
    }
    reply->topic = strdup(topic);
    if (length) {
        reply->correlation = malloc(length);
        if (reply->correlation)
            memcpy(reply->correlation, event->message.correlation, length);
        reply->correlation_length = length;
    }
    if (!reply->topic || (length && !reply->correlation))
        return reply_free(reply);
    return reply;
}

bool reply_equal(const struct reply *a, const struct reply *b)
{
    return strcmp(a->topic, b->topic) == 0 && a->correlation_length == b->correlation_length &&
           (!a->correlation_length ||
            memcmp(a->correlation, b->correlation, a->correlation_length) == 0);
}

void reply_send(struct gateway *gateway, const struct reply *reply, const char *answer,
                size_t length)
{
    for (; reply; reply = reply->next) {
        struct outbox_put put = {
            .topic = reply->topic,
            .payload = answer,
            .length = length,
            .qos = 1,
            .correlation = reply->correlation,
            .correlation_length = reply->correlation_length,
        };
        gateway_put(gateway, &put);
    }
}
