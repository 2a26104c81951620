/*
 * Home Assistant's part of the broker: which documents there are of which device, in which form.
 * Must not know how messages travel.
 */
#include "sim.h"

#include <stdio.h>
#include <string.h>

#define NOT_OURS SIZE_MAX

struct document {
    size_t peer; /* n_devices: the gateway itself; NOT_OURS: nothing of ours */
    enum discovery_mode form;
};

/* ha/<platform>/gatt2mqtt_d<n>_<entity>/config, ha/device/gatt2mqtt_d<n>/config */
static struct document parse(const struct sim *sim, const char *topic)
{
    struct document document = {.peer = NOT_OURS, .form = DISCOVERY_COMPONENT};
    size_t length = strlen(topic);
    const char *object = strstr(topic, "/gatt2mqtt_");

    if (strncmp(topic, "ha/", 3) != 0 || !object || length < 8 ||
        strcmp(topic + length - 7, "/config") != 0)
        return document;
    if (strncmp(topic, "ha/device/", 10) == 0)
        document.form = DISCOVERY_DEVICE;
    object += sizeof("/gatt2mqtt_") - 1;
    for (size_t i = 0; i <= sim->n_devices; i++) {
        char id[24];
        int n = i == sim->n_devices ? snprintf(id, sizeof(id), "bridge_gw")
                                    : snprintf(id, sizeof(id), "d%zu", i);
        if (strncmp(object, id, (size_t)n) == 0 &&
            object[n] == (document.form == DISCOVERY_DEVICE ? '/' : '_'))
            document.peer = i;
    }
    return document;
}

static bool is_migration(const void *payload, size_t length)
{
    return length == strlen(DISCOVERY_MIGRATE) && memcmp(payload, DISCOVERY_MIGRATE, length) == 0;
}

bool sim_home_is_other(const struct sim *sim, const char *topic, size_t peer,
                       enum discovery_mode form)
{
    struct document document = parse(sim, topic);

    return document.peer == peer && document.form != form;
}

/* how many there are of it in that form, not counting those that let go */
static size_t count(const struct sim *sim, size_t peer, enum discovery_mode form)
{
    size_t n = 0;

    for (size_t i = 0; i < sim->n_retained; i++) {
        const struct sim_mail *kept = &sim->retained[i];
        struct document document = parse(sim, kept->topic);
        n += document.peer == peer && document.form == form &&
             !is_migration(kept->payload, kept->length);
    }
    return n;
}

/* It cannot be as it should be. */
static bool is_excused(const struct sim *sim, size_t peer)
{
    return sim->ever_refused || (sim->ever_deaf && peer < sim->n_devices && sim->rival_told[peer]);
}

/* of devices that are held, in the form that is wanted, and not beside the other form */
void sim_home_document(struct sim *sim, const struct action *action)
{
    enum discovery_mode wanted = sim->settings.home_assistant.discovery;
    const char *topic = action->publish.topic;
    struct document document = parse(sim, topic);
    bool migrates = is_migration(action->publish.payload, action->publish.length);

    if (!sim->said_devices)
        sim_fail(sim, "%s is published before the list that has it", topic);
    if (document.peer == NOT_OURS) {
        sim_fail(sim, "published on %s", topic);
        return;
    }
    if (!action->publish.retain)
        sim_fail(sim, "%s is not retained", topic);
    if (document.peer < sim->n_devices && !sim->gateway->peers[document.peer]->speaks)
        sim_fail(sim, "published on %s without holding the device", topic);
    if (!action->publish.length) {
        if (document.form == DISCOVERY_DEVICE && wanted == DISCOVERY_DEVICE)
            sim_fail(sim, "%s is cleared, and wanted", topic);
        return;
    }
    if (wanted == DISCOVERY_OFF || migrates == (document.form == wanted))
        sim_fail(sim, "%s is published, and not wanted so", topic);
    enum discovery_mode other =
        document.form == DISCOVERY_DEVICE ? DISCOVERY_COMPONENT : DISCOVERY_DEVICE;
    /* nobody has answered yet who had the device before: it is told once more then */
    bool asks = document.peer < sim->n_devices && sim->gateway->peers[document.peer]->claim.before;
    if (!migrates && !is_excused(sim, document.peer) && !asks && count(sim, document.peer, other))
        sim_fail(sim, "%s: Home Assistant refuses it, for it has the other form still", topic);
}

/* When all is quiet: those that are wanted are there, and no others. */
void sim_home_check(struct sim *sim)
{
    enum discovery_mode wanted = sim->settings.home_assistant.discovery;

    for (size_t i = 0; i <= sim->n_devices; i++) {
        size_t devices = count(sim, i, DISCOVERY_DEVICE), n = count(sim, i, DISCOVERY_COMPONENT);
        size_t least = i < sim->n_devices ? 5 : 1; /* four about its link, and a value */

        if (is_excused(sim, i) || (i < sim->n_devices && !sim->gateway->peers[i]->speaks))
            continue;
        if (devices != (wanted == DISCOVERY_DEVICE) ||
            (wanted == DISCOVERY_COMPONENT ? n < least : n > 0))
            sim_fail(sim, "d%zu: there are %zu documents of the device, %zu of entities", i,
                     devices, n);
        for (size_t k = 0; k < sim->n_retained; k++)
            if (parse(sim, sim->retained[k].topic).peer == i &&
                (is_migration(sim->retained[k].payload, sim->retained[k].length) ||
                 strstr(sim->retained[k].topic, SIM_RIVAL_ENTITY)))
                sim_fail(sim, "%s is not cleared", sim->retained[k].topic);
    }
}
