/* From a characteristic's bytes to the message that waits for the broker. Decides nothing about
 * links. */
#include "core/world.h"

#include <inttypes.h>
#include <stdio.h>

#define MALFORMED_LOG_MS 60000

static void malformed(struct peer *peer, struct entry *entry, int error, size_t field,
                      size_t length)
{
    struct gateway *gateway = peer->gateway;
    char text[160];

    entry->malformed++;
    gateway->counts.malformed++;
    if (peer->malformed_logged_us &&
        gateway->now.mono_us - peer->malformed_logged_us < MS_TO_US(MALFORMED_LOG_MS))
        return;
    peer->malformed_logged_us = gateway->now.mono_us;
    codec_explain(entry->settings->schema, error, field, length, text, sizeof(text));
    actions_log(gateway->actions, LOG_LEVEL_WARNING, peer->log_area,
                "%s: a value that does not fit its fields is not published: %s (%" PRIu64
                " so far)",
                entry->settings->id, text, entry->malformed);
}

void publish_value(struct peer *peer, uint32_t index, const uint8_t *data, size_t length,
                   bool assumed)
{
    struct gateway *gateway = peer->gateway;
    struct entry *entry = &peer->entries[index];
    const struct characteristic_settings *settings = entry->settings;
    struct value values[SCHEMA_MAX_FIELDS];

    if (settings->schema) {
        size_t field = 0;
        int error = codec_decode(settings->schema, data, length, values, &field);
        if (error) {
            malformed(peer, entry, error, field, length);
            return;
        }
    }
    entry->values++;
    contact_value(peer, index);
    strbuf_reset(&gateway->payload);
    payload_write(&gateway->payload, settings->payload, settings->schema,
                  settings->schema ? values : NULL, data, length, gateway->now.real_us, assumed);
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
    };
    gateway_put(gateway, &put);
    step_value(peer, settings->id, settings->schema, settings->schema ? values : NULL);
}

void publish_source(struct peer *peer, uint32_t source, const uint8_t *data, size_t length)
{
    peer->value_us = peer->gateway->now.mono_us;
    for (uint32_t i = peer->sources[source].first_entry; i != NO_SOURCE; i = peer->entries[i].next)
        if (peer->entries[i].settings->subscribe)
            publish_value(peer, i, data, length, false);
}
