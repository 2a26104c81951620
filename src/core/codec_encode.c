/* Values to bytes; see codec.h. The work of one field is in codec_field_encode.c. */
#include "core/codec.h"
#include "core/codec_field.h"
#include <string.h>

struct encoder {
    const struct schema *schema;
    const struct value *values;
    const struct codec_context *context; /* may be NULL */
    uint8_t *buf;
    size_t size, length;
    size_t start, next;              /* of the field before: its place and its end */
    uint8_t used[GATT_VALUE_MAX];    /* the bits that are written */
    uint64_t raw[SCHEMA_MAX_FIELDS]; /* of fields that others ask */
    size_t at[SCHEMA_MAX_FIELDS];    /* of those that are computed at the end */
    uint64_t present, taken;         /* a bit for each field; for each whose value was used */
};

/* ---- what is written for a field ---- */

static bool is_given(const struct encoder *e, size_t i)
{
    const struct field_spec *spec = &e->schema->fields[i];

    return !field_spec_is_computed(spec) && e->values[spec->slot].kind != VALUE_ABSENT;
}

static bool fits(const struct encoder *e, size_t i)
{
    const struct field_spec *spec = &e->schema->fields[i];
    struct codec_bytes bytes;

    return spec->type == FIELD_TYPE_ARRAY ||
           codec_field_encode(spec, &e->values[spec->slot], &bytes) == 0;
}

/* is its value written in other ways, or does it fit others? */
static bool has_others(const struct encoder *e, size_t i, bool that_fit)
{
    size_t slot = e->schema->fields[i].slot;

    for (size_t k = slot; k < e->schema->n_fields; k++)
        if (k != i && e->schema->fields[k].slot == slot && (!that_fit || fits(e, k)))
            return true;
    return false;
}

/* What fields say of the selector that they depend on. */
struct inferred {
    uint64_t known, raw;   /* bits that are settled, and how */
    uint64_t wished, wish; /* those of what is not given, and how it stays away */
    uint64_t slots;        /* a bit for each value that has its way */
};

/* How good a way to write a value must be; what leaves no choice comes first. */
enum way { WAY_ONLY, WAY_ONLY_FIT, WAY_GOOD, WAY_FITS, WAY_ANY };

static bool is_way(const struct encoder *e, size_t k, enum way way, const struct inferred *inferred)
{
    const struct field_when *when = &e->schema->fields[k].when;

    if (has_others(e, k, false) != (way != WAY_ONLY))
        return false;
    if (way == WAY_ONLY_FIT && is_given(e, k) && has_others(e, k, true))
        return false;
    if (way == WAY_GOOD && (inferred->wished & when->mask & (inferred->wish ^ when->value)))
        return false;
    return way == WAY_ONLY || way == WAY_ANY || !is_given(e, k) || fits(e, k);
}

static int infer_from(const struct encoder *e, size_t k, struct inferred *inferred)
{
    const struct field_spec *spec = &e->schema->fields[k];
    const struct field_when *when = &spec->when;

    if (!is_given(e, k)) {
        /* what has a value of its own may as well be there */
        if (when->has_bit && !spec->has_const && !spec->has_default &&
            !field_spec_is_computed(spec)) {
            inferred->wished |= when->mask;
            inferred->wish |= when->mask & ~when->value;
        }
        return 0;
    }
    if (inferred->slots >> spec->slot & 1)
        return 0;
    if (inferred->known & when->mask & (inferred->raw ^ when->value))
        return CODEC_E_CONFLICT;
    inferred->slots |= UINT64_C(1) << spec->slot;
    inferred->known |= when->mask;
    inferred->raw |= when->value;
    return 0;
}

/*
 * The bits of flags, or the kind, that follow from which fields are given. Of several ways to write
 * a value the first counts that the other fields leave open and that it fits, or else the first.
 */
static int infer_selector(const struct encoder *e, size_t i, struct value *ret_value)
{
    struct inferred inferred = {0};
    bool only_bits = true;

    for (enum way way = WAY_ONLY; way <= WAY_ANY; way++)
        for (size_t k = i + 1; k < e->schema->n_fields; k++) {
            const struct field_spec *spec = &e->schema->fields[k];

            if (!spec->when.field || spec->when.index != i)
                continue;
            only_bits &= spec->when.has_bit;
            int r = is_way(e, k, way, &inferred) ? infer_from(e, k, &inferred) : 0;
            if (r != 0 && (way == WAY_ONLY || way == WAY_ANY))
                return r;
        }
    if (!inferred.known && !only_bits)
        return CODEC_E_MISSING;
    *ret_value =
        (struct value){.kind = VALUE_UINT, .u = inferred.raw | (inferred.wish & ~inferred.known)};
    return 0;
}

