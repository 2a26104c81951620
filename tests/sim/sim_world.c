/*
 * Virtual time: jobs in their order, events into the core, actions out of it, and one run from
 * start to stop. Must not know what the jobs do.
 */
#include "sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SLOW_RECOVERY_US (SIM_RECOVERY_US + MS_TO_US(SLOWEST_RETRY_MS))
#define TODAY_US         1700000000000000 /* 2023-11-14 */
#define STOP_US          S_TO_US(2)
#define NEAR_US          S_TO_US(5)

/* ---- words ---- */

void sim_trace(struct sim *sim, const char *format, ...)
{
    char text[400];
    va_list ap;

    if (!SIM_TRACING(sim))
        return;
    int n = snprintf(text, sizeof(text), "%12.6f ", (double)sim->now.mono_us / 1e6);
    va_start(ap, format);
    vsnprintf(text + n, sizeof(text) - (size_t)n, format, ap);
    va_end(ap);
    if (sim->options.trace)
        puts(text);
    if (sim->options.keep_lines) {
        char **line = &sim->lines[sim->n_lines++ % sim->options.keep_lines];
        free(*line);
        *line = strdup(text);
    }
}

void sim_fail(struct sim *sim, const char *format, ...)
{
    va_list ap;

    if (sim->failed)
        return; /* the first is the cause */
    sim->failed = true;
    int n = snprintf(sim->failure, sizeof(sim->failure),
                     "after %.3f s: ", (double)(sim->now.mono_us - sim->start_us) / 1e6);
    va_start(ap, format);
    vsnprintf(sim->failure + n, sizeof(sim->failure) - (size_t)n, format, ap);
    va_end(ap);
    sim_trace(sim, "FAILED %s", sim->failure);
}

/* ---- jobs ---- */

static bool before(const struct job *a, const struct job *b)
{
    return a->at_us < b->at_us || (a->at_us == b->at_us && a->order < b->order);
}

static void sift_up(struct sim *sim, size_t i)
{
    struct job job = sim->jobs[i];

    for (; i && before(&job, &sim->jobs[(i - 1) / 2]); i = (i - 1) / 2)
        sim->jobs[i] = sim->jobs[(i - 1) / 2];
    sim->jobs[i] = job;
}

static struct job pop(struct sim *sim)
{
    struct job first = sim->jobs[0], last = sim->jobs[--sim->n_jobs];
    size_t i = 0;

    for (;;) {
        size_t child = i * 2 + 1;
        if (child + 1 < sim->n_jobs && before(&sim->jobs[child + 1], &sim->jobs[child]))
            child++;
        if (child >= sim->n_jobs || !before(&sim->jobs[child], &last))
            break;
        sim->jobs[i] = sim->jobs[child];
        i = child;
    }
    sim->jobs[i] = last;
    return first;
}

void sim_schedule(struct sim *sim, uint64_t delay_us, job_fn run, uint64_t a, uint64_t b)
{
    if (sim->n_jobs == sim->jobs_size) {
        sim->jobs_size = MAX_OF(sim->jobs_size * 2, (size_t)256);
        sim->jobs = reallocarray(sim->jobs, sim->jobs_size, sizeof(*sim->jobs));
        if (!sim->jobs)
            abort();
    }
    sim->jobs[sim->n_jobs] = (struct job){
        .at_us = sim->now.mono_us + delay_us, .order = sim->order++, .run = run, .a = a, .b = b};
    sift_up(sim, sim->n_jobs++);
}

/* ---- events and actions ---- */

