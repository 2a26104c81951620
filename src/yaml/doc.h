/*
 * A YAML file as a tree of nodes with line and column, read by libyaml's parser and bounded in
 * size, depth and number of nodes after aliases are followed. Scalars stay text: what they mean
 * (YAML 1.2's core schema) is asked with yaml_node_is_... by whoever knows the expected type.
 * Anchors, aliases and `<<` merges are resolved here; a node behind an alias keeps its own place. A
 * duplicate key is an error here.
 *
 * Merged keys stand where `<<` stands; a mapping's own key wins over a merged one and takes the
 * place of whichever comes first.
 */
#pragma once

#include "yaml/diag.h"
#include <stdint.h>

#define YAML_MAX_BYTES 1048576 /* of a file */
#define YAML_MAX_DEPTH 32
#define YAML_MAX_KEYS  2000   /* of one mapping, as it is written: keys are compared one by one */
#define YAML_MAX_NODES 100000 /* aliases counted each time they are followed */

enum yaml_kind { YAML_KIND_SCALAR, YAML_KIND_SEQUENCE, YAML_KIND_MAPPING };

struct yaml_node {
    enum yaml_kind kind;
    size_t line, column; /* from 1 */
    char *tag;           /* "!file", ...: a local tag as written, or NULL; owned by the doc */
    /* scalar */
    char *text;  /* NUL-terminated; a NUL inside is an error when loading; owned by the doc */
    bool quoted; /* then it is a string, whatever it looks like */
    /* sequence: items; mapping: keys and items, in the file's order; owned by the doc */
    struct yaml_node **keys;
    struct yaml_node **items;
    size_t n_items;
};

struct yaml_doc;

/*
 * Reads a file ("-" is standard input). What is wrong goes to *diags. 0, -ENOMEM, the errno of
 * reading (also in diags), or -EINVAL when the text is no tree at all. After a mistake that leaves
 * a tree (a duplicate key: the first one counts) it is 0, so that the rest can be judged in the
 * same run: whoever uses the tree asks diags->n_errors first. An empty file gives an empty mapping.
 */
MUST_CHECK
int yaml_doc_load(const char *path, struct diags *diags, struct yaml_doc **ret_doc);
MUST_CHECK
int yaml_doc_parse(const char *text, size_t length, struct diags *diags, struct yaml_doc **ret_doc);
struct yaml_doc *yaml_doc_free(struct yaml_doc *doc);
const struct yaml_node *yaml_doc_root(const struct yaml_doc *doc);
/* FNV-1a (64 bits) of what the file says, comments and layout aside: tells versions apart, protects
 * nothing, so nodes with secrets are left out by `except`. */
uint64_t yaml_doc_hash(const struct yaml_doc *doc, const struct yaml_node *const *except,
                       size_t n_except);
uint64_t yaml_node_hash(const struct yaml_node *node); /* likewise, of a part */

/* the item of a mapping's key, or NULL */
const struct yaml_node *yaml_node_get(const struct yaml_node *mapping, const char *key);

/* What a plain scalar is in YAML 1.2's core schema. */
bool yaml_node_is_null(const struct yaml_node *node);
/* true / false (also True, TRUE, ...), never yes, no, on, off */
bool yaml_node_is_bool(const struct yaml_node *node, bool *ret_value);
/* decimal, 0x..., 0o... */
bool yaml_node_is_int(const struct yaml_node *node, int64_t *ret_value);
/* also .inf, .nan and what is too big for an int64_t; not an int */
bool yaml_node_is_float(const struct yaml_node *node);
/* the scalar's text where a text is allowed: quoted, or plain and none of the above; else NULL */
const char *yaml_node_string(const struct yaml_node *node);
/* "a mapping", "a list", "a number", "true", "a text", "nothing", ...: for messages */
const char *yaml_node_describe(const struct yaml_node *node);
