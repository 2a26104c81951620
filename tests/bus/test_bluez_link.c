/* Connecting, resolving, losing the link: what is answered, when, and exactly once. */
#include "bus/helper_fake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

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

static const struct event *expect_answer(struct fake *fake, enum event_type type,
                                         enum bt_status status)
{
    const struct event *event = &fake_expect(fake, type)->event;

    assert_string_equal(bt_status_name(event->result.status), bt_status_name(status));
    assert_int_equal(event->op.peer, 7);
    assert_int_equal(event->op.generation, 3);
    return event;
}

static void connected(struct fake *fake, bool connected)
{
    fake_changed(fake, DEV, DEVICE, PROPERTIES(BOOL("Connected", connected)), NULL);
    assert_int_equal(fake_expect(fake, EVENT_LINK)->event.link.connected, connected);
}

static void resolved(struct fake *fake)
{
    fake_changed(fake, DEV, DEVICE, PROPERTIES(BOOL("ServicesResolved", 1)), NULL);
    assert_true(fake_expect(fake, EVENT_DEVICE)->event.device_info.services_resolved);
}

static void a_connect_is_answered_whichever_of_reply_and_signal_comes_first(void **state)
{
    struct fake *fake = *state;

    fake_start(fake);
    fake_execute(fake, fake_action(fake, ACTION_CONNECT));
    sd_bus_message *call = fake_call(fake, "Connect");
    assert_string_equal(sd_bus_message_get_path(call), DEV);
    assert_false(sd_bus_message_get_auto_start(call));
    connected(fake, true);
    assert_true(sd_bus_reply_method_return(call, NULL) >= 0);
    sd_bus_message_unref(call);
    expect_answer(fake, EVENT_CONNECT_RESULT, BT_STATUS_OK);
    connected(fake, false);
    fake_execute(fake, fake_action(fake, ACTION_CONNECT));
    fake_answer(fake, "Connect");
    expect_answer(fake, EVENT_CONNECT_RESULT, BT_STATUS_OK);
    connected(fake, true);
    fake_expect_none(fake);
}

static void a_failed_connect_is_answered_with_bluez_words(void **state)
{
    struct fake *fake = *state;

    fake_start(fake);
    fake_execute(fake, fake_action(fake, ACTION_CONNECT));
    fake_refuse(fake, "Connect", "org.bluez.Error.Failed", "le-connection-abort-by-local");
    const struct event *event = expect_answer(fake, EVENT_CONNECT_RESULT, BT_STATUS_FAILED);
    assert_string_equal(event->result.text, "le-connection-abort-by-local");
    assert_int_equal(event->device, fake->device);
    assert_int_equal(event->op.id, fake->last_op);
}

static void a_connect_that_we_cancel_is_cancelled_in_every_version(void **state)
{
    struct fake *fake = *state;

    fake_start(fake);
    fake_execute(fake, fake_action(fake, ACTION_CONNECT));
    fake_execute(fake, fake_action(fake, ACTION_DISCONNECT));
    fake_refuse(fake, "Connect", "org.bluez.Error.Failed", "Software caused connection abort");
    fake_answer(fake, "Disconnect");
    expect_answer(fake, EVENT_CONNECT_RESULT, BT_STATUS_CANCELLED);
    expect_answer(fake, EVENT_DISCONNECT_RESULT, BT_STATUS_OK);
    fake_expect_none(fake);
}

static void a_device_removed_during_connect_answers_gone_at_once(void **state)
{
    struct fake *fake = *state;

    fake_start(fake);
    fake_execute(fake, fake_action(fake, ACTION_CONNECT));
    sd_bus_message *call = fake_call(fake, "Connect");
    fake_removed(fake, DEV, DEVICE);
    expect_answer(fake, EVENT_CONNECT_RESULT, BT_STATUS_GONE);
    fake_expect(fake, EVENT_DEVICE_GONE);
    /* and a reply that comes after all changes nothing */
    assert_true(sd_bus_reply_method_return(call, NULL) >= 0);
    sd_bus_message_unref(call);
    fake_expect_none(fake);
}

