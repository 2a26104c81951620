/* The air between peripherals and controllers; see radio_air.h. */
#include "radio_air.h"

#include "radio_adv.h"
#include "util/time.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define FIRST_HANDLE       0x0040
#define ADVERTISING_JITTER 10000 /* us: advDelay, Core Specification Vol 6 Part B 4.4.2.2 */

struct station {
    struct sim_peripheral *peripheral; /* borrowed */
    struct hci_advertisement advertisement;
    uint32_t *seen; /* owned: a duplicate filter's mark per controller */
    uint64_t next_us;
    uint64_t n_events;
    bool announce; /* its next advertisement is worth a line */
};

struct connection {
    struct controller *controller; /* borrowed */
    struct station *station;       /* borrowed */
    struct link *link;             /* owned; NULL: the slot is free */
    uint16_t handle;
    bool in_model; /* the model knows of it */
    uint64_t began_us;
    struct {
        uint64_t at_us; /* TIME_NEVER: not */
        uint8_t reason;
        bool power; /* it is without power then */
    } drop;         /* the peripheral ends it, as soon as it is old enough */
};

struct controller {
    struct air *air; /* borrowed */
    size_t index;
    struct hci *hci; /* owned */
    struct connection connections[AIR_MAX_LINKS];
};

struct air {
    struct sim_world *world; /* borrowed */
    const struct air_ops *ops;
    void *user;
    struct station *stations;       /* owned; one per peripheral */
    struct controller *controllers; /* owned; one per adapter */
    uint64_t now_us;
    uint64_t youngest_us; /* see air_set_youngest() */
};

static void air_log(struct air *air, const struct sim_peripheral *p, const char *format, ...)
    PRINTF_LIKE(3, 4);

static void air_log(struct air *air, const struct sim_peripheral *p, const char *format, ...)
{
    char text[160];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    air->ops->log(air->user, p->id, text);
}

/* ---- connections ---- */

static struct connection *by_handle(struct controller *controller, uint16_t handle)
{
    if (handle < FIRST_HANDLE || handle >= FIRST_HANDLE + AIR_MAX_LINKS)
        return NULL;
    struct connection *c = &controller->connections[handle - FIRST_HANDLE];
    return c->link ? c : NULL;
}

/* the controller has a link to it, be it one that the peripheral does not know of any more */
static bool holds(const struct controller *controller, const struct sim_peripheral *p)
{
    for (size_t k = 0; k < AIR_MAX_LINKS; k++)
        if (controller->connections[k].link && controller->connections[k].station->peripheral == p)
            return true;
    return false;
}

static struct connection *by_peripheral(struct air *air, const struct sim_peripheral *p)
{
    for (size_t i = 0; i < air->world->n_adapters; i++)
        for (size_t k = 0; k < AIR_MAX_LINKS; k++) {
            struct connection *c = &air->controllers[i].connections[k];
            if (c->link && c->in_model && c->station->peripheral == p)
                return c;
        }
    return NULL;
}

/* the peripheral's end of a link is no more; it may advertise again */
static void forget_in_model(struct connection *c)
{
    struct sim_peripheral *p = c->station->peripheral;
    if (!c->in_model)
        return;
    c->in_model = false;
    sim_peripheral_disconnected(p);
    c->station->next_us = c->controller->air->now_us + p->interval_us;
    c->station->announce = true;
}

static void end_connection(struct connection *c)
{
    forget_in_model(c);
    c->link = link_free(c->link);
}

static void on_fragment(void *user, bool start, const uint8_t *data, size_t length)
{
    struct connection *c = user;
    hci_data(c->controller->hci, c->handle, start, data, length);
}

static void on_completed(void *user, unsigned n_packets)
{
    struct connection *c = user;
    hci_completed(c->controller->hci, c->handle, (uint16_t)n_packets);
}

static const struct link_ops link_ops = {.fragment = on_fragment, .completed = on_completed};

