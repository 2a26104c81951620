/* Whether all entities have names of their own in Home Assistant: `a_b` and its `c` make the same
 * as `a` and its `b_c`. Must not know which entities there are. */
#include "config/parts.h"
#include "core/discovery.h"
#include "util/err.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GATEWAY_ITSELF SIZE_MAX
#define WORDS_SIZE     320

struct name {
    char *unique_id; /* owned */
    char *first;     /* owned */
    char *second;    /* owned */
    size_t device;
    size_t order; /* in the file */
};

struct names {
    struct name *list; /* owned */
    size_t n, size;
    size_t device; /* of those that are being added */
    bool failed;
};

static void add(void *data, const struct discovery_entity *entity)
{
    struct names *names = data;

    if (names->n == names->size) {
        size_t size = MAX_OF(names->size * 2, (size_t)64);
        struct name *list = reallocarray(names->list, size, sizeof(*list));
        if (!list) {
            names->failed = true;
            return;
        }
        names->list = list;
        names->size = size;
    }
    struct name *name = &names->list[names->n];
    *name = (struct name){.unique_id = strdup(entity->unique_id),
                          .first = strdup(entity->first),
                          .second = strdup(entity->second),
                          .device = names->device,
                          .order = names->n};
    names->n++;
    names->failed |= !name->unique_id || !name->first || !name->second;
}

static void names_done(struct names *names)
{
    for (size_t i = 0; i < names->n; i++) {
        free(names->list[i].unique_id);
        free(names->list[i].first);
        free(names->list[i].second);
    }
    free(names->list);
}

static int compare(const void *a, const void *b)
{
    const struct name *one = a, *other = b;
    int r = strcmp(one->unique_id, other->unique_id);

    return r ? r : (one->order > other->order) - (one->order < other->order);
}

/* where the characteristic or, if its profile has it, the device stands */
static const struct yaml_node *place_of(const struct yaml_node *devices, const struct name *name)
{
    const struct yaml_node *list = yaml_node_get(devices->items[name->device], "characteristics");

    for (size_t i = 0; list && list->kind == YAML_KIND_MAPPING && i < list->n_items; i++)
        if (strcmp(list->keys[i]->text, name->first) == 0)
            return list->keys[i];
    return devices->keys[name->device];
}

static const char *describe(const struct yaml_node *devices, const struct name *name,
                            char buf[static WORDS_SIZE])
{
    if (name->device == GATEWAY_ITSELF)
        snprintf(buf, WORDS_SIZE, "what is told of the gateway itself");
    else
        snprintf(buf, WORDS_SIZE, "'%s.%s' of '%s' in line %zu", name->first, name->second,
                 devices->keys[name->device]->text, place_of(devices, name)->line);
    return buf;
}

static void check_names(struct reader *reader, const struct yaml_node *devices,
                        const struct names *names)
{
    char words[WORDS_SIZE];

    for (size_t i = 0, same = 0; i < names->n; i++) {
        const struct name *name = &names->list[i];
        if (strcmp(name->unique_id, names->list[same].unique_id) != 0)
            same = i;
        if (same == i)
            continue;
        reader_error(
            reader, place_of(devices, name),
            "'%s.%s' of '%s' has the same name in Home Assistant, %s, as %s; rename one of "
            "them",
            name->first, name->second, devices->keys[name->device]->text, name->unique_id,
            describe(devices, &names->list[same], words));
    }
}

/* its document would be that of the gateway */
static void check_device_id(struct reader *reader, const struct yaml_node *name)
{
    const char *gateway = reader->settings->gateway.id;

    if (strncmp(name->text, "bridge_", 7) == 0 && strcmp(name->text + 7, gateway) == 0)
        reader_error(
            reader, name,
            "'%s' is what this gateway is called in Home Assistant; give the device another "
            "name",
            name->text);
}

void check_unique(struct reader *reader, const struct yaml_node *devices)
{
    const struct settings *settings = reader->settings;
    struct names names = {.device = GATEWAY_ITSELF};

    if (!discovery_is_on(settings) || reader->failed || reader->diags->n_errors)
        return; /* what has mistakes is not all there */
    names.failed |= !discovery_each(settings, NULL, add, &names);
    for (size_t i = 0; i < settings->n_devices; i++) {
        names.device = i;
        check_device_id(reader, devices->keys[i]);
        names.failed |= !discovery_each(settings, &settings->devices[i], add, &names);
    }
    if (names.failed) {
        reader->failed = true;
    } else if (names.n) {
        qsort(names.list, names.n, sizeof(*names.list), compare);
        check_names(reader, devices, &names);
    }
    names_done(&names);
}
