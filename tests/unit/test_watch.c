/* SPDX-License-Identifier: Apache-2.0 */

/* Single operations, and what is told about them. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/watch/watch.h"
#include "tests/lib/skip.h"
#include "tests/unit/watch_fixture.h"

static char *path_of(struct watched *w, const char *name)
{
        if (*name == '@')
                return xasprintf("%s/%s", w->base, name + 1);
        if (*name == '^')
                return xasprintf("%s/outside/%s", w->base, name + 1);
        return xasprintf("%s/%s", w->root, name);
}

/* "command a [b]"; paths are relative to the root, with ^ to the other directory, with @ to what contains both. */
static void do_one(struct watched *w, const char *line)
{
        char command[16] = "", first[256] = "", second[256] = "";
        char *a, *b;
        int fd, r = 0;

        assert_true(sscanf(line, "%15s %255s %255s", command, first, second) >= 2);
        a = path_of(w, first);
        b = path_of(w, second);
        if (strcmp(command, "mkdir") == 0) {
                r = mkdir(a, 0755);
        } else if (strcmp(command, "write") == 0) {
                fd = open(a, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
                assert_true(fd >= 0);
                assert_int_equal(write(fd, "x", 1), 1);
                close(fd);
        } else if (strcmp(command, "write1000") == 0) {
                fd = open(a, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
                assert_true(fd >= 0);
                for (int i = 0; i < 1000; i++)
                        assert_int_equal(write(fd, "x", 1), 1);
                close(fd);
        } else if (strcmp(command, "mv") == 0) {
                r = rename(a, b);
        } else if (strcmp(command, "swap") == 0) {
                r = renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE);
        } else if (strcmp(command, "rm") == 0) {
                r = path_remove_tree(a);
                if (r == -ENOTDIR)
                        r = unlink(a);
        } else if (strcmp(command, "link") == 0) {
                r = link(a, b);
        } else if (strcmp(command, "symlink") == 0) {
                r = symlink(second, a);
        } else if (strcmp(command, "chmod") == 0) {
                r = chmod(a, (mode_t)strtoul(second, NULL, 8));
        } else if (strcmp(command, "touch") == 0) {
                r = utimensat(AT_FDCWD, a, NULL, 0);
        } else {
                fail_msg("unknown: %s", command);
        }
        if (r != 0)
                fail_msg("%s: %d, errno %d", line, r, errno);
        free(a);
        free(b);
}

/* Separated by ';'. */
static void do_all(struct watched *w, const char *text)
{
        char *copy = xstrdup(text), *save = NULL;

        for (char *line = strtok_r(copy, ";", &save); line; line = strtok_r(NULL, ";", &save))
                do_one(w, line);
        free(copy);
}

struct row {
        const char *name;
        const char *before;
        const char *change; /* at once; "|" lets it be told before it goes on */
        const char *told;
};

// clang-format off
static const struct row ROWS[] = {
        { "a new file",             NULL, "write f",                       "created f\n" },
        { "a new directory",        NULL, "mkdir d",                       "created d/\n" },
        { "created and modified",   NULL, "write f; write f; touch f",     "created f\n" },
        { "created and deleted",    NULL, "write f; rm f",                 "" },
        { "written",                "write f", "write f",                  "modified f\n" },
        { "written often",          "write f", "write1000 f",              "modified f\n" },
        { "touched",                "write f", "touch f",                  "modified f\n" },
        { "another mode",           "write f", "chmod f 600",              "modified f\n" },
        { "another mode, directory", "mkdir d", "chmod d 700",             "modified d/\n" },
        { "deleted",                "write f", "rm f",                     "deleted f\n" },
        { "renamed",                "write f", "mv f g",                   "renamed f g\n" },
        { "renamed and written",    "write f", "mv f g; write g",          "renamed f g\nmodified g\n" },
        { "written and renamed",    "write f", "write f; mv f g",          "renamed f g\nmodified g\n" },
        { "renamed and deleted",    "write f", "mv f g; rm g",             "renamed f g\ndeleted g\n" },
        { "created and renamed",    NULL, "write f; mv f g",               "created g\n" },
        { "renamed over",           "write f; write g", "mv f g",          "renamed f g\n" },
        { "saved atomically",       "write f", "write t; mv t f",          "modified f\n" },
        { "saved, seen in between", "write f", "write t | mv t f",         "created t\nrenamed t f\n" },
        { "a chain",                "write a", "mv a b; mv b c",           "renamed a b\nrenamed b c\n" },
        { "a shift",                "write a; write b", "mv b c; mv a b",  "renamed b c\nrenamed a b\n" },
        { "a circle",               "write a; write b", "mv a t; mv b a; mv t b",
                                    "renamed a t\nrenamed b a\nrenamed t b\n" },
        { "moved out",              "write f", "mv f ^f",                  "deleted f\n" },
        { "moved in",               "write ^f", "mv ^f f",                 "created f\n" },
        { "moved in over",          "write f; write ^f", "mv ^f f",        "modified f\n" },
        { "out and in",             "write f", "mv f ^f; mv ^f f",         "" },
        { "replaced",               "write f", "mv f ^f; write f",         "modified f\n" },
        { "file to directory",      "write f", "rm f; mkdir f; write f/g", "deleted f\ncreated f/\ncreated f/g\n" },
        { "directory to file",      "mkdir f; write f/g", "rm f; write f",
                                    "deleted f/g\ndeleted f/\ncreated f\n" },
        { "symbolic link",          "mkdir d", "symlink l d",              "created l\n" },
        { "hard link",              "write f", "link f g",                 "created g\n" },
        { "nested at once",         NULL, "mkdir a; mkdir a/b; write a/b/f",
                                    "created a/\ncreated a/b/\ncreated a/b/f\n" },
        { "nested, then more",      NULL, "mkdir a; mkdir a/b | write a/b/f | write a/b/f",
                                    "created a/\ncreated a/b/\ncreated a/b/f\nmodified a/b/f\n" },
        { "directory deleted",      "mkdir a; mkdir a/b; write a/b/f", "rm a",
                                    "deleted a/b/f\ndeleted a/b/\ndeleted a/\n" },
        { "directory renamed",      "mkdir a; mkdir a/b; write a/b/f", "mv a c | write c/b/f | rm c/b/f",
                                    "renamed a c/\nmodified c/b/f\ndeleted c/b/f\n" },
        { "written below, renamed", "mkdir a; mkdir a/b; write a/b/f", "write a/b/f; mv a c",
                                    "renamed a c/\nmodified c/b/f\n" },
        { "directory moved out",    "mkdir a; mkdir a/b; write a/b/f", "mv a ^a | write ^a/b/g; write ^a/h",
                                    "deleted a/b/f\ndeleted a/b/\ndeleted a/\n" },
        { "directory moved in",     "mkdir ^a; mkdir ^a/b; write ^a/b/f", "mv ^a a | write a/b/f",
                                    "created a/\ncreated a/b/\ncreated a/b/f\nmodified a/b/f\n" },
        { "out and in, directory",  "mkdir a; write a/f", "mv a ^a; mv ^a a | write a/f", "modified a/f\n" },
        { "out and in elsewhere",   "mkdir a; write a/f; mkdir d", "mv a ^a; mv ^a d/a | write d/a/f",
                                    "renamed a d/a/\nmodified d/a/f\n" },
        { "out, told, and in",      "mkdir a; write a/f", "mv a ^a | mv ^a a | write a/f",
                                    "deleted a/f\ndeleted a/\ncreated a/\ncreated a/f\nmodified a/f\n" },
        { "into a new directory",   "mkdir a; write a/f", "mkdir d; mv a d/a | write d/a/f",
                                    "created d/\nrenamed a d/a/\nmodified d/a/f\n" },
        { "parent becomes child",   "mkdir a; mkdir a/b; write a/b/f", "mv a/b b; mv a b/a | write b/f",
                                    "renamed a/b b/\nrenamed a b/a/\nmodified b/f\n" },
        { "over an empty one",      "mkdir a; write a/f; mkdir b", "mv a b | write b/f",
                                    "deleted b/\nrenamed a b/\nmodified b/f\n" },
        { "deleted, made again",    "mkdir a; write a/f; write a/g", "rm a; mkdir a; write a/f | write a/h", NULL },
        { "emptied, then over",     "mkdir a; write a/f; mkdir b; write b/g", "rm b/g; mv a b",
                                    "deleted b/g\ndeleted b/\nrenamed a b/\n" },
        { "directories exchanged",  "mkdir a; write a/f; mkdir b; write b/g", "swap a b | write a/g; write b/f", NULL },
        { "file and directory exchanged", "mkdir a; write a/f; write b", "swap a b | write b/f", NULL },
        { "circle of directories",  "mkdir a; mkdir a/x; mkdir b; mkdir b/y",
                                    "mv a t; mv b a; mv t b | write a/y/f; write b/x/f",
                                    "renamed a t/\nrenamed b a/\nrenamed t b/\ncreated a/y/f\ncreated b/x/f\n" },
};
// clang-format on

static bool has_lines_of(const char *log, const char *told)
{
        char *copy = xstrdup(told), *save = NULL;
        bool has = strlen(log) == strlen(told);

        for (char *line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
                has &= strstr(log, line) != NULL;
        free(copy);
        return has;
}

static void run_row(struct loop *l, const struct row *row)
{
        char *copy = xstrdup(row->change), *save = NULL;
        struct watch_options o;
        struct watched w;
        const char *log;

        watched_init(&w, l);
        if (row->before)
                do_all(&w, row->before);
        o = watched_options(&w);
        watched_start(&w, &o);
        watched_wait_ready(&w);
        for (char *part = strtok_r(copy, "|", &save); part; part = strtok_r(NULL, "|", &save)) {
                do_all(&w, part);
                watched_settle(&w);
        }
        log = w.log.data ? w.log.data : "";
        /* What is independent may be told in any order; the replay checks the rest. */
        if (row->told && !has_lines_of(log, row->told))
                fail_msg("%s: told\n%snot\n%s", row->name, log, row->told);
        assert_int_equal(w.n_overflows, 0);
        free(copy);
        watched_done(&w);
}

static void test_operations(void **state)
{
        for (size_t i = 0; i < ARRAY_LEN(ROWS); i++)
                run_row(*state, &ROWS[i]);
}

static void test_existing(void **state)
{
        struct watch_options o;
        struct watched w;

        watched_init(&w, *state);
        do_all(&w, "mkdir a; mkdir a/b; write a/b/f; symlink a/b/l /; write g");
        o = watched_options(&w);
        o.reports_existing = true;
        watched_start(&w, &o);
        watched_wait_ready(&w);
        watched_settle(&w);
        assert_int_equal(w.n_events, 5);
        watched_done(&w);
}

/* Odd names come as they are. */
static void test_names(void **state)
{
        static const char *const NAMES[] = { " ",        "new\nline", "+%#?&", "\xf0\x9f\x98\x80",
                                             "\xff\xfe", "-rf ",      "\\",    "\"",
                                             "...",      "a\tb" };
        struct watch_options o;
        struct watched w;
        char longest[256];
        char *path;

        watched_init(&w, *state);
        o = watched_options(&w);
        watched_start(&w, &o);
        watched_wait_ready(&w);
        memset(longest, 'n', 255);
        longest[255] = '\0';
        for (size_t i = 0; i <= ARRAY_LEN(NAMES); i++) {
                path = xasprintf("%s/%s", w.root, i < ARRAY_LEN(NAMES) ? NAMES[i] : longest);
                assert_int_equal(mkdir(path, 0755), 0);
                free(path);
        }
        path = xasprintf("%s/%s/%s", w.root, longest, longest);
        assert_int_equal(mkdir(path, 0755), 0);
        free(path);
        watched_settle(&w);
        assert_int_equal(w.n_events, ARRAY_LEN(NAMES) + 2);
        watched_done(&w);
}

static void test_not_recursive(void **state)
{
        struct watch_options o;
        struct watched w;

        watched_init(&w, *state);
        w.checks_nothing = true;
        do_all(&w, "mkdir a; write a/f");
        o = watched_options(&w);
        o.is_recursive = false;
        watched_start(&w, &o);
        watched_wait_ready(&w);
        do_all(&w, "write a/f; write a/g; mkdir b; write b/f; mv a c; mv b/f f");
        watched_wait_idle(&w);
        assert_true(has_lines_of(w.log.data, "renamed a c/\ncreated b/\ncreated f\n"));
        watched_done(&w);
}

struct ignoring {
        unsigned n_asked;
        unsigned n_freed;
};

static enum watch_interest ignore_some(const char *path, bool is_directory, void *arg)
{
        struct ignoring *i = arg;
        const char *slash = strrchr(path, '/');
        const char *name = slash ? slash + 1 : path;

        i->n_asked++;
        assert_true(*path != '/' && *path);
        if (strcmp(name, "ignored") == 0 || strncmp(path, "build/", 6) == 0)
                return WATCH_IGNORE;
        return is_directory && strcmp(name, ".git") == 0 ? WATCH_ENTRY : WATCH_TREE;
}

static void free_ignoring(void *arg)
{
        struct ignoring *i = arg;

        i->n_freed++;
}

static void test_ignored(void **state)
{
        struct ignoring ignoring = { 0 };
        struct watch_options o;
        struct watched w;

        watched_init(&w, *state);
        w.checks_nothing = true;
        do_all(&w,
               "mkdir ignored; write ignored/f; mkdir .git; write .git/f; mkdir d; mkdir build");
        o = watched_options(&w);
        o.interest = ignore_some;
        o.interest_arg = &ignoring;
        o.free_interest = free_ignoring;
        o.interest_by_path = true;
        watched_start(&w, &o);
        watched_wait_ready(&w);
        assert_true(ignoring.n_asked > 0);

        do_all(&w,
               "write ignored/f; write .git/f; write .git/g; write build/f; mkdir d/ignored; write d/ignored/f");
        do_all(&w, "mkdir d/.git; write d/.git/f; write d/f");
        watched_wait_idle(&w);
        assert_true(has_lines_of(w.log.data, "created d/.git/\ncreated d/f\n"));
        buf_done(&w.log);

        /* Renames across the border, and of what contains the border. */
        do_all(&w,
               "mv d/f d/ignored/g; mv ignored seen; mv d/.git d/git; write d/git/g; mv build built");
        watched_wait_idle(&w);
        assert_true(has_lines_of(w.log.data,
                                 "deleted d/f\ncreated seen/\ncreated seen/f\ndeleted d/.git/\n"
                                 "created d/git/\ncreated d/git/f\ncreated d/git/g\n"
                                 "renamed build built/\ncreated built/f\n"));
        buf_done(&w.log);
        do_all(&w, "mv built build");
        watched_wait_idle(&w);
        assert_true(has_lines_of(w.log.data, "renamed built build/\ndeleted build/f\n"));

        watched_done(&w);
        assert_int_equal(ignoring.n_freed, 0);
        while (ignoring.n_freed == 0)
                (void)uv_run(&((struct loop *)*state)->uv, UV_RUN_ONCE);
        assert_int_equal(ignoring.n_freed, 1);
}

static void expect_gone(struct loop *l, const char *how)
{
        struct watch_options o;
        struct watched w;

        watched_init(&w, l);
        w.checks_nothing = true;
        do_all(&w, "mkdir a; write a/f");
        o = watched_options(&w);
        watched_start(&w, &o);
        watched_wait_ready(&w);
        do_all(&w, how);
        assert_true(loop_run_until(l, watched_has_ended_, &w, HANG_MS));
        assert_int_equal(w.end, WATCH_GONE);
        assert_int_equal(w.error.code, -ENOENT);
        watched_linger(&w, 50);
        assert_int_equal(w.n_ends, 1);
        watched_done(&w);
}

static void test_root_gone(void **state)
{
        expect_gone(*state, "rm @root");
        expect_gone(*state, "rm @root; mkdir @root; write f");
        expect_gone(*state, "mv @root @elsewhere");
        expect_gone(*state, "mv @root @elsewhere; mkdir @root");
        expect_gone(*state, "mv @root @elsewhere; write @elsewhere/f; symlink @root elsewhere");
}

static void test_root_missing(void **state)
{
        static const int CODES[] = { -ENOENT, -ENOTDIR, -ENOTDIR };
        struct watch_options o;
        struct watched w;

        for (size_t i = 0; i < ARRAY_LEN(CODES); i++) {
                watched_init(&w, *state);
                w.checks_nothing = true;
                do_all(&w, "rm @root");
                if (i == 1)
                        do_all(&w, "write @root");
                if (i == 2)
                        do_all(&w, "symlink @root outside");
                o = watched_options(&w);
                watched_start(&w, &o);
                assert_true(loop_run_until(*state, watched_has_ended_, &w, HANG_MS));
                assert_int_equal(w.end, WATCH_FAILED);
                assert_int_equal(w.error.code, CODES[i]);
                assert_int_equal(w.n_ready, 0);
                watched_done(&w);
        }
}

/* As somebody who may not read everything. */
static void test_denied(void **state)
{
        struct watch_options o;
        struct watched w;

        if (geteuid() != 0)
                SKIP_TEST("only root becomes somebody else");
        watched_init(&w, *state);
        w.checks_nothing = true;
        do_all(&w,
               "mkdir open; mkdir closed; mkdir closed/in; write closed/in/f; chmod closed 700; write f");
        assert_int_equal(chmod(w.base, 0755), 0);
        assert_int_equal(seteuid(65534), 0);
        o = watched_options(&w);
        o.reports_existing = true;
        watched_start(&w, &o);
        watched_wait_ready(&w);
        assert_true(has_lines_of(w.log.data, "created open/\ncreated closed/\ncreated f\n"));
        assert_int_equal(watch_n_denied(w.watch), 1);
        buf_done(&w.log);

        /* It becomes readable, and changes. */
        assert_int_equal(seteuid(0), 0);
        do_all(&w, "write closed/in/g; chmod closed 755");
        assert_int_equal(seteuid(65534), 0);
        watched_wait_idle(&w);
        assert_true(has_lines_of(w.log.data,
                                 "modified closed/\ncreated closed/in/\ncreated closed/in/f\n"
                                 "created closed/in/g\n"));
        buf_done(&w.log);

        /* Not any more, and again: what happened meanwhile is told then. */
        assert_int_equal(seteuid(0), 0);
        do_all(&w, "chmod closed 700; write closed/in/h; rm closed/in/f");
        assert_int_equal(seteuid(65534), 0);
        watched_wait_idle(&w);
        assert_true(has_lines_of(w.log.data, "modified closed/\n"));
        assert_int_equal(seteuid(0), 0);
        do_all(&w, "chmod closed 755");
        assert_int_equal(seteuid(65534), 0);
        watched_wait_idle(&w);
        assert_non_null(strstr(w.log.data, "created closed/in/h\n"));
        assert_non_null(strstr(w.log.data, "deleted closed/in/f\n"));
        assert_int_equal(seteuid(0), 0);
        watched_done(&w);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_operations, loop_setup, loop_teardown),
                cmocka_unit_test_setup_teardown(test_existing, loop_setup, loop_teardown),
                cmocka_unit_test_setup_teardown(test_names, loop_setup, loop_teardown),
                cmocka_unit_test_setup_teardown(test_not_recursive, loop_setup, loop_teardown),
                cmocka_unit_test_setup_teardown(test_ignored, loop_setup, loop_teardown),
                cmocka_unit_test_setup_teardown(test_denied, loop_setup, loop_teardown),
                cmocka_unit_test_setup_teardown(test_root_gone, loop_setup, loop_teardown),
                cmocka_unit_test_setup_teardown(test_root_missing, loop_setup, loop_teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
