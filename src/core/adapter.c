/*
 * Adapters: which ones are used and by whom, their power, and what is wrong with them. Several may
 * be used at once; each scans (scan.c) and connects (connector.c) for itself. Must not know how.
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

/* ---- which ones ---- */

static bool fits(const struct adapter_selector *selector, const struct adapter *adapter)
{
    return selector->name ? strcmp(selector->name, adapter->name) == 0
                          : bt_address_equal(&selector->address, &adapter->address);
}

static bool is_listed(const struct gateway *gateway, const struct adapter *adapter)
{
    const struct bluetooth_settings *settings = &gateway->settings->bluetooth;

    for (size_t i = 0; i < settings->n_adapters; i++)
        if (fits(&settings->adapters[i], adapter))
            return true;
    return false;
}

/* a device has it for itself */
static bool is_named(const struct gateway *gateway, const struct adapter *adapter)
{
    for (size_t i = 0; i < gateway->n_peers; i++) {
        const struct device_settings *settings = gateway->peers[i]->settings;
        if (settings->enabled && settings->adapter && fits(settings->adapter, adapter))
            return true;
    }
    return false;
}

bool adapter_serves(const struct peer *peer, const struct adapter *adapter)
{
    return adapter && adapter->id &&
           (peer->settings->adapter ? fits(peer->settings->adapter, adapter) : adapter->chosen);
}

bool adapter_works(const struct adapter *adapter)
{
    return adapter->id && adapter->used && adapter->powered && !adapter->recover;
}

/* "hci2" before "hci10" */
static int compare_names(const char *a, const char *b)
{
    size_t la = strlen(a), lb = strlen(b);

    return la != lb ? (la < lb ? -1 : 1) : strcmp(a, b);
}

/* `adapters: auto` is one: the one in use if it still works, else a powered one, else the first by
 * name. */
static const struct adapter *automatic(const struct gateway *gateway)
{
    const struct adapter *best = NULL;

    for (size_t i = 0; i < MAX_ADAPTERS; i++) {
        const struct adapter *adapter = &gateway->adapters[i];

        if (!adapter->id)
            continue;
        if (adapter->chosen && (adapter->powered || adapter->recover))
            return adapter;
        if (!best || (adapter->powered && !best->powered) ||
            (adapter->powered == best->powered && compare_names(adapter->name, best->name) < 0))
            best = adapter;
    }
    return best;
}

void adapter_choose(struct gateway *gateway)
{
    bool is_auto = !gateway->settings->bluetooth.n_adapters;
    const struct adapter *one = is_auto ? automatic(gateway) : NULL;

    for (size_t i = 0; i < MAX_ADAPTERS; i++) {
        struct adapter *adapter = &gateway->adapters[i];
        bool used = adapter->used, chosen = adapter->chosen;

        if (!adapter->id)
            continue;
        adapter->chosen = is_auto ? adapter == one : is_listed(gateway, adapter);
        adapter->used = adapter->chosen || is_named(gateway, adapter);
        if (adapter->used && !used)
            status_adapter_event(gateway, adapter, LOG_LEVEL_INFO, "adapter_used", "is used");
        /* who is linked there is not heard, and was nobody's way until now */
        if (gateway->n_unbound && ((adapter->used && !used) || (adapter->chosen && !chosen)))
            actions_add(gateway->actions, ACTION_TELL_DEVICES);
    }
}

void adapter_reconsider(struct gateway *gateway)
{
    for (size_t i = 0; i < gateway->n_peers; i++)
        peer_reconsider(gateway->peers[i]);
}

void adapter_choose_again(struct gateway *gateway)
{
    adapter_choose(gateway);
    for (size_t i = 0; i < gateway->n_peers; i++) {
        struct peer *peer = gateway->peers[i];

        if (peer->device && peer->state != PEER_STATE_DISCONNECTING &&
            !adapter_serves(peer, adapter_find(gateway, peer->adapter)))
            peer_disconnect(peer, REASON_NO_ADAPTER, false, false,
                            "its adapter is not used any more");
    }
    adapter_reconsider(gateway);
}

/* ---- coming, changing, going ---- */

