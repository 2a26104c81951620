/* Mappings laid over each other; see merge.h. Must not know what the keys mean. */
#include "config/merge.h"

#include <stdlib.h>
#include <string.h>

struct merged {
    struct merged *next;
    struct yaml_node node; /* keys and items are its own, what they point to is not */
};

void merge_pool_done(struct merge_pool *pool)
{
    while (pool->all) {
        struct merged *merged = pool->all;
        pool->all = merged->next;
        free(merged->node.keys);
        free(merged->node.items);
        free(merged);
    }
}

/* an empty mapping at own's place with room for the keys of both */
static struct yaml_node *new_mapping(struct merge_pool *pool, const struct yaml_node *base,
                                     const struct yaml_node *own)
{
    struct merged *merged = calloc(1, sizeof(*merged));
    size_t n = base->n_items + own->n_items + 1;

    if (!merged)
        return NULL;
    merged->next = pool->all;
    pool->all = merged;
    merged->node = (struct yaml_node){
        .kind = YAML_KIND_MAPPING,
        .line = own->line,
        .column = own->column,
        .keys = calloc(n, sizeof(struct yaml_node *)),
        .items = calloc(n, sizeof(struct yaml_node *)),
    };
    return merged->node.keys && merged->node.items ? &merged->node : NULL;
}

static void put(struct yaml_node *mapping, struct yaml_node *key, const struct yaml_node *item)
{
    mapping->keys[mapping->n_items] = key;
    mapping->items[mapping->n_items++] = (struct yaml_node *)item;
}

int merge_mappings(struct merge_pool *pool, const struct yaml_node *base,
                   const struct yaml_node *own, const struct yaml_node **ret_node)
{
    struct yaml_node *mapping = new_mapping(pool, base, own);

    if (!mapping)
        return -ENOMEM;
    for (size_t i = 0; i < base->n_items; i++) {
        const struct yaml_node *item = base->items[i];
        struct yaml_node *key = base->keys[i];

        for (size_t k = 0; k < own->n_items; k++) {
            if (strcmp(own->keys[k]->text, key->text) != 0)
                continue;
            const struct yaml_node *over = own->items[k];
            key = own->keys[k];
            if (item->kind == YAML_KIND_MAPPING && over->kind == YAML_KIND_MAPPING) {
                int r = merge_mappings(pool, item, over, &item);
                if (r < 0)
                    return r;
            } else {
                item = over;
            }
            break;
        }
        put(mapping, key, item);
    }
    for (size_t i = 0; i < own->n_items; i++)
        if (!yaml_node_get(base, own->keys[i]->text))
            put(mapping, own->keys[i], own->items[i]);
    *ret_node = mapping;
    return 0;
}
