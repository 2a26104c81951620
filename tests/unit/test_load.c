/*
 * The configuration: what a person gets told, and what the core gets. Each file in
 * tests/data/config/bad and warn has its messages beside it; UPDATE_GOLDEN=1 writes them anew.
 */
#include "config/load.h"

#include "config/suggest.h"
#include "config/table.h"
#include "core/request.h"
#include "util/cleanup.h"
#include "util/strbuf.h"
#include "util/time.h"
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
/* cmocka wants the ones above */
#include <cmocka.h>

struct loaded {
    struct diags diags;
    struct settings *settings;
    int r;
};

static const struct config_options options = {.host_name = "testhost.example"};

static struct loaded load_path(const char *path, const char *shown)
{
    struct loaded l = {0};

    assert_int_equal(diags_init(&l.diags, shown), 0);
    l.r = config_load(path, &options, &l.diags, &l.settings);
    return l;
}

static struct loaded load_n(const char *text, size_t length)
{
    char path[64];
    int fd = memfd_create("config", 0);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, length), length);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    struct loaded l = load_path(path, "f");
    close(fd);
    return l;
}

static struct loaded load(const char *text)
{
    return load_n(text, strlen(text));
}

static void done(struct loaded *l)
{
    settings_free(l->settings);
    diags_done(&l->diags);
}

static char *messages(struct loaded *l)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    assert_non_null(out);
    diags_print(&l->diags, out);
    fclose(out);
    return text;
}

/* a file that must be good */
static struct loaded load_good(const char *text)
{
    struct loaded l = load(text);

    if (l.r != 0)
        fail_msg("%s", messages(&l));
    return l;
}

static void assert_says(const char *text, const char *part)
{
    struct loaded l = load(text);
    char *said = messages(&l);

    assert_int_equal(l.r, CONFIG_E_INVALID);
    assert_null(l.settings);
    if (!strstr(said, part))
        fail_msg("'%s' is not in:\n%s", part, said);
    free(said);
    done(&l);
}

#define MQTT   "mqtt: {url: mqtt://broker.lan}\n"
#define DEVICE MQTT "devices:\n  a:\n    match: {name: A}\n    characteristics:\n"

/* ---- golden files ---- */

static char *read_file(const char *path)
{
    struct strbuf text = STRBUF_INIT;
    char buf[4096];
    size_t n;
    FILE *file = fopen(path, "r");

    if (!file)
        return strdup("(there is no such file)\n");
    while ((n = fread(buf, 1, sizeof(buf), file)) > 0)
        strbuf_append(&text, buf, n);
    fclose(file);
    return strbuf_take(&text);
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

/* one file against what stands beside it; counts what differs */
static int compare(const char *folder, const char *name, bool is_bad)
{
    char path[512], expected_path[512];
    size_t stem = strlen(name) - strlen(".yaml");

    snprintf(path, sizeof(path), TEST_DATA "/config/%s/%s", folder, name);
    snprintf(expected_path, sizeof(expected_path), TEST_DATA "/config/%s/%.*s.expected", folder,
             (int)stem, name);
    struct loaded l = load_path(path, name);
    char *said = messages(&l);
    if (getenv("UPDATE_GOLDEN"))
        write_file(expected_path, said);
    char *expected = read_file(expected_path);
    int differs = strcmp(said, expected) != 0;
    if (differs)
        print_error("%s/%s says:\n%sinstead of:\n%s\n", folder, name, said, expected);
    assert_int_equal(l.r, is_bad ? CONFIG_E_INVALID : 0);
    assert_true(is_bad == (l.diags.n_errors > 0));
    assert_true(is_bad == (l.settings == NULL));
    free(expected);
    free(said);
    done(&l);
    return differs;
}

static int compare_folder(const char *folder, bool is_bad, int at_least)
{
    char path[512];
    struct dirent *entry;
    int n = 0, differ = 0;

    snprintf(path, sizeof(path), TEST_DATA "/config/%s", folder);
    DIR *dir = opendir(path);
    assert_non_null(dir);
    while ((entry = readdir(dir)))
        if (strstr(entry->d_name, ".yaml")) {
            differ += compare(folder, entry->d_name, is_bad);
            n++;
        }
    closedir(dir);
    assert_true(n >= at_least);
    return differ;
}

static void bad_files_are_told_where_what_and_what_instead(void **state)
{
    assert_int_equal(compare_folder("bad", true, 24), 0);
}

static void dubious_files_load_with_a_warning(void **state)
{
    assert_int_equal(compare_folder("warn", false, 5), 0);
}

/* ---- what the core gets ---- */

static void the_samples_load_without_a_word(void **state)
{
    static const char *const samples[] = {"minimal.yaml", "gatt2mqtt.yaml", "bms.yaml",
                                          "uart.yaml"};

    for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
        char path[512];
        snprintf(path, sizeof(path), SOURCE_ROOT "/config/%s", samples[i]);
        struct loaded l = load_path(path, samples[i]);
        char *said = messages(&l);
        assert_string_equal(said, "");
        assert_int_equal(l.r, 0);
        free(said);
        done(&l);
    }
}

