/*
 * What people ask of a link: connect and hold it, let it go, keep away for a while. It outlives a
 * reload and is forgotten when the gateway ends: then the file alone says what is held.
 *
 *   hold   a device that is not held all the time is, until then; `connect`
 *   away   one that is held all the time is let go, until then; `disconnect`
 *   pause  no link, no commands, whatever the file says, until then; `pause`
 *
 * Must not know how a request is written or how a link is made.
 */
#include "core/world.h"

#include "core/json.h"
#include "util/cleanup.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define AWAY_MS     30000 /* so long others have a chance to connect to what was let go */
#define LET_GO_MS   35000 /* BlueZ is asked three times in it */
#define WAITERS_MAX 8     /* requests of one peer that wait for its link */

enum link_wait_kind { LINK_WAIT_UP, LINK_WAIT_DOWN };

/* A request that is answered when the link is up, or down. */
struct link_wait {
    struct link_wait *next;
    enum link_wait_kind kind;
    struct command *command; /* owned */
    uint64_t hold_us;        /* UP: how long it is held then; TIME_NEVER: until `disconnect` */
    bool began;              /* UP: a connection is being made */
    unsigned failures;       /* UP: of the peer, when it was asked for */
    uint64_t due_us;
};

/* ---- what holds now ---- */

static bool is_persistent(const struct peer *peer)
{
    return peer->settings->connection.mode == CONNECTION_MODE_PERSISTENT;
}

bool hold_is_asked(const struct peer *peer)
{
    if (peer->hold_us || errand_wants_link(peer))
        return true;
    for (const struct link_wait *wait = peer->waits; wait; wait = wait->next)
        if (wait->kind == LINK_WAIT_UP)
            return true;
    return false;
}

bool hold_is_paused(const struct peer *peer)
{
    return peer->pause_us != 0;
}

bool hold_is_disabled(const struct peer *peer)
{
    return peer->state == PEER_STATE_DISABLED || hold_is_paused(peer);
}

/* "12:34 UTC" */
static void format_clock(const struct gateway *gateway, uint64_t at_us, char *buf, size_t size)
{
    char at[TIME_RFC3339_SIZE];

    time_format_rfc3339(gateway->now.real_us + (int64_t)(at_us - gateway->now.mono_us), at);
    snprintf(buf, size, "%.5s UTC", at + 11);
}

static const char *pause_words(const struct peer *peer, char *buf, size_t size)
{
    char at[16];

    if (peer->pause_us == TIME_NEVER)
        return "paused by a request, until `resume`";
    format_clock(peer->gateway, peer->pause_us, at, sizeof(at));
    snprintf(buf, size, "paused by a request, until %s", at);
    return buf;
}

static const char *away_words(const struct peer *peer, char *buf, size_t size)
{
    char at[16];

    if (!peer->away_us)
        return "let go by a request";
    format_clock(peer->gateway, peer->away_us, at, sizeof(at));
    snprintf(buf, size, "let go by a request, until %s", at);
    return buf;
}

bool hold_say_idle(struct peer *peer)
{
    char text[64];

    if (hold_is_paused(peer))
        peer_enter_state(peer, PEER_STATE_DISABLED, REASON_PAUSED, "%s",
                         pause_words(peer, text, sizeof(text)));
    else if (peer->away_us)
        peer_enter_state(peer, PEER_STATE_IDLE, REASON_LET_GO, "%s",
                         away_words(peer, text, sizeof(text)));
    else
        return false;
    return true;
}

/* ---- answers ---- */

static void write_until(struct json_writer *w, const char *key, const struct peer *peer,
                        uint64_t until_us)
{
    const struct gateway *gateway = peer->gateway;

    json_write_key(w, key);
    if (until_us == TIME_NEVER)
        json_write_null(w);
    else
        json_write_time(w, gateway->now.real_us + (int64_t)(until_us - gateway->now.mono_us));
}

