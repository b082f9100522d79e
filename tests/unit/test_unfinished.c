/* SPDX-License-Identifier: Apache-2.0 */

/* The journal of temporary names: what was noted is removed by the next agent. */

#include "tests/unit/unfinished_fixture.h"

#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>

static void test_left_behind(void **state)
{
        struct files *f = *state;
        char name[TEMPORARY_NAME_SIZE], path[200];
        struct unfinished *u = journal_begin(f);
        int fd;

        journal_leave(f, "in", KIND_FILE);
        journal_leave(f, "also", KIND_LINK);
        fd = journal_make(f, "in", KIND_DIRECTORY, name);
        close(fd);
        snprintf(path, sizeof(path), "in/%s/d", name);
        files_mkdir(f, path);
        snprintf(path, sizeof(path), "in/%s/d/link", name);
        files_link(f, "../../../out", path);
        snprintf(path, sizeof(path), "in/%s/d/file", name);
        files_put(f, path, "x");
        snprintf(path, sizeof(path), "in/%s/d", name);
        assert_int_equal(chmod(files_at(f, path), 0500), 0);
        fd = journal_make(f, "in", KIND_FILE, name);
        assert_int_equal(fchmod(fd, 0), 0); /* it just got its last mode */
        close(fd);
        files_put(f, "in/" A_NAME, "not noted");
        assert_int_equal(journal_n_noted(f), 4);
        journal_end(u);

        journal_expect(f, 4, 0);
        assert_int_equal(files_count(f, "in"), 1);
        assert_int_equal(files_count(f, "also"), 0);
        files_check(f, "out/secret", "secret");
        assert_int_equal(journal_n_noted(f), 0);
        journal_expect(f, 0, 0);
}

/* Slots are used again: the file stays small. */
static void test_given_up(void **state)
{
        struct files *f = *state;
        struct unfinished *u = journal_begin(f);
        int dir = journal_open_dir(f, "in");
        char name[TEMPORARY_NAME_SIZE];
        struct stat st;

        for (unsigned i = 0; i < UNFINISHED_N_SLOTS + 10; i++) {
                close(journal_make(f, "in", i % 2 ? KIND_FILE : KIND_DIRECTORY, name));
                assert_int_equal(journal_n_noted(f), 1);
                if (i % 3) {
                        temporary_remove(dir, name);
                } else {
                        assert_int_equal(renameat(dir, name, dir, "x"), 0);
                        temporary_forget(name);
                        assert_int_equal(unlinkat(dir, "x", i % 2 ? 0 : AT_REMOVEDIR), 0);
                }
                assert_int_equal(journal_n_noted(f), 0);
        }
        temporary_forget(name); /* again: harmless */
        temporary_forget("no temporary name");
        assert_int_equal(stat(journal_path(f), &st), 0);
        assert_true(st.st_size <= UNFINISHED_SLOT_SIZE);
        assert_int_equal(st.st_mode & 07777, 0600);
        assert_int_equal(st.st_uid, geteuid());
        /* What cannot be made is not noted. */
        assert_int_equal(mkdir(files_at(f, "in/gone"), 0755), 0);
        close(dir);
        dir = journal_open_dir(f, "in/gone");
        assert_int_equal(rmdir(files_at(f, "in/gone")), 0);
        assert_int_equal(temporary_make_file(dir, 0600, name), -ENOENT);
        assert_int_equal(temporary_make_directory(dir, name), -ENOENT);
        assert_int_equal(temporary_make_link(dir, "x", name), -ENOENT);
        assert_int_equal(journal_n_noted(f), 0);
        close(dir);
        journal_end(u);
}

static void test_full(void **state)
{
        struct files *f = *state;
        struct unfinished *u = journal_begin(f);

        for (unsigned i = 0; i < UNFINISHED_N_SLOTS + 5; i++)
                journal_leave(f, "in", KIND_FILE);
        assert_int_equal(journal_n_noted(f), UNFINISHED_N_SLOTS);
        journal_end(u);

        /* The next agent has no free slot either, until it has collected. */
        u = journal_begin(f);
        journal_leave(f, "also", KIND_FILE);
        journal_end(u);
        journal_expect(f, UNFINISHED_N_SLOTS, 0);
        assert_int_equal(files_count(f, "in"), 5);
        assert_int_equal(files_count(f, "also"), 1);
}

/* A disk without room, or a limit: files are made all the same. */
static void test_no_room(void **state)
{
        struct files *f = *state;
        struct unfinished *u = journal_begin(f);
        struct rlimit limit, small;
        char name[TEMPORARY_NAME_SIZE];

        assert_int_not_equal(signal(SIGXFSZ, SIG_IGN), SIG_ERR);
        assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
        /* 20: a write that ends in the middle. */
        for (rlim_t size = 0; size <= 20; size += 20) {
                small = (struct rlimit){ .rlim_cur = size, .rlim_max = limit.rlim_max };
                assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
                close(journal_make(f, "in", KIND_FILE, name));
                assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
                assert_int_equal(journal_n_noted(f), 0);
                temporary_forget(name);
        }
        assert_int_equal(files_count(f, "in"), 2);
        journal_leave(f, "in", KIND_FILE);
        assert_int_equal(journal_n_noted(f), 1);
        journal_end(u);
        journal_expect(f, 1, 0);
        assert_int_equal(files_count(f, "in"), 2);
}

