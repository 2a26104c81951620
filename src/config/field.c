/* `fields` of a characteristic, into a compiled schema. Must not know devices. */
#include "config/parts.h"
#include "config/readers.h"
#include "config/suggest.h"
#include "core/schema.h"
#include <stdlib.h>
#include <string.h>

static const char *const type_names[] = {
    "bool",  "uint8", "uint16",  "uint24",  "uint32", "uint64",     "int8",   "int16", "int24",
    "int32", "int64", "float32", "float64", "sfloat", "medfloat32", "string", "bytes", "time",
};

void read_field_type(struct reader *reader, const struct key *key, const struct yaml_node *node,
                     void *target)
{
    struct field_spec *spec = target;
    const char *text = node->kind == YAML_KIND_SCALAR ? node->text : "";
    struct suggestion suggestion = suggestion_for(text);
    char shown[SHOWN_SIZE];

    if (field_type_parse(text, &spec->type, &spec->size))
        return;
    for (size_t i = 0; i < ARRAY_SIZE(type_names); i++)
        suggestion_offer(&suggestion, type_names[i]);
    const char *best = suggestion_best(&suggestion);
    if (best)
        reader_error(reader, node, "there is no type %s; did you mean '%s'?",
                     reader_show(node, shown), best);
    else
        reader_error(
            reader, node,
            "there is no type %s; types are bool, uint8 to uint64, int8 to int64, float32, "
            "float64, sfloat, medfloat32, string, bytes and time",
            reader_show(node, shown));
}

void read_field_bit(struct reader *reader, const struct key *key, const struct yaml_node *node,
                    void *target)
{
    struct field_spec *spec = target;
    int64_t bit;

    if (!reader_int(reader, "bit", node, 0, 63, &bit))
        return;
    spec->has_bits = true;
    spec->bit_first = (uint8_t)bit;
    spec->bit_count = 1;
}

void read_field_bits(struct reader *reader, const struct key *key, const struct yaml_node *node,
                     void *target)
{
    struct field_spec *spec = target;
    int64_t first, count;

    if (node->kind != YAML_KIND_SEQUENCE || node->n_items != 2) {
        reader_wrong(reader, key, node, key->form);
        return;
    }
    if (!reader_int(reader, "first", node->items[0], 0, 63, &first) ||
        !reader_int(reader, "count", node->items[1], 1, 64, &count))
        return;
    spec->has_bits = true;
    spec->bit_first = (uint8_t)first;
    spec->bit_count = (uint8_t)count;
}

/* one name of an enum; false after a diagnostic */
static bool read_enum_entry(struct reader *reader, const struct yaml_node *raw,
                            const struct yaml_node *name, const struct field_spec *spec,
                            struct field_enum *ret_entry)
{
    struct yaml_node plain = *raw;
    char shown[SHOWN_SIZE];
    int64_t value;

    plain.quoted = false; /* a key in quotes is the same number */
    if (!yaml_node_is_int(&plain, &value)) {
        reader_error(reader, raw, "an enum's key must be a whole number, not %s",
                     reader_show(raw, shown));
        return false;
    }
    const char *text = yaml_node_string(name);
    if (!text || !*text || strlen(text) > SETTINGS_MAX_NAME) {
        reader_error(reader, name, "an enum's name must be a text of at most %d bytes, not %s%s",
                     SETTINGS_MAX_NAME, reader_show(name, shown),
                     name->kind == YAML_KIND_SCALAR && !text ? "; put it into quotes" : "");
        return false;
    }
    for (size_t i = 0; i < spec->n_enums; i++)
        if (spec->enums[i].raw == value || strcmp(spec->enums[i].name, text) == 0) {
            reader_error(reader, raw, "%s and '%s' stand in this enum twice",
                         reader_show(raw, shown), text);
            return false;
        }
    *ret_entry = (struct field_enum){.raw = value, .name = reader_copy(reader, text)};
    return ret_entry->name != NULL;
}

void read_field_enum(struct reader *reader, const struct key *key, const struct yaml_node *node,
                     void *target)
{
    struct field_spec *spec = target;

    if (node->kind != YAML_KIND_MAPPING || !node->n_items) {
        reader_wrong(reader, key, node, key->form);
        return;
    }
    if (node->n_items > SCHEMA_MAX_ENUMS) {
        reader_error(reader, node, "an enum has at most %d names", SCHEMA_MAX_ENUMS);
        return;
    }
    spec->enums = reader_array(reader, node->n_items, sizeof(*spec->enums));
    for (size_t i = 0; spec->enums && i < node->n_items; i++)
        if (read_enum_entry(reader, node->keys[i], node->items[i], spec,
                            &spec->enums[spec->n_enums]))
            spec->n_enums++;
}

