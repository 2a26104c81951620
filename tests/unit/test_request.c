/* Requests under bridge/<gateway>/request/: whatever comes is answered once, and acts once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "helper_world.h"

#define D0       100u
#define REQUEST  "g/bridge/gw/request/"
#define RESPONSE "g/bridge/gw/response/"

static struct world *begin(void)
{
    struct world *world = world_new(2);

    world->settings.commands.allow |= OPERATION_BIT(OPERATION_LOG_LEVEL);
    return world;
}

static void start(struct world *world)
{
    world_start(world);
    world_broker_up(world);
    world_bluez_up(world);
}

static struct world *begin_online(void)
{
    struct world *world = begin();

    start(world);
    world_online(world, 0);
    world_clear(world);
    return world;
}

static void ask(struct world *world, const char *operation, const char *payload)
{
    char topic[64];

    snprintf(topic, sizeof(topic), REQUEST "%s", operation);
    world_message(world, topic, payload, false);
}

/* how often it was answered since world_clear(), and the last answer */
static size_t count_answers(const struct world *world, const char *operation)
{
    char topic[64];

    snprintf(topic, sizeof(topic), RESPONSE "%s", operation);
    return world_count_published(world, topic);
}

static const char *answer(const struct world *world, const char *operation)
{
    char topic[64];

    snprintf(topic, sizeof(topic), RESPONSE "%s", operation);
    const char *text = world_published(world, topic);
    if (!text)
        fail_msg("%s was not answered", operation);
    return text;
}

static void expect_part(const struct world *world, const char *operation, const char *part)
{
    const char *text = answer(world, operation);

    if (!strstr(text, part))
        fail_msg("'%s' is not in %s", part, text);
}

static void expect_code(const struct world *world, const char *operation, const char *code)
{
    char part[64];

    snprintf(part, sizeof(part), "\"error\":{\"code\":\"%s\"", code);
    expect_part(world, operation, part);
    assert_int_equal(count_answers(world, operation), 1);
}

/* ---- what requests do ---- */

static void read_answers_with_the_value_and_the_id(void **state)
{
    struct world *world = begin_online();

    ask(world, "read", "{\"id\":\"c1\",\"device\":\"d0\",\"characteristic\":\"lamp\"}");
    assert_int_equal(count_answers(world, "read"), 0); /* there is no interim answer */
    world_advance(world, 84);
    world_answer(world, world_expect(world, ACTION_READ), BT_STATUS_OK);
    assert_int_equal(count_answers(world, "read"), 1);
    const char *text = answer(world, "read");
    assert_ptr_equal(
        strstr(text, "{\"id\":\"c1\",\"status\":\"ok\",\"data\":{\"value\":42,\"ts\":\""), text);
    assert_string_equal(text + strlen(text) - strlen(",\"ms\":84}"), ",\"ms\":84}");
    assert_non_null(world_published(world, "g/d0/lamp")); /* a read always publishes */
    world_free(world);
}

static void write_takes_a_value_or_raw_bytes(void **state)
{
    static const char *const payloads[] = {
        "{\"device\":\"d0\",\"characteristic\":\"lamp\",\"value\":7}",
        "{\"device\":\"d0\",\"characteristic\":\"lamp\",\"value\":\"7\"}",
        "{\"device\":\"d0\",\"characteristic\":\"lamp\",\"value\":{\"value\":7}}",
        "{\"device\":\"d0\",\"characteristic\":\"lamp\",\"raw\":\"07\"}",
        " { \"raw\" : \"\\u00307\" , \"characteristic\":\"lamp\",\"device\":\"d0\" } ",
    };
    struct world *world = begin_online();

    for (size_t i = 0; i < ARRAY_SIZE(payloads); i++) {
        world_clear(world);
        ask(world, "write", payloads[i]);
        const struct action *write = world_expect(world, ACTION_WRITE);
        assert_int_equal(write->write.length, 1);
        assert_int_equal(write->write.data[0], 7);
        world_answer(world, write, BT_STATUS_OK);
        expect_part(world, "write", "{\"id\":null,\"status\":\"ok\",\"data\":{\"value\":7,");
        world_answer(world, world_expect(world, ACTION_READ), BT_STATUS_OK);
    }
    world_free(world);
}

