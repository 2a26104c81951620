/*
 * Which topics of Home Assistant are ours: the entities of each device (and of the gateway itself)
 * as the file has them, and those that Home Assistant was told of before and that are gone. Both
 * stand in the gateway's memory, the retained `bridge/<gateway>/devices`, before anything is told,
 * so that nothing is forgotten by a crash. `peer` NULL: the gateway itself. Must not know when
 * anything is said.
 */
#include "core/world.h"

#include "core/json.h"
#include "core/topic.h"
#include <stdlib.h>
#include <string.h>

#define TOLD_MAX 4096 /* entities of a device, as its memory may list them */

static struct announced *announced_of(struct gateway *gateway, struct peer *peer)
{
    return peer ? &peer->announced : &gateway->announced;
}

static const char *id_of(const struct peer *peer)
{
    return peer ? peer->settings->id : NULL;
}

static bool is_form(const struct gateway *gateway, enum discovery_mode mode)
{
    return gateway->settings->home_assistant.discovery == mode;
}

/* ---- the list ---- */

static void remove_entity(struct announced *announced, size_t index)
{
    free(announced->entities[index].path);
    announced->n_entities--;
    memmove(&announced->entities[index], &announced->entities[index + 1],
            (announced->n_entities - index) * sizeof(*announced->entities));
}

void announced_done(struct announced *announced)
{
    while (announced->n_entities)
        remove_entity(announced, announced->n_entities - 1);
    free(announced->entities);
    *announced = (struct announced){0};
}

/* Most often the one behind the last one that was found: *index. NULL: there is none. */
static struct announced_entity *find(const struct announced *announced, const char *path,
                                     size_t *index)
{
    for (size_t i = 0; i < announced->n_entities; i++) {
        size_t at = (*index + i) % announced->n_entities;
        if (strcmp(announced->entities[at].path, path) == 0) {
            *index = at + 1;
            return &announced->entities[at];
        }
    }
    return NULL;
}

struct announced_entity *announced_find(const struct announced *announced, const char *path,
                                        size_t *index)
{
    struct announced_entity *entity = find(announced, path, index);

    return entity && entity->now ? entity : NULL;
}

static struct announced_entity *add(struct announced *announced, const char *path)
{
    if (announced->n_entities == announced->size) {
        size_t size = MAX_OF(announced->size * 2, (size_t)8);
        struct announced_entity *entities =
            reallocarray(announced->entities, size, sizeof(*announced->entities));
        if (!entities)
            return NULL;
        announced->entities = entities;
        announced->size = size;
    }
    char *copy = strdup(path);
    if (!copy)
        return NULL;
    struct announced_entity *entity = &announced->entities[announced->n_entities++];
    *entity = (struct announced_entity){.path = copy};
    return entity;
}

/* ---- as the file has it ---- */

struct refresh {
    struct gateway *gateway;
    struct announced *announced;
    size_t index;
};

static void visit(void *data, const struct discovery_entity *entity)
{
    struct refresh *refresh = data;
    struct announced_entity *found = find(refresh->announced, entity->path, &refresh->index);

    if (!found)
        found = add(refresh->announced, entity->path);
    if (found)
        found->now = true;
    else
        refresh->gateway->counts.rejected++;
}

static void leave_entity(struct gateway *gateway, const struct peer *peer, const char *path)
{
    char topic[DISCOVERY_TOPIC_SIZE];

    memory_leave(gateway, peer ? id_of(peer) : MEMORY_GATEWAY,
                 discovery_entity_topic(gateway->settings, id_of(peer), path, topic));
}

