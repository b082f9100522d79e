/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The agent's part of the cgroup v2 tree: one directory of its own, in it one leaf per execution. A leaf knows
 * all that an execution started, whatever it forked, and kills it with one write. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/base/error.h"

struct cgroup;

/* Finds the tree, cleans up after crashed predecessors, makes the agent's directory, and proves that a child can
 * be born in a leaf. Any failure means that this machine does not offer it: do without. May take some 20 ms once
 * (it does under systemd, where the agent has to move into a leaf itself). */
int cgroup_new(struct cgroup **ret, struct error *err);
/* The same below the cgroup2 mount point @mount and its directory @own ("/…"): for tests. */
int cgroup_new_at(const char *mount, const char *own, struct cgroup **ret, struct error *err);
/* Removes the directory. */
struct cgroup *cgroup_free(struct cgroup *c);
DEFINE_CLEANUP(struct cgroup *, cgroup_free)

/* What the leaves can limit and account beyond processor time. */
enum {
        CGROUP_MEMORY = 1 << 0,
        CGROUP_TASKS = 1 << 1, /* the controller "pids" */
        CGROUP_IO = 1 << 2,
};

unsigned cgroup_controllers(const struct cgroup *c); /* of these; NULL has none */
bool cgroup_has_memory(const struct cgroup *c);
const char *cgroup_path(const struct cgroup *c);

struct cgroup_limits {
        uint64_t max_memory; /* bytes; 0: none */
        uint64_t max_tasks;  /* 0: none */
};

/* Peaks are 0 without their controller. */
struct cgroup_usage {
        uint64_t cpu_us; /* the sum of the next two */
        uint64_t user_us;
        uint64_t system_us;
        uint64_t memory_peak; /* bytes */
        uint64_t oom_kills;
        bool has_io;
        uint64_t read_bytes; /* of disks */
        uint64_t written_bytes;
        uint64_t peak_tasks;
        uint64_t refused_tasks; /* for its max_tasks */
};

struct cgroup_leaf {
        struct cgroup *parent;
        int fd; /* the directory; -1: there is no leaf */
        char name[48];
        bool has_limits;
        bool was_killed;
        unsigned controllers;       /* those of the parent */
        struct cgroup_usage before; /* by those who had the leaf before: what adds up */
};

/* -EEXIST and so on. Limits whose controller is missing are ignored. */
int cgroup_leaf_init(struct cgroup_leaf *leaf, struct cgroup *c, const char *name,
                     const struct cgroup_limits *limits, struct error *err);
/* The same, and uses an empty leaf again if there is one; its name is then that of its first user. */
int cgroup_leaf_take(struct cgroup_leaf *leaf, struct cgroup *c, const char *name,
                     const struct cgroup_limits *limits, struct error *err);
/* Limits a leaf that is there already. */
void cgroup_leaf_limit(struct cgroup_leaf *leaf, const struct cgroup_limits *limits);
/* What was used in it until now does not count. */
void cgroup_leaf_restart(struct cgroup_leaf *leaf);
/* Lets go of the leaf, which is kept for others or removed; -EBUSY while something lives in it. No leaf is
 * success. */
int cgroup_leaf_give_back(struct cgroup_leaf *leaf);
bool cgroup_leaf_is_populated(const struct cgroup_leaf *leaf);
/* Removes the leaf; -EBUSY while something lives in it. No leaf is success. */
int cgroup_leaf_remove(struct cgroup_leaf *leaf);
/* SIGKILL for all that is in it, and for what is forked meanwhile. */
int cgroup_leaf_kill(struct cgroup_leaf *leaf);
/* Any other signal, to each process in turn. True when @wanted was among them. */
bool cgroup_leaf_signal(const struct cgroup_leaf *leaf, int sig, pid_t wanted);
void cgroup_leaf_usage(const struct cgroup_leaf *leaf, struct cgroup_usage *ret);
/* A descriptor that polls as urgent (POLLPRI) when the leaf may have become empty. Reading the state with
 * cgroup_events_populated arms it again. */
int cgroup_leaf_open_events(const struct cgroup_leaf *leaf);
bool cgroup_events_populated(int events_fd);

/* Where the cgroup of the background job @name is to be made: where no agent's start or end touches it. agent-keeper
 * makes and removes it. *ret_path is the caller's. */
int cgroup_job_path(struct cgroup *c, const char *name, char **ret_path, struct error *err);
/* Sets the limits again: they are lost when a service manager takes the controllers back between two agents. */
void cgroup_limit_job(struct cgroup *c, const char *path, const struct cgroup_limits *limits);
/* SIGKILL for all that is in it, and removes it when that has died, within some 200 ms: for a worker thread. */
void cgroup_remove_job(const char *path);
