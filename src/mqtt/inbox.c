/*
 * A mutex, a singly linked list and an eventfd. The mutex is never held while anything else is
 * called, so it takes part in no deadlock with Paho's. Knows neither Paho nor the core.
 */
#include "mqtt/inbox.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct inbox {
    struct inbox_limits limits;
    int fd;
    pthread_mutex_t mutex; /* guards everything below */
    bool awake;
    struct inbox_item *first, **last;
    unsigned waiting;       /* items; read without the mutex, too */
    size_t messages, bytes; /* of messages not yet freed */
    uint64_t dropped;
};

int inbox_new(const struct inbox_limits *limits, struct inbox **ret_inbox)
{
    struct inbox *inbox = calloc(1, sizeof *inbox);
    if (!inbox)
        return -ENOMEM;
    inbox->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (inbox->fd < 0) {
        int r = -errno;
        free(inbox);
        return r;
    }
    inbox->limits = *limits;
    inbox->last = &inbox->first;
    pthread_mutex_init(&inbox->mutex, NULL);
    *ret_inbox = inbox;
    return 0;
}

int inbox_fd(const struct inbox *inbox)
{
    return inbox->fd;
}

static void wake_locked(struct inbox *inbox)
{
    if (inbox->awake)
        return;
    inbox->awake = true;
    uint64_t one = 1;
    ssize_t n = write(inbox->fd, &one, sizeof one);
    (void)n; /* fails only when the counter is full: then it is readable anyway */
}

static void append_locked(struct inbox *inbox, struct inbox_item *item)
{
    item->next = NULL;
    *inbox->last = item;
    inbox->last = &item->next;
    __atomic_store_n(&inbox->waiting, inbox->waiting + 1, __ATOMIC_RELAXED);
    if (inbox->waiting >= item->patience)
        wake_locked(inbox);
}

void inbox_put(struct inbox *inbox, struct inbox_item *item)
{
    assert(item->type != INBOX_MESSAGE);
    pthread_mutex_lock(&inbox->mutex);
    append_locked(inbox, item);
    pthread_mutex_unlock(&inbox->mutex);
}

/* copies behind `*at`, with a NUL, and moves on */
static void *copy_behind(char **at, const void *data, size_t length)
{
    char *copy = *at;
    if (length > 0)
        memcpy(copy, data, length);
    copy[length] = '\0';
    *at += length + 1;
    return copy;
}

static struct inbox_message *copy_message(const struct inbox_message *message, size_t size)
{
    struct inbox_message *copy = malloc(size);
    if (!copy)
        return NULL;
    *copy = *message;
    copy->item.type = INBOX_MESSAGE;
    copy->size = size;
    char *at = (char *)(copy + 1);
    copy->topic = copy_behind(&at, message->topic, strlen(message->topic));
    copy->payload = copy_behind(&at, message->payload, message->length);
    if (message->response_topic)
        copy->response_topic =
            copy_behind(&at, message->response_topic, strlen(message->response_topic));
    if (message->correlation)
        copy->correlation = copy_behind(&at, message->correlation, message->correlation_length);
    return copy;
}

static size_t message_size(const struct inbox_message *message)
{
    size_t size = sizeof *message + strlen(message->topic) + 1 + message->length + 1;
    if (message->response_topic)
        size += strlen(message->response_topic) + 1;
    if (message->correlation)
        size += message->correlation_length + 1;
    return size;
}

bool inbox_put_message(struct inbox *inbox, const struct inbox_message *message)
{
    size_t size = message_size(message);

    /* room is taken before the copy is made, so that the copying needs no lock */
    pthread_mutex_lock(&inbox->mutex);
    bool fits = message->length <= inbox->limits.payload_bytes &&
                inbox->messages < inbox->limits.messages &&
                size <= inbox->limits.bytes - inbox->bytes;
    if (fits) {
        inbox->messages++;
        inbox->bytes += size;
    } else {
        inbox->dropped++;
    }
    pthread_mutex_unlock(&inbox->mutex);
    if (!fits)
        return false;

    struct inbox_message *copy = copy_message(message, size);
    pthread_mutex_lock(&inbox->mutex);
    if (copy) {
        append_locked(inbox, &copy->item);
    } else {
        inbox->messages--;
        inbox->bytes -= size;
        inbox->dropped++;
    }
    pthread_mutex_unlock(&inbox->mutex);
    return copy != NULL;
}

