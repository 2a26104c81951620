/* The request `scan`: who is heard while it lasts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "helper_world.h"
#include <jansson.h>

#define D0       100u
#define REQUEST  "g/bridge/gw/request/scan"
#define RESPONSE "g/bridge/gw/response/scan"

/* device 0 is held and online: nobody is missing, so nothing but a request makes it scan */
static struct world *begin(void)
{
    struct world *world = world_new(1);

    world_start(world);
    world_broker_up(world);
    world_bluez_up(world);
    world_online(world, 0);
    world_advance(world, 60000);
    assert_int_equal(world->gateway->adapters[0].scan, SCAN_STATE_OFF);
    world_clear(world);
    return world;
}

static void ask(struct world *world, const char *payload)
{
    world_message(world, REQUEST, payload, false);
}

/* an advertiser of no device of the file */
static struct device_info stranger(uint16_t number, int16_t rssi)
{
    return (struct device_info){
        .adapter = ADAPTER_1,
        .device = 1000u + number,
        .address = {{0x00, 0x11, 0x22, 0x33, (uint8_t)(number >> 8), (uint8_t)number}},
        .heard = true,
        .rssi = rssi};
}

static void hear(struct world *world, const struct device_info *info)
{
    struct event event = {.type = EVENT_DEVICE,
                          .adapter = info->adapter,
                          .device = info->device,
                          .device_info = *info};

    world_event(world, &event);
}

/* the one answer, parsed; the caller's */
static json_t *answer(const struct world *world)
{
    assert_int_equal(world_count_published(world, RESPONSE), 1);
    json_t *json = json_loads(world_published(world, RESPONSE), 0, NULL);
    if (!json)
        fail_msg("not JSON: %s", world_published(world, RESPONSE));
    return json;
}

static json_t *heard(const json_t *answer)
{
    assert_string_equal(json_string_value(json_object_get(answer, "status")), "ok");
    return json_object_get(json_object_get(answer, "data"), "heard");
}

static bool is_complete(const json_t *answer)
{
    return json_is_true(json_object_get(json_object_get(answer, "data"), "complete"));
}

static const char *text_of(const json_t *list, size_t index, const char *key)
{
    return json_string_value(json_object_get(json_array_get(list, index), key));
}

static void expect_error(const struct world *world, const char *code, const char *message)
{
    json_t *json = answer(world);
    const json_t *error = json_object_get(json, "error");

    assert_string_equal(json_string_value(json_object_get(error, "code")), code);
    assert_non_null(strstr(json_string_value(json_object_get(error, "message")), message));
    json_decref(json);
}

static void scan_answers_with_who_is_heard_meanwhile(void **state)
{
    static const uint8_t bytes[] = {0x02, 0x15};
    struct world *world = begin();
    struct bt_uuid heart = bt_uuid_from_u16(0x180d);
    struct manufacturer_data apple = {.company = 76, .data = bytes, .length = 2};
    struct service_data data = {.uuid = bt_uuid_from_u16(0xfcd2), .data = bytes, .length = 1};
    struct device_info near = stranger(1, -50), far = stranger(2, -90), before = stranger(3, -40);

    near.name = "Strap \"1\"";
    near.address_type = BT_ADDRESS_RANDOM;
    near.uuids = &heart;
    near.manufacturer = &apple;
    near.service_data = &data;
    near.n_uuids = near.n_manufacturer = near.n_service_data = 1;
    near.bonded = true;
    hear(world, &before);
    ask(world, "{\"id\":1}");
    assert_int_equal(world_count(world, ACTION_SCAN_START), 1);
    world_advance(world, 1000);
    hear(world, &far);
    hear(world, &near);
    world_advance(world, 8900);
    assert_int_equal(world_count_published(world, RESPONSE), 0);
    world_advance(world, 100); /* 10 s unless it says otherwise */
    json_t *json = answer(world);
    const json_t *list = heard(json);
    assert_int_equal(json_array_size(list), 2);
    char *first = json_dumps(json_array_get(list, 0), JSON_COMPACT);
    assert_string_equal(first, "{\"address\":\"00:11:22:33:00:01\",\"address_type\":\"random\","
                               "\"rssi\":-50,\"adapter\":\"hci0\",\"bonded\":true,"
                               "\"name\":\"Strap \\\"1\\\"\",\"services\":[\"0x180D\"],"
                               "\"manufacturer\":{\"0x004C\":\"0215\"},"
                               "\"service_data\":{\"0xFCD2\":\"02\"}}");
    free(first);
    char *second = json_dumps(json_array_get(list, 1), JSON_COMPACT);
    assert_string_equal(second, "{\"address\":\"00:11:22:33:00:02\",\"address_type\":\"public\","
                                "\"rssi\":-90,\"adapter\":\"hci0\"}");
    free(second);
    assert_true(is_complete(json));
    json_decref(json);
    world_free(world);
}

