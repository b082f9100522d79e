/* SPDX-License-Identifier: Apache-2.0 */

/* Any string as a path of a client's, in a small tree with links of all kinds: what place_find returns is below an
 * allowed directory, and both of its ways come to the same. Nothing is ever made, so an input cannot spoil the tree for
 * the next one.
 *
 * In an input "B" behind a slash, or at the beginning, stands for the tree's own directory, whose name nobody can
 * guess: "/B/out/secret". */

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/base/alloc.h"
#include "agent/base/fd.h"
#include "agent/base/path.h"
#include "agent/files/outcome.h"
#include "agent/files/place.h"
#include "agent/files/remove.h"
#include "agent/files/roots.h"
#include "tests/fuzz/fuzz.h"

/* in/ is the workspace, also/ is allowed, out/ is not. */
static char base[] = "/tmp/fuzz-files-XXXXXX";
static struct roots *roots; /* with both ways */

static const char *const directories[] = {
        "in", "in/d", "in/d/e", "also", "also/d", "out", "out/d", "in/sticky",
};

static const char *const files[] = {
        "in/file", "in/d/file", "in/d/e/f", "also/file", "out/secret", "out/d/secret",
};

/* "B" at the beginning of a target is the tree. */
static const struct {
        const char *name;
        const char *target;
} links[] = {
        { "in/to-file", "file" },
        { "in/to-d", "d" },
        { "in/to-d-slash", "d/" },
        { "in/chain", "to-d/e/up" },
        { "in/d/e/up", "../.." },
        { "in/abs", "B/in/d" },
        { "in/also", "B/also" },
        { "in/rel-also", "../also/file" },
        { "in/out", "B/out" },
        { "in/rel-out", "../out/secret" },
        { "in/d/far-out", "../../out/d" },
        { "in/root", "/" },
        { "in/parent", ".." },
        { "in/dot", "." },
        { "in/self", "self" },
        { "in/ping", "pong" },
        { "in/pong", "ping" },
        { "in/dangling", "nothing" },
        { "in/dangling-out", "B/out/nothing" },
        { "in/dangling-deep", "nothing/nothing" },
        { "in/proc", "/proc/self" },
        { "in/proc-root", "/proc/self/root" },
        { "in/proc-cwd", "/proc/self/cwd" },
        { "in/proc-fd", "/proc/self/fd/0" },
        { "in/sticky/l", "../d" },
        { "in/back", "B/out/back/in" },
        { "out/back", ".." },
        { "out/in", "B/in" },
        { "also/in", "../in/d" },
};

static char *at(const char *name)
{
        return xasprintf("%s/%s", base, name);
}

static void remove_tree(void)
{
        (void)file_remove_at(AT_FDCWD, base, true, NULL, NULL);
        roots = roots_free(roots);
}

static void make_tree(void)
{
        CLEANUP(mem_free) char *in = NULL;
        CLEANUP(mem_free) char *also = NULL;
        CLEANUP(mem_free) char *fifo = NULL;
        CLEANUP(mem_free) char *sticky = NULL;
        char *allowed[] = { NULL, NULL };
        struct error err = ERROR_INIT;

        MUST(mkdtemp(base));
        MUST(atexit(remove_tree) == 0);
        for (size_t i = 0; i < ARRAY_LEN(directories); i++) {
                CLEANUP(mem_free) char *path = at(directories[i]);

                MUST(mkdir(path, 0755) == 0);
        }
        for (size_t i = 0; i < ARRAY_LEN(files); i++) {
                CLEANUP(mem_free) char *path = at(files[i]);
                CLEANUP(fd_close) int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

                MUST(fd >= 0);
        }
        for (size_t i = 0; i < ARRAY_LEN(links); i++) {
                bool is_absolute = links[i].target[0] == 'B';
                CLEANUP(mem_free) char *path = at(links[i].name);
                CLEANUP(mem_free)
                char *target = is_absolute ? at(links[i].target + 2) : xstrdup(links[i].target);

                MUST(symlink(target, path) == 0);
        }
        fifo = at("in/fifo");
        sticky = at("in/sticky");
        MUST(mkfifo(fifo, 0644) == 0);
        MUST(chmod(sticky, 01777) == 0);

        in = at("in");
        also = at("also");
        allowed[0] = also;
        MUST(roots_new(&(struct roots_config){ .workspace = in,
                                               .allowed = allowed,
                                               .uid = geteuid(),
                                               .gid = getegid() },
                       &roots, &err) == 0);
}

