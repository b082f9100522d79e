/* SPDX-License-Identifier: Apache-2.0 */

/* When the machine is looked at, who is told, and what is read beside the limits (test_host_limits.c). */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <math.h>
#include <sys/resource.h>

#include "agent/base/clock.h"
#include "agent/base/limits.h"
#include "agent/host/disks.h"
#include "agent/host/facts.h"
#include "agent/host/host.h"
#include "agent/host/mounts.h"
#include "agent/host/reading.h"
#include "tests/lib/host_tree.h"
#include "tests/lib/loop_fixture.h"

#define DEADLINE_MS 60000

struct waiter {
        struct host_wait wait;
        unsigned n_told;
};

static void on_ready(struct host_wait *w)
{
        container_of(w, struct waiter, wait)->n_told++;
}

static int is_told(void *arg)
{
        return ((struct waiter *)arg)->n_told > 0;
}

static void write_machine(struct host_tree *t)
{
        assert_int_equal(host_tree_new(t), 0);
        host_tree_write(t, "/proc/stat", "cpu  9 9 9 9\ncpu0 1 1 1 1\ncpu1 1 1 1 1\nintr 5\n");
        host_tree_write(t, "/proc/meminfo", "MemTotal: 4096 kB\nMemFree: 512 kB\nCached: 512 kB\n");
        host_tree_write(t, "/proc/loadavg", "0.50 1.25 2.00 1/123 4711\n");
        host_tree_write(t, "/proc/uptime", "12345.67 20000.00\n");
        host_tree_write(
                t, "/proc/net/dev",
                "Inter-|   Receive     |  Transmit\n face |bytes    packets |bytes    packets\n"
                "    lo: 99 99 0 0 0 0 0 0 99 99 0 0 0 0 0 0\n"
                "  eth0: 1000 10 0 0 0 0 0 0 500 5 0 0 0 0 0 0\n"
                "longname0:2000 20 0 0 0 0 0 0 600 6 0 0 0 0 0 0\n broken: 1 2\n");
        host_tree_write(t, "/proc/self/mountinfo",
                        "27 1 254:0 / / rw - ext4 /dev/vda rw\n"
                        "28 27 0:24 / /dev/pts rw - devpts devpts rw\n");
        host_tree_write(t, "/etc/os-release",
                        "PRETTY_NAME=\"x\"\nNAME=\"Made \\\"OS\\\"\"\nID=made\nVERSION_ID='7.1'\n");
        host_tree_write(t, "/etc/timezone", "Europe/Berlin\n");
        host_tree_write(t, "/proc/cpuinfo",
                        "processor\t: 0\nmodel\t\t: 2\nmodel name\t: Made CPU\n");
}

static struct host *new_host(struct loop *l, const struct host_tree *t)
{
        struct host *h = host_new_below(l, t->root, t->root);

        assert_non_null(h);
        return h;
}

static void assert_sample(const struct host_sample *s)
{
        assert_true(s->sampled_at_ms > 0);
        assert_int_equal(s->cpus_online, 2);
        assert_true(s->cpu_cores >= 1 && s->cpu_cores <= 2);
        assert_true(s->cpu_percent == 0);
        assert_int_equal(s->memory_total, 4 * MIB);
        assert_int_equal(s->memory_used, 3 * MIB);
        assert_int_equal(s->network.rx_bytes, 3000);
        assert_int_equal(s->network.rx_packets, 30);
        assert_int_equal(s->network.tx_bytes, 1100);
        assert_int_equal(s->network.tx_packets, 11);
        assert_true(fabs(s->load[1] - 1.25) < 1e-9);
        assert_int_equal(s->uptime_s, 12345);
        assert_true(s->has_disk);
        assert_int_equal(s->n_disks, 1);
        assert_string_equal(s->disk.mount, "/");
        assert_string_equal(s->disk.type, "ext4");
        assert_true(s->disk.total > 0 && s->disk.used + s->disk.free <= s->disk.total);
}

/* The first who asks has to wait, the next one does not. */
static void test_the_first_answer_is_complete(void **state)
{
        struct loop *l = *state;
        struct host_tree t;
        struct waiter w = { .wait.ready = on_ready }, second = w;
        struct host *h;

        write_machine(&t);
        h = new_host(l, &t);
        assert_int_equal(host_sample(h)->sampled_at_ms, 0);
        assert_false(host_facts(h)->is_known);
        assert_int_equal(host_wait(h, &w.wait), 1);
        assert_int_equal(w.n_told, 0);
        assert_true(loop_run_until(l, is_told, &w, DEADLINE_MS));
        assert_sample(host_sample(h));
        assert_string_equal(host_facts(h)->os_name, "Made \"OS\"");
        assert_int_equal(host_wait(h, &second.wait), 0);
        assert_int_equal(w.n_told, 1);
        assert_null(host_free(h));
        loop_run(l);
        assert_int_equal(second.n_told, 0);
        host_tree_free(&t);
}

