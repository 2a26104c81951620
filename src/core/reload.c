/*
 * A new version of the file. Peers whose part of it is the same go on as if nothing had happened;
 * those that changed in what does not concern their link keep it (renew.c); those whose link is
 * concerned leave, and a new peer takes their name; what is new starts, what is gone leaves. All
 * that can fail is done before anything changes.
 *
 * A peer that leaves is in no list but `leaving` and its place: it still has its settings, and its
 * object and link at BlueZ until that is down, so that links are counted right and no second
 * Connect runs beside a cancelled one. Then whoever has its address inherits its objects.
 */
#include "core/world.h"

#include "core/json.h"
#include "util/cleanup.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REMOVED "the device is no longer in the configuration"
#define CHANGED "the device's configuration has changed"

/* ---- leaving ---- */

/* `settings` takes what the peer's settings are made of, out of the old file */
static void leave(struct peer *peer, struct device_settings *settings, const char *why)
{
    struct gateway *gateway = peer->gateway;

    ops_cancel_all(peer, "cancelled", why);
    hold_cancel_all(peer, "cancelled", why);
    errand_cancel(peer, "cancelled", why);
    for (uint32_t i = 0; i < peer->n_sources; i++)
        publish_reset(peer, i);
    gateway_remove_id(gateway, peer);
    gateway_remove_address(gateway, peer);
    SWAP(*settings, *(struct device_settings *)peer->settings);
    peer->settings = peer->own_settings = settings;
    step_settings_moved(peer);
    peer->leaving = true;
    contact_forget(peer);
    peer->contact_due_us = TIME_NEVER;
    peer->clear_cache = false;
    peer->candidate.device = 0;
    peer->next_leaving = gateway->leaving;
    gateway->leaving = peer;
    resolve_unsubscribe_all(peer);
    for (size_t i = 0; peer->device && i < MAX_ADAPTERS; i++)
        peer->sightings[i].heard_us = 0; /* that was before the link, and says nothing now */
    if (peer->state == PEER_STATE_ONLINE)
        status_event(gateway, "disconnected", peer, "reloaded", why);
    if (peer->state == PEER_STATE_DISCONNECTING)
        peer->after.failure = false;
    else if (peer->device)
        peer_disconnect(peer, REASON_DISABLED, false, false, why);
}

/* An object that BlueZ knows already: it may be long until it is heard of again. */
static void hand_over(struct gateway *gateway, const struct peer *peer,
                      const struct sighting *sighting)
{
    struct peer *heir = gateway_peer_of_address(gateway, &peer->address);
    struct device_info info = {.adapter = sighting->adapter,
                               .device = sighting->device,
                               .address = peer->address,
                               .address_type = peer->address_type,
                               .rssi = RSSI_UNKNOWN,
                               .connected = sighting->connected,
                               .bonded = sighting->bonded};

    if (!heir)
        return;
    peer_offer(heir, &info);
    struct sighting *own = peer_find_sighting(heir, sighting->device);
    if (!own || heir->heard_us > peer->heard_us)
        return;
    own->heard_us = sighting->heard_us;
    own->rssi = sighting->rssi;
    heir->heard_us = peer->heard_us;
    heir->heard_real_us = peer->heard_real_us;
    heir->rssi = peer->rssi;
    heir->link_dirty = gateway->links_dirty = true;
    peer_reconsider(heir);
}

void reload_retire(struct gateway *gateway)
{
    for (struct peer **link = &gateway->leaving; *link;) {
        struct peer *peer = *link;

        if (peer->state == PEER_STATE_DISCONNECTING) {
            link = &peer->next_leaving;
            continue;
        }
        *link = peer->next_leaving;
        peer->next_leaving = gateway->gone;
        gateway->gone = peer;
        connector_release(gateway, peer);
        gateway->places[peer->index] = NULL;
        gateway->first_generation = MAX_OF(gateway->first_generation, peer->generation + 1);
        for (size_t i = 0; i < MAX_ADAPTERS; i++) {
            struct sighting sighting = peer->sightings[i];
            if (!sighting.device)
                continue;
            peer_forget_sighting(peer, &peer->sightings[i]);
            hand_over(gateway, peer, &sighting);
        }
    }
}

void reload_bury(struct gateway *gateway)
{
    while (gateway->gone) {
        struct peer *peer = gateway->gone;
        gateway->gone = peer->next_leaving;
        peer_free(peer);
    }
}

/* ---- the plan ---- */

