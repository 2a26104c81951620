/*
 * Discovery on an adapter of the played org.bluez: who scans, with which filter. Per client, as
 * BlueZ has it. See service_private.h. Must not know what happens to what is found.
 */
#include "sim/service_private.h"

#include "util/cleanup.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct sim_hci *hci_of(struct sim_object *o)
{
    return (struct sim_hci *)o;
}

/* ---- scanners ---- */

static void clear_filter(struct sim_discovery_filter *filter)
{
    free(filter->uuids);
    free(filter->pattern);
    *filter = (struct sim_discovery_filter){.rssi = SIM_ANY_RSSI};
}

static struct sim_scanner *find_scanner(struct sim_hci *hci, const char *owner)
{
    struct sim_scanner *s;

    LL_FOREACH (hci->scanners, s)
        if (strcmp(s->owner, owner) == 0)
            return s;
    return NULL;
}

static struct sim_scanner *get_scanner(struct sim_hci *hci, const char *owner)
{
    struct sim_scanner *s = find_scanner(hci, owner);

    if (s)
        return s;
    s = calloc(1, sizeof(*s));
    if (!s)
        return NULL;
    s->owner = strdup(owner);
    if (!s->owner) {
        free(s);
        return NULL;
    }
    s->filter.rssi = SIM_ANY_RSSI;
    LL_APPEND(hci->scanners, s);
    return s;
}

static void free_scanner(struct sim_hci *hci, struct sim_scanner *s)
{
    LL_DELETE(hci->scanners, s);
    clear_filter(&s->filter);
    free(s->owner);
    free(s);
}

static bool anybody_scans(struct sim_hci *hci)
{
    struct sim_scanner *s;

    LL_FOREACH (hci->scanners, s)
        if (s->scanning)
            return true;
    return false;
}

bool sim_hci_has_filter(const struct sim_hci *hci)
{
    struct sim_scanner *s;

    LL_FOREACH (hci->scanners, s)
        if (s->scanning && s->filtered)
            return true;
    return false;
}

bool sim_hci_wants_duplicates(const struct sim_hci *hci)
{
    struct sim_scanner *s;

    LL_FOREACH (hci->scanners, s)
        if (s->scanning && s->filter.duplicate_data)
            return true;
    return false;
}

static bool filter_matches(const struct sim_discovery_filter *f, const struct sim_peripheral *p,
                           int rssi)
{
    char address[BT_ADDRESS_TEXT_SIZE];
    bool match = f->n_uuids == 0;

    for (size_t i = 0; i < f->n_uuids && !match; i++)
        for (size_t k = 0; k < p->n_advertised && !match; k++)
            match = bt_uuid_equal(&f->uuids[i], &p->advertised[k]);
    if (!match || (f->rssi != SIM_ANY_RSSI && rssi < f->rssi))
        return false;
    if (!f->pattern)
        return true;
    bt_address_format(&p->address, address);
    return strncmp(address, f->pattern, strlen(f->pattern)) == 0 ||
           (p->name && strncmp(p->name, f->pattern, strlen(f->pattern)) == 0);
}

bool sim_hci_wants(struct sim_hci *hci, const struct sim_peripheral *p, int rssi)
{
    struct sim_scanner *s;

    LL_FOREACH (hci->scanners, s)
        if (s->scanning && filter_matches(&s->filter, p, rssi))
            return true;
    return false;
}

/* The last scanner stopped: BlueZ forgets how strong its devices were, and those that nobody could
 * connect to. */
void sim_hci_stop_discovering(struct sim_hci *hci)
{
    for (size_t i = 0; i < hci->bluez->world->n_peripherals; i++) {
        struct sim_device *d = hci->devices[i];

        if (!d)
            continue;
        sim_device_forget_rssi(d);
        if (d->temporary && !d->connected && !d->peripheral->connectable)
            sim_device_withdraw(d, true);
    }
    hci->discovering = false;
    sim_object_changed(&hci->object, "Discovering");
    sim_hci_update_adverts(hci);
}

