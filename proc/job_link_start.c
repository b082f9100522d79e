/* SPDX-License-Identifier: Apache-2.0 */

/* How a keeper is started. It takes the place of the shim in an ordinary spawn, whose arguments and environment are
 * those of the job's program; so nothing has to be packed and unpacked. Its config waits in the socket before it is
 * born: should the agent die in the very next moment, the job runs all the same. */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/base/alloc.h"
#include "agent/base/fd.h"
#include "agent/base/str.h"
#include "proc/cgroup.h"
#include "proc/job_link_private.h"
#include "proc/tree.h"

#define LOG_MODULE "job"
#include "agent/base/log.h"

/* The lock goes over to the keeper with the descriptor. */
static int open_dir(const char *path, int *ret, struct error *err)
{
        CLEANUP(fd_close) int fd = -1;

        if (mkdir(path, 0700) < 0 && errno != EEXIST)
                return error_set(err, -errno, "make %s", path);
        fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0)
                return error_set(err, -errno, "open %s", path);
        if (flock(fd, LOCK_EX | LOCK_NB) < 0)
                return error_set(err, errno == EWOULDBLOCK ? -EBUSY : -errno, "lock %s", path);
        *ret = STEAL_FD(fd);
        return 0;
}

/* See job_link_private.h. */
void job_link_plan_limits(const struct job_host *h, const struct process_limits *asked,
                          unsigned controllers, struct process_limits_plan *ret)
{
        const struct process_limits allowed = { .max_memory = h->max_memory,
                                                .max_tasks = h->max_tasks };

        process_limits_plan(asked, &allowed, controllers, h->user, ret);
}

static int send_config(int fd, const struct job_host *h, const struct job_options *o,
                       const char *leaf, const struct process_limits_plan *plan, struct error *err)
{
        const struct credentials *user = h->user;
        struct keeper_config config = {
                .version = KEEPER_VERSION,
                .flags = (o->has_input ? KEEPER_HAS_INPUT : 0) |
                         (o->has_terminal ? KEEPER_HAS_TERMINAL : 0) |
                         (o->merge_stderr ? KEEPER_MERGES : 0) |
                         (o->has_rich ? KEEPER_HAS_RICH : 0),
                .timeout_ms = o->timeout_ms,
                .grace_ms = o->grace_ms,
                .capacity = o->log_capacity,
                .max_memory = plan->leaf.max_memory,
                .max_tasks = plan->leaf.max_tasks,
                .term_signal = (uint32_t)o->term_signal,
                .terminal_user = user ? user->uid : geteuid(),
                .columns = (uint16_t)o->size.columns,
                .rows = (uint16_t)o->size.rows,
                .rich_kib = (uint32_t)MIN((o->rich_max_size + KIB - 1) / KIB, (uint64_t)UINT32_MAX),
        };
        CLEANUP(mem_free)
        char *cpu_seconds = xasprintf("%llu", (unsigned long long)plan->own.cpu_seconds);
        struct iovec parts[4] = { { &config, sizeof(config) },
                                  { (void *)h->shim, strlen(h->shim) + 1 },
                                  { (void *)leaf, strlen(leaf) + 1 },
                                  { cpu_seconds, strlen(cpu_seconds) + 1 } };
        struct msghdr m = { .msg_iov = parts, .msg_iovlen = ARRAY_LEN(parts) };

        return sendmsg(fd, &m, MSG_NOSIGNAL) < 0 ? error_set(err, -errno, "configure a keeper") : 0;
}

/* Without one the job runs all the same, and its tree is found by walking. */
static char *leaf_path(const struct job_host *h, const char *id)
{
        struct error err = ERROR_INIT;
        char *path;

        if (!h->cgroup)
                return xstrdup("");
        if (cgroup_job_path(h->cgroup, id, &path, &err) == 0)
                return path;
        log_debug("no cgroup for a job", "id=%s error=%s", id, log_quote(err.message));
        return xstrdup("");
}

