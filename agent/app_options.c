/* SPDX-License-Identifier: Apache-2.0 */

#include "agent/app_options.h"

#include "agent/base/error.h"
#include "agent/base/str.h"
#include "agent/config.h"
#include "agent/files/roots.h"
#include "agent/install.h"
#include "proc/spawn.h"

/* See the header. */
struct auth_options app_auth_options(const struct config *c)
{
        return (struct auth_options){
                .secret_file = c->jwt_secret_file,
                .algorithm = c->jwt_algorithm,
                .audience = c->jwt_audience,
                .issuer = c->jwt_issuer,
                .subject = c->jwt_subject,
                .leeway_ms = c->jwt_leeway_ms,
        };
}

/* See the header. */
struct server_options app_server_options(const struct config *c)
{
        return (struct server_options){
                .max_body = c->max_body,
                .max_upload = c->max_upload,
                .max_connections = c->max_connections,
                .max_requests = c->max_requests,
                .header_timeout_ms = c->header_timeout_ms,
                .body_timeout_ms = c->body_timeout_ms,
                .idle_timeout_ms = c->idle_timeout_ms,
                .heartbeat_ms = c->heartbeat_ms,
                .idempotency_ttl_ms = c->idempotency_ttl_ms,
                .rate_limit = c->rate_limit,
                .public_info = c->public_info,
                .cors_origins = c->cors_origins,
        };
}

/* See the header. */
struct ws_options app_ws_options(const struct config *c)
{
        return (struct ws_options){
                .max_message = c->max_message,
                .max_connections = c->max_websockets,
                .silence_ms = c->websocket_silence_ms,
        };
}

/* See the header. */
struct supervisor_options app_supervisor_options(const struct config *c, uint64_t max_files)
{
        return (struct supervisor_options){
                .shim = install_shim(),
                .runtime_dir = c->runtime_dir,
                .run_as = c->run_as,
                .use_cgroups = c->cgroup == CGROUP_AUTO,
                .max_processes = c->max_processes,
                .max_output = c->max_output,
                .max_output_total = c->max_output_total,
                .max_discard = c->max_discard,
                .rich_max_size = c->rich_max_size,
                .rich_max_count = c->rich_max_count,
                .keep_tail = c->output_keep == OUTPUT_KEEP_HEAD_TAIL,
                .max_memory = c->max_memory,
                .max_tasks = c->max_tasks,
                .max_files = max_files,
        };
}

/* See the header. */
struct warm_options app_warm_options(const struct config *c, const char *driver_dir)
{
        return (struct warm_options){
                .is_enabled = c->warm,
                .driver_dir = driver_dir,
                .max_python = c->warm_python,
                .max_javascript = c->warm_javascript,
                .preload = c->warm_preload,
                .at_boot = c->warm_at_boot,
                .idle_ms = c->warm_idle_ms,
        };
}

/* See the header. */
struct jobs_options app_jobs_options(const struct config *c, uint64_t max_files)
{
        return (struct jobs_options){
                .state_dir = c->state_dir,
                .shim = install_shim(),
                .keeper = install_keeper(),
                .max_queued = c->max_queued_jobs,
                .keep_ms = c->job_keep_ms,
                .max_kept = c->job_keep_count,
                .max_kept_bytes = c->job_keep_size,
                .log_capacity = c->job_log_size,
                .rich_max_size = c->rich_max_size,
                .rich_max_count = c->rich_max_count,
                .max_memory = c->max_memory,
                .max_tasks = c->max_tasks,
                .max_files = max_files,
        };
}

/* See the header. */
struct webhooks_options app_webhooks_options(const struct config *c)
{
        return (struct webhooks_options){
                .state_dir = c->state_dir,
                .ca_file = c->webhook_ca_file,
                .connect_timeout_ms = c->webhook_connect_timeout_ms,
                .timeout_ms = c->webhook_timeout_ms,
                .max_tries = (unsigned)c->webhook_max_tries,
                .retry_first_ms = c->webhook_retry_first_ms,
                .retry_max_ms = c->webhook_retry_max_ms,
                .max_sending = (unsigned)c->webhook_max_sending,
                .max_queued = (unsigned)c->webhook_max_queued,
                .signature = (enum webhook_signature)c->webhook_signature,
                .allow = c->webhook_allow,
                .deny = c->webhook_deny,
                .deny_metadata = !c->webhook_metadata,
        };
}

/* See the header. A home directory that is / is that of a user without one, and would allow everything. */
int app_roots_new(const struct config *c, struct roots **ret, struct error *err)
{
        struct credentials *user = NULL;
        struct roots_config config = { .workspace = c->workspace };
        char *defaults[4] = { NULL };
        unsigned n = 0;
        int r;

        r = credentials_new(c->run_as, &user, err);
        if (r < 0)
                return r;
        defaults[n++] = (char *)"/tmp";
        defaults[n++] = (char *)"/app";
        if (user->home[0] == '/' && !str_equal(user->home, "/"))
                defaults[n++] = user->home;

        config.allowed = c->allowed_paths && c->allowed_paths[0] ? c->allowed_paths : defaults;
        config.uid = user->uid;
        config.gid = user->gid;
        config.groups = user->groups;
        config.n_groups = user->n_groups;
        r = roots_new(&config, ret, err);
        (void)credentials_free(user);
        return r < 0 ? error_wrap(err, "allowed-path") : 0;
}
