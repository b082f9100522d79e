/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The handful of macros that every file may use. */

#include <stddef.h>
#include <sys/param.h> /* has its own MIN and MAX, which evaluate twice; uv.h includes it */

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

#undef MIN
#undef MAX

#define MIN(a, b)                                  \
        ({                                         \
                __typeof__(a) min_a_ = (a);        \
                __typeof__(b) min_b_ = (b);        \
                min_a_ < min_b_ ? min_a_ : min_b_; \
        })

#define MAX(a, b)                                  \
        ({                                         \
                __typeof__(a) max_a_ = (a);        \
                __typeof__(b) max_b_ = (b);        \
                max_a_ > max_b_ ? max_a_ : max_b_; \
        })

/* Takes the pointer out of a variable and leaves NULL behind: hands ownership over. */
#define STEAL(p)                             \
        ({                                   \
                __typeof__(p) stolen_ = (p); \
                (p) = NULL;                  \
                stolen_;                     \
        })

/* The same for a file descriptor, which is -1 when empty. */
#define STEAL_FD(fd)                   \
        ({                             \
                int stolen_fd_ = (fd); \
                (fd) = -1;             \
                stolen_fd_;            \
        })

/* CLEANUP(thing_free) struct thing *t = NULL; frees at the end of the scope. The functions that it
 * calls are made by DEFINE_CLEANUP from ordinary x_free functions. */
#define CLEANUP(fn) __attribute__((cleanup(fn##_cleanup_)))

#define DEFINE_CLEANUP(type, fn)                  \
        static inline void fn##_cleanup_(type *p) \
        {                                         \
                (void)fn(*p);                     \
        }

#define PRINTF_LIKE(fmt, first) __attribute__((format(printf, fmt, first)))

#define KIB ((size_t)1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)
#define TIB (1024 * (uint64_t)GIB)
