/* SPDX-License-Identifier: Apache-2.0 */

/* Copying and moving. */

#include "tests/unit/files_fixture.h"

#include <dlfcn.h>

#include "agent/files/copy.h"
#include "agent/files/move.h"

static bool is_plain; /* the file system does not know RENAME_NOREPLACE, like some network ones */

typedef int rename_fn(int, const char *, int, const char *, unsigned);

__attribute__((visibility("default"))) int renameat2(int from_dir, const char *from, int to_dir,
                                                     const char *to, unsigned flags)
{
        rename_fn *real = (rename_fn *)dlsym(RTLD_NEXT, "renameat2");

        if (!is_plain)
                return real(from_dir, from, to_dir, to, flags);
        errno = EINVAL;
        return -1;
}

static int copy(struct files *f, const char *from, const char *to, struct file_copy_options o,
                struct file_copied *copied)
{
        return file_copy(f->roots, from, to, &o, copied, &f->err);
}

static int move(struct files *f, const char *from, const char *to, struct file_copy_options o,
                struct file_copied *copied)
{
        return file_move(f->roots, from, to, &o, copied, &f->err);
}

#define COPY(from, to, ...) copy(f, from, to, (struct file_copy_options){ __VA_ARGS__ }, &copied)
#define MOVE(from, to, ...) move(f, from, to, (struct file_copy_options){ __VA_ARGS__ }, &copied)

static void set_times(struct files *f, const char *name, long seconds)
{
        struct timespec times[2] = { { seconds, 1000 }, { seconds + 1, 2000 } };

        assert_int_equal(utimensat(AT_FDCWD, files_at(f, name), times, AT_SYMLINK_NOFOLLOW), 0);
}

static void check_time(struct files *f, const char *name, long seconds)
{
        struct stat st;

        assert_int_equal(lstat(files_at(f, name), &st), 0);
        assert_int_equal(st.st_mtim.tv_sec, seconds + 1);
        assert_int_equal(st.st_mtim.tv_nsec, 2000);
        assert_int_equal(st.st_uid, files_uid());
}

static void test_file(void **state)
{
        struct files *f = *state;
        struct file_copied copied;
        unsigned n_open = files_n_open();

        files_put(f, "in/a", "content");
        assert_int_equal(chmod(files_at(f, "in/a"), 0751), 0);
        set_times(f, "in/a", 1000);
        assert_int_equal(COPY("a", "b"), 0);
        assert_int_equal(copied.n_entries, 1);
        assert_int_equal(copied.size, 7);
        files_check(f, "in/b", "content");
        assert_int_equal(files_mode(f, "in/b"), 0751);
        check_time(f, "in/b", 1000);
        files_put(f, "in/c", "old");
        assert_int_equal(COPY("a", "c"), FILES_E_EXISTS);
        assert_string_equal(f->err.message, "File already exists: c");
        assert_int_equal(COPY("a", "c", .overwrite = true), 0);
        files_check(f, "in/c", "content");
        assert_int_equal(COPY("a", "x/y/z"), FILES_E_NO_DIRECTORY);
        assert_int_equal(COPY("a", "x/y/z", .make_parents = true), 0);
        files_check(f, "in/x/y/z", "content");
        assert_int_equal(COPY("a", "x", .overwrite = true), FILES_E_IS_DIRECTORY);
        assert_int_equal(COPY("a", "a", .overwrite = true), FILES_E_INVALID);
        assert_int_equal(COPY("a", "./x/../a", .overwrite = true), FILES_E_INVALID);
        assert_int_equal(COPY("absent", "b", .overwrite = true), FILES_E_NOT_FOUND);
        files_link(f, "a", "in/link");
        assert_int_equal(COPY("link", "followed"), 0);
        assert_int_equal(files_mode(f, "in/followed"), 0751);
        files_link(f, "../also/through", "in/out-link");
        assert_int_equal(COPY("a", "out-link"), 0);
        files_check(f, "also/through", "content");
        assert_int_equal(files_count(f, "in"), 7);
        assert_int_equal(files_n_open(), n_open);
}

/* Others' set-user-ID bits are not taken along. */
static void test_set_user_id(void **state)
{
        struct files *f = *state;
        struct file_copied copied;

        files_put(f, "in/mine", "x");
        assert_int_equal(chmod(files_at(f, "in/mine"), 04755), 0);
        assert_int_equal(COPY("mine", "copy"), 0);
        assert_int_equal(files_mode(f, "in/copy"), 04755);
        if (geteuid() != 0)
                return;
        files_put(f, "in/theirs", "x");
        assert_int_equal(chown(files_at(f, "in/theirs"), 1234, 1234), 0);
        assert_int_equal(chmod(files_at(f, "in/theirs"), 04755), 0);
        assert_int_equal(COPY("theirs", "second"), 0);
        assert_int_equal(files_mode(f, "in/second"), 0755);
}

