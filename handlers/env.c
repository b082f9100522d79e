/* SPDX-License-Identifier: Apache-2.0 */

/* Clients remove one variable by reading all, leaving it out and writing the rest back. So a PUT contains what a GET
 * has shown: inherited variables, which are not made the clients' own by that, and masked values, which change
 * nothing. */

#include "handlers/env.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/app.h"
#include "agent/base/alloc.h"
#include "agent/base/clock.h"
#include "agent/base/limits.h"
#include "agent/base/str.h"
#include "agent/base/utf8.h"
#include "agent/config.h"
#include "agent/http/request.h"
#include "agent/http/route_doc.h"
#include "proc/environment.h"
#include "proc/supervisor.h"
#include "proc/variables.h"

#define MASK "***MASKED***"

static const char *const secret_words[] = { "KEY",   "SECRET",     "PASSWORD", "PASSWD",
                                            "TOKEN", "CREDENTIAL", "PRIVATE",  "PASSPHRASE" };

/* clang-format off */
const struct json_field env_args[] = {
        /* As many inherited ones may come back as a GET has shown. */
        F_STRING_MAP(struct env_args, variables, .name = "env_vars", .required = true, .environment = true,
                     .max = 2 * LIMIT_ENV_ENTRIES, .max_item = LIMIT_ENV_VALUE_BYTES,
                     .doc = "Variables by their names. Numbers and booleans become text; null is refused",
                     .example = "{\"GREETING\": \"hello\", \"WORKERS\": \"4\"}"),
        F_STRING    (struct env_args, timestamp, .number_ok = true, .max = 64,
                     .doc = "When it was asked for: RFC 3339 with a zone, or Unix time. What is older than the last "
                            "change that had one is ignored", .example = "\"2026-01-28T10:00:00Z\""),
        F_BOOL      (struct env_args, merge, .doc = "Not looked at: PUT replaces, PATCH merges", .example = "true"),
        F_END
};

const struct json_field env_key_args[] = {
        F_STRING(struct env_key_args, key, .in = IN_PATH, .required = true, .environment = true, .min = 1, .max = 4096,
                 .doc = "Name of the variable", .example = "\"GREETING\""),
        F_END
};
/* clang-format on */

/* --- what there is --- */

static bool is_secret(const char *name)
{
        for (size_t i = 0; i < ARRAY_LEN(secret_words); i++)
                if (strcasestr(name, secret_words[i]))
                        return true;
        return false;
}

/* "NAME=value" into @to. Names that nobody may send back are not shown, because clients send back all that they see:
 * functions that bash has exported, for instance. */
static void show(json_t *to, const char *entry)
{
        size_t size = strcspn(entry, "=");
        CLEANUP(mem_free) char *name = xstrndup(entry, size);
        CLEANUP(mem_free) char *value = xstrdup(entry + size + (entry[size] == '='));

        if (!str_is_variable_name(name))
                return;
        utf8_repair(value);
        (void)json_object_set_new(to, name, json_string(value));
}

static void mask(json_t *shown)
{
        const char *name;
        json_t *value;

        json_object_foreach(shown, name, value)
                if (is_secret(name))
                        (void)json_object_set_new(shown, name, json_string(MASK));
}

/* What a program would get, with @global as global variables. They are good to be shown as they are, and may be large:
 * none is copied. Of what is below them they change nothing but whether there is a default for the language. A new
 * reference. */
static json_t *describe(const struct app *app, json_t *global)
{
        CLEANUP(strv_free) char **envp = NULL;
        json_t *all = json_object(), *language = json_object();

        (void)json_object_set(language, "LC_ALL", json_object_get(global, "LC_ALL"));
        /* When that is too much for a program already, there is nothing to be shown of it. */
        (void)environment_build(supervisor_user(app->supervisor), language, NULL, NULL, &envp);
        for (char **e = envp; e && *e; e++)
                show(all, *e);
        (void)json_object_update(all, global);
        json_decref(language);
        return all;
}

/* See the header. */
json_t *env_describe(const struct app *app)
{
        json_t *variables = describe(app, variables_get(app->variables));

        if (app->config->env_mask)
                mask(variables);
        return variables;
}

