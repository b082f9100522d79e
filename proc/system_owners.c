/* SPDX-License-Identifier: Apache-2.0 */

/* The same signs as in tree.c, but in the order of what cannot be forged: anybody can put a marker in an environment,
 * so it counts only where no ancestor tells. Nothing of an environment but that marker is looked at, and nothing of
 * it leaves this file. */

#include "proc/system_owners.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/base/alloc.h"
#include "agent/base/fd.h"
#include "agent/base/str.h"
#include "proc/jobs_private.h"
#include "proc/process_private.h"
#include "proc/system_snapshot.h"
#include "proc/tree.h"

#define ENVIRON_SIZE (2 * MIB) /* more than the kernel lets an environment be by default */

/* See the header. */
void system_owners_add(struct system_owners *o, const char *execution_id, const char *process_id,
                       const char *status, pid_t leader, bool leader_is_gone)
{
        struct system_owner *owner;

        if (o->n == o->capacity) {
                o->capacity = MAX(2 * o->capacity, (size_t)16);
                o->v = xrealloc_array(o->v, o->capacity, sizeof(*o->v));
        }
        owner = &o->v[o->n++];
        *owner = (struct system_owner){ .status = status,
                                        .leader = leader,
                                        .leader_is_gone = leader_is_gone };
        (void)snprintf(owner->execution_id, sizeof(owner->execution_id), "%s", execution_id);
        (void)snprintf(owner->process_id, sizeof(owner->process_id), "%s", process_id);
}

/* See the header. */
void system_owners_add_supervised(struct system_owners *o, const struct supervisor *s)
{
        list_for_each(item, &s->processes) {
                const struct process *p = list_entry(item, struct process, link);

                system_owners_add(o, p->id, p->id, p->has_ended ? "lingering" : "running", p->pid,
                                  !process_owes(p, OWED_LEADER));
        }
}

/* A keeper is a leader, too: what its job leaves behind descends from it, whatever else that forgets. */
static void add_job(struct system_owners *o, const struct job *job)
{
        bool has_ended = job_phase_is_final(job_phase(job));
        const char *status = has_ended ? "lingering" : "running";

        if (has_ended && !job_is_lingering(job))
                return;
        if (job_pid(job) > 0)
                system_owners_add(o, job_execution_id(job), job_process_id(job), status,
                                  job_pid(job), has_ended);
        if (job->keeper > 0)
                system_owners_add(o, job_execution_id(job), job_process_id(job), status,
                                  job->keeper, false);
}

/* See the header. */
void system_owners_add_jobs(struct system_owners *o, struct jobs *j)
{
        for (struct job *job = jobs_newest(j); job; job = jobs_older(job))
                add_job(o, job);
}

/* See the header. */
void system_owners_done(struct system_owners *o)
{
        free(o->v);
        *o = (struct system_owners){ 0 };
}

/* A leader that lives comes before one that had its number. */
static int compare(const void *a, const void *b)
{
        const struct system_owner *x = a, *y = b;

        if (x->leader != y->leader)
                return x->leader < y->leader ? -1 : 1;
        return (int)x->leader_is_gone - (int)y->leader_is_gone;
}

/* See the header. */
void system_owners_sort(struct system_owners *o)
{
        if (o->n > 0)
                qsort(o->v, o->n, sizeof(*o->v), compare);
}

/* See the header. */
const struct system_owner *system_owners_by_leader(const struct system_owners *o, pid_t pid)
{
        size_t low = 0, high = o->n;

        while (low < high) {
                size_t middle = low + (high - low) / 2;

                if (o->v[middle].leader < pid)
                        low = middle + 1;
                else
                        high = middle;
        }
        return pid > 0 && low < o->n && o->v[low].leader == pid ? &o->v[low] : NULL;
}

static const struct system_owner *by_id(const struct system_owners *o, const char *id)
{
        for (size_t i = 0; i < o->n; i++)
                if (str_equal(o->v[i].execution_id, id) || str_equal(o->v[i].process_id, id))
                        return &o->v[i];
        return NULL;
}

