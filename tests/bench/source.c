/*
 * Plays org.bluez for the benchmark (fake.c), and sends values and advertisements at a rate.
 *
 * bench_source DEVICES SIZE FILE: says `ready`, `subscribed N NS` when all are, and takes lines:
 *   notify RATE COUNT    the next COUNT values, round robin; `sent FIRST COUNT`; their times are in
 *                        FILE. Rate 0: as fast as the bus takes them
 *   adverts RATE COUNT   as many advertisements of peripherals that nobody asked for; `adverts
 * COUNT`
 */
#include "clock.h"
#include "fake.h"

#include <poll.h>
#include <string.h>
#include <sys/prctl.h>

struct source {
    sd_bus *bus; /* owned */
    struct fake fake;
    struct times *times;
    bool told;
    char line[256];
    size_t line_length;
};

static void process(struct source *source)
{
    fake_process(&source->fake);
    if (source->fake.n_notifying == source->fake.n_devices && !source->told) {
        source->told = true;
        printf("subscribed %u %llu\n", source->fake.n_notifying, (unsigned long long)clock_ns());
    }
}

/* Calls are answered until `until_ns`. */
static void run_until(struct source *source, uint64_t until_ns)
{
    for (;;) {
        process(source);
        uint64_t now = clock_ns();
        if (now >= until_ns)
            return;
        struct timespec wait = {.tv_sec = (time_t)((until_ns - now) / 1000000000),
                                .tv_nsec = (long)((until_ns - now) % 1000000000)};
        struct pollfd fd = {.fd = sd_bus_get_fd(source->bus), .events = POLLIN};
        (void)ppoll(&fd, 1, &wait, NULL);
    }
}

static void stream(struct source *source, bool adverts, unsigned rate, unsigned count)
{
    struct fake *fake = &source->fake;
    uint32_t first = fake->sequence;
    uint64_t start = clock_ns();

    for (unsigned i = 0; i < count; i++) {
        uint64_t due = start + (rate ? UINT64_C(1000000000) * i / rate : 0);
        if (rate && (due > clock_ns() || i % 64 == 0))
            run_until(source, due);
        if (adverts) {
            fake_advert(fake, i);
            continue;
        }
        source->times->at_ns[fake->sequence % TIMES_MAX] = clock_ns();
        fake_notify(fake);
    }
    if (adverts)
        printf("adverts %u\n", count);
    else
        printf("sent %u %u\n", first, count);
}

static void command(struct source *source, const char *line)
{
    unsigned rate, count;
    char what[16];

    if (sscanf(line, "%15s %u %u", what, &rate, &count) != 3)
        return;
    stream(source, strcmp(what, "adverts") == 0, rate, count);
}

/* false: nobody is there any more */
static bool read_commands(struct source *source)
{
    ssize_t n = read(STDIN_FILENO, source->line + source->line_length,
                     sizeof(source->line) - 1 - source->line_length);

    if (n <= 0)
        return false;
    source->line_length += (size_t)n;
    source->line[source->line_length] = '\0';
    for (char *end; (end = strchr(source->line, '\n'));) {
        char line[sizeof(source->line)];
        *end = '\0';
        memcpy(line, source->line, (size_t)(end - source->line) + 1);
        source->line_length -= (size_t)(end + 1 - source->line);
        memmove(source->line, end + 1, source->line_length + 1);
        command(source, line);
    }
    return true;
}

static void loop(struct source *source)
{
    for (;;) {
        process(source);
        uint64_t due = fake_advertise(&source->fake), now = clock_ns();
        int timeout = due == UINT64_MAX ? -1 : due > now ? (int)((due - now) / 1000000) + 1 : 0;
        struct pollfd fds[] = {{.fd = sd_bus_get_fd(source->bus), .events = POLLIN},
                               {.fd = STDIN_FILENO, .events = POLLIN}};
        if (poll(fds, 2, timeout) > 0 && fds[1].revents && !read_commands(source))
            return;
    }
}

int main(int argc, char **argv)
{
    struct source source = {0};

    if (argc != 4)
        return 64;
    setvbuf(stdout, NULL, _IOLBF, 0);
    prctl(PR_SET_TIMERSLACK, 1UL);
    unsigned long devices = strtoul(argv[1], NULL, 10), size = strtoul(argv[2], NULL, 10);
    if (devices < 1 || devices > FAKE_DEVICES_MAX || size > 512)
        return 64;
    source.times = times_open(argv[3]);
    if (sd_bus_open_system(&source.bus) < 0)
        return 1;
    fake_init(&source.fake, source.bus, (unsigned)devices, size);
    if (sd_bus_request_name(source.bus, "org.bluez", 0) < 0)
        return 1;
    puts("ready");
    loop(&source);
    fake_done(&source.fake);
    sd_bus_unref(source.bus);
    return 0;
}
