/*
 * The request `pair`: BlueZ bonds with a peer over its link, before its services are found out, so
 * that a peer that shows nothing without a bond is seen with it. One peer at a time: BlueZ asks one
 * agent. Whatever comes of it, the link goes on from its services again. Must not know how BlueZ
 * asks for a passkey.
 */
#include "core/errand.h"

#include "util/cleanup.h"
#include <stdio.h>
#include <string.h>

#define PAIR_MS     90000 /* a person may have to press something at the peer */
#define PAIR_ALL_MS 120000

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
    if (status == BT_STATUS_TIMEOUT)
        return "the peer or BlueZ did not answer in time";
    if (status != BT_STATUS_AUTH_FAILED)
        return "it came to nothing";
    return errand->has_passkey
               ? "the peer refuses: is the passkey right, and is it ready to be paired?"
               : "the peer refuses: is it ready to be paired, and does it want no passkey?";
}

static void fail(struct peer *peer, const struct bt_result *result)
{
    const struct errand *errand = peer->errand;
    const char *text = result->text ? result->text : bt_status_name(result->status);
    char why[256];

    snprintf(why, sizeof(why), "%s (%s)", hint(errand, result->status), text);
    actions_log(peer->gateway->actions, LOG_LEVEL_WARNING, peer->log_area, "pairing failed: %s",
                why);
    errand_fail(peer, result->status == BT_STATUS_NOT_READY ? "adapter_off" : "pair_failed", why);
}

void pair_ended(struct peer *peer, const struct event *event)
{
    if (event->result.status != BT_STATUS_OK) {
        fail(peer, &event->result);
        return;
    }
    actions_log(peer->gateway->actions, LOG_LEVEL_INFO, peer->log_area, "paired by a request");
    answer_ok(peer, errand_end(peer), false);
    errand_release_link(peer);
}

/* the link's part: also where nobody waits for the answer any more */
void peer_pair_result(struct peer *peer, const struct event *event)
{
    if (peer->state == PEER_STATE_PAIRING && event->op.id == peer->wait_op)
        peer_resolve_again(peer);
}

void pair_late(struct peer *peer)
{
    bool began = peer->state == PEER_STATE_PAIRING;

    command_answer_error(peer->gateway, errand_end(peer), "pair_failed", 0,
                         "not paired in time: %s", peer->why);
    if (began) /* which cancels it */
        peer_disconnect(peer, REASON_AUTH_FAILED, true, true, "pairing took too long");
}

/* ---- the request ---- */

static bool somebody_is_paired(const struct gateway *gateway)
{
    for (size_t i = 0; i < gateway->n_peers; i++)
        if (errand_pairs(gateway->peers[i]) || gateway->peers[i]->state == PEER_STATE_PAIRING)
            return true;
    return false;
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
    if (somebody_is_paired(gateway)) {
        command_answer_error(gateway, command, "in_progress", 0, "a device is being paired");
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
