/* SPDX-License-Identifier: Apache-2.0 */

/* agent-keeper: the parent of one background job. It outlives the agent, so that the job's output has a reader, its
 * deadline a clock and its end a witness, whatever becomes of the agent. keeper_protocol.h says how it is started,
 * which files it leaves and what can be said to it.
 *
 * One thread, one ppoll, no memory but what is in struct keeper and a few static buffers. As in proc/process.c, what
 * happens is noted where it happens, and advance decides in one place whether the job has ended. The rules are the
 * same: the leader's exit decides; pipes that something else still holds are waited for DRAIN_US at most; who is
 * killed has ended when nothing of the tree is left, or ANSWER_US after SIGKILL.
 *
 * After the end the keeper stays while anything that the program started lives, and reads their output into the void.
 * It is a subreaper, so all of them are its descendants, and wait4 tells when there are none.
 *
 * It blocks all signals and reads two of them from a descriptor: SIGCHLD, and SIGTERM, which is an orderly kill. */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "proc/driver_protocol.h"
#include "proc/keeper_private.h"

#define MS         UINT64_C(1000)
#define DRAIN_US   (50 * MS)
#define SAVE_AGAIN (1000 * MS)
/* A turn that ends so much later than it should was interrupted by a pause: the machine's, or of all that runs in a
 * sandbox. Who could not run must not be killed for the time. For this to be noticed, while a deadline is to come no
 * turn is longer than LOOK_US. */
#define PAUSE_US    (2000 * MS)
#define LOOK_US     (1000 * MS)
#define SIGSET_SIZE 8

/* Descriptors below are the program's. */
#define FIRST_FD        10
#define LAST_PROGRAM_FD DRIVER_RICH_FD

enum { ON_SIGNALS, ON_LISTENER, ON_SHIM, ON_STDOUT, ON_STDERR, ON_RICH, ON_STDIN, ON_CONNECTIONS };
#define N_POLLS (ON_CONNECTIONS + KEEPER_CONNECTIONS)

static struct keeper keeper;

static uint64_t signal_bit(int sig)
{
        return UINT64_C(1) << (sig - 1);
}

/* Whoever inherits from us gets their signals back from the shim. */
static int watch_signals(struct keeper *k)
{
        uint64_t all = UINT64_MAX;
        uint64_t wanted = signal_bit(SIGCHLD) | signal_bit(SIGTERM);
        long r;

        (void)kernel(SYS_rt_sigprocmask, SIG_SETMASK, &all, NULL, SIGSET_SIZE);
        r = kernel(SYS_signalfd4, -1, &wanted, SIGSET_SIZE, SFD_CLOEXEC | SFD_NONBLOCK);
        k->signal_fd = (int)r;
        return r < 0 ? (int)r : 0;
}

/* Ours go up, and /dev/null takes their places: what is opened later must not land where the program's descriptors
 * will be. */
static int move_descriptors(struct keeper *k, int *ret_socket)
{
        long fds[3], null;

        /* Everything of the agent's is close-on-exec; this holds even if somebody forgets one day. */
        (void)kernel(SYS_close_range, 4, UINT32_MAX, 0); /* not before Linux 5.9 */
        for (int i = 0; i < 3; i++) {
                fds[i] = kernel(SYS_fcntl, i, F_DUPFD_CLOEXEC, FIRST_FD);
                if (fds[i] < 0)
                        return (int)fds[i];
        }
        null = kernel(SYS_openat, AT_FDCWD, "/dev/null", O_RDWR | O_CLOEXEC);
        if (null < 0)
                return (int)null;
        for (int i = 0; i <= LAST_PROGRAM_FD; i++)
                if (i != null)
                        (void)kernel(SYS_dup3, null, i, O_CLOEXEC);
        if (null > LAST_PROGRAM_FD)
                (void)keeper_close((int)null);
        k->stdin_fd = (int)fds[0];
        *ret_socket = (int)fds[1];
        k->dir_fd = (int)fds[2];
        return 0;
}

