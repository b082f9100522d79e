/* SPDX-License-Identifier: Apache-2.0 */

/* A worker writes the entries' text, and pieces of it go to the client while it goes on. It never waits: when too much
 * of the text has not been taken, or its time is over, it notes where it is and ends, and a new one begins there when
 * the client has caught up. So others get their turn, however large the tree is. A list that fits one piece is
 * answered as a whole. */

#include "handlers/files/list.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "agent/app.h"
#include "agent/base/alloc.h"
#include "agent/base/clock.h"
#include "agent/base/fd.h"
#include "agent/base/limits.h"
#include "agent/config.h"
#include "agent/files/glob.h"
#include "agent/files/list.h"
#include "agent/files/outcome.h"
#include "agent/files/place.h"
#include "agent/http/request.h"
#include "agent/http/stream.h"
#include "agent/json/write.h"
#include "agent/loop/feed.h"
#include "handlers/files/common.h"

#define PIECE    (64 * KIB)
#define SLICE_MS 1000
#define LARGE    (512 * KIB) /* size of a directory that takes long to be read and sorted */

/* clang-format off */
const struct json_field files_list_args[] = {
        F_STRING(struct files_list_args, path, .in = IN_QUERY, .max = LIMIT_FILE_PATH,
                 .bytes_ok = true, .doc = "The directory; by default the workspace"),
        F_BOOL  (struct files_list_args, recursive, .in = IN_QUERY,
                 .set_offset = offsetof(struct files_list_args, has_recursive),
                 .doc = "All that is below it, too; by default if depth is more than 1, or glob has a slash"),
        F_UINT  (struct files_list_args, depth, .in = IN_QUERY, .max = 65536,
                 .doc = "How many levels, 1 is the directory itself; 0: all"),
        F_STRING(struct files_list_args, glob, .in = IN_QUERY, .max = LIMIT_GLOB_PATTERN,
                 .doc = "Only names that fit this pattern; with a slash in it, paths below the directory; "
                        "with one at its end, directories"),
        F_UINT  (struct files_list_args, limit, .in = IN_QUERY, .max = LIMIT_FILE_LIST_PAGE,
                 .doc = "Entries of one answer; 0: all"),
        F_STRING(struct files_list_args, cursor, .in = IN_QUERY, .max = 2 * LIMIT_FILE_PATH,
                 .doc = "next_cursor of the page before"),
        F_END
};
/* clang-format on */

struct listing {
        struct files_task task;
        struct list_options options;
        struct glob *glob;
        char *cursor; /* begin behind this path; NULL: at the beginning */
        uint64_t limit;
        char *base; /* the directory's path, to put in front of entries' */

        struct buf text; /* not handed over yet */
        uint64_t n_written;
        uint64_t n_unreadable;
        bool is_begun;
        bool is_handed_over; /* a part of it has been */
        bool is_behind;      /* the client is, or the time is over: continue at cursor, later */
        uint64_t end_ms;     /* of the time */
        bool is_complete;
        int failure; /* of writing */

        struct feed *feed;
        struct stream *stream; /* NULL: none yet, or none any more */
        bool was_streamed;
        bool is_full; /* the stream is */
        bool is_idle; /* no worker is at work, and one has been */
};

/* --- on the worker --- */

static int write_entry(struct listing *l, const struct list_entry *e)
{
        CLEANUP(mem_free) char *path = xasprintf("%s%s", l->base, e->path);
        int r;

        r = buf_append_str(&l->text, l->n_written > 0 ? ",{" : "{");
        if (r == 0)
                r = files_write_info(&l->text, e->name, path, e->target, &e->info);
        if (r == 0)
                r = buf_append_str(&l->text, "}");
        l->n_written++;
        return r;
}

static int write_begin(struct listing *l)
{
        int r = buf_append_str(&l->text, "{\"path\":");

        if (r == 0)
                r = json_write_string(&l->text, l->task.path);
        l->is_begun = true;
        return r < 0 ? r : buf_append_str(&l->text, ",\"files\":[");
}

static int write_end(struct listing *l, const char *cursor)
{
        char now[CLOCK_RFC3339_SIZE];
        int r;

        r = buf_appendf(&l->text,
                        "],\"count\":%llu,\"unreadable\":%llu,\"has_more\":%s,"
                        "\"next_cursor\":",
                        (unsigned long long)l->n_written, (unsigned long long)l->n_unreadable,
                        cursor ? "true" : "false");
        if (r == 0)
                r = buf_append_str(&l->text, cursor ? "\"" : "null");
        for (const char *p = cursor; r == 0 && p && *p; p++)
                r = buf_appendf(&l->text, "%02x", (unsigned char)*p);
        if (r == 0 && cursor)
                r = buf_append_str(&l->text, "\"");
        return r < 0 ? r : buf_appendf(&l->text, ",\"timestamp\":\"%s\"}", clock_rfc3339_now(now));
}

