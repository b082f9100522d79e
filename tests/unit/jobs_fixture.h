/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A registry of background jobs with an owner that runs shell scripts, on a supervisor, with real keepers
 * (AGENT_KEEPER, or what lies beside AGENT_SHIM). Each test runs twice, as with SUPERVISED.
 *
 * The teardown ends all jobs, and proves that no process, no room and no handle is left. */

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <jansson.h>

#include "agent/base/clock.h"
#include "agent/base/fd.h"
#include "proc/joblog.h"
#include "proc/jobs.h"
#include "proc/jobs_private.h"
#include "tests/lib/skip.h"
#include "tests/lib/supervisor_fixture.h"

#define OWNER_CALLS 256

/* What the owner does when it is to start a job. */
enum owner_mode {
        OWNER_LAUNCHES,
        OWNER_HOLDS, /* nothing; the test does it */
        OWNER_REFUSES,
};

/* Jobs about which the owner was called, in order. */
struct owner_calls {
        unsigned n;
        char ids[OWNER_CALLS][ID_SIZE];
};

struct registry {
        void *base_state;
        struct fixture *base;
        struct jobs *jobs; /* NULL: closed */
        struct jobs_options options;
        struct jobs_ops ops;
        char keeper_path[4096];
        char state_dir[64];
        enum owner_mode mode;
        struct owner_calls starts;
        struct owner_calls ends;
        unsigned n_read_errors;
        bool is_closed;
};

static inline void owner_note(struct owner_calls *c, const struct job *job)
{
        assert_true(c->n < OWNER_CALLS);
        memcpy(c->ids[c->n++], job_process_id(job), ID_SIZE);
}

static inline void job_launch_script(struct job *job, const char *script)
{
        char *program[] = { (char *)script, NULL };
        struct job_launch o = { .argv = script[0] == '/' ? program : SCRIPT(script),
                                .envp = fixture_environment,
                                .cwd = "/",
                                .input_fd = -1,
                                .has_input = true,
                                .timeout_ms = job_timeout_ms(job) };

        job_launch(job, &o);
}

struct owner_start {
        struct registry *r;
        struct job *job;
};

static inline void owner_on_program(void *arg, json_t *program, const struct error *err)
{
        CLEANUP(mem_free) struct owner_start *s = arg;
        const char *script;

        if (program && json_unpack(program, "{s:s}", "script", &script) == 0)
                job_launch_script(s->job, script);
        else
                job_refuse(s->job,
                           &(struct job_failure){ .problem = 9,
                                                  .message = err ? err->message : "nonsense" });
        s->r->n_read_errors += !program;
        json_decref(program);
        job_unref(s->job);
}

static inline void owner_start(void *arg, struct job *job)
{
        static const struct job_failure why = { 7, "/code", "it is too beautiful" };
        struct registry *r = arg;
        struct owner_start *s;

        assert_int_equal(job_phase(job), PHASE_QUEUED);
        assert_true(job_is_starting(job));
        owner_note(&r->starts, job);
        if (r->mode == OWNER_REFUSES)
                job_refuse(job, &why);
        if (r->mode != OWNER_LAUNCHES)
                return;
        s = xnew(struct owner_start);
        s->r = r;
        s->job = job_ref(job);
        job_read_program(job, owner_on_program, s);
}

static inline void owner_on_end(void *arg, struct job *job)
{
        static const struct job_failure why = { 8, NULL, "there is no such program" };
        struct registry *r = arg;

        assert_true(job_phase_is_final(job_phase(job)));
        owner_note(&r->ends, job);
        if (job_result(job)->reason == KEEPER_SPAWN && !job_failure(job))
                job_set_failure(job, &why);
}

/* --- the registry --- */

static inline int registry_try(struct registry *r, struct error *err)
{
        r->ops = (struct jobs_ops){ .start = owner_start, .on_end = owner_on_end };
        return jobs_new(r->base->loop, r->base->supervisor, &r->options, &r->ops, r, &r->jobs, err);
}

static inline void registry_open(struct registry *r)
{
        struct error err = ERROR_INIT;

        r->starts.n = r->ends.n = 0;
        r->is_closed = false;
        if (registry_try(r, &err) < 0)
                fail_msg("%s", err.message);
        assert_int_equal(r->starts.n + r->ends.n, 0);
}

static inline int registry_setup(void **state, bool use_cgroups)
{
        struct registry *r = xnew(struct registry);
        const char *shim = getenv("AGENT_SHIM");
        const char *keeper = getenv("AGENT_KEEPER");

        fixture_setup(&r->base_state, use_cgroups);
        r->base = r->base_state;
        if (keeper)
                snprintf(r->keeper_path, sizeof(r->keeper_path), "%s", keeper);
        else
                snprintf(r->keeper_path, sizeof(r->keeper_path), "%.*s/agent-keeper",
                         (int)(strrchr(shim, '/') - shim), shim);
        memcpy(r->state_dir, "/tmp/test-jobs-XXXXXX", 22);
        assert_non_null(mkdtemp(r->state_dir));
        r->options = (struct jobs_options){ .state_dir = r->state_dir,
                                            .shim = shim,
                                            .keeper = r->keeper_path,
                                            .max_queued = 100,
                                            .keep_ms = 3600 * 1000,
                                            .max_kept = 1000,
                                            .max_kept_bytes = GIB,
                                            .log_capacity = 64 * KIB };
        registry_open(r);
        *state = r;
        return 0;
}