static uint64_t count_elements(const struct encoder *e, const struct field_spec *array)
{
    const struct value *value = &e->values[array->slot];
    struct value scratch[SCHEMA_MAX_FIELDS];
    uint64_t n = 0;

    if (value->kind == VALUE_LIST)
        return value->list.n;
    struct codec_array walk = {array->element, value->s.data,
                               value->kind == VALUE_ARRAY ? value->s.length : 0};
    while (codec_array_next(&walk, scratch))
        n++;
    return n;
}

static int computed_value(const struct encoder *e, const struct field_spec *spec,
                          struct value *ret_value)
{
    if (spec->compute == FIELD_COMPUTE_CHECKSUM || spec->compute == FIELD_COMPUTE_LENGTH_ALL ||
        spec->compute == FIELD_COMPUTE_LENGTH_REST) {
        *ret_value = (struct value){.kind = VALUE_UINT}; /* until all is there */
        return 0;
    }
    if (!e->context)
        return CODEC_E_MISSING;
    if (spec->compute == FIELD_COMPUTE_COUNTER)
        *ret_value =
            (struct value){.kind = VALUE_UINT, .u = e->context->counter & mask_of(bits_of(spec))};
    else if (spec->type == FIELD_TYPE_TIME)
        *ret_value = (struct value){.kind = VALUE_TIME, .t = time_local(e->context->real_us)};
    else
        *ret_value = (struct value){.kind = VALUE_DECIMAL, .i = e->context->real_us, .decimals = 6};
    return 0;
}

static struct value own_value(const struct field_spec *spec)
{
    const struct decimal *own = spec->has_const ? &spec->const_value : &spec->default_value;

    if (spec->type == FIELD_TYPE_STRING || spec->type == FIELD_TYPE_BYTES)
        return (struct value){.kind = spec->type == FIELD_TYPE_STRING ? VALUE_STRING : VALUE_BYTES,
                              .s = {spec->own_data, spec->own_length}};
    return (struct value){.kind = VALUE_DECIMAL, .i = own->mantissa, .decimals = own->decimals};
}

/* the value given, its const or its default, or what follows from others; *inferred: only the bits
 * that others ask for count */
static int value_to_write(const struct encoder *e, size_t i, struct value *ret_value,
                          bool *inferred)
{
    const struct field_spec *spec = &e->schema->fields[i];
    const struct value *given = &e->values[spec->slot];

    *inferred = false;
    if (field_spec_is_computed(spec))
        return computed_value(e, spec, ret_value);
    if (spec->has_const || (spec->has_default && given->kind == VALUE_ABSENT)) {
        *ret_value = own_value(spec);
        return 0;
    }
    if (given->kind != VALUE_ABSENT) {
        *ret_value = *given;
        return 0;
    }
    if (spec->counts != FIELD_NONE) {
        *ret_value = (struct value){.kind = VALUE_UINT,
                                    .u = count_elements(e, &e->schema->fields[spec->counts])};
        return 0;
    }
    *inferred = true;
    return spec->selects ? infer_selector(e, i, ret_value) : CODEC_E_MISSING;
}

/* a const may be given, if it says the same */
static int check_const(const struct field_spec *spec, const struct value *given,
                       const struct codec_bytes *written)
{
    struct codec_bytes bytes;

    if (!spec->has_const || given->kind == VALUE_ABSENT)
        return 0;
    int r = codec_field_encode(spec, given, &bytes);
    if (r != 0)
        return r;
    return bytes.length == written->length && memcmp(bytes.data, written->data, bytes.length) == 0
               ? 0
               : CODEC_E_CONFLICT;
}

/* ---- into the buffer ---- */

/* Fields may share bits, if they agree on them. */
static int put_byte(struct encoder *e, size_t at, uint8_t byte, uint8_t mask)
{
    if ((e->buf[at] ^ byte) & e->used[at] & mask)
        return CODEC_E_CONFLICT;
    e->buf[at] = (uint8_t)((e->buf[at] & ~mask) | (byte & mask));
    e->used[at] |= mask;
    return 0;
}

