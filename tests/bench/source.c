/*
 * Plays org.bluez for the benchmark: one adapter, N connected-when-asked peripherals with one
 * notifying characteristic each, and values at a rate, with a sequence number in the first four
 * bytes. Light enough not to be what is measured. No faults, no delays: that is src/sim's business.
 *
 * bench_source DEVICES SIZE FILE: says `ready`, `subscribed N NS` when all are, and takes lines:
 *   notify RATE COUNT    the next COUNT values, round robin; `sent FIRST COUNT`
 *   adverts RATE COUNT   as many advertisements of peripherals that nobody asked for; `adverts
 * COUNT`
 */
#include "clock.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>
#include <systemd/sd-bus.h>

#define ADAPTER        "/org/bluez/hci0"
#define PROPERTIES     "org.freedesktop.DBus.Properties"
#define DEVICE         "org.bluez.Device1"
#define CHARACTERISTIC "org.bluez.GattCharacteristic1"
#define SERVICE_UUID   "be9c0001-8d20-4b5a-9a6e-0c0ffee00000"
#define VALUE_UUID     "be9c0002-8d20-4b5a-9a6e-0c0ffee00000"
#define STRANGERS      100 /* peripherals that advertise and are nobody's */
#define DEVICES_MAX    0x300
#define ADVERTISE_NS   UINT64_C(100000000)

struct device {
    char path[64], service[80], value[96], address[18];
    bool connected, notifying;
};

struct source {
    sd_bus *bus;
    struct times *times;
    struct device *devices; /* and behind them the strangers */
    unsigned n_devices, n_notifying;
    size_t size;
    bool discovering, told;
    uint64_t advertise_ns;
    uint32_t sequence;
    char line[256];
    size_t line_length;
};

static void check(int r, const char *what)
{
    if (r < 0) {
        fprintf(stderr, "bench_source: %s: %s\n", what, strerror(-r));
        exit(1);
    }
}

static void device_init(struct device *device, unsigned i)
{
    unsigned high = i >> 8 & 255, low = i & 255;

    snprintf(device->address, sizeof(device->address), "C8:00:00:00:%02X:%02X", high, low);
    snprintf(device->path, sizeof(device->path), ADAPTER "/dev_C8_00_00_00_%02X_%02X", high, low);
    snprintf(device->service, sizeof(device->service), "%s/service0010", device->path);
    snprintf(device->value, sizeof(device->value), "%s/char0011", device->service);
}

/* ---- properties, as BlueZ has them ---- */

static int add_adapter(sd_bus_message *m, const struct source *source)
{
    return sd_bus_message_append(
        m, "{sa{sv}}", "org.bluez.Adapter1", 9, "Address", "s", "00:11:22:33:44:55", "AddressType",
        "s", "public", "Name", "s", "bench", "Alias", "s", "bench", "Class", "u", 0, "Powered", "b",
        1, "Discoverable", "b", 0, "Pairable", "b", 0, "Discovering", "b", source->discovering);
}

static int add_device(sd_bus_message *m, const struct device *device)
{
    return sd_bus_message_append(m, "{sa{sv}}", DEVICE, 13, "Address", "s", device->address,
                                 "AddressType", "s", "random", "Name", "s", "Bench", "Alias", "s",
                                 "Bench", "Paired", "b", 0, "Trusted", "b", 0, "Blocked", "b", 0,
                                 "LegacyPairing", "b", 0, "RSSI", "n", -60, "Connected", "b",
                                 device->connected, "UUIDs", "as", 1, SERVICE_UUID, "Adapter", "o",
                                 ADAPTER, "ServicesResolved", "b", device->connected);
}

static int add_service(sd_bus_message *m, const struct device *device)
{
    return sd_bus_message_append(m, "{sa{sv}}", "org.bluez.GattService1", 4, "UUID", "s",
                                 SERVICE_UUID, "Device", "o", device->path, "Primary", "b", 1,
                                 "Includes", "ao", 0);
}

