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

/* Uploads */
#define LIMIT_MULTIPART_FIELD   (64 * KIB) /* value of a part that is not a file */
#define LIMIT_MULTIPART_FIELDS  64
#define LIMIT_MULTIPART_FILES   10000
#define LIMIT_MULTIPART_HEADERS (16 * KIB) /* of one part */
#define LIMIT_UPLOADS_HELD \
        (64 * MIB) /* received and not written; over 256 uploads have 256 KiB each */

/* Requests with an Idempotency-Key */
#define LIMIT_IDEMPOTENCY_KEY     255  /* characters */
#define LIMIT_IDEMPOTENCY_ENTRIES 4096 /* that run, or whose answer is kept */
#define LIMIT_IDEMPOTENCY_WAITERS 32   /* requests that wait for the answer to one that runs */
#define LIMIT_IDEMPOTENCY_ANSWER  (4 * MIB)
#define LIMIT_IDEMPOTENCY_TOTAL   (32 * MIB) /* of all answers that are kept */
#define LIMIT_IDEMPOTENCY_FACTS   (4 * KIB)  /* that are kept of an answer that is larger */

/* Results of executions that are kept for requests that ask for it */
#define LIMIT_CACHE_ENTRIES     8192
#define LIMIT_CACHE_WAITERS     128        /* requests that wait for one execution */
#define LIMIT_CACHE_INPUTS      256        /* files that one request names */
#define LIMIT_CACHE_INPUT_BYTES (64 * MIB) /* of all of them */

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
#define LIMIT_ENV_BYTES       (512 * KIB)     /* of the global variables together */
#define LIMIT_INPUT_BYTES     (8 * MIB)
#define LIMIT_MEMORY_MB_MIN   16                  /* less is not enough to start anything */
#define LIMIT_MEMORY_MB_MAX   (1024 * 1024 * KIB) /* as max-memory */
#define LIMIT_CPU_SECONDS     (8784 * 3600)       /* as max-timeout */
#define LIMIT_TASKS           4194304             /* as max-tasks */

/* Rates */
#define LIMIT_RATE_SUBJECTS 64 /* whose requests are counted at the same time */

/* Metrics */
#define LIMIT_METRICS_STREAMS 32 /* clients that follow them at the same time */

/* WebSockets */
#define LIMIT_WS_QUEUE   (64 * KIB) /* answers that wait before no more messages are read */
#define LIMIT_WS_CLOSING 64 /* connections that the library may have beyond max-websockets */

/* Health */
#define LIMIT_HEALTH_LAG_MS     1000  /* of the loop, again and again */
#define LIMIT_HEALTH_SILENCE_MS 10000 /* until a check that does not come back has failed */

/* Terminals */
#define LIMIT_TERMINAL_RING (1 * MIB) /* output that is kept for who comes back */
#define LIMIT_TERMINAL_LAG \
        (512 * KIB) /* output that its fastest client has not taken: the shell has to wait */

/* Processes */
#define LIMIT_ARG_BYTES      (128 * KIB - 1)
#define LIMIT_ARGV_BYTES     (1536 * KIB) /* argv and envp together; the kernel's default is 2 MiB */
#define LIMIT_STAGING_INLINE (64 * KIB)   /* larger code and input are written off the loop */
#define LIMIT_READ_SLICE     (256 * KIB) /* bytes read from one pipe before others get their turn */
#define LIMIT_RICH_LINES     16384       /* of what one execution displays, that are looked at */
#define LIMIT_INPUT_QUEUE    (4 * MIB)   /* input that a program has not read yet */

/* Warm starts */
#define LIMIT_WARM_WAITING 256 /* executions that wait for a process of one pool */
#define LIMIT_WARM_BIRTHS  256 /* of processes of one pool that are not used, in a second */

/* The system's processes */
#define LIMIT_SYSTEM_PROCESSES 8192      /* that are looked at */
#define LIMIT_PROCESS_COMMAND  (1 * KIB) /* of a command line, in the list */
#define LIMIT_PROCESS_LISTING \
        (4 * MIB)                 /* text of one list; it ends with the row that reaches this */
#define LIMIT_PROCESS_LISTINGS 32 /* requests that wait for the next look */

/* The machine */
#define LIMIT_HOST_WAITING 256 /* requests that wait for fresh readings */

/* Background jobs */
#define LIMIT_JOB_NAME          256
#define LIMIT_JOB_LABEL         (1 * KIB)  /* of a command, in the list */
#define LIMIT_JOB_FACTS         (64 * KIB) /* job.json and callback.json */
#define LIMIT_JOB_PROGRAM       (64 * MIB) /* program.json: what max-body lets in, escaped */
#define LIMIT_JOB_PAGE          1000       /* of one list */
#define LIMIT_JOB_LISTINGS      32         /* lists that are being written */
#define LIMIT_JOB_READ          (8 * MIB)  /* of output in one answer */
#define LIMIT_JOB_HELD          (64 * MIB) /* of all such answers that are being read or sent */
#define LIMIT_JOB_TAIL          (64 * KIB) /* of each stream, on the process object */
#define LIMIT_JOB_CALLBACK      (4 * MIB)  /* of each stream, in a callback */
#define LIMIT_JOB_CALLBACK_RICH (8 * MIB)  /* of what it displayed, in a callback */
#define LIMIT_JOB_FOLLOWERS     256        /* that read the output of all jobs live */

