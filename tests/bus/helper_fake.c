/* A BlueZ at the test's command; see helper_fake.h. */
#include "bus/helper_fake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define MANAGER     "org.freedesktop.DBus.ObjectManager"
#define PROPERTIES_ "org.freedesktop.DBus.Properties"
#define PATIENCE_US 5000000

#define OK(call) assert_true((call) >= 0)

/* --- events --- */

static void copy_bytes(struct seen *seen, const uint8_t **data, size_t length)
{
    assert_true(length <= sizeof(seen->data));
    if (length)
        memcpy(seen->data, *data, length);
    *data = seen->data;
}

static void copy_text(struct seen *seen, const char **text)
{
    if (!*text)
        return;
    snprintf(seen->text, sizeof(seen->text), "%s", *text);
    *text = seen->text;
}

static void copy_device(struct seen *seen, struct device_info *info)
{
    size_t used = 0;

    copy_text(seen, &info->name);
    assert_true(info->n_manufacturer <= 8 && info->n_uuids <= 8);
    for (size_t i = 0; i < info->n_manufacturer; i++) {
        seen->manufacturer[i] = info->manufacturer[i];
        if (info->manufacturer[i].length)
            memcpy(seen->data + used, info->manufacturer[i].data, info->manufacturer[i].length);
        seen->manufacturer[i].data = seen->data + used;
        used += info->manufacturer[i].length;
    }
    info->manufacturer = seen->manufacturer;
    if (info->n_uuids)
        memcpy(seen->uuids, info->uuids, info->n_uuids * sizeof(*info->uuids));
    info->uuids = seen->uuids;
}

static void on_emit(void *userdata, const struct event *event)
{
    struct fake *fake = userdata;
    struct seen *seen = calloc(1, sizeof(*seen));

    assert_non_null(seen);
    seen->event = *event;
    copy_text(seen, &seen->event.result.text);
    if (event->type == EVENT_ADAPTER) {
        fake->adapter = event->adapter;
        copy_text(seen, &seen->event.adapter_info.name);
    } else if (event->type == EVENT_DEVICE) {
        fake->device = event->device;
        copy_device(seen, &seen->event.device_info);
    } else if (event->type == EVENT_VALUE) {
        copy_bytes(seen, &seen->event.value.data, event->value.length);
    } else if (event->type == EVENT_READ_RESULT) {
        copy_bytes(seen, &seen->event.read.data, event->read.length);
    } else if (event->type == EVENT_BLUEZ_DOWN) {
        copy_text(seen, &seen->event.bluez_down.reason);
    } else if (event->type == EVENT_RESOLVE_RESULT && event->resolved.n_characteristics) {
        assert_true(event->resolved.n_characteristics <= 64);
        memcpy(seen->tree, event->resolved.characteristics,
               event->resolved.n_characteristics * sizeof(*seen->tree));
        seen->event.resolved.characteristics = seen->tree;
    } else if (event->type == EVENT_INSPECT_RESULT && event->inspected.n_attributes) {
        assert_true(event->inspected.n_attributes <= 64);
        memcpy(seen->attributes, event->inspected.attributes,
               event->inspected.n_attributes * sizeof(*seen->attributes));
        seen->event.inspected.attributes = seen->attributes;
    }
    if (fake->last)
        fake->last->next = seen;
    else
        fake->first = seen;
    fake->last = seen;
    if (fake->on_event)
        fake->on_event(fake, event);
}

void fake_settle(struct fake *fake)
{
    int r;

    while ((r = sd_event_run(fake->loop, 0)) > 0)
        ;
    OK(r);
}

static void run_once(struct fake *fake)
{
    int r = sd_event_run(fake->loop, PATIENCE_US);

    OK(r);
    if (r == 0)
        fail_msg("nothing happens any more");
}

const struct seen *fake_expect(struct fake *fake, enum event_type type)
{
    while (!fake->first)
        run_once(fake);
    free(fake->current);
    fake->current = fake->first;
    fake->first = fake->current->next;
    if (!fake->first)
        fake->last = NULL;
    assert_int_equal(fake->current->event.type, type);
    return fake->current;
}

void fake_expect_none(struct fake *fake)
{
    fake_settle(fake);
    if (fake->first)
        fail_msg("an event %d that nobody expected", fake->first->event.type);
}

/* --- calls --- */

