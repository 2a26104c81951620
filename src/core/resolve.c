/*
 * A peer's GATT tree against the entries of the file: which characteristic each entry means.
 * Entries that mean the same one share a source, so that there is one subscription and one queue.
 */
#include "core/world.h"

#include <stdio.h>
#include <string.h>

#define MAX_CANDIDATES_TOLD 4

static bool fits(const struct characteristic_settings *settings,
                 const struct gatt_characteristic *characteristic)
{
    if (settings->handle)
        return settings->handle == characteristic->handle;
    return (!settings->has_service ||
            bt_uuid_equal(&settings->service, &characteristic->service)) &&
           bt_uuid_equal(&settings->uuid, &characteristic->uuid) &&
           (characteristic->flags & settings->has_flags) == settings->has_flags;
}

static void tell_ambiguous(const struct characteristic_settings *settings,
                           const struct gatt_characteristic *list, size_t n,
                           struct resolve_outcome *outcome)
{
    char uuid[BT_UUID_TEXT_SIZE];
    size_t told = 0, used;

    bt_uuid_format_short(&settings->uuid, uuid);
    used = (size_t)snprintf(outcome->why, sizeof(outcome->why),
                            "%s: the peer has %s more than once; say which by `index`, `has` or "
                            "`handle`:",
                            settings->id, uuid);
    for (size_t i = 0; i < n && told < MAX_CANDIDATES_TOLD && used < sizeof(outcome->why); i++)
        if (fits(settings, &list[i])) {
            used +=
                (size_t)snprintf(outcome->why + used, sizeof(outcome->why) - used,
                                 "%s index %zu = handle %u", told ? "," : "", told, list[i].handle);
            told++;
        }
}

static void tell_missing(const struct characteristic_settings *settings,
                         struct resolve_outcome *outcome)
{
    char uuid[BT_UUID_TEXT_SIZE], service[BT_UUID_TEXT_SIZE];

    if (settings->handle) {
        snprintf(outcome->why, sizeof(outcome->why),
                 "%s: the peer has no characteristic at handle %u", settings->id, settings->handle);
        return;
    }
    bt_uuid_format_short(&settings->uuid, uuid);
    bt_uuid_format_short(&settings->service, service);
    snprintf(outcome->why, sizeof(outcome->why), "%s: the peer has no characteristic %s%s%s",
             settings->id, uuid, settings->has_service ? " in service " : "",
             settings->has_service ? service : "");
}

/* the characteristic that the settings mean, or NULL with the outcome told (the first one only) */
static const struct gatt_characteristic *find(const struct characteristic_settings *settings,
                                              const struct gatt_characteristic *list, size_t n,
                                              struct resolve_outcome *outcome,
                                              const char **ret_missing)
{
    const struct gatt_characteristic *found = NULL;
    int32_t seen = 0;

    for (size_t i = 0; i < n; i++) {
        if (!fits(settings, &list[i]))
            continue;
        if (settings->index < 0 || settings->index == seen)
            found = &list[i];
        seen++;
    }
    bool ambiguous = settings->index < 0 && seen > 1;
    if (found && !ambiguous)
        return found;
    *ret_missing = ambiguous ? "the peer has this UUID more than once (see `index`)"
                             : "the peer has no such characteristic";
    if (!outcome->missing++) {
        outcome->ambiguous = ambiguous;
        if (ambiguous)
            tell_ambiguous(settings, list, n, outcome);
        else
            tell_missing(settings, outcome);
    }
    return NULL;
}

static uint32_t source_for(struct peer *peer, uint16_t handle)
{
    uint32_t unused = NO_SOURCE;

    for (uint32_t i = 0; i < peer->n_sources; i++) {
        if (peer->sources[i].handle == handle)
            return i;
        if (!peer->sources[i].handle && unused == NO_SOURCE)
            unused = i;
    }
    if (unused != NO_SOURCE) /* at least as many sources as entries: there is always one */
        peer->sources[unused] = (struct source){.handle = handle, .first_entry = NO_SOURCE};
    return unused;
}

static void unsubscribe_at(struct peer *peer, uint32_t index, uint32_t adapter, uint32_t device)
{
    const struct source *source = &peer->sources[index];
    struct action *action = actions_add(peer->gateway->actions, ACTION_UNSUBSCRIBE);

    action->op = (struct op){.peer = peer->index, .generation = peer->generation};
    action->adapter = adapter;
    action->device = device;
    action->subscribe.handle = source->handle;
    action->subscribe.subscription = source->subscription;
    action->subscribe.source = index;
}

