/* SPDX-License-Identifier: Apache-2.0 */

/* Two ways to the same descriptor. The short one lets the kernel walk (openat2 without magic links); it is taken as it
 * is only when it succeeds. The long one walks name by name with descriptors, reads links itself, and is used where
 * there is no openat2, where something is missing that may be made, and to find out what exactly is wrong. Neither
 * decides anything while it walks: the descriptor at the end is asked where it is, and that is compared with the
 * policy. So no name can be swapped between the check and the use. */

#include "agent/files/place.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "agent/base/alloc.h"
#include "agent/base/limits.h"
#include "agent/base/path.h"
#include "agent/base/str.h"
#include "agent/base/workspace.h"
#include "agent/files/outcome.h"

/* One path on its way. */
struct steps {
        const struct roots *roots;
        enum place_mode mode;
        mode_t parents_mode;
        int dir; /* O_PATH: how far it is */
        unsigned n_links;
        char name[NAME_MAX + 1]; /* the name that is looked at */
        char rest[2 * PATH_MAX]; /* what follows it */
};

static bool holds_entry(enum place_mode mode)
{
        return mode == PLACE_ENTRY || mode == PLACE_CREATE;
}

static int join(const char *directory, const char *name, char dst[PATH_MAX])
{
        int n = snprintf(dst, PATH_MAX, "%s/%s", directory[1] ? directory : "", name);

        return n >= PATH_MAX ? -ENAMETOOLONG : 0;
}

/* Is @fd, at @path, something that /proc tells about the agent? Its memory and its environment are readable by the
 * agent's own threads whoever they act as. A thread has a directory of its own there, too. */
static bool is_agents_own(int fd, const char *path)
{
        struct statfs fs;

        if (fstatfs(fd, &fs) < 0 || fs.f_type != PROC_SUPER_MAGIC)
                return false;
        for (const char *p = path; *p; p += strcspn(p, "/")) {
                char digits[12] = "";
                uint64_t id;

                p += strspn(p, "/");
                (void)strncat(digits, p, MIN(strcspn(p, "/"), sizeof(digits) - 1));
                if (str_parse_u64(digits, &id) == 0 && id > 0 && id <= INT_MAX &&
                    syscall(SYS_tgkill, getpid(), (pid_t)id, 0) == 0)
                        return true;
        }
        return false;
}

/* Would what is left of the path be allowed, if nothing on it were a link? */
static bool is_allowed_as_text(const struct steps *s)
{
        CLEANUP(mem_free) char *rest = xasprintf("./%s/%s", s->name, s->rest);
        CLEANUP(mem_free) char *full = NULL;
        struct error ignored = ERROR_INIT;
        char at[PATH_MAX];

        return place_where(s->dir, at) >= 0 && path_normalize(at, rest, &full, &ignored) == 0 &&
               roots_allow(s->roots, full);
}

/* What is wrong with a path that could not be walked: @error, or that it was leading outside anyway. Clients learn
 * nothing about what is there. */
static int refuse(const struct steps *s, int error, const char *path, struct error *err)
{
        if (!is_allowed_as_text(s))
                return files_fail(err, FILES_E_NOT_ALLOWED, path);
        return files_fail_errno(err, error, path);
}

static void move_to(struct steps *s, int fd)
{
        (void)fd_close(s->dir);
        s->dir = fd;
}

/* The kernel does not follow links that somebody else put into a directory like /tmp (fs.protected_symlinks); it
 * cannot know that this is following. */
static bool is_planted(int dir, const struct stat *link)
{
        struct stat st;
        uid_t user = (uid_t)syscall(SYS_setfsuid, -1);

        if (fstat(dir, &st) < 0)
                return true;
        return (st.st_mode & (S_ISVTX | S_IWOTH)) == (S_ISVTX | S_IWOTH) && link->st_uid != user &&
               link->st_uid != st.st_uid;
}

/* Puts what the link @fd says in front of the rest. Links of /proc are refused: their text is not where the kernel
 * would go. */
