/* SPDX-License-Identifier: Apache-2.0 */

/* One look at a time, because reading another process's memory (its command line, its environment) waits for that
 * process's own memory operations. One that hangs in a dead network file system may hold us for good; then it holds
 * one thread of the pool and not all of them. */

#include "proc/system_processes.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "agent/base/alloc.h"
#include "agent/base/limits.h"
#include "agent/loop/job.h"
#include "proc/system_commands.h"
#include "proc/system_cpu.h"

/* One look. */
struct look {
        struct system_processes *owner;
        struct list queries;
        struct system_cpu *cpu; /* lent to the only look there is, as the next one */
        struct system_commands *commands;
        struct system_owners owners;
        struct error err;
        int r;
};

struct system_processes {
        struct loop *loop;
        struct system_cpu *cpu;
        struct system_commands *commands;
        struct list waiting; /* for the next look */
        size_t n_waiting;
        bool is_looking;
        void (*collect)(void *arg, struct system_owners *o);
        void *arg;
};

/* See the header. */
struct system_processes *system_processes_new(struct loop *l,
                                              void (*collect)(void *arg, struct system_owners *o),
                                              void *arg)
{
        struct system_processes *sp = xnew(struct system_processes);

        sp->loop = l;
        sp->cpu = system_cpu_new();
        sp->commands = system_commands_new();
        list_init(&sp->waiting);
        sp->collect = collect;
        sp->arg = arg;
        return sp;
}

/* See the header. */
struct system_processes *system_processes_free(struct system_processes *sp)
{
        if (!sp)
                return NULL;

        assert(!sp->is_looking);
        system_cpu_free(sp->cpu);
        system_commands_free(sp->commands);
        free(sp);
        return NULL;
}

static void run(void *job)
{
        struct look *look = job;
        CLEANUP(system_snapshot_free) struct system_snapshot *s = NULL;

        look->r = system_snapshot_take(look->cpu, look->commands, &look->owners, &s, &look->err);
        if (look->r < 0)
                return;
        list_for_each(item, &look->queries) {
                struct system_query *q = list_entry(item, struct system_query, link);

                q->run(q, s);
        }
}

static void move_all(struct list *from, struct list *to)
{
        list_for_each_safe(item, from) {
                list_remove(item);
                list_append(to, item);
        }
}

static int start(struct system_processes *sp);

static void on_done(void *job)
{
        struct look *look = job;
        struct system_processes *sp = look->owner;

        sp->is_looking = false;
        /* When the next one cannot be started, nobody but us can tell those who wait for it. */
        if (!list_is_empty(&sp->waiting) && start(sp) < 0) {
                move_all(&sp->waiting, &look->queries);
                sp->n_waiting = 0;
                look->r = error_set(&look->err, -EAGAIN,
                                    "start a job"); /* for those who were served, too */
        }
        while (!list_is_empty(&look->queries)) {
                struct system_query *q = list_entry(look->queries.next, struct system_query, link);

                list_remove(&q->link);
                q->done(q, look->r < 0 ? &look->err : NULL);
        }
        free(look);
}

/* All that wait come along. */
static int start(struct system_processes *sp)
{
        struct look *look = xnew(struct look);
        int r;

        look->owner = sp;
        look->cpu = sp->cpu;
        look->commands = sp->commands;
        list_init(&look->queries);
        sp->collect(sp->arg, &look->owners);
        move_all(&sp->waiting, &look->queries); /* before: from then on they are the worker's */
        r = job_run(sp->loop, look, run, on_done);
        if (r < 0) {
                move_all(&look->queries, &sp->waiting);
                system_owners_done(&look->owners);
                free(look);
                return r;
        }
        sp->n_waiting = 0;
        sp->is_looking = true;
        return 0;
}

/* See the header. */
int system_processes_ask(struct system_processes *sp, struct system_query *q)
{
        int r;

        if (sp->n_waiting >= LIMIT_PROCESS_LISTINGS)
                return -EBUSY;
        list_append(&sp->waiting, &q->link);
        sp->n_waiting++;
        if (sp->is_looking)
                return 0;

        r = start(sp);
        if (r < 0) {
                list_remove(&q->link);
                sp->n_waiting--;
        }
        return r;
}
