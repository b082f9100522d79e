/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Shared by warm.c (all of them), warm_take.c (what executions ask for), warm_pool.c (how many there are, and when),
 * warm_server.c (who forks them), warm_child.c (one that waits), warm_watch.c (whether what they loaded is still what
 * is on the disk), warm_environment.c and warm_scan.c (what fits whom), warm_job.c (the message), and process_start.c,
 * which makes an execution of one. */

#include <sys/stat.h>

#include <uv.h>

#include "agent/base/buf.h"
#include "agent/base/id.h"
#include "agent/loop/gate.h"
#include "proc/cgroup.h"
#include "proc/supervisor.h"
#include "proc/warm.h"

enum pool_kind { POOL_PYTHON, POOL_SCIENTIFIC, POOL_JAVASCRIPT, N_POOLS };

/* Numbers in turn of life. */
enum child_state {
        CHILD_ASKED,   /* for, of the server: there is no pid yet */
        CHILD_PLACING, /* a worker moves it into its leaf */
        CHILD_READY,
        CHILD_TAKEN,
        CHILD_ENDING, /* killed, or dead */
        N_CHILD_STATES
};

/* The child's descriptors, in the order of their numbers but for the status pipe's. */
enum { END_STDIN, END_STDOUT, END_STDERR, END_RICH, END_JOB, N_ENDS };

struct warm_child {
        struct supervisor_ward ward;
        struct list link; /* pool->children[state] */
        struct warm_pool *pool;
        enum child_state state;
        char id[ID_SIZE]; /* while it waits */
        int fds[N_ENDS];  /* ours; -1: handed over, or closed */
        int status_fd;    /* of one that was spawned, until it is taken; -1: it was forked */
        struct cgroup_leaf leaf;
        uint64_t since_ms;                  /* asked for, or born */
        bool has_process;                   /* that has to be reaped */
        bool is_with_worker;                /* must stay where it is */
        bool is_outdated;                   /* asked for, and not wanted any more when it comes */
        bool was_lost;                      /* ended because it did not wait any more */
        const struct warm_request *request; /* of who took it; borrowed */
        bool is_started;                    /* it is an execution: only the record is left */
};

/* Directories in which a change means that a server is out of date. */
struct warm_watch {
        int fd; /* inotify's; -1: none */
        struct watched_name {
                int wd;
                char *name; /* what matters there; NULL: everything */
        } * names;
        size_t n;
        size_t capacity;
};

struct warm_server {
        struct warm_pool *pool; /* NULL: it was let go */
        struct warm *warm;
        struct supervisor_ward ward;
        struct gate gate;
        uv_poll_t control;
        int control_fd;
        int status_fd;
        bool is_ready;
        uint64_t started_ms;
        struct timespec started; /* by the clock of the disk's time stamps */
};

/* Which program it is that a name in PATH leads to. */
struct warm_program {
        char path[1024];
        dev_t dev;
        ino_t ino;
        off_t size;
        struct timespec mtime;
        bool is_script;         /* which chooses another one: pyenv's */
        struct timespec chosen; /* when that was changed */
};

struct warm_pool {
        struct warm *warm;
        enum pool_kind kind;
        uv_timer_t timer;
        uint64_t max;    /* that wait */
        uint64_t target; /* that are to wait, as the demand is */
        struct list children[N_CHILD_STATES];
        unsigned n_children[N_CHILD_STATES];
        struct list waiting; /* requests */
        unsigned n_waiting;
        struct warm_server *server;
        struct warm_watch watch;
        struct warm_program program;
        char **envp;

        bool is_wanted;   /* used lately */
        bool is_given_up; /* until the next reload */
        bool is_stale;    /* until nothing has changed for a while */
        uint64_t last_used_ms;
        uint64_t last_birth_ms;
        uint64_t not_before_ms; /* nothing is started */
        unsigned n_births;      /* that nobody has used, in the second that began at … */
        uint64_t births_since_ms;
        unsigned n_early;    /* times in a row that something changed while a server started */
        unsigned n_failures; /* in the minute that began at … */
        uint64_t failing_since_ms;
        int64_t asleep_us; /* how long the machine had been suspended when the oldest child was born */

        uint64_t hits;
        uint64_t lost; /* of these; they are misses as well */
        uint64_t misses[N_WARM_MISSES];
        uint64_t restarts;
};

/* A leaf in which somebody still died when its child was done with. */
struct warm_leaf {
        struct list link;
        struct cgroup_leaf leaf;
        unsigned n_tries;
};

struct warm {
        struct loop *loop;
        struct supervisor *supervisor; /* a reference */
        struct warm_options options;   /* strings are owned copies */
        struct warm_pool pools[N_POOLS];
        char **preload;    /* top-level names */
        json_t *variables; /* the global ones; a reference, or NULL */
        struct list leaves;
        bool may_not_limit; /* the processes of the user who they run as: this has been tried */
        unsigned n_live;    /* objects and handles that must be gone before we are */
        bool is_closing;
        void (*on_closed)(void *arg);
        void *arg;
};

/* warm.c */
void warm_unlive(struct warm *w); /* one of n_live is gone; may free @w */
extern const char *const warm_pool_names[N_POOLS];

/* warm_scan.c. @names are top-level modules; their followers, which import the first of them, count as well. */
bool warm_scan_imports(const char *code, size_t size, char *const *names);
/* "numpy, pandas" as an array; NULL for "none". Names that are no modules' are left out. */
char **warm_scan_names(const char *text);

