/*
 * What Home Assistant is told, as documents: tests/data/discovery/house.yaml holds every kind of
 * entity, house.json what comes of it; UPDATE_GOLDEN=1 writes it anew. Whether Home Assistant would
 * take it, tests/e2e/ha_rules.py checks.
 */
#include "core/discovery.h"

#include "config/load.h"
#include "util/cleanup.h"
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
/* cmocka wants the ones above */
#include <cmocka.h>

static struct settings *load_path(const char *path)
{
    static const struct config_options options = {.host_name = "host"};
    struct settings *settings = NULL;
    struct diags diags;

    assert_int_equal(diags_init(&diags, path), 0);
    assert_int_equal(config_load(path, &options, &diags, &settings), 0);
    diags_done(&diags);
    return settings;
}

static struct settings *load(const char *text)
{
    char path[64];
    int fd = memfd_create("config", 0);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    struct settings *settings = load_path(path);
    close(fd);
    return settings;
}

/* a document must be JSON, without a key twice */
static json_t *parse(const struct strbuf *text)
{
    json_error_t error;

    assert_true(strbuf_ok(text));
    json_t *json = json_loads(strbuf_str(text), JSON_REJECT_DUPLICATES, &error);
    if (!json)
        fail_msg("%s: %s", error.text, strbuf_str(text));
    return json;
}

#define GATEWAY_ITSELF SIZE_MAX

static struct discovery_about about_device(const struct settings *settings, size_t index)
{
    const struct device_settings *of = index == GATEWAY_ITSELF ? NULL : &settings->devices[index];

    return (struct discovery_about){.settings = settings,
                                    .device = of,
                                    .address =
                                        of && of->match.has_address ? &of->match.address : NULL,
                                    .version = "1.0"};
}

static json_t *device(const struct settings *settings, size_t index)
{
    _cleanup_(strbuf_done) struct strbuf text = STRBUF_INIT;
    const struct discovery_about about = about_device(settings, index);

    discovery_write_device(&text, &about, NULL, 0);
    return parse(&text);
}

/* a component of the first device of a file with these characteristics */
static json_t *component(json_t **ret_document, const char *characteristics, const char *id)
{
    char text[4096];

    snprintf(text, sizeof(text),
             "mqtt: { url: mqtt://b }\ndevices:\n  d:\n    match: { name: D }\n"
             "    characteristics:\n%s",
             characteristics);
    struct settings *settings = load(text);
    *ret_document = device(settings, 0);
    settings_free(settings);
    json_t *found = json_object_get(json_object_get(*ret_document, "components"), id);
    assert_non_null(found);
    return found;
}

static const char *text_of(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

/* ---- golden ---- */

static void compare(json_t *all, const char *golden_path)
{
    if (getenv("UPDATE_GOLDEN"))
        assert_int_equal(json_dump_file(all, golden_path, JSON_INDENT(1)), 0);
    json_t *golden = json_load_file(golden_path, 0, NULL);
    assert_non_null(golden);
    if (!json_equal(all, golden)) {
        char *text = json_dumps(all, JSON_INDENT(1));
        print_error("%s\n", text);
        free(text);
        fail_msg("%s differs", golden_path);
    }
    json_decref(golden);
    json_decref(all);
}

/* all documents of a file against those written down */
static void assert_golden(const char *name)
{
    char path[256], golden_path[256], topic[DISCOVERY_TOPIC_SIZE];

    snprintf(path, sizeof(path), TEST_DATA "/discovery/%s.yaml", name);
    snprintf(golden_path, sizeof(golden_path), TEST_DATA "/discovery/%s.json", name);
    struct settings *settings = load_path(path);
    json_t *all = json_object();
    json_object_set_new(all, discovery_topic(settings, NULL, topic),
                        device(settings, GATEWAY_ITSELF));
    for (size_t i = 0; i < settings->n_devices; i++)
        json_object_set_new(all, discovery_topic(settings, settings->devices[i].id, topic),
                            device(settings, i));
    compare(all, golden_path);
    settings_free(settings);
}

static void each_kind_of_entity_is_announced_as_written_down(void **state)
{
    assert_golden("house");
}

/* to a sensor that shows no number nothing is a text, too */
static void message_without_a_field_leaves_what_its_sensor_shows(void **state)
{
    static const struct {
        const char *id;
        bool keeps;
    } cases[] = {{"c_text", true},
                 {"c_word", true},
                 {"c_count", true},
                 {"c_heat", false},
                 {"c_open", false}};
    json_t *document;

    component(&document,
              "      c:\n        uuid: 0xff01\n        fields:\n"
              "          kind: { type: uint8 }\n"
              "          heat: { type: uint8, unit: °C, when: { field: kind, equals: 1 } }\n"
              "          open: { type: bool, when: { field: kind, equals: 2 } }\n"
              "          count: { type: uint8, when: { field: kind, equals: 3 } }\n"
              "          word: { type: uint8, enum: { 0: a, 1: b }, when: { field: kind, equals: 4 "
              "} }\n"
              "          text: { type: string, when: { field: kind, equals: 5 } }\n",
              "c_kind");
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const json_t *each = json_object_get(json_object_get(document, "components"), cases[i].id);
        const char *text = text_of(each, "value_template");
        assert_non_null(strstr(text, "in value_json"));
        assert_int_equal(strstr(text, "this.state") != NULL, cases[i].keeps);
    }
    json_decref(document);
}

