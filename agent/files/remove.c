/* SPDX-License-Identifier: Apache-2.0 */

/* rm -r, with descriptors alone: links are entries like all others. */

#include "agent/files/remove.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/base/alloc.h"
#include "agent/base/fd.h"
#include "agent/base/path.h"
#include "agent/files/explain.h"
#include "agent/files/outcome.h"
#include "agent/files/place.h"
#include "agent/files/walk.h"

/* Others may put something into a directory while it is being emptied. */
#define MAX_PASSES 3

#define MAX_MOUNT_LINE (64 * KIB) /* longer ones are cut behind the path, which comes early */

struct removal {
        bool is_ours; /* make directories writable */
        uint64_t n_removed;
        int result;   /* the first failure */
        char *failed; /* whose it is, below the top; NULL: the top's */
};

static void note(struct removal *m, int r, const struct walk_entry *e)
{
        if (m->result < 0)
                return;
        m->result = r;
        m->failed = xstrdup(e->path);
}

static void forget(struct removal *m)
{
        m->result = 0;
        m->failed = mem_free(m->failed);
}

static void unlink_entry(struct removal *m, const struct walk_entry *e, int flags)
{
        if (unlinkat(e->dir, e->name, flags) == 0)
                m->n_removed++;
        else if (errno != ENOENT)
                note(m, -errno, e);
}

/* By a descriptor: a name could have become a link. */
static void make_writable(int dir, const char *name)
{
        CLEANUP(fd_close)
        int fd = openat(dir, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        char path[PLACE_FD_PATH_SIZE];

        if (fd >= 0)
                (void)chmod(place_fd_path(fd, path),
                            S_IRWXU); /* else removing it will say why not */
}

static int on_entry(void *data, const struct walk_entry *e)
{
        const struct removal *m = data;

        if (e->type == DT_DIR) {
                if (m->is_ours)
                        make_writable(e->dir, e->name);
                return WALK_DESCEND;
        }
        unlink_entry(data, e, 0);
        return 0;
}

static int on_leave(void *data, const struct walk_entry *e)
{
        unlink_entry(data, e, AT_REMOVEDIR);
        return 0;
}

static int on_failure(void *data, const struct walk_entry *e, int error)
{
        struct removal *m = data;

        /* An empty one need not be read to be removed. */
        if (unlinkat(e->dir, e->name, AT_REMOVEDIR) == 0)
                m->n_removed++;
        else if (errno != ENOENT)
                note(m, error, e);
        return 0;
}

static int remove_tree(int dir, const char *name, const atomic_bool *cancel, struct removal *m)
{
        struct walk_options o = { .is_same_mount = true,
                                  .cancel = cancel,
                                  .on_entry = on_entry,
                                  .on_leave = on_leave,
                                  .on_failure = on_failure,
                                  .data = m };

        if (m->is_ours)
                make_writable(dir, name);
        for (unsigned pass = 0; pass < MAX_PASSES; pass++) {
                CLEANUP(fd_close) int fd = -1;
                int r;

                if (unlinkat(dir, name, AT_REMOVEDIR) == 0) {
                        m->n_removed++;
                        forget(m);
                        return 0;
                }
                if (errno != ENOTEMPTY && errno != EEXIST)
                        return -errno;
                forget(m);
                fd = walk_open(dir, name, true);
                if (fd < 0)
                        return fd;
                r = walk_tree(fd, &o);
                if (r < 0) {
                        forget(m); /* it is not what has ended the walk */
                        return r;
                }
                if (m->result < 0 && m->result != -ENOTEMPTY)
                        return m->result;
        }
        if (unlinkat(dir, name, AT_REMOVEDIR) < 0)
                return -errno;
        m->n_removed++;
        forget(m);
        return 0;
}

/* On failure m->failed may have to be freed. */
static int remove_entry(int dir, const char *name, const atomic_bool *cancel, struct removal *m)
{
        if (unlinkat(dir, name, 0) < 0)
                return errno == EISDIR ? remove_tree(dir, name, cancel, m) : -errno;
        m->n_removed++;
        return 0;
}

/* See the header. */
int file_remove_at(int dir, const char *name, bool is_ours, const atomic_bool *cancel,
                   uint64_t *ret)
{
        struct removal m = { .is_ours = is_ours };
        int r = remove_entry(dir, name, cancel, &m);

        if (ret)
                *ret = m.n_removed;
        free(m.failed);
        return r;
}

/* Is something mounted at @path or below it? If that cannot be known, the walk finds out. */
static bool holds_mounts(const char *path)
{
        CLEANUP(mem_free) char *line = try_alloc(MAX_MOUNT_LINE);
        FILE *mounts = line ? setmntent("/proc/self/mounts", "re") : NULL;
        bool found = false;
        struct mntent m;

        if (!mounts)
                return false;
        while (!found && getmntent_r(mounts, &m, line, MAX_MOUNT_LINE))
                found = path_is_under(m.mnt_dir, path);
        (void)endmntent(mounts);
        return found;
}

/* Says what has failed, and that it was not the first. */
static int fail(const struct removal *m, int r, const char *path, struct error *err)
{
        char sentence[sizeof(err->message)];

        r = files_fail_entry(err, r, path, m->failed);
        if (m->n_removed == 0)
                return r;
        memcpy(sentence, err->message, sizeof(sentence));
        (void)error_set(err, r, "%s (others are gone already: %llu)", sentence,
                        (unsigned long long)m->n_removed);
        return r;
}

/* See the header. */
int file_remove(const struct roots *roots, const char *path, const struct file_remove_options *o,
                uint64_t *ret, struct error *err)
{
        CLEANUP(files_scope_leave) struct files_scope scope = { NULL };
        CLEANUP(place_done) struct place p = PLACE_INIT;
        struct removal m = { .is_ours = false };
        int r;

        if (ret)
                *ret = 0;
        r = roots_enter(roots, &scope, path, err);
        if (r == 0)
                r = place_find(roots, path, PLACE_ENTRY, 0, &p, err);
        if (r != 0)
                return explain_no_entry(roots, path, r, err);
        if (p.fd < 0)
                return files_fail(err, FILES_E_NOT_FOUND, path);

        if (!o->is_recursive && S_ISDIR(p.st.st_mode)) {
                r = unlinkat(p.dir, p.name, AT_REMOVEDIR) < 0 ? -errno : 0;
                m.n_removed = r == 0;
        } else if (S_ISDIR(p.st.st_mode) && holds_mounts(p.path)) {
                r = -EBUSY; /* before what is around it has gone */
        } else {
                r = remove_entry(p.dir, p.name, o->cancel, &m);
        }
        if (ret)
                *ret = m.n_removed;
        if (r == 0)
                return 0;
        r = fail(&m, r, path, err);
        if (o->ret_failed)
                *o->ret_failed = STEAL(m.failed);
        free(m.failed);
        return r;
}
