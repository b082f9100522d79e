/* SPDX-License-Identifier: Apache-2.0 */

/* A fork server: python/server.py. What it says is checked, because code that runs as the same user can do to it what
 * it wants: the worst that comes of a lie is that a pool is given up, or that an execution runs in a process that was
 * that user's anyway.
 *
 * The object lives until the process has been reaped and the handle is closed, whatever the pool does meanwhile. */

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent/base/alloc.h"
#include "agent/base/clock.h"
#include "agent/base/fd.h"
#include "agent/base/str.h"
#include "proc/process_private.h"
#include "proc/warm_private.h"

#define LOG_MODULE "warm"
#include "agent/base/log.h"

/* The longest message of a server, its list of directories; a socket's buffer takes no longer one. */
#define MESSAGE_SIZE (256 * KIB)
/* What it exits with when it cannot work on this machine. */
#define EXIT_CANNOT 3
/* As long as any id, and nobody's: the server overwrites it in its children. */
#define NO_ID "exec_000000000000000000000000"

enum { OWED_DEATH = 1 << 0, OWED_HANDLE = 1 << 1 };

/* --- its end --- */

static void on_gone(struct gate *g)
{
        struct warm_server *s = container_of(g, struct warm_server, gate);
        struct warm *w = s->warm;

        (void)fd_close(s->status_fd);
        free(s);
        warm_unlive(w);
}

static void on_control_closed(uv_handle_t *h)
{
        struct warm_server *s = container_of((uv_poll_t *)h, struct warm_server, control);

        gate_done(&s->gate, OWED_HANDLE);
}

/* See the header. */
void warm_server_end(struct warm_pool *pool)
{
        struct warm_server *s = STEAL(pool->server);

        if (!s)
                return;
        s->pool = NULL;
        (void)uv_poll_stop(&s->control);
        uv_close((uv_handle_t *)&s->control, on_control_closed);
        s->control_fd = fd_close(s->control_fd);
        if (gate_is_pending(&s->gate, OWED_DEATH)) {
                /* Its group: children of its that have no session of their own yet. */
                (void)kill(-s->ward.pid, SIGKILL);
                (void)kill(s->ward.pid, SIGKILL);
        }
}

static void on_death(struct supervisor_ward *ward, int status)
{
        struct warm_server *s = container_of(ward, struct warm_server, ward);
        struct warm_pool *pool = s->pool;
        bool cannot = WIFEXITED(status) && WEXITSTATUS(status) == EXIT_CANNOT;

        gate_done(&s->gate, OWED_DEATH); /* may free it when the pool has let go */
        if (!pool)
                return;
        if (cannot)
                warm_pool_give_up(pool, "it cannot work on this machine");
        else
                warm_pool_failed(pool, "it died");
}

/* --- what it says --- */

/* The next string of a message, or NULL. */
static const char *next_string(const char **at, const char *end)
{
        const char *s = *at, *nul = s < end ? memchr(s, '\0', (size_t)(end - s)) : NULL;

        if (!nul)
                return NULL;
        *at = nul + 1;
        return s;
}

static struct warm_child *oldest_asked(struct warm_pool *pool)
{
        struct list *asked = &pool->children[CHILD_ASKED];

        return list_is_empty(asked) ? NULL : list_entry(asked->next, struct warm_child, link);
}

static void on_child(struct warm_pool *pool, const char *pid_text, const char *placed)
{
        struct warm_child *c = oldest_asked(pool);
        uint64_t pid;

        if (!c || !pid_text || !placed || str_parse_u64(pid_text, &pid) < 0 || pid > INT32_MAX) {
                warm_pool_failed(pool, "it answered nonsense");
                return;
        }
        c->since_ms = clock_now_ms();
        if (warm_child_born(c, (pid_t)pid) < 0) {
                warm_child_end(c); /* it died before we knew it, or never was */
                warm_pool_failed(pool, "its processes die at once");
        } else if (c->is_outdated) {
                warm_child_end(c);
                warm_pool_kick(pool, 0);
        } else if (c->leaf.fd >= 0 && !str_equal(placed, "1")) {
                warm_child_place(c);
        } else {
                warm_child_move(c, CHILD_READY);
                warm_pool_deliver(pool);
        }
}

static void on_message(struct warm_pool *pool, const char *message, size_t size)
{
        const char *at = message, *end = message + size;
        const char *what = next_string(&at, end);
        struct warm_child *c;

        if (str_equal(what, "child")) {
                const char *pid = next_string(&at, end);

                on_child(pool, pid, next_string(&at, end));
        } else if (str_equal(what, "failed") && (c = oldest_asked(pool)) != NULL) {
                log_debug("no process was forked", "pool=%s", warm_pool_names[pool->kind]);
                warm_child_end(c);
                warm_pool_pause(pool);
        } else if (str_equal(what, "ready") && !pool->server->is_ready && size > 0 &&
                   end[-1] == '\0') {
                pool->server->is_ready = true;
                warm_pool_on_ready(pool, at, (size_t)(end - at));
        } else {
                warm_pool_failed(pool, "it said something that nobody understands");
        }
}

