/*
 * A peer's objects at BlueZ, one per adapter: when each was heard, how well, and, for an entry
 * without an address, which of those that fit it becomes.
 */
#include "core/world.h"

/* ---- sightings ---- */

struct sighting *peer_find_sighting(struct peer *peer, uint32_t device)
{
    for (size_t i = 0; device && i < MAX_ADAPTERS; i++)
        if (peer->sightings[i].device == device)
            return &peer->sightings[i];
    return NULL;
}

void peer_forget_sighting(struct peer *peer, struct sighting *sighting)
{
    gateway_remove_device(peer->gateway, sighting->device);
    *sighting = (struct sighting){0};
    peer->gateway->schedule = true; /* there may be another way */
    /* The objects share the numbers: BlueZ renews a subscription by itself when the peer comes back
     * to an adapter, before we ask. With the last object the last subscription went. */
    for (size_t i = 0; i < MAX_ADAPTERS; i++)
        if (peer->sightings[i].device)
            return;
    for (size_t i = 0; i < peer->n_sources; i++)
        peer->sources[i].subscription = 0;
}

/* ---- objects of BlueZ ---- */

/* An advertisement ends a backoff. When the last one that did is not long ago, the attempt is set
 * for when it is: the kernel's duplicate filter may withhold the peer for 10 s from now on. */
static void shorten_backoff(struct peer *peer)
{
    struct gateway *gateway = peer->gateway;
    uint64_t due_us = gateway_in(gateway, ADVERT_RETRY_MS);

    if (peer->state != PEER_STATE_BACKOFF || peer->retry_slow)
        return;
    if (peer->shortcut_us)
        due_us = MAX_OF(due_us, peer->shortcut_us + MS_TO_US(ADVERT_SHORTCUT_MS));
    if (peer->retry_us <= due_us)
        return;
    peer->shortcut_us = peer->retry_us = due_us;
    gateway_arm(gateway, peer->retry_us);
}

/* false: it does not count, now */
static bool heard(struct peer *peer, struct sighting *sighting, const struct device_info *info)
{
    struct gateway *gateway = peer->gateway;
    uint64_t now = gateway->now.mono_us;

    bool news = !connector_hears(peer, sighting);
    sighting->heard_us = now;
    if (info->rssi != RSSI_UNKNOWN)
        sighting->rssi = info->rssi;
    /* another program may scan with an adapter that is not for this peer */
    if (!adapter_serves(peer, adapter_find(gateway, info->adapter)))
        return false;
    if (news && peer->state == PEER_STATE_READY)
        gateway->schedule = true; /* one more way */
    peer->heard_us = now;
    peer->heard_real_us = gateway->now.real_us;
    if (info->rssi != RSSI_UNKNOWN)
        peer->rssi = info->rssi;
    contact_seen(peer);
    if (peer->rssi != peer->rssi_published &&
        now - peer->link_published_us >= MS_TO_US(RSSI_REPUBLISH_MS))
        peer->link_dirty = gateway->links_dirty = true;
    shorten_backoff(peer);
    return true;
}

/* Heard while it is connected blindly: by that adapter, which connects now, or by another one. */
static void found(struct peer *peer, const struct sighting *sighting)
{
    if (peer->adapter != sighting->adapter && peer->state == PEER_STATE_CONNECTING)
        peer_give_way(peer);
    peer_found(peer);
}

/* With the bond BlueZ has learnt who is behind a private address: the object has another one. */
static void take_identity(struct peer *peer, const struct device_info *info)
{
    struct gateway *gateway = peer->gateway;
    char text[BT_ADDRESS_TEXT_SIZE];

    if (!peer->bound || peer->settings->match.has_address || !info->bonded ||
        bt_address_equal(&peer->address, &info->address) ||
        gateway_peer_of_address(gateway, &info->address))
        return;
    gateway_remove_address(gateway, peer);
    peer->address = info->address;
    peer->address_type = info->address_type;
    gateway_add_address(gateway, peer);
    gateway->bridge_dirty = true;
    peer->link_dirty = gateway->links_dirty = true;
    bt_address_format(&peer->address, text);
    actions_log(gateway->actions, LOG_LEVEL_INFO, peer->log_area, "is %s, as its bond says", text);
}

