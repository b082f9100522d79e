/* SPDX-License-Identifier: Apache-2.0 */

#include "handlers/jobs/program.h"

#include <errno.h>
#include <string.h>

#include "agent/base/alloc.h"
#include "agent/base/limits.h"
#include "agent/base/str.h"
#include "agent/base/utf8.h"
#include "agent/json/decode.h"

/* See the header. */
json_t *program_document(bool is_code, const json_t *body)
{
        /* The reference is all that is changed of it, and counting those is safe on any thread. */
        return json_pack("{s:s, s:O}", "kind", is_code ? "code" : "command", "arguments",
                         (json_t *)body);
}

/* See the header. */
int program_decode(struct program *p, json_t *document, struct error *err)
{
        const char *kind = json_string_value(json_object_get(document, "kind"));
        struct json_source source = { .body = json_object_get(document, "arguments") };
        int r;

        *p = (struct program){ .document = document, .is_code = str_equal(kind, "code") };
        if (!json_is_object(source.body) || (!p->is_code && !str_equal(kind, "command")))
                r = error_set_field(err, -EBADMSG, "", "it is no program");
        else if (p->is_code)
                r = json_decode(execute_background_args, &source, &p->args.code,
                                sizeof(p->args.code), err);
        else
                r = json_decode(commands_background_args, &source, &p->args.command,
                                sizeof(p->args.command), err);
        if (r == 0)
                return 0;
        program_done(p);
        return r;
}

/* See the header. */
void program_done(struct program *p)
{
        json_decref(p->document);
        *p = (struct program){ .document = NULL };
}

/* See the header. */
struct run_spec program_spec(const struct program *p)
{
        return p->is_code ? execute_spec(&p->args.code.execute)
                          : commands_spec(&p->args.command.commands);
}

/* See the header. */
const struct execution_args *program_execution(const struct program *p)
{
        return p->is_code ? &p->args.code.execute.run : &p->args.command.commands.run;
}

/* See the header. */
const struct job_args *program_job(const struct program *p)
{
        return p->is_code ? &p->args.code.job : &p->args.command.job;
}

/* --- the label --- */

struct label {
        char text[LIMIT_JOB_LABEL + 1];
        size_t size;
};

/* Appends as much as there is room for. */
static void add(struct label *l, const char *text, size_t size)
{
        size = MIN(size, LIMIT_JOB_LABEL - l->size);
        for (size_t i = 0; i < size; i++) {
                unsigned char c = (unsigned char)text[i];

                l->text[l->size++] = c < ' ' || c == 0x7f ? ' ' : (char)c;
        }
}

static char *label_text(const struct label *l)
{
        return xstrndup(l->text, utf8_complete_prefix(l->text, l->size));
}

/* See the header. */
char *program_label_code(const struct json_text *code)
{
        struct label l = { .size = 0 };
        size_t start = 0, end;

        while (start < code->size && strchr(" \t\r\n", code->data[start]))
                start++;
        end = start;
        while (end < code->size && !strchr("\r\n", code->data[end]))
                end++;
        add(&l, code->data + start, end - start);
        return label_text(&l);
}

/* See the header. */
char *program_label_command(const struct commands_args *args)
{
        struct label l = { .size = 0 };

        add(&l, args->command, strlen(args->command));
        for (size_t i = 0; i < json_array_size(args->args); i++) {
                const json_t *arg = json_array_get(args->args, i);

                add(&l, " ", 1);
                add(&l, json_string_value(arg), json_string_length(arg));
        }
        return label_text(&l);
}
