/* SPDX-License-Identifier: Apache-2.0 */

/* The route table. It drives dispatch, authentication, decoding, `vm-agent routes` and the tests; an endpoint is
 * added here and nowhere else. */

#include "agent/routes.h"

#include "agent/base/macros.h"
#include "handlers/execution/commands.h"
#include "handlers/execution/execute.h"
#include "handlers/health.h"
#include "handlers/info.h"
#include "handlers/metrics.h"

#define ARGS(table, strct) (table), sizeof(strct)
#define NO_ARGS            NULL, 0

/* clang-format off */
const struct route routes[] = {
        /* method     path                 handler                args                                        auth       body       flags            summary */
        { HTTP_GET,  "/",                  root_get,              NO_ARGS,                                    AUTH_NONE, BODY_NONE, 0,               "Who answers here" },
        { HTTP_GET,  "/ping",              ping_get,              NO_ARGS,                                    AUTH_NONE, BODY_NONE, 0,               "Liveness, shortest" },
        { HTTP_GET,  "/health",            health_get,            NO_ARGS,                                    AUTH_NONE, BODY_NONE, 0,               "Liveness and features" },
        { HTTP_GET,  "/info",              info_get,              NO_ARGS,                                    AUTH_INFO, BODY_NONE, 0,               "Versions, platform, endpoints" },
        { HTTP_GET,  "/metrics/snapshot",  metrics_snapshot_get,  NO_ARGS,                                    AUTH_JWT,  BODY_NONE, 0,               "Counters of the agent" },
        { HTTP_POST, "/execute",           execute_post,          ARGS(execute_args, struct execute_args),    AUTH_JWT,  BODY_JSON, ROUTE_HEARTBEAT, "Run code once" },
        { HTTP_POST, "/commands/run",      commands_run_post,     ARGS(commands_args, struct commands_args),  AUTH_JWT,  BODY_JSON, ROUTE_HEARTBEAT, "Run a command" },
};
/* clang-format on */

const size_t n_routes = ARRAY_LEN(routes);

/* See the header. */
void routes_print(FILE *out)
{
        static const char *const auth_names[] = {
                [AUTH_NONE] = "open",
                [AUTH_INFO] = "open",
                [AUTH_JWT] = "jwt",
        };

        for (size_t i = 0; i < n_routes; i++)
                fprintf(out, "%s %s %s\n", http_method_name(routes[i].method), routes[i].path,
                        auth_names[routes[i].auth]);
}
