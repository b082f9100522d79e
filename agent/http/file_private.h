/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Answers from files from inside agent/http. The request owns its file. */

#include <stdbool.h>

#include <microhttpd.h>

#include "agent/http/file.h"

struct file;
struct request;

/* The response for MHD. The file keeps it: it is not the caller's to destroy. NULL: no memory. */
struct MHD_Response *file_response(struct file *f);
/* Whether the request is suspended until the disk has been read. */
bool file_is_awaited(const struct file *f);
/* The request is over. NULL-safe; returns NULL. */
struct file *file_close(struct file *f);
