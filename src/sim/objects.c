/*
 * The tree of objects on the bus and their signals, with the order that BlueZ's gdbus gives them:
 * changes wait for the end of a turn of the loop and are told together, but every reply sends what
 * waits first. Must not know what an object stands for.
 */
#include "sim/service_private.h"

#include "util/cleanup.h"
#include "util/strbuf.h"
#include <stdlib.h>
#include <string.h>

#define DBUS             "org.freedesktop.DBus"
#define PROPERTIES       DBUS ".Properties"
#define INTROSPECTABLE   DBUS ".Introspectable"
#define OBJECT_MANAGER   DBUS ".ObjectManager"
#define INVALID_ARGS     DBUS ".Error.InvalidArgs"
#define UNKNOWN_OBJECT   DBUS ".Error.UnknownObject"
#define UNKNOWN_METHOD   DBUS ".Error.UnknownMethod"
#define READ_ONLY        DBUS ".Error.PropertyReadOnly"
#define UNKNOWN_PROPERTY DBUS ".Error.UnknownProperty"
#define BAD_SIGNATURE    DBUS ".Error.InvalidSignature"

/* ---- the tree ---- */

static struct sim_object *find(struct sim_bluez *b, const char *path)
{
    struct sim_object *o = NULL;

    HASH_FIND_STR(b->by_path, path, o);
    return o;
}

/* The root has no interfaces of its own beyond ObjectManager, and is never announced. */
static bool is_announced(const struct sim_object *o)
{
    return o->interface != NULL;
}

static int on_idle(sd_event_source *source, void *userdata);

static void wait_for_idle(struct sim_object *o)
{
    struct sim_bluez *b = o->bluez;

    if (o->waits)
        DL_DELETE2(b->idle_queue, o, idle_previous, idle_next);
    else
        DL_APPEND2(b->flush_queue, o, flush_previous, flush_next);
    DL_APPEND2(b->idle_queue, o, idle_previous, idle_next);
    o->waits = true;
    if (!b->idle) {
        if (sd_event_add_defer(b->event, &b->idle, on_idle, b) < 0)
            return; /* out of memory: the next reply sends it */
        sd_event_source_set_priority(b->idle, SD_EVENT_PRIORITY_IDLE);
    }
    sd_event_source_set_enabled(b->idle, SD_EVENT_ONESHOT);
}

static void stop_waiting(struct sim_object *o)
{
    if (!o->waits)
        return;
    DL_DELETE2(o->bluez->flush_queue, o, flush_previous, flush_next);
    DL_DELETE2(o->bluez->idle_queue, o, idle_previous, idle_next);
    o->waits = false;
}

int sim_object_add(struct sim_object *o, struct sim_bluez *bluez, char *path,
                   const struct sim_interface *interface, struct sim_object *parent)
{
    if (!path)
        return -ENOMEM;
    *o =
        (struct sim_object){.bluez = bluez, .path = path, .interface = interface, .parent = parent};
    DL_APPEND2(bluez->objects, o, previous, next);
    HASH_ADD_KEYPTR(hh, bluez->by_path, o->path, strlen(o->path), o);
    if (is_announced(o)) {
        o->added = true;
        wait_for_idle(o);
    }
    return 0;
}

void sim_object_forget(struct sim_object *o)
{
    if (!o->path)
        return;
    stop_waiting(o);
    HASH_DEL(o->bluez->by_path, o);
    DL_DELETE2(o->bluez->objects, o, previous, next);
    free(o->path);
    *o = (struct sim_object){0};
}

/* ---- properties into messages ---- */

static bool property_exists(struct sim_object *o, const struct sim_property *p)
{
    return !p->exists || p->exists(o);
}

static int append_variant(struct sim_object *o, const struct sim_property *p, sd_bus_message *m)
{
    int r = sd_bus_message_open_container(m, 'v', p->signature);

    if (r >= 0)
        r = p->get(o, m);
    if (r >= 0)
        r = sd_bus_message_close_container(m);
    return r;
}

static int append_entry(struct sim_object *o, const struct sim_property *p, sd_bus_message *m)
{
    int r = sd_bus_message_open_container(m, 'e', "sv");

    if (r >= 0)
        r = sd_bus_message_append(m, "s", p->name);
    if (r >= 0)
        r = append_variant(o, p, m);
    if (r >= 0)
        r = sd_bus_message_close_container(m);
    return r;
}

