/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* GET /files/stat: all that is known about a file. */

#include <stdbool.h>

#include "agent/json/field.h"

struct request;
struct route_doc;

struct files_stat_args {
        const char *path;
        bool follow;
};
extern const struct json_field files_stat_args[];
int files_stat_get(struct request *req);
extern const struct route_doc files_stat_get_doc;
