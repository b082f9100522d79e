/* SPDX-License-Identifier: Apache-2.0 */

/* Ways out of the allowed directories. */

#include "tests/unit/files_fixture.h"

#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>

#include "agent/files/copy.h"
#include "agent/files/directory.h"
#include "agent/files/glob.h"
#include "agent/files/info.h"
#include "agent/files/list.h"
#include "agent/files/move.h"
#include "agent/files/read.h"
#include "agent/files/remove.h"
#include "agent/files/write.h"
#include "tests/lib/skip.h"

static const struct file_read_options whole = { .max = 1000000 };
static const struct file_write_options plain = { .mode = FILE_MODE_KEEP,
                                                 .overwrite = true,
                                                 .make_parents = true };
static const struct file_remove_options tree = { .is_recursive = true };
static const struct file_copy_options over = { .overwrite = true, .make_parents = true };

static int read_text(struct files *f, const char *path, char dst[64])
{
        struct file_part part;
        int r = file_read(f->roots, path, &whole, &part, &f->err);

        if (r == 0) {
                snprintf(dst, 64, "%s", part.content.size ? part.content.data : "");
                file_part_done(&part);
        }
        return r;
}

static int on_batch(void *data, const struct list_entry *entries, size_t n)
{
        (void)data;
        (void)entries;
        (void)n;
        return 0;
}

static int list_it(struct files *f, const char *path)
{
        struct list_options o = { .on_batch = on_batch };
        struct list_result result;

        return directory_list(f->roots, path, &o, &result, &f->err);
}

/* Every verb that follows links, on a file that is outside (or claims to be). */
static void check_refused(struct files *f, const char *path, int wanted)
{
        char text[64];
        struct file_info info;
        struct file_copied copied;
        bool exists, is_directory;
        int fd = -1;

        assert_int_equal(read_text(f, path, text), wanted);
        assert_int_equal(file_open(f->roots, path, &fd, &info, &f->err), wanted);
        assert_int_equal(file_info(f->roots, path, true, &info, NULL, NULL, &f->err), wanted);
        assert_int_equal(file_exists(f->roots, path, &exists, &is_directory, &f->err), wanted);
        assert_int_equal(list_it(f, path), wanted);
        assert_int_equal(files_chmod(f, path, 0777), wanted);
        assert_int_equal(files_chown(f, path, files_uid(), (gid_t)-1), wanted);
        assert_int_equal(file_copy(f->roots, path, "copy", &over, &copied, &f->err), wanted);
        assert_int_equal(file_write(f->roots, path, "evil", 4, &plain, NULL, &f->err), wanted);
        assert_int_equal(file_write(f->roots, path, "evil", 4,
                                    &(struct file_write_options){ .append = true }, NULL, &f->err),
                         wanted);
        files_put(f, "in/source", "evil");
        assert_int_equal(file_copy(f->roots, "source", path, &over, &copied, &f->err), wanted);
        assert_non_null(strstr(f->err.message, "outside the allowed directories: "));
        files_check(f, "out/secret", "secret");
        assert_int_equal(files_count(f, "out"), 1);
        assert_int_equal(files_mode(f, "out/secret"), 0644);
        assert_false(files_is_there(f, "in/copy"));
}

