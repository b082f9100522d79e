/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* POST /files/mkdir. */

#include <stdbool.h>

#include "agent/json/field.h"

struct request;
struct route_doc;

struct files_mkdir_args {
        const char *path;
        const char *mode;
        bool parents;
};
extern const struct json_field files_mkdir_args[];
int files_mkdir_post(struct request *req);
extern const struct route_doc files_mkdir_post_doc;
