/*
 * The core's inside: the structures that gateway, peer, adapter, ops, publish, router and status
 * share. Nobody outside core/ includes this (tests of the core may).
 *
 * Who does what:
 *   gateway   dispatches events, talks to the broker's side, announces, stops
 *   adapter   which adapters are used, power, trouble
 *   scan      an adapter's scan
 *   recover   adapters that hear nobody or hang
 *   connector who connects next, by which adapter
 *   peers     the list of them: made, found, freed
 *   reload    a new version of the file
 *   renew     a peer whose settings change and whose link stays
 *   peer      one peripheral's state machine; only peer_enter_state() assigns a state
 *   greet     the beginning of each connection to the broker
 *   claim     which gateway has a device
 *   memory    what was published before this process, on the broker
 *   contact   peers that are not held all the time: when, and how long
 *   hold      what people ask of a link: connect, let go, pause
 *   errand    what people ask about a peer as a whole: forget, inspect, pair
 *   ops       a peer's queue of GATT reads and writes, one at a time
 *   step      sequences of steps: on_connect, poll, keep_alive and named commands
 *   command   what a person or program asked for; exactly one answer each
 *   reply     where an answer goes
 *   publish   bytes of a characteristic to an MQTT message
 *   router    an MQTT message to a command
 *   request   what comes under bridge/<gateway>/request/
 *   access    a value that people send to a characteristic
 *   merge     ... where it is only a part of it
 *   survey    who is heard, for a request
 *   status    the JSON of link, info, devices, health
 *   announce  when Home Assistant is told of devices
 *   announced ... and of what
 *
 * Deadlines. Whoever sets one calls gateway_arm(); EVENT_TIMER looks at all of them. So a
 * notification costs no look at any timer.
 */
#pragma once

#include "core/action.h"
#include "core/dedup.h"
#include "core/discovery.h"
#include "core/event.h"
#include "core/frame.h"
#include "core/gateway.h"
#include "core/outbox.h"
#include "core/payload.h"
#include "core/request.h"
#include "core/settings.h"
#include "util/strbuf.h"
#include "util/time.h"

#define MAX_ADAPTERS SETTINGS_MAX_ADAPTERS

/* Deadlines, in ms. Sources: BlueZ's and the kernel's own limits, see docs at each use. */
#define CONNECT_MS        20000 /* the kernel would try for 40 s */
#define CONNECT_SETTLE_MS 5000  /* Connect said yes, Connected has not come */
#define RESOLVE_MS        30000 /* an ATT request may take 30 s (Vol 3 Part F 3.3.3) */
#define SUBSCRIBE_MS      35000
#define ATTEMPT_MS        60000 /* from Connect to online */
#define DISCONNECT_MS     10000
#define OP_MS             35000 /* a read or a write */
#define BIND_WINDOW_MS    10000 /* of those heard within it the strongest is taken */
#define HEARD_MS                                                                \
    15000 /* an advertisement older than that says nothing about now: an active \
             scan reports a peer at least once in 10.24 s */
#define BLIND_RETRY_MS     30000
#define NOT_READY_RETRY_MS 3000 /* an adapter that says it is on refuses to connect */
#define GONE_RETRY_MS      4000 /* BlueZ forgot the object: it takes so long to hear a peer again */
#define ADVERT_RETRY_MS    1000 /* an advertisement ends a backoff within this */
#define ADVERT_SHORTCUT_MS 10000 /* ... at most once in this */
#define STABLE_MS          30000 /* online for so long: the failures before are forgotten */
#define SLOW_RETRY_MS      60000
#define SLOWEST_RETRY_MS   300000
#define CACHE_CLEAR_MS     3600000 /* RemoveDevice for a wrong GATT tree, at most once in this */
#define RSSI_REPUBLISH_MS  60000
#define HEALTH_MS          60000
#define STOP_MS            1200
#define SCAN_STOP_MS       5000
#define SCAN_RETRY_MS      1000
#define SCAN_SLOW_RETRY_MS 60000
#define SCAN_ANSWER_MS     15000
#define POWER_RETRY_MS     10000
#define POWER_BLOCKED_MS   60000 /* by rfkill: the user's business */

#define ATT_MTU_LEAST          23   /* of every link (Vol 3 Part F 3.2.8, Part G 5.2.1) */
#define ATT_READ_NOT_PERMITTED 0x02 /* an error code (Vol 3 Part F 3.4.1.1) */
#define OPS_MAX                32   /* waiting operations of one peer */
#define RECONNECT_MS           1000
#define RELOADS_MAX            8 /* requests for a reload that wait at once */

/* A scan that hears nobody: for so long, not counting the times of a Connect. */
#define SILENT_RESTART_MS 90000
#define SILENT_RECOVER_MS 120000
/* Switching a hung adapter off and on. */
#define RECOVER_ANSWER_MS 20000
#define RECOVER_PAUSE_MS  2000
#define RECOVER_AGAIN_MS  600000 /* at least; twice as long after each one without effect */
#define RECOVER_DOUBLINGS 4
#define TIMED_OUT_PEERS   3 /* different ones, in a row: it is not they */

enum recover_state {
    RECOVER_STATE_NONE,
    RECOVER_STATE_OFF,   /* asked to be off */
    RECOVER_STATE_PAUSE, /* off */
    RECOVER_STATE_ON,    /* asked to be on */
};

enum scan_state { SCAN_STATE_OFF, SCAN_STATE_STARTING, SCAN_STATE_ON, SCAN_STATE_STOPPING };

#define NO_PEER UINT32_MAX

struct adapter {
    uint32_t id; /* 0: this place is free */
    struct bt_address address;
    char name[16];
    bool powered, discovering;
    bool chosen;       /* by `bluetooth.adapters`: serves all that name none themselves */
    bool used;         /* chosen, or named by a device */
    bool blocked;      /* by rfkill */
    bool told_blocked; /* ... BlueZ says by itself */
    bool power_wanted; /* it has not been on since it appeared, or we switched it off */
    size_t links;      /* of all programs */
    enum scan_state scan;
    bool scan_passive;          /* that one is */
    bool cannot_scan_passively; /* BlueZ said so */
    unsigned scan_failures;
    uint64_t scan_retry_us;  /* not before */
    uint32_t scan_op;        /* the operation whose answer counts */
    uint64_t scan_answer_us; /* the answer to start / stop is due */
    uint64_t scan_idle_us;   /* nobody is missing: stop at this time; TIME_NEVER: somebody is */
    uint64_t power_retry_us;
    uint32_t power_op; /* the operation whose answer counts */
    /* recover.c */
    uint64_t listens_us; /* since when it scans and does not connect; 0: it does not */
    uint64_t silent_us;  /* how long it had listened before that and heard nobody */
    unsigned silence;    /* 1: the scan was restarted for it, 2: recovered */
    enum recover_state recover;
    uint64_t recover_us;                 /* the state's deadline */
    uint64_t recover_next_us;            /* no recovery before */
    unsigned recoveries;                 /* in a row without effect */
    bool heard;                          /* since the last one */
    uint32_t timed_out[TIMED_OUT_PEERS]; /* peers whose Connects timed out, in a row */
    size_t n_timed_out;
    bool timed_out_before; /* so many once already, and no link since */
    uint32_t connector;    /* the peer that holds the connect token, or NO_PEER */
    char scan_text[96];    /* why scanning fails */
    bool links_counted;    /* n_counted is right, while the gateway's `links_stand` */
    size_t n_counted;
};

