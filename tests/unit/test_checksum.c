/* The checksums that peers put into what they send, against the catalogues' check values. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/checksum.h"

static void checksums_give_the_catalogues_values(void **state)
{
    static const struct {
        const char *name;
        size_t size;
        uint16_t value; /* of "123456789" */
    } cases[] = {
        {"sum8", 1, 0xdd},          {"sum16", 2, 0x01dd},        {"sum16_negated", 2, 0xfe23},
        {"xor8", 1, 0x31},          {"crc8", 1, 0xf4},           {"crc8_maxim", 1, 0xa1},
        {"crc16_ccitt", 2, 0x29b1}, {"crc16_xmodem", 2, 0x31c3}, {"crc16_modbus", 2, 0x4b37},
    };

    assert_int_equal(ARRAY_SIZE(cases), CHECKSUM_TYPES);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        enum checksum_type type;
        assert_true(checksum_parse(cases[i].name, &type));
        assert_string_equal(checksum_name(type), cases[i].name);
        assert_int_equal(checksum_size(type), cases[i].size);
        assert_int_equal(checksum_of(type, (const uint8_t *)"123456789", 9), cases[i].value);
    }
}

static void a_negated_sum_of_nothing_is_nothing(void **state)
{
    assert_int_equal(checksum_of(CHECKSUM_SUM16_NEGATED, NULL, 0), 0);
}

static void an_unknown_name_is_none(void **state)
{
    enum checksum_type type;

    assert_false(checksum_parse("crc17", &type));
    assert_false(checksum_parse("", &type));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(checksums_give_the_catalogues_values),
        cmocka_unit_test(a_negated_sum_of_nothing_is_nothing),
        cmocka_unit_test(an_unknown_name_is_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
