/*
 * The core against a simulated world, in virtual time. One number, the seed, decides everything:
 * how many devices there are and what they can do, the configuration, what BlueZ and the broker
 * answer and when, and what goes wrong.
 *
 * The world keeps the contracts of core/event.h and bluez/bluez.h: numbers are never used again,
 * each answered action gets exactly one answer unless BlueZ goes down first, and nothing is
 * answered from inside an action. It decides by itself; the core only sees events. The checks look
 * at actions, and into the core where what it believes has to be compared with the truth.
 *
 *   sim_random.c    the seed's numbers
 *   sim_settings.c  a random configuration
 *   sim_reload.c    the next version of the configuration
 *   sim_world.c     virtual time, jobs, events and actions, one run
 *   sim_bluez.c     adapters, objects, scanning, power
 *   sim_link.c      Connect, Disconnect, resolving
 *   sim_pair.c      pairing: BlueZ's part, and what must hold of it
 *   sim_gatt.c      subscriptions, notifications, reads, writes
 *   sim_broker.c    the broker, and the people who send commands
 *   sim_retain.c    what the broker keeps and gives back
 *   sim_rival.c     what another gateway tells Home Assistant
 *   sim_fault.c     what goes wrong, when, and when it ends
 *   sim_steps.c     sequences of steps in the configuration
 *   sim_contact.c   peers that are not held: their configuration, contacts, availability, silence
 *   sim_check.c     states, reasons, connects, time
 *   sim_recover.c   who must be back when, after the last fault
 *   sim_stream.c    what was notified against what was published
 *   sim_memory.c    what the broker retains against what is so
 */
#pragma once

#include "core/gateway.h"
#include "core/world.h"

#define N_DEVICES_MAX    12
#define N_CHARS_MAX      4
#define N_ENTRIES_MAX    6
#define N_RADIOS         2
#define N_CALLS_MAX      256
#define N_FLIGHT_MAX     512
#define N_FILTERS_MAX    64
#define NOBODY           (-1)
#define SIM_RIVAL_STATUS "g/bridge/attic/status"
#define SIM_RIVAL_ENTITY "rivals" /* an entity that only its file has */

/* Each value that is read or written is a number that is used once, with one of these. */
#define READ_MARK  0x80000000u
#define WRITE_MARK 0x40000000u /* by a command of this number */
#define STEP_MARK  0x20000000u /* by a step */

#define S_TO_US(s)   ((uint64_t)(s)*1000000)
#define MIN_TO_US(m) S_TO_US((m)*60)

struct sim;

/* ---- sim_random.c ---- */

uint64_t sim_random(struct sim *sim);
uint32_t sim_below(struct sim *sim, uint32_t n);
bool sim_chance(struct sim *sim, unsigned percent);
uint64_t sim_between(struct sim *sim, uint64_t from, uint64_t to);
/* every order of magnitude alike */
uint64_t sim_spread(struct sim *sim, uint64_t from, uint64_t to);

/* ---- the world's parts ---- */

/* What a job is about is named by numbers that die with it, so that a late job finds nobody. */
typedef void (*job_fn)(struct sim *sim, uint64_t a, uint64_t b);

struct job {
    uint64_t at_us, order;
    job_fn run;
    uint64_t a, b;
};

enum connect_mode {
    CONNECT_GOOD,
    CONNECT_FAILS,       /* le-connection-abort-by-local */
    CONNECT_HANGS,       /* 40 s */
    CONNECT_NO_LINK,     /* success without a link */
    CONNECT_IN_PROGRESS, /* another program's */
    CONNECT_REFUSED,     /* authentication */
    CONNECT_NOT_READY,
    CONNECT_GONE,
    CONNECT_LATE,  /* failure, and then the link comes */
    CONNECT_FLASH, /* a link that goes at once */
    CONNECT_NO_REPLY,
    CONNECT_MODES,
};

enum resolve_mode {
    RESOLVE_GOOD,
    RESOLVE_SLOW,
    RESOLVE_NEVER,
    RESOLVE_EMPTY,
    RESOLVE_PARTIAL, /* some objects come later, or after the cache is cleared */
    RESOLVE_FAILS,
    RESOLVE_MODES,
};

