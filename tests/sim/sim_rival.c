/*
 * What another gateway with the same file, and perhaps another form of documents, tells Home
 * Assistant of the devices that it claims; its list names that first, as ours does. Must not know
 * when it comes and goes.
 */
#include "sim.h"

#include <stdio.h>
#include <string.h>

#define STAND_US 300000 /* it has found that its claim stands */
#define LIST     "g/bridge/attic/devices"

/* of each device; the last one is of an entity that our file does not have */
static const struct {
    enum discovery_mode form;
    const char *before, *after;
} documents[] = {
    {DISCOVERY_DEVICE, "ha/device/gatt2mqtt_", "/config"},
    {DISCOVERY_COMPONENT, "ha/sensor/gatt2mqtt_", "_e0_value/config"},
    {DISCOVERY_COMPONENT, "ha/sensor/gatt2mqtt_", "_status_link/config"},
    {DISCOVERY_COMPONENT, "ha/sensor/gatt2mqtt_", "_" SIM_RIVAL_ENTITY "_value/config"},
};

static const char *topic_of(size_t document, size_t peer, char *buf, size_t size)
{
    snprintf(buf, size, "%sd%zu%s", documents[document].before, peer, documents[document].after);
    return buf;
}

static void tell_list(struct sim *sim)
{
    char list[8192], topic[64];
    size_t n = (size_t)snprintf(list, sizeof(list), "{\"devices\":[");

    for (size_t i = 0; i < sim->n_devices; i++) {
        n += (size_t)snprintf(list + n, sizeof(list) - n, "%s{\"id\":\"d%zu\",\"topics\":[",
                              i ? "," : "", i);
        const char *comma = "";
        for (size_t d = 0; d < ARRAY_SIZE(documents); d++) {
            if (!(sim->rival_told[i] & 1u << documents[d].form))
                continue;
            n += (size_t)snprintf(list + n, sizeof(list) - n, "%s\"%s\"", comma,
                                  topic_of(d, i, topic, sizeof(topic)));
            comma = ",";
        }
        n += (size_t)snprintf(list + n, sizeof(list) - n, "]}");
    }
    snprintf(list + n, sizeof(list) - n, "]}");
    sim_say(sim, LIST, list);
}

/* it has read our list, and clears what is not its own */
static void clear_others(struct sim *sim, size_t peer)
{
    for (size_t i = sim->n_retained; i-- > 0;) {
        char topic[128];
        snprintf(topic, sizeof(topic), "%s", sim->retained[i].topic);
        if (sim_home_is_other(sim, topic, peer, sim->rival_form))
            sim_retain(sim, topic, "", 0);
    }
    sim->rival_told[peer] &= (uint8_t)(1u << sim->rival_form);
}

/* It claims what it does because we were gone: then we have heard of it, or hear nothing more. */
static void tell(struct sim *sim, uint64_t peer, uint64_t b)
{
    static const char claim[] = "{\"gateway\":\"attic\"}";
    char topic[64];

    if (sim->broker_up && (sim->frozen || sim->n_mails)) {
        sim_schedule(sim, STAND_US, tell, peer, 0);
        return;
    }
    snprintf(topic, sizeof(topic), "g/d%u/status/link", (unsigned)peer);
    const struct sim_mail *link = sim_retained(sim, topic);
    if (!sim->rival || !link || link->length != strlen(claim) ||
        memcmp(link->payload, claim, link->length) != 0)
        return;
    sim_trace(sim, "the other gateway tells Home Assistant of d%u", (unsigned)peer);
    if (sim->rival_form != DISCOVERY_OFF)
        sim->rival_told[peer] |= (uint8_t)(1u << sim->rival_form);
    tell_list(sim);
    for (size_t d = 0; d < ARRAY_SIZE(documents); d++)
        if (documents[d].form == sim->rival_form)
            sim_say(sim, topic_of(d, peer, topic, sizeof(topic)), "{\"unique_id\":\"x\"}");
    if (sim_chance(sim, 50)) /* else it has had no time for that */
        clear_others(sim, peer);
}

void sim_rival_comes(struct sim *sim)
{
    sim->rival_form = (enum discovery_mode)sim_below(sim, DISCOVERY_COMPONENT + 1);
}

void sim_rival_claims(struct sim *sim, size_t peer)
{
    if (!sim->settings.devices[peer].gateway && sim->options.seed % 2)
        sim_schedule(sim, STAND_US, tell, peer, 0);
}
