/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Two kinds of allocation. Small fixed ones cannot fail (the program aborts: nothing sensible is left
 * to do); those whose size a client chooses go through try_alloc and are checked. */

#include <stddef.h>

#include "agent/base/macros.h"

/* Zeroed memory for one object; aborts when there is none. */
#define xnew(type) ((type *)xcalloc(1, sizeof(type)))

void *xcalloc(size_t n, size_t size);
void *xrealloc_array(void *p, size_t n, size_t size);
char *xstrdup(const char *s);
char *xstrndup(const char *s, size_t size);
char *xasprintf(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* Uninitialised memory, or NULL. Tests make the n-th call fail with alloc_fail_after. */
void *try_alloc(size_t size);
void *try_realloc(void *p, size_t size);

/* Makes the @n-th try_* call from now fail (1 = the next one); 0 switches it off. */
void alloc_fail_after(unsigned n);

/* free() that fits CLEANUP and returns NULL. */
void *mem_free(void *p);

static inline void mem_free_cleanup_(void *p)
{
        *(void **)p = mem_free(*(void **)p);
}
