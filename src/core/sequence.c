/*
 * Which sequence of a peer runs, and what becomes of it: `on_connect` while the peer is being set
 * up, then commands in the order they came, then `poll` and `keep_alive` when they are due. One at
 * a time, so that no request to a peer gets in the way of another's answer. Must not know what a
 * step does.
 */
#include "core/step.h"

#include "util/cleanup.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEQUENCES_MAX 8 /* commands of one peer that wait */

/* ---- life ---- */

static struct sequence *sequence_new(struct peer *peer, enum sequence_purpose purpose,
                                     const struct sequence_settings *settings)
{
    struct sequence *sequence = calloc(1, sizeof(*sequence));

    if (!sequence)
        return NULL;
    if (++peer->gateway->sequence_ids == 0)
        peer->gateway->sequence_ids = 1;
    sequence->number = peer->gateway->sequence_ids;
    sequence->peer = peer;
    sequence->purpose = purpose;
    sequence->settings = settings;
    sequence->queue_us = sequence->deadline_us = sequence->wait_us = TIME_NEVER;
    return sequence;
}

static struct sequence *sequence_free(struct sequence *sequence)
{
    if (!sequence)
        return NULL;
    command_free(sequence->command);
    outcome_free(sequence->outcome);
    free(sequence->given);
    free(sequence);
    return NULL;
}

static const char *purpose_name(const struct sequence *sequence)
{
    switch (sequence->purpose) {
    case SEQUENCE_PURPOSE_ON_CONNECT: return "on_connect";
    case SEQUENCE_PURPOSE_POLL: return "poll";
    case SEQUENCE_PURPOSE_KEEP_ALIVE: return "keep_alive";
    case SEQUENCE_PURPOSE_COMMAND: return sequence->command_settings->id;
    }
    return "";
}

/* answers and frees; the sequence is in no list any more */
static void cancel(struct sequence *sequence, const char *code, const char *message)
{
    struct peer *peer = sequence->peer;

    ops_drop_step(peer, sequence->number);
    command_answer_error(peer->gateway, TAKE_PTR(sequence->command), code, 0, "%s", message);
    sequence_free(sequence);
}

/* ---- the end ---- */

/* Refusals are not mended by trying again at once. */
static bool is_refusal(const char *code)
{
    return strcmp(code, "timeout") != 0 && strcmp(code, "not_connected") != 0;
}

static void on_connect_ended(struct peer *peer, const struct sequence *sequence)
{
    char why[sizeof(peer->why)];

    if (!sequence->failed) {
        peer_configured(peer);
        return;
    }
    snprintf(why, sizeof(why), "on_connect, %s", sequence->text);
    peer_disconnect(peer, REASON_ON_CONNECT_FAILED, true, is_refusal(sequence->code), why);
}

/* polls: the first failure of a row is said, then ever more rarely */
static void poll_ended(struct peer *peer, const struct sequence *sequence)
{
    unsigned *failures = sequence->purpose == SEQUENCE_PURPOSE_POLL ? &peer->poll_failures
                                                                    : &peer->keep_alive_failures;

    if (!sequence->failed) {
        if (*failures)
            actions_log(peer->gateway->actions, LOG_LEVEL_INFO, peer->log_area,
                        "%s: works again after %u failures", purpose_name(sequence), *failures);
        *failures = 0;
        return;
    }
    ++*failures;
    if (!(*failures & (*failures - 1)))
        actions_log(peer->gateway->actions, LOG_LEVEL_WARNING, peer->log_area,
                    "%s failed: %s (failure %u in a row)", purpose_name(sequence), sequence->text,
                    *failures);
}

static void answer(struct sequence *sequence)
{
    _cleanup_(strbuf_done) struct strbuf data = STRBUF_INIT;

    outcome_write(sequence, &data);
    command_answer_ok(sequence->peer->gateway, TAKE_PTR(sequence->command), &data);
}

static void read_back(struct peer *peer, const struct sequence *sequence)
{
    for (uint32_t i = 0; i < peer->n_entries; i++)
        if (sequence->written & UINT64_C(1) << i)
            ops_read_back(peer, i);
}

