/*
 * The connection: opens it, watches who owns the service's name, reads the tree, and starts again
 * with a backoff when any of it goes. Must not know what the objects mean.
 *
 * Order of the bootstrap: matches, GetNameOwner, GetManagedObjects, all pipelined. Signals before
 * the tree's reply are dropped, because BlueZ flushes its pending signals before a reply. A match
 * that cannot be installed closes the connection (sd-bus does that itself when nobody listens to
 * the answer), so nothing waits for it.
 */
#include "bluez/internal.h"

#include "util/log.h"
#include "util/time.h"
#include <stdlib.h>
#include <string.h>

#define BACKOFF_MIN_US       MS_TO_US(250)
#define BACKOFF_MAX_US       S_TO_US(10)
#define ACTIVATE_AFTER_US    S_TO_US(10)
#define BOOTSTRAP_TIMEOUT_US S_TO_US(25)
#define ACCURACY_US          MS_TO_US(10)

#define DBUS_SERVICE "org.freedesktop.DBus"
#define DBUS_PATH    "/org/freedesktop/DBus"

static void enter_state(struct bluez *bluez, enum bluez_state state)
{
    bluez->state = state;
    bool waits = state == BLUEZ_STATE_NO_OWNER && !bluez->activated && !bluez->options.bus;
    (void)sd_event_source_set_time_relative(bluez->activate, ACTIVATE_AFTER_US);
    (void)sd_event_source_set_enabled(bluez->activate, waits ? SD_EVENT_ONESHOT : SD_EVENT_OFF);
}

static void retry_after(struct bluez *bluez, uint64_t delay_us)
{
    int r = sd_event_source_set_time_relative(bluez->retry, delay_us);

    if (r >= 0)
        r = sd_event_source_set_enabled(bluez->retry, SD_EVENT_ONESHOT);
    if (r < 0)
        log_error("bluez", "cannot set a timer: %s", strerrordesc_np(-r));
}

static void retry_with_backoff(struct bluez *bluez)
{
    retry_after(bluez, bluez->backoff_us);
    bluez->backoff_us = MIN_OF(bluez->backoff_us * 2, (uint64_t)BACKOFF_MAX_US);
}

/* All that was known is void. Tells the core unless it heard the same before. */
static void go_down(struct bluez *bluez, enum bluez_state state, const char *reason,
                    const char *text)
{
    bool told = bluez->down_reason && strcmp(bluez->down_reason, reason) == 0;

    bluez->owner_slot = sd_bus_slot_unref(bluez->owner_slot);
    bluez->tree_slot = sd_bus_slot_unref(bluez->tree_slot);
    free(bluez->owner);
    bluez->owner = NULL;
    bluez_calls_drop(bluez);
    bluez_tree_clear(bluez);
    enter_state(bluez, state);
    if (told)
        return;
    bluez->down_reason = reason;
    struct event event = {.type = EVENT_BLUEZ_DOWN};
    event.bluez_down.reason = reason;
    event.bluez_down.text = text;
    bluez_emit(bluez, &event);
}

static void close_bus(struct bluez *bluez)
{
    bluez->owner_match = sd_bus_slot_unref(bluez->owner_match);
    bluez->changed_match = sd_bus_slot_unref(bluez->changed_match);
    bluez->tree_match = sd_bus_slot_unref(bluez->tree_match);
    bluez->lost_match = sd_bus_slot_unref(bluez->lost_match);
    bluez->owner_slot = sd_bus_slot_unref(bluez->owner_slot);
    bluez->tree_slot = sd_bus_slot_unref(bluez->tree_slot);
    if (bluez->options.bus)
        bluez->bus = sd_bus_unref(bluez->bus);
    else
        bluez->bus = sd_bus_close_unref(bluez->bus);
}

bool bluez_bus_is_owner(const struct bluez *bluez, sd_bus_message *m)
{
    const char *sender = sd_bus_message_get_sender(m);

    if (!sender) /* a connection without a bus daemon has no senders */
        return bluez->options.bus != NULL;
    return bluez->owner && strcmp(sender, bluez->owner) == 0;
}

static bool set_owner(struct bluez *bluez, const char *owner)
{
    char *copy = strdup(owner);

    if (!copy)
        return false;
    free(bluez->owner);
    bluez->owner = copy;
    return true;
}

static void read_tree(struct bluez *bluez);

