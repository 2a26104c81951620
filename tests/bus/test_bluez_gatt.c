/* Notifications in order and only they; reads, writes, sockets. */
#include "bus/helper_fake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

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
    return event;
}

static void notify(struct fake *fake, const void *data, size_t length)
{
    fake_changed(fake, CHR, CHARACTERISTIC,
                 PROPERTIES({.key = "Value", .type = "ay", .bytes = data, .length = length}), NULL);
}

static void expect_notification(struct fake *fake, uint32_t number, const void *data, size_t length)
{
    const struct event *event = &fake_expect(fake, EVENT_VALUE)->event;

    assert_int_equal(event->value.subscription, number);
    assert_int_equal(event->value.peer, 7);
    assert_int_equal(event->value.source, 5);
    assert_int_equal(event->device, fake->device);
    assert_int_equal(event->value.length, length);
    assert_memory_equal(event->value.data, data, length);
}

static void execute_subscribe(struct fake *fake, enum action_type type, uint32_t number,
                              bool socket)
{
    struct action action = fake_action(fake, type);

    action.subscribe.handle = CHR_HANDLE;
    action.subscribe.subscription = number;
    action.subscribe.source = 5;
    action.subscribe.socket = socket;
    fake_execute(fake, action);
}

static void execute_read(struct fake *fake)
{
    struct action action = fake_action(fake, ACTION_READ);

    action.read.handle = CHR_HANDLE;
    fake_execute(fake, action);
}

static void expect_read(struct fake *fake, const void *data, size_t length)
{
    const struct event *event = expect_answer(fake, EVENT_READ_RESULT, BT_STATUS_OK);

    assert_int_equal(event->read.handle, CHR_HANDLE);
    assert_int_equal(event->read.length, length);
    assert_memory_equal(event->read.data, data, length);
}

static void connected(struct fake *fake, bool connected)
{
    fake_changed(fake, DEV, DEVICE, PROPERTIES(BOOL("Connected", connected)), NULL);
    assert_int_equal(fake_expect(fake, EVENT_LINK)->event.link.connected, connected);
}

static void a_thousand_notifications_come_once_and_in_order(void **state)
{
    struct fake *fake = *state;

    fake_resolve(fake);
    fake_subscribe(fake, 11);
    for (uint16_t i = 0; i < 1000; i++)
        notify(fake, &i, sizeof(i));
    for (uint16_t i = 0; i < 1000; i++)
        expect_notification(fake, 11, &i, sizeof(i));
    notify(fake, NULL, 0); /* empty ones count */
    expect_notification(fake, 11, "", 0);
    fake_expect_none(fake);
}

static void values_that_nobody_subscribed_to_are_ignored(void **state)
{
    struct fake *fake = *state;

    fake_resolve(fake);
    notify(fake, "x", 1);
    fake_expect_none(fake);
    fake_subscribe(fake, 11);
    execute_subscribe(fake, ACTION_UNSUBSCRIBE, 11, false);
    notify(fake, "x", 1); /* StopNotify has not been answered */
    fake_answer(fake, "StopNotify");
    assert_false(expect_answer(fake, EVENT_SUBSCRIBE_RESULT, BT_STATUS_OK)->asked.on);
    notify(fake, "y", 1);
    fake_expect_none(fake);
}

static void a_notification_before_the_reply_to_start_notify_counts(void **state)
{
    struct fake *fake = *state;

    fake_resolve(fake);
    execute_subscribe(fake, ACTION_SUBSCRIBE, 11, false);
    sd_bus_message *call = fake_call(fake, "StartNotify");
    assert_string_equal(sd_bus_message_get_path(call), CHR);
    notify(fake, "first", 5);
    assert_true(sd_bus_reply_method_return(call, NULL) >= 0);
    sd_bus_message_unref(call);
    expect_notification(fake, 11, "first", 5);
    assert_true(expect_answer(fake, EVENT_SUBSCRIBE_RESULT, BT_STATUS_OK)->asked.on);
}

static void notifications_after_a_reconnect_count_before_anybody_asks_again(void **state)
{
    struct fake *fake = *state;

    fake_resolve(fake);
    fake_subscribe(fake, 11);
    connected(fake, false);
    connected(fake, true);
    notify(fake, "early", 5); /* BlueZ enabled it by itself */
    expect_notification(fake, 11, "early", 5);
    fake_changed(fake, CHR, CHARACTERISTIC, PROPERTIES(BOOL("Notifying", 1)), NULL);
    execute_subscribe(fake, ACTION_SUBSCRIBE, 12, false);
    notify(fake, "later", 5);
    fake_refuse(fake, "StartNotify", "org.bluez.Error.InProgress", "In Progress");
    expect_notification(fake, 12, "later", 5);
    expect_answer(fake, EVENT_SUBSCRIBE_RESULT, BT_STATUS_OK);
}

