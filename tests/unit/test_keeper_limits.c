/* SPDX-License-Identifier: Apache-2.0 */

/* What a background job costs: disk, memory, processor, time; and what is done when there is none. */

#include "tests/unit/keeper_fixture.h"
#include "tests/unit/keeper_mount.h"

/* Many times the ring's size: the disk is bounded, the last bytes are there, and the memory of the keeper is too. */
static void test_flood(void **state)
{
        enum { SIZE = 50000000, RING = 1048576, LAST = 64 };
        struct job j;
        struct stat st;
        struct buf b;
        char path[256];

        job_start(*state, &j,
                  (struct job_options){
                          .argv = SCRIPT("yes 'a line of text' | head -c 49999936; head "
                                         "-c 64 /dev/zero | tr '\\0' Z"),
                          .log_capacity = RING });
        job_wait_gone(&j);
        assert_int_equal(j.status.totals[0], SIZE);
        assert_int_equal(j.status.dropped[0], 0);
        snprintf(path, sizeof(path), "%s/" JOBLOG_STDOUT, j.dir);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_size, JOBLOG_DATA + RING);
        buf_init(&b, 0);
        job_read(&j, JOBLOG_STDOUT, 0, &b);
        assert_int_equal(b.size, RING);
        for (size_t i = 0; i < RING - LAST; i++)
                assert_int_equal(b.data[i], "a line of text\n"[(SIZE - RING + i) % 15]);
        for (size_t i = RING - LAST; i < RING; i++)
                assert_int_equal(b.data[i], 'Z');
        buf_done(&b);
        job_done(&j);
}

static long resident_kib(pid_t pid)
{
        char path[64], line[256];
        long kib = -1;
        FILE *file;

        snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
        file = fopen(path, "re");
        while (file && fgets(line, sizeof(line), file))
                if (sscanf(line, "VmRSS: %ld", &kib) == 1)
                        break;
        if (file)
                fclose(file);
        return kib;
}

/* Nanoseconds on a processor. */
static unsigned long long cpu_time(pid_t pid)
{
        unsigned long long ns = 0;
        char path[64];
        FILE *file;

        snprintf(path, sizeof(path), "/proc/%d/schedstat", (int)pid);
        file = fopen(path, "re");
        assert_non_null(file);
        assert_int_equal(fscanf(file, "%llu", &ns), 1);
        fclose(file);
        return ns;
}

/* A keeper that has nothing to do does nothing: not while the job is silent, nor when it lingers. */
static void test_keeper_sleeps(void **state)
{
        enum { WAIT_MS = 200 };
        unsigned long long before;
        struct job j;

        job_start(*state, &j,
                  (struct job_options){
                          .argv = SCRIPT("exec <&-; setsid -f sleep 1000; echo x; sleep 1000"),
                          .has_input = true });
        job_wait_output(&j, 2);
        (void)keeper_run_until(j.f, job_is_never_, NULL, WAIT_MS / 2);
        before = cpu_time(job_link_keeper_pid(j.link));
        (void)keeper_run_until(j.f, job_is_never_, NULL, WAIT_MS);
        assert_in_range(cpu_time(job_link_keeper_pid(j.link)) - before, 0, WAIT_MS * 1000000 / 20);
        assert_int_equal(job_link_signal(j.link, SIGKILL), 0);
        job_wait(&j);
        (void)keeper_run_until(j.f, job_is_never_, NULL, WAIT_MS / 2);
        assert_true(job_link_is_lingering(j.link));
        before = cpu_time(job_link_keeper_pid(j.link));
        (void)keeper_run_until(j.f, job_is_never_, NULL, WAIT_MS);
        assert_in_range(cpu_time(job_link_keeper_pid(j.link)) - before, 0, WAIT_MS * 1000000 / 20);
        job_link_kill(j.link, KEEPER_KILLED, 0);
        job_wait_gone(&j);
        job_done(&j);
}

static char **large_environment(size_t n)
{
        char **v = xcalloc(n + 1, sizeof(*v));

        for (size_t i = 0; i < n; i++)
                v[i] = xasprintf("SECRET_%zu=%01000d", i, 7);
        return v;
}

/* Less than a megabyte, also after much output and with a large environment, which it forgets. */
static void test_keeper_is_small(void **state)
{
        enum { N = 1000 };
        struct job j;
        char **envp = large_environment(N);
        char path[64], text[256] = "";
        long kib;
        int fd;

        job_start(*state, &j,
                  (struct job_options){ .argv = SCRIPT("/usr/bin/head -c 10000000 /dev/zero; "
                                                       "/bin/sleep 1000"),
                                        .envp = envp });
        for (size_t i = 0; i < N; i++)
                free(envp[i]);
        free(envp);
        job_wait_output(&j, 10000000);
        kib = resident_kib(job_link_keeper_pid(j.link));
        printf("# %ld KiB\n", kib);
        assert_in_range(kib, 1, 1023);
        snprintf(path, sizeof(path), "/proc/%d/environ", (int)job_link_keeper_pid(j.link));
        fd = open(path, O_RDONLY | O_CLOEXEC);
        for (ssize_t n; (n = read(fd, text, sizeof(text) - 1)) > 0;)
                assert_null(memmem(text, (size_t)n, "SECRET", 6));
        close(fd);
        snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)job_link_keeper_pid(j.link));
        fd = open(path, O_RDONLY | O_CLOEXEC);
        assert_true(read(fd, text, sizeof(text)) > 13);
        close(fd);
        assert_string_equal(text, "agent-keeper");
        job_link_kill(j.link, KEEPER_KILLED, 0);
        job_wait_gone(&j);
        job_done(&j);
}

