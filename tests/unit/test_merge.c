/* `set: merge`: a set of some fields leaves the others as they are, however little is known. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "helper_config.h"
#include "helper_schema.h"
#include "helper_world.h"

#define D0  100u
#define SET "g/d0/lamp/set"

struct lamp {
    struct world *world;
    struct action subscribe; /* of the lamp, if it is */
};

static struct world *new_world(const char *fields, bool subscribed)
{
    struct world *world = world_new(1);
    struct characteristic_settings *lamp = &world->settings.devices[0].characteristics[1];

    schema_free(lamp->schema);
    lamp->schema = schema_from(fields);
    lamp->set = SET_MERGE;
    lamp->subscribe = subscribed;
    return world;
}

static struct lamp new_lamp(const char *fields, bool subscribed)
{
    struct world *world = new_world(fields, subscribed);

    world_start(world);
    world_broker_up(world);
    world_bluez_up(world);
    return (struct lamp){.world = world};
}

static void link_lamp(struct lamp *lamp, uint32_t device)
{
    struct world *world = lamp->world;

    world_link(world, device, true);
    world_resolved(world, world_expect(world, ACTION_RESOLVE));
    const struct action *first = world_expect(world, ACTION_SUBSCRIBE);
    world_answer(world, first, BT_STATUS_OK);
    if (world->settings.devices[0].characteristics[1].subscribe) {
        lamp->subscribe = *world_find(world, ACTION_SUBSCRIBE, first);
        world_answer(world, &lamp->subscribe, BT_STATUS_OK);
    }
    assert_int_equal(world->gateway->peers[0]->state, PEER_STATE_ONLINE);
    world_clear(world);
}

static void connect_lamp(struct lamp *lamp)
{
    world_hear(lamp->world, 0, D0);
    link_lamp(lamp, D0);
}

static struct lamp begin(const char *fields, bool subscribed)
{
    struct lamp lamp = new_lamp(fields, subscribed);

    connect_lamp(&lamp);
    return lamp;
}

#define THREE "power uint8; hue uint8; speed uint8"

static void set(struct lamp *lamp, const char *payload)
{
    world_message(lamp->world, SET, payload, false);
}

/* the last action of the type since world_clear() */
static struct action last(struct lamp *lamp, enum action_type type)
{
    const struct action *found = NULL, *next = NULL;

    while ((next = world_find(lamp->world, type, next)))
        found = next;
    assert_non_null(found);
    return *found;
}

static void answer_read(struct lamp *lamp, const void *data, size_t length)
{
    struct action read = last(lamp, ACTION_READ);
    struct event event = {.type = EVENT_READ_RESULT,
                          .op = read.op,
                          .adapter = read.adapter,
                          .device = read.device,
                          .result = {.status = BT_STATUS_OK},
                          .read = {read.read.handle, data, length}};

    world_event(lamp->world, &event);
}

static void refuse_read(struct lamp *lamp, enum bt_status status, uint8_t att)
{
    struct action read = last(lamp, ACTION_READ);
    struct event event = {.type = EVENT_READ_RESULT,
                          .op = read.op,
                          .adapter = read.adapter,
                          .device = read.device,
                          .result = {.status = status, .att = att}};

    world_event(lamp->world, &event);
}

static void expect_written(struct lamp *lamp, const char *hex)
{
    struct action write = last(lamp, ACTION_WRITE);
    char text[2 * GATT_VALUE_MAX + 1] = "";

    for (size_t i = 0; i < write.write.length; i++)
        snprintf(text + 2 * i, 3, "%02x", ((const uint8_t *)write.write.data)[i]);
    assert_string_equal(text, hex);
}

static void confirm(struct lamp *lamp)
{
    struct action write = last(lamp, ACTION_WRITE);

    world_answer(lamp->world, &write, BT_STATUS_OK);
}

/* exactly one answer, and it says so */
static void expect_answer(struct lamp *lamp, const char *part)
{
    const char *answer = world_published(lamp->world, "g/d0/lamp/result");

    assert_int_equal(world_count_published(lamp->world, "g/d0/lamp/result"), 1);
    if (!strstr(answer, part))
        fail_msg("%s is not in %s", part, answer);
}

static void forbid_reading(struct lamp *lamp)
{
    struct peer *peer = lamp->world->gateway->peers[0];

    peer->sources[peer->entries[1].source].flags &= (uint16_t)~GATT_FLAG_READ;
}

