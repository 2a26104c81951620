/* org.bluez on a bus connection; see fake.h. */
#include "fake.h"

#include "clock.h"
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ADAPTER        "/org/bluez/hci0"
#define PROPERTIES     "org.freedesktop.DBus.Properties"
#define DEVICE         "org.bluez.Device1"
#define CHARACTERISTIC "org.bluez.GattCharacteristic1"
#define SERVICE_UUID   "be9c0001-8d20-4b5a-9a6e-0c0ffee00000"
#define MTU            247
#define ADVERTISE_NS   UINT64_C(100000000)

static void check(int r, const char *what)
{
    if (r < 0) {
        fprintf(stderr, "bench: %s: %s\n", what, strerror(-r));
        exit(1);
    }
}

static void device_init(struct fake_device *device, unsigned i)
{
    unsigned high = i >> 8 & 255, low = i & 255;

    snprintf(device->address, sizeof(device->address), "C8:00:00:00:%02X:%02X", high, low);
    snprintf(device->path, sizeof(device->path), ADAPTER "/dev_C8_00_00_00_%02X_%02X", high, low);
    snprintf(device->service, sizeof(device->service), "%s/service0010", device->path);
    snprintf(device->value, sizeof(device->value), "%s/char0011", device->service);
    device->socket = -1;
}

/* ---- properties, as BlueZ has them ---- */

static int add_adapter(sd_bus_message *m, const struct fake *fake)
{
    return sd_bus_message_append(
        m, "{sa{sv}}", "org.bluez.Adapter1", 9, "Address", "s", "00:11:22:33:44:55", "AddressType",
        "s", "public", "Name", "s", "bench", "Alias", "s", "bench", "Class", "u", 0, "Powered", "b",
        1, "Discoverable", "b", 0, "Pairable", "b", 0, "Discovering", "b", fake->discovering);
}

static int add_device(sd_bus_message *m, const struct fake_device *device)
{
    return sd_bus_message_append(m, "{sa{sv}}", DEVICE, 13, "Address", "s", device->address,
                                 "AddressType", "s", "random", "Name", "s", "Bench", "Alias", "s",
                                 "Bench", "Paired", "b", 0, "Trusted", "b", 0, "Blocked", "b", 0,
                                 "LegacyPairing", "b", 0, "RSSI", "n", -60, "Connected", "b",
                                 device->connected, "UUIDs", "as", 1, SERVICE_UUID, "Adapter", "o",
                                 ADAPTER, "ServicesResolved", "b", device->connected);
}

static int add_service(sd_bus_message *m, const struct fake_device *device)
{
    return sd_bus_message_append(m, "{sa{sv}}", "org.bluez.GattService1", 4, "UUID", "s",
                                 SERVICE_UUID, "Device", "o", device->path, "Primary", "b", 1,
                                 "Includes", "ao", 0);
}

static int add_characteristic(sd_bus_message *m, const struct fake_device *device)
{
    return sd_bus_message_append(m, "{sa{sv}}", CHARACTERISTIC, 6, "UUID", "s", FAKE_VALUE_UUID,
                                 "Service", "o", device->service, "Value", "ay", 0, "Notifying",
                                 "b", device->notifying, "Flags", "as", 2, "read", "notify", "MTU",
                                 "q", MTU);
}

#define OBJECT(path, add, of)                                                 \
    do {                                                                      \
        check(sd_bus_message_open_container(m, 'e', "oa{sa{sv}}"), "append"); \
        check(sd_bus_message_append(m, "o", path), "append");                 \
        check(sd_bus_message_open_container(m, 'a', "{sa{sv}}"), "append");   \
        check(add(m, of), "append");                                          \
        check(sd_bus_message_close_container(m), "append");                   \
        check(sd_bus_message_close_container(m), "append");                   \
    } while (0)

static void answer_tree(struct fake *fake, sd_bus_message *call)
{
    sd_bus_message *m = NULL;

    check(sd_bus_message_new_method_return(call, &m), "reply");
    check(sd_bus_message_open_container(m, 'a', "{oa{sa{sv}}}"), "append");
    OBJECT(ADAPTER, add_adapter, fake);
    for (unsigned i = 0; i < fake->n_devices + FAKE_STRANGERS; i++) {
        const struct fake_device *device = &fake->devices[i];
        OBJECT(device->path, add_device, device);
        if (i >= fake->n_devices)
            continue;
        OBJECT(device->service, add_service, device);
        OBJECT(device->value, add_characteristic, device);
    }
    check(sd_bus_message_close_container(m), "append");
    check(sd_bus_send(fake->bus, m, NULL), "reply");
    sd_bus_message_unref(m);
}

