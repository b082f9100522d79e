/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* POST /files/batch: many files are written, or none is.
 *
 * {"files": [{"path": …, "content": …, …}, …]}: each of them as for POST /files/write, but for append. */

#include <stdbool.h>

#include "agent/json/field.h"

struct request;
struct route_doc;

struct files_batch_args {
        bool sync;
};
extern const struct json_field files_batch_args[];
int files_batch_post(struct request *req);
extern const struct route_doc files_batch_post_doc;
