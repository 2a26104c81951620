/* Waveforms, chance and wandering RSSI; see script.h. */
#include "sim/script.h"

#include "util/bytes.h"
#include "util/round.h"
#include <math.h>
#include <string.h>

static const char *const shape_names[] = {
    [SCRIPT_SHAPE_SINE] = "sine",   [SCRIPT_SHAPE_TRIANGLE] = "triangle",
    [SCRIPT_SHAPE_SAW] = "saw",     [SCRIPT_SHAPE_RANDOM] = "random",
    [SCRIPT_SHAPE_COUNT] = "count",
};

static const struct {
    const char *name;
    struct script_type type;
} type_names[] = {
    {"uint8", {1, false}},  {"uint16", {2, false}}, {"uint24", {3, false}}, {"uint32", {4, false}},
    {"uint64", {8, false}}, {"int8", {1, true}},    {"int16", {2, true}},   {"int24", {3, true}},
    {"int32", {4, true}},   {"int64", {8, true}},
};

bool script_shape_parse(const char *text, enum script_shape *ret_shape)
{
    for (size_t i = 0; i < ARRAY_SIZE(shape_names); i++)
        if (strcmp(text, shape_names[i]) == 0) {
            *ret_shape = (enum script_shape)i;
            return true;
        }
    return false;
}

bool script_type_parse(const char *text, struct script_type *ret_type)
{
    for (size_t i = 0; i < ARRAY_SIZE(type_names); i++)
        if (strcmp(text, type_names[i].name) == 0) {
            *ret_type = type_names[i].type;
            return true;
        }
    return false;
}

bool script_type_holds(struct script_type type, double v)
{
    double span = type.n_bytes < 8 ? (double)(UINT64_C(1) << type.n_bytes * 8) : 0x1p64;

    if (type.is_signed)
        return v >= -span / 2 && v < span / 2;
    return v >= 0 && v < span;
}

/* splitmix64's finalizer: every bit of the input moves every bit of the output */
uint64_t script_hash(uint64_t a, uint64_t b)
{
    uint64_t x = a * 0x9e3779b97f4a7c15u + b + 0x632be59bd9b4e019u;

    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static double unit_from_hash(uint64_t hash)
{
    return (double)(hash >> 11) / (double)(UINT64_C(1) << 53);
}

/* of a whole turn's part; a series is exact enough, and libm would cost memory (util/round.h) */
static double sine(double turn)
{
    if (turn > 0.5)
        return -sine(turn - 0.5);
    double x = 2 * M_PI * (turn > 0.25 ? 0.5 - turn : turn), term = x, sum = x;

    for (int n = 2; n <= 20; n += 2) {
        term *= -x * x / (n * (n + 1));
        sum += term;
    }
    return sum;
}

static double count(uint64_t period, double span)
{
    return span < 0x1p53 ? (double)(period % ((uint64_t)span + 1)) : (double)period;
}

double script_wave_at(const struct script_wave *wave, uint64_t now_us, uint64_t seed)
{
    uint64_t period = now_us / wave->period_us;
    double phase = (double)(now_us % wave->period_us) / (double)wave->period_us;
    double span = wave->max - wave->min;

    switch (wave->shape) {
    case SCRIPT_SHAPE_SINE:
        /* starts in the middle and rises */
        return wave->min + span * (0.5 + 0.5 * sine(phase));
    case SCRIPT_SHAPE_TRIANGLE: return wave->min + span * (phase < 0.5 ? 2 * phase : 2 - 2 * phase);
    case SCRIPT_SHAPE_SAW: return wave->min + span * phase;
    case SCRIPT_SHAPE_RANDOM: return wave->min + span * unit_from_hash(script_hash(seed, period));
    case SCRIPT_SHAPE_COUNT: return wave->min + count(period, span);
    }
    return wave->min;
}

void script_wave_apply(const struct script_wave *wave, uint64_t now_us, uint64_t seed,
                       uint8_t *value, size_t length)
{
    if (wave->offset > length || wave->type.n_bytes > length - wave->offset)
        return;
    double v = round_even(script_wave_at(wave, now_us, seed));
    uint64_t raw = v < 0 ? -(uint64_t)-v : (uint64_t)v;

    put_le(value + wave->offset, raw, wave->type.n_bytes);
}

void script_waves_apply(const struct script_wave *waves, size_t n, uint64_t now_us, uint64_t seed,
                        uint8_t *value, size_t length)
{
    for (size_t i = 0; i < n; i++)
        script_wave_apply(&waves[i], now_us, script_hash(seed, i), value, length);
}

#define WANDER_STEP_US 4000000

int script_wander(int from, int to, uint64_t now_us, uint64_t seed)
{
    uint64_t step = now_us / WANDER_STEP_US;
    double phase = (double)(now_us % WANDER_STEP_US) / WANDER_STEP_US;
    double a = unit_from_hash(script_hash(seed, step));
    double b = unit_from_hash(script_hash(seed, step + 1));

    return (int)round_even(from + (to - from) * (a + (b - a) * phase));
}