static void scan_disturbs_no_link_and_ends(void **state)
{
    struct world *world = begin();

    ask(world, "{\"duration\":\"30s\"}");
    world_advance(world, 29999);
    assert_int_equal(world_count(world, ACTION_SCAN_STOP), 0);
    assert_int_equal(world_count_published(world, RESPONSE), 0);
    world_advance(world, 1);
    assert_int_equal(world_count_published(world, RESPONSE), 1);
    world_advance(world, 60000);
    assert_int_equal(world_count(world, ACTION_SCAN_STOP), 1);
    assert_int_equal(world_count(world, ACTION_DISCONNECT), 0);
    assert_int_equal(world->gateway->peers[0]->state, PEER_STATE_ONLINE);
    assert_null(world->gateway->survey);
    world_free(world);
}

static void a_device_of_the_file_is_named(void **state)
{
    struct world *world = begin();

    ask(world, "{\"duration\":\"1s\"}");
    world_hear(world, 0, D0); /* many advertise while they are connected */
    world_advance(world, 1000);
    json_t *json = answer(world);
    assert_string_equal(text_of(heard(json), 0, "device"), "d0");
    json_decref(json);
    world_free(world);
}

static void what_is_heard_last_counts(void **state)
{
    struct world *world = begin();
    struct device_info info = stranger(1, -50);

    ask(world, "{\"duration\":\"2s\"}");
    hear(world, &info);
    info.rssi = -70;
    info.name = "Now";
    hear(world, &info);
    world_advance(world, 2000);
    json_t *json = answer(world);
    assert_int_equal(json_array_size(heard(json)), 1);
    assert_string_equal(text_of(heard(json), 0, "name"), "Now");
    assert_int_equal(json_integer_value(json_object_get(json_array_get(heard(json), 0), "rssi")),
                     -70);
    json_decref(json);
    world_free(world);
}

/* hci0 and hci1, whose array is the caller's; to be ended by end_two() */
static struct world *begin_two(struct adapter_selector adapters[static 2])
{
    struct world *world = world_new(1);

    adapters[0] = (struct adapter_selector){.name = (char *)"hci0"};
    adapters[1] = (struct adapter_selector){.name = (char *)"hci1"};
    world->settings.bluetooth.adapters = adapters;
    world->settings.bluetooth.n_adapters = 2;
    world_start(world);
    world_broker_up(world);
    world_bluez_up(world);
    world_adapter(world, ADAPTER_2, true);
    return world;
}

static void end_two(struct world *world)
{
    world->settings.bluetooth.n_adapters = 0;
    world->settings.bluetooth.adapters = NULL;
    world_free(world);
}

static void hear_by(struct world *world, uint32_t adapter, int16_t rssi)
{
    struct device_info info = stranger(1, rssi);

    info.adapter = adapter;
    hear(world, &info);
}

static void of_two_adapters_the_one_that_hears_it_best_is_named(void **state)
{
    struct adapter_selector adapters[2];
    struct world *world = begin_two(adapters);

    ask(world, "{\"duration\":\"2s\"}");
    hear_by(world, ADAPTER_2, -50);
    hear_by(world, ADAPTER_1, -80);
    world_advance(world, 2000);
    json_t *json = answer(world);
    assert_int_equal(json_array_size(heard(json)), 1);
    assert_string_equal(text_of(heard(json), 0, "adapter"), "hci1");
    json_decref(json);
    end_two(world);
}

static void who_asks_later_is_told_of_what_only_the_worse_adapter_still_hears(void **state)
{
    struct adapter_selector adapters[2];
    struct world *world = begin_two(adapters);

    ask(world, "{\"duration\":\"30s\"}");
    hear_by(world, ADAPTER_2, -50);
    world_advance(world, 10000);
    ask(world, "{\"duration\":\"2s\"}");
    hear_by(world, ADAPTER_1, -80);
    world_advance(world, 2000);
    json_t *json = answer(world);
    assert_int_equal(json_array_size(heard(json)), 1);
    assert_string_equal(text_of(heard(json), 0, "adapter"), "hci0");
    json_decref(json);
    end_two(world);
}

