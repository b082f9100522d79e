/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Every hard limit in one place. What an operator may want to change is an option instead
 * (agent/config_table.c); what stands here protects the agent from its clients whatever the options say. */

#include "agent/base/macros.h"

/* HTTP */
#define LIMIT_HEADER_BYTES (32 * KIB) /* request line and headers together: 431 */
#define LIMIT_URI_BYTES    (16 * KIB) /* request target: 414 */
#define LIMIT_CONNECTION_MEMORY \
        (64 * KIB) /* the HTTP library's pool per connection, cleared for each request */
#define LIMIT_QUERY_PARAMETERS 64
#define LIMIT_DRAIN_BYTES \
        (64 * KIB)            /* refused bodies up to here are read, so the connection lives */
#define LIMIT_REQUEST_ID  128 /* longer incoming X-Request-ID are replaced */
#define LIMIT_JSON_INLINE (64 * KIB) /* larger bodies are parsed off the loop */
#define LIMIT_JSON_VALUES \
        (64 * KIB)            /* in one request body: a tree costs far more memory than its text */
#define LIMIT_JSON_DEPTH   64 /* nesting of request bodies */
#define LIMIT_REPLY_INLINE (64 * KIB) /* larger documents are encoded while they are sent */
#define LIMIT_STREAM_QUEUE (1 * MIB)  /* of a streamed answer, what its client has not taken */

/* Requests with an Idempotency-Key */
#define LIMIT_IDEMPOTENCY_KEY     255  /* characters */
#define LIMIT_IDEMPOTENCY_ENTRIES 4096 /* that run, or whose answer is kept */
#define LIMIT_IDEMPOTENCY_WAITERS 32   /* requests that wait for the answer to one that runs */
#define LIMIT_IDEMPOTENCY_ANSWER  (4 * MIB)
#define LIMIT_IDEMPOTENCY_TOTAL   (32 * MIB) /* of all answers that are kept */
#define LIMIT_IDEMPOTENCY_FACTS   (4 * KIB)  /* that are kept of an answer that is larger */

/* Tokens */
#define LIMIT_TOKEN_BYTES  (8 * KIB)
#define LIMIT_TOKEN_CACHE  1024
#define LIMIT_SECRET_BYTES (64 * KIB)
#define MIN_SECRET_BYTES   32

/* Requests' fields */
#define LIMIT_CODE_BYTES      (8 * MIB)
#define LIMIT_ARGS            4096
#define LIMIT_ENV_ENTRIES     1024
#define LIMIT_ENV_VALUE_BYTES (128 * KIB - 1) /* Linux: one string of argv or envp */
#define LIMIT_INPUT_BYTES     (8 * MIB)

/* WebSockets */
#define LIMIT_WS_QUEUE   (64 * KIB) /* answers that wait before no more messages are read */
#define LIMIT_WS_CLOSING 64 /* connections that the library may have beyond max-websockets */

/* Terminals */
#define LIMIT_TERMINAL_RING (1 * MIB) /* output that is kept for who comes back */
#define LIMIT_TERMINAL_LAG \
        (512 * KIB) /* output that its fastest client has not taken: the shell has to wait */

/* Processes */
#define LIMIT_ARG_BYTES      (128 * KIB - 1)
#define LIMIT_ARGV_BYTES     (1536 * KIB) /* argv and envp together; the kernel's default is 2 MiB */
#define LIMIT_STAGING_INLINE (64 * KIB)   /* larger code and input are written off the loop */
#define LIMIT_READ_SLICE     (256 * KIB) /* bytes read from one pipe before others get their turn */
#define LIMIT_INPUT_QUEUE    (4 * MIB)   /* input that a program has not read yet */

/* The system's processes */
#define LIMIT_SYSTEM_PROCESSES 8192      /* that are looked at */
#define LIMIT_PROCESS_COMMAND  (1 * KIB) /* of a command line, in the list */
#define LIMIT_PROCESS_LISTING \
        (4 * MIB)                 /* text of one list; it ends with the row that reaches this */
#define LIMIT_PROCESS_LISTINGS 32 /* requests that wait for the next look */

/* Streams */
#define LIMIT_STREAM_BUFFER (1 * MIB) /* with more for the client to take, the program waits */
#define LIMIT_STREAM_RING   (8 * MIB) /* of one stream, with what is in its pipe at the end */