static void test_table(void **state)
{
        struct files *f = *state;
        unsigned n_open = files_n_open();
        static const char *const paths[] = {
                "../out/secret",
                "sub/../../out/secret",
                "./.././//out/secret",
                "link",
                "link/",
                "relative",
                "chain",
                "directory/secret",
                "directory/../out/secret",
                "sub/up/out/secret",
                "twice/secret",
                "/etc/passwd",
                "/",
                "..",
                "/..",
                "/proc/self/root/etc/passwd",
                "/proc/self/environ",
                "/proc/self/cwd/x",
                "/dev/fd/0",
                "/dev/stdin",
                "/dev/null",
                "proc/root/etc/passwd",
                "proc/environ",
                "root/etc/passwd",
                "fd",
                "standard",
        };

        files_mkdir(f, "in/sub");
        files_link(f, files_at(f, "out/secret"), "in/link");
        files_link(f, "../out/secret", "in/relative");
        files_link(f, "relative", "in/chain");
        files_link(f, files_at(f, "out"), "in/directory");
        files_link(f, "../..", "in/sub/up");
        files_link(f, "directory", "in/twice");
        files_link(f, "/proc/self", "in/proc");
        files_link(f, "/proc/self/root", "in/root");
        files_link(f, "/dev/fd/0", "in/fd");
        files_link(f, "/dev/stdin", "in/standard");
        for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
                check_refused(f, paths[i], FILES_E_NOT_ALLOWED);
                check_refused(f, files_at(f, "out/secret"), FILES_E_NOT_ALLOWED);
        }
        assert_int_equal(files_n_open(), n_open);
}

/* What is not there is outside, too: nobody learns what exists. */
static void test_missing_outside(void **state)
{
        struct files *f = *state;

        files_link(f, files_at(f, "out/absent"), "in/dangling");
        files_link(f, files_at(f, "out"), "in/directory");
        files_link(f, "/root/absent/x", "in/hidden");
        check_refused(f, "../out/absent", FILES_E_NOT_ALLOWED);
        check_refused(f, "../out/absent/deep", FILES_E_NOT_ALLOWED);
        check_refused(f, "../out/secret/x", FILES_E_NOT_ALLOWED);
        check_refused(f, "../absent", FILES_E_NOT_ALLOWED);
        check_refused(f, "/absent", FILES_E_NOT_ALLOWED);
        check_refused(f, "/root/absent", FILES_E_NOT_ALLOWED);
        check_refused(f, "dangling", FILES_E_NOT_ALLOWED);
        check_refused(f, "hidden", FILES_E_NOT_ALLOWED);
        check_refused(f, "directory/absent", FILES_E_NOT_ALLOWED);
        check_refused(f, "directory/absent/../secret", FILES_E_NOT_ALLOWED);
        assert_int_equal(directory_make(f->roots, "directory/new", 0755, true, NULL, &f->err),
                         FILES_E_NOT_ALLOWED);
        assert_int_equal(directory_make(f->roots, "dangling", 0755, true, NULL, &f->err),
                         FILES_E_NOT_ALLOWED);
        assert_int_equal(directory_make(f->roots, "dangling/x", 0755, true, NULL, &f->err),
                         FILES_E_NOT_ALLOWED);
        assert_int_equal(files_count(f, "out"), 1);
}

/* Entries are removed and renamed themselves; their directory counts. */
static void test_entries(void **state)
{
        struct files *f = *state;
        struct file_copied moved;

        files_link(f, files_at(f, "out"), "in/directory");
        files_link(f, files_at(f, "out/secret"), "in/link");
        files_put(f, "in/file", "mine");
        assert_int_equal(file_remove(f->roots, "directory/secret", &tree, NULL, &f->err),
                         FILES_E_NOT_ALLOWED);
        assert_int_equal(file_remove(f->roots, "../out", &tree, NULL, &f->err),
                         FILES_E_NOT_ALLOWED);
        assert_int_equal(file_remove(f->roots, files_at(f, "in"), &tree, NULL, &f->err),
                         FILES_E_NOT_ALLOWED);
        assert_int_equal(file_remove(f->roots, ".", &tree, NULL, &f->err), FILES_E_NOT_ALLOWED);
        files_mkdir(f, "in/sub");
        assert_int_equal(file_remove(f->roots, "sub/..", &tree, NULL, &f->err), FILES_E_INVALID);
        assert_int_equal(file_remove(f->roots, "x/..", &tree, NULL, &f->err), FILES_E_NOT_FOUND);
        assert_int_equal(file_remove(f->roots, "/", &tree, NULL, &f->err), FILES_E_NOT_ALLOWED);
        assert_int_equal(file_move(f->roots, "file", "directory/file", &over, &moved, &f->err),
                         FILES_E_NOT_ALLOWED);
        assert_int_equal(file_move(f->roots, "file", "../file", &over, &moved, &f->err),
                         FILES_E_NOT_ALLOWED);
        assert_int_equal(file_move(f->roots, "directory/secret", "secret", &over, &moved, &f->err),
                         FILES_E_NOT_ALLOWED);
        assert_int_equal(file_move(f->roots, "file", "link", &over, &moved, &f->err), 0);
        files_check(f, "in/link", "mine");
        assert_int_equal(file_remove(f->roots, "directory", &tree, NULL, &f->err), 0);
        assert_false(files_is_there(f, "in/directory"));
        files_check(f, "out/secret", "secret");
        assert_int_equal(files_count(f, "out"), 1);
}

