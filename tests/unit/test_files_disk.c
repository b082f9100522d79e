/* SPDX-License-Identifier: Apache-2.0 */

/* Disks that are full, read-only, or somebody else's: what was there stays whole, and nothing is left behind. Each
 * test has a process of its own with a small disk in its workspace. */

#include "tests/unit/files_fixture.h"

#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "agent/files/copy.h"
#include "agent/files/move.h"
#include "agent/files/read.h"
#include "agent/files/remove.h"
#include "agent/files/write.h"
#include "tests/lib/skip.h"
#include "tests/unit/keeper_mount.h"

#define NO_MOUNT 77
#define LARGE    (512 * 1024)

/* In the child an assertion of cmocka's would end in the parent's test. */
#define EXPECT(condition)                                                                 \
        do {                                                                              \
                if (!(condition)) {                                                       \
                        fprintf(stderr, "%s:%d: not true: %s (%s)\n", __FILE__, __LINE__, \
                                #condition, f->err.message);                              \
                        _exit(1);                                                         \
                }                                                                         \
        } while (0)

static const struct file_write_options over = { .mode = FILE_MODE_KEEP, .overwrite = true };

/* Runs @body with "in/disk" a disk of 256 KiB. */
static void with_disk(struct files *f, void (*body)(struct files *f))
{
        pid_t pid;
        int status;

        files_mkdir(f, "in/disk");
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                if (!keeper_mount_disk(files_at(f, "in/disk"), "256k"))
                        _exit(NO_MOUNT);
                files_own(files_at(f, "in/disk"));
                body(f);
                _exit(0);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        if (WEXITSTATUS(status) == NO_MOUNT)
                SKIP_TEST("nothing can be mounted here");
        assert_int_equal(WEXITSTATUS(status), 0);
}

static char *large_text(void)
{
        char *text = xcalloc(LARGE + 1, 1);

        memset(text, 'x', LARGE);
        return text;
}

static bool has(struct files *f, const char *name, const char *content)
{
        struct error err = ERROR_INIT;
        struct buf b;
        bool same;

        buf_init(&b, 0);
        same = fd_read_file(files_at(f, name), LARGE, &b, &err) == 0 && b.size == strlen(content) &&
               memcmp(b.data ? b.data : "", content, b.size) == 0;
        buf_done(&b);
        return same;
}

static void write_full(struct files *f)
{
        struct file_write_options append = { .mode = FILE_MODE_KEEP, .append = true };
        char *text = large_text();

        files_put(f, "in/disk/old", "old content");
        EXPECT(file_write(f->roots, "disk/old", text, LARGE, &over, NULL, &f->err) ==
               FILES_E_NO_SPACE);
        EXPECT(strcmp(f->err.message, "No space left on the device: disk/old") == 0);
        EXPECT(has(f, "in/disk/old", "old content"));
        EXPECT(file_write(f->roots, "disk/new", text, LARGE, &over, NULL, &f->err) ==
               FILES_E_NO_SPACE);
        EXPECT(file_write(f->roots, "disk/old", text, LARGE, &append, NULL, &f->err) ==
               FILES_E_NO_SPACE);
        EXPECT(has(f, "in/disk/old", "old content"));
        EXPECT(file_write(f->roots, "disk/new", text, LARGE, &append, NULL, &f->err) ==
               FILES_E_NO_SPACE);
        EXPECT(files_count(f, "in/disk") == 1);
        EXPECT(file_write(f->roots, "disk/old", "new", 3, &over, NULL, &f->err) == 0);
        EXPECT(has(f, "in/disk/old", "new"));
}

static void copy_full(struct files *f)
{
        struct file_copy_options o = { .overwrite = true };
        struct file_copied copied;
        char *text = large_text();
        int r;

        files_mkdir(f, "in/tree");
        files_mkdir(f, "in/tree/fixed");
        files_put(f, "in/tree/fixed/small", "x");
        files_put(f, "in/tree/large", text);
        EXPECT(chmod(files_at(f, "in/tree/fixed"), 0555) == 0);
        files_put(f, "in/disk/old", "old content");
        EXPECT(file_copy(f->roots, "tree/large", "disk/old", &o, &copied, &f->err) ==
               FILES_E_NO_SPACE);
        EXPECT(file_copy(f->roots, "tree", "disk/tree", &o, &copied, &f->err) == FILES_E_NO_SPACE);
        /* What could not be removed afterwards is not copied first. */
        r = file_move(f->roots, "tree", "disk/tree", &o, &copied, &f->err);
        EXPECT(r == (files_uid() == 0 ? FILES_E_NO_SPACE : FILES_E_DENIED));
        EXPECT(chmod(files_at(f, "in/tree/fixed"), 0755) == 0);
        EXPECT(file_move(f->roots, "tree", "disk/tree", &o, &copied, &f->err) == FILES_E_NO_SPACE);
        EXPECT(strcmp(f->err.message, "No space left on the device: disk/tree") == 0);
        EXPECT(has(f, "in/disk/old", "old content"));
        EXPECT(files_count(f, "in/disk") == 1);
        EXPECT(files_count(f, "in/tree") == 2);
        /* Nor is what has no place there, whatever room there is. */
        files_mkdir(f, "in/disk/full");
        files_put(f, "in/disk/full/x", "");
        EXPECT(file_copy(f->roots, "tree", "disk/full", &o, &copied, &f->err) == FILES_E_NOT_EMPTY);
        EXPECT(file_move(f->roots, "tree", "disk/full", &o, &copied, &f->err) == FILES_E_NOT_EMPTY);
        EXPECT(strstr(f->err.message, "disk/full"));
}

/* To another file system, and back. */
static void move_across(struct files *f)
{
        struct file_copy_options o = { .overwrite = false };
        struct file_copied copied;

        files_mkdir(f, "in/tree");
        files_put(f, "in/tree/file", "content");
        files_link(f, "file", "in/tree/link");
        files_link(f, "nowhere", "in/link");
        EXPECT(file_move(f->roots, "tree", "disk/tree", &o, &copied, &f->err) == 0);
        EXPECT(!copied.is_renamed && copied.n_entries == 3 && copied.size == 7);
        EXPECT(!files_is_there(f, "in/tree"));
        EXPECT(has(f, "in/disk/tree/file", "content"));
        EXPECT(file_move(f->roots, "link", "disk/link", &o, &copied, &f->err) == 0);
        EXPECT(!files_is_there(f, "in/link") && files_is_there(f, "in/disk/link"));
        EXPECT(file_move(f->roots, "disk/tree", "tree", &o, &copied, &f->err) == 0);
        EXPECT(has(f, "in/tree/file", "content"));
        files_put(f, "in/disk/file", "there");
        EXPECT(file_move(f->roots, "tree/file", "disk/file", &o, &copied, &f->err) ==
               FILES_E_EXISTS);
        EXPECT(has(f, "in/disk/file", "there") && has(f, "in/tree/file", "content"));
        o.overwrite = true;
        EXPECT(file_move(f->roots, "tree/file", "disk/file", &o, &copied, &f->err) == 0);
        EXPECT(has(f, "in/disk/file", "content") && !files_is_there(f, "in/tree/file"));
        EXPECT(file_move(f->roots, "tree", "disk/file", &o, &copied, &f->err) ==
               FILES_E_NOT_DIRECTORY);
        EXPECT(mkfifo(files_at(f, "in/fifo"), 0600) == 0);
        EXPECT(file_move(f->roots, "fifo", "disk/fifo", &o, &copied, &f->err) == FILES_E_SPECIAL);
        EXPECT(files_count(f, "in/disk") == 2);
}

/* What is mounted in a tree is not emptied, and not left behind half moved: also if it is the same file system. */
static void mounted(struct files *f)
{
        struct file_remove_options tree = { .is_recursive = true };
        struct file_copy_options o = { .overwrite = true };
        struct file_copied copied;
        uint64_t n;

        files_mkdir(f, "in/tree");
        files_mkdir(f, "in/tree/bound");
        files_put(f, "in/tree/file", "x");
        files_mkdir(f, "in/precious");
        files_put(f, "in/precious/file", "x");
        EXPECT(mount(files_at(f, "in/precious"), files_at(f, "in/tree/bound"), NULL, MS_BIND,
                     NULL) == 0);
        files_put(f, "in/disk/file", "x");
        EXPECT(file_move(f->roots, "tree", "disk/tree", &o, &copied, &f->err) == FILES_E_BUSY);
        EXPECT(has(f, "in/tree/file", "x"));
        EXPECT(files_count(f, "in/disk") == 1);
        EXPECT(file_remove(f->roots, "tree", &tree, &n, &f->err) == FILES_E_BUSY);
        EXPECT(has(f, "in/precious/file", "x"));
        EXPECT(file_remove(f->roots, "disk", &tree, &n, &f->err) == FILES_E_BUSY);
        EXPECT(has(f, "in/disk/file", "x"));
        EXPECT(umount(files_at(f, "in/tree/bound")) == 0);
        EXPECT(file_remove(f->roots, "tree", &tree, &n, &f->err) == 0);
}

static void read_only(struct files *f)
{
        struct file_write_options append = { .mode = FILE_MODE_KEEP, .append = true };
        struct file_remove_options tree = { .is_recursive = true };
        struct file_copy_options o = { .overwrite = true };
        struct file_copied copied;
        struct file_part part;

        files_put(f, "in/file", "x");
        files_put(f, "in/disk/old", "old content");
        EXPECT(mount(NULL, files_at(f, "in/disk"), NULL, MS_REMOUNT | MS_RDONLY, NULL) == 0);
        EXPECT(file_write(f->roots, "disk/old", "x", 1, &over, NULL, &f->err) == FILES_E_READ_ONLY);
        EXPECT(file_write(f->roots, "disk/old", "x", 1, &append, NULL, &f->err) ==
               FILES_E_READ_ONLY);
        EXPECT(file_write(f->roots, "disk/new", "x", 1, &over, NULL, &f->err) == FILES_E_READ_ONLY);
        EXPECT(strcmp(f->err.message, "Read-only file system: disk/new") == 0);
        EXPECT(file_remove(f->roots, "disk/old", &tree, NULL, &f->err) == FILES_E_READ_ONLY);
        EXPECT(file_copy(f->roots, "file", "disk/new", &o, &copied, &f->err) == FILES_E_READ_ONLY);
        EXPECT(strcmp(f->err.message, "Read-only file system: disk/new") == 0);
        EXPECT(file_move(f->roots, "file", "disk/new", &o, &copied, &f->err) == FILES_E_READ_ONLY);
        EXPECT(file_read(f->roots, "disk/old", &(struct file_read_options){ .max = 100 }, &part,
                         &f->err) == 0);
        EXPECT(has(f, "in/disk/old", "old content"));
        EXPECT(has(f, "in/file", "x"));
}

/* With no descriptor left, with one, with two ...: each operation fails with a clear word, or works. */
static void few_descriptors(struct files *f)
{
        struct file_remove_options tree = { .is_recursive = true };
        struct file_copy_options o = { .overwrite = true };
        struct file_read_options all = { .max = 100 };
        struct file_copied copied;
        struct file_part part;
        unsigned n_open = files_n_open();
        bool worked = false;

        files_mkdir(f, "in/tree");
        files_mkdir(f, "in/tree/a");
        files_put(f, "in/tree/a/file", "content");
        files_put(f, "in/old", "old");
        for (rlim_t n = 3; n < 20; n++) {
                struct rlimit limit = { n, 100 };
                int r[4];

                EXPECT(setrlimit(RLIMIT_NOFILE, &limit) == 0);
                r[0] = file_read(f->roots, "tree/a/file", &all, &part, &f->err);
                if (r[0] == 0)
                        file_part_done(&part);
                r[1] = file_write(f->roots, "old", "new", 3, &over, NULL, &f->err);
                r[2] = file_copy(f->roots, "tree", "copy", &o, &copied, &f->err);
                r[3] = r[2] == 0 ? file_remove(f->roots, "copy", &tree, NULL, &f->err) : 0;
                limit.rlim_cur = 100;
                EXPECT(setrlimit(RLIMIT_NOFILE, &limit) == 0);
                worked = true;
                for (unsigned i = 0; i < 4; i++) {
                        EXPECT(r[i] == 0 || r[i] == FILES_E_TOO_MANY_FILES);
                        worked &= r[i] == 0;
                }
                EXPECT(has(f, "in/old", r[1] == 0 ? "new" : "old"));
                files_put(f, "in/old", "old");
                EXPECT(file_remove(f->roots, "copy", &tree, NULL, &f->err) != FILES_E_DENIED);
                EXPECT(files_count(f, "in") == 3); /* no litter */
                EXPECT(files_n_open() == n_open);
        }
        EXPECT(worked);
}

static void test_write_full(void **state)
{
        with_disk(*state, write_full);
}

static void test_copy_full(void **state)
{
        with_disk(*state, copy_full);
}

static void test_move_across(void **state)
{
        with_disk(*state, move_across);
}

static void test_mounted(void **state)
{
        with_disk(*state, mounted);
}

static void test_read_only(void **state)
{
        with_disk(*state, read_only);
}

static void test_few_descriptors(void **state)
{
        with_disk(*state, few_descriptors);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                FILES_TEST(test_write_full),  FILES_TEST(test_copy_full),
                FILES_TEST(test_move_across), FILES_TEST(test_mounted),
                FILES_TEST(test_read_only),   FILES_TEST(test_few_descriptors),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
