/* `frame` and `messages` of a characteristic. Must not know devices but for the ids in them. */
#include "config/parts.h"
#include "config/readers.h"
#include "core/frame.h"
#include <string.h>

/* ---- frame ---- */

void read_frame_mark(struct reader *reader, const struct key *key, const struct yaml_node *node,
                     void *target)
{
    struct frame_mark *mark = (struct frame_mark *)((char *)target + key->offset);
    const char *text = yaml_node_string(node);

    if (!text || num_parse_hex(text, mark->data, sizeof(mark->data), &mark->length) < 0 ||
        !mark->length) {
        *mark = (struct frame_mark){0};
        reader_error(reader, node, "'%s' must be %s, and at most %d bytes", key->name, key->form,
                     FRAME_MAX_MARK);
    }
}

void read_frame_delimiter(struct reader *reader, const struct key *key,
                          const struct yaml_node *node, void *target)
{
    struct frame_settings *frame = &((struct characteristic_settings *)target)->frame;
    const char *text = yaml_node_string(node);
    size_t length = text ? strlen(text) : 0;

    if (!length || length > FRAME_MAX_MARK) {
        reader_error(reader, node, "'%s' must be %s, of 1 to %d bytes", key->name, key->form,
                     FRAME_MAX_MARK);
        return;
    }
    memcpy(frame->end.data, text, length);
    frame->end.length = length;
    frame->strip_end = true;
}

static bool same_mark(const struct frame_mark *a, const struct frame_mark *b)
{
    return a->length == b->length && memcmp(a->data, b->data, a->length) == 0;
}

static void check_ends(struct reader *reader, const struct yaml_node *frame,
                       const struct frame_settings *settings)
{
    const struct yaml_node *length = yaml_node_get(frame, "length");
    const struct yaml_node *end = yaml_node_get(frame, "end");
    const struct yaml_node *delimiter = yaml_node_get(frame, "delimiter");

    if (delimiter && (length || end))
        reader_error(reader, delimiter,
                     "'delimiter' says by itself where a message ends; leave out 'length' and "
                     "'end', or the delimiter");
    else if (!delimiter && !length && !end)
        reader_error(reader, frame,
                     "'frame' needs 'length', 'end' or 'delimiter': where does a frame end?");
    else if (end && !length && same_mark(&settings->start, &settings->end))
        reader_error(reader, end, "'end' without 'length' must not be the same as 'start'");
    else if (frame_least(settings) > settings->max)
        reader_error(reader, frame, "a frame has at least %zu bytes here, but at most %zu by 'max'",
                     frame_least(settings), (size_t)settings->max);
}

/* the byte order of a part of the frame */
static bool is_big(const struct yaml_node *part, const struct yaml_node *characteristic)
{
    bool own = part && part->kind == YAML_KIND_MAPPING && yaml_node_get(part, "endian");

    return is_word(own ? part : characteristic, "endian", "big");
}

void read_frame(struct reader *reader, const struct yaml_node *node,
                struct characteristic_settings *characteristic)
{
    const struct yaml_node *frame = yaml_node_get(node, "frame");
    const struct yaml_node *read = yaml_node_get(node, "read");
    struct frame_settings *settings = &characteristic->frame;

    if (!frame || frame->kind != YAML_KIND_MAPPING)
        return;
    characteristic->readable = false;
    if (yaml_node_get(frame, "length") && !settings->length_size)
        settings->length_size = 1;
    settings->length_big_endian = is_big(yaml_node_get(frame, "length"), node);
    settings->checksum_big_endian = is_big(yaml_node_get(frame, "checksum"), node);
    if (!reader->partial && characteristic->framed)
        check_ends(reader, frame, settings);
    if (read && (characteristic->read_on_connect || characteristic->read_every_ms))
        reader_error(reader, read,
                     "'read' and 'frame' exclude each other: frames come in notifications");
}

/* ---- messages ---- */

