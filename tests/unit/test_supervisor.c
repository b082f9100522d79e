/* SPDX-License-Identifier: Apache-2.0 */

/* The supervisor's own duties: limits, counting, reaping, closing. How executions end is in test_process.c. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "agent/base/clock.h"
#include "tests/lib/supervisor_fixture.h"

static int is_ended(void *arg)
{
        return run_has_ended(arg);
}

static void test_limit(void **state)
{
        struct fixture *f = *state;
        struct process_options o = {
                .argv = SCRIPT("true"), .envp = fixture_environment, .cwd = "/", .input_fd = -1
        };
        struct error err = ERROR_INIT;
        struct supervisor_counts counts;
        struct process *p = NULL;
        struct run a, b;

        f->options.max_processes = 2;
        supervisor_set_limits(f->supervisor, &f->options);
        (void)run_start(f, &a,
                        (struct process_options){ .argv = SCRIPT("sleep 1000"), .input_fd = -1 });
        /* What lingers counts too. */
        run_script(f, &b, "sleep 1000 & true");
        for (;;) {
                supervisor_count(f->supervisor, &counts);
                if (counts.lingering == 1)
                        break;
                (void)uv_run(&f->loop->uv, UV_RUN_ONCE);
        }
        assert_int_equal(counts.running, 1);
        assert_int_equal(counts.started, 2);
        assert_int_equal(supervisor_start(f->supervisor, &o, &p, &err), SUPERVISOR_E_LIMIT);
        assert_null(p);

        process_kill(b.process, END_CANCELLED);
        run_done(&b);
        while (supervisor_start(f->supervisor, &o, &p, &err) == SUPERVISOR_E_LIMIT)
                (void)uv_run(&f->loop->uv, UV_RUN_ONCE);
        assert_non_null(p);

        fixture_close_supervisor(f);
        assert_int_equal(a.n_ends, 1);
        run_done(&a);
}

struct visitor {
        struct supervisor *supervisor;
        unsigned n_calls;
        unsigned n_wanted; /* rooms to take when called */
        unsigned n_taken;
};

static void on_room(void *arg)
{
        struct visitor *v = arg;

        v->n_calls++;
        while (v->n_taken < v->n_wanted && supervisor_take_room(v->supervisor))
                v->n_taken++;
}

static void on_tick(uv_timer_t *timer)
{
        (void)timer;
}

/* What a timer's callback has made true does not end a turn of the loop: so there is a next one soon. */
static void wait_called(struct fixture *f, const struct visitor *v)
{
        uint64_t end_ms = clock_now_ms() + HANG_MS;
        uv_timer_t tick;

        assert_int_equal(uv_timer_init(&f->loop->uv, &tick), 0);
        tick.data = &tick;
        assert_int_equal(uv_timer_start(&tick, on_tick, 1, 3), 0);
        while (v->n_calls == 0 && clock_now_ms() < end_ms)
                (void)uv_run(&f->loop->uv, UV_RUN_ONCE);
        uv_close((uv_handle_t *)&tick, loop_on_deadline_closed_);
        while (tick.data)
                (void)uv_run(&f->loop->uv, UV_RUN_NOWAIT);
        assert_true(v->n_calls > 0);
}

static uint64_t count_jobs(struct fixture *f)
{
        struct supervisor_counts counts;

        supervisor_count(f->supervisor, &counts);
        return counts.jobs;
}

/* Whether an execution is let in; it is then. */
static bool is_let_in(struct fixture *f)
{
        struct process_options o = {
                .argv = SCRIPT("true"), .envp = fixture_environment, .cwd = "/", .input_fd = -1
        };
        struct error err = ERROR_INIT;
        struct process *p;

        return supervisor_start(f->supervisor, &o, &p, &err) == 0;
}

static void test_rooms_count(void **state)
{
        struct fixture *f = *state;
        struct supervisor_counts counts;

        f->options.max_processes = 2;
        supervisor_set_limits(f->supervisor, &f->options);
        assert_true(supervisor_take_room(f->supervisor));
        assert_true(is_let_in(f));
        supervisor_count(f->supervisor, &counts);
        assert_int_equal(counts.jobs, 1);
        assert_int_equal(counts.running, 1);
        assert_false(supervisor_take_room(f->supervisor));
        assert_false(is_let_in(f));
        /* What is there already is not asked for. */
        supervisor_force_room(f->supervisor);
        assert_int_equal(count_jobs(f), 2);
        assert_true(fixture_wait_idle(f));
        assert_false(is_let_in(f));
        supervisor_give_room(f->supervisor);
        assert_true(is_let_in(f));
        supervisor_give_room(f->supervisor);
        assert_int_equal(count_jobs(f), 0);
}