enum subscribe_mode {
    SUBSCRIBE_GOOD,
    SUBSCRIBE_REFUSED,
    SUBSCRIBE_FAILS,
    SUBSCRIBE_IN_PROGRESS,
    SUBSCRIBE_NO_REPLY,
    SUBSCRIBE_EARLY, /* values come before the answer */
    SUBSCRIBE_MODES,
};

enum operation_mode {
    OPERATION_GOOD,
    OPERATION_FAILS,
    OPERATION_NO_REPLY,
    OPERATION_SLOW,
    OPERATION_MODES,
};

/* A characteristic at the peripheral. */
struct sim_char {
    uint16_t uuid, flags;
    uint32_t sequence; /* of the last notified value */
    uint64_t interval_us;
    uint32_t written;  /* by a command, and not read since; 0: none */
    uint32_t notified; /* the last value since it was written; 0: none */
};

/* A characteristic's object at BlueZ. */
struct sim_gatt {
    bool missing;   /* BlueZ does not show it */
    bool session;   /* StartNotify was accepted; outlives the link */
    bool notifying; /* the peripheral's configuration is written */
    bool active, established;
    uint32_t subscription, peer, source;
    uint64_t asked;   /* serial of the last request */
    bool told;        /* the core was told that it is subscribed on this link */
    uint64_t ticking; /* the link on which its values come; 0: none */
};

/* A peripheral's object at one adapter. */
struct sim_object {
    uint32_t id; /* 0: none */
    int radio, device;
    bool permanent, bonded, connected, resolved, tree_told, changing, going;
    bool told_resolved;              /* the core has seen the tree on this link */
    uint64_t last_seen_us, heard_us; /* heard_us: as the core was told; 0: not since it matters */
    uint64_t link;                   /* number of the link or attempt, never used again */
    struct sim_gatt gatt[N_CHARS_MAX];
    /* as the core must see it */
    bool connecting;
    uint64_t connecting_until_us; /* a Disconnect was asked: over at this time at the latest */
};

/* A peripheral. */
struct sim_device {
    char name[16];
    struct bt_address address;
    enum bt_address_type address_type;
    uint16_t service;
    bool present, fleeting; /* fleeting: BlueZ never keeps its object */
    bool advertising;       /* the job for its next advertisement exists */
    uint64_t interval_us;
    int16_t rssi;
    uint8_t loss[N_RADIOS];    /* dB that less of it arrives there */
    struct sim_object *linked; /* borrowed, or NULL */
    struct sim_char chars[N_CHARS_MAX];
    size_t n_chars;
    uint16_t shift;     /* of the handles */
    uint64_t unpair_us; /* when somebody asked to throw its bond away last; 0: never */
    enum connect_mode connect;
    enum resolve_mode resolve;
    enum subscribe_mode subscribe;
    enum operation_mode operation;
};

enum scan_mode_fault { SCAN_GOOD, SCAN_FAILS, SCAN_IN_PROGRESS, SCAN_NO_REPLY, SCAN_MODES };

/* An adapter. */
struct sim_radio {
    bool plugged;
    uint32_t id; /* number at BlueZ; 0: none */
    unsigned hci;
    struct bt_address address;
    bool powered, discovering, blocked;
    bool deaf;          /* hears nobody, until it is switched off and on */
    uint64_t reset_us;  /* when the core switched it off last; 0: never */
    bool chosen;        /* by the core, for whoever names none */
    uint64_t chosen_us; /* since when */
    bool was_powered;   /* since it got its number */
    enum scan_mode_fault scan;
    uint64_t create; /* serial of the Connect whose link is being made now; 0: none */
    bool scan_told_failed, told_blocked;
    uint64_t scan_answer_us; /* requests are carried out in their order */
    uint64_t idle_scan_us;   /* since when somebody is missing and nobody scans, ... */
    uint64_t needless_scan_us;
};

/* A method call at BlueZ that is not answered yet. */
struct sim_call {
    uint64_t serial; /* 0: free */
    enum action_type type;
    struct op op;
    uint32_t adapter, device;
    struct sim_object *object; /* borrowed, or NULL */
    int radio;
    uint16_t handle;
    int gatt;
    uint32_t subscription;
    uint32_t written;
    uint32_t by_step; /* what a step writes, or 0 */
    bool on, cancelled;
    bool waits; /* a Connect to somebody who is not there; a Resolve */
};