static void test_many(void **state)
{
        enum { N = 100 };
        struct keeper_fixture *f = *state;
        struct job *jobs = xcalloc(N, sizeof(*jobs));
        uint64_t begin_us = clock_now_us(), started_us;

        for (unsigned i = 0; i < N; i++)
                job_start(f, &jobs[i], (struct job_options){ .argv = SCRIPT("echo x") });
        started_us = clock_now_us() - begin_us;
        for (unsigned i = 0; i < N; i++) {
                job_wait_gone(&jobs[i]);
                assert_int_equal(jobs[i].status.reason, KEEPER_EXIT);
                assert_int_equal(jobs[i].status.exit_code, 0);
                assert_int_equal(jobs[i].status.totals[0], 2);
        }
        printf("# %u started in %.1f ms, all ended after %.1f ms\n", N, (double)started_us / 1000,
               (double)(clock_now_us() - begin_us) / 1000);
        for (unsigned i = 0; i < N; i++)
                job_done(&jobs[i]);
        free(jobs);
}

static void fill(const char *base)
{
        char path[128], data[4096] = "";
        int fd;

        snprintf(path, sizeof(path), "%s/ballast", base);
        fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        while (write(fd, data, sizeof(data)) > 0)
                ;
        close(fd);
}

/* A disk that is full from the beginning, and one that becomes so. */
static void run_on_full_disk(struct keeper_fixture *f)
{
        struct job j, again;

        job_start(f, &j,
                  (struct job_options){ .argv = SCRIPT("head -c 1000000 /dev/zero; exit 5") });
        job_wait_gone(&j);
        assert_int_equal(j.status.reason, KEEPER_EXIT);
        assert_int_equal(j.status.exit_code, 5);
        assert_true(j.status.dropped[0] > 800000);
        assert_int_equal(j.status.totals[0] + j.status.dropped[0], 1000000);
        job_done(&j);
        /* The end was saved nevertheless. */
        job_find(&j, &again);
        job_wait_gone(&again);
        assert_int_equal(again.status.exit_code, 5);
        job_done(&again);

        job_name(f, &j);
        f->n_jobs--;
        assert_int_equal(mkdir(j.dir, 0700), 0);
        fill(f->base);
        job_start(f, &j, (struct job_options){ .argv = SCRIPT("echo x") });
        job_wait_gone(&j);
        assert_int_equal(j.n_started, 0);
        assert_int_equal(j.status.reason, KEEPER_SPAWN);
        assert_int_equal(j.status.failure.stage, KEEPER_STAGE);
        assert_int_equal(j.status.failure.error, ENOSPC);
        job_done(&j);
}

