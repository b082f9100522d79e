/* SPDX-License-Identifier: Apache-2.0 */

/* The ring files: what is written is read, whoever is faster. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/base/alloc.h"
#include "agent/base/fd.h"
#include "proc/joblog.h"
#include "tests/lib/skip.h"
#include "tests/unit/keeper_mount.h"

struct fixture {
        char dir[32];
        int dir_fd;
        int fd;
        struct joblog_writer w;
        struct joblog l;
};

static void open_log(struct fixture *f, uint64_t capacity)
{
        f->fd = openat(f->dir_fd, "log", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        assert_true(f->fd >= 0);
        assert_int_equal(joblog_writer_init(&f->w, f->fd, capacity), 0);
        assert_int_equal(joblog_open(f->dir_fd, "log", &f->l), 0);
        assert_int_equal(f->l.capacity, capacity);
}

static int setup(void **state)
{
        struct fixture *f = xnew(struct fixture);

        memcpy(f->dir, "/tmp/test-joblog-XXXXXX", 24);
        assert_non_null(mkdtemp(f->dir));
        f->dir_fd = open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        f->fd = f->l.fd = -1;
        *state = f;
        return 0;
}

static int teardown(void **state)
{
        struct fixture *f = *state;

        joblog_close(&f->l);
        (void)fd_close(f->fd);
        (void)unlinkat(f->dir_fd, "log", 0);
        (void)fd_close(f->dir_fd);
        assert_int_equal(rmdir(f->dir), 0);
        free(f);
        return 0;
}

/* The byte at @offset of all streams here: wherever a reader lands, it can tell. */
static unsigned char byte_at(uint64_t offset)
{
        return (unsigned char)((offset * 0x9e3779b97f4a7c15u) >> 56);
}

static void append(struct joblog_writer *w, size_t size)
{
        unsigned char piece[70000];

        assert_true(size <= sizeof(piece));
        for (size_t i = 0; i < size; i++)
                piece[i] = byte_at(w->mark.total + i);
        joblog_write(w, piece, size);
}

static void expect_range(const struct joblog *l, uint64_t offset, size_t size)
{
        unsigned char *data = xcalloc(1, size + 1);
        uint64_t at = 0;

        assert_int_equal(joblog_read(l, offset, data, size, &at), size);
        assert_int_equal(at, offset);
        for (size_t i = 0; i < size; i++)
                if (data[i] != byte_at(offset + i))
                        fail_msg("byte %llu is wrong", (unsigned long long)(offset + i));
        free(data);
}

static void test_empty(void **state)
{
        struct fixture *f = *state;
        struct joblog_totals t;
        uint64_t at = 99;
        char c;

        open_log(f, 100);
        assert_int_equal(joblog_totals(&f->l, &t), 0);
        assert_int_equal(t.total + t.first + t.dropped, 0);
        assert_int_equal(joblog_read(&f->l, 0, &c, 1, &at), 0);
        assert_int_equal(at, 0);
        assert_int_equal(joblog_read(&f->l, 1, &c, 1, &at), -ERANGE);
}

static void test_every_range(void **state)
{
        enum { CAPACITY = 50 };
        struct fixture *f = *state;
        struct joblog_totals t;
        struct stat st;

        open_log(f, CAPACITY);
        for (size_t size = 0; size < 40; size++) {
                append(&f->w, size);
                assert_int_equal(joblog_totals(&f->l, &t), 0);
                assert_int_equal(t.total, f->w.mark.total);
                assert_int_equal(t.first, t.total > CAPACITY ? t.total - CAPACITY : 0);
                for (uint64_t from = t.first; from <= t.total; from++)
                        for (size_t n = 0; n <= t.total - from; n++)
                                expect_range(&f->l, from, n);
        }
        assert_int_equal(fstat(f->fd, &st), 0);
        assert_int_equal(st.st_size, JOBLOG_DATA + CAPACITY);
}

static void test_grows_as_it_is_filled(void **state)
{
        struct fixture *f = *state;
        struct stat st;

        open_log(f, 1 * GIB);
        append(&f->w, 100);
        assert_int_equal(fstat(f->fd, &st), 0);
        assert_int_equal(st.st_size, JOBLOG_DATA + 100);
        assert_true(st.st_blocks * 512 <= 16384);
}

