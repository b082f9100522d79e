/* SPDX-License-Identifier: Apache-2.0 */

/* The state directory at the agent's start: whose it is, and what is in it.
 *
 * Of each job one of these is true. It has a status file: it has ended, though something that it started may live, with
 * its keeper. Its keeper lives, or has left something: it runs, or it is lost, which its link finds out. Nothing of the
 * kind: no keeper ever had it, so it was queued or about to be started, and it is queued again. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "agent/base/alloc.h"
#include "agent/base/fd.h"
#include "agent/base/limits.h"
#include "agent/base/path.h"
#include "agent/base/str.h"
#include "proc/job_link_private.h"
#include "proc/joblog.h"
#include "proc/jobs_private.h"

#define LOG_MODULE "jobs"
#include "agent/base/log.h"

/* A predecessor that was just killed may have forked a child that has the lock until it executes its program. */
#define LOCK_TRIES    50
#define LOCK_PAUSE_MS 20

/* Where job_files_remove is to go. */
struct scan {
        struct jobs *jobs;
        struct job **found;
        size_t n_found;
        size_t capacity;
        char **trash;
        bool is_incomplete; /* some job is left as it is */
};

/* --- the directory --- */

/* Whoever may write to it could put other scripts and other jobs there. */
static int check_owner(int fd, const char *dir, struct error *err)
{
        struct stat st;

        if (fstat(fd, &st) < 0)
                return error_set(err, -errno, "%s", dir);
        if ((st.st_uid != geteuid() && st.st_uid != 0) || (st.st_mode & (S_IWGRP | S_IWOTH)))
                return error_set_field(
                        err, -EPERM, "",
                        "%s must be a directory that only the agent's user may write to", dir);
        return 0;
}

static int open_owned(const char *dir, int *ret, struct error *err)
{
        CLEANUP(fd_close) int fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        int r;

        if (fd < 0)
                return error_set(err, -errno, "%s", dir);
        r = check_owner(fd, dir, err);
        if (r == 0)
                *ret = STEAL_FD(fd);
        return r;
}

/* Below it: the mode is not left to the umask. */
static int make_owned(const char *dir, mode_t mode, struct error *err)
{
        CLEANUP(fd_close) int fd = -1;
        int r;

        if (mkdir(dir, mode) < 0 && errno != EEXIST)
                return error_set(err, -errno, "%s", dir);
        r = open_owned(dir, &fd, err);
        if (r == 0 && fchmod(fd, mode) < 0)
                r = error_set(err, -errno, "%s", dir);
        return r;
}

