/* The table of all keys; see table.h. Must not know how a file is read. */
#include "config/table.h"

#include "config/readers.h"
#include "core/settings.h"
#include <stdint.h>
#include <string.h>

#define AT(type, member) \
    .stored = true, .offset = offsetof(type, member), .size = sizeof(((type *)0)->member)
#define FLAG(type, member) .has_flag = true, .flag_offset = offsetof(type, member)
#define WORDS(list)        .words = (list), .n_words = ARRAY_SIZE(list)
#define KEYS(list)         .keys = (list), .n_keys = ARRAY_SIZE(list)
#define LATER(key_name, text)                                                \
    {                                                                        \
        .name = (key_name), .type = KEY_OTHER, .later = true, .help = (text) \
    }

#define SECOND ((int64_t)1000)
#define MINUTE (60 * SECOND)
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)
#define KIB    ((int64_t)1024)
#define MIB    (1024 * KIB)

/* ---- mqtt ---- */
static const struct key_word protocol_words[] = {{"5", 5, false}, {"3.1.1", 4, false}};

static const struct key tls_keys[] = {
    {.name = "ca",
     .type = KEY_FILE,
     AT(struct settings, mqtt.tls_ca),
     .help = "certificates that the broker's is checked against (default: the system's)"},
    {.name = "certificate",
     .type = KEY_FILE,
     AT(struct settings, mqtt.tls_certificate),
     .help = "our own certificate, if the broker asks for one"},
    {.name = "key",
     .type = KEY_FILE,
     AT(struct settings, mqtt.tls_key),
     .help = "the private key of `certificate`, unless it is in the same file"},
};

static const struct key buffer_keys[] = {
    {.name = "messages",
     .type = KEY_INT,
     .min = 10,
     .max = 1000000,
     .fallback = "10000",
     AT(struct settings, mqtt.buffer_messages),
     .help = "how many messages wait while the broker is away"},
    {.name = "bytes",
     .type = KEY_SIZE,
     .min = 64 * KIB,
     .max = 1024 * MIB,
     .fallback = "8MiB",
     AT(struct settings, mqtt.buffer_bytes),
     .help = "how much memory they may take"},
};

static const struct key mqtt_keys[] = {
    {.name = "url",
     .type = KEY_OTHER,
     .required = true,
     .read = read_mqtt_url,
     .form = "mqtt://, mqtts://, ws:// or wss:// and the broker's name",
     .help = "the broker: mqtt, mqtts, ws or wss, a host, a port if it is not the usual one"},
    {.name = "username",
     .type = KEY_TEXT,
     .min = 1,
     .max = 1024,
     .secret = true,
     AT(struct settings, mqtt.username),
     .help = "the user name at the broker; also by !file, !env or !credential"},
    {.name = "password",
     .type = KEY_TEXT,
     .min = 1,
     .max = 65535,
     .secret = true,
     AT(struct settings, mqtt.password),
     .help = "the password at the broker; best by !file, !env or !credential"},
    {.name = "client_id",
     .type = KEY_TEXT,
     .min = 1,
     .max = 128,
     AT(struct settings, mqtt.client_id),
     .help = "the client id at the broker (default: gatt2mqtt- and gateway.id)"},
    {.name = "protocol",
     .type = KEY_WORD,
     WORDS(protocol_words),
     .fallback = "5",
     AT(struct settings, mqtt.protocol),
     .help = "the version of MQTT"},
    {.name = "tls", .type = KEY_SECTION, KEYS(tls_keys), .help = "certificates of mqtts and wss"},
    {.name = "keepalive",
     .type = KEY_DURATION,
     .min = 5 * SECOND,
     .max = 18 * HOUR,
     .fallback = "30s",
     AT(struct settings, mqtt.keepalive_ms),
     .help = "a silent connection is probed so often"},
    {.name = "buffer",
     .type = KEY_SECTION,
     KEYS(buffer_keys),
     .help = "what is kept while the broker is away"},
};

/* ---- gateway, commands, home_assistant, bluetooth ---- */
static const struct key gateway_keys[] = {
    {.name = "id",
     .type = KEY_ID,
     AT(struct settings, gateway.id),
     .help = "this gateway's name in topics (default: the short host name; needed in a container)"},
    {.name = "base_topic",
     .type = KEY_TOPIC,
     .fallback = "gatt2mqtt",
     AT(struct settings, gateway.base_topic),
     .help = "all topics start with it"},
};

static const struct key commands_keys[] = {
    LATER("allow", "the operations under request/ that are allowed"),
    LATER("reply_to", "further prefixes that a response topic may have"),
    LATER("allow_raw", "commands may name characteristics by bare UUID"),
};

