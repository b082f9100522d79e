/* SPDX-License-Identifier: Apache-2.0 */

/* The option table: the one place that knows which options exist. The three sources, --help, the README's
 * reference and the example file are all read from it, so that none of them can fall behind. */

#include "agent/config_table.h"

#include <errno.h>
#include <string.h>

#include "agent/base/str.h"

#define SECOND ((uint64_t)1000)
#define MINUTE (60 * SECOND)
#define HOUR   (60 * MINUTE)

static const char *const log_level_names[] = { "error", "warning", "info", "debug", NULL };
static const char *const output_keep_names[] = { "head-tail", "head", NULL };
static const char *const cgroup_names[] = { "auto", "off", NULL };
static const char *const webhook_signature_names[] = { "body", "timestamp-body", NULL };
static const char *const algorithm_names[] = { "HS256", "HS384", "HS512", "RS256", "RS384",
                                               "RS512", "ES256", "ES384", "ES512", NULL };

#define AT(member) offsetof(struct config, member)

/* clang-format off */
const struct option_row option_table[] = {
        { "config", OPTION_PATH, AT(config_file), .flags = OPTION_NO_FILE,
          .group = "Serving", .metavar = "FILE",
          .def_note = "agent.conf in the system's vm-agent directory, if it exists",
          .help = "Configuration file to read." },
        { "listen", OPTION_ADDRESS, AT(listen), "0.0.0.0:7777", .metavar = "ADDR:PORT",
          .help = "Address to listen on: ADDR:PORT, [ADDR6]:PORT or unix:PATH. "
                  "A socket passed by systemd takes precedence." },
        { "workspace", OPTION_PATH, AT(workspace), "/workspace", .metavar = "DIR",
          .help = "Directory in which code and commands run by default. Created if missing." },
        { "runtime-dir", OPTION_PATH, AT(runtime_dir), .metavar = "DIR",
          .def_note = "$RUNTIME_DIRECTORY, or /run/vm-agent for root, or $XDG_RUNTIME_DIR/vm-agent, "
                      "or /tmp/vm-agent-UID",
          .help = "Directory for the agent's own short-lived files." },
        { "state-dir", OPTION_PATH, AT(state_dir), .metavar = "DIR",
          .def_note = "$STATE_DIRECTORY, or state in the runtime directory",
          .help = "Directory for what outlives the agent: background jobs with their output, webhooks not delivered yet, global variables. "
                  "One agent can use it at a time." },
        { "vm-id", OPTION_STRING, AT(vm_id), .flags = OPTION_RELOAD, .metavar = "ID",
          .def_note = "the host name",
          .help = "Identity of this machine in answers." },
        { "log-level", OPTION_ENUM, AT(log_level), "info", .names = log_level_names, .flags = OPTION_RELOAD,
          .metavar = "LEVEL",
          .help = "Least important messages to log: error, warning, info or debug." },

        { "jwt-secret-file", OPTION_PATH, AT(jwt_secret_file), .flags = OPTION_RELOAD | OPTION_SECRET,
          .group = "Access", .metavar = "FILE", .def_note = "jwt-secret in $CREDENTIALS_DIRECTORY or beside agent.conf, if it exists",
          .help = "File with the secret (HS*, at least 32 bytes) or the PEM public key (RS*, ES*) "
                  "that tokens are checked with. Required." },
        { "jwt-algorithm", OPTION_CHOICE, AT(jwt_algorithm), "HS256", .names = algorithm_names,
          .flags = OPTION_RELOAD, .metavar = "ALG",
          .help = "The only signature algorithm that is accepted: HS256, HS384, HS512, RS256, RS384, RS512, "
                  "ES256, ES384 or ES512." },
        { "jwt-audience", OPTION_STRING, AT(jwt_audience), .flags = OPTION_RELOAD, .metavar = "AUD",
          .def_note = "not checked",
          .help = "Tokens must name this audience (claim aud)." },
        { "jwt-issuer", OPTION_STRING, AT(jwt_issuer), .flags = OPTION_RELOAD, .metavar = "ISS",
          .def_note = "not checked",
          .help = "Tokens must come from this issuer (claim iss)." },
        { "jwt-subject", OPTION_STRING, AT(jwt_subject), .flags = OPTION_RELOAD, .metavar = "SUB",
          .def_note = "not checked",
          .help = "Tokens must be bound to this sandbox (one of the claims sub, sandbox_id, vm_id)." },
        { "jwt-leeway", OPTION_DURATION, AT(jwt_leeway_ms), "30s", .max = HOUR, .flags = OPTION_RELOAD,
          .metavar = "TIME",
          .help = "How far the issuer's clock may be ahead (claims nbf, iat)." },
        { "public-info", OPTION_BOOL, AT(public_info), "true", .flags = OPTION_RELOAD,
          .help = "Answer /info, /system and /openapi.json without a token." },
        { "cors-origin", OPTION_LIST, AT(cors_origins), .flags = OPTION_RELOAD, .metavar = "ORIGIN",
          .def_note = "none, CORS is off",
          .help = "Origin whose pages may call the agent from a browser, such as https://app.example.com; "
                  "* for any. Repeatable." },
        { "allowed-path", OPTION_PATH_LIST, AT(allowed_paths), .metavar = "DIR",
          .def_note = "the workspace, /tmp, the home directory, /app",
          .help = "Directory that file requests may reach. Repeatable." },
        { "run-as", OPTION_STRING, AT(run_as), .metavar = "USER",
          .def_note = "the agent's own user",
          .help = "User that code and commands run as." },
        { "console", OPTION_BOOL, AT(console), "false", .flags = OPTION_RELOAD,
          .help = "Serve a page with a terminal and a code runner to browsers at /. It wants a token like every client." },

        { "max-body", OPTION_SIZE, AT(max_body), "16M", .min = KIB, .max = GIB, .flags = OPTION_RELOAD,
          .group = "Requests", .metavar = "SIZE",
          .help = "Largest request body." },
        { "max-upload", OPTION_SIZE, AT(max_upload), "16G", .max = (uint64_t)1 << 60, .flags = OPTION_RELOAD,
          .metavar = "SIZE",
          .help = "Largest upload of files in one request; 0: as much as the disk takes." },
        { "max-extract", OPTION_SIZE, AT(max_extract), "8G", .max = (uint64_t)1 << 60, .flags = OPTION_RELOAD,
          .metavar = "SIZE",
          .help = "Most that an uploaded archive may unpack to; 0: as much as the disk takes." },
        { "max-connections", OPTION_UNSIGNED, AT(max_connections), "1024", .min = 1, .max = 65536,
          .metavar = "N",
          .help = "Connections open at once." },
        { "max-requests", OPTION_UNSIGNED, AT(max_requests), "1024", .min = 1, .max = 65536,
          .flags = OPTION_RELOAD, .metavar = "N",
          .help = "Requests being handled at once." },
        { "rate-limit", OPTION_UNSIGNED, AT(rate_limit), "0", .max = 6000000, .flags = OPTION_RELOAD,
          .metavar = "N",
          .help = "Requests that each token's subject may make in a minute; 0: as many as it likes." },
        { "header-timeout", OPTION_DURATION, AT(header_timeout_ms), "30s", .min = 100, .max = HOUR,
          .flags = OPTION_RELOAD, .metavar = "TIME",
          .help = "Time in which a connection must complete the headers of a request." },
        { "body-timeout", OPTION_DURATION, AT(body_timeout_ms), "30s", .min = 100, .max = HOUR,
          .flags = OPTION_RELOAD, .metavar = "TIME",
          .help = "Time in which a request's body must arrive, plus a second per 64 KiB; an upload has to move on in it." },
        { "idle-timeout", OPTION_DURATION, AT(idle_timeout_ms), "120s", .min = 100, .max = 24 * HOUR,
          .metavar = "TIME", .help = "Connections on which nothing moved for so long are closed." },
        { "heartbeat", OPTION_DURATION, AT(heartbeat_ms), "10s", .min = 50, .max = HOUR,
          .flags = OPTION_RELOAD, .metavar = "TIME",
          .help = "Silence of a running execution after which white space is sent to keep proxies patient." },
        { "shutdown-grace", OPTION_DURATION, AT(shutdown_grace_ms), "10s", .max = HOUR,
          .flags = OPTION_RELOAD, .metavar = "TIME",
          .help = "Time that running requests get to finish when the agent is stopped." },

        { "max-websockets", OPTION_UNSIGNED, AT(max_websockets), "1024", .min = 1, .max = 65536,
          .group = "Live channels", .metavar = "N",
          .help = "WebSocket connections open at once." },
        { "max-message", OPTION_SIZE, AT(max_message), "4M", .min = KIB, .max = GIB, .flags = OPTION_RELOAD,
          .metavar = "SIZE",
          .help = "Largest message that a WebSocket client may send." },
        { "websocket-silence", OPTION_DURATION, AT(websocket_silence_ms), "2m", .min = 100, .max = 24 * HOUR,
          .flags = OPTION_RELOAD, .metavar = "TIME",
          .help = "A WebSocket client from which nothing came for so long, not even the answer to a ping, is dropped." },
        { "max-terminals", OPTION_UNSIGNED, AT(max_terminals), "256", .min = 1, .max = 65536,
          .flags = OPTION_RELOAD, .metavar = "N",
          .help = "Terminals open at once, including those that wait for their client." },
        { "terminal-linger", OPTION_DURATION, AT(terminal_linger_ms), "10m", .max = 8784 * HOUR,
          .flags = OPTION_RELOAD, .metavar = "TIME",
          .help = "How long a named terminal waits for its client to come back; 0 ends it with its connection." },

        { "max-processes", OPTION_UNSIGNED, AT(max_processes), "256", .min = 1, .max = 65536,
          .flags = OPTION_RELOAD, .group = "Executions", .metavar = "N",
          .help = "Executions at once, including what finished ones left running." },
        { "max-output", OPTION_SIZE, AT(max_output), "16M", .min = 1, .max = 4 * (uint64_t)GIB,
          .flags = OPTION_RELOAD, .metavar = "SIZE",
          .help = "Output kept of each of stdout and stderr." },
        { "max-output-total", OPTION_SIZE, AT(max_output_total), "256M", .min = 1, .max = TIB,
          .flags = OPTION_RELOAD, .metavar = "SIZE",
          .help = "Output kept of all executions together." },
        { "max-discard", OPTION_SIZE, AT(max_discard), "1G", .max = 1024 * TIB, .flags = OPTION_RELOAD,
          .metavar = "SIZE",
          .help = "Output dropped beyond max-output before the execution is ended; 0 for no limit." },
        { "output-keep", OPTION_ENUM, AT(output_keep), "head-tail", .names = output_keep_names,
          .flags = OPTION_RELOAD, .metavar = "PART",
          .help = "Which part of too long output is kept: head-tail or head." },
        { "rich-max-size", OPTION_SIZE, AT(rich_max_size), "16M", .min = KIB, .max = 16 * MIB,
          .flags = OPTION_RELOAD, .metavar = "SIZE",
          .help = "Rich output (figures, tables) kept of one execution, as it is in the answer; what does not fit is left out. "
                  "The drivers send no more than 16M." },
        { "rich-max-count", OPTION_UNSIGNED, AT(rich_max_count), "100", .min = 1, .max = 100,
          .flags = OPTION_RELOAD, .metavar = "N",
          .help = "Rich outputs kept of one execution: the first ones. The drivers send no more than 100." },
        { "max-timeout", OPTION_DURATION, AT(max_timeout_ms), "24h", .min = SECOND, .max = 8784 * HOUR,
          .flags = OPTION_RELOAD, .metavar = "TIME",
          .help = "Longest timeout of an execution; longer ones are shortened to it." },
        { "kill-grace", OPTION_DURATION, AT(kill_grace_ms), "0", .max = 5 * MINUTE, .flags = OPTION_RELOAD,
          .metavar = "TIME",
          .help = "Time between SIGTERM and SIGKILL; 0 for SIGKILL at once." },
        { "max-memory", OPTION_SIZE, AT(max_memory), "0", .max = 1024 * TIB, .flags = OPTION_RELOAD,
          .metavar = "SIZE",
          .help = "Memory of one execution; 0 for no limit." },
        { "max-tasks", OPTION_UNSIGNED, AT(max_tasks), "0", .max = 4194304, .flags = OPTION_RELOAD,
          .metavar = "N",
          .help = "Processes and threads of one execution; 0 for no limit." },
        { "cgroup", OPTION_ENUM, AT(cgroup), "auto", .names = cgroup_names, .metavar = "MODE",
          .help = "Track executions by control groups where possible (auto), or never (off)." },

        { "warm", OPTION_BOOL, AT(warm), "true", .flags = OPTION_RELOAD, .group = "Warm starts",
          .help = "Start Python and JavaScript from interpreters that are up already and wait." },
        { "warm-python", OPTION_UNSIGNED, AT(warm_python), "4", .max = 64, .flags = OPTION_RELOAD, .metavar = "N",
          .help = "Processes of Python that wait, at most: so many bare ones, and as many with modules preloaded; 0 for none." },
        { "warm-javascript", OPTION_UNSIGNED, AT(warm_javascript), "2", .max = 64, .flags = OPTION_RELOAD, .metavar = "N",
          .help = "Processes of node that wait, at most; 0 for none." },
        { "warm-preload", OPTION_STRING, AT(warm_preload), "numpy,pandas,matplotlib,PIL,plotly",
          .flags = OPTION_RELOAD, .metavar = "MODULES",
          .help = "Modules of Python, with commas between them, that are imported ahead for code that imports them; "
                  "none for none. What is not installed is left out." },
        { "warm-at-boot", OPTION_BOOL, AT(warm_at_boot), "false", .flags = OPTION_RELOAD,
          .help = "Have processes wait from the agent's start on, and not from the first execution of their language on." },
        { "warm-idle", OPTION_DURATION, AT(warm_idle_ms), "10m", .max = 8784 * HOUR, .flags = OPTION_RELOAD,
          .metavar = "TIME",
          .help = "When a language was not used for so long, its waiting processes end; 0: they never do." },

        { "max-queued-jobs", OPTION_UNSIGNED, AT(max_queued_jobs), "1024", .min = 1, .max = 65536,
          .flags = OPTION_RELOAD, .group = "Background jobs", .metavar = "N",
          .help = "Jobs that wait until fewer than max-processes run." },
        { "job-log-size", OPTION_SIZE, AT(job_log_size), "16M", .min = 4 * KIB, .max = TIB,
          .flags = OPTION_RELOAD, .metavar = "SIZE",
          .help = "Output kept on the disk of each of stdout and stderr of one job: the last of it." },
        { "job-keep-time", OPTION_DURATION, AT(job_keep_ms), "24h", .min = SECOND, .max = 8784 * HOUR,
          .flags = OPTION_RELOAD, .metavar = "TIME",
          .help = "How long a job that has ended is kept, with its output." },
        { "job-keep-count", OPTION_UNSIGNED, AT(job_keep_count), "1000", .min = 1, .max = 16384,
          .flags = OPTION_RELOAD, .metavar = "N",
          .help = "Jobs that have ended and are kept; the oldest go first." },
        { "job-keep-size", OPTION_SIZE, AT(job_keep_size), "1G", .min = MIB, .max = 1024 * TIB,
          .flags = OPTION_RELOAD, .metavar = "SIZE",
          .help = "Output on the disk of all jobs that have ended; the oldest go first." },
        { "job-kill-grace", OPTION_DURATION, AT(job_kill_grace_ms), "2s", .max = 5 * MINUTE,
          .flags = OPTION_RELOAD, .metavar = "TIME",
          .help = "Time between SIGTERM and SIGKILL when a job is killed or its time is over." },

        { "webhook-signature", OPTION_ENUM, AT(webhook_signature), "body", .names = webhook_signature_names,
          .flags = OPTION_RELOAD, .group = "Webhooks", .metavar = "FORM",
          .help = "What the signature of a webhook covers: body, or timestamp-body for the time stamp followed by the body." },
        { "webhook-connect-timeout", OPTION_DURATION, AT(webhook_connect_timeout_ms), "10s", .min = 10, .max = HOUR,
          .flags = OPTION_RELOAD, .metavar = "TIME",
          .help = "Time in which a webhook's receiver must be found and connected to." },
        { "webhook-timeout", OPTION_DURATION, AT(webhook_timeout_ms), "30s", .min = 10, .max = HOUR,
          .flags = OPTION_RELOAD, .metavar = "TIME",
          .help = "Time in which a webhook's receiver must have answered." },
        { "webhook-max-tries", OPTION_UNSIGNED, AT(webhook_max_tries), "10", .min = 1, .max = 100,
          .flags = OPTION_RELOAD, .metavar = "N",
          .help = "Attempts to deliver a webhook before it has failed." },
        { "webhook-retry-first", OPTION_DURATION, AT(webhook_retry_first_ms), "2s", .min = 1, .max = HOUR,
          .flags = OPTION_RELOAD, .metavar = "TIME",
          .help = "Longest wait before a webhook's second attempt; it doubles with each further one." },
        { "webhook-retry-max", OPTION_DURATION, AT(webhook_retry_max_ms), "10m", .min = 1, .max = HOUR,
          .flags = OPTION_RELOAD, .metavar = "TIME",
          .help = "Longest wait between two attempts, unless the receiver asks for more, up to an hour." },
        { "webhook-max-sending", OPTION_UNSIGNED, AT(webhook_max_sending), "16", .min = 1, .max = 256,
          .flags = OPTION_RELOAD, .metavar = "N",
          .help = "Webhooks being sent at once; at most half of them to one host." },
        { "webhook-max-queued", OPTION_UNSIGNED, AT(webhook_max_queued), "1024", .min = 1, .max = 16384,
          .flags = OPTION_RELOAD, .metavar = "N",
          .help = "Asynchronous executions whose webhook is not delivered yet, those that still run included." },
        { "webhook-allow", OPTION_LIST, AT(webhook_allow), .flags = OPTION_RELOAD, .metavar = "TARGET",
          .def_note = "all that are not denied",
          .help = "Network, address or host name (*.example.com for all below it) that webhooks may be sent to; "
                  "if there is one, all others are denied. Repeatable." },
        { "webhook-deny", OPTION_LIST, AT(webhook_deny), .flags = OPTION_RELOAD, .metavar = "TARGET",
          .def_note = "none",
          .help = "Network, address or host name that webhooks are never sent to, allowed or not. Repeatable." },
        { "webhook-metadata", OPTION_BOOL, AT(webhook_metadata), "false", .flags = OPTION_RELOAD,
          .help = "Let webhooks go to link-local addresses, and to where clouds serve metadata." },
        { "webhook-ca-file", OPTION_PATH, AT(webhook_ca_file), .flags = OPTION_RELOAD, .metavar = "FILE",
          .def_note = "the system's certificates",
          .help = "Certificates (PEM) that vouch for the receivers of webhooks." },

        { "env-keep", OPTION_BOOL, AT(env_keep), "true", .group = "Environment",
          .help = "Keep the global variables (/env) in the state directory, so that they outlive the agent." },
        { "env-mask", OPTION_BOOL, AT(env_mask), "false", .flags = OPTION_RELOAD,
          .help = "Show the values of variables whose names sound secret (with KEY, TOKEN, SECRET, PASSWORD …) as ***MASKED***." },

        { "idempotency-ttl", OPTION_DURATION, AT(idempotency_ttl_ms), "10m", .max = 24 * HOUR,
          .flags = OPTION_RELOAD, .group = "Repeats", .metavar = "TIME",
          .help = "How long the answer to a request with an Idempotency-Key is kept for repeats of it." },

        { "cache", OPTION_BOOL, AT(cache), "false", .flags = OPTION_RELOAD, .group = "Result cache",
          .help = "Answer an execution with the kept result of the same one, unless the request says otherwise." },
        { "cache-ttl", OPTION_DURATION, AT(cache_ttl_ms), "1h", .min = 1, .max = 8784 * HOUR,
          .flags = OPTION_RELOAD, .metavar = "TIME",
          .help = "How long the result of an execution is kept." },
        { "cache-max-size", OPTION_SIZE, AT(cache_max_size), "64M", .min = 64 * KIB, .max = TIB,
          .flags = OPTION_RELOAD, .metavar = "SIZE",
          .help = "Memory for all results that are kept; one takes at most an eighth of it." },
        { 0 }
};
/* clang-format on */

