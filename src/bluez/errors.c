/* Tables of BlueZ's error names and texts; see errors.h. Must not know sd-bus. */
#include "bluez/errors.h"

#include "util/num.h"
#include <stdio.h>
#include <string.h>

struct word {
    const char *word;
    enum bt_status status;
};

/* org.bluez.Error.<name> where the name alone decides */
static const struct word bluez_names[] = {
    {"AlreadyConnected", BT_STATUS_OK},
    {"AuthenticationCanceled", BT_STATUS_AUTH_FAILED},
    {"AuthenticationFailed", BT_STATUS_AUTH_FAILED},
    {"AuthenticationRejected", BT_STATUS_AUTH_FAILED},
    {"AuthenticationTimeout", BT_STATUS_AUTH_FAILED},
    {"Blocked", BT_STATUS_BLOCKED},
    {"Busy", BT_STATUS_IN_PROGRESS},
    {"Canceled", BT_STATUS_CANCELLED},
    {"DoesNotExist", BT_STATUS_GONE},
    {"InProgress", BT_STATUS_IN_PROGRESS},
    {"InvalidOffset", BT_STATUS_INVALID_ARGUMENT},
    {"InvalidValueLength", BT_STATUS_INVALID_LENGTH},
    {"NotAuthorized", BT_STATUS_NOT_AUTHORIZED},
    {"NotConnected", BT_STATUS_NOT_CONNECTED},
    {"NotReady", BT_STATUS_NOT_READY},
    {"NotSupported", BT_STATUS_NOT_SUPPORTED},
};

/* org.freedesktop.DBus.Error.<name> */
static const struct word dbus_names[] = {
    {"AccessDenied", BT_STATUS_ACCESS_DENIED},
    {"AuthFailed", BT_STATUS_ACCESS_DENIED},
    {"Disconnected", BT_STATUS_LOST},
    {"InteractiveAuthorizationRequired", BT_STATUS_ACCESS_DENIED},
    {"InvalidArgs", BT_STATUS_INVALID_ARGUMENT},
    {"NameHasNoOwner", BT_STATUS_LOST},
    {"NoServer", BT_STATUS_LOST},
    {"NotSupported", BT_STATUS_NOT_SUPPORTED},
    {"ServiceUnknown", BT_STATUS_LOST},
    {"TimedOut", BT_STATUS_TIMEOUT},
    {"Timeout", BT_STATUS_TIMEOUT},
    {"UnknownInterface", BT_STATUS_GONE},
    {"UnknownObject", BT_STATUS_GONE},
    {"UnknownProperty", BT_STATUS_NOT_SUPPORTED},
};

/* what stands after "le-connection-" or "br-connection-" (BlueZ src/error.h, from 5.62) */
static const struct word connection_words[] = {
    {"adapter-not-powered", BT_STATUS_NOT_READY},
    {"already-connected", BT_STATUS_OK},
    {"busy", BT_STATUS_IN_PROGRESS},
    {"canceled", BT_STATUS_CANCELLED},
    {"invalid-argument", BT_STATUS_INVALID_ARGUMENT},
    {"invalid-arguments", BT_STATUS_INVALID_ARGUMENT},
    {"key-missing", BT_STATUS_AUTH_FAILED},
    {"not-supported", BT_STATUS_NOT_SUPPORTED},
};

/* the texts of org.bluez.Error.Failed */
static const struct word failed_texts[] = {
    {"Cancelled", BT_STATUS_CANCELLED},
    {"Canceled", BT_STATUS_CANCELLED},
    {"Operation canceled", BT_STATUS_CANCELLED},
    {"In Progress", BT_STATUS_IN_PROGRESS},
    {"Operation already in progress", BT_STATUS_IN_PROGRESS},
    {"Operation now in progress", BT_STATUS_IN_PROGRESS},
    {"Device or resource busy", BT_STATUS_IN_PROGRESS},
    {"Not connected", BT_STATUS_NOT_CONNECTED},
    {"Not Connected", BT_STATUS_NOT_CONNECTED},
    {"Transport endpoint is not connected", BT_STATUS_NOT_CONNECTED},
    {"Not paired", BT_STATUS_NOT_PAIRED},
    {"Network is down", BT_STATUS_NOT_READY},
    {"No such device", BT_STATUS_NOT_READY},
    {"Resource Not Ready", BT_STATUS_NOT_READY},
};

static const struct word not_permitted_texts[] = {
    {"Not paired", BT_STATUS_NOT_PAIRED},
    /* somebody holds the socket that AcquireNotify or AcquireWrite gave */
    {"Notify acquired", BT_STATUS_IN_PROGRESS},
    {"Write acquired", BT_STATUS_IN_PROGRESS},
};