static int reply(struct request *req, const char *message, size_t n_removed)
{
        const struct app *app = request_app(req);
        json_t *variables = env_describe(app);
        char now[CLOCK_RFC3339_SIZE];
        json_t *doc;

        doc = json_pack("{s:I, s:o, s:s}", "count", (json_int_t)json_object_size(variables),
                        "env_vars", variables, "timestamp", clock_rfc3339_now(now));
        if (message)
                json_object_update_new(doc, json_pack("{s:b, s:s, s:I}", "success", 1, "message",
                                                      message, "removed", (json_int_t)n_removed));
        return request_reply_json(req, 200, doc);
}

/* Answers GET /env. */
int env_get(struct request *req)
{
        if (!request_app(req)->supervisor)
                return request_fail(req, PROBLEM_UNAVAILABLE, "the agent is shutting down");
        return reply(req, NULL, 0);
}

/* --- changes --- */

static const char *message_of(enum variables_verb verb, int result, size_t n_removed)
{
        if (result == VARIABLES_E_OLD)
                return "Ignored: a later change was applied before";
        if (verb == VARIABLES_CLEAR)
                return "All global variables removed";
        if (verb == VARIABLES_REMOVE)
                return n_removed ? "Environment variable removed"
                                 : "There is no such global variable";
        return "Environment variables updated successfully";
}

struct pending {
        struct request *request; /* a reference */
        enum variables_verb verb;
};

static void on_done(void *arg, int result, size_t n_removed, const struct error *err)
{
        struct pending *p = arg;
        struct request *req = p->request;

        if (result == VARIABLES_E_TOO_MANY)
                request_fail_field(req, PROBLEM_INVALID_REQUEST, "/env_vars",
                                   "env_vars: there would be more than %d global variables",
                                   LIMIT_ENV_ENTRIES);
        else if (result == VARIABLES_E_TOO_BIG)
                request_fail_field(req, PROBLEM_INVALID_REQUEST, "/env_vars",
                                   "env_vars: all global variables together would exceed %zu bytes",
                                   (size_t)LIMIT_ENV_BYTES);
        else if (result == -ESHUTDOWN || !request_app(req)->supervisor)
                request_fail(req, PROBLEM_UNAVAILABLE, "the agent is shutting down");
        else if (result < 0)
                request_fail(req,
                             result == -ENOSPC || result == -EDQUOT ? PROBLEM_NO_SPACE
                                                                    : PROBLEM_INTERNAL,
                             "nothing was changed, because the variables could not be kept: %s",
                             err->message);
        else
                reply(req, message_of(p->verb, result, n_removed), n_removed);
        request_unref(req);
        free(p);
}

/* Takes @entries. */
static int change(struct request *req, enum variables_verb verb, json_t *entries,
                  int64_t timestamp_us)
{
        struct pending *p = xnew(struct pending);
        const struct variables_change change = {
                .verb = verb,
                .entries = entries,
                .masked = request_app(req)->config->env_mask ? MASK : NULL,
                .timestamp_us = timestamp_us,
                .done = on_done,
                .arg = p,
        };

        p->request = request_ref(req);
        p->verb = verb;
        if (variables_apply(request_app(req)->variables, &change) == 0)
                return 0;
        request_unref(p->request);
        free(p);
        return request_fail(req, PROBLEM_UNAVAILABLE, "the agent is shutting down");
}

/* @given without what is inherited all the same. A new reference. */
static json_t *own_of(const struct app *app, json_t *given)
{
        json_t *nothing = json_object(), *own = json_object();
        json_t *inherited = describe(app, nothing);
        const char *name;
        json_t *value;

        json_object_foreach(given, name, value)
                if (!json_equal(value, json_object_get(inherited, name)))
                        (void)json_object_set(own, name, value);
        json_decref(nothing);
        json_decref(inherited);
        return own;
}

static int change_by_body(struct request *req, enum variables_verb verb)
{
        const struct env_args *args = request_args(req);
        const struct app *app = request_app(req);
        int64_t timestamp_us = 0;

        if (!app->supervisor)
                return request_fail(req, PROBLEM_UNAVAILABLE, "the agent is shutting down");
        if (args->timestamp && clock_parse(args->timestamp, &timestamp_us) < 0)
                return request_fail_field(
                        req, PROBLEM_INVALID_REQUEST, "/timestamp",
                        "timestamp: neither RFC 3339 with a zone (2026-01-28T10:00:00Z) nor Unix "
                        "time");
        return change(req, verb,
                      verb == VARIABLES_REPLACE ? own_of(app, args->variables)
                                                : json_incref(args->variables),
                      timestamp_us);
}

