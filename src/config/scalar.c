/* Scalars of the configuration's types; see scalar.h and reader.h. Must not know sections. */
#include "config/scalar.h"

#include "core/topic.h"
#include "util/cleanup.h"
#include "util/time.h"
#include <ctype.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- messages ---- */

const char *reader_show(const struct yaml_node *node, char buf[static SHOWN_SIZE])
{
    size_t room = SHOWN_SIZE - sizeof("''...");

    if (node->kind != YAML_KIND_SCALAR || yaml_node_is_null(node))
        return yaml_node_describe(node);
    size_t length = strlen(node->text);
    bool cut = length > room;
    if (cut)
        for (length = room; length && ((unsigned char)node->text[length] & 0xc0) == 0x80;)
            length--; /* not within a character */
    snprintf(buf, SHOWN_SIZE, "'%.*s%s'", (int)length, node->text, cut ? "..." : "");
    return buf;
}

void reader_wrong(struct reader *reader, const struct key *key, const struct yaml_node *node,
                  const char *form)
{
    char buf[SHOWN_SIZE];
    const char *shown = key->secret ? yaml_node_describe(node) : reader_show(node, buf);

    reader_error(reader, node, "'%s' must be %s, not %s", key->name, form, shown);
}

char *reader_copy(struct reader *reader, const char *text)
{
    char *copy = strdup(text);

    if (!copy)
        reader->failed = true;
    return copy;
}

char *reader_path(struct reader *reader, const char *path)
{
    char *full;

    if (path[0] == '/' || !reader->directory)
        return reader_copy(reader, path);
    if (asprintf(&full, "%s/%s", reader->directory, path) < 0) {
        reader->failed = true;
        return NULL;
    }
    return full;
}

void *reader_array(struct reader *reader, size_t n, size_t size)
{
    void *array = n ? calloc(n, size) : NULL;

    if (n && !array)
        reader->failed = true;
    return array;
}

/* ---- texts ---- */

const char *reader_text(struct reader *reader, const struct key *key, const struct yaml_node *node)
{
    const char *text = yaml_node_string(node);
    char shown[SHOWN_SIZE];

    if (text)
        return text;
    if (node->kind != YAML_KIND_SCALAR || yaml_node_is_null(node))
        reader_wrong(reader, key, node, "a text");
    else if (key->secret)
        reader_error(reader, node, "'%s' must be a text, not %s; put it into quotes", key->name,
                     yaml_node_describe(node));
    else
        reader_error(reader, node, "'%s' must be a text, but YAML reads %s as %s; write \"%s\"",
                     key->name, reader_show(node, shown), yaml_node_describe(node), node->text);
    return NULL;
}

static bool has_control(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            return true;
    return false;
}

/* a topic that others can be put behind */
static bool is_base_topic(const char *text)
{
    size_t length = strlen(text);

    return topic_is_valid_name(text, length) && text[0] != '/' && text[0] != '$' &&
           text[length - 1] != '/' && !strstr(text, "//");
}

bool scalar_check_text(struct reader *reader, const struct key *key, const struct yaml_node *node,
                       const char *text)
{
    size_t length = strlen(text);
    size_t max = (size_t)key->max;
    char shown[SHOWN_SIZE];

    if (!length)
        reader_error(reader, node, "'%s' is empty; leave the line out or write something",
                     key->name);
    else if (length > max)
        reader_error(reader, node, "'%s' is longer than %zu bytes", key->name, max);
    else if (key->type == KEY_ID && !topic_is_valid_id(text))
        reader_error(reader, node,
                     "'%s' stands in topics, so that it can only have letters, digits, '_' and "
                     "'-', not %s",
                     key->name, reader_show(node, shown));
    else if (key->type == KEY_TOPIC && !is_base_topic(text))
        reader_error(reader, node,
                     "'%s' must be a topic such as home/ble, without +, # and $, and without a '/' "
                     "at its ends, not %s",
                     key->name, reader_show(node, shown));
    else if (key->type == KEY_TEXT && has_control(text))
        reader_error(reader, node, "'%s' cannot have line breaks or control characters", key->name);
    else
        return true;
    return false;
}

char *scalar_file(struct reader *reader, const struct key *key, const struct yaml_node *node,
                  const char *path)
{
    _cleanup_(freep) char *full = reader_path(reader, path);
    _cleanup_(closep) int fd = -1;
    struct stat st;
    char shown[SHOWN_SIZE];

    if (!full)
        return NULL;
    fd = open(full, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 || fstat(fd, &st) < 0) {
        reader_error(reader, node, "'%s': the file %s cannot be read: %s", key->name,
                     reader_show(node, shown), strerror(errno));
        return NULL;
    }
    if (!S_ISREG(st.st_mode)) {
        reader_error(reader, node, "'%s': %s is no file", key->name, reader_show(node, shown));
        return NULL;
    }
    return TAKE_PTR(full);
}

