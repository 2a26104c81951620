/*
 * Pairing: how BlueZ ends it, and that the core has one at a time, none without a link for long,
 * and is done with each in its time.
 */
#include "core/errand.h"
#include "sim.h"

#define LONGEST_US S_TO_US(90)
#define LOST_US    S_TO_US(2) /* so long BlueZ may say why the link went */
#define SLACK_US   S_TO_US(1)

/* Pairing that fails often ends the link, before or after it is answered. */
static void answer(struct sim *sim, uint64_t serial, uint64_t status)
{
    struct sim_call *call = sim_call_find(sim, serial);
    struct sim_object *object = call ? call->object : NULL;
    bool drop = status != BT_STATUS_OK && object && object->connected && sim_chance(sim, 50);
    bool before = sim_chance(sim, 50);

    if (drop && before)
        sim_link_down(sim, object);
    if (status == BT_STATUS_OK && object && !sim->devices[object->device].fleeting) {
        object->bonded = object->permanent = true;
        sim_object_tell(sim, object, false);
    }
    call = sim_call_find(sim, serial);
    if (call)
        sim_call_end(sim, call, call->object ? (enum bt_status)status : BT_STATUS_AUTH_FAILED);
    if (drop && !before && object->connected)
        sim_link_down(sim, object);
}

void sim_pair(struct sim *sim, struct sim_call *call)
{
    uint64_t delay = sim_chance(sim, 80)   ? sim_between(sim, 50000, S_TO_US(8))
                     : sim_chance(sim, 50) ? S_TO_US(60)
                                           : LONGEST_US;
    enum bt_status status = sim_chance(sim, 60) ? BT_STATUS_OK : BT_STATUS_AUTH_FAILED;

    for (size_t i = 0; i < N_CALLS_MAX; i++) /* the one before ends with it */
        if (sim->calls[i].serial && sim->calls[i].type == ACTION_PAIR && &sim->calls[i] != call)
            sim_call_end_later(sim, &sim->calls[i], BT_STATUS_CANCELLED, 0);
    if (!call->object->connected)
        status = BT_STATUS_FAILED;
    sim_schedule(sim, delay, answer, call->serial, status);
}

/* Most often BlueZ says so at once, or soon; it may also go on as if nothing had been. */
void sim_pair_link_down(struct sim *sim, const struct sim_object *object)
{
    struct sim_call *call = sim_call_pending(sim, ACTION_PAIR, object);

    if (!call || sim_chance(sim, 30))
        return;
    if (sim_chance(sim, 30))
        sim_call_end(sim, call, BT_STATUS_AUTH_FAILED);
    else
        sim_call_end_later(sim, call, BT_STATUS_AUTH_FAILED, sim_spread(sim, 1000, S_TO_US(4)));
}

/* ---- what must hold ---- */

bool sim_pair_is_asked(const struct sim *sim, size_t i)
{
    const struct peer *peer = sim->gateway->peers[i];

    return errand_pairs(peer) || peer->state == PEER_STATE_PAIRING;
}

void sim_pair_check(struct sim *sim)
{
    size_t n = 0;

    for (size_t i = 0; i < sim->n_devices; i++) {
        const struct peer *peer = sim->gateway->peers[i];
        struct sim_peer *seen = &sim->peers[i];
        bool pairs = peer->state == PEER_STATE_PAIRING;
        uint32_t op = errand_pairs(peer) ? peer->errand->ops[0] : 0;

        if (sim_pair_is_asked(sim, i)) {
            n++;
            seen->pair_us = sim->now.mono_us;
            seen->unwanted = true; /* also if that is over before it is looked */
        }
        if (!op || pairs || op != seen->pair_op)
            seen->pair_lost_us = 0;
        else if (!seen->pair_lost_us)
            seen->pair_lost_us = sim->now.mono_us;
        seen->pair_op = op;
        if (seen->pair_lost_us && sim->now.mono_us - seen->pair_lost_us > LOST_US + SLACK_US)
            sim_fail(sim, "d%zu has lost the link over which it was paired, and that goes on", i);
        if (pairs && sim->now.mono_us - seen->state_us > LONGEST_US + SLACK_US)
            sim_fail(sim, "d%zu is being paired for too long", i);
    }
    if (n > 1)
        sim_fail(sim, "%zu are being paired at once", n);
}
