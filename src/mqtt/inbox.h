/*
 * Where Paho's threads leave what happened for the loop: a queue behind a short mutex, and an
 * eventfd that becomes readable. Incoming messages are copied and bounded (the newest is dropped
 * when the inbox is full, and counted); everything else comes as an item that its owner has
 * reserved beforehand, so that an acknowledgement can neither be dropped nor fail to allocate.
 * Knows neither Paho nor the core.
 */
#pragma once

#include "util/err.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct inbox;

enum inbox_type {
    INBOX_MESSAGE, /* struct inbox_message, made by inbox_put_message() */
    INBOX_OTHER,   /* the owner's business */
};

/* Part of a larger struct; it is in the inbox at most once at a time. */
struct inbox_item {
    struct inbox_item *next; /* the inbox's */
    enum inbox_type type;
    uint32_t epoch;    /* of the connection that it comes from */
    unsigned patience; /* wakes the loop only when so many items wait; 0: at once */
};

struct inbox_message {
    struct inbox_item item; /* first */
    const char *topic;      /* these point behind the struct or at the caller's memory */
    const void *payload;
    size_t length;
    const char *response_topic; /* or NULL */
    const void *correlation;    /* or NULL */
    size_t correlation_length;
    uint8_t qos;
    bool retained, duplicate, has_expiry;
    uint32_t expiry_s;
    size_t size; /* the inbox's: what it counts for */
};

struct inbox_limits {
    size_t payload_bytes; /* of one message */
    size_t messages, bytes;
};

/* -errno from eventfd() */
MUST_CHECK
int inbox_new(const struct inbox_limits *limits, struct inbox **ret_inbox);
/* Nobody may put anything any more. */
struct inbox *inbox_free(struct inbox *inbox);
/* readable while something waits; belongs to the inbox */
int inbox_fd(const struct inbox *inbox);

/* From any thread. */
void inbox_put(struct inbox *inbox, struct inbox_item *item);
/* From any thread; copies everything that `message` points to. False: too long, no room or no
 * memory, and counted. */
bool inbox_put_message(struct inbox *inbox, const struct inbox_message *message);
/* From any thread: counts a message that could not even be put. */
void inbox_count_dropped(struct inbox *inbox);

/* From the loop. */
void inbox_clear_wakeup(struct inbox *inbox); /* before taking */
void inbox_wake(struct inbox *inbox);         /* something was left for the next turn */
/* The oldest item, if it may wait: what need not be woken for is taken in passing. Or NULL. */
struct inbox_item *inbox_take_patient(struct inbox *inbox);
/* The oldest item or NULL. A message is to be freed, other items belong to their owner again. */
struct inbox_item *inbox_take(struct inbox *inbox);
void inbox_message_free(struct inbox *inbox, struct inbox_message *message);
/* Takes out all of one connection; the owner may then free its items. */
void inbox_purge(struct inbox *inbox, uint32_t epoch);
/* messages dropped since the beginning */
uint64_t inbox_n_dropped(struct inbox *inbox);
