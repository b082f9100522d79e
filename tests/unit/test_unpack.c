/* SPDX-License-Identifier: Apache-2.0 */

#include "handlers/files/unpack.h"

#include <sys/types.h>

#include "handlers/files/unpack_name.h"
#include "handlers/files/unpack_steps.h"
#include "handlers/files/unpack_tree.h"
#include "tests/unit/files_fixture.h"

#define BLOCK_SIZE 512

/* --- names --- */

static void check_name(const char *text, int wanted, const char *path, unsigned depth)
{
        struct unpack_name n;
        const char *why = NULL;
        int r = unpack_name_parse(text, &n, &why);

        if (r != wanted)
                fail_msg("\"%.60s\": %d, %s", text, r, why ? why : "");
        if (r == 0) {
                assert_string_equal(n.path, path);
                assert_int_equal(n.depth, depth);
        } else {
                assert_non_null(why);
        }
}

static void test_names(void **state)
{
        char long_name[NAME_MAX + 2], deep[2 * 257 + 1] = "", long_path[PATH_MAX + 200] = "";

        (void)state;
        check_name("a", 0, "a", 1);
        check_name("./a//b/./c/", 0, "a/b/c", 3);
        check_name(".", 0, "", 0);
        check_name("./", 0, "", 0);
        check_name("...", 0, "...", 1);
        check_name("..a/b..", 0, "..a/b..", 2);
        check_name("a\nb/\xff", 0, "a\nb/\xff", 2);
        check_name("a\\..\\b", 0, "a\\..\\b", 1);
        check_name("", -EBADMSG, NULL, 0);
        check_name("/", -EBADMSG, NULL, 0);
        check_name("//a", -EBADMSG, NULL, 0);
        check_name("..", -EBADMSG, NULL, 0);
        check_name("../", -EBADMSG, NULL, 0);
        check_name("a/..", -EBADMSG, NULL, 0);
        check_name("a/../b", -EBADMSG, NULL, 0);
        check_name("./../b", -EBADMSG, NULL, 0);
        check_name(".vm-agent-tmp-0123456789abcdef01234567", -EBADMSG, NULL, 0);
        check_name("a/.vm-agent-tmp-0123456789abcdef01234567/b", -EBADMSG, NULL, 0);
        check_name(".vm-agent-tmp-x", 0, ".vm-agent-tmp-x", 1);

        memset(long_name, 'n', sizeof(long_name) - 1);
        long_name[NAME_MAX + 1] = '\0';
        check_name(long_name, -EBADMSG, NULL, 0);
        check_name(long_name + 1, 0, long_name + 1, 1);
        for (unsigned i = 0; i < 257; i++)
                memcpy(deep + 2 * i, "d/", 3);
        check_name(deep, -EFBIG, NULL, 0);
        for (size_t i = 0; i < sizeof(long_path) - 1; i++)
                long_path[i] = i % 250 == 249 ? '/' : 'n';
        assert_int_equal(strlen(long_path), sizeof(long_path) - 1);
        check_name(long_path, -EBADMSG, NULL, 0);
        long_path[PATH_MAX - 1] = '\0';
        check_name(long_path, 0, long_path, 17);
}

static int judge(const char *link, const char *target)
{
        struct unpack_name n;
        const char *why;

        assert_int_equal(unpack_name_parse(link, &n, &why), 0);
        return unpack_name_check_link(&n, target, &why);
}

static void test_links(void **state)
{
        (void)state;
        assert_int_equal(judge("l", "a"), 0);
        assert_int_equal(judge("l", "."), 0);
        assert_int_equal(judge("l", "a/b/./c/"), 0);
        assert_int_equal(judge("l", "..."), 0);
        assert_int_equal(judge("d/l", "../a"), 0);
        assert_int_equal(judge("d/l", ".."), 0);
        assert_int_equal(judge("d/e/l", "./..//../a"), 0);
        assert_int_equal(judge("l", ".."), -EBADMSG);
        assert_int_equal(judge("l", "../a"), -EBADMSG);
        assert_int_equal(judge("d/l", "../.."), -EBADMSG);
        assert_int_equal(judge("d/l", "./../../d"), -EBADMSG);
        assert_int_equal(judge("l", "/"), -EBADMSG);
        assert_int_equal(judge("l", "/tmp"), -EBADMSG);
        assert_int_equal(judge("l", ""), -EBADMSG);
        /* What b is decides where this leads. */
        assert_int_equal(judge("l", "b/.."), -EBADMSG);
        assert_int_equal(judge("d/e/l", "../b/.."), -EBADMSG);
}

static void test_shown_names(void **state)
{
        char shown[UNPACK_NAME_SHOWN], text[1000];

        (void)state;
        assert_string_equal(unpack_name_show("a\nb\x7f", shown), "a?b?");
        assert_string_equal(unpack_name_show("\xff", shown), "?");
        memset(text, 'x', sizeof(text) - 1);
        text[sizeof(text) - 1] = '\0';
        assert_int_equal(strlen(unpack_name_show(text, shown)), UNPACK_NAME_SHOWN - 1);
        assert_string_equal(shown + UNPACK_NAME_SHOWN - 4, "...");
}

