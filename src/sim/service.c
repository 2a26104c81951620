/*
 * Messages and clients of the played org.bluez: what comes in goes to the object tree, replies and
 * signals go out, and clients that vanish are forgotten. With a socket pair it also stands in for
 * the bus daemon. See service.h.
 */
#include "sim/service.h"

#include "sim/service_private.h"
#include "util/cleanup.h"
#include "util/time.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DBUS             "org.freedesktop.DBus"
#define PEER_CLIENT_NAME ":1.100"

DEFINE_CLEANUP(struct sim_bluez *, sim_bluez_free)

/* ---- out ---- */

static void unique_name(const struct sim_bluez *b, char *buf, size_t size)
{
    snprintf(buf, size, ":1.%u", b->incarnation);
}

/* Where there is no bus daemon, nobody else writes the sender. */
void sim_sign(struct sim_bluez *b, sd_bus_message *m)
{
    char name[16];

    unique_name(b, name, sizeof(name));
    if (b->peer)
        sd_bus_message_set_sender(m, name);
}

void sim_send(struct sim_bluez *bluez, sd_bus_message *m)
{
    /* A client that went away meanwhile is no error. */
    sd_bus_send(bluez->bus, m, NULL);
    sd_bus_message_unref(m);
}

static void reply_as_daemon(struct sim_bluez *b, sd_bus_message *reply)
{
    sd_bus_message_set_sender(reply, DBUS);
    sim_send(b, reply);
}

static void fail_as_daemon(struct sim_bluez *b, sd_bus_message *call, const char *error,
                           const char *text)
{
    sd_bus_error e = SD_BUS_ERROR_MAKE_CONST(error, text);
    sd_bus_message *reply = NULL;

    if (sd_bus_message_new_method_error(call, &reply, &e) >= 0)
        reply_as_daemon(b, reply);
}

void sim_reply(struct sim_bluez *bluez, sd_bus_message *reply)
{
    sim_objects_flush(bluez);
    sim_sign(bluez, reply);
    sim_send(bluez, reply);
}

/* A daemon that is dead answers nothing: the bus does, to those who wait. */
static bool is_dead(struct sim_bluez *b, sd_bus_message *call)
{
    if (!b->alive && call)
        fail_as_daemon(b, call, DBUS ".Error.NoReply",
                       "Message recipient disconnected from message bus without replying");
    return !b->alive;
}

void sim_reply_ok(struct sim_bluez *bluez, sd_bus_message *call)
{
    sd_bus_message *reply = NULL;

    if (is_dead(bluez, call))
        return;
    sim_objects_flush(bluez);
    if (!call || sd_bus_message_new_method_return(call, &reply) < 0)
        return;
    sim_sign(bluez, reply);
    sim_send(bluez, reply);
}

void sim_reply_error(struct sim_bluez *bluez, sd_bus_message *call, const char *name,
                     const char *text)
{
    sd_bus_error error = SD_BUS_ERROR_MAKE_CONST(name, text);
    sd_bus_message *reply = NULL;

    if (is_dead(bluez, call))
        return;
    sim_objects_flush(bluez);
    if (!call || sd_bus_message_new_method_error(call, &reply, &error) < 0)
        return;
    sim_sign(bluez, reply);
    sim_send(bluez, reply);
}

int sim_signal_new(struct sim_bluez *bluez, const char *path, const char *interface,
                   const char *member, sd_bus_message **ret_signal)
{
    int r = sd_bus_message_new_signal(bluez->bus, ret_signal, path, interface, member);

    if (r >= 0)
        sim_sign(bluez, *ret_signal);
    return r;
}

const char *sim_sender(sd_bus_message *m)
{
    const char *sender = sd_bus_message_get_sender(m);

    return sender ? sender : "";
}

/* ---- time ---- */

uint64_t sim_bluez_now(const struct sim_bluez *bluez)
{
    uint64_t now_us;

    if (sd_event_now(bluez->event, CLOCK_MONOTONIC, &now_us) < 0)
        now_us = time_now().mono_us;
    return now_us > bluez->start_us ? now_us - bluez->start_us : 0;
}

