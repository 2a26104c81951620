/* Schemas from a line of text; see helper_schema.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/payload.h"
#include "helper_schema.h"
#include "util/num.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct decimal decimal_of(const char *text)
{
    struct decimal value;

    assert_int_equal(num_parse_decimal(text, &value), 0);
    return value;
}

static int64_t integer_of(const char *text)
{
    int64_t value;
    uint64_t bits;

    if (num_parse_i64(text, &value) == 0)
        return value;
    assert_int_equal(num_parse_u64(text, &bits), 0);
    return (int64_t)bits;
}

static void add_enums(struct field_spec *spec, char *text)
{
    char *save = NULL;

    for (char *item = strtok_r(text, ",", &save); item; item = strtok_r(NULL, ",", &save)) {
        char *name = strchr(item, ':');

        assert_non_null(name);
        *name++ = '\0';
        spec->enums = reallocarray(spec->enums, spec->n_enums + 1, sizeof(*spec->enums));
        assert_non_null(spec->enums);
        spec->enums[spec->n_enums++] =
            (struct field_enum){.raw = integer_of(item), .name = strdup(name)};
    }
}

static void apply_bits(struct field_spec *spec, char *text)
{
    char *count = strchr(text, ',');

    assert_non_null(count);
    *count++ = '\0';
    spec->has_bits = true;
    spec->bit_first = (uint8_t)integer_of(text);
    spec->bit_count = (uint8_t)integer_of(count);
}

/* "flags,bit,3", "flags,bit,3,0", "kind,is,2", "kind,is,name" */
static void apply_when(struct field_spec *spec, char *text)
{
    char *save = NULL;
    char *field = strtok_r(text, ",", &save), *what = strtok_r(NULL, ",", &save);
    char *value = strtok_r(NULL, ",", &save), *equals = strtok_r(NULL, ",", &save);

    assert_non_null(value);
    spec->when.field = strdup(field);
    if (strcmp(what, "bit") == 0) {
        spec->when.has_bit = true;
        spec->when.bit = (uint8_t)integer_of(value);
        spec->when.has_equals = equals != NULL;
        spec->when.equals = equals ? integer_of(equals) : 0;
    } else {
        spec->when.has_equals = true;
        if (num_parse_i64(value, &spec->when.equals) < 0)
            spec->when.equals_name = strdup(value);
    }
}

static void apply_repeat(struct field_spec *spec, const char *text)
{
    int64_t times;

    if (strcmp(text, "rest") == 0) {
        spec->repeat = FIELD_REPEAT_REST;
    } else if (num_parse_i64(text, &times) == 0) {
        spec->repeat = FIELD_REPEAT_TIMES;
        spec->repeat_times = (size_t)times;
    } else {
        spec->repeat = FIELD_REPEAT_FIELD;
        spec->repeat_field = strdup(text);
    }
}

/* "crc8", "crc8,1,5" */
static void apply_checksum(struct field_spec *spec, char *text)
{
    char *save = NULL;
    char *name = strtok_r(text, ",", &save), *from = strtok_r(NULL, ",", &save);
    char *to = from ? strtok_r(NULL, ",", &save) : NULL;

    spec->compute = FIELD_COMPUTE_CHECKSUM;
    assert_true(checksum_parse(name, &spec->checksum));
    spec->checksum_from = from ? (size_t)integer_of(from) : 0;
    spec->checksum_to = to ? (size_t)integer_of(to) : SIZE_MAX;
}

/* the words of conditions, repeats and what is computed; false: another word */
static bool apply_structure(struct field_spec *spec, const char *word, char *value)
{
    if (!value && strcmp(word, "open") == 0) {
        spec->open_enum = true;
    } else if (!value && strcmp(word, "counter") == 0) {
        spec->compute = FIELD_COMPUTE_COUNTER;
    } else if (!value && strcmp(word, "now") == 0) {
        spec->compute = FIELD_COMPUTE_NOW;
    } else if (value && strcmp(word, "when") == 0) {
        apply_when(spec, value);
    } else if (value && strcmp(word, "repeat") == 0) {
        apply_repeat(spec, value);
    } else if (value && strcmp(word, "checksum") == 0) {
        apply_checksum(spec, value);
    } else if (value && strcmp(word, "count") == 0) {
        spec->compute =
            strcmp(value, "all") == 0 ? FIELD_COMPUTE_LENGTH_ALL : FIELD_COMPUTE_LENGTH_REST;
    } else if (value && strcmp(word, "round") == 0) {
        spec->rounded = true;
        spec->round_to = (uint8_t)integer_of(value);
    } else if (value && strcmp(word, "offset") == 0 && strcmp(value, "same") == 0) {
        spec->offset = FIELD_OFFSET_SAME;
    } else if (value && (strcmp(word, "text") == 0 || strcmp(word, "default_text") == 0)) {
        spec->own_data = (uint8_t *)strdup(value);
        spec->own_length = strlen(value);
        *(word[0] == 't' ? &spec->has_const : &spec->has_default) = true;
    } else {
        return false;
    }
    return true;
}

