/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* GET /files/download: a file's bytes, or a range of them; a directory as an archive. */

#include "agent/json/field.h"

struct request;
struct route_doc;

struct files_download_args {
        const char *path;
        int format;
};
extern const struct json_field files_download_args[];
int files_download_get(struct request *req);
extern const struct route_doc files_download_get_doc;
