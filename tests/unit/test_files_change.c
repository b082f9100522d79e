/* SPDX-License-Identifier: Apache-2.0 */

/* Permissions and owners of files, and of whole trees. */

#include "agent/files/change.h"

#include <stdatomic.h>

#include "tests/lib/skip.h"
#include "tests/unit/files_fixture.h"

#define KEEP .uid = (uid_t)-1, .gid = (gid_t)-1

static int change(struct files *f, const char *path, struct file_change c, uint64_t *ret)
{
        f->err = (struct error)ERROR_INIT;
        return file_change(f->roots, path, &c, ret, &f->err);
}

static void test_letters(void **state)
{
        static const struct {
                const char *symbols;
                mode_t from, file, directory;
        } cases[] = {
                { "u+x", 0644, 0744, 0744 },       { "+x", 0600, 0711, 0711 },
                { "a+x", 0600, 0711, 0711 },       { "ugo+x", 0600, 0711, 0711 },
                { "u+rwX", 0000, 0600, 0700 },     { "u+rwX", 0010, 0710, 0710 },
                { "go-rwx", 0777, 0700, 0700 },    { "g=rX,o=", 0766, 0750, 0750 },
                { "u=rw,go=r", 0777, 0644, 0644 }, { "u+r-w", 0300, 0500, 0500 },
                { "u=", 0777, 0077, 0077 },        { "-x,+X", 0755, 0755, 0755 },
                { "u+s", 0755, 04755, 04755 },     { "g+s", 0755, 02755, 02755 },
                { "+t", 0777, 01777, 01777 },      { "u+t", 0777, 0777, 0777 },
                { "ug=rwx", 06700, 0770, 06770 },  { "ug=rwxs", 0700, 06770, 06770 },
                { "u-s", 04755, 0755, 0755 },      { "o=rx", 01777, 0775, 0775 },
                { "=", 07777, 0000, 06000 },
        };
        static const char *const malformed[] = { "",    "u",   "x",    "u+q", "u+x,",  ",u+x",
                                                 "g=u", "+",   "u+x-", "u x", "u+x ",  "8",
                                                 "+7",  "u+7", "a",    "-",   "u+rw,", "\xff" };
        mode_t mode;

        (void)state;
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                assert_int_equal(file_mode_apply(cases[i].symbols, cases[i].from, false, &mode), 0);
                assert_int_equal(mode, cases[i].file);
                assert_int_equal(
                        file_mode_apply(cases[i].symbols, cases[i].from | S_IFDIR, true, &mode), 0);
                assert_int_equal(mode, cases[i].directory);
        }
        for (size_t i = 0; i < ARRAY_LEN(malformed); i++)
                assert_int_equal(file_mode_apply(malformed[i], 0644, false, &mode), -EINVAL);
}

static void make_tree(struct files *f)
{
        files_mkdir(f, "in/t");
        files_mkdir(f, "in/t/d");
        files_mkdir(f, "in/t/d/e");
        files_put(f, "in/t/d/e/file", "x");
        files_put(f, "in/t/file", "x");
}

/* What may not be entered is opened on the way in. */
static void test_lets_us_in(void **state)
{
        struct files *f = *state;
        uint64_t n;

        make_tree(f);
        assert_int_equal(chmod(files_at(f, "in/t/d/e"), 0), 0);
        assert_int_equal(chmod(files_at(f, "in/t/d"), 0), 0);
        assert_int_equal(chmod(files_at(f, "in/t"), 0), 0);
        assert_int_equal(
                change(f, "t",
                       (struct file_change){ .symbols = "u+rwX", KEEP, .is_recursive = true }, &n),
                0);
        assert_int_equal(n, 3); /* the files are readable already */
        assert_int_equal(files_mode(f, "in/t"), 0700);
        assert_int_equal(files_mode(f, "in/t/d"), 0700);
        assert_int_equal(files_mode(f, "in/t/d/e"), 0700);
}

/* What may not be entered any more is closed on the way out. */
static void test_keeps_us_out(void **state)
{
        struct files *f = *state;
        uint64_t n;

        make_tree(f);
        assert_int_equal(change(f, "t",
                                (struct file_change){
                                        .has_mode = true, .mode = 0, KEEP, .is_recursive = true },
                                &n),
                         0);
        assert_int_equal(n, 5);
        assert_int_equal(files_mode(f, "in/t"), 0);
        assert_int_equal(files_mode(f, "in/t/d/e/file"), 0);
        assert_int_equal(files_mode(f, "in/t/d/e"), 0);
        assert_int_equal(files_mode(f, "in/t/d"), 0);
}

