/* Payloads of characteristics; see payload.h. Must not know topics or peers. */
#include "core/payload.h"

#include "core/json.h"
#include "core/json_text.h"
#include "util/cleanup.h"
#include "util/decimal.h"
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- out ---- */

static void write_array(struct json_writer *w, const struct field_spec *spec,
                        const struct value *value)
{
    struct codec_array array = {spec->element, value->s.data, value->s.length};
    struct value values[SCHEMA_MAX_FIELDS];

    json_write_array_begin(w);
    while (codec_array_next(&array, values)) {
        if (!spec->scalar_elements)
            json_write_object_begin(w);
        for (size_t i = 0; i < spec->element->n_fields; i++) {
            if (!spec->element->fields[i].publish || values[i].kind == VALUE_ABSENT)
                continue;
            if (!spec->scalar_elements)
                json_write_key(w, spec->element->fields[i].name);
            json_write_value(w, &values[i]);
        }
        if (!spec->scalar_elements)
            json_write_object_end(w);
    }
    json_write_array_end(w);
}

void payload_write_field(struct json_writer *w, const struct field_spec *spec,
                         const struct value *value)
{
    if (value->kind == VALUE_ARRAY)
        write_array(w, spec, value);
    else
        json_write_value(w, value);
}

static void write_bare(struct strbuf *out, const struct field_spec *spec, const struct value *value)
{
    struct json_writer w = json_writer_to(out);
    size_t start = out->length;

    switch (value->kind) {
    case VALUE_STRING: strbuf_append(out, value->s.data, value->s.length); return;
    case VALUE_BYTES: strbuf_hex(out, value->s.data, value->s.length); return;
    case VALUE_UINT: strbuf_u64(out, value->u); return;
    case VALUE_INT: strbuf_i64(out, value->i); return;
    case VALUE_DECIMAL:
    case VALUE_TIME:
        json_write_value(&w, value);
        /* a whole number too large for JSON is quoted there, and so is a time */
        if (strbuf_ok(out) && out->data[start] == '"') {
            size_t length = out->length - start - 2;
            memmove(out->data + start, out->data + start + 1, length);
            strbuf_truncate(out, start + length);
        }
        return;
    case VALUE_ARRAY:
    case VALUE_LIST:
    case VALUE_FLOAT:
    case VALUE_BOOL:
    case VALUE_NULL:
    case VALUE_ABSENT: payload_write_field(&w, spec, value); return;
    }
}

static void write_json(struct strbuf *out, const struct schema *schema, const struct value *values,
                       const uint8_t *data, size_t length, int64_t real_us, bool assumed)
{
    struct json_writer w = json_writer_to(out);

    json_write_object_begin(&w);
    if (!schema) {
        json_write_key(&w, "value");
        json_write_hex(&w, data, length);
    }
    for (size_t i = 0; schema && i < schema->n_fields; i++) {
        if (!schema->fields[i].publish || values[i].kind == VALUE_ABSENT)
            continue;
        json_write_key(&w, schema->fields[i].name);
        payload_write_field(&w, &schema->fields[i], &values[i]);
    }
    if (assumed) {
        json_write_key(&w, "assumed");
        json_write_bool(&w, true);
    }
    json_write_key(&w, "ts");
    json_write_time(&w, real_us);
    json_write_object_end(&w);
}

void payload_write(struct strbuf *out, enum payload_form form, const struct schema *schema,
                   const struct value *values, const uint8_t *data, size_t length, int64_t real_us,
                   bool assumed)
{
    switch (form) {
    case PAYLOAD_JSON: write_json(out, schema, values, data, length, real_us, assumed); return;
    case PAYLOAD_RAW: strbuf_append(out, data, length); return;
    case PAYLOAD_HEX: strbuf_hex(out, data, length); return;
    case PAYLOAD_VALUE:
        if (!schema)
            strbuf_hex(out, data, length);
        for (size_t i = 0; schema && i < schema->n_fields; i++)
            if (schema->fields[i].publish && values[i].kind != VALUE_ABSENT) {
                write_bare(out, &schema->fields[i], &values[i]);
                return;
            }
        return;
    }
}

/* ---- in ---- */

#define NUMBERS_MAX 256 /* in one payload */

static int PRINTF_LIKE(3, 4)
    refuse(struct payload_set *set, enum payload_error error, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    vsnprintf(set->error, sizeof(set->error), format, ap);
    va_end(ap);
    return (int)error;
}

