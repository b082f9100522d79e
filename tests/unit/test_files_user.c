/* SPDX-License-Identifier: Apache-2.0 */

/* An agent that is root acts as another user, in one thread, for a while. */

#include "tests/unit/files_fixture.h"

#include <grp.h>
#include <pthread.h>
#include <sys/syscall.h>

#include "agent/files/directory.h"
#include "agent/files/info.h"
#include "agent/files/read.h"
#include "agent/files/remove.h"
#include "agent/files/write.h"
#include "tests/lib/skip.h"

static const struct file_write_options plain = { .mode = FILE_MODE_KEEP, .overwrite = true };

static void *look(void *data)
{
        gid_t *groups = data;

        groups[0] = (gid_t)setfsuid((uid_t)-1);
        groups[1] = (gid_t)setfsgid((gid_t)-1);
        groups[2] = (gid_t)getgroups(0, NULL);
        return NULL;
}

static void test_scope(void **state)
{
        gid_t wanted[] = { 4242, 4243 }, before[64], seen[64], other[3];
        struct files_scope outer = { NULL }, inner = { NULL };
        struct files_user u;
        pthread_t thread;
        int n_before = getgroups(64, before);

        (void)state;
        if (geteuid() != 0)
                SKIP_TEST("only root can act as somebody else");
        assert_int_equal(files_user_init(&u, 1234, 1235, wanted, 2), 0);
        assert_true(u.is_other);
        assert_int_equal(files_scope_enter(&outer, &u), 0);
        assert_int_equal(setfsuid((uid_t)-1), 1234);
        assert_int_equal(setfsgid((gid_t)-1), 1235);
        assert_int_equal(getgroups(64, seen), 2);
        assert_memory_equal(seen, wanted, sizeof(wanted));
        assert_int_equal(geteuid(), 0);

        assert_int_equal(files_scope_enter(&inner, &u), 0);
        files_scope_leave(&inner);
        assert_int_equal(setfsuid((uid_t)-1), 1234);

        errno = EXDEV;
        files_scope_leave(&outer);
        assert_int_equal(errno, EXDEV);
        files_scope_leave(&outer);
        assert_int_equal(setfsuid((uid_t)-1), 0);
        assert_int_equal(setfsgid((gid_t)-1), (int)getegid());
        assert_int_equal(getgroups(64, seen), n_before);
        assert_memory_equal(seen, before, (size_t)n_before * sizeof(gid_t));

        /* Other threads are not concerned. */
        assert_int_equal(files_scope_enter(&outer, &u), 0);
        files_scope_leave(&outer);
        assert_int_equal(files_scope_enter(&outer, &u), 0);
        files_scope_leave(&outer);
        assert_int_equal(pthread_create(&thread, NULL, look, other), 0);
        pthread_join(thread, NULL);
        assert_int_equal(other[0], 0);
        files_user_done(&u);
}

struct meeting {
        pthread_barrier_t barrier;
        gid_t seen[3];
};

static void *look_meanwhile(void *data)
{
        struct meeting *m = data;

        pthread_barrier_wait(&m->barrier);
        look(m->seen);
        pthread_barrier_wait(&m->barrier);
        return NULL;
}

static void test_one_thread(void **state)
{
        gid_t groups[] = { 1, 2, 3 };
        struct files_scope scope = { NULL };
        struct files_user u;
        struct meeting m;
        pthread_t thread;

        (void)state;
        if (geteuid() != 0)
                SKIP_TEST("only root can act as somebody else");
        assert_int_equal(files_user_init(&u, 1234, 1235, groups, 3), 0);
        pthread_barrier_init(&m.barrier, NULL, 2);
        assert_int_equal(pthread_create(&thread, NULL, look_meanwhile, &m), 0);
        assert_int_equal(files_scope_enter(&scope, &u), 0);
        pthread_barrier_wait(&m.barrier);
        pthread_barrier_wait(&m.barrier);
        files_scope_leave(&scope);
        pthread_join(thread, NULL);
        assert_int_equal(m.seen[0], 0);
        assert_int_equal(m.seen[1], getegid());
        assert_int_equal(m.seen[2], getgroups(0, NULL));
        files_user_done(&u);
        pthread_barrier_destroy(&m.barrier);
}

