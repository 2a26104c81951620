/* Bytes to values and back: golden tables, and the promise that what decodes can be encoded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/bt.h"
#include "core/codec.h"
#include "core/json.h"
#include "helper_schema.h"
#include "util/bytes.h"
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct golden {
    const char *schema, *hex, *json;
};

/* decodes to `json`, and encodes to `hex` again if `both_ways` */
static void check_golden(const struct golden *g, bool both_ways)
{
    struct schema *schema = schema_from(g->schema);
    struct value values[SCHEMA_MAX_FIELDS];
    uint8_t data[GATT_VALUE_MAX], again[GATT_VALUE_MAX];
    size_t length = bytes_from(g->hex, data, sizeof(data)), again_length;
    struct strbuf text = STRBUF_INIT;

    int r = codec_decode(schema, data, length, values, NULL);
    if (r != 0)
        fail_msg("%s, %s: decoding gives error %d", g->schema, g->hex, r);
    if (strcmp(values_text(&text, schema, values), g->json) != 0)
        fail_msg("%s, %s: %s instead of %s", g->schema, g->hex, strbuf_str(&text), g->json);
    if (both_ways) {
        r = codec_encode(schema, values, NULL, again, sizeof(again), &again_length, NULL);
        if (r != 0)
            fail_msg("%s, %s: encoding gives error %d", g->schema, g->hex, r);
        if (again_length != length || memcmp(data, again, length) != 0)
            fail_msg("%s: %s comes back as something else", g->schema, g->hex);
    }
    strbuf_done(&text);
    schema_free(schema);
}

