/*
 * libyaml's events to a tree; see doc.h. A node behind an alias is shared, so that memory stays as
 * small as the file; its weight (nodes seen by somebody who walks it) is counted at each use. Must
 * not know what the file is about.
 */
#include "yaml/doc.h"

#include "util/cleanup.h"
#include "yaml/syntax.h"
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

/* A node with what only the construction needs. */
struct item {
    struct yaml_node node; /* first, so that a node's address is its item's */
    struct item *next;     /* of all, for freeing */
    size_t weight;         /* nodes below and itself, aliases followed */
    size_t height;         /* levels below and itself */
    size_t size;           /* allocated in keys and items */
    bool open;             /* its end was not seen yet */
};

struct anchor {
    char *name; /* owned */
    struct item *item;
};

struct yaml_doc {
    struct yaml_node *root;
    struct item *all; /* owned */
};

struct builder {
    yaml_parser_t parser;
    struct yaml_doc *doc;
    struct diags *diags;
    const char *text; /* borrowed: the file */
    size_t length;
    struct anchor *anchors; /* owned */
    size_t n_anchors, anchors_size;
    size_t weight; /* of all so far */
};

#define YAML_MAX_ANCHORS 1000

static int next_event(struct builder *b, yaml_event_t *ret_event)
{
    if (yaml_parser_parse(&b->parser, ret_event))
        return 0;
    return syntax_report(&b->parser, b->text, b->length, b->diags);
}

/* ---- nodes ---- */

static struct item *item_new(struct builder *b, enum yaml_kind kind, const yaml_mark_t *mark)
{
    struct item *item = calloc(1, sizeof(*item));

    if (!item)
        return NULL;
    item->node.kind = kind;
    item->node.line = mark->line + 1;
    item->node.column = mark->column + 1;
    item->weight = 1;
    item->height = 1;
    item->next = b->doc->all;
    b->doc->all = item;
    return item;
}

static void item_free(struct item *item)
{
    free(item->node.tag);
    free(item->node.text);
    free(item->node.keys);
    free(item->node.items);
    free(item);
}

/* appends one entry; `key` is NULL in a sequence */
static int item_append(struct item *item, struct yaml_node *key, struct yaml_node *value)
{
    struct yaml_node *node = &item->node;

    if (node->n_items == item->size) {
        size_t size = item->size ? item->size * 2 : 4;
        struct yaml_node **items = realloc(node->items, size * sizeof(struct yaml_node *));
        if (!items)
            return -ENOMEM;
        node->items = items;
        if (node->kind == YAML_KIND_MAPPING) {
            struct yaml_node **keys = realloc(node->keys, size * sizeof(struct yaml_node *));
            if (!keys)
                return -ENOMEM;
            node->keys = keys;
        }
        item->size = size;
    }
    if (node->kind == YAML_KIND_MAPPING)
        node->keys[node->n_items] = key;
    node->items[node->n_items++] = value;
    return 0;
}

/* Counts what was reached; depth counts the levels above. */
static int check_limits(struct builder *b, const struct item *item, size_t weight, size_t depth,
                        const yaml_mark_t *mark)
{
    b->weight += weight;
    if (b->weight > YAML_MAX_NODES) {
        diags_add(b->diags, DIAG_ERROR, mark->line + 1, mark->column + 1,
                  "the file has more than %d entries (aliases count each time they are used)",
                  YAML_MAX_NODES);
        return -EINVAL;
    }
    if (depth + item->height > YAML_MAX_DEPTH) {
        diags_add(b->diags, DIAG_ERROR, mark->line + 1, mark->column + 1,
                  "this is nested deeper than %d levels", YAML_MAX_DEPTH);
        return -EINVAL;
    }
    return 0;
}

static int set_tag(struct builder *b, struct item *item, const yaml_char_t *tag,
                   const yaml_mark_t *mark)
{
    const char *text = (const char *)tag;

    if (!text)
        return 0;
    if (strcmp(text, "!") == 0 || strcmp(text, "tag:yaml.org,2002:str") == 0) {
        item->node.quoted = true;
        return 0;
    }
    if (text[0] != '!')
        diags_add(b->diags, DIAG_ERROR, mark->line + 1, mark->column + 1,
                  "the tag '%s' means nothing here; leave it out", text);
    item->node.tag = strdup(text);
    return item->node.tag ? 0 : -ENOMEM;
}

/* ---- anchors ---- */

