/* The section `commands`: what may be asked for by MQTT, and where answers may go. */
#include "config/parts.h"
#include "config/readers.h"
#include "config/suggest.h"
#include "core/request.h"
#include "core/topic.h"
#include <stdlib.h>
#include <string.h>

#define MAX_PREFIXES 16

/* false after a diagnostic */
static bool read_operation(struct reader *reader, const struct yaml_node *node,
                           enum operation *ret_operation)
{
    struct suggestion suggestion = suggestion_for(node->text ? node->text : "");
    char shown[SHOWN_SIZE];

    if (node->kind != YAML_KIND_SCALAR) {
        reader_error(reader, node, "'allow' has names of operations, not %s",
                     yaml_node_describe(node));
        return false;
    }
    *ret_operation = operation_find(node->text, strlen(node->text));
    if (*ret_operation != N_OPERATIONS)
        return true;
    for (enum operation i = 0; i < N_OPERATIONS; i++)
        suggestion_offer(&suggestion, operation_name(i));
    const char *best = suggestion_best(&suggestion);
    reader_error(reader, node, "there is no operation %s%s%s%s", reader_show(node, shown),
                 best ? "; did you mean '" : "", best ? best : "", best ? "'?" : "");
    return false;
}

void read_allow(struct reader *reader, const struct key *key, const struct yaml_node *node,
                void *target)
{
    struct settings *settings = target;
    enum operation operation;

    if (node->text == key->fallback) { /* the key is not there */
        settings->commands.allow = OPERATIONS_DEFAULT_BITS;
        return;
    }
    settings->commands.allow = 0;
    if (node->kind != YAML_KIND_SEQUENCE) {
        reader_wrong(reader, key, node, key->form);
        return;
    }
    for (size_t i = 0; i < node->n_items; i++)
        if (read_operation(reader, node->items[i], &operation)) {
            if (settings->commands.allow & OPERATION_BIT(operation))
                reader_error(reader, node->items[i], "'%s' stands here twice",
                             node->items[i]->text);
            settings->commands.allow |= OPERATION_BIT(operation);
        }
}

/* NULL: it will do */
static const char *wrong_prefix(const struct settings *settings, const char *text)
{
    const char *base = settings->gateway.base_topic;
    size_t length = base ? strlen(base) : 0;

    if (!topic_is_valid_name(text, strlen(text)) || strspn(text, "/") == strlen(text))
        return "is no topic: one or more levels, without + and #";
    if (*text == '$')
        return "starts with $: such topics belong to the broker";
    if (length && strncmp(text, base, length) == 0 && (!text[length] || text[length] == '/'))
        return "lies under 'gateway.base_topic': states and commands are there";
    return NULL;
}

void check_reply_to(struct reader *reader, const struct yaml_node *commands)
{
    const struct yaml_node *list = commands ? yaml_node_get(commands, "reply_to") : NULL;

    if (!list || list->kind != YAML_KIND_SEQUENCE)
        return;
    for (size_t i = 0; i < list->n_items; i++) {
        const struct yaml_node *item = list->items[i];
        const char *wrong =
            item->kind == YAML_KIND_SCALAR ? wrong_prefix(reader->settings, item->text) : NULL;
        if (wrong)
            reader_error(reader, item, "'%s' %s", item->text, wrong);
    }
}

void read_reply_to(struct reader *reader, const struct key *key, const struct yaml_node *node,
                   void *target)
{
    struct settings *settings = target;

    if (node->kind != YAML_KIND_SEQUENCE) {
        reader_wrong(reader, key, node, key->form);
        return;
    }
    if (node->n_items > MAX_PREFIXES) {
        reader_error(reader, node, "'reply_to' has at most %d topics, not %zu", MAX_PREFIXES,
                     node->n_items);
        return;
    }
    settings->commands.reply_to =
        reader_array(reader, node->n_items, sizeof(*settings->commands.reply_to));
    for (size_t i = 0; settings->commands.reply_to && i < node->n_items; i++) {
        const struct yaml_node *item = node->items[i];

        if (item->kind != YAML_KIND_SCALAR)
            reader_wrong(reader, key, item, "a topic such as clients/answers");
        else
            settings->commands.reply_to[settings->commands.n_reply_to++] =
                reader_copy(reader, item->text);
    }
}
