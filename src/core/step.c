/*
 * The steps of a sequence, one after the other; see step.h. Starts what a step asks for and notes
 * what came of it. Must not know what the sequence is for, nor what its end means.
 *
 * A `wait` also takes a value that came while the write, read or subscription before it was still
 * on its way: a notification may overtake the answer to the write that caused it.
 */
#include "core/step.h"

#include "util/strbuf.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static struct step_level *level_of(struct sequence *sequence)
{
    return &sequence->levels[sequence->depth];
}

static const char *id_of(const struct sequence *sequence, const struct step_settings *step)
{
    return sequence->peer->entries[step->characteristic].settings->id;
}

/* ---- how it ends ---- */

/* "step 2.1 (write target)" */
static void say_where(const struct sequence *sequence, struct strbuf *out)
{
    const struct step_level *level = &sequence->levels[sequence->depth];
    const struct step_settings *step = level->at < level->n ? &level->steps[level->at] : NULL;
    size_t depth = sequence->depth;

    if (!step && depth) { /* between two rounds */
        step = level->repeat;
        depth--;
    }
    strbuf_puts(out, "step ");
    for (size_t i = 0; i <= depth; i++)
        strbuf_printf(out, "%s%zu", i ? "." : "", sequence->levels[i].at + 1);
    if (!step)
        return;
    switch (step->kind) {
    case STEP_KIND_WRITE: strbuf_printf(out, " (write %s)", id_of(sequence, step)); break;
    case STEP_KIND_READ: strbuf_printf(out, " (read %s)", id_of(sequence, step)); break;
    case STEP_KIND_SUBSCRIBE: strbuf_printf(out, " (subscribe %s)", id_of(sequence, step)); break;
    case STEP_KIND_WAIT: strbuf_printf(out, " (wait for %s)", step->source); break;
    case STEP_KIND_DELAY: strbuf_puts(out, " (delay)"); break;
    case STEP_KIND_REPEAT: strbuf_puts(out, " (repeat)"); break;
    }
}

void step_fail(struct sequence *sequence, const char *code, uint8_t att, const char *format, ...)
{
    struct strbuf where = STRBUF_INIT;
    char text[160];
    va_list ap;

    if (sequence->failed || sequence->done)
        return;
    va_start(ap, format);
    vsnprintf(text, sizeof(text), format, ap);
    va_end(ap);
    say_where(sequence, &where);
    sequence->failed = true;
    sequence->code = code;
    sequence->att = att;
    snprintf(sequence->text, sizeof(sequence->text), "%s: %s", strbuf_str(&where), text);
    strbuf_done(&where);
}

static void advance(struct sequence *sequence)
{
    level_of(sequence)->at++;
    sequence->waits = STEP_WAITS_NOTHING;
    sequence->wait_us = TIME_NEVER;
}

/* ---- starting steps ---- */

static void wait_for(struct sequence *sequence, enum step_waits what, uint64_t at_us)
{
    sequence->waits = what;
    sequence->wait_us = at_us;
    gateway_arm(sequence->peer->gateway, at_us);
}

static void start_write(struct sequence *sequence, const struct step_settings *step)
{
    const struct characteristic_settings *settings =
        sequence->peer->entries[step->characteristic].settings;
    uint8_t data[GATT_VALUE_MAX + FRAME_MAX_MARK];
    size_t length;
    char text[160];

    int error = operand_encode(sequence, step, settings->schema, data, &length, text, sizeof(text));
    if (error) {
        step_fail(sequence, error == CODEC_E_LONG ? "value_too_long" : "invalid_value", 0, "%s",
                  text);
        return;
    }
    if (step->n_fields)
        length = frame_close(settings, data, length);
    sequence->peer->entries[step->characteristic].writes++;
    wait_for(sequence, STEP_WAITS_OPERATION, TIME_NEVER);
    ops_step(sequence->peer, OP_KIND_WRITE, (uint32_t)step->characteristic, data, length,
             sequence->number);
}

static void start_subscribe(struct sequence *sequence, const struct step_settings *step)
{
    wait_for(sequence, STEP_WAITS_SUBSCRIPTION, TIME_NEVER);
    if (!peer_subscribe(sequence->peer, (uint32_t)step->characteristic))
        step_subscription_done(sequence); /* it is there already, or cannot be */
}

