/* SPDX-License-Identifier: Apache-2.0 */

#include "handlers/files/move.h"

#include "agent/files/move.h"
#include "handlers/files/copy.h"

/* Answers POST /files/move. */
int files_move_post(struct request *req)
{
        return files_transfer(req, file_move, "Moved successfully");
}
