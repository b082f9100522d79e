/* SPDX-License-Identifier: Apache-2.0 */

/* GET /terminal: what runs on the terminal, and for whom. What can be refused is refused before the handshake is
 * answered, in the shape of all errors. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "agent/app.h"
#include "agent/base/alloc.h"
#include "agent/base/limits.h"
#include "agent/base/str.h"
#include "agent/config.h"
#include "agent/http/request.h"
#include "agent/ws/ws.h"
#include "handlers/terminal/session.h"
#include "handlers/terminal/terminals.h"
#include "handlers/workdir.h"
#include "proc/environment.h"
#include "proc/runtime.h"
#include "proc/supervisor.h"
#include "proc/variables.h"

#define MAX_NAME 64

/* clang-format off */
const struct json_field terminal_args[] = {
        F_STRING(struct terminal_args, session, .in = IN_QUERY, .min = 1, .max = MAX_NAME,
                 .doc = "Name of a terminal that outlives its connection: a new one, or the one that has the name"),
        F_UINT  (struct terminal_args, since, .in = IN_QUERY, .set_offset = offsetof(struct terminal_args, has_since),
                 .doc = "Offset of the output to go on from; without it the recent output is sent"),
        F_UINT  (struct terminal_args, cols, .in = IN_QUERY, .min = 1, .max = PTY_MAX_SIZE, .def = 80,
                 .set_offset = offsetof(struct terminal_args, has_cols), .doc = "Columns"),
        F_UINT  (struct terminal_args, rows, .in = IN_QUERY, .min = 1, .max = PTY_MAX_SIZE, .def = 24,
                 .set_offset = offsetof(struct terminal_args, has_rows), .doc = "Rows"),
        F_STRING(struct terminal_args, cwd, .in = IN_QUERY, .min = 1, .max = 4095,
                 .doc = "Working directory; relative ones start at the workspace, the default"),
        F_STRING(struct terminal_args, shell, .in = IN_QUERY, .min = 1, .max = 4095,
                 .doc = "Shell; bash where there is one, else sh"),
        F_STRING(struct terminal_args, command, .in = IN_QUERY, .min = 1, .max = LIMIT_ARG_BYTES,
                 .doc = "A line for the shell to run instead of a login"),
        F_END
};
/* clang-format on */

static bool is_name(const char *name)
{
        static const char allowed[] =
                "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";

        /* Clients would not send the other two as a part of a path. */
        return name[strspn(name, allowed)] == '\0' && !str_equal(name, ".") &&
               !str_equal(name, "..");
}

static const char *default_shell(void)
{
        const char *missing;

        return runtime_is_available(LANGUAGE_BASH, getenv("PATH"), &missing) ? "bash" : "sh";
}

static bool is_utf8_locale(const struct app *app)
{
        static const char *const names[] = { "LC_ALL", "LC_CTYPE",
                                             "LANG" }; /* the first that is set counts */

        for (size_t i = 0; i < ARRAY_LEN(names); i++) {
                const char *value = environment_lookup(variables_get(app->variables), NULL,
                                                       names[i]);

                if (value && *value)
                        return strcasestr(value, "utf-8") || strcasestr(value, "utf8");
        }
        return true; /* then environment_build sets a sane one */
}

static char **build_environment(const struct app *app, struct request *req)
{
        static const char *const extra[] = { "TERM=xterm-256color", "COLORTERM=truecolor", NULL };
        static const char *const extra_utf8[] = { "TERM=xterm-256color", "COLORTERM=truecolor",
                                                  "LC_ALL=C.UTF-8", NULL };
        char **envp = NULL;

        if (environment_build(supervisor_user(app->supervisor), variables_get(app->variables), NULL,
                              is_utf8_locale(app) ? extra : extra_utf8, &envp) < 0)
                request_fail(req, PROBLEM_UNAVAILABLE,
                             "the agent's environment is too large for a program");
        return envp;
}

