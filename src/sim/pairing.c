/*
 * AgentManager1 and pairing of the played org.bluez: agents of clients, Device1.Pair, and what
 * BlueZ asks an agent meanwhile. A peripheral pairs by Just Works, by a passkey that it shows, or
 * not at all. An agent is the client's own; none is ever the default one of others. See
 * service_private.h.
 */
#include "sim/service_private.h"

#include "util/cleanup.h"
#include "util/time.h"
#include <stdlib.h>
#include <string.h>

#define AGENT_INTERFACE "org.bluez.Agent1"
#define PAIR_US         MS_TO_US(50) /* seen in the lab: 77 ms for all of it */
#define AGENT_US        60000000     /* BlueZ waits so long for an agent */

struct sim_agent {
    struct sim_agent *next;
    char *owner, *path, *capability; /* owned */
};

/* ---- agents ---- */

static struct sim_agent *find(struct sim_bluez *b, const char *owner)
{
    struct sim_agent *agent;

    LL_FOREACH (b->agents, agent)
        if (strcmp(agent->owner, owner) == 0)
            return agent;
    return NULL;
}

static void forget(struct sim_bluez *b, struct sim_agent *agent)
{
    LL_DELETE(b->agents, agent);
    free(agent->owner);
    free(agent->path);
    free(agent->capability);
    free(agent);
}

void sim_agent_vanished(struct sim_bluez *b, const char *owner)
{
    struct sim_agent *agent = find(b, owner);

    if (agent)
        forget(b, agent);
}

void sim_agents_forget(struct sim_bluez *b)
{
    while (b->agents)
        forget(b, b->agents);
}

static bool is_capability(const char *text)
{
    static const char *const known[] = {
        "", "DisplayOnly", "DisplayYesNo", "KeyboardOnly", "NoInputNoOutput", "KeyboardDisplay"};

    for (size_t i = 0; i < ARRAY_SIZE(known); i++)
        if (strcmp(known[i], text) == 0)
            return true;
    return false;
}

static int register_agent(struct sim_object *o, sd_bus_message *m)
{
    const char *path, *capability;
    int r = sd_bus_message_read(m, "os", &path, &capability);

    if (r < 0)
        return r;
    if (find(o->bluez, sim_sender(m))) {
        sim_reply_error(o->bluez, m, BLUEZ_ERROR("AlreadyExists"), "Already Exists");
        return 0;
    }
    if (!is_capability(capability)) {
        sim_reply_error(o->bluez, m, BLUEZ_ERROR("InvalidArguments"),
                        "Invalid arguments in method call");
        return 0;
    }
    struct sim_agent *agent = calloc(1, sizeof(*agent));
    if (!agent)
        return -ENOMEM;
    LL_PREPEND(o->bluez->agents, agent);
    agent->owner = strdup(sim_sender(m));
    agent->path = strdup(path);
    agent->capability = strdup(*capability ? capability : "KeyboardDisplay");
    if (!agent->owner || !agent->path || !agent->capability) {
        forget(o->bluez, agent);
        return -ENOMEM;
    }
    sim_reply_ok(o->bluez, m);
    return 0;
}

/* the caller's agent of that path, or an error was replied */
static struct sim_agent *own_agent(struct sim_object *o, sd_bus_message *m)
{
    struct sim_agent *agent = find(o->bluez, sim_sender(m));
    const char *path;

    if (sd_bus_message_read(m, "o", &path) >= 0 && agent && strcmp(agent->path, path) == 0)
        return agent;
    sim_reply_error(o->bluez, m, BLUEZ_ERROR("DoesNotExist"), "Does Not Exist");
    return NULL;
}

static int unregister_agent(struct sim_object *o, sd_bus_message *m)
{
    struct sim_agent *agent = own_agent(o, m);

    if (agent) {
        forget(o->bluez, agent);
        sim_reply_ok(o->bluez, m);
    }
    return 0;
}

static int request_default(struct sim_object *o, sd_bus_message *m)
{
    if (own_agent(o, m)) /* nothing pairs by itself here, so it is never asked */
        sim_reply_ok(o->bluez, m);
    return 0;
}

static const struct sim_method methods[] = {
    {"RegisterAgent", "os", register_agent},
    {"UnregisterAgent", "o", unregister_agent},
    {"RequestDefaultAgent", "o", request_default},
};
const struct sim_interface sim_agent_manager = {
    .name = "org.bluez.AgentManager1",
    .methods = methods,
    .n_methods = ARRAY_SIZE(methods),
};

/* ---- pairing ---- */

/* Nobody waits for Pair any more. */
static sd_bus_message *take_call(struct sim_device *d)
{
    sd_bus_message *call = d->pair;

    d->pair = NULL;
    d->pair_slot = sd_bus_slot_unref(d->pair_slot);
    sim_timer_set(d->hci->bluez, &d->pair_timer, TIME_NEVER, NULL, d);
    return call;
}

