/*
 * The broker's moods: messages that it refuses, messages on which it ends the connection, and
 * whether it still has what it was told to retain. Must not know how it is reached.
 */
#include "core/world.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* lines about refusals between two health messages; what is more is only counted */
#define REFUSALS_TOLD_MAX 10

/* The reason codes of MQTT 5.0 section 2.4 that a message or a subscription is refused with. */
static const char *explain(int code)
{
    switch (code) {
    case 0x80: return "without a reason (often: its access rules do not allow it)";
    case 0x83: return "for a reason of its own";
    case 0x87: return "its access rules (ACL) do not allow it";
    case 0x8F:
    case 0x90: return "it does not like the topic";
    case 0x95: return "it is larger than the broker allows";
    case 0x97: return "a quota is exceeded";
    case 0x99: return "it does not like the payload";
    case 0x9E:
    case 0xA1:
    case 0xA2: return "it does not support such subscriptions";
    default: return NULL;
    }
}

static const char *stable_word(int code)
{
    return code == 0x87 ? "not_authorized" : code == 0x95 ? "packet_too_large" : "refused";
}

static bool may_tell(struct gateway *gateway)
{
    if (gateway->refusals_told >= REFUSALS_TOLD_MAX) {
        gateway->refusals_untold++;
        return false;
    }
    gateway->refusals_told++;
    return true;
}

static void tell(struct gateway *gateway, const char *type, const char *reason, const char *text)
{
    if (!text)
        return;
    actions_log(gateway->actions, LOG_LEVEL_WARNING, "mqtt", "%s", text);
    status_event(gateway, type, NULL, reason, text);
}

void broker_published(struct gateway *gateway, const struct event *event)
{
    struct outbox_refusal refusal;
    int code = event->published.code;
    const char *why = explain(code);

    if (event->published.ok) {
        if (!outbox_done(gateway->outbox, event->published.token))
            gateway->counts.stale_answers++;
        return;
    }
    if (!outbox_refused(gateway->outbox, event->published.token, &refusal)) {
        gateway->counts.stale_answers++;
        return;
    }
    gateway->counts.rejected++;
    if (!refusal.first || !may_tell(gateway))
        return;
    const char *text =
        why ? actions_printf(gateway->actions,
                             "the broker refuses messages on %s: %s (this one has %zu bytes; more "
                             "are only counted)",
                             refusal.topic, why, refusal.length)
            : actions_printf(gateway->actions,
                             "the broker refuses messages on %s (reason 0x%02x; more are only "
                             "counted)",
                             refusal.topic, (unsigned)code);
    tell(gateway, "publish_refused", stable_word(code), text);
}

void broker_subscribed(struct gateway *gateway, const struct event *event)
{
    int code = event->topic_subscribed.code;
    const char *why = explain(code);

    greet_subscribed(gateway, event);
    if (event->topic_subscribed.ok)
        return;
    gateway->counts.rejected++;
    if (!may_tell(gateway))
        return;
    const char *text = actions_printf(
        gateway->actions, "the broker refuses the subscription to %s: %s (reason 0x%02x); %s",
        event->topic_subscribed.filter, why ? why : "for a reason of its own", (unsigned)code,
        strcmp(event->topic_subscribed.filter, gateway->topic_info) == 0
            ? "whether it forgets what it retains is not noticed"
        : announce_is_birth(gateway, event->topic_subscribed.filter)
            ? "Home Assistant's coming is not noticed"
        : greet_needs(gateway, event->topic_subscribed.filter)
            ? "what other gateways do, or what this one published before, is not seen"
        : predecessor_is_filter(gateway, event->topic_subscribed.filter)
            ? "what that gateway has told Home Assistant of its devices is not known"
            : "commands to it will not arrive");
    tell(gateway, "subscription_refused", stable_word(code), text);
}

void broker_tell_more(struct gateway *gateway)
{
    if (gateway->refusals_untold)
        actions_log(gateway->actions, LOG_LEVEL_WARNING, "mqtt",
                    "the broker refused %u more topics", gateway->refusals_untold);
    gateway->refusals_told = gateway->refusals_untold = 0;
}

/* Whether a message may be the cause: nothing was said, or something of that kind. */
static bool is_suspicious(const char *reason)
{
    static const char *const words[] = {"lost", "protocol", "refused", "not_authorized"};

    for (size_t i = 0; i < ARRAY_SIZE(words); i++)
        if (strcmp(reason, words[i]) == 0)
            return true;
    return false;
}

void broker_lost(struct gateway *gateway, const char *reason, char *why, size_t size)
{
    outbox_reset(gateway->outbox, is_suspicious(reason ? reason : ""));
    const struct outbox_cut *cut = outbox_last_cut(gateway->outbox);
    if (!cut->topic || cut->n_cuts < OUTBOX_CUTS_SUSPICIOUS)
        return;
    if (!cut->given_up) {
        size_t length = strlen(why);
        snprintf(why + length, size - length, "; a message of %zu bytes on %s was on its way",
                 cut->length, cut->topic);
        return;
    }
    gateway->counts.rejected += cut->n_given_up;
    actions_log(gateway->actions, LOG_LEVEL_WARNING, "mqtt",
                "the broker ended %u connections on a message of %zu bytes on %s: it is given up, "
                "and so are others on this topic that are as long (is it larger than the broker "
                "allows, or forbidden?)",
                cut->n_cuts, cut->length, cut->topic);
}

/*
 * Whether the broker remembers is asked by a subscription to our own `info`, before we publish it
 * anew: a broker that has it retained sends it before what comes back as an echo. One that sends
 * nothing (it may not let us read) leaves it open, and nothing is published twice on suspicion.
 * Where `info` was seen to come, it is known before it is published: else a connection that breaks
 * right behind it would leave a broker that seems to remember.
 */
void broker_ask_memory(struct gateway *gateway)
{
    struct outbox_stats stats;

    outbox_get_stats(gateway->outbox, &stats);
    gateway->memory_asked = (stats.kept > 0 || !gateway->info_comes) && !gateway->stopping;
    if (!gateway->memory_asked)
        return;
    struct action *action = actions_add(gateway->actions, ACTION_TOPIC_SUBSCRIBE);
    action->topic.filter = gateway->topic_info;
    action->topic.qos = 1;
}

static void answered(struct gateway *gateway, bool remembers)
{
    gateway->memory_asked = false;
    actions_add(gateway->actions, ACTION_TOPIC_UNSUBSCRIBE)->topic.filter = gateway->topic_info;
    size_t n = remembers ? 0 : outbox_republish(gateway->outbox, gateway->now.mono_us);
    if (!n)
        return;
    const char *text =
        actions_printf(gateway->actions,
                       "the broker has lost what it retained: %zu values are published again", n);
    if (text)
        actions_log(gateway->actions, LOG_LEVEL_INFO, "mqtt", "%s", text);
    status_event(gateway, "broker_forgot", NULL, "republished", text);
}

void broker_told_all(struct gateway *gateway)
{
    if (gateway->memory_asked && gateway->info_comes)
        answered(gateway, false);
}

bool broker_memory(struct gateway *gateway, const struct event *event)
{
    if (strcmp(event->message.topic, gateway->topic_info) != 0)
        return false;
    gateway->info_comes = true;
    if (gateway->memory_asked) /* else another echo */
        answered(gateway, event->message.retained);
    return true;
}
