/*
 * Peers that are not held all the time: when a contact begins, what it waits for, when it ends, and
 * how long its last one counts as being available. Also the watch over subscriptions that fell
 * silent.
 *
 * A contact begins with a command or a due read (on_demand), when its time has come (every), or
 * when the peer is heard (when_seen; a command begins one in every mode). It ends when nothing is
 * queued, no sequence of steps is running, every characteristic of `until` has had a value and
 * nothing was done for `linger`; or at `timeout`. Must not know how a link is made.
 */
#include "core/world.h"

#include <stdio.h>

static bool held(const struct peer *peer)
{
    return peer->settings->connection.mode == CONNECTION_MODE_PERSISTENT;
}

bool contact_holds_link(const struct peer *peer)
{
    return (held(peer) && !peer->away_us) || peer->contact || hold_is_asked(peer);
}

bool contact_listens(const struct peer *peer)
{
    return peer->settings->connection.mode == CONNECTION_MODE_WHEN_SEEN &&
           peer->state == PEER_STATE_IDLE;
}

void contact_say_idle(struct peer *peer)
{
    struct gateway *gateway = peer->gateway;
    const struct connection_settings *settings = &peer->settings->connection;
    char text[192] = "";

    if (hold_say_idle(peer))
        return;

    /* who need not be heard does not care about the scan */
    enum reason trouble = adapter_trouble(peer, text, sizeof(text));
    if (trouble != REASON_OK &&
        (trouble != REASON_SCAN_FAILED || settings->mode == CONNECTION_MODE_WHEN_SEEN)) {
        peer_enter_state(peer, PEER_STATE_IDLE, trouble, "%s", text);
        return;
    }

    switch (settings->mode) {
    case CONNECTION_MODE_ON_DEMAND:
        snprintf(text, sizeof(text), "connects when it is asked for");
        break;
    case CONNECTION_MODE_EVERY: {
        char at[TIME_RFC3339_SIZE];
        int64_t in_us = (int64_t)(peer->contact_due_us - gateway->now.mono_us);
        time_format_rfc3339(gateway->now.real_us + (peer->contact_due_us ? in_us : 0), at);
        snprintf(text, sizeof(text), "connects again at %.5s UTC", at + 11);
        break;
    }
    case CONNECTION_MODE_WHEN_SEEN:
        snprintf(text, sizeof(text), "connects when it is heard");
        break;
    case CONNECTION_MODE_NONE:
    case CONNECTION_MODE_PERSISTENT: snprintf(text, sizeof(text), "is not connected"); break;
    }
    peer_enter_state(peer, PEER_STATE_IDLE, REASON_IDLE, "%s", text);
}

void contact_start(struct peer *peer)
{
    peer->contact_due_us = peer->linger_us = peer->contact_limit_us = TIME_NEVER;
    if (peer->settings->connection.mode == CONNECTION_MODE_EVERY) {
        peer->contact_due_us = peer->gateway->now.mono_us;
        gateway_arm(peer->gateway, peer->contact_due_us);
    }
    for (uint32_t i = 0; !held(peer) && i < peer->n_entries; i++)
        if (peer->entries[i].settings->read_every_ms) {
            peer->entries[i].read_due_us = peer->gateway->now.mono_us;
            gateway_arm(peer->gateway, peer->entries[i].read_due_us);
        }
    if (!held(peer) && peer->settings->poll.every_ms) {
        peer->poll_due_us = peer->gateway->now.mono_us;
        gateway_arm(peer->gateway, peer->poll_due_us);
    }
}

void contact_begin(struct peer *peer)
{
    const struct connection_settings *settings = &peer->settings->connection;
    struct gateway *gateway = peer->gateway;

    if (hold_is_disabled(peer) || gateway->stopping || peer->leaving || !peer->ours)
        return;
    hold_is_wanted(peer);
    if (held(peer) || peer->contact)
        return;
    peer->contact = true;
    peer->contact_limit_us =
        settings->timeout_ms ? gateway_in(gateway, settings->timeout_ms) : TIME_NEVER;
    gateway_arm(gateway, peer->contact_limit_us);
    if (settings->mode == CONNECTION_MODE_EVERY)
        peer->contact_due_us = gateway_in(gateway, settings->every_ms);
    peer->retry_us = 0;
    peer->blind_us = 0;
    if (peer->state == PEER_STATE_IDLE || peer->state == PEER_STATE_BACKOFF)
        peer_consider(peer);
}

