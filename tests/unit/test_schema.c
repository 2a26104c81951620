/* What a file says about fields: compiled, or refused with words that help. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/bt.h"
#include "core/codec_field.h"
#include "helper_schema.h"
#include "util/strbuf.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void offsets_follow_the_field_before(void **state)
{
    struct schema *schema =
        schema_from("a uint8; b uint24; c float32; d uint16 offset=20; e bool; f sfloat; "
                    "g medfloat32; h float64; i string length=3; j bytes");
    static const size_t offsets[] = {0, 1, 4, 20, 22, 23, 25, 29, 37, 40};

    assert_int_equal(schema->n_fields, ARRAY_SIZE(offsets));
    for (size_t i = 0; i < ARRAY_SIZE(offsets); i++)
        assert_int_equal(schema->fields[i].offset, offsets[i]);
    assert_int_equal(schema->min_length, 40);
    assert_true(schema->variable);
    assert_false(schema->extra_is_error);
    assert_int_equal(schema_find(schema, "c"), 2);
    assert_true(schema_find(schema, "z") == SIZE_MAX);
    schema_free(schema);
}

static void fields_contradict_each_other_only_in_bits_that_they_share(void **state)
{
    static const struct {
        const char *text;
        bool overlaps;
    } table[] = {
        {"a uint8 bits=0,4; b uint8 offset=0 bits=4,4", false},
        {"a uint8 bits=0,5; b uint8 offset=0 bits=4,4", true},
        {"a uint16 be bits=0,8; b uint8 offset=0", false}, /* the first byte has the high bits */
        {"a uint16 be bits=8,8; b uint8 offset=0", true},
        {"a uint16 bits=0,8; b uint8 offset=0", true},
        {"a uint16; b uint8 offset=1", true},
        {"a uint8; b uint8", false},
    };

    const struct value none = {.kind = VALUE_UINT, .u = 0};

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        struct schema *schema = schema_from(table[i].text);
        struct value values[2] = {{.kind = VALUE_UINT, .u = mask_of(bits_of(&schema->fields[0]))},
                                  none};
        uint8_t data[8];
        size_t length;

        assert_int_equal(codec_encode(schema, values, NULL, data, sizeof(data), &length, NULL),
                         table[i].overlaps ? CODEC_E_CONFLICT : 0);
        schema_free(schema);
    }
}

