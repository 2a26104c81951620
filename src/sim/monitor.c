/*
 * Advertisement monitors on an adapter of the played org.bluez: what a bluetoothd with
 * --experimental offers for passive scanning. A client registers the root of its objects, we read
 * them, and call Activate on each monitor that is well-formed; while one is active, what its
 * patterns fit is heard as in a discovery. Discovering stays false. See service_private.h.
 *
 * Of the patterns only those of the flags are looked at (every peripheral here advertises 0x06:
 * general discoverable, no BR/EDR); RSSI thresholds are not played.
 */
#include "sim/service_private.h"

#include "util/cleanup.h"
#include "util/time.h"
#include <stdlib.h>
#include <string.h>

#define MANAGER_INTERFACE "org.freedesktop.DBus.ObjectManager"
#define MONITOR_INTERFACE "org.bluez.AdvertisementMonitor1"
#define AD_TYPE_FLAGS     0x01
#define FLAGS             0x06
#define MAX_MONITORS      32      /* of a client at an adapter */
#define LOST_US           5000000 /* BlueZ' default for RSSILowTimeout */
#define NOT_FOUND         0

struct sim_monitor {
    struct sim_monitor *next;
    char *path; /* owned */
    bool hears; /* its patterns fit what our peripherals advertise */
};

/* what one client registered at one adapter */
struct sim_monitor_app {
    struct sim_monitor_app *next;
    struct sim_hci *hci;          /* borrowed */
    char *owner, *root;           /* owned */
    sd_bus_slot *reading, *match; /* owned */
    sd_bus_message *call;         /* owned: RegisterMonitor, until its objects were read */
    struct sim_monitor *monitors; /* owned */
    size_t n_monitors;
    uint64_t *heard_us;     /* owned: of each peripheral of the world that is found, when last */
    sd_event_source *timer; /* owned: somebody may be lost */
};

static struct sim_hci *hci_of(struct sim_object *o)
{
    return (struct sim_hci *)o;
}

/* ---- what a client has ---- */

static void free_monitor(struct sim_monitor_app *app, struct sim_monitor *monitor)
{
    LL_DELETE(app->monitors, monitor);
    app->n_monitors--;
    free(monitor->path);
    free(monitor);
}

static void free_app(struct sim_monitor_app *app)
{
    LL_DELETE(app->hci->monitor_apps, app);
    while (app->monitors)
        free_monitor(app, app->monitors);
    sd_bus_slot_unref(app->reading);
    sd_bus_slot_unref(app->match);
    sd_bus_message_unref(app->call);
    sd_event_source_disable_unref(app->timer);
    free(app->heard_us);
    free(app->owner);
    free(app->root);
    free(app);
}

static struct sim_monitor_app *find_app(struct sim_hci *hci, const char *owner, const char *root)
{
    struct sim_monitor_app *app;

    LL_FOREACH (hci->monitor_apps, app)
        if (strcmp(app->owner, owner) == 0 && strcmp(app->root, root) == 0)
            return app;
    return NULL;
}

bool sim_hci_monitors(const struct sim_hci *hci)
{
    const struct sim_monitor_app *app;
    const struct sim_monitor *monitor;

    LL_FOREACH (hci->monitor_apps, app)
        LL_FOREACH (app->monitors, monitor)
            if (monitor->hears)
                return true;
    return false;
}

void sim_hci_monitor_vanished(struct sim_hci *hci, const char *owner)
{
    struct sim_monitor_app *app, *next;

    LL_FOREACH_SAFE (hci->monitor_apps, app, next)
        if (strcmp(app->owner, owner) == 0)
            free_app(app);
    sim_hci_update_adverts(hci);
}

void sim_hci_forget_monitors(struct sim_hci *hci)
{
    while (hci->monitor_apps)
        free_app(hci->monitor_apps);
}

/* ---- its objects ---- */

