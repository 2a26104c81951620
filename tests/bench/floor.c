/*
 * The least that a program with the gateway's libraries costs: linked with all of them, connected
 * to the broker, an event loop that waits for ever. What Paho costs while idle is this, too.
 *
 * bench_floor PORT: says `ready` once connected.
 */
#include <MQTTAsync.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>
#include <unistd.h>
#include <yaml.h>

static void on_connected(void *context, MQTTAsync_successData *data)
{
    if (write(STDOUT_FILENO, "ready\n", 6) != 6)
        exit(1);
}

int main(int argc, char **argv)
{
    MQTTAsync_connectOptions options = MQTTAsync_connectOptions_initializer;
    sd_event *event = NULL;
    sd_bus *bus = NULL;
    MQTTAsync mqtt;
    char uri[64];
    int major, minor, patch;

    if (argc != 2)
        return 64;
    yaml_get_version(&major, &minor, &patch);
    json_decref(json_object());
    snprintf(uri, sizeof(uri), "tcp://127.0.0.1:%s", argv[1]);
    options.onSuccess = on_connected;
    options.keepAliveInterval = 30; /* as the gateway has it by default */
    options.MQTTVersion = MQTTVERSION_3_1_1;
    if (sd_event_default(&event) < 0 || sd_bus_open_system(&bus) < 0 ||
        sd_bus_attach_event(bus, event, 0) < 0 ||
        MQTTAsync_create(&mqtt, uri, "bench-floor", MQTTCLIENT_PERSISTENCE_NONE, NULL) ||
        MQTTAsync_connect(mqtt, &options))
        return 1;
    return sd_event_loop(event) < 0;
}
