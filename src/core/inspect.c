/*
 * The request `inspect`: a peer's whole GATT tree, and what can be read of it. It works on any link
 * whose services are known, also before they are subscribed to and where the entries of the file do
 * not fit them: that is when people want to look. Values are read one after the other, beside what
 * goes on; what the link, the time or the size of an answer does not allow is left out, and that is
 * said.
 */
#include "core/errand.h"

#include "core/gatt_names.h"
#include "core/json.h"
#include "util/cleanup.h"
#include <stdlib.h>
#include <string.h>

#define INSPECT_MS 60000

struct reading {
    uint8_t *data; /* owned; NULL: not read */
    size_t length;
    char *error; /* owned; NULL: none */
};

struct inspection {
    bool wants_values;
    struct gatt_attribute *attributes; /* owned; NULL: not yet known */
    struct reading *readings;          /* owned; of each */
    size_t n, at;                      /* being read */
    size_t bytes;                      /* of values, so far */
};

struct inspection *inspect_free(struct inspection *inspection)
{
    if (!inspection)
        return NULL;
    for (size_t i = 0; i < inspection->n; i++) {
        free(inspection->readings[i].data);
        free(inspection->readings[i].error);
    }
    free(inspection->readings);
    free(inspection->attributes);
    free(inspection);
    return NULL;
}

/* ---- the answer ---- */

static void write_properties(struct json_writer *w, uint16_t flags)
{
    static const struct {
        enum gatt_flag flag;
        const char *name;
    } names[] = {
        {GATT_FLAG_BROADCAST, "broadcast"},
        {GATT_FLAG_READ, "read"},
        {GATT_FLAG_WRITE_COMMAND, "write-without-response"},
        {GATT_FLAG_WRITE, "write"},
        {GATT_FLAG_NOTIFY, "notify"},
        {GATT_FLAG_INDICATE, "indicate"},
        {GATT_FLAG_SIGNED_WRITE, "authenticated-signed-writes"},
        {GATT_FLAG_EXTENDED, "extended-properties"},
    };

    json_write_key(w, "properties");
    json_write_array_begin(w);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (flags & names[i].flag)
            json_write_string(w, names[i].name);
    json_write_array_end(w);
}

/* which characteristic of the file it is */
static void write_id(struct json_writer *w, const struct peer *peer, uint16_t handle)
{
    for (size_t i = 0; i < peer->n_sources; i++)
        if (peer->sources[i].handle == handle && peer->sources[i].first_entry != NO_SOURCE) {
            json_write_key(w, "characteristic");
            json_write_string(w, peer->entries[peer->sources[i].first_entry].settings->id);
            return;
        }
}

/* opens its object, which the caller closes */
static void write_attribute(struct json_writer *w, const struct gatt_attribute *attribute)
{
    const char *name = gatt_name(attribute->kind, &attribute->uuid);
    char uuid[BT_UUID_TEXT_SIZE];

    bt_uuid_format_short(&attribute->uuid, uuid);
    json_write_object_begin(w);
    json_write_key(w, "handle");
    json_write_uint(w, attribute->handle);
    json_write_key(w, "uuid");
    json_write_string(w, uuid);
    if (name) {
        json_write_key(w, "name");
        json_write_string(w, name);
    }
}

static void write_reading(struct json_writer *w, const struct reading *reading)
{
    if (reading->data) {
        json_write_key(w, "value");
        json_write_hex(w, reading->data, reading->length);
    } else if (reading->error) {
        json_write_key(w, "error");
        json_write_string(w, reading->error);
    }
}

static bool is_part_of(const struct inspection *inspection, size_t i, enum gatt_attribute_kind kind)
{
    return i < inspection->n && inspection->attributes[i].kind == kind;
}

/* the characteristic at *i and its descriptors; *i is behind them then */
static void write_characteristic(struct json_writer *w, const struct peer *peer, size_t *i)
{
    const struct inspection *inspection = peer->errand->inspection;
    const struct gatt_attribute *attribute = &inspection->attributes[*i];

    write_attribute(w, attribute);
    write_properties(w, attribute->flags);
    write_id(w, peer, attribute->handle);
    write_reading(w, &inspection->readings[*i]);
    ++*i;
    if (is_part_of(inspection, *i, GATT_ATTRIBUTE_DESCRIPTOR)) {
        json_write_key(w, "descriptors");
        json_write_array_begin(w);
        for (; is_part_of(inspection, *i, GATT_ATTRIBUTE_DESCRIPTOR); ++*i) {
            write_attribute(w, &inspection->attributes[*i]);
            json_write_object_end(w);
        }
        json_write_array_end(w);
    }
    json_write_object_end(w);
}

/* the service at *i with all that is its; false: not all of it found room */
static bool write_service(struct json_writer *w, const struct peer *peer, size_t *i, size_t limit)
{
    const struct inspection *inspection = peer->errand->inspection;
    bool fits = true;

    write_attribute(w, &inspection->attributes[*i]);
    if (!inspection->attributes[(*i)++].primary) {
        json_write_key(w, "primary");
        json_write_bool(w, false);
    }
    json_write_key(w, "characteristics");
    json_write_array_begin(w);
    while (fits && is_part_of(inspection, *i, GATT_ATTRIBUTE_CHARACTERISTIC)) {
        struct json_writer before = *w;
        size_t length = w->out->length;

        write_characteristic(w, peer, i);
        fits = w->out->length <= limit;
        if (!fits) {
            strbuf_truncate(w->out, length);
            *w = before;
        }
    }
    json_write_array_end(w);
    json_write_object_end(w);
    return fits;
}