/* of a longer one Home Assistant shows nothing */
static void state_has_at_most_255_characters(void **state)
{
    static const struct {
        const char *id;
        bool cut;
    } cases[] = {{"c_long", true},
                 {"c_bytes", true},
                 {"c_text", false},
                 {"c_hex", false},
                 {"whole_value", true}};
    json_t *document;

    component(&document,
              "      whole: { uuid: 0xff02 }\n"
              "      c:\n        uuid: 0xff01\n        fields:\n"
              "          text: { type: string, length: 255 }\n"
              "          hex: { type: bytes, length: 127 }\n"
              "          bytes: { type: bytes, length: 128 }\n"
              "          long: { type: string }\n",
              "c_long");
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const json_t *each = json_object_get(json_object_get(document, "components"), cases[i].id);
        const char *text = text_of(each, "value_template");
        assert_non_null(text);
        assert_int_equal(strstr(text, "[:255]") != NULL, cases[i].cut);
    }
    json_decref(document);
}

static void composed_entities_are_announced_as_written_down(void **state)
{
    assert_golden("composed");
}

struct documents {
    struct discovery_about about;
    json_t *all;
};

static void add_document(void *data, const struct discovery_entity *entity)
{
    _cleanup_(strbuf_done) struct strbuf text = STRBUF_INIT;
    const struct documents *documents = data;
    const char *id = documents->about.device ? documents->about.device->id : NULL;
    char topic[DISCOVERY_TOPIC_SIZE], path[DISCOVERY_PATH_SIZE];

    discovery_write_entity(&text, &documents->about, entity);
    discovery_entity_topic(documents->about.settings, id, entity->path, topic);
    assert_true(discovery_is_topic_of(documents->about.settings, id, topic));
    assert_true(discovery_path_of(documents->about.settings, id, topic, path));
    assert_string_equal(path, entity->path);
    json_object_set_new(documents->all, topic, parse(&text));
}

static void each_entity_has_a_document_of_its_own_in_the_form_of_components(void **state)
{
    struct settings *settings = load_path(TEST_DATA "/discovery/house.yaml");
    json_t *all = json_object();

    for (size_t i = 0; i <= settings->n_devices; i++) {
        struct documents documents = {
            .about = about_device(settings, i < settings->n_devices ? i : GATEWAY_ITSELF),
            .all = all};
        assert_true(discovery_each(settings, documents.about.device, add_document, &documents));
    }
    compare(all, TEST_DATA "/discovery/components.json");
    settings_free(settings);
}

/* what Home Assistant's documentation asks for: the platform alone */
static void entity_that_is_gone_is_marked_in_the_document(void **state)
{
    static const char *const gone[] = {"sensor/climate_dust", "switch/battery_value"};
    _cleanup_(strbuf_done) struct strbuf text = STRBUF_INIT;
    struct settings *settings = load_path(TEST_DATA "/discovery/house.yaml");
    const struct discovery_about about = about_device(settings, 0);

    discovery_write_device(&text, &about, gone, ARRAY_SIZE(gone));
    json_t *document = parse(&text), *before = device(settings, 0);
    json_t *components = json_object_get(document, "components");
    json_t *marked = json_pack("{s:{s:s},s:{s:s}}", "climate_dust", "platform", "sensor",
                               "battery_value", "platform", "switch");
    json_object_update(json_object_get(before, "components"), marked);
    assert_int_equal(json_object_size(components),
                     json_object_size(json_object_get(before, "components")));
    assert_true(json_equal(document, before));
    json_decref(marked);
    json_decref(before);
    json_decref(document);
    settings_free(settings);
}

