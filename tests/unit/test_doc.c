/* YAML files as trees: what the configuration and the simulator rely on. */
#include "yaml/doc.h"

#include "util/strbuf.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
/* cmocka wants the ones above */
#include <cmocka.h>

struct parsed {
    struct diags diags;
    struct yaml_doc *doc;
    int r;
};

static struct parsed parse_n(const char *text, size_t length)
{
    struct parsed p = {0};

    assert_int_equal(diags_init(&p.diags, "f"), 0);
    p.r = yaml_doc_parse(text, length, &p.diags, &p.doc);
    return p;
}

static struct parsed parse(const char *text)
{
    return parse_n(text, strlen(text));
}

static void done(struct parsed *p)
{
    yaml_doc_free(p->doc);
    diags_done(&p->diags);
}

static const struct yaml_node *root(const struct parsed *p)
{
    assert_int_equal(p->r, 0);
    return yaml_doc_root(p->doc);
}

/* a scalar's text by its key, or by two */
static const char *text_at(const struct yaml_node *node, const char *first, const char *second)
{
    node = yaml_node_get(node, first);
    assert_non_null(node);
    if (second)
        node = yaml_node_get(node, second);
    assert_non_null(node);
    assert_int_equal(node->kind, YAML_KIND_SCALAR);
    return node->text;
}

static void assert_diag(struct parsed *p, size_t n, size_t line, size_t column, const char *part)
{
    diags_sort(&p->diags);
    assert_true(p->diags.n > n);
    const struct diag *diag = &p->diags.list[n];
    if (!strstr(diag->message, part))
        fail_msg("'%s' is not in '%s'", part, diag->message);
    assert_int_equal(diag->line, line);
    assert_int_equal(diag->column, column);
}

static void every_node_knows_its_line_and_column(void **state)
{
    struct parsed p = parse("a: 1\nb:\n  - x\n  - ä: [y, z]\n");
    const struct yaml_node *list = yaml_node_get(root(&p), "b");

    assert_int_equal(list->kind, YAML_KIND_SEQUENCE);
    assert_int_equal(list->n_items, 2);
    assert_int_equal(list->items[0]->line, 3);
    assert_int_equal(list->items[0]->column, 5);
    const struct yaml_node *inner = yaml_node_get(list->items[1], "ä");
    assert_int_equal(inner->line, 4);
    assert_int_equal(inner->column, 8); /* characters, not bytes */
    assert_int_equal(inner->items[1]->column, 12);
    assert_int_equal(p.diags.n, 0);
    done(&p);
}

static void an_empty_file_is_an_empty_mapping(void **state)
{
    static const char *const texts[] = {"", "# nothing\n", "---\n", "~\n"};

    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        struct parsed p = parse(texts[i]);
        assert_int_equal(root(&p)->kind, YAML_KIND_MAPPING);
        assert_int_equal(root(&p)->n_items, 0);
        done(&p);
    }
}

static void files_of_windows_editors_are_read(void **state)
{
    struct parsed p = parse("\xef\xbb\xbf"
                            "a: b\r\nc: d\r\n");

    assert_string_equal(text_at(root(&p), "a", NULL), "b");
    assert_string_equal(text_at(root(&p), "c", NULL), "d");
    assert_int_equal(yaml_node_get(root(&p), "c")->line, 2);
    done(&p);
}

enum meaning { NOTHING, BOOL, INT, FLOAT, STRING };
static const struct {
    const char *text;
    enum meaning meaning;
    int64_t value;
} plain_scalars[] = {
    {"", NOTHING, 0},
    {"~", NOTHING, 0},
    {"null", NOTHING, 0},
    {"true", BOOL, 1},
    {"False", BOOL, 0},
    {"0", INT, 0},
    {"-12", INT, -12},
    {"+7", INT, 7},
    {"007", INT, 7},
    {"0x2A", INT, 42},
    {"0o17", INT, 15},
    {"9223372036854775807", INT, INT64_MAX},
    {"9223372036854775808", FLOAT, 0},
    {"0xffffffffffffffffff", FLOAT, 0},
    {"0o7777777777777777777777777", FLOAT, 0},
    {"1e10", FLOAT, 0},
    {"-.5", FLOAT, 0},
    {"2.", FLOAT, 0},
    {".inf", FLOAT, 0},
    {"-.Inf", FLOAT, 0},
    {".nan", FLOAT, 0},
    /* words of YAML 1.1, and what looks like a number only there */
    {"off", STRING, 0},
    {"no", STRING, 0},
    {"yes", STRING, 0},
    {"on", STRING, 0},
    {"tRUE", STRING, 0},
    {"A4:C1:38:CF:01:56", STRING, 0},
    {"12:34:56", STRING, 0},
    {"1_000", STRING, 0},
    {"0b11", STRING, 0},
    {"-0x1", STRING, 0},
    {"30s", STRING, 0},
    {"-", STRING, 0},
    {".", STRING, 0},
    {"-.nan", STRING, 0},
    {"1e", STRING, 0},
};

