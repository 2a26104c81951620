/*
 * Properties of the codec over random schemas, values, bytes and JSON:
 *   decode(encode(v)) = v for every valid v, encode(decode(x)) = x for what was encoded,
 *   what is published can be set, hostile input is refused or means something that comes back.
 * Each seed makes one schema; a failure prints both. CODEC_SEEDS=7 or 1-100000 plays others.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/codec_field.h"
#include "core/payload.h"
#include "core/sig.h"
#include "helper_play.h"
#include "helper_schema.h"
#include "util/cleanup.h"
#include "util/decimal.h"
#include "util/strbuf.h"

static const struct codec_context context = {.real_us = INT64_C(1795662570123456), .counter = 200};
#define FAIL(p, ...)                                                                    \
    do {                                                                                \
        print_error("CODEC_SEEDS=%" PRIu32 "\n  schema: %s\n", (p)->number, (p)->text); \
        fail_msg(__VA_ARGS__);                                                          \
    } while (0)

static void fail_bytes(struct play *p, const char *what, int r, size_t field, const uint8_t *data,
                       size_t length)
{
    struct strbuf hex = STRBUF_INIT;

    strbuf_hex(&hex, data, length);
    print_error("  bytes: %s\n  json: %s\n", strbuf_str(&hex), strbuf_str(&p->json));
    strbuf_done(&hex);
    FAIL(p, "%s (%d, field %zd)", what, r, (ssize_t)field);
}
/* ---- the same value ---- */

/* Floats with a scale lose digits: their own, and those of the doubles between. */
static bool is_near(const struct field_spec *spec, const struct value *a, const struct value *b)
{
    double x, y, add = decimal_to_double(spec->add);
    double digits = spec->type == FIELD_TYPE_SFLOAT    ? 2.5e-3
                    : spec->type == FIELD_TYPE_FLOAT64 ? 1e-14
                                                       : 1e-6;

    if (!value_number(a, &x) || !value_number(b, &y))
        return value_equal(a, b);
    /* the least step of an SFLOAT is 10^-8, of others less */
    return fabs(x - y) <=
           digits * (fabs(x) + fabs(add)) + 1e-8 * fabs(decimal_to_double(spec->scale));
}

static bool is_same(const struct field_spec *spec, const struct value *given,
                    const struct value *decoded)
{
    struct value values[SCHEMA_MAX_FIELDS];
    bool same = true;
    size_t n = 0;

    if (spec->type != FIELD_TYPE_ARRAY)
        return spec->scaled && spec->type >= FIELD_TYPE_FLOAT32 &&
                       spec->type <= FIELD_TYPE_MEDFLOAT32
                   ? is_near(spec, given, decoded)
                   : value_equal(given, decoded);
    struct codec_array walk = {spec->element, decoded->s.data, decoded->s.length};
    for (; codec_array_next(&walk, values); n++)
        for (size_t i = 0; n < given->list.n && i < spec->element->n_fields; i++) {
            const struct value *item = &given->list.items[n * spec->element->n_fields + i];
            same &=
                item->kind == VALUE_ABSENT || is_same(&spec->element->fields[i], item, &values[i]);
        }
    return same && n == given->list.n;
}

/* ---- the properties of one seed ---- */

static void write_json(struct play *p, const struct value *values)
{
    strbuf_reset(&p->json);
    struct json_writer w = json_writer_to(&p->json);
    json_write_object_begin(&w);
    for (size_t i = 0; i < p->schema->n_fields; i++) {
        if (values[i].kind == VALUE_ABSENT || field_spec_is_computed(&p->schema->fields[i]))
            continue;
        json_write_key(&w, p->schema->fields[i].name);
        payload_write_field(&w, &p->schema->fields[i], &values[i]);
    }
    json_write_object_end(&w);
    assert_true(strbuf_ok(&p->json));
}

static bool has_hidden_scale(const struct schema *schema, const struct value *values)
{
    for (size_t i = 0; i < schema->n_fields; i++)
        if (schema->fields[i].scaled && values[i].kind == VALUE_FLOAT)
            return true;
    return false;
}

