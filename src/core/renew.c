/*
 * A peer whose settings have changed in what does not concern its link: the entries of the new file
 * take the places of the old ones, and the link, its subscriptions and what waits stay. In two
 * parts, so that the one that can fail changes nothing. Must not know why.
 */
#include "core/world.h"

#include "util/cleanup.h"
#include <stdlib.h>
#include <string.h>

#define CHANGED "the device's configuration has changed"

struct renewal {
    struct entry *entries; /* owned */
    size_t n_entries;
    struct source *sources; /* owned */
    size_t n_sources;
};

struct renewal *renewal_free(struct renewal *renewal)
{
    if (!renewal)
        return NULL;
    for (size_t i = 0; i < renewal->n_entries; i++)
        peer_entry_done(&renewal->entries[i]);
    free(renewal->entries);
    free(renewal->sources);
    free(renewal);
    return NULL;
}

int renewal_new(struct peer *peer, const struct device_settings *settings,
                struct renewal **ret_renewal)
{
    size_t n = MAX_OF(settings->n_characteristics, (size_t)1);
    struct renewal *renewal = calloc(1, sizeof(*renewal));

    if (!renewal)
        return -ENOMEM;
    renewal->n_sources = MAX_OF(peer->n_sources, n);
    renewal->entries = calloc(n, sizeof(*renewal->entries));
    renewal->sources = calloc(renewal->n_sources, sizeof(*renewal->sources));
    if (!renewal->entries || !renewal->sources) {
        renewal_free(renewal);
        return -ENOMEM;
    }
    for (size_t i = 0; i < settings->n_characteristics; i++) {
        renewal->n_entries = i + 1;
        int r = peer_entry_init(&renewal->entries[i], peer, &settings->characteristics[i]);
        if (r < 0) {
            renewal_free(renewal);
            return r;
        }
    }
    *ret_renewal = renewal;
    return 0;
}

/* ---- from the old entries to the new ones ---- */

/* the old entry of the same id, if it means the same thing at the peer; or NO_ENTRY */
static uint32_t same_entry(const struct device_settings *old,
                           const struct device_settings *settings, size_t index)
{
    const struct characteristic_settings *characteristic = &settings->characteristics[index];
    size_t of = device_settings_characteristic_of(settings, index);
    size_t same = device_settings_find_same(old, &settings->characteristics[of]);
    size_t found = device_settings_find_characteristic(old, characteristic->id);

    if (found == SIZE_MAX || same == SIZE_MAX ||
        characteristic->origin != old->characteristics[found].origin ||
        device_settings_find_same(
            settings, &old->characteristics[device_settings_characteristic_of(old, found)]) ==
            SIZE_MAX)
        return NO_ENTRY;
    return characteristic->origin == ORIGIN_MESSAGE || found == same ? (uint32_t)found : NO_ENTRY;
}

static void carry_frame(struct entry *entry, struct entry *old)
{
    if (!entry->frame || !old->frame ||
        !frame_settings_equal(&entry->settings->frame, &old->settings->frame))
        return;
    frame_free(entry->frame);
    entry->frame = TAKE_PTR(old->frame);
    frame_move_settings(entry->frame, &entry->settings->frame);
    entry->frame_due_us = old->frame_due_us;
    entry->part_real_us = old->part_real_us;
}

static void carry(struct entry *entry, struct entry *old)
{
    entry->asked = old->asked;
    entry->echo = old->echo;
    entry->values = old->values;
    entry->malformed = old->malformed;
    entry->writes = old->writes;
    entry->frames_dropped = old->frames_dropped;
    if (entry->settings->read_every_ms == old->settings->read_every_ms)
        entry->read_due_us = old->read_due_us;
    carry_frame(entry, old);
    if (entry->known && old->known)
        SWAP(entry->known, old->known);
    if (entry->rules && old->rules) {
        rules_free(entry->rules);
        entry->rules = TAKE_PTR(old->rules);
    }
}

