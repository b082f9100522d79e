/* SPDX-License-Identifier: Apache-2.0 */

/* Ten small files in all. Mounts may be thousands, though, so where the cgroups are is found out once in a while. */

#include "agent/host/reading.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base/buf.h"
#include "agent/base/clock.h"
#include "agent/base/str.h"
#include "agent/host/memory.h"
#include "agent/host/text.h"

#define CGROUPS_FRESH_US 10000000

/* Of a line of /proc/net/dev. */
enum { RX_BYTES = 0, RX_PACKETS = 1, TX_BYTES = 8, TX_PACKETS = 9, N_NUMBERS = 10 };

static void read_load(const char *root, double ret[3])
{
        CLEANUP(buf_done) struct buf text = { 0 };
        char *s;

        if (host_text_read(root, "/proc/loadavg", &text) < 0)
                return;
        s = text.data;
        for (size_t i = 0; i < 3; i++)
                ret[i] = strtod(s, &s);
}

static int read_uptime(const char *root, uint64_t *ret)
{
        CLEANUP(buf_done) struct buf text = { 0 };
        const char *s;
        int r;

        *ret = 0;
        r = host_text_read(root, "/proc/uptime", &text);
        if (r < 0)
                return r;
        s = text.data;
        (void)host_text_next(&s, ret);
        return 0;
}

/* "  eth0: 2825245728  115014 …" */
static void add_interface(const char *line, struct host_network *ret)
{
        const char *name = line + strspn(line, " ");
        const char *s = strchr(name, ':');
        uint64_t numbers[N_NUMBERS] = { 0 };

        if (!s || str_has_prefix(name, "lo:"))
                return;
        s++;
        for (size_t i = 0; i < N_NUMBERS; i++)
                if (!host_text_next(&s, &numbers[i]))
                        return;
        ret->rx_bytes += numbers[RX_BYTES];
        ret->rx_packets += numbers[RX_PACKETS];
        ret->tx_bytes += numbers[TX_BYTES];
        ret->tx_packets += numbers[TX_PACKETS];
}

static void read_network(const char *root, struct host_network *ret)
{
        CLEANUP(buf_done) struct buf text = { 0 };
        char *rest, *line;

        if (host_text_read(root, "/proc/net/dev", &text) < 0)
                return;
        rest = text.data;
        while ((line = host_text_line(&rest)) != NULL)
                add_interface(line, ret);
}

/* See the header. */
int host_reader_read(struct host_reader *r, const struct host_cpus *usable,
                     struct host_cpu_reading *ret_cpu, struct host_sample *ret)
{
        uint64_t now_us = clock_monotonic_us(); /* others run while we stand still */
        uint64_t uptime_s;
        int error = read_uptime(r->root, &uptime_s);

        /* All else would be missing, too: a machine without memory, and a container without limits. */
        if (error == -EMFILE || error == -ENFILE)
                return error;
        if (r->cgroups_at_us == 0 || now_us - r->cgroups_at_us > CGROUPS_FRESH_US) {
                host_cgroups_done(&r->cgroups);
                host_cgroups_find(r->root, &r->cgroups);
                r->cgroups_at_us = now_us;
        }
        memset(ret, 0, sizeof(*ret));
        host_cpu_read(r->root, &r->cgroups, usable, ret_cpu);
        ret_cpu->at_us = now_us;
        ret->cpu_cores = ret_cpu->cores;
        ret->cpus_online = ret_cpu->online;
        ret->is_cpu_limited = ret_cpu->cores < (double)ret_cpu->online;
        host_memory_read(r->root, &r->cgroups, ret);
        read_network(r->root, &ret->network);
        read_load(r->root, ret->load);
        ret->uptime_s = uptime_s;
        ret->sampled_at_ms = clock_realtime_us() / 1000;
        return 0;
}

/* Leaves nothing behind. */
void host_reader_done(struct host_reader *r)
{
        host_cgroups_done(&r->cgroups);
}
