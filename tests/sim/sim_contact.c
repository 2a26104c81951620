/*
 * Peers that are not held all the time: how they are configured, and that contacts begin when they
 * are due, end when nothing is left to do or their time is over, and do not make availability
 * flap. Also the watch over silence.
 */
#include "core/step.h"
#include "sim.h"

#include <stdlib.h>

#define SLACK_US S_TO_US(1)   /* timers are late by up to a quarter of a second */
#define OFTEN_US S_TO_US(180) /* the longest interval of notifications (sim_settings.c) */

/* ---- the configuration ---- */

static void make_until(struct sim *sim, struct device_settings *settings)
{
    struct connection_settings *connection = &settings->connection;

    connection->until = calloc(N_ENTRIES_MAX, sizeof(*connection->until));
    if (!connection->until)
        abort();
    for (size_t e = 0; e < settings->n_characteristics; e++)
        if (settings->characteristics[e].subscribe && sim_chance(sim, 50))
            connection->until[connection->n_until++] = e;
}

void sim_contact_make(struct sim *sim, size_t i)
{
    struct device_settings *settings = &sim->settings.devices[i];
    struct connection_settings *connection = &settings->connection;

    connection->linger_ms = sim_spread(sim, 10, 10000);
    connection->timeout_ms = sim_chance(sim, 30) ? 60000 : sim_spread(sim, 5000, 300000);
    connection->cooldown_ms = sim_spread(sim, 1000, 600000);
    connection->every_ms = sim_spread(sim, 10000, 1200000);
    if (sim_chance(sim, 30)) {
        static const enum connection_mode modes[] = {
            CONNECTION_MODE_ON_DEMAND, CONNECTION_MODE_EVERY, CONNECTION_MODE_WHEN_SEEN};
        connection->mode = modes[sim_below(sim, ARRAY_SIZE(modes))];
        if (sim_chance(sim, 40))
            make_until(sim, settings);
    }
    if (sim_chance(sim, 30))
        settings->availability_timeout_ms = sim_spread(sim, 30000, 1800000);
    if (sim_chance(sim, 25)) /* never so short that a healthy peer seems silent */
        settings->silence_ms = sim_between(sim, OFTEN_US / 1000 + 10000, 400000);
}

bool sim_contact_held(const struct sim *sim, size_t i)
{
    return sim->settings.devices[i].connection.mode == CONNECTION_MODE_PERSISTENT;
}

bool sim_contact_wants_link(const struct sim *sim, size_t i)
{
    const struct peer *peer = sim->gateway->peers[i];

    return sim->settings.devices[i].enabled && peer->ours && !peer->pause_us &&
           ((sim_contact_held(sim, i) && !peer->away_us) || peer->contact || hold_is_asked(peer));
}

/* ---- availability ---- */

static uint64_t availability_us(const struct device_settings *settings)
{
    if (settings->availability_timeout_ms)
        return MS_TO_US(settings->availability_timeout_ms);
    if (settings->connection.mode == CONNECTION_MODE_EVERY)
        return MS_TO_US(settings->connection.every_ms * 5 / 2);
    return S_TO_US(25 * 3600);
}

/* Right at the end of its time either is good. */
bool sim_contact_may_say(const struct sim *sim, size_t i, bool available)
{
    const struct sim_peer *seen = &sim->peers[i];
    const struct peer *peer = sim->gateway->peers[i];

    if (peer->state == PEER_STATE_ONLINE)
        return available;
    if (peer->state == PEER_STATE_DISABLED || peer->pause_us || sim_contact_held(sim, i) ||
        !seen->reached_us)
        return !available;
    uint64_t end_us = seen->reached_us + availability_us(&sim->settings.devices[i]);
    return available ? sim->now.mono_us <= end_us + SLACK_US : sim->now.mono_us >= end_us;
}

/* ---- contacts ---- */