/* ---- what the golden file does not show ---- */

static void device_whose_address_is_not_known_has_no_connection(void **state)
{
    json_t *document;

    component(&document, "      x: { uuid: 0x2A19, subscribe: true }\n", "x_value");
    assert_null(json_object_get(json_object_get(document, "device"), "connections"));
    assert_string_equal(text_of(json_object_get(document, "device"), "name"), "d");
    json_decref(document);
}

static void control_is_offered_only_where_the_field_can_be_written_alone(void **state)
{
    static const struct {
        const char *fields, *platform;
    } cases[] = {
        {"a: { type: uint8 }", "number"},
        {"a: { type: uint8 }, b: { type: uint8 }", "sensor"},
        {"a: { type: uint8 }, b: { type: uint8, default: 1 }", "number"},
        {"a: { type: uint8 }, b: { type: uint8 } }, set: merge, publish: { on: always", "number"},
        {"a: { type: uint8 }, b: { type: uint8, const: 1 }", "number"},
        {"a: { type: uint8 }, b: { type: uint8, checksum: sum8 }", "number"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char text[256];
        json_t *document;
        snprintf(text, sizeof(text), "      x: { uuid: 0xFF01, writable: true, fields: { %s } }\n",
                 cases[i].fields);
        json_t *found = component(&document, text, "x_a");
        assert_string_equal(text_of(found, "platform"), cases[i].platform);
        json_decref(document);
    }
}

static void number_has_the_bounds_of_its_type(void **state)
{
    static const struct {
        const char *field;
        double min, max, step;
    } cases[] = {
        {"type: uint8", 0, 255, 1},
        {"type: int16", -32768, 32767, 1},
        {"type: int8, scale: 0.5, add: 10", -54, 73.5, 0.5},
        {"type: uint8, bits: [0, 4]", 0, 15, 1},
        {"type: uint8, min: 2, max: 9, step: 3", 2, 9, 3},
        {"type: uint16, scale: 0.0001", 0, 6.5535, 0.001},
        {"type: uint64", 0, 9007199254740990.0, 1},
        {"type: float32", -1e9, 1e9, 0.001},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char text[256];
        json_t *document;
        snprintf(text, sizeof(text),
                 "      x: { uuid: 0xFF01, writable: true, fields: { value: { %s } } }\n",
                 cases[i].field);
        json_t *found = component(&document, text, "x_value");
        assert_string_equal(text_of(found, "platform"), "number");
        assert_float_equal(json_number_value(json_object_get(found, "min")), cases[i].min, 1e-9);
        assert_float_equal(json_number_value(json_object_get(found, "max")), cases[i].max, 1e-9);
        assert_float_equal(json_number_value(json_object_get(found, "step")), cases[i].step, 1e-9);
        json_decref(document);
    }
}

static void state_class_fits_the_device_class(void **state)
{
    static const struct {
        const char *field, *state_class;
    } cases[] = {
        {"unit: °C", "measurement"},
        {"unit: kWh", NULL},
        {"unit: kWh, state_class: total_increasing", "total_increasing"},
        {"unit: kWh, state_class: measurement", NULL},
        {"unit: °C, state_class: total", NULL},
        {"unit: km, device_class: distance, state_class: total_increasing", "total_increasing"},
        {"unit: °, device_class: wind_direction", "measurement_angle"},
        {"unit: m, state_class: measurement_angle", NULL},
        {"unit: steps, state_class: nonsense", "measurement"},
        {"state_class: total", "total"},
        {"min: 0", NULL},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char text[256];
        json_t *document;
        snprintf(text, sizeof(text),
                 "      x: { uuid: 0xFF01, subscribe: true, fields: { value: { type: uint16, %s } "
                 "} }\n",
                 cases[i].field);
        json_t *found = component(&document, text, "x_value");
        const char *state_class = text_of(found, "state_class");
        if (cases[i].state_class)
            assert_string_equal(state_class, cases[i].state_class);
        else
            assert_null(state_class);
        json_decref(document);
    }
}

static void same_field_name_twice_is_told_apart(void **state)
{
    json_t *document;

    json_t *found = component(
        &document,
        "      x: { uuid: 0xFF01, subscribe: true, fields: { level: { type: uint8 } } }\n"
        "      y: { uuid: 0xFF02, subscribe: true, fields: { level: { type: uint8 } } }\n",
        "x_level");
    assert_string_equal(text_of(found, "name"), "X level");
    json_decref(document);
}

static void name_of_a_sig_field_is_for_people(void **state)
{
    json_t *document;
    const json_t *entity = component(&document, "      rate: { uuid: 0x2A37, subscribe: true }\n",
                                     "rate_heart_rate_measurement_value");

    assert_string_equal(text_of(entity, "name"), "Heart rate");
    json_decref(document);
}

static void what_only_steps_use_is_no_entity(void **state)
{
    struct settings *settings =
        load("mqtt: { url: mqtt://b }\n"
             "devices:\n  d:\n    match: { name: D }\n"
             "    poll:\n"
             "      - write: { characteristic: mode, value: { raw: \"01\" } }\n"
             "      - repeat: { every: 1s, max: 2, steps: [ { read: answer } ] }\n"
             "      - write: { characteristic: relay, value: { raw: \"01\" } }\n"
             "    characteristics:\n"
             "      mode: { uuid: 0xFF01 }\n"
             "      answer: { uuid: 0xFF02 }\n"
             "      relay: { uuid: 0xFF03, writable: true }\n"
             "      button: { uuid: 0xFF04 }\n");
    json_t *document = device(settings, 0);
    const json_t *components = json_object_get(document, "components");

    assert_null(json_object_get(components, "mode_value"));
    assert_non_null(json_object_get(components, "answer_value"));
    assert_non_null(json_object_get(components, "relay_value"));
    assert_non_null(json_object_get(components, "button_value")); /* somebody may ask for it */
    json_decref(document);
    settings_free(settings);
}

static void topics_of_documents_are_known_by_their_end(void **state)
{
    static const struct {
        const char *device, *topic;
        bool is;
    } cases[] = {
        {"a", "homeassistant/device/gatt2mqtt_a/config", true},
        {"a", "any/prefix/device/gatt2mqtt_a/config", true},
        {"a", "/device/gatt2mqtt_a/config", false}, /* there is no prefix */
        {"a", "homeassistant/device/gatt2mqtt_ab/config", false},
        {"a", "homeassistant/device/gatt2mqtt_a/config/x", false},
        {"a", "homeassistant/device/other_a/config", false},
        {"a", "homeassistant/light/gatt2mqtt_a/config", false}, /* of what entity? */
        {"a", "homeassistant/light/gatt2mqtt_a_/config", false},
        {"a", "homeassistant/light/gatt2mqtt_a_b_c/config", true},
        {"a", "any/prefix/light/gatt2mqtt_a_b_c/config", true},
        {"a", "homeassistant/light/gatt2mqtt_ab_c/config", false},
        {"a", "homeassistant/light/node/gatt2mqtt_a_b/config/x", false},
        {"a", "/light/gatt2mqtt_a_b_c/config", false},
        {"a", "gatt2mqtt_a_b_c/config", false},
        {"a", "/config", false},
        {"a", "", false},
        {NULL, "homeassistant/device/gatt2mqtt_bridge_gw/config", true},
        {NULL, "homeassistant/device/gatt2mqtt_bridge_other/config", false},
        {NULL, "homeassistant/device/gatt2mqtt_gw/config", false},
        {NULL, "homeassistant/binary_sensor/gatt2mqtt_bridge_gw_status/config", true},
        {NULL, "homeassistant/binary_sensor/gatt2mqtt_bridge_gw2_status/config", false},
    };
    struct settings settings = {.gateway.id = (char *)"gw"};

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        assert_int_equal(discovery_is_topic_of(&settings, cases[i].device, cases[i].topic),
                         cases[i].is);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_kind_of_entity_is_announced_as_written_down),
        cmocka_unit_test(composed_entities_are_announced_as_written_down),
        cmocka_unit_test(message_without_a_field_leaves_what_its_sensor_shows),
        cmocka_unit_test(state_has_at_most_255_characters),
        cmocka_unit_test(each_entity_has_a_document_of_its_own_in_the_form_of_components),
        cmocka_unit_test(entity_that_is_gone_is_marked_in_the_document),
        cmocka_unit_test(device_whose_address_is_not_known_has_no_connection),
        cmocka_unit_test(control_is_offered_only_where_the_field_can_be_written_alone),
        cmocka_unit_test(number_has_the_bounds_of_its_type),
        cmocka_unit_test(state_class_fits_the_device_class),
        cmocka_unit_test(same_field_name_twice_is_told_apart),
        cmocka_unit_test(name_of_a_sig_field_is_for_people),
        cmocka_unit_test(what_only_steps_use_is_no_entity),
        cmocka_unit_test(topics_of_documents_are_known_by_their_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
