/* Random schemas and valid values; see helper_play.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/codec_field.h"
#include "helper_play.h"
#include "helper_schema.h"
#include "util/decimal.h"

struct play *play_new(uint32_t number)
{
    struct play *p = calloc(1, sizeof(*p));

    assert_non_null(p);
    p->number = number;
    p->seed = number * 2654435761u + 1;
    p->json = (struct strbuf)STRBUF_INIT;
    return p;
}
void play_free(struct play *p)
{
    strbuf_done(&p->json);
    schema_free(p->schema);
    free(p);
}

uint32_t play_below(struct play *p, uint32_t n)
{
    return random_u32(&p->seed) % n;
}

void play_say(struct play *p, const char *format, ...)
{
    size_t at = strlen(p->text);
    va_list ap;

    va_start(ap, format);
    vsnprintf(p->text + at, sizeof(p->text) - at, format, ap);
    va_end(ap);
}
/* ---- schemas ---- */

static const char *const scales[] = {
    "",          "",           "",         " scale=0.01",         " scale=0.5 add=-40",
    " scale=-3", " add=0.125", " scale=7", " scale=0.0009765625", " scale=-0.001 add=12.5"};

static void say_integer(struct play *p, const char *scale)
{
    static const unsigned sizes[] = {1, 2, 3, 4, 5, 6, 7, 8};
    unsigned size = sizes[play_below(p, 8)], bits = 8 * size;

    play_say(p, "%sint%u%s", play_below(p, 2) ? "u" : "", bits, play_below(p, 2) ? " be" : "");
    if (play_below(p, 4) == 0) {
        unsigned first = play_below(p, bits);
        bits = 1 + play_below(p, bits - first);
        play_say(p, " bits=%u,%u", first, bits);
    }
    if (bits > 2 && play_below(p, 4) == 0)
        play_say(p, " enum=0:off,1:on,2:a_b%s", play_below(p, 2) ? " open" : "");
    else
        play_say(p, "%s", scale);
    if (bits > 2 && play_below(p, 4) == 0)
        play_say(p, " invalid=3");
    else if (bits > 6 && play_below(p, 6) == 0)
        play_say(p, play_below(p, 2) ? " default=1" : " const=1");
}

static void say_type(struct play *p, bool in_array)
{
    static const char *const floats[] = {"float32", "float64", "sfloat", "medfloat32"};
    const char *scale = scales[play_below(p, ARRAY_SIZE(scales))];

    switch (play_below(p, 10)) {
    case 0: play_say(p, "bool%s", play_below(p, 3) ? "" : " bits=3,1"); break;
    case 1:
    case 2:
        play_say(p, "%s%s%s", floats[play_below(p, 4)], play_below(p, 2) ? " be" : "", scale);
        break;
    case 3: play_say(p, "string length=%u", 1 + play_below(p, 12)); break;
    case 4: play_say(p, "bytes length=%u", 1 + play_below(p, 6)); break;
    case 5: play_say(p, "time%s", play_below(p, 2) ? " be" : ""); break;
    default: say_integer(p, scale); break;
    }
    if (!in_array && play_below(p, 12) == 0)
        play_say(p, " hidden");
}

/* one of two selectors says that the field is there */
static void say_condition(struct play *p)
{
    switch (play_below(p, 5)) {
    case 0: play_say(p, " when=flags,bit,%u", play_below(p, 8)); break;
    case 1: play_say(p, " when=flags,bit,%u,0", play_below(p, 8)); break;
    case 2: play_say(p, " when=kind,is,%u", play_below(p, 3)); break;
    default: break;
    }
}

static void say_array(struct play *p, size_t i, bool last)
{
    static const char *const objects[] = {"(a uint8; b int16 scale=0.1)",
                                          "(a uint8; b uint8 when=a,bit,0; c string length=3)",
                                          "(a bool bits=0,1; b uint8 bits=1,7 offset=same)"};
    unsigned how = play_below(p, last ? 3 : 2);

    if (how == 0)
        play_say(p, "; n%zu uint8", i);
    if (play_below(p, 2)) {
        play_say(p, "; v%zu ", i);
        say_integer(p, "");
        /* what repeats has neither */
        char *own = strstr(p->text + strlen(p->text) - 10, " const=1");
        own = own ? own : strstr(p->text + strlen(p->text) - 10, " default=1");
        if (own)
            *own = '\0';
    } else {
        play_say(p, "; v%zu array", i);
    }
    bool of_objects = strcmp(p->text + strlen(p->text) - 5, "array") == 0;
    if (how == 0)
        play_say(p, " repeat=n%zu", i);
    else if (how == 1)
        play_say(p, " repeat=%u", 1 + play_below(p, 4));
    else
        play_say(p, " repeat=rest");
    say_condition(p);
    if (of_objects)
        play_say(p, " %s", objects[play_below(p, ARRAY_SIZE(objects))]);
}

