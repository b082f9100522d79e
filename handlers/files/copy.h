/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* POST /files/copy. POST /files/move takes the same fields. */

#include <stdbool.h>

#include "agent/files/copy.h"
#include "agent/json/field.h"

struct request;
struct route_doc;

struct files_copy_args {
        const char *from;
        const char *to;
        bool overwrite;
        bool parents;
};
extern const struct json_field files_copy_args[];
int files_copy_post(struct request *req);
extern const struct route_doc files_copy_post_doc;

/* Does @operation, file_copy or file_move, for @req. @message: what a success is called. */
int files_transfer(struct request *req,
                   int (*operation)(const struct roots *roots, const char *from, const char *to,
                                    const struct file_copy_options *o, struct file_copied *ret,
                                    struct error *err),
                   const char *message);
