/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A loop with a supervisor on it, for tests that run real children through the real shim (AGENT_SHIM). Each
 * test runs twice: with cgroups, where this machine has them, and by walking /proc.
 *
 *     SUPERVISED(test_something)
 *
 * The teardown closes the supervisor and proves that neither children nor handles are left. */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "agent/base/alloc.h"
#include "agent/base/buf.h"
#include "agent/base/str.h"
#include "proc/process.h"
#include "proc/supervisor.h"
#include "proc/tree.h"
#include "tests/lib/loop_fixture.h"

/* Only so that a hanging test ends; nothing is measured with it. */
#define HANG_MS 20000

struct fixture {
        void *loop_state;
        struct loop *loop;
        struct supervisor *supervisor;
        struct supervisor_options options;
        int is_closed;
};

/* One execution and what became of it. */
struct run {
        struct process *process; /* a reference */
        struct process_result result;
        unsigned n_ends;
        char *output;
        char *errors;
};

static inline void fixture_new_supervisor(struct fixture *f)
{
        struct error err = ERROR_INIT;

        if (supervisor_new(f->loop, &f->options, &f->supervisor, &err) < 0)
                fail_msg("%s", err.message);
}

static inline int fixture_setup(void **state, bool use_cgroups)
{
        struct fixture *f = xnew(struct fixture);

        assert_non_null(getenv("AGENT_SHIM"));
        loop_setup(&f->loop_state);
        f->loop = f->loop_state;
        f->options = (struct supervisor_options){
                .shim = getenv("AGENT_SHIM"),
                .runtime_dir = "/tmp",
                .use_cgroups = use_cgroups,
                .max_processes = 100,
                .max_output = 1 * MIB,
                .max_output_total = 64 * MIB,
                .max_discard = 256 * MIB,
                .rich_max_size = 1 * MIB,
                .rich_max_count = 100,
                .keep_tail = true,
        };
        fixture_new_supervisor(f);
        *state = f;
        return 0;
}

static inline int fixture_setup_cgroup(void **state)
{
        return fixture_setup(state, true);
}

static inline int fixture_setup_walk(void **state)
{
        return fixture_setup(state, false);
}

static inline void fixture_on_closed_(void *arg)
{
        ((struct fixture *)arg)->is_closed = 1;
}

static inline int fixture_is_closed_(void *arg)
{
        return ((struct fixture *)arg)->is_closed;
}

static inline void fixture_close_supervisor(struct fixture *f)
{
        f->is_closed = 0;
        supervisor_close(f->supervisor, fixture_on_closed_, f);
        assert_true(loop_run_until(f->loop, fixture_is_closed_, f, HANG_MS));
        f->supervisor = NULL;
        assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
        assert_int_equal(errno, ECHILD);
}

static inline int fixture_teardown(void **state)
{
        struct fixture *f = *state;

        if (f->supervisor)
                fixture_close_supervisor(f);
        loop_teardown(&f->loop_state);
        free(f);
        return 0;
}

#define SUPERVISED(test)                                                           \
        { #test " (cgroup)", test, fixture_setup_cgroup, fixture_teardown, NULL }, \
        {                                                                          \
#test " (walk)", test, fixture_setup_walk, fixture_teardown, NULL  \
        }

static inline char *fixture_text_(struct output *o)
{
        struct output_slices s;
        struct buf b;

        buf_init(&b, 0);
        output_slices(o, &s);
        for (unsigned i = 0; i < s.n; i++)
                assert_int_equal(buf_append(&b, s.slice[i].data, s.slice[i].size), 0);
        return b.size ? buf_steal(&b, NULL) : xstrdup("");
}

static inline void run_on_end(struct process *p, void *arg)
{
        struct run *r = arg;

        assert_true(process_has_ended(p));
        assert_null(r->process);
        r->process = process_ref(p);
        r->result = *process_result(p);
        r->output = fixture_text_(process_stdout(p));
        r->errors = fixture_text_(process_stderr(p));
        r->n_ends++;
}

static inline void run_done(struct run *r)
{
        process_unref(r->process);
        free(r->output);
        free(r->errors);
        *r = (struct run){ 0 };
}

static inline int run_has_ended(void *arg)
{
        return ((struct run *)arg)->n_ends > 0;
}

static char *const fixture_environment[] = {
        (char *)"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", NULL
};

/* Starts what @o says, with the fixture's defaults for what it leaves out. */
static inline struct process *run_start(struct fixture *f, struct run *r, struct process_options o)
{
        struct error err = ERROR_INIT;
        struct process *p = NULL;

        *r = (struct run){ 0 };
        o.envp = o.envp ? o.envp : fixture_environment;
        o.cwd = o.cwd ? o.cwd : "/";
        o.on_end = run_on_end;
        o.arg = r;
        if (supervisor_start(f->supervisor, &o, &p, &err) != 0)
                fail_msg("%s", err.message);
        assert_int_equal(r->n_ends, 0);
        return p;
}

static inline void run_wait(struct fixture *f, struct run *r)
{
        if (!loop_run_until(f->loop, run_has_ended, r, HANG_MS))
                fail_msg("hangs");
}

/* The argv of a shell script, for process_options. */
#define SCRIPT(text) ((char *[]){ (char *)"/bin/bash", (char *)"-c", (char *)(text), NULL })

/* Runs a script to its end, without a deadline. */
static inline void run_script(struct fixture *f, struct run *r, const char *script)
{
        (void)run_start(f, r, (struct process_options){ .argv = SCRIPT(script), .input_fd = -1 });
        run_wait(f, r);
}

/* How much of the execution is alive, asked of /proc: independent of how the supervisor tracks it. */
static inline unsigned run_count_survivors(const struct run *r)
{
        struct tree_target t = { .leader = process_pid(r->process), .leader_is_gone = true };

        memcpy(t.marker, process_id(r->process), strlen(process_id(r->process)) + 1);
        return tree_count(&t);
}

static inline int fixture_is_idle_(void *arg)
{
        struct supervisor_counts c;

        supervisor_count(((struct fixture *)arg)->supervisor, &c);
        return c.running + c.lingering == 0;
}

static inline bool fixture_wait_idle(struct fixture *f)
{
        return loop_run_until(f->loop, fixture_is_idle_, f, HANG_MS);
}