static int lock(struct jobs *j, int dir_fd, struct error *err)
{
        static const struct timespec pause = { .tv_nsec = LOCK_PAUSE_MS * 1000 * 1000 };
        CLEANUP(fd_close)
        int fd = openat(dir_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

        if (fd < 0)
                return error_set(err, -errno, "%s/lock", j->options.state_dir);
        for (unsigned i = 0; flock(fd, LOCK_EX | LOCK_NB) < 0; i++) {
                if (errno != EWOULDBLOCK && errno != EINTR)
                        return error_set(err, -errno, "%s/lock", j->options.state_dir);
                if (i == LOCK_TRIES)
                        return error_set_field(err, -EBUSY, "", "%s is used by another agent",
                                               j->options.state_dir);
                (void)nanosleep(&pause, NULL);
        }
        j->lock_fd = STEAL_FD(fd);
        return 0;
}

/* Makes what is missing, and locks it. */
int jobs_open(struct jobs *j, struct error *err)
{
        CLEANUP(fd_close) int fd = -1;
        bool is_new = access(j->options.state_dir, F_OK) < 0;
        int r;

        r = path_make_dirs(j->options.state_dir, 0711, err);
        if (r == 0)
                r = open_owned(j->options.state_dir, &fd, err);
        if (r < 0)
                return r;
        /* Scripts are run by another user. What somebody else has made is as he wants it. */
        if (is_new && fchmod(fd, 0711) < 0)
                return error_set(err, -errno, "%s", j->options.state_dir);
        r = lock(j, fd, err);
        if (r == 0)
                r = make_owned(j->jobs_root, 0700, err);
        if (r == 0)
                r = make_owned(j->scripts_root, 0711, err);
        return r;
}

/* --- one job --- */

static void discard(struct scan *s, const char *root, const char *name)
{
        s->trash = strv_append(s->trash, xasprintf("%s/%s", root, name));
}

/* Anything but the agent's own files. */
static bool has_keeper_files(int dir_fd)
{
        static const char *const names[] = { JOBLOG_STDOUT, JOBLOG_STDERR, KEEPER_FILE,
                                             KEEPER_CONTROL };

        for (size_t i = 0; i < ARRAY_LEN(names); i++)
                if (faccessat(dir_fd, names[i], F_OK, AT_SYMLINK_NOFOLLOW) == 0)
                        return true;
        return false;
}

static void read_failure(struct job *job)
{
        struct error err = ERROR_INIT;
        json_auto_t *json = job_file_read(job->dir, JOB_ERROR, LIMIT_JOB_FACTS, 0, &err);
        struct job_failure why = { 0 };

        if (json_unpack(json, "{s:i, s?s, s:s}", "problem", &why.problem, "field", &why.field,
                        "message", &why.message) == 0)
                job_copy_failure(job, &why);
        else if (err.code != -ENOENT)
                log_warning("a job's file is damaged", "error=%s", log_quote(err.message));
}

static void read_callback(struct job *job)
{
        struct error err = ERROR_INIT;
        json_t *json = job_file_read(job->dir, JOB_CALLBACK, LIMIT_JOB_FACTS, 0, &err);

        job->callback = json_is_object(json) ? json : NULL;
        job->is_callback_final = job->callback;
        if (job->callback)
                return;
        json_decref(json);
        if (err.code != -ENOENT)
                log_warning("a job's file is damaged", "id=%s file=" JOB_CALLBACK, job->process_id);
}

/* Its keeper, if it lives, has it, and the room that it takes. */
static void find_keeper(struct job *job)
{
        struct jobs *j = job->jobs;
        struct error err = ERROR_INIT;

        if (job_link_connect(&j->host, job->dir, job->execution_id, &jobs_link_callbacks, job,
                             &job->link_to_keeper, &err) < 0) {
                log_warning("cannot find a job again", "id=%s error=%s", job->process_id,
                            log_quote(err.message));
                return;
        }
        job_ref(job); /* the link's */
        jobs_force_room(job);
}

static void take_ended(struct job *job, const struct job_status *status, bool is_kept)
{
        bool needs_words;

        job_set_result(job, status);
        if (status->reason == KEEPER_SPAWN)
                read_failure(job);
        if (job->callback_url)
                read_callback(job);
        if (is_kept)
                find_keeper(job);
        needs_words = status->reason == KEEPER_SPAWN && !job->has_failure;
        if (!job->is_callback_final && (job->callback_url || needs_words))
                job_tell(job, TELL_OWNER);
}

static void take_running(struct job *job, const struct job_identity *who)
{
        job->phase = PHASE_RUNNING;
        job->started_ms = who->started_ms ? who->started_ms : job->queued_ms;
        find_keeper(job);
}

static void take_queued(struct jobs *j, struct job *job)
{
        jobs_line_up(j, job);
        job_store(job, STORE_SCRIPT); /* half of it may be there */
}

static void classify(struct job *job, int dir_fd)
{
        CLEANUP(mem_free) struct job_identity *who = xnew(struct job_identity);
        /* First this, then the file. What cannot be told its link finds out. */
        bool is_kept = dir_fd >= 0 && job_is_kept(dir_fd) != 0;
        struct job_status status;

        if (dir_fd < 0) { /* nothing is known, so nothing may be run again; the link finds out */
                take_running(job, who);
                return;
        }
        if (job_identity_read(dir_fd, who) < 0)
                *who = (struct job_identity){ 0 };
        if (job_status_read(dir_fd, &status) == 0)
                take_ended(job, &status, is_kept);
        else if (is_kept || has_keeper_files(dir_fd))
                take_running(job, who);
        else
                take_queued(job->jobs, job);
        job_owe_callback(job, job->callback_url && !job->is_callback_final);
        if (who->is_of_this_boot && is_kept)
                job_set_pids(job, who->leader, who->pid);
        else
                job->pid = who->leader;
}

/* --- all --- */

static int compare_orders(const void *a, const void *b)
{
        const struct job *x = *(struct job *const *)a, *y = *(struct job *const *)b;

        return x->order < y->order ? -1 : x->order > y->order;
}

static int compare_ends(const void *a, const void *b)
{
        const struct job *x = *(struct job *const *)a, *y = *(struct job *const *)b;

        return x->ended_ms < y->ended_ms ? -1 : x->ended_ms > y->ended_ms;
}

static void add(struct scan *s, struct job *job)
{
        if (s->n_found == s->capacity) {
                s->capacity = MAX(2 * s->capacity, (size_t)64);
                s->found = xrealloc_array(s->found, s->capacity, sizeof(struct job *));
        }
        s->found[s->n_found++] = job;
}

static void read_job(struct scan *s, int root_fd, const char *name)
{
        struct error err = ERROR_INIT;
        struct job *job;
        CLEANUP(fd_close)
        int fd = openat(root_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        int r = fd < 0 ? -errno : 0;

        if (r == 0)
                r = job_facts_read(s->jobs, name, &job, &err);
        if (r == 0) {
                add(s, job);
        } else if (r == -ENOENT) { /* never accepted, or half removed */
                discard(s, s->jobs->jobs_root, name);
        } else if (fd >= 0 && job_is_kept(fd) != 0) {
                s->is_incomplete = true;
                log_warning("a job that runs is damaged, and left alone", "dir=%s",
                            log_quote(name));
        } else if (r == -EBADMSG || r == -EFBIG || r == -EINVAL || r == -ENOTDIR || r == -ELOOP) {
                log_warning("a damaged job is removed", "dir=%s", log_quote(name));
                discard(s, s->jobs->jobs_root, name);
        } else { /* the next start may have more luck */
                s->is_incomplete = true;
                log_warning("cannot read a job", "dir=%s error=%s", log_quote(name), strerror(-r));
        }
}

static void read_dir(struct scan *s, const char *path,
                     void (*fn)(struct scan *s, int root_fd, const char *name))
{
        DIR *dir = opendir(path);
        struct dirent *entry;

        if (!dir) {
                s->is_incomplete = true;
                log_error("cannot read a directory", "path=%s error=%s", log_quote(path),
                          strerror(errno));
                return;
        }
        while ((entry = readdir(dir)))
                if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
                        fn(s, dirfd(dir), entry->d_name);
        (void)closedir(dir);
}

/* Of jobs that are to be started, it is removed before. */
static void look_at_script(struct scan *s, int root_fd, const char *name)
{
        struct job *job = jobs_find(s->jobs, name);

        (void)root_fd;
        if (!job && s->is_incomplete) /* it may be that one's */
                return;
        if (!job || strcmp(job->execution_id, name) != 0 || job_phase_is_final(job->phase))
                discard(s, s->jobs->scripts_root, name);
}

static void take_all(struct scan *s)
{
        struct jobs *j = s->jobs;

        qsort(s->found, s->n_found, sizeof(struct job *), compare_orders);
        for (size_t i = 0; i < s->n_found; i++) {
                struct job *job = s->found[i];
                CLEANUP(fd_close) int fd = open(job->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

                jobs_insert(j, job);
                j->last_order = MAX(j->last_order, job->order);
                classify(job, fd);
        }
        qsort(s->found, s->n_found, sizeof(struct job *), compare_ends);
        for (size_t i = 0; i < s->n_found; i++)
                if (job_phase_is_final(s->found[i]->phase))
                        job_keep(s->found[i]);
}

/* Finds all jobs. */
void jobs_scan(struct jobs *j)
{
        struct scan s = { .jobs = j };

        read_dir(&s, j->jobs_root, read_job);
        if (s.n_found > 0)
                take_all(&s);
        read_dir(&s, j->scripts_root, look_at_script);
        jobs_remove_paths(j, s.trash);
        if (s.n_found > 0)
                log_info("jobs found", "known=%zu running=%zu queued=%zu", j->n_known, j->n_rooms,
                         j->n_waiting);
        free(s.found);
}