static const struct word invalid_texts[] = {
    {"Invalid Length", BT_STATUS_INVALID_LENGTH},
    {"Invalid length", BT_STATUS_INVALID_LENGTH},
};

static enum bt_status lookup(const struct word *words, size_t n, const char *word,
                             enum bt_status otherwise)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(words[i].word, word) == 0)
            return words[i].status;
    return otherwise;
}
#define LOOKUP(words, word, otherwise) lookup(words, ARRAY_SIZE(words), word, otherwise)

static const char *after(const char *text, const char *prefix)
{
    size_t length = strlen(prefix);

    return strncmp(text, prefix, length) == 0 ? text + length : NULL;
}

static struct bt_result classify_failed(enum errors_context context, const char *text)
{
    struct bt_result result = {.status = BT_STATUS_FAILED, .text = text};
    const char *rest;
    uint32_t code;

    rest = after(text, "Operation failed with ATT error: ");
    if (rest && num_parse_u32(rest, &code) == 0 && code <= 0xff) {
        /* 0 is no ATT error: the request ended with the link */
        result.status = code ? BT_STATUS_ATT_ERROR : BT_STATUS_NOT_CONNECTED;
        result.att = (uint8_t)code;
        return result;
    }
    rest = after(text, "le-connection-");
    if (!rest)
        rest = after(text, "br-connection-");
    if (rest)
        result.status = LOOKUP(connection_words, rest, BT_STATUS_FAILED);
    else if (context == ERRORS_CONNECT && strcmp(text, "Input/output error") == 0)
        result.status = BT_STATUS_NOT_READY;
    else
        result.status = LOOKUP(failed_texts, text, BT_STATUS_FAILED);
    return result;
}

static struct bt_result classify_bluez(enum errors_context context, const char *name,
                                       const char *text)
{
    struct bt_result result = {.status = BT_STATUS_FAILED, .text = text};

    /* NotAvailable carries the same words (br-connection-profile-unavailable) */
    if (strcmp(name, "Failed") == 0 || strcmp(name, "NotAvailable") == 0)
        return classify_failed(context, text);
    if (context == ERRORS_PAIR && strcmp(name, "AlreadyExists") == 0)
        result.status = BT_STATUS_OK;
    else if (strcmp(name, "NotPermitted") == 0)
        result.status = LOOKUP(not_permitted_texts, text, BT_STATUS_NOT_PERMITTED);
    else if (strcmp(name, "InvalidArguments") == 0)
        result.status = LOOKUP(invalid_texts, text, BT_STATUS_INVALID_ARGUMENT);
    else
        result.status = LOOKUP(bluez_names, name, BT_STATUS_FAILED);
    return result;
}

static enum bt_status classify_dbus(const char *name, const char *text)
{
    if (strcmp(name, "NoReply") == 0) {
        /* sd-bus' own timeout and the bus daemon's; all else means that somebody disconnected */
        if (strstr(text, "timed out") || strstr(text, "timeout"))
            return BT_STATUS_TIMEOUT;
        return BT_STATUS_LOST;
    }
    /* libdbus has no UnknownObject for a path without interfaces: it says that the method
     * "doesn't exist" */
    if (strcmp(name, "UnknownMethod") == 0)
        return strstr(text, "doesn't exist") ? BT_STATUS_GONE : BT_STATUS_NOT_SUPPORTED;
    return LOOKUP(dbus_names, name, BT_STATUS_FAILED);
}

struct bt_result errors_classify(enum errors_context context, const char *name, const char *text)
{
    struct bt_result result = {.status = BT_STATUS_FAILED, .text = text};
    const char *words = text ? text : "";
    const char *rest;

    if (!name)
        return result;
    rest = after(name, "org.bluez.Error.");
    if (!rest) /* Adapter1.ConnectDevice says org.bluez.Failed */
        rest = after(name, "org.bluez.");
    if (rest) {
        result = classify_bluez(context, rest, words);
        result.text = text;
        return result;
    }
    rest = after(name, "org.freedesktop.DBus.Error.");
    if (rest)
        result.status = classify_dbus(rest, words);
    else if (strcmp(name, "System.Error.ETIMEDOUT") == 0)
        result.status = BT_STATUS_TIMEOUT;
    return result;
}

struct bt_result errors_from_errno(int error)
{
    struct bt_result result = {.status = BT_STATUS_FAILED, .text = strerrordesc_np(-error)};

    switch (-error) {
    case ENOTCONN:
    case ECONNRESET:
    case EPIPE: result.status = BT_STATUS_LOST; break;
    case ETIMEDOUT: result.status = BT_STATUS_TIMEOUT; break;
    case EACCES:
    case EPERM: result.status = BT_STATUS_ACCESS_DENIED; break;
    default: break;
    }
    return result;
}
