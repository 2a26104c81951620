/*
 * What the gateway is compared with: the least that a C programmer would write. sd-bus to Paho
 * MQTTAsync, the value as hex in JSON, a topic made of the path, no configuration, nothing else.
 *
 * bench_pipe PORT QOS [nodelay]
 */
#include <MQTTAsync.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <systemd/sd-bus.h>

#define CHARACTERISTIC "org.bluez.GattCharacteristic1"
#define IN_FLIGHT      65535

static MQTTAsync mqtt;
static sem_t connected;
static int qos;

static void check(int r, const char *what)
{
    if (r < 0) {
        fprintf(stderr, "bench_pipe: %s: %s\n", what, strerror(-r));
        exit(1);
    }
}

static void publish(const char *path, const uint8_t *data, size_t length)
{
    static const char digits[] = "0123456789abcdef";
    char topic[128], payload[1100] = "{\"value\":\"", *p = payload + strlen(payload);
    const char *device = strstr(path, "/dev_");
    MQTTAsync_responseOptions options = MQTTAsync_responseOptions_initializer;

    if (!device || length > 512)
        return;
    snprintf(topic, sizeof(topic), "gatt2mqtt/%.21s/value", device + 1);
    for (size_t i = 0; i < length; i++) {
        *p++ = digits[data[i] >> 4];
        *p++ = digits[data[i] & 15];
    }
    *p++ = '"';
    *p++ = '}';
    if (MQTTAsync_send(mqtt, topic, (int)(p - payload), payload, qos, 1, &options) !=
        MQTTASYNC_SUCCESS)
        fprintf(stderr, "bench_pipe: not sent\n");
}

static int on_changed(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    const char *key, *type;
    const void *data;
    size_t length;

    check(sd_bus_message_skip(m, "s"), "signal");
    check(sd_bus_message_enter_container(m, 'a', "{sv}"), "signal");
    while (sd_bus_message_enter_container(m, 'e', "sv") > 0) {
        check(sd_bus_message_read(m, "s", &key), "signal");
        check(sd_bus_message_peek_type(m, NULL, &type), "signal");
        if (strcmp(key, "Value") == 0 && strcmp(type, "ay") == 0) {
            check(sd_bus_message_enter_container(m, 'v', "ay"), "signal");
            check(sd_bus_message_read_array(m, 'y', &data, &length), "signal");
            publish(sd_bus_message_get_path(m), data, length);
            return 0;
        }
        check(sd_bus_message_skip(m, "v"), "signal");
        check(sd_bus_message_exit_container(m), "signal");
    }
    return 0;
}

static void subscribe(sd_bus *bus)
{
    sd_bus_error error = SD_BUS_ERROR_NULL;
    sd_bus_message *m = NULL;
    const char *path, *interface;

    check(sd_bus_call_method(bus, "org.bluez", "/", "org.freedesktop.DBus.ObjectManager",
                             "GetManagedObjects", &error, &m, NULL),
          "GetManagedObjects");
    for (int pass = 0; pass < 2; pass++) {
        const char *wanted = pass ? CHARACTERISTIC : "org.bluez.Device1";
        check(sd_bus_message_rewind(m, 1), "tree");
        check(sd_bus_message_enter_container(m, 'a', "{oa{sa{sv}}}"), "tree");
        while (sd_bus_message_enter_container(m, 'e', "oa{sa{sv}}") > 0) {
            check(sd_bus_message_read(m, "o", &path), "tree");
            check(sd_bus_message_enter_container(m, 'a', "{sa{sv}}"), "tree");
            while (sd_bus_message_enter_container(m, 'e', "sa{sv}") > 0) {
                check(sd_bus_message_read(m, "s", &interface), "tree");
                if (strcmp(interface, wanted) == 0 && !strstr(path, "dev_C8_00_00_00_03"))
                    check(sd_bus_call_method(bus, "org.bluez", path, interface,
                                             pass ? "StartNotify" : "Connect", &error, NULL, NULL),
                          path);
                check(sd_bus_message_skip(m, "a{sv}"), "tree");
                check(sd_bus_message_exit_container(m), "tree");
            }
            check(sd_bus_message_exit_container(m), "tree");
            check(sd_bus_message_exit_container(m), "tree");
        }
    }
    sd_bus_message_unref(m);
}

static void on_connected(void *context, MQTTAsync_successData *data)
{
    sem_post(&connected);
}

static void on_failed(void *context, MQTTAsync_failureData *data)
{
    fprintf(stderr, "bench_pipe: no broker\n");
    exit(1);
}

static void set_nodelay(int port)
{
    struct sockaddr_in peer;
    int one = 1;

    for (int fd = 3; fd < 64; fd++) {
        socklen_t length = sizeof(peer);
        if (getpeername(fd, (struct sockaddr *)&peer, &length) == 0 && peer.sin_family == AF_INET &&
            ntohs(peer.sin_port) == port)
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    }
}

static void connect_broker(int port, bool nodelay)
{
    MQTTAsync_connectOptions options = MQTTAsync_connectOptions_initializer;
    char uri[64];

    snprintf(uri, sizeof(uri), "tcp://127.0.0.1:%d", port);
    options.onSuccess = on_connected;
    options.onFailure = on_failed;
    options.maxInflight = IN_FLIGHT;
    options.MQTTVersion = MQTTVERSION_3_1_1;
    sem_init(&connected, 0, 0);
    if (MQTTAsync_create(&mqtt, uri, "bench-pipe", MQTTCLIENT_PERSISTENCE_NONE, NULL) ||
        MQTTAsync_connect(mqtt, &options)) {
        fprintf(stderr, "bench_pipe: no broker\n");
        exit(1);
    }
    sem_wait(&connected);
    if (nodelay)
        set_nodelay(port);
}

int main(int argc, char **argv)
{
    sd_bus *bus = NULL;

    if (argc < 3)
        return 64;
    qos = (int)strtol(argv[2], NULL, 10);
    connect_broker((int)strtol(argv[1], NULL, 10), argc > 3);
    check(sd_bus_open_system(&bus), "bus");
    check(sd_bus_add_match(bus, NULL,
                           "type='signal',sender='org.bluez',"
                           "interface='org.freedesktop.DBus.Properties',"
                           "member='PropertiesChanged',arg0='" CHARACTERISTIC "'",
                           on_changed, NULL),
          "match");
    subscribe(bus);
    for (;;) {
        int r = sd_bus_process(bus, NULL);
        check(r, "bus");
        if (r == 0)
            check(sd_bus_wait(bus, UINT64_MAX), "wait");
    }
}
