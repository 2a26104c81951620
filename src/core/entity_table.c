/*
 * What each of Home Assistant's MQTT platforms is made of; see entity.h. The keys are those of its
 * documentation (home-assistant.io/integrations/light.mqtt and so on).
 */
#include "core/entity.h"

#include "util/err.h"
#include <string.h>

#define WORDS_OF(list)        .words = (list), .n_words = ARRAY_SIZE(list)
#define VARIABLES(list)       .variables = (list), .n_variables = ARRAY_SIZE(list)
#define STATE(prefix, suffix) .state_topic = prefix "_topic", .state_template = suffix
#define COMMAND(prefix) \
    .command_topic = prefix "_command_topic", .command_template = prefix "_command_template"

static const struct role_word on_off[] = {{"on", "ON"}, {"off", "OFF"}};

/* what is on or off: its state, and how it is switched */
#define SWITCHED(topic, template)                                                         \
    {                                                                                     \
        .name = "state",                                                                  \
        .kind = ROLE_KIND_WORDS,                                                          \
        .state_topic = (topic),                                                           \
        .state_template = (template),                                                     \
        WORDS_OF(on_off),                                                                 \
        .true_word = 0,                                                                   \
        .false_word = 1,                                                                  \
        .more_word = 0,                                                                   \
    },                                                                                    \
        {                                                                                 \
            .name = "on",                                                                 \
            .kind = ROLE_KIND_ACTION,                                                     \
            .payload = "payload_on",                                                      \
            .word = "on",                                                                 \
            .is_most = true,                                                              \
        },                                                                                \
    {                                                                                     \
        .name = "off", .kind = ROLE_KIND_ACTION, .payload = "payload_off", .word = "off", \
        .is_least = true,                                                                 \
    }

#define NUMBER(role, topic, template, command, bounds)                                        \
    {                                                                                         \
        .name = (role), .kind = ROLE_KIND_NUMBER, .state_topic = (topic),                     \
        .state_template = (template), COMMAND(command), .must_write = true, .range = (bounds) \
    }
#define NAMES(role, template, list)                                                    \
    {                                                                                  \
        .name = role, .kind = ROLE_KIND_NAMES, .state_topic = role "_state_topic",     \
        .state_template = template, COMMAND(role), .options = list, .must_write = true \
    }
#define READ_ONLY(role, topic, template)                                  \
    {                                                                     \
        .name = (role), .kind = ROLE_KIND_NUMBER, .state_topic = (topic), \
        .state_template = (template)                                      \
    }

/* ---- light ---- */
static const char *const rgb_variables[] = {"red", "green", "blue"};
static const char *const rgbw_variables[] = {"red", "green", "blue", "white"};
static const char *const rgbww_variables[] = {"red", "green", "blue", "cold_white", "warm_white"};
static const char *const hs_variables[] = {"hue", "sat"};
static const char *const xy_variables[] = {"x", "y"};

#define COLOR(role, list)                                                          \
    {                                                                              \
        .name = role, .kind = ROLE_KIND_COLOR, .state_topic = role "_state_topic", \
        .state_template = role "_value_template", COMMAND(role), VARIABLES(list),  \
        .must_write = true                                                         \
    }

static const struct entity_role light_roles[] = {
    SWITCHED("state_topic", "state_value_template"),
    {.name = "brightness",
     .kind = ROLE_KIND_NUMBER,
     .state_topic = "brightness_state_topic",
     .state_template = "brightness_value_template",
     COMMAND("brightness"),
     .must_write = true,
     .none_is_empty = true,
     .range = ROLE_RANGE_BRIGHTNESS},
    {.name = "color_temp",
     .kind = ROLE_KIND_NUMBER,
     .state_topic = "color_temp_state_topic",
     .state_template = "color_temp_value_template",
     COMMAND("color_temp"),
     .must_write = true,
     .none_is_empty = true,
     .range = ROLE_RANGE_COLOR_TEMP},
    COLOR("rgb", rgb_variables),
    COLOR("rgbw", rgbw_variables),
    COLOR("rgbww", rgbww_variables),
    COLOR("hs", hs_variables),
    COLOR("xy", xy_variables),
    NAMES("effect", "effect_value_template", "effect_list"),
};

/* ---- fan ---- */
static const struct role_word oscillation_words[] = {{"on", "oscillate_on"},
                                                     {"off", "oscillate_off"}};
static const struct role_word direction_words[] = {{"forward", "forward"}, {"reverse", "reverse"}};