static void what_is_not_known_is_read_first(void **state)
{
    struct lamp lamp = begin(THREE, false);

    set(&lamp, "{\"hue\":9}");
    assert_int_equal(world_count(lamp.world, ACTION_WRITE), 0);
    answer_read(&lamp, "\x01\x02\x03", 3);
    expect_written(&lamp, "010903");
    assert_int_equal(world_count_published(lamp.world, "g/d0/lamp/result"), 0);
    /* what was read is news, too */
    assert_non_null(strstr(world_published(lamp.world, "g/d0/lamp"), "\"hue\":2"));
    confirm(&lamp);
    expect_answer(&lamp, "{\"power\":1,\"hue\":9,\"speed\":3,");
    world_free(lamp.world);
}

static void topic_of_one_field_leaves_the_others(void **state)
{
    struct lamp lamp = begin(THREE, true);

    world_value(lamp.world, &lamp.subscribe, "\x01\x02\x03", 3);
    world_message(lamp.world, SET "/speed", "7", false);
    expect_written(&lamp, "010207");
    world_free(lamp.world);
}

static void two_partial_sets_add_up(void **state)
{
    struct lamp lamp = begin(THREE, true);

    forbid_reading(&lamp); /* it is notified, but only after the next write */
    world_value(lamp.world, &lamp.subscribe, "\x01\x02\x03", 3);
    set(&lamp, "{\"hue\":9}");
    set(&lamp, "{\"speed\":8}");
    expect_written(&lamp, "010903");
    confirm(&lamp);
    expect_written(&lamp, "010908");
    confirm(&lamp);
    assert_int_equal(world_count_published(lamp.world, "g/d0/lamp/result"), 2);
    assert_int_equal(world_count(lamp.world, ACTION_READ), 0);
    world_free(lamp.world);
}

static void value_notified_while_it_waits_counts(void **state)
{
    struct lamp lamp = begin(THREE, true);

    forbid_reading(&lamp);
    world_value(lamp.world, &lamp.subscribe, "\x01\x02\x03", 3);
    set(&lamp, "{\"hue\":9}");
    set(&lamp, "{\"power\":0}");
    world_value(lamp.world, &lamp.subscribe, "\x01\x02\x55", 3); /* somebody else turned it */
    confirm(&lamp);
    world_value(lamp.world, &lamp.subscribe, "\x01\x09\x56", 3);
    expect_written(&lamp, "000903"); /* issued with the answer: what was written counts */
    confirm(&lamp);
    set(&lamp, "{\"hue\":1}");
    expect_written(&lamp, "000103");
    world_value(lamp.world, &lamp.subscribe, "\x00\x01\x57", 3);
    confirm(&lamp);
    world_value(lamp.world, &lamp.subscribe, "\x00\x01\x58", 3);
    set(&lamp, "{\"hue\":2}");
    expect_written(&lamp, "000258");
    world_free(lamp.world);
}

static void value_of_an_earlier_link_counts(void **state)
{
    struct lamp lamp = begin(THREE, true);

    world_value(lamp.world, &lamp.subscribe, "\x01\x02\x03", 3);
    world_link(lamp.world, D0, false);
    set(&lamp, "{\"hue\":9}");
    assert_int_equal(world_count_published(lamp.world, "g/d0/lamp/result"), 0);
    world_advance(lamp.world, 1000);
    world_clear(lamp.world);
    world_hear(lamp.world, 0, D0);
    world_link(lamp.world, D0, true);
    world_resolved(lamp.world, world_expect(lamp.world, ACTION_RESOLVE));
    struct action first = last(&lamp, ACTION_SUBSCRIBE);
    world_answer(lamp.world, &first, BT_STATUS_OK);
    struct action second = last(&lamp, ACTION_SUBSCRIBE);
    world_answer(lamp.world, &second, BT_STATUS_OK);
    expect_written(&lamp, "010903");
    world_free(lamp.world);
}

