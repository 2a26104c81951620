/*
 * Which gateway has a device: the one that its `gateway:` names, or else the one whose claim
 * stands. A claim is the `gateway` of the retained `<device>/status/link`. Every gateway sees all
 * claims, its own too, in the broker's order, so that all see the same latest one. It stands as
 * long as that gateway's bridge is online; when it is not, the others wait a random while and
 * claim.
 *
 * Only who made the latest claim acts, and only once that claim has come back and, where other
 * gateways are known, has been the latest for STAND_MS: a claim that was made before ours was seen
 * has arrived by then. So no two ever act at a time while messages take less than that. A gateway
 * is known by its `bridge/<gateway>/status`, which it publishes before it claims anything: of two
 * that claim at the same time at least one knows the other.
 *
 * Must not know how a peer is connected.
 */
#include "core/world.h"

#include "core/topic.h"
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define STAND_MS         250
#define ECHO_MS          3000 /* a claim that does not come back */
#define GRACE_MIN_MS     1000 /* a holder that comes back has this long to say so */
#define GRACE_MAX_MS     3000
#define GRACE_RETURN_MS  5000  /* more, when it held the device before the broker was lost */
#define PROOF_MS         20000 /* `online` that was kept is believed so long without a live word */
#define ALONE_MS         5000  /* no broker: then alone */
#define LINK_PAYLOAD_MAX 8192

void claim_init(struct peer *peer)
{
    const char *bound = peer->settings->gateway;

    peer->claim.due_us = TIME_NEVER;
    if (!bound)
        peer->claim.state = CLAIM_STATE_UNKNOWN;
    else if (strcmp(bound, peer->gateway->settings->gateway.id) == 0)
        peer->claim.state = CLAIM_STATE_BOUND;
    else
        peer->claim.state = CLAIM_STATE_FOREIGN;
    peer->ours = peer->claim.state == CLAIM_STATE_BOUND;
}

static bool is_us(const struct gateway *gateway, const char *id)
{
    return strcmp(id, gateway->settings->gateway.id) == 0;
}

static bool is_free_to_claim(const struct peer *peer)
{
    return peer->claim.state != CLAIM_STATE_BOUND && peer->claim.state != CLAIM_STATE_FOREIGN;
}

bool claim_may_become_ours(const struct peer *peer)
{
    return peer->claim.state != CLAIM_STATE_FOREIGN && peer->claim.state != CLAIM_STATE_ELSEWHERE;
}

bool claim_lists_topics(const struct peer *peer)
{
    return peer->ours || peer->claim.state == CLAIM_STATE_CLAIMED ||
           peer->claim.state == CLAIM_STATE_STANDING;
}

bool claim_is_others(const struct peer *peer)
{
    return !peer->ours && (peer->claim.state == CLAIM_STATE_FOREIGN ||
                           (*peer->claim.holder && !is_us(peer->gateway, peer->claim.holder)));
}

const char *claim_held_by(const struct peer *peer)
{
    if (peer->claim.state == CLAIM_STATE_FOREIGN)
        return peer->settings->gateway;
    return peer->claim.state == CLAIM_STATE_ELSEWHERE ? peer->claim.holder : NULL;
}

