/* BlueZ's words, in every dialect from 5.50 to 5.87, mean the same outcome. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bluez/errors.h"
#include <string.h>

#define BLUEZ "org.bluez.Error."
#define DBUS  "org.freedesktop.DBus.Error."

struct row {
    const char *name, *text;
    enum bt_status status;
    uint8_t att;
};

static void check(enum errors_context context, const struct row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct bt_result result = errors_classify(context, rows[i].name, rows[i].text);
        if (result.status != rows[i].status || result.att != rows[i].att)
            fail_msg("%s \"%s\" is %s (0x%02x), not %s", rows[i].name,
                     rows[i].text ? rows[i].text : "", bt_status_name(result.status), result.att,
                     bt_status_name(rows[i].status));
        assert_ptr_equal(result.text, rows[i].text);
    }
}

static void a_failed_connect_means_the_same_in_every_version(void **state)
{
    static const struct row rows[] = {
        {BLUEZ "Failed", "le-connection-abort-by-local", BT_STATUS_FAILED, 0},
        {BLUEZ "Failed", "Software caused connection abort", BT_STATUS_FAILED, 0},
        {BLUEZ "Failed", "br-connection-canceled", BT_STATUS_CANCELLED, 0},
        {BLUEZ "Failed", "Cancelled", BT_STATUS_CANCELLED, 0},
        {BLUEZ "Failed", "Operation already in progress", BT_STATUS_IN_PROGRESS, 0},
        {BLUEZ "InProgress", "In Progress", BT_STATUS_IN_PROGRESS, 0},
        {BLUEZ "Failed", "Input/output error", BT_STATUS_NOT_READY, 0},
        {BLUEZ "Failed", "le-connection-adapter-not-powered", BT_STATUS_NOT_READY, 0},
        {BLUEZ "Failed", "br-connection-adapter-not-powered", BT_STATUS_NOT_READY, 0},
        {BLUEZ "NotReady", "Resource Not Ready", BT_STATUS_NOT_READY, 0},
        {BLUEZ "AlreadyConnected", "Already Connected", BT_STATUS_OK, 0},
        {BLUEZ "Failed", "le-connection-already-connected", BT_STATUS_OK, 0},
        {BLUEZ "NotAvailable", "br-connection-profile-unavailable", BT_STATUS_FAILED, 0},
        {BLUEZ "Failed", "br-connection-profile-unavailable", BT_STATUS_FAILED, 0},
        {BLUEZ "Failed", "le-connection-key-missing", BT_STATUS_AUTH_FAILED, 0},
        {BLUEZ "AuthenticationFailed", "Authentication Failed", BT_STATUS_AUTH_FAILED, 0},
        {BLUEZ "AuthenticationTimeout", "Authentication Timeout", BT_STATUS_AUTH_FAILED, 0},
        {"org.bluez.Failed", "le-connection-abort-by-local", BT_STATUS_FAILED, 0},
        {BLUEZ "ConnectionAttemptFailed", "Page Timeout", BT_STATUS_FAILED, 0},
    };

    check(ERRORS_CONNECT, rows, ARRAY_SIZE(rows));
}

static void what_is_paired_already_is_no_failure_of_pairing(void **state)
{
    static const struct row rows[] = {
        {BLUEZ "AlreadyExists", "Already Exists", BT_STATUS_OK, 0},
        {BLUEZ "AuthenticationRejected", "Authentication Rejected", BT_STATUS_AUTH_FAILED, 0},
        {BLUEZ "AuthenticationCanceled", "Authentication Canceled", BT_STATUS_AUTH_FAILED, 0},
        {BLUEZ "ConnectionAttemptFailed", "Page Timeout", BT_STATUS_FAILED, 0},
    };
    static const struct row elsewhere[] = {
        {BLUEZ "AlreadyExists", "Already Exists", BT_STATUS_FAILED, 0},
    };

    check(ERRORS_PAIR, rows, ARRAY_SIZE(rows));
    check(ERRORS_ANY, elsewhere, ARRAY_SIZE(elsewhere));
}

static void a_gatt_error_keeps_its_cause(void **state)
{
    static const struct row rows[] = {
        {BLUEZ "Failed", "Operation failed with ATT error: 0x0e", BT_STATUS_ATT_ERROR, 0x0e},
        {BLUEZ "Failed", "Operation failed with ATT error: 0x80", BT_STATUS_ATT_ERROR, 0x80},
        {BLUEZ "Failed", "Operation failed with ATT error: 0x00", BT_STATUS_NOT_CONNECTED, 0},
        {BLUEZ "Failed", "Operation failed with ATT error: 0x1ff", BT_STATUS_FAILED, 0},
        {BLUEZ "Failed", "Operation failed with ATT error: ", BT_STATUS_FAILED, 0},
        {BLUEZ "Failed", "Not connected", BT_STATUS_NOT_CONNECTED, 0},
        {BLUEZ "NotConnected", "Not Connected", BT_STATUS_NOT_CONNECTED, 0},
        {BLUEZ "Failed", "Failed to initiate write", BT_STATUS_FAILED, 0},
        {BLUEZ "Failed", "Input/output error", BT_STATUS_FAILED, 0},
        {BLUEZ "NotPermitted", "Read not permitted", BT_STATUS_NOT_PERMITTED, 0},
        {BLUEZ "NotPermitted", "Write not permitted", BT_STATUS_NOT_PERMITTED, 0},
        {BLUEZ "NotPermitted", "Not paired", BT_STATUS_NOT_PAIRED, 0},
        {BLUEZ "NotPermitted", "Notify acquired", BT_STATUS_IN_PROGRESS, 0},
        {BLUEZ "InvalidArguments", "Invalid offset", BT_STATUS_INVALID_ARGUMENT, 0},
        {BLUEZ "InvalidArguments", "Invalid Length", BT_STATUS_INVALID_LENGTH, 0},
        {BLUEZ "InvalidValueLength", "Invalid value length", BT_STATUS_INVALID_LENGTH, 0},
        {BLUEZ "InvalidOffset", "Invalid offset", BT_STATUS_INVALID_ARGUMENT, 0},
        {BLUEZ "NotAuthorized", "Operation Not Authorized", BT_STATUS_NOT_AUTHORIZED, 0},
        {BLUEZ "NotSupported", "Operation is not supported", BT_STATUS_NOT_SUPPORTED, 0},
        {BLUEZ "InProgress", "In Progress", BT_STATUS_IN_PROGRESS, 0},
        {BLUEZ "DoesNotExist", "Does Not Exist", BT_STATUS_GONE, 0},
    };

    check(ERRORS_ANY, rows, ARRAY_SIZE(rows));
}

static void an_adapter_that_is_blocked_or_busy_is_told_apart(void **state)
{
    static const struct row rows[] = {
        {BLUEZ "Blocked", "Blocked through rfkill", BT_STATUS_BLOCKED, 0},
        {BLUEZ "Busy", "Busy", BT_STATUS_IN_PROGRESS, 0},
        {BLUEZ "Failed", "Failed", BT_STATUS_FAILED, 0},
        {BLUEZ "NotReady", NULL, BT_STATUS_NOT_READY, 0},
    };

    check(ERRORS_ANY, rows, ARRAY_SIZE(rows));
}

static void the_bus_own_errors_tell_loss_from_absence_from_silence(void **state)
{
    static const struct row rows[] = {
        {DBUS "NoReply", "Method call timed out", BT_STATUS_TIMEOUT, 0},
        {DBUS "NoReply", "Message did not receive a reply (timeout by message bus)",
         BT_STATUS_TIMEOUT, 0},
        {DBUS "Timeout", NULL, BT_STATUS_TIMEOUT, 0},
        {DBUS "TimedOut", NULL, BT_STATUS_TIMEOUT, 0},
        {"System.Error.ETIMEDOUT", "Connection timed out", BT_STATUS_TIMEOUT, 0},
        {DBUS "NoReply", "Connection terminated", BT_STATUS_LOST, 0},
        {DBUS "NoReply", "Message recipient disconnected from message bus without replying",
         BT_STATUS_LOST, 0},
        {DBUS "NoReply", "Remote peer disconnected", BT_STATUS_LOST, 0},
        {DBUS "Disconnected", NULL, BT_STATUS_LOST, 0},
        {DBUS "ServiceUnknown", "The name org.bluez was not provided by any .service files",
         BT_STATUS_LOST, 0},
        {DBUS "NameHasNoOwner", NULL, BT_STATUS_LOST, 0},
        {DBUS "UnknownObject", "Unknown object '/org/bluez/hci0/dev_X'.", BT_STATUS_GONE, 0},
        {DBUS "UnknownMethod",
         "Method \"Connect\" with signature \"\" on interface \"org.bluez.Device1\" doesn't "
         "exist\n",
         BT_STATUS_GONE, 0},
        {DBUS "UnknownMethod", "Unknown method AcquireNotify or interface x.",
         BT_STATUS_NOT_SUPPORTED, 0},
        {DBUS "AccessDenied", "An AppArmor policy prevents this sender from sending this message",
         BT_STATUS_ACCESS_DENIED, 0},
        {DBUS "LimitsExceeded", "too many", BT_STATUS_FAILED, 0},
    };

    check(ERRORS_ANY, rows, ARRAY_SIZE(rows));
}

static void an_unheard_of_error_is_a_plain_failure(void **state)
{
    static const struct row rows[] = {
        {"com.example.Error", "?", BT_STATUS_FAILED, 0},
        {"org.bluez.Error.", "", BT_STATUS_FAILED, 0},
        {"org.bluez.Error.Nonsense", "x", BT_STATUS_FAILED, 0},
        {"", NULL, BT_STATUS_FAILED, 0},
        {NULL, NULL, BT_STATUS_FAILED, 0},
    };

    check(ERRORS_ANY, rows, ARRAY_SIZE(rows));
}

static void a_call_that_cannot_be_sent_says_whether_the_bus_is_gone(void **state)
{
    assert_int_equal(errors_from_errno(-ENOTCONN).status, BT_STATUS_LOST);
    assert_int_equal(errors_from_errno(-ECONNRESET).status, BT_STATUS_LOST);
    assert_int_equal(errors_from_errno(-EACCES).status, BT_STATUS_ACCESS_DENIED);
    assert_int_equal(errors_from_errno(-ENOMEM).status, BT_STATUS_FAILED);
    assert_non_null(errors_from_errno(-ENOMEM).text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failed_connect_means_the_same_in_every_version),
        cmocka_unit_test(what_is_paired_already_is_no_failure_of_pairing),
        cmocka_unit_test(a_gatt_error_keeps_its_cause),
        cmocka_unit_test(an_adapter_that_is_blocked_or_busy_is_told_apart),
        cmocka_unit_test(the_bus_own_errors_tell_loss_from_absence_from_silence),
        cmocka_unit_test(an_unheard_of_error_is_a_plain_failure),
        cmocka_unit_test(a_call_that_cannot_be_sent_says_whether_the_bus_is_gone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