/* A chain that is deeper than the number of directories that may be open. */
static void test_deep(void **state)
{
        struct files *f = *state;
        char path[256] = "in/t";
        uint64_t n;

        files_mkdir(f, path);
        for (unsigned i = 0; i < 100; i++) {
                snprintf(path + strlen(path), sizeof(path) - strlen(path), "/d");
                files_mkdir(f, path);
        }
        for (mode_t mode = 0; mode <= 0700; mode += 0700) {
                assert_int_equal(
                        change(f, "t",
                               (struct file_change){
                                       .has_mode = true, .mode = mode, KEEP, .is_recursive = true },
                               &n),
                        0);
                assert_int_equal(n, 101);
                assert_int_equal(files_mode(f, path), mode);
        }
}

static void test_links_out(void **state)
{
        struct files *f = *state;
        struct file_change c = { .has_mode = true, .mode = 0700, KEEP, .is_recursive = true };
        uint64_t n;

        make_tree(f);
        files_put(f, "out/secret", "x");
        files_mkdir(f, "out/d");
        files_put(f, "also/file", "x");
        files_link(f, "../../out/secret", "in/t/secret");
        files_link(f, "../../../out/d", "in/t/d/out");
        files_link(f, "../../also/file", "in/t/also");
        files_link(f, ".", "in/t/dot");
        files_link(f, "../out", "in/out");
        assert_int_equal(change(f, "t", c, &n), 0);
        assert_int_equal(n, 5);
        assert_int_equal(files_mode(f, "out/secret"), 0644);
        assert_int_equal(files_mode(f, "out/d"), 0755);
        assert_int_equal(files_mode(f, "also/file"), 0644);
        assert_int_equal(change(f, "out", c, &n), FILES_E_NOT_ALLOWED);
        assert_int_equal(change(f, "t/d/out", c, &n), FILES_E_NOT_ALLOWED);
        assert_int_equal(n, 0);
        assert_int_equal(files_mode(f, "out/d"), 0755);
}

/* One that is somebody else's does not keep the others from being changed; the message names it. */
static void test_denied(void **state)
{
        struct files *f = *state;
        bool may = !files_variant.is_user && geteuid() == 0;
        uint64_t n;

        make_tree(f);
        if (geteuid() != 0)
                SKIP_TEST("only root changes owners");
        assert_int_equal(chown(files_at(f, "in/t/d/e/file"), 0, 0), 0);
        assert_int_equal(
                change(f, "t",
                       (struct file_change){
                               .has_mode = true, .mode = 0700, KEEP, .is_recursive = true },
                       &n),
                may ? 0 : FILES_E_DENIED);
        assert_int_equal(n, may ? 5 : 4);
        assert_int_equal(files_mode(f, "in/t/file"), 0700);
        if (!may)
                assert_non_null(strstr(f->err.message, "t/d/e/file"));
}

static void test_left_alone(void **state)
{
        struct files *f = *state;
        struct file_change c = { .symbols = "go-rwx", KEEP, .is_recursive = true };
        atomic_bool cancel = true;
        char name[TEMPORARY_NAME_SIZE];
        CLEANUP(fd_close) int fd = -1, dir = open(files_at(f, "in"), O_RDONLY | O_CLOEXEC);
        CLEANUP(mem_free) char *path = NULL;
        struct stat before, after;
        uint64_t n;

        make_tree(f);
        fd = temporary_make_file(dir, 0644, name);
        assert_true(fd >= 0);
        assert_int_equal(fchmod(fd, 0644), 0);
        assert_int_equal(chmod(files_at(f, "in/t/file"), 0600), 0);
        assert_int_equal(stat(files_at(f, "in/t/file"), &before), 0);

        c.cancel = &cancel;
        assert_int_equal(change(f, ".", c, &n), FILES_E_CANCELLED);
        c.cancel = NULL;
        assert_int_equal(change(f, ".", c, &n), 0);
        assert_int_equal(stat(files_at(f, "in/t/file"), &after), 0);
        assert_int_equal(before.st_ctim.tv_sec, after.st_ctim.tv_sec);
        assert_int_equal(before.st_ctim.tv_nsec, after.st_ctim.tv_nsec);
        path = xasprintf("in/%s", name);
        assert_int_equal(files_mode(f, path), 0644);
        temporary_remove(dir, name);
        assert_int_equal(change(f, "nothing", c, &n), FILES_E_NOT_FOUND);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_letters), FILES_TEST(test_lets_us_in),
                FILES_TEST(test_keeps_us_out),  FILES_TEST(test_deep),
                FILES_TEST(test_links_out),     FILES_TEST(test_denied),
                FILES_TEST(test_left_alone),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