int sim_hci_start_discovery(struct sim_object *o, sd_bus_message *m)
{
    struct sim_hci *hci = hci_of(o);

    if (!sim_hci_is_powered(hci)) {
        sim_reply_error(o->bluez, m, BLUEZ_ERROR("NotReady"), "Resource Not Ready");
        return 0;
    }
    struct sim_scanner *s = get_scanner(hci, sim_sender(m));
    if (!s)
        return -ENOMEM;
    if (s->scanning || hci->adapter->faults & SIM_FAULT_SCAN_BUSY) {
        sim_reply_error(o->bluez, m, BLUEZ_ERROR("InProgress"), "Operation already in progress");
        return 0;
    }
    s->scanning = true;
    sim_reply_ok(o->bluez, m);
    if (!hci->discovering) {
        hci->discovering = true;
        hci->discovery_start_us = sim_bluez_now(o->bluez);
        sim_object_changed(o, "Discovering");
        sim_hci_update_adverts(hci);
    }
    return 0;
}

int sim_hci_stop_discovery(struct sim_object *o, sd_bus_message *m)
{
    struct sim_hci *hci = hci_of(o);

    if (!sim_hci_is_powered(hci)) {
        sim_reply_error(o->bluez, m, BLUEZ_ERROR("NotReady"), "Resource Not Ready");
        return 0;
    }
    struct sim_scanner *s = find_scanner(hci, sim_sender(m));
    if (!s || !s->scanning) {
        sim_reply_error(o->bluez, m, BLUEZ_ERROR("Failed"), "No discovery started");
        return 0;
    }
    sim_reply_ok(o->bluez, m);
    s->scanning = false;
    if (!s->filtered)
        free_scanner(hci, s);
    if (!anybody_scans(hci))
        sim_hci_stop_discovering(hci);
    return 0;
}

void sim_hci_scanner_vanished(struct sim_hci *hci, const char *owner)
{
    struct sim_scanner *s = find_scanner(hci, owner);

    if (!s)
        return;
    bool scanned = s->scanning;
    free_scanner(hci, s);
    if (scanned && !anybody_scans(hci))
        sim_hci_stop_discovering(hci);
}

void sim_hci_forget_scanners(struct sim_hci *hci)
{
    while (hci->scanners)
        free_scanner(hci, hci->scanners);
}

/* ---- filters ---- */

static int read_filter_uuids(sd_bus_message *m, struct sim_discovery_filter *f)
{
    const char *text;
    int r = sd_bus_message_enter_container(m, 'a', "s");

    while (r >= 0 && (r = sd_bus_message_read(m, "s", &text)) > 0) {
        struct bt_uuid *more = realloc(f->uuids, (f->n_uuids + 1) * sizeof(*more));

        if (!more)
            return -ENOMEM;
        f->uuids = more;
        /* BlueZ also takes "180d" and "0x180d" */
        char short_form[16];
        snprintf(short_form, sizeof(short_form), "0x%.8s", text);
        if (bt_uuid_parse(text, &f->uuids[f->n_uuids]) < 0 &&
            (strlen(text) > 8 || bt_uuid_parse(short_form, &f->uuids[f->n_uuids]) < 0))
            return -EINVAL;
        f->n_uuids++;
    }
    return r < 0 ? r : sd_bus_message_exit_container(m);
}

/* the keys, and since when */
static const struct {
    const char *name;
    unsigned since;
} filter_keys[] = {
    {"UUIDs", 0},           {"RSSI", 0},           {"Pathloss", 0},  {"Transport", 0},
    {"DuplicateData", 547}, {"Discoverable", 551}, {"Pattern", 554},
};

static bool knows_key(const struct sim_bluez *b, const char *key)
{
    for (size_t i = 0; i < ARRAY_SIZE(filter_keys); i++)
        if (strcmp(filter_keys[i].name, key) == 0)
            return sim_since(b, filter_keys[i].since);
    return false;
}

static int read_filter_value(sd_bus_message *m, const char *key, const char *type,
                             struct sim_discovery_filter *f)
{
    const char *text;
    int16_t rssi;
    uint16_t pathloss;
    int flag, r;

