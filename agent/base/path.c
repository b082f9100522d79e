/* SPDX-License-Identifier: Apache-2.0 */

/* Paths. Normalising works on text alone: it decides nothing about access, which needs the file
 * system and is checked where files are opened. Removing a tree works on directory descriptors
 * alone: user code may rename and link in the same tree meanwhile, and must not lead the removal
 * out of it. */

#include "agent/base/path.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/base/alloc.h"
#include "agent/base/fd.h"
#include "agent/base/id.h"

/* Directories that are open at the same time while a tree is removed. */
#define MAX_DEPTH 32

/* A normalised path under construction: "" is the root, else "/a/b". */
struct builder {
        char path[PATH_MAX];
        size_t size;
};

/* Applies the components of @path one after the other. */
static int append_components(struct builder *b, const char *path)
{
        while (*path) {
                size_t length;

                path += strspn(path, "/");
                length = strcspn(path, "/");

                if (length == 0 || (length == 1 && path[0] == '.')) {
                        /* says nothing */
                } else if (length == 2 && path[0] == '.' && path[1] == '.') {
                        while (b->size > 0 && b->path[--b->size] != '/')
                                ;
                } else {
                        if (length > NAME_MAX || b->size + 1 + length >= sizeof(b->path))
                                return -ENAMETOOLONG;
                        b->path[b->size++] = '/';
                        memcpy(b->path + b->size, path, length);
                        b->size += length;
                }
                path += length;
        }
        return 0;
}

/* Makes @path absolute and plain. What is longer than the kernel would take is refused before the
 * dots are applied, too. */
int path_normalize(const char *base, const char *path, char **ret, struct error *err)
{
        struct builder b = { .size = 0 };
        int r = 0;

        assert(base[0] == '/');

        if (path[0] == '\0')
                return error_set_field(err, -EINVAL, "", "the path is empty");
        if (strlen(path) >= PATH_MAX)
                return error_set(err, -ENAMETOOLONG, "path");

        if (path[0] != '/')
                r = append_components(&b, base);
        if (r == 0)
                r = append_components(&b, path);
        if (r < 0)
                return error_set(err, r, "path");

        *ret = b.size > 0 ? xstrndup(b.path, b.size) : xstrdup("/");
        return 0;
}

/* Both normalised. */
bool path_is_under(const char *path, const char *root)
{
        size_t length = strlen(root);

        if (strcmp(root, "/") == 0)
                return path[0] == '/';
        return strncmp(path, root, length) == 0 && (path[length] == '\0' || path[length] == '/');
}

/* Makes @path and what is missing above it. Links to directories are followed. */
int path_make_dirs(const char *path, unsigned mode, struct error *err)
{
        CLEANUP(mem_free) char *copy = xstrdup(path);
        struct stat st;
        char *p = copy;

        if (path[0] == '\0')
                return error_set_field(err, -EINVAL, "", "the path is empty");

        do {
                char saved;

                p += strspn(p, "/");
                p += strcspn(p, "/");
                saved = *p;
                *p = '\0';
                if (mkdir(copy, mode) < 0 && errno != EEXIST)
                        return error_set(err, -errno, "mkdir %s", copy);
                *p = saved;
        } while (*p);

        if (stat(path, &st) < 0)
                return error_set(err, -errno, "stat %s", path);
        if (!S_ISDIR(st.st_mode))
                return error_set(err, -ENOTDIR, "mkdir %s", path);
        return 0;
}

/* One open directory of a removal, and its name in the one above. */
struct level {
        DIR *dir;
        char name[NAME_MAX + 1];
};

struct removal {
        struct level levels[MAX_DEPTH];
        unsigned depth; /* levels in use; [0] is the top of the tree */
        dev_t device;   /* of the top: what is mounted below is not ours to empty */
        bool has_moved; /* something was moved to the top during this pass */
        int result;     /* the first failure */
};

static void note_failure(struct removal *w, int r)
{
        if (r < 0 && w->result == 0)
                w->result = r;
}

/* Opens directory @name in @parent as the next level. */
static int push(struct removal *w, int parent, const char *name)
{
        CLEANUP(fd_close) int fd = -1;
        struct level *l = &w->levels[w->depth];
        struct stat st;

        fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0 || fstat(fd, &st) < 0)
                return -errno;
        if (w->depth == 0)
                w->device = st.st_dev;
        else if (st.st_dev != w->device)
                return -EXDEV;

        /* Entries of a read-only directory of our own can only be removed once it is writable;
         * caches of build tools are such. If it is not ours, removing the entries will say so. */
        (void)fchmod(fd, S_IRWXU);

        l->dir = fdopendir(fd);
        if (!l->dir)
                return -errno;
        (void)STEAL_FD(fd);

        if (w->depth > 0)
                (void)snprintf(l->name, sizeof(l->name), "%s", name);
        w->depth++;
        return 0;
}

/* Closes the deepest level and removes its directory, which should be empty now. */
static void pop(struct removal *w)
{
        struct level *l = &w->levels[--w->depth];

        (void)closedir(l->dir);
        if (unlinkat(dirfd(w->levels[w->depth - 1].dir), l->name, AT_REMOVEDIR) < 0 &&
            errno != ENOENT)
                note_failure(w, -errno);
}

/* Moves a directory that is too deep to be opened to the top, where a later pass finds it. */
static int move_to_top(struct removal *w, int parent, const char *name)
{
        char id[ID_SIZE];

        if (renameat(parent, name, dirfd(w->levels[0].dir), id_new(id, ".moved-")) < 0)
                return -errno;
        w->has_moved = true;
        return 0;
}

static void remove_entry(struct removal *w, int parent, const char *name)
{
        int r;

        if (unlinkat(parent, name, 0) == 0 || errno == ENOENT)
                return;
        if (errno != EISDIR) {
                note_failure(w, -errno);
                return;
        }
        if (unlinkat(parent, name, AT_REMOVEDIR) == 0)
                return;

        r = w->depth < MAX_DEPTH ? push(w, parent, name) : move_to_top(w, parent, name);
        if (r < 0 && r != -ENOENT)
                note_failure(w, r);
}

/* Empties the top directory, depth first. */
static void remove_content(struct removal *w)
{
        while (w->depth > 0) {
                DIR *dir = w->levels[w->depth - 1].dir;
                struct dirent *entry;

                errno = 0;
                entry = readdir(dir);
                if (entry) {
                        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
                                remove_entry(w, dirfd(dir), entry->d_name);
                        continue;
                }

                note_failure(w, -errno);
                if (w->depth > 1) {
                        pop(w);
                } else if (w->has_moved) {
                        w->has_moved = false;
                        rewinddir(dir);
                } else {
                        break;
                }
        }
}

/* Removes @path and everything below; a link is removed, not followed. Goes on after a failure and
 * returns the first one. Neither recursion nor open files grow with the depth of the tree. */
int path_remove_tree(const char *path)
{
        CLEANUP(mem_free) struct removal *w = NULL;
        int r;

        if (unlink(path) == 0 || errno == ENOENT)
                return 0;
        if (errno != EISDIR)
                return -errno;

        w = xnew(struct removal);
        r = push(w, AT_FDCWD, path);
        if (r < 0)
                return r == -ENOENT ? 0 : r;

        remove_content(w);
        (void)closedir(w->levels[0].dir);

        if (rmdir(path) < 0 && errno != ENOENT)
                note_failure(w, -errno);
        return w->result;
}
