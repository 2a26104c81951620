/*
 * What must hold at every moment: who connects and how often, what each peer's state and reason
 * claim, availability, queues, and that nothing is done in a hurry for nothing. Reasons may lag
 * behind the truth for GRACE_US.
 */
#include "core/step.h"
#include "sim.h"

#include <string.h>

#define GRACE_US            S_TO_US(2)
#define HEARD_US            S_TO_US(5)   /* heard so lately, nobody may say "not heard" */
#define IDLE_BLIND_US       S_TO_US(45)  /* BLIND_RETRY_MS, and others that come first */
#define IDLE_SCAN_US        S_TO_US(95)  /* no answer, and the slow retry after it */
#define NEEDLESS_SCAN_US    S_TO_US(100) /* no answer, and the slow retry after it */
#define CONNECTS_MAX        16  /* of one peer within 10 s; fast retries and early losses: 12 */
#define ACTIONS_PER_SECOND  200 /* that are no messages */
#define TIMERS_PER_SECOND   200
#define WARNINGS_PER_MINUTE 240
#define SLACK_US            S_TO_US(1)
#define COMMANDS_MAX        8 /* named ones that wait for one peer */

/* ---- what the world knows ---- */

int sim_check_device_of(const struct sim *sim, size_t i)
{
    const struct peer *peer = sim->gateway->peers[i];

    if (peer->bound)
        return peer->address.b[5];
    return sim->settings.devices[i].match.n_services ? NOBODY : (int)i;
}

static bool works(const struct sim *sim, size_t i, int r)
{
    return sim_radio_works(sim, r) && sim_radio_serves(sim, i, r);
}

static const struct sim_object *connecting_on(const struct sim *sim, int r)
{
    for (size_t d = 0; d < sim->n_devices; d++) {
        const struct sim_object *object = &sim->objects[r][d];
        if (object->id && object->connecting && object->connecting_until_us > sim->now.mono_us)
            return object;
    }
    return NULL;
}

static size_t links_on(const struct sim *sim, int r)
{
    const struct sim_object *connecting = connecting_on(sim, r);
    size_t n = connecting != NULL;

    /* of who was configured otherwise until now */
    for (const struct peer *peer = sim->gateway->leaving; peer; peer = peer->next_leaving) {
        const struct sim_object *object = &sim->objects[r][peer->bound ? peer->address.b[5] : 0];
        n += peer->bound && object != connecting &&
             (object->connected || peer->adapter == sim->radios[r].id);
    }
    for (size_t i = 0; i < sim->n_devices; i++) {
        const struct peer *peer = sim->gateway->peers[i];
        const struct sim_object *object =
            &sim->objects[r][peer->bound ? sim_check_device_of(sim, i) : 0];
        bool leaving =
            peer->state == PEER_STATE_DISCONNECTING && peer->adapter == sim->radios[r].id;
        bool counted = peer->bound && sim_is_leaving(sim, (size_t)sim_check_device_of(sim, i));
        n += peer->bound && sim->settings.devices[i].enabled && object != connecting && !counted &&
             (object->connected || leaving);
    }
    return n;
}

static bool heard_since(const struct sim *sim, size_t i, int d, uint64_t since_us)
{
    bool bound = sim->gateway->peers[i]->bound;

    for (int r = 0; r < N_RADIOS; r++) {
        const struct sim_object *object = &sim->objects[r][d];
        /* nobody looked for it where the adapter was for others, who remember only their own */
        uint64_t looked_us =
            bound || sim->settings.devices[i].adapter ? 0 : sim->radios[r].chosen_us;
        if (works(sim, i, r) && sim->radios[r].discovering && object->id && object->heard_us &&
            object->heard_us > MAX_OF(since_us, looked_us))
            return true;
    }
    return false;
}

void sim_check_over(struct sim *sim, struct sim_object *object)
{
    object->connecting = false;
}

/* ---- actions ---- */

