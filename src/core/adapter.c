/*
 * Adapters: which one is used, its power, its scan, and the connector. One Connect at a time per
 * adapter (a second LE Create Connection would fail in the kernel): the token goes to peers that
 * were heard, first come first served; a blind attempt (the peer's object is known, but it was not
 * heard) waits until nobody else wants the token and gives way when somebody does. The scan is on
 * while somebody is missing, but pauses for a Connect to a peer that was heard: an active scan
 * reports a peer once in 10.24 s, and the kernel connects on a report, so that on Linux 6.1 a
 * Connect during it was seen to take 5 to 14 s, and 0.3 to 0.5 s without it. A blind attempt leaves
 * it on: the first report of the peer connects, and others can be heard.
 */
#include "core/world.h"

#include <stdio.h>
#include <string.h>

struct adapter *adapter_find(struct gateway *gateway, uint32_t id)
{
    for (size_t i = 0; id && i < MAX_ADAPTERS; i++)
        if (gateway->adapters[i].id == id)
            return &gateway->adapters[i];
    return NULL;
}

static bool selected(const struct gateway *gateway, const struct adapter *adapter)
{
    const struct bluetooth_settings *settings = &gateway->settings->bluetooth;

    if (!settings->n_adapters)
        return true;
    for (size_t i = 0; i < settings->n_adapters; i++) {
        const struct adapter_selector *selector = &settings->adapters[i];

        if (selector->name ? strcmp(selector->name, adapter->name) == 0
                           : bt_address_equal(&selector->address, &adapter->address))
            return true;
    }
    return false;
}

/* "hci2" before "hci10" */
static int compare_names(const char *a, const char *b)
{
    size_t la = strlen(a), lb = strlen(b);

    return la != lb ? (la < lb ? -1 : 1) : strcmp(a, b);
}

/* One adapter for now: the one in use if it still works, else a powered one, else the first by
 * name. */
static void choose(struct gateway *gateway)
{
    struct adapter *best = NULL;

    for (size_t i = 0; i < MAX_ADAPTERS; i++) {
        struct adapter *adapter = &gateway->adapters[i];

        if (!adapter->id || !selected(gateway, adapter))
            continue;
        if (adapter->used && adapter->powered)
            return;
        if (!best || (adapter->powered && !best->powered) ||
            (adapter->powered == best->powered && compare_names(adapter->name, best->name) < 0))
            best = adapter;
    }
    if (!best || best->used)
        return;
    for (size_t i = 0; i < MAX_ADAPTERS; i++)
        gateway->adapters[i].used = false;
    best->used = true;
    actions_log(gateway->actions, LOG_LEVEL_INFO, "adapter", "using %s", best->name);
}

static void scan_forgotten(struct adapter *adapter)
{
    adapter->scan = SCAN_STATE_OFF;
    adapter->scan_idle_us = TIME_NEVER;
    adapter->scan_answer_us = TIME_NEVER;
}

void adapter_changed(struct gateway *gateway, const struct adapter_info *info)
{
    struct adapter *adapter = adapter_find(gateway, info->adapter);

    for (size_t i = 0; !adapter && i < MAX_ADAPTERS; i++)
        if (!gateway->adapters[i].id) {
            adapter = &gateway->adapters[i];
            *adapter = (struct adapter){.id = info->adapter,
                                        .connector = NO_PEER,
                                        .power_wanted = gateway->settings->bluetooth.power_on};
            scan_forgotten(adapter);
        }
    if (!adapter) {
        actions_log(gateway->actions, LOG_LEVEL_WARNING, "adapter",
                    "%s ignored: more than %d adapters", info->name, MAX_ADAPTERS);
        return;
    }
    bool shown = adapter->powered != info->powered || !info->name ||
                 strcmp(adapter->name, info->name) != 0 ||
                 !bt_address_equal(&adapter->address, &info->address);
    adapter->address = info->address;
    snprintf(adapter->name, sizeof(adapter->name), "%s", info->name ? info->name : "");
    if (adapter->powered && !info->powered) {
        scan_forgotten(adapter); /* discovery sessions do not survive a power off */
        adapter->scan_failures = 0;
        adapter->scan_retry_us = 0;
    }
    if (info->powered) /* from now on who switches it off means it */
        adapter->blocked = adapter->power_wanted = false;
    adapter->powered = info->powered;
    if (adapter->scan == SCAN_STATE_ON && adapter->discovering && !info->discovering) {
        scan_forgotten(adapter); /* stopped unasked: once more, in a moment */
        adapter->scan_retry_us = gateway_in(gateway, SCAN_RETRY_MS);
        gateway_arm(gateway, adapter->scan_retry_us);
    }
    adapter->discovering = info->discovering;
    choose(gateway);
    gateway->schedule = true;
    /* scanning goes on and off with every Connect, and `info` does not show it */
    gateway->bridge_dirty |= shown;
    for (size_t i = 0; i < gateway->n_peers; i++)
        peer_reconsider(gateway->peers[i]);
}