static void say_computed(struct play *p, size_t i)
{
    static const char *const computed[] = {"uint16 count=all",
                                           "uint8 count=rest",
                                           "uint16 counter",
                                           "uint32 now",
                                           "uint16 be checksum=crc16-modbus",
                                           "uint8 checksum=sum8"};
    const char *what = computed[play_below(p, ARRAY_SIZE(computed))];
    enum checksum_type known;

    if (strstr(what, "modbus") && !checksum_parse("crc16-modbus", &known))
        what = computed[5];
    play_say(p, "; c%zu %s", i, what);
}

bool play_make_schema(struct play *p)
{
    size_t n = 1 + play_below(p, 7);
    bool conditions = play_below(p, 2);
    struct schema_error error;

    p->text[0] = '\0';
    if (play_below(p, 8) == 0)
        play_say(p, "extra ");
    play_say(p, "first uint8");
    if (conditions)
        play_say(p, "; flags uint8; kind uint8");
    for (size_t i = 0; i < n; i++) {
        unsigned what = play_below(p, 12);

        if (what == 0 && conditions) {
            say_array(p, i, i + 1 == n);
            continue;
        }
        if (what == 1) {
            say_computed(p, i);
            continue;
        }
        if (what == 2) {
            play_say(p, "; v%zu uint16 bits=0,5; w%zu int16 bits=5,11 offset=same scale=0.1", i, i);
            continue;
        }
        if (what == 3 && conditions) { /* one value, written in two ways */
            unsigned bit = play_below(p, 8);
            play_say(p, "; v%zu uint8 when=flags,bit,%u,0; v%zu uint16 when=flags,bit,%u", i, bit,
                     i, bit);
            continue;
        }
        play_say(p, "; v%zu ", i);
        if (i + 1 == n && play_below(p, 4) == 0)
            play_say(p, play_below(p, 2) ? "string" : "bytes");
        else
            say_type(p, false);
        if (conditions)
            say_condition(p);
        else if (play_below(p, 12) == 0)
            play_say(p, " offset=%zu", 40 + 20 * i);
    }
    return schema_try(p->text, &p->schema, &error) == 0;
}

/* ---- valid values ---- */

static uint64_t random_raw(struct play *p, unsigned bits, bool is_signed)
{
    uint64_t mask = mask_of(bits);

    switch (play_below(p, 8)) {
    case 0: return 0;
    case 1: return mask;                            /* the largest, or -1 */
    case 2: return mask >> 1;                       /* the largest that is signed */
    case 3: return is_signed ? (mask >> 1) + 1 : 1; /* the least that is signed */
    case 4: return random_u32(&p->seed) & 7 & mask;
    default: return random_u64(&p->seed) & mask;
    }
}

/* raw * scale + add, worked out here in 128 bits; false: more than 64 hold */
static bool scaled_value(const struct field_spec *spec, uint64_t raw, struct value *value)
{
    bool is_signed = spec->type == FIELD_TYPE_INT;
    __int128 number = is_signed ? (__int128)sign_extend(raw, bits_of(spec)) : (__int128)raw;
    uint8_t decimals = MAX_OF(spec->scale.decimals, spec->add.decimals);

    if (!spec->scaled) {
        *value = is_signed ? (struct value){.kind = VALUE_INT, .i = (int64_t)number}
                           : (struct value){.kind = VALUE_UINT, .u = raw};
        return true;
    }
    number *= (__int128)spec->scale.mantissa * decimal_pow10(decimals - spec->scale.decimals);
    number += (__int128)spec->add.mantissa * decimal_pow10(decimals - spec->add.decimals);
    if (number > INT64_MAX || number < INT64_MIN)
        return false;
    *value = (struct value){.kind = VALUE_DECIMAL, .i = (int64_t)number, .decimals = decimals};
    return true;
}

