/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A job's output as a streamed answer: lines of JSON, or events. */

#include <stdbool.h>
#include <stdint.h>

#include "agent/json/document.h"
#include "handlers/jobs/follower.h"

struct request;

struct output_stream_options {
        struct follower_options follower; /* its reader is taken in any case */
        bool is_events;                   /* Server-Sent Events instead of lines */
        bool is_followed; /* up to the end of the job; else up to the offsets and the limit */
        uint64_t limit;   /* bytes of output */
        enum document_encoding encoding;
};

/* Answers @req. */
void output_stream_start(struct request *req, struct output_stream_options *o);