static int put_bytes(struct encoder *e, const struct field_spec *spec, size_t at,
                     const struct codec_bytes *bytes, const struct codec_bytes *mask)
{
    if (at > e->size || bytes->length > e->size - at)
        return CODEC_E_LONG;
    for (size_t k = 0; k < bytes->length; k++) {
        int r =
            put_byte(e, at + k, bytes->data[k], mask ? mask->data[k] : codec_field_mask(spec, k));
        if (r != 0)
            return r;
    }
    return 0;
}

static int put_element(struct encoder *e, const struct field_spec *spec, size_t *at,
                       const struct value *values)
{
    uint8_t part[GATT_VALUE_MAX];
    size_t length;
    int r = *at > e->size ? CODEC_E_LONG
                          : codec_encode(spec->element, values, e->context, part,
                                         MIN_OF(e->size - *at, sizeof(part)), &length, NULL);

    for (size_t k = 0; r == 0 && k < length; k++)
        r = put_byte(e, *at + k, part[k], 0xff);
    if (r == 0)
        *at += length;
    return r;
}

static int put_array(struct encoder *e, const struct field_spec *spec, size_t at,
                     const struct value *value, size_t *ret_length)
{
    struct value scratch[SCHEMA_MAX_FIELDS];
    uint64_t n = 0, wanted = spec->repeat_times;
    size_t end = at;
    int r = 0;

    if (value->kind == VALUE_LIST) {
        for (; r == 0 && n < value->list.n; n++)
            r = put_element(e, spec, &end, value->list.items + n * spec->element->n_fields);
    } else if (value->kind == VALUE_ARRAY) {
        struct codec_array walk = {spec->element, value->s.data, value->s.length};
        for (; r == 0 && codec_array_next(&walk, scratch); n++)
            r = put_element(e, spec, &end, scratch);
    } else {
        return CODEC_E_TYPE;
    }
    if (spec->repeat == FIELD_REPEAT_FIELD)
        wanted = e->present >> spec->repeat_index & 1 ? e->raw[spec->repeat_index] : 0;
    if (r == 0 && spec->repeat != FIELD_REPEAT_REST && n != wanted)
        r = CODEC_E_CONFLICT;
    *ret_length = end - at;
    return r;
}

static int put_single(struct encoder *e, size_t i, size_t at, const struct value *value,
                      bool inferred, size_t *ret_length)
{
    const struct field_spec *spec = &e->schema->fields[i];
    struct codec_bytes bytes, mask;
    int r = codec_field_encode(spec, value, &bytes);

    if (r == 0)
        r = check_const(spec, &e->values[spec->slot], &bytes);
    if (r != 0)
        return r;
    if (inferred)
        codec_field_store(spec, spec->selects, &mask);
    e->at[i] = at;
    *ret_length = bytes.length;
    if (spec->selects || spec->counts != FIELD_NONE)
        e->raw[i] = codec_field_raw(spec, bytes.data);
    /* what is computed in the end takes its place then */
    if (spec->compute == FIELD_COMPUTE_CHECKSUM || spec->compute == FIELD_COMPUTE_LENGTH_ALL ||
        spec->compute == FIELD_COMPUTE_LENGTH_REST)
        return at > e->size || bytes.length > e->size - at ? CODEC_E_LONG : 0;
    return put_bytes(e, spec, at, &bytes, inferred ? &mask : NULL);
}

/* ---- what stays ---- */

bool codec_has_places(const struct schema *schema)
{
    for (size_t i = 0; i < schema->n_fields; i++)
        if (schema->fields[i].when.field || schema->fields[i].type == FIELD_TYPE_ARRAY)
            return false;
    return true;
}

/* the field is not given, and stays as it is in the base */
static bool stays(const struct encoder *e, size_t i)
{
    const struct field_spec *spec = &e->schema->fields[i];

    return e->context && e->context->base && !spec->has_const && !field_spec_is_computed(spec) &&
           !is_given(e, i);
}

static size_t length_in_base(const struct encoder *e, const struct field_spec *spec, size_t at)
{
    size_t length = field_spec_length(spec), base = e->context->base_length;

    return length == FIELD_LENGTH_REST ? base - MIN_OF(at, base) : length;
}

/* the bits that were not written; those that are computed in the end come over them */
static void put_base(struct encoder *e)
{
    const struct codec_context *context = e->context;

    if (!context || !context->base)
        return;
    if (!e->schema->variable)
        e->length = MAX_OF(e->length, MIN_OF(context->base_length, e->size));
    for (size_t k = 0; k < MIN_OF(e->length, context->base_length); k++)
        e->buf[k] |= (uint8_t)(context->base[k] & ~e->used[k]);
}