/* Returns how much waits. */
static size_t hand_over(struct listing *l)
{
        size_t size;
        char *data = buf_steal(&l->text, &size);

        if (!data)
                return 0;
        l->is_handed_over = true;
        return feed_push(l->feed, data, size);
}

static int on_batch(void *data, const struct list_entry *entries, size_t n)
{
        struct listing *l = data;
        size_t waiting = 0;

        if (l->end_ms ==
            0) /* the way to the cursor does not count, or there might be no progress */
                l->end_ms = clock_now_ms() + SLICE_MS;
        for (size_t i = 0; i < n && l->failure == 0; i++) {
                l->failure = l->is_begun ? 0 : write_begin(l);
                if (l->failure == 0)
                        l->failure = write_entry(l, &entries[i]);
                if (l->text.size >= PIECE)
                        waiting = hand_over(l);
        }
        if (l->failure < 0)
                return l->failure;
        if (waiting < LIMIT_FILE_LIST_QUEUE && clock_now_ms() < l->end_ms)
                return 0;
        free(l->cursor);
        l->cursor = xstrdup(entries[n - 1].path);
        l->is_behind = true;
        return 1;
}

/* Before the names of a large directory are sorted, which takes a tenth of a second for a hundred thousand, its client
 * gets to know that there is something to come. What is wrong with others directory_list will say. */
static void begin_early(struct listing *l)
{
        CLEANUP(place_done) struct place place = PLACE_INIT;
        CLEANUP(files_scope_leave) struct files_scope scope = { .user = NULL };
        CLEANUP(fd_close) int fd = -1;
        struct error err = ERROR_INIT;

        if (roots_enter(l->task.roots, &scope, l->task.path, &err) != 0 ||
            place_find(l->task.roots, l->task.path, PLACE_FOLLOW, 0, &place, &err) != 0 ||
            !S_ISDIR(place.st.st_mode) || place.st.st_size < (off_t)LARGE)
                return;
        fd = place_open(&place, O_RDONLY | O_DIRECTORY);
        if (fd < 0)
                return;
        l->failure = write_begin(l);
        if (l->failure == 0)
                (void)hand_over(l);
}

static void set_base(struct listing *l)
{
        size_t size = strlen(l->task.path);

        while (size > 0 && l->task.path[size - 1] == '/')
                size--;
        free(l->base);
        l->base = xasprintf("%.*s/", (int)size, l->task.path);
}

static int work(struct files_task *t, struct error *err)
{
        struct listing *l = container_of(t, struct listing, task);
        CLEANUP(mem_free) char *from = STEAL(l->cursor);
        struct list_result result = { .n_entries = 0 };
        int r;

        set_base(l);
        if (!l->is_begun)
                begin_early(l);
        l->is_behind = false;
        l->end_ms = 0;
        l->options.cursor = from;
        l->options.limit = l->limit > 0 ? l->limit - l->n_written : 0;
        r = directory_list(t->roots, t->path, &l->options, &result, err);
        l->n_unreadable += result.n_unreadable;
        if (l->failure < 0)
                return files_fail_memory(err, l->failure);
        if (l->is_behind) {
                if (l->limit == 0 || l->n_written < l->limit)
                        return 0;
                result.cursor = xstrdup(l->cursor); /* the page is full, and perhaps the last */
                l->is_behind = false;
        } else if (r != 0) {
                l->cursor = STEAL(from); /* for a second try */
                return r;
        }
        r = l->is_begun ? 0 : write_begin(l);
        if (r == 0)
                r = write_end(l, result.cursor);
        free(result.cursor);
        if (r < 0)
                return files_fail_memory(err, r);
        l->is_complete = true;
        return 0;
}

/* --- on the loop --- */

static void end(struct listing *l)
{
        files_task_end(&l->task);
}

static void send_pieces(struct listing *l)
{
        size_t size;
        char *data;

        while (l->stream && !l->is_full && (data = feed_pop(l->feed, &size))) {
                for (size_t at = 0; at < size; at += LIMIT_STREAM_QUEUE / 4)
                        l->is_full = stream_write(l->stream, data + at,
                                                  MIN(size - at, LIMIT_STREAM_QUEUE / 4)) != 0;
                free(data);
        }
        if (!l->stream || l->is_full || !l->is_idle)
                return;
        if (!l->is_behind) {
                stream_end(l->stream);
        } else if (stream_is_open(l->stream)) { /* else it was broken, and on_closed comes */
                l->is_idle = false;
                files_task_again(&l->task);
        }
}

