/*
 * From a characteristic's bytes to the message that waits for the broker: notifications to frames,
 * frames (or values as they are) to one of the messages, its fields, its payload. Decides nothing
 * about links.
 */
#include "core/world.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define MALFORMED_LOG_MS 60000

/* what is wrong with a peer's bytes is said once a minute */
static bool may_log(struct peer *peer)
{
    struct gateway *gateway = peer->gateway;

    if (peer->malformed_logged_us &&
        gateway->now.mono_us - peer->malformed_logged_us < MS_TO_US(MALFORMED_LOG_MS))
        return false;
    peer->malformed_logged_us = gateway->now.mono_us;
    return true;
}

static void malformed(struct peer *peer, struct entry *entry, int error, size_t field,
                      size_t length)
{
    struct gateway *gateway = peer->gateway;
    char text[160];

    entry->malformed++;
    gateway->counts.malformed++;
    if (!may_log(peer))
        return;
    codec_explain(entry->settings->schema, error, field, length, text, sizeof(text));
    actions_log(gateway->actions, LOG_LEVEL_WARNING, peer->log_area,
                "%s: a value that does not fit its fields is not published: %s (%" PRIu64
                " so far)",
                entry->settings->id, text, entry->malformed);
}

/* ---- whole values ---- */

uint32_t publish_entry(const struct peer *peer, uint32_t index, const uint8_t *data, size_t length)
{
    size_t n = peer->entries[index].settings->n_messages;

    for (uint32_t i = index + 1; i <= index + n; i++) {
        const struct message_settings *message = &peer->entries[i].settings->message;

        if (message->offset + message->length <= length &&
            memcmp(data + message->offset, message->data, message->length) == 0)
            return i;
    }
    return n ? NO_ENTRY : index;
}

/* the message itself; `values` is NULL without a schema */
static void put_message(struct peer *peer, struct entry *entry, const struct value *values,
                        const struct rules_value *value, bool assumed)
{
    struct gateway *gateway = peer->gateway;
    const struct characteristic_settings *settings = entry->settings;

    strbuf_reset(&gateway->payload);
    payload_write(&gateway->payload, settings->payload, settings->schema, values, value->data,
                  value->length, value->real_us, assumed);
    if (!strbuf_ok(&gateway->payload)) {
        gateway->counts.rejected++;
        return;
    }
    struct outbox_put put = {
        .topic = entry->topic,
        .payload = strbuf_str(&gateway->payload),
        .length = gateway->payload.length,
        .qos = settings->qos,
        .retain = settings->retain,
        .latest_only = settings->history_latest,
        .expiry_s = (uint32_t)((settings->stale_after_ms + 999) / 1000),
        .put_us = gateway->now.mono_us,
    };
    gateway_put(gateway, &put);
}

/* ---- publish rules ---- */

/* A value that is held back comes whoever hears it; a heartbeat is for a broker that is there. */
static uint64_t rules_due(const struct peer *peer, const struct entry *entry)
{
    return rules_due_us(entry->rules, &entry->settings->publish,
                        peer->speaks && peer->state == PEER_STATE_ONLINE);
}

static void arm_rules(struct peer *peer, struct entry *entry)
{
    gateway_arm(peer->gateway, rules_due(peer, entry));
}

static bool differs(const struct entry *entry, const struct value *values,
                    const struct rules_value *value)
{
    const struct schema *schema = entry->settings->schema;
    struct value before[SCHEMA_MAX_FIELDS];
    struct rules_value last;

    if (!rules_last(entry->rules, &last))
        return true;
    if (last.length == value->length &&
        (!last.length || memcmp(last.data, value->data, last.length) == 0))
        return false;
    return !schema || codec_decode(schema, last.data, last.length, before, NULL) != 0 ||
           schema_values_differ(schema, before, values);
}

/* False: it does not become a message, or not now. */
static bool may_publish(struct peer *peer, struct entry *entry, const struct value *values,
                        const struct rules_value *value)
{
    unsigned thinned;
    enum rules_verdict verdict =
        rules_take(entry->rules, &entry->settings->publish, peer->gateway->now.mono_us, value,
                   differs(entry, values, value), &thinned);

    peer->gateway->counts.values_thinned += thinned;
    if (verdict == RULES_HOLD)
        arm_rules(peer, entry);
    return verdict == RULES_PUBLISH;
}