static void integers_of_every_size_decode_and_encode(void **state)
{
    static const struct golden table[] = {
        {"v uint8", "ff", "{\"v\":255}"},
        {"v int8", "ff", "{\"v\":-1}"},
        {"v int8", "80", "{\"v\":-128}"},
        {"v uint16", "6408", "{\"v\":2148}"},
        {"v uint16 be", "0864", "{\"v\":2148}"},
        {"v int16", "0080", "{\"v\":-32768}"},
        {"v int16 be", "8000", "{\"v\":-32768}"},
        {"v uint24", "010203", "{\"v\":197121}"},
        {"v uint24 be", "010203", "{\"v\":66051}"},
        {"v int24", "ffffff", "{\"v\":-1}"},
        {"v int24", "000080", "{\"v\":-8388608}"},
        {"v int24", "ffff7f", "{\"v\":8388607}"},
        {"v uint32", "ffffffff", "{\"v\":4294967295}"},
        {"v int32", "00000080", "{\"v\":-2147483648}"},
        {"v uint40", "0100000001", "{\"v\":4294967297}"},
        {"v int40 be", "ffffffffff", "{\"v\":-1}"},
        {"v uint48 be", "010203040506", "{\"v\":1108152157446}"},
        {"v int48", "000000000080", "{\"v\":-140737488355328}"},
        {"v uint56", "01000000000000", "{\"v\":1}"},
        {"v int56", "00000000000080", "{\"v\":\"-36028797018963968\"}"},
        {"v uint64", "0100000000000000", "{\"v\":1}"},
        {"v uint64 be", "ffffffffffffffff", "{\"v\":\"18446744073709551615\"}"},
        {"v int64", "0000000000000080", "{\"v\":\"-9223372036854775808\"}"},
        {"v int64", "ffffffffffffffff", "{\"v\":-1}"},
        /* beyond 2^53 - 1 a reader with doubles would round */
        {"v uint64", "ffffffffffff1f00", "{\"v\":9007199254740991}"},
        {"v uint64", "0000000000002000", "{\"v\":\"9007199254740992\"}"},
        {"v int64", "010000000000e0ff", "{\"v\":-9007199254740991}"},
        {"v int64", "000000000000e0ff", "{\"v\":\"-9007199254740992\"}"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++)
        check_golden(&table[i], true);
}

static void scaled_values_are_exact_and_have_the_decimals_of_scale_and_add(void **state)
{
    static const struct golden table[] = {
        {"t int16 scale=0.01", "6408", "{\"t\":21.48}"},
        {"t int16 scale=0.01", "6608", "{\"t\":21.5}"}, /* the zero at the end goes */
        {"t int16 scale=0.01", "3408", "{\"t\":21}"},
        {"t int16 scale=0.01", "fff7", "{\"t\":-20.49}"},
        {"t int16 scale=0.01", "ffff", "{\"t\":-0.01}"},
        {"v uint16 scale=0.001", "ae0b", "{\"v\":2.99}"},
        {"t uint8 scale=0.5 add=-40", "00", "{\"t\":-40}"},
        {"t uint8 scale=0.5 add=-40", "51", "{\"t\":0.5}"},
        {"t uint8 add=0.25", "01", "{\"t\":1.25}"},
        {"t uint8 scale=0.1 add=273.15", "03", "{\"t\":273.45}"},
        {"p uint8 scale=1000", "07", "{\"p\":7000}"},
        {"p uint8 scale=1e3", "07", "{\"p\":7000}"},
        {"p uint8 scale=-1", "07", "{\"p\":-7}"},
        {"p int8 scale=-0.5", "81", "{\"p\":63.5}"},
        {"p uint16 scale=0.0000000000001", "0100", "{\"p\":0.0000000000001}"},
        {"p uint32 scale=0.0000000001 be", "ffffffff", "{\"p\":0.4294967295}"},
        {"e uint24 scale=0.00390625", "010000", "{\"e\":0.00390625}"},
        {"e int64 scale=0.001", "2dc60c0000000020", "{\"e\":2305843009214531.117}"},
        {"e uint64 scale=0.001", "ffffffffffffff7f", "{\"e\":9223372036854775.807}"},
        {"e int64 scale=0.001", "0000000000000080", "{\"e\":-9223372036854775.808}"},
        {"e uint64 scale=10", "0000000000000001", "{\"e\":\"720575940379279360\"}"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++)
        check_golden(&table[i], true);
}

static void a_scaled_value_that_64_bits_cannot_hold_is_refused_not_rounded(void **state)
{
    static const struct {
        const char *schema, *hex;
    } table[] = {
        {"e uint64 scale=10", "0000000000000010"},
        {"e uint64 scale=0.001", "0000000000000080"},
        {"e int64 scale=1 add=1", "ffffffffffffff7f"},
    };
    struct value value;
    uint8_t data[8];

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        struct schema *schema = schema_from(table[i].schema);
        size_t length = bytes_from(table[i].hex, data, sizeof(data));
        assert_int_equal(codec_decode(schema, data, length, &value, NULL), CODEC_E_RANGE);
        schema_free(schema);
    }
}

static void bits_are_taken_from_the_least_significant_of_the_integer(void **state)
{
    static const struct golden table[] = {
        {"a uint8 bits=0,3; b uint8 offset=0 bits=3,5", "a5", "{\"a\":5,\"b\":20}"},
        {"a uint16 bits=0,12; b uint16 offset=0 bits=12,4", "34f2", "{\"a\":564,\"b\":15}"},
        {"a uint16 be bits=0,12; b uint16 be offset=0 bits=12,4", "f234", "{\"a\":564,\"b\":15}"},
        {"a int8 bits=0,4; b int8 offset=0 bits=4,4", "8f", "{\"a\":-1,\"b\":-8}"},
        {"a bool bits=0,1; b bool offset=0 bits=7,1", "80", "{\"a\":false,\"b\":true}"},
        {"a uint64 bits=0,63; b uint64 offset=0 bits=63,1", "ffffffffffffff7f",
         "{\"a\":\"9223372036854775807\",\"b\":0}"},
        {"a uint64 bits=0,64", "0000000000000080", "{\"a\":\"9223372036854775808\"}"},
        {"a int64 bits=63,1; b uint64 offset=0 bits=0,63", "0000000000000080",
         "{\"a\":-1,\"b\":0}"},
        {"a uint8 bits=0,4 scale=0.5; b uint8 offset=0 bits=4,4 enum=0:off,9:on", "97",
         "{\"a\":3.5,\"b\":\"on\"}"},
        {"a uint24 bits=10,10; b uint24 offset=0 bits=0,10; c uint24 offset=0 bits=20,4", "010450",
         "{\"a\":1,\"b\":1,\"c\":5}"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++)
        check_golden(&table[i], true);
}

static void floats_are_the_shortest_number_that_reads_back(void **state)
{
    static const struct golden table[] = {
        {"f float32", "cdcccc3d", "{\"f\":0.1}"}, /* not 0.10000000149 */
        {"f float32", "0000c841", "{\"f\":25}"},
        {"f float32", "00000000", "{\"f\":0}"},
        {"f float32 be", "c2f6e979", "{\"f\":-123.456}"},
        {"f float32", "0000804b", "{\"f\":16777216}"},
        {"f float32", "ffff7f7f", "{\"f\":3.4028235e+38}"},
        {"f float32", "01000000", "{\"f\":1e-45}"},
        {"f float32", "db0f4940", "{\"f\":3.1415927}"},
        {"f float32", "bd378635", "{\"f\":0.000001}"},
        {"f float64", "9a9999999999b93f", "{\"f\":0.1}"},
        {"f float64 be", "400921fb54442d18", "{\"f\":3.141592653589793}"},
        {"f float64", "ffffffffffffef7f", "{\"f\":1.7976931348623157e+308}"},
        {"f float64", "0100000000000000", "{\"f\":5e-324}"},
        {"f float64", "343333333333d33f", "{\"f\":0.30000000000000004}"},
        {"f float64", "00000000000008c0", "{\"f\":-3}"},
        {"f float32 scale=0.01", "cdcccc3d", "{\"f\":0.001}"},
        {"f float32 scale=1.8 add=32", "0000c841", "{\"f\":77}"},
        {"f float32 scale=3 add=-0.5", "cdcccc3d", "{\"f\":-0.2}"},
        {"f float64 scale=0.1", "9a9999999999b93f", "{\"f\":0.01}"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++)
        check_golden(&table[i], true);
}

static void medical_floats_follow_11073_20601(void **state)
{
    static const struct golden both_ways[] = {
        {"f sfloat", "0000", "{\"f\":0}"},
        {"f sfloat", "2500", "{\"f\":37}"},
        {"f sfloat", "75f1", "{\"f\":37.3}"},
        {"f sfloat", "8bfe", "{\"f\":-37.3}"},
        {"f sfloat", "fd07", "{\"f\":2045}"},
        {"f sfloat", "0308", "{\"f\":-2045}"},
        {"f sfloat", "ff17", "{\"f\":20470}"}, /* reserved with exponent 0 only */
        {"f sfloat", "0018", "{\"f\":-20480}"},
        {"f sfloat", "0180", "{\"f\":0.00000001}"},
        {"f sfloat", "ff77", "{\"f\":20470000000}"},
        {"f medfloat32", "750100ff", "{\"f\":37.3}"},
        {"f medfloat32", "0e0000fe", "{\"f\":0.14}"},
        {"f medfloat32", "fdff7f00", "{\"f\":8388605}"},
        {"f medfloat32", "03008000", "{\"f\":-8388605}"},
        {"f medfloat32", "01000080", "{\"f\":1e-128}"},
        {"f medfloat32", "ffff7f7f", "{\"f\":8.388607e+133}"},
        {"f medfloat32 be", "ff000175", "{\"f\":37.3}"},
        {"f sfloat scale=0.1", "2500", "{\"f\":3.7}"},
    };
    static const struct golden decoded[] = {
        {"f sfloat", "72f1", "{\"f\":37}"}, /* 370e-1; 37e0 is written */
        {"f medfloat32", "720100ff", "{\"f\":37}"},   {"f medfloat32", "00000005", "{\"f\":0}"},
        {"f sfloat", "ff07", "{\"f\":null}"}, /* NaN */
        {"f sfloat", "0008", "{\"f\":null}"}, /* not at this resolution */
        {"f sfloat", "fe07", "{\"f\":null}"}, /* +INF */
        {"f sfloat", "0208", "{\"f\":null}"}, /* -INF */
        {"f sfloat", "0108", "{\"f\":null}"}, /* reserved */
        {"f medfloat32", "ffff7f00", "{\"f\":null}"}, {"f medfloat32", "00008000", "{\"f\":null}"},
        {"f medfloat32", "feff7f00", "{\"f\":null}"}, {"f medfloat32", "02008000", "{\"f\":null}"},
        {"f medfloat32", "01008000", "{\"f\":null}"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(both_ways); i++)
        check_golden(&both_ways[i], true);
    for (size_t i = 0; i < ARRAY_SIZE(decoded); i++)
        check_golden(&decoded[i], false);
}

static void unknown_is_null_both_ways(void **state)
{
    static const struct golden table[] = {
        {"t int16 invalid=0x8000 scale=0.01", "0080", "{\"t\":null}"},
        {"t int16 invalid=-32768", "0080", "{\"t\":null}"},
        {"t int16 invalid=0x8000", "ff7f", "{\"t\":32767}"},
        {"t uint8 invalid=0xff", "ff", "{\"t\":null}"},
        {"t uint64 invalid=0xffffffffffffffff", "ffffffffffffffff", "{\"t\":null}"},
        {"t uint8 bits=0,4 invalid=15", "0f", "{\"t\":null}"},
        {"t int8 bits=0,4 invalid=15", "0f", "{\"t\":null}"},
        {"t uint64 bits=0,63 invalid=0x7fffffffffffffff", "ffffffffffffff7f", "{\"t\":null}"},
        {"t int64 bits=0,63 invalid=0x7fffffffffffffff", "ffffffffffffff7f", "{\"t\":null}"},
        {"t uint8 invalid=255 enum=0:off,1:on", "ff", "{\"t\":null}"},
        {"t bool invalid=0xff", "ff", "{\"t\":null}"},
        {"t float32 invalid=0xc479c000", "00c079c4", "{\"t\":null}"}, /* -999 */
        {"t float32", "0000c07f", "{\"t\":null}"},
        {"t float64", "000000000000f87f", "{\"t\":null}"},
        {"t sfloat", "ff07", "{\"t\":null}"},
        {"t medfloat32", "ffff7f00", "{\"t\":null}"},
    };
    static const struct golden infinite[] = {
        {"t float32", "0000807f", "{\"t\":null}"},
        {"t float64", "000000000000f0ff", "{\"t\":null}"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++)
        check_golden(&table[i], true);
    for (size_t i = 0; i < ARRAY_SIZE(infinite); i++)
        check_golden(&infinite[i], false);
}

static void text_bytes_bools_and_names(void **state)
{
    static const struct golden table[] = {
        {"s string", "6869", "{\"s\":\"hi\"}"},
        {"s string", "", "{\"s\":\"\"}"},
        {"s string length=4", "68690000", "{\"s\":\"hi\"}"},
        {"s string length=2; n uint8", "c3a907", "{\"s\":\"\xc3\xa9\",\"n\":7}"},
        {"b bytes", "00ff10", "{\"b\":\"00ff10\"}"},
        {"b bytes", "", "{\"b\":\"\"}"},
        {"b bytes length=2; n uint8", "000107", "{\"b\":\"0001\",\"n\":7}"},
        {"n uint8; b bytes offset=3", "070000aabb", "{\"n\":7,\"b\":\"aabb\"}"},
        {"b bool", "00", "{\"b\":false}"},
        {"b bool", "01", "{\"b\":true}"},
        {"e uint8 enum=0:off,1:on,0x10:auto", "10", "{\"e\":\"auto\"}"},
        {"e int8 enum=-1:below,0:level", "ff", "{\"e\":\"below\"}"},
        {"e int8 enum=0xff:below,0:level", "ff", "{\"e\":\"below\"}"},
        {"e bool enum=0:open,1:closed", "01", "{\"e\":\"closed\"}"},
    };
    static const struct golden decoded[] = {
        {"b bool", "02", "{\"b\":true}"},
        {"s string", "68690000", "{\"s\":\"hi\"}"}, /* padding, which goes */
        {"n uint8", "070809", "{\"n\":7}"},         /* bytes beyond the fields */
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++)
        check_golden(&table[i], true);
    for (size_t i = 0; i < ARRAY_SIZE(decoded); i++)
        check_golden(&decoded[i], false);
}

static void fields_stand_where_the_schema_says(void **state)
{
    static const struct golden table[] = {
        {"t int16 scale=0.01; h uint8; v uint16 scale=0.001", "640832ae0b",
         "{\"t\":21.48,\"h\":50,\"v\":2.99}"},
        {"t uint8 offset=5 scale=0.5", "000000000029", "{\"t\":20.5}"},
        {"b uint8 offset=1; a uint8 offset=0; c uint8 offset=2", "010203",
         "{\"b\":2,\"a\":1,\"c\":3}"},
        {"a uint8 offset=2; b uint8", "00000102", "{\"a\":1,\"b\":2}"},
        {"rest bytes offset=1; a uint8 offset=0", "01aabb", "{\"rest\":\"aabb\",\"a\":1}"},
        {"all uint8; low uint8 offset=0 bits=0,4", "a5", "{\"all\":165,\"low\":5}"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++)
        check_golden(&table[i], true);
}

static void bad_bytes_are_refused_with_the_field_at_fault(void **state)
{
    static const struct {
        const char *schema, *hex;
        int error;
        size_t field;
        const char *why;
    } table[] = {
        {"a uint8; b uint16", "0102", CODEC_E_SHORT, SIZE_MAX, "needs at least 3 bytes, got 2"},
        {"a uint8", "", CODEC_E_SHORT, SIZE_MAX, "needs at least 1 bytes, got 0"},
        {"a uint8; s string", "", CODEC_E_SHORT, SIZE_MAX, "needs at least 1 bytes, got 0"},
        {"extra a uint8", "0102", CODEC_E_EXTRA, SIZE_MAX, "has 1 bytes, got 2"},
        {"a uint8; s string", "01ff", CODEC_E_TEXT, 1, "s: is not UTF-8 text"},
        {"s string", "680069", CODEC_E_TEXT, 0, "s: is not UTF-8 text"},
        {"s string", "c3", CODEC_E_TEXT, 0, "s: is not UTF-8 text"},
        {"s string", "eda080", CODEC_E_TEXT, 0, "s: is not UTF-8 text"},
        {"a uint8; e uint8 enum=0:off", "0001", CODEC_E_ENUM, 1, "e: is none of off"},
        {"e bool enum=0:off,1:on", "02", CODEC_E_ENUM, 0, "e: is none of off, on"},
    };
    struct value values[4];
    uint8_t data[8];
    char why[100];

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        struct schema *schema = schema_from(table[i].schema);
        size_t length = bytes_from(table[i].hex, data, sizeof(data)), field = 99;

        assert_int_equal(codec_decode(schema, data, length, values, &field), table[i].error);
        assert_true(field == table[i].field);
        codec_explain(schema, table[i].error, field, length, why, sizeof(why));
        assert_string_equal(why, table[i].why);
        schema_free(schema);
    }
}

/* ---- encoding what people send ---- */

static int encode_one(const char *text, struct value value, char hex[static 32])
{
    struct schema *schema = schema_from(text);
    struct value values[4] = {value};
    uint8_t data[8];
    size_t length = 0;

    int r = codec_encode(schema, values, NULL, data, sizeof(data), &length, NULL);
    hex[0] = '\0';
    for (size_t i = 0; r == 0 && i < length; i++)
        snprintf(hex + 2 * i, 3, "%02x", data[i]);
    schema_free(schema);
    return r;
}

static struct value number(const char *text)
{
    /* as text: the codec reads it */
    return (struct value){.kind = VALUE_STRING, .s = {text, strlen(text)}};
}

static void numbers_are_rounded_to_the_nearest_raw_value(void **state)
{
    static const struct {
        const char *schema, *number, *hex;
    } table[] = {
        {"v int16 scale=0.01", "21.48", "6408"},
        {"v int16 scale=0.01", "21.484", "6408"},
        {"v int16 scale=0.01", "21.485", "6508"},
        {"v int16 scale=0.01", "-21.485", "9bf7"},
        {"v int16 scale=0.01", "-21.4849999", "9cf7"},
        {"v uint8", "21.5", "16"},
        {"v uint8", "0.4", "00"},
        {"v uint8", "-0.4", "00"},
        {"v uint8", "1e2", "64"},
        {"v uint8", "0x1f", "1f"},
        {"v uint8", "1e-300", "00"},
        {"v uint8 scale=0.5 add=-40", "-39.8", "00"},
        {"v uint8 scale=0.5 add=-40", "-39.75", "01"},
        {"v uint8 scale=3", "4", "01"},
        {"v uint8 scale=3", "5", "02"},
        {"v uint8 scale=-1", "-7", "07"},
        {"v uint64", "18446744073709551615", "ffffffffffffffff"},
        {"v int64", "-9223372036854775808", "0000000000000080"},
        {"v uint16 scale=0.001", "1.00000000000000000000000001", "e803"},
        {"v float32", "0.1", "cdcccc3d"},
        {"v float32", "16777217", "0000804b"},
        {"v float32", "1e-60", "00000000"},
        {"v float64", "0.1", "9a9999999999b93f"},
        {"v sfloat", "1234.56", "d304"},
        {"v sfloat", "37.25", "75f1"},
        {"v sfloat", "2046", "fd07"}, /* 2046 itself is reserved */
        {"v sfloat", "2049", "cd10"},
        {"v sfloat", "0.000000001", "0000"},
        {"v medfloat32", "8388606", "fdff7f00"},
        {"v medfloat32", "123456789.5", "88d61202"},
    };
    char hex[32];

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        int r = encode_one(table[i].schema, number(table[i].number), hex);
        if (r != 0 || strcmp(hex, table[i].hex) != 0)
            fail_msg("%s, %s: error %d, %s", table[i].schema, table[i].number, r, hex);
    }
}

static void what_is_out_of_range_is_refused(void **state)
{
    static const struct {
        const char *schema, *number;
        int error;
    } table[] = {
        {"v uint8", "256", CODEC_E_RANGE},
        {"v uint8", "255.5", CODEC_E_RANGE},
        {"v uint8", "-1", CODEC_E_RANGE},
        {"v uint8", "-0.5", CODEC_E_RANGE},
        {"v int8", "128", CODEC_E_RANGE},
        {"v int8", "-129", CODEC_E_RANGE},
        {"v uint24", "16777216", CODEC_E_RANGE},
        {"v uint64", "18446744073709551616", CODEC_E_RANGE},
        {"v uint64", "-1", CODEC_E_RANGE},
        {"v int64", "9223372036854775808", CODEC_E_RANGE},
        {"v int64", "-9223372036854775809", CODEC_E_RANGE},
        {"v int64", "1e300", CODEC_E_RANGE},
        {"v int64", "1e400", CODEC_E_RANGE},
        {"v uint32", "18446744073709551615", CODEC_E_RANGE},
        {"v uint8 bits=0,4", "16", CODEC_E_RANGE},
        {"v int8 bits=0,4", "8", CODEC_E_RANGE},
        {"v int16 scale=0.01", "327.68", CODEC_E_RANGE},
        {"v uint64 scale=0.001", "18446744073709551615", CODEC_E_RANGE},
        /* its raw value fits, but nobody could read it back */
        {"v int64 scale=0.5 add=-40", "1844674407370955161", CODEC_E_RANGE},
        {"v uint8 invalid=255", "255", CODEC_E_RANGE},
        {"v uint8 min=5 max=10", "4", CODEC_E_RANGE},
        {"v uint8 min=5 max=10", "11", CODEC_E_RANGE},
        {"v uint8 min=5 max=10", "10.1", CODEC_E_RANGE},
        {"v uint64 max=10", "18446744073709551615", CODEC_E_RANGE},
        {"v float32 max=1e3", "1e30", CODEC_E_RANGE},
        {"v float32", "1e39", CODEC_E_RANGE},
        {"v float64", "1e309", CODEC_E_RANGE},
        {"v sfloat", "20480000001", CODEC_E_RANGE},
        {"v sfloat", "1e30", CODEC_E_RANGE},
        {"v medfloat32", "1e135", CODEC_E_RANGE},
        {"v uint8", "high", CODEC_E_TYPE},
        {"v uint8", "", CODEC_E_TYPE},
        {"v uint8", "1 2", CODEC_E_TYPE},
        {"v uint8", "nan", CODEC_E_TYPE},
        {"v float32", "inf", CODEC_E_TYPE},
        {"v bool", "2", CODEC_E_TYPE},
        {"v bool", "maybe", CODEC_E_TYPE},
        {"v uint8 enum=0:off,1:on", "auto", CODEC_E_ENUM},
        {"v uint8 enum=0:off,1:on", "On", CODEC_E_ENUM},
        {"v bytes", "0g", CODEC_E_TYPE},
        {"v bytes", "012", CODEC_E_TYPE},
        {"v bytes length=2", "01", CODEC_E_RANGE},
        {"v bytes length=2", "010203", CODEC_E_LONG},
        {"v string length=2", "abc", CODEC_E_LONG},
        {"v string", "ninebytes", CODEC_E_LONG}, /* the buffer has 8 */
        {"v string", "\xff", CODEC_E_TEXT},
        {"v bytes offset=9", "", CODEC_E_LONG},
    };
    char hex[32];

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        int r = encode_one(table[i].schema, number(table[i].number), hex);
        if (r != table[i].error)
            fail_msg("%s, %s: %d instead of %d", table[i].schema, table[i].number, r,
                     table[i].error);
    }
}

static void values_at_the_limits_are_taken(void **state)
{
    static const char *const table[][3] = {
        {"v uint8 min=5 max=10", "5", "05"},
        {"v uint8 min=5 max=10", "10.0", "0a"},
        {"v int8", "-128", "80"},
        {"v uint8", "255.4", "ff"},
        {"v int16 scale=0.01", "327.67", "ff7f"},
        {"v int16 scale=0.01", "-327.68", "0080"},
        {"v float32", "3.4028235e38", "ffff7f7f"},
        {"v sfloat", "20470000000", "ff77"},
        {"v uint8 bits=0,4", "15", "0f"},
        {"v string", "exactly8", "65786163746c7938"},
    };
    char hex[32];

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        assert_int_equal(encode_one(table[i][0], number(table[i][1]), hex), 0);
        assert_string_equal(hex, table[i][2]);
    }
}

static void a_bool_takes_every_word_for_on_and_off(void **state)
{
    static const char *const on[] = {"ON", "on", "On", "true", "TRUE", "1"};
    static const char *const off[] = {"OFF", "off", "false", "False", "0"};
    struct value values[] = {{.kind = VALUE_BOOL, .b = true},
                             {.kind = VALUE_UINT, .u = 1},
                             {.kind = VALUE_INT, .i = 1},
                             {.kind = VALUE_DECIMAL, .i = 10, .decimals = 1}};
    char hex[32];

    for (size_t i = 0; i < ARRAY_SIZE(on); i++) {
        assert_int_equal(encode_one("v bool", number(on[i]), hex), 0);
        assert_string_equal(hex, "01");
    }
    for (size_t i = 0; i < ARRAY_SIZE(off); i++) {
        assert_int_equal(encode_one("v bool", number(off[i]), hex), 0);
        assert_string_equal(hex, "00");
    }
    for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
        assert_int_equal(encode_one("v bool", values[i], hex), 0);
        assert_string_equal(hex, "01");
    }
    assert_int_equal(encode_one("v bool", (struct value){.kind = VALUE_UINT, .u = 2}, hex),
                     CODEC_E_RANGE);
    assert_int_equal(encode_one("v bool enum=0:open,1:closed", number("closed"), hex), 0);
    assert_string_equal(hex, "01");
    assert_int_equal(encode_one("v bool enum=0:open,1:closed", number("ON"), hex), 0);
    assert_string_equal(hex, "01");
}

static void an_enum_takes_names_and_the_raw_values_that_have_one(void **state)
{
    const char *schema = "v uint8 enum=0:off,7:on";
    char hex[32];

    assert_int_equal(encode_one(schema, number("on"), hex), 0);
    assert_string_equal(hex, "07");
    assert_int_equal(encode_one(schema, (struct value){.kind = VALUE_UINT, .u = 7}, hex), 0);
    assert_string_equal(hex, "07");
    assert_int_equal(encode_one(schema, (struct value){.kind = VALUE_UINT, .u = 1}, hex),
                     CODEC_E_ENUM);
    assert_int_equal(encode_one(schema, (struct value){.kind = VALUE_UINT, .u = 300}, hex),
                     CODEC_E_ENUM);
    assert_int_equal(encode_one(schema, (struct value){.kind = VALUE_BOOL, .b = true}, hex),
                     CODEC_E_TYPE);
}

static void the_wrong_kind_of_value_is_refused(void **state)
{
    const struct value yes = {.kind = VALUE_BOOL, .b = true}, null = {.kind = VALUE_NULL};
    const struct value bytes = {.kind = VALUE_BYTES, .s = {"x", 1}};
    const struct value seven = {.kind = VALUE_UINT, .u = 7};
    const struct value infinite = {.kind = VALUE_FLOAT, .d = INFINITY};
    char hex[32];

    assert_int_equal(encode_one("v uint8", yes, hex), CODEC_E_TYPE);
    assert_int_equal(encode_one("v uint8", null, hex), CODEC_E_TYPE);
    assert_int_equal(encode_one("v bool", null, hex), CODEC_E_TYPE);
    assert_int_equal(encode_one("v uint8", bytes, hex), CODEC_E_TYPE);
    assert_int_equal(encode_one("v string", seven, hex), CODEC_E_TYPE);
    assert_int_equal(encode_one("v string", null, hex), CODEC_E_TYPE);
    assert_int_equal(encode_one("v bytes", seven, hex), CODEC_E_TYPE);
    assert_int_equal(encode_one("v float32", infinite, hex), CODEC_E_RANGE);
    assert_int_equal(encode_one("v bytes", bytes, hex), 0);
}

static void const_and_default_are_written_when_nothing_is_given(void **state)
{
    struct schema *schema = schema_from("op uint8 const=65; level uint8 default=0.5 scale=0.5; "
                                        "mode uint8 enum=0:off,3:on default=3; t uint8");
    struct value values[4] = {0};
    uint8_t data[8];
    size_t length, field;

    assert_int_equal(codec_encode(schema, values, NULL, data, sizeof(data), &length, &field),
                     CODEC_E_MISSING);
    assert_int_equal(field, 3);
    values[3] = (struct value){.kind = VALUE_UINT, .u = 9};
    assert_int_equal(codec_encode(schema, values, NULL, data, sizeof(data), &length, NULL), 0);
    assert_int_equal(length, 4);
    assert_memory_equal(data, "\x41\x01\x03\x09", 4);
    values[1] = (struct value){.kind = VALUE_UINT, .u = 2};
    values[0] = (struct value){.kind = VALUE_UINT, .u = 0x41}; /* the same: fine */
    assert_int_equal(codec_encode(schema, values, NULL, data, sizeof(data), &length, NULL), 0);
    assert_memory_equal(data, "\x41\x04\x03\x09", 4);
    values[0].u = 0x42;
    assert_int_equal(codec_encode(schema, values, NULL, data, sizeof(data), &length, &field),
                     CODEC_E_CONFLICT);
    assert_int_equal(field, 0);
    schema_free(schema);
}

static void bytes_between_fields_are_zero_and_nothing_else_is_written(void **state)
{
    struct schema *schema = schema_from("a uint8 offset=1; b uint8 offset=3");
    struct value values[2] = {{.kind = VALUE_UINT, .u = 1}, {.kind = VALUE_UINT, .u = 2}};
    uint8_t data[6];
    size_t length;

    memset(data, 0xee, sizeof(data));
    assert_int_equal(codec_encode(schema, values, NULL, data, 3, &length, NULL), CODEC_E_LONG);
    assert_int_equal(codec_encode(schema, values, NULL, data, 4, &length, NULL), 0);
    assert_int_equal(length, 4);
    assert_memory_equal(data, "\0\1\0\2\xee\xee", 6);
    schema_free(schema);
}

static void fields_that_share_bits_must_agree(void **state)
{
    struct schema *schema = schema_from("all uint8; low uint8 offset=0 bits=0,4");
    struct value values[2] = {{.kind = VALUE_UINT, .u = 0xa5}, {.kind = VALUE_UINT, .u = 5}};
    uint8_t data[6];
    size_t length, field;

    assert_int_equal(codec_encode(schema, values, NULL, data, sizeof(data), &length, NULL), 0);
    assert_memory_equal(data, "\xa5", 1);
    values[1].u = 6;
    assert_int_equal(codec_encode(schema, values, NULL, data, sizeof(data), &length, &field),
                     CODEC_E_CONFLICT);
    schema_free(schema);
}

static void errors_say_what_would_be_right(void **state)
{
    static const struct {
        const char *schema, *number, *why;
    } table[] = {
        {"v uint8", "300", "v: does not fit uint8"},
        {"v int16 scale=0.01", "400", "v: does not fit int16 with its scale"},
        {"v uint8 min=0.5 max=10", "11", "v: must be from 0.5 to 10"},
        {"v uint8 min=5", "4", "v: must be 5 or more"},
        {"v uint8 max=-5", "4", "v: must be -5 or less"},
        {"v uint8", "x", "v: must be a number"},
        {"v bool", "x", "v: must be true or false"},
        {"v bytes", "x", "v: must be hex digits"},
        {"v string length=1", "xx", "v: is longer than its 1 bytes"},
        {"v string", "ninebytes", "v: is longer than the 8 bytes allowed"},
    };
    uint8_t data[8];
    size_t length, field;
    char why[100];

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        struct schema *schema = schema_from(table[i].schema);
        struct value value = number(table[i].number);

        int r = codec_encode(schema, &value, NULL, data, sizeof(data), &length, &field);
        codec_explain(schema, r, field, sizeof(data), why, sizeof(why));
        assert_string_equal(why, table[i].why);
        schema_free(schema);
    }
}

