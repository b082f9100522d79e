/* SPDX-License-Identifier: Apache-2.0 */

/* Talking to a job: input with back-pressure, signals, a terminal, several at once. */

#include <sys/socket.h>
#include <sys/un.h>

#include "agent/base/limits.h"
#include "tests/unit/keeper_fixture.h"

static char *pattern_new(size_t size)
{
        char *data = try_alloc(size + 1);

        assert_non_null(data);
        for (size_t i = 0; i < size; i++)
                data[i] = (char)('a' + (i ^ (i >> 8) ^ (i >> 16)) % 26);
        data[size] = '\0';
        return data;
}

static void test_input(void **state)
{
        struct job j;

        /* Before it has even started. */
        job_start(*state, &j,
                  (struct job_options){ .argv = SCRIPT("cat; echo end"), .has_input = true });
        assert_int_equal(job_link_write(j.link, "one\n", 4), 0);
        job_wait_output(&j, 4);
        assert_int_equal(job_link_write(j.link, "two\n", 4), 0);
        assert_int_equal(job_link_close_input(j.link), 0);
        job_wait_gone(&j);
        job_expect_output(&j, JOBLOG_STDOUT, "one\ntwo\nend\n");
        assert_int_equal(job_link_write(j.link, "x", 1), -EPIPE);
        job_done(&j);
}

static int is_drained(void *arg)
{
        return ((struct job *)arg)->n_drained > 0;
}

/* More than pipe, keeper and socket hold: it waits with us, and every byte arrives. */
static void test_back_pressure(void **state)
{
        enum { SIZE = 3 * 1024 * 1024 };
        struct job j;
        char *data = pattern_new(SIZE);
        struct buf b;

        job_start(*state, &j,
                  (struct job_options){ .argv = SCRIPT("sleep 1000"),
                                        .has_input = true,
                                        .log_capacity = 4 * MIB });
        job_wait_started(&j);
        assert_int_equal(job_link_write(j.link, data, SIZE), JOB_LINK_E_QUEUED);
        assert_int_equal(job_link_write(j.link, data, LIMIT_INPUT_QUEUE), -ENOBUFS);
        (void)keeper_run_until(j.f, job_is_never_, NULL, 50);
        assert_int_equal(j.n_drained, 0);
        assert_int_equal(job_link_signal(j.link, 0), -EINVAL);
        job_link_kill(j.link, KEEPER_KILLED, 0); /* overtakes the input */
        job_wait_gone(&j);
        job_done(&j);

        job_start(*state, &j,
                  (struct job_options){
                          .argv = SCRIPT("cat"), .has_input = true, .log_capacity = 4 * MIB });
        assert_int_equal(job_link_write(j.link, data, SIZE), JOB_LINK_E_QUEUED);
        assert_true(keeper_run_until(j.f, is_drained, &j, HANG_MS));
        assert_true(job_link_close_input(j.link) >= 0); /* the socket may be full */
        job_wait_gone(&j);
        buf_init(&b, 0);
        job_read(&j, JOBLOG_STDOUT, 0, &b);
        assert_int_equal(b.size, SIZE);
        assert_memory_equal(b.data, data, SIZE);
        buf_done(&b);
        free(data);
        job_done(&j);
}

/* The end of the input waits behind what is queued. */
static void test_end_behind_queue(void **state)
{
        enum { SIZE = 1024 * 1024 };
        struct job j;
        char *data = pattern_new(SIZE);

        job_start(*state, &j, (struct job_options){ .argv = SCRIPT("wc -c"), .has_input = true });
        assert_int_equal(job_link_write(j.link, data, SIZE), JOB_LINK_E_QUEUED);
        assert_int_equal(job_link_close_input(j.link), JOB_LINK_E_QUEUED);
        assert_int_equal(job_link_write(j.link, data, 1), -EPIPE);
        job_wait_gone(&j);
        job_expect_output(&j, JOBLOG_STDOUT, "1048576\n");
        free(data);
        job_done(&j);
}