void sim_pairing_drop(struct sim_device *d)
{
    sd_bus_message_unref(take_call(d));
}

void sim_pairing_fail(struct sim_device *d, const char *name, const char *text)
{
    if (!d->pair)
        return;
    sd_bus_message *call = take_call(d);
    sim_reply_error(d->hci->bluez, call, name, text);
    sd_bus_message_unref(call);
}

static void refuse(struct sim_device *d)
{
    sim_pairing_fail(d, BLUEZ_ERROR("AuthenticationFailed"), "Authentication Failed");
}

static void succeed(struct sim_device *d)
{
    sd_bus_message *call = take_call(d);

    d->paired = true;
    d->temporary = false;
    d->peripheral->bonded = d->peripheral->secure = true;
    sim_object_changed(&d->object, "Paired");
    sim_object_changed(&d->object, "Bonded");
    sim_reply_ok(d->hci->bluez, call);
    sd_bus_message_unref(call);
}

static int on_agent(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
    struct sim_device *d = userdata;
    uint32_t passkey = UINT32_MAX;
    bool by_passkey = d->peripheral->pairing == SIM_PAIRING_PASSKEY;

    bool fits = !sd_bus_message_is_method_error(m, NULL) &&
                (!by_passkey ||
                 (sd_bus_message_read(m, "u", &passkey) >= 0 && passkey == d->peripheral->passkey));
    if (fits)
        succeed(d);
    else
        refuse(d);
    return 0;
}

static void ask(struct sim_device *d, const struct sim_agent *agent, const char *method)
{
    struct sim_bluez *b = d->hci->bluez;
    const char *owner = *agent->owner ? agent->owner : NULL; /* without a bus daemon: who else */
    sd_bus_message *m = NULL;

    sim_objects_flush(b);
    int r = sd_bus_message_new_method_call(b->bus, &m, owner, agent->path, AGENT_INTERFACE, method);
    if (r >= 0)
        r = sd_bus_message_append(m, "o", d->object.path);
    if (r >= 0) {
        sim_sign(b, m);
        r = sd_bus_call_async(b->bus, &d->pair_slot, m, on_agent, d, AGENT_US);
    }
    sd_bus_message_unref(m);
    if (r < 0)
        refuse(d);
}

static bool can_type(const struct sim_agent *agent)
{
    return strcmp(agent->capability, "KeyboardOnly") == 0 ||
           strcmp(agent->capability, "KeyboardDisplay") == 0;
}

static int on_pair(sd_event_source *source, uint64_t usec, void *userdata)
{
    struct sim_device *d = userdata;
    const struct sim_agent *agent = find(d->hci->bluez, sim_sender(d->pair));

    switch (d->peripheral->pairing) {
    case SIM_PAIRING_REFUSE: refuse(d); break;
    case SIM_PAIRING_PASSKEY:
        if (agent && can_type(agent))
            ask(d, agent, "RequestPasskey");
        else
            refuse(d); /* it insists on it */
        break;
    case SIM_PAIRING_JUST_WORKS:
        if (agent && strcmp(agent->capability, "NoInputNoOutput") != 0)
            ask(d, agent, "RequestAuthorization");
        else
            succeed(d);
        break;
    }
    return 0;
}

void sim_pairing_linked(struct sim_device *d)
{
    struct sim_bluez *b = d->hci->bluez;

    d->peripheral->secure = d->paired && d->peripheral->bonded;
    if (d->pair)
        sim_timer_set(b, &d->pair_timer, sim_bluez_now(b) + PAIR_US, on_pair, d);
}

int sim_device_pair(struct sim_object *o, sd_bus_message *m)
{
    struct sim_device *d = sim_device_of(o);

    if (d->paired) {
        sim_reply_error(o->bluez, m, BLUEZ_ERROR("AlreadyExists"), "Already Exists");
    } else if (d->pair) {
        sim_reply_error(o->bluez, m, BLUEZ_ERROR("InProgress"), "In Progress");
    } else if (!sim_hci_is_powered(d->hci)) {
        sim_reply_error(o->bluez, m, BLUEZ_ERROR("NotReady"), "Resource Not Ready");
    } else {
        d->pair = sd_bus_message_ref(m);
        if (d->connected)
            sim_pairing_linked(d);
        else if (!d->connecting)
            sim_device_begin_connect(d, NULL);
    }
    return 0;
}

int sim_device_cancel_pairing(struct sim_object *o, sd_bus_message *m)
{
    struct sim_device *d = sim_device_of(o);

    if (!d->pair) {
        sim_reply_error(o->bluez, m, BLUEZ_ERROR("DoesNotExist"), "Does Not Exist");
        return 0;
    }
    sim_pairing_cancel(d);
    sim_reply_ok(o->bluez, m);
    return 0;
}