/* ---- numbers ---- */

static void out_of_range(struct reader *reader, const char *name, const struct yaml_node *node,
                         int64_t min, int64_t max)
{
    char shown[SHOWN_SIZE];

    reader_error(reader, node,
                 max - min == 1 ? "'%s' must be %" PRId64 " or %" PRId64 ", not %s"
                                : "'%s' must be between %" PRId64 " and %" PRId64 ", not %s",
                 name, min, max, reader_show(node, shown));
}

/* a number in quotes is a text: the usual reason why a number is not taken */
static const char *quotes_hint(const struct yaml_node *node)
{
    struct yaml_node plain = *node;
    int64_t ignored;

    plain.quoted = false;
    return node->kind == YAML_KIND_SCALAR && node->quoted &&
                   (yaml_node_is_int(&plain, &ignored) || yaml_node_is_float(&plain))
               ? "; leave out the quotes"
               : "";
}

bool reader_int(struct reader *reader, const char *name, const struct yaml_node *node, int64_t min,
                int64_t max, int64_t *ret_value)
{
    char shown[SHOWN_SIZE];
    int64_t value;

    if (!yaml_node_is_int(node, &value)) {
        reader_error(reader, node, "'%s' must be a whole number, not %s%s", name,
                     reader_show(node, shown), quotes_hint(node));
        return false;
    }
    if (value < min || value > max) {
        out_of_range(reader, name, node, min, max);
        return false;
    }
    *ret_value = value;
    return true;
}

bool reader_decimal(struct reader *reader, const char *name, const struct yaml_node *node,
                    struct decimal *ret_value)
{
    char shown[SHOWN_SIZE];
    int64_t whole;
    int r = -EINVAL;

    if (yaml_node_is_int(node, &whole)) {
        *ret_value = (struct decimal){.mantissa = whole};
        return true;
    }
    if (yaml_node_is_float(node))
        r = num_parse_decimal(node->text, ret_value);
    if (r == 0)
        return true;
    if (r == -ERANGE)
        reader_error(reader, node, "'%s' has more digits than the 18 that are kept: %s", name,
                     reader_show(node, shown));
    else
        reader_error(reader, node, "'%s' must be a number, not %s%s", name,
                     reader_show(node, shown), quotes_hint(node));
    return false;
}

/* in the unit that divides it */
static void show_duration(int64_t ms, char *buf, size_t size)
{
    static const struct {
        int64_t ms;
        const char *unit;
    } units[] = {{86400000, "d"}, {3600000, "h"}, {60000, "m"}, {1000, "s"}, {1, "ms"}};

    for (size_t i = 0; i < ARRAY_SIZE(units); i++)
        if (ms % units[i].ms == 0) {
            snprintf(buf, size, "%" PRId64 "%s", ms / units[i].ms, ms ? units[i].unit : "");
            return;
        }
}

bool scalar_duration(struct reader *reader, const struct key *key, const struct yaml_node *node,
                     int64_t *ret_ms)
{
    char shown[SHOWN_SIZE], min[32], max[32];
    int64_t number;
    uint64_t ms = 0;

    if (yaml_node_is_int(node, &number) && number != 0) {
        reader_error(reader, node, "'%s' needs a unit: ms, s, m, h or d, such as %" PRId64 "s",
                     key->name, number < 0 ? 30 : number);
        return false;
    }
    int r = node->kind == YAML_KIND_SCALAR ? time_parse_duration(node->text, &ms) : -EINVAL;
    if (r == -EINVAL) {
        reader_wrong(reader, key, node, "a duration such as 250ms, 30s, 5m, 12h or 30d");
        return false;
    }
    if (r < 0 || ms > INT64_MAX || (int64_t)ms < key->min || (int64_t)ms > key->max) {
        show_duration(key->min, min, sizeof(min));
        show_duration(key->max, max, sizeof(max));
        reader_error(reader, node, "'%s' must be between %s and %s, not %s", key->name, min, max,
                     reader_show(node, shown));
        return false;
    }
    *ret_ms = (int64_t)ms;
    return true;
}

static const struct {
    const char *unit;
    unsigned shift;
} size_units[] = {{"B", 0}, {"KiB", 10}, {"MiB", 20}, {"GiB", 30}};

