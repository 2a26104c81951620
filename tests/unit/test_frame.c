/* Frames in streams, cut as they come. The stream is what counts, never where it was cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/frame.h"
#include "helper_schema.h"
#include "util/strbuf.h"

/* a battery management system: dd, register, status, length, data, checksum, 77 */
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
/* 27 bytes of data: voltages, currents, ..., two temperatures */
#define BASIC "dd03001b14e6ff9c1388177000052c9e00000000000022570304020b8d0b88f9b277"
#define CELLS "dd0400080d020d000cff0d03fec177"

static const struct frame_settings line = {
    .end = {{'\n'}, 1}, .strip_end = true, .timeout_ms = 2000, .max = 64};

struct bytes {
    uint8_t data[8192];
    size_t length;
};

static void add_hex(struct bytes *bytes, const char *hex)
{
    bytes->length +=
        bytes_from(hex, bytes->data + bytes->length, sizeof(bytes->data) - bytes->length);
}

static void add_text(struct bytes *bytes, const char *text)
{
    memcpy(bytes->data + bytes->length, text, strlen(text));
    bytes->length += strlen(text);
}

static void take(struct strbuf *out, const uint8_t *message, size_t length)
{
    strbuf_hex(out, message, length);
    strbuf_putc(out, ' ');
}

static void feed(struct frame *frame, const uint8_t *data, size_t length, struct strbuf *out)
{
    const uint8_t *message;
    size_t n, message_length;

    /* a copy of just that size, so that a sanitizer sees who reads beyond it */
    uint8_t *part = malloc(length + !length);
    memcpy(part, data, length);
    for (size_t at = 0; at < length; at += n) {
        n = frame_put(frame, part + at, length - at);
        assert_true(n > 0);
        while (frame_next(frame, &message, &message_length))
            take(out, message, message_length);
    }
    free(part);
}

/* what comes out of the stream in pieces of that size, and then the counts */
static struct frame_counts run(const struct frame_settings *settings, const struct bytes *bytes,
                               size_t piece, struct strbuf *out)
{
    struct frame *frame = NULL;

    assert_int_equal(frame_new(settings, &frame), 0);
    for (size_t at = 0; at < bytes->length; at += piece)
        feed(frame, bytes->data + at, MIN_OF(piece, bytes->length - at), out);
    struct frame_counts counts = *frame_get_counts(frame);
    frame_free(frame);
    return counts;
}

static void expect_run(const struct frame_settings *settings, const struct bytes *bytes,
                       const char *wanted, const struct frame_counts *counts)
{
    for (size_t piece = 1; piece <= bytes->length; piece++) {
        struct strbuf out = STRBUF_INIT;
        struct frame_counts got = run(settings, bytes, piece, &out);
        assert_string_equal(strbuf_str(&out), wanted);
        for (int i = 0; i < FRAME_DROPS; i++)
            assert_int_equal(got.dropped[i], counts->dropped[i]);
        assert_int_equal(got.skipped, counts->skipped);
        strbuf_done(&out);
    }
}

/* ---- whole frames ---- */

static void an_answer_in_pieces_is_one_message(void **state)
{
    struct bytes bytes = {0};
    struct frame_counts none = {0};

    add_hex(&bytes, BASIC);
    assert_int_equal(bytes.length, 34);
    expect_run(&bms, &bytes, BASIC " ", &none);
    add_hex(&bytes, CELLS BASIC);
    expect_run(&bms, &bytes, BASIC " " CELLS " " BASIC " ", &none);
}

static void lines_come_one_by_one_without_their_ends(void **state)
{
    struct bytes bytes = {0};
    struct frame_counts none = {0};
    struct frame_settings crlf = line;

    add_text(&bytes, "T=21\nH=5\n\nX\npart");
    expect_run(&line, &bytes, "543d3231 483d35 58 ", &none);
    crlf.end = (struct frame_mark){{'\r', '\n'}, 2};
    bytes.length = 0;
    add_text(&bytes, "a\rb\r\n\r\r\nc");
    expect_run(&crlf, &bytes, "610d62 0d ", &none);
}

static void a_frame_may_end_where_its_end_is_found(void **state)
{
    static const struct frame_settings settings = {
        .start = {{0x02, 0x02}, 2}, .end = {{0x03}, 1}, .timeout_ms = 2000, .max = 8};
    struct bytes bytes = {0};
    struct frame_counts counts = {.skipped = 3}; /* 03, and 02 ff at the end */

    add_hex(&bytes, "0202aa03"
                    "020202bb03"
                    "03"
                    "020202cc03"
                    "02ff");
    expect_run(&settings, &bytes, "0202aa03 020202bb03 020202cc03 ", &counts);
}

