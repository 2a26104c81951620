/*
 * What somebody asked for over MQTT, from its arrival to its one answer. The answer frees the
 * command, so a second one cannot be given.
 */
#include "core/world.h"

#include "core/json.h"
#include "util/cleanup.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define ENVELOPE_MAX 512 /* bytes of an answer around its data */
/* ... and with what MQTT needs: a response topic and correlation data of 1024 bytes each */
#define AROUND_ANSWER (ENVELOPE_MAX + 2 * 1024 + 64)

struct command *command_new(struct gateway *gateway, enum command_kind kind,
                            const char *reply_topic, const struct event *event)
{
    struct command *command = calloc(1, sizeof(*command));

    if (!command)
        return NULL;
    command->gateway = gateway;
    command->kind = kind;
    command->started_us = gateway->now.mono_us;
    command->queue_ms = COMMAND_DEFAULT;
    command->expires_us = event->message.has_expiry
                              ? gateway_in(gateway, (uint64_t)event->message.expiry_s * 1000)
                              : TIME_NEVER;
    command->reply = reply_new(gateway, reply_topic, event, &command->refusal);
    if (!command->reply)
        return command_free(command);
    gateway->counts.commands++;
    return command;
}

struct command *command_free(struct command *command)
{
    if (!command)
        return NULL;
    if (command->dedup) /* it never was answered */
        dedup_drop(command->gateway->dedup, command->dedup);
    reply_free(command->reply);
    free(command->id);
    free(command);
    return NULL;
}

bool command_refused(struct gateway *gateway, struct command *command)
{
    if (!command->refusal)
        return false;
    command_answer_error(gateway, command, "bad_request", 0, "%s", command->refusal);
    return true;
}

/* ---- waiting ---- */

uint64_t command_queue_ms(const struct peer *peer, const struct command *command)
{
    return command->queue_ms == COMMAND_DEFAULT ? peer->settings->queue_timeout_ms
                                                : command->queue_ms;
}

uint64_t command_queue_until(const struct peer *peer, const struct command *command, bool linked)
{
    uint64_t until_us = TIME_NEVER;

    /* with a link there is only the work of others to wait for: no limit unless one is asked for */
    if (!linked || (command->queue_ms != COMMAND_DEFAULT && command->queue_ms))
        until_us = gateway_in(peer->gateway, command_queue_ms(peer, command));
    return MIN_OF(until_us, command->expires_us);
}

void command_answer_late(struct peer *peer, struct command *command)
{
    struct gateway *gateway = peer->gateway;

    if (!command)
        return;
    if (command->expires_us <= gateway->now.mono_us)
        command_answer_error(gateway, command, "expired", 0,
                             "it waited longer than the message's expiry");
    else if (peer->state == PEER_STATE_ONLINE)
        command_answer_error(gateway, command, "timeout", 0,
                             "it waited too long behind what was asked before");
    else
        command_answer_error(gateway, command, "not_connected", 0, "no link in time: %s",
                             peer->why);
}

/* ---- the answer ---- */

static const char *kind_name(enum command_kind kind)
{
    switch (kind) {
    case COMMAND_KIND_SET: return "set";
    case COMMAND_KIND_GET: return "get";
    case COMMAND_KIND_COMMAND: return "command";
    case COMMAND_KIND_REQUEST: break;
    }
    return "";
}

static struct json_writer begin(struct command *command, struct strbuf *out, const char *status)
{
    struct json_writer w = json_writer_to(out);

    json_write_object_begin(&w);
    if (command->kind == COMMAND_KIND_REQUEST) { /* its topic says what it answers */
        const char *id = command->id ? command->id : "null";
        json_write_key(&w, "id");
        json_write_raw(&w, id, strlen(id));
    } else {
        json_write_key(&w, "op");
        json_write_string(&w, kind_name(command->kind));
    }
    json_write_key(&w, "status");
    json_write_string(&w, status);
    return w;
}

static void end(struct gateway *gateway, struct command *command, struct json_writer *w)
{
    json_write_key(w, "ms");
    json_write_uint(w, (gateway->now.mono_us - command->started_us) / 1000);
    json_write_object_end(w);
    if (strbuf_ok(w->out)) {
        reply_send(gateway, command->reply, strbuf_str(w->out), w->out->length);
        if (command->dedup) {
            dedup_finish(gateway->dedup, command->dedup, gateway->now.mono_us, strbuf_str(w->out),
                         w->out->length);
            command->dedup = 0;
        }
    } else {
        gateway->counts.rejected++;
    }
    command_free(command);
}

size_t command_answer_limit(const struct gateway *gateway)
{
    /* so that the same request can get it again */
    size_t limit = DEDUP_ANSWER_MAX - ENVELOPE_MAX;

    if (gateway->max_packet)
        limit = MIN_OF(limit, MAX_OF(gateway->max_packet, AROUND_ANSWER) - AROUND_ANSWER);
    return limit;
}

