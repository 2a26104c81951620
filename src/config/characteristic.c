/* `characteristics` of a device. Must not know other devices. */
#include "config/parts.h"
#include "config/readers.h"
#include "config/suggest.h"
#include "core/sig.h"
#include <string.h>

static const struct {
    const char *name;
    uint16_t flag;
} flag_names[] = {
    {"notify", GATT_FLAG_NOTIFY},
    {"indicate", GATT_FLAG_INDICATE},
    {"read", GATT_FLAG_READ},
    {"write", GATT_FLAG_WRITE},
    {"write_command", GATT_FLAG_WRITE_COMMAND},
};

static void read_flag(struct reader *reader, const struct key *key, const struct yaml_node *node,
                      uint16_t *flags)
{
    const char *text = node->kind == YAML_KIND_SCALAR ? node->text : "";
    struct suggestion suggestion = suggestion_for(text);

    for (size_t i = 0; i < ARRAY_SIZE(flag_names); i++) {
        if (strcmp(flag_names[i].name, text) == 0) {
            *flags |= flag_names[i].flag;
            return;
        }
        suggestion_offer(&suggestion, flag_names[i].name);
    }
    const char *best = suggestion_best(&suggestion);
    if (best)
        reader_error(reader, node, "'has' knows no '%s'; did you mean '%s'?", text, best);
    else
        reader_wrong(reader, key, node, key->form);
}

void read_has(struct reader *reader, const struct key *key, const struct yaml_node *node,
              void *target)
{
    struct characteristic_settings *characteristic = target;

    if (node->kind != YAML_KIND_SEQUENCE) {
        read_flag(reader, key, node, &characteristic->has_flags);
        return;
    }
    for (size_t i = 0; i < node->n_items; i++)
        read_flag(reader, key, node->items[i], &characteristic->has_flags);
}

/* a word's meaning, where the table keeps no value: it was checked before */
bool is_word(const struct yaml_node *node, const char *key, const char *word)
{
    const struct yaml_node *value = yaml_node_get(node, key);

    return value && value->kind == YAML_KIND_SCALAR && strcmp(value->text, word) == 0;
}

static size_t published_fields(const struct schema *schema)
{
    size_t n = 0;

    for (size_t i = 0; schema && i < schema->n_fields; i++)
        n += schema->fields[i].publish;
    return n;
}

static void check_payload(struct reader *reader, const struct yaml_node *payload,
                          const struct characteristic_settings *characteristic)
{
    size_t n = published_fields(characteristic->schema);

    if (!payload)
        return;
    if (characteristic->payload == PAYLOAD_VALUE && characteristic->schema && n != 1)
        reader_error(reader, payload,
                     "'payload: value' is one bare value, but %zu fields are published; use json, "
                     "or publish: false at the others",
                     n);
    if (characteristic->schema &&
        (characteristic->payload == PAYLOAD_RAW || characteristic->payload == PAYLOAD_HEX))
        reader_error(reader, payload,
                     "'payload: %s' is the bytes as they are; leave out 'fields', or use json",
                     payload->text);
}

/* the key's value here, or where it is taken over from */
static const struct yaml_node *get_from(const struct yaml_node *node,
                                        const struct yaml_node *parent, const char *key)
{
    const struct yaml_node *own = yaml_node_get(node, key);

    return own || !parent ? own : yaml_node_get(parent, key);
}

static bool is_word_from(const struct yaml_node *node, const struct yaml_node *parent,
                         const char *key, const char *word)
{
    return is_word(parent && !yaml_node_get(node, key) ? parent : node, key, word);
}

static bool has_deadband(const struct schema *schema)
{
    for (size_t i = 0; schema && i < schema->n_fields; i++)
        if (schema->fields[i].has_deadband)
            return true;
    return false;
}

/* A deadband says what a change is, so values are published on change. */
static void check_publish(struct reader *reader, const struct yaml_node *publish,
                          struct characteristic_settings *characteristic)
{
    const struct yaml_node *on =
        publish && publish->kind == YAML_KIND_MAPPING ? yaml_node_get(publish, "on") : NULL;
    bool deadband = has_deadband(characteristic->schema);

    if (deadband && on && !characteristic->publish.on_change)
        reader_error(reader, on, "'on: always' and a 'deadband' contradict each other");
    if (characteristic->kind != KIND_STATE && publish &&
        (characteristic->publish.on_change || characteristic->publish.heartbeat_ms))
        reader_error(reader, publish,
                     "'on: change' and 'heartbeat' are for kind: state; each event and record is "
                     "published, and once");
    characteristic->publish.on_change |= deadband && characteristic->kind == KIND_STATE;
}

/* What a UUID of the Bluetooth SIG means needs no fields; bytes as they are can be had all the
 * same. */
static void read_sig_format(struct reader *reader, const struct yaml_node *node,
                            struct characteristic_settings *characteristic)
{
    uint16_t uuid = characteristic->has_uuid ? bt_uuid_to_u16(&characteristic->uuid) : 0;

    if (!uuid || characteristic->payload == PAYLOAD_RAW || characteristic->payload == PAYLOAD_HEX ||
        yaml_node_get(node, "frame") || yaml_node_get(node, "messages"))
        return;
    if (sig_schema_new(uuid, &characteristic->schema) == -ENOMEM)
        reader->failed = true;
}

