/* The keys of `devices` and `profiles`, down to the characteristics; see table.h. Must not know
 * how a file is read. */
#include "config/table_parts.h"

/* ---- characteristics ---- */
static const struct key_word endian_words[] = {{"little", 0, false}, {"big", 1, false}};
static const struct key_word set_words[] = {{"whole", SET_WHOLE, false},
                                            {"merge", SET_MERGE, false}};

static const struct key read_keys[] = {
    {.name = "every",
     .type = KEY_DURATION,
     .min = 100,
     .max = 365 * DAY,
     AT(struct characteristic_settings, read_every_ms),
     .help = "read again after so long"},
    {.name = "on_connect",
     .type = KEY_BOOL,
     .fallback = "false",
     AT(struct characteristic_settings, read_on_connect),
     .help = "read once after each connect"},
};

static const struct key_word notify_words[] = {
    {"signal", NOTIFY_SIGNAL, false},
    {"socket", NOTIFY_SOCKET, false},
};
static const struct key_word response_words[] = {
    {"auto", TRI_AUTO, false},
    {"true", TRI_YES, false},
    {"false", TRI_NO, false},
};
static const struct key_word payload_words[] = {
    {"json", PAYLOAD_JSON, false},
    {"value", PAYLOAD_VALUE, false},
    {"raw", PAYLOAD_RAW, false},
    {"hex", PAYLOAD_HEX, false},
};
static const struct key_word kind_words[] = {
    {"state", KIND_STATE, false},
    {"event", KIND_EVENT, false},
    {"record", KIND_RECORD, false},
};
static const struct key_word history_words[] = {{"all", 0, false}, {"latest", 1, false}};
static const struct key_word extra_words[] = {{"ignore", 0, false}, {"error", 1, false}};

static const struct key_word on_words[] = {{"always", false, false}, {"change", true, false}};
static const struct key publish_keys[] = {
    {.name = "on",
     .type = KEY_WORD,
     WORDS(on_words),
     .fallback = "always",
     AT(struct characteristic_settings, publish.on_change),
     .help = "always, or only when it has changed"},
    {.name = "min_interval",
     .type = KEY_DURATION,
     .min = 10,
     .max = DAY,
     AT(struct characteristic_settings, publish.min_interval_ms),
     .help = "not more often than this; the last value of a burst comes in the end"},
    {.name = "heartbeat",
     .type = KEY_DURATION,
     .min = SECOND,
     .max = 365 * DAY,
     AT(struct characteristic_settings, publish.heartbeat_ms),
     .help = "at least so often while the device is online, changed or not"},
};

