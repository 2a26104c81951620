/* What each operation under request/ does; see request.h. Must not know how a request is written.
 */
#include "core/json.h"
#include "core/world.h"
#include "util/cleanup.h"
#include <string.h>

/* NULL: there is none, and who asked was told */
static struct peer *find_peer(struct gateway *gateway, const struct request *request,
                              struct command **command)
{
    struct peer *peer = gateway_find_peer(gateway, request->device, strlen(request->device));

    if (!peer) {
        command_answer_error(gateway, TAKE_PTR(*command), "unknown_device", 0,
                             "there is no device %s", request->device);
        return NULL;
    }
    if (!peer->speaks) { /* another gateway's */
        command_answer_error(gateway, TAKE_PTR(*command), "disabled", 0, "%s", peer->why);
        return NULL;
    }
    return peer;
}

static uint32_t find_entry(struct peer *peer, const struct request *request,
                           struct command **command)
{
    uint32_t entry = access_find(peer, request->characteristic);

    if (entry == NO_ENTRY)
        command_answer_error(peer->gateway, TAKE_PTR(*command), "unknown_characteristic", 0,
                             "device %s has no characteristic %s", peer->settings->id,
                             request->characteristic);
    return entry;
}

static void run_write(struct gateway *gateway, const struct request *request,
                      struct command *command)
{
    struct peer *peer = find_peer(gateway, request, &command);
    uint32_t entry = peer ? find_entry(peer, request, &command) : NO_ENTRY;

    if (entry == NO_ENTRY)
        return;
    if (request->raw.data)
        access_write_raw(peer, entry, request->raw.data, request->raw.length, request->response,
                         command);
    else if (!peer->entries[entry].settings->schema && !strchr("\"{", *request->value.data))
        command_answer_error(gateway, command, "invalid_value", 0,
                             "%s has no fields: 'value' is a string of hex digits",
                             request->characteristic);
    else
        access_write(peer, entry, NULL, request->value.data, request->value.length,
                     request->response, command);
}

static void run_read(struct gateway *gateway, const struct request *request,
                     struct command *command)
{
    struct peer *peer = find_peer(gateway, request, &command);
    uint32_t entry = peer ? find_entry(peer, request, &command) : NO_ENTRY;

    if (entry != NO_ENTRY)
        ops_read(peer, entry, command);
}

static void run_command(struct gateway *gateway, const struct request *request,
                        struct command *command)
{
    struct peer *peer = find_peer(gateway, request, &command);

    if (!peer)
        return;
    for (size_t i = 0; i < peer->settings->n_commands; i++)
        if (strcmp(peer->settings->commands[i].id, request->command) == 0) {
            step_command(peer, i, request->parameters.data, request->parameters.length, command);
            return;
        }
    command_answer_error(gateway, command, "unknown_op", 0, "device %s has no command %s",
                         peer->settings->id, request->command);
}

static void run_link(struct gateway *gateway, const struct request *request,
                     struct command *command)
{
    struct peer *peer = find_peer(gateway, request, &command);

    if (!peer)
        return;
    if (request->operation == OPERATION_CONNECT)
        hold_connect(peer, request->duration_ms, command);
    else if (request->operation == OPERATION_DISCONNECT)
        hold_disconnect(peer, command);
    else if (request->operation == OPERATION_PAUSE)
        hold_pause(peer, request->duration_ms, command);
    else
        hold_resume(peer, command);
}

static void run_log_level(struct gateway *gateway, const struct request *request,
                          struct command *command)
{
    _cleanup_(strbuf_done) struct strbuf data = STRBUF_INIT;
    struct json_writer w = json_writer_to(&data);

    actions_add(gateway->actions, ACTION_LOG_LEVEL)->log_level = request->level;
    json_write_object_begin(&w);
    json_write_key(&w, "level");
    json_write_string(&w, log_level_name(request->level));
    json_write_object_end(&w);
    command_answer_ok(gateway, command, &data);
}

void request_run(struct gateway *gateway, const struct request *request, struct command *command)
{
    switch (request->operation) {
    case OPERATION_WRITE: run_write(gateway, request, command); return;
    case OPERATION_READ: run_read(gateway, request, command); return;
    case OPERATION_COMMAND: run_command(gateway, request, command); return;
    case OPERATION_LOG_LEVEL: run_log_level(gateway, request, command); return;
    case OPERATION_RELOAD: reload_request(gateway, command); return;
    case OPERATION_CONNECT:
    case OPERATION_DISCONNECT:
    case OPERATION_PAUSE:
    case OPERATION_RESUME: run_link(gateway, request, command); return;
    case OPERATION_SUBSCRIBE:
    case OPERATION_UNSUBSCRIBE:
    case OPERATION_SCAN:
    case OPERATION_INSPECT:
    case OPERATION_PAIR:
    case OPERATION_UNPAIR:
    case OPERATION_CLEAR_CACHE:
    case N_OPERATIONS: break;
    }
    command_answer_error(gateway, command, "not_supported", 0, "'%s' is not supported yet",
                         operation_name(request->operation));
}
