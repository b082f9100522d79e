/* SPDX-License-Identifier: Apache-2.0 */

/* The files of a job: small JSON documents, each written aside and then renamed. A job is accepted when job.json has
 * its name, so that is the last of the first files; and the first that goes, because a directory without it is never
 * run.
 *
 * Nothing here is synchronised with the disk: the files have to survive the agent, and after a power failure there is
 * no job any more that would go on. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/base/alloc.h"
#include "agent/base/fd.h"
#include "agent/base/limits.h"
#include "agent/base/path.h"
#include "proc/jobs_private.h"

#define VERSION 1

/* Of writing program.json. */
#define WRITE_SIZE (64 * KIB)

static char *dump(json_t *json)
{
        char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;

        json_decref(json);
        return text ? text : xstrdup("");
}

/* The content of job.json. */
char *job_facts_text(const struct job *job)
{
        return dump(json_pack(
                "{s:i, s:s, s:s, s:I, s:I, s:s, s:s*, s:s, s:s*, s:s*, s:s*, s:I, s:b, s:b, s:b}",
                "version", VERSION, "process_id", job->process_id, "execution_id",
                job->execution_id, "order", (json_int_t)job->order, "queued_ms",
                (json_int_t)job->queued_ms, "name", job->name, "language", job->language, "command",
                job->command, "callback_url", job->callback_url, "repeat_id", job->repeat_id,
                "repeat_body", job->repeat_body, "timeout_ms", (json_int_t)job->timeout_ms,
                "has_terminal", (int)job->has_terminal, "is_base64", (int)job->is_base64,
                "ignores_tasks", (int)job->ignores_tasks));
}

/* The content of error. */
char *job_failure_text(const struct job_failure *why)
{
        return dump(json_pack("{s:i, s:s*, s:s}", "problem", why->problem, "field", why->field,
                              "message", why->message));
}