/* the newest value, as it came: one that was held back, or a heartbeat */
static void publish_newest(struct peer *peer, struct entry *entry)
{
    const struct schema *schema = entry->settings->schema;
    struct value values[SCHEMA_MAX_FIELDS];
    struct rules_value value;

    if (!peer->ours || !rules_newest(entry->rules, &value) ||
        (schema && codec_decode(schema, value.data, value.length, values, NULL) != 0))
        return; /* its fields are others since a reload */
    put_message(peer, entry, schema ? values : NULL, &value, false);
    rules_published(entry->rules, peer->gateway->now.mono_us, &value);
    arm_rules(peer, entry);
}

void publish_flush(struct peer *peer)
{
    for (size_t i = 0; i < peer->n_entries; i++)
        if (peer->entries[i].rules && rules_holds(peer->entries[i].rules))
            publish_newest(peer, &peer->entries[i]);
}

static void timer_rules(struct peer *peer, struct entry *entry)
{
    uint64_t due = rules_due(peer, entry);

    if (due <= peer->gateway->now.mono_us)
        publish_newest(peer, entry);
    else
        gateway_arm(peer->gateway, due);
}

/* ---- values ---- */

/* a value of the entry; `from`: the characteristic that it is a message of, or itself */
static void publish_as(struct peer *peer, uint32_t index, uint32_t from,
                       const struct rules_value *value, enum publish_how how)
{
    struct entry *entry = &peer->entries[index];
    const struct characteristic_settings *settings = entry->settings;
    struct value decoded[SCHEMA_MAX_FIELDS];
    const struct value *values = settings->schema ? decoded : NULL;

    if (!peer->ours) { /* from before another gateway took it */
        peer->gateway->counts.let_go++;
        return;
    }
    if (settings->schema) {
        size_t field = 0;
        int error = codec_decode(settings->schema, value->data, value->length, decoded, &field);
        if (error) {
            malformed(peer, entry, error, field, value->length);
            return;
        }
    }
    entry->values++;
    contact_value(peer, index);
    if (from != index)
        contact_value(peer, from);
    if (!entry->rules || how != PUBLISH_BY_RULES || may_publish(peer, entry, values, value)) {
        put_message(peer, entry, values, value, how == PUBLISH_ASSUMED);
        if (entry->rules) {
            rules_published(entry->rules, peer->gateway->now.mono_us, value);
            arm_rules(peer, entry);
        }
    }
    if (how != PUBLISH_ASSUMED) /* the peer has not said it */
        step_value(peer, &(struct step_news){index, values, value});
}

static void publish_at(struct peer *peer, uint32_t index, const struct rules_value *value,
                       enum publish_how how)
{
    uint32_t as = publish_entry(peer, index, value->data, value->length);

    if (as != NO_ENTRY)
        publish_as(peer, as, index, value, how);
    else
        peer->gateway->counts.unknown_messages++;
}

void publish_value(struct peer *peer, uint32_t index, const uint8_t *data, size_t length,
                   enum publish_how how)
{
    publish_at(peer, index, &(struct rules_value){data, length, peer->gateway->now.real_us}, how);
}

/* ---- frames ---- */

/* counts what the framing gave up since `before`, and says the worst of it */
static void count_drops(struct peer *peer, struct entry *entry, const struct frame_counts *before)
{
    struct gateway *gateway = peer->gateway;
    const struct frame_counts *counts = frame_get_counts(entry->frame);
    uint64_t skipped = counts->skipped - before->skipped, dropped = 0;
    enum frame_drop last = FRAME_DROPS;

    for (enum frame_drop i = 0; i < FRAME_DROPS; i++) {
        if (counts->dropped[i] != before->dropped[i])
            last = i;
        dropped += counts->dropped[i] - before->dropped[i];
    }
    entry->frames_dropped += dropped;
    gateway->counts.frames_dropped += dropped;
    gateway->counts.frame_bytes_skipped += skipped;
    if ((!dropped && !skipped) || !gateway->actions || !may_log(peer))
        return;
    if (dropped)
        actions_log(gateway->actions, LOG_LEVEL_WARNING, peer->log_area,
                    "%s: a frame was dropped: %s (%" PRIu64 " so far)", entry->settings->id,
                    frame_drop_text(last), entry->frames_dropped);
    else
        actions_log(gateway->actions, LOG_LEVEL_WARNING, peer->log_area,
                    "%s: bytes that belong to no frame were skipped (%" PRIu64 " so far)",
                    entry->settings->id, counts->skipped);
}

