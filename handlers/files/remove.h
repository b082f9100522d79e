/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* DELETE /files/remove. */

#include <stdbool.h>

#include "agent/json/field.h"

struct request;
struct route_doc;

struct files_remove_args {
        const char *path;
        bool recursive;
};
extern const struct json_field files_remove_args[];
int files_remove_delete(struct request *req);
extern const struct route_doc files_remove_delete_doc;