void sim_timer_set(struct sim_bluez *bluez, sd_event_source **timer, uint64_t at_us,
                   sd_event_time_handler_t handler, void *userdata)
{
    if (at_us == TIME_NEVER) {
        if (*timer)
            sd_event_source_set_enabled(*timer, SD_EVENT_OFF);
        return;
    }
    if (!*timer) {
        /* Without memory for a timer the thing simply never happens; nothing breaks. */
        (void)sd_event_add_time(bluez->event, timer, CLOCK_MONOTONIC, bluez->start_us + at_us,
                                TIMER_ACCURACY, handler, userdata);
        return;
    }
    sd_event_source_set_time(*timer, bluez->start_us + at_us);
    sd_event_source_set_enabled(*timer, SD_EVENT_ONESHOT);
}

/* ---- in, as the bus daemon of a socket pair ---- */

static int answer_as_daemon(struct sim_bluez *b, sd_bus_message *call)
{
    const char *member = sd_bus_message_get_member(call), *name = "";
    sd_bus_message *reply = NULL;
    char owner[16];
    int r = sd_bus_message_new_method_return(call, &reply);

    unique_name(b, owner, sizeof(owner));
    if (r >= 0 && strcmp(member, "Hello") == 0)
        r = sd_bus_message_append(reply, "s", PEER_CLIENT_NAME);
    else if (r >= 0 && strcmp(member, "NameHasOwner") == 0)
        r = sd_bus_message_append(reply, "b", b->alive);
    else if (r >= 0 && strcmp(member, "GetNameOwner") == 0) {
        if (sd_bus_message_read(call, "s", &name) < 0 || !b->alive) {
            fail_as_daemon(b, call, DBUS ".Error.NameHasNoOwner",
                           "Could not get owner of name '" SIM_BLUEZ_NAME "': no such name");
            sd_bus_message_unref(reply);
            return 1;
        }
        r = sd_bus_message_append(reply, "s", owner);
    } else if (r >= 0 && strcmp(member, "StartServiceByName") == 0) {
        fail_as_daemon(b, call, DBUS ".Error.ServiceUnknown",
                       "The name " SIM_BLUEZ_NAME " was not provided by any .service files");
        sd_bus_message_unref(reply);
        return 1;
    }
    if (r >= 0)
        reply_as_daemon(b, reply);
    else
        sd_bus_message_unref(reply);
    return 1;
}

static void tell_owner(struct sim_bluez *b, const char *old_owner, const char *new_owner)
{
    sd_bus_message *m = NULL;

    if (sd_bus_message_new_signal(b->bus, &m, "/org/freedesktop/DBus", DBUS, "NameOwnerChanged") <
            0 ||
        sd_bus_message_set_sender(m, DBUS) < 0 ||
        sd_bus_message_append(m, "sss", SIM_BLUEZ_NAME, old_owner, new_owner) < 0)
        sd_bus_message_unref(m);
    else
        sim_send(b, m);
}

/* ---- in ---- */

static int on_message(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    struct sim_bluez *b = userdata;
    const char *destination = sd_bus_message_get_destination(m);
    uint8_t type;

    if (sd_bus_message_get_type(m, &type) < 0)
        return 0;
    if (type == SD_BUS_MESSAGE_SIGNAL && b->alive && b->world->experimental) {
        for (size_t i = 0; i < b->world->n_adapters; i++)
            sim_hci_monitor_signal(b->hcis[i], m);
        return 0;
    }
    if (type != SD_BUS_MESSAGE_METHOD_CALL)
        return 0;
    if (b->peer && destination && strcmp(destination, DBUS) == 0)
        return answer_as_daemon(b, m);
    if (!b->alive) {
        fail_as_daemon(b, m, DBUS ".Error.ServiceUnknown",
                       "The name " SIM_BLUEZ_NAME " was not provided by any .service files");
        return 1;
    }
    const char *interface = sd_bus_message_get_interface(m);
    if (interface && strcmp(interface, DBUS ".Peer") == 0)
        return 0; /* sd-bus answers */
    return sim_objects_dispatch(b, m);
}

static int on_name_owner_changed(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    struct sim_bluez *b = userdata;
    const char *name, *old_owner, *new_owner;

    if (sd_bus_message_read(m, "sss", &name, &old_owner, &new_owner) < 0 || *new_owner ||
        *name != ':')
        return 0;
    for (size_t i = 0; i < b->world->n_adapters; i++)
        sim_hci_client_vanished(b->hcis[i], name);
    sim_agent_vanished(b, name);
    return 0;
}

