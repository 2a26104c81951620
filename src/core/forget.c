/*
 * The requests `clear_cache` and `unpair`: BlueZ forgets the peer's objects, with what it knows of
 * its services and with the bond, if there is one. It does only the whole, so a bonded peer's cache
 * is not cleared behind its owner's back. The link goes down before; what follows is as always: it
 * is heard, connected and its services are found out anew. (Until BlueZ 5.62 RemoveDevice leaves
 * the services on the disk.)
 */
#include "core/errand.h"

#include "util/cleanup.h"

#define BONDED \
    "it is bonded, and with its cache BlueZ would forget the bond: that is what `unpair` does"
#define FORGET_MS 45000 /* BlueZ is asked to disconnect three times in it */

static bool has_object(const struct peer *peer)
{
    for (size_t i = 0; i < MAX_ADAPTERS; i++)
        if (peer->sightings[i].device)
            return true;
    return false;
}

static bool is_bonded(const struct peer *peer)
{
    for (size_t i = 0; i < MAX_ADAPTERS; i++)
        if (peer->sightings[i].device && peer->sightings[i].bonded)
            return true;
    return false;
}

static bool is_awaited(const struct errand *errand)
{
    for (size_t i = 0; i < MAX_ADAPTERS; i++)
        if (errand->ops[i])
            return true;
    return false;
}

static void answer_ok(struct peer *peer, struct command *command, bool unpair)
{
    _cleanup_(strbuf_done) struct strbuf data = STRBUF_INIT;

    strbuf_puts(&data, unpair ? "{\"paired\":false}" : "{\"cleared\":true}");
    command_answer_ok(peer->gateway, command, &data);
}

static void remove_object(struct peer *peer, struct sighting *sighting, uint32_t *op)
{
    struct action *action = actions_add(peer->gateway->actions, ACTION_REMOVE_DEVICE);

    *op = gateway_next_op(peer->gateway);
    action->op = (struct op){peer->index, peer->generation, *op};
    action->adapter = sighting->adapter;
    action->device = sighting->device;
    sighting->heard_us = 0; /* nobody connects to what is going */
}

void forget_go_on(struct peer *peer)
{
    struct errand *errand = peer->errand;

    if (peer->device || errand->asked)
        return; /* the link, or the attempt, ends first */
    if (errand->kind == ERRAND_KIND_CLEAR_CACHE && is_bonded(peer)) { /* meanwhile */
        command_answer_error(peer->gateway, errand_end(peer), "not_supported", 0, BONDED);
        return;
    }
    errand->asked = true;
    for (size_t i = 0; i < MAX_ADAPTERS; i++)
        if (peer->sightings[i].device)
            remove_object(peer, &peer->sightings[i], &errand->ops[i]);
    peer_end_backoff(peer); /* what failed with these objects says nothing about others */
    peer->blind_us = gateway_in(peer->gateway, GONE_RETRY_MS);
    gateway_arm(peer->gateway, peer->blind_us);
    if (!is_awaited(errand)) { /* its objects went meanwhile */
        bool unpair = errand->kind == ERRAND_KIND_UNPAIR;
        answer_ok(peer, errand_end(peer), unpair);
    }
}

void forget_result(struct peer *peer, const struct event *event)
{
    struct errand *errand = peer->errand;
    const struct bt_result *result = &event->result;
    bool unpair = errand->kind == ERRAND_KIND_UNPAIR, is_ours = false;
    const char *text;

    for (size_t i = 0; i < MAX_ADAPTERS; i++)
        if (errand->ops[i] && errand->ops[i] == event->op.id) {
            errand->ops[i] = 0;
            is_ours = true;
        }
    if (!is_ours)
        return;
    if (result->status != BT_STATUS_OK && result->status != BT_STATUS_GONE) {
        const char *code = command_explain_status(COMMAND_KIND_REQUEST, result, &text);
        command_answer_error(peer->gateway, errand_end(peer), code, 0,
                             "BlueZ does not remove it: %s", text);
        return;
    }
    if (is_awaited(errand))
        return;
    actions_log(peer->gateway->actions, LOG_LEVEL_INFO, peer->log_area,
                unpair ? "unpaired by a request" : "its GATT cache was cleared by a request");
    answer_ok(peer, errand_end(peer), unpair);
}

/* False: there is nothing to remove, or it must not be, and that was answered. */
static bool may_forget(struct peer *peer, bool unpair, struct command *command)
{
    struct gateway *gateway = peer->gateway;
    char why[sizeof(peer->why)];

    if (!peer->ours || !peer->settings->enabled)
        command_answer_error(gateway, command, "disabled", 0, "%s", peer->why);
    else if (!has_object(peer) && adapter_trouble(peer, why, sizeof(why)) != REASON_OK)
        command_answer_error(gateway, command, "adapter_off", 0, "%s", why);
    else if (unpair && !is_bonded(peer))
        answer_ok(peer, command, unpair); /* a bond would show as an object */
    else if (!has_object(peer))
        command_answer_error(gateway, command, "not_connected", 0, "BlueZ does not know it now: %s",
                             peer->why);
    else if (!unpair && is_bonded(peer))
        command_answer_error(gateway, command, "not_supported", 0, BONDED);
    else
        return true;
    return false;
}

void forget_request(struct peer *peer, bool unpair, struct command *command)
{
    if (!may_forget(peer, unpair, command) ||
        !errand_new(peer, unpair ? ERRAND_KIND_UNPAIR : ERRAND_KIND_CLEAR_CACHE, FORGET_MS,
                    command))
        return;
    if (peer->device)
        hold_break_link(peer, unpair ? "its bond is being removed" : "its cache is being cleared");
    else
        forget_go_on(peer);
}