/* Whoever cannot become another user stays what they are. */
static void test_not_root(void **state)
{
        struct files_user u;

        (void)state;
        assert_int_equal(files_user_init(&u, 0, 0, NULL, 0), 0);
        assert_false(u.is_other);
        files_user_done(&u);
}

static void test_owner(void **state)
{
        struct files *f = *state;
        struct file_written w;
        struct stat st;

        assert_int_equal(file_write(f->roots, "d/new", "x", 1,
                                    &(struct file_write_options){ .mode = FILE_MODE_KEEP,
                                                                  .make_parents = true },
                                    &w, &f->err),
                         0);
        assert_int_equal(directory_make(f->roots, "made", 0750, false, NULL, &f->err), 0);
        for (const char *const *name = (const char *const[]){ "in/d", "in/d/new", "in/made", NULL };
             *name; name++) {
                assert_int_equal(lstat(files_at(f, *name), &st), 0);
                assert_int_equal(st.st_uid, files_uid());
                assert_int_equal(st.st_gid, files_uid());
        }
        assert_int_equal(files_mode(f, "in/d/new"), 0644);
        assert_int_equal(files_mode(f, "in/made"), 0750);
}

/* Files of root's in an allowed directory. */
static void test_permissions(void **state)
{
        struct files *f = *state;
        struct file_part part;
        struct file_read_options o = { .max = 100 };
        bool exists, is_directory;
        int wanted = files_variant.is_user ? FILES_E_DENIED : 0;

        if (geteuid() != 0)
                SKIP_TEST("only root can act as somebody else");
        files_put(f, "in/private", "x");
        files_mkdir(f, "in/closed");
        files_put(f, "in/closed/x", "x");
        assert_int_equal(chown(files_at(f, "in/private"), 0, 0), 0);
        assert_int_equal(chmod(files_at(f, "in/private"), 0600), 0);
        assert_int_equal(chown(files_at(f, "in/closed"), 0, 0), 0);
        assert_int_equal(chmod(files_at(f, "in/closed"), 0700), 0);

        assert_int_equal(file_read(f->roots, "private", &o, &part, &f->err), wanted);
        if (wanted) {
                assert_string_equal(f->err.message, "Permission denied: private");
                /* The directory is the user's, but that is not all that counts. */
                assert_int_equal(file_write(f->roots, "private", "y", 1, &plain, NULL, &f->err),
                                 FILES_E_DENIED);
                files_check(f, "in/private", "x");
                assert_int_equal(files_count(f, "in"), 2);
        } else {
                file_part_done(&part);
        }
        assert_int_equal(file_read(f->roots, "closed/x", &o, &part, &f->err), wanted);
        if (!wanted)
                file_part_done(&part);
        assert_int_equal(file_exists(f->roots, "closed/x", &exists, &is_directory, &f->err),
                         wanted);
        assert_int_equal(file_exists(f->roots, "closed/y", &exists, &is_directory, &f->err),
                         wanted);
        assert_int_equal(file_write(f->roots, "closed/y", "", 0, &plain, NULL, &f->err), wanted);
        assert_int_equal(files_chmod(f, "private", 0644), wanted);
        assert_int_equal(files_chown(f, "private", FILES_USER, (gid_t)-1), wanted);
        assert_int_equal(file_remove(f->roots, "closed",
                                     &(struct file_remove_options){ .is_recursive = true }, NULL,
                                     &f->err),
                         wanted);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_scope),    cmocka_unit_test(test_one_thread),
                cmocka_unit_test(test_not_root), FILES_TEST(test_owner),
                FILES_TEST(test_permissions),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
