/* Whatever arrives on the bus: no crash, no leak, no wrong value, and the next good word counts. */
#include "bus/helper_fake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int setup(void **state)
{
    *state = fake_new();
    return 0;
}

static int teardown(void **state)
{
    *state = fake_free(*state);
    return 0;
}

/* takes all events there are */
static void swallow(struct fake *fake)
{
    fake_settle(fake);
    while (fake->first)
        fake_expect(fake, fake->first->event.type);
}

/* the layer still hears and still carries out */
static void still_works(struct fake *fake)
{
    swallow(fake);
    fake_changed(fake, DEV, DEVICE, PROPERTIES(INT16("RSSI", -42)), NULL);
    const struct event *event = &fake_expect(fake, EVENT_DEVICE)->event;
    assert_int_equal(event->device_info.rssi, -42);
    assert_true(event->device_info.heard);
    fake_expect_none(fake);
}

/* one of each shape: the wrong ones for any property */
static const struct fake_property shapes[] = {
    {.type = "s", .text = ""},
    {.type = "s", .text = "nonsense"},
    {.type = "o", .text = "/"},
    {.type = "b", .number = 1},
    {.type = "n", .number = -1},
    {.type = "q", .number = 65535},
    {.type = "u", .number = -1},
    {.type = "y", .number = 255},
    {.type = "as", .text = "a b  c"},
    {.type = "ay", .bytes = "", .length = 0},
    {.type = "ay", .bytes = "\xff\x00", .length = 2},
    {.type = "a{qv}", .number = 1, .bytes = "", .length = 0},
    {.type = "a{sv}", .text = "nonsense", .bytes = "x", .length = 1},
};

static const char *const keys[] = {
    "Address",
    "AddressType",
    "Name",
    "RSSI",
    "Connected",
    "ServicesResolved",
    "Paired",
    "Bonded",
    "UUIDs",
    "Powered",
    "ManufacturerData",
    "ServiceData",
    "UUID",
    "Flags",
    "Notifying",
    "Value",
    "MTU",
    "Discovering",
    "Modalias",
    "",
};

static void every_property_may_have_every_type(void **state)
{
    struct fake *fake = *state;
    static const struct {
        const char *path, *interface;
    } objects[] = {{HCI0, ADAPTER}, {DEV, DEVICE}, {SVC, SERVICE}, {CHR, CHARACTERISTIC}};

    fake_resolve(fake);
    fake_subscribe(fake, 1);
    for (size_t o = 0; o < ARRAY_SIZE(objects); o++) {
        for (size_t k = 0; k < ARRAY_SIZE(keys); k++) {
            for (size_t s = 0; s < ARRAY_SIZE(shapes); s++) {
                struct fake_property p[] = {shapes[s], {0}};
                p[0].key = keys[k];
                fake_changed(fake, objects[o].path, objects[o].interface, p, keys[k]);
                fake_added(fake, objects[o].path, objects[o].interface, p);
                swallow(fake);
            }
        }
    }
    fake_changed(fake, HCI0, ADAPTER, PROPERTIES(BOOL("Powered", 1)), NULL);
    still_works(fake);
}

static void a_wrong_type_changes_nothing(void **state)
{
    struct fake *fake = *state;

    fake_resolve(fake);
    fake_changed(fake, DEV, DEVICE,
                 PROPERTIES(TEXT("Connected", "no"), TEXT("RSSI", "far"),
                            BOOL("ManufacturerData", 1), TEXT("Paired", "yes"), BOOL("Address", 0),
                            TEXT("Address", "AA:BB")),
                 NULL);
    swallow(fake);
    fake_changed(fake, DEV, DEVICE, PROPERTIES(INT16("RSSI", -42)), NULL);
    const struct device_info *info = &fake_expect(fake, EVENT_DEVICE)->event.device_info;
    assert_true(info->connected);
    assert_false(info->paired);
    assert_int_equal(info->n_manufacturer, 0);
    assert_int_equal(info->address.b[5], 0x56);
}

static void a_value_that_is_too_long_is_none(void **state)
{
    struct fake *fake = *state;
    uint8_t huge[GATT_VALUE_MAX + 1] = {0};

    fake_resolve(fake);
    fake_subscribe(fake, 1);
    fake_changed(
        fake, CHR, CHARACTERISTIC,
        PROPERTIES({.key = "Value", .type = "ay", .bytes = huge, .length = GATT_VALUE_MAX + 1}),
        NULL);
    fake_changed(
        fake, CHR, CHARACTERISTIC,
        PROPERTIES({.key = "Value", .type = "ay", .bytes = huge, .length = GATT_VALUE_MAX}), NULL);
    assert_int_equal(fake_expect(fake, EVENT_VALUE)->event.value.length, GATT_VALUE_MAX);
    fake_expect_none(fake);
}

