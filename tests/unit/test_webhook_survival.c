/* SPDX-License-Identifier: Apache-2.0 */

/* The queue and its journal: limits, a disk without room, closing, and agents that are killed at any moment. */

#include <err.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/base/clock.h"
#include "agent/base/limits.h"
#include "tests/lib/webhook_fixture.h"

static void expect_file(const struct hooks *h, const char *id, bool expected)
{
        CLEANUP(mem_free) char *path = xasprintf("%s/webhooks/%s.json", h->dir, id);

        if ((access(path, F_OK) == 0) != expected)
                fail_msg("%s", path);
}

static int is_queued(void *arg)
{
        return ((const struct hook *)arg)->is_queued;
}

static int has_failed_once(void *arg)
{
        const struct hook *hook = arg;

        return hook->attempts > 0 && hook->status == WEBHOOK_PENDING;
}

static int is_delivering(void *arg)
{
        return ((const struct hook *)arg)->status == WEBHOOK_DELIVERING;
}

static int is_final(void *arg)
{
        return hook_is_final(arg);
}

/* --- limits --- */

static void expect_refusal(struct hooks *h, const struct webhook *spec, int expected)
{
        struct error err = ERROR_INIT;

        assert_int_equal(webhook_queue(h->w, spec, hook_on_queued, NULL, &err), expected);
        assert_true(err.message[0] != '\0');
}

static void test_what_cannot_be_queued(void **state)
{
        struct hooks *h = *state;
        CLEANUP(mem_free) char *secret = xcalloc(1, LIMIT_WEBHOOK_SECRET + 2);
        json_auto_t *headers = json_pack("{s:s}", "Host", "x");
        char body[] = "{}";
        const struct webhook good = {
                .id = "x", .url = "http://127.0.0.1/", .body = body, .body_size = 2
        };
        struct webhook spec;

        spec = good;
        spec.id = "../x";
        expect_refusal(h, &spec, -EINVAL);
        spec = good;
        spec.url = "ftp://127.0.0.1/";
        expect_refusal(h, &spec, -EINVAL);
        spec = good;
        spec.url = "http://169.254.169.254/";
        expect_refusal(h, &spec, -EPERM);
        spec = good;
        spec.headers = headers;
        expect_refusal(h, &spec, -EINVAL);
        spec = good;
        memset(secret, 's', LIMIT_WEBHOOK_SECRET + 1);
        spec.secret = secret;
        expect_refusal(h, &spec, -EFBIG);
        spec = good;
        spec.secret = "\xff";
        expect_refusal(h, &spec, -EINVAL);
        spec = good;
        spec.body_size = LIMIT_WEBHOOK_BODY + 1;
        expect_refusal(h, &spec, -EFBIG);

        h->options.max_queued = 1;
        hooks_reconfigure(h);
        hooks_post(h, "only", "/ok");
        expect_refusal(h, &good, -ENOBUFS);
        h->options.max_queued = 2;
        hooks_reconfigure(h);
        spec = good;
        spec.id = "only";
        expect_refusal(h, &spec, -EEXIST);
        hooks_run(h);
        assert_int_equal(webhooks_n_queued(h->w), 0);

        webhooks_close(h->w, hooks_on_closed, h);
        expect_refusal(h, &good, -ESHUTDOWN);
        assert_true(loop_run_until(h->loop, hooks_is_closed, h, HOOK_DEADLINE_MS));
        h->w = webhooks_free(h->w);
}

static void test_options(void **state)
{
        static char *const wrong[] = { (char *)"10.0.0.0/99", NULL };
        struct hooks *h = *state;
        struct webhooks_options options = h->options;
        struct webhooks *other = NULL;
        struct error err = ERROR_INIT;

        assert_int_equal(webhooks_check_options(&options, &err), 0);
        options.allow = wrong;
        assert_int_equal(webhooks_check_options(&options, &err), -EINVAL);
        assert_true(str_has_prefix(err.message, "webhook-allow: '10.0.0.0/99'"));
        assert_int_equal(webhooks_configure(h->w, &options, &err), -EINVAL);
        assert_int_equal(webhooks_new(h->loop, &options, &other, &err), -EINVAL);
        options.allow = NULL;
        options.state_dir = "/dev/null/x";
        assert_true(webhooks_new(h->loop, &options, &other, &err) < 0);
        assert_null(other);
}

