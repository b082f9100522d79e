/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What a job displayed, as its keeper has written it down. For worker threads. */

#include <stdint.h>

struct rich;
struct rich_log;

/* Of one job: the options rich-max-size and rich-max-count. */
struct rich_limits {
        uint64_t max_size;
        uint64_t max_count;
};

/* Reads it from the job's directory @dir. That there is none, or nobody can read it, is no error: then it is empty.
 * -EMFILE, -ENFILE, -ENOMEM: try again. */
int rich_log_read(const char *dir, const struct rich_limits *limits, struct rich_log **ret);
/* NULL is fine; returns NULL. */
struct rich_log *rich_log_free(struct rich_log *l);
const struct rich *rich_log_content(const struct rich_log *l);