static int append_properties(struct sim_object *o, const struct sim_interface *interface,
                             sd_bus_message *m)
{
    int r = sd_bus_message_open_container(m, 'a', "{sv}");

    for (size_t i = 0; r >= 0 && i < interface->n_properties; i++)
        if (property_exists(o, &interface->properties[i]))
            r = append_entry(o, &interface->properties[i], m);
    return r < 0 ? r : sd_bus_message_close_container(m);
}

static int append_interface(struct sim_object *o, const struct sim_interface *interface,
                            sd_bus_message *m)
{
    int r = sd_bus_message_open_container(m, 'e', "sa{sv}");

    if (r >= 0)
        r = sd_bus_message_append(m, "s", interface->name);
    if (r >= 0)
        r = append_properties(o, interface, m);
    return r < 0 ? r : sd_bus_message_close_container(m);
}

/* a{sa{sv}} */
static int append_interfaces(struct sim_object *o, sd_bus_message *m)
{
    int r = sd_bus_message_open_container(m, 'a', "{sa{sv}}");

    if (r >= 0)
        r = sd_bus_message_append(m, "{sa{sv}}", INTROSPECTABLE, 0);
    if (r >= 0)
        r = append_interface(o, o->interface, m);
    if (r >= 0 && o->extra)
        r = append_interface(o, o->extra, m);
    if (r >= 0)
        r = sd_bus_message_append(m, "{sa{sv}}", PROPERTIES, 0);
    return r < 0 ? r : sd_bus_message_close_container(m);
}

/* ---- signals ---- */

static void emit_added(struct sim_object *o)
{
    sd_bus_message *m = NULL;

    if (!o->added)
        return;
    if (o->parent && o->parent->added)
        emit_added(o->parent);
    o->added = false;
    if (sim_signal_new(o->bluez, "/", OBJECT_MANAGER, "InterfacesAdded", &m) < 0 ||
        sd_bus_message_append(m, "o", o->path) < 0 || append_interfaces(o, m) < 0)
        sd_bus_message_unref(m);
    else
        sim_send(o->bluez, m);
}

static int append_changes(struct sim_object *o, sd_bus_message *m)
{
    int r = sd_bus_message_append(m, "s", o->interface->name);

    if (r >= 0)
        r = sd_bus_message_open_container(m, 'a', "{sv}");
    for (size_t i = 0; r >= 0 && i < o->n_changed; i++)
        if (property_exists(o, &o->interface->properties[o->changed[i]]))
            r = append_entry(o, &o->interface->properties[o->changed[i]], m);
    if (r >= 0)
        r = sd_bus_message_close_container(m);
    if (r >= 0)
        r = sd_bus_message_open_container(m, 'a', "s");
    for (size_t i = o->n_changed; r >= 0 && i-- > 0;)
        if (!property_exists(o, &o->interface->properties[o->changed[i]]))
            r = sd_bus_message_append(m, "s", o->interface->properties[o->changed[i]].name);
    return r < 0 ? r : sd_bus_message_close_container(m);
}

static void emit_changed(struct sim_object *o)
{
    sd_bus_message *m = NULL;

    if (!o->n_changed)
        return;
    if (sim_signal_new(o->bluez, o->path, PROPERTIES, "PropertiesChanged", &m) < 0 ||
        append_changes(o, m) < 0)
        sd_bus_message_unref(m);
    else
        sim_send(o->bluez, m);
    o->n_changed = 0;
}

static void emit_waiting(struct sim_object *o)
{
    stop_waiting(o);
    emit_added(o);
    emit_changed(o);
}

void sim_objects_flush(struct sim_bluez *bluez)
{
    while (bluez->flush_queue)
        emit_waiting(bluez->flush_queue);
}

static int on_idle(sd_event_source *source, void *userdata)
{
    struct sim_bluez *b = userdata;

    while (b->idle_queue)
        emit_waiting(b->idle_queue);
    return 0;
}