static void end(struct peer *peer)
{
    struct sequence *sequence = TAKE_PTR(peer->sequence);

    ops_drop_step(peer, sequence->number);
    read_back(peer, sequence); /* before what may end the link; that waits for it */
    switch (sequence->purpose) {
    case SEQUENCE_PURPOSE_ON_CONNECT: on_connect_ended(peer, sequence); break;
    case SEQUENCE_PURPOSE_POLL:
    case SEQUENCE_PURPOSE_KEEP_ALIVE: poll_ended(peer, sequence); break;
    case SEQUENCE_PURPOSE_COMMAND:
        if (sequence->failed)
            command_answer_error(peer->gateway, TAKE_PTR(sequence->command), sequence->code,
                                 sequence->att, "%s", sequence->text);
        else
            answer(sequence);
        break;
    }
    sequence_free(sequence);
}

/* ---- which one ---- */

static struct sequence *take_command(struct peer *peer)
{
    struct sequence *sequence = peer->sequences;

    if (sequence) {
        peer->sequences = sequence->next;
        peer->n_sequences--;
        sequence->next = NULL;
    }
    return sequence;
}

/* NULL: not now. One that is late does not make up for what it missed. */
static struct sequence *take_due(struct peer *peer, enum sequence_purpose purpose,
                                 const struct sequence_settings *settings, uint64_t *due_us)
{
    struct gateway *gateway = peer->gateway;

    if (*due_us > gateway->now.mono_us)
        return NULL;
    *due_us = settings->every_ms ? gateway_in(gateway, settings->every_ms) : TIME_NEVER;
    gateway_arm(gateway, *due_us);
    return sequence_new(peer, purpose, settings);
}

static struct sequence *next(struct peer *peer)
{
    const struct device_settings *settings = peer->settings;

    if (peer->state != PEER_STATE_ONLINE)
        return NULL;
    struct sequence *sequence = take_command(peer);
    while (sequence && sequence->command->expires_us <= peer->gateway->now.mono_us) {
        command_answer_late(peer, TAKE_PTR(sequence->command));
        sequence_free(sequence);
        sequence = take_command(peer);
    }
    if (!sequence)
        sequence = take_due(peer, SEQUENCE_PURPOSE_POLL, &settings->poll, &peer->poll_due_us);
    if (!sequence)
        sequence = take_due(peer, SEQUENCE_PURPOSE_KEEP_ALIVE, &settings->keep_alive,
                            &peer->keep_alive_due_us);
    return sequence;
}

static void drive(struct peer *peer)
{
    bool changed = false;

    if (peer->driving)
        return; /* what was noted is seen below */
    peer->driving = true;
    for (;;) {
        if (!peer->sequence) {
            peer->sequence = next(peer);
            if (!peer->sequence)
                break;
            step_begin(peer->sequence);
            changed |= !step_keeps_alive(peer);
        }
        step_run(peer->sequence);
        if (!peer->sequence->done && !peer->sequence->failed)
            break;
        changed |= !step_keeps_alive(peer);
        end(peer);
    }
    peer->driving = false;
    if (changed || peer->linger_us == TIME_NEVER) /* keep_alive is no use of the link */
        contact_activity(peer);
}

/* ---- what others tell ---- */

bool step_is_busy(const struct peer *peer)
{
    return peer->sequence || peer->sequences;
}

bool step_keeps_alive(const struct peer *peer)
{
    return peer->sequence && peer->sequence->purpose == SEQUENCE_PURPOSE_KEEP_ALIVE &&
           !peer->sequences;
}

void step_configure(struct peer *peer)
{
    struct gateway *gateway = peer->gateway;

    peer->sequence = sequence_new(peer, SEQUENCE_PURPOSE_ON_CONNECT, &peer->settings->on_connect);
    if (!peer->sequence) {
        peer_disconnect(peer, REASON_ON_CONNECT_FAILED, true, false, "out of memory");
        return;
    }
    peer_enter_state(peer, PEER_STATE_CONFIGURING, REASON_CONFIGURING, "running on_connect");
    step_begin(peer->sequence);
    /* its own deadline comes first, and has better words */
    peer->attempt_us = peer->sequence->deadline_us + MS_TO_US(1000);
    peer->deadline_us = peer->attempt_us;
    gateway_arm(gateway, peer->deadline_us);
    drive(peer);
}

