/* YAML as it stands to JSON: `home_assistant`, and values of parameters. Must not know what it
 * means. */
#include "config/parts.h"
#include "config/readers.h"
#include "core/json.h"
#include "core/settings.h"
#include "util/num.h"
#include "util/strbuf.h"
#include <stdlib.h>
#include <string.h>

static void put_node(struct reader *reader, struct json_writer *w, const struct yaml_node *node);

static void put_scalar(struct reader *reader, struct json_writer *w, const struct yaml_node *node)
{
    const char *text = yaml_node_string(node);
    struct decimal decimal;
    int64_t whole;
    bool yes;

    if (text)
        json_write_string(w, text);
    else if (yaml_node_is_null(node))
        json_write_null(w);
    else if (yaml_node_is_bool(node, &yes))
        json_write_bool(w, yes);
    else if (yaml_node_is_int(node, &whole) && whole >= -(int64_t)JSON_MAX_INTEGER &&
             whole <= (int64_t)JSON_MAX_INTEGER)
        json_write_int(w, whole);
    else if (reader_decimal(reader, "number", node, &decimal))
        json_write_decimal(w, decimal.mantissa, decimal.decimals);
    else
        json_write_null(w);
}

static void put_node(struct reader *reader, struct json_writer *w, const struct yaml_node *node)
{
    if (w->out->length > SETTINGS_MAX_LITERAL)
        return; /* told later */
    if (node->tag) {
        reader_error(reader, node, "'%s' has no place here", node->tag);
        json_write_null(w);
        return;
    }
    switch (node->kind) {
    case YAML_KIND_SCALAR: put_scalar(reader, w, node); return;
    case YAML_KIND_SEQUENCE:
        json_write_array_begin(w);
        for (size_t i = 0; i < node->n_items; i++)
            put_node(reader, w, node->items[i]);
        json_write_array_end(w);
        return;
    case YAML_KIND_MAPPING:
        json_write_object_begin(w);
        for (size_t i = 0; i < node->n_items; i++) {
            json_write_key(w, node->keys[i]->text);
            put_node(reader, w, node->items[i]);
        }
        json_write_object_end(w);
        return;
    }
}

char *read_literal(struct reader *reader, const struct yaml_node *node)
{
    struct strbuf text = STRBUF_INIT;
    struct json_writer w = json_writer_to(&text);
    size_t n_errors = reader->n_errors;

    put_node(reader, &w, node);
    if (text.length > SETTINGS_MAX_LITERAL)
        reader_error(reader, node, "this is more than %d bytes as JSON", SETTINGS_MAX_LITERAL);
    if (!strbuf_ok(&text))
        reader->failed = true;
    if (reader->n_errors != n_errors || reader->failed) {
        strbuf_done(&text);
        return NULL;
    }
    return strbuf_take(&text);
}

static void read_override(struct reader *reader, const struct key *key,
                          const struct yaml_node *node, const char *const *ours, const char *why,
                          char **target)
{
    if (node->kind != YAML_KIND_MAPPING) {
        reader_wrong(reader, key, node, key->form);
        return;
    }
    for (size_t i = 0; i < node->n_items; i++)
        for (size_t j = 0; ours[j]; j++)
            if (strcmp(node->keys[i]->text, ours[j]) == 0)
                reader_error(reader, node->keys[i], "'%s' stays what it is: %s", ours[j], why);
    char *text = read_literal(reader, node);
    if (text) {
        free(*target);
        *target = text;
    }
}

void read_entity_override(struct reader *reader, const struct key *key,
                          const struct yaml_node *node, void *target)
{
    static const char *const ours[] = {"unique_id", "uniq_id", "platform", "p", NULL};

    read_override(reader, key, node, ours,
                  "Home Assistant knows the entity by it (for another platform, use 'entities')",
                  (char **)((char *)target + key->offset));
}

void read_device_override(struct reader *reader, const struct key *key,
                          const struct yaml_node *node, void *target)
{
    static const char *const ours[] = {"identifiers", "ids", "via_device", NULL};

    read_override(reader, key, node, ours, "Home Assistant knows the device by it",
                  (char **)((char *)target + key->offset));
}