static void start_repeat(struct sequence *sequence, const struct step_settings *step)
{
    sequence->levels[++sequence->depth] = (struct step_level){
        .steps = step->steps,
        .n = step->n_steps,
        .repeat = step,
        .round_us = sequence->peer->gateway->now.mono_us,
    };
}

static void start(struct sequence *sequence, const struct step_settings *step)
{
    struct gateway *gateway = sequence->peer->gateway;
    struct step_level *level = level_of(sequence);

    switch (step->kind) {
    case STEP_KIND_WRITE: start_write(sequence, step); break;
    case STEP_KIND_READ:
        wait_for(sequence, STEP_WAITS_OPERATION, TIME_NEVER);
        ops_step(sequence->peer, OP_KIND_READ, (uint32_t)step->characteristic, NULL, 0,
                 sequence->number);
        break;
    case STEP_KIND_SUBSCRIBE: start_subscribe(sequence, step); break;
    case STEP_KIND_WAIT:
        if (level->met & 1u << level->at)
            advance(sequence);
        else
            wait_for(sequence, STEP_WAITS_VALUE, gateway_in(gateway, step->time_ms));
        break;
    case STEP_KIND_DELAY:
        wait_for(sequence, STEP_WAITS_TIME, gateway_in(gateway, step->time_ms));
        break;
    case STEP_KIND_REPEAT: start_repeat(sequence, step); break;
    }
}

/* the repeat at this depth is over: on with the step behind it */
static void leave(struct sequence *sequence, size_t depth)
{
    sequence->depth = depth - 1;
    advance(sequence);
}

static void next_round(struct sequence *sequence)
{
    struct step_level *level = level_of(sequence);

    level->at = 0;
    level->met = 0;
    level->round_us = sequence->peer->gateway->now.mono_us;
    sequence->waits = STEP_WAITS_NOTHING;
    sequence->wait_us = TIME_NEVER;
}

static void end_of_list(struct sequence *sequence)
{
    struct step_level *level = level_of(sequence);

    if (!sequence->depth) {
        sequence->done = true;
        return;
    }
    const struct step_settings *repeat = level->repeat;
    level->round++;
    if (repeat->max && level->round >= repeat->max) {
        if (repeat->source)
            step_fail(sequence, "timeout", 0, "%s did not become as wanted in %ju rounds",
                      repeat->source, (uintmax_t)repeat->max);
        else
            leave(sequence, sequence->depth);
        return;
    }
    uint64_t due_us = level->round_us + MS_TO_US(repeat->time_ms);
    if (due_us > sequence->peer->gateway->now.mono_us)
        wait_for(sequence, STEP_WAITS_ROUND, due_us);
    else
        next_round(sequence);
}

/* Of the repeats that are running the outermost whose `until` is met, unless an operation is still
 * on its way: its answer must find the sequence where it was. */
static void leave_repeats(struct sequence *sequence)
{
    if (sequence->waits == STEP_WAITS_OPERATION || sequence->waits == STEP_WAITS_SUBSCRIPTION)
        return;
    for (size_t i = 1; i <= sequence->depth; i++)
        if (sequence->levels[i].until_met) {
            leave(sequence, i);
            return;
        }
}

void step_begin(struct sequence *sequence)
{
    struct gateway *gateway = sequence->peer->gateway;

    sequence->depth = 0;
    sequence->levels[0] = (struct step_level){
        .steps = sequence->settings->steps,
        .n = sequence->settings->n_steps,
    };
    sequence->waits = STEP_WAITS_NOTHING;
    sequence->wait_us = TIME_NEVER;
    sequence->deadline_us = gateway_in(gateway, sequence->settings->timeout_ms);
    if (sequence->command && sequence->command->timeout_ms)
        sequence->deadline_us =
            MIN_OF(sequence->deadline_us, gateway_in(gateway, sequence->command->timeout_ms));
    gateway_arm(gateway, sequence->deadline_us);
}

/* Comes to an end: a list does not go on for ever without waiting, because each round of a repeat
 * waits until its time has come. */
