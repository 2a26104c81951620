/* The Bluetooth SIG's formats: bytes as a peripheral sends them, and what becomes of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/bt.h"
#include "core/codec.h"
#include "core/sig.h"
#include "helper_schema.h"
#include "util/strbuf.h"

struct golden {
    uint16_t uuid;
    const char *hex;  /* NULL: only the length is wrong */
    const char *json; /* NULL: does not fit */
};

static const struct golden golden[] = {
#include "data/sig.inc"
#include "data/sig_edges.inc"
};

static struct schema *schema_of(uint16_t uuid)
{
    struct schema *schema = NULL;

    if (sig_schema_new(uuid, &schema) != 0)
        fail_msg("no format 0x%04X", uuid);
    return schema;
}

static void each_format_decodes_as_the_supplement_says(void **state)
{
    struct strbuf out = STRBUF_INIT;
    bool update = getenv("UPDATE_GOLDEN") != NULL;
    int wrong = 0;

    for (size_t i = 0; i < ARRAY_SIZE(golden); i++) {
        struct schema *schema = schema_of(golden[i].uuid);
        struct value values[SCHEMA_MAX_FIELDS];
        uint8_t data[GATT_VALUE_MAX];
        size_t length = bytes_from(golden[i].hex, data, sizeof(data));
        int r = codec_decode(schema, data, length, values, NULL);
        const char *text = r == 0 ? values_text(&out, schema, values) : NULL;

        if (update)
            printf("%04X %s %s\n", golden[i].uuid, golden[i].hex, text ? text : "-");
        if (!text != !golden[i].json || (text && strcmp(text, golden[i].json) != 0)) {
            print_error("0x%04X %s\n  is  %s\n  not %s\n", golden[i].uuid, golden[i].hex,
                        text ? text : "refused", golden[i].json ? golden[i].json : "refused");
            wrong++;
        }
        schema_free(schema);
    }
    strbuf_done(&out);
    assert_int_equal(wrong, 0);
}

static void every_format_has_a_golden_value_and_refuses_too_short_ones(void **state)
{
    uint16_t uuid;
    size_t n = 0;

    for (; (uuid = sig_uuid_at(n)) != 0; n++) {
        struct schema *schema = schema_of(uuid);
        struct value values[SCHEMA_MAX_FIELDS];
        uint8_t data[GATT_VALUE_MAX] = {0};
        bool found = false;

        assert_non_null(sig_name(uuid));
        for (size_t i = 0; i < ARRAY_SIZE(golden) && !found; i++)
            found = golden[i].uuid == uuid && golden[i].json;
        if (!found)
            fail_msg("0x%04X %s has no golden value", uuid, sig_name(uuid));
        if (schema->min_length)
            assert_int_equal(codec_decode(schema, data, schema->min_length - 1, values, NULL),
                             CODEC_E_SHORT);
        schema_free(schema);
    }
    assert_true(n >= 60);
    assert_null(sig_name(0x2A02));
    struct schema *none;
    assert_int_equal(sig_schema_new(0x2A02, &none), -ENOENT);
}

/* a name that the SIG has not given yet, a number that it prohibits: null, with nothing to be
 * written for it where there is no code for "unknown" */
static bool has_reserved(const struct schema *schema, const struct value *values)
{
    for (size_t i = 0; i < schema->n_fields; i++) {
        const struct field_spec *spec = &schema->fields[i];

        if (values[i].kind == VALUE_NULL && !spec->has_invalid &&
            (spec->n_enums || spec->has_valid))
            return true;
    }
    return false;
}

/* Whatever decodes can be encoded, and then decodes to the same. */
static void what_decodes_can_be_encoded(void **state)
{
    struct strbuf before = STRBUF_INIT, after = STRBUF_INIT;
    uint32_t seed = 20261126;
    uint16_t uuid;
    size_t decoded = 0;

    for (size_t n = 0; (uuid = sig_uuid_at(n)) != 0; n++) {
        struct schema *schema = schema_of(uuid);

        for (int round = 0; round < 400; round++) {
            struct value values[SCHEMA_MAX_FIELDS], again[SCHEMA_MAX_FIELDS];
            uint8_t data[GATT_VALUE_MAX], bytes[GATT_VALUE_MAX];
            size_t length = random_u32(&seed) % 40, encoded, field = SIZE_MAX;

            for (size_t i = 0; i < length; i++)
                data[i] = (uint8_t)random_u32(&seed);
            if (codec_decode(schema, data, length, values, NULL) != 0)
                continue;
            decoded++;
            values_text(&before, schema, values);
            if (has_reserved(schema, values))
                continue;
            int r = codec_encode(schema, values, NULL, bytes, sizeof(bytes), &encoded, &field);
            if (r != 0 || codec_decode(schema, bytes, encoded, again, NULL) != 0)
                fail_msg("0x%04X %s: %s is not encoded (%d, field %zd)", uuid, sig_name(uuid),
                         strbuf_str(&before), r, (ssize_t)field);
            assert_string_equal(values_text(&after, schema, again), strbuf_str(&before));
        }
        schema_free(schema);
    }
    assert_true(decoded > 5000);
    strbuf_done(&before);
    strbuf_done(&after);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_format_decodes_as_the_supplement_says),
        cmocka_unit_test(every_format_has_a_golden_value_and_refuses_too_short_ones),
        cmocka_unit_test(what_decodes_can_be_encoded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
