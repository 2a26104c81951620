/* The radio's links and controller: what travels when, how a link ends, what a scan reports. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "radio_air.h"
#include "util/num.h"
#include "util/strbuf.h"
#include "util/time.h"
#include "yaml/diag.h"

#include <string.h>

#define MS 1000u

static const char world_text[] =
    "peripherals:\n"
    "  p:\n"
    "    address: \"00:1A:7D:00:02:01\"\n"
    "    name: Lamp\n"
    "    interval: 100ms\n"
    "    mtu: 517\n"
    "    services:\n"
    "      - uuid: 0x180D\n"
    "        characteristics:\n"
    "          - { id: rate, uuid: 0x2A37, properties: [ notify ], value: \"0048\" }\n";

struct world {
    struct sim_world *world;
    struct sim_peripheral *p;
    struct air *air;
    uint64_t now_us;
    struct strbuf sent; /* all H:4 packets for the host in hex, a blank after each */
    uint64_t last_packet_us;
    unsigned n_reports;
    uint64_t ended_us;
};

static void on_to_host(void *user, size_t adapter, const uint8_t *packet, size_t length)
{
    struct world *w = user;
    strbuf_hex(&w->sent, packet, length);
    strbuf_putc(&w->sent, ' ');
    w->last_packet_us = w->now_us;
    if (length > 3 && packet[1] == 0x3e && packet[3] == 0x02)
        w->n_reports++;
    if (packet[0] == 0x04 && packet[1] == 0x05)
        w->ended_us = w->now_us;
}

static void on_log(void *user, const char *peripheral, const char *text)
{
}

static const struct air_ops ops = {.to_host = on_to_host, .log = on_log};

static int setup(void **state)
{
    static struct world w;
    struct diags diags;
    memset(&w, 0, sizeof(w));
    assert_int_equal(diags_init(&diags, "world"), 0);
    assert_int_equal(sim_world_parse(world_text, strlen(world_text), &diags, &w.world), 0);
    diags_done(&diags);
    w.p = sim_world_find(w.world, "p");
    assert_int_equal(air_new(w.world, &ops, &w, &w.air), 0);
    *state = &w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    air_free(w->air);
    sim_world_free(w->world);
    strbuf_done(&w->sent);
    return 0;
}

/* a packet of the host; what comes at once, in hex */
static const char *host(struct world *w, const char *hex)
{
    uint8_t packet[300];
    size_t length;
    assert_int_equal(num_parse_hex(hex, packet, sizeof(packet), &length), 0);
    strbuf_reset(&w->sent);
    air_receive(w->air, 0, w->now_us, packet, length);
    return strbuf_str(&w->sent);
}

static void run_for(struct world *w, uint64_t us)
{
    uint64_t end_us = w->now_us + us, next_us;
    while ((next_us = air_deadline(w->air)) <= end_us) {
        w->now_us = w->now_us > next_us ? w->now_us : next_us;
        air_run(w->air, w->now_us);
    }
    w->now_us = end_us;
}

/* active scan, window = interval */
static void scan(struct world *w, bool filter)
{
    assert_string_equal(host(w, "010b200701100010000000"), "040e04010b2000 ");
    assert_string_equal(host(w, filter ? "010c20020101" : "010c20020100"), "040e04010c2000 ");
}

/* interval 30 ms, supervision timeout 420 ms */
static void connect(struct world *w)
{
    assert_string_equal(host(w, "010d2019"
                                "6000600000"
                                "00"
                                "0102007d1a00"
                                "00"
                                "180018000000"
                                "2a0000000000"),
                        "040f0400010d20 ");
    run_for(w, 200 * MS);
    assert_non_null(strstr(strbuf_str(&w->sent), "043e1301004000"
                                                 "00000102007d1a00"
                                                 "180000002a0000 "));
}

static void a_scan_reports_each_peer_once_with_the_filter(void **state)
{
    struct world *w = *state;
    scan(w, true);
    run_for(w, 1000 * MS);
    assert_int_equal(w->n_reports, 2); /* advertisement and scan response */
    assert_string_equal(host(w, "010b200701100010000000"), "040e04010b200c "); /* disallowed */
}

static void a_scan_reports_each_advertisement_without_the_filter(void **state)
{
    struct world *w = *state;
    scan(w, false);
    run_for(w, 1000 * MS);
    assert_in_range(w->n_reports, 2 * 9, 2 * 11);
}