/* Told by the loop, not by whoever made the room; and nobody takes it away in between. */
static void test_room_comes(void **state)
{
        struct fixture *f = *state;
        struct visitor v = { .supervisor = f->supervisor, .n_wanted = 1 };
        struct run r;

        f->options.max_processes = 1;
        supervisor_set_limits(f->supervisor, &f->options);
        supervisor_on_room(f->supervisor, on_room, &v);

        /* By the end of an execution. */
        (void)run_start(f, &r, (struct process_options){ .argv = SCRIPT("true"), .input_fd = -1 });
        assert_false(supervisor_take_room(f->supervisor));
        wait_called(f, &v);
        assert_int_equal(v.n_taken, 1);
        assert_int_equal(r.n_ends, 1);
        run_done(&r);

        /* By another room. */
        v = (struct visitor){ .supervisor = f->supervisor, .n_wanted = 1 };
        assert_false(supervisor_take_room(f->supervisor));
        supervisor_give_room(f->supervisor);
        assert_int_equal(v.n_calls, 0);
        assert_false(is_let_in(f));
        wait_called(f, &v);
        assert_int_equal(v.n_taken, 1);
        assert_int_equal(count_jobs(f), 1);

        /* By a higher limit: for all that there is. */
        v = (struct visitor){ .supervisor = f->supervisor, .n_wanted = 3 };
        assert_false(supervisor_take_room(f->supervisor));
        f->options.max_processes = 4;
        supervisor_set_limits(f->supervisor, &f->options);
        wait_called(f, &v);
        assert_int_equal(v.n_taken, 3);

        /* Also when nobody was refused. */
        v = (struct visitor){ .supervisor = f->supervisor };
        f->options.max_processes = 4;
        supervisor_set_limits(f->supervisor, &f->options);
        supervisor_give_room(f->supervisor);
        assert_true(is_let_in(f)); /* so it is nobody's */
        wait_called(f, &v);
        assert_true(fixture_wait_idle(f));

        while (count_jobs(f) > 0)
                supervisor_give_room(f->supervisor);
}

/* Who goes away is not called, and the end calls nobody. */
static void test_no_room_at_the_end(void **state)
{
        struct fixture *f = *state;
        struct visitor v = { .supervisor = f->supervisor };

        f->options.max_processes = 1;
        supervisor_set_limits(f->supervisor, &f->options);
        supervisor_on_room(f->supervisor, on_room, &v);
        assert_true(supervisor_take_room(f->supervisor));
        assert_false(supervisor_take_room(f->supervisor));
        supervisor_give_room(f->supervisor);
        supervisor_on_room(f->supervisor, NULL, NULL);
        assert_true(supervisor_take_room(f->supervisor));
        supervisor_on_room(f->supervisor, on_room, &v);
        supervisor_give_room(f->supervisor);
        fixture_close_supervisor(f);
        assert_int_equal(v.n_calls, 0);
}

static void test_find(void **state)
{
        struct fixture *f = *state;
        struct process *p;
        struct run r;

        p = run_start(f, &r,
                      (struct process_options){ .argv = SCRIPT("sleep 1000"), .input_fd = -1 });
        assert_ptr_equal(supervisor_find(f->supervisor, process_id(p)), p);
        assert_ptr_equal(supervisor_find_leader(f->supervisor, process_pid(p)), p);
        assert_null(supervisor_find(f->supervisor, "exec_nobody"));
        assert_null(supervisor_find_leader(f->supervisor, getpid()));
        assert_null(supervisor_find_leader(f->supervisor, -1));
        process_kill(p, END_CANCELLED);
        run_wait(f, &r);
        assert_null(supervisor_find_leader(f->supervisor, process_pid(r.process)));
        run_done(&r);
        assert_true((supervisor_cgroup(f->supervisor) != NULL) ==
                    (supervisor_tracking(f->supervisor)[0] == 'c'));
}

/* A finished program makes room at once: not when its handles have been closed. */
static void start_next(struct process *p, void *arg)
{
        struct fixture *f = arg;
        struct process_options o = {
                .argv = SCRIPT("true"), .envp = fixture_environment, .cwd = "/", .input_fd = -1
        };
        struct error err = ERROR_INIT;
        struct process *next;

        (void)p;
        assert_int_equal(supervisor_start(f->supervisor, &o, &next, &err), 0);
        f->is_closed = 1;
}

static void test_slot_is_free_at_the_end(void **state)
{
        struct fixture *f = *state;
        struct process_options o = { .argv = SCRIPT("true"),
                                     .envp = fixture_environment,
                                     .cwd = "/",
                                     .input_fd = -1,
                                     .on_end = start_next,
                                     .arg = f };
        struct error err = ERROR_INIT;
        struct process *p;

        f->options.max_processes = 1;
        supervisor_set_limits(f->supervisor, &f->options);
        assert_int_equal(supervisor_start(f->supervisor, &o, &p, &err), 0);
        assert_true(loop_run_until(f->loop, fixture_is_closed_, f, HANG_MS));
}

