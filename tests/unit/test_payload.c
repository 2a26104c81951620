/* Payloads: what is published, and what may be sent to /set. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/payload.h"
#include "helper_schema.h"
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WHEN INT64_C(1795402800123000) /* 2026-11-23T03:00:00.123Z */

static const char *publish(struct strbuf *out, enum payload_form form, const char *fields,
                           const char *hex, bool assumed)
{
    struct schema *schema = fields ? schema_from(fields) : NULL;
    struct value values[SCHEMA_MAX_FIELDS];
    uint8_t data[GATT_VALUE_MAX];
    size_t length = bytes_from(hex, data, sizeof(data));

    if (schema)
        assert_int_equal(codec_decode(schema, data, length, values, NULL), 0);
    strbuf_reset(out);
    payload_write(out, form, schema, schema ? values : NULL, data, length, WHEN, assumed);
    assert_true(strbuf_ok(out));
    schema_free(schema);
    return strbuf_str(out);
}

static void a_value_is_published_as_json_with_its_time(void **state)
{
    struct strbuf out = STRBUF_INIT;

    assert_string_equal(
        publish(&out, PAYLOAD_JSON,
                "temperature int16 scale=0.01; humidity uint8; voltage uint16 scale=0.001",
                "640832ae0b", false),
        "{\"temperature\":21.48,\"humidity\":50,\"voltage\":2.99,\"ts\":\"2026-11-23T03:00:00."
        "123Z\"}");
    assert_string_equal(publish(&out, PAYLOAD_JSON, NULL, "0a1b", false),
                        "{\"value\":\"0a1b\",\"ts\":\"2026-11-23T03:00:00.123Z\"}");
    assert_string_equal(publish(&out, PAYLOAD_JSON, "on bool", "01", true),
                        "{\"on\":true,\"assumed\":true,\"ts\":\"2026-11-23T03:00:00.123Z\"}");
    assert_string_equal(publish(&out, PAYLOAD_JSON, "op uint8 hidden; on bool", "4101", false),
                        "{\"on\":true,\"ts\":\"2026-11-23T03:00:00.123Z\"}");
    assert_string_equal(publish(&out, PAYLOAD_JSON, "t uint8 invalid=0xff", "ff", false),
                        "{\"t\":null,\"ts\":\"2026-11-23T03:00:00.123Z\"}");
    strbuf_done(&out);
}

static void a_value_is_published_bare(void **state)
{
    static const char *const table[][3] = {
        {"t int16 scale=0.01", "6408", "21.48"},
        {"op uint8 hidden; t int8", "41ff", "-1"},
        {"b bool", "01", "true"},
        {"s string", "686920227922", "hi \"y\""}, /* as it is */
        {"e uint8 enum=0:off,1:on", "01", "on"},
        {"b bytes", "00ff", "00ff"},
        {"v uint64", "ffffffffffffffff", "18446744073709551615"},
        {"v int64", "0000000000000080", "-9223372036854775808"},
        {"v uint64 scale=10", "0000000000000001", "720575940379279360"},
        {"v float32", "cdcccc3d", "0.1"},
        {"v uint8 invalid=255", "ff", "null"},
        {NULL, "0A1B", "0a1b"},
    };
    struct strbuf out = STRBUF_INIT;

    for (size_t i = 0; i < ARRAY_SIZE(table); i++)
        assert_string_equal(publish(&out, PAYLOAD_VALUE, table[i][0], table[i][1], false),
                            table[i][2]);
    strbuf_done(&out);
}

static void bytes_are_published_raw_or_as_hex(void **state)
{
    struct strbuf out = STRBUF_INIT;

    publish(&out, PAYLOAD_RAW, "t uint8", "00ff41", false);
    assert_int_equal(out.length, 3);
    assert_memory_equal(out.data, "\0\xff\x41", 3);
    assert_string_equal(publish(&out, PAYLOAD_HEX, "t uint8", "00FF41", false), "00ff41");
    publish(&out, PAYLOAD_RAW, NULL, "", false);
    assert_int_equal(out.length, 0);
    strbuf_done(&out);
}

