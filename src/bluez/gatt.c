/*
 * GattService1 and GattCharacteristic1: subscribing, values, reading, writing. Must not know what
 * values mean.
 *
 * Which Value is a notification. BlueZ emits PropertiesChanged(Value) for notifications and also
 * right before the reply to a ReadValue. While a read is pending the last Value is held back: a
 * newer one shows that it was a notification; the reply shows whether it was the read's own echo.
 *
 * A subscription lives with its object, across links: BlueZ enables notifications again by itself
 * when the peer returns, and the first ones come before anybody has asked anew.
 */
#include "bluez/internal.h"

#include "bluez/props.h"
#include "util/log.h"
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <utlist.h>

/* above the 30 s after which BlueZ gives an ATT request up and drops the link */
#define OPERATION_TIMEOUT_US S_TO_US(35)
#define ACQUIRE_TIMEOUT_US   S_TO_US(10)
#define CHECK_TIMEOUT_US     S_TO_US(5)
#define STOP_TIMEOUT_US      S_TO_US(15)
#define PACKETS_PER_TURN     64   /* of one socket, then others have their turn */
#define PACKETS_DRAINED      4096 /* a socket holds a few hundred */

/* Only freed with its characteristic: an action never frees what the loop may be reading from. */
struct subscription {
    struct bluez *bluez; /* borrowed, outlives us */
    uint32_t number, peer, source;
    uint64_t asked;   /* serial of the last request: an earlier one that fails ends nothing */
    bool active;      /* values are wanted */
    bool established; /* BlueZ said that it notifies */
    int fd;           /* owned; -1: values come as signals */
    sd_event_source *io;
    bool holding;
    size_t held_length;
    uint8_t held[GATT_VALUE_MAX];
};

static struct event subscription_event(const struct characteristic *characteristic,
                                       enum event_type type)
{
    const struct subscription *subscription = characteristic->subscription;
    struct event event = {
        .type = type,
        .adapter = characteristic->device->adapter->object.id,
        .device = characteristic->device->object.id,
    };

    event.value.subscription = subscription->number;
    event.value.peer = subscription->peer;
    event.value.source = subscription->source;
    return event;
}

static void emit_value(struct bluez *bluez, struct characteristic *characteristic,
                       const uint8_t *data, size_t length)
{
    struct event event = subscription_event(characteristic, EVENT_VALUE);

    event.value.data = data;
    event.value.length = length;
    bluez_emit(bluez, &event);
}

static void emit_lost(struct bluez *bluez, struct characteristic *characteristic)
{
    struct event event = subscription_event(characteristic, EVENT_SUBSCRIPTION_LOST);

    characteristic->subscription->established = false;
    bluez_emit(bluez, &event);
}

static void release_held(struct bluez *bluez, struct characteristic *characteristic)
{
    struct subscription *subscription = characteristic->subscription;

    if (!subscription || !subscription->holding)
        return;
    subscription->holding = false;
    if (subscription->active)
        emit_value(bluez, characteristic, subscription->held, subscription->held_length);
}

static void on_value(struct bluez *bluez, struct characteristic *characteristic,
                     const uint8_t *data, size_t length)
{
    struct subscription *subscription = characteristic->subscription;

    if (!subscription || !subscription->active || subscription->fd >= 0)
        return;
    if (length > GATT_VALUE_MAX) {
        log_debug("bluez", "%s: a value of %zu bytes is none", characteristic->object.path, length);
        return;
    }
    if (characteristic->n_reads == 0) {
        emit_value(bluez, characteristic, data, length);
        return;
    }
    release_held(bluez, characteristic);
    if (length)
        memcpy(subscription->held, data, length);
    subscription->held_length = length;
    subscription->holding = true;
}

void bluez_gatt_read_begins(struct characteristic *characteristic)
{
    characteristic->n_reads++;
}

void bluez_gatt_read_ends(struct bluez *bluez, struct characteristic *characteristic,
                          const uint8_t *data, size_t length)
{
    struct subscription *subscription = characteristic->subscription;

    characteristic->n_reads--;
    if (!subscription || !subscription->holding)
        return;
    if (data && length == subscription->held_length &&
        (length == 0 || memcmp(data, subscription->held, length) == 0))
        subscription->holding = false;
    else
        release_held(bluez, characteristic);
}

/* --- properties --- */

static int take_service(void *userdata, const char *key, const char *type, sd_bus_message *m)
{
    struct service *service = userdata;

    return strcmp(key, "UUID") == 0 ? props_uuid(m, type, &service->uuid) : 0;
}

int bluez_service_take(struct service *service, sd_bus_message *m)
{
    return props_each(m, take_service, service);
}

