/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* GET /files/exists. */

#include "agent/json/field.h"

struct request;
struct route_doc;

struct files_path_args {
        const char *path;
};
extern const struct json_field files_exists_args[];
int files_exists_get(struct request *req);
extern const struct route_doc files_exists_get_doc;
