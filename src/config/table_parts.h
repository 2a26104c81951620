/* The parts that the table of all keys is put together from, and words to write them with. */
#pragma once

#include "config/readers.h"
#include "config/table.h"
#include "core/settings.h"
#include <stddef.h>
#include <stdint.h>

#define AT(type, member) \
    .stored = true, .offset = offsetof(type, member), .size = sizeof(((type *)0)->member)
#define FLAG(type, member) .has_flag = true, .flag_offset = offsetof(type, member)
#define WORDS(list)        .words = (list), .n_words = ARRAY_SIZE(list)
#define KEYS(list)         .keys = (list), .n_keys = ARRAY_SIZE(list)
#define LATER(key_name, text)                                                \
    {                                                                        \
        .name = (key_name), .type = KEY_OTHER, .later = true, .help = (text) \
    }

#define SECOND ((int64_t)1000)
#define MINUTE (60 * SECOND)
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)
#define KIB    ((int64_t)1024)
#define MIB    (1024 * KIB)

/* of sequences of steps */
#define N_ON_CONNECT_KEYS 2
#define N_POLL_KEYS       3
#define N_KEEP_ALIVE_KEYS 3
#define N_COMMAND_KEYS    5
extern const struct key config_on_connect_keys[N_ON_CONNECT_KEYS];
extern const struct key config_poll_keys[N_POLL_KEYS];
extern const struct key config_keep_alive_keys[N_KEEP_ALIVE_KEYS];
extern const struct key config_command_keys[N_COMMAND_KEYS];
/* what stands in an entry of `devices` or `profiles` */
#define N_DEVICE_KEYS 27
extern const struct key config_device_keys[N_DEVICE_KEYS];
/* what stands in `frame`, and in `when` of a message */
#define N_FRAME_KEYS 7
extern const struct key config_frame_keys[N_FRAME_KEYS];
#define N_WHEN_KEYS 2
extern const struct key config_when_keys[N_WHEN_KEYS];
/* what stands in an entry of `fields` */
#define N_FIELD_KEYS 28
extern const struct key config_field_keys[N_FIELD_KEYS];
