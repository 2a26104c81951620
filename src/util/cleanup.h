/* Scope-bound ownership: _cleanup_(x_freep) frees a local, TAKE_PTR hands it over. */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(f) __attribute__((cleanup(f)))

#define TAKE_PTR(p)                             \
    ({                                          \
        __typeof__(p) *take_ptr_p = &(p);       \
        __typeof__(p) take_ptr_v = *take_ptr_p; \
        *take_ptr_p = NULL;                     \
        take_ptr_v;                             \
    })

#define TAKE_FD(fd)                 \
    ({                              \
        int *take_fd_p = &(fd);     \
        int take_fd_v = *take_fd_p; \
        *take_fd_p = -1;            \
        take_fd_v;                  \
    })

/* defines xp(): calls x on the pointed-to pointer; x takes NULL */
#define DEFINE_CLEANUP(type, x)      \
    static inline void x##p(type *p) \
    {                                \
        if (*p)                      \
            x(*p);                   \
    }

static inline void freep(void *p)
{
    free(*(void **)p);
}

static inline void fclosep(FILE **f)
{
    if (*f)
        fclose(*f);
}

static inline void closep(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}
