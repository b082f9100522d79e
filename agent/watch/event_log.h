/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Events on their way from the worker to the receiver. */

#include <stddef.h>

#include "agent/base/buf.h"
#include "agent/watch/watch.h"

struct logged_event {
        enum watch_type type;
        bool is_directory;
        size_t path; /* positions in the text */
        size_t old_path;
};

struct event_log {
        struct logged_event *items;
        size_t n;
        size_t n_allocated;
        struct buf text; /* paths, each with its NUL */
};

void event_log_done(struct event_log *l);
/* @path and @old_path (of a rename) are where the paths begin in the text. */
void event_log_add(struct event_log *l, enum watch_type type, bool is_directory, size_t path,
                   size_t old_path);
/* Call it after each path that was appended to the text. */
void event_log_end_path(struct event_log *l);
/* The event as the receiver sees it; valid as long as the log does not change. */
struct watch_event event_log_get(const struct event_log *l, size_t i);
