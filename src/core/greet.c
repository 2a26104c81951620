/*
 * The beginning of each connection to the broker. Before anything is said of a device, what the
 * broker keeps has to be known: our own list of devices of before (once), and which gateway has
 * which device. What was kept has come when a message of our own comes back: `offline` on our
 * status, which is true until all is said.
 *
 *   READING    our list: `bridge/<gateway>/devices`, once in a gateway's life
 *   LISTENING  the claims: `+/status/link`, and the status of all gateways
 *   CLAIMING   `devices` is published, then what we claim; whose claim stands, speaks
 *   DONE       `online`; values go
 *
 * A broker that takes the subscriptions and does not give our message back keeps us deaf: then we
 * are alone, as far as we can know. One that says nothing at all is waited for: the keepalive ends
 * its connection.
 */
#include "core/world.h"

#include <string.h>

#define ECHO_MS  3000 /* from the subscriptions' acknowledgement to the message that comes back */
#define CLAIM_MS 6000 /* `online` waits no longer for claims that are not decided */

static const char *own_filter(struct gateway *gateway, const char *last)
{
    return actions_printf(gateway->actions, "%s/%s", gateway->settings->gateway.base_topic, last);
}

static void subscribe(struct gateway *gateway, const char *filter)
{
    if (gateway_ask_topic(gateway, ACTION_TOPIC_SUBSCRIBE, filter) < 0)
        gateway->counts.rejected++;
    else
        gateway->greeting.n_awaited++;
}

/* What comes back of it is behind all that was kept for the subscriptions before it. */
static void mark(struct gateway *gateway)
{
    struct outbox_put put = {.topic = gateway->topic_status,
                             .payload = "offline",
                             .length = strlen("offline"),
                             .qos = 1,
                             .retain = true,
                             .latest_only = true,
                             .status = true};

    gateway->greeting.due_us = TIME_NEVER;
    gateway_put(gateway, &put);
}

void greet_ask_links(struct gateway *gateway)
{
    subscribe(gateway, own_filter(gateway, "+/status/link"));
}

static void listen(struct gateway *gateway)
{
    gateway->greeting.step = GREETING_STEP_LISTENING;
    greet_ask_links(gateway);
    mark(gateway);
}

void greet_begin(struct gateway *gateway)
{
    gateway->greeting = (struct greeting){.step = GREETING_STEP_READING, .due_us = TIME_NEVER};
    /* what was on its way when the last connection broke is stale */
    outbox_forget(gateway->outbox, gateway->topic_status);
    outbox_forget(gateway->outbox, gateway->topic_info);
    outbox_forget(gateway->outbox, gateway->topic_devices);
    for (size_t i = 0; i < gateway->n_peers; i++) {
        outbox_forget(gateway->outbox, gateway->peers[i]->topic_availability);
        outbox_forget(gateway->outbox, gateway->peers[i]->topic_link);
    }
    announce_begin(gateway);
    outbox_hold_values(gateway->outbox, true);
    broker_ask_memory(gateway);
    claim_forget_all(gateway);
    subscribe(gateway, own_filter(gateway, "bridge/+/status"));
    if (gateway->memory.read) {
        listen(gateway);
        return;
    }
    subscribe(gateway, gateway->topic_devices);
    mark(gateway);
}

void greet_end(struct gateway *gateway)
{
    gateway->greeting = (struct greeting){.step = GREETING_STEP_NONE, .due_us = TIME_NEVER};
    for (size_t i = 0; i < gateway->n_peers; i++)
        claim_broker_lost(gateway->peers[i]);
    memory_broker_lost(gateway);
}

bool greet_is_settled(const struct gateway *gateway)
{
    return gateway->greeting.step == GREETING_STEP_CLAIMING ||
           gateway->greeting.step == GREETING_STEP_DONE;
}

/* ---- on ---- */

static void settle(struct gateway *gateway)
{
    gateway->greeting.step = GREETING_STEP_CLAIMING;
    if (!gateway->greeting.deaf)
        broker_told_all(gateway);
    gateway->greeting.due_us = gateway_in(gateway, CLAIM_MS);
    gateway_arm(gateway, gateway->greeting.due_us);
    gateway->bridge_dirty = true;
    for (size_t i = 0; i < gateway->n_peers; i++)
        claim_settled(gateway->peers[i]);
}

static void proceed(struct gateway *gateway)
{
    struct action *action;

    switch (gateway->greeting.step) {
    case GREETING_STEP_READING:
        gateway->memory.read = true;
        action = actions_add(gateway->actions, ACTION_TOPIC_UNSUBSCRIBE);
        action->topic.filter = gateway->topic_devices;
        listen(gateway);
        break;
    case GREETING_STEP_LISTENING: settle(gateway); break;
    case GREETING_STEP_NONE:
    case GREETING_STEP_CLAIMING:
    case GREETING_STEP_DONE: break;
    }
}

/* Our own status, as it was published just now. */
void greet_own_status(struct gateway *gateway, bool online)
{
    if (gateway->greeting.step != GREETING_STEP_DONE)
        proceed(gateway);
    else if (!online && gateway->greeting.online)
        status_online(gateway, true); /* the will of a connection of ours that broke long ago */
}

void greet_prove(struct gateway *gateway)
{
    if (gateway->greeting.step == GREETING_STEP_DONE && gateway->greeting.online)
        status_online(gateway, true);
}

bool greet_needs(const struct gateway *gateway, const char *filter)
{
    const char *base = gateway->settings->gateway.base_topic;
    size_t length = strlen(base);

    return strcmp(filter, gateway->topic_devices) == 0 ||
           (strncmp(filter, base, length) == 0 &&
            (strcmp(filter + length, "/bridge/+/status") == 0 ||
             strcmp(filter + length, "/+/status/link") == 0));
}

void greet_subscribed(struct gateway *gateway, const struct event *event)
{
    if (!greet_needs(gateway, event->topic_subscribed.filter) || greet_is_settled(gateway))
        return;
    if (gateway->greeting.n_awaited)
        gateway->greeting.n_awaited--;
    if (gateway->greeting.n_awaited)
        return;
    gateway->greeting.due_us = gateway_in(gateway, ECHO_MS);
    gateway_arm(gateway, gateway->greeting.due_us);
}

void greet_timer(struct gateway *gateway)
{
    if (gateway->greeting.due_us > gateway->now.mono_us) {
        gateway_arm(gateway, gateway->greeting.due_us);
        return;
    }
    gateway->greeting.due_us = TIME_NEVER;
    if (greet_is_settled(gateway))
        return; /* greet_finish() sees it */
    if (!gateway->greeting.deaf)
        actions_log(gateway->actions, LOG_LEVEL_WARNING, "mqtt",
                    "what is published on %s does not come back: other gateways are not seen",
                    gateway->topic_status);
    gateway->greeting.deaf = true;
    proceed(gateway);
}

void greet_finish(struct gateway *gateway)
{
    if (gateway->greeting.step != GREETING_STEP_CLAIMING)
        return;
    for (size_t i = 0; gateway->greeting.due_us != TIME_NEVER && i < gateway->n_peers; i++)
        if (claim_is_pending(gateway->peers[i]))
            return;
    gateway->greeting.step = GREETING_STEP_DONE;
    gateway->greeting.due_us = TIME_NEVER;
    if (!gateway->stopping && router_subscribe_requests(gateway) < 0)
        gateway->counts.rejected++; /* not before: who asks is to be answered by whose it is */
    if (!gateway->stopping)
        announce_subscribe(gateway);
    status_online(gateway, !gateway->stopping);
    outbox_hold_values(gateway->outbox, false);
}