static void reading_that_fails_is_answered_once(void **state)
{
    struct lamp lamp = begin(THREE, false);

    set(&lamp, "{\"hue\":9}");
    refuse_read(&lamp, BT_STATUS_ATT_ERROR, 0x0f);
    expect_answer(&lamp,
                  "{\"code\":\"att_error\",\"message\":\"the fields that are not given cannot "
                  "be read: Insufficient Encryption: the peer wants to be paired first (request "
                  "`pair`)\",\"att\":15}");
    assert_int_equal(world_count(lamp.world, ACTION_WRITE), 0);
    world_clear(lamp.world);
    set(&lamp, "{\"hue\":9}");
    refuse_read(&lamp, BT_STATUS_ATT_ERROR, ATT_READ_NOT_PERMITTED);
    expect_answer(&lamp, "\"code\":\"invalid_value\",\"message\":\"power is not given, and what it "
                         "is now is not known");
    world_clear(lamp.world);
    set(&lamp, "{\"hue\":9}");
    answer_read(&lamp, "\x01", 1);
    expect_answer(&lamp,
                  "\"invalid_value\",\"message\":\"power is not given, and what it is now is "
                  "not known: the peer's value does not fit the fields");
    assert_int_equal(world_count(lamp.world, ACTION_WRITE), 0);
    world_free(lamp.world);
}

static void what_can_neither_be_read_nor_is_known_is_asked_for(void **state)
{
    struct lamp lamp = begin(THREE, false);

    forbid_reading(&lamp);
    set(&lamp, "{\"hue\":9}");
    assert_int_equal(world_count(lamp.world, ACTION_READ), 0);
    expect_answer(&lamp, "\"invalid_value\"");
    world_clear(lamp.world);
    set(&lamp, "{\"power\":1,\"hue\":9,\"speed\":2}");
    expect_written(&lamp, "010902");
    world_free(lamp.world);
}

static void whole_set_and_raw_bytes_need_no_reading(void **state)
{
    struct lamp lamp = begin(THREE, false);

    set(&lamp, "{\"power\":1,\"hue\":9,\"speed\":2}");
    expect_written(&lamp, "010902");
    confirm(&lamp);
    answer_read(&lamp, "\x01\x09\x02", 3); /* back */
    set(&lamp, "{\"raw\":\"050607\"}");
    expect_written(&lamp, "050607");
    confirm(&lamp);
    refuse_read(&lamp, BT_STATUS_ATT_ERROR, 0x0e); /* reading back: what was written is known */
    set(&lamp, "{\"hue\":1}");
    expect_written(&lamp, "050107");
    world_free(lamp.world);
}

static void what_is_wrong_with_a_field_is_said_at_once(void **state)
{
    struct lamp lamp = new_lamp(THREE, false); /* and not connected */

    set(&lamp, "{\"hue\":256}");
    expect_answer(&lamp, "\"invalid_value\"");
    world_clear(lamp.world);
    set(&lamp, "{\"colour\":1}");
    expect_answer(&lamp, "unknown field 'colour'; there is: power, hue, speed");
    world_clear(lamp.world);
    set(&lamp, "{\"hue\":");
    expect_answer(&lamp, "\"bad_json\"");
    world_clear(lamp.world);
    set(&lamp, "{\"hue\":1}");
    assert_int_equal(world_count_published(lamp.world, "g/d0/lamp/result"), 0);
    world_advance(lamp.world, 10100);
    expect_answer(&lamp, "\"not_connected\"");
    world_free(lamp.world);
}

static void link_lost_while_it_reads_or_writes_is_one_answer(void **state)
{
    struct lamp lamp = begin(THREE, false);

    set(&lamp, "{\"hue\":9}");
    struct action read = last(&lamp, ACTION_READ);
    world_link(lamp.world, D0, false);
    expect_answer(&lamp, "\"not_connected\",\"message\":\"the link was lost on the way\"");
    world_answer(lamp.world, &read, BT_STATUS_OK); /* too late */
    assert_int_equal(world_count(lamp.world, ACTION_WRITE), 0);
    world_advance(lamp.world, 1000);
    world_clear(lamp.world);
    connect_lamp(&lamp);
    set(&lamp, "{\"hue\":9}");
    answer_read(&lamp, "\x01\x02\x03", 3);
    world_link(lamp.world, D0, false);
    expect_answer(&lamp, "it may or may not have been done");
    world_advance(lamp.world, 1000);
    world_clear(lamp.world);
    /* so what it is now is read again */
    connect_lamp(&lamp);
    set(&lamp, "{\"speed\":8}");
    answer_read(&lamp, "\x01\x09\x03", 3);
    expect_written(&lamp, "010908");
    world_free(lamp.world);
}

