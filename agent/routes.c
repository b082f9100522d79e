/* SPDX-License-Identifier: Apache-2.0 */

/* The route table. It drives dispatch, authentication, decoding, `vm-agent routes` and the tests; an endpoint is
 * added here and nowhere else. */

#include "agent/routes.h"

#include "agent/base/macros.h"
#include "agent/openapi.h"
#include "handlers/cache/cache.h"
#include "handlers/console/console.h"
#include "handlers/env.h"
#include "handlers/execution/commands.h"
#include "handlers/execution/execute.h"
#include "handlers/execution/stream.h"
#include "handlers/files/batch.h"
#include "handlers/files/chmod.h"
#include "handlers/files/copy.h"
#include "handlers/files/download.h"
#include "handlers/files/exists.h"
#include "handlers/files/list.h"
#include "handlers/files/mkdir.h"
#include "handlers/files/move.h"
#include "handlers/files/read.h"
#include "handlers/files/remove.h"
#include "handlers/files/replace.h"
#include "handlers/files/search.h"
#include "handlers/files/stat.h"
#include "handlers/files/upload.h"
#include "handlers/files/watch.h"
#include "handlers/files/write.h"
#include "handlers/health.h"
#include "handlers/info.h"
#include "handlers/jobs/attach.h"
#include "handlers/jobs/control.h"
#include "handlers/jobs/kill.h"
#include "handlers/jobs/list.h"
#include "handlers/jobs/output.h"
#include "handlers/jobs/submit.h"
#include "handlers/jupyter.h"
#include "handlers/metrics/metrics.h"
#include "handlers/processes.h"
#include "handlers/system/system.h"
#include "handlers/terminal/terminals.h"

#define ARGS(table, strct) (table), sizeof(strct)
#define NO_ARGS            NULL, 0