/* A source that no entry means any more is given up, and its subscription with it. */
static void forget_unused(struct peer *peer, const struct gatt_characteristic *const *found,
                          const struct gatt_characteristic *list, size_t n)
{
    for (uint32_t i = 0; i < peer->n_sources; i++) {
        struct source *source = &peer->sources[i];
        bool needed = false, exists = false;

        for (size_t e = 0; e < peer->n_entries; e++)
            needed |= found[e] && found[e]->handle == source->handle;
        for (size_t j = 0; j < n; j++)
            exists |= list[j].handle == source->handle;
        if (!needed && exists && source->subscription)
            unsubscribe_at(peer, i, peer->adapter, peer->device);
        if (!needed)
            *source = (struct source){0};
        source->first_entry = NO_SOURCE;
        source->wanted = source->subscribed = false;
    }
}

/* At the end of the source's entries, so that values are published in the file's order. */
static void append(struct peer *peer, uint32_t entry, uint32_t source)
{
    uint32_t *link = &peer->sources[source].first_entry;

    while (*link != NO_SOURCE)
        link = &peer->entries[*link].next;
    *link = entry;
    for (uint32_t i = 0; i <= peer->entries[entry].settings->n_messages; i++)
        peer->entries[entry + i].source = source;
}

static void attach(struct peer *peer, uint32_t entry, const struct gatt_characteristic *found)
{
    uint32_t index = source_for(peer, found->handle);

    if (index == NO_SOURCE)
        return; /* cannot be: there are at least as many sources as entries */
    append(peer, entry, index);
    peer->sources[index].flags = found->flags;
    peer->sources[index].wanted |= subscribe_is_wanted(&peer->entries[entry]);
}

/* wherever the peer has objects: BlueZ remembers a subscription across links */
static void unsubscribe(struct peer *peer, uint32_t index)
{
    for (size_t i = 0; i < MAX_ADAPTERS; i++)
        if (peer->sightings[i].device)
            unsubscribe_at(peer, index, peer->sightings[i].adapter, peer->sightings[i].device);
    peer->sources[index].subscription = 0;
    peer->sources[index].subscribed = false;
}

void resolve_want(struct peer *peer, uint32_t index)
{
    struct source *source = &peer->sources[index];

    source->wanted = false;
    for (uint32_t i = source->first_entry; i != NO_SOURCE; i = peer->entries[i].next)
        source->wanted |= subscribe_is_wanted(&peer->entries[i]) && !peer->entries[i].missing;
    if (source->wanted || !source->subscription)
        return;
    publish_reset(peer, index);
    unsubscribe(peer, index);
}

/* by a request: it is wanted as soon as that is confirmed */
static bool is_being_subscribed(const struct peer *peer, uint32_t index)
{
    const struct gatt_op *op = peer->op;

    return op && op->kind == OP_KIND_SUBSCRIBE && peer->entries[op->entry].source == index;
}

void resolve_again(struct peer *peer)
{
    for (uint32_t i = 0; i < peer->n_sources; i++) {
        peer->sources[i].first_entry = NO_SOURCE;
        peer->sources[i].wanted = false;
    }
    for (uint32_t i = 0; i < peer->n_entries; i++) {
        struct entry *entry = &peer->entries[i];

        if (entry->settings->origin != ORIGIN_GATT || entry->source == NO_SOURCE)
            continue;
        append(peer, i, entry->source);
        peer->sources[entry->source].wanted |= subscribe_is_wanted(entry) && !entry->missing;
    }
    for (uint32_t i = 0; i < peer->n_sources; i++) {
        struct source *source = &peer->sources[i];

        if (source->subscription && !source->wanted && !is_being_subscribed(peer, i))
            unsubscribe(peer, i);
        if (source->first_entry == NO_SOURCE)
            *source = (struct source){.first_entry = NO_SOURCE};
    }
}

void resolve_unsubscribe_all(struct peer *peer)
{
    for (uint32_t i = 0; i < peer->n_sources; i++)
        if (peer->sources[i].subscription)
            unsubscribe(peer, i);
}

void resolve_sources(struct peer *peer, const struct gatt_characteristic *characteristics, size_t n,
                     struct resolve_outcome *ret_outcome)
{
    const struct gatt_characteristic *found[SETTINGS_MAX_CHARACTERISTICS] = {0};
    struct resolve_outcome outcome = {0};

    for (uint32_t i = 0; i < peer->n_entries; i++) {
        struct entry *entry = &peer->entries[i];

        entry->missing = NULL;
        entry->next = entry->source = NO_SOURCE;
        if (entry->settings->origin == ORIGIN_GATT)
            found[i] = find(entry->settings, characteristics, n, &outcome, &entry->missing);
        outcome.found += found[i] != NULL;
    }
    forget_unused(peer, found, characteristics, n);
    for (uint32_t i = 0; i < peer->n_entries; i++)
        if (found[i])
            attach(peer, i, found[i]);
    *ret_outcome = outcome;
}