/* what a characteristic and a message have alike: how a value is read and published */
#define VALUE_KEYS                                                                                 \
    {.name = "endian",                                                                             \
     .type = KEY_WORD,                                                                             \
     WORDS(endian_words),                                                                          \
     .help = "little or big: the byte order of its fields (default: little)"},                     \
        {.name = "extra",                                                                          \
         .type = KEY_WORD,                                                                         \
         WORDS(extra_words),                                                                       \
         .help = "bytes behind the fields: ignore (default) or error"},                            \
        {.name = "fields",                                                                         \
         .type = KEY_ENTRIES,                                                                      \
         KEYS(config_field_keys),                                                                  \
         .help = "what the bytes mean, in order"},                                                 \
        {.name = "payload",                                                                        \
         .type = KEY_WORD,                                                                         \
         WORDS(payload_words),                                                                     \
         .fallback = "json",                                                                       \
         AT(struct characteristic_settings, payload),                                              \
         .help = "json: an object of the fields; value: the one field bare; raw: the bytes; hex"}, \
        {.name = "kind",                                                                           \
         .type = KEY_WORD,                                                                         \
         WORDS(kind_words),                                                                        \
         .fallback = "state",                                                                      \
         AT(struct characteristic_settings, kind),                                                 \
         .help = "state is retained, event and record never are"},                                 \
        {.name = "retain",                                                                         \
         .type = KEY_BOOL,                                                                         \
         AT(struct characteristic_settings, retain),                                               \
         .help = "the broker keeps the last value (default: true for kind: state)"},               \
        {.name = "qos",                                                                            \
         .type = KEY_INT,                                                                          \
         .min = 0,                                                                                 \
         .max = 1,                                                                                 \
         .fallback = "1",                                                                          \
         AT(struct characteristic_settings, qos),                                                  \
         .help = "MQTT quality of service"},                                                       \
        {.name = "history",                                                                        \
         .type = KEY_WORD,                                                                         \
         WORDS(history_words),                                                                     \
         .fallback = "all",                                                                        \
         AT(struct characteristic_settings, history_latest),                                       \
         .help = "what waits while the broker is away: all values or the latest"},                 \
        {.name = "publish",                                                                        \
         .type = KEY_SECTION,                                                                      \
         KEYS(publish_keys),                                                                       \
         .help = "which of its values become messages, and when"},                                 \
        {.name = "home_assistant",                                                                 \
         .type = KEY_OTHER,                                                                        \
         .read = read_entity_override,                                                             \
         AT(struct characteristic_settings, home_assistant),                                       \
         .form = "a mapping of Home Assistant's own keys",                                         \
         .help = "laid over the discovery of its entities; null removes a key"},                   \
    {                                                                                              \
        .name = "stale_after", .type = KEY_DURATION, .min = SECOND, .max = 365 * DAY,              \
        AT(struct characteristic_settings, stale_after_ms),                                        \
        .help = "a value is no longer valid after so long: MQTT 5's message expiry"                \
    }

static const struct key message_keys[] = {
    {.name = "name",
     .type = KEY_TEXT,
     .min = 1,
     .max = SETTINGS_MAX_NAME,
     AT(struct characteristic_settings, name),
     .help = "shown to people (default: the id)"},
    {.name = "when",
     .type = KEY_SECTION,
     KEYS(config_when_keys),
     .help = "which messages it is (default: those that are no other)"},
    VALUE_KEYS,
};

static const struct key characteristic_keys[] = {
    {.name = "name",
     .type = KEY_TEXT,
     .min = 1,
     .max = SETTINGS_MAX_NAME,
     AT(struct characteristic_settings, name),
     .help = "shown to people (default: the id)"},
    {.name = "service",
     .type = KEY_UUID,
     AT(struct characteristic_settings, service),
     FLAG(struct characteristic_settings, has_service),
     .help = "the service that it belongs to (default: any)"},
    {.name = "uuid",
     .type = KEY_UUID,
     AT(struct characteristic_settings, uuid),
     FLAG(struct characteristic_settings, has_uuid),
     .help = "the characteristic's UUID: 0x2A37, or a full one"},
    {.name = "handle",
     .type = KEY_INT,
     .min = 1,
     .max = 65535,
     AT(struct characteristic_settings, handle),
     .help = "the handle of its value, instead of the UUID"},
    {.name = "has",
     .type = KEY_OTHER,
     .read = read_has,
     .form = "notify, indicate, read, write or write_command, or a list of them",
     .help = "of several with this UUID, the one that can: notify, indicate, read, write, "
             "write_command"},
    {.name = "index",
     .type = KEY_INT,
     .min = 0,
     .max = 255,
     AT(struct characteristic_settings, index),
     .help = "of several with this UUID, which one, from 0 (default: there must be only one)"},
    {.name = "subscribe",
     .type = KEY_BOOL,
     .fallback = "false",
     AT(struct characteristic_settings, subscribe),
     .help = "publish what it notifies or indicates"},
    {.name = "notify",
     .type = KEY_WORD,
     WORDS(notify_words),
     .fallback = "signal",
     AT(struct characteristic_settings, notify),
     .help = "how notifications come from BlueZ; socket is for fast streams"},
    {.name = "read", .type = KEY_SECTION, KEYS(read_keys), .help = "publish what is read"},
    {.name = "writable",
     .type = KEY_BOOL,
     .fallback = "false",
     AT(struct characteristic_settings, writable),
     .help = "offer a /set topic"},
    {.name = "response",
     .type = KEY_WORD,
     WORDS(response_words),
     .fallback = "auto",
     AT(struct characteristic_settings, response),
     .help = "write with response; auto: where the peer offers it"},
    {.name = "set",
     .type = KEY_WORD,
     WORDS(set_words),
     .fallback = "whole",
     AT(struct characteristic_settings, set),
     .help = "a /set names all fields (whole), or the rest is taken from the last value (merge)"},
    VALUE_KEYS,
    {.name = "frame",
     .type = KEY_SECTION,
     KEYS(config_frame_keys),
     FLAG(struct characteristic_settings, framed),
     .help = "its notifications are parts of longer messages: how these begin and end"},
    {.name = "messages",
     .type = KEY_ENTRIES,
     KEYS(message_keys),
     .help = "several kinds of messages, each with an id, fields and a topic of its own"},
    LATER("advertisement", "the value comes from advertisements"),
};

