/* From notifications to topics: frames, messages, and how long ones are written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "helper_schema.h"
#include "helper_world.h"
#include "util/strbuf.h"

/* start dd, register, status, length, data, checksum, end 77 */
#define BASIC "dd030002029bff6177"
#define CELLS "dd0400020d02ffef77"
#define OTHER "dd050000000077"

enum { ANSWERS, BASIC_MESSAGE, CELLS_MESSAGE, BYTES, SEND, N_ENTRIES };

static const struct frame_settings bms = {
    .start = {{0xdd}, 1},
    .end = {{0x77}, 1},
    .length_size = 1,
    .length_offset = 3,
    .length_add = 7,
    .has_checksum = true,
    .checksum = CHECKSUM_SUM16_NEGATED,
    .checksum_big_endian = true,
    .checksum_from = 2,
    .timeout_ms = 2000,
    .max = 512,
};

static struct characteristic_settings entry(const char *id, uint16_t uuid, const char *fields)
{
    return (struct characteristic_settings){
        .id = strdup(id),
        .has_uuid = true,
        .uuid = bt_uuid_from_u16(uuid),
        .index = -1,
        .schema = fields ? schema_from(fields) : NULL,
        .qos = 1,
    };
}

/* answers (framed, two messages), bytes (the same characteristic, framed in another way), send */
static struct world *begin(void)
{
    struct world *world = world_new(1);
    struct device_settings *device = &world->settings.devices[0];

    for (size_t i = 0; i < device->n_characteristics; i++)
        characteristic_settings_done(&device->characteristics[i]);
    free(device->characteristics);
    device->characteristics = calloc(N_ENTRIES, sizeof(struct characteristic_settings));
    device->n_characteristics = N_ENTRIES;
    struct characteristic_settings *c = device->characteristics;
    c[ANSWERS] = entry("answers", 0x2a19, NULL);
    c[ANSWERS].subscribe = c[ANSWERS].framed = true;
    c[ANSWERS].frame = bms;
    c[ANSWERS].n_messages = 2;
    c[BASIC_MESSAGE] = entry("basic", 0, "voltage uint16 be offset=4 scale=0.01");
    c[BASIC_MESSAGE].message = (struct message_settings){.offset = 1, .data = {3}, .length = 1};
    c[CELLS_MESSAGE] = entry("cells", 0, "cell uint16 be offset=4 scale=0.001");
    c[CELLS_MESSAGE].message = (struct message_settings){.offset = 1, .data = {4, 0}, .length = 2};
    c[BASIC_MESSAGE].origin = c[CELLS_MESSAGE].origin = ORIGIN_MESSAGE;
    c[BYTES] = entry("bytes", 0x2a19, NULL);
    c[BYTES].subscribe = c[BYTES].framed = true;
    c[BYTES].frame = (struct frame_settings){
        .end = {{0xff}, 1}, .strip_end = true, .timeout_ms = 5000, .max = 64};
    c[SEND] = entry("send", 0xffe1, "text string");
    c[SEND].writable = c[SEND].framed = true;
    c[SEND].frame = (struct frame_settings){
        .end = {{'\r', '\n'}, 2}, .strip_end = true, .timeout_ms = 2000, .max = 512};
    world_start(world);
    world_broker_up(world);
    world_bluez_up(world);
    return world;
}

/* online; the subscription that values come by */
static struct action come_online(struct world *world)
{
    world_online(world, 0);
    struct action subscribe = *world_expect(world, ACTION_SUBSCRIBE);
    assert_int_equal(world_count(world, ACTION_SUBSCRIBE), 1); /* two entries, one subscription */
    world_clear(world);
    return subscribe;
}

static void notify(struct world *world, const struct action *subscribe, const char *hex,
                   size_t from, size_t to)
{
    uint8_t bytes[512];
    size_t length = bytes_from(hex, bytes, sizeof(bytes));

    assert_true(from <= to && to <= length);
    world_value(world, subscribe, bytes + from, to - from);
}

static void whole(struct world *world, const struct action *subscribe, const char *hex)
{
    notify(world, subscribe, hex, 0, strlen(hex) / 2);
}

static size_t logged(const struct world *world, const char *text)
{
    size_t n = 0;

    for (size_t i = 0; i < world->n_seen; i++)
        n += world->seen[i].type == ACTION_LOG && strstr(world->seen[i].log.text, text);
    return n;
}

/* what health says, a minute later at most */
static void expect_health(struct world *world, const char *text)
{
    world_advance(world, HEALTH_MS);
    const char *health = world_published(world, "g/bridge/gw/health");
    assert_non_null(health);
    assert_non_null(strstr(health, text));
}

/* ---- messages ---- */

