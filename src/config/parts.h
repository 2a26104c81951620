/* The parts of a file that need more than the table: each reads one entry and checks it. */
#pragma once

#include "config/reader.h"

/* `name` is the entry's key node, `node` its value (a profile's keys merged in) */
void read_device(struct reader *reader, const struct yaml_node *name, const struct yaml_node *node,
                 struct device_settings *device);
/* all entries of `characteristics` into the device */
void read_characteristics(struct reader *reader, const struct yaml_node *node,
                          struct device_settings *device);
/* Warns of characteristics that nothing is done with; `used` has a bit for each that steps use. */
void check_purposes(struct reader *reader, const struct yaml_node *node,
                    const struct device_settings *device, uint64_t used);
/* on_connect, poll, keep_alive and commands of the device's mapping, whose characteristics have
 * been read well. Which of them the steps use: a bit each. */
uint64_t read_sequences(struct reader *reader, const struct yaml_node *node,
                        struct device_settings *device);
/* `entities` of the device's mapping, whose characteristics and commands have been read well; of a
 * profile's, only what needs neither */
void read_entities(struct reader *reader, const struct yaml_node *node,
                   struct device_settings *device);
/* a node as JSON, of at most SETTINGS_MAX_LITERAL bytes; NULL after a diagnostic */
char *read_literal(struct reader *reader, const struct yaml_node *node);
/* what the table cannot say about `frame` of the characteristic whose mapping is `node` */
void read_frame(struct reader *reader, const struct yaml_node *node,
                struct characteristic_settings *characteristic);
/* The entries of `messages` of the characteristic at `index`, whose mapping is `node`, behind the
 * device's last one; `all`: the mapping of all its characteristics. There is room for them. */
void read_messages(struct reader *reader, const struct yaml_node *all, const struct yaml_node *node,
                   struct device_settings *device, size_t index);
/* fields, payload and retain of a characteristic or message; `parent` has what `node` has not, or
 * is NULL */
void read_value_keys(struct reader *reader, const struct yaml_node *name,
                     const struct yaml_node *node, const struct yaml_node *parent,
                     struct characteristic_settings *characteristic);
/* the id of a characteristic or message: `what` it is called */
void check_characteristic_id(struct reader *reader, const struct yaml_node *name, const char *what);
/* is the value of a key this word? */
bool is_word(const struct yaml_node *node, const char *key, const char *word);
/* all entries of `fields`, compiled; NULL when there are none or something is wrong. Not compiled
 * in a profile, which may be incomplete. */
struct schema *read_fields(struct reader *reader, const struct yaml_node *fields, bool big_endian,
                           bool extra_is_error);
/* what the table cannot say about `mqtt`; `node` is its mapping or NULL */
void check_mqtt(struct reader *reader, const struct yaml_node *node);

/* what the table cannot say about `commands.reply_to`; `commands` is its mapping or NULL */
void check_reply_to(struct reader *reader, const struct yaml_node *commands);

/* an id from the file: what topics allow, not too long, none of `reserved` (ends with NULL) */
void check_id(struct reader *reader, const struct yaml_node *name, const char *what,
              const char *const *reserved);

/* ---- unique.c ---- */
/* all entities have names of their own in Home Assistant; once everything has been read */
void check_unique(struct reader *reader, const struct yaml_node *devices);
