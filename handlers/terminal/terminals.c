/* SPDX-License-Identifier: Apache-2.0 */

/* All sessions: listing them and ending them. */

#include "handlers/terminal/terminals.h"

#include <assert.h>
#include <stdlib.h>

#include <jansson.h>

#include "agent/app.h"
#include "agent/base/alloc.h"
#include "agent/base/clock.h"
#include "agent/http/request.h"
#include "handlers/terminal/session.h"

/* clang-format off */
const struct json_field terminals_name_args[] = {
        F_STRING(struct terminals_name_args, name, .in = IN_PATH, .required = true, .min = 1, .max = 64,
                 .doc = "The session's name, or its id"),
        F_END
};
/* clang-format on */

/* See the header. */
struct terminals *terminals_new(void)
{
        struct terminals *t = xnew(struct terminals);

        list_init(&t->sessions);
        return t;
}

/* See the header. */
void terminals_end(struct terminals *t, void (*on_ended)(void *arg), void *arg)
{
        list_for_each_safe(pos, &t->sessions) {
                session_end(list_entry(pos, struct session, link));
        }
        t->on_ended = on_ended;
        t->on_ended_arg = arg;
        terminals_check_ended(t);
}

/* See session.h. */
void terminals_check_ended(struct terminals *t)
{
        void (*on_ended)(void *arg);

        if (t->n_sessions > 0)
                return;
        on_ended = STEAL(t->on_ended);
        if (on_ended)
                on_ended(t->on_ended_arg);
}

/* See the header. */
uint64_t terminals_count(const struct terminals *t)
{
        return t->n_sessions;
}

/* See the header. */
struct terminals *terminals_free(struct terminals *t)
{
        assert(!t || list_is_empty(&t->sessions));
        free(t);
        return NULL;
}

static json_t *describe(const struct session *s)
{
        const char *id = process_id(s->process);
        char started[CLOCK_RFC3339_SIZE];
        json_t *doc;

        doc = json_pack("{s:s?, s:s, s:I, s:i, s:i, s:i, s:s, s:I, s:s, s:I, s:I}", "name", s->name,
                        "id", id, "pid", (json_int_t)process_pid(s->process), "cols",
                        (int)s->size.columns, "rows", (int)s->size.rows, "clients",
                        (int)s->n_attachments, "started", clock_rfc3339(started, s->started_ms),
                        "idle", (json_int_t)((clock_now_ms() - s->active_ms) / 1000), "status",
                        s->has_ended ? "exited" : "running", "offset", (json_int_t)s->output.start,
                        "end", (json_int_t)s->output.end);
        if (s->has_ended)
                json_object_set_new(doc, "exit_code",
                                    json_integer(process_result(s->process)->exit_code));
        return doc;
}

/* Answers GET /terminals. */
int terminals_get(struct request *req)
{
        const struct terminals *t = request_app(req)->terminals;
        char now[CLOCK_RFC3339_SIZE];
        json_t *list = json_array();

        list_for_each(pos, &t->sessions) {
                const struct session *s = list_entry(pos, struct session, link);

                if (!s->is_doomed)
                        json_array_append_new(list, describe(s));
        }
        return request_reply_json(req, 200,
                                  json_pack("{s:I, s:o, s:s}", "count",
                                            (json_int_t)json_array_size(list), "terminals", list,
                                            "timestamp", clock_rfc3339_now(now)));
}

/* Answers DELETE /terminals/{name}. */
int terminals_name_delete(struct request *req)
{
        const struct terminals_name_args *args = request_args(req);
        struct session *s = session_find(request_app(req)->terminals, args->name);

        if (!s)
                return request_fail_field(
                        req, PROBLEM_TERMINAL_NOT_FOUND, "/name",
                        "name: there is no terminal '%.64s'; GET /terminals lists them",
                        args->name);
        session_answer_end(s, req);
        session_end(s);
        return 0;
}
