/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What has to be done before there is a process, whoever starts it: arguments are checked, source and input are
 * written, the environment is built. And the words for what can go wrong there, or with the process: a problem, the
 * field to change, and a sentence. */

#include <stdbool.h>
#include <stddef.h>

#include "agent/http/problem.h"
#include "agent/json/field.h"
#include "proc/runtime.h"
#include "proc/staging.h"

struct app;
struct cache_args;
struct execution_args;

/* What is pointed to is the caller's; fields are constants. */
struct run_spec {
        const struct execution_args *args;
        const struct cache_args *cache; /* NULL: results of this are never kept */
        const struct json_text *code;   /* NULL: argv is the program */
        enum language language;
        char **argv;               /* a new array of borrowed strings; NULL with code */
        bool has_input;            /* stdin is fed later, unless the arguments have one */
        bool may_be_rich;          /* what code displays is wanted */
        const char *size_field;    /* to blame when all together is too long for the kernel */
        const char *program_field; /* to blame when the program cannot be executed */
};

struct launch_failure {
        enum problem problem;
        const char *field; /* a JSON pointer, a constant; or NULL */
        char message[512];
};

struct launch {
        /* To be filled in by the caller, whose object this is embedded in. */
        struct app *app;
        struct run_spec spec; /* launch_free frees the array; the rest must live until @done */
        const char *
                script_root; /* where the source's directory is made; NULL: the runtime directory */
        const char *
                script_name; /* of that directory, which then stays; NULL: it has no name, and is removed */

        /* Exactly one call, from inside launch_begin or later. */
        void (*done)(struct launch *l);

        /* The outcome, for @done. */
        bool has_failed;
        struct launch_failure failure;
        char *const *argv; /* borrowed */
        const char *first; /* borrowed: as in struct process_options */
        char **envp;       /* owned, as the next two; launch_forget frees it */
        char *cwd;
        struct staging staging; /* its input_fd is stdin; -1: there is none */
        char *program;          /* argv[0] */
        bool has_input;         /* stdin is to be fed */
        bool has_rich;          /* the program is to get a descriptor for what it displays */
};

void launch_begin(struct launch *l);
/* The process was started, or never will be: frees what only the start needs. Source and words stay. */
void launch_forget(struct launch *l);
/* Frees everything but the object. Not between launch_begin and @done. */
void launch_done(struct launch *l);

/* What can be known at once: is there such a runtime, can the directory be meant? launch_begin looks, too. False: it
 * must fail, and @ret_why says why. */
bool launch_check(const struct app *app, const struct run_spec *spec,
                  struct launch_failure *ret_why);

/* Why there was a process, but no program in it. */
void launch_explain(const struct launch *l, const struct spawn_failure *failure,
                    struct launch_failure *ret);
/* What comes before the program (user, limits, terminal) failed with @error. */
void launch_explain_setup(int error, struct launch_failure *ret);
/* The arguments and the environment together are too long for the kernel. */
void launch_explain_size(const struct launch *l, struct launch_failure *ret);

/* Sets all members. */
void launch_fail(struct launch_failure *ret, enum problem p, const char *field, const char *fmt,
                 ...) PRINTF_LIKE(4, 5);
void launch_fail_closed(struct launch_failure *ret); /* the agent is shutting down */