static const struct entity_role fan_roles[] = {
    SWITCHED("state_topic", "state_value_template"),
    NUMBER("percentage", "percentage_state_topic", "percentage_value_template", "percentage",
           ROLE_RANGE_SPEED),
    NAMES("preset_mode", "preset_mode_value_template", "preset_modes"),
    {.name = "oscillation",
     .kind = ROLE_KIND_WORDS,
     .state_topic = "oscillation_state_topic",
     .state_template = "oscillation_value_template",
     COMMAND("oscillation"),
     .must_write = true,
     WORDS_OF(oscillation_words),
     .true_word = 0,
     .false_word = 1,
     .more_word = 0},
    {.name = "direction",
     .kind = ROLE_KIND_WORDS,
     .state_topic = "direction_state_topic",
     .state_template = "direction_value_template",
     COMMAND("direction"),
     .must_write = true,
     WORDS_OF(direction_words),
     .true_word = 1,
     .false_word = 0,
     .more_word = ROLE_NO_WORD},
};

/* ---- cover, valve, lock ---- */
static const struct role_word cover_words[] = {{"open", "open"},
                                               {"closed", "closed"},
                                               {"opening", "opening"},
                                               {"closing", "closing"},
                                               {"stopped", "stopped"}};

#define OPENED                                                                                  \
    {                                                                                           \
        .name = "state",                                                                        \
        .kind = ROLE_KIND_WORDS,                                                                \
        .state_topic = "state_topic",                                                           \
        .state_template = "value_template",                                                     \
        WORDS_OF(cover_words),                                                                  \
        .true_word = 0,                                                                         \
        .false_word = 1,                                                                        \
        .more_word = 0,                                                                         \
    },                                                                                          \
        {                                                                                       \
            .name = "open",                                                                     \
            .kind = ROLE_KIND_ACTION,                                                           \
            .payload = "payload_open",                                                          \
            .word = "open",                                                                     \
            .other_word = "opening",                                                            \
            .is_most = true,                                                                    \
        },                                                                                      \
        {                                                                                       \
            .name = "close",                                                                    \
            .kind = ROLE_KIND_ACTION,                                                           \
            .payload = "payload_close",                                                         \
            .word = "closed",                                                                   \
            .other_word = "closing",                                                            \
            .is_least = true,                                                                   \
        },                                                                                      \
    {                                                                                           \
        .name = "stop", .kind = ROLE_KIND_ACTION, .payload = "payload_stop", .word = "stopped", \
    }

static const struct role_word position_words[] = {{"open", NULL}, {"closed", NULL}};

static const struct entity_role cover_roles[] = {
    OPENED,
    {.name = "position",
     .kind = ROLE_KIND_NUMBER,
     .state_topic = "position_topic",
     .state_template = "position_template",
     .command_topic = "set_position_topic",
     .command_template = "set_position_template",
     .none_is_empty = true,
     WORDS_OF(position_words),
     .range = ROLE_RANGE_POSITION},
    {.name = "tilt",
     .kind = ROLE_KIND_NUMBER,
     .state_topic = "tilt_status_topic",
     .state_template = "tilt_status_template",
     .command_topic = "tilt_command_topic",
     .command_template = "tilt_command_template",
     .must_write = true,
     .none_is_empty = true,
     .range = ROLE_RANGE_TILT},
};
static const struct entity_role valve_roles[] = {OPENED};

static const struct role_word lock_words[] = {{"locked", "LOCKED"},
                                              {"unlocked", "UNLOCKED"},
                                              {"locking", "LOCKING"},
                                              {"unlocking", "UNLOCKING"},
                                              {"jammed", "JAMMED"}};
static const struct entity_role lock_roles[] = {
    {.name = "state",
     .kind = ROLE_KIND_WORDS,
     .state_topic = "state_topic",
     .state_template = "value_template",
     WORDS_OF(lock_words),
     .true_word = 0,
     .false_word = 1,
     .more_word = ROLE_NO_WORD},
    {.name = "lock",
     .kind = ROLE_KIND_ACTION,
     .payload = "payload_lock",
     .required = true,
     .word = "locked",
     .other_word = "locking"},
    {.name = "unlock",
     .kind = ROLE_KIND_ACTION,
     .payload = "payload_unlock",
     .required = true,
     .word = "unlocked",
     .other_word = "unlocking"},
    {.name = "open", .kind = ROLE_KIND_ACTION, .payload = "payload_open"},
};

