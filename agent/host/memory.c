/* SPDX-License-Identifier: Apache-2.0 */

/* The smallest limit of all cgroups that we are in, if it is less than what the machine has: without one, version 1
 * says so by a huge number. What a cgroup uses contains the files that it has read, which the kernel drops when it
 * needs the memory; those that were not read lately are not counted, just as container engines show it. */

#include "agent/host/memory.h"

#include <string.h>

#include "agent/base/alloc.h"
#include "agent/base/buf.h"
#include "agent/host/text.h"

/* The files of either version. */
struct names {
        const char *limit;
        const char *used;
        const char *inactive;
        const char *swap_limit; /* version 1: of memory and swap together, as the next one */
        const char *swap_used;
};

static const struct names v1 = {
        .limit = "memory.limit_in_bytes",
        .used = "memory.usage_in_bytes",
        .inactive = "total_inactive_file ",
        .swap_limit = "memory.memsw.limit_in_bytes",
        .swap_used = "memory.memsw.usage_in_bytes",
};

static const struct names v2 = {
        .limit = "memory.max",
        .used = "memory.current",
        .inactive = "inactive_file ",
        .swap_limit = "memory.swap.max",
        .swap_used = "memory.swap.current",
};

static uint64_t less(uint64_t a, uint64_t b)
{
        return a > b ? a - b : 0;
}

static uint64_t kib_of(const char *text, const char *key)
{
        uint64_t value = 0;

        (void)host_text_find(text, key, &value);
        return value * KIB;
}

static void read_machine(const char *root, struct host_sample *ret)
{
        CLEANUP(buf_done) struct buf text = { 0 };
        uint64_t available;

        if (host_text_read(root, "/proc/meminfo", &text) < 0)
                return;
        ret->memory_total = kib_of(text.data, "MemTotal:");
        if (host_text_find(text.data, "MemAvailable:", &available))
                available *= KIB;
        else /* before Linux 3.14, and in some containers */
                available = kib_of(text.data, "MemFree:") + kib_of(text.data, "Buffers:") +
                            kib_of(text.data, "Cached:");
        ret->memory_free = MIN(available, ret->memory_total);
        ret->memory_used = ret->memory_total - ret->memory_free;
        ret->swap.total = kib_of(text.data, "SwapTotal:");
        ret->swap.free = MIN(kib_of(text.data, "SwapFree:"), ret->swap.total);
        ret->swap.used = ret->swap.total - ret->swap.free;
}

/* The directory with the smallest limit, from malloc, or NULL. */
static char *find_limit(const struct host_hierarchy *h, const struct names *names,
                        uint64_t *ret_limit)
{
        uint64_t smallest = UINT64_MAX;
        char *found = NULL;

        for (size_t up = 0;; up++) {
                char *dir = host_cgroup_dir(h, up);
                uint64_t limit;

                if (!dir)
                        break;
                /* Of equal ones the outer one: others use it up, too. */
                if (host_text_number(dir, names->limit, &limit) == 0 && limit < UINT64_MAX &&
                    limit <= smallest) {
                        smallest = limit;
                        (void)mem_free(found);
                        found = STEAL(dir);
                }
                (void)mem_free(dir);
        }
        *ret_limit = smallest;
        return found;
}

static uint64_t read_used(const char *dir, const struct names *names)
{
        CLEANUP(buf_done) struct buf text = { 0 };
        uint64_t used = 0, inactive = 0;

        (void)host_text_number(dir, names->used, &used);
        if (host_text_read(dir, "/memory.stat", &text) == 0)
                (void)host_text_find(text.data, names->inactive, &inactive);
        return less(used, inactive);
}

static void read_swap(const char *dir, const struct host_hierarchy *h, const struct names *names,
                      uint64_t memory_limit, struct host_swap *ret)
{
        uint64_t limit, used, memory;

        if (host_text_number(dir, names->swap_limit, &limit) < 0 ||
            host_text_number(dir, names->swap_used, &used) < 0)
                return;
        if (!h->is_v2) {
                if (host_text_number(dir, names->used, &memory) < 0)
                        return;
                limit = less(limit, memory_limit);
                used = less(used, memory);
        }
        if (limit >= ret->total)
                return; /* the machine has less than we may use: its own figures say more */
        ret->total = limit;
        ret->used = MIN(used, limit);
        ret->free = limit - ret->used;
}

/* See the header. */
void host_memory_read(const char *root, const struct host_cgroups *groups, struct host_sample *ret)
{
        const struct host_hierarchy *h = &groups->of[HOST_MEMORY];
        const struct names *names = h->is_v2 ? &v2 : &v1;
        CLEANUP(mem_free) char *dir = NULL;
        uint64_t limit = UINT64_MAX;

        read_machine(root, ret);
        if (h->mount)
                dir = find_limit(h, names, &limit);
        ret->is_memory_limited = dir != NULL &&
                                 (ret->memory_total == 0 || limit < ret->memory_total);
        if (!ret->is_memory_limited)
                return;
        ret->memory_total = limit;
        ret->memory_used = MIN(read_used(dir, names), limit);
        ret->memory_free = limit - ret->memory_used;
        read_swap(dir, h, names, limit, &ret->swap);
}