/* what is published is what may be set, and gives the same bytes */
static void check_json(struct play *p, const struct value *values, const uint8_t *data,
                       size_t length)
{
    static struct payload_set set;
    uint8_t bytes[GATT_VALUE_MAX];
    size_t n, field = SIZE_MAX;

    write_json(p, values);
    if (p->json.length == 2) /* {} sets nothing */
        return;
    int r = payload_parse_set(p->schema, NULL, strbuf_str(&p->json), p->json.length, &set);
    if (r != 0)
        fail_bytes(p, set.error, r, field, data, length);
    r = codec_encode(p->schema, set.values, &context, bytes, sizeof(bytes), &n, &field);
    if (r != 0)
        fail_bytes(p, "what was published cannot be set", r, field, data, length);
    if (n != length || memcmp(bytes, data, n) != 0)
        fail_bytes(p, "what was published sets something else", r, field, bytes, n);
}

static int decode_copy(const struct schema *schema, const uint8_t *data, size_t length,
                       uint8_t **ret_copy, struct value *values, size_t *field)
{
    /* exactly as long as it is: the sanitizer sees a byte too many */
    *ret_copy = malloc(length ? length : 1);
    assert_non_null(*ret_copy);
    if (length)
        memcpy(*ret_copy, data, length);
    return codec_decode(schema, *ret_copy, length, values, field);
}

/* encode(decode(x)) = x, whatever way it goes */
static void check_canonical(struct play *p, const uint8_t *data, size_t length,
                            const struct value *given)
{
    struct value values[SCHEMA_MAX_FIELDS];
    uint8_t again[GATT_VALUE_MAX], *copy;
    size_t n, field = SIZE_MAX;

    int r = decode_copy(p->schema, data, length, &copy, values, &field);
    if (r != 0)
        fail_bytes(p, "what was encoded is not decoded", r, field, data, length);
    write_json(p, values);
    for (size_t i = 0; given && i < p->schema->n_fields; i++)
        if (given[i].kind != VALUE_ABSENT && (p->present >> i & 1) &&
            !is_same(&p->schema->fields[i], &given[i], &values[i]))
            fail_bytes(p, "a value is another one when decoded", 0, i, data, length);
    /* doubles are not exact, and then neither is what comes back */
    if (!has_hidden_scale(p->schema, values)) {
        r = codec_encode(p->schema, values, &context, again, sizeof(again), &n, &field);
        if (r != 0)
            fail_bytes(p, "what was decoded is not encoded", r, field, data, length);
        if (n != length || memcmp(again, data, n) != 0)
            fail_bytes(p, "what was decoded is encoded in another way", r, field, again, n);
        check_json(p, values, data, length);
    }
    free(copy);
}

static void check_shorter(struct play *p, const uint8_t *data, size_t length)
{
    struct value values[SCHEMA_MAX_FIELDS];
    struct strbuf out = STRBUF_INIT;
    uint8_t *copy;

    for (size_t n = 0; n < length; n++) {
        int r = decode_copy(p->schema, data, n, &copy, values, NULL);
        if (r == 0)
            values_text(&out, p->schema, values);
        if (r == 0 && n < p->schema->min_length)
            fail_bytes(p, "too few bytes are decoded", r, n, data, n);
        free(copy);
    }
    strbuf_done(&out);
}

/* decode(encode(v)) = v */
static void check_values(struct play *p)
{
    uint8_t data[GATT_VALUE_MAX];
    size_t length, field;

    play_make_values(p);
    strbuf_reset(&p->json);
    int r = codec_encode(p->schema, p->values, &context, data, sizeof(data), &length, &field);
    if (r != 0)
        fail_bytes(p, "valid values are not encoded", r, field, data, 0);
    check_canonical(p, data, length, p->values);
    check_shorter(p, data, length);
}

/* nothing can be written for it: a name or a number that means nothing */
static bool has_reserved(const struct schema *schema, const struct value *values)
{
    for (size_t i = 0; i < schema->n_fields; i++) {
        const struct field_spec *spec = &schema->fields[i];
        struct value items[SCHEMA_MAX_FIELDS];

        if (values[i].kind == VALUE_NULL && !play_may_be_null(spec))
            return true;
        struct codec_array walk = {spec->element, values[i].s.data,
                                   values[i].kind == VALUE_ARRAY ? values[i].s.length : 0};
        while (codec_array_next(&walk, items))
            if (has_reserved(spec->element, items))
                return true;
    }
    return false;
}

