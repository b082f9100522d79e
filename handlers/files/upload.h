/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* POST /files/upload (a form with files) and PUT /files/upload?path= (the body is the file). */

#include <stdbool.h>

#include "agent/json/field.h"

struct request;
struct route_doc;

struct files_upload_args {
        const char *path;
        const char *mode;
        bool overwrite;
        bool extract;
};
extern const struct json_field files_upload_args[];

/* The fields path, mode and overwrite of the form say the same as the query's parameters. Fields and files come in any
 * order. With several files the path is a directory; each appears complete, and those that were complete before a
 * failure stay.
 *
 * With extract the file is an archive, and the path a directory (by default the workspace), in which it is unpacked:
 * all of it or nothing (unpack.h). */
int files_upload_post(struct request *req);
extern const struct route_doc files_upload_post_doc;
int files_upload_put(struct request *req);
extern const struct route_doc files_upload_put_doc;
