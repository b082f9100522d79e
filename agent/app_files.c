/* SPDX-License-Identifier: Apache-2.0 */

/* The agent serves while the predecessor's unfinished files are being removed: nobody sees them in lists, and new ones
 * have other names and other slots of the journal. */

#include "agent/app_files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOG_MODULE "app"
#include "agent/base/alloc.h"
#include "agent/base/fd.h"
#include "agent/base/log.h"
#include "agent/base/path.h"
#include "agent/config.h"
#include "agent/files/temporary.h"
#include "agent/files/unfinished.h"
#include "agent/files/user.h"
#include "agent/loop/job.h"
#include "proc/spawn.h"

/* --- directories --- */

/* Who owns the directory above a script's can put another script in its place. */
static int check_owner(const char *dir, struct error *err)
{
        struct stat st;

        if (lstat(dir, &st) < 0)
                return error_set(err, -errno, "%s", dir);
        if (!S_ISDIR(st.st_mode) || (st.st_uid != geteuid() && st.st_uid != 0) ||
            (st.st_mode & (S_IWGRP | S_IWOTH)))
                return error_set_field(
                        err, -EPERM, "",
                        "%s must be a directory that only the agent's user may write to", dir);
        return 0;
}

static int make_as(const struct files_user *user, const char *path, struct error *err)
{
        CLEANUP(files_scope_leave) struct files_scope scope = { NULL };
        int r = files_scope_enter(&scope, user);

        return r < 0 ? error_set(err, r, "%s", path) : path_make_dirs(path, 0755, err);
}

/* With a link of their own on the way to @path, which is plain, users could have things made wherever they like. */
static int check_links(const char *path, struct error *err)
{
        for (const char *end = path; *end;) {
                CLEANUP(mem_free) char *head = NULL;
                struct stat st;

                end += 1 + strcspn(end + 1, "/");
                head = xstrndup(path, (size_t)(end - path));
                if (lstat(head, &st) < 0)
                        return errno == ENOENT ? 0 : error_set(err, -errno, "%s", head);
                if (S_ISLNK(st.st_mode) && st.st_uid != 0 && st.st_uid != geteuid())
                        return error_set(err, -EPERM, "%s is somebody else's link", head);
        }
        return 0;
}

/* Makes what the user may not make, and gives the user the directory itself. */
static int make_for(const struct files_user *user, const char *path, struct error *err)
{
        CLEANUP(mem_free) char *plain = NULL;
        CLEANUP(fd_close) int fd = -1;
        char *slash;
        int r = path_normalize("/", path, &plain, err);

        if (r < 0)
                return r;
        slash = strrchr(plain, '/');
        if (slash > plain) {
                *slash = '\0';
                r = check_links(plain, err);
                if (r == 0)
                        r = path_make_dirs(plain, 0755, err);
                if (r < 0)
                        return r;
                *slash = '/';
        }
        /* What is there already, such as a link that leads nowhere, is as somebody else wants it. */
        if (mkdir(plain, 0755) < 0)
                return errno == EEXIST ? path_make_dirs(plain, 0755, err)
                                       : error_set(err, -errno, "mkdir %s", plain);
        fd = open(plain, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0 || fchown(fd, user->uid, user->gid) < 0)
                return error_set(err, -errno, "%s", plain);
        return 0;
}

/* As the user, if the user may: then nobody can have a directory made or given away that the user could not. */
static int make_workspace(const struct config *config, struct error *err)
{
        CLEANUP(credentials_free) struct credentials *credentials = NULL;
        struct files_user user;
        int r = credentials_new(config->run_as, &credentials, err);

        if (r < 0)
                return r;
        r = files_user_init(&user, credentials->uid, credentials->gid, credentials->groups,
                            credentials->n_groups);
        if (r < 0)
                return error_set(err, r, "groups");
        r = make_as(&user, config->workspace, err);
        if ((r == -EACCES || r == -EPERM) && user.is_other)
                r = make_for(&user, config->workspace, err);
        files_user_done(&user);
        return r;
}

/* See the header. */
int app_make_dirs(const struct config *config, struct error *err)
{
        int r = make_workspace(config, err);

        if (r < 0)
                return error_wrap(err, "workspace");
        r = path_make_dirs(config->runtime_dir, 0755, err);
        if (r == 0)
                r = check_owner(config->runtime_dir, err);
        if (r < 0)
                return error_wrap(err, "runtime-dir");
        r = path_make_dirs(config->state_dir, 0711, err);
        if (r == 0)
                r = check_owner(config->state_dir, err);
        if (r < 0)
                return error_wrap(err, "state-dir");
        return 0;
}

/* --- unfinished files --- */

struct app_files {
        struct unfinished *journal; /* NULL: there is none */
        const struct roots *roots;
        atomic_bool is_stopping;
        unsigned n_removed;
        unsigned n_left;
};

/* On a worker thread. */
static void collect(void *arg)
{
        struct app_files *f = arg;

        f->n_removed = unfinished_collect(f->journal, f->roots, &f->is_stopping, &f->n_left);
}

static void on_collected(void *arg)
{
        const struct app_files *f = arg;

        if (f->n_removed > 0 || f->n_left > 0)
                log_info("removed what the last agent did not finish", "removed=%u left=%u",
                         f->n_removed, f->n_left);
}

/* See the header. */
struct app_files *app_files_new(struct loop *loop, const struct config *config,
                                const struct roots *roots)
{
        struct app_files *f = xnew(struct app_files);
        struct error err = ERROR_INIT;

        f->roots = roots;
        if (unfinished_open(config->state_dir, &f->journal, &err) < 0) {
                log_error("unfinished files will not be found again", "error=%s",
                          log_quote(err.message));
                return f;
        }
        temporary_set_journal(f->journal);
        if (job_run(loop, f, collect, on_collected) < 0)
                log_error("unfinished files stay where they are", NULL);
        return f;
}

/* See the header. */
void app_files_stop(struct app_files *f)
{
        if (f)
                atomic_store(&f->is_stopping, true);
}

/* See the header. */
struct app_files *app_files_free(struct app_files *f)
{
        if (!f)
                return NULL;

        temporary_set_journal(NULL);
        (void)unfinished_close(f->journal);
        free(f);
        return NULL;
}