enum peer_state {
    PEER_STATE_DISABLED, /* `enabled: false`, paused, or another gateway's */
    PEER_STATE_ABSENT,   /* not heard; may last for ever */
    PEER_STATE_READY,    /* waits for the connector or a free link; may last for ever */
    PEER_STATE_BACKOFF,  /* until retry_us */
    PEER_STATE_CONNECTING,
    PEER_STATE_RESOLVING,
    PEER_STATE_PAIRING,       /* because a request asks for it */
    PEER_STATE_CONFIGURING,   /* subscribing, and the steps of on_connect */
    PEER_STATE_ONLINE,        /* may last for ever */
    PEER_STATE_DISCONNECTING, /* until the link is down, however often it must be asked */
    PEER_STATE_IDLE,          /* on_demand, every, when_seen: between sessions */
};

/* Why a peer is where it is: stable codes of `status/link`. */
enum reason {
    REASON_OK,
    REASON_STARTING,
    REASON_DISABLED,
    REASON_NO_BUS,
    REASON_NO_BLUEZ,
    REASON_ACCESS_DENIED,
    REASON_NO_ADAPTER,
    REASON_ADAPTER_OFF,
    REASON_RFKILL,
    REASON_SCAN_FAILED,
    REASON_ADAPTER_RESET,
    REASON_NOT_HEARD,
    REASON_CHOOSING,
    REASON_QUEUED,
    REASON_NO_SLOT,
    REASON_CONNECTING,
    REASON_RESOLVING,
    REASON_PAIRING,
    REASON_CONFIGURING,
    REASON_LINK_LOST,
    REASON_CONNECT_FAILED,
    REASON_CONNECT_TIMEOUT,
    REASON_BUSY_ELSEWHERE,
    REASON_AUTH_FAILED,
    REASON_NO_SERVICES,
    REASON_RESOLVE_FAILED,
    REASON_GATT_MISSING,
    REASON_SUBSCRIBE_FAILED,
    REASON_STOPPING,
    REASON_IDLE,
    REASON_CONTACT_TIMEOUT,
    REASON_SILENT,
    REASON_ON_CONNECT_FAILED,
    REASON_PAUSED,
    REASON_LET_GO,
    REASON_BOUND_ELSEWHERE, /* `gateway:` names another */
    REASON_HELD_ELSEWHERE,
    REASON_CLAIMING,
};
#define N_REASONS (REASON_CLAIMING + 1)

/* A peer's object at one adapter. */
struct sighting {
    uint32_t adapter, device; /* device 0: free */
    int16_t rssi;
    uint64_t heard_us; /* 0: never (a remembered object) */
    bool connected;
    bool bonded;       /* then the object holds keys that are not ours to throw away */
    uint64_t tried_us; /* the last Connect; 0: none */
    unsigned failures; /* of the last attempts, in a row */
    uint64_t failed_us;
};

/* One entry of the file's `characteristics`, or one of its messages. Values of the latter come by
 * way of the former, whose source it shows, too; it is not in the source's list. */
struct entry {
    const struct characteristic_settings *settings; /* borrowed */
    struct peer *peer;                              /* borrowed */
    char *topic;                                    /* owned */
    uint32_t source;                                /* index in the peer's sources, or NO_SOURCE */
    uint32_t next;           /* of the entries on the same source, or NO_SOURCE */
    uint64_t read_due_us;    /* TIME_NEVER: no periodic read */
    const char *missing;     /* why there is no source on this link, or NULL */
    struct frame *frame;     /* owned; NULL: a notification is a value */
    uint64_t frame_due_us;   /* an open frame is given up; TIME_NEVER: there is none */
    int64_t part_real_us;    /* when the last part of it came */
    struct rules *rules;     /* owned; NULL: each value is a message */
    uint64_t frames_dropped; /* as far as counted and said */
    enum tri asked;          /* to be subscribed or not, while it runs; AUTO: as the file says */
    struct known *known;     /* owned; the last value, for `set: merge`; NULL: not wanted */
    /* A value that was written comes back twice where the peer notifies it and it is read back:
     * told apart here, so that it is published once. */
    struct {
        bool written;  /* and not yet read back, */
        bool notified; /* but notified meanwhile, */
        uint64_t hash; /* with this value */
    } echo;
    uint64_t values, malformed, writes;
};

#define NO_SOURCE UINT32_MAX
#define NO_ENTRY  UINT32_MAX

/* One characteristic at the peer, shared by all entries that name it. */
struct source {
    uint16_t handle; /* 0: free */
    uint16_t flags;
    uint32_t subscription; /* number of the current subscription; 0: none */
    uint32_t first_entry;
    bool wanted;     /* some entry subscribes */
    bool subscribed; /* confirmed on this link */
};

enum op_kind { OP_KIND_READ, OP_KIND_WRITE, OP_KIND_SUBSCRIBE, OP_KIND_UNSUBSCRIBE };

struct gatt_op {
    struct gatt_op *next;
    enum op_kind kind;
    uint32_t entry;
    uint32_t id;             /* of the action, once it runs */
    struct command *command; /* owned; NULL: nobody asked */
    uint32_t step;           /* the sequence that waits for it; 0: none */
    enum tri wanted;         /* with response? AUTO: as the file says */
    bool response;           /* decided when it runs */
    struct bt_uuid uuid;     /* where entry is NO_ENTRY: what a request named */
    uint16_t handle, flags;  /* of the characteristic when it ran */
    bool read_back;          /* of what was just written */
    /* `set: merge`: what was asked for, owned; `data`, with room for any value, is filled when its
     * turn comes. NULL: `data` stands already */
    struct payload_set *asked;
    bool fetching, fetched; /* it is read before; was read */
    uint64_t queue_us;      /* must have started by then; TIME_NEVER */
    bool waits_link;        /* ... because it waits for the link */
    uint64_t answer_us;     /* who asked waits no longer; TIME_NEVER */
    uint64_t deadline_us;   /* must have ended by then */
    size_t length;
    size_t sent;    /* of a write in several packets: up to here */
    uint8_t data[]; /* of a write */
};

/* Whose a device is; see claim.c. */
enum claim_state {
    CLAIM_STATE_BOUND,     /* `gateway:` names us; for ever */
    CLAIM_STATE_FOREIGN,   /* `gateway:` names another one; for ever */
    CLAIM_STATE_UNKNOWN,   /* the broker has not said; then we take it */
    CLAIM_STATE_ELSEWHERE, /* another one has it, and is online; may last for ever */
    CLAIM_STATE_FREE,      /* nobody has it; then we claim it */
    CLAIM_STATE_CLAIMED,   /* ours is on its way to the broker and back */
    CLAIM_STATE_STANDING,  /* it has come back; then it is ours */
    CLAIM_STATE_OURS,      /* may last for ever */
};

struct claim {
    enum claim_state state;
    uint64_t due_us;                  /* of the state; TIME_NEVER */
    char holder[SETTINGS_MAX_ID + 1]; /* who made the latest claim that was heard; "": nobody */
    bool has_address;                 /* in that claim: who the peer is */
    struct bt_address address;
    bool said;             /* ours was published on this connection to the broker */
    bool held_before;      /* another gateway had it when the broker was lost */
    struct bridge *before; /* borrowed: had it last, and its list is not read yet; NULL: none */
};

/* Another gateway. */
struct bridge {
    char id[SETTINGS_MAX_ID + 1];
    bool online;
    bool asked;        /* for its list: see predecessor.c */
    uint64_t doubt_us; /* then it is not believed any more; TIME_NEVER: it has proved it */
};
#define BRIDGES_MAX 64

enum greeting_step {
    GREETING_STEP_NONE, /* no broker */
    GREETING_STEP_READING,
    GREETING_STEP_LISTENING,
    GREETING_STEP_CLAIMING,
    GREETING_STEP_DONE,
};

struct greeting {
    enum greeting_step step;
    unsigned n_awaited; /* subscriptions that are not acknowledged */
    uint64_t due_us;    /* of the step; TIME_NEVER: the keepalive watches */
    bool deaf;          /* what we publish does not come back */
    bool online;        /* as we said last */
};

