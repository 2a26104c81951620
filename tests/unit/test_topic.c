/* Topics: nothing leaves that a broker would cut the client off for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/topic.h"
#include <stdlib.h>
#include <string.h>

static bool name(const char *text)
{
    return topic_is_valid_name(text, strlen(text));
}

static bool filter(const char *text)
{
    return topic_is_valid_filter(text, strlen(text));
}

static void ordinary_topics_are_valid(void **state)
{
    static const char *const good[] = {"a",
                                       "/",
                                       "//",
                                       "gatt2mqtt/kitchen/climate",
                                       "with space/\xc3\xa9/\xf0\x9f\x98\x80",
                                       "$SYS/broker",
                                       "\xef\xbf\xbc"};

    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        assert_true(name(good[i]));
        assert_true(filter(good[i]));
    }
}

static void what_brokers_disconnect_for_is_not_valid(void **state)
{
    static const char *const bad[] = {
        "",
        "a\x01",
        "a\tb",
        "a\x7f",
        "\xc2\x85", /* U+0085 */
        "\xff",
        "\xc3",
        "\xed\xa0\x80",     /* a surrogate */
        "\xef\xbf\xbf",     /* U+FFFF */
        "\xef\xb7\x90",     /* U+FDD0 */
        "\xf0\x9f\xbf\xbe", /* U+1FFFE */
        "\xc0\xaf",         /* overlong */
    };

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        assert_false(name(bad[i]));
        assert_false(filter(bad[i]));
    }
    assert_false(topic_is_valid_name("a\0b", 3));
    assert_false(topic_is_valid_filter("a\0b", 3));
}

static void wildcards_stand_alone_in_filters_and_never_in_names(void **state)
{
    static const char *const good[] = {"#", "+", "a/#", "a/+/b", "+/+", "+/#", "/+", "+/"};
    static const char *const bad[] = {"a#",     "a/b#", "#/a", "a+",  "+a",
                                      "a/+b/c", "##",   "++",  "a/#/"};

    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        assert_true(filter(good[i]));
        assert_false(name(good[i]));
    }
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        assert_false(filter(bad[i]));
        assert_false(name(bad[i]));
    }
}

static void length_and_levels_have_limits(void **state)
{
    char *text = malloc(TOPIC_MAX_BYTES + 1);

    assert_non_null(text);
    memset(text, 'a', TOPIC_MAX_BYTES + 1);
    assert_true(topic_is_valid_name(text, TOPIC_MAX_BYTES));
    assert_false(topic_is_valid_name(text, TOPIC_MAX_BYTES + 1));
    memset(text, '/', TOPIC_MAX_LEVELS + 1);
    assert_true(topic_is_valid_name(text, TOPIC_MAX_LEVELS));
    assert_false(topic_is_valid_name(text, TOPIC_MAX_LEVELS + 1));
    assert_false(topic_is_valid_filter(text, TOPIC_MAX_LEVELS + 1));
    free(text);
}

static void ids_are_letters_digits_underscore_and_dash(void **state)
{
    assert_true(topic_is_valid_id("Az09_-"));
    assert_false(topic_is_valid_id(""));
    assert_false(topic_is_valid_id("a/b"));
    assert_false(topic_is_valid_id("a b"));
    assert_false(topic_is_valid_id("a.b"));
    assert_false(topic_is_valid_id("\xc3\xa9"));
}

static void filters_match_as_mqtt_says(void **state)
{
    static const struct {
        const char *filter, *topic;
        bool matches;
    } table[] = {
        {"a/b", "a/b", true},
        {"a/b", "a/B", false},
        {"a/b", "a", false},
        {"a", "a/b", false},
        {"ab", "a", false},
        {"a", "ab", false},
        {"a/", "a", false},
        {"a", "a/", false},
        {"a/", "a/", true},
        {"+", "a", true},
        {"+", "", true},
        {"+", "/a", false},
        {"+/+", "/a", true},
        {"/+", "/a", true},
        {"/+", "a", false},
        {"a/+", "a/", true},
        {"a/+", "a", false},
        {"a/+/c", "a/b/c", true},
        {"a/+/c", "a/b/d", false},
        {"a/+", "a/b/c", false},
        {"#", "a/b", true},
        {"a/#", "a", true},
        {"a/#", "a/", true},
        {"a/#", "a/b/c", true},
        {"a/#", "ab", false},
        {"a/#", "b", false},
        {"+/#", "a", true},
        {"a/+/#", "a", false},
        {"a/+/#", "a/b", true},
        {"#", "$SYS/x", false},
        {"+/x", "$SYS/x", false},
        {"$SYS/#", "$SYS/x", true},
        {"$SYS/+", "$SYS/x", true},
        {"gatt2mqtt/+/+", "gatt2mqtt/kitchen/climate", true},
        {"gatt2mqtt/+/+", "gatt2mqtt/kitchen/status/link", false},
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++)
        if (topic_matches(table[i].filter, table[i].topic) != table[i].matches)
            fail_msg("%s, %s", table[i].filter, table[i].topic);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ordinary_topics_are_valid),
        cmocka_unit_test(what_brokers_disconnect_for_is_not_valid),
        cmocka_unit_test(wildcards_stand_alone_in_filters_and_never_in_names),
        cmocka_unit_test(length_and_levels_have_limits),
        cmocka_unit_test(ids_are_letters_digits_underscore_and_dash),
        cmocka_unit_test(filters_match_as_mqtt_says),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