/* ---- properties ---- */

static const char *const random_types[] = {
    "bool",   "uint8",   "uint16",  "uint24", "uint32",     "uint40", "uint48", "uint56",
    "uint64", "int8",    "int16",   "int24",  "int32",      "int40",  "int48",  "int56",
    "int64",  "float32", "float64", "sfloat", "medfloat32", "string", "bytes",
};

static void random_schema(uint32_t *seed, char *text, size_t size)
{
    static const char *const scales[] = {"",           " scale=0.01",        " scale=0.5 add=-40",
                                         " scale=-3",  " add=0.125",         " scale=1.8 add=32",
                                         " scale=100", " scale=0.0009765625"};
    size_t n = 1 + random_u32(seed) % 6, at = 0;

    for (size_t i = 0; i < n; i++) {
        const char *type = random_types[random_u32(seed) % ARRAY_SIZE(random_types)];
        bool is_text = strcmp(type, "string") == 0 || strcmp(type, "bytes") == 0;
        bool is_integer = strstr(type, "int") != NULL;

        at += (size_t)snprintf(text + at, size - at, "%sf%zu %s%s", i ? ";" : "", i, type,
                               random_u32(seed) % 2 ? " be" : "");
        if (is_text && (i + 1 < n || random_u32(seed) % 2))
            at += (size_t)snprintf(text + at, size - at, " length=%u", 1 + random_u32(seed) % 6);
        if (!is_text && strcmp(type, "bool") != 0)
            at += (size_t)snprintf(text + at, size - at, "%s",
                                   scales[random_u32(seed) % ARRAY_SIZE(scales)]);
        if (is_integer && random_u32(seed) % 4 == 0)
            at += (size_t)snprintf(text + at, size - at, " bits=%u,%u", random_u32(seed) % 4,
                                   1 + random_u32(seed) % 5);
        if (is_integer && random_u32(seed) % 4 == 0)
            at += (size_t)snprintf(text + at, size - at, " invalid=1");
        if (random_u32(seed) % 8 == 0)
            at += (size_t)snprintf(text + at, size - at, " offset=%u", random_u32(seed) % 10);
    }
}

