/* The seed's numbers: splitmix64, the same everywhere. */
#include "sim.h"

uint64_t sim_random(struct sim *sim)
{
    uint64_t x = sim->random += 0x9e3779b97f4a7c15ULL;

    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ULL;
    x = (x ^ x >> 27) * 0x94d049bb133111ebULL;
    return x ^ x >> 31;
}

uint32_t sim_below(struct sim *sim, uint32_t n)
{
    return n ? (uint32_t)(sim_random(sim) % n) : 0;
}

bool sim_chance(struct sim *sim, unsigned percent)
{
    return sim_below(sim, 100) < percent;
}

uint64_t sim_between(struct sim *sim, uint64_t from, uint64_t to)
{
    return from + sim_random(sim) % (to - from + 1);
}

uint64_t sim_spread(struct sim *sim, uint64_t from, uint64_t to)
{
    unsigned steps = 0;

    for (uint64_t x = from; x < to; x *= 2)
        steps++;
    for (unsigned step = sim_below(sim, steps); step; step--)
        from *= 2;
    return sim_between(sim, from, MIN_OF(from * 2, to));
}
