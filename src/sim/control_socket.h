/*
 * The control protocol on a UNIX stream socket: lines in, an answer line for each, several clients
 * at once. Must not know what the commands do.
 */
#pragma once

#include "sim/control.h"

struct sd_event;
struct control_socket;

struct control_socket_options {
    struct sd_event *event;        /* referenced */
    const char *path;              /* of the socket; one that nobody listens on is replaced */
    struct sim_world *world;       /* borrowed */
    const struct control_ops *ops; /* borrowed */
    void *user;                    /* of the ops, and of now() */
    uint64_t (*now)(void *user);   /* time since the world began */
};

/* -EADDRINUSE: somebody listens there already; -ENAMETOOLONG, or another errno of the socket */
MUST_CHECK
int control_socket_new(const struct control_socket_options *options,
                       struct control_socket **ret_socket);
/* also removes the socket's file */
struct control_socket *control_socket_free(struct control_socket *socket);
