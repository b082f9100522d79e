/* SPDX-License-Identifier: Apache-2.0 */

#include "tests/unit/files_fixture.h"

#include "agent/files/directory.h"
#include "agent/files/info.h"
#include "agent/files/write.h"

static int write_text(struct files *f, const char *path, const char *text,
                      struct file_write_options o)
{
        return file_write(f->roots, path, text, strlen(text), &o, NULL, &f->err);
}

#define KEEP                   .mode = FILE_MODE_KEEP
#define WRITE(path, text, ...) write_text(f, path, text, (struct file_write_options){ __VA_ARGS__ })

static void test_new(void **state)
{
        struct files *f = *state;
        struct file_written w;

        assert_int_equal(file_write(f->roots, "new", "text", 4,
                                    &(struct file_write_options){ KEEP }, &w, &f->err),
                         0);
        assert_true(w.is_created);
        assert_int_equal(w.size, 4);
        files_check(f, "in/new", "text");
        assert_int_equal(files_mode(f, "in/new"), 0644);
        assert_int_equal(WRITE("empty", "", KEEP), 0);
        files_check(f, "in/empty", "");
        assert_int_equal(WRITE("private", "x", .mode = 0600), 0);
        assert_int_equal(files_mode(f, "in/private"), 0600);
        assert_int_equal(WRITE("open", "x", .mode = 0777, .is_synced = true), 0);
        assert_int_equal(files_mode(f, "in/open"), 0777); /* whatever the umask is */
        assert_int_equal(WRITE("none", "x", .mode = 0), 0);
        assert_int_equal(files_mode(f, "in/none"), 0);
        assert_int_equal(files_count(f, "in"), 5);
}

static void test_replace(void **state)
{
        struct files *f = *state;
        struct file_written w;
        struct stat before, after;

        files_put(f, "in/old", "old");
        assert_int_equal(chmod(files_at(f, "in/old"), 0751), 0);
        assert_int_equal(link(files_at(f, "in/old"), files_at(f, "in/second")), 0);
        assert_int_equal(stat(files_at(f, "in/old"), &before), 0);
        assert_int_equal(file_write(f->roots, "old", "new text", 8,
                                    &(struct file_write_options){ KEEP, .overwrite = true }, &w,
                                    &f->err),
                         0);
        assert_false(w.is_created);
        assert_int_equal(stat(files_at(f, "in/old"), &after), 0);
        assert_int_not_equal(before.st_ino, after.st_ino);
        assert_int_equal(after.st_mode, before.st_mode);
        files_check(f, "in/old", "new text");
        files_check(f, "in/second", "old");
        assert_int_equal(WRITE("old", "x", .mode = 0600, .overwrite = true), 0);
        assert_int_equal(files_mode(f, "in/old"), 0600);

        assert_int_equal(WRITE("old", "y", KEEP), FILES_E_EXISTS);
        assert_string_equal(f->err.message, "File already exists: old");
        files_check(f, "in/old", "x");
        files_link(f, "absent", "in/dangling");
        assert_int_equal(WRITE("dangling", "y", KEEP), 0);
        files_check(f, "in/absent", "y");
        assert_int_equal(files_count(f, "in"), 4);
}

/* The owner of the old file, if the user may give files away; else its set-user-ID bit goes. */
static void test_owner(void **state)
{
        struct files *f = *state;
        struct stat st;

        if (geteuid() != 0)
                return;
        files_put(f, "in/old", "old");
        assert_int_equal(chown(files_at(f, "in/old"), 1234, 1235), 0);
        assert_int_equal(chmod(files_at(f, "in/old"), 04766), 0);
        assert_int_equal(WRITE("old", "new", KEEP, .overwrite = true), 0);
        assert_int_equal(stat(files_at(f, "in/old"), &st), 0);
        if (files_variant.is_user) {
                assert_int_equal(st.st_uid, FILES_USER);
                assert_int_equal(st.st_mode & 07777, 0766);
        } else {
                assert_int_equal(st.st_uid, 1234);
                assert_int_equal(st.st_gid, 1235);
                assert_int_equal(st.st_mode & 07777, 04766);
        }
}

/* What may not be written to is not replaced. */
static void test_read_only_file(void **state)
{
        struct files *f = *state;
        int wanted = files_variant.is_user || geteuid() != 0 ? FILES_E_DENIED : 0;

        files_put(f, "in/old", "old");
        assert_int_equal(chmod(files_at(f, "in/old"), 0444), 0);
        assert_int_equal(WRITE("old", "new", KEEP, .overwrite = true), wanted);
        files_check(f, "in/old", wanted ? "old" : "new");
        assert_int_equal(files_mode(f, "in/old"), 0444);
        assert_int_equal(WRITE("old", "+", KEEP, .append = true), wanted);
}

