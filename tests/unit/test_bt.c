/* Addresses and UUIDs as people and BlueZ write them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/bt.h"
#include <string.h>

static void addresses_go_both_ways(void **state)
{
    struct bt_address address, same;
    char text[BT_ADDRESS_TEXT_SIZE];

    assert_int_equal(bt_address_parse("a4:C1:38:cf:01:56", &address), 0);
    assert_memory_equal(address.b, "\xa4\xc1\x38\xcf\x01\x56", 6);
    bt_address_format(&address, text);
    assert_string_equal(text, "A4:C1:38:CF:01:56");
    assert_int_equal(bt_address_parse(text, &same), 0);
    assert_true(bt_address_equal(&address, &same));
    same.b[5]++;
    assert_false(bt_address_equal(&address, &same));
}

static void what_is_no_address_is_refused(void **state)
{
    static const char *const bad[] = {"",
                                      "A4C138CF0156",
                                      "A4:C1:38:CF:01",
                                      "A4:C1:38:CF:01:5",
                                      "A4:C1:38:CF:01:56:",
                                      "A4-C1-38-CF-01-56",
                                      "A4:C1:38:CF:01:5G",
                                      "A4:C1:38:CF:01: 6",
                                      "A4::C1:38:CF:0156",
                                      "A4 C1 38 CF 01 56"};
    struct bt_address address;

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(bt_address_parse(bad[i], &address), -EINVAL);
}

static void only_random_addresses_with_01_on_top_are_resolvable(void **state)
{
    static const struct {
        uint8_t top;
        bool resolvable;
    } table[] = {{0x00, false}, {0x3f, false}, {0x40, true}, {0x7f, true},
                 {0x80, false}, {0xc0, false}, {0xff, false}};

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        struct bt_address address = {{table[i].top, 1, 2, 3, 4, 5}};
        assert_int_equal(bt_address_is_resolvable(&address, BT_ADDRESS_RANDOM),
                         table[i].resolvable);
        assert_false(bt_address_is_resolvable(&address, BT_ADDRESS_PUBLIC));
        assert_int_equal(bt_address_is_private(&address, BT_ADDRESS_RANDOM), table[i].top < 0xc0);
        assert_false(bt_address_is_private(&address, BT_ADDRESS_PUBLIC));
    }
}

static void uuids_go_both_ways(void **state)
{
    static const struct {
        const char *text, *full, *brief;
        uint16_t u16;
    } table[] = {
        {"0x2A37", "00002a37-0000-1000-8000-00805f9b34fb", "0x2A37", 0x2a37},
        {"0x2a37", "00002a37-0000-1000-8000-00805f9b34fb", "0x2A37", 0x2a37},
        {"00002A37-0000-1000-8000-00805F9B34FB", "00002a37-0000-1000-8000-00805f9b34fb", "0x2A37",
         0x2a37},
        {"0x12345678", "12345678-0000-1000-8000-00805f9b34fb",
         "12345678-0000-1000-8000-00805f9b34fb", 0},
        {"ebe0ccb0-7a0a-4b0c-8a1a-6ff2997da3a6", "ebe0ccb0-7a0a-4b0c-8a1a-6ff2997da3a6",
         "ebe0ccb0-7a0a-4b0c-8a1a-6ff2997da3a6", 0},
    };
    char text[BT_UUID_TEXT_SIZE];
    struct bt_uuid uuid, same;

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        assert_int_equal(bt_uuid_parse(table[i].text, &uuid), 0);
        bt_uuid_format(&uuid, text);
        assert_string_equal(text, table[i].full);
        assert_int_equal(bt_uuid_parse(text, &same), 0);
        assert_true(bt_uuid_equal(&uuid, &same));
        bt_uuid_format_short(&uuid, text);
        assert_string_equal(text, table[i].brief);
        assert_int_equal(bt_uuid_to_u16(&uuid), table[i].u16);
    }
    uuid = bt_uuid_from_u16(0x180d);
    bt_uuid_format(&uuid, text);
    assert_string_equal(text, "0000180d-0000-1000-8000-00805f9b34fb");
}

static void what_is_no_uuid_is_refused(void **state)
{
    static const char *const bad[] = {"",
                                      "2A37",
                                      "0x2A3",
                                      "0x2A370",
                                      "0x2A3g",
                                      "0x123456789",
                                      "0x-123",
                                      "10807",
                                      "ebe0ccb07a0a4b0c8a1a6ff2997da3a6",
                                      "ebe0ccb0-7a0a-4b0c-8a1a-6ff2997da3a",
                                      "ebe0ccb0-7a0a-4b0c-8a1a-6ff2997da3a67",
                                      "ebe0ccb0-7a0a-4b0c-8a1a_6ff2997da3a6",
                                      "ebe0ccb0-7a0a-4b0c-8a1a-6ff2997da3ag",
                                      "ebe0ccb0-7a0a-4b0c-8a1a- 6f2997da3a6",
                                      "{be0ccb0-7a0a-4b0c-8a1a-6ff2997da3a6"};
    struct bt_uuid uuid;

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(bt_uuid_parse(bad[i], &uuid), -EINVAL);
}

static void each_outcome_has_a_name_of_its_own(void **state)
{
    for (int a = BT_STATUS_OK; a <= BT_STATUS_NO_SERVICES; a++) {
        assert_string_not_equal(bt_status_name((enum bt_status)a), "unknown");
        for (int b = BT_STATUS_OK; b < a; b++)
            assert_string_not_equal(bt_status_name((enum bt_status)a),
                                    bt_status_name((enum bt_status)b));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_go_both_ways),
        cmocka_unit_test(what_is_no_address_is_refused),
        cmocka_unit_test(only_random_addresses_with_01_on_top_are_resolvable),
        cmocka_unit_test(uuids_go_both_ways),
        cmocka_unit_test(what_is_no_uuid_is_refused),
        cmocka_unit_test(each_outcome_has_a_name_of_its_own),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