/* ---- what must come out ---- */

struct stream_item {
    uint32_t value;
    bool acked, optional;
    uint64_t token;
    int64_t real_us; /* when it came */
    uint64_t order;
};

/* One value topic: what has to be published, in order. */
struct sim_stream {
    struct stream_item *items; /* owned */
    size_t head, next, n, size;
    uint32_t last; /* that the broker took */
    uint64_t order, last_order;
    bool published, retained;
    uint64_t forgets;  /* of the broker, when it took it */
    uint64_t reminder; /* token of the one after that; 0: not on its way */
};

enum command_state { SENT, HANDED, ANSWERED };

struct sim_command {
    enum command_state state;
    uint64_t sent_us, token;
    bool writes; /* if it is answered `ok`, it was carried out */
    unsigned n_writes;
    unsigned replays; /* answers that may come beyond the first: the request came again, or
                         the connection broke before the answer was acknowledged */
};

enum message_kind { MESSAGE_OTHER, MESSAGE_VALUE, MESSAGE_RESULT, MESSAGE_STATUS };

/* A message that the broker has not acknowledged. */
struct sim_flight {
    uint64_t token;
    enum message_kind kind;
    uint8_t qos;
    size_t peer, entry, command;
};

/* A message or a SUBACK that the broker sends, or a message that it keeps. */
struct sim_mail {
    char *topic, *payload; /* owned */
    size_t length;
    bool retained, is_suback, ok;
};

/* What a peer's way back has to wait for; see sim_recover.c. */
enum sim_recovery { RECOVERY_ORDINARY, RECOVERY_HUNG, RECOVERY_REFUSED, N_RECOVERIES };

struct sim_peer {
    enum peer_state state;
    enum reason reason;
    uint64_t state_us;  /* since when it is in this state */
    uint64_t reason_us; /* ... for this reason */
    uint32_t generation;
    uint64_t untrue_us;        /* since when its reason is not true; 0: it is */
    uint64_t retry_us;         /* as seen last */
    uint64_t backoff_heard_us; /* when it was heard first in this backoff; 0: not */
    uint64_t idle_us;          /* since when it could be connected and is not; 0: no */
    uint64_t bring_up_us;      /* since when it is between Connect and online; 0: not */
    bool ours;                 /* as seen last */
    bool availability_handed, availability; /* on this connection to the broker */
    char link[48];                          /* state/reason, as retained by the broker */

    /* contacts */
    bool contact, contact_reached;
    const struct peer *who;
    bool bound;
    uint64_t bound_us;
    bool good; /* its link, as seen last */
    uint64_t contact_limit_us, contact_began_us, contact_ended_us;
    uint64_t nothing_us;    /* since when nothing is left to do; 0: something is */
    uint64_t reached_us;    /* last online, or heard without a failure before; 0: never */
    uint64_t listening_us;  /* since when it is online and subscribed; 0: it is not */
    uint64_t subscribed_us; /* since when something is subscribed; 0: nothing is */
    uint64_t value_us;      /* of the last notification */

    uint64_t pair_us;      /* when it was being paired last, or was to be; 0: never */
    uint32_t pair_op;      /* of the pairing that is asked for; 0: none */
    uint64_t pair_lost_us; /* since when that has no link; 0: it has */

    /* after the last fault */
    enum sim_recovery recovery;
    uint64_t back_by_us, back_us; /* back_us 0: not yet */
    bool unwanted;                /* just now */
    uint64_t connects[16];        /* times of the last ones */
    size_t n_connects;
    struct sim_stream streams[N_ENTRIES_MAX];
};

/* ---- the run ---- */

struct sim_options {
    uint64_t seed;
    uint64_t length_us;
    bool trace;        /* print as it goes */
    size_t keep_lines; /* remember the last so many lines for a failure */
};

struct sim_totals {
    uint64_t events, actions, connects, onlines, notifications, values, commands, faults, phases;
    uint64_t duplicates, skipped, resets;
    uint64_t recoveries[N_RECOVERIES], worst_recovery_us[N_RECOVERIES];
};