/* exact where 64 bits allow, else the nearest double */
static int parse_number(struct payload_set *set, struct json_span number, struct value *ret_value)
{
    struct decimal exact;
    char text[512];

    if (number.length >= sizeof(text))
        return refuse(set, PAYLOAD_E_VALUE, "a number has too many digits");
    memcpy(text, number.data, number.length);
    text[number.length] = '\0';
    *ret_value = (struct value){.kind = VALUE_UINT};
    if (num_parse_u64(text, &ret_value->u) == 0)
        return 0;
    *ret_value = (struct value){.kind = VALUE_INT};
    if (num_parse_i64(text, &ret_value->i) == 0)
        return 0;
    if (num_parse_decimal(text, &exact) == 0) {
        *ret_value = (struct value){.kind = exact.decimals ? VALUE_DECIMAL : VALUE_INT,
                                    .i = exact.mantissa,
                                    .decimals = exact.decimals};
        return 0;
    }
    *ret_value = (struct value){.kind = VALUE_FLOAT, .decimals = JSON_SHORTEST};
    if (num_parse_double(text, &ret_value->d) < 0)
        return refuse(set, PAYLOAD_E_VALUE, "the number %.40s is too large", text);
    return 0;
}

static int keep_text(struct payload_set *set, struct json_span text, struct value *ret_value)
{
    if (text.length > sizeof(set->text) - set->text_length)
        return refuse(set, PAYLOAD_E_LONG, "more than %d bytes of text", PAYLOAD_MAX_TEXT);
    char *copy = set->text + set->text_length;
    if (text.length)
        memcpy(copy, text.data, text.length);
    set->text_length += text.length;
    *ret_value = (struct value){.kind = VALUE_STRING, .s = {copy, text.length}};
    return 0;
}

static int parse_raw(struct payload_set *set, struct json_span hex)
{
    char text[3 * GATT_VALUE_MAX + 1];

    if (hex.length >= sizeof(text))
        return refuse(set, PAYLOAD_E_LONG, "more than %d bytes", GATT_VALUE_MAX);
    if (hex.length)
        memcpy(text, hex.data, hex.length);
    text[hex.length] = '\0';
    int r = strlen(text) == hex.length
                ? num_parse_hex(text, set->raw, sizeof(set->raw), &set->raw_length)
                : -EINVAL;
    if (r == -E2BIG)
        return refuse(set, PAYLOAD_E_LONG, "more than %d bytes", GATT_VALUE_MAX);
    if (r < 0)
        return refuse(set, PAYLOAD_E_VALUE, "raw bytes are given as hex digits, two a byte");
    set->is_raw = true;
    return 0;
}

static int index_numbers(struct payload_set *set, struct json_span text, struct json_span *numbers,
                         struct strbuf *out)
{
    switch (json_text_index(text, PAYLOAD_MAX_DEPTH, numbers, NUMBERS_MAX, out)) {
    case 0: return 0;
    case JSON_TEXT_E_DEPTH:
        return refuse(set, PAYLOAD_E_VALUE, "brackets more than %d deep", PAYLOAD_MAX_DEPTH);
    case JSON_TEXT_E_NUMBERS:
        return refuse(set, PAYLOAD_E_VALUE, "more than %d numbers", NUMBERS_MAX);
    default: return refuse(set, PAYLOAD_E_JSON, "not JSON: a bad number");
    }
}

/* a field that people may give */
static bool is_settable(const struct schema *schema, size_t field)
{
    return !schema_is_alternative(schema, field) && !field_spec_is_computed(&schema->fields[field]);
}

static int refuse_unknown(const struct schema *schema, const char *name, struct payload_set *set);

static int array_from_json(struct payload_set *set, const struct field_spec *spec,
                           const json_t *json, const struct json_span *numbers,
                           struct value *ret_value);

static int value_from_json(struct payload_set *set, const struct field_spec *spec, const char *name,
                           const json_t *json, const struct json_span *numbers,
                           struct value *ret_value)
{
    switch (json_typeof(json)) {
    case JSON_STRING:
        return keep_text(set, (struct json_span){json_string_value(json), json_string_length(json)},
                         ret_value);
    case JSON_INTEGER: return parse_number(set, numbers[json_integer_value(json)], ret_value);
    case JSON_TRUE:
    case JSON_FALSE:
        *ret_value = (struct value){.kind = VALUE_BOOL, .b = json_is_true(json)};
        return 0;
    case JSON_NULL: *ret_value = (struct value){.kind = VALUE_NULL}; return 0;
    case JSON_ARRAY:
        if (spec->type == FIELD_TYPE_ARRAY)
            return array_from_json(set, spec, json, numbers, ret_value);
        break;
    case JSON_REAL: /* there is none left */
    case JSON_OBJECT: break;
    }
    return refuse(set, PAYLOAD_E_VALUE, "%.64s: must be %s", name,
                  spec->type == FIELD_TYPE_ARRAY ? "an array" : "a single value");
}