void step_configure_end(struct peer *peer)
{
    if (peer->sequence && peer->sequence->purpose == SEQUENCE_PURPOSE_ON_CONNECT)
        cancel(TAKE_PTR(peer->sequence), "cancelled", "it is not wanted any more");
}

void step_online(struct peer *peer)
{
    struct gateway *gateway = peer->gateway;
    const struct device_settings *settings = peer->settings;
    bool held = settings->connection.mode == CONNECTION_MODE_PERSISTENT;

    if (settings->poll.n_steps &&
        (held || !settings->poll.every_ms || peer->poll_due_us == TIME_NEVER))
        peer->poll_due_us = gateway->now.mono_us;
    if (settings->keep_alive.n_steps)
        peer->keep_alive_due_us = gateway_in(gateway, settings->keep_alive.every_ms);
    gateway_arm(gateway, peer->poll_due_us);
    gateway_arm(gateway, peer->keep_alive_due_us);
    drive(peer);
}

void step_resume(struct peer *peer)
{
    drive(peer);
}

void step_operation(struct peer *peer, uint32_t number, const char *code, uint8_t att,
                    const char *text)
{
    struct sequence *sequence = peer->sequence;

    if (!sequence || sequence->number != number)
        return; /* it has ended meanwhile */
    if (code)
        step_fail(sequence, code, att, "%s", text);
    else
        step_operation_done(sequence);
    drive(peer);
}

/* A row of writes is read back once, in the end; one whose sequence was cut short on the way, at
 * once. What only steps write are the peer's orders, no values. */
void step_wrote(struct peer *peer, const struct gatt_op *op, size_t length)
{
    struct sequence *sequence = peer->sequence;
    bool goes_on = sequence && sequence->number == op->step;

    if (!peer->entries[op->entry].settings->writable ||
        (goes_on && sequence->purpose != SEQUENCE_PURPOSE_COMMAND &&
         sequence->purpose != SEQUENCE_PURPOSE_ON_CONNECT))
        return;
    if (!ops_can_read_back(peer, op))
        ops_publish_assumed(peer, op, length);
    else if (goes_on)
        sequence->written |= UINT64_C(1) << op->entry;
    else
        ops_read_back(peer, op->entry);
}

bool step_subscribed(struct peer *peer)
{
    struct sequence *sequence = peer->sequence;

    if (!sequence || sequence->waits != STEP_WAITS_SUBSCRIPTION)
        return false;
    peer->deadline_us = peer->attempt_us;
    step_subscription_done(sequence);
    drive(peer);
    return true;
}

void step_value(struct peer *peer, const struct step_news *news)
{
    struct sequence *sequence = peer->sequence;

    if (!sequence)
        return;
    sequence->written &= ~(UINT64_C(1) << news->entry); /* its value now is published */
    step_look_at(sequence, news);
    drive(peer);
}

/* whether the steps subscribe to one of the entries on this source themselves */
static bool subscribes(const struct peer *peer, const struct step_settings *steps, size_t n,
                       uint32_t source)
{
    for (size_t i = 0; i < n; i++)
        if ((steps[i].kind == STEP_KIND_SUBSCRIBE &&
             peer->entries[steps[i].characteristic].source == source) ||
            subscribes(peer, steps[i].steps, steps[i].n_steps, source))
            return true;
    return false;
}

bool step_subscribes_later(const struct peer *peer, uint32_t source)
{
    return !peer->configured && subscribes(peer, peer->settings->on_connect.steps,
                                           peer->settings->on_connect.n_steps, source);
}

/* ---- commands ---- */