static int on_call(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
    struct fake *fake = userdata;
    sd_bus_message *reply = NULL;

    if (sd_bus_message_is_method_call(m, NULL, "GetNameOwner")) {
        if (fake->owned)
            OK(sd_bus_reply_method_return(m, "s", fake->owner));
        else
            OK(sd_bus_reply_method_errorf(m, SD_BUS_ERROR_NAME_HAS_NO_OWNER, "nobody"));
        return 1;
    }
    if (sd_bus_message_is_method_call(m, NULL, "GetManagedObjects") && fake->tree) {
        if (!fake->owned) {
            OK(sd_bus_reply_method_errorf(m, SD_BUS_ERROR_SERVICE_UNKNOWN, "nobody"));
            return 1;
        }
        OK(sd_bus_message_new_method_return(m, &reply));
        fake->tree(fake, reply);
        OK(sd_bus_send(NULL, reply, NULL));
        sd_bus_message_unref(reply);
        return 1;
    }
    if (!sd_bus_message_is_method_call(m, NULL, NULL))
        return 0;
    assert_true(fake->n_calls < sizeof(fake->calls) / sizeof(fake->calls[0]));
    fake->calls[fake->n_calls++] = sd_bus_message_ref(m);
    return 1;
}

static sd_bus_message *take_call(struct fake *fake, const char *member)
{
    for (size_t i = 0; i < fake->n_calls; i++) {
        sd_bus_message *m = fake->calls[i];
        if (strcmp(sd_bus_message_get_member(m), member) != 0)
            continue;
        fake->n_calls--;
        memmove(&fake->calls[i], &fake->calls[i + 1], (fake->n_calls - i) * sizeof(m));
        return m;
    }
    return NULL;
}

sd_bus_message *fake_call(struct fake *fake, const char *member)
{
    sd_bus_message *m;

    while (!(m = take_call(fake, member)))
        run_once(fake);
    return m;
}

void fake_answer(struct fake *fake, const char *member)
{
    sd_bus_message *m = fake_call(fake, member);

    OK(sd_bus_reply_method_return(m, NULL));
    sd_bus_message_unref(m);
}

void fake_refuse(struct fake *fake, const char *member, const char *name, const char *text)
{
    sd_bus_message *m = fake_call(fake, member);
    const sd_bus_error error = SD_BUS_ERROR_MAKE_CONST(name, text);

    OK(sd_bus_reply_method_error(m, &error));
    sd_bus_message_unref(m);
}

void fake_answer_get(struct fake *fake, const char *property, const char *type, int value)
{
    const char *interface, *asked;
    sd_bus_message *m = fake_call(fake, "Get");

    OK(sd_bus_message_read(m, "ss", &interface, &asked));
    assert_string_equal(asked, property);
    OK(sd_bus_reply_method_return(m, "v", type, value));
    sd_bus_message_unref(m);
}

void fake_answer_bytes(struct fake *fake, const char *member, const void *data, size_t length)
{
    sd_bus_message *m = fake_call(fake, member), *reply = NULL;

    OK(sd_bus_message_new_method_return(m, &reply));
    OK(sd_bus_message_append_array(reply, 'y', data, length));
    OK(sd_bus_send(NULL, reply, NULL));
    sd_bus_message_unref(reply);
    sd_bus_message_unref(m);
}

/* --- signals --- */

static void append_value(sd_bus_message *m, const struct fake_property *p)
{
    char words[512], *word, *rest = words;

    OK(sd_bus_message_open_container(m, 'v', p->type));
    if (strcmp(p->type, "s") == 0 || strcmp(p->type, "o") == 0) {
        OK(sd_bus_message_append_basic(m, p->type[0], p->text));
    } else if (strcmp(p->type, "ay") == 0) {
        OK(sd_bus_message_append_array(m, 'y', p->bytes, p->length));
    } else if (strcmp(p->type, "as") == 0) {
        snprintf(words, sizeof(words), "%s", p->text);
        OK(sd_bus_message_open_container(m, 'a', "s"));
        while ((word = strsep(&rest, " ")))
            OK(sd_bus_message_append(m, "s", word));
        OK(sd_bus_message_close_container(m));
    } else if (strcmp(p->type, "a{qv}") == 0 || strcmp(p->type, "a{sv}") == 0) {
        bool by_number = p->type[2] == 'q';
        OK(sd_bus_message_open_container(m, 'a', by_number ? "{qv}" : "{sv}"));
        OK(sd_bus_message_open_container(m, 'e', by_number ? "qv" : "sv"));
        if (by_number)
            OK(sd_bus_message_append(m, "q", p->number));
        else
            OK(sd_bus_message_append(m, "s", p->text));
        OK(sd_bus_message_open_container(m, 'v', "ay"));
        OK(sd_bus_message_append_array(m, 'y', p->bytes, p->length));
        OK(sd_bus_message_close_container(m));
        OK(sd_bus_message_close_container(m));
        OK(sd_bus_message_close_container(m));
    } else {
        OK(sd_bus_message_append(m, p->type, p->number));
    }
    OK(sd_bus_message_close_container(m));
}