/* The program's arguments and environment may hold secrets, and megabytes. The kernel keeps them at the top of the
 * stack; nobody needs them once the shim has them. What ps shows is what stays. */
static void forget_arguments(const struct keeper *k)
{
        const char *name = "agent-keeper";
        char *begin = k->argv[0], *end = begin, *s;

        for (char **v = k->argv; *v; v++)
                end = *v + text_length(*v) + 1;
        for (char **v = k->envp; *v; v++)
                end = *v + text_length(*v) + 1;
        for (s = begin; s < end; s++)
                if (s + 4096 < end && ((uintptr_t)s & 4095) == 0) {
                        uintptr_t size = (uintptr_t)(end - s) & ~(uintptr_t)4095;

                        if (kernel(SYS_madvise, s, size, MADV_DONTNEED) == 0)
                                s += size - 1;
                        else
                                *s = '\0';
                } else {
                        *s = '\0';
                }
        for (s = begin; *name && s + 1 < end; s++)
                *s = *name++;
}

/* The end of the shim's pipe: the program runs. A failure: it never will. */
static void on_shim(struct keeper *k)
{
        long n = kernel(SYS_read, k->status_fd, &k->failure, sizeof(k->failure));

        /* Once the leader is dead nobody will write it any more, whoever may have got hold of the pipe. */
        if ((n == -EAGAIN || n == -EINTR) && k->leader_lives)
                return;
        if (n != (long)sizeof(k->failure))
                k->failure = (struct spawn_failure){ .stage = SPAWN_OK };
        k->has_started = k->failure.stage == SPAWN_OK;
        k->status_fd = keeper_close(k->status_fd);
        if (k->has_started)
                keeper_tell(k);
}

static void on_leader_reaped(struct keeper *k, int status, const struct rusage *usage)
{
        k->leader_lives = false;
        if (k->status_fd >= 0)
                on_shim(k);
        k->wait_status = status;
        k->usage = *usage;
        keeper_drain(k);
        k->drained_us = keeper_now_us() + DRAIN_US;
}

static void reap(struct keeper *k)
{
        struct rusage usage;
        int status;
        long pid;

        while ((pid = kernel(SYS_wait4, -1, &status, WNOHANG, &usage)) > 0)
                if (pid == k->leader && k->leader_lives)
                        on_leader_reaped(k, status, &usage);
        if (pid == -ECHILD)
                k->has_children = false;
}

static void on_signals(struct keeper *k)
{
        struct signalfd_siginfo info;

        while (kernel(SYS_read, k->signal_fd, &info, sizeof(info)) == (long)sizeof(info))
                if (info.ssi_signo == SIGTERM)
                        keeper_kill(k, KEEPER_KILLED, KEEPER_GRACE_MS);
        reap(k);
}

static bool is_final(struct keeper *k, uint64_t now)
{
        if (k->kill_state == KILL_KILL && now >= k->answer_us)
                return true;
        if (k->leader_lives || k->status_fd >= 0)
                return false;
        if (!k->has_children)
                return true;
        return k->kill_state == KILL_NONE && (!keeper_has_streams(k) || now >= k->drained_us);
}

/* What the clock wants. */
static void check_deadlines(struct keeper *k, uint64_t now)
{
        if (!k->has_ended && k->leader_lives && k->kill_state == KILL_NONE && now >= k->deadline_us)
                keeper_kill(k, KEEPER_TIMEOUT, k->config.grace_ms);
        if (k->kill_state == KILL_TERM && now >= k->kill_us)
                keeper_kill_now(k, k->kill_reason);
        if (k->kill_state == KILL_KILL && k->has_children && now >= k->strike_us)
                keeper_strike(k);
}