/* ---- climate, humidifier, water_heater ---- */
static const struct role_word hvac_words[] = {
    {"heat", "heat"}, {"off", "off"}, {"cool", "cool"},         {"heat_cool", "heat_cool"},
    {"auto", "auto"}, {"dry", "dry"}, {"fan_only", "fan_only"},
};
static const struct role_word action_words[] = {
    {"heating", "heating"},
    {"idle", "idle"},
    {"off", "off"},
    {"cooling", "cooling"},
    {"fan", "fan"},
    {"drying", "drying"},
    {"preheating", "preheating"},
    {"defrosting", "defrosting"},
};
static const struct role_word heater_words[] = {
    {"performance", "performance"}, {"off", "off"}, {"eco", "eco"},
    {"electric", "electric"},       {"gas", "gas"}, {"heat_pump", "heat_pump"},
    {"high_demand", "high_demand"},
};
static const struct role_word humidifier_words[] = {
    {"humidifying", "humidifying"}, {"idle", "idle"}, {"drying", "drying"}, {"off", "off"}};

#define MODE(list)                                                                    \
    {                                                                                 \
        .name = "mode", .kind = ROLE_KIND_WORDS, .state_topic = "mode_state_topic",   \
        .state_template = "mode_state_template", COMMAND("mode"), .options = "modes", \
        WORDS_OF(list), .true_word = 0, .false_word = 1, .more_word = ROLE_NO_WORD,   \
    }
#define ACTION(list)                                                                          \
    {                                                                                         \
        .name = "action", .kind = ROLE_KIND_WORDS, .state_topic = "action_topic",             \
        .state_template = "action_template", WORDS_OF(list), .true_word = 0, .false_word = 1, \
        .more_word = 0,                                                                       \
    }
#define POWER                                                                           \
    {                                                                                   \
        .name = "power", .kind = ROLE_KIND_WORDS, COMMAND("power"), .must_write = true, \
        WORDS_OF(on_off), .true_word = 0, .false_word = 1, .more_word = ROLE_NO_WORD,   \
    }
#define TEMPERATURE                                                                               \
    NUMBER("temperature", "temperature_state_topic", "temperature_state_template", "temperature", \
           ROLE_RANGE_TEMPERATURE)
#define CURRENT_TEMPERATURE \
    READ_ONLY("current_temperature", "current_temperature_topic", "current_temperature_template")
#define HUMIDITY                                                                               \
    NUMBER("target_humidity", "target_humidity_state_topic", "target_humidity_state_template", \
           "target_humidity", ROLE_RANGE_HUMIDITY)
#define CURRENT_HUMIDITY \
    READ_ONLY("current_humidity", "current_humidity_topic", "current_humidity_template")

static const struct entity_role climate_roles[] = {
    TEMPERATURE,
    NUMBER("temperature_high", "temperature_high_state_topic", "temperature_high_state_template",
           "temperature_high", ROLE_RANGE_TEMPERATURE),
    NUMBER("temperature_low", "temperature_low_state_topic", "temperature_low_state_template",
           "temperature_low", ROLE_RANGE_TEMPERATURE),
    CURRENT_TEMPERATURE,
    MODE(hvac_words),
    ACTION(action_words),
    POWER,
    NAMES("fan_mode", "fan_mode_state_template", "fan_modes"),
    NAMES("swing_mode", "swing_mode_state_template", "swing_modes"),
    NAMES("preset_mode", "preset_mode_value_template", "preset_modes"),
    HUMIDITY,
    CURRENT_HUMIDITY,
};
static const struct entity_role water_heater_roles[] = {TEMPERATURE, CURRENT_TEMPERATURE,
                                                        MODE(heater_words), POWER};
static const struct entity_role humidifier_roles[] = {
    SWITCHED("state_topic", "state_value_template"),
    {.name = "target_humidity",
     .kind = ROLE_KIND_NUMBER,
     .required = true,
     .state_topic = "target_humidity_state_topic",
     .state_template = "target_humidity_state_template",
     COMMAND("target_humidity"),
     .must_write = true,
     .range = ROLE_RANGE_HUMIDITY},
    CURRENT_HUMIDITY,
    NAMES("mode", "mode_state_template", "modes"),
    ACTION(humidifier_words),
};

/* ---- of one field ---- */
static const struct entity_role switch_roles[] = {SWITCHED("state_topic", "value_template")};
static const struct entity_role siren_roles[] = {SWITCHED("state_topic", "state_value_template")};
static const struct entity_role button_roles[] = {
    {.name = "press", .kind = ROLE_KIND_ACTION, .payload = "payload_press", .required = true},
};