static int take_characteristic(void *userdata, const char *key, const char *type, sd_bus_message *m)
{
    struct characteristic *characteristic = userdata;
    uint16_t mtu;
    int r = 0;

    if (strcmp(key, "UUID") == 0) {
        r = props_uuid(m, type, &characteristic->uuid);
    } else if (strcmp(key, "Flags") == 0) {
        r = props_gatt_flags(m, type, &characteristic->flags);
    } else if (strcmp(key, "Notifying") == 0) {
        r = props_bool(m, type, &characteristic->notifying);
    } else if (strcmp(key, "MTU") == 0) {
        r = props_uint16(m, type, &mtu);
        if (r > 0)
            characteristic->device->mtu = mtu;
    }
    return r;
}

int bluez_characteristic_take(struct characteristic *characteristic, sd_bus_message *m)
{
    return props_each(m, take_characteristic, characteristic);
}

struct changing {
    struct bluez *bluez;
    struct characteristic *characteristic;
};

static int take_changed(void *userdata, const char *key, const char *type, sd_bus_message *m)
{
    struct changing *changing = userdata;
    const uint8_t *data;
    size_t length;

    if (strcmp(key, "Value") != 0)
        return take_characteristic(changing->characteristic, key, type, m);
    int r = props_bytes(m, type, &data, &length);
    if (r > 0)
        on_value(changing->bluez, changing->characteristic, data, length);
    return r;
}

int bluez_characteristic_changed(struct bluez *bluez, struct characteristic *characteristic,
                                 sd_bus_message *m)
{
    struct changing changing = {.bluez = bluez, .characteristic = characteristic};
    bool was_notifying = characteristic->notifying;
    int r = props_each_likely(m, "Value", "ay", take_changed, &changing);
    const struct subscription *subscription = characteristic->subscription;

    if (was_notifying && !characteristic->notifying && subscription && subscription->active &&
        subscription->established && subscription->fd < 0 && characteristic->device->info.connected)
        emit_lost(bluez, characteristic);
    return r;
}

/* --- sockets --- */

static void close_socket(struct subscription *subscription)
{
    subscription->io = sd_event_source_disable_unref(subscription->io);
    if (subscription->fd >= 0)
        close(subscription->fd);
    subscription->fd = -1;
}

/* An empty value reads like the end. The end it is when the other side has closed and no bytes are
 * left behind it. */
static bool at_end(int fd)
{
    struct pollfd pollfd = {.fd = fd, .events = POLLIN};
    int queued = 0;

    if (poll(&pollfd, 1, 0) <= 0 || !(pollfd.revents & (POLLHUP | POLLERR)))
        return false;
    return ioctl(fd, FIONREAD, &queued) < 0 || queued == 0;
}

/* Reads at most `max` values. The one who hears of them may unsubscribe meanwhile. */
static void read_socket(struct bluez *bluez, struct characteristic *characteristic, unsigned max)
{
    struct subscription *subscription = characteristic->subscription;
    uint8_t value[GATT_VALUE_MAX + 1];

    for (unsigned i = 0; i < max && subscription->fd >= 0; i++) {
        ssize_t n = recv(subscription->fd, value, sizeof(value), MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n < 0 || (n == 0 && at_end(subscription->fd))) {
            close_socket(subscription);
            subscription->active = false;
            emit_lost(bluez, characteristic);
            return;
        }
        if (n <= GATT_VALUE_MAX)
            emit_value(bluez, characteristic, value, (size_t)n);
    }
}

static int on_socket(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
    struct characteristic *characteristic = userdata;

    read_socket(characteristic->subscription->bluez, characteristic, PACKETS_PER_TURN);
    return 0;
}

void bluez_gatt_drain(struct bluez *bluez, struct device *device)
{
    struct characteristic *characteristic;

    DL_FOREACH (device->characteristics, characteristic) {
        release_held(bluez, characteristic);
        if (characteristic->subscription && characteristic->subscription->fd >= 0)
            read_socket(bluez, characteristic, PACKETS_DRAINED);
    }
}

/* --- operations --- */

/* BlueZ ends what waits for a lost link with this error, before it says that the link is lost. */
#define ATT_UNLIKELY 0x0e

static int take_connected(void *userdata, const char *key, const char *type, sd_bus_message *m)
{
    return props_bool(m, type, userdata);
}

/* Had the link been lost, that would have been told before this reply, and have ended the call. */
static void on_link_checked(struct call *call, sd_bus_message *reply, struct bt_result result)
{
    bool connected = true;

    if (reply && props_value(reply, take_connected, &connected) >= 0 && !connected)
        result = (struct bt_result){.status = BT_STATUS_NOT_CONNECTED};
    else
        result = call->result;
    bluez_call_end(call, result);
}

