/* SPDX-License-Identifier: Apache-2.0 */

/* Terminals as programs see them: size, keys, signals, owner, end. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <termios.h>

#include "agent/base/fd.h"
#include "tests/lib/live_fixture.h"
#include "tests/lib/skip.h"

static const struct pty_size usual = { .columns = 80, .rows = 24 };

static char *const shell[] = { (char *)"/bin/bash", (char *)"--norc", (char *)"--noprofile",
                               (char *)"-i", NULL };
static char *const environment[] = { (char *)"PATH=/usr/local/bin:/usr/bin:/bin",
                                     (char *)"TERM=dumb", (char *)"PS1=$ ",
                                     (char *)"HISTFILE=", NULL };

static void start_shell(struct fixture *f, struct live *l, unsigned grace_ms)
{
        live_start(f, l,
                   (struct process_options){ .argv = shell,
                                             .envp = environment,
                                             .tty = &usual,
                                             .term_signal = SIGHUP,
                                             .grace_ms = grace_ms });
        live_expect(l, "$ ");
}

static void start_script(struct fixture *f, struct live *l, const char *script)
{
        live_start(f, l, (struct process_options){ .argv = SCRIPT(script), .tty = &usual });
}

static void kill_and_wait(struct fixture *f, struct live *l)
{
        process_kill(l->run.n_ends ? l->run.process : l->process, END_CANCELLED);
        live_wait(l);
        assert_true(fixture_wait_idle(f));
        assert_int_equal(run_count_survivors(&l->run), 0);
        live_done(l);
}

static void test_open(void **state)
{
        struct error err = ERROR_INIT;
        struct termios line;
        struct winsize w;
        int master, slave;
        char c;

        (void)state;
        assert_int_equal(pty_open(&(struct pty_size){ 132, 43 }, NULL, &master, &slave, &err), 0);
        assert_true(fcntl(master, F_GETFD) & FD_CLOEXEC);
        assert_true(fcntl(slave, F_GETFD) & FD_CLOEXEC);
        assert_true(fcntl(master, F_GETFL) & O_NONBLOCK);
        assert_false(fcntl(slave, F_GETFL) & O_NONBLOCK);
        assert_int_equal(ioctl(slave, TIOCGWINSZ, &w), 0);
        assert_int_equal(w.ws_col, 132);
        assert_int_equal(w.ws_row, 43);
        assert_int_equal(tcgetattr(slave, &line), 0);
        assert_true(line.c_iflag & IUTF8);
        assert_true(line.c_iflag & ICRNL);
        assert_true(line.c_lflag & ICANON);

        assert_int_equal(pty_resize(master, &(struct pty_size){ PTY_MAX_SIZE, 1 }), 0);
        assert_int_equal(ioctl(slave, TIOCGWINSZ, &w), 0);
        assert_int_equal(w.ws_col, PTY_MAX_SIZE);
        assert_int_equal(w.ws_row, 1);
        assert_int_equal(pty_resize(master, &(struct pty_size){ 0, 24 }), -EINVAL);
        assert_int_equal(pty_resize(master, &(struct pty_size){ 80, PTY_MAX_SIZE + 1 }), -EINVAL);
        assert_int_equal(pty_resize(slave + 100, &usual), -EBADF);

        assert_int_equal(pty_end_of_file(master), 4);
        line.c_cc[VEOF] = 'z';
        assert_int_equal(tcsetattr(slave, TCSANOW, &line), 0);
        assert_int_equal(pty_end_of_file(master), 'z');
        line.c_cc[VEOF] = _POSIX_VDISABLE;
        assert_int_equal(tcsetattr(slave, TCSANOW, &line), 0);
        assert_int_equal(pty_end_of_file(master), 4);

        assert_int_equal(read(master, &c, 1), -1);
        assert_int_equal(errno, EAGAIN);
        close(slave);
        assert_int_equal(read(master, &c, 1), -1);
        assert_int_equal(errno, EIO);
        close(master);
        assert_int_equal(pty_open(&(struct pty_size){ 80, 0 }, NULL, &master, &slave, &err),
                         -EINVAL);
}

/* The controlling terminal, and all three descriptors. */
static void test_is_terminal(void **state)
{
        struct fixture *f = *state;
        struct live l = { 0 };

        /* Not bash, which would see to a controlling terminal itself; and the first is not opened by its name, as
         * that makes one, too. */
        live_start(f, &l,
                   (struct process_options){
                           .argv = (char *[]){ (char *)"/bin/sh", (char *)"-c",
                                               (char *)"test -t 0 && test -t 1 && test -t 2 && "
                                                       "echo all; echo by device > /dev/tty; "
                                                       "test $(ps -o tpgid= -p $$) = $$ && "
                                                       "echo foreground; echo by name > $(tty); "
                                                       "echo err >&2; stty size; "
                                                       "ls /proc/self/fd; exit 42",
                                               NULL },
                           .tty = &usual });
        live_wait(&l);
        assert_string_equal(l.output.data, "all\r\nby device\r\nforeground\r\nby name\r\nerr\r\n"
                                           "24 80\r\n0  1  2  3\r\n");
        assert_int_equal(l.errors.size, 0);
        assert_int_equal(l.run.result.reason, END_EXIT);
        assert_int_equal(l.run.result.exit_code, 42);
        live_done(&l);
}

