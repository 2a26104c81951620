/*
 * What a scalar means by YAML 1.2's core schema (https://yaml.org/spec/1.2.2/#103-core-schema).
 * Must not know where scalars come from.
 */
#include "yaml/doc.h"

#include "util/num.h"
#include <string.h>

static bool is_one_of(const char *text, const char *const *words, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(text, words[i]) == 0)
            return true;
    return false;
}

static bool is_plain(const struct yaml_node *node)
{
    return node->kind == YAML_KIND_SCALAR && !node->quoted;
}

bool yaml_node_is_null(const struct yaml_node *node)
{
    static const char *const words[] = {"", "~", "null", "Null", "NULL"};

    return is_plain(node) && is_one_of(node->text, words, ARRAY_SIZE(words));
}

bool yaml_node_is_bool(const struct yaml_node *node, bool *ret_value)
{
    static const char *const yes[] = {"true", "True", "TRUE"};
    static const char *const no[] = {"false", "False", "FALSE"};

    if (!is_plain(node))
        return false;
    bool value = is_one_of(node->text, yes, ARRAY_SIZE(yes));
    if (!value && !is_one_of(node->text, no, ARRAY_SIZE(no)))
        return false;
    *ret_value = value;
    return true;
}

static size_t span_digits(const char *text)
{
    return strspn(text, "0123456789");
}

/* [-+]?[0-9]+ | 0o[0-7]+ | 0x[0-9a-fA-F]+ */
static bool looks_like_int(const char *text)
{
    if (text[0] == '0' && text[1] == 'x')
        return text[2] && !text[2 + strspn(text + 2, "0123456789abcdefABCDEF")];
    if (text[0] == '0' && text[1] == 'o')
        return text[2] && !text[2 + strspn(text + 2, "01234567")];
    if (*text == '-' || *text == '+')
        text++;
    return *text && !text[span_digits(text)];
}

static int parse_octal(const char *digits, int64_t *ret_value)
{
    int64_t value = 0;

    for (; *digits; digits++)
        if (__builtin_mul_overflow(value, 8, &value) ||
            __builtin_add_overflow(value, *digits - '0', &value))
            return -ERANGE;
    *ret_value = value;
    return 0;
}

bool yaml_node_is_int(const struct yaml_node *node, int64_t *ret_value)
{
    if (!is_plain(node) || !looks_like_int(node->text))
        return false;
    if (node->text[0] == '0' && node->text[1] == 'o')
        return parse_octal(node->text + 2, ret_value) == 0;
    return num_parse_i64(node->text, ret_value) == 0;
}

/* [-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)? */
static bool looks_like_float(const char *text)
{
    static const char *const words[] = {".inf", ".Inf", ".INF", ".nan", ".NaN", ".NAN"};
    const char *p = text;

    if (*p == '-' || *p == '+')
        p++;
    if (is_one_of(p, words, p == text ? 6 : 3))
        return true;
    size_t whole = span_digits(p);
    p += whole;
    if (*p == '.') {
        size_t fraction = span_digits(++p);
        if (!whole && !fraction)
            return false;
        p += fraction;
    } else if (!whole) {
        return false;
    }
    if (*p == 'e' || *p == 'E') {
        p++;
        if (*p == '-' || *p == '+')
            p++;
        if (!span_digits(p))
            return false;
        p += span_digits(p);
    }
    return !*p;
}

bool yaml_node_is_float(const struct yaml_node *node)
{
    int64_t ignored;

    return is_plain(node) && !yaml_node_is_int(node, &ignored) &&
           (looks_like_int(node->text) || looks_like_float(node->text));
}

const char *yaml_node_string(const struct yaml_node *node)
{
    bool ignored;

    if (node->kind != YAML_KIND_SCALAR)
        return NULL;
    if (!node->quoted && (yaml_node_is_null(node) || yaml_node_is_bool(node, &ignored) ||
                          looks_like_int(node->text) || looks_like_float(node->text)))
        return NULL;
    return node->text;
}

const char *yaml_node_describe(const struct yaml_node *node)
{
    bool value;

    if (node->kind == YAML_KIND_MAPPING)
        return "a mapping";
    if (node->kind == YAML_KIND_SEQUENCE)
        return "a list";
    if (yaml_node_is_null(node))
        return "nothing";
    if (yaml_node_is_bool(node, &value))
        return value ? "true" : "false";
    return yaml_node_string(node) ? "a text" : "a number";
}