void inbox_count_dropped(struct inbox *inbox)
{
    pthread_mutex_lock(&inbox->mutex);
    inbox->dropped++;
    pthread_mutex_unlock(&inbox->mutex);
}

void inbox_clear_wakeup(struct inbox *inbox)
{
    pthread_mutex_lock(&inbox->mutex);
    uint64_t count;
    ssize_t n = read(inbox->fd, &count, sizeof count);
    (void)n; /* nothing to read is fine, too */
    inbox->awake = false;
    pthread_mutex_unlock(&inbox->mutex);
}

void inbox_wake(struct inbox *inbox)
{
    pthread_mutex_lock(&inbox->mutex);
    wake_locked(inbox);
    pthread_mutex_unlock(&inbox->mutex);
}

static struct inbox_item *take(struct inbox *inbox, bool patient)
{
    pthread_mutex_lock(&inbox->mutex);
    struct inbox_item *item = inbox->first;
    if (item && patient && !item->patience)
        item = NULL;
    if (item) {
        inbox->first = item->next;
        if (!inbox->first)
            inbox->last = &inbox->first;
        item->next = NULL;
        __atomic_store_n(&inbox->waiting, inbox->waiting - 1, __ATOMIC_RELAXED);
    }
    pthread_mutex_unlock(&inbox->mutex);
    return item;
}

struct inbox_item *inbox_take(struct inbox *inbox)
{
    return take(inbox, false);
}

struct inbox_item *inbox_take_patient(struct inbox *inbox)
{
    /* what is missed now is found next time */
    return __atomic_load_n(&inbox->waiting, __ATOMIC_RELAXED) ? take(inbox, true) : NULL;
}

static void message_free_locked(struct inbox *inbox, struct inbox_message *message)
{
    inbox->messages--;
    inbox->bytes -= message->size;
    free(message);
}

void inbox_message_free(struct inbox *inbox, struct inbox_message *message)
{
    pthread_mutex_lock(&inbox->mutex);
    message_free_locked(inbox, message);
    pthread_mutex_unlock(&inbox->mutex);
}

static void remove_locked(struct inbox *inbox, bool all, uint32_t epoch)
{
    struct inbox_item **link = &inbox->first;
    while (*link) {
        struct inbox_item *item = *link;
        if (!all && item->epoch != epoch) {
            link = &item->next;
            continue;
        }
        *link = item->next;
        __atomic_store_n(&inbox->waiting, inbox->waiting - 1, __ATOMIC_RELAXED);
        if (item->type == INBOX_MESSAGE)
            message_free_locked(inbox, (struct inbox_message *)item);
    }
    inbox->last = link;
}

void inbox_purge(struct inbox *inbox, uint32_t epoch)
{
    pthread_mutex_lock(&inbox->mutex);
    remove_locked(inbox, false, epoch);
    pthread_mutex_unlock(&inbox->mutex);
}

struct inbox *inbox_free(struct inbox *inbox)
{
    if (!inbox)
        return NULL;
    remove_locked(inbox, true, 0);
    close(inbox->fd);
    pthread_mutex_destroy(&inbox->mutex);
    free(inbox);
    return NULL;
}

uint64_t inbox_n_dropped(struct inbox *inbox)
{
    pthread_mutex_lock(&inbox->mutex);
    uint64_t dropped = inbox->dropped;
    pthread_mutex_unlock(&inbox->mutex);
    return dropped;
}
