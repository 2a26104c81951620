/* JSON text before it is parsed; see json_text.h. */
#include "core/json_text.h"

#include <string.h>

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct json_span json_text_trim(struct json_span text)
{
    while (text.length && is_blank(text.data[0])) {
        text.data++;
        text.length--;
    }
    while (text.length && is_blank(text.data[text.length - 1]))
        text.length--;
    return text;
}

bool json_text_is(struct json_span text, const char *word)
{
    return text.length == strlen(word) && memcmp(text.data, word, text.length) == 0;
}

/* ---- numbers ---- */

static size_t digits_at(struct json_span text, size_t at)
{
    size_t n = 0;

    while (at + n < text.length && text.data[at + n] >= '0' && text.data[at + n] <= '9')
        n++;
    return n;
}

size_t json_text_number_length(struct json_span text)
{
    size_t at = text.length && text.data[0] == '-', n = digits_at(text, at);

    if (!n || (n > 1 && text.data[at] == '0'))
        return 0;
    at += n;
    if (at < text.length && text.data[at] == '.') {
        n = digits_at(text, at + 1);
        if (!n)
            return 0;
        at += 1 + n;
    }
    if (at < text.length && (text.data[at] == 'e' || text.data[at] == 'E')) {
        at++;
        if (at < text.length && (text.data[at] == '+' || text.data[at] == '-'))
            at++;
        n = digits_at(text, at);
        if (!n)
            return 0;
        at += n;
    }
    return at;
}

int json_text_index(struct json_span text, size_t max_depth, struct json_span *numbers,
                    size_t max_numbers, struct strbuf *out)
{
    size_t n = 0, depth = 0;
    bool in_string = false;

    for (size_t i = 0; i < text.length;) {
        char c = text.data[i];
        size_t take = 1;

        if (in_string) {
            if (c == '\\' && i + 1 < text.length)
                take = 2;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            if (++depth > max_depth)
                return JSON_TEXT_E_DEPTH;
        } else if (c == '}' || c == ']') {
            depth -= depth > 0;
        } else if (c == '-' || (c >= '0' && c <= '9')) {
            struct json_span rest = {text.data + i, text.length - i};

            take = json_text_number_length(rest);
            /* glued to what follows it would become part of another number */
            if (!take || (take < rest.length && !strchr(" \t\r\n,]}", rest.data[take])))
                return JSON_TEXT_E_NUMBER;
            if (n == max_numbers)
                return JSON_TEXT_E_NUMBERS;
            numbers[n] = (struct json_span){rest.data, take};
            strbuf_u64(out, n++);
            i += take;
            continue;
        }
        strbuf_append(out, text.data + i, take);
        i += take;
    }
    return 0;
}

/* ---- members ---- */

/* behind the string that starts at `at` */
static size_t skip_string(struct json_span text, size_t at)
{
    for (at++; at < text.length && text.data[at] != '"'; at++)
        at += text.data[at] == '\\';
    return at + 1;
}

/* behind the value that starts at `at` */
static size_t skip_value(struct json_span text, size_t at)
{
    size_t depth = 0;

    while (at < text.length) {
        char c = text.data[at];

        if (!depth && (c == ',' || c == '}' || c == ']'))
            return at;
        if (c == '"') {
            at = skip_string(text, at);
            continue;
        }
        depth += c == '{' || c == '[';
        depth -= c == '}' || c == ']';
        at++;
    }
    return at;
}

static size_t skip_until(struct json_span text, size_t at, char c)
{
    while (at < text.length && text.data[at] != c)
        at++;
    return at;
}

bool json_text_member(struct json_span object, const char *name, struct json_span *ret_value)
{
    size_t at = skip_until(object, 0, '"'); /* between members there are only blanks */

    while (at < object.length) {
        size_t behind = skip_string(object, at);
        if (behind > object.length)
            return false;
        struct json_span key = {object.data + at + 1, behind - at - 2};
        size_t from = skip_until(object, behind, ':') + 1;
        if (from > object.length)
            return false;
        size_t to = skip_value(object, from);
        if (to > object.length)
            return false;
        if (json_text_is(key, name)) {
            *ret_value = json_text_trim((struct json_span){object.data + from, to - from});
            return true;
        }
        at = skip_until(object, to, '"');
    }
    return false;
}