/* Writes file @name of @dir, which is @dir_fd, as a whole or not at all. */
int job_file_write(int dir_fd, const char *dir, const char *name, const char *text,
                   struct error *err)
{
        CLEANUP(mem_free) char *aside = xasprintf("%s.tmp", name);
        CLEANUP(fd_close)
        int fd = openat(dir_fd, aside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
        int r = fd < 0 ? -errno : fd_write_all(fd, text, strlen(text));

        if (r == 0 && renameat(dir_fd, aside, dir_fd, name) < 0)
                r = -errno;
        if (r == 0)
                return 0;
        (void)unlinkat(dir_fd, aside, 0); /* it may be missing; nobody reads it */
        return error_set(err, r, "%s/%s", dir, name);
}

/* May be large, so it is not made into one text first. */
static int write_program(int dir_fd, const char *dir, const json_t *program, struct error *err)
{
        CLEANUP(fd_close)
        int fd = openat(dir_fd, JOB_PROGRAM, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        FILE *file = fd < 0 ? NULL : fdopen(fd, "w");
        long size = 0;
        int r = 0;

        if (!file)
                return error_set(err, -errno, "%s/" JOB_PROGRAM, dir);
        (void)STEAL_FD(fd);
        (void)setvbuf(file, NULL, _IOFBF, WRITE_SIZE); /* slower without */
        errno = 0;
        if (json_dumpf(program, file, JSON_COMPACT) < 0 || fflush(file) != 0)
                r = errno ? -errno : -ENOMEM;
        else
                size = ftell(file);
        (void)fclose(file);
        if (r < 0)
                return error_set(err, r, "%s/" JOB_PROGRAM, dir);
        return (size_t)size > LIMIT_JOB_PROGRAM ? error_set(err, -EFBIG, "%s/" JOB_PROGRAM, dir)
                                                : 0;
}

/* Of one that is killed before its start; after that it is its keeper's. */
static int reserve_status(int dir_fd, const char *dir, struct error *err)
{
        static const char spaces[KEEPER_STATUS_MAX];
        CLEANUP(fd_close)
        int fd = openat(dir_fd, KEEPER_STATUS ".tmp", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
                        0600);
        int r = fd < 0 ? -errno : fd_write_all(fd, spaces, sizeof(spaces));

        return r < 0 ? error_set(err, r, "%s/" KEEPER_STATUS ".tmp", dir) : 0;
}

static int fill(const char *dir, const char *facts, const json_t *program, struct error *err)
{
        CLEANUP(fd_close) int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        int r;

        if (fd < 0)
                return error_set(err, -errno, "%s", dir);
        r = write_program(fd, dir, program, err);
        if (r == 0)
                r = reserve_status(fd, dir, err);
        return r < 0 ? r : job_file_write(fd, dir, JOB_FACTS, facts, err);
}

/* The directory and its first files. On failure nothing is left. */
int job_files_create(const char *dir, const char *facts, const json_t *program, struct error *err)
{
        int r;

        if (mkdir(dir, 0700) < 0)
                return error_set(err, -errno, "%s", dir);
        r = fill(dir, facts, program, err);
        if (r < 0)
                (void)path_remove_tree(dir); /* what is left is removed at the next start */
        return r;
}

/* The directory and all in it. Should this be interrupted, nothing is found that looks like a job that waits. */
void job_files_remove(const char *dir)
{
        CLEANUP(mem_free) char *facts = xasprintf("%s/" JOB_FACTS, dir);

        if (unlink(facts) < 0 && errno != ENOENT && errno != ENOTDIR && errno != EISDIR)
                return;              /* a job it is, until this goes */
        (void)path_remove_tree(dir); /* what is left is removed at the next start */
}

/* Reads a document. */
json_t *job_file_read(const char *dir, const char *name, size_t max, size_t flags,
                      struct error *err)
{
        CLEANUP(mem_free) char *path = xasprintf("%s/%s", dir, name);
        CLEANUP(buf_done) struct buf b;
        json_error_t why;
        json_t *json;

        buf_init(&b, 0);
        if (fd_read_file(path, max, &b, err) < 0)
                return NULL;
        json = json_loadb(b.data ? b.data : "", b.size, flags, &why);
        if (!json)
                (void)error_set(err, -EBADMSG, "%s", path);
        return json;
}

/* Part of paths, so nothing that has a meaning there. */
static bool is_id(const char *s)
{
        size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");

        return n > 0 && n < ID_SIZE && !s[n];
}

static char *dup_or_null(const char *s)
{
        return s ? xstrdup(s) : NULL;
}

/* The job in directory @name, as it was accepted. */
int job_facts_read(struct jobs *j, const char *name, struct job **ret, struct error *err)
{
        CLEANUP(mem_free) char *dir = xasprintf("%s/%s", j->jobs_root, name);
        const char *process_id, *execution_id, *title, *command;
        const char *language = NULL, *callback_url = NULL, *repeat_id = NULL, *repeat_body = NULL;
        int version, has_terminal, is_base64;
        int ignores_tasks = 0; /* older agents do not write it */
        json_int_t order, queued_ms, timeout_ms;
        json_auto_t *json = NULL;
        struct job *job;

        json = job_file_read(dir, JOB_FACTS, LIMIT_JOB_FACTS, JSON_REJECT_DUPLICATES, err);
        if (!json)
                return err->code;
        if (json_unpack(
                    json,
                    "{s:i, s:s, s:s, s:I, s:I, s:s, s?s, s:s, s?s, s?s, s?s, s:I, s:b, s:b, s?b}",
                    "version", &version, "process_id", &process_id, "execution_id", &execution_id,
                    "order", &order, "queued_ms", &queued_ms, "name", &title, "language", &language,
                    "command", &command, "callback_url", &callback_url, "repeat_id", &repeat_id,
                    "repeat_body", &repeat_body, "timeout_ms", &timeout_ms, "has_terminal",
                    &has_terminal, "is_base64", &is_base64, "ignores_tasks", &ignores_tasks) < 0 ||
            version != VERSION || strcmp(process_id, name) != 0 || !is_id(process_id) ||
            !is_id(execution_id) || order <= 0 || queued_ms < 0 || timeout_ms < 0)
                return error_set(err, -EBADMSG, "%s/" JOB_FACTS, dir);

        job = job_new(j, process_id, execution_id);
        job->order = (uint64_t)order;
        job->queued_ms = queued_ms;
        job->name = xstrdup(title);
        job->language = dup_or_null(language);
        job->command = xstrdup(command);
        job->callback_url = dup_or_null(callback_url);
        job->repeat_id = dup_or_null(repeat_id);
        job->repeat_body = dup_or_null(repeat_body);
        job->timeout_ms = (uint64_t)timeout_ms;
        job->has_terminal = has_terminal;
        job->is_base64 = is_base64;
        job->ignores_tasks = ignores_tasks;
        *ret = job;
        return 0;
}
