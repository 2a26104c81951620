/*
 * The request `pair`: BlueZ bonds with a peer over its link, before its services are found out, so
 * that a peer that shows nothing without a bond is seen with it. One peer at a time: BlueZ asks one
 * agent. Whatever comes of it, the link goes on from its services again. Must not know how BlueZ
 * asks for a passkey.
 */
#include "core/errand.h"

#include "util/cleanup.h"
#include "util/time.h"
#include <stdio.h>
#include <string.h>

#define PAIR_MS     90000 /* a person may have to press something at the peer */
#define PAIR_ALL_MS 120000
/* BlueZ says what came of it with the end of the link, or right behind */
#define PAIR_WORD_MS 2000

/* by the adapter that it is linked by; without a link by any */
static bool is_bonded(struct peer *peer)
{
    const struct sighting *linked = peer->link_up ? peer_find_sighting(peer, peer->device) : NULL;

    if (linked)
        return linked->bonded;
    for (size_t i = 0; i < MAX_ADAPTERS; i++)
        if (peer->sightings[i].device && peer->sightings[i].bonded)
            return true;
    return false;
}

static void answer_ok(struct peer *peer, struct command *command, bool already)
{
    _cleanup_(strbuf_done) struct strbuf data = STRBUF_INIT;

    strbuf_puts(&data, already ? "{\"paired\":true,\"already\":true}" : "{\"paired\":true}");
    command_answer_ok(peer->gateway, command, &data);
}

void pair_begin(struct peer *peer)
{
    struct gateway *gateway = peer->gateway;
    struct errand *errand = peer->errand;
    struct action *action = actions_add(gateway->actions, ACTION_PAIR);

    connector_release(gateway, peer);
    step_configure_end(peer); /* the services are read anew then */
    peer->blind = false;
    errand->ops[0] = peer->wait_op = gateway_next_op(gateway);
    action->op = (struct op){peer->index, peer->generation, peer->wait_op};
    action->adapter = peer->adapter;
    action->device = peer->device;
    action->pair.has_passkey = errand->has_passkey;
    action->pair.passkey = errand->passkey;
    peer->deadline_us = peer->attempt_us = gateway_in(gateway, PAIR_MS);
    gateway_arm(gateway, peer->deadline_us);
    peer_enter_state(peer, PEER_STATE_PAIRING, REASON_PAIRING,
                     errand->has_passkey ? "connected; pairing with a passkey"
                                         : "connected; pairing without a passkey");
}

/* ---- how it ended ---- */

static const char *hint(const struct errand *errand, enum bt_status status)
{
    if (errand->lost)
        return errand->has_passkey ? "the link was lost meanwhile: is the passkey right, and is "
                                     "the peer ready to be paired?"
                                   : "the link was lost meanwhile: is the peer ready to be paired, "
                                     "and does it want no passkey?";
    if (status == BT_STATUS_TIMEOUT)
        return "the peer or BlueZ did not answer in time";
    if (status != BT_STATUS_AUTH_FAILED)
        return "it came to nothing";
    return errand->has_passkey
               ? "the peer refuses: is the passkey right, and is it ready to be paired?"
               : "the peer refuses: is it ready to be paired, and does it want no passkey?";
}

/* `text`: BlueZ's words, or NULL */
static void fail(struct peer *peer, enum bt_status status, const char *text)
{
    const struct errand *errand = peer->errand;
    char off[sizeof(peer->why)], why[sizeof(off) + 32];
    const char *code = status == BT_STATUS_NOT_READY ? "adapter_off" : "pair_failed";

    snprintf(why, sizeof(why), "%s%s%s%s", hint(errand, status), text ? " (" : "", text ? text : "",
             text ? ")" : "");
    if (errand->lost && adapter_is_off(peer, off, sizeof(off))) {
        code = "adapter_off";
        snprintf(why, sizeof(why), "the link was lost meanwhile: %s", off);
    }
    actions_log(peer->gateway->actions, LOG_LEVEL_WARNING, peer->log_area, "pairing failed: %s",
                why);
    if (errand->lost) /* the link that it may have by now is not for this */
        errand_cancel(peer, code, why);
    else
        errand_fail(peer, code, why);
}

void pair_ended(struct peer *peer, const struct event *event)
{
    const struct bt_result *result = &event->result;
    bool lost = peer->errand->lost;

    if (result->status != BT_STATUS_OK) {
        fail(peer, result->status, result->text ? result->text : bt_status_name(result->status));
        return;
    }
    actions_log(peer->gateway->actions, LOG_LEVEL_INFO, peer->log_area, "paired by a request");
    answer_ok(peer, errand_end(peer), false);
    if (!lost)
        errand_release_link(peer);
}