/* Ends a call on an attribute, without data. */
static void end_operation(struct call *call, struct bt_result result)
{
    sd_bus_message *m = NULL;

    if (result.status != BT_STATUS_ATT_ERROR || result.att != ATT_UNLIKELY) {
        bluez_call_end(call, result);
        return;
    }
    bluez_call_keep(call, result);
    int r = bluez_message_get(call->bluez, call->device->object.path, DEVICE_INTERFACE, "Connected",
                              &m);
    bluez_call_send(call, r, m, CHECK_TIMEOUT_US, on_link_checked);
}

static void on_written(struct call *call, sd_bus_message *reply, struct bt_result result)
{
    end_operation(call, result);
}

/* --- subscribing --- */

void bluez_gatt_drop_subscription(struct characteristic *characteristic)
{
    struct subscription *subscription = characteristic->subscription;

    if (!subscription)
        return;
    close_socket(subscription);
    free(subscription);
    characteristic->subscription = NULL;
}

void bluez_characteristic_remove(struct bluez *bluez, struct characteristic *characteristic)
{
    const struct subscription *subscription = characteristic->subscription;

    characteristic->going = true;
    bluez_calls_end_characteristic(bluez, characteristic);
    release_held(bluez, characteristic);
    if (subscription && subscription->active)
        emit_lost(bluez, characteristic);
    bluez_gatt_drop_subscription(characteristic);
    registry_remove_characteristic(&bluez->registry, characteristic);
}

/* whether the call is about what is subscribed now, not about what it was replaced by */
static struct subscription *current_subscription(const struct call *call)
{
    struct subscription *subscription = call->characteristic->subscription;

    if (subscription && subscription->active && subscription->number == call->subscription)
        return subscription;
    return NULL;
}

static void on_notify_started(struct call *call, sd_bus_message *reply, struct bt_result result)
{
    struct subscription *subscription = current_subscription(call);

    /* BlueZ remembers its sessions across links and may be at it already */
    if (result.status == BT_STATUS_IN_PROGRESS && call->characteristic->notifying)
        result.status = BT_STATUS_OK;
    if (subscription && result.status == BT_STATUS_OK)
        subscription->established = true;
    /* without a reply, or with another request still running, values may come yet */
    else if (subscription && subscription->asked == call->serial &&
             result.status != BT_STATUS_NOT_CONNECTED && result.status != BT_STATUS_TIMEOUT &&
             result.status != BT_STATUS_IN_PROGRESS)
        subscription->active = false;
    end_operation(call, result);
}

static void start_notify(struct call *call)
{
    sd_bus_message *m = NULL;
    int r = bluez_message_new(call->bluez, call->characteristic->object.path,
                              CHARACTERISTIC_INTERFACE, "StartNotify", &m);

    bluez_call_send(call, r, m, OPERATION_TIMEOUT_US, on_notify_started);
}

/* `fd` is borrowed */
static int adopt_socket(struct characteristic *characteristic, struct subscription *subscription,
                        int fd)
{
    struct bluez *bluez = subscription->bluez;
    _cleanup_(closep) int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);

    if (copy < 0)
        return -errno;
    int r = sd_event_add_io(bluez->options.event, &subscription->io, copy, EPOLLIN, on_socket,
                            characteristic);
    if (r < 0)
        return r;
    subscription->fd = TAKE_FD(copy);
    subscription->established = true;
    return 0;
}

static void on_acquired(struct call *call, sd_bus_message *reply, struct bt_result result)
{
    struct subscription *subscription = current_subscription(call);
    uint16_t mtu;
    int fd;

    if (!subscription)
        result = (struct bt_result){.status = BT_STATUS_CANCELLED};
    if (result.status == BT_STATUS_CANCELLED || result.status == BT_STATUS_LOST ||
        result.status == BT_STATUS_NOT_CONNECTED) {
        bluez_call_end(call, result);
        return;
    }
    if (reply && sd_bus_message_read(reply, "hq", &fd, &mtu) > 0 &&
        adopt_socket(call->characteristic, subscription, fd) >= 0) {
        bluez_call_end(call, result);
        return;
    }
    /* Too old, held by somebody, indications only, or no answer: signals do it as well. */
    log_debug("bluez", "%s: no socket (%s), falling back to signals",
              call->characteristic->object.path,
              result.text ? result.text : bt_status_name(result.status));
    start_notify(call);
}