static void make_tree(struct files *f)
{
        files_mkdir(f, "in/tree");
        files_mkdir(f, "in/tree/sub");
        files_put(f, "in/tree/sub/file", "content");
        files_put(f, "in/tree/empty", "");
        files_link(f, "../../out/secret", "in/tree/link");
        files_link(f, "sub", "in/tree/directory-link");
        assert_int_equal(mkfifo(files_at(f, "in/tree/fifo"), 0600), 0);
        files_put(f, "in/tree/.vm-agent-tmp-0123456789abcdef01234567", "unfinished");
        assert_int_equal(chmod(files_at(f, "in/tree/sub"), 0510), 0);
        set_times(f, "in/tree/sub/file", 1000);
        set_times(f, "in/tree/sub", 2000);
        set_times(f, "in/tree/link", 3000);
        set_times(f, "in/tree", 4000);
}

static void check_tree(struct files *f, const char *name)
{
        char path[256], target[64];
        ssize_t n;

#define BELOW(s) (snprintf(path, sizeof(path), "%s/%s", name, s), path)
        files_check(f, BELOW("sub/file"), "content");
        files_check(f, BELOW("empty"), "");
        assert_int_equal(files_mode(f, BELOW("sub")), 0510);
        check_time(f, BELOW("sub/file"), 1000);
        check_time(f, BELOW("sub"), 2000);
        check_time(f, BELOW("link"), 3000);
        check_time(f, name, 4000);
        n = readlink(files_at(f, BELOW("link")), target, sizeof(target));
        assert_int_equal(n, strlen("../../out/secret"));
        assert_true(files_is_there(f, BELOW("directory-link")));
#undef BELOW
}

static void test_tree(void **state)
{
        struct files *f = *state;
        struct file_copied copied;
        unsigned n_open = files_n_open();

        make_tree(f);
        assert_int_equal(COPY("tree", "copy"), 0);
        assert_int_equal(copied.n_entries, 6);
        assert_int_equal(copied.n_skipped, 1);
        assert_int_equal(copied.size, 7);
        check_tree(f, "in/copy");
        assert_int_equal(files_count(f, "in/copy"), 4);
        assert_int_equal(COPY("tree", "copy"), FILES_E_EXISTS);
        assert_int_equal(COPY("tree", "copy", .overwrite = true), FILES_E_NOT_EMPTY);
        files_mkdir(f, "in/empty");
        assert_int_equal(COPY("tree", "empty"), FILES_E_EXISTS);
        assert_int_equal(COPY("tree", "empty", .overwrite = true), 0);
        check_tree(f, "in/empty");
        files_put(f, "in/file", "x");
        assert_int_equal(COPY("tree", "file", .overwrite = true), FILES_E_NOT_DIRECTORY);
        assert_int_equal(COPY("tree", "tree/sub/x"), FILES_E_INVALID);
        assert_int_equal(COPY("tree", "tree", .overwrite = true), FILES_E_INVALID);
        assert_int_equal(COPY(".", "tree/x"), FILES_E_INVALID);
        files_link(f, "tree/sub", "in/into");
        assert_int_equal(COPY("tree", "into/x"), FILES_E_INVALID);
        assert_int_equal(files_count(f, "in"), 5);
        assert_int_equal(files_n_open(), n_open);
}

