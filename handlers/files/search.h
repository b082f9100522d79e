/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* GET /files/search: which lines of which files contain something. */

#include <stdbool.h>
#include <stdint.h>

#include "agent/json/field.h"

struct request;
struct route_doc;

struct files_search_args {
        struct json_text pattern;
        const char *path;
        const char *glob;
        const char *exclude;
        bool regex;
        bool ignore_case;
        uint64_t context;
        uint64_t before;
        uint64_t after;
        uint64_t limit;
};
extern const struct json_field files_search_args[];
int files_search_get(struct request *req);
extern const struct route_doc files_search_get_doc;
