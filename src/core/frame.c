/* Frames in a stream of bytes; see frame.h. */
#include "core/frame.h"

#include <stdlib.h>
#include <string.h>

struct frame {
    const struct frame_settings *settings; /* borrowed */
    struct frame_counts counts;
    size_t head, length; /* of what waits in `data` */
    size_t size;
    bool skipping; /* in a line that was too long, up to its end */
    bool expiring;
    uint8_t data[];
};

static const char *const drop_texts[FRAME_DROPS] = {
    [FRAME_DROP_CHECKSUM] = "its checksum is wrong",
    [FRAME_DROP_END] = "its end is not where its length says",
    [FRAME_DROP_SHORT] = "its length is less than a frame has",
    [FRAME_DROP_OVERFLOW] = "it is longer than `max`",
    [FRAME_DROP_TIMEOUT] = "the rest of it did not come in time",
    [FRAME_DROP_LINK] = "the subscription ended before the rest of it came",
};

const char *frame_drop_text(enum frame_drop drop)
{
    return drop_texts[drop];
}

int frame_new(const struct frame_settings *settings, struct frame **ret_frame)
{
    size_t size = settings->max + (settings->strip_end ? settings->end.length : 0);
    struct frame *frame = calloc(1, sizeof(*frame) + size);

    if (!frame)
        return -ENOMEM;
    frame->settings = settings;
    frame->size = size;
    *ret_frame = frame;
    return 0;
}

void frame_move_settings(struct frame *frame, const struct frame_settings *settings)
{
    frame->settings = settings;
}

struct frame *frame_free(struct frame *frame)
{
    free(frame);
    return NULL;
}

const struct frame_counts *frame_get_counts(const struct frame *frame)
{
    return &frame->counts;
}

size_t frame_put(struct frame *frame, const uint8_t *data, size_t length)
{
    if (frame->head) {
        memmove(frame->data, frame->data + frame->head, frame->length);
        frame->head = 0;
    }
    size_t n = MIN_OF(length, frame->size - frame->length);
    if (n)
        memcpy(frame->data + frame->length, data, n);
    frame->length += n;
    return n;
}

/* ---- finding ---- */

static void consume(struct frame *frame, size_t n)
{
    frame->head += n;
    frame->length -= n;
}

static void skip(struct frame *frame, size_t n)
{
    frame->counts.skipped += n;
    consume(frame, n);
}

/* where the mark stands from `from` on, or SIZE_MAX */
static size_t find(const struct frame *frame, const struct frame_mark *mark, size_t from)
{
    const uint8_t *data = frame->data + frame->head;
    const uint8_t *found = from < frame->length
                               ? memmem(data + from, frame->length - from, mark->data, mark->length)
                               : NULL;

    return found ? (size_t)(found - data) : SIZE_MAX;
}

/* Drops what stands before the first start, or before what may become one. */
static void align(struct frame *frame)
{
    const struct frame_mark *start = &frame->settings->start;
    const uint8_t *data = frame->data + frame->head;
    size_t n = 0;

    if (!start->length)
        return;
    while (n < frame->length &&
           memcmp(data + n, start->data, MIN_OF(start->length, frame->length - n)) != 0)
        n++;
    skip(frame, n);
}

/* The rest of a line that was too long goes, its end included. */
static void skip_line(struct frame *frame)
{
    const struct frame_mark *end = &frame->settings->end;
    size_t at = find(frame, end, 0);

    if (at != SIZE_MAX) {
        skip(frame, at + end->length);
        frame->skipping = false;
    } else if (frame->length >= end->length) {
        skip(frame, frame->length - (end->length - 1)); /* the end may be cut in two */
    }
}

/* ---- judging what stands at the head ---- */

enum verdict { VERDICT_GOOD, VERDICT_OPEN, VERDICT_BAD };

static uint64_t number(const uint8_t *data, size_t size, bool big_endian)
{
    uint64_t value = 0;

    for (size_t i = 0; i < size; i++)
        value = value << 8 | data[big_endian ? i : size - 1 - i];
    return value;
}

size_t frame_least(const struct frame_settings *settings)
{
    const struct frame_settings *s = settings;
    size_t end = s->strip_end ? 0 : s->end.length;
    size_t n = s->start.length + end;

    if (s->length_size)
        n = MAX_OF(n, (size_t)s->length_offset + s->length_size + end);
    if (s->has_checksum)
        n = MAX_OF(n, MAX_OF((size_t)s->checksum_from, s->start.length) +
                          checksum_size(s->checksum) + end);
    return n;
}

static bool checksum_fits(const struct frame *frame, size_t total)
{
    const struct frame_settings *s = frame->settings;
    const uint8_t *data = frame->data + frame->head;
    size_t size = checksum_size(s->checksum);
    size_t at = total - (s->strip_end ? 0 : s->end.length) - size;

    return number(data + at, size, s->checksum_big_endian) ==
           checksum_of(s->checksum, data + s->checksum_from, at - s->checksum_from);
}

/* by the length field: the bytes of the frame */
static enum verdict judge_length(const struct frame *frame, size_t *ret_total,
                                 enum frame_drop *ret_drop)
{
    const struct frame_settings *s = frame->settings;
    const uint8_t *data = frame->data + frame->head;

