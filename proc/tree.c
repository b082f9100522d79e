/* SPDX-License-Identifier: Apache-2.0 */

/* Who belongs to an execution? Any of these makes a process a member:
 *
 *  - it is the leader, or its parent is a member (a member once seen stays one, so a chain survives the death
 *    of its first links within one call);
 *  - it is in the session that the leader, or another member, began;
 *  - its environment carries the execution's marker. This finds daemons: they leave session and parent, but
 *    keep what they inherited.
 *
 * What wipes its environment and forks twice between two looks escapes; the agent is a subreaper, so even that
 * becomes its child, and when the agent ends, all its descendants are the target. All but the keepers of background
 * jobs, and what descends from them: they are known by their numbers, which are theirs until the agent reaps them, and
 * not by what they run, which anybody can run.
 *
 * What an agent that was killed has left is found by a marker that all its executions have in common. The next agent
 * has the same one, so it looks before it starts anything.
 *
 * Killing goes in rounds. A member is stopped when it is found, so that it can fork no more, until a round finds
 * nobody new; then all are killed. Whoever was born in between is found by the next round. Signals go to numbers
 * that were looked at a few milliseconds before, and the kernel gives out numbers in a circle of at least 32768:
 * one does not change hands so soon. Between rounds the time of birth tells a process from its successor. */

#include "proc/tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "agent/base/alloc.h"
#include "agent/base/fd.h"
#include "agent/base/str.h"

#define MAX_ROUNDS   200
#define PAUSE_NS     500000
#define ENVIRON_SIZE (2 * MIB) /* more than the kernel lets an environment be by default */

struct entry {
        pid_t pid;
        pid_t parent;
        pid_t session;
        uint64_t born;
        char state;
        bool is_member;
        bool is_stopped; /* by us */
};

struct snapshot {
        struct entry *entries;
        size_t n;
        size_t capacity;
};

/* One search: what was seen last, and what is seen now. */
struct walker {
        const struct tree_target *target;
        struct snapshot now;
        struct snapshot before;
        char *environ_buffer;
};

