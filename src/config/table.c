/* The table of all keys; see table.h. Must not know how a file is read. */
#include "config/table.h"

#include "config/table_parts.h"
#include "core/request.h"
#include <string.h>

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
     .max = SETTINGS_MAX_ID,
     AT(struct settings, gateway.id),
     .help = "this gateway's name in topics (default: the short host name; needed in a container)"},
    {.name = "base_topic",
     .type = KEY_TOPIC,
     .max = SETTINGS_MAX_BASE_TOPIC,
     .fallback = "gatt2mqtt",
     AT(struct settings, gateway.base_topic),
     .help = "all topics start with it"},
};

static const struct key commands_keys[] = {
    {.name = "allow",
     .type = KEY_OTHER,
     .read = read_allow,
     .form = "a list of operations such as [read, write]",
     .fallback = OPERATIONS_DEFAULT,
     .help =
         "the operations under request/ that are allowed; the rest are answered not_authorized"},
    {.name = "reply_to",
     .type = KEY_OTHER,
     .read = read_reply_to,
     .form = "a list of topics such as [clients/answers]",
     .help = "below these a response topic of MQTT 5 may lie, too"},
    {.name = "allow_raw",
     .type = KEY_BOOL,
     .fallback = "false",
     AT(struct settings, commands.allow_raw),
     .help = "requests may name characteristics by bare UUID"},
};

static const struct key_word discovery_words[] = {
    {"device", DISCOVERY_DEVICE, false},
    {"component", DISCOVERY_COMPONENT, false},
    {"off", DISCOVERY_OFF, false},
};

static const struct key home_assistant_keys[] = {
    {.name = "discovery",
     .type = KEY_WORD,
     WORDS(discovery_words),
     .fallback = "device",
     AT(struct settings, home_assistant.discovery),
     .help = "how devices are announced to Home Assistant: one document per device, one per entity "
             "(component, for other programs that read them), or not (off)"},
    {.name = "prefix",
     .type = KEY_TOPIC,
     .max = SETTINGS_MAX_BASE_TOPIC,
     .fallback = "homeassistant",
     AT(struct settings, home_assistant.prefix),
     .help = "Home Assistant's discovery prefix"},
};

static const struct key_word scan_words[] = {
    {"active", SCAN_MODE_ACTIVE, false},
    {"passive", SCAN_MODE_PASSIVE, false},
};
static const struct key_word reset_words[] = {
    {"never", RESET_POLICY_NEVER, false},
    {"when_alone", RESET_POLICY_WHEN_ALONE, false},
    {"always", RESET_POLICY_ALWAYS, false},
};

static const struct key bluetooth_keys[] = {
    {.name = "adapters",
     .type = KEY_OTHER,
     .read = read_adapters,
     .form = "auto, or a list of names and addresses",
     .fallback = "auto",
     .help = "auto (one: the one in use while it works, else one that is on, else the first by "
             "name), or a list by name (hci0) or address: all of them are used"},
    {.name = "scan",
     .type = KEY_WORD,
     WORDS(scan_words),
     .fallback = "active",
     AT(struct settings, bluetooth.scan),
     .help = "active asks advertisers for more, passive only listens (needs bluetoothd "
             "--experimental; else the scan is active)"},
    {.name = "connections",
     .type = KEY_INT,
     .min = 1,
     .max = 255,
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
     .help =
         "may a hung adapter be switched off and on: never, when no other program has connections "
         "there (when_alone), always"},
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
     KEYS(config_device_keys),
     .help = "types of devices: what stands here, a device takes over by `profile`"},
    {.name = "devices", .type = KEY_ENTRIES, KEYS(config_device_keys), .help = "the peripherals"},
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
