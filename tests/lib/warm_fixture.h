/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A supervisor with pools of waiting processes on it, for tests of warm starts.
 *
 *     POOLED(test_something)   with cgroups, and without
 *     ONCE(test_something) */

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/base/fd.h"
#include "agent/base/path.h"
#include "proc/process_private.h"
#include "proc/warm_private.h"
#include "tests/lib/supervisor_fixture.h"

/* No wrapper scripts of version managers. */
#define TEST_PATH "/usr/local/bin:/usr/bin:/bin"

/* server.py of those that misbehave; what they do follows. */
#define PREAMBLE                                                               \
        "import socket, sys, time\n"                                           \
        "s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, fileno=0)\n" \
        "ready = lambda: s.send(b'ready\\0/nonexistent/dir\\0')\n"             \
        "ask = lambda: s.recv(100) or sys.exit(0)\n"                           \
        "forever = lambda: [ask() for _ in iter(int, 1)]\n"

struct pools {
        struct fixture *f;
        struct warm *warm;
        struct warm_options options;
        char dir[32];
        int is_closed;
};

/* One that wants to be started. */
struct wish {
        struct warm_request request;
        struct warm_child *child;
        unsigned n_answers;
};

static inline int pools_setup(void **state, bool use_cgroups)
{
        struct pools *p = xnew(struct pools);
        void *fixture;

        fixture_setup(&fixture, use_cgroups);
        p->f = fixture;
        assert_int_equal(setenv("PATH", TEST_PATH, 1), 0);
        assert_int_equal(unsetenv("PYTHONPATH"), 0);
        (void)snprintf(p->dir, sizeof(p->dir), "/tmp/warm.XXXXXX");
        assert_non_null(mkdtemp(p->dir));
        p->options = (struct warm_options){
                .is_enabled = true,
                .driver_dir = getenv("AGENT_DRIVERS"),
                .max_python = 2,
                .preload = "none",
                .idle_ms = 600000,
        };
        *state = p;
        return 0;
}

static inline int pools_setup_cgroup(void **state)
{
        return pools_setup(state, true);
}

static inline int pools_setup_walk(void **state)
{
        return pools_setup(state, false);
}

static inline void on_closed(void *arg)
{
        ((struct pools *)arg)->is_closed = 1;
}

static inline int is_closed(void *arg)
{
        return ((struct pools *)arg)->is_closed;
}

static inline int pools_teardown(void **state)
{
        struct pools *p = *state;
        void *fixture = p->f;

        if (p->warm) {
                p->f->is_closed = 0;
                supervisor_close(p->f->supervisor, fixture_on_closed_, p->f);
                warm_close(p->warm, on_closed, p);
                assert_true(loop_run_until(p->f->loop, is_closed, p, HANG_MS));
                assert_true(loop_run_until(p->f->loop, fixture_is_closed_, p->f, HANG_MS));
                p->f->supervisor = NULL;
        }
        assert_int_equal(path_remove_tree(p->dir), 0);
        fixture_teardown(&fixture);
        free(p);
        return 0;
}

static inline struct warm_pool *begin(struct pools *p)
{
        p->warm = warm_new(p->f->loop, p->f->supervisor, &p->options);
        return &p->warm->pools[POOL_PYTHON];
}

/* Pools whose server does what @text says. */
static inline struct warm_pool *begin_with(struct pools *p, const char *text)
{
        CLEANUP(mem_free) char *dir = xasprintf("%s/python", p->dir);
        CLEANUP(mem_free) char *path = xasprintf("%s/server.py", dir);
        CLEANUP(fd_close) int fd = -1;

        assert_int_equal(mkdir(dir, 0755), 0);
        fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
        assert_int_equal(fd_write_all(fd, PREAMBLE, strlen(PREAMBLE)), 0);
        assert_int_equal(fd_write_all(fd, text, strlen(text)), 0);
        p->options.driver_dir = p->dir;
        p->options.at_boot = true;
        return begin(p);
}

static inline void on_answer(struct warm_request *q, struct warm_child *child)
{
        struct wish *wish = container_of(q, struct wish, request);

        wish->child = child;
        wish->n_answers++;
}

/* The pool's environment, as an execution would have it. */
static inline int take_fitting(struct pools *p, struct wish *w, char ***ret_envp)
{
        char **envp = NULL;

        for (char **e = p->warm->pools[POOL_PYTHON].envp; e && *e; e++)
                envp = strv_append(envp, xstrdup(*e));
        envp = strv_append(envp, xstrdup("PYTHONPATH=/tmp"));
        *w = (struct wish){ .n_answers = 0 };
        w->request = (struct warm_request){
                .language = LANGUAGE_PYTHON,
                .code = "",
                .script = "/nonexistent/main.py",
                .cwd = "/tmp",
                .envp = envp,
                .done = on_answer,
        };
        *ret_envp = envp;
        return warm_take(p->warm, &w->request, &w->child);
}

static inline int is_answered(void *arg)
{
        return ((struct wish *)arg)->n_answers > 0;
}

static inline int is_ready(void *arg)
{
        return ((struct warm_pool *)arg)->n_children[CHILD_READY] > 0;
}

static inline int has_server(void *arg)
{
        const struct warm_pool *pool = arg;

        return pool->server && pool->server->is_ready;
}

/* Its server may have failed already. */
static inline int has_begun(void *arg)
{
        return has_server(arg) || ((struct warm_pool *)arg)->restarts > 0;
}

static inline int is_given_up(void *arg)
{
        return ((struct warm_pool *)arg)->is_given_up;
}

static inline int has_restarted(void *arg)
{
        return ((struct warm_pool *)arg)->restarts > 0;
}

#define WAIT(p, condition, arg)                                             \
        do {                                                                \
                if (!loop_run_until((p)->f->loop, condition, arg, HANG_MS)) \
                        fail_msg("not in time: %s", #condition);            \
        } while (0)

#define POOLED(test)                                                           \
        { #test " (cgroup)", test, pools_setup_cgroup, pools_teardown, NULL }, \
        {                                                                      \
#test " (walk)", test, pools_setup_walk, pools_teardown, NULL  \
        }
#define ONCE(test) cmocka_unit_test_setup_teardown(test, pools_setup_walk, pools_teardown)
