/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Streams from inside agent/http. The request owns its stream. */

#include <stdint.h>
#include <sys/types.h>

#include "agent/base/list.h"
#include "agent/http/stream.h"

struct stream *stream_new(struct request *req, const struct stream_ops *ops, void *arg);
/* MHD's content reader: what it may send next, copied to @dst; 0 after suspending the request, or one of MHD's ends. */
ssize_t stream_read(struct stream *s, char *dst, size_t size);
void stream_heartbeat(struct stream *s, uint64_t now_ms);
/* The client has left, or has to be left: it sees that the answer is not complete. */
void stream_lose(struct stream *s);
/* The request is over: on_closed, and frees. NULL-safe; returns NULL. */
struct stream *stream_close(struct stream *s);
/* The agent stops: ends the streams of a server's requests, but for the finite ones. */
void stream_end_all(struct list *requests);