/* All three are queued, and one is on its way; which one, the workers decide. */
static int is_hanging(void *arg)
{
        const struct hooks *h = arg;
        bool is_sent = false;

        for (unsigned i = 0; i < 3; i++) {
                if (h->hooks[i].n_changes == 0)
                        return false;
                is_sent = is_sent || h->hooks[i].status == WEBHOOK_DELIVERING;
        }
        return is_sent;
}

/* One host that hangs leaves room for the others. */
static void test_hosts_do_not_starve_each_other(void **state)
{
        struct hooks *h = *state;
        unsigned n_sent = 0;
        struct hook *other;
        char url[64];

        h->options.max_sending = 2;
        h->options.timeout_ms = 60000;
        hooks_reconfigure(h);
        hooks_post(h, "hang-1", "/hang");
        hooks_post(h, "hang-2", "/hang");
        hooks_post(h, "hang-3", "/hang");
        assert_true(loop_run_until(h->loop, is_hanging, h, HOOK_DEADLINE_MS));
        snprintf(url, sizeof(url), "http://localhost:%d/ok", receiver.port);
        other = hooks_queue(h, "no-hang", url, NULL, NULL, "{}");
        assert_true(loop_run_until(h->loop, is_final, other, HOOK_DEADLINE_MS));
        expect_hook(other, WEBHOOK_DELIVERED, 1, 200, "");
        for (unsigned i = 0; i < 3; i++) {
                assert_false(hook_is_final(&h->hooks[i]));
                n_sent += h->hooks[i].status == WEBHOOK_DELIVERING;
        }
        assert_int_equal(n_sent, 1);
}

/* --- a disk without room --- */