static void in_progress_without_notifying_is_no_subscription(void **state)
{
    struct fake *fake = *state;

    fake_resolve(fake);
    execute_subscribe(fake, ACTION_SUBSCRIBE, 11, false);
    fake_refuse(fake, "StartNotify", "org.bluez.Error.InProgress", "In Progress");
    expect_answer(fake, EVENT_SUBSCRIBE_RESULT, BT_STATUS_IN_PROGRESS);
}

static void a_refused_subscription_gets_no_values(void **state)
{
    struct fake *fake = *state;

    fake_resolve(fake);
    execute_subscribe(fake, ACTION_SUBSCRIBE, 11, false);
    fake_refuse(fake, "StartNotify", "org.bluez.Error.NotSupported", "Operation is not supported");
    expect_answer(fake, EVENT_SUBSCRIBE_RESULT, BT_STATUS_NOT_SUPPORTED);
    notify(fake, "x", 1);
    fake_expect_none(fake);
}

static void an_earlier_request_that_fails_late_does_not_end_the_subscription(void **state)
{
    struct fake *fake = *state;

    fake_resolve(fake);
    execute_subscribe(fake, ACTION_SUBSCRIBE, 11, false);
    execute_subscribe(fake, ACTION_SUBSCRIBE, 11, false); /* the services changed meanwhile */
    fake_refuse(fake, "StartNotify", "org.bluez.Error.Failed",
                "Operation failed with ATT error: 0x0e");
    expect_answer(fake, EVENT_SUBSCRIBE_RESULT, BT_STATUS_ATT_ERROR);
    fake_answer(fake, "StartNotify");
    expect_answer(fake, EVENT_SUBSCRIBE_RESULT, BT_STATUS_OK);
    notify(fake, "x", 1);
    expect_notification(fake, 11, "x", 1);
}

static void a_reads_own_echo_is_no_notification(void **state)
{
    struct fake *fake = *state;

    fake_resolve(fake);
    fake_subscribe(fake, 11);
    execute_read(fake);
    fake_settle(fake);
    notify(fake, "same", 4);
    fake_expect_none(fake);
    fake_answer_bytes(fake, "ReadValue", "same", 4);
    expect_read(fake, "same", 4);
    fake_expect_none(fake);
    notify(fake, "same", 4); /* now it is one */
    expect_notification(fake, 11, "same", 4);
    connected(fake, false);
    fake_expect_none(fake);
}

static void notifications_during_a_read_all_arrive_in_order(void **state)
{
    struct fake *fake = *state;

    fake_resolve(fake);
    fake_subscribe(fake, 11);
    execute_read(fake);
    fake_settle(fake);
    notify(fake, "a", 1);
    notify(fake, "b", 1);
    notify(fake, "c", 1); /* the echo */
    fake_answer_bytes(fake, "ReadValue", "c", 1);
    expect_notification(fake, 11, "a", 1);
    expect_notification(fake, 11, "b", 1);
    expect_read(fake, "c", 1);
    fake_expect_none(fake);
}

static void a_held_value_comes_out_when_the_read_says_otherwise(void **state)
{
    struct fake *fake = *state;

    fake_resolve(fake);
    fake_subscribe(fake, 11);
    execute_read(fake);
    fake_settle(fake);
    notify(fake, "a", 1);
    fake_answer_bytes(fake, "ReadValue", "b", 1);
    expect_notification(fake, 11, "a", 1);
    expect_read(fake, "b", 1);
    execute_read(fake);
    fake_settle(fake);
    notify(fake, "c", 1);
    fake_refuse(fake, "ReadValue", "org.bluez.Error.Failed",
                "Operation failed with ATT error: 0x80");
    expect_notification(fake, 11, "c", 1);
    const struct event *event = expect_answer(fake, EVENT_READ_RESULT, BT_STATUS_ATT_ERROR);
    assert_int_equal(event->result.att, 0x80);
}