static void each_message_has_its_own_topic_and_the_time_of_its_last_part(void **state)
{
    struct world *world = begin();
    const struct action subscribe = come_online(world);

    for (size_t cut = 0; cut < 9; cut++) {
        char ts[64];

        world_clear(world);
        notify(world, &subscribe, BASIC, 0, cut);
        world_advance(world, 700);
        notify(world, &subscribe, BASIC, cut, 9);
        whole(world, &subscribe, CELLS);
        assert_int_equal(world_count_published(world, "g/d0/basic"), 1);
        assert_int_equal(world_count_published(world, "g/d0/cells"), 1);
        assert_int_equal(world_count_published(world, "g/d0/answers"), 0);
        time_format_rfc3339(world->now.real_us, ts);
        const char *basic = world_published(world, "g/d0/basic");
        assert_non_null(strstr(basic, "{\"voltage\":6.67,"));
        assert_non_null(strstr(basic, ts));
    }
    assert_non_null(strstr(world_published(world, "g/d0/cells"), "{\"cell\":3.33,"));
    world_free(world);
}

static void a_message_that_is_none_of_them_is_counted_and_published_nowhere(void **state)
{
    struct world *world = begin();
    const struct action subscribe = come_online(world);

    whole(world, &subscribe, OTHER);
    for (size_t i = 0; i < world->n_seen; i++)
        assert_true(world->seen[i].type != ACTION_PUBLISH ||
                    strncmp(world->seen[i].publish.topic, "g/d0/a", 6) != 0);
    assert_null(world_published(world, "g/d0/basic"));
    expect_health(world, "\"unknown_messages\":1");
    world_free(world);
}

static void devices_lists_the_topics_of_messages_and_not_that_of_their_characteristic(void **state)
{
    struct world *world = begin();
    const char *devices = world_published(world, "g/bridge/gw/devices");

    assert_non_null(
        strstr(devices, "\"g/d0/status/link\",\"g/d0/basic\",\"g/d0/cells\",\"g/d0/bytes\""));
    assert_non_null(strstr(devices, "\"id\":\"answers\",\"name\":null,\"topic\":null,"));
    world_free(world);
}

static void a_message_ends_the_wait_of_a_contact(void **state)
{
    struct world *world = begin();
    struct peer *peer = world->gateway->peers[0];
    const struct action subscribe = come_online(world);

    peer->until = 1ULL << CELLS_MESSAGE | 1ULL << ANSWERS;
    whole(world, &subscribe, BASIC);
    assert_int_equal(peer->until, 1ULL << CELLS_MESSAGE);
    whole(world, &subscribe, CELLS);
    assert_int_equal(peer->until, 0);
    world_free(world);
}

static void entries_on_one_source_cut_its_stream_each_in_its_own_way(void **state)
{
    struct world *world = begin();
    const struct action subscribe = come_online(world);

    whole(world, &subscribe, "dd030002029b");
    assert_null(world_published(world, "g/d0/bytes"));
    whole(world, &subscribe, "ff6177aa");
    assert_non_null(strstr(world_published(world, "g/d0/bytes"), "\"value\":\"dd030002029b\""));
    assert_int_equal(world_count_published(world, "g/d0/basic"), 1);
    whole(world, &subscribe, "ff");
    assert_non_null(strstr(world_published(world, "g/d0/bytes"), "\"value\":\"6177aa\""));
    assert_int_equal(world_count_published(world, "g/d0/basic"), 1);
    world_free(world);
}

/* ---- what is dropped ---- */

static void a_frame_whose_rest_does_not_come_is_dropped_after_its_timeout(void **state)
{
    struct world *world = begin();
    const struct action subscribe = come_online(world);

    notify(world, &subscribe, BASIC, 0, 4);
    world_advance(world, 1900);
    assert_int_equal(logged(world, "a frame was dropped"), 0);
    notify(world, &subscribe, BASIC, 4, 6); /* goes on: the time starts anew */
    world_advance(world, 1900);
    assert_int_equal(logged(world, "a frame was dropped"), 0);
    world_advance(world, 200);
    assert_int_equal(logged(world, "answers: a frame was dropped: the rest of it did not come"), 1);
    notify(world, &subscribe, BASIC, 6, 9); /* too late */
    whole(world, &subscribe, BASIC);
    assert_int_equal(world_count_published(world, "g/d0/basic"), 1);
    expect_health(world, "\"frames_dropped\":2"); /* bytes waited longer, and in vain, too */
    world_free(world);
}

static void what_is_whole_behind_a_lost_part_comes_with_its_own_time(void **state)
{
    struct world *world = begin();
    const struct action subscribe = come_online(world);
    char ts[64];

    whole(world, &subscribe, "dd03001b"); /* 34 bytes, of which the rest is lost */
    world_advance(world, 1000);
    whole(world, &subscribe, CELLS);
    time_format_rfc3339(world->now.real_us, ts);
    assert_null(world_published(world, "g/d0/cells"));
    world_advance(world, 2000);
    assert_int_equal(world_count_published(world, "g/d0/cells"), 1);
    assert_non_null(strstr(world_published(world, "g/d0/cells"), ts));
    world_free(world);
}