static void an_action_for_a_dead_device_is_answered_gone_and_never_at_once(void **state)
{
    struct fake *fake = *state;

    fake_start(fake);
    fake_removed(fake, DEV, DEVICE);
    fake_expect(fake, EVENT_DEVICE_GONE);
    for (int type = ACTION_CONNECT; type <= ACTION_REMOVE_DEVICE; type++)
        fake_execute(fake, fake_action(fake, (enum action_type)type));
    assert_null(fake->first);
    expect_answer(fake, EVENT_CONNECT_RESULT, BT_STATUS_GONE);
    expect_answer(fake, EVENT_DISCONNECT_RESULT, BT_STATUS_GONE);
    expect_answer(fake, EVENT_RESOLVE_RESULT, BT_STATUS_GONE);
    expect_answer(fake, EVENT_SUBSCRIBE_RESULT, BT_STATUS_GONE);
    expect_answer(fake, EVENT_SUBSCRIBE_RESULT, BT_STATUS_GONE);
    expect_answer(fake, EVENT_READ_RESULT, BT_STATUS_GONE);
    expect_answer(fake, EVENT_WRITE_RESULT, BT_STATUS_GONE);
    expect_answer(fake, EVENT_INSPECT_RESULT, BT_STATUS_GONE);
    expect_answer(fake, EVENT_PAIR_RESULT, BT_STATUS_GONE);
    expect_answer(fake, EVENT_REMOVE_RESULT, BT_STATUS_GONE);
    fake_expect_none(fake);
}

static void resolving_waits_for_the_services_and_gives_the_tree_by_handle(void **state)
{
    struct fake *fake = *state;

    fake_start(fake);
    connected(fake, true);
    fake_execute(fake, fake_action(fake, ACTION_RESOLVE));
    fake_expect_none(fake);
    /* BlueZ may say so before it shows the objects: what it still holds comes before the barrier */
    resolved(fake);
    sd_bus_message *barrier = fake_call(fake, "Get");
    fake_add_characteristics(fake);
    assert_true(sd_bus_reply_method_return(barrier, "v", "b", 1) >= 0);
    sd_bus_message_unref(barrier);
    fake_answer_get(fake, "MTU", "q", 185);
    const struct event *event = expect_answer(fake, EVENT_RESOLVE_RESULT, BT_STATUS_OK);
    assert_int_equal(event->resolved.mtu, 185);
    assert_int_equal(event->resolved.n_characteristics, 2);
    const struct gatt_characteristic *tree = event->resolved.characteristics;
    assert_int_equal(tree[0].handle, CHR_HANDLE);
    assert_int_equal(tree[0].service_handle, 0x000a);
    assert_int_equal(tree[0].flags, GATT_FLAG_NOTIFY | GATT_FLAG_READ);
    assert_int_equal(bt_uuid_to_u16(&tree[0].uuid), 0x2a37);
    assert_int_equal(bt_uuid_to_u16(&tree[0].service), 0x180d);
    assert_int_equal(tree[1].handle, CHR2_HANDLE);
    assert_int_equal(tree[1].flags, GATT_FLAG_READ | GATT_FLAG_WRITE | GATT_FLAG_WRITE_COMMAND);
    fake_expect_none(fake);
}

static void services_that_are_resolved_already_are_not_waited_for(void **state)
{
    struct fake *fake = *state;

    fake->tree = fake_tree_connected;
    fake_start(fake);
    fake_execute(fake, fake_action(fake, ACTION_RESOLVE));
    fake_answer_get(fake, "ServicesResolved", "b", 1);
    /* a BlueZ without that property */
    fake_refuse(fake, "Get", "org.freedesktop.DBus.Error.InvalidArgs", "No such property 'MTU'");
    const struct event *event = expect_answer(fake, EVENT_RESOLVE_RESULT, BT_STATUS_OK);
    assert_int_equal(event->resolved.n_characteristics, 2);
}

static void a_peer_without_services_is_not_taken_for_resolved(void **state)
{
    struct fake *fake = *state;

    fake_start(fake);
    connected(fake, true);
    fake_execute(fake, fake_action(fake, ACTION_RESOLVE));
    resolved(fake);
    fake_answer_get(fake, "ServicesResolved", "b", 1);
    expect_answer(fake, EVENT_RESOLVE_RESULT, BT_STATUS_NO_SERVICES);
}

static void services_that_vanish_during_the_barrier_are_waited_for_again(void **state)
{
    struct fake *fake = *state;

    fake_start(fake);
    connected(fake, true);
    fake_execute(fake, fake_action(fake, ACTION_RESOLVE));
    resolved(fake);
    fake_changed(fake, DEV, DEVICE, PROPERTIES(BOOL("ServicesResolved", 0)), NULL);
    fake_expect(fake, EVENT_DEVICE);
    fake_answer_get(fake, "ServicesResolved", "b", 0);
    fake_expect_none(fake);
    fake_add_characteristics(fake);
    resolved(fake);
    fake_answer_get(fake, "ServicesResolved", "b", 1);
    fake_answer_get(fake, "MTU", "q", 23);
    expect_answer(fake, EVENT_RESOLVE_RESULT, BT_STATUS_OK);
}

