/* "did you mean": the known word that is nearest to a wrong one. */
#pragma once

#include <stddef.h>

struct suggestion {
    const char *word; /* borrowed: the wrong one */
    const char *best; /* borrowed, NULL so far */
    size_t distance;
};

#define SUGGEST_MAX_WORD 64 /* longer ones get no suggestion */

struct suggestion suggestion_for(const char *word);
void suggestion_offer(struct suggestion *suggestion, const char *candidate);
/* the nearest of what was offered, or NULL if nothing is near enough to be meant */
const char *suggestion_best(const struct suggestion *suggestion);