static void response_says_how_a_write_is_made(void **state)
{
    struct world *world = begin_online();

    world->gateway->peers[0]->sources[1].flags |= GATT_FLAG_WRITE_COMMAND;
    ask(world, "write",
        "{\"device\":\"d0\",\"characteristic\":\"lamp\",\"value\":1,\"response\":false}");
    assert_false(world_expect(world, ACTION_WRITE)->write.response);
    world_answer(world, world_expect(world, ACTION_WRITE), BT_STATUS_OK);
    expect_part(world, "write", "\"data\":{\"confirmed\":false}");
    world_answer(world, world_expect(world, ACTION_READ), BT_STATUS_OK);
    world_clear(world);
    ask(world, "write",
        "{\"device\":\"d0\",\"characteristic\":\"lamp\",\"value\":1,\"response\":true}");
    assert_true(world_expect(world, ACTION_WRITE)->write.response);
    world_free(world);
}

static void the_id_comes_back_as_it_was(void **state)
{
    static const char *const ids[] = {
        "\"\"",
        "\"a \\\"b\\\" c\"",
        "0",
        "-12",
        "9007199254740993",
        "18446744073709551615",
        "\"0123456789012345678901234567890123456789012345678901234567890123\"",
        "null",
    };
    struct world *world = begin_online();
    char payload[256], expected[128];

    for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
        world_clear(world);
        snprintf(payload, sizeof(payload),
                 "{\"device\":\"none\",\"characteristic\":\"x\",\"id\":%s}", ids[i]);
        ask(world, "read", payload);
        snprintf(expected, sizeof(expected), "{\"id\":%s,\"status\":\"error\"", ids[i]);
        expect_part(world, "read", expected);
    }
    world_free(world);
}

/* `blink` writes 07 to the lamp */
static struct world *begin_with_command(void)
{
    struct world *world = begin();
    struct device_settings *device = &world->settings.devices[0];
    struct step_settings *step = calloc(1, sizeof(*step));

    step->kind = STEP_KIND_WRITE;
    step->characteristic = 1;
    step->data = calloc(1, 1);
    step->data[0] = 7;
    step->length = 1;
    device->commands = calloc(1, sizeof(*device->commands));
    device->n_commands = 1;
    device->commands[0].id = strdup("blink");
    device->commands[0].cancels = 1;
    device->commands[0].sequence =
        (struct sequence_settings){.timeout_ms = 30000, .steps = step, .n_steps = 1};
    return world;
}

static void command_runs_a_named_command_and_answers_how_it_ended(void **state)
{
    struct world *world = begin_with_command();

    start(world);
    world_online(world, 0);
    world_clear(world);
    ask(world, "command", "{\"id\":1,\"device\":\"d0\",\"command\":\"blink\"}");
    assert_int_equal(world_expect(world, ACTION_WRITE)->write.data[0], 7);
    assert_int_equal(count_answers(world, "command"), 0);
    world_answer(world, world_expect(world, ACTION_WRITE), BT_STATUS_OK);
    expect_part(world, "command", "{\"id\":1,\"status\":\"ok\"");
    world_clear(world);
    ask(world, "command",
        "{\"device\":\"d0\",\"command\":\"blink\",\"parameters\":{},\"timeout\":\"2s\"}");
    world_advance(world, 2100);
    expect_code(world, "command", "timeout");
    world_clear(world);
    ask(world, "command", "{\"device\":\"d0\",\"command\":\"blink\",\"parameters\":{\"x\":1}}");
    expect_code(world, "command", "bad_request");
    world_free(world);
}

static void a_command_that_waits_for_the_link_is_bounded_too(void **state)
{
    struct world *world = begin_with_command();

    start(world);
    ask(world, "command", "{\"device\":\"d0\",\"command\":\"blink\",\"queue_timeout\":\"3s\"}");
    world_advance(world, 2900);
    assert_int_equal(count_answers(world, "command"), 0);
    world_advance(world, 200);
    expect_code(world, "command", "not_connected");
    world_free(world);
}

static void what_cannot_be_read_or_is_too_long_says_so(void **state)
{
    struct world *world = begin_online();
    char payload[1200] = "{\"device\":\"d0\",\"characteristic\":\"lamp\",\"raw\":\"";

    memset(payload + strlen(payload), '0', 2 * 513);
    strcat(payload, "\"}");
    ask(world, "write", payload);
    expect_code(world, "write", "value_too_long");
    world->gateway->peers[0]->sources[1].flags &= ~(unsigned)GATT_FLAG_READ;
    ask(world, "read", "{\"device\":\"d0\",\"characteristic\":\"lamp\"}");
    expect_code(world, "read", "write_only");
    world_free(world);
}

static void log_level_is_an_action(void **state)
{
    struct world *world = begin_online();

    ask(world, "log_level", "{\"level\":\"debug\"}");
    assert_int_equal(world_expect(world, ACTION_LOG_LEVEL)->log_level, LOG_LEVEL_DEBUG);
    expect_part(world, "log_level", "\"data\":{\"level\":\"debug\"}");
    world_free(world);
}

