/*
 * The played org.bluez as its clients meet it: order of signals and replies, names and texts of
 * errors, golden. Over a socket pair, client and service in one loop, no bus daemon. What is golden
 * here was read in BlueZ 5.66 and seen on it.
 */
#include "sim/service.h"

#include "util/strbuf.h"
#include "util/time.h"
#include "yaml/diag.h"
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include <cmocka.h>

#define HCI0       "/org/bluez/hci0"
#define DEV        HCI0 "/dev_C8_00_00_00_00_03"
#define SWITCH     DEV "/service0010/char0011"
#define LOG        DEV "/service0010/char0014"
#define FAULTY     DEV "/service0010/char0016"
#define ADAPTER    "org.bluez.Adapter1"
#define DEVICE     "org.bluez.Device1"
#define CHAR       "org.bluez.GattCharacteristic1"
#define PROPERTIES "org.freedesktop.DBus.Properties"
#define DEADLINE   (10 * UINT64_C(1000000))

static const char house[] =
    "timing: { connect: 5ms, resolve: 10ms, disconnect: 20ms, connect_timeout: 1s,\n"
    "          temporary: 1s }\n"
    "adapters:\n"
    "  hci0: { address: \"00:1A:7D:00:00:01\" }\n"
    "  hci1: { address: \"00:1A:7D:00:00:02\" }\n"
    "peripherals:\n"
    "  lamp:\n"
    "    address: \"C8:00:00:00:00:03\"\n"
    "    address_type: random\n"
    "    name: Lamp\n"
    "    rssi: -61\n"
    "    interval: 20ms\n"
    "    mtu: 23\n"
    "    advertise: { services: [0x1815], manufacturer: { 0x0059: \"01\" } }\n"
    "    services:\n"
    "      - uuid: 0x1815\n"
    "        characteristics:\n"
    "          - { id: switch, uuid: 0x2A56, value: \"00\", length: { min: 0, max: 40 },\n"
    "              properties: [read, write, write-without-response, notify] }\n"
    "          - { id: log, uuid: 0x2A57, value: \"0102\", properties: [read] }\n"
    "          - { id: faulty, uuid: 0x2A58, value: \"00\", properties: [read, write, notify],\n"
    "              read_error: 0x05, write_error: 0x81, notify_error: 0x0e }\n"
    "  meter:\n"
    "    address: \"C8:00:00:00:00:04\"\n"
    "    address_type: random\n"
    "    interval: 20ms\n"
    "    present: false\n"
    "    services:\n"
    "      - uuid: 0x180F\n"
    "        characteristics: [{ uuid: 0x2A19, value: \"32\", properties: [read] }]\n";

struct fixture {
    sd_event *event;
    sd_bus *client, *server;
    struct sim_world *world;
    struct sim_bluez *bluez;
    struct strbuf seen; /* a line for each message, in order */
    unsigned n_rssi;    /* signals of nothing but RSSI, which are not in `seen` */
    int fd;             /* of the last reply that had one */
};

/* ---- messages as text ---- */

static void describe(sd_bus_message *m, struct fixture *f);

static void describe_container(sd_bus_message *m, char type, const char *contents,
                               struct fixture *f)
{
    const void *bytes;
    size_t length;

    if (type == 'a' && strcmp(contents, "y") == 0) {
        assert_true(sd_bus_message_read_array(m, 'y', &bytes, &length) >= 0);
        strbuf_putc(&f->seen, '<');
        strbuf_hex(&f->seen, bytes, length);
        strbuf_putc(&f->seen, '>');
        return;
    }
    assert_true(sd_bus_message_enter_container(m, type, contents) > 0);
    if (type == 'a')
        strbuf_putc(&f->seen, '[');
    describe(m, f);
    if (type == 'a')
        strbuf_putc(&f->seen, ']');
    assert_true(sd_bus_message_exit_container(m) >= 0);
}

static void describe_basic(sd_bus_message *m, char type, struct fixture *f)
{
    union {
        const char *text;
        int number;
        uint8_t u8;
        uint16_t u16;
        int16_t i16;
        uint32_t u32;
    } v;

    assert_true(sd_bus_message_read_basic(m, type, &v) > 0);
    switch (type) {
    case 's':
    case 'o': strbuf_puts(&f->seen, v.text); break;
    case 'b': strbuf_puts(&f->seen, v.number ? "true" : "false"); break;
    case 'y': strbuf_u64(&f->seen, v.u8); break;
    case 'n': strbuf_i64(&f->seen, v.i16); break;
    case 'q': strbuf_u64(&f->seen, v.u16); break;
    case 'u': strbuf_u64(&f->seen, v.u32); break;
    case 'h':
        f->fd = dup(v.number);
        strbuf_puts(&f->seen, "fd");
        break;
    default: fail_msg("type %c", type);
    }
}