/* Without its link nothing comes of it any more, whenever BlueZ answers; but it may say why. */
void pair_link_ended(struct peer *peer)
{
    struct gateway *gateway = peer->gateway;
    struct errand *errand = peer->errand;

    if (!errand->ops[0])
        return; /* it waits for a link still */
    errand->lost = true;
    errand->due_us = MIN_OF(errand->due_us, gateway_in(gateway, PAIR_WORD_MS));
    gateway_arm(gateway, errand->due_us);
}

/* the link's part: also where nobody waits for the answer any more */
void peer_pair_result(struct peer *peer, const struct event *event)
{
    if (peer->state == PEER_STATE_PAIRING && event->op.id == peer->wait_op)
        peer_resolve_again(peer);
}

/* The peer is as well as it was: it is connected anew at once. */
static void cancel(struct peer *peer)
{
    const char *why = "pairing took too long; the link goes down to end it";

    if (peer->online_us)
        status_event(peer->gateway, "disconnected", peer, reason_name(REASON_PAIRING), why);
    peer_disconnect(peer, REASON_PAIRING, false, false, why);
}

void peer_pair_late(struct peer *peer)
{
    if (errand_pairs(peer) && peer->errand->lost)
        fail(peer, BT_STATUS_NOT_CONNECTED, NULL);
    else if (errand_pairs(peer))
        command_answer_error(peer->gateway, errand_end(peer), "pair_failed", 0,
                             "not paired in time: %s", peer->why);
    if (peer->state == PEER_STATE_PAIRING)
        cancel(peer);
}

/* ---- the request ---- */

/* NULL: nobody. Who has lost its link is not waited for: that is answered now. */
static const struct peer *who_is_paired(const struct gateway *gateway)
{
    for (size_t i = 0; i < gateway->n_peers; i++) {
        struct peer *peer = gateway->peers[i];

        if (errand_pairs(peer) && peer->errand->lost)
            fail(peer, BT_STATUS_NOT_CONNECTED, NULL);
        if (errand_pairs(peer) || peer->state == PEER_STATE_PAIRING)
            return peer;
    }
    return NULL;
}

/* in whole seconds, and not less than it is */
static void format_left(const struct gateway *gateway, uint64_t due_us, char *buf, size_t size)
{
    uint64_t left_us = due_us - MIN_OF(due_us, gateway->now.mono_us);

    time_format_duration((left_us + 999999) / 1000000 * 1000, buf, size);
}

static void refuse(const struct peer *other, struct command *command)
{
    const struct errand *errand = other->errand;
    uint64_t due_us = errand ? errand->due_us : TIME_NEVER;
    bool waits = errand && !errand->ops[0] && !errand->linking;
    char left[32];

    if (other->state == PEER_STATE_PAIRING)
        due_us = MIN_OF(due_us, other->deadline_us);
    format_left(other->gateway, due_us, left, sizeof(left));
    command_answer_error(other->gateway, command, "in_progress", 0,
                         waits ? "%s is to be paired, and has %s more to be connected: %s"
                               : "%s is being paired, which ends within %s: %s",
                         other->settings->id, left, other->why);
}

void pair_request(struct peer *peer, const uint32_t *passkey, struct command *command)
{
    struct gateway *gateway = peer->gateway;
    const char *own = peer->settings->passkey;

    if (hold_is_disabled(peer)) {
        command_answer_error(gateway, command, "disabled", 0, "%s", peer->why);
        return;
    }
    if (is_bonded(peer)) {
        answer_ok(peer, command, true);
        return;
    }
    const struct peer *other = who_is_paired(gateway);
    if (other) {
        refuse(other, command);
        return;
    }
    struct errand *errand = errand_new(peer, ERRAND_KIND_PAIR, PAIR_ALL_MS, command);
    if (!errand)
        return;
    errand->wants_link = true;
    errand->has_passkey = passkey || own;
    if (passkey)
        errand->passkey = *passkey;
    else if (own && bt_passkey_parse(own, strlen(own), &errand->passkey) < 0)
        errand->has_passkey = false; /* cannot be: it was checked when the file was read */
    if (peer->link_up && peer->state != PEER_STATE_DISCONNECTING)
        pair_begin(peer);
    else
        errand_wait_for_link(peer);
}
