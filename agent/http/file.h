/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Answers whose body is a part of a file, sent by the kernel without a copy of it in the agent's memory.
 *
 * What the disk has not read yet is read by worker threads, a window ahead of what is sent, so a slow disk delays its
 * own client alone. */

#include <stddef.h>
#include <stdint.h>

struct request;

#define FILE_TYPE_BYTES "application/octet-stream"

/* Below this, reading the file in the worker that has opened it, and request_reply_text, is cheaper. */
#define FILE_REPLY_MIN (64 * 1024)

/* The answer to a request, like those in request.h, with the @size bytes at @offset of @fd, which it takes; the
 * caller has checked that the regular file has them (and is open for reading). @type is a constant. Headers
 * (Content-Range, ETag, …) are set before. HEAD, and the status 304, get the same headers and no body: a 304 has the
 * Content-Length of the whole file, which caches take over, and which some clients take for a body to come:
 * request_reply_text gives one without. Returns 0.
 *
 * When the file gets shorter while it is sent, the connection is cut where its content ends, so that the client
 * notices. A client that takes nothing for the option idle-timeout is cut. Not for routes with ROUTE_HEARTBEAT. */
int request_reply_file(struct request *req, unsigned status, const char *type, int fd,
                       uint64_t offset, uint64_t size);