static void what_is_wrong_is_said_with_the_field(void **state)
{
    static const struct {
        const char *text;
        size_t field;
        const char *message;
    } table[] = {
        {"a uint8; a uint8", 1, "there are two fields 'a'"},
        {"a.b uint8", 0, "a field's name has 1 to 64 of the characters A-Z a-z 0-9 _ -"},
        {"ts uint8", 0, "'ts' cannot be a field's name: payloads use it themselves"},
        {"raw uint8", 0, "'raw' cannot be a field's name: payloads use it themselves"},
        {"id uint8", 0, "'id' cannot be a field's name: payloads use it themselves"},
        {"a uint8 scale=0", 0, "a scale of 0 would lose the value"},
        {"a float64 scale=-9223372036854775808", 0, "scale and add have at most 18 digits"},
        {"a int8 add=-9223372036854775808", 0, "scale and add have at most 18 digits"},
        {"a bool scale=2", 0, "only numbers have scale and add"},
        {"a string add=2", 0, "only numbers have scale and add"},
        {"a uint8 scale=1e-18 add=100", 0, "scale and add together need more than 18 digits"},
        {"a uint32 scale=10000000000", 0, "scale and add give values of more than 18 digits"},
        {"a uint8 bits=4,5", 0, "bits: [first, count] must lie within the 8 bits of the field"},
        {"a uint8 bits=0,0", 0, "bits: [first, count] must lie within the 8 bits of the field"},
        {"a uint8 bits=255,255", 0, "bits: [first, count] must lie within the 8 bits of the field"},
        {"a bool bits=0,2", 0, "a bool is one bit; for more use an unsigned integer"},
        {"a float32 bits=0,2", 0, "only integers and bool have bits"},
        {"a uint8 length=2", 0, "only string and bytes have a length"},
        {"a string length=0", 0, "a length is 1 or more; without one, the rest is taken"},
        {"a string; b uint8", 1,
         "comes after a field that takes the rest: give it an offset before that one, or that one "
         "a length"},
        {"a string; b uint8 offset=4", 1,
         "reaches into 'a', which takes the rest: give that one a length"},
        {"a string offset=4; b bytes offset=8", 1, "two fields take the rest: 'a' does already"},
        {"a uint8 offset=512", 0, "lies beyond the 512 bytes that a value can have"},
        {"a uint16 offset=511", 0, "lies beyond the 512 bytes that a value can have"},
        {"a string length=513", 0, "lies beyond the 512 bytes that a value can have"},
        {"a bytes offset=513", 0, "lies beyond the 512 bytes that a value can have"},
        {"a uint8 offset=18446744073709551613", 0,
         "lies beyond the 512 bytes that a value can have"},
        {"a uint8 invalid=256", 0, "invalid: 256 does not fit 8 bits"},
        {"a int8 invalid=-129", 0, "invalid: -129 does not fit 8 bits"},
        {"a uint8 bits=0,4 invalid=16", 0, "invalid: 16 does not fit 4 bits"},
        {"a string invalid=1", 0, "only numbers and bool have an invalid value"},
        {"a uint8 enum=0:x,0:y", 0, "the enum has 0 twice"},
        {"a int8 enum=-1:x,0xff:y", 0, "the enum has -1 twice"},
        {"a uint8 enum=0:x,1:x", 0, "the enum has 'x' twice"},
        {"a uint8 enum=0:", 0, "an enum's names are text"},
        {"a uint8 enum=0:\xff", 0, "an enum's names are text"},
        {"a uint8 enum=256:x", 0, "the enum's value 256 does not fit 8 bits"},
        {"a float32 enum=0:x", 0, "only integers and bool have an enum"},
        {"a uint8 scale=2 enum=0:x", 0,
         "an enum names raw values: scale and add have no meaning there"},
        {"a uint8 min=2 max=1", 0, "min is larger than max"},
        {"a bool min=2", 0, "only numbers have min, max and step"},
        {"a uint8 step=0", 0, "a step is more than 0"},
        {"a uint8 const=1 default=1", 0, "const and default exclude each other"},
        {"a uint8 const=256", 0, "const of a: does not fit uint8"},
        {"a uint8 max=5 default=6", 0, "default of a: must be 5 or less"},
        {"a uint8 enum=0:x default=1", 0, "default of a: is none of x"},
        {"a string length=2 text=abc", 0, "const of a: is longer than its 2 bytes"},
        {"a bytes length=2 text=a", 0, "const of a: does not fit bytes"},
        {"a time const=1", 0, "const and default belong to single values that are not computed"},
        {"a time invalid=1", 0, "only numbers and bool have an invalid value"},
        {"a time min=1", 0, "only numbers have min, max and step"},
        {"a uint8 when=f,bit,0", 0, "when: there is no field 'f' before it"},
        {"a uint8 when=a,bit,0", 0, "when: there is no field 'a' before it"},
        {"a uint8 when=b,bit,0; b uint8", 0, "when: there is no field 'b' before it"},
        {"f string length=1; a uint8 when=f,bit,0", 1,
         "when: 'f' is no integer and no bool that could decide"},
        {"f uint8 repeat=3; a uint8 when=f,bit,0", 1,
         "when: 'f' is no integer and no bool that could decide"},
        {"f uint8; a uint8 when=f,bit,8", 1, "when: 'f' has only 8 bits"},
        {"f uint8 bits=0,2; a uint8 when=f,bit,2", 1, "when: 'f' has only 2 bits"},
        {"f uint8; a uint8 when=f,bit,1,2", 1, "when: a bit equals 0 or 1"},
        {"f uint8; a uint8 when=f,is,256", 1, "when: equals 256 does not fit 8 bits"},
        {"f uint8 enum=0:x; a uint8 when=f,is,y", 1, "when: 'y' is no name of the enum of 'f'"},
        {"f uint8; a uint8 when=f,bit,0; a uint8 when=f,bit,1", 2, "there are two fields 'a'"},
        {"f uint8; g uint8; a uint8 when=f,bit,0; a uint8 when=g,bit,0,0", 3,
         "there are two fields 'a'"},
        {"f uint8; a uint8; a uint8 when=f,bit,0", 2, "there are two fields 'a'"},
        {"a array repeat=n (x uint8)", 0, "repeat: there is no field 'n' before it"},
        {"n int8; a uint8 repeat=n", 1, "repeat: 'n' is no plain unsigned integer"},
        {"n uint8 scale=2; a uint8 repeat=n", 1, "repeat: 'n' is no plain unsigned integer"},
        {"a uint8 repeat=0", 0, "repeat: a count is 1 to 512"},
        {"a uint8 repeat=513", 0, "repeat: a count is 1 to 512"},
        {"a uint16 repeat=257", 0, "lies beyond the 512 bytes that a value can have"},
        {"a array (x uint8)", 0, "an array needs 'repeat'"},
        {"a uint8 repeat=2 const=1", 0,
         "what repeats has no const, no default, and is not computed"},
        {"a string repeat=rest", 0,
         "an element of an array cannot take the rest: give its text a length"},
        {"a array repeat=2 (f uint8 repeat=2)", 0,
         "an element of an array has no arrays and nothing computed in it"},
        {"a array repeat=2 (c uint8 checksum=crc8)", 0,
         "an element of an array has no arrays and nothing computed in it"},
        {"a uint8 repeat=2 bits=4,5", 0,
         "bits: [first, count] must lie within the 8 bits of the field"},
        {"a uint8 repeat=rest; b uint8", 1,
         "comes after a field that takes the rest: give that one a length"},
        {"a string; f uint8 offset=same; b uint8 when=f,bit,0; c string; d uint8", 4,
         "comes after a field that takes the rest: give that one a length"},
        {"c uint8 checksum=crc16_modbus", 0,
         "checksum: crc16_modbus needs a plain unsigned integer of 2 bytes or more"},
        {"c int8 checksum=sum8", 0,
         "checksum: sum8 needs a plain unsigned integer of 1 bytes or more"},
        {"c uint8 checksum=sum8,3,3", 0, "checksum: 'to' is the end of its bytes, beyond 'from'"},
        {"c int8 counter", 0, "a length and a counter are plain unsigned integers"},
        {"c string now", 0, "value: now needs the type time or a number"},
        {"c uint8 now const=1", 0,
         "const and default belong to single values that are not computed"},
    };
    struct schema_error error;
    struct schema *schema = NULL;

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        memset(&error, 0xee, sizeof(error));
        if (schema_try(table[i].text, &schema, &error) != -EINVAL)
            fail_msg("%s is accepted", table[i].text);
        if (error.field != table[i].field || strcmp(error.message, table[i].message) != 0)
            fail_msg("%s: field %zu, %s", table[i].text, error.field, error.message);
        assert_null(schema);
    }
}

