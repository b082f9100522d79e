/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One run: arguments → launch (source and input are written) → process → end. It does not know who wants it: an
 * HTTP request, a stream, a job. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/http/problem.h"
#include "handlers/execution/launch.h"
#include "proc/process.h"

struct app;
struct run;

/* Exactly one of on_failed and on_end is called, once, and then the run is gone. */
struct run_ops {
        /* Nothing was started, or the program could not be executed. @field is a JSON pointer or NULL. May be called
         * from inside run_begin. */
        void (*on_failed)(void *arg, enum problem p, const char *field, const char *message);
        /* There is a process; borrowed until the end. From inside run_begin, or later. May be NULL. */
        void (*on_started)(void *arg, struct process *p);
        /* As in struct process_options. NULL: output is kept by the process. */
        void (*on_output)(void *arg, enum process_channel from, const char *data, size_t size);
        void (*on_input_drained)(void *arg);
        /* The result is final. To keep the process longer, take a reference. */
        void (*on_end)(void *arg, struct process *p);
};

/* Takes the array of @spec; what else it points to must live until on_started or on_failed. With has_input the input is
 * fed by process_write. */
struct run *run_new(struct app *app, const struct run_spec *spec, const struct run_ops *ops,
                    void *arg);
/* Starts it. The caller must expect that it has ended when this returns. */
void run_begin(struct run *run);
/* Makes it end soon; the end comes as always, later. */
void run_cancel(struct run *run);

/* The limit in force: what was asked for, or the operator's. */
uint64_t run_timeout_ms(const struct run *run);
