/*
 * Everything that the simulator can do wrong, at random, in quick succession; then all is well
 * again, and the gateway must be, too. What tests/sim promises of the core in virtual time, this
 * asks of core and bluez layer together, with real messages in BlueZ's order.
 *
 * HOUSE_SEEDS=1-500 plays those seeds; a failing one is named.
 */
#include "bus/helper_house.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#define N_STEPS      120
#define HEAL_MINUTES 12 /* the slowest retry is after 5, and one may just have begun */

static const char world[] =
    "experimental: true\n"
    "timing: { connect: 2ms, resolve: 2ms, disconnect: 2ms, connect_timeout: 100ms,\n"
    "          temporary: 150ms }\n"
    "adapters:\n"
    "  hci0: { address: '00:1A:7D:00:00:01' }\n"
    "peripherals:\n" HOUSE_LAMP("") HOUSE_METER(
        "") "  tap:\n"
            "    address: 'C8:00:00:00:00:05'\n"
            "    address_type: random\n"
            "    interval: 20ms\n"
            "    services: [{ uuid: 0xFA00, characteristics: [{ id: stream, uuid: 0xFA01,\n"
            "      properties: [read, notify], value: '00000000' }] }]\n";

/* by the seed: each way of listening, and with and without the strongest means */
static const char *const bluetooth[] = {
    "",
    "bluetooth: { scan: passive }\n",
    "bluetooth: { reset: always }\n",
    "bluetooth: { scan: passive, reset: when_alone }\n",
};

static const char config[] = "devices:\n" HOUSE_DEVICE_LAMP HOUSE_DEVICE(
    "meter", "name: meter",
    "") "  tap:\n"
        "    match: { address: 'C8:00:00:00:00:05' }\n"
        "    characteristics: { stream: { uuid: 0xFA01, subscribe: true, notify: socket,\n"
        "                                 fields: { value: { type: uint32 } } } }\n";

static const char *const devices[] = {"lamp", "meter", "tap"};

static const char *const faults[] = {
    "connect_hollow", "connect_abort", "connect_vanish", "connect_mute",
    "connect_busy",   "connect_auth",  "resolve_early",  "resolve_empty",
    "notify_held",    "notify_busy",   "acquire_mute",
};
static const char *const adapter_faults[] = {"rfkill", "scan_busy", "filter_refused"};

struct chaos {
    struct house *house;
    uint64_t random;
    unsigned n_commands;
    bool log;
};

static unsigned below(struct chaos *chaos, unsigned n)
{
    chaos->random ^= chaos->random >> 12;
    chaos->random ^= chaos->random << 25;
    chaos->random ^= chaos->random >> 27;
    return (unsigned)((chaos->random * UINT64_C(0x2545f4914f6cdd1d) >> 32) * n >> 32);
}

static void try(struct chaos *chaos, const char *line)
{
    bool done = house_try_control(chaos->house, "%s", line);

    if (chaos->log)
        fprintf(stderr, "---- %s%s\n", line, done ? "" : " (no)");
}

/* something happens to a peripheral */
static void hurt_peripheral(struct chaos *chaos)
{
    static const char *const events[] = {"drop",
                                         "vanish",
                                         "appear",
                                         "refuse on",
                                         "refuse off",
                                         "forget",
                                         "services",
                                         "connect",
                                         "slow 30",
                                         "slow 0",
                                         "drop",
                                         "appear",
                                         "advertise 0x0059 01"};
    const char *id = devices[below(chaos, ARRAY_SIZE(devices))];
    char line[96], verb[32];

    if (below(chaos, 3) == 0) {
        snprintf(line, sizeof(line), "fault %s %s %s", id, faults[below(chaos, ARRAY_SIZE(faults))],
                 below(chaos, 2) ? "on" : "off");
    } else {
        const char *event = events[below(chaos, ARRAY_SIZE(events))];
        const char *rest = strchr(event, ' ');
        snprintf(verb, sizeof(verb), "%.*s", rest ? (int)(rest - event) : (int)strlen(event),
                 event);
        snprintf(line, sizeof(line), "%s %s%s", verb, id, rest ? rest : "");
    }
    try(chaos, line);
}

static void hurt_adapter(struct chaos *chaos)
{
    static const char *const events[] = {"off", "on", "on", "remove", "pull", "add", "add"};
    char line[96];

    if (below(chaos, 3) == 0)
        snprintf(line, sizeof(line), "fault hci0 %s %s",
                 adapter_faults[below(chaos, ARRAY_SIZE(adapter_faults))],
                 below(chaos, 2) ? "on" : "off");
    else
        snprintf(line, sizeof(line), "adapter hci0 %s", events[below(chaos, ARRAY_SIZE(events))]);
    try(chaos, line);
}

static void hurt_daemon(struct chaos *chaos)
{
    if (chaos->log)
        fprintf(stderr, "---- bluetoothd dies and starts\n");
    sim_bluez_die(chaos->house->sim);
    if (below(chaos, 2))
        house_run(chaos->house, below(chaos, 20));
    assert_int_equal(sim_bluez_start(chaos->house->sim), 0);
}

