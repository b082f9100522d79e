/* SPDX-License-Identifier: Apache-2.0 */

#include "tests/unit/files_fixture.h"

#include <sys/wait.h>
#include <time.h>

#include "agent/files/cached.h"
#include "agent/files/place.h"
#include "tests/lib/skip.h"

#define MAX_SIZE 1000

/* Reading "in/name", as a client calls it @path; what was read is in @content. */
struct reading {
        struct buf content;
        struct stat st;
};

static int read_it(const struct files *f, const char *path, struct reading *r)
{
        unsigned n_open = files_n_open();
        int ret;

        *r = (struct reading){ .content = { .data = NULL } };
        ret = cached_read(f->roots, path, MAX_SIZE, &r->content, &r->st);
        assert_int_equal(files_n_open(), n_open);
        assert_int_equal(setfsuid((uid_t)-1), (int)geteuid());
        if (ret < 0)
                assert_null(r->content.data);
        return ret;
}

static int try_it(const struct files *f, const char *path)
{
        struct reading r;
        int ret = read_it(f, path, &r);

        buf_done(&r.content);
        return ret;
}

static struct cached_mount look_at(const struct files *f, const char *name)
{
        struct cached_mount m;
        int fd = open(files_at(f, name), O_RDONLY | O_CLOEXEC);

        assert_true(fd >= 0);
        cached_look(fd, &m);
        close(fd);
        return m;
}

/* Makes sure that nothing but @f's files decides: they are known to be in memory, and no time is due. False: the file
 * system of the tests is one that is left out. */
static bool prepare(const struct files *f)
{
        struct cached_mount m;

        files_put(f, "in/file", "content");
        m = look_at(f, "in/file");
        m.keeps_times = true;
        cached_remember(&m);
        return m.kind != CACHED_NEVER;
}

/* Where there is no openat2, nothing is read. */
static int expected(const struct files *f, int with_openat2)
{
        return f->roots->has_openat2 ? with_openat2 : -EAGAIN;
}

/* As if it had been followed before: otherwise the time of that has to be written, and a worker does it. */
static void follow(const struct files *f, const char *name)
{
        const struct timespec times[2] = { { .tv_sec = time(NULL) + 3600 },
                                           { .tv_nsec = UTIME_OMIT } };

        assert_int_equal(utimensat(AT_FDCWD, files_at(f, name), times, AT_SYMLINK_NOFOLLOW), 0);
}

static void test_reads(void **state)
{
        struct files *f = *state;
        struct reading r;
        struct stat st;

        if (!prepare(f))
                SKIP_TEST("not a file system whose files are read at once");
        assert_int_equal(read_it(f, "file", &r), expected(f, 0));
        if (!f->roots->has_openat2)
                return;
        assert_int_equal(r.content.size, 7);
        assert_string_equal(r.content.data, "content");
        assert_int_equal(stat(files_at(f, "in/file"), &st), 0);
        assert_int_equal(r.st.st_ino, st.st_ino);
        assert_int_equal(r.st.st_size, 7);
        assert_int_equal(r.st.st_mtim.tv_nsec, st.st_mtim.tv_nsec);
        buf_done(&r.content);

        assert_int_equal(try_it(f, files_at(f, "in/file")), 0);
        files_put(f, "also/other", "x");
        files_link(f, "../also/other", "in/link");
        follow(f, "in/link");
        assert_int_equal(try_it(f, "link"), 0);
        files_put(f, "in/empty", "");
        assert_int_equal(read_it(f, "empty", &r), 0);
        assert_int_equal(r.content.size, 0);
        buf_done(&r.content);
}

static void test_leaves_the_rest_to_others(void **state)
{
        struct files *f = *state;
        char large[MAX_SIZE + 2];

        if (!prepare(f))
                SKIP_TEST("not a file system whose files are read at once");
        memset(large, 'x', MAX_SIZE + 1);
        large[MAX_SIZE + 1] = '\0';
        files_put(f, "in/large", large);
        assert_int_equal(try_it(f, "large"), -EAGAIN);
        large[MAX_SIZE] = '\0';
        files_put(f, "in/large", large);
        assert_int_equal(try_it(f, "large"), expected(f, 0));

        files_mkdir(f, "in/directory");
        assert_int_equal(mkfifo(files_at(f, "in/fifo"), 0666), 0);
        files_link(f, "../out/secret", "in/leak");
        files_link(f, "loop", "in/loop");
        assert_int_equal(try_it(f, "missing"), -EAGAIN);
        assert_int_equal(try_it(f, "directory"), -EAGAIN);
        assert_int_equal(try_it(f, "fifo"), -EAGAIN);
        assert_int_equal(try_it(f, "leak"), -EAGAIN);
        assert_int_equal(try_it(f, "loop"), -EAGAIN);
        assert_int_equal(try_it(f, "file/"), -EAGAIN);
        assert_int_equal(try_it(f, ""), -EAGAIN);
        assert_int_equal(try_it(f, files_at(f, "out/secret")), -EAGAIN);
        assert_int_equal(try_it(f, "/proc/self/status"), -EAGAIN);
}

