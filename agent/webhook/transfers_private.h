/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What transfers.c (the loop's side) and transfer.c (one request) share. */

#include <curl/curl.h>

#include "agent/base/list.h"
#include "agent/loop/loop.h"
#include "agent/webhook/transfers.h"

struct timer;

struct transfers {
        struct loop *loop;
        CURLM *multi; /* NULL before the first transfer */
        struct timer *timer;
        const struct target_rules *rules;
        const char *ca_path; /* the system's certificates by hash, or NULL */
        struct list running; /* of struct transfer */
};

struct transfer {
        struct list link;
        struct transfers *owner;
        CURL *easy;
        struct curl_slist *headers;
        char *body;
        char host[TARGET_HOST_SIZE];
        char error[CURL_ERROR_SIZE];

        unsigned n_refused; /* addresses */
        unsigned n_tried;

        unsigned status;   /* of the answer whose headers are being read */
        bool has_answer;   /* and are complete */
        bool has_overflow; /* more of it than anybody wants to read */
        size_t n_header_bytes;
        size_t n_body_bytes;
        int64_t retry_after_ms;

        void (*done)(void *arg, const struct transfer_result *result);
        void *arg;
};

/* Makes @t->multi if there is none yet. -ENOMEM. */
int transfers_open(struct transfers *t);
/* libcurl is done with @t: unlinks and frees it, and then calls its owner. */
void transfer_finish(struct transfer *t, CURLcode code);
struct transfer *transfer_free(struct transfer *t);
