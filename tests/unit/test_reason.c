/* Why there is no connection, in words, and when the next try is due. */
#include "mqtt/reason.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
/* cmocka wants the ones above */
#include <cmocka.h>

static struct mqtt_failure failure(enum mqtt_end end, int code, bool v5)
{
    return (struct mqtt_failure){
        .end = end,
        .code = code,
        .v5 = v5,
        .tls_error = "",
        .host = "broker.lan",
        .port = 1883,
        .timeout_s = 20,
        .client_id = "gatt2mqtt-pi",
        .server_reference = "",
    };
}

static void each_refusal_has_its_stable_word(void **state)
{
    static const struct {
        int code;
        bool v5;
        const char *reason, *part;
    } rows[] = {
        {1, false, "protocol", "3.1.1"},
        {2, false, "refused", "client id"},
        {3, false, "refused", "not available"},
        {4, false, "bad_login", "password"},
        {5, false, "not_authorized", "user name"},
        {99, false, "refused", "code 0x63"},
        {0x84, true, "protocol", "protocol: 3.1.1"},
        {0x85, true, "refused", "client id"},
        {0x86, true, "bad_login", "password"},
        {0x87, true, "not_authorized", "user name"},
        {0x8A, true, "not_authorized", "banned"},
        {0xFE, true, "refused", "code 0xfe"},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct mqtt_failure f = failure(MQTT_END_REFUSED, rows[i].code, rows[i].v5);
        char text[256];
        assert_string_equal(mqtt_failure_explain(&f, text, sizeof text), rows[i].reason);
        assert_non_null(strstr(text, "the broker refused the connection"));
        assert_non_null(strstr(text, rows[i].part));
    }
}

static void a_disconnect_says_who_took_over_or_what_was_wrong(void **state)
{
    struct mqtt_failure f = failure(MQTT_END_DISCONNECTED, 0x8E, true);
    char text[256];

    assert_string_equal(mqtt_failure_explain(&f, text, sizeof text), "taken_over");
    assert_non_null(strstr(text, "same client id"));
    f.code = 0x95;
    assert_string_equal(mqtt_failure_explain(&f, text, sizeof text), "protocol");
    f.code = 0x8B;
    assert_string_equal(mqtt_failure_explain(&f, text, sizeof text), "ended");
    assert_non_null(strstr(text, "shutting down"));
    f.code = 0x87;
    assert_string_equal(mqtt_failure_explain(&f, text, sizeof text), "not_authorized");
    f.code = 0xFE;
    assert_string_equal(mqtt_failure_explain(&f, text, sizeof text), "lost");
}

static void what_is_out_of_reach_is_named_with_host_and_port(void **state)
{
    static const enum mqtt_end ends[] = {MQTT_END_START, MQTT_END_TRANSPORT, MQTT_END_TIMEOUT};

    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        struct mqtt_failure f = failure(ends[i], -1, true);
        char text[256];
        assert_string_equal(mqtt_failure_explain(&f, text, sizeof text), "unreachable");
        assert_non_null(strstr(text, "broker.lan:1883"));
        assert_null(strstr(text, "certificate"));
        f.tls = true;
        mqtt_failure_explain(&f, text, sizeof text);
        assert_true((strstr(text, "certificate") != NULL) == (ends[i] != MQTT_END_TIMEOUT));
    }
}

static void only_a_name_can_be_unknown(void **state)
{
    struct mqtt_failure f = failure(MQTT_END_START, -1, true);
    char text[256];

    mqtt_failure_explain(&f, text, sizeof text);
    assert_non_null(strstr(text, "name is unknown"));
    f.host = "192.168.1.1";
    mqtt_failure_explain(&f, text, sizeof text);
    assert_null(strstr(text, "name is unknown"));
    f.host = "fe80::1";
    mqtt_failure_explain(&f, text, sizeof text);
    assert_null(strstr(text, "name is unknown"));
}

static void the_words_of_openssl_make_it_a_tls_failure(void **state)
{
    struct mqtt_failure f = failure(MQTT_END_TRANSPORT, -1, true);
    char text[256];

    f.tls = true;
    f.tls_error = "certificate verify failed";
    assert_string_equal(mqtt_failure_explain(&f, text, sizeof text), "tls");
    assert_non_null(strstr(text, "certificate verify failed"));
}

static void a_rival_with_our_client_id_is_suspected_after_three_short_connections(void **state)
{
    struct mqtt_failure f = failure(MQTT_END_LOST, 0, false);
    char text[256];

    f.n_short_lived = 2;
    assert_string_equal(mqtt_failure_explain(&f, text, sizeof text), "lost");
    assert_null(strstr(text, "gatt2mqtt-pi"));
    f.n_short_lived = 3;
    assert_string_equal(mqtt_failure_explain(&f, text, sizeof text), "lost");
    assert_non_null(strstr(text, "\"gatt2mqtt-pi\""));
}

