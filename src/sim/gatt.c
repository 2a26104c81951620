/*
 * The GATT objects of a device of the played org.bluez, who is subscribed, and notifications on
 * their way to the bus. See service_private.h.
 */
#include "sim/gatt_private.h"

#include "util/cleanup.h"
#include "util/time.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define TICK_US         1000 /* notifications that are due closer together go out together */
#define SERVICE_GAP     0x1800
#define SERVICE_BATTERY 0x180f

/* ---- BlueZ's copy of the value ---- */

void sim_gatt_store(struct sim_gatt_characteristic *c, size_t offset, const uint8_t *data,
                    size_t length)
{
    offset = MIN_OF(offset, c->length);
    length = MIN_OF(length, sizeof(c->value) - offset);
    if (length)
        memcpy(c->value + offset, data, length);
    c->length = offset + length;
    sim_object_changed_now(&c->object, "Value");
}

/* ---- sessions ---- */

struct sim_session *sim_session_find(struct sim_gatt_characteristic *c, const char *owner)
{
    struct sim_session *s;

    LL_FOREACH (c->sessions, s)
        if (strcmp(s->owner, owner) == 0)
            return s;
    return NULL;
}

struct sim_session *sim_session_new(struct sim_gatt_characteristic *c, const char *owner)
{
    struct sim_session *s = calloc(1, sizeof(*s));

    if (!s)
        return NULL;
    s->owner = strdup(owner);
    if (!s->owner) {
        free(s);
        return NULL;
    }
    LL_APPEND(c->sessions, s);
    return s;
}

void sim_session_free(struct sim_gatt_characteristic *c, struct sim_session *s)
{
    LL_DELETE(c->sessions, s);
    free(s->owner);
    free(s);
}

static bool anybody_live(struct sim_gatt_characteristic *c)
{
    struct sim_session *s;

    LL_FOREACH (c->sessions, s)
        if (s->live)
            return true;
    return false;
}

uint8_t sim_gatt_enable(struct sim_gatt_characteristic *c)
{
    uint16_t flags = c->model->flags, both = 1 | 2;
    /* BlueZ leaves no choice: notifications where there are any, else indications; it once asked
     * for all there is */
    uint16_t value = flags & GATT_FLAG_NOTIFY ? 1 : 2;

    if (!sim_since(c->object.bluez, 559) && flags & GATT_FLAG_NOTIFY && flags & GATT_FLAG_INDICATE)
        value = both;
    if (sim_characteristic_subscribed(c->model))
        return SIM_ATT_OK;
    uint8_t code = sim_characteristic_subscribe(c->model, value, sim_bluez_now(c->object.bluez));
    if (!code)
        sim_gatt_pump(c->gatt->device);
    return code;
}

void sim_sessions_changed(struct sim_gatt_characteristic *c)
{
    if (anybody_live(c))
        return;
    if (c->notifying) {
        c->notifying = false;
        sim_object_changed(&c->object, "Notifying");
    }
    if (c->gatt->device->connected && !c->notify.acquired)
        sim_characteristic_subscribe(c->model, 0, 0);
}

void sim_socket_close(struct sim_gatt_characteristic *c, struct sim_socket *s)
{
    if (!s->acquired)
        return;
    s->watch = sd_event_source_disable_unref(s->watch);
    if (s->fd >= 0) {
        shutdown(s->fd, SHUT_RDWR);
        close(s->fd);
    }
    *s = (struct sim_socket){.fd = -1};
    sim_object_changed(&c->object, s == &c->notify ? "NotifyAcquired" : "WriteAcquired");
    if (s == &c->notify)
        sim_sessions_changed(c);
}

/* ---- notifications ---- */

