/*
 * The immutable settings that the core reads: what the file says, with defaults filled in, profiles
 * merged and references resolved. config/ fills them; settings_free() is the only way out. Every
 * key of the documentation has its place here; where a feature is still to come, config refuses the
 * key as "not supported yet", and the core leaves the member alone.
 *
 * All pointers are owned by the settings unless said otherwise; durations are in milliseconds; 0
 * means "off" where a key can be off.
 */
#pragma once

#include "core/bt.h"
#include "core/checksum.h"
#include "core/rules.h"
#include "core/schema.h"
#include "core/value.h"

enum tri { TRI_AUTO, TRI_YES, TRI_NO };

/* ---- mqtt ---- */
enum mqtt_transport {
    MQTT_TRANSPORT_TCP,
    MQTT_TRANSPORT_TLS,
    MQTT_TRANSPORT_WS,
    MQTT_TRANSPORT_WSS
};

struct mqtt_settings {
    char *url; /* as written; never has user information in it */
    enum mqtt_transport transport;
    char *host;
    uint16_t port;
    char *path;                               /* of ws and wss, "" otherwise */
    char *username;                           /* NULL: none */
    char *password;                           /* NULL: none; never logged */
    char *client_id;                          /* "gatt2mqtt-<gateway id>" unless given */
    uint8_t protocol;                         /* 4: 3.1.1, 5 */
    char *tls_ca, *tls_certificate, *tls_key; /* paths or NULL */
    uint64_t keepalive_ms;
    uint64_t buffer_messages, buffer_bytes;
};

/* ---- bluetooth ---- */
enum scan_mode { SCAN_MODE_ACTIVE, SCAN_MODE_PASSIVE };
enum reset_policy { RESET_POLICY_NEVER, RESET_POLICY_WHEN_ALONE, RESET_POLICY_ALWAYS };

/* "hci0" or an address */
struct adapter_selector {
    char *name; /* NULL when by address */
    struct bt_address address;
};

struct bluetooth_settings {
    struct adapter_selector *adapters; /* n_adapters == 0: auto */
    size_t n_adapters;
    enum scan_mode scan;
    uint64_t connections; /* links at once, per adapter */
    bool power_on;
    enum reset_policy reset;
};

/* ---- devices ---- */
struct match_settings {
    bool has_address, has_address_type;
    struct bt_address address;
    enum bt_address_type address_type;
    char *name;               /* glob, or NULL */
    struct bt_uuid *services; /* all of them must be advertised */
    size_t n_services;
    bool has_manufacturer;
    uint16_t manufacturer;
    uint8_t *manufacturer_prefix; /* of the data behind the id */
    size_t manufacturer_prefix_length;
    bool has_min_rssi;
    int16_t min_rssi;
};

enum bind_mode { BIND_MODE_STICKY, BIND_MODE_NEAREST };
enum connection_mode {
    CONNECTION_MODE_PERSISTENT,
    CONNECTION_MODE_ON_DEMAND,
    CONNECTION_MODE_EVERY,
    CONNECTION_MODE_WHEN_SEEN,
    CONNECTION_MODE_NONE,
};

struct connection_settings {
    enum connection_mode mode;
    uint64_t every_ms, linger_ms, timeout_ms, cooldown_ms;
    size_t *until; /* indices of characteristics */
    size_t n_until;
};

enum characteristic_origin {
    ORIGIN_GATT,
    ORIGIN_ADVERTISEMENT, /* comes later */
    ORIGIN_COMPUTED,      /* comes later */
    ORIGIN_MESSAGE,       /* one of the messages of another characteristic of the device */
};
enum characteristic_kind { KIND_STATE, KIND_EVENT, KIND_RECORD };
enum payload_form { PAYLOAD_JSON, PAYLOAD_VALUE, PAYLOAD_RAW, PAYLOAD_HEX };
enum notify_mode { NOTIFY_SIGNAL, NOTIFY_SOCKET };
enum set_mode { SET_WHOLE, SET_MERGE };

#define FRAME_MAX_MARK 8    /* bytes of a frame's start, end or delimiter */
#define FRAME_MAX      4096 /* bytes of a frame */
#define MESSAGE_MAX_ID 16   /* bytes that tell a message */

struct frame_mark {
    uint8_t data[FRAME_MAX_MARK];
    size_t length; /* 0: none */
};

/*
 * How longer messages travel over several notifications. A frame ends where its length field says,
 * or else where `end` is found; all offsets count from its first byte, those of `start` included.
 */
struct frame_settings {
    struct frame_mark start, end;
    bool strip_end;      /* `delimiter`: it is no part of the message */
    uint8_t length_size; /* bytes of the length field; 0: there is none */
    bool length_big_endian;
    uint16_t length_offset;
    int32_t length_add; /* bytes of the whole frame = the field + this */
    bool has_checksum;  /* right before `end`, over the bytes from checksum_from to it */
    enum checksum_type checksum;
    bool checksum_big_endian;
    uint16_t checksum_from;
    uint64_t timeout_ms; /* nothing came for so long: what there is of a frame is dropped */
    uint64_t max;        /* bytes of a frame; 1 to FRAME_MAX */
};