void bluez_gatt_subscribe(struct call *call, struct characteristic *characteristic,
                          const struct action *action)
{
    struct subscription *subscription = characteristic->subscription;
    sd_bus_message *m = NULL;

    if (!subscription) {
        subscription = calloc(1, sizeof(*subscription));
        if (!subscription) {
            bluez_call_end_later(call, errors_from_errno(-ENOMEM));
            return;
        }
        subscription->bluez = call->bluez;
        subscription->fd = -1;
        characteristic->subscription = subscription;
    }
    close_socket(subscription);
    /* from here on values belong to it: the first may come before the reply */
    subscription->number = action->subscribe.subscription;
    subscription->peer = action->op.peer;
    subscription->source = action->subscribe.source;
    subscription->active = true;
    subscription->established = false;
    call->device = characteristic->device;
    call->characteristic = characteristic;
    call->subscription = subscription->number;
    subscription->asked = call->serial;
    if (!action->subscribe.socket) {
        start_notify(call);
        return;
    }
    int r = bluez_message_new(call->bluez, characteristic->object.path, CHARACTERISTIC_INTERFACE,
                              "AcquireNotify", &m);
    if (r >= 0)
        r = sd_bus_message_append(m, "a{sv}", 0);
    uint64_t timeout_us = call->bluez->options.acquire_timeout_us;
    bluez_call_send(call, r, m, timeout_us ? timeout_us : ACQUIRE_TIMEOUT_US, on_acquired);
}

static void on_notify_stopped(struct call *call, sd_bus_message *reply, struct bt_result result)
{
    if (result.status == BT_STATUS_FAILED && result.text &&
        strcmp(result.text, "No notify session started") == 0)
        result.status = BT_STATUS_OK;
    bluez_call_end(call, result);
}

void bluez_gatt_unsubscribe(struct call *call, struct characteristic *characteristic,
                            const struct action *action)
{
    struct subscription *subscription = characteristic->subscription;
    const struct bt_result done = {.status = BT_STATUS_OK};
    sd_bus_message *m = NULL;

    if (subscription && subscription->active &&
        subscription->number != action->subscribe.subscription) {
        bluez_call_end_later(call, done); /* replaced by another, which stays */
        return;
    }
    call->device = characteristic->device;
    call->characteristic = characteristic;
    if (subscription) {
        bool by_socket = subscription->fd >= 0;
        subscription->active = false;
        subscription->established = false;
        subscription->holding = false;
        close_socket(subscription);
        if (by_socket) { /* closing it is all that BlueZ needs */
            bluez_call_end_later(call, done);
            return;
        }
    }
    int r = bluez_message_new(call->bluez, characteristic->object.path, CHARACTERISTIC_INTERFACE,
                              "StopNotify", &m);
    bluez_call_send(call, r, m, STOP_TIMEOUT_US, on_notify_stopped);
}

/* --- reading and writing --- */

static void on_read(struct call *call, sd_bus_message *reply, struct bt_result result)
{
    struct characteristic *characteristic = call->characteristic;
    const void *data = NULL;
    size_t length = 0;

    if (result.status == BT_STATUS_OK &&
        (!reply || sd_bus_message_read_array(reply, SD_BUS_TYPE_BYTE, &data, &length) < 0 ||
         length > GATT_VALUE_MAX)) {
        result = (struct bt_result){.status = BT_STATUS_FAILED, .text = "the reply is no value"};
        data = NULL;
    }
    call->is_read = false;
    bluez_gatt_read_ends(call->bluez, characteristic, data, length);
    if (result.status != BT_STATUS_OK) {
        end_operation(call, result);
        return;
    }
    struct event event = bluez_call_event(call, result);
    event.read.data = data;
    event.read.length = length;
    bluez_call_end_with(call, &event);
}

void bluez_gatt_read(struct call *call, struct characteristic *characteristic)
{
    sd_bus_message *m = NULL;

    call->device = characteristic->device;
    call->characteristic = characteristic;
    call->is_read = true;
    int r = bluez_message_new(call->bluez, characteristic->object.path, CHARACTERISTIC_INTERFACE,
                              "ReadValue", &m);
    if (r >= 0)
        r = sd_bus_message_append(m, "a{sv}", 0);
    bluez_call_send(call, r, m, OPERATION_TIMEOUT_US, on_read);
}

void bluez_gatt_write(struct call *call, struct characteristic *characteristic,
                      const struct action *action)
{
    sd_bus_message *m = NULL;

    if (action->write.length > GATT_VALUE_MAX) {
        bluez_call_end_later(call, (struct bt_result){.status = BT_STATUS_INVALID_LENGTH});
        return;
    }
    call->device = characteristic->device;
    call->characteristic = characteristic;
    int r = bluez_message_new(call->bluez, characteristic->object.path, CHARACTERISTIC_INTERFACE,
                              "WriteValue", &m);
    if (r >= 0)
        r = sd_bus_message_append_array(m, SD_BUS_TYPE_BYTE, action->write.data,
                                        action->write.length);
    if (r >= 0)
        r = sd_bus_message_append(m, "a{sv}", 1, "type", "s",
                                  action->write.response ? "request" : "command");
    bluez_call_send(call, r, m, OPERATION_TIMEOUT_US, on_written);
}
