/*
 * Requests under `<base>/bridge/<gateway>/request/<op>`: from a message to an operation with its
 * arguments, or to the reason why not. Whatever comes, it is answered once. What an operation does
 * stands in request_ops.c.
 */
#include "core/request.h"

#include "core/world.h"
#include "util/cleanup.h"
#include "util/num.h"
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define REQUEST_MAX         65536 /* bytes */
#define REQUEST_MAX_DEPTH   16    /* of brackets, those of `value` included */
#define REQUEST_MAX_NUMBERS 300   /* more than a value may have */
#define REQUEST_MAX_ID      64    /* bytes of the id, as its text is meant */
#define SHORTEST_MS         1
#define LONGEST_TIMEOUT_MS  (60 * 60 * 1000ULL)
#define LONGEST_QUEUE_MS    (24 * 60 * 60 * 1000ULL)
#define LONGEST_HOLD_MS     (365 * 24 * 60 * 60 * 1000ULL)

/* ---- operations and what they take ---- */

enum request_key {
    KEY_DEVICE,
    KEY_CHARACTERISTIC,
    KEY_VALUE,
    KEY_RAW,
    KEY_RESPONSE,
    KEY_TIMEOUT,
    KEY_QUEUE_TIMEOUT,
    KEY_HOLD,
    KEY_FOR,
    KEY_COMMAND,
    KEY_PARAMETERS,
    KEY_LEVEL,
    KEY_DURATION,
    KEY_VALUES,
    KEY_PASSKEY,
    N_KEYS,
};

static const char *const key_names[N_KEYS] = {
    [KEY_DEVICE] = "device",
    [KEY_CHARACTERISTIC] = "characteristic",
    [KEY_VALUE] = "value",
    [KEY_RAW] = "raw",
    [KEY_RESPONSE] = "response",
    [KEY_TIMEOUT] = "timeout",
    [KEY_QUEUE_TIMEOUT] = "queue_timeout",
    [KEY_HOLD] = "hold",
    [KEY_FOR] = "for",
    [KEY_COMMAND] = "command",
    [KEY_PARAMETERS] = "parameters",
    [KEY_LEVEL] = "level",
    [KEY_DURATION] = "duration",
    [KEY_VALUES] = "values",
    [KEY_PASSKEY] = "passkey",
};

#define BIT(key) (1u << (key))
#define TIMES    (BIT(KEY_TIMEOUT) | BIT(KEY_QUEUE_TIMEOUT))
#define OF_PEER  (BIT(KEY_DEVICE) | BIT(KEY_CHARACTERISTIC))

static const struct {
    const char *name;
    uint32_t keys, required;
} operations[N_OPERATIONS] = {
    [OPERATION_WRITE] = {"write",
                         OF_PEER | TIMES | BIT(KEY_VALUE) | BIT(KEY_RAW) | BIT(KEY_RESPONSE),
                         OF_PEER},
    [OPERATION_READ] = {"read", OF_PEER | TIMES, OF_PEER},
    [OPERATION_SUBSCRIBE] = {"subscribe", OF_PEER | TIMES, OF_PEER},
    [OPERATION_UNSUBSCRIBE] = {"unsubscribe", OF_PEER | TIMES, OF_PEER},
    [OPERATION_CONNECT] = {"connect", BIT(KEY_DEVICE) | BIT(KEY_HOLD) | TIMES, BIT(KEY_DEVICE)},
    [OPERATION_DISCONNECT] = {"disconnect", BIT(KEY_DEVICE) | BIT(KEY_TIMEOUT), BIT(KEY_DEVICE)},
    [OPERATION_PAUSE] = {"pause", BIT(KEY_DEVICE) | BIT(KEY_FOR), BIT(KEY_DEVICE)},
    [OPERATION_RESUME] = {"resume", BIT(KEY_DEVICE), BIT(KEY_DEVICE)},
    [OPERATION_COMMAND] = {"command",
                           BIT(KEY_DEVICE) | BIT(KEY_COMMAND) | BIT(KEY_PARAMETERS) | TIMES,
                           BIT(KEY_DEVICE) | BIT(KEY_COMMAND)},
    [OPERATION_SCAN] = {"scan", BIT(KEY_DURATION), 0},
    [OPERATION_UNPAIR] = {"unpair", BIT(KEY_DEVICE) | BIT(KEY_TIMEOUT), BIT(KEY_DEVICE)},
    [OPERATION_CLEAR_CACHE] = {"clear_cache", BIT(KEY_DEVICE) | BIT(KEY_TIMEOUT), BIT(KEY_DEVICE)},
    [OPERATION_INSPECT] = {"inspect", BIT(KEY_DEVICE) | BIT(KEY_VALUES) | TIMES, BIT(KEY_DEVICE)},
    [OPERATION_PAIR] = {"pair", BIT(KEY_DEVICE) | BIT(KEY_PASSKEY) | TIMES, BIT(KEY_DEVICE)},
    [OPERATION_RELOAD] = {"reload", 0, 0},
    [OPERATION_LOG_LEVEL] = {"log_level", BIT(KEY_LEVEL), BIT(KEY_LEVEL)},
};

