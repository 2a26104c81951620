/*
 * What `gatt2mqtt check` prints. tests/data/config/check.expected is what it says of the sample
 * configuration; UPDATE_GOLDEN=1 writes it anew.
 */
#include "cli/cli.h"

#include "util/err.h"
#include <getopt.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
/* cmocka wants the ones above */
#include <cmocka.h>

struct result {
    int status;
    char out[32768], err[8192];
};

/* all that was written to a memfd */
static void collect(int fd, char *buf, size_t size)
{
    ssize_t n = pread(fd, buf, size - 1, 0);

    assert_true(n >= 0);
    buf[n] = '\0';
    close(fd);
}

/* points `to` at a new memfd; *ret_saved is what was there */
static int redirect(int to, int *ret_saved)
{
    int fd = memfd_create("out", 0);

    assert_true(fd >= 0);
    *ret_saved = dup(to);
    assert_true(dup2(fd, to) >= 0);
    return fd;
}

static void restore(int to, int saved)
{
    assert_true(dup2(saved, to) >= 0);
    close(saved);
}

static struct result *run(const char *const *arguments)
{
    struct result *result = calloc(1, sizeof(*result));
    char *argv[8] = {(char *)"gatt2mqtt"};
    int argc = 1, saved_out, saved_err;

    assert_non_null(result);
    for (; arguments[argc - 1]; argc++)
        argv[argc] = (char *)arguments[argc - 1];
    fflush(stdout);
    int out = redirect(STDOUT_FILENO, &saved_out), err = redirect(STDERR_FILENO, &saved_err);
    optind = 0; /* GNU getopt: start over */
    result->status = cli_main(argc, argv);
    fflush(stdout);
    restore(STDOUT_FILENO, saved_out);
    restore(STDERR_FILENO, saved_err);
    collect(out, result->out, sizeof(result->out));
    collect(err, result->err, sizeof(result->err));
    return result;
}

#define RUN(...) run((const char *const[]){__VA_ARGS__, NULL})

/* `text` as a file that can be named */
static int file_of(const char *text, char *path, size_t size)
{
    int fd = memfd_create("config", 0);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    snprintf(path, size, "/proc/self/fd/%d", fd);
    return fd;
}

static void a_valid_file_is_shown_as_topics_and_fields(void **state)
{
    static const char golden[] = TEST_DATA "/config/check.expected";
    char expected[32768] = "";

    assert_int_equal(chdir(SOURCE_ROOT), 0);
    struct result *result = RUN("check", "-c", "config/gatt2mqtt.yaml");
    if (getenv("UPDATE_GOLDEN")) {
        FILE *file = fopen(golden, "w");
        assert_non_null(file);
        fputs(result->out, file);
        fclose(file);
    }
    FILE *file = fopen(golden, "r");
    assert_non_null(file);
    expected[fread(expected, 1, sizeof(expected) - 1, file)] = '\0';
    fclose(file);
    assert_int_equal(result->status, CLI_OK);
    assert_string_equal(result->err, "");
    assert_string_equal(result->out, expected);
    free(result);
}

static void what_steps_read_is_told_as_that(void **state)
{
    assert_int_equal(chdir(SOURCE_ROOT), 0);
    struct result *result = RUN("check", "-c", "config/plant.yaml");

    assert_int_equal(result->status, CLI_OK);
    const char *soil = strstr(result->out, "gatt2mqtt/plant/soil\n");
    const char *mode = strstr(result->out, "gatt2mqtt/plant/mode\n");
    assert_true(mode && soil && mode < soil);
    const char *of_mode = strstr(mode, "published   when asked for;");
    const char *of_soil = strstr(soil, "published   when steps read it;");
    assert_true(of_mode && of_mode < soil);
    assert_non_null(of_soil);
    free(result);
}

static void an_invalid_file_is_told_on_stderr_and_by_the_status(void **state)
{
    char path[64];
    int fd = file_of("mqtt: {url: mqtt://b}\nwrong: 1\nalso: 2\n", path, sizeof(path));
    struct result *result = RUN("-c", path, "check");

    assert_int_equal(result->status, CLI_CONFIG);
    assert_string_equal(result->out, "");
    assert_non_null(strstr(result->err, ":2:1: error: unknown key 'wrong'"));
    assert_non_null(strstr(result->err, ":3:1: error: unknown key 'also'"));
    free(result);
    close(fd);
}

static void a_warning_does_not_make_a_file_invalid(void **state)
{
    char path[64];
    int fd = file_of("mqtt: {url: mqtt://b}\ngateway: {id: g}\n", path, sizeof(path));
    struct result *result = RUN("check", "--config", path);

    assert_int_equal(result->status, CLI_OK);
    assert_non_null(strstr(result->err, "warning: there are no devices"));
    assert_non_null(strstr(result->out, "gatt2mqtt/bridge/g/status"));
    free(result);
    close(fd);
}

