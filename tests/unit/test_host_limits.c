/* SPDX-License-Identifier: Apache-2.0 */

/* What a container may use, by cgroups of either version: made directories, and the figures that have to come out. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "agent/base/macros.h"
#include "agent/host/cgroups.h"
#include "agent/host/cpu.h"
#include "agent/host/memory.h"
#include "tests/lib/host_tree.h"

#define MACHINE_KIB 16777216 /* 16 GiB */

#define STAT_4                           \
        "cpu  40 0 40 320 0 0 0 0 0 0\n" \
        "cpu0 10 0 10 80 0 0 0 0 0 0\n"  \
        "cpu1 10 0 10 80 0 0 0 0 0 0\n"  \
        "cpu2 10 0 10 80 0 0 0 0 0 0\n"  \
        "cpu3 10 0 10 80 0 0 0 0 0 0\n"  \
        "intr 1 2 3\n"

#define MOUNT_V2 \
        "41 31 0:38 / /sys/fs/cgroup rw,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
#define MOUNT_V1(root)                                                                       \
        "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n"                         \
        "32 31 0:29 " root " /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n" \
        "35 31 0:32 " root " /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
#define HUGE_V1 "9223372036854771712\n"

static int set_up(void **state)
{
        struct host_tree *t = calloc(1, sizeof(*t));

        if (!t || host_tree_new(t) < 0)
                return -1;
        host_tree_write(t, "/proc/stat", STAT_4);
        host_tree_write(t, "/proc/meminfo",
                        "MemTotal:       16777216 kB\nMemFree:         1048576 kB\n"
                        "MemAvailable:   12582912 kB\nSwapTotal:       2097152 kB\n"
                        "SwapFree:        1048576 kB\n");
        *state = t;
        return 0;
}

static int tear_down(void **state)
{
        host_tree_free(*state);
        free(*state);
        return 0;
}

/* What is read of the tree, on all of its processors but those that are named. */
struct result {
        struct host_cpu_reading cpu;
        struct host_sample sample;
};

static struct result read_on(const struct host_tree *t, uint64_t usable)
{
        struct host_cpus cpus = { .words = { usable } };
        struct host_cgroups groups;
        struct result r = { .sample = { 0 } };

        host_cgroups_find(t->root, &groups);
        host_cpu_read(t->root, &groups, &cpus, &r.cpu);
        host_memory_read(t->root, &groups, &r.sample);
        host_cgroups_done(&groups);
        return r;
}

static struct result read_all(const struct host_tree *t)
{
        return read_on(t, UINT64_MAX);
}

static void assert_cores(const struct result *r, double cores)
{
        assert_true(fabs(r->cpu.cores - cores) < 1e-9);
}

static void assert_memory(const struct result *r, uint64_t total, uint64_t used, bool is_limited)
{
        assert_int_equal(r->sample.memory_total, total);
        assert_int_equal(r->sample.memory_used, used);
        assert_int_equal(r->sample.memory_free, total - used);
        assert_int_equal(r->sample.is_memory_limited, is_limited);
}

static void assert_machine(const struct result *r)
{
        assert_cores(r, 4);
        assert_memory(r, MACHINE_KIB * KIB, 4 * GIB, false);
        assert_int_equal(r->sample.swap.total, 2 * GIB);
        assert_int_equal(r->sample.swap.used, 1 * GIB);
}

static void test_no_cgroups(void **state)
{
        struct result r = read_all(*state);

        assert_machine(&r);
        assert_int_equal(r.cpu.online, 4);
        assert_int_equal(r.cpu.total_ticks, 400);
        assert_int_equal(r.cpu.busy_ticks, 80);
        assert_false(r.cpu.has_used);
}

static void test_nothing_at_all(void **state)
{
        struct host_tree empty;
        struct result r;

        (void)state;
        assert_int_equal(host_tree_new(&empty), 0);
        r = read_all(&empty);
        assert_cores(&r, 1);
        assert_memory(&r, 0, 0, false);
        host_tree_free(&empty);
}

static void test_some_processors(void **state)
{
        struct result r = read_on(*state, 0x5);

        assert_cores(&r, 2);
        assert_int_equal(r.cpu.online, 4);
        assert_int_equal(r.cpu.total_ticks, 200);
        assert_int_equal(r.cpu.busy_ticks, 40);
}

