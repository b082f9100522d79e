/* SPDX-License-Identifier: Apache-2.0 */

/* Children of ours that are no executions. Some outlive us: the keepers of background jobs, which are spared. Others
 * wait to become executions, or make such: those are guarded, and end with us.
 *
 * Both must be known by their numbers, because any other child that is no leader is an orphan of some execution. A fork
 * server's children are ours from their birth, but are known only when it has answered: until then they look like
 * orphans, which costs a look at /proc and nothing else. If one dies before, it is reaped as an orphan, and its number
 * is nobody's when it is to be guarded. */

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/base/alloc.h"
#include "agent/base/fd.h"
#include "proc/process_private.h"

/* A child that outlives us. */
struct spared {
        struct list link; /* supervisor->spared[…] */
        pid_t pid;
};

/* Their lists. */
void supervisor_wards_init(struct supervisor *s)
{
        for (size_t i = 0; i < N_PID_BUCKETS; i++) {
                list_init(&s->spared[i]);
                list_init(&s->wards[i]);
        }
}

/* Those who are guarded are their owners'. */
void supervisor_wards_free(struct supervisor *s)
{
        for (size_t i = 0; i < N_PID_BUCKETS; i++)
                list_for_each_safe(item, &s->spared[i])
                        free(list_entry(item, struct spared, link));
}

static struct spared *find_spared(struct supervisor *s, pid_t pid)
{
        struct list *bucket = &s->spared[(unsigned)pid % N_PID_BUCKETS];

        list_for_each(item, bucket) {
                struct spared *sp = list_entry(item, struct spared, link);

                if (sp->pid == pid)
                        return sp;
        }
        return NULL;
}

static struct supervisor_ward *find_ward(struct supervisor *s, pid_t pid)
{
        struct list *bucket = &s->wards[(unsigned)pid % N_PID_BUCKETS];

        list_for_each(item, bucket) {
                struct supervisor_ward *w = list_entry(item, struct supervisor_ward, link);

                if (w->pid == pid)
                        return w;
        }
        return NULL;
}

static bool is_known(struct supervisor *s, pid_t pid)
{
        return supervisor_find_leader(s, pid) || find_spared(s, pid) || find_ward(s, pid);
}

/* See supervisor.h. */
void supervisor_spare(struct supervisor *s, pid_t pid)
{
        struct spared *sp;

        assert(pid > 1);
        if (find_spared(s, pid))
                return;
        sp = xnew(struct spared);
        sp->pid = pid;
        list_append(&s->spared[(unsigned)pid % N_PID_BUCKETS], &sp->link);
        s->n_spared++;
}

/* See supervisor.h. */
int supervisor_guard(struct supervisor *s, struct supervisor_ward *w)
{
        siginfo_t info;

        list_init(&w->link);
        if (w->pid <= 1 || is_known(s, w->pid) ||
            waitid(P_PID, (id_t)w->pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0)
                return -ECHILD;
        list_append(&s->wards[(unsigned)w->pid % N_PID_BUCKETS], &w->link);
        s->n_wards++;
        return 0;
}

/* See supervisor.h. */
void supervisor_release(struct supervisor *s, struct supervisor_ward *w)
{
        if (list_is_empty(&w->link))
                return;
        list_remove(&w->link);
        s->n_wards--;
}

/* See the header. */
bool supervisor_ward_died(struct supervisor *s, pid_t pid, int status)
{
        struct supervisor_ward *w = find_ward(s, pid);
        struct spared *sp = w ? NULL : find_spared(s, pid);

        if (w) {
                supervisor_release(s, w);
                w->on_death(w, status);
        } else if (sp) {
                list_remove(&sp->link);
                free(sp);
                s->n_spared--;
        }
        return w || sp;
}

/* See the header. The kernel lists the children of the thread group's first thread, which is the one that inherits
 * orphans. */
bool supervisor_has_orphans(struct supervisor *s)
{
        char path[64];
        CLEANUP(fd_close) int fd = -1;
        char *text = s->list_buffer;
        char *end;
        ssize_t n;

        (void)snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
        fd = open(path, O_RDONLY | O_CLOEXEC);
        n = fd < 0 ? -1 : read(fd, text, READ_SIZE - 1);
        if (n < 0 || n == (ssize_t)READ_SIZE - 1)
                return true; /* as far as we can tell */
        text[n] = '\0';
        for (; *text; text = end + strspn(end, " ")) {
                long pid = strtol(text, &end, 10);

                if (end == text || !is_known(s, (pid_t)pid))
                        return true;
        }
        return false;
}

/* See the header. */
void supervisor_wards_spare_from_sweep(struct supervisor *s)
{
        s->sweep_spared = xcalloc(s->n_spared + 1, sizeof(*s->sweep_spared));
        for (size_t i = 0; i < N_PID_BUCKETS; i++)
                list_for_each(item, &s->spared[i])
                        s->sweep_spared[s->n_sweep_spared++] =
                                list_entry(item, struct spared, link)->pid;
}