static const struct key home_assistant_keys[] = {
    LATER("discovery", "how devices are announced to Home Assistant"),
    LATER("prefix", "Home Assistant's discovery prefix"),
};

static const struct key_word scan_words[] = {
    {"active", SCAN_MODE_ACTIVE, false},
    {"passive", SCAN_MODE_PASSIVE, true},
};
static const struct key_word reset_words[] = {
    {"never", RESET_POLICY_NEVER, false},
    {"when_alone", RESET_POLICY_WHEN_ALONE, true},
    {"always", RESET_POLICY_ALWAYS, true},
};

static const struct key bluetooth_keys[] = {
    {.name = "adapters",
     .type = KEY_OTHER,
     .read = read_adapters,
     .form = "auto, or a list with the adapter's name or address",
     .fallback = "auto",
     .help = "auto, or a list of adapters by name (hci0) or address"},
    {.name = "scan",
     .type = KEY_WORD,
     WORDS(scan_words),
     .fallback = "active",
     AT(struct settings, bluetooth.scan),
     .help = "active asks advertisers for more, passive only listens"},
    {.name = "connections",
     .type = KEY_INT,
     .min = 1,
     .max = 64,
     .fallback = "5",
     AT(struct settings, bluetooth.connections),
     .help = "links held at once, per adapter"},
    {.name = "power_on",
     .type = KEY_BOOL,
     .fallback = "true",
     AT(struct settings, bluetooth.power_on),
     .help = "switch an adapter on that is off at start"},
    {.name = "reset",
     .type = KEY_WORD,
     WORDS(reset_words),
     .fallback = "never",
     AT(struct settings, bluetooth.reset),
     .help = "may a hung adapter be switched off and on"},
};

/* ---- fields ---- */
static const struct key_word endian_words[] = {{"little", 0, false}, {"big", 1, false}};
static const struct key_word set_words[] = {{"whole", SET_WHOLE, false},
                                            {"merge", SET_MERGE, true}};

static const struct key field_keys[] = {
    {.name = "type",
     .type = KEY_OTHER,
     .required = true,
     .read = read_field_type,
     .form = "a field type, such as uint8, int16, float32, bool or string",
     .help = "bool uint8..uint64 int8..int64 uint24 int24 float32 float64 sfloat medfloat32 string "
             "bytes"},
    {.name = "endian",
     .type = KEY_WORD,
     WORDS(endian_words),
     AT(struct field_spec, big_endian),
     .help = "little or big (default: the characteristic's)"},
    {.name = "offset",
     .type = KEY_INT,
     .min = 0,
     .max = 511,
     AT(struct field_spec, offset),
     .help = "where it starts, in bytes (default: behind the field before)"},
    {.name = "bit",
     .type = KEY_OTHER,
     .read = read_field_bit,
     .form = "the number of a bit, from 0",
     .help = "one bit of the number, from the least significant"},
    {.name = "bits",
     .type = KEY_OTHER,
     .read = read_field_bits,
     .form = "[first, count]",
     .help = "[first, count] of the number's bits, from the least significant"},
    {.name = "length",
     .type = KEY_INT,
     .min = 1,
     .max = 512,
     AT(struct field_spec, length),
     .help = "of string and bytes, in bytes (default: the rest)"},
    {.name = "scale",
     .type = KEY_DECIMAL,
     .fallback = "1",
     AT(struct field_spec, scale),
     .help = "value = raw * scale + add"},
    {.name = "add",
     .type = KEY_DECIMAL,
     .fallback = "0",
     AT(struct field_spec, add),
     .help = "see scale"},
    {.name = "enum",
     .type = KEY_OTHER,
     .read = read_field_enum,
     .form = "a mapping of numbers to names, such as {0: closed, 1: open}",
     .help = "names for raw values, such as {0: closed, 1: open}"},
    {.name = "invalid",
     .type = KEY_OTHER,
     .read = read_field_invalid,
     .form = "a whole number",
     .help = "this raw value means \"unknown\": JSON null"},
    {.name = "unit",
     .type = KEY_TEXT,
     .min = 1,
     .max = 32,
     AT(struct field_spec, unit),
     .help = "the unit of the value"},
    {.name = "device_class",
     .type = KEY_TEXT,
     .min = 1,
     .max = 64,
     AT(struct field_spec, device_class),
     .help = "Home Assistant's device class"},
    {.name = "state_class",
     .type = KEY_TEXT,
     .min = 1,
     .max = 64,
     AT(struct field_spec, state_class),
     .help = "Home Assistant's state class"},
    {.name = "entity_category",
     .type = KEY_TEXT,
     .min = 1,
     .max = 64,
     AT(struct field_spec, entity_category),
     .help = "Home Assistant's entity category"},
    {.name = "icon",
     .type = KEY_TEXT,
     .min = 1,
     .max = 64,
     AT(struct field_spec, icon),
     .help = "Home Assistant's icon"},
    {.name = "min",
     .type = KEY_DECIMAL,
     AT(struct field_spec, min),
     FLAG(struct field_spec, has_min),
     .help = "the least value that can be set"},
    {.name = "max",
     .type = KEY_DECIMAL,
     AT(struct field_spec, max),
     FLAG(struct field_spec, has_max),
     .help = "the greatest value that can be set"},
    {.name = "step",
     .type = KEY_DECIMAL,
     AT(struct field_spec, step),
     FLAG(struct field_spec, has_step),
     .help = "the step between values that can be set"},
    {.name = "const",
     .type = KEY_OTHER,
     .read = read_field_value,
     AT(struct field_spec, const_value),
     FLAG(struct field_spec, has_const),
     .form = "a number, true, false or a name of the enum",
     .help = "always written so"},
    {.name = "default",
     .type = KEY_OTHER,
     .read = read_field_value,
     AT(struct field_spec, default_value),
     FLAG(struct field_spec, has_default),
     .form = "a number, true, false or a name of the enum",
     .help = "written when the field is not given"},
    {.name = "publish",
     .type = KEY_BOOL,
     .fallback = "true",
     AT(struct field_spec, publish),
     .help = "false: not part of what is published"},
    LATER("deadband", "smaller changes are not published"),
    LATER("when", "the field is there only if another one says so"),
    LATER("repeat", "an array"),
    LATER("fields", "the fields of an array's element"),
    LATER("checksum", "computed when writing"),
    LATER("counter", "computed when writing"),
    LATER("value", "computed when writing: now"),
};