static void trace_action(struct sim *sim, const struct action *action)
{
    static const char *const names[] = {
        [ACTION_SCAN_START] = "scan start",
        [ACTION_SCAN_STOP] = "scan stop",
        [ACTION_POWER] = "power",
        [ACTION_CONNECT] = "connect",
        [ACTION_DISCONNECT] = "disconnect",
        [ACTION_RESOLVE] = "resolve",
        [ACTION_SUBSCRIBE] = "subscribe",
        [ACTION_UNSUBSCRIBE] = "unsubscribe",
        [ACTION_READ] = "read",
        [ACTION_WRITE] = "write",
        [ACTION_INSPECT] = "inspect",
        [ACTION_PAIR] = "pair",
        [ACTION_REMOVE_DEVICE] = "remove device",
    };

    if (action->type < ARRAY_SIZE(names) && names[action->type])
        sim_trace(sim, "   -> %s adapter %u device %u peer %d op %u.%u", names[action->type],
                  action->adapter, action->device, (int)action->op.peer, action->op.generation,
                  action->op.id);
    else if (action->type == ACTION_PUBLISH)
        sim_trace(sim, "   -> publish %llu %s %.*s", (unsigned long long)action->publish.token,
                  action->publish.topic, (int)MIN_OF(action->publish.length, (size_t)160),
                  (const char *)action->publish.payload);
    else if (action->type == ACTION_LOG)
        sim_trace(sim, "   -> log %s: %s", action->log.area, action->log.text);
    else if (action->type == ACTION_QUIT)
        sim_trace(sim, "   -> quit");
}

static void execute(struct sim *sim, const struct action *action)
{
    if (SIM_TRACING(sim))
        trace_action(sim, action);
    sim->totals.actions++;
    sim_check_action(sim, action);
    switch (action->type) {
    case ACTION_SCAN_START:
    case ACTION_SCAN_STOP:
    case ACTION_POWER:
    case ACTION_CONNECT:
    case ACTION_DISCONNECT:
    case ACTION_RESOLVE:
    case ACTION_SUBSCRIBE:
    case ACTION_UNSUBSCRIBE:
    case ACTION_READ:
    case ACTION_WRITE:
    case ACTION_INSPECT:
    case ACTION_PAIR:
    case ACTION_REMOVE_DEVICE:
    case ACTION_TELL_DEVICES: sim_bluez_action(sim, action); break;
    case ACTION_PUBLISH:
    case ACTION_TOPIC_SUBSCRIBE:
    case ACTION_TOPIC_UNSUBSCRIBE:
    case ACTION_RECONNECT: sim_broker_action(sim, action); break;
    case ACTION_LOG:
    case ACTION_LOG_LEVEL:
    case ACTION_RELOAD:
    case ACTION_STATUS: break;
    case ACTION_QUIT: sim->quit = true; break;
    }
}

/* As the loop does it: near deadlines to a millisecond, far ones to a quarter of a second. */
static void arm(struct sim *sim)
{
    uint64_t due = gateway_next_deadline(sim->gateway);

    if (due == sim->timer_due)
        return;
    sim->timer_due = sim->timer_us = due;
    if (due == TIME_NEVER)
        return;
    uint64_t slack = due < sim->now.mono_us + NEAR_US ? 1000 : 250000;
    sim->timer_us = MAX_OF(due, sim->now.mono_us) + sim_between(sim, 0, slack);
}

void sim_execute_all(struct sim *sim, const struct event *event)
{
    if (sim->actions.failed)
        abort();
    for (size_t i = 0; i < sim->actions.n && !sim->failed; i++)
        execute(sim, &sim->actions.list[i]);
    if (!sim->failed)
        sim_check_event(sim, event);
    arm(sim);
}

void sim_emit(struct sim *sim, const struct event *event)
{
    if (sim->failed || sim->quit)
        return;
    sim->totals.events++;
    actions_reset(&sim->actions);
    gateway_handle(sim->gateway, sim->now, event, &sim->actions);
    sim_execute_all(sim, event);
}

static void fire_timer(struct sim *sim)
{
    struct event event = {.type = EVENT_TIMER};

    sim->timers_at_once = sim->timer_due == sim->now.mono_us ? sim->timers_at_once + 1 : 0;
    sim->timer_due = 0; /* a one-shot: must be armed anew */
    sim_emit(sim, &event);
    if (gateway_next_deadline(sim->gateway) <= sim->now.mono_us && ++sim->timers_at_once > 3)
        sim_fail(sim, "busy loop: the timer is due again at once");
}

/* ---- a run ---- */

static void watch_recovery(struct sim *sim, uint64_t phase, uint64_t b)
{
    if (!sim->quiet || phase != sim->totals.phases || sim->stopping)
        return;
    sim_recover_watch(sim);
    sim_schedule(sim, S_TO_US(1), watch_recovery, phase, 0);
}

static void begin_phase(struct sim *sim, uint64_t a, uint64_t b);