static void what_is_not_given_has_its_documented_default(void **state)
{
    struct loaded l = load_good(DEVICE "      b: {uuid: 0xFFE1, subscribe: true}\n");
    const struct settings *s = l.settings;
    const struct device_settings *d = &s->devices[0];
    const struct characteristic_settings *c = &d->characteristics[0];

    assert_string_equal(s->mqtt.host, "broker.lan");
    assert_int_equal(s->mqtt.port, 1883);
    assert_int_equal(s->mqtt.transport, MQTT_TRANSPORT_TCP);
    assert_int_equal(s->mqtt.protocol, 5);
    assert_int_equal(s->mqtt.keepalive_ms, 30000);
    assert_int_equal(s->mqtt.buffer_messages, 10000);
    assert_int_equal(s->mqtt.buffer_bytes, 8 << 20);
    assert_null(s->mqtt.username);
    assert_null(s->mqtt.tls_ca);
    assert_string_equal(s->gateway.id, "testhost");
    assert_string_equal(s->mqtt.client_id, "gatt2mqtt-testhost");
    assert_string_equal(s->gateway.base_topic, "gatt2mqtt");
    assert_int_equal(s->commands.allow, OPERATIONS_DEFAULT_BITS);
    assert_int_equal(s->commands.n_reply_to, 0);
    assert_false(s->commands.allow_raw);
    assert_int_equal(s->bluetooth.n_adapters, 0);
    assert_int_equal(s->bluetooth.connections, 5);
    assert_true(s->bluetooth.power_on);
    assert_int_equal(strlen(s->hash), 16);
    assert_true(d->enabled);
    assert_int_equal(d->connection.mode, CONNECTION_MODE_PERSISTENT);
    assert_int_equal(d->bind, BIND_MODE_STICKY);
    assert_int_equal(d->reconnect_min_ms, 250);
    assert_int_equal(d->reconnect_max_ms, 60000);
    assert_int_equal(d->queue_timeout_ms, 10000);
    assert_null(d->gateway);
    assert_false(d->match.has_address || d->match.has_min_rssi || d->match.has_manufacturer);
    assert_int_equal(c->qos, 1);
    assert_true(c->retain && c->readable && c->subscribe);
    assert_false(c->writable || c->history_latest || c->has_service);
    assert_int_equal(c->index, -1);
    assert_int_equal(c->response, TRI_AUTO);
    assert_int_equal(c->payload, PAYLOAD_JSON);
    assert_null(c->schema);
    done(&l);
}

static void formats_of_the_bluetooth_sig_need_no_fields(void **state)
{
    struct loaded l =
        load_good(DEVICE "      a: {uuid: 0x2A37, subscribe: true}\n"
                         "      b: {uuid: 0x2A37, subscribe: true, payload: hex}\n"
                         "      c: {uuid: 0x2A37, subscribe: true, fields: {x: {type: uint8}}}\n"
                         "      d: {uuid: 00002a19-0000-1000-8000-00805f9b34fb, payload: value,\n"
                         "          subscribe: true}\n");
    const struct characteristic_settings *c = l.settings->devices[0].characteristics;

    assert_true(schema_find(c[0].schema, "heart_rate_measurement_value") != SIZE_MAX);
    assert_null(c[1].schema);
    assert_int_equal(c[2].schema->n_fields, 1);
    assert_string_equal(c[3].schema->fields[0].unit, "%");
    done(&l);
}

/* what the documentation shows as the default of `allow` is what it is */
static void the_default_of_allow_is_as_it_is_shown(void **state)
{
    char text[] = OPERATIONS_DEFAULT, *rest = text;
    uint32_t bits = 0;

    for (const char *name; (name = strtok_r(rest, ", ", &rest));) {
        enum operation operation = operation_find(name, strlen(name));
        assert_int_not_equal(operation, N_OPERATIONS);
        bits |= OPERATION_BIT(operation);
    }
    assert_int_equal(bits, OPERATIONS_DEFAULT_BITS);
}

