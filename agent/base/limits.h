/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Every hard limit in one place. What an operator may want to change is an option instead
 * (agent/config_table.c); what stands here protects the agent from its clients whatever the options say. */

#include <stdint.h>

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

/* Background jobs */
#define LIMIT_JOB_NAME      256
#define LIMIT_JOB_LABEL     (1 * KIB)  /* of a command, in the list */
#define LIMIT_JOB_FACTS     (64 * KIB) /* job.json and callback.json */
#define LIMIT_JOB_PROGRAM   (64 * MIB) /* program.json: what max-body lets in, escaped */
#define LIMIT_JOB_PAGE      1000       /* of one list */
#define LIMIT_JOB_LISTINGS  32         /* lists that are being written */
#define LIMIT_JOB_READ      (8 * MIB)  /* of output in one answer */
#define LIMIT_JOB_HELD      (64 * MIB) /* of all such answers that are being read or sent */
#define LIMIT_JOB_TAIL      (64 * KIB) /* of each stream, on the process object */
#define LIMIT_JOB_CALLBACK  (4 * MIB)  /* of each stream, in a callback */
#define LIMIT_JOB_FOLLOWERS 256        /* that read the output of all jobs live */

/* Webhooks */
#define LIMIT_WEBHOOK_ID            64 /* characters of a delivery's id */
#define LIMIT_WEBHOOK_URL           (4 * KIB)
#define LIMIT_WEBHOOK_HEADERS       64
#define LIMIT_WEBHOOK_HEADER_NAME   256
#define LIMIT_WEBHOOK_HEADER_BYTES  (16 * KIB) /* of all names and values together */
#define LIMIT_WEBHOOK_SECRET        (4 * KIB)
#define LIMIT_WEBHOOK_BODY          (32 * MIB)
#define LIMIT_WEBHOOK_JOURNAL       (1 * GIB)  /* bodies of all that are queued, on the disk */
#define LIMIT_WEBHOOK_SENDING_BYTES (64 * MIB) /* bodies of all that are being sent, in memory */
#define LIMIT_WEBHOOK_ANSWER \
        (64 * KIB) /* of a receiver's headers, and of its body, that are read */
#define LIMIT_WEBHOOK_RETRY_AFTER_MS (3600 * (uint64_t)1000)
#define LIMIT_WEBHOOK_HEAD           (128 * KIB) /* first line of a file of the journal */
#define LIMIT_WEBHOOK_NOTES          (256 * KIB) /* and what is behind its body */
#define LIMIT_WEBHOOK_FILES          16384       /* that are looked at when the agent starts */
#define LIMIT_WEBHOOK_DAMAGED        16          /* damaged files that are kept */

/* Streams */
#define LIMIT_STREAM_BUFFER (1 * MIB) /* with more for the client to take, the program waits */
#define LIMIT_STREAM_RING   (8 * MIB) /* of one stream, with what is in its pipe at the end */