void claim_say(struct peer *peer)
{
    const char *holder = peer->claim.holder;

    switch (peer->claim.state) {
    case CLAIM_STATE_FOREIGN:
        peer_enter_state(peer, PEER_STATE_DISABLED, REASON_BOUND_ELSEWHERE,
                         "the configuration gives it to gateway %s", peer->settings->gateway);
        break;
    case CLAIM_STATE_ELSEWHERE:
        peer_enter_state(peer, PEER_STATE_DISABLED, REASON_HELD_ELSEWHERE, "held by gateway %s",
                         holder);
        break;
    case CLAIM_STATE_FREE:
        if (*holder)
            peer_enter_state(peer, PEER_STATE_DISABLED, REASON_CLAIMING,
                             "gateway %s had it and is gone: taking over in a moment", holder);
        else
            peer_enter_state(peer, PEER_STATE_DISABLED, REASON_CLAIMING,
                             "no gateway has it: taking it in a moment");
        break;
    case CLAIM_STATE_UNKNOWN:
        peer_enter_state(peer, PEER_STATE_DISABLED, REASON_CLAIMING,
                         "waits for the broker to say whether another gateway has it");
        break;
    case CLAIM_STATE_CLAIMED:
    case CLAIM_STATE_STANDING:
    case CLAIM_STATE_OURS:
    case CLAIM_STATE_BOUND:
        peer_enter_state(peer, PEER_STATE_DISABLED, REASON_CLAIMING,
                         "tells the other gateways that this one takes it");
        break;
    }
}

static void enter(struct peer *peer, enum claim_state state, uint64_t due_us)
{
    bool listed = claim_held_by(peer) != NULL, looked = claim_may_become_ours(peer);

    peer->claim.state = state;
    peer->claim.due_us = due_us;
    gateway_arm(peer->gateway, due_us);
    /* `devices` names the holder, or our topics */
    peer->gateway->bridge_dirty |= listed || claim_held_by(peer) || state == CLAIM_STATE_CLAIMED;
    if (!looked && claim_may_become_ours(peer) && !peer->bound)
        actions_add(peer->gateway->actions, ACTION_TELL_DEVICES); /* who is linked is not heard */
    if (!peer->ours && peer->state == PEER_STATE_DISABLED)
        claim_say(peer);
}

/* ---- other gateways ---- */

struct bridge *claim_find_bridge(struct gateway *gateway, const char *id)
{
    for (size_t i = 0; i < gateway->n_bridges; i++)
        if (strcmp(gateway->bridges[i].id, id) == 0)
            return &gateway->bridges[i];
    return NULL;
}

static bool is_online(struct gateway *gateway, const char *id)
{
    const struct bridge *bridge = claim_find_bridge(gateway, id);

    return bridge && bridge->online;
}

/* ---- the steps of a claim ---- */

static void claim(struct peer *peer)
{
    predecessor_ask(peer);
    peer->claim.said = false; /* claim_publish() */
    peer->gateway->claims_due = true;
    enter(peer, CLAIM_STATE_CLAIMED, gateway_in(peer->gateway, ECHO_MS));
}

/* nobody has it: after a while of its own, lest all claim at once */
static void wait_a_while(struct peer *peer)
{
    struct gateway *gateway = peer->gateway;
    uint64_t ms = GRACE_MIN_MS + gateway_random(gateway, GRACE_MAX_MS - GRACE_MIN_MS);

    predecessor_note(peer);
    /* who held it when the broker was lost may be on its way back */
    if (peer->claim.held_before && !*peer->claim.holder)
        ms += GRACE_RETURN_MS;
    enter(peer, CLAIM_STATE_FREE, gateway_in(gateway, ms));
}

/* It is ours from now on. */
static void take(struct peer *peer)
{
    struct gateway *gateway = peer->gateway;
    bool news = !peer->ours;

    peer->ours = true;
    enter(peer, is_free_to_claim(peer) ? CLAIM_STATE_OURS : peer->claim.state, TIME_NEVER);
    peer->claim.held_before = false;
    if (news) {
        if (!peer->bound && peer->settings->bind == BIND_MODE_STICKY && peer->claim.has_address)
            peer_remember(peer, &peer->claim.address);
        if (!gateway->stopping && peer->state == PEER_STATE_DISCONNECTING) {
            peer->after.reason = REASON_CLAIMING; /* it was let go a moment ago */
            peer_enter_state(peer, PEER_STATE_DISCONNECTING, REASON_CLAIMING,
                             "this gateway has it again; its link goes down first");
            contact_start(peer);
        } else if (!gateway->stopping) {
            peer_start(peer);
            peer_reconsider(peer);
            if (peer->candidate.device) {
                gateway_arm(gateway, peer->candidate.until_us);
                if (peer->candidate.connected)
                    peer_bind(peer);
            }
        }
    }
    if (!greet_is_settled(gateway))
        return;
    if (!peer->speaks && !gateway->stopping && router_subscribe(gateway, peer) < 0)
        gateway->counts.rejected++;
    peer->speaks = true;
    status_link_again(peer);
    gateway->memory.check = true;
    if (news && gateway->n_bridges)
        status_event(gateway, "claimed", peer, "ok", "this gateway has it now");
}

