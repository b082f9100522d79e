/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* POST /files/write, and its fields, which a batch has as well. */

#include <stdbool.h>

#include "agent/base/error.h"
#include "agent/files/write.h"
#include "agent/json/field.h"

struct request;
struct route_doc;

enum files_encoding { FILES_TEXT, FILES_BASE64 };

struct files_write_args {
        const char *path;
        struct json_text content;
        const char *mode;
        int encoding; /* enum files_encoding */
        bool overwrite;
        bool append;
        bool sync;
        bool parents;
};
extern const struct json_field files_write_args[];
int files_write_post(struct request *req);
extern const struct route_doc files_write_post_doc;

/* The options that @args ask for. -EINVAL: they contradict each other, or the mode is none; err->field is set. */
int files_write_options(const struct files_write_args *args, struct file_write_options *ret,
                        struct error *err);

/* A file cannot be called "name/". 0, or FILES_E_IS_DIRECTORY. On any thread. */
int files_write_check_path(const char *path, struct error *err);

/* The bytes that @args carry, on any thread: *ret is in the arguments or, to be freed, *ret_owned. -EINVAL: no base64,
 * and err->field is set. -ENOMEM. */
int files_write_content(const struct files_write_args *args, const char **ret, size_t *ret_size,
                        char **ret_owned, struct error *err);
