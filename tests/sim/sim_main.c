/* The program: which seeds, for how long; a line per failure that repeats it, and a summary. */
#include "sim.h"
#include "util/num.h"

#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define LINES_KEPT 60
#define HANGS_S    300 /* of real time; a run takes less than one */

struct plan {
    const char *program;
    uint64_t from, to;
    uint64_t minutes;
    uint64_t fresh_s; /* random seeds for so long */
    bool trace, first;
    size_t failures, runs;
    struct sim_totals sum;
};

static void usage(FILE *out)
{
    fputs(
        "Usage: sim_gateway [--seeds FROM-TO | --fresh SECONDS] [--minutes N] [--first] [--trace]\n"
        "Runs the core against a simulated world: for each seed one, 60 virtual minutes long.\n"
        "  --seeds FROM-TO   these seeds (default 1-100)\n"
        "  --fresh SECONDS   random seeds instead, for so long\n"
        "  --minutes N       the length of a run\n"
        "  --first           end at the first failure\n"
        "  --trace           print what happens\n",
        out);
}

/* ---- a run that does not come back says which one it was, too ---- */

static char repeat[256];

static void say_repeat(void)
{
    ssize_t n = write(STDOUT_FILENO, repeat, strlen(repeat));

    (void)n;
}

static void on_signal(int number)
{
    say_repeat();
    raise(number); /* the handler is gone: SA_RESETHAND */
}

void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

static void watch(void)
{
    static const int numbers[] = {SIGABRT, SIGALRM, SIGSEGV, SIGBUS, SIGFPE};
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESETHAND | SA_NODEFER};
    size_t n = __sanitizer_set_death_callback ? 2 : ARRAY_SIZE(numbers); /* it reports the others */

    if (__sanitizer_set_death_callback)
        __sanitizer_set_death_callback(say_repeat);
    for (size_t i = 0; i < n; i++)
        sigaction(numbers[i], &action, NULL);
}

static void note_repeat(const struct plan *plan, uint64_t seed)
{
    snprintf(repeat, sizeof(repeat),
             "seed %" PRIu64 " does not come back\n  repeat: %s --seeds %" PRIu64 "-%" PRIu64
             " --minutes %" PRIu64 " --trace\n",
             seed, plan->program, seed, seed, plan->minutes);
    alarm(HANGS_S);
}

/* ---- runs ---- */

static void add(struct sim_totals *sum, const struct sim_totals *one)
{
    sum->events += one->events;
    sum->actions += one->actions;
    sum->connects += one->connects;
    sum->onlines += one->onlines;
    sum->resets += one->resets;
    sum->notifications += one->notifications;
    sum->values += one->values;
    sum->commands += one->commands;
    sum->faults += one->faults;
    sum->phases += one->phases;
    sum->duplicates += one->duplicates;
    sum->skipped += one->skipped;
    for (size_t i = 0; i < N_RECOVERIES; i++) {
        sum->recoveries[i] += one->recoveries[i];
        sum->worst_recovery_us[i] = MAX_OF(sum->worst_recovery_us[i], one->worst_recovery_us[i]);
    }
}

static struct sim *run(const struct plan *plan, uint64_t seed, size_t keep_lines)
{
    struct sim *sim = calloc(1, sizeof(*sim));

    if (!sim)
        abort();
    sim->options = (struct sim_options){.seed = seed,
                                        .length_us = MIN_TO_US(plan->minutes),
                                        .trace = plan->trace,
                                        .keep_lines = keep_lines};
    sim_run(sim);
    return sim;
}

static void report(const struct plan *plan, uint64_t seed)
{
    struct sim *sim = run(plan, seed, plan->trace ? 0 : LINES_KEPT);

    for (size_t i = sim->n_lines > LINES_KEPT ? sim->n_lines - LINES_KEPT : 0; i < sim->n_lines;
         i++)
        printf("    %s\n", sim->lines[i % LINES_KEPT]);
    for (size_t i = 0; sim->lines && i < LINES_KEPT; i++)
        free(sim->lines[i]);
    free(sim->lines);
    printf("seed %" PRIu64 " failed %s\n  repeat: %s --seeds %" PRIu64 "-%" PRIu64
           " --minutes %" PRIu64 " --trace\n",
           seed, sim->failure, plan->program, seed, seed, plan->minutes);
    fflush(stdout);
    free(sim);
}