/* where the peer is now, and until when what was asked for lasts */
static void answer_ok(struct peer *peer, struct command *command)
{
    _cleanup_(strbuf_done) struct strbuf data = STRBUF_INIT;
    struct json_writer w = json_writer_to(&data);

    json_write_object_begin(&w);
    json_write_key(&w, "state");
    json_write_string(&w, peer_state_name(peer->shown));
    if (peer->state == PEER_STATE_ONLINE) {
        json_write_key(&w, "mtu");
        if (peer->mtu)
            json_write_uint(&w, peer->mtu);
        else
            json_write_null(&w); /* BlueZ does not say */
    }
    if (peer->hold_us)
        write_until(&w, "held_until", peer, peer->hold_us);
    if (peer->away_us)
        write_until(&w, "away_until", peer, peer->away_us);
    if (peer->pause_us)
        write_until(&w, "paused_until", peer, peer->pause_us);
    json_write_object_end(&w);
    command_answer_ok(peer->gateway, command, &data);
}

/* Takes it out of the list; its command is the caller's now. */
static struct command *take(struct peer *peer, struct link_wait *wait)
{
    struct link_wait **link = &peer->waits;
    struct command *command = wait->command;

    while (*link != wait)
        link = &(*link)->next;
    *link = wait->next;
    free(wait);
    return command;
}

static void cancel(struct peer *peer, bool up_only, const char *code, const char *message)
{
    struct link_wait *next;

    for (struct link_wait *wait = peer->waits; wait; wait = next) {
        next = wait->next;
        if (!up_only || wait->kind == LINK_WAIT_UP)
            command_answer_error(peer->gateway, take(peer, wait), code, 0, "%s", message);
    }
}

void hold_cancel_all(struct peer *peer, const char *code, const char *message)
{
    cancel(peer, false, code, message);
}

void hold_done(struct peer *peer)
{
    while (peer->waits)
        command_free(take(peer, peer->waits));
}

/* False: it was answered. */
static bool wait_for(struct peer *peer, enum link_wait_kind kind, uint64_t hold_us, uint64_t due_us,
                     struct command *command)
{
    struct link_wait *wait = NULL, **link = &peer->waits;
    size_t n = 0;

    for (; *link; link = &(*link)->next)
        n++;
    if (n == WAITERS_MAX) {
        command_answer_error(peer->gateway, command, "queue_full", 0,
                             "%d requests wait for its link already", WAITERS_MAX);
        return false;
    }
    wait = calloc(1, sizeof(*wait));
    if (!wait) {
        command_answer_error(peer->gateway, command, "internal", 0, "out of memory");
        return false;
    }
    *wait = (struct link_wait){.kind = kind,
                               .command = command,
                               .hold_us = hold_us,
                               .failures = peer->failures,
                               .due_us = due_us};
    *link = wait;
    gateway_arm(peer->gateway, due_us);
    return true;
}

/* ---- the link changed ---- */

bool hold_is_connecting(const struct peer *peer)
{
    return !peer->blind &&
           (peer->state == PEER_STATE_CONNECTING || peer->state == PEER_STATE_RESOLVING ||
            peer->state == PEER_STATE_PAIRING || peer->state == PEER_STATE_CONFIGURING);
}

static bool is_down(const struct peer *peer)
{
    return !peer->link_up && !hold_is_connecting(peer) && peer->state != PEER_STATE_DISCONNECTING &&
           peer->state != PEER_STATE_CONNECTING;
}

static void hold(struct peer *peer, uint64_t hold_us)
{
    if (is_persistent(peer))
        return; /* it is held anyway */
    peer->hold_us = hold_us == TIME_NEVER ? TIME_NEVER : peer->gateway->now.mono_us + hold_us;
    gateway_arm(peer->gateway, peer->hold_us);
}

