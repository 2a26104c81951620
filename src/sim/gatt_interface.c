/* GattService1, GattCharacteristic1 and GattDescriptor1 of the played org.bluez: properties and
 * methods, with BlueZ's checks in BlueZ's order. See gatt_private.h. */
#include "sim/gatt_private.h"

#include "util/cleanup.h"
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

static struct sim_gatt_characteristic *characteristic_of(struct sim_object *o)
{
    return sim_gatt_characteristic_of(o);
}

static int append_uuid(sd_bus_message *m, const struct bt_uuid *uuid)
{
    char text[BT_UUID_TEXT_SIZE];

    bt_uuid_format(uuid, text);
    return sd_bus_message_append(m, "s", text);
}

/* ---- services ---- */

static int service_uuid(struct sim_object *o, sd_bus_message *m)
{
    return append_uuid(m, &((struct sim_gatt_service *)o)->service->uuid);
}

static int service_device(struct sim_object *o, sd_bus_message *m)
{
    return sd_bus_message_append(m, "o", ((struct sim_gatt_service *)o)->device->object.path);
}

static int service_primary(struct sim_object *o, sd_bus_message *m)
{
    return sd_bus_message_append(m, "b", 1);
}

static int service_includes(struct sim_object *o, sd_bus_message *m)
{
    return sd_bus_message_append(m, "ao", 0);
}

static bool since_569(struct sim_object *o)
{
    return sim_since(o->bluez, 569);
}

static int service_handle(struct sim_object *o, sd_bus_message *m)
{
    return sd_bus_message_append(m, "q", ((struct sim_gatt_service *)o)->service->handle);
}

static const struct sim_property service_properties[] = {
    {"UUID", "s", service_uuid, NULL, NULL},
    {"Handle", "q", service_handle, since_569, NULL},
    {"Device", "o", service_device, NULL, NULL},
    {"Primary", "b", service_primary, NULL, NULL},
    {"Includes", "ao", service_includes, NULL, NULL},
};
const struct sim_interface sim_gatt_service_interface = {
    .name = "org.bluez.GattService1",
    .properties = service_properties,
    .n_properties = ARRAY_SIZE(service_properties),
};

/* ---- characteristics: properties ---- */

static int get_uuid(struct sim_object *o, sd_bus_message *m)
{
    return append_uuid(m, &characteristic_of(o)->model->uuid);
}

static int get_service(struct sim_object *o, sd_bus_message *m)
{
    return sd_bus_message_append(m, "o", characteristic_of(o)->service->object.path);
}

static int get_value(struct sim_object *o, sd_bus_message *m)
{
    const struct sim_gatt_characteristic *c = characteristic_of(o);

    return sd_bus_message_append_array(m, 'y', c->value, c->length);
}

static bool can_notify_at_all(struct sim_object *o)
{
    return characteristic_of(o)->model->flags & (GATT_FLAG_NOTIFY | GATT_FLAG_INDICATE);
}

static int get_notifying(struct sim_object *o, sd_bus_message *m)
{
    return sd_bus_message_append(m, "b", characteristic_of(o)->notifying);
}

static int get_flags(struct sim_object *o, sd_bus_message *m)
{
    static const struct {
        uint16_t flag;
        const char *name;
    } names[] = {
        {GATT_FLAG_READ, "read"},         {GATT_FLAG_WRITE_COMMAND, "write-without-response"},
        {GATT_FLAG_WRITE, "write"},       {GATT_FLAG_NOTIFY, "notify"},
        {GATT_FLAG_INDICATE, "indicate"},
    };
    int r = sd_bus_message_open_container(m, 'a', "s");

    for (size_t i = 0; i < ARRAY_SIZE(names) && r >= 0; i++)
        if (characteristic_of(o)->model->flags & names[i].flag)
            r = sd_bus_message_append(m, "s", names[i].name);
    return r < 0 ? r : sd_bus_message_close_container(m);
}

static bool can_write_commands(struct sim_object *o)
{
    return characteristic_of(o)->model->flags & GATT_FLAG_WRITE_COMMAND;
}

static int get_write_acquired(struct sim_object *o, sd_bus_message *m)
{
    return sd_bus_message_append(m, "b", characteristic_of(o)->write.acquired);
}

static bool can_notify(struct sim_object *o)
{
    return characteristic_of(o)->model->flags & GATT_FLAG_NOTIFY;
}

static int get_notify_acquired(struct sim_object *o, sd_bus_message *m)
{
    return sd_bus_message_append(m, "b", characteristic_of(o)->notify.acquired);
}

static bool is_connected(struct sim_object *o)
{
    return characteristic_of(o)->gatt->device->connected;
}

