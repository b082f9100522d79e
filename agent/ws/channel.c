/* SPDX-License-Identifier: Apache-2.0 */

/* Small messages are parsed where they arrive, large ones by a worker; meanwhile the connection is paused, so messages
 * stay in order. */

#include "agent/ws/channel.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base/alloc.h"
#include "agent/base/clock.h"
#include "agent/base/limits.h"
#include "agent/base/str.h"
#include "agent/http/request.h"
#include "agent/json/decode.h"
#include "agent/json/escape.h"
#include "agent/loop/job.h"

/* What follows the text in a frame: two numbers and a time. */
#define TRAILER_SIZE 160
#define HEADER_SIZE  64

struct channel {
        struct ws *ws; /* NULL: closed */
        struct loop *loop;
        const struct channel_ops *ops;
        void *arg;
        char *request_id;
        bool is_parsing; /* a worker is; the object outlives the connection until it has done */
        bool is_paused;
        bool was_taken; /* what was sent, before the end */
};

static void channel_free(struct channel *ch)
{
        free(ch->request_id);
        free(ch);
}

/* --- sending --- */

/* See the header. */
void channel_send(struct channel *ch, json_t *message)
{
        CLEANUP(mem_free) char *text = json_dumps(message, JSON_COMPACT | JSON_REAL_PRECISION(15));

        json_decref(message);
        if (text && ch->ws)
                ws_send(ch->ws, text, strlen(text));
}

/* See the header. */
void channel_send_text(struct channel *ch, const char *text, size_t size)
{
        if (ch->ws)
                ws_send(ch->ws, text, size);
}

/* See the header. */
void channel_send_error(struct channel *ch, enum problem p, const char *field, const char *message)
{
        json_t *doc = json_pack("{s:s}", "type", "error");

        json_object_update_new(doc, problem_document(p, message, field, ch->request_id));
        channel_send(ch, doc);
}

/* See the header. */
void channel_want_write(struct channel *ch)
{
        if (ch->ws)
                ws_want_write(ch->ws);
}

/* See the header. */
char *channel_buffer(struct channel *ch)
{
        return ws_buffer(ch->ws);
}

/* See the header. */
void channel_write(struct channel *ch, size_t size)
{
        ws_write(ch->ws, size);
}

/* See the header. */
void channel_set_burst(struct channel *ch)
{
        if (ch->ws)
                ws_set_burst(ch->ws);
}

/* How many of the last bytes are the beginning of a character: back to its lead byte. */
static size_t pending_size(const struct ring_slice *slices, unsigned n_slices)
{
        size_t n = 0;

        for (unsigned i = n_slices; i > 0; i--)
                for (size_t k = slices[i - 1].size; k > 0; k--) {
                        n++;
                        if (((unsigned char)slices[i - 1].data[k - 1] & 0xc0) != 0x80)
                                return n;
                }
        return n;
}

/* See the header. */
size_t channel_write_text(struct channel *ch, const char *type, uint64_t offset,
                          const struct ring_slice *slices, unsigned n_slices, bool is_end)
{
        struct json_escaper escaper;
        char now[CLOCK_RFC3339_SIZE];
        char *buffer = ws_buffer(ch->ws), *end = buffer + WS_FRAME_SIZE - TRAILER_SIZE;
        char *p = buffer + snprintf(buffer, HEADER_SIZE, "{\"type\":\"%s\",\"data\":\"", type);
        size_t n = 0, taken = 0;
        unsigned n_begun = 0;
        bool is_all = true;

        json_escape_init(&escaper);
        while (n_begun < n_slices && is_all) {
                const struct ring_slice *slice = &slices[n_begun++];

                p += json_escape(&escaper, slice->data, slice->size, &taken, p, (size_t)(end - p));
                n += taken;
                is_all = taken == slice->size && end - p >= JSON_ESCAPE_STEP;
        }
        /* If so, what was begun was taken to its end. */
        if (utf8_decoder_is_pending(&escaper.utf8)) {
                if (is_end && n_begun == n_slices)
                        p += json_escape_finish(&escaper, p);
                else
                        n -= pending_size(slices, n_begun);
        }
        if (n == 0)
                return 0;
        p += snprintf(p, TRAILER_SIZE,
                      "\",\"offset\":%" PRIu64 ",\"end\":%" PRIu64 ",\"timestamp\":\"%s\"}", offset,
                      offset + n, clock_rfc3339_now(now));
        ws_write(ch->ws, (size_t)(p - buffer));
        return n;
}

/* See the header. */
void channel_pause(struct channel *ch, bool pause)
{
        ch->is_paused = pause;
        if (ch->ws)
                ws_pause(ch->ws, ch->is_paused || ch->is_parsing);
}

/* See the header. */
void channel_close(struct channel *ch, enum ws_code code, const char *reason)
{
        if (ch->ws)
                ws_close(ch->ws, code, reason);
}

/* See the header. */
void channel_finish(struct channel *ch)
{
        if (ch->ws)
                ws_finish(ch->ws, WS_NORMAL);
}

/* See the header. */
bool channel_was_taken(const struct channel *ch)
{
        return ch->ws ? ws_was_taken(ch->ws) : ch->was_taken;
}

/* --- receiving --- */

static int refuse_type(const struct message_type *types, const char *member, const char *name,
                       struct error *err)
{
        char known[160] = "ping", field[32];

        for (; types->name; types++) {
                size_t used = strlen(known);

                (void)snprintf(known + used, sizeof(known) - used, ", %s", types->name);
        }
        (void)snprintf(field, sizeof(field), "/%s", member);
        if (!name)
                return error_set_field(
                        err, -ENOKEY, field,
                        "%s: missing; a message is an object whose '%s' is one of %s", member,
                        member, known);
        return error_set_field(err, -EINVAL, field, "%s: '%.32s' is not known here; known: %s",
                               member, name, known);
}