static void test_v2(void **state)
{
        const struct host_tree *t = *state;
        struct result r;

        host_tree_write(t, "/proc/self/mountinfo", MOUNT_V2);
        host_tree_write(t, "/proc/self/cgroup", "0::/\n");
        host_tree_write(t, "/sys/fs/cgroup/cgroup.type", "domain\n");
        host_tree_write(t, "/sys/fs/cgroup/cpu.max", "150000 100000\n");
        host_tree_write(t, "/sys/fs/cgroup/cpu.stat", "usage_usec 123456\nuser_usec 1\n");
        host_tree_write(t, "/sys/fs/cgroup/memory.max", "1073741824\n");
        host_tree_write(t, "/sys/fs/cgroup/memory.current", "536870912\n");
        host_tree_write(t, "/sys/fs/cgroup/memory.stat",
                        "anon 1\ninactive_anon 99999\ninactive_file 268435456\nactive_file 7\n");
        host_tree_write(t, "/sys/fs/cgroup/memory.swap.max", "1048576\n");
        host_tree_write(t, "/sys/fs/cgroup/memory.swap.current", "4096\n");
        r = read_all(t);
        assert_cores(&r, 1.5);
        assert_true(r.cpu.has_used);
        assert_int_equal(r.cpu.used_us, 123456);
        assert_memory(&r, 1 * GIB, 256 * MIB, true);
        assert_int_equal(r.sample.swap.total, 1 * MIB);
        assert_int_equal(r.sample.swap.used, 4096);
}

static void test_v2_without_limits(void **state)
{
        const struct host_tree *t = *state;
        struct result r;

        host_tree_write(t, "/proc/self/mountinfo", MOUNT_V2);
        host_tree_write(t, "/proc/self/cgroup", "0::/system.slice/vm-agent.service\n");
        host_tree_write(t, "/sys/fs/cgroup/system.slice/cpu.max", "max 100000\n");
        host_tree_write(t, "/sys/fs/cgroup/system.slice/vm-agent.service/cpu.max", "max 100000\n");
        host_tree_write(t, "/sys/fs/cgroup/system.slice/vm-agent.service/memory.max", "max\n");
        r = read_all(t);
        assert_machine(&r);
        assert_false(r.cpu.has_used); /* it is the machine that is meant, not the agent */
}

static void test_v2_container_without_limits(void **state)
{
        const struct host_tree *t = *state;
        struct result r;

        host_tree_write(t, "/proc/self/mountinfo", MOUNT_V2);
        host_tree_write(t, "/proc/self/cgroup", "0::/agent\n");
        host_tree_write(t, "/sys/fs/cgroup/cgroup.type", "domain\n");
        host_tree_write(t, "/sys/fs/cgroup/cpu.max", "max 100000\n");
        host_tree_write(t, "/sys/fs/cgroup/cpu.stat", "usage_usec 777\n");
        host_tree_write(t, "/sys/fs/cgroup/agent/cpu.stat", "usage_usec 5\n");
        r = read_all(t);
        assert_machine(&r);
        assert_true(r.cpu.has_used);
        assert_int_equal(r.cpu.used_us, 777); /* of the whole container */
}

/* The smallest of all limits on the way up holds, and what is used there. */
static void test_v2_nested(void **state)
{
        const struct host_tree *t = *state;
        struct result r;

        host_tree_write(t, "/proc/self/mountinfo", MOUNT_V2);
        host_tree_write(t, "/proc/self/cgroup", "0::/a/b/c\n");
        host_tree_write(t, "/sys/fs/cgroup/a/cpu.max", "50000 100000\n");
        host_tree_write(t, "/sys/fs/cgroup/a/cpu.stat", "usage_usec 3000\n");
        host_tree_write(t, "/sys/fs/cgroup/a/b/cpu.max", "200000 100000\n");
        host_tree_write(t, "/sys/fs/cgroup/a/b/c/cpu.max", "max 100000\n");
        host_tree_write(t, "/sys/fs/cgroup/a/b/c/cpu.stat", "usage_usec 1000\n");
        host_tree_write(t, "/sys/fs/cgroup/a/memory.max", "8589934592\n");
        host_tree_write(t, "/sys/fs/cgroup/a/memory.current", "6442450944\n");
        host_tree_write(t, "/sys/fs/cgroup/a/b/memory.max", "2147483648\n");
        host_tree_write(t, "/sys/fs/cgroup/a/b/memory.current", "1073741824\n");
        host_tree_write(t, "/sys/fs/cgroup/a/b/c/memory.max", "4294967296\n");
        host_tree_write(t, "/sys/fs/cgroup/a/b/c/memory.current", "1\n");
        r = read_all(t);
        assert_cores(&r, 0.5);
        assert_int_equal(r.cpu.used_us, 3000);
        assert_memory(&r, 2 * GIB, 1 * GIB, true);
}