static void take_bound(struct peer *peer)
{
    predecessor_ask(peer);
    take(peer);
}

static size_t forget_queued(struct peer *peer)
{
    struct outbox *outbox = peer->gateway->outbox;
    size_t n = 0;

    outbox_forget(outbox, peer->topic_availability);
    outbox_forget(outbox, peer->topic_link);
    announce_forget(peer);
    for (size_t i = 0; i < peer->n_entries; i++)
        n += outbox_forget(outbox, peer->entries[i].topic);
    return n;
}

/* Another gateway's claim is the latest. */
static void let_go(struct peer *peer)
{
    struct gateway *gateway = peer->gateway;

    if (!peer->ours)
        return;
    actions_log(gateway->actions, LOG_LEVEL_INFO, peer->log_area, "gateway %s has it now",
                peer->claim.holder);
    if (peer->speaks && router_unsubscribe(gateway, peer) < 0)
        gateway->counts.rejected++;
    peer->ours = peer->speaks = false;
    if (peer->claim.state != CLAIM_STATE_CLAIMED)
        peer->claim.state = CLAIM_STATE_ELSEWHERE; /* what is said meanwhile */
    peer_let_go(peer);
    for (size_t i = 0; i < peer->n_entries; i++) {
        merge_forget(peer->entries[i].known); /* the other one writes from now on, */
        if (peer->entries[i].rules)
            rules_forget(peer->entries[i].rules); /* and publishes */
    }
    gateway->counts.let_go += forget_queued(peer);
    announced_keep(peer);
    peer->availability_known = false;
    gateway->bridge_dirty = true;
    status_event(gateway, "released", peer, "held_elsewhere", "another gateway has it now");
}

static void hold_elsewhere(struct peer *peer)
{
    let_go(peer);
    forget_queued(peer); /* what was acknowledged since is kept for a broker that forgets */
    peer->claim.held_before = false;
    predecessor_note(peer);
    peer->candidate.device = 0;
    enter(peer, CLAIM_STATE_ELSEWHERE, TIME_NEVER);
}

/* our claim is the latest, as the broker says */
static void came_back(struct peer *peer)
{
    struct gateway *gateway = peer->gateway;

    predecessor_ask(peer); /* without a claim, if another one has had it for a moment only */
    if (!gateway->n_bridges)
        take(peer);
    else
        enter(peer, CLAIM_STATE_STANDING, gateway_in(gateway, STAND_MS));
}

/* ---- the broker ---- */

void claim_forget_all(struct gateway *gateway)
{
    for (size_t i = 0; i < gateway->n_bridges; i++) {
        gateway->bridges[i].online = gateway->bridges[i].asked = false;
        gateway->bridges[i].doubt_us = TIME_NEVER;
    }
    for (size_t i = 0; i < gateway->n_peers; i++) {
        struct claim *claim = &gateway->peers[i]->claim;

        claim->held_before |= *claim->holder && !is_us(gateway, claim->holder);
        *claim->holder = '\0';
        claim->has_address = claim->said = false;
    }
}

