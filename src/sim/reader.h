/*
 * Reads YAML mappings into structures by tables of keys; what is not in the table, has the wrong
 * type or lies out of range is a diagnostic with its place. Private to sim/. Must not know what a
 * world is.
 */
#pragma once

#include "core/bt.h"
#include "sim/peripheral.h"
#include "yaml/doc.h"

struct reader {
    struct diags *diags; /* borrowed */
    bool out_of_memory;
};

/* what the value at a key is, and of which type the member that it goes to */
enum reader_kind {
    READER_INT,      /* int64_t */
    READER_UINT8,    /* uint8_t */
    READER_UINT16,   /* uint16_t */
    READER_NUMBER,   /* double */
    READER_BOOL,     /* bool */
    READER_DURATION, /* uint64_t of microseconds; min and max are milliseconds */
    READER_UUID,     /* struct bt_uuid */
    READER_TEXT,     /* char *, owned */
    READER_ID,       /* char *, owned: a word of the control protocol */
    READER_ADDRESS,  /* struct bt_address */
    READER_OTHER,    /* whatever `read` makes of it; it gets the whole structure */
};

struct reader_key {
    const char *name;
    enum reader_kind kind;
    size_t offset; /* of the member */
    int64_t min, max;
    bool required;
    void (*read)(struct reader *r, const struct yaml_node *node, void *target);
};

#define sim_reader_fail(r, node, ...) \
    diags_add((r)->diags, DIAG_ERROR, (node)->line, (node)->column, __VA_ARGS__)

/* calloc that remembers its failure; n may be 0 */
void *sim_reader_allocate(struct reader *r, size_t n, size_t size);
/* the text of a scalar that is not empty, else NULL and a diagnostic "expected WHAT" */
const char *sim_reader_scalar(struct reader *r, const struct yaml_node *node, const char *what);
bool sim_reader_int(struct reader *r, const struct yaml_node *node, int64_t min, int64_t max,
                    int64_t *ret_value);
bool sim_reader_uuid(struct reader *r, const struct yaml_node *node, struct bt_uuid *ret_uuid);
char *sim_reader_id(struct reader *r, const struct yaml_node *node);
/* the bytes of hex digits in quotes */
bool sim_reader_hex(struct reader *r, const struct yaml_node *node,
                    uint8_t buf[static GATT_VALUE_MAX], size_t *ret_length);
void sim_reader_bytes(struct reader *r, const struct yaml_node *node, struct sim_bytes *ret_bytes);
/* all keys of a mapping; `what` names it in messages ("a wave") */
void sim_reader_keys(struct reader *r, const struct yaml_node *node, const char *what,
                     const struct reader_key *keys, size_t n_keys, void *target);
/* room for the items of a list (or mapping) of at most max; NULL after a diagnostic */
void *sim_reader_room(struct reader *r, const struct yaml_node *node, enum yaml_kind kind,
                      const char *what, size_t max, size_t size);

/* a peripheral's `services`: in sim/load_gatt.c */
void sim_load_services(struct reader *r, const struct yaml_node *node, void *peripheral);
