/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Bodies of routes with BODY_STREAM from inside agent/http. The request owns its body. */

#include <stdbool.h>
#include <stdint.h>

#include <microhttpd.h>

#include "agent/http/body.h"

struct body {
        const struct body_ops *ops; /* NULL: nobody has asked for it yet */
        void *arg;
        uint64_t max;  /* 0: no limit */
        uint64_t size; /* that was announced */
        bool has_size;
        bool is_expected; /* MHD was let go on from the headers to the body */
        bool is_paused;
        bool is_over;      /* on_end or on_abort was called */
        bool is_discarded; /* an answer came first, and so little is missing that it is read */
        bool is_lingering; /* the answer is out, and what still comes is thrown away for a while */
        uint64_t received; /* bytes */
        uint64_t mark;     /* of them, at the last progress */
        uint64_t linger_until_ms;
};

/* For a request whose route has BODY_STREAM, before it is checked. */
void body_new(struct request *req);
/* MHD's access handler, once the headers are checked. */
enum MHD_Result body_access(struct request *req, const char *data, size_t *size);
/* An answer was given. */
void body_answered(struct request *req);
/* The client has left, or the agent stops. True when somebody waited for the body and was told. */
bool body_abort(struct request *req, enum body_abort why);