/* ---- what is wrong ---- */

static void what_is_wrong_is_answered_with_its_code(void **state)
{
#define LAMP "\"device\":\"d0\",\"characteristic\":\"lamp\""
    static const struct {
        const char *operation, *payload, *code;
    } cases[] = {
        {"read", "{", "bad_json"},
        {"read", "hello", "bad_json"},
        {"read", "{" LAMP ",\"timeout\":01}", "bad_json"},
        {"read", "{" LAMP "} {}", "bad_json"},
        {"read", "{\"device\":\"d\\u00000\",\"characteristic\":\"lamp\"}", "bad_json"},
        {"read", "{\"device\":\"\xff\",\"characteristic\":\"lamp\"}", "bad_json"},
        {"read", "[]", "bad_request"},
        {"read", "7", "bad_request"},
        {"read", "null", "bad_request"},
        {"read", "", "bad_request"},
        {"read", "{" LAMP ",\"colour\":1}", "bad_request"},
        {"read", "{" LAMP ",\"value\":1}", "bad_request"},
        {"read", "{" LAMP "," LAMP "}", "bad_request"},
        {"read", "{\"device\":\"d0\"}", "bad_request"},
        {"read", "{\"characteristic\":\"lamp\"}", "bad_request"},
        {"read", "{\"device\":null,\"characteristic\":\"lamp\"}", "bad_request"},
        {"read", "{\"device\":0,\"characteristic\":\"lamp\"}", "bad_request"},
        {"read", "{\"device\":\"\",\"characteristic\":\"lamp\"}", "bad_request"},
        {"read", "{" LAMP ",\"timeout\":5}", "bad_request"},
        {"read", "{" LAMP ",\"timeout\":\"5\"}", "bad_request"},
        {"read", "{" LAMP ",\"timeout\":0}", "bad_request"},
        {"read", "{" LAMP ",\"timeout\":\"2h\"}", "bad_request"},
        {"read", "{" LAMP ",\"queue_timeout\":\"25h\"}", "bad_request"},
        {"read", "{" LAMP ",\"id\":1.5}", "bad_request"},
        {"read", "{" LAMP ",\"id\":1e3}", "bad_request"},
        {"read", "{" LAMP ",\"id\":[]}", "bad_request"},
        {"read", "{" LAMP ",\"id\":true}", "bad_request"},
        {"read", "{" LAMP ",\"id\":123456789012345678901}", "bad_request"},
        {"write", "{" LAMP "}", "bad_request"},
        {"write", "{" LAMP ",\"value\":1,\"raw\":\"01\"}", "bad_request"},
        {"write", "{" LAMP ",\"raw\":1}", "bad_request"},
        {"write", "{" LAMP ",\"v\\u0061lue\":1}", "bad_request"},
        {"write", "{" LAMP ",\"value\":1,\"response\":\"yes\"}", "bad_request"},
        {"write", "{" LAMP ",\"value\":256}", "invalid_value"},
        {"write", "{" LAMP ",\"value\":{\"colour\":1}}", "invalid_value"},
        {"write", "{" LAMP ",\"value\":null}", "invalid_value"},
        {"write", "{" LAMP ",\"raw\":\"0\"}", "invalid_value"},
        {"write", "{\"device\":\"d0\",\"characteristic\":\"level\",\"value\":1}", "read_only"},
        {"write", "{\"device\":\"d0\",\"characteristic\":\"level\",\"raw\":\"01\"}", "read_only"},
        {"write", "{" LAMP ",\"value\":1,\"response\":false}", "not_supported"},
        {"read", "{\"device\":\"d7\",\"characteristic\":\"lamp\"}", "unknown_device"},
        {"read", "{\"device\":\"d0\",\"characteristic\":\"none\"}", "unknown_characteristic"},
        {"command", "{\"device\":\"d0\",\"command\":\"dance\"}", "unknown_op"},
        {"command", "{\"device\":\"d0\",\"command\":\"dance\",\"parameters\":1}", "bad_request"},
        {"pair", "{\"device\":\"d0\"}", "not_authorized"},
        {"pair", "{", "not_authorized"},
        {"reload", "", "not_authorized"},
        {"log_level", "{\"level\":\"loud\"}", "bad_request"},
        {"log_level", "{}", "bad_request"},
    };
    struct world *world = begin_online();

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        world_clear(world);
        ask(world, cases[i].operation, cases[i].payload);
        expect_code(world, cases[i].operation, cases[i].code);
        assert_null(world_find(world, ACTION_WRITE, NULL));
        assert_null(world_find(world, ACTION_READ, NULL));
        assert_null(world_find(world, ACTION_LOG_LEVEL, NULL));
    }
    world_free(world);
}

