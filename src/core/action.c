/* The list of actions and its arena; see action.h. */
#include "core/action.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARENA_BLOCK 4096

struct arena_block {
    struct arena_block *next;
    size_t used, size;
    char data[];
};

void actions_done(struct actions *actions)
{
    while (actions->blocks) {
        struct arena_block *block = actions->blocks;
        actions->blocks = block->next;
        free(block);
    }
    free(actions->list);
    *actions = ACTIONS_INIT;
}

void actions_reset(struct actions *actions)
{
    actions->n = 0;
    actions->failed = false;
    /* one block of ordinary size is kept, a burst's memory goes back */
    while (actions->blocks && (actions->blocks->next || actions->blocks->size > ARENA_BLOCK)) {
        struct arena_block *block = actions->blocks;
        actions->blocks = block->next;
        free(block);
    }
    if (actions->blocks)
        actions->blocks->used = 0;
}

struct action *actions_add(struct actions *actions, enum action_type type)
{
    struct action *action = &actions->spare;

    if (actions->n == actions->size) {
        size_t size = MAX_OF(actions->size * 2, (size_t)32);
        struct action *list = reallocarray(actions->list, size, sizeof(*list));
        if (!list) {
            actions->failed = true;
            goto out;
        }
        actions->list = list;
        actions->size = size;
    }
    action = &actions->list[actions->n++];
out:
    memset(action, 0, sizeof(*action));
    action->type = type;
    return action;
}

void *actions_copy(struct actions *actions, const void *data, size_t length)
{
    struct arena_block *block = actions->blocks;

    if (!block || block->size - block->used < length + 1) {
        size_t size = MAX_OF(length + 1, (size_t)ARENA_BLOCK);
        block = malloc(sizeof(*block) + size);
        if (!block) {
            actions->failed = true;
            return NULL;
        }
        block->used = 0;
        block->size = size;
        block->next = actions->blocks;
        actions->blocks = block;
    }
    char *copy = block->data + block->used;
    if (length)
        memcpy(copy, data, length);
    copy[length] = '\0';
    /* keeps what follows aligned for any plain type */
    block->used += MIN_OF((length + 1 + 15) & ~(size_t)15, block->size - block->used);
    return copy;
}

static char *format_into(struct actions *actions, const char *format, va_list ap)
{
    char text[1024];
    int n = vsnprintf(text, sizeof(text), format, ap);

    return actions_copy(actions, text, n < 0 ? 0 : MIN_OF((size_t)n, sizeof(text) - 1));
}

char *actions_printf(struct actions *actions, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    char *text = format_into(actions, format, ap);
    va_end(ap);
    return text;
}

void actions_log(struct actions *actions, enum log_level level, const char *area,
                 const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    char *text = format_into(actions, format, ap);
    va_end(ap);
    struct action *action = actions_add(actions, ACTION_LOG);
    action->log.level = level;
    action->log.area = area;
    action->log.text = text ? text : "(out of memory)";
}