static int is_refused(void *arg)
{
        struct job *j = arg;

        return job_link_write(j->link, "x", 1) == -EPIPE;
}

static void test_nobody_reads(void **state)
{
        struct job j;

        job_start(*state, &j,
                  (struct job_options){ .argv = SCRIPT("exec <&-; echo x; sleep 1000"),
                                        .has_input = true });
        job_wait_output(&j, 2);
        assert_true(job_poll_until(j.f, is_refused, &j));
        job_link_kill(j.link, KEEPER_KILLED, 0);
        job_wait_gone(&j);
        job_done(&j);

        job_start(*state, &j, (struct job_options){ .argv = SCRIPT("cat") });
        assert_int_equal(job_link_write(j.link, "x", 1), -EPIPE);
        assert_int_equal(job_link_close_input(j.link), -EPIPE);
        job_wait_gone(&j);
        job_done(&j);
}

static void test_signal(void **state)
{
        struct job j;

        job_start(*state, &j,
                  (struct job_options){
                          .argv = SCRIPT("trap 'echo got' USR1; trap 'exit 9' USR2; echo x; "
                                         "while :; do read -t 0.01 x <> <(:); done") });
        job_wait_output(&j, 2);
        assert_int_equal(job_link_signal(j.link, SIGUSR1), 0);
        job_wait_output(&j, 6);
        assert_int_equal(job_link_signal(j.link, SIGUSR2), 0);
        job_wait_gone(&j);
        assert_int_equal(j.status.reason, KEEPER_EXIT);
        assert_int_equal(j.status.exit_code, 9);
        assert_int_equal(job_link_signal(j.link, SIGTERM), -ESRCH);
        job_done(&j);
}

struct awaited {
        struct job *job;
        const char *text;
};

static int has_text(void *arg)
{
        struct awaited *a = arg;
        struct buf b;
        int found;

        buf_init(&b, 0);
        job_read(a->job, JOBLOG_STDOUT, 0, &b);
        found = b.data && strstr(b.data, a->text);
        buf_done(&b);
        return found;
}

static void expect(struct job *j, const char *text)
{
        if (!keeper_run_until(j->f, has_text, &(struct awaited){ j, text }, HANG_MS))
                fail_msg("no \"%s\"", text);
}

static void type(struct job *j, const char *text)
{
        assert_true(job_link_write(j->link, text, strlen(text)) >= 0);
}

static void test_terminal(void **state)
{
        struct job j;

        job_start(*state, &j,
                  (struct job_options){
                          .argv = SCRIPT("tty >/dev/null && stty size; trap 'stty size' WINCH; "
                                         "cat; echo again; cat; echo over; sleep 1000"),
                          .has_terminal = true,
                          .size = { .columns = 91, .rows = 33 } });
        job_wait_started(&j);
        expect(&j, "33 91\r\n");
        type(&j, "hello\n");
        expect(&j, "hello\r\nhello\r\n");
        assert_int_equal(job_link_close_input(j.link), 0);
        expect(&j, "again\r\n");
        type(&j, "more\n");
        expect(&j, "more\r\nmore\r\n");
        type(&j, "\004");
        expect(&j, "over\r\n");
        assert_int_equal(job_link_resize(j.link, &(struct pty_size){ 0, 3 }), -EINVAL);
        assert_int_equal(job_link_resize(j.link, &(struct pty_size){ 50, 20 }), 0);
        type(&j, "\003"); /* interrupts the sleep, and then bash dies of it */
        job_wait_gone(&j);
        assert_int_equal(j.status.reason, KEEPER_SIGNAL);
        assert_int_equal(j.status.signal, SIGINT);
        assert_int_equal(j.status.totals[1], 0);
        assert_int_equal(job_link_resize(j.link, &(struct pty_size){ 50, 20 }), -EPIPE);
        job_done(&j);
}