void hold_state_entered(struct peer *peer)
{
    struct gateway *gateway = peer->gateway;
    struct link_wait *next;

    for (struct link_wait *wait = peer->waits; wait; wait = next) {
        next = wait->next;
        if (wait->kind == LINK_WAIT_DOWN && is_down(peer)) {
            if (peer->state == PEER_STATE_ABSENT && !peer_wants_link(peer))
                continue; /* on its way to what it will say */
            answer_ok(peer, take(peer, wait));
        } else if (wait->kind == LINK_WAIT_UP && peer->state == PEER_STATE_ONLINE) {
            hold(peer, wait->hold_us);
            answer_ok(peer, take(peer, wait));
        } else if (wait->kind == LINK_WAIT_UP && !wait->began && hold_is_connecting(peer)) {
            uint64_t timeout_ms = wait->command->timeout_ms;
            wait->began = true;
            wait->due_us = gateway_in(gateway, timeout_ms ? timeout_ms : ATTEMPT_MS);
            gateway_arm(gateway, wait->due_us);
        } else if (wait->kind == LINK_WAIT_UP && peer->state == PEER_STATE_BACKOFF) {
            gateway_arm(gateway, gateway->now.mono_us); /* is it worth waiting? see timer_up() */
        }
    }
}

/* ---- requests ---- */

/* False: it is switched off by the file or is another gateway's, and that was answered. */
static bool is_ours(struct peer *peer, struct command *command)
{
    if (peer->ours && peer->settings->enabled)
        return true;
    command_answer_error(peer->gateway, command, "disabled", 0, "%s", peer->why);
    return false;
}

/* What is going on about the link comes to an end; peer_consider() says what follows. */
static void let_go(struct peer *peer, enum reason reason, const char *why)
{
    switch (peer->state) {
    case PEER_STATE_CONNECTING:
    case PEER_STATE_RESOLVING:
    case PEER_STATE_PAIRING:
    case PEER_STATE_CONFIGURING:
    case PEER_STATE_ONLINE:
        if (peer->state == PEER_STATE_ONLINE)
            status_event(peer->gateway, "disconnected", peer, reason_name(reason), why);
        peer->blind = false; /* it is not for another attempt */
        peer_disconnect(peer, reason, false, false, why);
        break;
    case PEER_STATE_DISCONNECTING:
        peer->blind = false;
        peer->after.failure = false;
        peer->after.reason = reason;
        peer_enter_state(peer, PEER_STATE_DISCONNECTING, reason, "%s", why);
        break;
    case PEER_STATE_ABSENT:
    case PEER_STATE_READY:
    case PEER_STATE_BACKOFF:
    case PEER_STATE_IDLE: peer_consider(peer); break;
    case PEER_STATE_DISABLED: break;
    }
}

void hold_break_link(struct peer *peer, const char *why)
{
    let_go(peer, REASON_LET_GO, why);
}

static void forget_contact(struct peer *peer)
{
    contact_forget(peer);
    peer->hold_us = 0;
}

/* answered when the link is down */
static void answer_when_down(struct peer *peer, struct command *command)
{
    uint64_t timeout_ms = command->timeout_ms ? command->timeout_ms : LET_GO_MS;

    if (is_down(peer))
        answer_ok(peer, command);
    else
        (void)wait_for(peer, LINK_WAIT_DOWN, 0, gateway_in(peer->gateway, timeout_ms), command);
}

void hold_now(struct peer *peer)
{
    peer->away_us = 0;
    peer->retry_us = 0;
    peer->blind_us = 0;
    if (peer->state == PEER_STATE_IDLE || peer->state == PEER_STATE_BACKOFF)
        peer_consider(peer);
    peer->gateway->schedule = true;
}

