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

/* What a request is about: an entry, or a bare UUID. */
struct target {
    struct peer *peer; /* NULL: neither, and who asked was told */
    uint32_t entry;    /* NO_ENTRY: by UUID */
    struct bt_uuid uuid;
};

static struct target find_target(struct gateway *gateway, const struct request *request,
                                 struct command **command)
{
    const char *name = request->characteristic;
    struct target target = {.peer = find_peer(gateway, request, command)};

    if (!target.peer)
        return target;
    target.entry = access_find(target.peer, name);
    if (target.entry != NO_ENTRY)
        return target;
    if (bt_uuid_parse(name, &target.uuid) < 0)
        command_answer_error(gateway, TAKE_PTR(*command), "unknown_characteristic", 0,
                             "device %s has no characteristic %s", target.peer->settings->id, name);
    else if (!gateway->settings->commands.allow_raw)
        command_answer_error(gateway, TAKE_PTR(*command), "not_authorized", 0,
                             "a bare UUID needs `commands: {allow_raw: true}`");
    else
        return target;
    target.peer = NULL;
    return target;
}

static void write_uuid(const struct target *target, const struct request *request,
                       struct command *command)
{
    struct json_span hex = request->raw.data ? request->raw : request->value;
    struct payload_set asked;

    if (*hex.data != '"') {
        command_answer_error(target->peer->gateway, command, "invalid_value", 0,
                             "by UUID, 'value' is a string of hex digits");
        return;
    }
    if (!access_parse(target->peer, NULL, NULL, hex.data, hex.length, &asked, command))
        return;
    struct gatt_op *op = ops_new(OP_KIND_WRITE, NO_ENTRY, asked.raw, asked.raw_length);
    if (op) {
        op->uuid = target->uuid;
        op->wanted = request->response;
    }
    ops_enqueue(target->peer, op, command);
}

static void run_write(struct gateway *gateway, const struct request *request,
                      struct command *command)
{
    struct target target = find_target(gateway, request, &command);

    if (!target.peer)
        return;
    if (target.entry == NO_ENTRY)
        write_uuid(&target, request, command);
    else if (request->raw.data)
        access_write_raw(target.peer, target.entry, request->raw.data, request->raw.length,
                         request->response, command);
    else if (!target.peer->entries[target.entry].settings->schema &&
             !strchr("\"{", *request->value.data))
        command_answer_error(gateway, command, "invalid_value", 0,
                             "%s has no fields: 'value' is a string of hex digits",
                             request->characteristic);
    else
        access_write(target.peer, target.entry, NULL, request->value.data, request->value.length,
                     request->response, command);
}

static void run_read(struct gateway *gateway, const struct request *request,
                     struct command *command)
{
    struct target target = find_target(gateway, request, &command);

    if (!target.peer)
        return;
    if (target.entry != NO_ENTRY) {
        ops_read(target.peer, target.entry, command);
        return;
    }
    struct gatt_op *op = ops_new(OP_KIND_READ, NO_ENTRY, NULL, 0);
    if (op)
        op->uuid = target.uuid;
    ops_enqueue(target.peer, op, command);
}

static void run_subscribe(struct gateway *gateway, const struct request *request,
                          struct command *command)
{
    struct target target = find_target(gateway, request, &command);

    if (!target.peer)
        return;
    if (target.entry == NO_ENTRY)
        command_answer_error(gateway, command, "not_supported", 0,
                             "values are published to a characteristic of the file: give it one");
    else if (request->operation == OPERATION_SUBSCRIBE)
        subscribe_ask(target.peer, target.entry, command);
    else
        subscribe_end(target.peer, target.entry, command);
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

static void run_forget(struct gateway *gateway, const struct request *request,
                       struct command *command)
{
    struct peer *peer = find_peer(gateway, request, &command);

    if (peer)
        forget_request(peer, request->operation == OPERATION_UNPAIR, command);
}

static void run_inspect(struct gateway *gateway, const struct request *request,
                        struct command *command)
{
    struct peer *peer = find_peer(gateway, request, &command);

    if (peer)
        inspect_request(peer, request->values, command);
}

static void run_pair(struct gateway *gateway, const struct request *request,
                     struct command *command)
{
    struct peer *peer = find_peer(gateway, request, &command);

    if (peer)
        pair_request(peer, request->has_passkey ? &request->passkey : NULL, command);
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
    case OPERATION_UNSUBSCRIBE: run_subscribe(gateway, request, command); return;
    case OPERATION_SCAN: survey_request(gateway, request->duration_ms, command); return;
    case OPERATION_UNPAIR:
    case OPERATION_CLEAR_CACHE: run_forget(gateway, request, command); return;
    case OPERATION_INSPECT: run_inspect(gateway, request, command); return;
    case OPERATION_PAIR: run_pair(gateway, request, command); return;
    case N_OPERATIONS: break;
    }
    command_answer_error(gateway, command, "unknown_op", 0, "there is no such operation");
}