static void forget_adapter(struct gateway *gateway, struct adapter *adapter)
{
    uint32_t id = adapter->id;

    *adapter = (struct adapter){.connector = NO_PEER};
    for (size_t i = 0; i < gateway->n_peers; i++)
        for (size_t j = 0; j < MAX_ADAPTERS; j++)
            if (gateway->peers[i]->sightings[j].device &&
                gateway->peers[i]->sightings[j].adapter == id)
                peer_device_gone(gateway->peers[i], gateway->peers[i]->sightings[j].device);
}

void adapter_gone(struct gateway *gateway, uint32_t id)
{
    struct adapter *adapter = adapter_find(gateway, id);

    if (!adapter)
        return;
    actions_log(gateway->actions, LOG_LEVEL_WARNING, "adapter", "%s is gone", adapter->name);
    forget_adapter(gateway, adapter);
    choose(gateway);
    for (size_t i = 0; i < gateway->n_peers; i++)
        peer_reconsider(gateway->peers[i]);
    gateway->schedule = gateway->bridge_dirty = true;
}

void adapter_all_gone(struct gateway *gateway)
{
    for (size_t i = 0; i < MAX_ADAPTERS; i++)
        gateway->adapters[i] = (struct adapter){.connector = NO_PEER};
}

/* ---- power ---- */

static void power(struct gateway *gateway, struct adapter *adapter)
{
    if (adapter->powered || !adapter->power_wanted)
        return;
    if (adapter->power_retry_us > gateway->now.mono_us) {
        gateway_arm(gateway, adapter->power_retry_us);
        return;
    }
    struct action *action = actions_add(gateway->actions, ACTION_POWER);
    action->op = (struct op){.peer = NO_PEER, .id = gateway_next_op(gateway)};
    action->adapter = adapter->id;
    action->power.on = true;
    adapter->power_retry_us = gateway_in(gateway, POWER_RETRY_MS);
    gateway_arm(gateway, adapter->power_retry_us);
}

void adapter_power_result(struct gateway *gateway, const struct event *event)
{
    struct adapter *adapter = adapter_find(gateway, event->adapter);

    if (!adapter || event->result.status == BT_STATUS_OK)
        return;
    bool blocked = event->result.status == BT_STATUS_BLOCKED;
    if (blocked != adapter->blocked || !blocked)
        actions_log(gateway->actions, LOG_LEVEL_WARNING, "adapter", "cannot switch %s on: %s%s",
                    adapter->name, event->result.text ? event->result.text : "failed",
                    blocked ? " (try: rfkill unblock bluetooth)" : "");
    adapter->blocked = blocked;
    for (size_t i = 0; i < gateway->n_peers; i++)
        peer_reconsider(gateway->peers[i]);
}

/* ---- scan ---- */

static bool somebody_is_missing(const struct gateway *gateway)
{
    for (size_t i = 0; i < gateway->n_peers; i++)
        if ((peer_wants_link(gateway->peers[i]) && !gateway->peers[i]->link_up) ||
            contact_listens(gateway->peers[i]))
            return true;
    return false;
}

static void scan_ask(struct gateway *gateway, struct adapter *adapter, bool on)
{
    struct action *action =
        actions_add(gateway->actions, on ? ACTION_SCAN_START : ACTION_SCAN_STOP);

    action->op = (struct op){.peer = NO_PEER, .id = gateway_next_op(gateway)};
    action->adapter = adapter->id;
    adapter->scan = on ? SCAN_STATE_STARTING : SCAN_STATE_STOPPING;
    adapter->scan_op = action->op.id;
    adapter->scan_answer_us = gateway_in(gateway, SCAN_ANSWER_MS);
    gateway_arm(gateway, adapter->scan_answer_us);
}

