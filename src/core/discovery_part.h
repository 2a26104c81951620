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

/* ---- discovery.c ---- */
struct discovery_context {
    struct json_writer *w; /* borrowed; between begin and end: in the entity's object */
    const struct settings *settings;
    const struct device_settings *device; /* NULL: the gateway itself */
    struct discovery_sink *sink;          /* borrowed; what becomes of each entity */
};
/* One entity, its object open with the unique id in it; `first` and `second` are its names, most
 * often of the characteristic and the field. Then its other keys are written, but not the platform,
 * nor what is the whole device's. */
void discovery_entity_begin(const struct discovery_context *context, const char *platform,
                            const char *first, const char *second);
/* `over`, `more`: what the file lays over it, in this order, or NULL; see discovery_merge() */
void discovery_entity_end(const struct discovery_context *context, const char *over,
                          const char *more);

/* ---- discovery_entity.c ---- */
/* all entities of the device but its diagnostics */
void discovery_write_entities(const struct discovery_context *context);
/* Ends the branch of a template that a message with the field takes: of the state of its sensor,
 * where nothing would be a text like another, remains what it was. */
const char *discovery_otherwise(const struct characteristic_settings *characteristic,
                                const struct field_spec *field);
/* what a sensor of that field has besides its state */
void discovery_write_sensor(const struct discovery_context *context,
                            const struct characteristic_settings *characteristic,
                            const struct field_spec *field);
/* min, max, step and mode of a number; `field` may be NULL */
void discovery_write_bounds(struct json_writer *w, const struct field_spec *field, double least,
                            double most);
/* the name, or that made of the id; none where it is the device itself */
void discovery_write_name(const struct discovery_context *context, const char *id, const char *name,
                          bool is_device);

/* ---- discovery_composed.c ---- */
void discovery_write_composed(const struct discovery_context *context,
                              const struct entity_settings *entity);

/* ---- discovery_merge.c ---- */
/* Lays `over` (JSON, or NULL) over the object that starts at that offset of the writer's text and
 * has just been ended: null removes, objects merge, all else replaces. */
void discovery_merge(struct json_writer *w, size_t start, const char *over);