static void an_unlikely_error_of_a_lost_link_is_not_connected(void **state)
{
    struct fake *fake = *state;
    const char *error = "org.bluez.Error.Failed", *text = "Operation failed with ATT error: 0x0e";

    fake_resolve(fake);
    execute_read(fake);
    fake_refuse(fake, "ReadValue", error, text);
    fake_answer_get(fake, "Connected", "b", 1); /* the peer's own */
    const struct seen *seen = fake_expect(fake, EVENT_READ_RESULT);
    assert_int_equal(seen->event.result.status, BT_STATUS_ATT_ERROR);
    assert_int_equal(seen->event.result.att, 0x0e);
    assert_string_equal(seen->event.result.text, text);
    execute_read(fake);
    fake_refuse(fake, "ReadValue", error, text);
    fake_answer_get(fake, "Connected", "b", 0);
    expect_answer(fake, EVENT_READ_RESULT, BT_STATUS_NOT_CONNECTED);
    execute_read(fake);
    fake_refuse(fake, "ReadValue", error, text);
    connected(fake, false);
    expect_answer(fake, EVENT_READ_RESULT, BT_STATUS_NOT_CONNECTED);
    fake_expect_none(fake);
}

static void a_held_value_comes_out_before_the_link_is_lost(void **state)
{
    struct fake *fake = *state;

    fake_resolve(fake);
    fake_subscribe(fake, 11);
    execute_read(fake);
    fake_settle(fake);
    notify(fake, "d", 1);
    fake_settle(fake);
    fake_changed(fake, DEV, DEVICE, PROPERTIES(BOOL("Connected", 0)), NULL);
    expect_notification(fake, 11, "d", 1);
    assert_false(fake_expect(fake, EVENT_LINK)->event.link.connected);
    expect_answer(fake, EVENT_READ_RESULT, BT_STATUS_NOT_CONNECTED);
    fake_expect_none(fake);
}

static void a_long_read_gives_all_of_it_and_no_more_than_a_value_holds(void **state)
{
    struct fake *fake = *state;
    uint8_t value[GATT_VALUE_MAX + 1];

    memset(value, 0xa5, sizeof(value));
    fake_resolve(fake);
    execute_read(fake);
    fake_answer_bytes(fake, "ReadValue", value, GATT_VALUE_MAX);
    expect_read(fake, value, GATT_VALUE_MAX);
    execute_read(fake);
    fake_answer_bytes(fake, "ReadValue", value, GATT_VALUE_MAX + 1);
    expect_answer(fake, EVENT_READ_RESULT, BT_STATUS_FAILED);
}

static void check_write(struct fake *fake, bool response, const char *type)
{
    struct action action = fake_action(fake, ACTION_WRITE);
    const char *key, *value;
    const void *data;
    size_t length;

    action.write.handle = CHR2_HANDLE;
    action.write.data = (const uint8_t *)"\x01\x02\x03";
    action.write.length = 3;
    action.write.response = response;
    fake_execute(fake, action);
    sd_bus_message *m = fake_call(fake, "WriteValue");
    assert_string_equal(sd_bus_message_get_path(m), CHR2);
    assert_true(sd_bus_message_read_array(m, 'y', &data, &length) > 0);
    assert_int_equal(length, 3);
    assert_memory_equal(data, "\x01\x02\x03", 3);
    assert_true(sd_bus_message_enter_container(m, 'a', "{sv}") > 0);
    assert_true(sd_bus_message_read(m, "{sv}", &key, "s", &value) > 0);
    assert_string_equal(key, "type");
    assert_string_equal(value, type);
    assert_true(sd_bus_reply_method_return(m, NULL) >= 0);
    sd_bus_message_unref(m);
    expect_answer(fake, EVENT_WRITE_RESULT, BT_STATUS_OK);
}

static void a_write_is_a_request_or_a_command_as_asked(void **state)
{
    struct fake *fake = *state;

    fake_resolve(fake);
    check_write(fake, true, "request");
    check_write(fake, false, "command");
}

static void a_refused_write_says_why(void **state)
{
    struct fake *fake = *state;
    struct action action;

    fake_resolve(fake);
    action = fake_action(fake, ACTION_WRITE);
    action.write.handle = CHR2_HANDLE;
    fake_execute(fake, action);
    fake_refuse(fake, "WriteValue", "org.bluez.Error.InvalidArguments", "Invalid Length");
    expect_answer(fake, EVENT_WRITE_RESULT, BT_STATUS_INVALID_LENGTH);
    action.write.length = GATT_VALUE_MAX + 1;
    fake_execute(fake, action);
    expect_answer(fake, EVENT_WRITE_RESULT, BT_STATUS_INVALID_LENGTH);
    assert_int_equal(fake->n_calls, 0);
    action.write.handle = 0x7777;
    fake_execute(fake, action);
    expect_answer(fake, EVENT_WRITE_RESULT, BT_STATUS_GONE);
}

