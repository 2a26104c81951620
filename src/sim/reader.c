/* Tables of keys, applied to YAML; see reader.h. */
#include "sim/reader.h"

#include "util/num.h"
#include "util/strbuf.h"
#include "util/time.h"
#include <stdlib.h>
#include <string.h>

#define ID_MAX 64

void *sim_reader_allocate(struct reader *r, size_t n, size_t size)
{
    void *p = calloc(MAX_OF(n, (size_t)1), size);

    if (!p)
        r->out_of_memory = true;
    return p;
}

const char *sim_reader_scalar(struct reader *r, const struct yaml_node *node, const char *what)
{
    if (node->kind == YAML_KIND_SCALAR && *node->text)
        return node->text;
    sim_reader_fail(r, node, "expected %s, not %s", what, yaml_node_describe(node));
    return NULL;
}

bool sim_reader_int(struct reader *r, const struct yaml_node *node, int64_t min, int64_t max,
                    int64_t *ret_value)
{
    int64_t value;

    if (!yaml_node_is_int(node, &value)) {
        sim_reader_fail(r, node, "expected a whole number, not %s", yaml_node_describe(node));
        return false;
    }
    if (value < min || value > max) {
        sim_reader_fail(r, node, "%lld is outside %lld to %lld", (long long)value, (long long)min,
                        (long long)max);
        return false;
    }
    *ret_value = value;
    return true;
}

static void read_duration(struct reader *r, const struct yaml_node *node, uint64_t min_ms,
                          uint64_t max_ms, uint64_t *ret_us)
{
    const char *text = sim_reader_scalar(r, node, "a duration such as 250ms");
    uint64_t ms;
    char low[32], high[32];

    if (!text)
        return;
    if (time_parse_duration(text, &ms) < 0) {
        sim_reader_fail(r, node, "'%s' is no duration; write it with a unit, such as 250ms or 30s",
                        text);
        return;
    }
    if (ms < min_ms || ms > max_ms) {
        time_format_duration(min_ms, low, sizeof(low));
        time_format_duration(max_ms, high, sizeof(high));
        sim_reader_fail(r, node, "%s is outside %s to %s", text, low, high);
        return;
    }
    *ret_us = MS_TO_US(ms);
}

static void read_number(struct reader *r, const struct yaml_node *node, double *ret_value)
{
    const char *text = sim_reader_scalar(r, node, "a number");
    int64_t whole;

    if (!text)
        return;
    if (yaml_node_is_int(node, &whole))
        *ret_value = (double)whole;
    else if (node->quoted || num_parse_double(text, ret_value) < 0)
        sim_reader_fail(r, node, "expected a number, not %s", yaml_node_describe(node));
}

bool sim_reader_uuid(struct reader *r, const struct yaml_node *node, struct bt_uuid *ret_uuid)
{
    const char *text = sim_reader_scalar(r, node, "a UUID");

    if (!text)
        return false;
    if (bt_uuid_parse(text, ret_uuid) < 0) {
        sim_reader_fail(r, node, "'%s' is no UUID; write 0x2A37 or all 36 characters", text);
        return false;
    }
    return true;
}

static char *copy_text(struct reader *r, const char *text)
{
    char *copy = text ? strdup(text) : NULL;

    if (text && !copy)
        r->out_of_memory = true;
    return copy;
}

char *sim_reader_id(struct reader *r, const struct yaml_node *node)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
    const char *text = sim_reader_scalar(r, node, "an id");

    if (text && (text[strspn(text, allowed)] || strlen(text) > ID_MAX)) {
        sim_reader_fail(r, node, "'%s' is no id: at most %d letters, digits, _ and -", text,
                        ID_MAX);
        return NULL;
    }
    return copy_text(r, text);
}

bool sim_reader_hex(struct reader *r, const struct yaml_node *node,
                    uint8_t buf[static GATT_VALUE_MAX], size_t *ret_length)
{
    const char *text = yaml_node_string(node);

    if (!text) {
        sim_reader_fail(r, node, "expected bytes as hex digits in quotes, such as \"0a1b\", not %s",
                        yaml_node_describe(node));
        return false;
    }
    int e = num_parse_hex(text, buf, GATT_VALUE_MAX, ret_length);
    if (e == -E2BIG)
        sim_reader_fail(r, node, "longer than the %d bytes that a value may have", GATT_VALUE_MAX);
    else if (e < 0)
        sim_reader_fail(r, node, "'%s' is no run of hex digits, two for a byte", text);
    return e == 0;
}