/* Links that stay inside, or lead from one allowed directory to another. */
static void test_allowed(void **state)
{
        struct files *f = *state;
        char text[64];

        files_put(f, "also/other", "other");
        files_link(f, files_at(f, "also/other"), "in/link");
        files_link(f, "../also", "in/directory");
        files_link(f, "../in/../also/./new", "in/dangling");
        assert_int_equal(read_text(f, "link", text), 0);
        assert_string_equal(text, "other");
        assert_int_equal(read_text(f, "directory/../in/link", text), 0);
        assert_int_equal(read_text(f, "directory//other", text), 0);
        assert_int_equal(file_write(f->roots, "link", "changed", 7, &plain, NULL, &f->err), 0);
        files_check(f, "also/other", "changed");
        assert_int_equal(files_mode(f, "in/link"), 0777); /* a link still */
        assert_int_equal(file_write(f->roots, "dangling", "new", 3, &plain, NULL, &f->err), 0);
        files_check(f, "also/new", "new");
        assert_int_equal(file_write(f->roots, "directory/a/b/c", "deep", 4, &plain, NULL, &f->err),
                         0);
        files_check(f, "also/a/b/c", "deep");
        assert_int_equal(list_it(f, "directory"), 0);
        assert_int_equal(list_it(f, "."), 0);
        assert_int_equal(directory_make(f->roots, "directory", 0700, true, NULL, &f->err), 0);
        assert_int_equal(files_mode(f, "also"), 0755);
}

static void test_loops(void **state)
{
        struct files *f = *state;
        char name[32], target[32], text[64];

        files_link(f, "b", "in/a");
        files_link(f, "a", "in/b");
        assert_int_equal(read_text(f, "a", text), FILES_E_LOOP);
        assert_int_equal(read_text(f, "a/x", text), FILES_E_LOOP);
        assert_int_equal(file_write(f->roots, "b", "", 0, &plain, NULL, &f->err), FILES_E_LOOP);
        files_put(f, "in/0", "end");
        for (unsigned i = 1; i <= 41; i++) {
                snprintf(name, sizeof(name), "in/%u", i);
                snprintf(target, sizeof(target), "%u", i - 1);
                files_link(f, target, name);
        }
        assert_int_equal(read_text(f, "40", text), 0);
        assert_int_equal(read_text(f, "41", text), FILES_E_LOOP);
        assert_int_equal(file_write(f->roots, "40", "new", 3, &plain, NULL, &f->err), 0);
        files_check(f, "in/0", "new");
        assert_int_equal(file_write(f->roots, "41", "new", 3, &plain, NULL, &f->err), FILES_E_LOOP);
}