static void check_connect(struct sim *sim, const struct action *action)
{
    struct sim_object *object = sim_object_of_id(sim, action->device);
    size_t i_peer = sim_position(sim, action->op.peer);
    struct sim_peer *peer = &sim->peers[i_peer];

    sim->totals.connects++;
    uint64_t *oldest = &peer->connects[peer->n_connects++ % CONNECTS_MAX];
    if (*oldest && sim->now.mono_us - *oldest < S_TO_US(10))
        sim_fail(sim, "d%zu: %d connects within 10 s", i_peer, CONNECTS_MAX);
    *oldest = sim->now.mono_us;
    if (!object)
        return;
    const struct sim_object *other = connecting_on(sim, object->radio);
    if (other)
        sim_fail(sim, "a second Connect on one adapter: d%d, while d%d is connecting",
                 object->device, other->device);
    size_t linked = 0; /* of objects that were told of since somebody was bound to them */
    for (size_t d = 0; d < sim->n_devices; d++) {
        const struct sim_object *one = &sim->objects[object->radio][d];
        linked += one->id && one->connected && gateway_peer_of_device(sim->gateway, one->id);
    }
    if (linked >= sim->settings.bluetooth.connections)
        sim_fail(sim, "d%d: a Connect beyond the %zu links allowed", object->device, linked);
    object->connecting = true;
    object->connecting_until_us = TIME_NEVER;
}

/* Only what hangs is switched off, and only where and as often as it may be. */
static void check_reset(struct sim *sim, const struct action *action)
{
    struct sim_radio *radio = sim_radio_of_id(sim, action->adapter);
    size_t own = 0;

    sim->totals.resets++;
    if (!radio)
        return;
    for (size_t i = 0; i < sim->gateway->n_peers; i++)
        own += sim->gateway->peers[i]->link_up && sim->gateway->peers[i]->adapter == radio->id;
    if (sim->settings.bluetooth.reset == RESET_POLICY_NEVER)
        sim_fail(sim, "adapter %u is switched off, which the file forbids", radio->id);
    if (sim->settings.bluetooth.reset == RESET_POLICY_WHEN_ALONE &&
        sim_radio_links(sim, (int)(radio - sim->radios)) > own)
        sim_fail(sim, "adapter %u is switched off while others use it", radio->id);
    if (radio->reset_us && sim->now.mono_us - radio->reset_us < MS_TO_US(RECOVER_AGAIN_MS))
        sim_fail(sim, "adapter %u is switched off again after %.0f s", radio->id,
                 (double)(sim->now.mono_us - radio->reset_us) / 1e6);
    radio->reset_us = sim->now.mono_us;
}

void sim_check_action(struct sim *sim, const struct action *action)
{
    if (action->type == ACTION_LOG) {
        if (action->log.level <= LOG_LEVEL_WARNING &&
            ++sim->warnings_in_minute > WARNINGS_PER_MINUTE)
            sim_fail(sim, "the log is flooded: %s: %s", action->log.area, action->log.text);
        return;
    }
    if (action->type > ACTION_REMOVE_DEVICE)
        return;
    if (++sim->actions_in_second > ACTIONS_PER_SECOND)
        sim_fail(sim, "more than %d actions within a second", ACTIONS_PER_SECOND);
    if (sim->stopping && action->type != ACTION_DISCONNECT && action->type != ACTION_SCAN_STOP &&
        action->type != ACTION_POWER)
        sim_fail(sim, "action %d after the stop", (int)action->type);
    if (action->type == ACTION_POWER && !action->power.on)
        check_reset(sim, action);
    size_t i = sim_position(sim, action->op.peer);
    if (i >= sim->n_devices)
        return;
    if ((action->type == ACTION_CONNECT || action->type == ACTION_READ ||
         action->type == ACTION_WRITE) &&
        sim->gateway->peers[i]->pause_us)
        sim_fail(sim, "an action for d%zu, which is paused", i);
    if (action->type != ACTION_SCAN_STOP && !sim->settings.devices[i].enabled)
        sim_fail(sim, "d%zu is switched off in the configuration and used", i);
    if (action->type == ACTION_CONNECT)
        check_connect(sim, action);
}

/* ---- a peer ---- */

