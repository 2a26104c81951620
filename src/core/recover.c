/*
 * Adapters that hang: a scan that hears nobody, a scan that cannot be started, a Connect that times
 * out for one peer after the other. First the scan is restarted, then, where `bluetooth.reset`
 * allows it, the adapter is switched off and on: never more often than every RECOVER_AGAIN_MS, and
 * ever more rarely while that changes nothing, for it may be that there is simply nobody to be
 * heard. Times during which a Connect is pending do not count as silence: the kernel scans as it
 * needs then.
 */
#include "core/world.h"

#include <stdio.h>

/* ---- off and on ---- */

static size_t own_links(const struct gateway *gateway, uint32_t adapter)
{
    size_t n = 0;

    for (size_t i = 0; i < gateway->n_peers; i++)
        n += gateway->peers[i]->link_up && gateway->peers[i]->adapter == adapter;
    return n;
}

/* NULL: it may be switched off and on now */
static const char *forbidden(const struct gateway *gateway, const struct adapter *adapter,
                             bool weak)
{
    size_t own = own_links(gateway, adapter->id);

    switch (gateway->settings->bluetooth.reset) {
    case RESET_POLICY_NEVER: return "bluetooth.reset is never";
    case RESET_POLICY_WHEN_ALONE:
        if (adapter->links > own)
            return "bluetooth.reset is when_alone, and other programs have connections there";
        break;
    case RESET_POLICY_ALWAYS: break;
    }
    return weak && own ? "it has connections that work" : NULL;
}

bool recover_begin(struct gateway *gateway, struct adapter *adapter, bool weak, const char *cause)
{
    if (adapter->recover || adapter->recover_next_us > gateway->now.mono_us ||
        !adapter_works(adapter))
        return false;
    if (adapter->heard)
        adapter->recoveries = 0;
    adapter->recover_next_us =
        gateway_in(gateway, (uint64_t)RECOVER_AGAIN_MS
                                << MIN_OF(adapter->recoveries, (unsigned)RECOVER_DOUBLINGS));
    adapter->recoveries++;
    adapter->heard = false;
    const char *not = forbidden(gateway, adapter, weak);
    if (not ) {
        gateway->counts.adapter_resets_refused++;
        status_adapter_event(gateway, adapter, LOG_LEVEL_WARNING, "adapter_reset_refused",
                             "%s; it is not switched off and on: %s", cause, not );
        return false;
    }
    gateway->counts.adapter_resets++;
    status_adapter_event(gateway, adapter, LOG_LEVEL_WARNING, "adapter_reset",
                         "%s: it is switched off and on", cause);
    adapter->recover = RECOVER_STATE_OFF;
    adapter->recover_us = gateway_in(gateway, RECOVER_ANSWER_MS);
    gateway_arm(gateway, adapter->recover_us);
    adapter_power(gateway, adapter, false);
    adapter_reconsider(gateway);
    return true;
}

static void ended(struct gateway *gateway, struct adapter *adapter)
{
    adapter->recover = RECOVER_STATE_NONE;
    adapter->silence = 0;
    adapter->silent_us = 0;
    adapter->n_timed_out = 0;
    adapter->timed_out_before = false;
    gateway->schedule = true;
    adapter_choose(gateway); /* `auto` may take another one now */
    adapter_reconsider(gateway);
}

void recover_powered(struct gateway *gateway, struct adapter *adapter)
{
    if (!adapter->recover)
        return;
    if (adapter->powered) {
        status_adapter_event(gateway, adapter, LOG_LEVEL_INFO, "adapter_on",
                             "is on again after it was switched off and on");
        ended(gateway, adapter);
        return;
    }
    adapter->recover = RECOVER_STATE_PAUSE;
    adapter->recover_us = gateway_in(gateway, RECOVER_PAUSE_MS);
    gateway_arm(gateway, adapter->recover_us);
}

/* It stays as it is. What we switched off we go on trying to switch on. */
void recover_power_failed(struct gateway *gateway, struct adapter *adapter, const char *text)
{
    bool off = adapter->recover == RECOVER_STATE_OFF;

    if (adapter->recover == RECOVER_STATE_PAUSE)
        return; /* it is off: a late word */
    status_adapter_event(gateway, adapter, LOG_LEVEL_ERROR, "adapter_reset_failed",
                         off ? "could not be switched off (%s): it may have to be replugged"
                             : "could not be switched on again (%s); trying on",
                         text);
    adapter->power_wanted = !off;
    adapter->power_retry_us = gateway_in(gateway, POWER_RETRY_MS);
    ended(gateway, adapter);
}

static void timer_recover(struct gateway *gateway, struct adapter *adapter)
{
    if (!adapter->recover)
        return;
    if (adapter->recover_us > gateway->now.mono_us) {
        gateway_arm(gateway, adapter->recover_us);
        return;
    }
    if (adapter->recover != RECOVER_STATE_PAUSE) {
        recover_power_failed(gateway, adapter, "no answer");
        return;
    }
    adapter->recover = RECOVER_STATE_ON;
    adapter->recover_us = gateway_in(gateway, RECOVER_ANSWER_MS);
    gateway_arm(gateway, adapter->recover_us);
    adapter_power(gateway, adapter, true);
}

