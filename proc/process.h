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
#include "proc/spawn.h"

struct process;
struct supervisor;

/* Why it ended. The names are on the wire (process_reason_name). */
enum end_reason {
        END_NONE, /* has not ended */
        END_EXIT,
        END_SIGNAL,
        END_TIMEOUT,
        END_OOM,
        END_OUTPUT_LIMIT,
        END_CANCELLED,
        END_SPAWN, /* the program never ran: see failure */
};

struct process_result {
        enum end_reason reason;
        int exit_code; /* as a shell reports it: status, 128 + signal, 124 after a timeout */
        int signal;    /* that ended the leader, or 0 */
        struct spawn_failure failure;
        uint64_t duration_us; /* from start to end */
        uint64_t
                cpu_us; /* user and system, of the tree where a cgroup tells, else of what was waited for */
        uint64_t max_rss; /* bytes: peak of the tree with a memory controller, else of the leader */
};

struct process_options {
        /* All are copied or used up before supervisor_start returns. */
        char *const *argv;
        char *const *envp;
        const char *cwd;
        int input_fd;        /* the child's stdin; borrowed; -1: /dev/null */
        uint64_t timeout_ms; /* 0: none */
        uint64_t
                grace_ms; /* between SIGTERM and SIGKILL at deadline or cancel; 0: SIGKILL at once */
        bool merge_stderr; /* both streams into stdout, in order */

        /* Called on the loop when the result is final, never from inside supervisor_start. After it the
         * process is the supervisor's again unless the callee took a reference. */
        void (*on_end)(struct process *p, void *arg);
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

/* Ends the whole tree: SIGTERM first when a grace period is set, then SIGKILL. @reason becomes the result's
 * (END_CANCELLED, END_TIMEOUT …) unless the leader had already ended. Harmless when called again or late. A
 * lingering tree is killed too. */
void process_kill(struct process *p, enum end_reason reason);

/* Forget the callback: the owner lost interest. on_end will not be called. */
void process_detach(struct process *p);

const char *process_reason_name(enum end_reason reason);
