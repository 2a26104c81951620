/*
 * A scripted world around the core: the test says what BlueZ and the broker do, and looks at what
 * the core wants. Time moves only by world_advance(). Nothing here decides anything.
 */
#pragma once

#include "core/gateway.h"
#include "core/world.h"

struct seen_action {
    struct action action; /* its pointers were copied */
};

#define WORLD_MAX_PUBLISHED 4096

struct retained {
    char topic[64]; /* "": none */
    char payload[8192];
};

struct world {
    struct settings settings;
    struct settings *reloaded; /* owned: used instead of those, also after a reload */
    struct gateway *gateway;
    struct actions actions;
    struct now now;
    struct action seen[4096];
    size_t n_seen;
    char *owned[16384];
    size_t n_owned;
    bool acknowledge; /* the broker acknowledges at once */
    bool mute_scan;   /* starting and stopping a scan is not answered */
    bool quit;
    bool deaf; /* the broker gives nothing back */
    char filters[64][64];
    size_t n_filters;
    struct retained retained[64];
    struct mail {
        char *topic, *payload; /* owned */
        bool retained;
    } mails[256];
    size_t n_mails;
    unsigned depth; /* of world_event() */
};

/* devices d0, d1, ... with addresses C0:00:00:00:00:0<i>, each with a subscribed `level` (2A19),
 * and a writable `lamp` (FFE1) that is read on demand */
struct world *world_new(size_t n_devices);
void world_start(struct world *world); /* EVENT_START and the gateway */
struct world *world_free(struct world *world);

/* what gateway_reload() says */
int world_reload(struct world *world, struct settings *settings_take);

void world_event(struct world *world, const struct event *event);
void world_advance(struct world *world, uint64_t ms); /* fires every timer on the way */
void world_clear(struct world *world);                /* forgets what was seen */

/* the first action of the type since world_clear(), after `after` (NULL: from the start), or NULL
 */
const struct action *world_find(const struct world *world, enum action_type type,
                                const struct action *after);
const struct action *world_expect(const struct world *world, enum action_type type);
size_t world_count(const struct world *world, enum action_type type);
/* the last payload on a topic since world_clear(), or NULL; and how many */
const char *world_published(const struct world *world, const char *topic);
size_t world_count_published(const struct world *world, const char *topic);

/* ---- BlueZ ---- */
#define ADAPTER_1 1
#define ADAPTER_2 2
void world_bluez_up(struct world *world); /* adapter 1, powered */
/* adapter 1 is hci0 with the address 00:1A:7D:00:00:01, 2 is hci1 with ..:02, and so on */
void world_adapter(struct world *world, uint32_t adapter, bool powered);
void world_adapter_gone(struct world *world, uint32_t adapter);
void world_hear(struct world *world, size_t peer, uint32_t device);
void world_hear_at(struct world *world, uint32_t adapter, size_t peer, uint32_t device,
                   int16_t rssi);
void world_answer(struct world *world, const struct action *action, enum bt_status status);
void world_link(struct world *world, uint32_t device, bool connected);
void world_link_at(struct world *world, uint32_t adapter, uint32_t device, bool connected);
void world_resolved(struct world *world, const struct action *action);
void world_value(struct world *world, const struct action *subscribe, const void *data, size_t n);
/* heard, connected, resolved, subscribed: the whole way; device = 100 + peer */
void world_online(struct world *world, size_t peer);
/* the same from the Connect on, which was seen already */
void world_connected(struct world *world, size_t peer);

/* ---- the broker ---- */
/* It keeps what is retained, and gives back what gateways have to hear of themselves and of each
 * other, to those who subscribed. */
void world_broker_up(struct world *world);
const char *world_retained(const struct world *world, const char *topic);       /* or NULL */
void world_retain(struct world *world, const char *topic, const char *payload); /* "": none */
void world_broker_down(struct world *world);
void world_message(struct world *world, const char *topic, const char *payload, bool retained);

#define LEVEL_HANDLE 0x12
#define LAMP_HANDLE  0x22