static bool is_served(const struct sim *sim, size_t i, uint32_t adapter)
{
    for (int r = 0; r < N_RADIOS; r++)
        if (sim->radios[r].id == adapter && sim_radio_serves(sim, i, r))
            return true;
    return false;
}

static void check_begin(struct sim *sim, size_t i, const struct event *event)
{
    const struct peer *peer = sim->gateway->peers[i];
    const struct connection_settings *connection = &sim->settings.devices[i].connection;
    const struct sim_peer *seen = &sim->peers[i];
    bool idle = peer->state == PEER_STATE_IDLE;

    if (sim->stopping || !sim->settings.devices[i].enabled || !peer->ours || peer->pause_us)
        return;
    if (connection->mode == CONNECTION_MODE_EVERY && !peer->contact &&
        peer->contact_due_us < sim->now.mono_us - SLACK_US)
        sim_fail(sim, "d%zu has its time, and no contact begins", i);
    if (connection->mode == CONNECTION_MODE_WHEN_SEEN && idle && event->type == EVENT_DEVICE &&
        event->device_info.heard && sim->gateway->bluez_up && is_served(sim, i, event->adapter) &&
        gateway_peer_of_device(sim->gateway, event->device) == peer &&
        sim->now.mono_us >= seen->contact_ended_us + MS_TO_US(connection->cooldown_ms))
        sim_fail(sim, "d%zu is seen, and no contact begins", i);
    if (idle && (peer->ops || peer->sequences))
        sim_fail(sim, "d%zu is idle, and commands wait for it", i);
}

/* Between contacts there is no link, and nobody tries. */
static void check_rest(struct sim *sim, size_t i)
{
    const struct peer *peer = sim->gateway->peers[i];
    bool rests = peer->state == PEER_STATE_IDLE || peer->state == PEER_STATE_DISABLED ||
                 peer->state == PEER_STATE_DISCONNECTING;

    if (!peer->contact && !hold_is_asked(peer) && !rests && peer->reason != REASON_STARTING)
        sim_fail(sim, "d%zu is %s without a contact", i, peer_state_name(peer->state));
    if (peer->contact && peer->state == PEER_STATE_IDLE)
        sim_fail(sim, "d%zu is idle during a contact", i);
}

/* keeping it alive is nothing to do */
static bool is_only_kept_alive(const struct peer *peer)
{
    for (const struct gatt_op *op = peer->ops; op; op = op->next)
        if (!op->step)
            return false;
    return peer->sequence && peer->sequence->purpose == SEQUENCE_PURPOSE_KEEP_ALIVE &&
           !peer->sequences && (!peer->op || peer->op->step);
}

static void check_end(struct sim *sim, size_t i, const struct event *event)
{
    const struct peer *peer = sim->gateway->peers[i];
    const struct connection_settings *connection = &sim->settings.devices[i].connection;
    struct sim_peer *seen = &sim->peers[i];
    bool nothing = peer->state == PEER_STATE_ONLINE && peer->contact && !peer->until &&
                   (is_only_kept_alive(peer) ||
                    (!peer->op && !peer->ops && !peer->sequence && !peer->sequences));

    if (!nothing || hold_is_asked(peer) ||
        event->type == EVENT_MESSAGE) /* one that is refused counts, too */
        seen->nothing_us = 0;
    else if (!seen->nothing_us)
        seen->nothing_us = sim->now.mono_us;
    else if (sim->now.mono_us - seen->nothing_us > MS_TO_US(connection->linger_ms) + SLACK_US)
        sim_fail(sim, "d%zu is held, and nothing is left to do for %.1f s", i,
                 (double)(sim->now.mono_us - seen->nothing_us) / 1e6);
    if (peer->contact &&
        sim->now.mono_us - seen->contact_began_us > MS_TO_US(connection->timeout_ms) + SLACK_US)
        sim_fail(sim, "d%zu: a contact takes longer than its timeout", i);
}

