/* Reading a device's whole tree, from a BlueZ that says it in any order and with things in between
 * that are nobody's. */
#include "bus/helper_fake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#define DESCRIPTOR "org.bluez.GattDescriptor1"
#define SIG(uuid)  "0000" uuid "-0000-1000-8000-00805f9b34fb"

static int setup(void **state)
{
    *state = fake_new();
    fake_resolve(*state);
    return 0;
}

static int teardown(void **state)
{
    fake_free(*state);
    return 0;
}

static void object(sd_bus_message *m, const char *path, const char *interface, const char *uuid)
{
    fake_tree_begin(m, path);
    fake_append_interface(m, "org.freedesktop.DBus.Properties", NULL);
    fake_append_interface(m, interface,
                          PROPERTIES(TEXT("UUID", uuid),
                                     LIST("Flags", "read indicate encrypt-read"),
                                     BOOL("Primary", 1), TEXT("Device", "?"), TEXT("Handle", "?")));
    fake_tree_end(m);
}

static void odd_tree(struct fake *fake, sd_bus_message *m)
{
    assert_true(sd_bus_message_open_container(m, 'a', "{oa{sa{sv}}}") >= 0);
    object(m, SVC "/char000b/desc000d", DESCRIPTOR, SIG("2902"));
    object(m, SVC "/char000b", CHARACTERISTIC, SIG("2a37"));
    object(m, SVC, SERVICE, SIG("180d"));
    /* nobody's, or not what the path says */
    object(m, DEV "7/service0001", SERVICE, SIG("1800"));
    object(m, DEV "/service0000", SERVICE, SIG("1800"));
    object(m, DEV "/service00012", SERVICE, SIG("1800"));
    object(m, DEV "/service1234567890123456789012345678901234567890", SERVICE, SIG("1800"));
    object(m, DEV "/fd0", "org.bluez.MediaTransport1", SIG("1800"));
    object(m, SVC "/desc000e", DESCRIPTOR, SIG("2901"));
    object(m, SVC "/char000f", SERVICE, SIG("1800"));
    object(m, SVC "/charffff", CHARACTERISTIC, SIG("2a00"));
    object(m, SVC "/char000b/desc000d/more0001", DESCRIPTOR, SIG("2901"));
    object(m, HCI0 "/dev_00_00_00_00_00_00/service0001", SERVICE, SIG("1800"));
    assert_true(sd_bus_message_close_container(m) >= 0);
}

static void the_tree_is_given_by_handle_and_what_is_odd_is_stepped_over(void **state)
{
    struct fake *fake = *state;

    fake->tree = odd_tree;
    fake_execute(fake, fake_action(fake, ACTION_INSPECT));
    const struct event *event = &fake_expect(fake, EVENT_INSPECT_RESULT)->event;
    assert_int_equal(event->result.status, BT_STATUS_OK);
    assert_int_equal(event->op.id, fake->last_op);
    assert_int_equal(event->inspected.n_attributes, 3);
    const struct gatt_attribute *list = event->inspected.attributes;
    assert_int_equal(list[0].kind, GATT_ATTRIBUTE_SERVICE);
    assert_int_equal(list[0].handle, 0x000a);
    assert_true(list[0].primary);
    assert_int_equal(bt_uuid_to_u16(&list[0].uuid), 0x180d);
    assert_int_equal(list[1].kind, GATT_ATTRIBUTE_CHARACTERISTIC);
    assert_int_equal(list[1].handle, CHR_HANDLE);
    assert_int_equal(list[1].flags, GATT_FLAG_READ | GATT_FLAG_INDICATE);
    assert_int_equal(list[2].kind, GATT_ATTRIBUTE_DESCRIPTOR);
    assert_int_equal(list[2].handle, 0x000d);
    assert_int_equal(bt_uuid_to_u16(&list[2].uuid), 0x2902);
}

static void no_tree(struct fake *fake, sd_bus_message *m)
{
    assert_true(sd_bus_message_append(m, "s", "nothing") >= 0);
}

static void a_reply_that_is_no_tree_is_an_error(void **state)
{
    struct fake *fake = *state;

    fake->tree = no_tree;
    fake_execute(fake, fake_action(fake, ACTION_INSPECT));
    assert_int_equal(fake_expect(fake, EVENT_INSPECT_RESULT)->event.result.status,
                     BT_STATUS_FAILED);
}

static void a_lost_link_ends_it(void **state)
{
    struct fake *fake = *state;

    fake_execute(fake, fake_action(fake, ACTION_INSPECT));
    fake_changed(fake, DEV, DEVICE, PROPERTIES(BOOL("Connected", 0)), "");
    /* the reply may be faster: answered once in any case */
    bool answered = false;
    fake_settle(fake);
    while (fake->first) {
        enum event_type type = fake->first->event.type;
        if (type == EVENT_INSPECT_RESULT) {
            assert_false(answered);
            answered = true;
        }
        fake_expect(fake, type);
    }
    assert_true(answered);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(the_tree_is_given_by_handle_and_what_is_odd_is_stepped_over),
        TEST(a_reply_that_is_no_tree_is_an_error),
        TEST(a_lost_link_ends_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