static void what_is_given_arrives(void **state)
{
    struct loaded l = load_good(
        "mqtt: {url: 'wss://[2001:db8::1]:9001/mqtt', username: u, password: p, client_id: me,\n"
        "  protocol: 3.1.1, keepalive: 2m, buffer: {messages: 20, bytes: 512KiB}}\n"
        "gateway: {id: g, base_topic: home/ble}\n"
        "commands: {allow: [log_level, read], reply_to: [clients/answers], allow_raw: true}\n"
        "bluetooth: {adapters: [AA:BB:CC:DD:EE:FF, hci10], connections: 0x7, power_on: false}\n"
        "devices:\n"
        "  d:\n"
        "    match: {address: a4:c1:38:cf:01:56, address_type: random, name: 'X*', service: "
        "[0x180D,\n"
        "      0000ffe0-0000-1000-8000-00805f9b34fb], manufacturer: {id: 76, data: '02 15'},\n"
        "      min_rssi: -80}\n"
        "    enabled: false\n"
        "    adapter: hci1\n"
        "    queue_timeout: 0\n"
        "    gateway: garage\n"
        "    reconnect: {min: 1s, max: 5m}\n"
        "    characteristics:\n"
        "      c: {name: C, service: 0x180F, uuid: 0x2A19, handle: 0x2a, has: [notify, write], "
        "index: 2,\n"
        "        subscribe: true, notify: socket, read: {every: 10m, on_connect: true}, writable: "
        "true,\n"
        "        response: false, qos: 0, kind: event, history: latest, payload: hex}\n");
    const struct settings *s = l.settings;
    const struct device_settings *d = &s->devices[0];
    const struct characteristic_settings *c = &d->characteristics[0];

    assert_int_equal(s->mqtt.transport, MQTT_TRANSPORT_WSS);
    assert_string_equal(s->mqtt.host, "2001:db8::1");
    assert_int_equal(s->mqtt.port, 9001);
    assert_string_equal(s->mqtt.path, "/mqtt");
    assert_string_equal(s->mqtt.password, "p");
    assert_string_equal(s->mqtt.client_id, "me");
    assert_int_equal(s->mqtt.protocol, 4);
    assert_int_equal(s->mqtt.keepalive_ms, 120000);
    assert_int_equal(s->mqtt.buffer_bytes, 512 << 10);
    assert_string_equal(s->gateway.base_topic, "home/ble");
    assert_int_equal(s->commands.allow,
                     OPERATION_BIT(OPERATION_LOG_LEVEL) | OPERATION_BIT(OPERATION_READ));
    assert_int_equal(s->commands.n_reply_to, 1);
    assert_string_equal(s->commands.reply_to[0], "clients/answers");
    assert_true(s->commands.allow_raw);
    assert_int_equal(s->bluetooth.n_adapters, 2);
    assert_null(s->bluetooth.adapters[0].name);
    assert_int_equal(s->bluetooth.adapters[0].address.b[5], 0xff);
    assert_string_equal(s->bluetooth.adapters[1].name, "hci10");
    assert_int_equal(s->bluetooth.connections, 7);
    assert_false(s->bluetooth.power_on);
    assert_int_equal(d->match.address.b[0], 0xa4);
    assert_int_equal(d->match.address_type, BT_ADDRESS_RANDOM);
    assert_int_equal(d->match.n_services, 2);
    assert_int_equal(bt_uuid_to_u16(&d->match.services[1]), 0xffe0);
    assert_int_equal(d->match.manufacturer, 0x004c);
    assert_int_equal(d->match.manufacturer_prefix_length, 2);
    assert_int_equal(d->match.manufacturer_prefix[1], 0x15);
    assert_int_equal(d->match.min_rssi, -80);
    assert_true(d->match.has_address && d->match.has_min_rssi && d->match.has_manufacturer);
    assert_false(d->enabled);
    assert_string_equal(d->adapter->name, "hci1");
    assert_int_equal(d->queue_timeout_ms, 0);
    assert_string_equal(d->gateway, "garage");
    assert_int_equal(d->reconnect_max_ms, 300000);
    assert_int_equal(c->handle, 42);
    assert_int_equal(c->has_flags, GATT_FLAG_NOTIFY | GATT_FLAG_WRITE);
    assert_int_equal(c->index, 2);
    assert_int_equal(c->notify, NOTIFY_SOCKET);
    assert_int_equal(c->read_every_ms, 600000);
    assert_true(c->read_on_connect && c->writable && c->history_latest);
    assert_int_equal(c->response, TRI_NO);
    assert_int_equal(c->qos, 0);
    assert_false(c->retain); /* an event */
    done(&l);
}

static void fields_are_compiled_in_their_order(void **state)
{
    struct loaded l = load_good(
        DEVICE "      b:\n"
               "        uuid: 0x2A19\n"
               "        subscribe: true\n"
               "        endian: big\n"
               "        extra: error\n"
               "        fields:\n"
               "          z: {type: int16, scale: 0.01, add: -40, unit: °C, invalid: 0x8000}\n"
               "          a: {type: uint8, bits: [4, 2], endian: little}\n"
               "          m: {type: uint8, offset: 2, bit: 0, enum: {0: off, 1: on}, default: on}\n"
               "          s: {type: string, publish: false}\n");
    const struct schema *schema = l.settings->devices[0].characteristics[0].schema;

    assert_non_null(schema);
    assert_int_equal(schema->n_fields, 4);
    assert_true(schema->extra_is_error);
    assert_string_equal(schema->fields[0].name, "z");
    assert_true(schema->fields[0].big_endian);
    assert_int_equal(schema->fields[0].scale.mantissa, 1);
    assert_int_equal(schema->fields[0].scale.decimals, 2);
    assert_int_equal(schema->fields[0].add.mantissa, -40);
    assert_true(schema->fields[0].has_invalid);
    assert_int_equal(schema->fields[1].offset, 2);
    assert_int_equal(schema->fields[1].bit_first, 4);
    assert_int_equal(schema->fields[1].bit_count, 2);
    assert_false(schema->fields[1].big_endian);
    assert_int_equal(schema->fields[2].offset, 2);
    assert_true(schema->fields[2].has_default);
    assert_int_equal(schema->fields[2].default_value.mantissa, 1);
    assert_int_equal(schema->fields[3].offset, 3);
    assert_false(schema->fields[3].publish);
    done(&l);
}