static void lengths_of_several_bytes_have_an_order(void **state)
{
    struct frame_settings settings = {.start = {{0xa5}, 1},
                                      .length_size = 2,
                                      .length_offset = 1,
                                      .length_add = 3,
                                      .length_big_endian = true,
                                      .timeout_ms = 2000,
                                      .max = 512};
    struct bytes bytes = {0};
    struct frame_counts none = {0};

    add_hex(&bytes, "a5000201ff");
    expect_run(&settings, &bytes, "a5000201ff ", &none);
    settings.length_big_endian = false;
    bytes.length = 0;
    add_hex(&bytes, "a5020001ff");
    expect_run(&settings, &bytes, "a5020001ff ", &none);
}

static void checksums_of_one_and_two_bytes_are_found_before_the_end(void **state)
{
    struct frame_settings settings = {.start = {{0x01}, 1},
                                      .length_size = 1,
                                      .length_offset = 2,
                                      .length_add = 5,
                                      .has_checksum = true,
                                      .checksum = CHECKSUM_CRC16_MODBUS,
                                      .timeout_ms = 2000,
                                      .max = 512};
    struct bytes bytes = {0};
    struct frame_counts none = {0};

    add_hex(&bytes, "0103020001"
                    "7984"); /* a Modbus answer: low byte first */
    expect_run(&settings, &bytes, "01030200017984 ", &none);
    settings.checksum = CHECKSUM_SUM8;
    settings.length_add = 4;
    bytes.length = 0;
    add_hex(&bytes, "010302000107");
    expect_run(&settings, &bytes, "010302000107 ", &none);
}

/* ---- what is wrong ---- */

static void garbage_between_frames_is_skipped(void **state)
{
    struct bytes bytes = {0};
    struct frame_counts counts = {.skipped = 5};

    add_hex(&bytes, "0077" CELLS "aabbcc" CELLS);
    expect_run(&bms, &bytes, CELLS " " CELLS " ", &counts);
}

static void a_wrong_checksum_drops_one_frame_and_no_other(void **state)
{
    struct bytes bytes = {0};
    struct frame_counts counts = {.skipped = 15};

    counts.dropped[FRAME_DROP_CHECKSUM] = 1;
    add_hex(&bytes, CELLS CELLS CELLS);
    bytes.data[15 + 5] ^= 1;
    expect_run(&bms, &bytes, CELLS " " CELLS " ", &counts);
}

static void a_lost_part_costs_only_its_own_frame(void **state)
{
    struct bytes bytes = {0};
    struct frame_counts counts = {.skipped = 20};

    counts.dropped[FRAME_DROP_END] = 1;
    add_hex(&bytes, BASIC);
    bytes.length = 20; /* the second notification never came */
    add_hex(&bytes, BASIC BASIC);
    expect_run(&bms, &bytes, BASIC " " BASIC " ", &counts);
}

static void a_false_start_within_garbage_hides_nothing(void **state)
{
    struct bytes bytes = {0};
    struct frame_counts counts = {.skipped = 5};

    counts.dropped[FRAME_DROP_END] = 1;
    add_hex(&bytes, "dd00000400" CELLS);
    expect_run(&bms, &bytes, CELLS " ", &counts);
}

static void lengths_that_cannot_be_are_refused_at_once(void **state)
{
    struct frame_settings settings = bms;
    struct bytes bytes = {0};
    struct frame_counts counts = {.skipped = 4};

    settings.max = 15;
    counts.dropped[FRAME_DROP_OVERFLOW] = 1;
    add_hex(&bytes, "dd030009" CELLS); /* 16 */
    expect_run(&settings, &bytes, CELLS " ", &counts);
    settings.length_add = -100;
    settings.length_offset = 1;
    counts = (struct frame_counts){.skipped = 3};
    counts.dropped[FRAME_DROP_SHORT] = 1;
    bytes.length = 0;
    add_hex(&bytes, "dd0300");
    expect_run(&settings, &bytes, "", &counts);
}

static void a_line_of_just_the_maximum_comes_and_a_longer_one_goes_as_a_whole(void **state)
{
    struct frame_settings settings = line;
    struct bytes bytes = {0};
    struct frame_counts counts = {.skipped = 6 + 13};

    settings.max = 4;
    counts.dropped[FRAME_DROP_OVERFLOW] = 2;
    add_text(&bytes, "abcd\nabcde\nefghijklmnop\nok\n");
    expect_run(&settings, &bytes, "61626364 6f6b ", &counts);
    settings.end = (struct frame_mark){{'\r', '\n'}, 2};
    bytes.length = 0;
    add_text(&bytes, "abcd\r\nabcde\r\r\nx\ry\r\n");
    counts.dropped[FRAME_DROP_OVERFLOW] = 1;
    counts.skipped = 8;
    expect_run(&settings, &bytes, "61626364 780d79 ", &counts);
}

