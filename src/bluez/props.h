/*
 * Reads a D-Bus dictionary of properties, a{sv}, from anybody: each reader takes a value only if
 * it has the type it expects, says 0 and leaves it where it is if not, and the walk steps over
 * what nobody took. Must not know what the properties mean.
 *
 * Readers: 1 taken, 0 another type (nothing consumed), negative errno when the message is broken.
 * What they give is borrowed from the message.
 */
#pragma once

#include "core/event.h"
#include <systemd/sd-bus.h>

/* `type` is the signature of the value that `m` stands at. Returns what the readers return. */
typedef int (*props_fn)(void *userdata, const char *key, const char *type, sd_bus_message *m);

/* Walks an a{sv}. 0, or a negative errno when the message is broken. */
MUST_CHECK
int props_each(sd_bus_message *m, props_fn take, void *userdata);
/* The same where the value of one key is likely to be of that type, which is then quicker. */
MUST_CHECK
int props_each_likely(sd_bus_message *m, const char *likely_key, const char *likely_type,
                      props_fn take, void *userdata);
/* Walks an `as`, e.g. the invalidated properties of PropertiesChanged. */
MUST_CHECK
int props_each_name(sd_bus_message *m, void (*take)(void *userdata, const char *name),
                    void *userdata);

int props_bool(sd_bus_message *m, const char *type, bool *ret_value);
int props_int16(sd_bus_message *m, const char *type, int16_t *ret_value);
int props_uint16(sd_bus_message *m, const char *type, uint16_t *ret_value);
int props_string(sd_bus_message *m, const char *type, const char **ret_value); /* s */
int props_bytes(sd_bus_message *m, const char *type, const uint8_t **ret_data, size_t *ret_length);
int props_address(sd_bus_message *m, const char *type, struct bt_address *ret_address);
int props_uuid(sd_bus_message *m, const char *type, struct bt_uuid *ret_uuid);
/* Lists give the first `size` of what is well-formed; the rest is stepped over. */
int props_uuids(sd_bus_message *m, const char *type, struct bt_uuid *uuids, size_t size,
                size_t *ret_n);
int props_manufacturer(sd_bus_message *m, const char *type, struct manufacturer_data *list,
                       size_t size, size_t *ret_n); /* a{qv} of ay */
int props_service_data(sd_bus_message *m, const char *type, struct service_data *list, size_t size,
                       size_t *ret_n); /* a{sv} of ay */
int props_gatt_flags(sd_bus_message *m, const char *type, uint16_t *ret_flags);

/* The variant that `m` stands at, e.g. the reply to Properties.Get, without a key. */
MUST_CHECK
int props_value(sd_bus_message *m, props_fn take, void *userdata);