static void an_unknown_operation_is_answered_on_its_own_topic(void **state)
{
    static const char *const operations[] = {"", "dance", "readx", "rea", "read/x", "response"};
    struct world *world = begin_online();

    for (size_t i = 0; i < ARRAY_SIZE(operations); i++) {
        world_clear(world);
        ask(world, operations[i], "{\"id\":7}");
        expect_code(world, "unknown", "unknown_op");
        expect_part(world, "unknown", "{\"id\":7,");
    }
    world_free(world);
}

static void size_and_depth_have_limits(void **state)
{
    struct world *world = begin_online();
    size_t size = 65536 + 1;
    char *text = malloc(size + 1);
    const char *head = "{\"device\":\"d0\",\"characteristic\":\"lamp\",\"value\":";

    /* one byte too long, and just not */
    for (size_t length = size; length >= size - 1; length--) {
        memset(text, ' ', length);
        memcpy(text, head, strlen(head));
        text[length - 2] = '7';
        text[length - 1] = '}';
        text[length] = '\0';
        world_clear(world);
        ask(world, "write", text);
        if (length == size)
            expect_code(world, "write", "bad_request");
        else
            world_expect(world, ACTION_WRITE);
    }
    /* one level too deep, and just not: the object is one */
    for (size_t depth = 16; depth >= 15; depth--) {
        size_t at = strlen(head);
        memset(text + at, '[', depth);
        memset(text + at + depth, ']', depth);
        strcpy(text + at + 2 * depth, "}");
        world_clear(world);
        ask(world, "write", text);
        expect_code(world, "write", depth == 16 ? "bad_request" : "invalid_value");
    }
    free(text);
    world_free(world);
}

static void retained_requests_never_act(void **state)
{
    struct world *world = begin_online();

    world_message(world, REQUEST "read", "{\"device\":\"d0\",\"characteristic\":\"lamp\"}", true);
    assert_int_equal(count_answers(world, "read"), 0);
    assert_null(world_find(world, ACTION_READ, NULL));
    assert_int_equal(world->gateway->counts.retained_commands, 1);
    world_free(world);
}

/* ---- waiting ---- */

static void queue_timeout_bounds_the_waiting_for_the_link(void **state)
{
    struct world *world = begin();

    start(world);
    ask(world, "read", "{\"device\":\"d0\",\"characteristic\":\"lamp\",\"queue_timeout\":\"3s\"}");
    world_advance(world, 2900);
    assert_int_equal(count_answers(world, "read"), 0);
    world_advance(world, 200);
    expect_code(world, "read", "not_connected");
    world_clear(world);
    ask(world, "read", "{\"device\":\"d0\",\"characteristic\":\"lamp\",\"queue_timeout\":0}");
    expect_code(world, "read", "not_connected");
    world_clear(world);
    ask(world, "read", "{\"device\":\"d0\",\"characteristic\":\"lamp\"}"); /* the device's: 10 s */
    world_advance(world, 9900);
    assert_int_equal(count_answers(world, "read"), 0);
    world_advance(world, 200);
    expect_code(world, "read", "not_connected");
    world_free(world);
}

static void what_waits_is_done_when_the_peer_comes(void **state)
{
    struct world *world = begin();

    start(world);
    ask(world, "write",
        "{\"device\":\"d0\",\"characteristic\":\"lamp\",\"value\":1,\"queue_timeout\":\"1m\"}");
    world_advance(world, 30000);
    world_online(world, 0);
    world_answer(world, world_expect(world, ACTION_WRITE), BT_STATUS_OK);
    expect_part(world, "write", "\"status\":\"ok\"");
    world_free(world);
}

static void timeout_bounds_the_execution_and_the_next_one_waits_for_the_peer(void **state)
{
    struct world *world = begin_online();

    ask(world, "read", "{\"device\":\"d0\",\"characteristic\":\"lamp\",\"timeout\":\"2s\"}");
    const struct action read = *world_expect(world, ACTION_READ);
    world_advance(world, 1900);
    assert_int_equal(count_answers(world, "read"), 0);
    world_advance(world, 200);
    expect_code(world, "read", "timeout");
    world_clear(world);
    /* the peer is busy with the first one still: BlueZ would refuse a second one */
    ask(world, "write", "{\"device\":\"d0\",\"characteristic\":\"lamp\",\"value\":1}");
    assert_null(world_find(world, ACTION_WRITE, NULL));
    world_answer(world, &read, BT_STATUS_OK);
    assert_non_null(world_find(world, ACTION_WRITE, NULL));
    assert_int_equal(count_answers(world, "read"), 0); /* it has been answered */
    world_free(world);
}

