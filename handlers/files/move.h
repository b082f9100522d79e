/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* POST /files/move. Takes files_copy_args (handlers/files/copy.h). */

struct request;
struct route_doc;

int files_move_post(struct request *req);
extern const struct route_doc files_move_post_doc;