static bool note_change(struct sim_object *o, const char *property)
{
    /* What is not announced yet is told by its announcement. */
    if (!o->path || o->added)
        return false;
    for (size_t i = 0; i < o->interface->n_properties; i++) {
        if (strcmp(o->interface->properties[i].name, property) != 0)
            continue;
        for (size_t k = 0; k < o->n_changed; k++)
            if (o->changed[k] == i)
                return true;
        o->changed[o->n_changed++] = (uint8_t)i;
        return true;
    }
    return false;
}

void sim_object_changed(struct sim_object *o, const char *property)
{
    if (note_change(o, property))
        wait_for_idle(o);
}

void sim_object_changed_now(struct sim_object *o, const char *property)
{
    if (note_change(o, property))
        emit_changed(o);
}

static int append_extra(struct sim_object *o, sd_bus_message *m)
{
    int r = sd_bus_message_append(m, "o", o->path);

    if (r >= 0)
        r = sd_bus_message_open_container(m, 'a', "{sa{sv}}");
    if (r >= 0)
        r = append_interface(o, o->extra, m);
    return r < 0 ? r : sd_bus_message_close_container(m);
}

void sim_object_set_extra(struct sim_object *o, const struct sim_interface *extra)
{
    const struct sim_interface *before = o->extra;
    sd_bus_message *m = NULL;
    int r;

    if (!o->path || before == extra)
        return;
    sim_objects_flush(o->bluez);
    o->extra = extra;
    r = sim_signal_new(o->bluez, "/", OBJECT_MANAGER,
                       extra ? "InterfacesAdded" : "InterfacesRemoved", &m);
    if (r >= 0)
        r = extra ? append_extra(o, m) : sd_bus_message_append(m, "oas", o->path, 1, before->name);
    if (r < 0)
        sd_bus_message_unref(m);
    else
        sim_send(o->bluez, m);
}

void sim_object_remove(struct sim_object *o)
{
    sd_bus_message *m = NULL;

    if (!o->path)
        return;
    if (!o->added) { /* else nobody knows of it */
        sim_object_set_extra(o, NULL);
        emit_changed(o);
        if (sim_signal_new(o->bluez, "/", OBJECT_MANAGER, "InterfacesRemoved", &m) < 0 ||
            sd_bus_message_append(m, "oas", o->path, 3, PROPERTIES, INTROSPECTABLE,
                                  o->interface->name) < 0)
            sd_bus_message_unref(m);
        else
            sim_send(o->bluez, m);
    }
    sim_object_forget(o);
}

/* ---- methods ---- */

static int reply_managed_objects(struct sim_bluez *b, sd_bus_message *call)
{
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
    int r = sd_bus_message_new_method_return(call, &reply);

    /* what waits is in the answer, but also goes out before it */
    sim_objects_flush(b);
    if (r >= 0)
        r = sd_bus_message_open_container(reply, 'a', "{oa{sa{sv}}}");
    for (struct sim_object *o = b->objects; r >= 0 && o; o = o->next) {
        if (!is_announced(o))
            continue;
        r = sd_bus_message_open_container(reply, 'e', "oa{sa{sv}}");
        if (r >= 0)
            r = sd_bus_message_append(reply, "o", o->path);
        if (r >= 0)
            r = append_interfaces(o, reply);
        if (r >= 0)
            r = sd_bus_message_close_container(reply);
    }
    if (r >= 0)
        r = sd_bus_message_close_container(reply);
    if (r >= 0)
        sim_reply(b, TAKE_PTR(reply));
    return r;
}

static const struct sim_property *find_property(const struct sim_interface *interface,
                                                const char *name)
{
    for (size_t i = 0; i < interface->n_properties; i++)
        if (strcmp(interface->properties[i].name, name) == 0)
            return &interface->properties[i];
    return NULL;
}

static int fail_format(struct sim_bluez *b, sd_bus_message *call, const char *name,
                       const char *format, const char *what)
{
    struct strbuf text = STRBUF_INIT;

    for (const char *f = format; *f; f++)
        if (*f == '*')
            strbuf_puts(&text, what);
        else
            strbuf_putc(&text, *f);
    sim_reply_error(b, call, name, strbuf_str(&text));
    strbuf_done(&text);
    return 0;
}

static const struct sim_interface *find_interface(const struct sim_object *o, const char *name)
{
    if (o->interface && strcmp(o->interface->name, name) == 0)
        return o->interface;
    return o->extra && strcmp(o->extra->name, name) == 0 ? o->extra : NULL;
}