/* Nothing keeps the loop from ending, so nothing wakes it up. Later it begins anew. */
static void test_an_idle_agent_sleeps(void **state)
{
        struct loop *l = *state;
        struct host_tree t;
        struct waiter w = { .wait.ready = on_ready };
        struct host *h;

        write_machine(&t);
        h = new_host(l, &t);
        loop_run(l); /* nobody has asked yet */
        assert_int_equal(host_wait(h, &w.wait), 1);
        assert_true(loop_run_until(l, is_told, &w, DEADLINE_MS));
        clock_set_fake(clock_now_us() + (HOST_IDLE_MS + 1) * (uint64_t)1000, clock_realtime_s());
        loop_run(l);
        clock_set_fake(0, -1);
        w.n_told = 0;
        clock_set_fake(clock_now_us() + (3 * HOST_IDLE_MS) * (uint64_t)1000, clock_realtime_s());
        assert_int_equal(host_wait(h, &w.wait), 1);
        assert_true(loop_run_until(l, is_told, &w, DEADLINE_MS));
        clock_set_fake(0, -1);
        host_free(h);
        loop_run(l);
        host_tree_free(&t);
}

static void test_not_all_may_wait(void **state)
{
        struct loop *l = *state;
        struct waiter *all = calloc(LIMIT_HOST_WAITING + 1, sizeof(*all));
        struct host_tree t;
        struct host *h;

        assert_non_null(all);
        write_machine(&t);
        h = new_host(l, &t);
        for (int i = 0; i < LIMIT_HOST_WAITING; i++) {
                all[i].wait.ready = on_ready;
                assert_int_equal(host_wait(h, &all[i].wait), 1);
        }
        assert_int_equal(host_wait(h, &all[LIMIT_HOST_WAITING].wait), -EBUSY);
        host_free(h); /* while workers are looking */
        for (int i = 0; i < LIMIT_HOST_WAITING; i++)
                assert_int_equal(all[i].n_told, 1);
        loop_run(l);
        free(all);
        host_tree_free(&t);
}

/* Who waits is told even if the machine tells nothing. */
static void test_a_machine_that_tells_nothing(void **state)
{
        struct loop *l = *state;
        struct waiter w = { .wait.ready = on_ready };
        struct host_tree t;
        struct host *h;

        assert_int_equal(host_tree_new(&t), 0);
        h = new_host(l, &t);
        assert_int_equal(host_wait(h, &w.wait), 1);
        assert_true(loop_run_until(l, is_told, &w, DEADLINE_MS));
        assert_true(host_sample(h)->cpu_cores == 1);
        assert_int_equal(host_sample(h)->memory_total, 0);
        assert_true(host_sample(h)->has_disk);
        assert_string_equal(host_facts(h)->os_name, "Linux");
        assert_string_equal(host_facts(h)->cpu_model, "");
        host_free(h);
        loop_run(l);
        host_tree_free(&t);
}

/* Without descriptors nothing is known, which is not the same as nothing being there. */
static void test_no_descriptors(void **state)
{
        struct host_tree t;
        struct host_cpus usable;
        struct host_cpu_reading cpu;
        struct host_sample *s = calloc(1, sizeof(*s));
        struct host_reader reader = { .root = t.root };
        struct rlimit before, none;
        int r;

        (void)state;
        assert_non_null(s);
        write_machine(&t);
        host_cpus_usable(&usable);
        assert_int_equal(host_reader_read(&reader, &usable, &cpu, s), 0);
        assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
        none = (struct rlimit){ .rlim_cur = 0, .rlim_max = before.rlim_max };
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
        r = host_reader_read(&reader, &usable, &cpu, s);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
        assert_int_equal(r, -EMFILE);
        host_reader_done(&reader);
        free(s);
        host_tree_free(&t);
}

/* Names and addresses alone need no readings. After a pause the machine may be another one. */
static void test_facts_are_learned_anew_after_a_pause(void **state)
{
        struct loop *l = *state;
        struct host_tree t;
        struct waiter w = { .wait.ready = on_ready };
        struct host *h;

        write_machine(&t);
        h = new_host(l, &t);
        assert_int_equal(host_wait_facts(h, &w.wait), 1);
        loop_run(l);
        assert_int_equal(w.n_told, 1);
        assert_string_equal(host_facts(h)->os_id, "made");
        assert_int_equal(host_wait_facts(h, &w.wait), 0);

        host_tree_write(&t, "/etc/os-release", "ID=other\n");
        host_resumed(h);
        w.n_told = 0;
        assert_int_equal(host_wait_facts(h, &w.wait), 1);
        assert_true(loop_run_until(l, is_told, &w, DEADLINE_MS));
        assert_string_equal(host_facts(h)->os_id, "other");

        assert_int_equal(host_wait(h, &w.wait), 1);
        w.n_told = 0;
        assert_true(loop_run_until(l, is_told, &w, DEADLINE_MS));
        host_resumed(h);
        assert_int_equal(host_wait(h, &w.wait), 1);
        w.n_told = 0;
        host_free(h); /* tells who waits */
        assert_int_equal(w.n_told, 1);
        host_resumed(NULL);
        loop_run(l);
        host_tree_free(&t);
}