/* Where @fd leads to, by itself: not the way the code under test finds it out. */
static void must_be_allowed(int fd)
{
        char link[64], path[PATH_MAX + 1];
        CLEANUP(mem_free) char *in = at("in");
        CLEANUP(mem_free) char *also = at("also");
        ssize_t n;

        (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        n = readlink(link, path, PATH_MAX);
        MUST(n > 0);
        path[n] = '\0';
        if (path_is_under(path, in) || path_is_under(path, also))
                return;
        (void)fprintf(stderr, "outside: %s\n", path);
        abort();
}

/* The directory of what is to be made may be above an allowed one: then that one is meant. */
static void check_found(const struct place *p, enum place_mode mode)
{
        CLEANUP(mem_free) char *in = at("in");
        CLEANUP(mem_free) char *also = at("also");
        bool has_name = mode == PLACE_ENTRY || mode == PLACE_CREATE;

        MUST(has_name == (p->dir >= 0));
        MUST(has_name || p->fd >= 0);
        if (p->fd >= 0)
                must_be_allowed(p->fd);
        if (has_name) {
                MUST(p->name[0] && !strchr(p->name, '/'));
                MUST(strcmp(p->name, ".") != 0 && strcmp(p->name, "..") != 0);
                if (strcmp(p->path, in) != 0 && strcmp(p->path, also) != 0)
                        must_be_allowed(p->dir);
        }
        MUST(path_is_under(p->path, in) || path_is_under(p->path, also));
        if (mode == PLACE_FOLLOW || mode == PLACE_CREATE)
                MUST(p->fd < 0 || !S_ISLNK(p->st.st_mode));
}

static void must_be_same(int a, int b)
{
        struct stat x, y;

        MUST((a < 0) == (b < 0));
        if (a < 0)
                return;
        MUST(fstat(a, &x) == 0 && fstat(b, &y) == 0);
        MUST(x.st_dev == y.st_dev && x.st_ino == y.st_ino);
}

static int find(bool has_openat2, const char *path, enum place_mode mode, struct place *ret)
{
        struct error err = ERROR_INIT;
        int r;

        roots->has_openat2 = has_openat2;
        r = place_find(roots, path, mode, 0, ret, &err);
        MUST(r >= 0);
        if (r == 0)
                check_found(ret, mode);
        else
                MUST(ret->fd < 0 && ret->dir < 0 && err.message[0]);
        return r;
}

static void check(const char *path, enum place_mode mode)
{
        CLEANUP(place_done) struct place fast = PLACE_INIT;
        CLEANUP(place_done) struct place slow = PLACE_INIT;
        int r = find(true, path, mode, &fast);
        int other = find(false, path, mode, &slow);

        if (r != other) {
                (void)fprintf(stderr, "mode %d: %d, and without openat2 %d\n", (int)mode, r, other);
                abort();
        }
        if (r != 0)
                return;
        must_be_same(fast.fd, slow.fd);
        must_be_same(fast.dir, slow.dir);
        MUST(strcmp(fast.name, slow.name) == 0);
        MUST(strcmp(fast.path, slow.path) == 0);
}

/* The input with the tree's name in it; a new string. */
static char *path_of(const uint8_t *data, size_t size)
{
        char *path = xcalloc(size + 1, sizeof(base));
        char *end = path;

        for (size_t i = 0; i < size && data[i]; i++) {
                bool is_name = data[i] == 'B' && (i == 0 || data[i - 1] == '/') &&
                               (i + 1 == size || data[i + 1] == '/');

                if (is_name) {
                        memcpy(end, base, sizeof(base) - 1);
                        end += sizeof(base) - 1;
                } else {
                        *end++ = (char)data[i];
                }
        }
        return path;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        CLEANUP(mem_free) char *path = NULL;

        if (!roots)
                make_tree();
        path = path_of(data, size);
        for (enum place_mode mode = PLACE_FOLLOW; mode <= PLACE_CREATE; mode++)
                check(path, mode);
        return 0;
}
