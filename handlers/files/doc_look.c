/* SPDX-License-Identifier: Apache-2.0 */

/* What the endpoints answer that only look. */

#include "handlers/files/doc.h"
#include "handlers/files/exists.h"
#include "handlers/files/list.h"
#include "handlers/files/read.h"
#include "handlers/files/search.h"
#include "handlers/files/stat.h"

const struct enum_name files_type_names[] = {
        { "file", 0 }, { "directory", 0 }, { "symlink", 0 }, { "special", 0 }, { NULL, 0 },
};

/* clang-format off */

/* --- read --- */

static const struct enum_name encodings[] = { { "utf-8", 0 }, { "base64", 0 }, { NULL, 0 } };

static const struct shape read_shape[] = {
        S_STRING ("path", .example = "\"src/app.py\"", .doc = "As it was asked for; what is no UTF-8 in it is "
                                                              "replaced"),
        S_STRING ("content", .example = "\"print(1)\\n\"",
                  .doc = "The part of the file that was asked for. As text, what is no UTF-8 is replaced (U+FFFD)"),
        S_ENUM   ("encoding", encodings, .example = "\"utf-8\"", .doc = "Of content"),
        S_INTEGER("size", .example = "9", .doc = "Bytes of the whole file"),
        S_INTEGER("offset", .example = "0", .doc = "Where the part begins, in bytes"),
        S_INTEGER("length", .example = "9", .doc = "Bytes of the part, before it was encoded"),
        S_BOOL   ("eof", .example = "true", .doc = "Does the part reach to the end of the file?"),
        S_INTEGER("line_start", .optional = true, .min = 1, .example = "1",
                  .doc = "First line of the part. Only if lines were asked for"),
        S_INTEGER("line_count", .optional = true, .example = "1",
                  .doc = "Lines of the part. Only if lines were asked for"),
        S_TIME   ("modified_time", .example = "\"2026-01-15T10:30:00.123Z\"", .doc = "Last change of the content"),
        S_END
};

static const struct route_reply read_replies[] = {
        { 200, NULL, read_shape, "The content, and what it is a part of" },
        { 0 },
};

static const enum problem read_problems[] = {
        FILES_PROBLEMS, PROBLEM_INVALID_REQUEST, PROBLEM_TOO_LARGE, PROBLEM_LIMIT_REACHED, N_PROBLEMS,
};

/* Of files_read_get. */
const struct route_doc files_read_get_doc = {
        .description = "Answers a file's text, or its bytes in base64, as JSON: all of it, a range of bytes "
                       "(`offset` and `limit`) or of lines (`line_start` and `line_end`). What is larger than 32 MiB "
                       "is refused (413): read it in parts, or use `GET /files/download`, which has no limit.",
        .replies = read_replies,
        .problems = read_problems,
};

/* --- list --- */

static const struct shape entry_shape[] = {
        FILES_INFO_SHAPE("\"app.py\"", "\"/workspace/src/app.py\"", "9", "\"file\"", "false", "\"-rw-r--r--\"",
                         "\"0644\""),
        S_END
};

static const struct shape list_shape[] = {
        S_STRING ("path", .example = "\"/workspace/src\"",
                  .doc = "The directory, as it was asked for; what is no UTF-8 in it is replaced"),
        S_LIST   ("files", S_ITEM_OF(SHAPE_OBJECT, entry_shape),
                  .doc = "Files, directories and links, in the order of their names (bytes), a directory before what "
                         "is in it. Links are shown themselves, not what they lead to"),
        S_INTEGER("count", .example = "1", .doc = "Entries in files"),
        S_INTEGER("unreadable", .example = "0", .doc = "Directories below that could not be looked into"),
        S_BOOL   ("has_more", .example = "false", .doc = "Is there another page?"),
        S_STRING ("next_cursor", .nullable = true, .example = "null",
                  .doc = "The parameter cursor of the next page; null on the last"),
        S_TIME   ("timestamp", .example = "\"2026-01-15T10:30:00.123Z\"", .doc = "When the list was complete"),
        S_END
};

static const struct route_reply list_replies[] = {
        { 200, NULL, list_shape, "The entries. A large list is sent while it is made; one that cannot be completed "
                                 "breaks the connection, so that nobody takes a part for the whole" },
        { 0 },
};

static const enum problem list_problems[] = {
        FILES_PROBLEMS, PROBLEM_DIRECTORY_NOT_FOUND, PROBLEM_INVALID_REQUEST, PROBLEM_TOO_LARGE, N_PROBLEMS,
};

/* Of files_list_get. */
const struct route_doc files_list_get_doc = {
        .description = "Lists a directory or, with `recursive`, `depth` or a `glob` that has a slash, the tree below "
                       "it. With `limit` it comes in pages: ask for the next one with the `next_cursor` of the last.",
        .replies = list_replies,
        .problems = list_problems,
};

/* --- exists --- */

static const struct enum_name exists_reasons[] = {
        { "PATH_NOT_ALLOWED", 0 }, { "PERMISSION_DENIED", 0 }, { "INVALID_PATH", 0 }, { NULL, 0 },
};

static const struct shape exists_shape[] = {
        S_BOOL  ("exists", .example = "true", .doc = "Is there something that the caller may see?"),
        S_STRING("path", .example = "\"src/app.py\"", .doc = "As it was asked for; what is no UTF-8 in it is replaced"),
        S_BOOL  ("is_directory", .example = "false", .doc = "Is it a directory? A link to one is"),
        S_BOOL  ("is_dir", .example = "false", .doc = "The same as is_directory"),
        S_ENUM  ("reason", exists_reasons, .optional = true, .example = "\"PATH_NOT_ALLOWED\"",
                 .doc = "Only if exists is false, and it is not known whether there is something: why"),
        S_END
};

