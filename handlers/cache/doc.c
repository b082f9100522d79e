/* SPDX-License-Identifier: Apache-2.0 */

/* What the routes of the result cache answer. */

#include "agent/http/route_doc.h"
#include "handlers/cache/cache.h"

/* clang-format off */
static const struct shape cache_shape[] = {
        S_BOOL   ("enabled", .doc = "Results are kept even if a request does not ask for it", .example = "false"),
        S_INTEGER("size", .doc = "Bytes that are kept", .example = "2048"),
        S_INTEGER("max_size", .doc = "Bytes that may be kept", .example = "67108864"),
        S_INTEGER("count", .doc = "Results that are kept", .example = "2"),
        S_INTEGER("total_hits", .doc = "Answers that were kept results", .example = "3"),
        S_INTEGER("total_misses", .doc = "Executions for which there was none", .example = "2"),
        S_INTEGER("stored", .doc = "Results that were kept so far", .example = "2"),
        S_INTEGER("evicted", .doc = "Of those, how many made room for others", .example = "0"),
        S_NUMBER ("hit_rate", .doc = "Share of the hits, 0 to 1", .example = "0.6"),
        S_STRING ("ttl", .doc = "How long a result is kept", .example = "\"1h0m0s\""),
        S_END
};

#define STATS_MEMBERS                                                           \
        S_OBJECT ("cache", cache_shape),                                        \
        S_INTEGER("hits", .doc = "As cache.total_hits", .example = "3"),        \
        S_INTEGER("misses", .doc = "As cache.total_misses", .example = "2"),    \
        S_NUMBER ("hit_rate", .doc = "As in cache", .example = "0.6"),          \
        S_INTEGER("size", .doc = "As in cache", .example = "2048"),             \
        S_INTEGER("count", .doc = "As in cache", .example = "2"),               \
        S_TIME   ("timestamp")

static const struct shape stats_shape[] = {
        STATS_MEMBERS,
        S_END
};

static const struct shape cache_and_agent_shape[] = {
        S_STRING("agent", .example = "\"vm-agent\""),
        S_STRING("status", .example = "\"running\""),
        S_STRING("version", .example = "\"0.1.0\""),
        S_STRING("vm_id", .doc = "Option vm-id", .example = "\"vm-1\""),
        S_STRING("message", .example = "\"success\""),
        STATS_MEMBERS,
        S_END
};

static const struct shape clear_shape[] = {
        S_BOOL   ("success"),
        S_STRING ("message", .example = "\"Cache cleared successfully\""),
        S_INTEGER("cleared_entries", .doc = "Results that were kept", .example = "2"),
        S_INTEGER("entries_removed", .doc = "The same", .example = "2"),
        S_INTEGER("freed_bytes", .example = "2048"),
        S_TIME   ("timestamp"),
        S_END
};

const struct route_doc cache_get_doc = {
        .description = "What `GET /cache/stats` answers, and who answers here.",
        .replies = (const struct route_reply[]){ { 200, NULL, cache_and_agent_shape, "Both" }, { 0 } },
};

const struct route_doc cache_stats_get_doc = {
        .replies = (const struct route_reply[]){ { 200, NULL, stats_shape, "Since the agent was started" }, { 0 } },
};

const struct route_doc cache_clear_post_doc = {
        .replies = (const struct route_reply[]){ { 200, NULL, clear_shape, "Nothing is kept any more" }, { 0 } },
};
/* clang-format on */