static void a_devices_own_keys_win_over_its_profiles_deep(void **state)
{
    struct loaded l =
        load_good(MQTT "profiles:\n"
                       "  p:\n"
                       "    model: M\n"
                       "    area: Cellar\n"
                       "    characteristics:\n"
                       "      c:\n"
                       "        uuid: 0x2A6E\n"
                       "        subscribe: true\n"
                       "        fields: {a: {type: uint8, unit: V}, b: {type: uint16}}\n"
                       "      other: {uuid: 0x2A19, subscribe: true}\n"
                       "devices:\n"
                       "  one:\n"
                       "    profile: p\n"
                       "    area: Attic\n"
                       "    match: {name: A}\n"
                       "    characteristics:\n"
                       "      own: {uuid: 0x2A1C, subscribe: true}\n"
                       "      c: {qos: 0, fields: {a: {unit: mV}, n: {type: uint8}}}\n"
                       "  two: {profile: p, match: {name: B}}\n");
    const struct device_settings *one = &l.settings->devices[0], *two = &l.settings->devices[1];

    assert_string_equal(one->model, "M");
    assert_string_equal(one->area, "Attic");
    assert_string_equal(two->area, "Cellar");
    assert_int_equal(one->n_characteristics, 3);
    assert_int_equal(two->n_characteristics, 2);
    assert_string_equal(one->characteristics[0].id, "c");
    assert_string_equal(one->characteristics[2].id, "own");
    assert_int_equal(one->characteristics[0].qos, 0);
    assert_int_equal(two->characteristics[0].qos, 1);
    const struct schema *schema = one->characteristics[0].schema;
    assert_int_equal(schema->n_fields, 3);
    assert_string_equal(schema->fields[0].name, "a"); /* the profile's order: it is the bytes' */
    assert_string_equal(schema->fields[0].unit, "mV");
    assert_string_equal(schema->fields[1].name, "b");
    assert_string_equal(schema->fields[2].name, "n");
    assert_int_equal(schema->fields[2].offset, 3);
    done(&l);
}

static void words_and_addresses_need_no_quotes(void **state)
{
    struct loaded l =
        load_good(DEVICE "      b: {uuid: 0x2A19, subscribe: true, name: off, fields: {f: {type: "
                         "bool, enum: {0: no, 1: yes}}}}\n"
                         "  e: {match: {address: 12:34:56:78:90:12}, name: no}\n");

    assert_string_equal(l.settings->devices[0].characteristics[0].name, "off");
    assert_string_equal(l.settings->devices[0].characteristics[0].schema->fields[0].enums[0].name,
                        "no");
    assert_int_equal(l.settings->devices[1].match.address.b[0], 0x12);
    done(&l);
}

static void the_hash_tells_versions_apart_and_nothing_of_the_password(void **state)
{
    static const char format[] = "mqtt: { url: mqtt://h, username: u, password: %s }\n"
                                 "gateway: { id: %s }\n";
    const char *with[][2] = {{"one", "g"}, {"other", "g"}, {"one", "h"}};
    struct loaded l[3];
    char text[200];

    for (size_t i = 0; i < 3; i++) {
        snprintf(text, sizeof(text), format, with[i][0], with[i][1]);
        l[i] = load_good(text);
    }
    assert_string_equal(l[0].settings->hash, l[1].settings->hash);
    assert_string_not_equal(l[0].settings->hash, l[2].settings->hash);
    for (size_t i = 0; i < 3; i++)
        done(&l[i]);
}

static void the_hash_says_nothing_of_a_passkey(void **state)
{
    static const char format[] = "mqtt: { url: mqtt://h }\ngateway: { id: g }\n"
                                 "profiles: { p: { passkey: \"%s\" } }\n"
                                 "devices: { d: { profile: p, match: { name: D } },\n"
                                 "  e: { passkey: \"%s\", match: { name: E } } }\n";
    struct loaded l[2];
    char text[400];

    for (size_t i = 0; i < 2; i++) {
        snprintf(text, sizeof(text), format, i ? "1" : "2", i ? "3" : "4");
        l[i] = load_good(text);
    }
    assert_string_equal(l[0].settings->devices[0].passkey, "2");
    assert_string_equal(l[0].settings->devices[1].passkey, "4");
    assert_string_equal(l[0].settings->hash, l[1].settings->hash);
    /* but it is another device to a reload */
    assert_true(l[0].settings->devices[0].hash != l[1].settings->devices[0].hash);
    for (size_t i = 0; i < 2; i++)
        done(&l[i]);
}