/* all that the parameters go into, before anything is done */
static bool check_steps(const struct sequence *sequence, const struct step_settings *steps,
                        size_t n, const char **ret_code, char *text, size_t size)
{
    uint8_t data[GATT_VALUE_MAX];
    size_t length;

    for (size_t i = 0; i < n; i++) {
        const struct step_settings *step = &steps[i];

        if (step->kind == STEP_KIND_WRITE) {
            int error = operand_encode(
                sequence, step, sequence->peer->entries[step->characteristic].settings->schema,
                data, &length, text, size);
            if (error) {
                *ret_code = error == CODEC_E_LONG ? "value_too_long" : "invalid_value";
                return false;
            }
        }
        if (!check_steps(sequence, step->steps, step->n_steps, ret_code, text, size))
            return false;
    }
    return true;
}

/* what the new one puts an end to: an older one of the same name, and those it `cancels` */
static void cancel_older(struct peer *peer, struct sequence *sequence)
{
    const struct command_settings *newer = sequence->command_settings;
    char message[128];

    snprintf(message, sizeof(message), "a newer command came: %s", newer->id);
    for (struct sequence **link = &peer->sequences; *link;) {
        struct sequence *older = *link;

        if (!(newer->cancels & 1u << (older->command_settings - peer->settings->commands))) {
            link = &older->next;
            continue;
        }
        *link = older->next;
        peer->n_sequences--;
        cancel(older, "cancelled", message);
    }
    const struct sequence *running = peer->sequence;
    if (running && running->purpose == SEQUENCE_PURPOSE_COMMAND &&
        newer->cancels & 1u << (running->command_settings - peer->settings->commands)) {
        sequence->written |= running->written; /* ... and what it still had to publish */
        cancel(TAKE_PTR(peer->sequence), "cancelled", message);
    }
}

static void enqueue(struct peer *peer, struct sequence *sequence)
{
    struct gateway *gateway = peer->gateway;
    struct sequence **link = &peer->sequences;

    sequence->waits_link = peer->state != PEER_STATE_ONLINE;
    sequence->queue_us = command_queue_until(peer, sequence->command, !sequence->waits_link);
    gateway_arm(gateway, sequence->queue_us);
    while (*link)
        link = &(*link)->next;
    *link = sequence;
    peer->n_sequences++;
    contact_begin(peer);
    contact_activity(peer);
    drive(peer);
}

void step_command(struct peer *peer, size_t index, const void *payload, size_t length,
                  struct command *command)
{
    struct gateway *gateway = peer->gateway;
    const struct command_settings *settings = &peer->settings->commands[index];
    const char *code = "internal";
    char text[200] = "out of memory";

    if (hold_is_disabled(peer)) {
        command_answer_error(gateway, command, gateway->stopping ? "cancelled" : "disabled", 0,
                             "%s", peer->why);
        return;
    }
    struct sequence *sequence = sequence_new(peer, SEQUENCE_PURPOSE_COMMAND, &settings->sequence);
    if (!sequence) {
        command_answer_error(gateway, command, code, 0, "%s", text);
        return;
    }
    sequence->command_settings = settings;
    sequence->command = command;
    if (!operand_parse(sequence, payload, length, &code, text, sizeof(text)) ||
        !check_steps(sequence, settings->sequence.steps, settings->sequence.n_steps, &code, text,
                     sizeof(text))) {
        cancel(sequence, code, text);
        return;
    }
    if (peer->state != PEER_STATE_ONLINE && !command_queue_ms(peer, command)) {
        cancel(sequence, "not_connected", peer->why);
        return;
    }
    cancel_older(peer, sequence);
    if (peer->n_sequences >= SEQUENCES_MAX) {
        snprintf(text, sizeof(text), "%d commands are waiting for this device already",
                 SEQUENCES_MAX);
        cancel(sequence, "queue_full", text);
        return;
    }
    enqueue(peer, sequence);
}

/* ---- the end of a link, of everything; time ---- */