static void test_many_at_once(void **state)
{
        enum { N = 50 };
        struct fixture *f = *state;
        struct run r[N];

        for (int i = 0; i < N; i++) {
                char script[64];

                (void)snprintf(script, sizeof(script), "echo %d; exit %d", i, i);
                (void)run_start(f, &r[i],
                                (struct process_options){ .argv = SCRIPT(script), .input_fd = -1 });
        }
        for (int i = 0; i < N; i++) {
                char expected[16];

                assert_true(loop_run_until(f->loop, is_ended, &r[i], HANG_MS));
                (void)snprintf(expected, sizeof(expected), "%d\n", i);
                assert_string_equal(r[i].output, expected);
                assert_int_equal(r[i].result.exit_code, i);
                assert_int_equal(r[i].n_ends, 1);
                run_done(&r[i]);
        }
}

/* Orphans become ours and are reaped, though nobody knows them. */
static void test_no_zombies(void **state)
{
        struct fixture *f = *state;
        struct run r;

        run_script(f, &r, "for i in 1 2 3 4 5; do (sleep 0.05 &); done");
        run_done(&r);
        assert_true(fixture_wait_idle(f));
        /* WNOHANG: 0 would be a living child, a pid one that nobody reaped. */
        while (waitpid(-1, NULL, WNOHANG | WNOWAIT) == 0)
                (void)uv_run(&f->loop->uv, UV_RUN_ONCE);
        fixture_close_supervisor(f);
}

static void test_close_kills_everything(void **state)
{
        struct fixture *f = *state;
        struct run running, lingering;
        struct supervisor_counts counts;

        (void)run_start(
                f, &running,
                (struct process_options){ .argv = SCRIPT("trap '' TERM; setsid sleep 1000 & "
                                                         "echo up; while :; do sleep 1000; done"),
                                          .input_fd = -1,
                                          .grace_ms = 3600 * 1000 });
        run_script(f, &lingering, "(env -i setsid sleep 1000 &) ; echo started");
        do {
                supervisor_count(f->supervisor, &counts);
        } while (counts.lingering == 0 && supervisor_tracking(f->supervisor)[0] == 'c' &&
                 uv_run(&f->loop->uv, UV_RUN_ONCE));

        fixture_close_supervisor(f); /* checks that there are no children */
        assert_int_equal(running.result.reason, END_CANCELLED);
        assert_int_equal(running.result.exit_code, 137);
        assert_int_equal(run_count_survivors(&running), 0);
        assert_int_equal(running.n_ends, 1);
        assert_int_equal(lingering.n_ends, 1);
        /* A reference outlives the supervisor, output and all. */
        assert_int_equal(output_total(process_stdout(lingering.process)), strlen("started\n"));
        run_done(&running);
        run_done(&lingering);
}

static void test_closed_supervisor_starts_nothing(void **state)
{
        struct fixture *f = *state;
        struct process_options o = { .argv = SCRIPT("true"),
                                     .envp = fixture_environment,
                                     .input_fd = -1 };
        struct error err = ERROR_INIT;
        struct process *p;

        f->is_closed = 0;
        supervisor_close(f->supervisor, fixture_on_closed_, f);
        assert_int_equal(supervisor_start(f->supervisor, &o, &p, &err), SUPERVISOR_E_CLOSED);
        assert_true(loop_run_until(f->loop, fixture_is_closed_, f, HANG_MS));
        f->supervisor = NULL;
}

static void test_start_failure_leaves_nothing(void **state)
{
        struct fixture *f = *state;
        struct process_options o = { .argv = SCRIPT("true"),
                                     .envp = fixture_environment,
                                     .input_fd = -1 };
        struct supervisor_counts counts;
        struct error err = ERROR_INIT;
        struct process *p = NULL;

        fixture_close_supervisor(f);
        f->options.shim = "/no/such/shim";
        fixture_new_supervisor(f);
        assert_int_equal(supervisor_start(f->supervisor, &o, &p, &err), -ENOENT);
        assert_null(p);
        assert_non_null(strstr(err.message, "/no/such/shim"));
        supervisor_count(f->supervisor, &counts);
        assert_int_equal(counts.running + counts.lingering + counts.started, 0);
}

static void test_unknown_user(void **state)
{
        struct fixture *f = *state;
        struct supervisor_options o = f->options;
        struct supervisor *s = NULL;
        struct error err = ERROR_INIT;

        o.run_as = "no-such-user";
        assert_int_equal(supervisor_new(f->loop, &o, &s, &err), -ENOENT);
        assert_null(s);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                SUPERVISED(test_limit),
                SUPERVISED(test_rooms_count),
                SUPERVISED(test_room_comes),
                SUPERVISED(test_no_room_at_the_end),
                SUPERVISED(test_find),
                SUPERVISED(test_slot_is_free_at_the_end),
                SUPERVISED(test_many_at_once),
                SUPERVISED(test_no_zombies),
                SUPERVISED(test_close_kills_everything),
                SUPERVISED(test_closed_supervisor_starts_nothing),
                SUPERVISED(test_start_failure_leaves_nothing),
                SUPERVISED(test_unknown_user),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
