/* What the programs of the benchmark share: the clock, and files that hold one time per sequence
 * number, which tests/bench/measure.py reads. */
#pragma once

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define TIMES_MAX (UINT32_C(1) << 22)

/* All of it in ns of CLOCK_MONOTONIC; 0: not (yet). */
struct times {
    uint64_t n, duplicates, unknown, last_ns;
    uint64_t at_ns[TIMES_MAX]; /* by sequence number */
};

static inline uint64_t clock_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* a new file that is shared with who reads it */
static inline struct times *times_open(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    if (fd < 0 || ftruncate(fd, sizeof(struct times)) < 0) {
        perror(path);
        exit(1);
    }
    void *map = mmap(NULL, sizeof(struct times), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (map == MAP_FAILED) {
        perror(path);
        exit(1);
    }
    return map;
}