static const struct system_process *find(const struct system_process *v, size_t n, pid_t pid)
{
        struct system_process key = { .pid = pid };

        return n > 0 ? bsearch(&key, v, n, sizeof(*v), system_process_compare) : NULL;
}

static void mark_sessions(const struct system_owners *o, struct system_process *v, size_t n)
{
        for (size_t i = 0; i < n; i++) {
                const struct system_owner *owner = system_owners_by_leader(o, v[i].session);

                /* A number is not given away while it names a session: if the leader was reaped and somebody has
                 * its number, then its session has ended. */
                if (owner && (!owner->leader_is_gone || !find(v, n, v[i].session)))
                        v[i].owner = owner;
        }
}

/* Who has no owner gets that of the nearest ancestor who has. The list was not made in an instant: numbers that
 * changed hands meanwhile can make a circle of ancestors, so no walk is longer than the list. */
static void mark_descendants(struct system_process *v, size_t n, bool *is_settled)
{
        const pid_t self = getpid();

        for (size_t i = 0; i < n; i++)
                is_settled[i] = v[i].owner || v[i].pid == self;

        for (size_t i = 0; i < n; i++) {
                const struct system_process *p = &v[i];
                const struct system_owner *owner;

                for (size_t steps = 0; p && !is_settled[p - v] && steps < n; steps++)
                        p = find(v, n, p->parent);
                owner = p ? p->owner : NULL;
                for (p = &v[i]; p && !is_settled[p - v]; p = find(v, n, p->parent)) {
                        v[p - v].owner = owner;
                        is_settled[p - v] = true;
                }
        }
}

static size_t read_environment(pid_t pid, char *dst, size_t size)
{
        CLEANUP(fd_close) int fd = -1;
        char path[64];
        size_t n_read = 0;
        ssize_t n = 1;

        (void)snprintf(path, sizeof(path), "/proc/%d/environ", (int)pid);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        while (fd >= 0 && n > 0 && n_read < size) {
                n = read(fd, dst + n_read, size - n_read);
                n_read += n > 0 ? (size_t)n : 0;
        }
        return n_read;
}

/* The owner that the environment of @pid names, if we may read it. */
static const struct system_owner *by_environment(const struct system_owners *o, pid_t pid,
                                                 char *scratch)
{
        static const char name[] = "\0" TREE_MARKER "=";
        const char *p = scratch;
        const char *end;

        /* A NUL in front, so that the first variable looks like all others; and one behind the last. */
        scratch[0] = '\0';
        end = scratch + 1 + read_environment(pid, scratch + 1, ENVIRON_SIZE);
        scratch[end - scratch] = '\0';
        while ((p = memmem(p, (size_t)(end - p), name, sizeof(name) - 1)) != NULL) {
                const struct system_owner *owner = by_id(o, p += sizeof(name) - 1);

                if (owner)
                        return owner;
        }
        return NULL;
}

static bool mark_marked(const struct system_owners *o, struct system_process *v, size_t n)
{
        CLEANUP(mem_free) char *scratch = try_alloc(ENVIRON_SIZE + 2);
        const pid_t self = getpid();
        bool has_changed = false;

        for (size_t i = 0; scratch && i < n; i++) {
                if (v[i].owner || v[i].pid == self || v[i].state == 'Z')
                        continue;
                v[i].owner = by_environment(o, v[i].pid, scratch);
                has_changed = has_changed || v[i].owner;
        }
        return has_changed;
}

/* See the header. */
void system_owners_mark(const struct system_owners *o, struct system_process *v, size_t n)
{
        CLEANUP(mem_free) bool *is_settled = NULL;

        if (o->n == 0 || n == 0)
                return;

        is_settled = xcalloc(n, sizeof(*is_settled));
        mark_sessions(o, v, n);
        mark_descendants(v, n, is_settled);
        if (mark_marked(o, v, n))
                mark_descendants(v, n, is_settled);
}
