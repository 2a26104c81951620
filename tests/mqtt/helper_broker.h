/* A Mosquitto of the test's own: free port on the loopback, own directory, ended by its pid. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct broker {
    char dir[64];
    pid_t pid; /* 0: not running */
    uint16_t port;
    char *config; /* what broker_start() was given */
};

/* `config`: lines behind "listener PORT 127.0.0.1"; "%s" in it stands for the directory. Fails the
 * test when the broker does not come up. */
void broker_init(struct broker *broker);
void broker_start(struct broker *broker, const char *config);
void broker_kill(struct broker *broker);    /* SIGKILL */
void broker_restart(struct broker *broker); /* on the same port */
void broker_done(struct broker *broker);

/* runs `command` by a shell in the broker's directory; fails the test if it does */
void broker_shell(struct broker *broker, const char *command);

/* a port that nobody listened on a moment ago */
uint16_t free_port(void);
/* Listens and never accepts (`full`: its backlog is full, so not even the kernel answers). */
int deaf_listener(bool full, uint16_t *ret_port, int filler[2]);