static int follow(struct steps *s, int fd, const struct stat *st)
{
        char target[PATH_MAX];
        CLEANUP(mem_free) char *rest = NULL;
        struct statfs fs;
        ssize_t n;

        if (++s->n_links > LIMIT_PATH_LINKS)
                return -ELOOP;
        if (fstatfs(fd, &fs) < 0)
                return -errno;
        if (fs.f_type == PROC_SUPER_MAGIC)
                return -EXDEV;
        if (is_planted(s->dir, st))
                return -EACCES;
        n = readlinkat(fd, "", target, sizeof(target));
        if (n < 0)
                return -errno;
        if (n == 0)
                return -ENOENT;
        if (n >= PATH_MAX)
                return -ENAMETOOLONG;
        target[n] = '\0';

        rest = xasprintf("%s%s%s", target, s->rest[0] ? "/" : "", s->rest);
        if (strlen(rest) >= sizeof(s->rest))
                return -ENAMETOOLONG;
        (void)snprintf(s->rest, sizeof(s->rest), "%s", rest);
        if (target[0] == '/') {
                int top = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);

                if (top < 0)
                        return -errno;
                move_to(s, top);
        }
        return 0;
}

/* Makes the directory s->name, which is on the way. */
static int make_parent(const struct steps *s)
{
        char at[PATH_MAX], path[PATH_MAX];
        int r;

        r = place_where(s->dir, at);
        if (r >= 0)
                r = join(at, s->name, path);
        if (r < 0)
                return r;
        /* Nothing is below it yet, so the text says where the rest leads. */
        if (!roots_allow_making(s->roots, path) || !is_allowed_as_text(s))
                return -EXDEV;
        return mkdirat(s->dir, s->name, s->parents_mode) < 0 && errno != EEXIST ? -errno : 0;
}

/* Takes the next name off the rest; 0: there is none. -ENAMETOOLONG. */
static int next_name(struct steps *s)
{
        size_t skip, size;

        skip = strspn(s->rest, "/");
        size = strcspn(s->rest + skip, "/");
        if (size > NAME_MAX)
                return -ENAMETOOLONG;
        (void)snprintf(s->name, sizeof(s->name), "%.*s", (int)size, s->rest + skip);
        skip += size;
        memmove(s->rest, s->rest + skip, strlen(s->rest + skip) + 1);
        return size > 0;
}

/* True when nothing but slashes and dots follow: then s->name is the last one. */
static bool is_last(const struct steps *s)
{
        const char *p = s->rest;

        for (;;) {
                p += strspn(p, "/");
                if (*p == '\0')
                        return true;
                if (p[0] != '.' || (p[1] != '/' && p[1] != '\0'))
                        return false;
                p++;
        }
}

enum { STEP_ON, STEP_ARRIVED };

