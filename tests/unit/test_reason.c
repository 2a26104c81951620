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
    assert_string_equal(mqtt_failure_explain(&f, text, sizeof text), "lost");
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

static void the_first_retry_comes_within_a_second(void **state)
{
    for (size_t i = 0; i < sizeof randoms / sizeof randoms[0]; i++)
        assert_in_range(mqtt_retry_delay_ms(1, false, randoms[i]), 250, 1000);
}

static void retries_wait_longer_each_time_up_to_a_minute(void **state)
{
    for (unsigned n = 2; n < 40; n++) {
        uint64_t middle = n < 8 ? 1000ULL << (n - 2) : 60000;
        uint64_t low = UINT64_MAX, high = 0;
        for (uint32_t r = 0; r < 60000; r += 7) {
            uint64_t delay = mqtt_retry_delay_ms(n, false, r);
            low = delay < low ? delay : low;
            high = delay > high ? delay : high;
        }
        assert_in_range(low, middle * 80 / 100, middle * 81 / 100);
        assert_in_range(high, middle * 119 / 100, middle * 120 / 100);
    }
    assert_in_range(mqtt_retry_delay_ms(UINT32_MAX, false, 0), 48000, 72000);
}

static void after_a_takeover_it_is_a_minute_at_least(void **state)
{
    for (unsigned n = 1; n < 20; n++)
        for (size_t i = 0; i < sizeof randoms / sizeof randoms[0]; i++)
            assert_in_range(mqtt_retry_delay_ms(n, true, randoms[i]), 60000, 72000);
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
        cmocka_unit_test(retries_wait_longer_each_time_up_to_a_minute),
        cmocka_unit_test(after_a_takeover_it_is_a_minute_at_least),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