static void plain_scalars_mean_what_yaml_1_2_says(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(plain_scalars); i++) {
        char text[64];
        struct yaml_node node = {.kind = YAML_KIND_SCALAR, .text = text};
        enum meaning meaning = plain_scalars[i].meaning;
        bool b = false;
        int64_t value = 0;

        strncpy(text, plain_scalars[i].text, sizeof(text) - 1);
        text[sizeof(text) - 1] = '\0';
        print_message("'%s'\n", text);
        assert_int_equal(yaml_node_is_null(&node), meaning == NOTHING);
        assert_int_equal(yaml_node_is_bool(&node, &b), meaning == BOOL);
        assert_int_equal(b, meaning == BOOL && plain_scalars[i].value);
        assert_int_equal(yaml_node_is_int(&node, &value), meaning == INT);
        assert_true(meaning != INT || value == plain_scalars[i].value);
        assert_int_equal(yaml_node_is_float(&node), meaning == FLOAT);
        assert_int_equal(yaml_node_string(&node) != NULL, meaning == STRING);
        node.quoted = true; /* then it is a text, whatever it looks like */
        assert_non_null(yaml_node_string(&node));
        assert_false(yaml_node_is_null(&node) || yaml_node_is_bool(&node, &b) ||
                     yaml_node_is_int(&node, &value) || yaml_node_is_float(&node));
    }
}

static void quotes_and_the_str_tag_make_a_text(void **state)
{
    struct parsed p = parse("a: '12'\nb: \"true\"\nc: |\n  5\nd: !!str 5\ne: ! 5\nf: 5\n");

    for (const char *key = "abcde"; *key; key++) {
        char name[2] = {*key, '\0'};
        assert_non_null(yaml_node_string(yaml_node_get(root(&p), name)));
    }
    assert_null(yaml_node_string(yaml_node_get(root(&p), "f")));
    done(&p);
}

static void local_tags_are_kept_and_others_refused(void **state)
{
    struct parsed p = parse("password: !file /run/secret\nother: x\n");

    assert_string_equal(yaml_node_get(root(&p), "password")->tag, "!file");
    assert_null(yaml_node_get(root(&p), "other")->tag);
    done(&p);
    p = parse("a: !!int 5\n");
    assert_diag(&p, 0, 1, 4, "the tag 'tag:yaml.org,2002:int' means nothing here");
    done(&p);
}

static void aliases_share_the_node_of_their_anchor(void **state)
{
    struct parsed p = parse("a: &x {k: 1}\nb: *x\nc: &x {k: 2}\nd: *x\n");

    assert_ptr_equal(yaml_node_get(root(&p), "a"), yaml_node_get(root(&p), "b"));
    assert_string_equal(text_at(root(&p), "d", "k"), "2"); /* an anchor may be set again */
    done(&p);
}

static void aliases_to_nothing_or_to_themselves_are_errors(void **state)
{
    struct parsed p = parse("a: *b\n");
    assert_int_equal(p.r, -EINVAL);
    assert_diag(&p, 0, 1, 4, "there is no anchor '&b' before this");
    done(&p);
    p = parse("a: &b\n  c: *b\n");
    assert_int_equal(p.r, -EINVAL);
    assert_diag(&p, 0, 2, 6, "'*b' stands inside '&b' itself");
    done(&p);
}

static void merged_keys_keep_their_order_and_own_keys_win(void **state)
{
    struct parsed p = parse("base: &base {a: 1, b: 2, c: 3}\n"
                            "one: {<<: *base, b: own, d: 4}\n"
                            "two: {d: 4, c: own, <<: *base}\n"
                            "both: {<<: [{a: first}, *base]}\n"
                            "quoted: {\"<<\": plain}\n");
    const struct yaml_node *one = yaml_node_get(root(&p), "one");
    const struct yaml_node *two = yaml_node_get(root(&p), "two");
    static const char *const one_keys[] = {"a", "b", "c", "d"};
    static const char *const two_keys[] = {"d", "c", "a", "b"};

    assert_int_equal(one->n_items, 4);
    assert_int_equal(two->n_items, 4);
    for (size_t i = 0; i < 4; i++) {
        assert_string_equal(one->keys[i]->text, one_keys[i]);
        assert_string_equal(two->keys[i]->text, two_keys[i]);
    }
    assert_string_equal(text_at(one, "b", NULL), "own");
    assert_string_equal(text_at(two, "c", NULL), "own");
    assert_string_equal(text_at(root(&p), "both", "a"), "first");
    assert_string_equal(text_at(root(&p), "both", "c"), "3");
    assert_string_equal(text_at(root(&p), "quoted", "<<"), "plain");
    done(&p);
    p = parse("a:\n  <<: word\n");
    assert_diag(&p, 0, 2, 7, "'<<' merges a mapping or a list of mappings, not a text");
    done(&p);
}

