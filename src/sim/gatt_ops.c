/*
 * ATT requests under way between the played org.bluez and a peripheral: one at a time, as slow as
 * the peripheral is, and failed when the link goes. See gatt_private.h.
 */
#include "sim/gatt_private.h"

#include "util/cleanup.h"
#include "util/time.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* ATT error codes that BlueZ has words for (Core Specification Vol 3 Part F 3.4.1.1) */
enum {
    ATT_AUTHENTICATION = 0x05,
    ATT_NOT_SUPPORTED = 0x06,
    ATT_AUTHORIZATION = 0x08,
    ATT_ENCRYPTION_KEY_SIZE = 0x0c,
    ATT_ENCRYPTION = 0x0f,
};

void sim_reply_att_error(struct sim_bluez *b, sd_bus_message *call, uint8_t code)
{
    static const struct {
        uint8_t code;
        const char *name, *text;
    } words[] = {
        {SIM_ATT_READ_NOT_PERMITTED, BLUEZ_ERROR("NotPermitted"), "Read not permitted"},
        {SIM_ATT_WRITE_NOT_PERMITTED, BLUEZ_ERROR("NotPermitted"), "Write not permitted"},
        {ATT_AUTHENTICATION, BLUEZ_ERROR("NotPermitted"), "Not paired"},
        {ATT_ENCRYPTION, BLUEZ_ERROR("NotPermitted"), "Not paired"},
        {ATT_ENCRYPTION_KEY_SIZE, BLUEZ_ERROR("NotPermitted"), "Not paired"},
        {SIM_ATT_INVALID_OFFSET, BLUEZ_ERROR("InvalidArguments"), "Invalid offset"},
        {SIM_ATT_INVALID_LENGTH, BLUEZ_ERROR("InvalidArguments"), "Invalid Length"},
        {ATT_AUTHORIZATION, BLUEZ_ERROR("NotAuthorized"), "Operation Not Authorized"},
        {ATT_NOT_SUPPORTED, BLUEZ_ERROR("NotSupported"), "Operation is not supported"},
    };
    char text[64];

    for (size_t i = 0; i < ARRAY_SIZE(words); i++)
        if (words[i].code == code) {
            sim_reply_error(b, call, words[i].name, words[i].text);
            return;
        }
    snprintf(text, sizeof(text), "Operation failed with ATT error: 0x%02x", code);
    sim_reply_error(b, call, BLUEZ_ERROR("Failed"), text);
}

/* ---- an operation ---- */

int sim_op_join(struct sim_op *op, sd_bus_message *call)
{
    struct sim_waiting_call *w = calloc(1, sizeof(*w));

    if (!w)
        return -ENOMEM;
    w->call = sd_bus_message_ref(call);
    LL_APPEND(op->calls, w);
    return 0;
}

struct sim_op *sim_op_new(struct sim_gatt_characteristic *c, enum sim_op_kind kind,
                          sd_bus_message *call)
{
    struct sim_op *op = calloc(1, sizeof(*op));

    if (!op)
        return NULL;
    op->kind = kind;
    op->c = c;
    if (call && sim_op_join(op, call) < 0)
        return sim_op_free(op);
    return op;
}

struct sim_op *sim_op_free(struct sim_op *op)
{
    if (!op)
        return NULL;
    while (op->calls) {
        struct sim_waiting_call *w = op->calls;

        LL_DELETE(op->calls, w);
        sd_bus_message_unref(w->call);
        free(w);
    }
    free(op->data.data);
    free(op);
    return NULL;
}

static sd_bus_message *first_call(struct sim_op *op)
{
    return op->calls ? op->calls->call : NULL;
}

/* ---- carrying out ---- */

static void fail(struct sim_op *op, uint8_t code)
{
    for (struct sim_waiting_call *w = op->calls; w; w = w->next)
        sim_reply_att_error(op->c->object.bluez, w->call, code);
}

static void reply_value(struct sim_bluez *b, sd_bus_message *call, const uint8_t *data,
                        size_t length)
{
    sd_bus_message *reply = NULL;

    if (sd_bus_message_new_method_return(call, &reply) < 0 ||
        sd_bus_message_append_array(reply, 'y', data, length) < 0)
        sd_bus_message_unref(reply);
    else
        sim_reply(b, reply);
}

static void do_read(struct sim_op *op)
{
    struct sim_gatt_characteristic *c = op->c;
    struct sim_bluez *b = c->object.bluez;
    const uint8_t *data;
    size_t length;
    uint8_t code = sim_characteristic_read(c->model, sim_bluez_now(b), op->offset, &data, &length);

    c->reading = NULL;
    if (code) {
        fail(op, code);
        return;
    }
    sim_gatt_store(c, op->offset, data, length); /* told before the answer, also to others */
    for (struct sim_waiting_call *w = op->calls; w; w = w->next)
        reply_value(b, w->call, data, length);
}

static uint8_t write_at(struct sim_op *op)
{
    struct sim_characteristic *model = op->c->model;
    uint8_t whole[GATT_VALUE_MAX];
    bool command = op->kind == SIM_OP_COMMAND;

    if (!op->offset)
        return sim_characteristic_write(model, op->data.data, op->data.length, command);
    if (op->offset > model->length)
        return SIM_ATT_INVALID_OFFSET;
    if (op->offset + op->data.length > sizeof(whole))
        return SIM_ATT_INVALID_LENGTH;
    memcpy(whole, model->value, op->offset);
    memcpy(whole + op->offset, op->data.data, op->data.length);
    return sim_characteristic_write(model, whole, op->offset + op->data.length, command);
}

