/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What became of executions: by what was executed, on whose behalf, and how it ended. */

#include <stdint.h>

#include "agent/base/histogram.h"

/* What was executed: the languages, in the order of proc/runtime.h, and commands. The texts are on the wire, as those
 * of the next two. */
#define EXECUTION_KINDS(X)          \
        X(PYTHON, "python")         \
        X(JAVASCRIPT, "javascript") \
        X(BASH, "bash")             \
        X(GO, "go")                 \
        X(COMMAND, "command")

enum execution_kind {
#define X(name, text) EXECUTION_##name,
        EXECUTION_KINDS(X)
#undef X
                N_EXECUTION_KINDS
};

/* How its client follows it. */
#define EXECUTION_MODES(X)                                      \
        X(SYNC, "sync")             /* an answer at its end */  \
        X(STREAM, "stream")         /* output on a WebSocket */ \
        X(BACKGROUND, "background") /* asked for now and then */

enum execution_mode {
#define X(name, text) EXECUTION_##name,
        EXECUTION_MODES(X)
#undef X
                N_EXECUTION_MODES
};

#define EXECUTION_OUTCOMES(X)                                                         \
        X(SUCCESS, "success") /* exit code 0 */                                       \
        X(ERROR, "error")     /* any other */                                         \
        X(SIGNAL, "signal")   /* of which nobody here knows */                        \
        X(TIMEOUT, "timeout")                                                         \
        X(KILLED, "killed") /* by a client, or as the one who waited had left */      \
        X(OOM, "oom")                                                                 \
        X(CPU_LIMIT, "cpu_limit")                                                     \
        X(OUTPUT_LIMIT, "output_limit")                                               \
        X(LOST, "lost")               /* its keeper died */                           \
        X(NOT_STARTED, "not_started") /* there was a process, but no program in it */ \
        X(REFUSED, "refused")         /* there was no process: no room, or it could not be one */

enum execution_outcome {
#define X(name, text) EXECUTION_##name,
        EXECUTION_OUTCOMES(X)
#undef X
                N_EXECUTION_OUTCOMES
};

/* All zero: none. */
struct execution_metrics {
        uint64_t counts[N_EXECUTION_KINDS][N_EXECUTION_MODES][N_EXECUTION_OUTCOMES];
        struct histogram duration[N_EXECUTION_KINDS]; /* us, of those that ran */
};

extern const char *const execution_kind_names[N_EXECUTION_KINDS];
extern const char *const execution_mode_names[N_EXECUTION_MODES];
extern const char *const execution_outcome_names[N_EXECUTION_OUTCOMES];

/* Counts one that has ended. @duration_us does not matter for those that did not run. */
void execution_metrics_count(struct execution_metrics *m, enum execution_kind kind,
                             enum execution_mode mode, enum execution_outcome outcome,
                             uint64_t duration_us);
/* All but the refused, and those of them that were no success. */
uint64_t execution_metrics_total(const struct execution_metrics *m);
uint64_t execution_metrics_failed(const struct execution_metrics *m);
