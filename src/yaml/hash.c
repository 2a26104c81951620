/* A number that tells versions of a file apart; see doc.h. Must not know which keys are secret. */
#include "yaml/doc.h"

static uint64_t fnv1a(uint64_t hash, const char *text)
{
    /* the NUL counts, so that "a","b" is not "ab" */
    do
        hash = (hash ^ (unsigned char)*text) * 0x100000001b3;
    while (*text++);
    return hash;
}

static uint64_t hash_node(uint64_t hash, const struct yaml_node *node,
                          const struct yaml_node *const *except, size_t n_except)
{
    static const char *const kinds[] = {[YAML_KIND_SCALAR] = "scalar",
                                        [YAML_KIND_SEQUENCE] = "sequence",
                                        [YAML_KIND_MAPPING] = "mapping"};

    for (size_t i = 0; i < n_except; i++)
        if (node == except[i])
            return fnv1a(hash, "left out");
    hash = fnv1a(hash, kinds[node->kind]);
    if (node->tag)
        hash = fnv1a(hash, node->tag);
    if (node->kind == YAML_KIND_SCALAR) /* "1" is a text, 1 is none */
        return fnv1a(fnv1a(hash, yaml_node_string(node) ? "text" : ""), node->text);
    for (size_t i = 0; i < node->n_items; i++) {
        if (node->kind == YAML_KIND_MAPPING)
            hash = fnv1a(hash, node->keys[i]->text ? node->keys[i]->text : "");
        hash = hash_node(hash, node->items[i], except, n_except);
    }
    return fnv1a(hash, "end");
}

uint64_t yaml_node_hash(const struct yaml_node *node)
{
    return hash_node(0xcbf29ce484222325, node, NULL, 0);
}

uint64_t yaml_doc_hash(const struct yaml_doc *doc, const struct yaml_node *const *except,
                       size_t n_except)
{
    return hash_node(0xcbf29ce484222325, yaml_doc_root(doc), except, n_except);
}