/* --- archives --- */

/* A tar archive, entry by entry. */
static void add(struct buf *b, const char *name, char type, const char *target, const char *content)
{
        unsigned char h[BLOCK_SIZE] = { 0 };
        size_t size = content ? strlen(content) : 0;
        unsigned sum = 0;

        snprintf((char *)h, 100, "%s", name);
        memcpy(h + 100,
               "0000644\0"
               "0000000\0"
               "0000000",
               24);
        snprintf((char *)h + 124, 12, "%011o", (unsigned)size);
        memcpy(h + 136, "13132027400", 12);
        memset(h + 148, ' ', 8);
        h[156] = (unsigned char)type;
        snprintf((char *)h + 157, 100, "%s", target ? target : "");
        memcpy(h + 257,
               "ustar\0"
               "00",
               8);
        for (size_t i = 0; i < sizeof(h); i++)
                sum += h[i];
        snprintf((char *)h + 148, 8, "%06o", sum);
        assert_int_equal(buf_append(b, h, sizeof(h)), 0);
        memset(h, 0, sizeof(h));
        if (size > 0) {
                assert_true(size <= sizeof(h));
                memcpy(h, content, size);
                assert_int_equal(buf_append(b, h, sizeof(h)), 0);
        }
}

static void end(struct buf *b)
{
        static const char zeros[2 * BLOCK_SIZE];

        assert_int_equal(buf_append(b, zeros, sizeof(zeros)), 0);
}

/* Unpacks @b, @piece bytes at a time, to in/NAME. */
static int unpack(struct files *f, const struct buf *b, size_t piece, const char *name,
                  bool overwrite)
{
        const char *path = files_at(f, name);
        atomic_bool cancel = false;
        struct unpack_steps_options o = {
                .roots = f->roots, .path = path, .max_size = 10000, .cancel = &cancel
        };
        struct unpack_steps *s = NULL;
        int r = unpack_steps_new(&o, &s, &f->err);

        for (size_t at = 0; at < b->size && r == 0; at += piece) {
                r = unpack_steps_feed(s, b->data + at, MIN(piece, b->size - at), &f->err);
                while (r == -EAGAIN)
                        r = unpack_steps_resume(s, &f->err);
        }
        if (r == 0)
                r = unpack_steps_finish(s, path, overwrite, &f->err);
        while (r == -EAGAIN)
                r = unpack_steps_resume(s, &f->err);
        unpack_steps_free(s);
        return r;
}

static void test_a_tree(void **state)
{
        static const size_t pieces[] = { 1, 511, 1 << 20 };
        CLEANUP(buf_done) struct buf b = { NULL };
        struct files *f = *state;
        unsigned n_open = files_n_open();
        struct stat st;

        add(&b, "d/", '5', NULL, NULL);
        add(&b, "d/file", '0', NULL, "content");
        add(&b, "d/link", '2', "../top", NULL);
        add(&b, "top", '0', NULL, "top");
        add(&b, "hard", '1', "d/file", NULL);
        end(&b);
        for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
                assert_int_equal(unpack(f, &b, pieces[i], "in/new/target", true), 0);
                assert_int_equal(files_count(f, "in/new/target"), 3);
                files_check(f, "in/new/target/d/file", "content");
                files_check(f, "in/new/target/d/link", "top");
                files_check(f, "in/new/target/hard", "content");
                assert_int_equal(stat(files_at(f, "in/new/target/d/file"), &st), 0);
                assert_int_equal(st.st_uid, files_uid());
                assert_int_equal(st.st_mtim.tv_sec, 1500000000);
        }
        assert_int_equal(unpack(f, &b, 100, "in/new/target", false), FILES_E_EXISTS);
        assert_int_equal(files_count(f, "in/new/target"), 3);
        assert_int_equal(files_n_open(), n_open);
}

static void refuse(struct files *f, struct buf *b, int wanted)
{
        unsigned n_open = files_n_open();
        int r;

        end(b);
        r = unpack(f, b, 300, "in/target", true);
        if (r != wanted)
                fail_msg("%d, %s", r, f->err.message);
        assert_int_equal(files_count(f, "in"), 0);
        assert_int_equal(files_count(f, "out"), 1);
        files_check(f, "out/secret", "secret");
        assert_int_equal(files_n_open(), n_open);
        b->size = 0;
}