static void check_online(struct sim *sim, size_t i)
{
    const struct peer *peer = sim->gateway->peers[i];
    const struct sim_object *object = sim_object_of_id(sim, peer->device);
    const struct device_settings *settings = &sim->settings.devices[i];

    bool missing = false;
    for (size_t e = 0; e < settings->n_characteristics; e++)
        missing |= peer->entries[e].missing != NULL;
    if (peer->reason != (missing ? REASON_GATT_MISSING : REASON_OK))
        sim_fail(sim, "d%zu is online for the reason %s (%s)", i, reason_name(peer->reason),
                 peer->why);
    if (!object || !object->connected || !object->told_resolved) {
        sim_fail(sim, "d%zu is online without a link", i);
        return;
    }
    for (size_t c = 0; c < sim->devices[object->device].n_chars; c++) {
        struct bt_uuid uuid = bt_uuid_from_u16(sim->devices[object->device].chars[c].uuid);
        for (size_t e = 0; e < settings->n_characteristics && !object->changing; e++)
            if (subscribe_is_wanted(&peer->entries[e]) && !object->gatt[c].missing &&
                !object->gatt[c].told && bt_uuid_equal(&settings->characteristics[e].uuid, &uuid))
                sim_fail(sim, "d%zu is online, but e%zu is not subscribed", i, e);
    }
}

/* Whether what an offline peer says of itself is so. */
static bool says_the_truth(const struct sim *sim, size_t i)
{
    const struct peer *peer = sim->gateway->peers[i];
    const struct sim_object *object =
        peer->device ? sim_object_of_id((struct sim *)sim, peer->device) : NULL;
    int d = sim_check_device_of(sim, i);
    bool any = false, powered = false, blocked = false, failed = false, resetting = false;

    for (int r = 0; r < N_RADIOS; r++) {
        const struct sim_radio *radio = &sim->radios[r];
        bool any_will_do = !sim->settings.bluetooth.n_adapters && !sim->settings.devices[i].adapter;
        bool there = radio->id && (any_will_do || sim_radio_serves(sim, i, r));
        any |= there;
        resetting |= there && radio->reset_us + S_TO_US(60) > sim->now.mono_us;
        powered |= there && radio->powered;
        blocked |= there && radio->told_blocked;
        failed |= there && (radio->scan_told_failed || radio->scan == SCAN_NO_REPLY);
    }
    if (peer->state == PEER_STATE_BACKOFF) /* tells of the last failure */
        return peer->retry_us + SLACK_US > sim->now.mono_us;
    switch ((int)peer->reason) {
    case REASON_CLAIMING: return !peer->ours || peer->state == PEER_STATE_DISCONNECTING;
    case REASON_HELD_ELSEWHERE: return !peer->ours;
    case REASON_STARTING: return !sim->bluez_told;
    case REASON_DISABLED: return !sim->settings.devices[i].enabled;
    case REASON_NO_BUS:
    case REASON_NO_BLUEZ:
    case REASON_ACCESS_DENIED: return !sim->bluez_up;
    case REASON_NO_ADAPTER: return sim->bluez_up && !any;
    case REASON_ADAPTER_OFF: return any && !powered;
    case REASON_RFKILL: return blocked && !powered;
    case REASON_SCAN_FAILED: return failed;
    case REASON_ADAPTER_RESET: return resetting;
    case REASON_NOT_HEARD: {
        uint64_t since_us = sim->now.mono_us - MIN_OF(HEARD_US, sim->now.mono_us);
        /* of those that may be it only one is remembered: with its adapter it is forgotten */
        if (!peer->bound)
            since_us = MAX_OF(since_us, sim->peers[i].reason_us);
        else /* what was heard before it was known whose it is says nothing */
            since_us = MAX_OF(since_us, sim->peers[i].bound_us);
        return d == NOBODY || !heard_since(sim, i, d, since_us);
    }
    case REASON_CONNECTING: return object && (object->connecting || object->connected);
    case REASON_RESOLVING:
    case REASON_CONFIGURING: return object && object->connected;
    case REASON_STOPPING: return sim->stopping;
    case REASON_PAUSED: return peer->pause_us > sim->now.mono_us - SLACK_US;
    case REASON_LET_GO:
        return peer->away_us > sim->now.mono_us - SLACK_US ||
               peer->state == PEER_STATE_DISCONNECTING;
    case REASON_IDLE:
        return sim->bluez_up && powered &&
               (peer->state == PEER_STATE_IDLE || peer->state == PEER_STATE_DISCONNECTING);
    case REASON_OK: return false;
    case REASON_NO_SLOT:
        for (int r = 0; r < N_RADIOS; r++)
            if (works(sim, i, r) && links_on(sim, r) >= sim->settings.bluetooth.connections)
                return true;
        return false;
    default: return true;
    }
}