/* ---- the life of the daemon ---- */

static int come_alive(struct sim_bluez *b)
{
    int r = sim_object_add(&b->root, b, strdup("/"), NULL, NULL);

    if (r >= 0)
        r = sim_object_add(&b->manager, b, strdup(BLUEZ_PATH), &sim_agent_manager, NULL);
    for (size_t i = 0; r >= 0 && i < b->world->n_adapters; i++)
        if (b->world->adapters[i].present)
            r = sim_hci_plug(b->hcis[i]);
    return r;
}

static void go_silent(struct sim_bluez *b)
{
    for (size_t i = 0; b->hcis && i < b->world->n_adapters; i++)
        if (b->hcis[i])
            sim_hci_unplug(b->hcis[i], false);
    sim_agents_forget(b);
    sim_object_forget(&b->manager);
    sim_object_forget(&b->root);
}

int sim_bluez_new(const struct sim_bluez_options *options, struct sim_bluez **ret_bluez)
{
    _cleanup_(sim_bluez_freep) struct sim_bluez *b = calloc(1, sizeof(*b));
    int r;

    if (!b)
        return -ENOMEM;
    b->bus = sd_bus_ref(options->bus);
    b->event = sd_event_ref(options->event);
    b->world = options->world;
    b->peer = options->peer;
    b->alive = true;
    b->incarnation = 1;
    b->start_us = time_now().mono_us;
    b->hcis = calloc(b->world->n_adapters, sizeof(struct sim_hci *));
    if (!b->hcis)
        return -ENOMEM;
    for (size_t i = 0; i < b->world->n_adapters; i++) {
        r = sim_hci_new(b, i, &b->hcis[i]);
        if (r < 0)
            return r;
    }
    r = sd_bus_add_filter(b->bus, &b->filter, on_message, b);
    if (r >= 0 && !b->peer)
        r = sd_bus_add_match_async(b->bus, &b->vanish_match,
                                   "type='signal',sender='org.freedesktop.DBus',"
                                   "path='/org/freedesktop/DBus',"
                                   "interface='org.freedesktop.DBus',"
                                   "member='NameOwnerChanged',arg2=''",
                                   on_name_owner_changed, NULL, b);
    if (r >= 0)
        r = come_alive(b);
    if (r < 0)
        return r;
    *ret_bluez = TAKE_PTR(b);
    return 0;
}

struct sim_bluez *sim_bluez_free(struct sim_bluez *bluez)
{
    if (!bluez)
        return NULL;
    go_silent(bluez);
    for (size_t i = 0; bluez->hcis && i < bluez->world->n_adapters; i++)
        sim_hci_free(bluez->hcis[i]);
    free(bluez->hcis);
    sd_bus_slot_unref(bluez->filter);
    sd_bus_slot_unref(bluez->vanish_match);
    sd_event_source_disable_unref(bluez->idle);
    sd_event_unref(bluez->event);
    sd_bus_unref(bluez->bus);
    free(bluez);
    return NULL;
}

void sim_bluez_die(struct sim_bluez *bluez)
{
    char owner[16];

    if (!bluez->alive)
        return;
    bluez->alive = false;
    unique_name(bluez, owner, sizeof(owner));
    tell_owner(bluez, owner, "");
    go_silent(bluez);
}

int sim_bluez_start(struct sim_bluez *bluez)
{
    char owner[16];

    if (bluez->alive)
        return 0;
    bluez->alive = true;
    bluez->incarnation++;
    unique_name(bluez, owner, sizeof(owner));
    tell_owner(bluez, "", owner);
    return come_alive(bluez);
}

void sim_bluez_client_vanished(struct sim_bluez *bluez)
{
    for (size_t i = 0; i < bluez->world->n_adapters; i++)
        sim_hci_client_vanished(bluez->hcis[i], "");
    sim_agent_vanished(bluez, "");
}

/* ---- control ---- */

static struct sim_device *device_of(struct sim_bluez *b, const struct sim_peripheral *p)
{
    if (p->adapter == SIM_NO_ADAPTER)
        return NULL;
    return sim_hci_device(b->hcis[p->adapter], (size_t)(p - b->world->peripherals));
}