static int on_tree(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
    struct bluez *bluez = userdata;
    const sd_bus_error *error = sd_bus_message_get_error(m);

    bluez->tree_slot = sd_bus_slot_unref(bluez->tree_slot);
    if (error) {
        struct bt_result result = errors_classify(ERRORS_ANY, error->name, error->message);
        if (sd_bus_error_has_name(error, SD_BUS_ERROR_SERVICE_UNKNOWN) ||
            sd_bus_error_has_name(error, SD_BUS_ERROR_NAME_HAS_NO_OWNER)) {
            go_down(bluez, BLUEZ_STATE_NO_OWNER, "no_bluez", "bluetoothd is not running");
            return 0;
        }
        go_down(bluez, BLUEZ_STATE_NO_OWNER,
                result.status == BT_STATUS_ACCESS_DENIED ? "access_denied" : "no_bluez",
                error->message);
        retry_with_backoff(bluez);
        return 0;
    }
    const char *sender = sd_bus_message_get_sender(m);
    if (sender && !bluez->owner)
        (void)set_owner(bluez, sender);
    int r = bluez_tree_load(bluez, m);
    if (r < 0) {
        go_down(bluez, BLUEZ_STATE_NO_OWNER, "no_bluez", "its object tree is not readable");
        retry_with_backoff(bluez);
        return 0;
    }
    bluez->backoff_us = BACKOFF_MIN_US;
    bluez->down_reason = NULL;
    bluez->activated = false;
    enter_state(bluez, BLUEZ_STATE_UP);
    bluez_tree_tell(bluez);
    return 0;
}

static void read_tree(struct bluez *bluez)
{
    sd_bus_message *m = NULL;

    enter_state(bluez, BLUEZ_STATE_READING);
    bluez->tree_slot = sd_bus_slot_unref(bluez->tree_slot);
    int r = bluez_message_new(bluez, "/", MANAGER_INTERFACE, "GetManagedObjects", &m);
    if (r >= 0)
        r = sd_bus_call_async(bluez->bus, &bluez->tree_slot, m, on_tree, bluez,
                              BOOTSTRAP_TIMEOUT_US);
    sd_bus_message_unref(m);
    if (r < 0) {
        go_down(bluez, BLUEZ_STATE_NO_OWNER, "no_bluez", strerrordesc_np(-r));
        retry_with_backoff(bluez);
    }
}

static int on_owner(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
    struct bluez *bluez = userdata;
    const sd_bus_error *error = sd_bus_message_get_error(m);
    const char *owner;

    bluez->owner_slot = sd_bus_slot_unref(bluez->owner_slot);
    if (error) {
        if (sd_bus_error_has_name(error, SD_BUS_ERROR_NAME_HAS_NO_OWNER))
            go_down(bluez, BLUEZ_STATE_NO_OWNER, "no_bluez", "bluetoothd is not running");
        return 0; /* else the tree's reply decides */
    }
    if (sd_bus_message_read(m, "s", &owner) > 0)
        (void)set_owner(bluez, owner);
    return 0;
}

/* who owns the name, and the tree, in one go */
static void bootstrap(struct bluez *bluez)
{
    bluez->owner_slot = sd_bus_slot_unref(bluez->owner_slot);
    int r = sd_bus_call_method_async(bluez->bus, &bluez->owner_slot, DBUS_SERVICE, DBUS_PATH,
                                     DBUS_SERVICE, "GetNameOwner", on_owner, bluez, "s",
                                     bluez->service);
    if (r < 0)
        log_debug("bluez", "GetNameOwner: %s", strerrordesc_np(-r));
    read_tree(bluez);
}

static int on_owner_changed(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
    struct bluez *bluez = userdata;
    const char *sender = sd_bus_message_get_sender(m);
    const char *name, *old_owner, *new_owner;

    if (!bluez->options.bus && (!sender || strcmp(sender, DBUS_SERVICE) != 0))
        return 0;
    if (!sd_bus_message_has_signature(m, "sss") ||
        sd_bus_message_read(m, "sss", &name, &old_owner, &new_owner) <= 0 ||
        strcmp(name, bluez->service) != 0)
        return 0;
    /* also when another takes over without a gap: nothing of the old one's is worth anything */
    if (bluez->state == BLUEZ_STATE_UP || new_owner[0] == '\0')
        go_down(bluez, BLUEZ_STATE_NO_OWNER, "no_bluez", "bluetoothd went away");
    if (new_owner[0] == '\0')
        return 0;
    bluez->owner_slot = sd_bus_slot_unref(bluez->owner_slot);
    (void)sd_event_source_set_enabled(bluez->retry, SD_EVENT_OFF);
    if (set_owner(bluez, new_owner))
        read_tree(bluez);
    return 0;
}

static int on_lost(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
    struct bluez *bluez = userdata;
    bool given = bluez->options.bus != NULL;

    close_bus(bluez);
    go_down(bluez, given ? BLUEZ_STATE_STOPPED : BLUEZ_STATE_NO_BUS, "no_bus",
            "the connection to the bus was lost");
    if (!given)
        retry_with_backoff(bluez);
    return 0;
}