/* One entity that Home Assistant is told of, or was; see announced.c. */
struct announced_entity {
    char *path;  /* owned: "sensor/climate_temperature" */
    bool now;    /* the file has it */
    bool before; /* ... had it before it changed */
    bool told;   /* it may stand in the document of the whole device, as Home Assistant knows it */
    uint64_t hash; /* of its own document on this connection to the broker; 0: none */
};
#define ANNOUNCED_GONE_MAX 64 /* marked as removed at once */

/* What Home Assistant is told of a device, or of the gateway itself. */
struct announced {
    struct announced_entity *entities; /* owned */
    size_t n_entities, size;
    size_t remembered; /* the place of the last one that memory named */
    bool known;        /* `now` is up to date */
    bool waits;        /* for the documents of the other form to be out of the way */
    bool marking;      /* the document that marks what is gone is on its way */
    uint64_t hash;     /* of the document of the whole on this connection; 0: none */
    bool said;         /* nothing changed since it was written, but maybe the address */
    bool said_address; /* there was one in it: */
    struct bt_address address;
};

/* The documents of the form that was configured before; see announce.c. */
enum migration {
    MIGRATION_NONE,
    MIGRATION_ASKED, /* until the broker has it */
    MIGRATION_PAUSE, /* then the present ones are published */
    MIGRATION_SAID,  /* then the old topics are cleared */
};

struct leftover;
struct memory {
    bool read;                  /* or given up */
    bool check;                 /* something may be cleared now */
    struct leftover *leftovers; /* owned; topics of what is no longer configured */
    size_t n_leftovers, size;
    size_t n_held;    /* of them, for announce.c to say when they may be cleared */
    size_t n_cleared; /* since the list was written last */
};

struct peer {
    struct gateway *gateway;                /* borrowed */
    uint32_t index;                         /* its place: how actions and answers name it */
    const struct device_settings *settings; /* borrowed */
    struct id_key *id_key;                  /* owned */
    struct address_key *address_key;        /* owned */
    bool leaving;                           /* see reload.c */
    struct device_settings *own_settings;   /* owned; then `settings` are these */
    struct peer *next_leaving;
    char *topic_availability, *topic_link; /* owned */
    char *log_area;                        /* owned: "peer kitchen" */

    /* Whose it is; see claim.c. Of a peer that is not ours nothing is done and nothing said. */
    bool ours;   /* may be connected */
    bool speaks; /* its topics may be published, its commands are carried out */
    struct claim claim;

    enum peer_state state;
    enum peer_state shown; /* to the outside */
    enum reason reason;
    char why[192];
    uint64_t since_us;
    int64_t since_real_us;
    uint32_t generation;
    uint64_t deadline_us;     /* of the state */
    uint64_t attempt_us;      /* of the whole bring-up */
    uint64_t began_us;        /* the bring-up */
    uint64_t online_us;       /* since when this link is good; 0: not yet */
    uint64_t resubscribed_us; /* when a subscription ended by itself last; 0: never on this link */

    /* who it is */
    bool bound; /* `address` is known */
    struct bt_address address;
    enum bt_address_type address_type;
    struct {
        uint32_t device, adapter; /* device 0: none yet */
        struct bt_address address;
        enum bt_address_type address_type;
        int16_t rssi;
        bool heard, connected, bonded;
        uint64_t until_us;
    } candidate;
    struct sighting sightings[MAX_ADAPTERS];
    int16_t rssi;
    uint64_t heard_us;
    int64_t heard_real_us;

    /* the link */
    uint32_t adapter, device; /* of the attempt or link; 0: none */
    uint32_t last_adapter;    /* by which it was online last; 0: never */
    bool blind;               /* connecting without having heard it */
    bool link_up;
    uint32_t wait_op; /* the operation whose answer the state waits for */
    uint16_t mtu;
    uint32_t configuring; /* the source being subscribed */
    struct {
        enum reason reason;
        bool failure, slow;
    } after; /* what follows DISCONNECTING; the words stand in `why` already */

    /* failures */
    unsigned failures; /* in a row */
    uint64_t attempts; /* connects since the last success */
    uint64_t retry_us;
    bool retry_slow; /* an advertisement does not shorten it */
    enum reason failed_reason;
    char failed_why[192]; /* of the last failure */
    uint64_t failed_us;   /* when that was; 0: excused */
    uint64_t shortcut_us;
    uint64_t blind_us;         /* no blind attempt before */
    uint64_t cache_cleared_us; /* 0: never */
    bool clear_cache;          /* once disconnected */
    uint64_t reconnects;
    bool was_good;        /* the link, and nothing has ended it */
    enum reason ended_by; /* what ended the last one that was good; OK: there was none */
    bool misfit;          /* it is not what the file says, and is looked at all the same */
    size_t missing_said;  /* characteristics that this peer lacks, as logged last */

    struct entry *entries; /* owned */
    size_t n_entries;
    struct gatt_characteristic *tree; /* owned; all of the link, if requests may name them */
    size_t n_tree;
    struct source *sources; /* owned */
    size_t n_sources;       /* at least as many as entries */
    struct gatt_op *ops;    /* owned; waiting, first in first out */
    size_t n_ops;
    struct gatt_op *op; /* owned; running */

    /* peers that are not held all the time */
    bool contact;              /* one is going on */
    uint64_t contact_due_us;   /* `every`: the next one */
    uint64_t contact_limit_us; /* the present one ends by then */
    uint64_t linger_us;        /* ... or then, when nothing happens */
    uint64_t cooldown_us;      /* when_seen: not before */
    uint64_t contact_us;       /* when the link was good last; 0: never */
    uint64_t value_us;         /* the last notification on this link */
    uint64_t until;            /* entries whose value is awaited, a bit each */

    /* what people asked of its link; see hold.c */
    uint64_t hold_us;        /* held until then; 0: not; TIME_NEVER: until `disconnect` */
    uint64_t away_us;        /* let go until then; 0: not */
    uint64_t pause_us;       /* paused until then; 0: not; TIME_NEVER: until `resume` */
    struct link_wait *waits; /* owned: requests that wait for the link to be up or down */
    struct errand *errand;   /* owned; NULL: none; see errand.h */

    /* steps */
    struct sequence *sequence;  /* owned; running */
    struct sequence *sequences; /* owned; commands that wait, first in first out */
    size_t n_sequences;
    bool configured; /* on_connect, if any, is done on this link */
    bool driving;    /* in sequence.c: what happens meanwhile is seen by its loop */
    uint64_t poll_due_us, keep_alive_due_us;     /* TIME_NEVER: not */
    unsigned poll_failures, keep_alive_failures; /* in a row */

    bool link_dirty;
    bool availability_known, available; /* as published last */
    struct announced announced;         /* what Home Assistant was told of it */
    uint64_t link_published_us;
    int16_t rssi_published;
    uint64_t malformed_logged_us;
};

enum command_kind {
    COMMAND_KIND_SET,
    COMMAND_KIND_GET,
    COMMAND_KIND_COMMAND,
    COMMAND_KIND_REQUEST, /* under bridge/<gateway>/request/ */
};

#define COMMAND_DEFAULT     UINT64_MAX /* as queue_ms: as the device's settings say */
#define COMMAND_REPLIES_MAX 8          /* of one request that came again while it was running */

/* Where an answer goes; several when the same request came again. */
struct reply {
    struct reply *next; /* owned */
    char *topic;        /* owned */
    void *correlation;  /* owned; MQTT 5 */
    size_t correlation_length;
};

/* What somebody asked for over MQTT. Exactly one answer: command_answer_...() frees it. */
struct command {
    struct gateway *gateway; /* borrowed */
    enum command_kind kind;
    struct reply *reply; /* owned */
    const char *refusal; /* static: why it must not be carried out, or NULL */
    char *id;            /* owned: the id that came in, as JSON text; NULL: none */
    uint32_t dedup;      /* its number there, or 0 */
    uint64_t queue_ms;   /* so long it may wait for the link, or COMMAND_DEFAULT */
    uint64_t timeout_ms; /* so long it may take once it runs; 0: as the operation has it */
    uint64_t expires_us; /* MQTT 5 message expiry: it must run by then; TIME_NEVER */
    uint64_t started_us;
};