static void refresh(struct gateway *gateway, struct peer *peer)
{
    struct announced *announced = announced_of(gateway, peer);
    struct refresh context = {.gateway = gateway, .announced = announced};

    if (announced->known)
        return;
    announced->known = true;
    for (size_t i = 0; i < announced->n_entities; i++) {
        announced->entities[i].before = announced->entities[i].now;
        announced->entities[i].now = false;
    }
    if (discovery_is_on(gateway->settings) &&
        !discovery_each(gateway->settings, peer ? peer->settings : NULL, visit, &context))
        gateway->counts.rejected++;
    for (size_t i = announced->n_entities; i-- > 0;) {
        const struct announced_entity *entity = &announced->entities[i];
        if (entity->now)
            continue;
        if (entity->before && is_form(gateway, DISCOVERY_COMPONENT) && (!peer || peer->ours))
            leave_entity(gateway, peer, entity->path);
        if (!entity->told)
            remove_entity(announced, i);
    }
}

void announced_refresh(struct gateway *gateway)
{
    if (!gateway->announced_stale)
        return;
    gateway->announced_stale = false;
    refresh(gateway, NULL);
    for (size_t i = 0; i < gateway->n_peers; i++)
        refresh(gateway, gateway->peers[i]);
}

void announced_change(struct gateway *gateway, struct peer *peer)
{
    struct announced *announced = announced_of(gateway, peer);

    announced->known = announced->marking = announced->said = false;
    gateway->announced_stale = true;
}

void announced_inherit(struct peer *peer, struct peer *old)
{
    SWAP(peer->announced, old->announced);
    announced_change(peer->gateway, peer);
}

/* Nothing of the settings that are about to go is announced any more. */
void announced_leave(struct gateway *gateway, struct peer *peer)
{
    struct announced *announced = announced_of(gateway, peer);
    char topic[DISCOVERY_TOPIC_SIZE];

    if (is_form(gateway, DISCOVERY_DEVICE))
        memory_leave(gateway, peer ? id_of(peer) : MEMORY_GATEWAY,
                     discovery_topic(gateway->settings, id_of(peer), topic));
    for (size_t i = 0; i < announced->n_entities; i++) {
        if (announced->entities[i].now && is_form(gateway, DISCOVERY_COMPONENT))
            leave_entity(gateway, peer, announced->entities[i].path);
        announced->entities[i].now = false;
    }
    announced_change(gateway, peer);
}

/* ---- the topics ---- */

static bool each_topic(struct gateway *gateway, struct peer *peer,
                       void (*take)(void *data, const char *topic), void *data)
{
    const struct announced *announced = announced_of(gateway, peer);
    char topic[DISCOVERY_TOPIC_SIZE];

    if (!discovery_is_on(gateway->settings))
        return false;
    if (is_form(gateway, DISCOVERY_DEVICE))
        take(data, discovery_topic(gateway->settings, id_of(peer), topic));
    for (size_t i = 0; is_form(gateway, DISCOVERY_COMPONENT) && i < announced->n_entities; i++)
        if (announced->entities[i].now)
            take(data, discovery_entity_topic(gateway->settings, id_of(peer),
                                              announced->entities[i].path, topic));
    return true;
}

static void write_topic(void *data, const char *topic)
{
    json_write_string(data, topic);
}

void announced_list_topics(struct gateway *gateway, struct peer *peer, struct json_writer *w)
{
    each_topic(gateway, peer, write_topic, w);
}

static void forget_topic(void *data, const char *topic)
{
    outbox_forget(data, topic);
}

static void keep_topic(void *data, const char *topic)
{
    const struct peer *peer = data;

    memory_leave(peer->gateway, id_of(peer), topic);
}

void announced_keep(struct peer *peer)
{
    each_topic(peer->gateway, peer, keep_topic, peer);
}

void announced_forget_queued(struct gateway *gateway, struct peer *peer)
{
    struct announced *announced = announced_of(gateway, peer);

    each_topic(gateway, peer, forget_topic, gateway->outbox);
    memory_forget_queued(gateway, peer ? id_of(peer) : MEMORY_GATEWAY);
    announced->hash = 0;
    announced->marking = announced->said = false;
    for (size_t i = 0; i < announced->n_entities; i++)
        announced->entities[i].hash = 0;
}

