/* See helper_config.h. */
#include "helper_config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "config/load.h"

struct settings *settings_from_text(const char *text)
{
    const struct config_options options = {.host_name = "test"};
    struct settings *settings = NULL;
    struct diags diags;
    char path[32];
    int fd = memfd_create("config", 0);

    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    assert_int_equal(diags_init(&diags, "test"), 0);
    if (config_load(path, &options, &diags, &settings) != 0) {
        diags_print(&diags, stderr);
        fail_msg("%s", text);
    }
    close(fd);
    diags_done(&diags);
    return settings;
}