/* What tells a message: these bytes at this offset. */
struct message_settings {
    uint16_t offset;
    uint8_t data[MESSAGE_MAX_ID];
    size_t length; /* 0: every message */
};

struct characteristic_settings {
    char *id;
    char *name; /* for people; NULL: the id */
    enum characteristic_origin origin;
    bool has_service, has_uuid;
    struct bt_uuid service, uuid;
    uint16_t handle;    /* of the value; 0: by uuid */
    uint16_t has_flags; /* `has: notify`: enum gatt_flag that must be there; 0: any */
    int32_t index;      /* which of several alike, from 0; -1: must be the only one */
    bool subscribe;
    enum notify_mode notify;
    uint64_t read_every_ms; /* 0: not */
    bool read_on_connect;
    bool readable; /* /get is offered: not for frames and messages; the peer has the last word */
    bool writable;
    bool read_by_steps;
    bool for_steps_only; /* steps write it or look at it, and nothing in the file publishes it */
    enum tri response;   /* with response? AUTO: where the peer offers it */
    enum set_mode set;
    struct schema *schema; /* NULL: hex */
    enum payload_form payload;
    enum characteristic_kind kind;
    bool retain; /* by kind unless given */
    uint8_t qos;
    bool history_latest;
    struct rules_settings publish;
    uint64_t stale_after_ms; /* 0: never */
    bool framed;
    struct frame_settings frame;
    /* Its messages are the next so many characteristics of the device, of ORIGIN_MESSAGE, each
     * with an id and thus a topic of its own; then it publishes no values itself. */
    size_t n_messages;
    struct message_settings message; /* of ORIGIN_MESSAGE: which ones */
    char *home_assistant;            /* JSON, merged into its entities; NULL: none */
};

/* ---- steps ---- */
enum step_kind {
    STEP_KIND_WRITE,
    STEP_KIND_READ,
    STEP_KIND_SUBSCRIBE,
    STEP_KIND_WAIT,
    STEP_KIND_DELAY,
    STEP_KIND_REPEAT,
};

#define STEPS_MAX         32 /* of one list */
#define STEPS_MAX_ALL     64 /* of a sequence, those in repeats counted too */
#define STEPS_MAX_DEPTH   4  /* lists within lists */
#define NO_CHARACTERISTIC SIZE_MAX
#define NO_PARAMETER      SIZE_MAX

/* What a step writes or compares with. */
struct step_operand {
    size_t parameter;   /* of the command, or NO_PARAMETER: `value` it is */
    struct value value; /* a text's bytes are owned */
};

struct step_field {
    size_t field; /* of the characteristic's schema */
    struct step_operand operand;
};

/* One field of `where`. By name: which schema a message has is known only when it comes. */
struct step_condition {
    char *field;
    bool has_equals, has_min, has_max;
    struct step_operand equals;
    struct decimal within; /* of equals; 0: exactly */
    struct decimal min, max;
};

struct step_settings {
    enum step_kind kind;
    size_t characteristic; /* WRITE, READ, SUBSCRIBE; else NO_CHARACTERISTIC */
    /* WRITE: the bytes, or what they are made of */
    uint8_t *data;
    size_t length;
    struct step_field *fields; /* n_fields == 0: data */
    size_t n_fields;
    /* WAIT, and the `until` of REPEAT: a value of the characteristic or message of this id; NULL:
     * no `until` */
    char *source;
    struct step_condition *where;
    size_t n_where;
    uint64_t time_ms; /* WAIT: timeout; DELAY; REPEAT: from the start of a round to the next */
    uint64_t max;     /* REPEAT: rounds; 0: until `until` */
    struct step_settings *steps; /* REPEAT */
    size_t n_steps;
};

struct sequence_settings {
    uint64_t every_ms;   /* poll: 0: once per link; keep_alive */
    uint64_t timeout_ms; /* the whole */
    struct step_settings *steps;
    size_t n_steps; /* 0: there is no such sequence */
    uint64_t hash;  /* of its part of the file; 0: there is no such sequence */
};

#define SETTINGS_MAX_COMMANDS   32 /* per device: bits of `cancels` */
#define SETTINGS_MAX_PARAMETERS 16

struct command_settings {
    char *id;
    char *name;                /* for people; NULL: the id */
    struct schema *parameters; /* their names, bounds and defaults; NULL: none */
    struct sequence_settings sequence;
    uint32_t cancels; /* commands that it ends, a bit each; always itself */
};

/* ---- composed entities (entity.h) ---- */
#define SETTINGS_MAX_ENTITIES 32 /* per device */
#define ENTITY_MAX_FIELDS     5  /* of one role: a colour */
#define NO_COMMAND            SIZE_MAX

struct entity_platform;

/* a word of Home Assistant's, and the field's value (JSON) that means it */
struct entity_value {
    size_t word; /* of the role */
    char *value;
};

