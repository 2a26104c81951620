/* Reading the configuration again; see reload.h. */
#include "app/reload.h"

#include "config/load.h"
#include "util/cleanup.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* what diags_print() says, without the last end of line */
static char *text_of(struct diags *diags)
{
    char *text = NULL;
    size_t length;
    FILE *out = open_memstream(&text, &length);

    if (!out)
        return NULL;
    diags_print(diags, out);
    if (fclose(out) != 0) {
        free(text);
        return NULL;
    }
    if (length && text[length - 1] == '\n')
        text[length - 1] = '\0';
    return text;
}

/* what could block the loop, or has been read to its end, is not read again */
static const char *cannot_be_read_again(const char *path)
{
    struct stat st;

    if (strcmp(path, "-") == 0)
        return "standard input cannot be read again";
    return stat(path, &st) == 0 && !S_ISREG(st.st_mode) ? "the configuration is no regular file"
                                                        : NULL;
}

int reload_load(const char *path, struct settings **ret_settings, char **ret_text)
{
    const char *why = cannot_be_read_again(path);
    struct diags diags;
    char *text = NULL;
    int r;

    if (why) {
        *ret_text = strdup(why);
        return CONFIG_E_INVALID;
    }
    r = diags_init(&diags, path);

    if (r == 0) {
        r = config_load(path, &(struct config_options){0}, &diags, ret_settings);
        if (r > 0)
            text = text_of(&diags); /* to be told, and logged, by the core */
        else
            diags_print(&diags, stderr);
    }
    diags_done(&diags);
    if (r < 0)
        text = strdup(strerror(-r));
    if (r != 0)
        *ret_text = text;
    return r;
}