/* A signal reaches the terminal's foreground program, not the shell behind it. */
static void test_terminal_resize_and_signal(void **state)
{
        struct job j;

        job_start(
                *state, &j,
                (struct job_options){
                        .argv = SCRIPT(
                                "set -m; trap 'stty size' WINCH; echo x; while ! read -t 100 y; do :; "
                                "done; echo is $y; cat; echo code $?; exit 4"),
                        .has_terminal = true,
                        .size = { .columns = 80, .rows = 24 } });
        job_wait_started(&j);
        expect(&j, "x\r\n");
        assert_int_equal(job_link_resize(j.link, &(struct pty_size){ 50, 20 }), 0);
        expect(&j, "20 50\r\n");
        type(&j, "fine\n");
        expect(&j, "is fine\r\n");
        type(&j, "ping\n");
        expect(&j, "ping\r\nping\r\n");
        assert_int_equal(job_link_signal(j.link, SIGTERM), 0);
        expect(&j, "code 143\r\n");
        job_wait_gone(&j);
        assert_int_equal(j.status.exit_code, 4);
        job_done(&j);
}

/* Whoever connects sees the same; one who leaves does not disturb the others. */
static void test_several(void **state)
{
        struct job first, second, third;

        job_start(*state, &first,
                  (struct job_options){ .argv = SCRIPT("cat; exit 6"), .has_input = true });
        type(&first, "one\n");
        job_wait_output(&first, 4);
        job_find(&first, &second);
        job_find(&first, &third);
        job_wait_started(&second);
        job_wait_started(&third);
        assert_int_equal(second.pid, first.pid);
        assert_int_equal(job_link_keeper_pid(second.link), job_link_keeper_pid(first.link));
        job_wait_output(&second, 4);
        job_done(&third);
        type(&second, "two\n");
        job_wait_output(&first, 8);
        type(&first, "three\n");
        job_wait_output(&second, 14);
        assert_int_equal(job_link_close_input(second.link), 0);
        job_wait_gone(&first);
        job_wait_gone(&second);
        assert_int_equal(first.status.exit_code, 6);
        assert_int_equal(second.status.exit_code, 6);
        job_expect_output(&first, JOBLOG_STDOUT, "one\ntwo\nthree\n");
        job_done(&first);
        job_done(&second);
}

static int dial(const struct job *j)
{
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

        assert_in_range(snprintf(address.sun_path, sizeof(address.sun_path),
                                 "%.80s/" KEEPER_CONTROL, j->dir),
                        1, sizeof(address.sun_path) - 1);
        assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
        return fd;
}

/* Nonsense costs the sender its connection, and nothing else; so does sending past the window. */
static void test_bad_messages(void **state)
{
        struct {
                struct keeper_command command;
                char data[KEEPER_DATA_MAX + 1];
        } message = { .command = { .type = 99 } };
        struct job j;
        char c;
        int fd;

        job_start(*state, &j,
                  (struct job_options){ .argv = SCRIPT("sleep 1000"), .has_input = true });
        job_wait_started(&j);
        fd = dial(&j);
        assert_int_equal(send(fd, "x", 1, 0), 1);
        assert_int_equal(recv(fd, &c, 1, 0), 0);
        close(fd);
        fd = dial(&j);
        assert_int_equal(send(fd, &message, sizeof(message.command), 0), sizeof(message.command));
        assert_int_equal(recv(fd, &c, 1, 0), 0);
        close(fd);
        fd = dial(&j);
        message.command.type = KEEPER_INPUT;
        assert_true(send(fd, &message, sizeof(message.command) + sizeof(message.data), 0) > 0);
        assert_int_equal(recv(fd, &c, 1, 0), 0);
        close(fd);
        fd = dial(&j);
        for (unsigned i = 0; i < 20; i++)
                if (send(fd, &message, sizeof(message.command) + KEEPER_DATA_MAX, MSG_NOSIGNAL) < 0)
                        break;
        (void)recv(fd, &c, 1, 0); /* the end, or that it came with data unread */
        close(fd);
        assert_int_equal(job_link_state(j.link), JOB_RUNNING);
        job_link_kill(j.link, KEEPER_KILLED, 0);
        job_wait_gone(&j);
        job_done(&j);
}