static void a_passive_scan_is_asked_who_is_there_already(void **state)
{
    struct world *world = world_new(1);

    world->settings.bluetooth.scan = SCAN_MODE_PASSIVE;
    world_start(world);
    world_broker_up(world);
    world_bluez_up(world);
    world_clear(world);
    ask(world, "{}");
    assert_int_equal(world_count(world, ACTION_TELL_DEVICES), 1);
    world_free(world);
}

static void of_too_many_the_strongest_are_told(void **state)
{
    struct world *world = begin();

    ask(world, "{\"duration\":\"5s\"}");
    for (uint16_t i = 0; i < SURVEY_ADVERTISERS_MAX; i++) {
        struct device_info info = stranger(i, (int16_t)(-90 + i % 20));
        hear(world, &info);
    }
    world_advance(world, 4000);
    ask(world, "{\"duration\":\"500ms\"}"); /* the others are too old for it */
    struct device_info strong = stranger(5000, -30);
    hear(world, &strong);
    world_advance(world, 500);
    json_t *json = answer(world);
    assert_int_equal(json_array_size(heard(json)), 1);
    assert_false(is_complete(json)); /* somebody had to go for it */
    json_decref(json);
    world_clear(world);
    struct device_info weak = stranger(5001, -100);
    hear(world, &weak);
    world_advance(world, 500);
    json = answer(world);
    const json_t *list = heard(json);
    assert_int_equal(json_array_size(list), SURVEY_ADVERTISERS_MAX);
    assert_string_equal(text_of(list, 0, "address"), "00:11:22:33:13:88");
    for (size_t i = 1; i < json_array_size(list); i++) {
        const json_t *one = json_array_get(list, i), *last = json_array_get(list, i - 1);
        assert_true(json_integer_value(json_object_get(one, "rssi")) <=
                    json_integer_value(json_object_get(last, "rssi")));
        assert_string_not_equal(text_of(list, i, "address"), "00:11:22:33:13:89");
    }
    assert_false(is_complete(json));
    json_decref(json);
    world_free(world);
}

/* what one advertiser may say at most, from as many as there is room for */
static void the_answer_is_bounded_in_bytes(void **state)
{
    static uint8_t bytes[600];
    struct world *world = begin();
    struct manufacturer_data data = {.company = 1, .data = bytes, .length = sizeof(bytes)};
    struct manufacturer_data too_much[] = {data, data};

    ask(world, "{\"id\":1,\"duration\":\"1s\"}");
    for (uint16_t i = 0; i < 100; i++) {
        struct device_info info = stranger(i, (int16_t)(-20 - i / 2));
        info.name = "Long";
        info.manufacturer = i ? &data : too_much;
        info.n_manufacturer = i ? 1 : 2;
        hear(world, &info);
    }
    world_advance(world, 1000);
    assert_true(strlen(world_published(world, RESPONSE)) <= DEDUP_ANSWER_MAX);
    json_t *json = answer(world);
    const json_t *list = heard(json);
    assert_in_range(json_array_size(list), 40, 60); /* about 1300 bytes each */
    assert_false(is_complete(json));
    assert_true(json_is_true(json_object_get(json_array_get(list, 0), "cut")));
    assert_null(json_object_get(json_array_get(list, 0), "manufacturer"));
    assert_string_equal(text_of(list, 0, "name"), "Long");
    assert_null(json_object_get(json_array_get(list, 1), "cut"));
    json_decref(json);
    world_clear(world);
    ask(world, "{\"id\":1,\"duration\":\"1s\"}"); /* the same again gets it again */
    assert_int_equal(world_count_published(world, RESPONSE), 1);
    world_free(world);
}

static void the_answer_fits_into_the_brokers_packets(void **state)
{
    struct world *world = begin();

    world->gateway->max_packet = 4096;
    ask(world, "{\"duration\":\"1s\"}");
    for (uint16_t i = 0; i < 100; i++) {
        struct device_info info = stranger(i, -60);
        hear(world, &info);
    }
    world_advance(world, 1000);
    assert_true(strlen(world_published(world, RESPONSE)) < 4096 - 2 * 1024);
    json_t *json = answer(world);
    assert_true(json_array_size(heard(json)) > 5);
    assert_false(is_complete(json));
    json_decref(json);
    world_free(world);
}

