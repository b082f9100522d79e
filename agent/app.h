/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The running agent: what handlers reach through request_app(). */

#include <stddef.h>
#include <stdint.h>

#include "agent/base/error.h"
#include "agent/metrics.h"

struct auth;
struct config;
struct health;
struct host;
struct jobs;
struct loop;
struct results;
struct roots;
struct route;
struct server;
struct supervisor;
struct terminals;
struct variables;
struct warm;
struct webhooks;
struct ws_server;

struct app {
        struct loop *loop;
        struct config *config;
        struct auth *auth;
        struct supervisor *supervisor;
        struct warm *warm; /* NULL at the very end */
        struct server *server;
        struct ws_server *websockets;
        struct terminals *terminals;
        struct jobs *jobs; /* NULL at the very end, as the next one */
        struct webhooks *webhooks;
        struct results *results;     /* that are kept; NULL at the very end */
        struct variables *variables; /* that clients set for all that starts */
        struct roots *roots;         /* which files clients may reach, and as whom */
        struct health *health;       /* whether all is well */
        struct host *host;           /* what machine this is; NULL at the very end */
        const struct route *routes;
        size_t n_routes;
        const char *driver_dir; /* the language drivers */
        char address[128];      /* where it listens, as the listen option writes it */
        struct metrics metrics;
};

/* Serves until it is told to stop; returns the program's exit status. Takes @config. @argc and @argv are the
 * options again, for a reload. */
int app_run(struct config *config, int argc, char *const *argv);

/* For `vm-agent check-config`: everything that would keep app_run from starting, short of opening sockets. */
int app_check(const struct config *config, struct error *err);