struct json_writer;
struct device_key;  /* device number -> peer */
struct address_key; /* address -> peer */
struct id_key;      /* id -> peer */

struct gateway {
    struct settings *settings; /* borrowed; constant but for a reload */
    const char *version;       /* borrowed */
    uint64_t random;
    struct now now;          /* of the current call */
    struct actions *actions; /* of the current call */
    uint64_t next_us;        /* no deadline is earlier */
    struct now started;
    uint32_t op_ids, subscription_ids, sequence_ids;

    bool bluez_up;
    enum reason bluez_reason; /* while it is not */
    char bluez_text[128];
    char bluez_version[32];
    struct adapter adapters[MAX_ADAPTERS];
    struct {
        struct bt_address address;
        uint64_t next_us;
        unsigned recoveries;
    } recovered[MAX_ADAPTERS]; /* of adapters that are gone: they may be back */
    bool links_stand;          /* links change only with the state of a peer */
    bool links_dirty;          /* some peer has link_dirty */
    bool sentence_dirty;       /* what the service manager is told changed */
    char sentence[400];
    bool bridge_dirty;          /* info or devices changed */
    bool claims_due;            /* some claim is to be published */
    bool announce_due;          /* some document for Home Assistant may have changed */
    bool announce_waits;        /* ... when what is on its way has come */
    bool announced_stale;       /* what is to be announced has changed */
    struct announced announced; /* of the gateway itself */
    enum migration migration;
    uint64_t migration_us; /* the end of its pause */
    uint64_t birth_us;     /* Home Assistant has come: it is told again then; TIME_NEVER */
    bool schedule;         /* somebody's chance to connect changed */

    struct peer **peers; /* owned, and each of them; in the file's order */
    size_t n_peers;
    struct peer **places; /* owned; the same by their `index`, which they keep; NULL: free */
    size_t n_places;
    struct peer *leaving;      /* owned: not in `peers` any more, but still at BlueZ */
    struct peer *gone;         /* owned: freed with the next call */
    uint32_t first_generation; /* of new peers: higher than any that had the place before */
    uint64_t
        reconnect_us; /* the broker is left by then, or when it has all; TIME_NEVER: it stays */
    struct command *reloads[RELOADS_MAX]; /* owned: who waits for the answer to a reload */
    size_t n_reloads;
    struct survey *survey;         /* owned; NULL: nobody asks who is heard */
    size_t n_unbound;              /* enabled ones that have no address yet */
    struct device_key *devices;    /* owned: objects of our peers by number */
    struct address_key *addresses; /* owned: bound peers by address */
    struct id_key *ids;            /* owned: peers by the file's id */

    struct greeting greeting;
    struct memory memory;
    struct bridge bridges[BRIDGES_MAX];
    size_t n_bridges;

    struct outbox *outbox; /* owned */
    struct dedup *dedup;   /* owned */
    bool broker_up, broker_v5;
    char broker_text[256]; /* why it is not up */
    uint32_t max_packet;
    bool memory_asked;                       /* whether it has what we retained there */
    bool info_comes;                         /* it lets us read our `info` */
    unsigned refusals_told, refusals_untold; /* in the log, since the last health message */
    struct strbuf payload;                   /* scratch */
    bool stopping;
    uint64_t memory_bytes; /* of the process, as it was told last; 0: unknown */
    uint64_t stop_us;
    uint64_t health_us;
    char *topic_status, *topic_info, *topic_devices, *topic_health, *topic_event; /* owned */
    char *topic_request, *topic_response;                                         /* owned */
    struct {
        uint64_t notifications, reads, writes, malformed, commands, retained_commands,
            stale_answers, rejected, messages;
        uint64_t frames_dropped, frame_bytes_skipped, unknown_messages;
        uint64_t let_go; /* values dropped because another gateway has the device */
        uint64_t scan_restarts, adapter_resets, adapter_resets_refused;
        uint64_t values_thinned;        /* by publish rules */
        uint64_t reconnects[N_REASONS]; /* by what had ended the link before */
    } counts;
};

/* gateway.c */
void gateway_arm(struct gateway *gateway, uint64_t at_us);
uint64_t gateway_in(const struct gateway *gateway, uint64_t ms); /* now + ms, armed by the caller */
uint32_t gateway_random(struct gateway *gateway, uint32_t below);
uint32_t gateway_next_op(struct gateway *gateway);
/* queues a message and sends what may go; a failure is counted */
void gateway_put(struct gateway *gateway, const struct outbox_put *put);
/* ACTION_TOPIC_SUBSCRIBE or UNSUBSCRIBE; -ENOMEM where `filter`, of actions_printf(), is NULL */
MUST_CHECK
int gateway_ask_topic(struct gateway *gateway, enum action_type type, const char *filter);
void gateway_pump(struct gateway *gateway);

/* reload.c */
struct reload_counts {
    size_t added, removed, changed, unchanged; /* devices */
};
MUST_CHECK
int reload_settings(struct gateway *gateway, struct settings *next);
void reload_failed(struct gateway *gateway, const char *text);
void reload_request(struct gateway *gateway, struct command *command_take);
void reload_cancel(struct gateway *gateway); /* nobody will reload any more */
/* leaves the broker once it has what was for it, to come back with the new settings */
void reload_reconnect(struct gateway *gateway);
void reload_retire(struct gateway *gateway); /* leaving peers that have left */
void reload_bury(struct gateway *gateway);   /* frees them, one call later */

/* renew.c: a peer's settings change without its link. First what can fail, then the change. */
struct renewal;
MUST_CHECK
int renewal_new(struct peer *peer, const struct device_settings *settings,
                struct renewal **ret_renewal);
struct renewal *renewal_free(struct renewal *renewal);
void renewal_commit(struct renewal *renewal, struct peer *peer,
                    const struct device_settings *settings);

/* peers.c */
MUST_CHECK
int peers_init(struct gateway *gateway);
void peers_done(struct gateway *gateway);
MUST_CHECK
int peer_new(struct gateway *gateway, const struct device_settings *settings,
             struct peer **ret_peer); /* in no place yet */
struct peer *peer_free(struct peer *peer);
/* into the lists of ids and addresses, too */
void gateway_place_peer(struct gateway *gateway, struct peer *peer, uint32_t index);
void gateway_count_unbound(struct gateway *gateway);
struct peer *gateway_find_peer(struct gateway *gateway, const char *id, size_t length);
struct peer *gateway_peer_at(const struct gateway *gateway, uint32_t index); /* or NULL */
struct peer *gateway_peer_of_device(struct gateway *gateway, uint32_t device);
MUST_CHECK
int gateway_add_device(struct gateway *gateway, uint32_t device, struct peer *peer);
void gateway_remove_device(struct gateway *gateway, uint32_t device);
struct peer *gateway_peer_of_address(struct gateway *gateway, const struct bt_address *address);
void gateway_add_address(struct gateway *gateway, struct peer *peer);
void gateway_remove_address(struct gateway *gateway, struct peer *peer);
void gateway_add_id(struct gateway *gateway, struct peer *peer);
void gateway_remove_id(struct gateway *gateway, struct peer *peer);