/* Every new entry finds its source; ids[i] is the old entry that it continues. */
static void take_over(struct peer *peer, const struct device_settings *settings,
                      const struct renewal *renewal, uint32_t *ids)
{
    for (size_t i = 0; i < renewal->n_entries; i++) {
        struct entry *entry = &renewal->entries[i];
        size_t same = device_settings_find_same(peer->settings, entry->settings);

        if (same != SIZE_MAX) { /* messages get theirs with their characteristic */
            entry->source = peer->entries[same].source;
            entry->missing = peer->entries[same].missing;
        }
        ids[i] = same_entry(peer->settings, settings, i);
        if (ids[i] != NO_ENTRY)
            carry(entry, &peer->entries[ids[i]]);
    }
}

static void renew_until(struct peer *peer, const struct device_settings *settings,
                        const uint32_t *ids)
{
    uint64_t until = 0;

    for (size_t i = 0; peer->until && i < settings->connection.n_until; i++) {
        size_t entry = settings->connection.until[i];
        if (ids[entry] == NO_ENTRY || peer->until & 1ULL << ids[entry])
            until |= 1ULL << entry;
    }
    peer->until = until;
}

/* ---- what is due ---- */

static void renew_reads(struct peer *peer, const uint32_t *ids)
{
    struct gateway *gateway = peer->gateway;
    bool held = peer->settings->connection.mode == CONNECTION_MODE_PERSISTENT;

    for (uint32_t i = 0; i < peer->n_entries; i++) {
        struct entry *entry = &peer->entries[i];
        bool on_link = peer->state == PEER_STATE_ONLINE && entry->source != NO_SOURCE;

        if (entry->settings->read_every_ms && entry->read_due_us == TIME_NEVER) {
            if (on_link)
                entry->read_due_us = gateway_in(gateway, entry->settings->read_every_ms);
            else if (!held)
                entry->read_due_us = gateway->now.mono_us;
        }
        gateway_arm(gateway, entry->read_due_us);
        if (ids[i] == NO_ENTRY && on_link && entry->settings->read_on_connect)
            ops_read(peer, i, NULL);
    }
}

static void renew_times(struct peer *peer)
{
    struct gateway *gateway = peer->gateway;
    const struct device_settings *settings = peer->settings;

    if (settings->connection.mode == CONNECTION_MODE_EVERY)
        peer->contact_due_us =
            MIN_OF(peer->contact_due_us, gateway_in(gateway, settings->connection.every_ms));
    gateway_arm(gateway, peer->contact_due_us);
    if (settings->silence_ms && peer->state == PEER_STATE_ONLINE)
        gateway_arm(gateway, peer->value_us + MS_TO_US(settings->silence_ms));
}

/* ---- the change ---- */

void renewal_commit(struct renewal *renewal, struct peer *peer,
                    const struct device_settings *settings)
{
    const struct device_settings *old = peer->settings;
    uint32_t ids[SETTINGS_MAX_CHARACTERISTICS], entries[SETTINGS_MAX_CHARACTERISTICS];

    step_cancel_all(peer, "cancelled", CHANGED); /* its steps are those of the old file */
    publish_flush(peer);
    take_over(peer, settings, renewal, ids);
    for (size_t i = 0; i < peer->n_entries; i++) {
        entries[i] = NO_ENTRY;
        for (uint32_t j = 0; j < renewal->n_entries; j++)
            if (ids[j] == i)
                entries[i] = j;
        publish_drop_frame(peer, &peer->entries[i]); /* one that was not taken over */
    }
    status_clear_entries(peer, renewal->entries, renewal->n_entries);
    ops_renew(peer, entries);
    renew_until(peer, settings, ids);
    memcpy(renewal->sources, peer->sources, peer->n_sources * sizeof(*peer->sources));
    SWAP(renewal->entries, peer->entries);
    SWAP(renewal->n_entries, peer->n_entries);
    SWAP(renewal->sources, peer->sources);
    SWAP(renewal->n_sources, peer->n_sources);
    gateway_remove_id(peer->gateway, peer); /* its key is the text in the settings */
    peer->settings = settings;
    gateway_add_id(peer->gateway, peer);
    resolve_again(peer);
    step_renew(peer, old);
    renew_times(peer);
    renew_reads(peer, ids);
    if (peer->state != PEER_STATE_ONLINE)
        return;
    ops_run(peer);
    peer_subscribe_new(peer);
    if (peer->state == PEER_STATE_ONLINE)
        step_resume(peer);
    if (peer->linger_us == TIME_NEVER) /* else it is not for this that it lingers longer */
        contact_activity(peer);
}