/* ---- calls ---- */

static void tell(struct fake *fake, const char *path, const char *interface, const char *key,
                 bool value)
{
    sd_bus_message *m = NULL;

    check(sd_bus_message_new_signal(fake->bus, &m, path, PROPERTIES, "PropertiesChanged"),
          "signal");
    check(sd_bus_message_append(m, "sa{sv}as", interface, 1, key, "b", value, 0), "append");
    check(sd_bus_send(fake->bus, m, NULL), "signal");
    sd_bus_message_unref(m);
}

static struct fake_device *find(struct fake *fake, const char *path, bool value)
{
    for (unsigned i = 0; i < fake->n_devices; i++)
        if (strcmp(value ? fake->devices[i].value : fake->devices[i].path, path) == 0)
            return &fake->devices[i];
    return NULL;
}

static void set_connected(struct fake *fake, struct fake_device *device, bool connected)
{
    if (device->connected == connected)
        return;
    device->connected = connected;
    tell(fake, device->path, DEVICE, "Connected", connected);
    tell(fake, device->path, DEVICE, "ServicesResolved", connected);
}

static void set_notifying(struct fake *fake, struct fake_device *device, bool notifying)
{
    if (device->notifying == notifying)
        return;
    device->notifying = notifying;
    tell(fake, device->value, CHARACTERISTIC, "Notifying", notifying);
    fake->n_notifying += notifying ? 1 : -1U;
}

static void set_discovering(struct fake *fake, bool discovering)
{
    fake->discovering = discovering;
    fake->advertise_ns = 0;
    tell(fake, ADAPTER, "org.bluez.Adapter1", "Discovering", discovering);
}

/* Values go through a socket from then on. */
static void answer_acquire(sd_bus_message *call, struct fake *fake, struct fake_device *device)
{
    int fds[2];

    if (device->socket >= 0) {
        check(sd_bus_reply_method_errorf(call, "org.bluez.Error.NotPermitted", "Notify acquired"),
              "reply");
        return;
    }
    check(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) < 0 ? -errno
                                                                                         : 0,
          "socket");
    check(sd_bus_reply_method_return(call, "hq", fds[1], MTU), "reply");
    close(fds[1]);
    device->socket = fds[0];
    set_notifying(fake, device, true);
}

/* Changes what the call asks for; false: there is no such method. */
static bool carry_out(struct fake *fake, const char *path, const char *member)
{
    struct fake_device *device = find(fake, path, false), *value = find(fake, path, true);

    if (device && strcmp(member, "Connect") == 0)
        set_connected(fake, device, true);
    else if (device && strcmp(member, "Disconnect") == 0)
        set_connected(fake, device, false);
    else if (value && strcmp(member, "StartNotify") == 0)
        set_notifying(fake, value, true);
    else if (value && strcmp(member, "StopNotify") == 0)
        set_notifying(fake, value, false);
    else if (strcmp(member, "StartDiscovery") == 0)
        set_discovering(fake, true);
    else if (strcmp(member, "StopDiscovery") == 0)
        set_discovering(fake, false);
    else
        return strcmp(member, "SetDiscoveryFilter") == 0 || strcmp(member, "Set") == 0;
    return true;
}

/* Connected and ServicesResolved, which are the same here; false: it is something else. */
static bool answer_get(struct fake *fake, sd_bus_message *m)
{
    const struct fake_device *device = find(fake, sd_bus_message_get_path(m), false);
    const char *interface, *key;

    if (!device || sd_bus_message_read(m, "ss", &interface, &key) <= 0 ||
        (strcmp(key, "Connected") != 0 && strcmp(key, "ServicesResolved") != 0))
        return false;
    check(sd_bus_reply_method_return(m, "v", "b", device->connected), "reply");
    return true;
}

static int on_message(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    struct fake *fake = userdata;
    uint8_t type = 0;
    const char *member = sd_bus_message_get_member(m), *path = sd_bus_message_get_path(m);

    (void)sd_bus_message_get_type(m, &type);
    if (type != SD_BUS_MESSAGE_METHOD_CALL)
        return 0;
    if (strcmp(member, "GetManagedObjects") == 0)
        answer_tree(fake, m);
    else if (strcmp(member, "Get") == 0 && answer_get(fake, m))
        return 1;
    else if (strcmp(member, "AcquireNotify") == 0 && find(fake, path, true))
        answer_acquire(m, fake, find(fake, path, true));
    else if (carry_out(fake, path, member))
        check(sd_bus_reply_method_return(m, NULL), "reply");
    else
        check(sd_bus_reply_method_errorf(m, SD_BUS_ERROR_UNKNOWN_METHOD, "no %s", member), "reply");
    return 1;
}