static void what_is_published_is_json_whatever_the_peer_sends(void **state)
{
    struct schema *schema = schema_from("a float32; b sfloat; c uint64 scale=0.001; s string");
    struct strbuf out = STRBUF_INIT;
    struct value values[4];
    uint32_t seed = 5;
    int published = 0;

    for (int i = 0; i < 2000; i++) {
        uint8_t data[20];
        for (size_t k = 0; k < sizeof(data); k++)
            data[k] = (uint8_t)(random_u32(&seed) % (k < 14 ? 256 : 127));
        if (codec_decode(schema, data, sizeof(data), values, NULL) != 0)
            continue;
        strbuf_reset(&out);
        payload_write(&out, PAYLOAD_JSON, schema, values, data, sizeof(data), WHEN, false);
        json_error_t error;
        json_t *json = json_loadb(strbuf_str(&out), out.length, JSON_REJECT_DUPLICATES, &error);
        if (!json)
            fail_msg("%s: %s", strbuf_str(&out), error.text);
        assert_int_equal(json_object_size(json), 5);
        json_decref(json);
        published++;
    }
    assert_true(published > 500);
    strbuf_done(&out);
    schema_free(schema);
}

/* ---- /set ---- */

/* what the payload makes a peer receive, as hex; or "E<error>: why" */
static const char *set_n(char out[static 300], const char *fields, const char *field,
                         const char *payload, size_t payload_length)
{
    struct schema *schema = fields ? schema_from(fields) : NULL;
    struct payload_set *set = malloc(sizeof(*set));
    /* exactly as long as it is: the sanitizer sees a byte too many */
    char *copy = malloc(payload_length ? payload_length : 1);
    uint8_t encoded[GATT_VALUE_MAX];
    const uint8_t *data = encoded;
    size_t length = 0, at;

    assert_non_null(set);
    assert_non_null(copy);
    memset(set, 0xee, sizeof(*set));
    if (payload_length)
        memcpy(copy, payload, payload_length);
    int r = payload_parse_set(schema, field, copy, payload_length, set);
    free(copy); /* what was parsed does not point into it */
    if (r != 0) {
        snprintf(out, 300, "E%d: %s", r, set->error);
        goto done;
    }
    if (set->is_raw) {
        data = set->raw;
        length = set->raw_length;
    } else {
        r = codec_encode(schema, set->values, NULL, encoded, sizeof(encoded), &length, &at);
        if (r != 0) {
            size_t n = (size_t)snprintf(out, 300, "codec: ");
            codec_explain(schema, r, at, sizeof(encoded), out + n, 300 - n);
            goto done;
        }
    }
    out[0] = '\0';
    for (size_t i = 0; i < length && i < 100; i++)
        snprintf(out + 2 * i, 3, "%02x", data[i]);
done:
    free(set);
    schema_free(schema);
    return out;
}

static const char *set(char out[static 300], const char *fields, const char *field,
                       const char *payload)
{
    return set_n(out, fields, field, payload, strlen(payload));
}

struct set_case {
    const char *fields, *field, *payload, *expected;
};

static void check_cases(const struct set_case *table, size_t n)
{
    char out[300];

    for (size_t i = 0; i < n; i++) {
        const struct set_case *c = &table[i];
        const char *got = set(out, c->fields, c->field, c->payload);
        if (strcmp(got, c->expected) != 0)
            fail_msg("(%s) %s <- %s gives %s instead of %s", c->fields ? c->fields : "-",
                     c->field ? c->field : "", c->payload, got, c->expected);
    }
}