/* `device`: the object that is its argument, or NULL */
static void call_monitor(struct sim_monitor_app *app, const char *path, const char *method,
                         const char *device)
{
    sd_bus_message *m = NULL;
    const char *owner = *app->owner ? app->owner : NULL; /* without a bus daemon: who else */

    sim_objects_flush(app->hci->bluez);
    if (sd_bus_message_new_method_call(app->hci->bluez->bus, &m, owner, path, MONITOR_INTERFACE,
                                       method) >= 0 &&
        (!device || sd_bus_message_append(m, "o", device) >= 0)) {
        sim_sign(app->hci->bluez, m);
        sd_bus_message_set_expect_reply(m, 0);
        sim_send(app->hci->bluez, m);
    } else {
        sd_bus_message_unref(m);
    }
}

static void tell_device(struct sim_monitor_app *app, size_t peripheral, const char *method)
{
    const struct sim_device *d = app->hci->devices[peripheral];
    const struct sim_monitor *monitor;

    LL_FOREACH (app->monitors, monitor)
        if (monitor->hears && d && sim_object_exists(&d->object))
            call_monitor(app, monitor->path, method, d->object.path);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
    struct sim_monitor_app *app = userdata;
    struct sim_bluez *b = app->hci->bluez;
    uint64_t now_us = sim_bluez_now(b), next_us = TIME_NEVER;

    for (size_t i = 0; i < b->world->n_peripherals; i++) {
        if (app->heard_us[i] == NOT_FOUND)
            continue;
        if (app->heard_us[i] + LOST_US > now_us) {
            next_us = MIN_OF(next_us, app->heard_us[i] + LOST_US);
            continue;
        }
        app->heard_us[i] = NOT_FOUND;
        tell_device(app, i, "DeviceLost");
    }
    sim_timer_set(b, &app->timer, next_us, on_timer, app);
    return 0;
}

void sim_hci_monitor_heard(struct sim_hci *hci, size_t peripheral)
{
    uint64_t now_us = sim_bluez_now(hci->bluez);
    struct sim_monitor_app *app;
    int enabled = SD_EVENT_OFF;

    LL_FOREACH (hci->monitor_apps, app) {
        bool found = app->heard_us[peripheral] != NOT_FOUND;

        app->heard_us[peripheral] = MAX_OF(now_us, (uint64_t)1);
        if (!found)
            tell_device(app, peripheral, "DeviceFound");
        if (app->timer)
            sd_event_source_get_enabled(app->timer, &enabled);
        if (enabled == SD_EVENT_OFF)
            sim_timer_set(hci->bluez, &app->timer, now_us + LOST_US, on_timer, app);
    }
}

static int read_patterns(sd_bus_message *m, bool *ret_hears)
{
    uint8_t start, type;
    const void *content;
    size_t n;
    int r = sd_bus_message_enter_container(m, 'a', "(yyay)");

    while (r >= 0 && (r = sd_bus_message_enter_container(m, 'r', "yyay")) > 0) {
        r = sd_bus_message_read(m, "yy", &start, &type);
        if (r >= 0)
            r = sd_bus_message_read_array(m, 'y', &content, &n);
        if (r < 0)
            return r;
        if (type == AD_TYPE_FLAGS && start == 0 && n == 1 && *(const uint8_t *)content == FLAGS)
            *ret_hears = true;
        r = sd_bus_message_exit_container(m);
    }
    return r < 0 ? r : sd_bus_message_exit_container(m);
}