static void a_subscription_that_ends_is_reported(void **state)
{
    struct fake *fake = *state;

    fake_resolve(fake);
    fake_subscribe(fake, 11);
    fake_changed(fake, CHR, CHARACTERISTIC, PROPERTIES(BOOL("Notifying", 1)), NULL);
    fake_changed(fake, CHR, CHARACTERISTIC, PROPERTIES(BOOL("Notifying", 0)), NULL);
    const struct event *event = &fake_expect(fake, EVENT_SUBSCRIPTION_LOST)->event;
    assert_int_equal(event->value.subscription, 11);
    assert_int_equal(event->value.peer, 7);
    fake_subscribe(fake, 12);
    fake_removed(fake, CHR, CHARACTERISTIC);
    event = &fake_expect(fake, EVENT_SUBSCRIPTION_LOST)->event;
    assert_int_equal(event->value.subscription, 12);
    fake_expect(fake, EVENT_SERVICES_CHANGED);
    fake_expect_none(fake);
}

static void a_removed_characteristic_answers_what_is_pending_on_it(void **state)
{
    struct fake *fake = *state;

    fake_resolve(fake);
    execute_read(fake);
    sd_bus_message_unref(fake_call(fake, "ReadValue"));
    fake_removed(fake, CHR, CHARACTERISTIC);
    expect_answer(fake, EVENT_READ_RESULT, BT_STATUS_GONE);
    execute_read(fake);
    expect_answer(fake, EVENT_READ_RESULT, BT_STATUS_GONE);
}

/* a core that tries again at once */
static void read_again(struct fake *fake, const struct event *event)
{
    if (event->type == EVENT_READ_RESULT && fake->last_op < 20)
        execute_read(fake);
}

static void whoever_tries_again_from_inside_an_answer_is_answered_too(void **state)
{
    struct fake *fake = *state;

    fake_resolve(fake);
    execute_read(fake);
    fake_settle(fake);
    fake->on_event = read_again;
    fake_removed(fake, CHR, CHARACTERISTIC);
    uint32_t first = fake->last_op;
    for (uint32_t i = first; i <= 20; i++)
        expect_answer(fake, EVENT_READ_RESULT, BT_STATUS_GONE);
    fake_expect(fake, EVENT_SERVICES_CHANGED);
    fake_expect_none(fake);
}

/* --- AcquireNotify --- */

static int n_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int n = 0;

    assert_non_null(dir);
    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

/* the peer's end of the socket */
static int acquire(struct fake *fake, uint32_t number)
{
    int pair[2];

    execute_subscribe(fake, ACTION_SUBSCRIBE, number, true);
    sd_bus_message *m = fake_call(fake, "AcquireNotify");
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair),
                     0);
    assert_true(sd_bus_reply_method_return(m, "hq", pair[1], 247) >= 0);
    sd_bus_message_unref(m);
    close(pair[1]);
    expect_answer(fake, EVENT_SUBSCRIBE_RESULT, BT_STATUS_OK);
    return pair[0];
}

static void send_packet(int fd, const void *data, size_t length)
{
    assert_int_equal(send(fd, data, length, MSG_NOSIGNAL), length);
}

static void a_socket_gives_one_value_a_packet_also_an_empty_one(void **state)
{
    struct fake *fake = *state;

    fake_resolve(fake);
    int fd = acquire(fake, 11);
    send_packet(fd, "one", 3);
    send_packet(fd, "", 0);
    send_packet(fd, "three", 5);
    expect_notification(fake, 11, "one", 3);
    expect_notification(fake, 11, "", 0);
    expect_notification(fake, 11, "three", 5);
    send_packet(fd, "", 0); /* alone it looks most like the end */
    fake_settle(fake);
    expect_notification(fake, 11, "", 0);
    notify(fake, "signal", 6); /* not twice */
    fake_expect_none(fake);
    close(fd);
    assert_int_equal(fake_expect(fake, EVENT_SUBSCRIPTION_LOST)->event.value.subscription, 11);
    fake_expect_none(fake);
}

static void what_a_socket_holds_at_its_end_is_delivered_first(void **state)
{
    struct fake *fake = *state;

    fake_resolve(fake);
    int fd = acquire(fake, 11);
    for (uint8_t i = 0; i < 200; i++)
        send_packet(fd, &i, i == 100 ? 0 : 1);
    close(fd);
    fake_changed(fake, DEV, DEVICE, PROPERTIES(BOOL("Connected", 0)), NULL);
    for (uint8_t i = 0; i < 200; i++)
        expect_notification(fake, 11, &i, i == 100 ? 0 : 1);
    fake_expect(fake, EVENT_SUBSCRIPTION_LOST);
    assert_false(fake_expect(fake, EVENT_LINK)->event.link.connected);
    fake_expect_none(fake);
}

