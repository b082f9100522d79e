/* SPDX-License-Identifier: Apache-2.0 */

/* What the endpoints answer that change something. */

#include "agent/base/limits.h"
#include "handlers/files/batch.h"
#include "handlers/files/chmod.h"
#include "handlers/files/copy.h"
#include "handlers/files/doc.h"
#include "handlers/files/mkdir.h"
#include "handlers/files/move.h"
#include "handlers/files/remove.h"
#include "handlers/files/replace.h"
#include "handlers/files/write.h"

/* clang-format off */

/* --- write --- */

static const struct shape write_shape[] = {
        FILES_DONE_SHAPE("\"src/app.py\"", "\"File written successfully\""),
        S_INTEGER("size", .example = "9", .doc = "Bytes of the file now"),
        S_BOOL   ("created", .example = "true", .doc = "Was there none before?"),
        S_END
};

static const struct route_reply write_replies[] = {
        { 200, NULL, write_shape, "It was written" },
        { 0 },
};

static const enum problem write_problems[] = { FILES_MAKE_PROBLEMS, N_PROBLEMS };

/* Of files_write_post. */
const struct route_doc files_write_post_doc = {
        .description = "Whoever reads the file meanwhile gets the old content or the new one, never a part. A file "
                       "that is replaced keeps its permissions and owner; links are written through. Bytes that are "
                       "no UTF-8 go as `base64`, or to `PUT /files/upload`.",
        .replies = write_replies,
        .problems = write_problems,
        .example = "{\"path\":\"src/app.py\",\"content\":\"print(1)\\n\"}",
};

/* --- batch --- */

static const struct shape batch_file_shape[] = {
        S_STRING ("path", .example = "\"src/app.py\"", .doc = "As it was asked for"),
        S_INTEGER("size", .example = "9", .doc = "Bytes of the file"),
        S_BOOL   ("created", .example = "true", .doc = "Was there none before?"),
        S_END
};

static const struct shape batch_shape[] = {
        FILES_DONE_SHAPE("\"src/app.py\"", "\"All files written successfully\""),
        S_LIST   ("files", S_ITEM_OF(SHAPE_OBJECT, batch_file_shape), .doc = "In the order of the request"),
        S_INTEGER("count", .example = "1", .doc = "Files"),
        S_INTEGER("size", .example = "9", .doc = "Bytes of all of them"),
        S_END
};

static const struct route_reply batch_replies[] = {
        { 200, NULL, batch_shape, "All were written; path is that of the first" },
        { 0 },
};

static const enum problem batch_problems[] = {
        FILES_MAKE_PROBLEMS, PROBLEM_MISSING_PARAMETER, PROBLEM_LIMIT_REACHED, N_PROBLEMS,
};

static const struct route_part batch_parts[] = {
        { "files", files_write_args, LIMIT_FILE_BATCH, "The files; append is not for them" },
        { 0 },
};

/* Of files_batch_post. */
const struct route_doc files_batch_post_doc = {
        .description = "Either all files are written or, with an error that blames one of them (`/files/3/content`), "
                       "none. The fields of a file are those of `POST /files/write` but for `append`.",
        .replies = batch_replies,
        .problems = batch_problems,
        .parts = batch_parts,
        .example = "{\"files\":[{\"path\":\"src/app.py\",\"content\":\"print(1)\\n\"},"
                   "{\"path\":\"README\",\"content\":\"An example\\n\"}]}",
};

/* --- mkdir --- */

static const struct shape mkdir_shape[] = {
        FILES_DONE_SHAPE("\"src\"", "\"Directory created successfully\""),
        S_BOOL("created", .example = "true", .doc = "false: it was there already, which is no error"),
        S_END
};

static const struct route_reply mkdir_replies[] = {
        { 200, NULL, mkdir_shape, "It is there" },
        { 0 },
};

static const enum problem mkdir_problems[] = {
        FILES_PROBLEMS, PROBLEM_INVALID_REQUEST, PROBLEM_DIRECTORY_NOT_FOUND, PROBLEM_FILE_ALREADY_EXISTS,
        PROBLEM_NO_SPACE, N_PROBLEMS,
};

/* Of files_mkdir_post. */
const struct route_doc files_mkdir_post_doc = {
        .replies = mkdir_replies,
        .problems = mkdir_problems,
        .example = "{\"path\":\"src\"}",
};

/* --- remove --- */

static const struct shape remove_shape[] = {
        FILES_DONE_SHAPE("\"src\"", "\"Removed successfully\""),
        S_INTEGER("removed", .example = "3", .doc = "Files and directories that are gone"),
        S_END
};

static const struct route_reply remove_replies[] = {
        { 200, NULL, remove_shape, "It is gone" },
        { 0 },
};

static const enum problem remove_problems[] = { FILES_LONG_PROBLEMS, PROBLEM_DIRECTORY_NOT_EMPTY, N_PROBLEMS };

/* Of files_remove_delete. */
const struct route_doc files_remove_delete_doc = {
        .description = "Of a link, the link itself is removed. With `recursive=false` a directory has to be empty.",
        .replies = remove_replies,
        .problems = remove_problems,
};

/* --- move and copy --- */