static void append_properties(sd_bus_message *m, const struct fake_property *properties)
{
    OK(sd_bus_message_open_container(m, 'a', "{sv}"));
    for (const struct fake_property *p = properties; p && p->key; p++) {
        OK(sd_bus_message_open_container(m, 'e', "sv"));
        OK(sd_bus_message_append(m, "s", p->key));
        append_value(m, p);
        OK(sd_bus_message_close_container(m));
    }
    OK(sd_bus_message_close_container(m));
}

void fake_append_interface(sd_bus_message *m, const char *interface,
                           const struct fake_property *properties)
{
    OK(sd_bus_message_open_container(m, 'e', "sa{sv}"));
    OK(sd_bus_message_append(m, "s", interface));
    append_properties(m, properties);
    OK(sd_bus_message_close_container(m));
}

void fake_send(struct fake *fake, sd_bus_message *signal_take)
{
    OK(sd_bus_send(fake->server, signal_take, NULL));
    sd_bus_message_unref(signal_take);
}

void fake_added(struct fake *fake, const char *path, const char *interface,
                const struct fake_property *properties)
{
    sd_bus_message *m;

    OK(sd_bus_message_new_signal(fake->server, &m, "/", MANAGER, "InterfacesAdded"));
    OK(sd_bus_message_append(m, "o", path));
    OK(sd_bus_message_open_container(m, 'a', "{sa{sv}}"));
    fake_append_interface(m, "org.freedesktop.DBus.Introspectable", NULL);
    fake_append_interface(m, interface, properties);
    OK(sd_bus_message_close_container(m));
    fake_send(fake, m);
}

void fake_removed(struct fake *fake, const char *path, const char *interface)
{
    sd_bus_message *m;

    OK(sd_bus_message_new_signal(fake->server, &m, "/", MANAGER, "InterfacesRemoved"));
    OK(sd_bus_message_append(m, "oas", path, 2, PROPERTIES_, interface));
    fake_send(fake, m);
}

void fake_changed(struct fake *fake, const char *path, const char *interface,
                  const struct fake_property *properties, const char *invalidated)
{
    sd_bus_message *m;

    OK(sd_bus_message_new_signal(fake->server, &m, path, PROPERTIES_, "PropertiesChanged"));
    OK(sd_bus_message_append(m, "s", interface));
    append_properties(m, properties);
    OK(sd_bus_message_append(m, "as", invalidated ? 1 : 0, invalidated));
    fake_send(fake, m);
}

void fake_set_owner(struct fake *fake, const char *owner)
{
    const char *before = fake->owned ? fake->owner : "";
    sd_bus_message *m;

    OK(sd_bus_message_new_signal(fake->server, &m, "/org/freedesktop/DBus", "org.freedesktop.DBus",
                                 "NameOwnerChanged"));
    OK(sd_bus_message_append(m, "sss", "org.bluez", before, owner ? owner : ""));
    fake->owned = owner != NULL;
    if (owner)
        fake->owner = owner;
    fake_send(fake, m);
}

/* --- the standard tree --- */

void fake_tree_begin(sd_bus_message *m, const char *path)
{
    OK(sd_bus_message_open_container(m, 'e', "oa{sa{sv}}"));
    OK(sd_bus_message_append(m, "o", path));
    OK(sd_bus_message_open_container(m, 'a', "{sa{sv}}"));
}

void fake_tree_end(sd_bus_message *m)
{
    OK(sd_bus_message_close_container(m));
    OK(sd_bus_message_close_container(m));
}

static void append_object(sd_bus_message *m, const char *path, const char *interface,
                          const struct fake_property *properties)
{
    fake_tree_begin(m, path);
    fake_append_interface(m, interface, properties);
    fake_tree_end(m);
}

static void append_device(sd_bus_message *m, bool connected)
{
    append_object(m, DEV, DEVICE,
                  PROPERTIES(TEXT("Address", "A4:C1:38:CF:01:56"), TEXT("AddressType", "random"),
                             TEXT("Name", "LYWSD03MMC"), BOOL("Connected", connected),
                             BOOL("ServicesResolved", connected), INT16("RSSI", -60)));
    append_object(m, HCI0, ADAPTER,
                  PROPERTIES(TEXT("Address", "00:11:22:33:44:55"), BOOL("Powered", 1),
                             BOOL("Discovering", 0)));
}

#define SVC_PROPERTIES PROPERTIES(TEXT("UUID", "0000180d-0000-1000-8000-00805f9b34fb"))
#define CHR_PROPERTIES                                                                             \
    PROPERTIES(TEXT("UUID", "00002a37-0000-1000-8000-00805f9b34fb"), LIST("Flags", "notify read"), \
               BOOL("Notifying", 0), BYTES("Value", "\x01"))
#define CHR2_PROPERTIES                                              \
    PROPERTIES(TEXT("UUID", "00002a39-0000-1000-8000-00805f9b34fb"), \
               LIST("Flags", "read write write-without-response"), UINT16("MTU", 23))