static void test_deep(void **state)
{
        enum { DEPTH = 1000 };
        struct files *f = *state;
        struct file_copied copied;
        int fd;

        files_mkdir(f, "in/deep");
        fd = open(files_at(f, "in/deep"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        for (unsigned i = 0; i < DEPTH; i++) {
                int next;

                assert_int_equal(mkdirat(fd, "directory", 0755), 0);
                close(openat(fd, "file", O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
                next = openat(fd, "directory", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                close(fd);
                fd = next;
        }
        close(fd);
        assert_int_equal(COPY("deep", "copy"), 0);
        assert_int_equal(copied.n_entries, 2 * DEPTH + 1);
}

/* A failure in the middle leaves nothing, not even what cannot be removed just so. */
static void test_failure(void **state)
{
        struct files *f = *state;
        struct file_copied copied;
        atomic_bool cancel = true;

        make_tree(f);
        assert_int_equal(COPY("tree", "copy", .cancel = &cancel), FILES_E_CANCELLED);
        assert_int_equal(COPY("tree/sub/file", "copy", .cancel = &cancel), FILES_E_CANCELLED);
        assert_int_equal(files_count(f, "in"), 1);
        if (!files_variant.is_user)
                return;
        files_mkdir(f, "in/tree/zzz");
        files_put(f, "in/tree/zzz/private", "x");
        assert_int_equal(chmod(files_at(f, "in/tree/zzz/private"), 0), 0);
        assert_int_equal(COPY("tree", "copy"), FILES_E_DENIED);
        assert_int_equal(files_count(f, "in"), 1);
}

/* Holes stay holes. */
static void test_sparse(void **state)
{
        enum { SIZE = 100000000 };
        struct files *f = *state;
        struct file_copied copied;
        struct stat before, after;
        char data[4] = "";
        int fd = open(files_at(f, "in/sparse"), O_RDWR | O_CREAT | O_CLOEXEC, 0644);

        assert_int_equal(pwrite(fd, "one", 3, 0), 3);
        assert_int_equal(pwrite(fd, "two", 3, SIZE / 2), 3);
        assert_int_equal(ftruncate(fd, SIZE), 0);
        assert_int_equal(fstat(fd, &before), 0);
        close(fd);
        files_own(files_at(f, "in/sparse"));
        assert_int_equal(COPY("sparse", "copy"), 0);
        assert_int_equal(copied.size, SIZE);
        fd = open(files_at(f, "in/copy"), O_RDONLY | O_CLOEXEC);
        assert_int_equal(fstat(fd, &after), 0);
        assert_int_equal(after.st_size, SIZE);
        assert_true(after.st_blocks <= before.st_blocks + 64);
        assert_int_equal(pread(fd, data, 3, SIZE / 2), 3);
        assert_string_equal(data, "two");
        assert_int_equal(pread(fd, data, 3, 0), 3);
        assert_string_equal(data, "one");
        close(fd);
}

static void test_move(void **state)
{
        struct files *f = *state;
        struct file_copied copied;

        files_put(f, "in/a", "a");
        files_put(f, "in/b", "b");
        assert_int_equal(MOVE("a", "b"), FILES_E_EXISTS);
        files_check(f, "in/a", "a");
        assert_int_equal(MOVE("a", "c"), 0);
        assert_true(copied.is_renamed);
        files_check(f, "in/c", "a");
        assert_int_equal(MOVE("a", "d"), FILES_E_NOT_FOUND);
        assert_string_equal(f->err.message, "File not found: a");
        assert_int_equal(MOVE("b", "c", .overwrite = true), 0);
        files_check(f, "in/c", "b");
        assert_int_equal(MOVE("c", "x/y"), FILES_E_NO_DIRECTORY);
        assert_int_equal(MOVE("c", files_at(f, "also/x/y"), .make_parents = true), 0);
        files_check(f, "also/x/y", "b");

        files_link(f, "../out", "in/link");
        assert_int_equal(MOVE("link", "renamed"), 0);
        assert_true(files_is_there(f, "in/renamed"));
        assert_int_equal(mkfifo(files_at(f, "in/fifo"), 0600), 0);
        assert_int_equal(MOVE("fifo", "pipe"), 0);
        make_tree(f);
        assert_int_equal(MOVE("tree", "tree/sub/x"), FILES_E_INVALID);
        assert_int_equal(MOVE("tree", "tree"), FILES_E_EXISTS);
        assert_int_equal(MOVE("tree", "tree", .overwrite = true), 0);
        assert_int_equal(MOVE("tree", "pipe", .overwrite = true), FILES_E_NOT_DIRECTORY);
        assert_int_equal(MOVE("pipe", "tree", .overwrite = true), FILES_E_IS_DIRECTORY);
        files_mkdir(f, "in/full");
        files_put(f, "in/full/x", "");
        assert_int_equal(MOVE("tree", "full"), FILES_E_EXISTS);
        assert_int_equal(MOVE("tree", "full", .overwrite = true), FILES_E_NOT_EMPTY);
        assert_int_equal(unlink(files_at(f, "in/full/x")), 0);
        assert_int_equal(MOVE("tree", "full/", .overwrite = true), 0);
        check_tree(f, "in/full");
        assert_int_equal(files_count(f, "in"), 3);
}

/* A file has one name or the other, also where it is for links to see that nothing is replaced. */
static void test_plain_move(void **state)
{
        bool is_root = !files_variant.is_user && geteuid() == 0;
        struct files *f = *state;
        struct file_copied copied;

        files_put(f, "in/a", "a");
        files_put(f, "in/b", "b");
        files_mkdir(f, "in/closed");
        files_put(f, "in/closed/c", "c");
        assert_int_equal(chmod(files_at(f, "in/closed"), 0555), 0);
        is_plain = true;
        assert_int_equal(MOVE("a", "b"), FILES_E_EXISTS);
        assert_int_equal(MOVE("a", "d"), 0);
        assert_int_equal(MOVE("closed/c", "e"), is_root ? 0 : FILES_E_DENIED);
        is_plain = false;
        assert_int_equal(chmod(files_at(f, "in/closed"), 0755), 0);
        files_check(f, "in/b", "b");
        files_check(f, "in/d", "a");
        assert_true(!files_is_there(f, "in/a"));
        assert_int_equal(files_is_there(f, "in/e"), is_root);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                FILES_TEST(test_file),    FILES_TEST(test_set_user_id),
                FILES_TEST(test_tree),    FILES_TEST_ONCE(test_deep),
                FILES_TEST(test_failure), FILES_TEST_ONCE(test_sparse),
                FILES_TEST(test_move),    FILES_TEST(test_plain_move),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