/* the controller has answered an advertisement of the station with a connection request */
static void begin_connection(struct controller *controller, struct station *station)
{
    struct air *air = controller->air;
    struct sim_peripheral *p = station->peripheral;
    size_t k = 0;
    while (k < AIR_MAX_LINKS && controller->connections[k].link)
        k++;
    if (k == AIR_MAX_LINKS || holds(controller, p))
        return; /* goes on trying */

    struct connection *c = &controller->connections[k];
    struct link_parameters parameters = hci_wanted_parameters(controller->hci);
    *c = (struct connection){.controller = controller,
                             .station = station,
                             .handle = (uint16_t)(FIRST_HANDLE + k),
                             .in_model = !p->refuse,
                             .began_us = air->now_us,
                             .drop.at_us = TIME_NEVER};
    if (link_new(p, parameters, air->now_us, &link_ops, c, &c->link) < 0)
        return;
    if (p->refuse)
        link_drop(c->link, air->now_us, HCI_E_NOT_ESTABLISHED);
    else
        sim_peripheral_connected(p, controller->index);
    air_log(air, p, p->refuse ? "refuses a connection" : "connected");
    hci_connected(controller->hci, c->handle, &station->advertisement, parameters);
}

/* ---- what a controller asks ---- */

static void on_to_host(void *user, const uint8_t *packet, size_t length)
{
    struct controller *controller = user;
    controller->air->ops->to_host(controller->air->user, controller->index, packet, length);
}

static void on_data(void *user, uint16_t handle, bool start, const uint8_t *data, size_t length)
{
    struct controller *controller = user;
    struct connection *c = by_handle(controller, handle);
    if (c)
        link_receive(c->link, controller->air->now_us, start, data, length);
}

static uint8_t on_disconnect(void *user, uint16_t handle)
{
    struct controller *controller = user;
    struct connection *c = by_handle(controller, handle);
    if (!c)
        return HCI_E_UNKNOWN_CONNECTION;
    link_disconnect(c->link, controller->air->now_us);
    return 0;
}

static uint8_t on_set_parameters(void *user, uint16_t handle, struct link_parameters parameters)
{
    struct controller *controller = user;
    struct connection *c = by_handle(controller, handle);
    if (!c)
        return HCI_E_UNKNOWN_CONNECTION;
    link_set_parameters(c->link, parameters, controller->air->now_us);
    air_log(controller->air, c->station->peripheral, "parameters %u %u %u", parameters.interval,
            parameters.latency, parameters.timeout);
    return 0;
}

static bool on_answers(void *user, uint16_t handle)
{
    struct connection *c = by_handle(user, handle);
    return c && link_is_up(c->link);
}

static int on_rssi(void *user, uint16_t handle)
{
    struct controller *controller = user;
    struct connection *c = by_handle(controller, handle);
    return c ? sim_peripheral_rssi(c->station->peripheral, controller->air->now_us) : 127;
}

static bool on_holds(void *user, const struct bt_address *address, enum bt_address_type type)
{
    struct controller *controller = user;
    for (size_t k = 0; k < AIR_MAX_LINKS; k++) {
        struct connection *c = &controller->connections[k];
        if (c->link && c->station->peripheral->address_type == type &&
            bt_address_equal(&c->station->peripheral->address, address))
            return true;
    }
    return false;
}

static void on_scanning(void *user, bool on, bool active)
{
    struct controller *controller = user;
    struct air *air = controller->air;
    air->ops->log(air->user, air->world->adapters[controller->index].name,
                  !on      ? "scans no more"
                  : active ? "scans actively"
                           : "scans passively");
}

static void on_reset(void *user)
{
    struct controller *controller = user;
    for (size_t k = 0; k < AIR_MAX_LINKS; k++)
        if (controller->connections[k].link)
            end_connection(&controller->connections[k]);
}

