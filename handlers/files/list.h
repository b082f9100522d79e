/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* GET /files/list: a directory or a tree, at once or page by page. */

#include <stdbool.h>
#include <stdint.h>

#include "agent/json/field.h"

struct request;
struct route_doc;

struct files_list_args {
        const char *path;
        bool recursive;
        bool has_recursive; /* it was given */
        uint64_t depth;
        const char *glob;
        uint64_t limit;
        const char *cursor;
};
extern const struct json_field files_list_args[];
int files_list_get(struct request *req);
extern const struct route_doc files_list_get_doc;