static int anchor_add(struct builder *b, const yaml_char_t *name, struct item *item)
{
    if (!name)
        return 0;
    if (b->n_anchors == YAML_MAX_ANCHORS) {
        diags_add(b->diags, DIAG_ERROR, item->node.line, item->node.column,
                  "the file has more than %d anchors", YAML_MAX_ANCHORS);
        return -EINVAL;
    }
    if (b->n_anchors == b->anchors_size) {
        size_t size = b->anchors_size ? b->anchors_size * 2 : 8;
        struct anchor *anchors = realloc(b->anchors, size * sizeof(*anchors));
        if (!anchors)
            return -ENOMEM;
        b->anchors = anchors;
        b->anchors_size = size;
    }
    char *copy = strdup((const char *)name);
    if (!copy)
        return -ENOMEM;
    b->anchors[b->n_anchors++] = (struct anchor){.name = copy, .item = item};
    return 0;
}

static int follow_alias(struct builder *b, const yaml_event_t *event, size_t depth,
                        struct item **ret_item)
{
    const char *name = (const char *)event->data.alias.anchor;
    const yaml_mark_t *mark = &event->start_mark;
    struct item *item = NULL;

    /* the last one of a name counts: YAML lets an anchor be set again */
    for (size_t i = b->n_anchors; i > 0 && !item; i--)
        if (strcmp(b->anchors[i - 1].name, name) == 0)
            item = b->anchors[i - 1].item;
    if (!item) {
        diags_add(b->diags, DIAG_ERROR, mark->line + 1, mark->column + 1,
                  "there is no anchor '&%s' before this", name);
        return -EINVAL;
    }
    if (item->open) {
        diags_add(b->diags, DIAG_ERROR, mark->line + 1, mark->column + 1,
                  "'*%s' stands inside '&%s' itself", name, name);
        return -EINVAL;
    }
    int r = check_limits(b, item, item->weight, depth, mark);
    if (r == 0)
        *ret_item = item;
    return r;
}

/* ---- mappings ---- */

static size_t find_key(const struct yaml_node *mapping, const char *key)
{
    for (size_t i = 0; i < mapping->n_items; i++)
        if (strcmp(mapping->keys[i]->text, key) == 0)
            return i;
    return SIZE_MAX;
}

/* Both mappings' keys as one order-keeping dictionary; what is already there wins. */
static int merge_mapping(struct builder *b, struct item *into, const struct yaml_node *from)
{
    if (from->kind != YAML_KIND_MAPPING) {
        diags_add(b->diags, DIAG_ERROR, from->line, from->column,
                  "'<<' merges a mapping or a list of mappings, not %s", yaml_node_describe(from));
        return 0;
    }
    for (size_t i = 0; i < from->n_items; i++) {
        int r = 0;
        if (find_key(&into->node, from->keys[i]->text) == SIZE_MAX)
            r = item_append(into, from->keys[i], from->items[i]);
        if (r < 0)
            return r;
    }
    return 0;
}

static bool is_merge_key(const struct yaml_node *key)
{
    return !key->quoted && !key->tag && strcmp(key->text, "<<") == 0;
}

/*
 * Replaces each `<<` by the keys of what it names. `raw` has the mapping's own keys, `item` gets
 * the result: a key's place is where it appears first, its value the mapping's own if it has one.
 */
static int resolve_merges(struct builder *b, const struct yaml_node *raw, struct item *item)
{
    int r = 0;

    for (size_t i = 0; i < raw->n_items && r == 0; i++) {
        const struct yaml_node *value = raw->items[i];

        if (!is_merge_key(raw->keys[i])) {
            if (find_key(&item->node, raw->keys[i]->text) == SIZE_MAX)
                r = item_append(item, raw->keys[i], raw->items[i]);
        } else if (value->kind == YAML_KIND_SEQUENCE) {
            for (size_t k = 0; k < value->n_items && r == 0; k++)
                r = merge_mapping(b, item, value->items[k]);
        } else {
            r = merge_mapping(b, item, value);
        }
    }
    for (size_t i = 0; i < raw->n_items && r == 0; i++)
        if (!is_merge_key(raw->keys[i])) {
            size_t at = find_key(&item->node, raw->keys[i]->text);
            item->node.keys[at] = raw->keys[i];
            item->node.items[at] = raw->items[i];
        }
    return r;
}

static int build_node(struct builder *b, const yaml_event_t *event, size_t depth,
                      struct item **ret_item);

/* reads the next node; *ret_item is NULL at the end of the collection */
static int build_next(struct builder *b, size_t depth, struct item **ret_item)
{
    yaml_event_t event;
    int r = next_event(b, &event);

    if (r < 0)
        return r;
    if (event.type == YAML_MAPPING_END_EVENT || event.type == YAML_SEQUENCE_END_EVENT)
        *ret_item = NULL;
    else
        r = build_node(b, &event, depth, ret_item);
    yaml_event_delete(&event);
    return r;
}

static void account(struct item *parent, const struct item *child)
{
    parent->weight += child->weight;
    parent->height = MAX_OF(parent->height, child->height + 1);
}

