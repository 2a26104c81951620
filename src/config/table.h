/*
 * What may stand in the configuration file: every key with its type, range, default and help, as
 * one tree of tables. The loader reads files after it; documentation is printed from it.
 */
#pragma once

#include "util/err.h"
#include "yaml/doc.h"
#include <stdio.h>

struct reader;
struct key;

enum key_type {
    KEY_SECTION,  /* a mapping of `keys` */
    KEY_ENTRIES,  /* a mapping of the user's own ids, each a mapping of `keys` */
    KEY_BOOL,     /* bool */
    KEY_INT,      /* min..max; an integer of any size */
    KEY_DECIMAL,  /* struct decimal */
    KEY_DURATION, /* min..max in ms; an integer */
    KEY_SIZE,     /* min..max in bytes; an integer */
    KEY_TEXT,     /* char *; min..max bytes */
    KEY_ID,       /* char *; what can stand in a topic; at most max bytes */
    KEY_TOPIC,    /* char *; at most max bytes */
    KEY_FILE,     /* char *; the path of a file that can be read */
    KEY_WORD,     /* one of `words`; an integer or bool. With `keys` also a mapping of them */
    KEY_UUID,     /* struct bt_uuid */
    KEY_ADDRESS,  /* struct bt_address */
    KEY_OTHER,    /* `read` does it */
};

struct key_word {
    const char *name;
    int value;
    bool later; /* not supported yet */
};

struct key {
    const char *name;
    enum key_type type;
    bool later;    /* not supported yet; nothing else counts then */
    bool required; /* where its mapping is complete (a profile's is not) */
    bool secret;   /* may come from elsewhere by a tag; never shown */
    int64_t min, max;
    const struct key_word *words;
    size_t n_words;
    const struct key *keys;
    size_t n_keys;
    const char *fallback; /* the value when the key is not there, as it would be written */
    /* where the value goes, within the struct that the surrounding tables share */
    bool stored;
    size_t offset, size;
    bool has_flag;
    size_t flag_offset; /* a bool that is set when the key was there */
    void (*read)(struct reader *reader, const struct key *key, const struct yaml_node *node,
                 void *target);
    const char *form; /* of KEY_OTHER, in words: "auto or a list" */
    const char *help; /* one line */
};

/* The whole file: a KEY_SECTION. Its parts' targets: struct settings; below devices.* and
 * profiles.* struct device_settings; below characteristics.* and messages.* struct
 * characteristic_settings; below fields.* struct field_spec. */
extern const struct key config_table;

/* the key of that name in a section, or NULL */
const struct key *key_find(const struct key *section, const char *name);
/* One line per key: path, type, default, help. */
void config_print_keys(FILE *out);
