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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(version_3_1_1_has_topic_identifier_and_payload),
        cmocka_unit_test(version_5_has_properties_too),
        cmocka_unit_test(the_length_of_the_length_grows),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