static void a_late_timer_does_not_join_what_does_not_belong_together(void **state)
{
    struct world *world = begin();
    const struct action subscribe = come_online(world);

    notify(world, &subscribe, BASIC, 0, 6);
    world->now.mono_us += 3000000; /* the loop was busy: the notification comes before the timer */
    world->now.real_us += 3000000;
    notify(world, &subscribe, BASIC, 6, 9);
    assert_null(world_published(world, "g/d0/basic"));
    assert_int_equal(logged(world, "a frame was dropped"), 1);
    world_free(world);
}

static void nothing_of_one_link_is_joined_with_the_next(void **state)
{
    struct world *world = begin();
    struct action subscribe = come_online(world);

    world_advance(world, 40000);
    notify(world, &subscribe, BASIC, 0, 6);
    world_link(world, 100, false);
    assert_int_equal(logged(world, "a frame was dropped: the subscription ended"), 1);
    const struct action connect = *world_expect(world, ACTION_CONNECT);
    world_clear(world);
    world_link(world, 100, true);
    world_answer(world, &connect, BT_STATUS_OK);
    world_resolved(world, world_expect(world, ACTION_RESOLVE));
    subscribe = *world_expect(world, ACTION_SUBSCRIBE);
    world_answer(world, &subscribe, BT_STATUS_OK);
    notify(world, &subscribe, BASIC, 6, 9);
    assert_null(world_published(world, "g/d0/basic"));
    whole(world, &subscribe, BASIC);
    assert_int_equal(world_count_published(world, "g/d0/basic"), 1);
    world_free(world);
}

static void a_subscription_that_ended_by_itself_leaves_no_half_frame(void **state)
{
    struct world *world = begin();
    struct action subscribe = come_online(world);
    struct event lost = {.type = EVENT_SUBSCRIPTION_LOST,
                         .value = {.subscription = subscribe.subscribe.subscription,
                                   .peer = 0,
                                   .source = subscribe.subscribe.source}};

    notify(world, &subscribe, BASIC, 0, 6);
    world_event(world, &lost);
    subscribe = *world_expect(world, ACTION_SUBSCRIBE);
    world_answer(world, &subscribe, BT_STATUS_OK);
    notify(world, &subscribe, BASIC, 6, 9);
    assert_null(world_published(world, "g/d0/basic"));
    whole(world, &subscribe, BASIC);
    assert_int_equal(world_count_published(world, "g/d0/basic"), 1);
    world_free(world);
}

static void bad_frames_are_logged_once_a_minute_and_all_counted(void **state)
{
    struct world *world = begin();
    const struct action subscribe = come_online(world);

    for (int i = 0; i < 50; i++)
        whole(world, &subscribe, "dd030002029bff6277ff"); /* a wrong checksum */
    assert_int_equal(logged(world, "a frame was dropped: its checksum is wrong"), 1);
    assert_null(world_published(world, "g/d0/basic"));
    expect_health(world, "\"frames_dropped\":50,\"frame_bytes_skipped\":500,");
    whole(world, &subscribe, "dd030002029bff6277ff");
    assert_int_equal(logged(world, "its checksum is wrong (51 so far)"), 1);
    world_free(world);
}

/* ---- commands ---- */

static void what_comes_in_frames_cannot_be_read(void **state)
{
    struct world *world = begin();

    come_online(world);
    world_message(world, "g/d0/answers/get", "", false);
    assert_null(world_find(world, ACTION_READ, NULL));
    assert_non_null(strstr(world_published(world, "g/d0/answers/result"), "\"not_supported\""));
    world_message(world, "g/d0/basic/get", "", false);
    assert_non_null(
        strstr(world_published(world, "g/d0/basic/result"), "\"unknown_characteristic\""));
    world_free(world);
}

/* the bytes of all writes that the peer gets, each confirmed */
static size_t write_all(struct world *world, struct strbuf *out)
{
    const struct action *write;
    size_t n = 0;

    for (; (write = world_find(world, ACTION_WRITE, NULL)); n++) {
        const struct action copy = *write;
        assert_true(copy.write.length && copy.write.length <= 244);
        assert_int_equal(world_count(world, ACTION_WRITE), 1); /* the next one waits for this */
        for (size_t i = 0; i < copy.write.length; i++)
            strbuf_putc(out, (char)copy.write.data[i]);
        world_clear(world);
        world_answer(world, &copy, BT_STATUS_OK);
    }
    return n;
}