/* Answers PUT /env. */
int env_put(struct request *req)
{
        return change_by_body(req, VARIABLES_REPLACE);
}

/* Answers PATCH /env. */
int env_patch(struct request *req)
{
        return change_by_body(req, VARIABLES_MERGE);
}

/* Answers DELETE /env. */
int env_delete(struct request *req)
{
        return change(req, VARIABLES_CLEAR, json_object(), 0);
}

/* Answers DELETE /env/{key}. */
int env_key_delete(struct request *req)
{
        const struct env_key_args *args = request_args(req);

        return change(req, VARIABLES_REMOVE, json_pack("{s:n}", args->key), 0);
}

/* --- documentation --- */

#define SHOWN                                                                                 \
        S_MAP("env_vars", S_ITEM(SHAPE_STRING),                                               \
              .doc = "What a program gets that is started now: the global variables over the" \
                     " inherited ones",                                                       \
              .example = "{\"PATH\": \"/usr/local/bin:/usr/bin:/bin\", \"HOME\": \"/root\","  \
                         " \"GREETING\": \"hello\"}"),                                        \
                S_INTEGER("count", .doc = "How many these are", .example = "3"),              \
                S_TIME("timestamp", .doc = "When this was answered")

static const struct shape shown_shape[] = { SHOWN, S_END };

static const struct shape changed_shape[] = {
        S_BOOL("success", .doc = "true"),
        S_STRING("message", .doc = "What was done, or why it was not",
                 .example = "\"Environment variables updated successfully\""),
        S_INTEGER("removed", .doc = "How many global variables there are not any more",
                  .example = "0"),
        SHOWN,
        S_END,
};

static const struct route_reply shown_replies[] = {
        { .status = 200, .body = shown_shape, .doc = "The environment" },
        { .status = 0 },
};

static const struct route_reply changed_replies[] = {
        { .status = 200,
          .body = changed_shape,
          .doc = "The environment after the change, which is on the disk by now and in force" },
        { .status = 0 },
};

static const enum problem shown_problems[] = { PROBLEM_UNAVAILABLE, N_PROBLEMS };
static const enum problem changed_problems[] = { PROBLEM_INVALID_REQUEST, PROBLEM_NO_SPACE,
                                                 PROBLEM_INTERNAL, PROBLEM_UNAVAILABLE,
                                                 N_PROBLEMS };

/* See the header. */
const struct route_doc env_get_doc = {
        .description =
                "The environment that a program gets which is started now: a sane base for the user, what the agent "
                "inherited (without what is its own), and over that the global variables. With the option `env-mask` "
                "values whose names sound secret are shown as `***MASKED***`. Inherited variables whose names are "
                "not made of letters, digits and underscores are not shown, though programs get them.",
        .replies = shown_replies,
        .problems = shown_problems,
};

/* See the header. */
const struct route_doc env_put_doc = {
        .description =
                "Replaces all global variables. What has its inherited value stays inherited, and what is "
                "`***MASKED***` (with the option `env-mask`) stays what it is: so what GET has shown can be written "
                "back, without what is to be removed. What runs already keeps the variables that it has.",
        .replies = changed_replies,
        .problems = changed_problems,
        .example = "{\"env_vars\": {\"GREETING\": \"hello\", \"WORKERS\": 4}}",
};

/* See the header. */
const struct route_doc env_patch_doc = {
        .description =
                "Sets these global variables and leaves the others alone. Changes that come at the same time "
                "are applied in turn; none is lost.",
        .replies = changed_replies,
        .problems = changed_problems,
        .example =
                "{\"env_vars\": {\"GREETING\": \"hello\"}, \"timestamp\": \"2026-01-28T10:00:00Z\"}",
};

/* See the header. */
const struct route_doc env_delete_doc = {
        .description = "Removes all global variables. The inherited ones remain.",
        .replies = changed_replies,
        .problems = changed_problems,
};

/* See the header. */
const struct route_doc env_key_delete_doc = {
        .description =
                "Removes one global variable. If there is none of this name the answer is the same, with "
                "`removed` 0; an inherited one of this name remains, or comes into sight again.",
        .replies = changed_replies,
        .problems = changed_problems,
};