static void a_text_is_cut_where_the_room_ends(void **state)
{
    struct mqtt_failure f = failure(MQTT_END_LOST, 0, false);
    char text[10] = "xxxxxxxxx";

    mqtt_failure_explain(&f, text, 5);
    assert_string_equal(text, "the ");
}

static const uint32_t randoms[] = {0, 1, 12345, UINT32_MAX / 2, UINT32_MAX - 1, UINT32_MAX};

static uint64_t delay_ms(unsigned n_failures, unsigned n_taken_over, bool suspected,
                         uint32_t random)
{
    struct mqtt_retry retry = {n_failures, n_taken_over, suspected};

    return mqtt_retry_delay_ms(&retry, random);
}

static void the_first_retry_comes_within_a_second(void **state)
{
    for (size_t i = 0; i < sizeof randoms / sizeof randoms[0]; i++) {
        assert_in_range(delay_ms(1, 0, false, randoms[i]), 250, 1000);
        /* also when somebody took our id, once */
        assert_in_range(delay_ms(1, 1, false, randoms[i]), 250, 1000);
    }
}

static void expect_around(unsigned n, bool suspected, uint64_t middle)
{
    uint64_t low = UINT64_MAX, high = 0;

    for (uint32_t r = 0; r < 300000; r += 7) {
        uint64_t delay = delay_ms(n, 0, suspected, r);
        low = delay < low ? delay : low;
        high = delay > high ? delay : high;
    }
    assert_in_range(low, middle * 80 / 100, middle * 81 / 100);
    assert_in_range(high, middle * 119 / 100, middle * 120 / 100);
}

static void retries_wait_longer_each_time_up_to_half_a_minute(void **state)
{
    for (unsigned n = 2; n < 40; n++)
        expect_around(n, false, n < 7 ? 1000ULL << (n - 2) : 30000);
    assert_in_range(delay_ms(UINT32_MAX, 0, false, 0), 24000, 36000);
}

static void up_to_five_minutes_when_a_rival_is_suspected(void **state)
{
    for (unsigned n = 2; n < 40; n++)
        expect_around(n, true, n < 11 ? 1000ULL << (n - 2) : 300000);
}

static void after_a_second_takeover_it_is_a_minute_at_least_and_doubles_to_a_quarter_of_an_hour(
    void **state)
{
    for (unsigned n = 2; n < 20; n++) {
        uint64_t least = n < 6 ? 60000ULL << (n - 2) : 900000;
        for (size_t i = 0; i < sizeof randoms / sizeof randoms[0]; i++)
            assert_in_range(delay_ms(1, n, false, randoms[i]), least, least * 6 / 5);
    }
    assert_in_range(delay_ms(1, UINT32_MAX, false, 0), 900000, 900000 * 6 / 5);
}

static void a_redirection_names_the_other_server_and_is_not_followed(void **state)
{
    static const int codes[] = {0x9C, 0x9D};

    for (size_t i = 0; i < 2; i++) {
        struct mqtt_failure f = failure(MQTT_END_REFUSED, codes[i], true);
        char text[256];
        assert_string_equal(mqtt_failure_explain(&f, text, sizeof text), "moved");
        assert_non_null(strstr(text, "mqtt.url"));
        f.server_reference = "other.lan:1884";
        assert_string_equal(mqtt_failure_explain(&f, text, sizeof text), "moved");
        assert_non_null(strstr(text, "other.lan:1884"));
        assert_non_null(strstr(text, "mqtt.url"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_refusal_has_its_stable_word),
        cmocka_unit_test(a_disconnect_says_who_took_over_or_what_was_wrong),
        cmocka_unit_test(what_is_out_of_reach_is_named_with_host_and_port),
        cmocka_unit_test(only_a_name_can_be_unknown),
        cmocka_unit_test(the_words_of_openssl_make_it_a_tls_failure),
        cmocka_unit_test(a_rival_with_our_client_id_is_suspected_after_three_short_connections),
        cmocka_unit_test(a_text_is_cut_where_the_room_ends),
        cmocka_unit_test(the_first_retry_comes_within_a_second),
        cmocka_unit_test(retries_wait_longer_each_time_up_to_half_a_minute),
        cmocka_unit_test(up_to_five_minutes_when_a_rival_is_suspected),
        cmocka_unit_test(
            after_a_second_takeover_it_is_a_minute_at_least_and_doubles_to_a_quarter_of_an_hour),
        cmocka_unit_test(a_redirection_names_the_other_server_and_is_not_followed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