/* its time is over; what is whole behind the beginning of the open frame is not lost with it */
static void expire(struct peer *peer, uint32_t index)
{
    struct entry *entry = &peer->entries[index];
    struct frame_counts before = *frame_get_counts(entry->frame);
    const uint8_t *message;
    size_t length;

    entry->frame_due_us = TIME_NEVER;
    while (frame_expire(entry->frame, &message, &length))
        publish_at(peer, index, &(struct rules_value){message, length, entry->part_real_us},
                   PUBLISH_BY_RULES);
    count_drops(peer, entry, &before);
}

static void feed(struct peer *peer, uint32_t index, const uint8_t *data, size_t length)
{
    struct gateway *gateway = peer->gateway;
    struct entry *entry = &peer->entries[index];
    const uint8_t *message;
    size_t n, message_length;

    if (entry->frame_due_us <= gateway->now.mono_us)
        expire(peer, index);
    struct frame_counts before = *frame_get_counts(entry->frame);
    entry->part_real_us = gateway->now.real_us;
    while (length && (n = frame_put(entry->frame, data, length)) > 0) {
        data += n;
        length -= n;
        while (frame_next(entry->frame, &message, &message_length))
            publish_at(peer, index,
                       &(struct rules_value){message, message_length, entry->part_real_us},
                       PUBLISH_BY_RULES);
    }
    entry->frame_due_us = TIME_NEVER;
    if (frame_is_open(entry->frame)) {
        entry->frame_due_us = gateway_in(gateway, entry->settings->frame.timeout_ms);
        gateway_arm(gateway, entry->frame_due_us);
    }
    count_drops(peer, entry, &before);
}

/* FNV-1a, 64 bits */
static uint64_t hash(const uint8_t *data, size_t length)
{
    uint64_t value = 0xcbf29ce484222325;

    for (size_t i = 0; i < length; i++)
        value = (value ^ data[i]) * 0x100000001b3;
    return value;
}

void publish_source(struct peer *peer, uint32_t source, const uint8_t *data, size_t length)
{
    peer->value_us = peer->gateway->now.mono_us;
    for (uint32_t i = peer->sources[source].first_entry; i != NO_SOURCE;
         i = peer->entries[i].next) {
        if (peer->entries[i].known)
            merge_keep(peer->entries[i].known, data, length);
        if (!subscribe_is_wanted(&peer->entries[i]))
            continue;
        if (peer->entries[i].frame)
            feed(peer, i, data, length);
        else
            publish_value(peer, i, data, length, PUBLISH_BY_RULES);
        if (peer->entries[i].echo.written) {
            peer->entries[i].echo.notified = true;
            peer->entries[i].echo.hash = hash(data, length);
        }
    }
}

/* Where the peer notifies a value that was written, reading it back tells nothing new. */
bool publish_is_echo(const struct peer *peer, uint32_t entry, const uint8_t *data, size_t length)
{
    const struct entry *of = &peer->entries[entry];

    return of->echo.written && of->echo.notified && of->echo.hash == hash(data, length);
}

void publish_drop_frame(struct peer *peer, struct entry *entry)
{
    if (!entry->frame)
        return;
    struct frame_counts before = *frame_get_counts(entry->frame);
    frame_reset(entry->frame);
    entry->frame_due_us = TIME_NEVER;
    count_drops(peer, entry, &before);
}

void publish_reset(struct peer *peer, uint32_t source)
{
    for (uint32_t i = 0; i < peer->n_entries; i++)
        if (peer->entries[i].source == source)
            publish_drop_frame(peer, &peer->entries[i]);
}

void publish_timer(struct peer *peer)
{
    for (uint32_t i = 0; i < peer->n_entries; i++) {
        uint64_t due = peer->entries[i].frame_due_us;

        if (due <= peer->gateway->now.mono_us)
            expire(peer, i);
        else
            gateway_arm(peer->gateway, due);
        if (peer->entries[i].rules && peer->ours)
            timer_rules(peer, &peer->entries[i]);
    }
}