void contact_heard(struct peer *peer)
{
    if (contact_listens(peer) && peer->cooldown_us <= peer->gateway->now.mono_us)
        contact_begin(peer);
}

/* ---- during a contact ---- */

void contact_forget(struct peer *peer)
{
    peer->contact = false;
    peer->linger_us = peer->contact_limit_us = TIME_NEVER;
}

static void end(struct peer *peer, enum reason reason, const char *why)
{
    contact_forget(peer);
    peer->cooldown_us = gateway_in(peer->gateway, peer->settings->connection.cooldown_ms);
    if (contact_holds_link(peer) || peer->state == PEER_STATE_DISCONNECTING)
        ; /* somebody asked for it; what follows the latter sees that the contact is over */
    else if (peer->link_up || peer->state == PEER_STATE_CONNECTING)
        peer_disconnect(peer, reason, false, false, why);
    else
        peer_consider(peer);
    if (peer->ops || peer->sequences) /* who waits is not left alone: once more */
        contact_begin(peer);
}

static bool is_only_kept_alive(const struct peer *peer)
{
    for (const struct gatt_op *op = peer->ops; op; op = op->next)
        if (!op->step)
            return false;
    return step_keeps_alive(peer) && (!peer->op || peer->op->step);
}

/* Nothing left to do: let go after `linger`. */
void contact_activity(struct peer *peer)
{
    if (!peer->contact || peer->state != PEER_STATE_ONLINE)
        return;
    bool kept_alive = is_only_kept_alive(peer);
    if (peer->until || (!kept_alive && (peer->op || peer->ops || step_is_busy(peer)))) {
        peer->linger_us = TIME_NEVER;
        return;
    }
    if (kept_alive && peer->linger_us != TIME_NEVER)
        return; /* its time goes on */
    peer->linger_us = gateway_in(peer->gateway, peer->settings->connection.linger_ms);
    gateway_arm(peer->gateway, peer->linger_us);
}

/* From now on values are missed. */
static void listen(struct peer *peer)
{
    struct gateway *gateway = peer->gateway;

    peer->value_us = gateway->now.mono_us;
    if (peer->settings->silence_ms)
        gateway_arm(gateway, gateway_in(gateway, peer->settings->silence_ms));
}

static bool is_subscribed(const struct peer *peer)
{
    for (size_t i = 0; i < peer->n_sources; i++)
        if (peer->sources[i].subscribed)
            return true;
    return false;
}

/* Nothing was missed as long as nothing was subscribed. */
void contact_subscribed(struct peer *peer)
{
    if (!is_subscribed(peer))
        listen(peer);
}

void contact_online(struct peer *peer)
{
    const struct connection_settings *settings = &peer->settings->connection;

    peer->contact_us = peer->gateway->now.mono_us;
    listen(peer);
    if (held(peer))
        return;
    peer->until = 0;
    for (size_t i = 0; i < settings->n_until; i++)
        if (peer->entries[settings->until[i]].source != NO_SOURCE)
            peer->until |= 1ULL << settings->until[i];
}

void contact_value(struct peer *peer, uint32_t entry)
{
    if (!(peer->until & 1ULL << entry))
        return;
    peer->until &= ~(1ULL << entry);
    if (!peer->until)
        contact_activity(peer);
}

static uint64_t availability_ms(const struct peer *peer)
{
    const struct device_settings *settings = peer->settings;

    if (settings->availability_timeout_ms)
        return settings->availability_timeout_ms;
    if (settings->connection.mode == CONNECTION_MODE_EVERY)
        return settings->connection.every_ms * 5 / 2;
    return 25ULL * 3600 * 1000;
}

