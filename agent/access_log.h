/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One line per request, at level info. Lines are collected and written together when the loop is about to wait,
 * because a system call for each would be a measurable part of a fast request. */

#include <stdint.h>

struct access_log_line {
        const char *request_id;
        const char *method;
        const char *route; /* NULL: none matched, path is logged instead */
        const char *path;
        unsigned status; /* 499: the client left before its answer */
        uint64_t duration_us;
        uint64_t received; /* bytes of body */
        uint64_t sent;
        const char *subject;
};

void access_log(const struct access_log_line *line);
/* Writes what was collected. */
void access_log_flush(void);