static void an_object_of_fields_is_encoded(void **state)
{
    static const struct set_case table[] = {
        {"t int16 scale=0.01; h uint8", NULL, "{\"t\":21.48,\"h\":50}", "640832"},
        {"t int16 scale=0.01; h uint8", NULL, " {\"h\" : 5e1 , \"t\": 2148e-2}\n", "640832"},
        {"t int16 scale=0.01; h uint8", NULL, "{\"t\":\"21.48\",\"h\":\"50\"}", "640832"},
        {"on bool", NULL, "{\"on\":true}", "01"},
        {"on bool", NULL, "{\"on\":\"OFF\"}", "00"},
        {"on bool", NULL, "{\"on\":1}", "01"},
        {"mode uint8 enum=0:low,2:high", NULL, "{\"mode\":\"high\"}", "02"},
        {"s string", NULL, "{\"s\":\"a\\u00e9\\n\\\"\"}", "61c3a90a22"},
        {"s string", NULL, "{\"s\":\"12{[3]}-4\"}", "31327b5b335d7d2d34"},
        {"s string", NULL, "{\"s\":\"\\\"7\"}", "2237"},
        {"b bytes", NULL, "{\"b\":\"00ff\"}", "00ff"},
        {"v float32", NULL, "{\"v\":null}", "0000c07f"},
        {"op uint8 const=65; v uint8", NULL, "{\"v\":7}", "4107"},
        {"v uint64", NULL, "{\"v\":18446744073709551615}", "ffffffffffffffff"},
        {"v uint64", NULL, "{\"v\":\"18446744073709551615\"}", "ffffffffffffffff"},
        {"v int64", NULL, "{\"v\":-9223372036854775808}", "0000000000000080"},
        {"v int64 scale=0.001", NULL, "{\"v\":2305843009214531.117}", "2dc60c0000000020"},
        {"v uint8", NULL, "{\"v\":-0}", "00"},
        {"v uint8", NULL, "{\"v\":-0.0}", "00"},
    };

    check_cases(table, ARRAY_SIZE(table));
}

static void a_bare_scalar_means_the_one_field(void **state)
{
    static const struct set_case table[] = {
        {"t int16 scale=0.01", NULL, "21.48", "6408"},
        {"t int16 scale=0.01", NULL, " 21.48 \n", "6408"},
        {"t int16 scale=0.01", NULL, "\"21.48\"", "6408"},
        {"v uint8", NULL, "0x1f", "1f"},
        {"on bool", NULL, "ON", "01"},
        {"on bool", NULL, "off", "00"},
        {"on bool", NULL, "True", "01"},
        {"on bool", NULL, "false", "00"},
        {"on bool", NULL, "1", "01"},
        {"on bool", NULL, "\"on\"", "01"},
        {"mode uint8 enum=0:low,2:high", NULL, "high", "02"},
        {"mode uint8 enum=0:low,2:high", NULL, "\"high\"", "02"},
        {"mode uint8 enum=0:low,2:high", NULL, "2", "02"},
        {"mode uint8 enum=0:2,2:0", NULL, "2", "00"}, /* the name goes before the number */
        {"s string", NULL, "hello world", "68656c6c6f20776f726c64"},
        {"s string", NULL, "21.5", "32312e35"},
        {"s string", NULL, "true", "74727565"},
        {"s string", NULL, " x", "2078"},
        {"s string", NULL, "\"quoted\"", "71756f746564"},
        {"s string", NULL, "", ""},
        {"b bytes", NULL, "1234", "1234"},
        {"b bytes", NULL, "", ""},
        {"v float32", NULL, "null", "0000c07f"},
        {"v float32", NULL, "1e-3", "6f12833a"},
        {"op uint8 const=65; v uint8", NULL, "7", "4107"},
        {"op uint8 const=65; sum uint8 checksum=sum8", NULL, "{}", "4141"}, /* no choice */
        {"a uint8 default=1; b uint8 default=2", "b", "9", "0109"},
        {"a uint8 default=1; on bool", "on", "ON", "0101"},
    };

    check_cases(table, ARRAY_SIZE(table));
}