static int reply_get(struct sim_object *o, sd_bus_message *call)
{
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
    const char *interface, *name;
    int r = sd_bus_message_read(call, "ss", &interface, &name);

    if (r < 0)
        return r;
    const struct sim_interface *i = find_interface(o, interface);
    if (!i)
        return fail_format(o->bluez, call, INVALID_ARGS, "No such interface '*'", interface);
    const struct sim_property *p = find_property(i, name);
    if (!p || !property_exists(o, p))
        return fail_format(o->bluez, call, INVALID_ARGS, "No such property '*'", name);
    r = sd_bus_message_new_method_return(call, &reply);
    if (r >= 0)
        r = append_variant(o, p, reply);
    if (r >= 0)
        sim_reply(o->bluez, TAKE_PTR(reply));
    return r;
}

static int reply_get_all(struct sim_object *o, sd_bus_message *call)
{
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
    const char *interface;
    int r = sd_bus_message_read(call, "s", &interface);

    if (r < 0)
        return r;
    const struct sim_interface *i = find_interface(o, interface);
    if (!i)
        return fail_format(o->bluez, call, INVALID_ARGS, "No such interface '*'", interface);
    r = sd_bus_message_new_method_return(call, &reply);
    if (r >= 0)
        r = append_properties(o, i, reply);
    if (r >= 0)
        sim_reply(o->bluez, TAKE_PTR(reply));
    return r;
}

static int do_set(struct sim_object *o, sd_bus_message *call)
{
    const char *interface, *name;
    int r = sd_bus_message_read(call, "ss", &interface, &name);

    if (r < 0)
        return r;
    const struct sim_interface *i = find_interface(o, interface);
    if (!i)
        return fail_format(o->bluez, call, INVALID_ARGS, "No such interface '*'", interface);
    const struct sim_property *p = find_property(i, name);
    if (!p)
        return fail_format(o->bluez, call, UNKNOWN_PROPERTY, "No such property '*'", name);
    if (!p->set)
        return fail_format(o->bluez, call, READ_ONLY, "Property '*' is not writable", name);
    if (sd_bus_message_enter_container(call, 'v', p->signature) <= 0)
        return fail_format(o->bluez, call, BAD_SIGNATURE, "Invalid signature for '*'", name);
    r = p->set(o, call);
    if (r == 0)
        sim_reply_ok(o->bluez, call);
    return MIN_OF(r, 0);
}

/* ---- introspection: for people with busctl or d-feet ---- */

static void describe_interface(const struct sim_interface *interface, struct strbuf *xml)
{
    strbuf_printf(xml, " <interface name=\"%s\">\n", interface->name);
    for (size_t i = 0; i < interface->n_methods; i++) {
        const char *s = interface->methods[i].signature;

        strbuf_printf(xml, "  <method name=\"%s\">", interface->methods[i].name);
        while (*s) {
            /* one complete type each: arrays of dict entries are the only containers here */
            size_t n = strncmp(s, "a{sv}", 5) == 0 ? 5 : *s == 'a' ? 2 : 1;
            strbuf_printf(xml, "<arg type=\"%.*s\" direction=\"in\"/>", (int)n, s);
            s += n;
        }
        strbuf_puts(xml, "</method>\n");
    }
    for (size_t i = 0; i < interface->n_properties; i++)
        strbuf_printf(xml, "  <property name=\"%s\" type=\"%s\" access=\"%s\"/>\n",
                      interface->properties[i].name, interface->properties[i].signature,
                      interface->properties[i].set ? "readwrite" : "read");
    strbuf_puts(xml, " </interface>\n");
}

/* where the part below a path begins */
static size_t below_length(const char *path)
{
    return strcmp(path, "/") == 0 ? 1 : strlen(path) + 1;
}

/* length of the next part of `full` below `path`, 0 if it is not below */
static size_t part_below(const char *full, const char *path)
{
    size_t n = below_length(path);

    if (strlen(full) <= n || strncmp(full, path, n - 1) != 0 || full[n - 1] != '/')
        return 0;
    return strcspn(full + n, "/");
}

/* whether no earlier object shows the same node */
static bool is_first_below(struct sim_bluez *b, const struct sim_object *o, const char *path)
{
    size_t part = part_below(o->path, path), n = below_length(path) + part;

    for (const struct sim_object *e = b->objects; part && e != o; e = e->next)
        if (part_below(e->path, path) == part && strncmp(e->path, o->path, n) == 0)
            return false;
    return part != 0;
}

