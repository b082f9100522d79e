/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the agent and the language drivers (proc/runtimes/) know of each other: how a driver is started, how one that
 * waits is given its work, and what comes back beside the output.
 *
 * DESCRIPTORS of a driver
 *     0 1 2  as for every program
 *     4      rich output: the write end of a pipe. For the driver alone: close-on-exec, and of no interest to user code
 *     5      a driver that waits: its job socket
 * A driver is told of them by its options; it takes nothing for granted.
 *
 * COLD, one process from its exec on
 *     python3 python/driver.py [--rich=4] SCRIPT
 *     node javascript/driver.cjs [--rich=4] SCRIPT
 * runs SCRIPT as the interpreter itself would.
 *
 * WAITING processes are born ahead of the execution that they will be, with the pipes, the session, the cgroup and the
 * rights of it; each serves once.
 *     node javascript/driver.cjs --wait=5 [--rich=4]      started like every program
 *     a child of python/server.py                         the same, forked
 * In their environment VM_AGENT_EXECUTION_ID is an id of their own from their birth on, and then the execution's.
 * They read one job from the job socket (SOCK_STREAM): a 32 bit number, the size of what follows, then strings, each
 * with its NUL:
 *     directory   to change to
 *     script      the path of the source
 *     stdin       "pipe": descriptor 0 stays what it is; "null": it becomes /dev/null
 *     environment all the rest, "NAME=value": replaces what there was. What they fork must show it (/proc/PID/environ)
 * If the directory cannot be entered they write a struct spawn_failure to the job socket and exit with 126; else they
 * close it, and run the script. If the socket ends before a job has come, they exit: the agent does not need them, or
 * has died.
 *
 * FORK SERVER: python3 python/server.py [--preload=MODULE,MODULE…]
 * Descriptor 0 is its control socket (SOCK_SEQPACKET). It imports what is to be preloaded and can be, then says
 *     "ready" NUL, and paths, each with its NUL: directories in which a change means that it is out of date. For one
 *     that does not exist the agent looks at the nearest that does, for the missing name.
 * From then on each message from the agent is an execution id, with descriptors for the child: 0, 1, 2, 4, 5, and a
 * directory descriptor of its cgroup leaf if there is one. It makes a child OF THE AGENT (CLONE_PARENT) of itself, in
 * that leaf if it may, and answers, in order:
 *     "child" NUL pid NUL placed NUL       numbers in decimal; placed 1: it was born in the leaf, or there was none
 *     "failed" NUL errno NUL
 * The end of the control socket is its own.
 *
 * RICH OUTPUT: lines of JSON, each an object (what is no such thing is dropped by the agent):
 *     { "type": MIME type, "format": "base64" | "html" | "json" | "text", "data": string, or any value for "json",
 *       "metadata": object, "timestamp": RFC 3339 }
 *     { "result": string }      the value of the last expression, as text
 *     { "dropped": number }     so many outputs were not sent, because a limit of the driver's was reached
 * In the order in which they came about. A driver writes a line at once and as a whole, and gives up (without a word)
 * when nobody reads. */

#include "agent/base/macros.h"
#include "proc/spawn.h"

#define DRIVER_RICH_FD SPAWN_FIRST_EXTRA
#define DRIVER_JOB_FD  (SPAWN_FIRST_EXTRA + 1)

/* Jobs that are larger (it is the environment that can be) start cold. */
#define DRIVER_JOB_MAX ((size_t)(64 * KIB))