void contact_link_ended(struct peer *peer)
{
    if (peer->online_us) {
        peer->contact_us = peer->gateway->now.mono_us;
        gateway_arm(peer->gateway, peer->contact_us + MS_TO_US(availability_ms(peer)));
    }
    peer->until = 0;
    peer->linger_us = TIME_NEVER;
}

/* ---- availability ---- */

bool contact_available(const struct peer *peer)
{
    if (peer->state == PEER_STATE_ONLINE)
        return true;
    if (held(peer) || hold_is_disabled(peer) || !peer->contact_us)
        return false;
    if (peer->online_us) /* being let go, or subscribed again */
        return true;
    return peer->gateway->now.mono_us - peer->contact_us < MS_TO_US(availability_ms(peer));
}

/* Who is heard can be reached, unless the last try says otherwise. */
void contact_seen(struct peer *peer)
{
    if (held(peer) || peer->failures)
        return;
    peer->contact_us = peer->gateway->now.mono_us;
    if (peer->available == contact_available(peer))
        return; /* the timer that ends it is armed */
    peer->link_dirty = peer->gateway->links_dirty = true;
    gateway_arm(peer->gateway, peer->contact_us + MS_TO_US(availability_ms(peer)));
}

/* ---- time ---- */

static void timer_silence(struct peer *peer)
{
    struct gateway *gateway = peer->gateway;

    if (!peer->settings->silence_ms || peer->state != PEER_STATE_ONLINE || !is_subscribed(peer))
        return;
    uint64_t due = peer->value_us + MS_TO_US(peer->settings->silence_ms);
    if (due > gateway->now.mono_us) {
        gateway_arm(gateway, due);
        return;
    }
    actions_log(gateway->actions, LOG_LEVEL_WARNING, peer->log_area,
                "subscribed, but silent for too long: connecting anew");
    status_event(gateway, "disconnected", peer, "silent", "subscribed, but silent for too long");
    peer_disconnect(peer, REASON_SILENT, false, false, "subscribed, but silent for too long");
}

static void timer_availability(struct peer *peer)
{
    struct gateway *gateway = peer->gateway;

    if (held(peer) || !peer->contact_us || peer->state == PEER_STATE_ONLINE)
        return;
    uint64_t end_us = peer->contact_us + MS_TO_US(availability_ms(peer));
    if (end_us > gateway->now.mono_us)
        gateway_arm(gateway, end_us);
    else if (peer->available)
        peer->link_dirty = gateway->links_dirty = true;
}

void contact_timer(struct peer *peer)
{
    struct gateway *gateway = peer->gateway;
    uint64_t now = gateway->now.mono_us;

    timer_silence(peer);
    timer_availability(peer);
    if (held(peer) || peer->state == PEER_STATE_DISABLED)
        return;
    if (peer->contact && peer->contact_limit_us <= now)
        end(peer, REASON_CONTACT_TIMEOUT, "the contact took longer than its `timeout`");
    else if (peer->contact && peer->linger_us <= now) {
        peer->failures = 0; /* it did what it was for, however short it was */
        end(peer, REASON_IDLE, "the contact is over");
    }
    if (peer->contact_due_us <= now) {
        contact_begin(peer);             /* one that goes on still is not begun twice, */
        if (peer->contact_due_us <= now) /* but the next one has its time */
            peer->contact_due_us = gateway_in(gateway, peer->settings->connection.every_ms);
    }
    for (uint32_t i = 0; i < peer->n_entries; i++)
        if (peer->settings->connection.mode == CONNECTION_MODE_ON_DEMAND &&
            peer->entries[i].read_due_us <= now)
            contact_begin(peer);
    if (peer->settings->connection.mode == CONNECTION_MODE_ON_DEMAND && peer->poll_due_us <= now)
        contact_begin(peer);
    gateway_arm(gateway, peer->contact_due_us);
    gateway_arm(gateway, peer->contact_limit_us);
    gateway_arm(gateway, peer->linger_us);
    if (contact_listens(peer) && peer->cooldown_us > now)
        gateway_arm(gateway, peer->cooldown_us);
}
