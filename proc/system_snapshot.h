/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* All processes of the system that the agent may see, as they were a moment ago. Reading them takes some 40 µs each,
 * so it belongs on a worker thread. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/base/buf.h"
#include "agent/base/error.h"
#include "proc/system_owners.h"

struct system_commands;
struct system_cpu;

/* Bytes of a snapshot's texts, which need not be UTF-8 and have no NUL inside. */
struct system_text {
        size_t offset;
        size_t size;
};

struct system_process {
        pid_t pid;
        pid_t parent;
        pid_t session;
        uid_t uid;        /* effective */
        const char *user; /* its name; NULL: it has none */
        char state;       /* see system_state_name */
        uint64_t threads;
        uint64_t rss;          /* bytes */
        double memory_percent; /* of the machine's */
        double cpu_percent;    /* 100: one processor; since the last look, see system_cpu.h */
        uint64_t cpu_us;       /* since it started */
        uint64_t start_us;     /* since the machine's start */
        int64_t started_ms;    /* Unix time */
        struct system_text name;
        struct system_text command;       /* empty: kernel threads, zombies */
        const struct system_owner *owner; /* NULL: not ours */
};

struct system_user {
        uid_t uid;
        char *name; /* NULL: the number has none */
};

struct system_snapshot {
        struct system_process *processes; /* by pid */
        size_t n;
        size_t capacity;
        bool is_truncated;        /* there are more than LIMIT_SYSTEM_PROCESSES */
        uint64_t cpu_interval_us; /* the time that cpu_percent is of; 0: since each one's start */
        struct buf texts;
        struct system_owners owners;
        struct system_user *users; /* that were looked up */
        size_t n_users;
};

/* Takes what @owners holds, also on failure. -EMFILE, -ENFILE, -ENOMEM; or why there is no /proc. What one process
 * keeps from us, or takes with it while we look, costs only its own row. */
int system_snapshot_take(struct system_cpu *cpu, struct system_commands *commands,
                         struct system_owners *owners, struct system_snapshot **ret,
                         struct error *err);
struct system_snapshot *system_snapshot_free(struct system_snapshot *s);
DEFINE_CLEANUP(struct system_snapshot *, system_snapshot_free)

/* NULL never. */
const char *system_snapshot_text(const struct system_snapshot *s, const struct system_text *t);

/* For qsort: by pid. */
int system_process_compare(const void *a, const void *b);