static void who_waits_no_longer_writes_nothing(void **state)
{
    struct lamp lamp = begin(THREE, false);

    world_message(lamp.world, "g/bridge/gw/request/write",
                  "{\"device\":\"d0\",\"characteristic\":\"lamp\",\"value\":{\"hue\":9},"
                  "\"timeout\":\"2s\"}",
                  false);
    world_advance(lamp.world, 2100);
    assert_non_null(strstr(world_published(lamp.world, "g/bridge/gw/response/write"), "timeout"));
    answer_read(&lamp, "\x01\x02\x03", 3);
    assert_int_equal(world_count(lamp.world, ACTION_WRITE), 0);
    assert_int_equal(world_count_published(lamp.world, "g/bridge/gw/response/write"), 1);
    set(&lamp, "{\"hue\":9}"); /* the queue goes on */
    expect_written(&lamp, "010903");
    world_free(lamp.world);
}

static void timeout_counts_from_the_reading_on(void **state)
{
    struct lamp lamp = begin(THREE, false);

    world_message(lamp.world, "g/bridge/gw/request/write",
                  "{\"device\":\"d0\",\"characteristic\":\"lamp\",\"value\":{\"hue\":9},"
                  "\"timeout\":\"2s\"}",
                  false);
    world_advance(lamp.world, 1500);
    answer_read(&lamp, "\x01\x02\x03", 3);
    expect_written(&lamp, "010903");
    world_advance(lamp.world, 600);
    assert_non_null(strstr(world_published(lamp.world, "g/bridge/gw/response/write"), "timeout"));
    confirm(&lamp);
    assert_int_equal(world_count_published(lamp.world, "g/bridge/gw/response/write"), 1);
    world_free(lamp.world);
}

static void write_that_nobody_confirms_is_read_again(void **state)
{
    struct lamp lamp = begin(THREE, false);
    struct peer *peer = lamp.world->gateway->peers[0];

    peer->sources[peer->entries[1].source].flags = GATT_FLAG_READ | GATT_FLAG_WRITE_COMMAND;
    set(&lamp, "{\"power\":1,\"hue\":9,\"speed\":2}");
    confirm(&lamp); /* BlueZ says that it is sent */
    refuse_read(&lamp, BT_STATUS_ATT_ERROR, 0x0e);
    set(&lamp, "{\"hue\":1}");
    answer_read(&lamp, "\x01\x09\x01", 3);
    expect_written(&lamp, "010101");
    world_free(lamp.world);
}

/* The other one has written to it, perhaps. */
static void after_another_gateway_had_it_it_is_read_again(void **state)
{
    struct lamp lamp = {.world = new_world(THREE, true)};
    struct device_settings *device = &lamp.world->settings.devices[0];

    free(device->gateway);
    device->gateway = NULL;
    world_start(lamp.world);
    world_broker_up(lamp.world);
    world_bluez_up(lamp.world);
    connect_lamp(&lamp);
    world_value(lamp.world, &lamp.subscribe, "\x01\x02\x03", 3);
    world_message(lamp.world, "g/bridge/attic/status", "online", false);
    world_message(lamp.world, "g/d0/status/link", "{\"gateway\":\"attic\",\"state\":\"online\"}",
                  false);
    world_link(lamp.world, D0, false);
    world_message(lamp.world, "g/bridge/attic/status", "offline", false);
    world_advance(lamp.world, 10000);
    world_clear(lamp.world);
    connect_lamp(&lamp);
    set(&lamp, "{\"hue\":9}");
    answer_read(&lamp, "\x05\x06\x07", 3);
    expect_written(&lamp, "050907");
    world_free(lamp.world);
}

