/*
 * Writes H:4 packets to a btsnoop file, which `btmon -r` and Wireshark read. Must not know what
 * the packets mean.
 */
#pragma once

#include "util/err.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* creates the file; negative errno */
MUST_CHECK
int trace_open(const char *path, FILE **ret_file);
/* NULL is no trace; real_us: since 1970. Ignores a full disk. */
void trace_packet(FILE *trace, int64_t real_us, bool from_host, const uint8_t *packet,
                  size_t length);