static void use(struct chaos *chaos)
{
    const char *id = devices[below(chaos, ARRAY_SIZE(devices))];
    char line[96];

    if (below(chaos, 2)) {
        snprintf(line, sizeof(line), "notify %s stream %u 5000", id, 1 + below(chaos, 40));
        try(chaos, line);
    } else if (strcmp(id, "tap") != 0) {
        snprintf(line, sizeof(line), "%s/level/set", id);
        if (chaos->log)
            fprintf(stderr, "---- %s\n", line);
        house_send(chaos->house, line, "7");
        chaos->n_commands++;
    }
}

static void step(struct chaos *chaos)
{
    unsigned what = below(chaos, 100);

    if (what < 30)
        hurt_peripheral(chaos);
    else if (what < 37)
        hurt_adapter(chaos);
    else if (what < 39)
        hurt_daemon(chaos);
    else if (what < 60)
        use(chaos);
    else if (what < 70)
        house_skip(chaos->house, below(chaos, 30000));
    else
        house_run(chaos->house, below(chaos, 25));
}

static void heal(struct chaos *chaos)
{
    struct house *house = chaos->house;

    for (size_t i = 0; i < ARRAY_SIZE(adapter_faults); i++)
        house_control(house, "fault hci0 %s off", adapter_faults[i]);
    for (size_t d = 0; d < ARRAY_SIZE(devices); d++) {
        for (size_t i = 0; i < ARRAY_SIZE(faults); i++)
            house_control(house, "fault %s %s off", devices[d], faults[i]);
        house_control(house, "refuse %s off", devices[d]);
        house_control(house, "slow %s 0", devices[d]);
        house_control(house, "appear %s", devices[d]);
    }
    house_try_control(house, "adapter hci0 add");
    house_run(house, 40); /* it is switched on a moment after it was plugged in */
    house_control(house, "adapter hci0 on");
}

static void assert_all_online(struct chaos *chaos)
{
    struct house *house = chaos->house;

    for (unsigned s = 0; s < HEAL_MINUTES * 60; s += 2) {
        unsigned n = 0;
        for (size_t d = 0; d < ARRAY_SIZE(devices); d++)
            n += house_is_online(house, devices[d]);
        if (n == ARRAY_SIZE(devices)) {
            house_run(house, 60); /* and it stays */
            n = 0;
            for (size_t d = 0; d < ARRAY_SIZE(devices); d++)
                n += house_is_online(house, devices[d]);
            if (n == ARRAY_SIZE(devices))
                return;
        }
        house_run(house, 30);
        house_skip(house, 2000);
    }
    for (size_t d = 0; d < ARRAY_SIZE(devices); d++) {
        char topic[64];
        snprintf(topic, sizeof(topic), "%s/status/link", devices[d]);
        print_message("%s\n", house_said(house, topic));
    }
    fail_msg("not everybody is back after %u minutes", HEAL_MINUTES);
}

/* each number that was published is above the one before */
static void assert_order(struct house *house, const char *device)
{
    char topic[64];
    unsigned last = 0, value;

    snprintf(topic, sizeof(topic), "gatt2mqtt/%s/stream", device);
    for (const struct house_message *m = house->messages; m; m = m->next) {
        if (strcmp(m->topic, topic) != 0)
            continue;
        assert_int_equal(sscanf(m->payload, "{\"value\":%u,", &value), 1);
        if (value <= last)
            fail_msg("%s: %u after %u", topic, value, last);
        last = value;
    }
}

static void assert_everything_works(struct chaos *chaos)
{
    struct house *house = chaos->house;
    char topic[64];

    for (size_t d = 0; d < ARRAY_SIZE(devices); d++) {
        unsigned first = 0;

        snprintf(topic, sizeof(topic), "%s/stream", devices[d]);
        unsigned before = house_count(house, topic);
        assert_int_equal(sscanf(house_control(house, "notify %s stream 20 2000", devices[d]),
                                "first=%u", &first),
                         1);
        house_assert_burst(house, topic, before, first, first + 19);
        assert_order(house, devices[d]);
    }
    house_skip(house, 60000);
    house_run(house, 20);
    /* the meter's and the lamp's commands, each answered once */
    assert_int_equal(house_count(house, "lamp/level/result") +
                         house_count(house, "meter/level/result"),
                     chaos->n_commands);
}

static void play(uint64_t seed)
{
    char full[2048];
    snprintf(full, sizeof(full), "%s%s", bluetooth[seed % ARRAY_SIZE(bluetooth)], config);
    struct chaos chaos = {.house = house_new(world, full),
                          .random = seed * UINT64_C(0x9e3779b97f4a7c15) + 1,
                          .log = getenv("HOUSE_LOG") != NULL};
    unsigned descriptors = house_descriptors();

    house_start(chaos.house);
    house_until(chaos.house, "bridge/house/status", "online"); /* whose is what is settled */
    for (int i = 0; i < N_STEPS; i++)
        step(&chaos);
    heal(&chaos);
    assert_all_online(&chaos);
    assert_everything_works(&chaos);
    assert_in_range(house_descriptors(), descriptors, descriptors + 16);
    house_free(chaos.house);
}

static void whatever_happens_it_comes_back_by_itself(void **state)
{
    const char *seeds = getenv("HOUSE_SEEDS");
    unsigned from = 1, to = 16;

    if (seeds && sscanf(seeds, "%u-%u", &from, &to) == 1)
        to = from;
    for (unsigned seed = from; seed <= to; seed++) {
        print_message("HOUSE_SEEDS=%u\n", seed);
        play(seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whatever_happens_it_comes_back_by_itself),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
