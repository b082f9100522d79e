/* SPDX-License-Identifier: Apache-2.0 */

/* Whatever the journal of temporary names contains: nothing is removed that it should not name. */

#include "tests/unit/unfinished_fixture.h"

/* Where things are in a slot. */
#define AT_SIZE 4
#define AT_NAME 8
#define AT_PATH (AT_NAME + TEMPORARY_NAME_SIZE)

/* Writes a slot that names @name in the directory @path. */
static void forge(const struct files *f, unsigned slot, const char *path, const char *name)
{
        int fd = open(journal_path(f), O_WRONLY | O_CLOEXEC);
        off_t at = (off_t)slot * UNFINISHED_SLOT_SIZE;
        char padded[TEMPORARY_NAME_SIZE] = "";
        uint32_t size = (uint32_t)strlen(path);
        uint32_t magic = 0x31664e55;

        snprintf(padded, sizeof(padded), "%s", name);
        assert_int_equal(pwrite(fd, &magic, 4, at), 4);
        assert_int_equal(pwrite(fd, &size, 4, at + AT_SIZE), 4);
        assert_int_equal(pwrite(fd, padded, sizeof(padded), at + AT_NAME), sizeof(padded));
        assert_int_equal(pwrite(fd, path, size, at + AT_PATH), size);
        close(fd);
}

/* A file that says what it should not. */
static void test_forged(void **state)
{
        struct files *f = *state;

        journal_end(journal_begin(f));
        forge(f, 0, files_at(f, "in"), A_NAME);
        files_put(f, "in/" A_NAME, "x");
        journal_expect(f, 1, 0); /* this is how it is done */

        files_mkdir(f, "in/d");
        files_put(f, "in/file", "x");
        files_put(f, "out/" A_NAME, "x");
        files_link(f, "../out", "in/to-out");
        files_mkdir(f, "in/d/d");
        assert_int_equal(mkfifo(files_at(f, "in/" A_NAME), 0600), 0);
        files_own(files_at(f, "in/" A_NAME));
        forge(f, 0, files_at(f, "in"), "file");
        forge(f, 1, files_at(f, "in"), "d");
        forge(f, 2, files_at(f, "in"), ".");
        forge(f, 3, files_at(f, "in"), "");
        forge(f, 4, files_at(f, "in"), "../out/" A_NAME);
        forge(f, 5, files_at(f, "out"), A_NAME);
        forge(f, 6, files_at(f, "in/to-out"), A_NAME);
        forge(f, 7, files_at(f, "in/../out"), A_NAME);
        forge(f, 8, files_at(f, "in"), A_NAME);
        forge(f, 9, files_at(f, "in/file"), A_NAME);
        forge(f, 10, files_at(f, "in/absent"), A_NAME);
        forge(f, 11, "in", A_NAME);
        forge(f, 12, "/proc/self/root/tmp", A_NAME);
        forge(f, 13, "", A_NAME);
        journal_expect(f, 0, 0);
        assert_int_equal(files_count(f, "in"), 4);
        assert_int_equal(files_count(f, "out"), 2);
        assert_true(files_is_there(f, "in/d/d"));

        /* Somebody else's, which the user may not remove. */
        if (files_variant.is_user) {
                assert_int_equal(mkdir(files_at(f, "in/roots"), 0755), 0);
                close(open(files_at(f, "in/roots/" A_NAME), O_CREAT | O_WRONLY, 0644));
                forge(f, 0, files_at(f, "in/roots"), A_NAME);
                journal_expect(f, 0, 1);
        }
}

static void fill(const char *path, size_t size, unsigned seed, unsigned modulus)
{
        char *data = xcalloc(size, 1);
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

        for (size_t i = 0; i < size; i++) {
                seed = seed * 1103515245u + 12345;
                data[i] = (char)((seed >> 16) % modulus);
        }
        assert_int_equal(fd_write_all(fd, data, size), 0);
        close(fd);
        free(data);
}

static void test_damage(void **state)
{
        struct files *f = *state;
        struct unfinished *u;
        char slot[512];
        ssize_t size;
        unsigned left;
        int fd;

        files_put(f, "in/file", "x");
        for (unsigned i = 0; i < 4; i++) {
                fill(journal_path(f), i * 3000000 + i, i, i % 2 ? 256 : 2);
                journal_expect(f, 0, 0);
        }
        /* Each byte of a good slot, spoilt; and each length of it. */
        assert_int_equal(truncate(journal_path(f), 0), 0);
        u = journal_begin(f);
        journal_leave(f, "in", KIND_FILE);
        journal_end(u);
        fd = open(journal_path(f), O_RDWR | O_CLOEXEC);
        size = pread(fd, slot, sizeof(slot), 0);
        assert_true(size > AT_PATH);
        for (ssize_t i = 0; i < size; i++) {
                char spoilt = (char)(slot[i] ^ 0x41);

                assert_int_equal(pwrite(fd, slot, (size_t)size, 0), size);
                assert_int_equal(pwrite(fd, &spoilt, 1, i), 1);
                u = journal_begin(f);
                /* What is behind the name's end does not count. */
                if (i < AT_NAME + (ssize_t)strlen(A_NAME) + 1 || i >= AT_PATH)
                        assert_int_equal(unfinished_collect(u, f->roots, NULL, &left), 0);
                journal_end(u);
        }
        for (ssize_t i = 0; i < size; i++) {
                assert_int_equal(ftruncate(fd, 0), 0);
                assert_int_equal(pwrite(fd, slot, (size_t)i, 0), i);
                journal_expect(f, 0, 0);
        }
        assert_int_equal(files_count(f, "in"), 2);
        assert_int_equal(pwrite(fd, slot, (size_t)size, 0), size);
        close(fd);
        journal_expect(f, 1, 0);
        files_check(f, "in/file", "x");
}

static void test_not_a_file(void **state)
{
        struct files *f = *state;
        struct unfinished *u = NULL;

        files_link(f, "out/secret", "unfinished");
        assert_int_equal(unfinished_open(f->base, &u, &f->err), -ELOOP);
        assert_int_equal(unlink(journal_path(f)), 0);
        assert_int_equal(mkfifo(journal_path(f), 0600), 0);
        assert_int_equal(unfinished_open(f->base, &u, &f->err), -EINVAL);
        assert_int_equal(unlink(journal_path(f)), 0);
        files_mkdir(f, "unfinished");
        assert_int_equal(unfinished_open(f->base, &u, &f->err), -EISDIR);
        assert_int_equal(unfinished_open("/absent", &u, &f->err), -ENOENT);
        assert_null(u);
        unfinished_close(NULL);
        files_check(f, "out/secret", "secret");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                FILES_TEST(test_forged),
                FILES_TEST_ONCE(test_damage),
                FILES_TEST_ONCE(test_not_a_file),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
