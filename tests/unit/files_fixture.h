/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A directory with two allowed directories, in/ (the workspace) and also/, and one that is not: out/. As root a test
 * runs twice: as root, and as a user whom an agent that is root acts for. Both times with openat2, and without. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/base/alloc.h"
#include "agent/base/buf.h"
#include "agent/base/fd.h"
#include "agent/base/path.h"
#include "agent/files/change.h"
#include "agent/files/outcome.h"
#include "agent/files/roots.h"
#include "agent/files/temporary.h"

#define FILES_USER 65534

struct files {
        char base[64];
        struct roots *roots;
        struct error err;
};

/* What the group that runs is about. */
static struct {
        bool is_user;
        bool has_openat2;
} files_variant = { false, true };

static inline uid_t files_uid(void)
{
        return files_variant.is_user ? FILES_USER : geteuid();
}

/* "BASE/name"; a few of them live at the same time. */
static inline const char *files_at(const struct files *f, const char *name)
{
        static char paths[8][8192];
        static unsigned next;
        char *path = paths[next++ % 8];

        snprintf(path, sizeof(paths[0]), "%s/%s", f->base, name);
        return path;
}

static inline void files_own(const char *path)
{
        if (files_variant.is_user)
                assert_int_equal(lchown(path, FILES_USER, FILES_USER), 0);
}

static inline void files_mkdir(const struct files *f, const char *name)
{
        assert_int_equal(mkdir(files_at(f, name), 0755), 0);
        files_own(files_at(f, name));
}

/* A file of the user's. */
static inline void files_put(const struct files *f, const char *name, const char *content)
{
        int fd = open(files_at(f, name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

        assert_true(fd >= 0);
        assert_int_equal(fd_write_all(fd, content, strlen(content)), 0);
        close(fd);
        files_own(files_at(f, name));
}

static inline void files_link(const struct files *f, const char *target, const char *name)
{
        assert_int_equal(symlink(target, files_at(f, name)), 0);
        files_own(files_at(f, name));
}

static inline void files_check(const struct files *f, const char *name, const char *content)
{
        struct error err = ERROR_INIT;
        struct buf b;

        buf_init(&b, 0);
        assert_int_equal(fd_read_file(files_at(f, name), 1000000, &b, &err), 0);
        assert_string_equal(b.size ? b.data : "", content);
        buf_done(&b);
}

static inline bool files_is_there(const struct files *f, const char *name)
{
        struct stat st;

        return lstat(files_at(f, name), &st) == 0;
}

static inline mode_t files_mode(const struct files *f, const char *name)
{
        struct stat st;

        assert_int_equal(lstat(files_at(f, name), &st), 0);
        return st.st_mode & 07777;
}

/* How many entries the directory has, temporary ones included. */
static inline unsigned files_count(const struct files *f, const char *name)
{
        DIR *dir = opendir(files_at(f, name));
        struct dirent *entry;
        unsigned n = 0;

        assert_non_null(dir);
        while ((entry = readdir(dir)))
                n += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
        closedir(dir);
        return n;
}

static inline int files_setup(void **state)
{
        struct files *f = xnew(struct files);
        struct roots_config c = { .uid = files_uid(), .gid = files_uid() };
        char *allowed[2] = { NULL, NULL };

        umask(022);
        snprintf(f->base, sizeof(f->base), "/tmp/test_files.XXXXXX");
        assert_non_null(mkdtemp(f->base));
        assert_int_equal(chmod(f->base, 0755), 0);
        files_mkdir(f, "in");
        files_mkdir(f, "also");
        files_mkdir(f, "out");
        files_put(f, "out/secret", "secret");
        c.workspace = xasprintf("%s/in", f->base);
        allowed[0] = xasprintf("%s/also", f->base);
        c.allowed = allowed;
        assert_int_equal(roots_new(&c, &f->roots, &f->err), 0);
        f->roots->has_openat2 &= files_variant.has_openat2;
        free(allowed[0]);
        free((char *)c.workspace);
        *state = f;
        return 0;
}

static inline int files_teardown(void **state)
{
        struct files *f = *state;

        /* Nobody stays another user. */
        assert_int_equal(setfsuid((uid_t)-1), (int)geteuid());
        roots_free(f->roots);
        assert_int_equal(path_remove_tree(f->base), 0);
        free(f);
        return 0;
}

/* Through the policy, unlike the others here. */
static inline int files_chmod(struct files *f, const char *path, mode_t mode)
{
        const struct file_change c = {
                .has_mode = true, .mode = mode, .uid = (uid_t)-1, .gid = (gid_t)-1
        };

        return file_change(f->roots, path, &c, &(uint64_t){ 0 }, &f->err);
}

static inline int files_chown(struct files *f, const char *path, uid_t uid, gid_t gid)
{
        const struct file_change c = { .uid = uid, .gid = gid };

        return file_change(f->roots, path, &c, &(uint64_t){ 0 }, &f->err);
}

/* A copy of the number of open descriptors: nothing may leak. */
static inline unsigned files_n_open(void)
{
        unsigned n = 0;

        for (int fd = 0; fd < 1024; fd++)
                n += fcntl(fd, F_GETFD) >= 0;
        return n;
}

static inline int files_setup_self(void **state)
{
        files_variant.is_user = false;
        files_variant.has_openat2 = true;
        return files_setup(state);
}

static inline int files_setup_self_by_hand(void **state)
{
        files_variant.is_user = false;
        files_variant.has_openat2 = false;
        return files_setup(state);
}

static inline int files_setup_user(void **state)
{
        files_variant.is_user = geteuid() == 0;
        files_variant.has_openat2 = true;
        return files_setup(state);
}

static inline int files_setup_user_by_hand(void **state)
{
        files_variant.is_user = geteuid() == 0;
        files_variant.has_openat2 = false;
        return files_setup(state);
}

/* clang-format off */
#define FILES_TEST(fn)                                                            \
        { #fn, fn, files_setup_self, files_teardown, NULL },                       \
        { #fn " by hand", fn, files_setup_self_by_hand, files_teardown, NULL },    \
        { #fn " as user", fn, files_setup_user, files_teardown, NULL },            \
        { #fn " as user by hand", fn, files_setup_user_by_hand, files_teardown, NULL }

/* What is large, or has nothing to do with paths. */
#define FILES_TEST_ONCE(fn)                                                       \
        { #fn, fn, files_setup_user, files_teardown, NULL }
/* clang-format on */