/* One that began when all was well, and was given time enough, has been online. */
static void contact_ended(struct sim *sim, size_t i)
{
    struct sim_peer *seen = &sim->peers[i];
    bool well = sim->quiet && seen->contact_limit_us <= sim->now.mono_us &&
                seen->contact_began_us > sim->quiet_us + SIM_RECOVERY_US &&
                sim->now.mono_us - seen->contact_began_us > SIM_CONTACT_US &&
                seen->pair_us < seen->contact_began_us && /* which comes first */
                sim->settings.bluetooth.connections >= sim->n_devices;

    if (well && !seen->contact_reached && sim_is_in_reach(sim, i))
        sim_fail(sim, "d%zu: a contact of %.1f s came to nothing, and nothing was wrong", i,
                 (double)(sim->now.mono_us - seen->contact_began_us) / 1e6);
}

static void note(struct sim *sim, size_t i)
{
    const struct peer *peer = sim->gateway->peers[i];
    struct sim_peer *seen = &sim->peers[i];
    bool heard = peer->heard_us == sim->now.mono_us;

    if (peer->contact && (!seen->contact || peer->contact_limit_us != seen->contact_limit_us))
        seen->contact_began_us = sim->now.mono_us;
    if (seen->contact && !peer->contact) {
        seen->contact_ended_us = sim->now.mono_us;
        contact_ended(sim, i);
    }
    if (!peer->contact)
        seen->contact_reached = false;
    seen->contact_reached |= peer->state == PEER_STATE_ONLINE;
    seen->contact = peer->contact;
    seen->contact_limit_us = peer->contact_limit_us;
    if (peer->bound && !seen->bound)
        seen->bound_us = sim->now.mono_us;
    seen->bound = peer->bound;
    if (peer != seen->who) { /* a new one, for a device whose settings changed */
        seen->good = false;
        seen->reached_us = peer->contact_us;
    }
    seen->who = peer;
    if (seen->good || peer->online_us || (heard && !peer->failures))
        seen->reached_us = sim->now.mono_us; /* also at the end of a link */
    seen->good = peer->online_us;
}

/* ---- silence ---- */

static void check_silence(struct sim *sim, size_t i)
{
    const struct peer *peer = sim->gateway->peers[i];
    uint64_t silence_us = MS_TO_US(sim->settings.devices[i].silence_ms);
    struct sim_peer *seen = &sim->peers[i];
    uint64_t since_us = MAX_OF(seen->subscribed_us, seen->value_us);
    bool subscribed = false;

    for (size_t s = 0; s < peer->n_entries; s++)
        subscribed |= peer->sources[s].subscribed;
    if (!subscribed)
        seen->subscribed_us = 0;
    else if (!seen->subscribed_us)
        seen->subscribed_us = sim->now.mono_us;
    if (!silence_us || peer->state != PEER_STATE_ONLINE || !subscribed)
        seen->listening_us = 0;
    else if (!seen->listening_us)
        seen->listening_us = sim->now.mono_us;
    else if (sim->now.mono_us - MAX_OF(seen->listening_us, seen->value_us) > silence_us + SLACK_US)
        sim_fail(sim, "d%zu is silent for longer than allowed, and online", i);
    if (peer->state == PEER_STATE_DISCONNECTING && seen->state == PEER_STATE_ONLINE &&
        peer->reason == REASON_SILENT && (!silence_us || sim->now.mono_us - since_us < silence_us))
        sim_fail(sim, "d%zu is connected anew, and was not silent for %.0f s", i,
                 (double)silence_us / 1e6);
}

void sim_contact_check(struct sim *sim, size_t i, const struct event *event)
{
    check_silence(sim, i);
    note(sim, i);
    if (sim_contact_held(sim, i)) {
        if (sim->gateway->peers[i]->contact)
            sim_fail(sim, "d%zu is held always and has a contact", i);
        return;
    }
    check_begin(sim, i, event);
    check_rest(sim, i);
    check_end(sim, i, event);
}