static void without_a_socket_signals_do(void **state)
{
    struct fake *fake = *state;

    fake_resolve(fake);
    execute_subscribe(fake, ACTION_SUBSCRIBE, 11, true);
    fake_refuse(fake, "AcquireNotify", "org.bluez.Error.NotSupported",
                "Operation is not supported");
    fake_answer(fake, "StartNotify");
    expect_answer(fake, EVENT_SUBSCRIBE_RESULT, BT_STATUS_OK);
    notify(fake, "x", 1);
    expect_notification(fake, 11, "x", 1);
}

static void unsubscribing_closes_the_socket(void **state)
{
    struct fake *fake = *state;
    char byte;

    fake_resolve(fake);
    int before = n_descriptors();
    int fd = acquire(fake, 11);
    execute_subscribe(fake, ACTION_UNSUBSCRIBE, 11, false);
    assert_int_equal(recv(fd, &byte, 1, 0), 0); /* the other end is closed */
    expect_answer(fake, EVENT_SUBSCRIBE_RESULT, BT_STATUS_OK);
    close(fd);
    fake_expect_none(fake);
    fd = acquire(fake, 12);
    int again = acquire(fake, 13); /* replaces it */
    close(fd);
    send_packet(again, "x", 1);
    expect_notification(fake, 13, "x", 1);
    fake_removed(fake, DEV, DEVICE);
    fake_expect(fake, EVENT_LINK);
    fake_expect(fake, EVENT_SUBSCRIPTION_LOST);
    fake_expect(fake, EVENT_DEVICE_GONE);
    close(again);
    assert_int_equal(n_descriptors(), before);
}

/* a core that unsubscribes at the first value */
static void unsubscribe_at_once(struct fake *fake, const struct event *event)
{
    if (event->type == EVENT_VALUE)
        execute_subscribe(fake, ACTION_UNSUBSCRIBE, event->value.subscription, false);
}

static void unsubscribing_from_inside_a_value_stops_the_rest(void **state)
{
    struct fake *fake = *state;

    fake_resolve(fake);
    int fd = acquire(fake, 11);
    fake->on_event = unsubscribe_at_once;
    send_packet(fd, "a", 1);
    send_packet(fd, "b", 1);
    expect_notification(fake, 11, "a", 1);
    expect_answer(fake, EVENT_SUBSCRIBE_RESULT, BT_STATUS_OK);
    fake_expect_none(fake);
    close(fd);
}

static void a_vanished_bluetoothd_takes_its_subscriptions_silently(void **state)
{
    struct fake *fake = *state;

    fake_resolve(fake);
    int before = n_descriptors();
    int fd = acquire(fake, 11);
    fake_set_owner(fake, NULL);
    fake_expect(fake, EVENT_BLUEZ_DOWN);
    fake_expect_none(fake);
    close(fd);
    assert_int_equal(n_descriptors(), before);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_thousand_notifications_come_once_and_in_order),
        TEST(values_that_nobody_subscribed_to_are_ignored),
        TEST(a_notification_before_the_reply_to_start_notify_counts),
        TEST(notifications_after_a_reconnect_count_before_anybody_asks_again),
        TEST(in_progress_without_notifying_is_no_subscription),
        TEST(a_refused_subscription_gets_no_values),
        TEST(an_earlier_request_that_fails_late_does_not_end_the_subscription),
        TEST(a_reads_own_echo_is_no_notification),
        TEST(notifications_during_a_read_all_arrive_in_order),
        TEST(a_held_value_comes_out_when_the_read_says_otherwise),
        TEST(an_unlikely_error_of_a_lost_link_is_not_connected),
        TEST(a_held_value_comes_out_before_the_link_is_lost),
        TEST(a_long_read_gives_all_of_it_and_no_more_than_a_value_holds),
        TEST(a_write_is_a_request_or_a_command_as_asked),
        TEST(a_refused_write_says_why),
        TEST(a_subscription_that_ends_is_reported),
        TEST(a_removed_characteristic_answers_what_is_pending_on_it),
        TEST(whoever_tries_again_from_inside_an_answer_is_answered_too),
        TEST(a_socket_gives_one_value_a_packet_also_an_empty_one),
        TEST(what_a_socket_holds_at_its_end_is_delivered_first),
        TEST(without_a_socket_signals_do),
        TEST(unsubscribing_closes_the_socket),
        TEST(unsubscribing_from_inside_a_value_stops_the_rest),
        TEST(a_vanished_bluetoothd_takes_its_subscriptions_silently),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
