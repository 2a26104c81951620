/*
 * Formats of the Bluetooth SIG's characteristics: what a 16-bit UUID means, so that `fields` need
 * not be written. The tables (sig_*.c) are written from the GATT Specification Supplement: names in
 * snake_case, a format of one field calls it `value`; one unit per field, whatever the flags say
 * (kg, °C, mmHg); codes for "not known" become null. Must not know devices.
 */
#pragma once

#include "core/schema.h"

/* the SIG's name of the characteristic, e.g. "Heart Rate Measurement"; NULL: not in the table */
const char *sig_name(uint16_t uuid);
/* A new schema for its values. -ENOENT: not in the table; -ENOMEM. */
MUST_CHECK
int sig_schema_new(uint16_t uuid, struct schema **ret_schema);
/* the UUIDs in the table, in order: the n-th, or 0 behind the last */
uint16_t sig_uuid_at(size_t n);