struct sim {
    struct sim_options options;
    uint64_t random;
    struct settings settings;
    struct gateway *gateway; /* owned */
    struct actions actions;
    struct now now;
    uint64_t start_us, end_us;

    struct job *jobs; /* owned; a heap */
    size_t n_jobs, jobs_size;
    uint64_t order;
    uint64_t timer_us;  /* when the timer will fire */
    uint64_t timer_due; /* what it was armed for */
    unsigned timers_at_once;

    size_t n_devices;
    struct sim_device devices[N_DEVICES_MAX];
    struct sim_radio radios[N_RADIOS];
    struct sim_object objects[N_RADIOS][N_DEVICES_MAX];
    struct sim_call calls[N_CALLS_MAX];
    uint32_t next_id;
    uint64_t next_serial, next_link;
    uint32_t next_read;
    bool bluez_up, bluez_told;
    const char *bluez_reason;

    bool rival; /* another gateway is online */
    enum discovery_mode rival_form;
    uint8_t rival_told[N_DEVICES_MAX]; /* a bit for each form that it has told */
    bool broker_up, frozen;            /* frozen: it acknowledges nothing */
    bool refusing;
    bool reordering; /* acknowledgements come in any order */
    uint64_t ack_us;
    uint64_t connection; /* number */
    unsigned window, window_qos0, used, used_qos0;
    struct sim_flight flight[N_FLIGHT_MAX];
    size_t n_flight;
    uint64_t last_ack_us, last_mail_us;
    char filters[N_FILTERS_MAX][48];
    size_t n_filters;
    struct sim_mail *mails, *retained; /* owned */
    size_t n_mails, n_retained;
    bool said_online, said_devices, said_offline;
    uint64_t forgets; /* how often it lost its memory */
    bool ever_refused;
    bool ever_deaf; /* it may not hear of the other gateway */
    uint64_t broker_up_us;
    struct sim_command *commands; /* owned */
    size_t n_commands, commands_size;

    bool quiet; /* no more faults until the next phase */
    uint64_t quiet_us, phase_end_us, last_fault_us;
    bool drained;        /* nothing was queued at some time since */
    uint64_t lacking_us; /* since when somebody is missing who must be back; 0: nobody is */
    uint64_t fault_mean_us;
    uint64_t fault_kinds; /* which may happen in this run */
    uint64_t command_mean_us;
    bool stopping, quit;
    uint64_t stop_us;

    struct sim_peer peers[N_DEVICES_MAX];
    uint64_t second, actions_in_second, timers_in_second, warnings_in_minute, minute;
    struct sim_totals totals;

    bool failed;
    char failure[512];
    char **lines; /* owned; a ring */
    size_t n_lines;
};

/* sim_settings.c */
void sim_settings_make(struct sim *sim);
void sim_settings_free(struct settings *settings); /* not the memory itself */
struct schema *sim_schema_number(void);            /* `value`, a uint32 */
/* the same, and where a set may leave it out, `rest` behind it */
struct schema *sim_schema_of(const struct characteristic_settings *entry);
bool sim_radio_serves(const struct sim *sim, size_t peer, int radio);
/* some peer's radio; with `auto`: may become it */
bool sim_radio_selected(const struct sim *sim, int radio);

/* sim_reload.c */
void sim_reload(struct sim *sim);
/* where in the file the peer of that place stands, or SIZE_MAX: it is leaving */
size_t sim_position(const struct sim *sim, uint32_t place);
/* the core is still letting go of it */
bool sim_is_leaving(const struct sim *sim, size_t device);

/* sim_world.c */
/* carries out sim->actions, and checks everything */
void sim_execute_all(struct sim *sim, const struct event *event);
void sim_run(struct sim *sim);
void sim_schedule(struct sim *sim, uint64_t delay_us, job_fn run, uint64_t a, uint64_t b);
void sim_emit(struct sim *sim, const struct event *event);
void sim_fail(struct sim *sim, const char *format, ...) PRINTF_LIKE(2, 3);
void sim_trace(struct sim *sim, const char *format, ...) PRINTF_LIKE(2, 3);
#define SIM_TRACING(sim) ((sim)->options.trace || (sim)->options.keep_lines)

