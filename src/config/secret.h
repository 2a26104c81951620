/* Secrets that stand outside the file: !file, !env, !credential. */
#pragma once

#include "config/reader.h"

#define SECRET_MAX_BYTES 65536

/* the value that the node's tag leads to; NULL after a diagnostic, which never shows the value */
char *secret_read(struct reader *reader, const struct key *key, const struct yaml_node *node);