static void a_line_with_a_wrong_checksum_goes_as_a_whole(void **state)
{
    struct frame_settings settings = line;
    struct bytes bytes = {0};
    struct frame_counts counts = {.skipped = 4 + 1};

    settings.has_checksum = true;
    settings.checksum = CHECKSUM_XOR8;
    add_hex(&bytes, "010203"
                    "0a"
                    "010200"
                    "0a"
                    "0a"
                    "424200"
                    "0a");
    counts.dropped[FRAME_DROP_CHECKSUM] = 1;
    counts.skipped = 4;
    expect_run(&settings, &bytes, "010203 424200 ", &counts);
}

/* ---- time and links ---- */

static size_t expire(struct frame *frame, struct strbuf *out)
{
    const uint8_t *message;
    size_t length, n = 0;

    for (; frame_expire(frame, &message, &length); n++)
        take(out, message, length);
    return n;
}

static void what_stays_open_is_dropped_but_not_what_is_whole_behind_it(void **state)
{
    struct bytes bytes = {0};
    struct strbuf out = STRBUF_INIT;
    struct frame *frame;

    assert_int_equal(frame_new(&bms, &frame), 0);
    assert_false(frame_is_open(frame));
    add_hex(&bytes, BASIC);
    bytes.length = 10;
    add_hex(&bytes, CELLS);
    feed(frame, bytes.data, bytes.length, &out);
    assert_string_equal(strbuf_str(&out), ""); /* the first one says that it goes on */
    assert_true(frame_is_open(frame));
    assert_int_equal(expire(frame, &out), 1);
    assert_string_equal(strbuf_str(&out), CELLS " ");
    assert_false(frame_is_open(frame));
    assert_int_equal(frame_get_counts(frame)->dropped[FRAME_DROP_TIMEOUT], 1);
    assert_int_equal(frame_get_counts(frame)->skipped, 10);
    assert_int_equal(expire(frame, &out), 0); /* nothing is open: nothing is dropped */
    assert_int_equal(frame_get_counts(frame)->dropped[FRAME_DROP_TIMEOUT], 1);
    strbuf_done(&out);
    frame_free(frame);
}

static void half_a_line_is_gone_after_its_time_and_the_next_one_is_whole(void **state)
{
    struct strbuf out = STRBUF_INIT;
    struct frame *frame;

    assert_int_equal(frame_new(&line, &frame), 0);
    feed(frame, (const uint8_t *)"> ", 2, &out);
    assert_int_equal(expire(frame, &out), 0);
    feed(frame, (const uint8_t *)"ok\n", 3, &out);
    assert_string_equal(strbuf_str(&out), "6f6b ");
    assert_int_equal(frame_get_counts(frame)->dropped[FRAME_DROP_TIMEOUT], 1);
    strbuf_done(&out);
    frame_free(frame);
}

static void nothing_of_a_broken_link_reaches_the_next_one(void **state)
{
    struct bytes bytes = {0};
    struct strbuf out = STRBUF_INIT;
    struct frame *frame;

    assert_int_equal(frame_new(&bms, &frame), 0);
    add_hex(&bytes, CELLS);
    feed(frame, bytes.data, 10, &out);
    frame_reset(frame);
    assert_int_equal(frame_get_counts(frame)->dropped[FRAME_DROP_LINK], 1);
    feed(frame, bytes.data + 10, bytes.length - 10, &out);
    assert_string_equal(strbuf_str(&out), "");
    feed(frame, bytes.data, bytes.length, &out);
    assert_string_equal(strbuf_str(&out), CELLS " ");
    frame_reset(frame); /* nothing is open */
    assert_int_equal(frame_get_counts(frame)->dropped[FRAME_DROP_LINK], 1);
    strbuf_done(&out);
    frame_free(frame);
}

/* ---- any cut gives the same ---- */