static void play(struct plan *plan, uint64_t seed)
{
    note_repeat(plan, seed);
    struct sim *sim = run(plan, seed, 0);

    plan->runs++;
    add(&plan->sum, &sim->totals);
    if (sim->failed) {
        plan->failures++;
        if (plan->trace)
            printf("seed %" PRIu64 " failed %s\n", seed, sim->failure);
        else
            report(plan, seed);
    }
    free(sim);
}

static void summarize(const struct plan *plan, double seconds)
{
    const struct sim_totals *sum = &plan->sum;

    printf("%zu runs of %" PRIu64 " virtual minutes in %.1f s: %zu passed, %zu failed\n"
           "  %" PRIu64 " faults in %" PRIu64 " phases, %" PRIu64 " events, %" PRIu64
           " actions, %" PRIu64 " connects, %" PRIu64 " times online, %" PRIu64 " adapters reset\n"
           "  %" PRIu64 " notifications, %" PRIu64 " values published (%" PRIu64
           " unacknowledged when the broker went, %" PRIu64 " dropped by limits), %" PRIu64
           " commands\n",
           plan->runs, plan->minutes, seconds, plan->runs - plan->failures, plan->failures,
           sum->faults, sum->phases, sum->events, sum->actions, sum->connects, sum->onlines,
           sum->resets, sum->notifications, sum->values, sum->duplicates, sum->skipped,
           sum->commands);
    printf("  back after the last fault:");
    for (size_t i = 0; i < N_RECOVERIES; i++)
        printf("%s %" PRIu64 " %s within %.1f s", i ? "," : "", sum->recoveries[i],
               sim_recovery_name(i), (double)sum->worst_recovery_us[i] / 1e6);
    putchar('\n');
}

static bool parse_range(const char *text, uint64_t *ret_from, uint64_t *ret_to)
{
    char *end;

    errno = 0;
    *ret_from = strtoull(text, &end, 10);
    *ret_to = *end == '-' && end[1] ? strtoull(end + 1, &end, 10) : *ret_from;
    return errno == 0 && !*end && end != text && *ret_from <= *ret_to;
}

static int parse(int argc, char **argv, struct plan *plan)
{
    static const struct option options[] = {
        {"seeds", required_argument, NULL, 's'},
        {"fresh", required_argument, NULL, 'f'},
        {"minutes", required_argument, NULL, 'm'},
        {"trace", no_argument, NULL, 't'},
        {"first", no_argument, NULL, '1'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    uint64_t from, to;
    int c;

    while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0) {
        bool ok = true;
        if (c == 's')
            ok = parse_range(optarg, &plan->from, &plan->to);
        else if (c == 'f' && (ok = parse_range(optarg, &from, &to)))
            plan->fresh_s = from;
        else if (c == 'm' && (ok = parse_range(optarg, &from, &to) && from))
            plan->minutes = from;
        else if (c == 't')
            plan->trace = true;
        else if (c == '1')
            plan->first = true;
        else if (c != 's' && c != 'f' && c != 'm') {
            usage(c == 'h' ? stdout : stderr);
            return c == 'h' ? -1 : 64;
        }
        if (!ok) {
            fprintf(stderr, "%s is no %s\n", optarg, c == 's' ? "range of seeds" : "number");
            return 64;
        }
    }
    return optind == argc ? 0 : 64;
}

static bool goes_on(const struct plan *plan)
{
    return !plan->first || !plan->failures;
}

int main(int argc, char **argv)
{
    struct plan plan = {.program = argv[0], .from = 1, .to = 100, .minutes = 60};
    int r = parse(argc, argv, &plan);
    uint64_t began = time_now().mono_us;

    if (r)
        return r < 0 ? 0 : r;
    watch();
    if (plan.fresh_s) {
        uint32_t seed = 0;
        while (time_now().mono_us - began < S_TO_US(plan.fresh_s) && goes_on(&plan)) {
            if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
                return 1;
            play(&plan, seed);
        }
    } else {
        for (uint64_t seed = plan.from; seed <= plan.to && goes_on(&plan); seed++)
            play(&plan, seed);
    }
    summarize(&plan, (double)(time_now().mono_us - began) / 1e6);
    return plan.failures ? 1 : 0;
}