void peer_device(struct peer *peer, const struct device_info *info)
{
    struct sighting *sighting = peer_find_sighting(peer, info->device);

    if (!sighting)
        return;
    take_identity(peer, info);
    sighting->bonded = info->bonded || info->paired;
    bool is_heard = info->heard && heard(peer, sighting, info);
    if (info->connected != sighting->connected)
        peer_link(peer, info->adapter, info->device, info->connected);
    if (!is_heard)
        return;
    contact_heard(peer);
    if (peer->state == PEER_STATE_ABSENT)
        peer_consider(peer);
    else if (peer->blind)
        found(peer, sighting);
}

/* A new object of a peer that has its address: one more sighting. */
static void add_sighting(struct peer *peer, const struct device_info *info)
{
    struct sighting *sighting = NULL;

    for (size_t i = 0; i < MAX_ADAPTERS; i++) {
        if (peer->sightings[i].device && peer->sightings[i].adapter == info->adapter) {
            /* a second object at the same adapter: only if it is the livelier one */
            if (peer->sightings[i].device == peer->device || !(info->heard || info->connected))
                return;
            sighting = &peer->sightings[i];
            peer_forget_sighting(peer, sighting);
            break;
        }
        if (!peer->sightings[i].device && !sighting)
            sighting = &peer->sightings[i];
    }
    if (!sighting || gateway_add_device(peer->gateway, info->device, peer) < 0)
        return;
    *sighting =
        (struct sighting){.adapter = info->adapter, .device = info->device, .rssi = RSSI_UNKNOWN};
    peer->gateway->schedule = true; /* a blind attempt is possible now */
    peer_device(peer, info);
}

void peer_bind(struct peer *peer)
{
    struct gateway *gateway = peer->gateway;
    char address[BT_ADDRESS_TEXT_SIZE];
    struct device_info info = {.adapter = peer->candidate.adapter,
                               .device = peer->candidate.device,
                               .address = peer->candidate.address,
                               .address_type = peer->candidate.address_type,
                               .rssi = peer->candidate.rssi,
                               .heard = peer->candidate.heard,
                               .connected = peer->candidate.connected,
                               .bonded = peer->candidate.bonded};

    if (!peer->ours)
        return; /* claim.c comes back to it */
    peer->candidate.device = 0;
    if (gateway_peer_of_address(gateway, &info.address)) {
        peer_consider(peer); /* another entry was faster */
        return;
    }
    peer->address = info.address;
    peer->address_type = info.address_type;
    gateway_add_address(gateway, peer);
    peer->bound = true;
    gateway->n_unbound--;
    bt_address_format(&peer->address, address);
    actions_log(gateway->actions, LOG_LEVEL_INFO, peer->log_area, "is %s", address);
    gateway->bridge_dirty = true; /* the retained `devices` names the address */
    actions_add(gateway->actions, ACTION_TELL_DEVICES); /* it may have one at another adapter */
    add_sighting(peer, &info);
}

void peer_remember(struct peer *peer, const struct bt_address *address)
{
    struct gateway *gateway = peer->gateway;
    char text[BT_ADDRESS_TEXT_SIZE];

    if (peer->bound || gateway_peer_of_address(gateway, address))
        return;
    peer->candidate.device = 0;
    peer->address = *address;
    gateway_add_address(gateway, peer);
    peer->bound = true;
    gateway_count_unbound(gateway);
    gateway->bridge_dirty = true;
    bt_address_format(address, text);
    actions_log(gateway->actions, LOG_LEVEL_INFO, peer->log_area, "is %s, as before", text);
    /* BlueZ may have told of its object already, and of a link that outlived the gateway */
    actions_add(gateway->actions, ACTION_TELL_DEVICES);
    peer_reconsider(peer);
}