static void random_integer(struct play *p, const struct field_spec *spec, uint64_t *raw,
                           struct value *value)
{
    if (spec->n_enums) {
        const struct field_enum *e = &spec->enums[play_below(p, (uint32_t)spec->n_enums)];
        *raw = (uint64_t)e->raw;
        *value = (struct value){.kind = VALUE_STRING, .s = {e->name, strlen(e->name)}};
        return;
    }
    do
        *raw = random_raw(p, bits_of(spec), spec->type == FIELD_TYPE_INT);
    while (is_invalid(spec, *raw) || !scaled_value(spec, *raw, value));
}

/* as many digits as the type keeps */
static void random_float(struct play *p, const struct field_spec *spec, struct value *value)
{
    int64_t limit = spec->type == FIELD_TYPE_SFLOAT       ? 2045
                    : spec->type == FIELD_TYPE_MEDFLOAT32 ? 8388605
                    : spec->type == FIELD_TYPE_FLOAT32    ? 999999
                                                          : INT64_C(999999999999999);
    int64_t mantissa = (int64_t)(random_u64(&p->seed) % (uint64_t)limit);

    if (play_below(p, 8) == 0)
        mantissa = play_below(p, 2) ? limit : 0;
    if (play_below(p, 2))
        mantissa = -mantissa;
    *value =
        (struct value){.kind = VALUE_DECIMAL, .i = mantissa, .decimals = (uint8_t)play_below(p, 7)};
}

static size_t random_letter(struct play *p, char *out)
{
    static const char *const letters[] = {"a",    "Z", " ", "\"", "\\", "\n",
                                          "\x7f", "0", "ü", "°",  "€",  "\xf0\x9f\x90\x9f"};
    const char *letter = letters[play_below(p, ARRAY_SIZE(letters))];

    memcpy(out, letter, strlen(letter));
    return strlen(letter);
}

static void random_text(struct play *p, const struct field_spec *spec, struct value *value)
{
    bool rest = spec->length == FIELD_LENGTH_REST;
    size_t most = rest ? 20 : spec->length, n = 0, wanted = play_below(p, (uint32_t)most + 1);
    char *text = p->pool + p->n_pool, letter[8];

    if (spec->type == FIELD_TYPE_BYTES) {
        for (n = 0; n < (rest ? wanted : most); n++)
            text[n] = (char)random_u32(&p->seed);
    } else {
        while (n < wanted) {
            size_t length = random_letter(p, letter);
            if (n + length > wanted)
                break;
            memcpy(text + n, letter, length);
            n += length;
        }
    }
    p->n_pool += n;
    *value = (struct value){.kind = spec->type == FIELD_TYPE_BYTES ? VALUE_BYTES : VALUE_STRING,
                            .s = {text, n}};
}

static void random_time(struct play *p, struct value *value)
{
    *value = (struct value){.kind = VALUE_TIME,
                            .t = {.year = (uint16_t)(1582 + play_below(p, 8418)),
                                  .month = (uint8_t)(1 + play_below(p, 12)),
                                  .day = (uint8_t)(1 + play_below(p, 28)),
                                  .hour = (uint8_t)play_below(p, 24),
                                  .minute = (uint8_t)play_below(p, 60),
                                  .second = (uint8_t)play_below(p, 60)}};
}

bool play_may_be_null(const struct field_spec *spec)
{
    return spec->has_invalid || spec->type == FIELD_TYPE_TIME || spec->type == FIELD_TYPE_FLOAT32 ||
           spec->type == FIELD_TYPE_FLOAT64 || spec->type == FIELD_TYPE_SFLOAT ||
           spec->type == FIELD_TYPE_MEDFLOAT32;
}