/* The table is short and looked at a few dozen times per start: no index. */
const struct option_row *option_find(const char *name)
{
        option_for_each(o)
        {
                if (str_equal(o->name, name))
                        return o;
        }
        return NULL;
}

/* Levenshtein's distance; both strings are shorter than OPTION_NAME_SIZE. */
static size_t edit_distance(const char *a, const char *b)
{
        size_t row[OPTION_NAME_SIZE];
        size_t n = strlen(b);

        for (size_t j = 0; j <= n; j++)
                row[j] = j;

        for (size_t i = 1; a[i - 1]; i++) {
                size_t diagonal = row[0];

                row[0] = i;
                for (size_t j = 1; j <= n; j++) {
                        size_t replaced = diagonal + (a[i - 1] != b[j - 1]);
                        size_t moved = MIN(row[j], row[j - 1]) + 1; /* one letter more or less */

                        diagonal = row[j];
                        row[j] = MIN(moved, replaced);
                }
        }
        return row[n];
}

/* A guess is only worth printing when few letters are wrong: two, or a third of a long name. */
const struct option_row *option_suggest(const char *name)
{
        const struct option_row *best = NULL;
        size_t best_distance = MAX((size_t)2, strlen(name) / 3) + 1;

        if (strlen(name) >= OPTION_NAME_SIZE)
                return NULL;

        option_for_each(o)
        {
                size_t distance = edit_distance(name, o->name);

                if (distance < best_distance) {
                        best = o;
                        best_distance = distance;
                }
        }
        return best;
}

/* "unknown option 'max-bdoy' (did you mean 'max-body'?)"; @prefix is "--" on the command line. */
void option_unknown(struct error *err, const char *prefix, const char *name,
                    const struct option_row *similar)
{
        char hint[96] = "";

        if (similar)
                (void)snprintf(hint, sizeof(hint), " (did you mean '%s%s'?)", prefix,
                               similar->name);
        (void)error_set_field(err, -EINVAL, "", "unknown option '%s%.64s'%s", prefix, name, hint);
}
