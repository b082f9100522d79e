/* SPDX-License-Identifier: Apache-2.0 */

/* The archive's entries (unpack_archive.h) become a tree in a temporary directory (unpack_tree.h), which is merged into
 * the target (unpack_merge.h). All content is read and counted, also what nobody needs. */

#include "handlers/files/unpack.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <archive_entry.h>

#include "agent/base/alloc.h"
#include "agent/base/fd.h"
#include "agent/base/limits.h"
#include "agent/files/directory.h"
#include "agent/files/outcome.h"
#include "agent/files/place.h"
#include "agent/files/temporary.h"
#include "handlers/files/unpack_archive.h"
#include "handlers/files/unpack_merge.h"
#include "handlers/files/unpack_tree.h"

struct unpack {
        struct unpack_options options;
        char *path;         /* the target, or NULL */
        char *made;         /* the same, if it was made */
        struct place place; /* where the temporary directory is */
        char name[TEMPORARY_NAME_SIZE];
        int top; /* the temporary directory */
        struct unpack_tree tree;

        struct unpack_archive *archive;
        uint64_t n_entries;
        uint64_t size;
};

/* --- life --- */

static const char *shown_path(const struct unpack *u)
{
        return u->path ? u->path : u->options.roots->workspace;
}

/* @ret is the directory @path. */
static int find_target(const struct roots *roots, const char *path, bool *ret_is_created,
                       struct place *ret, struct error *err)
{
        int r = directory_make(roots, path, DIRECTORY_MODE_DEFAULT, true, ret_is_created, err);

        if (r == 0)
                r = place_find(roots, path, PLACE_FOLLOW, 0, ret, err);
        if (r == 0 && !S_ISDIR(ret->st.st_mode))
                return files_fail(err, FILES_E_NOT_DIRECTORY, path);
        return r;
}

static void remove_made(const struct unpack *u)
{
        CLEANUP(place_done) struct place p = PLACE_INIT;
        struct error ignored = ERROR_INIT; /* it stays, then */

        if (u->made && place_find(u->options.roots, u->made, PLACE_ENTRY, 0, &p, &ignored) == 0)
                (void)unlinkat(p.dir, p.name, AT_REMOVEDIR); /* not if something is in it */
}

/* See the header. */
struct unpack *unpack_free(struct unpack *u)
{
        if (!u)
                return NULL;
        (void)unpack_archive_free(u->archive);
        unpack_tree_done(&u->tree);
        if (u->top >= 0)
                temporary_remove(u->place.fd, u->name);
        (void)fd_close(u->top);
        place_done(&u->place);
        remove_made(u);
        free(u->made);
        free(u->path);
        free(u);
        return NULL;
}

static void unpack_free_cleanup_(struct unpack **u)
{
        *u = unpack_free(*u);
}

/* See the header. */
int unpack_new(const struct unpack_options *o, struct unpack **ret, struct error *err)
{
        CLEANUP(unpack_free) struct unpack *u = xnew(struct unpack);
        bool is_created = false;
        int r;

        *u = (struct unpack){ .options = *o, .place = PLACE_INIT, .top = -1 };
        unpack_tree_init(&u->tree, -1, o->roots->has_openat2);
        u->path = o->path ? xstrdup(o->path) : NULL;
        u->options.path = u->path;
        u->archive = unpack_archive_new(o);
        if (!u->archive)
                return -ENOMEM;
        r = find_target(o->roots, shown_path(u), &is_created, &u->place, err);
        if (is_created && u->path)
                u->made = xstrdup(u->path);
        if (r != 0)
                return r;
        u->top = temporary_make_directory(u->place.fd, u->name);
        if (u->top < 0)
                return files_fail_errno(err, u->top, shown_path(u));
        unpack_tree_init(&u->tree, u->top, o->roots->has_openat2);
        *ret = STEAL(u);
        return 0;
}

/* --- entries --- */

