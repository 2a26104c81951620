/*
 * The main promise: what was notified is published once and in order. Each value topic has a list
 * of the values that must appear on it. A value may come again only if it was not acknowledged when
 * the connection to the broker broke (or stands behind one that was not: core/outbox.h), and be
 * missing only if the outbox counted it.
 */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

static void push(const struct sim *sim, struct sim_stream *stream, uint32_t value, bool optional)
{
    if (stream->head > 1024 && stream->head * 2 > stream->n) {
        memmove(stream->items, stream->items + stream->head,
                (stream->n - stream->head) * sizeof(*stream->items));
        stream->n -= stream->head;
        stream->next -= stream->head;
        stream->head = 0;
    }
    if (stream->n == stream->size) {
        stream->size = MAX_OF(stream->size * 2, (size_t)64);
        stream->items = reallocarray(stream->items, stream->size, sizeof(*stream->items));
        if (!stream->items)
            abort();
    }
    stream->items[stream->n++] = (struct stream_item){.value = value,
                                                      .optional = optional,
                                                      .real_us = sim->now.real_us,
                                                      .order = ++stream->order};
}

/* this very value may be what lets it be subscribed, and then be its first */
static bool waits_to_subscribe(const struct peer *peer, uint32_t entry)
{
    for (const struct gatt_op *op = peer->ops; op; op = op->next)
        if (op->kind == OP_KIND_SUBSCRIBE && op->entry == entry)
            return true;
    return false;
}

void sim_stream_expect(struct sim *sim, const struct sim_object *object, int gatt, uint32_t peer,
                       uint32_t value)
{
    const struct device_settings *settings = &sim->settings.devices[peer];
    struct bt_uuid uuid = bt_uuid_from_u16(sim->devices[object->device].chars[gatt].uuid);

    const struct peer *of = sim->gateway->peers[peer];

    for (uint32_t e = 0; e < settings->n_characteristics; e++) {
        if (!bt_uuid_equal(&settings->characteristics[e].uuid, &uuid))
            continue;
        if (subscribe_is_wanted(&of->entries[e]))
            push(sim, &sim->peers[peer].streams[e], value, !of->ours);
        else if (waits_to_subscribe(of, e))
            push(sim, &sim->peers[peer].streams[e], value, true);
    }
}

void sim_stream_release(struct sim *sim, size_t peer)
{
    for (size_t e = 0; e < N_ENTRIES_MAX; e++) {
        struct sim_stream *stream = &sim->peers[peer].streams[e];
        for (size_t i = stream->head; i < stream->n; i++)
            stream->items[i].optional = true;
        stream->published = false; /* what the broker has is the other one's business */
    }
}

void sim_stream_expect_one(struct sim *sim, uint32_t peer, uint32_t entry, uint32_t value)
{
    push(sim, &sim->peers[peer].streams[entry], value, !sim->gateway->peers[peer]->ours);
}

void sim_stream_expect_optional(struct sim *sim, uint32_t peer, uint32_t entry, uint32_t value)
{
    push(sim, &sim->peers[peer].streams[entry], value, true);
}

/* {"value":123,... */
static bool parse(const struct action *action, uint32_t *ret_value)
{
    static const char start[] = "{\"value\":";
    const char *text = action->publish.payload;
    size_t i = sizeof(start) - 1;
    uint64_t value = 0;

    if (action->publish.length <= i || memcmp(text, start, i) != 0)
        return false;
    for (; i < action->publish.length && text[i] >= '0' && text[i] <= '9'; i++)
        value = value * 10 + (uint64_t)(text[i] - '0');
    *ret_value = (uint32_t)value;
    return true;
}

/* The time in it is that of its coming, however long it waited. */
static bool has_time(const struct action *action, const struct stream_item *item)
{
    static const char key[] = "\"ts\":\"";
    char text[TIME_RFC3339_SIZE];
    size_t n = time_format_rfc3339(item->real_us, text);
    const char *at = memmem(action->publish.payload, action->publish.length, key, sizeof(key) - 1);
    const char *end = (const char *)action->publish.payload + action->publish.length;

    return at && (size_t)(end - at) >= sizeof(key) - 1 + n &&
           memcmp(at + sizeof(key) - 1, text, n) == 0;
}