void hold_connect(struct peer *peer, uint64_t hold_ms, struct command *command)
{
    struct gateway *gateway = peer->gateway;
    uint64_t hold_us = hold_ms ? MS_TO_US(hold_ms) : TIME_NEVER;

    if (hold_is_disabled(peer)) {
        command_answer_error(gateway, command, "disabled", 0, "%s", peer->why);
        return;
    }
    if (peer->state == PEER_STATE_ONLINE) {
        hold(peer, hold_us);
        answer_ok(peer, command);
        return;
    }
    if (!command_queue_ms(peer, command)) {
        command_answer_error(gateway, command, "not_connected", 0, "not connected: %s", peer->why);
        return;
    }
    if (!wait_for(peer, LINK_WAIT_UP, hold_us, command_queue_until(peer, command, false), command))
        return;
    hold_state_entered(peer); /* it may be on its way */
    hold_now(peer);
}

void hold_disconnect(struct peer *peer, struct command *command)
{
    struct gateway *gateway = peer->gateway;
    char text[64];

    if (!is_ours(peer, command))
        return;
    cancel(peer, true, "cancelled", "a disconnect was asked for");
    ops_cancel_all(peer, "cancelled", "a disconnect was asked for");
    errand_cancel_linked(peer, "cancelled", "a disconnect was asked for");
    forget_contact(peer);
    if (is_persistent(peer) && !hold_is_paused(peer)) {
        peer->away_us = gateway_in(gateway, AWAY_MS);
        gateway_arm(gateway, peer->away_us);
    }
    if (!hold_is_paused(peer))
        let_go(peer, REASON_LET_GO, away_words(peer, text, sizeof(text)));
    answer_when_down(peer, command);
}

void hold_pause(struct peer *peer, uint64_t pause_ms, struct command *command)
{
    char buf[64];

    if (!is_ours(peer, command))
        return;
    peer->pause_us = pause_ms ? gateway_in(peer->gateway, pause_ms) : TIME_NEVER;
    gateway_arm(peer->gateway, peer->pause_us);
    peer->away_us = 0;
    const char *text = pause_words(peer, buf, sizeof(buf));
    cancel(peer, true, "disabled", text);
    ops_cancel_all(peer, "disabled", text);
    errand_cancel_linked(peer, "disabled", text);
    forget_contact(peer);
    if (peer->state == PEER_STATE_DISABLED)
        hold_say_idle(peer); /* paused already: until another time */
    else
        let_go(peer, REASON_PAUSED, text);
    actions_log(peer->gateway->actions, LOG_LEVEL_INFO, peer->log_area, "%s", text);
    answer_when_down(peer, command);
}

static void resume(struct peer *peer, const char *text)
{
    if (!hold_is_paused(peer))
        return;
    peer->pause_us = 0;
    if (!peer->ours)
        return; /* it is another gateway's meanwhile */
    actions_log(peer->gateway->actions, LOG_LEVEL_INFO, peer->log_area, "%s", text);
    if (peer->state != PEER_STATE_DISABLED) { /* what follows then is as always */
        peer->after.reason = REASON_LET_GO;
        peer_enter_state(peer, peer->state, REASON_LET_GO,
                         "resumed; its link goes down first, and is made again");
        return;
    }
    peer->failures = 0;
    peer->retry_us = peer->blind_us = 0;
    peer_enter_state(peer, PEER_STATE_ABSENT, REASON_STARTING, "%s", text);
    contact_start(peer);
    peer_consider(peer);
}

void hold_resume(struct peer *peer, struct command *command)
{
    if (!is_ours(peer, command))
        return;
    resume(peer, "resumed by a request");
    answer_ok(peer, command);
}

void hold_is_wanted(struct peer *peer)
{
    if (!peer->away_us || hold_is_disabled(peer))
        return;
    peer->away_us = 0;
    peer->retry_us = peer->blind_us = 0;
    if (peer->state == PEER_STATE_IDLE)
        peer_consider(peer);
}