static void answer(struct peer *peer, bool complete)
{
    _cleanup_(strbuf_done) struct strbuf data = STRBUF_INIT;
    struct json_writer w = json_writer_to(&data);
    const struct inspection *inspection = peer->errand->inspection;
    size_t limit = command_answer_limit(peer->gateway);

    json_write_object_begin(&w);
    json_write_key(&w, "mtu");
    if (peer->mtu)
        json_write_uint(&w, peer->mtu);
    else
        json_write_null(&w); /* BlueZ does not say */
    json_write_key(&w, "services");
    json_write_array_begin(&w);
    for (size_t i = 0; i < inspection->n && data.length < limit;) {
        if (inspection->attributes[i].kind == GATT_ATTRIBUTE_SERVICE)
            complete &= write_service(&w, peer, &i, limit);
        else
            i++; /* of a service that found no room, or that BlueZ does not show */
    }
    complete &= data.length < limit;
    json_write_array_end(&w);
    json_write_key(&w, "complete");
    json_write_bool(&w, complete);
    json_write_object_end(&w);
    command_answer_ok(peer->gateway, errand_end(peer), &data);
}

static void finish(struct peer *peer, bool complete)
{
    answer(peer, complete);
    errand_release_link(peer);
}

/* ---- looking ---- */

static uint32_t ask(struct peer *peer, struct action *action)
{
    uint32_t op = gateway_next_op(peer->gateway);

    action->op = (struct op){peer->index, peer->generation, op};
    action->adapter = peer->adapter;
    action->device = peer->device;
    return op;
}

void inspect_resolved(struct peer *peer)
{
    struct errand *errand = peer->errand;

    if (!errand->inspection->attributes)
        errand->ops[0] = ask(peer, actions_add(peer->gateway->actions, ACTION_INSPECT));
}

static void read_next(struct peer *peer)
{
    struct errand *errand = peer->errand;
    struct inspection *inspection = errand->inspection;

    errand->ops[0] = 0;
    if (peer->state == PEER_STATE_DISCONNECTING) {
        answer(peer, false);
        return;
    }
    if (inspection->bytes * 2 > command_answer_limit(peer->gateway)) {
        finish(peer, false);
        return;
    }
    for (; inspection->at < inspection->n; inspection->at++) {
        const struct gatt_attribute *attribute = &inspection->attributes[inspection->at];

        if (attribute->kind == GATT_ATTRIBUTE_CHARACTERISTIC && attribute->flags & GATT_FLAG_READ) {
            struct action *action = actions_add(peer->gateway->actions, ACTION_READ);
            errand->ops[0] = ask(peer, action);
            action->read.handle = attribute->handle;
            return;
        }
    }
    finish(peer, true);
}

static bool keep(struct inspection *inspection, const struct event *event)
{
    size_t n = event->inspected.n_attributes;

    inspection->attributes = calloc(n, sizeof(*inspection->attributes));
    inspection->readings = calloc(n, sizeof(*inspection->readings));
    if (!inspection->attributes || !inspection->readings)
        return false;
    memcpy(inspection->attributes, event->inspected.attributes,
           n * sizeof(*inspection->attributes));
    inspection->n = n;
    return true;
}

void inspect_result(struct peer *peer, const struct event *event)
{
    struct inspection *inspection = peer->errand->inspection;
    const char *text;

    peer->errand->ops[0] = 0;
    if (event->result.status != BT_STATUS_OK) {
        const char *code = command_explain_status(COMMAND_KIND_REQUEST, &event->result, &text);
        errand_fail(peer, code, text);
    } else if (!event->inspected.n_attributes) {
        errand_fail(peer, "not_supported", "BlueZ shows no services of it");
    } else if (!keep(inspection, event)) {
        errand_fail(peer, "internal", "out of memory");
    } else if (inspection->wants_values) {
        read_next(peer);
    } else {
        finish(peer, true);
    }
}

void inspect_read(struct peer *peer, const struct event *event)
{
    struct inspection *inspection = peer->errand->inspection;
    struct reading *reading = &inspection->readings[inspection->at++];
    const char *text;

    if (event->result.status == BT_STATUS_OK) {
        reading->data = malloc(event->read.length + 1);
        if (reading->data && event->read.length)
            memcpy(reading->data, event->read.data, event->read.length);
        reading->length = event->read.length;
        inspection->bytes += event->read.length;
    } else {
        (void)command_explain_status(COMMAND_KIND_GET, &event->result, &text);
        reading->error = strdup(text);
    }
    read_next(peer);
}

bool inspect_is_known(const struct errand *errand)
{
    return errand->inspection->attributes && errand->inspection->n;
}

void inspect_cut_short(struct peer *peer)
{
    answer(peer, false);
}

void inspect_request(struct peer *peer, bool values, struct command *command)
{
    struct inspection *inspection;

    if (hold_is_disabled(peer)) {
        command_answer_error(peer->gateway, command, "disabled", 0, "%s", peer->why);
        return;
    }
    struct errand *errand = errand_new(peer, ERRAND_KIND_INSPECT, INSPECT_MS, command);
    if (!errand)
        return;
    inspection = errand->inspection = calloc(1, sizeof(*inspection));
    if (!inspection) {
        errand_cancel(peer, "internal", "out of memory");
        return;
    }
    inspection->wants_values = values;
    errand->wants_link = true;
    if (peer->state == PEER_STATE_CONFIGURING || peer->state == PEER_STATE_ONLINE)
        inspect_resolved(peer);
    else
        errand_wait_for_link(peer);
}
