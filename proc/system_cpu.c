/* SPDX-License-Identifier: Apache-2.0 */

/* Two looks are kept, at least SYSTEM_CPU_INTERVAL_US apart. Shares refer to the newer one as soon as it is old
 * enough, and else to the older. So many clients that poll in turn neither wipe out each other's reference nor get
 * shares over an instant. */

#include "proc/system_cpu.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base/alloc.h"

struct look {
        struct system_cpu_sample *samples;
        size_t n;
        uint64_t taken_us; /* 0: none */
};

struct system_cpu {
        struct look older;
        struct look newer;
        const struct look *reference; /* during a look; NULL: none */
        uint64_t now_us;
};

/* See the header. */
struct system_cpu *system_cpu_new(void)
{
        return xnew(struct system_cpu);
}

/* See the header. */
struct system_cpu *system_cpu_free(struct system_cpu *c)
{
        if (!c)
                return NULL;

        free(c->older.samples);
        free(c->newer.samples);
        free(c);
        return NULL;
}

static bool is_old_enough(const struct look *l, uint64_t now_us)
{
        return l->taken_us > 0 && now_us >= l->taken_us + SYSTEM_CPU_INTERVAL_US;
}

/* See the header. */
uint64_t system_cpu_begin(struct system_cpu *c, uint64_t now_us)
{
        c->now_us = now_us;
        c->reference = NULL;
        if (is_old_enough(&c->newer, now_us))
                c->reference = &c->newer;
        else if (is_old_enough(&c->older, now_us))
                c->reference = &c->older;
        return c->reference ? c->reference->taken_us : 0;
}

static int compare(const void *a, const void *b)
{
        const struct system_cpu_sample *x = a, *y = b;

        return (x->pid > y->pid) - (x->pid < y->pid);
}

/* See the header. */
double system_cpu_share(const struct system_cpu *c, const struct system_cpu_sample *s,
                        uint64_t age_us)
{
        const struct system_cpu_sample *before = NULL;

        if (c->reference && c->reference->n > 0)
                before = bsearch(s, c->reference->samples, c->reference->n, sizeof(*s), compare);
        if (before && before->start_us == s->start_us && before->cpu_us <= s->cpu_us &&
            before->taken_us < s->taken_us)
                return 100 * (double)(s->cpu_us - before->cpu_us) /
                       (double)(s->taken_us - before->taken_us);
        return age_us > 0 ? 100 * (double)s->cpu_us / (double)age_us : 0;
}

/* See the header. */
void system_cpu_end(struct system_cpu *c, const struct system_cpu_sample *samples, size_t n)
{
        c->reference = NULL;
        if (c->newer.taken_us > 0 && !is_old_enough(&c->newer, c->now_us))
                return;

        free(c->older.samples);
        c->older = c->newer;
        c->newer = (struct look){ .n = n, .taken_us = c->now_us };
        c->newer.samples = xrealloc_array(NULL, n, sizeof(*samples));
        if (n > 0)
                memcpy(c->newer.samples, samples, n * sizeof(*samples));
}