static void random_value(struct play *p, const struct field_spec *spec, uint64_t *raw,
                         struct value *value)
{
    *raw = 0;
    if (!spec->selects && play_may_be_null(spec) && play_below(p, 8) == 0) {
        *value = (struct value){.kind = VALUE_NULL};
        return;
    }
    switch (spec->type) {
    case FIELD_TYPE_BOOL:
        *raw = play_below(p, 2);
        *value = (struct value){.kind = VALUE_BOOL, .b = *raw};
        return;
    case FIELD_TYPE_UINT:
    case FIELD_TYPE_INT: random_integer(p, spec, raw, value); return;
    case FIELD_TYPE_FLOAT32:
    case FIELD_TYPE_FLOAT64:
    case FIELD_TYPE_SFLOAT:
    case FIELD_TYPE_MEDFLOAT32: random_float(p, spec, value); return;
    case FIELD_TYPE_STRING:
    case FIELD_TYPE_BYTES: random_text(p, spec, value); return;
    case FIELD_TYPE_TIME: random_time(p, value); return;
    case FIELD_TYPE_ARRAY: break;
    }
    fail_msg("no value of this type");
}

static uint64_t random_values(struct play *p, const struct schema *schema, struct value *values,
                              uint64_t *raw);

static void random_array(struct play *p, const struct field_spec *spec, size_t n,
                         struct value *value)
{
    size_t each = spec->element->n_fields;
    struct value *items = p->items + p->n_items;
    uint64_t raw[SCHEMA_MAX_FIELDS];

    assert_true(n * each <= ARRAY_SIZE(p->items) - p->n_items);
    p->n_items += n * each;
    *value = (struct value){.kind = VALUE_LIST, .list = {items, n}};
    for (size_t k = 0; k < n; k++)
        random_values(p, spec->element, items + k * each, raw);
}

/* of what may be left out, because it follows from the rest */
static bool leave_out(struct play *p, const struct schema *schema, size_t i)
{
    const struct field_spec *spec = &schema->fields[i];
    bool by_bits = true;

    if (spec->has_const || field_spec_is_computed(spec))
        return true;
    for (size_t k = 0; k < schema->n_fields; k++)
        if (schema->fields[k].when.field && schema->fields[k].when.index == i)
            by_bits &= schema->fields[k].when.has_bit;
    if (spec->has_default || spec->counts != FIELD_NONE || (spec->selects && by_bits))
        return play_below(p, 2);
    return false;
}

/* A value for each field that is there; a bit for each of those. */
static uint64_t random_values(struct play *p, const struct schema *schema, struct value *values,
                              uint64_t *raw)
{
    uint64_t present = 0;

    for (size_t i = 0; i < schema->n_fields; i++)
        values[i] = (struct value){.kind = VALUE_ABSENT};
    for (size_t i = 0; i < schema->n_fields; i++) {
        const struct field_spec *spec = &schema->fields[i];

        if (spec->when.field && (!(present >> spec->when.index & 1) ||
                                 (raw[spec->when.index] & spec->when.mask) != spec->when.value))
            continue;
        present |= UINT64_C(1) << i;
        if (spec->type == FIELD_TYPE_ARRAY) {
            bool counted = spec->repeat == FIELD_REPEAT_FIELD;
            size_t n = counted                              ? raw[spec->repeat_index]
                       : spec->repeat == FIELD_REPEAT_TIMES ? spec->repeat_times
                                                            : play_below(p, 4);
            random_array(p, spec, n, &values[spec->slot]);
        } else if (!field_spec_is_computed(spec) && !spec->has_const) {
            random_value(p, spec, &raw[i], &values[spec->slot]);
            if (strcmp(spec->name, "kind") == 0) {
                raw[i] = play_below(p, 4);
                values[i] = (struct value){.kind = VALUE_UINT, .u = raw[i]};
            }
        }
        if (spec->counts != FIELD_NONE) {
            raw[i] =
                schema->fields[spec->counts].when.field && play_below(p, 2) ? 0 : play_below(p, 4);
            values[i] = (struct value){.kind = VALUE_UINT, .u = raw[i]};
        }
    }
    return present;
}

/* what follows from the rest, some of it not given */
static void leave_some_out(struct play *p)
{
    for (size_t i = 0; i < p->schema->n_fields; i++) {
        const struct field_spec *spec = &p->schema->fields[i];
        /* a count without its array would have to be told */
        bool alone = spec->counts != FIELD_NONE && !(p->present >> spec->counts & 1);

        if (!alone && leave_out(p, p->schema, i))
            p->values[i] = (struct value){.kind = VALUE_ABSENT};
    }
}

void play_make_values(struct play *p)
{
    p->n_items = p->n_pool = 0;
    p->present = random_values(p, p->schema, p->values, p->raw);
    leave_some_out(p);
}