static void raw_bytes_bypass_the_fields(void **state)
{
    static const struct set_case table[] = {
        {"t uint8", NULL, "{\"raw\":\"0102\"}", "0102"},
        {"t uint8", NULL, "{\"raw\":\"\"}", ""},
        {NULL, NULL, "{\"raw\":\"01:02 0A\"}", "01020a"},
        {NULL, NULL, "{\"value\":\"0a1b\"}", "0a1b"}, /* as it is published */
        {NULL, NULL, "0A1b", "0a1b"},
        {NULL, NULL, "\"0a1b\"", "0a1b"},
        {NULL, NULL, "1234", "1234"},
    };

    check_cases(table, ARRAY_SIZE(table));
}

static void what_cannot_be_meant_is_refused_and_said(void **state)
{
    static const struct set_case table[] = {
        {"t uint8", NULL, "", "E2: the payload is empty"},
        {"t uint8", NULL, "  ", "E2: the payload is empty"},
        {NULL, NULL, "", "E2: the payload is empty"},
        {"t uint8", NULL, "{\"t\":1", "E1: not JSON: '}' expected near end of file"},
        {"t uint8", NULL, "{\"t\":1,\"t\":2}", "E1: not JSON: duplicate object key near '\"t\"'"},
        {"t uint8", NULL, "{\"t\":01}", "E1: not JSON: a bad number"},
        {"t uint8", NULL, "{\"t\":1.}", "E1: not JSON: a bad number"},
        {"t uint8", NULL, "{\"t\":-}", "E1: not JSON: a bad number"},
        {"t uint8", NULL, "{\"t\":1 2}", "E1: not JSON: '}' expected near '1'"},
        {"t uint8", NULL, "{\"t\":1e5x}", "E1: not JSON: a bad number"},
        {"t uint8", NULL, "{\"t\":1-1}", "E1: not JSON: a bad number"},
        {"t uint8", NULL, "{} x", "E1: not JSON: end of file expected near 'x'"},
        {"t uint8", NULL, "{\"t\":1}1", "E1: not JSON: end of file expected near '1'"},
        {"t uint8", NULL, "{}", "E2: no field is given"},
        {"t uint8 default=1", NULL, "{}", "E2: no field is given"},
        {"t uint8", NULL, "[1]", "E2: a single value or an object is expected"},
        {"t uint8", NULL, "{\"t\":[1]}", "E2: t: must be a single value"},
        {"t uint8", NULL, "{\"t\":{\"t\":1}}", "E2: t: must be a single value"},
        {"t uint8", NULL, "{\"u\":1}", "E2: unknown field 'u'; there is: t"},
        {"t uint8; v uint8", NULL, "{\"t\":1,\"ts\":1}", "E2: unknown field 'ts'; there is: t, v"},
        {"t uint8; v uint8", NULL, "{\"t\":1}", "codec: v: is missing"},
        {"t uint8; v uint8", NULL, "5",
         "E2: there are several fields: send {\"t\": …} or use …/set/t"},
        {"t uint8; v uint8", NULL, "\"5\"",
         "E2: there are several fields: send {\"t\": …} or use …/set/t"},
        {"t uint8", "x", "5", "E2: unknown field 'x'; there is: t"},
        {"t uint8", "t", "{\"t\":5}", "E2: a single value is expected on this topic"},
        {NULL, "t", "5", "E2: this characteristic has no fields: send hex or {\"raw\":\"0102\"}"},
        {NULL, NULL, "{\"t\":5}",
         "E2: this characteristic has no fields: send hex or {\"raw\":\"0102\"}"},
        {NULL, NULL, "high", "E2: raw bytes are given as hex digits, two a byte"},
        {NULL, NULL, "123", "E2: raw bytes are given as hex digits, two a byte"},
        {"t uint8", NULL, "{\"raw\":\"zz\"}", "E2: raw bytes are given as hex digits, two a byte"},
        {"t uint8", NULL, "{\"raw\":1}", "E2: \"raw\" is a string of hex digits"},
        {"t uint8", NULL, "{\"raw\":\"01\",\"t\":1}", "E2: \"raw\" stands alone"},
        {"t uint8", NULL, "1e999", "E2: the number 1e999 is too large"},
        {"t uint8", NULL, "{\"t\":1e999}", "E2: the number 1e999 is too large"},
        {"t uint8", NULL, "warm", "codec: t: must be a number"},
        {"t uint8", NULL, "true", "codec: t: must be a number"},
        {"s string", NULL, "{\"s\":1}", "codec: s: must be a text"},
        {"s string", NULL, "{\"s\":\"\\u0000\"}",
         "E1: not JSON: \\u0000 is not allowed without "
         "JSON_ALLOW_NUL near '\"\\u0000\"'"},
        {"s string", NULL, "\xff", "codec: s: is not UTF-8 text"},
        {"s string", NULL, "\"\xff\"", "E1: not JSON: unable to decode byte 0xff near '\"'"},
    };

    check_cases(table, ARRAY_SIZE(table));
}