/* "a b [c=d]": what is left of the message or container */
static void describe(sd_bus_message *m, struct fixture *f)
{
    const char *contents;
    char type;
    bool first = true;

    while (sd_bus_message_peek_type(m, &type, &contents) > 0) {
        if (!first)
            strbuf_putc(&f->seen, ' ');
        first = false;
        if (contents)
            describe_container(m, type, contents, f);
        else
            describe_basic(m, type, f);
    }
}

/* Only the strength of an advertisement: says nothing about order. */
static bool is_rssi_only(sd_bus_message *m)
{
    const char *interface, *key;
    bool is;

    if (!sd_bus_message_is_signal(m, PROPERTIES, "PropertiesChanged"))
        return false;
    is = sd_bus_message_read(m, "s", &interface) > 0 &&
         sd_bus_message_enter_container(m, 'a', "{sv}") > 0 &&
         sd_bus_message_enter_container(m, 'e', "sv") > 0 &&
         sd_bus_message_read(m, "s", &key) > 0 && strcmp(key, "RSSI") == 0 &&
         sd_bus_message_skip(m, "v") >= 0 && sd_bus_message_exit_container(m) >= 0 &&
         sd_bus_message_at_end(m, false) > 0;
    sd_bus_message_rewind(m, true);
    return is;
}

/* The lamp's strength, where an advertisement came in the same turn as something else. */
static size_t rssi_length(const char *text, bool changed)
{
    static const char *const forms[] = {" RSSI -61", "RSSI -61 ", " RSSI -60", "RSSI -60 "};

    for (size_t i = 0; i < ARRAY_SIZE(forms) && changed; i++)
        if (strncmp(text, forms[i], strlen(forms[i])) == 0)
            return strlen(forms[i]);
    return 0;
}

/* Shows paths from the device or the adapter on, and takes out what comes by chance. */
static void shorten(struct fixture *f)
{
    struct strbuf out = STRBUF_INIT;
    bool changed = false;

    for (const char *text = strbuf_str(&f->seen); *text;) {
        if (out.length == 0 || out.data[out.length - 1] == '\n')
            changed = strncmp(text, "PropertiesChanged ", 18) == 0;
        if (strncmp(text, DEV, strlen(DEV)) == 0) {
            strbuf_puts(&out, "DEV");
            text += strlen(DEV);
        } else if (strncmp(text, HCI0, strlen(HCI0)) == 0) {
            strbuf_puts(&out, "HCI");
            text += strlen(HCI0);
        } else if (rssi_length(text, changed)) {
            text += rssi_length(text, changed);
        } else {
            strbuf_putc(&out, *text++);
        }
    }
    strbuf_done(&f->seen);
    f->seen = out;
}

static int on_client_message(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    struct fixture *f = userdata;
    uint8_t type;

    assert_true(sd_bus_message_get_type(m, &type) >= 0);
    if (type != SD_BUS_MESSAGE_SIGNAL)
        return 0;
    if (is_rssi_only(m)) {
        f->n_rssi++;
        return 0;
    }
    strbuf_printf(&f->seen, "%s %s ", sd_bus_message_get_member(m), sd_bus_message_get_path(m));
    describe(m, f);
    strbuf_putc(&f->seen, '\n');
    return 0;
}

static int on_reply(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    struct fixture *f = userdata;
    const sd_bus_error *e = sd_bus_message_get_error(m);

    if (e) {
        strbuf_printf(&f->seen, "error %s: %s\n", e->name, e->message);
    } else {
        strbuf_puts(&f->seen, "reply ");
        describe(m, f);
        strbuf_putc(&f->seen, '\n');
    }
    return 0;
}

/* ---- the two ends ---- */

static sd_bus *open_end(int fd, bool server, sd_event *event)
{
    sd_bus *bus = NULL;
    sd_id128_t id;

    assert_true(sd_id128_randomize(&id) >= 0);
    assert_true(sd_bus_new(&bus) >= 0);
    assert_true(sd_bus_set_fd(bus, fd, fd) >= 0);
    if (server)
        assert_true(sd_bus_set_server(bus, true, id) >= 0);
    assert_true(sd_bus_negotiate_fds(bus, true) >= 0);
    assert_true(sd_bus_set_anonymous(bus, true) >= 0);
    assert_true(sd_bus_start(bus) >= 0);
    assert_true(sd_bus_attach_event(bus, event, SD_EVENT_PRIORITY_NORMAL) >= 0);
    return bus;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    sim_bluez_free(f->bluez);
    sd_bus_close_unref(f->client);
    sd_bus_close_unref(f->server);
    sd_event_unref(f->event);
    sim_world_free(f->world);
    strbuf_done(&f->seen);
    if (f->fd >= 0)
        close(f->fd);
    free(f);
    return 0;
}