/* whatever decodes is encoded, and from then on it is canonical */
static bool check_bytes(struct play *p)
{
    struct value values[SCHEMA_MAX_FIELDS];
    uint8_t data[GATT_VALUE_MAX], bytes[GATT_VALUE_MAX], *copy;
    size_t length = p->schema->min_length + play_below(p, 8), n, field = SIZE_MAX;
    unsigned mask = play_below(p, 3) ? 0xff : 3;

    length = play_below(p, 6) ? MIN_OF(length, sizeof(data)) : play_below(p, (uint32_t)length + 1);
    for (size_t i = 0; i < length; i++)
        data[i] = (uint8_t)(random_u32(&p->seed) & mask);
    bool good = decode_copy(p->schema, data, length, &copy, values, &field) == 0;
    if (good) {
        write_json(p, values);
        int r = codec_encode(p->schema, values, &context, bytes, sizeof(bytes), &n, &field);
        /* a field with bits of its own that are shared, or a const that is another one */
        if (r == 0)
            check_canonical(p, bytes, n, NULL);
        else if (r != CODEC_E_CONFLICT && !has_reserved(p->schema, values) &&
                 !has_hidden_scale(p->schema, values))
            fail_bytes(p, "what was decoded is not encoded", r, field, data, length);
    }
    free(copy);
    return good;
}

/* ---- hostile JSON ---- */

static const char *const hostile[] = {"null",
                                      "true",
                                      "false",
                                      "0",
                                      "-0",
                                      "-1",
                                      "1e400",
                                      "-1e-400",
                                      "1e999999999999",
                                      "9223372036854775807",
                                      "-9223372036854775808",
                                      "18446744073709551616",
                                      "0.000000000000000000000000001",
                                      "123456789012345678901234567890.5",
                                      "\"\"",
                                      "\"on\"",
                                      "\"NaN\"",
                                      "\"Infinity\"",
                                      "\"-inf\"",
                                      "\"0x10\"",
                                      "\"00\"",
                                      "\"zz\"",
                                      "\"\\u0000\"",
                                      "\"a\\u0000b\"",
                                      "\"\\ud800\"",
                                      "\"2026-02-30T00:00:00\"",
                                      "\"9999999999-01-01T00:00:00\"",
                                      "[]",
                                      "[[]]",
                                      "[null]",
                                      "[1,2,3,4,5,6,7,8,9]",
                                      "[{}]",
                                      "[{\"a\":1}]",
                                      "[{\"a\":[]}]",
                                      "[{\"a\":1,\"a\":2}]",
                                      "{}",
                                      "{\"a\":1}",
                                      "{\"raw\":\"00\"}",
                                      "NaN",
                                      "Infinity",
                                      "1.",
                                      ".5",
                                      "+1",
                                      "01",
                                      "'a'",
                                      "\xff",
                                      "\"\xff\"",
                                      "\"\xc0\x80\"",
                                      "[1",
                                      "}",
                                      "255.5",
                                      "65535.49",
                                      "21.48"};

static void say_hostile(struct play *p)
{
    strbuf_reset(&p->json);
    strbuf_puts(&p->json, "{");
    for (size_t i = 0; i < p->schema->n_fields; i++) {
        if (play_below(p, 8) == 0 || schema_is_alternative(p->schema, i))
            continue;
        strbuf_printf(&p->json, "%s\"%s\":%s", p->json.length > 1 ? "," : "",
                      p->schema->fields[i].name, hostile[play_below(p, ARRAY_SIZE(hostile))]);
    }
    strbuf_puts(&p->json, "}");
}

/* a character changed, left out, or all behind it */
static void damage(struct play *p)
{
    size_t at = p->json.length ? play_below(p, (uint32_t)p->json.length) : 0;

    switch (p->json.length ? play_below(p, 4) : 0) {
    case 1: p->json.data[at] = (char)random_u32(&p->seed); break;
    case 2:
        memmove(p->json.data + at, p->json.data + at + 1, p->json.length - at - 1);
        strbuf_truncate(&p->json, p->json.length - 1);
        break;
    case 3: strbuf_truncate(&p->json, at); break;
    default: break;
    }
}

