/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What all endpoints for files share: an operation that a worker thread does for a request, and the answers. */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#include "agent/base/buf.h"
#include "agent/base/error.h"
#include "agent/base/list.h"
#include "agent/files/info.h"
#include "agent/http/problem.h"

struct document;
struct request;
struct roots;

/* One operation; embedded at the beginning of the verb's own struct, which is made with xnew and filled in before
 * files_run. Once that was called the struct is the worker's until answer() or fail(), and released after that. */
struct files_task {
        /* On a worker thread, as a function of files/ returns: 0 or an outcome (files/outcome.h); a negative errno
         * means FILES_E_OTHER, unless @err says more. Uses what is in the struct only, and there nothing of the
         * request but fields of its body (those of its query end with the connection: copy them). */
        int (*work)(struct files_task *t, struct error *err);
        /* On the loop, before anything else: true when there was nothing to wait for, which is a success. May be NULL;
         * a false one leaves everything to work(). */
        bool (*at_once)(struct files_task *t);
        /* On the loop, after success: gives the answer. */
        void (*answer)(struct files_task *t);
        /* The same after a failure, which is in r and err. NULL: files_task_fail. */
        void (*fail)(struct files_task *t);
        /* Frees the verb's struct, and what is in it besides the task. */
        void (*release)(struct files_task *t);

        bool is_long; /* may take seconds: a few of them at a time, so that workers are left for the others */
        /* For verbs that only look: when the path does not exist, work() is called once more with "+" for each blank
         * in it, because a query that was put together without escaping has blanks where it should have those. */
        bool retries_plus;

        /* Set by files_run. */
        struct request *request; /* a reference; not for the worker */
        const struct roots *roots;
        char *path;               /* a copy; also what errors are about */
        const char *error_path;   /* the other one, if work() says so; borrowed */
        char *error_entry;        /* what below it has failed, if work() says so */
        atomic_bool is_cancelled; /* for options of files/ */
        int r;
        struct error err;
        struct list link;
        bool is_queued;
        bool is_running_long;
        bool is_kept;      /* answer() or fail() says so: the task goes on; see files_task_again */
        bool is_streaming; /* they or the others say so: its answer has begun, so it is never refused */
};

/* Does @t for @req, soon. Takes @t. Returns 0: it answers by itself, now or later, if it cannot be done, too. */
int files_run(struct request *req, struct files_task *t, const char *path);

/* On the loop, for a task that was kept: work() and answer() once more (is_long may be another), behind those who wait,
 * or the end. One that finds the queue full is over instead: its request is told so. */
void files_task_again(struct files_task *t);
void files_task_end(struct files_task *t);

/* For the fail() of an operation that has a second path: finds out which of them is at fault. */
void files_blame_second(struct files_task *t, const char *second);

/* What a client is told of an operation that ended with @r: an outcome, or a negative errno. */
enum problem files_problem(int r);

/* The answer to an operation on @path that ended with @r (an outcome, or a negative errno) and @err. The path stands in
 * the document, which blames the field err->field if there is one, else "/path" if the path is at fault. May be called
 * by whoever does operations another way. Returns 0. */
int files_fail_request(struct request *req, int r, const struct error *err, const char *path);

/* The same with a problem and words of one's own. @path and @field may be NULL. */
int files_fail_problem(struct request *req, enum problem p, const char *field, const char *path,
                       const char *fmt, ...) PRINTF_LIKE(5, 6);

/* What happens without fail(). */
void files_task_fail(struct files_task *t);

/* Fails with the errno @r of building an answer, which is a lack of memory. For work(): returns an outcome. */
int files_fail_memory(struct error *err, int r);

/* A string for jansson, in which what is no UTF-8 was repaired. */
json_t *files_json_string(const char *text);

/* A document with success, path, message and timestamp, and what is in @more (an object, or NULL; taken). On any
 * thread. */
json_t *files_done_document(const char *path, const char *message, json_t *more);
/* Answers 200 with it. */
int files_reply_done(struct request *req, const char *path, const char *message, json_t *more);

/* The members "path" and, for one that is no UTF-8, "path_encoded": see below. Returns as buf_append does. */
int files_write_path(struct buf *b, const char *path);

/* The members that describe a file, without braces: "name":…,"path":… @target: of a link, or "". A path that is
 * no UTF-8 is there twice: repaired, and as "path_encoded", percent-encoded for a query. Returns as buf_append does. */
int files_write_info(struct buf *b, const char *name, const char *path, const char *target,
                     const struct file_info *info);

/* RFC 3339 with the zone Z; what is outside of the years 1970 to 9999 is moved to their ends. */
const char *files_time(char dst[32], int64_t ns);

/* Octal digits with or without a zero (or 0o) in front, up to 07777. -EINVAL. */
int files_parse_mode(const char *text, int *ret);

/* The name behind the last slash; of "/" itself "/". Borrowed from @path. */
const char *files_base_name(const char *path);