void hold_inherit(struct peer *peer, const struct peer *old)
{
    if (!peer->settings->enabled || !peer->ours)
        return; /* its end would be taken for the end of that */
    peer->pause_us = old->pause_us;
    peer->hold_us = is_persistent(peer) ? 0 : old->hold_us;
    gateway_arm(peer->gateway, peer->pause_us ? peer->pause_us : TIME_NEVER);
    gateway_arm(peer->gateway, peer->hold_us ? peer->hold_us : TIME_NEVER);
    for (size_t i = 0; i < peer->n_entries; i++)
        for (size_t j = 0; j < old->n_entries; j++)
            if (strcmp(peer->entries[i].settings->id, old->entries[j].settings->id) == 0)
                peer->entries[i].asked = old->entries[j].asked;
}

/* ---- time ---- */

void hold_answer_no_link(struct peer *peer, struct command *command, bool began, bool has_failed)
{
    struct gateway *gateway = peer->gateway;
    char why[sizeof(peer->why)];

    if (command->expires_us <= gateway->now.mono_us && !began)
        command_answer_late(peer, command);
    else if (adapter_is_off(peer, why, sizeof(why)))
        command_answer_error(gateway, command, "adapter_off", 0, "%s", why);
    else if (has_failed)
        command_answer_error(gateway, command, "connect_failed", 0, "%s", peer->failed_why);
    else if (began)
        command_answer_error(gateway, command, "timeout", 0, "not yet connected: %s", peer->why);
    else
        command_answer_error(gateway, command, "not_connected", 0, "no link in time: %s",
                             peer->why);
}

static void fail_up(struct peer *peer, struct link_wait *wait)
{
    bool began = wait->began, has_failed = peer->failures > wait->failures;

    hold_answer_no_link(peer, take(peer, wait), began, has_failed);
}

/* nobody who asked waits any more: is there another reason to connect? */
void hold_give_up(struct peer *peer)
{
    if (peer_wants_link(peer) || peer->state == PEER_STATE_DISABLED)
        return;
    if (peer->link_up || peer->state == PEER_STATE_CONNECTING)
        let_go(peer, REASON_IDLE, "nobody waits for the connection any more");
    else
        peer_consider(peer);
}

static void timer_waits(struct peer *peer)
{
    struct gateway *gateway = peer->gateway;
    uint64_t now = gateway->now.mono_us;
    bool failed = false;
    struct link_wait *next;

    for (struct link_wait *wait = peer->waits; wait; wait = next) {
        next = wait->next;
        bool hopeless = wait->kind == LINK_WAIT_UP && peer->state == PEER_STATE_BACKOFF &&
                        peer->failures > wait->failures && peer->retry_us >= wait->due_us;
        if (wait->due_us > now && !hopeless) {
            gateway_arm(gateway, wait->due_us);
        } else if (wait->kind == LINK_WAIT_UP) {
            fail_up(peer, wait);
            failed = true;
        } else {
            command_answer_error(gateway, take(peer, wait), "timeout", 0,
                                 "the link is not down yet: %s", peer->why);
        }
    }
    if (failed)
        hold_give_up(peer);
}

void hold_timer(struct peer *peer)
{
    struct gateway *gateway = peer->gateway;
    uint64_t now = gateway->now.mono_us;

    timer_waits(peer);
    if (peer->hold_us && peer->hold_us <= now) {
        peer->hold_us = 0;
        if (peer->link_up || peer->state == PEER_STATE_CONNECTING) {
            contact_begin(peer); /* what is going on comes to its end, and then `linger` */
            contact_activity(peer);
        } else if (peer->state != PEER_STATE_DISABLED) {
            peer_consider(peer);
        }
    }
    if (peer->away_us && peer->away_us <= now)
        hold_is_wanted(peer);
    if (peer->pause_us && peer->pause_us <= now)
        resume(peer, "the pause is over");
    gateway_arm(gateway, peer->hold_us ? peer->hold_us : TIME_NEVER);
    gateway_arm(gateway, peer->away_us ? peer->away_us : TIME_NEVER);
    gateway_arm(gateway, peer->pause_us ? peer->pause_us : TIME_NEVER);
}