static void paths_that_are_none_of_bluez_are_ignored(void **state)
{
    struct fake *fake = *state;
    static const char *const paths[] = {
        "/",
        "/x",
        HCI0,
        DEV,
        SVC,
        CHR,
        HCI0 "/dev_1/service0001",
        DEV "/service",
        DEV "/service000",
        DEV "/service00000",
        DEV "/servicezzzz",
        DEV "/service0000",
        DEV "/char000b",
        SVC "/char",
        SVC "/charffff", /* its value would have handle 0x10000 */
        SVC "/char000b/desc000d",
        DEV "/x/char000b",
        SVC "/service000b",
        CHR "/char000b",
    };
    static const char *const interfaces[] = {ADAPTER, DEVICE, SERVICE, CHARACTERISTIC, "x.y"};

    fake->tree = fake_tree_connected;
    fake_start(fake);
    for (size_t p = 0; p < ARRAY_SIZE(paths); p++) {
        for (size_t i = 0; i < ARRAY_SIZE(interfaces); i++) {
            if (strcmp(interfaces[i], DEVICE) == 0 && strcmp(paths[p], DEV) == 0)
                continue;
            fake_added(fake, paths[p], interfaces[i], PROPERTIES(BOOL("Connected", 0)));
            fake_changed(fake, paths[p], interfaces[i], PROPERTIES(BOOL("Connected", 0)), "x");
            swallow(fake);
        }
    }
    still_works(fake);
    for (size_t p = 0; p < ARRAY_SIZE(paths); p++) {
        for (size_t i = 0; i < ARRAY_SIZE(interfaces); i++) {
            fake_removed(fake, paths[p], interfaces[i]);
            swallow(fake);
        }
    }
}

static void signals_with_other_signatures_are_ignored(void **state)
{
    struct fake *fake = *state;
    static const struct {
        const char *path, *interface, *member;
    } signals[] = {
        {"/", "org.freedesktop.DBus.ObjectManager", "InterfacesAdded"},
        {"/", "org.freedesktop.DBus.ObjectManager", "InterfacesRemoved"},
        {"/", "org.freedesktop.DBus.ObjectManager", "Other"},
        {DEV, "org.freedesktop.DBus.Properties", "PropertiesChanged"},
        {"/org/freedesktop/DBus", "org.freedesktop.DBus", "NameOwnerChanged"},
    };

    fake_start(fake);
    for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
        for (int shape = 0; shape < 4; shape++) {
            sd_bus_message *m;
            assert_true(sd_bus_message_new_signal(fake->server, &m, signals[i].path,
                                                  signals[i].interface, signals[i].member) >= 0);
            if (shape == 1)
                assert_true(sd_bus_message_append(m, "s", DEVICE) >= 0);
            else if (shape == 2)
                assert_true(sd_bus_message_append(m, "oa{sv}", DEV, 0) >= 0);
            else if (shape == 3)
                assert_true(sd_bus_message_append(m, "sa{ss}as", DEVICE, 1, "Connected", "x", 0) >=
                            0);
            fake_send(fake, m);
        }
    }
    fake_expect_none(fake);
    still_works(fake);
}

static void replies_with_other_signatures_are_failures(void **state)
{
    struct fake *fake = *state;
    struct action action;

    fake_resolve(fake);
    action = fake_action(fake, ACTION_READ);
    action.read.handle = CHR_HANDLE;
    fake_execute(fake, action);
    fake_answer(fake, "ReadValue");
    assert_int_equal(fake_expect(fake, EVENT_READ_RESULT)->event.result.status, BT_STATUS_FAILED);
    /* an error that means success for a connect means nothing for a read */
    fake_execute(fake, action);
    fake_refuse(fake, "ReadValue", "org.bluez.Error.AlreadyConnected", "");
    assert_int_equal(fake_expect(fake, EVENT_READ_RESULT)->event.result.status, BT_STATUS_FAILED);
    action = fake_action(fake, ACTION_SUBSCRIBE);
    action.subscribe.handle = CHR_HANDLE;
    action.subscribe.socket = true;
    fake_execute(fake, action);
    fake_answer(fake, "AcquireNotify");
    fake_answer(fake, "StartNotify"); /* falls back */
    assert_int_equal(fake_expect(fake, EVENT_SUBSCRIBE_RESULT)->event.result.status, BT_STATUS_OK);
    fake_execute(fake, fake_action(fake, ACTION_RESOLVE));
    fake_answer(fake, "Get");
    fake_expect_none(fake); /* the core's deadline ends it */
    still_works(fake);
}

static void append_nothing(struct fake *fake, sd_bus_message *reply)
{
    assert_true(sd_bus_message_append(reply, "s", "no tree") >= 0);
    fake->tree = fake_tree_plain;
}

static void an_unreadable_tree_is_asked_for_again(void **state)
{
    struct fake *fake = *state;

    fake->tree = append_nothing;
    assert_int_equal(bluez_start(fake->bluez), 0);
    fake_expect(fake, EVENT_BLUEZ_DOWN);
    fake_expect(fake, EVENT_ADAPTER);
    fake_expect(fake, EVENT_DEVICE);
    fake_expect(fake, EVENT_BLUEZ_UP);
    still_works(fake);
}

#define DEVICES_MAX_PLUS 4200