static int start_keeper(struct job_link *l, const struct job_options *o, const int fds[3],
                        const struct process_limits *limits, struct error *err)
{
        const struct job_host *h = l->host;
        CLEANUP(mem_free) char *marker = xasprintf(TREE_MARKER "=%s", l->id);
        char *const markers[] = { marker, NULL };
        CLEANUP(mem_free) char **envp = tree_mark(o->envp, markers);
        struct spawn_spec spec = {
                .shim = h->keeper,
                .argv = o->argv,
                .first = o->first,
                .envp = envp,
                .cwd = o->cwd,
                .fds = { fds[0], fds[1], fds[2] },
                .extra_fds = { -1 }, /* the keeper's own affair, but the shim has to leave it open */
                .n_extra = o->has_rich ? 1 : 0,
                .cgroup_fd = -1,
                .set_tty = o->has_terminal,
                .user = h->user,
                .limits = *limits,
                .max_files = h->max_files,
        };
        int status_fd, r;

        r = spawn(&spec, &l->keeper, &status_fd, err);
        if (r == 0)
                (void)fd_close(status_fd); /* the keeper reports by itself */
        return r;
}

static int start(struct job_link *l, const struct job_options *o, struct error *err)
{
        CLEANUP(fd_close) int dir_fd = -1;
        CLEANUP(fd_close) int ours = -1;
        CLEANUP(fd_close) int theirs = -1;
        CLEANUP(mem_free) char *leaf = NULL;
        struct process_limits_plan plan;
        int pair[2], r;

        r = open_dir(o->dir, &dir_fd, err);
        if (r < 0)
                return r;
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
                return error_set(err, -errno, "socket to a keeper");
        ours = pair[0];
        theirs = pair[1];
        leaf = leaf_path(l->host, l->id);
        job_link_plan_limits(l->host, &o->limits, *leaf ? cgroup_controllers(l->host->cgroup) : 0,
                             &plan);
        r = send_config(ours, l->host, o, leaf, &plan, err);
        if (r == 0)
                r = start_keeper(l, o, (int[]){ o->input_fd, theirs, dir_fd }, &plan.own, err);
        if (r < 0)
                return r;
        /* Out of watches: the job runs, so this is like a connection that broke. */
        if (fd_set_nonblock(ours, true) < 0 || job_link_listen(l, STEAL_FD(ours)) < 0)
                job_link_retry(l);
        return 0;
}

/* See the header. */
int job_link_start(const struct job_host *h, const struct job_options *o,
                   const struct job_callbacks *callbacks, void *arg, struct job_link **ret,
                   struct error *err)
{
        struct job_link *l;
        int r;

        if (o->has_terminal && (o->size.columns < 1 || o->size.columns > PTY_MAX_SIZE ||
                                o->size.rows < 1 || o->size.rows > PTY_MAX_SIZE))
                return error_set(err, -EINVAL, "size of a terminal");
        r = job_link_new(h, o->dir, o->id, callbacks, arg, &l, err);
        if (r < 0)
                return r;
        l->has_terminal = o->has_terminal;
        l->is_input_closed = !o->has_input && !o->has_terminal;
        l->has_credit = true;
        r = start(l, o, err);
        if (r < 0) {
                job_link_free(l);
                return r;
        }
        log_debug("job started", "id=%s keeper=%d", l->id, (int)l->keeper);
        *ret = l;
        return 0;
}

/* See the header. */
enum job_state job_link_state(const struct job_link *l)
{
        return l->state;
}

/* See the header. */
pid_t job_link_pid(const struct job_link *l)
{
        return l->leader;
}

/* See the header. */
pid_t job_link_keeper_pid(const struct job_link *l)
{
        return l->keeper;
}

/* See the header. */
bool job_link_has_terminal(const struct job_link *l)
{
        return l->has_terminal;
}

/* See the header. */
bool job_link_is_lingering(const struct job_link *l)
{
        return l->state == JOB_ENDED && l->fd >= 0 && l->lingers;
}

/* See the header. */
const uint64_t *job_link_totals(const struct job_link *l)
{
        return l->totals;
}

/* See the header. */
const struct job_status *job_link_status(const struct job_link *l)
{
        return &l->status;
}
