/* The nearest word by edit distance; see suggest.h. Must not know what the words are for. */
#include "config/suggest.h"

#include "util/err.h"
#include <ctype.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

struct suggestion suggestion_for(const char *word)
{
    return (struct suggestion){.word = word, .distance = SIZE_MAX};
}

/* case and the kind of dash are no difference that somebody meant */
static int fold(char c)
{
    return c == '-' || c == ' ' ? '_' : tolower((unsigned char)c);
}

/* insertions, deletions, replacements and swapped neighbours between two words */
static size_t distance_between(const char *a, const char *b)
{
    size_t rows[3][SUGGEST_MAX_WORD + 1];
    size_t *before = rows[0], *last = rows[1], *now = rows[2];
    size_t n = strlen(b);

    for (size_t k = 0; k <= n; k++)
        last[k] = k;
    for (size_t i = 0; a[i]; i++) {
        now[0] = i + 1;
        for (size_t k = 0; k < n; k++) {
            size_t best = last[k] + (fold(a[i]) != fold(b[k]));
            best = MIN_OF(best, last[k + 1] + 1);
            best = MIN_OF(best, now[k] + 1);
            if (i && k && fold(a[i]) == fold(b[k - 1]) && fold(a[i - 1]) == fold(b[k]))
                best = MIN_OF(best, before[k - 1] + 1);
            now[k + 1] = best;
        }
        size_t *spare = before;
        before = last;
        last = now;
        now = spare;
    }
    return last[n];
}

/* "user" for "username" */
static bool is_short_form(const char *word, const char *candidate)
{
    size_t length = strlen(word);

    return length >= 3 && strncasecmp(word, candidate, length) == 0;
}

void suggestion_offer(struct suggestion *suggestion, const char *candidate)
{
    if (strlen(suggestion->word) > SUGGEST_MAX_WORD || strlen(candidate) > SUGGEST_MAX_WORD)
        return;
    size_t distance = distance_between(suggestion->word, candidate);
    if (is_short_form(suggestion->word, candidate))
        distance = MIN_OF(distance, (size_t)1);
    if (distance < suggestion->distance) {
        suggestion->distance = distance;
        suggestion->best = candidate;
    }
}

const char *suggestion_best(const struct suggestion *suggestion)
{
    size_t length = strlen(suggestion->word);

    if (!suggestion->best || suggestion->distance > (length < 3 ? 0 : length < 5 ? 1 : length / 3))
        return NULL;
    return suggestion->best;
}