/* the mapping's own entries; *ret_merges: there is a `<<` among them */
static int build_entries(struct builder *b, struct item *item, size_t depth, bool *ret_merges)
{
    *ret_merges = false;
    for (;;) {
        struct item *key, *value;
        int r = build_next(b, depth + 1, &key);

        if (r < 0 || !key)
            return r;
        r = build_next(b, depth + 1, &value);
        if (r < 0)
            return r;
        if (key->node.kind != YAML_KIND_SCALAR) {
            diags_add(b->diags, DIAG_ERROR, key->node.line, key->node.column,
                      "a key must be a text, not %s", yaml_node_describe(&key->node));
            continue;
        }
        account(item, key);
        account(item, value);
        size_t before = find_key(&item->node, key->node.text);
        if (before != SIZE_MAX) {
            diags_add(b->diags, DIAG_ERROR, key->node.line, key->node.column,
                      "the key '%s' stands here twice; the first one is in line %zu",
                      key->node.text, item->node.keys[before]->line);
            continue;
        }
        if (item->node.n_items == YAML_MAX_KEYS) {
            diags_add(b->diags, DIAG_ERROR, key->node.line, key->node.column,
                      "a mapping cannot have more than %d keys", YAML_MAX_KEYS);
            return -EINVAL;
        }
        *ret_merges |= is_merge_key(&key->node);
        r = item_append(item, &key->node, &value->node);
        if (r < 0)
            return r;
    }
}

static int build_mapping(struct builder *b, struct item *item, size_t depth)
{
    bool merges;
    int r = build_entries(b, item, depth, &merges);

    if (r < 0 || !merges)
        return r;
    struct yaml_node raw = item->node;
    item->node.keys = item->node.items = NULL;
    item->node.n_items = item->size = 0;
    r = resolve_merges(b, &raw, item);
    free(raw.keys);
    free(raw.items);
    return r;
}

static int build_sequence(struct builder *b, struct item *item, size_t depth)
{
    for (;;) {
        struct item *entry;
        int r = build_next(b, depth + 1, &entry);

        if (r < 0 || !entry)
            return r;
        account(item, entry);
        r = item_append(item, NULL, &entry->node);
        if (r < 0)
            return r;
    }
}

static int set_scalar(struct builder *b, struct item *item, const yaml_event_t *event)
{
    size_t length = event->data.scalar.length;

    item->node.quoted |= event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    item->node.text = malloc(length + 1);
    if (!item->node.text)
        return -ENOMEM;
    memcpy(item->node.text, event->data.scalar.value, length);
    item->node.text[length] = '\0';
    if (memchr(item->node.text, '\0', length))
        diags_add(b->diags, DIAG_ERROR, item->node.line, item->node.column,
                  "a text cannot have a NUL character in it");
    return 0;
}

/* starts the node of an event: its kind, tag and anchor */
static int start_node(struct builder *b, const yaml_event_t *event, enum yaml_kind kind,
                      const yaml_char_t *tag, const yaml_char_t *anchor, struct item **ret_item)
{
    struct item *item = item_new(b, kind, &event->start_mark);

    if (!item)
        return -ENOMEM;
    int r = set_tag(b, item, tag, &event->start_mark);
    if (r == 0)
        r = anchor_add(b, anchor, item);
    *ret_item = item;
    return r;
}

static int build_node(struct builder *b, const yaml_event_t *event, size_t depth,
                      struct item **ret_item)
{
    struct item *item;
    int r;

    if (event->type == YAML_ALIAS_EVENT)
        return follow_alias(b, event, depth, ret_item);
    if (event->type == YAML_SCALAR_EVENT)
        r = start_node(b, event, YAML_KIND_SCALAR, event->data.scalar.tag,
                       event->data.scalar.anchor, &item);
    else if (event->type == YAML_SEQUENCE_START_EVENT)
        r = start_node(b, event, YAML_KIND_SEQUENCE, event->data.sequence_start.tag,
                       event->data.sequence_start.anchor, &item);
    else
        r = start_node(b, event, YAML_KIND_MAPPING, event->data.mapping_start.tag,
                       event->data.mapping_start.anchor, &item);
    if (r == 0)
        r = check_limits(b, item, 1, depth, &event->start_mark);
    if (r < 0)
        return r;
    item->open = true;
    if (item->node.kind == YAML_KIND_SCALAR)
        r = set_scalar(b, item, event);
    else if (item->node.kind == YAML_KIND_SEQUENCE)
        r = build_sequence(b, item, depth);
    else
        r = build_mapping(b, item, depth);
    item->open = false;
    if (r == 0)
        *ret_item = item;
    return r;
}

/* ---- the document ---- */