/* One device of the new file, or one that is no longer in it. */
struct item {
    struct peer *old;  /* borrowed; NULL: the device is new */
    struct peer *left; /* borrowed; whose place the fresh one has taken */
    enum device_change change;
    struct device_settings *settings; /* borrowed from the new file; NULL: the device is gone */
    struct renewal *renewal;          /* owned; of CONTENT */
    struct peer *fresh;               /* owned; a new device, or of LINK */
    struct device_settings *kept;     /* owned, empty: of the peer that leaves */
};

struct plan {
    struct item *items; /* owned; those of the new file first, in its order */
    size_t n;
    struct peer **peers, **places; /* owned */
    size_t n_places;
};

static void plan_done(struct plan *plan)
{
    for (size_t i = 0; plan->items && i < plan->n; i++) {
        renewal_free(plan->items[i].renewal);
        peer_free(plan->items[i].fresh);
        free(plan->items[i].kept);
    }
    free(plan->items);
    free(plan->peers);
    free(plan->places);
}

static enum device_change compare(const struct peer *peer, const struct device_settings *settings)
{
    enum device_change change = device_settings_compare(peer->settings, settings);

    /* half subscribed, and its steps half done: from the start */
    if (change == DEVICE_CHANGE_CONTENT &&
        (peer->state == PEER_STATE_CONFIGURING || peer->state == PEER_STATE_PAIRING))
        return DEVICE_CHANGE_LINK;
    return change;
}

static bool is_fresh(const struct item *item)
{
    return item->settings && (!item->old || item->change == DEVICE_CHANGE_LINK);
}

static bool leaves(const struct item *item)
{
    return item->old && (!item->settings || item->change == DEVICE_CHANGE_LINK);
}

/* who chose a peer that now belongs to another device by its address chooses anew */
static void give_up_address(struct gateway *gateway, struct plan *plan, const struct item *fresh)
{
    const struct match_settings *match = &fresh->settings->match;
    const struct peer *owner =
        match->has_address ? gateway_peer_of_address(gateway, &match->address) : NULL;

    for (size_t i = 0; owner && i < plan->n; i++)
        if (plan->items[i].old == owner && plan->items[i].settings &&
            !owner->settings->match.has_address)
            plan->items[i].change = DEVICE_CHANGE_LINK;
}

static void plan_items(struct gateway *gateway, struct settings *next, struct plan *plan)
{
    for (size_t i = 0; i < next->n_devices; i++) {
        struct item *item = &plan->items[plan->n++];
        const char *id = next->devices[i].id;

        item->settings = &next->devices[i];
        item->old = gateway_find_peer(gateway, id, strlen(id));
        if (item->old)
            item->change = compare(item->old, item->settings);
    }
    for (size_t i = 0; i < gateway->n_peers; i++) {
        bool found = false;
        for (size_t j = 0; j < next->n_devices && !found; j++)
            found = plan->items[j].old == gateway->peers[i];
        if (!found)
            plan->items[plan->n++].old = gateway->peers[i];
    }
    for (size_t i = 0; i < next->n_devices; i++)
        if (is_fresh(&plan->items[i]))
            give_up_address(gateway, plan, &plan->items[i]);
}

static int prepare(struct gateway *gateway, struct item *item)
{
    int r = 0;

    if (is_fresh(item))
        r = peer_new(gateway, item->settings, &item->fresh);
    else if (item->settings && item->change == DEVICE_CHANGE_CONTENT)
        r = renewal_new(item->old, item->settings, &item->renewal);
    if (r == 0 && leaves(item)) {
        item->kept = calloc(1, sizeof(*item->kept));
        r = item->kept ? 0 : -ENOMEM;
    }
    return r;
}

static int plan_new(struct gateway *gateway, struct settings *next, struct plan *plan)
{
    size_t n_fresh = 0, n_free = 0;

    plan->items = calloc(next->n_devices + gateway->n_peers + 1, sizeof(*plan->items));
    plan->peers = calloc(next->n_devices + 1, sizeof(*plan->peers));
    if (!plan->items || !plan->peers)
        return -ENOMEM;
    plan_items(gateway, next, plan);
    for (size_t i = 0; i < plan->n; i++) {
        int r = prepare(gateway, &plan->items[i]);
        if (r < 0)
            return r;
        n_fresh += plan->items[i].fresh != NULL;
    }
    for (size_t i = 0; i < gateway->n_places; i++)
        n_free += !gateway->places[i];
    plan->n_places = gateway->n_places + (n_fresh > n_free ? n_fresh - n_free : 0);
    plan->places = calloc(plan->n_places, sizeof(*plan->places));
    if (!plan->places)
        return -ENOMEM;
    memcpy(plan->places, gateway->places, gateway->n_places * sizeof(*plan->places));
    return 0;
}