static void a_lost_link_ends_resolving(void **state)
{
    struct fake *fake = *state;

    fake_start(fake);
    fake_execute(fake, fake_action(fake, ACTION_RESOLVE)); /* not even connected */
    expect_answer(fake, EVENT_RESOLVE_RESULT, BT_STATUS_NOT_CONNECTED);
    connected(fake, true);
    fake_execute(fake, fake_action(fake, ACTION_RESOLVE));
    connected(fake, false);
    expect_answer(fake, EVENT_RESOLVE_RESULT, BT_STATUS_NOT_CONNECTED);
    fake_expect_none(fake);
}

static void a_disconnect_cancels_resolving(void **state)
{
    struct fake *fake = *state;

    fake_start(fake);
    connected(fake, true);
    fake_execute(fake, fake_action(fake, ACTION_RESOLVE));
    fake_execute(fake, fake_action(fake, ACTION_DISCONNECT));
    expect_answer(fake, EVENT_RESOLVE_RESULT, BT_STATUS_CANCELLED);
    fake_answer(fake, "Disconnect");
    expect_answer(fake, EVENT_DISCONNECT_RESULT, BT_STATUS_OK);
    connected(fake, false);
    fake_expect_none(fake);
}

static void a_lost_link_answers_what_is_pending_with_not_connected(void **state)
{
    struct fake *fake = *state;
    struct action read, write;

    fake_resolve(fake);
    read = fake_action(fake, ACTION_READ);
    read.read.handle = CHR2_HANDLE;
    fake_execute(fake, read);
    write = fake_action(fake, ACTION_WRITE);
    write.write.handle = CHR2_HANDLE;
    fake_execute(fake, write);
    sd_bus_message_unref(fake_call(fake, "ReadValue"));
    sd_bus_message *late = fake_call(fake, "WriteValue");
    connected(fake, false);
    expect_answer(fake, EVENT_READ_RESULT, BT_STATUS_NOT_CONNECTED);
    expect_answer(fake, EVENT_WRITE_RESULT, BT_STATUS_NOT_CONNECTED);
    assert_true(sd_bus_reply_method_return(late, NULL) >= 0);
    sd_bus_message_unref(late);
    fake_expect_none(fake);
}

static void removing_a_device_is_answered_after_it_went(void **state)
{
    struct fake *fake = *state;
    const char *path;

    fake_start(fake);
    fake_execute(fake, fake_action(fake, ACTION_REMOVE_DEVICE));
    sd_bus_message *call = fake_call(fake, "RemoveDevice");
    assert_string_equal(sd_bus_message_get_path(call), HCI0);
    assert_true(sd_bus_message_read(call, "o", &path) > 0);
    assert_string_equal(path, DEV);
    fake_removed(fake, DEV, DEVICE);
    fake_expect(fake, EVENT_DEVICE_GONE);
    assert_true(sd_bus_reply_method_return(call, NULL) >= 0);
    sd_bus_message_unref(call);
    expect_answer(fake, EVENT_REMOVE_RESULT, BT_STATUS_OK);
}

static void a_changed_tree_is_told_once_and_only_after_it_was_known(void **state)
{
    struct fake *fake = *state;

    fake->tree = fake_tree_connected;
    fake_start(fake);
    fake_removed(fake, CHR2, CHARACTERISTIC);
    fake_expect_none(fake);
    fake_execute(fake, fake_action(fake, ACTION_RESOLVE));
    fake_answer_get(fake, "ServicesResolved", "b", 1);
    fake_answer_get(fake, "MTU", "q", 23);
    expect_answer(fake, EVENT_RESOLVE_RESULT, BT_STATUS_OK);
    fake_removed(fake, CHR, CHARACTERISTIC);
    fake_removed(fake, SVC, SERVICE);
    fake_add_characteristics(fake);
    fake_expect(fake, EVENT_SERVICES_CHANGED);
    fake_expect_none(fake);
    fake_execute(fake, fake_action(fake, ACTION_RESOLVE));
    fake_answer_get(fake, "ServicesResolved", "b", 1);
    fake_answer_get(fake, "MTU", "q", 23);
    assert_int_equal(
        expect_answer(fake, EVENT_RESOLVE_RESULT, BT_STATUS_OK)->resolved.n_characteristics, 2);
}