/* A broker that forgot is given the last value again, once. */
static bool is_reminder(struct sim *sim, struct sim_stream *stream, uint32_t value, uint64_t token)
{
    if (!stream->published || value != stream->last || stream->forgets == sim->forgets ||
        stream->reminder)
        return false;
    stream->reminder = token;
    stream->retained = true;
    return true;
}

static void retire(struct sim_stream *stream)
{
    while (stream->head < stream->next && stream->items[stream->head].acked)
        stream->head++;
}

void sim_stream_handed(struct sim *sim, size_t peer, size_t entry, const struct action *action)
{
    struct sim_stream *stream = &sim->peers[peer].streams[entry];
    struct outbox_stats stats;
    uint32_t value;

    sim->totals.values++;
    if (!parse(action, &value)) {
        sim_fail(sim, "%s: cannot read %.*s", action->publish.topic, (int)action->publish.length,
                 (const char *)action->publish.payload);
        return;
    }
    size_t at = stream->next;
    while (at < stream->n &&
           (stream->items[at].value != value || !has_time(action, &stream->items[at])))
        at++;
    if (at == stream->n && is_reminder(sim, stream, value, action->publish.token))
        return;
    if (at == stream->n) {
        sim_fail(sim,
                 "%s: %u is published twice, out of order, with another time, or was "
                 "never notified",
                 action->publish.topic, value);
        return;
    }
    for (size_t i = stream->next; i < at; i++) {
        sim->totals.skipped += !stream->items[i].optional && !stream->items[i].acked;
        stream->items[i].acked = true;
    }
    stream->items[at].token = action->publish.token;
    stream->items[at].acked = false;
    stream->next = at + 1;
    stream->retained = true;
    outbox_get_stats(sim->gateway->outbox, &stats);
    if (sim->totals.skipped > stats.dropped + stats.thinned)
        sim_fail(sim, "%s: something before %u is lost and not counted (%llu, counted %llu)",
                 action->publish.topic, value, (unsigned long long)sim->totals.skipped,
                 (unsigned long long)(stats.dropped + stats.thinned));
}

void sim_stream_acked(struct sim *sim, size_t peer, size_t entry, uint64_t token, bool refused)
{
    struct sim_stream *stream = &sim->peers[peer].streams[entry];

    if (token == stream->reminder) {
        stream->forgets = sim->forgets;
        stream->reminder = 0;
    }
    for (size_t i = stream->head; i < stream->next; i++)
        if (stream->items[i].token == token) {
            stream->items[i].acked = true;
            if (refused || stream->items[i].order < stream->last_order)
                continue;
            stream->last = stream->items[i].value;
            stream->last_order = stream->items[i].order;
            stream->published = true;
            stream->forgets = sim->forgets;
        }
    retire(stream);
}

void sim_stream_broken(struct sim *sim)
{
    for (size_t p = 0; p < sim->n_devices; p++)
        for (size_t e = 0; e < N_ENTRIES_MAX; e++) {
            struct sim_stream *stream = &sim->peers[p].streams[e];
            for (size_t i = stream->head; i < stream->next; i++)
                sim->totals.duplicates += stream->items[i].token != 0;
            stream->next = stream->head;
            stream->reminder = 0;
        }
}

void sim_stream_check_empty(struct sim *sim)
{
    struct outbox_stats stats;

    outbox_get_stats(sim->gateway->outbox, &stats);
    if (stats.queued)
        return; /* on its way still */
    for (size_t p = 0; p < sim->n_devices; p++)
        for (size_t e = 0; e < N_ENTRIES_MAX; e++) {
            struct sim_stream *stream = &sim->peers[p].streams[e];
            for (size_t i = stream->next; i < stream->n; i++)
                if (!stream->items[i].optional)
                    sim_fail(sim, "d%zu/e%zu: %u was notified and never published", p, e,
                             stream->items[i].value);
        }
}

void sim_stream_done(struct sim *sim)
{
    for (size_t p = 0; p < sim->n_devices; p++)
        for (size_t e = 0; e < N_ENTRIES_MAX; e++)
            free(sim->peers[p].streams[e].items);
}