static void a_new_scan_reports_known_peers_again(void **state)
{
    struct world *w = *state;
    scan(w, true);
    run_for(w, 500 * MS);
    host(w, "010c20020000");
    host(w, "010c20020101");
    run_for(w, 500 * MS);
    assert_int_equal(w->n_reports, 4);
}

static void a_scan_by_the_accept_list_reports_only_who_is_on_it(void **state)
{
    struct world *w = *state;
    host(w, "010b200700100010000001");
    host(w, "010c20020100");
    run_for(w, 500 * MS);
    assert_int_equal(w->n_reports, 0);
    assert_string_equal(host(w, "01112007000102007d1a00"), "040e040111200c "); /* disallowed */
    host(w, "010c20020000");
    assert_string_equal(host(w, "01112007000102007d1a00"), "040e0401112000 ");
    host(w, "010c20020100");
    run_for(w, 500 * MS);
    assert_in_range(w->n_reports, 4, 6);
}

static void connecting_to_an_absent_peer_waits_until_it_is_cancelled(void **state)
{
    struct world *w = *state;
    w->p->present = false;
    host(w, "010d201960006000000001 02007d1a00 00180018000000 2a0000000000");
    run_for(w, 60000 * MS);
    assert_string_equal(host(w, "010e2000"), "040e04010e2000 "
                                             "043e13010200000000"
                                             "0102007d1a00"
                                             "00000000000000 ");
    assert_string_equal(host(w, "010e2000"), "040e04010e200c ");
}

static void answers_travel_at_connection_events(void **state)
{
    struct world *w = *state;
    connect(w);
    host(w, "02400007000300040002 1700");
    uint64_t asked_us = w->now_us;
    run_for(w, 200 * MS);
    assert_non_null(strstr(strbuf_str(&w->sent), "0413050140000100 "));
    assert_non_null(strstr(strbuf_str(&w->sent), "024020070003000400030502 "));
    assert_in_range(w->last_packet_us - asked_us, 30 * MS, 60 * MS);
}

static void a_slow_peer_answers_late_and_notifies_in_time(void **state)
{
    struct world *w = *state;
    connect(w);
    host(w, "02400009000500040012 1300 0100");
    run_for(w, 200 * MS);
    w->p->slow_us = 2000 * MS;
    host(w, "02400007000300040002 1700");
    run_for(w, 100 * MS);
    assert_int_equal(
        sim_characteristic_set(sim_peripheral_find(w->p, "rate"), (uint8_t[]){0xaa}, 1), 0);
    run_for(w, 200 * MS);
    assert_non_null(strstr(strbuf_str(&w->sent), "0400"
                                                 "1b1200aa "));
    assert_null(strstr(strbuf_str(&w->sent), "030502 "));
    run_for(w, 2000 * MS);
    assert_non_null(strstr(strbuf_str(&w->sent), "030502 "));
}

static void a_silent_peer_is_lost_after_the_supervision_timeout(void **state)
{
    struct world *w = *state;
    connect(w);
    uint64_t silent_us = w->now_us;
    assert_int_equal(air_drop(w->air, w->p, 0x08, w->now_us), 0);
    run_for(w, 1000 * MS);
    assert_in_range(w->ended_us - silent_us, 390 * MS, 420 * MS);
    assert_non_null(strstr(strbuf_str(&w->sent), "04050400400008 "));
    assert_true(sim_peripheral_advertises(w->p));
}

static void a_peer_without_power_forgets_and_is_back_before_the_link_has_ended(void **state)
{
    struct world *w = *state;
    struct sim_characteristic *rate = sim_peripheral_find(w->p, "rate");
    connect(w);
    host(w, "02400009000500040012 1300 0100");
    run_for(w, 200 * MS);
    uint64_t off_us = w->now_us;
    assert_int_equal(air_drop(w->air, w->p, 0x08, off_us), 0); /* what vanish and appear do */
    w->p->present = false;
    air_presence_changed(w->air, w->p, off_us);
    assert_false(sim_peripheral_advertises(w->p));
    w->p->present = true;
    air_presence_changed(w->air, w->p, off_us);
    assert_int_equal(sim_characteristic_burst(rate, 1, 1, off_us), -ENOTCONN);
    scan(w, true);
    run_for(w, 200 * MS);
    assert_int_equal(w->n_reports, 2);
    assert_int_equal(w->ended_us, 0);
    run_for(w, 400 * MS);
    assert_in_range(w->ended_us - off_us, 390 * MS, 420 * MS);
    connect(w);
    assert_false(sim_peripheral_advertises(w->p));
}