static struct adapter *add(struct gateway *gateway, uint32_t id)
{
    for (size_t i = 0; i < MAX_ADAPTERS; i++)
        if (!gateway->adapters[i].id) {
            struct adapter *adapter = &gateway->adapters[i];
            *adapter = (struct adapter){.id = id,
                                        .connector = NO_PEER,
                                        .power_wanted = gateway->settings->bluetooth.power_on};
            scan_forget(adapter);
            return adapter;
        }
    return NULL;
}

/* what it heard until now */
static void forget_heard(struct gateway *gateway, uint32_t adapter)
{
    for (size_t i = 0; i < gateway->n_peers; i++)
        for (size_t j = 0; j < MAX_ADAPTERS; j++)
            if (gateway->peers[i]->sightings[j].adapter == adapter)
                gateway->peers[i]->sightings[j].heard_us = 0;
}

#define EXCUSE_MS 1000 /* a link lost so long before its adapter was lost with it */

/* The links end with an adapter, or with its power, and BlueZ says so a moment before or after:
 * that was no fault of the peers that no other adapter knows. */
static void excuse_peers(struct gateway *gateway, uint32_t id)
{
    for (size_t i = 0; i < gateway->n_peers; i++) {
        struct peer *peer = gateway->peers[i];
        bool elsewhere = false;

        for (size_t j = 0; j < MAX_ADAPTERS; j++)
            elsewhere |= peer->sightings[j].device && peer->sightings[j].adapter != id;
        if (elsewhere || peer->link_up || peer->retry_slow)
            continue;
        if (peer->failures && peer->failed_us && peer->failed_reason == REASON_LINK_LOST &&
            gateway->now.mono_us - peer->failed_us < MS_TO_US(EXCUSE_MS))
            peer->failures--;
        peer->failed_us = 0;
        peer_end_backoff(peer);
    }
}

static void switched_off(struct gateway *gateway, struct adapter *adapter)
{
    forget_heard(gateway, adapter->id);
    scan_forget(adapter); /* discovery sessions do not survive a power off */
    adapter->scan_retry_us = 0;
    if (adapter->recover)
        return; /* by us */
    adapter->scan_failures = 0;
    if (adapter->used)
        status_adapter_event(gateway, adapter, LOG_LEVEL_WARNING, "adapter_off",
                             "was switched off; waiting until somebody switches it on");
}

static void power_changed(struct gateway *gateway, struct adapter *adapter,
                          const struct adapter_info *info)
{
    bool was_on = adapter->powered;

    adapter->powered = info->powered;
    if (was_on && !info->powered)
        switched_off(gateway, adapter);
    if (!was_on && info->powered && adapter->used && !adapter->recover)
        status_adapter_event(gateway, adapter, LOG_LEVEL_INFO, "adapter_on", "is on");
    if (info->powered) /* from now on who switches it off means it */
        adapter->blocked = adapter->power_wanted = false;
    if (info->blocked != adapter->told_blocked) {
        adapter->told_blocked = adapter->blocked = info->blocked;
        adapter->power_retry_us = 0;
        if (info->blocked && adapter->used)
            status_adapter_event(gateway, adapter, LOG_LEVEL_WARNING, "adapter_blocked",
                                 "is blocked by rfkill (try: rfkill unblock bluetooth)");
    }
    if (was_on != info->powered) {
        excuse_peers(gateway, adapter->id);
        recover_powered(gateway, adapter);
    }
}

void adapter_changed(struct gateway *gateway, const struct adapter_info *info)
{
    struct adapter *adapter = adapter_find(gateway, info->adapter);
    bool is_new = !adapter;

    if (is_new)
        adapter = add(gateway, info->adapter);
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
    adapter->links = info->links;
    if (is_new)
        recover_back(gateway, adapter);
    power_changed(gateway, adapter, info);
    scan_discovering(gateway, adapter, info->discovering);
    adapter_choose(gateway);
    gateway->schedule = true;
    /* scanning goes on and off with every Connect, and `info` does not show it */
    gateway->bridge_dirty |= shown;
    adapter_reconsider(gateway);
}

static void forget_objects(struct peer *peer, uint32_t adapter)
{
    for (size_t i = 0; i < MAX_ADAPTERS; i++)
        if (peer->sightings[i].device && peer->sightings[i].adapter == adapter)
            peer_device_gone(peer, peer->sightings[i].device);
}

