/* MQTT topic names and filters; see topic.h. Must not know what is published where. */
#include "core/topic.h"

#include "util/utf8.h"
#include <string.h>

/* MQTT 5 section 1.5.4: brokers may cut off whoever sends control characters or non-characters */
static bool character_is_allowed(uint32_t code)
{
    if (code < 0x20 || (code >= 0x7f && code < 0xa0))
        return false;
    return (code & 0xfffe) != 0xfffe && (code < 0xfdd0 || code > 0xfdef);
}

static bool is_valid(const char *text, size_t length, bool wildcards)
{
    size_t separators = 0;

    if (!length || length > TOPIC_MAX_BYTES)
        return false;
    for (size_t i = 0; i < length;) {
        uint32_t code;

        if (text[i] > '/' && text[i] < 0x7f) { /* letters, digits: nearly all there is */
            i++;
            continue;
        }
        size_t n = utf8_decode(text + i, length - i, &code);

        if (!n || !character_is_allowed(code))
            return false;
        if (code == '/' && ++separators > TOPIC_MAX_LEVELS)
            return false;
        if (code == '+' || code == '#') {
            bool starts_level = i == 0 || text[i - 1] == '/';
            bool ends_topic = i + 1 == length;

            if (!wildcards || !starts_level)
                return false;
            if (!ends_topic && (code == '#' || text[i + 1] != '/'))
                return false;
        }
        i += n;
    }
    return true;
}

bool topic_is_valid_name(const char *topic, size_t length)
{
    return is_valid(topic, length, false);
}

bool topic_is_valid_filter(const char *filter, size_t length)
{
    return is_valid(filter, length, true);
}

bool topic_is_valid_id(const char *id)
{
    const char *p = id;

    for (; *p; p++) {
        char c = *p;
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '_' || c == '-'))
            return false;
    }
    return p != id;
}

bool topic_matches(const char *filter, const char *topic)
{
    /* section 4.7.2: wildcards at the start do not match topics that start with $ */
    if (*topic == '$' && (*filter == '+' || *filter == '#'))
        return false;
    for (;;) {
        if (filter[0] == '#')
            return true;
        if (filter[0] == '+') {
            filter++;
            topic += strcspn(topic, "/");
        } else {
            while (*filter && *filter != '/' && *filter == *topic) {
                filter++;
                topic++;
            }
        }
        if (!*topic) /* "a/#" also matches "a" */
            return !*filter || strcmp(filter, "/#") == 0;
        if (*filter != '/' || *topic != '/')
            return false;
        filter++;
        topic++;
    }
}
