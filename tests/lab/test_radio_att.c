/* The radio's ATT server against PDUs as Core Specification Vol 3 Part F defines them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "radio_att.h"
#include "util/num.h"
#include "util/strbuf.h"
#include "yaml/diag.h"

#include <string.h>

static const char world_text[] =
    "peripherals:\n"
    "  p:\n"
    "    address: \"00:1A:7D:00:02:01\"\n"
    "    name: Lamp\n"
    "    mtu: 40\n"
    "    services:\n"
    "      - uuid: 0x180D\n"
    "        characteristics:\n"
    "          - { id: rate, uuid: 0x2A37, properties: [ notify ], value: \"0048\" }\n"
    "      - uuid: ff0e0001-5f0c-4b5e-9a5e-7a35a33bb5a7\n"
    "        characteristics:\n"
    "          - id: light\n"
    "            uuid: ff0e0002-5f0c-4b5e-9a5e-7a35a33bb5a7\n"
    "            properties: [ read, write, write-without-response, indicate ]\n"
    "            value: \"0102\"\n"
    "          - id: text\n"
    "            uuid: 0x2A3D\n"
    "            properties: [ read, write ]\n"
    "            value: \"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\"\n";

/* handles: GAP 1-5, GATT 6-9; then by the model, from SIM_FIRST_HANDLE */
#define RATE_CCCD  "1300"
#define LIGHT      "1600"
#define LIGHT_CCCD "1700"
#define TEXT       "1900"

struct world {
    struct sim_world *world;
    struct sim_peripheral *p;
    struct att_server *server;
    struct strbuf sent; /* PDUs in hex, a blank between two */
};

static void on_send(void *user, const uint8_t *pdu, size_t length, bool answer)
{
    struct world *w = user;
    if (w->sent.length > 0)
        strbuf_putc(&w->sent, ' ');
    strbuf_hex(&w->sent, pdu, length);
}

static int setup(void **state)
{
    static struct world w;
    struct diags diags;
    memset(&w, 0, sizeof(w));
    assert_int_equal(diags_init(&diags, "world"), 0);
    assert_int_equal(sim_world_parse(world_text, strlen(world_text), &diags, &w.world), 0);
    diags_done(&diags);
    w.p = sim_world_find(w.world, "p");
    sim_peripheral_connected(w.p, 0);
    assert_int_equal(att_server_new(w.p, on_send, &w, &w.server), 0);
    *state = &w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    att_server_free(w->server);
    sim_world_free(w->world);
    strbuf_done(&w->sent);
    return 0;
}

/* sends a PDU; the answers come back in hex */
static const char *ask(struct world *w, const char *hex)
{
    uint8_t pdu[600];
    size_t length;
    assert_int_equal(num_parse_hex(hex, pdu, sizeof(pdu), &length), 0);
    strbuf_reset(&w->sent);
    att_server_receive(w->server, 0, pdu, length);
    return strbuf_str(&w->sent);
}

#define assert_answer(request, expected) assert_string_equal(ask(*state, request), expected)

static void mtu_is_the_smaller_of_both_sides_and_holds_afterwards(void **state)
{
    struct world *w = *state;
    assert_int_equal(att_server_mtu(w->server), 23);
    assert_answer("020502", "032800");
    assert_int_equal(att_server_mtu(w->server), 40);
    assert_answer("021700", "032800");
    assert_int_equal(att_server_mtu(w->server), 23);
}

static void services_are_found_group_by_group(void **state)
{
    assert_answer("100100ffff0028", "1106"
                                    "010005000018"
                                    "060009000118"
                                    "100013000d18");
    assert_answer("101400ffff0028", "1114"
                                    "14001900"
                                    "a7b53ba3357a5e9a5e4b0c5f01000eff");
    assert_answer("101a00ffff0028", "01101a000a");
    assert_answer("100100ffff0128", "0110010010");
}

static void a_service_is_found_by_its_uuid(void **state)
{
    assert_answer("060100ffff00280d18", "0710001300");
    assert_answer("060100ffff00280f18", "010601000a");
}

static void characteristics_are_found_by_their_declarations(void **state)
{
    assert_answer("08100013000328", "0907"
                                    "1100101200372a");
    /* 16 bytes of UUID, then 2: never in one answer */
    assert_answer("08140019000328", "0915"
                                    "15002e1600"
                                    "a7b53ba3357a5e9a5e4b0c5f02000eff");
    assert_answer("08160019000328", "0907"
                                    "18000a19003d2a");
}

static void descriptors_are_found_by_handle(void **state)
{
    assert_answer("0412001300", "0501"
                                "1200372a"
                                "13000229");
    assert_answer("041a00ffff", "01041a000a");
    /* short and long UUIDs never stand in one answer */
    assert_answer("022800", "032800");
    assert_answer("0416001700", "0502"
                                "1600"
                                "a7b53ba3357a5e9a5e4b0c5f02000eff");
    assert_answer("0415001600", "0501"
                                "15000328");
}

static void the_device_name_is_read_by_type(void **state)
{
    assert_answer("080100ffff002a", "0906"
                                    "03004c616d70");
}