void step_run(struct sequence *sequence)
{
    leave_repeats(sequence);
    while (sequence->waits == STEP_WAITS_NOTHING && !sequence->done && !sequence->failed) {
        struct step_level *level = level_of(sequence);

        if (level->at == level->n)
            end_of_list(sequence);
        else
            start(sequence, &level->steps[level->at]);
        leave_repeats(sequence);
    }
}

/* ---- what came of them ---- */

void step_operation_done(struct sequence *sequence)
{
    if (sequence->waits == STEP_WAITS_OPERATION)
        advance(sequence);
}

void step_subscription_done(struct sequence *sequence)
{
    if (sequence->waits == STEP_WAITS_SUBSCRIPTION)
        advance(sequence);
}

/* what the value is one of, and its fields */
struct look {
    const struct step_news *news;
    const char *id;
    const struct schema *schema;
};

static bool matches(const struct sequence *sequence, const struct step_settings *step,
                    const struct look *look)
{
    if (!step->source || strcmp(step->source, look->id) != 0)
        return false;
    for (size_t i = 0; i < step->n_where; i++)
        if (!operand_matches(sequence, &step->where[i], look->schema, look->news->values))
            return false;
    return true;
}

/* The first wait that has not had its value, from the step that runs to the next that does
 * something: a value is for one wait only, and they come in order. */
static void meet_wait(struct sequence *sequence, const struct look *look)
{
    struct step_level *level = level_of(sequence);

    for (size_t i = level->at; i < level->n; i++) {
        const struct step_settings *step = &level->steps[i];

        if (step->kind == STEP_KIND_WAIT && !(level->met & 1u << i)) {
            if (!matches(sequence, step, look))
                return;
            level->met |= 1u << i;
            outcome_keep(sequence, look->news);
            if (i == level->at && sequence->waits == STEP_WAITS_VALUE)
                advance(sequence);
            return;
        }
        if (i > level->at && step->kind != STEP_KIND_WAIT && step->kind != STEP_KIND_DELAY)
            return;
    }
}

/* what comes of the characteristic while it is being read: last of all the answer itself */
static bool reads(struct sequence *sequence, const struct step_news *news)
{
    const struct step_level *level = level_of(sequence);

    return sequence->waits == STEP_WAITS_OPERATION &&
           level->steps[level->at].kind == STEP_KIND_READ &&
           level->steps[level->at].characteristic == news->entry;
}

void step_look_at(struct sequence *sequence, const struct step_news *news)
{
    const struct characteristic_settings *settings = sequence->peer->entries[news->entry].settings;
    const struct look look = {news, settings->id, settings->schema};

    if (reads(sequence, news))
        outcome_keep(sequence, news);
    for (size_t i = 1; i <= sequence->depth; i++)
        if (!sequence->levels[i].until_met &&
            matches(sequence, sequence->levels[i].repeat, &look)) {
            sequence->levels[i].until_met = true;
            outcome_keep(sequence, news);
        }
    meet_wait(sequence, &look);
}

void step_time(struct sequence *sequence)
{
    struct gateway *gateway = sequence->peer->gateway;
    uint64_t now = gateway->now.mono_us;

    if (sequence->deadline_us <= now) {
        char took[32];
        time_format_duration(sequence->settings->timeout_ms, took, sizeof(took));
        step_fail(sequence, "timeout", 0, "the whole took longer than its timeout of %s", took);
        return;
    }
    gateway_arm(gateway, sequence->deadline_us);
    if (sequence->wait_us > now) {
        gateway_arm(gateway, sequence->wait_us);
        return;
    }
    switch (sequence->waits) {
    case STEP_WAITS_VALUE: {
        char took[32];
        const struct step_level *level = level_of(sequence);
        time_format_duration(level->steps[level->at].time_ms, took, sizeof(took));
        step_fail(sequence, "timeout", 0, "no such value within %s", took);
        break;
    }
    case STEP_WAITS_TIME: advance(sequence); break;
    case STEP_WAITS_ROUND: next_round(sequence); break;
    case STEP_WAITS_NOTHING:
    case STEP_WAITS_OPERATION:
    case STEP_WAITS_SUBSCRIPTION: break;
    }
}