static void test_lost_bytes_are_told(void **state)
{
        struct fixture *f = *state;
        unsigned char data[100];
        uint64_t at;

        open_log(f, 100);
        append(&f->w, 250);
        assert_int_equal(joblog_read(&f->l, 30, data, 10, &at), 10);
        assert_int_equal(at, 150);
        assert_int_equal(data[0], byte_at(150));
        assert_int_equal(joblog_read(&f->l, 200, data, sizeof(data), &at), 50);
        assert_int_equal(at, 200);
}

/* Only the last of it is kept, but all of it has offsets. */
static void test_larger_than_the_ring(void **state)
{
        struct fixture *f = *state;
        struct joblog_totals t;

        open_log(f, 1000);
        append(&f->w, 300);
        append(&f->w, 54321);
        append(&f->w, 10);
        assert_int_equal(joblog_totals(&f->l, &t), 0);
        assert_int_equal(t.total, 300 + 54321 + 10);
        assert_int_equal(t.first, t.total - 1000);
        expect_range(&f->l, t.first, 1000);
}

static void test_bad_files(void **state)
{
        struct fixture *f = *state;
        struct joblog l;
        int fd;

        assert_int_equal(joblog_open(f->dir_fd, "log", &l), -ENOENT);
        fd = openat(f->dir_fd, "log", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        assert_int_equal(joblog_open(f->dir_fd, "log", &l), -EBADMSG);
        assert_int_equal(
                fd_write_all(fd,
                             "no log at all, but long enough for a header, or so it seems, "
                             "one has to say",
                             75),
                0);
        assert_int_equal(joblog_open(f->dir_fd, "log", &l), -EBADMSG);
        (void)fd_close(fd);
        assert_int_equal(joblog_open(f->dir_fd, ".", &l), -EBADMSG);

        open_log(f, 100);
        f->w.mark.check++;
        assert_int_equal(joblog_pwrite(f->fd, &f->w.mark, sizeof(f->w.mark),
                                       offsetof(struct joblog_header, mark)),
                         sizeof(f->w.mark));
        assert_int_equal(joblog_read(&f->l, 0, &l, 1, &(uint64_t){ 0 }), -EBADMSG);
}

struct race {
        struct fixture *f;
        atomic_bool is_over;
};

static void *write_all(void *arg)
{
        struct race *race = arg;
        unsigned seed = 1;

        for (unsigned i = 0; i < 20000; i++)
                append(&race->f->w, 1 + (size_t)rand_r(&seed) % 3000);
        race->is_over = true;
        return NULL;
}

/* The writer laps the reader all the time: what is delivered is right, and what is not is counted. */
static void test_concurrent_reading(void **state)
{
        struct fixture *f = *state;
        struct race race = { .f = f };
        uint64_t offset = 0, n_read = 0, n_lost = 0, at;
        unsigned char data[4000];
        pthread_t thread;
        bool is_last;
        ssize_t n;

        open_log(f, 16 * KIB);
        assert_int_equal(pthread_create(&thread, NULL, write_all, &race), 0);
        do {
                is_last = race.is_over;
                n = joblog_read(&f->l, offset, data, sizeof(data), &at);
                assert_true(n >= 0);
                assert_true(at >= offset);
                n_lost += at - offset;
                n_read += (uint64_t)n;
                for (ssize_t i = 0; i < n; i++)
                        if (data[i] != byte_at(at + (uint64_t)i))
                                fail_msg("byte %llu is wrong", (unsigned long long)at + i);
                offset = at + (uint64_t)n;
        } while (!is_last || offset < f->w.mark.total);
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_int_equal(n_read + n_lost, f->w.mark.total);
        assert_true(n_read > 0);
        printf("# read %llu, lost %llu\n", (unsigned long long)n_read, (unsigned long long)n_lost);
}

/* In a child: the mount is nobody else's. Returns what went wrong, or 0. */
static int fill_disk(void)
{
        struct joblog_writer w;
        struct joblog l;
        struct joblog_totals t;
        char data[65536], text[65536];
        uint64_t at, before;
        ssize_t n;
        int dir, fd, ballast;

        dir = open("/mnt", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        ballast = openat(dir, "ballast", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        fd = openat(dir, "log", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        if (joblog_writer_init(&w, fd, 1 * MIB) < 0 || joblog_open(dir, "log", &l) < 0)
                return 2;
        memset(data, 'x', sizeof(data));
        joblog_write(&w, data, 1000);
        while (write(ballast, data, sizeof(data)) > 0 || write(ballast, data, 1) > 0)
                ;
        for (unsigned i = 0; i < 10; i++)
                joblog_write(&w, data, 10000);
        before = w.mark.total;
        if (joblog_totals(&l, &t) < 0 || t.total != before || t.dropped != 101000 - before)
                return 3;
        if (t.dropped == 0)
                return 4;
        if (ftruncate(ballast, 0) < 0)
                return 5;
        joblog_write(&w, "after\n", 6);
        n = joblog_read(&l, before, text, sizeof(text) - 1, &at);
        if (n <= 0 || at != before)
                return 6;
        text[n] = '\0';
        snprintf(data, sizeof(data),
                 "\n[%llu bytes of output are missing here: no space left on the device]\nafter\n",
                 (unsigned long long)t.dropped);
        if (strcmp(text, data) != 0)
                return 7;
        joblog_write(&w, "more\n", 5);
        if (joblog_totals(&l, &t) < 0 || t.dropped != 101000 - before || w.unsaid != 0)
                return 8;
        return 0;
}

/* In a child, as before: a ring that is smaller than what is written at once, whose page there is no space for. */
static int fill_small_ring(void)
{
        struct joblog_writer w;
        struct joblog l;
        struct joblog_totals t;
        char data[65536], text[8192];
        uint64_t at;
        ssize_t n;
        int dir, fd, ballast;

        dir = open("/mnt", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        ballast = openat(dir, "ballast", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        fd = openat(dir, "log", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        if (joblog_writer_init(&w, fd, 8192) < 0 || joblog_open(dir, "log", &l) < 0)
                return 2;
        memset(data, 'x', sizeof(data));
        joblog_write(&w, "0123456789", 10); /* has the first page of two */
        while (write(ballast, data, sizeof(data)) > 0 || write(ballast, data, 1) > 0)
                ;
        for (unsigned i = 0; i < 10; i++)
                joblog_write(&w, data, sizeof(data));
        if (joblog_totals(&l, &t) < 0 || t.total != 4096 || t.dropped != 655360 - 4086)
                return 3;
        n = joblog_read(&l, 0, text, sizeof(text), &at);
        if (n != 4096 || at != 0 || memcmp(text, "0123456789x", 11) != 0)
                return 4; /* all that is there */
        if (ftruncate(ballast, 0) < 0)
                return 5;
        joblog_write(&w, data, sizeof(data));
        joblog_write(&w, "end", 3);
        n = joblog_read(&l, 0, text, sizeof(text), &at);
        if (n != 8192 || at != w.mark.total - 8192 || memcmp(text + 8188, "xend", 4) != 0)
                return 6;
        return 0;
}

static void on_full_disk(int (*test)(void))
{
        int status;
        pid_t pid = fork();

        assert_true(pid >= 0);
        if (pid == 0) {
                if (!keeper_mount_disk("/mnt", "256k"))
                        _exit(1);
                _exit(test());
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        if (WEXITSTATUS(status) == 1)
                SKIP_TEST("no mounting here");
        assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_full_disk(void **state)
{
        (void)state;
        on_full_disk(fill_disk);
}

static void test_full_disk_and_small_ring(void **state)
{
        (void)state;
        on_full_disk(fill_small_ring);
}

#define WITH_LOG(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                WITH_LOG(test_empty),
                WITH_LOG(test_every_range),
                WITH_LOG(test_grows_as_it_is_filled),
                WITH_LOG(test_lost_bytes_are_told),
                WITH_LOG(test_larger_than_the_ring),
                WITH_LOG(test_bad_files),
                WITH_LOG(test_concurrent_reading),
                cmocka_unit_test(test_full_disk),
                cmocka_unit_test(test_full_disk_and_small_ring),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