static char *resolve_cwd(struct request *req, const struct terminal_args *args)
{
        struct error err = ERROR_INIT;
        char *cwd = NULL;

        if (workdir_resolve(request_app(req)->config, args->cwd, &cwd, &err) < 0)
                request_fail_field(req, PROBLEM_INVALID_REQUEST, "/cwd", "cwd: %s", err.message);
        return cwd;
}

static void refuse_start(struct request *req, int r, const struct error *err)
{
        if (r == SUPERVISOR_E_LIMIT) {
                request_set_header(req, "Retry-After", "1");
                request_fail(
                        req, PROBLEM_LIMIT_REACHED,
                        "max-processes reached: no terminal can be started now; try again when "
                        "an execution has ended");
        } else if (r == SUPERVISOR_E_CLOSED) {
                request_fail(req, PROBLEM_UNAVAILABLE, "the agent is shutting down");
        } else if (r == -E2BIG) {
                request_fail_field(
                        req, PROBLEM_INVALID_REQUEST, "/command",
                        "command: it and the environment together are too long for the system");
        } else {
                request_fail(req, PROBLEM_UNAVAILABLE, "no terminal could be started: %s",
                             err->message);
        }
}

static struct session *create(struct request *req, const struct terminal_args *args)
{
        struct app *app = request_app(req);
        CLEANUP(strv_free) char **envp = NULL;
        CLEANUP(mem_free) char *cwd = NULL;
        const char *shell = args->shell ? args->shell : default_shell();
        char *argv[] = { (char *)shell, (char *)(args->command ? "-c" : "-l"),
                         (char *)args->command, NULL };
        struct session_options options = {
                .name = args->session,
                .argv = argv,
                .size = { .columns = (unsigned)args->cols, .rows = (unsigned)args->rows },
        };
        struct session *s = NULL;
        struct error err = ERROR_INIT;
        int r;

        if (app->terminals->n_sessions >= app->config->max_terminals) {
                request_set_header(req, "Retry-After", "1");
                request_fail(
                        req, PROBLEM_LIMIT_REACHED,
                        "max-terminals reached: %llu are open; GET /terminals lists them, DELETE "
                        "/terminals/{name} ends one",
                        (unsigned long long)app->terminals->n_sessions);
                return NULL;
        }
        cwd = resolve_cwd(req, args);
        envp = cwd ? build_environment(app, req) : NULL;
        if (!envp)
                return NULL;
        options.cwd = cwd;
        options.envp = envp;
        r = session_new(app, &options, &s, &err);
        if (r != 0)
                refuse_start(req, r, &err);
        return s;
}

/* A client that says how large its window is expects the terminal to have that size. */
static void resize(struct session *s, const struct terminal_args *args)
{
        struct pty_size size = s->size;

        if (args->has_cols)
                size.columns = (unsigned)args->cols;
        if (args->has_rows)
                size.rows = (unsigned)args->rows;
        if ((args->has_cols || args->has_rows) && !s->has_ended &&
            process_resize(s->process, &size) == 0)
                s->size = size;
}

/* Answers GET /terminal. */
int terminal_get(struct request *req)
{
        const struct terminal_args *args = request_args(req);
        struct app *app = request_app(req);
        struct session *s = NULL;
        bool is_created = false;

        if (args->session && !is_name(args->session))
                return request_fail_field(
                        req, PROBLEM_INVALID_REQUEST, "/session",
                        "session: only letters, digits, '.', '_' and '-' are allowed, and more "
                        "than dots");
        if (args->has_since && !args->session)
                return request_fail_field(req, PROBLEM_INVALID_REQUEST, "/since",
                                          "since: only a terminal with a session name can be "
                                          "come back to");
        if (!ws_admit(app->websockets, req))
                return 0;
        if (args->session)
                s = session_find(app->terminals, args->session);
        if (s) {
                resize(s, args);
        } else {
                s = create(req, args);
                is_created = true;
        }
        if (s)
                attachment_new(s, req, is_created, args->has_since ? &args->since : NULL);
        return 0;
}