static void a_passkey_comes_from_elsewhere_too(void **state)
{
    static const char text[] = "mqtt: { url: mqtt://h }\ngateway: { id: g }\n"
                               "devices: { d: { passkey: !env GATT2MQTT_TEST_PASSKEY,\n"
                               "  match: { name: D } } }\n";

    assert_int_equal(setenv("GATT2MQTT_TEST_PASSKEY", "004711", 1), 0);
    struct loaded l = load_good(text);
    assert_string_equal(l.settings->devices[0].passkey, "004711");
    done(&l);
    assert_int_equal(setenv("GATT2MQTT_TEST_PASSKEY", "47x", 1), 0);
    assert_says(text, "'passkey' must be one to 6 digits");
    assert_int_equal(unsetenv("GATT2MQTT_TEST_PASSKEY"), 0);
}

static void a_useless_host_name_is_no_gateway_id(void **state)
{
    static const char *const names[] = {"localhost", "localhost.localdomain", "pi garage", ""};

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        const struct config_options other = {.host_name = names[i]};
        char path[] = SOURCE_ROOT "/tests/data/config/warn/03-no-devices.yaml";
        struct loaded l = {0};

        assert_int_equal(diags_init(&l.diags, "f"), 0);
        l.r = config_load(path, &other, &l.diags, &l.settings);
        assert_int_equal(l.r, CONFIG_E_INVALID);
        char *said = messages(&l);
        assert_non_null(strstr(said, "'gateway.id' is missing"));
        free(said);
        done(&l);
    }
}

/* ---- secrets ---- */

/* a file of its own in a folder of its own, below `parent` */
struct secret_file {
    char folder[64], path[96];
};

static struct secret_file secret_file_new(const char *parent, const void *data, size_t length,
                                          mode_t mode)
{
    struct secret_file file;

    snprintf(file.folder, sizeof(file.folder), "%s/gatt2mqtt-XXXXXX", parent);
    if (!mkdtemp(file.folder)) {
        file.folder[0] = '\0';
        return file;
    }
    snprintf(file.path, sizeof(file.path), "%s/secret", file.folder);
    FILE *out = fopen(file.path, "w");
    assert_non_null(out);
    assert_int_equal(fwrite(data, 1, length, out), length);
    fclose(out);
    assert_int_equal(chmod(file.path, mode), 0);
    return file;
}

static void secret_file_done(const struct secret_file *file)
{
    unlink(file->path);
    rmdir(file->folder);
}

static struct loaded load_password(const char *how)
{
    char text[256];

    snprintf(text, sizeof(text), "mqtt: {url: mqtt://b, username: u, password: %s}\n", how);
    return load(text);
}

/* the password that a file gives, or what is said */
static char *password_from(const void *data, size_t length, mode_t mode)
{
    struct secret_file file = secret_file_new("/tmp", data, length, mode);
    char how[128];

    snprintf(how, sizeof(how), "!file %s", file.path);
    struct loaded l = load_password(how);
    char *result = l.r == 0 ? strdup(l.settings->mqtt.password) : messages(&l);
    done(&l);
    secret_file_done(&file);
    return result;
}

static void assert_password(const char *data, const char *expected)
{
    char *password = password_from(data, strlen(data), 0600);

    assert_string_equal(password, expected);
    free(password);
}

static void a_password_file_loses_one_line_break_and_nothing_else(void **state)
{
    assert_password("secret", "secret");
    assert_password("secret\n", "secret");
    assert_password("secret\r\n", "secret");
    assert_password("secret\n\n", "secret\n");
    assert_password(" se cret ", " se cret ");
}

static void assert_refused(const void *data, size_t length, mode_t mode, const char *part)
{
    char *said = password_from(data, length, mode);

    if (!strstr(said, part))
        fail_msg("'%s' is not in:\n%s", part, said);
    free(said);
}

static void a_password_file_that_is_unsafe_or_unfit_is_refused(void **state)
{
    static char large[64 * 1024 + 1];

    assert_refused("secret", 6, 0640, "other users may read the file");
    assert_refused("secret", 6, 0604, "forbid it by: chmod 600");
    assert_refused("", 0, 0600, "is empty");
    assert_refused("\n", 1, 0600, "is empty");
    assert_refused("a\0b", 3, 0600, "NUL");
    assert_refused("a\xff", 2, 0600, "no UTF-8");
    memset(large, 'x', sizeof(large));
    assert_refused(large, sizeof(large), 0600, "larger than 64 KiB");
    large[65535] = '\n';
    char *password = password_from(large, 65536, 0600); /* 65535 is all that MQTT has room for */
    assert_int_equal(strlen(password), 65535);
    free(password);
    large[65535] = 'x';
    assert_refused(large, 65536, 0600, "longer than 65535 bytes");
}

static void a_password_file_below_run_may_have_any_mode(void **state)
{
    struct secret_file file = secret_file_new("/run", "secret\n", 7, 0444);
    char how[128];

    if (!file.folder[0])
        skip(); /* only root may write there */
    snprintf(how, sizeof(how), "!file %s", file.path);
    struct loaded l = load_password(how);
    assert_int_equal(l.r, 0);
    assert_string_equal(l.settings->mqtt.password, "secret");
    done(&l);
    secret_file_done(&file);
}

