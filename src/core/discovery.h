/*
 * What Home Assistant is told, made of the settings and the schemas alone: in the form `device` one
 * document per device (`<prefix>/device/<id>/config`, Home Assistant 2024.11 or newer), in the form
 * `component` one per entity (`<prefix>/<platform>/<unique id>/config`), for others that read it.
 * Every field that is published is an entity; what can be written, a control. What Home Assistant
 * would refuse (a unit that does not fit the device class, a bad icon) is left out, never the
 * entity. Must not know peers' states or the outbox.
 */
#pragma once

#include "core/settings.h"
#include "util/strbuf.h"

#define DISCOVERY_MAX_BYTES  (256 * 1024) /* a longer document is not published */
#define DISCOVERY_TOPIC_SIZE 640          /* of a prefix and ids of the greatest lengths */
#define DISCOVERY_PATH_SIZE  192          /* of an entity: "sensor/climate_temperature" */
/* instead of a document: the entity's settings stay, another document will name it */
#define DISCOVERY_MIGRATE "{\"migrate_discovery\": true}"

static inline bool discovery_is_on(const struct settings *settings)
{
    return settings->home_assistant.discovery != DISCOVERY_OFF;
}

/* ---- topics; `device` is an id, or NULL for the gateway itself ---- */

/* of the document of the whole device; returns buf */
const char *discovery_topic(const struct settings *settings, const char *device,
                            char buf[static DISCOVERY_TOPIC_SIZE]);
/* of that of an entity, "sensor/climate_temperature" */
const char *discovery_entity_topic(const struct settings *settings, const char *device,
                                   const char *path, char buf[static DISCOVERY_TOPIC_SIZE]);
/* whether it may be one of theirs, of either form and under any prefix */
bool discovery_is_topic_of(const struct settings *settings, const char *device, const char *topic);
/* Which entity's it is under the present prefix; false: none's. */
bool discovery_path_of(const struct settings *settings, const char *device, const char *topic,
                       char path[static DISCOVERY_PATH_SIZE]);

/* the part of a gateway's topic that begins with the id of a device; NULL: it is of another form */
const char *discovery_ids_of(const char *topic, size_t *ret_length);

/* ---- entities ---- */

struct discovery_entity {
    const char *platform;
    const char *first, *second; /* its names: of the characteristic and the field, most often */
    const char *path;           /* "sensor/climate_temperature" */
    const char *unique_id;      /* "gatt2mqtt_kitchen_climate_temperature" */
    const char *keys;           /* its part of a document: a JSON object */
    size_t length;
};
typedef void (*discovery_visit)(void *data, const struct discovery_entity *entity);

/* all of a device, or (NULL) of the gateway itself, in the file's order; false: out of memory */
MUST_CHECK
bool discovery_each(const struct settings *settings, const struct device_settings *device,
                    discovery_visit visit, void *data);

/* ---- documents ---- */

struct discovery_about {
    const struct settings *settings;
    const struct device_settings *device; /* NULL: the gateway itself */
    const struct bt_address *address;     /* NULL while it is not known or changes */
    const char *version;
};
/* Of all its entities. Those of `gone` (paths), if any, are marked as removed, and what has their
 * names now is left out: so Home Assistant forgets them, and then wants the document anew. */
void discovery_write_device(struct strbuf *out, const struct discovery_about *about,
                            const char *const *gone, size_t n_gone);
void discovery_write_entity(struct strbuf *out, const struct discovery_about *about,
                            const struct discovery_entity *entity);