static void test_v2_more_than_there_is(void **state)
{
        const struct host_tree *t = *state;
        struct result r;

        host_tree_write(t, "/proc/self/mountinfo", MOUNT_V2);
        host_tree_write(t, "/proc/self/cgroup", "0::/\n");
        host_tree_write(t, "/sys/fs/cgroup/cpu.max", "6400000 100000\n");
        host_tree_write(t, "/sys/fs/cgroup/memory.max", "1099511627776\n");
        r = read_all(t);
        assert_machine(&r);
}

static void write_v1(const struct host_tree *t, const char *own)
{
        static const char *const files[][3] = {
                { "cpu,cpuacct", "cpu.cfs_quota_us", "250000\n" },
                { "cpu,cpuacct", "cpu.cfs_period_us", "100000\n" },
                { "cpu,cpuacct", "cpuacct.usage", "9000000\n" },
                { "memory", "memory.limit_in_bytes", "1073741824\n" },
                { "memory", "memory.usage_in_bytes", "1000000000\n" },
                { "memory", "memory.stat", "inactive_file 1\ntotal_inactive_file 400000000\n" },
                { "memory", "memory.memsw.limit_in_bytes", "1610612736\n" },
                { "memory", "memory.memsw.usage_in_bytes", "1000004096\n" },
        };
        char path[256];

        for (size_t i = 0; i < ARRAY_LEN(files); i++) {
                (void)snprintf(path, sizeof(path), "/sys/fs/cgroup/%s%s/%s", files[i][0], own,
                               files[i][1]);
                host_tree_write(t, path, files[i][2]);
        }
}

static void assert_v1(const struct result *r)
{
        assert_cores(r, 2.5);
        assert_true(r->cpu.has_used);
        assert_int_equal(r->cpu.used_us, 9000);
        assert_memory(r, 1 * GIB, 600000000, true);
        assert_int_equal(r->sample.swap.total, 512 * MIB);
        assert_int_equal(r->sample.swap.used, 4096);
}