static uint64_t attempt_us(const struct sim *sim, size_t i)
{
    const struct sequence_settings *on_connect = &sim->settings.devices[i].on_connect;

    /* before and after it as long as without it */
    return MS_TO_US(on_connect->n_steps ? 2 * ATTEMPT_MS + on_connect->timeout_ms : ATTEMPT_MS);
}

static uint64_t longest(const struct sim *sim, size_t i, enum peer_state state)
{
    switch (state) {
    case PEER_STATE_CONNECTING: return MS_TO_US(CONNECT_MS + CONNECT_SETTLE_MS);
    case PEER_STATE_RESOLVING: return MS_TO_US(RESOLVE_MS);
    case PEER_STATE_CONFIGURING: return attempt_us(sim, i);
    case PEER_STATE_DISCONNECTING: return 8 * MS_TO_US(DISCONNECT_MS); /* asked again */
    case PEER_STATE_BACKOFF: return MS_TO_US(SLOWEST_RETRY_MS);
    case PEER_STATE_DISABLED:
    case PEER_STATE_ABSENT:
    case PEER_STATE_READY:
    case PEER_STATE_PAIRING:
    case PEER_STATE_ONLINE:
    case PEER_STATE_IDLE: break;
    }
    return TIME_NEVER / 2;
}

static void check_backoff(struct sim *sim, size_t i)
{
    const struct peer *peer = sim->gateway->peers[i];
    const struct device_settings *settings = &sim->settings.devices[i];
    uint64_t min = MS_TO_US(peer->retry_slow ? SLOW_RETRY_MS : settings->reconnect_min_ms);
    uint64_t max = MS_TO_US(peer->retry_slow ? SLOWEST_RETRY_MS : settings->reconnect_max_ms);
    uint64_t wait = peer->retry_us - sim->now.mono_us;

    if (peer->retry_us < sim->now.mono_us || wait > max ||
        (wait < min && wait > MS_TO_US(ADVERT_RETRY_MS)))
        sim_fail(sim, "d%zu waits for %.3f s, allowed are %.3f to %.3f", i, (double)wait / 1e6,
                 (double)min / 1e6, (double)max / 1e6);
}

/* Could it be connected now, and nobody does? */
static bool somebody_disconnects(const struct sim *sim, uint32_t adapter)
{
    for (const struct peer *peer = sim->gateway->leaving; peer; peer = peer->next_leaving)
        if (peer->adapter == adapter)
            return true;
    for (size_t i = 0; i < sim->n_devices; i++)
        if (sim->gateway->peers[i]->state == PEER_STATE_DISCONNECTING &&
            sim->gateway->peers[i]->adapter == adapter)
            return true;
    return false;
}

static bool is_left_alone(const struct sim *sim, size_t i)
{
    const struct peer *peer = sim->gateway->peers[i];
    int d = sim_check_device_of(sim, i);
    bool free_one = false;

    if (d == NOBODY || !peer->bound || peer->retry_us > sim->now.mono_us)
        return false;
    for (int r = 0; r < N_RADIOS; r++) {
        const struct sim_object *object = &sim->objects[r][d];
        if (!works(sim, i, r) || !object->id)
            continue;
        if (connecting_on(sim, r) || somebody_disconnects(sim, sim->radios[r].id))
            return false; /* it may be worth waiting for that one, which has its deadline */
        /* what is ready was heard: where it was not, it has no way */
        bool heard = object->heard_us && object->heard_us + HEARD_US > sim->now.mono_us &&
                     object->heard_us > sim->peers[i].state_us;
        if (links_on(sim, r) < sim->settings.bluetooth.connections &&
            (heard || peer->state == PEER_STATE_ABSENT))
            free_one = true;
    }
    return free_one;
}