/* adapter.c */
struct adapter *adapter_find(struct gateway *gateway, uint32_t id);
void adapter_changed(struct gateway *gateway, const struct adapter_info *info);
void adapter_gone(struct gateway *gateway, uint32_t id);
void adapter_all_gone(struct gateway *gateway);
void adapter_stop(struct gateway *gateway); /* leaves no scan, and none off that we switched off */
void adapter_power(struct gateway *gateway, struct adapter *adapter, bool on); /* asks */
void adapter_reconsider(struct gateway *gateway); /* all peers: an adapter changed */
void adapter_choose(struct gateway *gateway);     /* adapters or settings changed: which are used */
void adapter_choose_again(struct gateway *gateway); /* and nobody is connected by another */
void adapter_power_result(struct gateway *gateway, const struct event *event);
/* what is due now; re-arms the rest */
void adapter_timer(struct gateway *gateway);
/* power, scanning and the connector after anything changed */
void adapter_schedule(struct gateway *gateway);
/* whether the peer may be connected by that adapter; NULL may not */
bool adapter_serves(const struct peer *peer, const struct adapter *adapter);
bool adapter_works(const struct adapter *adapter); /* can be asked to scan and to connect */
/* why none of the adapters that the peer may use works, or REASON_OK; for people in *ret_why */
enum reason adapter_trouble(const struct peer *peer, char *ret_why, size_t size);
/* that there is none, or none that is on; else *ret_why means nothing */
bool adapter_is_off(const struct peer *peer, char *ret_why, size_t size);
/* the same of all that are used, whoever may use them */
enum reason adapter_trouble_of_all(const struct gateway *gateway, char *ret_why, size_t size);
/* the same where BlueZ itself is not there */
enum reason adapter_bluez_trouble(const struct gateway *gateway, char *ret_why, size_t size);

/* scan.c; the first two only for adapter.c */
void scan_forget(struct adapter *adapter); /* there is none any more */
void scan_discovering(struct gateway *gateway, struct adapter *adapter, bool discovering);
void scan_result(struct gateway *gateway, const struct event *event);
void scan_schedule(struct gateway *gateway, struct adapter *adapter);
void scan_timer(struct gateway *gateway, struct adapter *adapter);
/* A start that is not yet answered cannot be stopped: the stop would overtake it. */
void scan_pause(struct gateway *gateway, struct adapter *adapter);

/* survey.c: the request `scan` */
#define SURVEY_ADVERTISERS_MAX 200
#define SURVEY_MAX_MS          60000
bool survey_listens(const struct gateway *gateway); /* it needs the adapters' scans */
void survey_heard(struct gateway *gateway, const struct adapter *adapter,
                  const struct device_info *info);
/* a duration of 0: the usual one */
void survey_request(struct gateway *gateway, uint64_t duration_ms, struct command *command_take);
void survey_timer(struct gateway *gateway);
void survey_stop(struct gateway *gateway);
void survey_done(struct gateway *gateway); /* frees, answers nobody */

/* recover.c: adapters that hang */
/* somebody's advertisement arrived: a peer's or any other's */
void recover_heard(struct gateway *gateway, struct adapter *adapter);
void recover_watch(struct gateway *gateway, struct adapter *adapter); /* does it listen now? */
void recover_timed_out(struct peer *peer); /* a Connect to one that was heard */
void recover_linked(struct adapter *adapter);
/* Switches it off and on, where that is allowed and not too soon after the last time. `weak`: only
 * while no link of ours works. False: not. */
bool recover_begin(struct gateway *gateway, struct adapter *adapter, bool weak, const char *cause);
void recover_powered(struct gateway *gateway, struct adapter *adapter);
void recover_power_failed(struct gateway *gateway, struct adapter *adapter, const char *text);
void recover_timer(struct gateway *gateway, struct adapter *adapter);
/* how often it may be switched off and on outlives its object */
void recover_gone(struct gateway *gateway, const struct adapter *adapter);
void recover_back(struct gateway *gateway, struct adapter *adapter);
/* none of the adapters that the peer may use hears anybody */
bool recover_is_deaf(const struct peer *peer);

/* connector.c */
void connector_next(struct gateway *gateway, struct adapter *adapter);
void connector_release(struct gateway *gateway, struct peer *peer); /* the connect token */
/* Counts all peers, but while `links_stand` only once, until the links change. */
size_t adapter_count_links(struct gateway *gateway, uint32_t id);
void connector_links_changed(struct gateway *gateway);
/* the best way to the peer: of the adapters that heard it lately, or of all that know it */
const struct sighting *connector_way(const struct peer *peer, bool heard);
bool connector_hears(const struct peer *peer, const struct sighting *sighting); /* lately */
bool connector_has_room(const struct peer *peer, const struct sighting *sighting);
/* the links of all adapters that hear the peer, and how many they may have */
void connector_count(const struct peer *peer, size_t *ret_links, uint64_t *ret_allowed);
/* an attempt by the peer's present adapter ended so */
void connector_failed(struct peer *peer);
void connector_succeeded(struct peer *peer);

/* peer.c */
MUST_CHECK
int peer_init(struct peer *peer, struct gateway *gateway, uint32_t index,
              const struct device_settings *settings);
void peer_done(struct peer *peer);
MUST_CHECK
int peer_entry_init(struct entry *entry, struct peer *peer,
                    const struct characteristic_settings *settings);
void peer_entry_done(struct entry *entry);
const char *peer_state_name(enum peer_state state);
const char *reason_name(enum reason reason);
void peer_start(struct peer *peer);
void peer_device(struct peer *peer,
                 const struct device_info *info);                   /* about an object of its own */
void peer_offer(struct peer *peer, const struct device_info *info); /* an object that may be it */
void peer_device_gone(struct peer *peer, uint32_t device);
void peer_link(struct peer *peer, uint32_t adapter, uint32_t device, bool connected);
void peer_connect_result(struct peer *peer, const struct event *event);
void peer_disconnect_result(struct peer *peer, const struct event *event);
void peer_resolve_result(struct peer *peer, const struct event *event);
void peer_subscribe_result(struct peer *peer, const struct event *event);
void peer_subscription_lost(struct peer *peer, const struct event *event);
void peer_subscribe_new(struct peer *peer); /* online: what is wanted and not subscribed */
void peer_services_changed(struct peer *peer);
void peer_resolve_again(struct peer *peer); /* on the same link */
void peer_bluez_down(struct peer *peer);
void peer_timer(struct peer *peer);
void peer_reconsider(struct peer *peer); /* the world changed around a peer that has no link */
void peer_connect(struct peer *peer, const struct sighting *sighting, bool blind);
void peer_give_way(struct peer *peer); /* cancels a blind attempt */
void peer_found(struct peer *peer);    /* heard while it is connected blindly */
void peer_stop(struct peer *peer);
void peer_let_go(struct peer *peer); /* another gateway has it */
/* an entry without an address is this peer, whether it is heard or not */
void peer_remember(struct peer *peer, const struct bt_address *address);
/* Subscribes to what the entry names, while configuring; step_subscribed() is told. False: there is
 * nothing to do. */
bool peer_subscribe(struct peer *peer, uint32_t entry);
/* what the source's subscription is asked for with; the operation is the caller's */
void peer_ask_subscription(struct peer *peer, uint32_t source, struct action *action);
void peer_configured(struct peer *peer); /* on_connect has been done */
bool peer_wants_link(const struct peer *peer);
/* only for peer.c, session.c and sighting.c */
void peer_enter_state(struct peer *peer, enum peer_state state, enum reason reason,
                      const char *format, ...) PRINTF_LIKE(4, 5);
void peer_consider(struct peer *peer); /* absent, ready or still in backoff? */
void peer_forget_link(struct peer *peer);
/* an attempt or link came to a bad end: backoff; `slow` ones are not shortened by advertisements */
void peer_fail(struct peer *peer, enum reason reason, bool slow, const char *why);
/* what failed before says nothing about the next attempt */
void peer_end_backoff(struct peer *peer);
/* a blind attempt that came to nothing is no failure */
void peer_blind_ended(struct peer *peer, uint64_t again_ms);
/* ends a link, or cancels a Connect (BlueZ would go on with it otherwise and succeed later) */
void peer_disconnect(struct peer *peer, enum reason reason, bool failure, bool slow,
                     const char *why);
