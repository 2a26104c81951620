/* How long to wait before the next attempt. Pure arithmetic. */
#include "core/world.h"

#define FAST_RETRIES  3
#define FIRST_STEP_MS 1000

uint64_t backoff_ms(unsigned failures, uint64_t min_ms, uint64_t max_ms, uint32_t random)
{
    if (failures <= FAST_RETRIES)
        return MIN_OF(min_ms, max_ms);
    unsigned doublings = MIN_OF(failures - FAST_RETRIES - 1, 20u);
    uint64_t step = MIN_OF((uint64_t)FIRST_STEP_MS << doublings, max_ms);
    /* the upper half is drawn, so that peers that failed together do not return together, and each
     * step still waits longer than the one before it on average */
    uint64_t wait = step / 2 + step / 2 * random / UINT32_MAX;
    return MIN_OF(MAX_OF(wait, min_ms), max_ms);
}