static void thousands_of_passers_by_never_push_out_a_wanted_device(void **state)
{
    struct fake *fake = *state;
    char path[64];
    size_t n_devices = 0, n_gone = 0;

    fake_start(fake);
    uint32_t wanted = fake->device;
    for (int i = 0; i < DEVICES_MAX_PLUS; i++) {
        snprintf(path, sizeof(path), HCI0 "/dev_%06d", i);
        fake_added(fake, path, DEVICE, PROPERTIES(INT16("RSSI", -90)));
        fake_settle(fake);
    }
    while (fake->first) {
        enum event_type type = fake->first->event.type;
        const struct event *event = &fake_expect(fake, type)->event;
        assert_int_not_equal(event->device, wanted);
        n_devices += type == EVENT_DEVICE;
        n_gone += type == EVENT_DEVICE_GONE;
    }
    assert_int_equal(n_devices, DEVICES_MAX_PLUS);
    assert_int_equal(n_devices - n_gone, 4096 - 1); /* and the wanted one */
    still_works(fake);
    assert_int_equal(fake->device, wanted);
}

static void attributes_and_adapters_have_a_maximum(void **state)
{
    struct fake *fake = *state;
    char path[128];

    fake->tree = fake_tree_connected;
    fake_start(fake);
    for (unsigned i = 1; i < 3000; i++) {
        snprintf(path, sizeof(path), SVC "/char%04x", i);
        fake_added(fake, path, CHARACTERISTIC, NULL);
        fake_settle(fake);
    }
    size_t n = 1;
    for (unsigned i = 1; i < 40; i++) {
        snprintf(path, sizeof(path), "/org/bluez/hci%u", i);
        fake_added(fake, path, ADAPTER, PROPERTIES(BOOL("Powered", 1)));
        fake_settle(fake);
        if (fake->first) {
            fake_expect(fake, EVENT_ADAPTER);
            n++;
        }
    }
    assert_int_equal(n, 16);
    still_works(fake);
}

static void random_signals_do_no_harm(void **state)
{
    struct fake *fake = *state;
    static const char *const paths[] = {
        HCI0, DEV, SVC, CHR, CHR2, HCI0 "/dev_1", "/org/bluez/hci1"};
    static const char *const interfaces[] = {ADAPTER, DEVICE, SERVICE, CHARACTERISTIC};
    unsigned seed = 20261123;

    fake_resolve(fake);
    for (int i = 0; i < 20000; i++) {
        const char *path = paths[(unsigned)rand_r(&seed) % ARRAY_SIZE(paths)];
        const char *interface = interfaces[(unsigned)rand_r(&seed) % ARRAY_SIZE(interfaces)];
        struct fake_property p[4] = {0};
        for (int k = 0; k < 3; k++) {
            p[k] = shapes[(unsigned)rand_r(&seed) % ARRAY_SIZE(shapes)];
            p[k].key = keys[(unsigned)rand_r(&seed) % ARRAY_SIZE(keys)];
        }
        struct action action =
            fake_action(fake, (enum action_type)((unsigned)rand_r(&seed) %
                                                 ((unsigned)ACTION_REMOVE_DEVICE + 1)));
        if (action.type == ACTION_READ)
            action.read.handle = CHR_HANDLE;
        else if (action.type == ACTION_SUBSCRIBE || action.type == ACTION_UNSUBSCRIBE)
            action.subscribe.handle = CHR_HANDLE;
        switch ((unsigned)rand_r(&seed) % 8) {
        case 0: fake_added(fake, path, interface, p); break;
        case 1: fake_removed(fake, path, interface); break;
        case 2: fake_execute(fake, action); break;
        case 3: /* any of the calls that wait is answered, somehow */
            if (fake->n_calls > 0) {
                const char *member = sd_bus_message_get_member(fake->calls[0]);
                if (i % 2)
                    fake_answer(fake, member);
                else
                    fake_refuse(fake, member, "org.bluez.Error.Failed", "Not connected");
            }
            break;
        default: fake_changed(fake, path, interface, p, keys[(unsigned)i % ARRAY_SIZE(keys)]);
        }
        if (i % 16 == 0)
            swallow(fake);
    }
    swallow(fake);
    fake_removed(fake, HCI0, ADAPTER);
    fake_added(fake, HCI0, ADAPTER, PROPERTIES(BOOL("Powered", 1)));
    fake_added(fake, DEV, DEVICE, PROPERTIES(INT16("RSSI", -1)));
    still_works(fake);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(every_property_may_have_every_type),
        TEST(a_wrong_type_changes_nothing),
        TEST(a_value_that_is_too_long_is_none),
        TEST(paths_that_are_none_of_bluez_are_ignored),
        TEST(signals_with_other_signatures_are_ignored),
        TEST(replies_with_other_signatures_are_failures),
        TEST(an_unreadable_tree_is_asked_for_again),
        TEST(thousands_of_passers_by_never_push_out_a_wanted_device),
        TEST(attributes_and_adapters_have_a_maximum),
        TEST(random_signals_do_no_harm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