static void limit_files(rlim_t size)
{
        const struct rlimit limit = { size, RLIM_INFINITY };

        (void)signal(SIGXFSZ, SIG_IGN);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void test_no_room_to_queue(void **state)
{
        struct hooks *h = *state;
        struct hook *hook;

        limit_files(16);
        hook = hooks_post(h, "no-room", "/ok");
        assert_true(loop_run_until(h->loop, is_queued, hook, HOOK_DEADLINE_MS));
        limit_files(RLIM_INFINITY);
        assert_int_equal(hook->queue_result, -EFBIG);
        assert_string_equal(hook->queue_error.message,
                            "webhook journal: write no-room.json: File too large");
        assert_int_equal(webhooks_n_queued(h->w), 0);
        assert_int_equal(hook->n_changes, 0);
        expect_file(h, "no-room", false);
}

/* What is queued is sent all the same. */
static void test_no_room_for_notes(void **state)
{
        struct hooks *h = *state;
        struct hook *hook;

        hook = hooks_post(h, "no-notes", "/then-ok/500/2");
        assert_true(loop_run_until(h->loop, is_queued, hook, HOOK_DEADLINE_MS));
        limit_files(0);
        hooks_run(h);
        limit_files(RLIM_INFINITY);
        expect_hook(hook, WEBHOOK_DELIVERED, 3, 200, "");
        expect_file(h, "no-notes", false);
}

static void test_file_disappears(void **state)
{
        struct hooks *h = *state;
        CLEANUP(mem_free) char *path = xasprintf("%s/webhooks/gone.json", h->dir);
        struct hook *hook;

        h->options.retry_first_ms = h->options.retry_max_ms = 200;
        hooks_reconfigure(h);
        hook = hooks_post(h, "gone", "/status/500");
        assert_true(loop_run_until(h->loop, has_failed_once, hook, HOOK_DEADLINE_MS));
        (void)unlink(path);
        hooks_run(h);
        assert_int_equal(hook->status, WEBHOOK_FAILED);
        assert_non_null(strstr(hook->last_error, "gone.json: No such file"));
}

/* --- closing, and starting again --- */

static void reopen(struct hooks *h)
{
        hooks_close(h);
        h->n_hooks = 0;
        hooks_open(h);
}

static void test_attempts_survive(void **state)
{
        struct hooks *h = *state;
        struct hook *hook;

        h->options.retry_first_ms = h->options.retry_max_ms = 600000;
        hooks_reconfigure(h);
        hook = hooks_post(h, "attempts", "/then-ok/500/1");
        assert_true(loop_run_until(h->loop, has_failed_once, hook, HOOK_DEADLINE_MS));
        hooks_close(h);
        expect_file(h, "attempts", true);

        h->n_hooks = 0;
        hooks_open(h);
        hook = hooks_find(h, "attempts");
        assert_int_equal(hook->n_changes, 0); /* not before the loop runs */
        assert_true(loop_run_until(h->loop, has_failed_once, hook, HOOK_DEADLINE_MS));
        expect_hook(hook, WEBHOOK_PENDING, 1, 500, "HTTP status 500");
        assert_true(hook->next_attempt_at_ms > 0);
}

static void test_close_while_sending(void **state)
{
        struct hooks *h = *state;
        struct hook *hook = hooks_post(h, "sending", "/hang");
        uint64_t started;

        assert_true(loop_run_until(h->loop, is_delivering, hook, HOOK_DEADLINE_MS));
        started = clock_now_ms();
        hooks_close(h);
        assert_true(clock_now_ms() - started < 5000);
        expect_file(h, "sending", true);
        assert_int_equal(hook->status, WEBHOOK_DELIVERING); /* no word after the close */
}

static void test_close_while_queueing(void **state)
{
        struct hooks *h = *state;
        struct hook *hook = hooks_post(h, "queueing", "/ok");

        hooks_close(h);
        assert_true(hook->is_queued);
        assert_int_equal(hook->queue_result, 0);
        expect_file(h, "queueing", true);

        h->n_hooks = 0;
        hooks_open(h);
        hooks_run(h);
        expect_hook(hooks_find(h, "queueing"), WEBHOOK_DELIVERED, 1, 200, "");
        expect_file(h, "queueing", false);
}

/* At every step. */
static void test_close_at_any_time(void **state)
{
        struct hooks *h = *state;
        char id[32];

        for (int round = 0; round < 60; round++) {
                snprintf(id, sizeof(id), "any-%d", round);
                hooks_post(h, id, round % 2 ? "/ok" : "/then-ok/500/1");
                for (int turn = 0; turn < round % 20; turn++)
                        (void)uv_run(&h->loop->uv, UV_RUN_ONCE);
                reopen(h);
        }
        h->options.max_tries = 100;
        reopen(h);
        hooks_run(h);
        for (int round = 0; round < 60; round++) {
                snprintf(id, sizeof(id), "any-%d", round);
                assert_true(receiver_count(id, NULL) >= 1);
                expect_file(h, id, false);
        }
}

static void test_damaged_file_stops_nothing(void **state)
{
        struct hooks *h = *state;
        CLEANUP(mem_free) char *path = xasprintf("%s/webhooks/bad.json", h->dir);
        FILE *file;

        hooks_close(h);
        file = fopen(path, "we");
        assert_non_null(file);
        fputs("{\"version\":1", file);
        fclose(file);
        hooks_open(h);
        expect_file(h, "bad", false);
        hooks_post(h, "good", "/ok");
        hooks_run(h);
        expect_hook(hooks_find(h, "good"), WEBHOOK_DELIVERED, 1, 200, "");
}

/* --- kill -9 --- */

#define N_KILLS     20
#define N_PER_ROUND 10

static const char *program; /* this one, as it was called */

/* The agent: queues some, and writes the id of each that it may tell a client about. */
static void on_promised(void *arg, int result, const struct error *err)
{
        const struct hook *hook = arg;
        char line[96];
        int n = snprintf(line, sizeof(line), "%s\n", hook->id);

        (void)err;
        if (result < 0 || write(1, line, (size_t)n) != n)
                abort();
}

static int play_agent(char **argv)
{
        struct hooks *h = xnew(struct hooks);
        struct error err = ERROR_INIT;

        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        log_init(LOG_LEVEL_ERROR, false);
        h->loop = xnew(struct loop);
        if (loop_init(h->loop) < 0)
                return 1;
        snprintf(h->dir, sizeof(h->dir), "%s", argv[2]);
        h->options = hooks_options(h);
        h->options.max_tries = 100;
        h->options.max_queued = 1000;
        h->options.on_change = NULL;
        if (webhooks_new(h->loop, &h->options, &h->w, &err) < 0)
                errx(1, "webhooks_new: %s", err.message);
        for (int i = 0; i < N_PER_ROUND; i++) {
                CLEANUP(mem_free) char *id = xasprintf("kill_%s_%d", argv[4], i);
                CLEANUP(mem_free) char *url = xasprintf("http://127.0.0.1:%s/random", argv[3]);
                char *body = xasprintf("{\"id\":\"%s\"}", id);
                const struct webhook spec = { .id = id,
                                              .url = url,
                                              .secret = HOOK_SECRET,
                                              .body = body,
                                              .body_size = strlen(body) };

                if (webhook_queue(h->w, &spec, on_promised, hooks_find(h, id), &err) < 0)
                        errx(1, "webhook_queue: %s", err.message);
        }
        loop_run(h->loop);
        for (;;)
                (void)pause(); /* all is delivered, and the kill still comes */
}

static pid_t start_agent(const struct hooks *h, int round, int *ret_fd)
{
        char port[16], number[16];
        int out[2];
        pid_t pid;

        snprintf(port, sizeof(port), "%d", receiver.port);
        snprintf(number, sizeof(number), "%d", round);
        assert_int_equal(pipe2(out, O_CLOEXEC), 0);
        pid = fork();
        if (pid == 0) {
                (void)dup2(out[1], 1);
                execl(program, program, "agent", h->dir, port, number, NULL);
                _exit(127);
        }
        assert_true(pid > 0);
        fd_close(out[1]);
        *ret_fd = out[0];
        return pid;
}

/* Kills the agent after up to @n promises and @ms more; adds what it promised to @promised. */
static void kill_agent(pid_t pid, int fd, unsigned n, int ms, json_t *promised)
{
        FILE *file = fdopen(fd, "re");
        char line[96];
        int status;

        for (unsigned i = 0; i < n; i++) {
                if (!fgets(line, sizeof(line), file))
                        fail_msg("the agent ended");
                json_array_append_new(promised, json_stringn(line, strcspn(line, "\n")));
        }
        (void)poll(NULL, 0, ms); /* not to wait for anything: to be somewhere in the middle */
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
        while (fgets(line, sizeof(line), file))
                if (strchr(line, '\n'))
                        json_array_append_new(promised, json_stringn(line, strcspn(line, "\n")));
        fclose(file);
}

static void test_kill(void **state)
{
        struct hooks *h = *state;
        json_auto_t *promised = json_array();
        unsigned n_requests = 0;
        json_t *id;
        size_t i;

        hooks_close(h);
        srandom((unsigned)getpid());
        for (int round = 0; round < N_KILLS; round++) {
                int fd;
                pid_t pid = start_agent(h, round, &fd);

                kill_agent(pid, fd, (unsigned)(random() % (N_PER_ROUND + 1)), (int)(random() % 40),
                           promised);
        }

        h->options.max_tries = 100;
        h->n_hooks = 0;
        hooks_open(h);
        hooks_run(h);
        assert_true(json_array_size(promised) >= N_KILLS);
        json_array_foreach(promised, i, id) {
                CLEANUP(mem_free) char *body = xasprintf("{\"id\":\"%s\"}", json_string_value(id));
                json_auto_t *record = NULL;
                unsigned n = receiver_count(json_string_value(id), &record);

                if (n == 0)
                        fail_msg("lost: %s", json_string_value(id));
                n_requests += n;
                /* Repeats are the same in all but the time. */
                assert_string_equal(json_string_value(json_object_get(record, "body")), body);
                assert_int_equal(json_array_size(json_object_get(record, "verified")), 1);
                expect_file(h, json_string_value(id), false);
        }
        printf("# %zu promised, %u requests\n", json_array_size(promised), n_requests);
}

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
                HOOK_TEST(test_what_cannot_be_queued),
                HOOK_TEST(test_options),
                HOOK_TEST(test_hosts_do_not_starve_each_other),
                HOOK_TEST(test_no_room_to_queue),
                HOOK_TEST(test_no_room_for_notes),
                HOOK_TEST(test_file_disappears),
                HOOK_TEST(test_attempts_survive),
                HOOK_TEST(test_close_while_sending),
                HOOK_TEST(test_close_while_queueing),
                HOOK_TEST(test_close_at_any_time),
                HOOK_TEST(test_damaged_file_stops_nothing),
                HOOK_TEST(test_kill),
        };

        program = argv[0];
        if (argc > 4 && str_equal(argv[1], "agent"))
                return play_agent(argv);
        return cmocka_run_group_tests(tests, receiver_start, receiver_stop);
}