static void a_long_text_is_written_in_packets_in_order_with_its_delimiter(void **state)
{
    static const size_t lengths[] = {1, 242, 243, 486, 487, 512};
    static const size_t packets[] = {1, 1, 2, 2, 3, 3};
    struct world *world = begin();

    come_online(world);
    for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
        char text[513] = "", wanted[516];
        struct strbuf out = STRBUF_INIT;

        for (size_t k = 0; k < lengths[i]; k++)
            text[k] = (char)('a' + k % 26);
        world_clear(world);
        world_message(world, "g/d0/send/set", text, false);
        assert_int_equal(write_all(world, &out), packets[i]);
        snprintf(wanted, sizeof(wanted), "%s\r\n", text);
        assert_string_equal(strbuf_str(&out), wanted);
        /* one answer, and what it shows is the text */
        assert_int_equal(world_count_published(world, "g/d0/send/result"), 1);
        const char *result = world_published(world, "g/d0/send/result");
        assert_non_null(strstr(result, "\"status\":\"ok\""));
        assert_null(strstr(result, "\\r"));
        assert_null(world_find(world, ACTION_READ, NULL)); /* frames cannot be read back */
        strbuf_done(&out);
    }
    world_free(world);
}

static void a_packet_that_fails_ends_the_write(void **state)
{
    char text[400] = "";
    struct world *world = begin();

    come_online(world);
    memset(text, 'x', sizeof(text) - 1);
    world_message(world, "g/d0/send/set", text, false);
    world_message(world, "g/d0/send/set", "next", false);
    const struct action first = *world_expect(world, ACTION_WRITE);
    world_clear(world);
    world_answer(world, &first, BT_STATUS_OK);
    const struct action second = *world_expect(world, ACTION_WRITE);
    assert_int_equal(second.write.length, 399 + 2 - 244);
    world_clear(world);
    world_answer(world, &second, BT_STATUS_ATT_ERROR);
    assert_int_equal(world_count_published(world, "g/d0/send/result"), 1);
    assert_non_null(strstr(world_published(world, "g/d0/send/result"), "\"att_error\""));
    const struct action *next = world_expect(world, ACTION_WRITE);
    assert_int_equal(next->write.length, 6);
    world_free(world);
}

static void a_link_that_is_lost_between_two_packets_is_said(void **state)
{
    char text[400] = "";
    struct world *world = begin();

    come_online(world);
    memset(text, 'x', sizeof(text) - 1);
    world_message(world, "g/d0/send/set", text, false);
    const struct action first = *world_expect(world, ACTION_WRITE);
    world_answer(world, &first, BT_STATUS_OK);
    world_clear(world);
    world_link(world, 100, false);
    assert_int_equal(world_count_published(world, "g/d0/send/result"), 1);
    assert_non_null(strstr(world_published(world, "g/d0/send/result"), "may or may not"));
    assert_null(world_find(world, ACTION_WRITE, NULL));
    world_free(world);
}

static void raw_bytes_are_written_as_they_are(void **state)
{
    struct world *world = begin();

    come_online(world);
    world_message(world, "g/d0/send/set", "{\"raw\":\"4142\"}", false);
    const struct action *write = world_expect(world, ACTION_WRITE);
    assert_int_equal(write->write.length, 2);
    assert_memory_equal(write->write.data, "AB", 2);
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_message_has_its_own_topic_and_the_time_of_its_last_part),
        cmocka_unit_test(a_message_that_is_none_of_them_is_counted_and_published_nowhere),
        cmocka_unit_test(devices_lists_the_topics_of_messages_and_not_that_of_their_characteristic),
        cmocka_unit_test(a_message_ends_the_wait_of_a_contact),
        cmocka_unit_test(entries_on_one_source_cut_its_stream_each_in_its_own_way),
        cmocka_unit_test(a_frame_whose_rest_does_not_come_is_dropped_after_its_timeout),
        cmocka_unit_test(what_is_whole_behind_a_lost_part_comes_with_its_own_time),
        cmocka_unit_test(a_late_timer_does_not_join_what_does_not_belong_together),
        cmocka_unit_test(nothing_of_one_link_is_joined_with_the_next),
        cmocka_unit_test(a_subscription_that_ended_by_itself_leaves_no_half_frame),
        cmocka_unit_test(bad_frames_are_logged_once_a_minute_and_all_counted),
        cmocka_unit_test(what_comes_in_frames_cannot_be_read),
        cmocka_unit_test(a_long_text_is_written_in_packets_in_order_with_its_delimiter),
        cmocka_unit_test(a_packet_that_fails_ends_the_write),
        cmocka_unit_test(a_link_that_is_lost_between_two_packets_is_said),
        cmocka_unit_test(raw_bytes_are_written_as_they_are),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