/* the core answers each event with actions, from inside the event */
static void reconnect(struct fake *fake, const struct event *event)
{
    if (event->type == EVENT_CONNECT_RESULT && event->result.status != BT_STATUS_OK &&
        fake->last_op < 20)
        fake_execute(fake, fake_action(fake, ACTION_CONNECT));
    if (event->type == EVENT_LINK)
        fake_execute(fake, fake_action(fake, ACTION_DISCONNECT));
}

static void whoever_acts_from_inside_an_event_gets_answers_too(void **state)
{
    struct fake *fake = *state;

    fake->tree = fake_tree_connected;
    fake->on_event = reconnect;
    fake_start(fake);
    for (int i = 0; i < 3; i++)
        fake_execute(fake, fake_action(fake, ACTION_CONNECT));
    fake_execute(fake, fake_action(fake, ACTION_RESOLVE));
    fake_settle(fake);
    fake_removed(fake, DEV, DEVICE);
    fake_expect(fake, EVENT_LINK); /* disconnects, which cancels resolving */
    expect_answer(fake, EVENT_CONNECT_RESULT, BT_STATUS_GONE);
    expect_answer(fake, EVENT_CONNECT_RESULT, BT_STATUS_GONE);
    expect_answer(fake, EVENT_CONNECT_RESULT, BT_STATUS_GONE);
    expect_answer(fake, EVENT_RESOLVE_RESULT, BT_STATUS_GONE);
    fake_expect(fake, EVENT_DEVICE_GONE);
    expect_answer(fake, EVENT_DISCONNECT_RESULT, BT_STATUS_GONE);
    for (int i = 0; i < 15; i++)
        expect_answer(fake, EVENT_CONNECT_RESULT, BT_STATUS_GONE);
    fake_expect_none(fake);
}

#define CONNECTS 100

static void bluez_never_holds_more_calls_than_the_bus_allows(void **state)
{
    struct fake *fake = *state;

    fake_start(fake);
    for (int i = 0; i < CONNECTS; i++)
        fake_execute(fake, fake_action(fake, ACTION_CONNECT));
    fake_settle(fake);
    size_t sent = fake->n_calls;
    assert_in_range(sent, 1, 63);
    /* what ends others is not stuck behind them */
    fake_execute(fake, fake_action(fake, ACTION_DISCONNECT));
    fake_answer(fake, "Disconnect");
    expect_answer(fake, EVENT_DISCONNECT_RESULT, BT_STATUS_OK);
    for (int i = 0; i < CONNECTS; i++) {
        fake_answer(fake, "Connect");
        expect_answer(fake, EVENT_CONNECT_RESULT, BT_STATUS_OK);
        fake_settle(fake);
        assert_true(fake->n_calls <= sent);
    }
    fake_expect_none(fake);
}

static void ending_it_with_calls_on_their_way_leaves_nothing_behind(void **state)
{
    struct fake *fake = *state;

    fake_resolve(fake);
    fake_subscribe(fake, 1);
    fake_execute(fake, fake_action(fake, ACTION_CONNECT));
    fake_execute(fake, fake_action(fake, ACTION_SCAN_START));
    struct action dead = fake_action(fake, ACTION_CONNECT);
    dead.device = 0;
    fake_execute(fake, dead);
    /* teardown frees all of it; the sanitizer says whether it did */
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_connect_is_answered_whichever_of_reply_and_signal_comes_first),
        TEST(a_failed_connect_is_answered_with_bluez_words),
        TEST(a_connect_that_we_cancel_is_cancelled_in_every_version),
        TEST(a_device_removed_during_connect_answers_gone_at_once),
        TEST(an_action_for_a_dead_device_is_answered_gone_and_never_at_once),
        TEST(resolving_waits_for_the_services_and_gives_the_tree_by_handle),
        TEST(services_that_are_resolved_already_are_not_waited_for),
        TEST(a_peer_without_services_is_not_taken_for_resolved),
        TEST(services_that_vanish_during_the_barrier_are_waited_for_again),
        TEST(a_lost_link_ends_resolving),
        TEST(a_disconnect_cancels_resolving),
        TEST(a_lost_link_answers_what_is_pending_with_not_connected),
        TEST(removing_a_device_is_answered_after_it_went),
        TEST(a_changed_tree_is_told_once_and_only_after_it_was_known),
        TEST(whoever_acts_from_inside_an_event_gets_answers_too),
        TEST(bluez_never_holds_more_calls_than_the_bus_allows),
        TEST(ending_it_with_calls_on_their_way_leaves_nothing_behind),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
