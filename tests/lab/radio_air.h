/*
 * The air: the played peripherals with their advertising schedule, the controllers that hear them,
 * the links between both. It connects sim's model, radio_hci and radio_link. Pure: time is an
 * argument, in microseconds since the world began; must not know /dev/vhci nor sockets.
 */
#pragma once

#include "radio_hci.h"
#include "sim/control.h"

#define AIR_MAX_LINKS 64 /* of a controller */

struct air;

struct air_ops {
    /* an H:4 packet for the host of that adapter */
    void (*to_host)(void *user, size_t adapter, const uint8_t *packet, size_t length);
    /* something worth a line of log, in words; who: a peripheral or an adapter */
    void (*log)(void *user, const char *who, const char *text);
};

/* The world is borrowed and outlives the air. -ENOMEM */
MUST_CHECK
int air_new(struct sim_world *world, const struct air_ops *ops, void *user, struct air **ret_air);
struct air *air_free(struct air *air);

/* From now on a peripheral's end of a link lives at least so long: what would end it sooner does so
 * then. Initially 0. */
void air_set_youngest(struct air *air, uint64_t us);

void air_receive(struct air *air, size_t adapter, uint64_t now_us, const uint8_t *packet,
                 size_t length);
/* the adapter is unplugged: its links are gone */
void air_unplug(struct air *air, size_t adapter, uint64_t now_us);
uint64_t air_deadline(const struct air *air);
void air_run(struct air *air, uint64_t now_us);

/* what the control protocol wants; 0 or a negative errno */
int air_drop(struct air *air, struct sim_peripheral *p, uint8_t reason, uint64_t now_us);
void air_presence_changed(struct air *air, struct sim_peripheral *p, uint64_t now_us);
/* the peripheral asks for connection parameters; -ENOTCONN */
int air_request_parameters(struct air *air, struct sim_peripheral *p, uint16_t interval,
                           uint16_t latency, uint16_t timeout, uint64_t now_us);
