/*
 * Values over time: waveforms written into the bytes of a characteristic's value, and RSSI that
 * wanders. Pure: the time is an argument, the same time and seed give the same value. Must not know
 * what a value means or who reads it.
 */
#pragma once

#include "util/err.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum script_shape {
    SCRIPT_SHAPE_SINE,
    SCRIPT_SHAPE_TRIANGLE,
    SCRIPT_SHAPE_SAW,    /* rises over the period, then jumps back */
    SCRIPT_SHAPE_RANDOM, /* a new value between min and max in each period */
    SCRIPT_SHAPE_COUNT,  /* min, min + 1, ... max, min, ...: one step a period */
};
bool script_shape_parse(const char *text, enum script_shape *ret_shape); /* "sine", ... */

/* an integer of 1 to 8 bytes, little endian */
struct script_type {
    uint8_t n_bytes;
    bool is_signed;
};
/* "uint8" ... "uint64", "int8" ... "int64", 24 bits too */
bool script_type_parse(const char *text, struct script_type *ret_type);
/* whether v can be written as that type */
bool script_type_holds(struct script_type type, double v);

struct script_wave {
    uint16_t offset; /* of its first byte in the value */
    struct script_type type;
    enum script_shape shape;
    double min, max; /* raw: before any scale */
    uint64_t period_us;
};

/* the wave's number at a time */
double script_wave_at(const struct script_wave *wave, uint64_t now_us, uint64_t seed);
/* writes it into a value; does nothing where the value is too short for it */
void script_wave_apply(const struct script_wave *wave, uint64_t now_us, uint64_t seed,
                       uint8_t *value, size_t length);
/* the same, for n waves at once; each gets a seed of its own */
void script_waves_apply(const struct script_wave *waves, size_t n, uint64_t now_us, uint64_t seed,
                        uint8_t *value, size_t length);

/* a number between from and to that wanders smoothly (some seconds from one end to the other) */
int script_wander(int from, int to, uint64_t now_us, uint64_t seed);

/* a well-mixed hash of two numbers: the only source of chance here */
uint64_t script_hash(uint64_t a, uint64_t b);