/* a Connect to a peer that was heard is on its way */
static bool wants_quiet(const struct gateway *gateway, const struct adapter *adapter)
{
    const struct peer *holder = gateway_peer_at(gateway, adapter->connector);

    return holder && holder->state == PEER_STATE_CONNECTING && !holder->blind;
}

/* A start that is not yet answered cannot be stopped: the stop would overtake it. */
static void quiet(struct gateway *gateway, struct adapter *adapter)
{
    if (adapter->scan != SCAN_STATE_ON)
        return;
    if (adapter->scan_retry_us > gateway->now.mono_us)
        gateway_arm(gateway, adapter->scan_retry_us);
    else
        scan_ask(gateway, adapter, false);
}

static void scan(struct gateway *gateway, struct adapter *adapter)
{
    uint64_t now = gateway->now.mono_us;

    if (wants_quiet(gateway, adapter)) {
        adapter->scan_idle_us = TIME_NEVER;
        quiet(gateway, adapter);
    } else if (somebody_is_missing(gateway)) {
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
            quiet(gateway, adapter);
    }
}

/* The stop was answered, or will not be any more. */
static void scan_stopped(struct gateway *gateway, struct adapter *adapter, enum bt_status status)
{
    bool busy = status == BT_STATUS_IN_PROGRESS;

    scan_forgotten(adapter);
    if (!busy && (status == BT_STATUS_OK || !adapter->discovering))
        return;
    adapter->scan = SCAN_STATE_ON; /* it goes on: once more, later */
    adapter->scan_retry_us = gateway_in(gateway, busy ? SCAN_RETRY_MS : SCAN_SLOW_RETRY_MS);
    gateway_arm(gateway, adapter->scan_retry_us);
}

static void scan_failed(struct gateway *gateway, struct adapter *adapter, const char *text)
{
    scan_forgotten(adapter);
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
    for (size_t i = 0; i < gateway->n_peers; i++)
        peer_reconsider(gateway->peers[i]);
}

void adapter_scan_result(struct gateway *gateway, const struct event *event)
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

/* ---- the connector ---- */

static bool takes_link(const struct peer *peer, uint32_t adapter)
{
    /* a Connect on its way takes one, too */
    if (peer->adapter == adapter && (peer->link_up || peer->state == PEER_STATE_CONNECTING ||
                                     peer->state == PEER_STATE_DISCONNECTING))
        return true;
    /* one that a Disconnect could not end, or that nobody here wanted */
    for (size_t i = 0; i < MAX_ADAPTERS; i++)
        if (peer->sightings[i].adapter == adapter && peer->sightings[i].connected)
            return true;
    return false;
}

size_t adapter_count_links(const struct gateway *gateway, uint32_t adapter)
{
    size_t n = 0;

    for (size_t i = 0; i < gateway->n_peers; i++)
        n += takes_link(gateway->peers[i], adapter);
    return n;
}

/* Heard ones first, in the order in which they became ready; then blind ones, likewise. */
static struct peer *next_peer(struct gateway *gateway, uint32_t adapter, bool heard)
{
    struct peer *best = NULL;

    for (size_t i = 0; i < gateway->n_peers; i++) {
        struct peer *peer = gateway->peers[i];
        bool fits = heard ? peer->state == PEER_STATE_READY
                          : peer->state == PEER_STATE_ABSENT && peer_wants_link(peer) &&
                                peer->blind_us <= gateway->now.mono_us;

        if (!fits || !peer_best_sighting(peer, adapter, heard))
            continue;
        /* somebody who waits for an answer goes before the rest */
        bool asked = peer->ops || peer->sequences;
        bool best_asked = best && (best->ops || best->sequences);
        if (!best || asked > best_asked || (asked == best_asked && peer->since_us < best->since_us))
            best = peer;
    }
    return best;
}

