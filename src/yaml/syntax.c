/* libyaml's words for mistakes, turned into words that help; see syntax.h. Must not know trees. */
#include "yaml/syntax.h"

#include <string.h>

static void place_of_offset(const char *text, size_t length, size_t offset, size_t *line,
                            size_t *column)
{
    *line = 1;
    *column = 1;
    for (size_t i = 0; i < offset && i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '\n') {
            ++*line;
            *column = 1;
        } else if ((c & 0xc0) != 0x80) {
            ++*column;
        }
    }
}

/* the byte at a mark; marks count characters, so the line is walked */
static char char_at(const char *text, size_t length, const yaml_mark_t *mark)
{
    size_t line = 0, i = 0;

    for (; i < length && line < mark->line; i++)
        line += text[i] == '\n';
    for (size_t column = 0; i < length && text[i] != '\n'; i++) {
        if (((unsigned char)text[i] & 0xc0) == 0x80)
            continue;
        if (column++ == mark->column)
            return text[i];
    }
    return '\0';
}

int syntax_report(const yaml_parser_t *parser, const char *text, size_t length, struct diags *diags)
{
    const char *problem = parser->problem ? parser->problem : "this is no YAML";
    size_t line = parser->problem_mark.line + 1, column = parser->problem_mark.column + 1;
    char c;

    if (parser->error == YAML_MEMORY_ERROR)
        return -ENOMEM;
    if (parser->error == YAML_READER_ERROR) {
        place_of_offset(text, length, parser->problem_offset, &line, &column);
        diags_add(diags, DIAG_ERROR, line, column, "%s; the file must be plain UTF-8 text",
                  problem);
        return -EINVAL;
    }
    c = char_at(text, length, &parser->problem_mark);
    if (strstr(problem, "cannot start any token")) {
        if (c == '\t')
            diags_add(diags, DIAG_ERROR, line, column, "a tab cannot indent; use blanks instead");
        else
            diags_add(diags, DIAG_ERROR, line, column,
                      "a text that starts with '%c' must be quoted: \"%c\"", c, c);
    } else if (strstr(problem, "mapping values are not allowed")) {
        diags_add(diags, DIAG_ERROR, line, column,
                  "a ':' cannot stand here; quote a text that has ': ' in it, or check the "
                  "indentation of this line and of the one before");
    } else if (parser->context && parser->context_mark.line + 1 < line) {
        diags_add(diags, DIAG_ERROR, line, column, "%s, %s that starts in line %zu", problem,
                  parser->context, parser->context_mark.line + 1);
    } else {
        diags_add(diags, DIAG_ERROR, line, column, "%s%s%s", problem, parser->context ? ", " : "",
                  parser->context ? parser->context : "");
    }
    return -EINVAL;
}