/* ---- the change ---- */

static void commit_old(struct gateway *gateway, struct item *item)
{
    struct peer *peer = item->old;

    if (leaves(item)) {
        publish_flush(peer); /* what follows may clear its topics, or give them away */
        if (item->fresh)
            claim_inherit(item->fresh, peer);
        bool speaks = item->fresh && item->fresh->speaks;
        if (!item->settings)
            status_clear_device(peer);
        else if (item->fresh->ours)
            status_clear_entries(peer, item->fresh->entries, item->fresh->n_entries);
        if (gateway->broker_up && peer->speaks && !speaks && router_unsubscribe(gateway, peer) < 0)
            gateway->counts.rejected++;
        leave(peer, TAKE_PTR(item->kept), item->settings ? CHANGED : REMOVED);
    } else if (item->change == DEVICE_CHANGE_CONTENT) {
        renewal_commit(item->renewal, peer, item->settings);
    } else {
        /* what the same settings are made of stays where the peer's parts look for it */
        SWAP(*item->settings, *(struct device_settings *)peer->settings);
        peer->settings = item->settings;
        step_settings_moved(peer);
    }
}

static void commit_fresh(struct gateway *gateway, struct item *item)
{
    struct peer *peer = TAKE_PTR(item->fresh);
    uint32_t index = 0;

    while (gateway->places[index])
        index++;
    peer->generation = gateway->first_generation;
    gateway_place_peer(gateway, peer, index);
    bool spoke = item->old && item->old->speaks;
    if (gateway->broker_up && peer->speaks && !spoke && router_subscribe(gateway, peer) < 0)
        gateway->counts.rejected++;
    if (item->old)
        hold_inherit(peer, item->old);
    peer_start(peer);
    peer_reconsider(peer);
    peer->link_dirty = true;
    item->left = item->old;
    item->old = peer; /* who stands for the device from now on */
}

/* A new peer for what is the same one at the other end. */
static void inherit(struct peer *peer, const struct peer *left)
{
    if (!left->bound || !peer->settings->enabled)
        return;
    if (!peer->bound && peer->settings->bind == BIND_MODE_STICKY &&
        match_settings_equal(&peer->settings->match, &left->settings->match))
        peer_remember(peer, &left->address);
    if (peer->bound && bt_address_equal(&peer->address, &left->address))
        /* a link that is good still counts until now */
        peer->contact_us = left->online_us ? peer->gateway->now.mono_us : left->contact_us;
}

/* True: the broker is to be left, and connected to anew. */
static bool commit_rest(struct gateway *gateway, const struct settings *old)
{
    const struct settings *settings = gateway->settings;
    struct outbox_limits limits = {.messages = settings->mqtt.buffer_messages,
                                   .bytes = settings->mqtt.buffer_bytes};

    outbox_set_limits(gateway->outbox, &limits);
    adapter_choose_again(gateway);
    gateway->bridge_dirty = gateway->links_dirty = gateway->sentence_dirty = true;
    gateway->schedule = true;
    return !mqtt_settings_equal(&old->mqtt, &settings->mqtt);
}

static bool commit(struct gateway *gateway, struct settings *next, struct plan *plan,
                   struct reload_counts *counts)
{
    const struct settings *old = gateway->settings;
    bool fresh = false;

    announce_reload(gateway, next);
    gateway->settings = next;
    for (size_t i = 0; i < plan->n; i++) {
        const struct item *item = &plan->items[i];
        counts->added += !item->old;
        counts->removed += !item->settings;
        counts->changed += item->old && item->settings && item->change != DEVICE_CHANGE_NONE;
        counts->unchanged += item->old && item->settings && item->change == DEVICE_CHANGE_NONE;
    }
    for (size_t i = 0; i < plan->n; i++)
        if (plan->items[i].old)
            commit_old(gateway, &plan->items[i]);
    SWAP(gateway->peers, plan->peers);
    SWAP(gateway->places, plan->places);
    gateway->n_places = plan->n_places;
    gateway->n_peers = 0;
    for (size_t i = 0; i < next->n_devices; i++) {
        fresh |= plan->items[i].fresh != NULL;
        if (plan->items[i].fresh)
            commit_fresh(gateway, &plan->items[i]);
        gateway->peers[gateway->n_peers++] = plan->items[i].old;
    }
    for (size_t i = 0; i < next->n_devices; i++)
        if (plan->items[i].left)
            inherit(plan->items[i].old, plan->items[i].left);
    gateway_count_unbound(gateway);
    if (fresh) /* whoever is new does not know what the others have heard */
        actions_add(gateway->actions, ACTION_TELL_DEVICES);
    return commit_rest(gateway, old);
}