static void connect_next(struct gateway *gateway, struct adapter *adapter)
{
    struct peer *holder = gateway_peer_at(gateway, adapter->connector);
    bool full =
        adapter_count_links(gateway, adapter->id) >= gateway->settings->bluetooth.connections;
    struct peer *heard = next_peer(gateway, adapter->id, true);

    if (holder) {
        if (heard && holder->blind && holder->state == PEER_STATE_CONNECTING && !holder->link_up)
            peer_give_way(holder);
        return;
    }
    if (full)
        return; /* peer_reconsider() says so */
    struct peer *peer = heard ? heard : next_peer(gateway, adapter->id, false);
    if (!peer)
        return;
    adapter->connector = peer->index;
    if (heard)
        quiet(gateway, adapter); /* before the Connect, see above */
    peer_connect(peer, peer_best_sighting(peer, adapter->id, heard != NULL), heard == NULL);
}

void adapter_release(struct gateway *gateway, struct peer *peer)
{
    for (size_t i = 0; i < MAX_ADAPTERS; i++)
        if (gateway->adapters[i].id && gateway->adapters[i].connector == peer->index) {
            gateway->adapters[i].connector = NO_PEER;
            gateway->schedule = true;
        }
}

void adapter_schedule(struct gateway *gateway)
{
    if (!gateway->bluez_up)
        return;
    for (size_t i = 0; i < MAX_ADAPTERS; i++) {
        struct adapter *adapter = &gateway->adapters[i];

        if (!adapter->id || !adapter->used)
            continue;
        power(gateway, adapter);
        if (!adapter->powered)
            continue;
        connect_next(gateway, adapter);
        scan(gateway, adapter);
    }
    /* what the others wait for may be something else now */
    for (size_t i = 0; i < gateway->n_peers; i++)
        if (gateway->peers[i]->state == PEER_STATE_READY)
            peer_reconsider(gateway->peers[i]);
}

void adapter_timer(struct gateway *gateway)
{
    uint64_t now = gateway->now.mono_us;

    for (size_t i = 0; i < MAX_ADAPTERS; i++) {
        struct adapter *adapter = &gateway->adapters[i];

        if (!adapter->id)
            continue;
        if (adapter->scan == SCAN_STATE_STARTING || adapter->scan == SCAN_STATE_STOPPING) {
            if (adapter->scan_answer_us > now)
                gateway_arm(gateway, adapter->scan_answer_us);
            else if (adapter->scan == SCAN_STATE_STARTING)
                scan_failed(gateway, adapter, "no answer");
            else
                scan_stopped(gateway, adapter, BT_STATUS_TIMEOUT);
        }
    }
    gateway->schedule = true; /* arms the retries of power, scan and blind attempts */
}

enum reason adapter_trouble(const struct gateway *gateway, char *why, size_t size)
{
    const struct adapter *adapter = NULL;

    if (!gateway->bluez_up) {
        const char *text = gateway->bluez_text;
        switch ((int)gateway->bluez_reason) {
        case REASON_STARTING: snprintf(why, size, "the gateway is starting"); break;
        case REASON_NO_BUS:
            snprintf(why, size, "no connection to the D-Bus system bus%s%s", *text ? ": " : "",
                     text);
            break;
        case REASON_ACCESS_DENIED:
            snprintf(why, size, "D-Bus refuses access to BlueZ%s%s", *text ? ": " : "", text);
            break;
        default:
            snprintf(why, size, "bluetoothd is not running (no org.bluez on the system bus)");
            break;
        }
        return gateway->bluez_reason;
    }
    for (size_t i = 0; i < MAX_ADAPTERS; i++)
        if (gateway->adapters[i].id && gateway->adapters[i].used)
            adapter = &gateway->adapters[i];
    if (!adapter) {
        snprintf(why, size, "no Bluetooth adapter%s",
                 gateway->settings->bluetooth.n_adapters ? " that the configuration names" : "");
        return REASON_NO_ADAPTER;
    }
    if (!adapter->powered) {
        snprintf(why, size,
                 adapter->blocked
                     ? "adapter %s is blocked by rfkill (try: rfkill unblock bluetooth)"
                     : "adapter %s is switched off",
                 adapter->name);
        return adapter->blocked ? REASON_RFKILL : REASON_ADAPTER_OFF;
    }
    if (adapter->scan_failures) {
        snprintf(why, size, "adapter %s cannot scan: %s", adapter->name, adapter->scan_text);
        return REASON_SCAN_FAILED;
    }
    return REASON_OK;
}
