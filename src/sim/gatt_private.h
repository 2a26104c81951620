/* What gatt.c (objects, sessions, notifications), gatt_ops.c (operations) and gatt_interface.c
 * (what the bus sees) share. Not for others. */
#pragma once

#include "sim/service_private.h"

/* a bus client that has called StartNotify */
struct sim_session {
    struct sim_session *next;
    char *owner; /* owned: unique name */
    bool live;   /* registered on the present link; else remembered for the next one */
};

/* AcquireNotify's or AcquireWrite's socket */
struct sim_socket {
    bool acquired;
    int fd; /* owned; -1: not there yet, or never after a failed CCCD */
    sd_event_source *watch;
};

struct sim_gatt_service {
    struct sim_object object; /* first */
    struct sim_device *device;
    const struct sim_service *service;
};

struct sim_gatt_descriptor {
    struct sim_object object; /* first */
    struct sim_gatt_characteristic *characteristic;
};

struct sim_gatt_characteristic {
    struct sim_object object; /* first */
    struct sim_gatt *gatt;
    struct sim_gatt_service *service;
    struct sim_characteristic *model;
    struct sim_gatt_descriptor cccd;
    /* BlueZ's copy: last read or notified */
    uint8_t value[GATT_VALUE_MAX];
    size_t length;
    bool notifying;
    struct sim_session *sessions; /* owned */
    struct sim_socket notify, write;
    struct sim_op *reading; /* borrowed: others' reads of the same offset join it */
    bool writing;
};

enum sim_op_kind {
    SIM_OP_READ,
    SIM_OP_WRITE,
    SIM_OP_COMMAND,
    SIM_OP_START_NOTIFY,
    SIM_OP_ACQUIRE_NOTIFY,
};

/* an ATT request under way */
struct sim_op {
    struct sim_op *prev, *next;
    enum sim_op_kind kind;
    struct sim_gatt_characteristic *c;
    struct sim_waiting_call *calls; /* owned; several where reads are joined */
    uint16_t offset;
    struct sim_bytes data; /* owned */
};

struct sim_gatt {
    struct sim_device *device;
    struct sim_gatt_service *services; /* owned */
    size_t n_services;
    struct sim_gatt_characteristic *characteristics; /* owned */
    size_t n_characteristics;
    struct sim_op *ops; /* owned: ATT has one request at a time */
    sd_event_source *op_timer;
    sd_event_source *notify_timer;
};

static inline struct sim_gatt_characteristic *sim_gatt_characteristic_of(struct sim_object *o)
{
    return (struct sim_gatt_characteristic *)o;
}

/* ---- gatt.c ---- */
void sim_session_free(struct sim_gatt_characteristic *c, struct sim_session *s);
struct sim_session *sim_session_find(struct sim_gatt_characteristic *c, const char *owner);
struct sim_session *sim_session_new(struct sim_gatt_characteristic *c, const char *owner);
/* Notifying and the CCCD follow the sessions that are left */
void sim_sessions_changed(struct sim_gatt_characteristic *c);
void sim_socket_close(struct sim_gatt_characteristic *c, struct sim_socket *s);
/* writes the CCCD; an ATT error code or 0 */
uint8_t sim_gatt_enable(struct sim_gatt_characteristic *c);
/* BlueZ's copy changes, and Value is told */
void sim_gatt_store(struct sim_gatt_characteristic *c, size_t offset, const uint8_t *data,
                    size_t length);

/* ---- gatt_ops.c ---- */
/* Takes on an operation; it is carried out at once, or when the peripheral has been slow enough.
 * Ownership of op goes over. */
void sim_op_submit(struct sim_gatt *gatt, struct sim_op *op);
struct sim_op *sim_op_new(struct sim_gatt_characteristic *c, enum sim_op_kind kind,
                          sd_bus_message *call);
MUST_CHECK
int sim_op_join(struct sim_op *op, sd_bus_message *call);
struct sim_op *sim_op_free(struct sim_op *op);
/* all fail, because the link is gone */
void sim_ops_fail(struct sim_gatt *gatt);
/* all end without an answer, because their objects go */
void sim_ops_drop(struct sim_gatt *gatt);
void sim_reply_att_error(struct sim_bluez *b, sd_bus_message *call, uint8_t code);

/* ---- gatt_interface.c ---- */
extern const struct sim_interface sim_gatt_service_interface;
extern const struct sim_interface sim_gatt_characteristic_interface;
extern const struct sim_interface sim_gatt_descriptor_interface;
