/* Nodes into structs after the table; see reader.h. */
#include "config/reader.h"

#include "config/scalar.h"
#include "config/secret.h"
#include "config/suggest.h"
#include "util/strbuf.h"
#include <stdlib.h>
#include <string.h>

static void *at_offset(void *target, size_t offset)
{
    return (char *)target + offset;
}

static void store_int(const struct key *key, void *target, int64_t value)
{
    void *p = at_offset(target, key->offset);

    if (!key->stored)
        return;
    switch (key->size) {
    case 1: *(uint8_t *)p = (uint8_t)value; break;
    case 2: *(uint16_t *)p = (uint16_t)value; break;
    case 4: *(uint32_t *)p = (uint32_t)value; break;
    case 8: *(uint64_t *)p = (uint64_t)value; break;
    }
}

static void store_text(struct reader *reader, const struct key *key, void *target, char *text)
{
    char **p = at_offset(target, key->offset);

    if (!text)
        return;
    free(*p);
    *p = text;
}

/* ---- the types ---- */

static void read_bool(struct reader *reader, const struct key *key, const struct yaml_node *node,
                      void *target)
{
    static const char *const words[] = {"yes", "on", "no", "off"};
    bool value;

    if (yaml_node_is_bool(node, &value)) {
        store_int(key, target, value);
        return;
    }
    for (size_t i = 0; node->kind == YAML_KIND_SCALAR && i < ARRAY_SIZE(words); i++)
        if (strcasecmp(node->text, words[i]) == 0) {
            reader_error(reader, node, "'%s' must be true or false; '%s' is only a word, write %s",
                         key->name, node->text, i < 2 ? "true" : "false");
            return;
        }
    reader_wrong(reader, key, node, "true or false");
}

static void read_int(struct reader *reader, const struct key *key, const struct yaml_node *node,
                     void *target)
{
    int64_t value;

    if (reader_int(reader, key->name, node, key->min, key->max, &value))
        store_int(key, target, value);
}

static void read_decimal(struct reader *reader, const struct key *key, const struct yaml_node *node,
                         void *target)
{
    struct decimal value;

    if (reader_decimal(reader, key->name, node, &value))
        *(struct decimal *)at_offset(target, key->offset) = value;
}

static void read_text(struct reader *reader, const struct key *key, const struct yaml_node *node,
                      void *target)
{
    const char *text = reader_text(reader, key, node);

    if (text && scalar_check_text(reader, key, node, text))
        store_text(reader, key, target, reader_copy(reader, text));
}

static void read_file(struct reader *reader, const struct key *key, const struct yaml_node *node,
                      void *target)
{
    const char *text = reader_text(reader, key, node);

    if (text)
        store_text(reader, key, target, scalar_file(reader, key, node, text));
}

static void read_uuid(struct reader *reader, const struct key *key, const struct yaml_node *node,
                      void *target)
{
    struct bt_uuid uuid;

    if (reader_uuid(reader, key->name, node, &uuid))
        *(struct bt_uuid *)at_offset(target, key->offset) = uuid;
}

static void read_address(struct reader *reader, const struct key *key, const struct yaml_node *node,
                         void *target)
{
    struct bt_address address;

    if (scalar_address(reader, key, node, &address))
        *(struct bt_address *)at_offset(target, key->offset) = address;
}

/* "a, b or c": the words that are supported */
static void append_words(struct strbuf *out, const struct key *key)
{
    size_t left = 0;

    for (size_t i = 0; i < key->n_words; i++)
        left += !key->words[i].later;
    for (size_t i = 0; i < key->n_words; i++) {
        if (key->words[i].later)
            continue;
        left--;
        strbuf_printf(out, "%s%s", key->words[i].name, left > 1 ? ", " : left ? " or " : "");
    }
}

static void read_word(struct reader *reader, const struct key *key, const struct yaml_node *node,
                      void *target)
{
    struct suggestion suggestion = suggestion_for(node->text ? node->text : "");
    struct strbuf form = STRBUF_INIT;

    if (node->kind == YAML_KIND_MAPPING && key->n_keys) {
        reader_section(reader, key, node, node, target);
        return;
    }
    for (size_t i = 0; node->kind == YAML_KIND_SCALAR && i < key->n_words; i++) {
        const struct key_word *word = &key->words[i];
        if (strcmp(word->name, node->text) == 0) {
            if (word->later)
                reader_error(reader, node, "'%s: %s' is not supported yet", key->name, word->name);
            else
                store_int(key, target, word->value);
            return;
        }
        suggestion_offer(&suggestion, word->name);
    }
    append_words(&form, key);
    const char *best = node->kind == YAML_KIND_SCALAR ? suggestion_best(&suggestion) : NULL;
    if (best)
        strbuf_printf(&form, "; did you mean '%s'?", best);
    char shown[SHOWN_SIZE];
    reader_error(reader, node, "'%s' cannot be %s; it is %s", key->name, reader_show(node, shown),
                 strbuf_str(&form));
    strbuf_done(&form);
}

static void read_simple(struct reader *reader, const struct key *key, const struct yaml_node *node,
                        void *target)
{
    int64_t value;

    switch (key->type) {
    case KEY_BOOL: read_bool(reader, key, node, target); break;
    case KEY_INT: read_int(reader, key, node, target); break;
    case KEY_DECIMAL: read_decimal(reader, key, node, target); break;
    case KEY_DURATION:
        if (scalar_duration(reader, key, node, &value))
            store_int(key, target, value);
        break;
    case KEY_SIZE:
        if (scalar_size(reader, key, node, &value))
            store_int(key, target, value);
        break;
    case KEY_TEXT:
    case KEY_ID:
    case KEY_TOPIC: read_text(reader, key, node, target); break;
    case KEY_FILE: read_file(reader, key, node, target); break;
    case KEY_WORD: read_word(reader, key, node, target); break;
    case KEY_UUID: read_uuid(reader, key, node, target); break;
    case KEY_ADDRESS: read_address(reader, key, node, target); break;
    case KEY_OTHER: key->read(reader, key, node, target); break;
    case KEY_SECTION:
    case KEY_ENTRIES: break;
    }
}