static const struct shape move_shape[] = {
        FILES_DONE_SHAPE("\"src/main.py\"", "\"Moved successfully\""),
        S_STRING ("from", .example = "\"src/app.py\"", .doc = "As it was asked for"),
        S_STRING ("to", .example = "\"src/main.py\"", .doc = "The same as path"),
        S_INTEGER("entries", .optional = true, .example = "1",
                  .doc = "Only if it went to another file system: files and directories that were copied"),
        S_INTEGER("skipped", .optional = true, .example = "0",
                  .doc = "Only if it went to another file system: FIFOs, sockets and devices that were left out"),
        S_INTEGER("size", .optional = true, .example = "9",
                  .doc = "Only if it went to another file system: bytes that were copied"),
        S_END
};

static const struct route_reply move_replies[] = {
        { 200, NULL, move_shape, "It is at the new place; path is that" },
        { 0 },
};

static const struct shape copy_shape[] = {
        FILES_DONE_SHAPE("\"src/main.py\"", "\"Copied successfully\""),
        S_STRING ("from", .example = "\"src/app.py\"", .doc = "As it was asked for"),
        S_STRING ("to", .example = "\"src/main.py\"", .doc = "The same as path"),
        S_INTEGER("entries", .example = "1", .doc = "Files and directories that were copied"),
        S_INTEGER("skipped", .example = "0", .doc = "FIFOs, sockets and devices that were left out"),
        S_INTEGER("size", .example = "9", .doc = "Bytes that were copied"),
        S_END
};

static const struct route_reply copy_replies[] = {
        { 200, NULL, copy_shape, "The copy is complete; path is its own" },
        { 0 },
};

static const enum problem transfer_problems[] = {
        FILES_MAKE_PROBLEMS, PROBLEM_LIMIT_REACHED, N_PROBLEMS,
};

/* Of files_move_post. */
const struct route_doc files_move_post_doc = {
        .description = "`to` is the very place where it will be, not the directory that it is put in. Within a file "
                       "system it is a renaming; to another one it is copied and then removed.",
        .replies = move_replies,
        .problems = transfer_problems,
        .example = "{\"from\":\"src/app.py\",\"to\":\"src/main.py\"}",
};

/* Of files_copy_post. */
const struct route_doc files_copy_post_doc = {
        .description = "`to` is the very place where it will be, not the directory that it is put in. Permissions "
                       "and times are kept, and the copy appears at its place when it is complete.",
        .replies = copy_replies,
        .problems = transfer_problems,
        .example = "{\"from\":\"src/app.py\",\"to\":\"src/main.py\"}",
};

/* --- chmod --- */

static const struct shape chmod_shape[] = {
        FILES_DONE_SHAPE("\"run.sh\"", "\"Changed successfully\""),
        S_STRING ("mode", .example = "\"0755\"", .doc = "Permissions now, four octal digits"),
        S_STRING ("permissions", .example = "\"-rwxr-xr-x\"", .doc = "The same as ls shows them"),
        S_INTEGER("uid", .example = "1000", .doc = "Number of the owner"),
        S_INTEGER("gid", .example = "1000", .doc = "Number of the group"),
        S_INTEGER("changed", .example = "1", .doc = "Files and directories that were changed"),
        S_END
};

static const struct route_reply chmod_replies[] = {
        { 200, NULL, chmod_shape, "What it is now" },
        { 0 },
};

static const enum problem chmod_problems[] = {
        FILES_LONG_PROBLEMS, PROBLEM_INVALID_REQUEST, PROBLEM_MISSING_PARAMETER, N_PROBLEMS,
};

/* Of files_chmod_post. */
const struct route_doc files_chmod_post_doc = {
        .description = "At least one of `mode`, `owner` and `group` is needed.",
        .replies = chmod_replies,
        .problems = chmod_problems,
        .example = "{\"path\":\"run.sh\",\"mode\":\"0755\"}",
};

/* --- replace --- */

static const struct shape replace_shape[] = {
        S_BOOL   ("success", .example = "true", .doc = "Always true; failures are errors"),
        S_STRING ("path", .example = "\"src/app.py\"", .doc = "As it was asked for"),
        S_INTEGER("count", .min = 1, .example = "1", .doc = "Places where the text was replaced"),
        S_INTEGER("size", .example = "9", .doc = "Bytes of the file with that"),
        S_BOOL   ("dry_run", .example = "false", .doc = "true: nothing was changed"),
        S_BOOL   ("diff_truncated", .example = "false", .doc = "Is diff cut after 256 KiB?"),
        S_STRING ("message", .example = "\"Replaced successfully\"", .doc = "A sentence for people"),
        S_STRING ("diff", .example = "\"--- a/app.py\\n+++ b/app.py\\n@@ -1 +1 @@\\n-print(1)\\n+print(2)\\n\"",
                  .doc = "The difference, unified; what is no UTF-8 is replaced"),
        S_END
};

static const struct route_reply replace_replies[] = {
        { 200, NULL, replace_shape, "It was replaced, or would be" },
        { 0 },
};

static const enum problem replace_problems[] = {
        FILES_PROBLEMS, PROBLEM_INVALID_REQUEST, PROBLEM_TEXT_NOT_FOUND, PROBLEM_TEXT_NOT_UNIQUE, PROBLEM_TOO_LARGE,
        PROBLEM_NO_SPACE, N_PROBLEMS,
};

/* Of files_replace_post. */
const struct route_doc files_replace_post_doc = {
        .description = "Without `all`, the text has to be there exactly once. Edits of one file are done one after the "
                       "other; one that somebody else changes at the same time is not overwritten (FILE_BUSY).",
        .replies = replace_replies,
        .problems = replace_problems,
        .example = "{\"path\":\"src/app.py\",\"old\":\"print(1)\",\"new\":\"print(2)\"}",
};
/* clang-format on */
