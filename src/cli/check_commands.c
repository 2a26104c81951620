/* What can be asked of the gateway and of a device; see check_commands.h. */
#include "cli/check_commands.h"

#include "core/request.h"
#include "util/decimal.h"
#include "util/time.h"
#include <string.h>

#define WIDTH 100 /* of a line */

void check_print_requests(struct strbuf *out, const struct settings *settings)
{
    const char *base = settings->gateway.base_topic, *id = settings->gateway.id;
    const char *before = "                ";
    size_t column = 0;

    strbuf_printf(out, "  requests      %s/bridge/%s/request/<operation>\n", base, id);
    for (enum operation i = 0; i < N_OPERATIONS; i++) {
        const char *name = operation_name(i);

        if (!(settings->commands.allow & OPERATION_BIT(i)))
            continue;
        bool wraps = column + strlen(name) + 2 > WIDTH;
        strbuf_printf(out, "%s%s%s", column ? "," : "", wraps ? "\n" : "",
                      column && !wraps ? " " : before);
        column = (column && !wraps ? column + 2 : strlen(before)) + strlen(name);
        strbuf_puts(out, name);
    }
    strbuf_puts(out, column ? "\n" : "                none is allowed\n");
    strbuf_printf(out, "  answers       %s/bridge/%s/response/<operation>\n", base, id);
}

static void put_bound(struct strbuf *out, const char **comma, const char *words,
                      struct decimal bound)
{
    char text[DECIMAL_TEXT_SIZE];

    decimal_format(bound, text);
    strbuf_printf(out, "%s%s %s", *comma, words, text);
    *comma = ", ";
}

static void print_parameter(struct strbuf *out, const char *before, const struct field_spec *spec)
{
    const char *comma = "  ";

    strbuf_printf(out, "%s%s", before, spec->name);
    if (spec->has_min)
        put_bound(out, &comma, "at least", spec->min);
    if (spec->has_max)
        put_bound(out, &comma, "at most", spec->max);
    if (spec->has_default)
        put_bound(out, &comma, "by default", spec->default_value);
    strbuf_putc(out, '\n');
}

/* those that it ends, itself apart: of its own there is one at a time */
static void print_cancels(struct strbuf *out, const struct device_settings *device, size_t index)
{
    const char *before = "; ends ";

    for (size_t i = 0; i < device->n_commands; i++)
        if (i != index && device->commands[index].cancels & 1u << i) {
            strbuf_printf(out, "%s%s", before, device->commands[i].id);
            before = ", ";
        }
    strbuf_putc(out, '\n');
}

void check_print_commands(struct strbuf *out, const char *topic,
                          const struct device_settings *device)
{
    for (size_t i = 0; i < device->n_commands; i++) {
        const struct command_settings *command = &device->commands[i];
        const struct schema *parameters = command->parameters;
        char longest[32];

        strbuf_printf(out, "\n  %s/command/%s%s%s\n", topic, command->id,
                      command->name ? "   " : "", command->name ? command->name : "");
        for (size_t j = 0; parameters && j < parameters->n_fields; j++)
            print_parameter(out, j ? "                " : "    parameters  ",
                            &parameters->fields[j]);
        time_format_duration(command->sequence.timeout_ms, longest, sizeof(longest));
        strbuf_printf(out, "    does        %zu step%s, in at most %s", command->sequence.n_steps,
                      command->sequence.n_steps == 1 ? "" : "s", longest);
        print_cancels(out, device, i);
        strbuf_printf(out, "    answers     %s/command/%s/result\n", topic, command->id);
    }
}