/* Looks at s->name. STEP_ARRIVED: it is the last one, and *ret_fd what is there, or -1. */
static int step(struct steps *s, struct stat *ret_st, int *ret_fd)
{
        bool last = is_last(s);
        bool wants_directory = s->rest[0] != '\0';
        CLEANUP(fd_close) int fd = -1;
        int r;

        fd = openat(s->dir, s->name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0 && errno == ENOENT && !last && s->parents_mode && holds_entry(s->mode)) {
                r = make_parent(s);
                if (r < 0)
                        return r;
                fd = openat(s->dir, s->name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        }
        if (fd < 0) {
                if (errno != ENOENT || !last || !holds_entry(s->mode))
                        return -errno;
                *ret_fd = -1;
                return STEP_ARRIVED;
        }
        if (fstat(fd, ret_st) < 0)
                return -errno;

        if (S_ISLNK(ret_st->st_mode)) {
                bool is_meant = s->mode == PLACE_ENTRY || s->mode == PLACE_SELF;

                if (!last || (!is_meant || (s->mode == PLACE_SELF && wants_directory))) {
                        r = follow(s, fd, ret_st);
                        return r < 0 ? r : STEP_ON;
                }
        } else if ((!last || wants_directory) && !S_ISDIR(ret_st->st_mode)) {
                return -ENOTDIR;
        }
        if (last && holds_entry(s->mode)) {
                *ret_fd = STEAL_FD(fd);
                return STEP_ARRIVED;
        }
        if (last) {
                *ret_fd = STEAL_FD(fd);
                s->rest[0] = '\0';
                return STEP_ARRIVED;
        }
        move_to(s, STEAL_FD(fd));
        return STEP_ON;
}

static int step_up(struct steps *s)
{
        int fd = openat(s->dir, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);

        if (fd < 0)
                return -errno;
        move_to(s, fd);
        return 0;
}

/* The long way: from s->dir along s->rest. Fills @ret but for its path. */
static int walk(struct steps *s, struct place *ret)
{
        int r;

        for (;;) {
                int fd = -1;

                r = next_name(s);
                if (r < 0)
                        return r;
                if (r == 0)
                        break; /* it ended with "..", or with nothing */
                if (strcmp(s->name, ".") == 0)
                        continue;
                if (strcmp(s->name, "..") == 0) {
                        r = step_up(s);
                        if (r < 0)
                                return r;
                        continue;
                }
                r = step(s, &ret->st, &fd);
                if (r < 0)
                        return r;
                if (r == STEP_ARRIVED) {
                        ret->fd = fd;
                        if (holds_entry(s->mode)) {
                                memcpy(ret->name, s->name, sizeof(ret->name));
                                ret->dir = STEAL_FD(s->dir);
                        }
                        return 0;
                }
        }

        if (holds_entry(s->mode))
                return -EINVAL; /* there is no name to work with */
        if (fstat(s->dir, &ret->st) < 0)
                return -errno;
        ret->fd = STEAL_FD(s->dir);
        return 0;
}

/* Is what was found allowed? Fills its path. */
static int check(const struct roots *roots, enum place_mode mode, struct place *p)
{
        char at[PATH_MAX];
        int r;

        if (!holds_entry(mode)) {
                r = place_where(p->fd, p->path);
                if (r < 0)
                        return r;
                return roots_allow(roots, p->path) && !is_agents_own(p->fd, p->path) ? 0 : -EXDEV;
        }

        r = place_where(p->dir, at);
        if (r >= 0)
                r = join(at, p->name, p->path);
        if (r < 0)
                return r;
        /* An allowed directory itself may be made, but it is not an entry to remove or to rename, even if it is in
         * another one. */
        if (!roots_allow(roots, mode == PLACE_ENTRY ? at : p->path) || is_agents_own(p->dir, at) ||
            (mode == PLACE_ENTRY && roots_are_below(roots, p->path)))
                return -EXDEV;
        return 0;
}

static int open_without_magic(const char *path, int flags, uint64_t resolve)
{
        struct open_how how = { .flags = (uint64_t)(flags | O_PATH | O_CLOEXEC),
                                .resolve = RESOLVE_NO_MAGICLINKS | resolve };
        long fd = syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof(how));

        return fd < 0 ? -errno : (int)fd;
}

/* The last name of @path, when it is a plain one that nothing follows; else NULL. */
static const char *plain_last_name(const char *path)
{
        const char *name = strrchr(path, '/') + 1;

        return *name && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 ? name : NULL;
}

/* The short way for a name in a directory. */
static int find_entry_fast(const char *path, enum place_mode mode, struct place *ret)
{
        const char *name = plain_last_name(path);
        CLEANUP(mem_free) char *directory = NULL;
        CLEANUP(fd_close) int dir = -1;
        CLEANUP(fd_close) int fd = -1;

        if (!name)
                return -EINVAL;
        directory = xstrndup(path, (size_t)(name - path));
        dir = open_without_magic(directory, O_DIRECTORY, 0);
        if (dir < 0)
                return dir;
        fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0 && errno != ENOENT)
                return -errno;
        if (fd >= 0 && fstat(fd, &ret->st) < 0)
                return -errno;
        if (fd >= 0 && S_ISLNK(ret->st.st_mode) && mode == PLACE_CREATE)
                return -ELOOP; /* to be followed by hand */

        (void)snprintf(ret->name, sizeof(ret->name), "%s", name);
        ret->dir = STEAL_FD(dir);
        ret->fd = STEAL_FD(fd);
        return 0;
}