static void random_settings(uint32_t *seed, struct frame_settings *s)
{
    *s = (struct frame_settings){.timeout_ms = 1, .max = 12 + random_u32(seed) % 40};
    bool by_length = random_u32(seed) % 2, start = random_u32(seed) % 2;

    if (start)
        s->start = (struct frame_mark){{0, 1}, 1 + random_u32(seed) % 2};
    if (!by_length || random_u32(seed) % 2)
        s->end = (struct frame_mark){{2, 2}, 1 + random_u32(seed) % 2};
    if (by_length) {
        s->length_size = (uint8_t)(1 + random_u32(seed) % 2);
        s->length_offset = (uint16_t)(s->start.length + random_u32(seed) % 2);
        s->length_add = (int32_t)(random_u32(seed) % 10) - 2;
        s->length_big_endian = random_u32(seed) % 2;
    } else {
        s->strip_end = random_u32(seed) % 2;
    }
    if (random_u32(seed) % 2) {
        s->has_checksum = true;
        s->checksum = CHECKSUM_XOR8;
        s->checksum_from = (uint16_t)(random_u32(seed) % 3);
    }
}

static void any_cut_gives_the_same_messages_and_counts(void **state)
{
    uint32_t seed = 7;
    size_t n_messages = 0;

    for (int round = 0; round < 3000; round++) {
        struct frame_settings settings;
        struct bytes bytes = {.length = 300};
        struct strbuf whole = STRBUF_INIT, cut = STRBUF_INIT;
        struct frame *frame;

        random_settings(&seed, &settings);
        for (size_t i = 0; i < bytes.length; i++)
            bytes.data[i] = (uint8_t)(random_u32(&seed) % 5);
        struct frame_counts wanted = run(&settings, &bytes, bytes.length, &whole);
        assert_int_equal(frame_new(&settings, &frame), 0);
        for (size_t at = 0, n; at < bytes.length; at += n) {
            n = random_u32(&seed) % 30;
            n = MIN_OF(n, bytes.length - at);
            feed(frame, bytes.data + at, n, &cut);
        }
        assert_string_equal(strbuf_str(&cut), strbuf_str(&whole));
        assert_memory_equal(frame_get_counts(frame), &wanted, sizeof(wanted));
        n_messages += whole.length > 0;
        frame_free(frame);
        strbuf_done(&whole);
        strbuf_done(&cut);
    }
    assert_true(n_messages > 1000); /* it was about something */
}

static void every_byte_is_in_a_message_or_counted(void **state)
{
    uint32_t seed = 99;

    for (int round = 0; round < 300; round++) {
        struct frame_settings settings = bms;
        struct bytes bytes = {0};
        struct strbuf out = STRBUF_INIT;
        size_t good = 0;

        while (bytes.length < 4000) {
            switch (random_u32(&seed) % 4) {
            case 0: add_hex(&bytes, BASIC); break;
            case 1: add_hex(&bytes, CELLS); break;
            case 2: add_hex(&bytes, "dd77"); break;
            default: bytes.data[bytes.length++] = (uint8_t)random_u32(&seed);
            }
        }
        struct frame *frame;
        assert_int_equal(frame_new(&settings, &frame), 0);
        for (size_t at = 0; at < bytes.length; at += 20)
            feed(frame, bytes.data + at, MIN_OF((size_t)20, bytes.length - at), &out);
        expire(frame, &out);
        for (size_t i = 0; i < out.length; i++)
            good += out.data[i] != ' ';
        assert_int_equal(good / 2 + frame_get_counts(frame)->skipped, bytes.length);
        frame_free(frame);
        strbuf_done(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_in_pieces_is_one_message),
        cmocka_unit_test(lines_come_one_by_one_without_their_ends),
        cmocka_unit_test(a_frame_may_end_where_its_end_is_found),
        cmocka_unit_test(lengths_of_several_bytes_have_an_order),
        cmocka_unit_test(checksums_of_one_and_two_bytes_are_found_before_the_end),
        cmocka_unit_test(garbage_between_frames_is_skipped),
        cmocka_unit_test(a_wrong_checksum_drops_one_frame_and_no_other),
        cmocka_unit_test(a_lost_part_costs_only_its_own_frame),
        cmocka_unit_test(a_false_start_within_garbage_hides_nothing),
        cmocka_unit_test(lengths_that_cannot_be_are_refused_at_once),
        cmocka_unit_test(a_line_of_just_the_maximum_comes_and_a_longer_one_goes_as_a_whole),
        cmocka_unit_test(a_line_with_a_wrong_checksum_goes_as_a_whole),
        cmocka_unit_test(what_stays_open_is_dropped_but_not_what_is_whole_behind_it),
        cmocka_unit_test(half_a_line_is_gone_after_its_time_and_the_next_one_is_whole),
        cmocka_unit_test(nothing_of_a_broken_link_reaches_the_next_one),
        cmocka_unit_test(any_cut_gives_the_same_messages_and_counts),
        cmocka_unit_test(every_byte_is_in_a_message_or_counted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