/* Files */
#define LIMIT_FILES_LONG          2 /* operations at once that may take seconds, such as a search */
#define LIMIT_FILES_WAITING       256         /* of them that wait for their turn */
#define LIMIT_FILE_PATH           4095        /* bytes of a path: the system's own limit */
#define LIMIT_FILE_READ           (32 * MIB)  /* of one file in a JSON answer */
#define LIMIT_FILE_READ_HELD      (128 * MIB) /* of all such answers that are being sent */
#define LIMIT_FILE_LIST_PAGE      1000000     /* entries that are asked for at once */
#define LIMIT_FILE_LIST_QUEUE     (4 * MIB)   /* of a list that its client has not taken */
#define LIMIT_FILE_BATCH          256    /* files of one batch; each has up to four descriptors */
#define LIMIT_FILE_EDITS          100000 /* places in one file that are replaced at once */
#define LIMIT_FILE_REPLACE        (16 * MIB)  /* size of a file that is edited, before and after */
#define LIMIT_FILE_DIFF           (256 * KIB) /* text of the difference that an edit answers */
#define LIMIT_FILE_MODE           64          /* characters */
#define LIMIT_FILE_ID_RECORD      (64 * KIB)  /* of one user or group, as the system tells it */
#define LIMIT_FILE_LIST_BATCH     512 /* entries that are collected before they are handed on */
#define LIMIT_FILE_LIST_TEXTS     (256 * KIB) /* of their paths */
#define LIMIT_FILE_TAR_QUEUE      (2 * MIB)   /* of an archive that its client has not taken */
#define LIMIT_FILE_UNSIZED        (4 * MIB) /* of a file that does not know its size, as in /proc */
#define LIMIT_UPLOAD_WAITING      32        /* files before their path; each has descriptors */
#define LIMIT_WALK_OPEN           16        /* directories that are open at once */
#define LIMIT_WALK_DEPTH          65536     /* directories in directories */
#define LIMIT_WALK_NAMES          (64 * MIB) /* that are sorted, in all directories on the way down */
#define LIMIT_GLOB_PATTERN        1024       /* bytes */
#define LIMIT_GLOB_NESTING        16         /* of braces */
#define LIMIT_EXTRACTIONS         3          /* archives at once: fewer than workers */
#define LIMIT_EXTRACT_ENTRIES     500000     /* of one archive; and directories that they imply */
#define LIMIT_EXTRACT_DEPTH       256        /* directories in each other */
#define LIMIT_EXTRACT_DIRECTORIES (32 * MIB) /* of their names, until all is unpacked */
#define LIMIT_EXTRACT_INDEX       (16 * MIB) /* directory of a zip archive, which is kept in memory */
#define LIMIT_EXTRACT_HEADER      (2 * MIB)  /* of one entry, which takes up to twelve times that */
#define LIMIT_EXTRACT_WINDOW      (80 * MIB) /* memory to unpack xz; what xz -9 packs needs 65 */
#define LIMIT_PATH_LINKS          40         /* symbolic links on one path, as the kernel */
#define LIMIT_SEARCH_PATTERN      4096       /* bytes */
#define LIMIT_SEARCH_FILE_MS      5000       /* an expression's time for one file */
#define LIMIT_SEARCH_STEPS        4000000    /* and at one place in it: some hundred milliseconds */
#define LIMIT_SEARCH_HEAP         (16 * MIB) /* what it may need there */
#define LIMIT_SEARCH_MATCHES      10000      /* of one answer */
#define LIMIT_SEARCH_CONTEXT      100        /* lines before and after */
#define LIMIT_SEARCH_LINE         1024       /* bytes of a line that are shown */
#define LIMIT_SEARCH_ANSWER       (4 * MIB)  /* text of one answer */
#define LIMIT_SEARCH_FILE         (64 * MIB) /* larger files are skipped */

/* Watches of files */
#define LIMIT_WATCHES           32        /* on one connection */
#define LIMIT_WATCHES_ALL       128       /* on all connections together */
#define LIMIT_WATCHES_ENDING    128       /* that nobody wants any more, and workers still have */
#define LIMIT_WATCH_ENTRIES     1000000   /* that one remembers; 130 bytes each, a directory 280 */
#define LIMIT_WATCH_ENTRIES_ALL 2000000   /* that all of them remember */
#define LIMIT_WATCH_MARKS       65536     /* names to be looked at, before one says "overflow" */
#define LIMIT_WATCH_MARKS_TEXT  (4 * MIB) /* of these names */
#define LIMIT_WATCH_RENAMES     16384 /* reported at once; later ones are found out by looking */
#define LIMIT_WATCH_PATTERNS    64    /* of what one of them leaves out */
#define LIMIT_WATCH_QUEUE       (256 * KIB) /* changes that the client has not taken: the engine waits */
#define LIMIT_WATCH_ANSWERS     64          /* other messages: no more are read from the client */

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
