/*
 * After the last fault: how soon everybody who is wanted and there must be online and subscribed.
 * It depends on what was going on when the last fault ended:
 *
 *   ordinary  nothing is on its way: the peer is heard (at most 8 s, its interval), its backoff
 * ends 1 s after that (an advertisement does so once per 10 s), those before it connect (2 s each,
 * N_DEVICES_MAX at most; one Connect that hangs costs 20 s and the 10 s of its Disconnect), it
 * resolves and subscribes (10 s), and does its on_connect (20 s). hung      its own bring-up hangs
 * until a deadline (ATTEMPT_MS, DISCONNECT_MS; or that of on_connect, 61 s), or the adapter's scan
 * or power waits for its retry (SCAN_ANSWER_MS, SCAN_SLOW_RETRY_MS) refused   it was refused, and
 * waits for up to SLOWEST_RETRY_MS by design: until then, and as an ordinary one from there
 */
#include "sim.h"

#include <inttypes.h>

#define ORDINARY_US S_TO_US(110)
#define HUNG_US     S_TO_US(180)
#define LACKING_US  S_TO_US(90) /* a place that somebody left is taken */

const char *sim_recovery_name(enum sim_recovery recovery)
{
    static const char *const names[] = {"ordinary", "hung", "refused"};

    return names[recovery];
}

bool sim_is_in_reach(const struct sim *sim, size_t i)
{
    int d = sim_check_device_of(sim, i);

    return d != NOBODY && sim->devices[d].present;
}

static bool is_wanted(const struct sim *sim, size_t i)
{
    return sim_contact_held(sim, i) && sim_contact_wants_link(sim, i) && sim_is_in_reach(sim, i);
}

/* ---- what was going on ---- */

static bool adapter_waits(const struct sim *sim)
{
    for (size_t a = 0; a < MAX_ADAPTERS; a++) {
        const struct adapter *adapter = &sim->gateway->adapters[a];
        if (adapter->id && adapter->used &&
            (!adapter->powered || adapter->scan == SCAN_STATE_STARTING ||
             adapter->scan == SCAN_STATE_STOPPING || adapter->scan_retry_us > sim->now.mono_us))
            return true;
    }
    return false;
}

static void set_recovery(struct sim *sim, size_t i, enum sim_recovery recovery, uint64_t by_us)
{
    struct sim_peer *seen = &sim->peers[i];

    seen->recovery = recovery;
    seen->back_by_us = by_us;
}

static bool is_refused(const struct sim *sim, const struct peer *peer)
{
    return peer->state == PEER_STATE_BACKOFF && peer->retry_slow &&
           peer->retry_us > sim->now.mono_us;
}

/* Refusals that were on their way come late. New ones must not come. */
static void look_for_refusals(struct sim *sim, size_t i)
{
    const struct peer *peer = sim->gateway->peers[i];
    struct sim_peer *seen = &sim->peers[i];

    if (!is_refused(sim, peer) || seen->back_us || peer->retry_us + ORDINARY_US <= seen->back_by_us)
        return;
    if (peer->began_us > sim->quiet_us && is_wanted(sim, i))
        sim_fail(sim, "d%zu was well, and is refused after the last fault: %s", i, peer->why);
    set_recovery(sim, i, RECOVERY_REFUSED, peer->retry_us + ORDINARY_US);
}

void sim_recover_begin(struct sim *sim)
{
    bool waits = adapter_waits(sim);

    sim->lacking_us = 0;
    sim->drained = false;
    for (size_t i = 0; i < sim->n_devices; i++) {
        const struct peer *peer = sim->gateway->peers[i];
        bool hung = peer->state == PEER_STATE_CONNECTING || peer->state == PEER_STATE_RESOLVING ||
                    peer->state == PEER_STATE_CONFIGURING ||
                    peer->state == PEER_STATE_DISCONNECTING;

        sim->peers[i].back_us = 0;
        sim->peers[i].unwanted = false;
        set_recovery(sim, i, hung || waits ? RECOVERY_HUNG : RECOVERY_ORDINARY,
                     sim->now.mono_us + (hung || waits ? HUNG_US : ORDINARY_US));
        look_for_refusals(sim, i);
    }
}

/* ---- who is back ---- */

static void check_complete(struct sim *sim, size_t i)
{
    const struct device_settings *settings = &sim->settings.devices[i];
    const struct peer *peer = sim->gateway->peers[i];

    for (size_t e = 0; e < settings->n_characteristics; e++)
        if (peer->entries[e].missing)
            sim_fail(sim, "d%zu is online again, but e%zu is missing: %s", i, e,
                     peer->entries[e].missing);
}