const char *operation_name(enum operation operation)
{
    return operations[operation].name;
}

enum operation operation_find(const char *name, size_t length)
{
    for (enum operation i = 0; i < N_OPERATIONS; i++)
        if (strlen(operations[i].name) == length && memcmp(operations[i].name, name, length) == 0)
            return i;
    return N_OPERATIONS;
}

/* ---- from text ---- */

/* A request on its way through the parser. */
struct parsing {
    struct json_span text; /* borrowed */
    struct strbuf indexed; /* the same with numbers replaced by their index */
    struct json_span numbers[REQUEST_MAX_NUMBERS];
    json_t *json; /* owned; an object */
    struct request request;
    uint64_t timeout_ms, queue_ms;
    const char *code; /* of what is wrong */
    char why[200];
};

static void parsing_done(struct parsing *parsing)
{
    strbuf_done(&parsing->indexed);
    json_decref(parsing->json);
}

static bool PRINTF_LIKE(3, 4)
    refuse(struct parsing *parsing, const char *code, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    vsnprintf(parsing->why, sizeof(parsing->why), format, ap);
    va_end(ap);
    parsing->code = code;
    return false;
}

/* an object, or false with the reason */
static bool parse_text(struct parsing *parsing)
{
    json_error_t error;

    if (parsing->text.length > REQUEST_MAX)
        return refuse(parsing, "bad_request", "more than %d bytes", REQUEST_MAX);
    parsing->text = json_text_trim(parsing->text);
    if (!parsing->text.length) /* not every operation needs arguments */
        parsing->text = (struct json_span){"{}", 2};
    switch (json_text_index(parsing->text, REQUEST_MAX_DEPTH, parsing->numbers, REQUEST_MAX_NUMBERS,
                            &parsing->indexed)) {
    case 0: break;
    case JSON_TEXT_E_DEPTH:
        return refuse(parsing, "bad_request", "brackets more than %d deep", REQUEST_MAX_DEPTH);
    case JSON_TEXT_E_NUMBERS:
        return refuse(parsing, "bad_request", "more than %d numbers", REQUEST_MAX_NUMBERS);
    default: return refuse(parsing, "bad_json", "not JSON: a bad number");
    }
    if (!strbuf_ok(&parsing->indexed))
        return refuse(parsing, "internal", "out of memory");
    parsing->json = json_loadb(strbuf_str(&parsing->indexed), parsing->indexed.length,
                               JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    if (!parsing->json) {
        char *near = strstr(error.text, " near ");
        if (near && parsing->request.operation == OPERATION_PAIR)
            *near = '\0'; /* what stands there may be the passkey */
        return refuse(parsing,
                      json_error_code(&error) == json_error_duplicate_key ? "bad_request"
                                                                          : "bad_json",
                      "not JSON: %.120s", error.text);
    }
    if (!json_is_object(parsing->json))
        return refuse(parsing, "bad_request", "a request is a JSON object");
    return true;
}

static const struct json_span *number_of(const struct parsing *parsing, const json_t *item)
{
    return &parsing->numbers[json_integer_value(item)];
}

/* whole and of a sensible length */
static bool is_integer(const struct json_span *number)
{
    for (size_t i = 0; i < number->length; i++)
        if (strchr(".eE", number->data[i]))
            return false;
    return number->length <= 20;
}

/* The id as JSON text, owned; NULL with code NULL: there is none. */
static char *parse_id(struct parsing *parsing)
{
    _cleanup_(strbuf_done) struct strbuf text = STRBUF_INIT;
    struct json_writer w = json_writer_to(&text);
    const json_t *item = json_object_get(parsing->json, "id");

    if (!item || json_is_null(item))
        return NULL;
    if (json_is_string(item) && json_string_length(item) <= REQUEST_MAX_ID) {
        json_write_string(&w, json_string_value(item));
    } else if (json_is_integer(item) && is_integer(number_of(parsing, item))) {
        strbuf_append(&text, number_of(parsing, item)->data, number_of(parsing, item)->length);
    } else {
        refuse(parsing, "bad_request", "'id' is a string of at most %d bytes or an integer",
               REQUEST_MAX_ID);
        return NULL;
    }
    char *id = strbuf_take(&text);
    if (!id)
        refuse(parsing, "internal", "out of memory");
    return id;
}

/* ---- the keys ---- */

static bool take_string(struct parsing *parsing, const char *name, const json_t *item,
                        const char **ret_text)
{
    if (!json_is_string(item) || !json_string_length(item) ||
        json_string_length(item) > SETTINGS_MAX_ID)
        return refuse(parsing, "bad_request", "'%s' is a name of at most %d bytes", name,
                      SETTINGS_MAX_ID);
    *ret_text = json_string_value(item);
    return true;
}

static bool take_duration(struct parsing *parsing, const char *name, const json_t *item,
                          uint64_t min_ms, uint64_t max_ms, uint64_t *ret_ms)
{
    char longest[32];
    uint64_t ms = 0;
    bool zero = json_is_integer(item) && json_text_is(*number_of(parsing, item), "0");

    if (!zero && (!json_is_string(item) || time_parse_duration(json_string_value(item), &ms) < 0))
        return refuse(parsing, "bad_request", "'%s' is a duration such as \"5s\"", name);
    time_format_duration(max_ms, longest, sizeof(longest));
    if (ms < min_ms || ms > max_ms)
        return refuse(parsing, "bad_request", "'%s' is at most %s%s", name, longest,
                      min_ms ? ", and more than 0" : "");
    *ret_ms = ms;
    return true;
}

static bool take_span(struct parsing *parsing, const char *name, struct json_span *ret_span)
{
    return json_text_member(parsing->text, name, ret_span) ||
           refuse(parsing, "bad_request", "'%s' must be written without escapes", name);
}

static bool take_passkey(struct parsing *parsing, const json_t *item)
{
    struct request *request = &parsing->request;
    const char *text = json_string_value(item);
    struct json_span digits = {text, text ? strlen(text) : 0};

    if (json_is_integer(item))
        digits = *number_of(parsing, item);
    request->has_passkey = bt_passkey_parse(digits.data, digits.length, &request->passkey) == 0;
    return request->has_passkey ||
           refuse(parsing, "bad_request", "'passkey' has one to %d digits", BT_PASSKEY_DIGITS);
}

static bool take_key(struct parsing *parsing, enum request_key key, const json_t *item)
{
    struct request *request = &parsing->request;
    const char *name = key_names[key];

    switch (key) {
    case KEY_DEVICE: return take_string(parsing, name, item, &request->device);
    case KEY_CHARACTERISTIC: return take_string(parsing, name, item, &request->characteristic);
    case KEY_COMMAND: return take_string(parsing, name, item, &request->command);
    case KEY_VALUE: return take_span(parsing, name, &request->value);
    case KEY_RAW:
        if (!json_is_string(item))
            return refuse(parsing, "bad_request", "'raw' is a string of hex digits");
        return take_span(parsing, name, &request->raw);
    case KEY_PARAMETERS:
        if (!json_is_object(item))
            return refuse(parsing, "bad_request", "'parameters' is an object");
        return take_span(parsing, name, &request->parameters);
    case KEY_RESPONSE:
        if (!json_is_boolean(item))
            return refuse(parsing, "bad_request", "'response' is true or false");
        request->response = json_is_true(item) ? TRI_YES : TRI_NO;
        return true;
    case KEY_TIMEOUT:
        return take_duration(parsing, name, item, SHORTEST_MS, LONGEST_TIMEOUT_MS,
                             &parsing->timeout_ms);
    case KEY_QUEUE_TIMEOUT:
        return take_duration(parsing, name, item, 0, LONGEST_QUEUE_MS, &parsing->queue_ms);
    case KEY_HOLD:
    case KEY_FOR:
        return take_duration(parsing, name, item, SHORTEST_MS, LONGEST_HOLD_MS,
                             &request->duration_ms);
    case KEY_PASSKEY: return take_passkey(parsing, item);
    case KEY_VALUES:
        if (!json_is_boolean(item))
            return refuse(parsing, "bad_request", "'values' is true or false");
        request->values = json_is_true(item);
        return true;
    case KEY_DURATION:
        return take_duration(parsing, name, item, SHORTEST_MS, SURVEY_MAX_MS,
                             &request->duration_ms);
    case KEY_LEVEL:
        return (json_is_string(item) &&
                log_level_parse(json_string_value(item), &request->level)) ||
               refuse(parsing, "bad_request", "'level' is error, warning, info or debug");
    case N_KEYS: break;
    }
    return false;
}

static bool refuse_key(struct parsing *parsing, const char *name)
{
    uint32_t keys = operations[parsing->request.operation].keys;
    char known[120] = "id";
    size_t at = 2;

    for (enum request_key key = 0; key < N_KEYS && at < sizeof(known); key++)
        if (keys & BIT(key))
            at += (size_t)snprintf(known + at, sizeof(known) - at, ", %s", key_names[key]);
    return refuse(parsing, "bad_request", "'%.40s' is no key of %s; there is: %s", name,
                  operation_name(parsing->request.operation), known);
}

static bool parse_keys(struct parsing *parsing)
{
    enum operation operation = parsing->request.operation;
    uint32_t given = 0;
    const char *name;
    json_t *item;

    json_object_foreach(parsing->json, name, item)
    {
        enum request_key key = 0;

        if (strcmp(name, "id") == 0)
            continue;
        while (key < N_KEYS && strcmp(key_names[key], name) != 0)
            key++;
        if (key == N_KEYS || !(operations[operation].keys & BIT(key)))
            return refuse_key(parsing, name);
        if (!take_key(parsing, key, item))
            return false;
        given |= BIT(key);
    }
    for (enum request_key key = 0; key < N_KEYS; key++)
        if (operations[operation].required & ~given & BIT(key))
            return refuse(parsing, "bad_request", "'%s' is missing", key_names[key]);
    if (operation == OPERATION_WRITE && !parsing->request.value.data == !parsing->request.raw.data)
        return refuse(parsing, "bad_request", "one of 'value' and 'raw' is needed");
    return true;
}

/* ---- the same again ---- */

static struct dedup_key dedup_key(const struct command *command, const struct parsing *parsing)
{
    return (struct dedup_key){.operation = operation_name(parsing->request.operation),
                              .id = command->id,
                              .content = parsing->text.data,
                              .length = parsing->text.length};
}

/* One that is running is answered when it is done; this is one more who waits for that. */
static void join(struct gateway *gateway, struct command *running, struct command *command)
{
    struct reply **link = &running->reply;
    size_t n = 0;

    for (; *link; link = &(*link)->next, n++)
        if (reply_equal(*link, command->reply)) {
            command_free(command); /* a duplicate delivery: one answer is for both */
            return;
        }
    if (n == COMMAND_REPLIES_MAX) {
        command_answer_error(gateway, command, "in_progress", 0,
                             "the same request is running, and %d wait for its answer already",
                             COMMAND_REPLIES_MAX);
        return;
    }
    *link = TAKE_PTR(command->reply);
    command_free(command);
}

/* True: it is new and may run. */
static bool is_new(struct gateway *gateway, const struct parsing *parsing, struct command *command)
{
    if (!command->id)
        return true;
    struct dedup_key key = dedup_key(command, parsing);
    struct dedup_seen seen = dedup_look(gateway->dedup, gateway->now.mono_us, &key);
    switch (seen.state) {
    case DEDUP_STATE_NEW: break;
    case DEDUP_STATE_RUNNING: join(gateway, seen.command, command); return false;
    case DEDUP_STATE_FINISHED:
        if (seen.answer) {
            reply_send(gateway, command->reply, seen.answer, seen.length);
            command_free(command);
        } else {
            command_answer_error(gateway, command, "internal", 0,
                                 "it was done, but its answer was too long to be kept");
        }
        return false;
    case DEDUP_STATE_OTHER:
        command_answer_error(gateway, command, "bad_request", 0,
                             "the same id came with other content less than %d s ago",
                             DEDUP_MS / 1000);
        return false;
    }
    int r = dedup_begin(gateway->dedup, &key, command, &command->dedup);
    if (r == DEDUP_E_FULL)
        command_answer_error(gateway, command, "queue_full", 0, "%d requests are running already",
                             DEDUP_MAX);
    else if (r < 0)
        command_answer_error(gateway, command, "internal", 0, "out of memory");
    return r == 0;
}

/* ---- the whole ---- */

static void handle(struct gateway *gateway, struct parsing *parsing, struct command *command)
{
    enum operation operation = parsing->request.operation;
    bool parsed = parse_text(parsing);

    if (parsed)
        command->id = parse_id(parsing);
    if (command_refused(gateway, command))
        return;
    if (operation == N_OPERATIONS) {
        command_answer_error(gateway, command, "unknown_op", 0, "there is no such operation");
        return;
    }
    if (gateway->stopping) {
        command_answer_error(gateway, command, "cancelled", 0, "the gateway is stopping");
        return;
    }
    if (!(gateway->settings->commands.allow & OPERATION_BIT(operation))) {
        command_answer_error(gateway, command, "not_authorized", 0,
                             "`commands.allow` does not name '%s'", operation_name(operation));
        return;
    }
    if (!parsed || parsing->code || !parse_keys(parsing)) {
        command_answer_error(gateway, command, parsing->code, 0, "%s", parsing->why);
        return;
    }
    if (!is_new(gateway, parsing, command))
        return;
    command->timeout_ms = parsing->timeout_ms;
    command->queue_ms = parsing->queue_ms;
    request_run(gateway, &parsing->request, command);
}

void request_message(struct gateway *gateway, const char *name, const struct event *event)
{
    _cleanup_(freep) char *topic = NULL;
    _cleanup_(freep) struct parsing *parsing = calloc(1, sizeof(*parsing));
    enum operation operation = operation_find(name, strlen(name));

    if (asprintf(&topic, "%s/%s", gateway->topic_response,
                 operation == N_OPERATIONS ? "unknown" : operation_name(operation)) < 0)
        topic = NULL;
    struct command *command =
        topic ? command_new(gateway, COMMAND_KIND_REQUEST, topic, event) : NULL;
    if (!command || !parsing) {
        gateway->counts.rejected++;
        command_answer_error(gateway, command, "internal", 0, "out of memory");
        return;
    }
    parsing->text = (struct json_span){event->message.payload, event->message.length};
    parsing->queue_ms = COMMAND_DEFAULT;
    parsing->request.operation = operation;
    parsing->request.response = TRI_AUTO;
    handle(gateway, parsing, command);
    parsing_done(parsing);
}