/* ---- characteristics ---- */
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
    {.name = "endian",
     .type = KEY_WORD,
     WORDS(endian_words),
     .help = "little or big: the byte order of its fields (default: little)"},
    {.name = "extra",
     .type = KEY_WORD,
     WORDS(extra_words),
     .help = "bytes behind the fields: ignore (default) or error"},
    {.name = "fields",
     .type = KEY_ENTRIES,
     KEYS(field_keys),
     .help = "what the bytes mean, in order"},
    {.name = "payload",
     .type = KEY_WORD,
     WORDS(payload_words),
     .fallback = "json",
     AT(struct characteristic_settings, payload),
     .help = "json: an object of the fields; value: the one field bare; raw: the bytes; hex"},
    {.name = "kind",
     .type = KEY_WORD,
     WORDS(kind_words),
     .fallback = "state",
     AT(struct characteristic_settings, kind),
     .help = "state is retained, event and record never are"},
    {.name = "retain",
     .type = KEY_BOOL,
     AT(struct characteristic_settings, retain),
     .help = "the broker keeps the last value (default: true for kind: state)"},
    {.name = "qos",
     .type = KEY_INT,
     .min = 0,
     .max = 1,
     .fallback = "1",
     AT(struct characteristic_settings, qos),
     .help = "MQTT quality of service"},
    {.name = "history",
     .type = KEY_WORD,
     WORDS(history_words),
     .fallback = "all",
     AT(struct characteristic_settings, history_latest),
     .help = "what waits while the broker is away: all values or the latest"},
    LATER("stale_after", "the value is no longer valid after so long"),
    LATER("publish", "when a value is published: on, min_interval, heartbeat"),
    LATER("frame", "longer messages in a stream of notifications"),
    LATER("messages", "several kinds of messages on one characteristic"),
    LATER("advertisement", "the value comes from advertisements"),
    LATER("home_assistant", "merged into the entity's discovery"),
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

static const struct key connection_keys[] = {
    LATER("every", "connects so often"),
    LATER("until", "stays until these characteristics have a value"),
    LATER("linger", "stays so long after the last use"),
    LATER("timeout", "stays at most so long"),
    LATER("when_seen", "connects when it advertises"),
};

