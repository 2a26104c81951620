/* What libyaml stumbled over, as a diagnostic. */
#pragma once

#include "yaml/diag.h"
#include <yaml.h>

/* after yaml_parser_parse() failed on `text`; -EINVAL, or -ENOMEM without a diagnostic */
MUST_CHECK
int syntax_report(const yaml_parser_t *parser, const char *text, size_t length,
                  struct diags *diags);