/* ---- composed entities; the roles of each platform are core's (entity_table.c) ---- */
static const struct key entity_keys[] = {
    {.name = "platform",
     .type = KEY_OTHER,
     .required = true,
     .read = read_later,
     .form = "light, cover, lock, climate, fan, ...",
     .help = "light, cover, lock, climate, fan, valve, siren, humidifier, water_heater, switch, "
             "button, number, select, text, sensor, binary_sensor or update"},
    {.name = "name",
     .type = KEY_OTHER,
     .read = read_entity_name,
     .form = "a text, or null",
     .help = "shown to people (default: the id; null, and of `main`: the device's name alone)"},
    {.name = "sensors",
     .type = KEY_BOOL,
     .fallback = "false",
     AT(struct entity_settings, sensors),
     .help = "its fields are sensors of their own, too"},
    {.name = "home_assistant",
     .type = KEY_OTHER,
     .read = read_entity_override,
     AT(struct entity_settings, home_assistant),
     .form = "a mapping of Home Assistant's own keys",
     .help = "laid over its discovery; null removes a key"},
    {.name = "ROLE",
     .type = KEY_OTHER,
     .read = read_later,
     .form = "CHARACTERISTIC.FIELD, {command: NAME} or {field, value}",
     .help = "one of the platform's: state, brightness, position, open, lock, temperature, ..."},
};

/* ---- devices ---- */
static const struct key_word address_type_words[] = {
    {"public", BT_ADDRESS_PUBLIC, false},
    {"random", BT_ADDRESS_RANDOM, false},
};

static const struct key company_keys[] = {
    {.name = "id",
     .type = KEY_INT,
     .required = true,
     .min = 0,
     .max = 65535,
     AT(struct device_settings, match.manufacturer),
     .form = "a company id such as 0x004C",
     .help = "the company id"},
    {.name = "data",
     .type = KEY_OTHER,
     .read = read_match_data,
     .form = "hex digits in quotes, such as \"0215\"",
     .help = "how the data behind the id starts, in hex"},
};

static const struct key match_keys[] = {
    {.name = "address",
     .type = KEY_ADDRESS,
     AT(struct device_settings, match.address),
     FLAG(struct device_settings, match.has_address),
     .help = "its address; of a bonded peer its identity address"},
    {.name = "address_type",
     .type = KEY_WORD,
     WORDS(address_type_words),
     AT(struct device_settings, match.address_type),
     FLAG(struct device_settings, match.has_address_type),
     .help = "public or random"},
    {.name = "name",
     .type = KEY_TEXT,
     .min = 1,
     .max = 248,
     AT(struct device_settings, match.name),
     .help = "its advertised name; * and ? stand for anything"},
    {.name = "service",
     .type = KEY_OTHER,
     .read = read_match_services,
     .form = "a UUID or a list of UUIDs",
     .help = "a service that it advertises, or a list of which it advertises all"},
    {.name = "manufacturer",
     .type = KEY_OTHER,
     .read = read_match_manufacturer,
     KEYS(company_keys),
     FLAG(struct device_settings, match.has_manufacturer),
     AT(struct device_settings, match.manufacturer),
     .form = "a company id such as 0x004C, or {id: 0x004C, data: \"0215\"}",
     .help =
         "a company id in its manufacturer data, or {id, data}: and how the data starts, in hex"},
    {.name = "min_rssi",
     .type = KEY_INT,
     .min = -127,
     .max = 20,
     AT(struct device_settings, match.min_rssi),
     FLAG(struct device_settings, match.has_min_rssi),
     .help = "heard at least as loud, in dBm"},
};

