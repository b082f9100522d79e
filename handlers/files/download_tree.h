/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The answer to GET /files/download about a directory, or with a format: an archive, made while it is sent. */

#include <stdbool.h>

struct request;

enum download_format { DOWNLOAD_PLAIN, DOWNLOAD_TAR, DOWNLOAD_TAR_GZIP };

/* Answers, now or later. @format is not PLAIN. @has_body: the answer to HEAD has none. Returns 0. */
int files_download_tree(struct request *req, const char *path, enum download_format format,
                        bool has_body);
