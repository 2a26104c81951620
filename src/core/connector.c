/*
 * The connector: who connects next, and by which adapter. One Connect at a time per adapter (a
 * second LE Create Connection would fail in the kernel): the token goes to peers that were heard,
 * first come first served; a blind attempt (the peer's object is known, but it was not heard) waits
 * until nobody else wants the token and gives way when somebody does. A peer that several adapters
 * hear goes by the one that hears it best, see score(). Must not know how a link is made.
 */
#include "core/world.h"

/* in dB, so that it compares with what is heard */
#define HYSTERESIS_DB   5  /* another one must be so much better than the one used last */
#define BUSY_DB         10 /* it is connecting to somebody else */
#define FAILURE_DB      10 /* for each of the last attempts there that failed */
#define FAILURES_MAX    3
#define FAILURE_FADE_MS 600000 /* then they are forgotten */
#define RSSI_WORST      (-127)

/* ---- links ---- */

static bool takes_link(const struct peer *peer, uint32_t adapter)
{
    /* a Connect on its way takes one, too */
    if (peer->adapter == adapter && (peer->link_up || peer->state == PEER_STATE_CONNECTING ||
                                     peer->state == PEER_STATE_DISCONNECTING))
        return true;
    /* one that a Disconnect could not end, or that nobody here wanted */
    for (size_t i = 0; i < MAX_ADAPTERS; i++)
        if (peer->sightings[i].adapter == adapter && peer->sightings[i].connected)
            return true;
    return false;
}

static size_t count_links(const struct gateway *gateway, uint32_t adapter)
{
    size_t n = 0;

    for (size_t i = 0; i < gateway->n_peers; i++)
        n += takes_link(gateway->peers[i], adapter);
    for (const struct peer *peer = gateway->leaving; peer; peer = peer->next_leaving)
        n += takes_link(peer, adapter);
    return n;
}

size_t adapter_count_links(struct gateway *gateway, uint32_t id)
{
    struct adapter *adapter = gateway->links_stand ? adapter_find(gateway, id) : NULL;

    if (!adapter)
        return count_links(gateway, id);
    if (!adapter->links_counted) {
        adapter->links_counted = true;
        adapter->n_counted = count_links(gateway, id);
    }
    return adapter->n_counted;
}

void connector_links_changed(struct gateway *gateway)
{
    for (size_t i = 0; i < MAX_ADAPTERS; i++)
        gateway->adapters[i].links_counted = false;
}

static bool is_full(struct gateway *gateway, uint32_t adapter)
{
    return adapter_count_links(gateway, adapter) >= gateway->settings->bluetooth.connections;
}

/* ---- by which adapter ---- */

bool connector_hears(const struct peer *peer, const struct sighting *sighting)
{
    return sighting->heard_us &&
           peer->gateway->now.mono_us - sighting->heard_us < MS_TO_US(HEARD_MS);
}

/* the adapter of a sighting by which the peer can be reached now, or NULL */
static const struct adapter *way_of(const struct peer *peer, const struct sighting *sighting)
{
    const struct adapter *adapter =
        sighting->device ? adapter_find(peer->gateway, sighting->adapter) : NULL;

    return adapter && adapter_works(adapter) && adapter_serves(peer, adapter) ? adapter : NULL;
}

static int score(const struct peer *peer, const struct sighting *sighting,
                 const struct adapter *adapter)
{
    const struct gateway *gateway = peer->gateway;
    int score = sighting->rssi == RSSI_UNKNOWN ? RSSI_WORST : sighting->rssi;

    if (adapter->id == peer->last_adapter)
        score += HYSTERESIS_DB;
    if (sighting->failed_us &&
        gateway->now.mono_us - sighting->failed_us < MS_TO_US(FAILURE_FADE_MS))
        score -= FAILURE_DB * (int)MIN_OF(sighting->failures, FAILURES_MAX);
    const struct peer *holder = gateway_peer_at(gateway, adapter->connector);
    if (holder && holder != peer && !holder->blind) /* a blind one gives way */
        score -= BUSY_DB;
    return score;
}

/* Whether `a` is the better way: one with room; not heard: the one tried longer ago, so that all
 * have their turn; then the score. At the same score the one used last must not win: the other is
 * HYSTERESIS_DB better then. */
