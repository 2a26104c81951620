/*
 * The operations of `<base>/bridge/<gateway>/request/<op>`: their names, and which are allowed
 * unless `commands.allow` says otherwise. What each does stands in request_ops.c.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum operation {
    OPERATION_WRITE,
    OPERATION_READ,
    OPERATION_SUBSCRIBE,
    OPERATION_UNSUBSCRIBE,
    OPERATION_CONNECT,
    OPERATION_DISCONNECT,
    OPERATION_PAUSE,
    OPERATION_RESUME,
    OPERATION_COMMAND,
    OPERATION_SCAN,
    OPERATION_INSPECT,
    OPERATION_PAIR,
    OPERATION_UNPAIR,
    OPERATION_CLEAR_CACHE,
    OPERATION_RELOAD,
    OPERATION_LOG_LEVEL,
    N_OPERATIONS,
};

#define OPERATION_BIT(operation) (1u << (operation))
/* as the table of the configuration shows it; a test compares the two */
#define OPERATIONS_DEFAULT \
    "read, write, command, subscribe, unsubscribe, connect, disconnect, pause, resume, scan"
#define OPERATIONS_DEFAULT_BITS                                                \
    (OPERATION_BIT(OPERATION_READ) | OPERATION_BIT(OPERATION_WRITE) |          \
     OPERATION_BIT(OPERATION_COMMAND) | OPERATION_BIT(OPERATION_SUBSCRIBE) |   \
     OPERATION_BIT(OPERATION_UNSUBSCRIBE) | OPERATION_BIT(OPERATION_CONNECT) | \
     OPERATION_BIT(OPERATION_DISCONNECT) | OPERATION_BIT(OPERATION_PAUSE) |    \
     OPERATION_BIT(OPERATION_RESUME) | OPERATION_BIT(OPERATION_SCAN))

const char *operation_name(enum operation operation);
/* N_OPERATIONS: there is none of that name */
enum operation operation_find(const char *name, size_t length);

/* ---- only for request.c and request_ops.c ---- */

#include "core/json_text.h"
#include "core/settings.h"
#include "util/log.h"

struct gateway;
struct command;

/* What a request may give; strings are borrowed until it was carried out. */
struct request {
    enum operation operation;
    const char *device, *characteristic, *command; /* NULL: not given */
    struct json_span value, raw, parameters;       /* JSON text; data NULL: not given */
    enum tri response;
    uint64_t duration_ms; /* `hold`, `for`, `duration`; 0: not given */
    enum log_level level;
    bool values, has_passkey;
    uint32_t passkey;
};

/* Carries it out, now or later; answers to the command. */
void request_run(struct gateway *gateway, const struct request *request,
                 struct command *command_take);