static void test_names(void **state)
{
        struct files *f = *state;
        char name[300], *path, text[64];
        static const char *const odd[] = { "new\nline", "\xf0\x9f\x98\x80",
                                           " ",         "-rf",
                                           "a+b%20#?",  "\xff\xfe",
                                           "...",       "*",
                                           "tab\t",     "\"\\'" };

        for (size_t i = 0; i < ARRAY_LEN(odd); i++) {
                assert_int_equal(
                        file_write(f->roots, odd[i], odd[i], strlen(odd[i]), &plain, NULL, &f->err),
                        0);
                assert_int_equal(read_text(f, odd[i], text), 0);
                assert_string_equal(text, odd[i]);
                assert_int_equal(file_remove(f->roots, odd[i], &tree, NULL, &f->err), 0);
        }

        memset(name, 'x', sizeof(name));
        name[255] = '\0';
        assert_int_equal(file_write(f->roots, name, "long", 4, &plain, NULL, &f->err), 0);
        assert_int_equal(read_text(f, name, text), 0);
        name[255] = 'x';
        name[256] = '\0';
        assert_int_equal(file_write(f->roots, name, "long", 4, &plain, NULL, &f->err),
                         FILES_E_TOO_LONG);
        assert_int_equal(read_text(f, name, text), FILES_E_TOO_LONG);

        path = xcalloc(5000, 1);
        memset(path, '/', 4999);
        assert_int_equal(read_text(f, path, text), FILES_E_TOO_LONG);
        for (size_t i = 1; i < 4095; i += 2)
                path[i] = '.';
        path[4095] = '\0';
        assert_int_equal(read_text(f, path, text), FILES_E_NOT_ALLOWED);
        path[0] = '.';
        path[4090] = '\0'; /* with the workspace it is too long */
        assert_int_equal(read_text(f, path, text), FILES_E_TOO_LONG);
        free(path);

        assert_int_equal(read_text(f, "", text), FILES_E_INVALID);
        assert_int_equal(file_write(f->roots, "", "", 0, &plain, NULL, &f->err), FILES_E_INVALID);
}

/* Nothing waits, and nothing that is written to a device leaves a trace. */
static void test_special(void **state)
{
        struct files *f = *state;
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        struct file_info info;
        struct file_copied copied;
        char text[64];
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        static const char *const names[] = { "fifo", "socket", "link", "null" };
        size_t n = ARRAY_LEN(names);

        assert_int_equal(mkfifo(files_at(f, "in/fifo"), 0666), 0);
        files_own(files_at(f, "in/fifo"));
        snprintf(address.sun_path, sizeof(address.sun_path), "%s", files_at(f, "in/socket"));
        assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
        files_own(files_at(f, "in/socket"));
        files_link(f, "fifo", "in/link");
        if (mknod(files_at(f, "in/null"), S_IFCHR | 0666, makedev(1, 3)) < 0)
                n--;
        for (size_t i = 0; i < n; i++) {
                assert_int_equal(read_text(f, names[i], text), FILES_E_SPECIAL);
                assert_int_equal(file_write(f->roots, names[i], "x", 1, &plain, NULL, &f->err),
                                 FILES_E_SPECIAL);
                assert_int_equal(file_write(f->roots, names[i], "x", 1,
                                            &(struct file_write_options){ .append = true }, NULL,
                                            &f->err),
                                 FILES_E_SPECIAL);
                assert_int_equal(file_copy(f->roots, names[i], "x", &over, &copied, &f->err),
                                 FILES_E_SPECIAL);
                assert_int_equal(list_it(f, names[i]), FILES_E_NOT_DIRECTORY);
                assert_int_equal(file_info(f->roots, names[i], true, &info, NULL, NULL, &f->err),
                                 0);
                assert_int_equal(info.type, FILE_SPECIAL);
                assert_int_equal(file_remove(f->roots, names[n - 1 - i], &tree, NULL, &f->err), 0);
                if (i == 0)
                        assert_int_equal(mkfifo(files_at(f, "in/last"), 0666), 0);
                if (n - 1 - i <= i + 1)
                        break;
        }
        close(fd);
}

