/* The front: makes and ends the whole, and hands each action to the file that knows it. */
#include "bluez/internal.h"

#include "util/log.h"
#include <stdlib.h>
#include <string.h>

static int on_answers(sd_event_source *source, void *userdata)
{
    bluez_calls_answer(userdata);
    return 0;
}

static int on_changes(sd_event_source *source, uint64_t usec, void *userdata)
{
    bluez_device_tell_changes(userdata);
    return 0;
}

static int on_tell(sd_event_source *source, void *userdata)
{
    bluez_device_tell_all(userdata);
    return 0;
}

static int add_sources(struct bluez *bluez)
{
    sd_event *event = bluez->options.event;
    int r = sd_event_add_defer(event, &bluez->answers, on_answers, bluez);

    if (r >= 0)
        r = sd_event_source_set_enabled(bluez->answers, SD_EVENT_OFF);
    if (r >= 0) /* answers before news */
        r = sd_event_source_set_priority(bluez->answers, SD_EVENT_PRIORITY_NORMAL - 1);
    if (r >= 0)
        r = sd_event_add_time_relative(event, &bluez->changes, CLOCK_MONOTONIC, 0, 0, on_changes,
                                       bluez);
    if (r >= 0)
        r = sd_event_source_set_enabled(bluez->changes, SD_EVENT_OFF);
    if (r >= 0)
        r = sd_event_add_defer(event, &bluez->tell, on_tell, bluez);
    if (r >= 0)
        r = sd_event_source_set_enabled(bluez->tell, SD_EVENT_OFF);
    return r < 0 ? r : 0;
}

int bluez_new(const struct bluez_options *options, struct bluez **ret_bluez)
{
    struct bluez *bluez = calloc(1, sizeof(*bluez));

    if (!bluez)
        return -ENOMEM;
    bluez->options = *options;
    bluez->options.event = sd_event_ref(options->event);
    if (options->bus)
        bluez->options.bus = sd_bus_ref(options->bus);
    registry_init(&bluez->registry);
    bluez->service = strdup(options->service ? options->service : "org.bluez");
    int r = bluez->service ? add_sources(bluez) : -ENOMEM;
    if (r < 0) {
        bluez_free(bluez);
        return r;
    }
    *ret_bluez = bluez;
    return 0;
}

struct bluez *bluez_free(struct bluez *bluez)
{
    if (!bluez)
        return NULL;
    bluez_calls_drop(bluez);
    bluez_tree_clear(bluez);
    bluez_bus_stop(bluez);
    sd_event_source_disable_unref(bluez->answers);
    sd_event_source_disable_unref(bluez->changes);
    sd_event_source_disable_unref(bluez->tell);
    sd_bus_unref(bluez->options.bus);
    sd_event_unref(bluez->options.event);
    free(bluez->service);
    free(bluez);
    return NULL;
}

int bluez_start(struct bluez *bluez)
{
    return bluez_bus_start(bluez);
}

static void end_as(struct call *call, enum bt_status status, const char *text)
{
    bluez_call_end_later(call, (struct bt_result){.status = status, .text = text});
}

static void execute_adapter(struct bluez *bluez, struct call *call, const struct action *action)
{
    struct adapter *adapter = registry_adapter(&bluez->registry, action->adapter);

    if (!adapter || adapter->going)
        end_as(call, BT_STATUS_GONE, "no such adapter");
    else if (action->type == ACTION_POWER)
        bluez_adapter_power(call, adapter);
    else
        bluez_adapter_scan(call, adapter);
}

static void execute_gatt(struct device *device, struct call *call, const struct action *action,
                         uint16_t handle)
{
    struct characteristic *characteristic = device_characteristic(device, handle);

    if (!characteristic)
        end_as(call, BT_STATUS_GONE, "no such characteristic");
    else if (action->type == ACTION_SUBSCRIBE)
        bluez_gatt_subscribe(call, characteristic, action);
    else if (action->type == ACTION_UNSUBSCRIBE)
        bluez_gatt_unsubscribe(call, characteristic, action);
    else if (action->type == ACTION_READ)
        bluez_gatt_read(call, characteristic);
    else
        bluez_gatt_write(call, characteristic, action);
}

static void execute_device(struct bluez *bluez, struct call *call, const struct action *action)
{
    struct device *device = registry_device(&bluez->registry, action->device);

    if (!device || device->going) {
        end_as(call, BT_STATUS_GONE, "no such device");
        return;
    }
    device->keep = true;
    switch ((int)action->type) {
    case ACTION_CONNECT: bluez_device_connect(call, device); break;
    case ACTION_DISCONNECT: bluez_device_disconnect(call, device); break;
    case ACTION_RESOLVE: bluez_device_resolve(call, device); break;
    case ACTION_INSPECT: bluez_inspect(call, device); break;
    case ACTION_PAIR: bluez_pair(call, device); break;
    case ACTION_REMOVE_DEVICE: bluez_device_forget(call, device); break;
    case ACTION_SUBSCRIBE:
    case ACTION_UNSUBSCRIBE: execute_gatt(device, call, action, action->subscribe.handle); break;
    case ACTION_READ: execute_gatt(device, call, action, action->read.handle); break;
    default: execute_gatt(device, call, action, action->write.handle); break;
    }
}

void bluez_execute(struct bluez *bluez, const struct action *action)
{
    struct call *call = action->type <= ACTION_REMOVE_DEVICE ? bluez_call_new(bluez, action) : NULL;

    if (action->type == ACTION_TELL_DEVICES)
        (void)sd_event_source_set_enabled(bluez->tell, SD_EVENT_ONESHOT);
    if (!call)
        return;
    if (bluez->state != BLUEZ_STATE_UP)
        end_as(call, BT_STATUS_LOST, "bluetoothd is not there");
    else if (action->type == ACTION_SCAN_START || action->type == ACTION_SCAN_STOP ||
             action->type == ACTION_POWER)
        execute_adapter(bluez, call, action);
    else
        execute_device(bluez, call, action);
}
