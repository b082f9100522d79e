/* SPDX-License-Identifier: Apache-2.0 */

/* What goes through terminals: all of it arrives, in both directions and to the last byte. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>

#include "tests/lib/live_fixture.h"

static const struct pty_size usual = { .columns = 80, .rows = 24 };

static void start_script(struct fixture *f, struct live *l, const char *script)
{
        live_start(f, l, (struct process_options){ .argv = SCRIPT(script), .tty = &usual });
}

/* Resumes what was paused, after a random number of the loop's turns. */
struct resumer {
        uv_idle_t idle;
        struct live *live;
        unsigned n_turns;
        unsigned n_resumed;
        unsigned seed;
        bool is_closed;
};

static void on_idle(uv_idle_t *h)
{
        struct resumer *r = container_of(h, struct resumer, idle);

        if (r->live->run.n_ends || r->n_turns-- > 0)
                return;
        r->n_turns = (unsigned)rand_r(&r->seed) % 50;
        r->n_resumed++;
        process_pause_output(r->live->process, false);
}

static void on_idle_closed(uv_handle_t *h)
{
        container_of((uv_idle_t *)h, struct resumer, idle)->is_closed = true;
}

static void pause_sometimes(struct live *l)
{
        if (l->n_pieces % 7 == 0)
                process_pause_output(l->process, true);
}

static void expect_flood(const struct buf *b)
{
        enum { LINE = 77, SIZE = 5000000 };
        const size_t n = ((size_t)SIZE + 2) / 3 * 4;

        assert_int_equal(b->size, n + (n + LINE - 2) / (LINE - 1));
        for (size_t i = 0; i + 4 < b->size; i++)
                if (b->data[i] != (i % LINE == LINE - 1 ? '\n' : 'A'))
                        fail_msg("%c at %zu", b->data[i], i);
        assert_string_equal(b->data + b->size - 3, "A=\n");
}

/* All of it arrives, exactly, however often it is held up. */
static void test_flood(void **state)
{
        const char *script = "stty -opost; head -c 5000000 /dev/zero | base64";
        struct fixture *f = *state;
        struct live l = { 0 };
        struct resumer r = { .live = &l, .seed = 1 };

        start_script(f, &l, script);
        live_wait(&l);
        expect_flood(&l.output);
        live_done(&l);

        l.on_piece = pause_sometimes;
        start_script(f, &l, script);
        assert_int_equal(uv_idle_init(&f->loop->uv, &r.idle), 0);
        assert_int_equal(uv_idle_start(&r.idle, on_idle), 0);
        live_wait(&l);
        uv_close((uv_handle_t *)&r.idle, on_idle_closed);
        while (!r.is_closed)
                (void)uv_run(&f->loop->uv, UV_RUN_NOWAIT);
        expect_flood(&l.output);
        assert_true(r.n_resumed > 10);
        live_done(&l);
}

/* Nothing that was written before the exit is lost: neither the last bytes of a little nor of a lot, and neither
 * if nobody reads at the moment. */
static void test_last_bytes(void **state)
{
        static const char *const scripts[] = {
                "printf '%099d\\n' 1",
                "printf '%09999d\\n' 1",
                "printf '%050d\\n' {1..1000}",
        };
        static const size_t sizes[] = { 101, 10001, 52000 };
        struct fixture *f = *state;

        for (size_t i = 0; i < 200; i++) {
                struct live l = { 0 };

                start_script(f, &l, scripts[i % 3]);
                /* More than fits into a terminal would wait for us. */
                process_pause_output(l.process, i % 2 && i % 3 < 1);
                live_wait(&l);
                assert_int_equal(l.output.size, sizes[i % 3]);
                assert_memory_equal(l.output.data + l.output.size - 2, "\r\n", 2);
                live_done(&l);
        }
}

