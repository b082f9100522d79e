/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The running agent, for those who start and stop it. */

#include <stdbool.h>
#include <stdint.h>

#include "agent/app.h"
#include "agent/loop/gate.h"
#include "agent/loop/loop.h"

struct app_files;
struct resume;

/* What stopping waits for. */
enum {
        GATE_REQUESTS = 1 << 0,
        GATE_WEBSOCKETS = 1 << 1,
        GATE_TERMINALS = 1 << 2,
        GATE_SUPERVISOR = 1 << 3,
        GATE_JOBS = 1 << 4,
        GATE_WEBHOOKS = 1 << 5,
        GATE_WARM = 1 << 6,
        GATE_VARIABLES = 1 << 7,
        GATE_PARTS = GATE_REQUESTS | GATE_WEBSOCKETS | GATE_TERMINALS,
        GATE_BELOW = GATE_SUPERVISOR | GATE_JOBS | GATE_WEBHOOKS | GATE_WARM | GATE_VARIABLES,
};

/* The parts of the running agent that handlers have no business with. */
struct runner {
        struct app app;
        struct loop loop;
        int argc;
        char *const *argv;
        struct gate gate;
        struct jobs *jobs; /* until the end; the app's are gone once they are being closed */
        struct webhooks *webhooks;
        struct app_files *files;
        struct resume *resume;
        uint64_t max_files; /* of children: the limit that the agent was started with */
        bool is_stopping;
        bool is_supervisor_closing;
        uv_signal_t signals[3];
        uv_timer_t stop_timer;
        uv_timer_t watchdog;
};

/* On SIGTERM and SIGINT: ends everything, in order, and at a second one at once. The loop ends when that is done. */
void app_stop(struct runner *run, int signum);
/* The last step of stopping: all that is waited for in the gate has ended. */
void app_everything_ended(struct gate *gate);
