/* Between the discovery_*.c files; nobody else includes this. */
#pragma once

#include "core/json.h"
#include "core/settings.h"

void discovery_key_string(struct json_writer *w, const char *key, const char *text);
/* a string made of up to three parts; NULL: none */
void discovery_key_joined(struct json_writer *w, const char *key, const char *a, const char *b,
                          const char *c);

/* ---- discovery_class.c: what Home Assistant knows ---- */
/* As Home Assistant writes it: its micro sign is the Greek letter; `unit` may be NULL. */
const char *discovery_unit(const char *unit, char *buf, size_t size);
/* the class of a sensor or number with that unit: the field's own, or what its unit says; NULL:
 * none that Home Assistant would take */
const char *discovery_number_class(const struct field_spec *field, const char *unit,
                                   const char *name);
/* the state class, or NULL */
const char *discovery_state_class(const struct field_spec *field, const char *device_class,
                                  const char *unit);
bool discovery_is_binary_class(const char *device_class);
bool discovery_is_event_class(const char *device_class);
bool discovery_is_switch_class(const char *device_class);

/* ---- discovery_entity.c ---- */
struct discovery_context {
    struct json_writer *w; /* borrowed; in the object of components */
    const struct settings *settings;
    const struct device_settings *device;
};
/* all entities of the device's characteristics */
void discovery_write_entities(const struct discovery_context *context);