/* Somebody else has the terminal open: the end does not wait for them. What they write on is dropped. */
static void test_lingering(void **state)
{
        struct fixture *f = *state;
        CLEANUP(mem_free) char *path = live_new_path();
        CLEANUP(mem_free)
        char *script = xasprintf("trap '' HUP; (while [ ! -e %s.go ]; do sleep 0.01; done; "
                                 "head -c 1000000 /dev/zero; rm %s.go; touch %s) & "
                                 "printf '%%05000d' 1; printf last",
                                 path, path, path);
        CLEANUP(mem_free) char *go = xasprintf("%s.go", path);
        struct live l = { 0 };

        start_script(f, &l, script);
        process_pause_output(l.process, true);
        live_wait(&l);
        assert_in_range(l.run.result.duration_us, 0, 2000000);
        assert_int_equal(l.output.size, 5004);
        assert_string_equal(l.output.data + 5000, "last");
        close(open(go, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
        live_expect_path(&l, path);
        assert_true(fixture_wait_idle(f));
        live_done(&l);
}

/* Closing all of its descriptors is no reason to hang up on a program. */
static void test_closed_descriptors(void **state)
{
        struct fixture *f = *state;
        struct live l = { 0 };

        start_script(f, &l, "echo before; exec <&- >&- 2>&-; sleep 0.1; exit 5");
        live_wait(&l);
        assert_string_equal(l.output.data, "before\r\n");
        assert_int_equal(l.run.result.reason, END_EXIT);
        assert_int_equal(l.run.result.exit_code, 5);
        live_done(&l);
}

static void test_end_of_file(void **state)
{
        struct fixture *f = *state;
        struct live l = { 0 };

        start_script(f, &l, "stty -echo; echo ready; cat; echo eof; cat; echo again");
        live_expect(&l, "ready\r\n");
        live_type(&l, "one\n");
        live_expect(&l, "one\r\n");
        assert_int_equal(process_close_input(l.process), 0);
        live_expect(&l, "eof\r\n");
        assert_int_equal(process_close_input(l.process), 0);
        live_wait(&l);
        assert_string_equal(l.output.data, "again\r\n");
        live_done(&l);
}

static int was_drained(void *arg)
{
        return ((struct live *)arg)->n_drained > 0;
}

enum { ECHO_SIZE = 2000000 };

static int has_all(void *arg)
{
        return ((struct live *)arg)->output.size >= ECHO_SIZE;
}

/* More than fits into a terminal, there and back. */
static void test_write(void **state)
{
        struct fixture *f = *state;
        CLEANUP(mem_free) char *data = try_alloc(ECHO_SIZE);
        struct live l = { 0 };

        assert_non_null(data);
        for (size_t i = 0; i < ECHO_SIZE; i++)
                data[i] = (char)(i * 7 % 251);
        start_script(f, &l, "stty raw -echo; printf ready; exec cat");
        live_expect(&l, "ready");
        assert_int_equal(process_write(l.process, data, ECHO_SIZE - 1), PROCESS_E_QUEUED);
        assert_int_equal(process_write(l.process, data + ECHO_SIZE - 1, 1), PROCESS_E_QUEUED);
        assert_true(loop_run_until(f->loop, was_drained, &l, HANG_MS));
        assert_true(loop_run_until(f->loop, has_all, &l, HANG_MS));
        assert_int_equal(l.n_drained, 1);
        assert_int_equal(l.output.size, ECHO_SIZE);
        assert_memory_equal(l.output.data, data, ECHO_SIZE);
        process_kill(l.process, END_CANCELLED);
        live_wait(&l);
        live_done(&l);
}

static unsigned count_descriptors(void)
{
        DIR *dir = opendir("/proc/self/fd");
        unsigned n = 0;

        assert_non_null(dir);
        while (readdir(dir))
                n++;
        closedir(dir);
        return n;
}

/* Many at once; each answers, and no descriptor is left behind. */
static void test_many(void **state)
{
        enum { N = 50 };
        struct fixture *f = *state;
        unsigned before = count_descriptors();
        struct live *l = xcalloc(N, sizeof(*l));

        for (size_t i = 0; i < N; i++)
                live_start(f, &l[i],
                           (struct process_options){ .argv = (char *[]){ (char *)"cat", NULL },
                                                     .tty = &usual });
        for (size_t i = 0; i < N; i++) {
                live_type(&l[i], "hello\n");
                live_expect(&l[i], "hello\r\nhello\r\n");
        }
        for (size_t i = 0; i < N; i++) {
                if (i % 2)
                        process_kill(l[i].process, END_CANCELLED);
                else
                        assert_int_equal(process_close_input(l[i].process), 0);
                live_wait(&l[i]);
                assert_int_equal(l[i].run.result.reason, i % 2 ? END_CANCELLED : END_EXIT);
                live_done(&l[i]);
        }
        free(l);
        assert_true(fixture_wait_idle(f));
        if (!f->options.use_cgroups) /* empty leaves are kept for others */
                assert_int_equal(count_descriptors(), before);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                SUPERVISED(test_flood),       SUPERVISED(test_last_bytes),
                SUPERVISED(test_lingering),   SUPERVISED(test_closed_descriptors),
                SUPERVISED(test_end_of_file), SUPERVISED(test_write),
                SUPERVISED(test_many),
        };

        (void)signal(SIGPIPE, SIG_IGN); /* as the agent does */
        return cmocka_run_group_tests(tests, NULL, NULL);
}
