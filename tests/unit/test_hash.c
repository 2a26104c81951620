/* The hash of the tables in memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "util/hash.h"
#include <stdio.h>

#define PATHS   4096
#define BUCKETS 1024 /* by the lowest bits, as uthash takes them */

static void paths_that_differ_in_one_place_are_spread_evenly(void **state)
{
    unsigned buckets[BUCKETS] = {0}, most = 0;

    for (unsigned i = 0; i < PATHS; i++) {
        char path[64];
        int length =
            snprintf(path, sizeof(path), "/org/bluez/hci0/dev_C8_00_00_00_%02X_%02X/service0010",
                     i >> 8, i & 255);
        unsigned *bucket = &buckets[hash_bytes(path, (size_t)length) % BUCKETS];
        if (++*bucket > most)
            most = *bucket;
    }
    assert_true(most <= 16); /* four on average */
}

static void every_byte_and_the_length_count(void **state)
{
    char text[21] = "abcdefghijklmnopqrst";
    uint32_t before = hash_bytes(text, 20);

    for (unsigned i = 0; i < 20; i++) {
        text[i] ^= 1;
        assert_int_not_equal(hash_bytes(text, 20), before);
        text[i] ^= 1;
    }
    assert_int_equal(hash_bytes(text, 20), before);
    assert_int_not_equal(hash_bytes("\0\0", 1), hash_bytes("\0\0", 2));
    (void)hash_bytes(text, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_that_differ_in_one_place_are_spread_evenly),
        cmocka_unit_test(every_byte_and_the_length_count),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