static int add_characteristic(sd_bus_message *m, const struct device *device)
{
    return sd_bus_message_append(m, "{sa{sv}}", CHARACTERISTIC, 6, "UUID", "s", VALUE_UUID,
                                 "Service", "o", device->service, "Value", "ay", 0, "Notifying",
                                 "b", device->notifying, "Flags", "as", 2, "read", "notify", "MTU",
                                 "q", 247);
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

static void answer_tree(struct source *source, sd_bus_message *call)
{
    sd_bus_message *m = NULL;

    check(sd_bus_message_new_method_return(call, &m), "reply");
    check(sd_bus_message_open_container(m, 'a', "{oa{sa{sv}}}"), "append");
    OBJECT(ADAPTER, add_adapter, source);
    for (unsigned i = 0; i < source->n_devices + STRANGERS; i++) {
        const struct device *device = &source->devices[i];
        OBJECT(device->path, add_device, device);
        if (i >= source->n_devices)
            continue;
        OBJECT(device->service, add_service, device);
        OBJECT(device->value, add_characteristic, device);
    }
    check(sd_bus_message_close_container(m), "append");
    check(sd_bus_send(source->bus, m, NULL), "reply");
    sd_bus_message_unref(m);
}

/* ---- calls ---- */

static void tell(struct source *source, const char *path, const char *interface, const char *key,
                 bool value)
{
    sd_bus_message *m = NULL;

    check(sd_bus_message_new_signal(source->bus, &m, path, PROPERTIES, "PropertiesChanged"),
          "signal");
    check(sd_bus_message_append(m, "sa{sv}as", interface, 1, key, "b", value, 0), "append");
    check(sd_bus_send(source->bus, m, NULL), "signal");
    sd_bus_message_unref(m);
}

static struct device *find(struct source *source, const char *path, bool value)
{
    for (unsigned i = 0; i < source->n_devices; i++)
        if (strcmp(value ? source->devices[i].value : source->devices[i].path, path) == 0)
            return &source->devices[i];
    return NULL;
}

static void set_connected(struct source *source, struct device *device, bool connected)
{
    if (device->connected == connected)
        return;
    device->connected = connected;
    tell(source, device->path, DEVICE, "Connected", connected);
    tell(source, device->path, DEVICE, "ServicesResolved", connected);
}

static void set_notifying(struct source *source, struct device *device, bool notifying)
{
    if (device->notifying == notifying)
        return;
    device->notifying = notifying;
    tell(source, device->value, CHARACTERISTIC, "Notifying", notifying);
    source->n_notifying += notifying ? 1 : -1U;
}

static void set_discovering(struct source *source, bool discovering)
{
    source->discovering = discovering;
    source->advertise_ns = 0;
    tell(source, ADAPTER, "org.bluez.Adapter1", "Discovering", discovering);
}

/* Changes what the call asks for; false: there is no such method. */
static bool carry_out(struct source *source, const char *path, const char *member)
{
    struct device *device = find(source, path, false), *value = find(source, path, true);

    if (device && strcmp(member, "Connect") == 0)
        set_connected(source, device, true);
    else if (device && strcmp(member, "Disconnect") == 0)
        set_connected(source, device, false);
    else if (value && strcmp(member, "StartNotify") == 0)
        set_notifying(source, value, true);
    else if (value && strcmp(member, "StopNotify") == 0)
        set_notifying(source, value, false);
    else if (strcmp(member, "StartDiscovery") == 0)
        set_discovering(source, true);
    else if (strcmp(member, "StopDiscovery") == 0)
        set_discovering(source, false);
    else
        return strcmp(member, "SetDiscoveryFilter") == 0 || strcmp(member, "Set") == 0;
    return true;
}

/* Connected and ServicesResolved, which are the same here; false: it is something else. */
static bool answer_get(struct source *source, sd_bus_message *m)
{
    const struct device *device = find(source, sd_bus_message_get_path(m), false);
    const char *interface, *key;

    if (!device || sd_bus_message_read(m, "ss", &interface, &key) <= 0 ||
        (strcmp(key, "Connected") != 0 && strcmp(key, "ServicesResolved") != 0))
        return false;
    check(sd_bus_reply_method_return(m, "v", "b", device->connected), "reply");
    return true;
}

static int on_message(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    struct source *source = userdata;
    uint8_t type = 0;
    const char *member = sd_bus_message_get_member(m), *path = sd_bus_message_get_path(m);

    (void)sd_bus_message_get_type(m, &type);
    if (type != SD_BUS_MESSAGE_METHOD_CALL)
        return 0;
    if (strcmp(member, "GetManagedObjects") == 0)
        answer_tree(source, m);
    else if (strcmp(member, "Get") == 0 && answer_get(source, m))
        return 1;
    else if (carry_out(source, path, member))
        check(sd_bus_reply_method_return(m, NULL), "reply");
    else
        check(sd_bus_reply_method_errorf(m, SD_BUS_ERROR_UNKNOWN_METHOD, "no %s", member), "reply");
    if (source->n_notifying == source->n_devices && !source->told) {
        source->told = true;
        printf("subscribed %u %llu\n", source->n_notifying, (unsigned long long)clock_ns());
    }
    return 1;
}

/* ---- values and advertisements ---- */

/* The bus may be slower than we are: what does not fit waits here, not in our memory. */
static void flush(struct source *source)
{
    check(sd_bus_flush(source->bus), "flush");
}

static void send_value(struct source *source)
{
    uint32_t n = source->sequence++;
    const struct device *device = &source->devices[n % source->n_devices];
    uint8_t value[512];
    sd_bus_message *m = NULL;

    for (size_t i = 4; i < source->size; i++)
        value[i] = (uint8_t)(n * 7 + i * 13);
    for (size_t i = 0; i < 4 && i < source->size; i++)
        value[i] = (uint8_t)(n >> 8 * i);
    source->times->at_ns[n % TIMES_MAX] = clock_ns();
    check(
        sd_bus_message_new_signal(source->bus, &m, device->value, PROPERTIES, "PropertiesChanged"),
        "signal");
    check(sd_bus_message_append(m, "s", CHARACTERISTIC), "append");
    check(sd_bus_message_open_container(m, 'a', "{sv}"), "append");
    check(sd_bus_message_open_container(m, 'e', "sv"), "append");
    check(sd_bus_message_append(m, "s", "Value"), "append");
    check(sd_bus_message_open_container(m, 'v', "ay"), "append");
    check(sd_bus_message_append_array(m, 'y', value, source->size), "append");
    check(sd_bus_message_close_container(m), "append");
    check(sd_bus_message_close_container(m), "append");
    check(sd_bus_message_close_container(m), "append");
    check(sd_bus_message_append(m, "as", 0), "append");
    check(sd_bus_send(source->bus, m, NULL), "signal");
    sd_bus_message_unref(m);
    source->times->n++;
    flush(source);
}

static void send_advert(struct source *source, const struct device *device)
{
    uint32_t n = source->sequence + source->line_length;
    sd_bus_message *m = NULL;

    check(sd_bus_message_new_signal(source->bus, &m, device->path, PROPERTIES, "PropertiesChanged"),
          "signal");
    check(sd_bus_message_append(m, "sa{sv}as", DEVICE, 2, "RSSI", "n", -60 - (int)(n & 15),
                                "ManufacturerData", "a{qv}", 1, 0x04c, "ay", 6, 1, 2, 3, 4, 5, 6,
                                0),
          "append");
    check(sd_bus_send(source->bus, m, NULL), "signal");
    sd_bus_message_unref(m);
    flush(source);
}

/* while somebody looks, those that are not connected are heard */
static uint64_t advertise(struct source *source)
{
    uint64_t now = clock_ns();

    if (!source->discovering || source->n_notifying == source->n_devices)
        return UINT64_MAX;
    if (now < source->advertise_ns)
        return source->advertise_ns;
    for (unsigned i = 0; i < source->n_devices; i++)
        if (!source->devices[i].connected)
            send_advert(source, &source->devices[i]);
    return source->advertise_ns = now + ADVERTISE_NS;
}

/* Calls are answered and what is due goes out, until `until_ns`. */
static void run_until(struct source *source, uint64_t until_ns)
{
    for (;;) {
        int r;
        while ((r = sd_bus_process(source->bus, NULL)) > 0)
            ;
        check(r, "bus");
        uint64_t now = clock_ns();
        if (now >= until_ns)
            return;
        struct timespec wait = {.tv_sec = (time_t)((until_ns - now) / 1000000000),
                                .tv_nsec = (long)((until_ns - now) % 1000000000)};
        struct pollfd fd = {.fd = sd_bus_get_fd(source->bus), .events = POLLIN};
        (void)ppoll(&fd, 1, &wait, NULL);
    }
}

static void stream(struct source *source, bool adverts, unsigned rate, unsigned count)
{
    uint32_t first = source->sequence;
    uint64_t start = clock_ns();

    for (unsigned i = 0; i < count; i++) {
        uint64_t due = start + (rate ? UINT64_C(1000000000) * i / rate : 0);
        if (rate && (due > clock_ns() || i % 64 == 0))
            run_until(source, due);
        if (adverts)
            send_advert(source, &source->devices[source->n_devices + i % STRANGERS]);
        else
            send_value(source);
    }
    if (adverts)
        printf("adverts %u\n", count);
    else
        printf("sent %u %u\n", first, count);
}

/* ---- commands ---- */

static void command(struct source *source, const char *line)
{
    unsigned rate, count;
    char what[16];

    if (sscanf(line, "%15s %u %u", what, &rate, &count) != 3)
        return;
    stream(source, strcmp(what, "adverts") == 0, rate, count);
}

/* false: nobody is there any more */
static bool read_commands(struct source *source)
{
    ssize_t n = read(STDIN_FILENO, source->line + source->line_length,
                     sizeof(source->line) - 1 - source->line_length);

    if (n <= 0)
        return false;
    source->line_length += (size_t)n;
    source->line[source->line_length] = '\0';
    for (char *end; (end = strchr(source->line, '\n'));) {
        char line[sizeof(source->line)];
        *end = '\0';
        memcpy(line, source->line, (size_t)(end - source->line) + 1);
        source->line_length -= (size_t)(end + 1 - source->line);
        memmove(source->line, end + 1, source->line_length + 1);
        command(source, line);
    }
    return true;
}

static void loop(struct source *source)
{
    for (;;) {
        int r;
        while ((r = sd_bus_process(source->bus, NULL)) > 0)
            ;
        check(r, "bus");
        uint64_t due = advertise(source), now = clock_ns();
        int timeout = due == UINT64_MAX ? -1 : due > now ? (int)((due - now) / 1000000) + 1 : 0;
        struct pollfd fds[] = {{.fd = sd_bus_get_fd(source->bus), .events = POLLIN},
                               {.fd = STDIN_FILENO, .events = POLLIN}};
        if (poll(fds, 2, timeout) > 0 && fds[1].revents && !read_commands(source))
            return;
    }
}

int main(int argc, char **argv)
{
    struct source source = {0};

    if (argc != 4)
        return 64;
    setvbuf(stdout, NULL, _IOLBF, 0);
    prctl(PR_SET_TIMERSLACK, 1UL);
    source.n_devices = (unsigned)strtoul(argv[1], NULL, 10);
    source.size = strtoul(argv[2], NULL, 10);
    if (!source.n_devices || source.n_devices > DEVICES_MAX || source.size > 512)
        return 64;
    source.times = times_open(argv[3]);
    source.devices = calloc(source.n_devices + STRANGERS, sizeof(*source.devices));
    if (!source.devices)
        return 1;
    for (unsigned i = 0; i < source.n_devices + STRANGERS; i++)
        device_init(&source.devices[i], i < source.n_devices ? i : i + DEVICES_MAX);
    check(sd_bus_open_system(&source.bus), "bus");
    check(sd_bus_add_filter(source.bus, NULL, on_message, &source), "filter");
    check(sd_bus_request_name(source.bus, "org.bluez", 0), "name");
    puts("ready");
    loop(&source);
    sd_bus_unref(source.bus);
    free(source.devices);
    return 0;
}
