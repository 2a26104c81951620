/* Secrets from a file, the environment or systemd; see secret.h. Shows where a secret comes from,
 * never what it is. */
#include "config/secret.h"

#include "config/suggest.h"
#include "util/cleanup.h"
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Whether `path` is really below /run, where files come from a service manager and are gone after a
 * restart: mode bits say little there (container engines mount secrets 0444). */
static bool is_below_run(const char *path)
{
    char real[PATH_MAX];

    return realpath(path, real) && strncmp(real, "/run/", 5) == 0;
}

/* a text that MQTT can carry: UTF-8 without NUL (MQTT 5 section 1.5.4) */
static bool is_utf8(const char *text)
{
    const unsigned char *p = (const unsigned char *)text;

    while (*p) {
        unsigned n = *p < 0x80 ? 0 : *p >= 0xc2 && *p < 0xe0 ? 1 : (*p & 0xf0) == 0xe0 ? 2 : 3;
        if (n == 3 && (*p < 0xf0 || *p > 0xf4))
            return false;
        if ((*p == 0xe0 && p[1] < 0xa0) || (*p == 0xed && p[1] > 0x9f) ||
            (*p == 0xf0 && p[1] < 0x90) || (*p == 0xf4 && p[1] > 0x8f))
            return false;
        for (p++; n; n--, p++)
            if ((*p & 0xc0) != 0x80)
                return false;
    }
    return true;
}

/* reads all of an open file; the result is NUL-terminated */
static char *read_all(int fd, size_t *ret_length)
{
    char *text = malloc(SECRET_MAX_BYTES + 2);
    size_t length = 0;

    if (!text)
        return NULL;
    while (length <= SECRET_MAX_BYTES) {
        ssize_t n = read(fd, text + length, SECRET_MAX_BYTES + 1 - length);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            int error = errno;
            free(text);
            errno = error;
            return NULL;
        }
        if (n == 0)
            break;
        length += (size_t)n;
    }
    text[length] = '\0';
    *ret_length = length;
    return text;
}

/* one line break at the end is the editor's */
static void strip_newline(char *text, size_t length)
{
    if (length && text[length - 1] == '\n') {
        text[--length] = '\0';
        if (length && text[length - 1] == '\r')
            text[--length] = '\0';
    }
}

static char *from_file(struct reader *reader, const struct key *key, const struct yaml_node *node,
                       const char *path, const char *shown, bool trusted)
{
    _cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat st;
    size_t length;

    if (fd < 0 || fstat(fd, &st) < 0) {
        reader_error(reader, node, "'%s': the file '%s' cannot be read: %s", key->name, shown,
                     strerror(errno));
        return NULL;
    }
    if (!S_ISREG(st.st_mode)) {
        reader_error(reader, node, "'%s': '%s' is no regular file", key->name, shown);
        return NULL;
    }
    if (!trusted && (st.st_mode & (S_IRGRP | S_IROTH)) && !is_below_run(path)) {
        reader_error(reader, node,
                     "'%s': other users may read the file '%s'; forbid it by: chmod 600 '%s'",
                     key->name, shown, shown);
        return NULL;
    }
    char *text = read_all(fd, &length);
    if (!text) {
        reader_error(reader, node, "'%s': the file '%s' cannot be read: %s", key->name, shown,
                     strerror(errno));
        return NULL;
    }
    if (length > SECRET_MAX_BYTES)
        reader_error(reader, node, "'%s': the file '%s' is larger than %d KiB", key->name, shown,
                     SECRET_MAX_BYTES / 1024);
    else if (memchr(text, '\0', length))
        reader_error(reader, node, "'%s': the file '%s' has a NUL character in it", key->name,
                     shown);
    else
        strip_newline(text, length);
    return text;
}

static char *from_environment(struct reader *reader, const struct key *key,
                              const struct yaml_node *node)
{
    const char *value = getenv(node->text);

    if (value)
        return reader_copy(reader, value);
    reader_error(reader, node, "'%s': the environment has no variable '%s'", key->name, node->text);
    return NULL;
}

static char *from_credential(struct reader *reader, const struct key *key,
                             const struct yaml_node *node)
{
    const char *directory = getenv("CREDENTIALS_DIRECTORY");
    _cleanup_(freep) char *path = NULL;

    if (strchr(node->text, '/') || node->text[0] == '.') {
        reader_error(reader, node, "'%s': a credential's name has no '/' and no '.' at its start",
                     key->name);
        return NULL;
    }
    if ((!directory || !*directory) && reader->without_credentials) {
        reader_warning(reader, node,
                       "'%s': not checked: $CREDENTIALS_DIRECTORY is not set; the service manager "
                       "sets it, if the unit has LoadCredential=%s:PATH",
                       key->name, node->text);
        return NULL;
    }
    if (!directory || !*directory) {
        reader_error(reader, node,
                     "'%s': there are no credentials, since systemd did not start this; give the "
                     "unit LoadCredential=%s:PATH, or use !file",
                     key->name, node->text);
        return NULL;
    }
    if (asprintf(&path, "%s/%s", directory, node->text) < 0) {
        path = NULL;
        reader->failed = true;
        return NULL;
    }
    return from_file(reader, key, node, path, path, true);
}

static char *follow_tag(struct reader *reader, const struct key *key, const struct yaml_node *node)
{
    struct suggestion suggestion = suggestion_for(node->tag);

    if (strcmp(node->tag, "!file") == 0) {
        _cleanup_(freep) char *path = reader_path(reader, node->text);
        return path ? from_file(reader, key, node, path, node->text, false) : NULL;
    }
    if (strcmp(node->tag, "!env") == 0)
        return from_environment(reader, key, node);
    if (strcmp(node->tag, "!credential") == 0)
        return from_credential(reader, key, node);
    suggestion_offer(&suggestion, "!file");
    suggestion_offer(&suggestion, "!env");
    suggestion_offer(&suggestion, "!credential");
    const char *best = suggestion_best(&suggestion);
    reader_error(reader, node, "'%s' knows !file, !env and !credential, not '%s'%s%s%s", key->name,
                 node->tag, best ? "; did you mean '" : "", best ? best : "", best ? "'?" : "");
    return NULL;
}

char *secret_read(struct reader *reader, const struct key *key, const struct yaml_node *node)
{
    size_t n_errors = reader->n_errors;

    if (node->kind != YAML_KIND_SCALAR || !*node->text) {
        reader_error(reader, node, "'%s': '%s' needs a name behind it", key->name, node->tag);
        return NULL;
    }
    char *value = follow_tag(reader, key, node);
    if (value && reader->n_errors == n_errors) {
        if (!*value)
            reader_error(reader, node, "'%s': what '%s %s' leads to is empty", key->name, node->tag,
                         node->text);
        else if (strlen(value) > (size_t)key->max)
            reader_error(reader, node, "'%s' is longer than %jd bytes", key->name,
                         (intmax_t)key->max);
        else if (!is_utf8(value))
            reader_error(reader, node, "'%s': what '%s %s' leads to is no UTF-8 text", key->name,
                         node->tag, node->text);
    }
    return value;
}