void claim_settled(struct peer *peer)
{
    struct gateway *gateway = peer->gateway;
    const char *holder = peer->claim.holder;

    if (peer->claim.state == CLAIM_STATE_FOREIGN)
        return;
    if (peer->claim.state == CLAIM_STATE_BOUND)
        take_bound(peer);
    else if (*holder && !is_us(gateway, holder) && is_online(gateway, holder))
        hold_elsewhere(peer);
    else if (gateway->stopping && !peer->ours)
        return;
    else if (gateway->greeting.deaf || gateway->stopping)
        take(peer);
    else if (peer->ours || is_us(gateway, holder) || (!*holder && !gateway->n_bridges))
        claim(peer);
    else
        wait_a_while(peer);
}

void claim_broker_lost(struct peer *peer)
{
    peer->speaks = false;
    if (!is_free_to_claim(peer))
        return;
    if (peer->ours) /* it goes on */
        enter(peer, CLAIM_STATE_OURS, TIME_NEVER);
    else if (peer->claim.state != CLAIM_STATE_ELSEWHERE && peer->claim.state != CLAIM_STATE_UNKNOWN)
        enter(peer, CLAIM_STATE_UNKNOWN, gateway_in(peer->gateway, ALONE_MS));
}

/* Who is ours says goodbye, whether the claim has come back or not. */
void claim_stop(struct peer *peer)
{
    if (!greet_is_settled(peer->gateway))
        return;
    if (peer->ours && !peer->speaks)
        take(peer);
    else if (claim_is_pending(peer))
        enter(peer, CLAIM_STATE_FREE, TIME_NEVER);
}

void claim_start(struct peer *peer)
{
    struct gateway *gateway = peer->gateway;

    if (!greet_is_settled(gateway)) {
        if (peer->claim.state == CLAIM_STATE_UNKNOWN)
            enter(peer, CLAIM_STATE_UNKNOWN, gateway_in(gateway, ALONE_MS));
    } else if (peer->claim.state == CLAIM_STATE_BOUND && !peer->speaks) {
        take_bound(peer);
    } else if (peer->claim.state == CLAIM_STATE_UNKNOWN && gateway->n_bridges) {
        greet_ask_links(gateway); /* they were of no interest before */
        wait_a_while(peer);
    } else if (peer->claim.state == CLAIM_STATE_UNKNOWN) {
        claim(peer);
    }
}

void claim_inherit(struct peer *peer, struct peer *old)
{
    bool ours = old->ours;

    if (peer->claim.state == CLAIM_STATE_FOREIGN) {
        peer->gateway->counts.let_go += forget_queued(old);
        if (ours)
            announced_keep(old);
        status_gone(old);
    }
    announced_inherit(peer, old);
    if (peer->claim.state == CLAIM_STATE_BOUND) { /* predecessor_ask() */
        memcpy(peer->claim.holder, old->claim.holder, sizeof(peer->claim.holder));
        peer->claim.before = old->claim.before;
    }
    if (!is_free_to_claim(peer) || old->claim.state == CLAIM_STATE_FOREIGN)
        return; /* claim_start() */
    enum claim_state state =
        old->claim.state == CLAIM_STATE_BOUND ? CLAIM_STATE_OURS : old->claim.state;
    peer->claim = old->claim;
    peer->claim.state = state;
    peer->ours = ours;
    peer->speaks = old->speaks;
}

bool claim_is_pending(const struct peer *peer)
{
    return peer->claim.state == CLAIM_STATE_CLAIMED || peer->claim.state == CLAIM_STATE_STANDING;
}

void claim_publish(struct gateway *gateway)
{
    gateway->claims_due = false;
    for (size_t i = 0; i < gateway->n_peers; i++) {
        struct peer *peer = gateway->peers[i];

        if (peer->claim.state != CLAIM_STATE_CLAIMED || peer->claim.said)
            continue;
        peer->claim.said = true;
        status_claim(peer);
    }
}

/* ---- what is heard ---- */