static int reply_introspect(struct sim_bluez *b, struct sim_object *o, sd_bus_message *call)
{
    const char *path = sd_bus_message_get_path(call);
    struct strbuf xml = STRBUF_INIT;
    int r;

    strbuf_puts(&xml, "<!DOCTYPE node PUBLIC \"-//freedesktop//DTD D-BUS Object Introspection "
                      "1.0//EN\" \"http://www.freedesktop.org/standards/dbus/1.0/"
                      "introspect.dtd\">\n<node>\n");
    if (o && o->interface)
        describe_interface(o->interface, &xml);
    if (o && o->extra)
        describe_interface(o->extra, &xml);
    for (struct sim_object *below = b->objects; below; below = below->next)
        if (is_first_below(b, below, path))
            strbuf_printf(&xml, " <node name=\"%.*s\"/>\n", (int)part_below(below->path, path),
                          below->path + below_length(path));
    strbuf_puts(&xml, "</node>\n");

    sd_bus_message *reply = NULL;
    r = strbuf_ok(&xml) ? sd_bus_message_new_method_return(call, &reply) : -ENOMEM;
    if (r >= 0)
        r = sd_bus_message_append(reply, "s", strbuf_str(&xml));
    if (r >= 0)
        sim_reply(b, reply);
    else
        sd_bus_message_unref(reply);
    strbuf_done(&xml);
    return r;
}

static int fail_unknown(struct sim_bluez *b, sd_bus_message *call, bool found_object)
{
    struct strbuf text = STRBUF_INIT;
    const char *signature = sd_bus_message_get_signature(call, true);

    strbuf_printf(&text, "Method \"%s\" with signature \"%s\" on interface \"%s\" doesn't exist\n",
                  sd_bus_message_get_member(call), signature ? signature : "",
                  sd_bus_message_get_interface(call) ? sd_bus_message_get_interface(call)
                                                     : "(null)");
    /* the libdbus of old knew no other word */
    bool unknown_method = found_object || !sim_since(b, 555);
    sim_reply_error(b, call, unknown_method ? UNKNOWN_METHOD : UNKNOWN_OBJECT, strbuf_str(&text));
    strbuf_done(&text);
    return 0;
}

static int call_own_method(struct sim_object *o, sd_bus_message *m)
{
    const char *name = sd_bus_message_get_interface(m);
    const struct sim_interface *interface = name ? find_interface(o, name) : o->interface;

    for (size_t i = 0; interface && i < interface->n_methods; i++)
        if (strcmp(interface->methods[i].name, sd_bus_message_get_member(m)) == 0 &&
            sd_bus_message_has_signature(m, interface->methods[i].signature))
            return interface->methods[i].call(o, m);
    return fail_unknown(o->bluez, m, true);
}

static int call_method(struct sim_bluez *b, sd_bus_message *m)
{
    struct sim_object *o = find(b, sd_bus_message_get_path(m));

    if (sd_bus_message_is_method_call(m, INTROSPECTABLE, "Introspect"))
        return reply_introspect(b, o, m);
    if (!o)
        return fail_unknown(b, m, false);
    if (sd_bus_message_is_method_call(m, PROPERTIES, "Get"))
        return reply_get(o, m);
    if (sd_bus_message_is_method_call(m, PROPERTIES, "GetAll"))
        return reply_get_all(o, m);
    if (sd_bus_message_is_method_call(m, PROPERTIES, "Set"))
        return do_set(o, m);
    if (o == &b->root && sd_bus_message_is_method_call(m, OBJECT_MANAGER, "GetManagedObjects"))
        return reply_managed_objects(b, m);
    return call_own_method(o, m);
}

int sim_objects_dispatch(struct sim_bluez *bluez, sd_bus_message *m)
{
    int r = call_method(bluez, m);

    if (r == -ENOMEM)
        sim_reply_error(bluez, m, DBUS ".Error.NoMemory", "Out of memory");
    else if (r < 0)
        sim_reply_error(bluez, m, BLUEZ_ERROR("InvalidArguments"),
                        "Invalid arguments in method call");
    return 1;
}