void read_message_equals(struct reader *reader, const struct key *key, const struct yaml_node *node,
                         void *target)
{
    struct message_settings *message = &((struct characteristic_settings *)target)->message;
    const char *text = yaml_node_string(node);
    int64_t byte;

    if (yaml_node_is_int(node, &byte)) {
        if (reader_int(reader, key->name, node, 0, 255, &byte)) {
            message->data[0] = (uint8_t)byte;
            message->length = 1;
        }
    } else if (!text ||
               num_parse_hex(text, message->data, sizeof(message->data), &message->length) < 0 ||
               !message->length) {
        message->length = 0;
        reader_error(reader, node, "'%s' must be %s, and at most %d bytes", key->name, key->form,
                     MESSAGE_MAX_ID);
    }
}

static bool same_message(const struct message_settings *a, const struct message_settings *b)
{
    return a->offset == b->offset && a->length == b->length &&
           memcmp(a->data, b->data, a->length) == 0;
}

/* its id is its topic: nothing else of the device has it */
static void check_message_id(struct reader *reader, const struct yaml_node *all,
                             const struct yaml_node *name, const struct device_settings *device,
                             size_t first)
{
    bool characteristic = yaml_node_get(all, name->text), message = false;

    for (size_t i = 0; i < first; i++)
        message |= device->characteristics[i].origin == ORIGIN_MESSAGE &&
                   device->characteristics[i].id &&
                   strcmp(device->characteristics[i].id, name->text) == 0;
    if (characteristic || message)
        reader_error(reader, name,
                     "'%s' is a %s of this device already; a message needs an id, and thus a "
                     "topic, of its own",
                     name->text, characteristic ? "characteristic" : "message");
}

/* The first that fits takes a message: does one before it take them all? `settings` and `messages`
 * are those of one characteristic. */
static void check_reached(struct reader *reader, const struct yaml_node *messages,
                          const struct characteristic_settings *settings, size_t index)
{
    const struct yaml_node *name = messages->keys[index];

    for (size_t i = 0; i < index; i++) {
        const char *before = messages->keys[i]->text;

        if (!yaml_node_get(messages->items[i], "when")) {
            reader_error(reader, name,
                         "'%s' never comes: '%s' before it has no 'when' and takes every message; "
                         "that one must stand last",
                         name->text, before);
            return;
        }
        if (settings[i].message.length &&
            same_message(&settings[i].message, &settings[index].message)) {
            reader_error(reader, name, "'%s' never comes: '%s' has the same 'when'", name->text,
                         before);
            return;
        }
    }
}

static void read_message(struct reader *reader, const struct key *key, const struct yaml_node *name,
                         const struct yaml_node *node, const struct yaml_node *parent_node,
                         const struct characteristic_settings *parent,
                         struct characteristic_settings *message)
{
    *message = (struct characteristic_settings){
        .id = reader_copy(reader, name->text),
        .origin = ORIGIN_MESSAGE,
        .index = -1,
    };
    check_characteristic_id(reader, name, "a message");
    reader_defaults(reader, key, message);
    message->payload = parent->payload;
    message->kind = parent->kind;
    message->retain = parent->retain;
    message->qos = parent->qos;
    message->history_latest = parent->history_latest;
    reader_section(reader, key, node, name, message);
    if (node->kind == YAML_KIND_MAPPING)
        read_value_keys(reader, name, node, parent_node, message);
}

void read_messages(struct reader *reader, const struct yaml_node *all, const struct yaml_node *node,
                   struct device_settings *device, size_t index)
{
    const struct key *characteristic =
        key_find(key_find(&config_table, "devices"), "characteristics");
    const struct key *key = key_find(characteristic, "messages");
    const struct yaml_node *messages = yaml_node_get(node, "messages");
    const struct yaml_node *fields = yaml_node_get(node, "fields");
    struct characteristic_settings *parent = &device->characteristics[index];

    if (fields)
        reader_error(reader, fields,
                     "'fields' and 'messages' exclude each other: each message has its own fields");
    for (size_t i = 0; i < messages->n_items; i++) {
        read_message(reader, key, messages->keys[i], messages->items[i], node, parent,
                     &device->characteristics[device->n_characteristics++]);
        parent->n_messages++;
        check_message_id(reader, all, messages->keys[i], device, index);
        if (!reader->partial)
            check_reached(reader, messages, parent + 1, i);
    }
}
