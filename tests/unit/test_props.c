/* Properties are read when they have the right type and stepped over when not. */
#include "bluez/props.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define OK(call) assert_true((call) >= 0)

struct fixture {
    sd_bus *bus;
    int peer; /* messages want a started bus; nobody reads there */
};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    int pair[2];

    assert_non_null(fixture);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    fixture->peer = pair[1];
    OK(sd_bus_new(&fixture->bus));
    OK(sd_bus_set_fd(fixture->bus, pair[0], pair[0]));
    OK(sd_bus_start(fixture->bus));
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;

    sd_bus_close_unref(fixture->bus);
    close(fixture->peer);
    free(fixture);
    return 0;
}

/* a message that is read by itself, never sent */
static sd_bus_message *message(struct fixture *fixture)
{
    sd_bus_message *m;

    OK(sd_bus_message_new(fixture->bus, &m, SD_BUS_MESSAGE_SIGNAL));
    return m;
}

static sd_bus_message *sealed(sd_bus_message *m)
{
    OK(sd_bus_message_seal(m, 1, 0));
    OK(sd_bus_message_rewind(m, 1));
    return m;
}

struct found {
    bool powered;
    int16_t rssi;
    uint16_t mtu;
    const char *name;
    const uint8_t *value;
    size_t length;
    uint16_t flags;
    struct bt_uuid uuids[2];
    size_t n_uuids;
    struct manufacturer_data manufacturer[2];
    size_t n_manufacturer;
    struct service_data service_data[2];
    size_t n_service_data;
    int n_calls, n_taken;
};

static int take(void *userdata, const char *key, const char *type, sd_bus_message *m)
{
    struct found *found = userdata;
    int r = 0;

    found->n_calls++;
    if (strcmp(key, "Powered") == 0)
        r = props_bool(m, type, &found->powered);
    else if (strcmp(key, "RSSI") == 0)
        r = props_int16(m, type, &found->rssi);
    else if (strcmp(key, "MTU") == 0)
        r = props_uint16(m, type, &found->mtu);
    else if (strcmp(key, "Name") == 0)
        r = props_string(m, type, &found->name);
    else if (strcmp(key, "Value") == 0)
        r = props_bytes(m, type, &found->value, &found->length);
    else if (strcmp(key, "Flags") == 0)
        r = props_gatt_flags(m, type, &found->flags);
    else if (strcmp(key, "UUIDs") == 0)
        r = props_uuids(m, type, found->uuids, 2, &found->n_uuids);
    else if (strcmp(key, "ManufacturerData") == 0)
        r = props_manufacturer(m, type, found->manufacturer, 2, &found->n_manufacturer);
    else if (strcmp(key, "ServiceData") == 0)
        r = props_service_data(m, type, found->service_data, 2, &found->n_service_data);
    found->n_taken += r > 0;
    return r;
}

static void each_property_of_its_type_is_read(void **state)
{
    sd_bus_message *m = message(*state);
    struct found found = {0};

    OK(sd_bus_message_append(m, "a{sv}", 8, "Powered", "b", 1, "RSSI", "n", -71, "MTU", "q", 247,
                             "Name", "s", "strap", "Value", "ay", 2, 0xa5, 0x5a, "Flags", "as", 3,
                             "read", "notify", "reliable-write", "UUIDs", "as", 1,
                             "0000180d-0000-1000-8000-00805f9b34fb", "Unknown", "(si)", "x", 1));
    assert_int_equal(props_each(sealed(m), take, &found), 0);
    assert_int_equal(found.n_calls, 8);
    assert_int_equal(found.n_taken, 7);
    assert_true(found.powered);
    assert_int_equal(found.rssi, -71);
    assert_int_equal(found.mtu, 247);
    assert_string_equal(found.name, "strap");
    assert_int_equal(found.length, 2);
    assert_memory_equal(found.value, "\xa5\x5a", 2);
    assert_int_equal(found.flags, GATT_FLAG_READ | GATT_FLAG_NOTIFY);
    assert_int_equal(found.n_uuids, 1);
    assert_int_equal(bt_uuid_to_u16(&found.uuids[0]), 0x180d);
    sd_bus_message_unref(m);
}