/* With "/" allowed the agent's own entry in /proc stays closed, and so do magic links of everybody. */
static void test_everything_allowed(void **state)
{
        struct files *f = *state;
        struct roots_config c = { .workspace = "/", .uid = files_uid(), .gid = files_uid() };
        struct roots *roots = NULL;
        char text[64], path[64];
        static const char *const closed[] = {
                "/proc/self/status",
                "/proc/self/environ",
                "/proc/self/root/etc/passwd",
                "/proc/self/mem",
                "/proc/thread-self/stat",
                "/proc/mounts",
                "/proc/1/root/etc",
                "/proc/1/cwd",
                "/dev/fd/0",
                "proc/self/../version",
        };

        assert_int_equal(roots_new(&c, &roots, &f->err), 0);
        roots->has_openat2 &= files_variant.has_openat2;
        roots_free(f->roots);
        f->roots = roots;
        for (size_t i = 0; i + 1 < ARRAY_LEN(closed); i++) {
                int r = read_text(f, closed[i], text);

                if (r != FILES_E_DENIED || strncmp(closed[i], "/proc/1/", 8) != 0)
                        assert_int_equal(r, FILES_E_NOT_ALLOWED);
        }
        snprintf(path, sizeof(path), "/proc/%d/status", (int)getpid());
        assert_int_equal(read_text(f, path, text), FILES_E_NOT_ALLOWED);
        snprintf(path, sizeof(path), "/proc/%d/task/%d/environ", (int)getpid(), (int)gettid());
        assert_int_equal(read_text(f, path, text), FILES_E_NOT_ALLOWED);

        /* A walk that begins above it does not get there, either. */
        {
                CLEANUP(glob_free) struct glob *glob = NULL;
                struct list_options o = { .is_recursive = true, .depth = 2, .on_batch = on_batch };
                struct list_result result;

                snprintf(path, sizeof(path), "%d/*", (int)getpid());
                assert_int_equal(glob_new(path, &glob, &f->err), 0);
                o.glob = glob;
                assert_int_equal(directory_list(f->roots, "/proc", &o, &result, &f->err), 0);
                assert_int_equal(result.n_entries, 0);
        }

        assert_int_equal(read_text(f, "/proc/1/status", text), 0);
        assert_memory_equal(text, "Name:", 5);
        assert_int_equal(read_text(f, "/proc/version", text), 0);
        assert_int_equal(read_text(f, "etc/passwd", text), 0);
        assert_int_equal(list_it(f, "/"), 0);
        assert_int_equal(read_text(f, files_at(f, "out/secret"), text), 0);
        assert_int_equal(read_text(f, "/dev/null", text), FILES_E_SPECIAL);
        if (files_variant.is_user)
                assert_int_equal(read_text(f, "/etc/shadow", text), FILES_E_DENIED);
}

/* Others' links in a directory like /tmp are not followed. */
static void test_planted(void **state)
{
        struct files *f = *state;
        char text[64];

        if (!files_variant.is_user)
                SKIP_TEST("needs two users");
        files_mkdir(f, "in/shared");
        files_put(f, "in/mine", "mine");
        assert_int_equal(chown(files_at(f, "in/shared"), 0, 0), 0);
        assert_int_equal(chmod(files_at(f, "in/shared"), 01777), 0);
        files_link(f, "../mine", "in/shared/own");
        files_link(f, "../mine", "in/shared/planted");
        assert_int_equal(lchown(files_at(f, "in/shared/planted"), 1234, 1234), 0);
        assert_int_equal(read_text(f, "shared/own", text), 0);
        f->roots->has_openat2 = false;
        assert_int_equal(read_text(f, "shared/planted", text), FILES_E_DENIED);
        assert_int_equal(file_write(f->roots, "shared/planted", "x", 1, &plain, NULL, &f->err),
                         FILES_E_DENIED);
        files_check(f, "in/mine", "mine");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                FILES_TEST(test_table),   FILES_TEST(test_missing_outside),
                FILES_TEST(test_entries), FILES_TEST(test_allowed),
                FILES_TEST(test_loops),   FILES_TEST(test_names),
                FILES_TEST(test_special), FILES_TEST(test_everything_allowed),
                FILES_TEST(test_planted),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
