/*
 * TCP_NODELAY for a socket that a library keeps to itself: without it a small message waits for the
 * acknowledgement of the one before, up to 40 ms. Knows no MQTT.
 */
#pragma once

#include <stdint.h>

/* Sets it on every TCP socket of this process that is connected to `port`; returns how many there
 * are. A wrong one would do no harm. */
unsigned nodelay_set(uint16_t port);