#define SINGLE(role_kind, list, bounds)                                                       \
    {                                                                                         \
        .name = "state", .kind = (role_kind), .required = true, .state_topic = "state_topic", \
        .state_template = "value_template", .command_topic = "command_topic",                 \
        .command_template = "command_template", .options = (list), .must_write = true,        \
        .range = (bounds)                                                                     \
    }
static const struct entity_role number_roles[] = {
    SINGLE(ROLE_KIND_NUMBER, NULL, ROLE_RANGE_NUMBER)};
static const struct entity_role select_roles[] = {
    SINGLE(ROLE_KIND_NAMES, "options", ROLE_RANGE_NONE)};
static const struct entity_role text_roles[] = {SINGLE(ROLE_KIND_TEXT, NULL, ROLE_RANGE_NONE)};

#define SHOWN(role_kind, list, ...)                                                           \
    {                                                                                         \
        .name = "state", .kind = (role_kind), .required = true, .state_topic = "state_topic", \
        .state_template = "value_template", .options = (list), __VA_ARGS__                    \
    }
static const struct entity_role sensor_roles[] = {SHOWN(ROLE_KIND_TEXT, NULL, )};
static const struct entity_role binary_sensor_roles[] = {SHOWN(
    ROLE_KIND_WORDS, NULL, WORDS_OF(on_off), .true_word = 0, .false_word = 1, .more_word = 0)};
static const struct entity_role update_roles[] = {
    {.name = "installed_version",
     .kind = ROLE_KIND_TEXT,
     .required = true,
     .state_topic = "state_topic",
     .state_template = "value_template"},
    {.name = "latest_version",
     .kind = ROLE_KIND_TEXT,
     .state_topic = "latest_version_topic",
     .state_template = "latest_version_template"},
    {.name = "install", .kind = ROLE_KIND_ACTION, .payload = "payload_install"},
};

/* ---- the platforms ---- */
static const struct entity_extra switch_extras[] = {{"state_on", "\"ON\""},
                                                    {"state_off", "\"OFF\""}};
static const struct entity_extra siren_extras[] = {{"state_on", "\"ON\""},
                                                   {"state_off", "\"OFF\""},
                                                   {"support_duration", "false"},
                                                   {"support_volume_set", "false"},
                                                   {"command_template", "\"{{ value }}\""}};

#define ROLES(list)  .roles = (list), .n_roles = ARRAY_SIZE(list)
#define EXTRAS(list) .extras = (list), .n_extras = ARRAY_SIZE(list)

const struct entity_platform entity_platforms[] = {
    {"light", ROLES(light_roles), .fallback = "brightness", .state_is_payload = true,
     .needs_command = true},
    {"cover", ROLES(cover_roles), .fallback = "position", .keeps_null = true},
    {"lock", ROLES(lock_roles), .needs_command = true},
    {"climate", ROLES(climate_roles)},
    {"fan", ROLES(fan_roles), .fallback = "percentage", .state_is_payload = true,
     .needs_command = true},
    {"valve", ROLES(valve_roles), .keeps_null = true},
    {"siren", ROLES(siren_roles), .needs_command = true, EXTRAS(siren_extras)},
    {"humidifier", ROLES(humidifier_roles), .state_is_payload = true, .needs_command = true},
    {"water_heater", ROLES(water_heater_roles)},
    {"switch", ROLES(switch_roles), .needs_command = true, EXTRAS(switch_extras)},
    {"button", ROLES(button_roles), .needs_command = true},
    {"number", ROLES(number_roles), .needs_command = true},
    {"select", ROLES(select_roles), .needs_command = true},
    {"text", ROLES(text_roles), .needs_command = true},
    {"sensor", ROLES(sensor_roles)},
    {"binary_sensor", ROLES(binary_sensor_roles)},
    {"update", ROLES(update_roles)},
};
const size_t entity_n_platforms = ARRAY_SIZE(entity_platforms);

const struct entity_platform *entity_platform_find(const char *name)
{
    for (size_t i = 0; i < entity_n_platforms; i++)
        if (strcmp(entity_platforms[i].name, name) == 0)
            return &entity_platforms[i];
    return NULL;
}

size_t entity_role_find(const struct entity_platform *platform, const char *name)
{
    for (size_t i = 0; i < platform->n_roles; i++)
        if (strcmp(platform->roles[i].name, name) == 0)
            return i;
    return SIZE_MAX;
}