static void on_control(uv_poll_t *h, int status, int events)
{
        struct warm_server *s = container_of(h, struct warm_server, control);
        CLEANUP(mem_free) char *message = try_alloc(MESSAGE_SIZE);
        struct warm_pool *pool = s->pool;
        ssize_t n = 0;

        (void)events;
        if (!message || status < 0) {
                warm_pool_failed(pool, "it cannot be listened to");
                return;
        }
        /* A failure lets go of it. */
        while (pool->server == s) {
                n = recv(s->control_fd, message, MESSAGE_SIZE, MSG_TRUNC);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        break;
                if (n > (ssize_t)MESSAGE_SIZE)
                        warm_pool_failed(pool, "it says too much at once");
                else
                        on_message(pool, message, (size_t)n);
        }
        /* At the end of its socket the server has died, and will be reaped. It may say more by its exit. */
        if (pool->server == s && (n == 0 || (n < 0 && errno != EAGAIN)))
                (void)uv_poll_stop(&s->control);
}

/* --- what we say --- */

/* See the header. */
int warm_server_ask(struct warm_server *s, struct error *err)
{
        union {
                struct cmsghdr header;
                char space[CMSG_SPACE((N_ENDS + 1) * sizeof(int))];
        } control = { .space = { 0 } };
        int fds[N_ENDS + 1];
        struct warm_child *c;
        struct iovec text;
        struct msghdr message = { .msg_iov = &text, .msg_iovlen = 1, .msg_control = &control };
        struct cmsghdr *header;
        size_t n = N_ENDS;
        int r;

        r = warm_child_new(s->pool, &c, fds, err);
        if (r < 0)
                return r;
        fds[N_ENDS] = c->leaf.fd;
        if (c->leaf.fd >= 0)
                n++;
        text = (struct iovec){ .iov_base = c->id, .iov_len = strlen(c->id) };
        message.msg_controllen = CMSG_SPACE(n * sizeof(int));
        header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(n * sizeof(int));
        memcpy(CMSG_DATA(header), fds, n * sizeof(int));
        if (sendmsg(s->control_fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
                r = error_set(err, -errno, "ask for a process");
        for (size_t i = 0; i < N_ENDS; i++)
                (void)fd_close(fds[i]);
        if (r < 0)
                warm_child_end(c);
        return r;
}

/* --- its start --- */

static int spawn_server(struct warm_pool *pool, struct warm_server *server, int control_fd,
                        struct error *err)
{
        struct warm *w = pool->warm;
        struct supervisor *s = w->supervisor;
        CLEANUP(mem_free) char *program = xasprintf("%s/python/server.py", w->options.driver_dir);
        CLEANUP(mem_free) char *preload = xasprintf("--preload=%s", w->options.preload);
        bool is_scientific = pool->kind == POOL_SCIENTIFIC;
        char *const markers[] = { (char *)(TREE_MARKER "=" NO_ID), s->instance, NULL };
        CLEANUP(mem_free) char **envp = tree_mark(pool->envp, markers);
        char *const argv[] = { (char *)"python3", program, is_scientific ? preload : NULL, NULL };
        const struct process_limits nothing = { 0 };
        struct process_limits_plan plan;
        struct spawn_spec spec = {
                .shim = s->options.shim,
                .argv = argv,
                .envp = envp,
                .cwd = "/",
                .fds = { control_fd, -1, -1 },
                .cgroup_fd = -1,
                .user = supervisor_other_user(s),
                .max_files = s->options.max_files,
        };
        pid_t pid;
        int r;

        if (access(program, R_OK) < 0)
                return error_set(err, -errno, "%s", program);
        supervisor_plan_limits(s, &nothing, &plan);
        spec.limits = plan.own; /* its children inherit them */
        r = spawn(&spec, &pid, &server->status_fd, err);
        if (r < 0)
                return r;
        server->ward.pid = pid;
        server->ward.on_death = on_death;
        r = supervisor_guard(s, &server->ward);
        return r < 0 ? error_set(err, r, "guard a fork server") : 0;
}

static int start(struct warm_pool *pool, struct warm_server *server, struct error *err)
{
        int pair[2];
        int r;

        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
                return error_set(err, -errno, "control socket");
        server->control_fd = pair[0];
        r = uv_poll_init(&pool->warm->loop->uv, &server->control, pair[0]);
        if (r < 0) {
                (void)fd_close(pair[0]);
                (void)fd_close(pair[1]);
                return error_set(err, r, "watch a control socket");
        }
        /* From here on it goes by its gate. */
        pool->server = server;
        pool->warm->n_live++;
        gate_expect(&server->gate, OWED_HANDLE);
        r = spawn_server(pool, server, pair[1], err);
        (void)fd_close(pair[1]);
        if (r == 0) {
                gate_expect(&server->gate, OWED_DEATH);
                r = uv_poll_start(&server->control, UV_READABLE, on_control);
        }
        if (r < 0)
                warm_server_end(pool);
        return r;
}

/* See the header. */
int warm_server_start(struct warm_pool *pool, struct error *err)
{
        struct warm_server *server = xnew(struct warm_server);
        int r;

        server->pool = pool;
        server->warm = pool->warm;
        server->status_fd = server->control_fd = -1;
        list_init(&server->ward.link);
        gate_init(&server->gate, on_gone);
        server->started_ms = clock_now_ms();
        (void)clock_gettime(CLOCK_REALTIME, &server->started);
        r = start(pool, server, err);
        if (r < 0 && !gate_is_pending(&server->gate, OWED_HANDLE))
                free(server);
        return r;
}
