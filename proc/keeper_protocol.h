/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What agent-keeper and the agent know of each other: how a keeper is started, the files in the directory of its
 * job, and the messages on its control socket.
 *
 * START. The keeper is executed in the place of agent-shim, with the shim's own arguments and the program's
 * environment, both of which it hands on untouched when it starts the real shim. Its descriptors:
 *     0  the program's stdin, unless the keeper is to make a pipe or a terminal
 *     1  a SOCK_SEQPACKET socket: its first message is a struct keeper_config, after that it is a connection like
 *        those to the control socket, and is subscribed already
 *     2  the job's directory, locked with flock(LOCK_EX): the lock lives exactly as long as the keeper does
 *     3  not used (the shim's status pipe)
 *
 * FILES, in the job's directory (mode 0700, made by the agent):
 *     stdout.log, stderr.log  rings, see joblog.h; stderr.log stays empty for terminals and merged streams
 *     rich.log                what the program displayed: lines of JSON (driver_protocol.h), the first ones. Appears
 *                             with the first of them; how many are missing is its last line
 *     control                 SOCK_SEQPACKET listener
 *     keeper                  lines "key=value": who keeps and leads (KEEPER_KEYS). Replaced as a whole
 *     status                  lines "key=value": the end (STATUS_KEYS). Appears, by rename, when it is final
 *     status.tmp              space for it, taken at the start so that a full disk does not lose the end
 *
 * MESSAGES. The agent sends struct keeper_command (+ data), the keeper struct keeper_report (+ the text of the status
 * file when the job has ended). A report always says everything; there are no replies to single commands. It is
 * sent to who has subscribed: at once, when something happens; when only output grew, at most every
 * KEEPER_REPORT_MS; never while the socket is full. */

#include <stdint.h>

#include "agent/base/macros.h"

#define KEEPER_VERSION 1

#define KEEPER_RICH    "rich.log"
#define KEEPER_CONTROL "control"
#define KEEPER_FILE    "keeper"
#define KEEPER_STATUS  "status"

/* Input: the keeper stores so much of it. A sender knows how much it may send: the window less what was received and
 * is not done with. Who sends more is disconnected. */
#define KEEPER_INPUT_WINDOW (256 * KIB)
#define KEEPER_DATA_MAX     (32 * KIB) /* in one message */
#define KEEPER_STATUS_MAX   1024
#define KEEPER_REPORT_MS    10
/* How long the keeper's SIGTERM (from systemd at the machine's shutdown, say) leaves the job, which it ends. */
#define KEEPER_GRACE_MS 5000

/* What the status file calls the reason of the end. */
#define KEEPER_REASONS(X)                                                                    \
        X(EXIT, "exit")           /* the program ended */                                    \
        X(SIGNAL, "signal")       /* by a signal that nobody here sent */                    \
        X(TIMEOUT, "timeout")     /* its time was over */                                    \
        X(KILLED, "killed")       /* somebody wanted it */                                   \
        X(OOM, "oom")             /* the kernel, for lack of memory */                       \
        X(SPAWN, "spawn")         /* the program never ran */                                \
        X(LOST, "lost")           /* the keeper died; written by the agent that finds out */ \
        X(CPU_LIMIT, "cpu_limit") /* it had used up its processor time */

enum keeper_reason {
        KEEPER_RUNS,
#define X(name, text) KEEPER_##name,
        KEEPER_REASONS(X)
#undef X
};

/* spawn_failure.stage when not even the shim could be started. */
#define KEEPER_STAGE 100

/* Keys of the status file; all values are decimal numbers, but for the reason.
 *   reason           one of KEEPER_REASONS
 *   exit_code        as a shell reports it: status, 128 + signal, 124 after a timeout
 *   signal           that ended the leader, or 0
 *   failure_stage    enum spawn_stage or KEEPER_STAGE; 0: the program ran
 *   failure_errno
 *   started_ms       Unix time
 *   ended_ms
 *   duration_us      from start to end
 *   cpu_us           user and system, of the tree where a cgroup tells, else of what was waited for
 *   max_rss          bytes: peak of the tree with a memory controller, else of the leader
 *   user_us, system_us              the two parts of cpu_us. These and the next four are left out when they are not
 *                                   known, and by older keepers
 *   read_bytes, written_bytes       of disks, of whom as above
 *   peak_tasks, refused_tasks       processes and threads at once; those that max_tasks was in the way of
 *   stdout_total, stderr_total      bytes ever written to the log
 *   stdout_dropped, stderr_dropped  bytes that there was no disk space for
 *   rich_size        of rich.log; may be missing */

/* Keys of the keeper file.
 *   version          KEEPER_VERSION
 *   boot             the kernel's boot id: pids mean nothing after a reboot
 *   pid, start       the keeper, and when it began: field 22 of /proc/PID/stat
 *   leader, leader_start  the same of the program; 0: it has not been started
 *   started_ms       Unix time
 *   terminal         1: it has one
 *   leaf             path of its cgroup; empty: none
 *   max_memory, max_tasks  limits of the leaf, 0: none; older keepers leave them out */

/* Flags of a config. */
#define KEEPER_HAS_INPUT    1u /* make a pipe for stdin */
#define KEEPER_HAS_TERMINAL 2u /* instead of all pipes */
#define KEEPER_MERGES       4u /* stderr goes where stdout goes */
#define KEEPER_HAS_RICH     8u /* make a pipe for DRIVER_RICH_FD; not with a terminal */

struct keeper_config {
        uint32_t version;
        uint32_t flags;
        uint64_t timeout_ms; /* 0: none */
        uint64_t grace_ms; /* between term_signal and SIGKILL at the deadline; 0: SIGKILL at once */
        uint64_t capacity; /* of each log, bytes */
        uint64_t max_memory; /* of the leaf; 0: no limit */
        uint64_t max_tasks;
        uint32_t term_signal;
        uint32_t terminal_user; /* uid that the terminal belongs to */
        uint16_t columns;
        uint16_t rows;
        uint32_t rich_kib; /* largest size of rich.log, KiB */
        /* Then two strings with their NULs: the path of agent-shim, and that of the cgroup leaf that the keeper makes,
         * or nothing. Making it is not for the agent: it may have to wait for the kernel's lock on all cgroups. */
};
/* A third string, which older agents do not send and older keepers do not read: the limit of processor time that the
 * shim sets, in seconds, so that the keeper knows that end. "0": none. */

enum keeper_command_type {
        KEEPER_SUBSCRIBE = 1,
        /* The whole tree, also after the end. value: grace in ms; reason: KEEPER_KILLED or KEEPER_TIMEOUT */
        KEEPER_KILL,
        /* value: signal, for the leader's process group or the terminal's foreground group */
        KEEPER_SEND,
        /* data follows */
        KEEPER_INPUT,
        /* Behind all input. On a terminal its end-of-file character, which counts as a byte of input */
        KEEPER_EOF,
        /* value: columns << 16 | rows */
        KEEPER_RESIZE,
};

struct keeper_command {
        uint32_t type;
        uint32_t value;
        uint32_t reason;
        uint32_t reserved;
};

/* Flags of a report. */
#define KEEPER_STARTED      1u /* the program runs, or ran */
#define KEEPER_ENDED        2u /* the text of the status follows */
#define KEEPER_INPUT_CLOSED 4u /* nobody reads any more, or ever did */
#define KEEPER_LINGERS \
        8u /* after the end: the keeper stays, for something that the job started lives */

struct keeper_report {
        uint32_t version;
        uint32_t flags;
        int32_t leader;       /* 0: not started */
        uint32_t status_size; /* of the text that follows */
        uint64_t totals[2];   /* stdout, stderr: as in the logs */
        uint64_t dropped[2];
        uint64_t input_received; /* bytes since the start, by whomever */
        uint64_t input_done;     /* of these: written, or lost as nobody reads */
};