static void test_full_disk(void **state)
{
        int status;
        pid_t pid = fork();

        assert_true(pid >= 0);
        if (pid == 0) {
                struct keeper_fixture *f;
                void *own;

                /* A loop does not survive a fork. */
                (void)keeper_setup(&own, ((struct keeper_fixture *)*state)->host.cgroup != NULL);
                f = own;
                if (!keeper_mount_disk(f->base, "128k"))
                        _exit(rmdir(f->base) == 0 ? 77 : 3);
                run_on_full_disk(f);
                if (!keeper_reap_all())
                        _exit(2);
                (void)umount2(f->base, MNT_DETACH);
                _exit(rmdir(f->base) == 0 ? 0 : 3);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        if (WEXITSTATUS(status) == 77)
                SKIP_TEST("no mounting here");
        assert_int_equal(WEXITSTATUS(status), 0);
}

/* Its end by the limit of processor time is known for what it is, and told to later agents, too; and what it has
 * used. */
static void test_cpu_limit(void **state)
{
        struct job j, again;

        job_start(*state, &j,
                  (struct job_options){ .argv = SCRIPT("ulimit -t; while :; do :; done"),
                                        .limits = { .cpu_seconds = 1 } });
        job_wait_gone(&j);
        assert_int_equal(j.status.reason, KEEPER_CPU_LIMIT);
        assert_int_equal(j.status.exit_code, 152);
        assert_int_equal(j.status.signal, SIGXCPU);
        assert_true(j.status.usage.user_us > j.status.usage.system_us);
        assert_int_equal(j.status.usage.cpu_us, j.status.usage.user_us + j.status.usage.system_us);
        assert_true(j.status.usage.has_io);
        job_expect_output(&j, JOBLOG_STDOUT, "1\n");
        job_done(&j);
        job_find(&j, &again);
        job_wait_gone(&again);
        assert_int_equal(again.status.reason, KEEPER_CPU_LIMIT);
        assert_memory_equal(&again.status.usage, &j.status.usage, sizeof(j.status.usage));
        job_done(&again);
}

/* The stricter of its own and the operator's. */
static void test_memory_limit(void **state)
{
        struct keeper_fixture *f = *state;
        const char *want = f->host.cgroup && cgroup_has_memory(f->host.cgroup) ? "unlimited\n"
                                                                               : "65536\n";
        struct job j;

        f->host.max_memory = 64 * MIB;
        job_start(f, &j,
                  (struct job_options){ .argv = SCRIPT("ulimit -d"),
                                        .limits = { .max_memory = 99 * MIB } });
        job_wait_gone(&j);
        job_expect_output(&j, JOBLOG_STDOUT, want);
        job_done(&j);
        f->host.max_memory = 99 * MIB;
        job_start(f, &j,
                  (struct job_options){ .argv = SCRIPT("ulimit -d"),
                                        .limits = { .max_memory = 64 * MIB } });
        job_wait_gone(&j);
        job_expect_output(&j, JOBLOG_STDOUT, want);
        job_done(&j);
}

static void write_text(const char *dir, const char *name, const char *text)
{
        char path[256];
        int fd;

        snprintf(path, sizeof(path), "%s/%s", dir, name);
        fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        assert_int_equal(fd_write_all(fd, text, strlen(text)), 0);
        close(fd);
}

#define OLD_STATUS                                                                             \
        "reason=exit\nexit_code=3\nsignal=0\nfailure_stage=0\nfailure_errno=0\nstarted_ms=5\n" \
        "ended_ms=6\nduration_us=1000\ncpu_us=900\nmax_rss=4096\nstdout_total=1\n"             \
        "stderr_total=2\nstdout_dropped=0\nstderr_dropped=0\n"
#define OLD_IDENTITY                                                                              \
        "version=1\nboot=x\npid=2\nstart=3\nleader=4\nleader_start=5\nstarted_ms=6\nterminal=0\n" \
        "leaf=/a\n"

/* Keepers outlive the update of an agent: theirs lack what came later. */
static void test_files_of_older_keepers(void **state)
{
        struct keeper_fixture *f = *state;
        struct job_identity *who = xnew(struct job_identity);
        int dir_fd = open(f->base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        struct job_status s;

        write_text(f->base, KEEPER_STATUS, OLD_STATUS);
        assert_int_equal(job_status_read(dir_fd, &s), 0);
        assert_int_equal(s.exit_code, 3);
        assert_int_equal(s.usage.cpu_us, 900);
        assert_int_equal(s.usage.max_rss, 4096);
        assert_int_equal(s.usage.user_us + s.usage.system_us + s.usage.peak_tasks, 0);
        assert_false(s.usage.has_io);
        write_text(f->base, KEEPER_STATUS,
                   OLD_STATUS "user_us=600\nsystem_us=300\nread_bytes=7\nwritten_bytes=8\n"
                              "peak_tasks=9\nrefused_tasks=10\n");
        assert_int_equal(job_status_read(dir_fd, &s), 0);
        assert_int_equal(s.usage.user_us, 600);
        assert_int_equal(s.usage.system_us, 300);
        assert_true(s.usage.has_io);
        assert_int_equal(s.usage.read_bytes, 7);
        assert_int_equal(s.usage.written_bytes, 8);
        assert_int_equal(s.usage.peak_tasks, 9);
        assert_int_equal(s.usage.refused_tasks, 10);

        write_text(f->base, KEEPER_FILE, OLD_IDENTITY);
        assert_int_equal(job_identity_read(dir_fd, who), 0);
        assert_int_equal(who->limits.max_memory + who->limits.max_tasks, 0);
        write_text(f->base, KEEPER_FILE, OLD_IDENTITY "max_memory=1048576\nmax_tasks=12\n");
        assert_int_equal(job_identity_read(dir_fd, who), 0);
        assert_int_equal(who->limits.max_memory, 1048576);
        assert_int_equal(who->limits.max_tasks, 12);
        close(dir_fd);
        free(who);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                { "test_files_of_older_keepers", test_files_of_older_keepers, keeper_setup_walk,
                  keeper_teardown, NULL },
                { "test_cpu_limit", test_cpu_limit, keeper_setup_cgroup, keeper_teardown, NULL },
                KEPT(test_memory_limit),
                KEPT(test_flood),
                KEPT(test_keeper_is_small),
                KEPT(test_keeper_sleeps),
                KEPT(test_many),
                KEPT(test_full_disk),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