void recover_gone(struct gateway *gateway, const struct adapter *adapter)
{
    size_t place = 0;

    if (adapter->recover_next_us <= gateway->now.mono_us)
        return;
    for (size_t i = 0; i < MAX_ADAPTERS; i++) {
        if (bt_address_equal(&gateway->recovered[i].address, &adapter->address)) {
            place = i;
            break;
        }
        if (gateway->recovered[i].next_us < gateway->recovered[place].next_us)
            place = i;
    }
    gateway->recovered[place].address = adapter->address;
    gateway->recovered[place].next_us = adapter->recover_next_us;
    gateway->recovered[place].recoveries = adapter->recoveries;
}

void recover_back(struct gateway *gateway, struct adapter *adapter)
{
    for (size_t i = 0; i < MAX_ADAPTERS; i++) {
        if (!bt_address_equal(&gateway->recovered[i].address, &adapter->address) ||
            gateway->recovered[i].next_us <= adapter->recover_next_us)
            continue;
        adapter->recover_next_us = gateway->recovered[i].next_us;
        adapter->recoveries = gateway->recovered[i].recoveries;
    }
}

/* ---- silence ---- */

static uint64_t silent_for(const struct gateway *gateway, const struct adapter *adapter)
{
    return adapter->silent_us +
           (adapter->listens_us ? gateway->now.mono_us - adapter->listens_us : 0);
}

void recover_watch(struct gateway *gateway, struct adapter *adapter)
{
    bool listens =
        adapter_works(adapter) && adapter->scan == SCAN_STATE_ON && adapter->connector == NO_PEER;

    if (listens == (adapter->listens_us != 0))
        return;
    adapter->silent_us = silent_for(gateway, adapter);
    adapter->listens_us = listens ? gateway->now.mono_us : 0;
    if (listens)
        recover_timer(gateway, adapter);
}

void recover_heard(struct gateway *gateway, struct adapter *adapter)
{
    adapter->silent_us = 0;
    adapter->heard = true;
    if (adapter->listens_us)
        adapter->listens_us = gateway->now.mono_us;
    if (!adapter->silence)
        return;
    adapter->silence = 0;
    actions_log(gateway->actions, LOG_LEVEL_INFO, "adapter", "%s hears somebody again",
                adapter->name);
    adapter_reconsider(gateway);
}

bool recover_is_deaf(const struct peer *peer)
{
    bool deaf = false;

    for (size_t i = 0; i < MAX_ADAPTERS; i++) {
        const struct adapter *adapter = &peer->gateway->adapters[i];

        if (!adapter_works(adapter) || !adapter_serves(peer, adapter))
            continue;
        if (!adapter->silence)
            return false;
        deaf = true;
    }
    return deaf;
}

static void restart_scan(struct gateway *gateway, struct adapter *adapter, const char *cause)
{
    gateway->counts.scan_restarts++;
    status_adapter_event(gateway, adapter, LOG_LEVEL_WARNING, "scan_restarted",
                         "%s: its scan is restarted", cause);
    scan_pause(gateway, adapter); /* it starts again by itself */
}

static void act_on_silence(struct gateway *gateway, struct adapter *adapter)
{
    switch (adapter->silence) {
    case 0:
        adapter->silence = 1;
        restart_scan(gateway, adapter, "has heard nobody for 90 s");
        adapter_reconsider(gateway);
        break;
    case 1:
        adapter->silence = 2;
        recover_begin(gateway, adapter, true, "hears nobody (or is nobody there?)");
        break;
    default: /* once more from the start, but what is said of it stays */
        adapter->silence = 1;
        adapter->silent_us = 0;
        adapter->listens_us = gateway->now.mono_us;
        restart_scan(gateway, adapter, "still hears nobody");
        break;
    }
}

/* when the next step is due */
static uint64_t silence_due(const struct gateway *gateway, const struct adapter *adapter)
{
    uint64_t silent = silent_for(gateway, adapter);
    uint64_t limit = MS_TO_US(adapter->silence ? SILENT_RECOVER_MS : SILENT_RESTART_MS);

    if (adapter->silence > 1)
        return adapter->recover_next_us;
    return gateway->now.mono_us + (limit > silent ? limit - silent : 0);
}

static void timer_silence(struct gateway *gateway, struct adapter *adapter)
{
    if (adapter->listens_us && silence_due(gateway, adapter) <= gateway->now.mono_us)
        act_on_silence(gateway, adapter);
    if (adapter->listens_us)
        gateway_arm(gateway, silence_due(gateway, adapter));
}

void recover_timer(struct gateway *gateway, struct adapter *adapter)
{
    timer_recover(gateway, adapter);
    timer_silence(gateway, adapter);
}

/* ---- connects ---- */

void recover_linked(struct adapter *adapter)
{
    adapter->n_timed_out = 0;
    adapter->timed_out_before = false;
}

void recover_timed_out(struct peer *peer)
{
    static const char cause[] = "lets connections time out, of one device after another";
    struct gateway *gateway = peer->gateway;
    struct adapter *adapter = adapter_find(gateway, peer->adapter);

    if (!adapter)
        return;
    for (size_t i = 0; i < adapter->n_timed_out; i++)
        if (adapter->timed_out[i] == peer->index)
            return;
    adapter->timed_out[adapter->n_timed_out++] = peer->index;
    if (adapter->n_timed_out < TIMED_OUT_PEERS)
        return;
    adapter->n_timed_out = 0;
    if (adapter->timed_out_before)
        recover_begin(gateway, adapter, false, cause);
    else if (adapter->scan == SCAN_STATE_ON)
        restart_scan(gateway, adapter, cause);
    adapter->timed_out_before = true;
}
