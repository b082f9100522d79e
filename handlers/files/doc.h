/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the tables of several endpoints for files have in common. The tables themselves are declared beside their
 * handlers:
 *
 *     doc_look.c     what only looks: read, list, exists, stat, search
 *     doc_change.c   what changes something
 *     doc_bytes.c    download and upload
 *     doc_watch.c    the messages of watch
 */

#include "agent/http/route_doc.h"

/* Of everything that goes to a path. */
#define FILES_PROBLEMS                                                                    \
        PROBLEM_INVALID_PATH, PROBLEM_PATH_NOT_ALLOWED, PROBLEM_PERMISSION_DENIED,        \
                PROBLEM_FILE_NOT_FOUND, PROBLEM_FILE_BUSY, PROBLEM_FILE_OPERATION_FAILED, \
                PROBLEM_UNAVAILABLE

/* Of what may have to wait for its turn. */
#define FILES_LONG_PROBLEMS FILES_PROBLEMS, PROBLEM_LIMIT_REACHED

/* Of what puts something at a path. */
#define FILES_MAKE_PROBLEMS                                                                  \
        FILES_PROBLEMS, PROBLEM_INVALID_REQUEST, PROBLEM_DIRECTORY_NOT_FOUND,                \
                PROBLEM_FILE_ALREADY_EXISTS, PROBLEM_DIRECTORY_NOT_EMPTY, PROBLEM_TOO_LARGE, \
                PROBLEM_NO_SPACE

/* clang-format off */

/* Of every answer that something was done; @at and @said are examples. */
#define FILES_DONE_SHAPE(at, said)                                                                                  \
        S_BOOL  ("success", .example = "true", .doc = "Always true; failures are errors"),                          \
        S_STRING("path", .example = at, .doc = "As it was asked for; what is no UTF-8 in it is replaced"),          \
        S_STRING("message", .example = said, .doc = "A sentence for people"),                                       \
        S_TIME  ("timestamp", .example = "\"2026-01-15T10:30:00.123Z\"", .doc = "When it was done")

/* See files_write_path. */
#define FILES_PATH_SHAPE(at, what)                                                                                  \
        S_STRING("path", .example = at, .doc = what),                                                               \
        S_STRING("path_encoded", .optional = true, .example = "\"/workspace/caf%E9.txt\"",                          \
                 .doc = "Only of a path that is no UTF-8: percent-encoded, to be put into a query as it is")

/* See files_write_info. */
#define FILES_INFO_SHAPE(named, at, how_large, kind, directory, rights, digits)                                     \
        S_STRING ("name", .example = named, .doc = "The last name of the path"),                                    \
        FILES_PATH_SHAPE(at, "As it was asked for, with the names below it"),                                       \
        S_INTEGER("size", .example = how_large, .doc = "Bytes"),                                                    \
        S_BOOL   ("is_directory", .example = directory, .doc = "Is it a directory?"),                               \
        S_BOOL   ("is_dir", .example = directory, .doc = "The same as is_directory"),                               \
        S_ENUM   ("type", files_type_names, .example = kind,                                                        \
                  .doc = "special: a FIFO, a socket or a device"),                                                  \
        S_TIME   ("modified_time", .example = "\"2026-01-15T10:30:00.123Z\"",                                       \
                  .doc = "Last change of the content"),                                                             \
        S_TIME   ("modified", .example = "\"2026-01-15T10:30:00.123Z\"", .doc = "The same as modified_time"),       \
        S_TIME   ("mod_time", .example = "\"2026-01-15T10:30:00.123Z\"", .doc = "The same as modified_time"),       \
        S_STRING ("permissions", .example = rights, .doc = "As ls shows them"),                                     \
        S_STRING ("mode", .example = digits, .doc = "Permissions, four octal digits"),                              \
        S_INTEGER("uid", .example = "1000", .doc = "Number of the owner"),                                          \
        S_INTEGER("gid", .example = "1000", .doc = "Number of the group"),                                          \
        S_STRING ("target", .optional = true, .example = "\"main.py\"",                                             \
                  .doc = "Only of a symbolic link: where it leads, as it is written in it")

/* clang-format on */

extern const struct enum_name files_type_names[];