/* Scaled floats of many digits are computed in doubles: they come back close, not equal. */
static bool is_scaled_float(const struct field_spec *spec, const struct value *value)
{
    return spec->scaled && value->kind == VALUE_FLOAT;
}

static void check_round_trip(const struct schema *schema, const char *text, const uint8_t *data,
                             size_t length)
{
    struct value first[SCHEMA_MAX_FIELDS], second[SCHEMA_MAX_FIELDS];
    uint8_t encoded[GATT_VALUE_MAX], again[GATT_VALUE_MAX];
    struct strbuf a = STRBUF_INIT, b = STRBUF_INIT;
    size_t n, m, field;

    if (codec_decode(schema, data, length, first, NULL) != 0)
        return;
    for (size_t i = 0; i < schema->n_fields; i++)
        if (is_scaled_float(&schema->fields[i], &first[i]))
            return;
    int r = codec_encode(schema, first, NULL, encoded, sizeof(encoded), &n, &field);
    /* a bool of 2 and a sibling with that bit contradict each other; so do two ways to write one
     * medical float */
    if (r == CODEC_E_CONFLICT)
        return;
    if (r != 0)
        fail_msg("%s: what was decoded cannot be encoded: %d at field %zu", text, r, field);
    assert_true(n >= schema->min_length);
    r = codec_decode(schema, encoded, n, second, NULL);
    if (r != 0)
        fail_msg("%s: what was encoded cannot be decoded: %d", text, r);
    values_text(&a, schema, first);
    values_text(&b, schema, second);
    if (strcmp(strbuf_str(&a), strbuf_str(&b)) != 0)
        fail_msg("%s: %s comes back as %s", text, strbuf_str(&a), strbuf_str(&b));
    /* and from then on the bytes stay the same */
    assert_int_equal(codec_encode(schema, second, NULL, again, sizeof(again), &m, NULL), 0);
    assert_int_equal(n, m);
    assert_memory_equal(encoded, again, n);
    strbuf_done(&a);
    strbuf_done(&b);
}