static bool has_mtu(struct sim_object *o)
{
    return is_connected(o) && sim_since(o->bluez, 562);
}

static int get_handle(struct sim_object *o, sd_bus_message *m)
{
    return sd_bus_message_append(m, "q", characteristic_of(o)->model->declaration);
}

static int get_mtu(struct sim_object *o, sd_bus_message *m)
{
    return sd_bus_message_append(m, "q", sim_device_mtu(characteristic_of(o)->gatt->device));
}

/* ---- characteristics: methods ---- */

static int fail(struct sim_object *o, sd_bus_message *m, const char *name, const char *text)
{
    sim_reply_error(o->bluez, m, name, text);
    return 0;
}

#define FAILED        BLUEZ_ERROR("Failed")
#define NOT_PERMITTED BLUEZ_ERROR("NotPermitted")
#define IN_PROGRESS   BLUEZ_ERROR("InProgress"), "In Progress"
#define NOT_SUPPORTED BLUEZ_ERROR("NotSupported"), "Operation is not supported"

/* a{sv}; keys that BlueZ does not know are skipped */
static int read_options(sd_bus_message *m, uint16_t *ret_offset, const char **ret_type)
{
    const char *key, *type;
    int r = sd_bus_message_enter_container(m, 'a', "{sv}");

    *ret_offset = 0;
    *ret_type = NULL;
    while (r >= 0 && (r = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
        r = sd_bus_message_read(m, "s", &key);
        if (r >= 0)
            r = sd_bus_message_peek_type(m, NULL, &type);
        if (r < 0)
            return r;
        if (strcasecmp(key, "offset") == 0)
            r = sd_bus_message_read(m, "v", "q", ret_offset);
        else if (strcasecmp(key, "type") == 0)
            r = sd_bus_message_read(m, "v", "s", ret_type);
        else
            r = sd_bus_message_skip(m, "v");
        if (r >= 0)
            r = sd_bus_message_exit_container(m);
    }
    return r;
}

static int read_value(struct sim_object *o, sd_bus_message *m)
{
    struct sim_gatt_characteristic *c = characteristic_of(o);
    const char *type;
    uint16_t offset;

    if (!is_connected(o))
        return fail(o, m, FAILED, "Not connected");
    int r = read_options(m, &offset, &type);
    if (r < 0)
        return r;
    if (c->reading) {
        if (c->reading->offset != offset)
            return fail(o, m, IN_PROGRESS);
        return sim_op_join(c->reading, m);
    }
    struct sim_op *op = sim_op_new(c, SIM_OP_READ, m);
    if (!op)
        return -ENOMEM;
    op->offset = offset;
    c->reading = op;
    sim_op_submit(c->gatt, op);
    return 0;
}

static int take_on_write(struct sim_gatt_characteristic *c, sd_bus_message *m, bool command,
                         uint16_t offset, const void *data, size_t length)
{
    struct sim_op *op = sim_op_new(c, command ? SIM_OP_COMMAND : SIM_OP_WRITE, m);

    if (!op || !(op->data.data = malloc(MAX_OF(length, (size_t)1)))) {
        sim_op_free(op);
        return -ENOMEM;
    }
    if (length)
        memcpy(op->data.data, data, length);
    op->data.length = length;
    op->offset = offset;
    if (command)
        sim_reply_ok(c->object.bluez, m); /* it is only queued then */
    else
        c->writing = true;
    sim_op_submit(c->gatt, op);
    return 0;
}

static int write_value(struct sim_object *o, sd_bus_message *m)
{
    struct sim_gatt_characteristic *c = characteristic_of(o);
    const void *data;
    const char *type;
    uint16_t offset;
    size_t length;

    if (!is_connected(o))
        return fail(o, m, FAILED, "Not connected");
    if (c->write.acquired)
        return fail(o, m, NOT_PERMITTED, "Write acquired");
    if (c->writing)
        return fail(o, m, IN_PROGRESS);
    int r = sd_bus_message_read_array(m, 'y', &data, &length);
    if (r >= 0)
        r = read_options(m, &offset, &type);
    if (r < 0)
        return r;
    if ((type && strcasecmp(type, "reliable") == 0) ||
        (type ? strcasecmp(type, "request") == 0 : (c->model->flags & GATT_FLAG_WRITE) != 0))
        return take_on_write(c, m, false, offset, data, length);
    /* "command" is enough from 5.55 on */
    if ((type && strcasecmp(type, "command") != 0) || offset ||
        (!can_write_commands(o) && (!type || !sim_since(o->bluez, 555))))
        return fail(o, m, NOT_SUPPORTED);
    if (length > (size_t)sim_device_mtu(c->gatt->device) - 3)
        return fail(o, m, FAILED, "Failed to initiate write");
    return take_on_write(c, m, true, 0, data, length);
}

static uint32_t faults_of(const struct sim_gatt_characteristic *c)
{
    return c->gatt->device->peripheral->faults;
}

static int start_notify(struct sim_object *o, sd_bus_message *m)
{
    struct sim_gatt_characteristic *c = characteristic_of(o);

    if (c->gatt->device->disconnecting)
        return fail(o, m, BLUEZ_ERROR("NotConnected"), "Not Connected");
    if (c->notify.acquired || faults_of(c) & SIM_FAULT_NOTIFY_HELD)
        return fail(o, m, NOT_PERMITTED, "Notify acquired");
    if (!can_notify_at_all(o))
        return fail(o, m, NOT_SUPPORTED);
    struct sim_session *s = sim_session_find(c, sim_sender(m));
    if ((s && !s->live) || faults_of(c) & SIM_FAULT_NOTIFY_BUSY)
        return fail(o, m, IN_PROGRESS); /* remembered from an earlier link */
    if (s) {
        sim_reply_ok(o->bluez, m);
        return 0;
    }
    s = sim_session_new(c, sim_sender(m));
    if (!s)
        return -ENOMEM;
    if (!is_connected(o)) {
        sim_reply_ok(o->bluez, m); /* and it begins with the next link */
        return 0;
    }
    s->live = true;
    struct sim_op *op = sim_op_new(c, SIM_OP_START_NOTIFY, m);
    if (!op) {
        sim_session_free(c, s);
        return -ENOMEM;
    }
    sim_op_submit(c->gatt, op);
    return 0;
}

static int stop_notify(struct sim_object *o, sd_bus_message *m)
{
    struct sim_gatt_characteristic *c = characteristic_of(o);

    if (c->notify.acquired && c->notify.fd >= 0) {
        sim_socket_close(c, &c->notify);
        sim_reply_ok(o->bluez, m);
        return 0;
    }
    struct sim_session *s = sim_session_find(c, sim_sender(m));
    if (!s)
        return fail(o, m, FAILED, "No notify session started");
    sim_session_free(c, s);
    sim_sessions_changed(c);
    sim_reply_ok(o->bluez, m);
    return 0;
}

static int acquire_notify(struct sim_object *o, sd_bus_message *m)
{
    struct sim_gatt_characteristic *c = characteristic_of(o);

    if (!is_connected(o))
        return fail(o, m, FAILED, "Not connected");
    if (faults_of(c) & SIM_FAULT_ACQUIRE_MUTE)
        return 0;
    if (c->notify.acquired || faults_of(c) & SIM_FAULT_NOTIFY_HELD)
        return fail(o, m, NOT_PERMITTED, "Notify acquired");
    if (c->sessions)
        return fail(o, m, IN_PROGRESS);
    if (!can_notify(o) && !(can_notify_at_all(o) && sim_since(o->bluez, 580)))
        return fail(o, m, NOT_SUPPORTED);
    struct sim_op *op = sim_op_new(c, SIM_OP_ACQUIRE_NOTIFY, m);
    if (!op)
        return -ENOMEM;
    c->notify.acquired = true;
    sim_op_submit(c->gatt, op);
    return 0;
}

static int on_write_socket(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
    struct sim_gatt_characteristic *c = userdata;
    uint8_t buf[GATT_VALUE_MAX];
    ssize_t n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);

    if (n > 0) {
        /* what does not fit into the MTU is lost without a word, as in BlueZ */
        if (n <= sim_device_mtu(c->gatt->device) - 3) {
            sim_characteristic_write(c->model, buf, (size_t)n, true);
            sim_gatt_pump(c->gatt->device);
        }
    } else {
        sim_socket_close(c, &c->write);
    }
    return 0;
}

