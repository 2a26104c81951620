/* Scalars of the configuration's types; see reader.h. Each returns false or NULL after a
 * diagnostic. */
#pragma once

#include "config/reader.h"

bool scalar_duration(struct reader *reader, const struct key *key, const struct yaml_node *node,
                     int64_t *ret_ms);
bool scalar_size(struct reader *reader, const struct key *key, const struct yaml_node *node,
                 int64_t *ret_bytes);
bool scalar_address(struct reader *reader, const struct key *key, const struct yaml_node *node,
                    struct bt_address *ret_address);
/* length and characters of a KEY_TEXT, KEY_ID, KEY_TOPIC */
bool scalar_check_text(struct reader *reader, const struct key *key, const struct yaml_node *node,
                       const char *text);
/* the full path of a file that can be read; the caller frees it */
char *scalar_file(struct reader *reader, const struct key *key, const struct yaml_node *node,
                  const char *path);
