/*
 * Stands in for Paho in bench_path: takes every message, and gives its answers, and what the client
 * has subscribed to itself, when it is told to. Connects at once, by a real TCP socket, at whose
 * other end it takes what the client writes there beside Paho.
 */
#pragma once

#include <stdint.h>

/* Before the client connects; the port that it must be told. */
uint16_t path_paho_listen(void);
/* Calls what Paho's threads would call; how many of them. */
unsigned path_paho_answer(void);
/* Takes what has come by the socket. */
void path_paho_read(void);
/* messages that came by it, since the start */
unsigned path_paho_n_read(void);
/* messages to topics that end so, since the start */
unsigned path_paho_count(void);