/* clang-format off */
const struct route routes[] = {
        /* method     path                 handler                args                                        auth       body       flags            summary */
        { HTTP_GET,  "/",                  root_get,              NO_ARGS,                                    AUTH_NONE, BODY_NONE, 0,               "Who answers here", &root_get_doc },
        { HTTP_GET,  "/ping",              ping_get,              NO_ARGS,                                    AUTH_NONE, BODY_NONE, 0,               "Liveness, shortest", &ping_get_doc },
        { HTTP_GET,  "/console/{file}",    console_file_get,      ARGS(console_file_args, struct console_file_args), AUTH_NONE, BODY_NONE, 0,        "Parts of the console page", &console_file_get_doc },
        { HTTP_GET,  "/health",            health_get,            NO_ARGS,                                    AUTH_NONE, BODY_NONE, 0,               "Liveness and features", &health_get_doc },
        { HTTP_GET,  "/info",              info_get,              NO_ARGS,                                    AUTH_INFO, BODY_NONE, 0,               "Versions, platform, endpoints", &info_get_doc },
        { HTTP_GET,  "/jupyter/sessions",  jupyter_sessions_get,  NO_ARGS,                                    AUTH_JWT,  BODY_NONE, 0,               "Jupyter kernels that run: none", &jupyter_sessions_get_doc },
        { HTTP_GET,  "/jupyter/status",    jupyter_sessions_get,  NO_ARGS,                                    AUTH_JWT,  BODY_NONE, 0,               "The same as /jupyter/sessions", &jupyter_sessions_get_doc },
        { HTTP_GET,  "/openapi.json",      openapi_get,           NO_ARGS,                                    AUTH_INFO, BODY_NONE, 0,               "This document", &openapi_get_doc },
        { HTTP_GET,  "/metrics/snapshot",  metrics_snapshot_get,  NO_ARGS,                                    AUTH_JWT,  BODY_NONE, 0,               "Counters of the agent", &metrics_snapshot_get_doc },
        { HTTP_GET,  "/metrics",           metrics_snapshot_get,  NO_ARGS,                                    AUTH_JWT,  BODY_NONE, 0,               "The same as /metrics/snapshot", &metrics_snapshot_get_doc },
        { HTTP_GET,  "/metrics/prometheus", metrics_prometheus_get, NO_ARGS,                                  AUTH_JWT,  BODY_NONE, 0,               "The counters as text for Prometheus", &metrics_prometheus_get_doc },
        { HTTP_GET,  "/metrics/stream",    metrics_stream_get,    ARGS(metrics_stream_args, struct metrics_stream_args), AUTH_JWT, BODY_NONE, 0,    "The counters again and again, live", &metrics_stream_get_doc },
        { HTTP_GET,  "/processes",         processes_get,         ARGS(processes_args, struct processes_args), AUTH_JWT, BODY_NONE, 0,              "The system's processes", &processes_get_doc },
        { HTTP_GET,  "/system",            system_get,            NO_ARGS,                                    AUTH_INFO, BODY_NONE, 0,               "The machine and how it is doing", &system_get_doc },
        { HTTP_POST, "/execute",           execute_post,          ARGS(execute_args, struct execute_args),    AUTH_JWT,  BODY_JSON, ROUTE_HEARTBEAT | ROUTE_IDEMPOTENT, "Run code once", &execute_post_doc },
        { HTTP_POST, "/execute/rich",      execute_post,          ARGS(execute_args, struct execute_args),    AUTH_JWT,  BODY_JSON, ROUTE_HEARTBEAT | ROUTE_IDEMPOTENT, "The same as /execute", &execute_post_doc },
        { HTTP_POST, "/commands/run",      commands_run_post,     ARGS(commands_args, struct commands_args),  AUTH_JWT,  BODY_JSON, ROUTE_HEARTBEAT | ROUTE_IDEMPOTENT, "Run a command", &commands_run_post_doc },
        { HTTP_GET,  "/execute/stream",    execute_stream_get,    NO_ARGS,                                    AUTH_JWT,  BODY_NONE, ROUTE_UPGRADE,   "Run code, output live, WebSocket", &execute_stream_get_doc },
        { HTTP_GET,  "/stream",            execute_stream_get,    NO_ARGS,                                    AUTH_JWT,  BODY_NONE, ROUTE_UPGRADE,   "The same as /execute/stream", &execute_stream_get_doc },
        { HTTP_GET,  "/stream/ipython",    execute_stream_get,    NO_ARGS,                                    AUTH_JWT,  BODY_NONE, ROUTE_UPGRADE,   "The same as /execute/stream", &execute_stream_get_doc },
        { HTTP_GET,  "/commands/stream",   commands_stream_get,   NO_ARGS,                                    AUTH_JWT,  BODY_NONE, ROUTE_UPGRADE,   "Run a command, output live, WebSocket", &commands_stream_get_doc },
        { HTTP_POST, "/execute/background", execute_background_post, ARGS(execute_background_args, struct execute_background_args), AUTH_JWT, BODY_JSON, ROUTE_IDEMPOTENT, "Run code in the background", &execute_background_post_doc },
        { HTTP_POST, "/commands/background", commands_background_post, ARGS(commands_background_args, struct commands_background_args), AUTH_JWT, BODY_JSON, ROUTE_IDEMPOTENT, "Run a command in the background", &commands_background_post_doc },
        { HTTP_POST, "/execute/async", execute_async_post, ARGS(execute_async_args, struct execute_async_args), AUTH_JWT, BODY_JSON, ROUTE_IDEMPOTENT, "Run code in the background, result by webhook", &execute_async_post_doc },
        { HTTP_GET, "/execute/processes", jobs_list_get, ARGS(jobs_list_args, struct jobs_list_args), AUTH_JWT, BODY_NONE, 0, "Background processes", &jobs_list_get_doc },
        { HTTP_GET, "/execute/processes/{id}", job_get, ARGS(job_id_args, struct job_id_args), AUTH_JWT, BODY_NONE, 0, "One background process", &job_get_doc },
        { HTTP_GET, "/execute/processes/{id}/output", job_output_get, ARGS(job_output_args, struct job_output_args), AUTH_JWT, BODY_NONE, 0, "Its output, once or live", &job_output_get_doc },
        { HTTP_GET, "/execute/processes/{id}/attach", job_attach_get, ARGS(job_attach_args, struct job_attach_args), AUTH_JWT, BODY_NONE, ROUTE_UPGRADE, "Its output, input and signals, WebSocket", &job_attach_get_doc },
        { HTTP_POST, "/execute/processes/{id}/input", job_input_post, ARGS(job_input_args, struct job_input_args), AUTH_JWT, BODY_JSON, 0, "Write to its standard input", &job_input_post_doc },
        { HTTP_POST, "/execute/processes/{id}/signal", job_signal_post, ARGS(job_signal_args, struct job_signal_args), AUTH_JWT, BODY_JSON, 0, "Send it a signal", &job_signal_post_doc },
        { HTTP_GET, "/execute/processes/{id}/wait", job_wait_get, ARGS(job_wait_args, struct job_wait_args), AUTH_JWT, BODY_NONE, ROUTE_HEARTBEAT, "Wait for its end", &job_wait_get_doc },
        { HTTP_POST, "/execute/kill/{id}", kill_any, ARGS(kill_path_args, struct kill_args), AUTH_JWT, BODY_JSON, ROUTE_HEARTBEAT, "Kill an execution and all that it started", &kill_any_doc },
        { HTTP_POST, "/execute/kill", kill_any, ARGS(kill_body_args, struct kill_args), AUTH_JWT, BODY_JSON, ROUTE_HEARTBEAT, "Kill an execution and all that it started", &kill_any_doc },
        { HTTP_DELETE, "/execute/kill", kill_any, ARGS(kill_body_args, struct kill_args), AUTH_JWT, BODY_JSON, ROUTE_HEARTBEAT, "Kill an execution and all that it started", &kill_any_doc },
        { HTTP_DELETE, "/execute/kill/{id}", kill_any, ARGS(kill_path_args, struct kill_args), AUTH_JWT, BODY_JSON, ROUTE_HEARTBEAT, "Kill an execution and all that it started", &kill_any_doc },
        { HTTP_POST, "/processes/{id}/kill", kill_any, ARGS(kill_path_args, struct kill_args), AUTH_JWT, BODY_JSON, ROUTE_HEARTBEAT, "Kill an execution and all that it started", &kill_any_doc },
        { HTTP_POST, "/execute/processes/{id}/kill", kill_any, ARGS(kill_path_args, struct kill_args), AUTH_JWT, BODY_JSON, ROUTE_HEARTBEAT, "Kill an execution and all that it started", &kill_any_doc },
        { HTTP_GET, "/env", env_get, NO_ARGS, AUTH_JWT, BODY_NONE, 0, "The environment of all that is started", &env_get_doc },
        { HTTP_PUT, "/env", env_put, ARGS(env_args, struct env_args), AUTH_JWT, BODY_JSON, 0, "Replace the global variables", &env_put_doc },
        { HTTP_PATCH, "/env", env_patch, ARGS(env_args, struct env_args), AUTH_JWT, BODY_JSON, 0, "Set some global variables", &env_patch_doc },
        { HTTP_DELETE, "/env", env_delete, NO_ARGS, AUTH_JWT, BODY_NONE, 0, "Remove all global variables", &env_delete_doc },
        { HTTP_DELETE, "/env/{key}", env_key_delete, ARGS(env_key_args, struct env_key_args), AUTH_JWT, BODY_NONE, 0, "Remove a global variable", &env_key_delete_doc },
        { HTTP_GET, "/files/read", files_read_get, ARGS(files_read_args, struct files_read_args), AUTH_JWT, BODY_NONE, 0, "Read a file, or a part of it", &files_read_get_doc },
        { HTTP_GET, "/files/download", files_download_get, ARGS(files_download_args, struct files_download_args), AUTH_JWT, BODY_NONE, 0, "A file's bytes, or a range of them; a directory as an archive", &files_download_get_doc },
        { HTTP_POST, "/files/write", files_write_post, ARGS(files_write_args, struct files_write_args), AUTH_JWT, BODY_JSON, ROUTE_IDEMPOTENT, "Write a file, at once", &files_write_post_doc },
        { HTTP_GET, "/files/list", files_list_get, ARGS(files_list_args, struct files_list_args), AUTH_JWT, BODY_NONE, 0, "List a directory or a tree", &files_list_get_doc },
        { HTTP_GET, "/files/exists", files_exists_get, ARGS(files_exists_args, struct files_path_args), AUTH_JWT, BODY_NONE, 0, "Is there a file?", &files_exists_get_doc },
        { HTTP_GET, "/files/stat", files_stat_get, ARGS(files_stat_args, struct files_stat_args), AUTH_JWT, BODY_NONE, 0, "All about a file", &files_stat_get_doc },
        { HTTP_DELETE, "/files/remove", files_remove_delete, ARGS(files_remove_args, struct files_remove_args), AUTH_JWT, BODY_NONE, 0, "Remove a file or a directory", &files_remove_delete_doc },
        { HTTP_POST, "/files/mkdir", files_mkdir_post, ARGS(files_mkdir_args, struct files_mkdir_args), AUTH_JWT, BODY_JSON, ROUTE_IDEMPOTENT, "Make a directory", &files_mkdir_post_doc },
        { HTTP_POST, "/files/move", files_move_post, ARGS(files_copy_args, struct files_copy_args), AUTH_JWT, BODY_JSON, ROUTE_IDEMPOTENT, "Rename or move a file or a directory", &files_move_post_doc },
        { HTTP_POST, "/files/copy", files_copy_post, ARGS(files_copy_args, struct files_copy_args), AUTH_JWT, BODY_JSON, ROUTE_IDEMPOTENT, "Copy a file or a directory", &files_copy_post_doc },
        { HTTP_POST, "/files/chmod", files_chmod_post, ARGS(files_chmod_args, struct files_chmod_args), AUTH_JWT, BODY_JSON, ROUTE_IDEMPOTENT, "Change permissions and owner", &files_chmod_post_doc },
        { HTTP_GET, "/files/search", files_search_get, ARGS(files_search_args, struct files_search_args), AUTH_JWT, BODY_NONE, 0, "Search in files", &files_search_get_doc },
        { HTTP_POST, "/files/replace", files_replace_post, ARGS(files_replace_args, struct files_replace_args), AUTH_JWT, BODY_JSON, ROUTE_IDEMPOTENT, "Replace a text in a file", &files_replace_post_doc },
        { HTTP_POST, "/files/batch", files_batch_post, ARGS(files_batch_args, struct files_batch_args), AUTH_JWT, BODY_JSON, ROUTE_IDEMPOTENT, "Write many files, or none", &files_batch_post_doc },
        { HTTP_POST, "/files/upload", files_upload_post, ARGS(files_upload_args, struct files_upload_args), AUTH_JWT, BODY_STREAM, 0, "Upload files, as a form", &files_upload_post_doc },
        { HTTP_PUT, "/files/upload", files_upload_put, ARGS(files_upload_args, struct files_upload_args), AUTH_JWT, BODY_STREAM, 0, "Upload a file, as it is", &files_upload_put_doc },
        { HTTP_GET, "/cache", cache_get, NO_ARGS, AUTH_JWT, BODY_NONE, 0, "The result cache, and who answers here", &cache_get_doc },
        { HTTP_GET, "/cache/stats", cache_stats_get, NO_ARGS, AUTH_JWT, BODY_NONE, 0, "How the result cache is doing", &cache_stats_get_doc },
        { HTTP_POST, "/cache/clear", cache_clear_post, NO_ARGS, AUTH_JWT, BODY_NONE, 0, "Forget all kept results", &cache_clear_post_doc },
        { HTTP_GET,  "/terminal",          terminal_get,          ARGS(terminal_args, struct terminal_args),  AUTH_JWT,  BODY_NONE, ROUTE_UPGRADE,   "Interactive shell, WebSocket", &terminal_get_doc },
        { HTTP_GET,  "/files/watch",       files_watch_get,       NO_ARGS,                                    AUTH_JWT,  BODY_NONE, ROUTE_UPGRADE,   "Changes of files, live, WebSocket", &files_watch_get_doc },
        { HTTP_GET,  "/terminals",         terminals_get,         NO_ARGS,                                    AUTH_JWT,  BODY_NONE, 0,               "Open terminals", &terminals_get_doc },
        { HTTP_DELETE, "/terminals/{name}", terminals_name_delete, ARGS(terminals_name_args, struct terminals_name_args), AUTH_JWT, BODY_NONE, 0,    "End a terminal", &terminals_name_delete_doc },
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