/* what stands after the first document: nothing */
static int expect_end(struct builder *b)
{
    yaml_event_t event;
    int r = next_event(b, &event);

    if (r < 0)
        return r;
    if (event.type == YAML_DOCUMENT_END_EVENT) {
        yaml_event_delete(&event);
        r = next_event(b, &event);
        if (r < 0)
            return r;
    }
    if (event.type != YAML_STREAM_END_EVENT)
        diags_add(b->diags, DIAG_ERROR, event.start_mark.line + 1, event.start_mark.column + 1,
                  "a second document starts here; a file has one");
    yaml_event_delete(&event);
    return 0;
}

/* an empty file, or one that has only comments or `null` */
static int empty_root(struct builder *b)
{
    static const yaml_mark_t start = {0};
    struct item *item = item_new(b, YAML_KIND_MAPPING, &start);

    if (!item)
        return -ENOMEM;
    b->doc->root = &item->node;
    return 0;
}

static int build_document(struct builder *b)
{
    yaml_event_t event;
    struct item *root = NULL;
    enum yaml_event_type_e type;
    int r;

    do { /* the stream's and the document's start */
        r = next_event(b, &event);
        if (r < 0)
            return r;
        type = event.type;
        yaml_event_delete(&event);
    } while (type == YAML_STREAM_START_EVENT);
    if (type == YAML_STREAM_END_EVENT)
        return empty_root(b);
    r = build_next(b, 0, &root);
    if (r == 0)
        r = expect_end(b);
    if (r < 0)
        return r;
    if (yaml_node_is_null(&root->node))
        return empty_root(b);
    b->doc->root = &root->node;
    return 0;
}

int yaml_doc_parse(const char *text, size_t length, struct diags *diags, struct yaml_doc **ret_doc)
{
    struct builder b = {.diags = diags, .text = text, .length = length};
    size_t skip = length >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0; /* a BOM */
    int r;

    if (length > YAML_MAX_BYTES) {
        diags_add(diags, DIAG_ERROR, 0, 0, "the file is larger than %d KiB", YAML_MAX_BYTES / 1024);
        return -EINVAL;
    }
    b.doc = calloc(1, sizeof(*b.doc));
    if (!b.doc)
        return -ENOMEM;
    if (!yaml_parser_initialize(&b.parser)) {
        free(b.doc);
        return -ENOMEM;
    }
    yaml_parser_set_encoding(&b.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&b.parser, (const unsigned char *)text + skip, length - skip);
    r = build_document(&b);
    yaml_parser_delete(&b.parser);
    for (size_t i = 0; i < b.n_anchors; i++)
        free(b.anchors[i].name);
    free(b.anchors);
    if (r < 0) {
        yaml_doc_free(b.doc);
        return r;
    }
    *ret_doc = b.doc;
    return 0;
}

/* all of a file, at most one byte more than allowed */
static int read_all(FILE *file, char **ret_text, size_t *ret_length)
{
    size_t length = 0, n;
    char *text = malloc(YAML_MAX_BYTES + 1);

    if (!text)
        return -ENOMEM;
    while (length <= YAML_MAX_BYTES &&
           (n = fread(text + length, 1, YAML_MAX_BYTES + 1 - length, file)) > 0)
        length += n;
    if (ferror(file)) {
        int r = errno ? -errno : -EIO;
        free(text);
        return r;
    }
    *ret_text = text;
    *ret_length = length;
    return 0;
}

int yaml_doc_load(const char *path, struct diags *diags, struct yaml_doc **ret_doc)
{
    _cleanup_(freep) char *text = NULL;
    size_t length;
    int r;

    if (strcmp(path, "-") == 0) {
        r = read_all(stdin, &text, &length);
    } else {
        _cleanup_(fclosep) FILE *file = fopen(path, "re");
        r = file ? read_all(file, &text, &length) : -errno;
    }
    if (r == -ENOMEM)
        return r;
    if (r < 0) {
        diags_add(diags, DIAG_ERROR, 0, 0, "this file cannot be read: %s", strerror(-r));
        return r;
    }
    return yaml_doc_parse(text, length, diags, ret_doc);
}

struct yaml_doc *yaml_doc_free(struct yaml_doc *doc)
{
    if (!doc)
        return NULL;
    while (doc->all) {
        struct item *item = doc->all;
        doc->all = item->next;
        item_free(item);
    }
    free(doc);
    /* The nodes were many times what stays of a file: a gateway runs for months with what malloc
     * would keep for the next ones. */
    malloc_trim(0);
    return NULL;
}

const struct yaml_node *yaml_doc_root(const struct yaml_doc *doc)
{
    return doc->root;
}

const struct yaml_node *yaml_node_get(const struct yaml_node *mapping, const char *key)
{
    if (mapping->kind != YAML_KIND_MAPPING)
        return NULL;
    size_t i = find_key(mapping, key);
    return i == SIZE_MAX ? NULL : mapping->items[i];
}