static void behind_others_it_waits_for_its_queue_timeout_only(void **state)
{
    struct world *world = begin_online();

    ask(world, "read", "{\"device\":\"d0\",\"characteristic\":\"lamp\"}");
    ask(world, "write",
        "{\"device\":\"d0\",\"characteristic\":\"lamp\",\"value\":1,\"queue_timeout\":\"4s\"}");
    world_advance(world, 4100);
    expect_code(world, "write", "timeout");
    assert_null(world_find(world, ACTION_WRITE, NULL));
    world_free(world);
}

static void what_somebody_waits_for_goes_before_polls(void **state)
{
    struct world *world = begin();

    for (int i = 0; i < 2; i++)
        world->settings.devices[0].characteristics[i].read_every_ms = 60000;
    start(world);
    world_online(world, 0);
    world_clear(world);
    world_advance(world, 60100);
    const struct action poll = *world_expect(world, ACTION_READ); /* the other one waits */
    ask(world, "write", "{\"device\":\"d0\",\"characteristic\":\"lamp\",\"value\":1}");
    ask(world, "write", "{\"device\":\"d0\",\"characteristic\":\"lamp\",\"value\":2}");
    world_answer(world, &poll, BT_STATUS_OK);
    assert_int_equal(world_count(world, ACTION_READ), 1);
    const struct action *write = world_expect(world, ACTION_WRITE);
    assert_int_equal(write->write.data[0], 1);
    world_answer(world, write, BT_STATUS_OK);
    world_answer(world, world_find(world, ACTION_READ, write), BT_STATUS_OK); /* read back */
    write = world_find(world, ACTION_WRITE, write);
    assert_non_null(write);
    assert_int_equal(write->write.data[0], 2);
    world_free(world);
}

static void a_full_queue_says_so(void **state)
{
    struct world *world = begin_online();

    for (int i = 0; i < OPS_MAX + 1; i++)
        ask(world, "read", "{\"device\":\"d0\",\"characteristic\":\"lamp\"}");
    assert_int_equal(count_answers(world, "read"), 0);
    ask(world, "read", "{\"device\":\"d0\",\"characteristic\":\"lamp\"}");
    expect_code(world, "read", "queue_full");
    world_free(world);
}

static void a_stop_answers_what_is_open_and_what_still_comes(void **state)
{
    struct world *world = begin_online();
    struct event stop = {.type = EVENT_STOP};

    ask(world, "read", "{\"id\":1,\"device\":\"d0\",\"characteristic\":\"lamp\"}");
    ask(world, "read", "{\"id\":2,\"device\":\"d1\",\"characteristic\":\"lamp\"}");
    world_event(world, &stop);
    assert_int_equal(count_answers(world, "read"), 2);
    ask(world, "read", "{\"id\":3,\"device\":\"d0\",\"characteristic\":\"lamp\"}");
    assert_int_equal(count_answers(world, "read"), 3);
    expect_part(world, "read", "{\"id\":3,");
    expect_part(world, "read", "\"code\":\"cancelled\"");
    world_free(world);
}

static void the_peers_refusal_is_answered_with_its_error(void **state)
{
    struct world *world = begin_online();

    ask(world, "write", "{\"device\":\"d0\",\"characteristic\":\"lamp\",\"value\":1}");
    world_answer(world, world_expect(world, ACTION_WRITE), BT_STATUS_ATT_ERROR);
    expect_part(world, "write",
                "\"error\":{\"code\":\"att_error\",\"message\":\"Write Not Permitted\",\"att\":3}");
    world_free(world);
}

/* ---- the same again ---- */

static void the_same_request_acts_once_and_gets_the_same_answer(void **state)
{
    const char *request = "{\"id\":1,\"device\":\"d0\",\"characteristic\":\"lamp\",\"value\":1}";
    struct world *world = begin_online();
    char first[256];

    ask(world, "write", request);
    ask(world, "write", request); /* while it is running: one answer for both */
    world_answer(world, world_expect(world, ACTION_WRITE), BT_STATUS_OK);
    assert_int_equal(count_answers(world, "write"), 1);
    snprintf(first, sizeof(first), "%s", answer(world, "write"));
    world_answer(world, world_expect(world, ACTION_READ), BT_STATUS_OK);
    world_clear(world);
    world_advance(world, 59000);
    ask(world, "write", request);
    assert_null(world_find(world, ACTION_WRITE, NULL));
    assert_string_equal(answer(world, "write"), first);
    ask(world, "write", "{\"id\":1,\"device\":\"d0\",\"characteristic\":\"lamp\",\"value\":2}");
    expect_part(world, "write", "\"code\":\"bad_request\"");
    assert_null(world_find(world, ACTION_WRITE, NULL));
    world_advance(world, 2000);
    ask(world, "write", request); /* after a minute it is a new one */
    assert_non_null(world_find(world, ACTION_WRITE, NULL));
    world_free(world);
}