static void show_size(int64_t bytes, char *buf, size_t size)
{
    size_t i = ARRAY_SIZE(size_units) - 1;

    while (i && bytes % ((int64_t)1 << size_units[i].shift))
        i--;
    snprintf(buf, size, "%" PRId64 "%s", bytes >> size_units[i].shift, size_units[i].unit);
}

/* "8MiB"; -EINVAL, -ERANGE */
static int parse_size(const char *text, int64_t *ret_bytes)
{
    int64_t value = 0;
    const char *p = text;

    for (; isdigit((unsigned char)*p); p++)
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, *p - '0', &value))
            return -ERANGE;
    for (size_t i = 0; p != text && i < ARRAY_SIZE(size_units); i++)
        if (strcmp(p, size_units[i].unit) == 0) {
            if (__builtin_mul_overflow(value, (int64_t)1 << size_units[i].shift, &value))
                return -ERANGE;
            *ret_bytes = value;
            return 0;
        }
    return -EINVAL;
}

bool scalar_size(struct reader *reader, const struct key *key, const struct yaml_node *node,
                 int64_t *ret_bytes)
{
    char shown[SHOWN_SIZE], min[32], max[32];
    int64_t bytes = 0;
    int r = node->kind == YAML_KIND_SCALAR ? parse_size(node->text, &bytes) : -EINVAL;

    if (r == -EINVAL) {
        reader_wrong(reader, key, node, "a size with its unit, such as 512KiB or 8MiB");
        return false;
    }
    if (r < 0 || bytes < key->min || bytes > key->max) {
        show_size(key->min, min, sizeof(min));
        show_size(key->max, max, sizeof(max));
        reader_error(reader, node, "'%s' must be between %s and %s, not %s", key->name, min, max,
                     reader_show(node, shown));
        return false;
    }
    *ret_bytes = bytes;
    return true;
}

/* ---- Bluetooth's words ---- */

static bool is_hex(const char *text)
{
    return *text && !text[strspn(text, "0123456789abcdefABCDEF")];
}

bool reader_uuid(struct reader *reader, const char *name, const struct yaml_node *node,
                 struct bt_uuid *ret_uuid)
{
    char shown[SHOWN_SIZE], hint[64] = "";
    int64_t ignored;

    if (node->kind == YAML_KIND_SCALAR && bt_uuid_parse(node->text, ret_uuid) == 0)
        return true;
    reader_show(node, shown);
    if (node->kind == YAML_KIND_SCALAR) {
        size_t length = strlen(node->text);
        if ((length == 4 || length == 8) && is_hex(node->text))
            snprintf(hint, sizeof(hint), "; did you mean 0x%s?", node->text);
    }
    if (yaml_node_is_float(node) ||
        (yaml_node_is_int(node, &ignored) && strncmp(node->text, "0x", 2) != 0))
        reader_error(reader, node,
                     "'%s': YAML reads %s as a decimal number; a UUID is written 0x2A37 or in "
                     "full%s",
                     name, shown, hint);
    else
        reader_error(reader, node,
                     "'%s' must be a UUID such as 0x2A37 or "
                     "00002a37-0000-1000-8000-00805f9b34fb, not %s%s",
                     name, reader_show(node, shown), hint);
    return false;
}

bool scalar_address(struct reader *reader, const struct key *key, const struct yaml_node *node,
                    struct bt_address *ret_address)
{
    char shown[SHOWN_SIZE], colons[BT_ADDRESS_TEXT_SIZE];

    if (node->kind != YAML_KIND_SCALAR) {
        reader_wrong(reader, key, node, "an address such as AA:BB:CC:DD:EE:FF");
        return false;
    }
    if (bt_address_parse(node->text, ret_address) == 0)
        return true;
    /* other separators, or none */
    size_t n = 0, digits = 0;
    for (const char *p = node->text; *p && digits < 12; p++) {
        if (isxdigit((unsigned char)*p)) {
            if (digits && digits % 2 == 0)
                colons[n++] = ':';
            colons[n++] = (char)toupper((unsigned char)*p);
            digits++;
        } else if (!strchr("-:. _", *p)) {
            break;
        }
    }
    colons[n] = '\0';
    if (digits == 12)
        reader_error(reader, node, "'%s' must be an address, not %s; did you mean %s?", key->name,
                     reader_show(node, shown), colons);
    else
        reader_wrong(reader, key, node, "an address such as AA:BB:CC:DD:EE:FF");
    return false;
}
