/* SPDX-License-Identifier: Apache-2.0 */

/* The walk and the files are one worker's, as the user. Links are not followed, nothing but regular files is opened for
 * good, and the walk ends as soon as the answer is full or nobody wants it any more. */

#include "handlers/files/search.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/app.h"
#include "agent/base/alloc.h"
#include "agent/base/clock.h"
#include "agent/base/fd.h"
#include "agent/base/limits.h"
#include "agent/config.h"
#include "agent/files/glob.h"
#include "agent/files/outcome.h"
#include "agent/files/place.h"
#include "agent/files/temporary.h"
#include "agent/files/walk.h"
#include "agent/http/request.h"
#include "agent/json/write.h"
#include "handlers/files/common.h"
#include "handlers/files/pattern.h"
#include "handlers/files/search_file.h"

#define DEFAULT_LIMIT 1000

/* clang-format off */
const struct json_field files_search_args[] = {
        F_TEXT  (struct files_search_args, pattern, .alias = "query", .in = IN_QUERY, .required = true, .min = 1,
                 .max = LIMIT_SEARCH_PATTERN, .doc = "A regular expression, as Perl has them; it is looked for line by line"),
        F_STRING(struct files_search_args, path, .in = IN_QUERY, .max = LIMIT_FILE_PATH,
                 .bytes_ok = true, .doc = "A directory with all below it, or a file; by default the workspace"),
        F_STRING(struct files_search_args, glob, .in = IN_QUERY, .max = LIMIT_GLOB_PATTERN,
                 .doc = "Only files whose name fits this pattern; with a slash in it, their path below the directory"),
        F_STRING(struct files_search_args, exclude, .in = IN_QUERY, .max = LIMIT_GLOB_PATTERN,
                 .doc = "No files, and no directories, that fit this pattern; with a slash at its end, directories"),
        F_BOOL  (struct files_search_args, regex, .in = IN_QUERY, .def = true, .doc = "false: the pattern is a text"),
        F_BOOL  (struct files_search_args, ignore_case, .in = IN_QUERY, .doc = "Upper and lower case are the same"),
        F_UINT  (struct files_search_args, context, .in = IN_QUERY, .max = LIMIT_SEARCH_CONTEXT,
                 .doc = "Lines before and after each match that are answered, too"),
        F_UINT  (struct files_search_args, before, .in = IN_QUERY, .max = LIMIT_SEARCH_CONTEXT,
                 .doc = "The same for lines before"),
        F_UINT  (struct files_search_args, after, .in = IN_QUERY, .max = LIMIT_SEARCH_CONTEXT,
                 .doc = "The same for lines after"),
        F_UINT  (struct files_search_args, limit, .in = IN_QUERY, .min = 1, .max = LIMIT_SEARCH_MATCHES,
                 .def = DEFAULT_LIMIT, .doc = "Matches in the answer"),
        F_END
};
/* clang-format on */

struct hunt {
        struct files_task task;
        struct glob *glob;
        struct glob *exclude;
        bool excludes_directories; /* and no files */
        char *text;                /* of the pattern */
        size_t text_size;
        bool is_regex;
        bool ignore_case;
        char *base; /* in front of the files' paths */
        struct search search;
        uint64_t started_ms;
};

/* --- on the worker --- */

static bool fits(struct glob *g, const struct walk_entry *e)
{
        return glob_match(g, glob_has_slash(g) ? e->path : e->name);
}

static bool is_excluded(const struct hunt *h, const struct walk_entry *e)
{
        return h->exclude && (!h->excludes_directories || e->type == DT_DIR) && fits(h->exclude, e);
}