/* sim_bluez.c */
struct sim_object *sim_object_of_id(struct sim *sim, uint32_t id);
struct sim_radio *sim_radio_of_id(struct sim *sim, uint32_t id);
void sim_bluez_action(struct sim *sim, const struct action *action);
struct sim_call *sim_call_find(struct sim *sim, uint64_t serial);
struct sim_call *sim_call_pending(struct sim *sim, enum action_type type,
                                  const struct sim_object *object);
/* answers now */
void sim_call_end(struct sim *sim, struct sim_call *call, enum bt_status status);
void sim_call_end_with(struct sim *sim, struct sim_call *call, struct event *event);
/* answers later, whatever becomes of the object */
void sim_call_end_later(struct sim *sim, struct sim_call *call, enum bt_status status,
                        uint64_t delay_us);
void sim_adapter_tell(struct sim *sim, struct sim_radio *radio);
size_t sim_radio_links(const struct sim *sim, int radio); /* anybody's */
void sim_object_make(struct sim *sim, int radio, int device);
void sim_object_tell(struct sim *sim, struct sim_object *object, bool heard);
void sim_object_remove(struct sim *sim, struct sim_object *object);
void sim_advertise(struct sim *sim, int device);
void sim_radio_power(struct sim *sim, int radio, bool on);
void sim_radio_unplug(struct sim *sim, int radio);
void sim_radio_plug(struct sim *sim, int radio);
void sim_bluez_down(struct sim *sim, const char *reason, bool links_stay);
void sim_bluez_up(struct sim *sim);
bool sim_radio_works(const struct sim *sim, int radio);

/* sim_link.c */
void sim_connect(struct sim *sim, struct sim_call *call);
void sim_disconnect(struct sim *sim, struct sim_call *call);
void sim_resolve(struct sim *sim, struct sim_call *call);
void sim_inspect(struct sim *sim, struct sim_call *call);
void sim_link_up(struct sim *sim, struct sim_object *object);
void sim_link_down(struct sim *sim, struct sim_object *object);
void sim_link_forget(struct sim *sim, struct sim_object *object);  /* without a word */
void sim_link_foreign(struct sim *sim, struct sim_object *object); /* another program's */
void sim_link_fade(struct sim *sim, struct sim_object *object);    /* its peer is out of reach */
void sim_link_heal(struct sim *sim, struct sim_object *object);
struct sim_object *sim_object_of_link(struct sim *sim, uint64_t link);
void sim_present(struct sim *sim, int device, bool present);

/* sim_pair.c */
void sim_pair(struct sim *sim, struct sim_call *call);
void sim_pair_link_down(struct sim *sim, const struct sim_object *object);
bool sim_pair_is_asked(const struct sim *sim, size_t i); /* of that peer */
void sim_pair_check(struct sim *sim);

/* sim_gatt.c */
uint16_t sim_gatt_handle(const struct sim *sim, const struct sim_object *object, int gatt);
void sim_subscribe(struct sim *sim, struct sim_call *call, const struct action *action);
void sim_unsubscribe(struct sim *sim, struct sim_call *call, const struct action *action);
void sim_read(struct sim *sim, struct sim_call *call);
void sim_write(struct sim *sim, struct sim_call *call, const struct action *action);
void sim_gatt_link_up(struct sim *sim, struct sim_object *object);
void sim_gatt_notify(struct sim *sim, struct sim_object *object, int gatt, unsigned n);
void sim_gatt_lost(struct sim *sim, struct sim_object *object, int gatt);
void sim_gatt_remove(struct sim *sim, struct sim_object *object, int gatt);
void sim_gatt_change(struct sim *sim, struct sim_object *object, bool shift);
void sim_gatt_late_value(struct sim *sim, const struct sim_object *object);
void sim_gatt_mute(struct sim *sim, struct sim_object *object); /* it forgets to notify */

/* sim_broker.c */
void sim_broker_up(struct sim *sim);
void sim_broker_down(struct sim *sim);
void sim_broker_thaw(struct sim *sim);
void sim_broker_action(struct sim *sim, const struct action *action);
void sim_command(struct sim *sim);
void sim_resume_all(struct sim *sim);                        /* nobody is paused any more */
void sim_commands_check(struct sim *sim, uint64_t until_us); /* those before are answered */
void sim_commands_done(struct sim *sim);