/* a payload of a head, n times a middle, and a tail */
static char *repeat(const char *head, const char *middle, size_t n, const char *tail)
{
    struct strbuf buf = STRBUF_INIT;

    strbuf_puts(&buf, head);
    for (size_t i = 0; i < n; i++)
        strbuf_puts(&buf, middle);
    strbuf_puts(&buf, tail);
    return strbuf_take(&buf);
}

static void check_repeat(const char *fields, const char *head, const char *middle, size_t n,
                         const char *tail, const char *expected_start)
{
    char out[300], *payload = repeat(head, middle, n, tail);

    assert_non_null(payload);
    set(out, fields, NULL, payload);
    if (strncmp(out, expected_start, strlen(expected_start)) != 0)
        fail_msg("%s%s... %zu times: %s instead of %s", head, middle, n, out, expected_start);
    free(payload);
}

static void size_and_depth_have_limits(void **state)
{
    check_repeat("b bytes", "{\"raw\":\"", "01", GATT_VALUE_MAX, "\"}", "0101");
    check_repeat("b bytes", "{\"raw\":\"", "01", GATT_VALUE_MAX + 1, "\"}",
                 "E3: more than 512 bytes");
    check_repeat("b bytes", "{\"raw\":\"", "01", 30000, "\"}", "E3: more than 512 bytes");
    check_repeat("v uint8", "", " ", PAYLOAD_MAX_SET - 1, "7", "07");
    check_repeat("v uint8", "", " ", PAYLOAD_MAX_SET, "7", "E3: more than 65536 bytes");
    check_repeat("s string", "", "x", PAYLOAD_MAX_TEXT, "", "codec: s: is longer");
    check_repeat("s string", "", "x", PAYLOAD_MAX_TEXT + 1, "", "E3: more than 4096 bytes of text");
    check_repeat("v uint8", "{\"v\":", "[", PAYLOAD_MAX_DEPTH - 1, "", "E1: not JSON");
    check_repeat("v uint8", "{\"v\":", "[", PAYLOAD_MAX_DEPTH, "",
                 "E2: brackets more than 16 deep");
    check_repeat("v uint8", "", "[", 60000, "", "E2: brackets more than 16 deep");
    check_repeat("v uint8", "[1", ",1", 255, "]", "E2: a single value or an object");
    check_repeat("v uint8", "[1", ",1", 256, "]", "E2: more than 256 numbers");
    check_repeat("v uint8", "", "9", 400, "", "E2: the number 9999");
    check_repeat("v uint8", "", "9", 600, "", "E2: a number has too many digits");
    check_repeat("v uint8", "{\"", "k", 30000, "\":1}", "E2: unknown field 'kkkk");
}

