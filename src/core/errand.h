/*
 * What people ask about a peer as a whole: to forget it, to look at it, to bond with it. One at a
 * time of each peer, since each of them changes what the others would find. Only for errand.c and
 * the files of the errands.
 */
#pragma once

#include "core/world.h"

enum errand_kind {
    ERRAND_KIND_CLEAR_CACHE,
    ERRAND_KIND_UNPAIR,
    ERRAND_KIND_INSPECT,
    ERRAND_KIND_PAIR
};

struct errand {
    enum errand_kind kind;
    struct command *command;    /* owned */
    uint64_t usual_ms;          /* so long it takes at most, unless the request says otherwise */
    uint64_t due_us;            /* answered by then; armed */
    uint32_t ops[MAX_ADAPTERS]; /* whose answers are awaited; 0: none */
    bool wants_link;
    bool linking;      /* ... and it is being made, or there */
    unsigned failures; /* of the peer, when it was asked for */

    bool asked;                    /* clear_cache, unpair: BlueZ was */
    struct inspection *inspection; /* owned; of inspect, or NULL */
    bool has_passkey;              /* pair */
    uint32_t passkey;
    bool lost; /* ... its link, before BlueZ said what came of it: there is nothing to hold */
};

/* Ready to go on, or NULL: who asked was told why not. `usual_ms` is the time it has, unless the
 * request has a timeout of its own. */
struct errand *errand_new(struct peer *peer, enum errand_kind kind, uint64_t usual_ms,
                          struct command *command_take);
/* It is over; its command is the caller's now, to be answered. */
struct command *errand_end(struct peer *peer);
/* It comes to nothing. */
void errand_fail(struct peer *peer, const char *code, const char *message);
/* Waits as `connect` does; its time begins when a link is being made. */
void errand_wait_for_link(struct peer *peer);
/* An errand is over that wanted one: the rest is as after a command. */
void errand_release_link(struct peer *peer);

/* forget.c */
void forget_go_on(struct peer *peer);
void forget_result(struct peer *peer, const struct event *event);

/* inspect.c */
struct inspection *inspect_free(struct inspection *inspection);
void inspect_resolved(struct peer *peer);
void inspect_result(struct peer *peer, const struct event *event);
void inspect_read(struct peer *peer, const struct event *event);
bool inspect_is_known(const struct errand *errand); /* the tree is, if not all values */
void inspect_cut_short(struct peer *peer);          /* answers with what is known */

/* pair.c */
void pair_begin(struct peer *peer); /* there is a link */
void pair_ended(struct peer *peer, const struct event *event);
void pair_link_ended(struct peer *peer);