/* A peer with a private address that is gone: what fits `match` next may be another one. */
static void what_another_peer_said_does_not_count(void **state)
{
    struct lamp lamp = {.world = new_world(THREE, true)};
    struct world *world = lamp.world;
    struct event heard = {.type = EVENT_DEVICE,
                          .device_info = {.adapter = ADAPTER_1,
                                          .device = 71,
                                          .address = {{0x4a, 0, 0, 0, 0, 1}},
                                          .address_type = BT_ADDRESS_RANDOM,
                                          .name = "thing",
                                          .heard = true,
                                          .rssi = -50}};

    world->settings.devices[0].match = (struct match_settings){.name = strdup("thing")};
    world_start(world);
    world_broker_up(world);
    world_bluez_up(world);
    world_event(world, &heard);
    link_lamp(&lamp, 71);
    world_value(world, &lamp.subscribe, "\x01\x02\x03", 3);
    world_link(world, 71, false);
    world_event(world,
                &(struct event){.type = EVENT_DEVICE_GONE, .adapter = ADAPTER_1, .device = 71});
    world_clear(world);
    heard.device_info.device = 72;
    heard.device_info.address.b[5] = 2;
    world_event(world, &heard);
    link_lamp(&lamp, 72);
    set(&lamp, "{\"hue\":9}");
    answer_read(&lamp, "\x05\x06\x07", 3);
    expect_written(&lamp, "050907");
    world_free(world);
}

/* ---- a new version of the file ---- */

#define FILE(more)                                              \
    "mqtt: { url: mqtt://broker }\n"                            \
    "gateway: { id: gw, base_topic: g }\n"                      \
    "devices:\n"                                                \
    "  d0:\n"                                                   \
    "    match: { address: \"C0:00:00:00:00:00\" }\n"           \
    "    characteristics:\n"                                    \
    "      level: { uuid: 0x2A19, subscribe: true }\n"          \
    "      lamp: { uuid: 0xFFE1, writable: true, set: merge,\n" \
    "              fields: { power: { type: uint8 }, hue: { type: uint8 }" more " } }\n"

static struct lamp begin_file(void)
{
    struct lamp lamp = {.world = world_new(0)};

    lamp.world->reloaded = settings_from_text(FILE(""));
    world_start(lamp.world);
    world_bluez_up(lamp.world);
    world_broker_up(lamp.world);
    world_clear(lamp.world);
    world_online(lamp.world, 0);
    return lamp;
}

static void what_is_known_survives_a_new_file(void **state)
{
    struct lamp lamp = begin_file();

    set(&lamp, "{\"hue\":9}");
    answer_read(&lamp, "\x01\x02\x03", 3);
    confirm(&lamp);
    answer_read(&lamp, "\x01\x09\x03", 3); /* back */
    world_clear(lamp.world);
    assert_int_equal(world_reload(lamp.world, settings_from_text(FILE(", speed: { type: uint8 }"))),
                     0);
    set(&lamp, "{\"speed\":8}");
    expect_written(&lamp, "010908");
    world_free(lamp.world);
}

/* its fields may be others now */
static void set_that_waits_or_reads_is_cancelled_by_a_new_file(void **state)
{
    struct lamp lamp = begin_file();

    set(&lamp, "{\"hue\":9}");
    set(&lamp, "{\"power\":0}");
    assert_int_equal(world_reload(lamp.world, settings_from_text(FILE(", speed: { type: uint8 }"))),
                     0);
    assert_int_equal(world_count_published(lamp.world, "g/d0/lamp/result"), 2);
    assert_non_null(strstr(world_published(lamp.world, "g/d0/lamp/result"),
                           "\"cancelled\",\"message\":\"the device's configuration has changed"));
    answer_read(&lamp, "\x01\x02\x03", 3); /* nobody's */
    assert_int_equal(world_count(lamp.world, ACTION_WRITE), 0);
    world_free(lamp.world);
}

static void set_that_is_written_outlives_a_new_file(void **state)
{
    struct lamp lamp = begin_file();

    set(&lamp, "{\"power\":1,\"hue\":9}");
    expect_written(&lamp, "0109");
    assert_int_equal(
        world_reload(lamp.world, settings_from_text(FILE(", speed: { type: uint8, default: 3 }"))),
        0);
    assert_int_equal(world_count_published(lamp.world, "g/d0/lamp/result"), 0);
    confirm(&lamp);
    assert_int_equal(world_count_published(lamp.world, "g/d0/lamp/result"), 1);
    world_free(lamp.world);
}

static void stopping_while_it_reads_answers_once(void **state)
{
    struct lamp lamp = begin(THREE, false);
    struct event stop = {.type = EVENT_STOP};

    set(&lamp, "{\"hue\":9}");
    set(&lamp, "{\"hue\":8}");
    world_event(lamp.world, &stop);
    assert_int_equal(world_count_published(lamp.world, "g/d0/lamp/result"), 2);
    world_free(lamp.world);
}

