/* SPDX-License-Identifier: Apache-2.0 */

/* A file that is replaced gives its mode and, as far as the user may give files away, its owner to the new one; links
 * are written through; what the user may not write to is not replaced. */

#include "handlers/files/upload_target.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/base/alloc.h"
#include "agent/base/fd.h"
#include "agent/files/info.h"
#include "agent/files/move.h"
#include "agent/files/outcome.h"
#include "agent/files/place.h"
#include "agent/files/temporary.h"
#include "agent/files/write.h"

#define DIRECTORY_MODE 0777 /* under the agent's umask */
#define PERMISSIONS    07777

static bool is_directory(const struct roots *roots, const char *path)
{
        struct error ignored = ERROR_INIT; /* who makes the file says what is wrong */
        struct file_info info;

        return file_info(roots, path, true, &info, NULL, NULL, &ignored) == 0 &&
               info.type == FILE_DIRECTORY;
}

/* See the header. */
int upload_target_name(const struct roots *roots, const char *path, const char *filename,
                       char **ret, bool *ret_is_inside, struct error *err)
{
        const char *slash = strrchr(filename, '/');
        const char *name = slash ? slash + 1 : filename;
        const char *directory = path ? path : roots->workspace;
        size_t size = strlen(directory);
        bool ends_in_slash = size > 0 && directory[size - 1] == '/';

        *ret_is_inside = !path || ends_in_slash || is_directory(roots, path);
        if (!*ret_is_inside) {
                *ret = xstrdup(path);
                return 0;
        }
        if (!name[0] || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
                return error_set_field(err, -EINVAL, "/file",
                                       "file: needs a filename, because path is a directory");
        *ret = xasprintf("%s%s%s", directory, ends_in_slash ? "" : "/", name);
        return 0;
}

struct upload_stage {
        const struct roots *roots;
        struct place place; /* the temporary name's; its directory is what counts */
        int fd;             /* locked as long as it is open */
        bool is_published;
        char name[TEMPORARY_NAME_SIZE];
        uint64_t size;
};

static int check(const struct place *target, bool overwrite)
{
        if (target->fd < 0)
                return 0;
        if (S_ISDIR(target->st.st_mode))
                return -EISDIR;
        if (!S_ISREG(target->st.st_mode))
                return -ENXIO;
        if (!overwrite)
                return -EEXIST;
        return place_check_writable(target);
}

/* Within a scope. */
static int find(const struct roots *roots, const char *path, bool overwrite, struct place *ret,
                struct error *err)
{
        int r = place_find(roots, path, PLACE_CREATE, DIRECTORY_MODE, ret, err);

        if (r != 0)
                return files_want_directory(r, err, path);
        r = check(ret, overwrite);
        return r < 0 ? files_fail_errno(err, r, path) : 0;
}

/* See the header. */
struct upload_stage *upload_stage_free(struct upload_stage *s)
{
        CLEANUP(files_scope_leave) struct files_scope scope = { NULL };

        if (!s)
                return NULL;
        (void)files_scope_enter(&scope, &s->roots->user);
        if (s->fd >= 0 && !s->is_published)
                temporary_remove(s->place.dir, s->name);
        (void)fd_close(s->fd);
        place_done(&s->place);
        free(s);
        return NULL;
}

/* Within a scope. */
static int find_workspace(const struct roots *roots, struct place *ret, struct error *err)
{
        char name[TEMPORARY_NAME_SIZE];
        CLEANUP(mem_free)
        char *path = xasprintf("%s/%s", roots->workspace, temporary_name(name));
        int r = place_find(roots, path, PLACE_ENTRY, DIRECTORY_MODE, ret, err);

        return files_want_directory(r, err, roots->workspace);
}

/* See the header. Nobody else may read what perhaps replaces a private file. */
int upload_stage_new(const struct roots *roots, const char *path, bool overwrite,
                     struct upload_stage **ret, struct error *err)
{
        CLEANUP(files_scope_leave) struct files_scope scope = { NULL };
        CLEANUP(upload_stage_free) struct upload_stage *s = xnew(struct upload_stage);
        int r;

        *s = (struct upload_stage){ .roots = roots, .place = PLACE_INIT, .fd = -1 };
        r = roots_enter(roots, &scope, path ? path : roots->workspace, err);
        if (r == 0)
                r = path ? find(roots, path, overwrite, &s->place, err)
                         : find_workspace(roots, &s->place, err);
        if (r != 0)
                return r;
        s->fd = temporary_make_file(s->place.dir, 0600, s->name);
        if (s->fd < 0)
                return files_fail_errno(err, s->fd, path ? path : roots->workspace);
        *ret = STEAL(s);
        return 0;
}

/* See the header. */
int upload_stage_write(struct upload_stage *s, const void *data, size_t size, const char *path,
                       struct error *err)
{
        CLEANUP(files_scope_leave) struct files_scope scope = { NULL };
        const char *p = data;
        int r = roots_enter(s->roots, &scope, path, err); /* quotas are the user's */

        if (r != 0)
                return r;
        while (size > 0) {
                ssize_t n = write(s->fd, p, size);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return files_fail_errno(err, -errno, path);
                p += n;
                size -= (size_t)n;
                s->size += (uint64_t)n;
        }
        return 0;
}

/* See the header. */
uint64_t upload_stage_size(const struct upload_stage *s)
{
        return s->size;
}

/* What open() gives a new file in @dir: umask and default lists decide. Returns a negative errno. */
static int default_mode(int dir)
{
        char name[TEMPORARY_NAME_SIZE];
        CLEANUP(fd_close) int fd = temporary_make_file(dir, 0666, name);
        struct stat st;
        int r;

        if (fd < 0)
                return fd;
        r = fstat(fd, &st) < 0 ? -errno : (int)(st.st_mode & PERMISSIONS);
        temporary_remove(dir, name);
        return r;
}

/* Owner and mode of the complete file. */
static int adorn(int fd, const struct place *target, int mode)
{
        const struct stat *old = &target->st;
        bool has_mode = mode != FILE_MODE_KEEP;
        struct stat st;

        if (fstat(fd, &st) < 0)
                return -errno;
        if (!has_mode)
                mode = target->fd < 0 ? default_mode(target->dir)
                                      : (int)(old->st_mode & PERMISSIONS);
        if (mode < 0)
                return mode;
        /* Both, or at least the group, or it becomes the user's. */
        if (target->fd >= 0 && (st.st_uid != old->st_uid || st.st_gid != old->st_gid) &&
            fchown(fd, old->st_uid, old->st_gid) < 0 &&
            (fchown(fd, (uid_t)-1, old->st_gid) < 0 || st.st_uid != old->st_uid) && !has_mode)
                mode &= ~(S_ISUID | S_ISGID);
        return fchmod(fd, (mode_t)mode) < 0 ? -errno : 0;
}

static int rename_stage(const struct upload_stage *s, const struct place *target, bool overwrite)
{
        unsigned flags = overwrite ? 0 : RENAME_NOREPLACE;

        return renameat2(s->place.dir, s->name, target->dir, target->name, flags) < 0 ? -errno : 0;
}

/* To another file system, or on one that does not know RENAME_NOREPLACE: by names. */
static int move_stage(const struct upload_stage *s, const struct place *target,
                      const struct file_copy_options *o, const char *path, struct error *err)
{
        const char *slash = strrchr(s->place.path, '/');
        CLEANUP(mem_free)
        char *from = xasprintf("%.*s/%s", (int)(slash - s->place.path), s->place.path, s->name);
        struct file_copied moved;
        int r = file_move(s->roots, from, target->path, o, &moved, err);

        /* The client knows nothing of temporary names. */
        return r > 0 && r != FILES_E_OTHER ? files_fail(err, (enum files_outcome)r, path) : r;
}

/* See the header. */
int upload_stage_publish(struct upload_stage *s, const char *path, int mode, bool overwrite,
                         const atomic_bool *cancel, bool *ret_is_created, struct error *err)
{
        const struct file_copy_options o = { .overwrite = overwrite, .cancel = cancel };
        CLEANUP(files_scope_leave) struct files_scope scope = { NULL };
        CLEANUP(place_done) struct place target = PLACE_INIT;
        int r;

        r = roots_enter(s->roots, &scope, path, err);
        if (r == 0)
                r = find(s->roots, path, overwrite, &target, err);
        if (r != 0)
                return r;
        r = adorn(s->fd, &target, mode);
        if (r < 0)
                return files_fail_errno(err, r, path);
        r = rename_stage(s, &target, overwrite);
        if (r == -EXDEV || r == -EINVAL || r == -ENOSYS)
                r = move_stage(s, &target, &o, path, err);
        else if (r < 0)
                r = files_fail_errno(err, r, path);
        s->is_published = r == 0;
        if (r == 0)
                temporary_forget(s->name);
        *ret_is_created = target.fd < 0;
        return r;
}