void step_link_lost(struct peer *peer)
{
    struct gateway *gateway = peer->gateway;

    peer->configured = false;
    peer->keep_alive_due_us = TIME_NEVER;
    if (peer->settings->connection.mode == CONNECTION_MODE_PERSISTENT ||
        !peer->settings->poll.every_ms)
        peer->poll_due_us = TIME_NEVER;
    if (peer->sequence)
        cancel(TAKE_PTR(peer->sequence), "not_connected",
               "the link was lost on the way: it may or may not have been done");
    for (struct sequence **link = &peer->sequences; *link;) {
        struct sequence *sequence = *link;

        if (!command_queue_ms(peer, sequence->command)) {
            *link = sequence->next;
            peer->n_sequences--;
            cancel(sequence, "not_connected", "the link was lost");
            continue;
        }
        if (!sequence->waits_link) {
            sequence->waits_link = true;
            sequence->queue_us = command_queue_until(peer, sequence->command, false);
            gateway_arm(gateway, sequence->queue_us);
        }
        link = &sequence->next;
    }
}

void step_cancel_all(struct peer *peer, const char *code, const char *message)
{
    if (peer->sequence)
        cancel(TAKE_PTR(peer->sequence), code, message);
    for (struct sequence *sequence; (sequence = take_command(peer));)
        cancel(sequence, code, message);
}

void step_settings_moved(struct peer *peer)
{
    struct sequence *sequence = peer->sequence;

    if (!sequence)
        return;
    switch (sequence->purpose) {
    case SEQUENCE_PURPOSE_ON_CONNECT: sequence->settings = &peer->settings->on_connect; break;
    case SEQUENCE_PURPOSE_POLL: sequence->settings = &peer->settings->poll; break;
    case SEQUENCE_PURPOSE_KEEP_ALIVE: sequence->settings = &peer->settings->keep_alive; break;
    case SEQUENCE_PURPOSE_COMMAND: break; /* the list of commands stayed where it was */
    }
}

void step_renew(struct peer *peer, const struct device_settings *old)
{
    struct gateway *gateway = peer->gateway;
    const struct device_settings *settings = peer->settings;
    bool held = settings->connection.mode == CONNECTION_MODE_PERSISTENT;

    if (!settings->poll.n_steps)
        peer->poll_due_us = TIME_NEVER;
    else if (settings->poll.hash != old->poll.hash &&
             (peer->state == PEER_STATE_ONLINE || (!held && settings->poll.every_ms)))
        peer->poll_due_us = gateway->now.mono_us;
    if (!settings->keep_alive.n_steps)
        peer->keep_alive_due_us = TIME_NEVER;
    else if (settings->keep_alive.hash != old->keep_alive.hash && peer->state == PEER_STATE_ONLINE)
        peer->keep_alive_due_us = gateway_in(gateway, settings->keep_alive.every_ms);
    gateway_arm(gateway, peer->poll_due_us);
    gateway_arm(gateway, peer->keep_alive_due_us);
}

void step_done(struct peer *peer)
{
    peer->sequence = sequence_free(peer->sequence);
    for (struct sequence *sequence; (sequence = take_command(peer));)
        sequence_free(sequence);
}

static void timer_queue(struct peer *peer)
{
    struct gateway *gateway = peer->gateway;

    for (struct sequence **link = &peer->sequences; *link;) {
        struct sequence *sequence = *link;

        if (sequence->queue_us > gateway->now.mono_us) {
            gateway_arm(gateway, sequence->queue_us);
            link = &sequence->next;
            continue;
        }
        *link = sequence->next;
        peer->n_sequences--;
        command_answer_late(peer, TAKE_PTR(sequence->command));
        sequence_free(sequence);
    }
}

void step_timer(struct peer *peer)
{
    struct gateway *gateway = peer->gateway;
    uint64_t now = gateway->now.mono_us;

    timer_queue(peer);
    if (peer->sequence)
        step_time(peer->sequence);
    drive(peer);
    /* what is due while there is no link, or while another one runs, is done as soon as can be */
    if (peer->poll_due_us > now)
        gateway_arm(gateway, peer->poll_due_us);
    if (peer->keep_alive_due_us > now)
        gateway_arm(gateway, peer->keep_alive_due_us);
}
