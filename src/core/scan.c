/*
 * An adapter's scan. It is on while somebody whom the adapter serves is missing or a request asks
 * who is there, but pauses for a
 * Connect to a peer that was heard: an active scan reports a peer once in 10.24 s, and the kernel
 * connects on a report, so that on Linux 6.1 a Connect during it was seen to take 5 to 14 s, and
 * 0.3 to 0.5 s without it. A blind attempt leaves it on: the first report of the peer connects, and
 * others can be heard. A passive scan never pauses: it is what the kernel connects by. Where BlueZ
 * has none, an active one takes its place. Must not know who connects to whom.
 */
#include "core/world.h"

#include <stdio.h>
#include <string.h>

void scan_forget(struct adapter *adapter)
{
    adapter->scan = SCAN_STATE_OFF;
    adapter->scan_idle_us = TIME_NEVER;
    adapter->scan_answer_us = TIME_NEVER;
}

void scan_discovering(struct gateway *gateway, struct adapter *adapter, bool discovering)
{
    if (adapter->scan == SCAN_STATE_ON && adapter->discovering && !discovering) {
        scan_forget(adapter); /* stopped unasked: once more, in a moment */
        adapter->scan_retry_us = gateway_in(gateway, SCAN_RETRY_MS);
        gateway_arm(gateway, adapter->scan_retry_us);
    }
    adapter->discovering = discovering;
}

static bool somebody_is_missing(const struct gateway *gateway, const struct adapter *adapter)
{
    if (survey_listens(gateway))
        return true;
    for (size_t i = 0; i < gateway->n_peers; i++) {
        const struct peer *peer = gateway->peers[i];
        if (((peer_wants_link(peer) && !peer->link_up) || contact_listens(peer)) &&
            adapter_serves(peer, adapter))
            return true;
    }
    return false;
}

static void scan_ask(struct gateway *gateway, struct adapter *adapter, bool on)
{
    struct action *action =
        actions_add(gateway->actions, on ? ACTION_SCAN_START : ACTION_SCAN_STOP);

    action->op = (struct op){.peer = NO_PEER, .id = gateway_next_op(gateway)};
    action->adapter = adapter->id;
    if (on) {
        adapter->scan_passive = gateway->settings->bluetooth.scan == SCAN_MODE_PASSIVE &&
                                !adapter->cannot_scan_passively;
        action->scan.passive = adapter->scan_passive;
    }
    adapter->scan = on ? SCAN_STATE_STARTING : SCAN_STATE_STOPPING;
    adapter->scan_op = action->op.id;
    adapter->scan_answer_us = gateway_in(gateway, SCAN_ANSWER_MS);
    gateway_arm(gateway, adapter->scan_answer_us);
}

/* a Connect to a peer that was heard is on its way */
static bool wants_quiet(const struct gateway *gateway, const struct adapter *adapter)
{
    const struct peer *holder = gateway_peer_at(gateway, adapter->connector);

    return holder && holder->state == PEER_STATE_CONNECTING && !holder->blind &&
           !(adapter->scan_passive && adapter->scan != SCAN_STATE_OFF);
}

/* A start that is not yet answered cannot be stopped: the stop would overtake it. */
void scan_pause(struct gateway *gateway, struct adapter *adapter)
{
    if (adapter->scan != SCAN_STATE_ON)
        return;
    if (adapter->scan_retry_us > gateway->now.mono_us)
        gateway_arm(gateway, adapter->scan_retry_us);
    else
        scan_ask(gateway, adapter, false);
}

void scan_schedule(struct gateway *gateway, struct adapter *adapter)
{
    uint64_t now = gateway->now.mono_us;

    if (wants_quiet(gateway, adapter)) {
        adapter->scan_idle_us = TIME_NEVER;
        scan_pause(gateway, adapter);
    } else if (somebody_is_missing(gateway, adapter)) {
        adapter->scan_idle_us = TIME_NEVER;
        if (adapter->scan != SCAN_STATE_OFF)
            return;
        if (adapter->scan_retry_us > now)
            gateway_arm(gateway, adapter->scan_retry_us);
        else
            scan_ask(gateway, adapter, true);
    } else if (adapter->scan == SCAN_STATE_ON) {
        if (adapter->scan_idle_us == TIME_NEVER)
            adapter->scan_idle_us = gateway_in(gateway, SCAN_STOP_MS);
        if (adapter->scan_idle_us > now)
            gateway_arm(gateway, adapter->scan_idle_us);
        else
            scan_pause(gateway, adapter);
    }
}

