/*
 * Entities that are composed of several fields and commands: a light of its switch and its
 * brightness, a cover of its position and three commands. What each of Home Assistant's platforms
 * is made of stands in one table (entity_table.c); what an entity of the file has, in
 * entity_settings. Must not know documents or YAML.
 *
 * The names of roles are Home Assistant's keys without `_state_topic`, `_command_topic` and the
 * like: `brightness`, `percentage`, `preset_mode`.
 */
#pragma once

#include "core/settings.h"
#include "util/strbuf.h"

enum role_kind {
    ROLE_KIND_NUMBER,
    ROLE_KIND_WORDS,  /* the field's values stand for words that Home Assistant knows */
    ROLE_KIND_NAMES,  /* the names of an enum, as they are */
    ROLE_KIND_TEXT,   /* whatever it is, as text */
    ROLE_KIND_COLOR,  /* several numbers of one characteristic */
    ROLE_KIND_ACTION, /* done by a press: a command, or a value of a field */
};

/* which numbers Home Assistant is told about the range */
enum role_range {
    ROLE_RANGE_NONE,
    ROLE_RANGE_BRIGHTNESS,
    ROLE_RANGE_COLOR_TEMP,
    ROLE_RANGE_SPEED,
    ROLE_RANGE_TEMPERATURE,
    ROLE_RANGE_HUMIDITY,
    ROLE_RANGE_POSITION,
    ROLE_RANGE_TILT,
    ROLE_RANGE_NUMBER,
};

struct role_word {
    const char *name;  /* in the file, and what an enum's name is compared with */
    const char *shown; /* to Home Assistant, where the platform does not take the payload */
};

#define ROLE_NO_WORD SIZE_MAX

struct entity_role {
    const char *name;
    enum role_kind kind;
    bool required;
    bool must_write;                              /* no use without being written */
    const char *state_topic, *state_template;     /* keys; NULL: it has no state */
    const char *command_topic, *command_template; /* keys; NULL: it is not written */
    const char *options;                          /* the key of a list of names or words */
    const char *payload;                          /* ACTION: the key of its payload */
    enum role_range range;
    bool none_is_empty; /* Home Assistant takes no None for an unknown number */
    /* WORDS: */
    const struct role_word *words;
    size_t n_words;
    size_t true_word, false_word; /* what a bool means */
    size_t more_word;             /* what a number above 0 means; else false_word; or NO_WORD */
    /* COLOR: the variables of the command's template */
    const char *const *variables;
    size_t n_variables;
    /* ACTION: without one of its own, the word (or the other) that is written to the state */
    const char *word, *other_word;
    bool is_most, is_least; /* ... or the greatest or least number */
};

struct entity_extra {
    const char *key, *json;
};

struct entity_platform {
    const char *name;
    const struct entity_role *roles;
    size_t n_roles;
    const char *fallback;  /* a number that tells the state where `state` is not given */
    bool state_is_payload; /* the state is compared with the payloads of the actions */
    bool keeps_null;       /* an action that is not offered is told as null */
    bool needs_command;    /* Home Assistant refuses it without a command_topic */
    const struct entity_extra *extras;
    size_t n_extras;
};

extern const struct entity_platform entity_platforms[];
extern const size_t entity_n_platforms;

const struct entity_platform *entity_platform_find(const char *name);
/* SIZE_MAX: there is none */
size_t entity_role_find(const struct entity_platform *platform, const char *name);
/* what the file says of the role (with `is_set`, of set_<role>), or NULL */
const struct entity_binding *entity_binding_find(const struct entity_settings *entity, size_t role,
                                                 bool is_set);
static inline const struct field_spec *entity_field(const struct device_settings *device,
                                                    const struct entity_binding *binding)
{
    return &device->characteristics[binding->characteristic].schema->fields[binding->fields[0]];
}
/* Can these fields be written without the others? Each of those knows what it is. */
bool entity_is_settable(const struct characteristic_settings *characteristic, const size_t *fields,
                        size_t n);
/* what the role is written to: set_<role>, or itself if it can be written; NULL: nothing */
const struct entity_binding *entity_target(const struct device_settings *device,
                                           const struct entity_settings *entity, size_t role);
/* the role that tells the state: `state`, or the number in its place; SIZE_MAX: none */
size_t entity_state_role(const struct entity_settings *entity);
bool field_spec_is_number(const struct field_spec *field);
/* The ends of the field's values, what it does not say left alone; false where one is not known */
bool entity_field_range(const struct field_spec *field, double *ret_min, double *ret_max);
/* The range of what is read or written; false where it has none that is known. */
bool entity_range(const struct device_settings *device, const struct entity_binding *binding,
                  double *ret_min, double *ret_max);

/* What a press does: writes `value` (JSON) to one field or parameter, or runs a command. */
struct entity_action {
    size_t characteristic, field; /* or NO_CHARACTERISTIC: */
    size_t command;
    char value[512]; /* JSON: of the field, or the object of the command's parameters */
};
/* false: the action is not offered */
bool entity_action(const struct device_settings *device, const struct entity_settings *entity,
                   size_t role, struct entity_action *ret_action);
/* Where the actions of an entity can be sent to: all to one field's /set, to the one command, or
 * else to `<device>/entity/set/<entity>`, by the role's name. */
enum entity_sink { ENTITY_SINK_NONE, ENTITY_SINK_FIELD, ENTITY_SINK_COMMAND, ENTITY_SINK_ENTITY };
enum entity_sink entity_sink(const struct device_settings *device,
                             const struct entity_settings *entity, struct entity_action *ret_first);
/* Is the field a part of a composed entity that wants it for itself; of any at all? */
bool entity_uses_field(const struct device_settings *device, size_t characteristic, size_t field);
bool entity_is_part(const struct device_settings *device, size_t characteristic, size_t field);
bool entity_uses_command(const struct device_settings *device, size_t command);