/* takes a link that exists already: made by somebody else, or before our start */
void peer_adopt(struct peer *peer, const struct sighting *sighting);
void peer_disconnected(struct peer *peer); /* the link is down, as was asked */
struct sighting *peer_find_sighting(struct peer *peer, uint32_t device);
void peer_forget_sighting(struct peer *peer, struct sighting *sighting);
void peer_bind(struct peer *peer); /* the best candidate it is */

/* greet.c */
void greet_begin(struct gateway *gateway); /* the broker is there */
void greet_end(struct gateway *gateway);   /* ... and gone */
/* what the broker keeps is known, so something can be said */
bool greet_is_settled(const struct gateway *gateway);
void greet_own_status(struct gateway *gateway, bool online); /* it came back */
void greet_prove(struct gateway *gateway);     /* `online` once more, for who only found it kept */
void greet_ask_links(struct gateway *gateway); /* all of them once more */
bool greet_needs(const struct gateway *gateway, const char *filter); /* the subscription */
void greet_subscribed(struct gateway *gateway, const struct event *event);
void greet_timer(struct gateway *gateway);
void greet_finish(struct gateway *gateway); /* `online`, once every claim is decided */

/* claim.c */
void claim_init(struct peer *peer);
void claim_start(struct peer *peer);
void claim_inherit(struct peer *peer, struct peer *old); /* whose place it takes */
void claim_say(struct peer *peer); /* the state and the words of a peer that is not ours */
bool claim_is_others(const struct peer *peer); /* the latest claim, whether it stands or not */
struct bridge *claim_find_bridge(struct gateway *gateway, const char *id); /* or NULL */
/* the gateway that has it, or NULL: we, or nobody */
const char *claim_held_by(const struct peer *peer);
bool claim_may_become_ours(const struct peer *peer); /* or is it already */
bool claim_lists_topics(const struct peer *peer);    /* `devices` has to name them */
bool claim_is_pending(const struct peer *peer);      /* ours, not yet decided */
void claim_forget_all(struct gateway *gateway);      /* the broker will say them again */
void claim_settled(struct peer *peer);               /* it has */
void claim_broker_lost(struct peer *peer);
void claim_stop(struct peer *peer);
void claim_publish(struct gateway *gateway); /* those that are new; `devices` is out */
/* false: it is no claim and no gateway's status */
bool claim_message(struct gateway *gateway, const struct event *event);
void claim_timer(struct peer *peer);
void claim_bridges_timer(struct gateway *gateway);

/* predecessor.c */
void predecessor_note(struct peer *peer); /* who has it now, if it is another gateway */
void predecessor_ask(struct peer *peer);  /* when it is claimed */
/* bridge/<id>/devices; false: it is not another gateway's */
bool predecessor_message(struct gateway *gateway, const char *id, size_t length,
                         const struct event *event);
bool predecessor_is_filter(const struct gateway *gateway, const char *filter);

/* memory.c */
#define MEMORY_HASH_SIZE 17
#define MEMORY_GATEWAY   "bridge" /* as device: what the gateway said of itself */
bool memory_message(struct gateway *gateway, const struct event *event); /* false: not ours */
/* of what an entry without an address looks for */
void memory_match_hash(const struct match_settings *match, char *buf, size_t size);
/* a device's leftovers, into the array that is open */
void memory_list_topics(struct gateway *gateway, struct json_writer *w, const char *device);
bool memory_holds(const struct gateway *gateway, const char *topic); /* it is still to be cleared */
/* the next device that is not in the file and has leftovers, or NULL; *index starts at 0 */
const char *memory_next_removed(const struct gateway *gateway, size_t *index);
/* a topic that nothing is published to any more, or nothing retained: it is to be cleared */
void memory_leave(struct gateway *gateway, const char *device, const char *topic);
/* Documents for Home Assistant are held before they are cleared: each by its place below
 * memory_count(), which stays until memory_run(). */
struct held_topic {
    struct peer *peer; /* whose it is; NULL: the gateway's own, or of a device that is no more */
    bool own;
    const char *topic;
};
bool memory_holds_any(const struct gateway *gateway);
size_t memory_count(const struct gateway *gateway);
/* false: it is not held, or of a device that is no more */
bool memory_held(struct gateway *gateway, size_t index, struct held_topic *ret_held);
bool memory_migrating(struct gateway *gateway, size_t index, struct held_topic *ret_held);
void memory_migrate(struct gateway *gateway, size_t index);
void memory_release(struct gateway *gateway, size_t index); /* to be cleared */
void memory_hold(struct gateway *gateway);                  /* all of them, as in the beginning */
void memory_forget_queued(struct gateway *gateway, const char *device);
void memory_device_is_others(struct gateway *gateway, const char *device, size_t length);
void memory_broker_lost(struct gateway *gateway);
void memory_run(struct gateway *gateway); /* clears what may be cleared now */
void memory_done(struct gateway *gateway);

/* contact.c */
void contact_start(struct peer *peer);
bool contact_holds_link(const struct peer *peer); /* a link is wanted now */
bool contact_listens(const struct peer *peer);    /* no link, but wants to be heard */
void contact_say_idle(struct peer *peer);
void contact_begin(struct peer *peer);
void contact_heard(struct peer *peer);
void contact_seen(struct peer *peer);   /* an advertisement arrived, whatever the state */
void contact_forget(struct peer *peer); /* whoever ends it sees to the link */
void contact_online(struct peer *peer);
void contact_subscribed(struct peer *peer); /* a source is now; before it says so */
void contact_activity(struct peer *peer);   /* an operation ended: is anything left to do? */
void contact_value(struct peer *peer, uint32_t entry);
void contact_link_ended(struct peer *peer);
bool contact_available(const struct peer *peer);
void contact_timer(struct peer *peer);

/* hold.c */
bool hold_is_asked(const struct peer *peer); /* a link, by a request */
bool hold_is_paused(const struct peer *peer);
bool hold_is_disabled(const struct peer *peer); /* runs no commands: also paused */
/* the words of a peer without a link, if a request is why; else false */
bool hold_say_idle(struct peer *peer);
void hold_state_entered(struct peer *peer); /* any state */
/* what was let go by a request is needed again */
void hold_is_wanted(struct peer *peer);
void hold_timer(struct peer *peer);
void hold_cancel_all(struct peer *peer, const char *code, const char *message);
void hold_inherit(struct peer *peer, const struct peer *old); /* takes its place at a reload */
void hold_done(struct peer *peer);                            /* frees, answers nobody */
/* the requests; a duration of 0: until it is taken back */
void hold_connect(struct peer *peer, uint64_t hold_ms, struct command *command_take);
void hold_disconnect(struct peer *peer, struct command *command_take);
void hold_pause(struct peer *peer, uint64_t pause_ms, struct command *command_take);
void hold_resume(struct peer *peer, struct command *command_take);
/* a link, or what is to become one, ends; what follows is as always */
void hold_break_link(struct peer *peer, const char *why);
/* what an errand that wants a link has in common with `connect` */
bool hold_is_connecting(const struct peer *peer);
void hold_now(struct peer *peer);     /* whatever it waits for */
void hold_give_up(struct peer *peer); /* one who waited does not any more */
void hold_answer_no_link(struct peer *peer, struct command *command_take, bool began,
                         bool has_failed);

/* errand.c */
void errand_state_entered(struct peer *peer); /* any state; there is one */
bool errand_wants_link(const struct peer *peer);
bool errand_pairs(const struct peer *peer);
bool errand_link_came(struct peer *peer); /* true: it has something to do before anybody else */
void errand_paired(struct gateway *gateway, const struct event *event);
void errand_resolved(struct peer *peer);   /* its services are known */
void errand_link_ended(struct peer *peer); /* or an attempt */
void errand_removed(struct gateway *gateway, const struct event *event);
/* of an INSPECT, or of a READ; false: not for it */
bool errand_result(struct peer *peer, const struct event *event);
void errand_timer(struct peer *peer);
void errand_cancel(struct peer *peer, const char *code, const char *message); /* if there is one */
void errand_cancel_linked(struct peer *peer, const char *code,
                          const char *message); /* with a link */