static void heard_link(struct peer *peer, bool retained)
{
    struct gateway *gateway = peer->gateway;
    const char *holder = peer->claim.holder;

    if (!greet_is_settled(gateway) || gateway->stopping || !is_free_to_claim(peer))
        return;
    if (is_us(gateway, holder)) {
        if (!retained && peer->claim.state != CLAIM_STATE_STANDING &&
            peer->claim.state != CLAIM_STATE_OURS)
            came_back(peer);
        return;
    }
    if (!*holder) { /* somebody has cleared it */
        if (peer->ours || peer->claim.state == CLAIM_STATE_STANDING)
            claim(peer);
        else if (peer->claim.state != CLAIM_STATE_CLAIMED)
            wait_a_while(peer);
        return;
    }
    let_go(peer);
    if (peer->claim.state == CLAIM_STATE_CLAIMED) { /* ours is on its way, and will be the latest */
        predecessor_note(peer);
        return;
    }
    if (is_online(gateway, holder))
        hold_elsewhere(peer);
    else
        wait_a_while(peer);
}

/* {"gateway":"x","address":"C0:…",…}; false: no claim at all */
static bool parse_link(const struct event *event, struct claim *claim)
{
    json_t *root;
    bool ok = false;

    if (event->message.length > LINK_PAYLOAD_MAX)
        return false;
    if (event->message.length == 0) {
        *claim->holder = '\0';
        claim->has_address = false;
        return true;
    }
    root = json_loadb(event->message.payload, event->message.length, 0, NULL);
    const char *id = json_string_value(json_object_get(root, "gateway"));
    const char *address = json_string_value(json_object_get(root, "address"));
    if (id && strlen(id) < sizeof(claim->holder) && topic_is_valid_id(id)) {
        snprintf(claim->holder, sizeof(claim->holder), "%s", id);
        claim->has_address = address && bt_address_parse(address, &claim->address) == 0;
        ok = true;
    }
    json_decref(root);
    return ok;
}

static void link_message(struct gateway *gateway, const char *id, size_t length,
                         const struct event *event)
{
    struct peer *peer = gateway_find_peer(gateway, id, length);
    struct claim other = {0}, *claim = peer ? &peer->claim : &other;

    if (!parse_link(event, claim)) {
        gateway->counts.rejected++;
        return;
    }
    if (peer)
        heard_link(peer, event->message.retained);
    else if (*other.holder && !is_us(gateway, other.holder))
        memory_device_is_others(gateway, id, length);
}

static void heard_bridge(struct gateway *gateway, const struct bridge *bridge)
{
    if (!greet_is_settled(gateway) || gateway->stopping)
        return;
    for (size_t i = 0; i < gateway->n_peers; i++) {
        struct peer *peer = gateway->peers[i];

        if (!is_free_to_claim(peer) || strcmp(peer->claim.holder, bridge->id) != 0)
            continue;
        if (bridge->online && peer->claim.state == CLAIM_STATE_FREE)
            hold_elsewhere(peer);
        else if (!bridge->online && peer->claim.state == CLAIM_STATE_ELSEWHERE)
            wait_a_while(peer);
    }
}

/* NULL: there is none. One that is online matters more than one that is not: that is how an unknown
 * one counts, too. */
static struct bridge *place_for_bridge(struct gateway *gateway, bool online)
{
    if (gateway->n_bridges < BRIDGES_MAX)
        return &gateway->bridges[gateway->n_bridges++];
    for (size_t i = 0; online && i < gateway->n_bridges; i++)
        if (!gateway->bridges[i].online)
            return &gateway->bridges[i];
    return NULL;
}