static const struct key when_seen_keys[] = {
    {.name = "cooldown",
     .type = KEY_DURATION,
     .min = 0,
     .max = 30 * DAY,
     .fallback = "1m",
     AT(struct device_settings, connection.cooldown_ms),
     .help = "not again so soon after a contact"},
};

static const struct key connection_keys[] = {
    {.name = "every",
     .type = KEY_DURATION,
     .min = 10 * SECOND,
     .max = 30 * DAY,
     AT(struct device_settings, connection.every_ms),
     .help = "connects so often"},
    {.name = "when_seen",
     .type = KEY_SECTION,
     KEYS(when_seen_keys),
     .help = "connects when it advertises"},
    {.name = "on_demand",
     .type = KEY_BOOL,
     .form = "true",
     .help = "connects for a command or a read"},
    {.name = "until",
     .type = KEY_OTHER,
     .read = read_until,
     .form = "a list of characteristics, such as [status]",
     .help = "stays until these characteristics have had a value"},
    {.name = "linger",
     .type = KEY_DURATION,
     .min = 0,
     .max = DAY,
     .fallback = "5s",
     AT(struct device_settings, connection.linger_ms),
     .help = "stays so long after the last use"},
    {.name = "timeout",
     .type = KEY_DURATION,
     .min = 5 * SECOND,
     .max = DAY,
     .fallback = "60s",
     AT(struct device_settings, connection.timeout_ms),
     .help = "a contact takes at most so long, from the first attempt to connect"},
};

static const struct key_word connection_words[] = {
    {"persistent", CONNECTION_MODE_PERSISTENT, false},
    {"on_demand", CONNECTION_MODE_ON_DEMAND, false},
    {"none", CONNECTION_MODE_NONE, true},
};
static const struct key_word bind_words[] = {
    {"sticky", BIND_MODE_STICKY, false},
    {"nearest", BIND_MODE_NEAREST, true},
};

static const struct key reconnect_keys[] = {
    {.name = "min",
     .type = KEY_DURATION,
     .min = 10,
     .max = HOUR,
     .fallback = "250ms",
     AT(struct device_settings, reconnect_min_ms),
     .help = "the first wait after a failed attempt to connect"},
    {.name = "max",
     .type = KEY_DURATION,
     .min = 10,
     .max = DAY,
     .fallback = "60s",
     AT(struct device_settings, reconnect_max_ms),
     .help = "the longest wait"},
};