void read_field_invalid(struct reader *reader, const struct key *key, const struct yaml_node *node,
                        void *target)
{
    struct field_spec *spec = target;
    uint64_t large;

    spec->has_invalid = true;
    if (yaml_node_is_int(node, &spec->invalid))
        return;
    /* the upper half of a uint64, as the same 64 bits */
    if (node->kind == YAML_KIND_SCALAR && !node->quoted && num_parse_u64(node->text, &large) == 0)
        spec->invalid = (int64_t)large;
    else
        reader_wrong(reader, key, node, key->form);
}

void read_field_value(struct reader *reader, const struct key *key, const struct yaml_node *node,
                      void *target)
{
    struct decimal *value = (struct decimal *)((char *)target + key->offset);
    bool yes;

    if (yaml_node_is_bool(node, &yes))
        *value = (struct decimal){.mantissa = yes};
    else if (node->kind != YAML_KIND_SCALAR || yaml_node_is_null(node))
        reader_wrong(reader, key, node, key->form);
    else if (!yaml_node_string(node) && !reader_decimal(reader, key->name, node, value))
        return;
    /* a text is looked up when the enum is known */
}

/* const or default of a text or of bytes */
static void read_own_data(struct reader *reader, const struct yaml_node *node, const char *key,
                          struct field_spec *spec)
{
    const char *text = yaml_node_string(node);
    size_t size = text ? strlen(text) : 0;

    if (!text) {
        reader_error(reader, node, "'%s' of a %s must be a text%s; put it into quotes", key,
                     field_type_name(spec->type, spec->size),
                     spec->type == FIELD_TYPE_BYTES ? " of hex digits" : "");
        return;
    }
    free(spec->own_data); /* const and default exclude each other: told later */
    spec->own_data = reader_array(reader, size + 1, 1);
    if (!spec->own_data)
        return;
    spec->own_length = size;
    if (spec->type == FIELD_TYPE_STRING)
        memcpy(spec->own_data, text, size);
    else if (num_parse_hex(text, spec->own_data, size, &spec->own_length) < 0)
        reader_error(reader, node, "'%s' of bytes must be hex digits, two a byte", key);
}

/* `const: open` where `enum: {0: closed, 1: open}` */
static void resolve_name(struct reader *reader, const struct yaml_node *field,
                         struct field_spec *spec, const char *key, struct decimal *value)
{
    const struct yaml_node *node = yaml_node_get(field, key);
    const char *text = node ? yaml_node_string(node) : NULL;
    struct suggestion suggestion = suggestion_for(text ? text : "");

    if (node && (spec->type == FIELD_TYPE_STRING || spec->type == FIELD_TYPE_BYTES)) {
        read_own_data(reader, node, key, spec);
        return;
    }
    if (!text)
        return;
    for (size_t i = 0; i < spec->n_enums; i++) {
        if (strcmp(spec->enums[i].name, text) == 0) {
            *value = (struct decimal){.mantissa = spec->enums[i].raw};
            return;
        }
        suggestion_offer(&suggestion, spec->enums[i].name);
    }
    const char *best = suggestion_best(&suggestion);
    reader_error(reader, node, "'%s' must be a number, true, false or a name of the enum%s%s%s",
                 key, best ? "; did you mean '" : "", best ? best : "", best ? "'?" : "");
}

/* a type, or the fields of what repeats; one way to compute it at most */
static void check_kind(struct reader *reader, const struct yaml_node *name,
                       const struct yaml_node *node, struct field_spec *spec)
{
    static const char *const computing[] = {"checksum", "counter", "value"};
    const struct yaml_node *repeat = yaml_node_get(node, "repeat");
    const struct yaml_node *fields = repeat ? yaml_node_get(repeat, "fields") : NULL;
    size_t n =
        spec->compute == FIELD_COMPUTE_LENGTH_REST || spec->compute == FIELD_COMPUTE_LENGTH_ALL;

    for (size_t i = 0; i < ARRAY_SIZE(computing); i++)
        n += yaml_node_get(node, computing[i]) != NULL;
    if (n > 1)
        reader_error(reader, name,
                     "'%s' is computed in more than one way; one of length, checksum, counter and "
                     "value is enough",
                     name->text);
    if (!fields && !yaml_node_get(node, "type"))
        reader_error(reader, name,
                     "'type' is missing here; it is a field type, such as uint8, int16, float32, "
                     "bool or string");
    if (!fields)
        return;
    if (yaml_node_get(node, "type")) {
        reader_error(reader, name, "'%s' has a type and repeats fields; it is one or the other",
                     name->text);
        return;
    }
    spec->type = FIELD_TYPE_ARRAY;
    spec->length = FIELD_LENGTH_REST;
    if (fields->kind == YAML_KIND_MAPPING && fields->n_items)
        spec->element = read_fields(reader, fields, spec->big_endian, false);
}