static void test_refusals(void **state)
{
        char large[BLOCK_SIZE];
        CLEANUP(buf_done) struct buf b = { NULL };
        struct files *f = *state;

        memset(large, 'x', sizeof(large) - 1);
        large[sizeof(large) - 1] = '\0';
        add(&b, "fine", '0', NULL, "x");
        add(&b, "../../out/x", '0', NULL, "x");
        refuse(f, &b, -EBADMSG);
        assert_string_equal(f->err.message, "entry ../../out/x has \"..\" in its name");
        add(&b, files_at(f, "out/x"), '0', NULL, "x");
        refuse(f, &b, -EBADMSG);
        add(&b, "l", '2', files_at(f, "out"), NULL);
        add(&b, "l/x", '0', NULL, "x");
        refuse(f, &b, -EBADMSG);
        add(&b, "d", '5', NULL, NULL);
        add(&b, "l", '2', "d", NULL);
        add(&b, "l/x", '0', NULL, "x");
        refuse(f, &b, -EBADMSG);
        assert_string_equal(f->err.message,
                            "entry l/x leads through a link or a file of the archive");
        add(&b, "d/l", '2', "..", NULL);
        add(&b, "l", '1', "d/l", NULL);
        refuse(f, &b, -EBADMSG);
        add(&b, "pipe", '6', NULL, NULL);
        refuse(f, &b, -EBADMSG);
        add(&b, "null", '3', NULL, NULL);
        refuse(f, &b, -EBADMSG);
        for (unsigned i = 0; i < 25; i++)
                add(&b, i % 2 ? "a" : "b", '0', NULL, large);
        refuse(f, &b, -EFBIG);
}

static void test_links_in_the_target(void **state)
{
        CLEANUP(buf_done) struct buf b = { NULL };
        struct files *f = *state;

        files_mkdir(f, "in/target");
        files_link(f, files_at(f, "out"), "in/target/d");
        files_link(f, files_at(f, "out/secret"), "in/target/file");
        add(&b, "file", '0', NULL, "mine");
        end(&b);
        assert_int_equal(unpack(f, &b, 100, "in/target", true), 0);
        files_check(f, "in/target/file", "mine");
        files_check(f, "out/secret", "secret");
        b.size = 0;
        add(&b, "d/secret", '0', NULL, "mine");
        end(&b);
        assert_int_equal(unpack(f, &b, 100, "in/target", true), FILES_E_NOT_DIRECTORY);
        files_check(f, "out/secret", "secret");
        assert_int_equal(files_count(f, "in/target"), 2);
}

/* Also those that are no entries. */
static void test_too_many_directories(void **state)
{
        struct files *f = *state;
        CLEANUP(fd_close) int top = open(files_at(f, "in"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        const struct unpack_attributes a = { .mode = 0755 };
        unsigned n_open = files_n_open();
        struct unpack_name n;
        struct unpack_tree t;
        const char *why;
        int fd = -1;

        unpack_tree_init(&t, top, f->roots->has_openat2);
        t.directories_left = 4;
        assert_int_equal(unpack_name_parse("a/b/c/file", &n, &why), 0);
        assert_int_equal(unpack_tree_file(&t, &n, &fd, &f->err), 0);
        fd = fd_close(fd);
        assert_int_equal(unpack_name_parse("x/y/file", &n, &why), 0);
        assert_int_equal(unpack_tree_file(&t, &n, &fd, &f->err), -EFBIG);
        assert_string_equal(f->err.message, "entry x/y/file is in one directory too many");
        assert_int_equal(unpack_name_parse("d", &n, &why), 0);
        assert_int_equal(unpack_tree_directory(&t, &n, &a, &f->err), -EFBIG);
        assert_int_equal(unpack_name_parse("a/b", &n, &why), 0);
        assert_int_equal(unpack_tree_directory(&t, &n, &a, &f->err), 0); /* it is there */
        unpack_tree_done(&t);
        assert_int_equal(files_n_open(), n_open);
}

/* Steps that nobody finishes, and those of somebody who has left. */
static void test_giving_up(void **state)
{
        CLEANUP(buf_done) struct buf b = { NULL };
        struct files *f = *state;
        unsigned n_open = files_n_open();
        atomic_bool cancel = false;
        struct unpack_steps_options o = { .roots = f->roots,
                                          .path = files_at(f, "in/target"),
                                          .cancel = &cancel };
        struct unpack_steps *s = NULL;

        add(&b, "d/file", '0', NULL, "x");
        assert_int_equal(unpack_steps_new(&o, &s, &f->err), 0);
        assert_int_equal(unpack_steps_feed(s, b.data, b.size, &f->err), 0);
        assert_true(files_is_there(f, "in/target"));
        unpack_steps_free(s);
        assert_false(files_is_there(f, "in/target"));

        assert_int_equal(unpack_steps_new(&o, &s, &f->err), 0);
        cancel = true;
        assert_int_equal(unpack_steps_feed(s, b.data, b.size, &f->err), -ECANCELED);
        unpack_steps_free(s);
        assert_int_equal(files_count(f, "in"), 0);
        assert_int_equal(files_n_open(), n_open);
        assert_null(unpack_steps_free(NULL));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_names),
                cmocka_unit_test(test_links),
                cmocka_unit_test(test_shown_names),
                FILES_TEST(test_a_tree),
                FILES_TEST(test_refusals),
                FILES_TEST(test_links_in_the_target),
                FILES_TEST(test_too_many_directories),
                FILES_TEST(test_giving_up),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
