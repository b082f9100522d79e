/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Warm starts: processes in which the interpreter is up already, waiting for what they will run. They are born with the
 * pipes, the session, the cgroup and the id of the execution that they will be, off the way of anybody who waits; an
 * execution takes one of them instead of being started. Whatever makes a difference that a program could see is a
 * reason for a cold start, as is everything that goes wrong here: nobody depends on this.
 *
 * There are three pools: one of bare Python and one of Python with modules preloaded, whose processes are forked by a
 * server each, and one of node, whose processes are started ahead. proc/driver_protocol.h is what we and they know of
 * each other. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "agent/base/list.h"
#include "agent/loop/loop.h"
#include "proc/runtime.h"

struct supervisor;
struct warm;
struct warm_child;
struct warm_pool;

struct warm_options {
        bool is_enabled;
        const char *driver_dir;
        uint64_t max_python;     /* that wait, in each of the two pools; 0: they are off */
        uint64_t max_javascript; /* likewise */
        const char *
                preload; /* names of modules with commas between them; "none", or NULL: no such pool */
        bool at_boot;    /* start the pools at once, and not when they are wanted first */
        uint64_t idle_ms; /* unused for so long a pool ends */
        /* How patient we are; 0: as long as is sensible. For tests. */
        uint64_t ready_ms;  /* a server has to be ready */
        uint64_t wedged_ms; /* and to answer */
        uint64_t wait_ms;   /* an execution waits for its process to be forked */
        uint64_t quiet_ms;  /* nothing has changed on the disk, before a server is started again */
};

/* Why an execution was started cold. The names are on the wire (warm_describe). */
enum warm_miss {
        WARM_MISS_DISABLED, /* the pool is off, or was given up */
        WARM_MISS_ENVIRONMENT, /* a variable that counts when an interpreter starts, or another interpreter */
        WARM_MISS_SIZE,  /* the environment is too large to be handed over */
        WARM_MISS_INPUT, /* stdin is a file */
        WARM_MISS_TERMINAL,
        WARM_MISS_LIMITS, /* of its own, that a process that lives cannot be given */
        WARM_MISS_STALE,  /* what was loaded has changed on the disk */
        WARM_MISS_EMPTY,  /* nobody waits, and it would have taken too long */
        WARM_MISS_FAILED,
        N_WARM_MISSES
};

/* What is to be run. Everything is borrowed until warm_child_done, or until @done is called without a child. */
struct warm_request {
        enum language language;
        const char *code;
        size_t code_size;
        const char *script; /* path of the source */
        const char *cwd;
        char *const *envp; /* all of it */
        bool has_staged_input;
        bool has_terminal;
        bool has_limits;          /* that only a new process can be given */
        bool has_resource_limits; /* others, that a waiting one is given if we have the right to do that */

        /* Used if the answer of warm_take is WARM_E_WAIT: called once, from the loop; with NULL for a cold start. */
        void (*done)(struct warm_request *q, struct warm_child *child);

        /* private */
        struct warm_pool *pool;
        struct list link;
        uint64_t waits_until_ms;
};

/* Positive outcomes of warm_take. */
#define WARM_E_COLD 1 /* start it as if there were no warm starts */
#define WARM_E_WAIT 2 /* its process is being forked: @q stays where it is until @done */

struct warm *warm_new(struct loop *l, struct supervisor *s, const struct warm_options *o);
/* Copies what may change at run time; pools that were given up get another chance. */
void warm_set_options(struct warm *w, const struct warm_options *o);
/* The global variables (an object of strings) are others now; it is borrowed. Processes that wait are started again if
 * the change matters to them: if something is another that counts when an interpreter starts, or another one is
 * found. */
void warm_set_variables(struct warm *w, json_t *variables);
/* Replaces all that wait, and their servers: what they have drawn at random may be known to another machine that was
 * started from the same saved state. */
void warm_renew(struct warm *w);
/* Ends all that wait, calls @done of who waits for them, and in the end @on_closed, right before it is freed. To be
 * called when the supervisor is being closed: it waits for us. */
void warm_close(struct warm *w, void (*on_closed)(void *arg), void *arg);

/* Looks for a process for @q. 0: *ret is to be given to supervisor_start (process_options.warm), and then to
 * warm_child_done. */
int warm_take(struct warm *w, struct warm_request *q, struct warm_child **ret);
/* After supervisor_start has returned, whatever it was. True: it is an execution now. False: it was not used, and waits
 * again if it can. */
bool warm_child_done(struct warm_child *child);

/* The process that @q was given died without having read its job (SPAWN_LOST). So it was not used, and is a reason to
 * distrust the others. */
void warm_request_lost(struct warm *w, struct warm_request *q);

/* For GET /metrics/snapshot: { pool: { ready, server_pid, hits, misses: { reason: n } … } … }; a new reference. */
json_t *warm_describe(const struct warm *w);

/* The numbers alone, since the start but for the first three, which are of now. */
struct warm_counts {
        const char *pool; /* a constant */
        bool is_enabled;
        uint64_t n_ready;
        uint64_t n_starting;
        uint64_t n_waiting; /* executions */
        uint64_t hits;
        uint64_t lost; /* hits that came to nothing: counted as misses, too */
        uint64_t misses[N_WARM_MISSES];
        uint64_t restarts;
};

/* Of pool @i, from 0 on. False: there is none. */
bool warm_count(const struct warm *w, unsigned i, struct warm_counts *ret);
const char *warm_miss_name(enum warm_miss miss);