/* Field 1 pid, 2 (comm), 3 state, 4 ppid, 6 session, 22 starttime; comm may hold spaces and parentheses. */
static int read_stat(pid_t pid, struct entry *ret)
{
        char path[64], text[1024];
        CLEANUP(fd_close) int fd = -1;
        unsigned long long born;
        int parent, session;
        char state;
        ssize_t n;
        char *s;

        (void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        n = read(fd, text, sizeof(text) - 1);
        if (n <= 0)
                return -ESRCH;
        text[n] = '\0';
        s = strrchr(text, ')');
        if (!s ||
            sscanf(s + 1,
                   " %c %d %*d %d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
                   &state, &parent, &session, &born) != 4)
                return -EINVAL;

        *ret = (struct entry){
                .pid = pid, .parent = parent, .session = session, .born = born, .state = state
        };
        return 0;
}

static bool has_marker(pid_t pid, const struct tree_target *t, char *scratch)
{
        const char *name = t->kind == TREE_OF_INSTANCE ? TREE_INSTANCE : TREE_MARKER;
        char path[64], wanted[1 + sizeof(TREE_MARKER) + ID_SIZE];
        CLEANUP(fd_close) int fd = -1;
        size_t size = 0, wanted_size;
        ssize_t n = 1;

        (void)snprintf(path, sizeof(path), "/proc/%d/environ", (int)pid);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return false;
        /* A NUL in front, so that the first variable looks like all others. */
        scratch[size++] = '\0';
        while (n > 0 && size < ENVIRON_SIZE) {
                n = read(fd, scratch + size, ENVIRON_SIZE - size);
                size += n > 0 ? (size_t)n : 0;
        }
        wanted[0] = '\0';
        wanted_size = 1 +
                      (size_t)snprintf(wanted + 1, sizeof(wanted) - 1, "%s=%s", name, t->marker);
        return memmem(scratch, size, wanted, wanted_size + 1) != NULL; /* with the NUL at its end */
}

/* The entry of @pid, or NULL; readdir yields /proc in ascending order. */
static struct entry *find(const struct snapshot *s, pid_t pid)
{
        size_t low = 0, high = s->n;

        while (low < high) {
                size_t middle = low + (high - low) / 2;

                if (s->entries[middle].pid == pid)
                        return &s->entries[middle];
                if (s->entries[middle].pid < pid)
                        low = middle + 1;
                else
                        high = middle;
        }
        return NULL;
}

static void read_processes(struct snapshot *s)
{
        struct dirent *d;
        DIR *dir;

        s->n = 0;
        dir = opendir("/proc");
        while (dir && (d = readdir(dir)) != NULL) {
                uint64_t pid;

                if (str_parse_u64(d->d_name, &pid) < 0 || pid < 2 || pid > INT32_MAX)
                        continue;
                if (s->n == s->capacity) {
                        s->capacity = s->capacity ? 2 * s->capacity : 256;
                        s->entries = xrealloc_array(s->entries, s->capacity, sizeof(*s->entries));
                }
                if (read_stat((pid_t)pid, &s->entries[s->n]) == 0)
                        s->n++;
        }
        if (dir)
                closedir(dir);
}

static bool is_spared(const struct tree_target *t, pid_t pid)
{
        for (size_t i = 0; i < t->n_spared; i++)
                if (t->spared[i] == pid)
                        return true;
        return false;
}

static bool is_founder(const struct tree_target *t, const struct entry *e, bool has_session,
                       char *scratch)
{
        if (t->kind == TREE_OF_THIS_AGENT)
                return e->parent == getpid() && !is_spared(t, e->pid);
        if (t->kind == TREE_OF_INSTANCE)
                return has_marker(e->pid, t, scratch);
        if (e->pid == t->leader && !t->leader_is_gone)
                return true;
        if (has_session && e->session == t->leader)
                return true;
        return has_marker(e->pid, t, scratch);
}

/* Who has been seen before stays what they were: an environment is looked at once. */
static void judge(struct walker *w, struct entry *e, bool has_session)
{
        const struct entry *before = find(&w->before, e->pid);

        if (e->pid == getpid())
                return;
        if (before && before->born == e->born) {
                e->is_member = before->is_member;
                e->is_stopped = before->is_stopped;
        } else {
                e->is_member = is_founder(w->target, e, has_session, w->environ_buffer);
        }
}

static bool is_member(const struct snapshot *s, pid_t pid)
{
        const struct entry *e = find(s, pid);

        return e && e->is_member;
}

/* Children of members are members, and so is who is in a session that a member began, wherever its parent went; so on
 * until there is nobody new. */
static void add_descendants(struct snapshot *s)
{
        bool has_changed = true;

        while (has_changed) {
                has_changed = false;
                for (size_t i = 0; i < s->n; i++) {
                        struct entry *e = &s->entries[i];

                        if (!e->is_member && e->pid != getpid() &&
                            (is_member(s, e->parent) || is_member(s, e->session)))
                                e->is_member = has_changed = true;
                }
        }
}

static bool is_dead(const struct entry *e)
{
        return e->state == 'Z' || e->state == 'X';
}

/* Takes a new look at /proc. Returns how many living members there are. */
static unsigned look(struct walker *w)
{
        const struct tree_target *t = w->target;
        struct snapshot recycled = w->before;
        struct snapshot *s = &w->now;
        bool has_session;
        unsigned n = 0;

        w->before = w->now;
        w->now = recycled;
        read_processes(s);
        /* A number is not given away while it names a session: if the leader was reaped and somebody has its
         * number, then its session has ended. */
        has_session = t->kind == TREE_OF_LEADER && (!t->leader_is_gone || !find(s, t->leader));

        for (size_t i = 0; i < s->n; i++)
                judge(w, &s->entries[i], has_session);
        add_descendants(s);
        for (size_t i = 0; i < s->n; i++)
                n += s->entries[i].is_member && !is_dead(&s->entries[i]);
        return n;
}

static void walker_init(struct walker *w, const struct tree_target *t)
{
        *w = (struct walker){ .target = t, .environ_buffer = xcalloc(1, ENVIRON_SIZE) };
}

static void walker_done(struct walker *w)
{
        free(w->now.entries);
        free(w->before.entries);
        free(w->environ_buffer);
}

/* See the header. */
char **tree_mark(char *const *envp, char *const *markers)
{
        size_t n = 0, n_markers = strv_len(markers);
        char **v = xcalloc(n_markers + strv_len(envp) + 1, sizeof(*v));

        for (; n < n_markers; n++)
                v[n] = markers[n];
        for (; envp && *envp; envp++)
                if (!str_has_prefix(*envp, TREE_MARKER "=") &&
                    !str_has_prefix(*envp, TREE_INSTANCE "="))
                        v[n++] = *envp;
        return v;
}

/* See the header. */
unsigned tree_count(const struct tree_target *t)
{
        struct walker w;
        unsigned n;

        walker_init(&w, t);
        n = look(&w);
        walker_done(&w);
        return n;
}

/* See the header. */
void tree_signal(const struct tree_target *t, int sig)
{
        struct walker w;

        walker_init(&w, t);
        (void)look(&w);
        for (size_t i = 0; i < w.now.n; i++)
                if (w.now.entries[i].is_member) {
                        (void)kill(w.now.entries[i].pid, sig);
                        (void)kill(w.now.entries[i].pid, SIGCONT);
                }
        walker_done(&w);
}

/* Stops who is new, or, when nobody is, kills all. */
static void strike(struct snapshot *s)
{
        bool has_new = false;

        for (size_t i = 0; i < s->n; i++) {
                struct entry *e = &s->entries[i];

                if (!e->is_member || e->is_stopped || is_dead(e))
                        continue;
                (void)kill(e->pid, SIGSTOP);
                e->is_stopped = has_new = true;
        }
        for (size_t i = 0; i < s->n && !has_new; i++)
                if (s->entries[i].is_member && !is_dead(&s->entries[i]))
                        (void)kill(s->entries[i].pid, SIGKILL);
}

/* See the header. */
unsigned tree_kill(const struct tree_target *t)
{
        const struct timespec pause = { .tv_nsec = PAUSE_NS };
        struct walker w;
        unsigned n = 0;

        walker_init(&w, t);
        for (unsigned round = 0; round < MAX_ROUNDS; round++) {
                n = look(&w);
                if (n == 0)
                        break;
                strike(&w.now);
                (void)nanosleep(&pause, NULL); /* a worker thread: the dying need the processor */
        }
        walker_done(&w);
        return n;
}
