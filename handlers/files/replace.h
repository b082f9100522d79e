/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* POST /files/replace: an exact text in a file becomes another one. */

#include <stdbool.h>

#include "agent/json/field.h"

struct request;
struct route_doc;

struct files_replace_args {
        const char *path;
        struct json_text old;
        struct json_text new;
        bool all;
        bool dry_run;
};
extern const struct json_field files_replace_args[];
int files_replace_post(struct request *req);
extern const struct route_doc files_replace_post_doc;