void read_value_keys(struct reader *reader, const struct yaml_node *name,
                     const struct yaml_node *node, const struct yaml_node *parent,
                     struct characteristic_settings *characteristic)
{
    const struct yaml_node *fields = yaml_node_get(node, "fields");
    const struct yaml_node *own = yaml_node_get(node, "retain");
    bool is_state = characteristic->kind == KIND_STATE;

    if (fields && fields->kind == YAML_KIND_MAPPING && fields->n_items)
        characteristic->schema =
            read_fields(reader, fields, is_word_from(node, parent, "endian", "big"),
                        is_word_from(node, parent, "extra", "error"));
    else if (!fields && !parent)
        read_sig_format(reader, node, characteristic);
    check_payload(reader, get_from(node, parent, "payload"), characteristic);
    check_publish(reader, get_from(node, parent, "publish"), characteristic);
    if (!get_from(node, parent, "retain"))
        characteristic->retain = is_state;
    else if (characteristic->retain && !is_state && own)
        reader_error(reader, own,
                     "'retain: true' is for kind: state; an event or a record is never retained");
    else
        characteristic->retain &= is_state;
}

void check_characteristic_id(struct reader *reader, const struct yaml_node *name, const char *what)
{
    static const char *const reserved[] = {"status", "command",       "set",    "get", "result",
                                           "event",  "advertisement", "entity", NULL};

    check_id(reader, name, what, reserved);
}

static void check_purpose(struct reader *reader, const struct yaml_node *name,
                          const struct characteristic_settings *characteristic)
{
    if (!characteristic->subscribe && !characteristic->writable && !characteristic->read_every_ms &&
        !characteristic->read_on_connect)
        reader_warning(reader, name,
                       "'%s' publishes nothing by itself; give it subscribe: true, read: {every: "
                       "10m} or writable: true",
                       name->text);
}

void check_purposes(struct reader *reader, const struct yaml_node *node,
                    const struct device_settings *device, uint64_t used)
{
    size_t name = 0; /* the messages of a characteristic stand behind it, but not in the mapping */

    for (size_t i = 0; i < device->n_characteristics; i++) {
        if (device->characteristics[i].origin == ORIGIN_MESSAGE)
            continue;
        if (!(used & 1ULL << i))
            check_purpose(reader, node->keys[name], &device->characteristics[i]);
        name++;
    }
}

/* `set: merge` fills in fields, and a frame has no last value. */
static void check_set(struct reader *reader, const struct yaml_node *node,
                      const struct characteristic_settings *characteristic)
{
    const struct yaml_node *set = yaml_node_get(node, "set");

    if (!set || characteristic->set != SET_MERGE || reader->partial)
        return;
    if (characteristic->framed)
        reader_error(reader, set,
                     "'set: merge' needs a value that is read or notified as a whole, not in "
                     "frames; use set: whole");
    else if (yaml_node_get(node, "messages"))
        reader_error(reader, set,
                     "'set: merge' fills in fields, but these are those of 'messages'; use set: "
                     "whole");
    else if (!characteristic->schema && !yaml_node_get(node, "fields"))
        reader_error(reader, set, "'set: merge' fills in fields, but there are none");
    else if (!characteristic->writable)
        reader_error(reader, set, "'set: merge' is about writing; add writable: true");
}

static void read_characteristic(struct reader *reader, const struct key *key,
                                const struct yaml_node *name, const struct yaml_node *node,
                                struct characteristic_settings *characteristic)
{
    *characteristic = (struct characteristic_settings){
        .id = reader_copy(reader, name->text),
        .origin = ORIGIN_GATT,
        .index = -1,
        .readable = true,
    };
    check_characteristic_id(reader, name, "a characteristic");
    reader_defaults(reader, key, characteristic);
    reader_section(reader, key, node, name, characteristic);
    if (node->kind != YAML_KIND_MAPPING && !yaml_node_is_null(node))
        return;
    read_value_keys(reader, name, node, NULL, characteristic);
    read_frame(reader, node, characteristic);
    check_set(reader, node, characteristic);
    if (!reader->partial && !yaml_node_get(node, "uuid") && !yaml_node_get(node, "handle"))
        reader_error(reader, name, "'%s' needs 'uuid' (or 'handle'): which characteristic is it?",
                     name->text);
}

static const struct yaml_node *messages_of(const struct yaml_node *characteristic)
{
    const struct yaml_node *messages = yaml_node_get(characteristic, "messages");

    return messages && messages->kind == YAML_KIND_MAPPING ? messages : NULL;
}

void read_characteristics(struct reader *reader, const struct yaml_node *node,
                          struct device_settings *device)
{
    const struct key *key = key_find(key_find(&config_table, "devices"), "characteristics");
    size_t n = node->n_items;

    for (size_t i = 0; i < node->n_items; i++)
        n += messages_of(node->items[i]) ? messages_of(node->items[i])->n_items : 0;
    if (n > SETTINGS_MAX_CHARACTERISTICS) {
        reader_error(reader, node, "a device has at most %d characteristics%s, not %zu",
                     SETTINGS_MAX_CHARACTERISTICS, n > node->n_items ? " and messages" : "", n);
        return;
    }
    device->characteristics = reader_array(reader, n, sizeof(*device->characteristics));
    for (size_t i = 0; device->characteristics && i < node->n_items; i++) {
        size_t index = device->n_characteristics++;

        read_characteristic(reader, key, node->keys[i], node->items[i],
                            &device->characteristics[index]);
        if (messages_of(node->items[i]))
            read_messages(reader, node, node->items[i], device, index);
    }
}