static void a_password_comes_from_the_environment(void **state)
{
    assert_int_equal(setenv("GATT2MQTT_TEST_PASSWORD", "secret", 1), 0);
    struct loaded l = load_password("!env GATT2MQTT_TEST_PASSWORD");
    assert_int_equal(unsetenv("GATT2MQTT_TEST_PASSWORD"), 0);
    assert_int_equal(l.r, 0);
    assert_string_equal(l.settings->mqtt.password, "secret");
    done(&l);
}

static void a_password_comes_from_systemds_credentials(void **state)
{
    struct secret_file file = secret_file_new("/tmp", "secret", 6, 0444);

    assert_int_equal(setenv("CREDENTIALS_DIRECTORY", file.folder, 1), 0);
    struct loaded l = load_password("!credential secret");
    assert_int_equal(l.r, 0);
    assert_string_equal(l.settings->mqtt.password, "secret");
    done(&l);
    assert_says("mqtt: {url: mqtt://b, password: !credential ../x}\n", "no '/'");
    assert_int_equal(unsetenv("CREDENTIALS_DIRECTORY"), 0);
    assert_says("mqtt: {url: mqtt://b, password: !credential secret}\n",
                "LoadCredential=secret:PATH, or use !file");
    secret_file_done(&file);
}

/* `check` in a shell, or in a package's installation: the unit will have the credential */
static void a_credential_is_not_missed_where_the_file_is_only_looked_at(void **state)
{
    static const char text[] =
        "mqtt: {url: mqtt://b, protocol: 3.1.1, username: u, password: !credential mqtt}\n"
        "devices: {a: {match: {name: a}, passkey: !credential a}}\n";
    const struct config_options only_look = {.host_name = "host", .without_credentials = true};
    struct secret_file file = secret_file_new("/tmp", text, strlen(text), 0600);
    struct loaded l = {0};

    assert_int_equal(unsetenv("CREDENTIALS_DIRECTORY"), 0);
    assert_int_equal(diags_init(&l.diags, "f"), 0);
    l.r = config_load(file.path, &only_look, &l.diags, &l.settings);
    assert_int_equal(l.r, 0);
    assert_null(l.settings->mqtt.password);
    char *said = messages(&l);
    assert_non_null(strstr(said, "f:1:63: warning: 'password': not checked: "
                                 "$CREDENTIALS_DIRECTORY is not set"));
    assert_non_null(strstr(said, "f:2:42: warning: 'passkey': not checked: "));
    free(said);
    done(&l);

    /* where there are some, it is looked for */
    assert_int_equal(setenv("CREDENTIALS_DIRECTORY", file.folder, 1), 0);
    assert_int_equal(diags_init(&l.diags, "f"), 0);
    l.settings = NULL;
    l.r = config_load(file.path, &only_look, &l.diags, &l.settings);
    assert_int_equal(unsetenv("CREDENTIALS_DIRECTORY"), 0);
    assert_int_equal(l.r, CONFIG_E_INVALID);
    assert_int_equal(l.diags.n_errors, 2);
    done(&l);
    secret_file_done(&file);
}

static void no_message_shows_a_secret(void **state)
{
    static const char *const texts[] = {
        "mqtt: {url: 'mqtt://user:hunter2@b'}\n",
        "mqtt: {url: 'user:hunter2@b'}\n",
        "mqtt: {url: mqtt://b, protocol: 3.1.1, password: hunter2}\n",
        "mqtt: {url: mqtt://b, password: [hunter2]}\n",
        "mqtt: {url: mqtt://b, password: \"hunter2\\n\"}\n",
        "mqtt: {url: mqtt://b}\ndevices: {d: {match: {name: D}, passkey: hunter2}}\n",
        "mqtt: {url: mqtt://b}\ndevices: {d: {match: {name: D}, passkey: hunter}}\n",
    };

    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        struct loaded l = load(texts[i]);
        char *said = messages(&l);
        assert_int_equal(l.r, CONFIG_E_INVALID);
        assert_null(strstr(said, "hunter"));
        free(said);
        done(&l);
    }
}

/* ---- limits ---- */

