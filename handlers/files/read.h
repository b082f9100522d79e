/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* GET /files/read: a text, bytes, or a part of either. */

#include <stdint.h>

#include "agent/json/field.h"

struct request;
struct route_doc;

struct files_read_args {
        const char *path;
        int encoding;
        uint64_t offset;
        uint64_t limit;
        uint64_t line_start;
        uint64_t line_end;
};
extern const struct json_field files_read_args[];
int files_read_get(struct request *req);
extern const struct route_doc files_read_get_doc;