static void end_phase(struct sim *sim, uint64_t a, uint64_t b)
{
    uint64_t wait_us = sim_chance(sim, 25) ? SLOW_RECOVERY_US : SIM_RECOVERY_US;

    sim->quiet = true;
    sim->quiet_us = sim->now.mono_us;
    sim_trace(sim, "---- the last fault is over");
    sim->totals.phases++; /* what is planned from here on is of the next one */
    sim_heal(sim);
    sim_recover_begin(sim);
    watch_recovery(sim, sim->totals.phases, 0);
    sim_schedule(sim, wait_us + 1, begin_phase, true, 0);
}

static void begin_phase(struct sim *sim, uint64_t checked, uint64_t b)
{
    if (checked)
        sim_recover_check(sim);
    sim_trace(sim, "---- faults begin");
    sim->quiet = false;
    sim_fault_again(sim);
    sim_schedule(sim, sim_spread(sim, S_TO_US(20), MIN_TO_US(15)), end_phase, 0, 0);
}

static void stop(struct sim *sim, uint64_t a, uint64_t b)
{
    struct event event = {.type = EVENT_STOP};

    sim_trace(sim, "---- stop");
    sim->stopping = true;
    sim->stop_us = sim->now.mono_us;
    sim_emit(sim, &event);
}

/* A machine without a clock of its own is told the time when it has a network. */
static void tell_time(struct sim *sim, uint64_t a, uint64_t b)
{
    sim_trace(sim, "---- the clock is set");
    sim->now.real_us = TODAY_US + (int64_t)sim->now.mono_us;
}

static void start(struct sim *sim)
{
    struct gateway_options options = {
        .settings = &sim->settings, .seed = sim->options.seed, .version = "sim"};
    struct event event = {.type = EVENT_START};

    sim->random = sim->options.seed * 0x2545f4914f6cdd1dULL;
    bool has_clock = sim->options.seed % 4;
    sim->now = (struct now){.mono_us = S_TO_US(1), .real_us = has_clock ? TODAY_US : 0};
    sim->start_us = sim->now.mono_us;
    sim->end_us = sim->start_us + sim->options.length_us;
    sim->timer_due = sim->timer_us = TIME_NEVER;
    if (sim->options.keep_lines)
        sim->lines = calloc(sim->options.keep_lines, sizeof(*sim->lines));
    sim_settings_make(sim);
    if (gateway_new(&options, &sim->gateway) < 0)
        abort();
    sim_emit(sim, &event);
    if (!has_clock)
        sim_schedule(sim, S_TO_US(1 + sim->options.seed % 600), tell_time, 0, 0);
    sim_fault_start(sim);
    begin_phase(sim, 0, 0);
    sim_schedule(sim, sim->options.length_us, stop, 0, 0);
}

static void pass(struct sim *sim, uint64_t to_us)
{
    if (to_us > sim->now.mono_us) {
        sim->now.real_us += (int64_t)(to_us - sim->now.mono_us);
        sim->now.mono_us = to_us;
    }
}

static void done(struct sim *sim)
{
    gateway_free(sim->gateway);
    sim->gateway = NULL;
    actions_done(&sim->actions);
    sim_stream_done(sim);
    sim_retain_done(sim);
    sim_settings_free(&sim->settings);
    free(sim->commands);
    free(sim->jobs);
    sim->commands = NULL;
    sim->jobs = NULL;
}

/* What the run found stays in *sim; sim->lines belongs to the caller. */
void sim_run(struct sim *sim)
{
    start(sim);
    while (!sim->failed && !sim->quit) {
        uint64_t next_us = sim->n_jobs ? sim->jobs[0].at_us : TIME_NEVER;
        if (sim->stopping && MIN_OF(next_us, sim->timer_us) > sim->stop_us + STOP_US) {
            pass(sim, sim->stop_us + STOP_US);
            sim_fail(sim, "still there 2 s after the stop");
        } else if (sim->timer_us <= next_us) {
            pass(sim, sim->timer_us);
            fire_timer(sim);
        } else {
            pass(sim, next_us);
            struct job job = pop(sim);
            job.run(sim, job.a, job.b);
        }
    }
    if (!sim->failed)
        sim_commands_done(sim);
    done(sim);
}