static void the_limits_themselves_are_fine(void **state)
{
    static const char *const table[] = {
        "a uint8 offset=511",
        "a string length=512",
        "a bytes offset=512",
        "a uint64 bits=0,64",
        "a int8 invalid=-128",
        "a int8 invalid=255",
        "a uint8 const=255",
        "a uint32 scale=1000000000",
        "a uint8 scale=1e-18 add=9",
        "a uint8 min=1 max=1 step=0.001",
        "t time be",
        "f uint8; a uint8 when=f,bit,7; a uint16 when=f,bit,7,0; b bool repeat=512 offset=0",
        "f uint8; a string when=f,is,1; b bytes when=f,is,2",
        "a string text=x length=1; b bytes default_text=xy length=2",
        "string string", /* types are no reserved names */
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++)
        schema_free(schema_from(table[i]));
}

/* "f0 uint8;f1 uint8;..." */
static char *many_fields(size_t n)
{
    struct strbuf text = STRBUF_INIT;

    for (size_t i = 0; i < n; i++)
        strbuf_printf(&text, "%sf%zu uint8", i ? ";" : "", i);
    return strbuf_take(&text);
}

static void fields_names_and_enums_have_limits(void **state)
{
    struct schema *schema = NULL;
    struct schema_error error;
    char *most = many_fields(SCHEMA_MAX_FIELDS), *more = many_fields(SCHEMA_MAX_FIELDS + 1);

    schema_free(schema_from(most));
    assert_int_equal(schema_try(more, &schema, &error), -EINVAL);
    assert_string_equal(error.message, "a value has 1 to 64 fields");
    assert_int_equal(schema_try("", &schema, &error), -EINVAL);
    free(most);
    free(more);

    char name[SCHEMA_MAX_NAME + 20];
    memset(name, 'n', sizeof(name));
    strcpy(name + SCHEMA_MAX_NAME, " uint8");
    schema_free(schema_from(name));
    strcpy(name + SCHEMA_MAX_NAME, "n uint8");
    assert_int_equal(schema_try(name, &schema, &error), -EINVAL);

    struct strbuf text = STRBUF_INIT;
    strbuf_puts(&text, "a uint16 enum=0:n0");
    for (int i = 1; i < SCHEMA_MAX_ENUMS; i++)
        strbuf_printf(&text, ",%d:n%d", i, i);
    schema_free(schema_from(strbuf_str(&text)));
    strbuf_puts(&text, ",1000:more");
    assert_int_equal(schema_try(strbuf_str(&text), &schema, &error), -EINVAL);
    assert_string_equal(error.message, "an enum has at most 256 names");
    strbuf_done(&text);
}

static void type_names_go_both_ways(void **state)
{
    static const char *const names[] = {"bool",   "uint8",   "uint16",  "uint24", "uint32",
                                        "uint64", "int8",    "int16",   "int24",  "int32",
                                        "int64",  "float32", "float64", "sfloat", "medfloat32",
                                        "string", "bytes",   "time",    "uint40", "int56"};
    static const char *const bad[] = {"", "uint", "int7", "uint128", "UINT8", "uint8 ", "float"};
    enum field_type type;
    uint8_t size;

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        assert_true(field_type_parse(names[i], &type, &size));
        assert_string_equal(field_type_name(type, size), names[i]);
    }
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_false(field_type_parse(bad[i], &type, &size));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(offsets_follow_the_field_before),
        cmocka_unit_test(fields_contradict_each_other_only_in_bits_that_they_share),
        cmocka_unit_test(what_is_wrong_is_said_with_the_field),
        cmocka_unit_test(the_limits_themselves_are_fine),
        cmocka_unit_test(fields_names_and_enums_have_limits),
        cmocka_unit_test(type_names_go_both_ways),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
