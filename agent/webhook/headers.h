/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The headers of one attempt: ours, and those that the client wants. */

#include <stdint.h>

#include <jansson.h>

#include "agent/base/error.h"

struct curl_slist;

/* See webhook_check_headers. */
int headers_check(const json_t *headers, struct error *err);

struct headers_values {
        const char *id;
        int64_t timestamp_s;
        const char *signature; /* NULL: not signed */
        const json_t *custom;  /* checked; NULL: none */
};

/* The list for libcurl, to be freed by curl_slist_free_all; NULL without memory. */
struct curl_slist *headers_make(const struct headers_values *values);