static void advance(struct keeper *k)
{
        uint64_t now = keeper_now_us();

        check_deadlines(k, now);
        if (!k->has_ended && is_final(k, now)) {
                keeper_drain(k);
                keeper_end(k);
        }
        if (k->has_ended && !k->is_saved && now >= k->save_us) {
                keeper_save(k);
                k->save_us = now + SAVE_AGAIN;
                keeper_tell(k);
        }
        keeper_send_reports(k, now);
        if (k->has_ended && k->is_saved && !k->has_children) {
                keeper_clean_up(k);
                keeper_leave(0);
        }
}

/* When what could not be had is tried again. */
static uint64_t next_try(const struct keeper *k, uint64_t now)
{
        uint64_t next = k->listen_us > now ? k->listen_us : KEEPER_NEVER;

        for (unsigned i = 0; i < 2; i++)
                if (k->streams[i].fd >= 0 && k->streams[i].pause_us > now)
                        next = MIN(next, k->streams[i].pause_us);
        return next;
}

static uint64_t next_event(const struct keeper *k, uint64_t now)
{
        uint64_t next = MIN(keeper_next_report(k), next_try(k, now));

        if (!k->has_ended && k->leader_lives && k->kill_state == KILL_NONE &&
            k->deadline_us != KEEPER_NEVER) {
                next = MIN(next, k->deadline_us);
                next = MIN(next, now + LOOK_US);
        }
        if (!k->has_ended && !k->leader_lives && k->kill_state == KILL_NONE)
                next = MIN(next, k->drained_us);
        if (k->kill_state == KILL_TERM)
                next = MIN(next, k->kill_us);
        if (k->kill_state == KILL_KILL && k->has_children)
                next = MIN(next, k->strike_us);
        if (k->kill_state == KILL_KILL && !k->has_ended)
                next = MIN(next, k->answer_us);
        if (k->has_ended && !k->is_saved)
                next = MIN(next, k->save_us);
        return next;
}

static int stream_to_poll(const struct stream *s, uint64_t now)
{
        return now >= s->pause_us ? s->fd : -1;
}

static void fill(const struct keeper *k, struct pollfd polls[N_POLLS], uint64_t now)
{
        int listen_fd = now >= k->listen_us ? k->listen_fd : -1;
        int stdout_fd = stream_to_poll(&k->streams[0], now);
        int stderr_fd = stream_to_poll(&k->streams[1], now);

        polls[ON_SIGNALS] = (struct pollfd){ .fd = k->signal_fd, .events = POLLIN };
        polls[ON_LISTENER] = (struct pollfd){ .fd = listen_fd, .events = POLLIN };
        polls[ON_SHIM] = (struct pollfd){ .fd = k->status_fd, .events = POLLIN };
        polls[ON_STDOUT] = (struct pollfd){ .fd = stdout_fd, .events = POLLIN };
        polls[ON_STDERR] = (struct pollfd){ .fd = stderr_fd, .events = POLLIN };
        polls[ON_RICH] = (struct pollfd){ .fd = k->rich.fd, .events = POLLIN };
        /* Without events it still tells that nobody reads a pipe any more. */
        polls[ON_STDIN] = (struct pollfd){ .fd = k->input.fd,
                                           .events = k->input.size ? POLLOUT : 0 };
        if (k->config.flags & KEEPER_HAS_TERMINAL && k->input.size == 0)
                polls[ON_STDIN].fd = -1;
        for (unsigned i = 0; i < KEEPER_CONNECTIONS; i++) {
                const struct connection *c = &k->connections[i];

                polls[ON_CONNECTIONS + i] = (struct pollfd){
                        .fd = c->fd,
                        .events = (short)(POLLIN | (c->is_blocked ? POLLOUT : 0)),
                };
        }
}

/* We were to wait for @wait_us since the last call; KEEPER_NEVER: without end. Who has much to do is as likely to be
 * paused at work as while it waits, so no time is left out between the calls. */