static void adapters_are_shown(void **state)
{
    char path[64];
    int fd = file_of("mqtt: {url: mqtt://b}\ngateway: {id: g}\n"
                     "bluetooth: {adapters: [hci1, 'aa:bb:cc:dd:ee:ff'], connections: 3, "
                     "reset: when_alone}\n"
                     "devices: {d: {match: {name: A}, adapter: hci1}}\n",
                     path, sizeof(path));
    struct result *result = RUN("check", "-c", path);

    assert_int_equal(result->status, CLI_OK);
    assert_non_null(strstr(result->out, "\nadapters      hci1, AA:BB:CC:DD:EE:FF; at most 3 "
                                        "connections each; switched off and on when it hangs and "
                                        "nobody else has connections there\n"));
    assert_non_null(strstr(result->out, "\n  adapter       hci1 only\n"));
    free(result);
    close(fd);
}

static void secrets_are_not_shown(void **state)
{
    char path[64];
    int fd = file_of("mqtt: {url: mqtt://b, username: hunter1, password: hunter2}\n"
                     "gateway: {id: g}\ndevices: {d: {match: {name: A}}}\n",
                     path, sizeof(path));
    struct result *result = RUN("check", "-c", path);

    assert_int_equal(result->status, CLI_OK);
    assert_null(strstr(result->out, "hunter"));
    assert_null(strstr(result->err, "hunter"));
    free(result);
    close(fd);
}

static void names_cannot_drive_the_terminal(void **state)
{
    char path[64];
    int fd = file_of("mqtt: {url: mqtt://b}\ngateway: {id: g}\n"
                     "devices: {d: {match: {name: A}, characteristics: {c: {uuid: 0x2A19, "
                     "subscribe: true, fields: {f: {type: uint8, enum: {0: \"\\e[2J\"}}}}}}}\n",
                     path, sizeof(path));
    struct result *result = RUN("check", "-c", path);

    assert_null(strchr(result->out, '\033'));
    assert_null(strchr(result->err, '\033'));
    free(result);
    close(fd);
}

static void wrong_usage_is_said(void **state)
{
    struct result *result = RUN("check", "file.yaml");

    assert_int_equal(result->status, CLI_USAGE);
    assert_non_null(strstr(result->err, "Usage: gatt2mqtt check"));
    free(result);
    result = RUN("check", "--wrong");
    assert_int_equal(result->status, CLI_USAGE);
    free(result);
    result = RUN("check", "-c", "/no/such/file");
    assert_int_equal(result->status, CLI_CONFIG);
    assert_non_null(strstr(result->err, "/no/such/file: error: this file cannot be read"));
    free(result);
}

static void commands_are_shown_with_their_parameters_and_topics(void **state)
{
    char path[64];
    int fd = file_of("mqtt: {url: mqtt://b}\n"
                     "gateway: {id: gw}\n"
                     "commands: {allow: [read, command]}\n"
                     "devices:\n"
                     "  desk:\n"
                     "    match: {name: Desk}\n"
                     "    characteristics: {go: {uuid: 0xFFE1, fields: {value: {type: uint8}}}}\n"
                     "    commands:\n"
                     "      move:\n"
                     "        name: Move it\n"
                     "        parameters: {height: {min: 62.5, max: 127}, speed: {default: 2}}\n"
                     "        timeout: 20s\n"
                     "        cancels: [stop]\n"
                     "        steps: [{write: {characteristic: go, value: {parameter: height}}},\n"
                     "                {delay: 1s}]\n"
                     "      stop: {steps: [{write: {characteristic: go, value: 0}}]}\n",
                     path, sizeof(path));
    struct result *result = RUN("check", "-c", path);

    assert_int_equal(result->status, CLI_OK);
    assert_non_null(strstr(result->out, "  requests      gatt2mqtt/bridge/gw/request/<operation>\n"
                                        "                read, command\n"
                                        "  answers       gatt2mqtt/bridge/gw/response/"));
    assert_non_null(strstr(result->out, "\n  gatt2mqtt/desk/command/move   Move it\n"
                                        "    parameters  height  at least 62.5, at most 127\n"
                                        "                speed  by default 2\n"
                                        "    does        2 steps, in at most 20s; ends stop\n"
                                        "    answers     gatt2mqtt/desk/command/move/result\n"
                                        "\n  gatt2mqtt/desk/command/stop\n"
                                        "    does        1 step, in at most "));
    free(result);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_valid_file_is_shown_as_topics_and_fields),
        cmocka_unit_test(what_steps_read_is_told_as_that),
        cmocka_unit_test(an_invalid_file_is_told_on_stderr_and_by_the_status),
        cmocka_unit_test(commands_are_shown_with_their_parameters_and_topics),
        cmocka_unit_test(a_warning_does_not_make_a_file_invalid),
        cmocka_unit_test(adapters_are_shown),
        cmocka_unit_test(secrets_are_not_shown),
        cmocka_unit_test(names_cannot_drive_the_terminal),
        cmocka_unit_test(wrong_usage_is_said),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
