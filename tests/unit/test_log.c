/* The log: one event, one line, whatever is in it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "util/log.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* what log_write() writes to stderr */
static size_t captured(char *buf, size_t size, enum log_level level, const char *area,
                       const char *text)
{
    int fds[2], saved = dup(STDERR_FILENO);
    ssize_t n;

    assert_true(saved >= 0);
    assert_int_equal(pipe2(fds, O_NONBLOCK), 0);
    assert_true(dup2(fds[1], STDERR_FILENO) >= 0);
    log_write(level, area, "%s", text);
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(fds[1]);
    n = read(fds[0], buf, size - 1);
    close(fds[0]);
    n = n < 0 ? 0 : n;
    buf[n] = '\0';
    return (size_t)n;
}

static int setup(void **state)
{
    unsetenv("JOURNAL_STREAM");
    log_set_level(LOG_LEVEL_INFO);
    return 0;
}

static void a_line_has_time_level_area_and_text(void **state)
{
    char line[4096];

    captured(line, sizeof(line), LOG_LEVEL_WARNING, "mqtt", "the broker is away");
    assert_int_equal(strspn(line, "0123456789:."), 12);
    assert_string_equal(line + 12, " warning mqtt: the broker is away\n");
}

static void with_a_journal_a_line_starts_with_its_priority(void **state)
{
    static const char *const expected[] = {"<3>a: x\n", "<4>a: x\n", "<6>a: x\n", "<7>a: x\n"};
    char line[4096];

    setenv("JOURNAL_STREAM", "1:2", 1);
    log_set_level(LOG_LEVEL_DEBUG);
    for (int level = LOG_LEVEL_ERROR; level <= LOG_LEVEL_DEBUG; level++) {
        captured(line, sizeof(line), (enum log_level)level, "a", "x");
        assert_string_equal(line, expected[level]);
    }
}

static void what_is_below_the_level_is_not_written(void **state)
{
    char line[4096];

    assert_int_equal(captured(line, sizeof(line), LOG_LEVEL_DEBUG, "a", "x"), 0);
    assert_false(log_enabled(LOG_LEVEL_DEBUG));
    assert_true(log_enabled(LOG_LEVEL_INFO));
    log_set_level(LOG_LEVEL_ERROR);
    assert_int_equal(captured(line, sizeof(line), LOG_LEVEL_WARNING, "a", "x"), 0);
    assert_true(captured(line, sizeof(line), LOG_LEVEL_ERROR, "a", "x") > 0);
}

static void text_from_outside_cannot_forge_a_line_or_drive_a_terminal(void **state)
{
    char line[4096];

    setenv("JOURNAL_STREAM", "1:2", 1);
    captured(line, sizeof(line), LOG_LEVEL_INFO, "a", "x\n<3>forged\r\x1b[2J\x7f\xc3\xa9");
    assert_string_equal(line, "<6>a: x?<3>forged??[2J?\xc3\xa9\n");
}

static void a_long_line_is_cut_and_still_ends(void **state)
{
    char text[5000], line[8192];

    memset(text, 'y', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    size_t n = captured(line, sizeof(line), LOG_LEVEL_INFO, "a", text);
    assert_true(n > 1000 && n <= 2048);
    assert_int_equal(line[n - 1], '\n');
    assert_null(memchr(line, '\n', n - 1));
    assert_null(memchr(line, '\0', n));
}

static void levels_have_names(void **state)
{
    enum log_level level = LOG_LEVEL_INFO;

    assert_true(log_level_parse("debug", &level));
    assert_int_equal(level, LOG_LEVEL_DEBUG);
    assert_true(log_level_parse("error", &level));
    assert_int_equal(level, LOG_LEVEL_ERROR);
    assert_false(log_level_parse("Debug", &level));
    assert_false(log_level_parse("", &level));
    assert_int_equal(level, LOG_LEVEL_ERROR);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_line_has_time_level_area_and_text, setup),
        cmocka_unit_test_setup(with_a_journal_a_line_starts_with_its_priority, setup),
        cmocka_unit_test_setup(what_is_below_the_level_is_not_written, setup),
        cmocka_unit_test_setup(text_from_outside_cannot_forge_a_line_or_drive_a_terminal, setup),
        cmocka_unit_test_setup(a_long_line_is_cut_and_still_ends, setup),
        cmocka_unit_test_setup(levels_have_names, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
