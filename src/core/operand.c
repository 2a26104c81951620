/*
 * Values that steps write and compare: constants of the file and parameters of a command. Must not
 * know when a step runs.
 */
#include "core/step.h"

#include "util/decimal.h"
#include "util/num.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- parameters ---- */

static struct value from_decimal(struct decimal decimal)
{
    return (struct value){
        .kind = VALUE_DECIMAL, .i = decimal.mantissa, .decimals = decimal.decimals};
}

static struct value value_of(const struct sequence *sequence, const struct step_operand *operand)
{
    if (operand->parameter == NO_PARAMETER)
        return operand->value;
    const struct field_spec *spec =
        &sequence->command_settings->parameters->fields[operand->parameter];
    const struct value *given = &sequence->given->values[operand->parameter];
    return given->kind == VALUE_ABSENT ? from_decimal(spec->default_value) : *given;
}

static bool is_blank(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (!strchr(" \t\r\n", text[i]))
            return false;
    return true;
}

/* nothing, or an object without anything in it */
static bool is_empty(const char *text, size_t length)
{
    const char *open, *close;

    if (!length || is_blank(text, length))
        return true;
    open = memchr(text, '{', length);
    close = open ? memchr(open, '}', length - (size_t)(open - text)) : NULL;
    return close && is_blank(text, (size_t)(open - text)) &&
           is_blank(open + 1, (size_t)(close - open - 1)) &&
           is_blank(close + 1, length - (size_t)(close + 1 - text));
}

static bool check_parameter(const struct field_spec *spec, const struct value *given, char *text,
                            size_t size)
{
    char bound[DECIMAL_TEXT_SIZE];
    double number;

    if (given->kind == VALUE_ABSENT) {
        if (!spec->has_default)
            snprintf(text, size, "the parameter '%s' is missing", spec->name);
        return spec->has_default;
    }
    if (!spec->has_min && !spec->has_max)
        return true;
    if (!value_number(given, &number)) {
        snprintf(text, size, "the parameter '%s' must be a number", spec->name);
        return false;
    }
    if (spec->has_min && number < decimal_to_double(spec->min)) {
        decimal_format(spec->min, bound);
        snprintf(text, size, "the parameter '%s' must be at least %s", spec->name, bound);
        return false;
    }
    if (spec->has_max && number > decimal_to_double(spec->max)) {
        decimal_format(spec->max, bound);
        snprintf(text, size, "the parameter '%s' must be at most %s", spec->name, bound);
        return false;
    }
    return true;
}

bool operand_parse(struct sequence *sequence, const void *payload, size_t length,
                   const char **ret_code, char *text, size_t size)
{
    const struct schema *parameters = sequence->command_settings->parameters;
    bool empty = is_empty(payload, length);

    *ret_code = "bad_request";
    if (!parameters) {
        if (!empty)
            snprintf(text, size, "the command takes no parameters: send nothing or {}");
        return empty;
    }
    sequence->given = calloc(1, sizeof(*sequence->given));
    if (!sequence->given) {
        *ret_code = "internal";
        snprintf(text, size, "out of memory");
        return false;
    }
    int error = empty ? 0 : payload_parse_set(parameters, NULL, payload, length, sequence->given);
    if (error || sequence->given->is_raw) {
        *ret_code = error == PAYLOAD_E_JSON   ? "bad_json"
                    : error == PAYLOAD_E_LONG ? "value_too_long"
                                              : "invalid_value";
        snprintf(text, size, "%s", error ? sequence->given->error : "'raw' is no parameter");
        return false;
    }
    *ret_code = "invalid_value";
    for (size_t i = 0; i < parameters->n_fields; i++)
        if (!check_parameter(&parameters->fields[i], &sequence->given->values[i], text, size))
            return false;
    return true;
}

/* ---- writing ---- */

int operand_encode(const struct sequence *sequence, const struct step_settings *step,
                   const struct schema *schema, uint8_t buf[static GATT_VALUE_MAX],
                   size_t *ret_length, char *text, size_t size)
{
    struct codec_context context = {
        .real_us = sequence->peer->gateway->now.real_us,
        .counter = sequence->peer->entries[step->characteristic].writes,
    };
    struct value values[SCHEMA_MAX_FIELDS];
    size_t at = 0;

    if (!step->n_fields) {
        if (step->length)
            memcpy(buf, step->data, step->length);
        *ret_length = step->length;
        return 0;
    }
    for (size_t i = 0; i < schema->n_fields; i++)
        values[i] = (struct value){.kind = VALUE_ABSENT};
    for (size_t i = 0; i < step->n_fields; i++)
        values[step->fields[i].field] = value_of(sequence, &step->fields[i].operand);
    int error = codec_encode(schema, values, &context, buf, GATT_VALUE_MAX, ret_length, &at);
    if (error)
        codec_explain(schema, error, at, GATT_VALUE_MAX, text, size);
    return error;
}

/* ---- comparing ---- */

static bool bytes_equal(const struct value *bytes, const struct value *hex)
{
    char text[3 * GATT_VALUE_MAX + 1];
    uint8_t wanted[GATT_VALUE_MAX];
    size_t length;

    if (hex->s.length >= sizeof(text))
        return false;
    memcpy(text, hex->s.data, hex->s.length);
    text[hex->s.length] = '\0';
    return num_parse_hex(text, wanted, sizeof(wanted), &length) == 0 && length == bytes->s.length &&
           memcmp(wanted, bytes->s.data, length) == 0;
}

static bool equal(const struct value *value, const struct value *wanted, struct decimal within)
{
    if (value->kind == VALUE_BYTES && wanted->kind == VALUE_STRING)
        return bytes_equal(value, wanted);
    return value_near(value, wanted, decimal_to_double(within));
}

bool operand_matches(const struct sequence *sequence, const struct step_condition *condition,
                     const struct schema *schema, const struct value *values)
{
    size_t field = schema ? schema_find(schema, condition->field) : SIZE_MAX;
    double number;

    if (field == SIZE_MAX || values[field].kind == VALUE_ABSENT)
        return false;
    if (condition->has_equals) {
        struct value wanted = value_of(sequence, &condition->equals);
        return equal(&values[field], &wanted, condition->within);
    }
    return value_number(&values[field], &number) &&
           (!condition->has_min || number >= decimal_to_double(condition->min)) &&
           (!condition->has_max || number <= decimal_to_double(condition->max));
}
