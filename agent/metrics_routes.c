/* SPDX-License-Identifier: Apache-2.0 */

/* Most routes are never used in the life of an agent, so each gets its memory, some 2.5 KB, with its first request. */

#include "agent/metrics_routes.h"

#include <stdlib.h>

#include "agent/base/alloc.h"

struct route_table_metrics {
        size_t n;
        struct route_metrics *rows[];
};

/* See the header. */
struct route_table_metrics *route_table_metrics_new(size_t n)
{
        struct route_table_metrics *t = xcalloc(1, sizeof(*t) + (n + 1) * sizeof(t->rows[0]));

        t->n = n;
        return t;
}

/* See the header. */
struct route_table_metrics *route_table_metrics_free(struct route_table_metrics *t)
{
        if (!t)
                return NULL;
        for (size_t i = 0; i <= t->n; i++)
                free(t->rows[i]);
        free(t);
        return NULL;
}

/* See the header. */
struct route_metrics *route_table_metrics_at(struct route_table_metrics *t, size_t index)
{
        if (!t->rows[index])
                t->rows[index] = xnew(struct route_metrics);
        return t->rows[index];
}

/* See the header. */
const struct route_metrics *route_table_metrics_find(const struct route_table_metrics *t,
                                                     size_t index)
{
        return t->rows[index];
}