/* one element: all its fields, in the place for them */
static int element_from_json(struct payload_set *set, const struct field_spec *spec, json_t *json,
                             const struct json_span *numbers, struct value *values)
{
    const char *name;
    json_t *item;

    for (size_t i = 0; i < spec->element->n_fields; i++)
        values[i] = (struct value){.kind = VALUE_ABSENT};
    if (spec->scalar_elements)
        return value_from_json(set, &spec->element->fields[0], spec->name, json, numbers,
                               &values[0]);
    if (!json_is_object(json))
        return refuse(set, PAYLOAD_E_VALUE, "%.64s: must be an array of objects", spec->name);
    json_object_foreach(json, name, item)
    {
        size_t field = schema_find(spec->element, name);
        if (field == SIZE_MAX)
            return refuse_unknown(spec->element, name, set);
        int r = value_from_json(set, &spec->element->fields[field], name, item, numbers,
                                &values[field]);
        if (r != 0)
            return r;
    }
    return 0;
}

static int array_from_json(struct payload_set *set, const struct field_spec *spec,
                           const json_t *json, const struct json_span *numbers,
                           struct value *ret_value)
{
    size_t n = json_array_size(json), each = spec->element->n_fields;

    if (n > (PAYLOAD_MAX_ITEMS - set->n_items) / each)
        return refuse(set, PAYLOAD_E_LONG, "%.64s: has too many elements", spec->name);
    struct value *values = &set->items[set->n_items];
    set->n_items += n * each;
    for (size_t i = 0; i < n; i++) {
        int r = element_from_json(set, spec, json_array_get(json, i), numbers, values + i * each);
        if (r != 0)
            return r;
    }
    *ret_value = (struct value){.kind = VALUE_LIST, .list = {values, n}};
    return 0;
}

static int refuse_unknown(const struct schema *schema, const char *name, struct payload_set *set)
{
    char known[120];
    size_t at = 0;

    if (!schema)
        return refuse(set, PAYLOAD_E_VALUE,
                      "this characteristic has no fields: send hex or {\"raw\":\"0102\"}");
    known[0] = '\0';
    for (size_t i = 0; i < schema->n_fields && at < sizeof(known); i++)
        if (is_settable(schema, i))
            at += (size_t)snprintf(known + at, sizeof(known) - at, "%s%s", at ? ", " : "",
                                   schema->fields[i].name);
    return refuse(set, PAYLOAD_E_VALUE, "unknown field '%.40s'; there is: %s%s", name, known,
                  at >= sizeof(known) ? "…" : "");
}

static int parse_object(const struct schema *schema, json_t *object,
                        const struct json_span *numbers, struct payload_set *set)
{
    const char *raw_key = json_object_get(object, "raw") ? "raw" : "value";
    const char *name;
    json_t *item;

    if (strcmp(raw_key, "raw") == 0 || !schema) {
        item = json_object_get(object, raw_key);
        if (!item)
            return refuse_unknown(NULL, "", set);
        if (json_object_size(object) != 1)
            return refuse(set, PAYLOAD_E_VALUE, "\"%s\" stands alone", raw_key);
        if (!json_is_string(item))
            return refuse(set, PAYLOAD_E_VALUE, "\"%s\" is a string of hex digits", raw_key);
        return parse_raw(set,
                         (struct json_span){json_string_value(item), json_string_length(item)});
    }
    if (!json_object_size(object) && schema_needs_nothing(schema))
        return 0;
    if (!json_object_size(object))
        return refuse(set, PAYLOAD_E_VALUE, "no field is given");
    json_object_foreach(object, name, item)
    {
        size_t field = schema_find(schema, name);
        if (field == SIZE_MAX)
            return refuse_unknown(schema, name, set);
        if (!is_settable(schema, field))
            return refuse(set, PAYLOAD_E_VALUE, "%.64s: is computed and cannot be given", name);
        int r =
            value_from_json(set, &schema->fields[field], name, item, numbers, &set->values[field]);
        if (r != 0)
            return r;
    }
    return 0;
}

/* What starts like JSON and is not bare. `field`: the one meant, or SIZE_MAX */
static int parse_json(const struct schema *schema, size_t field, bool named, struct json_span text,
                      struct payload_set *set)
{
    struct json_span numbers[NUMBERS_MAX];
    _cleanup_(strbuf_done) struct strbuf indexed = STRBUF_INIT;
    json_error_t error;

