/*
 * Which gateway has a device: the one that its `gateway:` names. Must not know how a peer is
 * connected.
 */
#include "core/world.h"

#include <string.h>

void claim_init(struct peer *peer)
{
    const char *bound = peer->settings->gateway;

    peer->ours = peer->speaks = !bound || strcmp(bound, peer->gateway->settings->gateway.id) == 0;
}

const char *claim_held_by(const struct peer *peer)
{
    return peer->ours ? NULL : peer->settings->gateway;
}

void claim_say(struct peer *peer)
{
    peer_enter_state(peer, PEER_STATE_DISABLED, REASON_BOUND_ELSEWHERE,
                     "the configuration gives it to gateway %s", peer->settings->gateway);
}
