/* SPDX-License-Identifier: Apache-2.0 */

#include "tests/unit/files_fixture.h"

#include "agent/files/info.h"
#include "agent/files/read.h"

static int read_it(struct files *f, const char *path, struct file_read_options o,
                   struct file_part *part)
{
        if (o.max == 0)
                o.max = 1000000;
        return file_read(f->roots, path, &o, part, &f->err);
}

#define READ(path, ...) read_it(f, path, (struct file_read_options){ __VA_ARGS__ }, &part)

#define CHECK_PART(text, from, n, at_end)                                                \
        do {                                                                             \
                assert_int_equal(part.content.size, strlen(text));                       \
                assert_string_equal(part.content.data ? part.content.data : "", (text)); \
                assert_int_equal(part.offset, (from));                                   \
                assert_int_equal(part.n_lines, (n));                                     \
                assert_int_equal(part.is_at_end, (at_end));                              \
                file_part_done(&part);                                                   \
        } while (0)

static void test_bytes(void **state)
{
        struct files *f = *state;
        struct file_part part;
        unsigned n_open = files_n_open();

        files_put(f, "in/file", "0123456789");
        assert_int_equal(READ("file"), 0);
        assert_int_equal(part.info.size, 10);
        CHECK_PART("0123456789", 0, 0, true);
        assert_int_equal(READ("file", .offset = 3, .limit = 4), 0);
        CHECK_PART("3456", 3, 0, false);
        assert_int_equal(READ("file", .offset = 6, .limit = 4), 0);
        CHECK_PART("6789", 6, 0, true);
        assert_int_equal(READ("file", .offset = 6, .limit = 100), 0);
        CHECK_PART("6789", 6, 0, true);
        assert_int_equal(READ("file", .offset = 10), 0);
        CHECK_PART("", 10, 0, true);
        assert_int_equal(READ("file", .offset = UINT64_MAX), 0);
        CHECK_PART("", UINT64_MAX, 0, true);

        assert_int_equal(READ("file", .max = 10), 0);
        CHECK_PART("0123456789", 0, 0, true);
        assert_int_equal(READ("file", .max = 9), FILES_E_TOO_LARGE);
        assert_string_equal(f->err.message, "File is too large: file");
        assert_int_equal(READ("file", .max = 9, .offset = 1), 0);
        CHECK_PART("123456789", 1, 0, true);
        assert_int_equal(READ("file", .max = 3, .limit = 4), FILES_E_TOO_LARGE);
        files_put(f, "in/empty", "");
        assert_int_equal(READ("empty", .max = 1), 0);
        CHECK_PART("", 0, 0, true);
        assert_int_equal(files_n_open(), n_open);
}

static void test_lines(void **state)
{
        struct files *f = *state;
        struct file_part part;

        files_put(f, "in/file", "one\ntwo\n\nfour\nfive");
        assert_int_equal(READ("file", .line_start = 1), 0);
        CHECK_PART("one\ntwo\n\nfour\nfive", 0, 5, true);
        assert_int_equal(READ("file", .line_start = 1, .line_end = 1), 0);
        CHECK_PART("one\n", 0, 1, false);
        assert_int_equal(READ("file", .line_start = 2, .line_end = 4), 0);
        CHECK_PART("two\n\nfour\n", 4, 3, false);
        assert_int_equal(READ("file", .line_start = 5, .line_end = 5), 0);
        CHECK_PART("five", 14, 1, true);
        assert_int_equal(READ("file", .line_start = 4, .line_end = 99), 0);
        CHECK_PART("four\nfive", 9, 2, true);
        assert_int_equal(READ("file", .line_start = 6), 0);
        CHECK_PART("", 18, 0, true);
        assert_int_equal(READ("file", .line_start = 3, .line_end = 2), 0);
        assert_int_equal(part.content.size, 0);
        file_part_done(&part);
        assert_int_equal(READ("file", .line_start = 2, .line_end = 4, .max = 9), FILES_E_TOO_LARGE);
        files_put(f, "in/closed", "one\ntwo\n");
        assert_int_equal(READ("closed", .line_start = 2, .line_end = 2), 0);
        CHECK_PART("two\n", 4, 1, true);
        files_put(f, "in/empty", "");
        assert_int_equal(READ("empty", .line_start = 1), 0);
        CHECK_PART("", 0, 0, true);
}

/* Lines that are cut by the blocks of the reading, far behind what is allowed in memory. */
static void test_far_lines(void **state)
{
        enum { N = 200000 };
        struct files *f = *state;
        struct file_part part;
        char line[32];
        FILE *file = fopen(files_at(f, "in/large"), "we");

        for (unsigned i = 1; i <= N; i++)
                fprintf(file, "line %07u\n", i); /* 13 bytes */
        fclose(file);
        assert_int_equal(READ("large", .line_start = N, .max = 13), 0);
        snprintf(line, sizeof(line), "line %07u\n", N);
        CHECK_PART(line, (N - 1) * 13, 1, true);
        for (unsigned i = 20160; i < 20168; i++) { /* 256 KiB is in the middle of line 20165 */
                assert_int_equal(READ("large", .line_start = i, .line_end = i + 1, .max = 26), 0);
                assert_int_equal(part.offset, (i - 1) * 13);
                assert_int_equal(part.n_lines, 2);
                snprintf(line, sizeof(line), "line %07u\n", i);
                assert_memory_equal(part.content.data, line, 13);
                snprintf(line, sizeof(line), "line %07u\n", i + 1);
                assert_string_equal(part.content.data + 13, line);
                file_part_done(&part);
        }
        assert_int_equal(READ("large", .line_start = 1, .line_end = 100000, .max = 2000000), 0);
        assert_int_equal(part.content.size, 1300000);
        assert_int_equal(part.n_lines, 100000);
        assert_false(part.is_at_end);
        file_part_done(&part);
}