static void note_back(struct sim *sim, size_t i)
{
    struct sim_peer *seen = &sim->peers[i];
    struct sim_totals *totals = &sim->totals;

    if (seen->back_us || sim->gateway->peers[i]->state != PEER_STATE_ONLINE)
        return;
    seen->back_us = sim->now.mono_us;
    if (sim->settings.bluetooth.connections < sim->n_devices)
        return; /* it may have waited for its turn */
    totals->recoveries[seen->recovery]++;
    totals->worst_recovery_us[seen->recovery] =
        MAX_OF(totals->worst_recovery_us[seen->recovery], seen->back_us - sim->quiet_us);
}

/*
 * How many of those that may use any adapter, and of those that may use the first only, must be
 * online: the former may have come first and taken the place of the latter, and nobody moves.
 */
static size_t places_for(const struct sim *sim, size_t any, size_t first, size_t links)
{
    size_t places = sim->settings.bluetooth.connections, n = 0;

    for (int r = 0; r < N_RADIOS; r++)
        n += sim_radio_works(sim, r) && (size_t)r < sim->settings.bluetooth.n_adapters;
    size_t all = MAX_OF(n, (size_t)1) * places, taken = MIN_OF(places, any + links);
    return MIN_OF(any, all - MIN_OF(all, links)) + MIN_OF(first, places - taken);
}

/* by whomever */
static bool is_linked(const struct sim *sim, size_t i)
{
    int d = sim_check_device_of(sim, i);

    return d != NOBODY && sim->devices[d].linked;
}

/* Each second of the quiet time. Who is paired by a request has its time after that. */
void sim_recover_watch(struct sim *sim)
{
    size_t any = 0, first = 0, online = 0, links = 0, missing = 0;
    struct outbox_stats stats;

    outbox_get_stats(sim->gateway->outbox, &stats);
    sim->drained |= !stats.queued;

    for (size_t i = 0; i < sim->n_devices; i++) {
        const struct peer *peer = sim->gateway->peers[i];
        bool is_online = peer->state == PEER_STATE_ONLINE;
        if (!is_wanted(sim, i) || sim_pair_is_asked(sim, i)) { /* paused, or let go, by a request */
            sim->peers[i].unwanted = true;
        } else {
            if (sim->peers[i].unwanted && !is_online)
                sim->peers[i].back_by_us =
                    MAX_OF(sim->peers[i].back_by_us, sim->now.mono_us + ORDINARY_US);
            sim->peers[i].unwanted = false;
            look_for_refusals(sim, i);
            note_back(sim, i);
        }
        if (sim->peers[i].unwanted ||
            (!is_online && sim->now.mono_us <= sim->peers[i].back_by_us)) {
            links += peer->link_up || peer->state == PEER_STATE_CONNECTING ||
                     peer->state == PEER_STATE_DISCONNECTING || is_linked(sim, i);
            continue;
        }
        *(sim->settings.devices[i].adapter ? &first : &any) += 1;
        online += is_online;
        missing = is_online ? missing : i;
    }
    if (online >= places_for(sim, any, first, links)) {
        sim->lacking_us = 0;
        return;
    }
    if (!sim->lacking_us)
        sim->lacking_us = sim->now.mono_us;
    /* with a place for everybody nobody waits for another one */
    bool room = sim->settings.bluetooth.connections >= sim->n_devices;
    const struct peer *peer = sim->gateway->peers[missing];
    if (room || sim->now.mono_us - sim->lacking_us > LACKING_US)
        sim_fail(sim, "%.0f s after the last fault (%s) d%zu is still %s: %s",
                 (double)(sim->now.mono_us - sim->quiet_us) / 1e6,
                 sim_recovery_name(sim->peers[missing].recovery), missing,
                 peer_state_name(peer->state), peer->why);
}

/* All the rest, at a time at which everything must be over. */
void sim_recover_check(struct sim *sim)
{
    if (!sim->quiet || sim->stopping)
        return;
    for (size_t i = 0; i < sim->n_devices; i++)
        if (is_wanted(sim, i) && sim->gateway->peers[i]->state == PEER_STATE_ONLINE)
            check_complete(sim, i);
    for (size_t i = 0; i < sim->n_devices; i++)
        if (!sim->gateway->peers[i]->speaks || !sim->said_online)
            sim_fail(sim, "%.0f s after the last fault nothing is said of d%zu",
                     (double)(sim->now.mono_us - sim->quiet_us) / 1e6, i);
    sim_commands_check(sim, sim->quiet_us);
    sim_stream_check_empty(sim);
    sim_memory_check(sim);
}