static void do_write(struct sim_op *op)
{
    uint8_t code = write_at(op);

    op->c->writing = op->c->writing && op->kind != SIM_OP_WRITE;
    if (op->kind == SIM_OP_COMMAND)
        ; /* answered when it was taken on; the peripheral says nothing */
    else if (code)
        fail(op, code);
    else
        sim_reply_ok(op->c->object.bluez, first_call(op));
    sim_gatt_pump(op->c->gatt->device);
}

static void forget_session(struct sim_op *op)
{
    struct sim_session *s = sim_session_find(op->c, sim_sender(first_call(op)));

    if (s)
        sim_session_free(op->c, s);
}

static void do_start_notify(struct sim_op *op)
{
    struct sim_gatt_characteristic *c = op->c;
    sd_bus_message *call = first_call(op);
    struct sim_session *s = sim_session_find(c, sim_sender(call));
    uint8_t code = sim_gatt_enable(c);

    if (code) {
        forget_session(op);
        fail(op, code);
        return;
    }
    if (s && !c->notifying) {
        c->notifying = true;
        sim_object_changed(&c->object, "Notifying");
    }
    sim_reply_ok(c->object.bluez, call);
}

static int on_notify_hangup(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
    struct sim_gatt_characteristic *c = userdata;
    uint8_t buf[16];

    /* Readers have nothing to say here; only their going matters. */
    if (!(revents & (EPOLLHUP | EPOLLERR)) && recv(fd, buf, sizeof(buf), MSG_DONTWAIT) > 0)
        return 0;
    sim_socket_close(c, &c->notify);
    return 0;
}

static void do_acquire_notify(struct sim_op *op)
{
    struct sim_gatt_characteristic *c = op->c;
    struct sim_bluez *b = c->object.bluez;
    sd_bus_message *reply = NULL;
    _cleanup_(closep) int theirs = -1;
    int fds[2];

    /* 5.66 never answers when the CCCD cannot be written, and stays "acquired" */
    if (sim_gatt_enable(c))
        return;
    if (socketpair(AF_LOCAL, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) < 0) {
        c->notify.acquired = false;
        sim_reply_error(b, first_call(op), BLUEZ_ERROR("Failed"), strerror(errno));
        return;
    }
    c->notify.fd = fds[0];
    theirs = fds[1];
    if (sd_event_add_io(b->event, &c->notify.watch, fds[0], EPOLLIN | EPOLLHUP, on_notify_hangup,
                        c) < 0 ||
        sd_bus_message_new_method_return(first_call(op), &reply) < 0 ||
        sd_bus_message_append(reply, "hq", theirs, sim_device_mtu(c->gatt->device)) < 0) {
        sd_bus_message_unref(reply);
        sim_socket_close(c, &c->notify);
        sim_reply_error(b, first_call(op), BLUEZ_ERROR("Failed"), strerror(ENOMEM));
        return;
    }
    sim_object_changed(&c->object, "NotifyAcquired");
    sim_reply(b, reply);
}

static void carry_out(struct sim_op *op)
{
    switch (op->kind) {
    case SIM_OP_READ: do_read(op); break;
    case SIM_OP_WRITE:
    case SIM_OP_COMMAND: do_write(op); break;
    case SIM_OP_START_NOTIFY: do_start_notify(op); break;
    case SIM_OP_ACQUIRE_NOTIFY: do_acquire_notify(op); break;
    }
    sim_op_free(op);
}

/* ---- one after the other ---- */

static void arm(struct sim_gatt *gatt);

static int on_op(sd_event_source *source, uint64_t usec, void *userdata)
{
    struct sim_gatt *gatt = userdata;
    struct sim_op *op = gatt->ops;

    if (!op)
        return 0;
    if (gatt->device->peripheral->slow_us >= ATT_TIMEOUT_US) {
        /* Core Specification Vol 3 Part F 3.3.3: no more on this link after a timeout of 30 s */
        sim_device_link_lost(gatt->device);
        return 0;
    }
    DL_DELETE(gatt->ops, op);
    arm(gatt);
    carry_out(op);
    return 0;
}

static void arm(struct sim_gatt *gatt)
{
    struct sim_bluez *b = gatt->device->hci->bluez;
    uint64_t delay_us = MIN_OF(gatt->device->peripheral->slow_us, (uint64_t)ATT_TIMEOUT_US);

    if (gatt->ops)
        sim_timer_set(b, &gatt->op_timer, sim_bluez_now(b) + delay_us, on_op, gatt);
}

void sim_op_submit(struct sim_gatt *gatt, struct sim_op *op)
{
    if (!gatt->ops && !gatt->device->peripheral->slow_us) {
        carry_out(op);
        return;
    }
    DL_APPEND(gatt->ops, op);
    if (gatt->ops == op)
        arm(gatt);
}

static void end_all(struct sim_gatt *gatt, bool answer)
{
    while (gatt->ops) {
        struct sim_op *op = gatt->ops;

        DL_DELETE(gatt->ops, op);
        op->c->reading = NULL;
        op->c->writing = false;
        if (op->kind == SIM_OP_ACQUIRE_NOTIFY)
            op->c->notify.acquired = false;
        if (op->kind == SIM_OP_START_NOTIFY)
            forget_session(op);
        if (answer && op->kind != SIM_OP_COMMAND)
            fail(op, SIM_ATT_UNLIKELY); /* what BlueZ makes of a request that got no response */
        sim_op_free(op);
    }
    sim_timer_set(gatt->device->hci->bluez, &gatt->op_timer, TIME_NEVER, on_op, gatt);
}

void sim_ops_fail(struct sim_gatt *gatt)
{
    end_all(gatt, true);
}

void sim_ops_drop(struct sim_gatt *gatt)
{
    end_all(gatt, false);
}
