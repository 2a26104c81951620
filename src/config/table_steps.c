/* The keys of `on_connect`, `poll`, `keep_alive` and `commands`; see table.h. Must not know how a
 * file is read. */
#include "config/table_parts.h"

/* ---- steps ---- */
#define CHARACTERISTIC(text)                                                               \
    {                                                                                      \
        .name = "characteristic", .type = KEY_OTHER, .required = true, .read = read_later, \
        .form = "the name of one of the device's characteristics", .help = (text)          \
    }

static const struct key write_keys[] = {
    CHARACTERISTIC("what is written"),
    {.name = "value",
     .type = KEY_OTHER,
     .required = true,
     .read = read_later,
     .form = "{raw: \"03\"}, fields, or the value of the one field",
     .help = "a field's value is given, or {parameter: NAME} of the command"},
};

static const struct key target_keys[] = {CHARACTERISTIC("which one")};

static const struct key condition_keys[] = {
    {.name = "equals",
     .type = KEY_OTHER,
     .read = read_later,
     .form = "a value",
     .help = "its value; {height: 7} is short for {height: {equals: 7}}"},
    {.name = "parameter",
     .type = KEY_OTHER,
     .read = read_later,
     .form = "the name of one of the command's parameters",
     .help = "its value is what the parameter says"},
    {.name = "within",
     .type = KEY_DECIMAL,
     AT(struct step_condition, within),
     .help = "... or so much more or less (default: exactly)"},
    {.name = "min",
     .type = KEY_DECIMAL,
     AT(struct step_condition, min),
     FLAG(struct step_condition, has_min),
     .help = "at least so much"},
    {.name = "max",
     .type = KEY_DECIMAL,
     AT(struct step_condition, max),
     FLAG(struct step_condition, has_max),
     .help = "at most so much"},
};

static const struct key wait_keys[] = {
    CHARACTERISTIC("of which a value is awaited"),
    {.name = "where",
     .type = KEY_ENTRIES,
     KEYS(condition_keys),
     .help = "only a value whose fields are so (all of them)"},
    {.name = "timeout",
     .type = KEY_DURATION,
     .min = 10,
     .max = HOUR,
     .fallback = "5s",
     AT(struct step_settings, time_ms),
     .help = "the sequence fails if there is no such value in so long"},
};

static const struct key until_keys[] = {
    CHARACTERISTIC("of which a value is awaited"),
    {.name = "where", .type = KEY_ENTRIES, KEYS(condition_keys), .help = "as for `wait`"},
};

static const struct key repeat_keys[] = {
    {.name = "every",
     .type = KEY_DURATION,
     .min = 10,
     .max = HOUR,
     .fallback = "1s",
     AT(struct step_settings, time_ms),
     .help = "from the start of a round to the next"},
    {.name = "until",
     .type = KEY_OTHER,
     .read = read_later,
     KEYS(until_keys),
     .form = "{characteristic: NAME, where: {FIELD: VALUE}}",
     .help = "ends as soon as there is such a value; fails if `max` comes first"},
    {.name = "max",
     .type = KEY_INT,
     .min = 1,
     .max = 100000,
     AT(struct step_settings, max),
     .help = "so many rounds (default: until `until`)"},
    {.name = "steps",
     .type = KEY_OTHER,
     .required = true,
     .read = read_later,
     .form = "a list of steps",
     .help = "what is repeated"},
};