static int add_match(struct bluez *bluez, sd_bus_slot **slot, const char *sender, const char *rule,
                     sd_bus_message_handler_t handler)
{
    _cleanup_(freep) char *match = NULL;

    /* without a bus daemon there are no senders, and a rule that names one never matches */
    int n = bluez->options.bus ? asprintf(&match, "type='signal',%s", rule)
                               : asprintf(&match, "type='signal',sender='%s',%s", sender, rule);
    if (n < 0)
        return -ENOMEM;
    return sd_bus_add_match_async(bluez->bus, slot, match, handler, NULL, bluez);
}

static int add_matches(struct bluez *bluez)
{
    _cleanup_(freep) char *owner_rule = NULL;

    if (asprintf(&owner_rule,
                 "path='" DBUS_PATH "',interface='" DBUS_SERVICE "',member='NameOwnerChanged',"
                 "arg0='%s'",
                 bluez->service) < 0)
        return -ENOMEM;
    /* sd-bus makes this one up when the connection ends */
    int r = sd_bus_add_match_async(bluez->bus, &bluez->lost_match,
                                   "type='signal',sender='org.freedesktop.DBus.Local',"
                                   "path='/org/freedesktop/DBus/Local',"
                                   "interface='org.freedesktop.DBus.Local',member='Disconnected'",
                                   on_lost, NULL, bluez);
    if (r < 0)
        return r;
    r = add_match(bluez, &bluez->owner_match, DBUS_SERVICE, owner_rule, on_owner_changed);
    if (r < 0)
        return r;
    r = add_match(bluez, &bluez->tree_match, bluez->service,
                  "path='/',interface='" MANAGER_INTERFACE "'", bluez_tree_on_objects);
    if (r < 0)
        return r;
    return add_match(bluez, &bluez->changed_match, bluez->service,
                     "interface='" PROPERTIES_INTERFACE "',member='PropertiesChanged'",
                     bluez_tree_on_properties);
}

static int open_bus(struct bluez *bluez)
{
    int r = 0;

    if (bluez->options.bus)
        bluez->bus = sd_bus_ref(bluez->options.bus);
    else
        r = sd_bus_open_system(&bluez->bus);
    if (r < 0)
        return r;
    r = sd_bus_set_exit_on_disconnect(bluez->bus, 0);
    if (r < 0)
        return r;
    if (!sd_bus_get_event(bluez->bus)) {
        r = sd_bus_attach_event(bluez->bus, bluez->options.event, SD_EVENT_PRIORITY_NORMAL);
        if (r < 0)
            return r;
    }
    return add_matches(bluez);
}

static int on_retry(sd_event_source *source, uint64_t usec, void *userdata)
{
    struct bluez *bluez = userdata;

    if (bluez->bus) {
        bootstrap(bluez);
        return 0;
    }
    int r = open_bus(bluez);
    if (r < 0) {
        bool denied = r == -EACCES || r == -EPERM;
        close_bus(bluez);
        go_down(bluez, BLUEZ_STATE_NO_BUS, denied ? "access_denied" : "no_bus",
                strerrordesc_np(-r));
        retry_with_backoff(bluez);
        return 0;
    }
    bootstrap(bluez);
    return 0;
}

static int on_activate(sd_event_source *source, uint64_t usec, void *userdata)
{
    struct bluez *bluez = userdata;

    if (bluez->state != BLUEZ_STATE_NO_OWNER || !bluez->bus)
        return 0;
    /* Debian does not restart a bluetoothd that crashed; the bus does when asked. The answer does
     * not matter: NameOwnerChanged tells. */
    bluez->activated = true;
    int r = sd_bus_call_method_async(bluez->bus, NULL, DBUS_SERVICE, DBUS_PATH, DBUS_SERVICE,
                                     "StartServiceByName", NULL, NULL, "su", bluez->service,
                                     (uint32_t)0);
    if (r < 0)
        log_debug("bluez", "StartServiceByName: %s", strerrordesc_np(-r));
    return 0;
}

int bluez_bus_start(struct bluez *bluez)
{
    bluez->backoff_us = BACKOFF_MIN_US;
    int r = sd_event_add_time_relative(bluez->options.event, &bluez->activate, CLOCK_MONOTONIC,
                                       ACTIVATE_AFTER_US, ACCURACY_US, on_activate, bluez);
    if (r < 0)
        return r;
    r = sd_event_source_set_enabled(bluez->activate, SD_EVENT_OFF);
    if (r < 0)
        return r;
    r = sd_event_add_time_relative(bluez->options.event, &bluez->retry, CLOCK_MONOTONIC, 0,
                                   ACCURACY_US, on_retry, bluez);
    if (r < 0)
        return r;
    enter_state(bluez, BLUEZ_STATE_NO_BUS);
    return 0;
}

void bluez_bus_stop(struct bluez *bluez)
{
    bluez->retry = sd_event_source_disable_unref(bluez->retry);
    bluez->activate = sd_event_source_disable_unref(bluez->activate);
    close_bus(bluez);
    free(bluez->owner);
    bluez->owner = NULL;
    bluez->state = BLUEZ_STATE_STOPPED;
}