static void note_pause(struct keeper *k, uint64_t wait_us)
{
        uint64_t passed_us = keeper_now_us() - k->looked_us;

        if (passed_us > wait_us && passed_us - wait_us >= PAUSE_US)
                keeper_add_pause(passed_us - wait_us);
        k->looked_us = keeper_now_us();
}

static void turn(struct keeper *k)
{
        uint64_t now = keeper_now_us();
        uint64_t next = next_event(k, now);
        uint64_t wait_us = next > now ? next - now : 0;
        long n;
        struct timespec wait = { .tv_sec = (time_t)(wait_us / 1000000),
                                 .tv_nsec = (long)(wait_us % 1000000) * 1000 };
        struct pollfd polls[N_POLLS];

        fill(k, polls, now);
        n = kernel(SYS_ppoll, polls, N_POLLS, next == KEEPER_NEVER ? NULL : &wait, NULL,
                   SIGSET_SIZE);
        note_pause(k, next == KEEPER_NEVER ? next : wait_us);
        if (n > 0) {
                if (polls[ON_SHIM].revents)
                        on_shim(k);
                if (polls[ON_STDOUT].revents)
                        keeper_read_stream(k, &k->streams[0]);
                if (polls[ON_STDERR].revents)
                        keeper_read_stream(k, &k->streams[1]);
                if (polls[ON_RICH].revents)
                        (void)keeper_read_rich(k);
                if (polls[ON_STDIN].revents)
                        keeper_write_input(k);
                note_pause(k, 0); /* commands set deadlines */
                for (unsigned i = 0; i < KEEPER_CONNECTIONS; i++)
                        if (polls[ON_CONNECTIONS + i].revents)
                                keeper_connection_ready(k, &k->connections[i],
                                                        polls[ON_CONNECTIONS + i].revents);
                if (polls[ON_LISTENER].revents)
                        keeper_listen_ready(k);
                /* Last: what it drains must not be polled for again in this turn. */
                if (polls[ON_SIGNALS].revents)
                        on_signals(k);
        }
        note_pause(k, 0);
        advance(k);
}

/* Without the program: the end is told and, if there is space for it, saved. */
static void fail(struct keeper *k, int error)
{
        k->failure = (struct spawn_failure){ .stage = KEEPER_STAGE, .error = -error };
        k->leader_lives = false;
        k->has_children = false;
}

/* Called by _start. */
void keeper_main(char **argv, char **envp)
{
        struct keeper *k = &keeper;
        int socket = -1, r;

        k->argv = argv;
        k->envp = envp;
        k->listen_fd = k->leaf_fd = k->status_fd = k->end_fd = k->input.fd = -1;
        k->rich.fd = k->rich.log_fd = -1;
        for (unsigned i = 0; i < 2; i++)
                k->streams[i].fd = k->streams[i].log_fd = -1;
        for (unsigned i = 0; i < KEEPER_CONNECTIONS; i++)
                k->connections[i].fd = -1;
        k->deadline_us = k->kill_us = k->answer_us = k->strike_us = KEEPER_NEVER;

        (void)kernel(SYS_setsid);
        (void)kernel(SYS_umask, 077);
        (void)kernel(SYS_prctl, PR_SET_CHILD_SUBREAPER, 1);
        /* Not what the agent may have been protected with. The job gets its own, from the shim. */
        (void)keeper_write_file(AT_FDCWD, "/proc/self/oom_score_adj", "0");
        r = move_descriptors(k, &socket);
        if (r == 0)
                r = watch_signals(k);
        if (r < 0 || keeper_receive_config(k, socket) < 0)
                keeper_leave(1); /* nobody to tell: the agent sees the lock and the socket go */
        keeper_connect(k, socket, true);

        k->started_us = k->looked_us = keeper_now_us();
        k->started_ms = keeper_unix_ms();
        r = keeper_prepare(k);
        if (r == 0)
                r = keeper_start_program(k);
        if (r < 0)
                fail(k, r);
        forget_arguments(k);
        for (;;)
                turn(k);
}