static void whatever_decodes_encodes_to_the_same_value(void **state)
{
    uint32_t seed = 20261123;
    char text[1000];
    int compiled = 0;

    for (int i = 0; i < 3000; i++) {
        struct schema *schema = NULL;
        struct schema_error error;

        random_schema(&seed, text, sizeof(text));
        if (schema_try(text, &schema, &error) < 0)
            continue;
        compiled++;
        for (int k = 0; k < 12; k++) {
            size_t length = random_u32(&seed) % (schema->min_length + 8);
            /* exactly as long as promised: the sanitizer sees a byte too many */
            uint8_t *data = malloc(length ? length : 1);

            assert_non_null(data);
            for (size_t at = 0; at < length; at++)
                data[at] = k % 4 ? (uint8_t)random_u32(&seed) : k % 8 ? 0xff : 0;
            check_round_trip(schema, text, data, length);
            free(data);
        }
        schema_free(schema);
    }
    assert_true(compiled > 1000);
}

static void every_16_bit_value_of_every_type_comes_back(void **state)
{
    static const char *const schemas[] = {"v uint16",           "v int16 be",
                                          "v int16 scale=0.01", "v uint16 scale=0.3 add=-7.77",
                                          "v sfloat",           "v sfloat scale=0.1 add=1",
                                          "v uint16 bits=3,9",  "v int16 bits=2,14 scale=0.125"};
    uint8_t data[2];

    for (size_t i = 0; i < ARRAY_SIZE(schemas); i++) {
        struct schema *schema = schema_from(schemas[i]);
        for (unsigned raw = 0; raw < 65536; raw += 1 + (i > 4 ? 6 : 0)) {
            put_le(data, raw, 2);
            check_round_trip(schema, schemas[i], data, 2);
        }
        schema_free(schema);
    }
}