static int encode_one(struct encoder *e, size_t i)
{
    const struct field_spec *spec = &e->schema->fields[i];
    size_t at = spec->offset == FIELD_OFFSET_NEXT   ? e->next
                : spec->offset == FIELD_OFFSET_SAME ? e->start
                                                    : spec->offset;
    struct value value;
    size_t length = 0;
    bool inferred;

    if (spec->when.field && (!(e->present >> spec->when.index & 1) ||
                             (e->raw[spec->when.index] & spec->when.mask) != spec->when.value))
        return 0;
    int r = 0;
    if (stays(e, i)) {
        length = length_in_base(e, spec, at);
        if (at > e->size || length > e->size - at)
            r = CODEC_E_LONG;
    } else if ((r = value_to_write(e, i, &value, &inferred)) == 0) {
        r = spec->type == FIELD_TYPE_ARRAY ? put_array(e, spec, at, &value, &length)
                                           : put_single(e, i, at, &value, inferred, &length);
    }
    if (r != 0)
        return r;
    e->present |= UINT64_C(1) << i;
    e->taken |= UINT64_C(1) << spec->slot;
    e->start = at;
    e->next = at + length;
    e->length = MAX_OF(e->length, e->next);
    return 0;
}

/* lengths first: checksums are taken of them too */
static int put_computed(struct encoder *e, size_t i, bool checksums)
{
    const struct field_spec *spec = &e->schema->fields[i];
    struct codec_bytes bytes;
    size_t to = spec->checksum_to == SIZE_MAX ? e->at[i] : spec->checksum_to;
    struct value value = {.kind = VALUE_UINT, .u = e->length};
    int r;

    if (!(e->present >> i & 1) || checksums != (spec->compute == FIELD_COMPUTE_CHECKSUM))
        return 0;
    switch (spec->compute) {
    case FIELD_COMPUTE_NONE:
    case FIELD_COMPUTE_COUNTER:
    case FIELD_COMPUTE_NOW: return 0;
    case FIELD_COMPUTE_LENGTH_REST: value.u -= e->at[i] + field_spec_length(spec); break;
    case FIELD_COMPUTE_LENGTH_ALL: break;
    case FIELD_COMPUTE_CHECKSUM:
        if (to > e->length || spec->checksum_from > to)
            return CODEC_E_RANGE;
        value.u =
            checksum_of(spec->checksum, e->buf + spec->checksum_from, to - spec->checksum_from);
        break;
    }
    r = codec_field_encode(spec, &value, &bytes);
    return r == 0 ? put_bytes(e, spec, e->at[i], &bytes, NULL) : r;
}

/* everything in its place; *field is where it went wrong */
static int encode_fields(struct encoder *e, size_t *field)
{
    size_t n = e->schema->n_fields;
    int r = 0;

    for (size_t i = 0; r == 0 && i < n; i++) {
        *field = i;
        r = encode_one(e, i);
    }
    for (size_t i = 0; r == 0 && i < n; i++)
        if (is_given(e, i) && !(e->taken >> e->schema->fields[i].slot & 1)) {
            *field = i;
            r = CODEC_E_CONFLICT; /* for a field that is not there */
        }
    if (r == 0)
        put_base(e);
    for (int checksums = 0; checksums <= 1; checksums++)
        for (size_t i = 0; r == 0 && i < n; i++) {
            *field = i;
            r = put_computed(e, i, checksums);
        }
    return r;
}

int codec_encode(const struct schema *schema, const struct value *values,
                 const struct codec_context *context, uint8_t *buf, size_t size, size_t *ret_length,
                 size_t *ret_field)
{
    struct encoder e;
    size_t field = SIZE_MAX;
    int r = schema->min_length > size ? CODEC_E_LONG : 0;

    e.schema = schema;
    e.values = values;
    e.context = context;
    e.buf = buf;
    e.size = MIN_OF(size, sizeof(e.used));
    e.length = schema->min_length;
    e.start = e.next = 0;
    e.present = e.taken = 0;
    if (r == 0) {
        memset(buf, 0, e.size);
        memset(e.used, 0, e.size);
        r = encode_fields(&e, &field);
    }
    if (r == 0)
        *ret_length = e.length;
    if (ret_field)
        *ret_field = field;
    return r;
}