void errand_done(struct peer *peer);            /* frees, answers nobody */

/* forget.c: the requests `clear_cache` and `unpair` */
void forget_request(struct peer *peer, bool unpair, struct command *command_take);

/* inspect.c: the request `inspect` */
void inspect_request(struct peer *peer, bool values, struct command *command_take);

/* pair.c: the request `pair`; `passkey` NULL: as the file says */
void pair_request(struct peer *peer, const uint32_t *passkey, struct command *command_take);
void peer_pair_result(struct peer *peer, const struct event *event);
/* the time is over of the pairing, or of who waits for it */
void peer_pair_late(struct peer *peer);

/* resolve.c: the peer's GATT tree against the entries */
struct resolve_outcome {
    size_t found, missing;
    char why[160];  /* about the first missing one */
    bool ambiguous; /* that is why: clearing the cache would not help */
};
void resolve_sources(struct peer *peer, const struct gatt_characteristic *characteristics, size_t n,
                     struct resolve_outcome *ret_outcome);
/* the entries are others, and know their sources: who shares which, and what is subscribed */
void resolve_want(struct peer *peer, uint32_t source); /* an entry's wish has changed */
void resolve_again(struct peer *peer);
void resolve_unsubscribe_all(struct peer *peer);

/* ops.c; what they cannot do is answered to the command */
void ops_read(struct peer *peer, uint32_t entry, struct command *command_take);
void ops_write(struct peer *peer, uint32_t entry, const uint8_t *data, size_t length,
               enum tri response, struct command *command_take);
/* any operation; NULL when out of memory, which ops_enqueue() then answers */
struct gatt_op *ops_new(enum op_kind kind, uint32_t entry, const uint8_t *data, size_t length);
struct gatt_op *ops_free(struct gatt_op *op); /* answers nobody */
void ops_enqueue(struct peer *peer, struct gatt_op *op_take, struct command *command_take);
/* tells who waits for it that it came to nothing; it is in no list */
void ops_fail(struct peer *peer, struct gatt_op *op, const char *code, uint8_t att,
              const char *format, ...) PRINTF_LIKE(5, 6);
void ops_cancel_subscribing(struct peer *peer, uint32_t entry, const char *message);
/* for a step of sequence `number`; step_operation() is told, also at once */
void ops_step(struct peer *peer, enum op_kind kind, uint32_t entry, const uint8_t *data,
              size_t length, uint32_t number);
/* What was written is published: as the peer has it, once it was read, or as it was assumed. */
bool ops_can_read_back(const struct peer *peer, const struct gatt_op *op);
void ops_read_back(struct peer *peer, uint32_t entry); /* when nobody waits for anything else */
void ops_publish_assumed(struct peer *peer, const struct gatt_op *op, size_t length);
void ops_drop_step(struct peer *peer, uint32_t number); /* the sequence waits no more */
void ops_run(struct peer *peer);       /* starts the next one if the link is ready */
void ops_link_lost(struct peer *peer); /* the running one fails, the others wait on */
void ops_cancel_all(struct peer *peer, const char *code, const char *message);
void ops_result(struct peer *peer, const struct event *event);
/* the peer's entries change: entries[i] is the new one of entry i, or NO_ENTRY */
void ops_renew(struct peer *peer, const uint32_t *entries);
void ops_timer(struct peer *peer);

/* target.c */
void target_keep_tree(struct peer *peer, const struct gatt_characteristic *list, size_t n);
void target_forget_tree(struct peer *peer);
const char *target_name(const struct peer *peer, const struct gatt_op *op);
/* where it goes, and whether it can; false: it ends here, and who asked was told */
bool target_check(struct peer *peer, struct gatt_op *op);

/* subscribe.c */
bool subscribe_is_wanted(const struct entry *entry); /* by the file, or by who asked since */
void subscribe_ask(struct peer *peer, uint32_t entry, struct command *command_take);
void subscribe_end(struct peer *peer, uint32_t entry, struct command *command_take);
bool subscribe_check(struct peer *peer, struct gatt_op *op);     /* as target_check() */
void subscribe_confirmed(struct peer *peer, struct gatt_op *op); /* BlueZ has confirmed it */

/* sequence.c: the steps engine; its inside is in core/step.h */
void step_configure(struct peer *peer);     /* begins on_connect */
void step_configure_end(struct peer *peer); /* it must be done anew, or is not wanted any more */
void step_online(struct peer *peer);        /* a new link is good */
void step_resume(struct peer *peer);        /* operations can be made again */
/* an operation of a step ended: well (code NULL), or as `code`, `att` and `text` say */
void step_operation(struct peer *peer, uint32_t number, const char *code, uint8_t att,
                    const char *text);
/* before that: it was a write, and is to be published; `length` without its frame */
void step_wrote(struct peer *peer, const struct gatt_op *op, size_t length);
bool step_subscribed(struct peer *peer); /* false: no step waited for it */
/* A value of a characteristic or message, as it came from the peer. */
struct step_news {
    uint32_t entry;
    const struct value *values;      /* borrowed: its fields; NULL without a schema */
    const struct rules_value *value; /* borrowed */
};
void step_value(struct peer *peer, const struct step_news *news);
/* a `subscribe` step of on_connect that is yet to come will do it */
bool step_subscribes_later(const struct peer *peer, uint32_t source);
/* runs a named command; takes `command_take`, which is answered once */
void step_command(struct peer *peer, size_t index, const void *payload, size_t length,
                  struct command *command_take);
bool step_is_busy(const struct peer *peer);
bool step_keeps_alive(const struct peer *peer); /* that is all that its steps do now */
void step_link_lost(struct peer *peer);
void step_cancel_all(struct peer *peer, const char *code, const char *message);
void step_timer(struct peer *peer);
void step_settings_moved(struct peer *peer); /* peer->settings, with all they are made of */
void step_renew(struct peer *peer, const struct device_settings *old); /* what is due now */
void step_done(struct peer *peer);                                     /* frees, answers nobody */

/* command.c */
struct command *command_new(struct gateway *gateway, enum command_kind kind,
                            const char *reply_topic, const struct event *event);
struct command *command_free(struct command *command);
/* True: it must not be carried out, and was answered. */
bool command_refused(struct gateway *gateway, struct command *command);
/* how long it may wait for the link, and until when it may wait now */
uint64_t command_queue_ms(const struct peer *peer, const struct command *command);
uint64_t command_queue_until(const struct peer *peer, const struct command *command, bool linked);
/* it waited too long */
void command_answer_late(struct peer *peer, struct command *command_take);
/* both answer and free; NULL is nobody */
void command_answer_ok(struct gateway *gateway, struct command *command, struct strbuf *data_json);
void command_answer_error(struct gateway *gateway, struct command *command, const char *code,
                          int att, const char *format, ...) PRINTF_LIKE(5, 6);
/* how many bytes the data of a long answer may have */
size_t command_answer_limit(const struct gateway *gateway);
/* BlueZ's outcome in the codes of the documentation, and in words */
const char *command_explain_status(enum command_kind kind, const struct bt_result *result,
                                   const char **ret_text);

bool command_wants_bond(const struct bt_result *result); /* that is why */

/* reply.c */
/* *ret_refusal: why the message must not act (then `topic` it is), or NULL. NULL: out of memory. */
struct reply *reply_new(const struct gateway *gateway, const char *topic, const struct event *event,
                        const char **ret_refusal);
struct reply *reply_free(struct reply *reply); /* and those behind it */
bool reply_equal(const struct reply *a, const struct reply *b);
void reply_send(struct gateway *gateway, const struct reply *reply, const char *answer,
                size_t length);