static void apply_word(struct field_spec *spec, char *word)
{
    static const struct {
        const char *key;
        size_t value; /* offset of a struct decimal */
        size_t has;   /* offset of a bool, or 0 */
    } decimals[] = {
        {"scale", offsetof(struct field_spec, scale), 0},
        {"add", offsetof(struct field_spec, add), 0},
        {"const", offsetof(struct field_spec, const_value), offsetof(struct field_spec, has_const)},
        {"default", offsetof(struct field_spec, default_value),
         offsetof(struct field_spec, has_default)},
        {"min", offsetof(struct field_spec, min), offsetof(struct field_spec, has_min)},
        {"max", offsetof(struct field_spec, max), offsetof(struct field_spec, has_max)},
        {"step", offsetof(struct field_spec, step), offsetof(struct field_spec, has_step)},
        {"deadband", offsetof(struct field_spec, deadband),
         offsetof(struct field_spec, has_deadband)},
    };
    char *value = strchr(word, '=');

    if (value)
        *value++ = '\0';
    if (apply_structure(spec, word, value))
        return;
    for (size_t i = 0; i < ARRAY_SIZE(decimals); i++)
        if (value && strcmp(word, decimals[i].key) == 0) {
            struct decimal decimal = decimal_of(value);
            memcpy((char *)spec + decimals[i].value, &decimal, sizeof(decimal));
            if (decimals[i].has)
                *((bool *)((char *)spec + decimals[i].has)) = true;
            return;
        }
    if (!value && strcmp(word, "be") == 0) {
        spec->big_endian = true;
    } else if (!value && strcmp(word, "hidden") == 0) {
        spec->publish = false;
    } else if (value && strcmp(word, "offset") == 0) {
        spec->offset = (size_t)integer_of(value);
    } else if (value && strcmp(word, "length") == 0) {
        spec->length = (size_t)integer_of(value);
    } else if (value && strcmp(word, "bits") == 0) {
        apply_bits(spec, value);
    } else if (value && strcmp(word, "invalid") == 0) {
        spec->has_invalid = true;
        spec->invalid = integer_of(value);
    } else if (value && strcmp(word, "enum") == 0) {
        add_enums(spec, value);
    } else {
        fail_msg("the test's schema has a bad word '%s'", word);
    }
}

static void parse_field(char *text, struct field_spec *spec)
{
    char *save = NULL, *inner = strchr(text, '('), *end = strrchr(text, ')');
    struct schema *element = NULL;

    if (inner && end) { /* the fields of an array's element */
        *inner++ = *end = '\0';
        element = schema_from(inner);
    }
    char *name = strtok_r(text, " ", &save), *type = strtok_r(NULL, " ", &save);
    *spec = (struct field_spec){.name = strdup(name),
                                .offset = FIELD_OFFSET_NEXT,
                                .scale = {1, 0},
                                .publish = true,
                                .element = element};
    assert_non_null(type);
    if (element)
        spec->type = FIELD_TYPE_ARRAY;
    else
        assert_true(field_type_parse(type, &spec->type, &spec->size));
    if (spec->type == FIELD_TYPE_STRING || spec->type == FIELD_TYPE_BYTES)
        spec->length = FIELD_LENGTH_REST;
    for (char *word = strtok_r(NULL, " ", &save); word; word = strtok_r(NULL, " ", &save))
        apply_word(spec, word);
}

/* the next field, split at ';' outside of brackets */
static char *next_field(char **rest)
{
    char *start = *rest, *p = start;
    int depth = 0;

    if (!*start)
        return NULL;
    for (; *p && (*p != ';' || depth); p++)
        depth += (*p == '(') - (*p == ')');
    *rest = *p ? p + 1 : p;
    *p = '\0';
    return start;
}

int schema_try(const char *text, struct schema **ret_schema, struct schema_error *ret_error)
{
    char *copy = strdup(text);
    struct field_spec *specs = calloc(SCHEMA_MAX_FIELDS + 1, sizeof(*specs));
    bool extra = strncmp(text, "extra ", 6) == 0;
    size_t n = 0;

    assert_non_null(copy);
    assert_non_null(specs);
    char *rest = copy + (extra ? 6 : 0);
    for (char *field = next_field(&rest); field; field = next_field(&rest)) {
        assert_true(n <= SCHEMA_MAX_FIELDS);
        parse_field(field, &specs[n++]);
    }
    free(copy);
    int r = schema_new_take(specs, n, extra, ret_schema, ret_error);
    if (r < 0) {
        for (size_t i = 0; i < n; i++)
            field_spec_done(&specs[i]);
        free(specs);
    }
    return r;
}

struct schema *schema_from(const char *text)
{
    struct schema *schema = NULL;
    struct schema_error error;

    if (schema_try(text, &schema, &error) < 0)
        fail_msg("%s: %s", text, error.message);
    return schema;
}

size_t bytes_from(const char *hex, uint8_t *buf, size_t size)
{
    size_t length = 0;

    assert_int_equal(num_parse_hex(hex, buf, size, &length), 0);
    return length;
}

const char *values_text(struct strbuf *out, const struct schema *schema, const struct value *values)
{
    strbuf_reset(out);
    struct json_writer w = json_writer_to(out);
    json_write_object_begin(&w);
    for (size_t i = 0; i < schema->n_fields; i++) {
        if (values[i].kind == VALUE_ABSENT)
            continue;
        json_write_key(&w, schema->fields[i].name);
        payload_write_field(&w, &schema->fields[i], &values[i]);
    }
    json_write_object_end(&w);
    assert_true(strbuf_ok(out));
    return strbuf_str(out);
}

uint32_t random_u32(uint32_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;
    return *seed;
}

uint64_t random_u64(uint32_t *seed)
{
    uint64_t high = random_u32(seed);

    return high << 32 | random_u32(seed);
}
