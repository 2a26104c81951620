/*
 * Reads nodes of a file into structs after the table: types, ranges, unknown and missing keys. What
 * is wrong becomes a diagnostic at its place; reading always goes on, so that all is told at once.
 * Must not know what the keys are for.
 */
#pragma once

#include "config/table.h"
#include "core/settings.h"
#include "yaml/diag.h"
#include <stdbool.h>

#define CONFIG_MAX_KEYS 200000 /* read, with a profile's counted for each of its users */

struct reader {
    struct diags *diags;              /* borrowed */
    struct settings *settings;        /* borrowed: what is being filled */
    const char *directory;            /* borrowed: of the file; relative paths start there */
    const struct yaml_node *profiles; /* the mapping, or NULL */
    bool partial;                     /* in a profile: what is required may still come */
    bool without_credentials;         /* see struct config_options */
    bool failed;                      /* out of memory */
    size_t n_keys;
    size_t n_errors; /* found, also those that diags has already from another user of a profile */
};

#define reader_error(reader, node, ...) \
    ((reader)->n_errors++,              \
     diags_add((reader)->diags, DIAG_ERROR, (node)->line, (node)->column, __VA_ARGS__))
#define reader_warning(reader, node, ...) \
    diags_add((reader)->diags, DIAG_WARNING, (node)->line, (node)->column, __VA_ARGS__)

/* Fills in what the table says for keys that are not there. */
void reader_defaults(struct reader *reader, const struct key *section, void *target);
/* Reads a mapping (NULL: it is not there) after the table; entries (KEY_ENTRIES) are only checked
 * to be mappings. `at` is the place for what is missing. */
void reader_section(struct reader *reader, const struct key *section, const struct yaml_node *node,
                    const struct yaml_node *at, void *target);

/* The value as people wrote it, in quotes and cut if long, or "a list", ...; for messages. */
#define SHOWN_SIZE 96
const char *reader_show(const struct yaml_node *node, char buf[static SHOWN_SIZE]);
/* the text, or NULL after a diagnostic */
const char *reader_text(struct reader *reader, const struct key *key, const struct yaml_node *node);
/* false after a diagnostic */
bool reader_uuid(struct reader *reader, const char *name, const struct yaml_node *node,
                 struct bt_uuid *ret_uuid);
bool reader_int(struct reader *reader, const char *name, const struct yaml_node *node, int64_t min,
                int64_t max, int64_t *ret_value);
bool reader_decimal(struct reader *reader, const char *name, const struct yaml_node *node,
                    struct decimal *ret_value);
/* "must be ..., not ..." */
void reader_wrong(struct reader *reader, const struct key *key, const struct yaml_node *node,
                  const char *form);
/* a copy, or NULL with reader->failed set */
char *reader_copy(struct reader *reader, const char *text);
/* the path, seen from the file's directory; NULL with reader->failed set */
char *reader_path(struct reader *reader, const char *path);
/* n members for a struct's array, zeroed; NULL with reader->failed set, or when n is 0 */
void *reader_array(struct reader *reader, size_t n, size_t size);