/* NULL: it has none, or none that could be in a table. */
static const char *type_name(const json_t *message, const char *member)
{
        const json_t *value = json_object_get(message, member);
        const char *name = json_string_value(value);

        return name && strlen(name) == json_string_length(value) ? name : NULL;
}

/* See the header. */
int channel_decode(const struct message_type *types, const char *member, json_t *message,
                   const struct message_type **ret, void **ret_args, struct error *err)
{
        const char *name = type_name(message, member);
        struct json_source source = { .body = message };
        const struct message_type *type = types;
        CLEANUP(mem_free) void *args = NULL;
        int r;

        while (name && type->name && !str_equal(type->name, name))
                type++;
        if (!name || !type->name)
                return refuse_type(types, member, name, err);
        if (type->fields) {
                args = xcalloc(1, type->args_size);
                r = json_decode(type->fields, &source, args, type->args_size, err);
                if (r < 0)
                        return r;
        }
        *ret = type;
        *ret_args = STEAL(args);
        return 0;
}

/* Tells what is wrong with a message that nobody else gets to see. */
static void refuse(struct channel *ch, enum problem p, const char *field, const char *message)
{
        channel_send_error(ch, p, field, message);
        if (ch->ops->on_refused)
                ch->ops->on_refused(ch->arg);
}

static void handle_message(struct channel *ch, json_t *message)
{
        const char *member = ch->ops->member ? ch->ops->member : "type";
        char now[CLOCK_RFC3339_SIZE];
        const struct message_type *type;
        CLEANUP(mem_free) void *args = NULL;
        struct error err = ERROR_INIT;
        int r;

        if (str_equal(type_name(message, "type"), "ping") ||
            str_equal(type_name(message, member), "ping")) {
                channel_send(ch, json_pack("{s:s, s:s}", "type", "pong", "timestamp",
                                           clock_rfc3339_now(now)));
                return;
        }
        r = channel_decode(ch->ops->types, member, message, &type, &args, &err);
        if (r < 0)
                refuse(ch, r == -ENOKEY ? PROBLEM_MISSING_PARAMETER : PROBLEM_INVALID_REQUEST,
                       err.field, err.message);
        else
                type->handle(ch->arg, args);
}

static void take_parsed(struct channel *ch, int r, json_t *message, const struct error *err)
{
        if (r < 0)
                refuse(ch, r == -ENOMEM ? PROBLEM_UNAVAILABLE : PROBLEM_INVALID_JSON, NULL,
                       err->message);
        else
                handle_message(ch, message);
}

struct parse_job {
        struct channel *channel; /* the worker does not touch it */
        char *data;
        size_t size;
        json_t *message;
        struct error err;
        int r;
};

static void run_parse(void *arg)
{
        struct parse_job *job = arg;

        job->r = json_parse_object(job->data, job->size, &job->message, &job->err);
}

static void on_parsed(void *arg)
{
        struct parse_job *job = arg;
        struct channel *ch = job->channel;

        ch->is_parsing = false;
        if (ch->ws) {
                ws_pause(ch->ws, ch->is_paused);
                take_parsed(ch, job->r, job->message, &job->err);
        } else {
                channel_free(ch);
        }
        json_decref(job->message);
        free(job->data);
        free(job);
}

static void parse_off_loop(struct channel *ch, const char *data, size_t size)
{
        struct parse_job *job = xnew(struct parse_job);

        job->channel = ch;
        job->data = try_alloc(size);
        if (job->data) {
                memcpy(job->data, data, size);
                job->size = size;
                if (job_run(ch->loop, job, run_parse, on_parsed) == 0) {
                        ch->is_parsing = true;
                        ws_pause(ch->ws, true);
                        return;
                }
        }
        refuse(ch, PROBLEM_UNAVAILABLE, NULL, "no memory for the message");
        free(job->data);
        free(job);
}

static void on_message(void *arg, char *data, size_t size, bool is_text)
{
        struct channel *ch = arg;
        struct error err = ERROR_INIT;
        json_t *message = NULL;
        int r;

        if (!is_text && ch->ops->on_binary) {
                ch->ops->on_binary(ch->arg, data, size);
        } else if (size > LIMIT_JSON_INLINE) {
                parse_off_loop(ch, data, size);
        } else {
                r = json_parse_object(data, size, &message, &err);
                take_parsed(ch, r, message, &err);
                json_decref(message);
        }
}

/* --- the connection --- */

static void on_writable(void *arg)
{
        struct channel *ch = arg;

        ch->ops->on_writable(ch->arg);
}

static void on_shutdown(void *arg)
{
        struct channel *ch = arg;

        ch->ops->on_shutdown(ch->arg);
}

static void on_closed(void *arg)
{
        struct channel *ch = arg;

        ch->was_taken = ws_was_taken(ch->ws);
        ch->ws = NULL;
        ch->ops->on_closed(ch->arg);
        if (!ch->is_parsing) /* else on_parsed frees it */
                channel_free(ch);
}

/* See the header. */
struct channel *channel_accept(struct ws_server *s, struct loop *l, struct request *req,
                               const struct channel_ops *ops, void *arg)
{
        static const struct ws_ops ws_ops = { on_message, on_writable, on_shutdown, on_closed };
        struct channel *ch = xnew(struct channel);

        ch->loop = l;
        ch->ops = ops;
        ch->arg = arg;
        ch->request_id = xstrdup(request_id(req));
        ch->ws = ws_accept(s, req, &ws_ops, ch);
        return ch;
}
