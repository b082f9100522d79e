/* SPDX-License-Identifier: Apache-2.0 */

/* Error messages end up in JSON and in log lines, and they quote what clients and the file system
 * chose. So every message is made one line of valid UTF-8 here, once, instead of at each place
 * that prints it. */

#include "agent/base/error.h"

#include <assert.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "agent/base/utf8.h"

#define MESSAGE_SIZE sizeof(((struct error *)NULL)->message)

/* Repairs @s in place: cut between characters, no control characters, nothing that is not UTF-8. */
static void make_line(char *s)
{
        utf8_repair(s);
        for (; *s; s++)
                if ((unsigned char)*s < 0x20 || *s == 0x7f)
                        *s = ' ';
}

/* Adds @s behind the first @used characters, as far as it fits. */
static void append(char message[MESSAGE_SIZE], size_t used, const char *s)
{
        size_t size = MIN(strlen(s), MESSAGE_SIZE - 1 - used);

        memcpy(message + used, s, size);
        message[used + size] = '\0';
}

/* Formats @fmt and returns its length, cut to what fits. */
PRINTF_LIKE(2, 0)
static size_t format(char message[MESSAGE_SIZE], const char *fmt, va_list ap)
{
        int n = vsnprintf(message, MESSAGE_SIZE, fmt, ap);

        if (n < 0) /* an encoding error: say nothing rather than rubbish */
                message[0] = '\0';
        return MIN((size_t)MAX(n, 0), MESSAGE_SIZE - 1);
}

/* Sets everything but the field. The arguments may point into @err, so the text is built aside. */
PRINTF_LIKE(4, 0)
static void set_message(struct error *err, int code, bool with_errno, const char *fmt, va_list ap)
{
        char message[MESSAGE_SIZE];
        char reason[64];
        size_t used;

        used = format(message, fmt, ap);
        if (with_errno && code < 0) {
                append(message, used, ": ");
                append(message, strlen(message), strerror_r(-code, reason, sizeof(reason)));
        }

        make_line(message);
        memcpy(err->message, message, sizeof(message));
        err->code = code;
}

/* Sets code and message, with the errno's text behind it when @code is one; clears the field. */
int error_set(struct error *err, int code, const char *fmt, ...)
{
        va_list ap;

        assert(err);

        va_start(ap, fmt);
        set_message(err, code, true, fmt, ap);
        va_end(ap);
        err->field[0] = '\0';
        return code;
}

/* Sets code, field and message; the message is for a client and stays as it is. A pointer that is
 * too long is cut between two characters. */
int error_set_field(struct error *err, int code, const char *field, const char *fmt, ...)
{
        char copy[sizeof(err->field)];
        va_list ap;

        assert(err);

        (void)snprintf(copy, sizeof(copy), "%s", field);
        make_line(copy);

        va_start(ap, fmt);
        set_message(err, code, false, fmt, ap);
        va_end(ap);
        memcpy(err->field, copy, sizeof(copy));
        return code;
}

/* Puts context in front of what failed below; code and field stay. */
int error_wrap(struct error *err, const char *fmt, ...)
{
        char message[MESSAGE_SIZE];
        va_list ap;

        assert(err);

        va_start(ap, fmt);
        append(message, format(message, fmt, ap), ": ");
        va_end(ap);
        append(message, strlen(message), err->message);

        make_line(message);
        memcpy(err->message, message, sizeof(message));
        return err->code;
}
