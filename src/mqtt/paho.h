/*
 * Paho's functions, from the library that is needed: OpenSSL, which the one with TLS brings along,
 * costs 3 MiB of memory and half of the time to start, and most brokers in the own network are
 * spoken to without. Part of connection.c, like options.h. Knows nothing of how they are used.
 */
#pragma once

#include "util/err.h"
#include <MQTTAsync.h>
#include <stdbool.h>

#define PAHO_FUNCTIONS(X)          \
    X(MQTTAsync_createWithOptions) \
    X(MQTTAsync_setTraceLevel)     \
    X(MQTTAsync_setCallbacks)      \
    X(MQTTAsync_setDisconnected)   \
    X(MQTTAsync_connect)           \
    X(MQTTAsync_disconnect)        \
    X(MQTTAsync_destroy)           \
    X(MQTTAsync_send)              \
    X(MQTTAsync_subscribe)         \
    X(MQTTAsync_unsubscribe)       \
    X(MQTTAsync_freeMessage)       \
    X(MQTTAsync_free)              \
    X(MQTTProperties_add)          \
    X(MQTTProperties_free)         \
    X(MQTTProperties_hasProperty)  \
    X(MQTTProperties_getProperty)  \
    X(MQTTProperties_getNumericValue)

/* A copy of pointers, good for the life of the process. */
struct paho {
#define PAHO_MEMBER(name) __typeof__(&(name)) name;
    PAHO_FUNCTIONS(PAHO_MEMBER)
#undef PAHO_MEMBER
};

/* Loads the library, with TLS or without, unless it is already. -ELIBACC, and it is logged. */
MUST_CHECK
int paho_load(bool tls, struct paho *ret_paho);