static void deliver(struct sim_gatt *gatt, const struct sim_notification *n)
{
    size_t length = MIN_OF(n->length, (size_t)sim_device_mtu(gatt->device) - 3);
    struct sim_gatt_characteristic *c = NULL;
    struct sim_session *s;

    for (size_t i = 0; i < gatt->n_characteristics && !c; i++)
        if (gatt->characteristics[i].model == n->characteristic)
            c = &gatt->characteristics[i];
    if (!c)
        return;
    if (c->notify.acquired) {
        /* BlueZ drops what a slow reader leaves no room for */
        if (c->notify.fd >= 0)
            (void)send(c->notify.fd, n->data, length, MSG_NOSIGNAL | MSG_DONTWAIT);
        return;
    }
    /* Each session has its own registration, and each tells the bus. */
    LL_FOREACH (c->sessions, s)
        if (s->live)
            sim_gatt_store(c, 0, n->data, length);
}

static int on_notify(sd_event_source *source, uint64_t usec, void *userdata)
{
    struct sim_gatt *gatt = userdata;

    sim_gatt_pump(gatt->device);
    return 0;
}

void sim_gatt_pump(struct sim_device *d)
{
    struct sim_bluez *b = d->hci->bluez;
    struct sim_notification n;
    uint64_t now_us = sim_bluez_now(b), next_us;

    if (!d->gatt || !d->connected)
        return;
    while (sim_peripheral_take_due(d->peripheral, now_us, &n))
        deliver(d->gatt, &n);
    next_us = sim_peripheral_next_due(d->peripheral);
    if (next_us != TIME_NEVER)
        next_us = MAX_OF(next_us, now_us + TICK_US);
    sim_timer_set(b, &d->gatt->notify_timer, next_us, on_notify, d->gatt);
}

/* ---- the link ---- */

void sim_gatt_connected(struct sim_device *d)
{
    struct sim_session *s, *next;

    if (!d->gatt)
        return;
    for (size_t i = 0; i < d->gatt->n_characteristics; i++) {
        struct sim_gatt_characteristic *c = &d->gatt->characteristics[i];

        LL_FOREACH_SAFE (c->sessions, s, next) {
            s->live = true;
            if (sim_gatt_enable(c))
                sim_session_free(c, s);
        }
    }
}

void sim_gatt_disconnected(struct sim_device *d)
{
    struct sim_session *s;

    if (!d->gatt)
        return;
    sim_ops_fail(d->gatt);
    sim_timer_set(d->hci->bluez, &d->gatt->notify_timer, TIME_NEVER, on_notify, d->gatt);
    for (size_t i = 0; i < d->gatt->n_characteristics; i++) {
        struct sim_gatt_characteristic *c = &d->gatt->characteristics[i];
        bool notifying = c->notifying;

        /* Notifying stays as it is: the sessions are only remembered. */
        LL_FOREACH (c->sessions, s)
            s->live = false;
        c->notifying = false;
        sim_socket_close(c, &c->notify);
        sim_socket_close(c, &c->write);
        c->notifying = notifying;
    }
}

void sim_gatt_client_vanished(struct sim_device *d, const char *owner)
{
    if (!d->gatt)
        return;
    for (size_t i = 0; i < d->gatt->n_characteristics; i++) {
        struct sim_gatt_characteristic *c = &d->gatt->characteristics[i];
        struct sim_session *s = sim_session_find(c, owner);

        if (s) {
            sim_session_free(c, s);
            sim_sessions_changed(c);
        }
    }
}

/* ---- objects ---- */

static int add_descriptor(struct sim_gatt_characteristic *c)
{
    char *path = NULL;

    c->cccd.characteristic = c;
    if (!c->model->cccd)
        return 0;
    if (asprintf(&path, "%s/desc%04x", c->object.path, c->model->cccd) < 0)
        return -ENOMEM;
    return sim_object_add(&c->cccd.object, c->object.bluez, path, &sim_gatt_descriptor_interface,
                          &c->object);
}

static int add_characteristic(struct sim_gatt *gatt, struct sim_gatt_service *service,
                              struct sim_characteristic *model)
{
    struct sim_gatt_characteristic *c = &gatt->characteristics[gatt->n_characteristics++];
    char *path = NULL;

    c->gatt = gatt;
    c->service = service;
    c->model = model;
    c->notify.fd = c->write.fd = -1;
    if (asprintf(&path, "%s/char%04x", service->object.path, model->declaration) < 0)
        return -ENOMEM;
    int r = sim_object_add(&c->object, service->object.bluez, path,
                           &sim_gatt_characteristic_interface, &service->object);
    return r < 0 ? r : add_descriptor(c);
}

