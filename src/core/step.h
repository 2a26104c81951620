/*
 * The steps engine's inside: what a running sequence is made of, shared by step.c (one step after
 * the other), sequence.c (which sequence runs, and what becomes of it), operand.c (values that are
 * written and compared) and outcome.c (what was read). Others ask by the functions in world.h.
 *
 * One sequence of a peer runs at a time. Everything that happens to it (an answer, a value, a
 * deadline) only changes its position; drive() in sequence.c then does what comes next. So no step
 * can end a sequence under the feet of the code that is running it.
 */
#pragma once

#include "core/world.h"

enum sequence_purpose {
    SEQUENCE_PURPOSE_ON_CONNECT,
    SEQUENCE_PURPOSE_POLL,
    SEQUENCE_PURPOSE_KEEP_ALIVE,
    SEQUENCE_PURPOSE_COMMAND,
};

enum step_waits {
    STEP_WAITS_NOTHING, /* the next step can begin */
    STEP_WAITS_OPERATION,
    STEP_WAITS_SUBSCRIPTION,
    STEP_WAITS_VALUE, /* until wait_us */
    STEP_WAITS_TIME,  /* a delay, until wait_us */
    STEP_WAITS_ROUND, /* of a repeat, until wait_us */
};

/* One list of steps, within the repeat that it belongs to. */
struct step_level {
    const struct step_settings *steps; /* borrowed */
    size_t n, at;
    uint32_t met;                       /* wait steps whose value came early, a bit each */
    const struct step_settings *repeat; /* borrowed; NULL at the top */
    uint64_t round, round_us;
    bool until_met;
};

struct sequence {
    struct sequence *next;
    struct peer *peer; /* borrowed */
    uint32_t number;   /* never used again */
    enum sequence_purpose purpose;
    const struct sequence_settings *settings;        /* borrowed */
    const struct command_settings *command_settings; /* borrowed; of COMMAND */
    struct command *command;                         /* owned; of COMMAND */
    struct payload_set *given;                       /* owned: its parameters, or NULL */
    uint64_t queue_us;                               /* must have begun by then */
    bool waits_link;                                 /* ... because it waits for the link */
    uint64_t deadline_us;                            /* must have ended by then, once it runs */

    struct step_level levels[STEPS_MAX_DEPTH];
    size_t depth;
    enum step_waits waits;
    uint64_t wait_us; /* TIME_NEVER: no deadline but that of the whole */

    struct outcome *outcome; /* owned: of COMMAND */
    uint64_t written;        /* entries to be read back in the end, a bit each */

    bool done, failed;
    const char *code; /* why it failed: a code of the documentation */
    uint8_t att;
    char text[176];
};

/* step.c */
void step_begin(struct sequence *sequence);
void step_run(struct sequence *sequence); /* until something must be waited for, or the end */
/* the step that is running ends the sequence */
void step_fail(struct sequence *sequence, const char *code, uint8_t att, const char *format, ...)
    PRINTF_LIKE(4, 5);
void step_operation_done(struct sequence *sequence);
void step_subscription_done(struct sequence *sequence);
void step_look_at(struct sequence *sequence, const struct step_news *news);
void step_time(struct sequence *sequence); /* what is due; arms the rest */

/* outcome.c */
/* a step read it, or waited for it */
void outcome_keep(struct sequence *sequence, const struct step_news *news);
void outcome_write(const struct sequence *sequence,
                   struct strbuf *out); /* nothing if there is none */
struct outcome *outcome_free(struct outcome *outcome);

/* operand.c */
/* The bytes of a WRITE. 0, or a codec_error with its explanation in `text`. */
MUST_CHECK
int operand_encode(const struct sequence *sequence, const struct step_settings *step,
                   const struct schema *schema, uint8_t buf[static GATT_VALUE_MAX],
                   size_t *ret_length, char *text, size_t size);
bool operand_matches(const struct sequence *sequence, const struct step_condition *condition,
                     const struct schema *schema, const struct value *values);
/* Parses a command's parameters into sequence->given. False: *ret_code and `text` say why not. */
MUST_CHECK
bool operand_parse(struct sequence *sequence, const void *payload, size_t length,
                   const char **ret_code, char *text, size_t size);