static int acquire_write(struct sim_object *o, sd_bus_message *m)
{
    struct sim_gatt_characteristic *c = characteristic_of(o);
    sd_bus_message *reply = NULL;
    _cleanup_(closep) int theirs = -1;
    int fds[2], r;

    if (!is_connected(o))
        return fail(o, m, FAILED, "Not connected");
    if (c->write.acquired)
        return fail(o, m, NOT_PERMITTED, "Write acquired");
    if (!can_write_commands(o))
        return fail(o, m, NOT_SUPPORTED);
    if (socketpair(AF_LOCAL, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) < 0)
        return fail(o, m, FAILED, strerror(errno));
    c->write = (struct sim_socket){.acquired = true, .fd = fds[0]};
    theirs = fds[1];
    r = sd_event_add_io(o->bluez->event, &c->write.watch, fds[0], EPOLLIN, on_write_socket, c);
    if (r >= 0)
        r = sd_bus_message_new_method_return(m, &reply);
    if (r >= 0)
        r = sd_bus_message_append(reply, "hq", theirs, sim_device_mtu(c->gatt->device));
    if (r < 0) {
        sd_bus_message_unref(reply);
        sim_socket_close(c, &c->write);
        return r;
    }
    sim_object_changed(o, "WriteAcquired");
    sim_reply(o->bluez, reply);
    return 0;
}

