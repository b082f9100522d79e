/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One execution: a program, everything it starts, its output, its deadline, and one end.
 *
 * Life: STARTING/RUNNING → (leader exits, or deadline, or kill) → the result is final and on_end is called,
 * exactly once → LINGERING while something it started still lives → gone. The object is refcounted; the
 * supervisor holds one reference until the process is gone. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "proc/output.h"
#include "proc/pty.h"
#include "proc/rich.h"
#include "proc/spawn.h"
#include "proc/usage.h"

struct process;
struct supervisor;
struct warm_child;

/* A program on a terminal has but the first. */
enum process_channel { PROCESS_STDOUT, PROCESS_STDERR };

/* Positive outcomes of process_write. */
#define PROCESS_E_QUEUED 1 /* taken; but give no more until on_input_drained */

/* Why it ended. The names are on the wire (process_reason_name). */
enum end_reason {
        END_NONE, /* has not ended */
        END_EXIT,
        END_SIGNAL,
        END_TIMEOUT,
        END_OOM,
        END_OUTPUT_LIMIT,
        END_CANCELLED,
        END_SPAWN,     /* the program never ran: see failure */
        END_CPU_LIMIT, /* it had used up its limits.cpu_seconds */
};

struct process_result {
        enum end_reason reason;
        int exit_code; /* as a shell reports it: status, 128 + signal, 124 after a timeout */
        int signal;    /* that ended the leader, or 0 */
        struct spawn_failure failure;
        uint64_t duration_us; /* from start to end */
        struct usage usage;
        uint64_t cpu_seconds; /* the limit that was asked for; 0: none */
        bool ignores_tasks;   /* so was limits.max_tasks, and nothing saw to it */
};

struct process_options {
        /* All are copied or used up before supervisor_start returns. */
        char *const *argv;
        const char *first; /* as in struct spawn_spec */
        char *const *envp;
        const char *cwd;
        int input_fd;   /* the child's stdin; borrowed; -1: /dev/null */
        bool has_input; /* stdin is a pipe that process_write feeds; input_fd is -1 */
        bool has_rich;  /* descriptor DRIVER_RICH_FD is a pipe, for what process_rich gives back */
        /* Not NULL: a new terminal of this size is stdin, stdout and stderr, and the controlling terminal;
         * process_write types on it; input_fd is -1. */
        const struct pty_size *tty;
        struct process_limits limits; /* they can only lower the supervisor's */
        uint64_t timeout_ms;          /* 0: none */
        /* Between term_signal and SIGKILL at deadline or cancel; 0: SIGKILL at once. */
        uint64_t grace_ms;
        int term_signal;   /* what a kill with grace begins with; 0: SIGTERM */
        bool merge_stderr; /* both streams into stdout, in order */
        /* Not NULL: becomes this execution, instead of a new process; argv is not used. No terminal, no input_fd, no
         * merge_stderr. When supervisor_start returns, warm_child_done is to be called. */
        struct warm_child *warm;

        /* Called on the loop when the result is final, never from inside supervisor_start. After it the
         * process is the supervisor's again unless the callee took a reference. */
        void (*on_end)(struct process *p, void *arg);
        /* Live output: each piece is handed over when it is read, and nothing is kept (process_stdout and
         * process_stderr stay empty, and max_output does not apply). @data is valid during the call. Called on the
         * loop, before on_end, never from inside supervisor_start. May call everything below. NULL: output is
         * kept. */
        void (*on_output)(struct process *p, enum process_channel from, const char *data,
                          size_t size, void *arg);
        /* What process_write had to queue has been written, or nobody will read it any more. Never from inside
         * process_write; not when the end comes first. May be NULL. */
        void (*on_input_drained)(struct process *p, void *arg);
        void *arg;
};

struct process *process_ref(struct process *p);
struct process *process_unref(struct process *p);

/* "exec_…": also in the child's environment as VM_AGENT_EXECUTION_ID. */
const char *process_id(const struct process *p);
pid_t process_pid(const struct process *p);
bool process_has_ended(const struct process *p);
/* Valid once ended. */
const struct process_result *process_result(const struct process *p);
/* Borrowed; may be read and, once ended, taken over by the caller's reference on the process. */
struct output *process_stdout(struct process *p);
struct output *process_stderr(struct process *p);
/* Likewise what it displayed; NULL without has_rich. Complete once ended. */
struct rich *process_rich(struct process *p);

/* Ends the whole tree: term_signal first when a grace period is set, then SIGKILL. @reason becomes the result's
 * (END_CANCELLED, END_TIMEOUT …) unless the leader had already ended. Harmless when called again or late. A
 * lingering tree is killed too. */
void process_kill(struct process *p, enum end_reason reason);
/* The same with a grace period of the caller's, whatever its own is; 0: SIGKILL at once. While another one runs it can
 * only become shorter by this. */
void process_kill_gently(struct process *p, enum end_reason reason, uint64_t grace_ms);

/* Forget the callbacks: the owner lost interest. None will be called, and output that was paused is read again
 * (and dropped). */
void process_detach(struct process *p);

/* Back-pressure, with on_output: while paused nothing is read, and the program soon waits in its write. Holds from
 * the next piece on, even if called from inside on_output. The end is not put off: what is in the pipes then is
 * handed over all the same. */
void process_pause_output(struct process *p, bool pause);

/* Writes to stdin, or types on the terminal. What cannot be written at once is copied and written later, in
 * order. 0; PROCESS_E_QUEUED; -EPIPE: nobody reads (it has ended, or closed its stdin, or it never had one);
 * -ENOBUFS: with it more than LIMIT_INPUT_QUEUE bytes might wait, and nothing was taken; -ENOMEM: what could not be
 * written at once is lost. */
int process_write(struct process *p, const void *data, size_t size);
/* End of file, behind what is queued. On a terminal: its end-of-file character (^D), which programs take for the
 * end at the start of a line. As process_write. */
int process_close_input(struct process *p);
/* Gives the terminal a new size; the foreground program is told (SIGWINCH). -ENOTTY: it has none. -EPIPE: ended.
 * -EINVAL: no sane size. */
int process_resize(struct process *p, const struct pty_size *size);
/* To the leader's process group; on a terminal to the foreground process group, as its keys do. -ESRCH: the leader
 * has ended. -EINVAL: no such signal. */
int process_signal(struct process *p, int signum);

const char *process_reason_name(enum end_reason reason);