static inline int registry_setup_cgroup(void **state)
{
        return registry_setup(state, true);
}

static inline int registry_setup_walk(void **state)
{
        return registry_setup(state, false);
}

static inline void registry_on_tick_(uv_timer_t *timer)
{
        (void)timer;
}

/* As loop_run_until, but looks again from time to time. */
static inline bool registry_run_until(struct registry *r, bool (*is_true)(void *arg), void *arg,
                                      unsigned deadline_ms)
{
        uv_loop_t *uv = &r->base->loop->uv;
        uint64_t end_ms = clock_now_ms() + deadline_ms;
        uv_timer_t tick;

        assert_int_equal(uv_timer_init(uv, &tick), 0);
        tick.data = &tick;
        assert_int_equal(uv_timer_start(&tick, registry_on_tick_, 1, 3), 0);
        while (!is_true(arg) && clock_now_ms() < end_ms)
                (void)uv_run(uv, UV_RUN_ONCE);
        uv_close((uv_handle_t *)&tick, loop_on_deadline_closed_);
        while (tick.data)
                (void)uv_run(uv, UV_RUN_NOWAIT);
        return is_true(arg);
}

#define WAIT_FOR(r, is_true, arg)                                      \
        do {                                                           \
                if (!registry_run_until(r, is_true, arg, HANG_MS))     \
                        fail_msg("%s does not become true", #is_true); \
        } while (0)

static inline void registry_on_closed_(void *arg)
{
        struct registry *r = arg;

        r->jobs = jobs_free(r->jobs);
        r->is_closed = true;
}

static inline bool registry_is_closed_(void *arg)
{
        return ((struct registry *)arg)->is_closed;
}

static inline void registry_close(struct registry *r)
{
        r->is_closed = false;
        jobs_close(r->jobs, registry_on_closed_, r);
        assert_false(r->is_closed);
        WAIT_FOR(r, registry_is_closed_, r);
}

static inline void registry_reopen(struct registry *r)
{
        if (r->jobs)
                registry_close(r);
        registry_open(r);
}

static inline uint64_t registry_rooms(const struct registry *r)
{
        struct supervisor_counts c;

        supervisor_count(r->base->supervisor, &c);
        return c.jobs;
}

static inline void registry_limit(struct registry *r, uint64_t max_processes)
{
        r->base->options.max_processes = max_processes;
        supervisor_set_limits(r->base->supervisor, &r->base->options);
}

static inline int registry_remove_(const char *path, const struct stat *st, int type,
                                   struct FTW *ftw)
{
        (void)st;
        (void)type;
        (void)ftw;
        return remove(path);
}

static inline bool registry_is_idle_(void *arg)
{
        struct registry *r = arg;

        return jobs_n_running(r->jobs) + jobs_n_queued(r->jobs) == 0;
}

static inline void registry_kill_all(struct registry *r)
{
        for (struct job *job = jobs_newest(r->jobs); job; job = jobs_older(job))
                job_kill(job, 0);
        WAIT_FOR(r, registry_is_idle_, r);
}

/* Keepers go a moment after they have said so. */
static inline bool registry_has_no_child_(void *arg)
{
        siginfo_t info;

        (void)arg;
        return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 && errno == ECHILD;
}

static inline int registry_teardown(void **state)
{
        struct registry *r = *state;

        if (r->jobs) {
                registry_kill_all(r);
                registry_close(r);
        }
        assert_int_equal(registry_rooms(r), 0);
        WAIT_FOR(r, registry_has_no_child_, NULL);
        fixture_teardown(&r->base_state);
        assert_int_equal(nftw(r->state_dir, registry_remove_, 8, FTW_DEPTH | FTW_PHYS), 0);
        free(r);
        return 0;
}

#define REGISTERED(test)                                                             \
        { #test " (cgroup)", test, registry_setup_cgroup, registry_teardown, NULL }, \
        {                                                                            \
#test " (walk)", test, registry_setup_walk, registry_teardown, NULL  \
        }

/* In a child, which plays another agent: @test gets @from's options. Its failure is an exit status; and it does not
 * come back, for cmocka has no notion of children. */
static inline pid_t registry_fork(void (*test)(void **state), struct registry *from)
{
        const struct CMUnitTest tests[] = { { "in a child", test, NULL, NULL, from } };
        pid_t pid = fork();

        assert_true(pid >= 0);
        if (pid == 0) {
                (void)dup2(STDERR_FILENO, STDOUT_FILENO); /* what it prints is not the parent's */
                (void)setsid();
                _exit(cmocka_run_group_tests(tests, NULL, NULL) == 0 ? 0 : 1);
        }
        return pid;
}

/* Its own registry, on its own loop: a loop does not survive a fork. */
static inline struct registry *registry_in_child(const struct registry *from)
{
        struct registry *r = xnew(struct registry);

        fixture_setup(&r->base_state, from->base->options.use_cgroups);
        r->base = r->base_state;
        r->options = from->options;
        memcpy(r->state_dir, from->state_dir, sizeof(r->state_dir));
        return r;
}

/* --- jobs --- */

struct adding {
        struct job *job; /* a reference */
        bool was_starting;
        unsigned n;
        struct error err;
        json_t *program;
};

static inline void adding_on_added_(void *arg, struct job *job, const struct error *err)
{
        struct adding *a = arg;

        a->n++;
        a->was_starting = job && job_is_starting(job);
        a->job = job ? job_ref(job) : NULL;
        if (err)
                a->err = *err;
        assert_true(!job != !err);
        json_decref(a->program);
        a->program = NULL;
}

static inline bool adding_is_done_(void *arg)
{
        return ((struct adding *)arg)->n > 0;
}

/* Begins; @spec may leave out everything. */
static inline int adding_begin(struct registry *r, struct adding *a, const char *script,
                               struct job_new spec)
{
        int result;

        *a = (struct adding){ .program = json_pack("{s:s}", "script", script) };
        spec.command = script;
        spec.program = a->program;
        result = jobs_add(r->jobs, &spec, adding_on_added_, a, &a->err);
        if (result < 0)
                json_decref(a->program);
        assert_int_equal(a->n, 0);
        return result;
}

/* The caller has a reference. */
static inline struct job *job_add_as(struct registry *r, const char *script, struct job_new spec)
{
        struct adding a;

        assert_int_equal(adding_begin(r, &a, script, spec), 0);
        WAIT_FOR(r, adding_is_done_, &a);
        if (!a.job)
                fail_msg("%s", a.err.message);
        return a.job;
}

static inline struct job *job_add(struct registry *r, const char *script)
{
        return job_add_as(r, script, (struct job_new){ 0 });
}

static inline bool job_runs_(void *arg)
{
        return job_phase(arg) != PHASE_QUEUED;
}

static inline bool job_has_ended_(void *arg)
{
        return job_phase_is_final(job_phase(arg));
}

static inline bool job_is_over_(void *arg)
{
        return job_has_ended_(arg) && !((struct job *)arg)->link_to_keeper;
}

static inline void job_wait_running(struct registry *r, struct job *job)
{
        WAIT_FOR(r, job_runs_, job);
        assert_int_equal(job_phase(job), PHASE_RUNNING);
}

static inline void job_wait_end(struct registry *r, struct job *job, enum job_phase phase)
{
        WAIT_FOR(r, job_is_over_, job);
        assert_string_equal(job_phase_name(job_phase(job)), job_phase_name(phase));
}

/* Whatever is going to happen without a cause from outside has happened. */
static inline void registry_settle(struct registry *r)
{
        (void)registry_run_until(r, registry_is_closed_, r, 20);
}

static inline bool owner_has_heard_(void *arg)
{
        return ((struct owner_calls *)arg)->n > 0;
}

/* --- files --- */

static inline bool file_exists(const char *dir, const char *name)
{
        CLEANUP(mem_free) char *path = xasprintf("%s/%s", dir, name);

        return access(path, F_OK) == 0;
}

static inline void file_write(const char *dir, const char *name, const char *text)
{
        CLEANUP(mem_free) char *path = xasprintf("%s/%s", dir, name);
        CLEANUP(fd_close) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

        assert_true(fd >= 0);
        assert_int_equal(fd_write_all(fd, text, strlen(text)), 0);
}

/* In jobs/ or scripts/. */
static inline unsigned registry_count_files(const struct registry *r, const char *below)
{
        CLEANUP(mem_free) char *path = xasprintf("%s/%s", r->state_dir, below);
        DIR *dir = opendir(path);
        unsigned n = 0;

        assert_non_null(dir);
        for (struct dirent *e; (e = readdir(dir));)
                n += e->d_name[0] != '.';
        closedir(dir);
        return n;
}

struct file_count {
        const struct registry *r;
        const char *below;
        unsigned n;
};

static inline bool files_are_(void *arg)
{
        struct file_count *c = arg;

        return registry_count_files(c->r, c->below) == c->n;
}

static inline void registry_wait_files(struct registry *r, const char *below, unsigned n)
{
        struct file_count c = { r, below, n };

        WAIT_FOR(r, files_are_, &c);
}

static inline void job_make_script(const struct registry *r, const char *id)
{
        CLEANUP(mem_free) char *path = xasprintf("%s/scripts/%s", r->state_dir, id);

        assert_int_equal(mkdir(path, 0755), 0);
        file_write(path, "code", "x");
}