const struct key config_device_keys[] = {
    {.name = "name",
     .type = KEY_TEXT,
     .min = 1,
     .max = SETTINGS_MAX_NAME,
     AT(struct device_settings, name),
     .help = "shown to people (default: the id)"},
    {.name = "area",
     .type = KEY_TEXT,
     .min = 1,
     .max = SETTINGS_MAX_NAME,
     AT(struct device_settings, area),
     .help = "where it stands"},
    {.name = "manufacturer",
     .type = KEY_TEXT,
     .min = 1,
     .max = SETTINGS_MAX_NAME,
     AT(struct device_settings, manufacturer),
     .help = "shown to people"},
    {.name = "model",
     .type = KEY_TEXT,
     .min = 1,
     .max = SETTINGS_MAX_NAME,
     AT(struct device_settings, model),
     .help = "shown to people"},
    {.name = "profile",
     .type = KEY_OTHER,
     .read = read_profile_name,
     .form = "the name of one of the profiles",
     .help = "the entry of `profiles` that this one builds on; its own keys win"},
    {.name = "match",
     .type = KEY_SECTION,
     KEYS(match_keys),
     .help = "how to find the peer: all that is given must fit"},
    {.name = "bind",
     .type = KEY_WORD,
     WORDS(bind_words),
     .fallback = "sticky",
     AT(struct device_settings, bind),
     .help = "sticky keeps the peer once found, nearest follows the strongest"},
    {.name = "connection",
     .type = KEY_WORD,
     WORDS(connection_words),
     KEYS(connection_keys),
     .fallback = "persistent",
     AT(struct device_settings, connection.mode),
     .help = "when to be connected"},
    {.name = "reconnect",
     .type = KEY_SECTION,
     KEYS(reconnect_keys),
     .help = "bounds of the wait between attempts"},
    {.name = "enabled",
     .type = KEY_BOOL,
     .fallback = "true",
     AT(struct device_settings, enabled),
     .help = "false: left alone"},
    {.name = "gateway",
     .type = KEY_ID,
     .max = SETTINGS_MAX_ID,
     AT(struct device_settings, gateway),
     .help = "the one gateway that takes care of it (default: whichever has it)"},
    {.name = "queue_timeout",
     .type = KEY_DURATION,
     .min = 0,
     .max = DAY,
     .fallback = "10s",
     AT(struct device_settings, queue_timeout_ms),
     .help = "a command waits so long for the link; 0: now or not at all"},
    {.name = "passkey",
     .type = KEY_TEXT,
     .min = 1,
     .max = BT_PASSKEY_DIGITS,
     .secret = true,
     AT(struct device_settings, passkey),
     .help = "what it shows for pairing, for the request `pair`; best by !file, !env or "
             "!credential"},
    {.name = "silence",
     .type = KEY_DURATION,
     .min = SECOND,
     .max = 30 * DAY,
     AT(struct device_settings, silence_ms),
     .help = "subscribed, but nothing notified for so long: reconnect (default: off)"},
    {.name = "availability_timeout",
     .type = KEY_DURATION,
     .min = SECOND,
     .max = 365 * DAY,
     AT(struct device_settings, availability_timeout_ms),
     .help = "one that is not held counts as online for so long after it was in contact or heard "
             "(default: 2.5 times `every`, else 25h)"},
    {.name = "characteristics",
     .type = KEY_ENTRIES,
     KEYS(characteristic_keys),
     .help = "the sources of its values"},
    {.name = "on_connect",
     .type = KEY_OTHER,
     .read = read_sequence,
     KEYS(config_on_connect_keys),
     .form = "a list of steps, or {timeout, steps}",
     .help = "steps after each connect, before it counts as online"},
    {.name = "poll",
     .type = KEY_OTHER,
     .read = read_sequence,
     KEYS(config_poll_keys),
     .form = "a list of steps, or {every, timeout, steps}",
     .help = "steps once per connection, or every so often"},
    {.name = "keep_alive",
     .type = KEY_OTHER,
     .read = read_sequence,
     KEYS(config_keep_alive_keys),
     .form = "{every, timeout, steps}",
     .help = "steps for a peer that drops the link when it hears nothing"},
    {.name = "commands",
     .type = KEY_ENTRIES,
     KEYS(config_command_keys),
     .help = "steps with a name, run by a message on <device>/command/<name>"},
    {.name = "adapter",
     .type = KEY_OTHER,
     .read = read_adapter,
     .form = "the adapter's name or address",
     .help = "the only adapter to use for it, by name (hci0) or address (default: any of "
             "bluetooth.adapters)"},
    LATER("multiple", "the entry is a template for every peer that fits"),
    LATER("max", "how many peers of a template"),
    LATER("forget_after", "a template's peer is forgotten after so long"),
    LATER("instances", "ids, names and areas of a template's peers"),
    {.name = "entities",
     .type = KEY_ENTRIES,
     KEYS(entity_keys),
     .help = "entities of Home Assistant that are made of several fields and commands"},
    {.name = "home_assistant",
     .type = KEY_OTHER,
     .read = read_device_override,
     AT(struct device_settings, home_assistant),
     .form = "a mapping of Home Assistant's own keys",
     .help = "laid over what Home Assistant is told about the device itself; null removes a key"},
};