static void forget_adapter(struct gateway *gateway, struct adapter *adapter)
{
    uint32_t id = adapter->id;

    recover_gone(gateway, adapter);
    *adapter = (struct adapter){.connector = NO_PEER};
    for (size_t i = 0; i < gateway->n_peers; i++)
        forget_objects(gateway->peers[i], id);
    for (struct peer *peer = gateway->leaving; peer; peer = peer->next_leaving)
        forget_objects(peer, id);
}

void adapter_gone(struct gateway *gateway, uint32_t id)
{
    struct adapter *adapter = adapter_find(gateway, id);

    if (!adapter)
        return;
    status_adapter_event(gateway, adapter, LOG_LEVEL_WARNING, "adapter_gone", "is gone");
    forget_adapter(gateway, adapter);
    excuse_peers(gateway, id);
    adapter_choose(gateway);
    adapter_reconsider(gateway);
    gateway->schedule = gateway->bridge_dirty = true;
}

void adapter_all_gone(struct gateway *gateway)
{
    for (size_t i = 0; i < MAX_ADAPTERS; i++) {
        if (gateway->adapters[i].id)
            recover_gone(gateway, &gateway->adapters[i]);
        gateway->adapters[i] = (struct adapter){.connector = NO_PEER};
    }
}

/* ---- power ---- */

void adapter_power(struct gateway *gateway, struct adapter *adapter, bool on)
{
    struct action *action = actions_add(gateway->actions, ACTION_POWER);

    adapter->power_op = gateway_next_op(gateway);
    action->op = (struct op){.peer = NO_PEER, .id = adapter->power_op};
    action->adapter = adapter->id;
    action->power.on = on;
}

static void power_on(struct gateway *gateway, struct adapter *adapter)
{
    if (adapter->powered || !adapter->power_wanted || adapter->recover || adapter->told_blocked)
        return;
    if (adapter->power_retry_us > gateway->now.mono_us) {
        gateway_arm(gateway, adapter->power_retry_us);
        return;
    }
    adapter_power(gateway, adapter, true);
    adapter->power_retry_us =
        gateway_in(gateway, adapter->blocked ? POWER_BLOCKED_MS : POWER_RETRY_MS);
    gateway_arm(gateway, adapter->power_retry_us);
}

void adapter_power_result(struct gateway *gateway, const struct event *event)
{
    struct adapter *adapter = adapter_find(gateway, event->adapter);

    if (!adapter || event->op.id != adapter->power_op || event->result.status == BT_STATUS_OK)
        return;
    const char *text = event->result.text ? event->result.text : "failed";
    bool blocked = event->result.status == BT_STATUS_BLOCKED;
    if (adapter->recover)
        recover_power_failed(gateway, adapter, text);
    else if (blocked != adapter->blocked || !blocked)
        status_adapter_event(
            gateway, adapter, LOG_LEVEL_WARNING, blocked ? "adapter_blocked" : "adapter_off",
            "cannot be switched on: %s%s", text, blocked ? " (try: rfkill unblock bluetooth)" : "");
    if (adapter->powered)
        return;
    adapter->blocked = blocked;
    if (blocked)
        adapter->power_retry_us = gateway_in(gateway, POWER_BLOCKED_MS);
    adapter_reconsider(gateway);
}

/* ---- all of it ---- */

void adapter_schedule(struct gateway *gateway)
{
    if (!gateway->bluez_up)
        return;
    for (size_t i = 0; i < MAX_ADAPTERS; i++) {
        struct adapter *adapter = &gateway->adapters[i];

        if (!adapter->id)
            continue;
        if (adapter->used || adapter->recoveries) /* also one that we have switched off */
            power_on(gateway, adapter);
        if (adapter_works(adapter)) {
            connector_next(gateway, adapter);
            scan_schedule(gateway, adapter);
        } else if (!adapter->used) {
            scan_pause(gateway, adapter); /* one that was used until the file changed */
        }
        recover_watch(gateway, adapter);
    }
    /* What the others wait for may be something else now. All ask how many links there are. */
    gateway->links_stand = true;
    connector_links_changed(gateway);
    for (size_t i = 0; i < gateway->n_peers; i++)
        if (gateway->peers[i]->state == PEER_STATE_READY)
            peer_reconsider(gateway->peers[i]);
    gateway->links_stand = false;
}