static void check_idle(struct sim *sim, size_t i)
{
    const struct peer *peer = sim->gateway->peers[i];
    struct sim_peer *seen = &sim->peers[i];
    bool waits = peer->state == PEER_STATE_READY || peer->state == PEER_STATE_ABSENT;

    if (!waits || sim->stopping || !is_left_alone(sim, i)) {
        seen->idle_us = 0;
        return;
    }
    if (!seen->idle_us)
        seen->idle_us = sim->now.mono_us;
    uint64_t limit = peer->state == PEER_STATE_READY ? GRACE_US : IDLE_BLIND_US;
    if (sim->now.mono_us - seen->idle_us > limit)
        sim_fail(sim, "d%zu is %s (%s) and could be connected for %.1f s", i,
                 peer_state_name(peer->state), peer->why,
                 (double)(sim->now.mono_us - seen->idle_us) / 1e6);
}

static void check_why(struct sim *sim, size_t i)
{
    const struct peer *peer = sim->gateway->peers[i];
    struct sim_peer *seen = &sim->peers[i];

    if (!peer->why[0])
        sim_fail(sim, "d%zu is %s and does not say why", i, peer_state_name(peer->state));
    if (says_the_truth(sim, i)) {
        seen->untrue_us = 0;
        return;
    }
    if (!seen->untrue_us)
        seen->untrue_us = sim->now.mono_us;
    if (sim->now.mono_us - seen->untrue_us > GRACE_US)
        sim_fail(sim, "d%zu is %s because of %s (%s): that is not true for %.1f s", i,
                 peer_state_name(peer->state), reason_name(peer->reason), peer->why,
                 (double)(sim->now.mono_us - seen->untrue_us) / 1e6);
}

static void check_bring_up(struct sim *sim, size_t i, const struct event *event)
{
    const struct peer *peer = sim->gateway->peers[i];
    struct sim_peer *seen = &sim->peers[i];
    bool bringing_up = peer->state == PEER_STATE_CONNECTING ||
                       peer->state == PEER_STATE_RESOLVING || peer->state == PEER_STATE_CONFIGURING;

    if (!bringing_up)
        seen->bring_up_us = 0;
    else if (peer->generation != seen->generation) /* another attempt, by another adapter */
        seen->bring_up_us = sim->now.mono_us;
    else if (!seen->bring_up_us || event->type == EVENT_SERVICES_CHANGED)
        seen->bring_up_us = sim->now.mono_us;
    else if (sim->now.mono_us - seen->bring_up_us > attempt_us(sim, i) + SLACK_US)
        sim_fail(sim, "d%zu is being brought up for too long", i);
}

static bool is_late(const struct sim *sim, uint64_t due_us)
{
    return due_us < sim->now.mono_us && sim->now.mono_us - due_us > SLACK_US;
}

/* One sequence at a time, within its time, and what is due is done. */
static void check_steps(struct sim *sim, size_t i)
{
    const struct peer *peer = sim->gateway->peers[i];
    bool online =
        peer->state == PEER_STATE_ONLINE && sim->now.mono_us - sim->peers[i].state_us > SLACK_US;
    bool free = online && !peer->sequence;

    if (peer->n_sequences > COMMANDS_MAX)
        sim_fail(sim, "d%zu has %zu commands waiting", i, peer->n_sequences);
    if (peer->sequence && is_late(sim, peer->sequence->deadline_us))
        sim_fail(sim, "d%zu: steps take longer than their timeout", i);
    if (peer->sequence && peer->state != PEER_STATE_ONLINE &&
        peer->state != PEER_STATE_CONFIGURING && peer->state != PEER_STATE_RESOLVING &&
        peer->state != PEER_STATE_PAIRING && peer->state != PEER_STATE_DISCONNECTING)
        sim_fail(sim, "d%zu is %s, and its steps go on", i, peer_state_name(peer->state));
    if (free && (is_late(sim, peer->poll_due_us) || is_late(sim, peer->keep_alive_due_us)))
        sim_fail(sim, "d%zu is to be polled or kept alive, and is not", i);
    for (size_t e = 0; e < peer->n_entries; e++)
        if (online && peer->entries[e].source != NO_SOURCE &&
            is_late(sim, peer->entries[e].read_due_us))
            sim_fail(sim, "d%zu/e%zu is to be read, and is not", i, e);
}