/* warm_environment.c */
/* Whether what counts at an interpreter's start is the same in @envp, of an execution in @cwd, as in @pool's. */
bool warm_environment_fits(enum pool_kind kind, char *const *pool, char *const *envp,
                           const char *cwd);
/* A new strv: what an execution without an environment of its own would get, but for PYTHONPATH, and for those of the
 * variables in @global (or NULL) that do not matter at the start. NULL: it cannot be. */
char **warm_environment_of_pool(enum pool_kind kind, const struct credentials *user,
                                json_t *global);
/* Whether processes that were started with @a are as good as ones with @b, as far as variables decide it. */
bool warm_environment_is_same(enum pool_kind kind, char *const *a, char *const *b);
/* The global variables are others now: ends what they matter to, so that it is started again. */
void warm_pool_look_at_variables(struct warm_pool *pool);
/* -ENOENT: not found, or not by an absolute path. */
int warm_program_find(enum pool_kind kind, char *const *envp, struct warm_program *ret);
/* The rest of what there is to know of the one that a pool is made from. */
void warm_program_look_into(struct warm_program *p);
bool warm_program_is_same(const struct warm_program *known, const struct warm_program *found);
/* Whether something in @cwd decides which interpreter @p becomes. */
bool warm_program_depends_on(const struct warm_program *p, const char *cwd);

/* warm_job.c */
/* How long the message will be, at most. */
size_t warm_job_size(const char *cwd, const char *script, char *const *envp);
/* -EFBIG: longer than DRIVER_JOB_MAX. */
int warm_job_build(const char *cwd, const char *script, bool has_input, char *const *envp,
                   struct buf *ret);

/* warm_watch.c */
void warm_watch_init(struct warm_watch *w);
void warm_watch_done(struct warm_watch *w);
/* Positive outcome of warm_watch_open. */
#define WARM_WATCH_E_CHANGED \
        1 /* in one of them something has changed since @since; they are watched */
/* @paths: strings, each with its NUL. Those that do not exist are watched for. */
int warm_watch_open(struct warm_watch *w, const char *paths, size_t size,
                    const struct timespec *since, struct error *err);
/* Whether something has changed since the last question. */
bool warm_watch_has_changed(struct warm_watch *w);

/* warm_child.c */
/* A child with its pipes and its leaf, but no process. The other ends are *ret_ends: the caller closes them. */
int warm_child_new(struct warm_pool *pool, struct warm_child **ret, int ret_ends[N_ENDS],
                   struct error *err);
void warm_child_move(struct warm_child *c, enum child_state to);
/* Whether there may be one more: of processes that nobody uses only so many are born in a second, whatever goes wrong.
 * 0, or the milliseconds until there may. */
uint64_t warm_child_due(struct warm_pool *pool);
/* It has a process: guards it. -ECHILD: there is no such. */
int warm_child_born(struct warm_child *c, pid_t pid);
/* It is born, but not in its leaf. It will be ready later, or end. */
void warm_child_place(struct warm_child *c);
/* Kills it; it is freed when it can be. */
void warm_child_end(struct warm_child *c);
/* Whether its socket has no end yet. */
bool warm_child_is_alive(const struct warm_child *c);
/* Gives it limits and the job: after 0 it runs. It is taken. */
int warm_child_send(struct warm_child *c, const char *cwd, bool has_input, char *const *envp,
                    const struct process_limits_plan *limits, struct error *err);
/* An execution has taken over what it needs. */
void warm_child_started(struct warm_child *c);
/* Tries again to give back what was in use. */
void warm_leaves_give_back(struct warm *w, bool is_last);
/* node, started ahead. */
int warm_child_spawn(struct warm_pool *pool, struct error *err);

/* warm_server.c */
int warm_server_start(struct warm_pool *pool, struct error *err);
/* Kills it; it goes by itself. */
void warm_server_end(struct warm_pool *pool);
/* Asks for one more child. -EAGAIN: not now. */
int warm_server_ask(struct warm_server *s, struct error *err);

/* warm_take.c */
/* A child has become ready: those who wait may have it. */
void warm_pool_deliver(struct warm_pool *pool);
/* The first that is alive, taken; or NULL. */
struct warm_child *warm_pool_pop(struct warm_pool *pool);

/* warm_pool.c */
void warm_pool_init(struct warm_pool *pool, struct warm *w, enum pool_kind kind);
/* Sees to it after @ms, or earlier. */
void warm_pool_kick(struct warm_pool *pool, uint64_t ms);
/* Somebody is interested: it starts, if it had not. */
void warm_pool_use(struct warm_pool *pool);
bool warm_pool_is_on(const struct warm_pool *pool);
/* Ends everything in it; who waits is told @why. */
void warm_pool_end(struct warm_pool *pool, enum warm_miss why);
/* Something is wrong with it: ends everything, and starts it again later, if it may. */
void warm_pool_failed(struct warm_pool *pool, const char *why);
/* It cannot have more processes at the moment: who waits starts cold, and it tries again after a while. */
void warm_pool_pause(struct warm_pool *pool);
void warm_pool_give_up(struct warm_pool *pool, const char *why);
/* Whether what waits was made from what is there now; if not, all of it ends. */
bool warm_pool_is_fresh(struct warm_pool *pool);
/* The server's first words. */
void warm_pool_on_ready(struct warm_pool *pool, const char *paths, size_t size);