    if (strcmp(key, "UUIDs") == 0 && strcmp(type, "as") == 0)
        return read_filter_uuids(m, f);
    if (strcmp(key, "RSSI") == 0 && strcmp(type, "n") == 0) {
        r = sd_bus_message_read(m, "n", &rssi);
        if (r < 0 || rssi > 20 || rssi < -127)
            return -EINVAL;
        f->rssi = rssi;
        return 0;
    }
    if (strcmp(key, "Pathloss") == 0 && strcmp(type, "q") == 0)
        return sd_bus_message_read(m, "q", &pathloss);
    if (strcmp(key, "Transport") == 0 && strcmp(type, "s") == 0) {
        r = sd_bus_message_read(m, "s", &text);
        return r < 0 || (strcmp(text, "le") != 0 && strcmp(text, "auto") != 0 &&
                         strcmp(text, "bredr") != 0)
                   ? -EINVAL
                   : 0;
    }
    if (strcmp(key, "DuplicateData") == 0 && strcmp(type, "b") == 0) {
        r = sd_bus_message_read(m, "b", &flag);
        f->duplicate_data = r >= 0 && flag;
        return r;
    }
    if (strcmp(key, "Discoverable") == 0 && strcmp(type, "b") == 0)
        return sd_bus_message_read(m, "b", &flag);
    if (strcmp(key, "Pattern") == 0 && strcmp(type, "s") == 0) {
        r = sd_bus_message_read(m, "s", &text);
        if (r < 0)
            return r;
        free(f->pattern);
        f->pattern = strdup(text);
        return f->pattern ? 0 : -ENOMEM;
    }
    return -EINVAL;
}

/* *ret_empty: {} takes the filter away */
static int read_filter(struct sim_bluez *b, sd_bus_message *m, struct sim_discovery_filter *f,
                       bool *ret_empty)
{
    const char *key, *type;
    int r = sd_bus_message_enter_container(m, 'a', "{sv}");

    *ret_empty = true;
    while (r >= 0 && (r = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
        *ret_empty = false;
        r = sd_bus_message_read(m, "s", &key);
        if (r >= 0)
            r = sd_bus_message_peek_type(m, NULL, &type);
        if (r >= 0)
            r = sd_bus_message_enter_container(m, 'v', type);
        if (r >= 0)
            r = knows_key(b, key) ? read_filter_value(m, key, type, f) : -EINVAL;
        if (r >= 0)
            r = sd_bus_message_exit_container(m);
        if (r >= 0)
            r = sd_bus_message_exit_container(m);
    }
    return r;
}

int sim_hci_set_discovery_filter(struct sim_object *o, sd_bus_message *m)
{
    struct sim_hci *hci = hci_of(o);
    struct sim_discovery_filter filter = {.rssi = SIM_ANY_RSSI};
    bool empty;

    if (!sim_hci_is_powered(hci)) {
        sim_reply_error(o->bluez, m, BLUEZ_ERROR("NotReady"), "Resource Not Ready");
        return 0;
    }
    int r = hci->adapter->faults & SIM_FAULT_FILTER_REFUSED
                ? -EINVAL
                : read_filter(o->bluez, m, &filter, &empty);
    struct sim_scanner *s = r < 0 ? NULL : get_scanner(hci, sim_sender(m));
    if (!s) {
        clear_filter(&filter);
        return r < 0 ? r : -ENOMEM;
    }
    clear_filter(&s->filter);
    s->filter = filter;
    s->filtered = !empty;
    if (empty && !s->scanning)
        free_scanner(hci, s);
    sim_reply_ok(o->bluez, m);
    return 0;
}

int sim_hci_get_discovery_filters(struct sim_object *o, sd_bus_message *m)
{
    sd_bus_message *reply = NULL;
    int r = sd_bus_message_new_method_return(m, &reply);

    if (r >= 0)
        r = sd_bus_message_open_container(reply, 'a', "s");
    for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(filter_keys); i++)
        if (sim_since(o->bluez, filter_keys[i].since))
            r = sd_bus_message_append(reply, "s", filter_keys[i].name);
    if (r >= 0)
        r = sd_bus_message_close_container(reply);
    if (r < 0) {
        sd_bus_message_unref(reply);
        return r;
    }
    sim_reply(o->bluez, reply);
    return 0;
}