/* The stop was answered, or will not be any more. */
static void scan_stopped(struct gateway *gateway, struct adapter *adapter, enum bt_status status)
{
    bool busy = status == BT_STATUS_IN_PROGRESS;

    scan_forget(adapter);
    if (!busy && (status == BT_STATUS_OK || !adapter->discovering))
        return;
    adapter->scan = SCAN_STATE_ON; /* it goes on: once more, later */
    adapter->scan_retry_us = gateway_in(gateway, busy ? SCAN_RETRY_MS : SCAN_SLOW_RETRY_MS);
    gateway_arm(gateway, adapter->scan_retry_us);
}

static void scan_failed(struct gateway *gateway, struct adapter *adapter, const char *text)
{
    scan_forget(adapter);
    adapter->scan_failures++;
    snprintf(adapter->scan_text, sizeof(adapter->scan_text), "%s", text);
    if (adapter->scan_failures == 1 || adapter->scan_failures % 4 == 0)
        actions_log(gateway->actions, LOG_LEVEL_WARNING, "adapter", "%s cannot scan: %s",
                    adapter->name, text);
    /* InProgress may be a session that BlueZ forgot to end: stop before the second try */
    if (adapter->scan_failures % 4 == 1) {
        struct action *action = actions_add(gateway->actions, ACTION_SCAN_STOP);
        action->op = (struct op){.peer = NO_PEER, .id = 0};
        action->adapter = adapter->id;
    }
    adapter->scan_retry_us =
        gateway_in(gateway, adapter->scan_failures < 4 ? SCAN_RETRY_MS : SCAN_SLOW_RETRY_MS);
    gateway_arm(gateway, adapter->scan_retry_us);
    if (adapter->scan_failures % 4 == 2)
        recover_begin(gateway, adapter, false, "cannot start a scan");
    for (size_t i = 0; i < gateway->n_peers; i++)
        peer_reconsider(gateway->peers[i]);
}

void scan_result(struct gateway *gateway, const struct event *event)
{
    struct adapter *adapter = adapter_find(gateway, event->adapter);

    if (!adapter || event->op.id != adapter->scan_op)
        return;
    if (adapter->scan == SCAN_STATE_STARTING && event->asked.on) {
        adapter->scan_answer_us = TIME_NEVER;
        if (event->result.status == BT_STATUS_OK) {
            bool again = adapter->scan_failures;
            adapter->scan = SCAN_STATE_ON;
            adapter->scan_failures = 0;
            for (size_t i = 0; again && i < gateway->n_peers; i++)
                peer_reconsider(gateway->peers[i]);
        } else if (adapter->scan_passive && event->result.status == BT_STATUS_NOT_SUPPORTED) {
            actions_log(gateway->actions, LOG_LEVEL_WARNING, "adapter", "%s scans actively: %s",
                        adapter->name,
                        event->result.text ? event->result.text : "BlueZ cannot scan passively");
            adapter->cannot_scan_passively = true;
            scan_forget(adapter);
        } else {
            scan_failed(gateway, adapter,
                        event->result.text ? event->result.text
                                           : bt_status_name(event->result.status));
        }
    } else if (adapter->scan == SCAN_STATE_STOPPING && !event->asked.on) {
        scan_stopped(gateway, adapter, event->result.status);
    }
    gateway->schedule = true;
}

void scan_timer(struct gateway *gateway, struct adapter *adapter)
{
    if (adapter->scan != SCAN_STATE_STARTING && adapter->scan != SCAN_STATE_STOPPING)
        return;
    if (adapter->scan_answer_us > gateway->now.mono_us)
        gateway_arm(gateway, adapter->scan_answer_us);
    else if (adapter->scan == SCAN_STATE_STARTING)
        scan_failed(gateway, adapter, "no answer");
    else
        scan_stopped(gateway, adapter, BT_STATUS_TIMEOUT);
}
