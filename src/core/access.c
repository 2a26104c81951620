/*
 * What people send to a characteristic: /set and the operation `write` take the same forms, with
 * the same errors. Must not know topics.
 */
#include "core/world.h"

#include "util/cleanup.h"
#include <stdlib.h>
#include <string.h>

uint32_t access_find(const struct peer *peer, const char *id)
{
    for (uint32_t i = 0; i < peer->n_entries; i++)
        if (peer->entries[i].settings->origin != ORIGIN_MESSAGE &&
            strcmp(peer->entries[i].settings->id, id) == 0)
            return i;
    return NO_ENTRY;
}

bool access_parse(struct peer *peer, const struct schema *schema, const char *field,
                  const void *payload, size_t length, struct payload_set *asked,
                  struct command *command)
{
    int error = payload_parse_set(schema, field, payload, length, asked);
    if (error)
        command_answer_error(peer->gateway, command,
                             error == PAYLOAD_E_JSON   ? "bad_json"
                             : error == PAYLOAD_E_LONG ? "value_too_long"
                                                       : "invalid_value",
                             0, "%s", asked->error);
    return !error;
}

static bool is_writable(struct peer *peer, uint32_t index, struct command *command)
{
    const struct characteristic_settings *settings = peer->entries[index].settings;

    if (!settings->writable)
        command_answer_error(peer->gateway, command, "read_only", 0, "%s is not `writable: true`",
                             settings->id);
    return settings->writable;
}

static void refuse(struct peer *peer, const struct schema *schema, int error, size_t field,
                   struct command *command)
{
    char text[160];

    codec_explain(schema, error, field, GATT_VALUE_MAX, text, sizeof(text));
    command_answer_error(peer->gateway, command,
                         error == CODEC_E_LONG ? "value_too_long" : "invalid_value", 0, "%s", text);
}

void access_write_raw(struct peer *peer, uint32_t index, const void *payload, size_t length,
                      enum tri response, struct command *command)
{
    struct payload_set asked;

    if (is_writable(peer, index, command) &&
        access_parse(peer, NULL, NULL, payload, length, &asked, command))
        ops_write(peer, index, asked.raw, asked.raw_length, response, command);
}

/* What is wrong with it whatever the rest will be, is said at once. */
static bool is_part_good(struct peer *peer, const struct schema *schema,
                         const struct payload_set *asked, struct command *command)
{
    size_t at = 0;
    int error = asked->is_raw ? 0 : merge_check(schema, asked, &at);

    if (error)
        refuse(peer, schema, error, at, command);
    return !error;
}

/* `set: merge`: what is given is kept, and becomes a value when its turn comes */
static void write_part(struct peer *peer, uint32_t index, const char *field, const void *payload,
                       size_t payload_length, enum tri response, struct command *command)
{
    const struct schema *schema = peer->entries[index].settings->schema;
    _cleanup_(freep) struct payload_set *asked = malloc(sizeof(*asked));
    const uint8_t room[GATT_VALUE_MAX] = {0};

    if (!asked) {
        ops_enqueue(peer, NULL, command);
        return;
    }
    if (!access_parse(peer, schema, field, payload, payload_length, asked, command) ||
        !is_part_good(peer, schema, asked, command))
        return;
    if (asked->is_raw) {
        ops_write(peer, index, asked->raw, asked->raw_length, response, command);
        return;
    }
    struct gatt_op *op = ops_new(OP_KIND_WRITE, index, room, sizeof(room));
    if (op) {
        op->length = 0;
        op->wanted = response;
        op->asked = TAKE_PTR(asked);
    }
    ops_enqueue(peer, op, command);
}

void access_write(struct peer *peer, uint32_t index, const char *field, const void *payload,
                  size_t payload_length, enum tri response, struct command *command)
{
    struct gateway *gateway = peer->gateway;
    const struct characteristic_settings *settings = peer->entries[index].settings;
    struct payload_set asked;
    uint8_t data[GATT_VALUE_MAX + FRAME_MAX_MARK];
    size_t length = 0, at = 0;

    if (!is_writable(peer, index, command))
        return;
    if (peer->entries[index].known) {
        write_part(peer, index, field, payload, payload_length, response, command);
        return;
    }
    if (!access_parse(peer, settings->schema, field, payload, payload_length, &asked, command))
        return;
    if (asked.is_raw) {
        ops_write(peer, index, asked.raw, asked.raw_length, response, command);
        return;
    }
    struct codec_context context = {.real_us = gateway->now.real_us,
                                    .counter = peer->entries[index].writes++};
    int error =
        codec_encode(settings->schema, asked.values, &context, data, GATT_VALUE_MAX, &length, &at);
    if (error) {
        refuse(peer, settings->schema, error, at, command);
        return;
    }
    ops_write(peer, index, data, frame_close(settings, data, length), response, command);
}
