/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Is a text that comes in pieces one JSON object, and where are its members? For text that is passed on as it is:
 * nothing is copied, decoded or allocated, whatever its size. As strict as json_parse_object (UTF-8, surrogates in
 * pairs, depth), but for what costs memory to know: a key may come twice, and a number may be any. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/base/utf8.h"

/* So many members of the object itself are remembered. */
#define JSON_SCAN_MEMBERS 8

struct json_span {
        size_t start; /* offset since the beginning of the text */
        size_t size;
};

struct json_member {
        struct json_span key;   /* between its quotes, as it is written */
        struct json_span value; /* with quotes or brackets */
};

struct json_scan {
        struct json_member members[JSON_SCAN_MEMBERS];
        unsigned n_members; /* all of them */

        /* private */
        int state;
        unsigned depth;
        uint64_t is_object; /* a bit for each level */
        size_t offset;      /* of what comes next */
        const char *literal;
        unsigned n_digits; /* of \uXXXX, that are missing */
        uint32_t unit;     /* what they say */
        bool is_key;
        bool is_pair; /* the next \uXXXX has to be the second of two */
        struct utf8_decoder utf8;
};

void json_scan_init(struct json_scan *s);
/* The next piece. False: it is no JSON object, whatever comes. */
bool json_scan_feed(struct json_scan *s, const char *data, size_t size);
/* Whether what has come is a whole one. */
bool json_scan_is_complete(const struct json_scan *s);
