/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Shared by jobs.c (the registry, and the line of those that wait), jobs_object.c (one job), jobs_run.c (its life),
 * jobs_tell.c (who is told), jobs_keep.c (what has ended), jobs_scan.c (after a restart), jobs_store.c (its disk work,
 * one piece after the other) and jobs_files.c (what that work is).
 *
 * Who holds references to a job: the registry, until its files are removed; its link, until nothing of it lives; its
 * disk work; and the list of those about whom somebody has to be told. */

#include "agent/loop/loop.h"
#include "proc/jobs.h"

#define JOBS_ID_BUCKETS  4096
#define JOBS_PID_BUCKETS 256

#define JOB_FACTS    "job.json"
#define JOB_PROGRAM  "program.json"
#define JOB_CALLBACK "callback.json"
#define JOB_ERROR    "error"

struct timer;

/* Whom to tell what. */
enum {
        TELL_DRAINED = 1 << 0,
        TELL_GROWN = 1 << 1,
        TELL_CHANGE = 1 << 2,
        TELL_OWNER = 1 << 3, /* on_end is owed */
};

/* Disk work, in the order in which it is done. */
enum {
        STORE_NEW = 1 << 0,      /* the directory, program.json and job.json */
        STORE_SCRIPT = 1 << 1,   /* remove the script */
        STORE_CALLBACK = 1 << 2, /* callback.json */
        STORE_ERROR = 1 << 3,    /* error */
        STORE_STATUS = 1 << 4,   /* the status file, where no keeper has written one */
        STORE_REMOVE = 1 << 5,   /* everything; instead of all others */
};

struct job {
        unsigned refs;
        struct jobs *jobs;      /* NULL: the registry is gone */
        struct list link;       /* among the known ones, by order; or the leaving ones */
        struct list line_link;  /* while it waits for its start */
        struct list ended_link; /* while it may be evicted */
        struct list dirty_link;
        struct list process_link; /* in the buckets of the registry, as the next three */
        struct list execution_link;
        struct list leader_link;
        struct list keeper_link;
        struct list repeat_link; /* of those that have a repeat_id */
        struct list watches;

        char process_id[ID_SIZE];
        char execution_id[ID_SIZE];
        char *name;     /* "": none */
        char *language; /* NULL: none, as the next but one */
        char *command;
        char *callback_url;
        char *repeat_id; /* NULL: none, as the next one */
        char *repeat_body;
        char *dir;
        char *script;
        uint64_t timeout_ms;
        uint64_t order;
        bool has_terminal;
        bool is_base64;
        bool ignores_tasks;

        enum job_phase phase;
        bool is_written; /* its files are such that it may be started */
        bool has_room;
        bool is_ending; /* killed before its start: its result is being written */
        bool is_gone;
        int64_t queued_ms;
        int64_t started_ms;
        int64_t ended_ms;
        pid_t pid;
        pid_t keeper;
        uint64_t totals[2];
        struct job_link *link_to_keeper;
        struct job_status result;
        bool has_failure;
        struct job_failure failure;
        uint64_t ended_order; /* ascending; 0: not yet */
        uint64_t kept_bytes;  /* as they count among those of all */

        json_t *callback;
        bool is_callback_final;
        bool owes_callback; /* counted */

        unsigned tell;         /* TELL_* */
        unsigned store;        /* STORE_* that is to be done */
        bool is_store_failing; /* and that was logged */
        bool is_storing;       /* a worker has its files */
        const json_t *program; /* of STORE_NEW */
        void (*on_added)(void *arg, struct job *job, const struct error *err);
        void *on_added_arg;
};

struct jobs {
        struct loop *loop;
        struct supervisor *supervisor;
        struct jobs_options options; /* its strings are our own */
        struct job_host host;
        const struct jobs_ops *ops;
        void *arg;
        char *jobs_root;
        char *scripts_root;
        int lock_fd;
        uint64_t last_order;
        uint64_t last_ended_order;

