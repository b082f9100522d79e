/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A row of the language table, for runtime.c and script.c. */

#include "proc/runtime.h"

#define RUNTIME_MAX_ARGS 5

/* Placeholders in argv: the source file, its directory, (as a prefix) the directory of the drivers, and the option that
 * says where rich output goes, if it is wanted: driver_protocol.h. */
#define ARG_SCRIPT "{script}"
#define ARG_DIR    "{dir}"
#define ARG_DRIVER "{drivers}"
#define ARG_RICH   "{rich}"

struct runtime {
        const char *name;
        const char *program;   /* what must be installed */
        const char *elsewhere; /* a place outside of PATH that will do */
        const char *file;      /* name of the source file */
        const char *argv[RUNTIME_MAX_ARGS];
        bool python_path; /* PYTHONPATH leads to the working directory */
        bool is_snippet;  /* completed by go_snippet_complete */
};

extern const struct runtime runtimes[N_LANGUAGES];