static int find_fast(const char *path, enum place_mode mode, struct place *ret)
{
        CLEANUP(fd_close) int fd = -1;

        if (holds_entry(mode))
                return find_entry_fast(path, mode, ret);
        fd = open_without_magic(path, mode == PLACE_SELF ? O_NOFOLLOW : 0, 0);
        if (fd < 0)
                return fd;
        if (fstat(fd, &ret->st) < 0)
                return -errno;
        ret->fd = STEAL_FD(fd);
        return 0;
}

static int find_slowly(const struct roots *roots, const char *text, enum place_mode mode,
                       mode_t parents_mode, struct place *ret, const char *path, struct error *err)
{
        struct steps s = { .roots = roots, .mode = mode, .parents_mode = parents_mode };
        int r;

        (void)snprintf(s.rest, sizeof(s.rest), "%s", text);
        s.dir = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (s.dir < 0)
                return files_fail_errno(err, -errno, path);
        r = walk(&s, ret);
        if (r == -EXDEV)
                r = files_fail(err, FILES_E_NOT_ALLOWED, path);
        else if (r < 0)
                r = refuse(&s, r, path, err);
        (void)fd_close(s.dir);
        return r;
}

/* Is there no WORKSPACE_NAME? -EAGAIN: without waiting nobody knows. */
static int is_name_free(bool may_wait)
{
        int fd;

        if (may_wait)
                return access(WORKSPACE_NAME, F_OK) < 0;
        fd = open_without_magic(WORKSPACE_NAME, 0, RESOLVE_CACHED);
        if (fd < 0)
                return fd == -ENOENT ? 1 : -EAGAIN;
        (void)fd_close(fd);
        return 0;
}

/* The absolute path that @path means. But for WORKSPACE_NAME this is done without looking at the disk. */
static int check_text(const struct roots *roots, const char *path, bool may_wait,
                      char dst[PATH_MAX])
{
        const char *rest;
        int n, r = 0;

        if (path[0] == '\0')
                return -EINVAL;
        for (const char *p = path; *p; p += strcspn(p, "/")) {
                p += strspn(p, "/");
                if (strcspn(p, "/") > NAME_MAX)
                        return -ENAMETOOLONG;
        }
        rest = roots->has_name ? workspace_rest(roots->workspace, path) : NULL;
        if (rest)
                r = is_name_free(may_wait);
        if (r < 0)
                return r;
        if (r > 0)
                n = snprintf(dst, PATH_MAX, "%s%s", roots->workspace, rest);
        else if (path[0] == '/')
                n = snprintf(dst, PATH_MAX, "%s", path);
        else
                n = snprintf(dst, PATH_MAX, "%s/%s", roots->workspace, path);
        return n >= PATH_MAX ? -ENAMETOOLONG : 0;
}

/* See the header. */
int place_find(const struct roots *roots, const char *path, enum place_mode mode,
               mode_t parents_mode, struct place *ret, struct error *err)
{
        struct place p = PLACE_INIT;
        char text[PATH_MAX];
        int r;

        r = check_text(roots, path, true, text);
        if (r < 0)
                return files_fail_errno(err, r, path);

        if (!roots->has_openat2 || find_fast(text, mode, &p) < 0) {
                r = find_slowly(roots, text, mode, parents_mode, &p, path, err);
                if (r != 0)
                        return r;
        }
        r = check(roots, mode, &p);
        if (r < 0) {
                place_done(&p);
                return r == -EXDEV ? files_fail(err, FILES_E_NOT_ALLOWED, path)
                                   : files_fail_errno(err, r, path);
        }
        *ret = p;
        return 0;
}

/* See the header. Kernels before 5.12 do not know RESOLVE_CACHED, and fail. */
int place_find_cached(const struct roots *roots, const char *path)
{
        char text[PATH_MAX], at[PATH_MAX];
        CLEANUP(fd_close) int fd = -1;

        if (!roots->has_openat2 || check_text(roots, path, false, text) < 0)
                return -EAGAIN;
        fd = open_without_magic(text, 0, RESOLVE_CACHED);
        if (fd < 0 || place_where(fd, at) < 0 || !roots_allow(roots, at))
                return -EAGAIN;
        return STEAL_FD(fd);
}
