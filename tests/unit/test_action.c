/* The list of actions: in order, with copies that live until the next round. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/action.h"
#include <stdlib.h>
#include <string.h>

static void actions_stay_in_order_and_start_empty(void **state)
{
    struct actions actions = ACTIONS_INIT;

    for (int round = 0; round < 3; round++) {
        actions_reset(&actions);
        for (uint16_t i = 0; i < 1000; i++) {
            struct action *action = actions_add(&actions, ACTION_READ);
            assert_int_equal(action->read.handle, 0);
            action->read.handle = (uint16_t)(i + 1);
            action->op.id = 99;
        }
        assert_int_equal(actions.n, 1000);
        for (uint16_t i = 0; i < 1000; i++) {
            assert_int_equal(actions.list[i].type, ACTION_READ);
            assert_int_equal(actions.list[i].read.handle, i + 1);
        }
        assert_false(actions.failed);
    }
    actions_done(&actions);
    assert_int_equal(actions.n, 0);
}

static void copies_live_until_the_next_reset(void **state)
{
    struct actions actions = ACTIONS_INIT;
    char *copies[500], large[20000];
    uint8_t bytes[3] = {1, 0, 2};

    for (int i = 0; i < 500; i++) {
        copies[i] = actions_printf(&actions, "text number %d", i);
        assert_non_null(copies[i]);
    }
    memset(large, 'x', sizeof(large));
    char *copy = actions_copy(&actions, large, sizeof(large));
    assert_memory_equal(copy, large, sizeof(large));
    assert_int_equal(copy[sizeof(large)], '\0');
    uint8_t *data = actions_copy(&actions, bytes, sizeof(bytes));
    bytes[0] = 9;
    assert_memory_equal(data, "\1\0\2", 4);
    assert_non_null(actions_copy(&actions, NULL, 0));
    for (int i = 0; i < 500; i++)
        assert_int_equal(atoi(copies[i] + strlen("text number ")), i);
    actions_reset(&actions);
    assert_non_null(actions_printf(&actions, "again"));
    actions_done(&actions);
}

static void copies_are_aligned_for_any_type(void **state)
{
    struct actions actions = ACTIONS_INIT;

    for (size_t length = 0; length < 40; length++) {
        char data[40] = {0};
        assert_int_equal((uintptr_t)actions_copy(&actions, data, length) % sizeof(uint64_t), 0);
    }
    actions_done(&actions);
}

static void a_long_text_is_cut_not_lost(void **state)
{
    struct actions actions = ACTIONS_INIT;
    char text[3000];

    memset(text, 'a', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    actions_log(&actions, LOG_LEVEL_WARNING, "peer", "%s", text);
    assert_int_equal(actions.n, 1);
    assert_int_equal(actions.list[0].type, ACTION_LOG);
    assert_int_equal(actions.list[0].log.level, LOG_LEVEL_WARNING);
    assert_string_equal(actions.list[0].log.area, "peer");
    assert_int_equal(strlen(actions.list[0].log.text), 1023);
    actions_done(&actions);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(actions_stay_in_order_and_start_empty),
        cmocka_unit_test(copies_live_until_the_next_reset),
        cmocka_unit_test(copies_are_aligned_for_any_type),
        cmocka_unit_test(a_long_text_is_cut_not_lost),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