static void check_field(struct reader *reader, const struct yaml_node *name,
                        const struct yaml_node *node, struct field_spec *spec)
{
    static const char *const reserved[] = {"ts", "raw", "id", "assumed", NULL};
    const struct yaml_node *length = yaml_node_get(node, "length");

    check_id(reader, name, "a field", reserved);
    if (yaml_node_get(node, "bit") && yaml_node_get(node, "bits"))
        reader_error(reader, name, "'%s' has 'bit' and 'bits'; one of them is enough", name->text);
    if (reader->partial)
        return;
    check_kind(reader, name, node, spec);
    bool is_text = spec->type == FIELD_TYPE_STRING || spec->type == FIELD_TYPE_BYTES;
    if (length && yaml_node_get(node, "type") &&
        is_text != (spec->compute != FIELD_COMPUTE_LENGTH_REST &&
                    spec->compute != FIELD_COMPUTE_LENGTH_ALL))
        reader_error(reader, length,
                     "'length' in bytes belongs to the types string and bytes; that of an integer "
                     "is rest or all");
    else if (length && !is_text)
        spec->length = 0;
    /* nobody wants to see those, unless they are asked for */
    if ((spec->compute == FIELD_COMPUTE_CHECKSUM || spec->compute == FIELD_COMPUTE_LENGTH_REST ||
         spec->compute == FIELD_COMPUTE_LENGTH_ALL) &&
        !yaml_node_get(node, "publish"))
        spec->publish = false;
    resolve_name(reader, node, spec, "const", &spec->const_value);
    resolve_name(reader, node, spec, "default", &spec->default_value);
}

static void specs_free(struct field_spec *specs, size_t n)
{
    for (size_t i = 0; i < n; i++)
        field_spec_done(&specs[i]);
    free(specs);
}

static const struct key *fields_key(void)
{
    return key_find(key_find(key_find(&config_table, "devices"), "characteristics"), "fields");
}

/* all specs, also when some are wrong */
static struct field_spec *read_specs(struct reader *reader, const struct yaml_node *fields,
                                     bool big_endian)
{
    const struct key *key = fields_key();
    struct field_spec *specs = reader_array(reader, fields->n_items, sizeof(*specs));

    for (size_t i = 0; specs && i < fields->n_items; i++) {
        struct field_spec *spec = &specs[i];
        const struct yaml_node *name = fields->keys[i], *node = fields->items[i];

        spec->name = reader_copy(reader, name->text);
        spec->offset = FIELD_OFFSET_NEXT;
        spec->length = FIELD_LENGTH_REST;
        spec->checksum_to = SIZE_MAX;
        spec->big_endian = big_endian;
        reader_defaults(reader, key, spec);
        if (node->kind != YAML_KIND_MAPPING) {
            char shown[SHOWN_SIZE];
            reader_error(reader, node,
                         "the field '%s' must be a mapping such as {type: uint8}, "
                         "not %s",
                         name->text, reader_show(node, shown));
            continue;
        }
        reader_section(reader, key, node, name, spec);
        check_field(reader, name, node, spec);
    }
    return specs;
}

struct schema *read_fields(struct reader *reader, const struct yaml_node *fields, bool big_endian,
                           bool extra_is_error)
{
    struct schema_error error;
    struct schema *schema = NULL;
    size_t n = fields->n_items, n_errors = reader->n_errors;

    if (n > SCHEMA_MAX_FIELDS) {
        reader_error(reader, fields, "a characteristic has at most %d fields, not %zu",
                     SCHEMA_MAX_FIELDS, n);
        return NULL;
    }
    struct field_spec *specs = read_specs(reader, fields, big_endian);
    if (!specs || reader->failed || reader->partial || reader->n_errors != n_errors) {
        specs_free(specs, specs ? n : 0);
        return NULL;
    }
    int r = schema_new_take(specs, n, extra_is_error, &schema, &error);
    if (r == 0)
        return schema;
    if (r == -EINVAL && error.field < n)
        reader_error(reader, fields->keys[error.field], "the field '%s': %s",
                     fields->keys[error.field]->text, error.message);
    else
        reader->failed = true;
    specs_free(specs, n);
    return NULL;
}
