/*
 * The TCP socket of a connection that a library keeps to itself: found among the process's
 * descriptors, told not to wait (TCP_NODELAY), and written to beside the library. Knows no MQTT.
 */
#pragma once

#include "util/err.h"
#include <stddef.h>
#include <stdint.h>

/* Sets TCP_NODELAY on every TCP socket of this process that is connected to `port`: without it a
 * small message waits for the acknowledgement of the one before, up to 40 ms. A wrong one would do
 * no harm. Returns how many there are.
 *
 * `ret_fd`, if not NULL: a descriptor of the caller's own (close-on-exec) for the socket if it is
 * the only one, else -1. It stays that socket's, also when the library has closed its own and the
 * number is used again. */
unsigned socket_tune(uint16_t port, int *ret_fd);

/* How much socket_send() takes at once: with a third of the smallest send buffer that socket_tune()
 * is content with free, there is room for it and for the library's own small packets behind it. */
#define SOCKET_SEND_MAX 2048

/* All of `data` or nothing, without waiting. 0: sent. -EAGAIN: not now, nothing was written.
 * Another -errno: the connection is broken, and so that both ends know it is shut down when only a
 * part could be written. */
MUST_CHECK
int socket_send(int fd, const void *data, size_t length);