static int add_service(struct sim_gatt *gatt, const struct sim_service *service)
{
    struct sim_device *d = gatt->device;
    struct sim_gatt_service *s = &gatt->services[gatt->n_services++];
    char *path = NULL;
    int r;

    s->device = d;
    s->service = service;
    if (asprintf(&path, "%s/service%04x", d->object.path, service->handle) < 0)
        return -ENOMEM;
    r = sim_object_add(&s->object, d->hci->bluez, path, &sim_gatt_service_interface, &d->object);
    for (size_t i = 0; i < service->n_characteristics && r >= 0; i++)
        r = add_characteristic(gatt, s, &service->characteristics[i]);
    return r;
}

/* what BlueZ keeps for itself */
static bool is_claimed(const struct sim_bluez *b, const struct sim_service *service)
{
    uint16_t uuid = bt_uuid_to_u16(&service->uuid);

    return (uuid == SERVICE_GAP && !sim_since(b, 580)) ||
           (uuid == SERVICE_BATTERY && !sim_since(b, 555));
}

int sim_gatt_resolve(struct sim_device *d)
{
    const struct sim_peripheral *p = d->peripheral;
    size_t n = 0;
    int r = 0;

    if (d->gatt)
        return 0;
    d->gatt = calloc(1, sizeof(*d->gatt));
    if (!d->gatt)
        return -ENOMEM;
    d->gatt->device = d;
    for (size_t i = 0; i < p->n_services; i++)
        n += p->services[i].n_characteristics;
    d->gatt->services = calloc(MAX_OF(p->n_services, (size_t)1), sizeof(*d->gatt->services));
    d->gatt->characteristics = calloc(MAX_OF(n, (size_t)1), sizeof(*d->gatt->characteristics));
    if (!d->gatt->services || !d->gatt->characteristics)
        r = -ENOMEM;
    for (size_t i = 0; i < p->n_services && r >= 0; i++)
        if (!is_claimed(d->hci->bluez, &p->services[i]))
            r = add_service(d->gatt, &p->services[i]);
    if (r < 0)
        d->gatt = sim_gatt_free(d->gatt, false);
    return r;
}

static void take_off(struct sim_object *o, bool announce)
{
    if (announce)
        sim_object_remove(o);
    else
        sim_object_forget(o);
}

static void free_characteristic(struct sim_gatt_characteristic *c, bool announce)
{
    while (c->sessions)
        sim_session_free(c, c->sessions);
    sim_socket_close(c, &c->notify);
    sim_socket_close(c, &c->write);
    take_off(&c->cccd.object, announce);
    take_off(&c->object, announce);
}

struct sim_gatt *sim_gatt_free(struct sim_gatt *gatt, bool announce)
{
    if (!gatt)
        return NULL;
    sim_ops_drop(gatt);
    /* service by service, each after its characteristics */
    for (size_t i = 0; i < gatt->n_services; i++) {
        for (size_t k = 0; k < gatt->n_characteristics; k++)
            if (gatt->characteristics[k].service == &gatt->services[i])
                free_characteristic(&gatt->characteristics[k], announce);
        take_off(&gatt->services[i].object, announce);
    }
    sd_event_source_disable_unref(gatt->op_timer);
    sd_event_source_disable_unref(gatt->notify_timer);
    free(gatt->characteristics);
    free(gatt->services);
    free(gatt);
    return NULL;
}

int sim_gatt_renew(struct sim_device *d)
{
    struct sim_characteristic *c;

    if (!d->gatt)
        return 0;
    d->gatt = sim_gatt_free(d->gatt, true);
    /* a subscription is gone with the CCCD that held it */
    for (size_t i = 0; i < d->peripheral->n_services; i++)
        for (size_t k = 0; k < d->peripheral->services[i].n_characteristics; k++) {
            c = &d->peripheral->services[i].characteristics[k];
            sim_characteristic_subscribe(c, 0, 0);
        }
    return sim_gatt_resolve(d);
}