/* fields; what it is; what is set; what is written */
static void rest_is_what_it_was(void **state)
{
    static const struct {
        const char *fields, *old, *payload, *written;
    } rows[] = {
        /* bits and bytes that no field describes, too */
        {"power bool bits=0,1; mode uint8 bits=4,2 offset=0; hue uint8 offset=3", "cf112233445566",
         "{\"mode\":1}", "df112233445566"},
        {"kind uint8 const=7; hue uint8; speed uint8", "060203", "{\"hue\":9}", "070903"},
        {"hue uint8; speed uint8 default=5", "0203", "{\"hue\":9}", "0903"},
        {"n uint8 counter; hue uint8; speed uint8", "770203", "{\"hue\":9}", "000903"},
        {"hue uint8; speed uint8; sum uint8 checksum=sum8", "020305", "{\"hue\":9}", "09030c"},
        /* a value that could not be given: without a name, out of its range, unknown */
        {"mode uint8 enum=0:off,1:on open; hue uint8", "7702", "{\"hue\":9}", "7709"},
        {"low uint8 max=5; hue uint8", "7702", "{\"hue\":9}", "7709"},
        {"hue uint8; t int16 invalid=-1", "02ffff", "{\"hue\":9}", "09ffff"},
        {"hue uint8; name string", "02616263", "{\"hue\":9}", "09616263"},
        {"hue uint8; name string", "02616263", "{\"name\":\"x\"}", "0278"},
        /* fields that are there or not */
        {"flags uint8; a uint8 when=flags,bit,0; b uint8 when=flags,bit,1; c uint8", "030a0b0c",
         "{\"b\":1}", "030a010c"},
        {"flags uint8; a uint8 when=flags,bit,0; b uint8 when=flags,bit,1; c uint8", "810a0c",
         "{\"c\":1}", "810a01"},
        {"flags uint8; a uint8 when=flags,bit,0; b uint8 when=flags,bit,1; c uint8", "010a0c",
         "{\"b\":1}", "030a010c"},
        {"kind uint8; a uint8 when=kind,is,1; b uint8 when=kind,is,2; c uint8", "010a0c",
         "{\"b\":5}", "02050c"},
        {"n uint8; x uint8 repeat=n; c uint8 default=1", "02010207", "{\"x\":[5]}", "010507"},
        {"n uint8; x uint8 repeat=n; c uint8 default=1", "02010207", "{\"c\":5}", "02010205"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct lamp lamp = begin(rows[i].fields, true);
        uint8_t old[32];

        print_message("%s: %s\n", rows[i].fields, rows[i].payload);
        world_value(lamp.world, &lamp.subscribe, old, bytes_from(rows[i].old, old, sizeof(old)));
        set(&lamp, rows[i].payload);
        assert_int_equal(world_count(lamp.world, ACTION_READ), 0);
        expect_written(&lamp, rows[i].written);
        world_free(lamp.world);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_known_is_read_first),
        cmocka_unit_test(topic_of_one_field_leaves_the_others),
        cmocka_unit_test(two_partial_sets_add_up),
        cmocka_unit_test(value_notified_while_it_waits_counts),
        cmocka_unit_test(value_of_an_earlier_link_counts),
        cmocka_unit_test(reading_that_fails_is_answered_once),
        cmocka_unit_test(what_can_neither_be_read_nor_is_known_is_asked_for),
        cmocka_unit_test(whole_set_and_raw_bytes_need_no_reading),
        cmocka_unit_test(what_is_wrong_with_a_field_is_said_at_once),
        cmocka_unit_test(link_lost_while_it_reads_or_writes_is_one_answer),
        cmocka_unit_test(who_waits_no_longer_writes_nothing),
        cmocka_unit_test(timeout_counts_from_the_reading_on),
        cmocka_unit_test(write_that_nobody_confirms_is_read_again),
        cmocka_unit_test(after_another_gateway_had_it_it_is_read_again),
        cmocka_unit_test(what_another_peer_said_does_not_count),
        cmocka_unit_test(what_is_known_survives_a_new_file),
        cmocka_unit_test(set_that_waits_or_reads_is_cancelled_by_a_new_file),
        cmocka_unit_test(set_that_is_written_outlives_a_new_file),
        cmocka_unit_test(stopping_while_it_reads_answers_once),
        cmocka_unit_test(rest_is_what_it_was),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