static bool is_better(const struct peer *peer, const struct sighting *a, const struct sighting *b,
                      bool heard)
{
    const struct adapter *on_a = way_of(peer, a), *on_b = way_of(peer, b);
    bool full_a = is_full(peer->gateway, a->adapter), full_b = is_full(peer->gateway, b->adapter);

    if (full_a != full_b)
        return full_b;
    if (!heard && a->tried_us != b->tried_us)
        return a->tried_us < b->tried_us;
    int score_a = score(peer, a, on_a), score_b = score(peer, b, on_b);
    return score_a > score_b || (score_a == score_b && b->adapter == peer->last_adapter);
}

const struct sighting *connector_way(const struct peer *peer, bool heard)
{
    const struct sighting *best = NULL;

    for (size_t i = 0; i < MAX_ADAPTERS; i++) {
        const struct sighting *sighting = &peer->sightings[i];

        if (!way_of(peer, sighting) || (heard && !connector_hears(peer, sighting)))
            continue;
        if (!best || is_better(peer, sighting, best, heard))
            best = sighting;
    }
    return best;
}

void connector_count(const struct peer *peer, size_t *ret_links, uint64_t *ret_allowed)
{
    *ret_links = 0;
    *ret_allowed = 0;
    for (size_t i = 0; i < MAX_ADAPTERS; i++) {
        const struct sighting *sighting = &peer->sightings[i];

        if (!way_of(peer, sighting) || !connector_hears(peer, sighting))
            continue;
        *ret_links += adapter_count_links(peer->gateway, sighting->adapter);
        *ret_allowed += peer->gateway->settings->bluetooth.connections;
    }
}

bool connector_has_room(const struct peer *peer, const struct sighting *sighting)
{
    return way_of(peer, sighting) && !is_full(peer->gateway, sighting->adapter);
}

void connector_failed(struct peer *peer)
{
    struct sighting *sighting = peer_find_sighting(peer, peer->device);

    if (!sighting)
        return;
    sighting->failures++;
    sighting->failed_us = peer->gateway->now.mono_us;
}

void connector_succeeded(struct peer *peer)
{
    struct sighting *sighting = peer_find_sighting(peer, peer->device);

    if (sighting)
        sighting->failures = 0;
    peer->last_adapter = peer->adapter;
}

/* ---- who ---- */

/* Heard ones first, in the order in which they became ready; then blind ones, likewise. */
static struct peer *next_peer(struct gateway *gateway, uint32_t adapter, bool heard)
{
    struct peer *best = NULL;

    for (size_t i = 0; i < gateway->n_peers; i++) {
        struct peer *peer = gateway->peers[i];
        bool fits = heard ? peer->state == PEER_STATE_READY
                          : peer->state == PEER_STATE_ABSENT && peer_wants_link(peer) &&
                                peer->blind_us <= gateway->now.mono_us;
        const struct sighting *way = fits ? connector_way(peer, heard) : NULL;

        if (!way || way->adapter != adapter)
            continue;
        /* somebody who waits for an answer goes before the rest */
        bool asked = peer->ops || peer->sequences || peer->waits;
        bool best_asked = best && (best->ops || best->sequences || best->waits);
        if (!best || asked > best_asked || (asked == best_asked && peer->since_us < best->since_us))
            best = peer;
    }
    return best;
}

void connector_next(struct gateway *gateway, struct adapter *adapter)
{
    struct peer *holder = gateway_peer_at(gateway, adapter->connector);
    struct peer *heard = next_peer(gateway, adapter->id, true);

    if (holder) {
        if (heard && holder->blind && holder->state == PEER_STATE_CONNECTING && !holder->link_up)
            peer_give_way(holder);
        return;
    }
    if (is_full(gateway, adapter->id))
        return; /* peer_reconsider() says so */
    struct peer *peer = heard ? heard : next_peer(gateway, adapter->id, false);
    if (!peer)
        return;
    struct sighting *way = peer_find_sighting(peer, connector_way(peer, heard != NULL)->device);
    adapter->connector = peer->index;
    if (heard && !adapter->scan_passive)
        scan_pause(gateway, adapter); /* before the Connect */
    way->tried_us = gateway->now.mono_us;
    peer_connect(peer, way, heard == NULL);
}

void connector_release(struct gateway *gateway, struct peer *peer)
{
    for (size_t i = 0; i < MAX_ADAPTERS; i++)
        if (gateway->adapters[i].id && gateway->adapters[i].connector == peer->index) {
            gateway->adapters[i].connector = NO_PEER;
            gateway->schedule = true;
        }
}