/* access.c */
/* the entry of that id, or NO_ENTRY; a message of another characteristic is none */
uint32_t access_find(const struct peer *peer, const char *id);
/* as payload_parse_set(); false: it cannot be, and who asked was told */
bool access_parse(struct peer *peer, const struct schema *schema, const char *field,
                  const void *payload, size_t length, struct payload_set *asked,
                  struct command *command_take);
/* a value in the payload's forms (see payload_parse_set()); `field` NULL: the whole */
void access_write(struct peer *peer, uint32_t entry, const char *field, const void *payload,
                  size_t length, enum tri response, struct command *command_take);
/* hex digits in a JSON string */
void access_write_raw(struct peer *peer, uint32_t entry, const void *payload, size_t length,
                      enum tri response, struct command *command_take);

/* merge.c */
MUST_CHECK
int merge_new(struct known **ret_known);
struct known *merge_free(struct known *known);
void merge_forget(struct known *known); /* may be NULL */
void merge_keep(struct known *known, const uint8_t *data, size_t length);
/* the value of the characteristic of that handle: read or written; or uncertain */
void merge_learn(struct peer *peer, uint16_t handle, const uint8_t *data, size_t length);
void merge_doubt(struct peer *peer, uint16_t handle);
/* what is wrong with what is given, whatever the rest will be: 0 or a codec_error */
MUST_CHECK
int merge_check(const struct schema *schema, const struct payload_set *asked, size_t *ret_field);
/* the rest is not known and can be read; the operation is ready for that */
bool merge_must_read(struct peer *peer, struct gatt_op *op);
bool merge_encode(struct peer *peer, struct gatt_op *op); /* false: who asked was told */

/* request.c */
void request_message(struct gateway *gateway, const char *operation, const struct event *event);

/* publish.c */
/* the entry that a whole value of this one is published as: itself, or one of its messages;
 * NO_ENTRY when it fits none */
uint32_t publish_entry(const struct peer *peer, uint32_t entry, const uint8_t *data, size_t length);
enum publish_how {
    PUBLISH_BY_RULES, /* a notification, a periodic read */
    PUBLISH_ANYWAY,   /* somebody asked */
    PUBLISH_ASSUMED,  /* written, and not read back */
};
/* a whole value: no frames are looked for */
void publish_value(struct peer *peer, uint32_t entry, const uint8_t *data, size_t length,
                   enum publish_how how);
/* what its publish rules hold back, now */
void publish_flush(struct peer *peer);
/* what is read back was notified, and so published, already */
bool publish_is_echo(const struct peer *peer, uint32_t entry, const uint8_t *data, size_t length);
/* all entries of a source */
void publish_source(struct peer *peer, uint32_t source, const uint8_t *data, size_t length);
/* a source's notifications have ended or have a hole: what there is of a frame is dropped */
void publish_reset(struct peer *peer, uint32_t source);
void publish_drop_frame(struct peer *peer, struct entry *entry);
void publish_timer(struct peer *peer);

/* router.c */
MUST_CHECK
int router_subscribe(struct gateway *gateway, struct peer *peer);
MUST_CHECK
int router_unsubscribe(struct gateway *gateway, struct peer *peer);
MUST_CHECK
int router_subscribe_requests(struct gateway *gateway);
void router_message(struct gateway *gateway, const struct event *event);

/* broker.c */
void broker_published(struct gateway *gateway, const struct event *event);
void broker_subscribed(struct gateway *gateway, const struct event *event);
void broker_tell_more(struct gateway *gateway);
/* the connection ended: takes back what was on its way; `why` may get more words */
void broker_lost(struct gateway *gateway, const char *reason, char *why, size_t size);
void broker_ask_memory(struct gateway *gateway); /* before anything is published */
/* true: it was about that, and for nobody else */
bool broker_memory(struct gateway *gateway, const struct event *event);
void broker_told_all(struct gateway *gateway); /* what it retains for our subscriptions has come */

/* status.c */
char *status_topic(const struct settings *settings, const char *last); /* owned: bridge topics */
void status_claim(struct peer *peer);        /* link, also of a peer that does not speak yet */
void status_link(struct peer *peer);         /* availability and link, if they changed */
void status_link_again(struct peer *peer);   /* both, as soon as `devices` is out */
void status_bridge(struct gateway *gateway); /* info and devices */
void status_online(struct gateway *gateway, bool online);
void status_health(struct gateway *gateway);
/* nothing retained stays: of the topics that are not those of `kept`, of all of a device that is no
 * longer in the file */
void status_clear_entries(struct peer *peer, const struct entry *kept, size_t n_kept);
void status_clear_device(struct peer *peer);
void status_gone(const struct peer *peer); /* available no more, as far as we are asked */
/* the members that say what a reload did */
void status_write_reload(struct json_writer *w, const struct gateway *gateway,
                         const struct reload_counts *counts);
void status_reloaded(struct gateway *gateway, const struct reload_counts *counts);
void status_sentence(struct gateway *gateway); /* for the service manager, if it changed */
void status_event(struct gateway *gateway, const char *type, const struct peer *peer,
                  const char *reason, const char *text);
/* the same about an adapter, and to the log */
void status_adapter_event(struct gateway *gateway, const struct adapter *adapter,
                          enum log_level level, const char *type, const char *format, ...)
    PRINTF_LIKE(5, 6);

/* announce.c */
void announce_begin(struct gateway *gateway);     /* the broker is there */
void announce_subscribe(struct gateway *gateway); /* to Home Assistant's coming */
bool announce_message(struct gateway *gateway, const struct event *event); /* false: not that */
bool announce_is_birth(const struct gateway *gateway, const char *topic);
void announce_run(struct gateway *gateway); /* documents that are new; `devices` is out */
void announce_again(struct peer *peer);     /* whether it has changed or not */
void announce_forget(struct peer *peer);    /* nothing of it goes out any more */
void announce_timer(struct gateway *gateway);
/* the settings are about to change */
void announce_reload(struct gateway *gateway, const struct settings *next);

/* announced.c; `peer` NULL: the gateway itself */
void announced_done(struct announced *announced);
/* after the settings changed: what is announced now; what is not any more goes to memory */
void announced_refresh(struct gateway *gateway);
void announced_change(struct gateway *gateway, struct peer *peer); /* they have */
void announced_inherit(struct peer *peer, struct peer *old);       /* whose place it takes */
void announced_leave(struct gateway *gateway, struct peer *peer);  /* all topics, to memory */
/* another gateway has it now: memory knows what was told of it, for the day when it comes back */
void announced_keep(struct peer *peer);
void announced_forget_queued(struct gateway *gateway, struct peer *peer);
void announced_list_topics(struct gateway *gateway, struct peer *peer, struct json_writer *w);
/* a member `entities`, if there is need for it */
void announced_list_entities(struct gateway *gateway, const struct peer *peer,
                             struct json_writer *w);
/* what that said before; true: it is gone */
bool announced_remember(struct peer *peer, const char *path);
bool announced_is_topic(struct gateway *gateway, struct peer *peer, const char *topic);
bool announced_is_anyones(struct gateway *gateway, const char *topic);
/* NULL: it is not announced now; *index: where it is likely */
struct announced_entity *announced_find(const struct announced *announced, const char *path,
                                        size_t *index);
void announced_told(struct announced *announced); /* the document of the whole, as it is now */
/* what stood there and is gone, each name once; how many */
size_t announced_gone(const struct announced *announced, const char **paths, size_t size);
void announced_forget_gone(struct announced *announced); /* those: it was told that they are */
void announced_forget_told(struct announced *announced);

/* match.c */
bool match_device(const struct match_settings *match, const struct device_info *info);

/* backoff.c: the wait before attempt number `failures` + 1 */
uint64_t backoff_ms(unsigned failures, uint64_t min_ms, uint64_t max_ms, uint32_t random);