/* runs the loop until this text has been seen */
static void wait_for(struct fixture *f, const char *text)
{
    uint64_t end_us = time_now().mono_us + DEADLINE;

    for (shorten(f); !strstr(strbuf_str(&f->seen), text); shorten(f)) {
        if (time_now().mono_us > end_us)
            fail_msg("never seen: %s\nbut:\n%s", text, strbuf_str(&f->seen));
        assert_true(sd_event_run(f->event, 100000) >= 0);
    }
}

static void forget(struct fixture *f)
{
    strbuf_reset(&f->seen);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    struct diags diags;
    int fds[2];

    assert_non_null(f);
    f->fd = -1;
    assert_int_equal(diags_init(&diags, "house.yaml"), 0);
    assert_int_equal(sim_world_parse(house, strlen(house), &diags, &f->world), 0);
    diags_done(&diags);
    assert_true(sd_event_new(&f->event) >= 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    f->server = open_end(fds[0], true, f->event);
    f->client = open_end(fds[1], false, f->event);
    struct sim_bluez_options options = {
        .bus = f->server, .event = f->event, .world = f->world, .peer = true};
    assert_int_equal(sim_bluez_new(&options, &f->bluez), 0);
    assert_true(sd_bus_add_filter(f->client, NULL, on_client_message, f) >= 0);
    *state = f;
    wait_for(f, "InterfacesAdded / /org/bluez/hci1 ");
    forget(f);
    return 0;
}

/* waits for as much as is expected; it must be that and nothing else */
static void expect(struct fixture *f, const char *expected)
{
    uint64_t end_us = time_now().mono_us + DEADLINE;

    for (shorten(f); f->seen.length < strlen(expected) && time_now().mono_us < end_us; shorten(f))
        assert_true(sd_event_run(f->event, 100000) >= 0);
    assert_string_equal(strbuf_str(&f->seen), expected);
    forget(f);
}

static void send_call(struct fixture *f, const char *path, const char *interface,
                      const char *member, const char *types, ...)
{
    sd_bus_message *m = NULL;
    va_list ap;

    assert_true(
        sd_bus_message_new_method_call(f->client, &m, "org.bluez", path, interface, member) >= 0);
    va_start(ap, types);
    assert_true(sd_bus_message_appendv(m, types, ap) >= 0);
    va_end(ap);
    assert_true(sd_bus_call_async(f->client, NULL, m, on_reply, f, DEADLINE) >= 0);
    sd_bus_message_unref(m);
}

static void control(struct fixture *f, const char *line)
{
    struct strbuf answer = STRBUF_INIT;

    control_execute(f->world, &sim_bluez_control_ops, f->bluez, sim_bluez_now(f->bluez), line,
                    &answer);
    if (strncmp(strbuf_str(&answer), "ok", 2) != 0)
        fail_msg("%s: %s", line, strbuf_str(&answer));
    strbuf_done(&answer);
}

static void scan(struct fixture *f)
{
    send_call(f, HCI0, ADAPTER, "SetDiscoveryFilter", "a{sv}", 1, "Transport", "s", "le");
    send_call(f, HCI0, ADAPTER, "StartDiscovery", "");
    wait_for(f, "InterfacesAdded / DEV ");
    forget(f);
}

static void connect_lamp(struct fixture *f)
{
    scan(f);
    send_call(f, DEV, DEVICE, "Connect", "");
    wait_for(f, "ServicesResolved true");
    forget(f);
}

#define WRITE(f, path, value, kind) \
    send_call(f, path, CHAR, "WriteValue", "aya{sv}", 1, value, 1, "type", "s", kind)
#define READ(f, path) send_call(f, path, CHAR, "ReadValue", "a{sv}", 0)

/* ---- discovery ---- */

static void first_sighting_is_one_new_object_with_all_that_was_heard(void **state)
{
    struct fixture *f = *state;

    send_call(f, HCI0, ADAPTER, "SetDiscoveryFilter", "a{sv}", 1, "Transport", "s", "le");
    send_call(f, HCI0, ADAPTER, "StartDiscovery", "");
    expect(f, "reply \n"
              "reply \n"
              "PropertiesChanged HCI org.bluez.Adapter1 [Discovering true] []\n"
              "InterfacesAdded / DEV [org.freedesktop.DBus.Introspectable [] org.bluez.Device1 "
              "[Address C8:00:00:00:00:03 AddressType random Name Lamp Alias Lamp Paired false "
              "Bonded false Trusted false Blocked false LegacyPairing false RSSI -61 Connected "
              "false UUIDs [00001815-0000-1000-8000-00805f9b34fb] Adapter HCI ManufacturerData "
              "[89 <01>] ServicesResolved false] org.freedesktop.DBus.Properties []]\n");
}

static void rssi_is_told_for_every_report_with_a_filter_and_forgotten_after(void **state)
{
    struct fixture *f = *state;

    uint64_t end_us = time_now().mono_us + DEADLINE;

    scan(f);
    /* the same strength again and again: each is a sign of life */
    for (unsigned n = f->n_rssi; f->n_rssi < n + 3 && time_now().mono_us < end_us;)
        assert_true(sd_event_run(f->event, 100000) >= 0);
    assert_true(time_now().mono_us < end_us);
    send_call(f, HCI0, ADAPTER, "StopDiscovery", "");
    expect(f, "reply \n"
              "PropertiesChanged DEV org.bluez.Device1 [] [RSSI]\n"
              "PropertiesChanged HCI org.bluez.Adapter1 [Discovering false] []\n");
}

static void discovery_belongs_to_its_client(void **state)
{
    struct fixture *f = *state;

    send_call(f, HCI0, ADAPTER, "StopDiscovery", "");
    send_call(f, HCI0, ADAPTER, "SetDiscoveryFilter", "a{sv}", 1, "Colour", "s", "red");
    send_call(f, HCI0, ADAPTER, "SetDiscoveryFilter", "a{sv}", 1, "RSSI", "n", -50);
    send_call(f, HCI0, ADAPTER, "StartDiscovery", "");
    send_call(f, HCI0, ADAPTER, "StartDiscovery", "");
    expect(f, "error org.bluez.Error.Failed: No discovery started\n"
              "error org.bluez.Error.InvalidArguments: Invalid arguments in method call\n"
              "reply \n"
              "reply \n"
              "PropertiesChanged HCI org.bluez.Adapter1 [Discovering true] []\n"
              "error org.bluez.Error.InProgress: Operation already in progress\n");
    /* the lamp is too weak for that filter; a wider one lets it in */
    send_call(f, HCI0, ADAPTER, "SetDiscoveryFilter", "a{sv}", 1, "UUIDs", "as", 1, "1815");
    wait_for(f, "InterfacesAdded / DEV ");
}

static void temporary_device_goes_when_it_is_not_heard_any_more(void **state)
{
    struct fixture *f = *state;

    scan(f);
    control(f, "vanish lamp");
    expect(f, "InterfacesRemoved / DEV [org.freedesktop.DBus.Properties "
              "org.freedesktop.DBus.Introspectable org.bluez.Device1]\n");
}

/* ---- links ---- */

static void link_comes_up_before_connect_is_answered_and_services_before_they_are_resolved(
    void **state)
{
    struct fixture *f = *state;

    scan(f);
    send_call(f, DEV, DEVICE, "Connect", "");
    wait_for(f, "ServicesResolved true");
    const char *seen = strbuf_str(&f->seen);
    static const char begin[] = "PropertiesChanged DEV org.bluez.Device1 [Connected true] []\n"
                                "reply \n"
                                "InterfacesAdded / DEV/service0010 ";
    assert_memory_equal(seen, begin, strlen(begin));
    const char *characteristic = strstr(seen, "InterfacesAdded / DEV/service0010/char0011 ");
    const char *descriptor = strstr(seen, "InterfacesAdded / DEV/service0010/char0011/desc0013 ");
    const char *last = strstr(seen, "InterfacesAdded / DEV/service0010/char0016/desc0018 ");
    const char *resolved =
        strstr(seen, "PropertiesChanged DEV org.bluez.Device1 [UUIDs "
                     "[00001800-0000-1000-8000-00805f9b34fb 00001801-0000-1000-8000-00805f9b34fb "
                     "00001815-0000-1000-8000-00805f9b34fb] ServicesResolved true] []\n");
    assert_true(characteristic && characteristic < descriptor);
    assert_true(descriptor < last && last < resolved);
    assert_non_null(strstr(characteristic, "Value <> Notifying false Flags [read "
                                           "write-without-response write notify] WriteAcquired "
                                           "false NotifyAcquired false MTU 23]"));
}

static void reply_of_disconnect_stands_between_its_signals(void **state)
{
    struct fixture *f = *state;

    connect_lamp(f);
    send_call(f, DEV, DEVICE, "Disconnect", "");
    expect(f, "PropertiesChanged DEV org.bluez.Device1 [ServicesResolved false] []\n"
              "reply \n"
              "PropertiesChanged DEV org.bluez.Device1 [Connected false] []\n");
    send_call(f, DEV, DEVICE, "Disconnect", "");
    expect(f, "reply \n");
}

static void lost_link_is_one_signal_and_its_objects_stay(void **state)
{
    struct fixture *f = *state;

    connect_lamp(f);
    control(f, "drop lamp");
    expect(f, "PropertiesChanged DEV org.bluez.Device1 [ServicesResolved false Connected false] "
              "[]\n");
    READ(f, LOG);
    expect(f, "error org.bluez.Error.Failed: Not connected\n");
    /* the services are known: nothing is added on the next link */
    send_call(f, DEV, DEVICE, "Connect", "");
    expect(f, "PropertiesChanged DEV org.bluez.Device1 [Connected true] []\n"
              "reply \n"
              "PropertiesChanged DEV org.bluez.Device1 [ServicesResolved true] []\n");
}

static void absent_peer_fails_after_the_kernels_patience(void **state)
{
    struct fixture *f = *state;

    connect_lamp(f); /* so that its object stays */
    control(f, "vanish lamp");
    wait_for(f, "Connected false");
    forget(f);
    send_call(f, DEV, DEVICE, "Connect", "");
    send_call(f, DEV, DEVICE, "Connect", "");
    expect(f, "error org.bluez.Error.Failed: Operation already in progress\n"
              "error org.bluez.Error.Failed: le-connection-abort-by-local\n");
}

static void disconnect_cancels_a_connect(void **state)
{
    struct fixture *f = *state;

    connect_lamp(f);
    control(f, "vanish lamp");
    wait_for(f, "Connected false");
    forget(f);
    send_call(f, DEV, DEVICE, "Connect", "");
    send_call(f, DEV, DEVICE, "Disconnect", "");
    expect(f, "error org.bluez.Error.Failed: br-connection-canceled\n"
              "reply \n");
    control(f, "appear lamp");
    control(f, "refuse lamp on");
    send_call(f, DEV, DEVICE, "Connect", "");
    expect(f, "error org.bluez.Error.Failed: le-connection-abort-by-local\n");
    control(f, "refuse lamp off");
    send_call(f, DEV, DEVICE, "Connect", "");
    wait_for(f, "ServicesResolved true");
}

static void peer_held_by_one_adapter_is_silent_for_the_other(void **state)
{
    struct fixture *f = *state;

    connect_lamp(f);
    send_call(f, "/org/bluez/hci1", ADAPTER, "StartDiscovery", "");
    wait_for(f, "hci1 org.bluez.Adapter1 [Discovering true]");
    /* several advertising intervals, told by the clock of calls that take a while */
    send_call(f, DEV, DEVICE, "Disconnect", "");
    wait_for(f, "[Connected false]");
    /* not before it; on a slow machine both come at once */
    const char *added = strstr(strbuf_str(&f->seen), "InterfacesAdded / /org/bluez/hci1");
    assert_true(!added || added > strstr(strbuf_str(&f->seen), "[Connected false]"));
    wait_for(f, "InterfacesAdded / /org/bluez/hci1/dev_C8_00_00_00_00_03 ");
}

static void remove_device_takes_all_below_first(void **state)
{
    struct fixture *f = *state;

    connect_lamp(f);
    control(f, "vanish lamp");
    wait_for(f, "Connected false");
    forget(f);
    send_call(f, HCI0, ADAPTER, "RemoveDevice", "o", DEV);
    wait_for(f, "reply ");
    const char *seen = strbuf_str(&f->seen);
    const char *descriptor = strstr(seen, "InterfacesRemoved / DEV/service0010/char0011/desc0013 ");
    const char *characteristic = strstr(seen, "InterfacesRemoved / DEV/service0010/char0011 ");
    const char *service = strstr(seen, "InterfacesRemoved / DEV/service0010 ");
    const char *device = strstr(seen, "InterfacesRemoved / DEV [");
    assert_true(descriptor && descriptor < characteristic && characteristic < service &&
                service < device && device < strstr(seen, "reply "));
    forget(f);
    send_call(f, HCI0, ADAPTER, "RemoveDevice", "o", DEV);
    send_call(f, DEV, DEVICE, "Connect", "");
    expect(f, "error org.bluez.Error.DoesNotExist: Does Not Exist\n"
              "error org.freedesktop.DBus.Error.UnknownObject: Method \"Connect\" with signature "
              "\"\" on interface \"org.bluez.Device1\" doesn't exist\n\n");
}

/* ---- GATT ---- */

static void read_tells_the_value_before_it_answers(void **state)
{
    struct fixture *f = *state;

    connect_lamp(f);
    READ(f, LOG);
    send_call(f, LOG, CHAR, "ReadValue", "a{sv}", 1, "offset", "q", 1);
    send_call(f, LOG, CHAR, "ReadValue", "a{sv}", 1, "offset", "q", 3);
    expect(f, "PropertiesChanged DEV/service0010/char0014 org.bluez.GattCharacteristic1 [Value "
              "<0102>] []\n"
              "reply <0102>\n"
              "PropertiesChanged DEV/service0010/char0014 org.bluez.GattCharacteristic1 [Value "
              "<0102>] []\n"
              "reply <02>\n"
              "error org.bluez.Error.InvalidArguments: Invalid offset\n");
}

static void att_errors_have_bluez_names_and_words(void **state)
{
    struct fixture *f = *state;

    connect_lamp(f);
    READ(f, FAULTY);
    WRITE(f, FAULTY, 1, "request");
    WRITE(f, LOG, 1, "request");
    send_call(f, LOG, CHAR, "WriteValue", "aya{sv}", 1, 1, 0);
    send_call(f, FAULTY, CHAR, "StartNotify", "");
    send_call(f, LOG, CHAR, "StartNotify", "");
    send_call(f, LOG, CHAR, "StopNotify", "");
    send_call(f, LOG, CHAR, "AcquireNotify", "a{sv}", 0);
    send_call(f, DEV, PROPERTIES, "Get", "ss", DEVICE, "TxPower");
    expect(f, "error org.bluez.Error.NotPermitted: Not paired\n"
              "error org.bluez.Error.Failed: Operation failed with ATT error: 0x81\n"
              "error org.bluez.Error.NotPermitted: Write not permitted\n"
              "error org.bluez.Error.NotSupported: Operation is not supported\n"
              "error org.bluez.Error.Failed: Operation failed with ATT error: 0x0e\n"
              "error org.bluez.Error.NotSupported: Operation is not supported\n"
              "error org.bluez.Error.Failed: No notify session started\n"
              "error org.bluez.Error.NotSupported: Operation is not supported\n"
              "error org.freedesktop.DBus.Error.InvalidArgs: No such property 'TxPower'\n");
}

static void writes_reach_the_peripheral_as_they_were_sent(void **state)
{
    struct fixture *f = *state;
    struct strbuf answer = STRBUF_INIT;

    connect_lamp(f);
    WRITE(f, SWITCH, 7, "request");
    WRITE(f, SWITCH, 8, "command");
    send_call(f, SWITCH, CHAR, "WriteValue", "aya{sv}", 2, 1, 2, 1, "offset", "q", 1);
    /* 21 bytes: more than fits into a command of an MTU of 23, but a request is cut */
#define LONG 21, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21
    send_call(f, SWITCH, CHAR, "WriteValue", "aya{sv}", LONG, 1, "type", "s", "command");
    send_call(f, SWITCH, CHAR, "WriteValue", "aya{sv}", LONG, 1, "type", "s", "request");
    expect(f, "reply \n"
              "reply \n"
              "reply \n"
              "error org.bluez.Error.Failed: Failed to initiate write\n"
              "reply \n");
    control_execute(f->world, &sim_bluez_control_ops, f->bluez, 0, "writes lamp switch", &answer);
    assert_string_equal(strbuf_str(&answer), "ok request:07 command:08 request:080102 "
                                             "request:0102030405060708090a0b0c0d0e0f101112131415");
    strbuf_done(&answer);
}

static void subscription_is_told_before_it_is_answered_and_comes_back_with_the_link(void **state)
{
    struct fixture *f = *state;

    connect_lamp(f);
    send_call(f, SWITCH, CHAR, "StartNotify", "");
    send_call(f, SWITCH, CHAR, "StartNotify", "");
    expect(f, "PropertiesChanged DEV/service0010/char0011 org.bluez.GattCharacteristic1 "
              "[Notifying true] []\n"
              "reply \n"
              "reply \n");
    control(f, "drop lamp");
    send_call(f, SWITCH, CHAR, "StartNotify", "");
    wait_for(f, "error org.bluez.Error.InProgress: In Progress\n");
    send_call(f, DEV, DEVICE, "Connect", "");
    wait_for(f, "ServicesResolved true");
    forget(f);
    control(f, "value lamp switch 05");
    send_call(f, SWITCH, CHAR, "StopNotify", "");
    expect(f, "PropertiesChanged DEV/service0010/char0011 org.bluez.GattCharacteristic1 [Value "
              "<05>] []\n"
              "PropertiesChanged DEV/service0010/char0011 org.bluez.GattCharacteristic1 "
              "[Notifying false] []\n"
              "reply \n");
}

static void each_notification_of_a_burst_is_a_signal_of_its_own(void **state)
{
    struct fixture *f = *state;
    struct strbuf expected = STRBUF_INIT;

    connect_lamp(f);
    send_call(f, SWITCH, CHAR, "StartNotify", "");
    wait_for(f, "reply ");
    forget(f);
    control(f, "notify lamp switch 200 10000");
    for (unsigned i = 1; i <= 200; i++)
        strbuf_printf(&expected,
                      "PropertiesChanged DEV/service0010/char0011 org.bluez.GattCharacteristic1 "
                      "[Value <%02x000000>] []\n",
                      i);
    expect(f, strbuf_str(&expected));
    strbuf_done(&expected);
}

static void notification_is_cut_to_the_mtu_and_may_be_empty(void **state)
{
    struct fixture *f = *state;

    connect_lamp(f);
    send_call(f, SWITCH, CHAR, "StartNotify", "");
    wait_for(f, "reply ");
    forget(f);
    control(f, "value lamp switch 0102030405060708090a0b0c0d0e0f101112131415161718");
    control(f, "value lamp switch -");
    expect(f, "PropertiesChanged DEV/service0010/char0011 org.bluez.GattCharacteristic1 [Value "
              "<0102030405060708090a0b0c0d0e0f1011121314>] []\n"
              "PropertiesChanged DEV/service0010/char0011 org.bluez.GattCharacteristic1 [Value "
              "<>] []\n");
}

static void request_without_response_fails_when_the_link_is_lost(void **state)
{
    struct fixture *f = *state;

    connect_lamp(f);
    control(f, "slow lamp 5000");
    READ(f, SWITCH);
    READ(f, SWITCH);
    send_call(f, SWITCH, CHAR, "ReadValue", "a{sv}", 1, "offset", "q", 1);
    WRITE(f, SWITCH, 1, "request");
    WRITE(f, SWITCH, 2, "request");
    expect(f, "error org.bluez.Error.InProgress: In Progress\n"
              "error org.bluez.Error.InProgress: In Progress\n");
    control(f, "drop lamp");
    expect(f, "PropertiesChanged DEV org.bluez.Device1 [ServicesResolved false Connected false] "
              "[]\n"
              "error org.bluez.Error.Failed: Operation failed with ATT error: 0x0e\n"
              "error org.bluez.Error.Failed: Operation failed with ATT error: 0x0e\n"
              "error org.bluez.Error.Failed: Operation failed with ATT error: 0x0e\n");
}

static void acquired_socket_has_a_value_per_packet_and_hangs_up_with_the_link(void **state)
{
    struct fixture *f = *state;
    uint8_t buf[64];

    connect_lamp(f);
    send_call(f, SWITCH, CHAR, "AcquireNotify", "a{sv}", 0);
    expect(f, "PropertiesChanged DEV/service0010/char0011 org.bluez.GattCharacteristic1 "
              "[NotifyAcquired true] []\n"
              "reply fd 23\n");
    send_call(f, SWITCH, CHAR, "StartNotify", "");
    expect(f, "error org.bluez.Error.NotPermitted: Notify acquired\n");
    control(f, "value lamp switch 0102");
    control(f, "value lamp switch 03");
    assert_int_equal(recv(f->fd, buf, sizeof(buf), MSG_DONTWAIT), 2);
    assert_int_equal(recv(f->fd, buf, sizeof(buf), MSG_DONTWAIT), 1);
    assert_int_equal(buf[0], 3);
    control(f, "drop lamp");
    struct pollfd p = {.fd = f->fd, .events = POLLIN | POLLOUT};
    assert_int_equal(poll(&p, 1, 0), 1);
    assert_int_equal(p.revents, POLLIN | POLLOUT | POLLHUP);
    assert_int_equal(recv(f->fd, buf, sizeof(buf), MSG_DONTWAIT), 0);
    /* in either order: they are of two objects */
    wait_for(f, "PropertiesChanged DEV org.bluez.Device1 [ServicesResolved false Connected false]");
    wait_for(f, "PropertiesChanged DEV/service0010/char0011 org.bluez.GattCharacteristic1 "
                "[NotifyAcquired false]");
}

#define METER HCI0 "/dev_C8_00_00_00_00_04"

static void battery_comes_and_goes_beside_its_device(void **state)
{
    struct fixture *f = *state;

    scan(f);
    control(f, "appear meter");
    wait_for(f, "InterfacesAdded / HCI/dev_C8_00_00_00_00_04 ");
    send_call(f, METER, DEVICE, "Connect", "");
    wait_for(f, "ServicesResolved true");
    forget(f);
    expect(f, "InterfacesAdded / HCI/dev_C8_00_00_00_00_04 [org.bluez.Battery1 [Percentage 50]]\n");
    send_call(f, METER, PROPERTIES, "Get", "ss", "org.bluez.Battery1", "Percentage");
    send_call(f, METER, DEVICE, "Disconnect", "");
    expect(f, "reply 50\n"
              "InterfacesRemoved / HCI/dev_C8_00_00_00_00_04 [org.bluez.Battery1]\n"
              "PropertiesChanged HCI/dev_C8_00_00_00_00_04 org.bluez.Device1 [ServicesResolved "
              "false] []\n"
              "reply \n"
              "PropertiesChanged HCI/dev_C8_00_00_00_00_04 org.bluez.Device1 [Connected false] "
              "[]\n");
}

/* ---- adapters and the daemon ---- */

static void switching_off_drops_links_answers_and_then_tells(void **state)
{
    struct fixture *f = *state;

    connect_lamp(f);
    send_call(f, HCI0, ADAPTER, "StopDiscovery", "");
    wait_for(f, "[Discovering false]");
    forget(f);
    send_call(f, HCI0, PROPERTIES, "Set", "ssv", ADAPTER, "Powered", "b", 0);
    send_call(f, HCI0, ADAPTER, "StartDiscovery", "");
    send_call(f, DEV, DEVICE, "Connect", "");
    send_call(f, HCI0, PROPERTIES, "Set", "ssv", ADAPTER, "Powered", "b", 1);
    expect(f, "PropertiesChanged DEV org.bluez.Device1 [ServicesResolved false Connected false] "
              "[]\n"
              "reply \n"
              "PropertiesChanged HCI org.bluez.Adapter1 [Powered false Discovering false] []\n"
              "error org.bluez.Error.NotReady: Resource Not Ready\n"
              "error org.bluez.Error.Failed: Input/output error\n"
              "reply \n"
              "PropertiesChanged HCI org.bluez.Adapter1 [Powered true] []\n");
}

static void switching_off_forgets_what_was_only_seen(void **state)
{
    struct fixture *f = *state;

    scan(f);
    send_call(f, HCI0, PROPERTIES, "Set", "ssv", ADAPTER, "Powered", "b", 0);
    expect(f, "InterfacesRemoved / DEV [org.freedesktop.DBus.Properties "
              "org.freedesktop.DBus.Introspectable org.bluez.Device1]\n"
              "reply \n"
              "PropertiesChanged HCI org.bluez.Adapter1 [Powered false Discovering false] []\n");
}

static void pulled_adapter_is_off_then_alone_then_gone(void **state)
{
    struct fixture *f = *state;

    connect_lamp(f);
    control(f, "adapter hci0 remove");
    wait_for(f, "InterfacesRemoved / HCI [");
    const char *off = strstr(strbuf_str(&f->seen), "[Powered false Discovering false]");
    const char *lost = strstr(strbuf_str(&f->seen), "[ServicesResolved false Connected false]");
    const char *gone = strstr(strbuf_str(&f->seen), "InterfacesRemoved / DEV [");
    assert_true(off && off < lost && lost < gone);
    forget(f);
    control(f, "adapter hci0 add");
    wait_for(f, "PropertiesChanged HCI org.bluez.Adapter1 [Powered true] []\n");
    /* a device that was connected once comes back out of storage, without its services */
    assert_non_null(strstr(strbuf_str(&f->seen), "InterfacesAdded / DEV ["));
    assert_null(strstr(strbuf_str(&f->seen), "service0010"));
}

static void dead_daemon_has_no_owner_and_comes_back_under_a_new_name(void **state)
{
    struct fixture *f = *state;

    connect_lamp(f);
    sim_bluez_die(f->bluez);
    READ(f, SWITCH);
    expect(f, "NameOwnerChanged /org/freedesktop/DBus org.bluez :1.1 \n"
              "error org.freedesktop.DBus.Error.ServiceUnknown: The name org.bluez was not "
              "provided by any .service files\n");
    assert_int_equal(sim_bluez_start(f->bluez), 0);
    wait_for(f, "NameOwnerChanged /org/freedesktop/DBus org.bluez  :1.2\n");
    wait_for(f, "InterfacesAdded / HCI [");
    scan(f); /* the lamp is free again */
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(first_sighting_is_one_new_object_with_all_that_was_heard),
        TEST(rssi_is_told_for_every_report_with_a_filter_and_forgotten_after),
        TEST(discovery_belongs_to_its_client),
        TEST(temporary_device_goes_when_it_is_not_heard_any_more),
        TEST(link_comes_up_before_connect_is_answered_and_services_before_they_are_resolved),
        TEST(reply_of_disconnect_stands_between_its_signals),
        TEST(lost_link_is_one_signal_and_its_objects_stay),
        TEST(absent_peer_fails_after_the_kernels_patience),
        TEST(disconnect_cancels_a_connect),
        TEST(peer_held_by_one_adapter_is_silent_for_the_other),
        TEST(remove_device_takes_all_below_first),
        TEST(read_tells_the_value_before_it_answers),
        TEST(att_errors_have_bluez_names_and_words),
        TEST(writes_reach_the_peripheral_as_they_were_sent),
        TEST(subscription_is_told_before_it_is_answered_and_comes_back_with_the_link),
        TEST(each_notification_of_a_burst_is_a_signal_of_its_own),
        TEST(notification_is_cut_to_the_mtu_and_may_be_empty),
        TEST(request_without_response_fails_when_the_link_is_lost),
        TEST(acquired_socket_has_a_value_per_packet_and_hangs_up_with_the_link),
        TEST(battery_comes_and_goes_beside_its_device),
        TEST(switching_off_drops_links_answers_and_then_tells),
        TEST(switching_off_forgets_what_was_only_seen),
        TEST(pulled_adapter_is_off_then_alone_then_gone),
        TEST(dead_daemon_has_no_owner_and_comes_back_under_a_new_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
