/* SPDX-License-Identifier: Apache-2.0 */

#include "handlers/execution/usage.h"

#include <assert.h>

/* See the header. */
size_t usage_members(const struct usage *u, struct usage_member ret[USAGE_MEMBERS])
{
        bool has_parts = u->user_us + u->system_us > 0;
        const struct {
                struct usage_member member;
                bool is_known;
        } rows[] = {
                { { "user_seconds", u->user_us, true }, has_parts },
                { { "system_seconds", u->system_us, true }, has_parts },
                { { "cpu_time", u->cpu_us, true }, u->cpu_us > 0 },
                { { "max_rss_bytes", u->max_rss, false }, u->max_rss > 0 },
                { { "io_read_bytes", u->read_bytes, false }, u->has_io },
                { { "io_write_bytes", u->written_bytes, false }, u->has_io },
                { { "peak_processes", u->peak_tasks, false }, u->peak_tasks > 0 },
                { { "process_limit_hits", u->refused_tasks, false }, u->refused_tasks > 0 },
        };
        size_t n = 0;

        static_assert(sizeof(rows) / sizeof(rows[0]) == USAGE_MEMBERS, "room for all");
        for (size_t i = 0; i < USAGE_MEMBERS; i++)
                if (rows[i].is_known)
                        ret[n++] = rows[i].member;
        return n;
}

/* See the header. */
json_t *usage_describe(const struct usage *u)
{
        struct usage_member members[USAGE_MEMBERS];
        size_t n = usage_members(u, members);
        json_t *object = json_object();

        for (size_t i = 0; i < n; i++) {
                const struct usage_member *m = &members[i];

                json_object_set_new(object, m->name,
                                    m->is_time ? json_real((double)m->value / 1e6)
                                               : json_integer((json_int_t)m->value));
        }
        return object;
}