static void test_targets(void **state)
{
        struct files *f = *state;

        files_mkdir(f, "in/directory");
        files_put(f, "in/file", "x");
        assert_int_equal(WRITE("directory", "x", KEEP, .overwrite = true), FILES_E_IS_DIRECTORY);
        assert_int_equal(WRITE("file/x", "x", KEEP, .make_parents = true), FILES_E_NOT_DIRECTORY);
        assert_int_equal(WRITE("file/", "x", KEEP, .overwrite = true), FILES_E_NOT_DIRECTORY);
        assert_int_equal(WRITE("absent/x", "x", KEEP), FILES_E_NO_DIRECTORY);
        assert_string_equal(f->err.message, "Directory not found: absent");
        assert_int_equal(WRITE("a/b/../c/./d//e", "deep", KEEP, .make_parents = true), 0);
        files_check(f, "in/a/c/d/e", "deep");
        assert_int_equal(files_mode(f, "in/a/c/d"), 0755);
        assert_true(files_is_there(f, "in/a/b"));
        assert_int_equal(files_count(f, "in"), 3);
        assert_int_equal(WRITE(".", "x", KEEP, .overwrite = true), FILES_E_IS_DIRECTORY);
        assert_int_equal(WRITE("a/..", "x", KEEP, .overwrite = true), FILES_E_INVALID);
}

static void test_append(void **state)
{
        struct files *f = *state;
        struct file_writer *w = NULL;
        struct stat before, after;

        files_put(f, "in/log", "one\n");
        assert_int_equal(stat(files_at(f, "in/log"), &before), 0);
        assert_int_equal(WRITE("log", "two\n", KEEP, .append = true), 0);
        files_check(f, "in/log", "one\ntwo\n");
        assert_int_equal(stat(files_at(f, "in/log"), &after), 0);
        assert_int_equal(before.st_ino, after.st_ino);
        assert_int_equal(WRITE("made", "first", .mode = 0640, .append = true), 0);
        files_check(f, "in/made", "first");
        assert_int_equal(files_mode(f, "in/made"), 0640);

        /* Given up. */
        assert_int_equal(file_writer_open(f->roots, "log",
                                          &(struct file_write_options){ KEEP, .append = true }, &w,
                                          &f->err),
                         0);
        assert_int_equal(file_writer_write(w, "three", 5, &f->err), 0);
        files_check(f, "in/log", "one\ntwo\nthree");
        assert_null(file_writer_abort(w));
        files_check(f, "in/log", "one\ntwo\n");
        assert_int_equal(file_writer_open(f->roots, "other",
                                          &(struct file_write_options){ KEEP, .append = true }, &w,
                                          &f->err),
                         0);
        assert_int_equal(file_writer_write(w, "three", 5, &f->err), 0);
        file_writer_abort(w);
        assert_false(files_is_there(f, "in/other"));
}

/* In pieces: nothing is to be seen until the end. */
static void test_pieces(void **state)
{
        struct files *f = *state;
        struct file_write_options o = { KEEP, .overwrite = true, .make_parents = true };
        struct file_writer *w = NULL;
        struct file_written written;
        unsigned n_open = files_n_open();

        files_put(f, "in/file", "old");
        assert_int_equal(file_writer_open(f->roots, "file", &o, &w, &f->err), 0);
        assert_int_equal(file_writer_write(w, "new", 3, &f->err), 0);
        files_check(f, "in/file", "old");
        assert_int_equal(file_writer_write(w, " text", 5, &f->err), 0);
        assert_int_equal(file_writer_commit(w, &written, &f->err), 0);
        assert_int_equal(written.size, 8);
        files_check(f, "in/file", "new text");

        assert_int_equal(file_writer_open(f->roots, "d/none", &o, &w, &f->err), 0);
        assert_int_equal(file_writer_write(w, "new", 3, &f->err), 0);
        assert_int_equal(files_count(f, "in/d"), 1);
        file_writer_abort(w);
        assert_int_equal(files_count(f, "in/d"), 0);
        assert_null(file_writer_abort(NULL));

        /* Somebody else makes it first. */
        o.overwrite = false;
        assert_int_equal(file_writer_open(f->roots, "late", &o, &w, &f->err), 0);
        assert_int_equal(file_writer_write(w, "new", 3, &f->err), 0);
        files_put(f, "in/late", "theirs");
        assert_int_equal(file_writer_commit(w, &written, &f->err), FILES_E_EXISTS);
        files_check(f, "in/late", "theirs");

        o.overwrite = true;
        assert_int_equal(file_writer_open(f->roots, "taken", &o, &w, &f->err), 0);
        files_mkdir(f, "in/taken");
        assert_int_equal(file_writer_commit(w, &written, &f->err), FILES_E_IS_DIRECTORY);
        assert_int_equal(files_count(f, "in"), 4);
        assert_int_equal(files_n_open(), n_open);
}

