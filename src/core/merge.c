/*
 * `set: merge`: a /set that names only some fields. The rest is what the characteristic's value was
 * last, as far as that is known: notified, read, or written and confirmed. The write is encoded
 * when its turn comes, so that two sets in a row add up. Must not know how it is written or read.
 */
#include "core/world.h"

#include "core/codec_field.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct known {
    bool there;
    bool doubtful; /* a write may or may not have changed it since */
    size_t length;
    uint8_t data[GATT_VALUE_MAX];
};

int merge_new(struct known **ret_known)
{
    struct known *known = calloc(1, sizeof(*known));

    if (!known)
        return -ENOMEM;
    *ret_known = known;
    return 0;
}

struct known *merge_free(struct known *known)
{
    free(known);
    return NULL;
}

void merge_forget(struct known *known)
{
    if (known)
        known->there = false;
}

void merge_keep(struct known *known, const uint8_t *data, size_t length)
{
    if (length > sizeof(known->data))
        return;
    if (length)
        memcpy(known->data, data, length);
    known->length = length;
    known->there = true;
    known->doubtful = false;
}

/* all entries on the characteristic of that handle */
static bool is_at(const struct peer *peer, const struct entry *entry, uint16_t handle)
{
    return entry->known && entry->source != NO_SOURCE &&
           peer->sources[entry->source].handle == handle;
}

void merge_learn(struct peer *peer, uint16_t handle, const uint8_t *data, size_t length)
{
    for (size_t i = 0; i < peer->n_entries; i++)
        if (is_at(peer, &peer->entries[i], handle))
            merge_keep(peer->entries[i].known, data, length);
}

void merge_doubt(struct peer *peer, uint16_t handle)
{
    for (size_t i = 0; i < peer->n_entries; i++)
        if (is_at(peer, &peer->entries[i], handle))
            peer->entries[i].known->doubtful = true;
}

/* ---- what is not given ---- */

/* one that people give, and that does not follow from others */
static bool is_own(const struct schema *schema, size_t i)
{
    const struct field_spec *spec = &schema->fields[i];

    return !spec->has_const && !field_spec_is_computed(spec) && !schema_is_alternative(schema, i) &&
           spec->counts == FIELD_NONE && !spec->selects;
}

static bool lacks(const struct schema *schema, const struct payload_set *asked)
{
    for (size_t i = 0; i < schema->n_fields; i++)
        if (is_own(schema, i) && asked->values[i].kind == VALUE_ABSENT)
            return true;
    return false;
}

int merge_check(const struct schema *schema, const struct payload_set *asked, size_t *ret_field)
{
    struct codec_bytes bytes;

    for (size_t i = 0; i < schema->n_fields; i++) {
        const struct field_spec *spec = &schema->fields[i];

        *ret_field = i;
        if (spec->when.field || spec->type == FIELD_TYPE_ARRAY ||
            asked->values[i].kind == VALUE_ABSENT)
            continue; /* it depends */
        int error = codec_field_encode(spec, &asked->values[i], &bytes);
        if (error)
            return error;
    }
    return 0;
}

bool merge_must_read(struct peer *peer, struct gatt_op *op)
{
    const struct entry *entry = &peer->entries[op->entry];
    const struct source *source = &peer->sources[entry->source];
    const struct known *known = entry->known;
    struct value old[SCHEMA_MAX_FIELDS];

    if (!lacks(entry->settings->schema, op->asked) || !(source->flags & GATT_FLAG_READ) ||
        (known->there && !known->doubtful &&
         codec_decode(entry->settings->schema, known->data, known->length, old, NULL) == 0))
        return false;
    op->handle = source->handle;
    op->flags = source->flags;
    return true;
}

/* ---- both together ---- */

/* What is taken of the old value of a schema with conditions: less where it contradicts what is
 * given, such as the fields of another kind. */
enum take {
    TAKE_ALL,
    TAKE_NO_SELECTORS, /* flags follow from which fields there are now */
    TAKE_UNCONDITIONAL,
    N_TAKES,
};

static void fill(const struct schema *schema, const struct payload_set *asked,
                 const struct value *old, enum take take, struct value *values)
{
    for (size_t i = 0; i < schema->n_fields; i++) {
        const struct field_spec *spec = &schema->fields[i];
        bool taken = old && !spec->has_const && spec->counts == FIELD_NONE &&
                     (take == TAKE_ALL || !spec->selects) &&
                     (take != TAKE_UNCONDITIONAL || !spec->when.field);

        values[i] = asked->values[i];
        if (values[i].kind == VALUE_ABSENT && taken)
            values[i] = old[i];
    }
}

static int encode(struct entry *entry, struct gatt_op *op, const struct value *old,
                  struct codec_context *context, size_t *ret_field)
{
    const struct schema *schema = entry->settings->schema;
    struct value values[SCHEMA_MAX_FIELDS];

    if (old && codec_has_places(schema)) {
        context->base = entry->known->data;
        context->base_length = entry->known->length;
        old = NULL;
    }
    for (enum take take = TAKE_ALL;; take++) {
        fill(schema, op->asked, old, take, values);
        int error =
            codec_encode(schema, values, context, op->data, GATT_VALUE_MAX, &op->length, ret_field);
        if (error != CODEC_E_CONFLICT || !old || take + 1 == N_TAKES)
            return error;
    }
}

static void refuse(struct peer *peer, struct gatt_op *op, int error, size_t field, const char *why)
{
    const struct schema *schema = peer->entries[op->entry].settings->schema;
    char text[160];

    if (error == CODEC_E_MISSING && why && field < schema->n_fields) {
        ops_fail(peer, op, "invalid_value", 0, "%.64s is not given, and what it is now %s",
                 schema->fields[field].name, why);
        return;
    }
    codec_explain(schema, error, field, GATT_VALUE_MAX, text, sizeof(text));
    ops_fail(peer, op, error == CODEC_E_LONG ? "value_too_long" : "invalid_value", 0, "%s", text);
}

bool merge_encode(struct peer *peer, struct gatt_op *op)
{
    struct entry *entry = &peer->entries[op->entry];
    const struct known *known = entry->known;
    struct codec_context context = {.real_us = peer->gateway->now.real_us,
                                    .counter = entry->writes++};
    struct value old[SCHEMA_MAX_FIELDS];
    size_t field = SIZE_MAX;
    const char *why = "is not known: it cannot be read, and has not been notified; give all fields";
    bool usable = known->there;

    if (usable && codec_decode(entry->settings->schema, known->data, known->length, old, NULL)) {
        why = "is not known: the peer's value does not fit the fields; give all fields";
        usable = false;
    }
    int error = encode(entry, op, usable ? old : NULL, &context, &field);
    if (error)
        refuse(peer, op, error, field, usable ? NULL : why);
    return !error;
}