static int write_at(int fd, const char *data, size_t size, uint64_t at)
{
        while (size > 0) {
                ssize_t n = pwrite(fd, data, size, (off_t)at);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                data += n;
                size -= (size_t)n;
                at += (uint64_t)n;
        }
        return 0;
}

/* The file system has a limit of its own. */
static int told(int r, const struct unpack *u, struct error *err)
{
        if (r != -EFBIG)
                return r;
        return error_set_field(err, r, "",
                               "a file of the archive is too large for the file system of %s",
                               shown_path(u));
}

/* Makes room for a file of @end bytes that had *size. */
static int grow(struct unpack *u, uint64_t end, uint64_t *size, struct error *err)
{
        uint64_t max = u->options.max_size > 0 ? u->options.max_size : INT64_MAX;

        if (end <= *size)
                return 0;
        if (end > INT64_MAX || u->size > max || end - *size > max - u->size)
                return error_set_field(err, -EFBIG, "",
                                       "the archive unpacks to more than %llu bytes",
                                       (unsigned long long)max);
        u->size += end - *size;
        *size = end;
        return 0;
}

/* @fd is -1: nobody needs it. */
static int read_content(struct unpack *u, struct archive_entry *e, int fd, struct error *err)
{
        uint64_t size = 0;

        for (;;) {
                const void *data;
                uint64_t at;
                size_t n;
                int r = unpack_archive_read(u->archive, &data, &n, &at, err);

                if (r < 0)
                        return r;
                if (r == 0)
                        break;
                r = grow(u, at + n, &size, err);
                if (r == 0 && fd >= 0)
                        r = told(write_at(fd, data, n, at), u, err);
                if (r == 0)
                        r = u->options.step(u->options.arg);
                if (r < 0)
                        return r;
        }
        if (fd >= 0 && archive_entry_size_is_set(e) && archive_entry_size(e) > (la_int64_t)size) {
                int r = grow(u, (uint64_t)archive_entry_size(e), &size, err);

                if (r == 0 && ftruncate(fd, (off_t)size) < 0)
                        r = told(-errno, u, err);
                return r;
        }
        return 0;
}

static int take_file(struct unpack *u, const struct unpack_name *n,
                     const struct unpack_attributes *a, struct archive_entry *e, struct error *err)
{
        CLEANUP(fd_close) int fd = -1;
        uint64_t size = 0;
        uint64_t before = u->size;
        int r = 0;

        /* Not only when the disk is full of it. */
        if (archive_entry_size_is_set(e) && archive_entry_size(e) > 0)
                r = grow(u, (uint64_t)archive_entry_size(e), &size, err);
        u->size = before;
        if (r == 0)
                r = unpack_tree_file(&u->tree, n, &fd, err);
        if (r == 0)
                r = read_content(u, e, fd, err);
        return r < 0 ? r : unpack_tree_file_end(fd, a);
}

static int take_symlink(struct unpack *u, const struct unpack_name *n,
                        const struct unpack_attributes *a, struct archive_entry *e,
                        struct error *err)
{
        const char *target = archive_entry_symlink(e);
        const char *why;
        int r;

        r = unpack_name_check_link(n, target ? target : "", &why);
        if (r < 0)
                return unpack_refuse(err, r, n->path, why);
        return unpack_tree_symlink(&u->tree, n, target, a, err);
}

static int take_hard_link(struct unpack *u, const struct unpack_name *n, struct archive_entry *e,
                          struct error *err)
{
        struct unpack_name target;
        char *what;
        const char *why;
        int r = unpack_name_parse(archive_entry_hardlink(e), &target, &why);

        if (r == 0) {
                r = unpack_tree_hard_link(&u->tree, n, &target, err);
                return r < 0 ? r : read_content(u, e, -1, err); /* the same as the file's */
        }
        what = xasprintf("is a hard link to what %s", why);
        r = unpack_refuse(err, r, n->path, what);
        free(what);
        return r;
}