static const struct sim_property characteristic_properties[] = {
    {"UUID", "s", get_uuid, NULL, NULL},
    {"Handle", "q", get_handle, since_569, NULL},
    {"Service", "o", get_service, NULL, NULL},
    {"Value", "ay", get_value, NULL, NULL},
    {"Notifying", "b", get_notifying, can_notify_at_all, NULL},
    {"Flags", "as", get_flags, NULL, NULL},
    {"WriteAcquired", "b", get_write_acquired, can_write_commands, NULL},
    {"NotifyAcquired", "b", get_notify_acquired, can_notify, NULL},
    {"MTU", "q", get_mtu, has_mtu, NULL},
};
static const struct sim_method characteristic_methods[] = {
    {"ReadValue", "a{sv}", read_value},       {"WriteValue", "aya{sv}", write_value},
    {"AcquireWrite", "a{sv}", acquire_write}, {"AcquireNotify", "a{sv}", acquire_notify},
    {"StartNotify", "", start_notify},        {"StopNotify", "", stop_notify},
};
const struct sim_interface sim_gatt_characteristic_interface = {
    .name = "org.bluez.GattCharacteristic1",
    .properties = characteristic_properties,
    .n_properties = ARRAY_SIZE(characteristic_properties),
    .methods = characteristic_methods,
    .n_methods = ARRAY_SIZE(characteristic_methods),
};

/* ---- the CCCD, the only descriptor ---- */

static struct sim_gatt_characteristic *owner_of(struct sim_object *o)
{
    return ((struct sim_gatt_descriptor *)o)->characteristic;
}

static int descriptor_uuid(struct sim_object *o, sd_bus_message *m)
{
    struct bt_uuid uuid = bt_uuid_from_u16(0x2902);

    return append_uuid(m, &uuid);
}

static int descriptor_characteristic(struct sim_object *o, sd_bus_message *m)
{
    return sd_bus_message_append(m, "o", owner_of(o)->object.path);
}

/* BlueZ's copy, which stays empty: it writes the CCCD without looking here. */
static int descriptor_value(struct sim_object *o, sd_bus_message *m)
{
    return sd_bus_message_append_array(m, 'y', NULL, 0);
}

static int append_cccd(struct sim_object *o, sd_bus_message *m)
{
    uint8_t value[2] = {(uint8_t)owner_of(o)->model->cccd_value, 0};

    return sd_bus_message_append_array(m, 'y', value, sizeof(value));
}

static int descriptor_read(struct sim_object *o, sd_bus_message *m)
{
    sd_bus_message *reply = NULL;

    if (!owner_of(o)->gatt->device->connected)
        return fail(o, m, FAILED, "Not connected");
    int r = sd_bus_message_new_method_return(m, &reply);
    if (r >= 0)
        r = append_cccd(o, reply);
    if (r < 0) {
        sd_bus_message_unref(reply);
        return r;
    }
    sim_reply(o->bluez, reply);
    return 0;
}

static int descriptor_write(struct sim_object *o, sd_bus_message *m)
{
    if (!owner_of(o)->gatt->device->connected)
        return fail(o, m, FAILED, "Not connected");
    return fail(o, m, NOT_PERMITTED, "Write not permitted"); /* BlueZ keeps the CCCD for itself */
}

static const struct sim_property descriptor_properties[] = {
    {"UUID", "s", descriptor_uuid, NULL, NULL},
    {"Characteristic", "o", descriptor_characteristic, NULL, NULL},
    {"Value", "ay", descriptor_value, NULL, NULL},
};
static const struct sim_method descriptor_methods[] = {
    {"ReadValue", "a{sv}", descriptor_read},
    {"WriteValue", "aya{sv}", descriptor_write},
};
const struct sim_interface sim_gatt_descriptor_interface = {
    .name = "org.bluez.GattDescriptor1",
    .properties = descriptor_properties,
    .n_properties = ARRAY_SIZE(descriptor_properties),
    .methods = descriptor_methods,
    .n_methods = ARRAY_SIZE(descriptor_methods),
};