static const struct hci_ops hci_ops = {
    .to_host = on_to_host,
    .data = on_data,
    .disconnect = on_disconnect,
    .set_parameters = on_set_parameters,
    .answers = on_answers,
    .rssi = on_rssi,
    .holds = on_holds,
    .scanning = on_scanning,
    .reset = on_reset,
};

/* ---- the air ---- */

int air_new(struct sim_world *world, const struct air_ops *ops, void *user, struct air **ret_air)
{
    struct air *air = calloc(1, sizeof(*air));
    if (!air)
        return -ENOMEM;
    air->world = world;
    air->ops = ops;
    air->user = user;
    air->stations = calloc(world->n_peripherals + 1, sizeof(*air->stations));
    air->controllers = calloc(world->n_adapters + 1, sizeof(*air->controllers));
    bool failed = !air->stations || !air->controllers;
    for (size_t i = 0; !failed && i < world->n_adapters; i++) {
        struct controller *controller = &air->controllers[i];
        controller->air = air;
        controller->index = i;
        failed = hci_new(&world->adapters[i].address, &hci_ops, controller, &controller->hci) < 0;
    }
    for (size_t i = 0; !failed && i < world->n_peripherals; i++) {
        struct station *station = &air->stations[i];
        station->peripheral = &world->peripherals[i];
        station->announce = true;
        adv_build(station->peripheral, &station->advertisement);
        station->seen = calloc(world->n_adapters + 1, sizeof(*station->seen));
        failed = !station->seen;
    }
    if (failed) {
        air_free(air);
        return -ENOMEM;
    }
    *ret_air = air;
    return 0;
}

struct air *air_free(struct air *air)
{
    if (!air)
        return NULL;
    for (size_t i = 0; air->controllers && i < air->world->n_adapters; i++) {
        for (size_t k = 0; k < AIR_MAX_LINKS; k++)
            link_free(air->controllers[i].connections[k].link);
        hci_free(air->controllers[i].hci);
    }
    for (size_t i = 0; air->stations && i < air->world->n_peripherals; i++)
        free(air->stations[i].seen);
    free(air->controllers);
    free(air->stations);
    free(air);
    return NULL;
}

void air_set_youngest(struct air *air, uint64_t us)
{
    air->youngest_us = us;
}

void air_receive(struct air *air, size_t adapter, uint64_t now_us, const uint8_t *packet,
                 size_t length)
{
    air->now_us = now_us;
    hci_receive(air->controllers[adapter].hci, packet, length);
}

void air_unplug(struct air *air, size_t adapter, uint64_t now_us)
{
    air->now_us = now_us;
    on_reset(&air->controllers[adapter]);
}

static bool anybody_listens(const struct air *air)
{
    for (size_t i = 0; i < air->world->n_adapters; i++)
        if (air->world->adapters[i].present && hci_listens(air->controllers[i].hci))
            return true;
    return false;
}

uint64_t air_deadline(const struct air *air)
{
    uint64_t deadline_us = TIME_NEVER;
    bool listening = anybody_listens(air);
    for (size_t i = 0; i < air->world->n_peripherals; i++) {
        const struct station *station = &air->stations[i];
        if ((listening || station->announce) && sim_peripheral_advertises(station->peripheral))
            deadline_us = MIN_OF(deadline_us, station->next_us);
    }
    for (size_t i = 0; i < air->world->n_adapters; i++)
        for (size_t k = 0; k < AIR_MAX_LINKS; k++) {
            const struct link *link = air->controllers[i].connections[k].link;
            if (!link)
                continue;
            deadline_us = MIN_OF(deadline_us, air->controllers[i].connections[k].drop.at_us);
            deadline_us = MIN_OF(deadline_us, link_deadline(link));
            deadline_us = MIN_OF(deadline_us, link_next_due(link));
        }
    return deadline_us;
}