void peer_offer(struct peer *peer, const struct device_info *info)
{
    if (!peer->settings->enabled || (!peer->bound && !claim_may_become_ours(peer)))
        return;
    if (peer->bound) {
        if (!peer->settings->match.has_address_type ||
            peer->settings->match.address_type == info->address_type) {
            peer->address_type = info->address_type; /* a remembered address has none */
            add_sighting(peer, info);
        }
        return;
    }
    if (peer->candidate.device && peer->candidate.device != info->device &&
        peer->candidate.rssi >= info->rssi && !info->connected)
        return;
    if (!peer->candidate.device) {
        peer->candidate.until_us = gateway_in(peer->gateway, BIND_WINDOW_MS);
        gateway_arm(peer->gateway, peer->candidate.until_us);
    }
    peer->candidate.device = info->device;
    peer->candidate.adapter = info->adapter;
    peer->candidate.address = info->address;
    peer->candidate.address_type = info->address_type;
    peer->candidate.rssi = info->rssi;
    peer->candidate.heard = info->heard;
    peer->candidate.connected = info->connected;
    peer->candidate.bonded = info->bonded || info->paired;
    if (info->connected)
        peer_bind(peer); /* a link that exists already decides */
    else
        peer_reconsider(peer);
}

/* A private address is the peer's for a few minutes only. With its last object it says nothing any
 * more: whatever fits `match` next is the peer. */
static void forget_private_address(struct peer *peer)
{
    struct gateway *gateway = peer->gateway;

    if (!peer->bound || peer->settings->match.has_address ||
        !bt_address_is_private(&peer->address, peer->address_type))
        return;
    for (size_t i = 0; i < MAX_ADAPTERS; i++)
        if (peer->sightings[i].device)
            return;
    gateway_remove_address(gateway, peer);
    peer->bound = false;
    for (size_t i = 0; i < peer->n_entries; i++)
        merge_forget(peer->entries[i].known); /* another one has other values */
    gateway_count_unbound(gateway);
    gateway->bridge_dirty = true;
    if (gateway->bluez_up) /* one that is linked already is not heard */
        actions_add(gateway->actions, ACTION_TELL_DEVICES);
}

void peer_device_gone(struct peer *peer, uint32_t device)
{
    struct sighting *sighting = peer_find_sighting(peer, device);

    if (!sighting)
        return;
    if (peer->device == device) {
        switch (peer->state) {
        case PEER_STATE_CONNECTING: /* the Connect may never be answered */
            peer_forget_link(peer);
            peer_enter_state(peer, PEER_STATE_ABSENT, REASON_NOT_HEARD, "BlueZ has forgotten it");
            break;
        case PEER_STATE_DISABLED:
        case PEER_STATE_ABSENT:
        case PEER_STATE_READY:
        case PEER_STATE_BACKOFF:
        case PEER_STATE_IDLE: break;
        case PEER_STATE_RESOLVING:
        case PEER_STATE_PAIRING:
        case PEER_STATE_CONFIGURING:
        case PEER_STATE_ONLINE:
        case PEER_STATE_DISCONNECTING: peer_link(peer, sighting->adapter, device, false); break;
        }
    }
    peer_forget_sighting(peer, sighting);
    forget_private_address(peer);
    peer_reconsider(peer);
}

void peer_bluez_down(struct peer *peer)
{
    for (size_t i = 0; i < MAX_ADAPTERS; i++)
        if (peer->sightings[i].device)
            peer_forget_sighting(peer, &peer->sightings[i]);
    forget_private_address(peer);
    peer->candidate.device = 0;
    errand_cancel(peer, "adapter_off", "BlueZ went away");
    if (peer->state == PEER_STATE_DISABLED)
        return;
    if (peer->state == PEER_STATE_ONLINE)
        status_event(peer->gateway, "disconnected", peer, "no_bluez", "BlueZ went away");
    peer_forget_link(peer);
    peer_end_backoff(peer);
    peer_enter_state(peer, PEER_STATE_ABSENT, REASON_NO_BLUEZ, "BlueZ went away");
    peer_consider(peer);
}
