/*
 * What the broker retains, and whether it is the truth: the state of the gateway and of each
 * device, and each retained value. A broker may lose it all; then all of it must come again. Must
 * not know how messages travel.
 */
#include "sim.h"

#include <stdio.h>
#include <string.h>

/* ---- what it has ---- */

void sim_memory_lose(struct sim *sim)
{
    sim_trace(sim, "the broker loses its memory");
    sim_forget_retained(sim);
    for (size_t i = 0; i < sim->n_devices; i++) {
        sim->peers[i].link[0] = '\0';
        sim->peers[i].availability_handed = false;
        for (size_t e = 0; e < N_ENTRIES_MAX; e++)
            sim->peers[i].streams[e].retained = false;
    }
    sim->forgets++;
}

/* the value of a key of a flat JSON object, as far as it fits */
static void copy_key(const struct action *action, const char *key, char *buf, size_t size)
{
    char needle[32];
    int n = snprintf(needle, sizeof(needle), "\"%s\":\"", key);
    const char *at = memmem(action->publish.payload, action->publish.length, needle, (size_t)n);

    *buf = '\0';
    if (!at)
        return;
    at += n;
    const char *end = (const char *)action->publish.payload + action->publish.length;
    size_t i = 0;
    while (at < end && *at != '"' && i + 1 < size)
        buf[i++] = *at++;
    buf[i] = '\0';
}

void sim_memory_link(struct sim *sim, size_t peer, const struct action *action)
{
    char state[24], reason[24], why[8];

    copy_key(action, "state", state, sizeof(state));
    copy_key(action, "reason", reason, sizeof(reason));
    copy_key(action, "why", why, sizeof(why));
    snprintf(sim->peers[peer].link, sizeof(sim->peers[peer].link), "%s/%s", state, reason);
    if (!*why)
        sim_fail(sim, "d%zu: its link does not say why", peer);
    if (!action->publish.retain)
        sim_fail(sim, "d%zu: its link is not retained", peer);
}

void sim_memory_bridge(struct sim *sim, const char *last, const struct action *action)
{
    bool status =
        strcmp(last, "info") == 0 || strcmp(last, "devices") == 0 || strcmp(last, "status") == 0;

    if (action->publish.retain != status)
        sim_fail(sim, "%s is %sretained", action->publish.topic, status ? "not " : "");
}

/* ---- whether it is true ---- */

static void check_link(struct sim *sim, size_t i)
{
    const struct peer *peer = sim->gateway->peers[i];
    const char *link = sim->peers[i].link, *state = peer_state_name(peer->shown);
    size_t n = strlen(state);

    if (strncmp(link, state, n) != 0 || link[n] != '/' ||
        strcmp(link + n + 1, reason_name(peer->reason)) != 0)
        sim_fail(sim, "d%zu is %s/%s, and the broker has %s", i, state, reason_name(peer->reason),
                 link);
}

/* Nothing of it is waiting. */
void sim_memory_check_now(struct sim *sim, size_t i)
{
    const struct sim_peer *seen = &sim->peers[i];
    const struct peer *peer = sim->gateway->peers[i];
    struct outbox_stats stats;

    outbox_get_stats(sim->gateway->outbox, &stats);
    if (!sim->broker_up || sim->reordering || stats.queued || !sim->said_online)
        return;
    if (!seen->availability_handed || !sim_contact_may_say(sim, i, seen->availability))
        sim_fail(sim, "d%zu is %s, and its availability says %s", i, peer_state_name(peer->state),
                 !seen->availability_handed ? "nothing"
                 : seen->availability       ? "online"
                                            : "offline");
    check_link(sim, i);
}

/* When all is quiet everything is there. */
void sim_memory_check(struct sim *sim)
{
    if (!sim->broker_up || sim->stopping)
        return;
    if (!sim->drained) /* though all was acknowledged at once */
        sim_fail(sim, "the queue has not been empty since the last fault");
    const struct sim_mail *status = sim_retained(sim, "g/bridge/gw/status");
    if (!status || status->length != 6 || !sim_retained(sim, "g/bridge/gw/info") ||
        !sim_retained(sim, "g/bridge/gw/devices"))
        sim_fail(sim, "the broker lacks status, info or devices");
    sim_home_check(sim);
    for (size_t i = 0; i < sim->n_devices; i++) {
        check_link(sim, i);
        for (size_t e = 0; e < sim->settings.devices[i].n_characteristics; e++) {
            const struct sim_stream *stream = &sim->peers[i].streams[e];
            if (stream->published && !stream->retained && !sim->ever_refused)
                sim_fail(sim, "d%zu/e%zu: the broker has no value", i, e);
        }
    }
}
