/*
 * What a peer's errands have in common: there is one at a time, it has a deadline and one answer,
 * and it may need a link. Must not know what they are for; see errand.h.
 */
#include "core/errand.h"

#include <stdlib.h>

static uint64_t time_of(const struct errand *errand)
{
    return errand->command->timeout_ms ? errand->command->timeout_ms : errand->usual_ms;
}

static void begin_time(struct peer *peer)
{
    peer->errand->due_us = gateway_in(peer->gateway, time_of(peer->errand));
    gateway_arm(peer->gateway, peer->errand->due_us);
}

struct errand *errand_new(struct peer *peer, enum errand_kind kind, uint64_t usual_ms,
                          struct command *command)
{
    struct gateway *gateway = peer->gateway;

    if (peer->errand) {
        command_answer_error(gateway, command, "in_progress", 0,
                             "another request is being carried out for it");
        return NULL;
    }
    peer->errand = calloc(1, sizeof(*peer->errand));
    if (!peer->errand) {
        command_answer_error(gateway, command, "internal", 0, "out of memory");
        return NULL;
    }
    *peer->errand = (struct errand){
        .kind = kind, .command = command, .usual_ms = usual_ms, .failures = peer->failures};
    begin_time(peer);
    return peer->errand;
}

struct command *errand_end(struct peer *peer)
{
    struct command *command = peer->errand->command;

    inspect_free(peer->errand->inspection);
    free(peer->errand);
    peer->errand = NULL;
    return command;
}

void errand_fail(struct peer *peer, const char *code, const char *message)
{
    command_answer_error(peer->gateway, errand_end(peer), code, 0, "%s", message);
    errand_release_link(peer);
}

void errand_cancel(struct peer *peer, const char *code, const char *message)
{
    if (peer->errand)
        command_answer_error(peer->gateway, errand_end(peer), code, 0, "%s", message);
}

void errand_cancel_linked(struct peer *peer, const char *code, const char *message)
{
    if (errand_wants_link(peer))
        errand_cancel(peer, code, message);
}

void errand_done(struct peer *peer)
{
    if (peer->errand)
        command_free(errand_end(peer));
}

/* ---- the link ---- */

bool errand_wants_link(const struct peer *peer)
{
    return peer->errand && peer->errand->wants_link && !peer->errand->lost;
}

void errand_wait_for_link(struct peer *peer)
{
    struct command *command = peer->errand->command;

    if (!command_queue_ms(peer, command) && !hold_is_connecting(peer)) {
        command_answer_error(peer->gateway, errand_end(peer), "not_connected", 0,
                             "not connected: %s", peer->why);
        return;
    }
    peer->errand->due_us = command_queue_until(peer, command, false);
    gateway_arm(peer->gateway, peer->errand->due_us);
    errand_state_entered(peer); /* it may be on its way */
    hold_now(peer);
}

void errand_release_link(struct peer *peer)
{
    bool resolved = peer->state == PEER_STATE_CONFIGURING || peer->state == PEER_STATE_ONLINE;

    if (peer->state == PEER_STATE_DISCONNECTING)
        return;
    if (peer->misfit && resolved) {
        contact_begin(peer);
        peer_resolve_again(peer); /* and now what does not fit has its consequences */
    } else if (peer->link_up) {
        contact_begin(peer);
        contact_activity(peer);
    } else {
        hold_give_up(peer);
    }
}

static void link_state(struct peer *peer)
{
    struct errand *errand = peer->errand;

    if (!errand->linking && hold_is_connecting(peer)) {
        errand->linking = true;
        begin_time(peer);
    }
    if (peer->state == PEER_STATE_BACKOFF)
        gateway_arm(peer->gateway, peer->gateway->now.mono_us); /* is it worth waiting? */
}

void errand_state_entered(struct peer *peer)
{
    switch (peer->errand->kind) {
    case ERRAND_KIND_CLEAR_CACHE:
    case ERRAND_KIND_UNPAIR: forget_go_on(peer); break;
    case ERRAND_KIND_INSPECT:
    case ERRAND_KIND_PAIR: link_state(peer); break;
    }
}

bool errand_pairs(const struct peer *peer)
{
    return peer->errand && peer->errand->kind == ERRAND_KIND_PAIR;
}

bool errand_link_came(struct peer *peer)
{
    if (!errand_pairs(peer) || peer->errand->ops[0])
        return false;
    pair_begin(peer);
    return true;
}

void errand_resolved(struct peer *peer)
{
    if (peer->errand && peer->errand->kind == ERRAND_KIND_INSPECT)
        inspect_resolved(peer);
}

void errand_link_ended(struct peer *peer)
{
    if (peer->errand && peer->errand->kind == ERRAND_KIND_INSPECT && inspect_is_known(peer->errand))
        inspect_cut_short(peer);
    else if (errand_pairs(peer))
        pair_link_ended(peer);
}

/* ---- answers ---- */

void errand_removed(struct gateway *gateway, const struct event *event)
{
    struct peer *peer = gateway_peer_at(gateway, event->op.peer);

    if (peer && peer->errand && !peer->errand->wants_link)
        forget_result(peer, event);
}

/* An answer that comes after the link's end still says why. */
void errand_paired(struct gateway *gateway, const struct event *event)
{
    struct peer *peer = gateway_peer_at(gateway, event->op.peer);

    if (peer && errand_pairs(peer) && peer->errand->ops[0] == event->op.id)
        pair_ended(peer, event);
}

bool errand_result(struct peer *peer, const struct event *event)
{
    struct errand *errand = peer->errand;

    if (!errand || errand->kind != ERRAND_KIND_INSPECT || !errand->ops[0] ||
        errand->ops[0] != event->op.id)
        return false;
    if (event->type == EVENT_INSPECT_RESULT)
        inspect_result(peer, event);
    else
        inspect_read(peer, event);
    return true;
}

/* ---- time ---- */

static void late(struct peer *peer)
{
    struct errand *errand = peer->errand;
    bool linking = errand->linking, has_failed = peer->failures > errand->failures;

    if (errand->kind == ERRAND_KIND_INSPECT && inspect_is_known(errand))
        inspect_cut_short(peer);
    else if (errand->kind == ERRAND_KIND_PAIR && errand->ops[0])
        peer_pair_late(peer);
    else if (errand->wants_link && !peer->link_up)
        hold_answer_no_link(peer, errand_end(peer), linking, has_failed);
    else
        command_answer_error(peer->gateway, errand_end(peer), "timeout", 0, "not done in time: %s",
                             peer->why);
}

void errand_timer(struct peer *peer)
{
    struct errand *errand = peer->errand;

    if (!errand)
        return;
    bool hopeless = errand_wants_link(peer) && peer->state == PEER_STATE_BACKOFF &&
                    peer->failures > errand->failures && peer->retry_us >= errand->due_us;
    if (errand->due_us > peer->gateway->now.mono_us && !hopeless) {
        gateway_arm(peer->gateway, errand->due_us);
        return;
    }
    bool wants_link = errand_wants_link(peer);
    late(peer);
    if (wants_link)
        errand_release_link(peer);
}