static void without_an_id_each_request_acts(void **state)
{
    struct world *world = begin_online();

    for (int i = 0; i < 2; i++) {
        world_clear(world);
        ask(world, "read", "{\"device\":\"d0\",\"characteristic\":\"lamp\"}");
        world_answer(world, world_expect(world, ACTION_READ), BT_STATUS_OK);
        assert_int_equal(count_answers(world, "read"), 1);
    }
    world_free(world);
}

/* ---- MQTT 5 ---- */

static void ask_v5(struct world *world, const char *topic, const char *payload,
                   const char *response_topic, const char *correlation, int expiry_s)
{
    struct event event = {.type = EVENT_MESSAGE,
                          .message = {.topic = topic,
                                      .payload = payload,
                                      .length = strlen(payload),
                                      .qos = 1,
                                      .response_topic = response_topic,
                                      .correlation = correlation,
                                      .correlation_length = correlation ? strlen(correlation) : 0,
                                      .has_expiry = expiry_s >= 0,
                                      .expiry_s = (uint32_t)MAX_OF(expiry_s, 0)}};

    world_event(world, &event);
}

static const struct action *published(const struct world *world, const char *topic)
{
    const struct action *action = NULL;

    while ((action = world_find(world, ACTION_PUBLISH, action)))
        if (strcmp(action->publish.topic, topic) == 0)
            return action;
    fail_msg("nothing on %s", topic);
    return NULL;
}

static struct world *begin_reply_to(void)
{
    struct world *world = begin();

    world->settings.commands.reply_to = calloc(2, sizeof(char *));
    world->settings.commands.reply_to[0] = strdup("clients/answers/");
    world->settings.commands.reply_to[1] = strdup("other");
    world->settings.commands.n_reply_to = 2;
    start(world);
    world_online(world, 0);
    world_clear(world);
    return world;
}

static void an_answer_goes_to_the_response_topic_with_its_correlation(void **state)
{
    static const char *const topics[] = {"clients/answers/me", "clients/answers/a/b", "other/x",
                                         RESPONSE "mine", RESPONSE "read"};
    struct world *world = begin_reply_to();

    for (size_t i = 0; i < ARRAY_SIZE(topics); i++) {
        world_clear(world);
        ask_v5(world, REQUEST "read", "{\"device\":\"d7\",\"characteristic\":\"lamp\"}", topics[i],
               "corr", -1);
        const struct action *action = published(world, topics[i]);
        assert_int_equal(action->publish.correlation_length, 4);
        assert_memory_equal(action->publish.correlation, "corr", 4);
        assert_false(action->publish.retain);
        if (strcmp(topics[i], RESPONSE "read") != 0)
            assert_int_equal(count_answers(world, "read"), 0); /* instead of the default one */
    }
    world_free(world);
}

static void a_gateway_is_no_reflector(void **state)
{
    static const char *const topics[] = {
        "",
        "elsewhere/x",
        "clients/answers",
        "clients/answers/",
        "clients/answersx/me",
        "clients",
        "other/+",
        "other/#",
        "other/a\tb",
        "g",
        "g/bridge/gw/status",
        "g/bridge/gw/request/write",
        "g/bridge/gw/response",
        "g/bridge/gw/response/",
        "g/bridge/gw2/response/x",
        "g/d0/lamp",
        "g/d0/lamp/set",
        "g/d0/status/availability",
        "$SYS/x",
    };
    struct world *world = begin_reply_to();

    for (size_t i = 0; i < ARRAY_SIZE(topics); i++) {
        world_clear(world);
        ask_v5(world, REQUEST "write",
               "{\"device\":\"d0\",\"characteristic\":\"lamp\",\"value\":1}", topics[i], "corr",
               -1);
        expect_code(world, "write", "bad_request");
        assert_int_equal(published(world, RESPONSE "write")->publish.correlation_length, 4);
        assert_null(world_find(world, ACTION_WRITE, NULL));
        world_clear(world);
        ask_v5(world, "g/d0/lamp/set", "1", topics[i], "corr", -1);
        assert_non_null(strstr(world_published(world, "g/d0/lamp/result"), "bad_request"));
        assert_null(world_find(world, ACTION_WRITE, NULL));
    }
    world_free(world);
}

