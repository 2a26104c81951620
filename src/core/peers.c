/*
 * The gateway's peers: made, found and freed. `peers` has them in the file's order; `places` by the
 * number that actions and answers name them with, which a peer keeps as long as it lives. Must not
 * know what they do.
 */
#include "core/world.h"

#include <stdlib.h>
#include <string.h>
#include <uthash.h>

struct device_key {
    uint32_t device;
    struct peer *peer; /* borrowed */
    UT_hash_handle hh;
};

/* A peer's own two are made with it, so that later nothing can fail. */
struct address_key {
    struct bt_address address;
    struct peer *peer; /* borrowed */
    bool listed;
    UT_hash_handle hh;
};

struct id_key {
    struct peer *peer; /* borrowed */
    bool listed;
    UT_hash_handle hh; /* its key: borrowed from the settings */
};

/* ---- finding ---- */

struct peer *gateway_find_peer(struct gateway *gateway, const char *id, size_t length)
{
    struct id_key *key;

    HASH_FIND(hh, gateway->ids, id, length, key);
    return key ? key->peer : NULL;
}

struct peer *gateway_peer_at(const struct gateway *gateway, uint32_t index)
{
    return index < gateway->n_places ? gateway->places[index] : NULL;
}

struct peer *gateway_peer_of_device(struct gateway *gateway, uint32_t device)
{
    struct device_key *key;

    HASH_FIND(hh, gateway->devices, &device, sizeof(device), key);
    return key ? key->peer : NULL;
}

int gateway_add_device(struct gateway *gateway, uint32_t device, struct peer *peer)
{
    struct device_key *key = calloc(1, sizeof(*key));

    if (!key)
        return -ENOMEM;
    key->device = device;
    key->peer = peer;
    HASH_ADD(hh, gateway->devices, device, sizeof(key->device), key);
    return 0;
}

void gateway_remove_device(struct gateway *gateway, uint32_t device)
{
    struct device_key *key;

    HASH_FIND(hh, gateway->devices, &device, sizeof(device), key);
    if (key) {
        HASH_DEL(gateway->devices, key);
        free(key);
    }
}

struct peer *gateway_peer_of_address(struct gateway *gateway, const struct bt_address *address)
{
    struct address_key *key;

    HASH_FIND(hh, gateway->addresses, address->b, sizeof(address->b), key);
    return key ? key->peer : NULL;
}

void gateway_add_address(struct gateway *gateway, struct peer *peer)
{
    struct address_key *key = peer->address_key;

    key->address = peer->address;
    HASH_ADD(hh, gateway->addresses, address, sizeof(key->address), key);
    key->listed = true;
}

void gateway_remove_address(struct gateway *gateway, struct peer *peer)
{
    if (peer->address_key->listed)
        HASH_DEL(gateway->addresses, peer->address_key);
    peer->address_key->listed = false;
}

void gateway_add_id(struct gateway *gateway, struct peer *peer)
{
    struct id_key *key = peer->id_key;

    HASH_ADD_KEYPTR(hh, gateway->ids, peer->settings->id, strlen(peer->settings->id), key);
    key->listed = true;
}

void gateway_remove_id(struct gateway *gateway, struct peer *peer)
{
    if (peer->id_key->listed)
        HASH_DEL(gateway->ids, peer->id_key);
    peer->id_key->listed = false;
}

/* ---- life ---- */

int peer_new(struct gateway *gateway, const struct device_settings *settings,
             struct peer **ret_peer)
{
    struct peer *peer = calloc(1, sizeof(*peer));

    if (!peer)
        return -ENOMEM;
    int r = peer_init(peer, gateway, NO_PEER, settings);
    if (r < 0) {
        peer_free(peer);
        return r;
    }
    peer->id_key = calloc(1, sizeof(*peer->id_key));
    peer->address_key = calloc(1, sizeof(*peer->address_key));
    if (!peer->id_key || !peer->address_key) {
        peer_free(peer);
        return -ENOMEM;
    }
    peer->id_key->peer = peer->address_key->peer = peer;
    *ret_peer = peer;
    return 0;
}

struct peer *peer_free(struct peer *peer)
{
    if (!peer)
        return NULL;
    peer_done(peer);
    if (peer->own_settings)
        device_settings_done(peer->own_settings);
    free(peer->own_settings);
    free(peer->id_key);
    free(peer->address_key);
    free(peer);
    return NULL;
}

void gateway_place_peer(struct gateway *gateway, struct peer *peer, uint32_t index)
{
    gateway->places[index] = peer;
    peer->index = index;
    gateway_add_id(gateway, peer);
    if (peer->bound)
        gateway_add_address(gateway, peer);
}

void gateway_count_unbound(struct gateway *gateway)
{
    gateway->n_unbound = 0;
    for (size_t i = 0; i < gateway->n_peers; i++)
        gateway->n_unbound += !gateway->peers[i]->bound && gateway->peers[i]->settings->enabled;
}

int peers_init(struct gateway *gateway)
{
    const struct settings *settings = gateway->settings;
    size_t n = MAX_OF(settings->n_devices, (size_t)1);

    gateway->peers = calloc(n, sizeof(*gateway->peers));
    gateway->places = calloc(n, sizeof(*gateway->places));
    if (!gateway->peers || !gateway->places)
        return -ENOMEM;
    gateway->n_places = n;
    for (size_t i = 0; i < settings->n_devices; i++) {
        int r = peer_new(gateway, &settings->devices[i], &gateway->peers[i]);
        if (r < 0)
            return r;
        gateway->n_peers = i + 1; /* what peers_done() has to undo */
        gateway_place_peer(gateway, gateway->peers[i], (uint32_t)i);
    }
    gateway_count_unbound(gateway);
    return 0;
}

void peers_done(struct gateway *gateway)
{
    struct device_key *device, *next;

    HASH_ITER (hh, gateway->devices, device, next) {
        HASH_DEL(gateway->devices, device);
        free(device);
    }
    HASH_CLEAR(hh, gateway->addresses);
    HASH_CLEAR(hh, gateway->ids);
    for (size_t i = 0; i < gateway->n_peers; i++)
        peer_free(gateway->peers[i]);
    while (gateway->leaving) {
        struct peer *peer = gateway->leaving;
        gateway->leaving = peer->next_leaving;
        peer_free(peer);
    }
    reload_bury(gateway);
    free(gateway->peers);
    free(gateway->places);
}