static void test_rights(void **state)
{
        struct files *f = *state;

        if (!prepare(f) || !files_variant.is_user)
                SKIP_TEST("the same for the agent itself");
        assert_int_equal(chown(files_at(f, "in/file"), 0, 0), 0);
        assert_int_equal(chmod(files_at(f, "in/file"), 0600), 0);
        assert_int_equal(try_it(f, "file"), -EAGAIN);
        assert_int_equal(chmod(files_at(f, "in/file"), 0604), 0);
        assert_int_equal(try_it(f, "file"), expected(f, 0));
        assert_int_equal(chown(files_at(f, "in"), 0, 0), 0);
        assert_int_equal(chmod(files_at(f, "in"), 0700), 0);
        assert_int_equal(try_it(f, "file"), -EAGAIN);
}

/* What is on the disk alone is not waited for. */
static void test_cold(void **state)
{
        struct files *f = *state;
        int fd;

        if (!prepare(f) || look_at(f, "in/file").kind != CACHED_PAGES)
                SKIP_TEST("not a file system whose pages can be asked for");
        assert_int_equal(try_it(f, "file"), expected(f, 0));
        fd = open(files_at(f, "in/file"), O_RDONLY | O_CLOEXEC);
        assert_true(fd >= 0);
        assert_int_equal(fsync(fd), 0);
        assert_int_equal(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
        close(fd);
        assert_int_equal(try_it(f, "file"), -EAGAIN);
        files_check(f, "in/file", "content");
        assert_int_equal(try_it(f, "file"), expected(f, 0));
}

static void set_times(const struct files *f, time_t accessed, time_t modified)
{
        const struct timespec times[2] = { { .tv_sec = accessed }, { .tv_sec = modified } };

        assert_int_equal(utimensat(AT_FDCWD, files_at(f, "in/file"), times, 0), 0);
}

/* A reading that the file system writes down is not for the loop. */
static void test_times(void **state)
{
        struct files *f = *state;
        time_t now = time(NULL);
        struct cached_mount m;

        if (!prepare(f))
                SKIP_TEST("not a file system whose files are read at once");
        m = look_at(f, "in/file");
        m.keeps_times = false;
        cached_remember(&m);

        set_times(f, now + 10, now - 100);
        assert_int_equal(try_it(f, "file"), expected(f, 0));
        set_times(f, now + 10, now + 10); /* changed since */
        assert_int_equal(try_it(f, "file"), -EAGAIN);
        set_times(f, now - 10, now - 100); /* the inode was changed since, by this */
        assert_int_equal(try_it(f, "file"), -EAGAIN);
        m.keeps_times = true;
        cached_remember(&m);
        assert_int_equal(try_it(f, "file"), expected(f, 0));
}

static void test_mounts(void **state)
{
        struct files *f = *state;
        struct cached_mount m;
        bool is_suitable = prepare(f);

        m = look_at(f, "in/file");
        assert_true(m.id != 0);
        m.kind = CACHED_NEVER;
        cached_remember(&m);
        assert_int_equal(try_it(f, "file"), -EAGAIN);

        /* Others take its place, and then it is not known any more. */
        for (unsigned i = 1; i <= 16; i++)
                cached_remember(&(struct cached_mount){ .id = m.id + i, .device = m.device });
        assert_int_equal(try_it(f, "file"), expected(f, -ENODEV));
        cached_remember(&(struct cached_mount){ .id = 0 });
        assert_int_equal(try_it(f, "file"), expected(f, -ENODEV));
        /* What is not allowed does not even say so. */
        assert_int_equal(try_it(f, files_at(f, "out/secret")), -EAGAIN);

        m = look_at(f, "in/file");
        m.keeps_times = true;
        cached_remember(&m);
        assert_int_equal(try_it(f, "file"), is_suitable ? expected(f, 0) : -EAGAIN);
        /* The same device, mounted elsewhere as something else. */
        m.device++;
        m.kind = CACHED_NEVER;
        cached_remember(&m);
        assert_int_equal(try_it(f, "file"), is_suitable ? expected(f, 0) : -EAGAIN);
}

static void test_looks(void **state)
{
        struct cached_mount m = { .id = 1 };
        int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);

        (void)state;
        cached_look(fd, &m);
        assert_int_equal(m.kind, CACHED_NEVER);
        close(fd);
        m.id = 1;
        cached_look(-1, &m);
        assert_int_equal(m.id, 0);
}

/* A child has other descriptors than its parent, and has to find its own. */
static void test_child(void **state)
{
        struct files *f = *state;
        char in[PATH_MAX], also[PATH_MAX];
        int status = -1, fd = open(files_at(f, "in"), O_PATH | O_CLOEXEC);
        pid_t pid;

        assert_true(fd >= 0);
        assert_true(place_where(fd, in) > 0);
        assert_string_equal(in, files_at(f, "in"));
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                int r, other = open(files_at(f, "also"), O_PATH | O_CLOEXEC);

                r = dup2(other, fd) == fd ? place_where(fd, also) : -1;
                _exit(r > 4 && strcmp(also + r - 4, "also") == 0 ? 0 : 1);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
        close(fd);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                FILES_TEST(test_reads),      FILES_TEST(test_leaves_the_rest_to_others),
                FILES_TEST(test_rights),     FILES_TEST_ONCE(test_cold),
                FILES_TEST_ONCE(test_times), FILES_TEST(test_mounts),
                FILES_TEST_ONCE(test_child), cmocka_unit_test(test_looks),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