static void a_duplicate_key_is_an_error_that_leaves_a_tree(void **state)
{
    struct parsed p = parse("a: 1\nb: 2\na: 3\nc: [\n{x: 1, x: 2}]\n");

    assert_int_equal(p.r, 0);
    assert_int_equal(p.diags.n_errors, 2);
    assert_diag(&p, 0, 3, 1, "the key 'a' stands here twice; the first one is in line 1");
    assert_diag(&p, 1, 5, 8, "the key 'x' stands here twice");
    assert_string_equal(text_at(root(&p), "a", NULL), "1");
    done(&p);
}

static void mistakes_of_syntax_are_told_so_that_one_can_mend_them(void **state)
{
    static const struct {
        const char *text;
        size_t line, column;
        const char *part;
    } cases[] = {
        {"a:\n\tb: 1\n", 2, 1, "a tab cannot indent; use blanks instead"},
        {"a: {unit: %}\n", 1, 11, "a text that starts with '%' must be quoted: \"%\""},
        {"a: @x\n", 1, 4, "must be quoted: \"@\""},
        {"a: b: c\n", 1, 5, "quote a text that has ': ' in it"},
        {"a: [1, 2\nb: 3\n", 2, 2, "flow sequence that starts in line 1"},
        {"a: \"x\n", 2, 1, "unexpected end of stream"},
        {"a: 1\n---\nb: 2\n", 2, 1, "a second document starts here"},
        {"a: 1\n? [x]\n: 1\n", 2, 3, "a key must be a text, not a list"},
        {"a: \"\\0\"\n", 1, 4, "NUL"},
        {"a: 1\nb: x\xff\n", 2, 5, "UTF-8"},
        {"a: \x01\n", 1, 4, "UTF-8"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct parsed p = parse(cases[i].text);
        print_message("%zu: %s\n", i, p.diags.n ? p.diags.list[0].message : "nothing");
        assert_int_equal(p.diags.n, 1);
        assert_diag(&p, 0, cases[i].line, cases[i].column, cases[i].part);
        done(&p);
    }
    struct parsed p = parse_n("a: \0b\n", 6);
    assert_int_equal(p.r, -EINVAL);
    done(&p);
}

/* `levels` nested lists */
static struct parsed parse_nested(size_t levels)
{
    struct strbuf text = STRBUF_INIT;

    for (size_t i = 0; i < levels; i++)
        strbuf_putc(&text, '[');
    for (size_t i = 0; i < levels; i++)
        strbuf_putc(&text, ']');
    struct parsed p = parse(strbuf_str(&text));
    strbuf_done(&text);
    return p;
}

static void depth_is_bounded(void **state)
{
    struct parsed p = parse_nested(YAML_MAX_DEPTH);
    assert_int_equal(p.r, 0);
    done(&p);
    p = parse_nested(YAML_MAX_DEPTH + 1);
    assert_int_equal(p.r, -EINVAL);
    assert_diag(&p, 0, 1, YAML_MAX_DEPTH + 1, "nested deeper than");
    done(&p);
    p = parse_nested(100000);
    assert_int_equal(p.r, -EINVAL);
    done(&p);
}

static void depth_behind_an_alias_counts(void **state)
{
    struct strbuf text = STRBUF_INIT;

    strbuf_puts(&text, "a0: &a0 [x]\n");
    for (int i = 1; i < YAML_MAX_DEPTH; i++)
        strbuf_printf(&text, "a%d: &a%d [*a%d]\n", i, i, i - 1);
    struct parsed p = parse(strbuf_str(&text));
    assert_int_equal(p.r, -EINVAL);
    assert_non_null(strstr(p.diags.list[0].message, "nested deeper than"));
    done(&p);
    strbuf_done(&text);
}

static void a_billion_laughs_are_refused(void **state)
{
    struct strbuf text = STRBUF_INIT;

    strbuf_puts(&text, "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n");
    for (int i = 1; i < 10; i++) {
        strbuf_printf(&text, "a%d: &a%d [", i, i);
        for (int k = 0; k < 9; k++)
            strbuf_printf(&text, "*a%d, ", i - 1);
        strbuf_puts(&text, "]\n");
    }
    struct parsed p = parse(strbuf_str(&text));
    assert_int_equal(p.r, -EINVAL);
    assert_non_null(strstr(p.diags.list[0].message, "aliases count each time they are used"));
    done(&p);
    strbuf_done(&text);
}

static void the_number_of_entries_is_bounded(void **state)
{
    for (int more = 0; more < 2; more++) {
        struct strbuf text = STRBUF_INIT;

        strbuf_puts(&text, "["); /* the list itself counts */
        for (int i = 0; i < YAML_MAX_NODES - 1 + more; i++)
            strbuf_puts(&text, "x,");
        strbuf_puts(&text, "]");
        struct parsed p = parse(strbuf_str(&text));
        assert_int_equal(p.r, more ? -EINVAL : 0);
        done(&p);
        strbuf_done(&text);
    }
}

static void the_keys_of_a_mapping_are_bounded(void **state)
{
    for (int more = 0; more < 2; more++) {
        struct strbuf text = STRBUF_INIT;

        for (int i = 0; i < YAML_MAX_KEYS + more; i++)
            strbuf_printf(&text, "k%d: x\n", i);
        struct parsed p = parse(strbuf_str(&text));
        assert_int_equal(p.r, more ? -EINVAL : 0);
        done(&p);
        strbuf_done(&text);
    }
}

static void the_size_of_a_file_is_bounded(void **state)
{
    char *text = malloc(YAML_MAX_BYTES + 2);

    assert_non_null(text);
    memset(text, '#', YAML_MAX_BYTES + 1);
    text[YAML_MAX_BYTES + 1] = '\0';
    struct parsed p = parse_n(text, YAML_MAX_BYTES);
    assert_int_equal(p.r, 0);
    done(&p);
    p = parse_n(text, YAML_MAX_BYTES + 1);
    assert_int_equal(p.r, -EINVAL);
    assert_diag(&p, 0, 0, 0, "larger than 1024 KiB");
    done(&p);
    free(text);
}

static void files_are_read_and_hashed_by_content(void **state)
{
    char path[] = "/tmp/gatt2mqtt-doc-XXXXXX";
    int fd = mkstemp(path);
    struct parsed p = {0};

    assert_true(fd >= 0);
    assert_int_equal(write(fd, "a: b\n", 5), 5);
    close(fd);
    assert_int_equal(diags_init(&p.diags, path), 0);
    p.r = yaml_doc_load(path, &p.diags, &p.doc);
    unlink(path);
    assert_string_equal(text_at(root(&p), "a", NULL), "b");
    struct parsed same = parse("a: b\n"), other = parse("a: c\n");
    assert_true(yaml_doc_hash(p.doc, NULL, 0) == yaml_doc_hash(same.doc, NULL, 0));
    assert_true(yaml_doc_hash(p.doc, NULL, 0) != yaml_doc_hash(other.doc, NULL, 0));
    done(&same);
    done(&other);
    done(&p);

    struct yaml_doc *doc = NULL;
    assert_int_equal(diags_init(&p.diags, path), 0);
    assert_int_equal(yaml_doc_load(path, &p.diags, &doc), -ENOENT);
    assert_int_equal(p.diags.n_errors, 1);
    assert_int_equal(yaml_doc_load("/", &p.diags, &doc), -EISDIR);
    assert_int_equal(p.diags.n_errors, 2);
    assert_null(doc);
    diags_done(&p.diags);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_node_knows_its_line_and_column),
        cmocka_unit_test(an_empty_file_is_an_empty_mapping),
        cmocka_unit_test(files_of_windows_editors_are_read),
        cmocka_unit_test(plain_scalars_mean_what_yaml_1_2_says),
        cmocka_unit_test(quotes_and_the_str_tag_make_a_text),
        cmocka_unit_test(local_tags_are_kept_and_others_refused),
        cmocka_unit_test(aliases_share_the_node_of_their_anchor),
        cmocka_unit_test(aliases_to_nothing_or_to_themselves_are_errors),
        cmocka_unit_test(merged_keys_keep_their_order_and_own_keys_win),
        cmocka_unit_test(a_duplicate_key_is_an_error_that_leaves_a_tree),
        cmocka_unit_test(mistakes_of_syntax_are_told_so_that_one_can_mend_them),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(depth_behind_an_alias_counts),
        cmocka_unit_test(a_billion_laughs_are_refused),
        cmocka_unit_test(the_number_of_entries_is_bounded),
        cmocka_unit_test(the_keys_of_a_mapping_are_bounded),
        cmocka_unit_test(the_size_of_a_file_is_bounded),
        cmocka_unit_test(files_are_read_and_hashed_by_content),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