static void run_station(struct air *air, struct station *station)
{
    struct sim_peripheral *p = station->peripheral;
    if (!sim_peripheral_advertises(p) || station->next_us > air->now_us)
        return;
    bool stale = air->now_us - station->next_us > p->interval_us;
    uint64_t jitter_us = script_hash(p->seed, station->n_events++) % ADVERTISING_JITTER;
    station->next_us = (stale ? air->now_us : station->next_us) + p->interval_us + jitter_us;
    if (station->announce)
        air_log(air, p, "advertises");
    station->announce = false;

    struct hci_advertisement *a = &station->advertisement;
    a->rssi = sim_peripheral_rssi(p, air->now_us);
    for (size_t i = 0; i < air->world->n_adapters; i++) {
        struct controller *controller = &air->controllers[i];
        if (!air->world->adapters[i].present)
            continue;
        a->seen = station->seen[i];
        bool wanted = hci_hear(controller->hci, a, air->now_us);
        station->seen[i] = a->seen;
        if (wanted)
            begin_connection(controller, station);
    }
}

static void drop_now(struct connection *c)
{
    struct air *air = c->controller->air;
    c->drop.at_us = TIME_NEVER;
    air_log(air, c->station->peripheral, "drops the link, 0x%02x", c->drop.reason);
    link_drop(c->link, air->now_us, c->drop.reason);
    if (c->drop.power)
        forget_in_model(c); /* the controller finds out by its supervision timeout */
}

static void run_connection(struct connection *c)
{
    struct air *air = c->controller->air;
    if (c->drop.at_us <= air->now_us)
        drop_now(c);
    while (c->link && link_deadline(c->link) <= air->now_us) {
        uint8_t reason = link_run(c->link, air->now_us);
        if (reason == 0)
            continue;
        air_log(air, c->station->peripheral, "disconnected 0x%02x", reason);
        hci_disconnected(c->controller->hci, c->handle, reason);
        end_connection(c);
    }
    if (c->link)
        link_take_due(c->link, air->now_us);
}

void air_run(struct air *air, uint64_t now_us)
{
    air->now_us = now_us;
    for (size_t i = 0; i < air->world->n_adapters; i++)
        for (size_t k = 0; k < AIR_MAX_LINKS; k++)
            if (air->controllers[i].connections[k].link)
                run_connection(&air->controllers[i].connections[k]);
    for (size_t i = 0; i < air->world->n_peripherals; i++)
        run_station(air, &air->stations[i]);
}

/* ---- faults ---- */

int air_drop(struct air *air, struct sim_peripheral *p, uint8_t reason, uint64_t now_us)
{
    struct connection *c = by_peripheral(air, p);
    if (!c)
        return -ENOTCONN;
    air->now_us = now_us;
    c->drop.reason = reason;
    c->drop.at_us = MAX_OF(now_us, c->began_us + air->youngest_us);
    if (c->drop.at_us <= now_us)
        drop_now(c);
    return 0;
}

void air_presence_changed(struct air *air, struct sim_peripheral *p, uint64_t now_us)
{
    struct station *station = &air->stations[p - air->world->peripherals];
    struct connection *c = by_peripheral(air, p);
    air->now_us = now_us;
    if (!p->present && c && c->drop.at_us != TIME_NEVER)
        c->drop.power = true;
    else if (!p->present && c)
        forget_in_model(c); /* no power: the controller finds out by its supervision timeout */
    station->announce = p->present;
    station->next_us = now_us;
    if (!p->present)
        air_log(air, p, "is absent");
}

int air_request_parameters(struct air *air, struct sim_peripheral *p, uint16_t interval,
                           uint16_t latency, uint16_t timeout, uint64_t now_us)
{
    struct connection *c = by_peripheral(air, p);
    if (!c || !link_is_up(c->link))
        return -ENOTCONN;
    link_request_parameters(c->link, now_us, interval, interval, latency, timeout);
    return 0;
}
