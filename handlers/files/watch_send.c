/* SPDX-License-Identifier: Apache-2.0 */

/* Everything that a client gets stands in one queue, so that it comes in the order in which it happened. Changes are
 * taken from the engine only as long as the queue is short: with a client that does not keep up it waits, and merges
 * what changes meanwhile.
 *
 * The public clients read one change from a frame. How fast frames may follow each other is the connection's business
 * (agent/ws/ws.h). Who asks for batches gets all that waits in few frames. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base/alloc.h"
#include "agent/base/buf.h"
#include "agent/base/clock.h"
#include "agent/base/limits.h"
#include "agent/json/write.h"
#include "agent/ws/channel.h"
#include "handlers/files/common.h"
#include "handlers/files/watch_private.h"

#define BATCH_SIZE (64 * KIB)
#define ENDS_SIZE  128 /* what is around the changes in a batch */

struct message {
        struct list link;
        char *text; /* JSON */
        size_t size;
        bool is_change;
        bool is_batched;
};

/* The trees go on when there is room again. */
static void update_pause(struct watcher *w)
{
        bool pause = w->queued > (w->is_paused ? LIMIT_WATCH_QUEUE / 2 : LIMIT_WATCH_QUEUE);

        channel_pause(w->channel, w->n_answers > LIMIT_WATCH_ANSWERS);
        if (pause == w->is_paused)
                return;
        w->is_paused = pause;
        list_for_each(pos, &w->trees) {
                struct watched_tree *t = list_entry(pos, struct watched_tree, link);

                if (t->watch)
                        watch_pause(t->watch, pause);
        }
}

/* Takes @text. */
static struct message *push(struct watcher *w, char *text, size_t size)
{
        struct message *m = xnew(struct message);

        m->text = text;
        m->size = size;
        list_append(&w->queue, &m->link);
        w->queued += size;
        channel_want_write(w->channel);
        return m;
}

/* Takes @doc. */
static void push_answer(struct watcher *w, json_t *doc)
{
        char *text = json_dumps(doc, JSON_COMPACT);

        json_decref(doc);
        if (!text)
                return;
        (void)push(w, text, strlen(text));
        w->n_answers++;
        update_pause(w);
}

static struct message *pop(struct watcher *w)
{
        struct message *m = list_entry(w->queue.next, struct message, link);

        list_remove(&m->link);
        w->queued -= m->size;
        w->n_answers -= !m->is_change;
        return m;
}

static void message_free(struct message *m)
{
        free(m->text);
        free(m);
}

/* See watch_private.h. */
void watcher_drop_queue(struct watcher *w)
{
        while (!list_is_empty(&w->queue))
                message_free(pop(w));
}

/* See watch_private.h. */
void watcher_send_status(struct watcher *w, const char *verb, const char *path)
{
        char now[CLOCK_RFC3339_SIZE];
        CLEANUP(mem_free) char *status = xasprintf("%s %s", verb, path);
        json_t *doc = json_pack("{s:s, s:o, s:s, s:o, s:s}", "type", "status", "status",
                                files_json_string(status), "event", "status", "path",
                                files_json_string(path), "timestamp", clock_rfc3339_now(now));

        push_answer(w, doc);
}

/* See watch_private.h. */
void watcher_send_overflow(struct watcher *w, const char *path)
{
        char now[CLOCK_RFC3339_SIZE];

        push_answer(w, json_pack("{s:s, s:s, s:o, s:s}", "type", "overflow", "event", "overflow",
                                 "path", files_json_string(path), "timestamp",
                                 clock_rfc3339_now(now)));
}

/* See watch_private.h. */
void watcher_send_error(struct watcher *w, enum problem p, const char *field, const char *path,
                        const char *message)
{
        json_t *doc = json_pack("{s:s, s:s}", "type", "error", "event", "error");
        json_t *details;

        json_object_update_new(doc, problem_document(p, message, field, w->request_id));
        if (path) {
                details = json_object_get(doc, "details");
                if (!details) {
                        details = json_object();
                        json_object_set_new(doc, "details", details);
                }
                json_object_set_new(doc, "path", files_json_string(path));
                json_object_set_new(details, "path", files_json_string(path));
        }
        push_answer(w, doc);
}

static int write_change(struct buf *b, enum watch_type type, bool is_directory, const char *path,
                        const char *old_path)
{
        static const char *const names[] = {
                [WATCH_CREATED] = "created",
                [WATCH_MODIFIED] = "modified",
                [WATCH_DELETED] = "deleted",
                [WATCH_RENAMED] = "renamed",
        };
        char now[CLOCK_RFC3339_SIZE];
        int r;

        r = buf_append_str(b, "{\"type\":\"change\",\"path\":");
        if (r == 0)
                r = json_write_string(b, path);
        if (r == 0)
                r = buf_appendf(b, ",\"event\":\"%s\"", names[type]);
        if (r == 0 && old_path)
                r = json_write_member(b, "old_path", old_path);
        if (r == 0)
                r = buf_appendf(b, ",\"is_directory\":%s,\"timestamp\":\"%s\"}",
                                is_directory ? "true" : "false", clock_rfc3339_now(now));
        return r;
}

/* See watch_private.h. */
bool watcher_send_change(struct watcher *w, enum watch_type type, bool is_directory,
                         const char *path, const char *old_path, bool is_batched)
{
        CLEANUP(buf_done) struct buf b;
        struct message *m;
        size_t size;
        char *text;

        buf_init(&b, WS_FRAME_SIZE - ENDS_SIZE);
        if (write_change(&b, type, is_directory, path, old_path) < 0)
                return false;
        text = buf_steal(&b, &size);
        m = push(w, text, size);
        m->is_change = true;
        m->is_batched = is_batched;
        update_pause(w);
        return true;
}

/* Puts all the changes that wait, and that fit, into @dst. */
static size_t write_batch(struct watcher *w, char *dst)
{
        static const char head[] = "{\"type\":\"changes\",\"changes\":[";
        char *p = dst + sizeof(head) - 1;
        char now[CLOCK_RFC3339_SIZE];
        size_t size = 0;

        memcpy(dst, head, sizeof(head) - 1);
        while (!list_is_empty(&w->queue)) {
                struct message *m = list_entry(w->queue.next, struct message, link);

                if (!m->is_batched || (size > 0 && size + m->size > BATCH_SIZE))
                        break;
                m = pop(w);
                if (size > 0)
                        *p++ = ',';
                memcpy(p, m->text, m->size);
                p += m->size;
                size += m->size + 1;
                message_free(m);
        }
        p += snprintf(p, ENDS_SIZE / 2, "],\"timestamp\":\"%s\"}", clock_rfc3339_now(now));
        return (size_t)(p - dst);
}

/* See watch_private.h. */
void watcher_on_writable(void *arg)
{
        struct watcher *w = arg;
        char *frame = channel_buffer(w->channel);
        size_t size;

        if (!list_is_empty(&w->queue)) {
                struct message *m = list_entry(w->queue.next, struct message, link);

                if (m->is_batched) {
                        size = write_batch(w, frame);
                } else {
                        m = pop(w);
                        size = m->size;
                        memcpy(frame, m->text, size);
                        message_free(m);
                }
                channel_write(w->channel, size);
                update_pause(w);
        }
        if (!list_is_empty(&w->queue))
                channel_want_write(w->channel);
        else if (w->is_over)
                channel_finish(w->channel);
}
