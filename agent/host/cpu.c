/* SPDX-License-Identifier: Apache-2.0 */

/* Where there is a quota, or a container, its cgroup's own time is what counts: /proc/stat is the whole machine's.
 * Quotas of all cgroups that we are in hold at once, so the smallest does. */

#include "agent/host/cpu.h"

#include <sched.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/base/alloc.h"
#include "agent/base/buf.h"
#include "agent/base/str.h"
#include "agent/host/text.h"

/* user nice system idle iowait irq softirq steal; guests are part of the first two. */
#define N_TICKS 8
#define IDLE    3
#define IOWAIT  4

/* See the header. */
void host_cpus_usable(struct host_cpus *ret)
{
        memset(ret, 0, sizeof(*ret));
        /* The process's, not this worker's. The C library's function knows fewer processors. */
        if (syscall(SYS_sched_getaffinity, getpid(), sizeof(*ret), ret) < 0)
                memset(ret, 0xff, sizeof(*ret));
}

static bool may_use(const struct host_cpus *cpus, uint64_t cpu)
{
        return cpu < HOST_MAX_CPUS && (cpus->words[cpu / 64] >> (cpu % 64) & 1);
}

/* "cpu3 1 2 3 …" */
static void add_line(const char *line, const struct host_cpus *usable, unsigned *n_usable,
                     struct host_cpu_reading *ret)
{
        uint64_t cpu, ticks[N_TICKS] = { 0 };
        const char *s = line + strlen("cpu");

        if (*s == ' ' || !host_text_next(&s, &cpu)) /* the sum of all, which is first */
                return;
        ret->online++;
        if (!may_use(usable, cpu))
                return;
        (*n_usable)++;
        for (size_t i = 0; i < N_TICKS && host_text_next(&s, &ticks[i]); i++) {
                ret->total_ticks += ticks[i];
                if (i != IDLE && i != IOWAIT)
                        ret->busy_ticks += ticks[i];
        }
}

/* The quota of the cgroup @dir as a number of processors; 0: none. */
static double read_quota(const char *dir, bool is_v2)
{
        uint64_t quota = UINT64_MAX, period = 0;

        if (is_v2) {
                CLEANUP(buf_done) struct buf text = { 0 };
                const char *s;

                if (host_text_read(dir, "/cpu.max", &text) < 0)
                        return 0;
                s = text.data; /* "150000 100000", "max 100000" */
                if (!host_text_next(&s, &quota) || !host_text_next(&s, &period))
                        return 0;
        } else if (host_text_number(dir, "cpu.cfs_quota_us", &quota) < 0 ||
                   host_text_number(dir, "cpu.cfs_period_us", &period) < 0) {
                return 0;
        }
        return quota == UINT64_MAX || period == 0 ? 0 : (double)quota / (double)period;
}

/* The smallest quota; 0: there is none. */
static double find_quota(const struct host_hierarchy *h, size_t *ret_level)
{
        double smallest = 0;

        for (size_t up = 0;; up++) {
                CLEANUP(mem_free) char *dir = host_cgroup_dir(h, up);
                double quota;

                if (!dir)
                        return smallest;
                quota = read_quota(dir, h->is_v2);
                /* Of equal ones the outer one: others use it up, too. */
                if (quota > 0 && (smallest == 0 || quota <= smallest)) {
                        smallest = quota;
                        *ret_level = up;
                }
        }
}

static bool read_used(const struct host_hierarchy *h, size_t level, uint64_t *ret_us)
{
        CLEANUP(mem_free) char *dir = host_cgroup_dir(h, level);
        CLEANUP(buf_done) struct buf text = { 0 };

        if (!dir)
                return false;
        if (h->is_v2)
                return host_text_read(dir, "/cpu.stat", &text) == 0 &&
                       host_text_find(text.data, "usage_usec ", ret_us);
        if (host_text_number(dir, "cpuacct.usage", ret_us) < 0)
                return false;
        *ret_us /= 1000;
        return true;
}

/* How far up the mount's own directory is. */
static size_t outermost(const struct host_hierarchy *h)
{
        size_t n = 0;

        for (const char *s = h->own; *s; s++)
                n += *s == '/';
        return n;
}

static void read_group(const struct host_cgroups *groups, struct host_cpu_reading *ret)
{
        const struct host_hierarchy *quotas = &groups->of[HOST_CPU];
        const struct host_hierarchy *times = &groups->of[HOST_CPUACCT];
        size_t level = 0;
        double quota = quotas->mount ? find_quota(quotas, &level) : 0;

        if (!times->mount)
                times = quotas;
        if (!times->mount)
                return;
        if (quota > 0) {
                if (quota < ret->cores)
                        ret->cores = quota;
                /* Time is counted in another hierarchy, perhaps: by our own cgroup of it then. */
                if (!str_equal(times->own, quotas->own))
                        level = 0;
        } else if (times->is_container) {
                level = outermost(times);
        } else {
                return;
        }
        ret->used_level = level;
        ret->has_used = read_used(times, level, &ret->used_us);
}

/* See the header. */
void host_cpu_read(const char *root, const struct host_cgroups *groups,
                   const struct host_cpus *usable, struct host_cpu_reading *ret)
{
        CLEANUP(buf_done) struct buf text = { 0 };
        unsigned n_usable = 0;
        char *rest, *line;

        memset(ret, 0, sizeof(*ret));
        if (host_text_read(root, "/proc/stat", &text) == 0) {
                rest = text.data;
                while ((line = host_text_line(&rest)) != NULL && str_has_prefix(line, "cpu"))
                        add_line(line, usable, &n_usable, ret);
        }
        ret->online = MAX(ret->online, 1u);
        ret->cores = MAX(n_usable, 1u);
        read_group(groups, ret);
}

static uint64_t growth(uint64_t before, uint64_t now)
{
        return now > before ? now - before : 0;
}

/* See the header. */
double host_cpu_percent(const struct host_cpu_reading *before, const struct host_cpu_reading *now)
{
        bool is_group = before->has_used && now->has_used && before->used_level == now->used_level;
        double used, available;

        if (is_group) {
                used = (double)growth(before->used_us, now->used_us);
                available = (double)growth(before->at_us, now->at_us) * now->cores;
        } else {
                used = (double)growth(before->busy_ticks, now->busy_ticks);
                available = (double)growth(before->total_ticks, now->total_ticks);
        }
        if (available <= 0)
                return 0;
        return MIN(used * 100 / available, 100.0);
}