/* What a role of an entity is: fields of one characteristic, or a command. */
struct entity_binding {
    size_t role;    /* of the platform */
    bool is_set;    /* set_<role>: where it is written */
    size_t command; /* or NO_COMMAND: fields of `characteristic` */
    size_t characteristic;
    size_t fields[ENTITY_MAX_FIELDS];
    size_t n_fields;
    size_t parameter; /* of the command: the value is this one; or NO_PARAMETER */
    char *value;      /* of an action, JSON: the field's, or an object of parameters; NULL: {} */
    struct entity_value *values;
    size_t n_values;
};

struct entity_settings {
    char *id;
    const struct entity_platform *platform; /* borrowed, for ever; NULL: none was given */
    bool has_name;
    char *name;           /* NULL with has_name: it is the device itself */
    bool sensors;         /* its fields are sensors, too */
    char *home_assistant; /* JSON; NULL: none */
    struct entity_binding *bindings;
    size_t n_bindings;
};

struct device_settings {
    char *id;
    char *name;                        /* for people; NULL: the id */
    char *area, *manufacturer, *model; /* NULL: not given */
    bool enabled;
    char *gateway; /* bound to this gateway; NULL: any */
    struct match_settings match;
    enum bind_mode bind;
    bool multiple;                    /* later: a template */
    struct adapter_selector *adapter; /* the device's own; NULL: any of bluetooth.adapters */
    struct connection_settings connection;
    uint64_t reconnect_min_ms, reconnect_max_ms;
    uint64_t silence_ms;
    uint64_t availability_timeout_ms; /* 0: by the connection mode */
    char *passkey;                    /* digits; to pair it with; NULL: without one */
    uint64_t queue_timeout_ms;        /* a command waits so long for the link */
    struct characteristic_settings *characteristics;
    size_t n_characteristics;
    struct sequence_settings on_connect, poll, keep_alive;
    struct command_settings *commands;
    size_t n_commands;
    struct entity_settings *entities;
    size_t n_entities;
    char *home_assistant; /* JSON, merged into the `device` of its discovery; NULL: none */
    /* of the device's part of the file, its profile merged: the same means that nothing about the
     * device has changed, whatever keys there are; 0: never the same */
    uint64_t hash;
};

/* ---- the whole ---- */
enum discovery_mode { DISCOVERY_OFF, DISCOVERY_DEVICE, DISCOVERY_COMPONENT };

struct settings {
    struct mqtt_settings mqtt;
    struct {
        char *id;
        char *base_topic;
    } gateway;
    struct {
        uint32_t allow;  /* OPERATION_BITs of what is allowed under request/ */
        char **reply_to; /* prefixes, whole levels */
        size_t n_reply_to;
        bool allow_raw;
    } commands;
    struct {
        enum discovery_mode discovery;
        char *prefix;
    } home_assistant;
    struct bluetooth_settings bluetooth;
    struct device_settings *devices; /* in the file's order */
    size_t n_devices;
    char hash[17]; /* of the file's content, for `info`; hex */
};

struct settings *settings_free(struct settings *settings);
/* empties one device / characteristic (not the memory itself) */
void device_settings_done(struct device_settings *device);
void characteristic_settings_done(struct characteristic_settings *characteristic);
void sequence_settings_done(struct sequence_settings *sequence);
void command_settings_done(struct command_settings *command);
void entity_settings_done(struct entity_settings *entity);
/* the index of that id, or SIZE_MAX */
size_t device_settings_find_characteristic(const struct device_settings *device, const char *id);
/* the index of the characteristic whose message it is; of no message, its own */
size_t device_settings_characteristic_of(const struct device_settings *device, size_t index);

/* ---- what a new version of the file changes (settings_compare.c) ---- */
enum device_change {
    DEVICE_CHANGE_NONE,
    DEVICE_CHANGE_CONTENT, /* names, fields, publish rules, steps ...: the link can stay */
    DEVICE_CHANGE_LINK,    /* who the peer is, how it is connected, what is to be found there */
};
/* the same device in two versions of the file */
enum device_change device_settings_compare(const struct device_settings *old,
                                           const struct device_settings *device);
/* Which of the device's characteristics is the same one at the peer, the one of that id first;
 * SIZE_MAX: none. */
size_t device_settings_find_same(const struct device_settings *device,
                                 const struct characteristic_settings *characteristic);
bool match_settings_equal(const struct match_settings *a, const struct match_settings *b);
bool frame_settings_equal(const struct frame_settings *a, const struct frame_settings *b);
/* all but the buffer's size: false asks for a new connection */
bool mqtt_settings_equal(const struct mqtt_settings *a, const struct mqtt_settings *b);

/* Limits of the file, so that topics and queues have one, too. */
#define SETTINGS_MAX_DEVICES         1000
#define SETTINGS_MAX_ADAPTERS        8
#define SETTINGS_MAX_CHARACTERISTICS 64 /* per device, messages included */
#define SETTINGS_MAX_ID              64 /* bytes of an id */
#define SETTINGS_MAX_NAME            128
#define SETTINGS_MAX_BASE_TOPIC      256
#define SETTINGS_MAX_LITERAL         8192 /* bytes of a `home_assistant`, as JSON */
