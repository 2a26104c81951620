/* Mappings laid over each other, deep: a device's keys over those of its profile. */
#pragma once

#include "util/err.h"
#include "yaml/doc.h"

/* holds the merged mappings; all in it is freed together */
struct merge_pool {
    struct merged *all; /* owned */
};

#define MERGE_POOL_INIT ((struct merge_pool){0})
void merge_pool_done(struct merge_pool *pool);

/*
 * Both mappings' keys, base's first; where both have a key, mappings are merged again and anything
 * else is own's. What is not merged is shared with base and own, which must outlive the pool.
 * -ENOMEM.
 */
MUST_CHECK
int merge_mappings(struct merge_pool *pool, const struct yaml_node *base,
                   const struct yaml_node *own, const struct yaml_node **ret_node);
