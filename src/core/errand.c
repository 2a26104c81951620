/*
 * What a peer's errands have in common: there is one at a time, it has a deadline, and one answer.
 * Must not know what they are for; see errand.h.
 */
#include "core/errand.h"

#include <stdlib.h>

struct errand *errand_new(struct peer *peer, enum errand_kind kind, uint64_t usual_ms,
                          struct command *command)
{
    struct gateway *gateway = peer->gateway;
    uint64_t timeout_ms = command->timeout_ms ? command->timeout_ms : usual_ms;

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
        .kind = kind, .command = command, .due_us = gateway_in(gateway, timeout_ms)};
    gateway_arm(gateway, peer->errand->due_us);
    return peer->errand;
}

struct command *errand_end(struct peer *peer)
{
    struct command *command = peer->errand->command;

    free(peer->errand);
    peer->errand = NULL;
    return command;
}

void errand_cancel(struct peer *peer, const char *code, const char *message)
{
    if (peer->errand)
        command_answer_error(peer->gateway, errand_end(peer), code, 0, "%s", message);
}

void errand_done(struct peer *peer)
{
    if (peer->errand)
        command_free(errand_end(peer));
}

void errand_state_entered(struct peer *peer)
{
    switch (peer->errand->kind) {
    case ERRAND_KIND_CLEAR_CACHE:
    case ERRAND_KIND_UNPAIR: forget_go_on(peer); break;
    }
}

void errand_result(struct gateway *gateway, const struct event *event)
{
    struct peer *peer = gateway_peer_at(gateway, event->op.peer);

    if (peer && peer->errand && event->type == EVENT_REMOVE_RESULT)
        forget_result(peer, event);
}

void errand_timer(struct peer *peer)
{
    struct gateway *gateway = peer->gateway;

    if (!peer->errand)
        return;
    if (peer->errand->due_us > gateway->now.mono_us)
        gateway_arm(gateway, peer->errand->due_us);
    else
        command_answer_error(gateway, errand_end(peer), "timeout", 0, "not done in time: %s",
                             peer->why);
}