static void bridge_message(struct gateway *gateway, const char *id, size_t length,
                           const struct event *event)
{
    char name[SETTINGS_MAX_ID + 1];
    bool online = event->message.length == 6 && memcmp(event->message.payload, "online", 6) == 0;

    if (length > SETTINGS_MAX_ID)
        return;
    memcpy(name, id, length);
    name[length] = '\0';
    if (!topic_is_valid_id(name))
        return;
    if (is_us(gateway, name)) {
        if (!event->message.retained)
            greet_own_status(gateway, online);
        return;
    }
    struct bridge *bridge = claim_find_bridge(gateway, name);
    if (!bridge) {
        if (event->message.length == 0)
            return; /* one that was cleared */
        bridge = place_for_bridge(gateway, online);
        if (!bridge) {
            gateway->counts.rejected++;
            return;
        }
        *bridge = (struct bridge){.doubt_us = TIME_NEVER};
        memcpy(bridge->id, name, length + 1);
    }
    if (!online && !event->message.retained)
        greet_prove(
            gateway); /* it has come, perhaps: it may have found us in the broker's memory */
    bridge->doubt_us =
        online && event->message.retained ? gateway_in(gateway, PROOF_MS) : TIME_NEVER;
    gateway_arm(gateway, bridge->doubt_us);
    if (bridge->online == online)
        return;
    bridge->online = online;
    heard_bridge(gateway, bridge);
}

/* A broker that went down without a word may keep `online` of a gateway that is gone, too. */
void claim_bridges_timer(struct gateway *gateway)
{
    for (size_t i = 0; i < gateway->n_bridges; i++) {
        struct bridge *bridge = &gateway->bridges[i];

        if (bridge->doubt_us > gateway->now.mono_us) {
            gateway_arm(gateway, bridge->doubt_us);
            continue;
        }
        bridge->doubt_us = TIME_NEVER;
        bridge->online = false;
        heard_bridge(gateway, bridge);
    }
}

/* <base>/<device>/status/link and <base>/bridge/<gateway>/status */
bool claim_message(struct gateway *gateway, const struct event *event)
{
    const char *base = gateway->settings->gateway.base_topic, *topic = event->message.topic;
    size_t length = strlen(base);

    if (strncmp(topic, base, length) != 0 || topic[length] != '/')
        return false;
    topic += length + 1;
    size_t first = strcspn(topic, "/");
    if (strcmp(topic + first, "/status/link") == 0) {
        link_message(gateway, topic, first, event);
        return true;
    }
    if (strncmp(topic, "bridge/", 7) != 0)
        return false;
    topic += 7;
    first = strcspn(topic, "/");
    if (strcmp(topic + first, "/devices") == 0)
        return predecessor_message(gateway, topic, first, event);
    if (strcmp(topic + first, "/status") != 0)
        return false;
    bridge_message(gateway, topic, first, event);
    return true;
}

/* ---- time ---- */

void claim_timer(struct peer *peer)
{
    struct gateway *gateway = peer->gateway;

    if (peer->claim.due_us > gateway->now.mono_us) {
        gateway_arm(gateway, peer->claim.due_us);
        return;
    }
    peer->claim.due_us = TIME_NEVER;
    if (gateway->stopping)
        return;
    switch (peer->claim.state) {
    case CLAIM_STATE_UNKNOWN:
        take(peer); /* no broker, or one that says nothing: alone, until it says otherwise */
        break;
    case CLAIM_STATE_FREE: claim(peer); break;
    case CLAIM_STATE_CLAIMED:
        if (*peer->claim.holder && !is_us(gateway, peer->claim.holder) &&
            is_online(gateway, peer->claim.holder)) {
            hold_elsewhere(peer);
            break;
        }
        actions_log(gateway->actions, LOG_LEVEL_WARNING, peer->log_area,
                    "the claim on %s does not come back: taking it nevertheless", peer->topic_link);
        take(peer);
        break;
    case CLAIM_STATE_STANDING: take(peer); break;
    case CLAIM_STATE_BOUND:
    case CLAIM_STATE_FOREIGN:
    case CLAIM_STATE_ELSEWHERE:
    case CLAIM_STATE_OURS: break;
    }
}