static void without_an_adapter_it_says_so_at_once(void **state)
{
    struct world *world = world_new(1);
    struct event down = {.type = EVENT_BLUEZ_DOWN, .bluez_down.reason = "no_bluez"};

    world_start(world);
    world_broker_up(world);
    world_event(world, &down);
    ask(world, "{}");
    expect_error(world, "adapter_off", "bluetoothd is not running");
    world_bluez_up(world);
    world_adapter(world, ADAPTER_1, false);
    world_clear(world);
    ask(world, "{}");
    expect_error(world, "adapter_off", "hci0 is switched off");
    world_adapter_gone(world, ADAPTER_1);
    world_clear(world);
    ask(world, "{}");
    expect_error(world, "adapter_off", "no Bluetooth adapter");
    world_free(world);
}

static void an_adapter_that_goes_off_is_an_error_if_nobody_was_heard(void **state)
{
    struct world *world = begin();
    struct device_info info = stranger(1, -50);

    ask(world, "{\"duration\":\"3s\"}");
    world_adapter(world, ADAPTER_1, false);
    world_advance(world, 3000);
    expect_error(world, "adapter_off", "hci0 is switched off");
    world_adapter(world, ADAPTER_1, true);
    world_clear(world);
    ask(world, "{\"duration\":\"3s\"}");
    hear(world, &info);
    world_adapter(world, ADAPTER_1, false);
    world_advance(world, 3000);
    json_t *json = answer(world);
    assert_int_equal(json_array_size(heard(json)), 1);
    json_decref(json);
    world_free(world);
}

static void so_many_scans_at_once_and_no_more(void **state)
{
    struct world *world = begin();

    for (int i = 0; i < 8; i++)
        ask(world, "{}");
    assert_int_equal(world_count_published(world, RESPONSE), 0);
    ask(world, "{}");
    expect_error(world, "queue_full", "8 scans");
    world_clear(world);
    world_advance(world, 10000);
    assert_int_equal(world_count_published(world, RESPONSE), 8);
    world_free(world);
}

static void a_stop_cancels_it(void **state)
{
    struct world *world = begin();
    struct event stop = {.type = EVENT_STOP};

    ask(world, "{}");
    world_event(world, &stop);
    expect_error(world, "cancelled", "stopping");
    world_free(world);
}

static void its_arguments_are_checked(void **state)
{
    static const char *const wrong[] = {"{\"duration\":\"61s\"}", "{\"duration\":0}",
                                        "{\"duration\":\"0s\"}",  "{\"duration\":10}",
                                        "{\"for\":\"10s\"}",      "{\"device\":\"d0\"}",
                                        "{\"timeout\":\"1s\"}",   "{\"duration\":\"-1s\"}"};
    struct world *world = begin();

    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        world_clear(world);
        ask(world, wrong[i]);
        expect_error(world, "bad_request", "");
    }
    world_clear(world);
    ask(world, "{\"duration\":\"60s\"}");
    assert_int_equal(world_count_published(world, RESPONSE), 0);
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scan_answers_with_who_is_heard_meanwhile),
        cmocka_unit_test(scan_disturbs_no_link_and_ends),
        cmocka_unit_test(a_device_of_the_file_is_named),
        cmocka_unit_test(what_is_heard_last_counts),
        cmocka_unit_test(of_two_adapters_the_one_that_hears_it_best_is_named),
        cmocka_unit_test(who_asks_later_is_told_of_what_only_the_worse_adapter_still_hears),
        cmocka_unit_test(a_passive_scan_is_asked_who_is_there_already),
        cmocka_unit_test(of_too_many_the_strongest_are_told),
        cmocka_unit_test(the_answer_is_bounded_in_bytes),
        cmocka_unit_test(the_answer_fits_into_the_brokers_packets),
        cmocka_unit_test(without_an_adapter_it_says_so_at_once),
        cmocka_unit_test(an_adapter_that_goes_off_is_an_error_if_nobody_was_heard),
        cmocka_unit_test(so_many_scans_at_once_and_no_more),
        cmocka_unit_test(a_stop_cancels_it),
        cmocka_unit_test(its_arguments_are_checked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