/* what was taken is what was given, but for the last place of the field */
static void check_is_rounded(struct play *p, const struct value *given, const uint8_t *data,
                             size_t length)
{
    struct value values[SCHEMA_MAX_FIELDS];
    double x, y;

    assert_int_equal(codec_decode(p->schema, data, length, values, NULL), 0);
    for (size_t i = 0; i < p->schema->n_fields; i++) {
        const struct field_spec *spec = &p->schema->fields[i];

        if (schema_is_alternative(p->schema, i) || spec->n_enums || !value_number(&given[i], &x) ||
            !value_number(&values[i], &y))
            continue;
        bool whole = spec->type == FIELD_TYPE_UINT || spec->type == FIELD_TYPE_INT;
        double place = whole ? fabs(decimal_to_double(spec->scale)) / 2 : 0;
        if (spec->rounded)
            place += 0.5 / (double)decimal_pow10(spec->round_to);
        if (fabs(x - y) > place + 1e-9 * (fabs(x) + fabs(y)) &&
            (whole || !is_near(spec, &given[i], &values[i])))
            fail_bytes(p, "another value than was set", 0, i, data, length);
    }
}

static void check_set(struct play *p, const char *name, const char *text, size_t length)
{
    static struct payload_set set;
    uint8_t bytes[GATT_VALUE_MAX], *copy = malloc(length ? length : 1);
    size_t n, field;

    assert_non_null(copy);
    if (length)
        memcpy(copy, text, length);
    int r = payload_parse_set(p->schema, name, copy, length, &set);
    free(copy);
    if (r != 0) {
        assert_true(set.error[0] != '\0');
        return;
    }
    if (set.is_raw)
        return;
    r = codec_encode(p->schema, set.values, &context, bytes, sizeof(bytes), &n, &field);
    if (r == 0)
        check_is_rounded(p, set.values, bytes, n);
    if (r == 0)
        check_canonical(p, bytes, n, NULL);
}

static void check_hostile(struct play *p)
{
    const struct field_spec *spec =
        &p->schema->fields[play_below(p, (uint32_t)p->schema->n_fields)];
    const char *word = hostile[play_below(p, ARRAY_SIZE(hostile))];
    char text[2000];

    if (play_below(p, 3))
        say_hostile(p);
    else
        write_json(p, p->values);
    damage(p);
    size_t length = MIN_OF(p->json.length, sizeof(text));
    memcpy(text, strbuf_str(&p->json), length);
    check_set(p, NULL, text, length);
    if (!field_spec_is_computed(spec) && !spec->has_const)
        check_set(p, spec->name, word, strlen(word));
}

/* ---- all seeds ---- */

static void seeds(uint32_t *first, uint32_t *last)
{
    const char *text = getenv("CODEC_SEEDS");
    char *end;

    *first = 1;
    *last = 1000;
    if (text) {
        *first = *last = (uint32_t)strtoul(text, &end, 10);
        if (*end == '-')
            *last = (uint32_t)strtoul(end + 1, NULL, 10);
    }
    print_message("CODEC_SEEDS=%" PRIu32 "-%" PRIu32 "\n", *first, *last);
}

static void what_is_valid_comes_back_and_what_is_hostile_is_refused(void **state)
{
    uint32_t first, last;
    size_t schemas = 0, good = 0;

    seeds(&first, &last);
    for (uint32_t number = first; number <= last && number >= first; number++) {
        struct play *p = play_new(number);

        if (play_make_schema(p)) {
            schemas++;
            for (int i = 0; i < 12; i++) {
                check_values(p);
                good += check_bytes(p);
                check_hostile(p);
            }
        }
        play_free(p);
    }
    if (last - first >= 400) { /* few schemas are refused, and much of what is random decodes */
        assert_true(schemas > (last - first) / 2);
        assert_true(good > schemas);
    }
}

/* ---- the formats of the Bluetooth SIG ---- */

static void check_is_allowed(struct play *p, const struct field_spec *spec,
                             const struct value *value, const uint8_t *data, size_t length)
{
    double number;

    if (value->kind == VALUE_FLOAT && !isfinite(value->d))
        fail_bytes(p, "not finite", 0, SIZE_MAX, data, length);
    if (!value_number(value, &number) || value->kind == VALUE_BOOL)
        return;
    if ((spec->has_min && number < decimal_to_double(spec->min)) ||
        (spec->has_max && number > decimal_to_double(spec->max)))
        fail_bytes(p, "what is prohibited is published", 0, SIZE_MAX, data, length);
}

