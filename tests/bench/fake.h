/*
 * org.bluez as the benchmark needs it: one adapter, N peripherals that connect when asked, with one
 * notifying characteristic each, and values with a sequence number in the first four bytes. Light
 * enough not to be what is measured. No faults, no delays: that is src/sim's business.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-bus.h>

#define FAKE_DEVICES_MAX 0x300
#define FAKE_STRANGERS   30 /* peripherals that advertise and are nobody's */
#define FAKE_VALUE_UUID  "be9c0002-8d20-4b5a-9a6e-0c0ffee00000"

struct fake_device {
    char path[64], service[80], value[96], address[18];
    bool connected, notifying;
    int socket; /* owned: our end of AcquireNotify's; or -1 */
};

struct fake {
    sd_bus *bus;                 /* borrowed */
    struct fake_device *devices; /* and behind them the strangers */
    unsigned n_devices, n_notifying;
    size_t size; /* of a value */
    bool discovering;
    uint64_t advertise_ns;
    uint32_t sequence; /* of the next value */
};

/* `devices` from 1 to FAKE_DEVICES_MAX; ends the process where it cannot go on, as all of these. */
void fake_init(struct fake *fake, sd_bus *bus, unsigned devices, size_t size);
void fake_done(struct fake *fake);
/* answers the calls that have come */
void fake_process(struct fake *fake);
/* the next value, of one device after the other; by its socket where it has one */
void fake_notify(struct fake *fake);
/* an advertisement of a stranger */
void fake_advert(struct fake *fake, unsigned stranger);
/* Those that are not connected are heard now and then; when next. UINT64_MAX: nobody listens. */
uint64_t fake_advertise(struct fake *fake);
