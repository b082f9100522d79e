/* SPDX-License-Identifier: Apache-2.0 */

/* Memory. The x-functions end the program when there is none left: half of a daemon cannot run.
 * The try-functions are for sizes that a client chose; they fail, and tests can make them fail on
 * purpose. */

#include "agent/base/alloc.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Calls until the failing one; 0 = never. Atomic because worker threads allocate too. */
static atomic_uint calls_until_failure;

static void *check(void *p)
{
        static const char message[] = "out of memory\n";

        if (p)
                return p;

        /* No stdio and no logging here: both allocate. There is nobody to tell when even this
         * fails. */
        if (write(STDERR_FILENO, message, sizeof(message) - 1) < 0)
                abort();
        abort();
}

static bool must_fail(void)
{
        unsigned left = atomic_load(&calls_until_failure);

        while (left > 0) {
                if (atomic_compare_exchange_weak(&calls_until_failure, &left, left - 1))
                        return left == 1;
        }
        return false;
}

/* calloc that cannot fail. */
void *xcalloc(size_t n, size_t size)
{
        return check(calloc(n > 0 ? n : 1, size > 0 ? size : 1));
}

/* reallocarray that cannot fail; the product is checked for overflow. */
void *xrealloc_array(void *p, size_t n, size_t size)
{
        return check(reallocarray(p, n > 0 ? n : 1, size > 0 ? size : 1));
}

/* strdup that cannot fail; @s must not be NULL. */
char *xstrdup(const char *s)
{
        return check(strdup(s));
}

/* A copy of at most @size bytes of @s, terminated. */
char *xstrndup(const char *s, size_t size)
{
        return check(strndup(s, size));
}

/* asprintf that cannot fail. */
char *xasprintf(const char *fmt, ...)
{
        va_list ap;
        char *s;
        int r;

        va_start(ap, fmt);
        r = vasprintf(&s, fmt, ap);
        va_end(ap);

        return check(r < 0 ? NULL : s);
}

/* malloc for sizes that a client chose: the caller checks for NULL. A size of 0 gives a pointer,
 * too. */
void *try_alloc(size_t size)
{
        return must_fail() ? NULL : malloc(size > 0 ? size : 1);
}

/* realloc for sizes that a client chose; on failure @p is as it was. */
void *try_realloc(void *p, size_t size)
{
        return must_fail() ? NULL : realloc(p, size > 0 ? size : 1);
}

/* For tests: the @n-th try_* call from now fails, once. */
void alloc_fail_after(unsigned n)
{
        atomic_store(&calls_until_failure, n);
}

/* free that returns NULL, so that `p = mem_free(p)` leaves nothing dangling. */
void *mem_free(void *p)
{
        free(p);
        return NULL;
}