static void a_long_value_is_read_in_parts(void **state)
{
    assert_answer("0a" TEXT, "0b"
                             "000102030405060708090a0b0c0d0e0f101112131415");
    assert_answer("0c" TEXT "1600", "0d"
                                    "161718191a1b1c1d1e1f");
    assert_answer("0c" TEXT "2000", "0d");
    assert_answer("0c" TEXT "2100", "010c" TEXT "07");
}

static void what_is_not_readable_is_refused(void **state)
{
    assert_answer("0a1200", "010a120002");
    assert_answer("0aff00", "010aff0001");
    assert_answer("0a0800", "010a080002");
}

static void a_write_request_is_answered_and_a_command_is_not(void **state)
{
    struct world *w = *state;
    struct sim_characteristic *light = sim_peripheral_find(w->p, "light");
    assert_answer("12" LIGHT "aa", "13");
    assert_answer("52" LIGHT "bbcc", "");
    assert_int_equal(light->n_writes, 2);
    assert_false(light->writes[0].command);
    assert_true(light->writes[1].command);
    assert_memory_equal(light->writes[1].value.data, "\xbb\xcc", 2);
    assert_answer("0a" LIGHT, "0bbbcc");
    assert_answer("120300aa", "0112030003"); /* the device name */
}

static void a_long_write_counts_as_one_when_it_is_executed(void **state)
{
    struct world *w = *state;
    struct sim_characteristic *text = sim_peripheral_find(w->p, "text");
    assert_answer("16" TEXT "0000aabb", "17" TEXT "0000aabb");
    assert_answer("16" TEXT "0200cc", "17" TEXT "0200cc");
    assert_int_equal(text->n_writes, 0);
    assert_answer("1801", "19");
    assert_int_equal(text->n_writes, 1);
    assert_answer("0a" TEXT, "0baabbcc");

    assert_answer("16" TEXT "0500aa", "0116" TEXT "07"); /* a gap */
    assert_answer("16" TEXT "0000dd", "17" TEXT "0000dd");
    assert_answer("1800", "19"); /* cancelled */
    assert_answer("0a" TEXT, "0baabbcc");
}

static void a_notification_goes_out_once_subscribed_and_is_cut_to_the_mtu(void **state)
{
    struct world *w = *state;
    struct sim_notification n;
    assert_answer("12" RATE_CCCD "0100", "13");
    assert_answer("0a" RATE_CCCD, "0b0100");
    uint8_t value[30] = {1, 2, 3};
    assert_int_equal(
        sim_characteristic_set(sim_peripheral_find(w->p, "rate"), value, sizeof(value)), 0);
    assert_true(sim_peripheral_take_due(w->p, 0, &n));
    strbuf_reset(&w->sent);
    att_server_notify(w->server, &n);
    assert_string_equal(strbuf_str(&w->sent), "1b1200"
                                              "0102030000000000000000000000000000000000");
}

static void an_indication_waits_for_the_confirmation_of_the_one_before(void **state)
{
    struct world *w = *state;
    struct sim_notification n;
    assert_answer("12" LIGHT_CCCD "0200", "13");
    strbuf_reset(&w->sent);
    for (uint8_t i = 1; i <= 3; i++) {
        if (i == 3) { /* the two before are confirmed by then */
            assert_string_equal(strbuf_str(&w->sent), "1d" LIGHT "01");
            assert_answer("1e", "1d" LIGHT "02");
            assert_answer("1e", "");
            assert_answer("1e", "");
        }
        assert_int_equal(sim_characteristic_set(sim_peripheral_find(w->p, "light"), &i, 1), 0);
        assert_true(sim_peripheral_take_due(w->p, 0, &n));
        att_server_notify(w->server, &n);
    }
    assert_string_equal(strbuf_str(&w->sent), "1d" LIGHT "03");
}

static void nonsense_gets_an_error_or_nothing(void **state)
{
    assert_answer("", "");
    assert_answer("02", "0102000004");
    assert_answer("0a16", "010a000004");
    assert_answer("0e16001900", "010e000006"); /* Read Multiple */
    assert_answer("040500010000", "0104050001");
    assert_answer("040000ffff", "0104000001");
    assert_answer("08100013000328ff", "0108100004");
    assert_answer("ff0011", "");
    assert_answer("0b00", ""); /* an answer that nobody asked for */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        TEST(mtu_is_the_smaller_of_both_sides_and_holds_afterwards),
        TEST(services_are_found_group_by_group),
        TEST(a_service_is_found_by_its_uuid),
        TEST(characteristics_are_found_by_their_declarations),
        TEST(descriptors_are_found_by_handle),
        TEST(the_device_name_is_read_by_type),
        TEST(a_long_value_is_read_in_parts),
        TEST(what_is_not_readable_is_refused),
        TEST(a_write_request_is_answered_and_a_command_is_not),
        TEST(a_long_write_counts_as_one_when_it_is_executed),
        TEST(a_notification_goes_out_once_subscribed_and_is_cut_to_the_mtu),
        TEST(an_indication_waits_for_the_confirmation_of_the_one_before),
        TEST(nonsense_gets_an_error_or_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