/* sim_retain.c */
bool sim_is_subscribed(const struct sim *sim, const char *topic);
void sim_subscribe_topic(struct sim *sim, const char *filter);
void sim_unsubscribe_topic(struct sim *sim, const char *filter);
void sim_retain(struct sim *sim, const char *topic, const void *payload, size_t length);
void sim_echo(struct sim *sim, const char *topic, const void *payload, size_t length);
/* somebody else publishes it, retained */
void sim_say(struct sim *sim, const char *topic, const char *payload);
const struct sim_mail *sim_retained(const struct sim *sim, const char *topic); /* or NULL */
void sim_forget_retained(struct sim *sim); /* a broker that starts anew */
void sim_retain_connection_lost(struct sim *sim);
void sim_retain_done(struct sim *sim);

/* sim_fault.c */
void sim_fault_start(struct sim *sim);
void sim_fault_again(struct sim *sim); /* the next phase */
void sim_heal(struct sim *sim);

/* sim_check.c */
void sim_check_action(struct sim *sim, const struct action *action);
/* the peripheral that a peer is or must become, or NOBODY */
int sim_check_device_of(const struct sim *sim, size_t peer);
void sim_check_event(struct sim *sim, const struct event *event);
void sim_check_over(struct sim *sim, struct sim_object *object); /* a Connect is not pending */

/* sim_steps.c */
void sim_steps_make(struct sim *sim, const struct sim_device *device,
                    struct device_settings *settings);

/* sim_contact.c */
void sim_contact_make(struct sim *sim, size_t i);
bool sim_contact_held(const struct sim *sim, size_t i); /* connected always */
bool sim_contact_wants_link(const struct sim *sim, size_t i);
bool sim_contact_may_say(const struct sim *sim, size_t i, bool available);
void sim_contact_check(struct sim *sim, size_t i, const struct event *event);

/* sim_recover.c */
#define SIM_RECOVERY_US S_TO_US(180) /* after it nobody waits for anything but a refusal's end */
#define SIM_CONTACT_US  S_TO_US(75)  /* a healthy peer is online so long after its contact began */
bool sim_is_in_reach(const struct sim *sim, size_t i);
const char *sim_recovery_name(enum sim_recovery recovery);
void sim_recover_begin(struct sim *sim);
void sim_recover_watch(struct sim *sim); /* each second */
void sim_recover_check(struct sim *sim); /* at its end */

/* sim_memory.c */
void sim_memory_lose(struct sim *sim);
void sim_memory_link(struct sim *sim, size_t peer, const struct action *action);
void sim_memory_bridge(struct sim *sim, const char *last, const struct action *action);
void sim_memory_check_now(struct sim *sim, size_t i);
void sim_memory_check(struct sim *sim);

/* sim_home.c: what Home Assistant is told */
void sim_home_document(struct sim *sim, const struct action *action);
void sim_home_check(struct sim *sim);
bool sim_home_is_other(const struct sim *sim, const char *topic, size_t peer,
                       enum discovery_mode form); /* the device's document of another form */

/* sim_rival.c: the documents of another gateway */
void sim_rival_comes(struct sim *sim);
void sim_rival_claims(struct sim *sim, size_t peer);

/* sim_stream.c */
void sim_stream_expect(struct sim *sim, const struct sim_object *object, int gatt, uint32_t peer,
                       uint32_t value);
void sim_stream_release(struct sim *sim, size_t peer); /* another gateway has it */
void sim_stream_expect_optional(struct sim *sim, uint32_t peer, uint32_t entry, uint32_t value);
void sim_stream_expect_one(struct sim *sim, uint32_t peer, uint32_t entry, uint32_t value);
void sim_stream_handed(struct sim *sim, size_t peer, size_t entry, const struct action *action);
void sim_stream_acked(struct sim *sim, size_t peer, size_t entry, uint64_t token, bool refused);
void sim_stream_broken(struct sim *sim);
void sim_stream_check_empty(struct sim *sim);
void sim_stream_done(struct sim *sim);