static void test_v1(void **state)
{
        const struct host_tree *t = *state;
        struct result r;

        host_tree_write(t, "/proc/self/mountinfo", MOUNT_V1("/"));
        host_tree_write(t, "/proc/self/cgroup",
                        "4:memory:/box\n3:cpu,cpuacct:/box\n1:name=systemd:/x\n");
        host_tree_write(t, "/sys/fs/cgroup/memory/memory.limit_in_bytes", HUGE_V1);
        host_tree_write(t, "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
        host_tree_write(t, "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
        write_v1(t, "/box");
        r = read_all(t);
        assert_v1(&r);
}

/* A container without a namespace of its own: the path is the machine's, the mount shows its part. */
static void test_v1_part_of_the_machine(void **state)
{
        const struct host_tree *t = *state;
        struct result r;

        host_tree_write(t, "/proc/self/mountinfo", MOUNT_V1("/docker/0123"));
        host_tree_write(t, "/proc/self/cgroup",
                        "4:memory:/docker/0123\n3:cpu,cpuacct:/docker/0123\n");
        write_v1(t, "");
        r = read_all(t);
        assert_v1(&r);
}

/* What is not there cannot be ours: the mount itself is the best that we know. */
static void test_v1_path_that_is_not_there(void **state)
{
        const struct host_tree *t = *state;
        struct result r;

        host_tree_write(t, "/proc/self/mountinfo", MOUNT_V1("/"));
        host_tree_write(t, "/proc/self/cgroup", "4:memory:/docker/0123\n3:cpu,cpuacct:/../other\n");
        write_v1(t, "");
        r = read_all(t);
        assert_v1(&r);
}

static void test_v1_unlimited(void **state)
{
        const struct host_tree *t = *state;
        struct result r;

        host_tree_write(t, "/proc/self/mountinfo", MOUNT_V1("/"));
        host_tree_write(t, "/proc/self/cgroup", "4:memory:/box\n3:cpu,cpuacct:/box\n");
        write_v1(t, "/box");
        host_tree_write(t, "/sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_quota_us", "-1\n");
        host_tree_write(t, "/sys/fs/cgroup/memory/box/memory.limit_in_bytes", HUGE_V1);
        r = read_all(t);
        assert_machine(&r);
        assert_false(r.cpu.has_used);
}

/* Controllers that belong to version 1, with version 2 mounted beside it for processes only. */
static void test_hybrid(void **state)
{
        const struct host_tree *t = *state;
        struct result r;

        host_tree_write(
                t, "/proc/self/mountinfo",
                "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n" MOUNT_V1("/"));
        host_tree_write(t, "/proc/self/cgroup",
                        "4:memory:/box\n3:cpu,cpuacct:/box\n0::/elsewhere\n");
        host_tree_write(t, "/sys/fs/cgroup/unified/elsewhere/cpu.max", "10000 100000\n");
        host_tree_write(t, "/sys/fs/cgroup/unified/elsewhere/memory.max", "4096\n");
        write_v1(t, "/box");
        r = read_all(t);
        assert_v1(&r);
}

static void test_damaged_files(void **state)
{
        static const char *const texts[] = {
                "",
                "\n",
                "x\n",
                "150000",
                "150000 0\n",
                "-5 100000\n",
                "99999999999999999999999 1\n",
        };
        static const char *const numbers[] = { "", "\n", "x\n", "-5\n",
                                               "99999999999999999999999\n" };
        const struct host_tree *t = *state;

        host_tree_write(t, "/proc/self/mountinfo", "rubbish\n41 31\n41 31 0:38 / - x\n" MOUNT_V2);
        host_tree_write(t, "/proc/self/cgroup", "rubbish\n0\n0:\n0::/\n");
        for (size_t i = 0; i < ARRAY_LEN(texts) + ARRAY_LEN(numbers); i++) {
                struct result r;

                if (i < ARRAY_LEN(texts))
                        host_tree_write(t, "/sys/fs/cgroup/cpu.max", texts[i]);
                else
                        host_tree_write(t, "/sys/fs/cgroup/memory.max",
                                        numbers[i - ARRAY_LEN(texts)]);
                r = read_all(t);
                assert_machine(&r);
        }
}

static void test_percent(void **state)
{
        struct host_cpu_reading a = { .at_us = 1000000,
                                      .busy_ticks = 100,
                                      .total_ticks = 1000,
                                      .used_us = 500,
                                      .cores = 1.5,
                                      .online = 4 };
        struct host_cpu_reading b = { .at_us = 2000000,
                                      .busy_ticks = 150,
                                      .total_ticks = 1400,
                                      .used_us = 750500,
                                      .cores = 1.5,
                                      .online = 4 };

        (void)state;
        assert_true(fabs(host_cpu_percent(&a, &b) - 12.5) < 1e-9);
        a.has_used = b.has_used = true;
        assert_true(fabs(host_cpu_percent(&a, &b) - 50) < 1e-9);
        b.used_us = 5000000; /* in bursts it may be more than there is */
        assert_true(host_cpu_percent(&a, &b) == 100);
        b.used_us = 0; /* another cgroup */
        assert_true(host_cpu_percent(&a, &b) == 0);
        b.used_level = 1;
        assert_true(fabs(host_cpu_percent(&a, &b) - 12.5) < 1e-9);
        assert_true(host_cpu_percent(&a, &a) == 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_no_cgroups, set_up, tear_down),
                cmocka_unit_test(test_nothing_at_all),
                cmocka_unit_test_setup_teardown(test_some_processors, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_v2, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_v2_without_limits, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_v2_container_without_limits, set_up,
                                                tear_down),
                cmocka_unit_test_setup_teardown(test_v2_nested, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_v2_more_than_there_is, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_v1, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_v1_part_of_the_machine, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_v1_path_that_is_not_there, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_v1_unlimited, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_hybrid, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_damaged_files, set_up, tear_down),
                cmocka_unit_test(test_percent),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
