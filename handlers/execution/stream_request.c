/* SPDX-License-Identifier: Apache-2.0 */

#include "handlers/execution/stream_private.h"

#include <stdlib.h>
#include <string.h>

#include "agent/base/alloc.h"

static bool may_start(struct execution_stream *s, const struct execution_args *args)
{
        if (s->state != STREAM_IDLE)
                stream_refuse(s, PROBLEM_INVALID_REQUEST, "/type",
                              "type: a connection is for one execution, and this one has had it; "
                              "open another");
        else if (args->encoding == DOCUMENT_BASE64)
                stream_refuse(s, PROBLEM_INVALID_REQUEST, "/encoding",
                              "encoding: streams are text; base64 is for answers only");
        else
                return true;
        return false;
}

/* Replaces what @text points to by a copy, which is *ret, too. */
static bool copy_text(struct json_text *text, char **ret)
{
        char *copy;

        if (!text->data)
                return true;
        copy = try_alloc(text->size + 1);
        if (!copy)
                return false;
        memcpy(copy, text->data, text->size);
        copy[text->size] = '\0';
        text->data = *ret = copy;
        return true;
}

static bool keep(struct execution_stream *s, struct json_text *text, struct execution_args *args)
{
        args->env = s->request.env = json_incref(args->env);
        if (copy_text(text, &s->request.text) && copy_text(&args->input, &s->request.input))
                return true;
        stream_forget_request(s);
        stream_refuse(s, PROBLEM_UNAVAILABLE, NULL, "there is no memory for the message");
        return false;
}

/* See stream_private.h. */
bool stream_keep_code(struct execution_stream *s, const struct execute_args *args)
{
        struct execute_args *kept = &s->request.args.code;

        if (!may_start(s, &args->run))
                return false;
        *kept = *args;
        return keep(s, &kept->code, &kept->run);
}

/* See stream_private.h. */
bool stream_keep_command(struct execution_stream *s, const struct commands_args *args)
{
        struct commands_args *kept = &s->request.args.command;
        struct json_text text = { args->command, strlen(args->command) };

        if (!may_start(s, &args->run))
                return false;
        *kept = *args;
        kept->args = s->request.list = json_incref(args->args);
        if (!keep(s, &text, &kept->run))
                return false;
        kept->command = text.data;
        return true;
}

/* See stream_private.h. */
void stream_forget_request(struct execution_stream *s)
{
        struct stream_request *r = &s->request;

        r->input = mem_free(r->input);
        json_decref(STEAL(r->list));
        json_decref(STEAL(r->env));
        if (s->label != r->text)
                r->text = mem_free(r->text);
}