/* ---- values and advertisements ---- */

/* The bus may be slower than we are: what does not fit waits here, not in our memory. */
static void flush(struct fake *fake)
{
    check(sd_bus_flush(fake->bus), "flush");
}

void fake_notify(struct fake *fake)
{
    uint32_t n = fake->sequence++;
    const struct fake_device *device = &fake->devices[n % fake->n_devices];
    uint8_t value[512];
    sd_bus_message *m = NULL;

    for (size_t i = 4; i < fake->size; i++)
        value[i] = (uint8_t)(n * 7 + i * 13);
    for (size_t i = 0; i < 4 && i < fake->size; i++)
        value[i] = (uint8_t)(n >> 8 * i);
    if (device->socket >= 0) {
        if (send(device->socket, value, fake->size, MSG_NOSIGNAL) < 0 && errno != EAGAIN)
            check(-errno, "send"); /* nobody unsubscribes while it is measured */
        return;                    /* full: lost, as in BlueZ */
    }
    check(sd_bus_message_new_signal(fake->bus, &m, device->value, PROPERTIES, "PropertiesChanged"),
          "signal");
    check(sd_bus_message_append(m, "s", CHARACTERISTIC), "append");
    check(sd_bus_message_open_container(m, 'a', "{sv}"), "append");
    check(sd_bus_message_open_container(m, 'e', "sv"), "append");
    check(sd_bus_message_append(m, "s", "Value"), "append");
    check(sd_bus_message_open_container(m, 'v', "ay"), "append");
    check(sd_bus_message_append_array(m, 'y', value, fake->size), "append");
    check(sd_bus_message_close_container(m), "append");
    check(sd_bus_message_close_container(m), "append");
    check(sd_bus_message_close_container(m), "append");
    check(sd_bus_message_append(m, "as", 0), "append");
    check(sd_bus_send(fake->bus, m, NULL), "signal");
    sd_bus_message_unref(m);
    flush(fake);
}

static void send_advert(struct fake *fake, const struct fake_device *device)
{
    static unsigned n;

    sd_bus_message *m = NULL;

    check(sd_bus_message_new_signal(fake->bus, &m, device->path, PROPERTIES, "PropertiesChanged"),
          "signal");
    check(sd_bus_message_append(m, "sa{sv}as", DEVICE, 2, "RSSI", "n", -60 - (int)(n++ & 15),
                                "ManufacturerData", "a{qv}", 1, 0x04c, "ay", 6, 1, 2, 3, 4, 5, 6,
                                0),
          "append");
    check(sd_bus_send(fake->bus, m, NULL), "signal");
    sd_bus_message_unref(m);
    flush(fake);
}

void fake_advert(struct fake *fake, unsigned stranger)
{
    send_advert(fake, &fake->devices[fake->n_devices + stranger % FAKE_STRANGERS]);
}

uint64_t fake_advertise(struct fake *fake)
{
    uint64_t now = clock_ns();

    if (!fake->discovering || fake->n_notifying == fake->n_devices)
        return UINT64_MAX;
    if (now < fake->advertise_ns)
        return fake->advertise_ns;
    for (unsigned i = 0; i < fake->n_devices; i++)
        if (!fake->devices[i].connected)
            send_advert(fake, &fake->devices[i]);
    return fake->advertise_ns = now + ADVERTISE_NS;
}

void fake_process(struct fake *fake)
{
    int r;

    while ((r = sd_bus_process(fake->bus, NULL)) > 0)
        ;
    check(r, "bus");
}

void fake_init(struct fake *fake, sd_bus *bus, unsigned devices, size_t size)
{
    *fake = (struct fake){.bus = bus, .n_devices = devices, .size = size};
    fake->devices = calloc(devices + FAKE_STRANGERS, sizeof(*fake->devices));
    if (!fake->devices)
        exit(1);
    for (unsigned i = 0; i < devices + FAKE_STRANGERS; i++)
        device_init(&fake->devices[i], i < devices ? i : FAKE_DEVICES_MAX + i - devices);
    check(sd_bus_add_filter(bus, NULL, on_message, fake), "filter");
}

void fake_done(struct fake *fake)
{
    for (unsigned i = 0; i < fake->n_devices; i++)
        if (fake->devices[i].socket >= 0)
            close(fake->devices[i].socket);
    free(fake->devices);
}
