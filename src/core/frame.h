/*
 * Frames in a stream of bytes, which notifications cut as they like: however it is cut, the same
 * frames come out. After garbage, a wrong length or a wrong checksum the search goes on at the
 * next byte, so that a good frame behind a broken one is found. Allocates once; knows neither
 * time, peers nor what a frame means.
 *
 *     while (length) {
 *         size_t n = frame_put(frame, data, length);
 *         data += n, length -= n;
 *         while (frame_next(frame, &message, &message_length))
 *             ...
 *     }
 */
#pragma once

#include "core/settings.h"

struct frame;

/* why a frame was given up */
enum frame_drop {
    FRAME_DROP_CHECKSUM, /* it is wrong */
    FRAME_DROP_END,      /* not the end bytes where the length says */
    FRAME_DROP_SHORT,    /* the length says less than a frame has at least */
    FRAME_DROP_OVERFLOW, /* longer than `max` */
    FRAME_DROP_TIMEOUT,  /* the rest did not come */
    FRAME_DROP_LINK,     /* the subscription ended in the middle */
    FRAME_DROPS,
};

struct frame_counts {
    uint64_t dropped[FRAME_DROPS];
    uint64_t skipped; /* bytes that belong to no good frame */
};

/* A frame has at least so many bytes, its delimiter not counted; `max` must allow it. */
size_t frame_least(const struct frame_settings *settings);
/* settings are borrowed and outlive the frame. -ENOMEM */
MUST_CHECK
int frame_new(const struct frame_settings *settings, struct frame **ret_frame);
/* the same settings at another place in memory */
void frame_move_settings(struct frame *frame, const struct frame_settings *settings);
struct frame *frame_free(struct frame *frame);
/* Takes as many bytes as there is room for, at least one if frame_next() has said no; the number.
 */
size_t frame_put(struct frame *frame, const uint8_t *data, size_t length);
/* The next whole frame, without a delimiter; never an empty one. Borrowed until the next call. */
bool frame_next(struct frame *frame, const uint8_t **ret_data, size_t *ret_length);
/* has one begun? After frame_next() has said no. */
bool frame_is_open(const struct frame *frame);
/* The time of the open frame is over: it is dropped and counted once; what is whole behind its
 * beginning comes one by one, then false and nothing is left. */
bool frame_expire(struct frame *frame, const uint8_t **ret_data, size_t *ret_length);
/* The stream has ended or has a hole: an open frame is dropped and counted. */
void frame_reset(struct frame *frame);
const struct frame_counts *frame_get_counts(const struct frame *frame); /* borrowed */
/* What was made of fields gets the delimiter, if its characteristic has one; the new length. There
 * is room for FRAME_MAX_MARK more bytes. */
size_t frame_close(const struct characteristic_settings *settings, uint8_t *data, size_t length);
/* The other way: the length without the delimiter. */
size_t frame_body(const struct characteristic_settings *settings, const uint8_t *data,
                  size_t length);
/* "its checksum is wrong": what was the matter last */
const char *frame_drop_text(enum frame_drop drop);
