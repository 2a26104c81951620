/*
 * What people ask about a peer as a whole: to forget it, to look at it, to bond with it. One at a
 * time of each peer, since each of them changes what the others would find. Only for errand.c and
 * the files of the errands.
 */
#pragma once

#include "core/world.h"

enum errand_kind { ERRAND_KIND_CLEAR_CACHE, ERRAND_KIND_UNPAIR };

struct errand {
    enum errand_kind kind;
    struct command *command;    /* owned */
    uint64_t due_us;            /* answered by then; armed */
    uint32_t ops[MAX_ADAPTERS]; /* whose answers are awaited; 0: none */
    bool began;                 /* clear_cache, unpair: BlueZ was asked */
};

/* Ready to go on, or NULL: who asked was told why not. `usual_ms`, unless the request has a
 * timeout of its own. */
struct errand *errand_new(struct peer *peer, enum errand_kind kind, uint64_t usual_ms,
                          struct command *command_take);
/* It is over; its command is the caller's now, to be answered. */
struct command *errand_end(struct peer *peer);

/* forget.c */
void forget_go_on(struct peer *peer);
void forget_result(struct peer *peer, const struct event *event);