static void test_facts(void **state)
{
        struct host_facts *f = calloc(1, sizeof(*f));
        struct host_tree t;
        char path[128];
        bool has_loopback = false;

        (void)state;
        assert_non_null(f);
        (void)unsetenv("TZ");
        write_machine(&t);
        host_facts_read(t.root, f);
        assert_string_equal(f->os_version, "7.1");
        assert_string_equal(f->os_id, "made");
        assert_string_equal(f->timezone, "Europe/Berlin");
        assert_string_equal(f->cpu_model, "Made CPU");
        assert_true(*f->kernel && *f->arch && *f->hostname);
        for (size_t i = 0; i < f->n_links; i++)
                has_loopback |= f->links[i].is_loopback && strcmp(f->links[i].name, "lo") == 0;
        assert_true(has_loopback);

        (void)snprintf(path, sizeof(path), "%s/etc/localtime", t.root);
        assert_int_equal(symlink("/usr/share/zoneinfo/Asia/Tokyo", path), 0);
        host_facts_read(t.root, f);
        assert_string_equal(f->timezone, "Asia/Tokyo");
        free(f);
        host_tree_free(&t);
}

static void test_mounts(void **state)
{
        char text[] =
                "rubbish\n"
                "1 2 0:3 /a\\040b /x\\134y\\040z rw,x opt:1 opt:2 - ext4 /dev/disk\\0401 rw,cpu,cpuacct\n"
                "1 2 0:3 / / rw - tmpfs none\n"; /* too short */
        char *rest = text;
        struct host_mount m;

        (void)state;
        assert_true(host_mount_next(&rest, &m));
        assert_string_equal(m.device, "0:3");
        assert_string_equal(m.root, "/a b");
        assert_string_equal(m.point, "/x\\y z");
        assert_string_equal(m.type, "ext4");
        assert_string_equal(m.source, "/dev/disk 1");
        assert_true(host_mount_has(m.options, "cpu"));
        assert_true(host_mount_has(m.options, "cpuacct"));
        assert_false(host_mount_has(m.options, "cpua"));
        assert_false(host_mount_has(m.options, "acct"));
        assert_false(host_mount_next(&rest, &m));
}

/* Each device once, directories only, no images; the one that is asked for first. */
static void test_disks(void **state)
{
        struct host_disks *d = calloc(1, sizeof(*d));
        struct host_tree t;
        char text[2048], path[128];

        (void)state;
        assert_non_null(d);
        assert_int_equal(host_tree_new(&t), 0);
        host_tree_write(&t, "/data/file", "");
        host_tree_write(&t, "/snap/file", "");
        host_tree_write(&t, "/mine/file", "");
        (void)snprintf(text, sizeof(text),
                       "1 1 254:0 / / rw - ext4 /dev/vda rw\n"
                       "2 1 0:77 / %s rw - tmpfs tmpfs rw\n"
                       "3 1 254:1 / /data rw - xfs /dev/vdb rw\n"
                       "4 1 254:1 /x /data/file rw - xfs /dev/vdb rw\n"
                       "5 1 254:2 / /data/file rw - xfs /dev/vdc rw\n"
                       "6 1 7:1 / /snap ro - squashfs /dev/loop1 ro\n"
                       "7 1 254:3 / /missing rw - xfs /dev/vdd rw\n"
                       "8 1 0:5 / /proc rw - proc proc rw\n"
                       "9 1 0:78 / /mine rw - fuse.made-up /dev/vde rw\n",
                       t.root);
        host_tree_write(&t, "/proc/self/mountinfo", text);
        (void)snprintf(path, sizeof(path), "%s/not/there", t.root);
        host_disks_read(t.root, path, d);
        assert_true(d->has_first);
        assert_int_equal(d->n, 3);
        assert_string_equal(d->disks[0].mount, t.root);
        assert_string_equal(d->disks[0].type, "tmpfs");
        assert_string_equal(d->disks[1].mount, "/");
        assert_string_equal(d->disks[2].mount, "/data");
        free(d);
        host_tree_free(&t);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_the_first_answer_is_complete, loop_setup,
                                                loop_teardown),
                cmocka_unit_test_setup_teardown(test_an_idle_agent_sleeps, loop_setup,
                                                loop_teardown),
                cmocka_unit_test_setup_teardown(test_not_all_may_wait, loop_setup, loop_teardown),
                cmocka_unit_test_setup_teardown(test_a_machine_that_tells_nothing, loop_setup,
                                                loop_teardown),
                cmocka_unit_test(test_no_descriptors),
                cmocka_unit_test_setup_teardown(test_facts_are_learned_anew_after_a_pause,
                                                loop_setup, loop_teardown),
                cmocka_unit_test(test_facts),
                cmocka_unit_test(test_mounts),
                cmocka_unit_test(test_disks),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
