/*
 * MQTT payloads of characteristics: a decoded value to text, and what arrives on /set to values.
 * PRODUCT section 4. Knows JSON and values; must not know topics, peers or when to publish.
 */
#pragma once

#include "core/codec.h"
#include "core/json.h"
#include "core/settings.h"
#include "util/strbuf.h"

/*
 * Appends the payload for one value:
 *   json   {"temperature":21.48,...,"ts":"..."}; without a schema {"value":"0a1b","ts":"..."};
 *          with `assumed` also "assumed":true
 *   value  the first published field bare, as text (unknown: null); without a schema hex
 *   raw    the bytes as they are
 *   hex    the bytes as lower-case hex
 * `values` is what codec_decode() gave, NULL when `schema` is. Fields with publish: false and
 * absent ones are left out.
 */
void payload_write(struct strbuf *out, enum payload_form form, const struct schema *schema,
                   const struct value *values, const uint8_t *data, size_t length, int64_t real_us,
                   bool assumed);

/* one decoded value as JSON, arrays too; ABSENT gives null */
void payload_write_field(struct json_writer *w, const struct field_spec *spec,
                         const struct value *value);

#define PAYLOAD_MAX_SET   65536 /* bytes of a /set payload */
#define PAYLOAD_MAX_DEPTH 16    /* of brackets in it */
#define PAYLOAD_MAX_TEXT  4096  /* bytes of all its strings */
#define PAYLOAD_MAX_ITEMS 256   /* values in all its arrays */

/* What a /set payload asks for. */
struct payload_set {
    bool is_raw; /* then `raw` counts, else `values` */
    uint8_t raw[GATT_VALUE_MAX];
    size_t raw_length;
    struct value values[SCHEMA_MAX_FIELDS]; /* VALUE_ABSENT where not given */
    struct value items[PAYLOAD_MAX_ITEMS];  /* the elements of arrays */
    size_t n_items;
    char text[PAYLOAD_MAX_TEXT]; /* where string values live */
    size_t text_length;
    char error[200]; /* why not, for people */
};

enum payload_error {
    PAYLOAD_E_JSON = 1, /* not JSON at all, where only JSON can be meant: code bad_json */
    PAYLOAD_E_VALUE,    /* code invalid_value */
    PAYLOAD_E_LONG,     /* code value_too_long */
};

/*
 * Parses a payload of `…/set` (field NULL) or `…/set/<field>`: a JSON object of fields, a bare
 * scalar where there is one field without const (or one named), or {"raw":"0102"}. A scalar is JSON
 * (21.5, true, null, "high") or text without quotes (high, ON); for a string or bytes field it is
 * always text, and a name of an enum goes before a number. Without a schema: {"raw":…} or
 * {"value":…} with hex, or hex bare or quoted. Numbers keep all their digits. An unknown field is
 * an error, so are two of the same name; {} is enough where all is const or computed. A JSON array
 * is the value of a field that repeats. Whether a value suits its field is the codec's question. 0
 * or a payload_error, with set->error filled in.
 */
MUST_CHECK
int payload_parse_set(const struct schema *schema, const char *field, const void *payload,
                      size_t length, struct payload_set *set);