static int control_drop(void *user, struct sim_peripheral *p, uint8_t reason)
{
    struct sim_device *d = device_of(user, p);

    if (!d)
        return -ENOTCONN;
    sim_device_link_lost(d); /* 5.66 tells nobody the reason */
    return 0;
}

static int control_presence(void *user, struct sim_peripheral *p)
{
    struct sim_bluez *b = user;

    for (size_t i = 0; i < b->world->n_adapters; i++)
        sim_hci_update_advert(b->hcis[i], (size_t)(p - b->world->peripherals));
    return 0;
}

static void control_due(void *user, struct sim_peripheral *p)
{
    struct sim_device *d = device_of(user, p);

    if (d)
        sim_gatt_pump(d);
}

static int control_adapter(void *user, struct sim_adapter *adapter, enum control_adapter change)
{
    struct sim_bluez *b = user;
    struct sim_hci *hci = b->hcis[adapter - b->world->adapters];

    switch (change) {
    case CONTROL_ADAPTER_REMOVE:
        if (!adapter->present)
            return -ENODEV;
        sim_hci_unplug(hci, true);
        adapter->present = false;
        return 0;
    case CONTROL_ADAPTER_PULL:
        if (!adapter->present)
            return -ENODEV;
        sim_hci_pull(hci);
        adapter->present = false;
        return 0;
    case CONTROL_ADAPTER_ADD:
        if (adapter->present)
            return -EEXIST;
        adapter->present = true;
        return sim_hci_plug_anew(hci);
    case CONTROL_ADAPTER_OFF:
    case CONTROL_ADAPTER_ON:
        if (!adapter->present)
            return -ENODEV;
        sim_hci_power(hci, change == CONTROL_ADAPTER_ON, NULL);
        return 0;
    }
    return -EINVAL;
}

/* the device's object at the first adapter that could connect to it */
static struct sim_device *any_device_of(struct sim_bluez *b, const struct sim_peripheral *p)
{
    size_t index = (size_t)(p - b->world->peripherals);

    for (size_t i = 0; i < b->world->n_adapters; i++) {
        struct sim_hci *hci = b->hcis[i];

        if (!sim_hci_is_powered(hci))
            continue;
        if (!hci->devices[index] && sim_device_new(hci, index, &hci->devices[index]) < 0)
            return NULL;
        return hci->devices[index];
    }
    return NULL;
}

static int control_connect(void *user, struct sim_peripheral *p)
{
    struct sim_device *d = any_device_of(user, p);
    int r = 0;

    if (!d)
        return -ENODEV;
    if (!sim_object_exists(&d->object)) { /* who connects has found it before */
        d->known = p->name != NULL;
        r = sim_device_announce(d, true);
    }
    if (r >= 0)
        sim_device_begin_connect(d, NULL);
    return r;
}

static int control_forget(void *user, struct sim_peripheral *p)
{
    struct sim_bluez *b = user;

    for (size_t i = 0; i < b->world->n_adapters; i++) {
        struct sim_device *d = sim_hci_device(b->hcis[i], (size_t)(p - b->world->peripherals));

        if (!d)
            continue;
        d->temporary = true; /* and nothing of it is remembered */
        sim_device_withdraw(d, true);
    }
    return 0;
}

static int control_services(void *user, struct sim_peripheral *p)
{
    struct sim_bluez *b = user;
    int r = 0;

    for (size_t i = 0; r >= 0 && i < b->world->n_adapters; i++) {
        struct sim_device *d = sim_hci_device(b->hcis[i], (size_t)(p - b->world->peripherals));

        if (d)
            r = sim_gatt_renew(d);
    }
    return r;
}

static int control_fault(void *user, struct sim_adapter *adapter, enum sim_fault fault, bool on)
{
    struct sim_bluez *b = user;

    /* BlueZ switches on again what is not blocked any more */
    if (fault == SIM_FAULT_RFKILL && adapter->present)
        sim_hci_power(b->hcis[adapter - b->world->adapters], !on, NULL);
    return 0;
}

const struct control_ops sim_bluez_control_ops = {
    .connect = control_connect,
    .forget = control_forget,
    .services = control_services,
    .fault = control_fault,
    .drop = control_drop,
    .presence = control_presence,
    .due = control_due,
    .adapter = control_adapter,
};
