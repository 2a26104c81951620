/*
 * What the core wants done. gateway_handle() fills a list; app/ carries it out in order, right
 * after the call. Everything an action points to is good until the next gateway_handle().
 */
#pragma once

#include "core/event.h"
#include "util/log.h"

enum action_type {
    /* BlueZ; `adapter` (and `device`) say where */
    ACTION_SCAN_START, /* active: with the filter {Transport: le}; answered by EVENT_SCAN_RESULT */
    ACTION_SCAN_STOP,
    ACTION_POWER,   /* on or off */
    ACTION_CONNECT, /* Device1.Connect; the core has its own deadline and disconnects to cancel */
    ACTION_DISCONNECT, /* also cancels a pending connect */
    ACTION_RESOLVE,    /* wait for ServicesResolved, barrier, answer with the tree */
    ACTION_SUBSCRIBE,  /* StartNotify or AcquireNotify */
    ACTION_UNSUBSCRIBE,
    ACTION_READ,
    ACTION_WRITE,
    ACTION_INSPECT,       /* of a resolved device: the whole tree with descriptors, afresh */
    ACTION_PAIR,          /* over a link; a disconnect cancels it, and so does the next one */
    ACTION_REMOVE_DEVICE, /* Adapter1.RemoveDevice: forget object and GATT cache */
    ACTION_TELL_DEVICES,  /* EVENT_DEVICE for every object that is known, soon (as heard, if a
                             passive scan hears it now); no other answer */

    /* MQTT */
    ACTION_PUBLISH,
    ACTION_TOPIC_SUBSCRIBE,
    ACTION_TOPIC_UNSUBSCRIBE,
    ACTION_RECONNECT, /* the settings of the broker have changed: leave it and connect anew */

    /* the process */
    ACTION_RELOAD, /* read the file again, then gateway_reload() or gateway_reload_failed() */
    ACTION_LOG,
    ACTION_LOG_LEVEL, /* from now on */
    ACTION_STATUS,    /* a sentence for the service manager */
    ACTION_QUIT,      /* everything said: disconnect from the broker and leave the loop */
};

struct action {
    enum action_type type;
    struct op op; /* comes back in the answer */
    uint32_t adapter, device;
    union {
        struct {
            bool passive; /* NOT_SUPPORTED where BlueZ has no advertisement monitors */
        } scan;           /* SCAN_START */
        struct {
            bool on;
        } power;
        struct {
            uint16_t handle;       /* of the value */
            uint32_t subscription; /* comes back in EVENT_VALUE, with op.peer and source */
            uint32_t source;
            bool socket; /* AcquireNotify */
        } subscribe;     /* also UNSUBSCRIBE */
        struct {
            uint16_t handle;
        } read;
        struct {
            uint16_t handle;
            const uint8_t *data;
            size_t length;
            bool response; /* request, else command */
        } write;
        struct {
            bool has_passkey;
            uint32_t passkey; /* 0 to 999999 */
        } pair;
        struct {
            uint64_t token; /* comes back in EVENT_PUBLISHED; 0: no answer wanted */
            bool patient;   /* ... a good one when somebody is awake anyway */
            const char *topic;
            const void *payload;
            size_t length;
            uint8_t qos;
            bool retain;
            uint32_t expiry_s;
            const void *correlation;
            size_t correlation_length;
        } publish;
        struct {
            const char *filter;
            uint8_t qos;
        } topic;
        struct {
            enum log_level level;
            const char *area;
            const char *text;
        } log;
        enum log_level log_level;
        struct {
            const char *text;
        } status;
    };
};

/* The list, reused from call to call. What actions point to and nobody else keeps lives in its
 * arena. */
struct actions {
    struct action *list; /* owned */
    size_t n, size;
    struct arena_block *blocks; /* owned */
    struct action spare;
    bool failed; /* out of memory: an action is missing */
};

#define ACTIONS_INIT ((struct actions){0})
void actions_done(struct actions *actions);
void actions_reset(struct actions *actions);
/* a new action, zeroed but for its type; never NULL (a spare one when out of memory) */
struct action *actions_add(struct actions *actions, enum action_type type);
/* a copy in the arena, NUL-terminated; NULL when out of memory */
void *actions_copy(struct actions *actions, const void *data, size_t length);
char *actions_printf(struct actions *actions, const char *format, ...) PRINTF_LIKE(2, 3);
void actions_log(struct actions *actions, enum log_level level, const char *area,
                 const char *format, ...) PRINTF_LIKE(4, 5);