    if (frame->length < (size_t)s->length_offset + s->length_size)
        return VERDICT_OPEN;
    int64_t total = (int64_t)number(data + s->length_offset, s->length_size, s->length_big_endian) +
                    s->length_add;
    if (total < (int64_t)frame_least(s) || total > (int64_t)s->max) {
        *ret_drop = total > (int64_t)s->max ? FRAME_DROP_OVERFLOW : FRAME_DROP_SHORT;
        return VERDICT_BAD;
    }
    if (frame->length < (size_t)total)
        return VERDICT_OPEN;
    if (memcmp(data + (size_t)total - s->end.length, s->end.data, s->end.length) != 0) {
        *ret_drop = FRAME_DROP_END;
        return VERDICT_BAD;
    }
    *ret_total = (size_t)total;
    return VERDICT_GOOD;
}

/* by its end: the bytes of the message, without a delimiter */
static enum verdict judge_end(const struct frame *frame, size_t *ret_total,
                              enum frame_drop *ret_drop)
{
    const struct frame_settings *s = frame->settings;
    size_t at = find(frame, &s->end, s->start.length);

    if (at == SIZE_MAX) {
        *ret_drop = FRAME_DROP_OVERFLOW;
        return frame->length == frame->size ? VERDICT_BAD : VERDICT_OPEN;
    }
    *ret_total = at + (s->strip_end ? 0 : s->end.length);
    *ret_drop = FRAME_DROP_SHORT;
    return *ret_total && *ret_total < frame_least(s) ? VERDICT_BAD : VERDICT_GOOD;
}

static enum verdict judge(const struct frame *frame, size_t *ret_total, enum frame_drop *ret_drop)
{
    const struct frame_settings *s = frame->settings;

    if (frame->length < MAX_OF(s->start.length, (size_t)1))
        return VERDICT_OPEN;
    enum verdict verdict = s->length_size ? judge_length(frame, ret_total, ret_drop)
                                          : judge_end(frame, ret_total, ret_drop);
    if (verdict == VERDICT_GOOD && *ret_total && s->has_checksum &&
        !checksum_fits(frame, *ret_total)) {
        *ret_drop = FRAME_DROP_CHECKSUM;
        return VERDICT_BAD;
    }
    return verdict;
}

/* Without a start the next byte is as good as any: a line that is wrong goes as a whole. */
static void give_up(struct frame *frame, enum frame_drop drop)
{
    const struct frame_settings *s = frame->settings;

    frame->counts.dropped[drop]++;
    if (s->start.length || s->length_size)
        skip(frame, 1);
    else
        frame->skipping = true;
}

bool frame_next(struct frame *frame, const uint8_t **ret_data, size_t *ret_length)
{
    const struct frame_settings *s = frame->settings;

    for (;;) {
        enum frame_drop drop = FRAME_DROP_CHECKSUM;
        size_t total = 0;

        if (frame->skipping)
            skip_line(frame);
        if (frame->skipping)
            return false;
        align(frame);
        switch (judge(frame, &total, &drop)) {
        case VERDICT_OPEN: return false;
        case VERDICT_BAD: give_up(frame, drop); break;
        case VERDICT_GOOD:
            *ret_data = frame->data + frame->head;
            *ret_length = total;
            consume(frame, total + (s->strip_end ? s->end.length : 0));
            if (total) /* an empty line says nothing */
                return true;
            break;
        }
    }
}

bool frame_is_open(const struct frame *frame)
{
    return frame->length || frame->skipping;
}

static void clear(struct frame *frame)
{
    frame->counts.skipped += frame->length;
    frame->head = frame->length = 0;
    frame->skipping = false;
}

bool frame_expire(struct frame *frame, const uint8_t **ret_data, size_t *ret_length)
{
    if (!frame->expiring && frame->length && !frame->skipping)
        frame->counts.dropped[FRAME_DROP_TIMEOUT]++;
    frame->expiring = true;
    /* without a start nothing says where one could begin */
    while (frame->settings->start.length && frame->length) {
        skip(frame, 1);
        if (frame_next(frame, ret_data, ret_length))
            return true;
    }
    clear(frame);
    frame->expiring = false;
    return false;
}

void frame_reset(struct frame *frame)
{
    if (frame->length && !frame->skipping)
        frame->counts.dropped[FRAME_DROP_LINK]++;
    clear(frame);
}

/* ---- writing ---- */

size_t frame_close(const struct characteristic_settings *settings, uint8_t *data, size_t length)
{
    const struct frame_mark *end = &settings->frame.end;

    if (!settings->framed || !settings->frame.strip_end)
        return length;
    memcpy(data + length, end->data, end->length);
    return length + end->length;
}

size_t frame_body(const struct characteristic_settings *settings, const uint8_t *data,
                  size_t length)
{
    const struct frame_mark *end = &settings->frame.end;

    if (settings->framed && settings->frame.strip_end && length >= end->length &&
        memcmp(data + length - end->length, end->data, end->length) == 0)
        return length - end->length;
    return length;
}