/* ---- sections ---- */

void reader_defaults(struct reader *reader, const struct key *section, void *target)
{
    for (size_t i = 0; i < section->n_keys; i++) {
        const struct key *key = &section->keys[i];
        struct yaml_node node = {.kind = YAML_KIND_SCALAR, .text = (char *)key->fallback};

        if (key->type == KEY_SECTION)
            reader_defaults(reader, key, target);
        else if (key->fallback)
            read_simple(reader, key, &node, target);
        if (key->type == KEY_WORD) /* what its long form has */
            reader_defaults(reader, key, target);
    }
}

/* the path to a key of that name below a section, "match" or "tls"; false if there is none */
static bool find_below(const struct key *section, const char *name, struct strbuf *path)
{
    for (size_t i = 0; i < section->n_keys; i++) {
        const struct key *key = &section->keys[i];
        size_t length = path->length;

        if (!key->n_keys || key->later || strcmp(key->name, "profiles") == 0)
            continue;
        strbuf_printf(path, "%s%s%s", length ? "." : "", key->name,
                      key->type == KEY_ENTRIES ? ".ID" : "");
        const struct key *found = key_find(key, name);
        if ((found && !found->later) || find_below(key, name, path))
            return true;
        strbuf_truncate(path, length);
    }
    return false;
}

static void append_hint(struct strbuf *out, const struct key *section, const char *name)
{
    struct suggestion suggestion = suggestion_for(name);
    struct strbuf path = STRBUF_INIT;

    for (size_t i = 0; i < section->n_keys; i++)
        suggestion_offer(&suggestion, section->keys[i].name);
    if (find_below(section, name, &path)) {
        strbuf_printf(out, "; it belongs in '%s'", strbuf_str(&path));
    } else if (suggestion_best(&suggestion)) {
        strbuf_printf(out, "; did you mean '%s'?", suggestion_best(&suggestion));
    } else if (find_below(&config_table, name, &path)) {
        strbuf_printf(out, "; it belongs in '%s'", strbuf_str(&path));
    } else if (section->n_keys <= 8) {
        for (size_t i = 0; i < section->n_keys; i++)
            strbuf_printf(out, "%s%s", i ? ", " : "; known here: ", section->keys[i].name);
    }
    strbuf_done(&path);
}

static void unknown_key(struct reader *reader, const struct key *section,
                        const struct yaml_node *name)
{
    struct strbuf hint = STRBUF_INIT;
    char shown[SHOWN_SIZE];

    if (reader->diags->n < DIAGS_MAX) /* else nobody will see it, and it costs time */
        append_hint(&hint, section, name->text);
    reader_error(reader, name, "unknown key %s%s", reader_show(name, shown), strbuf_str(&hint));
    strbuf_done(&hint);
}

static bool check_tag(struct reader *reader, const struct key *key, const struct yaml_node *node)
{
    if (!node->tag)
        return true;
    reader_error(reader, node,
                 "'%s' takes no '%s'; only mqtt.username, mqtt.password and a device's passkey do",
                 key->name, node->tag);
    return false;
}

static void read_key(struct reader *reader, const struct key *key, const struct yaml_node *name,
                     const struct yaml_node *node, void *target)
{
    if (key->later) {
        reader_error(reader, name, "'%s' is not supported yet", key->name);
        return;
    }
    if (key->secret && node->tag) {
        store_text(reader, key, target, secret_read(reader, key, node));
        return;
    }
    if (!check_tag(reader, key, node))
        return;
    size_t n_errors = reader->n_errors;
    if (key->type == KEY_SECTION)
        reader_section(reader, key, node, name, target);
    else if (key->type != KEY_ENTRIES)
        read_simple(reader, key, node, target);
    else if (node->kind != YAML_KIND_MAPPING && !yaml_node_is_null(node))
        reader_wrong(reader, key, node, "a mapping of names to entries");
    if (key->has_flag && reader->n_errors == n_errors)
        *(bool *)at_offset(target, key->flag_offset) = true;
}

void reader_section(struct reader *reader, const struct key *section, const struct yaml_node *node,
                    const struct yaml_node *at, void *target)
{
    bool there = node && !yaml_node_is_null(node);

    if (there && node->kind != YAML_KIND_MAPPING) {
        reader_wrong(reader, section, node, "a mapping (indented lines of 'key: value')");
        return;
    }
    if (there)
        reader->n_keys += node->n_items;
    if (reader->n_keys > CONFIG_MAX_KEYS) {
        diags_add(reader->diags, DIAG_ERROR, 0, 0,
                  "the file has more than %d keys, with those of profiles counted for each device",
                  CONFIG_MAX_KEYS);
        return;
    }
    for (size_t i = 0; there && i < node->n_items; i++) {
        const struct key *key = key_find(section, node->keys[i]->text);
        if (key)
            read_key(reader, key, node->keys[i], node->items[i], target);
        else
            unknown_key(reader, section, node->keys[i]);
    }
    for (size_t i = 0; !reader->partial && i < section->n_keys; i++) {
        const struct key *key = &section->keys[i];
        if (key->required && !(there && yaml_node_get(node, key->name)))
            reader_error(reader, at, "'%s' is missing here; it is %s", key->name, key->form);
    }
}
