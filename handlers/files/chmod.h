/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* POST /files/chmod: permissions, owner and group; of a file, a directory or a tree. */

#include <stdbool.h>

#include "agent/json/field.h"

struct request;
struct route_doc;

struct files_chmod_args {
        const char *path;
        const char *mode;
        const char *owner;
        const char *group;
        bool recursive;
};
extern const struct json_field files_chmod_args[];
int files_chmod_post(struct request *req);
extern const struct route_doc files_chmod_post_doc;