/* Who is heard is tried again soon, unless it refused us. */
static void check_heard(struct sim *sim, size_t i)
{
    const struct peer *peer = sim->gateway->peers[i];
    struct sim_peer *seen = &sim->peers[i];

    if (peer->state != PEER_STATE_BACKOFF || peer->retry_slow || seen->state != PEER_STATE_BACKOFF)
        seen->backoff_heard_us = 0;
    else if (!seen->backoff_heard_us && peer->heard_us == sim->now.mono_us)
        seen->backoff_heard_us = sim->now.mono_us;
    else if (seen->backoff_heard_us &&
             sim->now.mono_us - seen->backoff_heard_us >
                 MS_TO_US(ADVERT_RETRY_MS + 2 * ADVERT_SHORTCUT_MS) + SLACK_US)
        sim_fail(sim, "d%zu is heard, and waits for %.1f s still", i,
                 (double)(peer->retry_us - sim->now.mono_us) / 1e6);
}

/* A link that was good for long makes up for the failures before it. */
static void check_forgiven(struct sim *sim, size_t i)
{
    const struct peer *peer = sim->gateway->peers[i];
    const struct sim_peer *seen = &sim->peers[i];

    if (seen->state == PEER_STATE_ONLINE && peer->state != PEER_STATE_ONLINE &&
        peer->state != PEER_STATE_BACKOFF && peer->reason == REASON_LINK_LOST && peer->failures &&
        sim->now.mono_us - seen->state_us > MS_TO_US(STABLE_MS))
        sim_fail(sim, "d%zu was online for %.0f s, and %u failures are still held against it", i,
                 (double)(sim->now.mono_us - seen->state_us) / 1e6, peer->failures);
}

static void check_peer(struct sim *sim, size_t i, const struct event *event)
{
    const struct peer *peer = sim->gateway->peers[i];
    struct sim_peer *seen = &sim->peers[i];

    if (seen->ours && !peer->ours)
        sim_stream_release(sim, i);
    seen->ours = peer->ours;
    check_forgiven(sim, i);
    check_heard(sim, i);
    if (peer->state != seen->state || peer->reason != seen->reason) {
        seen->untrue_us = seen->idle_us = 0;
        if (peer->state == PEER_STATE_BACKOFF && seen->state != PEER_STATE_BACKOFF &&
            peer->retry_us != seen->retry_us)
            check_backoff(sim, i);
        if (peer->state == PEER_STATE_ONLINE && seen->state != PEER_STATE_ONLINE)
            sim->totals.onlines++;
    }
    sim_contact_check(sim, i, event);
    if (peer->state != seen->state || peer->generation != seen->generation)
        seen->state_us = sim->now.mono_us;
    if (peer->reason != seen->reason)
        seen->reason_us = sim->now.mono_us;
    seen->state = peer->state;
    seen->retry_us = peer->retry_us;
    seen->reason = peer->reason;
    if (peer->state == PEER_STATE_ONLINE) {
        check_online(sim, i);
    } else {
        check_why(sim, i);
        check_idle(sim, i);
    }
    if (sim->now.mono_us - seen->state_us > longest(sim, i, peer->state) + SLACK_US)
        sim_fail(sim, "d%zu is %s for too long", i, peer_state_name(peer->state));
    check_bring_up(sim, i, event);
    seen->generation = peer->generation;
    check_steps(sim, i);
    if (peer->n_ops > OPS_MAX)
        sim_fail(sim, "d%zu has %zu operations waiting", i, peer->n_ops);
    if (peer->speaks)
        sim_memory_check_now(sim, i);
}