void command_answer_ok(struct gateway *gateway, struct command *command, struct strbuf *data_json)
{
    _cleanup_(strbuf_done) struct strbuf out = STRBUF_INIT;

    if (!command)
        return;
    struct json_writer w = begin(command, &out, "ok");
    if (data_json && data_json->length) {
        json_write_key(&w, "data");
        json_write_raw(&w, data_json->data, data_json->length);
    }
    end(gateway, command, &w);
}

void command_answer_error(struct gateway *gateway, struct command *command, const char *code,
                          int att, const char *format, ...)
{
    _cleanup_(strbuf_done) struct strbuf out = STRBUF_INIT;
    _cleanup_(freep) char *message = NULL; /* diagnostics are long */
    va_list ap;

    if (!command)
        return;
    va_start(ap, format);
    if (vasprintf(&message, format, ap) < 0)
        message = NULL;
    va_end(ap);
    struct json_writer w = begin(command, &out, "error");
    json_write_key(&w, "error");
    json_write_object_begin(&w);
    json_write_key(&w, "code");
    json_write_string(&w, code);
    json_write_key(&w, "message");
    json_write_string(&w, message);
    if (att) {
        json_write_key(&w, "att");
        json_write_int(&w, att);
    }
    json_write_object_end(&w);
    end(gateway, command, &w);
}

/* BlueZ's outcome to the codes of the documentation. */
static const char *code_of(enum command_kind kind, enum bt_status status)
{
    switch (status) {
    case BT_STATUS_ATT_ERROR: return "att_error";
    case BT_STATUS_IN_PROGRESS: return "in_progress";
    case BT_STATUS_GONE:
    case BT_STATUS_NOT_CONNECTED:
    case BT_STATUS_LOST: return "not_connected";
    case BT_STATUS_NOT_READY:
    case BT_STATUS_BLOCKED: return "adapter_off";
    case BT_STATUS_NOT_PERMITTED: return kind == COMMAND_KIND_GET ? "write_only" : "read_only";
    case BT_STATUS_NOT_AUTHORIZED:
    case BT_STATUS_NOT_PAIRED:
    case BT_STATUS_AUTH_FAILED:
    case BT_STATUS_ACCESS_DENIED: return "not_authorized";
    case BT_STATUS_NOT_SUPPORTED:
    case BT_STATUS_NO_SERVICES: return "not_supported";
    case BT_STATUS_INVALID_LENGTH: return "value_too_long";
    case BT_STATUS_INVALID_ARGUMENT: return "invalid_value";
    case BT_STATUS_CANCELLED: return "cancelled";
    case BT_STATUS_TIMEOUT: return "timeout";
    case BT_STATUS_OK:
    case BT_STATUS_FAILED: break;
    }
    return "att_error"; /* the peer or BlueZ said no without a reason */
}

#define PAIR_IT "the peer wants to be paired first (request `pair`)"

bool command_wants_bond(const struct bt_result *result)
{
    return result->status == BT_STATUS_NOT_PAIRED ||
           (result->status == BT_STATUS_ATT_ERROR &&
            (result->att == 0x05 || result->att == 0x0c || result->att == 0x0f));
}

/* Core Specification Vol 3 Part F 3.4.1.1, table of error codes */
static const char *att_name(uint8_t att)
{
    static const char *const names[] = {
        [0x01] = "Invalid Handle",
        [0x02] = "Read Not Permitted",
        [0x03] = "Write Not Permitted",
        [0x04] = "Invalid PDU",
        [0x05] = "Insufficient Authentication: " PAIR_IT,
        [0x06] = "Request Not Supported",
        [0x07] = "Invalid Offset",
        [0x08] = "Insufficient Authorization",
        [0x09] = "Prepare Queue Full",
        [0x0a] = "Attribute Not Found",
        [0x0b] = "Attribute Not Long",
        [0x0c] = "Insufficient Encryption Key Size: " PAIR_IT,
        [0x0d] = "Invalid Attribute Value Length",
        [0x0e] = "Unlikely Error",
        [0x0f] = "Insufficient Encryption: " PAIR_IT,
        [0x10] = "Unsupported Group Type",
        [0x11] = "Insufficient Resources",
        [0x12] = "Database Out Of Sync",
        [0x13] = "Value Not Allowed",
    };

    if (att < ARRAY_SIZE(names) && names[att])
        return names[att];
    return att >= 0x80 && att <= 0x9f ? "Application Error" : "ATT Error";
}

const char *command_explain_status(enum command_kind kind, const struct bt_result *result,
                                   const char **ret_text)
{
    if (result->status == BT_STATUS_ATT_ERROR) {
        *ret_text = att_name(result->att);
        return "att_error";
    }
    if (command_wants_bond(result)) { /* BlueZ says only "Not paired" */
        *ret_text = PAIR_IT;
        return code_of(kind, result->status);
    }
    *ret_text = result->text ? result->text : bt_status_name(result->status);
    return code_of(kind, result->status);
}
