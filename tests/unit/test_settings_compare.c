/* What a change of the file means for a device: nothing, new settings on the same link, or a new
 * link. From the file on, so that no key is overlooked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "helper_config.h"

static const char base[] = "mqtt: { url: mqtt://broker, username: u, password: p }\n"
                           "gateway: { id: gw }\n"
                           "profiles:\n"
                           "  meter:\n"
                           "    manufacturer: Maker\n"
                           "    characteristics:\n"
                           "      level: { uuid: 0x2A19, subscribe: true }\n"
                           "devices:\n"
                           "  d0:\n"
                           "    name: Zero\n"
                           "    profile: meter\n"
                           "    match: { address: \"C0:00:00:00:00:00\" }\n"
                           "    connection: { every: 10m, linger: 5s }\n"
                           "    on_connect: [ { write: { characteristic: lamp, value: 1 } } ]\n"
                           "    poll: { every: 1m, steps: [ { read: level } ] }\n"
                           "    characteristics:\n"
                           "      lamp: { uuid: 0xFFE1, writable: true,\n"
                           "              fields: { value: { type: uint8, max: 100 } } }\n";

/* the file with one text in it replaced by another */
static struct settings *load_with(const char *from, const char *to)
{
    char text[4096];
    const char *at = strstr(base, from);

    assert_non_null(at);
    snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - base), base, to, at + strlen(from));
    return settings_from_text(text);
}

static void each_change_is_as_hard_as_it_has_to_be(void **state)
{
    static const struct {
        const char *from, *to;
        enum device_change change;
    } cases[] = {
        {"", "", DEVICE_CHANGE_NONE},
        {"name: Zero", "name: \"Zero\"  # as before", DEVICE_CHANGE_NONE},
        {"username: u", "username: v", DEVICE_CHANGE_NONE},
        {"name: Zero", "name: One", DEVICE_CHANGE_CONTENT},
        {"name: Zero", "area: Cellar", DEVICE_CHANGE_CONTENT},
        {"manufacturer: Maker", "manufacturer: Other", DEVICE_CHANGE_CONTENT},
        {"max: 100", "max: 99", DEVICE_CHANGE_CONTENT},
        {"type: uint8, max: 100", "type: uint8, max: 100, unit: \"%\"", DEVICE_CHANGE_CONTENT},
        {"writable: true,", "qos: 0, writable: true,", DEVICE_CHANGE_CONTENT},
        {"writable: true,", "retain: false, writable: true,", DEVICE_CHANGE_CONTENT},
        {"writable: true,", "read: { every: 1m }, writable: true,", DEVICE_CHANGE_CONTENT},
        {"subscribe: true", "subscribe: false", DEVICE_CHANGE_CONTENT},
        {"lamp: {", "lamp2: { uuid: 0xFFE1, subscribe: true }\n      lamp: {",
         DEVICE_CHANGE_CONTENT},
        {"every: 1m, steps", "every: 2m, steps", DEVICE_CHANGE_CONTENT},
        {"linger: 5s", "linger: 6s", DEVICE_CHANGE_CONTENT},
        {"name: Zero", "queue_timeout: 3s", DEVICE_CHANGE_CONTENT},
        {"name: Zero", "silence: 3m", DEVICE_CHANGE_CONTENT},
        {"name: Zero", "passkey: \"123456\"", DEVICE_CHANGE_CONTENT},
        {"00:00:00:00:00\"", "00:00:00:00:01\"", DEVICE_CHANGE_LINK},
        {"00:00:00:00:00\"", "00:00:00:00:00\", address_type: random", DEVICE_CHANGE_LINK},
        {"address: \"C0:00:00:00:00:00\"", "name: Lamp", DEVICE_CHANGE_LINK},
        {"address: \"C0:00:00:00:00:00\"", "service: 0x180D", DEVICE_CHANGE_LINK},
        {"00:00:00:00:00\"", "00:00:00:00:00\", min_rssi: -80", DEVICE_CHANGE_LINK},
        {"00:00:00:00:00\"", "00:00:00:00:00\", manufacturer: 76", DEVICE_CHANGE_LINK},
        {"{ every: 10m, linger: 5s }", "on_demand", DEVICE_CHANGE_LINK},
        {"name: Zero", "enabled: false", DEVICE_CHANGE_LINK},
        {"name: Zero", "adapter: hci1", DEVICE_CHANGE_LINK},
        {"name: Zero", "gateway: attic", DEVICE_CHANGE_LINK},
        {"lamp, value: 1", "lamp, value: 2", DEVICE_CHANGE_LINK},
        {"0xFFE1", "0xFFE2", DEVICE_CHANGE_LINK},
        {"uuid: 0xFFE1", "uuid: 0xFFE1, index: 0", DEVICE_CHANGE_LINK},
        {"uuid: 0x2A19", "service: 0x180F, uuid: 0x2A19", DEVICE_CHANGE_LINK},
        {"subscribe: true", "subscribe: true, notify: socket", DEVICE_CHANGE_LINK},
        {"lamp: {", "new: { uuid: 0xFFE3, subscribe: true }\n      lamp: {", DEVICE_CHANGE_LINK},
    };
    struct settings *old = settings_from_text(base);

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct settings *settings = load_with(cases[i].from, cases[i].to);
        enum device_change change =
            device_settings_compare(&old->devices[0], &settings->devices[0]);
        if (change != cases[i].change)
            fail_msg("'%s' to '%s' is %d, not %d", cases[i].from, cases[i].to, (int)change,
                     (int)cases[i].change);
        settings_free(settings);
    }
    settings_free(old);
}

/* settings that were not made from a file are never taken for the same */
static void without_a_hash_nothing_is_unchanged(void **state)
{
    struct settings *old = settings_from_text(base), *settings = settings_from_text(base);

    old->devices[0].hash = settings->devices[0].hash = 0;
    assert_int_equal(device_settings_compare(&old->devices[0], &settings->devices[0]),
                     DEVICE_CHANGE_CONTENT);
    settings_free(old);
    settings_free(settings);
}

static void only_what_the_connection_is_made_with_asks_for_a_new_one(void **state)
{
    static const struct {
        const char *from, *to;
        bool equal;
    } cases[] = {
        {"username: u", "username: \"u\"", true},
        {"username: u", "username: u, buffer: { messages: 10 }", true},
        {"name: Zero", "name: One", true},
        {"username: u", "username: v", false},
        {"password: p", "password: q", false},
        {"mqtt://broker", "mqtt://broker2", false},
        {"username: u", "username: u, protocol: 3.1.1", false},
        {"username: u", "username: u, keepalive: 7s", false},
        {"username: u", "username: u, client_id: c", false},
        {"mqtt://broker", "mqtts://broker", false},
    };
    struct settings *old = settings_from_text(base);

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct settings *settings = load_with(cases[i].from, cases[i].to);
        if (mqtt_settings_equal(&old->mqtt, &settings->mqtt) != cases[i].equal)
            fail_msg("'%s' to '%s'", cases[i].from, cases[i].to);
        settings_free(settings);
    }
    settings_free(old);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_change_is_as_hard_as_it_has_to_be),
        cmocka_unit_test(without_a_hash_nothing_is_unchanged),
        cmocka_unit_test(only_what_the_connection_is_made_with_asks_for_a_new_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