void sim_reader_bytes(struct reader *r, const struct yaml_node *node, struct sim_bytes *ret_bytes)
{
    uint8_t buf[GATT_VALUE_MAX];
    size_t length;

    if (!sim_reader_hex(r, node, buf, &length))
        return;
    uint8_t *data = sim_reader_allocate(r, length, 1);
    if (!data)
        return;
    memcpy(data, buf, length);
    *ret_bytes = (struct sim_bytes){.data = data, .length = length};
}

static void read_address(struct reader *r, const struct yaml_node *node,
                         struct bt_address *ret_address)
{
    const char *text = sim_reader_scalar(r, node, "an address");

    if (text && bt_address_parse(text, ret_address) < 0)
        sim_reader_fail(r, node, "'%s' is no address; write it as \"AA:BB:CC:DD:EE:FF\"", text);
}

static void read_value(struct reader *r, const struct reader_key *key, const struct yaml_node *node,
                       void *target)
{
    void *member = (char *)target + key->offset;
    int64_t v;

    switch (key->kind) {
    case READER_INT: sim_reader_int(r, node, key->min, key->max, member); break;
    case READER_UINT8:
        if (sim_reader_int(r, node, key->min, key->max, &v))
            *(uint8_t *)member = (uint8_t)v;
        break;
    case READER_UINT16:
        if (sim_reader_int(r, node, key->min, key->max, &v))
            *(uint16_t *)member = (uint16_t)v;
        break;
    case READER_NUMBER: read_number(r, node, member); break;
    case READER_BOOL:
        if (!yaml_node_is_bool(node, member))
            sim_reader_fail(r, node, "expected true or false, not %s", yaml_node_describe(node));
        break;
    case READER_DURATION:
        read_duration(r, node, (uint64_t)key->min, (uint64_t)key->max, member);
        break;
    case READER_UUID: sim_reader_uuid(r, node, member); break;
    case READER_TEXT: *(char **)member = copy_text(r, sim_reader_scalar(r, node, "a text")); break;
    case READER_ID: *(char **)member = sim_reader_id(r, node); break;
    case READER_ADDRESS: read_address(r, node, member); break;
    case READER_OTHER: key->read(r, node, target); break;
    }
}

static void fail_unknown(struct reader *r, const struct yaml_node *node, const char *what,
                         const struct reader_key *keys, size_t n_keys)
{
    struct strbuf known = STRBUF_INIT;

    for (size_t i = 0; i < n_keys; i++)
        strbuf_printf(&known, "%s%s", i ? ", " : "", keys[i].name);
    sim_reader_fail(r, node, "%s has no key '%s'; it has: %s", what, node->text,
                    strbuf_str(&known));
    strbuf_done(&known);
}

void sim_reader_keys(struct reader *r, const struct yaml_node *node, const char *what,
                     const struct reader_key *keys, size_t n_keys, void *target)
{
    if (node->kind != YAML_KIND_MAPPING) {
        sim_reader_fail(r, node, "%s is a mapping, not %s", what, yaml_node_describe(node));
        return;
    }
    for (size_t i = 0; i < node->n_items; i++) {
        size_t k = 0;

        while (k < n_keys && strcmp(keys[k].name, node->keys[i]->text) != 0)
            k++;
        if (k == n_keys)
            fail_unknown(r, node->keys[i], what, keys, n_keys);
        else
            read_value(r, &keys[k], node->items[i], target);
    }
    for (size_t k = 0; k < n_keys; k++)
        if (keys[k].required && !yaml_node_get(node, keys[k].name))
            sim_reader_fail(r, node, "%s needs the key '%s'", what, keys[k].name);
}

void *sim_reader_room(struct reader *r, const struct yaml_node *node, enum yaml_kind kind,
                      const char *what, size_t max, size_t size)
{
    if (node->kind != kind) {
        sim_reader_fail(r, node, "%s: expected %s, not %s", what,
                        kind == YAML_KIND_SEQUENCE ? "a list" : "a mapping",
                        yaml_node_describe(node));
        return NULL;
    }
    if (node->n_items > max) {
        sim_reader_fail(r, node, "%s: at most %zu, not %zu", what, max, node->n_items);
        return NULL;
    }
    return sim_reader_allocate(r, node->n_items, size);
}
