/* What a person sees of a file's mistakes. */
#include "yaml/diag.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the ones above */
#include <cmocka.h>

static char *printed(struct diags *diags)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    assert_non_null(out);
    diags_print(diags, out);
    fclose(out);
    return text;
}

static void messages_are_sorted_by_place_and_stable(void **state)
{
    struct diags diags;

    assert_int_equal(diags_init(&diags, "a.yaml"), 0);
    diags_add(&diags, DIAG_ERROR, 3, 1, "third");
    diags_add(&diags, DIAG_ERROR, 2, 9, "second");
    diags_add(&diags, DIAG_WARNING, 2, 9, "second, said later");
    diags_add(&diags, DIAG_ERROR, 2, 1, "first");
    diags_add(&diags, DIAG_ERROR, 0, 0, "whole");
    char *text = printed(&diags);
    assert_string_equal(text, "a.yaml: error: whole\n"
                              "a.yaml:2:1: error: first\n"
                              "a.yaml:2:9: error: second\n"
                              "a.yaml:2:9: warning: second, said later\n"
                              "a.yaml:3:1: error: third\n");
    assert_int_equal(diags.n_errors, 4);
    free(text);
    diags_done(&diags);
}

static void what_is_said_once_at_a_place_is_not_said_again(void **state)
{
    struct diags diags;

    assert_int_equal(diags_init(&diags, "a.yaml"), 0);
    diags_add(&diags, DIAG_ERROR, 3, 1, "%s", "same");
    diags_add(&diags, DIAG_ERROR, 3, 1, "%s", "same");
    assert_int_equal(diags.n, 1);
    assert_int_equal(diags.n_errors, 1);
    diags_add(&diags, DIAG_ERROR, 3, 2, "%s", "same");
    assert_int_equal(diags.n, 2);
    diags_done(&diags);
}

static void a_flood_is_cut_and_the_rest_is_counted(void **state)
{
    struct diags diags;

    assert_int_equal(diags_init(&diags, "a.yaml"), 0);
    for (size_t i = 0; i < DIAGS_MAX; i++)
        diags_add(&diags, DIAG_ERROR, i + 1, 1, "wrong");
    assert_int_equal(diags.n_suppressed, 0);
    diags_add(&diags, DIAG_ERROR, DIAGS_MAX + 1, 1, "wrong");
    assert_int_equal(diags.n, DIAGS_MAX);
    assert_int_equal(diags.n_suppressed, 1);
    assert_int_equal(diags.n_errors, DIAGS_MAX + 1);
    char *text = printed(&diags);
    assert_non_null(strstr(text, "a.yaml: 1 more errors and warnings are not shown\n"));
    free(text);
    diags_done(&diags);
}

static void text_of_the_file_cannot_forge_a_line_or_drive_the_terminal(void **state)
{
    struct diags diags;

    assert_int_equal(diags_init(&diags, "a.yaml"), 0);
    diags_add(&diags, DIAG_ERROR, 1, 1, "'%s'", "x\ny\033[2J\x7f\xc3\xa9");
    assert_string_equal(diags.list[0].message, "'x?y?[2J?\xc3\xa9'");
    diags_done(&diags);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_are_sorted_by_place_and_stable),
        cmocka_unit_test(what_is_said_once_at_a_place_is_not_said_again),
        cmocka_unit_test(a_flood_is_cut_and_the_rest_is_counted),
        cmocka_unit_test(text_of_the_file_cannot_forge_a_line_or_drive_the_terminal),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
