/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* POST requests by libcurl's multi interface on the loop, without threads of ours (libcurl has one for each name
 * that is being looked up). */

#include <stddef.h>
#include <stdint.h>

#include "agent/base/error.h"
#include "agent/webhook/target.h"

struct curl_slist;
struct loop;
struct transfer;
struct transfers;

enum transfer_outcome {
        TRANSFER_ANSWERED, /* status is what the receiver said */
        TRANSFER_LOST,     /* no answer; trying again may help */
        TRANSFER_REFUSED,  /* the host has no address that deliveries may go to */
        TRANSFER_BROKEN,   /* no answer, and there never will be */
};

struct transfer_result {
        enum transfer_outcome outcome;
        unsigned status;
        int64_t retry_after_ms; /* -1: the receiver did not say */
        const char *error;      /* why it was not answered */
};

struct transfer_request {
        const char *url;
        const char *host;           /* of the URL, as target_from_url gives it */
        struct curl_slist *headers; /* taken */
        char *body;                 /* taken */
        size_t body_size;
        uint64_t connect_timeout_ms;
        uint64_t timeout_ms;
        const char *ca_file; /* NULL: the system's */
};

/* Makes libcurl ready, which takes milliseconds the first time: to be called by a worker thread before each
 * transfer_start, which does it itself otherwise. */
void transfers_load(void);

/* @rules is looked at whenever a connection is made. -ENOSYS: this libcurl cannot do what is needed. */
int transfers_new(struct loop *l, const struct target_rules *rules, struct transfers **ret,
                  struct error *err);
/* What later transfers draw at random, for TLS, is not known from anything before. */
void transfers_reseed(struct transfers *t);
/* Drops what is under way, without calling back. Not from a callback. Returns NULL. */
struct transfers *transfers_free(struct transfers *t);

/* Starts a request, and calls @done(@arg, …) when it is over, never from here. -ENOMEM: nothing was started, but the
 * request's headers and body are gone as well. */
int transfer_start(struct transfers *t, const struct transfer_request *request,
                   void (*done)(void *arg, const struct transfer_result *result), void *arg);