/* A subscriber that reads nothing is not flooded, and hears of the end when it reads again. */
static void test_slow_subscriber(void **state)
{
        struct keeper_command subscribe = { .type = KEEPER_SUBSCRIBE };
        struct keeper_report report = { 0 };
        char message[sizeof(report) + KEEPER_STATUS_MAX];
        unsigned n = 0;
        struct job j;
        int fd;

        job_start(*state, &j,
                  (struct job_options){
                          .argv = SCRIPT("read x; for ((i = 0; i < 20000; i++)); do echo $i; done"),
                          .has_input = true });
        job_wait_started(&j);
        fd = dial(&j);
        assert_int_equal(send(fd, &subscribe, sizeof(subscribe), 0), sizeof(subscribe));
        assert_true(recv(fd, message, sizeof(message), 0) > 0); /* so it is there */
        type(&j, "go\n");
        job_wait_gone(&j);
        while (recv(fd, message, sizeof(message), 0) > 0) {
                memcpy(&report, message, sizeof(report));
                n++;
        }
        assert_true(report.flags & KEEPER_ENDED);
        assert_int_equal(report.totals[0], j.status.totals[0]);
        /* One per interval, and those for start, input and end. */
        assert_true(n <= j.status.duration_us / 1000 / KEEPER_REPORT_MS + 8);
        close(fd);
        job_done(&j);
}

static int is_stopped(void *arg)
{
        return job_state_of(*(pid_t *)arg) == 'T';
}

/* Commands for a keeper that does not take any are refused one day, but not the one that ends it all. */
static void test_full_command_queue(void **state)
{
        struct job j;
        pid_t keeper;
        unsigned n = 0;
        int r = 0;

        job_start(*state, &j, (struct job_options){ .argv = SCRIPT("echo x; exec sleep 1000") });
        job_wait_output(&j, 2);
        keeper = job_link_keeper_pid(j.link);
        assert_int_equal(kill(keeper, SIGSTOP), 0);
        assert_true(job_poll_until(j.f, is_stopped, &keeper));
        for (; r == 0 && n < 1000000; n++)
                r = job_link_signal(j.link, SIGWINCH);
        assert_int_equal(r, -ENOBUFS);
        assert_int_equal(job_link_signal(j.link, SIGWINCH), -ENOBUFS);
        job_link_kill(j.link, KEEPER_KILLED, 0);
        assert_int_equal(kill(keeper, SIGCONT), 0);
        job_wait_gone(&j);
        assert_int_equal(j.status.reason, KEEPER_KILLED);
        job_done(&j);
}

/* A program may close its terminal and open it again. */
static void test_terminal_is_opened_again(void **state)
{
        struct job j;

        job_start(*state, &j,
                  (struct job_options){
                          .argv = SCRIPT("echo one; exec <&- >&- 2>&-; sleep 0.2; "
                                         "exec </dev/tty >/dev/tty 2>&1; echo two; read x; "
                                         "echo \"<$x>\""),
                          .has_terminal = true,
                          .size = { 80, 24 } });
        job_wait_output(&j, 10);
        assert_true(job_link_write(j.link, "three\n", 6) >= 0);
        job_wait_gone(&j);
        assert_int_equal(j.status.exit_code, 0);
        job_expect_output(&j, JOBLOG_STDOUT, "one\r\ntwo\r\nthree\r\n<three>\r\n");
        job_done(&j);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                KEPT(test_input),
                KEPT(test_back_pressure),
                KEPT(test_end_behind_queue),
                KEPT(test_nobody_reads),
                KEPT(test_signal),
                KEPT(test_terminal),
                KEPT(test_terminal_resize_and_signal),
                KEPT(test_several),
                KEPT(test_bad_messages),
                KEPT(test_slow_subscriber),
                KEPT(test_full_command_queue),
                KEPT(test_terminal_is_opened_again),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