void adapter_timer(struct gateway *gateway)
{
    for (size_t i = 0; i < MAX_ADAPTERS; i++)
        if (gateway->adapters[i].id) {
            scan_timer(gateway, &gateway->adapters[i]);
            recover_timer(gateway, &gateway->adapters[i]);
        }
    gateway->schedule = true; /* arms the retries of power, scan and blind attempts */
}

void adapter_stop(struct gateway *gateway)
{
    for (size_t i = 0; i < MAX_ADAPTERS; i++) {
        struct adapter *adapter = &gateway->adapters[i];

        if (adapter->id && adapter->scan != SCAN_STATE_OFF)
            actions_add(gateway->actions, ACTION_SCAN_STOP)->adapter = adapter->id;
        if (adapter->id && adapter->recover)
            adapter_power(gateway, adapter, true);
        adapter->recover = RECOVER_STATE_NONE;
    }
}

/* ---- what is wrong ---- */

enum reason adapter_bluez_trouble(const struct gateway *gateway, char *why, size_t size)
{
    const char *text = gateway->bluez_text;

    switch ((int)gateway->bluez_reason) {
    case REASON_STARTING: snprintf(why, size, "the gateway is starting"); break;
    case REASON_NO_BUS:
        snprintf(why, size, "no connection to the D-Bus system bus%s%s", *text ? ": " : "", text);
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

static enum reason trouble_of(const struct adapter *adapter, char *why, size_t size)
{
    if (adapter->recover) {
        snprintf(why, size, "adapter %s hangs; it is being switched off and on", adapter->name);
        return REASON_ADAPTER_RESET;
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

static void no_adapter(const struct gateway *gateway, const struct peer *peer, char *why,
                       size_t size)
{
    const struct adapter_selector *own = peer ? peer->settings->adapter : NULL;
    char address[BT_ADDRESS_TEXT_SIZE];

    if (!own) {
        snprintf(why, size, "no Bluetooth adapter%s",
                 gateway->settings->bluetooth.n_adapters ? " that the configuration names" : "");
        return;
    }
    bt_address_format(&own->address, address);
    snprintf(why, size, "its Bluetooth adapter %s is not there", own->name ? own->name : address);
}

/* which of two troubles is nearer to working */
static bool is_lesser(enum reason a, enum reason b)
{
    static const enum reason order[] = {REASON_SCAN_FAILED, REASON_ADAPTER_RESET,
                                        REASON_ADAPTER_OFF, REASON_RFKILL};

    for (size_t i = 0; i < ARRAY_SIZE(order); i++)
        if (a == order[i] || b == order[i])
            return a != b && a == order[i];
    return false;
}

/* `peer` NULL: of all that are used */
static enum reason trouble(const struct gateway *gateway, const struct peer *peer, char *why,
                           size_t size)
{
    enum reason reason = REASON_OK;
    size_t used = 0;

    *why = '\0';
    if (!gateway->bluez_up)
        return adapter_bluez_trouble(gateway, why, size);
    for (size_t i = 0; i < MAX_ADAPTERS; i++) {
        const struct adapter *adapter = &gateway->adapters[i];
        char text[160];

        if (peer ? !adapter_serves(peer, adapter) : !adapter->id || !adapter->used)
            continue;
        enum reason this = trouble_of(adapter, text, sizeof(text));
        if (this == REASON_OK) {
            *why = '\0';
            return REASON_OK;
        }
        if (reason == REASON_OK || is_lesser(this, reason))
            reason = this;
        int n = used < size ? snprintf(why + used, size - used, "%s%s", used ? "; " : "", text) : 0;
        used += n > 0 ? (size_t)n : 0;
    }
    if (reason != REASON_OK)
        return reason;
    no_adapter(gateway, peer, why, size);
    return REASON_NO_ADAPTER;
}

enum reason adapter_trouble(const struct peer *peer, char *why, size_t size)
{
    return trouble(peer->gateway, peer, why, size);
}

bool adapter_is_off(const struct peer *peer, char *why, size_t size)
{
    enum reason reason = adapter_trouble(peer, why, size);

    return reason == REASON_NO_ADAPTER || reason == REASON_ADAPTER_OFF || reason == REASON_RFKILL;
}

enum reason adapter_trouble_of_all(const struct gateway *gateway, char *why, size_t size)
{
    return trouble(gateway, NULL, why, size);
}
