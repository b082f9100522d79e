/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The options. One table (config_table.c) describes them all; values come from the defaults, then the INI
 * file, then VM_AGENT_* in the environment, then the command line; later sources win. A list option given
 * by a later source replaces the earlier list. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "agent/base/error.h"
#include "agent/base/macros.h"

enum output_keep { OUTPUT_KEEP_HEAD_TAIL, OUTPUT_KEEP_HEAD };
enum cgroup_mode { CGROUP_AUTO, CGROUP_OFF };

struct config {
        char *config_file; /* the file that was read, or NULL */

        char *listen; /* "ADDR:PORT", "[ADDR6]:PORT" or "unix:PATH" */
        char *workspace;
        char *runtime_dir;
        char *state_dir; /* what outlives the agent */
        char **allowed_paths;
        char *run_as; /* NULL: the agent's own user */
        char *vm_id;
        int log_level; /* enum log_level */

        char *jwt_secret_file;
        char *jwt_algorithm; /* "HS256" … "ES512" */
        char *jwt_audience;  /* NULL: not checked; the same for the next two */
        char *jwt_issuer;
        char *jwt_subject;
        uint64_t jwt_leeway_ms;
        bool public_info;    /* /info and /system without a token */
        char **cors_origins; /* empty or NULL: CORS off; "*" any */
        bool console;        /* serve the console page at / */

        uint64_t max_body;        /* bytes of one request body */
        uint64_t max_upload;      /* bytes of one that is streamed to a file; 0: no limit */
        uint64_t max_extract;     /* bytes that one archive unpacks to; 0: no limit */
        uint64_t max_connections; /* open at once */
        uint64_t max_requests;    /* being handled at once */
        uint64_t rate_limit;      /* requests of one subject per minute; 0: no limit */
        uint64_t
                header_timeout_ms; /* a new or idle connection must complete its request's headers in this time */
        uint64_t body_timeout_ms; /* and the body in this (plus a second per 64 KiB) */
        uint64_t idle_timeout_ms; /* no byte moved in either direction */
        uint64_t heartbeat_ms;    /* silence of a running execution before white space is sent */
        uint64_t shutdown_grace_ms;

        uint64_t max_websockets;
        uint64_t max_message;          /* bytes */
        uint64_t websocket_silence_ms; /* then a peer is dropped */
        uint64_t max_terminals;
        uint64_t terminal_linger_ms; /* 0: named terminals end with their connection, too */

        uint64_t max_processes;    /* running, plus process groups that outlived theirs */
        uint64_t max_output;       /* bytes kept of each of stdout and stderr */
        uint64_t max_output_total; /* bytes kept of all executions together */
        uint64_t
                max_discard; /* bytes dropped after max_output before the execution is ended; 0 = no limit */
        int output_keep;         /* enum output_keep */
        uint64_t rich_max_size;  /* bytes of rich output kept of one execution */
        uint64_t rich_max_count; /* outputs of it */
        uint64_t max_timeout_ms; /* longer requested timeouts are clamped */
        uint64_t kill_grace_ms;  /* between SIGTERM and SIGKILL; 0: SIGKILL at once */
        uint64_t max_memory;     /* per execution; 0 = no limit */
        uint64_t max_tasks;      /* per execution; 0 = no limit */
        int cgroup;              /* enum cgroup_mode */

        bool warm;                /* executions may start from processes that wait */
        uint64_t warm_python;     /* that wait, at most, with modules preloaded and without */
        uint64_t warm_javascript; /* likewise */
        char *warm_preload;       /* names of modules with commas between them, or "none" */
        bool warm_at_boot;        /* not when they are wanted first */
        uint64_t warm_idle_ms;    /* 0: they wait forever */

        uint64_t max_queued_jobs;
        uint64_t job_log_size; /* bytes on the disk, of each of stdout and stderr of one job */
        uint64_t job_keep_ms;  /* how long a job that has ended is known */
        uint64_t job_keep_count;
        uint64_t job_keep_size;     /* bytes on the disk, logs of all jobs that have ended */
        uint64_t job_kill_grace_ms; /* between SIGTERM and SIGKILL, when a job is killed or late */

        int webhook_signature; /* enum webhook_signature */
        uint64_t webhook_connect_timeout_ms;
        uint64_t webhook_timeout_ms; /* of one attempt */
        uint64_t webhook_max_tries;
        uint64_t webhook_retry_first_ms;
        uint64_t webhook_retry_max_ms;
        uint64_t webhook_max_sending; /* at once */
        uint64_t webhook_max_queued;
        char **webhook_allow; /* empty or NULL: everything that is not denied */
        char **webhook_deny;
        bool webhook_metadata; /* may link-local addresses and the like be targets? */
        char *webhook_ca_file; /* NULL: the system's */

        bool env_keep;
        bool env_mask;

        uint64_t idempotency_ttl_ms;

        bool cache; /* for requests that do not say */
        uint64_t cache_ttl_ms;
        uint64_t cache_max_size; /* bytes of all results */
};

/* Fills *ret from all sources. @argv are the arguments after the sub-command. Unknown options, unparsable
 * values, values out of range and an unreadable file (the default one may be missing) end with one line in
 * @err that names option and source. -EINVAL and friends. */
int config_load(int argc, char *const *argv, struct config **ret, struct error *err);
struct config *config_free(struct config *c);
/* The same from given sources, for tests. @envp is as environ; @default_file may be missing. */
struct config_sources {
        int argc;
        char *const *argv;
        char *const *envp;
        const char *default_file;
};
int config_load_from(const struct config_sources *sources, struct config **ret, struct error *err);

DEFINE_CLEANUP(struct config *, config_free)

/* Reads all sources again and copies what may change at run time into @c; options that need a restart and
 * differ are logged as warnings and stay. On failure @c is untouched. */
int config_reload(struct config *c, int argc, char *const *argv, struct error *err);

/* Cross-option checks that a table cannot express (a listen address that parses, an absolute workspace, a
 * known run-as user …). */
int config_check(const struct config *c, struct error *err);

/* The option table, printed: for --help, as the README's reference (Markdown), as a commented example file, for the
 * manual page (man macros). */
void config_print_help(FILE *out);
void config_print_reference(FILE *out);
void config_print_example(FILE *out);
void config_print_man(FILE *out);