static void numbers_of_devices_characteristics_and_fields_are_bounded(void **state)
{
    static const struct {
        const char *before, *entry, *after;
        int max;
    } cases[] = {
        {MQTT "devices: {", "d%d: {match: {name: A}}, ", "}\n", SETTINGS_MAX_DEVICES},
        {DEVICE, "      c%d: {uuid: 0x2A19, subscribe: true}\n", "", SETTINGS_MAX_CHARACTERISTICS},
        {DEVICE "      c: {uuid: 0x2A19, subscribe: true, fields: {", "f%d: {type: uint8}, ",
         "}}\n", SCHEMA_MAX_FIELDS},
        {DEVICE "      c: {uuid: 0x2A19, subscribe: true}\n    entities: {",
         "e%d: {platform: sensor, state: c}, ", "}\n", SETTINGS_MAX_ENTITIES},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        for (int more = 0; more < 2; more++) {
            struct strbuf text = STRBUF_INIT;

            strbuf_puts(&text, cases[i].before);
            for (int k = 0; k < cases[i].max + more; k++) {
                const char *mark = strchr(cases[i].entry, '%');
                strbuf_append(&text, cases[i].entry, (size_t)(mark - cases[i].entry));
                strbuf_printf(&text, "%d%s", k, mark + 2);
            }
            strbuf_puts(&text, cases[i].after);
            struct loaded l = load(strbuf_str(&text));
            assert_int_equal(l.r, more ? CONFIG_E_INVALID : 0);
            done(&l);
            strbuf_done(&text);
        }
}

static void the_length_of_an_id_is_bounded(void **state)
{
    char id[SETTINGS_MAX_ID + 2];

    for (int more = 0; more < 2; more++) {
        struct strbuf text = STRBUF_INIT;

        memset(id, 'x', sizeof(id));
        id[SETTINGS_MAX_ID + more] = '\0';
        strbuf_printf(&text, MQTT "devices: {%s: {match: {name: A}}}\n", id);
        struct loaded l = load(strbuf_str(&text));
        assert_int_equal(l.r, more ? CONFIG_E_INVALID : 0);
        done(&l);
        strbuf_done(&text);
    }
}

static void the_length_of_the_base_topic_is_bounded(void **state)
{
    for (int more = 0; more < 2; more++) {
        struct strbuf text = STRBUF_INIT;

        strbuf_puts(&text, MQTT "gateway: {base_topic: ");
        for (int i = 0; i < SETTINGS_MAX_BASE_TOPIC + more; i++)
            strbuf_putc(&text, 'x');
        strbuf_puts(&text, "}\n");
        struct loaded l = load(strbuf_str(&text));
        assert_int_equal(l.r, more ? CONFIG_E_INVALID : 0);
        done(&l);
        strbuf_done(&text);
    }
}

static void what_is_taken_literally_is_bounded(void **state)
{
    const size_t around = strlen("{\"a\":\"\"}");

    for (size_t more = 0; more < 2; more++) {
        struct strbuf text = STRBUF_INIT;

        strbuf_puts(&text, DEVICE "      c: {uuid: 0x2A19, subscribe: true, home_assistant: {a: ");
        for (size_t i = 0; i < SETTINGS_MAX_LITERAL - around + more; i++)
            strbuf_putc(&text, 'x');
        strbuf_puts(&text, "}}\n");
        struct loaded l = load(strbuf_str(&text));
        assert_int_equal(l.r, more ? CONFIG_E_INVALID : 0);
        done(&l);
        strbuf_done(&text);
    }
}

static void profiles_cannot_multiply_a_file_without_end(void **state)
{
    struct strbuf text = STRBUF_INIT;

    strbuf_puts(&text, MQTT "profiles:\n  p:\n    match: {name: A}\n    characteristics:\n");
    for (int i = 0; i < 40; i++) {
        strbuf_printf(&text, "      c%d: {uuid: 0x2A19, subscribe: true, fields: {", i);
        for (int k = 0; k < 40; k++)
            strbuf_printf(&text, "f%d: {type: uint8}, ", k);
        strbuf_puts(&text, "}}\n");
    }
    strbuf_puts(&text, "devices:\n");
    for (int i = 0; i < SETTINGS_MAX_DEVICES; i++)
        strbuf_printf(&text, "  d%d: {profile: p}\n", i);
    assert_says(strbuf_str(&text), "with those of profiles counted for each device");
    strbuf_done(&text);
}

/* ---- whatever the file says ---- */

static void assert_sound(const char *text, size_t length)
{
    struct loaded l = load_n(text, length);

    assert_true(l.r == 0 || l.r == CONFIG_E_INVALID);
    assert_true((l.r == 0) == (l.settings != NULL));
    assert_true((l.r == 0) == (l.diags.n_errors == 0));
    for (size_t i = 0; i < l.diags.n; i++)
        assert_true(l.diags.list[i].message[0] != '\0');
    done(&l);
}

static uint32_t next_random(uint32_t *state) /* xorshift32 */
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

/* a good file with a few bytes changed, or words of YAML's in strange places */
static void damage(struct strbuf *text, uint32_t *seed)
{
    static const char *const words[] = {
        "{",     "}",
        "[",     "]",
        ": ",    "- ",
        "&a ",   "*a",
        "<<: ",  "!file ",
        "!env ", "\"",
        "'",     "\n",
        "\t",    "#",
        "%",     "0x",
        "1e999", "99999999999999999999",
        "null",  "true",
        "|",     ">",
        "? ",    "profile: p\n",
        "\xff",  "\\",
        "---\n",
    };

    for (uint32_t n = 1 + next_random(seed) % 4; n; n--) {
        size_t at = next_random(seed) % text->length;
        if (next_random(seed) % 2) {
            text->data[at] = (char)next_random(seed);
        } else {
            const char *word = words[next_random(seed) % ARRAY_SIZE(words)];
            size_t length = MIN_OF(strlen(word), text->length - at);
            memcpy(text->data + at, word, length);
        }
    }
}

/* what we had of the processor: a busy machine must not count */
static uint64_t cpu_us(void)
{
    return (uint64_t)clock() * 1000000 / CLOCKS_PER_SEC;
}

static void no_damage_to_a_file_crashes(void **state)
{
    char *good = read_file(SOURCE_ROOT "/config/gatt2mqtt.yaml");
    size_t length = strlen(good);
    uint64_t end_us = cpu_us() + 2000000;
    uint32_t seed = 0x2a37;
    unsigned n = 0;

    for (size_t cut = 0; cut < length && cpu_us() < end_us - 1000000; cut += 1 + cut % 7)
        assert_sound(good, cut);
    while (n < 4000 && cpu_us() < end_us) {
        struct strbuf text = STRBUF_INIT;
        strbuf_append(&text, good, length);
        damage(&text, &seed);
        assert_sound(text.data, text.length);
        strbuf_done(&text);
        n++;
    }
    assert_true(n > 10);
    free(good);
}

/* ---- the table and its words ---- */

static void count_keys(const struct key *section, size_t *n)
{
    for (size_t i = 0; i < section->n_keys; i++) {
        const struct key *key = &section->keys[i];
        assert_true(key->help && *key->help);
        assert_true(key->later || key->type != KEY_OTHER || (key->read && key->form));
        assert_ptr_equal(key_find(section, key->name), key); /* no name twice */
        (*n)++;
        count_keys(key, n);
    }
}

static void every_key_has_help_and_is_listed(void **state)
{
    char *text = NULL;
    size_t size = 0, n = 0;
    FILE *out = open_memstream(&text, &size);

    count_keys(&config_table, &n);
    assert_true(n > 150);
    config_print_keys(out);
    fclose(out);
    assert_non_null(strstr(text, "mqtt.keepalive\tduration\t30s\t"));
    assert_non_null(strstr(text, "\ndevices.ID.characteristics.ID.fields.ID.type\t"));
    assert_non_null(strstr(text, "\ndevices.ID.multiple\tnot supported yet\t"));
    free(text);
}

static const char *nearest(const char *word)
{
    static const char *const words[] = {"username", "url", "min", "max", "base_topic"};
    struct suggestion suggestion = suggestion_for(word);

    for (size_t i = 0; i < ARRAY_SIZE(words); i++)
        suggestion_offer(&suggestion, words[i]);
    return suggestion_best(&suggestion);
}

static void near_words_are_suggested_and_far_ones_are_not(void **state)
{
    char longest[200];

    assert_string_equal(nearest("usrname"), "username");
    assert_string_equal(nearest("usernaem"), "username");
    assert_string_equal(nearest("user"), "username");
    assert_string_equal(nearest("Base-Topic"), "base_topic");
    assert_string_equal(nearest("mim"), "min");
    assert_null(nearest("broker"));
    assert_null(nearest("x"));
    assert_null(nearest(""));
    memset(longest, 'u', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    assert_null(nearest(longest));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_files_are_told_where_what_and_what_instead),
        cmocka_unit_test(dubious_files_load_with_a_warning),
        cmocka_unit_test(the_samples_load_without_a_word),
        cmocka_unit_test(what_is_not_given_has_its_documented_default),
        cmocka_unit_test(formats_of_the_bluetooth_sig_need_no_fields),
        cmocka_unit_test(the_default_of_allow_is_as_it_is_shown),
        cmocka_unit_test(what_is_given_arrives),
        cmocka_unit_test(fields_are_compiled_in_their_order),
        cmocka_unit_test(a_devices_own_keys_win_over_its_profiles_deep),
        cmocka_unit_test(words_and_addresses_need_no_quotes),
        cmocka_unit_test(the_hash_tells_versions_apart_and_nothing_of_the_password),
        cmocka_unit_test(the_hash_says_nothing_of_a_passkey),
        cmocka_unit_test(a_passkey_comes_from_elsewhere_too),
        cmocka_unit_test(a_useless_host_name_is_no_gateway_id),
        cmocka_unit_test(a_password_file_loses_one_line_break_and_nothing_else),
        cmocka_unit_test(a_password_file_that_is_unsafe_or_unfit_is_refused),
        cmocka_unit_test(a_password_file_below_run_may_have_any_mode),
        cmocka_unit_test(a_password_comes_from_the_environment),
        cmocka_unit_test(a_password_comes_from_systemds_credentials),
        cmocka_unit_test(a_credential_is_not_missed_where_the_file_is_only_looked_at),
        cmocka_unit_test(no_message_shows_a_secret),
        cmocka_unit_test(numbers_of_devices_characteristics_and_fields_are_bounded),
        cmocka_unit_test(the_length_of_an_id_is_bounded),
        cmocka_unit_test(the_length_of_the_base_topic_is_bounded),
        cmocka_unit_test(what_is_taken_literally_is_bounded),
        cmocka_unit_test(profiles_cannot_multiply_a_file_without_end),
        cmocka_unit_test(no_damage_to_a_file_crashes),
        cmocka_unit_test(every_key_has_help_and_is_listed),
        cmocka_unit_test(near_words_are_suggested_and_far_ones_are_not),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