static const struct key step_keys[] = {
    {.name = "write",
     .type = KEY_OTHER,
     .read = read_later,
     KEYS(write_keys),
     .form = "{characteristic: NAME, value: VALUE}",
     .help = "writes a value"},
    {.name = "read",
     .type = KEY_OTHER,
     .read = read_later,
     KEYS(target_keys),
     .form = "the name of a characteristic",
     .help = "reads a value and publishes it"},
    {.name = "subscribe",
     .type = KEY_OTHER,
     .read = read_later,
     KEYS(target_keys),
     .form = "the name of a characteristic",
     .help = "in on_connect: subscribes to it now, not before all steps"},
    {.name = "wait",
     .type = KEY_OTHER,
     .read = read_later,
     KEYS(wait_keys),
     .form = "{characteristic: NAME, where: {FIELD: VALUE}, timeout: 5s}",
     .help = "waits for a value, also one that came since the last write, read or subscribe"},
    {.name = "delay",
     .type = KEY_DURATION,
     .min = 1,
     .max = HOUR,
     AT(struct step_settings, time_ms),
     .help = "does nothing for so long"},
    {.name = "repeat",
     .type = KEY_OTHER,
     .read = read_later,
     KEYS(repeat_keys),
     .form = "{every: 200ms, until: {...}, max: 100, steps: [...]}",
     .help = "repeats steps"},
};

/* ---- sequences ---- */
#define STEPS(text)                                                                                \
    {                                                                                              \
        .name = "steps", .type = KEY_OTHER, .required = true, .read = read_later, KEYS(step_keys), \
        .form = "a list of steps", .help = (text)                                                  \
    }
#define STEPS_AS_ABOVE                                                            \
    {                                                                             \
        .name = "steps", .type = KEY_OTHER, .required = true, .read = read_later, \
        .form = "a list of steps", .help = "see on_connect.steps"                 \
    }
#define TIMEOUT(in, member, longest)                                                              \
    {                                                                                             \
        .name = "timeout", .type = KEY_DURATION, .min = 100, .max = (longest), .fallback = "30s", \
        AT(in, member), .help = "all steps together take at most this"                            \
    }

const struct key config_on_connect_keys[N_ON_CONNECT_KEYS] = {
    TIMEOUT(struct sequence_settings, timeout_ms, 10 * MINUTE),
    STEPS("in order, after the subscriptions are made; a step that fails ends the attempt"),
};

const struct key config_poll_keys[N_POLL_KEYS] = {
    {.name = "every",
     .type = KEY_DURATION,
     .min = 100,
     .max = 365 * DAY,
     AT(struct sequence_settings, every_ms),
     .help = "again after so long (default: once per connection)"},
    TIMEOUT(struct sequence_settings, timeout_ms, DAY),
    STEPS_AS_ABOVE,
};

const struct key config_keep_alive_keys[N_KEEP_ALIVE_KEYS] = {
    {.name = "every",
     .type = KEY_DURATION,
     .required = true,
     .min = 100,
     .max = DAY,
     .form = "a duration, such as 30s",
     AT(struct sequence_settings, every_ms),
     .help = "so often while connected, the first time after so long"},
    TIMEOUT(struct sequence_settings, timeout_ms, DAY),
    STEPS_AS_ABOVE,
};

static const struct key parameter_keys[] = {
    {.name = "min",
     .type = KEY_DECIMAL,
     AT(struct field_spec, min),
     FLAG(struct field_spec, has_min),
     .help = "the least value"},
    {.name = "max",
     .type = KEY_DECIMAL,
     AT(struct field_spec, max),
     FLAG(struct field_spec, has_max),
     .help = "the greatest value"},
    {.name = "default",
     .type = KEY_DECIMAL,
     AT(struct field_spec, default_value),
     FLAG(struct field_spec, has_default),
     .help = "when it is not given (default: it must be)"},
};

const struct key config_command_keys[N_COMMAND_KEYS] = {
    {.name = "name",
     .type = KEY_TEXT,
     .min = 1,
     .max = SETTINGS_MAX_NAME,
     AT(struct command_settings, name),
     .help = "shown to people (default: the id)"},
    {.name = "parameters",
     .type = KEY_ENTRIES,
     KEYS(parameter_keys),
     .help = "what the message gives, and the steps use as {parameter: NAME}"},
    {.name = "cancels",
     .type = KEY_OTHER,
     .read = read_later,
     .form = "a list of commands, such as [move]",
     .help = "commands that it puts an end to (always: an older one of the same name)"},
    TIMEOUT(struct command_settings, sequence.timeout_ms, DAY),
    STEPS_AS_ABOVE,
};