static void test_mkdir(void **state)
{
        struct files *f = *state;
        bool is_created;

        assert_int_equal(directory_make(f->roots, "a/b/c", DIRECTORY_MODE_DEFAULT, true,
                                        &is_created, &f->err),
                         0);
        assert_true(is_created);
        assert_int_equal(files_mode(f, "in/a/b/c"), 0755);
        assert_int_equal(directory_make(f->roots, "a/b/c/", 0700, true, &is_created, &f->err), 0);
        assert_false(is_created);
        assert_int_equal(files_mode(f, "in/a/b/c"), 0755);
        assert_int_equal(directory_make(f->roots, "mode/", 03777, false, NULL, &f->err), 0);
        assert_int_equal(files_mode(f, "in/mode"), 03777);
        assert_int_equal(directory_make(f->roots, "x/y", 0700, false, NULL, &f->err),
                         FILES_E_NO_DIRECTORY);
        assert_false(files_is_there(f, "in/x"));
        assert_int_equal(directory_make(f->roots, ".", 0700, true, NULL, &f->err), 0);
        assert_int_equal(directory_make(f->roots, "a/..", 0700, true, NULL, &f->err), 0);
        files_put(f, "in/file", "x");
        assert_int_equal(directory_make(f->roots, "file", 0700, true, NULL, &f->err),
                         FILES_E_EXISTS);
        assert_int_equal(directory_make(f->roots, "file/x", 0700, true, NULL, &f->err),
                         FILES_E_NOT_DIRECTORY);
        assert_int_equal(directory_make(f->roots, "new/.", 0700, true, NULL, &f->err), 0);
        assert_true(files_is_there(f, "in/new"));
}

/* An allowed directory that is missing can be made, with what is above it, by who may. */
static void test_missing_root(void **state)
{
        struct files *f = *state;
        char *allowed[] = { xasprintf("%s/free/app/data", f->base), NULL };
        struct roots_config c = {
                .workspace = "/tmp", .allowed = allowed, .uid = files_uid(), .gid = files_uid()
        };

        c.workspace = files_at(f, "in");
        roots_free(f->roots);
        f->roots = NULL;
        files_mkdir(f, "free");
        assert_int_equal(roots_new(&c, &f->roots, &f->err), 0);
        f->roots->has_openat2 &= files_variant.has_openat2;
        assert_int_equal(WRITE(files_at(f, "free/app/x/y"), "x", KEEP, .make_parents = true),
                         FILES_E_NOT_ALLOWED);
        assert_false(files_is_there(f, "free/app"));
        assert_int_equal(WRITE(allowed[0], "x", KEEP), FILES_E_NO_DIRECTORY);
        assert_int_equal(WRITE(files_at(f, "free/app/data/x"), "x", KEEP, .make_parents = true), 0);
        files_check(f, "free/app/data/x", "x");
        assert_int_equal(directory_make(f->roots, allowed[0], 0700, true, NULL, &f->err), 0);
        free(allowed[0]);
}

static void test_change(void **state)
{
        struct files *f = *state;

        files_put(f, "also/file", "x");
        files_link(f, "../also/file", "in/link");
        assert_int_equal(files_chmod(f, "link", 0640), 0);
        assert_int_equal(files_mode(f, "also/file"), 0640);
        assert_int_equal(files_chmod(f, ".", 01700), 0);
        assert_int_equal(files_mode(f, "in"), 01700);
        assert_int_equal(files_chmod(f, "absent", 0640), FILES_E_NOT_FOUND);
        assert_int_equal(files_chown(f, "link", (uid_t)-1, (gid_t)-1), 0);
        assert_int_equal(files_chown(f, "link", 4321, (gid_t)-1),
                         files_variant.is_user || geteuid() != 0 ? FILES_E_DENIED : 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                FILES_TEST(test_new),          FILES_TEST(test_replace),
                FILES_TEST(test_owner),        FILES_TEST(test_read_only_file),
                FILES_TEST(test_targets),      FILES_TEST(test_append),
                FILES_TEST(test_pieces),       FILES_TEST(test_mkdir),
                FILES_TEST(test_missing_root), FILES_TEST(test_change),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