static void long_response_topics_and_correlations_are_refused(void **state)
{
    struct world *world = begin_reply_to();
    char text[1200] = "other/";

    memset(text + 6, 'x', 1024 - 6);
    text[1024] = '\0';
    ask_v5(world, REQUEST "read", "{\"device\":\"d7\",\"characteristic\":\"x\"}", text, text, -1);
    assert_int_equal(published(world, text)->publish.correlation_length, 1024);
    strcat(text, "x");
    world_clear(world);
    ask_v5(world, REQUEST "read", "{\"device\":\"d7\",\"characteristic\":\"x\"}", text, "c", -1);
    expect_code(world, "read", "bad_request");
    world_clear(world);
    ask_v5(world, REQUEST "read", "{\"device\":\"d7\",\"characteristic\":\"x\"}", NULL, text, -1);
    expect_code(world, "read", "bad_request");
    world_free(world);
}

static void set_and_get_honour_the_response_topic_too(void **state)
{
    struct world *world = begin_reply_to();

    ask_v5(world, "g/d0/lamp/get", "", "other/me", "c", -1);
    world_answer(world, world_expect(world, ACTION_READ), BT_STATUS_OK);
    assert_int_equal(published(world, "other/me")->publish.correlation_length, 1);
    assert_int_equal(world_count_published(world, "g/d0/lamp/result"), 0);
    world_free(world);
}

static void everybody_who_asked_for_it_while_it_ran_is_answered(void **state)
{
    const char *request = "{\"id\":1,\"device\":\"d0\",\"characteristic\":\"lamp\"}";
    struct world *world = begin_reply_to();
    char topic[32];

    for (int i = 0; i < COMMAND_REPLIES_MAX; i++) {
        snprintf(topic, sizeof(topic), "other/%d", i);
        ask_v5(world, REQUEST "read", request, topic, "c", -1);
    }
    ask_v5(world, REQUEST "read", request, NULL, "c", -1); /* one too many */
    expect_code(world, "read", "in_progress");
    assert_int_equal(world_count(world, ACTION_READ), 1);
    world_answer(world, world_expect(world, ACTION_READ), BT_STATUS_OK);
    for (int i = 0; i < COMMAND_REPLIES_MAX; i++) {
        snprintf(topic, sizeof(topic), "other/%d", i);
        assert_int_equal(world_count_published(world, topic), 1);
    }
    world_free(world);
}

static void a_command_that_waits_longer_than_its_expiry_is_expired(void **state)
{
    struct world *world = begin();

    start(world);
    ask_v5(world, REQUEST "write", "{\"device\":\"d0\",\"characteristic\":\"lamp\",\"value\":1}",
           NULL, NULL, 2);
    ask_v5(world, "g/d0/lamp/set", "1", NULL, NULL, 3);
    world_advance(world, 2100);
    expect_code(world, "write", "expired");
    world_advance(world, 1000);
    assert_non_null(strstr(world_published(world, "g/d0/lamp/result"), "\"expired\""));
    world_online(world, 0);
    assert_null(world_find(world, ACTION_WRITE, NULL));
    /* also behind others, with a link */
    world_clear(world);
    ask(world, "read", "{\"device\":\"d0\",\"characteristic\":\"lamp\"}");
    ask_v5(world, REQUEST "write", "{\"device\":\"d0\",\"characteristic\":\"lamp\",\"value\":1}",
           NULL, NULL, 2);
    world_advance(world, 2100);
    expect_code(world, "write", "expired");
    world_answer(world, world_expect(world, ACTION_READ), BT_STATUS_OK);
    assert_null(world_find(world, ACTION_WRITE, NULL));
    world_free(world);
}

/* ---- hostile ---- */

