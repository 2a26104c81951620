/*
 * Pairing: Device1.Pair, and the agent that BlueZ asks meanwhile. The agent is registered for each
 * pairing, with what it can do in it, and goes with it, so nothing has to be kept in order when
 * bluetoothd comes and goes; it is never the default agent. It knows one device, and refuses
 * whatever it is asked about another one, and whatever a person would have to see or to decide.
 */
#include "bluez/internal.h"

#include "util/log.h"
#include <string.h>

#define AGENT_PATH              "/org/gatt2mqtt/agent"
#define AGENT_INTERFACE         "org.bluez.Agent1"
#define AGENT_MANAGER_PATH      "/org/bluez"
#define AGENT_MANAGER_INTERFACE "org.bluez.AgentManager1"
#define REGISTER_TIMEOUT_US     S_TO_US(12)
#define PAIR_TIMEOUT_US         S_TO_US(90) /* a person may have to press something at the peer */

/* ---- what BlueZ asks ---- */

static int refuse(sd_bus_error *ret_error, const char *why)
{
    return sd_bus_error_set(ret_error, "org.bluez.Error.Rejected", why);
}

/* The pairing that the call is about, its first argument being the device; NULL: *ret_r is what to
 * return. */
static const struct call *asked(struct bluez *bluez, sd_bus_message *m, sd_bus_error *ret_error,
                                int *ret_r)
{
    const struct call *call = bluez->pairing;
    const char *path;

    if (!bluez_bus_is_owner(bluez, m)) {
        *ret_r = -EPERM;
        return NULL;
    }
    *ret_r = sd_bus_message_read(m, "o", &path);
    if (*ret_r < 0)
        return NULL;
    if (call && call->device && strcmp(path, call->device->object.path) == 0)
        return call;
    *ret_r = refuse(ret_error, "that device is not being paired");
    return NULL;
}

static int on_passkey(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
    int r;
    const struct call *call = asked(userdata, m, ret_error, &r);

    if (!call)
        return r;
    if (!call->pairing.has_passkey)
        return refuse(ret_error, "no passkey is known");
    return sd_bus_reply_method_return(m, "u", call->pairing.passkey);
}

/* numeric comparison: only somebody who was told the number can say yes */
static int on_confirmation(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
    uint32_t shown;
    int r;
    const struct call *call = asked(userdata, m, ret_error, &r);

    if (!call)
        return r;
    r = sd_bus_message_read(m, "u", &shown);
    if (r < 0)
        return r;
    if (!call->pairing.has_passkey || call->pairing.passkey != shown)
        return refuse(ret_error, "that number was not expected");
    return sd_bus_reply_method_return(m, NULL);
}

/* Just Works, which we asked for; not where a passkey was to keep others out */
static int on_authorization(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
    int r;
    const struct call *call = asked(userdata, m, ret_error, &r);

    if (!call)
        return r;
    if (call->pairing.has_passkey)
        return refuse(ret_error, "it is to be paired with a passkey");
    return sd_bus_reply_method_return(m, NULL);
}

static int on_person(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
    if (!bluez_bus_is_owner(userdata, m))
        return -EPERM;
    return refuse(ret_error, "nobody is here to see it");
}

static int on_nothing(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
    if (!bluez_bus_is_owner(userdata, m))
        return -EPERM;
    return sd_bus_reply_method_return(m, NULL);
}

/* UNPRIVILEGED: else sd-bus would ask the bus for the caller's rights, and wait for the answer. */
#define METHOD(name, in, out, handler) \
    SD_BUS_METHOD(name, in, out, handler, SD_BUS_VTABLE_UNPRIVILEGED)
static const sd_bus_vtable vtable[] = {
    SD_BUS_VTABLE_START(0),
    METHOD("Release", "", "", on_nothing),
    METHOD("Cancel", "", "", on_nothing),
    METHOD("RequestPasskey", "o", "u", on_passkey),
    METHOD("RequestConfirmation", "ou", "", on_confirmation),
    METHOD("RequestAuthorization", "o", "", on_authorization),
    METHOD("RequestPinCode", "o", "s", on_person),
    METHOD("DisplayPinCode", "os", "", on_person),
    METHOD("DisplayPasskey", "ouq", "", on_person),
    METHOD("AuthorizeService", "os", "", on_person),
    SD_BUS_VTABLE_END,
};

/* ---- a pairing ---- */

/* `argument`: an object path, or NULL; nobody waits for the answer */
static void tell(struct bluez *bluez, const char *path, const char *interface, const char *member,
                 const char *argument)
{
    sd_bus_message *m = NULL;
    int r = bluez_message_new(bluez, path, interface, member, &m);

    if (r >= 0 && argument)
        r = sd_bus_message_append(m, "o", argument);
    if (r >= 0)
        r = sd_bus_message_set_expect_reply(m, 0);
    if (r >= 0)
        r = sd_bus_send(bluez->bus, m, NULL);
    sd_bus_message_unref(m);
    if (r < 0)
        log_debug("bluez", "%s: %s", member, strerrordesc_np(-r));
}

void bluez_pairing_ends(struct call *call)
{
    struct bluez *bluez = call->bluez;

    if (bluez->pairing != call)
        return;
    bluez->pairing = NULL;
    if (bluez->state == BLUEZ_STATE_UP)
        tell(bluez, AGENT_MANAGER_PATH, AGENT_MANAGER_INTERFACE, "UnregisterAgent", AGENT_PATH);
    bluez->agent = sd_bus_slot_unref(bluez->agent);
}

static void on_registered(struct call *call, sd_bus_message *reply, struct bt_result result)
{
    sd_bus_message *m = NULL;

    if (result.status != BT_STATUS_OK) {
        bluez_call_end(call, result);
        return;
    }
    int r = bluez_message_new(call->bluez, call->device->object.path, DEVICE_INTERFACE, "Pair", &m);
    bluez_call_send(call, r, m, PAIR_TIMEOUT_US, bluez_call_reply_end);
}

/* The core asks for the next one when this one is over for it, whatever BlueZ waits for. */
static void supersede(struct call *call)
{
    tell(call->bluez, call->device->object.path, DEVICE_INTERFACE, "CancelPairing", NULL);
    bluez_call_end_later(call, (struct bt_result){.status = BT_STATUS_CANCELLED});
}

void bluez_pair(struct call *call, struct device *device)
{
    struct bluez *bluez = call->bluez;
    sd_bus_message *m = NULL;

    call->device = device;
    if (bluez->pairing)
        supersede(bluez->pairing);
    bluez->pairing = call;
    int r = bluez->bus ? sd_bus_add_object_vtable(bluez->bus, &bluez->agent, AGENT_PATH,
                                                  AGENT_INTERFACE, vtable, bluez)
                       : -ENOTCONN;
    if (r >= 0)
        r = bluez_message_new(bluez, AGENT_MANAGER_PATH, AGENT_MANAGER_INTERFACE, "RegisterAgent",
                              &m);
    if (r >= 0)
        r = sd_bus_message_append(m, "os", AGENT_PATH,
                                  call->pairing.has_passkey ? "KeyboardOnly" : "NoInputNoOutput");
    bluez_call_send(call, r, m, REGISTER_TIMEOUT_US, on_registered);
}
