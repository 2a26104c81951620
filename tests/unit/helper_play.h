/*
 * Random schemas and valid values for them, from a seed: what test_codec_property.c plays with.
 */
#pragma once

#include "core/schema.h"
#include "core/value.h"
#include "util/cleanup.h"
#include "util/strbuf.h"

/* what a seed has made, and what a failure prints */
struct play {
    uint32_t number, seed;
    char text[2000]; /* the schema */
    struct schema *schema;
    struct value values[SCHEMA_MAX_FIELDS];
    uint64_t raw[SCHEMA_MAX_FIELDS]; /* of integers */
    uint64_t present;                /* a bit for each field */
    struct value items[600];         /* elements of arrays */
    size_t n_items;
    char pool[8000]; /* texts and bytes */
    size_t n_pool;
    struct strbuf json;
};

struct play *play_new(uint32_t number);
void play_free(struct play *p);
/* from 0 to n - 1 */
uint32_t play_below(struct play *p, uint32_t n);
/* appends to the schema's text */
void play_say(struct play *p, const char *format, ...) PRINTF_LIKE(2, 3);
/* Fields one after the other, or two that share the bits of one integer, or with holes; false: this
 * one is refused. */
bool play_make_schema(struct play *p);
/* p->values: one for each field that is there, but what follows from others is left out at times */
void play_make_values(struct play *p);
/* has the field a way to say "unknown"? */
bool play_may_be_null(const struct field_spec *spec);
