/* SPDX-License-Identifier: Apache-2.0 */

/* The route table. It drives dispatch, authentication, decoding, `vm-agent routes` and the tests; an endpoint is
 * added here and nowhere else. */

#include "agent/routes.h"

#include "agent/base/macros.h"
#include "handlers/console/console.h"
#include "handlers/execution/commands.h"
#include "handlers/execution/execute.h"
#include "handlers/execution/stream.h"
#include "handlers/health.h"
#include "handlers/info.h"
#include "handlers/metrics.h"
#include "handlers/processes.h"
#include "handlers/terminal/terminals.h"

#define ARGS(table, strct) (table), sizeof(strct)
#define NO_ARGS            NULL, 0

/* clang-format off */
const struct route routes[] = {
        /* method     path                 handler                args                                        auth       body       flags            summary */
        { HTTP_GET,  "/",                  root_get,              NO_ARGS,                                    AUTH_NONE, BODY_NONE, 0,               "Who answers here" },
        { HTTP_GET,  "/ping",              ping_get,              NO_ARGS,                                    AUTH_NONE, BODY_NONE, 0,               "Liveness, shortest" },
        { HTTP_GET,  "/console/{file}",    console_file_get,      ARGS(console_file_args, struct console_file_args), AUTH_NONE, BODY_NONE, 0,        "Parts of the console page" },
        { HTTP_GET,  "/health",            health_get,            NO_ARGS,                                    AUTH_NONE, BODY_NONE, 0,               "Liveness and features" },
        { HTTP_GET,  "/info",              info_get,              NO_ARGS,                                    AUTH_INFO, BODY_NONE, 0,               "Versions, platform, endpoints" },
        { HTTP_GET,  "/metrics/snapshot",  metrics_snapshot_get,  NO_ARGS,                                    AUTH_JWT,  BODY_NONE, 0,               "Counters of the agent" },
        { HTTP_GET,  "/processes",         processes_get,         ARGS(processes_args, struct processes_args), AUTH_JWT, BODY_NONE, 0,              "The system's processes" },
        { HTTP_POST, "/execute",           execute_post,          ARGS(execute_args, struct execute_args),    AUTH_JWT,  BODY_JSON, ROUTE_HEARTBEAT | ROUTE_IDEMPOTENT, "Run code once" },
        { HTTP_POST, "/commands/run",      commands_run_post,     ARGS(commands_args, struct commands_args),  AUTH_JWT,  BODY_JSON, ROUTE_HEARTBEAT | ROUTE_IDEMPOTENT, "Run a command" },
        { HTTP_GET,  "/execute/stream",    execute_stream_get,    NO_ARGS,                                    AUTH_JWT,  BODY_NONE, ROUTE_UPGRADE,   "Run code, output live, WebSocket" },
        { HTTP_GET,  "/stream",            execute_stream_get,    NO_ARGS,                                    AUTH_JWT,  BODY_NONE, ROUTE_UPGRADE,   "The same as /execute/stream" },
        { HTTP_GET,  "/stream/ipython",    execute_stream_get,    NO_ARGS,                                    AUTH_JWT,  BODY_NONE, ROUTE_UPGRADE,   "The same as /execute/stream" },
        { HTTP_GET,  "/commands/stream",   commands_stream_get,   NO_ARGS,                                    AUTH_JWT,  BODY_NONE, ROUTE_UPGRADE,   "Run a command, output live, WebSocket" },
        { HTTP_GET,  "/terminal",          terminal_get,          ARGS(terminal_args, struct terminal_args),  AUTH_JWT,  BODY_NONE, ROUTE_UPGRADE,   "Interactive shell, WebSocket" },
        { HTTP_GET,  "/terminals",         terminals_get,         NO_ARGS,                                    AUTH_JWT,  BODY_NONE, 0,               "Open terminals" },
        { HTTP_DELETE, "/terminals/{name}", terminals_name_delete, ARGS(terminals_name_args, struct terminals_name_args), AUTH_JWT, BODY_NONE, 0,    "End a terminal" },
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