static int search_entry(struct hunt *h, const struct walk_entry *e)
{
        CLEANUP(fd_close)
        int fd = openat(e->dir, e->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        CLEANUP(mem_free) char *path = NULL;

        if (fd < 0) {
                if (errno == EMFILE || errno == ENFILE) /* of the agent, and for now */
                        return -errno;
                if (errno != ENOENT)
                        h->search.n_unreadable++;
                return 0;
        }
        path = xasprintf("%s%s", h->base, e->path);
        return search_file(&h->search, fd, path);
}

static int on_entry(void *data, const struct walk_entry *e)
{
        struct hunt *h = data;
        int r;

        if (temporary_is_name(e->name) || is_excluded(h, e))
                return 0;
        if (e->type == DT_DIR)
                return WALK_DESCEND;
        if (e->type != DT_REG || (h->glob && !fits(h->glob, e)))
                return 0;
        r = search_entry(h, e);
        return r == 0 && h->search.is_truncated ? -EXFULL : r;
}

static int on_failure(void *data, const struct walk_entry *e, int error)
{
        struct hunt *h = data;

        (void)e;
        if (error == -ENOMEM || error == -ECANCELED || error == -EMFILE || error == -ENFILE)
                return error;
        h->search.n_unreadable++;
        return 0;
}

static int search_place(struct hunt *h, const struct place *place)
{
        struct walk_options options = { .is_sorted = true,
                                        .cancel = &h->task.is_cancelled,
                                        .on_entry = on_entry,
                                        .on_failure = on_failure,
                                        .data = h };
        CLEANUP(fd_close) int fd = place_open(place, O_RDONLY);
        size_t size = strlen(h->task.path);
        int r;

        if (fd < 0)
                return fd;
        if (!S_ISDIR(place->st.st_mode))
                return search_file(&h->search, fd, h->task.path);
        while (size > 0 && h->task.path[size - 1] == '/')
                size--;
        h->base = xasprintf("%.*s/", (int)size, h->task.path);
        r = walk_tree(fd, &options);
        return r == -EXFULL ? 0 : r;
}

static int write_end(struct hunt *h)
{
        struct search *s = &h->search;
        char now[CLOCK_RFC3339_SIZE];
        const char *reason = "null";

        if (s->is_truncated)
                reason = s->is_full ? "\"size\"" : "\"limit\"";
        s->matches.max = 0;
        return buf_appendf(
                &s->matches,
                "],\"count\":%llu,\"truncated\":%s,\"truncated_reason\":%s,"
                "\"files_searched\":%llu,"
                "\"files_matched\":%llu,\"files_binary\":%llu,\"files_too_large\":%llu,"
                "\"files_unreadable\":%llu,\"files_too_expensive\":%llu,"
                "\"duration_ms\":%llu,\"timestamp\":\"%s\"}",
                (unsigned long long)s->n_matches, s->is_truncated ? "true" : "false", reason,
                (unsigned long long)s->n_files, (unsigned long long)s->n_matched_files,
                (unsigned long long)s->n_binary, (unsigned long long)s->n_large,
                (unsigned long long)s->n_unreadable, (unsigned long long)s->n_expensive,
                (unsigned long long)(clock_now_ms() - h->started_ms), clock_rfc3339_now(now));
}

static int write_begin(struct hunt *h)
{
        struct buf *b = &h->search.matches;
        int r = buf_append_str(b, "{\"path\":");

        if (r == 0)
                r = json_write_string(b, h->task.path);
        return r < 0 ? r : buf_append_str(b, ",\"matches\":[");
}

static int search(struct hunt *h, struct error *err)
{
        struct files_task *t = &h->task;
        CLEANUP(place_done) struct place place = PLACE_INIT;
        CLEANUP(files_scope_leave) struct files_scope scope = { .user = NULL };
        int r;

        r = pattern_new(h->text, h->text_size, h->is_regex, h->ignore_case, &h->search.pattern,
                        err);
        if (r == -EINVAL)
                (void)error_wrap(err, "pattern");
        if (r < 0)
                return r;
        r = roots_enter(t->roots, &scope, t->path, err);
        if (r == 0)
                r = place_find(t->roots, t->path, PLACE_FOLLOW, 0, &place, err);
        if (r != 0)
                return r;
        r = write_begin(h);
        if (r == 0)
                r = search_place(h, &place);
        if (r == 0)
                r = write_end(h);
        return r < 0 ? files_fail_errno(err, r, t->path) : 0;
}

static int work(struct files_task *t, struct error *err)
{
        struct hunt *h = container_of(t, struct hunt, task);
        int r = search(h, err);

        /* Here, as giving back the memory of a large file takes milliseconds. */
        buf_done(&h->search.content);
        h->search.pattern = pattern_free(h->search.pattern);
        return r;
}

/* --- on the loop --- */

static void answer(struct files_task *t)
{
        struct hunt *h = container_of(t, struct hunt, task);
        size_t size;
        char *text = buf_steal(&h->search.matches, &size);

        (void)request_reply_text(t->request, 200, "application/json", text, size);
}

static void fail(struct files_task *t)
{
        if (t->r == -EINVAL)
                (void)files_fail_problem(t->request, PROBLEM_INVALID_REQUEST, "/pattern", t->path,
                                         "%s", t->err.message);
        else
                files_task_fail(t);
}

static void release(struct files_task *t)
{
        struct hunt *h = container_of(t, struct hunt, task);

        (void)pattern_free(h->search.pattern);
        buf_done(&h->search.matches);
        buf_done(&h->search.content);
        glob_free(h->glob);
        glob_free(h->exclude);
        free(h->text);
        free(h->base);
        free(h);
}

/* 0, or the request has been answered. */
static int parse_glob(struct request *req, const char *name, const char *text, struct glob **ret,
                      bool *ret_only_directories)
{
        struct error err = ERROR_INIT;
        char field[16];
        int r;

        if (!text || !text[0])
                return 0;
        r = glob_new_for_entries(text, ret, ret_only_directories, &err);
        if (r < 0) {
                (void)snprintf(field, sizeof(field), "/%s", name);
                (void)files_fail_problem(req, PROBLEM_INVALID_REQUEST, field, NULL, "%s: %s", name,
                                         err.message);
        }
        return r;
}

/* Answers GET /files/search. */
int files_search_get(struct request *req)
{
        const struct files_search_args *args = request_args(req);
        const char *path = args->path && args->path[0] ? args->path
                                                       : request_app(req)->config->workspace;
        CLEANUP(glob_free) struct glob *glob = NULL;
        CLEANUP(glob_free) struct glob *exclude = NULL;
        bool only_directories = false, excludes_directories = false;
        struct hunt *h;

        if (parse_glob(req, "glob", args->glob, &glob, &only_directories) < 0 ||
            parse_glob(req, "exclude", args->exclude, &exclude, &excludes_directories) < 0)
                return 0;
        if (only_directories)
                return files_fail_problem(req, PROBLEM_INVALID_REQUEST, "/glob", path,
                                          "glob: files are searched, and with a slash at the end "
                                          "it fits directories only; add ** for what is in them");
        h = xnew(struct hunt);
        h->task = (struct files_task){
                .work = work, .answer = answer, .fail = fail, .release = release, .is_long = true
        };
        h->glob = STEAL(glob);
        h->exclude = STEAL(exclude);
        h->excludes_directories = excludes_directories;
        h->text = xcalloc(1, args->pattern.size + 1);
        memcpy(h->text, args->pattern.data, args->pattern.size);
        h->text_size = args->pattern.size;
        h->is_regex = args->regex;
        h->ignore_case = args->ignore_case;
        h->started_ms = clock_now_ms();
        h->search = (struct search){ .before = MAX(args->before, args->context),
                                     .after = MAX(args->after, args->context),
                                     .limit = args->limit,
                                     .cancel = &h->task.is_cancelled };
        buf_init(&h->search.matches, LIMIT_SEARCH_ANSWER);
        buf_init(&h->search.content, LIMIT_SEARCH_FILE + MIB);
        return files_run(req, &h->task, path);
}