/* Mutations of good requests: each is answered once or, when it is running still, by the stop. */
static void whatever_comes_is_answered_once(void **state)
{
    static const char *const seeds[] = {
        "\"device\":\"d0\",\"characteristic\":\"lamp\",\"value\":{\"value\":7}}",
        "\"device\":\"d1\",\"characteristic\":\"level\",\"timeout\":\"1s\"}",
        "\"device\":\"d0\",\"command\":\"x\",\"parameters\":{\"a\":[1,-2.5e3]}}",
        "\"device\":\"d0\",\"hold\":\"1s\",\"for\":\"1s\",\"level\":\"info\"}",
        "\"device\":\"d0\",\"characteristic\":\"lamp\",\"raw\":\"01\",\"queue_timeout\":0}",
    };
    static const char letters[] = "{}[]\":,\\u0000e-+.tfn \x80\xff\x01";
    struct world *world = begin();
    struct event stop = {.type = EVENT_STOP};
    unsigned seed = 7;
    size_t asked = 0;

    world->settings.commands.allow = UINT32_MAX;
    world->settings.devices[0].queue_timeout_ms = world->settings.devices[1].queue_timeout_ms = 100;
    start(world);
    world_online(world, 0);
    for (int round = 0; round < 4000; round++) {
        char text[256];
        const char *rest = seeds[(size_t)rand_r(&seed) % ARRAY_SIZE(seeds)];
        size_t length =
            (size_t)(rand_r(&seed) % 4 ? snprintf(text, sizeof(text), "{\"id\":%d,%s", round, rest)
                                       : snprintf(text, sizeof(text), "{%s", rest));
        for (int n = rand_r(&seed) % 4; n > 0 && length > 1; n--) {
            size_t at = (size_t)rand_r(&seed) % length;
            if (rand_r(&seed) % 3 == 0)
                length = at + 1;
            else
                text[at] = letters[(size_t)rand_r(&seed) % (sizeof(letters) - 1)];
        }
        char topic[64];
        enum operation operation = (enum operation)(rand_r(&seed) % N_OPERATIONS);
        snprintf(topic, sizeof(topic), REQUEST "%s", operation_name(operation));
        char *exact = malloc(length); /* exactly so long, so that ASan sees */
        memcpy(exact, text, length);
        struct event event = {
            .type = EVENT_MESSAGE,
            .message = {.topic = topic, .payload = exact, .length = length, .qos = 1}};
        world_event(world, &event);
        free(exact);
        asked++;
        if (round % 20 == 0) {
            size_t before = world->n_seen;
            const struct action *action = world_find(world, ACTION_READ, NULL);
            if (action && before)
                world_answer(world, action, BT_STATUS_OK);
            world_advance(world, 500);
        }
        if (world->n_seen > ARRAY_SIZE(world->seen) / 2) {
            for (size_t i = 0; i < world->n_seen; i++)
                asked -= world->seen[i].type == ACTION_PUBLISH &&
                         strncmp(world->seen[i].publish.topic, RESPONSE, strlen(RESPONSE)) == 0;
            world_clear(world);
        }
    }
    world_event(world, &stop);
    for (size_t i = 0; i < world->n_seen; i++)
        asked -= world->seen[i].type == ACTION_PUBLISH &&
                 strncmp(world->seen[i].publish.topic, RESPONSE, strlen(RESPONSE)) == 0;
    assert_int_equal(asked, 0);
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(read_answers_with_the_value_and_the_id),
        cmocka_unit_test(write_takes_a_value_or_raw_bytes),
        cmocka_unit_test(response_says_how_a_write_is_made),
        cmocka_unit_test(the_id_comes_back_as_it_was),
        cmocka_unit_test(command_runs_a_named_command_and_answers_how_it_ended),
        cmocka_unit_test(a_command_that_waits_for_the_link_is_bounded_too),
        cmocka_unit_test(what_cannot_be_read_or_is_too_long_says_so),
        cmocka_unit_test(log_level_is_an_action),
        cmocka_unit_test(what_is_wrong_is_answered_with_its_code),
        cmocka_unit_test(an_unknown_operation_is_answered_on_its_own_topic),
        cmocka_unit_test(size_and_depth_have_limits),
        cmocka_unit_test(retained_requests_never_act),
        cmocka_unit_test(queue_timeout_bounds_the_waiting_for_the_link),
        cmocka_unit_test(what_waits_is_done_when_the_peer_comes),
        cmocka_unit_test(timeout_bounds_the_execution_and_the_next_one_waits_for_the_peer),
        cmocka_unit_test(behind_others_it_waits_for_its_queue_timeout_only),
        cmocka_unit_test(what_somebody_waits_for_goes_before_polls),
        cmocka_unit_test(a_full_queue_says_so),
        cmocka_unit_test(a_stop_answers_what_is_open_and_what_still_comes),
        cmocka_unit_test(the_peers_refusal_is_answered_with_its_error),
        cmocka_unit_test(the_same_request_acts_once_and_gets_the_same_answer),
        cmocka_unit_test(without_an_id_each_request_acts),
        cmocka_unit_test(an_answer_goes_to_the_response_topic_with_its_correlation),
        cmocka_unit_test(a_gateway_is_no_reflector),
        cmocka_unit_test(long_response_topics_and_correlations_are_refused),
        cmocka_unit_test(set_and_get_honour_the_response_topic_too),
        cmocka_unit_test(everybody_who_asked_for_it_while_it_ran_is_answered),
        cmocka_unit_test(a_command_that_waits_longer_than_its_expiry_is_expired),
        cmocka_unit_test(whatever_comes_is_answered_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