static void on_writable(void *arg)
{
        struct listing *l = arg;

        l->is_full = false;
        send_pieces(l);
}

/* The worker may still be at work: then answer() or the end of the task finds out. */
static void on_closed(void *arg)
{
        struct listing *l = arg;

        l->stream = NULL;
        atomic_store(&l->task.is_cancelled, true);
        if (l->is_idle)
                end(l);
}

static const struct stream_ops stream_ops = { .on_writable = on_writable,
                                              .on_closed = on_closed,
                                              .is_finite = true };

static void on_data(void *arg)
{
        struct listing *l = arg;

        if (!l->was_streamed) {
                l->was_streamed = true;
                if (!atomic_load(&l->task.is_cancelled))
                        l->stream = request_reply_stream(l->task.request, 200, "application/json",
                                                         &stream_ops, l);
                l->task.is_streaming = l->stream != NULL;
                if (!l->stream)
                        atomic_store(&l->task.is_cancelled, true);
        }
        send_pieces(l);
}

static void answer(struct files_task *t)
{
        struct listing *l = container_of(t, struct listing, task);

        if (l->is_complete && !l->is_handed_over) {
                (void)request_reply_bytes(t->request, 200, "application/json", l->text.data,
                                          l->text.size);
                return;
        }
        if (l->is_complete)
                (void)hand_over(l);
        l->is_idle = true;
        on_data(l);
        t->is_kept = l->stream != NULL; /* else nobody is listening any more */
}

/* In the middle of a document, so that nobody takes it for the whole. */
static void fail(struct files_task *t)
{
        struct listing *l = container_of(t, struct listing, task);

        if (!l->was_streamed) {
                files_task_fail(t);
                return;
        }
        t->is_kept = true;
        l->is_idle = true;
        stream_break(l->stream);
}

static void release(struct files_task *t)
{
        struct listing *l = container_of(t, struct listing, task);

        feed_free(l->feed);
        glob_free(l->glob);
        buf_done(&l->text);
        free(l->cursor);
        free(l->base);
        free(l);
}

/* --- the request --- */

static int hex_digit(char c)
{
        if (c >= '0' && c <= '9')
                return c - '0';
        return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static char *parse_cursor(const char *text)
{
        size_t size = strlen(text);
        char *cursor;

        if (size % 2 != 0)
                return NULL;
        cursor = xcalloc(1, size / 2 + 1);
        for (size_t i = 0; i < size / 2; i++) {
                int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);

                if (high < 0 || low < 0 || high + low == 0)
                        return mem_free(cursor);
                cursor[i] = (char)(high * 16 + low);
        }
        return cursor;
}

/* Answers GET /files/list. */
int files_list_get(struct request *req)
{
        const struct files_list_args *args = request_args(req);
        struct app *app = request_app(req);
        const char *path = args->path && args->path[0] ? args->path : app->config->workspace;
        struct error err = ERROR_INIT;
        struct glob *glob = NULL;
        bool only_directories = false, goes_down;
        char *cursor = NULL;
        struct listing *l;

        if (args->glob && args->glob[0] &&
            glob_new_for_entries(args->glob, &glob, &only_directories, &err) < 0)
                return files_fail_problem(req, PROBLEM_INVALID_REQUEST, "/glob", path, "glob: %s",
                                          err.message);
        goes_down = args->depth > 1 || (glob && glob_has_slash(glob));
        if (goes_down && args->has_recursive && !args->recursive) {
                glob_free(glob);
                return files_fail_problem(req, PROBLEM_INVALID_REQUEST, "/recursive", path,
                                          "recursive: is false, but %s needs it",
                                          args->depth > 1 ? "depth" : "a glob with a slash");
        }
        if (args->cursor && args->cursor[0]) {
                cursor = parse_cursor(args->cursor);
                if (!cursor) {
                        glob_free(glob);
                        return files_fail_problem(
                                req, PROBLEM_INVALID_REQUEST, "/cursor", path,
                                "cursor: expected the next_cursor of another answer");
                }
        }
        l = xnew(struct listing);
        l->task = (struct files_task){ .work = work,
                                       .answer = answer,
                                       .fail = fail,
                                       .release = release,
                                       .retries_plus = true };
        l->glob = glob;
        l->cursor = cursor;
        l->limit = args->limit;
        l->feed = feed_new(app->loop, on_data, l);
        l->options = (struct list_options){ .is_recursive = args->recursive || goes_down,
                                            .depth = (unsigned)args->depth,
                                            .glob = glob,
                                            .only_directories = only_directories,
                                            .is_sorted = true,
                                            .cancel = &l->task.is_cancelled,
                                            .on_batch = on_batch,
                                            .data = l };
        return files_run(req, &l->task, path);
}