static void each_property_of_another_type_is_stepped_over(void **state)
{
    sd_bus_message *m = message(*state);
    struct found found = {.rssi = 5};

    OK(sd_bus_message_append(m, "a{sv}", 10, "Powered", "s", "yes", "RSSI", "i", -71, "MTU", "n", 2,
                             "Name", "o", "/x", "Value", "aq", 1, 7, "Flags", "s", "read", "UUIDs",
                             "ao", 1, "/x", "ManufacturerData", "a{sv}", 1, "x", "ay", 0,
                             "ServiceData", "a{qv}", 1, 1, "ay", 0, "RSSI", "n", -3));
    assert_int_equal(props_each(sealed(m), take, &found), 0);
    assert_int_equal(found.n_calls, 10);
    assert_int_equal(found.n_taken, 1); /* what comes after is still read */
    assert_int_equal(found.rssi, -3);
    sd_bus_message_unref(m);
}

static void lists_are_cut_at_their_maximum_and_bad_entries_left_out(void **state)
{
    sd_bus_message *m = message(*state);
    struct found found = {0};

    OK(sd_bus_message_append(
        m, "a{sv}", 3, "UUIDs", "as", 4, "nonsense", "0000180d-0000-1000-8000-00805f9b34fb",
        "0000180f-0000-1000-8000-00805f9b34fb", "00001800-0000-1000-8000-00805f9b34fb",
        "ManufacturerData", "a{qv}", 4, 1, "s", "x", 2, "ay", 1, 0x22, 3, "ay", 0, 4, "ay", 1, 0x44,
        "ServiceData", "a{sv}", 2, "nonsense", "ay", 1, 1, "0000fe95-0000-1000-8000-00805f9b34fb",
        "ay", 1, 0x95));
    assert_int_equal(props_each(sealed(m), take, &found), 0);
    assert_int_equal(found.n_taken, 3);
    assert_int_equal(found.n_uuids, 2);
    assert_int_equal(bt_uuid_to_u16(&found.uuids[1]), 0x180f);
    assert_int_equal(found.n_manufacturer, 2);
    assert_int_equal(found.manufacturer[0].company, 2);
    assert_int_equal(found.manufacturer[0].data[0], 0x22);
    assert_int_equal(found.manufacturer[1].company, 3);
    assert_int_equal(found.manufacturer[1].length, 0);
    assert_int_equal(found.n_service_data, 1);
    assert_int_equal(bt_uuid_to_u16(&found.service_data[0].uuid), 0xfe95);
    sd_bus_message_unref(m);
}

static void what_is_no_dictionary_is_an_error(void **state)
{
    sd_bus_message *m = message(*state);
    struct found found = {0};

    OK(sd_bus_message_append(m, "s", "x"));
    assert_true(props_each(sealed(m), take, &found) < 0);
    assert_int_equal(found.n_calls, 0);
    sd_bus_message_unref(m);
    m = message(*state);
    assert_true(props_each(sealed(m), take, &found) < 0);
    sd_bus_message_unref(m);
}

static int take_mtu(void *userdata, const char *key, const char *type, sd_bus_message *m)
{
    return props_uint16(m, type, userdata);
}

static void a_lone_variant_is_read_like_a_property(void **state)
{
    sd_bus_message *m = message(*state);
    uint16_t mtu = 23;

    OK(sd_bus_message_append(m, "vvs", "q", 247, "s", "x", "no variant"));
    sealed(m);
    assert_int_equal(props_value(m, take_mtu, &mtu), 0);
    assert_int_equal(mtu, 247);
    assert_int_equal(props_value(m, take_mtu, &mtu), 0); /* another type: unchanged */
    assert_int_equal(mtu, 247);
    assert_true(props_value(m, take_mtu, &mtu) < 0);
    sd_bus_message_unref(m);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(each_property_of_its_type_is_read),
        TEST(each_property_of_another_type_is_stepped_over),
        TEST(lists_are_cut_at_their_maximum_and_bad_entries_left_out),
        TEST(what_is_no_dictionary_is_an_error),
        TEST(a_lone_variant_is_read_like_a_property),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
