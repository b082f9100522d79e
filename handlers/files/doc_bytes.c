/* SPDX-License-Identifier: Apache-2.0 */

/* What download and upload answer. */

#include "handlers/files/doc.h"
#include "handlers/files/download.h"
#include "handlers/files/upload.h"

#define BYTES "application/octet-stream"

/* clang-format off */

/* --- download --- */

#define DATE "Wed, 28 Jan 2026 09:30:00 GMT"

#define VERSION_HEADERS                                                                                     \
        { "ETag", "Of a file: its version, as size and times tell it", "\"19b0-2f\"" },                     \
        { "Last-Modified", "Of a file: when its content was last changed", DATE },                          \
        { "Accept-Ranges", "Of a file: parts of it can be asked for", "bytes" },                            \
        { "Content-Disposition", "Name for a copy of it", "attachment; filename=\"data.csv\"" }

static const struct route_header whole_headers[] = { VERSION_HEADERS, { 0 } };

static const struct route_header part_headers[] = {
        VERSION_HEADERS, { "Content-Range", "Which part it is, of how many bytes", "bytes 0-1023/19760" }, { 0 },
};

static const struct route_reply download_replies[] = {
        { 200, BYTES, NULL, "The whole file", whole_headers },
        { 200, "application/x-tar", NULL, "An archive, with format=tar or of a directory; one that cannot be completed "
                                          "breaks the connection" },
        { 200, "application/gzip", NULL, "A packed archive, with format=tar.gz" },
        { 206, BYTES, NULL, "The part that the header Range asks for; Content-Range says which it is",
          part_headers },
        { 304, NULL, NULL, "Nothing, because the file is still the one of If-None-Match or If-Modified-Since",
          whole_headers },
        { 0 },
};

static const enum problem download_problems[] = {
        FILES_LONG_PROBLEMS, PROBLEM_TOO_LARGE, PROBLEM_PRECONDITION_FAILED, PROBLEM_RANGE_NOT_SATISFIABLE, N_PROBLEMS,
};

static const struct route_header download_headers[] = {
        { "Range", "The part that is wanted; several parts are not answered, but the whole", "bytes=0-1023" },
        { "If-Range", "The part only if the file is still this one (its ETag or date), else the whole", "\"19b0-2f\"" },
        { "If-None-Match", "Nothing (304) if the file is still this one", "\"19b0-2f\"" },
        { "If-Modified-Since", "Nothing (304) if the file has not changed since then", DATE },
        { "If-Match", "An error (412) if the file is another one", "\"19b0-2f\"" },
        { "If-Unmodified-Since", "An error (412) if the file has changed since then", DATE },
        { 0 },
};

/* Of files_download_get. */
const struct route_doc files_download_get_doc = {
        .description = "The bytes of a file of any size, with `ETag`, `Last-Modified` and `Accept-Ranges`. `Range` "
                       "asks for one part of it, to go on after an interruption together with `If-Range`. "
                       "`If-Match`, `If-None-Match`, `If-Modified-Since` and `If-Unmodified-Since` work as HTTP "
                       "says. Of a directory, or with `format`, the answer is an archive, which is made while it is "
                       "sent.",
        .replies = download_replies,
        .problems = download_problems,
        .headers = download_headers,
};

/* --- upload --- */

static const struct shape upload_file_shape[] = {
        S_STRING ("name", .example = "\"data.csv\"", .doc = "The last name of the path; of an archive, its own name"),
        S_STRING ("path", .example = "\"/workspace/data.csv\"",
                  .doc = "Where it is; of an archive, where it was unpacked. What is no UTF-8 in it is replaced"),
        S_INTEGER("size", .example = "1024", .doc = "Bytes; of an archive, of all files in it"),
        S_BOOL   ("created", .example = "true", .doc = "Was there none before?"),
        S_END
};

static const struct shape upload_shape[] = {
        FILES_DONE_SHAPE("\"/workspace/data.csv\"", "\"File uploaded successfully\""),
        S_INTEGER("size", .example = "1024", .doc = "Bytes of all files"),
        S_LIST   ("files", S_ITEM_OF(SHAPE_OBJECT, upload_file_shape), .doc = "In the order of the request"),
        S_BOOL   ("extracted", .optional = true, .example = "true", .doc = "Only of an archive that was unpacked: "
                                                                           "true"),
        S_INTEGER("entries", .optional = true, .example = "12", .doc = "Only of an archive: what was unpacked"),
        S_INTEGER("regular_files", .optional = true, .example = "10", .doc = "Only of an archive: files among that"),
        S_INTEGER("directories", .optional = true, .example = "2", .doc = "Only of an archive: directories among that"),
        S_INTEGER("links", .optional = true, .example = "0", .doc = "Only of an archive: links among that"),
        S_END
};

static const struct route_reply upload_replies[] = {
        { 200, NULL, upload_shape, "All is there; path is that of the only file, or the directory of several" },
        { 0 },
};

static const enum problem upload_problems[] = {
        FILES_MAKE_PROBLEMS, PROBLEM_MISSING_PARAMETER, PROBLEM_LIMIT_REACHED, N_PROBLEMS,
};

static const struct shape form_shape[] = {
        S_STRING("path", .optional = true, .doc = "As in the query: the file, or a directory for it"),
        S_STRING("mode", .optional = true, .doc = "As in the query: permissions, octal digits"),
        S_STRING("overwrite", .optional = true, .doc = "As in the query: true or false"),
        S_STRING("extract", .optional = true, .doc = "As in the query: true or false; comes before the file"),
        S_BYTES ("file", .doc = "A part with a filename, which counts where path is a directory. There may be several"),
        S_END
};

static const struct route_content form_contents[] = {
        { "multipart/form-data", form_shape, "Fields may stand in front of the files or behind them" },
        { 0 },
};

static const struct route_content file_contents[] = {
        { "application/octet-stream", NULL, "The file, or the archive" },
        { 0 },
};

/* Of files_upload_post. */
const struct route_doc files_upload_post_doc = {
        .description = "A form (`multipart/form-data`) with one or more files in parts called `file`. The fields "
                       "`path`, `mode`, `overwrite` and `extract` may stand in the form or in the query; with "
                       "several files `path` is a directory, or ends with a slash, and comes first. A file appears "
                       "at its place when it is complete. With `extract` the one file is an archive, which is "
                       "unpacked into the directory `path`: all of it, or nothing.",
        .replies = upload_replies,
        .problems = upload_problems,
        .contents = form_contents,
};

/* Of files_upload_put. */
const struct route_doc files_upload_put_doc = {
        .description = "The body is the file, whatever its `Content-Type` says, and appears at its place when it is "
                       "complete. With `extract` it is an archive (tar, plain or packed by gzip, bzip2, xz or zstd, or "
                       "zip), which is unpacked into the directory `path`: all of it, or nothing.",
        .replies = upload_replies,
        .problems = upload_problems,
        .contents = file_contents,
};
/* clang-format on */