static void check_sig(struct play *p)
{
    struct value values[SCHEMA_MAX_FIELDS];
    uint8_t data[64], *copy;
    size_t length = play_below(p, sizeof(data));
    json_error_t error;

    for (size_t i = 0; i < length; i++)
        data[i] = (uint8_t)(play_below(p, 4) ? random_u32(&p->seed) : 0xff);
    strbuf_reset(&p->json);
    if (decode_copy(p->schema, data, length, &copy, values, NULL) == 0) {
        values_text(&p->json, p->schema, values);
        json_t *json = json_loads(strbuf_str(&p->json), JSON_REJECT_DUPLICATES, &error);
        if (!json)
            fail_bytes(p, error.text, 0, SIZE_MAX, data, length);
        json_decref(json);
        for (size_t i = 0; i < p->schema->n_fields; i++)
            check_is_allowed(p, &p->schema->fields[i], &values[i], data, length);
    }
    free(copy);
    check_hostile(p);
}

static void every_sig_format_stands_random_bytes_and_hostile_json(void **state)
{
    uint32_t first, last;
    uint16_t uuid;

    seeds(&first, &last);
    for (size_t n = 0; (uuid = sig_uuid_at(n)) != 0; n++) {
        struct play *p = play_new(first + (uint32_t)n);

        snprintf(p->text, sizeof(p->text), "0x%04X %s", uuid, sig_name(uuid));
        assert_int_equal(sig_schema_new(uuid, &p->schema), 0);
        for (uint32_t i = 0; i < 20 + (last - first) / 10; i++)
            check_sig(p);
        play_free(p);
    }
}

/* ---- decimals ---- */

/* digits by hand: 2148 and 2 is 21.48 */
static void write_exact(__int128 mantissa, unsigned decimals, char *out)
{
    char digits[50];
    size_t n = 0;
    bool negative = mantissa < 0;

    for (mantissa = negative ? -mantissa : mantissa; decimals && mantissa % 10 == 0; decimals--)
        mantissa /= 10;
    do {
        digits[n++] = (char)('0' + (int)(mantissa % 10));
        mantissa /= 10;
        if (n == decimals)
            digits[n++] = '.';
    } while (mantissa || (decimals && n < decimals + 2));
    if (negative)
        *out++ = '-';
    while (n)
        *out++ = digits[--n];
    *out = '\0';
}

static void check_decimal(struct play *p, bool is_float)
{
    int64_t scale = 1 + play_below(p, play_below(p, 2) ? 100000 : 10),
            add = (int64_t)play_below(p, 20001) - 10000;
    unsigned decimals = play_below(p, 7), other = play_below(p, 4);
    int64_t raw = play_below(p, 2) ? play_below(p, 65536) : (int64_t)random_u32(&p->seed) % 5000000;
    char scale_text[50], add_text[50], expected[50];
    struct value value;
    uint8_t data[8];

    p->text[0] = '\0';
    schema_free(p->schema);
    if (is_float) { /* 32 bits keep six digits, whatever they are */
        float number = (float)((double)(raw % 1000000) / (double)decimal_pow10(decimals));
        uint32_t bits;
        memcpy(&bits, &number, sizeof(bits));
        for (unsigned i = 0; i < 4; i++)
            data[i] = (uint8_t)(bits >> 8 * i);
        play_say(p, "v float32");
        write_exact(raw % 1000000, decimals, expected);
    } else {
        write_exact(scale, decimals, scale_text);
        write_exact(add, other, add_text);
        play_say(p, "v int64 scale=%s add=%s", scale_text, add_text);
        for (unsigned i = 0; i < 8; i++)
            data[i] = (uint8_t)((uint64_t)raw >> 8 * i);
        unsigned most = MAX_OF(decimals, other);
        write_exact((__int128)raw * scale * decimal_pow10(most - decimals) +
                        (__int128)add * decimal_pow10(most - other),
                    most, expected);
    }
    p->schema = schema_from(p->text);
    assert_int_equal(codec_decode(p->schema, data, 8, &value, NULL), 0);
    strbuf_reset(&p->json);
    struct json_writer w = json_writer_to(&p->json);
    json_write_value(&w, &value);
    if (strcmp(strbuf_str(&p->json), expected) != 0)
        FAIL(p, "%s instead of %s", strbuf_str(&p->json), expected);
}

static void numbers_print_as_they_are_and_never_with_a_tail(void **state)
{
    uint32_t first, last;

    seeds(&first, &last);
    struct play *p = play_new(first);
    for (uint32_t i = 0; i < 8 * (last - first + 1); i++)
        check_decimal(p, i % 4 == 0);
    play_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_valid_comes_back_and_what_is_hostile_is_refused),
        cmocka_unit_test(every_sig_format_stands_random_bytes_and_hostile_json),
        cmocka_unit_test(numbers_print_as_they_are_and_never_with_a_tail),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