static const struct key_word connection_words[] = {
    {"persistent", CONNECTION_MODE_PERSISTENT, false},
    {"on_demand", CONNECTION_MODE_ON_DEMAND, true},
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

static const struct key device_keys[] = {
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
    {.name = "queue_timeout",
     .type = KEY_DURATION,
     .min = 0,
     .max = DAY,
     .fallback = "10s",
     AT(struct device_settings, queue_timeout_ms),
     .help = "a command waits so long for the link; 0: now or not at all"},
    {.name = "characteristics",
     .type = KEY_ENTRIES,
     KEYS(characteristic_keys),
     .help = "the sources of its values"},
    LATER("adapter", "the adapter to use for it"),
    LATER("gateway", "the one gateway that takes care of it"),
    LATER("silence", "reconnect when nothing was notified for so long"),
    LATER("availability_timeout", "counts as offline after so long without contact"),
    LATER("multiple", "the entry is a template for every peer that fits"),
    LATER("max", "how many peers of a template"),
    LATER("forget_after", "a template's peer is forgotten after so long"),
    LATER("instances", "ids, names and areas of a template's peers"),
    LATER("on_connect", "steps after each connect"),
    LATER("poll", "steps to repeat"),
    LATER("keep_alive", "steps that keep the link"),
    LATER("commands", "steps with a name"),
    LATER("entities", "composed entities for Home Assistant"),
    LATER("home_assistant", "merged into the device's discovery"),
};

/* ---- the file ---- */
static const struct key root_keys[] = {
    {.name = "mqtt", .type = KEY_SECTION, KEYS(mqtt_keys), .help = "the broker"},
    {.name = "gateway", .type = KEY_SECTION, KEYS(gateway_keys), .help = "this gateway"},
    {.name = "commands",
     .type = KEY_SECTION,
     KEYS(commands_keys),
     .help = "what may be asked for by MQTT"},
    {.name = "home_assistant",
     .type = KEY_SECTION,
     KEYS(home_assistant_keys),
     .help = "announcing devices to Home Assistant"},
    {.name = "bluetooth", .type = KEY_SECTION, KEYS(bluetooth_keys), .help = "the adapters"},
    {.name = "profiles",
     .type = KEY_ENTRIES,
     KEYS(device_keys),
     .help = "types of devices: what stands here, a device takes over by `profile`"},
    {.name = "devices", .type = KEY_ENTRIES, KEYS(device_keys), .help = "the peripherals"},
};

const struct key config_table = {.name = "", .type = KEY_SECTION, KEYS(root_keys), .help = ""};

const struct key *key_find(const struct key *section, const char *name)
{
    for (size_t i = 0; i < section->n_keys; i++)
        if (strcmp(section->keys[i].name, name) == 0)
            return &section->keys[i];
    return NULL;
}

/* ---- printing ---- */
static void print_words(const struct key *key, FILE *out)
{
    const char *comma = "";

    for (size_t i = 0; i < key->n_words; i++) {
        if (key->words[i].later)
            continue;
        fprintf(out, "%s%s", comma, key->words[i].name);
        comma = " | ";
    }
}

static void print_type(const struct key *key, FILE *out)
{
    switch (key->type) {
    case KEY_BOOL: fputs("true | false", out); break;
    case KEY_INT: fprintf(out, "%jd..%jd", (intmax_t)key->min, (intmax_t)key->max); break;
    case KEY_DECIMAL: fputs("number", out); break;
    case KEY_DURATION: fputs("duration", out); break;
    case KEY_SIZE: fputs("size", out); break;
    case KEY_TEXT: fputs("text", out); break;
    case KEY_ID: fputs("id", out); break;
    case KEY_TOPIC: fputs("topic", out); break;
    case KEY_FILE: fputs("file", out); break;
    case KEY_WORD: print_words(key, out); break;
    case KEY_UUID: fputs("UUID", out); break;
    case KEY_ADDRESS: fputs("address", out); break;
    case KEY_SECTION:
    case KEY_ENTRIES: break;
    case KEY_OTHER: fputs(key->form ? key->form : "", out); break;
    }
}

static void print_keys(const struct key *section, const char *prefix, FILE *out)
{
    for (size_t i = 0; i < section->n_keys; i++) {
        const struct key *key = &section->keys[i];
        char path[256];

        snprintf(path, sizeof(path), "%s%s", prefix, key->name);
        fprintf(out, "%s\t", path);
        if (key->later)
            fputs("not supported yet", out);
        else
            print_type(key, out);
        fprintf(out, "\t%s\t%s\n", key->fallback ? key->fallback : "", key->help);
        if (strcmp(path, "profiles") == 0)
            continue; /* the same as devices */
        size_t n = strlen(path);
        snprintf(path + n, sizeof(path) - n, "%s", key->type == KEY_ENTRIES ? ".ID." : ".");
        print_keys(key, path, out);
    }
}

void config_print_keys(FILE *out)
{
    print_keys(&config_table, "", out);
}