static void hostile_payloads_never_do_harm(void **state)
{
    static const char *const seeds[] = {
        "{\"t\":21.48,\"s\":\"x\\u00e9y\",\"on\":true}",
        "{\"raw\":\"0102ff\"}",
        "\"\\ud83d\\ude00\"",
        "[1,-2.5e10,{\"a\":[null,false]}]",
        "-12.50e-3",
    };
    static const char alphabet[] = "{}[]\",:\\0123456789.eE+-truefalsn \n\t\x80\xff\xc3\xa9u";
    uint32_t seed = 99;
    char payload[80], out[300];
    int taken = 0;

    for (int i = 0; i < 30000; i++) {
        const char *start = seeds[(size_t)i % ARRAY_SIZE(seeds)];
        size_t length = strlen(start);

        memcpy(payload, start, length);
        for (uint32_t k = random_u32(&seed) % 4; k; k--) {
            size_t at = random_u32(&seed) % length;
            char c = alphabet[random_u32(&seed) % (sizeof(alphabet) - 1)];
            if (random_u32(&seed) % 3 == 0 && length > 1)
                memmove(payload + at, payload + at + 1, --length - at);
            else
                payload[at] = c;
        }
        const char *fields = i % 7 ? "t int16 scale=0.01; s string length=8; on bool" : NULL;
        set_n(out, fields, i % 11 ? NULL : "t", payload, length);
        taken += out[0] != 'E' && out[0] != 'c';
    }
    assert_true(taken > 1000);
}

static void what_is_published_can_be_set(void **state)
{
    static const char *const schemas[] = {
        "a uint64; b int64; c float32; d float64; e sfloat; f medfloat32",
        "a int16 scale=0.01; b uint24 scale=0.001 add=-5; c int64 scale=0.001; s bytes",
    };
    struct strbuf out = STRBUF_INIT;
    struct payload_set *set = malloc(sizeof(*set));
    uint32_t seed = 4711;

    assert_non_null(set);
    for (int i = 0; i < 6000; i++) {
        struct schema *schema = schema_from(schemas[i % 2]);
        struct value values[SCHEMA_MAX_FIELDS];
        uint8_t data[64], once[64], again[64];
        size_t length = schema->min_length + schema->variable * 3, n, m;

        for (size_t k = 0; k < length; k++)
            data[k] = (uint8_t)random_u32(&seed);
        if (codec_decode(schema, data, length, values, NULL) == 0) {
            assert_int_equal(codec_encode(schema, values, NULL, once, sizeof(once), &n, NULL), 0);
            values_text(&out, schema, values);
            int r = payload_parse_set(schema, NULL, strbuf_str(&out), out.length, set);
            if (r != 0)
                fail_msg("%s: %s", strbuf_str(&out), set->error);
            r = codec_encode(schema, set->values, NULL, again, sizeof(again), &m, NULL);
            if (r != 0 || m != n || memcmp(once, again, n) != 0)
                fail_msg("%s: error %d", strbuf_str(&out), r);
        }
        schema_free(schema);
    }
    free(set);
    strbuf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_value_is_published_as_json_with_its_time),
        cmocka_unit_test(a_value_is_published_bare),
        cmocka_unit_test(bytes_are_published_raw_or_as_hex),
        cmocka_unit_test(what_is_published_is_json_whatever_the_peer_sends),
        cmocka_unit_test(an_object_of_fields_is_encoded),
        cmocka_unit_test(a_bare_scalar_means_the_one_field),
        cmocka_unit_test(raw_bytes_bypass_the_fields),
        cmocka_unit_test(what_cannot_be_meant_is_refused_and_said),
        cmocka_unit_test(size_and_depth_have_limits),
        cmocka_unit_test(hostile_payloads_never_do_harm),
        cmocka_unit_test(what_is_published_can_be_set),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