/* a{sv} of a monitor */
static int read_monitor(sd_bus_message *m, bool *ret_good, bool *ret_hears)
{
    const char *key, *type, *text;
    bool typed = false, patterned = false;
    int r = sd_bus_message_enter_container(m, 'a', "{sv}");

    while (r >= 0 && (r = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
        r = sd_bus_message_read(m, "s", &key);
        if (r >= 0)
            r = sd_bus_message_peek_type(m, NULL, &type);
        if (r >= 0)
            r = sd_bus_message_enter_container(m, 'v', type);
        if (r < 0)
            return r;
        if (strcmp(key, "Type") == 0 && strcmp(type, "s") == 0) {
            r = sd_bus_message_read(m, "s", &text);
            typed = r >= 0 && strcmp(text, "or_patterns") == 0;
        } else if (strcmp(key, "Patterns") == 0 && strcmp(type, "a(yyay)") == 0) {
            r = read_patterns(m, ret_hears);
            patterned = r >= 0;
        } else {
            r = sd_bus_message_skip(m, type);
        }
        if (r >= 0)
            r = sd_bus_message_exit_container(m);
        if (r >= 0)
            r = sd_bus_message_exit_container(m);
    }
    *ret_good = typed && patterned;
    return r < 0 ? r : sd_bus_message_exit_container(m);
}

static int add_monitor(struct sim_monitor_app *app, const char *path, bool hears)
{
    struct sim_monitor *monitor = calloc(1, sizeof(*monitor));

    if (!monitor)
        return -ENOMEM;
    monitor->path = strdup(path);
    if (!monitor->path) {
        free(monitor);
        return -ENOMEM;
    }
    monitor->hears = hears;
    LL_APPEND(app->monitors, monitor);
    app->n_monitors++;
    call_monitor(app, path, "Activate", NULL);
    sim_hci_update_adverts(app->hci);
    return 0;
}

/* oa{sa{sv}} */
static int take_object(struct sim_monitor_app *app, sd_bus_message *m)
{
    const char *path, *interface;
    int r = sd_bus_message_read(m, "o", &path);

    if (r >= 0)
        r = sd_bus_message_enter_container(m, 'a', "{sa{sv}}");
    while (r >= 0 && (r = sd_bus_message_enter_container(m, 'e', "sa{sv}")) > 0) {
        bool good = false, hears = false;

        r = sd_bus_message_read(m, "s", &interface);
        if (r < 0)
            return r;
        if (strcmp(interface, MONITOR_INTERFACE) != 0) {
            r = sd_bus_message_skip(m, "a{sv}");
        } else {
            r = read_monitor(m, &good, &hears);
            if (r >= 0 && good && app->n_monitors < MAX_MONITORS)
                r = add_monitor(app, path, hears);
            else if (r >= 0)
                call_monitor(app, path, "Release", NULL);
        }
        if (r >= 0)
            r = sd_bus_message_exit_container(m);
    }
    return r < 0 ? r : sd_bus_message_exit_container(m);
}

static int take_objects(struct sim_monitor_app *app, sd_bus_message *m)
{
    int r = sd_bus_message_enter_container(m, 'a', "{oa{sa{sv}}}");

    while (r >= 0 && (r = sd_bus_message_enter_container(m, 'e', "oa{sa{sv}}")) > 0) {
        r = take_object(app, m);
        if (r >= 0)
            r = sd_bus_message_exit_container(m);
    }
    return r < 0 ? r : sd_bus_message_exit_container(m);
}

static void drop_object(struct sim_monitor_app *app, sd_bus_message *m)
{
    struct sim_monitor *monitor, *next;
    const char *path;

    if (sd_bus_message_read(m, "o", &path) < 0)
        return;
    LL_FOREACH_SAFE (app->monitors, monitor, next)
        if (strcmp(monitor->path, path) == 0)
            free_monitor(app, monitor);
    sim_hci_update_adverts(app->hci);
}

void sim_hci_monitor_signal(struct sim_hci *hci, sd_bus_message *m)
{
    const char *path = sd_bus_message_get_path(m);
    struct sim_monitor_app *app = path ? find_app(hci, sim_sender(m), path) : NULL;

    if (!app || app->call)
        return; /* not registered yet: its objects are read then */
    if (sd_bus_message_is_signal(m, MANAGER_INTERFACE, "InterfacesAdded")) {
        if (take_object(app, m) < 0)
            return; /* unreadable: not a monitor */
    } else if (sd_bus_message_is_signal(m, MANAGER_INTERFACE, "InterfacesRemoved")) {
        drop_object(app, m);
    }
    sd_bus_message_rewind(m, 1); /* another adapter may have the same */
}

/* ---- AdvertisementMonitorManager1 ---- */

static int on_objects(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
    struct sim_monitor_app *app = userdata;
    sd_bus_message *call = app->call;
    struct sim_bluez *b = app->hci->bluez;

    app->reading = sd_bus_slot_unref(app->reading);
    app->call = NULL;
    if (sd_bus_message_is_method_error(m, NULL)) {
        free_app(app);
        sim_reply_error(b, call, BLUEZ_ERROR("Failed"), "Failed to create monitor app");
    } else {
        sim_reply_ok(b, call);
        (void)take_objects(app, m);
    }
    sd_bus_message_unref(call);
    return 0;
}

static int read_objects(struct sim_monitor_app *app)
{
    struct sim_bluez *b = app->hci->bluez;
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
    const char *owner = *app->owner ? app->owner : NULL;
    int r = sd_bus_message_new_method_call(b->bus, &m, owner, app->root, MANAGER_INTERFACE,
                                           "GetManagedObjects");

    if (r < 0)
        return r;
    sim_sign(b, m);
    return sd_bus_call_async(b->bus, &app->reading, m, on_objects, app, 0);
}

/* With a bus daemon signals of the client come only to who asked for them. */
static int watch_objects(struct sim_monitor_app *app)
{
    _cleanup_(freep) char *rule = NULL;

    if (app->hci->bluez->peer)
        return 0;
    if (asprintf(&rule, "type='signal',sender='%s',path='%s',interface='" MANAGER_INTERFACE "'",
                 app->owner, app->root) < 0)
        return -ENOMEM;
    /* sim_bluez' filter sees them */
    return sd_bus_add_match_async(app->hci->bluez->bus, &app->match, rule, NULL, NULL, NULL);
}

static int register_monitor(struct sim_object *o, sd_bus_message *m)
{
    struct sim_hci *hci = hci_of(o);
    const char *root;
    int r = sd_bus_message_read(m, "o", &root);

    if (r < 0)
        return r;
    if (find_app(hci, sim_sender(m), root)) {
        sim_reply_error(o->bluez, m, BLUEZ_ERROR("AlreadyExists"), "Already Exists");
        return 0;
    }
    struct sim_monitor_app *app = calloc(1, sizeof(*app));
    if (!app)
        return -ENOMEM;
    app->hci = hci;
    app->owner = strdup(sim_sender(m));
    app->root = strdup(root);
    app->heard_us = calloc(MAX_OF(o->bluez->world->n_peripherals, (size_t)1), sizeof(uint64_t));
    app->call = sd_bus_message_ref(m);
    LL_APPEND(hci->monitor_apps, app);
    r = app->owner && app->root && app->heard_us ? watch_objects(app) : -ENOMEM;
    if (r >= 0)
        r = read_objects(app);
    if (r < 0)
        free_app(app);
    return r < 0 ? r : 0;
}

static int unregister_monitor(struct sim_object *o, sd_bus_message *m)
{
    struct sim_hci *hci = hci_of(o);
    const char *root;
    int r = sd_bus_message_read(m, "o", &root);

    if (r < 0)
        return r;
    struct sim_monitor_app *app = find_app(hci, sim_sender(m), root);
    if (!app) {
        sim_reply_error(o->bluez, m, BLUEZ_ERROR("DoesNotExist"), "Does Not Exist");
        return 0;
    }
    free_app(app);
    sim_hci_update_adverts(hci);
    sim_reply_ok(o->bluez, m);
    return 0;
}

static int get_types(struct sim_object *o, sd_bus_message *m)
{
    return sd_bus_message_append(m, "as", 1, "or_patterns");
}

static int get_features(struct sim_object *o, sd_bus_message *m)
{
    return sd_bus_message_append(m, "as", 0);
}

static const struct sim_property properties[] = {
    {"SupportedMonitorTypes", "as", get_types, NULL, NULL},
    {"SupportedFeatures", "as", get_features, NULL, NULL},
};
static const struct sim_method methods[] = {
    {"RegisterMonitor", "o", register_monitor},
    {"UnregisterMonitor", "o", unregister_monitor},
};
const struct sim_interface sim_monitor_manager = {
    .name = "org.bluez.AdvertisementMonitorManager1",
    .properties = properties,
    .n_properties = ARRAY_SIZE(properties),
    .methods = methods,
    .n_methods = ARRAY_SIZE(methods),
};