static void test_shell(void **state)
{
        struct fixture *f = *state;
        struct live l = { 0 };

        start_shell(f, &l, 100);
        live_type(&l, "echo $((6 * 7))\n");
        live_expect(&l, "\n42\r\n");
        live_type(&l, "stty size\r"); /* Enter, as keyboards have it */
        live_expect(&l, "\n24 80\r\n");
        assert_int_equal(process_resize(l.process, &(struct pty_size){ 132, 43 }), 0);
        live_type(&l, "stty size; echo $COLUMNS $LINES\n");
        live_expect(&l, "\n43 132\r\n132 43\r\n");
        assert_int_equal(process_resize(l.process, &(struct pty_size){ 0, 0 }), -EINVAL);
        live_type(&l, "bash -c 'trap \"stty size; exit\" WINCH; echo re\"\"ady; "
                      "while :; do sleep 0.01; done'\n");
        live_expect(&l, "\nready");
        assert_int_equal(process_resize(l.process, &(struct pty_size){ 7, 5 }), 0);
        live_expect(&l, "5 7\r\n");
        live_type(&l, "exit 3\n");
        live_wait(&l);
        assert_int_equal(l.run.result.reason, END_EXIT);
        assert_int_equal(l.run.result.exit_code, 3);
        assert_int_equal(process_write(l.run.process, "x", 1), -EPIPE);
        assert_int_equal(process_resize(l.run.process, &usual), -EPIPE);
        assert_int_equal(process_signal(l.run.process, SIGINT), -ESRCH);
        assert_true(fixture_wait_idle(f));
        live_done(&l);
}

/* By key and by call: what runs in front is interrupted, the shell is not. */
static void test_interrupt(void **state)
{
        struct fixture *f = *state;
        struct live l = { 0 };

        start_shell(f, &l, 100);
        live_type(&l, "sh -c 'echo re\"\"ady; exec sleep 1000'\n");
        live_expect(&l, "\nready");
        live_type(&l, "\x03");
        live_expect(&l, "$ ");
        live_type(&l, "echo code=$?\n");
        live_expect(&l, "\ncode=130");

        live_type(&l, "sh -c 'echo re\"\"ady; exec sleep 1000'\n");
        live_expect(&l, "\nready");
        assert_int_equal(process_signal(l.process, SIGINT), 0);
        live_expect(&l, "$ ");
        live_type(&l, "echo code=$?\n");
        live_expect(&l, "\ncode=130");

        /* A pipeline whose first process, which gave the group its number, is gone. */
        live_type(&l, "true | sh -c 'sleep 0.05; echo re\"\"ady; exec sleep 1000'\n");
        live_expect(&l, "\nready");
        assert_int_equal(process_signal(l.process, SIGTERM), 0);
        live_expect(&l, "$ ");
        live_type(&l, "echo code=$?\n");
        live_expect(&l, "\ncode=143");
        kill_and_wait(f, &l);

        /* Nobody but the leader. */
        start_script(f, &l,
                     "trap 'echo int; exit 9' INT; echo ready; while :; do sleep 0.01; done");
        live_expect(&l, "ready");
        assert_int_equal(process_signal(l.process, SIGINT), 0);
        live_wait(&l);
        assert_non_null(strstr(l.output.data, "int"));
        assert_int_equal(l.run.result.exit_code, 9);
        live_done(&l);
}