static void test_refuses(void **state)
{
        struct files *f = *state;
        struct file_part part;
        atomic_bool cancel = true;

        assert_int_equal(READ("absent"), FILES_E_NOT_FOUND);
        assert_string_equal(f->err.message, "File not found: absent");
        assert_int_equal(READ("absent/x"), FILES_E_NOT_FOUND);
        assert_int_equal(READ("."), FILES_E_IS_DIRECTORY);
        files_put(f, "in/file", "x");
        assert_int_equal(READ("file/"), FILES_E_NOT_DIRECTORY);
        assert_int_equal(READ("file/x"), FILES_E_NOT_DIRECTORY);
        assert_int_equal(READ("file", .cancel = &cancel), FILES_E_CANCELLED);
        assert_int_equal(READ("file", .line_start = 1, .cancel = &cancel), FILES_E_CANCELLED);
}

static void test_no_memory(void **state)
{
        struct files *f = *state;
        struct file_part part;

        files_put(f, "in/file", "text");
        for (unsigned n = 1; n <= 2; n++) {
                alloc_fail_after(n);
                assert_int_equal(READ("file"), FILES_E_OTHER);
                alloc_fail_after(0);
        }
        assert_int_equal(READ("file"), 0);
        file_part_done(&part);
}

static void test_info(void **state)
{
        struct files *f = *state;
        struct file_info info;
        char path[PATH_MAX], target[PATH_MAX], text[FILE_PERMISSIONS_SIZE];
        struct timespec times[2] = { { 1000, 5 }, { 2000, 123456789 } };
        bool exists, is_directory;

        files_put(f, "also/file", "12345");
        files_link(f, "../also/file", "in/link");
        files_link(f, "nowhere", "in/dangling");
        assert_int_equal(chmod(files_at(f, "also/file"), 0640), 0);
        assert_int_equal(utimensat(AT_FDCWD, files_at(f, "also/file"), times, 0), 0);

        assert_int_equal(file_info(f->roots, "link", true, &info, path, target, &f->err), 0);
        assert_int_equal(info.type, FILE_REGULAR);
        assert_int_equal(info.size, 5);
        assert_int_equal(info.uid, files_uid());
        assert_int_equal(info.gid, files_uid());
        assert_int_equal(info.n_links, 1);
        assert_int_equal(info.modified_ns, 2000123456789);
        assert_int_equal(info.accessed_ns, 1000000000005);
        assert_true(info.changed_ns > 1700000000000000000);
        assert_string_equal(path, files_at(f, "also/file"));
        assert_string_equal(target, "");
        assert_string_equal(file_permissions(info.mode, text), "-rw-r-----");

        assert_int_equal(file_info(f->roots, "link", false, &info, path, target, &f->err), 0);
        assert_int_equal(info.type, FILE_LINK);
        assert_string_equal(path, files_at(f, "in/link"));
        assert_string_equal(target, "../also/file");
        assert_string_equal(file_permissions(info.mode, text), "lrwxrwxrwx");
        assert_int_equal(file_info(f->roots, "dangling", false, &info, NULL, NULL, &f->err), 0);
        assert_int_equal(file_info(f->roots, "dangling", true, &info, NULL, NULL, &f->err),
                         FILES_E_NOT_FOUND);
        assert_int_equal(file_info(f->roots, "", true, &info, NULL, NULL, &f->err),
                         FILES_E_INVALID);
        assert_int_equal(file_info(f->roots, files_at(f, "in"), false, &info, path, NULL, &f->err),
                         0);
        assert_int_equal(info.type, FILE_DIRECTORY);
        assert_string_equal(path, files_at(f, "in"));

        assert_int_equal(file_exists(f->roots, "link", &exists, &is_directory, &f->err), 0);
        assert_true(exists && !is_directory);
        assert_int_equal(file_exists(f->roots, ".", &exists, &is_directory, &f->err), 0);
        assert_true(exists && is_directory);
        assert_int_equal(file_exists(f->roots, "dangling", &exists, &is_directory, &f->err), 0);
        assert_false(exists || is_directory);
        assert_int_equal(file_exists(f->roots, "link/x", &exists, &is_directory, &f->err), 0);
        assert_false(exists || is_directory);
        assert_int_equal(file_exists(f->roots, "a/b/c", &exists, &is_directory, &f->err), 0);
        assert_false(exists);
}

static void test_permissions(void **state)
{
        char text[FILE_PERMISSIONS_SIZE];

        (void)state;
        assert_string_equal(file_permissions(S_IFDIR | 01777, text), "drwxrwxrwt");
        assert_string_equal(file_permissions(S_IFREG | 06755, text), "-rwsr-sr-x");
        assert_string_equal(file_permissions(S_IFREG | 07000, text), "---S--S--T");
        assert_string_equal(file_permissions(S_IFIFO | 0421, text), "pr---w---x");
        assert_string_equal(file_permissions(S_IFCHR, text), "c---------");
        assert_string_equal(file_permissions(S_IFBLK, text), "b---------");
        assert_string_equal(file_permissions(S_IFSOCK, text), "s---------");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                FILES_TEST(test_bytes),
                FILES_TEST(test_lines),
                FILES_TEST(test_far_lines),
                FILES_TEST(test_refuses),
                FILES_TEST(test_no_memory),
                FILES_TEST(test_info),
                cmocka_unit_test(test_permissions),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