static void random_floats_print_shortest_and_read_back(void **state)
{
    struct schema *f32 = schema_from("v float32"), *f64 = schema_from("v float64");
    struct strbuf out = STRBUF_INIT;
    uint32_t seed = 77;

    for (int i = 0; i < 12000; i++) {
        uint32_t bits = random_u32(&seed);
        uint8_t data[8];
        struct value value;
        char shorter[64];
        float number;

        if (i % 2) /* the numbers that sensors send */
            number = (float)((int)(bits % 200000) - 100000) / (i % 4 == 1 ? 100.0f : 1000.0f);
        else
            memcpy(&number, &bits, sizeof(number));
        if (!isfinite(number))
            continue;
        memcpy(&bits, &number, sizeof(bits));
        put_le(data, bits, 4);
        assert_int_equal(codec_decode(f32, data, 4, &value, NULL), 0);
        strbuf_reset(&out);
        struct json_writer w = json_writer_to(&out);
        json_write_value(&w, &value);
        assert_true(strtof(strbuf_str(&out), NULL) == number);
        /* a reader of doubles who narrows gets the same */
        assert_true((float)strtod(strbuf_str(&out), NULL) == number);
        int digits = 0;
        do
            snprintf(shorter, sizeof(shorter), "%.*e", digits, (double)number);
        while (strtof(shorter, NULL) != number && ++digits < 9);
        /* no more digits than that needs; whole numbers are written out */
        if (fabsf(number) < 1e6f && strspn(strbuf_str(&out), "-0123456789.") == out.length) {
            size_t written = 0;
            bool leading = true;
            for (const char *p = strbuf_str(&out); *p; p++) {
                leading = leading && (*p == '0' || *p == '.' || *p == '-');
                written += !leading && *p != '.';
            }
            if (written > (size_t)digits + 1 && strchr(strbuf_str(&out), '.'))
                fail_msg("%s is longer than %s", strbuf_str(&out), shorter);
        }
        check_round_trip(f32, "v float32", data, 4);
        put_le(data, random_u64(&seed), 8);
        check_round_trip(f64, "v float64", data, 8);
    }
    strbuf_done(&out);
    schema_free(f32);
    schema_free(f64);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_of_every_size_decode_and_encode),
        cmocka_unit_test(scaled_values_are_exact_and_have_the_decimals_of_scale_and_add),
        cmocka_unit_test(a_scaled_value_that_64_bits_cannot_hold_is_refused_not_rounded),
        cmocka_unit_test(bits_are_taken_from_the_least_significant_of_the_integer),
        cmocka_unit_test(floats_are_the_shortest_number_that_reads_back),
        cmocka_unit_test(medical_floats_follow_11073_20601),
        cmocka_unit_test(unknown_is_null_both_ways),
        cmocka_unit_test(text_bytes_bools_and_names),
        cmocka_unit_test(fields_stand_where_the_schema_says),
        cmocka_unit_test(bad_bytes_are_refused_with_the_field_at_fault),
        cmocka_unit_test(numbers_are_rounded_to_the_nearest_raw_value),
        cmocka_unit_test(what_is_out_of_range_is_refused),
        cmocka_unit_test(values_at_the_limits_are_taken),
        cmocka_unit_test(a_bool_takes_every_word_for_on_and_off),
        cmocka_unit_test(an_enum_takes_names_and_the_raw_values_that_have_one),
        cmocka_unit_test(the_wrong_kind_of_value_is_refused),
        cmocka_unit_test(const_and_default_are_written_when_nothing_is_given),
        cmocka_unit_test(bytes_between_fields_are_zero_and_nothing_else_is_written),
        cmocka_unit_test(fields_that_share_bits_must_agree),
        cmocka_unit_test(errors_say_what_would_be_right),
        cmocka_unit_test(whatever_decodes_encodes_to_the_same_value),
        cmocka_unit_test(every_16_bit_value_of_every_type_comes_back),
        cmocka_unit_test(random_floats_print_shortest_and_read_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