static int is_asleep(void *arg)
{
        return live_state_of(process_pid(arg)) == 'S';
}

static void test_kill(void **state)
{
        struct fixture *f = *state;
        struct live l = { 0 };

        /* Interactive shells ignore SIGTERM, but not that their terminal hangs up. */
        start_shell(f, &l, HANG_MS);
        /* One that is not yet waiting for keys would take the signal for later, and then wait. */
        assert_true(live_poll_until(&l, is_asleep, l.process));
        process_kill(l.process, END_CANCELLED);
        live_wait(&l);
        assert_int_equal(l.run.result.reason, END_CANCELLED);
        assert_int_equal(l.run.result.signal, SIGHUP);
        assert_true(fixture_wait_idle(f));
        live_done(&l);

        start_shell(f, &l, 100);
        live_type(&l, "nohup setsid sleep 1000 & (trap '' HUP TERM; sleep 1000) & "
                      "nohup sh -c 'echo re\"\"ady >/dev/tty; sleep 1000 & sleep 1000'\n");
        live_expect(&l, "\nready");
        kill_and_wait(f, &l);

        /* The same without a grace period, and after the end. */
        start_script(f, &l, "nohup setsid sleep 1000 & echo ready; sleep 1000");
        live_expect(&l, "ready");
        kill_and_wait(f, &l);
        start_script(f, &l, "trap '' HUP; setsid sleep 1000 & echo ready");
        live_wait(&l);
        assert_int_equal(l.run.result.reason, END_EXIT);
        assert_true(run_count_survivors(&l.run) > 0);
        kill_and_wait(f, &l);
}

static void test_failure(void **state)
{
        struct fixture *f = *state;
        struct live l = { 0 };

        live_start(f, &l,
                   (struct process_options){ .argv = (char *[]){ (char *)"no-such-program", NULL },
                                             .tty = &usual });
        live_wait(&l);
        assert_int_equal(l.run.result.reason, END_SPAWN);
        assert_int_equal(l.run.result.failure.stage, SPAWN_EXEC);
        assert_int_equal(l.run.result.exit_code, 127);
        live_done(&l);
}

/* Without on_output a terminal's output is kept, as a pipe's is. */
static void test_kept_output(void **state)
{
        struct fixture *f = *state;
        struct run r;

        (void)run_start(f, &r,
                        (struct process_options){ .argv = SCRIPT("stty size; echo err >&2"),
                                                  .input_fd = -1,
                                                  .tty = &usual });
        run_wait(f, &r);
        assert_string_equal(r.output, "24 80\r\nerr\r\n");
        assert_string_equal(r.errors, "");
        run_done(&r);
}

/* The terminal is theirs. */
static void test_run_as(void **state)
{
        struct fixture *f = *state;
        struct live l = { 0 };

        if (geteuid() != 0)
                SKIP_TEST("needs root");
        fixture_close_supervisor(f);
        f->options.run_as = "nobody";
        fixture_new_supervisor(f);
        start_script(f, &l,
                     "id -un; test -r \"$(tty)\" && test -w \"$(tty)\" && echo allowed; "
                     "stat -c %U \"$(tty)\"; echo device > /dev/tty; echo name > $(tty)");
        live_wait(&l);
        assert_string_equal(l.output.data, "nobody\r\nallowed\r\nnobody\r\ndevice\r\nname\r\n");
        live_done(&l);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_open),  SUPERVISED(test_is_terminal),
                SUPERVISED(test_shell),       SUPERVISED(test_interrupt),
                SUPERVISED(test_kill),        SUPERVISED(test_failure),
                SUPERVISED(test_kept_output), SUPERVISED(test_run_as),
        };

        (void)signal(SIGPIPE, SIG_IGN); /* as the agent does */
        return cmocka_run_group_tests(tests, NULL, NULL);
}