void fake_tree_plain(struct fake *fake, sd_bus_message *reply)
{
    OK(sd_bus_message_open_container(reply, 'a', "{oa{sa{sv}}}"));
    append_device(reply, false);
    OK(sd_bus_message_close_container(reply));
}

/* children first, as BlueZ may */
void fake_tree_connected(struct fake *fake, sd_bus_message *reply)
{
    OK(sd_bus_message_open_container(reply, 'a', "{oa{sa{sv}}}"));
    append_object(reply, CHR2, CHARACTERISTIC, CHR2_PROPERTIES);
    append_object(reply, CHR, CHARACTERISTIC, CHR_PROPERTIES);
    append_object(reply, SVC, SERVICE, SVC_PROPERTIES);
    append_device(reply, true);
    OK(sd_bus_message_close_container(reply));
}

void fake_add_characteristics(struct fake *fake)
{
    fake_added(fake, SVC, SERVICE, SVC_PROPERTIES);
    fake_added(fake, CHR2, CHARACTERISTIC, CHR2_PROPERTIES);
    fake_added(fake, CHR, CHARACTERISTIC, CHR_PROPERTIES);
}

/* --- the whole --- */

struct fake *fake_new_mute(void)
{
    struct fake *fake = calloc(1, sizeof(*fake));
    int pair[2];

    assert_non_null(fake);
    fake->owned = true;
    fake->owner = ":1.1";
    fake->tree = fake_tree_plain;
    OK(sd_event_new(&fake->loop));
    OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair));
    OK(sd_bus_new(&fake->server));
    OK(sd_bus_set_fd(fake->server, pair[0], pair[0]));
    OK(sd_bus_set_server(fake->server, 1,
                         SD_ID128_MAKE(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)));
    OK(sd_bus_negotiate_fds(fake->server, 1));
    OK(sd_bus_start(fake->server));
    OK(sd_bus_attach_event(fake->server, fake->loop, 0));
    OK(sd_bus_new(&fake->client));
    OK(sd_bus_set_fd(fake->client, pair[1], pair[1]));
    OK(sd_bus_negotiate_fds(fake->client, 1));
    OK(sd_bus_start(fake->client));
    OK(bluez_new(
        &(struct bluez_options){
            .event = fake->loop, .bus = fake->client, .emit = on_emit, .userdata = fake},
        &fake->bluez));
    return fake;
}

struct fake *fake_new(void)
{
    struct fake *fake = fake_new_mute();

    OK(sd_bus_add_filter(fake->server, NULL, on_call, fake));
    return fake;
}

struct fake *fake_free(struct fake *fake)
{
    bluez_free(fake->bluez);
    for (size_t i = 0; i < fake->n_calls; i++)
        sd_bus_message_unref(fake->calls[i]);
    while (fake->first) {
        struct seen *seen = fake->first;
        fake->first = seen->next;
        free(seen);
    }
    free(fake->current);
    sd_bus_close_unref(fake->client);
    sd_bus_close_unref(fake->server);
    sd_event_unref(fake->loop);
    free(fake);
    return NULL;
}

void fake_start(struct fake *fake)
{
    OK(bluez_start(fake->bluez));
    fake_expect(fake, EVENT_ADAPTER);
    fake_expect(fake, EVENT_DEVICE);
    fake_expect(fake, EVENT_BLUEZ_UP);
}

struct action fake_action(struct fake *fake, enum action_type type)
{
    fake->last_op++;
    return (struct action){
        .type = type,
        .op = {.peer = 7, .generation = 3, .id = fake->last_op},
        .adapter = fake->adapter,
        .device = fake->device,
    };
}

void fake_execute(struct fake *fake, struct action action)
{
    bluez_execute(fake->bluez, &action);
}

void fake_resolve(struct fake *fake)
{
    fake->tree = fake_tree_connected;
    fake_start(fake);
    fake_execute(fake, fake_action(fake, ACTION_RESOLVE));
    fake_answer_get(fake, "ServicesResolved", "b", 1);
    fake_answer_get(fake, "MTU", "q", 247);
    assert_int_equal(fake_expect(fake, EVENT_RESOLVE_RESULT)->event.result.status, BT_STATUS_OK);
}

void fake_subscribe(struct fake *fake, uint32_t number)
{
    struct action action = fake_action(fake, ACTION_SUBSCRIBE);

    action.subscribe.handle = CHR_HANDLE;
    action.subscribe.subscription = number;
    action.subscribe.source = 5;
    fake_execute(fake, action);
    fake_answer(fake, "StartNotify");
    assert_int_equal(fake_expect(fake, EVENT_SUBSCRIBE_RESULT)->event.result.status, BT_STATUS_OK);
}