static int take_entry(struct unpack *u, struct archive_entry *e, struct error *err)
{
        const char *text = archive_entry_pathname(e);
        struct unpack_attributes a = { .mode = archive_entry_perm(e) & 0777,
                                       .has_time = archive_entry_mtime_is_set(e) != 0,
                                       .time = { archive_entry_mtime(e),
                                                 archive_entry_mtime_nsec(e) } };
        struct unpack_name n;
        const char *why;
        int r;

        if (++u->n_entries > LIMIT_EXTRACT_ENTRIES)
                return error_set_field(err, -EFBIG, "", "the archive has more than %d entries",
                                       LIMIT_EXTRACT_ENTRIES);
        r = unpack_name_parse(text ? text : "", &n, &why);
        if (r < 0)
                return unpack_refuse(err, r, text ? text : "", why);
        if (archive_entry_hardlink(e))
                return take_hard_link(u, &n, e, err);
        if (archive_entry_is_encrypted(e))
                return unpack_refuse(err, -EBADMSG, n.path, "is encrypted");
        switch (archive_entry_filetype(e)) {
        case AE_IFREG:
                return take_file(u, &n, &a, e, err);
        case AE_IFDIR:
                r = unpack_tree_directory(&u->tree, &n, &a, err);
                return r < 0 ? r : read_content(u, e, -1, err);
        case AE_IFLNK:
                return take_symlink(u, &n, &a, e, err);
        case AE_IFIFO:
                return unpack_refuse(err, -EBADMSG, n.path, "is a FIFO");
        case AE_IFSOCK:
                return unpack_refuse(err, -EBADMSG, n.path, "is a socket");
        case AE_IFCHR:
        case AE_IFBLK:
                return unpack_refuse(err, -EBADMSG, n.path, "is a device");
        default:
                return unpack_refuse(err, -EBADMSG, n.path,
                                     "is neither file nor directory nor link");
        }
}

/* See the header. */
int unpack_read(struct unpack *u, struct error *err)
{
        int r = unpack_archive_open(u->archive, u->top, err);

        while (r == 0) {
                struct archive_entry *e;

                r = unpack_archive_next(u->archive, &e, err);
                if (r == 0)
                        return 0;
                if (r > 0)
                        r = take_entry(u, e, err);
                if (r == 0)
                        r = u->options.step(u->options.arg);
        }
        return r == -EBADMSG || r == -EFBIG || r == -ECANCELED || r == -ENOMEM
                       ? r
                       : files_fail_errno(err, r, shown_path(u));
}

/* See the header. */
int unpack_commit(struct unpack *u, const char *path, bool overwrite, struct unpack_result *ret,
                  struct error *err)
{
        CLEANUP(place_done) struct place target = PLACE_INIT;
        CLEANUP(fd_close) int to = -1;
        struct unpack_merge m = { .from = u->top,
                                  .path = path,
                                  .overwrite = overwrite,
                                  .step = u->options.step,
                                  .arg = u->options.arg };
        bool is_created = false;
        int r;

        r = unpack_tree_finish(&u->tree, m.step, m.arg, err);
        if (r < 0)
                return r == -EBADMSG || r == -ECANCELED ? r : files_fail_errno(err, r, path);
        r = find_target(u->options.roots, path, &is_created, &target, err);
        if (is_created && !u->made)
                u->made = xstrdup(path);
        if (r != 0)
                return r;
        to = place_open(&target, O_RDONLY | O_DIRECTORY);
        if (to < 0)
                return files_fail_errno(err, to, path);
        m.to = to;
        r = unpack_merge(&m, err);
        if (r != 0)
                return r;
        *ret = (struct unpack_result){ .n_files = u->tree.n_files,
                                       .n_directories = u->tree.n_directories,
                                       .n_links = u->tree.n_links,
                                       .size = u->size,
                                       .is_created = u->made != NULL };
        u->made = mem_free(u->made);
        return 0;
}