/* a name that stands in topics, or NULL: what cannot change while it runs */
static const char *changed_name(const struct settings *old, const struct settings *next)
{
    if (strcmp(old->gateway.id, next->gateway.id) != 0)
        return "gateway.id";
    if (strcmp(old->gateway.base_topic, next->gateway.base_topic) != 0)
        return "gateway.base_topic";
    return NULL;
}

/* ---- who asked for it ---- */

void reload_request(struct gateway *gateway, struct command *command)
{
    if (gateway->n_reloads == RELOADS_MAX) {
        command_answer_error(gateway, command, "queue_full", 0, "%d of them wait already",
                             RELOADS_MAX);
        return;
    }
    if (!gateway->n_reloads)
        actions_add(gateway->actions, ACTION_RELOAD);
    gateway->reloads[gateway->n_reloads++] = command;
}

static void answer_error(struct gateway *gateway, const char *code, const char *text)
{
    for (size_t i = 0; i < gateway->n_reloads; i++)
        command_answer_error(gateway, gateway->reloads[i], code, 0, "%s", text);
    gateway->n_reloads = 0;
}

static void answer_ok(struct gateway *gateway, const struct reload_counts *counts)
{
    for (size_t i = 0; i < gateway->n_reloads; i++) {
        _cleanup_(strbuf_done) struct strbuf data = STRBUF_INIT;
        struct json_writer w = json_writer_to(&data);

        json_write_object_begin(&w);
        status_write_reload(&w, gateway, counts);
        json_write_object_end(&w);
        command_answer_ok(gateway, gateway->reloads[i], &data);
    }
    gateway->n_reloads = 0;
}

void reload_cancel(struct gateway *gateway)
{
    answer_error(gateway, "cancelled", "the gateway is stopping");
}

/* ---- the whole ---- */

static void refuse(struct gateway *gateway, const char *code, const char *text)
{
    const char *before = "the configuration was not reloaded, and nothing has changed: ";

    for (const char *line = text; *line;) { /* each mistake is one */
        size_t length = strcspn(line, "\n");
        actions_log(gateway->actions, LOG_LEVEL_ERROR, "gateway", "%s%.*s", before, (int)length,
                    line);
        line += length + (line[length] == '\n');
        before = "";
    }
    status_event(gateway, "reload_failed", NULL, code, text);
    answer_error(gateway, code, text);
}

static void leave_broker(struct gateway *gateway)
{
    status_online(gateway, false); /* the will is not sent when one leaves in order */
    gateway->reconnect_us = gateway_in(gateway, RECONNECT_MS);
    gateway_arm(gateway, gateway->reconnect_us);
    actions_log(gateway->actions, LOG_LEVEL_INFO, "mqtt", "connecting anew, to %s",
                gateway->settings->mqtt.url);
}

void reload_reconnect(struct gateway *gateway)
{
    if (gateway->reconnect_us == TIME_NEVER ||
        (gateway->broker_up && !outbox_is_empty(gateway->outbox) &&
         gateway->reconnect_us > gateway->now.mono_us))
        return;
    gateway->reconnect_us = TIME_NEVER;
    actions_add(gateway->actions, ACTION_RECONNECT);
}

int reload_settings(struct gateway *gateway, struct settings *next)
{
    const char *name = changed_name(gateway->settings, next);
    struct reload_counts counts = {0};
    struct plan plan = {0};
    bool reconnect = false;
    char text[64];

    if (gateway->stopping)
        return GATEWAY_E_REFUSED;
    if (name) {
        snprintf(text, sizeof(text), "%s needs a restart to change", name);
        refuse(gateway, "config_invalid", text);
        return GATEWAY_E_REFUSED;
    }
    int r = plan_new(gateway, next, &plan);
    if (r < 0)
        refuse(gateway, "internal", "out of memory");
    else
        reconnect = commit(gateway, next, &plan, &counts);
    plan_done(&plan);
    if (r < 0)
        return r;
    actions_log(
        gateway->actions, LOG_LEVEL_INFO, "gateway",
        "configuration reloaded: %zu devices added, %zu removed, %zu changed, %zu as before",
        counts.added, counts.removed, counts.changed, counts.unchanged);
    status_reloaded(gateway, &counts);
    answer_ok(gateway, &counts);
    if (reconnect)
        leave_broker(gateway);
    return 0;
}

void reload_failed(struct gateway *gateway, const char *text)
{
    refuse(gateway, "config_invalid", text);
}
