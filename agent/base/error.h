/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Why something failed, for a human: it lives on the caller's stack and is passed down as the last
 * parameter. Functions still return 0 or a negative errno; this carries the words. */

#include "agent/base/macros.h"

struct error {
        int code;          /* negative errno, or a module's positive outcome */
        char field[128];   /* RFC 6901 pointer to the input field to blame ("/timeout"), or "" */
        char message[256]; /* one line, no trailing newline, always terminated */
};

#define ERROR_INIT        \
        {                 \
                .code = 0 \
        }

/* Sets code and message; the field is cleared. Returns @code, so that callers can
 * `return error_set(err, -ENOENT, "open %s", path);`. A negative errno gets ": strerror" appended. */
int error_set(struct error *err, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* As error_set, and blames @field (a pointer such as "/env/PATH"); no strerror is appended, because
 * the message speaks to the client. */
int error_set_field(struct error *err, int code, const char *field, const char *fmt, ...)
        PRINTF_LIKE(4, 5);

/* Puts "prefix: " in front of the message. Returns err->code. */
int error_wrap(struct error *err, const char *fmt, ...) PRINTF_LIKE(2, 3);
