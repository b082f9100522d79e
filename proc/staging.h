/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What a program needs before it can be started: its source in a file, its standard input in a descriptor. Small
 * ones are staged at once, large ones by a worker thread, because writing megabytes takes milliseconds. */

#include <stdbool.h>

#include "agent/base/error.h"
#include "agent/loop/loop.h"
#include "proc/runtime.h"

/* Positive outcome of staging. */
#define STAGING_E_INPUT 1 /* the input is no base64 */

struct staging {
        /* To be filled in by the caller. What is pointed to must live until @done; nothing of it is changed. */
        struct json_text code; /* NULL: the program is not made from source */
        enum language language;
        struct json_text input; /* NULL: /dev/null */
        bool input_is_base64;
        const char *cwd;
        const char *script_root; /* where the source's directory is made */
        const char *
                script_name; /* its name: it stays, for somebody else to remove; NULL: a new one that does not */
        const char *driver_dir;
        bool may_be_rich; /* as script_new */
        uid_t uid;        /* whose the source will be */
        gid_t gid;

        /* The outcome, for @done. */
        int result; /* 0, STAGING_E_INPUT, or a negative errno, and why */
        struct error error;
        struct script *script; /* owned; NULL without code */
        int input_fd;          /* owned; -1 without input */

        void (*done)(struct staging *s);
};

/* Stages, and calls @done(@s) on the loop: at once, or later. @s is embedded in an object of the caller's, which
 * frees the outcome with staging_done. */
void staging_run(struct loop *l, struct staging *s);
/* Frees what was staged. Removing what the program left beside its source may be left to a worker. */
void staging_done(struct loop *l, struct staging *s);
