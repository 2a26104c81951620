/* The length of a PUBLISH packet, compared with packets written out by hand. */
#include "mqtt/packet.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the ones above */
#include <cmocka.h>

static struct action publication(size_t length, uint8_t qos)
{
    return (struct action){.type = ACTION_PUBLISH,
                           .publish = {.topic = "a/b", .length = length, .qos = qos}};
}

static void version_3_1_1_has_topic_identifier_and_payload(void **state)
{
    struct action action = publication(2, 0);
    static const uint8_t qos0[] = {0x30, 7, 0, 3, 'a', '/', 'b', 'x', 'y'};
    static const uint8_t qos1[] = {0x32, 9, 0, 3, 'a', '/', 'b', 0, 1, 'x', 'y'};

    assert_int_equal(mqtt_publish_size(&action, false), sizeof qos0);
    action.publish.qos = 1;
    assert_int_equal(mqtt_publish_size(&action, false), sizeof qos1);
}

static void version_5_has_properties_too(void **state)
{
    struct action action = publication(1, 1);
    static const uint8_t none[] = {0x32, 9, 0, 3, 'a', '/', 'b', 0, 1, 0, 'x'};
    static const uint8_t both[] = {0x32, 19, 0, 3,  'a',  '/', 'b', 0,   1,   10, 0x02,
                                   0,    0,  0, 60, 0x09, 0,   2,   'c', 'd', 'x'};

    assert_int_equal(mqtt_publish_size(&action, true), sizeof none);
    action.publish.expiry_s = 60;
    action.publish.correlation = "cd";
    action.publish.correlation_length = 2;
    assert_int_equal(mqtt_publish_size(&action, true), sizeof both);
    assert_int_equal(mqtt_publish_size(&action, false), sizeof none - 1);
}

/* MQTT 5.0 section 1.5.5: 127, 16383 and 2097151 are the most that 1, 2 and 3 bytes hold */
static void the_length_of_the_length_grows(void **state)
{
    static const size_t most[] = {127, 16383, 2097151};

    for (size_t i = 0; i < 3; i++) {
        struct action action = publication(most[i] - 5, 0);
        assert_int_equal(mqtt_publish_size(&action, false), 1 + (i + 1) + most[i]);
        action.publish.length++;
        assert_int_equal(mqtt_publish_size(&action, false), 1 + (i + 2) + most[i] + 1);
    }
}

static void assert_written(const struct action *action, bool v5, const uint8_t *expected,
                           size_t length)
{
    uint8_t packet[64];

    assert_int_equal(mqtt_publish_write(action, v5, packet, sizeof packet), length);
    assert_memory_equal(packet, expected, length);
    assert_int_equal(mqtt_publish_write(action, v5, packet, length), length);
    assert_int_equal(mqtt_publish_write(action, v5, packet, length - 1), 0);
}

static void the_simplest_one_is_written(void **state)
{
    struct action action = publication(2, 0);
    static const uint8_t v4[] = {0x30, 7, 0, 3, 'a', '/', 'b', 'x', 'y'};
    static const uint8_t v5[] = {0x31, 13, 0, 3, 'a', '/', 'b', 5, 0x02, 1, 2, 3, 4, 'x', 'y'};
    static const uint8_t empty[] = {0x31, 6, 0, 3, 'a', '/', 'b', 0};

    action.publish.payload = "xy";
    action.publish.expiry_s = 0x01020304;
    assert_written(&action, false, v4, sizeof v4);
    action.publish.retain = true;
    assert_written(&action, true, v5, sizeof v5);
    action.publish.payload = NULL;
    action.publish.length = 0;
    action.publish.expiry_s = 0;
    assert_written(&action, true, empty, sizeof empty);
}

static void a_long_one_has_a_longer_length(void **state)
{
    static char payload[300];
    static uint8_t packet[400];
    struct action action = publication(sizeof payload, 0);

    action.publish.payload = payload;
    assert_int_equal(mqtt_publish_write(&action, false, packet, sizeof packet), 3 + 5 + 300);
    assert_int_equal(packet[1], (305 & 127) | 128);
    assert_int_equal(packet[2], 305 >> 7);
    assert_memory_equal(packet + 3, "\0\3a/b", 5);
}

static void what_needs_paho_is_not_written(void **state)
{
    struct action action = publication(0, 1);
    uint8_t packet[64];

    assert_int_equal(mqtt_publish_write(&action, true, packet, sizeof packet), 0);
    action.publish.qos = 0;
    action.publish.correlation = "c";
    action.publish.correlation_length = 1;
    assert_int_equal(mqtt_publish_write(&action, true, packet, sizeof packet), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(version_3_1_1_has_topic_identifier_and_payload),
        cmocka_unit_test(version_5_has_properties_too),
        cmocka_unit_test(the_length_of_the_length_grows),
        cmocka_unit_test(the_simplest_one_is_written),
        cmocka_unit_test(a_long_one_has_a_longer_length),
        cmocka_unit_test(what_needs_paho_is_not_written),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