bool announced_is_topic(struct gateway *gateway, struct peer *peer, const char *topic)
{
    char text[DISCOVERY_TOPIC_SIZE];
    size_t index = 0;

    if (is_form(gateway, DISCOVERY_DEVICE))
        return strcmp(discovery_topic(gateway->settings, id_of(peer), text), topic) == 0;
    return is_form(gateway, DISCOVERY_COMPONENT) &&
           discovery_path_of(gateway->settings, id_of(peer), topic, text) &&
           announced_find(announced_of(gateway, peer), text, &index);
}

/* `a_b` and its `c` may have the topic that `a` and its `b_c` had in the file before. */
bool announced_is_anyones(struct gateway *gateway, const char *topic)
{
    size_t length;
    const char *id = discovery_ids_of(topic, &length);

    if (!id)
        return false;
    for (size_t i = 1; i <= length; i++) {
        if (i < length && id[i] != '_')
            continue;
        struct peer *peer = gateway_find_peer(gateway, id, i);
        if (peer && announced_is_topic(gateway, peer, topic))
            return true;
    }
    return announced_is_topic(gateway, NULL, topic);
}

/* ---- what Home Assistant was told ---- */

void announced_told(struct announced *announced)
{
    for (size_t i = 0; i < announced->n_entities; i++)
        announced->entities[i].told |= announced->entities[i].now;
}

static bool is_gone(const struct announced_entity *entity)
{
    return entity->told && !entity->now;
}

size_t announced_gone(const struct announced *announced, const char **paths, size_t size)
{
    size_t n = 0;

    for (size_t i = 0; i < announced->n_entities && n < size; i++) {
        const char *key = strchr(announced->entities[i].path, '/');
        bool again = !is_gone(&announced->entities[i]);
        for (size_t j = 0; j < n && !again; j++) /* a key stands in a document once */
            again = strcmp(strchr(paths[j], '/'), key) == 0;
        if (!again)
            paths[n++] = announced->entities[i].path;
    }
    return n;
}

void announced_forget_gone(struct announced *announced)
{
    const char *paths[ANNOUNCED_GONE_MAX];
    size_t n = announced_gone(announced, paths, ANNOUNCED_GONE_MAX);

    for (size_t i = announced->n_entities; i-- > 0;)
        for (size_t j = n; j-- > 0;)
            if (announced->entities[i].path == paths[j]) {
                remove_entity(announced, i);
                break;
            }
}

void announced_forget_told(struct announced *announced)
{
    for (size_t i = announced->n_entities; i-- > 0;) {
        announced->entities[i].told = false;
        if (!announced->entities[i].now)
            remove_entity(announced, i);
    }
}

void announced_list_entities(struct gateway *gateway, const struct peer *peer,
                             struct json_writer *w)
{
    const struct announced *announced = &peer->announced;
    bool any = false;

    for (size_t i = 0; i < announced->n_entities; i++) {
        const struct announced_entity *entity = &announced->entities[i];
        if (!entity->told && !(entity->now && is_form(gateway, DISCOVERY_DEVICE)))
            continue;
        if (!any) {
            json_write_key(w, "entities");
            json_write_array_begin(w);
        }
        any = true;
        json_write_string(w, entity->path);
    }
    if (any)
        json_write_array_end(w);
}

/* "sensor/climate_temperature" */
static bool is_path(const char *path)
{
    size_t platform = strspn(path, "abcdefghijklmnopqrstuvwxyz_");

    return platform && path[platform] == '/' && strlen(path) < DISCOVERY_PATH_SIZE &&
           topic_is_valid_id(path + platform + 1);
}

bool announced_remember(struct peer *peer, const char *path)
{
    struct announced *announced = &peer->announced;
    size_t index = announced->remembered;

    if (!discovery_is_on(peer->gateway->settings) || !is_path(path))
        return false;
    struct announced_entity *entity = find(announced, path, &index);
    announced->remembered = index;
    if (!entity && announced->n_entities < TOLD_MAX)
        entity = add(announced, path);
    announced->said = false; /* it may be one that is gone */
    if (entity)
        entity->told = true;
    else
        peer->gateway->counts.rejected++;
    return entity && is_gone(entity);
}
