/* SPDX-License-Identifier: Apache-2.0 */

/* An agent that is killed in the middle, and who cleans up after it. */

#include "tests/unit/files_fixture.h"

#include <signal.h>
#include <sys/wait.h>

#include "agent/files/copy.h"
#include "agent/files/unfinished.h"
#include "agent/files/write.h"

#define SIZE 300000

static const struct file_write_options over = { .mode = FILE_MODE_KEEP, .overwrite = true };

/* In the child: the agent that is going to be killed. */
static void begin_journal(struct files *f)
{
        struct unfinished *journal = NULL;

        if (unfinished_open(f->base, &journal, &f->err) < 0)
                _exit(2);
        temporary_set_journal(journal);
}

/* The next agent. Returns how much it removed. */
static unsigned collect(struct files *f)
{
        struct unfinished *journal = NULL;
        unsigned n, n_left;

        assert_int_equal(unfinished_open(f->base, &journal, &f->err), 0);
        n = unfinished_collect(journal, f->roots, NULL, &n_left);
        assert_int_equal(n_left, 0);
        unfinished_close(journal);
        return n;
}

/* Ends the child @pid when it says that it is in the middle, which is a byte in @fd. */
static void kill_in_the_middle(pid_t pid, int fd)
{
        char byte;

        assert_int_equal(read(fd, &byte, 1), 1);
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        close(fd);
}

static void test_write(void **state)
{
        struct files *f = *state;
        int fds[2];
        pid_t pid;

        files_put(f, "in/file", "old content");
        assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
        pid = fork();
        if (pid == 0) {
                struct file_writer *w = NULL;

                begin_journal(f);
                if (file_writer_open(f->roots, "file", &over, &w, &f->err) == 0 &&
                    file_writer_write(w, "new", 3, &f->err) == 0 && write(fds[1], "x", 1) == 1)
                        for (;;)
                                pause();
                _exit(1);
        }
        close(fds[1]);
        kill_in_the_middle(pid, fds[0]);
        files_check(f, "in/file", "old content");
        assert_int_equal(files_count(f, "in"), 2);
        assert_int_equal(collect(f), 1);
        assert_int_equal(files_count(f, "in"), 1);
        files_check(f, "in/file", "old content");
}

/* Killed at any moment: what is there is one whole content or the other. */
static void test_any_moment(void **state)
{
        enum { ROUNDS = 25 };
        struct files *f = *state;
        char *texts[2];

        for (unsigned i = 0; i < 2; i++) {
                texts[i] = xcalloc(SIZE + 1, 1);
                memset(texts[i], 'a' + (int)i, SIZE);
        }
        files_put(f, "in/file", texts[0]);
        for (unsigned round = 0; round < ROUNDS; round++) {
                struct error err = ERROR_INIT;
                struct buf b;
                int fds[2];
                pid_t pid;

                assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
                pid = fork();
                if (pid == 0) {
                        begin_journal(f);
                        for (unsigned i = round;; i++) {
                                if (file_write(f->roots, "file", texts[i % 2], SIZE, &over, NULL,
                                               &f->err) != 0)
                                        _exit(1);
                                if (i == round + round % 5)
                                        (void)!write(fds[1], "x", 1);
                        }
                }
                close(fds[1]);
                kill_in_the_middle(pid, fds[0]);
                buf_init(&b, 0);
                assert_int_equal(fd_read_file(files_at(f, "in/file"), SIZE + 1, &b, &err), 0);
                assert_int_equal(b.size, SIZE);
                assert_memory_equal(b.data, texts[b.data[0] - 'a'], SIZE);
                buf_done(&b);
                assert_in_range(collect(f), 0, 1);
                assert_int_equal(files_count(f, "in"), 1);
        }
        free(texts[0]);
        free(texts[1]);
}

/* A tree that is copied, with directories that must not be written to. */
static void test_copy(void **state)
{
        enum { ROUNDS = 10 };
        struct files *f = *state;

        files_mkdir(f, "in/tree");
        for (unsigned i = 0; i < 20; i++) {
                char name[64];

                snprintf(name, sizeof(name), "in/tree/%u", i);
                files_mkdir(f, name);
                snprintf(name, sizeof(name), "in/tree/%u/file", i);
                files_put(f, name, "content");
                snprintf(name, sizeof(name), "in/tree/%u", i);
                assert_int_equal(chmod(files_at(f, name), 0555), 0);
        }
        for (unsigned round = 0; round < ROUNDS; round++) {
                int fds[2];
                pid_t pid;

                assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
                pid = fork();
                if (pid == 0) {
                        begin_journal(f);
                        (void)!write(fds[1], "x", 1);
                        for (unsigned i = 0;; i++) {
                                struct file_copied copied;
                                char name[64];

                                snprintf(name, sizeof(name), "copy-%u-%u", round, i);
                                if (file_copy(f->roots, "tree", name,
                                              &(struct file_copy_options){ .overwrite = false },
                                              &copied, &f->err) != 0)
                                        _exit(1);
                        }
                }
                close(fds[1]);
                kill_in_the_middle(pid, fds[0]);
                assert_in_range(collect(f), 0, 1);
        }
        /* Everything that is there is complete. */
        {
                DIR *dir = opendir(files_at(f, "in"));
                struct dirent *entry;

                while ((entry = readdir(dir))) {
                        char name[300];

                        assert_false(temporary_is_name(entry->d_name));
                        if (entry->d_name[0] == '.')
                                continue;
                        snprintf(name, sizeof(name), "in/%s", entry->d_name);
                        assert_int_equal(files_count(f, name), 20);
                        snprintf(name, sizeof(name), "in/%s/19/file", entry->d_name);
                        files_check(f, name, "content");
                }
                closedir(dir);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                FILES_TEST(test_write),
                FILES_TEST(test_any_moment),
                FILES_TEST(test_copy),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
