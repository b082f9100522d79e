/* SPDX-License-Identifier: Apache-2.0 */

/* What the program started, and how it is ended. As the keeper is a subreaper, nothing can leave it: whoever loses its
 * parent becomes the keeper's child. So the tree is all descendants of the keeper, with or without a cgroup.
 *
 * With a leaf, SIGKILL is one write that nobody outruns. Without one it goes in rounds over /proc: who is found is
 * stopped first, so that it can fork no more; when a round finds nobody new, all are killed, and so on until wait4 says
 * that there are no children. The same rounds find who has left the leaf. */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include "proc/keeper_private.h"

#define ANSWER_US      UINT64_C(1000000)
#define LEAF_US        UINT64_C(20000)
#define STRIKE_US      UINT64_C(1000)
#define SLOW_STRIKE_US UINT64_C(200000)
#define N_FAST_STRIKES 100
#define STRIKES_PER_KILL \
        4 /* one that cannot be stopped (it hangs in the kernel) does not save the others */

/* More processes than a sandbox has; who is not seen in one round is seen in a later one. */
#define MAX_PROCESSES 32768

struct member {
        pid_t pid;
        pid_t parent;
        char state;
        bool is_member;
};

static struct member processes[MAX_PROCESSES];

static bool read_process(const char *name, struct member *ret)
{
        char path[32], text[512];
        struct text t = TEXT_IN(path);
        const char *s;

        text_add(&t, "/proc/");
        text_add(&t, name);
        text_add(&t, "/stat");
        if (keeper_read_file(AT_FDCWD, path, text, sizeof(text)) <= 0)
                return false;
        s = text_behind_name(text);
        if (!s)
                return false;
        *ret = (struct member){ .pid = (pid_t)text_number(name, NULL),
                                .parent = (pid_t)text_number(s + 1, NULL),
                                .state = *s };
        return true;
}

static size_t read_processes(void)
{
        static char entries[8192] __attribute__((aligned(8)));
        long fd = kernel(SYS_openat, AT_FDCWD, "/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        size_t n = 0;
        long size;

        while (fd >= 0 && (size = kernel(SYS_getdents64, fd, entries, sizeof(entries))) > 0)
                for (long at = 0; at < size && n < MAX_PROCESSES;) {
                        struct directory_entry *e = (struct directory_entry *)(entries + at);

                        at += e->size;
                        if (e->name[0] >= '1' && e->name[0] <= '9' &&
                            read_process(e->name, &processes[n]))
                                n++;
                }
        (void)keeper_close((int)fd);
        return n;
}

/* /proc lists them in ascending order. */
static const struct member *find(size_t n, pid_t pid)
{
        size_t low = 0, high = n;

        while (low < high) {
                size_t middle = low + (high - low) / 2;

                if (processes[middle].pid == pid)
                        return &processes[middle];
                if (processes[middle].pid < pid)
                        low = middle + 1;
                else
                        high = middle;
        }
        return NULL;
}

/* Marks our descendants among the @n processes that it returns. */
static size_t find_members(void)
{
        pid_t self = (pid_t)kernel(SYS_getpid);
        size_t n = read_processes();
        bool has_changed = true;

        while (has_changed) {
                has_changed = false;
                for (size_t i = 0; i < n; i++) {
                        struct member *m = &processes[i];
                        const struct member *parent;

                        if (m->is_member || m->pid == self)
                                continue;
                        parent = m->parent == self ? NULL : find(n, m->parent);
                        if (m->parent == self || (parent && parent->is_member))
                                m->is_member = has_changed = true;
                }
        }
        return n;
}

static bool is_dead(const struct member *m)
{
        return m->state == 'Z' || m->state == 'X';
}

static bool is_stopped(const struct member *m)
{
        return m->state == 'T' || m->state == 't';
}

static void send(pid_t pid, int sig)
{
        if (pid > 1)
                (void)kernel(SYS_kill, pid, sig);
}

/* Also wakes who is stopped, and would not notice. */
static void terminate(int sig)
{
        size_t n = find_members();

        for (size_t i = 0; i < n; i++)
                if (processes[i].is_member && !is_dead(&processes[i])) {
                        send(processes[i].pid, sig);
                        send(processes[i].pid, SIGCONT);
                }
}

/* See the header. */
void keeper_strike(struct keeper *k)
{
        size_t n = find_members();
        bool has_new = false;

        for (size_t i = 0; i < n; i++)
                if (processes[i].is_member && !is_dead(&processes[i]) &&
                    !is_stopped(&processes[i])) {
                        send(processes[i].pid, SIGSTOP);
                        has_new = true;
                }
        k->n_strikes++;
        if (!has_new || k->n_strikes % STRIKES_PER_KILL == 0)
                for (size_t i = 0; i < n; i++)
                        if (processes[i].is_member && !is_dead(&processes[i]))
                                send(processes[i].pid, SIGKILL);
        k->strike_us = keeper_now_us() +
                       (k->n_strikes < N_FAST_STRIKES ? STRIKE_US : SLOW_STRIKE_US);
}

/* See the header. */
void keeper_kill_now(struct keeper *k, enum keeper_reason reason)
{
        uint64_t now = keeper_now_us();

        if (k->kill_state == KILL_KILL)
                return;
        if (k->leader_lives && !k->kill_reason)
                k->kill_reason = reason;
        k->kill_state = KILL_KILL;
        k->answer_us = now + ANSWER_US;
        if (k->leaf_fd >= 0 && keeper_write_file(k->leaf_fd, "cgroup.kill", "1") > 0)
                k->strike_us = now + LEAF_US;
        else if (k->has_children)
                keeper_strike(k);
}

/* See the header. */
void keeper_kill(struct keeper *k, enum keeper_reason reason, uint64_t grace_ms)
{
        uint64_t kill_us = keeper_now_us() + grace_ms * 1000;

        if (k->kill_state == KILL_KILL || !k->has_children)
                return;
        if (grace_ms == 0) {
                keeper_kill_now(k, reason);
                return;
        }
        if (k->kill_state == KILL_TERM) { /* again: whoever is in more of a hurry */
                k->kill_us = MIN(k->kill_us, kill_us);
                return;
        }
        if (k->leader_lives)
                k->kill_reason = reason;
        k->kill_state = KILL_TERM;
        k->was_termed = true;
        k->kill_us = kill_us;
        terminate(k->config.term_signal ? (int)k->config.term_signal : SIGTERM);
}

/* See the header. */
void keeper_signal(struct keeper *k, int sig)
{
        pid_t group = 0;

        if (!k->leader_lives || sig < 1 || sig > 64)
                return;
        if (k->config.flags & KEEPER_HAS_TERMINAL && k->input.fd >= 0 &&
            kernel(SYS_ioctl, k->input.fd, TIOCGPGRP, &group) == 0 && group > 1) {
                long session = kernel(SYS_getsid, group);

                /* The group's number outlives it: it could be a stranger's by now. getsid fails when its first
                 * process has died: then the others hold the number. */
                if ((session < 0 || session == k->leader) && kernel(SYS_kill, -group, sig) == 0)
                        return;
        }
        if (kernel(SYS_kill, -k->leader, sig) < 0)
                (void)kernel(SYS_kill, k->leader,
                             sig); /* no such group until the shim has made it */
}