        struct list known;
        struct list leaving; /* evicted or dropped, with files */
        struct list line;    /* by order; a number of them from the first on have room */
        struct list ended;   /* that may be evicted, the one that ended first first */
        struct list dirty;
        size_t n_known;     /* those that are gone do not count */
        size_t n_callbacks; /* that have no final state; of jobs that are being written, too */
        size_t n_waiting;   /* of the line, without room */
        size_t n_rooms;
        size_t n_ended; /* that may be evicted, as the next but one */
        size_t n_dirty;
        uint64_t kept_bytes;
        struct list processes[JOBS_ID_BUCKETS]; /* by process_id */
        struct list executions[JOBS_ID_BUCKETS];
        struct list repeats[JOBS_ID_BUCKETS]; /* by repeat_id */
        struct list leaders[JOBS_PID_BUCKETS];
        struct list keepers[JOBS_PID_BUCKETS];

        struct timer *soon;  /* tells, and evicts when that is wanted */
        struct timer *sweep; /* the next eviction by age */
        struct timer *retry; /* of disk work that failed */
        bool is_soon;
        bool wants_eviction;

        size_t n_workers;
        bool is_closing;
        void (*on_closed)(void *arg);
        void *on_closed_arg;
};

/* jobs.c */
void jobs_insert(struct jobs *j, struct job *job); /* takes a reference: makes it known */
void jobs_line_up(struct jobs *j, struct job *job);
/* Gives room to those whose turn it is, and starts those that are ready. */
void jobs_pump(struct jobs *j);
/* It runs already. */
void jobs_force_room(struct job *job);
/* It waits no longer, and has no room any more. */
void job_leave(struct job *job);
void job_set_pids(struct job *job, pid_t leader, pid_t keeper);
void jobs_worker_begins(struct jobs *j);
void jobs_worker_ended(struct jobs *j);
int64_t jobs_now_ms(void);

/* jobs_object.c */
struct job *job_new(struct jobs *j, const char *process_id, const char *execution_id);
void job_copy_failure(struct job *job, const struct job_failure *why);

/* jobs_run.c */
extern const struct job_callbacks jobs_link_callbacks;
void job_set_result(struct job *job, const struct job_status *status);
/* The end of one that was killed before its start is on the disk, or there is no space for it. */
void job_end_killed(struct job *job);

/* jobs_tell.c */
void job_tell(struct job *job, unsigned what);
void jobs_tell_all(struct jobs *j);
/* Calls on_soon(@j) from the loop. */
void jobs_soon(struct jobs *j);

/* jobs_keep.c */
/* Counts it among those whose callback has no final state, or no longer. */
void job_owe_callback(struct job *job, bool owes);
void jobs_want_eviction(struct jobs *j);
void jobs_evict(struct jobs *j);
/* It has ended; or it may be evicted from now on. */
void job_keep(struct job *job);
/* If it was dropped, and nothing uses its files any more. */
void job_remove_dropped(struct job *job);

/* jobs_store.c */
void job_store(struct job *job, unsigned what);
void jobs_store_retry(struct jobs *j);
/* Removes what is in @paths, which it takes, NULL-terminated. */
void jobs_remove_paths(struct jobs *j, char **paths);

/* jobs_scan.c */
int jobs_open(struct jobs *j, struct error *err);
void jobs_scan(struct jobs *j);

/* jobs_files.c: all but the first two are for workers, or for the start. */
char *job_facts_text(const struct job *job);
char *job_failure_text(const struct job_failure *why);
int job_files_create(const char *dir, const char *facts, const json_t *program, struct error *err);
int job_file_write(int dir_fd, const char *dir, const char *name, const char *text,
                   struct error *err);
void job_files_remove(const char *dir);
/* *ret has one reference, and is not known. -ENOENT: there is no job.json. -EBADMSG. */
int job_facts_read(struct jobs *j, const char *name, struct job **ret, struct error *err);
/* @flags: of jansson. NULL: there is none, or it is damaged. */
json_t *job_file_read(const char *dir, const char *name, size_t max, size_t flags,
                      struct error *err);