/* Any bytes, and as long as they come. */
static void test_odd_paths(void **state)
{
        static const char *const odd[] = {
                "line\nbreak", "\xff\xfe", " ", "(deleted)", "\\n", "%s"
        };
        struct files *f = *state;
        struct unfinished *u = journal_begin(f);
        char part[NAME_MAX + 1], path[PATH_MAX];
        size_t size;

        for (unsigned i = 0; i < ARRAY_LEN(odd); i++) {
                snprintf(path, sizeof(path), "in/%s", odd[i]);
                files_mkdir(f, path);
                journal_leave(f, path, KIND_FILE);
        }
        memset(part, 'p', sizeof(part) - 1);
        part[sizeof(part) - 1] = '\0';
        size = (size_t)snprintf(path, sizeof(path), "also");
        while (strlen(f->base) + size + sizeof(part) + 1 < PATH_MAX - 1) {
                size += (size_t)snprintf(path + size, sizeof(path) - size, "/%s", part);
                files_mkdir(f, path);
        }
        journal_leave(f, path, KIND_FILE);
        journal_end(u);
        journal_expect(f, ARRAY_LEN(odd) + 1, 0);
        for (unsigned i = 0; i < ARRAY_LEN(odd); i++) {
                char name[64];

                snprintf(name, sizeof(name), "in/%s", odd[i]);
                assert_int_equal(files_count(f, name), 0);
        }
        assert_int_equal(files_count(f, path), 0);
}

/* What is in use, cannot be removed now, or is not to be removed now, is left to the next agent. */
static void test_later(void **state)
{
        struct files *f = *state;
        struct unfinished *u = journal_begin(f);
        atomic_bool cancel = true;
        char name[TEMPORARY_NAME_SIZE];
        unsigned left;
        int fd;

        fd = journal_make(f, "in", KIND_FILE, name);
        journal_leave(f, "also", KIND_FILE);
        assert_int_equal(chmod(files_at(f, "also"), 0555), 0);
        journal_end(u);

        journal_expect(f, 0, 2);
        assert_int_equal(chmod(files_at(f, "also"), 0755), 0);
        close(fd);
        u = journal_begin(f);
        assert_int_equal(unfinished_collect(u, f->roots, &cancel, &left), 0);
        assert_int_equal(left, 2);
        journal_end(u);
        journal_expect(f, 2, 0);
        assert_int_equal(files_count(f, "in"), 0);
        assert_int_equal(files_count(f, "also"), 0);
}

/* New names are noted while the predecessor's are there, which stay what they are. */
static void test_both(void **state)
{
        struct files *f = *state;
        struct unfinished *u = journal_begin(f);
        unsigned left;

        journal_leave(f, "in", KIND_FILE);
        journal_end(u);
        u = journal_begin(f);
        journal_leave(f, "in", KIND_FILE);
        assert_int_equal(journal_n_noted(f), 2);
        assert_int_equal(unfinished_collect(u, f->roots, NULL, &left), 1);
        assert_int_equal(journal_n_noted(f), 1);
        assert_int_equal(files_count(f, "in"), 1);
        journal_end(u);
        journal_expect(f, 1, 0);
        assert_int_equal(files_count(f, "in"), 0);
}

static void *make_many(void *arg)
{
        const struct files *f = arg;
        CLEANUP(files_scope_leave) struct files_scope scope = { NULL };
        char names[20][TEMPORARY_NAME_SIZE], path[80];
        int dir;

        snprintf(path, sizeof(path), "%s/in", f->base);
        dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (files_scope_enter(&scope, &f->roots->user) < 0)
                return NULL;
        for (unsigned i = 0; i < 300; i++) {
                char *name = names[i % ARRAY_LEN(names)];

                if (i >= ARRAY_LEN(names))
                        temporary_remove(dir, name);
                close(temporary_make_file(dir, 0600, name));
        }
        close(dir);
        return arg;
}

static void test_threads(void **state)
{
        enum { N_THREADS = 4 };
        struct files *f = *state;
        struct unfinished *u = journal_begin(f);
        pthread_t threads[N_THREADS];
        void *result;

        for (unsigned i = 0; i < N_THREADS; i++)
                assert_int_equal(pthread_create(&threads[i], NULL, make_many, f), 0);
        for (unsigned i = 0; i < N_THREADS; i++) {
                assert_int_equal(pthread_join(threads[i], &result), 0);
                assert_ptr_equal(result, f);
        }
        assert_int_equal(files_count(f, "in"), N_THREADS * 20);
        assert_int_equal(journal_n_noted(f), N_THREADS * 20);
        journal_end(u);
        journal_expect(f, N_THREADS * 20, 0);
        assert_int_equal(files_count(f, "in"), 0);
}

static void test_names(void **state)
{
        char name[TEMPORARY_NAME_SIZE];

        (void)state;
        assert_true(temporary_is_name(temporary_name(name)));
        assert_true(temporary_is_name(A_NAME));
        assert_false(temporary_is_name(".vm-agent-tmp-0123456789abcdef0123456"));
        assert_false(temporary_is_name(".vm-agent-tmp-0123456789abcdef012345678"));
        assert_false(temporary_is_name(".vm-agent-tmp-0123456789ABCDEF01234567"));
        assert_false(temporary_is_name("xvm-agent-tmp-0123456789abcdef01234567"));
        assert_false(temporary_is_name(".vm-agent-tmp-"));
        assert_false(temporary_is_name(""));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                FILES_TEST(test_left_behind), FILES_TEST_ONCE(test_given_up),
                FILES_TEST_ONCE(test_full),   FILES_TEST_ONCE(test_no_room),
                FILES_TEST(test_odd_paths),   FILES_TEST_ONCE(test_later),
                FILES_TEST(test_both),        FILES_TEST_ONCE(test_threads),
                FILES_TEST_ONCE(test_names),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