    int r = index_numbers(set, text, numbers, &indexed);
    if (r != 0)
        return r;
    if (!strbuf_ok(&indexed))
        return refuse(set, PAYLOAD_E_VALUE, "out of memory");
    _cleanup_(json_decrefp) json_t *json = json_loadb(
        strbuf_str(&indexed), indexed.length, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    if (!json)
        return refuse(set, PAYLOAD_E_JSON, "not JSON: %.120s", error.text);
    if (json_is_object(json)) {
        if (named)
            return refuse(set, PAYLOAD_E_VALUE, "a single value is expected on this topic");
        return parse_object(schema, json, numbers, set);
    }
    if (json_is_array(json) && field != SIZE_MAX && schema->fields[field].type == FIELD_TYPE_ARRAY)
        return array_from_json(set, &schema->fields[field], json, numbers, &set->values[field]);
    if (!json_is_string(json))
        return refuse(set, PAYLOAD_E_VALUE, "a single value or an object is expected");
    struct json_span string = {json_string_value(json), json_string_length(json)};
    return schema ? keep_text(set, string, &set->values[field]) : parse_raw(set, string);
}

static bool is_enum_name(const struct field_spec *spec, struct json_span text)
{
    for (size_t i = 0; i < spec->n_enums; i++)
        if (json_text_is(text, spec->enums[i].name))
            return true;
    return false;
}

static int parse_bare(const struct field_spec *spec, struct json_span exact,
                      struct payload_set *set, struct value *ret_value)
{
    struct json_span text = json_text_trim(exact);

    if (spec->type == FIELD_TYPE_STRING)
        return keep_text(set, exact, ret_value);
    if (!text.length && spec->type != FIELD_TYPE_BYTES)
        return refuse(set, PAYLOAD_E_VALUE, "the payload is empty");
    if (spec->type == FIELD_TYPE_BYTES || is_enum_name(spec, text))
        return keep_text(set, text, ret_value);
    if (json_text_number_length(text) == text.length)
        return parse_number(set, text, ret_value);
    if (json_text_is(text, "null")) {
        *ret_value = (struct value){.kind = VALUE_NULL};
        return 0;
    }
    if (json_text_is(text, "true") || json_text_is(text, "false")) {
        *ret_value = (struct value){.kind = VALUE_BOOL, .b = text.length == 4};
        return 0;
    }
    return keep_text(set, text, ret_value);
}

/* the field that a bare value means, or SIZE_MAX: neither a const nor what follows from others */
static size_t only_field(const struct schema *schema)
{
    size_t only = SIZE_MAX;

    for (size_t i = 0; i < schema->n_fields; i++)
        if (!schema->fields[i].has_const && is_settable(schema, i) &&
            schema->fields[i].counts == FIELD_NONE && !schema->fields[i].selects) {
            if (only != SIZE_MAX)
                return SIZE_MAX;
            only = i;
        }
    return only;
}

int payload_parse_set(const struct schema *schema, const char *field, const void *payload,
                      size_t length, struct payload_set *set)
{
    size_t target = SIZE_MAX;

    set->is_raw = false;
    set->raw_length = 0;
    set->text_length = 0;
    set->n_items = 0;
    set->error[0] = '\0';
    for (size_t i = 0; i < SCHEMA_MAX_FIELDS; i++)
        set->values[i] = (struct value){.kind = VALUE_ABSENT};
    if (length > PAYLOAD_MAX_SET)
        return refuse(set, PAYLOAD_E_LONG, "more than %d bytes", PAYLOAD_MAX_SET);
    if (schema)
        target = field ? schema_find(schema, field) : only_field(schema);
    if (field && target == SIZE_MAX)
        return refuse_unknown(schema, field, set);
    if (field && !is_settable(schema, target))
        return refuse(set, PAYLOAD_E_VALUE, "%.64s: is computed and cannot be given", field);

    struct json_span exact = {length ? payload : "", length};
    struct json_span text = json_text_trim(exact);
    char first = text.length ? text.data[0] : '\0';
    if (first == '{' || first == '[' || (first == '"' && (!schema || target != SIZE_MAX)))
        return parse_json(schema, target, field, text, set);
    if (!schema)
        return text.length ? parse_raw(set, text)
                           : refuse(set, PAYLOAD_E_VALUE, "the payload is empty");
    if (target == SIZE_MAX)
        return refuse(set, PAYLOAD_E_VALUE,
                      "there are several fields: send {\"%.64s\": …} or use …/set/%.64s",
                      schema->fields[0].name, schema->fields[0].name);
    if (schema->fields[target].type == FIELD_TYPE_ARRAY)
        return refuse(set, PAYLOAD_E_VALUE, "%.64s: must be an array", schema->fields[target].name);
    return parse_bare(&schema->fields[target], exact, set, &set->values[target]);
}