static const struct route_reply exists_replies[] = {
        { 200, NULL, exists_shape, "Yes or no" },
        { 0 },
};

static const enum problem exists_problems[] = { FILES_PROBLEMS, N_PROBLEMS };

/* Of files_exists_get. */
const struct route_doc files_exists_get_doc = {
        .description = "What the caller must not see, and what cannot be there, does not exist: that is no error, "
                       "but the answer has a `reason`.",
        .replies = exists_replies,
        .problems = exists_problems,
};

/* --- stat --- */

static const struct shape stat_shape[] = {
        FILES_INFO_SHAPE("\"app.py\"", "\"src/app.py\"", "9", "\"file\"", "false", "\"-rw-r--r--\"", "\"0644\""),
        S_STRING ("real_path", .example = "\"/workspace/src/app.py\"", .doc = "Where it really is, without links"),
        S_INTEGER("links", .example = "1", .doc = "Names that it has (hard links)"),
        S_INTEGER("inode", .example = "1835043", .doc = "Its number in the file system"),
        S_INTEGER("device", .example = "2049", .doc = "Number of the file system"),
        S_INTEGER("used", .example = "4096", .doc = "Bytes that it takes on the disk"),
        S_TIME   ("accessed_time", .example = "\"2026-01-15T10:30:00.123Z\"", .doc = "Last access to the content"),
        S_TIME   ("changed_time", .example = "\"2026-01-15T10:30:00.123Z\"",
                  .doc = "Last change of content, name, owner or permissions"),
        S_INTEGER("modified_ns", .min = INT64_MIN, .example = "1768473000123456789",
                  .doc = "modified_time in nanoseconds since 1970"),
        S_TIME   ("created_time", .nullable = true, .example = "\"2026-01-15T10:30:00.123Z\"",
                  .doc = "null where the file system does not know"),
        S_END
};

static const struct route_reply stat_replies[] = {
        { 200, NULL, stat_shape, "What the file system knows about it" },
        { 0 },
};

static const enum problem stat_problems[] = { FILES_PROBLEMS, N_PROBLEMS };

/* Of files_stat_get. */
const struct route_doc files_stat_get_doc = { .replies = stat_replies, .problems = stat_problems };

/* --- search --- */

static const struct shape match_shape[] = {
        FILES_PATH_SHAPE("\"/workspace/src/app.py\"", "The file: what was asked for, with the names below it"),
        S_INTEGER("line", .min = 1, .example = "1", .doc = "Number of the line, from 1"),
        S_INTEGER("column", .min = 1, .example = "1", .doc = "Where the match begins in it: bytes, from 1"),
        S_INTEGER("length", .example = "5", .doc = "Bytes of the match"),
        S_STRING ("text", .example = "\"print(1)\"", .doc = "The line"),
        S_BOOL   ("text_truncated", .optional = true, .example = "true",
                  .doc = "Only of a line over 1 KiB: text is the part of it around the match"),
        S_INTEGER("text_column", .optional = true, .min = 1, .example = "4097",
                  .doc = "Only of a line over 1 KiB: where text begins in it"),
        S_LIST   ("before", S_ITEM(SHAPE_STRING), .optional = true,
                  .doc = "Lines before it. Only if some were asked for"),
        S_LIST   ("after", S_ITEM(SHAPE_STRING), .optional = true,
                  .doc = "Lines after it. Only if some were asked for"),
        S_END
};

static const struct enum_name truncation_reasons[] = { { "limit", 0 }, { "size", 0 }, { NULL, 0 } };

static const struct shape search_shape[] = {
        S_STRING ("path", .example = "\"/workspace/src\"",
                  .doc = "What was searched, as it was asked for; what is no UTF-8 in it is replaced"),
        S_LIST   ("matches", S_ITEM_OF(SHAPE_OBJECT, match_shape),
                  .doc = "One for each line that fits, file by file in the order of their names"),
        S_INTEGER("count", .example = "1", .doc = "Matches in the answer"),
        S_BOOL   ("truncated", .example = "false", .doc = "Are there more matches than the answer has?"),
        S_ENUM   ("truncated_reason", truncation_reasons, .nullable = true, .example = "null",
                  .doc = "limit: of matches; size: the answer has reached 4 MiB"),
        S_INTEGER("files_searched", .example = "12", .doc = "Files that were searched"),
        S_INTEGER("files_matched", .example = "1", .doc = "Files with a match"),
        S_INTEGER("files_binary", .example = "2", .doc = "Files that were left out because they are no text"),
        S_INTEGER("files_too_large", .example = "0", .doc = "Files that were left out because of their size"),
        S_INTEGER("files_unreadable", .example = "0", .doc = "Files and directories that could not be read"),
        S_INTEGER("files_too_expensive", .example = "0",
                  .doc = "Files whose rest was left out because the expression takes too long there"),
        S_INTEGER("duration_ms", .example = "3", .doc = "How long it took"),
        S_TIME   ("timestamp", .example = "\"2026-01-15T10:30:00.123Z\"", .doc = "When it was done"),
        S_END
};

static const struct route_reply search_replies[] = {
        { 200, NULL, search_shape, "The matches, and what was left out" },
        { 0 },
};

static const enum problem search_problems[] = { FILES_LONG_PROBLEMS, PROBLEM_INVALID_REQUEST, N_PROBLEMS };

/* Of files_search_get. */
const struct route_doc files_search_get_doc = {
        .description = "Looks for a regular expression (PCRE2) or, with `regex=false`, for a text in all files below a "
                       "directory, line by line. Links are not followed; binary files are left out.",
        .replies = search_replies,
        .problems = search_problems,
};
/* clang-format on */