/* ---- the whole ---- */

/* between contacts, and waits to hear its peer */
static bool listens(const struct sim *sim, size_t i)
{
    return sim->settings.devices[i].enabled && sim->gateway->peers[i]->ours &&
           sim->settings.devices[i].connection.mode == CONNECTION_MODE_WHEN_SEEN &&
           sim->gateway->peers[i]->state == PEER_STATE_IDLE;
}

static void check_scan_of(struct sim *sim, int r)
{
    struct sim_radio *radio = &sim->radios[r];
    bool missing = false;

    for (size_t i = 0; i < sim->n_devices; i++)
        missing |= ((sim_contact_wants_link(sim, i) && !sim->gateway->peers[i]->link_up) ||
                    listens(sim, i)) &&
                   sim_radio_serves(sim, i, r);
    bool scans = radio->id && radio->discovering;
    if (!scans || missing || radio->scan != SCAN_GOOD || sim->stopping)
        radio->needless_scan_us = 0;
    else if (!radio->needless_scan_us)
        radio->needless_scan_us = sim->now.mono_us;
    else if (sim->now.mono_us - radio->needless_scan_us > NEEDLESS_SCAN_US)
        sim_fail(sim, "adapter %u scans, and nobody is missing", radio->id);
    if (!missing || scans || radio->scan != SCAN_GOOD || !sim_radio_works(sim, r) || sim->stopping)
        radio->idle_scan_us = 0;
    else if (!radio->idle_scan_us)
        radio->idle_scan_us = sim->now.mono_us;
    else if (sim->now.mono_us - radio->idle_scan_us > IDLE_SCAN_US)
        sim_fail(sim, "somebody is missing, and adapter %u does not scan", radio->id);
}

static void check_scan(struct sim *sim)
{
    for (int r = 0; r < N_RADIOS; r++)
        check_scan_of(sim, r);
}

static void check_rates(struct sim *sim, const struct event *event)
{
    uint64_t second = sim->now.mono_us / S_TO_US(1);

    if (second != sim->second) {
        sim->second = second;
        sim->actions_in_second = sim->timers_in_second = 0;
    }
    if (second / 60 != sim->minute) {
        sim->minute = second / 60;
        sim->warnings_in_minute = 0;
    }
    if (event->type == EVENT_TIMER && ++sim->timers_in_second > TIMERS_PER_SECOND)
        sim_fail(sim, "more than %d timers within a second", TIMERS_PER_SECOND);
}

static void check_outbox(struct sim *sim)
{
    const struct mqtt_settings *limits = &sim->settings.mqtt;
    struct outbox_stats stats;
    size_t topics = sim->n_devices * (N_ENTRIES_MAX * 2 + 2) + 5;

    outbox_get_stats(sim->gateway->outbox, &stats);
    if (stats.queued > limits->buffer_messages + topics + OUTBOX_EXTRA_MESSAGES)
        sim_fail(sim, "%zu messages are queued", stats.queued);
    if (stats.queued > limits->buffer_messages + topics && !stats.dropped)
        sim_fail(sim, "%zu messages are queued, none was dropped", stats.queued);
}

static void note_chosen(struct sim *sim)
{
    for (size_t r = 0; r < N_RADIOS; r++) {
        struct sim_radio *radio = &sim->radios[r];
        const struct adapter *adapter = adapter_find(sim->gateway, radio->id);
        bool chosen = adapter && adapter->chosen;
        if (chosen && !radio->chosen)
            radio->chosen_us = sim->now.mono_us;
        radio->chosen = chosen;
    }
}

void sim_check_event(struct sim *sim, const struct event *event)
{
    note_chosen(sim);
    check_rates(sim, event);
    for (size_t i = 0; i < sim->n_devices && !sim->failed; i++)
        check_peer(sim, i, event);
    sim_pair_check(sim);
    check_scan(sim);
    check_outbox(sim);
}