static void a_link_that_must_not_end_so_young_ends_when_it_is_old_enough(void **state)
{
    struct world *w = *state;
    air_set_youngest(w->air, 1000 * MS);
    connect(w); /* within 200 ms */
    uint64_t off_us = w->now_us;
    assert_int_equal(air_drop(w->air, w->p, 0x08, off_us), 0);
    w->p->present = false;
    air_presence_changed(w->air, w->p, off_us);
    run_for(w, 700 * MS);
    assert_int_not_equal(w->p->adapter, SIM_NO_ADAPTER);
    run_for(w, 300 * MS);
    assert_int_equal(w->p->adapter, SIM_NO_ADAPTER);
    assert_int_equal(w->ended_us, 0);
    run_for(w, 420 * MS);
    assert_in_range(w->ended_us - off_us, 800 * MS, 1420 * MS);
}

static void a_goodbye_ends_the_link_at_the_next_connection_event(void **state)
{
    struct world *w = *state;
    connect(w);
    uint64_t goodbye_us = w->now_us;
    assert_int_equal(air_drop(w->air, w->p, 0x13, w->now_us), 0);
    run_for(w, 1000 * MS);
    assert_in_range(w->ended_us - goodbye_us, 1, 30 * MS);
    assert_non_null(strstr(strbuf_str(&w->sent), "04050400400013 "));
}

static void a_refused_connection_is_up_and_then_not_established(void **state)
{
    struct world *w = *state;
    w->p->refuse = true;
    connect(w);
    run_for(w, 1000 * MS);
    assert_non_null(strstr(strbuf_str(&w->sent), "0405040040003e "));
    assert_true(sim_peripheral_advertises(w->p));
}

static void the_host_ends_a_link(void **state)
{
    struct world *w = *state;
    connect(w);
    assert_string_equal(host(w, "010604034000 13"), "040f0400010604 ");
    run_for(w, 100 * MS);
    assert_string_equal(strbuf_str(&w->sent), "040f0400010604 04050400400016 ");
    assert_string_equal(host(w, "010604034000 13"), "040f0402010604 ");
}

static void a_burst_arrives_in_order_and_whole(void **state)
{
    struct world *w = *state;
    struct sim_characteristic *rate = sim_peripheral_find(w->p, "rate");
    connect(w);
    host(w, "02400009000500040012 1300 0100");
    run_for(w, 200 * MS);
    assert_int_equal(sim_characteristic_burst(rate, 1000, 100, w->now_us), 0);
    strbuf_reset(&w->sent);
    run_for(w, 12000 * MS);
    const char *at = strbuf_str(&w->sent);
    unsigned number = 0;
    while ((at = strstr(at, "0400"
                            "1b1200"))) {
        uint8_t value[4];
        size_t length;
        char hex[9];
        snprintf(hex, sizeof(hex), "%.8s", at + 10);
        assert_int_equal(num_parse_hex(hex, value, sizeof(value), &length), 0);
        assert_int_equal(value[0] | value[1] << 8, ++number);
        at += 10;
    }
    assert_int_equal(number, 1000);
}

static void unknown_commands_and_malformed_packets_do_no_harm(void **state)
{
    struct world *w = *state;
    assert_string_equal(host(w, "01392000"), "040e0401392001 ");
    assert_string_equal(host(w, "010b20020101"), "040e04010b2012 "); /* too short */
    assert_string_equal(host(w, "010b2007"), "");
    assert_string_equal(host(w, "0240"), "");
    assert_string_equal(host(w, "02400003000102"), "");
    assert_string_equal(host(w, "0240000200aabb"), ""); /* no such connection */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        TEST(a_scan_reports_each_peer_once_with_the_filter),
        TEST(a_scan_reports_each_advertisement_without_the_filter),
        TEST(a_new_scan_reports_known_peers_again),
        TEST(a_scan_by_the_accept_list_reports_only_who_is_on_it),
        TEST(connecting_to_an_absent_peer_waits_until_it_is_cancelled),
        TEST(answers_travel_at_connection_events),
        TEST(a_slow_peer_answers_late_and_notifies_in_time),
        TEST(a_silent_peer_is_lost_after_the_supervision_timeout),
        TEST(a_peer_without_power_forgets_and_is_back_before_the_link_has_ended),
        TEST(a_link_that_must_not_end_so_young_ends_when_it_is_old_enough),
        TEST(a_goodbye_ends_the_link_at_the_next_connection_event),
        TEST(a_refused_connection_is_up_and_then_not_established),
        TEST(the_host_ends_a_link),
        TEST(a_burst_arrives_in_order_and_whole),
        TEST(unknown_commands_and_malformed_packets_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
